"""Numbers for Prometheus: requests, pixels, kept tiles, jobs, UDF workers, memory.

One process keeps its numbers in memory. Of several, each writes them to files in a folder that
all share (`PROMETHEUS_MULTIPROC_DIR`, set by the parent), so that whichever is asked tells the
sum. Jobs are counted in the database when somebody asks, and what runs is read from its folder.
"""

import contextlib
import functools
import itertools
import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from terrazzo.drivers.places import is_remote
from terrazzo.drivers.watching.known import known_runs
from terrazzo.drivers.watching.status import State
from terrazzo.drivers.watching.watch import Look
from terrazzo.errors import TerrazzoError
from terrazzo.ledger import Database
from terrazzo.ledger.jobs import Jobs, Status
from terrazzo.ledger.looks import JobWatcher
from terrazzo.ledger.schema import job

log = logging.getLogger(__name__)

disable_created_metrics()  # type: ignore[no-untyped-call]

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
"""Upper edges of the classes of durations."""
MOST_RUNS = 20
"""Jobs and runs that have series of their own; those that were begun last."""
STATUSES = ("created", "queued", "running", "canceled", "finished", "error")
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Metrics:
    """The numbers of one server process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "terrazzo_requests", "Answered requests.", ("method", "route", "status"),
            registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "terrazzo_request_seconds", "From the head of a request to the end of its answer.",
            ("route",), buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self._received = Counter(
            "terrazzo_received_bytes", "Bytes of bodies of requests.", ("route",), registry=registry
        )
        self._sent = Counter(
            "terrazzo_sent_bytes", "Bytes of bodies of answers.", ("route",), registry=registry
        )
        self.tiles = Counter(
            "terrazzo_tiles", "Tiles by where they came from: made, kept (in memory) or joined "
            "(made for somebody else at that moment).", ("source",), registry=registry,
        )  # fmt: skip
        self.pixels = Counter(
            "terrazzo_pixels", "Pixels that were computed, for tiles or synchronous results.",
            ("kind",), registry=registry,
        )  # fmt: skip
        self.in_flight = self._gauge("terrazzo_requests_in_flight", "Requests being answered.")
        self._waiting = self._gauge("terrazzo_work_waiting", "Requests for pixels, not begun.")
        self._kept = self._gauge("terrazzo_kept_tile_bytes", "Bytes of tiles kept in memory.")
        self._udf_busy = self._gauge("terrazzo_udf_workers_busy", "UDF workers that compute.")
        self._udf_idle = self._gauge("terrazzo_udf_workers_idle", "UDF workers that wait.")
        self._resident = Gauge(
            "terrazzo_resident_bytes", "Memory of each server process.", registry=registry,
            multiprocess_mode="liveall",
        )  # fmt: skip

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(name, about, registry=self.registry, multiprocess_mode="livesum")

    def request(
        self, method: str, route: str, status: int, seconds: float, received: int, sent: int
    ) -> None:
        """Count an answered request, by the template of its route."""
        self._requests.labels(method if method in _METHODS else "other", route, status).inc()
        self._seconds.labels(route).observe(seconds)
        self._received.labels(route).inc(received)
        self._sent.labels(route).inc(sent)

    def tile(self, source: str, pixels: int) -> None:
        """Count a tile, by where it came from: `made`, `kept` or `joined`."""
        self.tiles.labels(source).inc()
        if source == "made":
            self.pixels.labels("tile").inc(pixels)

    def refresh(self, *, waiting: int, kept_bytes: int, udf_workers: tuple[int, int]) -> None:
        """Take over what is so at this moment.

        Args:
            waiting: requests for pixels that have not begun.
            kept_bytes: of the tiles that this process keeps.
            udf_workers: how many of them compute, and how many wait.
        """
        self._waiting.set(waiting)
        self._kept.set(kept_bytes)
        self._udf_busy.set(udf_workers[0])
        self._udf_idle.set(udf_workers[1])
        self._resident.set(resident_bytes())

    def text(self, jobs: Jobs, watcher: JobWatcher) -> bytes:
        """Return all numbers of all processes in Prometheus' format.

        Args:
            jobs: those that are counted.
            watcher: who looks at them.
        """
        told = CollectorRegistry()
        if FOLDER_VARIABLE in os.environ:
            MultiProcessCollector(told)  # type: ignore[no-untyped-call]
        else:
            told.register(self.registry)
        told.register(_Jobs(jobs.database))
        told.register(_Runs(jobs, watcher))
        return generate_latest(told)


class _Jobs(Collector):
    """Counts the jobs of all users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        with self._database.reading() as connection:
            rows = connection.execute(select(job.c.status, func.count()).group_by(job.c.status))
            counts = {str(status): int(count) for status, count in rows}
            oldest = connection.execute(
                select(func.min(job.c.queued)).where(job.c.status == "queued")
            ).scalar()
        jobs = GaugeMetricFamily("terrazzo_jobs", "Jobs by status.", labels=("status",))
        for status in STATUSES:
            jobs.add_metric((status,), counts.get(status, 0))
        yield jobs
        waited = (
            (datetime.now(UTC) - datetime.fromisoformat(oldest)).total_seconds() if oldest else 0
        )
        yield GaugeMetricFamily(
            "terrazzo_job_queue_seconds", "How long the first job in the queue has waited.", waited
        )


class _Runs(Collector):
    """Tells of what runs now: jobs of the server, and runs that were begun in its home."""

    def __init__(self, jobs: Jobs, watcher: JobWatcher) -> None:
        self._jobs, self._watcher = jobs, watcher

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        looks = dict(itertools.islice(self._running(), MOST_RUNS))

        # Not `job`: that is what Prometheus calls what it asks.
        def family(
            name: str, about: str, label: str, told: Callable[[Look], dict[str, float]]
        ) -> GaugeMetricFamily:
            made = GaugeMetricFamily(name, about, labels=("run", label) if label else ("run",))
            for run, look in looks.items():
                for value, number in told(look).items():
                    made.add_metric((run, value) if label else (run,), number)
            return made

        yield family("terrazzo_run_blocks", "Blocks of what runs.", "state", _blocks)
        yield family(
            "terrazzo_run_blocks_per_second", "Blocks that are made per second.", "",
            lambda look: {"": look.per_second},
        )  # fmt: skip
        yield family(
            "terrazzo_run_workers", "Processes that compute.", "state",
            lambda look: {
                "heard": len(look.alive), "silent": len(look.workers) - len(look.alive)
            },
        )  # fmt: skip
        yield family("terrazzo_run_bytes", "Bytes, by what became of them.", "kind", _bytes)
        yield family(
            "terrazzo_run_memory_bytes", "Resident memory of the process that has most.", "",
            lambda look: {"": max((one.beat.memory_bytes for one in look.alive), default=0)},
        )  # fmt: skip

    def _running(self) -> Iterator[tuple[str, Look]]:
        with contextlib.suppress(SQLAlchemyError):  # of which the readiness tells
            for known in self._jobs.everybodys(MOST_RUNS, Status.RUNNING):
                look = _told(known.id, functools.partial(self._watcher.look, known))
                if look is not None:
                    yield known.id, look
        for run in known_runs(self._jobs.folders.home)[:MOST_RUNS]:
            if is_remote(run.where):
                continue  # a bucket takes longer to answer than a scrape may
            look = _told(run.id, functools.partial(self._watcher.running, Path(run.where)))
            if look is not None and look.status.state is State.RUNNING:
                yield run.id, look


def _told(run: str, look: Callable[[], Look | None]) -> Look | None:
    """Return how a run is; None where that fails, so that the others are told all the same."""
    try:
        return look()
    except TerrazzoError:
        return None
    except Exception:  # files of runs may hold anything
        log.exception("It cannot be told how the run %s is", run)
        return None


def _blocks(look: Look) -> dict[str, float]:
    status = look.status
    left = max(status.total - status.done - status.failed, 0)
    return {"done": status.done, "failed": status.failed, "left": left}


def _bytes(look: Look) -> dict[str, float]:
    beats = [one.beat for one in look.workers]
    return {
        "decoded": sum(one.decoded_bytes for one in beats),
        "fetched": sum(one.fetched_bytes for one in beats),
        "written": sum(one.written_bytes for one in beats),
    }


def resident_bytes() -> int:
    """Return the memory of this process, where the system tells it, or 0."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
