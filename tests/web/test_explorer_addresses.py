"""Addresses of the explorer: what they carry, and what is told where they show nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from tests.web.exploring import draw_rectangle, panel, still
from tests.web.looking import show

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from tests.web.watching import Watch

pytestmark = pytest.mark.slow


def test_a_shared_address_carries_what_is_drawn(explorer: Page) -> None:
    before = explorer.url
    draw_rectangle(explorer)
    size = re.search(r"[\d.,\s]+(ha|m²|km²)", panel(explorer, "Draw and measure").inner_text())
    assert size is not None
    expect(explorer).not_to_have_url(before)
    explorer.get_by_role("button", name="Share").click()
    address = explorer.get_by_role("textbox", name=re.compile("ddress")).input_value()

    other = explorer.context.new_page()
    show(other, address)
    still(other)

    expect(panel(other, "Draw and measure")).to_contain_text(size[0].strip())


def test_a_service_that_is_not_there_is_told_to_people(page: Page, demo: str, watch: Watch) -> None:
    watch.expect("404")

    show(page, f"{demo}/#0123456789abcdef")

    told = page.get_by_role("alert").first
    expect(told).to_contain_text("There is no such map, or it is not for everybody. Log in")
    expect(told).not_to_contain_text("POST")
