"""Calendar periods as openEO counts and names them: hours to decades, in UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import TypeAlias

from terrazzo.errors import ArgumentInvalid

Count: TypeAlias = Callable[[datetime], int]
Name: TypeAlias = Callable[[int], str]

SEASONS = ("djf", "mam", "jja", "son")
"""Quarters of a year, from December; named by the first letters of their months."""
TROPICAL_SEASONS = ("ndjfma", "mjjaso")
"""Halves of a year, from November."""


def ordinal_of(period: str, instant: datetime) -> int:
    """Return the number of the period that an instant (UTC) lies in; the next one is one more.

    Raises:
        ArgumentInvalid: there is no such period.
    """
    return _period(period)[0](instant)


def label_of(period: str, ordinal: int) -> str:
    """Return the openEO label of a period by its number.

    Raises:
        ArgumentInvalid: there is no such period.
    """
    return _period(period)[1](ordinal)


def _period(name: str) -> tuple[Count, Name]:
    if name not in _PERIODS:
        raise ArgumentInvalid(f"{name!r} is not a period. Periods: {', '.join(_PERIODS)}.")
    return _PERIODS[name]


def _hour_name(ordinal: int) -> str:
    day, hour = divmod(ordinal, 24)
    return f"{date.fromordinal(day).isoformat()}-{hour:02d}"


def _day_name(ordinal: int) -> str:
    day = date.fromordinal(ordinal)
    return f"{day.year:04d}-{day.timetuple().tm_yday:03d}"


def _week_name(ordinal: int) -> str:
    # Ordinal 1, the first of January of year 1, is a Monday.
    year, week, _ = (date(1, 1, 1) + timedelta(weeks=ordinal)).isocalendar()
    return f"{year:04d}-{week:02d}"


def _dekad_count(instant: datetime) -> int:
    return (instant.year * 12 + instant.month - 1) * 3 + min((instant.day - 1) // 10, 2)


def _season_name(ordinal: int) -> str:
    year, season = divmod(ordinal, 4)
    return f"{year - (season == 0):04d}-{SEASONS[season]}"


def _tropical_name(ordinal: int) -> str:
    year, season = divmod(ordinal, 2)
    return f"{year - (season == 0):04d}-{TROPICAL_SEASONS[season]}"


_PERIODS: dict[str, tuple[Count, Name]] = {
    "hour": (lambda t: t.toordinal() * 24 + t.hour, _hour_name),
    "day": (lambda t: t.toordinal(), _day_name),
    "week": (lambda t: (t.toordinal() - 1) // 7, _week_name),
    "dekad": (_dekad_count, lambda n: f"{n // 36:04d}-{n % 36 + 1:02d}"),
    "month": (lambda t: t.year * 12 + t.month - 1, lambda n: f"{n // 12:04d}-{n % 12 + 1:02d}"),
    # December counts as month 0 of the next year, whose first season it begins.
    "season": (lambda t: (t.year * 12 + t.month) // 3, _season_name),
    "tropical-season": (lambda t: (t.year * 12 + t.month + 1) // 6, _tropical_name),
    "year": (lambda t: t.year, lambda n: f"{n:04d}"),
    "decade": (lambda t: t.year // 10, lambda n: f"{n * 10:04d}"),
    "decade-ad": (lambda t: (t.year - 1) // 10, lambda n: f"{n * 10 + 1:04d}"),
}
PERIODS = tuple(_PERIODS)
"""What all periods are called."""
