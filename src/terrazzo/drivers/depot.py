"""Depots: where a run keeps its blocks and what it is, as files of a folder or objects of a bucket.

What is written to a depot is there whole or not at all, and two that write one name do no harm.
Nothing else is asked of it: no locks, no appending, no renaming. So workers need no common file
system, and a run goes on from any machine that reaches its depot.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

from typing_extensions import override

from terrazzo.drivers.places import Place, is_remote
from terrazzo.drivers.sending import Destination
from terrazzo.errors import ArgumentInvalid, OutputFailed
from terrazzo.storage.remote.objects import Bucket, fetch_whole
from terrazzo.storage.remote.transport import RemoteFailed
from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import BufferedWriter

    from typing_extensions import Buffer

    from terrazzo.progress import Progress

MEDIA_TYPE: Final = "application/octet-stream"
_PART: Final = re.compile(r"(^|/)\.[^/]+\.[0-9a-f]{8}\.part$")
FETCHED: Final = ".fetched"
"""Folder of what is known of files that were fetched, and of parts of others."""


class Depot(Protocol):
    """Where a run is kept; a value without secrets that can be sent to workers.

    Names have slashes. Every method may raise OutputFailed, which says how the run goes on.
    """

    def __truediv__(self, name: str) -> Self:
        """Return a part of it; as text, a depot is its address."""

    def reason_against(self) -> str:
        """Return why it cannot be used from here; empty if it can."""

    def read(self, name: str, most: int | None = None) -> bytes | None:
        """Return the first `most` bytes of a file, or all; None if there is no such file."""

    def has(self, name: str) -> bool:
        """Tell whether there is a file or folder."""

    def write(self, name: str, *parts: Buffer, lasting: bool = True) -> None:
        """Write a file out of parts, in place of the one that was there.

        Args:
            name: of the file.
            parts: of what it has in it.
            lasting: whether no loss of power takes anything of it from then on. To wait for that
                takes milliseconds; what can be made again is found out by `holds` to be cut short.
        """

    def holds(self, name: str, size: int) -> bool:
        """Tell whether a file that is there has all of its bytes."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; those that are not there are none the worse."""

    def names(self, below: str) -> Iterator[str]:
        """Yield the names of all files below a folder, from there; "" is the whole depot."""

    def folders(self, below: str) -> Iterator[tuple[str, int | None]]:
        """Yield the folders in a folder, and when each changed (ns); None where that is unknown."""

    def clear(self, below: str) -> None:
        """Delete a folder."""

    def size_of(self, below: str) -> int:
        """Return the bytes of all files below a folder."""

    def tidy(self, below: str) -> None:
        """Delete what writers that were killed had begun below a folder."""

    def bring(self, name: str, folder: Path) -> None:
        """Have a file of results, which there is, in a folder of this machine."""

    def absolute(self) -> Self:
        """Return it with an address that means the same in every process."""


def depot_of(named: str | Path) -> Depot:
    """Return the depot that a path or an address names.

    Raises:
        ArgumentInvalid: the address is not of a bucket.
    """
    if isinstance(named, Path) or not is_remote(named):
        return FolderDepot(Path(named))
    place = Place.of(named)
    if place.store is None:
        raise ArgumentInvalid(
            f"A run is kept in a folder or in a bucket, s3://BUCKET/PREFIX, and not in {named}."
        )
    return BucketDepot(place, Bucket(place.bucket, place.store))


def _unread(path: Path, error: OSError) -> OutputFailed:
    """Make the error that says what cannot be read, and how the run goes on."""
    return OutputFailed(
        f"{path} cannot be read ({error.strerror}). What is finished is kept: when that is mended, "
        "give the same command again."
    )


def _created(path: Path) -> BufferedWriter:
    """Open a new file, and make its folder where there is none yet."""
    try:
        return path.open("wb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")


@dataclass(frozen=True, slots=True)
class FolderDepot:
    """A folder, which all workers see."""

    path: Path
    """Where it is."""

    def __truediv__(self, name: str) -> Self:
        return replace(self, path=self.path / name)

    @override
    def __str__(self) -> str:
        return str(self.path)

    def reason_against(self) -> str:
        """Return why it cannot be used from here."""
        return "" if self.path.is_dir() else "there is no such folder here"

    def read(self, name: str, most: int | None = None) -> bytes | None:
        """Return the first bytes of a file, or all."""
        path = self.path / name
        try:
            with path.open("rb") as file:
                return file.read(-1 if most is None else most)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unread(path, error) from error

    def has(self, name: str) -> bool:
        """Tell whether there is a file or folder."""
        return (self.path / name).exists()

    def write(self, name: str, *parts: Buffer, lasting: bool = True) -> None:
        """Write a file beside its final name, and move it there."""
        path = self.path / name
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with _created(part) as file:
                for content in parts:
                    file.write(content)
                if lasting:
                    file.flush()
                    os.fsync(file.fileno())
            part.replace(path)
        except BaseException as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise output_failed(path, error) from error
            raise

    def holds(self, name: str, size: int) -> bool:
        """Tell whether a file has all of its bytes."""
        try:
            return (self.path / name).stat().st_size == size
        except OSError:
            return False

    def delete(self, names: Iterable[str]) -> None:
        """Delete files."""
        for name in names:
            path = self.path / name
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise output_failed(path, error) from error

    def names(self, below: str) -> Iterator[str]:
        """Yield the names of files below a folder."""
        for folder, folders, files in os.walk(self.path / below):
            folders.sort()
            start = os.path.relpath(folder, self.path / below)
            yield from (name if start == "." else f"{start}/{name}" for name in files)

    def folders(self, below: str) -> Iterator[tuple[str, int | None]]:
        """Yield the folders in a folder, and when each changed."""
        try:
            with os.scandir(self.path / below) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        continue
                    with suppress(FileNotFoundError):  # it has gone meanwhile, the others have not
                        yield entry.name, entry.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise _unread(self.path / below, error) from error

    def clear(self, below: str) -> None:
        """Delete a folder, as far as that is allowed."""
        shutil.rmtree(self.path / below, ignore_errors=True)

    def size_of(self, below: str) -> int:
        """Return the bytes of all files below a folder."""
        size = 0
        for name in self.names(below):
            path = self.path / below / name
            if _PART.search(name):
                continue  # somebody is at it still
            try:
                size += path.stat().st_size
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _unread(path, error) from error
        return size

    def tidy(self, below: str) -> None:
        """Delete parts of files that never got their names."""
        parts = (name for name in self.names(below) if _PART.search(name))
        self.delete(f"{below}/{name}" for name in parts)

    def bring(self, name: str, folder: Path) -> None:
        """Leave a file of results where it is."""

    def absolute(self) -> Self:
        """Return it with its whole path."""
        return replace(self, path=self.path.absolute())


@dataclass(frozen=True, slots=True)
class BucketDepot:
    """A part of a bucket; workers open it with keys of their own."""

    place: Place
    """Where it is."""
    bucket: Bucket
    """The same, to ask."""

    def __truediv__(self, name: str) -> Self:
        return replace(self, place=replace(self.place, url=f"{self.place.url}/{name}"))

    @override
    def __str__(self) -> str:
        return self.place.url

    def _key(self, name: str) -> str:
        return f"{self.place.key}/{name}".lstrip("/")

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except RemoteFailed as error:
            raise OutputFailed(
                f"{self} does not keep the run: {error.reason}. What is finished is kept: when "
                "that is mended, give the same command again."
            ) from None

    def reason_against(self) -> str:
        """Return why it cannot be used from here."""
        try:
            self.bucket.check()
        except RemoteFailed as error:
            return error.reason
        return ""

    def read(self, name: str, most: int | None = None) -> bytes | None:
        """Return the first bytes of an object, or all."""
        with self._asked():
            return self.bucket.get_bytes(self._key(name), most)

    def has(self, name: str) -> bool:
        """Tell whether there is an object, or one below."""
        key = self._key(name)
        with self._asked():
            return self.bucket.listed_as(key) is not None or any(self.bucket.listed(f"{key}/"))

    def write(self, name: str, *parts: Buffer, lasting: bool = True) -> None:
        """Put an object by one request, which the server answers when it is kept."""
        del lasting
        with self._asked():
            self.bucket.put_bytes(self._key(name), b"".join(parts), MEDIA_TYPE)

    def holds(self, name: str, size: int) -> bool:
        """Tell whether an object has all of its bytes: it has if it is there."""
        del name, size
        return True

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects."""
        with self._asked():
            self.bucket.delete(map(self._key, names))

    def names(self, below: str) -> Iterator[str]:
        """Yield the names of objects below a prefix."""
        start = self._key(below).rstrip("/")
        with self._asked():
            for one in self.bucket.listed(start):
                yield one.key[len(start) :].lstrip("/")

    def folders(self, below: str) -> Iterator[tuple[str, int | None]]:
        """Yield the parts of a prefix."""
        with self._asked():
            yield from ((name, None) for name in self.bucket.parts(self._key(below)))

    def clear(self, below: str) -> None:
        """Delete all objects below a prefix."""
        self.delete(f"{below}/{name}" for name in self.names(below))

    def destination(self, progress: Progress) -> Destination:
        """Return what sends files of results to it."""
        return Destination(self.place, self.bucket, progress)

    def size_of(self, below: str) -> int:
        """Return the bytes of all objects below a prefix."""
        with self._asked():
            return sum(one.size for one in self.bucket.listed(f"{self._key(below)}/"))

    def tidy(self, below: str) -> None:
        """Do nothing: an object is there when it is whole."""

    def bring(self, name: str, folder: Path) -> None:
        """Fetch a file of results, unless it is there; what is no single file stays where it is."""
        path, key = folder / name, self._key(name)
        with self._asked():
            if self.bucket.listed_as(key) is None:
                return
            try:
                if path.is_file() and self.bucket.holds(key, path):
                    return
                path.unlink(missing_ok=True)  # else it may pass for what was fetched before
            except OSError as error:
                raise output_failed(path, error) from error
            fetch_whole(self.bucket.address(key), path, folder / FETCHED)

    def absolute(self) -> Self:
        """Return it; an address means the same everywhere."""
        return self
