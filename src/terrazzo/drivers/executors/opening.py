"""Opens the executor that a pool names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from terrazzo.drivers.executors.local import processes, threads
from terrazzo.drivers.executors.work import lost

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from terrazzo.drivers.executors.crew import Sending, Work
    from terrazzo.drivers.executors.work import Executor, Made
    from terrazzo.drivers.pool import Pool
    from terrazzo.progress import Progress


def opened(
    pool: Pool, work: Work[int, Made], sent: Sending[int, Made], progress: Progress
) -> AbstractContextManager[Executor]:
    """Open who computes the blocks of a run.

    Args:
        pool: which kind, and how many.
        work: the run, for workers in this process.
        sent: the same, for others.
        progress: is asked by what takes long in this process.

    Raises:
        ClusterUnusable: the cluster cannot be reached, or cannot do this work.
    """
    if pool.kind == "dask":
        from terrazzo.drivers.executors.cluster import dask  # noqa: PLC0415 - optional, slow

        return dask(sent.elsewhere(), pool)
    if pool.kind == "processes":
        return processes(sent.elsewhere(), pool.size, lost)
    return threads(work, pool.size, progress)
