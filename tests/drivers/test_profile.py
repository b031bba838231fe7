"""Profiles: they run what `batch.run` runs, and tell of all work and all reads."""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import pytest
from tests.drivers.scenes import (
    COLLECTION,
    DATES,
    GRAPHS,
    HEIGHT,
    WIDTH,
    callback,
    job_of,
    load,
    node,
    ref,
)
from typing_extensions import override

import terrazzo.drivers.profile
from terrazzo.drivers import batch
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.profile import _Watched, profile, profile_tile
from terrazzo.errors import ArgumentInvalid, PlanTooLarge, RunIncomplete, SpatialExtentEmpty
from terrazzo.progress import Cancelled, Progress, pause

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.drivers.scenes import Scenes

    from terrazzo.drivers.measured import Measured, Profile

TWO = Pool("threads", 2)


def words(measured: Measured) -> set[str]:
    """Return what the names of the parts speak of."""
    return {word for part in measured.parts for word in re.findall(r"\w+", part.name)}


def only(told: Profile) -> Measured:
    (measured,) = told.measured
    return measured


def test_a_profile_tells_of_all_work_from_the_catalogue_to_the_file(scenes: Scenes):
    job = job_of(GRAPHS["composite"])

    measured = only(profile(job, scenes.workspace, block=256, pool=TWO))

    work = {"catalogue", "plan", "open", "decode", "encode", "write"}
    processes = {"mask", "ndvi", "aggregate_temporal_period"}
    assert work | processes <= words(measured)
    assert all(part.calls > 0 for part in measured.parts)
    assert all(part.cpu_seconds >= 0 for part in measured.parts)


def test_times_of_all_parts_make_the_time_of_the_whole(scenes: Scenes):
    measured = only(profile(job_of(GRAPHS["smoothed"]), scenes.workspace, block=300, pool=TWO))

    parts = sum(part.cpu_seconds for part in measured.parts)
    assert 0 < parts <= measured.cpu_seconds
    assert parts + measured.other_seconds == pytest.approx(measured.cpu_seconds)
    assert [part.cpu_seconds for part in measured.parts] == sorted(
        (part.cpu_seconds for part in measured.parts), reverse=True
    )


def test_reads_are_told_beside_what_the_result_needs(scenes: Scenes):
    reading = only(profile(job_of(GRAPHS["smoothed"]), scenes.workspace, block=300)).reading

    needed = len(DATES) * HEIGHT * WIDTH
    assert reading.pixels_needed == needed
    assert needed < reading.pixels_requested < 1.1 * needed  # halos of a 5 x 5 kernel
    assert reading.pixels_decoded == reading.bytes_decoded / 2 == needed
    assert reading.tiles_decoded == len(DATES) * 3 * 3
    assert reading.files == len(DATES)
    sizes = [scenes.file(date, "B08").stat().st_size for date in DATES]
    assert reading.file_bytes == sum(sizes)


def test_smaller_blocks_request_more_and_need_the_same(scenes: Scenes):
    job = job_of(GRAPHS["smoothed"])

    large, small = (
        only(profile(job, scenes.workspace, block=block)).reading for block in (700, 100)
    )

    assert small.pixels_needed == large.pixels_needed
    assert small.pixels_requested > large.pixels_requested


@pytest.mark.parametrize("name", ["composite", "60 m average", "merged"])
def test_results_are_those_of_a_run(scenes: Scenes, tmp_path: Path, name: str):
    job = job_of(GRAPHS[name])
    batch.run(job, scenes.workspace, tmp_path / "run", block=256, pool=TWO)

    profile(job, scenes.workspace, block=256, pool=TWO, folder=tmp_path / "profile")

    files = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("result*")}
    assert files
    assert files == {p.name: p.read_bytes() for p in (tmp_path / "profile").glob("result*")}


def test_memory_and_workers_are_told(scenes: Scenes):
    job = job_of(GRAPHS["composite"])
    shown = Progress()

    measured = only(profile(job, scenes.workspace, block=200, pool=TWO, progress=shown))

    workers, memory = measured.workers, measured.memory
    assert workers is not None
    assert (workers.count, workers.blocks) == (2, 12)
    assert shown.done == shown.total == 12
    assert 0 < workers.cpu_seconds <= measured.cpu_seconds
    assert 0 < workers.wall_seconds <= measured.wall_seconds
    assert workers.efficiency == workers.cpu_seconds / (2 * workers.wall_seconds)
    assert memory.peak_bytes >= memory.before_bytes > 0
    assert memory.block_bytes > 200 * 200 * len(DATES) * 2
    assert memory.cache_bytes == scenes.workspace.cache_bytes


def test_nothing_is_left_of_results_that_nobody_wants(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    profile(job_of(GRAPHS["smoothed"]), scenes.workspace, repeat=2)

    assert list(tmp_path.iterdir()) == []


def test_the_run_of_median_time_is_told(scenes: Scenes, monkeypatch: pytest.MonkeyPatch):
    seconds = iter([5.0, 1.0, 3.0])
    listen = terrazzo.drivers.profile._listen

    def pretend(work: Callable[[], object]) -> object:
        return replace(listen(work), cpu_seconds=next(seconds))

    monkeypatch.setattr(terrazzo.drivers.profile, "_listen", pretend)

    told = profile(job_of(GRAPHS["smoothed"]), scenes.workspace, repeat=3)

    assert only(told).cpu_seconds == 3.0
    assert told.repeats == 3


def test_a_result_without_pixels_says_nothing_of_what_is_needed(scenes: Scenes):
    west, south, east, north = 16.3, 46.02, 16.33, 46.04
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    nodes = {
        "load": load(["B04"]),
        "mean": node("reduce_dimension", data=ref("load"), dimension="t", reducer=callback("mean")),
        "zonal": node(
            "aggregate_spatial",
            True,
            data=ref("mean"),
            geometries={"type": "Polygon", "coordinates": [ring]},
            reducer=callback("mean"),
        ),
    }

    told = profile(job_of(nodes), scenes.workspace, block=128)

    assert only(told).reading.pixels_needed is None
    assert only(told).reading.pixels_requested > 0
    assert "needed" not in told.to_text()


# tiles


def test_a_tile_is_first_opened_then_cold_then_warm(scenes: Scenes):
    told = profile_tile(job_of(GRAPHS["composite"]), scenes.workspace, (12, 2234, 1457), repeat=2)

    first, cold, warm = told.measured
    assert [first.name, cold.name, warm.name] == ["first", "cold", "warm"]
    assert {"catalogue", "plan", "open", "decode", "encode"} <= words(first)
    assert {"decode", "encode", "mask", "ndvi"} <= words(cold)
    assert "catalogue" not in words(cold)
    assert cold.reading.tiles_decoded > 0
    assert "decode" not in words(warm)
    assert warm.reading.tiles_decoded == 0
    needs = {one.reading.pixels_needed for one in told.measured}
    assert len(needs) == 1
    assert 0 < needs.pop() <= warm.reading.pixels_requested == cold.reading.pixels_requested


def test_a_tile_where_nothing_is_names_one_where_something_is(scenes: Scenes):
    job = job_of(GRAPHS["composite"])

    with pytest.raises(SpatialExtentEmpty, match=r"12/1/1") as caught:
        profile_tile(job, scenes.workspace, (12, 1, 1))
    named = re.search(r"Tile (\d+)/(\d+)/(\d+) has", str(caught.value))

    assert named is not None
    zoom, x, y = (int(number) for number in named.groups())
    assert profile_tile(job, scenes.workspace, (zoom, x, y), repeat=1).measured


@pytest.mark.parametrize("tile", [(12, -1, 0), (3, 8, 0), (99, 0, 0)])
def test_a_tile_that_is_not_in_the_matrix_is_refused(scenes: Scenes, tile: tuple[int, int, int]):
    with pytest.raises(ArgumentInvalid):
        profile_tile(job_of(GRAPHS["composite"]), scenes.workspace, tile)


@pytest.mark.parametrize(
    "place", [{"bbox": (16.3, 46.0, 16.4, 46.1)}, {"resolution": 20.0}, {"crs": "EPSG:3035"}]
)
def test_a_tile_says_itself_where_it_is(scenes: Scenes, place: dict[str, object]):
    job = job_of(GRAPHS["composite"], **place)

    with pytest.raises(ArgumentInvalid, match="--bbox"):
        profile_tile(job, scenes.workspace, (12, 2234, 1457))


# what is refused


def test_processes_cannot_be_listened_to(scenes: Scenes):
    with pytest.raises(ArgumentInvalid, match="threads"):
        profile(job_of(GRAPHS["smoothed"]), scenes.workspace, pool=Pool("processes", 2))


def test_a_folder_with_a_run_is_refused(scenes: Scenes, tmp_path: Path):
    job = job_of(GRAPHS["smoothed"])
    batch.run(job, scenes.workspace, tmp_path)

    with pytest.raises(ArgumentInvalid, match="-o"):
        profile(job, scenes.workspace, folder=tmp_path)


@pytest.mark.parametrize("repeat", [0, -1])
def test_no_times_is_refused(scenes: Scenes, repeat: int):
    job = job_of(GRAPHS["composite"])

    with pytest.raises(ArgumentInvalid, match="once"):
        profile(job, scenes.workspace, repeat=repeat)
    with pytest.raises(ArgumentInvalid, match="once"):
        profile_tile(job, scenes.workspace, (12, 2234, 1457), repeat=repeat)


def test_what_does_not_fit_is_refused_before_any_read(scenes: Scenes):
    with pytest.raises(PlanTooLarge):
        profile(job_of(GRAPHS["composite"]), scenes.workspace, pool=Pool("threads", 1, 1_000_000))


def test_a_run_that_fails_has_no_profile_and_says_why(own_scenes: Scenes, tmp_path: Path):
    damaged = own_scenes.file(DATES[1], "B08")
    damaged.write_bytes(damaged.read_bytes()[:5000])
    os.utime(damaged)
    job = job_of(GRAPHS["smoothed"])

    with pytest.raises(RunIncomplete, match=f"S2_{DATES[1]}") as nowhere:
        profile(job, own_scenes.workspace, block=300)
    with pytest.raises(RunIncomplete, match=str(tmp_path / "kept")):
        profile(job, own_scenes.workspace, block=300, folder=tmp_path / "kept")

    assert "same command" not in str(nowhere.value)


# what is shown


def test_a_profile_is_json(scenes: Scenes):
    told = profile(job_of(GRAPHS["smoothed"]), scenes.workspace, block=300, pool=TWO)

    read = json.loads(json.dumps(told.to_json()))

    (measured,) = read["measured"]
    assert read["digest"] == told.digest == job_of(GRAPHS["smoothed"]).graph().digest
    assert measured["reading"]["files"] == len(DATES)
    assert measured["workers"]["efficiency"] > 0
    assert {part["name"] for part in measured["parts"]} == {part.name for part in only(told).parts}


def test_the_table_has_a_row_per_part_in_columns(scenes: Scenes):
    told = profile(job_of(GRAPHS["composite"]), scenes.workspace, block=300, pool=TWO)

    lines = told.to_text().splitlines()

    head = next(line for line in lines if line.startswith("what"))
    rows = lines[lines.index(head) + 1 : lines.index("", lines.index(head))]
    assert head.split() in (["what", "calls", "CPU", "s", "%", "wall", "s"],
                            ["what", "calls", "CPU", "ms", "%", "wall", "ms"])  # fmt: skip
    assert len(rows) == len(only(told).parts) + 2
    assert {len(row) for row in rows if not row.startswith("other")} == {len(head)}
    shares = [float(row.split()[-2]) for row in rows[:-2]]
    assert sum(shares) <= 100.1
    assert rows[-1].startswith("total")
    assert f"{len(DATES) * 3:,} files" in told.to_text()
    assert COLLECTION not in told.to_text()


def test_a_profile_is_stopped_and_told_of_what_a_run_is():
    class Shown(Progress):
        told: ClassVar[list[object]] = []

        @override
        def check(self) -> None:
            raise Cancelled

        @override
        def fail(self, unit: str, reason: str, error: Exception | None) -> None:
            self.told.append((unit, reason, error))

        @override
        def hear(self, entries: Sequence[object], unit: str = "") -> None:
            self.told.append((*entries, unit))

    watched = _Watched(Shown())

    with pytest.raises(Cancelled):
        pause(1000, watched)
    watched.fail("block", "for good", None)
    watched.hear(["seen"], "block")

    assert Shown.told == [("block", "for good", None), ("seen", "block")]
