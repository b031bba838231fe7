"""Runs whose blocks a Dask cluster computes: the same bytes, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

import distributed
import pytest
from tests.drivers.scenes import COLLECTION, GRAPHS, composite, job_of
from tests.drivers.test_survival import blocks_in, digests
from typing_extensions import override

from terrazzo.drivers import batch
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.executors import Sent
from terrazzo.drivers.executors.cluster import dask
from terrazzo.drivers.job import Workspace
from terrazzo.drivers.pool import ClusterUnusable, Pool
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.drivers.scenes import Scenes

BLOCK = 100
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=None
    ) as started:
        yield started


def on(cluster: distributed.LocalCluster) -> Pool:
    return Pool("dask", scheduler=cluster.scheduler_address)


def test_a_cluster_gives_the_bytes_of_threads(
    scenes: Scenes, cluster: distributed.LocalCluster, tmp_path: Path
):
    for name, nodes in GRAPHS.items():
        here, there = tmp_path / f"{name}-here", tmp_path / f"{name}-there"

        batch.run(job_of(nodes), scenes.workspace, here, block=BLOCK, pool=Pool("threads", 2))
        made = batch.run(job_of(nodes), scenes.workspace, there, block=BLOCK, pool=on(cluster))

        assert made.resumed == 0
        assert digests(there) == digests(here), name


def test_a_worker_that_is_killed_costs_no_block(
    scenes: Scenes, cluster: distributed.LocalCluster, tmp_path: Path
):
    with distributed.Client(cluster.scheduler_address) as client:
        workers = list(client.run(os.getpid).values())

    class Killing(Progress):
        @override
        def advance(self, count: int = 1) -> None:
            super().advance(count)
            if self.done in {3, 9}:
                os.kill(workers.pop(), signal.SIGKILL)

    progress = Killing()
    calm, hunted = tmp_path / "calm", tmp_path / "hunted"
    batch.run(job_of(composite()), scenes.workspace, calm, block=BLOCK)

    made = batch.run(
        job_of(composite()), scenes.workspace, hunted, block=BLOCK, pool=on(cluster),
        progress=progress,
    )  # fmt: skip

    assert not workers
    assert progress.done == made.blocks
    assert digests(hunted) == digests(calm)


def test_a_run_that_stopped_goes_on_with_what_is_missing(
    scenes: Scenes, cluster: distributed.LocalCluster, tmp_path: Path
):
    class Stopping(Progress):
        @override
        def advance(self, count: int = 1) -> None:
            super().advance(count)
            if self.done == 4:
                raise KeyboardInterrupt

    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        batch.run(
            job_of(composite()), scenes.workspace, folder, block=BLOCK, pool=on(cluster),
            progress=Stopping(),
        )  # fmt: skip
    kept = blocks_in(folder)

    made = batch.run(job_of(composite()), scenes.workspace, folder, block=BLOCK, pool=on(cluster))

    assert kept >= 4
    assert made.resumed >= kept


def test_without_an_address_workers_are_started_here(scenes: Scenes, tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    batch.run(job_of(composite()), scenes.workspace, here, block=300)

    batch.run(job_of(composite()), scenes.workspace, there, block=300, pool=Pool("dask", 1))

    assert digests(there) == digests(here)


def test_no_scheduler_is_one_clear_error(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("terrazzo.drivers.executors.cluster.CONNECT_S", 1.0)
    pool = Pool("dask", scheduler="tcp://127.0.0.1:9")

    with pytest.raises(ClusterUnusable, match=r"tcp://127\.0\.0\.1:9.*--scheduler"):
        batch.run(job_of(composite()), scenes.workspace, tmp_path / "run", pool=pool)


def test_a_folder_that_workers_do_not_see_is_one_clear_error(
    cluster: distributed.LocalCluster, tmp_path: Path
):
    away = FolderDepot(tmp_path / "away")
    sent = Sent(job_of(composite()), Workspace.of(tmp_path), "", away, away, BLOCK, 10**9)

    with dask(sent, on(cluster)) as workers, pytest.raises(ClusterUnusable, match="share"):
        workers.submit(((0, 0),)).result(60)


def test_the_same_run_begun_anew_sees_images_that_came_meanwhile(
    own_scenes: Scenes, cluster: distributed.LocalCluster, tmp_path: Path
):
    nodes = composite("month")
    first = batch.run(
        job_of(nodes), own_scenes.workspace, tmp_path / "run", block=BLOCK, pool=on(cluster)
    )
    shutil.rmtree(tmp_path / "run")
    with own_scenes.workspace.catalog() as catalog:
        item = catalog.item(COLLECTION, "S2_2020-07-01")
        later = {**item["properties"], "datetime": "2022-01-01T00:00:00Z"}
        catalog.put_items([{**item, "id": "later", "properties": later}])

    again = batch.run(
        job_of(nodes), own_scenes.workspace, tmp_path / "run", block=BLOCK, pool=on(cluster)
    )
    here = tmp_path / "here"
    batch.run(job_of(nodes), own_scenes.workspace, here, block=BLOCK)

    assert len(again.assets) > len(first.assets)
    assert digests(tmp_path / "run") == digests(here)
