"""Runs that are kept in a bucket of a real store (Ceph), by way of a proxy that fails."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import distributed
import numpy as np
import pytest
from click.testing import CliRunner
from tests.drivers.scenes import GRAPHS, composite, job_of, node, ref
from tests.drivers.test_shared_zarr import shared
from tests.drivers.test_survival import StopsAt, digests
from tests.storage.ceph import ceph, content_of
from tests.storage.failing import FAULTS, Proxy

from terrazzo.cli import main
from terrazzo.drivers import batch
from terrazzo.drivers.block_jobs import ByBlocks, begun
from terrazzo.drivers.block_names import BLOCKS, kept_of
from terrazzo.drivers.depot import BucketDepot, depot_of
from terrazzo.drivers.order import ORDER, Order
from terrazzo.drivers.pool import Pool
from terrazzo.errors import ArgumentInvalid, OutputFailed, RunDiffers
from terrazzo.progress import Cancelled, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.drivers.scenes import Scenes

BLOCK = 100
PATIENCE_S = 240
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(shared: Path) -> Iterator[dict[str, str]]:
    with ceph(shared) as made:
        yield made


@pytest.fixture
def proxy(store: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What this process takes for the store."""
    with Proxy(store["AWS_S3_ENDPOINT"]) as made:
        for name, value in store.items():
            if name.startswith("AWS_"):
                monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        yield made


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return f"runs/{request.node.name.partition('[')[0]}"


def there(prefix: str) -> BucketDepot:
    depot = depot_of(f"s3://images/{prefix}")
    assert isinstance(depot, BucketDepot)
    return depot


def fetched(store: dict[str, str], prefix: str, folder: Path) -> dict[str, str]:
    """Return the digests of what a bucket holds, as those of a folder."""
    for name, content in content_of(store, prefix).items():
        if told_by_workers(name):
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return digests(folder)


def of_a_folder(folder: Path) -> dict[str, str]:
    """Return the digests of a run in a folder, but for what only that machine needs."""
    return {name: digest for name, digest in digests(folder).items() if name != "stac.json"}


def told_by_workers(name: str) -> bool:
    """Tell whether an object only says how a run is going."""
    return name.startswith(".workers/")


def blocks_in(store: dict[str, str], prefix: str) -> int:
    names = (name.rpartition("/")[2] for name in content_of(store, f"{prefix}/{BLOCKS}"))
    return sum(kept_of(name) is not None for name in names)


def two_results() -> dict[str, Any]:
    """A raster that hangs on what a stage finds, and another one, in a folder each."""
    nodes = composite()
    del nodes["median"]["result"]
    return nodes | {
        "trimmed": node("trim_cube", data=ref("median")),
        "cogs": node("save_result", True, data=ref("trimmed"), format="COG"),
        "cdf": node("save_result", data=ref("median"), format="netCDF"),
    }


@pytest.mark.parametrize("nodes", [GRAPHS["smoothed"], two_results()], ids=["one", "two"])
def test_a_run_by_way_of_a_failing_store_gives_the_bytes_of_a_folder(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, nodes: Any, tmp_path: Path
):
    here, job = tmp_path / "here", job_of(nodes)
    batch.run(job, scenes.workspace, here, block=BLOCK)
    prefix = f"{prefix}/{len(nodes)}"
    proxy.every = 12

    made = batch.run(
        job, scenes.workspace, tmp_path / "work", depot=there(prefix), block=BLOCK,
        pool=Pool("threads", 2),
    )  # fmt: skip

    assert made.resumed == 0
    assert set(proxy.failed) == set(FAULTS)
    assert fetched(store, prefix, tmp_path / "there") == of_a_folder(here)


def test_workers_of_a_cluster_write_blocks_through_a_failing_store(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path
):
    here, job = tmp_path / "here", job_of(composite())
    batch.run(job, scenes.workspace, here, block=BLOCK)
    proxy.every = 12

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=None,
        env={name: value for name, value in os.environ.items() if name.startswith("AWS_")},
    ) as cluster:  # fmt: skip
        batch.run(
            job, scenes.workspace, tmp_path / "work", depot=there(prefix), block=BLOCK,
            pool=Pool("dask", scheduler=cluster.scheduler_address),
        )  # fmt: skip

    assert set(proxy.failed) == set(FAULTS)
    assert fetched(store, prefix, tmp_path / "there") == of_a_folder(here)


def test_a_store_that_is_gone_is_one_clear_error_and_the_run_goes_on_from_another_machine(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path
):
    here, job = tmp_path / "here", job_of(composite())
    batch.run(job, scenes.workspace, here, block=BLOCK)

    class Cutting(Progress):
        def advance(self, count: int = 1) -> None:
            super().advance(count)
            if self.done == 5:
                proxy.go()

    with pytest.raises(OutputFailed, match=rf"s3://images/{prefix}.*give the same command again"):
        batch.run(
            job, scenes.workspace, tmp_path / "one", depot=there(prefix), block=BLOCK,
            progress=Cutting(), pool=Pool("threads", 1),
        )  # fmt: skip
    kept = blocks_in(store, prefix)
    proxy.come()
    made = batch.run(
        job, scenes.workspace, tmp_path / "two", depot=there(prefix), block=BLOCK
    )  # fmt: skip

    assert kept >= 5
    assert made.resumed == kept
    assert fetched(store, prefix, tmp_path / "there") == of_a_folder(here)
    assert digests(tmp_path / "two") == of_a_folder_of_results(here)


def of_a_folder_of_results(folder: Path) -> dict[str, str]:
    """Return the digests of what a run leaves on the machine that put its results together."""
    kept = {"run.json", "results.json", "skipped.json", "log.jsonl"}
    return {name: digest for name, digest in digests(folder).items() if name not in kept}


def test_a_finished_run_is_known_on_another_machine(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path
):
    job, one, two = job_of(composite()), tmp_path / "one", tmp_path / "two"
    made = batch.run(job, scenes.workspace, one, depot=there(prefix), block=BLOCK)
    before = content_of(store, prefix)
    proxy.asked.clear()

    again = batch.run(job, scenes.workspace, two, depot=there(prefix), block=BLOCK)
    stated = [asset.path.name for asset in again.assets]

    assert again.resumed == again.blocks == made.blocks
    assert stated == [asset.path.name for asset in made.assets]
    for name in stated:
        assert (two / name).read_bytes() == (one / name).read_bytes() == before[name]
    assert {name for name in before if name.startswith(BLOCKS)} == set()


def test_a_fetched_file_that_was_changed_here_is_fetched_again(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path
):
    assert proxy.url
    job, here = job_of(composite()), tmp_path / "here"
    made = batch.run(job, scenes.workspace, tmp_path / "one", depot=there(prefix), block=BLOCK)
    batch.run(job, scenes.workspace, here, depot=there(prefix), block=BLOCK)
    name = made.assets[0].path.name
    kept = content_of(store, prefix)[name]
    (here / name).write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))

    again = batch.run(job, scenes.workspace, here, depot=there(prefix), block=BLOCK)

    assert again.resumed == again.blocks
    assert (here / name).read_bytes() == kept


def test_a_bucket_of_another_run_is_refused(
    scenes: Scenes, proxy: Proxy, prefix: str, tmp_path: Path
):
    assert proxy.url
    with pytest.raises(Cancelled):
        batch.run(
            job_of(composite()), scenes.workspace, tmp_path / "a", depot=there(prefix),
            block=BLOCK, progress=StopsAt(1),
        )  # fmt: skip

    with pytest.raises(RunDiffers, match=rf"s3://images/{prefix} holds another run.*block"):
        batch.run(
            job_of(composite()), scenes.workspace, tmp_path / "b", depot=there(prefix), block=64
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "set AWS_ACCESS_KEY_ID"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "does not answer"),
    ],
)
def test_a_store_that_refuses_is_one_clear_error(
    scenes: Scenes, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    change: dict[str, str], said: str,
):  # fmt: skip
    assert proxy.url
    for name, value in change.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(OutputFailed, match=said):
        batch.run(
            job_of(composite()), scenes.workspace, tmp_path / "a", depot=there("refused"),
            block=BLOCK,
        )  # fmt: skip


def test_a_host_keeps_no_run():
    with pytest.raises(ArgumentInvalid, match="s3://BUCKET"):
        depot_of("https://example.org/runs")


def graph_file(folder: Path) -> str:
    path = folder / "graph.json"
    path.write_text(json.dumps(composite()))
    return str(path)


def is_whole(block: bytes) -> bool:
    header, _, rest = block.partition(b"\n")
    told = json.loads(header)
    pixels = math.prod(told["shape"])
    return len(rest) == pixels * np.dtype(told["dtype"]).itemsize + -(-pixels // 8)


def kill_at(command: list[str], proxy: Proxy, count: int) -> None:
    """Kill a run -9 as its bucket gets a block, the `count`th; it is answered when it is gone."""
    blocks = itertools.count(1)
    reached, gone = threading.Event(), threading.Event()

    def watch(method: str, path: str) -> None:
        if method == "PUT" and f"/{BLOCKS}/" in path and next(blocks) >= count:
            reached.set()
            gone.wait(PATIENCE_S)

    proxy.watch = watch
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            while not reached.wait(1):
                assert process.poll() is None
        finally:
            process.kill()
            process.communicate()
            gone.set()
            proxy.watch = None
    assert process.returncode == -signal.SIGKILL


def test_a_run_killed_again_and_again_leaves_nothing_half_written(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path
):
    here, url = tmp_path / "here", f"s3://images/{prefix}"
    batch.run(job_of(composite()), scenes.workspace, here, block=BLOCK)
    command = [
        sys.executable, "-m", "terrazzo", "--home", str(scenes.workspace.home), "run",
        graph_file(tmp_path), "-o", url, "--block", str(BLOCK), "--workers", "2",
    ]  # fmt: skip

    for puts in (4, 9, 20):
        kill_at(command, proxy, puts)
        for name, content in content_of(store, f"{prefix}/{BLOCKS}").items():
            if kept_of(name.rpartition("/")[2]) is not None:
                assert is_whole(content), name
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert done.returncode == 0, done.stderr
    told = [json.loads(line)["path"] for line in done.stdout.splitlines()]
    assert told == [f"{url}/result_{year}.tif" for year in (2020, 2021)]
    assert "were there already" in done.stderr
    assert fetched(store, prefix, tmp_path / "there") == of_a_folder(here)


def test_workers_are_told_of_a_run_by_its_bucket_alone(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path
):
    """As Slurm's jobs do: the order, the shares and the results by address."""
    assert proxy.url
    here, order = tmp_path / "here", Order(job_of(composite()), BLOCK, by=ByBlocks())
    batch.run(order.job, scenes.workspace, here, block=BLOCK)
    blocks, _ = begun(order, scenes.workspace, there(prefix))
    root, worker = str(scenes.workspace.home), ["worker", f"s3://images/{prefix}"]

    for machine, more in enumerate((("--share", "1/2"), ("--share", "0/2"), ("--finish",))):
        home = tmp_path / f"machine{machine}"
        home.mkdir()
        shutil.copy(scenes.workspace.catalog_path, home)
        done = CliRunner().invoke(main, ["--home", str(home), "--root", root, *worker, *more])
        assert done.exit_code == 0, done.stderr

    assert blocks.there() == blocks.count
    found = fetched(store, prefix, tmp_path / "there")
    assert found.pop(ORDER)
    assert found == of_a_folder(here)


def test_workers_write_one_zarr_store_into_a_failing_store(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path
):
    here, job = tmp_path / "here", job_of(shared())
    batch.run(job, scenes.workspace, here, block=BLOCK)
    proxy.every = 12
    there_now = there(prefix)

    with pytest.raises(Cancelled):
        batch.run(
            job, scenes.workspace, tmp_path / "one", depot=there_now, block=BLOCK,
            pool=Pool("processes", 2), progress=StopsAt(9),
        )  # fmt: skip
    made = batch.run(
        job, scenes.workspace, tmp_path / "two", depot=there_now, block=BLOCK,
        pool=Pool("threads", 2),
    )  # fmt: skip

    assert made.resumed >= 9
    assert set(proxy.failed) == set(FAULTS)
    assert fetched(store, prefix, tmp_path / "there") == of_a_folder(here)
    assert not (tmp_path / "two" / "result.zarr").exists()
    again = batch.run(job, scenes.workspace, tmp_path / "three", depot=there_now, block=BLOCK)
    assert again.resumed == again.blocks
