"""The pages of processes and graphs as they are served, with all that they load."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest

import terrazzo.server
from terrazzo.processes import PROCESSES

if TYPE_CHECKING:
    from starlette.testclient import TestClient

STATIC = Path(terrazzo.server.__file__).parent / "static"
PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


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
    pages = {"/", "/processes", "/editor"}

    texts = {path: client.get(path, headers=PAGE).text for path in pages}
    linked = {
        path: {urljoin(path, href) for href in re.findall(r'<a [^>]*href="([^"]+)"', text)}
        for path, text in texts.items()
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
