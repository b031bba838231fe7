"""Calendar sheets: all dates of a parcel as pictures by year and month, its profile beneath.

Months are columns and years are rows, so that the same season stands in the same place; beneath
each year runs the profile, its dates under their months. Labels that are no dates follow one
another, twelve in a row.
"""

from __future__ import annotations

import calendar as months
import math
import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from terrazzo import __version__
from terrazzo.drivers.extraction.drawing import (
    Area,
    Dot,
    Drawing,
    Line,
    Picture,
    Text,
    shortened,
    style,
    text_width,
)
from terrazzo.drivers.extraction.parcel import instants
from terrazzo.errors import ArgumentInvalid
from terrazzo.processes.labels import instant_of
from terrazzo.storage.writers.picture import Style, encode, to_rgba

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.drivers.extraction.chips import Chip, Chips
    from terrazzo.drivers.extraction.drawing import Mark
    from terrazzo.drivers.extraction.peers import PeerProfile
    from terrazzo.drivers.extraction.profiles import Profile

EDGE = 88
"""Edge of a picture on the sheet, pixels."""
PICTURE = 256
"""Edge of a picture in a file of its own, pixels."""
MIN_VALID = 0.5
"""Share of a parcel that must be valid for its point to be joined to the next one."""
_MONTHS, _ACROSS, _DOWN = 12, 12, 6
_GAP, _CAPTION, _CHART = 6, 15, 116
_LEFT, _RIGHT, _TOP, _LINE = 66, 18, 30, 17
_NARROWEST = 620
_BAR = (120, 9)
_TICKS = 4
_AROUND = 32
_ROOM_ABOVE = 0.06
"""Share of the profile's range that is left free above and below it."""


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """What a calendar sheet shows."""

    title: str
    """Which parcel."""
    chips: Chips
    """Its pictures."""
    profile: Profile | None = None
    """Its profile; None for pictures only."""
    peers: PeerProfile | None = None
    """Profiles of its peers."""
    facts: tuple[str, ...] = ()
    """Lines about it, below the title."""
    node: str = ""
    """Name of what the profile is of, where it has no band."""
    first_month: int = 1
    """The month with which a row begins, 1..12: 10 for winter crops."""
    edge: int = EDGE
    """Edge of a picture, pixels."""
    min_valid: float = MIN_VALID
    """Share of the parcel that must be valid for a point to count; others are rings."""
    months: bool = False
    """Whether labels such as 2021-05 are months, not weeks or ten days."""

    def __post_init__(self) -> None:
        """Check the month.

        Raises:
            ArgumentInvalid: it is none.
        """
        if not 1 <= self.first_month <= _MONTHS:
            raise ArgumentInvalid(f"A year begins with a month 1 to 12, not {self.first_month}.")

    def drawing(self) -> Drawing:
        """Lay the sheet out."""
        return _Layout(self).drawing()

    def png(self, scale: int = 2) -> bytes:
        """Return the sheet as PNG, `scale` pixels for one of the layout."""
        return self.drawing().png(scale)

    def html(self) -> str:
        """Return the sheet as one HTML page that needs nothing else, and runs no script.

        Points of the profile lead to their picture; resting on either tells its numbers.
        """
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "img-src data:; style-src 'unsafe-inline'\">"
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>{style()}"
            "html{background:var(--paper);color:var(--ink)}body{margin:8px;overflow-x:auto}"
            f"</style></head><body>{self.drawing().svg()}</body></html>"
        )

    def pictures(self) -> dict[str, bytes]:
        """Return every picture with its outline as PNG, by the date as it can name a file."""
        made = self.chips
        size = (PICTURE, PICTURE)
        return {
            re.sub(r"[^\w.-]+", "-", chip.label.removesuffix("T00:00:00Z")) or "parcel": Drawing(
                *size, (Picture((0, 0), size, chip.rgba, chip.png, made.outline),)
            ).png(1)
            for chip in made.chips
        }

    def _repr_html_(self) -> str:
        """Show the page in a notebook, in a frame of its own, so that styles and names are its."""
        drawing = self.drawing()
        size = f'width="{drawing.width + _AROUND}" height="{drawing.height + _AROUND}"'
        return f'<iframe srcdoc="{escape(self.html())}" {size} style="border:0"></iframe>'


@dataclass(frozen=True, slots=True)
class _Block:
    """One row of the sheet: a year, or twelve labels."""

    title: str
    heads: tuple[str, ...]
    """What stands above the columns."""
    places: Mapping[str, float]
    """Label to its place, 0 = left edge of the first column, 1 = of the second."""

    def cells(self, chips: Sequence[Chip]) -> list[list[Chip]]:
        """Return the pictures of every column."""
        found: list[list[Chip]] = [[] for _ in self.heads]
        for chip in chips:
            if chip.label in self.places:
                found[int(self.places[chip.label])].append(chip)
        return found


def _blocks(labels: Sequence[str], first_month: int, months_named: bool) -> list[_Block]:
    """Return the rows in which labels stand."""
    moments = instants(labels, months=months_named)
    if not labels or any(moment is None for moment in moments):
        rows = [labels[at : at + _ACROSS] for at in range(0, len(labels), _ACROSS)]
        heads = ("",) * min(_ACROSS, len(labels))
        return [
            _Block("", heads, {label: at + 0.5 for at, label in enumerate(row)}) for row in rows
        ]
    years: dict[int, dict[str, float]] = {}
    for label, moment in sorted(zip(labels, moments, strict=True), key=lambda one: str(one[1])):
        if moment is None:
            continue
        column, year = moment.month - first_month, moment.year
        if column < 0:
            column, year = column + _MONTHS, year - 1
        days = months.monthrange(moment.year, moment.month)[1]
        share = (moment.day - 1 + (moment.hour + moment.minute / 60) / 24) / days
        years.setdefault(year, {})[label] = column + share
    used = [int(place) for places in years.values() for place in places.values()]
    low, high = min(used), max(used)
    names = [months.month_abbr[(first_month - 1 + n) % _MONTHS + 1] for n in range(low, high + 1)]
    return [
        _Block(
            f"{year}" if first_month == 1 else f"{year}/{(year + 1) % 100:02}",
            tuple(names),
            {label: place - low for label, place in places.items()},
        )
        for year, places in sorted(years.items())
    ]


class _Layout:
    """Places everything on a sheet."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.marks: list[Mark] = []
        chips = sheet.chips.chips
        profile = sheet.profile
        known = dict.fromkeys(chip.label for chip in chips)
        known |= dict.fromkeys(profile.labels if profile else ())
        known |= dict.fromkeys(sheet.peers.labels if sheet.peers else ())
        self.blocks = _blocks(list(known), sheet.first_month, sheet.months)
        fullest = max(len(cell) for block in self.blocks for cell in block.cells(chips))
        columns = len(self.blocks[0].heads)
        self.abreast = min(max(-(-fullest // _DOWN), _ACROSS // columns, 1), max(fullest, 1))
        self.step = sheet.edge + _GAP
        self.column = self.abreast * self.step + _GAP
        self.right = _LEFT + columns * self.column
        self.width = max(self.right + _RIGHT, _NARROWEST)
        self.names = {chip.label: f"d{number}" for number, chip in enumerate(chips)}
        self.numbers = {}
        if profile is not None:
            told = zip(profile.values, profile.shares, strict=True)
            self.numbers = dict(zip(profile.labels, told, strict=True))
        self.low, self.high, self.ticks = self._range()

    def drawing(self) -> Drawing:
        """Return the sheet as marks."""
        y = self._head()
        for block in self.blocks:
            y = self._pictures(block, y)
            if self.sheet.profile is not None and len(self.sheet.profile.labels):
                y = self._chart(block, y)
            y += _LINE
        y = self._foot(y)
        return Drawing(round(self.width), round(y), tuple(self.marks))

    def _range(self) -> tuple[float, float, list[float]]:
        """Return the ends of the profile's axis, and where it has lines."""
        numbers = [value for value, _ in self.numbers.values()]
        if self.sheet.peers is not None:
            numbers += [*self.sheet.peers.low, *self.sheet.peers.high]
        seen = np.array(numbers, np.float64)
        seen = seen[np.isfinite(seen)]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
        if high <= low:
            low, high = low - 0.5, high + 0.5
        ticks = nice_ticks(low, high, _TICKS)
        spare = _ROOM_ABOVE * (high - low)
        return low - spare, high + spare, ticks

    def _head(self) -> float:
        sheet, room = self.sheet, self.width - _LEFT - _RIGHT
        self._text(_LEFT, _TOP, shortened(sheet.title, 20, room), 20)
        y = float(_TOP)
        for fact in sheet.facts:
            y += _LINE
            self._text(_LEFT, y, shortened(fact, 12, room), 12, "soft")
        return self._legend(y + _LINE) + _LINE

    def _legend(self, y: float) -> float:
        """Draw what colours and lines mean; returns the line below."""
        chips, x = self.sheet.chips, float(_LEFT)
        ranges = chips.style.stretch
        if len(chips.bands) == 3:  # noqa: PLR2004 - red, green, blue
            text = f"red, green, blue: {', '.join(chips.bands)}"
            if ranges:
                text += f"; {' / '.join(f'{low:g} to {high:g}' for low, high in ranges)}"
            text = shortened(text, 11, self.width - _LEFT - _RIGHT)
            x = self._text(x, y, text, 11, "soft")
        else:
            low, high = ranges[0] if ranges else (0.0, 255.0)
            x = self._text(x, y, " ".join((*chips.bands, f"{low:g}")), 11, "soft") + 6
            ramp = np.linspace(0, 1, _BAR[0])[None, None]
            drawn, whole = Style(((0.0, 1.0),), chips.style.colormap), np.ones(ramp.shape, np.bool_)
            bar = to_rgba(ramp, whole, drawn)
            self.marks.append(Picture((x, y - _BAR[1]), _BAR, bar, encode(ramp, whole, drawn)))
            x = self._text(x + _BAR[0] + 6, y, f"{high:g}", 11, "soft")
        entries: list[tuple[str, str]] = []
        if self.numbers:
            entries.append(("accent", f"this parcel: {self._measure()}"))
            entries.append(("hollow", f"less than {self.sheet.min_valid:.0%} of it valid"))
        if self.sheet.peers is not None:
            entries.append(("peers", f"{self.sheet.peers.name}: median and quartiles"))
        for kind, text in entries:
            if x + 56 + text_width(text, 11) > self.width - _RIGHT:
                x, y = _LEFT - 26.0, y + _LINE
            x = self._key(x + 26, y, kind, text)
        return y

    def _measure(self) -> str:
        profile = self.sheet.profile
        if profile is None:
            return ""
        of = profile.band or self.sheet.node
        return f"{profile.statistic} of {of}" if of else profile.statistic

    def _key(self, x: float, y: float, kind: str, text: str) -> float:
        middle = y - 4
        if kind == "peers":
            around = ((x, middle - 5), (x + 20, middle - 5), (x + 20, middle + 5), (x, middle + 5))
            self.marks.append(Area(around, "peersarea"))
        if kind != "hollow":
            self.marks.append(Line(((x, middle), (x + 20, middle)), kind, 1.6))
        if kind != "peers":
            self.marks.append(Dot((x + 10, middle), 3, "accent", hollow=kind == "hollow"))
        text = shortened(text, 11, self.width - _RIGHT - x - 26)
        return self._text(x + 26, y, text, 11, "soft")

    def _pictures(self, block: _Block, y: float) -> float:
        """Draw the pictures of a row; returns the line below."""
        edge = self.sheet.edge
        self._text(_LEFT - 8, y + 12, block.title, 12, "ink", "end")
        for number, head in enumerate(block.heads):
            self._text(_LEFT + number * self.column, y + 10, head, 11, "soft")
        y += _CAPTION if any(block.heads) else 0
        cells = block.cells(self.sheet.chips.chips)
        rows = max((-(-len(cell) // self.abreast) for cell in cells), default=0)
        for number, cell in enumerate(cells):
            for place, chip in enumerate(cell):
                down, across = divmod(place, self.abreast)
                corner = (
                    _LEFT + number * self.column + across * self.step,
                    y + down * (edge + _CAPTION + 3),
                )
                self._picture(chip, corner, by_day=any(block.heads))
        return y + rows * (edge + _CAPTION + 3)

    def _picture(self, chip: Chip, corner: tuple[float, float], *, by_day: bool) -> None:
        edge, chips = self.sheet.edge, self.sheet.chips
        value, share = self.numbers.get(chip.label, (np.nan, np.nan))
        hint = chip.label
        if np.isfinite(share):
            hint += f": {self._measure()} {self._number(value)}, {share:.0%} valid"
        self.marks.append(
            Picture(
                corner,
                (edge, edge),
                chip.rgba,
                chip.png,
                chips.outline,
                hint,
                self.names[chip.label],
            )
        )
        below, told = corner[1] + edge + 11, self._number(value)
        self._text(corner[0] + edge, below, told, 10, self._weight(share), "end")
        moment = instant_of(chip.label)
        text = str(moment.day) if by_day and moment is not None else chip.label
        room = edge - text_width(told, 10) - 4
        self._text(corner[0], below, shortened(text, 10, room), 10, "soft")

    def _number(self, value: float) -> str:
        """Return a number of the profile, with as many digits as its range is worth."""
        digits = max(0, 2 - math.ceil(math.log10(self.high - self.low) - 0.5))
        return f"{round(value, digits) + 0.0:.{digits}f}" if np.isfinite(value) else ""

    def _weight(self, share: float) -> str:
        return "ink" if share >= self.sheet.min_valid else "soft"

    def _chart(self, block: _Block, y: float) -> float:
        """Draw the profile of a row; returns the line below."""
        top, bottom = y + 4, y + 4 + _CHART
        for tick in self.ticks:
            height = self._height(tick, top)
            self.marks.append(Line(((_LEFT, height), (self.right - _GAP, height)), "line"))
            self._text(_LEFT - 8, height + 4, f"{tick:g}", 10, "soft", "end")
        for number in range(len(block.heads) + 1):
            x = _LEFT + number * self.column - (_GAP if number == len(block.heads) else 0)
            self.marks.append(Line(((x, top), (x, bottom)), "line"))
        if self.sheet.peers is not None:
            self._peers(block, top)
        points = [
            (label, self._x(block.places[label]), *self.numbers[label])
            for label in sorted(block.places, key=lambda label: block.places[label])
            if label in self.numbers and np.isfinite(self.numbers[label][0])
        ]
        good = [
            (x, self._height(value, top))
            for _, x, value, share in points
            if share >= self.sheet.min_valid
        ]
        if len(good) > 1:
            self.marks.append(Line(tuple(good), "accent", 1.6))
        for label, across, value, share in points:
            hint = f"{label}: {self._measure()} {self._number(value)}, {share:.0%} valid"
            hollow = share < self.sheet.min_valid
            place = (across, self._height(value, top))
            self.marks.append(Dot(place, 3, "accent", hollow, hint, self.names.get(label, "")))
        return bottom + 6

    def _peers(self, block: _Block, top: float) -> None:
        peers = self.sheet.peers
        if peers is None:
            return
        known = sorted(
            (block.places[label], low, middle, high)
            for label, low, middle, high in zip(
                peers.labels, peers.low, peers.middle, peers.high, strict=True
            )
            if label in block.places and np.isfinite(middle)
        )
        if len(known) < 2:  # noqa: PLR2004 - a line has two ends
            return
        upper = [(self._x(place), self._height(high, top)) for place, _, _, high in known]
        lower = [(self._x(place), self._height(low, top)) for place, low, _, _ in known]
        self.marks.append(Area((*upper, *reversed(lower)), "peersarea"))
        line = tuple((self._x(place), self._height(middle, top)) for place, _, middle, _ in known)
        self.marks.append(Line(line, "peers", 1.6))

    def _x(self, place: float) -> float:
        return _LEFT + int(place) * self.column + (place % 1) * (self.column - _GAP)

    def _height(self, value: float, top: float) -> float:
        return top + _CHART * (self.high - value) / (self.high - self.low)

    def _foot(self, y: float) -> float:
        left_out = self.sheet.chips.left_out
        lines = [f"Grey: no data. Pixels of {self.sheet.chips.pixel_metres:.3g} m."]
        if left_out:
            few = ", ".join(left_out[:5]) + (" ..." if len(left_out) > 5 else "")  # noqa: PLR2004
            lines.append(f"Left out, because they cannot be read: {few}")
        lines[0] += f" Made with Terrazzo {__version__}."
        for line in lines:
            room = self.width - _LEFT - _RIGHT
            self._text(_LEFT, y, shortened(line, 10, room), 10, "soft")
            y += _LINE
        return y

    def _text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        role: str = "ink",
        anchor: str = "start",
    ) -> float:
        """Write a text and return where it ends."""
        if text:
            self.marks.append(Text((x, y), text, size, role, anchor))
        return x + text_width(text, size)


def nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Return round numbers from `low` to `high`, at least `about` - 1: steps of 1, 2 or 5."""
    power = 10.0 ** np.floor(np.log10((high - low) / about))
    for step in (power * digit for digit in (10, 5, 2, 1)):
        first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
        if last - first + 1 >= about - 1:
            break
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]
