"""Random process graphs for hypothesis: what the equality of all drivers is tested with.

Every graph is valid and starts from the collections `fine` (10 m) and `coarse` (20 m, shifted)
of `collections()`, or from those of another `Ground`; it may mask, smooth, resample, merge and
reduce them in any order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from terrazzo.testing.grown import (
    DATA,
    LEFT,
    REDUCERS,
    TIMES,
    TOP,
    Draw,
    Ground,
    Grown,
    X,
    callback,
    collections,
    load,
)
from terrazzo.testing.label_steps import aligned, anomaly, curve, flat
from terrazzo.testing.stage_steps import centred, trimmed
from terrazzo.testing.structure_steps import apart, chunks, constant, marks, polygons, static

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "LEFT",
    "STAGES",
    "STEPS",
    "TIMES",
    "TOP",
    "Ground",
    "Grown",
    "callback",
    "collections",
    "graphs",
]

REDUCERS_OF_TWO = ("max",)
ALONG = (
    *("cumsum", "cumproduct", "cummin", "cummax", "sort", "order"),
    "array_interpolate_linear",
)
FUNCTIONS = (
    *("exp", "ln", "sin", "cos", "tan", "arcsin", "arctan", "sinh", "tanh", "arsinh", "artanh"),
    *("log", "power", "mod", "arctan2"),
)
METHODS = ("near", "bilinear", "cubic", "average", "mode", "max")


def _kernel(draw: Draw, grown: Grown) -> Grown:
    rows, cols = draw(st.sampled_from(((3, 3), (1, 5), (5, 3), (7, 7))))
    kernel = [[float((3 * r + 5 * c) % 7) for c in range(cols)] for r in range(rows)]
    border = draw(st.sampled_from((0, "replicate", "reflect", "reflect_pixel", "wrap")))
    return grown.then(
        "apply_kernel", {"data": grown.data, "kernel": kernel, "factor": 0.125, "border": border}
    )


def _neighbourhood(draw: Draw, grown: Grown) -> Grown:
    size, overlap = draw(st.sampled_from(((8, 0), (16, 3), (5, 2))))
    kernel = [[1.0, 2.0, 1.0]]
    process = callback("apply_kernel", data={"from_parameter": "data"}, kernel=kernel)
    return grown.then(
        "apply_neighborhood",
        {
            "data": grown.data,
            "process": process,
            "size": [{"dimension": d, "value": size, "unit": "px"} for d in ("x", "y")],
            "overlap": [{"dimension": d, "value": overlap, "unit": "px"} for d in ("x", "y")],
        },
    )


def _scale(draw: Draw, grown: Grown) -> Grown:
    del draw
    scaled = callback(
        "linear_scale_range",
        x={"from_parameter": "x"},
        inputMin=0,
        inputMax=1008,
        outputMin=-1,
        outputMax=2,
    )
    return grown.then("apply", {"data": grown.data, "process": scaled})


def _mask(draw: Draw, grown: Grown) -> Grown:
    low = callback("lt", x={"from_parameter": "x"}, y=draw(st.sampled_from(grown.ground.levels)))
    masked = grown.then("apply", {"data": grown.data, "process": low})
    arguments = {"data": grown.data, "mask": masked.data}
    if draw(st.booleans()):
        arguments["replacement"] = 7  # type: ignore[assignment] # JSON
    return masked.then("mask", arguments)


def _resample(draw: Draw, grown: Grown) -> Grown:
    arguments: dict[str, Any] = {"data": grown.data, "method": draw(st.sampled_from(METHODS))}
    arguments["resolution"] = draw(st.sampled_from((10, 15, 20, 30)))
    if draw(st.integers(0, 3)) == 0:
        arguments["projection"] = draw(st.sampled_from((3035, 32634)))
    return grown.then("resample_spatial", arguments)


def _merge(draw: Draw, grown: Grown) -> Grown:
    other = load(draw, grown)
    cubes = {"cube1": grown.data, "cube2": other.data}
    nodes = replace(other, time=grown.time, bands=grown.bands)
    resolver = callback(
        draw(st.sampled_from(REDUCERS_OF_TWO)),
        data=[{"from_parameter": "x"}, {"from_parameter": "y"}],
    )
    bands = tuple(dict.fromkeys((*grown.bands, *other.bands)))
    return nodes.then(
        "merge_cubes",
        {**cubes, "overlap_resolver": resolver},
        time=True,
        bands=bands,
    )


def _reduce(draw: Draw, grown: Grown) -> Grown:
    dimensions = (["t"] if grown.time else []) + (["bands"] if grown.bands else [])
    if not dimensions:
        return grown
    dimension = draw(st.sampled_from(dimensions))
    reducer = callback(draw(st.sampled_from(REDUCERS)), data={"from_parameter": "data"})
    changes: dict[str, Any] = {"time": False} if dimension == "t" else {"bands": ()}
    return grown.then(
        "reduce_dimension",
        {"data": grown.data, "reducer": reducer, "dimension": dimension},
        **changes,
    )


def _ndvi(draw: Draw, grown: Grown) -> Grown:
    del draw
    red, nir = grown.ground.bands
    if not {red, nir} <= set(grown.bands):
        return grown
    return grown.then("ndvi", {"data": grown.data, "nir": nir, "red": red}, bands=())


def _bands(draw: Draw, grown: Grown) -> Grown:
    if not grown.bands:
        return grown
    chosen = draw(st.sampled_from([[band] for band in grown.bands] + [list(grown.bands)[::-1]]))
    return grown.then("filter_bands", {"data": grown.data, "bands": chosen}, bands=tuple(chosen))


def _dates(draw: Draw, grown: Grown) -> Grown:
    if not grown.time:
        return grown
    if draw(st.booleans()):
        return grown.then(
            "filter_temporal", {"data": grown.data, "extent": list(grown.ground.extent)}
        )
    reducer = callback(draw(st.sampled_from(REDUCERS)), data={"from_parameter": "data"})
    return grown.then(
        "aggregate_temporal_period", {"data": grown.data, "period": "month", "reducer": reducer}
    )


def _box(draw: Draw, grown: Grown) -> Grown:
    del draw
    sides = dict(zip(("west", "south", "east", "north"), grown.ground.box, strict=True))
    return grown.then(
        "filter_bbox", {"data": grown.data, "extent": {**sides, "crs": grown.ground.crs}}
    )


def _choice(draw: Draw, grown: Grown) -> Grown:
    """Add a condition that is known before the run, and an output: both change no pixel."""
    low, high = draw(st.sampled_from(((1, 2), (2, 1))))
    asked = grown.then("lt", {"x": low, "y": high})
    arguments = {"value": asked.data, "accept": grown.data, "reject": grown.data}
    chosen = replace(asked, last=grown.last).then("if", arguments)
    return chosen.then("save_result", {"data": chosen.data, "format": "GTiff"})


def _intervals(draw: Draw, grown: Grown) -> Grown:
    if not grown.time:
        return grown
    start, end = grown.ground.extent
    intervals = [[start, end], [None, end], [end, None], ["1999-01-01", "2000-01-01"]]
    chosen = draw(st.sampled_from((intervals, intervals[:2], intervals[1:])))
    reducer = callback(draw(st.sampled_from(REDUCERS)), data=DATA)
    return grown.then(
        "aggregate_temporal",
        {
            "data": grown.data,
            "intervals": chosen,
            "labels": [f"2020-0{number + 1}" for number in range(len(chosen))],
            "reducer": reducer,
        },
    )


def _along(draw: Draw, grown: Grown) -> Grown:
    dimensions = (["t"] if grown.time else []) + (["bands"] if grown.bands else [])
    if not dimensions:
        return grown
    dimension = draw(st.sampled_from(dimensions))
    process = callback(draw(st.sampled_from(ALONG)), data=DATA)
    return grown.then(
        "apply_dimension", {"data": grown.data, "process": process, "dimension": dimension}
    )


def _labels(draw: Draw, grown: Grown) -> Grown:
    """Rename a band, and back again, so that later steps find it."""
    if not grown.bands:
        return grown
    band = draw(st.sampled_from(grown.bands))
    there = grown.then(
        "rename_labels",
        {"data": grown.data, "dimension": "bands", "source": [band], "target": ["other"]},
    )
    if draw(st.booleans()):
        there = _kernel(draw, there)
    return there.then(
        "rename_labels",
        {"data": there.data, "dimension": "bands", "source": ["other"], "target": [band]},
    )


def _dimension(draw: Draw, grown: Grown) -> Grown:
    """Rename a dimension and add one, and back again."""
    if grown.time:
        away = {"data": grown.data, "source": "t", "target": "when"}
        grown = grown.then("rename_dimension", away)
        grown = _kernel(draw, grown) if draw(st.booleans()) else grown
        back = {"data": grown.data, "source": "when", "target": "t"}
        grown = grown.then("rename_dimension", back)
    added = grown.then("add_dimension", {"data": grown.data, "name": "model", "label": "one"})
    added = _scale(draw, added) if draw(st.booleans()) else added
    return added.then("drop_dimension", {"data": added.data, "name": "model"})


def _polygon(draw: Draw, grown: Grown) -> Grown:
    left, bottom, right, top = grown.ground.box
    corners = [[left, top], [right, top - 7], [left + 9, bottom], [left, top]]
    name = {"type": "name", "properties": {"name": f"EPSG:{grown.ground.crs}"}}
    triangle = {"type": "Polygon", "coordinates": [corners], "crs": name}
    if draw(st.booleans()):
        return grown.then("filter_spatial", {"data": grown.data, "geometries": triangle})
    arguments = {"data": grown.data, "mask": triangle, "inside": draw(st.booleans())}
    if draw(st.booleans()):
        arguments["replacement"] = 3
    return grown.then("mask_polygon", arguments)


def _onto(draw: Draw, grown: Grown) -> Grown:
    target = load(draw, grown)
    if draw(st.booleans()):
        target = target.then(
            "resample_spatial", {"data": target.data, "resolution": draw(st.sampled_from((15, 40)))}
        )
    arguments = {
        "data": grown.data,
        "target": target.data,
        "method": draw(st.sampled_from(METHODS)),
    }
    return replace(target, time=grown.time, bands=grown.bands).then(
        "resample_cube_spatial", arguments
    )


def _maths(draw: Draw, grown: Grown) -> Grown:
    nodes = {
        "half": {"process_id": "multiply", "arguments": {"x": X, "y": 0.5}},
        "less": {
            "process_id": "subtract",
            "arguments": {"x": {"from_node": "half"}, "y": draw(st.sampled_from((3, 250)))},
        },
        "high": {"process_id": "gt", "arguments": {"x": {"from_node": "less"}, "y": 0}},
        "only": {
            "process_id": "if",
            "arguments": {
                "value": {"from_node": "high"},
                "accept": {"from_node": "less"},
                "reject": draw(st.sampled_from((None, -1, X))),
            },
            "result": True,
        },
    }
    return grown.then("apply", {"data": grown.data, "process": {"process_graph": nodes}})


def _function(draw: Draw, grown: Grown) -> Grown:
    """Apply a function beyond arithmetic to values of a size that suits it."""
    name, number = draw(st.sampled_from(FUNCTIONS)), draw(st.sampled_from((-1.5, 2, 10)))
    scaled = {"from_node": "scaled"}
    seconds: dict[str, dict[str, Any]] = {
        "log": {"x": scaled, "base": abs(number)},
        "power": {"base": scaled, "p": number},
        "mod": {"x": scaled, "y": number},
        "arctan2": {"y": scaled, "x": number},
        "exp": {"p": scaled},
    }
    nodes = {
        "scaled": {"process_id": "multiply", "arguments": {"x": X, "y": 0.01}},
        "only": {
            "process_id": name,
            "arguments": seconds.get(name, {"x": scaled}),
            "result": True,
        },
    }
    return grown.then("apply", {"data": grown.data, "process": {"process_graph": nodes}})


def _index(draw: Draw, grown: Grown) -> Grown:
    """Reduce the bands to an index of two of them, one taken by name and one by position."""
    if len(grown.bands) < 2:  # noqa: PLR2004 - a pair
        return grown
    nodes = {
        "a": {"process_id": "array_element", "arguments": {"data": DATA, "label": grown.bands[1]}},
        "b": {"process_id": "array_element", "arguments": {"data": DATA, "index": 0}},
        "only": {
            "process_id": draw(st.sampled_from(("normalized_difference", "subtract", "divide"))),
            "arguments": {"x": {"from_node": "a"}, "y": {"from_node": "b"}},
            "result": True,
        },
    }
    reducer = {"process_graph": nodes}
    return grown.then(
        "reduce_dimension",
        {"data": grown.data, "reducer": reducer, "dimension": "bands"},
        bands=(),
    )


def _two_sizes(draw: Draw, grown: Grown) -> Grown:
    """Use one node at two pixel sizes: the difference from a coarser version of itself."""
    coarse = grown.then(
        "resample_spatial",
        {
            "data": grown.data,
            "resolution": draw(st.sampled_from((20, 30))),
            "method": draw(st.sampled_from(METHODS)),
        },
    )
    resolver = callback("subtract", x=X, y={"from_parameter": "y"})
    cubes = [grown.data, coarse.data][:: draw(st.sampled_from((1, -1)))]
    return coarse.then(
        "merge_cubes", {"cube1": cubes[0], "cube2": cubes[1], "overlap_resolver": resolver}
    )


STEPS = {
    "kernel": _kernel,
    "neighbourhood": _neighbourhood,
    "scale": _scale,
    "mask": _mask,
    "resample": _resample,
    "merge": _merge,
    "reduce": _reduce,
    "ndvi": _ndvi,
    "bands": _bands,
    "dates": _dates,
    "box": _box,
    "choice": _choice,
    "intervals": _intervals,
    "along": _along,
    "labels": _labels,
    "dimension": _dimension,
    "polygon": _polygon,
    "onto": _onto,
    "maths": _maths,
    "function": _function,
    "index": _index,
    "two_sizes": _two_sizes,
    "flat": flat,
    "aligned": aligned,
    "anomaly": anomaly,
    "curve": curve,
    "apart": apart,
    "static": static,
    "constant": constant,
    "polygons": polygons,
    "marks": marks,
    "chunks": chunks,
}
"""By name, what makes a graph grow."""
STAGES = {"centred": centred, "trimmed": trimmed}
"""More of it: what must look at all pixels before one is computed."""


@st.composite
def graphs(
    draw: Draw,
    *,
    steps: int = 5,
    ground: Ground | None = None,
    kinds: Sequence[str] = tuple(STEPS),
) -> dict[str, Any]:
    """Draw a valid process graph whose result is a raster cube.

    Args:
        draw: of hypothesis.
        steps: how often it grows after the first node, at most.
        ground: what it starts from; by default `collections()`.
        kinds: in which ways it grows, of `STEPS` and `STAGES`.
    """
    grown = load(draw, Grown({}, "", ground=ground or Ground()))
    for _ in range(draw(st.integers(0, steps))):
        grown = {**STEPS, **STAGES}[draw(st.sampled_from(kinds))](draw, grown)
    nodes = {name: dict(node) for name, node in grown.nodes.items()}
    nodes[grown.last]["result"] = True
    return nodes
