"""What people do on the explorer again and again."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect
from tests.web.looking import pixels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from playwright.sync_api import Locator, Page

PANELS = (
    "Find scenes", "Layers", "Values at a place", "Draw and measure", "Charts", "Compare",
    "Save and export", "Basemap and projection", "Saved processing", "Jobs",
)  # fmt: skip


def address_of(url: str, layers: list[dict[str, Any]], **view: object) -> str:
    """Return the address of an explorer that shows layers without a basemap."""
    state = {
        "version": 1, "view": view, "basemap": "none", "layers": layers, "swipe": None,
        "time": None, "extra": {},
    }  # fmt: skip
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(json.dumps(state).encode()) + packer.flush()
    return f"{url}/#map={base64.urlsafe_b64encode(packed).decode().rstrip('=')}"


def the_map(page: Page) -> Locator:
    return page.get_by_role("application").first


def still(page: Page) -> None:
    """Wait until the map has drawn all that it shows."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    expect(page.locator(".tz-map[aria-busy=true]")).to_have_count(0)


def panel(page: Page, name: str) -> Locator:
    """Open a panel, unless it is open."""
    button = page.get_by_role("navigation", name="Panels").get_by_role("button", name=name)
    if button.get_attribute("aria-expanded") != "true":
        button.click()
    found = page.get_by_role("region", name=name).first
    expect(found).to_be_visible()
    return found


def middle(page: Page) -> tuple[float, float]:
    box = the_map(page).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def inside(page: Page) -> NDArray[np.int64]:
    """Return pixels of the middle of the map, where the demo's data are."""
    found = pixels(the_map(page))
    rows, cols = found.shape[:2]
    return found[rows // 3 : rows // 2, cols // 3 : cols // 2]


def search(find: Locator, begin: str, end: str) -> Locator:
    """Ask for the scenes of a period; returns them."""
    form = find.get_by_role("form", name="Find scenes")
    form.get_by_label("From", exact=True).fill(begin)
    form.get_by_label("To, included").fill(end)
    form.get_by_role("button", name="Find scenes").click()
    return find.get_by_role("list", name="Scenes").get_by_role("listitem")


def draw_rectangle(page: Page, size: float = 60) -> None:
    """Draw a rectangle about the middle of the map."""
    panel(page, "Draw and measure").get_by_role("button", name="Rectangle").click()
    x, y = middle(page)
    page.mouse.click(x - size, y - size)
    page.mouse.move(x, y)
    page.mouse.click(x + size, y + size)
    expect(panel(page, "Draw and measure")).to_contain_text(re.compile("ha|m²|km²"))
