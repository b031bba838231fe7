"""Stages in batch, extract and tiles: the same pixels, kept findings, logs that are not lost."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from tests.drivers.scenes import CRS, LEFT, TOP, callback, job_of, load, node, ref
from tests.drivers.test_survival import StopsAt
from typing_extensions import override

from terrazzo.drivers import batch
from terrazzo.drivers.extract import extract
from terrazzo.drivers.findings import FOLDER
from terrazzo.drivers.journal import JOURNAL
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.tile import NATIVE, TileLayer
from terrazzo.errors import ArgumentInvalid, PlanTooLarge, RunIncomplete
from terrazzo.progress import Cancelled, Progress

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes

X, Y = {"from_parameter": "x"}, {"from_parameter": "y"}
BOX = (LEFT + 1000, TOP - 3000, LEFT + 3500, TOP - 1200)


class Remembered(Progress):
    """Remembers how many units each stage of a run had, and what was noted."""

    def __init__(self) -> None:
        self.totals: list[int] = []
        self.notes: list[str] = []

    @override
    def start(self, total: int, unit: str) -> None:
        super().start(total, unit)
        self.totals.append(total)

    @override
    def note(self, message: str) -> None:
        self.notes.append(message)


def centred(*, inspected: bool = False) -> dict[str, Any]:
    """Return a graph: each band of one date minus its mean over all pixels."""
    nodes = {
        "load": load(["B08"], temporal_extent=["2020-07-01", "2020-07-02"]),
        "look": node("inspect", data=ref("load"), message="loaded", level="warning"),
        "mean": node("reduce_spatial", data=ref("load"), reducer=callback("mean")),
        "above": node(
            "merge_cubes",
            True,
            cube1=ref("look" if inspected else "load"),
            cube2=ref("mean"),
            overlap_resolver=callback("subtract", x=X, y=Y),
        ),
    }
    if not inspected:
        del nodes["look"]
    return nodes


def pixels(scenes: Scenes) -> np.ndarray:
    """Return the centred pixels, NaN where there is no data, from what rasterio reads."""
    values, valid = scenes.stack("B08")
    day = values[1].astype(np.float64)
    return np.where(valid[1], day - day[valid[1]].mean(), np.nan)


def image(folder: Path) -> np.ndarray:
    (path,) = folder.glob("*.tif")
    with rasterio.open(path) as file:
        return file.read(1)


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]


@pytest.mark.parametrize("kind", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_a_run_settles_its_stages_first(scenes: Scenes, tmp_path: Path, kind: str):
    progress = Remembered()

    batch.run(
        job_of(centred()), scenes.workspace, tmp_path, block=200, pool=Pool(kind, 2),
        progress=progress,
    )  # fmt: skip

    assert progress.totals == [12, 12]
    np.testing.assert_allclose(image(tmp_path), pixels(scenes), atol=1e-2)


def test_a_part_of_a_run_has_the_pixels_of_the_whole(scenes: Scenes, tmp_path: Path):
    batch.run(job_of(centred()), scenes.workspace, tmp_path / "whole", block=200)

    part = job_of(centred(), bbox=BOX, bbox_crs=CRS)
    batch.run(part, scenes.workspace, tmp_path / "part", block=128)

    np.testing.assert_array_equal(
        image(tmp_path / "part"), image(tmp_path / "whole")[120:300, 100:350]
    )


def test_a_tile_has_the_pixels_of_the_run(scenes: Scenes, tmp_path: Path):
    batch.run(job_of(centred()), scenes.workspace, tmp_path, block=200)

    layer = TileLayer(job_of(centred()).infer(scenes.workspace))
    matrix = layer.matrix(NATIVE)
    zoom = next(z for z in range(20) if matrix.grid(z).pixel_x == 10)
    cube = layer.cube(NATIVE, zoom, 1, 1)

    found = np.where(cube.valid[0, 0], cube.values[0, 0], np.nan)
    np.testing.assert_array_equal(found, image(tmp_path)[256:512, 256:512])


def test_extraction_has_the_pixels_of_the_run(scenes: Scenes, tmp_path: Path):
    box = shapely.box(*BOX)
    geopandas.GeoDataFrame(geometry=[box], crs=CRS).to_file(tmp_path / "box.gpkg")

    made = extract(
        job_of(centred()), scenes.workspace, tmp_path / "box.gpkg", tmp_path / "out", block=256
    )

    table = pq.read_table(made.table).to_pydict()
    expected = np.nanmean(pixels(scenes)[120:300, 100:350])
    assert table["mean"] == [pytest.approx(expected, abs=1e-2)]


def test_a_run_that_goes_on_has_what_its_stages_found(scenes: Scenes, tmp_path: Path):
    calm, stopped = tmp_path / "calm", tmp_path / "stopped"
    batch.run(job_of(centred()), scenes.workspace, calm, block=200)
    with pytest.raises(Cancelled):
        batch.run(job_of(centred()), scenes.workspace, stopped, block=200, progress=StopsSecond())

    progress = Remembered()
    batch.run(job_of(centred()), scenes.workspace, stopped, block=200, progress=progress)

    assert progress.totals == [12]
    np.testing.assert_array_equal(image(stopped), image(calm))


class StopsSecond(StopsAt):
    """Asks the run to stop in its second stage, the one that computes the result."""

    def __init__(self) -> None:
        super().__init__(-1)

    @override
    def start(self, total: int, unit: str) -> None:
        self.block = 4 if self.total else -1
        super().start(total, unit)


def test_other_images_give_other_findings_and_no_old_block_stays(
    own_scenes: Scenes, tmp_path: Path
):
    job, folder = job_of(centred()), tmp_path / "out"
    batch.run(job, own_scenes.workspace, folder, block=200)
    before = image(folder)
    path = own_scenes.file("2020-07-01", "B08")
    with rasterio.open(path) as file:
        profile, values = file.profile, file.read()
    values[0, 590:, 690:] = 60_000
    path.unlink()
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)

    batch.run(job, own_scenes.workspace, folder, block=200)

    shift = (before - image(folder))[0:500, 200:600]
    assert np.nanmin(shift) > 1
    assert np.nanmax(shift) - np.nanmin(shift) < 1e-2


def test_another_run_is_refused_before_its_stage_is_carried_out(scenes: Scenes, tmp_path: Path):
    batch.run(job_of(centred()), scenes.workspace, tmp_path, block=200)
    progress = Remembered()

    with pytest.raises(ArgumentInvalid, match="digest"):
        batch.run(
            job_of(centred(inspected=True)), scenes.workspace, tmp_path, block=200,
            progress=progress,
        )  # fmt: skip

    assert progress.totals == []
    assert len(list((tmp_path / FOLDER).iterdir())) == 1


def test_a_table_is_confined_like_its_run(scenes: Scenes, tmp_path: Path):
    nodes = {
        "load": load(["B08"], temporal_extent=["2020-07-01", "2020-07-02"]),
        "mean": node("reduce_spatial", True, data=ref("load"), reducer=callback("mean")),
    }
    values, valid = scenes.stack("B08")

    made = batch.run(job_of(nodes, bbox=BOX, bbox_crs=CRS), scenes.workspace, tmp_path, block=100)

    (asset,) = made.assets
    expected = values[1, 120:300, 100:350][valid[1, 120:300, 100:350]].mean(dtype=np.float64)
    assert repr(float(np.float32(expected)))[:6] in asset.path.read_text()


@pytest.mark.parametrize("kind", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_a_run_keeps_its_log_beside_its_results(scenes: Scenes, tmp_path: Path, kind: str):
    progress = Remembered()
    values, valid = scenes.stack("B08")

    made = batch.run(
        job_of(centred(inspected=True)), scenes.workspace, tmp_path, block=200,
        pool=Pool(kind, 2), progress=progress,
    )  # fmt: skip

    (entry,) = logged(tmp_path)
    assert (entry["id"], entry["level"], entry["message"]) == ("1", "warning", "loaded")
    assert entry["path"] == [{"node_id": "look", "process_id": "inspect"}]
    assert entry["data"]["valid"] == valid[1].sum()
    assert entry["data"]["mean"] == pytest.approx(values[1][valid[1]].mean(dtype=np.float64))
    assert [made.log[0].line()] == progress.notes


def test_a_run_that_goes_on_has_the_log_of_all_blocks(scenes: Scenes, tmp_path: Path):
    job, calm, stopped = job_of(centred(inspected=True)), tmp_path / "calm", tmp_path / "stopped"
    batch.run(job, scenes.workspace, calm, block=200)
    with pytest.raises(Cancelled):
        batch.run(job, scenes.workspace, stopped, block=200, progress=StopsSecond())

    for _ in range(2):  # the second time it is there already
        batch.run(job, scenes.workspace, stopped, block=200)
        (found,), (expected,) = logged(stopped), logged(calm)
        assert found["data"] == expected["data"]


def test_what_is_looked_at_and_not_used_is_told_too(scenes: Scenes, tmp_path: Path):
    nodes = centred()
    nodes["look"] = node("inspect", data=ref("above"), message="aside")

    for _ in range(2):
        batch.run(job_of(nodes), scenes.workspace, tmp_path, block=200)

        (entry,) = logged(tmp_path)
        assert entry["message"] == "aside"
        assert entry["data"]["mean"] == pytest.approx(0, abs=1e-3)


def test_a_failed_run_tells_what_was_logged_before(own_scenes: Scenes, tmp_path: Path):
    nodes = {
        "note": node("inspect", data=7, message="began"),
        "load": load(["B08"]),
        "more": node("apply", True, data=ref("load"), process=callback("add", x=X, y=7)),
    }
    own_scenes.file("2020-07-01", "B08").unlink()
    progress = Remembered()

    with pytest.raises(RunIncomplete):
        batch.run(job_of(nodes), own_scenes.workspace, tmp_path, block=300, progress=progress)

    assert [entry["message"] for entry in logged(tmp_path)] == ["began"]
    assert any("began" in note for note in progress.notes)


def test_an_extraction_keeps_its_log(scenes: Scenes, tmp_path: Path):
    geopandas.GeoDataFrame(geometry=[shapely.box(*BOX)], crs=CRS).to_file(tmp_path / "box.gpkg")

    made = extract(
        job_of(centred(inspected=True)), scenes.workspace, tmp_path / "box.gpkg",
        tmp_path / "out", block=256,
    )  # fmt: skip

    (entry,) = logged(tmp_path / "out")
    assert entry["data"]["valid"] + entry["data"]["no_data"] == 180 * 250
    assert len(made.log) == 1


def test_a_run_that_logs_nothing_has_no_log(scenes: Scenes, tmp_path: Path):
    batch.run(job_of(centred()), scenes.workspace, tmp_path, block=300)

    assert not (tmp_path / JOURNAL).exists()


def test_tiles_log_through_python(scenes: Scenes, caplog: pytest.LogCaptureFixture):
    layer = TileLayer(job_of(centred(inspected=True)).infer(scenes.workspace))
    matrix = layer.matrix(NATIVE)
    zoom = next(z for z in range(20) if matrix.grid(z).pixel_x == 10)

    with caplog.at_level(logging.INFO, "terrazzo"):
        layer.cube(NATIVE, zoom, 0, 0)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "look (inspect): loaded" in record.getMessage()


def test_a_map_refuses_a_stage_that_reads_too_much_and_names_the_way_out(scenes: Scenes):
    inference = job_of(centred()).infer(scenes.workspace)

    with pytest.raises(PlanTooLarge, match=r"420,000 pixels.*terrazzo run"):
        TileLayer(inference, most_settled=400_000)

    assert TileLayer(inference, most_settled=420_000).inference.nodes["above"].settled


def test_a_stage_runs_once_for_all_tiles(scenes: Scenes, monkeypatch: pytest.MonkeyPatch):
    layer = TileLayer(job_of(centred()).infer(scenes.workspace))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a stage runs again")

    monkeypatch.setattr("terrazzo.drivers.stages.walked", refuse)

    assert layer.cube(NATIVE, 0, 0, 0) is not None


def test_windows_are_the_same_in_a_run_and_on_a_tile(scenes: Scenes, tmp_path: Path):
    nodes = {
        "load": load(["B08"], temporal_extent=["2020-07-01", "2020-07-02"]),
        "windows": node(
            "aggregate_spatial_window", True, data=ref("load"), reducer=callback("max"),
            size=[16, 10],
        ),
    }  # fmt: skip
    values, valid = scenes.stack("B08")
    padded = np.pad(np.where(valid[1], values[1], -1), ((0, 0), (0, 4)), constant_values=-1)
    expected = padded.reshape(60, 10, 44, 16).max(axis=(1, 3))

    batch.run(job_of(nodes), scenes.workspace, tmp_path, block=13)
    layer = TileLayer(job_of(nodes).infer(scenes.workspace))
    zoom = next(z for z in range(20) if layer.matrix(NATIVE).grid(z).pixel_x == 160)
    cube = layer.cube(NATIVE, zoom, 0, 0)

    written = image(tmp_path).astype(np.float64)
    np.testing.assert_array_equal(np.where(written == 65_535, -1, written), expected)
    shown = np.where(cube.valid, cube.values, -1.0)[0, 0, :60, :44]
    np.testing.assert_array_equal(shown, expected)
