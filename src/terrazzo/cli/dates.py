"""How many items there are when, as a map in plain text: years by months, or months by days."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

WIDTH: Final = 80
"""Columns where nobody says how many there are."""
_BLOCKS, _ASCII = "░▒▓█·", "-+*#."
"""Marks from few to many, and for none."""
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_DAYS: Final = 31
_SHORT: Final = timedelta(days=92)
"""Periods up to so long are shown by days."""
_EMPTY_ROWS = 2
"""Longer runs of empty rows are one line."""
_TEN_THOUSAND, _THOUSAND = 10_000, 1000
_UNITS: Final = {"k": "M", "M": "G", "G": "T", "T": "P"}


def day_of(item: Mapping[str, Any]) -> date:
    """Return the day of an item in UTC: of its instant, or of the start of its period."""
    from terrazzo.geo.times import parse_time  # noqa: PLC0415 - pulls in pyproj

    properties = item["properties"]
    return parse_time(properties.get("datetime") or properties["start_datetime"]).date()


def date_map(days: Mapping[date, int], *, width: int = WIDTH, blocks: bool = True) -> Iterator[str]:
    """Draw how many items there are on which days.

    Args:
        days: items by day.
        width: columns that a line may have.
        blocks: whether block characters can be shown; without, all is ASCII.

    Returns:
        An iterator of lines; there is none without items.
    """
    if not days:
        return
    first, last, total = min(days), max(days), sum(days.values())
    period = str(first) if first == last else f"{first} to {last}"
    yield from wrap(f"{total} item{'s' if total > 1 else ''}, {period}", max(width, 1))
    yield ""
    grid = _by_days(days) if last - first < _SHORT else _by_months(days)
    marks = _BLOCKS if blocks else _ASCII
    room = (width - grid.label - grid.total - 1) // len(grid.columns)
    if room < 1:
        yield from _bars(grid, width, marks)
        return
    for line in _table(grid, room, marks):
        # Only the legend can be longer than a row.
        yield from [line] if len(line) <= width else line.split("  ")


@dataclass(frozen=True)
class _Grid:
    """Counts in rows and columns."""

    names: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[Sequence[int | None]]
    """None is a day that there is not."""

    @property
    def label(self) -> int:
        return max(map(len, self.names))

    @property
    def sums(self) -> list[int]:
        return [sum(count or 0 for count in row) for row in self.rows]

    @property
    def total(self) -> int:
        """Characters of the longest sum."""
        return max(len(_brief(one)) for one in self.sums)

    @property
    def most(self) -> int:
        return max(count or 0 for row in self.rows for count in row)

    def shown(self) -> Iterator[tuple[str, int | None, Sequence[int | None]]]:
        """Return names, sums and rows; many empty ones are one, without a sum."""
        empty: list[tuple[str, int | None, Sequence[int | None]]] = []
        for line in zip(self.names, self.sums, self.rows, strict=True):
            if not line[1]:
                empty.append(line)
                continue
            yield from [("...", None, ())] if len(empty) > _EMPTY_ROWS else empty
            empty = []
            yield line


def _by_months(days: Mapping[date, int]) -> _Grid:
    counts: Counter[tuple[int, int]] = Counter()
    for day, count in days.items():
        counts[day.year, day.month] += count
    years = range(min(days).year, max(days).year + 1)
    rows = [[counts[year, month] for month in range(1, 13)] for year in years]
    return _Grid([f"{year:04}" for year in years], _MONTHS, rows)


def _by_days(days: Mapping[date, int]) -> _Grid:
    first, last = min(days), max(days)
    names, rows = [], []
    for number in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        year, month = number // 12, number % 12 + 1
        names.append(f"{year:04}-{month:02}")
        rows.append([_count(days, year, month, day) for day in range(1, _DAYS + 1)])
    return _Grid(names, [str(day) for day in range(1, _DAYS + 1)], rows)


def _count(days: Mapping[date, int], year: int, month: int, day: int) -> int | None:
    try:
        return days.get(date(year, month, day), 0)
    except ValueError:
        return None


def _table(grid: _Grid, room: int, marks: str) -> Iterator[str]:
    """Draw a line per row, with as much in each cell as there is room for."""
    digits = len(_brief(grid.most))
    marked = room >= digits + 2
    numbered = room > digits or digits == room == 1
    if not numbered:
        marked, digits = True, 0
    size = min(room, max(marked + digits, *map(len, grid.columns)) + 1)
    yield " " * grid.label + "".join(f"{_head(name, size):>{size}}" for name in grid.columns)
    for name, total, row in grid.shown():
        cells = []
        for count in row:
            text = " " if count is None else marks[-1]
            if count:
                mark = _mark(count, grid.most, marks) if marked else ""
                text = mark + (f"{_brief(count):>{digits}}" if numbered else "")
            cells.append(f"{text:>{size}}")
        line = f"{name:>{grid.label}}" + "".join(cells)
        yield line if total is None else f"{line} {_brief(total):>{grid.total}}"
    if marked:
        yield ""
        yield _legend(grid.most, marks)


def _head(name: str, size: int) -> str:
    """Shorten the name of a column: `Jan` to `J`, `21` to `1`."""
    if len(name) < size:
        return name
    return name[-1] if name.isdigit() else name[0]


def _mark(count: int, most: int, marks: str) -> str:
    return marks[(count - 1) * (len(marks) - 1) // most]


def _legend(most: int, marks: str) -> str:
    """Say which mark stands for how many."""
    steps, parts = len(marks) - 1, []
    for place, mark in enumerate(marks[:-1]):
        low, high = -(-place * most // steps) + 1, -(-(place + 1) * most // steps)
        if low <= high:
            parts.append(f"{mark} {low}" if low == high else f"{mark} {low}-{high}")
    return "  ".join(parts)


def _bars(grid: _Grid, width: int, marks: str) -> Iterator[str]:
    """Draw a bar per row: for windows that are narrower than any table."""
    most = max(grid.sums)
    room = max(width - grid.label - grid.total - 2, 0)
    for name, total, _ in grid.shown():
        line = f"{name:>{grid.label}}"
        if total is not None:
            line += f" {_brief(total):>{grid.total}} {marks[-2] * -(-total * room // most)}"
        yield line.rstrip()


def _brief(count: int) -> str:
    """Return a number in four characters."""
    if count < _TEN_THOUSAND:
        return str(count)
    thousands, unit = count // _THOUSAND, "k"
    while thousands >= _THOUSAND:
        thousands, unit = thousands // _THOUSAND, _UNITS[unit]
    return f"{thousands}{unit}"
