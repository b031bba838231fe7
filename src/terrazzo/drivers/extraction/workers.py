"""Scenes computed by other processes, here or on a Dask cluster: a scene each."""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from terrazzo.drivers.executors.local import processes
from terrazzo.drivers.executors.rounds import ATTEMPTS
from terrazzo.drivers.extraction.cut import cutter
from terrazzo.drivers.extraction.placed import Placed
from terrazzo.drivers.extraction.polygons import kept
from terrazzo.drivers.extraction.work import Outcome, Work, computed
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.stages import Means
from terrazzo.progress import CHECK_S, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from terrazzo.drivers.depot import FolderDepot
    from terrazzo.drivers.executors.stints import Parts, Stint
    from terrazzo.drivers.extraction.asked import Asked
    from terrazzo.drivers.extraction.scenes import Scene
    from terrazzo.drivers.job import Job, Workspace


@dataclass(frozen=True, slots=True)
class Sent:
    """What another process opens the work of an extraction with; its folder has the rest."""

    job: Job
    """The graph and where to run it."""
    workspace: Workspace
    """Where its collections are."""
    folder: FolderDepot
    """Of the extraction, absolute; whoever computes must see it."""
    by: str
    """`date` or `image`."""
    asked: Asked
    """What is made of the pixels."""
    stamp: str
    """Changes when the polygons do."""
    block: int
    """Edge of a cell, pixels."""
    memory_bytes: int
    """That it may use."""

    def opened(self) -> Scenewise:
        """Open the sources and cut the graph; what stages have found is taken from the folder."""
        means = Means(self.block, Pool("threads", 1, self.memory_bytes), Progress(), self.folder)
        whole = self.asked.code is not None
        cut, _ = cutter(self.job, self.workspace, means, by=self.by, whole=whole)
        polygons = kept(self.folder.path, buffer_m=self.asked.buffer_m)
        how, around = self.asked.how, self.asked.around
        placed = Placed(self.folder.path, polygons, self.stamp, how, around, self.block)
        return Scenewise(Work(cut, self.asked, placed, means))


@dataclass(frozen=True, slots=True)
class Scenewise:
    """An extraction as scenes, each by itself."""

    work: Work

    def make(self, scene: Scene, kept: int) -> Outcome:
        """Compute a scene; no version of it is kept that could be had again.

        Raises:
            OutputFailed: nothing can be written.
        """
        del kept
        return computed(self.work, scene)


class Workers(Protocol):
    """Whoever computes scenes."""

    def size(self) -> int:
        """Return how many scenes can be computed at a time, now."""

    def submit(self, parts: Parts[Scene], /) -> Future[Stint[Outcome]]:
        """Have scenes computed."""


@contextmanager
def workers(sent: Sent, pool: Pool) -> Iterator[Workers]:
    """Start the processes that a pool names, or connect to its cluster.

    Raises:
        ClusterUnusable: there is no cluster, or it cannot do the work.
    """
    if pool.kind == "dask":
        from terrazzo.drivers.executors.cluster import Cluster, connected  # noqa: PLC0415 - slow

        with connected(pool) as client:
            cluster = Cluster(client, sent, _lost)
            try:
                yield cluster
            finally:
                cluster.drop()
    else:
        with processes(sent, pool.size, _lost) as here:
            yield here


def by_workers(
    workers: Workers, scenes: Sequence[tuple[Scene, int]], begin: Callable[[Scene], None],
    progress: Progress,
) -> Iterator[Outcome]:  # fmt: skip
    """Compute scenes side by side; yield each as it is done.

    A scene whose worker is lost is given to another one, `ATTEMPTS` times in all.

    Args:
        workers: who computes.
        scenes: with how many cells they have.
        begin: told of each before it is begun.
        progress: told about every cell, when its scene is done; may raise `Cancelled` to stop.

    Raises:
        OutputFailed: nothing can be written; the run stops.
        BrokenExecutor: there is nobody left who computes.
    """
    running: dict[Future[Stint[Outcome]], tuple[Scene, int]] = {}
    tried: Counter[str] = Counter()
    waiting = deque(scenes)
    while waiting or running:
        while waiting and len(running) < workers.size() + 1:
            scene, cells = waiting.popleft()
            begin(scene)
            tried[scene.key] += 1
            running[workers.submit(((scene, 0),))] = scene, cells
        finished, _ = wait(running, CHECK_S, return_when=FIRST_COMPLETED)
        if not finished:
            progress.check()
        for future in finished:
            scene, cells = running.pop(future)
            (outcome,) = future.result().made
            if outcome.lost and tried[scene.key] < ATTEMPTS:
                waiting.appendleft((scene, cells))
                continue
            progress.hear(outcome.made.log)
            progress.advance(cells)
            yield outcome


def _lost(scene: Scene, reason: str) -> Outcome:
    return Outcome(scene, error=reason, lost=True)
