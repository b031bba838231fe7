"""Servers, workers and jobs that are killed at any moment: nothing lost, nothing twice."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import requests
from affine import Affine
from tests.server.graphs import load, node, ref
from tests.server.program import Program, all_gone, descendants, runs, serve

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

KILLS = 20
EDGE = 2100
PATIENCE = 240.0
"""Seconds that all jobs may take in the end, on a busy machine."""
WORKER, RUNNER = "terrazzo.ledger.workers", "terrazzo.ledger.runner"


def ndvi(**save: Any) -> dict[str, Any]:
    """Return NDVI of two dates, told about, and saved."""
    return {
        "process_graph": {
            "load": load(),
            "ndvi": node("ndvi", data=ref("load"), nir="nir", red="red"),
            "look": node("inspect", data=ref("ndvi"), message="looked at", code="Look"),
            "save": node("save_result", data=ref("look"), result=True, **save),
        }
    }


GRAPHS = (ndvi(format="GTiff"), ndvi(format="netCDF"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images that take several blocks."""
    home = tmp_path_factory.mktemp("crashes")
    images = home / "images"
    images.mkdir()
    rows, cols = np.mgrid[:EDGE, :EDGE].astype(np.uint16)
    for number, date in enumerate(("20180501", "20180601")):
        with rasterio.open(
            images / f"scene_{date}.tif", "w", driver="GTiff", width=EDGE, height=EDGE, count=2,
            dtype="uint16", crs="EPSG:32634", transform=Affine(10, 0, 5e5, 0, -10, 5e6),
            tiled=True, compress="deflate", zlevel=1, nodata=0,
        ) as file:  # fmt: skip
            file.write(rows // 7 + cols % 301 + 1 + number, 1)
            file.write(cols // 5 + rows % 211 + 1, 2)
            file.descriptions = ("red", "nir")
    options = IngestOptions(bands=("red", "nir"), copy=True)
    ingest([images], "small", Workspace.of(home), options=options)
    return home


class Jobs:
    """Jobs on a server that may be away."""

    def __init__(self) -> None:
        self.program: Program | None = None
        self.graphs: dict[str, int] = {}
        self.seen = 0

    def ask(self, method: str, path: str, **body: Any) -> requests.Response:
        assert self.program is not None
        return requests.request(method, f"{self.program.url}{path}", timeout=PATIENCE, **body)

    def begin(self, graph: int) -> str:
        made = self.ask("POST", "/jobs", json={"process": GRAPHS[graph]})
        name = made.headers["OpenEO-Identifier"]
        assert self.ask("POST", f"/jobs/{name}/results").status_code == 202
        self.graphs[name] = graph
        return name

    def statuses(self) -> dict[str, str]:
        return {one["id"]: one["status"] for one in self.ask("GET", "/jobs").json()["jobs"]}

    def begin_and_see_run(self, graph: int) -> list[str]:
        """Begin a job, and another one where it has ended before it was seen to run."""
        names, end = [self.begin(graph)], time.monotonic() + PATIENCE
        while (status := self.statuses()[names[-1]]) != "running":
            assert time.monotonic() < end
            if status == "finished":
                names.append(self.begin(graph))
            time.sleep(0.1)
        return names

    def wait_for_work(self) -> None:
        """Wait until a job has been taken by a worker since the last time."""
        end = time.monotonic() + PATIENCE
        while (taken := self.taken()) <= self.seen:
            assert time.monotonic() < end
            time.sleep(0.2)
        self.seen = taken

    def taken(self) -> int:
        codes = [code for name in self.graphs for code in self.codes(name)]
        return codes.count("JobStarted") + codes.count("JobResumed")

    def resumed(self) -> int:
        """Return how often a kill has hit a job."""
        return sum(self.codes(name).count("JobResumed") for name in self.graphs)

    def unfinished(self) -> list[str]:
        told = self.statuses()
        assert told.keys() == self.graphs.keys(), "no job is lost"
        assert "error" not in told.values()
        return [name for name, status in told.items() if status != "finished"]

    def wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while self.unfinished():
            assert time.monotonic() < end
            time.sleep(0.2)

    def digests(self, name: str) -> dict[str, str]:
        """Return the digest of each file of a finished job."""
        assets = self.ask("GET", f"/jobs/{name}/results").json()["assets"]
        return {
            key: hashlib.sha256(requests.get(asset["href"], timeout=PATIENCE).content).hexdigest()
            for key, asset in assets.items()
        }

    def codes(self, name: str) -> list[str]:
        return [one["code"] for one in self.ask("GET", f"/jobs/{name}/logs").json()["logs"]]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def named(program: Program, module: str) -> list[int]:
    """Return the processes of a server that run a module."""
    found = []
    for pid in descendants(program.process.pid):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if module in command:
            found.append(pid)
    return found


def begin_server(home: Path, stack: ExitStack) -> Program:
    """Start a server whose log somebody reads, or it would wait for that."""
    program: Program = stack.enter_context(serve(home, "--job-workers", "2"))
    reader = threading.Thread(target=lambda: list(program.process.stderr or ()), daemon=True)
    reader.start()

    def end() -> None:
        program.process.kill()
        reader.join()

    stack.callback(end)
    return program


@pytest.mark.slow
def test_killed_20_times_every_job_ends_once_with_the_bytes_of_an_undisturbed_run(
    home: Path, stack: ExitStack
):
    chance = random.Random(20)
    jobs = Jobs()
    jobs.program = begin_server(home, stack)
    calm = [jobs.begin(graph) for graph in range(len(GRAPHS))]
    jobs.wait()
    expected = [jobs.digests(name) for name in calm]

    for kill in itertools.count():
        if kill >= KILLS and jobs.resumed() >= KILLS // 4:
            break
        while len(jobs.unfinished()) < 3:
            jobs.begin(chance.randrange(len(GRAPHS)))
        jobs.wait_for_work()
        time.sleep(chance.uniform(0.0, 1.0))
        module = (WORKER, "", RUNNER, WORKER)[kill % 4]
        victims = named(jobs.program, module) if module else []
        if victims:
            os.kill(chance.choice(victims), signal.SIGKILL)
            continue
        orphans = descendants(jobs.program.process.pid)
        os.kill(jobs.program.process.pid, signal.SIGKILL)
        jobs.program.process.wait()
        jobs.program = begin_server(home, stack)
        assert all_gone(orphans), [pid for pid in orphans if runs(pid)]
    jobs.wait()

    assert all(len(digests) > 0 for digests in expected)
    for name, graph in jobs.graphs.items():
        assert jobs.digests(name) == expected[graph], name
        codes = jobs.codes(name)
        assert codes.count("JobFinished") == 1
        assert codes.count("JobStarted") == 1
        assert codes.count("Look") == 1
        told = jobs.ask("GET", f"/jobs/{name}").json()
        assert told["progress"] == 100
    folders = {path.name for path in (home / "jobs").iterdir() if not path.name.startswith(".")}
    assert folders == jobs.graphs.keys()


@pytest.mark.slow
def test_a_server_that_is_told_to_stop_leaves_its_jobs_for_the_next_one(
    home: Path, stack: ExitStack
):
    jobs = Jobs()
    jobs.program = begin_server(home, stack)
    for one in jobs.ask("GET", "/jobs").json()["jobs"]:
        jobs.ask("DELETE", f"/jobs/{one['id']}")
    names = jobs.begin_and_see_run(0)
    children = descendants(jobs.program.process.pid)

    jobs.program.tell(signal.SIGTERM)
    assert jobs.program.process.wait(PATIENCE) == 0
    assert all_gone(children)
    jobs.program = begin_server(home, stack)
    jobs.wait()

    for name in names:
        assert jobs.codes(name).count("JobInterrupted") == 0
        assert jobs.codes(name).count("JobFinished") == 1
