"""The map itself: which pixels it shows, and which it gives up on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import pytest
import xarray as xr
from playwright.sync_api import expect
from tests.web.exploring import address_of
from tests.web.looking import pixels, show

from terrazzo.cli.showcase import COLLECTION
from terrazzo.drivers.sample import sample_files

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request, Route
    from tests.web.conftest import Keep

pytestmark = pytest.mark.slow

DATE = "2018-08-05"
LOW, HIGH = 0, 5000
ZOOM_0 = 156543.03392804097
"""Metres a pixel at zoom 0."""
PIXEL = 10.0
ON_SCREEN = 4
"""Pixels of the screen, side by side, that show one pixel of the data."""


def address(demo: str, **view: object) -> str:
    """Return the address of an explorer that shows one band of one date in grey, and no basemap."""
    extent = [f"{DATE}T00:00:00Z", "2018-08-06T00:00:00Z"]
    load = {
        "process_id": "load_collection",
        "arguments": {
            "id": COLLECTION, "spatial_extent": None, "temporal_extent": extent, "bands": ["B8"],
        },
        "result": True,
    }  # fmt: skip
    stretch = {"kind": "range", "low": LOW, "high": HIGH}
    layer = {
        "kind": "raster", "key": "one", "name": "Near infrared", "visible": True, "opacity": 1,
        "source": {"process_graph": {"load": load}, "title": "Near infrared"},
        "look": {"colors": "gray", "stretch": stretch},
    }  # fmt: skip
    return address_of(demo, [layer], **view)


def stored() -> xr.DataArray:
    with xr.open_dataset(sample_files().cube_10m) as cube:
        return cube["B8"].sel(time=DATE).load()


def centre(band: xr.DataArray) -> list[float]:
    to_degrees = pyproj.Transformer.from_crs(3035, 4326, always_xy=True)
    middle = (float(band[axis].mean()) for axis in ("x", "y"))
    return list(to_degrees.transform(*middle))


def still(page: Page) -> None:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    expect(page.locator(".tz-map").first).to_have_attribute("aria-busy", "false")


def test_map_in_the_projection_of_the_data_shows_the_stored_pixels(
    page: Page, demo: str, keep: Keep
) -> None:
    band = stored()
    values = band.sortby("y", ascending=False).values.astype(np.float64)
    grey = np.floor(np.clip((values - LOW) / (HIGH - LOW), 0, 1) * 255 + 0.5)
    zoom = math.log2(ZOOM_0 * ON_SCREEN / PIXEL)

    show(page, address(demo, centre=centre(band), zoom=zoom, projection="EPSG:3035"))
    expect(page.get_by_text("Near infrared: computed at 10 m")).to_be_visible()
    still(page)
    seen = pixels(page.get_by_role("application").first)
    keep("native")

    # In the middle of what each stored pixel is on the screen; footprints lie over the edge.
    size = len(grey)
    at = (np.arange(size) + 0.5 - size / 2) * ON_SCREEN
    rows, cols = (np.floor(edge / 2 + at).astype(int) for edge in seen.shape[:2])
    shown = seen[np.ix_(rows, cols)][2:-2, 2:-2]
    assert (np.ptp(shown, axis=-1) == 0).all()
    np.testing.assert_allclose(shown[..., 0], grey[2:-2, 2:-2], atol=1)


MOST_PRESSES = 200
A_FRAME = "() => new Promise((done) => requestAnimationFrame(() => done()))"


def test_tiles_that_are_scrolled_away_are_given_up_and_asked_for_again(
    page: Page, demo: str
) -> None:
    held: list[Route] = []
    given_up: list[str] = []

    def hold(route: Route) -> None:
        held.append(route)

    def failed(request: Request) -> None:
        given_up.append(request.url)

    page.on("requestfailed", failed)
    page.route("**/tiles/**", hold)
    view: dict[str, Any] = {"centre": centre(stored()), "zoom": 15, "projection": "EPSG:3857"}
    with page.expect_request("**/tiles/**"):
        page.goto(address(demo, **view))
    expect(page.locator(".tz-map").first).to_have_attribute("aria-busy", "true")
    the_map = page.get_by_role("application").first
    wanted = held[0].request.url

    # A press while the map still moves adds less to the way: as often as it takes.
    the_map.focus()
    for _ in range(MOST_PRESSES):
        the_map.press("ArrowRight")
        page.evaluate(A_FRAME)
        if wanted in given_up:
            break
    assert wanted in given_up
    page.unroute("**/tiles/**", hold)
    asked: list[str] = []
    came: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda answer: came.append(answer.url) if answer.ok else None)
    for _ in range(MOST_PRESSES):
        the_map.press("ArrowLeft")
        still(page)
        if wanted in asked:
            break

    still(page)
    assert wanted in came
    assert "computed at" in page.content()
