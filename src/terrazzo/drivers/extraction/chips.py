"""Image chips: one parcel on every date as a small picture, its outline drawn, from one graph.

Pictures are computed when they are asked for, by the engine that computes everything else, so
that they are never older than the images; nothing of them is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import shapely

from terrazzo.cube import Kind
from terrazzo.drivers.extraction.parcel import (
    chosen_labels,
    dated,
    each,
    has_months,
    in_groups,
    placed_on,
)
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.tile import View, shown
from terrazzo.engine import evaluate, make_plan
from terrazzo.engine.demand import size_text
from terrazzo.errors import ArgumentInvalid, PlanTooLarge, suggest
from terrazzo.geo.crs import is_geographic
from terrazzo.geo.grid import Grid, Window
from terrazzo.progress import Progress
from terrazzo.storage.writers.files import planes
from terrazzo.storage.writers.picture import Style, encode, to_rgba

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from terrazzo.cube import Cube, Mask, Values
    from terrazzo.drivers.job import Job
    from terrazzo.engine import Inference, Plan
    from terrazzo.geo.times import Interval
    from terrazzo.processes.registry import Labels

LOW, HIGH = 2, 98
"""Percentiles of a date's pixels in the first and in the last colour."""
LEAST_AROUND = 3
"""Pixels that are shown around a parcel at least."""
HALF_TURN = 180.0
DETAIL = 0.02
"""What the outline may leave out, pixels."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the pictures show."""

    view: View = field(default_factory=partial(View, Style(colormap="viridis")))
    """Bands, stretch and colours, as tiles have them. Without a stretch all dates share one: the
    middle dates' 2nd and 98th percentile, which clouds on fewer than half of them don't move.
    Its date means nothing here."""
    node: str = ""
    """Node of the graph that is drawn; empty = its result."""
    around: float = 0.3
    """What is shown around a parcel on each side, as a share of its longer side."""
    edge: int = 192
    """Pixels of a picture's edge at most; larger parcels are computed more coarsely."""
    dates: Interval = (None, None)
    """Which dates are drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class Chip:
    """One date of a parcel."""

    label: str
    """The date as the cube has it; empty where it has none."""
    rgba: NDArray[np.uint8]
    """(y, x, 4) colours as on a tile; transparent where there is no data."""
    png: bytes
    """The same, encoded as a tile is."""


@dataclass(frozen=True, slots=True, eq=False)
class Chips:
    """One parcel on all dates; the pictures show the same place in the same colours."""

    chips: tuple[Chip, ...]
    """In the order of the dates."""
    outline: tuple[tuple[tuple[float, float], ...], ...]
    """Lines (x, y) in pixels of the pictures, from their upper left corner."""
    bands: tuple[str, ...]
    """What is shown: one band, or three as red, green and blue; empty where there are no bands."""
    style: Style
    """Stretch and colours; the stretch is known."""
    pixel_metres: float
    """Edge of a pixel, about."""
    left_out: tuple[str, ...]
    """Items that could not be read."""


def chips(
    job: Job,
    inference: Inference,
    shape: BaseGeometry | None,
    crs: str,
    look: Look | None = None,
    *,
    pool: Pool | None = None,
    progress: Progress | None = None,
) -> Chips:
    """Draw a parcel on every date of a node of a graph.

    Args:
        job: the graph and where it runs.
        inference: of the graph; its stages have been carried out.
        shape: polygon, line or point; a parcel with several parts is one picture.
        crs: of its coordinates.
        look: what the pictures show.
        pool: threads and memory.
        progress: told about every date.

    Raises:
        ArgumentInvalid: the parcel is empty, or there is no such node or it gives no raster.
        NoDataAvailable: there is no date of `look.dates`.
        BandNotFound: the node does not have what the view shows.
        PlanTooLarge: the pictures need more memory than the pool has.
        SourceUnreadable: a file is corrupt, and the job does not skip what is bad.
    """
    look, pool, progress = look or Look(), pool or Pool(), progress or Progress()
    plan = job.plan(inference, drawn_node(inference, look.node))
    placed = _in_one_place(plan.grid, placed_on(plan.grid, shape, crs))
    grid, window = _frame(plan.grid, placed, look)
    view = replace(look.view, time="")
    probe = shown(plan.probe, view)
    bands = probe.only(Kind.BANDS).labels if probe.has(Kind.BANDS) else ()
    labels = chosen_labels(plan.probe, bands, look.dates, months=has_months(inference.graph))
    planned = partial(_planned, job, inference, plan, grid)
    _check_size(planned(labels), window, pool)
    plans = in_groups(planned, labels, plan.probe, window)

    def drawn(part: Plan) -> list[tuple[str, Values, Mask]]:
        return list(_pictures(evaluate(part, window), view))

    found = [picture for some in each(plans, drawn, pool, progress) for picture in some]
    left_out = tuple(sorted({name for part in plans for name in part.bad_items}))
    style = look.view.style
    if not style.stretch:
        style = replace(style, stretch=found_stretch([(v, m) for _, v, m in found]))
    made = [Chip(label, to_rgba(v, m, style), encode(v, m, style)) for label, v, m in found]
    outline = outline_of(placed, grid, window)
    names = tuple(map(str, bands))
    return Chips(tuple(made), outline, names, style, grid.pixel_metres, left_out)


def drawn_node(inference: Inference, node: str) -> str:
    """Return the node that is drawn: the graph's result where none is named.

    Raises:
        ArgumentInvalid: the graph has no such node.
    """
    known = tuple(inference.nodes)
    if node and node not in known:
        raise ArgumentInvalid(
            f"The graph has no node {node!r}.{suggest(node, known)} Nodes: {', '.join(known)}."
        )
    return node or inference.graph.result


def found_stretch(pictures: Sequence[tuple[Values, Mask]]) -> tuple[tuple[float, float], ...]:
    """Return the range of colours that suits most dates; empty for 8 bit, shown as it is.

    Of each date's valid pixels, all bands together, the 2nd and the 98th percentile; of these,
    the medians over the dates.

    Args:
        pictures: (band, y, x) values and their mask, one pair per date.
    """
    if pictures[0][0].dtype == np.uint8:
        return ()
    ends = []
    for values, valid in pictures:
        seen = np.asarray(values[valid], np.float64)
        seen = seen[np.isfinite(seen)]
        if seen.size:
            ends.append(np.percentile(seen, [LOW, HIGH]))
    if not ends:
        return ((0.0, 1.0),)
    low, high = (float(f"{edge:.3g}") for edge in np.median(ends, axis=0))
    return ((low, high if high > low else low + 1.0),)


def outline_of(
    shape: BaseGeometry, grid: Grid, window: Window
) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Return the lines of a shape, in pixels from the corner of a window; a point is its pixel."""
    lines: list[tuple[tuple[float, float], ...]] = []
    for part in shapely.get_parts([shape], return_index=False):
        if part.geom_type == "GeometryCollection":
            lines += outline_of(part, grid, window)
            continue
        if part.geom_type == "Point":
            place = grid.window_of((part.x, part.y, part.x, part.y))
            pixel = Window(place.row, place.col, 1, 1)
            part = shapely.box(*grid.bounds_of(pixel))  # noqa: PLW2901 - what is drawn of it
        rings = [part.exterior, *part.interiors] if part.geom_type == "Polygon" else [part]
        for ring in rings:
            places = shapely.get_coordinates(ring)
            x = (places[:, 0] - grid.left) / grid.pixel_x - window.col
            y = (grid.top - places[:, 1]) / grid.pixel_y - window.row
            drawn = shapely.LineString(np.column_stack([x, y])).simplify(DETAIL)
            lines.append(tuple((float(a), float(b)) for a, b in shapely.get_coordinates(drawn)))
    return tuple(lines)


def _in_one_place(grid: Grid, shape: BaseGeometry) -> BaseGeometry:
    """Return a parcel that a grid in degrees has on both its sides in one piece, on one of them."""
    left, _, right, _ = shape.bounds
    if not is_geographic(grid.crs) or right - left <= HALF_TURN:
        return shape
    parts = shapely.get_parts([shape])
    seen = shapely.area(shapely.intersection(parts, shapely.box(*grid.bounds)))
    middles = shapely.get_x(shapely.centroid(parts))
    turns = 2 * HALF_TURN * np.round((middles[seen.argmax()] - middles) / (2 * HALF_TURN))
    moved = [
        shapely.transform(part, lambda xy, by=by: xy + np.array([by, 0.0]))
        for part, by in zip(parts, turns, strict=True)
    ]
    one: BaseGeometry = shapely.union_all(moved)
    return one


def _frame(grid: Grid, shape: BaseGeometry, look: Look) -> tuple[Grid, Window]:
    """Return the square that a picture shows, on the grid or a coarser one of the same corner."""
    inside = grid.window_of(shape.bounds)
    side = max(inside.height, inside.width, 1)
    side += 2 * max(LEAST_AROUND, math.ceil(look.around * side))
    if side > look.edge:
        factor = side / look.edge
        grid = Grid(
            grid.crs,
            grid.left,
            grid.top,
            grid.pixel_x * factor,
            grid.pixel_y * factor,
            math.ceil(grid.height / factor),
            math.ceil(grid.width / factor),
        )
        inside, side = grid.window_of(shape.bounds), look.edge
    row = inside.row + (inside.height - side) // 2
    col = inside.col + (inside.width - side) // 2
    return grid, Window(row, col, side, side)


def _planned(job: Job, inference: Inference, whole: Plan, grid: Grid, labels: Labels) -> Plan:
    """Return the plan of some labels, on the grid of the pictures."""
    if grid == whole.grid:
        return job.plan(inference, whole.node, labels=labels)
    return make_plan(
        inference, grid, node=whole.node, within=job.within, labels=labels, exact=job.exact
    )


def _check_size(plan: Plan, window: Window, pool: Pool) -> None:
    shape = [len(d.labels) for d in plan.probe.dimensions if d.kind is not Kind.SPATIAL]
    needed = math.prod(shape) * window.pixels * (plan.probe.dtype.itemsize + 1)
    if needed > pool.memory_bytes:
        raise PlanTooLarge(
            f"Pictures of {window.height} x {window.width} pixels on all dates take "
            f"{size_text(needed)} and may take {size_text(pool.memory_bytes)}. Choose fewer dates."
        )


def _pictures(cube: Cube, view: View) -> Iterator[tuple[str, Values, Mask]]:
    dates = dated(cube)
    for label in [""] if dates is None else [str(label) for label in dates.labels]:
        values, valid = planes(shown(cube, replace(view, time=label)))
        yield label, np.ascontiguousarray(values[0]), np.ascontiguousarray(valid[0])
