"""Files of arrays become items: Zarr, groups, periods, classes, longitudes, and GRIB."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from rasterio.transform import Affine
from tests.drivers.test_ingest import items_of
from tests.storage.test_writers import TIMES, cube_of

from terrazzo.catalog import read_bands
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.ingestion import arrays
from terrazzo.drivers.job import Workspace
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.grid import Grid
from terrazzo.processes.load import LoadRequest
from terrazzo.storage.arrays import cf_cube
from terrazzo.storage.writers.zarr import write_zarr

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GRID = Grid.of(32633, 500_000.0, 5_000_000.0, 10.0, 700, 600)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home")


def pixels_of(asset: dict[str, Any]) -> np.ma.MaskedArray[Any, Any]:
    with rasterio.open(asset["href"]) as file:
        found: np.ma.MaskedArray[Any, Any] = file.read(1, masked=True)
    return found


def degrees(lat: Sequence[float], lon: Sequence[float]) -> dict[str, Any]:
    return {
        "lat": ("lat", np.asarray(lat, float), {"units": "degrees_north"}),
        "lon": ("lon", np.asarray(lon, float), {"units": "degrees_east"}),
    }


def series(days: int) -> xr.Dataset:
    values = np.random.default_rng(3).random((days, 20, 30)).astype("float32")
    return xr.Dataset(
        {"v": (("time", "lat", "lon"), values)},
        {**degrees(50 - np.arange(20.0), 5 + np.arange(30.0)),
         "time": np.arange(days).astype("m8[D]") + np.datetime64("2020-01-01", "ns")},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("float32", None), ("float64", -9999.0), ("uint16", 0), ("int16", -1), ("bool", None)],
)
def test_stores_that_terrazzo_wrote_come_back_equal(
    tmp_path: Path, workspace: Workspace, dtype: str, nodata: float | None
) -> None:
    cube = cube_of(dtype, times=TIMES, grid=GRID)
    path = write_zarr(tmp_path / "r.zarr.zip", [cube], GRID, probe=cube, nodata=nodata,
                      overviews="average")  # fmt: skip
    folder = tmp_path / "unpacked"
    shutil.unpack_archive(path, folder, "zip")

    report = ingest([path, folder], "z", workspace)

    items = items_of(workspace, "z")
    assert (report.made, dict(report.failed)) == (4, {})
    assert sorted({item["properties"]["datetime"] for item in items}) == sorted(TIMES)
    for item in items:
        index = TIMES.index(item["properties"]["datetime"])
        for band in (0, 1):
            asset = item["assets"][f"B{band}"]
            found = pixels_of(asset)
            np.testing.assert_array_equal(np.ma.getmaskarray(found), ~cube.valid[index, band])
            np.testing.assert_array_equal(
                found.compressed(), cube.values[index, band][cube.valid[index, band]]
            )
            assert asset["proj:code"] == "EPSG:32633"
            assert asset["proj:shape"] == [700, 600]
            assert asset["proj:transform"][2] == 500_000.0


@pytest.mark.parametrize("version", [2, 3])
def test_a_store_that_grew_by_a_date_gives_one_item_more(
    tmp_path: Path, workspace: Workspace, version: int
) -> None:
    path = tmp_path / "s.zarr"
    series(3).to_zarr(path, zarr_format=version, consolidated=False)
    first = ingest([path], "s", workspace)
    again = ingest([path], "s", workspace)
    shutil.rmtree(path)
    series(4).to_zarr(path, zarr_format=version, consolidated=False)

    grown = ingest([path], "s", workspace)

    assert (first.made, again.made, again.kept) == (3, 0, 3)
    assert (grown.made, grown.kept) == (1, 3)
    assert [item["id"] for item in items_of(workspace, "s")] == [
        f"s_2020010{day}" for day in (1, 2, 3, 4)
    ]
    last = items_of(workspace, "s")[3]["assets"]["v"]
    np.testing.assert_array_equal(pixels_of(last), series(4)["v"][3])


def test_images_larger_than_a_block_are_those_of_the_file(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "_EDGE", 7)
    series(1).to_zarr(tmp_path / "s.zarr", zarr_format=3, consolidated=False)

    report = ingest([tmp_path / "s.zarr"], "s", workspace)
    again = ingest([tmp_path / "s.zarr"], "s", workspace)

    (item,) = items_of(workspace, "s")
    assert (report.made, again.kept) == (1, 1)
    np.testing.assert_array_equal(pixels_of(item["assets"]["v"]), series(1)["v"][0])


def test_groups_of_different_pixels_are_one_item(tmp_path: Path, workspace: Workspace) -> None:
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=3)
    for group, step in (("fine", 10.0), ("coarse", 20.0)):
        size = int(40 / step)
        made = root.create_group(group)
        made.attrs.update({"proj:code": "EPSG:32633",
                           "spatial:transform": [step, 0, 300_000, 0, -step, 5_000_000],
                           "spatial:dimensions": ["y", "x"]})  # fmt: skip
        for name in ("red", group):
            made.create_array(name, data=np.full((size, size), step, "i2"), chunks=(2, 2),
                              dimension_names=("y", "x"))  # fmt: skip

    ingest([tmp_path / "a.zarr"], "g", workspace, options=IngestOptions(datetime="2020-05-01"))

    (item,) = items_of(workspace, "g")
    found = {key: pixels_of(asset).shape for key, asset in item["assets"].items()}
    assert found == {"coarse_red": (2, 2), "coarse": (2, 2), "fine_red": (4, 4), "fine": (4, 4)}
    with rasterio.open(item["assets"]["coarse"]["href"]) as file:
        assert file.transform == Affine(20, 0, 300_000, 0, -20, 5_000_000)


def test_periods_classes_wavelengths_and_units_are_in_the_items(
    tmp_path: Path, workspace: Workspace
) -> None:
    told = {"units": "days since 2000-01-01", "bounds": "b"}
    classes = {"flag_values": np.array([0, 1], "u1"), "flag_meanings": "land open_water"}
    light = {"units": "1", "long_name": "reflectance", "wavelength": 665.0}
    data = xr.Dataset(
        {"b": (("time", "two"), [[0.0, 31.0]]),
         "mask": (("lat", "lon"), np.eye(3, dtype="u1"), classes),
         "r": (("time", "lat", "lon"), np.random.default_rng(0).random((1, 3, 3)), light)},
        {**degrees([2, 1, 0], [0, 1, 2]), "time": ("time", [15.0], told)},
    )  # fmt: skip
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")

    ingest([tmp_path / "a.nc"], "a", workspace)

    (item,) = items_of(workspace, "a")
    assert item["properties"]["start_datetime"] == "2000-01-01T00:00:00Z"
    assert item["properties"]["end_datetime"] == "2000-02-01T00:00:00Z"
    assert [one["name"] for one in item["assets"]["mask"]["classification:classes"]] == [
        "land", "open_water",
    ]  # fmt: skip
    assert any("classification" in url for url in item["stac_extensions"])
    bands = {band.name: band for band in read_bands(item)}
    assert (bands["r"].common_name, bands["r"].wavelength_um) == ("red", 0.665)
    assert (bands["r"].unit, bands["r"].description) == ("1", "reflectance [1]")


def test_dates_that_come_twice_are_items_of_their_own(tmp_path: Path, workspace: Workspace) -> None:
    data = series(3)
    data["time"] = data["time"].isel(time=[0, 1, 1]).to_numpy()
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")

    ingest([tmp_path / "a.nc"], "a", workspace)

    items = {item["id"]: item for item in items_of(workspace, "a")}
    assert sorted(items) == ["a_20200101", "a_20200102", "a_20200102_2"]
    np.testing.assert_array_equal(pixels_of(items["a_20200102_2"]["assets"]["v"]), data["v"][2])


def test_what_is_missing_is_asked_for_by_its_option(tmp_path: Path, workspace: Workspace) -> None:
    xr.Dataset(
        {"v": (("y", "x"), np.zeros((2, 2)))}, {"y": [20.0, 10.0], "x": [0.0, 10.0]}
    ).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")

    with pytest.raises(ArgumentInvalid, match="--crs"):
        ingest([tmp_path / "a.nc"], "a", workspace)
    with pytest.raises(ArgumentInvalid, match="--datetime"):
        ingest([tmp_path / "a.nc"], "a", workspace, options=IngestOptions(crs="EPSG:32633"))
    report = ingest([tmp_path / "a.nc"], "a", workspace,
                    options=IngestOptions(crs="EPSG:32633", datetime="2020-01-01"))  # fmt: skip

    assert report.made == 1


def test_the_rest_goes_in_and_the_report_says_what_was_left_out(
    tmp_path: Path, workspace: Workspace
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    series(1).to_netcdf(folder / "good.nc", engine="h5netcdf")
    series(1).to_zarr(folder / "broken.zarr", zarr_format=3, consolidated=False)
    (folder / "broken.zarr/v/zarr.json").write_text("{")
    (folder / "old.hdf").write_bytes(b"\x0e\x03\x13\x01" + bytes(64))
    (folder / "bad.grib2").write_bytes(b"GRIB" + bytes(64))
    (folder / "cut.h5").write_bytes((folder / "good.nc").read_bytes()[:999])

    report = ingest([folder], "a", workspace)

    assert report.made == 1
    assert set(report.failed) == {"broken.zarr", "old.hdf", "bad.grib2", "cut.h5"}
    assert all(str(tmp_path) not in reason for reason in report.failed.values())


def test_what_is_not_taken_in_of_a_file_is_noted(tmp_path: Path, workspace: Workspace) -> None:
    data = series(2).assign(table=(("row", "column"), np.zeros((3, 4))))
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")

    report = ingest([tmp_path / "a.nc"], "a", workspace)

    assert report.made == 2
    (notes,) = report.notes.values()
    assert "'table' is left out" in notes[0]


def test_dates_in_one_chunk_are_decoded_once_and_right(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = series(9).assign(w=lambda data: data["v"] * 2)
    for number, kept in enumerate((cf_cube.KEPT_BYTES, 30_000, 0)):
        path = tmp_path / f"s{number}.zarr"
        whole.to_zarr(path, zarr_format=3, consolidated=False,
                      encoding={"v": {"chunks": (4, 20, 30)},
                                "w": {"chunks": (4, 7, 9)}})  # fmt: skip
        monkeypatch.setattr(cf_cube, "KEPT_BYTES", kept)

        ingest([path], f"s{number}", workspace)

        for index, item in enumerate(items_of(workspace, f"s{number}")):
            for name in ("v", "w"):
                np.testing.assert_array_equal(pixels_of(item["assets"][name]), whole[name][index])


# Longitudes


@pytest.fixture(scope="module")
def globe(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, xr.Dataset]:
    """A global field counted from 0 to 360, pixels centred on whole degrees."""
    folder = tmp_path_factory.mktemp("globe")
    lat, lon = np.arange(88.0, -90, -4), np.arange(0.0, 360, 4)
    values = (lat[:, None] * 1000 + lon[None]).astype("float32")
    data = xr.Dataset({"v": (("lat", "lon"), values)}, degrees(lat, lon))
    data.to_netcdf(folder / "g_20200101.nc", engine="h5netcdf")
    workspace = Workspace(folder / "home")
    ingest([folder / "g_20200101.nc"], "g", workspace)
    return workspace, data


@pytest.mark.parametrize(
    "box",
    [(-10.0, -10.0, 10.0, 10.0), (170.0, 0.0, 180.0, 10.0), (-180.0, 0.0, -170.0, 10.0),
     (-60.0, 20.0, -40.0, 30.0), (100.0, -30.0, 120.0, -20.0)],
)  # fmt: skip
def test_longitudes_to_360_are_found_and_right_everywhere(
    globe: tuple[Workspace, xr.Dataset], box: tuple[float, float, float, float]
) -> None:
    workspace, data = globe
    with workspace.catalog() as catalog:
        found = list(catalog.search(("g",), bbox=box))
    source = workspace.opener().open(LoadRequest("g", None, None, None, None, {}))
    west, south, east, north = box
    target = Grid.of(4326, west, north, 1.0, int(north - south), int(east - west))

    cube = source.read(target, target.window, {}, "near")

    assert len(found) == 1
    centres = np.arange(west + 0.5, east), np.arange(north - 0.5, south, -1)
    expected = data["v"].sel(lon=centres[0] % 360, lat=centres[1], method="nearest").to_numpy()
    across = centres[0] % 360 > 358  # the pixel centred on 0 reaches from -2 to 2
    expected[:, across] = (
        data["v"].sel(lat=centres[1], lon=0.0, method="nearest").to_numpy()[:, None]
    )
    assert cube.valid.all()
    np.testing.assert_array_equal(cube.values[0, 0], expected)


# GRIB


@pytest.fixture
def grib(tmp_path: Path) -> Path:
    """Temperatures of two times and two levels, longitudes 0 to 360, written by GDAL."""
    values = np.arange(4 * 18 * 36).reshape(4, 18, 36).astype("float32") / 8 + 250
    shape = {"count": 4, "height": 18, "width": 36, "dtype": "float32"}
    place = {"crs": "EPSG:4326", "transform": Affine(10, 0, -5, 0, -10, 90)}
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", **shape, **place) as file:
        file.write(values)
    options = ["DATA_ENCODING=IEEE_FLOATING_POINT",
               "IDS=CENTER=98 SIGNF_REF_TIME=1 REF_TIME=2020-06-01T00:00:00Z TYPE=1"]  # fmt: skip
    for number, (hour, level) in enumerate([(6, 2), (6, 10), (12, 2), (12, 10)], 1):
        values_of = f"0 0 2 0 96 0 0 1 {hour} 103 0 {level} 255 0 0"
        options += [f"BAND_{number}_PDS_PDTN=0",
                    f"BAND_{number}_PDS_TEMPLATE_ASSEMBLED_VALUES={values_of}"]  # fmt: skip
    subprocess.run(
        ["gdal_translate", "-q", "-of", "GRIB", *(part for one in options for part in ("-co", one)),
         str(tmp_path / "a.tif"), str(tmp_path / "f.grib2")],
        check=True, capture_output=True,
    )  # fmt: skip
    (tmp_path / "a.tif").unlink()
    return tmp_path / "f.grib2"


@pytest.mark.skipif(not shutil.which("gdal_translate"), reason="needs gdal-bin")
def test_grib_messages_become_dates_and_bands(grib: Path, workspace: Workspace) -> None:
    report = ingest([grib], "w", workspace)

    items = items_of(workspace, "w")
    assert (report.made, dict(report.failed)) == (2, {})
    assert [item["properties"]["datetime"] for item in items] == [
        "2020-06-01T06:00:00Z", "2020-06-01T12:00:00Z",
    ]  # fmt: skip
    assert [list(item["assets"]) for item in items] == [["TMP_2-HTGL", "TMP_10-HTGL"]] * 2
    for index, (item, key) in enumerate(
        (item, key) for item in items for key in ("TMP_2-HTGL", "TMP_10-HTGL")
    ):
        found = pixels_of(item["assets"][key])
        told = subprocess.check_output(
            ["gdallocationinfo", "-valonly", "--config", "GRIB_NORMALIZE_UNITS", "NO",
             "--config", "GRIB_ADJUST_LONGITUDE_RANGE", "NO",
             "-b", str(index + 1), str(grib), "20", "7"]
        )  # fmt: skip
        with rasterio.open(item["assets"][key]["href"]) as file:
            assert file.transform == Affine(10, 0, -5, 0, -10, 90)
            assert file.crs.to_epsg() == 4326
        assert found[7, 20] == pytest.approx(float(told), rel=1e-6)
    bands = {band.name: band for band in read_bands(items[0])}
    assert bands["TMP_2-HTGL"].unit == "K"
    assert bands["TMP_2-HTGL"].description.startswith("Temperature")


@pytest.mark.skipif(not shutil.which("gdal_translate"), reason="needs gdal-bin")
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_grib_that_is_cut_short_is_left_out_as_far_as_it_is_damaged(
    grib: Path, workspace: Workspace, share: float
) -> None:
    whole = grib.read_bytes()
    grib.write_bytes(whole[: int(len(whole) * share)])

    try:
        report = ingest([grib], "w", workspace)
    except ArgumentInvalid as refused:
        assert "Nothing was ingested" in str(refused)  # noqa: PT017 - either is right
    else:
        assert report.made < 2


@pytest.mark.skipif(not shutil.which("gdal_translate"), reason="needs gdal-bin")
def test_grib_messages_on_several_grids_are_not_mixed(grib: Path, workspace: Workspace) -> None:
    """GDAL would put all of them on the grid of the first one."""
    other = grib.with_name("other.grib2")
    subprocess.run(
        ["gdal_translate", "-q", "-of", "GRIB", "-b", "1", "-outsize", "18", "9", str(grib),
         str(other)],
        check=True, capture_output=True,
    )  # fmt: skip
    grib.write_bytes(grib.read_bytes() + other.read_bytes())

    with pytest.raises(ArgumentInvalid, match="messages on 2 grids"):
        ingest([grib], "w", workspace)


# Real files, at known points, against xarray


def sampled(asset: dict[str, Any], points: list[tuple[float, float]]) -> list[float]:
    with rasterio.open(asset["href"]) as file:
        return [value[0] for value in file.sample(points)]


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("cams_aod550_global/z_cams*.nc", ("latitude", "longitude", "time")),
        ("eofs_climate/sst_ndjfm_anom.nc", ("latitude", "longitude", "time")),
        ("worldcereal_be2018_patch/CropCalendar*.nc", ("y", "x", "")),
        ("worldcereal_be2018_patch/OUTPUT_POLY*.nc", ("y", "x", "")),
    ],
)
def test_shared_cubes_are_right_at_known_points(
    shared: Path, workspace: Workspace, name: str, axes: tuple[str, str, str]
) -> None:
    path = next((shared / "data").glob(name))
    y, x, time = axes

    report = ingest([path], "c", workspace)

    items = items_of(workspace, "c")
    random = np.random.default_rng(11)
    assert dict(report.failed) == {}
    with xr.open_dataset(path, mask_and_scale=False, decode_times=False) as data:
        assert len(items) == data.sizes.get(time, 1)
        for index in sorted({0, len(items) // 2, len(items) - 1}):
            for key, asset in items[index]["assets"].items():
                image = data[key].isel({time: index} if time else {})
                rows = random.integers(0, data.sizes[y], 8)
                cols = random.integers(0, data.sizes[x], 8)
                points = [(float(data[x][c]), float(data[y][r]))
                          for r, c in zip(rows, cols, strict=True)]  # fmt: skip

                found = sampled(asset, points)

                np.testing.assert_array_equal(found, image.to_numpy()[rows, cols])


def test_shared_aerosol_is_found_and_read_on_both_sides_of_zero(
    shared: Path, workspace: Workspace
) -> None:
    path = next((shared / "data/cams_aod550_global").glob("*.nc"))
    ingest([path], "cams", workspace)
    with xr.open_dataset(path) as data:
        field = data["aod550"].squeeze().to_numpy()
    source = workspace.opener().open(LoadRequest("cams", None, None, None, None, {}))

    for west in (-10.0, -180.0, 172.0):
        target = Grid.of(4326, west - 0.2, 43.8, 0.4, 20, 20)
        cube = source.read(target, target.window, {}, "near")
        with workspace.catalog() as catalog:
            found = list(catalog.search(("cams",), bbox=(west, 36.0, west + 7.6, 43.6)))

        cols = (round(west / 0.4) + np.arange(20)) % 900
        rows = round((90 - 43.6) / 0.4) + np.arange(20)
        assert len(found) == 1
        assert cube.valid.all()
        np.testing.assert_array_equal(cube.values[0, 0], field[np.ix_(rows, cols)])


ABOUT = {
    "title": "Snow depth",
    "institution": "Institute of Snow",
    "keywords": "snow, depth; snow,  winter ",
    "summary": "How deep the snow lies,\n day by day.",
}


def told_series(path: Path, **attributes: str) -> None:
    series(1).assign_attrs(attributes).to_netcdf(path, engine="h5netcdf")


def test_what_a_file_says_of_its_data_set_is_said_of_a_new_collection(
    tmp_path: Path, workspace: Workspace
) -> None:
    told_series(tmp_path / "a.nc", **ABOUT)

    ingest([tmp_path / "a.nc"], "a", workspace)
    ingest([tmp_path / "a.nc"], "b", workspace, options=IngestOptions(title="Mine"))

    with workspace.catalog() as catalog:
        mine, theirs = catalog.collection("b"), catalog.collection("a")
    assert (theirs["title"], theirs["keywords"]) == ("Snow depth", ["snow", "depth", "winter"])
    assert theirs["providers"] == [{"name": "Institute of Snow", "roles": ["producer"]}]
    assert theirs["description"] == "How deep the snow lies, day by day."
    assert (mine["title"], mine["description"], mine["providers"]) == (
        "Mine", "Mine", theirs["providers"],
    )  # fmt: skip


def test_what_files_do_not_agree_on_is_not_said_of_their_collection(
    tmp_path: Path, workspace: Workspace
) -> None:
    told_series(tmp_path / "a.nc", **ABOUT)
    told_series(tmp_path / "b.nc", **(ABOUT | {"title": "Another day"}))

    ingest([tmp_path / "a.nc", tmp_path / "b.nc"], "a", workspace)

    with workspace.catalog() as catalog:
        found = catalog.collection("a")
    assert "title" not in found
    assert found["keywords"] == ["snow", "depth", "winter"]


def test_bits_have_meanings_and_are_never_averaged(tmp_path: Path, workspace: Workspace) -> None:
    told = {
        "flag_masks": np.array([1, 2, 12, 12, 12], "u2"),
        "flag_values": np.array([1, 2, 4, 8, 12], "u2"),
        "flag_meanings": "cloud shadow low medium high",
    }
    numbers = np.random.default_rng(1).integers(0, 16, (1200, 1200)).astype("u2")
    numbers[0, 0] = 4096  # so that they are not stored as bytes, which are never averaged
    data = xr.Dataset(
        {"qa": (("lat", "lon"), numbers, told)},
        degrees(50 - np.arange(1200) / 1000, 5 + np.arange(1200) / 1000),
    )
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")

    ingest([tmp_path / "a.nc"], "a", workspace, options=IngestOptions(datetime="2020-01-01"))

    (item,) = items_of(workspace, "a")
    asset = item["assets"]["qa"]
    fields = {one["name"]: one for one in asset["classification:bitfields"]}
    assert [(f["offset"], f["length"]) for f in fields.values()] == [(0, 1), (1, 1), (2, 2)]
    levels = {one["value"]: one["name"] for one in fields["bits_2_3"]["classes"]}
    assert levels == {1: "low", 2: "medium", 3: "high"}
    with rasterio.open(asset["href"], overview_level=0) as file:
        small = file.read(1)
    quads = numbers.reshape(600, 2, 600, 2).transpose(0, 2, 1, 3).reshape(600, 600, 4)
    assert (small[..., np.newaxis] == quads).any(axis=-1).all()
