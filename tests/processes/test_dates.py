"""Dates: units of the calendar against NumPy's datetime64, forms of text, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.processes.scalar_cases import run

from terrazzo.errors import ArgumentInvalid

EXACT = {"millisecond": "ms", "second": "s", "minute": "m", "hour": "h", "day": "D", "week": "W"}
INSTANTS = st.datetimes(datetime(1600, 1, 1), datetime(2400, 1, 1)).map(  # noqa: DTZ001 - NumPy's
    lambda instant: instant.replace(microsecond=0)
)


def months_later(day: np.datetime64, count: int) -> np.datetime64:
    """Return a day so many months later with NumPy's months: never beyond the last of a month."""
    month = day.astype("datetime64[M]")
    within = day.astype("datetime64[D]") - month.astype("datetime64[D]")
    there = month + count
    last = (there + 1).astype("datetime64[D]") - there.astype("datetime64[D]") - 1
    return there.astype("datetime64[D]") + min(within, last)


@given(instant=INSTANTS, count=st.integers(-5000, 5000), unit=st.sampled_from(sorted(EXACT)))
def test_exact_units_are_those_of_numpy(instant: datetime, count: int, unit: str) -> None:
    text = f"{instant.isoformat()}.000Z"

    moved = run("date_shift", text, count, unit)

    expected = np.datetime64(instant, "ms") + np.timedelta64(count, EXACT[unit])
    assert moved == f"{expected}Z"
    assert run("date_difference", text, moved, unit) == count


@given(
    instant=INSTANTS,
    count=st.integers(-1200, 1200),
    offset=st.sampled_from(["Z", "z", "+00:00", "+05:30", "-11:00"]),
)
def test_months_keep_the_time_and_the_offset(instant: datetime, count: int, offset: str) -> None:
    text = f"{instant.isoformat()}{offset}"

    moved = run("date_shift", text, count, "month")

    day = months_later(np.datetime64(instant, "D"), count)
    assert moved == f"{day}T{instant.time().isoformat()}{offset}"


@given(instant=INSTANTS, years=st.integers(-300, 300))
def test_a_year_is_twelve_months(instant: datetime, years: int) -> None:
    text = f"{instant.isoformat()}Z"

    assert run("date_shift", text, years, "year") == run("date_shift", text, 12 * years, "month")


@given(first=INSTANTS, second=INSTANTS)
def test_difference_in_months_lies_between_the_shifts(first: datetime, second: datetime) -> None:
    first, second = sorted((first, second))

    months = run("date_difference", f"{first.isoformat()}Z", f"{second.isoformat()}Z", "month")

    whole = int(months // 1)
    start, end = (np.datetime64(instant, "s") for instant in (first, second))
    clock = start - start.astype("datetime64[D]")
    before, after = (months_later(start, whole + more) + clock for more in (0, 1))
    assert before <= end < after
    assert months == pytest.approx(whole + (end - before) / (after - before))
    assert run("date_difference", f"{second}Z", f"{first}Z".replace(" ", "T"), "month") == -months


@pytest.mark.parametrize(
    ("given", "value", "unit", "expected"),
    [
        ("2020-01-31", 13, "month", "2021-02-28"),
        ("2020-01", 1, "month", "2020-02"),
        ("2020", -1, "year", "2019"),
        ("2020-03-01", -1, "millisecond", "2020-02-29"),
        ("2020-03-01 10:00:00Z", 1, "day", "2020-03-02 10:00:00Z"),
        ("2020-03-01t10:00:00.50z", 25, "hour", "2020-03-02t11:00:00.50z"),
        ("2020-03-01T10:00:00.5Z", 250, "millisecond", "2020-03-01T10:00:00.750Z"),
        ("2020-03-01T10:00:00.5Z", 500, "millisecond", "2020-03-01T10:00:01.0Z"),
        ("2020-03-01T10:00:00.123456789Z", 1, "millisecond", "2020-03-01T10:00:00.124456789Z"),
        ("2020-03-01T00:30:00+01:00", -1, "hour", "2020-02-29T23:30:00+01:00"),
        ("2016-12-31T23:59:60Z", 1, "second", "2017-01-01T00:00:00Z"),
        ("2016-12-31T23:59:60Z", 1, "month", "2017-01-31T23:59:59Z"),
    ],
)
def test_result_has_the_form_of_the_date(given: str, value: int, unit: str, expected: str) -> None:
    assert run("date_shift", given, value, unit) == expected


def test_whole_numbers_may_be_written_with_a_point() -> None:
    assert run("date_shift", "2020-01-01", 2.0, "day") == "2020-01-03"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("date_shift", ("9999-12-31", 1, "day")),
        ("date_shift", ("0001-01-01", -1, "month")),
        ("date_shift", ("2020-01-01", 10**15, "year")),
        ("date_shift", ("2020-01-01", 10**15, "week")),
        ("date_shift", ("2020-02-30", 1, "day")),
        ("date_shift", ("2020-01-01T00:00:00", 1, "day")),
        ("date_shift", (None, 1, "day")),
        ("date_shift", ("2020-01-01", 1, "decade")),
        ("date_difference", ("2020-01-01", "tomorrow")),
        ("date_between", ("2020-01-01", "00:00:00", "2021-01-01")),
        ("date_between", ("25:00:00", "00:00:00", "23:00:00")),
        ("date_between", ("2020", "soon", "2021-01-01")),
    ],
)
def test_what_is_no_date_is_refused(name: str, arguments: tuple) -> None:
    with pytest.raises(ArgumentInvalid):
        run(name, *arguments)


def test_difference_counts_offsets_and_parts() -> None:
    assert run("date_difference", "2020-01-01", "2020-01-01T18:00:00+06:00", "day") == 0.5
    assert run("date_difference", "2020-01-02", "2020-01-01") == -24 * 3600
    assert type(run("date_difference", "2020-01-02", "2020-01-01")) is int
    assert run("date_difference", "2020-02-29", "2021-02-28", "year") == 1
    assert run("date_difference", "2020-01-01", "2020-04-01", "year") == 3 / 12
    assert run("date_difference", "9999-12-01", "9999-12-31", "month") == 30 / 31


def test_between_compares_instants_and_times_of_day() -> None:
    noon = "2020-06-01T12:00:00Z"
    later = datetime(2020, 6, 1, 12, tzinfo=UTC) + timedelta(hours=3)

    assert run("date_between", noon, "2020-06-01", "2020-06-02") is True
    assert run("date_between", noon, "2020-05-01", "2020-06-01") is False
    assert run("date_between", noon, noon, "2020-06-01T14:00:00+02:00") is True
    assert run("date_between", noon, noon, noon, exclude_max=True) is False
    assert run("date_between", noon, later.isoformat(), "2020-05-01") is False
    assert run("date_between", "12:00:00", "12:00:00", "13:00:00") is True
    assert run("date_between", None, "2020-06-01", "2020-06-02") is None
    assert run("date_between", "12:00:00", "09:00:00", "12:00:00", exclude_max=True) is False
