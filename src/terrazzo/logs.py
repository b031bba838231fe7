"""What a run has to tell its user: openEO log entries, collected where somebody listens.

`inspect`, user-defined functions and the engine call `log`; whoever runs blocks listens with
`collected` and takes what was told along with the block's pixels, so that threads, processes and
resumed runs lose nothing. A sink hears only what happens in its own context (thread or task):
the tiles of two visitors never share one. Where nobody listens, nothing is kept.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MOST = 10_000
"""Entries that one log keeps; how many more there were is told in a last one."""
UNITS = 1 << 1074
"""Sums are whole multiples of the smallest float64, 2 to the -1074."""


class Level(StrEnum):
    """How serious an entry is, in openEO's words."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    DEBUG = "debug"


@dataclass(frozen=True, slots=True)
class Summary:
    """What is said of numbers too many to log; those of two blocks are merged exactly."""

    about: Mapping[str, Any]
    """What they are: dimensions, labels, dtype; JSON values. Merged are equal ones only."""
    count: int = 0
    """Numbers that are there, NaN and infinite ones too."""
    missing: int = 0
    """No-data."""
    nan: int = 0
    """NaN, which is not no-data."""
    infinite: int = 0
    """Positive or negative infinity."""
    low: float | None = None
    """Least finite number."""
    high: float | None = None
    """Greatest finite number."""
    total: int = 0
    """Exact sum of the finite numbers, in units of 2 to the -1074."""

    def merged(self, other: Summary) -> Summary:
        """Return what is said of both; the order does not matter."""
        lows = [low for low in (self.low, other.low) if low is not None]
        highs = [high for high in (self.high, other.high) if high is not None]
        return Summary(
            self.about,
            self.count + other.count,
            self.missing + other.missing,
            self.nan + other.nan,
            self.infinite + other.infinite,
            min(lows, default=None),
            max(highs, default=None),
            self.total + other.total,
        )

    def told(self) -> dict[str, Any]:
        """Return it for people, as JSON values; minimum, maximum and mean of finite numbers."""
        finite = self.count - self.nan - self.infinite
        return {
            **self.about,
            "valid": self.count,
            "no_data": self.missing,
            "nan": self.nan,
            "infinite": self.infinite,
            "min": self.low,
            "max": self.high,
            "mean": float(Fraction(self.total, finite * UNITS)) if finite else None,
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """One log entry, as openEO has it; can be pickled."""

    level: Level
    """How serious it is."""
    message: str
    """For people."""
    code: str = ""
    """A label to filter by."""
    data: Any = None
    """JSON values, or a `Summary`."""
    path: tuple[tuple[str, str], ...] = ()
    """(node, process) that it comes from: first its own, then that around it."""
    time: str = ""
    """When it was told first, RFC 3339, UTC."""
    once: bool = False
    """Whether equal ones, and summaries of the same numbers, are one entry of a run."""

    def listed(self, number: int) -> dict[str, Any]:
        """Return it as an openEO log entry, JSON values; `number` names it in its log."""
        data = self.data.told() if isinstance(self.data, Summary) else self.data
        return {
            "id": str(number),
            "level": self.level.value,
            "code": self.code,
            "message": self.message,
            "time": self.time,
            "data": data,
            "path": [{"node_id": node, "process_id": process} for node, process in self.path],
        }

    def line(self) -> str:
        """Return it as one line of text."""
        data = self.data.told() if isinstance(self.data, Summary) else self.data
        where = " in ".join(f"{node} ({process})" for node, process in self.path)
        parts = (f"[{self.code}]" if self.code else "", where and f"{where}:", self.message)
        shown = "" if data is None else json.dumps(data, ensure_ascii=False)
        return " ".join(part for part in (self.time, self.level.value, *parts, shown) if part)

    def kept(self) -> dict[str, Any]:
        """Return everything as JSON values, from which `of` makes it again."""
        fields = {name: getattr(self, name) for name in ("message", "code", "time", "once")}
        fields |= {"level": self.level.value, "path": [list(step) for step in self.path]}
        if not isinstance(self.data, Summary):
            return {**fields, "data": self.data}
        numbers = {name: getattr(self.data, name) for name in Summary.__slots__}
        return {**fields, "summary": {**numbers, "total": hex(self.data.total)}}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Entry:
        """Make an entry of what `kept` returned."""
        fields = dict(kept)
        if "summary" in fields:
            numbers = fields.pop("summary")
            fields["data"] = Summary(**{**numbers, "total": int(numbers["total"], 16)})
        path = tuple((node, process) for node, process in fields.pop("path"))
        return cls(level=Level(fields.pop("level")), path=path, **fields)


@dataclass(eq=False)
class Log:
    """Entries in the order in which they came, merged where they are to be one."""

    entries: list[Entry] = field(default_factory=list)
    """What was told; `once` entries stand where the first of them came."""
    left_out: int = 0
    """Entries beyond `MOST`, which are only counted."""

    def add(self, entry: Entry, *, again: bool = False) -> None:
        """Take an entry, or merge it with the one that it belongs to.

        Args:
            entry: what was told.
            again: whether it is of another walk, perhaps over the same pixels: of two summaries
                of the same numbers, that of more of them then stays.
        """
        if entry.once:
            for place, known in enumerate(self.entries):
                joined = _joined(known, entry, again=again)
                if joined is not None:
                    self.entries[place] = joined
                    return
        if len(self.entries) >= MOST:
            self.left_out += 1
            return
        self.entries.append(entry)

    def extend(self, entries: Iterable[Entry], *, again: bool = False) -> None:
        """Take entries of another log, in their order; `again` as for `add`."""
        for entry in entries:
            self.add(entry, again=again)

    def all(self) -> tuple[Entry, ...]:
        """Return the entries, and how many were left out."""
        if not self.left_out:
            return tuple(self.entries)
        told = f"{self.left_out} further log entries were left out; a log keeps {MOST}."
        return (*self.entries, Entry(Level.WARNING, told, "LogFull", time=_now()))


_sink: ContextVar[Log | None] = ContextVar("log", default=None)
_path: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("path", default=())


def listening() -> bool:
    """Tell whether somebody listens in this context, so that making an entry is worth it."""
    return _sink.get() is not None


def log(  # noqa: D417 - `level` and `message` say it
    level: Level | str, message: str, *, code: str = "", data: Any = None, once: bool = False
) -> None:
    """Tell whoever listens in this context; without a listener nothing happens.

    Args:
        code: a label to filter by.
        data: JSON values, or a `Summary`.
        once: merge it with equal entries of the run, and summaries of the same numbers.
    """
    sink = _sink.get()
    if sink is not None:
        sink.add(Entry(Level(level), message, code, data, _path.get(), _now(), once))


def retell(entries: Iterable[Entry], *, again: bool = False) -> None:
    """Tell what was collected elsewhere (another thread or process) to whoever listens here.

    Where the entries came from is completed with the place of this call; `again` is as for
    `Log.add`.
    """
    sink, around = _sink.get(), _path.get()
    if sink is not None:
        told = (replace(entry, path=(*entry.path, *around)) for entry in entries)
        sink.extend(told, again=again)


@contextmanager
def collected() -> Iterator[Log]:
    """Listen to this context for the `with` block; an outer listener hears nothing meanwhile."""
    sink = Log()
    token = _sink.set(sink)
    try:
        yield sink
    finally:
        _sink.reset(token)


@contextmanager
def inside(node: str, process: str) -> Iterator[None]:
    """Let entries of the `with` block say that they come from a node."""
    token = _path.set(((node, process), *_path.get()))
    try:
        yield
    finally:
        _path.reset(token)


def _joined(known: Entry, entry: Entry, *, again: bool) -> Entry | None:
    """Return two entries as one, or None where they are not to be one."""
    if not known.once or replace(known, data=None, time="") != replace(entry, data=None, time=""):
        return None
    time = min(known.time, entry.time)
    if not isinstance(known.data, Summary) or not isinstance(entry.data, Summary):
        return replace(known, time=time) if known.data == entry.data else None
    if known.data.about != entry.data.about:
        return None
    both = known.data, entry.data
    fuller = max(both, key=lambda summary: summary.count + summary.missing)
    return replace(known, data=fuller if again else both[0].merged(both[1]), time=time)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
