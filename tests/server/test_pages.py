"""The pages of processes and graphs, in a real browser that reaches nothing but this server."""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
from tests.server.small import make_home

import terrazzo.server
from terrazzo.processes import PROCESSES
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.testclient import TestClient

STATIC = Path(terrazzo.server.__file__).parent / "static"
GRAPH = STATIC.parents[1] / "cli" / "demo_graph.json"
"""A graph with callbacks, which the editor opens as graphs of their own."""
PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-domain-reliability", "--disable-client-side-phishing-detection", "--no-pings",
    "--virtual-time-budget=20000", "--enable-logging=stderr",
)  # fmt: skip


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = make_home(tmp_path_factory.mktemp("pages"))
    with serving(home, settings=ServerSettings(job_workers=0)) as found:
        yield found


@pytest.mark.parametrize("path", ["/processes", "/editor"])
def test_pages_and_their_files_are_served(client: TestClient, path: str) -> None:
    page = client.get(path, headers=PAGE)
    files = re.findall(r'(?:src|href)="(static/[^"]+)"', page.text)

    answers = [client.get(f"/{file}") for file in files]

    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "Accept" in page.headers["vary"]
    assert len(files) == 4
    assert {answer.status_code for answer in answers} == {200}


def test_each_page_leads_to_the_others(client: TestClient) -> None:
    pages = {"./", "processes", "editor"}

    linked = {
        path: set(re.findall(r'<a href="([^"]+)"', client.get(f"/{path}", headers=PAGE).text))
        for path in pages
    }

    assert all(found >= pages - {path} for path, found in linked.items())


def test_programs_get_the_processes_as_json(client: TestClient) -> None:
    answers = [client.get("/processes", headers=h) for h in ({}, {"Accept": "application/json"})]

    for answer in answers:
        assert {one["id"] for one in answer.json()["processes"]} == set(PROCESSES)


def test_the_components_load_nothing_from_another_host() -> None:
    text = (STATIC / "components" / "openeo.min.js").read_text()

    assert "fontawesome.com" not in text
    assert 'href="static/components/fontawesome.css"' in text
    # What is left are names of schemas, links that people may follow, and licences.
    loaded = re.findall(r"(?:src|href)=[\"'](?:https?:)?//[^\"']+", text)
    assert loaded == []
    assert text.startswith("/*! @openeo/vue-components ")
    assert "Apache License" in (STATIC / "components" / "LICENSE").read_text()


def test_the_components_are_those_that_were_fetched() -> None:
    from scripts.fetch_components import PACKAGE, VERSION  # noqa: PLC0415 - as a module

    content = (STATIC / "components" / "openeo.min.js").read_bytes()

    assert f"{PACKAGE} {VERSION}," in content[:200].decode()
    assert hashlib.sha256(content).hexdigest() == (
        "c2c3285db24deb6d057654907a13440e14385781beedefd29b5d4de170d3c5d3"
    )


def browse(url: str, folder: Path) -> tuple[str, set[str], list[str]]:
    """Open a page; return the document as it became, all hosts asked, and what went wrong."""
    if BROWSER is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs chromium on PATH to look at the pages")
        pytest.skip("needs chromium on PATH")
    log = folder / "net.json"
    done = subprocess.run(
        [
            BROWSER, *FLAGS, f"--user-data-dir={folder / 'browser'}", f"--log-net-log={log}",
            "--net-log-capture-mode=Default", "--window-size=1280,800", "--dump-dom", url,
        ],
        check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    errors = [line for line in done.stderr.splitlines() if "CONSOLE" in line and "Error" in line]
    return done.stdout, asked(log), errors


def asked(log: Path) -> set[str]:
    """Return host and port of all that a page asked for, as the browser logs its network.

    What the browser asks for on its own account has no page as its initiator.
    """
    events: list[dict[str, Any]] = json.loads(log.read_text())["events"]
    told = [event.get("params", {}) for event in events]
    urls = [one["url"] for one in told if "http" in str(one.get("initiator")) and "url" in one]
    assert len(urls) >= 6  # styles, scripts, processes
    return {urlsplit(url).netloc for url in urls}


@pytest.mark.slow
def test_the_page_shows_every_process_and_asks_no_other_host(url: str, tmp_path: Path) -> None:
    document, hosts, errors = browse(f"{url}/processes", tmp_path)

    assert f'data-loaded="{len(PROCESSES)}"' in document
    assert hosts == {urlsplit(url).netloc}
    assert errors == []


@pytest.mark.slow
def test_the_editor_shows_a_graph_and_asks_no_other_host(url: str, tmp_path: Path) -> None:
    given = GRAPH.read_text()
    document, hosts, errors = browse(f"{url}/editor#{quote(given)}", tmp_path)

    assert f'data-loaded="{len(PROCESSES)}"' in document
    message = re.search(r'<p id="message"[^>]*>(.*?)</p>', document)
    assert message is not None
    assert html.unescape(message[1]) == ""
    assert document.count("<button") >= len(PROCESSES)
    assert hosts == {urlsplit(url).netloc}
    assert errors == []
