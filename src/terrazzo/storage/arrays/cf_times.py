"""The times of a CF cube: calendars, periods, and what global attributes say."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import cftime
import numpy as np

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import parse_time
from terrazzo.storage.arrays.cf_axes import number_of
from terrazzo.storage.arrays.hdf5_check import LARGEST_AXIS
from terrazzo.storage.arrays.types import Moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

_MONTHS: Final = re.compile(r"\s*(month|year)s?\s+since\s+(.+)", re.IGNORECASE)
_LONGEST: Final = timedelta(days=36600)
_DAY: Final = timedelta(days=1)
_PAIR: Final = 2
_COVERAGE: Final = ("time_coverage_start", "time_coverage_end")


def moments_of(name: str, data: xr.Dataset, coordinate: str) -> tuple[Moment, ...]:
    """Return instants or periods of a time coordinate, in its order.

    A time with bounds (CF 7.1) is the period between them.

    Args:
        name: of the file, for messages.
        data: its variables, undecoded.
        coordinate: name of the variable; empty for none.

    Raises:
        ArgumentInvalid: they cannot be read, are empty, or the calendar has days that there are
            not.
    """
    if not coordinate:
        return ()
    variable = data.variables[coordinate]
    if not 0 < variable.size <= LARGEST_AXIS:
        raise ArgumentInvalid(f"{name!r} has a time axis of {variable.size:,} dates.")
    starts = _decoded(name, variable, variable.attrs)
    bounds = str(variable.attrs.get("bounds", ""))
    if bounds not in data.variables or data.variables[bounds].shape != (*variable.shape, _PAIR):
        return tuple(Moment(start) for start in starts)
    inherited = {k: v for k, v in variable.attrs.items() if k in {"units", "calendar"}}
    pairs = _decoded(name, data.variables[bounds], inherited | data.variables[bounds].attrs)
    found = []
    for instant, start, end in zip(starts, pairs[::2], pairs[1::2], strict=True):
        meant = start < end <= start + _LONGEST and start <= instant <= end
        found.append(Moment(start, end) if meant else Moment(instant))
    return tuple(found)


def time_coordinate(data: xr.Dataset) -> str:
    """Return the coordinate of a cube with a single date and no dimension of time; empty if none.

    It is a variable of one number, named or described as time.
    """
    for name, variable in data.variables.items():
        standard = str(variable.attrs.get("standard_name", ""))
        if variable.size != 1 or len(variable.dims) > 1 or standard == "forecast_reference_time":
            continue
        dated = " since " in str(variable.attrs.get("units", "")) or variable.dtype.kind == "M"
        if dated and (str(name).lower() in {"t", "time", "valid_time"} or standard == "time"):
            return str(name)
    return ""


def covered(attributes: Mapping[str, Any]) -> Moment | None:
    """Return the time that global attributes state; a period where it is a day or longer."""
    told: list[datetime] = []
    for key in _COVERAGE:
        try:
            told.append(_instant(str(attributes[key]).strip()))
        except (KeyError, ArgumentInvalid):
            break
    if not told:
        return None
    whole = len(told) == _PAIR and _DAY - timedelta(minutes=1) <= told[1] - told[0]
    return Moment(told[0], told[1] if whole else None)


def _decoded(name: str, variable: xr.Variable, attributes: Mapping[str, Any]) -> list[datetime]:
    values = np.atleast_1d(variable.to_numpy()).ravel()
    if values.dtype.kind in "OUST":
        texts = [v.decode() if isinstance(v, bytes) else str(v) for v in values]
        return [_instant(text) for text in texts]
    if values.dtype.kind == "M":
        return [_instant(text) for text in np.datetime_as_string(values, unit="ms")]
    units = str(attributes.get("units", ""))
    calendar = str(attributes.get("calendar", "standard")).lower()
    numbers = values.astype(np.float64) if values.dtype.kind == "f" else values
    if _is_packed(attributes):
        scale = number_of(attributes.get("scale_factor"), 1.0)
        numbers = numbers * scale + number_of(attributes.get("add_offset"), 0.0)
    try:
        if not np.isfinite(numbers).all():
            raise ValueError("some are no numbers")  # noqa: TRY301 - told like the others
        months = _MONTHS.fullmatch(units)
        if months and calendar != "360_day":
            return [_months_later(months, number) for number in numbers.tolist()]
        found = cftime.num2date(numbers, units, calendar, only_use_cftime_datetimes=True)
        return [_instant(moment.isoformat()) for moment in np.atleast_1d(found)]
    except (ValueError, OverflowError, AttributeError, TypeError) as error:
        raise ArgumentInvalid(
            f"The times of {name!r} (units {units!r}) cannot be read: {error}. CF units look "
            "like 'days since 2015-08-01'."
        ) from None
    except ArgumentInvalid:
        raise ArgumentInvalid(
            f"The times of {name!r} are of the calendar {calendar!r} and hold a day that there is "
            "not. Convert them first, for example with xarray's `convert_calendar`."
        ) from None


def _is_packed(attributes: Mapping[str, Any]) -> bool:
    return "scale_factor" in attributes or "add_offset" in attributes


def _months_later(match: re.Match[str], number: float) -> datetime:
    """Return a date whole months or years after another one.

    Raises:
        ValueError: not whole.
    """
    months = number * (12 if match[1].lower() == "year" else 1)
    if months != round(months):
        raise ValueError(f"{number} {match[1]}s are no date")
    since = _instant(match[2].strip())
    year, month = divmod(since.year * 12 + since.month - 1 + round(months), 12)
    return since.replace(year=year, month=month + 1)


def _instant(text: str) -> datetime:
    """Read an instant, to the millisecond; CF times without a zone are UTC."""
    for one in (text, f"{text}Z", text.replace(" ", "T", 1) + "Z"):
        try:
            found = parse_time(one).astimezone(UTC)
        except ArgumentInvalid:
            continue
        rest = timedelta(microseconds=found.microsecond % 1000)
        half = timedelta(microseconds=500)
        return found - rest + (2 * half if rest >= half else timedelta())
    return parse_time(text)
