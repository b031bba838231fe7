"""What CF files say of their variables is found, whatever the container: NetCDF and both Zarrs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
from pyproj import CRS, Transformer

from terrazzo.errors import ArgumentInvalid, SourceUnreadable
from terrazzo.geo.crs import crs_object
from terrazzo.geo.grid import Grid, Window
from terrazzo.storage.arrays.opening import open_arrays
from terrazzo.storage.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from terrazzo.storage.arrays.types import ArrayCube

LAT, LON = np.array([50.5, 49.5, 48.5, 47.5]), np.array([5.25, 5.75, 6.25])
DEGREES = {
    "lat": ("lat", LAT, {"units": "degrees_north"}),
    "lon": ("lon", LON, {"units": "degrees_east"}),
}
GRID = Grid.of(4326, 5.0, 51.0, (0.5, 1.0), 4, 3)


def ramp(*shape: int, dtype: str = "float32") -> np.ndarray[Any, Any]:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def one(path: Path, crs: str = "") -> ArrayCube:
    """Return the only cube of a file; it stays open until the test ends."""
    (cube,) = open_arrays(path, Gate((path.parent,)), crs=crs).cubes
    return cube


def to_netcdf(data: xr.Dataset, path: Path) -> Path:
    data.to_netcdf(path.with_suffix(".nc"), engine="h5netcdf")
    return path.with_suffix(".nc")


def to_classic(data: xr.Dataset, path: Path) -> Path:
    data.to_netcdf(path.with_suffix(".cdf"), engine="scipy", format="NETCDF3_64BIT")
    return path.with_suffix(".cdf")


def to_zarr2(data: xr.Dataset, path: Path) -> Path:
    data.to_zarr(path.with_suffix(".zarr"), zarr_format=2, consolidated=True)
    return path.with_suffix(".zarr")


def to_zarr3(data: xr.Dataset, path: Path) -> Path:
    data.to_zarr(path.with_suffix(".zarr"), zarr_format=3, consolidated=False)
    return path.with_suffix(".zarr")


@pytest.mark.parametrize("write", [to_netcdf, to_classic, to_zarr2, to_zarr3])
def test_every_container_gives_the_same_cube(
    tmp_path: Path, write: Callable[[xr.Dataset, Path], Path]
):
    values = ramp(2, 4, 3, dtype="int16")
    values[0, 1, 1] = -1
    attributes = {"units": "K", "long_name": "heat", "scale_factor": 0.5, "add_offset": 200.0}
    data = xr.Dataset(
        {"t": (("time", "lat", "lon"), values, {**attributes, "_FillValue": np.int16(-1)})},
        {**DEGREES, "time": ("time", [0, 5], {"units": "days since 2020-02-27"})},
    )

    cube = one(write(data, tmp_path / "a"))

    band = cube.bands[0]
    assert cube.grid == GRID
    assert [m.start for m in cube.times] == [
        datetime(2020, 2, 27, tzinfo=UTC), datetime(2020, 3, 3, tzinfo=UTC),
    ]  # fmt: skip
    assert (band.name, band.dtype, band.nodata) == ("t", "int16", -1)
    assert (band.scale, band.offset, band.unit, band.description) == (0.5, 200.0, "K", "heat")
    np.testing.assert_array_equal(cube.read("t", 1), values[1])
    np.testing.assert_array_equal(cube.read("t", 0, Window(1, 1, 2, 1)), values[0, 1:3, 1:2])


@pytest.mark.parametrize("flipped", [(False, True), (True, False), (True, True)])
@pytest.mark.parametrize("transposed", [False, True])
def test_rows_and_columns_may_be_in_any_order(
    tmp_path: Path, flipped: tuple[bool, bool], transposed: bool
):
    data = xr.Dataset({"v": (("lat", "lon"), ramp(4, 3))}, DEGREES)
    turned = data.isel(
        lat=slice(None, None, -1 if flipped[0] else 1),
        lon=slice(None, None, -1 if flipped[1] else 1),
    )
    turned = turned.transpose("lon", "lat") if transposed else turned

    cube = one(to_netcdf(turned, tmp_path / "a"))

    assert cube.grid == GRID
    np.testing.assert_array_equal(cube.read("v"), ramp(4, 3))
    np.testing.assert_array_equal(cube.read("v", 0, Window(1, 0, 3, 2)), ramp(4, 3)[1:, :2])


def test_float32_coordinates_are_the_decimals_that_they_were_cut_off_from(tmp_path: Path):
    lat = (90 - (np.arange(2160) + 0.5) / 12).astype("float32")
    lon = (-180 + (np.arange(4320) + 0.5) / 12).astype("float32")
    data = xr.Dataset(
        {"v": (("lat", "lon"), np.zeros((2160, 4320), "int8"))},
        {"lat": ("lat", lat, {"units": "degrees_north"}),
         "lon": ("lon", lon, {"units": "degrees_east"})},
    )  # fmt: skip

    grid = one(to_netcdf(data, tmp_path / "a")).grid

    assert grid.bounds == pytest.approx((-180, -90, 180, 90), abs=1e-9)
    assert (grid.height, grid.width) == (2160, 4320)


def test_dimensions_besides_become_bands_with_their_values(tmp_path: Path):
    values = ramp(1, 2, 3, 4, 3)
    data = xr.Dataset(
        {"z": (("time", "level", "number", "lat", "lon"), values, {"long_name": "height"})},
        {**DEGREES, "time": np.array(["2020-01-01"], "M8[ns]"), "number": [0, 1, 2],
         "level": ("level", [500.0, 850.0], {"units": "hPa"})},
    )  # fmt: skip

    cube = one(to_netcdf(data, tmp_path / "a"))

    names = [band.name for band in cube.bands]
    assert names == ["z_500_0", "z_500_1", "z_500_2", "z_850_0", "z_850_1", "z_850_2"]
    assert cube.bands[4].description == "height, level 850 hPa, number 1"
    np.testing.assert_array_equal(cube.read("z_850_1"), values[0, 1, 1])


@pytest.mark.filterwarnings("ignore:.*Zarr V3.*")
@pytest.mark.parametrize("write", [to_netcdf, to_zarr2, to_zarr3])
@pytest.mark.parametrize("kind", ["U3", "object"])
def test_a_dimension_of_bands_gives_them_its_names_and_wavelengths(
    tmp_path: Path, write: Callable[[xr.Dataset, Path], Path], kind: str
):
    data = xr.Dataset(
        {"reflectance": (("band", "lat", "lon"), ramp(3, 4, 3))},
        {**DEGREES, "band": np.array(["B02", "B04", "B08"], kind),
         "wavelength": ("band", [490.0, 665.0, 842.0], {"units": "nm"})},
    )  # fmt: skip

    cube = one(write(data, tmp_path / "a"))

    assert [band.name for band in cube.bands] == ["B02", "B04", "B08"]
    assert [band.common_name for band in cube.bands] == ["blue", "red", "nir"]
    assert [band.wavelength_um for band in cube.bands] == [0.49, 0.665, 0.842]
    np.testing.assert_array_equal(cube.read("B08"), ramp(3, 4, 3)[2])


def test_a_scalar_coordinate_tells_the_wavelength(tmp_path: Path):
    data = xr.Dataset({"r": (("lat", "lon"), ramp(4, 3))}, DEGREES).assign_coords(
        wl=((), 1.61, {"units": "um", "standard_name": "radiation_wavelength"})
    )

    band = one(to_netcdf(data, tmp_path / "a")).bands[0]

    assert (band.wavelength_um, band.common_name) == (1.61, "swir16")


def test_too_many_bands_are_refused_with_their_number(tmp_path: Path):
    data = xr.Dataset({"v": (("level", "lat", "lon"), np.zeros((513, 4, 3), "int8"))}, DEGREES)

    with pytest.raises(ArgumentInvalid, match=r"level \(513\)"):
        one(to_netcdf(data, tmp_path / "a"))


def test_bounds_and_auxiliary_coordinates_are_no_bands(tmp_path: Path):
    place = {"y": ("y", [30.0, 20.0], {"units": "m", "standard_name": "projection_y_coordinate"}),
             "x": ("x", [10.0, 20.0], {"units": "m", "standard_name": "projection_x_coordinate"}),
             "lat": (("y", "x"), ramp(2, 2), {"units": "degrees_north"}),
             "lon": (("y", "x"), ramp(2, 2), {"units": "degrees_east"}),
             "spatial_ref": ((), 0, CRS.from_epsg(32633).to_cf())}  # fmt: skip
    data = xr.Dataset({"v": (("y", "x"), ramp(2, 2), {"grid_mapping": "spatial_ref"}),
                       "area": (("y", "x"), ramp(2, 2))}, place)  # fmt: skip
    data["v"].attrs["cell_measures"] = "area: area"

    cube = one(to_netcdf(data, tmp_path / "a"))

    assert [band.name for band in cube.bands] == ["v"]
    assert cube.grid == Grid.of(32633, 5.0, 35.0, 10.0, 2, 2)


@pytest.mark.parametrize(
    ("dtype", "attributes"),
    [
        ("i2", {"valid_range": np.array([0, 100], "i2")}),
        ("i2", {"valid_min": np.int16(-5), "_FillValue": np.int16(-9)}),
        ("i2", {"valid_max": np.int16(12), "missing_value": np.array([3, 7], "i2")}),
        ("u1", {"valid_range": np.array([2, 9], "u1"), "_FillValue": np.uint8(255)}),
        ("f4", {"valid_range": np.array([0, 9], "f4"), "_FillValue": np.float32(-1)}),
        ("i1", {"_Unsigned": "true", "_FillValue": np.int8(-1), "scale_factor": 0.5}),
        ("i2", {"scale_factor": 0.1, "add_offset": 5.0, "missing_value": np.int16(4)}),
    ],
)
def test_pixels_are_masked_as_the_netcdf_library_masks_them(
    tmp_path: Path, dtype: str, attributes: dict[str, Any]
):
    values = np.array([[-9, -1, 0, 3], [4, 7, 12, 200]]).astype(dtype)
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        for name, points, units in (("lat", [1.5, 0.5], "north"), ("lon", [1, 2, 3, 4], "east")):
            file.createDimension(name, len(points))
            axis = file.createVariable(name, "f8", (name,))
            axis[:], axis.units = points, f"degrees_{units}"
        fill = attributes.get("_FillValue")
        variable = file.createVariable("v", dtype, ("lat", "lon"), fill_value=fill)
        variable.setncatts({k: v for k, v in attributes.items() if k != "_FillValue"})
        variable.set_auto_maskandscale(False)
        variable[:] = values
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        expected = np.ma.filled(np.ma.asarray(file["v"][:]).astype(float), np.nan)

    cube = one(tmp_path / "a.nc")

    band, pixels = cube.bands[0], cube.read("v").astype(float)
    mark = band.nodata
    found = pixels * band.scale + band.offset
    if mark is not None:
        found[np.isnan(pixels) if np.isnan(mark) else pixels == mark] = np.nan
    np.testing.assert_allclose(found, expected)


def test_flags_are_classes(tmp_path: Path):
    told = {"flag_values": np.array([1, 2, -1], "i1"), "flag_meanings": "water land unknown"}
    data = xr.Dataset({"c": (("lat", "lon"), ramp(4, 3, dtype="int8"), told)}, DEGREES)

    band = one(to_netcdf(data, tmp_path / "a")).bands[0]

    assert band.classes == ((1, "water"), (2, "land"), (-1, "unknown"))


@pytest.mark.parametrize(
    ("calendar", "units", "number", "expected"),
    [
        ("noleap", "days since 2000-02-28", 1, "2000-03-01"),
        ("360_day", "days since 2000-01-01", 45, "2000-02-16"),
        ("julian", "days since 2000-01-01", 0, "2000-01-01"),
        ("standard", "months since 1990-01-15", 14, "1991-03-15"),
        ("standard", "hours since 1-1-1 00:00:0.0", 17067072, "1948-01-01"),
        ("proleptic_gregorian", "seconds since 1970-01-01", 1e9, "2001-09-09T01:46:40"),
    ],
)
def test_calendars(tmp_path: Path, calendar: str, units: str, number: float, expected: str):
    data = xr.Dataset(
        {"v": (("time", "lat", "lon"), ramp(1, 4, 3))},
        {**DEGREES, "time": ("time", [number], {"units": units, "calendar": calendar})},
    )

    (moment,) = one(to_netcdf(data, tmp_path / "a")).times

    assert moment.start == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "numbers", "words"),
    [
        ({"units": "days since 2000-01-01", "calendar": "360_day"}, [59], "360_day"),
        ({"units": "fortnights since 2000-01-01"}, [1], "fortnights"),
        ({"units": "days since 2000-01-01"}, [np.nan], "no numbers"),
        ({"units": "days since 2000-01-01"}, [1e300], "cannot be read"),
        ({"units": "days since 2000-01-01"}, [], "0 dates"),
    ],
)
def test_times_that_cannot_be_read_say_why(
    tmp_path: Path, told: dict[str, str], numbers: list[float], words: str
):
    data = xr.Dataset(
        {"v": (("time", "lat", "lon"), ramp(len(numbers), 4, 3))},
        {**DEGREES, "time": ("time", np.array(numbers, float), told)},
    )

    with pytest.raises(ArgumentInvalid, match=words):
        one(to_netcdf(data, tmp_path / "a"))


def test_dates_that_nothing_tells_are_no_bands(tmp_path: Path):
    data = xr.Dataset({"v": (("time", "lat", "lon"), ramp(3, 4, 3))}, DEGREES)

    with pytest.raises(ArgumentInvalid, match="3 positions of 'time' and no dates"):
        one(to_netcdf(data, tmp_path / "a"))
    assert one(to_netcdf(data.isel(time=[0]), tmp_path / "b")).bands[0].description == ""


def test_bounds_of_time_are_periods(tmp_path: Path):
    told = {"units": "days since 2000-01-01", "bounds": "time_bounds"}
    data = xr.Dataset(
        {"v": (("time", "lat", "lon"), ramp(2, 4, 3)),
         "time_bounds": (("time", "two"), np.array([[0.0, 31.0], [31.0, 31.0]]))},
        {**DEGREES, "time": ("time", [15.5, 31.0], told)},
    )  # fmt: skip

    first, second = one(to_netcdf(data, tmp_path / "a")).times

    assert (first.start, first.end) == (
        datetime(2000, 1, 1, tzinfo=UTC),
        datetime(2000, 2, 1, tzinfo=UTC),
    )
    assert (second.start, second.end) == (datetime(2000, 2, 1, tzinfo=UTC), None)


def test_a_single_time_may_be_a_scalar_or_an_attribute(tmp_path: Path):
    base = xr.Dataset({"v": (("lat", "lon"), ramp(4, 3))}, DEGREES)
    told = {"units": "hours since 2020-01-01", "standard_name": "time"}
    scalar = base.assign_coords(t=((), 6, told))
    stated = base.assign_attrs(time_coverage_start="2020-03-01T00:00:00Z",
                               time_coverage_end="2020-03-31T23:59:59Z")  # fmt: skip

    (moment,) = one(to_netcdf(scalar, tmp_path / "a")).times
    file = open_arrays(to_netcdf(stated, tmp_path / "b"), Gate((tmp_path,)))

    assert moment.start == datetime(2020, 1, 1, 6, tzinfo=UTC)
    assert file.cubes[0].times == ()
    assert file.covered is not None
    assert file.covered.end == datetime(2020, 3, 31, 23, 59, 59, tzinfo=UTC)


def test_valid_times_of_forecasts_are_their_dates(tmp_path: Path):
    data = xr.Dataset(
        {"t2m": (("step", "lat", "lon"), ramp(2, 4, 3))},
        {**DEGREES,
         "step": ("step", [3, 6], {"units": "hours", "standard_name": "forecast_period"}),
         "time": ((), 0, {"units": "days since 2020-01-01",
                          "standard_name": "forecast_reference_time"}),
         "valid_time": ("step", [3, 6], {"units": "hours since 2020-01-01"})},
    )  # fmt: skip

    cube = one(to_netcdf(data, tmp_path / "a"))

    assert [moment.start.hour for moment in cube.times] == [3, 6]
    assert [band.name for band in cube.bands] == ["t2m"]


def test_gaussian_latitudes_become_a_regular_grid_of_the_nearest(tmp_path: Path):
    nodes, _ = np.polynomial.legendre.leggauss(32)
    lat = np.degrees(np.arcsin(nodes))
    data = xr.Dataset(
        {"v": (("lat", "lon"), np.repeat(np.arange(32.0)[:, None], 4, 1))},
        {"lat": ("lat", lat, {"units": "degrees_north"}),
         "lon": ("lon", np.arange(4) * 90.0, {"units": "degrees_east"})},
    )  # fmt: skip

    cube = one(to_netcdf(data, tmp_path / "a"))

    grid = cube.grid
    centres = grid.top - grid.pixel_y * (np.arange(grid.height) + 0.5)
    found = cube.read("v")[:, 0].astype(int)
    away = np.abs(lat[None] - centres[:, None])
    np.testing.assert_allclose(np.abs(lat[found] - centres), away.min(axis=1), atol=1e-9)
    assert set(found.tolist()) == set(range(32))
    part = Window(5, 1, 7, 2)
    np.testing.assert_array_equal(cube.read("v", 0, part), cube.read("v")[5:12, 1:3])


@pytest.mark.parametrize(("unit", "factor"), [("rad", 1.0), ("microradian", 1e6)])
def test_geostationary_angles_become_metres(tmp_path: Path, unit: str, factor: float):
    """As GOES has them: packed angles of the view, and a grid mapping without WKT."""
    height = 35786023.0
    mapping = {
        "grid_mapping_name": "geostationary", "perspective_point_height": height,
        "semi_major_axis": 6378137.0, "semi_minor_axis": 6356752.31414,
        "longitude_of_projection_origin": -75.0, "sweep_angle_axis": "x",
    }  # fmt: skip
    data = xr.Dataset(
        {"CMI": (("y", "x"), ramp(3, 3, dtype="int16"), {"grid_mapping": "proj"}),
         "proj": ((), 0, mapping)},
    )  # fmt: skip
    path = to_netcdf(data, tmp_path / "a")
    with h5py.File(path, "r+") as file:
        for name, offset, step in (("y", 0.1, -56e-6), ("x", -0.1, 56e-6)):
            del file[name]
            axis = file.create_dataset(name, data=np.arange(3, dtype="i2"))
            axis.make_scale(name)
            axis.attrs.update(
                {"scale_factor": step * factor, "add_offset": offset * factor, "units": unit}
            )
            file["CMI"].dims["yx".index(name)].attach_scale(axis)

    grid = one(path).grid

    to_degrees = Transformer.from_crs(crs_object(grid.crs), "EPSG:4326", always_xy=True)
    known = Transformer.from_crs(
        f"+proj=geos +h={height} +lon_0=-75 +sweep=x +ellps=GRS80", "EPSG:4326", always_xy=True
    )
    found = to_degrees.transform(grid.left + grid.pixel_x / 2, grid.top - grid.pixel_y / 2)
    np.testing.assert_allclose(found, known.transform(-0.1 * height, 0.1 * height), atol=1e-6)


def test_kilometres_become_metres(tmp_path: Path):
    far = {"units": "km"}
    place = {"yc": ("yc", [20.0, 10.0], {**far, "standard_name": "projection_y_coordinate"}),
             "xc": ("xc", [5.0, 15.0], {**far, "standard_name": "projection_x_coordinate"}),
             "crs": ((), 0, CRS.from_epsg(3413).to_cf())}  # fmt: skip
    data = xr.Dataset({"ice": (("yc", "xc"), ramp(2, 2), {"grid_mapping": "crs"})}, place)

    grid = one(to_netcdf(data, tmp_path / "a")).grid

    assert grid == Grid.of(3413, 0.0, 25_000.0, 10_000.0, 2, 2)


def test_a_crs_is_asked_for_and_believed_only_where_none_is_stated(tmp_path: Path):
    data = xr.Dataset({"v": (("y", "x"), ramp(2, 2))}, {"y": [30.0, 20.0], "x": [10.0, 20.0]})
    stated = data.assign_coords(spatial_ref=((), 0, {"crs_wkt": CRS.from_epsg(3035).to_wkt()}))
    path = to_netcdf(data, tmp_path / "a")

    with pytest.raises(ArgumentInvalid, match="--crs"):
        one(path)

    assert one(path, crs="EPSG:32633").grid.crs == "EPSG:32633"
    assert one(to_netcdf(stated, tmp_path / "b"), crs="EPSG:32633").grid.crs == "EPSG:3035"


def test_coordinates_that_are_no_numbers_are_refused(tmp_path: Path):
    bad = {**DEGREES, "lon": ("lon", [5.0, np.nan, 6.0], {"units": "degrees_east"})}
    data = xr.Dataset({"v": (("lat", "lon"), ramp(4, 3))}, bad)

    with pytest.raises(ArgumentInvalid, match=r"'lon'.*no number"):
        one(to_netcdf(data, tmp_path / "a"))


def test_a_rotated_pole_is_refused_with_a_way_out(tmp_path: Path):
    mapping = {"grid_mapping_name": "rotated_latitude_longitude",
               "grid_north_pole_latitude": 39.25, "grid_north_pole_longitude": -162.0}  # fmt: skip
    data = xr.Dataset(
        {"v": (("rlat", "rlon"), ramp(2, 2), {"grid_mapping": "pole"}), "pole": ((), 0, mapping)},
        {"rlat": ("rlat", [1.0, 0.0], {"units": "degrees", "standard_name": "grid_latitude"}),
         "rlon": ("rlon", [0.0, 1.0], {"units": "degrees", "standard_name": "grid_longitude"})},
    )  # fmt: skip

    with pytest.raises(ArgumentInvalid, match="rotated pole"):
        one(to_netcdf(data, tmp_path / "a"))


def test_groups_have_cubes_of_their_own_and_inherit_coordinates(tmp_path: Path):
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        for name, points, units in (("lat", LAT, "north"), ("lon", LON, "east")):
            file.createDimension(name, len(points))
            axis = file.createVariable(name, "f8", (name,))
            axis[:], axis.units = points, f"degrees_{units}"
        fine = file.createGroup("data").createGroup("fine")
        fine.createVariable("v", "i2", ("lat", "lon"))[:] = ramp(4, 3)
        coarse = file.createGroup("coarse")
        for name, points, units in (("lat", [50.0, 48.0], "north"), ("lon", [5.5], "east")):
            coarse.createDimension(name, len(points))
            axis = coarse.createVariable(name, "f8", (name,))
            axis[:], axis.units = points, f"degrees_{units}"
        coarse.createVariable("w", "i2", ("lat", "lon"))[:] = ramp(2, 1)

    with open_arrays(tmp_path / "a.nc", Gate((tmp_path,))) as file:
        cubes = {cube.name: cube for cube in file.cubes}

        assert set(cubes) == {"data/fine", "coarse"}
        assert cubes["data/fine"].grid == GRID
        assert cubes["coarse"].grid == Grid.of(4326, 4.5, 51.0, 2.0, 2, 1)
        np.testing.assert_array_equal(cubes["data/fine"].read("v"), ramp(4, 3))


def test_swaths_are_told_apart(tmp_path: Path):
    """As Sentinel-5P: counted scan lines have an axis attribute, but no degrees."""
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        product = file.createGroup("PRODUCT")
        for name, axis in (("scanline", "Y"), ("ground_pixel", "X")):
            product.createDimension(name, 3)
            line = product.createVariable(name, "i4", (name,))
            line[:], line.axis, line.units = range(3), axis, "1"
        product.createDimension("time", 1)
        places = ("time", "scanline", "ground_pixel")
        for name, units in (("latitude", "degrees_north"), ("longitude", "degrees_east")):
            variable = product.createVariable(name, "f4", places)
            variable[:], variable.units = ramp(1, 3, 3), units
        product.createVariable("no2", "f4", places)[:] = ramp(1, 3, 3)

    with open_arrays(tmp_path / "a.nc", Gate((tmp_path,))) as file:
        assert file.is_swath
        assert file.cubes == ()


def test_hdf_eos_grids_lie_where_their_metadata_say(tmp_path: Path):
    """As VIIRS has them: sinusoidal, the place in a text, no coordinates."""
    metadata = """
GROUP=GridStructure
    GROUP=GRID_1
        GridName="Veg"
        XDim=4
        YDim=2
        UpperLeftPointMtrs=(-1111950.519667,5559752.598333)
        LowerRightMtrs=(0.0,5003777.338500)
        Projection=HE5_GCTP_SNSOID
        ProjParams=(6371007.181000,0,0,0,0,0,0,0,0,0,0,0,0)
        GROUP=Dimension
        END_GROUP=Dimension
    END_GROUP=GRID_1
END_GROUP=GridStructure
END
"""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["HDFEOS INFORMATION/StructMetadata.0"] = metadata
        data = file.create_dataset(
            "HDFEOS/GRIDS/Veg/Data Fields/NDVI", data=ramp(2, 4, dtype="int16")
        )
        data.attrs["_FillValue"] = np.int16(-1)

    cube = one(tmp_path / "a.h5")

    assert cube.grid.bounds == pytest.approx((-1111950.519667, 5003777.3385, 0, 5559752.598333))
    operation = crs_object(cube.grid.crs).coordinate_operation
    ellipsoid = crs_object(cube.grid.crs).ellipsoid
    assert operation is not None
    assert operation.method_name == "Sinusoidal"
    assert ellipsoid is not None
    assert (ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre) == (6371007.181, 6371007.181)
    np.testing.assert_array_equal(cube.read("NDVI"), ramp(2, 4))


def test_other_formats_say_what_to_do(tmp_path: Path):
    (tmp_path / "a.hdf").write_bytes(b"\x0e\x03\x13\x01" + bytes(100))
    (tmp_path / "b.nc").write_bytes(b"CDF\x05" + bytes(100))

    with pytest.raises(SourceUnreadable, match="h4toh5"):
        one(tmp_path / "a.hdf")
    with pytest.raises(SourceUnreadable, match="nccopy"):
        one(tmp_path / "b.nc")


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [
        ("i8", -(2**63) + 2),
        ("i8", -(2**63)),
        ("i8", 2**63 - 1),
        ("i8", 2**53 + 1),
        ("u8", 2**64 - 2),
        ("u8", 2**64 - 1),
        ("i8", -9999),
        ("u8", 2**53),
    ],
)
def test_fill_values_of_64_bits_are_exact(tmp_path: Path, dtype: str, fill: int):
    pixels = np.array([[fill, 1, 2, 2**62], [fill, fill + (1 if fill < 0 else -1), 9, 1000]], dtype)
    path = grid_file(tmp_path / "a.nc", pixels, np.dtype(dtype).type(fill))

    cube = one(path)

    mark, found = cube.bands[0].nodata, cube.read("v")
    assert mark is not None
    assert abs(mark) <= 2**53
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found == int(mark), pixels == pixels[0, 0])
    np.testing.assert_array_equal(found[pixels != pixels[0, 0]], pixels[pixels != pixels[0, 0]])


@pytest.mark.parametrize(("dtype", "taken"), [("i8", -(2**53)), ("u8", 2**53)])
def test_data_is_not_taken_for_the_number_that_stands_for_no_data(
    tmp_path: Path, dtype: str, taken: int
):
    fill = np.iinfo(dtype).max
    path = grid_file(tmp_path / "a.nc", np.array([[fill, taken, 2, 3]] * 2, dtype), fill)
    cube = one(path)

    with pytest.raises(SourceUnreadable, match=f"{taken}, is that of a pixel"):
        cube.read("v")


@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_numbers_of_64_bits_outside_the_valid_range_are_no_data(tmp_path: Path, dtype: str):
    limits = {"valid_range": np.array([1, 2**54], dtype)}
    path = grid_file(tmp_path / "a.nc", np.array([[1, 2**55, 0, 7]] * 2, dtype), None, limits)

    cube = one(path)

    mark = cube.bands[0].nodata
    assert mark is not None
    assert (cube.read("v") == int(mark)).tolist() == [[False, True, True, False]] * 2


def grid_file(
    path: Path, pixels: np.ndarray[Any, Any], fill: Any, attributes: dict[str, Any] | None = None
) -> Path:
    """Write a variable of 2 x 4 pixels by netCDF's own library."""
    with netCDF4.Dataset(path, "w") as file:
        for name, points, units in (("lat", [1.5, 0.5], "north"), ("lon", [1, 2, 3, 4], "east")):
            file.createDimension(name, len(points))
            axis = file.createVariable(name, "f8", (name,))
            axis[:], axis.units = points, f"degrees_{units}"
        variable = file.createVariable("v", pixels.dtype, ("lat", "lon"), fill_value=fill)
        variable.setncatts(attributes or {})
        variable.set_auto_maskandscale(False)
        variable[:] = pixels
    return path


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"flag_masks": [1, 2]}, [(0, 1, {0: "not_a", 1: "a"}), (1, 1, {0: "not_b", 1: "b"})]),
        ({"flag_masks": [6, 6], "flag_values": [0, 4]}, [(1, 2, {0: "a", 2: "b"})]),
        ({"flag_masks": [64, -128]}, [(6, 1, {0: "not_a", 1: "a"}), (7, 1, {0: "not_b", 1: "b"})]),
        ({"flag_masks": [5, 2]}, []),
        ({"flag_masks": [1, 2, 4]}, []),
        ({"flag_masks": [0, 1]}, []),
        ({"flag_masks": [2, 4], "flag_values": [1, 4]}, []),
    ],
)
def test_masks_of_bits_are_read_or_left_without_a_meaning(
    tmp_path: Path, told: dict[str, Any], expected: list[tuple[int, int, dict[int, str]]]
):
    attributes = {name: np.array(numbers, "i1") for name, numbers in told.items()}
    attributes["flag_meanings"] = "a b"
    data = xr.Dataset({"c": (("lat", "lon"), ramp(4, 3, dtype="int8"), attributes)}, DEGREES)

    band = one(to_netcdf(data, tmp_path / "a")).bands[0]

    assert [(f.offset, f.length, dict(f.classes)) for f in band.bits] == expected
    assert (band.classes, band.flags) == ((), True)
