"""Demand: which pixels of which step a window needs, and what that costs.

Windows are counted in pixels of each step's own grid; a halo is added there, and a warp
converts the window to the grid below it. Nothing is read to find out.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from terrazzo.cube.source import PrefetchSource
from terrazzo.cube.warp import source_window, support
from terrazzo.engine.feed import PIECE
from terrazzo.engine.steps import arguments_of, chosen
from terrazzo.errors import PlanTooLarge, SpatialExtentEmpty
from terrazzo.geo.crs import is_geographic
from terrazzo.geo.grid import Window
from terrazzo.geo.pixelmap import PixelMap
from terrazzo.geo.scale import scale_between
from terrazzo.processes.registry import Place

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from terrazzo.cube import Cube
    from terrazzo.engine.plan import Plan
    from terrazzo.engine.recording import Fused
    from terrazzo.engine.steps import Step
    from terrazzo.geo.grid import Grid

MASK_BYTES = 1
MAPPED_PIXELS = 1 << 22
"""Pixels of a window up to which a warp's demand is found pixel by pixel (2048 x 2048)."""
LOOKUP_BYTES = 8
"""What finding a pixel among stored numbers takes, and to find that out."""
REGISTER_BYTES = 256_000
"""What the machine's registers take at most, and its tables."""
READ_SCRATCH = 2.0
"""Memory that a read takes beside its result, in multiples of it: source pixels before a warp."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What every step of a plan must give for one window of the result."""

    windows: tuple[Window, ...]
    """By step: the pixels that it computes; empty where nothing of it is needed."""
    needs: tuple[Mapping[str, Window], ...]
    """By step and parameter: the window in which it gets each input."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a window costs, known before it is computed."""

    memory_bytes: int
    """Peak of all arrays that live at the same time, and what the functions take beside."""
    read_items: int
    """Files that are opened."""
    read_pixels: int
    """Pixels that are read, all files, bands and dates."""
    read_bytes: int
    """Bytes of those pixels once decoded."""


def demand(plan: Plan, window: Window) -> Demand:
    """Walk backwards from a window of the result to the windows of all steps."""
    steps = plan.steps
    windows = [Window(0, 0, 0, 0)] * len(steps)
    needs: list[dict[str, Window]] = [{} for _ in steps]
    windows[-1] = window.intersection(steps[-1].extent)
    for number in range(len(steps) - 1, -1, -1):
        step = steps[number]
        if windows[number].is_empty or nothing_wanted(step, windows[number]):
            continue
        for name, source in step.inputs.items():
            here = windows[number]
            wanted = needed_window(step, steps[source], here, name, exact=plan.exact)
            if wanted is None:
                continue
            needs[number][name] = wanted
            inside = wanted.intersection(steps[source].extent)
            windows[source] = windows[source].union(inside)
    return Demand(tuple(windows), tuple(needs))


def needed_window(
    step: Step, source: Step, wanted: Window, name: str, *, exact: bool
) -> Window | None:
    """Return the window in which a step gets an input; None for an input without space."""
    if source.grid is None or step.grid is None:
        return None
    if step.warps:
        extent, method = source.extent, step.method
        return _below_warp(step.grid, wanted, source.grid, extent, method, exact=exact)
    rule, arguments = step.bound.process.rules.window, arguments_of(step)
    if step.bound.process.place:
        arguments[step.bound.process.place] = Place(wanted, source.extent, grid=source.grid)
    needed = rule(wanted, source.extent, arguments, name)
    borders = step.bound.process.rules.borders
    return needed.intersection(source.extent) if borders else needed


def _below_warp(
    grid: Grid, wanted: Window, source: Grid, extent: Window, method: str, *, exact: bool
) -> Window:
    """Return the source pixels that a warp touches; some more for windows too large to map."""
    scale = scale_between(grid, source)
    if grid.crs == source.crs or wanted.pixels <= MAPPED_PIXELS:
        pixel_map = PixelMap.between(grid, wanted, source, exact=exact)
        return source_window(pixel_map, method, scale, extent)
    rows, cols = (math.ceil(reach) + 1 for reach in support(method, scale))
    try:
        touched = source.window_of(grid.to_bounds(wanted, source.crs))
    except SpatialExtentEmpty:
        return Window(extent.row, extent.col, 0, 0)
    if is_geographic(source.crs):
        touched = extent  # longitudes may run to 360
    return touched.grown(rows, cols).intersection(extent)


def cost(plan: Plan, window: Window) -> Cost:
    """Return what `evaluate(plan, window)` will take; opens no file."""
    wanted = demand(plan, window)
    groups = fused_in(plan, wanted)
    inside = {number for group in groups.values() for number in group.inside}
    alive: dict[int, int] = {}
    peak = items = pixels = read_bytes = 0
    for number, step in enumerate(plan.steps):
        here = wanted.windows[number]
        if nothing_wanted(step, here):
            continue
        if step.reads and step.bound.source is not None and step.grid is not None:
            read = step.bound.source.cost(step.grid, here, step.wanted, step.method)
            items, pixels = items + read.items, pixels + read.pixels
            read_bytes += read.bytes
        if number in inside:
            continue
        own = cube_bytes(step.probe, here)
        if number in groups:
            scratch = _loaded_bytes(plan, groups[number], wanted)
        else:
            scratch = _scratch_bytes(plan, number, wanted)
        peak = max(peak, sum(alive.values()) + own + scratch)
        alive[number] = own
        for done in [n for n in alive if plan.last_use[n] <= number]:
            del alive[done]
    return Cost(peak, items, pixels, read_bytes)


def fused_in(plan: Plan, wanted: Demand) -> dict[int, Fused]:
    """Return the groups whose steps all have the same pixels in a window, by their last step."""
    found = {}
    for group in plan.fused:
        here = wanted.windows[group.steps[-1]]
        numbers = (*group.steps, *group.inputs) if group.joins else group.steps
        if all(wanted.windows[number] == here for number in numbers):
            found[group.steps[-1]] = group
    return found


def weights(plan: Plan, group: Fused, known: Container[int]) -> dict[int, float]:
    """Return bytes per pixel of a plane of each input of a group that is read plane by plane."""
    return {
        place: float(plan.steps[number].probe.dtype.itemsize + MASK_BYTES)
        for place, number in enumerate(group.inputs)
        if number in group.stored and place not in known
    }


def _loaded_bytes(plan: Plan, group: Fused, wanted: Demand) -> int:
    """Return what a group takes beside what comes in as cubes: the planes of one piece."""
    window = wanted.windows[group.steps[-1]]
    apart = {n for n in group.stored if wanted.windows[n] != window}
    total = window.pixels * len(group.extents)
    for number in apart:
        total += math.ceil((1 + READ_SCRATCH) * cube_bytes(plan.steps[number].probe, window))
    program, dtype = group.recording.program, plan.steps[group.steps[-1]].probe.dtype
    if dtype.kind != "b" and dtype != program.dtype:  # the machine's numbers, before they are cast
        planes = len(group.recording.results)
        total += planes * window.pixels * program.dtype.itemsize
    known = [place for place, number in enumerate(group.inputs) if number in apart]
    pixels = min(window.height, PIECE) * min(window.width, PIECE)
    _, held = program.parts(weights(plan, group, known), pixels)
    return total + math.ceil(held) + pixels * LOOKUP_BYTES + REGISTER_BYTES


def _scratch_bytes(plan: Plan, number: int, wanted: Demand) -> int:
    """Return what a step takes beside its result: copies of its inputs, and its callbacks."""
    step, window = plan.steps[number], wanted.windows[number]
    largest, pixels = cube_bytes(step.probe, window), window.pixels
    for name, source in step.inputs.items():
        needed = wanted.needs[number].get(name, Window(0, 0, 0, 0))
        largest = max(largest, cube_bytes(plan.steps[source].probe, needed))
        pixels = max(pixels, needed.pixels)
    if step.reads or step.warps:
        return math.ceil(READ_SCRATCH * largest)
    rules = step.bound.process.rules
    unwanted = 0
    if rules.makes_all:
        made = cube_bytes(_made(plan, step), window)
        largest, unwanted = max(largest, made), made - cube_bytes(step.probe, window)
    return unwanted + math.ceil(max(rules.scratch * largest, step.bound.callback_bytes * pixels))


def _made(plan: Plan, step: Step) -> Cube:
    """Return, without pixels, what a step makes that makes all of its new labels."""
    inputs = [plan.steps[source].bound.result for source in step.inputs.values()]
    known = {dimension for cube in inputs for dimension in cube.dimensions}
    kept = {d.name for d in step.bound.result.dimensions if d in known}
    return chosen(step.bound.result, {n: p for n, p in step.wanted.items() if n in kept})


def read_version(plan: Plan, window: Window) -> str:
    """Return a digest of what a window is made of: images, and what stages have found."""
    wanted = demand(plan, window)
    digest = hashlib.sha256(plan.stamp.encode())
    for number, step in enumerate(plan.steps):
        if step.reads and step.bound.source is not None and step.grid is not None:
            here = wanted.windows[number]
            if not here.is_empty:
                digest.update(step.bound.source.version(step.grid, here, step.wanted).encode())
    return digest.hexdigest()[:16]


def prefetch(plan: Plan, window: Window) -> None:
    """Tell the sources of a plan that a window will be read soon, where that helps them."""
    wanted: Demand | None = None
    for number, step in enumerate(plan.steps):
        source = step.bound.source
        if source is None or not isinstance(source, PrefetchSource) or step.grid is None:
            continue
        wanted = wanted or demand(plan, window)
        here = wanted.windows[number]
        if step.reads and not nothing_wanted(step, here):
            source.prefetch(step.grid, here, step.wanted, step.method)


def nothing_wanted(step: Step, window: Window) -> bool:
    """Tell whether nobody wants a pixel or a label of a step in a window, so that it is not run."""
    if step.grid is None:
        return False
    return window.is_empty or any(len(chosen) == 0 for chosen in step.wanted.values())


def cube_bytes(probe: Cube, window: Window) -> int:
    """Return the bytes of values and mask of a cube with these labels and this window."""
    cells = window.pixels if probe.grid is not None else 1
    for dimension in probe.dimensions:
        if dimension.kind.value != "spatial":
            cells *= len(dimension.labels)
    return cells * (probe.dtype.itemsize + MASK_BYTES)


def check_memory(plan: Plan, edge: int, memory_bytes: int) -> Cost:
    """Refuse, before any read, a block size that cannot fit, and name the one that would.

    The block in the middle of the plan's window is taken for all; it is whole unless the
    window is smaller than a block.

    Raises:
        PlanTooLarge: a block of `edge` pixels needs more than `memory_bytes`.
    """
    block = central_block(plan, edge)
    needed = cost(plan, block)
    if needed.memory_bytes <= memory_bytes:
        return needed
    fitting = min(edge, max(block.height, block.width))
    while fitting > 1:
        fitting //= 2
        if cost(plan, central_block(plan, fitting)).memory_bytes <= memory_bytes:
            break
    else:
        fitting = 0
    advice = (
        f"Use --block {fitting} or less, or allow more with --memory"
        if fitting
        else "Even one pixel does not fit: choose fewer dates or bands, or allow more memory"
    )
    raise PlanTooLarge(
        f"A block of {block.height} x {block.width} pixels needs {size_text(needed.memory_bytes)} "
        f"and may use {size_text(memory_bytes)}. {advice}."
    )


def size_text(count: float) -> str:
    """Return a number of bytes for people, three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - SI prefixes
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def central_block(plan: Plan, edge: int) -> Window:
    """Return a block of `edge` pixels in the middle of the plan's window."""
    window = plan.window
    height, width = min(edge, window.height), min(edge, window.width)
    return Window(
        window.row + (window.height - height) // 2,
        window.col + (window.width - width) // 2,
        height,
        width,
    )
