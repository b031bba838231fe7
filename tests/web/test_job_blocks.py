"""The explorer shows which blocks of a job are done, and who computes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from tests.server.small import make_home
from tests.server.test_job_blocks import COUNT, MADE, run_in_part
from tests.web.exploring import panel, still
from tests.web.leaving import visited
from tests.web.looking import barriers, show

from terrazzo.ledger import LOCAL, Database, database_url
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.jobs import JobRequest, Jobs
from terrazzo.ledger.queue import Queue
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page
    from tests.web.conftest import Keep


@pytest.fixture
def address(tmp_path: Path, page: Page) -> Iterator[str]:
    """A server on which a job runs for ever, of which some blocks are done."""
    workspace = make_home(tmp_path / "home")
    database = Database(database_url(workspace.home))
    jobs, queue = Jobs(database, JobFolders(workspace.home)), Queue(database)
    job = jobs.create(LOCAL, JobRequest({"title": "NDVI of all"}, process={"process_graph": {}}))
    jobs.start(LOCAL, job.id)
    queue.announce("w", "here", 1)
    assert queue.claim("w") is not None
    run_in_part(workspace, jobs.folders.of(job.id, 1))
    database.close()
    with visited(page, workspace, ServerSettings(job_workers=0)) as url:
        yield url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_blocks_and_workers_of_a_job_are_shown(
    page: Page, address: str, keep: Keep, scheme: str
) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    show(page, f"{address}/")
    still(page)
    jobs = panel(page, "Jobs")
    jobs.get_by_role("button", name="Blocks: NDVI of all").click()

    found = jobs.get_by_role("img", name=re.compile(r"Map of 3 by 3 blocks .* 1 in work"))
    expect(found).to_be_visible()
    expect(found.locator("i")).to_have_count(COUNT)
    expect(found.locator(".ex-block-d")).not_to_have_count(0)
    expect(jobs).to_contain_text(re.compile(rf"blocks: {MADE} of {COUNT} done"))
    expect(jobs.get_by_role("row", name=re.compile("Worker 1"))).to_contain_text("5 MB")
    keep(scheme)
    assert barriers(page) == []
    colours = {
        letter: found.locator(f".ex-block-{letter}").first.evaluate(
            "(cell) => getComputedStyle(cell).background"
        )
        for letter in "drm"
    }
    assert len(set(colours.values())) == 3

    page.set_viewport_size({"width": 360, "height": 700})
    still(page)
    keep(f"{scheme}-narrow")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
