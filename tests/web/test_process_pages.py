"""The pages of processes and graphs, in a real browser that reaches nothing but this server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import pytest
from playwright.sync_api import expect
from tests.web.looking import barriers, cut_off, faults, show, tab_stops

from terrazzo.cli.showcase import GRAPH
from terrazzo.processes import PROCESSES

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from tests.web.conftest import Keep

pytestmark = pytest.mark.slow

INDEX = "Normalised difference vegetation index"


def test_the_page_shows_every_process_and_finds_one(page: Page, demo: str, keep: Keep) -> None:
    show(page, f"{demo}/processes")
    expect(page.locator("html")).to_have_attribute("data-loaded", str(len(PROCESSES)))

    page.get_by_role("searchbox").fill("normalised difference vegetation")
    keep("found")

    heading = page.get_by_role("heading", name=f"Processes (2/{len(PROCESSES)})")
    expect(heading).to_be_visible()
    told = page.get_by_role("listitem").filter(has_text=INDEX)
    expect(told.first).to_be_visible()


def test_the_editor_shows_a_graph_and_says_whether_it_is_valid(
    page: Page, demo: str, keep: Keep
) -> None:
    show(page, f"{demo}/editor#{quote(GRAPH.read_text(encoding='utf-8'))}")
    expect(page.locator("html")).to_have_attribute("data-loaded", str(len(PROCESSES)))

    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text("The graph is valid.")).to_be_visible()
    keep("valid")
    page.get_by_role("textbox", name="Process graph, JSON").fill('{"a": {"process_id": "nvdi"}}')
    page.get_by_role("button", name="Check").click()

    expect(page.get_by_text("Did you mean 'ndvi'")).to_be_visible()
    expect(page.locator("aside").get_by_role("button")).to_have_count(len(PROCESSES))


@pytest.mark.parametrize("path", ["processes", "editor"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out(
    page: Page, demo: str, path: str, scheme: Literal["light", "dark"], keep: Keep
) -> None:
    page.emulate_media(color_scheme=scheme)
    show(page, f"{demo}/{path}")
    keep("wide")

    assert barriers(page) == []
    assert cut_off(page) == []
    assert faults(tab_stops(page)) == []
    page.set_viewport_size({"width": 360, "height": 700})
    keep("phone")
    assert cut_off(page) == []
