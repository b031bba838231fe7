"""Durations of ISO 8601: calendar months and a span of time, added to instants."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from datetime import datetime

MONTHS = 12
"""Of a year."""
_ISO = re.compile(
    r"(?P<sign>-?)P(?=\d|T\d)(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?"
    r"(?:(?P<weeks>\d+)W|(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Duration:
    """A positive length of time, in part of the calendar."""

    months: int
    """Calendar months, years among them."""
    span: timedelta
    """The rest, exact."""

    def after(self, instant: datetime, times: int = 1) -> datetime:
        """Return the instant that lies so many durations later; negative ones lie earlier.

        Months keep the day; where a month has no such day, its last one is taken.

        Raises:
            ArgumentInvalid: it lies outside of the years 1 to 9999.
        """
        ordinal = instant.year * MONTHS + instant.month - 1 + times * self.months
        year, month = divmod(ordinal, MONTHS)
        try:
            last = monthrange(year, month + 1)[1]
            moved = instant.replace(year=year, month=month + 1, day=min(instant.day, last))
            return moved + times * self.span
        except (ValueError, OverflowError) as error:
            raise ArgumentInvalid(
                f"{times} times {self.months} months and {self.span} from {instant} is outside of "
                "the years 1 to 9999. Choose a shorter duration."
            ) from error


def parse_duration(text: str) -> Duration:
    """Read a duration such as `P1M`, `P10D` or `PT6H`.

    Raises:
        ArgumentInvalid: it is none, is not positive, or is longer than can be counted.
    """
    match = _ISO.fullmatch(text)
    if match is None:
        raise ArgumentInvalid(
            f"{text!r} is no duration of ISO 8601. Valid are for example P10D, P1M and PT6H."
        )
    part = {name: float(value or 0) for name, value in match.groupdict().items() if name != "sign"}
    try:
        span = timedelta(
            weeks=part["weeks"],
            days=part["days"],
            hours=part["hours"],
            minutes=part["minutes"],
            seconds=part["seconds"],
        )
        months = int(part["years"]) * MONTHS + int(part["months"])
    except OverflowError as error:
        raise ArgumentInvalid(f"The duration {text[:100]!r} is too long.") from error
    if match["sign"] or (not months and not span):
        raise ArgumentInvalid(f"The duration {text!r} must be more than nothing.")
    return Duration(months, span)
