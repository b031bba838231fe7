"""Code of users in whole runs: tiles, batch by threads and processes, statistics of polygons."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from tests.drivers.scenes import grid_of, job_of, load, node, ref

from terrazzo.drivers.batch import run
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.tile import NATIVE, TileLayer
from terrazzo.engine import evaluate
from terrazzo.errors import UdfRefused
from terrazzo.sandbox import Mode, UdfRules
from terrazzo.testing.compare import assert_same_pixels

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes

BRIGHTER = """
import xarray

def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:
    return cube * context["factor"] + 1
"""
WIDEST = "def apply_datacube(cube, context):\n    return cube.max('data') - cube.min('data')\n"


def call(code: str, data: str, **more: Any) -> dict[str, Any]:
    """Return a callback of one call."""
    arguments = {"data": {"from_parameter": data}, "udf": code, "runtime": "Python", **more}
    return {"process_graph": {"udf": node("run_udf", True, **arguments)}}


def nodes() -> dict[str, Any]:
    brighter = call(BRIGHTER, "x", context={"factor": 2})
    return {
        "load": load(["B04"]),
        "code": node("apply", data=ref("load"), process=brighter),
        "save": node("save_result", True, data=ref("code"), format="NetCDF", options={}),
    }


@pytest.mark.slow
def test_threads_and_processes_write_the_same_files(scenes: Scenes, tmp_path: Path) -> None:
    written = []
    for kind in ("threads", "processes"):
        pool = Pool(kind, 2)
        made = run(job_of(nodes()), scenes.workspace, tmp_path / kind, block=300, pool=pool)
        written.append(made.assets[0].path.read_bytes())

    assert written[0] == written[1]


def test_tiles_are_parts_of_the_whole(scenes: Scenes) -> None:
    job = job_of(nodes())
    layer = TileLayer(job.infer(scenes.workspace), tile=128)
    plan = job.plan(layer.inference)
    whole = evaluate(plan, plan.window)

    given, valid = scenes.stack("B04")
    np.testing.assert_array_equal(whole.valid[:, 0], valid)
    np.testing.assert_array_equal(whole.values[:, 0][valid], given[valid] * np.float32(2) + 1)
    _, zoom = layer.zooms(NATIVE)
    for x, y in ((0, 0), (2, 1), (5, 4)):
        tile = layer.cube(NATIVE, zoom, x, y)
        assert tile is not None
        assert tile.window is not None
        inside = tile.window.intersection(plan.window)
        assert_same_pixels(tile.crop(inside), whole.crop(inside))


def test_polygons_are_reduced_by_code(scenes: Scenes, tmp_path: Path) -> None:
    grid = grid_of()
    square = shapely.box(grid.left + 3000, grid.top - 2000, grid.left + 3500, grid.top - 1500)
    shape = shapely.geometry.mapping(square) | {
        "crs": {"type": "name", "properties": {"name": "EPSG:32633"}}
    }
    graph = {
        "load": load(["B04"]),
        "zones": node(
            "aggregate_spatial", data=ref("load"), geometries=shape, reducer=call(WIDEST, "data")
        ),
        "save": node(
            "save_result", True, data=ref("zones"), format="JSON", options={"layout": "long"}
        ),
    }

    (asset,) = run(job_of(graph), scenes.workspace, tmp_path, block=170).assets

    given, _ = scenes.stack("B04")
    inside = given[:, 150:200, 300:350].reshape(len(given), -1).astype(np.float32)
    expected = (inside.max(axis=1) - inside.min(axis=1)).tolist()
    assert [row["value"] for row in json.loads(asset.path.read_text())] == expected


def test_workspace_says_whether_code_is_run(scenes: Scenes) -> None:
    closed = replace(scenes.workspace, udf=UdfRules(Mode.OFF))

    with pytest.raises(UdfRefused, match="--udf sandboxed"):
        job_of(nodes()).infer(closed)
