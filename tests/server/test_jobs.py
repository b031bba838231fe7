"""Batch jobs over HTTP: what a job may be, and what becomes of it, without anybody running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from tests.server.openapi import checked
from tests.server.small import DATES, EDGE, graph, make_home

from terrazzo.ledger import LOCAL
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.jobs import Jobs, Status
from terrazzo.ledger.queue import Queue
from terrazzo.logs import Entry, Level
from terrazzo.server.app import create_app
from terrazzo.server.settings import Limits, ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("shared")

NODES = 50
PIXELS = EDGE * EDGE * len(DATES)
"""Of NDVI of the whole collection, which is just allowed."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    workspace = make_home(tmp_path_factory.mktemp("jobs"))
    app = create_app(workspace, ServerSettings(limits=Limits(nodes=NODES, job_pixels=PIXELS)))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield checked(client)


@pytest.fixture
def queue(client: TestClient) -> Queue:
    queue = Queue(client.app.state.parts.database)  # type: ignore[attr-defined]
    if not any(one.id == "w" for one in queue.workers()):
        queue.announce("w", "here", 1)
    return queue


def create(client: TestClient, **members: Any) -> str:
    answer = client.post("/jobs", json={"process": graph(), **members})
    assert answer.status_code == 201, answer.text
    name: str = answer.headers["OpenEO-Identifier"]
    assert answer.headers["Location"] == f"http://testserver/jobs/{name}"
    return name


def refused(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_new_job_is_shown_as_it_was_given(client: TestClient):
    name = create(client, title="NDVI", description="of *small*", plan="free", budget=100)

    told = client.get(f"/jobs/{name}").json()

    assert told["process"] == graph()
    assert {key: told[key] for key in ("id", "title", "status", "progress", "log_level")} == {
        "id": name,
        "title": "NDVI",
        "status": "created",
        "progress": 0,
        "log_level": "info",
    }
    assert (told["plan"], told["budget"]) == ("free", 100)


def test_a_graph_that_is_not_valid_yet_is_kept(client: TestClient):
    process = {"process_graph": {"x": {"process_id": "later", "arguments": {}, "result": True}}}

    name = create(client, process=process)

    assert client.get(f"/jobs/{name}").json()["process"] == process


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "ProcessGraphMissing"),
        ({"process": None}, "ProcessGraphMissing"),
        ({"process": {}}, "ProcessGraphMissing"),
        ({"process": {"process_graph": []}}, "ProcessGraphMissing"),
        ({"process": {"process_graph": {}}}, "ProcessGraphMissing"),
        ({"process": graph(), "title": 5}, "RequestInvalid"),
        ({"process": graph(), "log_level": "loud"}, "RequestInvalid"),
        ({"process": graph(), "plan": 1}, "RequestInvalid"),
        ({"process": graph(), "budget": -1}, "BudgetInvalid"),
        ({"process": graph(), "budget": True}, "BudgetInvalid"),
    ],
)
def test_what_is_no_job_is_refused(client: TestClient, body: dict[str, Any], code: str):
    assert refused(client.post("/jobs", json=body)) == (400, code)


def test_a_graph_with_too_many_nodes_is_refused_with_the_number(client: TestClient):
    one = {"process_id": "pi", "arguments": {}}
    nodes = {f"n{number}": one for number in range(NODES + 1)}

    answer = client.post("/jobs", json={"process": {"process_graph": nodes}})

    assert refused(answer) == (400, "ProcessGraphComplexity")
    assert str(NODES) in answer.json()["message"]


def test_a_job_is_changed_member_by_member(client: TestClient):
    name = create(client, title="old", description="old", budget=5)
    other = {"process_graph": {"x": {"process_id": "pi", "arguments": {}, "result": True}}}

    for change in (
        {},
        {"title": "new"},
        {"description": None},
        {"process": other},
        {"budget": None},
    ):
        assert client.patch(f"/jobs/{name}", json=change).status_code == 204

    told = client.get(f"/jobs/{name}").json()
    assert (told["title"], told["process"]) == ("new", other)
    assert "description" not in told
    assert "budget" not in told


def test_what_only_the_server_sets_is_not_changed(client: TestClient):
    name = create(client)

    assert refused(client.patch(f"/jobs/{name}", json={"status": "finished"})) == (
        400,
        "PropertyNotEditable",
    )


def test_lists_come_in_pages_the_newest_first(client: TestClient):
    names = [create(client) for _ in range(5)][::-1]

    seen, here = [], "/jobs?limit=2"
    for _ in range(3):
        page = client.get(here).json()
        seen += [one["id"] for one in page["jobs"]]
        here = next(link["href"] for link in page["links"] if link["rel"] == "next")
    whole = client.get("/jobs?limit=").json()

    assert seen[:5] == names
    assert [one["id"] for one in whole["jobs"]][:6] == seen
    assert all("process" not in one for one in whole["jobs"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/jobs/{}"),
        ("PATCH", "/jobs/{}"),
        ("DELETE", "/jobs/{}"),
        ("GET", "/jobs/{}/estimate"),
        ("GET", "/jobs/{}/logs"),
        ("GET", "/jobs/{}/results"),
        ("POST", "/jobs/{}/results"),
        ("DELETE", "/jobs/{}/results"),
    ],
)
def test_a_job_that_is_not_there_is_not_found(client: TestClient, method: str, path: str):
    body = {"json": {}} if method == "PATCH" else {}

    answer = client.request(method, path.format("j-" + "0" * 32), **body)  # type: ignore[arg-type]

    assert refused(answer) == (404, "JobNotFound")


def test_a_job_that_waits_or_runs_is_locked(client: TestClient, queue: Queue):
    name = create(client)

    assert client.post(f"/jobs/{name}/results").status_code == 202
    assert client.post(f"/jobs/{name}/results").status_code == 202
    assert client.get(f"/jobs/{name}").json()["status"] == "queued"
    assert refused(client.patch(f"/jobs/{name}", json={"title": "x"})) == (400, "JobLocked")
    queue.claim("w")
    assert client.get(f"/jobs/{name}").json()["status"] == "running"
    assert refused(client.patch(f"/jobs/{name}", json={"title": "x"})) == (400, "JobLocked")
    assert refused(client.get(f"/jobs/{name}/results")) == (400, "JobNotFinished")
    assert client.delete(f"/jobs/{name}/results").status_code == 204
    assert client.get(f"/jobs/{name}").json()["status"] == "created"
    assert client.delete(f"/jobs/{name}").status_code == 204
    assert refused(client.get(f"/jobs/{name}")) == (404, "JobNotFound")


def test_a_job_that_is_too_large_is_refused_with_the_number(client: TestClient):
    process = graph()
    finer = {"data": {"from_node": "ndvi"}, "resolution": 5}
    process["process_graph"]["ndvi"]["result"] = False
    process["process_graph"]["finer"] = {
        "process_id": "resample_spatial",
        "arguments": finer,
        "result": True,
    }
    name = create(client, process=process)

    answer = client.post(f"/jobs/{name}/results")

    assert refused(answer) == (400, "ProcessGraphComplexity")
    assert f"{PIXELS:,}" in answer.json()["message"]
    assert client.get(f"/jobs/{name}").json()["status"] == "created"


def test_half_a_result_is_never_shown(client: TestClient, queue: Queue):
    name = create(client)
    client.post(f"/jobs/{name}/results")
    claim = queue.claim("w")
    assert claim is not None
    folder = JobFolders(client.app.state.parts.workspace.home).of(name, 1)  # type: ignore[attr-defined]
    folder.mkdir(parents=True)
    (folder / "stac.json").write_text("{}")

    partial = client.get(f"/jobs/{name}/results?partial=true").json()

    assert partial["assets"] == {}
    assert partial["properties"]["openeo:status"] == "running"
    assert refused(client.get(f"/jobs/{name}/results/result.tif")) == (400, "JobNotFinished")
    client.delete(f"/jobs/{name}")
    assert not folder.exists()


def test_a_job_that_failed_says_why_in_place_of_results(client: TestClient, queue: Queue):
    name = create(client)
    client.post(f"/jobs/{name}/results")
    claim = queue.claim("w")
    assert claim is not None
    queue.close(claim, Status.ERROR, {}, Entry(Level.ERROR, "The disk melted.", "Melted"))

    answer = client.get(f"/jobs/{name}/results")

    assert answer.status_code == 424
    assert answer.json()["message"] == "The disk melted."
    partial = client.get(f"/jobs/{name}/results?partial=true").json()
    assert partial["properties"]["openeo:status"] == "error"


def test_logs_come_in_pages_and_go_on_behind_an_offset(client: TestClient, queue: Queue):
    name = create(client, log_level="debug")
    client.post(f"/jobs/{name}/results")
    claim = queue.claim("w")
    assert claim is not None
    queue.report(claim, 1.0, {}, [Entry(level, level.value, "Told") for level in Level])

    seen, here = [], f"/jobs/{name}/logs?limit=2"
    while here:
        page = client.get(here).json()
        seen += page["logs"]
        here = next((link["href"] for link in page["links"] if link["rel"] == "next"), "")
    behind = client.get(f"/jobs/{name}/logs?offset={seen[2]['id']}&level=").json()
    serious = client.get(f"/jobs/{name}/logs?level=warning").json()

    told = [one["message"] for one in seen if one["code"] == "Told"]
    assert told == ["error", "warning", "info", "debug"]
    assert behind["logs"] == seen[3:]
    assert [one["message"] for one in serious["logs"]] == ["error", "warning"]
    assert serious["level"] == "warning"
    assert refused(client.get(f"/jobs/{name}/logs?offset=x")) == (400, "LogOffsetInvalid")


def test_an_estimate_comes_from_the_plan(client: TestClient):
    told = client.get(f"/jobs/{create(client)}/estimate").json()

    pixels = EDGE * EDGE * len(DATES)
    assert told["read_pixels"] == 2 * pixels  # red and near infrared
    assert told["read_bytes"] == 2 * pixels * 2
    assert told["size"] == pixels * (4 + 1)  # float32, and whether it is valid


def test_a_graph_that_is_not_valid_has_no_estimate(client: TestClient):
    process = {"process_graph": {"x": {"process_id": "later", "arguments": {}, "result": True}}}

    answer = client.get(f"/jobs/{create(client, process=process)}/estimate")

    assert refused(answer) == (400, "ProcessUnsupported")


@pytest.mark.parametrize("signature", ["0-0", "-", "0", "zz-00", "1-" + "a" * 64])
def test_a_link_that_was_not_signed_here_opens_nothing(client: TestClient, signature: str):
    name = create(client)

    answer = client.get(f"/results/{signature}/{name}/1/results.json")

    assert refused(answer) == (404, "FileNotFound")


def test_somebody_else_neither_sees_nor_touches_a_job(client: TestClient, tmp_path: Path):
    jobs = Jobs(client.app.state.parts.database, JobFolders(tmp_path))  # type: ignore[attr-defined]
    name = create(client)
    assert jobs.get(LOCAL, name).owner == LOCAL.id

    closed = create_app(
        client.app.state.parts.workspace,  # type: ignore[attr-defined]
        ServerSettings(open=False),
    )
    with TestClient(closed) as stranger:
        assert stranger.get(f"/jobs/{name}").status_code == 401
        assert stranger.get("/jobs").status_code == 401
        assert stranger.delete(f"/jobs/{name}").status_code == 401
