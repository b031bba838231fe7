"""A real browser, a server over the demo's data, and pages that tell when anything goes wrong."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from playwright.sync_api import expect, sync_playwright
from tests.web.exploring import still
from tests.web.looking import show
from tests.web.watching import Watch

from terrazzo.cli.showcase import GRAPH, publish, take_in
from terrazzo.drivers.job import Workspace
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-domain-reliability", "--no-pings", "--force-color-profile=srgb",
)  # fmt: skip
SCREENS = Path(
    os.environ.get("TERRAZZO_SCREENS") or Path(__file__).parents[2] / "build" / "screens"
)
"""Where screenshots are kept; the folder is made."""
SIZE = {"width": 1280, "height": 800}
PATIENCE_MS = 60_000
"""How long a page may take on a machine that does much else."""


class Keep(Protocol):
    """Keeps a screenshot."""

    def __call__(self, name: str, page: Page | None = None) -> Path:
        """Return the file: of the test's page, or of another one."""
        ...


# Not for the whole session: while it runs, Playwright's event loop has the main thread, where
# tests of other folders run loops of their own.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Start the browser; CI needs one."""
    if PROGRAM is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs chromium on PATH to look at the pages")
        pytest.skip("needs chromium on PATH")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def browsing(chromium: Browser, watch: Watch) -> Iterator[BrowserContext]:
    """Give somebody a browser of their own, with nothing kept in it."""
    context = chromium.new_context(viewport=SIZE, color_scheme="light", reduced_motion="reduce")  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    watch.over(context)
    yield context
    context.close()


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Take note of what goes wrong on the pages; at the end, there must be nothing."""
    watch = Watch()
    yield watch
    watch.check()


@pytest.fixture
def context(chromium: Browser, watch: Watch) -> Iterator[BrowserContext]:
    """Somebody's browser, with nothing kept in it."""
    with browsing(chromium, watch) as context:
        yield context


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """An empty page; if the test fails, how it looked then is kept."""
    page = context.new_page()
    failures = request.session.testsfailed
    yield page
    if request.session.testsfailed > failures:
        _shoot(page, f"failed-{request.node.name}")


@pytest.fixture
def keep(page: Page, request: pytest.FixtureRequest) -> Keep:
    """Keep what is seen as a file of the run, for people to look at."""

    def keep(name: str, other: Page | None = None) -> Path:
        return _shoot(other or page, f"{request.node.name}-{name}")

    return keep


def _shoot(page: Page, name: str) -> Path:
    SCREENS.mkdir(parents=True, exist_ok=True)
    path = SCREENS / f"{re.sub(r'[^a-zA-Z0-9._-]+', '-', name).strip('-')[:120]}.png"
    page.screenshot(path=path)
    return path


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with the demo's collection and service, one for all processes of the run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    home, done = folder / "demo-of-the-pages", folder / "demo-of-the-pages.json"
    with (folder / "demo-of-the-pages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            workspace = take_in(home, [])
            service, _ = publish(workspace, json.loads(GRAPH.read_text(encoding="utf-8")))
            done.write_text(json.dumps(service.id))
    return home


@pytest.fixture(scope="session")
def demo(demo_home: Path) -> Iterator[str]:
    """Address of a server over the demo's data where everybody is the one local user."""
    with serving(Workspace.of(demo_home), settings=ServerSettings(job_workers=1)) as url:
        yield url


@pytest.fixture
def explorer(page: Page, demo: str) -> Page:
    """The explorer over the demo's data, which shows the one service there is."""
    show(page, f"{demo}/")
    still(page)
    return page
