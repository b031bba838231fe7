"""Collections of geometries in the explorer: found, drawn, asked, shared."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import shapely
from affine import Affine
from playwright.sync_api import expect
from pyproj import CRS, Transformer
from rasterio.features import rasterize
from tests.server.fields import fields, make_fields
from tests.web.exploring import address_of, panel, still, the_map
from tests.web.looking import cut_off, pixels, show

from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page
    from tests.web.conftest import Keep

pytestmark = pytest.mark.slow

PINK = (224, 85, 155)
"""Of features, unless somebody chooses another colour."""
ZOOM_0 = 156543.03392804097
"""Metres a pixel at zoom 0."""
PLACE = (15.02, 45.17)
"""Between fields, degrees."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = make_fields(tmp_path_factory.mktemp("fields"))
    with serving(home, settings=ServerSettings(job_workers=0)) as found:
        yield found


def drawn(page: Page) -> int:
    """Return how many pixels of the map have the colour of features, pure or thinned by a fill."""
    seen = pixels(the_map(page))
    return int((np.abs(seen - np.array(PINK)).max(axis=-1) <= 40).sum())


def test_features_are_put_on_the_map_asked_and_shared(page: Page, url: str, keep: Keep) -> None:
    show(page, f"{url}/")
    find = panel(page, "Find scenes")
    expect(find.get_by_role("combobox", name="Collection", exact=True)).to_have_value("small")
    expect(
        find.get_by_role("combobox", name="Collection", exact=True).locator("option")
    ).to_have_count(1)
    find.get_by_text("Parcels, regions, samples: 2 collections").click()
    find.get_by_role("combobox", name="Features of").select_option("fields")
    find.get_by_role("button", name="Show features").click()
    expect(page.get_by_role("main")).to_contain_text("Fields of the valley")
    still(page)
    before = drawn(page)
    keep("features")

    layers = panel(page, "Layers")
    expect(layers.get_by_text("Fields of the valley").first).to_be_visible()
    layers.get_by_role("checkbox", name="Fields of the valley").uncheck()
    still(page)
    hidden = drawn(page)
    layers.get_by_role("checkbox", name="Fields of the valley").check()
    still(page)
    assert cut_off(page) == []
    # Nearer, until a field lies under the middle of the map.
    values = page.get_by_role("region", name="Values at a place").first
    layers.get_by_role("button", name="Show all of Fields of the valley").click()
    still(page)
    seen = np.abs(pixels(the_map(page)) - np.array(PINK)).max(axis=-1) <= 40
    rows, cols = np.nonzero(seen[100:-150, 300:-100])
    the_map(page).click(position={"x": int(cols[len(cols) // 2]) + 300,
                                  "y": int(rows[len(rows) // 2]) + 100})  # fmt: skip
    expect(values).to_contain_text("crop")
    expect(values).not_to_contain_text("_item")
    keep("asked")
    address = page.evaluate("location.href")
    page.goto("about:blank")
    show(page, address)
    still(page)

    assert before > 2000
    assert hidden < before / 10
    assert drawn(page) > 2000


def test_the_address_of_a_collection_of_geometries_shows_it(page: Page, url: str) -> None:
    show(page, f"{url}/#collection=fields")

    expect(page.get_by_role("main")).to_contain_text("Fields of the valley")
    still(page)

    assert drawn(page) > 2000


@pytest.mark.parametrize(
    ("code", "zoom"), [(3035, 14), (3035, 10), (32633, 14), (4326, 14), (3857, 14)]
)
def test_features_are_drawn_where_they_are_in_any_projection(
    page: Page, url: str, code: int, zoom: int, keep: Keep
) -> None:
    layer = {
        "kind": "features", "key": "one", "name": "Fields", "visible": True, "opacity": 1,
        "source": "fields", "color": "#000000",
    }  # fmt: skip
    view = {"centre": PLACE, "zoom": zoom, "projection": f"EPSG:{code}"}

    show(page, address_of(url, [layer], **view))
    still(page)
    seen = pixels(the_map(page))
    keep("fields")

    rows, cols = seen.shape[:2]
    x, y = Transformer.from_crs(4326, code, always_xy=True).transform(*PLACE)
    # Of degrees OpenLayers has it that they are metres of the equator, on the sphere of WGS 84.
    unit = math.radians(6_378_137) if CRS(code).is_geographic else 1.0
    pixel = ZOOM_0 / 2**zoom / unit
    grid = Affine(pixel, 0, x - cols / 2 * pixel, 0, -pixel, y + rows / 2 * pixel)
    shapes = np.asarray(fields().to_crs(code).geometry)
    # What is drawn is the outline, 2 pixels wide, and what is in it, thinned; at zoom 10 all are
    # smaller than can be seen, and squares stand for them.
    apart = 3.0 if zoom > 12 else 12.0
    inner, outer = (
        rasterize(grown[~shapely.is_empty(grown)], (rows, cols), transform=grid, all_touched=touch)
        for grown, touch in (
            (shapely.buffer(shapes, -1.5 * pixel), False),
            (shapely.buffer(shapes, apart * pixel), True),
        )
    )
    clear = seen[:, : cols // 2].min(axis=-1)  # without what lies over the map's other half
    middle = np.zeros_like(clear, dtype=bool)
    middle[120:-160, 60:] = True
    drawn_at = middle & (clear < np.median(clear[middle]) - 20)
    inner, outer = inner[:, : cols // 2] > 0, outer[:, : cols // 2] > 0
    assert drawn_at.sum() > 200
    assert not (drawn_at & ~outer).any()
    assert not (middle & inner & ~drawn_at).any()
    assert zoom < 12 or (inner & middle).sum() > 1000
