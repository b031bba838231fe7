"""Tiles over HTTP: a server in its own process, and clients that ask one after another."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from bench.measure import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Place = tuple[int, int, int]
    """Zoom, column, row."""

_NUMBERS = itertools.count()
READY = 120
"""Seconds that a server may take to start."""


class ServerFailedError(RuntimeError):
    """The server did not start, or answered something else than a tile."""


class _Answer(NamedTuple):
    content: bytes
    location: str


class Served:
    """A server in its own process, over a workspace."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url
        """Its address."""

    def cpu(self) -> float:
        """Return the CPU seconds that it has spent so far, all threads."""
        return cpu_of(self._process.pid)

    def service(self, graph: Mapping[str, Any], configuration: Mapping[str, Any]) -> str:
        """Make a service of a graph; returns the template of its tiles' addresses."""
        body = {
            "type": "XYZ",
            "process": {"process_graph": graph},
            "configuration": {**configuration, "scope": "public"},
        }
        place = self._asked("POST", "/services", HTTPStatus.CREATED, body).location
        told = json.loads(self._asked("GET", urlsplit(place).path, HTTPStatus.OK).content)
        return str(told["url"])

    def _asked(
        self, method: str, path: str, status: HTTPStatus, body: Mapping[str, Any] | None = None
    ) -> _Answer:
        line = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=READY)
        content = json.dumps(body) if body is not None else None
        line.request(method, path, content, {"Content-Type": "application/json"})
        answer = line.getresponse()
        told = _Answer(answer.read(), answer.getheader("Location") or "")
        line.close()
        if answer.status != status:
            raise ServerFailedError(f"{answer.status}: {told.content[:500]!r}")
        return told


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process so far, all threads, to the nanosecond."""
    # How Linux numbers the clock of another process.
    return time.clock_gettime((~pid << 3) | 2)


@contextmanager
def served(
    home: Path, *, tile_cache: int = 0, catalog: str = "", cores: int = 0
) -> Iterator[Served]:
    """Run a server of a workspace while the block runs.

    Args:
        home: the workspace.
        tile_cache: bytes of encoded tiles that it keeps; 0 = every request is computed.
        catalog: URL of a catalogue in PostgreSQL; empty is a file in the workspace.
        cores: how many it may use; 0 = all.

    Raises:
        ServerFailedError: it did not start.
    """
    command = [
        sys.executable, "-m", "bench.http_load", str(home), str(tile_cache), catalog, str(cores)
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, cwd=ROOT,
        env=environment(),
    )  # fmt: skip
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("http"):
            raise ServerFailedError(f"The server ended with {process.wait()}: {line}")
        yield Served(process, line.strip())
    finally:
        process.communicate("")


def load(url_template: str, tiles: Sequence[Place], clients: int, repeats: int) -> dict[str, float]:
    """Ask for tiles with several clients at once, each over one connection.

    Args:
        url_template: address with {z}, {x} and {y}; {n} is another number in each request.
        tiles: the tiles; every client asks for all of them, each time in an order of its own.
        clients: how many ask at once, each for one tile at a time.
        repeats: how often each asks for all.

    Returns:
        `p50_ms` and `p95_ms` of the time from asking until the last byte, `tiles_per_second`,
        and `bytes` of a tile on average.

    Raises:
        ServerFailedError: an answer was no tile.
    """
    told: list[list[tuple[float, int]]] = [[] for _ in range(clients)]
    failures: list[str] = []
    start = threading.Barrier(clients + 1)

    def client(number: int) -> None:
        line = http.client.HTTPConnection(urlsplit(url_template).netloc, timeout=READY)
        line.connect()
        order = np.random.default_rng(number)
        start.wait()
        try:
            for _ in range(repeats):
                for place in order.permutation(len(tiles)):
                    told[number].append(_ask(line, url_template, tiles[place]))
        except (OSError, http.client.HTTPException, ServerFailedError) as error:
            failures.append(repr(error))
        finally:
            line.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    start.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    if failures:
        raise ServerFailedError("; ".join(failures))
    waits = [wait for answers in told for wait, _ in answers]
    return {
        "p50_ms": 1e3 * statistics.median(waits),
        "p95_ms": 1e3 * float(np.percentile(waits, 95)),
        "tiles_per_second": len(waits) / took,
        "bytes": statistics.fmean(size for answers in told for _, size in answers),
    }


def _ask(line: http.client.HTTPConnection, template: str, place: Place) -> tuple[float, int]:
    z, x, y = place
    address = urlsplit(template.format(z=z, x=x, y=y, n=next(_NUMBERS)))
    begun = time.perf_counter()
    line.request("GET", f"{address.path}?{address.query}" if address.query else address.path)
    answer = line.getresponse()
    content = answer.read()
    took = time.perf_counter() - begun
    if answer.status != HTTPStatus.OK:
        raise ServerFailedError(f"{answer.status}: {content[:200]!r}")
    return took, len(content)


def main(home: str, tile_cache: str, catalog: str = "", cores: str = "0") -> None:
    """Serve a workspace until the standard input ends; its log is written, and read by nobody."""
    if int(cores):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    from terrazzo.drivers.job import Workspace  # noqa: PLC0415 - only the server needs it
    from terrazzo.server.running.listen import serving  # noqa: PLC0415 - as above
    from terrazzo.server.settings import ServerSettings  # noqa: PLC0415 - as above
    from terrazzo.server.web.log import set_up_log  # noqa: PLC0415 - as above

    settings = ServerSettings(kept_bytes=int(tile_cache), job_workers=0)
    with (
        Path(os.devnull).open("w") as nowhere,
        serving(Workspace.of(Path(home), catalog=catalog), settings=settings) as url,
    ):
        set_up_log("json", nowhere)
        sys.stdout.write(url + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
