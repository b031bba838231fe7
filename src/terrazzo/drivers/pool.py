"""Who computes blocks: how many threads or processes, and how much memory they may use."""

from __future__ import annotations

import multiprocessing
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from terrazzo.errors import TerrazzoError
from terrazzo.grass import threads_of_modules

if TYPE_CHECKING:
    from collections.abc import Iterator

THREAD_SETTINGS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
"""Variables by which libraries choose, as they are loaded, how many threads to start at once.

GDAL starts none unless told to, and the kernels here are not parallel."""


class ClusterUnusable(TerrazzoError):
    """The cluster that shall compute cannot be reached, or its workers cannot do the work."""

    code, status = "ClusterUnusable", 502


@dataclass(frozen=True, slots=True)
class Pool:
    """Who computes the blocks."""

    kind: str = "threads"
    """`threads`, `processes` or, for batch, `dask`."""
    workers: int = 0
    """How many at a time; 0 = one per core."""
    memory_bytes: int = 2_000_000_000
    """Memory that all workers together may use for blocks."""
    scheduler: str = ""
    """Address of a Dask scheduler, whose workers are many or few; empty starts some here."""

    @property
    def size(self) -> int:
        """How many workers there are."""
        return self.workers or len(os.sched_getaffinity(0))


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let processes that start meanwhile have no threads of libraries beside their own.

    Workers are as many as the cores: each library's pool in each of them would only take turns
    with the others. What the user has set stays as it is.
    """
    ours = [name for name in THREAD_SETTINGS if name not in os.environ]
    os.environ.update(dict.fromkeys(ours, "1"))
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


@contextmanager
def sharing(workers: int) -> Iterator[None]:
    """Let what a worker computes in the `with` block have its share of the cores.

    Where the environment says how many threads libraries may have, so do programs that we start.

    Args:
        workers: how many compute on this machine.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    each = int(told) if told.isdecimal() else len(os.sched_getaffinity(0)) // max(workers, 1)
    with threads_of_modules(max(each, 1)):
        yield


def end_with_parent() -> None:
    """End when the run is killed: workers of a pool would wait for its next block for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
