"""Spatial extents as openEO gives them: bounding boxes in any CRS, and polygons.

One rule for all of them: a pixel belongs to the extent where its centre does, on the edge too (it
intersects, as Simple Features have it). The test is made in the CRS of the box (in the CRS of the
grid for polygons), pixel by pixel, so that it does not depend on the window in which a pixel is
looked at. To points and lines belong the pixels whose centres are nearest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely.geometry import shape

from terrazzo.errors import ArgumentInvalid, SpatialExtentEmpty
from terrazzo.geo.crs import WGS84, crs_name, is_geographic, transformer
from terrazzo.geo.grid import Bounds, Grid, Window, transform_bounds
from terrazzo.geo.marks import marked, marked_window, marks_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

TURN, HALF_TURN, POLE = 360.0, 180.0, 90.0 + 1e-6
"""Degrees."""
EDGE_POINTS = 200
"""Points on the longer edge of a box whose bounds in another CRS are looked for."""
FAR = 1e300
"""A coordinate that lies in no polygon, for pixels that have no place in its CRS."""
_NOT_GEOJSON = (
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ValueError,
    OverflowError,
    RecursionError,
    shapely.errors.ShapelyError,
)


@dataclass(frozen=True, slots=True, eq=False)
class SpatialExtent:
    """A bounding box, or the polygons, points and lines inside it."""

    bounds: Bounds
    """(left, bottom, right, top) in `crs`; left > right crosses the antimeridian."""
    crs: str
    """Canonical CRS name of bounds and polygons."""
    polygons: BaseGeometry | None = None
    """The union of the polygons in `crs`; None for a plain box."""
    marks: BaseGeometry | None = None
    """Points and lines in `crs`, which stand beside polygons; None for none."""

    @property
    def boxes(self) -> tuple[Bounds, ...]:
        """The bounds as one box, or two where they cross the antimeridian; within -180..180."""
        left, bottom, right, top = self.bounds
        if not is_geographic(self.crs) or -HALF_TURN <= left <= right <= HALF_TURN:
            return (self.bounds,)
        width = right - left + (TURN if left > right else 0.0)
        if width >= TURN:
            return ((-HALF_TURN, bottom, HALF_TURN, top),)
        if not -HALF_TURN <= left < HALF_TURN:
            left -= TURN * math.floor((left + HALF_TURN) / TURN)
        if not -HALF_TURN < right <= HALF_TURN:
            right -= TURN * (math.ceil((right + HALF_TURN) / TURN) - 1)
        if left < right:
            return ((left, bottom, right, top),)
        return ((left, bottom, HALF_TURN, top), (-HALF_TURN, bottom, right, top))

    def _boxes_on(self, grid: Grid) -> tuple[Bounds, ...]:
        """Return the boxes where a grid of the same CRS has them: longitudes may run to 360."""
        if not is_geographic(self.crs):
            return self.boxes
        west, _, east, _ = grid.bounds
        turned = [
            (left + turn, bottom, right + turn, top)
            for left, bottom, right, top in self.boxes
            for turn in (-TURN, 0.0, TURN)
        ]
        return tuple(b for b in turned if b[0] < east and b[2] > west) or self.boxes

    def bounds_in(self, crs: str) -> Bounds:
        """Return the bounds in another CRS; both sides of the antimeridian where it is crossed."""
        parts = np.array([transform_bounds(box, self.crs, crs) for box in self.boxes])
        low, high = parts.min(axis=0), parts.max(axis=0)
        return float(low[0]), float(low[1]), float(high[2]), float(high[3])

    def window(self, grid: Grid) -> Window:
        """Return a window of the grid that holds every pixel whose centre may be inside."""
        union = Window(0, 0, 0, 0)
        for marks in self._marks_on(grid):
            union = union.union(marked_window(marks, grid))
        if self.polygons is not None and self.polygons.is_empty:
            return union
        if self.crs != grid.crs:
            return union.union(grid.window_of(self.bounds_in(grid.crs)))
        for box in self._boxes_on(grid):
            union = union.union(grid.window_of(box, centres=self.polygons is None))
        return union

    def holds(self, grid: Grid, window: Window) -> bool:
        """Tell whether all pixels of a window are surely inside, without a look at each."""
        if self.polygons is not None or self.crs != grid.crs:
            return False
        boxes = self._boxes_on(grid)  # far from each other where longitudes run to 360
        return any(grid.window_of(box, centres=True).contains(window) for box in boxes)

    def exact_window(self, grid: Grid, within: Window) -> Window:
        """Return the smallest window that holds what is inside: openEO's crop.

        Of polygons it holds the pixels whose centre lies in their bounding box on the grid, of a
        box those whose centre lies in it.

        Args:
            grid: the lattice.
            within: the pixels of it that there are.
        """
        touched = self.window(grid).intersection(within)
        if touched.is_empty or (self.polygons is None and self.crs == grid.crs):
            return touched
        outline = _outline(self) if self.polygons is None else (self.polygons,)
        held = Window(0, 0, 0, 0)
        for part in outline:
            if not part.is_empty:
                bounds = shapely.transform(
                    part, transformer(self.crs, grid.crs).transform, interleaved=False
                ).bounds
                if not np.isfinite(bounds).all():
                    return touched
                held = held.union(_centres_in(bounds, grid))
        if self.polygons is None:
            return self._trimmed(grid, held.grown(1, 1).intersection(touched))
        for marks in self._marks_on(grid):
            held = held.union(marked_window(marks, grid))
        return held.intersection(touched)

    def _trimmed(self, grid: Grid, window: Window) -> Window:
        """Return a window without the rows and columns at its edges that have no pixel inside."""
        while not window.is_empty:
            row, col, height, width = window.row, window.col, window.height, window.width
            sides = {
                Window(row, col, 1, width): Window(row + 1, col, height - 1, width),
                Window(row + height - 1, col, 1, width): Window(row, col, height - 1, width),
                Window(row, col, height, 1): Window(row, col + 1, height, width - 1),
                Window(row, col + width - 1, height, 1): Window(row, col, height, width - 1),
            }
            rest = next((r for side, r in sides.items() if not self.mask(grid, side).any()), None)
            if rest is None:
                break
            window = rest
        return window

    def mask(self, grid: Grid, window: Window) -> NDArray[np.bool_]:
        """Return (y, x) True where a pixel's centre is inside."""
        if window.is_empty:
            return np.zeros((window.height, window.width), np.bool_)
        if self.polygons is not None:
            inside = self._mask_of_polygons(self.polygons, grid, window)
            for marks in self._marks_on(grid):
                inside |= marked(marks, grid, window)
            return inside
        inside = np.zeros((window.height, window.width), np.bool_)
        if self.crs == grid.crs:
            for box in self._boxes_on(grid):
                held = grid.window_of(box, centres=True).intersection(window)
                if not held.is_empty:
                    inside[window.slices(held)] = True
            return inside
        x, y = transformer(grid.crs, self.crs).transform(
            *np.meshgrid(grid.xs(window), grid.ys(window))
        )
        if is_geographic(self.crs):
            with np.errstate(invalid="ignore"):
                x = np.where(np.abs(x) > HALF_TURN, x - TURN * np.round(x / TURN), x)
        for left, bottom, right, top in self.boxes:
            inside |= (x >= left) & (x <= right) & (y >= bottom) & (y <= top)
        return inside

    def _marks_on(self, grid: Grid) -> tuple[BaseGeometry, ...]:
        """Return points and lines where the grid may have them: longitudes may run to 360."""
        if self.marks is None:
            return ()
        marks = _marks_in(self, grid.crs)
        if not is_geographic(grid.crs):
            return (marks,)
        turns = [shapely.transform(marks, _turned_by(turn)) for turn in (-TURN, 0.0, TURN)]
        west, _, east, _ = grid.bounds
        return tuple(t for t in turns if t.bounds[0] < east and t.bounds[2] >= west)

    def _mask_of_polygons(
        self, polygons: BaseGeometry, grid: Grid, window: Window
    ) -> NDArray[np.bool_]:
        x, y = np.meshgrid(grid.xs(window), grid.ys(window))
        drawn = _drawn(self, grid.crs)
        if not np.isfinite(shapely.get_coordinates(drawn)).all():
            # The polygons leave the area of the grid's CRS: the pixels are brought to theirs.
            drawn = polygons
            x, y = transformer(grid.crs, self.crs).transform(x, y)
        x, y = np.where(np.isfinite(x), x, FAR), np.where(np.isfinite(y), y, FAR)
        inside: NDArray[np.bool_] = shapely.intersects_xy(drawn, x, y)
        if is_geographic(grid.crs):  # longitudes may run to 360, those of polygons too
            west, _, east, _ = grid.bounds
            for turn in (-TURN, TURN):
                if drawn.bounds[0] <= east + turn and drawn.bounds[2] >= west + turn:
                    inside |= shapely.intersects_xy(drawn, x + turn, y)
        return inside

    def geometry(self) -> BaseGeometry:
        """Return the extent as a geometry in its CRS."""
        if self.polygons is not None:
            return self.polygons
        return shapely.union_all([shapely.box(*box) for box in self.boxes])


def spatial_extent(value: Any) -> SpatialExtent | None:
    """Read an openEO bounding box or GeoJSON; None stays None.

    Args:
        value: `{west, south, east, north, crs?}` with `crs` an EPSG code or WKT2 (default
            4326), a GeoJSON geometry, Feature or FeatureCollection (degrees, or the CRS of an
            old-style `crs` member), or None.

    Raises:
        ArgumentInvalid: it is neither, or a coordinate is no finite number.
        SpatialExtentEmpty: it holds no area.
    """
    if value is None:
        return None
    if isinstance(value, SpatialExtent):
        return value
    if not isinstance(value, Mapping):
        raise ArgumentInvalid(
            f"A spatial extent is {{west, south, east, north, crs?}} or GeoJSON, not {value!r}."
        )
    if "west" in value:
        return _box(value)
    polygons, crs = geojson_geometry(value)
    if polygons.is_empty or polygons.area == 0.0:
        raise SpatialExtentEmpty("The GeoJSON holds no polygon with an area. Give polygons.")
    check_on_earth(polygons.bounds, crs, "The GeoJSON")
    return SpatialExtent(polygons.bounds, crs, polygons)


def extent_of_shapes(shapes: Sequence[BaseGeometry], crs: str) -> SpatialExtent:
    """Return the extent of geometries of any type; empty ones are ignored.

    Raises:
        ArgumentInvalid: degrees that are not on the Earth.
        SpatialExtentEmpty: all of them are empty.
    """
    whole = shapely.make_valid(np.array(shapes, dtype=object))
    areas = [s for s in whole if shapely.get_dimensions(s) == 2]  # noqa: PLR2004 - an area
    extent = SpatialExtent(
        tuple(shapely.total_bounds(whole).tolist()),
        crs,
        shapely.union_all(areas),
        marks_of(whole),
    )
    if extent.marks is None and not areas:
        raise SpatialExtentEmpty("There is no geometry that is not empty. Give at least one.")
    check_on_earth(extent.bounds, crs, "The extent of the geometries")
    return extent


def _box(value: Mapping[str, Any]) -> SpatialExtent:
    missing = [side for side in ("west", "south", "east", "north") if side not in value]
    if missing:
        raise ArgumentInvalid(f"The bounding box lacks {', '.join(missing)}.")
    sides = [value[side] for side in ("west", "south", "east", "north")]
    if not all(
        isinstance(side, (int, float)) and not isinstance(side, bool) and math.isfinite(side)
        for side in sides
    ):
        raise ArgumentInvalid(f"west, south, east and north must be finite numbers, not {sides}.")
    west, south, east, north = (float(side) for side in sides)
    name = crs_name(value.get("crs") or WGS84)
    check_on_earth((west, south, east, north), name, "The bounding box")
    crosses = west > east and is_geographic(name)
    if south >= north or west == east or (west > east and not crosses):
        raise SpatialExtentEmpty(
            f"The bounding box west={west}, south={south}, east={east}, north={north} is empty. "
            "South must be below north and west left of east (in degrees, west > east crosses "
            "the antimeridian)."
        )
    return SpatialExtent((west, south, east, north), name)


def check_on_earth(bounds: Bounds, crs: str, what: str) -> None:
    """Refuse degrees that are none: most likely coordinates of a CRS that was not named.

    Raises:
        ArgumentInvalid: a latitude beyond 90 or a longitude beyond 360 degrees.
    """
    west, south, east, north = bounds
    if crs == WGS84 and (max(-south, north) > POLE or max(abs(west), abs(east)) > TURN):
        raise ArgumentInvalid(
            f"{what}, west={west}, south={south}, east={east}, north={north}, is not on the "
            "Earth: in degrees (EPSG:4326) latitudes lie within -90..90 and longitudes within "
            "-360..360. Name the CRS of the numbers with `crs`."
        )


def geojson_geometry(value: Mapping[str, Any]) -> tuple[BaseGeometry, str]:
    """Return the union of the geometries of GeoJSON, made valid, and their CRS.

    Raises:
        ArgumentInvalid: it is not GeoJSON, or a coordinate is no finite number.
    """
    shapes = [geometry for geometry, _ in geojson_features(value)]
    return shapely.union_all(shapely.make_valid(shapes)), geojson_crs(value)


def geojson_features(value: Mapping[str, Any]) -> list[tuple[BaseGeometry, dict[str, Any]]]:
    """Return the geometries of GeoJSON one by one, with their attributes; empty ones included.

    Raises:
        ArgumentInvalid: it is not GeoJSON, or a coordinate is no finite number.
    """
    kind = value.get("type")
    features = value.get("features") if kind == "FeatureCollection" else [value]
    if not isinstance(features, Sequence) or isinstance(features, str):
        raise ArgumentInvalid(
            f"A GeoJSON FeatureCollection has `features`, a list; here it is {features!r:.80}."
        )
    return [_feature(feature) for feature in features]


def _feature(feature: Any) -> tuple[BaseGeometry, dict[str, Any]]:
    if not isinstance(feature, Mapping):
        raise ArgumentInvalid(f"{feature!r:.80} is no GeoJSON Feature or geometry.")
    if feature.get("type") != "Feature":
        return _shape(feature), {}
    properties, geometry = feature.get("properties"), feature.get("geometry")
    attributes = dict(properties) if isinstance(properties, Mapping) else {}
    return (shapely.Polygon() if geometry is None else _shape(geometry)), attributes


def _shape(geometry: Any) -> BaseGeometry:
    try:
        made: BaseGeometry = shape(geometry)
    except _NOT_GEOJSON as error:
        raise ArgumentInvalid(
            f"{geometry!r:.120} is no GeoJSON geometry: {str(error).rstrip('.')}. Valid is for "
            'example {"type": "Polygon", "coordinates": [[[x, y], [x, y], [x, y], [x, y]]]}.'
        ) from error
    if not np.isfinite(shapely.get_coordinates(made)).all():
        raise ArgumentInvalid(
            f"A coordinate of the {made.geom_type} is no finite number: {geometry!r:.120}."
        )
    return made


def geojson_crs(value: Mapping[str, Any]) -> str:
    """Return the CRS of GeoJSON: its old-style `crs` member, else degrees.

    Raises:
        ArgumentInvalid: the member names no CRS.
    """
    member = value.get("crs")
    if member is None:
        return WGS84
    properties = member.get("properties") if isinstance(member, Mapping) else None
    name = properties.get("name") if isinstance(properties, Mapping) else None
    if not isinstance(name, str):
        raise ArgumentInvalid(
            f'The `crs` of GeoJSON is {{"type": "name", "properties": {{"name": '
            f'"EPSG:n"}}}}, not {member!r:.80}. Leave it out for degrees.'
        )
    return crs_name(name.replace("urn:ogc:def:crs:EPSG::", "EPSG:"))


def _outline(extent: SpatialExtent) -> tuple[BaseGeometry, ...]:
    """Return boxes with many points on their edges, which may be curves in another CRS."""
    return tuple(
        shapely.segmentize(shapely.box(*box), max(box[2] - box[0], box[3] - box[1]) / EDGE_POINTS)
        for box in extent.boxes
    )


def _centres_in(bounds: Bounds, grid: Grid) -> Window:
    """Return the pixels whose centres lie in bounds, whole turns away if the grid lies there."""
    if not is_geographic(grid.crs):
        return grid.window_of(bounds, centres=True)
    left, bottom, right, top = bounds
    found = Window(0, 0, 0, 0)
    for turn in (-TURN, 0.0, TURN):
        window = grid.window_of((left + turn, bottom, right + turn, top), centres=True)
        if not window.intersection(grid.window).is_empty:
            found = found.union(window)
    return found


@lru_cache(maxsize=64)
def _marks_in(extent: SpatialExtent, crs: str) -> BaseGeometry:
    """Return the points and lines of an extent in a CRS."""
    if extent.crs == crs:
        return extent.marks
    return shapely.transform(
        extent.marks, transformer(extent.crs, crs).transform, interleaved=False
    )


def _turned_by(degrees: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda points: points + np.array([degrees, 0.0])


@lru_cache(maxsize=64)
def _drawn(extent: SpatialExtent, crs: str) -> BaseGeometry:
    """Return the geometry of an extent in a CRS, indexed for many tests of points."""
    drawn = extent.geometry()
    if extent.crs != crs:
        to = transformer(extent.crs, crs).transform
        drawn = shapely.transform(drawn, to, interleaved=False)
    shapely.prepare(drawn)
    return drawn
