"""What joins the tiles of a run: for each CRS and date a VRT, a tile index and, if asked, a COG.

VRTs and indexes lie beside the folders of tiles: in a bucket GDAL finds nothing beyond `..`. Which
there may be is noted before they are written, so that those whose tiles have gone are known for our
own and deleted, and nothing else is.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog import make_asset
from terrazzo.drivers.block_names import is_plain
from terrazzo.drivers.depot import FETCHED, BucketDepot, FolderDepot
from terrazzo.drivers.described import checksum
from terrazzo.drivers.ingestion.items import transform_of
from terrazzo.drivers.results import MEDIA_TYPES, Asset
from terrazzo.drivers.sending import send_files
from terrazzo.drivers.tiling.tallied import FOLDER
from terrazzo.drivers.tiling.work import at_once
from terrazzo.geo.crs import crs_object
from terrazzo.storage.writers.files import begin_folder
from terrazzo.storage.writers.joined import assemble
from terrazzo.storage.writers.mosaic import Frame, Look, Piece, write_gti, write_vrt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from terrazzo.drivers.depot import Depot
    from terrazzo.geo.grid import Grid
    from terrazzo.geo.tile_grids import Tile
    from terrazzo.progress import Progress

ASSEMBLED: Final = "assembled"
"""Folder of the files that are made of tiles, in that of the run."""
TYPES: Final = {
    ".vrt": "application/x-gdal-vrt+xml",
    ".gti.gpkg": "application/geopackage+sqlite3",
}
"""Media types of the files of a mosaic in the folder of tiles, by their endings."""
_NOTE: Final = f"{FOLDER}/.mosaics.json"
"""Which mosaics there may be, and whether they may be assembled."""


@dataclass(frozen=True, slots=True)
class Mosaic:
    """The files of one CRS and date."""

    name: str
    """For the names of files."""
    place: str
    """The folder of its files in those of their tiles; `.` where there is only one result."""
    label: str
    """Its date, as the result has it."""
    pieces: list[Piece] = field(default_factory=list)
    checksums: dict[str, str] = field(default_factory=dict)
    """Of their files, by tile."""

    @property
    def grid(self) -> Grid:
        """The pixels of all of them."""
        return Frame.of(self.pieces).grid

    def digest(self, overviews: str) -> str:
        """Return what tells one file of these tiles from one of others, or of other overviews."""
        every = (f"{one.tile} {one.grid} {self.checksums[one.tile]}" for one in self.pieces)
        return hashlib.sha256("\n".join((overviews, *every)).encode()).hexdigest()


@dataclass(slots=True)
class Mosaics:
    """The mosaics of a run."""

    folder: Path
    """In which files are put together."""
    depot: Depot
    """Where the tiles are kept."""
    progress: Progress
    """Told of tiles that are fetched; may raise `Cancelled` to stop."""
    found: dict[tuple[str, str], Mosaic] = field(default_factory=dict)
    """By CRS and file."""

    def add(self, tile: Tile, path: Path, part: Mapping[str, Any], told: Mapping[str, Any]) -> None:
        """Add a file of a tile.

        Args:
            tile: whose it is.
            path: where it is, or would be if it were fetched.
            part: what the results of the tile tell of its date.
            told: what they tell of the file.
        """
        file = told["file"]
        crs = crs_text(tile.grid.crs)
        stem = file.removesuffix(".tif").replace("/", "_")
        mosaic = self.found.setdefault(
            (crs, file),
            Mosaic(f"{crs}_{stem}", PurePosixPath(file).parent.as_posix(), part["label"]),
        )
        mosaic.pieces.append(Piece(path, tile.grid, tile.name, part["time"]))
        mosaic.checksums[tile.name] = str(told.get("file:checksum", ""))

    @property
    def names(self) -> list[str]:
        """What all of them are called."""
        return [mosaic.name for mosaic in self.found.values()]

    def write(self) -> dict[str, dict[str, Any]]:
        """Write a VRT and a tile index of each mosaic; returns what STAC is told of them.

        Raises:
            OutputFailed: the folder cannot be written to, or a tile cannot be fetched.
        """
        folder = self.folder / FOLDER
        begin_folder(folder)
        assets: dict[str, dict[str, Any]] = {}
        for mosaic in self.found.values():
            mosaic.pieces.sort(key=lambda piece: piece.tile)
        looks = self._looks([mosaic.pieces[0] for mosaic in self.found.values()])
        for mosaic, look in zip(self.found.values(), looks, strict=True):
            vrt = write_vrt(folder / f"{mosaic.name}.vrt", mosaic.pieces, look)
            gti = write_gti(folder / f"{mosaic.name}.gti.gpkg", mosaic.pieces, look)
            for path, kind in zip((vrt, gti), TYPES.values(), strict=True):
                told = {"type": kind, "roles": ["data", "mosaic"]}
                assets[path.name] = {"href": f"../{FOLDER}/{path.name}", **told}
        return assets

    def assembled(
        self, overviews: Mapping[str, str], threads: int
    ) -> tuple[tuple[Asset, ...], dict[str, dict[str, Any]]]:
        """Write one file of the tiles of each mosaic; returns the files and what STAC is told.

        Args:
            overviews: how overviews are made, by the mosaics' places.
            threads: that compress, where tiles must be decoded.

        Raises:
            OutputFailed: the folder cannot be written to, or a tile cannot be fetched.
        """
        begin_folder(self.folder / ASSEMBLED)
        made, told = [], {}
        for mosaic in self.found.values():
            path, grid = self.folder / ASSEMBLED / f"{mosaic.name}.tif", mosaic.grid
            kept = self._kept(mosaic, path, overviews[mosaic.place], threads)
            made.append(Asset(path, MEDIA_TYPES["tif"], mosaic.label, {}, grid))
            facts = make_asset(
                f"../{ASSEMBLED}/{path.name}",
                crs=grid.crs,
                shape=(grid.height, grid.width),
                transform=transform_of(grid),
                roles=("data",),
            )
            told[path.name] = facts | {"type": MEDIA_TYPES["tif"], **kept}
        return tuple(made), told

    def _kept(self, mosaic: Mosaic, path: Path, overviews: str, threads: int) -> dict[str, Any]:
        """Have one file of a mosaic, that of before if it is of the same tiles.

        Returns:
            Its size and checksum, as STAC has them.
        """
        name, note = _assembled_files(mosaic.name)
        tiles, known = mosaic.digest(overviews), _noted(self.depot.read(note))
        if (
            known.pop("tiles", "") == tiles
            and self.depot.has(name)
            and self.depot.holds(name, known["file:size"])
        ):
            return known
        self.depot.delete([note])
        self._bring(mosaic.pieces)
        vrt = self.folder / FOLDER / f"{mosaic.name}.vrt"
        assemble(path, mosaic.pieces, vrt, overviews=overviews, threads=threads)
        kept = {"file:size": path.stat().st_size, "file:checksum": checksum(path)}
        self._leave([piece.path for piece in mosaic.pieces])
        if isinstance(self.depot, BucketDepot):
            made = Asset(path, MEDIA_TYPES["tif"])
            send_files(self.folder, (made,), self.depot.destination(self.progress))
            self._leave([path])
        self.depot.write(note, json.dumps({"tiles": tiles, **kept}).encode())
        return kept

    def _looks(self, pieces: Sequence[Piece]) -> list[Look]:
        """Return what tiles look like; those that are fetched for it do not stay."""

        def look_at(number: int) -> Look:
            self._fetch(pieces[number])
            look = Look.of(pieces[number].path)
            self._leave([pieces[number].path])
            return look

        if isinstance(self.depot, BucketDepot):
            return at_once(look_at, len(pieces), "tiles fetched", self.progress)
        return [Look.of(piece.path) for piece in pieces]

    def _fetch(self, piece: Piece) -> None:
        self.depot.bring(self._name(piece.path), self.folder)

    def _bring(self, pieces: Sequence[Piece]) -> None:
        """Have tiles here, where they are kept in a bucket."""
        if isinstance(self.depot, BucketDepot):
            at_once(
                lambda number: self._fetch(pieces[number]),
                len(pieces), "tiles fetched", self.progress,
            )  # fmt: skip

    def leave(self) -> None:
        """Delete what lies here of a run in a bucket, also if it was stopped, or killed before.

        Raises:
            OutputFailed: something cannot be deleted.
        """
        if not isinstance(self.depot, BucketDepot):
            return
        here = FolderDepot(self.folder)
        tiles = {self._name(piece.path) for one in self.found.values() for piece in one.pieces}
        there = (f"{FOLDER}/{name}" for name in here.names(FOLDER))
        here.delete(name for name in there if name in tiles)
        for name in self.names:
            here.delete([*_files(name), *_assembled_files(name)])
        here.clear(FETCHED)

    def _leave(self, paths: Iterable[Path]) -> None:
        """Delete what is in a bucket: all files of a run may not fit on this machine's disk.

        Raises:
            OutputFailed: one cannot be deleted.
        """
        if isinstance(self.depot, BucketDepot):
            FolderDepot(self.folder).delete(map(self._name, paths))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


@contextmanager
def alone(names: Iterable[str], depot: Depot, *, assembled: bool) -> Iterator[None]:
    """Have the files of some mosaics written, after which those of all others are deleted.

    Args:
        names: of the mosaics.
        depot: of the run.
        assembled: whether they are assembled, too.

    Raises:
        OutputFailed: the depot does not take the note, or cannot delete.
    """
    before = noted_mosaics(depot)
    now = {name: assembled or before.get(name, False) for name in names}
    if before | now != before:
        _note(depot, before | now)
    yield
    gone = {name: whole for name, whole in before.items() if name not in now}
    if gone:
        for name, whole in gone.items():
            depot.delete([*_files(name), *(_assembled_files(name) if whole else ())])
        _note(depot, now)


def noted_mosaics(depot: Depot) -> dict[str, bool]:
    """Return the names of the mosaics that may be in a depot, and whether they may be assembled.

    Raises:
        OutputFailed: the depot does not tell.
    """
    try:
        told = json.loads(depot.read(_NOTE) or b"{}")
    except ValueError:
        return {}
    items = told.items() if isinstance(told, dict) else ()
    return {name: whole is True for name, whole in items if is_plain(name)}


def _note(depot: Depot, names: Mapping[str, bool]) -> None:
    depot.write(_NOTE, json.dumps(names, sort_keys=True).encode())


def _files(name: str) -> tuple[str, ...]:
    """Return the files of a mosaic beside its tiles."""
    return tuple(f"{FOLDER}/{name}{ending}" for ending in TYPES)


def _assembled_files(name: str) -> tuple[str, str]:
    """Return the file that is assembled of a mosaic, and the note of what it is made of."""
    return f"{ASSEMBLED}/{name}.tif", f"{ASSEMBLED}/.{name}.json"


def _noted(content: bytes | None) -> dict[str, Any]:
    """Return what a note tells of an assembled file; nothing where it is none."""
    try:
        told = json.loads(content or b"{}")
        return {"tiles": str(told["tiles"]), "file:size": int(told["file:size"]),
                "file:checksum": str(told["file:checksum"])}  # fmt: skip
    except (ValueError, LookupError, TypeError):
        return {}


def crs_text(crs: str) -> str:
    """Return what a CRS is called in names of files: `EPSG32635`, or after its own name."""
    if crs.startswith("EPSG:"):
        return crs.replace(":", "")
    return "".join(one if one.isalnum() else "_" for one in crs_object(crs).name)
