"""A run on workers that dask-jobqueue has a real Slurm start: through an address like any other."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import dask_jobqueue as jobqueue
import pytest
from tests.drivers.scenes import composite, job_of
from tests.drivers.slurm_cluster import RealSlurm, real_slurm
from tests.drivers.test_survival import digests

from terrazzo.drivers import batch
from terrazzo.drivers.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.drivers.scenes import Scenes


BLOCK = 100
HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def cluster(shared: Path) -> Iterator[RealSlurm]:
    with real_slurm(shared) as started:
        yield started


@pytest.mark.slow
def test_workers_that_slurm_starts_give_the_bytes_of_threads(
    scenes: Scenes, cluster: RealSlurm, tmp_path: Path
):
    here, there = tmp_path / "here", tmp_path / "there"
    batch.run(job_of(composite()), scenes.workspace, here, block=BLOCK)

    with jobqueue.SLURMCluster(
        cores=1, memory="600MB", python=sys.executable, log_directory=str(tmp_path / "logs"),
        scheduler_options={"host": HERE, "dashboard_address": f"{HERE}:0"},
        worker_extra_args=["--host", HERE, "--no-dashboard"],
    ) as workers:  # fmt: skip
        workers.scale(2)
        pool = Pool("dask", scheduler=workers.scheduler_address)
        made = batch.run(job_of(composite()), scenes.workspace, there, block=BLOCK, pool=pool)

    assert made.resumed == 0
    assert list((tmp_path / "logs").iterdir())
    assert digests(there) == digests(here)
    assert "dask-worker" in cluster.say("scontrol", "show", "jobs")
