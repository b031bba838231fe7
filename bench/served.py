"""Map tiles over HTTP: how long clients wait, beside titiler where it is installed."""

from __future__ import annotations

import http.client
import io
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import numpy as np
from PIL import Image

from bench import graphs
from bench.contestants.tiles import BLACK, EDGE, HIGHEST, LOWEST, WHITE
from bench.dataset import OFFSET, QUANTIFICATION
from bench.http_load import Served, ServerFailedError, load, served
from bench.measure import ROOT, Contestant, environment, race
from bench.report import Row, Section, Table, ms
from bench.tile import OURS, SUITES, likeness, tiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.dataset import Dataset
    from bench.http_load import Place
    from bench.options import Options

ZOOM = 12
CLIENTS = (1, 4, 16)
TITILER = ROOT / ".benchmarks" / "titiler" / "bin" / "python"
"""The interpreter of an environment with titiler.core, which is not among our requirements."""
INSTALL = (
    "`python -m venv .benchmarks/titiler`, then `.benchmarks/titiler/bin/pip install titiler.core "
    "uvicorn`"
)
GREY_LEVELS = 2
"""By how much a picture may differ, of 255: both round, each in its own way."""
ALIKE = 0.9
"""Share of pixels that must be alike, as in `bench.tile`."""


@dataclass(frozen=True)
class Endpoint:
    """A server's tiles of one kind."""

    name: str
    server: Served
    template: str
    known: bool = False
    """Whether the server may remember the pictures."""


def run(data: Dataset, options: Options) -> Section:
    """Load each server with more and more clients."""
    places = [(ZOOM, x, y) for x, y in tiles(data, ZOOM, 4 if options.quick else 16)]
    requests = 16 if options.quick else 320
    inside = _in_process(data, places, options)
    section = Section(
        "http",
        "Map tiles over HTTP",
        f"PNG tiles of {EDGE} px of zoom {ZOOM} ({len(places)} places, each client in an order of "
        f"its own), {requests} requests or some more, one server process whose cache of decoded "
        "pixels is warm. *Computed*: each request has another range of colours, so that no picture "
        "is known; *asked for before*: the server may remember the picture. *p50* and *p95* are "
        "times from the request to the last byte. *Server* is the CPU time of the server for a "
        "tile, *in process* that of the same warm tile without HTTP. The clients are threads of "
        "one process on the same machine, which share its cores with the server.",
        "titiler-openeo, and titiler's mosaics. " + _titiler_told(),
    )
    with ExitStack() as stack:
        ours = stack.enter_context(served(data.home))
        endpoints = {
            suite: _endpoints(ours, ours.service(graph, style), style)
            for suite, graph, style in (
                ("rgb", graphs.three_bands(data), _stretch(BLACK, WHITE)),
                ("median", graphs.ndvi_median(data), _stretch(LOWEST, HIGHEST, colors="viridis")),
            )
        }
        if TITILER.exists():
            theirs = stack.enter_context(titiler(TITILER))
            endpoints["rgb"].append(Endpoint("titiler", theirs, _template(theirs, data)))
        for suite, several in endpoints.items():
            section.tables.append(_table(suite, several, places, requests, inside[suite]))
    return section


def _endpoints(server: Served, template: str, style: Mapping[str, float | str]) -> list[Endpoint]:
    """Return a service's tiles as they are, and with another range of colours in each request."""
    other = f"{template}?max={style['max']}0000{{n}}"
    return [
        Endpoint("Terrazzo, computed", server, other),
        Endpoint("Terrazzo, asked for before", server, template, known=True),
    ]


def _stretch(low: float, high: float, **more: str) -> dict[str, float | str]:
    return {"min": low, "max": high, **more}


def _titiler_told() -> str:
    if TITILER.exists():
        found = subprocess.check_output(
            [
                TITILER,
                "-c",
                "from importlib.metadata import version as v; print(v('titiler.core'))",
            ],
            text=True,
        ).strip()
        return f"titiler.core {found} runs in an environment of its own; it has no median of dates."
    return f"titiler is not installed here ({INSTALL})."


@contextmanager
def titiler(python: Path) -> Iterator[Served]:
    """Run titiler while the block runs.

    Raises:
        ServerFailedError: it did not start.
    """
    script = ROOT / "bench" / "contestants" / "titiler_server.py"
    process = subprocess.Popen(
        [python, "-W", "ignore", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("http"):
            raise ServerFailedError(f"titiler ended with {process.wait()}: {line}")
        yield Served(process, line.strip())
    finally:
        process.communicate("")


def _template(server: Served, data: Dataset) -> str:
    low, high = (QUANTIFICATION * value + OFFSET for value in (BLACK, WHITE))
    query = [("url", str(data.folder(data.days[0]) / "item.json"))]
    query += [("assets", band) for band in graphs.THREE_BANDS]
    query += [("rescale", f"{low:g},{high:g}"), ("tilesize", str(EDGE))]
    return f"{server.url}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png?{urlencode(query)}"


def _in_process(data: Dataset, places: Sequence[Place], options: Options) -> dict[str, float]:
    """Return CPU seconds of a warm tile by suite."""
    chosen = {str(ZOOM): [(x, y) for _, x, y in places]}
    shared = data.parameters | {"tiles": chosen, "suites": list(SUITES), "state": "warm"}
    tasks = {suite: f"{suite} z{ZOOM}" for suite in SUITES}
    outcome = race([Contestant("in process", OURS, shared)], [*tasks.values()], options.runs)
    return {s: outcome.timings[task, "in process"].cpu / len(places) for s, task in tasks.items()}


def _table(
    suite: str, endpoints: Sequence[Endpoint], places: Sequence[Place], requests: int, inside: float
) -> Table:
    columns = ("p50 ms", "p95 ms", "tiles/s", "server CPU ms", "in process CPU ms", "agrees")
    table = Table(f"{SUITES[suite]}, over HTTP", columns)
    for endpoint in endpoints:
        load(endpoint.template, places, 1, 2)
    for clients in CLIENTS:
        repeats = -(-requests // (clients * len(places)))
        for endpoint in endpoints:
            before = endpoint.server.cpu()
            told = load(endpoint.template, places, clients, repeats)
            cpu = (endpoint.server.cpu() - before) / (clients * repeats * len(places))
            ours = "Terrazzo" in endpoint.name
            cells = (
                f"{told['p50_ms']:.1f}",
                f"{told['p95_ms']:.1f}",
                f"{told['tiles_per_second']:.0f}",
                ms(cpu),
                ms(inside) if ours and not endpoint.known else "",
                "" if ours else _checked(endpoints[0], endpoint, places, table),
            )
            name = f"{clients} client{'s' * (clients > 1)}, {endpoint.name}"
            table.rows.append(Row(name, cells))
    return table


def _checked(ours: Endpoint, theirs: Endpoint, places: Sequence[Place], table: Table) -> str:
    """Compare the pictures, where both have pixels."""
    shares = []
    for place in places:
        mine, other = (_fetched(endpoint.template, place) for endpoint in (ours, theirs))
        shares.append(likeness(mine, other, GREY_LEVELS)[1])
    share = float(np.mean(shares))
    if share < ALIKE:
        table.problems.append(f"{table.title}: only {share:.1%} of the pixels are as titiler's.")
    return f"{share:.1%}"


def _fetched(template: str, place: Place) -> np.ndarray:
    """Return the first channel of a picture, NaN where it is transparent."""
    zoom, x, y = place
    address = urlsplit(template.format(z=zoom, x=x, y=y, n=0))
    line = http.client.HTTPConnection(address.netloc)
    line.request("GET", f"{address.path}?{address.query}")
    content = line.getresponse().read()
    line.close()
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"), np.float32)
    return np.where(pixels[..., 3] > 0, pixels[..., 0], np.nan)
