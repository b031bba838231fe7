"""Swaths go in: level-2 products as satellites deliver them, every value where it was measured."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import rasterio
import xarray as xr
from pyproj import Transformer
from scipy.io import netcdf_file
from scipy.spatial import cKDTree
from shapely import Point
from shapely.geometry import shape
from tests.drivers import swaths

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.grid import Grid
from terrazzo.geo.swath import unit_vectors
from terrazzo.processes.load import LoadRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NO2 = "nitrogendioxide_tropospheric_column"


def items_of(home: Path) -> list[dict[str, Any]]:
    with Workspace.of(home).catalog() as catalog:
        return list(catalog.search(("c",)))


def taken_in(path: Path, home: Path, **options: Any) -> list[dict[str, Any]]:
    ingest([path], "c", Workspace.of(home), options=IngestOptions(**options))
    return items_of(home)


def pixels(item: dict[str, Any], key: str) -> tuple[Floats, NDArray[np.bool_], Floats, Floats]:
    """Physical values, where there are any, and longitudes and latitudes of the cells."""
    asset = item["assets"][key]
    with rasterio.open(asset["href"]) as file:
        found = file.read(1, masked=True)
        cols, rows = np.meshgrid(np.arange(file.width) + 0.5, np.arange(file.height) + 0.5)
        x, y = file.transform @ (cols, rows)
    band = asset["bands"][0]
    values = found.filled(0).astype(np.float64) * band.get("raster:scale", 1)
    there = ~np.ma.getmaskarray(found)
    return values + band.get("raster:offset", 0), there, x, y


def small(begin: float = 40, node: float = 20, rows: int = 80) -> tuple[Floats, Floats]:
    return swaths.orbit(begin, begin + rows / 20, rows, swaths.widening(61, 350, 4), node)


def half_diagonal(longitudes: Floats, latitudes: Floats) -> float:
    """Kilometres from the centre of the largest pixel to its corner."""
    at = unit_vectors(longitudes, latitudes) * swaths.EARTH_KM
    along = np.linalg.norm(np.diff(at, axis=0), axis=-1).max()
    across = np.linalg.norm(np.diff(at, axis=1), axis=-1).max()
    return 1.02 * float(np.hypot(along, across)) / 2


@pytest.mark.parametrize(("begin", "node"), [(40, 20), (35, -172), (-4, 0), (83, 100)])
def test_values_are_those_of_the_pixel_that_covers_the_place(
    tmp_path: Path, begin: float, node: float
) -> None:
    longitudes, latitudes = small(begin, node)
    path = swaths.sentinel5p(tmp_path / f"{swaths.S5P_NAME}.nc", longitudes, latitudes)

    (item,) = taken_in(path, tmp_path / "home")

    values, there, x, y = pixels(item, NO2)
    off = np.abs(values - swaths.field(x, y))[there].max()
    assert off <= swaths.steepest() * half_diagonal(longitudes, latitudes)
    tree = cKDTree(unit_vectors(longitudes, latitudes).reshape(-1, 3))
    away = tree.query(unit_vectors(x, y).reshape(-1, 3))[0].reshape(x.shape) * swaths.EARTH_KM
    assert away[there].max() <= half_diagonal(longitudes, latitudes)
    assert there[away < 1.9].all()  # half of the smallest pixel
    outline = shape(item["geometry"])
    east = (x[there] + 180) % 360 - 180
    assert all(outline.covers(Point(*at)) for at in zip(east[::97], y[there][::97], strict=True))


def test_a_tropomi_orbit_says_what_it_is(tmp_path: Path) -> None:
    path = swaths.sentinel5p(tmp_path / f"{swaths.S5P_NAME}.nc", *small(), missing=20)

    (item,) = taken_in(path, tmp_path / "home")

    assert item["id"] == swaths.S5P_NAME
    assert item["properties"]["start_datetime"] == "2019-07-04T10:31:40Z"
    assert item["properties"]["end_datetime"] == "2019-07-04T11:30:00Z"
    assert item["properties"]["platform"] == "sentinel-5p"
    assert item["properties"]["sat:absolute_orbit"] == 8923
    assert set(item["assets"]) == {NO2, "qa_value"}
    quality = item["assets"]["qa_value"]["bands"][0]
    assert (quality["raster:scale"], quality["nodata"]) == (0.01, 255)
    column = item["assets"][NO2]["bands"][0]
    assert column["description"] == "Tropospheric vertical column of NO2 [mol m-2]"
    shares, there, _, _ = pixels(item, "qa_value")
    assert set(np.round(shares[there], 6).tolist()) == {0.55, 1.0}


def test_pixels_without_data_stay_without(tmp_path: Path) -> None:
    longitudes, latitudes = small()
    path = swaths.sentinel5p(tmp_path / f"{swaths.S5P_NAME}.nc", longitudes, latitudes, missing=20)

    (item,) = taken_in(path, tmp_path / "home")

    _, there, x, y = pixels(item, NO2)
    _, covered, _, _ = pixels(item, "qa_value")
    tree = cKDTree(unit_vectors(longitudes, latitudes).reshape(-1, 3))
    column = tree.query(unit_vectors(x, y).reshape(-1, 3))[1].reshape(x.shape) % 61
    assert covered[(column < 19) & covered].sum() > 500
    assert not there[column < 19].any()
    np.testing.assert_array_equal(there[column > 20], covered[column > 20])


def test_a_swath_across_the_antimeridian_is_read_from_both_sides(tmp_path: Path) -> None:
    longitudes, latitudes = small(35, -172)
    path = swaths.sentinel5p(tmp_path / f"{swaths.S5P_NAME}.nc", longitudes, latitudes)
    assert (np.abs(np.diff(longitudes)) > 300).any()

    (item,) = taken_in(path, tmp_path / "home")

    assert item["bbox"][0] > item["bbox"][2]
    asked = LoadRequest("c", None, None, None, (NO2,), {})
    source = Workspace.of(tmp_path / "home").opener().open(asked)
    for west in (178.0, -180.0, 180.0):
        grid = Grid.of_bounds("EPSG:4326", (west, 36.0, west + 1.9, 38.0), 0.05)
        cube = source.read(grid, grid.window, {}, "near")
        off = cube.values[0, 0] - swaths.field(*centres(grid))
        assert cube.valid.all()
        assert np.abs(off).max() <= 2 * swaths.steepest() * half_diagonal(longitudes, latitudes)


def centres(grid: Grid) -> list[Floats]:
    return np.meshgrid(grid.xs(grid.window), grid.ys(grid.window))


def test_other_variables_are_had_by_name(tmp_path: Path) -> None:
    path = swaths.sentinel5p(tmp_path / f"{swaths.S5P_NAME}.nc", *small())
    notes = ingest(
        [path], "c", Workspace.of(tmp_path / "all"), options=IngestOptions(dry_run=True)
    ).notes

    (item,) = taken_in(path, tmp_path / "home", bands=("cloud_fraction", "averaging_kernel", NO2))

    kernels = {f"averaging_kernel_{k}" for k in range(3)}
    assert set(item["assets"]) == {"cloud_fraction", NO2} | kernels
    values, there, _, _ = pixels(item, NO2)
    for key, expected in (("cloud_fraction", values / 400), ("averaging_kernel_2", values + 2)):
        found, same, _, _ = pixels(item, key)
        np.testing.assert_array_equal(same, there)
        np.testing.assert_allclose(found[there], expected[there], rtol=1e-6)
    ((said,),) = notes.values()
    assert "--bands: PRODUCT/averaging_kernel, PRODUCT/SUPPORT_DATA" in said
    with pytest.raises(ArgumentInvalid, match=r"no variable 'cloud_fracton'.*cloud_fraction"):
        taken_in(path, tmp_path / "wrong", bands=("cloud_fracton",))


def test_the_grid_is_as_told(tmp_path: Path) -> None:
    longitudes, latitudes = small()
    path = swaths.plain(tmp_path / "plain.nc", longitudes, latitudes)

    (item,) = taken_in(path, tmp_path / "home", crs="EPSG:32633", resolution=10_000.0)

    with rasterio.open(item["assets"]["f"]["href"]) as file:
        assert (file.crs.to_epsg(), file.res) == (32633, (10_000, 10_000))
        assert file.bounds.left % 10_000 == 0
        there = Transformer.from_crs("EPSG:4326", 32633, always_xy=True)
        found = file.read(1)[file.index(*there.transform(longitudes[40, 30], latitudes[40, 30]))]
    expected = swaths.field(longitudes[40, 30], latitudes[40, 30])
    assert abs(found - expected) < swaths.steepest() * 20
    assert item["properties"]["datetime"] == "2020-05-01T10:00:00Z"


def test_olci_is_gridded_by_its_own_positions(tmp_path: Path) -> None:
    longitudes, latitudes = small()
    swaths.olci(tmp_path / "in", longitudes, latitudes)

    (item,) = taken_in(tmp_path / "in", tmp_path / "home")

    assert item["id"] == swaths.S3_OLCI
    assert set(item["assets"]) == {"OTCI", "RC681", "Oa08_rc", "LQSF"}
    for key in ("OTCI", "RC681"):
        values, there, x, y = pixels(item, key)
        off = np.abs(values - swaths.field(x, y))[there].max()
        assert off <= swaths.steepest() * half_diagonal(longitudes, latitudes) + 0.005
    properties = item["properties"]
    assert properties["start_datetime"] == "2023-06-01T10:05:12.345678Z"
    assert properties["platform"] == "sentinel-3a"
    assert (properties["instruments"], properties["sat:relative_orbit"]) == (["olci"], 293)
    assert item["assets"]["Oa08_rc"]["bands"][0]["eo:center_wavelength"] == 0.665
    flags, there, _, _ = pixels(item, "LQSF")
    assert set(np.unique(flags[there]).tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("kind", ["olci", "slstr"])
def test_a_product_without_positions_is_gridded_by_its_tie_points(
    tmp_path: Path, kind: str
) -> None:
    longitudes, latitudes = small(rows=90)
    make, lost, band = {
        "olci": (swaths.olci, "geo_coordinates.nc", "OTCI"),
        "slstr": (swaths.slstr, "geodetic_in.nc", "LST"),
    }[kind]
    whole = make(tmp_path / "in", longitudes, latitudes, every=4)
    (before,) = taken_in(whole, tmp_path / "whole")
    (whole / lost).unlink()

    workspace = Workspace.of(tmp_path / "ties")
    report = ingest([whole], "c", workspace)

    (after,) = items_of(workspace.home)
    assert any(f"{lost} is missing, so positions are interpolated" in text
               for texts in report.notes.values() for text in texts)  # fmt: skip
    values, there, x, y = pixels(after, band)
    off = np.abs(values - swaths.field(x, y))[there].max()
    assert off <= 1.2 * swaths.steepest() * half_diagonal(longitudes, latitudes) + 0.005
    _, all_there, all_x, _ = pixels(before, band)
    assert there.sum() > 0.75 * all_there.sum()  # columns beyond the tie points have no place
    assert x.min() >= all_x.min() - 0.1


def test_a_product_without_any_positions_says_which_file_is_missing(tmp_path: Path) -> None:
    product = swaths.slstr(tmp_path / "in", *small())
    for name in ("geodetic_in.nc", "geodetic_tx.nc"):
        (product / name).unlink()

    lost = r"geodetic_in\.nc is missing, and there are no tie points"
    with pytest.raises(ArgumentInvalid, match=lost):
        taken_in(tmp_path / "in", tmp_path / "home")


def test_slstr_takes_land_surface_temperature_and_flags(tmp_path: Path) -> None:
    longitudes, latitudes = small()
    swaths.slstr(tmp_path / "in", longitudes, latitudes)

    (item,) = taken_in(tmp_path / "in", tmp_path / "home")

    assert set(item["assets"]) == {"LST", "cloud_in"}
    values, there, x, y = pixels(item, "LST")
    off = np.abs(values - swaths.field(x, y))[there].max()
    assert off <= swaths.steepest() * half_diagonal(longitudes, latitudes) + 0.0025
    assert item["assets"]["LST"]["bands"][0]["description"] == "surface_temperature [K]"


def odd(name: str, path: Path) -> Path:
    """Write a file that cannot be gridded."""
    longitudes, latitudes = small()
    blank = np.full_like(latitudes, np.nan)
    random = np.random.default_rng(8)
    places = {
        "nowhere": (blank, blank),
        "fill without saying so": (np.full_like(blank, -999), np.full_like(blank, -999)),
        "one place": (longitudes * 0 + 5, latitudes * 0 + 45),
        "swapped": (latitudes, longitudes + 95),
        "single row": (longitudes[:1], latitudes[:1]),
        "noise": (random.uniform(-180, 180, blank.shape), random.uniform(-90, 90, blank.shape)),
    }
    if name in places:
        return swaths.plain(path, *places[name])
    swaths.plain(path, longitudes, latitudes)
    if name == "cut short":
        path.write_bytes(path.read_bytes()[:5000])
    if name == "damaged":
        with h5py.File(path) as file:
            at = file["f"].id.get_chunk_info(0).byte_offset
        data = bytearray(path.read_bytes())
        data[at : at + 300] = b"x" * 300
        path.write_bytes(data)
    if name in {"linked", "other shape"}:
        with h5py.File(path, "a") as file:
            del file["f"]
            if name == "linked":
                file["f"] = h5py.ExternalLink("good_20200501.nc", "/f")
            else:
                file["f"] = np.zeros((7, 9))
    return path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere", "all missing or all the same"),
        ("fill without saying so", "all missing or all the same"),
        ("one place", "all missing or all the same"),
        ("swapped", "latitudes and longitudes are swapped"),
        ("single row", "1 x 61 pixels"),
        ("noise", "km from the next one"),
        ("other shape", "no variable of numbers over its two-dimensional latitudes"),
        ("cut short", "damaged"),
        ("damaged", "damaged"),
        ("linked", "links to other files"),
    ],
)
def test_what_cannot_be_gridded_is_left_out_and_the_rest_goes_on(
    tmp_path: Path, name: str, reason: str
) -> None:
    swaths.plain(tmp_path / "in" / "good_20200501.nc", *small(rows=20))
    odd(name, tmp_path / "in" / "odd_20200502.nc")

    report = ingest([tmp_path / "in"], "c", Workspace.of(tmp_path / "home"))

    assert (report.made, list(report.failed)) == (1, ["odd_20200502.nc"])
    assert reason in report.failed["odd_20200502.nc"]
    assert str(tmp_path) not in report.failed["odd_20200502.nc"]


def test_a_swath_with_missing_positions_and_no_data_is_gridded_where_it_is_known(
    tmp_path: Path,
) -> None:
    longitudes, latitudes = small()
    holes = latitudes.copy()
    holes[::5] = np.nan
    nothing = np.full(latitudes.shape, -1, np.float32)
    empty = (("y", "x"), nothing, {"_FillValue": np.float32(-1)})
    swaths.plain(tmp_path / "in" / "x.nc", longitudes, holes, empty=empty)

    (item,) = taken_in(tmp_path / "in", tmp_path / "home")

    values, there, x, y = pixels(item, "f")
    off = np.abs(values - swaths.field(x, y))[there].max()
    assert off <= swaths.steepest() * half_diagonal(longitudes, latitudes)
    tree = cKDTree(unit_vectors(longitudes, latitudes).reshape(-1, 3))
    row = tree.query(unit_vectors(x, y).reshape(-1, 3))[1].reshape(x.shape) // 61
    assert there[(row % 5 != 0)].sum() > 1000
    share = there[row % 5 == 0].mean() / there[(row % 5 == 2)].mean()
    assert share < 0.25
    assert not pixels(item, "empty")[1].any()


def test_numbers_outside_their_valid_range_are_no_data(tmp_path: Path) -> None:
    longitudes, latitudes = small()
    numbers = np.tile(np.arange(61, dtype=np.uint16), (80, 1))
    told = {"valid_min": np.uint16(10), "valid_max": np.uint16(50), "scale_factor": 0.5}
    told["_FillValue"] = np.uint16(65535)
    band = {"n": (("y", "x"), numbers, told)}
    swaths.plain(tmp_path / "in" / "x.nc", longitudes, latitudes, **band)

    (item,) = taken_in(tmp_path / "in", tmp_path / "home")

    values, there, _, _ = pixels(item, "n")
    assert (values[there].min(), values[there].max()) == (5, 25)
    assert there.sum() < pixels(item, "f")[1].sum()


def test_flags_without_fill_value_get_a_number_that_none_has(tmp_path: Path) -> None:
    longitudes, latitudes = small()
    numbers = (np.arange(latitudes.size).reshape(latitudes.shape) % 256).astype(np.uint8)
    flags = {
        "some": (("y", "x"), np.where(numbers == 254, 0, numbers).astype(np.uint8), {}),
        "wide": (("y", "x"), numbers.astype(np.uint32) << 16, {"flag_masks": np.uint32(1)}),
        "signed": (("y", "x"), numbers + np.int16(-32768), {}),
    }
    swaths.plain(tmp_path / "in" / "x.nc", longitudes, latitudes, **flags)

    (item,) = taken_in(tmp_path / "in", tmp_path / "home")

    marks = {key: item["assets"][key]["bands"][0]["nodata"] for key in flags}
    assert marks == {"some": 254, "wide": 2**32 - 1, "signed": 32767}
    _, there, _, _ = pixels(item, "f")
    for key in flags:
        np.testing.assert_array_equal(pixels(item, key)[1], there)
    full = {"full": (("y", "x"), numbers, {})}
    swaths.plain(tmp_path / "other" / "x.nc", longitudes, latitudes, **full)
    with pytest.raises(ArgumentInvalid, match="'full' states no _FillValue"):
        taken_in(tmp_path / "other", tmp_path / "wrong")


def test_what_is_there_is_kept_and_only_what_is_missing_is_made_again(tmp_path: Path) -> None:
    path = swaths.sentinel5p(tmp_path / "in" / f"{swaths.S5P_NAME}.nc", *small())
    workspace = Workspace.of(tmp_path / "home")
    ingest([path], "c", workspace)
    (item,) = items_of(workspace.home)
    files = {key: Path(asset["href"]) for key, asset in item["assets"].items()}
    stamps = {key: file.stat().st_mtime_ns for key, file in files.items()}

    kept = ingest([path], "c", workspace)
    files["qa_value"].unlink()
    mended = ingest([path], "c", workspace)
    again = files[NO2].stat().st_mtime_ns
    swaths.sentinel5p(path, *small(), missing=3)
    changed = ingest([path], "c", workspace)

    assert (kept.made, kept.kept, mended.made, changed.made) == (0, 1, 1, 1)
    assert again == stamps[NO2]
    assert files[NO2].stat().st_mtime_ns > again
    assert [f.name for f in files[NO2].parent.iterdir() if f.name.startswith(".")] == []


def test_the_time_is_found_where_no_attribute_states_it(tmp_path: Path) -> None:
    path = swaths.sentinel5p(tmp_path / "in" / "NO2_L2.nc", *small(), attributes={"a": "b"})

    (item,) = taken_in(tmp_path / "in", tmp_path / "home")

    assert item["properties"]["datetime"] == "2019-07-04T00:00:00Z"
    with h5py.File(path, "a") as file:
        file["PRODUCT/time"].attrs["units"] = "1"
    with pytest.raises(ArgumentInvalid, match="--datetime"):
        taken_in(path, tmp_path / "none")
    (told,) = taken_in(path, tmp_path / "told", datetime="2021-03-04T05:06:07Z")
    assert told["properties"]["datetime"] == "2021-03-04T05:06:07Z"


def test_classic_netcdf_is_read_like_the_new_one(tmp_path: Path) -> None:
    longitudes, latitudes = small(rows=30)
    swaths.plain(tmp_path / "new" / "x.nc", longitudes, latitudes)
    (tmp_path / "old").mkdir()
    with netcdf_file(tmp_path / "old" / "x.nc", "w") as file:
        file.time_coverage_start = "2020-05-01T10:00:00Z"
        for dim, size in zip("yx", latitudes.shape, strict=True):
            file.createDimension(dim, size)
        values = swaths.field(longitudes, latitudes).astype(np.float32)
        for name, array, unit in (("lat", latitudes, b"degrees_north"), ("f", values, b"K"),
                                  ("lon", longitudes, b"degrees_east")):  # fmt: skip
            made = file.createVariable(name, array.dtype, ("y", "x"))
            made[:] = array
            made.units = unit

    (new,) = taken_in(tmp_path / "new", tmp_path / "home")
    (old,) = taken_in(tmp_path / "old", tmp_path / "other")

    np.testing.assert_array_equal(pixels(old, "f")[0], pixels(new, "f")[0])
    assert old["properties"]["datetime"] == new["properties"]["datetime"]


@pytest.mark.parametrize("cols", [61, 40])
def test_hdf5_without_named_dimensions_is_read_by_their_sizes(tmp_path: Path, cols: int) -> None:
    longitudes, latitudes = (one[:, :cols] for one in small(rows=40))
    values = swaths.field(longitudes, latitudes).astype(np.float32)
    with h5py.File(tmp_path / "VNP_20200501.h5", "w") as file:
        file["HDFEOS/SWATHS/S/Geolocation Fields/Latitude"] = latitudes
        file["HDFEOS/SWATHS/S/Geolocation Fields/Longitude"] = longitudes
        file["HDFEOS/SWATHS/S/Data Fields/f"] = values

    (item,) = taken_in(tmp_path / "VNP_20200501.h5", tmp_path / "home")

    values, there, x, y = pixels(item, "f")
    off = np.abs(values - swaths.field(x, y))[there].max()
    assert there.sum() > 500
    assert off <= swaths.steepest() * half_diagonal(longitudes, latitudes)
    assert item["properties"]["datetime"] == "2020-05-01T00:00:00Z"


def test_a_swath_in_zarr_says_what_to_do(tmp_path: Path) -> None:
    longitudes, latitudes = small(rows=20)
    data = xr.Dataset(
        {"f": (("y", "x"), latitudes)},
        {"lat": (("y", "x"), latitudes, {"units": "degrees_north"}),
         "lon": (("y", "x"), longitudes, {"units": "degrees_east"})},
    )  # fmt: skip
    data.to_zarr(tmp_path / "x_20200501.zarr", zarr_format=3, consolidated=False)

    with pytest.raises(ArgumentInvalid, match="swaths are read from NetCDF"):
        taken_in(tmp_path / "x_20200501.zarr", tmp_path / "home")


def test_a_run_that_was_stopped_leaves_nothing_behind_that_counts(tmp_path: Path) -> None:
    longitudes, latitudes = small()
    path = swaths.plain(tmp_path / "in" / "x.nc", longitudes, latitudes)
    (item,) = taken_in(path, tmp_path / "home")
    file = Path(item["assets"]["f"]["href"])
    whole = file.read_bytes()
    shutil.rmtree(tmp_path / "home")
    file.parent.mkdir(parents=True)
    (file.parent / f".{file.name}.0123abcd.part.tif").write_bytes(b"half")
    file.write_bytes(whole[: len(whole) // 2])

    taken_in(path, tmp_path / "home")

    assert [one.name for one in file.parent.iterdir()] == ["f.tif"]
    assert file.read_bytes() == whole


def test_fill_values_of_64_bits_are_exact(tmp_path: Path) -> None:
    longitudes, latitudes = small()
    whole = np.arange(latitudes.size, dtype=np.int64).reshape(latitudes.shape)
    low, high = -(2**63) + 2, 2**64 - 2
    half = whole % latitudes.shape[1] < latitudes.shape[1] // 2
    dims = ("y", "x")
    variables = {
        "low": (dims, np.where(half, low, whole), {"_FillValue": np.int64(low)}),
        "high": (
            dims,
            np.where(half, np.uint64(high), whole.astype(np.uint64)),
            {"_FillValue": np.uint64(high)},
        ),
        "none": (dims, whole, {}),
        "plain": (dims, np.where(half, np.float32(-1), 1).astype(np.float32),
                  {"_FillValue": np.float32(-1)}),
    }  # fmt: skip
    swaths.plain(tmp_path / "in" / "x.nc", longitudes, latitudes, **variables)

    (item,) = taken_in(tmp_path / "in", tmp_path / "home")

    marks = {key: item["assets"][key]["bands"][0]["nodata"] for key in ("low", "high", "none")}
    assert marks == {"low": -(2**53), "high": 2**53, "none": -(2**53)}
    expected = pixels(item, "plain")[1]
    assert not expected.all()
    for key in ("low", "high"):
        np.testing.assert_array_equal(pixels(item, key)[1], expected)
    np.testing.assert_array_equal(pixels(item, "none")[1], pixels(item, "f")[1])
