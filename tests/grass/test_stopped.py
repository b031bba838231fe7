"""A module ends with whatever it runs for: a run that is stopped, whoever computes its blocks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import distributed
import numpy as np
import pytest
from tests.drivers.scenes import asset_of, register, write_cog
from tests.grass.test_session import command_of, is_running

from terrazzo.catalog import BandInfo
from terrazzo.drivers import batch
from terrazzo.drivers.job import Job
from terrazzo.drivers.pool import Pool, sharing
from terrazzo.errors import TerrazzoError
from terrazzo.geo.grid import Grid
from terrazzo.grass import call_of, check_grass
from terrazzo.progress import Cancelled, Stoppable

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.drivers.job import Workspace

GRID = Grid.of(32633, 600_000.0, 5_000_000.0, 10.0, 1500, 1500)
PATIENCE_S = 300.0
"""Workers start slowly where there is much else to do."""
ENDLESS = "import signal; signal.pause()"


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def graph() -> dict[str, object]:
    load = {"id": "dem", "spatial_extent": None, "temporal_extent": None}
    arguments = {"data": {"from_node": "load"}, "module": "r.neighbors"}
    return {
        "load": {"process_id": "load_collection", "arguments": load},
        "grass": {"process_id": "run_grass", "arguments": arguments, "result": True},
    }


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GRASS, the first of the PATH, whose r.neighbors never ends."""
    real, base = check_grass().base, tmp_path / "grass82"
    (base / "bin").mkdir(parents=True)
    for entry in (*real.iterdir(), *(real / "bin").iterdir()):
        if entry.name not in {"bin", "r.neighbors"}:
            (base / entry.relative_to(real)).symlink_to(entry)
    programs = {
        tmp_path / "programs" / "grass": f'[ "$2" = path ] && echo {base} || echo 8.2.1',
        base / "bin" / "r.neighbors": f"exec {sys.executable} -c '{ENDLESS}' {tmp_path}",
    }
    for path, text in programs.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "programs"), prepend=os.pathsep)


@pytest.fixture(scope="module")
def rough(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A raster of noise, which is much work for medians."""
    folder = tmp_path_factory.mktemp("rough")
    values = np.random.default_rng(1).random((1500, 1500)).astype(np.float32)
    path = write_cog(folder / "dem.tif", values, GRID, nodata=-1)
    asset = asset_of(path, (BandInfo("dem", "float32", -1.0),), GRID)
    return register(folder, "dem", {"one": ("2020-01-01T00:00:00Z", {"dem": asset})}, GRID)


def modules(folder: Path) -> list[int]:
    """Return the processes that are the endless module of a test."""
    found = (int(process.name) for process in Path("/proc").glob("[0-9]*"))
    words = [b"-c", ENDLESS.encode(), bytes(folder)]
    return [pid for pid in found if command_of(pid).split(b"\0")[1:4] == words and is_running(pid)]


@pytest.mark.usefixtures("endless")
def test_a_run_that_is_stopped_ends_its_modules(rough: Workspace, tmp_path: Path) -> None:
    progress, raised = Stoppable(), list[Exception]()

    def work() -> None:
        try:
            batch.run(
                Job.of(graph()), rough, tmp_path / "out", block=1024, pool=Pool("threads", 2),
                progress=progress,
            )  # fmt: skip
        except (Cancelled, TerrazzoError) as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        wait_for(lambda: modules(tmp_path) or raised, "no module")
    finally:
        progress.stopped = True
        thread.join(PATIENCE_S)

    assert not thread.is_alive()
    assert [type(error) for error in raised] == [Cancelled]
    assert modules(tmp_path) == []


def interrupted(rough: Workspace, folder: Path, *more: str) -> None:
    """Run by the command, and press Ctrl-C when a module is at work."""
    (folder / "graph.json").write_text(json.dumps(graph()))
    command = [
        sys.executable, "-m", "terrazzo", "--home", str(rough.home), "run",
        str(folder / "graph.json"), "-o", str(folder / "out"), *more,
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as one:
        try:
            wait_for(lambda: modules(folder) or one.poll() is not None, "no module")
            begun = modules(folder)
            one.send_signal(signal.SIGINT)
            _, said = one.communicate(timeout=PATIENCE_S)
        finally:
            one.kill()
    assert begun, said
    assert "Traceback" not in said
    assert "same command" in said


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize("kind", ["threads", "processes", "dask"])
def test_ctrl_c_ends_the_modules_of_a_command(rough: Workspace, tmp_path: Path, kind: str) -> None:
    interrupted(rough, tmp_path, "--executor", kind, "--workers", "2")

    wait_for(lambda: not modules(tmp_path), "a module goes on")


@pytest.mark.usefixtures("endless")
def test_ctrl_c_ends_the_modules_of_a_cluster_that_goes_on(
    rough: Workspace, tmp_path: Path
) -> None:
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=None
    ) as cluster:
        interrupted(rough, tmp_path, "--executor", "dask", "--scheduler", cluster.scheduler_address)

        wait_for(lambda: not modules(tmp_path), "a module goes on")
        with distributed.Client(cluster) as client:
            assert client.submit(int, "7").result(PATIENCE_S) == 7


def test_modules_share_the_cores_unless_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)))
    plain, told = call_of("r.neighbors", {}), call_of("r.neighbors", {"nprocs": 5})
    without = call_of("r.relief", {})

    given = {}
    for workers in (1, 5, 12, 40):
        with sharing(workers):
            given[workers] = plain.words[-1]
            assert told.words == told.command
            assert without.words == without.command
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with sharing(1):
        given[0] = plain.words[-1]

    assert given == {
        1: "nprocs=12", 5: "nprocs=2", 12: "nprocs=1", 40: "nprocs=1", 0: "nprocs=3"
    }  # fmt: skip
    assert plain.words[-1] == "nprocs=1"  # where nobody says how many compute
    assert "nprocs=5" in told.command


def test_workers_of_a_run_share_the_cores(
    rough: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def run(call: object, *_: object, **__: object) -> None:
        seen.append(call.words[-1])  # type: ignore[attr-defined] # a Call
        raise ValueError("enough")

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr("terrazzo.processes.grass.run_module", run)

    for workers in (2, 8):
        with pytest.raises(Exception, match="enough"):
            batch.run(
                Job.of(graph()), rough, tmp_path / str(workers), block=1024,
                pool=Pool("threads", workers),
            )  # fmt: skip

    assert set(seen[:4]) == {"nprocs=4"}
    assert set(seen[4:]) == {"nprocs=1"}
