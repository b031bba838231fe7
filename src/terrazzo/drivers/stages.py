"""Stages: nodes that need the whole extent, carried out block by block and merged.

`aggregate_spatial` reduces a raster under geometries. By openEO's rule a pixel belongs to a
polygon where its centre does (`terrazzo extract` weighs by exact coverage instead).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from terrazzo.cube import Cube, Kind, Pixels, Stack
from terrazzo.drivers.zonal import PolygonPixels, polygon_pixels
from terrazzo.engine import check_memory, evaluate_after
from terrazzo.geo.crs import transformer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from terrazzo.drivers.job import Job
    from terrazzo.drivers.pool import Pool
    from terrazzo.engine import Bound, Inference, Plan
    from terrazzo.progress import Progress


def stages_of(inference: Inference, node: str) -> list[str]:
    """Return the stages that a node without pixels needs, in the order in which they can run."""
    found: dict[str, None] = {}
    waiting = [inference.cube(node).id]
    while waiting:
        bound = inference.nodes[waiting.pop()]
        if bound.needs_whole:
            found[bound.id] = None
            continue
        waiting.extend(inference.cube(name).id for name in bound.inputs.values())
    return [name for name in inference.nodes if name in found]


def compute_result(
    job: Job, inference: Inference, node: str, *, block: int, pool: Pool, progress: Progress
) -> tuple[Any, tuple[str, ...]]:
    """Return the value of a node that is no raster, and the items that were left out of it.

    The value is a vector cube, or a scalar.

    Raises:
        PlanTooLarge: a block of a stage would need more memory than a worker has.
        SourceUnreadable: a file is corrupt, and `skip_bad` is off.
    """
    known: dict[str, Cube] = {}
    skipped: set[str] = set()
    for stage in stages_of(inference, node):
        bound = inference.nodes[stage]
        plan = job.plan(inference, bound.inputs["data"])
        check_memory(plan, block, pool.memory_bytes // pool.size)
        known[stage] = aggregate(plan, bound, block=block, workers=pool.size, progress=progress)
        skipped.update(plan.bad_items)
    return evaluate_after(inference, node, known), tuple(sorted(skipped))


def aggregate(plan: Plan, bound: Bound, *, block: int, workers: int, progress: Progress) -> Cube:
    """Reduce a plan's raster under the geometries of an `aggregate_spatial` node."""
    probe: Cube = bound.result
    geometries = probe.geometries
    if geometries is None:
        raise TypeError("aggregate_spatial gives a vector cube.")
    into = transformer(geometries.crs, plan.grid.crs).transform
    shapes = [
        shape
        if geometries.crs == plan.grid.crs or shape.is_empty
        else shapely.transform(shape, into, interleaved=False)
        for shape in geometries.shapes
    ]
    counted = bound.arguments.get("target_dimension") is not None
    values = np.zeros(probe.values.shape, probe.dtype).reshape(
        *_label_shape(probe, counted=counted)
    )
    valid = np.zeros(values.shape, np.bool_)
    reducer: Callable[..., Any] = bound.arguments["reducer"]
    context = bound.arguments.get("context")
    for done in polygon_pixels(
        plan, shapes, block=block, workers=workers, progress=progress, keep=_centres(plan, shapes)
    ):
        for index, polygon in enumerate(done.polygons):
            stack = _stack(done, index)
            result = _flat(reducer(data=stack, context=context), values.shape[1])
            values[polygon, :, 0], valid[polygon, :, 0] = result
            if counted:
                values[polygon, :, 1] = len(stack)
                values[polygon, :, 2] = stack.valid.sum(axis=0)
                valid[polygon, :, 1:] = True
    return replace(
        probe, values=values.reshape(probe.values.shape), valid=valid.reshape(probe.values.shape)
    )


def _label_shape(probe: Cube, *, counted: bool) -> tuple[int, int, int]:
    """Return (geometry, label, value and counts)."""
    geometries, numbers = len(probe.only(Kind.GEOMETRY).labels), 3 if counted else 1
    return geometries, probe.values.size // max(geometries * numbers, 1), numbers


def _stack(pixels: PolygonPixels, index: int) -> Stack:
    span = slice(pixels.starts[index], pixels.starts[index + 1])
    return Stack(pixels.values[span], pixels.valid[span])


def _flat(result: Any, size: int) -> tuple[Any, Any]:
    if isinstance(result, Pixels):
        return result.values.reshape(size), result.valid.reshape(size)
    return (0, False) if result is None else (result, True)


def _centres(
    plan: Plan, shapes: list[Any]
) -> Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]:
    """Return the choice of the pixels whose centre is in the polygon; points keep their pixel."""
    polygonal = np.array([shape.geom_type in {"Polygon", "MultiPolygon"} for shape in shapes])
    geometries = np.array(shapes, dtype=object)
    shapely.prepare(geometries)

    def keep(
        polygon: NDArray[np.int64], row: NDArray[np.int64], col: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        grid = plan.grid
        x = grid.left + (col + 0.5) * grid.pixel_x
        y = grid.top - (row + 0.5) * grid.pixel_y
        inside: NDArray[np.bool_] = shapely.intersects_xy(geometries[polygon], x, y)
        kept: NDArray[np.bool_] = inside | ~polygonal[polygon]
        return kept

    return keep


def vector_rows(cube: Cube) -> Mapping[str, list[Any]]:
    """Return a vector cube as a tidy table: one row per geometry and label.

    Columns: attributes of the geometries, one per further dimension, and `value` (None where
    there is no data).
    """
    rows: list[dict[str, Any]] = []
    for position in np.ndindex(*cube.values.shape):
        row: dict[str, Any] = {}
        for dimension, index in zip(cube.dimensions, position, strict=True):
            if dimension.kind is Kind.GEOMETRY:
                row["geometry_index"] = index
                row.update(cube.geometries.properties[index] if cube.geometries else {})
            else:
                row[dimension.name] = dimension.labels[index]
        row["value"] = cube.values[position].item() if cube.valid[position] else None
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}
