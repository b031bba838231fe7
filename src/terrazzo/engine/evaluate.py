"""The block function: the only way in which pixels are computed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Cube, Kind, empty_cube
from terrazzo.cube.warp import warp
from terrazzo.engine.demand import demand, nothing_wanted
from terrazzo.engine.infer import Input
from terrazzo.engine.plan import RESAMPLERS, chosen
from terrazzo.geo.pixelmap import PixelMap, scale_between
from terrazzo.processes.registry import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from terrazzo.engine.demand import Demand
    from terrazzo.engine.infer import Inference
    from terrazzo.engine.plan import Plan, Step
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
    wanted = demand(plan, window)
    cubes: dict[int, Cube] = {}
    for number, step in enumerate(plan.steps):
        here = wanted.windows[number]
        if nothing_wanted(step, here):
            cubes[number] = _empty(step, here)
        elif step.reads:
            cubes[number] = _read(step, here)
        elif step.warps:
            cubes[number] = _warp(step, here, cubes[step.inputs["data"]], wanted.needs[number])
        else:
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
    cube = source.read(grid, window, step.wanted, step.method)
    crop = step.bound.crop
    if crop is not None and not _surely_inside(crop, grid, window):
        cube = cube.same_pixels(cube.values, cube.valid & crop.mask(grid, window))
    return _conform(step, cube)


def _surely_inside(crop: SpatialExtent, grid: Grid, window: Window) -> bool:
    """Tell whether no pixel can be outside: a box on its own grid decides for whole windows."""
    box = crop.polygons is None and crop.crs == grid.crs
    return box and crop.window(grid).contains(window)


def _warp(step: Step, window: Window, data: Cube, needs: Mapping[str, Window]) -> Cube:
    source = _with_labels(data, step.probe)
    if not needs["data"].is_empty:
        source = source.crop(needs["data"])
    if source.grid is None or source.window is None or step.grid is None:
        raise TypeError(f"{step.name} has no grid to warp from.")
    values, valid = warp(
        source.values,
        source.valid,
        source.window,
        PixelMap.between(step.grid, window, source.grid),
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
        arguments[name] = _with_labels(cube, chosen(source, step.asked.get(name, {})))
    if step.bound.process.place:
        extents = {name: plan.steps[source].extent for name, source in step.inputs.items()}
        first = next(iter(extents.values()))
        arguments[step.bound.process.place] = Place(wanted.windows[number], first, extents)
    return arguments


def _run(step: Step, window: Window, arguments: dict[str, Any]) -> Cube:
    if step.bound.process.id in RESAMPLERS:
        cube: Cube = arguments["data"]  # the read or the warp below has done it
    else:
        cube = step.bound.process.function(**arguments)
    return _conform(step, cube.crop(window))


def _with_labels(cube: Cube, probe: Cube) -> Cube:
    """Return the cube with exactly the labels of a cube without pixels."""
    for dimension in probe.dimensions:
        if dimension.kind is Kind.SPATIAL:
            continue
        have = cube.dimension(dimension.name)
        if have.labels != dimension.labels:
            positions = {label: index for index, label in enumerate(have.labels)}
            cube = cube.take(dimension.name, [positions[label] for label in dimension.labels])
    return cube


def _conform(step: Step, cube: Cube) -> Cube:
    """Give exactly the labels and the dtype that the plan promised."""
    cube = _with_labels(cube, step.probe)
    if cube.dtype != step.probe.dtype:
        cube = cube.same_pixels(cube.values.astype(step.probe.dtype), cube.valid)
    return cube


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
