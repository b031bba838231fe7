"""Objects of a bucket: listed, fetched whole, and put; each can be stopped and gone on with.

What is put carries the SHA-256 of its content, so that it is known again without being read. An
object is seen when all of it is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

import obstore
from obstore.exceptions import BaseError

from terrazzo.storage.remote.files import Version, fetch, version_of
from terrazzo.storage.remote.transport import NO_KEYS, Address, RemoteFailed, ask, told_of
from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from obstore import GetOptions
    from obstore.store import S3Store

    from terrazzo.storage.remote.stores import Store

T = TypeVar("T")

PART_BYTES: Final = 16 * 2**20
"""Files are fetched and put in parts of so many bytes, or of more where there were too many."""
PARTS_AT_ONCE: Final = 4
MOST_PARTS: Final = 9_000
"""A store takes 10 000."""
DELETED_AT_ONCE: Final = 1_000
"""Objects that one request deletes."""
BODY_TRIES: Final = 5
"""How often an object is asked for whose answer breaks off."""
_DIGEST: Final = "sha256"
_STATUS: Final = re.compile(r"status code: (\d{3})")
_PASSED: Final = frozenset({"NoSuchKey", "AccessDenied"})


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a list of its bucket tells of it."""

    key: str
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of a store."""

    name: str
    store: Store

    def check(self) -> None:
        """See that the store answers, knows the bucket, and does not send us elsewhere.

        obstore follows redirects, and says little of why a store cannot be reached.

        Raises:
            RemoteFailed: says why not.
        """
        try:
            ask(self.address(".terrazzo"))
        except RemoteFailed as error:
            plain = error.status in {403, 404} and not error.code
            if not plain and error.code not in _PASSED:
                raise

    def listed(self, prefix: str) -> Iterator[Listed]:
        """Yield the objects below a prefix, in the store's order.

        Raises:
            RemoteFailed: the store does not tell.
        """
        below, after = prefix.rstrip("/") or None, None
        for left in reversed(range(BODY_TRIES)):
            try:
                with _told():
                    for page in obstore.list(self._opened(), below, offset=after):
                        for one in page:
                            after = one["path"]
                            yield Listed(one["path"], one["size"])
            except RemoteFailed as error:
                if not left or not error.again:
                    raise
            else:
                return

    def listed_as(self, key: str) -> Listed | None:
        """Return an object; None if there is none of this key.

        Raises:
            RemoteFailed: the store does not tell.
        """
        try:
            with _told():
                return Listed(key, obstore.head(self._opened(), key)["size"])
        except RemoteFailed as error:
            if error.missing:
                return None
            raise

    def has(self, key: str, size: int, digest: str) -> bool:
        """Tell whether an object of this content was put.

        Raises:
            RemoteFailed: the store does not tell.
        """
        try:
            with _told():
                found = obstore.get(self._opened(), key, options={"head": True})
        except RemoteFailed as error:
            if error.missing:
                return False
            raise
        return found.meta["size"] == size and found.attributes.get(_DIGEST) == digest

    def address(self, key: str) -> Address:
        """Return the address of an object."""
        return Address.of_object(self.store, self.name, key)

    def holds(self, key: str, path: Path) -> bool:
        """Tell whether the content of a file was put.

        Raises:
            RemoteFailed: the store does not tell.
        """
        return self.has(key, path.stat().st_size, _digest_of(path))

    def get_bytes(self, key: str, most: int | None = None) -> bytes | None:
        """Return the first `most` bytes of an object, or all of it; None if there is none.

        Raises:
            RemoteFailed: the store does not give it.
        """
        wanted: GetOptions = {} if most is None else {"range": (0, most)}
        try:
            return bytes(_again(lambda: obstore.get(self._opened(), key, options=wanted).bytes()))
        except RemoteFailed as error:
            if error.missing:
                return None
            raise

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that are not there are none the worse.

        Raises:
            RemoteFailed: the store refuses.
        """
        waiting = iter(keys)
        while some := list(islice(waiting, DELETED_AT_ONCE)):
            _again(partial(obstore.delete, self._opened(), some))

    def parts(self, prefix: str) -> list[str]:
        """Return the names of what would be folders in a prefix, if there were folders.

        Raises:
            RemoteFailed: the store does not tell.
        """
        told = _again(lambda: obstore.list_with_delimiter(self._opened(), prefix))
        found = told["common_prefixes"]
        return [one.rstrip("/").rpartition("/")[2] for one in found]

    def put_bytes(self, key: str, content: bytes, media_type: str) -> None:
        """Put a small object.

        Raises:
            RemoteFailed: the store does not take it.
        """
        digest = hashlib.sha256(content).hexdigest()
        told = {"Content-Type": media_type, _DIGEST: digest}
        with _told():
            obstore.put(self._opened(), key, content, attributes=told, use_multipart=False)

    def put(
        self,
        key: str,
        path: Path,
        media_type: str,
        *,
        digest: str = "",
        sent: Callable[[int], None] = lambda _: None,
    ) -> bool:
        """Put a file, unless it is there.

        Args:
            key: of the object.
            path: of the file.
            media_type: of both.
            digest: SHA-256 of the file, hexadecimal; empty works it out.
            sent: is told how many bytes more are on their way; may raise to stop.

        Returns:
            Whether anything was sent.

        Raises:
            RemoteFailed: the store does not take it.
        """
        size = path.stat().st_size
        digest = digest or _digest_of(path)
        if self.has(key, size, digest):
            sent(size)
            return False
        if size <= PART_BYTES:
            self.put_bytes(key, path.read_bytes(), media_type)
            sent(size)
            return True
        step = max(PART_BYTES, -(-size // MOST_PARTS))
        told = {"Content-Type": media_type, _DIGEST: digest}
        with _told(), path.open("rb") as file:
            writer = obstore.open_writer(
                self._opened(), key, attributes=told, buffer_size=step,
                max_concurrency=PARTS_AT_ONCE,
            )  # fmt: skip
            while content := file.read(step):
                writer.write(content)
                sent(len(content))
            writer.close()  # only now is the object there: an error before leaves none
        return True

    def _opened(self) -> S3Store:
        found = self.store.opened(self.name)
        if found is None:
            raise RemoteFailed(NO_KEYS)
        return found


def fetch_whole(
    address: Address, path: Path, state: Path, *, fetched: Callable[[int], None] = lambda _: None
) -> Version:
    """Fetch a file, unless the same version of it is there; goes on where it was stopped.

    Args:
        address: where it is.
        path: where it goes. It appears whole or not at all.
        state: a folder, on the same disk, for parts and for what files are versions of.
        fetched: is told how many bytes more are there; may raise to stop.

    Raises:
        RemoteFailed: the server does not give it, or has another version while it is fetched.
        OutputFailed: the disk is full or the folder cannot be written.
    """
    version = version_of(address)
    told = json.dumps([address.url, version.etag, version.modified, version.size])
    short = hashlib.sha256(os.fspath(path.absolute()).encode()).hexdigest()[:24]
    note, part = state / f"{short}.version", state / f"{short}.part"
    with _kept(path):
        state.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        same = note.is_file() and note.read_text() == told
        if same and path.is_file() and path.stat().st_size == version.size:
            fetched(version.size)
            return version
        if not same:
            path.unlink(missing_ok=True)
            part.unlink(missing_ok=True)
            note.write_text(told)
    with _kept(path), part.open("ab") as file:
        at = file.tell()
        fetched(at)
        while at < version.size:
            content = fetch(address, version, at, PART_BYTES)
            file.write(content)
            at += len(content)
            fetched(len(content))
        file.flush()
        os.fsync(file.fileno())
    with _kept(path):
        part.replace(path)
    return version


def _again(ask: Callable[[], T]) -> T:
    """Ask once more where an answer broke off; obstore does so only before its first byte.

    Raises:
        RemoteFailed: the store gives nothing.
    """
    for left in reversed(range(BODY_TRIES)):
        try:
            with _told():
                return ask()
        except RemoteFailed as error:
            if not left or not error.again:
                raise
    raise AssertionError


@contextmanager
def _told() -> Iterator[None]:
    """Say in our words what obstore says: its own hold addresses."""
    try:
        yield
    except (BaseError, FileNotFoundError, PermissionError) as error:
        text = str(error)
        found = _STATUS.search(text)
        if found is None:
            reason = "its server does not answer, or breaks off"
            raise RemoteFailed(reason, again=True) from None
        raise told_of(int(found[1]), text) from None


@contextmanager
def _kept(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_failed(path, error) from error


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
