"""Counts of bounded size that can be taken back: what a survey of many items is made of.

Each keeps exact counts of some of the values that it was given, so that a value that is taken
away again is missed where it was the last of its kind. Where too little is left to tell, `Lost`
is raised: whoever counts has to begin anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import neg
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T", str, int, float, tuple[float, ...])

_ENDS = 8
"""Distinct values kept at each end of a range: so many may go before it has to be made anew."""


class Lost(Exception):
    """What is left is too little to tell what a survey of all items would."""


@dataclass(slots=True)
class Counted(Generic[T]):
    """Distinct values with their counts, those that came first where they are too many."""

    most: int
    """How many values are listed."""
    room: int
    """How many are kept: more than are listed, so that some may go."""
    counts: dict[T, int] = field(default_factory=dict)
    more: bool = False
    """Whether there were others, so that counts are lower bounds."""

    def add(self, value: T, count: int = 1) -> None:
        """Count a value."""
        known = self.counts.get(value)
        if known is not None:
            self.counts[value] = known + count
        elif len(self.counts) < self.room:
            self.counts[value] = count
        else:
            self.more = True

    def remove(self, value: T) -> None:
        """Take a value back.

        Raises:
            Lost: it may be that all values could be listed now, but some are unknown.
        """
        known = self.counts.get(value)
        if known is None:
            if not self.more:
                raise Lost
        elif known > 1:
            self.counts[value] = known - 1
        else:
            del self.counts[value]
            if self.more and len(self.counts) <= self.most:
                raise Lost

    def merge(self, other: Counted[T]) -> None:
        """Add the counts of another one."""
        for value, count in other.counts.items():
            self.add(value, count)
        self.more |= other.more

    def listed(self) -> list[T] | None:
        """Return all values in order, or None where they are too many."""
        few = not self.more and len(self.counts) <= self.most
        return sorted(self.counts) if few else None

    def to_json(self) -> list[Any]:
        """Return what `read` reads."""
        return [list(self.counts), list(self.counts.values()), self.more]

    def read(self, told: list[Any]) -> None:
        """Take over what `to_json` returned."""
        values, counts, self.more = told
        keys: list[Any] = [tuple(one) if isinstance(one, list) else one for one in values]
        self.counts = dict(zip(keys, counts, strict=True))


@dataclass(slots=True)
class Least(Generic[T]):
    """The least of the distinct values, with exact counts."""

    room: int
    counts: dict[T, int] = field(default_factory=dict)
    edge: T | None = None
    """All values below are known, those from here on are not; None knows all."""

    def add(self, value: T, count: int = 1) -> None:
        """Count a value."""
        if self.edge is not None and value >= self.edge:
            return
        known = self.counts.get(value)
        self.counts[value] = count if known is None else known + count
        if known is None and len(self.counts) > self.room:
            self._drop(max(self.counts))

    def add_all(self, ordered: Iterable[T]) -> None:
        """Count many values, the least first."""
        known, edge, fresh = self.counts, self.edge, 0
        for value in ordered:
            if (edge is not None and value >= edge) or fresh > self.room:
                break
            before = known.get(value)
            fresh += before is None
            known[value] = 1 if before is None else before + 1
        if len(known) > self.room:
            self._drop(sorted(known)[self.room])

    def _drop(self, edge: T) -> None:
        """Forget all values from an edge on."""
        self.edge = edge
        for value in [value for value in self.counts if value >= edge]:
            del self.counts[value]

    def remove(self, value: T) -> None:
        """Take a value back.

        Raises:
            Lost: it was never counted, or no value is known any more although there are some.
        """
        if self.edge is not None and value >= self.edge:
            return
        known = self.counts.get(value)
        if known is None:
            raise Lost
        if known > 1:
            self.counts[value] = known - 1
            return
        del self.counts[value]
        if self.edge is not None and not self.counts:
            raise Lost

    def merge(self, other: Least[T]) -> None:
        """Add the counts of another one."""
        edge = other.edge
        if edge is not None and (self.edge is None or edge < self.edge):
            self._drop(edge)
        for value, count in other.counts.items():
            self.add(value, count)

    def to_json(self) -> list[Any]:
        """Return what `read` reads."""
        return [list(self.counts), list(self.counts.values()), self.edge]

    def read(self, told: list[Any]) -> None:
        """Take over what `to_json` returned."""
        values, counts, self.edge = told
        self.counts = dict(zip(values, counts, strict=True))


@dataclass(slots=True)
class Range:
    """The least start and the greatest end of many intervals."""

    count: int = 0
    lows: Least[float] = field(default_factory=lambda: Least(_ENDS))
    highs: Least[float] = field(default_factory=lambda: Least(_ENDS))
    """Negated, so that the greatest are the least."""

    def add(self, low: float, high: float) -> None:
        """Count an interval."""
        self.count += 1
        edge = self.lows.edge
        if edge is None or low < edge:
            self.lows.add(low)
        edge = self.highs.edge
        if edge is None or -high < edge:
            self.highs.add(-high)

    def add_all(self, lows: Sequence[float], highs: Sequence[float]) -> None:
        """Count many intervals."""
        self.count += len(lows)
        ordered = sorted(lows)
        self.lows.add_all(ordered)
        ordered = ordered if highs is lows else sorted(highs)
        self.highs.add_all(map(neg, reversed(ordered)))

    def remove(self, low: float, high: float) -> None:
        """Take an interval back.

        Raises:
            Lost: the least start or the greatest end is not known any more.
        """
        self.count -= 1
        self.lows.remove(low)
        self.highs.remove(-high)

    def merge(self, other: Range) -> None:
        """Add the counts of another one."""
        self.count += other.count
        self.lows.merge(other.lows)
        self.highs.merge(other.highs)

    @property
    def low(self) -> float:
        """The least start of a range that holds anything."""
        return min(self.lows.counts)

    @property
    def high(self) -> float:
        """The greatest end of a range that holds anything."""
        return -min(self.highs.counts)

    def to_json(self) -> list[Any]:
        """Return what `read` reads."""
        return [self.count, self.lows.to_json(), self.highs.to_json()]

    def read(self, told: list[Any]) -> None:
        """Take over what `to_json` returned."""
        self.count = told[0]
        self.lows.read(told[1])
        self.highs.read(told[2])
