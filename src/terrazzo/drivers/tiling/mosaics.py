"""What joins the tiles of a run: for each CRS and date a VRT, a tile index and, if asked, a COG.

VRTs and indexes lie beside the folders of tiles: in a bucket GDAL finds nothing beyond `..`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog import make_asset
from terrazzo.drivers.depot import BucketDepot, FolderDepot
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
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from terrazzo.drivers.depot import Depot
    from terrazzo.geo.grid import Grid
    from terrazzo.geo.tile_grids import Tile
    from terrazzo.progress import Progress

ASSEMBLED: Final = "assembled"
"""Folder of the files that are made of tiles, in that of the run."""
VRT_TYPE: Final = "application/x-gdal-vrt+xml"
GTI_TYPE: Final = "application/geopackage+sqlite3"


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
            for path, kind in ((vrt, VRT_TYPE), (gti, GTI_TYPE)):
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
        name, note = f"{ASSEMBLED}/{path.name}", f"{ASSEMBLED}/.{mosaic.name}.json"
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
        self.depot.bring(piece.path.relative_to(self.folder).as_posix(), self.folder)

    def _bring(self, pieces: Sequence[Piece]) -> None:
        """Have tiles here, where they are kept in a bucket."""
        if isinstance(self.depot, BucketDepot):
            at_once(
                lambda number: self._fetch(pieces[number]),
                len(pieces), "tiles fetched", self.progress,
            )  # fmt: skip

    def _leave(self, paths: Sequence[Path]) -> None:
        """Delete what is in a bucket: all files of a run may not fit on this machine's disk.

        Raises:
            OutputFailed: one cannot be deleted.
        """
        if isinstance(self.depot, BucketDepot):
            FolderDepot(self.folder).delete(
                path.relative_to(self.folder).as_posix() for path in paths
            )


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
