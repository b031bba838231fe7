"""Indices, labels, dimensions and what passes cubes on: NumPy and xarray."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.vectors.documents import (
    Case,
    Cases,
    Document,
    bands,
    from_gappy,
    gappy,
    labelled,
    node,
    other,
    parameter,
    sample,
    space,
    time,
    with_labels,
    without,
)

SCENE = sample(
    {
        "t": time("2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z"),
        "bands": bands("red", "nir", "blue"),
        **space(3, 4),
    },
    seed=31,
)
TABLE = sample(
    {"a": other("x", "y"), "b": other(1, 2, 3), "t": time("2020-01-01T00:00:00Z")}, seed=32
)


def _band(data: Document, name: str) -> Any:
    return gappy(data)[:, data["dimensions"]["bands"]["values"].index(name)]


def _index(data: Document, nir: str, red: str) -> Any:
    a, b = _band(data, nir), _band(data, red)
    return (a - b) / (a + b)


def _ndvi(arguments: Document) -> Document:
    data = arguments["data"]
    found = _index(data, arguments.get("nir", "nir"), arguments.get("red", "red"))
    name = arguments.get("target_band")
    if name is None:
        return from_gappy(found, without(data, "bands"))
    labels = [*data["dimensions"]["bands"]["values"], name]
    joined = np.concatenate([gappy(data), found[:, None]], axis=1)
    return from_gappy(joined, with_labels(data, "bands", labels))


def _filtered(arguments: Document) -> Document:
    data, name = arguments["data"], arguments["dimension"]
    labels = data["dimensions"][name]["values"]
    kept = [n for n, label in enumerate(labels) if label.endswith(("d", "01-01T00:00:00Z"))]
    values = gappy(data).take(kept, data["order"].index(name))
    return from_gappy(values, with_labels(data, name, [labels[n] for n in kept]))


def _flattened(arguments: Document) -> Document:
    data, names = arguments["data"], arguments["dimensions"]
    target, between = arguments["target_dimension"], arguments.get("label_separator", "~")
    stacked = labelled(data).stack({target: names}, create_index=False)
    first, second = (data["dimensions"][name]["values"] for name in names)
    labels = [f"{a}{between}{b}" for a in first for b in second]
    # The new dimension stands where the first of the old ones stood.
    place = min(data["order"].index(name) for name in names)
    dimensions = list(without(data, *names).items())
    dimensions.insert(place, (target, other(*labels)))
    made = dict(dimensions)
    return from_gappy(stacked.transpose(*made).values, made)


def _unflattened(arguments: Document) -> Document:
    data, name, targets = (arguments[k] for k in ("data", "dimension", "target_dimensions"))
    pairs = [label.split("~") for label in data["dimensions"][name]["values"]]
    firsts, seconds = (list(dict.fromkeys(pair[k] for pair in pairs)) for k in (0, 1))
    values = np.moveaxis(gappy(data), data["order"].index(name), -1)
    rest = without(data, name)
    shape = (*values.shape[:-1], len(firsts), len(seconds))
    made = {targets[0]: other(*firsts), targets[1]: other(*seconds)}
    return from_gappy(values.reshape(shape), {**rest, **made})


def _bright(arguments: Document) -> Document:
    """Return 1 where green is above 0.39, or above 0.175 and above red: one pixel at a time."""
    data = arguments["data"]
    green, red = _band(data, "green"), _band(data, "red")
    found = np.full(green.shape, np.nan)
    for place in np.ndindex(*green.shape):
        g, r = green[place], red[place]
        if not np.isnan(g) and not np.isnan(r):
            found[place] = 1.0 if g > 0.39 or (g > 0.175 and (g - r) / (g + r) > 0) else 0.0
    return from_gappy(found[:, None], with_labels(data, "bands", ["cloud"]))


def _same(arguments: Document) -> Document:
    return from_gappy(gappy(arguments["data"]), arguments["data"]["dimensions"])


def _doubled(arguments: Document) -> Document:
    return from_gappy(gappy(arguments["data"]) * 2, arguments["data"]["dimensions"])


SKY = sample({"t": time("2020-01-01T00:00:00Z"), "bands": bands("red", "green"), **space(6, 7)}, 34)
SKY["data"] = [
    [[[v if v is None else v / 200 for v in row] for row in layer] for layer in date]
    for date in SKY["data"]
]
FLAT = sample({"t": time("2020-01-01T00:00:00Z"), "both": other("x~1", "x~2", "y~1", "y~2")}, 33)
ENDS = node("text_ends", data=parameter("value"), pattern="d")
JANUARY = node("text_contains", data=parameter("value"), pattern="-01-01T")
DOUBLE = """
def apply_datacube(cube, context):
    return cube * 2
"""

CASES = {
    "ndvi": Cases(
        "NumPy",
        (
            Case("drops the bands", {"data": SCENE}, _ndvi, delta=1e-6),
            Case("keeps them", {"data": SCENE, "target_band": "index"}, _ndvi, delta=1e-6),
            Case("of other bands", {"data": SCENE, "nir": "blue", "red": "nir"}, _ndvi, delta=1e-6),
            Case("no such band", {"data": SCENE, "nir": "B08"}, throws="NirBandAmbiguous"),
            Case("no such red band", {"data": SCENE, "red": "B04"}, throws="RedBandAmbiguous"),
            Case(
                "a band of that name", {"data": SCENE, "target_band": "blue"}, throws="BandExists"
            ),
            Case("no bands", {"data": sample(space(2, 2))}, throws="DimensionAmbiguous"),
        ),
    ),
    "filter_labels": Cases(
        "NumPy",
        (
            Case(
                "bands by name", {"data": SCENE, "condition": ENDS, "dimension": "bands"}, _filtered
            ),
            Case(
                "dates by text", {"data": SCENE, "condition": JANUARY, "dimension": "t"}, _filtered
            ),
            Case(
                "no such dimension",
                {"data": SCENE, "condition": ENDS, "dimension": "when"},
                throws="DimensionNotAvailable",
            ),
        ),
    ),
    "flatten_dimensions": Cases(
        "xarray's stack",
        (
            Case(
                "two of three",
                {"data": TABLE, "dimensions": ["a", "b"], "target_dimension": "c"},
                _flattened,
            ),
            Case(
                "the other way round",
                {
                    "data": TABLE,
                    "dimensions": ["b", "a"],
                    "target_dimension": "c",
                    "label_separator": "/",
                },
                _flattened,
            ),
            Case(
                "no such dimension",
                {"data": TABLE, "dimensions": ["a", "d"], "target_dimension": "c"},
                throws="DimensionNotAvailable",
            ),
            Case(
                "a dimension of that name",
                {"data": TABLE, "dimensions": ["a", "b"], "target_dimension": "t"},
                throws="TargetDimensionExists",
            ),
        ),
    ),
    "unflatten_dimension": Cases(
        "NumPy",
        (
            Case(
                "two out of one",
                {"data": FLAT, "dimension": "both", "target_dimensions": ["a", "b"]},
                _unflattened,
            ),
            Case(
                "no such dimension",
                {"data": FLAT, "dimension": "c", "target_dimensions": ["a", "b"]},
                throws="DimensionNotAvailable",
            ),
            Case(
                "a dimension of that name",
                {"data": FLAT, "dimension": "both", "target_dimensions": ["a", "t"]},
                throws="TargetDimensionExists",
            ),
        ),
    ),
    "cloud_detection": Cases(
        "the spectral test of Braaten, Cohen and Yang 2015, pixel by pixel",
        (
            Case("of green and red", {"data": SKY, "method": None}, _bright),
            Case(
                "a method that looks around a pixel",
                {"data": SKY, "method": "Fmask"},
                throws="ProcessParameterInvalid",
            ),
            Case("no green", {"data": SCENE, "method": None}, throws="ProcessParameterInvalid"),
        ),
    ),
    "inspect": Cases(
        "its data",
        (
            Case("a cube", {"data": SCENE, "message": "here"}, _same),
            Case("a number", {"data": 3.5, "level": "warning"}, lambda given: given["data"]),
        ),
    ),
    "save_result": Cases(
        "its data",
        (
            Case(
                "GeoTIFF",
                {"data": sample({"bands": bands("red"), **space(2, 3)}), "format": "GTiff"},
                _same,
            ),
            Case("no format", {"data": SCENE, "format": " "}, throws="ProcessParameterInvalid"),
        ),
    ),
    "run_udf": Cases(
        "NumPy",
        (
            Case(
                "on a cube",
                {"data": SCENE, "udf": DOUBLE, "runtime": "Python"},
                _doubled,
                delta=1e-6,
            ),
            Case(
                "another language",
                {"data": SCENE, "udf": DOUBLE, "runtime": "Fortran"},
                throws="InvalidRuntime",
            ),
            Case(
                "another version",
                {"data": SCENE, "udf": DOUBLE, "runtime": "Python", "version": "2.7"},
                throws="InvalidVersion",
            ),
        ),
    ),
}
"""By process."""
