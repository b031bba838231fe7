"""Instants and intervals: RFC 3339 text to aware datetimes and back, exact to the microsecond.

An interval is a pair `(start, end)` in which None means unbounded, and it is half-open
everywhere in Terrazzo: `start <= instant < end`.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from math import isfinite
from typing import TypeAlias

from terrazzo.errors import ArgumentInvalid, TemporalExtentEmpty

Interval: TypeAlias = tuple[datetime | None, datetime | None]
"""Start (included) and end (excluded); None is unbounded."""

_RFC_3339 = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d{2})(?:-(?P<day>\d{2})"
    r"(?:[Tt ](?P<hour>\d{2}):(?P<minute>\d{2}):(?P<second>\d{2})(?:\.(?P<fraction>\d+))?"
    r"(?P<offset>[Zz]|[+-]\d{2}:\d{2}))?)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_VALID = (
    "Valid are 2018-05-01T09:20:31Z, 2018-05-01T11:20:31.5+02:00, 2018-05-01 (midnight UTC), "
    "2018-05 and 2018 (their first instant)."
)


def parse_time(text: str) -> datetime:
    """Read an instant: RFC 3339, or a date, month or year, which mean their first instant in UTC.

    Args:
        text: `2018-05-01T09:20:31.25Z`, any offset (`+02:00`), a blank or lower-case `t` instead
            of `T`; `2018-05-01`; `2018-05`; `2018`. Digits beyond the microsecond are cut off. A
            leap second (`:60`) is the instant after it.

    Returns:
        The instant, timezone UTC.

    Raises:
        ArgumentInvalid: `text` is none of these, has no offset, or is no day of the calendar.

    Source:
        RFC 3339, section 5.6.
    """
    match = _matched(text)
    if match is None:
        zoned = _matched(f"{text}Z")
        hint = f" It has no offset from UTC: write {text}Z if it is UTC." if zoned else ""
        raise ArgumentInvalid(f"{text!r} is not a time.{hint} {_VALID}")
    part = match.groupdict()
    second = int(part["second"] or 0)
    leap = second == 60  # noqa: PLR2004 - RFC 3339 names the leap second so
    try:
        local = datetime(
            int(part["year"]),
            int(part["month"] or 1),
            int(part["day"] or 1),
            int(part["hour"] or 0),
            int(part["minute"] or 0),
            59 if leap else second,
            0 if leap else int((part["fraction"] or "0")[:6].ljust(6, "0")),
            tzinfo=_zone(part["offset"]),
        )
        return local.astimezone(UTC) + timedelta(seconds=leap)
    except (ValueError, OverflowError) as problem:
        raise ArgumentInvalid(f"{text!r} is not a time: {problem}. {_VALID}") from problem


def _matched(text: object) -> re.Match[str] | None:
    """Take a text apart; None if it is none or has another form."""
    return _RFC_3339.fullmatch(text) if isinstance(text, str) else None


def _zone(offset: str | None) -> timezone:
    """Read `Z`, `+02:00` or nothing; hours up to 23, minutes up to 59."""
    if offset is None or offset in "Zz":
        return UTC
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if minutes > 59:  # noqa: PLR2004 - minutes of an hour
        raise ValueError(f"offset {offset} has {minutes} minutes")
    size = timedelta(hours=hours, minutes=minutes)
    return timezone(-size if offset[0] == "-" else size)


def format_time(instant: datetime) -> str:
    """Write an instant as RFC 3339 in UTC: `2018-05-01T09:20:31Z`, a fraction only if there is one.

    Args:
        instant: an aware datetime, any timezone.

    Returns:
        The shortest text that `parse_time` turns back into the same instant.

    Raises:
        ArgumentInvalid: `instant` has no timezone.
    """
    if instant.tzinfo is None:
        raise ArgumentInvalid(
            f"{instant!r} has no timezone. If it is UTC, say so: `.replace(tzinfo=datetime.UTC)`."
        )
    naive = instant.astimezone(UTC).replace(tzinfo=None)
    text = naive.isoformat()
    return (text.rstrip("0") if naive.microsecond else text) + "Z"


def microseconds(instant: datetime) -> int:
    """Return an instant as whole microseconds since 1970, exactly."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(microseconds: int) -> datetime:
    """Return the instant so many microseconds after 1970 began."""
    return _EPOCH + microseconds * _MICROSECOND


def parse_interval(start: str | None, end: str | None) -> Interval:
    """Read a half-open interval `[start, end)`; None, `".."` and `""` are unbounded.

    Args:
        start: first instant of the interval, as for `parse_time`.
        end: first instant after it. A date means its midnight, so that day is not included.

    Returns:
        Both ends in UTC, None where unbounded.

    Raises:
        ArgumentInvalid: an end is not a time.
        TemporalExtentEmpty: `end` is not after `start`.
    """
    first, last = _bound(start), _bound(end)
    if first is not None and last is not None and last <= first:
        raise TemporalExtentEmpty(
            f"The interval [{start}, {end}) holds no instant: its end is excluded and must be "
            "after its start."
        )
    return first, last


def parse_filter(start: str | None, end: str | None) -> Interval:
    """Read a half-open interval that is unbounded at one end at most.

    Args:
        start: as for `parse_interval`.
        end: likewise.

    Returns:
        Both ends in UTC, None where unbounded.

    Raises:
        ArgumentInvalid: an end is not a time, or both are unbounded.
        TemporalExtentEmpty: `end` is not after `start`.
    """
    interval = parse_interval(start, end)
    if interval == (None, None):
        raise ArgumentInvalid(
            f"The interval [{start}, {end}) has neither start nor end. Give at least one of them."
        )
    return interval


def _bound(text: str | None) -> datetime | None:
    """Read one end of an interval."""
    return None if text is None or text in ("", "..") else parse_time(text)


def contains(interval: Interval, instant: datetime) -> bool:
    """Tell whether `start <= instant < end`."""
    start, end = interval
    return (start is None or start <= instant) and (end is None or instant < end)


def solar_day(instant: datetime, longitude: float) -> date:
    """Return the calendar day in mean solar time, UTC + longitude / 15 hours.

    All images of one overpass fall on one solar day, also where UTC midnight cuts a swath.

    Args:
        instant: an aware datetime, any timezone.
        longitude: of the place, degrees east, -180..180 or 0..360.

    Returns:
        The local day.

    Raises:
        ArgumentInvalid: `longitude` is not finite or `instant` has no timezone.
    """
    if not isfinite(longitude):
        raise ArgumentInvalid(f"Longitude {longitude!r} is not a number of degrees (-180..180).")
    if instant.tzinfo is None:
        raise ArgumentInvalid(f"{instant!r} has no timezone; a solar day needs UTC.")
    wrapped = (longitude + 180.0) % 360.0 - 180.0
    return (instant.astimezone(UTC) + timedelta(seconds=wrapped * 240.0)).date()
