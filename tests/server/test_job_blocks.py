"""How jobs get on: which of their blocks are done, who computes them, and as numbers."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from tests.server.program import PATIENCE, serve
from tests.server.small import graph, make_home
from tests.server.test_metrics import HERE, number, numbers
from tests.server.test_workers import prometheus
from typing_extensions import override

from terrazzo.drivers import batch
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.executors import rounds
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.watching.known import enter
from terrazzo.drivers.watching.pulse import Beat, now
from terrazzo.drivers.watching.status import STATUS, State, Status
from terrazzo.drivers.watching.watch import Watcher
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.looks import JobWatcher
from terrazzo.ledger.queue import Queue
from terrazzo.progress import Cancelled, Progress
from terrazzo.server.app import create_app
from terrazzo.server.settings import ServerSettings
from terrazzo.server.web.metrics import MOST_RUNS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = 100
COUNT, MADE = 9, 4
"""Blocks of the small collection, and how many are made before the run stops."""
BEAT = Beat(
    "w", "secret-host", 4321, now(), now(), made=MADE, failed=1, running=(("", 8),), per_second=0.5,
    decoded_bytes=1000, written_bytes=70, memory_bytes=5_000_000,
)  # fmt: skip


class Stopping(Progress):
    """Stops a run when some of its blocks are made."""

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if self.done == MADE:
            raise Cancelled


def run_in_part(workspace: Workspace, folder: Path) -> None:
    """Make some blocks of a run, and let it look as if it still ran."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "STINT_S", 0.0)  # one by one: the last is not handed out by then
        with pytest.raises(Cancelled):
            batch.run(
                Job.of(graph()), workspace, folder, block=BLOCK, pool=Pool("threads", 1),
                progress=Stopping(),
            )  # fmt: skip
    depot = FolderDepot(folder)
    status = Status.read(depot)
    assert status is not None
    later = replace(status, state=State.RUNNING, seen="2999-01-01T00:00:00Z", took=None, team=())
    depot.write(STATUS, later.content())
    beat = replace(BEAT, seen="2999-01-01T00:00:00Z")  # for as long as the test takes
    depot.write(beat.file, json.dumps(asdict(beat)).encode())


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_home(tmp_path_factory.mktemp("blocks"))


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[TestClient]:
    app = create_app(workspace, ServerSettings())
    with TestClient(app, raise_server_exceptions=False, client=HERE) as client:
        yield client


@pytest.fixture(scope="module")
def running(client: TestClient, workspace: Workspace) -> str:
    """Id of a job that a worker has, and of which some blocks are done."""
    name: str = client.post("/jobs", json={"process": graph()}).headers["OpenEO-Identifier"]
    client.post(f"/jobs/{name}/results")
    queue = Queue(client.app.state.parts.database)  # type: ignore[attr-defined]
    queue.announce("w", "here", 1)
    assert queue.claim("w") is not None
    run_in_part(workspace, JobFolders(workspace.home).of(name, 1))
    return name


def test_the_owner_of_a_job_sees_its_blocks_and_workers(client: TestClient, running: str):
    told = client.get(f"/jobs/{running}/blocks").json()

    assert (told["state"], told["total"], told["failed"]) == ("running", COUNT, 0)
    assert MADE <= told["done"] < COUNT
    assert told["per_second"] == 0.5
    assert told["left_seconds"] == (COUNT - told["done"]) / 0.5
    (found,) = told["maps"]
    assert (found["rows"], found["columns"]) == (3, 3)
    assert found["counts"]["done"] == found["cells"].count("d") >= MADE
    assert found["cells"][8] == "r"
    assert sum(found["counts"].values()) == COUNT
    (worker,) = told["workers"]
    assert (worker["name"], worker["made"], worker["at_hand"]) == ("Worker 1", MADE, 1)
    assert worker["silent"] is False


def test_no_machine_process_or_path_is_told(client: TestClient, running: str, workspace: Workspace):
    told = client.get(f"/jobs/{running}/blocks").text

    for secret in (BEAT.host, str(BEAT.pid), str(workspace.home)):
        assert secret not in told


def test_a_job_that_was_not_started_has_no_blocks_yet(client: TestClient):
    name = client.post("/jobs", json={"process": graph()}).headers["OpenEO-Identifier"]

    told = client.get(f"/jobs/{name}/blocks").json()

    assert (told["state"], told["maps"], told["workers"]) == ("stopped", [], [])


def test_a_job_that_is_not_there_has_none(client: TestClient):
    told = client.get(f"/jobs/j-{32 * '0'}/blocks")

    assert (told.status_code, told.json()["code"]) == (404, "JobNotFound")


def test_what_runs_is_told_as_numbers(client: TestClient, running: str):
    found = numbers(client)
    told = client.get(f"/jobs/{running}/blocks").json()

    blocks = {
        state: number(found, "terrazzo_run_blocks", run=running, state=state)
        for state in ("done", "failed", "left")
    }
    assert blocks == {"done": told["done"], "failed": 0, "left": COUNT - told["done"]}
    assert number(found, "terrazzo_run_blocks_per_second", run=running) == 0.5
    assert number(found, "terrazzo_run_workers", run=running, state="heard") == 1
    assert number(found, "terrazzo_run_bytes", run=running, kind="written") == 70
    assert number(found, "terrazzo_run_bytes", run=running, kind="decoded") == 1000
    assert number(found, "terrazzo_run_memory_bytes", run=running) == 5_000_000


def test_only_what_runs_has_series_and_not_too_many(
    client: TestClient, running: str, workspace: Workspace, tmp_path: Path
):
    ended = Status(State.FINISHED, begun=now(), seen=now())
    runs = replace(ended, state=State.RUNNING, seen="2999-01-01T00:00:00Z")
    for number_, status in enumerate([ended, *[runs] * (MOST_RUNS + 5)]):
        folder = tmp_path / str(number_)
        FolderDepot(folder).write(STATUS, status.content())
        enter(workspace.home, str(folder), "run")

    found = numbers(client)
    shutil.rmtree(workspace.home / "runs")

    jobs = {dict(labels)["run"] for (name, labels) in found if name == "terrazzo_run_blocks"}
    assert running in jobs
    assert len(jobs) == MOST_RUNS


@pytest.mark.slow
def test_a_run_that_cannot_be_looked_at_does_not_hide_the_others(
    client: TestClient, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    runs = Status(State.RUNNING, begun=now(), seen="2999-01-01T00:00:00Z", total=9)
    names = []
    for folder in (tmp_path / "good", tmp_path / "bad", tmp_path / "away"):
        FolderDepot(folder).write(STATUS, runs.content())
        names.append(enter(workspace.home, str(folder), "run"))
    (workspace.home / "runs" / "r-odd.json").write_text('{"id": [], "where": 5}')
    (tmp_path / "away").rename(tmp_path / "unmounted")
    known = sorted((workspace.home / "runs").iterdir())
    look = Watcher.look

    def fail(self: Watcher, *, silent: bool = True) -> Any:
        if str(self._depot).endswith("bad"):
            raise RuntimeError("a fault")
        return look(self, silent=silent)

    monkeypatch.setattr(Watcher, "look", fail)
    answered = client.get("/metrics")
    told = numbers(client)
    kept = sorted((workspace.home / "runs").iterdir())
    shutil.rmtree(workspace.home / "runs")

    left = [number(told, "terrazzo_run_blocks", run=name, state="left") for name in names]
    assert answered.status_code == 200
    assert left == [9, 0, 0]
    assert kept == known


def test_who_looks_at_one_run_does_not_wait_for_another(tmp_path: Path):
    looks = JobWatcher(JobFolders(tmp_path))
    runs = Status(State.RUNNING, begun=now(), seen="2999-01-01T00:00:00Z", total=9)
    for name in ("slow", "quick"):
        FolderDepot(tmp_path / name).write(STATUS, runs.content())
    slow = looks._of(tmp_path / "slow")

    with slow.lock, ThreadPoolExecutor(1) as other:
        found = other.submit(looks.running, tmp_path / "quick").result(PATIENCE)

    assert found is not None
    assert found.status.total == 9
    assert looks._of(tmp_path / "slow") is slow


def test_a_real_prometheus_reads_how_a_run_gets_on(shared: Path, tmp_path: Path):
    home = tmp_path / "home"
    workspace = make_home(home)
    folder = tmp_path / "run"
    run_in_part(workspace, folder)
    name = enter(home, str(folder), "run")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    query = urllib.parse.quote(f'terrazzo_run_blocks{{run="{name}",state="done"}}')

    with serve(home, "--job-workers", "0") as program:
        target = urllib.parse.urlsplit(program.url).port or 0
        with prometheus(shared, tmp_path / "prometheus", target) as address:
            found: list[Any] = []
            end = time.monotonic() + PATIENCE
            while not found:
                assert time.monotonic() < end
                with opener.open(
                    f"{address}/api/v1/query?query={query}", timeout=PATIENCE
                ) as answer:
                    found = json.load(answer)["data"]["result"]
                time.sleep(0.2)
        told = program.get("/metrics")[1]
    # The same package has what checks the form: 0, or 3 where a name could be a better one.
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=told, capture_output=True, check=False, timeout=60
    )

    assert float(found[0]["value"][1]) >= MADE
    assert checked.returncode in {0, 3}, checked.stderr
    assert b"terrazzo_run" not in checked.stdout + checked.stderr
