"""Map tiles: a graph evaluated where somebody looks at it, at the resolution of the screen.

Graph and items are looked up once per layer, the plan is made once per zoom level; a tile
costs `evaluate` and the encoding of its picture.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from terrazzo import logs
from terrazzo.cube import Kind
from terrazzo.drivers.job import Job
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.stages import Means, settled
from terrazzo.engine import check_extent, cost, evaluate, make_plan
from terrazzo.engine.demand import central_block, size_text
from terrazzo.engine.evaluate import fit, paste
from terrazzo.engine.grids import extent_on
from terrazzo.errors import ArgumentInvalid, PlanTooLarge, SpatialExtentEmpty
from terrazzo.geo.crs import WEB_MERCATOR
from terrazzo.geo.tiling import TileMatrixSet, native, web_mercator
from terrazzo.geo.worlds import in_one_world
from terrazzo.progress import Progress, watched
from terrazzo.storage.writers.picture import Style, encode_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from terrazzo.cube import Cube
    from terrazzo.engine import Bound, Inference, Plan
    from terrazzo.geo.extent import SpatialExtent
    from terrazzo.geo.grid import Grid, Window
    from terrazzo.processes.registry import Labels

    _Chosen = tuple[tuple[str, tuple[int, ...]], ...]

MERCATOR, NATIVE = "WebMercatorQuad", "native"
MOST_SETTLED = 250_000_000
"""Pixels, of all files, bands and dates, that stages of a layer may read before its first tile."""
MOST_BYTES = 4_000_000_000
"""Memory that one tile may take: a graph with a grid of its own, looked at from afar, or one that
looks far around a pixel needs more than a screen holds."""
STRIP = 256
"""Rows that are computed without asking whether somebody still waits for them."""
STAGE_BLOCK = 1024
"""Edge of the blocks in which stages run, pixels."""
MOST_PLANS = 256
"""Plans that a layer keeps: one for each zoom level, date and choice of bands that is looked at."""
_LEVELS = {
    logs.Level.ERROR: logging.ERROR,
    logs.Level.WARNING: logging.WARNING,
    logs.Level.INFO: logging.INFO,
    logs.Level.DEBUG: logging.DEBUG,
}
_LOGGER = logging.getLogger("terrazzo")


@dataclass(frozen=True, slots=True)
class View:
    """What of a cube a picture shows."""

    style: Style
    """Stretch and colours."""
    bands: tuple[str, ...] = ()
    """One band, or three for red, green and blue; empty = the first one, or three if there are."""
    time: str = ""
    """Label of the date that is shown; empty = the last one."""


def to_logging(entries: tuple[logs.Entry, ...]) -> None:
    """Hand what graphs log on to Python's logging."""
    for entry in entries:
        _LOGGER.log(_LEVELS[entry.level], "%s", entry.line())


class TileLayer:
    """One graph as tiles; safe to use from many threads.

    Stages on which its pixels depend are carried out when it is made, once for all tiles.
    """

    def __init__(
        self,
        inference: Inference,
        *,
        tile: int = 256,
        most_settled: int = MOST_SETTLED,
        within: SpatialExtent | None = None,
        tell: Callable[[tuple[logs.Entry, ...]], None] = to_logging,
        progress: Progress | None = None,
    ) -> None:
        """Open a graph.

        Args:
            inference: the graph.
            tile: edge of a tile, pixels.
            most_settled: pixels that its stages may read.
            within: compute only pixels in this extent.
            tell: called with what the graph logs while a tile is computed, if anything.
            progress: told about every block of its stages, and may stop them.

        Raises:
            ArgumentInvalid: it gives no raster.
            PlanTooLarge: a stage would read more than `most_settled` pixels.
            SpatialExtentEmpty: the graph, or `within`, leaves no pixel.
            Cancelled: `progress` stopped a stage.
        """
        self._tell = tell
        with self._logged():
            nodes = (inference.graph.result,)
            means = Means(STAGE_BLOCK, Pool(), progress or Progress())
            inference, _ = settled(Job(""), inference, nodes, means, most_reads=most_settled)
        bound: Bound = inference.cube(inference.graph.result)
        if bound.grid is None:
            raise ArgumentInvalid(
                f"Node {bound.id!r} ({bound.process.id}) gives no raster, so it has no tiles. Run "
                "the graph with `terrazzo run`."
            )
        check_extent(inference)
        self.within = within
        """Only pixels in this extent are computed; None is everywhere."""
        self._extent = bound.extent
        if within is not None:
            self._extent = make_plan(inference, within=within).window
        self.inference = inference
        self.matrices: Mapping[str, TileMatrixSet] = {
            MERCATOR: web_mercator(tile),
            NATIVE: native(bound.grid, tile),
        }
        self._plans: OrderedDict[tuple[str, int, _Chosen], tuple[Plan | None, int]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def digest(self) -> str:
        """Digest of the graph."""
        return self.inference.graph.digest

    def matrix(self, name: str) -> TileMatrixSet:
        """Return a tile matrix set by name.

        Raises:
            ArgumentInvalid: there is no such one.
        """
        if name not in self.matrices:
            raise ArgumentInvalid(
                f"There is no tile matrix set {name!r}. There are {', '.join(self.matrices)}."
            )
        return self.matrices[name]

    @property
    def result(self) -> Bound:
        """The node whose pixels are shown."""
        return self.inference.cube(self.inference.graph.result)

    @property
    def probe(self) -> Cube:
        """The result without pixels: dimensions, labels, dtype."""
        cube: Cube = self.result.result
        return cube

    @property
    def grid(self) -> Grid:
        """The result's own pixels."""
        if self.result.grid is None:
            raise TypeError("checked when the layer was made")
        return self.result.grid

    def plan(self, matrix: str, zoom: int, view: View | None = None) -> Plan | None:
        """Return the plan of a zoom level, made once; None where it has no pixel there.

        Args:
            matrix: the tile matrix set.
            zoom: its level.
            view: read only what it shows; None is everything.

        Raises:
            PlanTooLarge: a tile of that level would take more memory than one may.
            BandNotFound, LabelNotAvailable: the result does not have what the view wants.
        """
        labels = self._labels(view)
        key = (matrix, zoom, tuple(labels.items()))
        with self._lock:
            if key not in self._plans:
                self._plans[key] = self._made(self.matrix(matrix), zoom, labels)
                if len(self._plans) > MOST_PLANS:
                    self._plans.popitem(last=False)
            self._plans.move_to_end(key)
            plan, needed = self._plans[key]
        if needed > MOST_BYTES:
            raise PlanTooLarge(
                f"A tile of zoom {zoom} would take {size_text(needed)} and may take "
                f"{size_text(MOST_BYTES)}. Zoom in, or compute the graph with `terrazzo run`."
            )
        return plan

    def _labels(self, view: View | None) -> dict[str, tuple[int, ...]]:
        """Return the positions of what a view shows, empty where that is everything."""
        chosen = {} if view is None else view_labels(self.probe, view)
        sizes = {d.name: len(d.labels) for d in self.probe.dimensions}
        whole = all(len(positions) == sizes[name] for name, positions in chosen.items())
        return {} if whole else chosen

    def _made(self, levels: TileMatrixSet, zoom: int, labels: Labels) -> tuple[Plan | None, int]:
        """Return the plan of a zoom level, and the memory that the tile in its middle takes."""
        plan = self._planned(levels.grid(zoom), labels)
        if plan is None:
            return None, 0
        return plan, cost(plan, central_block(plan, levels.tile)).memory_bytes

    def _planned(self, grid: Grid, labels: Labels) -> Plan | None:
        try:
            return make_plan(self.inference, grid, within=self.within, labels=labels)
        except SpatialExtentEmpty:
            return None

    def cube(
        self, matrix: str, zoom: int, x: int, y: int, *, view: View | None = None
    ) -> Cube | None:
        """Compute the pixels of a tile; None where the graph has none.

        Args:
            matrix: the tile matrix set.
            zoom: its level.
            x: column.
            y: row.
            view: compute only what it shows; None is everything.

        Raises:
            ArgumentInvalid: the tile is not in the matrix.
            PlanTooLarge: it would take more memory than a tile may.
            SourceUnreadable: a file is corrupt or gone.
        """
        window = self.matrix(matrix).window(zoom, x, y)
        plan = self.plan(matrix, zoom, view)
        if plan is None or plan.window.intersection(window).is_empty:
            return None
        return self.computed(plan, window)

    def over(
        self, grid: Grid, *, view: View | None = None, progress: Progress | None = None
    ) -> Cube | None:
        """Compute all pixels of any grid; None where the graph has none.

        Beyond the edge of the world lies its other side.

        Args:
            grid: which pixels.
            view: compute only what it shows; None is everything.
            progress: is asked again and again whether to go on.

        Raises:
            PlanTooLarge: it would take more memory than a tile may.
            SourceUnreadable: a file is corrupt or gone.
            Cancelled: `progress` stopped it.
        """
        labels = self._labels(view)
        own = self.grid.bounds_of(self._extent)
        middle = (own[0] + own[2]) / 2 if self.grid.crs == WEB_MERCATOR else 0.0
        parts = []
        for window, part in in_one_world(grid, middle):
            cube = self._over(part, labels, progress or Progress())
            if cube is not None:
                parts.append(replace(cube, grid=grid, window=window))
        if len(parts) == 1 and parts[0].window == grid.window:
            return parts[0]
        return paste(parts[0], grid.window, parts) if parts else None

    def _over(self, grid: Grid, labels: Labels, progress: Progress) -> Cube | None:
        """Compute a grid that lies in one world.

        Raises:
            PlanTooLarge: it would take more memory than a tile may.
            SourceUnreadable: a file is corrupt or gone.
        """
        plan = self._planned(grid, labels)
        if plan is None:
            return None
        inside = plan.window.intersection(grid.window)
        if inside.is_empty:
            return None
        needed = cost(plan, inside).memory_bytes
        if needed > MOST_BYTES:
            raise PlanTooLarge(
                f"What is asked for would take {size_text(needed)} and may take "
                f"{size_text(MOST_BYTES)}. Zoom in, ask for fewer pixels, or compute the graph "
                "with `terrazzo run`."
            )
        strips = []
        for row in range(inside.row, inside.row_stop, STRIP):
            progress.check()
            height = min(STRIP, inside.row_stop - row)
            with watched(progress):
                strips.append(self.computed(plan, replace(inside, row=row, height=height)))
        if strips[0].window == grid.window:
            return strips[0]
        return paste(strips[0], grid.window, strips)

    def computed(self, plan: Plan, window: Window) -> Cube:
        """Compute a window of a plan of this layer, told of as tiles are.

        Raises:
            SourceUnreadable: a file is corrupt or gone.
        """
        with self._logged():
            if self.within is None:
                return evaluate(plan, window)
            return fit(evaluate(plan, window.intersection(plan.window)), window)

    def picture(
        self, matrix: str, zoom: int, x: int, y: int, *, view: View, format_name: str
    ) -> bytes | None:
        """Return a tile as an encoded picture (`png`, `webp`) or array (`npy`); None = empty."""
        cube = self.cube(matrix, zoom, x, y, view=view)
        if cube is None:
            return None
        return encode_picture(shown(cube, view), view.style, format_name)

    def bounds(self, crs: str) -> tuple[float, float, float, float]:
        """Return (left, bottom, right, top) of the layer in a CRS."""
        return self.grid.to_bounds(self._extent, crs)

    def zooms(self, matrix: str) -> tuple[int, int]:
        """Return the zoom at which the layer fills about one tile, and that of its own pixels."""
        levels = self.matrix(matrix)
        first = last = 0
        for zoom in range(25):
            level = levels.grid(zoom)
            window = extent_on(self.grid, self._extent, level)
            if max(window.height, window.width) <= levels.tile:
                first = zoom
            last = zoom
            if level.pixel_metres <= self.grid.pixel_metres:
                break
        return first, last

    @contextmanager
    def _logged(self) -> Iterator[None]:
        """Hand on what the graph logs."""
        with logs.collected() as log:
            try:
                yield
            finally:
                if log.entries:
                    self._tell(log.all())


def shown(cube: Cube, view: View) -> Cube:
    """Return the bands that a view shows as a cube of dimensions (bands, y, x).

    Raises:
        BandNotFound, LabelNotAvailable: the cube does not have what the view wants.
    """
    for dimension in cube.dimensions:
        if dimension.kind in {Kind.SPATIAL, Kind.BANDS}:
            continue
        wanted = view.time if dimension.kind is Kind.TEMPORAL and view.time else None
        index = dimension.index(wanted) if wanted else len(dimension.labels) - 1
        cube = _drop(cube.take(dimension.name, (index,)), dimension.name)
    if not cube.has(Kind.BANDS):
        return cube
    bands = cube.only(Kind.BANDS)
    if view.bands:
        chosen = [bands.index(band) for band in view.bands]
    else:
        chosen = [0, 1, 2] if len(bands.labels) == 3 else [0]  # noqa: PLR2004 - red, green, blue
    return cube.take(bands.name, chosen)


def view_labels(cube: Cube, view: View) -> dict[str, tuple[int, ...]]:
    """Return the positions, ascending, of what `shown` takes of each dimension of a cube.

    Raises:
        BandNotFound, LabelNotAvailable: the cube does not have what the view wants.
    """
    labels: dict[str, tuple[int, ...]] = {}
    for dimension in cube.dimensions:
        count = len(dimension.labels)
        if dimension.kind is Kind.BANDS:
            wanted = {dimension.index(band) for band in view.bands}
            labels[dimension.name] = tuple(sorted(wanted or range(count if count == 3 else 1)))  # noqa: PLR2004 - red, green, blue
        elif dimension.kind is Kind.TEMPORAL and view.time:
            labels[dimension.name] = (dimension.index(view.time),)
        elif dimension.kind is not Kind.SPATIAL:
            labels[dimension.name] = (count - 1,)
    return labels


def _drop(cube: Cube, name: str) -> Cube:
    axis = cube.axis(name)
    return replace(
        cube,
        values=cube.values[(slice(None),) * axis + (0,)],
        valid=cube.valid[(slice(None),) * axis + (0,)],
        dimensions=(*cube.dimensions[:axis], *cube.dimensions[axis + 1 :]),
    )
