"""Jobs of the API whose blocks a cluster computes: the same files, logs, stopping, going on."""

from __future__ import annotations

import os
import pickle
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
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
from terrazzo.drivers.block_jobs import ByBlocks
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.order import Order
from terrazzo.drivers.places import Place
from terrazzo.errors import ArgumentInvalid
from terrazzo.ledger.elsewhere import WORKSPACE, Elsewhere, keep_workspace, kept_workspace
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.own import OwnResults
from terrazzo.ledger.own_uploads import OwnUploads
from terrazzo.ledger.signing import Signer
from terrazzo.sandbox import Limits, Mode, UdfRules
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings
from terrazzo.storage.remote.stores import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["cluster"]  # a fixture

PATIENCE_S = 180.0
CATALOG = "postgresql://me:secret@db/terrazzo"


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
def test_what_is_told_in_slurm_is_read_before_the_job_ends(
    workspace: Workspace, session: requests.Session, tmp_path: Path
) -> None:
    """Results are put together when the test has read what the blocks log, and not before."""
    go, command = tmp_path / "go", tmp_path / "command.sh"
    plain = shlex.join((sys.executable, "-m", "terrazzo", "--home", str(workspace.home)))
    command.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *--finish*) until [ -e {go} ]; do sleep 0.2; done;; esac\n'
        f'exec {plain} "$@"\n'
    )
    command.chmod(0o755)
    elsewhere = Elsewhere("slurm", tasks=2, time="0:10:00", command=(str(command),))

    with server(workspace, elsewhere) as url:
        here = begun(session, url, udf(TALKING))
        try:
            until(lambda: "Seen" in codes(session, here))
            early, status = codes(session, here), session.get(here).json()["status"]
        finally:
            go.touch()
        waited(session, here, "finished")
        logged = codes(session, here)

    assert status == "running"
    assert logged.count("Seen") == early.count("Seen") >= 1


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


def of_anna(home: Path) -> Workspace:
    """Return the workspace of a user of a server, with all that may be told of one."""
    store = Store("https://s3.example", "eu", anonymous=True)
    plain = Workspace.of(home, (home / "more",), ("eo.example",), 7, catalog=CATALOG)
    return replace(
        plain,
        places=(Place("s3://bucket/part", store), Place("https://eo.example/part")),
        udf=UdfRules(Mode.TRUSTED, Limits(wall_seconds=3.0), (("mine", "/bin/python"),)),
        owner="anna",
        hidden=frozenset({"of-bert"}),
        own=OwnResults(JobFolders(plain.home), "anna", Signer.of(plain.home)),
        uploads=OwnUploads(plain.home, "anna", 5_000, Mode.TRUSTED),
    )


def test_nodes_take_the_workspace_of_the_owner(tmp_path: Path) -> None:
    home, alias = tmp_path / "home", tmp_path / "alias"
    of_owner, job = of_anna(home), home / "jobs" / "j-1" / "1"
    keep_workspace(job, of_owner)
    alias.symlink_to(home)
    plain = Workspace.of(home, catalog=CATALOG)

    there = kept_workspace(plain, job)

    assert there == of_owner
    assert there.uploads == of_owner.uploads
    assert there.own == OwnResults(JobFolders(home), "anna")
    assert kept_workspace(Workspace.of(alias, catalog=CATALOG), job).owner == "anna"
    held = (job / WORKSPACE).read_bytes()
    assert b"me:secret" not in held
    assert Signer.of(home).secret.hex() not in held.hex()
    assert (job / WORKSPACE).stat().st_mode & 0o077 == 0


def missing(job: Path, other: Path) -> Path:
    del other
    (job / WORKSPACE).unlink()
    return job


def loose(job: Path, other: Path) -> Path:
    del other
    (job / WORKSPACE).chmod(0o666)
    return job


def link(job: Path, other: Path) -> Path:
    (job / WORKSPACE).unlink()
    (job / WORKSPACE).symlink_to(other / WORKSPACE)
    return job


def linked_folder(job: Path, other: Path) -> Path:
    (job.parent / "2").symlink_to(other)
    return job.parent / "2"


def upwards(job: Path, other: Path) -> Path:
    return job / ".." / ".." / ".." / ".." / other.name


def pipe(job: Path, other: Path) -> Path:
    del other
    (job / WORKSPACE).unlink()
    os.mkfifo(job / WORKSPACE, 0o600)
    return job


def damaged(job: Path, other: Path) -> Path:
    del other
    (job / WORKSPACE).write_text("{}")
    return job


@pytest.mark.parametrize(
    "wrong",
    [missing, loose, link, linked_folder, upwards, pipe, damaged],
    ids=lambda one: one.__name__,
)
def test_nodes_do_without_no_workspace_of_an_owner(
    tmp_path: Path, wrong: Callable[[Path, Path], Path]
) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    job = home / "jobs" / "j-1" / "1"
    for folder in (job, other):
        keep_workspace(folder, of_anna(home))

    with pytest.raises(ArgumentInvalid, match="what its owner may see cannot be read"):
        kept_workspace(Workspace.of(home), wrong(job, other))


def test_whoever_helps_with_a_job_never_does_so_as_the_operator(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home").home
    job = home / "jobs" / "j-1" / "1"
    job.mkdir(parents=True)
    order = Order(Job.of(graph(save=True)), 64, by=ByBlocks({".": 1}), of_a_job=True)
    order.write(FolderDepot(job))

    told = [
        CliRunner().invoke(main, ["--home", str(home), "worker", str(job), *options])
        for options in ((), ("--prepare",), ("--finish",))
    ]

    assert [one.exit_code for one in told] == [2, 2, 2]
    assert all("what its owner may see cannot be read" in one.stderr for one in told)
    assert {one.name for one in job.iterdir()} == {"order.json"}


def test_what_is_sent_to_other_processes_holds_no_secret(tmp_path: Path) -> None:
    of_owner = of_anna(tmp_path / "home")
    secret = Signer.of(of_owner.home).secret

    sent = pickle.dumps(of_owner)
    there = pickle.loads(sent)  # noqa: S301 - our own

    assert secret not in sent
    assert there.own == OwnResults(JobFolders(of_owner.home), "anna")


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
