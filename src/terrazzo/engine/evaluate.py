"""The block function: the only way in which pixels are computed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from terrazzo.cube import Cube, empty_cube
from terrazzo.cube.source import PlaneSource
from terrazzo.cube.warp import warp
from terrazzo.engine.demand import demand, fused_in, nothing_wanted, weights
from terrazzo.engine.feed import compute, load_of_mask, loads_of_cube, loads_of_planes
from terrazzo.engine.infer import Input
from terrazzo.engine.steps import chosen, conform, passes_on, with_labels
from terrazzo.geo.pixelmap import PixelMap
from terrazzo.geo.scale import scale_between
from terrazzo.processes.registry import Place
from terrazzo.spans import span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from terrazzo.engine.demand import Demand
    from terrazzo.engine.feed import Load
    from terrazzo.engine.infer import Inference
    from terrazzo.engine.plan import Plan
    from terrazzo.engine.recording import Fused
    from terrazzo.engine.steps import Step
    from terrazzo.geo.extent import SpatialExtent
    from terrazzo.geo.grid import Grid, Window


def evaluate(plan: Plan, window: Window) -> Cube:
    """Compute one window of a plan. Tiles, batch jobs and polygon extraction all call this.

    Pure and re-entrant: a pixel's value depends on the plan alone, never on the window, block,
    driver, thread or machine it is computed in. Each step runs once; its cube is released as
    soon as the last step that needs it has run.

    Args:
        plan: the graph on a grid.
        window: pixels of `plan.grid`; what lies outside of the plan's extent is no-data.

    Returns:
        The cube of exactly that window.

    Raises:
        SourceUnreadable: a file is corrupt, truncated or gone.
    """
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
            cubes[number] = _compute(plan, groups[number], here, wanted, cubes)
        elif step.reads:
            cubes[number] = _read(step, here)
        elif step.warps:
            data, needs = cubes[step.inputs["data"]], wanted.needs[number]
            cubes[number] = _warp(step, here, data, needs, exact=plan.exact)
        else:
            with span(f"process {step.bound.process.id}"):
                cubes[number] = _run(step, here, _arguments(step, number, wanted, cubes, plan))
        for done in [n for n in cubes if plan.last_use[n] <= number and n != number]:
            del cubes[done]
    return fit(cubes[len(plan.steps) - 1], window)


def _empty(step: Step, window: Window) -> Cube:
    return empty_cube(step.probe.dimensions, step.probe.dtype, step.grid, window)


def _read(step: Step, window: Window) -> Cube:
    source, grid = step.bound.source, step.grid
    if source is None or grid is None:
        raise TypeError(f"{step.name} reads nothing.")
    with span("read"):
        cube = source.read(grid, window, step.wanted, step.method)
    crop = step.bound.crop
    if crop is not None and not _surely_inside(crop, grid, window):
        cube = cube.same_pixels(cube.values, cube.valid & crop.mask(grid, window))
    return conform(step, cube)


def _compute(
    plan: Plan, group: Fused, window: Window, wanted: Demand, cubes: Mapping[int, Cube]
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
        return compute(group.recording, inputs, step.probe, window)


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
    if crop is not None and not _surely_inside(crop, grid, window):
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


def _surely_inside(crop: SpatialExtent, grid: Grid, window: Window) -> bool:
    """Tell whether no pixel can be outside: a box on its own grid decides for whole windows."""
    box = crop.polygons is None and crop.crs == grid.crs
    return box and crop.window(grid).contains(window)


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
    arguments: dict[str, Any] = {}
    borders = step.bound.process.rules.borders
    for name, value in step.bound.arguments.items():
        if not isinstance(value, Input):
            arguments[name] = value
            continue
        if name not in step.inputs:
            continue  # the target of a resampling gives its grid only
        cube = cubes[step.inputs[name]]
        needed = wanted.needs[number].get(name)
        if needed is not None:
            cube = cube.crop(needed) if borders else fit(cube, needed)
        source = plan.steps[step.inputs[name]].bound.result
        arguments[name] = with_labels(cube, chosen(source, step.asked.get(name, {})))
    if step.bound.process.place:
        extents = {name: plan.steps[source].extent for name, source in step.inputs.items()}
        first = next(iter(extents.values()))
        arguments[step.bound.process.place] = Place(wanted.windows[number], first, extents)
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


def evaluate_after(inference: Inference, node: str, known: Mapping[str, Cube]) -> Any:
    """Compute what follows a stage: nodes whose inputs are merged results, without pixels.

    Args:
        inference: the graph.
        node: the node that is wanted.
        known: merged results by node id.
    """
    results: dict[str, Any] = dict(known)
    waiting = [inference.cube(node).id]
    while waiting:
        bound = inference.nodes[waiting[-1]]
        if bound.id in results:
            waiting.pop()
            continue
        inputs = {name: inference.cube(i).id for name, i in bound.inputs.items()}
        missing = [i for i in inputs.values() if i not in results]
        if missing:
            waiting.extend(missing)
            continue
        arguments = {**bound.arguments, **{name: results[i] for name, i in inputs.items()}}
        results[bound.id] = bound.process.function(**arguments) if inputs else bound.result
        waiting.pop()
    return results[inference.cube(node).id]
