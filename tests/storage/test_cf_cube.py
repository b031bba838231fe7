from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import xarray as xr

from terrazzo.errors import ArgumentInvalid, AssetForbidden, SourceUnreadable
from terrazzo.geo.grid import Grid
from terrazzo.storage.arrays.opening import open_arrays
from terrazzo.storage.gate import Gate

if TYPE_CHECKING:
    from pathlib import Path


def dataset(y: np.ndarray, x: np.ndarray, **variables: np.ndarray) -> xr.Dataset:
    times = np.array(["2020-01-01", "2020-01-06"], "M8[ns]")
    return xr.Dataset(
        {name: (("time", "lat", "lon"), values) for name, values in variables.items()},
        {"time": times, "lat": ("lat", y, {"units": "degrees_north"}),
         "lon": ("lon", x, {"units": "degrees_east"})},
    )  # fmt: skip


def test_y_may_ascend_and_longitude_go_to_360(tmp_path: Path):
    values = np.arange(2 * 4 * 8, dtype=np.float32).reshape(2, 4, 8)
    lat, lon = np.array([-67.5, -22.5, 22.5, 67.5]), np.arange(8) * 45.0 + 22.5
    dataset(lat, lon, v=values).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")

    with open_arrays(tmp_path / "a.nc", Gate((tmp_path,))) as file:
        (cube,) = file.cubes
        assert cube.grid == Grid.of(4326, 0.0, 90.0, 45.0, 4, 8)
        assert cube.times[1].start == datetime(2020, 1, 6, tzinfo=UTC)
        np.testing.assert_array_equal(cube.read("v", 1), values[1, ::-1])


def test_integers_with_nan_fill_value_do_not_crash(tmp_path: Path):
    lat, lon = np.array([1.0, 0.0]), np.array([0.0, 1.0, 2.0])
    data = dataset(lat, lon, scl=np.arange(12, dtype=np.int16).reshape(2, 2, 3))
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with h5py.File(tmp_path / "a.nc", "r+") as file:
        file["scl"].attrs["_FillValue"] = np.nan
        file["scl"].attrs["scale_factor"] = 0.5

    with open_arrays(tmp_path / "a.nc", Gate((tmp_path,))) as file:
        (cube,) = file.cubes
        band = cube.bands[0]
        assert (band.dtype, band.nodata, band.scale, band.offset) == ("int16", None, 0.5, 0.0)
        np.testing.assert_array_equal(cube.read("scl", 1), [[6, 7, 8], [9, 10, 11]])


def test_cubes_that_cannot_be_read_say_why(tmp_path: Path):
    lat, lon = np.array([2.0, 1.0, 0.0]), np.array([0.0, 1.0, 5.0])
    zeros = np.zeros((2, 3, 3))
    dataset(lat, lon, v=zeros).to_netcdf(tmp_path / "uneven.nc", engine="h5netcdf")
    plain = dataset(lat, lat[::-1], v=zeros)
    for axis in ("lat", "lon"):
        del plain[axis].attrs["units"]
    plain.to_netcdf(tmp_path / "nowhere.nc", engine="h5netcdf")
    (tmp_path / "text.nc").write_text("no cube")
    (tmp_path / "cut.nc").write_bytes((tmp_path / "nowhere.nc").read_bytes()[:300])
    gate = Gate((tmp_path,))

    with pytest.raises(ArgumentInvalid, match="evenly"):
        open_arrays(tmp_path / "uneven.nc", gate)
    with pytest.raises(ArgumentInvalid, match="crs_wkt"):
        open_arrays(tmp_path / "nowhere.nc", gate)
    for name in ("text.nc", "cut.nc", "gone.nc"):
        with pytest.raises(SourceUnreadable) as refused:
            open_arrays(tmp_path / name, gate)
        assert str(tmp_path) not in str(refused.value)


def test_hdf5_that_points_to_other_files_is_refused(tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"very secret numbers!")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["d"] = np.arange(20)
    with h5py.File(root / "storage.nc", "w") as file:
        file.create_group("deep").create_dataset("d", (20,), "u1", external=[(str(secret), 0, 20)])
    with h5py.File(root / "link.nc", "w") as file:
        file["d"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/d")
    with h5py.File(root / "virtual.nc", "w") as file:
        layout = h5py.VirtualLayout((20,), "i8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "d", (20,))
        file.create_virtual_dataset("d", layout)
    (root / "out.nc").symlink_to(tmp_path / "other.h5")

    for name in ("storage.nc", "link.nc", "virtual.nc", "out.nc"):
        with pytest.raises(AssetForbidden) as refused:
            open_arrays(root / name, Gate((root,)))
        assert str(tmp_path) not in str(refused.value)


def test_shared_cubes(shared: Path):
    gate = Gate((shared,))
    path = shared / "data/nrt_romania_s2/sentinel2_cube_subset_romania_10m.nc"

    with open_arrays(path, gate) as file, h5py.File(path) as oracle:
        (cube,) = file.cubes
        assert [band.name for band in cube.bands] == ["B2", "B3", "B4", "B8", "SCL"]
        assert len(cube.times) == 140
        assert cube.times[0].start == datetime(2015, 8, 1, tzinfo=UTC)
        assert cube.bands[0].nodata == 0
        assert cube.grid.bounds == pytest.approx(
            (5271982.5766, 2532004.2149, 5272982.5766, 2533004.2149), abs=1e-3
        )
        np.testing.assert_array_equal(cube.read("B8", 77), oracle["B8"][77])
    with open_arrays(path, gate) as file, pytest.raises(ArgumentInvalid, match="B8"):
        file.cubes[0].read("B9")
    with open_arrays(next((shared / "data/cams_aod550_global").glob("*.nc")), gate) as file:
        (cube,) = file.cubes
        assert cube.grid == Grid.of(4326, -0.2, 90.2, 0.4, 451, 900)


@pytest.mark.parametrize("folder", ["nrt_romania_s2", "worldcereal_be2018_patch", "eofs_climate"])
def test_shared_cubes_are_those_of_xarray(shared: Path, folder: str):
    random = np.random.default_rng(5)
    for path in sorted((shared / "data" / folder).glob("*.nc")):
        with (
            open_arrays(path, Gate((shared,))) as file,
            xr.open_dataset(path, mask_and_scale=False, decode_times=False) as oracle,
        ):
            (cube,) = file.cubes
            grid = cube.grid
            x, y = ("x", "y") if "x" in oracle.dims else ("longitude", "latitude")
            np.testing.assert_allclose(
                grid.left + grid.pixel_x * (np.arange(grid.width) + 0.5), np.sort(oracle[x])
            )
            np.testing.assert_allclose(
                grid.top - grid.pixel_y * (np.arange(grid.height) + 0.5), np.sort(oracle[y])[::-1]
            )
            for band in cube.bands:
                variable = oracle[band.name].squeeze()
                index = int(random.integers(0, max(len(cube.times), 1)))
                time = next((d for d in ("time", "timestamp") if d in variable.dims), None)
                image = variable if time is None else variable.isel({time: index})
                if oracle[y][0] < oracle[y][-1]:
                    image = image.isel({y: slice(None, None, -1)})
                np.testing.assert_array_equal(cube.read(band.name, index), np.atleast_2d(image))
                assert band.scale == oracle[band.name].attrs.get("scale_factor", 1.0)
