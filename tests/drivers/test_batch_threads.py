"""A run starts as many threads as it has workers, and libraries add none in its processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.drivers.scenes import composite

from terrazzo.drivers.pool import THREAD_SETTINGS, one_thread_each

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes

WORKERS = 3
PATIENCE_S = 120
COUNTING = """
import json, os, sys
from pathlib import Path
from terrazzo.drivers import batch
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.pool import Pool
from terrazzo.progress import Progress

def threads(process):
    try:
        return len(list(Path(f"/proc/{process}/task").iterdir()))
    except OSError:
        return 0

def children():
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = path.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == os.getpid():
            yield int(path.parent.name)

class Counting(Progress):
    own, others = [], {}

    def advance(self, count=1):
        super().advance(count)
        self.own.append(threads(os.getpid()))
        for child in children():
            self.others[child] = max(self.others.get(child, 0), threads(child))

if __name__ == "__main__":
    graph, home, out, kind, workers = sys.argv[1:]
    told = Counting()
    job, workspace, pool = Job.of(graph), Workspace.of(Path(home)), Pool(kind, int(workers))
    batch.run(job, workspace, Path(out), block=100, pool=pool, progress=told)
    print(json.dumps([max(told.own), sorted(told.others.values())]))
"""


def counted(scenes: Scenes, folder: Path, kind: str) -> tuple[int, list[int]]:
    """Run in a process of its own; return its most threads, and those of its children."""
    script = folder / "counting.py"
    script.write_text(COUNTING)
    graph, home, out = json.dumps(composite()), scenes.workspace.home, folder / "out"
    alone = dict.fromkeys(THREAD_SETTINGS, "1") if kind == "threads" else {}
    environment = {k: v for k, v in os.environ.items() if k not in THREAD_SETTINGS} | alone
    done = subprocess.run(
        [sys.executable, str(script), graph, str(home), str(out), kind, str(WORKERS)],
        capture_output=True, text=True, timeout=PATIENCE_S, check=True, env=environment,
    )  # fmt: skip
    own, others = json.loads(done.stdout)
    return own, others


def test_a_run_with_threads_has_its_workers_and_no_more(scenes: Scenes, tmp_path: Path):
    own, others = counted(scenes, tmp_path, "threads")

    # One sees to the run; two tell how the run and its worker are, and sleep in between.
    assert own <= 1 + WORKERS + 2
    assert others == []


@pytest.mark.slow
def test_workers_that_are_processes_have_no_threads_of_libraries(scenes: Scenes, tmp_path: Path):
    _, others = counted(scenes, tmp_path, "processes")

    # One thread computes, one waits for the end of the run, one tells how the worker is; Python's
    # resource tracker has one.
    assert len(others) <= WORKERS + 1
    assert max(others) <= 3


def test_what_the_user_has_set_about_threads_stays(monkeypatch: pytest.MonkeyPatch):
    mine, free = THREAD_SETTINGS[0], THREAD_SETTINGS[1]
    monkeypatch.setenv(mine, "7")
    monkeypatch.delenv(free, raising=False)

    with one_thread_each():
        during = os.environ[mine], os.environ[free]

    assert during == ("7", "1")
    assert os.environ[mine] == "7"
    assert free not in os.environ
