"""Sending results to a bucket: several files at once, what is there is not sent again.

Files go before what names them, so that whoever finds an item finds its files. A run that was
stopped while it was sent goes on when it is asked for again: each object carries the digest of
its content.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from terrazzo.drivers.described import CATALOGUE, Results
from terrazzo.drivers.places import Place
from terrazzo.errors import ArgumentInvalid, OutputFailed
from terrazzo.storage.remote.objects import Bucket
from terrazzo.storage.remote.transport import RemoteFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from terrazzo.drivers.results import Asset
    from terrazzo.progress import Progress

FILES_AT_ONCE: Final = 4
_MEGABYTE: Final = 1_000_000
_SHA256: Final = 4
"""Characters of a multihash before the digest."""
_JSON: Final = "application/json"
_PLAIN: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Parcel:
    """A file on its way."""

    path: Path
    key: str
    """Below the place that everything goes to."""
    media_type: str
    digest: str = ""
    """SHA-256, hexadecimal; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A part of a bucket that results go to."""

    place: Place
    bucket: Bucket
    progress: Progress
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _sent: list[int] = field(default_factory=lambda: [0])

    @classmethod
    def of(cls, url: str, progress: Progress) -> Destination:
        """Return where an address leads, once the store has answered.

        Raises:
            ArgumentInvalid: it names no bucket.
            OutputFailed: the store does not answer, has no such bucket, or refuses the keys.
        """
        place = Place.of(url)
        if place.store is None:
            raise ArgumentInvalid(f"Results go to buckets, s3://BUCKET/PREFIX, and not to {url}.")
        found = cls(place, Bucket(place.bucket, place.store), progress)
        try:
            found.bucket.check()
        except RemoteFailed as error:
            raise found.failed(error) from None
        return found

    def url(self, key: str) -> str:
        """Return the address of a key below the place."""
        return f"{self.place.url}/{key}"

    def failed(self, error: RemoteFailed) -> OutputFailed:
        """Make the error that says what happened, and how to go on."""
        return OutputFailed(
            f"{self.place.url} does not take the results: {error.reason}. What was sent is kept: "
            "give the same command again."
        )

    def start(self, parcels: Sequence[Parcel]) -> None:
        """Begin to tell how much of some files is sent.

        Raises:
            ArgumentInvalid: one of them has gone.
        """
        self._sent[0] = 0
        total = sum(_size_of(one.path) for one in parcels)
        self.progress.start(-(-total // _MEGABYTE), "MB sent")

    def send(self, parcels: Sequence[Parcel]) -> None:
        """Put files that are not there yet, several at once.

        Raises:
            ArgumentInvalid: one has gone meanwhile; the others are kept.
            OutputFailed: the store does not take one; likewise.
            Cancelled: raised by `progress`; what was sent is kept.
        """
        pool = ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="send")
        stopped = threading.Event()

        def count(size: int) -> None:
            with self._lock:
                self._sent[0] += size
            if stopped.is_set():
                raise InterruptedError  # nobody waits for this file any more

        def one(parcel: Parcel) -> None:
            _size_of(parcel.path)  # it may have waited for long
            key = f"{self.place.key}/{parcel.key}".lstrip("/")
            self.bucket.put(key, parcel.path, parcel.media_type, digest=parcel.digest, sent=count)

        try:
            for work in [pool.submit(one, parcel) for parcel in parcels]:
                work.result()
                step = -(-self._sent[0] // _MEGABYTE) - self.progress.done
                if step > 0:
                    self.progress.advance(step)
        except RemoteFailed as error:
            raise self.failed(error) from None
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)

    def put_json(self, key: str, document: dict[str, Any], media_type: str = _JSON) -> None:
        """Put a document.

        Raises:
            OutputFailed: the store does not take it.
        """
        content = json.dumps(document, indent=1).encode()
        try:
            where = f"{self.place.key}/{key}".lstrip("/")
            self.bucket.put_bytes(where, content, media_type)
        except RemoteFailed as error:
            raise self.failed(error) from None


def gone(path: Path) -> ArgumentInvalid:
    """Make the error that says which file has gone, and how to have it again."""
    return ArgumentInvalid(
        f"{path} has gone since it was made. Give the command that made it again, which makes what "
        "is missing, and then this one."
    )


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        raise gone(path) from None


def digest_in(asset: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a file that its asset tells of; empty if it does not."""
    told = str(asset.get("file:checksum", ""))
    return told[_SHA256:] if told.startswith("1220") else ""


def send_files(folder: Path, assets: Sequence[Asset], destination: Destination) -> None:
    """Send files that a run has made, from a folder, before anything names them.

    Raises:
        ArgumentInvalid: one of them has gone.
        OutputFailed: the store does not take them; what was sent is kept.
        Cancelled: raised by the progress, likewise.
    """
    parcels = [
        Parcel(asset.path, asset.path.relative_to(folder).as_posix(), asset.media_type)
        for asset in assets
    ]
    with destination.progress:
        destination.start(parcels)
        destination.send(parcels)


def _parcels(folder: Path, asset: Mapping[str, Any]) -> list[Parcel]:
    """Return the files of an asset; none where workers wrote it into the bucket."""
    path = folder / asset["file"]
    if not digest_in(asset):  # it is a folder, or was never here
        inside = sorted(one for one in path.rglob("*") if one.is_file())
        return [Parcel(one, one.relative_to(folder).as_posix(), _PLAIN) for one in inside]
    return [Parcel(path, asset["file"], asset["type"], digest_in(asset))]


def send_run(folder: Path, destination: Destination) -> None:
    """Send the files of a finished run, and then the STAC that names them.

    Raises:
        ArgumentInvalid: the folder holds no finished run, or files of it have gone.
        OutputFailed: the store does not take them; what was sent is kept.
        Cancelled: raised by the progress, likewise.
    """
    results = Results.of(folder)
    if results is None:
        raise ArgumentInvalid(f"{folder} holds no finished run. Run the graph first.")
    files = [
        parcel
        for part in results.told["parts"]
        for asset in part["assets"].values()
        for parcel in _parcels(folder, asset)
    ]
    items = [
        Parcel(path, f"{CATALOGUE}/{path.name}", "application/geo+json")
        for path in sorted((folder / CATALOGUE).glob("item-*.json"))
    ]
    whole = [
        Parcel(path, f"{CATALOGUE}/{path.name}", _JSON)
        for path in (folder / CATALOGUE).glob("collection.json")
    ]
    with destination.progress:
        destination.start([*files, *items, *whole])
        for step in (files, items, whole):
            destination.send(step)
