"""Runs on tile grids: every tile has the pixels of a plain run, and together they are a result."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pystac
import pytest
import rasterio
from click.testing import CliRunner
from pystac.validation import JsonSchemaSTACValidator
from rasterio.windows import from_bounds
from rio_cogeo import cog_validate
from tests.drivers.scenes import (
    COLLECTION,
    DATES,
    asset_of,
    callback,
    composite,
    job_of,
    load,
    node,
    ref,
    register,
    smoothed,
    write_cog,
)
from tests.drivers.test_survival import digests
from tifffile import TiffFile
from typing_extensions import override

from terrazzo.catalog import BandInfo
from terrazzo.cli import main
from terrazzo.drivers import batch, named
from terrazzo.drivers.job import Job
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.record import FAILED
from terrazzo.drivers.tiling.run import run
from terrazzo.drivers.tiling.work import at_once
from terrazzo.errors import (
    ArgumentInvalid,
    FormatUnsuitable,
    PlanTooLarge,
    RunDiffers,
    RunIncomplete,
    SpatialExtentEmpty,
)
from terrazzo.geo.grid import Grid
from terrazzo.geo.tile_grids import tile_grid
from terrazzo.progress import Cancelled, Progress

if TYPE_CHECKING:
    from tests.drivers.scenes import Scenes

    from terrazzo.drivers.job import Workspace

OWN = "EPSG:32633,598000,5101000,512,10"
"""Four squares on the pixels of the scenes."""
PATIENCE_S = 120
GRIDS = {
    OWN: (0.0, {}),
    "EPSG:3035,4000000,3000000,128,25": (0.0, {"crs": "EPSG:3035", "resolution": 25.0}),
    "equi7:EU": (100.0, {"crs": "EPSG:27704", "resolution": 100.0}),
    "mgrs": (60.0, {"crs": "EPSG:32633", "resolution": 60.0}),
}


def brightest() -> dict[str, Any]:
    """Return the maximum of a band over time."""
    return {
        "load": load(["B08"]),
        "top": node(
            "reduce_dimension", True, data=ref("load"), dimension="t", reducer=callback("max")
        ),
    }


def on_grid(scenes: Scenes, folder: Path, nodes: dict[str, Any], text: str, **options: Any):
    resolution = GRIDS.get(text, (0.0, {}))[0]
    job = Job(job_of(nodes).document, resolution=resolution)
    return run(job, scenes.workspace, folder, tile_grid(text, resolution), block=100, **options)


def tiffs(folder: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.tif")}
    assert found
    return found


def read(path: Path) -> tuple[Any, Any]:
    with rasterio.open(path) as file:
        return file.read(), file.bounds


def at(path: Path, bounds: Any) -> Any:
    """Return the pixels of a file within bounds on its lattice, no-data where it has none."""
    with rasterio.open(path) as file:
        window = from_bounds(*bounds, file.transform)
        numbers = (window.row_off, window.col_off, window.height, window.width)
        row, col, height, width = map(round, numbers)
        np.testing.assert_allclose(numbers, (row, col, height, width), atol=1e-6)
        out = np.full((file.count, height, width), file.nodata, file.dtypes[0])
        top, left = max(row, 0), max(col, 0)
        stop, end = min(row + height, file.height), min(col + width, file.width)
        if stop > top and end > left:
            inside = file.read()[:, top:stop, left:end]
            out[:, top - row : stop - row, left - col : end - col] = inside
    return out


@pytest.mark.parametrize(
    ("text", "graph"), list(zip(GRIDS, (smoothed, composite, smoothed, composite), strict=True))
)
def test_a_tile_has_the_pixels_of_a_run_at_its_place(
    scenes: Scenes, tmp_path: Path, text: str, graph: Any
):
    made = on_grid(scenes, tmp_path / "tiles", graph(), text)

    job = Job(job_of(graph()).document, **GRIDS[text][1])
    plain = batch.run(job, scenes.workspace, tmp_path / "plain", block=100)
    seen = 0
    for asset in made.assets:
        assert cog_validate(asset.path, strict=True) == (True, [], [])
        pixels, bounds = read(asset.path)
        (other,) = (one for one in plain.assets if one.path.name == asset.path.name)
        np.testing.assert_array_equal(pixels, at(other.path, bounds))
        seen += np.isfinite(pixels).sum()
    with rasterio.open(plain.assets[0].path) as file:
        assert seen >= np.isfinite(file.read()).sum() > 0


def test_a_box_chooses_tiles_and_does_not_cut_them(scenes: Scenes, tmp_path: Path):
    every = on_grid(scenes, tmp_path / "all", brightest(), OWN)
    one = next(asset for asset in every.assets if "E001S002" in str(asset.path))
    left, bottom, right, top = read(one.path)[1]
    middle = (left + 500, bottom + 500, left + 510, bottom + 510)
    job = Job(job_of(brightest()).document, bbox=middle, bbox_crs="EPSG:32633")

    made = run(job, scenes.workspace, tmp_path / "one", tile_grid(OWN), block=100)

    (asset,) = made.assets
    assert asset.path.read_bytes() == one.path.read_bytes()
    assert right - left == 5120 == top - bottom


def test_tiles_of_mgrs_agree_where_they_overlap(tmp_path: Path):
    # Around the corner of four squares: 598..602 km east, 5098..5102 km north.
    grid = Grid.of("EPSG:32633", 598_000.0, 5_102_000.0, 20.0, 200, 200)
    pixels = np.random.default_rng(4).integers(1, 5000, (200, 200)).astype(np.uint16)
    path = write_cog(tmp_path / "home" / "assets" / "one.tif", pixels, grid)
    items = {"one": ("2020-05-12T10:00:00Z", {"B08": asset_of(path, (BandInfo("B08"),), grid)})}
    workspace = register(tmp_path / "home", COLLECTION, items, grid)
    job = Job(job_of(brightest()).document, resolution=60.0)

    made = run(job, workspace, tmp_path / "out", tile_grid("mgrs", 60.0), block=1024)

    names = {asset.path.parent.name for asset in made.assets}
    assert len(names) == 4
    bounds = {asset.path: read(asset.path) for asset in made.assets}
    compared = 0
    for one, (values, box) in bounds.items():
        for other, (others, beside) in bounds.items():
            left, bottom = max(box[0], beside[0]), max(box[1], beside[1])
            right, top = min(box[2], beside[2]), min(box[3], beside[3])
            assert right - left > 9_000
            mine = values[0, round((box[3] - top) / 60) : round((box[3] - bottom) / 60)]
            theirs = others[0, round((beside[3] - top) / 60) : round((beside[3] - bottom) / 60)]
            mine = mine[:, round((left - box[0]) / 60) : round((right - box[0]) / 60)]
            theirs = theirs[:, round((left - beside[0]) / 60) : round((right - beside[0]) / 60)]
            np.testing.assert_array_equal(mine, theirs)
            compared += np.isfinite(mine).sum() if one != other else 0
    assert compared > 1000


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_whoever_makes_tiles_makes_the_same_bytes(scenes: Scenes, tmp_path: Path, kind: str):
    on_grid(scenes, tmp_path / "one", brightest(), OWN, pool=Pool("threads", 1))

    made = on_grid(scenes, tmp_path / "more", brightest(), OWN, pool=Pool(kind, 2))

    assert (made.blocks, made.resumed) == (4, 0)
    assert tiffs(tmp_path / "more") == tiffs(tmp_path / "one")


@pytest.mark.slow
def test_a_dask_cluster_makes_the_same_bytes(scenes: Scenes, tmp_path: Path):
    on_grid(scenes, tmp_path / "one", brightest(), OWN, pool=Pool("threads", 2))

    on_grid(scenes, tmp_path / "dask", brightest(), OWN, pool=Pool("dask", 2))

    assert tiffs(tmp_path / "dask") == tiffs(tmp_path / "one")


def test_threads_share_a_tile_where_there_are_more_of_them(scenes: Scenes, tmp_path: Path):
    text = "EPSG:32633,598000,5101000,1024,10"
    on_grid(scenes, tmp_path / "one", brightest(), text, pool=Pool("threads", 1))

    made = on_grid(scenes, tmp_path / "four", brightest(), text, pool=Pool("threads", 4))

    assert made.blocks == 1
    assert tiffs(tmp_path / "four") == tiffs(tmp_path / "one")


@pytest.mark.parametrize("suffix", [".vrt", ".gti.gpkg"])
def test_mosaics_show_the_tiles(
    scenes: Scenes, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
):
    made = on_grid(scenes, tmp_path / "made", brightest(), OWN)
    (tmp_path / "made").rename(tmp_path / "moved")
    monkeypatch.chdir("/")

    mosaics = sorted((tmp_path / "moved" / "tiles").glob(f"*{suffix}"))

    assert [path.name for path in mosaics] == [f"EPSG32633_result{suffix}"]
    for mosaic in mosaics:
        tiles = [one.path.relative_to(tmp_path / "made") for one in made.assets]
        with rasterio.open(mosaic) as file:
            assert file.crs == "EPSG:32633"
            assert np.isnan(file.nodata)
            for tile in (tmp_path / "moved" / one for one in tiles):
                pixels, bounds = read(tile)
                window = from_bounds(*bounds, file.transform)
                np.testing.assert_array_equal(file.read(window=window), pixels)
                corner = from_bounds(bounds[0], bounds[3] - 500, bounds[0] + 500, bounds[3],
                                     file.transform)  # fmt: skip
                np.testing.assert_array_equal(file.read(window=corner), pixels[:, :50, :50])


@pytest.mark.skipif(
    shutil.which("gdalinfo") is None and not os.environ.get("CI"), reason="needs gdal-bin"
)
def test_a_vrt_is_read_by_other_gdals(scenes: Scenes, tmp_path: Path):
    made = on_grid(scenes, tmp_path / "made", brightest(), OWN)

    vrt = tmp_path / "made" / "tiles" / "EPSG32633_result.vrt"
    told = subprocess.run(
        ["gdalinfo", "-json", "-checksum", str(vrt)],
        capture_output=True, check=True, timeout=PATIENCE_S,
    )  # fmt: skip

    info = json.loads(told.stdout)
    assert info["size"] == [1024, 1024]
    assert info["geoTransform"] == [598000.0, 10.0, 0.0, 5101000.0, 0.0, -10.0]
    assert len(info["files"]) == 1 + len(made.assets)
    with rasterio.open(vrt) as file:
        assert info["bands"][0]["checksum"] == file.checksum(1)


def test_stac_has_an_item_for_each_tile_and_date(scenes: Scenes, tmp_path: Path):
    made = on_grid(scenes, tmp_path, composite(), "mgrs")

    collection = pystac.Collection.from_file(str(tmp_path / "stac" / "collection.json"))
    items = list(collection.get_items())
    for one in (collection, *items):
        told = json.loads(json.dumps(one.to_dict(include_self_link=False)))
        JsonSchemaSTACValidator().validate_core(told, one.STAC_OBJECT_TYPE, "1.1.0")
    paths = {item.get_assets()[key].get_absolute_href() for item in items for key in item.assets}
    assert {os.path.realpath(str(path)) for path in paths} == {
        os.path.realpath(one.path) for one in made.assets
    }
    assert len(items) == len(made.assets) == 2
    assert {item.properties["grid:code"] for item in items} == {"MGRS-33TXL"}
    for item in items:
        (asset,) = item.assets.values()
        assert asset.extra_fields["file:checksum"].startswith("1220")
        assert asset.extra_fields["proj:transform"] == [60, 0, 600_000, 0, -60, 5_100_000]
        assert item.properties["terrazzo:sources"]["load"] == [f"S2_{date}" for date in DATES]
        assert item.collection_id == collection.id
    for asset in collection.assets.values():
        assert Path(str(asset.get_absolute_href())).is_file()
    assert sorted(asset.href.rsplit(".", 1)[1] for asset in collection.assets.values()) == [
        "gpkg", "gpkg", "vrt", "vrt",
    ]  # fmt: skip


class Stopping(Progress):
    """Stops after some tiles."""

    def __init__(self, after: int) -> None:
        self.after = after

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if self.done >= self.after:
            raise Cancelled


def test_a_stopped_run_goes_on_with_the_tiles_that_are_missing(scenes: Scenes, tmp_path: Path):
    on_grid(scenes, tmp_path / "calm", brightest(), OWN)

    with pytest.raises(Cancelled):
        on_grid(
            scenes, tmp_path / "stopped", brightest(), OWN, pool=Pool("threads", 1),
            progress=Stopping(1),
        )  # fmt: skip
    made = on_grid(scenes, tmp_path / "stopped", brightest(), OWN)

    assert 1 <= made.resumed < 4
    assert tiffs(tmp_path / "stopped") == tiffs(tmp_path / "calm")
    again = on_grid(scenes, tmp_path / "stopped", brightest(), OWN)
    assert again.resumed == again.blocks == 4
    assert again.assets == made.assets


def test_a_killed_run_goes_on(scenes: Scenes, tmp_path: Path):
    graph = tmp_path / "graph.json"
    graph.write_text(job_of(brightest()).document)
    out = tmp_path / "killed"
    command = [
        sys.executable, "-m", "terrazzo", "--home", str(scenes.workspace.home), "run", str(graph),
        "-o", str(out), "--tiles", OWN, "--block", "64", "--workers", "1",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not list(out.glob("tiles/*/stac.json")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    there = len(list(out.glob("tiles/*/stac.json")))
    next(out.glob("tiles/*/stac.json")).with_name(".status.json.01234567.part").touch()

    done = subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE_S, text=True)

    calm = tmp_path / "calm"
    run(job_of(brightest()), scenes.workspace, calm, tile_grid(OWN), block=64)
    assert len(done.stdout.splitlines()) == 4
    assert there == 4 or f"{there} of 4 tiles were there already" in done.stderr
    assert tiffs(out) == tiffs(calm)
    left = [name for name in digests(out) if ".part" in name or name.endswith(".block")]
    # The last word of a worker that was killed as its tile was done may be half said.
    assert [name for name in left if "/.workers/" not in name] == []


def test_two_runs_in_one_folder_do_no_harm(scenes: Scenes, tmp_path: Path):
    on_grid(scenes, tmp_path / "alone", brightest(), OWN)
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(on_grid(scenes, tmp_path / "both", brightest(), OWN).blocks)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            found.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [4, 4]
    assert tiffs(tmp_path / "both") == tiffs(tmp_path / "alone")


def test_a_tile_that_fails_is_set_aside_and_the_rest_goes_on(own_scenes: Scenes, tmp_path: Path):
    broken = own_scenes.file(DATES[0], "B08")
    good = broken.read_bytes()
    with TiffFile(broken) as tiff:
        page = tiff.pages[0]
        begin, count = page.dataoffsets[-1], page.databytecounts[-1]
    content = bytearray(good)
    content[begin : begin + count] = b"\xff" * count
    broken.write_bytes(content)
    out = tmp_path / "out"
    graph = tmp_path / "graph.json"
    graph.write_text(job_of(brightest()).document)
    command = ["--home", str(own_scenes.workspace.home), "run", str(graph), "-o", str(out)]

    told = CliRunner().invoke(main, [*command, "--tiles", OWN, "--block", "64"])

    assert told.exit_code == 3
    failed = [json.loads(line) for line in (out / FAILED).read_text().splitlines()]
    assert 0 < len(failed) < 4
    made = {path.parent.name for path in out.glob("tiles/*/results.json")}
    assert len(made) == 4 - len(failed)
    assert not made & {one["tile"] for one in failed}
    broken.write_bytes(good)

    assert CliRunner().invoke(main, [*command, "--tiles", OWN, "--block", "64"]).exit_code == 0
    assert len(list(out.glob("tiles/*/results.json"))) == 4
    assert not (out / FAILED).exists()


def test_what_contradicts_a_tile_grid_is_refused(scenes: Scenes, tmp_path: Path):
    workspace: Workspace = scenes.workspace
    fixed = {
        "load": load(["B08"], temporal_extent=["2020-05-01", "2020-06-01"]),
        "coarse": node(
            "resample_spatial", True, data=ref("load"), resolution=30, projection=32633
        ),
    }  # fmt: skip
    numbers = {
        **brightest(),
        "save": node("save_result", True, data=ref("top"), format="netCDF"),
    }
    del numbers["top"]["result"]
    document = job_of(brightest()).document

    def refused(job: Job, error: type[Exception], text: str = OWN, **options: Any) -> None:
        with pytest.raises(error):
            run(job, workspace, tmp_path / "no", tile_grid(text), **options)
        assert not list((tmp_path / "no").rglob("*.tif"))

    refused(Job(document, crs="EPSG:3035"), ArgumentInvalid)
    refused(job_of(fixed), ArgumentInvalid)
    refused(job_of(numbers), FormatUnsuitable)
    refused(job_of(brightest()), SpatialExtentEmpty, "equi7:SA")
    refused(Job(document, bbox=(0.0, 0.0, 1.0, 1.0)), SpatialExtentEmpty)
    refused(job_of(brightest()), PlanTooLarge, pool=Pool("threads", 1, memory_bytes=1000))


def test_a_graph_with_its_own_pixels_goes_on_tiles_that_have_them(scenes: Scenes, tmp_path: Path):
    nodes = {
        "load": load(["B08"], temporal_extent=["2020-05-01", "2020-06-01"]),
        "coarse": node(
            "resample_spatial", True, data=ref("load"), resolution=20, projection=32633,
            method="average",
        ),
    }  # fmt: skip

    made = on_grid(scenes, tmp_path / "tiles", nodes, "EPSG:32633,598000,5101000,256,20")

    (plain,) = batch.run(job_of(nodes), scenes.workspace, tmp_path / "plain").assets
    for asset in made.assets:
        pixels, bounds = read(asset.path)
        np.testing.assert_array_equal(pixels, at(plain.path, bounds))


def test_the_images_of_all_tiles_are_listed_once(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(named, "MOST_NAMED", 1)
    theirs = tmp_path / named.IMAGES
    theirs.write_bytes(b"of somebody else")
    path = tmp_path / "stac" / named.IMAGES

    on_grid(scenes, tmp_path, brightest(), OWN)

    assert sorted(tmp_path.rglob(named.IMAGES)) == [theirs, path]
    asset = json.loads((tmp_path / "stac" / "collection.json").read_text())["assets"][named.IMAGES]
    assert (tmp_path / "stac" / asset["href"]).resolve() == path
    assert asset["file:size"] == path.stat().st_size
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    assert [json.loads(line)["item"] for line in lines] == [f"S2_{date}" for date in DATES]
    monkeypatch.setattr(named, "MOST_NAMED", len(DATES))
    on_grid(scenes, tmp_path, brightest(), OWN)
    assert not path.exists()
    assert theirs.read_bytes() == b"of somebody else"


def test_answers_come_in_order_and_are_asked_for_at_once():
    both = threading.Barrier(2)
    progress = Progress()

    def ask(number: int) -> int:
        both.wait(PATIENCE_S)  # nobody comes by who waits for the other alone
        return number

    assert at_once(ask, 6, "tiles", progress) == list(range(6))
    assert (progress.done, progress.total, progress.unit) == (6, 6, "tiles")


def test_what_is_asked_at_once_can_be_stopped():
    with pytest.raises(Cancelled):
        at_once(lambda number: number, 100, "tiles", Stopping(1))

    assert not [one for one in threading.enumerate() if one.name.startswith("tiles")]


def test_another_run_in_the_folder_is_refused(scenes: Scenes, tmp_path: Path):
    on_grid(scenes, tmp_path, brightest(), OWN)

    with pytest.raises(RunDiffers):
        on_grid(scenes, tmp_path, brightest(), "EPSG:32633,598000,5101000,256,10")
    with pytest.raises(RunDiffers):
        on_grid(scenes, tmp_path, composite(), OWN)


def test_a_failure_says_how_many_tiles_there_are(own_scenes: Scenes, tmp_path: Path):
    own_scenes.file(DATES[0], "B08").unlink()

    with pytest.raises(RunIncomplete, match="4 of 4 tiles failed"):
        on_grid(own_scenes, tmp_path, brightest(), OWN)
