"""Ingestion: items per CPU-second of everybody who works on it, client and server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measure import ROOT, environment
from bench.report import Row, Table, figure
from bench.stac.items import read_lines
from bench.stac.queries import Asked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.stac.servers import CatalogueServer, Pgstac

OURS, THEIRS = "`put_items`, Terrazzo", "`pypgstac load`"
ONE_BY_ONE, AT_ONCE = "posted one by one", "posted as a feature collection"


@dataclass(frozen=True, slots=True)
class Ingested:
    """How items were put somewhere."""

    name: str
    """Who put them, as in the table."""
    items: int
    """How many."""
    cpu: float
    """Seconds of client and server."""
    wall: float
    """Seconds."""
    megabytes: float = 0.0
    """What they take on disk; 0 where they are deleted again."""

    @property
    def rate(self) -> float:
        """Items per CPU-second."""
        return self.items / self.cpu


def loaded_by_peer(database: Pgstac, lines: Path, count: int) -> Ingested:
    """Load a file of items with `pypgstac`."""
    before, begun = database.cpu(), time.perf_counter()
    cpu = _program(
        "-m", "pypgstac.pypgstac", "load", "items", str(lines), "--dsn", database.address
    )
    wall, cpu = time.perf_counter() - begun, cpu + database.cpu() - before
    database.tidy()
    return Ingested(THEIRS, count, cpu, wall, database.bytes() / 1e6)


def put_by_us(
    address: str, lines: Path, count: int, name: str = OURS, database: Pgstac | None = None
) -> Ingested:
    """Put a file of items into a catalogue.

    Args:
        address: of the catalogue.
        lines: the file.
        count: how many it has.
        name: as in the table.
        database: behind the catalogue; None where it is a file.
    """
    before, begun = database.cpu() if database else 0.0, time.perf_counter()
    cpu = _program("-m", "bench.stac.ours", address, str(lines))
    wall = time.perf_counter() - begun
    if database:
        cpu += database.cpu() - before
        database.tidy()
        return Ingested(name, count, cpu, wall, database.bytes() / 1e6)
    # Beside the file lies its log.
    size = sum(path.stat().st_size for path in Path(address).parent.glob("*.sqlite*"))
    return Ingested(name, count, cpu, wall, size / 1e6)


def _program(*arguments: str) -> float:
    """Run Python; returns the CPU seconds that it took, from its start to its end."""
    command = [sys.executable, "-W", "ignore", *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{arguments[:2]}: {said[-2000:].decode(errors='replace')}")
    return usage.ru_utime + usage.ru_stime


def posted(
    server: CatalogueServer, lines: Path, singles: int, many: int
) -> tuple[Ingested, Ingested]:
    """Post items one by one, and then many at once, under new ids.

    The time is that of the server alone: what a client takes to post is the same for all.
    """
    items = list(islice(read_lines(lines), singles + many))
    for item in items:
        item["id"] += "_" + "".join(filter(str.isalnum, server.name))
    place = f"/collections/{items[0]['collection']}/items"
    for item in items:
        item["collection"] = items[0]["collection"]
    one_by_one = [Asked(place, json.dumps(item)) for item in items[:singles]]
    collection = {"type": "FeatureCollection", "features": items[singles:]}
    at_once = [Asked(place, json.dumps(collection))]
    return (
        _posted(server, ONE_BY_ONE, one_by_one, singles),
        _posted(server, AT_ONCE, at_once, many),
    )


def _posted(server: CatalogueServer, way: str, requests: Sequence[Asked], count: int) -> Ingested:
    with server.line() as line:
        before, begun = server.cpu(), time.perf_counter()
        for one in requests:
            line.ask(one)
        wall = time.perf_counter() - begun
    return Ingested(f"{way}, {server.name}", count, server.cpu() - before, wall)


def table(pairs: Sequence[tuple[Sequence[Ingested], Ingested | None]]) -> Table:
    """Return the table: what we did beside the peer that did the same, if there is one."""
    told = Table("Ingestion", ("items per CPU-s", "items per s", "/ peer", "MB on disk"))
    for ours, peer in pairs:
        for one in (*ours, *filter(None, [peer])):
            times = one.rate / peer.rate if peer is not None and one is not peer else None
            cells = (
                f"{one.rate:,.0f}",
                f"{one.items / one.wall:,.0f}",
                "" if times is None else figure(times),
                figure(one.megabytes) if one.megabytes else "",
            )
            ratio = None if times is None else 1 / times
            told.rows.append(Row(f"{one.items:,} items, {one.name}", cells, ratio))
    return told
