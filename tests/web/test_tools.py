"""The tools of the map over made-up data, used in a real browser as a person would.

The page is `web/test/harness`: every tool beside one map, and a computing side that makes its
answers up. That real answers come out of these tools is shown by the tests of the whole screens.
"""

from __future__ import annotations

import csv
import functools
import http.server
import json
import math
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from PIL import Image
from playwright.sync_api import expect
from pyproj import Geod, Transformer
from tests.web.looking import barriers, cut_off

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page
    from tests.web.conftest import Keep

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WGS84 = Geod(ellps="WGS84")
BUILD = (
    "import hatch_build, sys; hatch_build.install(); "
    "hatch_build.node('test/harness/build.mjs', sys.argv[1])"
)
TRIANGLE = "21.1 45.7, 21.3 45.7, 21.3 45.85"
PHONE = {"width": 360, "height": 740}
TALL = {"width": 1100, "height": 2600}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its interface
        """Say nothing."""


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the page with every tool."""
    folder = tmp_path_factory.mktemp("harness")
    subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=ROOT, check=True)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def tools(page: Page, harness: str) -> Page:
    """The page, all of its panels in sight."""
    page.set_viewport_size(TALL)  # type: ignore[arg-type]
    page.goto(harness)
    page.locator("body[data-ready]").wait_for()
    return page


def _asked(page: Page, method: str) -> list[dict[str, Any]]:
    """Return the parameters of every request of one kind."""
    found: list[dict[str, Any]] = page.evaluate(
        "method => asked.filter((one) => one.method === method).map((one) => one.params)", method
    )
    return found


def _add(page: Page, text: str, shape: str = "Polygon") -> None:
    draw = page.get_by_role("region", name="Draw")
    if not draw.get_by_role("combobox", name="Shape").is_visible():
        draw.get_by_text("By coordinates").click()
    draw.get_by_role("combobox", name="Shape").select_option(label=shape)
    draw.get_by_label("Longitude latitude").fill(text)
    draw.get_by_role("button", name="Add").click()


def _press(page: Page, *places: tuple[float, float]) -> None:
    """Press at places of the map; of several, twice at the last."""
    box = page.locator(".tz-canvas").bounding_box()
    assert box is not None
    for n, (x, y) in enumerate(places):
        page.mouse.move(box["x"] + x, box["y"] + y, steps=3)
        click = page.mouse.dblclick if 0 < n == len(places) - 1 else page.mouse.click
        click(box["x"] + x, box["y"] + y)


def _degrees(page: Page, x: float, y: float) -> tuple[float, float]:
    """Return where a pixel of the map is, by pyproj."""
    west, south, east, north = page.evaluate("view.bounds().bounds")
    width, height = page.evaluate("[view.bounds().width, view.bounds().height]")
    to_degrees = Transformer.from_crs(3857, 4326, always_xy=True)
    found: tuple[float, float] = to_degrees.transform(
        west + (east - west) * x / width, north - (north - south) * y / height
    )
    return found


def test_sizes_agree_with_pyproj(tools: Page) -> None:
    rng = np.random.default_rng(7)
    shapes = []
    for spread in (0.001, 0.1, 2, 20):
        for _ in range(20):
            around = rng.uniform((-170, -65), (170, 65))
            angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
            away = spread * rng.uniform(0.4, 1, 7)
            ring = around + np.column_stack([away * np.cos(angles), away * np.sin(angles)])
            shapes += [shapely.Polygon(ring), shapely.LineString(ring)]

    found = tools.evaluate(
        "shapes => shapes.map((one) => measured(JSON.parse(one)))",
        [shapely.to_geojson(shape) for shape in shapes],
    )

    for shape, size in zip(shapes, found, strict=True):
        if shape.geom_type == "Polygon":
            area, around_it = WGS84.geometry_area_perimeter(shape)
            assert size["squareMetres"] == pytest.approx(abs(area), rel=1e-6)
            assert size["metres"] == pytest.approx(around_it, rel=1e-9)
        else:
            assert size["metres"] == pytest.approx(WGS84.geometry_length(shape), rel=1e-9)


def test_a_distance_measured_by_hand_is_that_of_pyproj(tools: Page, keep: Keep) -> None:
    corners = [(200.0, 300.0), (420.0, 330.0), (500.0, 200.0)]
    places = [_degrees(tools, *corner) for corner in corners]

    tools.get_by_role("button", name="Distance").click()
    _press(tools, *corners)
    keep("measured")

    metres = WGS84.line_length(*zip(*places, strict=True))
    expect(tools.locator("output", has_text="km")).to_have_text(f"{metres / 1000:.4g} km")
    legs = WGS84.line_lengths(*zip(*places, strict=True))
    steps = tools.get_by_role("region", name="Measure").get_by_role("listitem")
    assert steps.all_text_contents() == [f"{leg / 1000:.4g} km" for leg in legs]


def test_a_polygon_is_drawn_named_deleted_and_brought_back(tools: Page, tmp_path: Path) -> None:
    corners = [(200.0, 200.0), (400.0, 210.0), (380.0, 400.0), (210.0, 390.0)]
    ring = [_degrees(tools, *corner) for corner in corners]
    draw = tools.get_by_role("region", name="Draw")

    draw.get_by_role("button", name="Polygon").click()
    _press(tools, *corners)
    draw.get_by_label("Name of Polygon 1").fill("Field of Ana")
    draw.get_by_label("Name of Polygon 1").press("Enter")
    with tools.expect_download() as download:
        draw.get_by_role("button", name="Save as GeoJSON").click()
    download.value.save_as(tmp_path / "drawn.geojson")
    draw.get_by_role("button", name="Delete Field of Ana").click()
    expect(draw.get_by_role("listitem")).to_have_count(0)
    draw.get_by_role("button", name="Undo").click()

    expect(draw.get_by_label("Name of Field of Ana")).to_have_value("Field of Ana")
    (feature,) = json.loads((tmp_path / "drawn.geojson").read_text())["features"]
    drawn = shapely.from_geojson(json.dumps(feature["geometry"]))
    assert feature["properties"]["name"] == "Field of Ana"
    assert drawn.exterior.is_ccw
    assert drawn.symmetric_difference(shapely.Polygon(ring)).area < 1e-6 * drawn.area


def test_the_press_that_ends_a_shape_means_nothing_else_on_a_slow_machine(tools: Page) -> None:
    button = tools.get_by_role("region", name="Draw").get_by_role("button", name="Rectangle")
    button.click()
    # What is done with a shape takes longer than there is between the ends of press and mode.
    tools.evaluate("""() => {
      const slow = () => { const end = performance.now() + 500; while (performance.now() < end); };
      for (const one of view.map.getInteractions().getArray()) one.on('drawend', slow);
      const held = () => document.querySelector('.tz-draw button[aria-pressed=true]')?.textContent;
      window.heard = [];
      view.map.on('singleclick', () => heard.push(held() ?? 'nothing'));
    }""")

    _press(tools, (200.0, 200.0))
    tools.wait_for_function("heard.length === 1")
    _press(tools, (400.0, 300.0))
    tools.wait_for_function("heard.length === 2")

    assert tools.evaluate("heard") == ["Rectangle", "Rectangle"]
    expect(button).to_have_attribute("aria-pressed", "false")


def test_the_corner_of_a_shape_can_be_pulled(tools: Page) -> None:
    _add(tools, TRIANGLE)
    draw = tools.get_by_role("region", name="Draw")
    x, y = tools.evaluate(
        "corner => view.map.getPixelFromCoordinate(corner)",
        Transformer.from_crs(4326, 3857, always_xy=True).transform(21.3, 45.7),
    )
    size = draw.get_by_role("listitem").inner_text()

    draw.get_by_role("button", name="Edit").click()
    tools.mouse.move(x, y, steps=3)
    tools.mouse.down()
    tools.mouse.move(x + 60, y + 40, steps=5)
    tools.mouse.up()

    expect(draw.get_by_role("listitem")).not_to_have_text(size)
    tools.keyboard.press("Escape")
    expect(draw.get_by_role("button", name="Edit")).to_have_attribute("aria-pressed", "false")


def test_what_is_no_shape_is_refused_where_it_was_typed(tools: Page) -> None:
    _add(tools, "21.1 45.7, 700 45.7, 21.3 45.85")

    told = tools.get_by_role("region", name="Draw").get_by_role("alert")
    expect(told).to_contain_text("700 45.7 is no longitude and latitude")


def test_the_profile_of_a_drawn_field_shows_and_saves_all_dates(
    tools: Page, tmp_path: Path, keep: Keep
) -> None:
    _add(tools, TRIANGLE)
    profile = tools.get_by_role("region", name="Profile over all dates")
    for told in ("24 of 36 dates clear (full dots)", "computed at 10 m"):
        expect(profile).to_contain_text(told)
    profile.get_by_label("Clear from").fill("100")
    keep("profile")

    with tools.expect_download() as download:
        profile.get_by_role("button", name="Save as CSV").click()
    download.value.save_as(tmp_path / "profile.csv")

    expect(profile).to_contain_text("12 of 36 dates clear")
    asked = _asked(tools, "profile")[-1]
    assert asked["geometry"]["coordinates"][0][0] == [21.1, 45.7]
    assert asked["smooth"] == {"method": "whittaker", "smoothness": 1000}
    rows = list(csv.DictReader((tmp_path / "profile.csv").read_text().splitlines()))
    seen = [row for row in rows if row["valid_share"]]
    first = datetime(2024, 1, 3, tzinfo=UTC)
    days = [f"{first + timedelta(days=10 * n):%Y-%m-%dT%H:%M:%SZ}" for n in range(36)]
    assert [row["date"] for row in seen] == days
    assert [row["ndvi"] == "" for row in seen] == [n % 6 == 4 for n in range(36)]
    assert {row["cloud_free"] for row in seen if float(row["valid_share"]) < 1} == {"false"}
    assert {row["resolution_m"] for row in rows} == {"10"}
    assert all(row["ndvi_smoothed"] for row in rows[:20])


def test_numbers_of_a_chart_are_in_a_table_too(tools: Page) -> None:
    _add(tools, TRIANGLE)
    profile = tools.get_by_role("region", name="Profile over all dates")

    profile.get_by_text("Numbers as a table").click()

    rows = profile.get_by_role("row")
    expect(rows).to_have_count(37)
    expect(rows.nth(3)).to_have_text("2024-01-23\u22120.11190.068140 %")


def test_a_press_tells_the_values_of_all_layers_with_date_and_resolution(
    tools: Page, keep: Keep
) -> None:
    tools.get_by_role("button", name="Inspect").click()

    _press(tools, (300.0, 300.0))

    found = tools.get_by_role("region", name="Values at a place")
    expect(found.get_by_role("heading", level=4)).to_have_text(
        ["Soil moisture of the upper layer, modelled", "NDVI"]
    )
    expect(found.get_by_role("row").nth(1)).to_have_text("2024-06-21ndvi0.6123")
    expect(found.get_by_role("row").nth(2)).to_have_text("2024-06-21redno data")
    expect(found.get_by_role("row").nth(3)).to_have_text("2024-06-21class4 (Vegetation)")
    expect(found.get_by_text("computed at 10 m")).to_have_count(2)
    lon, lat = _degrees(tools, 300, 300)
    assert _asked(tools, "values")[-1]["lon"] == pytest.approx(lon, abs=1e-9)
    assert _asked(tools, "values")[-1]["lat"] == pytest.approx(lat, abs=1e-9)
    keep("inspected")


def test_the_place_under_the_cross_is_inspected_by_keyboard_and_a_refusal_is_told(
    tools: Page,
) -> None:
    tools.evaluate("refuse.add('values')")
    tools.get_by_role("button", name="Inspect").click()
    tools.get_by_role("application").focus()

    tools.keyboard.press("Enter")
    found = tools.get_by_role("region", name="Values at a place")
    expect(found.get_by_role("alert").first).to_contain_text("is cut off. Ingest it again")
    tools.evaluate("refuse.delete('values')")
    found.get_by_role("button", name="Try again").first.click()

    expect(found.get_by_role("row").nth(1)).to_contain_text("0.6123")
    assert _asked(tools, "values")[-1]["lon"] == pytest.approx(21.2)
    assert _asked(tools, "values")[-1]["lat"] == pytest.approx(45.75)


def test_statistics_are_of_the_view_and_asked_once(tools: Page) -> None:
    told = tools.get_by_role("region", name="Statistics of the view")
    expect(told).to_contain_text("computed at 40 m")
    expect(told.locator("dl")).to_contain_text("91.9 %")

    tools.evaluate("histogram.refresh()")

    (asked,) = _asked(tools, "statistics")
    assert max(asked["width"], asked["height"]) == 512
    assert asked["bounds"] == tools.evaluate("view.bounds().bounds")
    told.get_by_label("Band").select_option("red")
    expect(told).to_contain_text("There are no data in this view")


def test_values_along_a_drawn_line_are_charted_and_saved(tools: Page, tmp_path: Path) -> None:
    corners = [(150.0, 500.0), (500.0, 520.0)]
    line = [_degrees(tools, *corner) for corner in corners]
    along = tools.get_by_role("region", name="Values along a line")

    along.get_by_role("button", name="Draw a line").click()
    _press(tools, *corners)
    metres = WGS84.line_length(*zip(*line, strict=True))
    expect(along).to_contain_text(f"{metres / 1000:.4g} km in 200 steps")
    with tools.expect_download() as download:
        along.get_by_role("button", name="Save as CSV").click()
    download.value.save_as(tmp_path / "line.csv")

    rows = list(csv.DictReader((tmp_path / "line.csv").read_text().splitlines()))
    azimuth = WGS84.inv(*line[0], *line[1])[0]
    there = WGS84.fwd(*line[0], azimuth, float(rows[100]["distance_m"]))
    assert (float(rows[100]["lon"]), float(rows[100]["lat"])) == pytest.approx(there[:2], abs=1e-8)
    assert rows[95]["ndvi"] == ""
    assert len(rows) == 200


def test_a_question_that_fails_leaves_no_chart_of_another(tools: Page) -> None:
    _add(tools, TRIANGLE)
    _add(tools, "21.1 45.7, 21.3 45.7", "Line")
    panels = {
        "profile": "Profile over all dates",
        "transect": "Values along a line",
        "statistics": "Statistics of the view",
    }
    for name in panels.values():
        expect(tools.get_by_role("region", name=name).locator("figure")).to_be_visible()

    tools.evaluate("methods => methods.forEach((one) => refuse.add(one))", list(panels))
    _add(tools, "21.0 45.6, 21.3 45.7, 21.3 45.85")
    _add(tools, "21.2 45.7, 21.3 45.9", "Line")
    tools.evaluate("view.zoomBy(1)")
    tools.evaluate("view.settled().then(() => histogram.refresh())")

    for name in panels.values():
        panel = tools.get_by_role("region", name=name)
        expect(panel.get_by_role("alert")).to_contain_text("The file of 2024-06-11 is cut off.")
        expect(panel.locator("figure")).to_be_hidden()
        for saving in panel.get_by_role("button", name="Save as CSV").all():
            expect(saving).to_be_disabled()


def test_a_view_one_world_to_the_right_is_asked_about_at_home(tools: Page) -> None:
    around = 2 * math.pi * 6_378_137
    home = tools.evaluate("view.bounds().bounds")

    tools.evaluate(
        "around => { const [x, y] = view.map.getView().getCenter();"
        " view.map.getView().setCenter([x + around, y]); }",
        around,
    )

    assert tools.evaluate("view.bounds().bounds") == pytest.approx(home)
    west, south, east, north = tools.evaluate("view.boundsInDegrees()")
    assert 20 < west < 21.2 < east < 22.5
    assert 45 < south < 45.75 < north < 46.5


def test_seasons_are_charted_in_their_order(
    tools: Page, harness: str, tmp_path: Path, keep: Keep
) -> None:
    tools.goto(f"{harness}?seasons")
    tools.locator("body[data-ready]").wait_for()
    profile = tools.get_by_role("region", name="Profile over all dates")

    _add(tools, TRIANGLE)
    expect(profile).to_contain_text("No curve: these are no days to put one through.")
    with tools.expect_download() as download:
        profile.get_by_role("button", name="Save as CSV").click()
    download.value.save_as(tmp_path / "profile.csv")
    profile.get_by_text("Numbers as a table").click()
    keep("profile-seasons")

    seasons = [f"{2016 + n // 4}-{('mam', 'jja', 'son', 'djf')[n % 4]}" for n in range(36)]
    rows = list(csv.DictReader((tmp_path / "profile.csv").read_text().splitlines()))
    assert [row["date"] for row in rows] == seasons
    assert profile.locator("tbody th").all_inner_texts() == seasons


def test_a_place_is_found_and_chosen_by_keyboard(tools: Page) -> None:
    box = tools.get_by_role("combobox", name="Search a place")

    box.fill("tur")
    found = tools.get_by_role("listbox", name="Places found").get_by_role("option")
    expect(found).to_have_text(
        ["Turincity, Italy, 870\u202f456 people", "Turinovillage, Nowhere, 312 people"]
    )
    box.press("ArrowDown")
    expect(found.nth(1)).to_have_attribute("aria-selected", "true")
    box.press("Enter")

    west, south, east, north = tools.evaluate("view.boundsInDegrees()")
    assert (west + east) / 2 == pytest.approx(8.1, abs=1e-3)
    assert (south + north) / 2 == pytest.approx(45.3, abs=1e-2)
    expect(found).to_have_count(0)


def test_coordinates_and_unknown_names_are_answered_in_the_search_box(tools: Page) -> None:
    box = tools.get_by_role("combobox", name="Search a place")
    box.fill("Atlantis")
    expect(tools.get_by_text('No place is called "Atlantis" here')).to_be_visible()

    box.fill("-33.9, 18.4")
    expect(tools.get_by_role("listbox").get_by_role("option")).to_have_count(1)
    box.press("Enter")

    west, south, east, north = tools.evaluate("view.boundsInDegrees()")
    assert west < 18.4 < east
    assert south < -33.9 < north
    assert {one["q"] for one in _asked(tools, "places")} == {"Atlantis"}


def test_the_saved_picture_has_map_title_scale_legend_and_sources(
    tools: Page, tmp_path: Path
) -> None:
    tools.set_viewport_size({"width": 1000, "height": 700})
    panel = tools.get_by_role("region", name="Picture of the view")
    panel.get_by_label("Title").fill("Vegetation")

    with tools.expect_download() as download:
        panel.get_by_role("button", name="Save as PNG").click()
    download.value.save_as(tmp_path / "map.png")

    assert download.value.suggested_filename == "vegetation.png"
    with Image.open(tmp_path / "map.png") as image:
        picture = np.asarray(image.convert("RGB")).astype(int)
    assert picture.shape[1] == 640
    below = picture[700:]
    assert len(below) > 120
    assert (below[:30] < 60).all(axis=2).any(), "the title"
    bar = (below[30:60] < 60).all(axis=2).sum(axis=1).max()
    metres = WGS84.line_length(*zip(*[_degrees(tools, x, 350) for x in (0, bar)], strict=True))
    assert metres == pytest.approx(20_000, rel=0.03)
    ramp = (abs(below - np.array([0x74, 0xC4, 0x76])) < 6).all(axis=2)
    assert ramp.any(), "the legend"


def test_a_film_is_made_previewed_and_downloaded(tools: Page, keep: Keep) -> None:
    tools.get_by_role("button", name="Time-lapse").click()
    dialog = tools.get_by_role("dialog", name="Time-lapse of the view")
    dialog.get_by_label("Dates").select_option("3")
    dialog.get_by_label("Size").select_option("480")

    dialog.get_by_role("button", name="Make the film").click()

    expect(dialog.get_by_role("img", name="Time-lapse of Soil moisture")).to_be_visible()
    expect(dialog).to_contain_text("computed at 20 m")
    (asked,) = _asked(tools, "timelapse")
    assert (asked["width"], asked["format"], len(asked["dates"])) == (480, "gif", 12)
    assert asked["bounds"] == tools.evaluate("view.bounds().bounds")
    keep("film")
    with tools.expect_download() as download:
        dialog.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename.endswith("modelled.gif")
    tools.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_a_film_that_is_too_long_is_refused_in_words(tools: Page) -> None:
    tools.evaluate("refuse.add('timelapse')")
    tools.get_by_role("button", name="Time-lapse").click()
    dialog = tools.get_by_role("dialog", name="Time-lapse of the view")

    dialog.get_by_role("button", name="Make the film").click()

    expect(dialog.get_by_role("alert")).to_contain_text("Choose fewer dates or a smaller width.")


def test_an_export_is_followed_to_its_files(tools: Page) -> None:
    tools.get_by_role("button", name="Export").click()
    dialog = tools.get_by_role("dialog", name="Export the view")

    dialog.get_by_role("button", name="Start").click()

    expect(dialog.get_by_role("button", name="Download 2024-06-21.tif")).to_be_visible()
    expect(dialog.get_by_role("progressbar")).to_be_hidden()
    (graph,) = tools.evaluate("started")
    assert [node["process_id"] for node in graph.values()] == [
        "load_collection", "filter_bbox", "filter_temporal", "save_result",
    ]  # fmt: skip
    west, south, east, north = tools.evaluate("view.boundsInDegrees()")
    assert graph["cut"]["arguments"]["extent"] == {
        "west": west, "south": south, "east": east, "north": north, "crs": 4326,
    }  # fmt: skip
    assert graph["date"]["arguments"]["extent"] == ["2024-06-21T00:00:00Z", "2024-06-21T00:00:01Z"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barriers_and_nothing_cut_off_on_a_phone(
    page: Page, harness: str, keep: Keep, scheme: str
) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.goto(harness)
    page.locator("body[data-ready]").wait_for()
    _add(page, TRIANGLE)
    expect(page.get_by_text("24 of 36 dates")).to_be_visible()
    keep(scheme)

    assert barriers(page) == []
    assert cut_off(page) == []
