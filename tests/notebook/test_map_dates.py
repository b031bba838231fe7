"""Which date of a layer a map shows and saves, what labels become in tables, what it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from pyproj import Transformer

import terrazzo
from terrazzo.notebook.map_answers import inspected_frame, profile_frame
from terrazzo.notebook.map_arrays import as_dataset
from terrazzo.notebook.map_layer import date_for
from terrazzo.notebook.map_screens import LayerGone
from terrazzo.notebook.map_widget import SCRATCH
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UTM = "EPSG:32633"
LEFT, TOP, PIXEL, EDGE = 500_000.0, 5_000_000.0, 10.0, 20
DATES = ("2020-01-20T00:00:00Z", "2020-02-10T00:00:00Z", "2020-03-05T00:00:00Z")


def series(*dates: str) -> xr.DataArray:
    """Every date has its place in the order of `DATES` in all pixels."""
    numbers = np.array([DATES.index(date) for date in dates], np.float32)
    return xr.DataArray(
        np.broadcast_to(numbers[:, None, None], (len(dates), EDGE, EDGE)),
        dims=("time", "y", "x"),
        coords={
            "time": np.array([date[:10] for date in dates], "datetime64[ns]"),
            "y": TOP - PIXEL * (np.arange(EDGE) + 0.5),
            "x": LEFT + PIXEL * (np.arange(EDGE) + 0.5),
        },
    )


def box() -> tuple[float, float, float, float]:
    """Return the middle of it in degrees."""
    back = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    west, south = back.transform(LEFT + 50, TOP - 150)
    east, north = back.transform(LEFT + 150, TOP - 50)
    return west, south, east, north


def place() -> tuple[float, float]:
    """Return the middle of it."""
    west, south, east, north = box()
    return (west + east) / 2, (south + north) / 2


def saved(shown: terrazzo.Map, folder: Path, **chosen: Any) -> list[float]:
    """Return the numbers in the files that a map saves."""
    found = []
    for path in shown.save(folder / "saved.tif", bounds=box(), **chosen):
        with rasterio.open(path) as file:
            pixels = file.read(1, masked=True).compressed()
        assert pixels.size
        found += np.unique(pixels).tolist()
    return found


@pytest.fixture
def m(tmp_path: Path) -> Iterator[terrazzo.Map]:
    made = terrazzo.Map(home=tmp_path)
    yield made
    made.close()


def by_period(shown: terrazzo.Map, period: str) -> Iterator[terrazzo.Map]:
    """Add the dates of a map by periods to another one."""
    graph = {
        name: dict(node) for name, node in shown.add(series(*DATES), crs=UTM).opened.graph.items()
    }
    graph["load"].pop("result")
    mean = {"process_id": "mean", "arguments": {"data": {"from_parameter": "data"}}, "result": True}
    arguments = {
        "data": {"from_node": "load"}, "period": period, "reducer": {"process_graph": {"m": mean}},
    }  # fmt: skip
    graph["by"] = {
        "process_id": "aggregate_temporal_period",
        "arguments": arguments,
        "result": True,
    }
    made = terrazzo.Map(home=SCRATCH.workspace.home)
    made.add(graph)
    yield made
    made.close()


@pytest.fixture
def seasons(m: terrazzo.Map) -> Iterator[terrazzo.Map]:
    yield from by_period(m, "season")


@pytest.fixture
def weeks(m: terrazzo.Map) -> Iterator[terrazzo.Map]:
    yield from by_period(m, "week")


def test_the_date_that_a_layer_was_told_to_show_is_saved(m: terrazzo.Map, tmp_path: Path):
    layer = m.add(series(*DATES), crs=UTM)

    m.time = DATES[0]
    first = saved(m, tmp_path)
    layer.show(time=DATES[1])
    second = saved(m, tmp_path)
    m.time = DATES[2]

    assert first == [0.0]
    assert second == [1.0]
    assert saved(m, tmp_path) == [2.0]


def test_a_layer_without_the_date_of_the_map_has_the_last_before_it(
    m: terrazzo.Map, tmp_path: Path
):
    m.add(series(DATES[0], DATES[2]), "Before", crs=UTM)
    m.time = DATES[1]
    m.add(series(DATES[0], DATES[2]), "After", crs=UTM)
    m.add(series(DATES[2]), "Later only", crs=UTM)

    assert saved(m, tmp_path, layer="Before") == [0.0]
    assert saved(m, tmp_path, layer="After") == [0.0]
    assert saved(m, tmp_path, layer="Later only") == [2.0]


def test_a_pinned_layer_keeps_its_date(m: terrazzo.Map, tmp_path: Path):
    layer = m.add(series(*DATES), crs=UTM, time=DATES[0])
    m._take({"changed": {"layers": {"set": {layer.key: {"pinned": True}}}}}, [])

    m.time = DATES[2]

    assert saved(m, tmp_path) == [0.0]


@pytest.mark.parametrize(
    ("dates", "time", "shown"),
    [
        (["2020-01-20", "2020-03-05"], "2020-03-04T23:59:59Z", "2020-01-20"),
        (["2020-03-05", "2020-01-20"], "2020-04-01", "2020-01-20"),
        (["2020-mam", "2020-jja"], "2020-jja", "2020-jja"),
        (["2020-mam", "2020-jja"], "2020-07-01", None),
        (["2020-01-20", "2020-03-05"], "2020-05", None),
        ([], "2020-05-01", None),
    ],
)
def test_names_of_periods_have_no_place_among_dates(dates: list[str], time: str, shown: str | None):
    assert date_for(dates, time) == shown


def test_seasons_are_told_and_saved_by_their_names(seasons: terrazzo.Map, tmp_path: Path):
    names = ["2019-djf", "2020-mam"]

    found = seasons.values(*place())
    course = seasons.profile({"type": "Point", "coordinates": list(place())})
    last = saved(seasons, tmp_path)
    seasons.time = names[0]

    assert seasons.layers[0].dates == tuple(names)
    assert found["date"].tolist() == course["date"].tolist() == names
    assert found["value"].tolist() == course["value"].tolist() == [0.5, 2.0]
    assert last == [2.0]
    assert saved(seasons, tmp_path) == [0.5]
    assert saved(seasons, tmp_path, all_dates=True) == [0.5, 2.0]


def test_weeks_are_never_taken_for_months(weeks: terrazzo.Map, tmp_path: Path):
    names = [pd.Timestamp(date).strftime("%Y-%V") for date in DATES]

    found = weeks.values(*place())
    weeks.layers[0].show(time=names[1])

    assert found.set_index("date")["value"][names].tolist() == [0.0, 1.0, 2.0]
    assert saved(weeks, tmp_path) == [1.0]


def test_days_and_times_become_instants_of_a_table():
    told = {"resolution": 10.0, "x": 1.0, "y": 2.0, "crs": UTM}

    def layer(name: str, *labels: str | None) -> dict[str, Any]:
        dates = [{"date": label, "values": [{"band": "red", "value": 1}]} for label in labels]
        return {"name": name, "values": {**told, "dates": dates}}

    exact = inspected_frame([layer("a", "2020-05-01", "2020-05-01T10:00:00.5Z"), layer("b", None)])
    mixed = inspected_frame([layer("a", "2020-05-01"), layer("b", "2020-jja")])
    rows = [
        {"date": month, "values": {"red": 1.0}, "valid": 1.0, "count": 4.0}
        for month in ("2020-05", "2020-06")
    ]
    months = profile_frame({"bands": [{"name": "red"}], "rows": rows, "resolution": 10.0})

    stamps = [pd.Timestamp("2020-05-01", tz="UTC"), pd.Timestamp("2020-05-01T10:00:00.5Z")]
    assert exact["date"].tolist()[:2] == stamps
    assert pd.isna(exact["date"].iloc[2])
    assert mixed["date"].tolist() == ["2020-05-01", "2020-jja"]
    assert months["date"].tolist() == ["2020-05", "2020-06"]


def read_as_map_reads(data: xr.DataArray | xr.Dataset, path: Path, band: str) -> Any:
    as_dataset(data, UTM).to_netcdf(path, engine="h5netcdf")
    with rasterio.open(f"netcdf:{path}:{band}") as file:
        return file.read(1, masked=True)


def test_zeros_of_scaled_values_are_no_holes(tmp_path: Path):
    packed = np.array([[0, 1000], [2000, 3000]], np.uint16)
    attributes = {"scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": np.uint16(0)}
    coordinates = {"x": [5.0, 15.0], "y": [25.0, 15.0]}
    xr.Dataset({"red": (("y", "x"), packed, attributes)}, coordinates).to_netcdf(
        tmp_path / "packed.nc", engine="h5netcdf"
    )

    with xr.open_dataset(tmp_path / "packed.nc", engine="h5netcdf") as opened:
        values = opened["red"].to_numpy()
        read = read_as_map_reads(opened, tmp_path / "read.nc", "red")

    hole = np.isnan(values)
    assert hole.sum() == 1
    np.testing.assert_array_equal(np.ma.getmaskarray(read) | np.isnan(read.data), hole)
    np.testing.assert_array_equal(read.data[~hole], values[~hole])


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float32])
def test_no_data_stays_none_in_every_type(dtype: type, tmp_path: Path):
    values = np.array([[1, 2], [-9999, 4]], dtype)
    coordinates = {"x": [5.0, 15.0], "y": [25.0, 15.0]}
    array = xr.DataArray(values, coordinates, ("y", "x"), "red", {"_FillValue": -9999})

    read = read_as_map_reads(array, tmp_path / "read.nc", "red")

    np.testing.assert_array_equal(np.ma.getmaskarray(read), values == -9999)
    assert read.compressed().tolist() == [1, 2, 4]


@pytest.mark.parametrize("by", ["python", "browser"])
def test_of_a_layer_that_was_removed_nothing_is_kept(m: terrazzo.Map, by: str):
    graph = m.add(series(*DATES), "Gone", crs=UTM).opened.graph
    stays = m.add(series(*DATES), "Stays", crs=UTM)
    (screen,) = m._screens.values()
    known = m.layer("Gone").opened
    folder = SCRATCH.workspace.assets / graph["load"]["arguments"]["id"]
    assert folder.is_dir()

    if by == "python":
        m.remove("Gone")
    else:
        m._take({"changed": {"layers": {"gone": [m.layer("Gone").key]}}}, [])

    with pytest.raises(LayerGone, match="removed"):
        screen.ask("values", known.id, {"lon": 0.0, "lat": 0.0}, Progress())
    assert list(screen._layers) == [stays.opened.id]
    assert not folder.exists()
    assert list(m._known) == [stays.opened.about["id"]]
    assert m.values(*place())["value"].tolist() == [0.0, 1.0, 2.0]


def test_what_two_layers_show_is_kept_until_both_are_gone(m: terrazzo.Map):
    graph = m.add(series(*DATES), crs=UTM).opened.graph
    shown = terrazzo.Map(home=SCRATCH.workspace.home)
    shown.add(dict(graph), "One")
    shown.add(dict(graph), "Other")

    shown.remove("One")
    left = shown.values(*place())
    shown.remove("Other")

    assert left["value"].tolist() == [0.0, 1.0, 2.0]
    assert shown._known == {}
    shown.close()
