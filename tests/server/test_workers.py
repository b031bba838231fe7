"""Several server processes behind one port: one server to its clients and its operator."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.ports import free_port
from tests.server.program import PATIENCE, Program, serve
from tests.server.small import graph, make_home

from terrazzo.drivers.job import Workspace
from terrazzo.server.running import members
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server.test_metrics import Sample


WORKERS = 2
ASKED = 60

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    home = tmp_path_factory.mktemp("workers")
    make_home(home)
    with serve(home, "--workers", str(WORKERS), "--job-workers", "0", "--log", "json") as found:
        wait_for(lambda: len(resident(found)) == WORKERS)
        yield found


def numbers(program: Program) -> dict[Sample, float]:
    _, content = program.get("/metrics")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
    }


def resident(program: Program) -> set[str]:
    """Return the processes that tell their memory."""
    return {
        dict(labels)["pid"]
        for (name, labels), value in numbers(program).items()
        if name == "terrazzo_resident_bytes" and value > 0
    }


def wait_for(condition: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def count(program: Program, route: str) -> float:
    labels = frozenset({"method": "GET", "route": route, "status": "200"}.items())
    return numbers(program).get(("terrazzo_requests_total", labels), 0.0)


def test_whichever_process_is_asked_tells_the_numbers_of_all(program: Program) -> None:
    before = count(program, "/conformance")
    for _ in range(ASKED):
        assert program.get("/conformance")[0] == 200

    # A request is counted after its answer, perhaps while the next one asks another process.
    wait_for(lambda: count(program, "/conformance") >= before + ASKED)
    told = {count(program, "/conformance") for _ in range(8)}

    assert told == {before + ASKED}


def test_processes_share_what_clients_keep(program: Program) -> None:
    body = json.dumps({"process": graph(), "type": "XYZ", "configuration": {"min": 0, "max": 1}})
    line = program.line()
    line.request("POST", "/services", body, {"Content-Type": "application/json"})
    answer = line.getresponse()
    answer.read()
    line.close()
    name = answer.headers["OpenEO-Identifier"]

    found = [program.json(f"/services/{name}")["id"] for _ in range(20)]

    assert answer.status == 201
    assert set(found) == {name}


def test_a_process_that_is_killed_is_replaced_and_its_numbers_stay(program: Program) -> None:
    before = count(program, "/conformance")
    program.get("/conformance")
    wait_for(lambda: count(program, "/conformance") > before)
    victim = min(resident(program))

    def replaced() -> bool:
        # What the one that is killed has taken just then is not answered.
        with suppress(OSError, HTTPException):
            return len(resident(program) - {victim}) == WORKERS
        return False

    os.kill(int(victim), signal.SIGKILL)
    wait_for(replaced)

    assert victim not in resident(program)
    assert count(program, "/conformance") == before + 1
    assert program.process.poll() is None


def test_a_server_whose_processes_cannot_start_says_why_and_ends(tmp_path: Path) -> None:
    home = tmp_path / "home"
    make_home(home)
    (home / "secret.key").unlink(missing_ok=True)
    (home / "secret.key").mkdir()
    with (
        pytest.raises(AssertionError, match=r"secret\.key"),
        serve(home, "--workers", "2", "--job-workers", "0"),
    ):
        pass


def test_a_process_that_never_answers_is_not_started_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "MOST_FAILURES", 2)
    monkeypatch.setattr(members, "FIRST_PAUSE", 0.01)
    (tmp_path / "secret.key").mkdir()
    workspace = Workspace.of(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    called = list[int]()

    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            pytest.raises(members.ServerFailed, match="2 times before it answered"),
            members.Members(workspace, ServerSettings(workers=1), listener) as found,
        ):
            found.run(lambda: called.append(1))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

    assert called == []
    assert list((tmp_path / "scratch").iterdir()) == []
    assert members.FOLDER_VARIABLE not in os.environ


@contextmanager
def prometheus(shared: Path, home: Path, target: int) -> Iterator[str]:
    """Run a Prometheus that asks a server every second; yields its address."""
    script = shared / "services" / "prometheus.sh"
    port = free_port()
    environment = os.environ | {"PROM_HOME": str(home), "PROM_PORT": str(port)}
    try:
        started = subprocess.run(
            ["bash", str(script), "start", str(target)],
            env=environment, check=True, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        yield started.stdout.split()[-1]
    finally:
        subprocess.run(["bash", str(script), "stop"], env=environment, check=True, timeout=60)


@pytest.mark.slow
def test_a_real_prometheus_reads_the_numbers(
    program: Program, shared: Path, tmp_path: Path
) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    before = count(program, "/conformance")
    for _ in range(ASKED):
        program.get("/conformance")
    wait_for(lambda: count(program, "/conformance") == before + ASKED)  # counted after its answer
    query = 'sum(terrazzo_requests_total{route="/conformance"})'

    target = urllib.parse.urlsplit(program.url).port or 0
    with prometheus(shared, tmp_path / "prometheus", target) as address:
        asked = f"{address}/api/v1/query?query={urllib.parse.quote(query)}"

        def told() -> list[Any]:
            with opener.open(asked, timeout=PATIENCE) as answer:
                found: list[Any] = json.load(answer)["data"]["result"]
            return found

        def is_well() -> bool:
            """Tell how the last time went: it gives up after a second, which may be too soon."""
            with opener.open(f"{address}/api/v1/targets", timeout=PATIENCE) as answer:
                (state,) = json.load(answer)["data"]["activeTargets"]
            return (state["health"], state["lastError"]) == ("up", "")

        values: list[Any] = []
        wait_for(lambda: values.extend(told()) or values)
        wait_for(is_well)

    assert float(values[0]["value"][1]) == before + ASKED
