"""The block function: the only way in which pixels are computed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from terrazzo import logs
from terrazzo.cube import Cube, empty_cube
from terrazzo.cube.source import PlaneSource
from terrazzo.cube.warp import warp
from terrazzo.engine.demand import demand, fused_in, nothing_wanted, weights
from terrazzo.engine.feed import compute, load_of_mask, loads_of_cube, loads_of_planes
from terrazzo.engine.steps import arguments_of, chosen, conform, passes_on, with_labels
from terrazzo.errors import ArgumentInvalid, TerrazzoError
from terrazzo.geo.crs import transformer
from terrazzo.geo.pixelmap import PixelMap
from terrazzo.geo.scale import scale_between
from terrazzo.processes.inspecting import counting
from terrazzo.processes.registry import Place
from terrazzo.spans import span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from terrazzo.cube import Mask
    from terrazzo.engine.demand import Demand
    from terrazzo.engine.feed import Load
    from terrazzo.engine.plan import Plan
    from terrazzo.engine.recording import Fused
    from terrazzo.engine.steps import Step
    from terrazzo.geo.grid import Grid, Window


@contextmanager
def _computing() -> Iterator[None]:
    """Mark errors as those of pixels."""
    try:
        yield
    except TerrazzoError as error:
        error.of_pixels = True
        raise


@_computing()
def evaluate(plan: Plan, window: Window, spots: NDArray[np.int64] | None = None) -> Cube:
    """Compute one window of a plan. Tiles, batch jobs and polygon extraction all call this.

    Pure and re-entrant: a pixel's value depends on the plan alone, never on the window, block,
    driver, thread or machine it is computed in. Each step runs once; its cube is released as
    soon as the last step that needs it has run.

    Args:
        plan: the graph on a grid.
        window: pixels of `plan.grid`; what lies outside of the plan's extent is no-data.
        spots: (n, 4) first row, first column, height and width, in `plan.grid`, of the places that
            the caller looks at; None = all. Elsewhere in the window numbers and masks may be
            anything, and images that have pixels only there may stay closed.

    Returns:
        The cube of exactly that window.

    Raises:
        SourceUnreadable: a file is corrupt, truncated or gone.
        ArgumentInvalid: stages that the result needs have not been carried out.
    """
    if plan.pending:
        raise ArgumentInvalid(
            f"Node {plan.node!r} needs what all pixels of {', '.join(plan.pending)} come to. Run "
            "the graph with `terrazzo run`; in Python, `settle` it first."
        )
    with span("plan"):
        wanted = demand(plan, window)
    cubes: dict[int, Cube] = {}
    groups = fused_in(plan, wanted)
    inside = {number for group in groups.values() for number in group.inside}
    for number, step in enumerate(plan.steps):
        here = wanted.windows[number]
        if number in inside:
            continue
        if nothing_wanted(step, here):
            cubes[number] = _empty(step, here)
        elif number in groups:
            last = number == len(plan.steps) - 1 and here == window
            only = spots if last else None
            cubes[number] = _compute(plan, groups[number], here, wanted, cubes, only)
        elif step.reads:
            cubes[number] = _read(step, here)
        elif step.warps:
            data, needs = cubes[step.inputs["data"]], wanted.needs[number]
            cubes[number] = _warp(step, here, data, needs, exact=plan.exact)
        else:
            with span(f"process {step.bound.process.id}"), _told(plan, step, here, window):
                cubes[number] = _run(step, here, _arguments(step, number, wanted, cubes, plan))
        for done in [n for n in cubes if plan.last_use[n] <= number and n != number]:
            del cubes[done]
    return fit(cubes[len(plan.steps) - 1], window)


@contextmanager
def _told(plan: Plan, step: Step, here: Window, window: Window) -> Iterator[None]:
    """Say, to whoever listens, where log entries come from, and which pixels they count.

    A pixel that several blocks compute is counted by the one that its centre lies in.
    """
    if not logs.listening():
        yield
        return
    with (
        logs.inside(step.bound.id, step.bound.process.id),
        counting(lambda: _own(plan, step.grid, here, window.intersection(plan.window))),
    ):
        yield


def _own(plan: Plan, grid: Grid | None, here: Window, block: Window) -> Mask | None:
    """Return (y, x) which pixels of a step's window have their centre in a block of the plan."""
    if grid is None or (grid == plan.grid and block.contains(here)):
        return None
    x, y = np.meshgrid(grid.xs(here), grid.ys(here))
    if grid.crs != plan.grid.crs:
        x, y = transformer(grid.crs, plan.grid.crs).transform(x, y)
    with np.errstate(invalid="ignore"):
        row = np.floor((plan.grid.top - y) / plan.grid.pixel_y)
        col = np.floor((x - plan.grid.left) / plan.grid.pixel_x)
        inside: Mask = (row >= block.row) & (row < block.row_stop)
        return inside & (col >= block.col) & (col < block.col_stop)


def _empty(step: Step, window: Window) -> Cube:
    return empty_cube(step.probe.dimensions, step.probe.dtype, step.grid, window)


def _read(step: Step, window: Window) -> Cube:
    source, grid = step.bound.source, step.grid
    if source is None or grid is None:
        raise TypeError(f"{step.name} reads nothing.")
    with span("read"):
        cube = source.read(grid, window, step.wanted, step.method)
    crop = step.bound.crop
    if crop is not None and not crop.holds(grid, window):
        cube = cube.same_pixels(cube.values, cube.valid & crop.mask(grid, window))
    return conform(step, cube)


def _compute(
    plan: Plan,
    group: Fused,
    window: Window,
    wanted: Demand,
    cubes: Mapping[int, Cube],
    spots: NDArray[np.int64] | None,
) -> Cube:
    """Compute a fused group; every cube that comes in is wanted in the group's own window."""
    step = plan.steps[group.steps[-1]]
    known: dict[int, Cube] = {}
    for place, number in enumerate(group.inputs):
        source, here = plan.steps[number], wanted.windows[number]
        if number not in group.stored:
            known[place] = fit(cubes[number], window)
        elif here != window:
            cube = _empty(source, here) if nothing_wanted(source, here) else _read(source, here)
            known[place] = fit(cube, window)
    inputs = _Inputs(plan, group, known)
    with span("fused " + ", ".join(plan.steps[n].bound.process.id for n in group.steps)):
        return compute(group.recording, inputs, step.probe, window, spots)


@dataclass(frozen=True, slots=True, eq=False)
class _Inputs:
    """The planes that a fused group needs: of cubes, of files, and masks of extents."""

    plan: Plan
    group: Fused
    known: Mapping[int, Cube]
    """Cubes that were computed or read before, by number of the input."""

    @property
    def weights(self) -> Mapping[int, float]:
        """Bytes per pixel of a plane of each input that is not in memory anyway."""
        return weights(self.plan, self.group, self.known)

    def loads(self, piece: Window, places: Sequence[tuple[int, int]]) -> list[Load]:
        """Return planes on a piece of the window."""
        found: dict[tuple[int, int], Load] = {}
        for number in {number for number, _ in places}:
            positions = sorted({position for n, position in places if n == number})
            loads = self._of_input(number, positions, piece)
            found.update(zip(((number, one) for one in positions), loads, strict=True))
        return [found[place] for place in places]

    def mask(self, number: int) -> Mask | None:
        """Return what is valid of an input in the window, where all of it is in memory."""
        return self.known[number].valid if number in self.known else None

    def _of_input(self, number: int, positions: list[int], piece: Window) -> list[Load]:
        if number in self.known:
            loads = loads_of_cube(self.known[number].crop(piece))
            return [loads[position] for position in positions]
        if number >= len(self.group.inputs):
            extent = self.group.extents[number - len(self.group.inputs)]
            grid = cast("Grid", self.plan.steps[self.group.steps[-1]].grid)
            return [load_of_mask(extent.mask(grid, piece))]
        return _stored(self.plan.steps[self.group.inputs[number]], positions, piece)


def _stored(step: Step, positions: list[int], window: Window) -> list[Load]:
    """Read stored numbers: the planes at these positions, counted over dates, then bands."""
    source: object = step.bound.source
    grid = step.grid
    if not isinstance(source, PlaneSource) or grid is None:
        raise TypeError(f"{step.name} has no stored numbers.")
    crop, inside = step.bound.crop, None
    if crop is not None and not crop.holds(grid, window):
        inside = crop.mask(grid, window)
    times, bands = (range(len(d.labels)) for d in step.probe.dimensions[:2])
    sets: dict[frozenset[int], list[int]] = {}
    for date, of in groupby(positions, lambda position: position // len(bands)):
        sets.setdefault(frozenset(position % len(bands) for position in of), []).append(date)
    if len(sets) > 1:  # dates of which different bands are wanted are read apart
        found: dict[int, Load] = {}
        for bands_of, dates_of in sets.items():
            mine = [d * len(bands) + b for d in dates_of for b in sorted(bands_of)]
            found.update(zip(mine, _stored(step, mine, window), strict=True))
        return [found[position] for position in positions]
    dates = sorted({position // len(bands) for position in positions})
    kinds = sorted({position % len(bands) for position in positions})
    chosen_times, chosen_bands = (
        step.wanted.get(d.name, tuple(every))
        for d, every in zip(step.probe.dimensions[:2], (times, bands), strict=True)
    )
    labels = {
        "t": tuple(chosen_times[date] for date in dates),
        "bands": tuple(chosen_bands[kind] for kind in kinds),
    }
    with span("read"):
        planes = source.planes(grid, window, labels)
    wanted = [
        dates.index(position // len(bands)) * len(kinds) + kinds.index(position % len(bands))
        for position in positions
    ]
    return loads_of_planes([planes[one] for one in wanted], inside)


def _warp(
    step: Step, window: Window, data: Cube, needs: Mapping[str, Window], *, exact: bool
) -> Cube:
    source = with_labels(data, step.probe)
    if not needs["data"].is_empty:
        source = source.crop(needs["data"])
    if source.grid is None or source.window is None or step.grid is None:
        raise TypeError(f"{step.name} has no grid to warp from.")
    with span("warp"):
        values, valid = warp(
            source.values,
            source.valid,
            source.window,
            PixelMap.between(step.grid, window, source.grid, exact=exact),
            step.method,
            scale_between(step.grid, source.grid),
        )
    return replace(source, values=values, valid=valid, grid=step.grid, window=window)


def _arguments(
    step: Step, number: int, wanted: Demand, cubes: Mapping[int, Cube], plan: Plan
) -> dict[str, Any]:
    """Return what the function is called with: cubes in the window and labels it asked for."""
    arguments = arguments_of(step)
    borders = step.bound.process.rules.borders
    for name, below in step.inputs.items():
        cube = cubes[below]
        needed = wanted.needs[number].get(name)
        if needed is not None:
            cube = cube.crop(needed) if borders else fit(cube, needed)
        source = plan.steps[below].bound.result
        arguments[name] = with_labels(cube, chosen(source, step.asked.get(name, {})))
    if step.bound.process.place:
        inputs = {name: plan.steps[source] for name, source in step.inputs.items()}
        extents = {name: one.extent for name, one in inputs.items() if one.grid is not None}
        first, found = next(iter(inputs.values())), step.bound.found
        place = Place(wanted.windows[number], first.extent, extents, first.grid, found)
        arguments[step.bound.process.place] = place
    return arguments


def _run(step: Step, window: Window, arguments: dict[str, Any]) -> Cube:
    if passes_on(step):
        cube: Cube = arguments["data"]
    else:
        cube = step.bound.process.function(**arguments)
    return conform(step, cube.crop(window))


def paste(probe: Cube, window: Window, blocks: Iterable[Cube]) -> Cube:
    """Return one cube of a window, put together from blocks; no-data where there is none."""
    values = np.zeros((*probe.values.shape[:-2], window.height, window.width), probe.dtype)
    valid = np.zeros(values.shape, np.bool_)
    for block in blocks:
        if block.window is None:
            raise TypeError("A block has pixels.")
        shared = block.window.intersection(window)
        rows, cols = window.slices(shared)
        part = block.crop(shared)
        values[..., rows, cols], valid[..., rows, cols] = part.values, part.valid
    return replace(probe, values=values, valid=valid, window=window)


def fit(cube: Cube, window: Window) -> Cube:
    """Return the cube on a window, cropped, and padded with no-data where it has no pixels."""
    if cube.window is None or cube.window == window:
        return cube
    if cube.window.contains(window):
        return cube.crop(window)
    return paste(cube, window, [cube])
