"""A run on workers of HTCondor, as the page on clusters starts them: `... OPTIONS_AS_JSON`.

Prints as JSON how many blocks it has made, and which jobs of workers it has removed meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.docs.pages import ROOT, blocks
from typing_extensions import override

from terrazzo.drivers import batch
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.pool import Pool
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from dask_jobqueue import HTCondorCluster

HERE = "127.0.0.1"
PATIENCE_S = 300.0


def documented(**settings: Any) -> HTCondorCluster:
    """Start workers by the code of the documentation."""
    (code,) = (b for b in blocks(ROOT / "docs/clusters.md", "python") if "HTCondorCluster" in b)
    page = types.ModuleType("page")
    exec(code, vars(page))  # noqa: S102 - ours
    cluster: HTCondorCluster = page.workers(**settings)
    return cluster


class Removing(Progress):
    """Removes jobs of workers in the middle: after some blocks one, and after more all."""

    def __init__(self, cluster: HTCondorCluster, jobs: int, after: list[int]) -> None:
        super().__init__()
        self._cluster, self._jobs, self._after = cluster, jobs, after
        self.removed: list[list[str]] = []

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if self._after and self.done >= self._after[0]:
            del self._after[0]
            until(lambda: len(self._at_work()) == self._jobs)  # lost ones are replaced by then
            jobs = sorted(self._cluster.workers[name].job_id for name in self._at_work())
            self._remove(jobs if self.removed else jobs[:1])

    def _at_work(self) -> set[str]:
        """Return the names of workers that the scheduler knows."""
        known = self._cluster.scheduler_info["workers"].values()
        return {worker["name"] for worker in known}

    def _remove(self, jobs: list[str]) -> None:
        names = {name for name, job in self._cluster.workers.items() if job.job_id in jobs}
        subprocess.run(["condor_rm", *jobs], check=True, timeout=60, capture_output=True)
        until(lambda: not names & self._at_work())
        self.removed.append(jobs)


def until(reached: Callable[[], bool]) -> None:
    """Wait for something."""
    end = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.1)


def main() -> None:
    options = json.loads(sys.argv[1])
    with documented(
        jobs=options["jobs"],
        scheduler_options={"host": HERE, "dashboard_address": f"{HERE}:0"},
        worker_extra_args=["--host", HERE, "--no-dashboard"],
        job_extra_directives={"getenv": "True"},
    ) as cluster:
        progress = Removing(cluster, options["jobs"], options["remove_after"])
        made = batch.run(
            Job.of(options["graph"]),
            Workspace.of(Path(options["home"])),
            Path(options["out"]),
            block=options["block"],
            pool=Pool("dask", scheduler=cluster.scheduler_address),
            progress=progress,
        )
    sys.stdout.write(json.dumps({"blocks": made.blocks, "removed": progress.removed}))


if __name__ == "__main__":
    main()
