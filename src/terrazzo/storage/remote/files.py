"""Remote files as GDAL reads them: one version of each, by ranges of its bytes.

GDAL never opens a connection. It is given a file object whose reads are requests of ours
(`transport`), so that what the gate let through is what is read: the address that was checked, no
redirects, and bytes of one version of the file. The version is what the server says of the file
(ETag, time of change, size) when it is first asked. Each request asks for that version and each
answer is compared with it, so that a file that is replaced gives an error and never a mixture.
What is said of a version is believed for `BELIEVED_S` seconds; then the server is asked whether
it still holds, which is one request without a body.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from rasterio._vsiopener import MultiByteRangeResourceContainer
from typing_extensions import override

from terrazzo.spans import note
from terrazzo.storage.remote.transport import REPLACED, Address, Answer, RemoteFailed, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

BELIEVED_S = 60.0
"""How long what a server said of the version of a file is believed."""
FAILED_S = 5.0
"""How long a server is not asked again that gave nothing."""
BLOCK: Final = 65_536
"""Small reads are answered from blocks of so many bytes; the first one holds most headers."""
BLOCKS_KEPT: Final = 512
"""Blocks that a process keeps, of all files."""
FILES_KEPT: Final = 20_000
"""Files whose versions a process knows."""
RANGES_AT_ONCE: Final = 16
"""Ranges that are fetched side by side, of all files."""

_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_STRONG: Final = re.compile(r'"[\x21\x23-\x7e]*"')
_PARTIAL, _SAME, _CHANGED, _TOO_SHORT = 206, 304, 412, 416


@dataclass(frozen=True, slots=True)
class Version:
    """What a server says of a file."""

    etag: str
    """As it is sent; empty where there is none."""
    modified: str
    """Time of change as it is sent; empty where there is none."""
    size: int
    """Bytes."""

    @property
    def stamp(self) -> tuple[int, int]:
        """A number that stands for the content, and bytes."""
        told = self.etag or self.modified
        return int.from_bytes(hashlib.sha256(told.encode()).digest()[:7]), self.size

    def is_of(self, answer: Answer, size: int) -> bool:
        """Tell whether an answer is of this version, as far as it says."""
        told = answer.headers
        etag = told.get("etag", "")
        same = etag == self.etag if etag and self.etag else True
        if not (etag and self.etag):
            same = told.get("last-modified", "") == self.modified
        return same and size == self.size


_known: OrderedDict[Address, tuple[float, Version | RemoteFailed]] = OrderedDict()
_blocks: OrderedDict[tuple[Address, Version, int], bytes] = OrderedDict()


def version_of(address: Address) -> Version:
    """Return the version of a file that is there now, or was not long ago.

    Raises:
        RemoteFailed: the server gives nothing, or nothing that windows can be read of.
    """
    now = time.monotonic()
    asked, found = _known.get(address, (-BELIEVED_S, None))
    if isinstance(found, Version) and now - asked < BELIEVED_S:
        return found
    if isinstance(found, RemoteFailed) and now - asked < FAILED_S:
        raise found
    try:
        before = found if isinstance(found, Version) else None
        version = _looked_up(address, before)
    except RemoteFailed as error:
        _keep(address, error)
        raise
    _keep(address, version)
    return version


def forget(address: Address) -> None:
    """Ask anew the next time."""
    _known.pop(address, None)


def _keep(address: Address, found: Version | RemoteFailed) -> None:
    # Without a lock, which a forked child could find locked: each step is atomic.
    _known[address] = time.monotonic(), found
    while len(_known) > FILES_KEPT:
        _known.popitem(last=False)


def _looked_up(address: Address, before: Version | None) -> Version:
    """Ask for the first block, or whether it is still the one that is known."""
    headers = {"Range": f"bytes=0-{BLOCK - 1}"}
    if before is not None and before.etag:
        headers["If-None-Match"] = before.etag
    try:
        answer = ask(address, headers=headers, most=BLOCK)
    except RemoteFailed as error:
        if error.status == _TOO_SHORT:
            raise RemoteFailed("it is empty", status=error.status) from None
        raise
    if answer.status == _SAME and before is not None:
        return before
    first, size = _place(answer, 0, BLOCK)
    told = answer.headers
    version = Version(told.get("etag", ""), told.get("last-modified", ""), size)
    _put(address, version, 0, first)
    return version


def _place(answer: Answer, start: int, count: int) -> tuple[bytes, int]:
    """Return the bytes of an answer to a range, and the size of the file.

    Raises:
        RemoteFailed: they are others, or not as they are in the file.
    """
    coding = answer.headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"", "identity"}:
        raise RemoteFailed(
            f"its server sends it packed ({coding[:20]}), so that parts of it cannot be read; "
            "have it stored and sent as it is"
        )
    if answer.status != _PARTIAL:
        told_size = answer.headers.get("content-length", "")
        if answer.whole and start == 0 and told_size == str(len(answer.body)) and answer.body:
            return answer.body, len(answer.body)
        raise RemoteFailed(
            "its server does not give parts of files (ranges), so every window would read all of "
            "it; download it and ingest the file"
        )
    told = _RANGE.fullmatch(answer.headers.get("content-range", ""))
    wrong = RemoteFailed("its server sends another part of it than was asked for")
    if told is None:
        raise wrong
    first, last, size = (int(number) for number in told.groups())
    end = min(start + count, size)
    if first != start or last + 1 != end or len(answer.body) != end - start:
        raise wrong
    return answer.body, size


def fetch(address: Address, version: Version, start: int, count: int) -> bytes:
    """Return bytes of a version of a file; fewer at its end.

    Raises:
        RemoteFailed: the server does not give them, or has another version by now.
    """
    count = min(count, version.size - start)
    if count <= 0:
        return b""
    headers = {"Range": f"bytes={start}-{start + count - 1}"}
    if _STRONG.fullmatch(version.etag):
        headers["If-Match"] = version.etag
    try:
        answer = ask(address, headers=headers, most=count)
        content, size = _place(answer, start, count)
    except RemoteFailed as error:
        if error.status in {_CHANGED, _TOO_SHORT}:
            forget(address)
            raise RemoteFailed(REPLACED, status=_CHANGED) from None
        raise
    if not version.is_of(answer, size):
        forget(address)
        raise RemoteFailed(REPLACED, status=_CHANGED)
    note("bytes_fetched", len(content))
    return content


def _put(address: Address, version: Version, number: int, content: bytes) -> None:
    _blocks[address, version, number] = content
    while len(_blocks) > BLOCKS_KEPT:
        try:
            _blocks.popitem(last=False)
        except KeyError:
            return


def _block(address: Address, version: Version, number: int) -> bytes:
    """Return a block of a file; raises as `fetch`."""
    key = address, version, number
    found = _blocks.get(key)
    if found is None:
        found = fetch(address, version, number * BLOCK, BLOCK)
        _put(address, version, number, found)
    return found


class RangedFile(io.RawIOBase):
    """A file of which the size is known, and whose bytes come by ranges; the place in it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size, self._at = size, 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = 0) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    @override
    def tell(self) -> int:
        return self._at


class RemoteFile(RangedFile):
    """One version of a remote file, as GDAL reads it. It never raises: see `failure`."""

    def __init__(self, address: Address, version: Version) -> None:
        super().__init__(version.size)
        self._address, self._version = address, version
        self.failure: RemoteFailed | None = None
        """Why a read gave nothing; GDAL is told only that it did not."""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._size

    @override
    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; fewer at the end, and where they cannot be had."""
        size = self._size - self._at if size < 0 else size
        try:
            content = self._part(self._at, size)
        except RemoteFailed as error:
            self.failure = error
            return b""
        self._at += len(content)
        return content

    def get_byte_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Return several parts, fetched side by side."""
        if len(offsets) == 1:
            work: Any = map(self._part, offsets, sizes)
        else:
            work = _readers().map(self._part, offsets, sizes)
        try:
            return list(work)
        except RemoteFailed as error:
            self.failure = error
            return [b""] * len(offsets)

    def _part(self, start: int, size: int) -> bytes:
        size = max(min(size, self._size - start), 0)
        numbers = range(start // BLOCK, -(-(start + size) // BLOCK))
        held = [_blocks.get((self._address, self._version, number)) for number in numbers]
        if size > BLOCK and not all(held):
            return fetch(self._address, self._version, start, size)
        whole = b"".join(
            found or _block(self._address, self._version, number)
            for found, number in zip(held, numbers, strict=True)
        )
        first = start - numbers.start * BLOCK
        return whole[first : first + size]


class Opener:
    """Gives GDAL one file, whatever name it asks for."""

    def __init__(self, file: io.RawIOBase, size: int) -> None:
        self._file, self._size = file, size

    def open(self, path: str, mode: str = "r", **_: Any) -> io.RawIOBase:
        """Return the file."""
        del path, mode
        return self._file

    def isfile(self, path: str) -> bool:
        """Say that it is one."""
        del path
        return True

    def isdir(self, path: str) -> bool:
        """Say that it is no folder."""
        del path
        return False

    def ls(self, path: str) -> list[str]:
        """Say that there is nothing beside it."""
        del path
        return []

    def mtime(self, path: str) -> int:
        """Say nothing of when it changed: a version does not."""
        del path
        return 0

    def size(self, path: str) -> int:
        """Return its bytes."""
        del path
        return self._size


MultiByteRangeResourceContainer.register(Opener)


@lru_cache(maxsize=1)
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(RANGES_AT_ONCE, thread_name_prefix="range")


os.register_at_fork(after_in_child=_readers.cache_clear)
