"""The explorer for people who use no mouse, a phone, a dark screen, or who have to log in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from playwright.sync_api import expect
from starlette.testclient import TestClient
from tests.server.people import PASSWORD, closed, ledger, newcomer
from tests.server.small import COLLECTION, DATES, graph, made_service, make_home
from tests.web.exploring import PANELS, inside, panel, still, the_map
from tests.web.leaving import visited
from tests.web.looking import barriers, cut_off, faults, pixels, show, tab_stops

from terrazzo.drivers.job import Workspace
from terrazzo.ledger import Visibility
from terrazzo.ledger.collections import CollectionAccess, set_access
from terrazzo.ledger.users import find_user
from terrazzo.server.app import create_app
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from playwright.sync_api import Page
    from tests.web.conftest import Keep
    from tests.web.watching import Watch

pytestmark = pytest.mark.slow


def test_everything_is_done_with_the_keyboard_alone(explorer: Page, keep: Keep) -> None:
    stops = tab_stops(explorer)
    assert faults(stops) == []
    names = [stop.name for stop in stops]

    for name in PANELS:
        assert name in names
    the_map(explorer).focus()
    before = inside(explorer)
    explorer.keyboard.press("ArrowRight")
    still(explorer)
    moved = inside(explorer)
    explorer.keyboard.press("+")
    still(explorer)
    explorer.get_by_role("button", name="Layers", exact=True).press("Enter")
    keep("moved")

    assert not np.array_equal(before, moved)
    expect(explorer.get_by_role("region", name="Layers")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_panel_keeps_anybody_out(
    page: Page, demo: str, scheme: Literal["light", "dark"], keep: Keep
) -> None:
    page.emulate_media(color_scheme=scheme)
    show(page, f"{demo}/")
    still(page)
    found: list[str] = []

    for name in PANELS:
        panel(page, name)
        if name == "Layers":
            page.get_by_text("Bands, stretch and colours").click()
        still(page)
        keep(name)
        found += [f"{name}: {one}" for one in barriers(page) + cut_off(page)]

    assert found == []


def test_every_panel_fits_on_a_phone(page: Page, demo: str, keep: Keep) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    show(page, f"{demo}/")
    still(page)
    keep("map")
    found = [f"map: {one}" for one in cut_off(page)]
    for button in page.get_by_role("navigation", name="Panels").get_by_role("button").all():
        expect(button).to_be_in_viewport(ratio=1)

    for name in PANELS:
        opened = panel(page, name)
        still(page)
        keep(name)
        found += [f"{name}: {one}" for one in cut_off(page)]
        opened.get_by_role("button", name="Close the panel").click()

    assert found == []


def test_a_private_collection_is_on_the_map_of_its_owner_alone(
    page: Page, watch: Watch, tmp_path: Path, keep: Keep
) -> None:
    workspace = make_home(tmp_path)
    database = ledger(workspace.home)
    newcomer(database, "owner")
    person = find_user(database, "owner")
    assert person is not None
    set_access(database, CollectionAccess(COLLECTION, Visibility.PRIVATE, owner=person.id))
    database.close()
    # What a page asks for anew when somebody has logged out is not for them.
    watch.allow("status of 40[134]")
    with visited(page, workspace, closed()) as url:
        show(page, f"{url}/")
        find = panel(page, "Find scenes")
        before = find.inner_text()
        page.get_by_role("button", name="Log in", exact=True).first.click()
        dialog = page.get_by_role("dialog", name="Log in")
        dialog.get_by_label("Name").fill("owner")
        dialog.get_by_label("Password").fill(PASSWORD)
        dialog.get_by_role("button", name="Log in").click()
        scenes = find.get_by_role("list", name="Scenes").get_by_role("listitem")
        expect(scenes).to_have_count(len(DATES))
        scenes.first.get_by_role("button", name="Show").click()
        expect(page.get_by_role("main")).to_contain_text(re.compile("computed at"))
        still(page)
        keep("owner")
        shown = inside(page)
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("button", name="Log in", exact=True).first).to_be_visible()
        show(page, f"{url}/#collection={COLLECTION}")
        keep("others")
        after = panel(page, "Find scenes").inner_text()

    assert "Small" not in before
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 5
    assert "Small" not in after


def test_a_private_service_is_drawn_for_whoever_has_its_address(
    page: Page, watch: Watch, tmp_path: Path, keep: Keep
) -> None:
    workspace = make_home(tmp_path)
    # All of it is in the deep green at the end of the colours, but for a corner without data.
    shown = {"min": -2.0, "max": 0.0, "colors": "rdylgn"}
    with TestClient(create_app(workspace)) as client:
        name = made_service(client, graph(), title="NDVI", configuration=shown)
        links = client.get(f"/services/{name}").json()["links"]
    (address,) = [link["href"] for link in links if link["rel"] == "alternate"]
    mark = address.partition("/#")[2]
    # Without its key, it is not there.
    watch.expect("status of 404")
    with visited(page, workspace, closed()) as url:
        show(page, f"{url}/#{mark}")
        still(page)
        keep("with-key")
        with_key = _greens(page)
        other = page.context.new_page()
        show(other, f"{url}/#{mark.partition('?')[0]}")
        still(other)
        keep("without-key", other)
        without_key = _greens(other)

    # The legend, which has greens too, is in the lower left corner.
    rows, cols = (
        np.flatnonzero(part) for part in (with_key[:, 240:].any(1), with_key[:400].any(0))
    )
    # A square of 3 km stays square, and nothing of it touches the border of what is seen.
    assert np.ptp(rows) == pytest.approx(np.ptp(cols), abs=5)
    assert min(rows[0], cols[0], with_key.shape[1] - 1 - cols[-1]) > 0
    assert with_key.mean() > 0.3
    assert not without_key.any()


def _greens(page: Page) -> NDArray[np.bool_]:
    """Return where the map is as green as the service."""
    red, green, blue = np.moveaxis(pixels(the_map(page)), -1, 0)
    return (green > red + 60) & (green > blue + 30)


def test_a_server_without_data_says_what_to_do(page: Page, tmp_path: Path) -> None:
    with visited(page, Workspace.of(tmp_path), ServerSettings()) as url:
        show(page, f"{url}/")

        expect(panel(page, "Find scenes")).to_contain_text("make one with terrazzo ingest")
