"""Explains a plan to people and programs: what runs, on which grid, what is read, what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from terrazzo.cube import Cube, Kind
from terrazzo.engine.bound import Pending
from terrazzo.engine.demand import central_block, cost, cube_bytes, demand, fused_in, size_text
from terrazzo.geo.crs import epsg

if TYPE_CHECKING:
    from terrazzo.engine.bound import Bound
    from terrazzo.engine.plan import Plan
    from terrazzo.engine.steps import Step
    from terrazzo.geo.grid import Grid, Window


def explain(plan: Plan, *, block: int = 1024) -> dict[str, Any]:
    """Return the plan as JSON values; reads nothing.

    `fused` of a step is the number of the group that it is computed with in one pass, null where
    it runs on its own. `stages` are the nodes that must see all pixels before the steps can run.

    Args:
        plan: the plan.
        block: edge of the block whose cost is told, pixels.
    """
    one = central_block(plan, block)
    wanted = demand(plan, one)
    block_cost, whole = cost(plan, one), cost(plan, plan.window)
    together = {
        number: place
        for place, group in enumerate(fused_in(plan, wanted).values(), 1)
        for number in group.steps
    }
    return {
        "digest": plan.digest,
        "result": plan.node,
        "grid": _grid(plan.grid, plan.window),
        "exact": plan.exact,
        "stages": list(plan.pending),
        "dimensions": _dimensions(plan.probe),
        "dtype": plan.probe.dtype.name,
        "steps": [
            _step(step, wanted.windows[number], [plan.steps[i].name for i in step.inputs.values()])
            | {"fused": together.get(number)}
            for number, step in enumerate(plan.steps)
        ],
        "block": {
            "edge": block,
            "pixels": [one.height, one.width],
            "count": -(-plan.window.height // block) * -(-plan.window.width // block),
            "memory_bytes": block_cost.memory_bytes,
            "bytes_per_pixel": round(block_cost.memory_bytes / max(one.pixels, 1), 1),
            "read_items": block_cost.read_items,
            "read_pixels": block_cost.read_pixels,
            "read_bytes": block_cost.read_bytes,
        },
        "whole": {
            "read_items": whole.read_items,
            "read_pixels": whole.read_pixels,
            "read_bytes": whole.read_bytes,
            "result_bytes": cube_bytes(plan.probe, plan.window),
        },
    }


def explain_text(plan: Plan, *, block: int = 1024) -> str:
    """Return the plan in lines that people read."""
    told = explain(plan, block=block)
    grid, one, whole = told["grid"], told["block"], told["whole"]
    where = (
        f"{grid['crs']}  pixel {_pixel(grid['pixel'])}  {grid['height']} x {grid['width']} pixels"
    )
    lines = [
        f"graph   {told['digest'][:16]}  result: {told['result']}",
        f"grid    {where}  bounds {_rounded(grid['bounds'])}",
        *(["        every pixel is projected exactly"] if told["exact"] else []),
        *([f"after   {', '.join(told['stages'])}, which must see all pixels"] * bool(plan.pending)),
        f"result  {_shape(told['dimensions'])}  {told['dtype']}",
        "",
        "steps, in the order in which they run (windows for one block):",
    ]
    for number, step in enumerate(told["steps"], 1):
        after = f"  <- {', '.join(step['inputs'])}" if step["inputs"] else ""
        where = f"  on {step['grid']['crs']} at {_pixel(step['grid']['pixel'])}"
        mark = f"  [fused {step['fused']}]" if step["fused"] else ""
        lines.append(f"{number:3d}  {step['does']}{after}{mark}")
        lines.append(f"       {_shape(step['dimensions'])}  {step['dtype']}{where}")
        if step.get("window"):
            row, col, height, width = step["window"]
            lines.append(f"       window: {height} x {width} pixels from row {row}, column {col}")
    memory = (
        f"{size_text(one['memory_bytes'])} of memory ({one['bytes_per_pixel']} bytes per pixel)"
    )
    reads = f"{one['read_pixels']:,} pixels of {one['read_items']} files"
    rows, cols = one["pixels"]
    lines.append("")
    lines.append(f"block   {rows} x {cols} pixels, {one['count']} of them: at most {memory}")
    lines.append(f"        reads {reads}")
    reads = f"{whole['read_pixels']:,} pixels ({size_text(whole['read_bytes'])})"
    lines.append(f"whole   reads {reads} of {whole['read_items']} files")
    lines.append(f"        the result has {size_text(whole['result_bytes'])}")
    return "\n".join(lines)


def explain_value(bound: Bound) -> dict[str, Any]:
    """Return what a node without pixels gives, as far as it is known before stages have run."""
    told: dict[str, Any] = {"result": bound.id}
    if isinstance(bound.result, Cube):
        told["dimensions"] = _dimensions(bound.result)
        told["dtype"] = bound.result.dtype.name
    return told


def explain_value_text(bound: Bound) -> str:
    """Return the same in a line that people read."""
    told = explain_value(bound)
    what = f"{_shape(told['dimensions'])}  {told['dtype']}" if "dtype" in told else "a value"
    if bound.result is Pending.PENDING:
        what = "known when the stages are done"
    return f"result  {what}  of {bound.id} ({bound.process.id}), without pixels"


def _step(step: Step, window: Window, inputs: list[str]) -> dict[str, Any]:
    process = step.bound.process.id
    does = f"{step.bound.id}: {process}"
    if step.reads:
        does += f" (read, {step.method})"
    if step.warps:
        does = f"{step.bound.id}: warp ({step.method})"
    told: dict[str, Any] = {
        "node": step.bound.id,
        "process": process,
        "does": does,
        "inputs": inputs,
        "dimensions": _dimensions(step.probe),
        "dtype": step.probe.dtype.name,
    }
    if step.grid is not None:
        told["grid"] = _grid(step.grid, step.extent)
        told["window"] = [window.row, window.col, window.height, window.width]
    return told


def _grid(grid: Grid, window: Window) -> dict[str, Any]:
    return {
        "crs": grid.crs if epsg(grid.crs) is not None else grid.crs.split('"')[1],
        "pixel": [grid.pixel_x, grid.pixel_y],
        "height": window.height,
        "width": window.width,
        "bounds": list(grid.bounds_of(window)),
    }


def _dimensions(probe: Cube) -> list[dict[str, Any]]:
    return [
        {"name": d.name, "type": d.kind.value, "labels": list(d.labels)}
        if d.kind is not Kind.SPATIAL
        else {"name": d.name, "type": d.kind.value}
        for d in probe.dimensions
    ]


def _shape(dimensions: list[dict[str, Any]]) -> str:
    parts = []
    for dimension in dimensions:
        labels = dimension.get("labels")
        if labels is None:
            parts.append(dimension["name"])
        elif len(labels) <= 4:  # noqa: PLR2004 - what fits a line
            parts.append(f"{dimension['name']}={','.join(str(label) for label in labels)}")
        else:
            parts.append(f"{dimension['name']}={len(labels)} ({labels[0]} .. {labels[-1]})")
    return "(" + ", ".join(parts) + ")"


def _pixel(pixel: list[float]) -> str:
    return f"{pixel[0]:g}" if pixel[0] == pixel[1] else f"{pixel[0]:g} x {pixel[1]:g}"


def _rounded(bounds: list[float]) -> str:
    return ", ".join(f"{value:.6g}" if abs(value) < 1000 else f"{value:.1f}" for value in bounds)  # noqa: PLR2004 - degrees or metres
