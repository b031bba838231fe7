"""Arrays of xarray as sources: what comes out is what xarray itself makes of them."""

from __future__ import annotations

import gc
import pickle
from typing import TYPE_CHECKING, Any

import dask.array
import numpy as np
import pytest
import rasterio
import xarray as xr
from pyproj import CRS
from rasterio.warp import Resampling, reproject
from tests.drivers.scenes import callback, node, ref

import terrazzo
from terrazzo.drivers.arrays import ArrayNode
from terrazzo.drivers.job import Workspace
from terrazzo.errors import ArgumentInvalid, BandNotFound, NoDataAvailable

if TYPE_CHECKING:
    from pathlib import Path

UTM = "EPSG:32633"
DATES = np.array(["2020-01-05T10:00", "2020-02-05T10:00:00.5", "2020-07-01"], "datetime64[ns]")


@pytest.fixture
def nowhere(tmp_path: Path) -> Workspace:
    """A workspace without a catalogue: arrays need none."""
    return Workspace.of(tmp_path)


def series(dtype: str = "float32", *, chunks: int = 0) -> xr.DataArray:
    """Three dates, two bands, 50 x 70 pixels; some NaN."""
    shape = (3, 2, 50, 70)
    values = np.random.default_rng(3).uniform(1, 200, shape).astype(dtype)
    if values.dtype.kind == "f":
        values[1, :, 10:20, 5] = np.nan
        values[:, :, 0, 0] = np.nan
    data: Any = dask.array.from_array(values, chunks) if chunks else values
    x, y = 500_005.0 + 10 * np.arange(70), 5_000_005.0 - 10 * np.arange(50)
    array = xr.DataArray(
        data, {"t": DATES, "bands": ["red", "nir"], "y": y, "x": x}, ("t", "bands", "y", "x")
    )
    return array.assign_coords(spatial_ref=((), 0, CRS.from_user_input(UTM).to_cf()))


def same(one: xr.DataArray, other: xr.DataArray) -> None:
    """Hold values, dimensions and coordinates of two arrays against each other, to the bit."""
    assert one.dims == other.dims
    for name in one.dims:
        np.testing.assert_array_equal(one[name].to_numpy(), other[name].to_numpy())
    np.testing.assert_array_equal(one.to_numpy(), other.to_numpy())


@pytest.mark.parametrize("chunks", [0, 17])
@pytest.mark.parametrize("block", [16, 1024])
def test_an_array_comes_back_as_it_was(nowhere: Workspace, chunks: int, block: int) -> None:
    array = series(chunks=chunks)

    back = terrazzo.to_xarray(terrazzo.from_xarray(array), nowhere, block=block)

    same(back, array)
    assert back.dtype == array.dtype
    assert CRS.from_cf(back.spatial_ref.attrs) == CRS.from_user_input(UTM)
    same(terrazzo.to_xarray(terrazzo.from_xarray(back), nowhere), array)


@pytest.mark.parametrize("dims", [("y", "x"), ("t", "y", "x"), ("bands", "y", "x")])
def test_dimensions_that_are_not_there_are_not_made(
    nowhere: Workspace, dims: tuple[str, ...]
) -> None:
    array = series().isel({name: 1 for name in ("t", "bands") if name not in dims}, drop=True)

    back = terrazzo.to_xarray(terrazzo.from_xarray(array), nowhere)

    same(back, array)


@pytest.mark.parametrize("upwards", [False, True])
@pytest.mark.parametrize("westwards", [False, True])
@pytest.mark.parametrize("chunks", [0, 16])
def test_axes_may_run_in_any_direction_and_order(
    nowhere: Workspace, upwards: bool, westwards: bool, chunks: int
) -> None:
    array = series(chunks=chunks)
    turned = array.isel(
        y=slice(None, None, -1 if upwards else 1), x=slice(None, None, -1 if westwards else 1)
    ).transpose("x", "bands", "t", "y")
    named = turned.rename(x="easting", y="lat", t="time", bands="band")

    back = terrazzo.to_xarray(terrazzo.from_xarray(named), nowhere, block=20)

    same(back, array)


def test_maths_is_that_of_xarray(nowhere: Workspace) -> None:
    array = series(chunks=30)
    graph = {
        "load": terrazzo.from_xarray(array),
        "ndvi": node("ndvi", data=ref("load")),
        "mean": node("reduce_dimension", data=ref("ndvi"), dimension="t", reducer=callback("max")),
        "half": node(
            "apply", True, data=ref("mean"),
            process=callback("divide", x={"from_parameter": "x"}, y=2),
        ),
    }  # fmt: skip

    made = terrazzo.to_xarray(graph, nowhere, block=24)

    red, nir = array.sel(bands="red", drop=True), array.sel(bands="nir", drop=True)
    expected = ((nir - red) / (nir + red)).max("t") / 2
    same(made, expected.drop_vars("spatial_ref"))
    xr.testing.assert_allclose((made - expected).fillna(0), xr.zeros_like(made))  # they align


def test_labels_are_chosen_as_of_a_collection(nowhere: Workspace) -> None:
    array = series()
    loaded = terrazzo.from_xarray(array)
    given = {
        **loaded["arguments"],
        "bands": ["nir"],
        "temporal_extent": ["2020-02-01", "2020-07-01"],
        "spatial_extent": {
            "west": 500_100, "east": 500_200, "south": 4_999_800, "north": 4_999_900, "crs": 32633,
        },
    }  # fmt: skip

    made = terrazzo.to_xarray({"a": node("load_collection", True, **given)}, nowhere)

    expected = array.sel(bands=["nir"], x=slice(500_100, 500_200), y=slice(4_999_900, 4_999_800))
    same(made, expected.isel(t=[1]))


def test_blocks_read_only_what_they_need(nowhere: Workspace) -> None:
    asked: list[tuple[int, ...]] = []

    def computed(block: np.ndarray[Any, Any], block_info: Any = None) -> np.ndarray[Any, Any]:
        asked.append(block_info[0]["chunk-location"])
        return block

    array = series()
    lazy = dask.array.from_array(array.to_numpy(), (1, 1, 10, 10)).map_blocks(
        computed, dtype=np.float32, meta=np.empty((0,) * 4, np.float32)
    )
    graph = {
        "load": terrazzo.from_xarray(array.copy(data=lazy)),
        "nir": node("filter_bands", True, data=ref("load"), bands=["nir"]),
    }

    made = terrazzo.to_xarray(graph, nowhere, block=10)

    assert asked == []
    part = made.isel(x=slice(30, 40), y=slice(20, 30)).to_numpy()
    np.testing.assert_array_equal(part, array.to_numpy()[:, 1:, 20:30, 30:40])
    assert len(set(asked)) == len(asked) <= 12  # 3 dates of one band, and blocks of the lattice
    assert {place[1] for place in asked} == {1}


def test_numbers_that_are_no_data_are_left_out(nowhere: Workspace) -> None:
    array = series("int16")
    array.attrs["_FillValue"] = int(array[0, 0, 3, 4])

    made = terrazzo.to_xarray(terrazzo.from_xarray(array), nowhere)

    same(made, array.where(array != array.attrs["_FillValue"]).astype(np.float32))


def test_a_dataset_has_a_band_per_variable(nowhere: Workspace) -> None:
    array = series()
    data = array.to_dataset(dim="bands")

    made = terrazzo.to_xarray(terrazzo.from_xarray(data), nowhere)

    same(made, array)


@pytest.mark.parametrize(
    "x",
    [
        -10 + 0.1 * np.arange(70),
        np.linspace(3.0, 9.9, 70),
        (7 + np.arange(70) / 360).astype(np.float32),
        12.000138889 + np.arange(70) * 0.000277777777778,
        1 / 3 + np.arange(70) / 7,
    ],
)
def test_results_have_the_very_coordinates_of_degrees(nowhere: Workspace, x: Any) -> None:
    array = xr.DataArray(np.ones((50, 70)), {"lat": 50 - 0.1 * np.arange(50), "lon": x},
                         ("lat", "lon"))  # fmt: skip

    made = terrazzo.to_xarray(terrazzo.from_xarray(array), nowhere)

    assert CRS.from_cf(made.spatial_ref.attrs) == CRS.from_epsg(4326)
    np.testing.assert_array_equal(made.x, x)
    np.testing.assert_array_equal(made.y, array.lat)


def test_other_grids_are_warped_to_as_rasterio_does(nowhere: Workspace) -> None:
    array = series()
    graph = {
        "load": terrazzo.from_xarray(array),
        "warp": node(
            "resample_spatial", True, data=ref("load"), resolution=0.0002, projection=4326
        ),
    }

    made = terrazzo.to_xarray(graph, nowhere, block=33, exact=True)

    expected = np.full(made.shape, np.nan, np.float32)
    west, north = float(made.x[0]) - 0.0001, float(made.y[0]) + 0.0001
    for index in np.ndindex(3, 2):
        reproject(
            array.to_numpy()[index], expected[index], src_crs=UTM, dst_crs="EPSG:4326",
            src_transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_010),
            dst_transform=rasterio.Affine(0.0002, 0, west, 0, -0.0002, north),
            resampling=Resampling.nearest, src_nodata=np.nan, dst_nodata=np.nan, tolerance=0,
        )  # fmt: skip
    np.testing.assert_array_equal(made.to_numpy(), expected)


def wrong_arrays() -> dict[str, tuple[Any, str]]:
    array = series()
    uneven = array.assign_coords(x=np.r_[0.0:69.0, 80.0])
    return {
        "no CRS": (array.drop_vars("spatial_ref"), "crs='EPSG:32633'"),
        "uneven": (uneven, r"'x' are not evenly spaced: steps of 1 to 12"),
        "nan": (array.assign_coords(y=np.full(50, np.nan)), "'y' are not evenly spaced"),
        "constant": (array.assign_coords(y=np.zeros(50)), "'y' are not evenly spaced"),
        "no x": (array.isel(x=0), "no dimension 'x'"),
        "level": (array.expand_dims(level=[1, 2]), "a dimension 'level' besides"),
        "text": (array.astype(str), "takes numbers"),
        "equal dates": (array.assign_coords(t=DATES[[0, 0, 1]]), "or equal"),
        "text on x": (array.assign_coords(x=[f"{n}" for n in range(70)]), "'x' are <U2, and no"),
        "band y": (array.assign_coords(bands=["y", "nir"]), "band is called 'y'"),
        "band t": (array.assign_coords(bands=["t", "nir"]), "band is called 't'"),
        "one name": (array.assign_coords(bands=["red", "red"]), "several bands called 'red'"),
        "one number": (array.assign_coords(bands=["1", "band1"]), "several bands called 'band1'"),
        "variable x": (
            xr.Dataset({"x": array.isel(bands=0, t=0, drop=True).rename(y="lat", x="lon")}),
            "band is called 'x'",
        ),
        "no dates": (array.assign_coords(t=[1, 2, 3]), "a dimension 't' besides"),
    }


@pytest.mark.parametrize("case", wrong_arrays())
def test_what_lies_nowhere_is_refused_with_a_way_out(case: str) -> None:
    array, said = wrong_arrays()[case]

    with pytest.raises(ArgumentInvalid, match=said):
        terrazzo.from_xarray(array)


@pytest.mark.parametrize("name", ["x", "y", "t", "spatial_ref", "value", ("a", 1)])
def test_an_array_may_have_any_name(nowhere: Workspace, name: Any) -> None:
    array = series().isel(bands=0, drop=True).rename(name)

    same(terrazzo.to_xarray(terrazzo.from_xarray(array), nowhere), array)


def test_coordinates_that_say_something_else_are_no_matter(nowhere: Workspace) -> None:
    array = series().isel(bands=0, drop=True)
    told = array.rename(x="lon", y="lat", t="time").assign_coords(
        x=("lon", np.arange(70)), t=0, value=1
    )

    same(terrazzo.to_xarray(terrazzo.from_xarray(told), nowhere), array)


def test_what_an_array_has_not_is_told(nowhere: Workspace) -> None:
    given = terrazzo.from_xarray(series())
    of_value = callback("eq", x={"from_parameter": "value"}, y=1)
    for more, error in (
        ({"bands": ["blue"]}, BandNotFound),
        ({"temporal_extent": ["2021-01-01", None]}, NoDataAvailable),
        ({"properties": {"a": of_value}}, ArgumentInvalid),
    ):
        asked = node("load_collection", True, **{**given["arguments"], **more})
        with pytest.raises(error):
            terrazzo.to_xarray({"a": asked}, nowhere)


def test_an_array_is_held_as_long_as_somebody_needs_it(nowhere: Workspace) -> None:
    loaded = terrazzo.from_xarray(series())
    plain = dict(loaded)

    lazy = terrazzo.to_xarray(loaded, nowhere)
    del loaded
    gc.collect()

    same(lazy, series())
    del lazy
    from terrazzo.drivers import lazy as drivers  # noqa: PLC0415 - its plans are looked at

    drivers._plans.clear()
    gc.collect()
    with pytest.raises(ArgumentInvalid, match="nobody keeps"):
        terrazzo.to_xarray({"a": {**plain, "result": True}}, nowhere)


def test_other_processes_are_refused_with_a_way_out(nowhere: Workspace) -> None:
    lazy = terrazzo.to_xarray(terrazzo.from_xarray(series()), nowhere)

    with pytest.raises(ArgumentInvalid, match="scheduler='threads'"):
        pickle.dumps(lazy.data)


def test_a_node_is_what_json_says_it_is() -> None:
    loaded = terrazzo.from_xarray(series())

    assert isinstance(loaded, ArrayNode)
    assert loaded["process_id"] == "load_collection"
    assert set(loaded["arguments"]) == {"id", "spatial_extent", "temporal_extent"}
