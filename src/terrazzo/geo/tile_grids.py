"""Tile grids: the squares into which a large result is cut, each with its own pixels and name.

They are computed, not looked up in tables. A tile always is a whole square, whatever part of it
has data, so that tiles of different runs lie on each other.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely

from terrazzo.errors import ArgumentInvalid, PlanTooLarge, SpatialExtentEmpty
from terrazzo.geo.crs import WEB_MERCATOR, WGS84, crs_name, crs_object, is_geographic, transformer
from terrazzo.geo.grid import Grid, geographic_bounds
from terrazzo.geo.mgrs import BOX_M, SQUARE_M, box_corner, square_name, zone_areas, zone_crs
from terrazzo.geo.tiling import DEEPEST, MERCATOR_HALF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shapely.geometry.base import BaseGeometry

    from terrazzo.geo.grid import Bounds, Window

MOST_TILES: Final = 1_000_000
"""Of one run."""
_EDGE_POINTS: Final = 500
"""Points on an edge of an extent, which may be a curve in the CRS of tiles."""
_DEGREES_STEP: Final = 0.25
_MERCATOR_EDGE: Final = 4096
_MERCATOR_LATITUDE: Final = 85.051128779806592
_MERCATOR_AREA: Final = ((-180.0, -_MERCATOR_LATITUDE, 180.0, _MERCATOR_LATITUDE),)
_TURN: Final = 360.0
EQUI7: Final = {"AF": 27701, "AN": 27702, "AS": 27703, "EU": 27704, "NA": 27705, "OC": 27706,
                "SA": 27707}  # fmt: skip
"""EPSG codes of the zones of Equi7Grid."""
EQUI7_TILES: Final = {"T1": 100_000, "T3": 300_000, "T6": 600_000}
"""Edges of its tiles, metres."""
SYNTAX: Final = (
    "`mgrs`, `equi7:ZONE` or `equi7:ZONE:T3`, `webmercator:ZOOM` or `webmercator:ZOOM:PIXELS`, "
    "`CRS,X,Y,PIXELS,PIXEL SIZE`, or `own:FILE` or `own:FILE:COLUMN`"
)
_NAME: Final = re.compile(r"\w[\w.-]{0,99}")
_MOST_BYTES: Final = 200
"""Of a name, in UTF-8: names of files, which are longer by some, have at most 255."""
_TAKEN: Final = "collection"
"""What is told of all tiles is called so."""
_NEAR: Final = 1e-6
"""Pixels by which the edge of a box in a file may miss one: coordinates are rounded there."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One square of a tile grid."""

    name: str
    """Unique in its tile grid, and fit for a file's name."""
    grid: Grid
    """Its pixels, all of them."""


@dataclass(frozen=True, slots=True)
class Zone:
    """Squares of one CRS, counted from a corner: rows go down, columns to the right."""

    crs: str
    """Canonical name."""
    left: float
    """x of the left edge of column 0, CRS units."""
    top: float
    """y of the upper edge of row 0, CRS units."""
    step: float
    """From one square to the next, CRS units."""
    areas: tuple[Bounds, ...] = ()
    """Where its squares are, (west, south, east, north) in degrees; empty is wherever."""

    def box(self, row: int, col: int) -> Bounds:
        """Return (left, bottom, right, top) of a square, CRS units."""
        left, top = self.left + col * self.step, self.top - row * self.step
        return left, top - self.step, left + self.step, top


@dataclass(frozen=True, slots=True)
class TileGrid:
    """The squares into which a large result is cut."""

    text: str
    """As it was asked for, with the kind before a colon."""
    pixel: float
    """Edge of a pixel, CRS units."""
    edge: int
    """Edge of a tile, pixels."""
    zones: tuple[Zone, ...]
    """Its squares; those of several CRS may overlap."""

    @property
    def kind(self) -> str:
        """What names its tiles: `mgrs`, `equi7`, `webmercator` or `own`."""
        kind = self.text.partition(":")[0].lower()
        return kind if kind in _KINDS else "own"

    @property
    def told(self) -> list[Any]:
        """What decides its tiles, JSON values."""
        return [self.text, self.pixel, self.edge]

    def tiles(self, grid: Grid, window: Window) -> tuple[Tile, ...]:
        """Return the tiles whose squares share area with a window of another grid.

        They are in the order of zones, rows and columns. A square of MGRS counts only in its
        zone, so that nothing is computed in two zones but what both their tiles hold.

        Raises:
            PlanTooLarge: there are more than a run can have.
        """
        found: list[Tile] = []
        for zone in self.zones:
            for row, col in _touched(zone, grid, window):
                found.append(self._tile(zone, row, col))
                if len(found) > MOST_TILES:
                    raise _too_many(self.text)
        return tuple(found)

    def _tile(self, zone: Zone, row: int, col: int) -> Tile:
        left, bottom, _, top = zone.box(row, col)
        if self.kind == "mgrs":
            name = square_name(zone.crs, round(left), round(bottom))
            left, top = box_corner(zone.crs, round(left), round(top))
        else:
            name = _KINDS[self.kind](self, zone, row, col)
        return Tile(name, Grid(zone.crs, left, top, self.pixel, self.pixel, self.edge, self.edge))


@dataclass(frozen=True, slots=True)
class NamedBoxes:
    """Boxes of one CRS that somebody has drawn and named, on one lattice of pixels."""

    text: str
    """As it was asked for."""
    boxes: tuple[Tile, ...]
    """All of them, at least one."""
    kind: str = "own"

    @property
    def told(self) -> list[Any]:
        """What decides its tiles, JSON values: not where they are read from."""
        every = "\n".join(f"{one.name} {one.grid}" for one in self.boxes)
        return [self.kind, hashlib.sha256(every.encode()).hexdigest()]

    def tiles(self, grid: Grid, window: Window) -> tuple[Tile, ...]:
        """Return the tiles that share area with a window of another grid, in their order."""
        first = self.boxes[0].grid
        shape = _outline(Zone(first.crs, first.left, first.top, first.pixel_x), grid, window)
        thin = np.array([1, 1, -1, -1]) * first.pixel_x * _NEAR  # edges in common do not count
        bounds = np.array([one.grid.bounds for one in self.boxes]) + thin
        shapely.prepare(shape)
        hit = shapely.intersects(shape, shapely.box(*bounds.T))
        return tuple(self.boxes[number] for number in np.flatnonzero(hit))


def named_boxes(
    text: str,
    shapes: Sequence[BaseGeometry],
    names: Sequence[Any],
    crs: str,
    pixel: float,
) -> NamedBoxes:
    """Make tiles of polygons that are boxes.

    Args:
        text: how they were asked for.
        shapes: polygons of four corners, with edges along the axes of their CRS.
        names: of each.
        crs: of their coordinates.
        pixel: edge of a pixel, CRS units.

    Raises:
        ArgumentInvalid: one is no such box or has a name that is no file's or another's; or their
            edges do not lie on one lattice of pixels.
        PlanTooLarge: there are more than a run can have.
    """
    if len(shapes) > MOST_TILES:
        raise _too_many(text)
    if pixel <= 0:
        raise ArgumentInvalid(
            f"{text!r} does not say how large pixels are. Give --resolution, in units of {crs}."
        )
    found: dict[str, Tile] = {}
    left, top = shapes[0].bounds[0], shapes[0].bounds[3]
    for shape, given in zip(shapes, names, strict=True):
        name = "" if given is None or given != given else str(given)  # noqa: PLR0124 - not NaN
        bounds = np.array(shape.bounds)
        if not _is_name(name) or name.casefold() in found:
            raise ArgumentInvalid(
                f"{name[:100]!r} cannot name a tile of {text!r}: files are called after tiles. Use "
                f"letters, digits and . _ -, at most 100 and {_MOST_BYTES} bytes, no name twice, "
                f"and not {_TAKEN!r}."
            )
        if not _is_box(shape):
            raise ArgumentInvalid(
                f"{name!r} of {text!r} is no box whose edges lie along the axes of {crs}. Draw "
                "each tile as one in that CRS."
            )
        at = (bounds - [left, top, left, top]) / pixel * [1, -1, 1, -1]
        col, stop, end, row = (int(number) for number in np.round(at))
        if np.abs(at - np.round(at)).max() > _NEAR or stop <= row or end <= col:
            raise ArgumentInvalid(
                f"The edges of {name!r} of {text!r} are not whole pixels of {pixel:g} from the "
                "upper left corner of its first box. Choose another --resolution, or move them."
            )
        grid = Grid(
            crs, left + col * pixel, top - row * pixel, pixel, pixel, stop - row, end - col
        )  # fmt: skip
        found[name.casefold()] = Tile(name, grid)
    return NamedBoxes(text, tuple(found.values()))


def _is_name(name: str) -> bool:
    """Tell whether files can be called so; none of another kind has such a name."""
    return (
        _NAME.fullmatch(name) is not None
        and len(name.encode()) <= _MOST_BYTES
        and name.casefold() != _TAKEN
    )


def _is_box(shape: BaseGeometry) -> bool:
    """Tell whether a geometry is one box along the axes, and nothing else."""
    parts = shapely.get_parts(shape)
    if len(parts) != 1 or parts[0].geom_type != "Polygon" or not parts[0].is_valid:
        return False
    return bool(shapely.equals(parts[0], shapely.box(*shape.bounds)))


def tile_grid(text: str, resolution: float = 0.0) -> TileGrid:
    """Read a tile grid.

    Args:
        text: `mgrs`: the tiles of Sentinel-2, 109.8 km from 100 km to 100 km of UTM;
            `equi7:ZONE` with AF, AN, AS, EU, NA, OC or SA: tiles T1 of Equi7Grid, 100 km, or T3
            or T6 after another colon; `webmercator:ZOOM`: tiles of web maps with 4096 pixels or
            as many as follow after another colon; `CRS,X,Y,PIXELS,PIXEL SIZE`: squares of so many
            pixels, counted from a corner.
        resolution: pixel size of `mgrs` and `equi7`, metres; 0 is 10 m.

    Raises:
        ArgumentInvalid: it is none of these, or its pixels do not fill its tiles.

    Source:
        NGA.STND.0037 (MGRS), with the corners of Sentinel-2's tiles as their metadata have them;
        Bauer-Marschallinger et al. 2014, doi:10.1016/j.cageo.2014.07.005, and EPSG 27701 to 27707
        (Equi7Grid); OGC 17-083r4 (Web Mercator).
    """
    kind, _, rest = text.partition(":")
    if kind.lower() == "mgrs" and not rest:
        pixel = resolution or 10.0
        # The corners of tiles lie on multiples of 60 m, counted from the equator.
        if 60 / pixel != round(60 / pixel):
            raise ArgumentInvalid(
                "Tiles of Sentinel-2 begin at multiples of 60 m from the equator, which pixels of "
                f"{pixel:g} m do not meet. Choose --resolution 10, 20, 30, 60 or another part of "
                "60."
            )
        return TileGrid(text, pixel, round(BOX_M / pixel), _mgrs_zones())
    if kind.lower() == "equi7":
        return _equi7(text, rest, resolution or 10.0)
    if resolution:
        raise ArgumentInvalid(
            f"The tile grid {text!r} says how large pixels are. Leave --resolution out."
        )
    if kind.lower() == "webmercator":
        return _web_mercator(text, rest)
    return _own(text)


def _mgrs_zones() -> tuple[Zone, ...]:
    return tuple(
        Zone(zone_crs(number, north=north), 0.0, 0.0, float(SQUARE_M), areas)
        for number in range(1, 61)
        for north in (False, True)
        if (areas := zone_areas(number, north=north))
    )


def _equi7(text: str, rest: str, pixel: float) -> TileGrid:
    name, _, size = rest.upper().partition(":")
    if name not in EQUI7 or (size or "T1") not in EQUI7_TILES:
        raise ArgumentInvalid(
            f"{text!r} is no tile grid of Equi7Grid. Give equi7:ZONE, with one of "
            f"{', '.join(EQUI7)}, and {' or '.join(EQUI7_TILES)} after another colon."
        )
    step = EQUI7_TILES[size or "T1"]
    crs = f"EPSG:{EQUI7[name]}"
    zone = Zone(crs, 0.0, 0.0, float(step), _area_of(crs))
    return TileGrid(text, pixel, _fitting(step, pixel, text), (zone,))


def _area_of(crs: str) -> tuple[Bounds, ...]:
    """Return the boxes in degrees for which EPSG means a CRS."""
    area = crs_object(crs).area_of_use
    if area is None:
        return ()
    west, south, east, north = area.bounds
    if west <= east:
        return ((west, south, east, north),)
    return ((west, south, 180.0, north), (-180.0, south, east, north))


def _fitting(step: float, pixel: float, text: str) -> int:
    edge = round(step / pixel)
    if edge < 1 or edge * pixel != step:
        raise ArgumentInvalid(
            f"Pixels of {pixel:g} m do not fill the tiles of {text!r}, {step:g} m, without a rest. "
            "Choose another --resolution."
        )
    return edge


def _web_mercator(text: str, rest: str) -> TileGrid:
    zoom, _, pixels = rest.partition(":")
    edge = pixels or str(_MERCATOR_EDGE)
    if not (zoom.isdecimal() and 1 <= int(zoom) <= DEEPEST and edge.isdecimal() and int(edge)):
        raise ArgumentInvalid(
            f"{text!r} is no tile grid of web maps. Give webmercator:ZOOM with a zoom from 1 to "
            f"{DEEPEST}, and the pixels of a tile's edge after another colon."
        )
    step = 2 * MERCATOR_HALF / 2 ** int(zoom)
    zone = Zone(WEB_MERCATOR, -MERCATOR_HALF, MERCATOR_HALF, step, _MERCATOR_AREA)
    return TileGrid(text, step / int(edge), int(edge), (zone,))


def _own(text: str) -> TileGrid:
    crs, *told = text.rsplit(",", 4)
    try:
        left, top, edge, pixel = float(told[0]), float(told[1]), int(told[2]), float(told[3])
        good = math.isfinite(left) and math.isfinite(top) and math.isfinite(pixel)
    except (ValueError, IndexError):
        good = False
    if not good or edge <= 0 or pixel <= 0:
        raise ArgumentInvalid(
            f"{text!r} is no tile grid. Give {SYNTAX}; for example "
            "EPSG:3035,4000000,3000000,4096,10 for squares of 4096 pixels of 10 m."
        )
    return TileGrid(text, pixel, edge, (Zone(crs_name(crs), left, top, edge * pixel),))


def _quadkey(grid: TileGrid, _: Zone, row: int, col: int) -> str:
    zoom = int(grid.text.split(":")[1])
    return "".join(str((col >> bit & 1) + 2 * (row >> bit & 1)) for bit in range(zoom - 1, -1, -1))


def _counted(_: TileGrid, __: Zone, row: int, col: int) -> str:
    """Name a square after its lower left corner, counted in squares from the grid's corner."""
    up = -row - 1
    return f"{'W' if col < 0 else 'E'}{abs(col):03}{'S' if up < 0 else 'N'}{abs(up):03}"


def _equi7_name(grid: TileGrid, zone: Zone, row: int, col: int) -> str:
    """Name a tile after its zone and its lower left corner, counted in 100 km."""
    left, bottom, _, _ = zone.box(row, col)
    east, north = round(left / 1e5), round(bottom / 1e5)
    name, _, size = grid.text.upper().partition(":")[2].partition(":")
    return f"{name}_E{east:03}{'S' if north < 0 else 'N'}{abs(north):03}{size or 'T1'}"


_KINDS: Final[dict[str, Callable[[TileGrid, Zone, int, int], str]]] = {
    "mgrs": _counted,  # named by its squares, see `TileGrid`
    "equi7": _equi7_name,
    "webmercator": _quadkey,
    "own": _counted,
}


def _too_many(text: str) -> PlanTooLarge:
    return PlanTooLarge(
        f"The extent touches more than {MOST_TILES:,} tiles of {text!r}. Choose larger tiles, or a "
        "smaller --bbox."
    )


def _touched(zone: Zone, grid: Grid, window: Window) -> Iterator[tuple[int, int]]:
    """Yield (row, col) of the squares of a zone that share area with a window."""
    shape = _outline(zone, grid, window)
    if shape.is_empty:
        return
    left, bottom, right, top = shape.bounds
    if (right - left) * (top - bottom) / zone.step**2 > MOST_TILES * 100:
        raise _too_many(zone.crs[:40])
    cols = np.arange(math.floor((left - zone.left) / zone.step),
                     math.ceil((right - zone.left) / zone.step))  # fmt: skip
    shapely.prepare(shape)
    thin = zone.step * 1e-9  # what only has an edge in common is not touched
    for row in range(
        math.floor((zone.top - top) / zone.step), math.ceil((zone.top - bottom) / zone.step)
    ):
        x, y = zone.left + cols * zone.step, zone.top - row * zone.step
        boxes = shapely.box(x + thin, y - zone.step + thin, x + zone.step - thin, y - thin)
        for col in cols[shapely.intersects(shape, boxes)]:
            yield row, int(col)


def _outline(zone: Zone, grid: Grid, window: Window) -> BaseGeometry:
    """Return what a window covers of a zone, in the zone's CRS."""
    whole = shapely.box(*grid.bounds_of(window))
    edge = max(whole.bounds[2] - whole.bounds[0], whole.bounds[3] - whole.bounds[1])
    if not zone.areas:
        return _carried(shapely.segmentize(whole, edge / _EDGE_POINTS), grid.crs, zone.crs)
    parts = [
        shapely.segmentize(shapely.intersection(whole, strip), edge / _EDGE_POINTS)
        for strip in _strips(zone, grid, window)
    ]
    return shapely.union_all([_carried(part, grid.crs, zone.crs) for part in parts])


def _strips(zone: Zone, grid: Grid, window: Window) -> Iterator[BaseGeometry]:
    """Yield the areas of a zone, as far as they are near a window, in the grid's CRS."""
    try:
        west, south, east, north = geographic_bounds(grid, window)
    except SpatialExtentEmpty:
        return
    spans = ((west, east),) if west <= east else ((west, 180.0), (-180.0, east))
    turns = (-_TURN, 0.0, _TURN) if is_geographic(grid.crs) else (0.0,)
    near = [
        (low + turn, south, high + turn, north)
        for low, high in spans
        for turn in (-_TURN, 0.0, _TURN)
    ]
    for area in zone.areas:
        for other in near:
            box = shapely.intersection(shapely.box(*area), shapely.box(*other))
            if box.area == 0.0:
                continue
            drawn = shapely.segmentize(box, _DEGREES_STEP)
            for turn in turns:
                turned = shapely.transform(drawn, lambda at, by=turn: at + np.array([by, 0.0]))
                yield _carried(turned, WGS84, grid.crs)


def _carried(shape: BaseGeometry, source: str, target: str) -> BaseGeometry:
    """Return a shape in another CRS; what has no place there is left out."""
    if source == target or shape.is_empty:
        return shape
    carried = shapely.transform(shape, transformer(source, target).transform, interleaved=False)
    if not np.isfinite(shapely.get_coordinates(carried)).all():
        return shapely.Polygon()
    return shapely.make_valid(carried)
