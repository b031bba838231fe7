"""`terrazzo.Map` as it is used in Python; browsers are played by the messages that they send."""

from __future__ import annotations

import gc
import io
import json
import sys
import time
from queue import Queue
from threading import Event
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import xarray as xr
from PIL import Image
from pyproj import Transformer
from shapely.geometry import Point, box

import terrazzo
from terrazzo.drivers.own import RULES_VARIABLE, own_workspace, rules_told
from terrazzo.errors import ArgumentInvalid, CollectionNotFound, TerrazzoError
from terrazzo.notebook.map_exports import MOST_PASSING, Exports
from terrazzo.notebook.map_places import NothingDrawn
from terrazzo.notebook.map_screens import LayerGone
from terrazzo.notebook.map_sources import ThingUnknown
from terrazzo.sandbox.limits import Limits, Mode, UdfRules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UTM = "EPSG:32633"
LEFT, TOP, PIXEL, HEIGHT, WIDTH = 500_000.0, 5_000_000.0, 10.0, 40, 50
DATES = ("2020-01-01", "2020-02-01", "2020-03-01")
SECONDS = 120


def series() -> xr.DataArray:
    """Three dates of two bands; the number of a pixel tells which it is."""
    numbers = np.arange(3 * 2 * HEIGHT * WIDTH, dtype=np.float32)
    return xr.DataArray(
        numbers.reshape(3, 2, HEIGHT, WIDTH),
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.array(DATES, "datetime64[ns]"),
            "band": ["red", "nir"],
            "y": TOP - PIXEL * (np.arange(HEIGHT) + 0.5),
            "x": LEFT + PIXEL * (np.arange(WIDTH) + 0.5),
        },
    )


def degrees(column: int, row: int) -> tuple[float, float]:
    """Return the middle of a pixel."""
    back = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    x, y = back.transform(LEFT + PIXEL * (column + 0.5), TOP - PIXEL * (row + 0.5))
    return float(x), float(y)


class Browser:
    """Plays the page: what the map sends, and what people do."""

    def __init__(self, shown: terrazzo.Map) -> None:
        self.map = shown
        self.messages: Queue[tuple[Any, Any]] = Queue()
        shown.send = lambda content, buffers=None: self.messages.put((content, buffers))

    def does(self, **message: Any) -> None:
        self.map._take(message, [])

    def next(self) -> tuple[Any, Any]:
        return self.messages.get(timeout=SECONDS)

    def asks(self, method: str, on: str = "", **params: Any) -> tuple[Any, Any]:
        self.does(id="q", method=method, layer=on, params=params)
        content, buffers = self.next()
        assert content["id"] == "q"
        return content, buffers


@pytest.fixture
def m(tmp_path: Path) -> Iterator[terrazzo.Map]:
    made = terrazzo.Map(home=tmp_path)
    yield made
    made.close()


@pytest.fixture
def browser(m: terrazzo.Map) -> Browser:
    return Browser(m)


def test_an_array_keeps_its_numbers_dates_and_bands(m: terrazzo.Map):
    array = series()
    layer = m.add(array, "Numbers", crs=UTM)

    found = m.values(*degrees(7, 3))

    assert layer.dates == tuple(f"{date}T00:00:00Z" for date in DATES)
    assert layer.bands == ("red", "nir")
    assert found["value"].tolist() == array[:, :, 3, 7].to_numpy().ravel().tolist()
    assert found["band"].tolist() == ["red", "nir"] * 3
    assert set(found["resolution"].round(1)) == {PIXEL}


def test_a_file_is_shown_where_it_lies_and_has_no_date_if_nobody_states_one(
    m: terrazzo.Map, tmp_path: Path
):
    path = tmp_path / "heights.tif"
    numbers = np.arange(HEIGHT * WIDTH, dtype=np.int16).reshape(HEIGHT, WIDTH)
    place = rasterio.Affine(PIXEL, 0.0, LEFT, 0.0, -PIXEL, TOP)
    with rasterio.open(
        path, "w", driver="GTiff", height=HEIGHT, width=WIDTH, count=1, dtype="int16", crs=UTM,
        transform=place,
    ) as file:  # fmt: skip
        file.write(numbers, 1)

    layer = m.add(path)

    assert layer.name == "heights"
    assert layer.dates == ()
    assert m.values(*degrees(20, 30))["value"].tolist() == [numbers[30, 20]]


def test_what_is_in_view_is_saved_at_native_resolution(m: terrazzo.Map, tmp_path: Path):
    array = series()
    m.add(array, crs=UTM).show(time="2020-02-01T00:00:00Z")
    west, north = degrees(10, 5)
    east, south = degrees(29, 24)
    m._take({"bounds": [west, south, east, north], "width": 800, "height": 600}, [])

    (path,) = m.save(tmp_path / "part.tif")
    every = m.save(tmp_path / "all.tif", all_dates=True)

    with rasterio.open(path) as file:
        saved, place = file.read(), file.transform
    row, column = round((TOP - place.f) / PIXEL), round((place.c - LEFT) / PIXEL)
    assert (place.a, file.crs.to_epsg()) == (PIXEL, 32633)
    assert saved.shape[-2] >= 20
    part = array[1, :, row : row + saved.shape[-2], column : column + saved.shape[-1]].to_numpy()
    valid = ~np.isnan(saved)
    assert valid.mean() > 0.9
    np.testing.assert_array_equal(saved[valid], part[valid])
    assert len(every) == 3


def test_a_picture_of_the_view_has_its_layers_and_a_strip_that_says_what_they_are(
    m: terrazzo.Map, tmp_path: Path
):
    m.add(
        series(), "All of one colour", stretch=(-2.0, -1.0), colors=["#000000", "#00ff00"], crs=UTM
    )
    west, north = degrees(10, 5)
    east, south = degrees(29, 24)

    (path,) = m.save(tmp_path / "view.png", bounds=(west, south, east, north))

    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    strip = pixels[-60:]
    assert pixels.shape[1] == 2048
    assert pixels[900, 1024].tolist() == [0, 255, 0]
    assert len(np.unique(strip.reshape(-1, 3), axis=0)) > 10


def test_a_tile_that_the_browser_asks_for_is_drawn_by_the_kernel(m: terrazzo.Map, browser: Browser):
    m.add(series(), crs=UTM, stretch=(-2.0, -1.0), colors=["#000000", "#00ff00"])
    added, _ = browser.next()
    key, members = next(iter(added["apply"]["layers"]["set"].items()))

    opened, _ = browser.asks("open", **members["source"])
    about = opened["result"]
    zoom = about["native"]["maxzoom"]
    content, buffers = browser.asks(
        "tile", about["id"], matrix="native", z=zoom, x=0, y=0, look=members["look"]
    )

    assert key == "layer-1"
    assert about["bands"][0]["name"] == "red"
    assert content["result"]["media_type"] == "image/png"
    assert content["result"]["resolution"] == pytest.approx(PIXEL, rel=0.01)
    tile = np.asarray(Image.open(io.BytesIO(buffers[0])).convert("RGBA"))
    assert tile[:HEIGHT, :WIDTH].reshape(-1, 4).min(0).tolist() == [0, 255, 0, 255]
    assert not tile[HEIGHT:, WIDTH:, 3].any()


def test_the_browser_loads_the_land_over_the_channel_and_no_other_file(browser: Browser):
    land, _ = browser.asks("asset", name="land.json")
    other, _ = browser.asks("asset", name="../../notebook/map.py")

    assert land["result"]
    assert "land.json" in other["error"]["message"]


def test_a_layer_of_a_kernel_that_ended_says_so(browser: Browser):
    answer, _ = browser.asks("open", layer="0-abc")

    assert answer["error"]["code"] == "LayerGone"
    assert "again" in answer["error"]["message"]


def test_what_people_do_is_known_here_and_not_sent_back(m: terrazzo.Map, browser: Browser):
    layer = m.add(box(7.0, 45.0, 7.1, 45.1), "Box")
    browser.next()
    seen = []
    m.observe(lambda change: seen.append(change["name"]), ["time", "drawn", "bounds", "inspected"])

    browser.does(changed={"time": "2020-02-01", "layers": {"set": {layer.key: {"opacity": 0.3}}}})
    browser.does(bounds=[6.9, 44.9, 7.2, 45.2], width=800, height=600)
    drawn = {"type": "Feature", "properties": {"name": "A"}, "geometry": {
        "type": "Point", "coordinates": [7.05, 45.05]}}  # fmt: skip
    browser.does(drawn={"type": "FeatureCollection", "features": [drawn]})
    value = {"band": "red", "value": 4.0}
    values = {"resolution": 10.0, "x": 1.0, "y": 2.0, "crs": UTM,
              "dates": [{"date": "2020-01-01T00:00:00Z", "values": [value]}]}  # fmt: skip
    browser.does(inspected={"lon": 7, "lat": 45, "layers": [{"name": "Box", "values": values}]})

    assert layer.opacity == 0.3
    assert m.time == "2020-02-01"
    assert m.bounds == (6.9, 44.9, 7.2, 45.2)
    assert m.drawn.geometry.iloc[0] == Point(7.05, 45.05)
    assert m.drawn.crs.to_epsg() == 4326
    assert m.inspected[["layer", "band", "value"]].to_numpy().tolist() == [["Box", "red", 4.0]]
    assert seen == ["time", "bounds", "drawn", "inspected"]
    assert browser.messages.empty()


def test_what_is_set_here_is_sent(m: terrazzo.Map, browser: Browser):
    layer = m.add(box(7.0, 45.0, 7.1, 45.1))
    other = m.add("https://tiles.example/{z}/{x}/{y}.png", "Streets")
    m.time, m.bounds = "2020-01-01", (6, 44, 8, 46)
    m.drawn = gpd.GeoDataFrame(geometry=[Point(7, 45)], crs="EPSG:4326")
    m.swipe(layer, "Streets")
    m.order(layer)
    layer.name, layer.visible = "Mine", False
    other.remove()
    sent = [browser.next()[0] for _ in range(10)]

    told = [next(iter(one.get("apply", one))) for one in sent]
    assert told == ["layers", "layers", "time", "extra", "draw", "swipe", "layers", "layers",
                    "layers", "layers"]  # fmt: skip
    assert sent[3]["apply"]["extra"]["fit"] == [6.0, 44.0, 8.0, 46.0]
    assert sent[5]["apply"]["swipe"]["left"] == [layer.key]
    assert sent[9]["apply"]["swipe"] is None
    assert m.layers == (layer,)
    assert m.state["layers"][0]["name"] == "Mine"


def test_features_are_shown_in_degrees(m: terrazzo.Map):
    parcels = gpd.GeoDataFrame(
        {"crop": ["maize", "rye"]},
        geometry=[box(LEFT, TOP - 100, LEFT + 100, TOP), box(LEFT, TOP, LEFT + 50, TOP + 50)],
        crs=UTM,
    )

    layer = m.add(parcels, "Parcels", color="#112233")

    state = m.layer_state(layer.key)
    corners = np.array(state["data"]["features"][0]["geometry"]["coordinates"][0])
    to_degrees = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    west, _ = to_degrees.transform(LEFT, TOP)
    assert state["color"] == "#112233"
    assert state["data"]["features"][1]["properties"]["crop"] == "rye"
    assert corners[:, 0].min() == pytest.approx(west, abs=1e-6)


def test_addresses_become_layers_of_other_services(m: terrazzo.Map):
    tiles = m.add("https://tiles.example/{z}/{x}/{-y}.png", attribution="Example")
    service = m.add("https://wms.example/ows?map=a&SERVICE=WMS&LAYERS=roads&version=1.3.0")

    assert m.layer_state(tiles.key)["kind"] == "xyz"
    assert m.layer_state(tiles.key)["attribution"] == "Example"
    told = m.layer_state(service.key)
    assert (told["kind"], told["url"], told["layers"]) == (
        "wms", "https://wms.example/ows?map=a", "roads",
    )  # fmt: skip


def test_looks_are_said_as_people_write_them(m: terrazzo.Map):
    layer = m.add(series(), crs=UTM, stretch=(0, 100), colors="RdYlGn_r", gamma=1.5)
    first = layer.look
    layer.show(bands="nir", stretch="percentile", colors={1: "#ff0000", 2: ("#00ff00", "rye")})
    second = layer.look

    assert first == {
        "stretch": {"kind": "range", "low": 0, "high": 100, "gamma": 1.5}, "colors": "RdYlGn_r",
    }  # fmt: skip
    assert second["bands"] == ["nir"]
    assert second["stretch"] == {"kind": "percentile"}
    assert second["colors"]["classes"][1] == {"value": 2, "color": "#00ff00", "label": "rye"}


def test_a_date_may_be_said_in_short(m: terrazzo.Map):
    layer = m.add(series(), crs=UTM, time="2020-02")
    first = layer.look["time"]
    layer.show(time=np.datetime64("2020-03-01", "D").item())

    assert (first, layer.look["time"]) == ("2020-02-01T00:00:00Z", "2020-03-01T00:00:00Z")
    with pytest.raises(ArgumentInvalid, match="2020-01-01T00:00:00Z to"):
        layer.show(time="2019")


def test_a_map_in_another_projection_tells_browsers_how_it_is_made(tmp_path: Path):
    m = terrazzo.Map(home=tmp_path, crs="EPSG:3035")
    told = m.state["extra"]["projection"]
    m.close()

    assert m.state["view"]["projection"] == told["crs"] == "EPSG:3035"
    assert "laea" in told["proj4"]
    centre = Transformer.from_crs("EPSG:4326", "EPSG:3035", always_xy=True).transform(10, 52)
    left, bottom, right, top = told["extent"]
    assert left < centre[0] < right
    assert bottom < centre[1] < top


def test_linked_maps_have_one_name_for_their_link(tmp_path: Path):
    one, other, third = (terrazzo.Map(home=tmp_path) for _ in range(3))

    one.link(other)
    third.link(one)
    names = {each.state["extra"]["link"] for each in (one, other, third)}
    for each in (one, other, third):
        each.close()

    assert len(names) == 1


def test_a_profile_has_a_row_for_every_date_and_band(m: terrazzo.Map):
    array = series()
    m.add(array, crs=UTM)
    square = box(LEFT + 100, TOP - 150, LEFT + 200, TOP - 50)
    parcels = gpd.GeoDataFrame(geometry=[square], crs=UTM)

    found = m.profile(parcels, bands=["nir"])
    m.drawn = parcels
    drawn = m.profile(bands=["nir"])

    means = array.sel(band="nir")[:, 5:15, 10:20].mean(("y", "x")).to_numpy()
    np.testing.assert_allclose(found["value"], means, rtol=1e-4)
    assert found["date"].dt.strftime("%Y-%m-%d").tolist() == list(DATES)
    assert found.attrs["resolution"] == pytest.approx(PIXEL, rel=0.01)
    np.testing.assert_array_equal(drawn["value"], found["value"])


def test_an_export_runs_in_the_kernel_and_its_file_comes_over_the_channel(
    m: terrazzo.Map, browser: Browser, tmp_path: Path
):
    m._exports = Exports(tmp_path / "exports")
    array = series()
    about = m.add(array, crs=UTM).opened.about
    browser.next()
    part = [LEFT + 100, TOP - 150, LEFT + 200, TOP - 50]
    order = {
        "layer": about["id"], "bounds": part, "crs": UTM, "date": about["dates"][1],
        "format": "netCDF", "title": "My view/1",
    }  # fmt: skip

    name = browser.asks("export_start", **order)[0]["result"]["id"]
    status: dict[str, Any] = {"status": "running"}
    while status["status"] == "running":
        status = browser.asks("export_status", id=name)[0]["result"]
    assert status["status"] == "finished", status
    content, buffers = browser.asks("export_file", id=name, name=status["files"][0]["name"])
    unknown, _ = browser.asks("export_file", id=name, name="../../secret")

    saved = xr.open_dataset(io.BytesIO(buffers[0]), engine="h5netcdf")
    assert (tmp_path / "exports" / "My-view-1").is_dir()
    assert content["result"]["name"].endswith(".nc")
    np.testing.assert_array_equal(saved["nir"].squeeze(), array[1, 1, 5:15, 10:20])
    assert unknown["error"]["code"] == "ExportUnknown"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (
            {"graph": {"load": {"process_id": "load_collection", "arguments": {}}}},
            "ProcessParameterInvalid",
        ),
        ({"layer": "0-of-nobody"}, "LayerGone"),
        ({"crs": "EPSG:3035"}, "ProcessParameterInvalid"),
        ({"bounds": [0, 0, "a", 1]}, "ProcessParameterInvalid"),
        ({"date": "2019-01-01T00:00:00Z"}, "ProcessParameterInvalid"),
        ({"format": "PNG"}, "ProcessParameterInvalid"),
    ],
)
def test_browsers_export_parts_of_the_layers_of_a_map_and_nothing_else(
    m: terrazzo.Map, browser: Browser, tmp_path: Path, changed: dict[str, Any], code: str
):
    m._exports = Exports(tmp_path / "exports")
    layer = m.add(series(), crs=UTM).opened.about["id"]
    browser.next()
    order = {"layer": layer, "bounds": [15.0, 45.1, 15.01, 45.2], "format": "COG", "title": "a"}

    answer = browser.asks("export_start", **{**order, **changed})[0]

    assert answer["error"]["code"] == code
    assert not (tmp_path / "exports").exists()


def test_two_exports_of_a_map_run_at_a_time(
    m: terrazzo.Map, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    m._exports = Exports(tmp_path / "exports")
    opened = m.add(series(), crs=UTM).opened
    browser.next()
    gate, folders = Event(), Queue()

    def waits(_graph: object, folder: Path, _progress: object) -> list[Path]:
        folders.put(folder)
        gate.wait(SECONDS)
        return []

    monkeypatch.setattr(opened.screen, "save", waits)
    order = {"layer": opened.about["id"], "bounds": [15.0, 45.1, 15.01, 45.2], "format": "COG"}

    first, second, third = (browser.asks("export_start", **order)[0] for _ in range(3))
    gate.set()

    assert first["result"]["id"] != second["result"]["id"]
    assert third["error"]["code"] == "ExportsBusy"
    assert folders.get(timeout=SECONDS) != folders.get(timeout=SECONDS)
    assert folders.empty()


def test_files_of_exports_on_a_dashboard_go_with_those_that_came_after_and_with_the_kernel(
    m: terrazzo.Map, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    m._exports = Exports(tmp_path, passing=True)
    opened = m.add(series(), crs=UTM).opened
    browser.next()
    folders: list[Path] = []

    def saves(_graph: object, folder: Path, _progress: object) -> list[Path]:
        folders.append(folder)
        (folder / "a.tif").write_bytes(b"numbers")
        return [folder / "a.tif"]

    monkeypatch.setattr(opened.screen, "save", saves)
    order = {"layer": opened.about["id"], "bounds": [15.0, 45.1, 15.01, 45.2], "format": "COG"}

    for number in range(MOST_PASSING + 2):
        started = browser.asks("export_start", **order)[0]["result"]["id"]
        while (told := m._exports.status(started))["status"] == "running":
            time.sleep(0.01)
        assert told == {"status": "finished", "progress": None, "message": "",
                        "files": [{"name": "a.tif", "bytes": 7}]}, number  # fmt: skip

    assert [one.exists() for one in folders] == [False, False, *[True] * MOST_PASSING]
    assert m._exports.status("export-1")["files"] == []
    m._exports = Exports(tmp_path)
    gc.collect()
    assert not any(tmp_path.glob("terrazzo-exports-*"))


def test_a_map_has_the_rules_of_the_command_that_started_its_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rules = UdfRules(Mode.OFF, Limits(wall_seconds=3), (("geo", "/opt/geo/bin/python"),))
    monkeypatch.setenv("TERRAZZO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(RULES_VARIABLE, rules_told([tmp_path], ["data.example"], rules))

    made = [terrazzo.Map(), terrazzo.Map(home=tmp_path / "other")]
    held = [one._own._workspace for one in made]
    for one in made:
        one.close()

    assert [workspace.home for workspace in held] == [tmp_path / "home", tmp_path / "other"]
    for workspace in held:
        assert workspace.udf == rules
        assert workspace.roots == (tmp_path,)
        assert workspace.hosts == ("data.example",)


def test_rules_that_cannot_be_read_are_none_that_are_looser():
    with pytest.raises(ArgumentInvalid, match=RULES_VARIABLE):
        own_workspace({RULES_VARIABLE: '{"roots": [], "hosts": []}'})


@pytest.mark.parametrize(
    ("thing", "error", "words"),
    [
        (12, ThingUnknown, "A int cannot be shown"),
        ("nowhere.tif", ThingUnknown, "There is no file nowhere.tif"),
        ({"a": 1}, ThingUnknown, "no process graph"),
        ("https://wms.example/ows", ThingUnknown, "name its layers"),
        (series(), ArgumentInvalid, "crs='EPSG:32633'"),
        (series().isel(x=0), ArgumentInvalid, "no dimension 'x'"),
        (series().expand_dims(level=[1, 2]), ArgumentInvalid, "'level'"),
        (gpd.GeoDataFrame(geometry=[Point(0, 0)]), ArgumentInvalid, "set_crs"),
        (gpd.GeoDataFrame(geometry=[], crs=UTM), ArgumentInvalid, "no features"),
    ],
)
def test_what_cannot_be_shown_gets_one_clear_error_and_changes_nothing(
    m: terrazzo.Map, thing: object, error: type[Exception], words: str
):
    with pytest.raises(error, match=words.replace("(", r"\(")):
        m.add(thing, crs=UTM if getattr(thing, "ndim", 0) == 3 or "level" in words else "")

    assert m.layers == ()


def test_a_collection_that_is_not_there_is_named(m: terrazzo.Map):
    with pytest.raises((CollectionNotFound, ArgumentInvalid)):
        m.add("no-such-collection")


def test_mistakes_about_layers_are_told(m: terrazzo.Map):
    layer = m.add(box(0, 0, 1, 1), "Box")

    with pytest.raises(LayerGone, match="Box"):
        m.layer("Bocks")
    with pytest.raises(LayerGone, match="Nothing on the map is computed"):
        m.values(0, 0)
    with pytest.raises(ArgumentInvalid, match="no raster"):
        m.profile(Point(0, 0), layer="Box")
    with pytest.raises(ArgumentInvalid, match="opacity"):
        layer.opacity = 2
    with pytest.raises(ArgumentInvalid, match=r"\.tif"):
        m.save("view.jpg")
    with pytest.raises(ArgumentInvalid, match="Nobody has looked"):
        m.save("view.tif")
    with pytest.raises(ArgumentInvalid, match="only what is computed"):
        m.add(box(0, 0, 1, 1), stretch=(0, 1))
    layer.remove()
    with pytest.raises(LayerGone, match="removed"):
        layer.opacity = 1


def test_a_profile_needs_a_place(m: terrazzo.Map):
    m.add(series(), crs=UTM)

    with pytest.raises(NothingDrawn, match="Draw a polygon"):
        m.profile()
    with pytest.raises(ArgumentInvalid, match="2"):
        m.profile(gpd.GeoDataFrame(geometry=[Point(0, 0), Point(1, 1)], crs="EPSG:4326"))


def test_without_the_extra_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    for name in ("map", "map_widget"):
        monkeypatch.delitem(sys.modules, f"terrazzo.notebook.{name}")

    with pytest.raises(TerrazzoError, match=r"pip install 'terrazzo\[notebook\]'"):
        terrazzo.Map  # noqa: B018 - what is tested is that it is asked for


def test_a_graph_in_a_file_is_shown_like_the_graph(m: terrazzo.Map, tmp_path: Path):
    first = m.add(series(), crs=UTM)
    graph = {"process_graph": dict(first.opened.graph)}
    (tmp_path / "graph.json").write_text(json.dumps(graph))

    with pytest.raises((CollectionNotFound, ArgumentInvalid)):
        m.add(tmp_path / "graph.json")  # of the map's own folder, which has no such collection
