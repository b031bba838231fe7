"""What ingestion is told, what it reports, and how grids and dates become STAC items."""

from __future__ import annotations

import glob
import hashlib
import json
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely

from terrazzo.catalog import BandInfo, make_item
from terrazzo.errors import ArgumentInvalid, SourceUnreadable
from terrazzo.geo.crs import WGS84, is_geographic, transformer
from terrazzo.geo.grid import geographic_bounds
from terrazzo.geo.times import parse_time
from terrazzo.storage.gate import Gate
from terrazzo.storage.raster import describe_for_item
from terrazzo.storage.set_aside import MOST, is_kept
from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.geo.grid import Bounds, Grid
    from terrazzo.storage.gate import AssetName

DIGEST: Final = "terrazzo:source_digest"
"""Field of an asset: digest of the pixels and metadata that its file was made of."""
FILE_EXTENSION: Final = "https://stac-extensions.github.io/file/v2.1.0/schema.json"

COMMON_NAMES: Final = frozenset({
    "pan", "coastal", "blue", "green", "green05", "red", "rededge", "rededge071", "rededge075",
    "rededge078", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir", "lwir11",
    "lwir12", "yellow",
})  # fmt: skip
"""What STAC calls bands."""
_EDGE_POINTS: Final = 21
_HALF_TURN: Final = 180.0


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How files become items."""

    datetime: str = ""
    """Instant of all files, or period `start/end`; empty takes it from each file."""
    pattern: str = ""
    """Regular expression with named groups `date`, `band`, `item`, searched in the path of a file
    relative to the folder that was named."""
    bands: tuple[str, ...] = ()
    """Names of the bands of each file; empty takes them from the files."""
    common_names: Mapping[str, str] = field(default_factory=dict)
    """STAC common name by band name, for example B8: nir."""
    platform: str = ""
    """Satellite, for example sentinel-2a, whose common names and wavelengths the bands have; empty
    takes it from names of files that say it."""
    nodata: float | None = None
    """Number that means no data, instead of what the files say."""
    scale: float | None = None
    """Factor from stored to physical values, instead of what the files say."""
    offset: float | None = None
    """Added after scaling, instead of what the files say."""
    crs: str = ""
    """CRS of files that state none; those that state one are believed. Of swaths: the one that
    they are gridded to."""
    resolution: float = 0.0
    """Edge of the pixels that swaths are gridded to, units of that CRS; 0 takes one near their own.
    """
    layer: str = ""
    """Layer of a GeoPackage; empty takes all, each as an item."""
    geometry: str = ""
    """Column of geometries (WKB) of Parquet files that do not say which it is."""
    id: str = ""
    """Attribute that names geometries; empty for their position."""
    date: str = ""
    """Attribute that says when geometries were, by which graphs choose them."""
    encoding: str = ""
    """Of the texts of Shapefiles; empty for what the file says."""
    copy: bool = False
    """Whether GeoTIFFs are copied into the workspace as COGs instead of read where they are."""
    verify: bool = False
    """Whether every pixel of a GeoTIFF is decoded before it is taken in."""
    narrow: bool = True
    """Whether bands of arrays that hold only whole numbers in 0..255 are stored as uint8: if the
    collection stores them so already, or has not got them and one file of arrays is taken in."""
    dry_run: bool = False
    """Whether nothing is written and only the report is made."""
    title: str = ""
    """Title of the collection; empty keeps what it has."""
    description: str = ""
    """Description of the collection; empty keeps what it has."""
    license: str = ""
    """SPDX identifier of its licence; empty keeps what it has, or is `other`."""
    workers: int = 2
    """Threads that read and write files."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingestion did, or with `dry_run` would do."""

    collection: str
    """Id of the collection."""
    made: int
    """Items that are new or changed."""
    kept: int
    """Items that were there already, from the same content."""
    failed: Mapping[str, str]
    """Name of a file (and date) that was left out, and why."""
    roots: tuple[Path, ...] = ()
    """Folders that are read in place and were remembered; `Workspace.of` knows them."""
    dry_run: bool = False
    """Whether nothing was written."""
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name of a file, and what should be known of it although it was taken in or passed over."""

    @property
    def items(self) -> int:
        """Items that are in the catalogue from this ingestion."""
        return self.made + self.kept


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that the user named, or that lies in a folder that the user named.

    A folder that is one thing (a Zarr store) is such a file, too.
    """

    path: Path
    """Where it is."""
    name: str
    """Its path relative to the folder named; its name if it was named itself."""
    root: Path
    """The folder named, or the file's own folder; real path."""
    named: bool = False
    """Whether the user named it itself."""
    address: str = ""
    """Where it is read over the network; `path` is then where it goes if it is fetched."""
    via: Gate | None = None
    """What lets it through, if it is read over the network."""

    @property
    def gate(self) -> Gate:
        """The gate that lets through what lies beside it."""
        return self.via or Gate((self.root,))

    def open_name(self) -> AssetName:
        """Return what readers of images take.

        Raises:
            AssetForbidden: its name cannot be opened, or it is a link that leaves its folder.
        """
        return self.gate.open_name(self.address or str(self.path), item=self.path.name)

    def digest(self, *told: object) -> str:
        """Return a digest of its content, and of what is told of it besides.

        For a file that is read over the network, what its server says stands for the content.
        """
        if self.address:
            opened = self.open_name()
            found = hashlib.sha256(repr((opened.key, opened.stamp)).encode())
        else:
            with self.path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256")
        if told:
            found.update(repr(told).encode())
        return found.hexdigest()


@dataclass(frozen=True, slots=True)
class Made:
    """An item, and what it took to make it."""

    item: dict[str, Any]
    """As the catalogue gives it back."""
    wrote: bool = False
    """Whether a file of it was written, or in a dry run would have been."""
    notes: tuple[str, ...] = ()
    """What people should know of it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An item to be."""

    id: str
    """Id of the item."""
    source: str
    """What it is made of, for messages."""
    make: Callable[[Mapping[str, Any] | None], Made]
    """Write the files that are missing and return the item; is given the item as the catalogue
    has it, or None."""
    roots: tuple[Path, ...] = ()
    """Folders that the item's files are read from in place."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Fields of STAC that its file states of the collection."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where files go."""

    collection: str
    """Id of the collection."""
    folder: Path
    """Folder of the collection's files."""
    write: bool
    """False in a dry run."""

    def path(self, item: str, asset: str) -> Path:
        """Return the file of an asset."""
        return self.folder / item / f"{asset}.tif"

    def has(self, path: Path, digest: str, before: Mapping[str, Any]) -> bool:
        """Tell whether a file is whole and made of the same content.

        Args:
            path: the file.
            digest: of the content.
            before: the asset as the catalogue has it; empty if it has none.
        """
        return (
            before.get(DIGEST) == digest
            and before.get("href") == str(path)
            and path.is_file()
            and before.get("file:size") == path.stat().st_size
        )

    def facts(self, path: Path, digest: str) -> dict[str, Any]:
        """Return the fields of an asset by which `has` knows its file again, and its header."""
        if not path.is_file():
            return {DIGEST: digest, "file:size": 0}
        known = {DIGEST: digest, "file:size": path.stat().st_size}
        try:
            return known | describe_for_item(Gate((path.parent,)).open_name(str(path)))
        except SourceUnreadable:  # what an earlier ingestion left, which a dry run does not mend
            return known

    def prepare(self, path: Path) -> None:
        """Make the folder of a file, and delete what a killed ingestion left of the file there.

        Raises:
            OutputFailed: the folder cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for scratch in path.parent.glob(f".{glob.escape(path.name)}.*.part*"):
                scratch.unlink(missing_ok=True)
        except OSError as error:
            raise output_failed(path.parent, error) from error


@dataclass(frozen=True, slots=True)
class Given:
    """What the reader of a format is given besides the file."""

    options: IngestOptions
    """What the user says."""
    target: Target
    """Where files go that are made."""
    pattern: re.Pattern[str] | None = None
    """`options.pattern`, compiled."""
    known_types: Mapping[str, str] = field(default_factory=dict)
    """Type by name of the bands that the collection has already."""
    one_cube: bool = False
    """Whether there is only one file of arrays, which shows all that its bands hold."""
    roots: tuple[Path, ...] = ()
    """Folders that are registered: what a file refers to may lie in them, too."""


@dataclass(frozen=True, slots=True)
class Period:
    """The instant of an item, or its period."""

    start: datetime
    """The instant, or the start of the period."""
    end: datetime | None = None
    """End of the period, excluded; None for an instant."""

    @classmethod
    def of(cls, text: str) -> Period:
        """Read an instant, a period `start/end`, or a month or year, which is a period, too.

        Raises:
            ArgumentInvalid: it is none, or the end is not after the start.
        """
        first, slash, last = text.partition("/")
        start = parse_time(first)
        end = parse_time(last) if slash else None
        if not slash and len(first) == len("2018"):
            end = start.replace(year=start.year + 1)
        elif not slash and len(first) == len("2018-05"):
            end = (start + timedelta(days=31)).replace(day=1)
        if end is not None and end <= start:
            raise ArgumentInvalid(f"--datetime {text!r}: its end must be after its start.")
        return cls(start, end)


def build_item(
    name: str,
    target: Target,
    when: Period,
    grids: Sequence[Grid],
    assets: Mapping[str, Mapping[str, Any]],
    properties: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make an item as the catalogue gives it back.

    Args:
        name: its id.
        target: names its collection.
        when: its instant or period.
        grids: grids of its assets, which it covers together.
        assets: by key.
        properties: more properties.
    """
    bbox, geometry = footprint(grids)
    item = make_item(
        name,
        target.collection,
        bbox=bbox,
        geometry=geometry,
        datetime=when.start if when.end is None else None,
        start=None if when.end is None else when.start,
        end=when.end,
        properties=properties,
        assets=assets,
    )
    if any("file:size" in asset for asset in assets.values()):
        item["stac_extensions"].append(FILE_EXTENSION)
    stored: dict[str, Any] = json.loads(json.dumps(item))
    return stored


def footprint(grids: Sequence[Grid]) -> tuple[Bounds, dict[str, Any] | None]:
    """Return bbox and GeoJSON geometry of grids in EPSG:4326; None where the bbox says it.

    The geometry follows the edges of the grids to a tenth of a pixel. Across the antimeridian,
    and around a pole, it is the bbox.
    """
    box, geometry = _footprint(tuple(sorted(set(grids), key=repr)))
    document: dict[str, Any] | None = json.loads(geometry) if geometry else None
    return box, document


@lru_cache(maxsize=1024)
def _footprint(distinct: tuple[Grid, ...]) -> tuple[Bounds, str]:
    """Return bbox and geometry, as text, of grids; a time series has the same again and again."""
    boxes = [_box(grid) for grid in distinct]
    crossing = [box for box in boxes if box[0] > box[2]]
    if crossing:
        west, east = _unwrapped(boxes, crossing[0][0])
        return (west, min(b[1] for b in boxes), east, max(b[3] for b in boxes)), ""
    box = (
        min(b[0] for b in boxes), min(b[1] for b in boxes),
        max(b[2] for b in boxes), max(b[3] for b in boxes),
    )  # fmt: skip
    outlines = [_outline(grid) for grid in distinct]
    shapes = [shapely.polygons(points) for points in outlines if points is not None]
    if len(shapes) < len(distinct) or not all(one.is_valid and one.area for one in shapes):
        return box, ""
    pixel = min((b[2] - b[0]) / max(g.width, 1) for b, g in zip(boxes, distinct, strict=True))
    whole = shapely.orient_polygons(shapely.union_all(shapes).simplify(pixel / 10))
    return box, str(shapely.to_geojson(whole))


def _box(grid: Grid) -> Bounds:
    """Return the bbox of a grid in -180..180, -90..90; grids may count longitudes 0..360."""
    west, south, east, north = geographic_bounds(grid, grid.window)
    if west <= east and (west < -_HALF_TURN or east > _HALF_TURN):
        whole = east - west >= 2 * _HALF_TURN
        west, east = (-_HALF_TURN, _HALF_TURN) if whole else (_wrapped(west), _wrapped(east))
    return west, max(south, -90.0), east, min(north, 90.0)


def _unwrapped(boxes: Sequence[Bounds], reference: float) -> tuple[float, float]:
    """Return west and east of boxes together, each taken from the turn nearest to a longitude."""
    turn = 2 * _HALF_TURN
    spans = []
    for west, _, east, _ in boxes:
        shift = turn * round((reference - west) / turn)
        spans.append((west + shift, east + shift + (turn if east < west else 0.0)))
    first, last = min(west for west, _ in spans), max(east for _, east in spans)
    if last - first >= turn:
        return -_HALF_TURN, _HALF_TURN
    return _wrapped(first), _wrapped(last)


def _wrapped(longitude: float) -> float:
    return (longitude + _HALF_TURN) % (2 * _HALF_TURN) - _HALF_TURN


def _outline(grid: Grid) -> NDArray[np.float64] | None:
    """Return the edge of a grid in degrees; None where it cannot be drawn as one ring."""
    left, bottom, right, top = grid.bounds
    count = 2 if is_geographic(grid.crs) else _EDGE_POINTS
    steps = np.linspace(0.0, 1.0, count)[:-1]
    xs = np.concatenate([left + steps * (right - left), np.full(count - 1, right),
                         right - steps * (right - left), np.full(count - 1, left)])  # fmt: skip
    ys = np.concatenate([np.full(count - 1, bottom), bottom + steps * (top - bottom),
                         np.full(count - 1, top), top - steps * (top - bottom)])  # fmt: skip
    longitudes, latitudes = transformer(grid.crs, WGS84).transform(xs, ys)
    jumps = np.abs(np.diff(longitudes))
    if not np.isfinite(longitudes).all() or not np.isfinite(latitudes).all():
        return None
    if np.abs(longitudes).max() > _HALF_TURN or np.abs(latitudes).max() > _HALF_TURN / 2:
        return None
    if count > 2 and (jumps > _HALF_TURN).any():  # noqa: PLR2004 - not degrees themselves
        return None
    return np.stack([longitudes, latitudes], axis=-1)


def transform_of(grid: Grid) -> tuple[float, ...]:
    """Return a grid's affine (a, b, c, d, e, f) from column, row to x, y."""
    return (grid.pixel_x, 0.0, grid.left, 0.0, -grid.pixel_y, grid.top)


def _has(dtype: np.dtype[Any], number: float) -> bool:
    """Tell whether pixels of a type can be a number."""
    if dtype.kind in "fc":
        return True
    return float(number).is_integer() and np.iinfo(dtype).min <= number <= np.iinfo(dtype).max


def band_info(
    name: str,
    grid: Grid,
    options: IngestOptions,
    *,
    dtype: str,
    nodata: float | None,
    scale: float,
    offset: float,
    description: str = "",
) -> BandInfo:
    """Describe a band; what the user states counts before what the file says.

    Its common name is told by the user, or its own name is one. NaN is the no-data value of
    floats that state none.

    Raises:
        ArgumentInvalid: the type of the band has no such number as the stated no-data value.
    """
    stated = options.nodata
    if stated is not None and not _has(np.dtype(dtype), stated):
        raise ArgumentInvalid(f"band {name!r} is {dtype}, which has no number --nodata {stated:g}.")
    if stated is not None and not is_kept(np.dtype(dtype), stated):
        raise ArgumentInvalid(
            f"band {name!r} is {dtype}, of which no-data is kept from {-MOST} to {MOST} only, as "
            f"float64 has no others exactly, and --nodata is {stated:.0f}. If the file says it "
            "itself, leave --nodata out and give --copy, which puts another number in its place."
        )
    if stated is not None:
        nodata = stated
    elif nodata is None and np.dtype(dtype).kind == "f":
        nodata = float("nan")
    scale = scale if options.scale is None else options.scale
    offset = offset if options.offset is None else options.offset
    common = options.common_names.get(name, name if name in COMMON_NAMES else "")
    gsd = None if is_geographic(grid.crs) else round(grid.pixel_metres, 6)
    return BandInfo(
        name=name, dtype=dtype, nodata=nodata, scale=scale, offset=offset, common_name=common,
        gsd_m=gsd, description=description if description != name else "",
    )  # fmt: skip
