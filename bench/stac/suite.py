"""`python -m bench catalogue`: our catalogue beside pgSTAC, pypgstac and stac-fastapi-pgstac."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench import plots
from bench.report import Picture, Section, Target
from bench.stac import ingest, large
from bench.stac.busy import busy
from bench.stac.items import BANDS, COLLECTIONS, write_lines
from bench.stac.queries import BOX, NEWEST, PAGE, POLYGON, asked
from bench.stac.searches import asked_in_turn, compared
from bench.stac.servers import OURS, OURS_THERE, SHARED, pgstac, stac_fastapi, terrazzo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.dataset import Dataset
    from bench.options import Options
    from bench.stac.ingest import Ingested
    from bench.stac.searches import Answers
    from bench.stac.servers import CatalogueServer, Pgstac

ITEMS, MANY = 100_000, 1_000_000
QUICK_ITEMS, QUICK_MANY = 2000, 5000
SEED = 1
REQUESTS, PAGES = 30, 5
"""Searches of each kind, and pages of 500, in a run."""
RUNS = 3
"""At most: a run of the peers takes seconds."""
LIMITS: Mapping[str, float] = {BOX: 0.5, POLYGON: 0.5, NEWEST: 0.1, PAGE: 0.1}
"""CPU time by the best peer's, at most."""
INGEST_TIMES, LARGE_MS = 2.0, 3.0


def run(data: Dataset, options: Options) -> Section:
    """Ingest, search, search a million, search while items come in."""
    count = QUICK_ITEMS if options.quick else ITEMS
    lines = write_lines(data.home.parent / "stac", count, SEED)
    section = _section(count, lines)
    with ExitStack() as stack:
        # Not the data's folder: a log of writes is measured with the file.
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="terrazzo-bench-")))
        catalogue = home / "catalog.sqlite"
        database = stack.enter_context(pgstac()) if _has_postgresql() else None
        ours = ingest.put_by_us(str(catalogue), lines, count)
        theirs = ingest.loaded_by_peer(database, lines, count) if database else None
        servers = [stack.enter_context(terrazzo(home))]
        if database is not None:
            servers += _on_pgstac(stack, database, home / "pgstac", options)
        requests = asked(6 if options.quick else REQUESTS, count, SEED)
        requests[PAGE] = requests[PAGE][: 1 if options.quick else PAGES]
        answers = asked_in_turn(servers, requests, min(options.runs, RUNS), options.say)
        peers = [one.name for one in servers if one.name not in {OURS, OURS_THERE}]
        mine = [one.name for one in servers if one.name not in peers]
        section.tables.append(compared(answers, [*requests], mine, peers))
        writing = [one for one in servers if one.name in {*mine, *peers[:1]}]
        singles = 10 if options.quick else 100
        posted = {one.name: ingest.posted(one, lines, singles, 1000) for one in writing}
        section.tables.append(_ingestion(ours, theirs, posted, peers))
        more = QUICK_ITEMS if options.quick else ITEMS
        there = count + sum(one.items for one in posted[OURS])
        section.tables.append(busy(servers[0], catalogue, requests[BOX], more, there))
    table, took = large.measured(lines.parent, QUICK_MANY if options.quick else MANY, options)
    section.tables.append(table)
    _hold(section, answers, peers, (ours, theirs))
    name = f"{table.title}, 90 days, all documents: CPU ms"
    section.targets.append(Target.at_most(name, LARGE_MS, 1e3 * took))
    _draw(section, answers, peers, options)
    return section


def _on_pgstac(
    stack: ExitStack, database: Pgstac, home: Path, options: Options
) -> list[CatalogueServer]:
    """Start the servers over pgSTAC: ours, the peer as it is, and as it is fastest."""
    home.mkdir()
    return [
        stack.enter_context(terrazzo(home, database)),
        *(
            stack.enter_context(stac_fastapi(database, hydrate=hydrate))
            for hydrate in ((True,) if options.quick else (False, True))
        ),
    ]


def _has_postgresql() -> bool:
    """Tell whether a database can be started here."""
    return SHARED in os.environ and any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def _section(count: int, lines: Path) -> Section:
    size = lines.stat().st_size / count / 1e3
    compared = (
        f"{count:,} items of {size:.1f} kB with {len(BANDS)} assets each, in "
        f"{len(COLLECTIONS)} collections, made by `bench/stac/items.py`, over five years and most "
        "of the world. *Searches*: the same random requests to each server in turn, over one "
        "connection; each server is one worker, and its CPU time that of all its processes, those "
        "of PostgreSQL among them. An answer must have the same items in the same order from all. "
        f"*{OURS_THERE}* is our server over the peer's database. "
        "*USE_API_HYDRATE* is the setting in which the peer takes less time; `eo:cloud_cover` is "
        "registered there with its type and an index, the collections have no `item_assets` "
        "(which make it slower), tables are analysed and autovacuum is off. *Ingestion*: a file "
        "of JSON lines, CPU time of client and server together from the start of the program to "
        "its end; *posted* is the CPU time of the server alone. PostgreSQL writes without fsync."
    )
    apart = (
        "stac-fastapi-geoparquet, rustac and others that give no links to further pages; pgSTAC "
        "over a network."
    )
    if not _has_postgresql():
        apart += f" PostgreSQL is not here ({SHARED} is not set), so no peer was measured."
    return Section("catalogue", "Catalogue", compared, apart)


def _ingestion(
    ours: Ingested,
    theirs: Ingested | None,
    posted: Mapping[str, tuple[Ingested, Ingested]],
    peers: list[str],
) -> ingest.Table:
    pairs: list[tuple[list[Ingested], Ingested | None]] = [([ours], theirs)]
    for way in (0, 1):
        mine = [several[way] for name, several in posted.items() if name not in peers]
        pairs.append((mine, posted[peers[0]][way] if peers else None))
    return ingest.table(pairs)


def _hold(
    section: Section,
    answers: Answers,
    peers: list[str],
    put: tuple[Ingested, Ingested | None],
) -> None:
    """Hold what was measured to the targets that need a peer."""
    ours, theirs = put
    if theirs is None:
        return
    for kind, limit in LIMITS.items():
        best = min(answers[kind, peer].cpu for peer in peers)
        text = f"{kind}: CPU time / best peer"
        section.targets.append(Target.at_most(text, limit, answers[kind, OURS].cpu / best))
    text = "Items ingested per CPU-second / pypgstac"
    section.targets.append(Target.at_least(text, INGEST_TIMES, ours.rate / theirs.rate))


def _draw(section: Section, answers: Answers, peers: list[str], options: Options) -> None:
    if not peers:
        return
    times = {
        kind: min(answers[kind, peer].cpu for peer in peers) / answers[kind, name].cpu
        for kind, name in answers
        if name == OURS
    }
    labels = ("CPU time of the best peer / ours", "Searches: times less CPU time than pgSTAC")
    path = options.images / "bench-catalogue.svg"
    plots.ratios(path, times, labels)
    section.pictures.append(Picture(f"{options.images.name}/{path.name}", labels[1]))
