"""One example for every process: arguments that the reference runs and shows with their result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA = {"from_node": "cube"}
"""The tiny cube of the reference as an argument."""
BOX = {"west": 500_000, "east": 500_020, "south": 4_999_980, "north": 5_000_000, "crs": 32633}
SQUARE: dict[str, Any] = {
    "type": "Polygon",
    "coordinates": [
        [
            [500_000, 4_999_980],
            [500_020, 4_999_980],
            [500_020, 5_000_000],
            [500_000, 5_000_000],
            [500_000, 4_999_980],
        ]
    ],
    "crs": {"type": "name", "properties": {"name": "EPSG:32633"}},
}


@dataclass(frozen=True)
class Example:
    """Arguments of a process, and the nodes that they refer to."""

    arguments: Mapping[str, Any]
    """As in a process graph."""
    before: Mapping[str, Any] = field(default_factory=dict)
    """Nodes beside the tiny cube; shown with the example."""
    note: str = ""
    """A sentence below the result."""


def callback(process: str, **arguments: Any) -> dict[str, Any]:
    """Return a callback of one node."""
    node = {"process_id": process, "arguments": arguments, "result": True}
    return {"process_graph": {process: node}}


def of_data(process: str) -> dict[str, Any]:
    """Return a callback that reduces or changes an array."""
    return callback(process, data={"from_parameter": "data"})


def of_x(process: str, **arguments: Any) -> dict[str, Any]:
    """Return a callback of single values."""
    return callback(process, x={"from_parameter": "x"}, **arguments)


def _numbers(*values: float | None, **more: Any) -> Example:
    return Example({"data": list(values), **more})


_NAN = {"nan": {"process_id": "divide", "arguments": {"x": 0, "y": 0}}}
_INFINITY = {"infinity": {"process_id": "divide", "arguments": {"x": 1, "y": 0}}}
_RED = {"red": {"process_id": "filter_bands", "arguments": {"data": DATA, "bands": ["red"]}}}
_NIR = {"nir": {"process_id": "filter_bands", "arguments": {"data": DATA, "bands": ["nir"]}}}
_FEW = {
    "few": {
        "process_id": "apply",
        "arguments": {"data": DATA, "process": of_x("lt", y=4)},
    }
}
_COARSE = {
    "coarse": {
        "process_id": "resample_spatial",
        "arguments": {"data": DATA, "resolution": 20, "method": "near"},
    }
}

MATHS = {
    "add": Example({"x": 5, "y": 2.5}),
    "subtract": Example({"x": 5, "y": 2.5}),
    "multiply": Example({"x": 5, "y": 2.5}),
    "divide": Example({"x": 5, "y": 2}),
    "mod": Example({"x": -27, "y": 5}, note="The result has the sign of `y`."),
    "power": Example({"base": 2, "p": 3}),
    "absolute": Example({"x": -3.5}),
    "sgn": Example({"x": -3.5}),
    "sqrt": Example({"x": 9}),
    "exp": Example({"p": 0}),
    "ln": Example({"x": 1}),
    "log": Example({"x": 1000, "base": 10}),
    "ceil": Example({"x": -3.5}),
    "floor": Example({"x": -3.5}),
    "int": Example({"x": -3.5}),
    "round": Example({"x": 2.5}, note="Halves go to the even neighbour (IEEE 754)."),
    "clip": Example({"x": 12, "min": 0, "max": 10}),
    "linear_scale_range": Example({"x": 128, "inputMin": 0, "inputMax": 256}),
    "normalized_difference": Example({"x": 5, "y": 3}),
    "e": Example({}),
    "pi": Example({}),
    "constant": Example({"x": "anything"}),
    "sin": Example({"x": 0}),
    "cos": Example({"x": 0}),
    "tan": Example({"x": 0}),
    "arcsin": Example({"x": 0}),
    "arccos": Example({"x": 1}),
    "arctan": Example({"x": 0}),
    "arctan2": Example({"y": 0, "x": -1}),
    "sinh": Example({"x": 0}),
    "cosh": Example({"x": 0}),
    "tanh": Example({"x": 0}),
    "arsinh": Example({"x": 0}),
    "arcosh": Example({"x": 1}),
    "artanh": Example({"x": 0}),
}
LOGIC = {
    "and": Example({"x": False, "y": None}, note="False, whatever the missing value is."),
    "or": Example({"x": True, "y": None}, note="True, whatever the missing value is."),
    "not": Example({"x": False}),
    "xor": Example({"x": True, "y": False}),
    "all": _numbers(True, None),
    "any": _numbers(False, None, ignore_nodata=False),
    "if": Example({"value": True, "accept": "A", "reject": "B"}),
    "eq": Example({"x": 1.0, "y": 1.02, "delta": 0.05}),
    "neq": Example({"x": "Test", "y": "test", "case_sensitive": False}),
    "gt": Example({"x": 2, "y": 1}),
    "gte": Example({"x": 1, "y": 1}),
    "lt": Example({"x": 1, "y": None}, note="Comparing with no-data gives no-data."),
    "lte": Example({"x": 1, "y": 1}),
    "between": Example({"x": 10, "min": 0, "max": 10, "exclude_max": True}),
    "is_nan": Example({"x": {"from_node": "nan"}}, _NAN),
    "is_infinite": Example({"x": {"from_node": "infinity"}}, _INFINITY),
    "is_nodata": Example({"x": None}),
    "is_valid": Example({"x": None}),
}
ARRAYS = {
    "array_element": _numbers(9, 8, 7, index=2),
    "first": _numbers(None, 2, 3),
    "last": _numbers(1, None, ignore_nodata=False),
    "array_append": _numbers(1, 2, value=3),
    "array_concat": Example({"array1": [1, 2], "array2": [3]}),
    "array_contains": _numbers(1, 2, 3, value=2),
    "array_create": _numbers(5, 6, repeat=2),
    "array_find": _numbers(1, 2, 3, 2, value=2, reverse=True),
    "array_labels": _numbers(7, 8, 9),
    "array_apply": _numbers(1, 2, None, process=of_x("multiply", y=10)),
    "array_filter": _numbers(1, 5, 3, condition=of_x("gt", y=2)),
    "array_interpolate_linear": _numbers(0, None, None, 6),
    "order": _numbers(6, -1, 2, None, nodata=True),
    "sort": _numbers(6, -1, 2, None, asc=False),
    "rearrange": Example({"data": [5, 4, 3], "order": [2, 0]}),
}
STATISTICS = {
    "cumsum": _numbers(1, 3, None, 2),
    "cumproduct": _numbers(1, 3, None, 2),
    "cummin": _numbers(5, 3, None, 4),
    "cummax": _numbers(1, 3, None, 2),
    "sum": _numbers(5, 1, None),
    "product": _numbers(5, 2, None),
    "mean": _numbers(9, 2.5, None, -2.5),
    "variance": _numbers(1, 2, 3, 4),
    "sd": _numbers(1, 2, 3, 4),
    "min": _numbers(5, 1, None),
    "max": _numbers(5, 1, None, ignore_nodata=False),
    "extrema": _numbers(1, 0, 3),
    "median": _numbers(-1, 1, 3, 5),
    "quantiles": _numbers(2, 4, 4, 4, 5, 5, 7, 9, probabilities=[0.1, 0.5]),
    "count": _numbers(1, None, 3, condition=of_x("gt", y=2)),
}
TEXTS = {
    "text_begins": Example({"data": "Lorem ipsum", "pattern": "lorem", "case_sensitive": False}),
    "text_contains": Example({"data": "Lorem ipsum", "pattern": "ips"}),
    "text_ends": Example({"data": "Lorem ipsum", "pattern": "IPSUM"}),
    "text_concat": Example({"data": ["B", 8], "separator": ""}),
}
LABELS = {
    "drop_dimension": Example({"data": {"from_node": "red"}, "name": "bands"}, _RED),
    "rename_dimension": Example({"data": DATA, "source": "t", "target": "time"}),
    "rename_labels": Example(
        {"data": DATA, "dimension": "bands", "target": ["B08"], "source": ["nir"]}
    ),
    "add_dimension": Example({"data": DATA, "name": "source", "label": "S2", "type": "other"}),
    "dimension_labels": Example({"data": DATA, "dimension": "bands"}),
    "filter_bbox": Example({"data": DATA, "extent": BOX}),
    "filter_spatial": Example({"data": DATA, "geometries": SQUARE}),
    "filter_temporal": Example({"data": DATA, "extent": ["2020-01-01", "2020-02-01"]}),
    "filter_bands": Example({"data": DATA, "bands": ["nir"]}),
    "filter_labels": Example(
        {
            "data": DATA,
            "dimension": "bands",
            "condition": callback("eq", x={"from_parameter": "value"}, y="red"),
        }
    ),
}
LOADED = {
    "load_collection": Example(
        {"id": "tiny", "spatial_extent": None, "temporal_extent": None, "bands": ["nir", "red"]}
    ),
    "load_stac": Example(
        {"url": "https://example.org/stac/tiny.json", "bands": ["red"]},
        note="The reference runs this on the tiny cube; really, the host must be allowed.",
    ),
    "save_result": Example({"data": DATA, "format": "GTiff", "options": {"nodata": -1}}),
}
CUBES = {
    "ndvi": Example({"data": DATA}),
    "apply": Example({"data": DATA, "process": of_x("multiply", y=10)}),
    "reduce_dimension": Example({"data": DATA, "dimension": "t", "reducer": of_data("mean")}),
    "apply_dimension": Example({"data": DATA, "dimension": "t", "process": of_data("cumsum")}),
    "aggregate_temporal": Example(
        {
            "data": DATA,
            "intervals": [["2020-01-01", "2020-03-01"]],
            "labels": ["winter"],
            "reducer": of_data("max"),
        }
    ),
    "aggregate_temporal_period": Example(
        {"data": DATA, "period": "month", "reducer": of_data("mean")}
    ),
    "aggregate_spatial": Example(
        {"data": DATA, "geometries": SQUARE, "reducer": of_data("mean")},
        note="A pixel counts where its centre is in the polygon; see `terrazzo extract` for exact "
        "weights.",
    ),
    "mask": Example({"data": DATA, "mask": {"from_node": "few"}}, _FEW),
    "mask_polygon": Example({"data": DATA, "mask": SQUARE, "replacement": -9}),
    "merge_cubes": Example(
        {"cube1": {"from_node": "nir"}, "cube2": {"from_node": "red"}}, {**_NIR, **_RED}
    ),
    "apply_kernel": Example({"data": DATA, "kernel": [[1, 1, 1]], "border": "replicate"}),
    "apply_neighborhood": Example(
        {
            "data": DATA,
            "process": callback(
                "apply_kernel", data={"from_parameter": "data"}, kernel=[[1, 1, 1]]
            ),
            "size": [{"dimension": axis, "value": 2, "unit": "px"} for axis in ("x", "y")],
            "overlap": [{"dimension": axis, "value": 1, "unit": "px"} for axis in ("x", "y")],
        }
    ),
    "resample_spatial": Example({"data": DATA, "resolution": 20, "method": "average"}),
    "resample_cube_spatial": Example(
        {"data": DATA, "target": {"from_node": "coarse"}, "method": "max"}, _COARSE
    ),
}
FAMILIES: Mapping[str, Mapping[str, Example]] = {
    "Load and save": LOADED,
    "Cubes": CUBES,
    "Labels and filters": LABELS,
    "Maths": MATHS,
    "Comparison and logic": LOGIC,
    "Arrays": ARRAYS,
    "Statistics": STATISTICS,
    "Texts": TEXTS,
}
"""Examples by process id, in the chapters of the page."""
EXAMPLES: Mapping[str, Example] = {
    name: example for family in FAMILIES.values() for name, example in family.items()
}
"""All of them."""
