"""Many clients at once for a while: every answer is right, and memory stays what it was.

`TERRAZZO_LOAD_SECONDS=60 pytest tests/server/test_load.py -s` prints the numbers.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from tests.server.program import PATIENCE, Program, serve
from tests.server.small import COLLECTION, EDGE, LEFT, PIXEL, TOP, graph, make_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("TERRAZZO_LOAD_SECONDS", "0"))
"""How long they ask at least."""
ANSWERS = 6
"""How many answers each client gets before memory is looked at, when kernels are loaded and every
thread has had its buffers, and how many before it is looked at again."""
CLIENTS = 32
ZOOM = 16
GROWTH, MORE = 1.15, 40_000_000
"""How much more memory than after warming up there may be: a factor, and bytes."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    home = tmp_path_factory.mktemp("load")
    make_home(home)
    # A cache that holds a few tiles, so that most are computed.
    with serve(home, "--tile-cache", "1", "--job-workers", "0", "--log", "json") as found:
        drain(found)
        yield found


def drain(program: Program) -> None:
    """Read the log as it comes, or the server would wait for its reader."""
    stream = program.process.stderr
    assert stream is not None
    os.set_blocking(stream.fileno(), True)
    threading.Thread(target=lambda: all(iter(stream.readline, "")), daemon=True).start()


class Client(threading.Thread):
    """Asks over one connection, again and again, until it is told to stop."""

    def __init__(
        self, program: Program, ask: Callable[[Any, Any], tuple[int, int]], seed: int
    ) -> None:
        super().__init__(daemon=True)
        self.waits: list[float] = []
        self.wrong: list[str] = []
        self.stopped = False
        self._line, self._ask = program.line(), ask
        self._random = np.random.default_rng(seed)

    def run(self) -> None:
        while not self.stopped:
            begun = time.perf_counter()
            try:
                status, size = self._ask(self._line, self._random)
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(repr(error))
                return
            self.waits.append(time.perf_counter() - begun)
            if status != 200 or size == 0:
                self.wrong.append(f"{status}, {size} bytes")
        self._line.close()


def tiles_of(template: str) -> Callable[[Any, Any], tuple[int, int]]:
    path = urlsplit(template).path
    places = inside(ZOOM)

    def ask(line: http.client.HTTPConnection, random: np.random.Generator) -> tuple[int, int]:
        x, y = places[random.integers(len(places))]
        # Another range of colours each time: a picture that nobody has made yet.
        address = path.format(z=ZOOM, x=x, y=y) + f"?max={random.uniform(0.5, 1):.6f}"
        line.request("GET", address)
        answer = line.getresponse()
        return answer.status, len(answer.read())

    return ask


def inside(zoom: int) -> list[tuple[int, int]]:
    """Return the tiles that lie wholly inside the images."""
    from pyproj import Transformer  # noqa: PLC0415 - only here

    to_mercator = Transformer.from_crs("EPSG:32634", "EPSG:3857", always_xy=True)
    span = EDGE * PIXEL
    xs, ys = to_mercator.transform([LEFT, LEFT + span], [TOP - span, TOP])
    half, size = 20_037_508.342789244, 2 * 20_037_508.342789244 / 2**zoom
    columns = range(int((xs[0] + half) // size) + 1, int((xs[1] + half) // size))
    rows = range(int((half - ys[1]) // size) + 1, int((half - ys[0]) // size))
    return [(column, row) for column in columns for row in rows]


def result(line: http.client.HTTPConnection, random: np.random.Generator) -> tuple[int, int]:
    """Ask for a piece of NDVI as GeoTIFF."""
    west, north = LEFT + PIXEL * random.integers(40, 200), TOP - PIXEL * random.integers(40, 200)
    extent = {"west": west, "south": north - 500, "east": west + 500, "north": north}
    asked: dict[str, Any] = graph(save=True)
    asked["process_graph"]["load"]["arguments"]["spatial_extent"] = extent | {"crs": 32634}
    asked["process_graph"]["load"]["arguments"]["temporal_extent"] = ["2018-05-01", "2018-05-02"]
    body = json.dumps({"process": asked})
    line.request("POST", "/result", body, {"Content-Type": "application/json"})
    answer = line.getresponse()
    content = answer.read()
    return (answer.status if content[:2] in {b"II", b"MM"} else 599), len(content)


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def answered(clients: list[Client], count: int) -> None:
    """Wait until each client has had so many answers."""
    end = time.monotonic() + PATIENCE
    while min(len(client.waits) for client in clients) < count:
        assert [problem for client in clients for problem in client.wrong] == []
        assert time.monotonic() < end
        time.sleep(0.1)


def test_many_clients_at_once_get_answers_and_memory_stays(program: Program) -> None:
    shown = {"min": 0.0, "max": 1.0, "scope": "public"}
    line = program.line()
    body = json.dumps({"type": "XYZ", "process": graph(), "configuration": shown})
    line.request("POST", "/services", body, {"Content-Type": "application/json"})
    answer = line.getresponse()
    answer.read()
    line.close()
    template = program.json(urlsplit(answer.headers["Location"]).path)["url"]
    asks = [tiles_of(template) if number % 4 else result for number in range(CLIENTS)]
    clients = [Client(program, ask, number) for number, ask in enumerate(asks)]

    for client in clients:
        client.start()
    answered(clients, ANSWERS)
    before = resident(program.process.pid)
    begun = time.monotonic()
    time.sleep(SECONDS)
    answered(clients, 2 * ANSWERS)
    after = resident(program.process.pid)
    for client in clients:
        client.stopped = True
    for client in clients:
        client.join(PATIENCE)
    took = time.monotonic() - begun

    for name, group in (("tiles", clients[1::4] + clients[2::4] + clients[3::4]),
                        ("results", clients[::4])):  # fmt: skip
        waits = np.array([wait for client in group for wait in client.waits])
        p50, p95 = np.percentile(waits, [50, 95]) * 1e3
        print(f"{name}: {waits.size} requests, p50 {p50:.0f} ms, p95 {p95:.0f} ms")  # noqa: T201
    print(f"{took:.0f} s, RSS {before / 1e6:.0f} MB -> {after / 1e6:.0f} MB, {COLLECTION}")  # noqa: T201
    assert [problem for client in clients for problem in client.wrong] == []
    assert after <= before * GROWTH + MORE
    assert program.process.poll() is None
