"""Jobs of the API whose blocks a cluster computes: the same files, logs, stopping, going on."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import distributed
import numpy as np
import pytest
import rasterio
import requests
from click.testing import CliRunner
from tests.drivers.test_slurm import cluster
from tests.server.graphs import node, ref
from tests.server.small import DATES, graph, make_home
from tests.server.test_job_runs import TALKING, begun, expected, udf, waited

from terrazzo.cli import main
from terrazzo.drivers.job import Workspace
from terrazzo.ledger.elsewhere import WORKSPACE, Elsewhere, keep_workspace, kept_workspace
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["cluster"]  # a fixture

PATIENCE_S = 180.0


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A home for each test: what one leaves in the queue is not for the next."""
    return make_home(tmp_path / "home")


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture(scope="module")
def dask_cluster() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=None
    ) as started:
        yield started


@contextmanager
def server(workspace: Workspace, elsewhere: Elsewhere) -> Iterator[str]:
    settings = ServerSettings(elsewhere=elsewhere, job_memory_bytes=500_000_000)
    with serving(workspace, settings=settings) as url:
        yield url


def talking() -> dict[str, Any]:
    """Return NDVI that is saved, and tells about itself."""
    process = graph(save=True)
    process["process_graph"]["look"] = node(
        "inspect", data=ref("ndvi"), message="seen", code="Look"
    )
    return process


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def check_results(session: requests.Session, here: str, folder: Path) -> None:
    """Hold the images of a job against the known pixels."""
    assets = session.get(f"{here}/results").json()["assets"]
    assert len(assets) == len(DATES)
    folder.mkdir()
    for name, asset in assets.items():
        path = folder / name
        path.write_bytes(session.get(asset["href"]).content)
        (date,) = [date for date in DATES if date.replace("-", "") in name.replace("-", "")]
        with rasterio.open(path) as file:
            np.testing.assert_allclose(file.read(1), expected(date), rtol=1e-6)


def codes(session: requests.Session, here: str) -> list[str]:
    return [one.get("code", "") for one in session.get(f"{here}/logs").json()["logs"]]


@pytest.mark.slow
def test_dask_computes_jobs(
    workspace: Workspace,
    session: requests.Session,
    dask_cluster: distributed.LocalCluster,
    tmp_path: Path,
) -> None:
    elsewhere = Elsewhere("dask", dask_cluster.scheduler_address)

    with server(workspace, elsewhere) as url:
        here = begun(session, url, talking())
        waited(session, here, "finished")
        told = session.get(f"{here}/blocks").json()
        check_results(session, here, tmp_path / "results")
        spoken = begun(session, url, udf(TALKING))
        waited(session, spoken, "finished")
        logged = codes(session, here), codes(session, spoken)

    assert told["done"] == told["total"] >= 1
    assert len(told["workers"]) >= 1  # of the cluster, not of the server
    assert "Look" in logged[0]
    assert "Seen" in logged[1]


@pytest.mark.slow
def test_a_job_that_is_stopped_has_nothing_in_the_dask_cluster(
    workspace: Workspace, session: requests.Session, dask_cluster: distributed.LocalCluster
) -> None:
    scheduler = dask_cluster.scheduler
    with (
        server(workspace, Elsewhere("dask", dask_cluster.scheduler_address)) as url,
        distributed.Client(dask_cluster.scheduler_address) as client,
    ):
        go = distributed.Event("go", client)
        held = client.map(lambda _: distributed.Event("go").wait(PATIENCE_S), range(2), pure=False)

        def ours() -> list[str]:
            return [str(key) for key in scheduler.tasks if str(key).startswith("terrazzo-")]

        try:
            here = begun(session, url, graph(save=True))
            until(ours)  # it waits, as all workers are busy
            session.delete(f"{here}/results")
            until(lambda: not ours())
        finally:
            go.set()
            distributed.wait(held)
        told = session.get(here).json()

    assert told["status"] == "created"


@pytest.mark.slow
def test_a_cluster_that_is_away_fails_the_job_and_tells_no_address(
    workspace: Workspace, session: requests.Session
) -> None:
    with server(workspace, Elsewhere("dask", "tcp://127.0.0.1:9")) as url:
        here = begun(session, url, graph(save=True))
        waited(session, here, "error")
        told = session.get(f"{here}/logs").text

    assert "ClusterUnusable" in told
    assert "127.0.0.1:9" not in told


def queued(name: str) -> list[str]:
    """Return the jobs of Slurm whose names begin so."""
    told = subprocess.run(
        ["squeue", "--noheader", "--format=%j"], check=True, capture_output=True, text=True
    ).stdout.split()
    return [one for one in told if one.startswith(name)]


@contextmanager
def held() -> Iterator[None]:
    """Let Slurm begin nothing while the block runs: what is submitted waits."""

    def say(state: str, *more: str) -> None:
        subprocess.run(
            ["scontrol", "update", "NodeName=n1,n2", f"State={state}", *more],
            check=True, timeout=60,
        )  # fmt: skip

    say("DRAIN", "Reason=test")
    try:
        yield
    finally:
        say("RESUME")


def by_slurm(workspace: Workspace) -> Elsewhere:
    command = (sys.executable, "-m", "terrazzo", "--home", str(workspace.home))
    return Elsewhere("slurm", tasks=2, time="0:10:00", command=command)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_slurm_computes_a_job_that_outlives_the_server(
    workspace: Workspace, session: requests.Session, tmp_path: Path
) -> None:
    with held(), server(workspace, by_slurm(workspace)) as url:
        name = begun(session, url, talking()).rpartition("/")[2]
        until(lambda: queued(f"{name}-1-work"))
    with server(workspace, by_slurm(workspace)) as url:
        here = f"{url}/jobs/{name}"
        waited(session, here, "finished")
        check_results(session, here, tmp_path / "results")
        logged = codes(session, here)

    folder = workspace.home / "jobs" / name / "1"
    assert "Look" in logged
    assert logged[-1] == "JobFinished"
    assert list((folder / ".slurm").glob("work-*.log"))
    assert not (folder / WORKSPACE).exists()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_job_that_is_stopped_is_cancelled_in_slurm(
    workspace: Workspace, session: requests.Session
) -> None:
    with held(), server(workspace, by_slurm(workspace)) as url:
        here = begun(session, url, graph(save=True))
        name = here.rpartition("/")[2]
        until(lambda: queued(f"{name}-1-work"))
        session.delete(f"{here}/results")
        until(lambda: not queued(name))
        told = session.get(here).json()

    assert told["status"] == "created"


def test_nodes_take_the_workspace_of_the_owner_and_only_from_jobs(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "run"
    plain = Workspace.of(home, catalog="postgresql://me:secret@db/terrazzo")
    of_owner = Workspace.of(home, owner="anna", catalog="postgresql://me:secret@db/terrazzo")
    job = home / "jobs" / "j-1" / "1"

    for folder in (job, elsewhere):
        keep_workspace(folder, of_owner)

    assert kept_workspace(plain, job) == of_owner
    assert kept_workspace(plain, elsewhere) == plain
    assert b"secret" not in (job / WORKSPACE).read_bytes()
    assert (job / WORKSPACE).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--scheduler", "tcp://10.0.0.5:8786"), "--executor dask"),
        (("--partition", "short"), "--executor slurm"),
        (("--executor", "slurm", "--time", "soon"), "no time for Slurm"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "worker"])
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, command: str, options: tuple[str, ...], reason: str
) -> None:
    told = CliRunner().invoke(main, ["--home", str(tmp_path), command, *options])

    assert told.exit_code == 2
    assert reason in told.stderr
