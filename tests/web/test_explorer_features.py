"""Collections of geometries in the explorer: found, drawn, asked, shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from playwright.sync_api import expect
from tests.server.fields import make_fields
from tests.web.exploring import panel, still, the_map
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
