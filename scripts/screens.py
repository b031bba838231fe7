"""Makes the pictures of screens in README and documentation: the demo's data, and Chromium.

    python -m scripts.screens [NAME ...] [--home DIR] [--parcels FILE] [--output docs/images]

The pictures are of the real sample data (contains modified Copernicus Sentinel data 2015-2021). The
page of geometries is made if there is a file of parcels to show, for example
ZH_Polygons_2020_ESCH of the canton of Zurich.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from scripts.notebooks import FOLDER, dashboard, jupyter_lab, lend
from terrazzo.cli.showcase import COLLECTION, make_everything
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from playwright.sync_api import Browser, Locator, Page

    from terrazzo.drivers.job import Workspace

ROOT = Path(__file__).parents[1]
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
WIDE, TALL, PHONE = (1200, 760), (1200, 820), (360, 740)
PATIENCE_MS = 300_000
ITEM = "sentinel2_cube_subset_romania_10m_20190701"
CLEAR = ("2018-05-22", "2018-09-19")
"""Days without clouds."""
PAGES = {
    "collection": (f"collections/{COLLECTION}", (1200, 1000)),
    "item": (f"collections/{COLLECTION}/items/{ITEM}", (1200, 900)),
    "processes": ("processes#spatial", (1200, 700)),
}
"""The address of each page, and how much of it is shown."""
PARCELS = ("features/collections/parcels", (1200, 900))
NOTEBOOK = "first-map.ipynb"
NOTEBOOKS = {"notebook": (1200, 985), "dashboard": (1200, 800)}
"""Size of what is seen of the notebook in JupyterLab, and of the notebook as a page."""


@contextmanager
def browsing() -> Iterator[Browser]:
    """Start Chromium for the block."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        sys.exit("There is no chromium on PATH. Install it, for example: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def seen(
    browser: Browser, url: str, size: tuple[int, int], *, dark: bool = False
) -> Iterator[Page]:
    """Open a page of that size until it is loaded."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(url, wait_until="load")
    yield page
    context.close()


def take(url: str, output: Path, size: tuple[int, int]) -> None:
    """Take a picture of a page that needs no waiting for, such as a file."""
    with browsing() as browser, seen(browser, url, size) as page:
        page.screenshot(path=output)


def _still(page: Page) -> None:
    """Wait until the page shows what it shows, maps included."""
    page.locator("html[data-loaded]").wait_for(state="attached")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    for map_ in page.locator(".tz-map").all():
        map_.and_(page.locator("[aria-busy=false]")).wait_for()
    page.wait_for_load_state("networkidle")


def _panel(page: Page, name: str) -> Locator:
    button = page.get_by_role("navigation", name="Panels").get_by_role("button", name=name)
    if button.get_attribute("aria-expanded") != "true":
        button.click()
    return page.get_by_role("region", name=name).first


def _first(page: Page) -> None:
    _panel(page, "Layers")


def _find(page: Page) -> None:
    find = _panel(page, "Find scenes")
    find.get_by_label("Collection").select_option(COLLECTION)
    find.get_by_label("From", exact=True).fill("2018-05-01")
    find.get_by_label("To, included").fill("2018-09-30")
    find.get_by_role("button", name="Find scenes").click()
    find.get_by_role("button", name=f"Show {CLEAR[1]}").click()


def _compare(page: Page) -> None:
    _find(page)
    _still(page)
    _panel(page, "Find scenes").get_by_role("button", name=f"Compare {CLEAR[0]}").click()


def _rectangle(page: Page) -> None:
    _panel(page, "Draw and measure").get_by_role("button", name="Rectangle").click()
    box = page.locator(".tz-map").first.bounding_box()
    if box is None:
        sys.exit("The map is not seen.")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.click(x - 70, y - 50)
    page.mouse.move(x, y)
    page.mouse.click(x + 70, y + 50)


def _profile(page: Page) -> None:
    find = _panel(page, "Find scenes")
    find.get_by_label("Collection").select_option(COLLECTION)
    find.get_by_label("Show as").select_option(label="NDVI, vegetation")
    page.get_by_role("button", name="Show all these dates").click()
    _still(page)
    _rectangle(page)
    charts = _panel(page, "Charts")
    chart = charts.get_by_role("region", name="Profile over all dates").get_by_role("img")
    chart.first.scroll_into_view_if_needed()


SCREENS: dict[str, tuple[Callable[[Page], None], tuple[int, int], bool]] = {
    "demo": (_first, WIDE, False),
    "explorer-find": (_find, WIDE, False),
    "explorer-compare": (_compare, WIDE, False),
    "explorer-profile": (_profile, TALL, True),
    "explorer-phone": (_still, PHONE, False),
}
"""What is done on the explorer before its picture is taken, its size, and whether it is dark."""


def main(given: Sequence[str] | None = None) -> None:
    """Run the demo and take the pictures that are asked for, or all."""
    known = [*SCREENS, *PAGES, *NOTEBOOKS, "features"]
    options = argparse.ArgumentParser(description="Make the pictures of screens.")
    options.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    options.add_argument("--home", type=Path, help="folder of the demo; a temporary one by default")
    options.add_argument("--parcels", type=Path, help="a file of polygons for `features`")
    options.add_argument("--colour", default="", help="the attribute that colours the parcels")
    options.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    asked = options.parse_args(given)
    unknown = set(asked.names) - set(known)
    if unknown:
        options.error(f"no picture {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    wanted = asked.names or known if asked.parcels else asked.names or known[:-1]
    asked.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        workspace, _ = make_everything((asked.home or Path(scratch) / "demo").absolute())
        if asked.parcels:
            told = IngestOptions(datetime="2020", title="Parcels")
            ingest([asked.parcels], "parcels", workspace, options=told)
        _take_all(workspace, wanted, asked.output, asked.colour)


def _take_notebook(
    workspace: Workspace, browser: Browser, name: str, size: tuple[int, int], picture: Path
) -> None:
    """Take a picture of the notebook in JupyterLab, or as a dashboard."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        lend(workspace.home, home)
        if name == "dashboard":
            with dashboard(FOLDER / NOTEBOOK, home) as url, seen(browser, url, size) as page:
                _take_map(page, picture)
            return
        shutil.copy(FOLDER / NOTEBOOK, home)
        with (
            jupyter_lab(home, {"HOME": scratch}) as url,
            seen(browser, f"{url}lab/tree/{NOTEBOOK}", size) as page,
        ):
            page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
            page.get_by_role("tab", name="File Browser").click()  # it gives way to the notebook
            page.locator(".jp-CodeCell .cm-content").click()
            page.keyboard.press("Control+Enter")
            _take_map(page, picture)


def _take_map(page: Page, picture: Path) -> None:
    """Take a picture of a notebook's page, once its map shows what it shows."""
    page.get_by_text("NDVI: computed at").wait_for()
    page.locator(".tz-map-legend").evaluate("(legend) => { legend.open = true; }")
    page.get_by_role("heading", name="A first map").scroll_into_view_if_needed()
    page.locator(".tz-map[aria-busy=false]").wait_for()
    page.screenshot(path=picture, animations="disabled")


def _take_all(workspace: Workspace, names: Sequence[str], output: Path, colour: str) -> None:
    pages = PAGES | {"features": (f"{PARCELS[0]}#colour={colour}", PARCELS[1])}
    settings = ServerSettings(job_workers=0)
    with serving(workspace, settings=settings) as url, browsing() as browser:
        for name in names:
            picture = output / f"{name}.png"
            if name in NOTEBOOKS:
                _take_notebook(workspace, browser, name, NOTEBOOKS[name], picture)
                sys.stdout.write(f"{picture}\n")
                continue
            path, size = pages.get(name, ("", WIDE))
            act, dark = None, False
            if name in SCREENS:
                act, size, dark = SCREENS[name]
            with seen(browser, f"{url}/{path}", size, dark=dark) as page:
                _still(page)
                if act is not None:
                    act(page)
                    _still(page)
                page.screenshot(path=picture, animations="disabled")
            sys.stdout.write(f"{picture}\n")


if __name__ == "__main__":
    main()
