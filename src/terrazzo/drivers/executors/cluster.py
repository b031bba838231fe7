"""Dask: the blocks of a run, or the scenes of an extraction, as tasks of a cluster.

A task is a number, or several of quick blocks, and a few kilobytes that say what run it is of,
whatever the run's size; a worker makes the plan once. Only a few tasks for each worker are with the
scheduler at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import threading
import time
import uuid
from concurrent.futures import BrokenExecutor, CancelledError, Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from typing_extensions import override

from terrazzo import __version__
from terrazzo.drivers.executors.stints import Stint, stint
from terrazzo.drivers.executors.work import lost
from terrazzo.drivers.home import CATALOG_VARIABLE
from terrazzo.drivers.pool import ClusterUnusable, one_thread_each
from terrazzo.errors import TerrazzoError
from terrazzo.progress import Cancelled, Progress, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from distributed import Client
    from distributed import Future as Promise

    from terrazzo.drivers.executors.crew import Sendable, Work
    from terrazzo.drivers.executors.stints import Parts
    from terrazzo.drivers.executors.work import Made
    from terrazzo.drivers.pool import Pool

K = TypeVar("K")
M = TypeVar("M")

CONNECT_S = 30.0
ANSWER_S = 60.0
"""For the few bytes of an answer to come from its worker; then the block is tried again."""
_LOOK_S = 1.0
"""After which it is asked again how many workers there are."""


@contextmanager
def dask(sent: Sendable[int, Made], pool: Pool) -> Iterator[Cluster[int, Made]]:
    """Open the cluster that a pool names for the blocks of a run.

    Raises:
        ClusterUnusable: Dask is not installed, or there is no scheduler.
    """
    with connected(pool) as client:
        cluster = Cluster(client, sent, lost)
        try:
            yield cluster
        finally:
            cluster.drop()


@contextmanager
def connected(pool: Pool) -> Iterator[Client]:
    """Connect to the scheduler that a pool names, or start a cluster on this machine.

    Raises:
        ClusterUnusable: Dask is not installed, or there is no scheduler.
    """
    try:
        from distributed import Client, LocalCluster  # noqa: PLC0415 - optional, and slow to load
    except ImportError as error:
        raise ClusterUnusable(
            "Dask is not installed. Run: pip install 'terrazzo[dask]', or choose --executor threads"
        ) from error
    with ExitStack() as stack:
        if pool.scheduler:
            yield _connected(stack, pool.scheduler, Client)
            return
        stack.enter_context(one_thread_each())
        here = LocalCluster(
            n_workers=pool.size,
            threads_per_worker=1,
            memory_limit=None,  # the plan has seen to it
            dashboard_address="127.0.0.1:0",
        )
        yield stack.enter_context(Client(stack.enter_context(here)))


def _connected(stack: ExitStack, address: str, kind: type[Client]) -> Client:
    try:
        return stack.enter_context(kind(address, timeout=CONNECT_S))
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterUnusable(
            f"There is no Dask scheduler at {address!r} ({error}). Give its address, such as "
            "--scheduler tcp://10.0.0.5:8786, or leave --scheduler out: then workers are started "
            "on this machine."
        ) from error


class Cluster(Generic[K, M]):
    """A Dask cluster that makes the parts of one work, the blocks of a run say."""

    reissues = True

    def __init__(self, client: Client, sent: Sendable[K, M], lost: Callable[[K, str], M]) -> None:
        """Describe a work; nothing is sent yet.

        Args:
            client: of the cluster.
            sent: the work, a dataclass.
            lost: returns what is said of a part whose worker was lost; gets the reason, too.
        """
        self._client, self._name, self._lost = client, uuid.uuid4().hex[:12], lost
        # With the name: the same graph once more may read other images. Without the password.
        plain = replace(sent, workspace=replace(sent.workspace, database=""))  # type: ignore[type-var]
        told = (__version__, self._name, bool(sent.workspace.database), plain)
        self._sent = pickle.dumps(told)
        self._promised: dict[Future[Stint[M]], Promise] = {}
        self._count = self._looked = 0.0
        self._lock = threading.Lock()

    def size(self) -> int:
        """Return how many threads its workers have now; 1 where there is none yet."""
        if time.monotonic() - self._looked > _LOOK_S:
            with contextlib.suppress(OSError, TimeoutError):
                self._count = sum(self._client.nthreads().values())
            self._looked = time.monotonic()
        return max(int(self._count), 1)

    def submit(self, parts: Parts[K]) -> Future[Stint[M]]:
        """Have parts made by some worker, blocks by their numbers."""
        made: Future[Stint[M]] = Future()
        key = f"terrazzo-{self._name}-{uuid.uuid4().hex[:12]}"
        promise = self._client.submit(_make, self._sent, parts, key=key, pure=False)
        self._watch(made, promise, parts)
        return made

    def _watch(self, made: Future[Stint[M]], promise: Promise, parts: Parts[K]) -> None:
        with self._lock:
            self._promised[made] = promise
        promise.add_done_callback(lambda _: self._settle(made, parts))

    def _settle(self, made: Future[Stint[M]], parts: Parts[K]) -> None:
        """Hand on what became of parts; a worker that died is no end."""
        with self._lock:
            promise = self._promised.pop(made, None)
        if promise is None or made.cancelled():
            return
        if promise.status == "pending":  # its worker died with the answer, and another is at it
            self._watch(made, promise, parts)
            return
        try:
            made.set_result(promise.result(timeout=ANSWER_S))
        except TerrazzoError as error:
            made.set_exception(error)
        except CancelledError:
            made.set_exception(BrokenExecutor("The scheduler is gone, or has dropped the run."))
        except Exception as error:  # noqa: BLE001 - whatever befell a worker
            reason = f"{type(error).__name__}: {error}"
            made.set_result(Stint.lost(self._lost, parts, reason))

    def drop(self) -> None:
        """Take back what is not done."""
        with self._lock:
            promised = list(self._promised.values())
            self._promised.clear()
        with contextlib.suppress(Exception):  # the scheduler may be gone
            self._client.cancel(promised)


_works: dict[str, Work[Any, Any]] = {}
_opening = threading.Lock()
_MOST_WORKS = 4
"""Plans that a worker keeps: of the last runs that it worked for."""


def _make(sent: bytes, parts: Parts[Any]) -> Stint[Any]:
    """Make parts, in a worker, as many as there is time for."""
    with watched(_Wanted()):
        return stint(_work(sent).make, parts)


class _Wanted(Progress):
    """Stops the task that it is made in when the run has taken it back: Dask lets it go on."""

    def __init__(self) -> None:
        from distributed import get_worker  # noqa: PLC0415 - optional, and slow to load

        self._worker = get_worker()
        self._key = self._worker.get_current_task()

    @override
    def check(self) -> None:
        task = self._worker.state.tasks.get(self._key)
        if task is None or task.state == "cancelled":
            raise Cancelled


def _work(sent: bytes) -> Work[Any, Any]:
    digest = hashlib.sha256(sent).hexdigest()
    with _opening:
        work = _works.get(digest)
        if work is None:
            work = _opened(sent)
            while len(_works) >= _MOST_WORKS:
                del _works[next(iter(_works))]
            _works[digest] = work
    return work


def _opened(sent: bytes) -> Work[Any, Any]:
    told: tuple[Any, ...] = pickle.loads(sent)  # noqa: S301 - of the run that this worker serves
    version, _, has_database, work = told
    if version != __version__:
        raise ClusterUnusable(
            f"A worker has Terrazzo {__version__} and the run {version}: pixels may differ. "
            "Install the same version everywhere."
        )
    if reason := work.folder.reason_against():
        raise ClusterUnusable(
            f"A worker cannot write blocks into {work.folder}: {reason}. Choose a folder or a "
            "bucket, with -o, that all machines share."
        )
    if has_database:
        url = os.environ.get(CATALOG_VARIABLE, "")
        if not url:
            raise ClusterUnusable(
                f"The run reads a catalogue in a database, whose URL a worker takes from "
                f"{CATALOG_VARIABLE}, which is not set there. Set it where workers are started."
            )
        work = replace(work, workspace=replace(work.workspace, database=url))
    opened: Work[Any, Any] = work.opened()
    return opened
