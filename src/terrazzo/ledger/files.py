"""Files that people upload: a folder for each account, bounded in bytes and number.

Nothing in a path is trusted: its parts are checked, no link is followed, and what is written is
written aside and renamed, so that a file is there whole or as it was before.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import time
import unicodedata
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from terrazzo.errors import FileNotFound, TerrazzoError
from terrazzo.geo.times import format_time
from terrazzo.storage.recognise import HEAD_BYTES, check_name
from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

FOLDER = "files"
MOST_FILES = 10_000
"""Files of one account."""
_DEEPEST = 20
_LONGEST_PART = 200
"""Bytes of a name, less than file systems take because a part file's name is longer."""
_LONGEST = 1000
_PARTS = ".parts"
_TAKEN = ".taken"
_LOCK = ".lock"
_STALE = 86_400.0
COUNTED = 16_000_000
"""Bytes that are written after which it is looked how much others have uploaded meanwhile."""


class FilePathInvalid(TerrazzoError):
    """A file cannot have that path."""

    code, status = "FilePathInvalid", 400


class FolderGiven(TerrazzoError):
    """What is done to files was asked of a folder."""

    code, status = "FileOperationUnsupported", 400


class QuotaExceeded(TerrazzoError):
    """An account has no room for a file."""

    code, status = "StorageQuotaExceeded", 400


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of somebody."""

    path: str
    """Where it is, relative to their folder, with slashes."""
    size: int
    """Bytes."""
    modified: str
    """When it was written last, RFC 3339."""


class UserFiles:
    """The files of one account."""

    def __init__(self, home: Path, account: str) -> None:
        """Say whose files.

        Args:
            home: the workspace's folder.
            account: an account's id.
        """
        self._root = home / FOLDER / account

    def listed(self, limit: int | None = None, after: str = "") -> list[StoredFile]:
        """Return files in the order of their paths.

        Args:
            limit: how many at most; None is all.
            after: go on behind this path.
        """
        found = sorted(self._walk(), key=lambda one: one[0])
        chosen = [one for one in found if one[0] > after][:limit]
        return [_stored(path, entry) for path, entry in chosen]

    def used(self) -> int:
        """Return the bytes of all files, with those being uploaded and what was read of them."""
        folders = ("", _PARTS, _TAKEN)
        return sum(entry.st_size for below in folders for _, entry in self._walk(below))

    def find(self, path: str) -> tuple[Path, StoredFile]:
        """Return where a file is, and what is known of it.

        Raises:
            FilePathInvalid: no file can have that path.
            FolderGiven: it is a folder.
            FileNotFound: there is none.
        """
        names = checked_path(path)
        place = self._root.joinpath(*names)
        found = _status(place)
        folders = [_status(folder) for folder in place.parents[: len(names) - 1]]
        linked = any(folder is None or stat.S_ISLNK(folder.st_mode) for folder in folders)
        if found is None or linked:
            raise _missing(path)
        if stat.S_ISDIR(found.st_mode):
            raise FolderGiven(f"{path!r} is a folder. Name one of the files that GET /files lists.")
        if not stat.S_ISREG(found.st_mode):
            raise _missing(path)
        return place, _stored("/".join(names), found)

    def upload(self, path: str, quota: int, announced: int = 0) -> Upload:
        """Begin to write a file; nothing is seen of it until it is complete.

        Args:
            path: where it shall be; folders are made as they are needed.
            quota: bytes that all files may have together.
            announced: bytes that it is said to have; 0 if nothing is said.

        Raises:
            FilePathInvalid, FolderGiven: no file can be there.
            QuotaExceeded: there is no room for so many bytes.
            OutputFailed: it cannot be written.
        """
        names = checked_path(path)
        self._check_place(names)
        try:
            parts = self._root / _PARTS
            _make(parts)
            _drop_stale(parts)
            return Upload(self, names, parts / secrets.token_hex(16), quota, announced)
        except OSError as error:
            raise output_failed(self._root, error) from error

    def delete(self, path: str) -> None:
        """Delete a file, and the folders that are empty then.

        Raises:
            FilePathInvalid, FolderGiven, FileNotFound: see `find`.
            OutputFailed: it cannot be deleted.
        """
        place, _ = self.find(path)
        try:
            with self._alone():
                place.unlink(missing_ok=True)
                self._prune(place.parent)
                self._forget(path)
        except OSError as error:
            raise output_failed(place, error) from error

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._root

    def delete_all(self) -> None:
        """Delete the folder with everything in it.

        Raises:
            OutputFailed: something cannot be deleted.
        """
        try:
            shutil.rmtree(self._root)
        except FileNotFoundError:
            return
        except OSError as error:
            raise output_failed(self._root, error) from error

    def finish(self, names: tuple[str, ...], part: Path, quota: int) -> StoredFile:
        """Put a complete upload where it belongs; see `Upload.finish`."""
        place = self._root.joinpath(*names)
        with self._alone():
            self._check_place(names)
            found = _status(place)
            files = list(self._walk())
            taken = sum(entry.st_size for _, entry in (*files, *self._walk(_TAKEN)))
            taken -= found.st_size if found else 0
            size = part.stat().st_size
            if taken + size > quota:
                raise full(taken + size, quota)
            if found is None and len(files) >= MOST_FILES:
                raise QuotaExceeded(
                    f"You have {len(files)} files, and nobody may have more than {MOST_FILES}. "
                    "Delete some, or put several into one archive."
                )
            _make(place.parent)
            part.replace(place)
            self._forget("/".join(names))
            return _stored("/".join(names), place.stat())

    def taken_in(self, path: str) -> Path:
        """Return where what a file was read into is kept; it goes with the file."""
        names = checked_path(path)
        return self._root / _TAKEN / hashlib.sha256("/".join(names).encode()).hexdigest()[:32]

    def _forget(self, path: str) -> None:
        """Remove what was made of a file that is not there any more."""
        shutil.rmtree(self.taken_in(path), ignore_errors=True)

    def _check_place(self, names: tuple[str, ...]) -> None:
        """Refuse a path that leads through a file, or to a folder."""
        place = self._root
        for number, name in enumerate(names, 1):
            place /= name
            found = _status(place)
            if found is None:
                return
            whole = "/".join(names[:number])
            if number == len(names) and stat.S_ISDIR(found.st_mode):
                raise FolderGiven(f"{whole!r} is a folder. Give the file another name.")
            if number < len(names) and not stat.S_ISDIR(found.st_mode):
                raise FilePathInvalid(f"{whole!r} is a file, so there can be nothing in it.")

    def _prune(self, folder: Path) -> None:
        """Remove empty folders up to that of the account."""
        while folder != self._root:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def _walk(self, below: str = "") -> Iterator[tuple[str, os.stat_result]]:
        """Yield all files with what the system knows of them; links are none."""
        folders = [below]
        while folders:
            folder = folders.pop()
            try:
                entries = list(os.scandir(self._root / folder))
            except (FileNotFoundError, NotADirectoryError):
                continue
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if not folder and entry.name.startswith("."):
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif entry.is_file(follow_symlinks=False):
                        yield path, entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold what changes the account's folder, across all processes."""
        _make(self._root)
        with (self._root / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class Upload:
    """A file that is being uploaded."""

    def __init__(
        self, files: UserFiles, names: tuple[str, ...], part: Path, quota: int, announced: int
    ) -> None:
        self._files, self._names, self._part, self._quota = files, names, part, quota
        self._room = self._looked = 0
        self._size = 0
        self._look()
        self._check(announced)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        self._file: IO[bytes] = os.fdopen(descriptor, "wb")

    def write(self, piece: bytes) -> None:
        """Add bytes.

        Raises:
            QuotaExceeded: all files together have too many.
            OutputFailed: they cannot be written.
        """
        self._size += len(piece)
        self._check(self._size)
        try:
            self._file.write(piece)
            if self._size - self._looked > COUNTED:
                self._file.flush()
                self._looked = self._size
                self._look()
        except OSError as error:
            raise output_failed(self._part, error) from error

    def finish(self) -> StoredFile:
        """Put the file where it belongs, instead of one that was there.

        Raises:
            FileContentInvalid: it is not what its name says.
            QuotaExceeded: others have filled the room meanwhile.
            FilePathInvalid, FolderGiven: others have put something in the way.
            OutputFailed: it cannot be written.
        """
        try:
            self._file.close()
            with self._part.open("rb") as file:
                check_name(self._names[-1], file.read(HEAD_BYTES))
            return self._files.finish(self._names, self._part, self._quota)
        except OSError as error:
            raise output_failed(self._part, error) from error

    def drop(self) -> None:
        """Forget what has not been finished."""
        with suppress(OSError):  # what a full disk has not taken
            self._file.close()
        self._part.unlink(missing_ok=True)

    def _check(self, size: int) -> None:
        if size > self._room:
            raise full(self._quota - self._room + size, self._quota)

    def _look(self) -> None:
        """Find out how large this file may become."""
        try:
            replaced = self._files.find("/".join(self._names))[1].size
        except FileNotFound:
            replaced = 0
        self._room = self._quota - self._files.used() + replaced + self._size


def checked_path(path: str) -> tuple[str, ...]:
    """Return the parts of a path that a file may have.

    Args:
        path: relative, with slashes. Letters that can be composed in several ways are one letter.

    Raises:
        FilePathInvalid: it may not; says why.
    """
    shown = repr(path[:100])
    names = tuple(unicodedata.normalize("NFC", path).split("/"))
    if len(path) > _LONGEST or len(names) > _DEEPEST:
        raise FilePathInvalid(
            f"The path has {len(path)} letters and {len(names)} parts. It may have {_LONGEST} "
            f"letters and {_DEEPEST} parts."
        )
    for name in names:
        if not name or name.startswith(".") or name != name.strip():
            raise FilePathInvalid(
                f"{shown} is no path of a file: {name!r} is empty, begins with a dot, or has a "
                "blank at an end. Use names like borders/europe.geojson, relative to your folder."
            )
        if not name.isprintable() or "\\" in name or len(_bytes(name)) > _LONGEST_PART:
            raise FilePathInvalid(
                f"{shown} is no path of a file: a name has at most {_LONGEST_PART} bytes, and only "
                "printable letters but backslashes."
            )
    return names


def _make(folder: Path) -> None:
    """Make a folder and those above it, closed to other accounts of the machine."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _status(place: Path) -> os.stat_result | None:
    try:
        return place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _stored(path: str, entry: os.stat_result) -> StoredFile:
    modified = datetime.fromtimestamp(int(entry.st_mtime), UTC)
    return StoredFile(path, entry.st_size, format_time(modified))


def _missing(path: str) -> FileNotFound:
    return FileNotFound(f"You have no file {path!r}. GET /files lists all.")


def full(needed: int, quota: int) -> QuotaExceeded:
    """Return the error that there is no room.

    Args:
        needed: bytes that all files would have, with what was read of them.
        quota: bytes that they may have.
    """
    return QuotaExceeded(
        f"Your files, with what was read of them, would have {needed} bytes, and may have "
        f"{quota}. Delete some with DELETE /files/PATH."
    )


def _drop_stale(parts: Path) -> None:
    """Delete what was left of uploads when a server was killed."""
    for part in parts.iterdir():
        found = _status(part)
        if found is not None and found.st_mtime < time.time() - _STALE:
            part.unlink(missing_ok=True)
