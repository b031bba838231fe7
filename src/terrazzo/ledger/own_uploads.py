"""Files of an account in graphs: found, recognised, and read in closed processes.

What was read of a file of images is kept beside it as COGs, and read again only when the file has
changed. It goes when the file goes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from terrazzo.drivers.uploads import ITEMS, items_in, take_in
from terrazzo.errors import FileNotFound as NotThere
from terrazzo.errors import FormatUnsuitable, OutputFailed
from terrazzo.ledger.files import COUNTED, FilePathInvalid, UserFiles, full
from terrazzo.sandbox.closed import LIMITS
from terrazzo.sandbox.limits import Mode
from terrazzo.storage.recognise import HEAD_BYTES, kind_of, suffix_of
from terrazzo.storage.vectors.closed import Room, read_closed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.processes.load import FileRequest, Uploaded

_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "GTIFF": ("TIFF", "ZIP archive"),
    "JP2OPENJPEG": ("JPEG 2000", "ZIP archive"),
    "NETCDF": ("HDF5", "classic NetCDF", "ZIP archive"),
    "GRIB": ("GRIB", "ZIP archive"),
    "GEOJSON": ("JSON",),
    "GEOPARQUET": ("Parquet",),
    "PARQUET": ("Parquet",),
    "GPKG": ("GeoPackage",),
    "ESRI SHAPEFILE": ("shapefile", "ZIP archive"),
}
"""What a file may be that is loaded by the name of a format."""
_RECIPE: Final = "1"
"""Another one reads all files anew."""
_UNUSED: Final = 86_400.0
"""Seconds after which what was read, and not asked for since, makes room."""
_LEFT: Final = 3_600.0
"""Seconds after which what is not finished was left by a process that was killed."""


class _Quota:
    """What may still be kept; looks now and then what others have kept meanwhile."""

    def __init__(self, files: UserFiles, quota: int) -> None:
        self._files, self._quota = files, quota
        self._left = self._unseen = 0
        self._look()
        self.take(1)  # where nothing can be kept nothing is read

    def take(self, size: int) -> None:
        """Keep so many bytes.

        Raises:
            QuotaExceeded: there is no room for them.
        """
        self._left -= size
        self._unseen += size
        if self._unseen > COUNTED:
            self._look()
        if self._left < 0:
            raise full(self._quota - self._left, self._quota)

    def reserve(self, size: int) -> None:
        """See that so many bytes could be kept, before any is written.

        Raises:
            QuotaExceeded: there is no room for them.
        """
        if size > self._left:
            self._look()
        if size > self._left:
            raise full(self._quota - self._left + size, self._quota)

    def _look(self) -> None:
        self._left, self._unseen = self._quota - self._files.used(), 0


@dataclass(frozen=True, slots=True)
class OwnUploads:
    """Knows the files of one account; can be sent to other processes."""

    home: Path
    """The workspace's folder."""
    account: str
    """Whose files."""
    quota: int
    """Bytes that they may have, with what was read of them."""
    mode: Mode = Mode.SANDBOXED
    """Whether the processes that read them are shut in."""

    @property
    def files(self) -> UserFiles:
        """The files."""
        return UserFiles(self.home, self.account)

    def images(
        self, wanted: Uploaded
    ) -> tuple[Path, Mapping[str, Any], Sequence[Mapping[str, Any]]]:
        """Return the folder that may be read, a STAC document and its items.

        Raises:
            FileNotFound: there is no such file.
            FormatUnsuitable: it is not of the format that was named.
            SourceUnreadable, ArgumentInvalid, AssetForbidden: it cannot be read.
            QuotaExceeded: there is no room for what is read of it.
        """
        items: list[Mapping[str, Any]] = []
        for path in dict.fromkeys(wanted.paths):
            items += self._read(path, wanted)
        return self.files.folder, items[0], items

    def tables(
        self, wanted: Uploaded, request: FileRequest
    ) -> Sequence[tuple[Mapping[str, Any], str]]:
        """Return a GeoJSON FeatureCollection for each file, and the CRS that it is in.

        The parts of a shapefile are one file, and a file that is named twice is one.

        Raises:
            FileNotFound: there is no such file.
            FormatUnsuitable: it is not of the format that was named.
            SourceUnreadable, ArgumentInvalid: it cannot be read.
        """
        found: list[tuple[Mapping[str, Path | bytes], str]] = []
        paths, room = tuple(dict.fromkeys(wanted.paths)), Room()
        if request.format == "ESRI SHAPEFILE" and len(paths) > 1:
            found.append(self._parts(paths))
        else:
            for path in paths:
                place, name = self._find(path, wanted.format)
                found.append(({name: place}, name))
        return [
            read_closed(
                files, name, crs=request.crs, id_column=request.id, layer=request.layer,
                mode=self.mode, room=room, owner=self.account,
            )
            for files, name in found
        ]  # fmt: skip

    def _read(self, path: str, wanted: Uploaded) -> Sequence[Mapping[str, Any]]:
        """Return the items of a file, and read it if that has not been done."""
        place, name = self._find(path, wanted.format)
        state = _state(place)
        if state is None:
            raise _missing(path)
        kept = self.files.taken_in(path) / state / _version(name, wanted)
        try:
            if not _used(kept):
                _make_room(kept.parent)
                quota = _Quota(self.files, self.quota)
                take_in(
                    place, name, kept, reserve=quota.reserve, kept=quota.take,
                    datetime=wanted.datetime, bands=wanted.bands, mode=self.mode,
                    owner=self.account,
                )  # fmt: skip
            items = items_in(kept)
        except (FileNotFoundError, OutputFailed):
            if _state(place) == state:
                raise
        if _state(place) != state:  # what was read comes too late to go with the file
            shutil.rmtree(kept.parent, ignore_errors=True)
            self._place(path)
            raise NotThere(f"{path[:100]!r} was replaced while it was read. Load it again.")
        return items

    def _parts(self, paths: Sequence[str]) -> tuple[Mapping[str, Path | bytes], str]:
        """Return the parts of one shapefile by names that differ in their ending only."""
        parts: dict[str, Path | bytes] = {}
        size = 0
        for path in paths:
            suffix = PurePosixPath(path).suffix.lower()
            place = self._place(path)
            if f"file{suffix}" in parts:
                raise FormatUnsuitable(
                    f"{path!r}: one shapefile is loaded at once, with the parts that belong to "
                    "it. Load each for itself."
                )
            parts[f"file{suffix}"] = place
            size += place.stat().st_size
        if size > LIMITS.scratch_bytes:
            raise FormatUnsuitable(
                f"The parts have {size:,} bytes together, and may have {LIMITS.scratch_bytes:,}."
            )
        if "file.shp" not in parts:
            raise FormatUnsuitable("None of the files ends in .shp. Name all parts of a shapefile.")
        return parts, "file.shp"

    def _find(self, path: str, format: str) -> tuple[Path, str]:  # noqa: A002 - openEO's word
        """Return where a file is, and what readers shall call it: by what it is.

        Raises:
            FileNotFound: there is no such file.
            FormatUnsuitable: its first bytes are not of the format.
        """
        place = self._place(path)
        try:
            with place.open("rb") as file:
                kind = kind_of(file.read(HEAD_BYTES))
        except FileNotFoundError:
            raise _missing(path) from None
        if kind not in _KINDS[format]:
            told = f"it is a {kind} file" if kind else "its first bytes are of no kind that is read"
            raise FormatUnsuitable(f"{path!r} cannot be loaded as {format}: {told}.")
        return place, f"{PurePosixPath(path).stem}{suffix_of(kind)}"

    def _place(self, path: str) -> Path:
        try:
            return self.files.find(path)[0]
        except FilePathInvalid:
            raise _missing(path) from None


def _missing(path: str) -> NotThere:
    return NotThere(f"You have no file {path[:100]!r}. GET /files lists all.")


def _used(kept: Path) -> bool:
    """Tell whether a file has been read already, and remember that it was asked for."""
    try:
        os.utime(kept)
    except FileNotFoundError:
        return False
    return (kept / ITEMS).exists()


def _make_room(folder: Path) -> None:
    """Remove what was read of earlier states of a file, and of this one what nobody asks for.

    What a graph has found a moment ago it reads later: it stays, whatever else is read.
    """
    for earlier in _within(folder.parent):
        if earlier.name != folder.name:
            shutil.rmtree(earlier, ignore_errors=True)
    for old in _within(folder):
        if not old.name.startswith(".") and _age_s(old) > _UNUSED:
            with suppress(OSError):  # somebody else does the same
                old.rename(old.with_name(f".{old.name}.{uuid.uuid4().hex[:8]}.part"))
    for left in folder.parents[1].glob("*/*/.*.part"):
        if _age_s(left) > _LEFT:
            shutil.rmtree(left, ignore_errors=True)


def _within(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _age_s(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _state(place: Path) -> str | None:
    """Return what tells apart the states of a file; None if it is not there."""
    try:
        facts = place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _hash([facts.st_ino, facts.st_mtime_ns, facts.st_size])


def _version(name: str, wanted: Uploaded) -> str:
    """Return what tells apart in how many ways a file was read."""
    return _hash([_RECIPE, name, wanted.datetime, *wanted.bands])


def _hash(told: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]
