"""A continent in a simulation: 23 116 tiles x 84 quarters, on a hundred to ten thousand workers.

Nobody here has ten thousand cores, so what a block costs is measured (or read from a file) and what
becomes of two million of them is simulated, event by event, with the rules by which our executors
hand out blocks: `python -m bench.simulate_continent` writes docs/continent.md.

Two ways are simulated. *Dask*: one process hands out every block, a few ahead of each worker, and
hears of it. *Slurm*: each task takes its share of the blocks from the folder and then helps others;
nobody hands out anything. Time is simulated and chance comes from a seed: the same command gives
the same numbers.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from terrazzo.drivers.block_jobs import LOOK_S
from terrazzo.drivers.executors.rounds import (
    ATTEMPTS,
    LONGEST_PAUSE_S,
    PAUSE_S,
    SLOW,
    SLOW_S,
    WAITING_PER_WORKER,
)
from terrazzo.drivers.shares import Share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TILES, QUARTERS = 23_116, 84
WORKERS = (100, 1_000, 10_000)


@dataclass(frozen=True)
class Costs:
    """What things take, seconds; measured, as far as one machine can tell."""

    block_s: tuple[float, ...] = (9.0, 10.0, 10.5, 11.0, 12.0, 14.0)
    """Of blocks, as they were measured; each simulated block takes one of them."""
    start_s: float = 8.0
    """Of a worker: to load its libraries and make the plan."""
    handed_s: float = 0.002
    """Of the process that hands out blocks, for one block, by Dask."""


@dataclass(frozen=True)
class Chance:
    """What goes wrong."""

    failing: float = 0.001
    """Attempts that fail by something that passes."""
    dying_per_hour: float = 0.001
    """Workers that die in an hour, of those that work."""
    slow: float = 0.002
    """Attempts that take `slower` times as long."""
    slower: float = 10.0
    back_s: float = 60.0
    """After which somebody else is there for a worker that died."""
    starts_per_s: float = 20.0
    """Workers that the batch system starts in a second."""


@dataclass
class Outcome:
    """What came of a simulated run."""

    way: str
    workers: int
    blocks: int
    makespan_s: float = 0.0
    """Until the last block was there."""
    worked_s: float = 0.0
    """That workers computed, all together."""
    made: int = 0
    """Blocks that were there in the end."""
    aside: int = 0
    """Blocks that were set aside."""
    attempts: int = 0
    twice: int = 0
    """Blocks that somebody else had made already."""
    failures: int = 0
    deaths: int = 0
    requests: int = 0
    """That the scheduler served: blocks handed out, and heard of."""
    busy_s: float = 0.0
    """That the scheduler was at it."""
    most_per_s: float = 0.0
    """Requests in the busiest second."""
    looks: int = 0
    """Of workers, at the folder, to see what is missing."""

    @property
    def efficiency(self) -> float:
        """Time that was needed, by that which workers were there for."""
        return self.needed_s / (self.makespan_s * self.workers) if self.makespan_s else 1.0

    needed_s: float = 0.0
    """Of all blocks, each made once and undisturbed."""


@dataclass
class _World:
    """What both ways have in common: costs by chance, events, and the account."""

    count: int
    workers: int
    costs: Costs
    chance: Chance
    seed: int
    way: str
    events: list[tuple[float, int, str, int, int]] = field(default_factory=list)
    _order: int = 0

    def __post_init__(self) -> None:
        """Draw what every block costs, which is the same whoever makes it."""
        rng = np.random.default_rng(self.seed)
        table = np.array(self.costs.block_s)
        self.needed: NDArray[np.float64] = table[rng.integers(0, len(table), self.count)]
        self.random = random.Random(self.seed)
        self.there = np.zeros(self.count, np.bool_)
        self.aside = np.zeros(self.count, np.bool_)
        self.tried: dict[int, int] = {}
        self.out = Outcome(self.way, self.workers, self.count, needed_s=float(self.needed.sum()))
        self.left = self.count

    def at(self, moment: float, kind: str, who: int, block: int = -1) -> None:
        """Have something happen; of what happens at once, what was said first comes first."""
        self._order += 1
        heapq.heappush(self.events, (moment, self._order, kind, who, block))

    def begin(self, now: float, who: int, block: int) -> None:
        """Let a worker begin a block, and draw how that ends."""
        took, drawn, chance = float(self.needed[block]), self.random.random, self.chance
        self.out.attempts += 1
        if drawn() < chance.slow:
            took *= chance.slower
        kind = "made"
        if drawn() < chance.failing:
            kind, took = "failed", took * drawn()
        if drawn() < -math.expm1(-chance.dying_per_hour * took / 3600):
            kind, took = "died", took * drawn()
        self.out.worked_s += took
        self.at(now + took, kind, who, block)

    def ended(self, now: float, kind: str, block: int) -> str:
        """Take down what became of an attempt; return made, again, aside or known."""
        self.out.failures += kind == "failed"
        self.out.deaths += kind == "died"
        if self.there[block] or self.aside[block]:
            self.out.twice += kind == "made"
            return "known"
        if kind == "made":
            self.there[block] = True
            self._one_less(now)
            return "made"
        tried = self.tried[block] = self.tried.get(block, 0) + 1
        if tried < ATTEMPTS:
            return "again"
        self.aside[block] = True
        self._one_less(now)
        return "aside"

    def _one_less(self, now: float) -> None:
        self.left -= 1
        self.out.makespan_s = now

    def pause(self, block: int) -> float:
        """Return how long a block waits for its next attempt."""
        return min(PAUSE_S * 2 ** (self.tried[block] - 1), LONGEST_PAUSE_S)

    def over(self) -> Outcome:
        """Return the account."""
        self.out.made, self.out.aside = int(self.there.sum()), int(self.aside.sum())
        return self.out


class _Dask(_World):
    """One process hands out every block; each worker has a few."""

    def run(self) -> Outcome:
        """Simulate it."""
        self.queues: list[deque[int]] = [deque() for _ in range(self.workers)]
        self.coming = [0] * self.workers
        self.at_work = [-1] * self.workers
        self.alive = [False] * self.workers
        self.begun: dict[int, float] = {}
        self.again: deque[int] = deque()
        self.reissued: set[int] = set()
        self.slow: list[int] = []
        self.next, self.free_at, self.looked = 0, 0.0, -math.inf
        self.limit = max(SLOW * float(np.median(self.needed)), SLOW_S) if self.count else 0.0
        self.seconds: Counter[int] = Counter()
        for who in range(self.workers):
            self.at(who / self.chance.starts_per_s + self.costs.start_s, "came", who)
        while self.left and self.events:
            now, _, kind, who, block = heapq.heappop(self.events)
            if kind in {"made", "failed", "died"}:
                self._ended(now, kind, who, block)
            else:
                getattr(self, f"_{kind}")(now, who, block)
        self.out.most_per_s = float(max(self.seconds.values(), default=0))
        return self.over()

    def _serve(self, now: float) -> float:
        """Let the scheduler serve a request after those before it; return when it has."""
        self.free_at = max(now, self.free_at) + self.costs.handed_s / 2
        self.out.requests += 1
        self.out.busy_s += self.costs.handed_s / 2
        self.seconds[int(self.free_at)] += 1
        return self.free_at

    def _hand_out(self, now: float, who: int) -> None:
        """Fill the places of a worker; those that wait for another try come first."""
        waiting = len(self.queues[who]) + self.coming[who] + (self.at_work[who] >= 0)
        while waiting < WAITING_PER_WORKER:
            block = self._following(now, idle=not waiting)
            if block < 0:
                break
            self.coming[who] += 1
            self.begun[block] = now
            self.at(self._serve(now), "arrived", who, block)
            waiting += 1
        if not waiting:
            self.at(now + LOOK_S, "idle", who)

    def _following(self, now: float, *, idle: bool) -> int:
        if self.again:
            return self.again.popleft()
        if self.next < self.count:
            self.next += 1
            return self.next - 1
        return self._slowest(now) if idle else -1

    def _slowest(self, now: float) -> int:
        """Return a block that takes very long, for somebody who is idle; -1 if none does."""
        if now - self.looked >= LOOK_S:
            self.looked = now
            self.slow = [
                block
                for block, begun in self.begun.items()
                if now - begun > self.limit and block not in self.reissued
            ]
        if not self.slow:
            return -1
        self.reissued.add(self.slow[-1])
        return self.slow.pop()

    def _came(self, now: float, who: int, _: int) -> None:
        self.alive[who] = True
        self._hand_out(now, who)

    def _arrived(self, now: float, who: int, block: int) -> None:
        self.coming[who] -= 1
        if not self.alive[who]:
            self.again.append(block)  # the scheduler gives it to somebody else
            return
        self.queues[who].append(block)
        self._go_on(now, who)

    def _go_on(self, now: float, who: int) -> None:
        if self.at_work[who] < 0 and self.queues[who]:
            self.at_work[who] = self.queues[who].popleft()
            self.begin(now, who, self.at_work[who])

    def _ended(self, now: float, kind: str, who: int, block: int) -> None:
        self.at_work[who] = -1
        heard = self._serve(now)
        became = self.ended(heard, kind, block)
        if became == "again":
            self.at(heard + self.pause(block), "retried", who, block)
        else:
            self.begun.pop(block, None)
        if kind == "died":
            self.alive[who] = False
            self.again.extend(self.queues[who])
            self.queues[who].clear()
            self.at(now + self.chance.back_s + self.costs.start_s, "came", who)
            return
        self._go_on(now, who)
        self._hand_out(heard, who)

    def _retried(self, now: float, who: int, block: int) -> None:
        self.again.append(block)
        if self.alive[who]:
            self._hand_out(now, who)

    def _idle(self, now: float, who: int, _: int) -> None:
        if self.alive[who] and not (self.queues[who] or self.coming[who] or self.at_work[who] >= 0):
            self._hand_out(now, who)


class _Slurm(_World):
    """Every task takes its share, then helps where blocks are missing."""

    def run(self) -> Outcome:
        """Simulate it."""
        shares = [Share(number, self.workers) for number in range(self.workers)]
        self.ours = [share.numbers(self.count) for share in shares]
        self.starts = [share.start for share in shares]
        self.place = [part.start for part in self.ours]
        self.later: list[deque[tuple[float, int]]] = [deque() for _ in range(self.workers)]
        self.seen, self.looked = np.arange(0), -math.inf
        for who in range(self.workers):
            self.at(who / self.chance.starts_per_s + self.costs.start_s, "came", who)
        while self.left and self.events:
            now, _, kind, who, block = heapq.heappop(self.events)
            if kind == "came":
                self._go_on(now, who)
            else:
                self._ended(now, kind, who, block)
        return self.over()

    def _ended(self, now: float, kind: str, who: int, block: int) -> None:
        became = self.ended(now, kind, block)
        if kind == "died":  # whoever comes for it begins where the folder says
            self.place[who] = self.ours[who].start
            self.later[who].clear()
            self.at(now + self.chance.back_s + self.costs.start_s, "came", who)
            return
        if became == "again":
            self.later[who].append((now + self.pause(block), block))
        self._go_on(now, who)

    def _go_on(self, now: float, who: int) -> None:
        block = self._following(now, who)
        if block >= 0:
            self.begin(now, who, block)
        elif self.left:
            self.at(now + LOOK_S, "came", who)

    def _is_missing(self, block: int) -> bool:
        return not (self.there[block] or self.aside[block])

    def _following(self, now: float, who: int) -> int:
        later = self.later[who]
        while later and later[0][0] <= now:
            block = later.popleft()[1]
            if self._is_missing(block):
                return block
        while self.place[who] < self.ours[who].stop:
            self.place[who] += 1
            if self._is_missing(self.place[who] - 1):
                return self.place[who] - 1
        return self._helped(now, who)

    def _helped(self, now: float, who: int) -> int:
        """Look what is missing, which is believed for a while, and take some of it."""
        if now - self.looked >= LOOK_S:
            self.seen, self.looked = np.flatnonzero(~(self.there | self.aside))[::-1], now
        self.out.looks += 1
        waiting = {block for _, block in self.later[who]}
        first = int(len(self.seen) * self.starts[who])
        for place in range(len(self.seen)):
            block = int(self.seen[(first + place) % len(self.seen)])
            if self._is_missing(block) and block not in waiting:
                return block
        return -1


WAYS = {"Dask": _Dask, "Slurm": _Slurm}


def simulated(
    way: str, count: int, workers: int, costs: Costs, chance: Chance, *, seed: int = 1
) -> Outcome:
    """Simulate a run.

    Args:
        way: Dask or Slurm.
        count: its blocks.
        workers: that compute.
        costs: what things take.
        chance: what goes wrong.
        seed: of all chance.
    """
    return WAYS[way](count, workers, costs, chance, seed, way).run()


HOUR_S = 3600.0
ALL_QUARTERS = "a tile with all its quarters"
ONE_QUARTER = "a quarter of a tile"


@dataclass(frozen=True)
class Planned:
    """What is simulated: how much a unit of work holds, and the runs of it."""

    unit: str
    blocks: int
    costs: Costs
    outcomes: tuple[Outcome, ...]


def planned(
    costs: Costs, chance: Chance, *, tiles: int, quarters: int, workers: Sequence[int], seed: int
) -> list[Planned]:
    """Simulate both ways with a quarter of a tile as a unit, and with a whole tile."""
    whole = tuple(
        quarters * one for one in costs.block_s
    )  # as many of one kind: the worst that chance can do
    plans = []
    for unit, count, each in (
        (ONE_QUARTER, tiles * quarters, costs),
        (ALL_QUARTERS, tiles, replace(costs, block_s=whole)),
    ):
        runs = []
        for many in workers:
            for way in WAYS:
                begun = time.perf_counter()
                runs.append(simulated(way, count, many, each, chance, seed=seed))
                took = time.perf_counter() - begun
                say(f"{unit}, {way}, {many} workers: simulated in {took:.0f} s")
        plans.append(Planned(unit, count, each, tuple(runs)))
    return plans


def say(text: str) -> None:
    """Tell how it goes, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m bench.simulate_continent", description=__doc__)
    parser.add_argument("--costs", type=Path, help="JSON file of costs; without, they are measured")
    parser.add_argument("--keep", type=Path, help="write the costs that were measured here")
    parser.add_argument("--tiles", type=int, default=TILES)
    parser.add_argument("--quarters", type=int, default=QUARTERS)
    parser.add_argument("--workers", type=int, nargs="+", default=list(WORKERS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/continent.md"))
    return parser.parse_args(argv)


def read_costs(path: Path) -> Costs:
    """Read costs that were measured before."""
    told = json.loads(path.read_text())
    return Costs(tuple(told.pop("block_s")), **told)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, simulate and report."""
    from bench.continent_report import page  # noqa: PLC0415 - it takes matplotlib

    asked, chance = arguments(argv), Chance()
    if asked.costs:
        costs = read_costs(asked.costs)
    else:
        from bench.continent_costs import measured  # noqa: PLC0415 - it takes the engine

        costs = measured(say)
    if asked.keep:
        asked.keep.write_text(json.dumps(asdict(costs), indent=1))
    plans = planned(
        costs, chance, tiles=asked.tiles, quarters=asked.quarters, workers=asked.workers,
        seed=asked.seed,
    )  # fmt: skip
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(page(plans, chance, asked))
    say(f"wrote {asked.out}")


if __name__ == "__main__":
    main()
