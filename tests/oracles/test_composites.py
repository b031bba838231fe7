"""Composites against numpy and xarray over what rasterio reads."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr
from tests.drivers.scenes import (
    CLOUDY,
    DATES,
    callback,
    cloudless_ndvi,
    composite,
    job_of,
    load,
    node,
    ref,
)

from terrazzo.engine import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.drivers.scenes import Scenes

    from terrazzo.cube import Cube


def computed(scenes: Scenes, nodes: dict) -> Cube:
    job = job_of(nodes)
    plan = job.plan(job.infer(scenes.workspace))
    return evaluate(plan, plan.window)


def clear_ndvi(scenes: Scenes) -> xr.DataArray:
    """Return (t, y, x) NDVI of clear pixels, NaN elsewhere, in float64."""
    red, red_valid = scenes.stack("B04")
    nir, nir_valid = scenes.stack("B08")
    classes, known = scenes.stack("SCL")
    clear = red_valid & nir_valid & ~(known & np.isin(classes, CLOUDY))
    red, nir = red.astype(np.float64), nir.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):  # where nothing is valid
        index = np.where(clear, (nir - red) / (nir + red), np.nan)
    return xr.DataArray(
        index, dims=("t", "y", "x"), coords={"t": np.array(DATES, "datetime64[ns]")}
    )


def assert_close(cube: Cube, expected: np.ndarray, tolerance: float = 1e-6) -> None:
    np.testing.assert_array_equal(cube.valid, ~np.isnan(expected))
    np.testing.assert_allclose(cube.values[cube.valid], expected[cube.valid], atol=tolerance)


@pytest.mark.parametrize(
    ("reducer", "function"),
    [
        ("median", np.nanmedian),
        ("mean", np.nanmean),
        ("max", np.nanmax),
        ("min", np.nanmin),
        ("sum", lambda a, axis: np.where(np.isnan(a).all(axis), np.nan, np.nansum(a, axis))),
        ("sd", lambda a, axis: np.nanstd(a, axis, ddof=1)),
        ("variance", lambda a, axis: np.nanvar(a, axis, ddof=1)),
    ],
)
def test_reductions_over_time_are_those_of_numpy(scenes: Scenes, reducer: str, function: Callable):
    reduced = node(
        "reduce_dimension", True, data=ref("ndvi"), dimension="t", reducer=callback(reducer)
    )

    cube = computed(scenes, {**cloudless_ndvi(), "reduced": reduced})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy warns where all are NaN
        expected = function(clear_ndvi(scenes).values, axis=0)
    assert 0.9 < cube.valid.mean() < 1
    if reducer in {"sd", "variance"}:
        both = cube.valid & ~np.isnan(expected)
        assert both.mean() > 0.8
        np.testing.assert_allclose(cube.values[both], expected[both], atol=1e-6)
    else:
        assert_close(cube, expected)


def test_the_median_of_each_year_is_that_of_xarray(scenes: Scenes):
    cube = computed(scenes, composite("year"))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = clear_ndvi(scenes).groupby("t.year").median()
    assert cube.dimension("t").labels == tuple(str(year) for year in expected.year.values)
    assert_close(cube, expected.values)


def test_the_median_of_each_month_is_that_of_xarray(scenes: Scenes):
    cube = computed(scenes, composite("month"))

    months = cube.dimension("t").labels
    series = clear_ndvi(scenes)
    for label, values, valid in zip(months, cube.values, cube.valid, strict=True):
        of_month = [i for i, date in enumerate(DATES) if date[:7] == label[:7]]
        if not of_month:
            assert not valid.any()
            continue
        expected = series.values[of_month[0]]
        np.testing.assert_array_equal(valid, ~np.isnan(expected))
        np.testing.assert_allclose(values[valid], expected[valid], atol=1e-6)


def test_physical_values_are_what_is_stored_with_offset(scenes: Scenes):
    cube = computed(scenes, {"load": {**load(["B04"]), "result": True}})

    values, valid = scenes.stack("B04")
    np.testing.assert_array_equal(cube.valid[:, 0], valid)
    np.testing.assert_array_equal(cube.values[:, 0][valid], values[valid])
