"""Exact coordinates: every pixel projected on its own, over real files in another CRS."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from tests.drivers.scenes import (
    CRS,
    HEIGHT,
    LEFT,
    TOP,
    WIDTH,
    callback,
    composite,
    job_of,
    load,
    merged,
    node,
    ref,
    resampled,
)

from terrazzo.drivers import batch
from terrazzo.engine import evaluate
from terrazzo.geo.grid import Window
from terrazzo.testing.compare import assert_same_pixels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from tests.drivers.scenes import Nodes, Scenes

    from terrazzo.cube import Cube
    from terrazzo.drivers.job import Job
    from terrazzo.engine import Plan

LAEA = "EPSG:3035"
SNAPPED, INTERPOLATED = 1e-6, 0.1
"""Source pixels: how far a coordinate may be from the exact one, exact or not."""

SUMMER = {"temporal_extent": ["2020-07-01", "2020-07-02"]}
READ: Nodes = {
    "load": load(["B04"], **SUMMER),
    "first": node(
        "reduce_dimension", True, data=ref("load"), dimension="t", reducer=callback("first")
    ),
}
"""Pixels of one file, read onto the grid that is asked for."""
STORED: Nodes = {
    "load": load(["B04"], **SUMMER),
    "only": node("filter_bands", True, data=ref("load"), bands=["B04"]),
}
"""The same, but nothing is computed."""
WARPED: Nodes = {
    **READ,
    "first": {**READ["first"], "result": False},
    "other": node(
        "resample_spatial", True, data=ref("first"), resolution=9, projection=3035, method="near"
    ),
}
"""The same pixels, computed on the files' own grid and warped."""

JOBS: dict[str, Job] = {
    "fused": job_of(READ, crs=LAEA, resolution=9.0),
    "read": job_of(STORED, crs=LAEA, resolution=9.0),
    "warped": job_of(WARPED),
}
MORE: dict[str, Job] = {
    **JOBS,
    "composite": job_of(composite(), crs=LAEA, resolution=12.0),
    "two resolutions": job_of(merged(), crs=LAEA, resolution=25.0),
    "average": job_of(resampled(25, "average", 3035)),
    "cubic": job_of(resampled(25, "cubic", 3035)),
    "mode": job_of(resampled(15, "mode", 3035)),
}


def exact_plan(scenes: Scenes, job: Job) -> Plan:
    exact = replace(job, exact=True)
    return exact.plan(exact.infer(scenes.workspace))


def at_centres(scenes: Scenes, cube: Cube) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return which number of the file each pixel's centre is in, and how far from its border.

    The numbers are as pyproj has it; the distance is in pixels of the file.
    """
    with rasterio.open(scenes.file("2020-07-01", "B04")) as file:
        numbers = file.read(1)
    to_file = Transformer.from_crs(cube.grid.crs, CRS, always_xy=True)
    x, y = to_file.transform(*np.meshgrid(cube.grid.xs(cube.window), cube.grid.ys(cube.window)))
    rows, cols = (TOP - y) / 10.0, (x - LEFT) / 10.0
    inside = (rows >= 0) & (rows < HEIGHT) & (cols >= 0) & (cols < WIDTH)
    row, col = (np.where(inside, at, 0).astype(np.int64) for at in (rows, cols))
    found = np.where(inside, numbers[row, col], 0)  # 0 is no-data
    away = [np.abs(at - np.round(at)) for at in (rows, cols)]
    return found, np.minimum(*away)


def filled(cube: Cube) -> NDArray[np.float64]:
    """Return the only layer of a cube, 0 where it is not valid."""
    return np.where(cube.valid, cube.values, 0).reshape(cube.values.shape[-2:])


@pytest.mark.parametrize("name", JOBS)
def test_exact_pixels_are_those_under_each_centre_projected_on_its_own(scenes: Scenes, name: str):
    plan = exact_plan(scenes, JOBS[name])

    cube = evaluate(plan, plan.window)

    expected, from_border = at_centres(scenes, cube)
    sure = from_border > SNAPPED
    assert sure.mean() > 0.999
    assert cube.valid.mean() > 0.5
    np.testing.assert_array_equal(filled(cube)[sure], expected[sure])


@pytest.mark.parametrize("name", JOBS)
def test_interpolated_pixels_differ_only_near_a_border_of_pixels(scenes: Scenes, name: str):
    plan = JOBS[name].plan(JOBS[name].infer(scenes.workspace))

    default = evaluate(plan, plan.window)

    assert not plan.exact
    exact = evaluate(exact_plan(scenes, JOBS[name]), plan.window)
    _, from_border = at_centres(scenes, default)
    differing = filled(default) != filled(exact)
    assert differing.any()  # or this would show nothing
    assert from_border[differing].max() <= INTERPOLATED


@pytest.mark.parametrize("name", MORE)
@given(data=st.data())
@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
def test_exact_windows_equal_the_same_windows_of_the_whole(scenes: Scenes, name: str, data):
    plan = exact_plan(scenes, MORE[name])
    height, width = (data.draw(st.sampled_from((1, 7, 60, 130))) for _ in range(2))
    row = data.draw(st.integers(plan.window.row, plan.window.row_stop - 1))
    col = data.draw(st.integers(plan.window.col, plan.window.col_stop - 1))
    window = Window(row, col, height, width).intersection(plan.window)

    part = evaluate(plan, window)

    larger = window.grown(40, 40).intersection(plan.window)
    assert_same_pixels(part, evaluate(plan, larger).crop(window))


@pytest.mark.parametrize("name", MORE)
def test_exact_pixels_are_the_same_fused_and_step_by_step(scenes: Scenes, name: str):
    plan = exact_plan(scenes, MORE[name])
    window = Window(plan.window.row + 20, plan.window.col + 30, 120, 110)

    computed = evaluate(plan, window)

    assert_same_pixels(computed, evaluate(replace(plan, fused=()), window))


def test_plans_of_one_inference_keep_their_own_exactness(scenes: Scenes):
    job = JOBS["fused"]
    inference = job.infer(scenes.workspace)
    window = job.plan(inference).window
    before = evaluate(job.plan(inference), window)

    exact = evaluate(replace(job, exact=True).plan(inference), window)

    assert_same_pixels(evaluate(job.plan(inference), window), before)
    assert (filled(exact) != filled(before)).any()


def test_on_the_grid_of_the_files_exactness_changes_nothing(scenes: Scenes):
    job = job_of(composite())
    plan = job.plan(job.infer(scenes.workspace))
    window = Window(plan.window.row, plan.window.col, 200, 150)

    exact = evaluate(exact_plan(scenes, job), window)

    assert_same_pixels(exact, evaluate(plan, window))


@pytest.mark.parametrize("name", ["fused", "warped"])
def test_an_exact_run_writes_exact_pixels_and_says_so(scenes: Scenes, tmp_path: Path, name: str):
    job = replace(JOBS[name], exact=True)

    (asset,) = batch.run(job, scenes.workspace, tmp_path, block=200).assets

    plan = exact_plan(scenes, job)
    with rasterio.open(asset.path) as file:
        np.testing.assert_array_equal(
            np.where(file.read_masks(1), file.read(1), 0), filled(evaluate(plan, plan.window))
        )
    assert json.loads((tmp_path / "run.json").read_text())["exact"] is True
