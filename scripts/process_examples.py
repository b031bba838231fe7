"""One example for every process: arguments that the reference runs and shows with their result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scripts.tiny import FIELDS

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


def callback_of(process: str, **arguments: Any) -> dict[str, Any]:
    """Return a node that takes the parameters of a model."""
    data = {"data": {"from_parameter": "parameters"}}
    return {"process_id": process, "arguments": {**data, **arguments}}


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
_LABELLED = {
    "labelled": {
        "process_id": "array_create_labeled",
        "arguments": {"data": [0.4, 0.1], "labels": ["nir", "red"]},
    }
}
_YEARS = {
    "years": {
        "process_id": "rename_labels",
        "arguments": {
            "data": DATA,
            "dimension": "t",
            "source": ["2020-02-05T10:00:00Z"],
            "target": ["2021-01-07T10:00:00Z"],
        },
    }
}
_MONTHS = {
    name: {
        "process_id": "aggregate_temporal_period",
        "arguments": {"data": DATA, "period": period, "reducer": of_data("mean")},
    }
    for name, period in (("months", "month"), ("normals", "year"))
}
_LINE: dict[str, Any] = {
    "process_graph": {
        "a": callback_of("array_element", index=0),
        "b": callback_of("array_element", index=1),
        "bx": {
            "process_id": "multiply",
            "arguments": {"x": {"from_node": "b"}, "y": {"from_parameter": "x"}},
        },
        "line": {
            "process_id": "add",
            "arguments": {"x": {"from_node": "a"}, "y": {"from_node": "bx"}},
            "result": True,
        },
    }
}
_SERIES = {
    "series": {
        "process_id": "array_create_labeled",
        "arguments": {"data": [1, 3, None, 7], "labels": [0, 1, 2, 3]},
    }
}
_FITTED = {
    "fitted": {
        "process_id": "apply_dimension",
        "arguments": {
            "data": DATA,
            "dimension": "t",
            "process": callback(
                "fit_curve",
                data={"from_parameter": "data"},
                parameters=[1, 1e-7],
                function=_LINE,
            ),
        },
    }
}
_GREEN = {
    "green": {
        "process_id": "apply",
        "arguments": {"data": DATA, "process": of_x("divide", y=20)},
    },
    "named": {
        "process_id": "rename_labels",
        "arguments": {
            "data": {"from_node": "green"},
            "dimension": "bands",
            "source": ["nir"],
            "target": ["green"],
        },
    },
}
_FLAT = {
    "flat": {
        "process_id": "flatten_dimensions",
        "arguments": {"data": DATA, "dimensions": ["t", "bands"], "target_dimension": "z"},
    }
}
_ONE = {
    "one": {
        "process_id": "filter_temporal",
        "arguments": {"data": DATA, "extent": ["2020-02-01", None]},
    }
}
_COARSE = {
    "coarse": {
        "process_id": "resample_spatial",
        "arguments": {"data": DATA, "resolution": 20, "method": "near"},
    }
}

_FIELDS = {
    "fields": {
        "process_id": "load_geojson",
        "arguments": {"data": FIELDS},
    },
    "square": {"process_id": "load_geojson", "arguments": {"data": SQUARE}},
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
    "nan": Example({}, note="NaN is a number that a computation gives; no-data is null."),
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
    "array_create_labeled": Example({"data": [0.4, 0.1], "labels": ["nir", "red"]}),
    "array_modify": _numbers(1, 2, 3, values=[8, 9], index=1, length=1),
    "array_find_label": Example({"data": {"from_node": "labelled"}, "label": "red"}, _LABELLED),
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
    "cumsum": _numbers(1, 3, None, 2),
    "cumproduct": _numbers(1, 3, None, 2),
    "cummin": _numbers(5, 3, None, 4),
    "cummax": _numbers(1, 3, None, 2),
}
DATES = {
    "date_between": Example(
        {"x": "2020-06-15T10:00:00Z", "min": "2020-06-01", "max": "2020-07-01"}
    ),
    "date_shift": Example({"date": "2020-01-31", "value": 1, "unit": "month"}),
    "date_difference": Example({"date1": "2020-01-01", "date2": "2020-01-11", "unit": "day"}),
}
TEXTS = {
    "text_begins": Example({"data": "Lorem ipsum", "pattern": "lorem", "case_sensitive": False}),
    "text_contains": Example({"data": "Lorem ipsum", "pattern": "ips"}),
    "text_ends": Example({"data": "Lorem ipsum", "pattern": "IPSUM"}),
    "text_find": Example({"data": "Lorem ipsum", "pattern": "ips"}),
    "text_concat": Example({"data": ["B", 8], "separator": ""}),
}
LABELS = {
    "drop_dimension": Example({"data": {"from_node": "red"}, "name": "bands"}, _RED),
    "rename_dimension": Example({"data": DATA, "source": "t", "target": "time"}),
    "rename_labels": Example(
        {"data": DATA, "dimension": "bands", "target": ["B08"], "source": ["nir"]}
    ),
    "create_data_cube": Example({}),
    "add_dimension": Example({"data": DATA, "name": "source", "label": "S2", "type": "other"}),
    "flatten_dimensions": Example(
        {"data": DATA, "dimensions": ["t", "bands"], "target_dimension": "z"}
    ),
    "unflatten_dimension": Example(
        {"data": {"from_node": "flat"}, "dimension": "z", "target_dimensions": ["a", "b"]}, _FLAT
    ),
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
VECTORS = {
    "load_geojson": Example({"data": FIELDS, "properties": ["n"]}),
    "load_url": Example(
        {
            "url": "https://example.org/fields.geojson",
            "format": "GeoJSON",
            "options": {"properties": ["n"]},
        },
        note="The reference runs this on the features of `load_geojson`; really, the host must be "
        "allowed.",
    ),
    "load_uploaded_files": Example(
        {"paths": ["fields.gpkg"], "format": "GPKG", "options": {"properties": ["n"]}},
        note="The reference runs this on the features of `load_geojson`; really, upload the file "
        "with `PUT /files/fields.gpkg` first.",
    ),
    "filter_vector": Example(
        {"data": {"from_node": "fields"}, "geometries": {"from_node": "square"}}, _FIELDS
    ),
    "vector_buffer": Example({"geometries": {"from_node": "square"}, "distance": -5}, _FIELDS),
    "vector_reproject": Example(
        {"data": {"from_node": "fields"}, "projection": 3857}, {"fields": _FIELDS["fields"]}
    ),
    "vector_to_regular_points": Example(
        {"data": {"from_node": "square"}, "distance": 10}, {"square": _FIELDS["square"]}
    ),
    "vector_to_random_points": Example(
        {"data": {"from_node": "square"}, "geometry_count": 2, "group": False, "seed": 1},
        {"square": _FIELDS["square"]},
    ),
}
SERIES = {
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
    "resample_cube_temporal": Example({"data": DATA, "target": {"from_node": "one"}}, _ONE),
    "climatological_normal": Example(
        {"data": {"from_node": "years"}, "period": "season", "climatology_period": [2020, 2021]},
        _YEARS,
    ),
    "anomaly": Example(
        {
            "data": {"from_node": "months"},
            "normals": {"from_node": "normals"},
            "period": "single-period",
        },
        _MONTHS,
    ),
    "fit_curve": Example(
        {"data": {"from_node": "series"}, "parameters": [0, 0], "function": _LINE}, _SERIES
    ),
    "predict_curve": Example(
        {
            "parameters": {"from_node": "fitted"},
            "function": _LINE,
            "dimension": "t",
            "labels": ["2020-02-20T22:00:00Z"],
        },
        _FITTED,
    ),
}
CUBES = {
    "ndvi": Example({"data": DATA}),
    "apply": Example({"data": DATA, "process": of_x("multiply", y=10)}),
    "run_udf": Example(
        {
            "data": DATA,
            "udf": "def apply_datacube(cube, context):\n    return cube * context['factor']\n",
            "runtime": "Python",
            "context": {"factor": 10},
        },
        note="[User code](udf.md) tells what the code gets and what it may do.",
    ),
    "reduce_dimension": Example({"data": DATA, "dimension": "t", "reducer": of_data("mean")}),
    "apply_dimension": Example({"data": DATA, "dimension": "t", "process": of_data("cumsum")}),
    "cloud_detection": Example({"data": {"from_node": "named"}, "method": None}, _GREEN),
    "aggregate_spatial": Example(
        {"data": DATA, "geometries": SQUARE, "reducer": of_data("mean")},
        note="A pixel counts where its centre is in the polygon; see `terrazzo extract` for exact "
        "weights.",
    ),
    "reduce_spatial": Example({"data": DATA, "reducer": of_data("mean")}),
    "aggregate_spatial_window": Example(
        {"data": DATA, "reducer": of_data("max"), "size": [2, 1]},
        note="Pixels are twice as wide as before.",
    ),
    "trim_cube": Example(
        {"data": {"from_node": "part"}},
        {
            "part": {
                "process_id": "mask_polygon",
                "arguments": {"data": DATA, "mask": SQUARE},
            }
        },
        note="Rows and columns without data are gone.",
    ),
    "inspect": Example(
        {"data": DATA, "message": "as loaded"},
        note="The log has one entry with the dimensions, and with count, minimum, maximum and mean "
        "of all pixels.",
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
    "apply_polygon": Example(
        {
            "data": DATA,
            "geometries": {"from_node": "square"},
            "process": callback(
                "apply_kernel", data={"from_parameter": "data"}, kernel=[[1, 1, 1]]
            ),
            "mask_value": -1,
        },
        {"square": _FIELDS["square"]},
    ),
    "resample_spatial": Example({"data": DATA, "resolution": 20, "method": "average"}),
    "resample_cube_spatial": Example(
        {"data": DATA, "target": {"from_node": "coarse"}, "method": "max"}, _COARSE
    ),
}
_RED = {
    "red": {
        "process_id": "filter_bands",
        "arguments": {"data": DATA, "bands": ["red"]},
    },
}
GRASS = {
    "run_grass": Example(
        {
            "data": DATA,
            "module": "r.mapcalc",
            "parameters": {"expression": "nir - nir[0,-1]"},
        },
        note="An extension of Terrazzo; [GRASS](grass.md) lists the modules. A neighbour beyond "
        "the border is no-data.",
    ),
    "run_grass_whole": Example(
        {"data": {"from_node": "red"}, "module": "r.clump", "flags": "d"},
        _RED,
        note="An extension of Terrazzo; [GRASS](grass.md) lists the modules.",
    ),
}
FAMILIES: Mapping[str, Mapping[str, Example]] = {
    "Load and save": LOADED,
    "Cubes": CUBES,
    "GRASS": GRASS,
    "Time series": SERIES,
    "Vector cubes": VECTORS,
    "Labels and filters": LABELS,
    "Maths": MATHS,
    "Comparison and logic": LOGIC,
    "Arrays": ARRAYS,
    "Statistics": STATISTICS,
    "Texts": TEXTS,
    "Dates": DATES,
}
"""Examples by process id, in the chapters of the page."""
EXAMPLES: Mapping[str, Example] = {
    name: example for family in FAMILIES.values() for name, example in family.items()
}
"""All of them."""
