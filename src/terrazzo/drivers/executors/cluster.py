"""Dask: the blocks of a run as tasks of a cluster, one per block.

A task is a number and a few kilobytes that say what run it is of, whatever the run's size; a
worker makes the plan once. Only a few blocks for each worker are with the scheduler at a time.
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
from typing import TYPE_CHECKING, Any

from terrazzo import __version__
from terrazzo.drivers.executors.work import Made
from terrazzo.drivers.home import CATALOG_VARIABLE
from terrazzo.drivers.pool import ClusterUnusable, one_thread_each
from terrazzo.errors import TerrazzoError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client
    from distributed import Future as Promise

    from terrazzo.drivers.executors.work import Blockwise, Sent
    from terrazzo.drivers.pool import Pool

CONNECT_S = 30.0
ANSWER_S = 60.0
"""For the few bytes of an answer to come from its worker; then the block is tried again."""
_LOOK_S = 1.0
"""After which it is asked again how many workers there are."""


@contextmanager
def dask(sent: Sent, pool: Pool) -> Iterator[Cluster]:
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
            client = _connected(stack, pool.scheduler, Client)
        else:
            stack.enter_context(one_thread_each())
            here = LocalCluster(
                n_workers=pool.size,
                threads_per_worker=1,
                memory_limit=None,  # the plan has seen to it
                dashboard_address="127.0.0.1:0",
            )
            client = stack.enter_context(Client(stack.enter_context(here)))
        cluster = Cluster(client, sent)
        stack.callback(cluster.drop)
        yield cluster


def _connected(stack: ExitStack, address: str, kind: type[Client]) -> Client:
    try:
        return stack.enter_context(kind(address, timeout=CONNECT_S))
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterUnusable(
            f"There is no Dask scheduler at {address!r} ({error}). Give its address, such as "
            "--scheduler tcp://10.0.0.5:8786, or leave --scheduler out: then workers are started "
            "on this machine."
        ) from error


class Cluster:
    """A Dask cluster that computes the blocks of one run."""

    reissues = True

    def __init__(self, client: Client, sent: Sent) -> None:
        self._client, self._name = client, uuid.uuid4().hex[:12]
        # With the name: the same graph once more may read other images. Without the password.
        plain = replace(sent, workspace=replace(sent.workspace, database=""))
        told = (__version__, self._name, bool(sent.workspace.database), plain)
        self._sent = pickle.dumps(told)
        self._promised: dict[Future[Made], Promise] = {}
        self._count = self._looked = 0.0
        self._lock = threading.Lock()

    def size(self) -> int:
        """Return how many threads its workers have now; 1 where there is none yet."""
        if time.monotonic() - self._looked > _LOOK_S:
            with contextlib.suppress(OSError, TimeoutError):
                self._count = sum(self._client.nthreads().values())
            self._looked = time.monotonic()
        return max(int(self._count), 1)

    def submit(self, number: int, kept: int) -> Future[Made]:
        """Have a block computed by some worker."""
        made: Future[Made] = Future()
        key = f"block-{self._name}-{number}-{uuid.uuid4().hex[:8]}"
        promise = self._client.submit(_block, self._sent, number, kept, key=key, pure=False)
        self._watch(made, promise)
        return made

    def _watch(self, made: Future[Made], promise: Promise) -> None:
        with self._lock:
            self._promised[made] = promise
        promise.add_done_callback(lambda _: self._settle(made))

    def _settle(self, made: Future[Made]) -> None:
        """Hand on what became of a block; a worker that died is no end."""
        with self._lock:
            promise = self._promised.pop(made, None)
        if promise is None or made.cancelled():
            return
        if promise.status == "pending":  # its worker died with the answer, and another is at it
            self._watch(made, promise)
            return
        try:
            made.set_result(promise.result(timeout=ANSWER_S))
        except TerrazzoError as error:
            made.set_exception(error)
        except CancelledError:
            made.set_exception(BrokenExecutor("The scheduler is gone, or has dropped the run."))
        except Exception as error:  # noqa: BLE001 - whatever befell a worker
            made.set_result(Made(error=f"{type(error).__name__}: {error}", passing=True))

    def drop(self) -> None:
        """Take back what is not done."""
        with self._lock:
            promised = list(self._promised.values())
            self._promised.clear()
        with contextlib.suppress(Exception):  # the scheduler may be gone
            self._client.cancel(promised)


_works: dict[str, Blockwise] = {}
_opening = threading.Lock()
_MOST_WORKS = 4
"""Plans that a worker keeps: of the last runs that it worked for."""


def _block(sent: bytes, number: int, kept: int) -> Made:
    """Compute a block, in a worker."""
    return _work(sent).make(number, kept)


def _work(sent: bytes) -> Blockwise:
    digest = hashlib.sha256(sent).hexdigest()
    with _opening:
        work = _works.get(digest)
        if work is None:
            work = _opened(sent)
            while len(_works) >= _MOST_WORKS:
                del _works[next(iter(_works))]
            _works[digest] = work
    return work


def _opened(sent: bytes) -> Blockwise:
    told: tuple[Any, ...] = pickle.loads(sent)  # noqa: S301 - of the run that this worker serves
    version, _, has_database, work = told
    if version != __version__:
        raise ClusterUnusable(
            f"A worker has Terrazzo {__version__} and the run {version}: pixels may differ. "
            "Install the same version everywhere."
        )
    if not work.folder.is_dir():
        raise ClusterUnusable(
            f"A worker does not see the folder {work.folder}, into which it shall write blocks. "
            "Choose one, with -o, that all machines share."
        )
    if has_database:
        url = os.environ.get(CATALOG_VARIABLE, "")
        if not url:
            raise ClusterUnusable(
                f"The run reads a catalogue in a database, whose URL a worker takes from "
                f"{CATALOG_VARIABLE}, which is not set there. Set it where workers are started."
            )
        work = replace(work, workspace=replace(work.workspace, database=url))
    opened: Blockwise = work.opened()
    return opened
