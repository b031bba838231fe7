"""Searches while items are put: how many are answered, and how long they take."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.measure import ROOT, environment
from bench.report import Row, Table
from terrazzo.catalog import open_catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.stac.queries import Asked
    from bench.stac.servers import CatalogueServer

CLIENTS = 4
ALONE_SECONDS = 5.0
SEED = 2
"""Of the items that come in meanwhile: others than those that are there."""


@dataclass(frozen=True, slots=True)
class Answered:
    """How searches were answered for a while."""

    waits: Sequence[float]
    """Seconds of each."""
    seconds: float
    """How long it went on."""


def busy(
    server: CatalogueServer, catalogue: Path, requests: Sequence[Asked], count: int, before: int
) -> Table:
    """Ask with several clients, first alone and then while another process puts items.

    Args:
        server: of the catalogue.
        catalogue: the file.
        requests: each client asks them over and over.
        count: how many items are put.
        before: how many there are.
    """
    begun = time.monotonic()
    alone = _answered(server, requests, lambda: time.monotonic() < begun + ALONE_SECONDS)
    command = [sys.executable, "-m", "bench.stac.ours", str(catalogue), str(count), str(SEED)]
    writer = subprocess.Popen(command, cwd=ROOT, env=environment())
    during = _answered(server, requests, lambda: writer.poll() is None)
    table = Table(
        f"Searches of {CLIENTS} clients (box, 3 months, cloud < 20) while items come in",
        ("searches/s", "p50 ms", "p95 ms", "items/s put"),
    )
    for name, told, rate in (
        ("nobody writes", alone, ""),
        (f"{count:,} items are put", during, f"{count / during.seconds:,.0f}"),
    ):
        p50, p95 = (1e3 * float(np.percentile(told.waits, share)) for share in (50, 95))
        cells = (f"{len(told.waits) / told.seconds:.0f}", f"{p50:.1f}", f"{p95:.1f}", rate)
        table.rows.append(Row(name, cells))
    with open_catalog(catalogue, read_only=True) as catalog:
        there = sum(catalog.count(document["id"]) for document in catalog.collections())
    if writer.returncode or there != before + count:
        table.problems.append(
            f"{there:,} items are there after {count:,} were put to {before:,}; the writer ended "
            f"with {writer.returncode}."
        )
    return table


def _answered(
    server: CatalogueServer, requests: Sequence[Asked], go_on: Callable[[], bool]
) -> Answered:
    """Ask with several clients as long as it shall go on; what fails is raised."""
    waits: list[list[float]] = [[] for _ in range(CLIENTS)]
    failures: list[BaseException] = []

    def client(number: int) -> None:
        order = np.random.default_rng(number)
        try:
            with server.line() as line:
                while go_on() and not failures:
                    asked = requests[order.integers(len(requests))]
                    begun = time.perf_counter()
                    line.ask(asked)
                    waits[number].append(time.perf_counter() - begun)
        except BaseException as failure:  # noqa: BLE001 - raised below, in the main thread
            failures.append(failure)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return Answered([wait for several in waits for wait in several], time.perf_counter() - begun)
