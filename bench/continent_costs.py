"""What a block of a continent costs, measured on this machine, for the simulation."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import graphs
from bench.data import dataset
from bench.measure import environment
from bench.simulate_continent import Costs
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.executors import Made, Sent
from terrazzo.drivers.executors.cluster import Cluster, connected
from terrazzo.drivers.executors.work import lost
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

EDGE, BLOCK, DATES = 4096, 1024, 10
"""16 blocks of the made-up data; a tile of 30 km at 30 m has 1000 pixels along its edge."""
HANDED = 500
_OPENS = """
import pickle, sys
pickle.load(sys.stdin.buffer).opened()
"""


def measured(say: Callable[[str], None], edge: int = EDGE) -> Costs:
    """Return CPU seconds of blocks, of the start of a worker, and of handing out a block.

    Args:
        say: told how it goes.
        edge: of the data, pixels.
    """
    data = dataset(edge, DATES, say=say)
    job, workspace = Job.of(graphs.composite(data)), Workspace(data.home)
    with tempfile.TemporaryDirectory(prefix="terrazzo-bench-") as folder:
        depot = FolderDepot(Path(folder))
        sent = Sent(job, workspace, job.graph().result, depot, depot, BLOCK, 2_000_000_000)
        work = sent.opened()
        took = []
        for number in work.sweep:
            begun = time.process_time()
            made = work.make(number, 0)
            if made.error:
                raise RuntimeError(made.error)
            took.append(time.process_time() - begun)
        say(f"{len(took)} blocks: {np.median(took[1:]):.3f} s CPU each")
        start = _start_s(sent)
        say(f"a worker's start: {start:.1f} s CPU")
        handed = _handed_s(workspace, depot)
        say(f"a block handed out by Dask: {1e3 * handed:.2f} ms CPU")
    blocks = tuple(round(one, 4) for one in took[1:])  # the first one loads what is compiled
    return Costs(blocks, round(start, 2), round(handed, 6))


def _start_s(sent: Sent) -> float:
    """Return what a process takes until it could make its first block."""
    before = os.times()
    subprocess.run(
        [sys.executable, "-c", _OPENS], input=pickle.dumps(sent), check=True, env=environment()
    )
    after = os.times()
    return (
        after.children_user - before.children_user + after.children_system - before.children_system
    )


@dataclass(frozen=True)
class Nothing:
    """A work whose parts cost nothing, so that what remains is handing them out."""

    workspace: Workspace
    folder: FolderDepot

    def opened(self) -> Nothing:
        """Be it."""
        return self

    def make(self, number: int, kept: int) -> Made:
        """Say that it is made."""
        del number, kept
        return Made(1)


def _handed_s(workspace: Workspace, depot: FolderDepot) -> float:
    """Return what a block takes of the process of scheduler and run, by Dask."""
    with connected(Pool("dask", 1)) as client:
        cluster = Cluster(client, Nothing(workspace, depot), lost)
        cluster.submit(((0, 0),)).result()
        begun = time.process_time()
        alone = [cluster.submit(((number, 0),)) for number in range(1, HANDED + 1)]
        for one in alone:  # as the blocks of a continent are, which are no quick ones
            one.result()
        return (time.process_time() - begun) / HANDED
