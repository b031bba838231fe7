"""Remote places that the operator named: buckets, folders of hosts, and where the buckets are.

They are remembered with the workspace as folders are (`job.remember_root`), so that graphs, tiles
and the server read them without a further option. No key is among what is remembered.
"""

from __future__ import annotations

import fcntl
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from terrazzo.errors import ArgumentInvalid
from terrazzo.storage.gate import Gate
from terrazzo.storage.remote.stores import Store
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PLACES_FILE: Final = "places.json"
_OBJECTS: Final = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/(?P<key>.*))?")
_ODD: Final = re.compile(r"\.{0,2}|.*[\x00-\x1f\x7f].*", re.DOTALL)
"""Parts of prefixes that object stores refuse."""
_REMOTE: Final = re.compile(r"(s3|https?)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket or a part of it, or a file or folder of a host; and all that is below."""

    url: str
    """`s3://bucket/prefix` or `https://host/path`."""
    store: Store | None = None
    """Where the bucket is; None for hosts."""

    @classmethod
    def of(cls, url: str) -> Place:
        """Read an address that the operator gave; buckets are where the environment says.

        Raises:
            ArgumentInvalid: it is none, or names no bucket, or a prefix that stores do not take.
        """
        url = url.rstrip("/")
        if url[:5].lower() != "s3://":
            return cls(url)
        url = f"s3://{url[5:]}"
        if (found := _OBJECTS.fullmatch(url)) is None:
            raise ArgumentInvalid(f"{url} names no bucket. Use s3://BUCKET or s3://BUCKET/PREFIX.")
        if found["key"] and any(map(_ODD.fullmatch, found["key"].split("/"))):
            raise ArgumentInvalid(
                f"{url!r} has a prefix that object stores do not take. Use names with single "
                "slashes between them: none is empty, . or .., or has control characters."
            )
        return cls(url, Store.of_environment())

    @property
    def bucket(self) -> str:
        """The bucket."""
        found = _OBJECTS.fullmatch(self.url)
        return found["bucket"] if found else ""

    @property
    def key(self) -> str:
        """The prefix or key in the bucket, without a slash at the end."""
        found = _OBJECTS.fullmatch(self.url)
        return (found["key"] or "") if found else ""


def is_remote(text: str) -> bool:
    """Tell whether something that was named is an address instead of a path."""
    return _REMOTE.match(text) is not None


def gate_of(roots: Sequence[Path], hosts: Sequence[str], places: Sequence[Place]) -> Gate:
    """Return the gate that lets through folders, hosts and places."""
    stores = tuple((one.url, one.store) for one in places if one.store is not None)
    named = tuple(one.url for one in places if one.store is None)
    return Gate(tuple(roots), tuple(hosts), stores, named)


def remembered_places(home: Path) -> tuple[Place, ...]:
    """Return the places that ingestion and publishing remembered.

    Raises:
        ArgumentInvalid: the list is damaged.
    """
    path = home / PLACES_FILE
    try:
        told = json.loads(path.read_text())
        return tuple(
            Place(str(one["url"]), Store(**one["store"]) if one.get("store") else None)
            for one in told
        )
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ArgumentInvalid(
            f"{path} is no list of places ({type(error).__name__}). Delete it, and ingest what is "
            "read from buckets and hosts again."
        ) from None


def remember_place(home: Path, place: Place) -> None:
    """Let what is below a place be read from now on, wherever the workspace is opened.

    Raises:
        ArgumentInvalid: the list is damaged.
        OutputFailed: the list cannot be written.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / f".{PLACES_FILE}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = {one.url: one for one in remembered_places(home)}
            if known.get(place.url) == place:
                return
            known[place.url] = place
            told = [_document(one) for one in known.values()]
            with whole_file(home / PLACES_FILE) as part:
                part.write_text(json.dumps(told, indent=1))
    except OSError as error:
        raise output_failed(home, error) from error


def _document(place: Place) -> dict[str, object]:
    if place.store is None:
        return {"url": place.url}
    store = place.store
    told = {"endpoint": store.endpoint, "region": store.region, "anonymous": store.anonymous}
    return {"url": place.url, "store": told}
