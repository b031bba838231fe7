"""Dates and times: plain RFC 3339 texts only, pixels hold none."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import parse_time
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import BooleanOrNull, Schema

_DATE_TIME = {"type": "string", "format": "date-time", "subtype": "date-time"}
_DATE = {"type": "string", "format": "date", "subtype": "date"}
_TIME = {"type": "string", "subtype": "time", "pattern": r"^\d{2}:\d{2}:\d{2}$"}
_EXACT = {
    "millisecond": timedelta(milliseconds=1),
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
"""Units that are always as long."""
_MONTHS = {"month": 1, "year": 12}
"""Units of the calendar, in months."""
_PARTS = re.compile(
    r"(?P<day>[^Tt ]*)"
    r"(?:(?P<blank>[Tt ])(?P<minute>\d{2}:\d{2}):(?P<second>\d{2})(?:\.(?P<fraction>\d+))?"
    r"(?P<offset>.*))?"
)

DateOrTime = Annotated[str, Schema([_DATE_TIME, _DATE, _TIME])]
Checked = Annotated[
    str | None,
    Schema([_DATE_TIME, _DATE, _TIME], checked=[_DATE_TIME, _DATE, _TIME, {"type": "null"}]),
]
Date = Annotated[str, Schema([_DATE_TIME, _DATE])]
Amount = Annotated[int, Schema({"type": "integer"})]
Unit = Annotated[str, Schema({"type": "string", "enum": [*_EXACT, *_MONTHS]})]
Difference = Annotated[float, Schema({"type": "number"})]
Flag = Annotated[bool, Schema({"type": "boolean"})]


@process("date_between", Role.SCALAR, categories=("comparison", "date & time"))
def date_between(
    x: Checked, min: DateOrTime, max: DateOrTime, exclude_max: Flag = False
) -> BooleanOrNull:
    """Whether a date or time lies between two others, min <= x <= max.

    Args:
        x: date, date with time, or time of day (UTC), as RFC 3339 text. A date means midnight UTC.
            No-data passes.
        min: lower bound; a time of day if `x` is one.
        max: upper bound; before `min` nothing lies between them.
        exclude_max: whether the upper bound itself lies outside.

    Returns:
        A boolean.

    Raises:
        ProcessParameterInvalid: one of the three is neither, or times of day stand beside dates.

    Source:
        openEO process `date_between` 2.0.0-rc.2; RFC 3339.
    """
    if x is None:
        return None
    of_day = [re.fullmatch(_TIME["pattern"], str(text)) is not None for text in (x, min, max)]
    if any(of_day) and not all(of_day):
        raise ArgumentInvalid(
            f"{x!r}, {min!r} and {max!r} are not of one kind. Compare three times of day, or three "
            "dates with or without time."
        )
    read = _time_of_day if all(of_day) else parse_time
    instant, first, last = read(x), read(min), read(max)
    return first <= instant and (instant < last if exclude_max else instant <= last)


@process("date_shift", Role.SCALAR, categories=("date & time",))
def date_shift(date: Date, value: Amount, unit: Unit) -> Date:
    """Date moved by a number of units, date + value * unit.

    Args:
        date: date, with or without a time, as RFC 3339 text. A date means midnight.
        value: how many units; negative ones go back.
        unit: millisecond, second, minute, hour, day, week, month or year. Days and longer keep
            the time of day.

    Returns:
        The date in the form of `date`: without a time if that has none, with its offset from UTC
        and its digits of a second; milliseconds are added if there are any. A day that the month
        does not have becomes its last one, a leap second the second before it.

    Raises:
        ProcessParameterInvalid: `date` is none, or the result lies outside of the years 1 to 9999.

    Source:
        openEO process `date_shift` 2.0.0-rc.2; RFC 3339.
    """
    local, parts = _local(date)
    count = int(value)
    try:
        if unit in _MONTHS:
            moved = _months_later(local, count * _MONTHS[unit])
        else:
            moved = local + count * _unit(unit)
    except (OverflowError, ValueError) as problem:
        raise ArgumentInvalid(
            f"{date!r} moved by {count} {unit}s is no date of the years 1 to 9999."
        ) from problem
    text = moved.isoformat()[: len(parts["day"])]
    if parts["blank"] is None:
        return text
    given = parts["fraction"] or ""
    digits = f"{moved.microsecond // 1000:03}" + given[3:]
    kept = digits if digits[len(given) :].strip("0") else digits[: len(given)]
    clock = moved.strftime("%H:%M:%S") + ("." + kept if kept else "")
    return f"{text}{parts['blank']}{clock}{parts['offset']}"


@process(
    "date_difference",
    Role.SCALAR,
    categories=("comparison", "date & time"),
    experimental=True,
)
def date_difference(date1: Date, date2: Date, unit: Unit = "second") -> Difference:
    """Time from one date to another, (date2 - date1) / unit.

    Args:
        date1: date, with or without a time, as RFC 3339 text. A date means midnight UTC.
        date2: the other one.
        unit: millisecond, second, minute, hour, day, week, month or year.

    Returns:
        Number of units, negative if `date2` is the earlier one. Months are those of the calendar
        in UTC: the whole months that `date_shift` can add to the earlier date, and of the rest
        the part that it is of the next one. Twelve of them are a year.

    Raises:
        ProcessParameterInvalid: one of the two is no date.

    Source:
        openEO process `date_difference` 2.0.0-rc.2; RFC 3339.
    """
    start, end = parse_time(date1), parse_time(date2)
    if unit in _MONTHS:
        months = _months_between(start, end) if start <= end else -_months_between(end, start)
        return _plain(months / _MONTHS[unit])
    return _plain((end - start) / _unit(unit))


def _time_of_day(text: str) -> datetime:
    """Return a time of day as an instant of one day, the same for all."""
    try:
        return parse_time(f"1970-01-01T{text}Z")
    except ArgumentInvalid as problem:
        raise ArgumentInvalid(
            f"{text!r} is no time of day. Valid are 00:00:00 to 23:59:59."
        ) from problem


def _unit(name: str) -> timedelta:
    if name not in _EXACT:
        raise ArgumentInvalid(f"unit={name!r} is none of {', '.join((*_EXACT, *_MONTHS))}.")
    return _EXACT[name]


def _local(text: str) -> tuple[datetime, dict[str, Any]]:
    """Return a date as its own clock shows it, to the millisecond, and the parts of its text."""
    parse_time(text)  # says what is wrong with it
    match = _PARTS.fullmatch(text)
    if match is None:
        raise TypeError(f"{text!r} is a time that has no parts.")
    parts = match.groupdict()
    year, month, day = (int(part) for part in (parts["day"] + "-01-01").split("-")[:3])
    hour, minute = map(int, (parts["minute"] or "00:00").split(":"))
    second = min(int(parts["second"] or 0), 59)
    thousandths = int((parts["fraction"] or "")[:3].ljust(3, "0"))
    return datetime(year, month, day, hour, minute, second, thousandths * 1000, UTC), parts


def _months_later(instant: datetime, count: int) -> datetime:
    """Return the instant so many months later, at the last day of the month at most.

    Raises:
        ValueError: there is no such year.
    """
    year, month = divmod(instant.year * 12 + instant.month - 1 + count, 12)
    if not 1 <= year <= 9999:  # noqa: PLR2004 - the years that there are
        raise ValueError(year)
    day = min(instant.day, monthrange(year, month + 1)[1])
    return instant.replace(year=year, month=month + 1, day=day)


def _months_between(start: datetime, end: datetime) -> float:
    """Return the months from a date to one that is not before it."""
    whole = (end.year - start.year) * 12 + end.month - start.month
    if _months_later(start, whole) > end:
        whole -= 1
    known = _months_later(start, whole)
    if known == end:
        return whole
    try:
        length = _months_later(start, whole + 1) - known
    except ValueError:  # it ends after the last year that there is
        length = timedelta(days=31)
    return whole + (end - known) / length


def _plain(number: float) -> float:
    return int(number) if float(number).is_integer() else number
