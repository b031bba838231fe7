"""Runs that are killed, cancelled, starved of disk or fed with broken files, and go on."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from tests.drivers.scenes import COLLECTION, GRAPHS, callback, composite, job_of, load, node, ref
from typing_extensions import override

from terrazzo.drivers import batch
from terrazzo.drivers.block_names import BLOCKS
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.watching.status import STATUS
from terrazzo.errors import ArgumentInvalid, OutputFailed, RunIncomplete, TerrazzoError
from terrazzo.progress import Cancelled, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.drivers.scenes import Scenes

RUNNER = Path(__file__).with_name("runner.py")
BLOCK = 48
PATIENCE_S = 240
FINISHED = re.compile(rb'"(finished|created|updated)": "[^"]*"')


def digests(folder: Path) -> dict[str, str]:
    """Return name and SHA-256 of every file below a folder, hidden ones too.

    Of what STAC says of them the time at which they were finished is left out, and so is what the
    run tells of itself.
    """
    return {
        str(path.relative_to(folder)): hashlib.sha256(
            FINISHED.sub(b"", path.read_bytes()) if path.suffix == ".json" else path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != STATUS
    }


def options(scenes: Scenes, out: Path, nodes: dict[str, Any] | None = None, **more: Any) -> str:
    graph = json.dumps(nodes or composite())
    home = str(scenes.workspace.home)
    given = {"graph": graph, "home": home, "out": str(out), "block": BLOCK}
    return json.dumps({**given, **more})


def start(given: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(RUNNER), given]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def finish(given: str) -> tuple[int, Any]:
    with start(given) as process:
        printed, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, json.loads(printed)


def kill_when(given: str, reached: Callable[[], bool], wait_s: float) -> None:
    """Kill a run -9 a while after something is reached."""
    end = time.monotonic() + PATIENCE_S
    with start(given) as process:
        try:
            while not reached():
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.003)
            time.sleep(wait_s)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def blocks_in(folder: Path) -> int:
    return len(list((folder / BLOCKS).glob("*/[!.]*.block")))


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_in_the_same_bytes(scenes: Scenes, tmp_path: Path):
    nodes = {**composite(), "save": node("save_result", True, data=ref("median"), format="GTiff")}
    del nodes["median"]["result"]
    calm, hunted = tmp_path / "calm", tmp_path / "hunted"
    assert finish(options(scenes, calm, nodes, block=24))[0] == 0
    given = options(scenes, hunted, nodes, block=24, hold=True)
    few = options(scenes, hunted, nodes, block=24, most=60)
    moments = random.Random(11)

    for _ in range(3):
        target = blocks_in(hunted) + moments.randrange(1, 40)
        kill_when(few, lambda target=target: blocks_in(hunted) >= target, moments.uniform(0, 0.05))
    kill_when(given, lambda: any(hunted.glob(".result*")), moments.uniform(0, 0.02))
    status, (blocks, resumed) = finish(options(scenes, hunted, nodes, block=24))

    assert status == 0
    assert blocks == resumed == 25 * 30
    assert digests(hunted) == digests(calm)


@pytest.mark.slow
def test_workers_of_a_killed_run_end_and_it_resumes(scenes: Scenes, tmp_path: Path):
    calm, hunted = tmp_path / "calm", tmp_path / "hunted"
    assert finish(options(scenes, calm))[0] == 0
    given = options(scenes, hunted, kind="processes")

    end = time.monotonic() + PATIENCE_S
    with start(options(scenes, hunted, kind="processes", most=20)) as process:
        try:
            while blocks_in(hunted) < 10:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.01)
        finally:
            process.kill()
    while alive_in(process.pid):
        assert time.monotonic() < end, "workers outlive the run that started them"
        time.sleep(0.1)
    assert finish(given)[0] == 0

    assert digests(hunted) == digests(calm)


@pytest.mark.slow
def test_a_killed_worker_costs_the_run_nothing(scenes: Scenes, tmp_path: Path):
    calm, hunted, go = tmp_path / "calm", tmp_path / "hunted", tmp_path / "go"
    assert finish(options(scenes, calm))[0] == 0
    given = options(scenes, hunted, kind="processes", most=20, go=str(go))

    end = time.monotonic() + PATIENCE_S
    with start(given) as process:
        try:
            while blocks_in(hunted) < 5:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.01)
            worker = max(pid for pid in alive_in(process.pid) if pid != process.pid)
            os.kill(worker, signal.SIGKILL)
            go.touch()
            process.communicate(timeout=PATIENCE_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    assert process.returncode == 0
    assert digests(hunted) == digests(calm)


def alive_in(group: int) -> list[int]:
    """Return the running processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, owner = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(owner) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def test_a_folder_of_another_run_is_refused_and_the_difference_named(
    scenes: Scenes, tmp_path: Path
):
    folder = tmp_path / "out"
    batch.run(job_of(composite()), scenes.workspace, folder, block=256)
    before = digests(folder)

    for job, block, difference in (
        (job_of(composite("month")), 256, "digest"),
        (job_of(composite()), 100, "block"),
        (job_of(composite(), resolution=20.0), 256, "grid"),
        (job_of(composite(), skip_bad=True), 256, "skip_bad"),
        (job_of(composite(), exact=True), 256, "exact"),
    ):
        with pytest.raises(ArgumentInvalid, match=rf"another run \(.*{difference}.*-o"):
            batch.run(job, scenes.workspace, folder, block=block)

    assert digests(folder) == before


def test_blocks_of_items_that_were_ingested_anew_are_computed_again(
    own_scenes: Scenes, tmp_path: Path
):
    folder, job = tmp_path / "out", job_of(GRAPHS["smoothed"])
    with pytest.raises(Cancelled):
        batch.run(job, own_scenes.workspace, folder, block=100, progress=StopsAt(3))
    path = own_scenes.file("2020-07-01", "B08")
    with own_scenes.workspace.catalog() as catalog:
        item = catalog.item(COLLECTION, "S2_2020-07-01")
        item["assets"]["B08"]["href"] = str(path.with_name("2021-06-03_B08.tif"))
        catalog.put_items([item])

    resumed, fresh = Counted(), tmp_path / "fresh"
    batch.run(job, own_scenes.workspace, folder, block=100, progress=resumed)
    batch.run(job, own_scenes.workspace, fresh, block=100)

    assert resumed.resumed == 0
    assert pixels_of(folder / "result.tif") == pixels_of(fresh / "result.tif")


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_blocks_that_a_loss_of_power_has_cut_short_are_computed_again(
    scenes: Scenes, tmp_path: Path, executor: str
):
    job, pool = job_of(composite()), Pool(executor, 1)
    folder, calm = tmp_path / "out", tmp_path / "calm"
    batch.run(job, scenes.workspace, calm, block=100)
    with pytest.raises(Cancelled):
        batch.run(job, scenes.workspace, folder, block=100, progress=StopsAt(6))
    kept = sorted(path for path in (folder / BLOCKS).rglob("*.block"))
    for path, share in zip(kept, (0.0, 0.01, 0.5, 0.999), strict=False):
        truncate(path, share)

    resumed = Counted()
    batch.run(job, scenes.workspace, folder, block=100, pool=pool, progress=resumed)

    assert len(kept) >= 6
    assert resumed.resumed == len(kept) - 4
    assert digests(folder) == digests(calm)


def test_a_block_that_was_changed_on_the_disk_stops_the_run_and_is_computed_again(
    scenes: Scenes, tmp_path: Path
):
    job, folder, calm = job_of(composite()), tmp_path / "out", tmp_path / "calm"
    batch.run(job, scenes.workspace, calm, block=100)
    with pytest.raises(Cancelled):
        batch.run(job, scenes.workspace, folder, block=100, progress=StopsAt(6))
    one = next((folder / BLOCKS).rglob("*.block"))
    content = one.read_bytes()
    one.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    with pytest.raises(OutputFailed, match=f"{one.name}.*was damaged.*same command again"):
        batch.run(job, scenes.workspace, folder, block=100)
    resumed = Counted()
    batch.run(job, scenes.workspace, folder, block=100, progress=resumed)

    assert 0 < resumed.resumed == resumed.total - 1
    assert digests(folder) == digests(calm)


class StopsAt(Progress):
    """Asks the run to stop at a block."""

    def __init__(self, block: int) -> None:
        self.block = block

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if self.done == self.block:
            raise Cancelled


def test_a_cancelled_run_stops_keeps_its_blocks_and_goes_on(scenes: Scenes, tmp_path: Path):
    calm, stopped, job = tmp_path / "calm", tmp_path / "stopped", job_of(composite())
    batch.run(job, scenes.workspace, calm, block=100)

    with pytest.raises(Cancelled):
        batch.run(job, scenes.workspace, stopped, block=100, progress=StopsAt(7))
    kept = blocks_in(stopped)
    made = batch.run(job, scenes.workspace, stopped, block=100)

    assert 7 <= kept < made.blocks == 42
    assert made.resumed == kept
    assert digests(stopped) == digests(calm)


def truncate(path: Path, share: float) -> None:
    """Cut a COG off: its last tiles (the south of full resolution) are lost."""
    os.truncate(path, int(path.stat().st_size * share))


@pytest.mark.parametrize("kind", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_a_truncated_image_fails_its_blocks_only_and_is_named(
    own_scenes: Scenes, tmp_path: Path, kind: str
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    job, pool = job_of(GRAPHS["smoothed"]), Pool(kind, 2)
    batch.run(job, own_scenes.workspace, whole, block=100)
    path = own_scenes.file("2020-07-01", "B08")
    content = path.read_bytes()
    truncate(path, 0.8)

    with pytest.raises(RunIncomplete, match=r"S2_2020-07-01.*again") as caught:
        batch.run(job, own_scenes.workspace, broken, block=100, pool=pool)

    kept = blocks_in(broken)
    assert 0 < kept < 42
    assert f"{42 - kept} of 42 blocks failed; {kept} are kept" in str(caught.value)
    assert not list(broken.glob("*.tif"))
    counted = Counted()
    with pytest.raises(RunIncomplete):
        batch.run(job, own_scenes.workspace, broken, block=100, pool=pool, progress=counted)
    assert counted.resumed == kept

    # A file that was mended may hold other pixels: blocks that touch it are not mixed with them.
    path.write_bytes(content)
    batch.run(job, own_scenes.workspace, broken, block=100, pool=pool, progress=counted)
    assert counted.resumed == 0
    assert pixels_of(broken / "result.tif") == pixels_of(whole / "result.tif")


class Counted(Progress):
    """Remembers how many blocks were there already."""

    @override
    def start(self, total: int, unit: str) -> None:
        super().start(total, unit)
        self.resumed = 0

    @override
    def resume(self, count: int = 1) -> None:
        super().resume(count)
        self.resumed += count


def pixels_of(path: Path) -> bytes:
    with rasterio.open(path) as file:
        return file.read().tobytes()


def test_skip_bad_finishes_and_records_the_item(own_scenes: Scenes, tmp_path: Path):
    truncate(own_scenes.file("2020-07-01", "B08"), 0.8)
    job = job_of(GRAPHS["smoothed"], skip_bad=True)

    made = batch.run(job, own_scenes.workspace, tmp_path / "out", block=100)

    assert made.skipped == ("S2_2020-07-01",)
    assert json.loads((tmp_path / "out" / "skipped.json").read_text()) == ["S2_2020-07-01"]
    with rasterio.open(tmp_path / "out" / "result.tif") as file:
        assert not np.isnan(file.read()).any()


def test_skip_bad_records_the_item_for_tables_too(own_scenes: Scenes, tmp_path: Path):
    truncate(own_scenes.file("2020-07-01", "B08"), 0.8)
    nodes = {
        "load": load(["B08"]),
        "zonal": node(
            "aggregate_spatial", True, data=ref("load"), reducer=callback("mean"),
            geometries={
                "type": "Polygon",
                "coordinates": [
                    [[16.3, 46.0], [16.3, 46.04], [16.36, 46.04], [16.36, 46.0], [16.3, 46.0]]
                ],
            },
        ),
    }  # fmt: skip

    job = job_of(nodes, skip_bad=True)
    made = batch.run(job, own_scenes.workspace, tmp_path / "out", block=100)

    assert made.skipped == ("S2_2020-07-01",)
    assert json.loads((tmp_path / "out" / "skipped.json").read_text()) == ["S2_2020-07-01"]


def test_a_missing_file_is_skipped_where_that_is_asked_for(own_scenes: Scenes, tmp_path: Path):
    own_scenes.file("2020-05-12", "SCL").unlink()

    with pytest.raises(RunIncomplete, match="S2_2020-05-12"):
        batch.run(job_of(GRAPHS["merged"]), own_scenes.workspace, tmp_path / "a", block=256)
    job = job_of(GRAPHS["merged"], skip_bad=True)
    made = batch.run(job, own_scenes.workspace, tmp_path / "b", block=256)

    assert made.skipped == ("S2_2020-05-12",)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system; skipped where none may be, which continuous integration may."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        reason = "a file system may not be mounted here: that needs root (CAP_SYS_ADMIN)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def assert_way_out(message: str) -> None:
    assert "could not be written" in message
    assert "the disk (or quota) is full" in message
    assert "Make room or choose another folder" in message


def test_a_full_disk_stops_the_run_which_completes_once_there_is_room(
    scenes: Scenes, tmp_path: Path
):
    calm, job = tmp_path / "calm", job_of(GRAPHS["smoothed"])
    batch.run(job, scenes.workspace, calm, block=100)

    with mounted(tmp_path / "disk", "500k") as disk:
        full = disk / "out"
        with pytest.raises(OutputFailed) as caught:
            batch.run(job, scenes.workspace, full, block=100)
        kept = blocks_in(full)
        assert_way_out(str(caught.value))
        assert not list(full.rglob("*.part*"))
        assert not list(full.glob("*.tif"))
        assert 0 < kept < 42
        remount(disk, "size=64m")
        made = batch.run(job, scenes.workspace, full, block=100)

        assert made.resumed == kept
        assert digests(full) == digests(calm)


def test_a_run_is_not_kept_in_another_folder_than_its_results(scenes: Scenes, tmp_path: Path):
    kept, results = tmp_path / "kept", tmp_path / "results"

    with pytest.raises(ArgumentInvalid, match=f"{kept}.*not in {results}.*one folder for both"):
        batch.run(job_of(composite()), scenes.workspace, results, depot=FolderDepot(kept))

    assert not kept.exists()
    assert not results.exists()


def test_a_quota_reached_while_results_are_assembled_loses_nothing(scenes: Scenes, tmp_path: Path):
    calm, full = tmp_path / "calm", tmp_path / "full"
    assert finish(options(scenes, calm, GRAPHS["smoothed"]))[0] == 0

    # A block is 48 x 48 x 5 bytes, the uncompressed result 700 x 600 x 4.
    given = options(scenes, full, GRAPHS["smoothed"])
    status, (error, message) = finish(options(scenes, full, GRAPHS["smoothed"], file_size=400_000))

    assert (status, error) == (3, "OutputFailed")
    assert_way_out(message)
    assert blocks_in(full) == 13 * 15
    assert not list(full.rglob("*.part*"))
    assert finish(given) == (0, [13 * 15, 13 * 15])
    assert digests(full) == digests(calm)


@pytest.mark.slow
def test_a_quota_reached_by_a_worker_process_is_said(scenes: Scenes, tmp_path: Path):
    # The catalogue needs 32 kB beside its file, and a block of 100 x 100 x 5 bytes is larger.
    given = options(
        scenes, tmp_path / "out", GRAPHS["smoothed"], kind="processes", block=100, file_size=40_000
    )

    status, (error, message) = finish(given)

    assert (status, error) == (3, "OutputFailed")
    assert_way_out(message)
    assert not list((tmp_path / "out").rglob("*.part*"))


def test_an_unwritable_folder_is_refused_before_any_read(scenes: Scenes, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputFailed, match=r"could not be written.*another folder"):
        batch.run(job_of(composite()), scenes.workspace, tmp_path / "file" / "out")


def test_the_collection_that_is_not_there_is_named(scenes: Scenes, tmp_path: Path):
    with pytest.raises(TerrazzoError, match=COLLECTION):
        batch.run(
            job_of({"a": {**load(["B04"], collection="scene"), "result": True}}),
            scenes.workspace,
            tmp_path / "out",
        )
