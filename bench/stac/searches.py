"""Searches over HTTP: the same requests to each server in turn, CPU time of all its processes."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from bench.report import Row, Table, ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.stac.queries import Asked
    from bench.stac.servers import CatalogueServer, Line


@dataclass
class Took:
    """How one server answered the requests of one kind."""

    cpus: list[float] = field(default_factory=list)
    """CPU seconds per request, by run."""
    walls: list[float] = field(default_factory=list)
    """Wall seconds of each request."""
    found: list[list[str]] = field(default_factory=list)
    """Ids of the items of each answer."""

    @property
    def cpu(self) -> float:
        """Median over the runs."""
        return median(self.cpus)

    @property
    def wall(self) -> float:
        """Median over the requests."""
        return median(self.walls)


Answers = dict[tuple[str, str], Took]
"""By kind of request and name of the server."""


def asked_in_turn(
    servers: Sequence[CatalogueServer],
    requests: Mapping[str, Sequence[Asked]],
    runs: int,
    say: Callable[[str], None],
) -> Answers:
    """Ask all servers, kind by kind, once to warm up and to compare and then `runs` times.

    Raises:
        CatalogueFailedError: an answer was an error.
    """
    answers: Answers = {}
    for kind, several in requests.items():
        for turn in range(runs + 1):
            for server in servers:
                took = answers.setdefault((kind, server.name), Took())
                with server.line() as line:
                    if turn == 0:
                        took.found = [_ids(line.ask(one)) for one in several]
                    else:
                        _timed(server, line, several, took)
        for server in servers:
            say(f"{kind}, {server.name}: {1e3 * answers[kind, server.name].cpu:.2f} ms CPU")
    return answers


def _timed(server: CatalogueServer, line: Line, several: Sequence[Asked], took: Took) -> None:
    before = server.cpu()
    for one in several:
        begun = time.perf_counter()
        line.ask(one)
        took.walls.append(time.perf_counter() - begun)
    took.cpus.append((server.cpu() - before) / len(several))


def _ids(content: bytes) -> list[str]:
    told = json.loads(content)
    return [str(one["id"]) for one in told.get("features", [told])]


def compared(
    answers: Answers, kinds: Sequence[str], ours: Sequence[str], peers: Sequence[str]
) -> Table:
    """Return the table of all kinds; who finds other items than the first peer is a problem."""
    columns = ("CPU ms", "wall ms", "best peer CPU ms", "CPU / best peer", "items", "agrees")
    table = Table("Searches over HTTP, per request", columns)
    for kind in kinds:
        best = min((answers[kind, peer].cpu for peer in peers), default=None)
        right = answers[kind, (*peers, *ours)[0]].found
        for name in (*ours, *peers):
            took = answers[kind, name]
            same = took.found == right
            if not same:
                table.problems.append(f"{kind}: {name} {_difference(took.found, right)}.")
            ratio = took.cpu / best if best is not None and name in ours else None
            cells = (
                ms(took.cpu),
                ms(took.wall),
                ms(best) if best is not None and name in ours else "",
                f"{ratio:.3f}" if ratio is not None else "",
                str(sum(map(len, took.found))),
                "yes" if same else "no",
            )
            table.rows.append(Row(f"{kind}, {name}", cells, ratio))
    return table


def _difference(found: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> str:
    number = next(n for n, (a, b) in enumerate(zip(found, right, strict=True)) if a != b)
    one, other = found[number], right[number]
    return (
        f"finds {len(one)} items for request {number}, {one[:3]}..., where pgSTAC finds "
        f"{len(other)}, {other[:3]}..."
    )
