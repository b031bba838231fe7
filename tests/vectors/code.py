"""User code: NumPy on the same numbers, without a worker."""

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
    sample,
    space,
    time,
    with_labels,
)

SCENE = sample(
    {
        "t": time("2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z", "2020-03-01T00:00:00Z"),
        "bands": bands("red", "nir"),
        **space(3, 4),
    },
    seed=71,
)
SCALED = """
import xarray

def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:
    return cube * context.get("scale", 2)
"""
SERIES = """
import pandas as pd

def apply_timeseries(series: pd.Series, context: dict) -> pd.Series:
    return series - series.mean()
"""
UDF_DATA = """
from openeo.udf import UdfData, XarrayDataCube

def apply_udf_data(data: UdfData):
    cube = data.get_datacube_list()[0].get_array()
    data.set_datacube_list([XarrayDataCube(cube.fillna(-1))])
"""
TWO = "img = np.stack([nir - red, nir + red])\n"


def _code(udf: str, **more: Any) -> Document:
    return {"data": SCENE, "udf": udf, "runtime": "Python"} | more


def _two(arguments: Document) -> Document:
    red, nir = np.moveaxis(gappy(arguments["data"]), 1, 0)
    made = np.stack([nir - red, nir + red], axis=1)
    return from_gappy(made, with_labels(arguments["data"], "bands", [0, 1]))


def _like(arguments: Document, values: Any) -> Document:
    return from_gappy(values, arguments["data"])


CASES = {
    "run_udf": Cases(
        "NumPy on the numbers themselves, NaN for no-data",
        (
            Case("a data cube", _code(SCALED), lambda a: _like(a, gappy(a["data"]) * 2)),
            Case(
                "with context",
                _code(SCALED, context={"scale": 0.5}, version=None),
                lambda a: _like(a, gappy(a["data"]) * 0.5),
            ),
            Case(
                "every series",
                _code(SERIES),
                lambda a: _like(a, gappy(a["data"]) - np.nanmean(gappy(a["data"]), axis=0)),
                delta=1e-4,
            ),
            Case(
                "UdfData",
                _code(UDF_DATA),
                lambda a: _like(a, np.nan_to_num(gappy(a["data"]), nan=-1)),
            ),
            Case("a script for bands", _code(TWO), _two),
            Case(
                "an array",
                {"data": [1, None, 4], "udf": SCALED, "runtime": "python"},
                lambda a: [None if x is None else x * 2 for x in a["data"]],
            ),
            Case(
                "a number", {"data": 3, "udf": SCALED, "runtime": "Python"}, lambda a: 2 * a["data"]
            ),
            Case("another language", _code(SCALED, runtime="R"), throws="InvalidRuntime"),
            Case("another version", _code(SCALED, version="2.7"), throws="InvalidVersion"),
            Case("a path", _code("udfs/scaled.py"), throws="FileNotFound"),
            Case("an address", _code("https://example.org/udf.py"), throws="FileNotFound"),
            Case(
                "pixels that change",
                _code(SCALED.replace("cube *", "cube.isel(x=[0]) *")),
                throws="UdfFailed",
            ),
        ),
    ),
}
