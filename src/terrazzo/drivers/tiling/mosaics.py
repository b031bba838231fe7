"""What joins the tiles of a run: for each CRS and date a VRT, a tile index and, if asked, a COG.

VRTs and indexes lie beside the folders of tiles: in a bucket GDAL finds nothing beyond `..`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog import make_asset
from terrazzo.drivers.depot import BucketDepot
from terrazzo.drivers.described import checksum
from terrazzo.drivers.ingestion.items import transform_of
from terrazzo.drivers.results import MEDIA_TYPES, Asset
from terrazzo.drivers.tiling.work import FOLDER, at_once
from terrazzo.geo.crs import crs_object
from terrazzo.storage.writers.files import begin_folder, output_failed
from terrazzo.storage.writers.joined import assemble, is_current
from terrazzo.storage.writers.mosaic import Frame, Look, Piece, write_gti, write_vrt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from terrazzo.drivers.depot import Depot
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

    def add(self, tile: Tile, path: Path, file: str, label: str, time: str) -> None:
        """Add a file of a tile.

        Args:
            tile: whose it is.
            path: where it is, or would be if it were fetched.
            file: what it is called in the folder of its tile.
            label: of its date.
            time: the same, RFC 3339; empty if it is none.
        """
        crs = crs_text(tile.grid.crs)
        stem = file.removesuffix(".tif").replace("/", "_")
        mosaic = self.found.setdefault(
            (crs, file), Mosaic(f"{crs}_{stem}", PurePosixPath(file).parent.as_posix(), label)
        )
        mosaic.pieces.append(Piece(path, tile.grid, tile.name, time))

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
        folder, vrts = self.folder / ASSEMBLED, self.folder / FOLDER
        begin_folder(folder)
        made, told = [], {}
        for mosaic in self.found.values():
            path, grid = folder / f"{mosaic.name}.tif", Frame.of(mosaic.pieces).grid
            vrt = vrts / f"{mosaic.name}.vrt"
            self._bring(mosaic.pieces)
            if not is_current(path, mosaic.pieces, vrt):
                assemble(
                    path, mosaic.pieces, vrt, overviews=overviews[mosaic.place], threads=threads
                )
            made.append(Asset(path, MEDIA_TYPES["tif"], mosaic.label, {}, grid))
            facts = make_asset(
                f"../{ASSEMBLED}/{path.name}",
                crs=grid.crs,
                shape=(grid.height, grid.width),
                transform=transform_of(grid),
                roles=("data",),
            )
            size, digest = path.stat().st_size, checksum(path)
            kept = {"type": MEDIA_TYPES["tif"], "file:size": size, "file:checksum": digest}
            told[path.name] = facts | kept
            self._leave(mosaic.pieces)
        return tuple(made), told

    def _looks(self, pieces: Sequence[Piece]) -> list[Look]:
        """Return what tiles look like; those that are fetched for it do not stay."""

        def look_at(number: int) -> Look:
            self._fetch(pieces[number])
            look = Look.of(pieces[number].path)
            self._leave(pieces[number : number + 1])
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

    def _leave(self, pieces: Sequence[Piece]) -> None:
        """Delete what was fetched: all tiles of a run may be more than this machine has room for.

        Raises:
            OutputFailed: one cannot be deleted.
        """
        if not isinstance(self.depot, BucketDepot):
            return
        for piece in pieces:
            try:
                piece.path.unlink(missing_ok=True)
            except OSError as error:
                raise output_failed(piece.path, error) from error


def crs_text(crs: str) -> str:
    """Return what a CRS is called in names of files: `EPSG32635`, or after its own name."""
    if crs.startswith("EPSG:"):
        return crs.replace(":", "")
    return "".join(one if one.isalnum() else "_" for one in crs_object(crs).name)
