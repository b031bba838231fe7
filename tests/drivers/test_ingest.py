"""Ingestion: pixels, places and dates of real and made files, and what survives damage."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from pyproj import CRS
from rasterio.transform import Affine
from rio_cogeo.cogeo import cog_validate
from shapely import MultiPoint
from shapely.geometry import shape

from terrazzo.catalog import read_bands
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.ingestion.items import footprint
from terrazzo.drivers.ingestion.names import date_in, date_of_tags, read_name
from terrazzo.drivers.job import Workspace, remember_root
from terrazzo.drivers.sample import SampleMissing, sample_files
from terrazzo.errors import ArgumentInvalid, AssetForbidden, OutputFailed
from terrazzo.geo.crs import crs_name
from terrazzo.geo.grid import Grid
from terrazzo.processes.load import LoadRequest
from terrazzo.progress import Cancelled, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

BANDS_10M = ("B2", "B3", "B4", "B8", "SCL")
PLACE = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)


def sliced(path: Path, dates: slice, change: dict[str, Any] | None = None) -> Path:
    """Write some dates of the real 10 m cube, with its encoding, and `change`d variables."""
    with xr.open_dataset(sample_files().cube_10m, mask_and_scale=False) as data:
        part = data.isel(time=dates).load()
    part.assign(change or {}).to_netcdf(path, engine="h5netcdf")
    return path


def image(path: Path, values: np.ndarray[Any, Any], **profile: Any) -> Path:
    """Write a GeoTIFF; (band, y, x) values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tags = profile.pop("tags", {})
    names = profile.pop("names", ())
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    place = {"crs": "EPSG:32633", "transform": PLACE}
    with rasterio.open(path, "w", **{"driver": "GTiff", **place, **shape, **profile}) as file:
        file.write(values)
        file.update_tags(**tags)
        for index, name in enumerate(names, 1):
            file.set_band_description(index, name)
    return path


def ramp(count: int, height: int, width: int, dtype: str = "uint16") -> np.ndarray[Any, Any]:
    return np.arange(count * height * width).reshape(count, height, width).astype(dtype)


def items_of(workspace: Workspace, collection: str) -> list[dict[str, Any]]:
    with workspace.catalog() as catalog:
        return list(catalog.search((collection,)))


def collection_of(workspace: Workspace, name: str) -> dict[str, Any]:
    with workspace.catalog() as catalog:
        return catalog.collection(name)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home")


class Notes(Progress):
    def __init__(self, stop_after: int = sys.maxsize) -> None:
        self.stop_after = stop_after
        self.notes: list[str] = []

    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if self.unit == "items" and self.done >= self.stop_after:
            raise Cancelled

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="module")
def whole_cube(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The real 10 m cube, ingested whole."""
    workspace = Workspace(tmp_path_factory.mktemp("cube"))
    options = IngestOptions(common_names={"B8": "nir"}, title="Romania")
    report = ingest([sample_files().cube_10m], "s2", workspace, options=options)
    assert (report.made, report.kept, dict(report.failed)) == (140, 0, {})
    return workspace


def test_cube_becomes_one_item_per_date(whole_cube: Workspace) -> None:
    with xr.open_dataset(sample_files().cube_10m) as data:
        dates = [str(t)[:19] + "Z" for t in data.time.to_numpy()]

    items = items_of(whole_cube, "s2")
    collection = collection_of(whole_cube, "s2")

    assert [item["properties"]["datetime"] for item in items] == dates
    assert (len(dates), dates[0][:10], dates[-1][:10]) == (140, "2015-08-01", "2021-01-01")
    assert all(tuple(item["assets"]) == BANDS_10M for item in items)
    assert collection["cube:dimensions"]["t"]["values"] == dates
    assert collection["cube:dimensions"]["x"]["reference_system"] == 3035
    assert collection["cube:dimensions"]["x"]["step"] == 10.0
    assert collection["cube:dimensions"]["bands"]["values"] == list(BANDS_10M)
    assert collection["title"] == "Romania"
    assert "terrazzo:incomplete" not in collection


def test_cog_pixels_are_those_of_the_cube(whole_cube: Workspace) -> None:
    items = items_of(whole_cube, "s2")
    with xr.open_dataset(sample_files().cube_10m, mask_and_scale=False) as data:
        for index in (0, 1, 70, 139):
            for band in BANDS_10M:
                expected = data[band].isel(time=index).to_numpy()

                with rasterio.open(items[index]["assets"][band]["href"]) as file:
                    found = file.read(1)

                np.testing.assert_array_equal(found, expected)
                assert found.dtype == ("uint8" if band == "SCL" else "uint16")


def test_cog_places_are_those_of_the_cube(whole_cube: Workspace) -> None:
    item = items_of(whole_cube, "s2")[7]
    with xr.open_dataset(sample_files().cube_10m) as data:
        xs, ys = data.x.to_numpy(), data.y.to_numpy()
        stated = CRS.from_wkt(data.spatial_ref.attrs["spatial_ref"])

    for asset in item["assets"].values():
        with rasterio.open(asset["href"]) as file:
            corners = [file.xy(0, 0), file.xy(99, 99)]
            named = file.crs.to_epsg()
            transform = tuple(file.transform)[:6]

        np.testing.assert_allclose(corners, [(xs[0], ys[0]), (xs[-1], ys[-1])], rtol=0, atol=1e-6)
        assert named == 3035
        assert asset["proj:code"] == "EPSG:3035"
        assert tuple(asset["proj:transform"]) == transform
        assert asset["proj:shape"] == [100, 100]
    method = stated.source_crs.coordinate_operation.to_json_dict()["parameters"]
    known = CRS.from_epsg(3035).coordinate_operation.to_json_dict()["parameters"]
    assert [one["value"] for one in method] == [one["value"] for one in known]


def test_bands_say_what_the_file_holds(whole_cube: Workspace) -> None:
    item = items_of(whole_cube, "s2")[0]

    bands = {band.name: band for band in read_bands(item)}

    for band in BANDS_10M:
        with rasterio.open(item["assets"][band]["href"]) as file:
            assert bands[band].dtype == file.dtypes[0]
            assert bands[band].nodata == file.nodata == 0
            assert file.descriptions == (band,)
    assert bands["B8"].common_name == "nir"
    assert bands["B8"].gsd_m == 10.0


def test_bbox_and_geometry_hold_every_pixel(whole_cube: Workspace) -> None:
    item = items_of(whole_cube, "s2")[0]
    with rasterio.open(item["assets"]["B2"]["href"]) as file:
        rows, cols = np.meshgrid(np.arange(100), np.arange(100))
        xs, ys = file.xy(rows.ravel(), cols.ravel())
        lon, lat = rasterio.warp.transform(file.crs, "EPSG:4326", xs, ys)

    outline = shape(item["geometry"])

    west, south, east, north = item["bbox"]
    assert west < min(lon) < max(lon) < east
    assert south < min(lat) < max(lat) < north
    assert outline.contains(MultiPoint(list(zip(lon, lat, strict=True))))
    assert len(item["geometry"]["coordinates"][0]) == 5
    np.testing.assert_allclose(outline.bounds, item["bbox"], atol=1e-5)


def test_cogs_are_valid_for_rio_cogeo_and_gdalinfo(whole_cube: Workspace) -> None:
    for asset in items_of(whole_cube, "s2")[3]["assets"].values():
        valid, errors, warnings = cog_validate(asset["href"])

        assert (valid, errors, warnings) == (True, [], [])
        if shutil.which("gdalinfo"):
            told = json.loads(
                subprocess.check_output(["gdalinfo", "-json", "-checksum", asset["href"]])
            )
            assert told["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
            assert told["size"] == [100, 100]
            assert told["bands"][0]["noDataValue"] == 0


def test_second_ingestion_keeps_everything(whole_cube: Workspace) -> None:
    files = {p: p.stat().st_mtime_ns for p in whole_cube.assets.rglob("*.tif")}
    with whole_cube.catalog() as catalog:
        version = catalog.version("s2")
    options = IngestOptions(common_names={"B8": "nir"}, title="Romania")

    report = ingest([sample_files().cube_10m], "s2", whole_cube, options=options)

    with whole_cube.catalog() as catalog:
        assert catalog.version("s2") == version
    assert (report.made, report.kept) == (0, 140)
    assert {p: p.stat().st_mtime_ns for p in whole_cube.assets.rglob("*.tif")} == files


def test_grown_cube_makes_only_the_new_date(tmp_path: Path, workspace: Workspace) -> None:
    path = sliced(tmp_path / "cube.nc", slice(0, 3))
    ingest([path], "s2", workspace)
    sliced(path, slice(0, 4))

    report = ingest([path], "s2", workspace)

    assert (report.made, report.kept) == (1, 3)
    assert len(items_of(workspace, "s2")) == 4
    assert len(collection_of(workspace, "s2")["cube:dimensions"]["t"]["values"]) == 4


def test_lost_and_changed_files_are_made_again(tmp_path: Path, workspace: Workspace) -> None:
    path = sliced(tmp_path / "cube.nc", slice(0, 3))
    ingest([path], "s2", workspace)
    first, second, _ = (Path(i["assets"]["B2"]["href"]) for i in items_of(workspace, "s2"))
    whole = first.read_bytes()
    first.unlink()
    second.write_bytes(b"")

    report = ingest([path], "s2", workspace)

    assert (report.made, report.kept) == (2, 1)
    assert first.read_bytes() == whole
    assert second.stat().st_size > 0


@pytest.mark.parametrize(
    ("change", "dtype"), [(3.0, "uint8"), (3.5, "float32"), (300.0, "float32"), (-1.0, "float32")]
)
def test_classes_are_narrowed_only_if_every_date_allows(
    tmp_path: Path, workspace: Workspace, change: float, dtype: str
) -> None:
    with xr.open_dataset(sample_files().cube_10m, mask_and_scale=False) as data:
        classes = data["SCL"].isel(time=slice(0, 3)).astype("float32").load()
    classes.attrs.pop("_FillValue")
    classes[2, 99, 99] = change
    path = sliced(tmp_path / "cube.nc", slice(0, 3), {"SCL": classes})

    ingest([path], "s2", workspace)

    items = items_of(workspace, "s2")
    for index, item in enumerate(items):
        with rasterio.open(item["assets"]["SCL"]["href"]) as file:
            assert file.dtypes == (dtype,)
            assert (file.nodata is None) == (dtype == "uint8")
            np.testing.assert_array_equal(file.read(1), classes[index])


def test_scale_and_fill_are_kept(tmp_path: Path, workspace: Workspace) -> None:
    values = np.array([[[1, 2, -999], [300, 400, 500]]], "int16")
    xr.Dataset(
        {
            "lst": (
                ("time", "y", "x"),
                values,
                {"scale_factor": 0.02, "add_offset": 273.0, "_FillValue": np.int16(-999)},
            )
        },
        {
            "time": ("time", [17_000], {"units": "days since 1970-01-01"}),
            "y": [45.0, 44.0],
            "x": [10.0, 11.0, 12.0],
            "crs": ((), 0, {"crs_wkt": CRS.from_epsg(4326).to_wkt()}),
        },
    ).to_netcdf(tmp_path / "lst.nc", engine="h5netcdf")

    ingest([tmp_path / "lst.nc"], "lst", workspace)

    item = items_of(workspace, "lst")[0]
    (band,) = read_bands(item)
    assert (band.dtype, band.nodata, band.scale, band.offset) == ("int16", -999.0, 0.02, 273.0)
    assert item["properties"]["datetime"] == "2016-07-18T00:00:00Z"
    assert item["bbox"] == [9.5, 43.5, 12.5, 45.5]
    with rasterio.open(item["assets"]["lst"]["href"]) as file:
        assert file.nodata == -999
        np.testing.assert_array_equal(file.read(1), values[0])


KILLED_INGESTION = """
import os, random, signal, sys, threading, time
from pathlib import Path
from terrazzo.drivers.ingest import ingest
from terrazzo.drivers.job import Workspace
from terrazzo.progress import Progress

class Deadly(Progress):
    def advance(self, count=1):
        super().advance(count)
        if self.done == 12:
            wait = random.uniform(0, 0.1)
            threading.Timer(wait, os.kill, (os.getpid(), signal.SIGKILL)).start()
        if self.done == self.total - 1:
            time.sleep(600)  # it has no other end

ingest([Path(sys.argv[1])], "s2", Workspace(Path(sys.argv[2])), progress=Deadly())
"""


def test_killed_ingestion_is_completed(tmp_path: Path, workspace: Workspace) -> None:
    path = sliced(tmp_path / "cube.nc", slice(0, 24))
    command = [sys.executable, "-c", KILLED_INGESTION, str(path), str(workspace.home)]
    process = subprocess.run(command, check=False)
    assert process.returncode == -signal.SIGKILL
    before = len(items_of(workspace, "s2"))

    report = ingest([path], "s2", workspace)

    assert 0 < before < 24
    assert (report.made, report.kept) == (24 - before, before)
    assert len(items_of(workspace, "s2")) == 24
    files = [p for p in workspace.assets.rglob("*") if p.is_file() and p.suffix != ".lock"]
    assert len(files) == 24 * len(BANDS_10M)
    assert all(not p.name.startswith(".") for p in files)
    assert "terrazzo:incomplete" not in collection_of(workspace, "s2")
    fresh = Workspace(tmp_path / "fresh")
    ingest([path], "s2", fresh)
    for one in files:
        assert one.read_bytes() == (fresh.home / one.relative_to(workspace.home)).read_bytes()


def test_cancelled_ingestion_keeps_what_is_done(tmp_path: Path, workspace: Workspace) -> None:
    path = sliced(tmp_path / "cube.nc", slice(0, 8))

    with pytest.raises(Cancelled):
        ingest([path], "s2", workspace, progress=Notes(stop_after=3))

    assert len(items_of(workspace, "s2")) == 3
    report = ingest([path], "s2", workspace)
    assert (report.made, report.kept) == (5, 3)


def test_two_ingestions_into_one_collection_do_not_mix(
    tmp_path: Path, workspace: Workspace
) -> None:
    path = sliced(tmp_path / "cube.nc", slice(0, 2))

    class Second(Progress):
        def start(self, total: int, unit: str) -> None:
            super().start(total, unit)
            with pytest.raises(ArgumentInvalid, match="running"):
                ingest([path], "s2", workspace)

    assert ingest([path], "s2", workspace, progress=Second()).made == 2


def test_dry_run_writes_nothing(tmp_path: Path, workspace: Workspace) -> None:
    path = sliced(tmp_path / "cube.nc", slice(0, 2))

    report = ingest([path], "s2", workspace, options=IngestOptions(dry_run=True))

    assert (report.made, report.kept, report.dry_run) == (2, 0, True)
    assert not workspace.home.exists()
    ingest([path], "s2", workspace)
    report = ingest([path], "s2", workspace, options=IngestOptions(dry_run=True))
    assert (report.made, report.kept) == (0, 2)


def test_images_stay_in_place_and_can_be_read_later(tmp_path: Path, workspace: Workspace) -> None:
    folder = tmp_path / "scenes"
    for day, band, start in (("0501", "B04", 0), ("0501", "B08", 7), ("0511", "B04", 9)):
        image(folder / "a" / f"T33_2019{day}T101031_{band}.tif", ramp(1, 20, 30) + start, nodata=0)

    report = ingest([folder], "s2", workspace)

    items = items_of(workspace, "s2")
    assert [i["id"] for i in items] == ["T33_20190501T101031", "T33_20190511T101031"]
    assert [list(i["assets"]) for i in items] == [["B04", "B08"], ["B04"]]
    assert items[0]["properties"]["datetime"] == "2019-05-01T10:10:31Z"
    assert report.roots == (folder.resolve(),)
    assert not list(workspace.assets.rglob("*.tif"))
    again = Workspace.of(workspace.home)
    assert again.roots == (folder.resolve(),)
    asked = LoadRequest("s2", None, None, None, None, {})
    source = again.opener().open(asked)
    cube = source.read(source.grid, source.extent, {}, "near")
    np.testing.assert_array_equal(cube.values[0, 0], ramp(1, 20, 30)[0])
    np.testing.assert_array_equal(cube.values[0, 1], ramp(1, 20, 30)[0] + 7)
    np.testing.assert_array_equal(cube.values[1, 0], ramp(1, 20, 30)[0] + 9)
    assert cube.valid[:, 0, 1:].all()
    assert not cube.valid[0, 0, 0, 0]
    assert not cube.valid[1, 1].any()
    with pytest.raises(AssetForbidden):
        workspace.opener().open(asked)
    (workspace.home / "roots.json").unlink()
    assert ingest([folder], "s2", workspace).kept == 2
    assert Workspace.of(workspace.home) == again


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_copied_images_keep_pixels_place_and_metadata(
    tmp_path: Path, workspace: Workspace, dtype: str
) -> None:
    nodata = np.nan if dtype == "float32" else 9
    source = image(
        tmp_path / "x_20200229.tif", ramp(2, 700, 900, dtype), nodata=nodata, names=("a", "b")
    )
    options = IngestOptions(copy=True)

    ingest([source], "x", workspace, options=options)

    item = items_of(workspace, "x")[0]
    asset = item["assets"]["data"]
    assert [band["name"] for band in asset["bands"]] == ["a", "b"]
    assert item["properties"]["datetime"] == "2020-02-29T00:00:00Z"
    with rasterio.open(source) as old, rasterio.open(asset["href"]) as new:
        np.testing.assert_array_equal(new.read(), old.read())
        assert new.transform == old.transform
        assert new.crs == old.crs
        assert new.descriptions == old.descriptions
        assert new.nodata == old.nodata or np.isnan([new.nodata, old.nodata]).all()
        assert new.overviews(1) == [2]
    assert cog_validate(asset["href"])[0]
    assert workspace.assets in Path(asset["href"]).parents
    source.write_bytes(source.read_bytes())
    assert ingest([source], "x", workspace, options=options).kept == 1
    image(source, ramp(2, 700, 900, dtype)[:, ::-1], nodata=nodata, names=("a", "b"))
    assert ingest([source], "x", workspace, options=options).made == 1


def test_copy_of_classes_does_not_mix_them(tmp_path: Path, workspace: Workspace) -> None:
    classes = np.random.default_rng(5).choice(np.array([10, 200], "uint8"), (1, 1100, 1100))
    source = image(tmp_path / "lc_2018-01-01.tif", classes)

    ingest([source], "lc", workspace, options=IngestOptions(copy=True))

    href = items_of(workspace, "lc")[0]["assets"]["band1"]["href"]
    with rasterio.open(href, overview_level=0) as file:
        assert set(np.unique(file.read(1))) == {10, 200}


def test_damaged_files_are_named_and_the_others_go_in(tmp_path: Path, workspace: Workspace) -> None:
    folder = tmp_path / "scenes"
    whole = image(
        folder / "a_20190101.tif", ramp(1, 600, 600), driver="COG", compress="deflate"
    ).read_bytes()
    (folder / "cut_20190102.tif").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "text_20190103.tif").write_text("no image")
    (folder / "empty_20190104.tif").write_bytes(b"")
    image(folder / "undated.tif", ramp(1, 4, 4))
    image(folder / "huge_20190105.tif", ramp(1, 2100, 2100))
    (folder / "bad.nc").write_bytes(sample_files().cube_10m.read_bytes()[:200_000])
    sliced(folder / "good.nc", slice(0, 1))
    (folder / "notes.txt").write_text("ignored")
    progress = Notes()

    report = ingest([folder], "s2", workspace, progress=progress)

    assert report.made == 2
    assert set(report.failed) == {
        "cut_20190102.tif", "text_20190103.tif", "empty_20190104.tif", "undated.tif",
        "huge_20190105.tif", "bad.nc",
    }  # fmt: skip
    assert "cut short" in report.failed["cut_20190102.tif"]
    assert "--datetime" in report.failed["undated.tif"]
    assert "--copy" in report.failed["huge_20190105.tif"]
    assert len(progress.notes) == 6
    assert str(tmp_path) not in json.dumps(dict(report.failed))


def test_damage_inside_a_tile_is_found_on_request(tmp_path: Path, workspace: Workspace) -> None:
    noise = np.random.default_rng(3).integers(0, 999, (1, 512, 512), "uint16")
    path = image(tmp_path / "a_20190101.tif", noise, driver="COG", compress="deflate")
    data = bytearray(path.read_bytes())
    data[-3000:-2000] = bytes(1000)
    path.write_bytes(data)

    assert ingest([path], "s2", workspace, options=IngestOptions(dry_run=True)).made == 1
    with pytest.raises(ArgumentInvalid, match=r"a_20190101\.tif: it is damaged"):
        ingest([path], "s2", workspace, options=IngestOptions(verify=True))
    with pytest.raises(ArgumentInvalid, match=r"a_20190101\.tif: it is damaged"):
        ingest([path], "s2", workspace, options=IngestOptions(copy=True))
    assert not list(workspace.assets.rglob("*.part*"))


def test_nothing_ingested_is_an_error_that_says_why(tmp_path: Path, workspace: Workspace) -> None:
    image(tmp_path / "tree.tif", ramp(1, 4, 4))

    with pytest.raises(ArgumentInvalid, match=r"tree\.tif: it has no date.*--datetime"):
        ingest([tmp_path / "tree.tif"], "tree", workspace)
    with workspace.catalog() as catalog:
        assert catalog.collections() == []


@pytest.mark.parametrize(
    ("paths", "collection", "options", "message"),
    [
        (["gone.tif"], "x", {}, "is not there"),
        (["notes.txt"], "x", {}, "cannot be ingested"),
        (["empty"], "x", {}, "nothing to ingest"),
        ([], "x", {}, "nothing to ingest"),
        (["a.tif"], "../x", {}, "is no id"),
        (["a.tif"], "", {}, "is no id"),
        (["a.tif"], "x", {"datetime": "soon"}, "is not a time"),
        (["a.tif"], "x", {"datetime": "2019/2018"}, "must be after"),
        (["a.tif"], "x", {"pattern": "("}, "no regular expression"),
        (["a.tif"], "x", {"pattern": "(?P<day>x)"}, "named groups"),
        (["a.tif"], "x", {"datetime": "2019", "bands": ("p", "q")}, "has 1 bands"),
        (["a.tif"], "x", {"pattern": r"_(?P<date>\d+)"}, "does not match"),
    ],
)
def test_bad_input_is_refused(
    tmp_path: Path,
    workspace: Workspace,
    paths: Sequence[str],
    collection: str,
    options: dict[str, Any],
    message: str,
) -> None:
    image(tmp_path / "a.tif", ramp(1, 4, 4))
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()

    with pytest.raises(ArgumentInvalid, match=message):
        ingest(
            [tmp_path / p for p in paths], collection, workspace, options=IngestOptions(**options)
        )


def test_date_is_taken_in_the_stated_order(tmp_path: Path, workspace: Workspace) -> None:
    tagged = image(
        tmp_path / "a_20190101.tif",
        ramp(1, 4, 4),
        tags={"TIFFTAG_DATETIME": "2018:02:03 04:05:06"},
    )

    def dated(collection: str, **options: Any) -> str:
        ingest([tagged], collection, workspace, options=IngestOptions(**options))
        properties: dict[str, Any] = items_of(workspace, collection)[0]["properties"]
        return str(properties["datetime"] or properties["start_datetime"])

    assert dated("name") == "2019-01-01T00:00:00Z"
    assert dated("pattern", pattern=r"a_(?P<date>\d+)") == "2019-01-01T00:00:00Z"
    assert dated("told", datetime="2017-06") == "2017-06-01T00:00:00Z"
    assert dated("period", datetime="2017/2018") == "2017-01-01T00:00:00Z"
    period = items_of(workspace, "period")[0]["properties"]
    assert (period["datetime"], period["end_datetime"]) == (None, "2018-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("S2A_MSIL1C_20190501T103021_N0207_R108_T32TNS_20190502T120000", "2019-05-01T10:30:21"),
        ("LC08_L1TP_193027_20190501_20190508_01_T1", "2019-05-01T00:00:00"),
        ("HLS.S30.T32TNS.2019121T103021.v1.4", "2019-05-01T10:30:21"),
        ("MOD13Q1.A2019121.h18v04.006.2019140000000", "2019-05-01T00:00:00"),
        ("ndvi-2019-05-01", "2019-05-01T00:00:00"),
        ("x_20190501103021_y", "2019-05-01T10:30:21"),
        ("1234567_20190501", "2019-05-01T00:00:00"),
        ("2018366_x", None),
        ("2020366_x", "2020-12-31T00:00:00"),
        ("x_20191301", None),
        ("x_20190229_20190301", "2019-03-01T00:00:00"),
        ("x_201905011", None),
        ("tree_cover_density_2018", None),
    ],
)
def test_dates_in_names(name: str, expected: str | None) -> None:
    found = date_in(name)

    assert found == (expected and datetime.fromisoformat(expected).replace(tzinfo=UTC))


def test_tags_without_a_date_are_passed_over() -> None:
    assert date_of_tags({"TIFFTAG_DATETIME": "0000:00:00 00:00:00", "other": "2019"}) is None
    assert date_of_tags({"ACQUISITION_DATE": "2019-05-01"}) == datetime(2019, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "item", "band"),
    [
        ("T32_20190501_B04.tif", "T32_20190501", "B04"),
        ("T32_20190501_B8A_20m.jp2", "T32_20190501_20m", "B8A"),
        ("LC08_20190501_SR_B4.TIF", "LC08_20190501", "SR_B4"),
        ("HLS.2019121.Fmask.tif", "HLS.2019121", "Fmask"),
        ("a/b/ndvi-2019-05-01.tif", "2019-05-01", "ndvi"),
        ("B04.tif", "", "B04"),
    ],
)
def test_bands_in_names(name: str, item: str, band: str) -> None:
    parts = read_name(name)

    assert (parts.item, parts.band) == (item, band)


def test_pattern_finds_date_band_and_item_in_the_path(tmp_path: Path, workspace: Workspace) -> None:
    for day in ("20190501", "20190502"):
        for band in ("first", "second"):
            image(tmp_path / "in" / day / f"{band}.tif", ramp(1, 4, 4))
    pattern = r"(?P<date>\d{8})/(?P<band>\w+)"

    ingest([tmp_path / "in"], "s2", workspace, options=IngestOptions(pattern=pattern))

    items = items_of(workspace, "s2")
    assert [i["id"] for i in items] == ["20190501", "20190502"]
    assert [list(i["assets"]) for i in items] == [["first", "second"]] * 2


def test_files_that_would_be_the_same_asset_are_told_apart(
    tmp_path: Path, workspace: Workspace
) -> None:
    for folder in ("one", "two"):
        image(tmp_path / "in" / folder / "x_20190501_B04.tif", ramp(1, 4, 4))

    report = ingest([tmp_path / "in"], "s2", workspace)
    apart = ingest(
        [tmp_path / "in"], "s3", workspace, options=IngestOptions(pattern=r"(?P<item>\w+)/")
    )

    assert (report.made, list(report.failed)) == (1, ["two/x_20190501_B04.tif"])
    assert "(?P<item>" in report.failed["two/x_20190501_B04.tif"]
    assert apart.made == 2


def test_band_names_come_from_descriptions_options_and_numbers(
    tmp_path: Path, workspace: Workspace
) -> None:
    described = image(tmp_path / "a_20190101.tif", ramp(2, 4, 4), names=("red", "nir"))
    bare = image(tmp_path / "b_20190101.tif", ramp(2, 4, 4))

    ingest([described], "described", workspace)
    ingest([bare], "numbered", workspace)
    ingest([described], "told", workspace, options=IngestOptions(bands=("p", "q")))

    def names(collection: str) -> list[tuple[str, str]]:
        return [(b.name, b.common_name) for b in read_bands(collection_of(workspace, collection))]

    assert names("described") == [("red", "red"), ("nir", "nir")]
    assert names("numbered") == [("band1", ""), ("band2", "")]
    assert names("told") == [("p", ""), ("q", "")]


def test_link_out_of_the_folder_is_not_followed(tmp_path: Path, workspace: Workspace) -> None:
    secret = image(tmp_path / "elsewhere" / "secret_20190101.tif", ramp(1, 4, 4))
    folder = tmp_path / "in"
    image(folder / "own_20190101.tif", ramp(1, 4, 4))
    (folder / "link_20190102.tif").symlink_to(secret)

    report = ingest([folder], "s2", workspace)

    assert report.made == 1
    assert "outside" in report.failed["link_20190102.tif"]


def test_roots_are_remembered_once_and_never_the_whole_disk(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (tmp_path / "data" / "sub").mkdir(parents=True)

    remember_root(home, tmp_path / "data")
    remember_root(home, tmp_path / "data" / "sub")
    remember_root(home, home / "assets")

    assert Workspace.of(home, roots=[tmp_path]).roots == (tmp_path, tmp_path / "data")
    with pytest.raises(ArgumentInvalid, match="every file of this machine"):
        remember_root(home, Path("/"))
    (home / "roots.json").write_text("{")
    with pytest.raises(ArgumentInvalid, match="Delete it"):
        Workspace.of(home)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_unwritable_home_is_an_output_error(tmp_path: Path) -> None:
    path = sliced(tmp_path / "cube.nc", slice(0, 1))
    home = tmp_path / "home"
    home.mkdir(mode=0o500)

    with pytest.raises(OutputFailed):
        ingest([path], "s2", Workspace(home))


def test_grids_beyond_180_degrees_get_a_proper_bbox() -> None:
    globe = Grid.of("EPSG:4326", -0.5, 90.5, 1.0, 181, 360)
    pacific = Grid.of("EPSG:4326", 170.0, 10.0, 1.0, 20, 30)
    plain = Grid.of("EPSG:4326", 10.0, 50.0, 0.1, 20, 30)

    assert footprint([globe])[0] == (-180.0, -90.0, 180.0, 90.0)
    assert footprint([pacific]) == ((170.0, -10.0, -160.0, 10.0), None)
    box, geometry = footprint([plain])
    assert box == pytest.approx((10.0, 48.0, 13.0, 50.0))
    assert geometry is not None


def test_datum_shift_in_old_wkt_does_not_hide_the_code() -> None:
    with xr.open_dataset(sample_files().cube_10m) as data:
        text = data.spatial_ref.attrs["spatial_ref"]

    assert crs_name(text) == "EPSG:3035"
    assert crs_name(text.replace("4321000", "4321001")) != "EPSG:3035"
    assert crs_name("EPSG:32633") == "EPSG:32633"


def test_sample_files_are_found_without_importing_their_package() -> None:
    code = (
        "import sys; from terrazzo.drivers.sample import sample_files; f = sample_files();"
        "print(f.cube_10m.name, f.tree_cover.is_file(), 'nrt' in sys.modules)"
    )

    told = subprocess.check_output([sys.executable, "-c", code], text=True)

    assert told.split() == ["sentinel2_cube_subset_romania_10m.nc", "True", "False"]


def test_missing_sample_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terrazzo.drivers.sample.PACKAGE", "no-such-package")

    with pytest.raises(SampleMissing, match=r"pip install 'terrazzo\[sample\]'.*make setup"):
        sample_files()
