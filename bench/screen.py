"""The explorer in a browser: the first tile, the ones after it, memory, and what is loaded."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from playwright.sync_api import sync_playwright

from bench import graphs
from bench.contestants.tiles import HIGHEST, LOWEST
from bench.http_load import served
from bench.report import Row, Section, Table, Target, figure, ms, seconds
from terrazzo.cli.showcase import GRAPH, publish, take_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page, Response

    from bench.dataset import Dataset
    from bench.http_load import Served
    from bench.options import Options

FIRST_TILE_S, TILE_MS, SHARE, BUNDLE_KB = 1.5, 300.0, 95, 300.0
GROWTH = 1.1
"""How much more memory than after warming up the page may have at the end."""
PANS, WARM_UP = 500, 100
"""How often the map is dragged, and how often before memory is looked at for the first time."""
STEP = 180
"""Pixels that the map is dragged at a time."""
REACH = 4
"""Steps from where it began that the map is dragged at most, so that there are data to see."""
CLOSER = 2
"""Zoom levels nearer than the whole collection: some screens of pixels in each direction."""
FIVE = 5
"""Dates before the last one that the demo's service has."""
PATIENCE_MS = 120_000
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
SIZE = {"width": 1280, "height": 800}
MAP, STILL = ".tz-map", ".tz-map[aria-busy=false]"
NOTED = """
performance.setResourceTimingBufferSize(100000);
new MutationObserver((_, observer) => {
  if (!document.documentElement.dataset.loaded) return;
  window.shownAfter = performance.now();
  observer.disconnect();
}).observe(document, { attributes: true, subtree: true, attributeFilter: ["data-loaded"] });
"""
"""Run before anything of the page: notes when it shows what it shows."""
TIMES = """() => performance.getEntriesByType("resource")
  .filter((one) => /\\/tiles\\//.test(one.name) && one.responseEnd && one.decodedBodySize)
  .map((one) => [one.startTime, one.requestStart, one.responseEnd])"""
PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""A map asks for tiles when it is drawn where it was dragged."""
CODE = ("script", "stylesheet")


class NoBrowserError(RuntimeError):
    """There is no Chromium to look at the page with."""


@dataclass
class Opened:
    """How long it took to open the explorer."""

    first: list[float] = field(default_factory=list)
    """Seconds from the address until the first tile is there."""
    shown: list[float] = field(default_factory=list)
    """Seconds until everything is drawn."""


@dataclass(frozen=True)
class Memory:
    """What the page has after a number of drags, when garbage was collected."""

    pans: int
    heap: float
    """MB of JavaScript."""
    nodes: float
    listeners: float
    process: float
    """MB that the process of the page has resident, pictures and code included."""


def run(data: Dataset, options: Options) -> Section:
    """Open the explorer on the demo's data, look around, and count."""
    home = _demo(data.home.parent / "demo")
    section = Section(
        "screen",
        "The explorer in a browser",
        "The page `/` over the data of `terrazzo demo` in headless Chromium without a graphics "
        "card, 1280 x 800 pixels. The server has one core and keeps no pictures of tiles, so that "
        "each is computed; the browser has the other cores, and an empty cache each time. *First "
        "tile*: from asking for the address until the last byte of the first tile; *everything*: "
        "until the whole view is drawn. *Tile*: from when the map asks for it until its last byte, "
        "waiting for its turn included, while the map is dragged. The demo's layer has few tiles, "
        "most of them the first of a date, of which a hundred files are opened; so the median NDVI "
        f"of {data.dates} dates of {data.size} x {data.size} pixels is dragged, too. Memory is "
        "looked at after the garbage of JavaScript was collected.",
        "Networks: browser and server are on one machine.",
    )
    with served(home, cores=1) as server, _browser() as browser:
        opened, sizes = _openings(browser, server.url, 2 if options.quick else options.runs + 1)
        options.say(f"first tile after {median(opened.first):.2f} s")
        pans = 30 if options.quick else PANS
        with _page(browser) as page:
            _open(page, server.url)
            memories, waits = _drag_about(page, browser, pans, 10 if options.quick else WARM_UP)
    with served(data.home, cores=1) as server, _browser() as browser:
        address = f"{server.url}/#{_service(server, data)}"
        for _ in range(2):  # the first finds a server that has just started
            with _page(browser) as page:
                _open(page, address)
                _, many = _drag_about(page, browser, pans, WARM_UP)
    section.tables += [_opening_table(opened), _tile_table(waits, "the demo's layer")]
    section.tables += [_tile_table(many, "a larger scene"), _memory_table(memories)]
    section.tables.append(_bundle_table(sizes))
    warm, end = memories[0], memories[-1]
    section.targets += [
        Target.at_most("First tile after opening the explorer, s", FIRST_TILE_S, _later(opened)),
        Target.at_most(
            f"{SHARE} % of tiles of the demo, server with 1 core, ms", TILE_MS, _slow(waits)
        ),
        Target.at_most(
            f"{SHARE} % of tiles of a larger scene, server with 1 core, ms", TILE_MS, _slow(many)
        ),
        Target.at_most(
            "Scripts and styles of the explorer, gzipped, KB",
            BUNDLE_KB,
            sum(small for _, small in sizes.values()) / 1e3,
            timed=False,
        ),
    ]
    if not options.quick:
        text = f"JavaScript's memory after {pans} drags / after {warm.pans}"
        section.targets.append(Target.at_most(text, GROWTH, end.heap / warm.heap, timed=False))
    return section


def _slow(times: np.ndarray) -> float:
    """Return how long all but the slowest tiles take at most, ms."""
    return 1e3 * float(np.percentile(times[:, 2] - times[:, 0], SHARE))


def _service(server: Served, data: Dataset) -> str:
    """Return the id of a service of the larger scene."""
    style = {"min": LOWEST, "max": HIGHEST, "colors": "viridis"}
    found = re.search("[0-9a-f]{16}", server.service(graphs.ndvi_median(data), style))
    assert found is not None
    return found[0]


def _demo(home: Path) -> Path:
    """Make the collection and service of the demo, once."""
    workspace = take_in(home, [])
    publish(workspace, json.loads(GRAPH.read_text(encoding="utf-8")))
    return home


@contextmanager
def _browser() -> Iterator[Browser]:
    """Start Chromium on the cores that the server does not have, if there are any.

    Raises:
        NoBrowserError: there is none on PATH.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise NoBrowserError("no chromium on PATH; for example: apt-get install chromium")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[1:] or before)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
            yield browser
            browser.close()
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _page(browser: Browser) -> Iterator[Page]:
    context: BrowserContext = browser.new_context(viewport=SIZE)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(NOTED)
    yield context.new_page()
    context.close()


def _open(page: Page, url: str) -> None:
    page.goto(url)
    page.locator("html[data-loaded]").wait_for(state="attached")
    page.locator(STILL).first.wait_for()


def _openings(browser: Browser, url: str, times: int) -> tuple[Opened, dict[str, tuple[int, int]]]:
    """Open the page again and again, each time as if for the first time."""
    opened, sizes = Opened(), dict[str, tuple[int, int]]()

    def note(answer: Response) -> None:
        if answer.request.resource_type in CODE:
            content = answer.body()
            name = Path(answer.url.partition("?")[0]).name
            sizes[name] = len(content), len(gzip.compress(content, mtime=0))

    for number in range(times):
        with _page(browser) as page:
            if number == times - 1:
                page.on("response", note)
            _open(page, url)
            opened.first.append(min(end for *_, end in page.evaluate(TIMES)) / 1e3)
            opened.shown.append(page.evaluate("window.shownAfter") / 1e3)
    return opened, sizes


def _later(opened: Opened) -> float:
    """Return the median of all but the first, which finds a server that has just started."""
    return median(opened.first[1:])


def _drag_about(
    page: Page, browser: Browser, pans: int, warm_up: int
) -> tuple[list[Memory], np.ndarray]:
    """Drag the map about where there are data; returns memory now and then, and tiles' times."""
    box = page.locator(MAP).first.bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    for _ in range(CLOSER):
        page.mouse.wheel(0, -240)
        page.locator(STILL).first.wait_for()
    date = page.get_by_role("slider", name="Date")
    random = np.random.default_rng(1)
    place, memories = np.zeros(2, int), []
    ways = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    for number in range(1, pans + 1):
        allowed = [way for way in ways if np.abs(place + way).max() <= REACH]
        way = allowed[random.integers(len(allowed))]
        place += way
        begin = np.array(middle) - way * STEP / 2
        page.mouse.move(*begin)
        page.mouse.down()
        page.mouse.move(*(begin + way * STEP), steps=5)
        page.mouse.up()
        if (
            number % 10 == 0 and date.is_visible()
        ):  # another date has other tiles; back again after five
            date.press("ArrowLeft" if number // 10 % 10 < FIVE else "ArrowRight")
        page.evaluate(PAINTED)
        page.locator(STILL).first.wait_for()
        if number in {warm_up, pans} or number % 100 == 0:
            memories.append(_memory(page, browser, number))
    return memories, np.array(page.evaluate(TIMES)) / 1e3


def _memory(page: Page, browser: Browser, pans: int) -> Memory:
    session = page.context.new_cdp_session(page)
    for _ in range(2):
        session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    told = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return Memory(
        pans,
        told["JSHeapUsedSize"] / 1e6,
        told["Nodes"],
        told["JSEventListeners"],
        _resident(browser),
    )


def _resident(browser: Browser) -> float:
    """Return the MB of the largest process that shows a page."""
    session = browser.new_browser_cdp_session()
    told: list[dict[str, Any]] = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    sizes = []
    for one in told:
        status = Path(f"/proc/{one['id']}/status")
        if one["type"] == "renderer" and status.exists():
            (line,) = [row for row in status.read_text().splitlines() if row.startswith("VmRSS")]
            sizes.append(int(line.split()[1]) * 1024 / 1e6)
    return max(sizes)


def _opening_table(opened: Opened) -> Table:
    table = Table("Opening the explorer", ("first tile s", "everything s"))
    rows = {"server just started": slice(1), "later": slice(1, None)}
    for name, part in rows.items():
        cells = tuple(seconds(median(one[part])) for one in (opened.first, opened.shown))
        table.rows.append(Row(name, cells))
    return table


def _tile_table(waits: np.ndarray, of: str) -> Table:
    table = Table(
        f"{len(waits)} tiles of {of} while the map is dragged",
        ("p50 ms", f"p{SHARE} ms"),
    )
    for name, took in (
        ("as the map waits for them", waits[:, 2] - waits[:, 0]),
        ("from the request to the last byte", waits[:, 2] - waits[:, 1]),
    ):
        cells = (ms(float(np.percentile(took, share))) for share in (50, SHARE))
        table.rows.append(Row(name, tuple(cells)))
    return table


def _memory_table(memories: list[Memory]) -> Table:
    columns = ("JavaScript MB", "nodes", "listeners", "process MB")
    table = Table("Memory of the page", columns)
    for one in memories:
        counts = f"{one.nodes:.0f}", f"{one.listeners:.0f}"
        cells = (figure(one.heap), *counts, f"{one.process:.0f}")
        table.rows.append(Row(f"after {one.pans} drags", cells))
    return table


def _bundle_table(sizes: dict[str, tuple[int, int]]) -> Table:
    table = Table("Scripts and styles of the explorer", ("KB", "gzipped KB"))
    total = tuple(map(sum, zip(*sizes.values(), strict=True)))
    for name, pair in (*sorted(sizes.items()), ("all", total)):
        table.rows.append(Row(name, tuple(f"{size / 1e3:.1f}" for size in pair)))
    return table
