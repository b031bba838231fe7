"""Files of an account in graphs: found, recognised, and read in closed processes.

What was read of a file of images is kept beside it as COGs, and read again only when the file has
changed. It goes when the file goes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from terrazzo.drivers.uploads import ITEMS, items_in, take_in
from terrazzo.errors import FileNotFound as NotThere
from terrazzo.errors import FormatUnsuitable
from terrazzo.ledger.files import FilePathInvalid, UserFiles
from terrazzo.sandbox.limits import Mode
from terrazzo.storage.recognise import HEAD_BYTES, kind_of, suffix_of
from terrazzo.storage.vectors.closed import read_closed

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
_KEPT: Final = 4
"""In how many ways what was read of one file is kept: with other dates or names of bands."""


@dataclass(frozen=True, slots=True)
class OwnUploads:
    """Knows the files of one account; can be sent to other processes."""

    home: Path
    """The workspace's folder."""
    account: str
    """Whose files."""
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
        """
        items: list[Mapping[str, Any]] = []
        for path in wanted.paths:
            place, name = self._find(path, wanted.format)
            kept = self.files.taken_in(path) / _version(place, name, wanted)
            if not (kept / ITEMS).exists():
                _make_room(kept.parent)
                take_in(
                    place, name, kept, datetime=wanted.datetime, bands=wanted.bands, mode=self.mode
                )
            items += items_in(kept)
        return self.files.folder, items[0], items

    def tables(
        self, wanted: Uploaded, request: FileRequest
    ) -> Sequence[tuple[Mapping[str, Any], str]]:
        """Return a GeoJSON FeatureCollection for each file, and the CRS that it is in.

        The parts of a shapefile are one file.

        Raises:
            FileNotFound: there is no such file.
            FormatUnsuitable: it is not of the format that was named.
            SourceUnreadable, ArgumentInvalid: it cannot be read.
        """
        found: list[tuple[Mapping[str, Path | bytes], str]] = []
        if request.format == "ESRI SHAPEFILE" and len(wanted.paths) > 1:
            found.append(self._parts(wanted))
        else:
            for path in wanted.paths:
                place, name = self._find(path, wanted.format)
                found.append(({name: place}, name))
        return [
            read_closed(
                files, name, crs=request.crs, id_column=request.id, layer=request.layer,
                mode=self.mode,
            )
            for files, name in found
        ]  # fmt: skip

    def _parts(self, wanted: Uploaded) -> tuple[Mapping[str, Path | bytes], str]:
        """Return the parts of one shapefile by names that differ in their ending only."""
        parts: dict[str, Path | bytes] = {}
        for path in wanted.paths:
            suffix = PurePosixPath(path).suffix.lower()
            place = self._place(path)
            if f"file{suffix}" in parts:
                raise FormatUnsuitable(
                    f"{path!r}: one shapefile is loaded at once, with the parts that belong to "
                    "it. Load each for itself."
                )
            parts[f"file{suffix}"] = place
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
        with place.open("rb") as file:
            kind = kind_of(file.read(HEAD_BYTES))
        if kind not in _KINDS[format]:
            told = f"it is a {kind} file" if kind else "its first bytes are of no kind that is read"
            raise FormatUnsuitable(f"{path!r} cannot be loaded as {format}: {told}.")
        return place, f"{PurePosixPath(path).stem}{suffix_of(kind)}"

    def _place(self, path: str) -> Path:
        try:
            return self.files.find(path)[0]
        except FilePathInvalid:
            raise NotThere(f"You have no file {path[:100]!r}. GET /files lists all.") from None


def _make_room(folder: Path) -> None:
    """Remove the oldest of what a file was read into, where there is much of it."""
    found = sorted(folder.glob("[0-9a-f]*"), key=lambda one: one.stat().st_mtime)
    for old in found[: 1 - _KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def _version(place: Path, name: str, wanted: Uploaded) -> str:
    """Return what tells apart what was read of a file: its state, and how it was read."""
    facts = place.stat()
    told = [_RECIPE, name, facts.st_ino, facts.st_mtime_ns, facts.st_size, wanted.datetime]
    return hashlib.sha256(json.dumps([*told, *wanted.bands]).encode()).hexdigest()[:32]
