"""Watching a run from outside: its folder is read, and nothing else is needed or touched."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.drivers.block_names import is_plain
from terrazzo.drivers.record import RECORD
from terrazzo.drivers.tally import RESULTS, Tally
from terrazzo.drivers.watching.pulse import Beat, age_s, beats
from terrazzo.drivers.watching.report import SILENT_S
from terrazzo.drivers.watching.status import ENDED, State, Status
from terrazzo.drivers.watching.told import DAMAGED, MOST_BLOCKS, count_of
from terrazzo.geo.blocks import Blocks
from terrazzo.geo.grid import Window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from terrazzo.drivers.depot import Depot

ORDER = "order.json"
MOST_PARTS = 100
"""Results of one graph that are looked at."""
MOST_CELLS = 64
"""Rows and columns of a map of blocks; of more blocks, several share a cell."""
DONE, FAILED, RUNNING, PARTLY, MISSING = "dfrpm"
"""What a cell of a map says of its blocks: all done, some failed, in work, some done, none."""
_MOST_PIXELS = 10**12
"""Farthest row or column that a grid has."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker of a run."""

    beat: Beat
    """What it has told last."""
    is_silent: bool
    """Whether that is long ago: it was killed, or its machine is gone."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a run is at one moment."""

    status: Status
    """The run."""
    workers: tuple[Worker, ...] = ()
    """Who computes it; of a run that has ended, who did."""

    @property
    def per_second(self) -> float:
        """Blocks that its workers compute per second."""
        if self.status.state is not State.RUNNING:
            return 0.0
        return sum(one.beat.per_second for one in self.workers if not one.is_silent)

    @property
    def left_s(self) -> float | None:
        """Seconds until the blocks are done, at this rate; None where there is none."""
        rate = self.per_second
        return (self.status.total - self.status.done - self.status.failed) / rate if rate else None

    @property
    def alive(self) -> tuple[Worker, ...]:
        """The workers that are heard."""
        return tuple(one for one in self.workers if not one.is_silent)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        told = asdict(self.status)
        del told["team"]
        left = self.left_s
        workers = [
            {**asdict(one.beat), "silent": one.is_silent, "running": len(one.beat.running)}
            for one in self.workers
        ]
        return {
            **told,
            "per_second": round(self.per_second, 4),
            "left_s": None if left is None else round(left, 1),
            "workers": workers,
        }


@dataclass(frozen=True, slots=True)
class BlockMap:
    """Which blocks of one result are done, as a small picture."""

    place: str
    """Folder of the result in that of the run; empty where it is the same."""
    rows: int
    """Of cells."""
    columns: int
    """Of cells."""
    blocks: tuple[int, int]
    """Rows and columns of blocks."""
    cells: str
    """A letter for each cell, row by row; see `DONE`."""
    counts: Mapping[str, int]
    """Blocks: `done`, `failed`, `running`, `missing`."""


class Watcher:
    """Looks at a run again and again; what is known to be done is not looked for twice."""

    def __init__(self, depot: Depot) -> None:
        """Say which run; nothing is read yet."""
        self._depot = depot
        self._tallies: dict[str, Tally] = {}
        self._cuts: dict[str, Blocks] = {}

    def look(self, *, silent: bool = True) -> Look | None:
        """Return how the run is; None where there is none.

        Args:
            silent: whether the blocks of a run are counted that nobody tells of; else None, which
                is less work.

        Raises:
            OutputFailed: its folder cannot be read.
        """
        status = Status.read(self._depot)
        told = beats(self._depot)
        workers = tuple(Worker(one, age_s(one.seen) > SILENT_S) for one in told)
        works = any(not one.is_silent for one in workers)
        if status is not None and status.state in ENDED and not works:
            return Look(status, tuple(Worker(one, is_silent=False) for one in status.team))
        if status is not None and status.state not in ENDED and age_s(status.seen) <= SILENT_S:
            return Look(status, workers)
        if not (silent or works):
            return None
        held = self._held()
        if status is None and held is None:
            # How many of its tiles are made only whoever sees to it tells.
            return Look(Status(State.SUBMITTED, unit="tiles")) if self._is_tiled() else None
        begun = min((one.begun for one in told), default="")
        known = status or Status(State.SUBMITTED, begun=begun)
        if held is not None:
            known = self._counted(known, held)
        state = State.RUNNING if works else State.SUBMITTED if status is None else State.SILENT
        if known.state is not State.FINISHED:
            known = replace(known, state=state)
        return Look(known, workers)

    def _is_tiled(self) -> bool:
        """Tell whether a run is cut into tiles, as its order says."""
        content = self._depot.read(ORDER)
        try:
            return content is not None and "tiles" in json.loads(content)
        except DAMAGED:
            return False

    def _held(self) -> dict[str, int] | None:
        """Return how many blocks each part of a run has, as its order says; None without one."""
        content = self._depot.read(ORDER)
        if content is None:
            return None
        try:
            held = {
                _place(place): count_of(count)
                for place, count in json.loads(content)["blocks"].items()
            }
            count_of(sum(held.values()))
        except DAMAGED:
            return None
        return held

    def _counted(self, status: Status, held: Mapping[str, int]) -> Status:
        """Count the blocks that are there, as nobody tells of them."""
        done = failed = 0
        for place, count in held.items():
            kept, aside = self._state(place, count)
            done, failed = done + kept.sum(), failed + aside.sum()
        over = bool(held) and all(self._at(place).has(RESULTS) for place in held)
        state = State.FINISHED if over else status.state
        total = sum(held.values())
        return replace(status, state=state, done=int(done), failed=int(failed), total=total)

    def _state(self, place: str, count: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which blocks of a part are made, and which were set aside."""
        tally = self._tallies.get(place)
        if tally is None or tally.count != count:
            tally = self._tallies[place] = Tally(self._at(place), count)
        tally.look()
        return tally.kept, tally.aside & ~tally.kept

    def _at(self, place: str) -> Depot:
        return self._depot if place in {"", "."} else self._depot / place

    def maps(self) -> tuple[BlockMap, ...]:
        """Return which blocks are done, for each raster that the run makes.

        Raises:
            OutputFailed: its folder cannot be read.
        """
        names = sorted(name for name, _ in self._depot.folders("") if not name.startswith("."))
        found = [(place, self._blocks(place)) for place in ("", *names[:MOST_PARTS])]
        running = [
            one for beat in beats(self._depot) if age_s(beat.seen) <= SILENT_S
            for one in beat.running
        ]  # fmt: skip
        return tuple(
            self._map(place, blocks, [number for there, number in running if there == place])
            for place, blocks in found
            if blocks is not None
        )

    def _blocks(self, place: str) -> Blocks | None:
        """Return the blocks of a part; None where it is none."""
        content = self._at(place).read(RECORD)
        try:
            told = {} if content is None else json.loads(content)
            row, col, height, width = map(_pixels, told["window"])
            top, left = map(_pixels, told["origin"])
            blocks = Blocks(Window(row, col, height, width), _pixels(told["block"]), (top, left))
            is_cut = min(height, width, blocks.edge) > 0 and 0 < len(blocks) <= MOST_BLOCKS
        except DAMAGED:
            return None
        return blocks if is_cut else None

    def _map(self, place: str, blocks: Blocks, running: list[int]) -> BlockMap:
        count = len(blocks)
        if self._cuts.get(place, blocks) != blocks:
            self._tallies.pop(place, None)  # the same numbers are other blocks now
        self._cuts[place] = blocks
        kept, aside = self._state(place, count)
        at_hand = np.zeros(count, np.bool_)
        at_hand[[number for number in running if number < count]] = True
        at_hand &= ~kept
        aside = aside & ~at_hand
        shape = count // blocks.across, blocks.across
        step = -(-max(shape) // MOST_CELLS)
        counted = [_cells(one.reshape(shape), step) for one in (kept, aside, at_hand)]
        done, failed, at_work = counted
        size = _cells(np.ones(shape, np.bool_), step)
        letters = np.select(
            [failed > 0, at_work > 0, done == size, done > 0],
            [FAILED, RUNNING, DONE, PARTLY],
            MISSING,
        )
        counts = Counter(done=int(kept.sum()), failed=int(aside.sum()), running=int(at_hand.sum()))
        counts["missing"] = count - counts.total()
        rows, columns = letters.shape
        return BlockMap(place, rows, columns, shape, "".join(letters.ravel()), dict(counts))


def _place(name: object) -> str:
    """Return the folder of a part of a run, in that of the run.

    Raises:
        ValueError: it is elsewhere.
    """
    if name not in {"", "."} and not is_plain(name):
        raise ValueError(f"{name!r:.60} is no folder of a run")
    return str(name)


def _pixels(told: Any) -> int:
    """Return a number of pixels, perhaps below 0.

    Raises:
        ValueError: it is none.
    """
    if type(told) is not int or abs(told) > _MOST_PIXELS:
        raise ValueError(f"{told!r:.60} is no number of pixels")
    return told


def _cells(flags: NDArray[np.bool_], step: int) -> NDArray[np.int64]:
    """Return how many of (row, column) flags are set in each square of `step`."""
    rows = np.add.reduceat(flags, range(0, flags.shape[0], step), axis=0, dtype=np.int64)
    cells: NDArray[np.int64] = np.add.reduceat(rows, range(0, flags.shape[1], step), axis=1)
    return cells
