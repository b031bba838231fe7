"""Graphs as lazy arrays of xarray: the pixels of a run, one task per block."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from pyproj import CRS
from tests.drivers.scenes import (
    COLLECTION,
    DATES,
    GRAPHS,
    callback,
    composite,
    job_of,
    load,
    node,
    ref,
)

import terrazzo
from terrazzo.drivers import batch, lazy
from terrazzo.errors import ArgumentInvalid, PlanTooLarge
from terrazzo.storage.source import RasterSource

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes


@pytest.mark.parametrize("name", list(GRAPHS))
@pytest.mark.parametrize("block", [130, 1024])
def test_the_array_has_the_pixels_of_a_run(scenes: Scenes, tmp_path: Path, name: str, block: int):
    nodes = GRAPHS[name]
    made = batch.run(job_of(nodes), scenes.workspace, tmp_path / "run")

    array = terrazzo.to_xarray(nodes, scenes.workspace, block=block)

    for number, asset in enumerate(made.assets):
        with rasterio.open(asset.path) as file:
            bands = file.read(masked=True).astype(array.dtype).filled(np.nan)
            transform, crs = file.transform, file.crs
        shown = array.isel(t=number) if "t" in array.dims else array
        np.testing.assert_array_equal(shown.to_numpy().reshape(bands.shape), bands)
        assert (float(shown.x[0]), float(shown.y[0])) == transform @ (0.5, 0.5)
        assert (float(shown.x[-1]), float(shown.y[-1])) == transform @ (
            bands.shape[2] - 0.5,
            bands.shape[1] - 0.5,
        )
        assert CRS.from_cf(array.spatial_ref.attrs) == CRS.from_user_input(crs)


def test_nothing_is_read_before_somebody_looks(scenes: Scenes, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a pixel was read")

    monkeypatch.setattr(RasterSource, "read", refuse)
    monkeypatch.setattr(RasterSource, "planes", refuse)

    array = terrazzo.to_xarray(composite(), scenes.workspace, block=100)
    corner = array[..., :50, :50]

    with pytest.raises(AssertionError, match="a pixel was read"):
        corner.compute(scheduler="synchronous")


def test_there_is_one_task_per_block(scenes: Scenes):
    array = terrazzo.to_xarray(composite(), scenes.workspace, block=128)

    tasks = dict(array.data.dask)

    assert array.data.npartitions == 5 * 6  # of 600 x 700 pixels; the grid begins at a multiple
    assert len(tasks) == array.data.npartitions
    assert array.chunksizes["y"][0] == array.chunksizes["x"][0] == 128


def test_dates_are_dates_and_the_array_can_be_sent(scenes: Scenes):
    nodes = {"load": {**load(["B04"]), "result": True}}
    array = terrazzo.to_xarray(json.dumps(nodes), scenes.workspace, block=300)

    sent = pickle.loads(pickle.dumps(array))  # noqa: S301 - just made

    assert [str(one)[:10] for one in array.t.to_numpy()] == list(DATES)
    np.testing.assert_array_equal(sent[0].to_numpy(), array[0].to_numpy())


def test_an_array_that_is_made_later_sees_what_came_meanwhile(own_scenes: Scenes):
    nodes = {"load": {**load(["B04"]), "result": True}}
    before = terrazzo.to_xarray(nodes, own_scenes.workspace, block=300)
    with own_scenes.workspace.catalog() as catalog:
        item = catalog.item(COLLECTION, "S2_2020-07-01")
        later = {**item["properties"], "datetime": "2022-01-01T00:00:00Z"}
        catalog.put_items([{**item, "id": "later", "properties": later}])

    after = terrazzo.to_xarray(nodes, own_scenes.workspace, block=300)

    assert after.sizes["t"] == before.sizes["t"] + 1
    assert after.data.name != before.data.name


@pytest.mark.parametrize(("period", "first"), [("season", "2020-mam"), ("week", "2020-20")])
def test_periods_are_text_and_no_instants(scenes: Scenes, period: str, first: str):
    array = terrazzo.to_xarray(composite(period), scenes.workspace)

    assert array.t.to_numpy()[0] == first


def test_what_is_no_raster_is_refused(scenes: Scenes):
    nodes = composite()
    del nodes["median"]["result"]
    nodes["mean"] = node(
        "reduce_spatial", True, data=ref("median"),
        reducer=callback("mean"),
    )  # fmt: skip

    with pytest.raises(ArgumentInvalid, match="no raster"):
        terrazzo.to_xarray(nodes, scenes.workspace)


def test_more_blocks_than_a_graph_of_dask_can_hold_are_refused(
    scenes: Scenes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lazy, "MOST_BLOCKS", 10)

    with pytest.raises(PlanTooLarge, match="at most 10 here"):
        terrazzo.to_xarray(composite(), scenes.workspace, block=100)
