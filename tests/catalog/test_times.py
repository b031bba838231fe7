"""Instants and intervals, exact to the microsecond."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.errors import ArgumentInvalid, TemporalExtentEmpty
from terrazzo.geo.times import contains, format_time, parse_interval, parse_time, solar_day

instants = st.datetimes(timezones=st.just(UTC))


@given(instants)
def test_a_written_time_is_read_back_exactly(instant):
    assert parse_time(format_time(instant)) == instant


@given(
    st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001
    st.integers(-23 * 60, 23 * 60),
)
def test_offsets_mean_the_same_instant_as_python_says(naive, minutes):
    instant = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))

    assert parse_time(instant.isoformat()) == instant
    assert parse_time(format_time(instant)) == instant


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2018", "2018-01-01T00:00:00Z"),
        ("2018-05", "2018-05-01T00:00:00Z"),
        ("2018-05-01", "2018-05-01T00:00:00Z"),
        ("2018-05-01t09:20:31z", "2018-05-01T09:20:31Z"),
        ("2018-05-01 09:20:31+02:00", "2018-05-01T07:20:31Z"),
        ("2018-05-01T09:20:31.500Z", "2018-05-01T09:20:31.5Z"),
        ("2018-05-01T09:20:31.123456789Z", "2018-05-01T09:20:31.123456Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2020-02-29", "2020-02-29T00:00:00Z"),
    ],
)
def test_times_are_read_in_every_form_that_is_documented(text, expected):
    assert format_time(parse_time(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "..", "now", "18", "2018-13", "2018-02-30", "2018-05-01T24:00:00Z", "2018-05-01T09:20Z",
        "2018-05-01T09:20:31", "2018-05-01T09:20:31+25:00", "2018-05-01T09:20:31+01:60",
        "0000-01-01", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", " 2018", "2018\n",
        "٢٠١٨", None, 2018,
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_what_would_be_valid(text):
    with pytest.raises(ArgumentInvalid, match="2018-05-01T09:20:31Z"):
        parse_time(text)


def test_a_time_without_offset_is_refused_with_the_way_out():
    with pytest.raises(ArgumentInvalid, match="write 2018-05-01T00:00:00Z if it is UTC"):
        parse_time("2018-05-01T00:00:00")
    with pytest.raises(ArgumentInvalid, match="no timezone"):
        format_time(datetime(2018, 5, 1))  # noqa: DTZ001


def test_intervals_are_half_open_and_may_be_unbounded():
    year = parse_interval("2018", "2019")
    before = parse_interval("..", "2018")
    after = parse_interval("2018-01-01", None)

    start, end = parse_time("2018"), parse_time("2019")
    assert year == (start, end)
    assert contains(year, start)
    assert not contains(year, end)
    assert not contains(before, start)
    assert contains(after, end)
    assert contains(parse_interval(None, ""), start)


@pytest.mark.parametrize("end", ["2018-01-01", "2017-12-31"])
def test_an_interval_without_an_instant_is_refused(end):
    with pytest.raises(TemporalExtentEmpty, match="no instant"):
        parse_interval("2018-01-01", end)


@pytest.mark.parametrize(
    ("text", "longitude", "day"),
    [
        ("2018-05-01T23:00:00Z", 15.0, date(2018, 5, 2)),
        ("2018-05-01T22:59:59Z", 15.0, date(2018, 5, 1)),
        ("2018-05-01T00:30:00Z", -15.0, date(2018, 4, 30)),
        ("2018-05-01T00:30:00Z", 345.0, date(2018, 4, 30)),
        ("2018-05-01T12:00:00Z", 180.0, date(2018, 5, 1)),
    ],
)
def test_the_solar_day_follows_the_sun(text, longitude, day):
    assert solar_day(parse_time(text), longitude) == day


def test_a_solar_day_needs_a_longitude_and_a_timezone():
    with pytest.raises(ArgumentInvalid, match="nan"):
        solar_day(parse_time("2018"), float("nan"))
    with pytest.raises(ArgumentInvalid, match="timezone"):
        solar_day(datetime(2018, 1, 1), 0.0)  # noqa: DTZ001
