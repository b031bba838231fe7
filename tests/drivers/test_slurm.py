"""Runs that a real Slurm carries out: the same bytes, whatever is killed meanwhile."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from tests.drivers.scenes import composite, job_of, node, ref
from tests.drivers.slurm_cluster import NODES, RealSlurm, real_slurm
from tests.drivers.test_survival import digests
from typing_extensions import override

from terrazzo.cli import main
from terrazzo.drivers import batch, slurm
from terrazzo.drivers.block_jobs import ByBlocks, begun, help_with
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.order import ORDER, Order
from terrazzo.drivers.ordered import read_order
from terrazzo.drivers.pool import ClusterUnusable
from terrazzo.drivers.record import FAILED, RESULTS, RunRecord
from terrazzo.drivers.shares import Share
from terrazzo.drivers.slurm import FOLDER, Allocation, Slurm
from terrazzo.drivers.slurm_environment import EXPORTED, PROXIES
from terrazzo.errors import ArgumentInvalid, OutputFailed, RunIncomplete
from terrazzo.progress import Cancelled, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.drivers.scenes import Scenes

BLOCK = 100
PATIENCE_S = 400.0
_SENTENCE = re.compile(r"\s+")


@pytest.fixture(scope="module")
def cluster(shared: Path) -> Iterator[RealSlurm]:
    """A Slurm of two nodes on this machine."""
    with real_slurm(shared) as started:
        yield started


def order_of(nodes: dict[str, Any] | None = None, block: int = BLOCK) -> Order:
    return Order(job_of(nodes or composite()), block, memory_bytes=500_000_000, by=ByBlocks())


def cluster_of(scenes: Scenes, folder: Path, tasks: int = 3) -> Slurm:
    command = [sys.executable, "-m", "terrazzo", "--home", str(scenes.workspace.home)]
    return Slurm(folder, command, Allocation(tasks, 1, 500_000_000, "0:10:00"))


def pixels(folder: Path) -> dict[str, str]:
    """Return what a run has made, without what only one way of making it leaves."""
    leave = (FOLDER, ORDER)
    return {name: sha for name, sha in digests(folder).items() if not name.startswith(leave)}


def calm(scenes: Scenes, folder: Path, order: Order) -> Path:
    batch.run(order.job, scenes.workspace, folder, block=order.block)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_slurm_gives_the_bytes_of_threads(scenes: Scenes, tmp_path: Path):
    order = order_of()
    here = calm(scenes, tmp_path / "here", order)
    there = cluster_of(scenes, tmp_path / "there")

    made = slurm.run(order, scenes.workspace, there, Progress())

    assert made is not None
    assert made.resumed == made.blocks > 0  # nothing was left to do here
    assert pixels(there.folder) == pixels(here)
    assert sorted(path.name for path in (there.folder / FOLDER).glob("work-*.log")) == [
        f"work-{there.jobs[0]}_{task}.log" for task in range(3)
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_what_needs_all_pixels_is_found_once_before_the_blocks(scenes: Scenes, tmp_path: Path):
    nodes = composite()
    del nodes["median"]["result"]
    nodes["trimmed"] = node("trim_cube", True, data=ref("median"))
    order = order_of(nodes)
    here = calm(scenes, tmp_path / "here", order)
    there = cluster_of(scenes, tmp_path / "there")

    slurm.run(order, scenes.workspace, there, Progress())

    assert len(there.jobs) == 3
    assert pixels(there.folder) == pixels(here)


@pytest.mark.slow
def test_tasks_that_are_killed_and_a_node_that_is_lost_cost_nothing(
    scenes: Scenes, cluster: RealSlurm, tmp_path: Path
):
    """Ten times at random: a task's processes, a task by Slurm's word, or a node of two."""
    order = order_of(block=40)
    here = calm(scenes, tmp_path / "here", order)
    there = cluster_of(scenes, tmp_path / "there", tasks=12)
    chance, hits = random.Random(5), []
    over = threading.Event()

    def workers() -> list[int]:
        found = []
        for process in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                told = (process / "cmdline").read_bytes().split(b"\0")
                if b"worker" in told and bytes(there.folder) in told and b"--finish" not in told:
                    found.append(int(process.name))
        return found

    def hunt() -> None:
        while not over.wait(chance.uniform(0.5, 3)) and len(hits) < 10:
            alive = workers()
            if not alive:
                continue
            hits.append(chance.choice(["worker", "worker", "task", "node"]))
            if hits[-1] == "worker":
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(alive), signal.SIGKILL)
            elif hits[-1] == "task":
                cluster.say("scancel", f"{there.jobs[0]}_{chance.randrange(12)}")
            else:
                node_name = chance.choice(NODES)
                cluster.set_node(node_name, "down")
                over.wait(2)
                cluster.set_node(node_name, "resume")

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        slurm.run(order, scenes.workspace, there, Progress())
    finally:
        over.set()
        hunter.join()

    assert hits
    assert pixels(there.folder) == pixels(here)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_whoever_stops_watching_cancels_the_jobs_and_goes_on_later(scenes: Scenes, tmp_path: Path):
    class Stopping(Progress):
        @override
        def resume(self, count: int = 1) -> None:
            raise Cancelled

    order = order_of()
    here = calm(scenes, tmp_path / "here", order)
    there = cluster_of(scenes, tmp_path / "there")

    with pytest.raises(Cancelled):
        slurm.run(order, scenes.workspace, there, Stopping())
    end = time.monotonic() + PATIENCE_S
    while there.states():
        assert time.monotonic() < end
        time.sleep(0.2)
    again = cluster_of(scenes, tmp_path / "there")
    slurm.run(order, scenes.workspace, again, Progress())

    assert again.jobs != there.jobs
    assert pixels(there.folder) == pixels(here)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_blocks_that_fail_are_set_aside_and_the_rest_is_made(own_scenes: Scenes, tmp_path: Path):
    damaged = min(own_scenes.workspace.home.rglob("*B04*.tif"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:2000] + bytes(len(whole) - 2000))
    order = order_of()
    there = cluster_of(own_scenes, tmp_path / "there")

    with pytest.raises(RunIncomplete, match=FAILED):
        slurm.run(order, own_scenes.workspace, there, Progress())
    listed = [json.loads(line) for line in (there.folder / FAILED).read_text().splitlines()]
    damaged.write_bytes(whole)
    slurm.run(order, own_scenes.workspace, cluster_of(own_scenes, there.folder), Progress())

    assert listed
    assert all("SourceUnreadable" in one["reason"] for one in listed)
    assert not (there.folder / FAILED).exists()
    assert pixels(there.folder) == pixels(calm(own_scenes, tmp_path / "here", order))


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_the_command_runs_submits_and_writes_scripts(scenes: Scenes, tmp_path: Path):
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps(composite()))
    asked = ("--executor", "slurm", "--workers", "2", "--memory", "500M", "--block", str(BLOCK))
    folder = tmp_path / "out"
    begin = ["--home", str(scenes.workspace.home), "run", str(graph), "-o", str(folder), *asked]

    script = CliRunner().invoke(main, [*begin, "--script-only", "--time", "0:05:00"])
    detached = CliRunner().invoke(main, [*begin, "--detach"])
    end = time.monotonic() + PATIENCE_S
    while not (folder / RESULTS).exists():
        assert time.monotonic() < end
        time.sleep(0.2)
    followed = CliRunner().invoke(main, begin)

    assert script.exit_code == detached.exit_code == followed.exit_code == 0
    assert "#SBATCH --array=0-1\n" in script.stdout
    assert "#SBATCH --time=0:05:00\n" in script.stdout
    assert json.loads(detached.stdout)["folder"] == str(folder)
    paths = [json.loads(line)["path"] for line in followed.stdout.splitlines()]
    assert paths == sorted(map(str, folder.glob("result*.tif")))


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_secrets_of_whoever_submits_reach_no_node(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    secrets = {"TERRAZZO_DATABASE": "postgresql://me:in-vain@db/ledger", "OIDC_SECRET": "in-vain"}
    secrets |= {"HTTPS_PROXY": "http://me:in-vain@127.0.0.1:9"}
    needed = {
        "TERRAZZO_CATALOG": "",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "TMPDIR": str(tmp_path),
        "NO_PROXY": "127.0.0.1,localhost",
    }
    for name, value in (secrets | needed).items():
        monkeypatch.setenv(name, value)
    told = tmp_path / "told"
    told.mkdir()
    spy = tmp_path / "spy.sh"
    spy.write_text(f'#!/bin/sh\nenv -0 > {told}/$$\nexec "$@"\n')
    spy.chmod(0o755)
    command = [str(spy), sys.executable, "-m", "terrazzo", "--home", str(scenes.workspace.home)]
    there = Slurm(tmp_path / "there", command, Allocation(1, 1, 500_000_000, "0:10:00"))

    slurm.run(order_of(), scenes.workspace, there, Progress())

    environments = [
        dict(entry.split("=", 1) for entry in path.read_text().split("\0") if entry)
        for path in told.iterdir()
    ]
    assert len(environments) == 2  # the array's one task, and what puts results together
    for environment in environments:
        assert not set(secrets) & set(environment)
        assert "in-vain" not in repr(environment)
        assert {name: environment.get(name) for name in needed} == needed
        assert environment["PATH"] == os.environ["PATH"]
        assert environment["SLURM_JOB_NAME"]


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_two_hundred_tasks_share_one_run(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Those that come when all is made begin, too: nobody takes them back here."""
    monkeypatch.setattr(Slurm, "spare", lambda _: None)
    order = order_of(block=40)
    here = calm(scenes, tmp_path / "here", order)
    there = cluster_of(scenes, tmp_path / "there", tasks=200)

    slurm.run(order, scenes.workspace, there, Progress())

    assert len(list((there.folder / FOLDER).glob("work-*.log"))) == 200
    assert pixels(there.folder) == pixels(here)


class Away:
    """Three parts, of which nobody can tell while two of them are made."""

    count, unit = 3, "blocks"

    def __init__(self) -> None:
        self.looks = iter((0, 0, None, 2, None, 3, 3, 3))

    def there(self) -> int:
        found = next(self.looks)
        if found is None:
            raise OutputFailed("The store is away.")
        return found

    def aside(self) -> int:
        return 0

    def tell(self, progress: Progress) -> None:
        pass


class Working(Slurm):
    """A Slurm whose jobs are there as often as it is asked."""

    def __init__(self, folder: Path, looks: int) -> None:
        super().__init__(folder, ["true"], Allocation(1, 1, 1))
        self.looks, self.cancelled = looks, False

    @override
    def submit(self, tasks: int, *, stages: bool) -> None:
        self._jobs = {"work": "1"}

    @override
    def states(self) -> Counter[str]:
        self.looks -= 1
        return Counter(RUNNING=1) if self.looks >= 0 else Counter()

    @override
    def spare(self) -> None:
        pass

    @override
    def cancel(self) -> None:
        self.cancelled = True


def test_jobs_go_on_while_nobody_can_tell_what_they_have_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(slurm, "LOOK_S", 0.0)
    working, progress = Working(tmp_path, 4), Progress()

    assert slurm.carried_out(working, Away(), progress)

    assert progress.done == 3
    assert not working.cancelled


def test_the_script_says_what_was_asked_and_nothing_of_the_graph(scenes: Scenes, tmp_path: Path):
    nodes = composite()
    nodes["median"]["description"] = "$(touch /tmp/owned); `id`"
    wanted = Allocation(40, 4, 8_000_000_000, "2-12:00:00", "short", "lab")
    there = Slurm(tmp_path / "run", ["python", "-m", "terrazzo", "--home", "/a b"], wanted)

    written = slurm.scripts(order_of(nodes), scenes.workspace, there, Progress())

    assert list(written) == ["work", "finish"]
    text = written["work"].read_text()
    for line in (
        "array=0-39", "cpus-per-task=4", "time=2-12:00:00", "partition=short", "account=lab",
        f"chdir={tmp_path}/run",
    ):  # fmt: skip
        assert f"#SBATCH --{line}\n" in text
    assert text.endswith(f"exec python -m terrazzo --home '/a b' worker {tmp_path}/run\n")
    assert "owned" not in text
    assert json.loads(json.loads((there.folder / ORDER).read_text())["job"]["document"]) == nodes


def test_jobs_are_told_of_proxies_but_of_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    given = {
        "HTTP_PROXY": "http://proxy.example:3128",
        "https_proxy": "proxy.example:3128",
        "no_proxy": "localhost,.example,10.0.0.0/8",
        "HTTPS_PROXY": "http://me:in-vain@proxy.example:3128",
        "http_proxy": "http://token@proxy.example:3128",
        "ALL_PROXY": "http://proxy.example:3128/?token=in-vain",
        "all_proxy": "http://proxy.example/in-vain",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    there = Slurm(tmp_path / "run", ["terrazzo"], Allocation(1, 1, 500_000_000))

    texts = there.scripts(1, stages=True)

    assert list(texts) == ["prepare", "work", "finish"]
    for text in texts.values():
        (line,) = (one for one in text.splitlines() if one.startswith("#SBATCH --export="))
        named = line.partition("=")[2].split(",")
        assert named == [*EXPORTED, "HTTP_PROXY", "https_proxy", "no_proxy"]
        assert "proxy.example" not in text


@pytest.mark.parametrize("name", ["a b", "a$(id)", "a;b", "a\nb", "a'b", "a%j"])
def test_a_folder_that_means_something_else_to_a_shell_is_refused(name: str):
    with pytest.raises(ArgumentInvalid, match="-o"):
        Slurm(Path("/data") / name, ["terrazzo"], Allocation(1, 1, 1))


@pytest.mark.parametrize(
    "wrong", [{"time": "1h"}, {"time": "1:00:00\n#SBATCH"}, {"partition": "a b"}, {"account": "$x"}]
)
def test_what_means_something_else_to_slurm_is_refused(wrong: dict[str, str]):
    with pytest.raises(ArgumentInvalid, match=r"Slurm|name of a"):
        Allocation(1, 1, 1, **wrong)


def test_without_slurm_there_is_one_clear_error(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ClusterUnusable, match="--script-only"):
        slurm.run(order_of(), scenes.workspace, cluster_of(scenes, tmp_path / "run"), Progress())


@pytest.mark.parametrize(("count", "of"), [(0, 3), (1, 3), (10, 3), (10, 10), (7, 20), (1000, 7)])
def test_shares_hold_every_block_once(count: int, of: int):
    shares = [Share(index, of).numbers(count) for index in range(of)]

    assert [number for share in shares for number in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["", "3", "3/3", "-1/3", "a/b", "1/0", "1/2/3"])
def test_what_is_no_share_is_refused(text: str):
    with pytest.raises(ArgumentInvalid, match="0/200"):
        Share.parsed(text)


def test_an_order_is_read_as_it_was_written(tmp_path: Path):
    job = job_of(composite(), skip_bad=True, bbox=(1.0, 2.0, 3.0, 4.0))
    order = Order(job, 128, 3, 12345, by=ByBlocks({".": 7}))

    order.write(FolderDepot(tmp_path))

    assert read_order(FolderDepot(tmp_path)) == order


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"job": 1}', '{"job": {"bbox": null, "x": 1}}'])
def test_a_damaged_order_is_one_clear_error(tmp_path: Path, text: str):
    (tmp_path / ORDER).write_text(text)

    with pytest.raises(ArgumentInvalid, match="damaged"):
        read_order(FolderDepot(tmp_path))


def test_a_folder_without_an_order_is_one_clear_error(tmp_path: Path):
    told = CliRunner().invoke(main, ["worker", str(tmp_path)])

    assert told.exit_code == 2
    assert "no run to help with" in _SENTENCE.sub(" ", told.stderr)


def test_whoever_comes_when_all_is_done_does_not_load_the_engine(scenes: Scenes, tmp_path: Path):
    order, there = order_of(), tmp_path / "there"
    begun(order, scenes.workspace, FolderDepot(there))
    worker = ["--home", str(scenes.workspace.home), "worker", str(there)]
    code = (
        "import sys; from terrazzo.cli import main\n"
        "try: main()\n"
        "finally: print('terrazzo.engine' in sys.modules)"
    )

    told = [
        subprocess.run(
            [sys.executable, "-c", code, *worker], check=True, capture_output=True, text=True
        ).stdout.split()
        for _ in range(2)
    ]

    assert told == [["True"], ["False"]]


def test_blocks_of_images_that_have_changed_are_made_again_by_shares(
    own_scenes: Scenes, tmp_path: Path
):
    order, there = order_of(), FolderDepot(tmp_path / "there")
    blocks, _ = begun(order, own_scenes.workspace, there)
    help_with(order, own_scenes.workspace, there, Share(0, 1), Progress())
    image = min(own_scenes.workspace.home.rglob("*B04*.tif"))
    os.utime(image, (1, 1))

    before = blocks.there()
    left, _ = begun(order, own_scenes.workspace, there)

    assert before == left.count > 0
    assert left.there() == 0


def test_a_raster_that_hangs_on_what_is_found_in_all_pixels_has_shares(
    scenes: Scenes, tmp_path: Path
):
    nodes = composite()
    del nodes["median"]["result"]
    nodes["trimmed"] = node("trim_cube", True, data=ref("median"))
    order, there = order_of(nodes), FolderDepot(tmp_path / "there")
    begun(order, scenes.workspace, there)

    made = help_with(order, scenes.workspace, there, Share(1, 2), Progress())

    tally = RunRecord(there).tally(10_000)
    tally.look()
    assert made == tally.done > 0


def test_workers_share_a_run_in_one_folder(scenes: Scenes, tmp_path: Path):
    """Two shares by the command, one after the other: the first does it all, and no harm."""
    order = order_of()
    here = calm(scenes, tmp_path / "here", order)
    there = tmp_path / "there"
    begun(order, scenes.workspace, FolderDepot(there))
    worker = ["--home", str(scenes.workspace.home), "worker", str(there)]

    statuses = [
        CliRunner().invoke(main, [*worker, *more]).exit_code
        for more in (("--share", "1/2"), ("--share", "0/2"), ("--finish",))
    ]

    assert statuses == [0, 0, 0]
    assert pixels(there) == pixels(here)
