"""Runs on workers that dask-jobqueue has a real HTCondor start: `pytest -m condor`."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.drivers.condor_pool import TREE, RealCondor, real_condor
from tests.drivers.scenes import Scenes, composite, job_of, make_scenes
from tests.drivers.test_survival import digests

from terrazzo.drivers import batch
from terrazzo.drivers.order import ORDER
from terrazzo.drivers.slurm import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = 100
pytestmark = [pytest.mark.condor, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def condor(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCondor]:
    with real_condor(shared, tmp_path_factory.mktemp("condor")) as started:
        yield started


@pytest.fixture(scope="module")
def seen_scenes(condor: RealCondor) -> Scenes:
    """The collection, where jobs see it."""
    scenes = make_scenes(condor.folder / "home")
    condor.hand_over()
    return scenes


@pytest.fixture(scope="module")
def expected(seen_scenes: Scenes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What threads make, without HTCondor."""
    here = tmp_path_factory.mktemp("threads") / "here"
    batch.run(job_of(composite()), seen_scenes.workspace, here, block=BLOCK)
    return digests(here)


def run(
    condor: RealCondor, scenes: Scenes, out: Path, jobs: int, remove_after: tuple[int, ...] = ()
) -> dict[str, Any]:
    """Run inside, and return what the run tells."""
    options = {
        "graph": json.dumps(composite()), "home": str(scenes.workspace.home), "out": str(out),
        "block": BLOCK, "jobs": jobs, "remove_after": remove_after,
    }  # fmt: skip
    runner = [sys.executable, "-m", "tests.drivers.condor_runner", json.dumps(options)]
    told: dict[str, Any] = json.loads(condor.say("env", f"PYTHONPATH={TREE}", *runner))
    return told


def test_workers_that_htcondor_starts_give_the_bytes_of_threads(
    condor: RealCondor, seen_scenes: Scenes, expected: dict[str, str]
):
    there = condor.folder / "there"

    told = run(condor, seen_scenes, there, jobs=2)

    assert told == {"blocks": 42, "removed": []}
    assert digests(there) == expected


def test_jobs_that_are_removed_cost_no_block(
    condor: RealCondor, seen_scenes: Scenes, expected: dict[str, str]
):
    there = condor.folder / "hunted"

    told = run(condor, seen_scenes, there, jobs=2, remove_after=(3, 9))

    assert told["blocks"] == 42
    assert [len(jobs) for jobs in told["removed"]] == [1, 2]
    assert len({job for jobs in told["removed"] for job in jobs}) == 3
    assert digests(there) == expected


def test_jobs_of_the_documented_description_share_a_run(
    condor: RealCondor, seen_scenes: Scenes, expected: dict[str, str]
):
    there = condor.folder / "shared"
    program = f"{sys.prefix}/bin/terrazzo"
    home = str(seen_scenes.workspace.home)
    terrazzo = [program, "--home", home]
    (condor.folder / "graph.json").write_text(json.dumps(composite()))
    page = (TREE / "docs/clusters.md").read_text()
    (text,) = re.findall(r"^```\n(executable.*?)^```", page, re.DOTALL | re.MULTILINE)
    paths = {"/opt/terrazzo/bin/terrazzo": program, "/data/home": home, "/data/ndvi": str(there)}
    for told, meant in (paths | {"200": "3"}).items():
        assert told in text
        text = text.replace(told, meant)
    (condor.folder / "work.sub").write_text(text)

    begin = [*terrazzo, "run", "graph.json", "-o", str(there), "--block", str(BLOCK)]
    condor.say(*begin, "--executor", "slurm", "--script-only", "--memory", "500M")
    condor.say("condor_submit", "work.sub")
    condor.say("condor_wait", "-wait", "600", "work.log")
    condor.say(*terrazzo, "worker", str(there), "--finish")

    made = {k: v for k, v in digests(there).items() if not k.startswith((FOLDER, ORDER))}
    assert (condor.folder / "work.log").read_text().count("(return value 0)") == 3
    assert made == expected
