"""The explorer as people use it: what they press, what they see then, and in which colours."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import pytest
import rasterio
from PIL import Image
from playwright.sync_api import expect
from tests.web.exploring import draw_rectangle, inside, middle, panel, search, still, the_map
from tests.web.looking import show

from terrazzo.cli.showcase import COLLECTION, SERVICE_TITLE

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from playwright.sync_api import Download, Locator, Page
    from tests.web.conftest import Keep

pytestmark = pytest.mark.slow

COORDINATES = re.compile(r"(-?[\d.]+)° ([NS]), (-?[\d.]+)° ([EW])")
YEARS = ["2015", "2016", "2017", "2018", "2019", "2020"]


def is_grey(seen: NDArray[np.int64]) -> bool:
    return bool((np.ptp(seen, axis=-1) <= 2).all())


def saved(download: Download) -> Path:
    return download.path()


def places(page: Page) -> tuple[float, float]:
    """Return latitude and longitude of the place under the pointer, as the page says them."""
    found = COORDINATES.search(page.get_by_role("main").inner_text())
    assert found is not None
    return (
        float(found[1]) * (1 if found[2] == "N" else -1),
        float(found[3]) * (1 if found[4] == "E" else -1),
    )


def test_the_first_screen_shows_data_and_says_what_they_are(explorer: Page, keep: Keep) -> None:
    seen = inside(explorer)
    keep("first")

    main = explorer.get_by_role("main")
    expect(main).to_contain_text(re.compile(rf"{SERVICE_TITLE}: computed at [\d.]+ m"))
    expect(main).to_contain_text("Sentinel-2 over a forest in Romania")
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 10
    assert not is_grey(seen)


def test_scenes_are_found_by_dates_and_shown_in_the_colours_asked_for(
    explorer: Page, demo: str, keep: Keep
) -> None:
    asked = {"datetime": "2018-07-01T00:00:00Z/2018-08-01T00:00:00Z", "limit": "100"}
    answer = explorer.request.get(f"{demo}/collections/{COLLECTION}/items", params=asked).json()
    dates = sorted((one["properties"]["datetime"][:10] for one in answer["features"]), reverse=True)
    found = panel(explorer, "Find scenes")

    scenes = search(found, "2018-07-01", "2018-07-31")
    expect(scenes).to_have_count(len(dates))
    listed = [one.inner_text().split()[0] for one in scenes.all()]
    found.get_by_label("Show as").select_option(label="True colours")
    found.get_by_role("button", name=f"Show {dates[-1]}").click()
    still(explorer)
    keep("true-colours")
    coloured = inside(explorer)
    found.get_by_label("Show as").select_option(label="NDVI, vegetation")
    still(explorer)
    keep("index")

    assert listed == dates
    assert not np.array_equal(coloured, inside(explorer))


def test_stretch_and_colours_change_the_picture(explorer: Page, keep: Keep) -> None:
    layers = panel(explorer, "Layers")
    before = inside(explorer)
    layers.get_by_text("Bands, stretch and colours").click()

    layers.get_by_label("Colour map").select_option("gray")
    still(explorer)
    expect(layers.get_by_role("img", name=re.compile("Colours from"))).to_be_visible()
    grey = inside(explorer)
    layers.get_by_label("Stretch by").select_option(label="Fixed values")
    layers.get_by_label("Highest value").fill("0.3")
    layers.get_by_label("Highest value").press("Enter")
    still(explorer)
    keep("stretched")
    white = inside(explorer)

    assert not is_grey(before)
    assert is_grey(grey)
    assert np.ptp(grey) > 50
    # The forest's NDVI is over 0.3 nearly everywhere.
    assert (white == 255).mean() > 0.9


def test_opacity_order_and_removal_of_layers(explorer: Page) -> None:
    layers = panel(explorer, "Layers")
    before = inside(explorer)

    layers.get_by_label("Opacity of").fill("0.5")
    still(explorer)
    pale = inside(explorer)
    layers.get_by_role("checkbox", name=SERVICE_TITLE).uncheck()
    still(explorer)
    bare = inside(explorer)
    layers.get_by_role("button", name="Remove").click()

    # Half of the picture and half of the basemap.
    assert np.abs(pale - (before + bare) / 2).max() <= 2
    expect(layers.get_by_role("button", name="Remove")).to_have_count(0)


def test_the_time_slider_shows_one_year_after_the_other(explorer: Page, keep: Keep) -> None:
    time = explorer.get_by_role("group", name="Time")
    slider = time.get_by_role("slider", name="Date")
    pictures = []

    for year in reversed(YEARS):
        expect(time.get_by_role("status")).to_have_text(year)
        still(explorer)
        pictures.append(inside(explorer))
        slider.press("ArrowLeft")
    keep("first-year")

    assert len({picture.tobytes() for picture in pictures}) == len(YEARS)


def test_two_dates_are_compared_with_a_divider(explorer: Page, keep: Keep) -> None:
    find = panel(explorer, "Find scenes")
    scenes = search(find, "2018-01-01", "2018-12-31")
    expect(scenes.first).to_contain_text("2018")
    scenes.nth(2).get_by_role("button", name="Show").click()
    still(explorer)
    scenes.nth(8).get_by_role("button", name="Compare").click()
    divider = explorer.get_by_role("slider", name="Divider")
    expect(divider).to_be_visible()
    still(explorer)
    keep("divider")
    x, y = middle(explorer)
    here = {"x": x - 60, "y": y - 60, "width": 40, "height": 40}

    def look() -> NDArray[np.int64]:
        still(explorer)
        picture = Image.open(io.BytesIO(explorer.screenshot(clip=here)))  # type: ignore[arg-type]
        return np.asarray(picture.convert("RGB")).astype(int)

    left = look()
    divider.press("Home")
    right = look()
    divider.press("End")

    assert not np.array_equal(left, right)
    assert np.array_equal(look(), left)


def test_a_place_is_inspected_and_its_value_is_that_of_the_file(
    explorer: Page, demo: str, keep: Keep
) -> None:
    find = panel(explorer, "Find scenes")
    scene = search(find, "2018-07-01", "2018-07-31").first
    expect(scene).to_contain_text("2018-07")
    scene.get_by_role("button", name="Show").click()
    date = scene.inner_text().split()[0]
    still(explorer)

    values = panel(explorer, "Values at a place")
    x, y = middle(explorer)
    explorer.mouse.move(x - 50, y - 50)
    explorer.mouse.click(x - 50, y - 50)
    expect(values).to_contain_text("computed at 10 m")
    keep("values")
    latitude, longitude = _told(values)
    told = {cells[1]: cells[2] for cells in _rows(values) if cells[0][:10] == date}

    asked = {"datetime": f"{date}T00:00:00Z/{date}T23:59:59Z"}
    items = explorer.request.get(f"{demo}/collections/{COLLECTION}/items", params=asked).json()
    (item,) = items["features"]
    assert set(told) == {"B2", "B3", "B4", "B8", "SCL"}
    for band, value in told.items():
        content = explorer.request.get(item["assets"][band]["href"]).body()
        with rasterio.MemoryFile(content) as kept, kept.open() as file:
            to_file = pyproj.Transformer.from_crs(4326, file.crs, always_xy=True)
            (found,) = file.sample([to_file.transform(longitude, latitude)])
        assert value == str(found[0])


def _told(values: Locator) -> tuple[float, float]:
    found = COORDINATES.search(values.inner_text())
    assert found is not None
    return float(found[1]), float(found[3])


def _rows(where: Locator) -> list[list[str]]:
    rows = where.get_by_role("table").first.locator("tbody tr").all()
    return [[cell.inner_text() for cell in row.locator("td, th").all()] for row in rows]


def test_a_drawn_parcel_has_a_profile_that_can_be_saved(explorer: Page, keep: Keep) -> None:
    draw_rectangle(explorer)
    charts = panel(explorer, "Charts")
    profile = charts.get_by_role("region", name="Profile over all dates")

    expect(profile.get_by_role("img", name=re.compile("Chart"))).to_be_visible()
    profile.scroll_into_view_if_needed()
    keep("profile")
    with explorer.expect_download() as told:
        profile.get_by_role("button", name="Save as CSV").click()
    rows = csv.DictReader(saved(told.value).read_text(encoding="utf-8").splitlines())

    # Those of the curve between have no share that was seen.
    assert [row["date"][:4] for row in rows if row["valid_share"]] == YEARS
    expect(profile).to_contain_text(re.compile("computed at [0-9.]+ m"))


def test_what_is_drawn_is_saved_as_geojson(explorer: Page, keep: Keep) -> None:
    draw_rectangle(explorer)
    keep("drawn")
    with explorer.expect_download() as told:
        explorer.get_by_role("button", name="Save as GeoJSON").click()
    drawn = json.loads(saved(told.value).read_text(encoding="utf-8"))

    (feature,) = drawn["features"]
    assert feature["geometry"]["type"] == "Polygon"
    longitudes, latitudes = np.array(feature["geometry"]["coordinates"][0]).T
    # Somewhere in the demo's kilometre in Romania.
    assert 22.14 < longitudes.min() < longitudes.max() < 22.17
    assert 45.19 < latitudes.min() < latitudes.max() < 45.22


def test_a_distance_is_measured_over_the_ellipsoid(explorer: Page, keep: Keep) -> None:
    tools = panel(explorer, "Draw and measure")
    tools.get_by_role("button", name="Distance").click()
    x, y = middle(explorer)
    ends = []
    for place in ((x - 120, y - 40), (x + 120, y + 60)):
        explorer.mouse.move(*place)
        explorer.mouse.click(*place)
        ends.append(places(explorer))
    explorer.keyboard.press("Enter")
    keep("measured")
    (south, west), (north, east) = ends
    _, _, wanted = pyproj.Geod(ellps="WGS84").inv(west, south, east, north)

    found = re.search(r"([\d.,  ]+) m\b", tools.inner_text())

    assert found is not None
    told = float(re.sub(r"[^\d.]", "", found[1]))
    assert told == pytest.approx(wanted, rel=0.01)


def test_the_view_is_saved_as_a_picture(explorer: Page) -> None:
    save = panel(explorer, "Save and export")
    save.get_by_label("Title").fill("Forest in Romania")

    with explorer.expect_download() as told:
        save.get_by_role("button", name="Save as PNG").click()
    with Image.open(saved(told.value)) as file:
        picture = file.copy()
        form = file.format

    box = the_map(explorer).bounding_box()
    assert box is not None
    assert form == "PNG"
    assert picture.width >= box["width"]
    assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 100


def test_a_time_lapse_has_a_frame_of_each_date(explorer: Page, keep: Keep) -> None:
    panel(explorer, "Save and export").get_by_role("button", name="Time-lapse").click()
    dialog = explorer.get_by_role("dialog", name="Time-lapse of the view")
    dialog.get_by_label("Format").select_option("gif")
    dialog.get_by_role("button", name="Make the film").click()
    download = dialog.get_by_role("button", name="Download")
    expect(download).to_be_enabled()
    keep("film")

    with explorer.expect_download() as told:
        download.click()
    with Image.open(saved(told.value)) as film:
        found = film.format, film.n_frames

    assert found == ("GIF", len(YEARS))


def test_a_shared_address_shows_the_same_to_somebody_else(explorer: Page, keep: Keep) -> None:
    layers = panel(explorer, "Layers")
    layers.get_by_text("Bands, stretch and colours").click()
    layers.get_by_label("Colour map").select_option("magma")
    still(explorer)
    here = inside(explorer)
    explorer.get_by_role("button", name="Share").click()
    keep("share")
    expect(explorer).to_have_url(re.compile("#.{20}"))
    address = explorer.get_by_role("textbox", name=re.compile("ddress")).input_value()

    other = explorer.context.new_page()
    show(other, address)
    panel(other, "Layers")
    still(other)
    keep("shared", other)

    assert np.array_equal(inside(other), here)


def test_a_layer_is_run_as_a_job_and_its_result_is_shown(explorer: Page, keep: Keep) -> None:
    jobs = panel(explorer, "Jobs")
    jobs.get_by_role("button", name="Run a layer as a job").click()
    dialog = explorer.get_by_role("dialog", name="Export the view")
    dialog.get_by_role("button", name="Start").click()
    keep("dialog")
    explorer.keyboard.press("Escape")
    entry = jobs.get_by_role("list", name="Jobs").get_by_role("listitem").first
    shown = entry.get_by_role("button", name="Show on the map")
    expect(shown).to_be_visible(timeout=180_000)
    keep("done")
    shown.click()
    expect(explorer.get_by_role("main")).to_contain_text(re.compile("computed at .*computed at"))
    still(explorer)
    keep("result")

    expect(panel(explorer, "Layers").get_by_role("listitem")).to_have_count(2)


def test_a_lens_shows_native_pixels_under_the_pointer(explorer: Page, keep: Keep) -> None:
    panel(explorer, "Compare").get_by_role("checkbox", name=re.compile("Lens")).check()

    x, y = middle(explorer)
    explorer.mouse.move(x, y)
    explorer.mouse.move(x + 5, y + 5)

    lens = explorer.get_by_role("status", name="Lens")
    expect(lens).to_contain_text(re.compile(r"computed at (9\.9\d|10) m"))
    keep("lens")
