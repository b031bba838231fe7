"""The pages of collections of geometries, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from playwright.sync_api import expect
from tests.server.fields import ROOT, make_fields
from tests.web.looking import barriers, cut_off, faults, pixels, show, tab_stops

from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page
    from tests.web.conftest import Keep
    from tests.web.watching import Watch

pytestmark = pytest.mark.slow

COLOURS = ([31, 119, 180], [255, 127, 14], [44, 160, 44])
"""The first three of those that attributes are shown in."""
CLOSE = 16
"""Steps of a channel; the colour of features before is further from all of them."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = make_fields(tmp_path_factory.mktemp("fields"))
    with serving(home, settings=ServerSettings(job_workers=0)) as found:
        yield found


def coloured(seen: np.ndarray) -> int:
    """Return how many of the colours are on a picture, whose lines lie between pixels."""
    return sum(bool((np.abs(seen - colour) <= CLOSE).all(-1).any()) for colour in COLOURS)


def test_a_map_shows_features_in_the_colours_of_an_attribute(
    page: Page, url: str, keep: Keep
) -> None:
    show(page, f"{url}{ROOT}/fields")
    map_ = page.locator(".map.tiles")
    expect(map_).to_have_attribute("data-loaded", "yes")
    before = coloured(pixels(map_))

    page.get_by_label("Colour").select_option("crop")
    expect(page.locator(".legend li")).to_have_count(3)
    expect(map_).to_have_attribute("data-loaded", "yes")
    keep("crops")

    assert (before, coloured(pixels(map_))) == (0, 3)
    assert set(page.locator(".legend").inner_text().split()) == {"rye", "wheat", "grass"}


def test_a_feature_is_told_when_it_is_clicked_or_found(page: Page, url: str) -> None:
    show(page, f"{url}{ROOT}/fields/items/fields.743")
    expect(page.locator(".chosen")).to_contain_text("field 0743")

    show(page, f"{url}{ROOT}/islands")
    page.locator("[name=filter]").fill("name = 'across'")
    page.locator("[name=filter]").press("Enter")
    rows = page.get_by_role("main").locator("tbody tr")
    expect(rows).to_have_count(1)
    rows.get_by_role("link").click()

    expect(page.locator(".chosen")).to_contain_text("across")


def test_a_wrong_filter_says_what_is_wrong(page: Page, url: str, watch: Watch) -> None:
    watch.expect("status of 400")
    show(page, f"{url}{ROOT}/fields/items?filter=crap%3D1")

    expect(page.locator("section .wrong")).to_contain_text("Did you mean 'crop'")


def test_columns_are_told_and_how_geometries_are_loaded(page: Page, url: str) -> None:
    show(page, f"{url}/collections/fields/items/fields")
    item = page.get_by_role("main").inner_text()
    show(page, f"{url}/collections/fields")
    collection = page.get_by_role("main").text_content() or ""

    assert "Columns" in item
    assert "double" in item
    assert "There is no picture" not in item
    assert 'cube.download("result.geojson")' in collection
    assert "gdalinfo" not in collection


@pytest.mark.parametrize("path", ["/features", f"{ROOT}/fields"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out(
    page: Page, url: str, path: str, scheme: Literal["light", "dark"], keep: Keep
) -> None:
    page.emulate_media(color_scheme=scheme)
    show(page, f"{url}{path}")
    keep("wide")

    assert barriers(page) == []
    assert cut_off(page) == []
    assert faults(tab_stops(page)) == []
    page.set_viewport_size({"width": 360, "height": 700})
    keep("phone")
    assert cut_off(page) == []
