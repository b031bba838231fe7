"""How pages are looked at: pixels, accessibility, and what the Tab key reaches."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from playwright.sync_api import Locator, Page

LOADED = "html[data-loaded]"
"""What a page has once it shows what it shows."""
PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Where things are is known once they were painted: maps draw in the next frame."""
AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
STOPS = 400
"""More stops of the Tab key than any page has."""
FOCUSED = """() => {
  let node = document.activeElement;
  while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
  if (!node || node === document.body || node === document.documentElement) return null;
  // To give a field for dates focus anew would begin at its day again, for ever.
  if (window.tabbed.at(-1) === node) return 'again';
  const look = (of) => { const s = getComputedStyle(of);
    return [s.outlineStyle, s.outlineWidth, s.outlineColor, s.boxShadow, s.borderColor,
      s.backgroundColor, s.textDecorationLine].join('|'); };
  const style = getComputedStyle(node), box = node.getBoundingClientRect();
  const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
  const focused = look(node);
  node.blur();
  const plain = look(node);
  node.focus({ preventScroll: true, focusVisible: true });
  const seen = window.tabbed.includes(node);
  window.tabbed.push(node);
  const name = node.getAttribute('aria-label') || node.labels?.[0]?.textContent ||
    node.textContent || node.getAttribute('title') || '';
  return { seen, name: name.trim().replace(/\\s+/g, ' ').slice(0, 80),
    tag: node.tagName.toLowerCase(), html: node.outerHTML.slice(0, 160),
    marked: outlined || focused !== plain,
    left: box.left, top: box.top, width: box.width, height: box.height,
    inside: box.right > 0 && box.left < innerWidth && box.bottom > 0 && box.top < innerHeight };
}"""


@dataclass(frozen=True)
class Stop:
    """Where the Tab key stops."""

    name: str
    """What a screen reader says."""
    tag: str
    html: str
    marked: bool
    """Whether it looks otherwise than without focus."""
    left: float
    top: float
    width: float
    height: float
    inside: bool
    """Whether some of it is in the window."""


def show(page: Page, url: str) -> None:
    """Open one of our pages, and wait until it shows what it shows."""
    page.goto(url)
    page.locator(LOADED).wait_for(state="attached")


def drag(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag with the left button."""
    page.mouse.move(*begin)
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    page.mouse.up()


def pixels(seen: Page | Locator) -> NDArray[np.int64]:
    """Return (y, x, 3) of what is seen."""
    picture = Image.open(io.BytesIO(seen.screenshot()))
    return np.asarray(picture.convert("RGB")).astype(int)


def barriers(page: Page, *, below: str = "body") -> list[str]:
    """Return what axe-core finds that is serious or critical, with the elements it is about."""
    if not AXE.is_file():
        pytest.fail(f"{AXE} is missing; `npm ci` in web/ brings it")
    # Evaluated through the browser's own channel, which the page's policy does not concern.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    options = {"runOnly": {"type": "tag", "values": TAGS}, "resultTypes": ["violations"]}
    found: dict[str, Any] = page.evaluate(
        "([below, options]) => axe.run(below, options)", [below, options]
    )
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {node['target']} {node['html'][:200]} "
        f"{node.get('failureSummary', '')}"
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]


def tab_stops(page: Page) -> list[Stop]:
    """Press Tab from the top of the page until it leaves the page or comes round."""
    page.evaluate("() => { document.activeElement?.blur(); window.tabbed = []; }")
    stops: list[Stop] = []
    for _ in range(STOPS):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found == "again":  # a field for dates has a stop for day, month and year each
            continue
        if found is None or found.pop("seen"):
            return stops
        stops.append(Stop(**found))
    pytest.fail(f"Tab stops at more than {STOPS} places")


def faults(stops: list[Stop]) -> list[str]:
    """Return the stops that have no name, no mark of focus, or that are out of sight."""
    return [
        f"{fault}: {stop.html}"
        for stop in stops
        for fault, is_so in (
            ("no name", not stop.name),
            ("focus is not seen", not stop.marked),
            ("out of sight", not stop.inside or stop.width * stop.height == 0),
        )
        if is_so
    ]


def cut_off(page: Page) -> list[str]:
    """Return the elements whose text is cut off or reaches out of the window, and small text."""
    found: list[str] = page.evaluate(
        """() => {
  const wrong = [], wide = document.documentElement;
  if (wide.scrollWidth > innerWidth + 1) wrong.push(`page is ${wide.scrollWidth} px wide`);
  for (const node of document.body.querySelectorAll('*')) {
    const own = [...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim());
    const seen = { opacityProperty: true, visibilityProperty: true };
    if (!own || !node.checkVisibility(seen)) continue;
    const style = getComputedStyle(node), box = node.getBoundingClientRect();
    if (box.width <= 1 || box.height <= 1) continue;
    const told = `${node.tagName.toLowerCase()} "${node.textContent.trim().slice(0, 50)}"`;
    if (parseFloat(style.fontSize) < 12) wrong.push(`${told}: text of ${style.fontSize}`);
    const clips = !['visible', 'auto', 'scroll'].includes(style.overflowX);
    if (clips && style.textOverflow !== 'ellipsis' && node.scrollWidth > node.clientWidth + 1)
      wrong.push(`${told}: cut off`);
  }
  return wrong;
}"""
    )
    return found
