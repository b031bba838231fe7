"""Durations of ISO 8601 and the instants that lie so long before or after another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.durations import Duration, parse_duration


@pytest.mark.parametrize(
    ("text", "months", "span"),
    [
        ("P1D", 0, timedelta(days=1)),
        ("P2W", 0, timedelta(weeks=2)),
        ("P1Y2M10D", 14, timedelta(days=10)),
        ("PT36H", 0, timedelta(hours=36)),
        ("P1M", 1, timedelta()),
        ("PT1M", 0, timedelta(minutes=1)),
        ("P1DT1H2M3.5S", 0, timedelta(days=1, hours=1, minutes=2, seconds=3.5)),
    ],
)
def test_durations_are_months_and_a_span(text: str, months: int, span: timedelta) -> None:
    assert parse_duration(text) == Duration(months, span)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "1D",
        "P1X",
        "P1.5D",
        "-P1D",
        "P0D",
        "P1D1W",
        "P" + "9" * 40 + "D",
        "P" + "9" * 400 + "Y",
    ],
)
def test_what_is_no_positive_duration_is_refused(text: str) -> None:
    with pytest.raises(ArgumentInvalid):
        parse_duration(text)


@given(
    start=st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - made aware below
    months=st.integers(0, 40),
    days=st.integers(0, 400),
    times=st.integers(-6, 6),
)
def test_months_keep_the_day_or_end_with_the_month(
    start: datetime, months: int, days: int, times: int
) -> None:
    found = Duration(months, timedelta(days=days)).after(start.replace(tzinfo=UTC), times)

    shifted = pd.Timestamp(start) + pd.DateOffset(months=months * times)
    assert found == (shifted.to_pydatetime() + times * timedelta(days=days)).replace(tzinfo=UTC)


def test_instants_outside_of_the_calendar_are_refused() -> None:
    with pytest.raises(ArgumentInvalid, match="9999"):
        Duration(12, timedelta()).after(datetime(9999, 6, 1, tzinfo=UTC))
    with pytest.raises(ArgumentInvalid, match="9999"):
        Duration(0, timedelta(days=9)).after(datetime(1, 1, 3, tzinfo=UTC), -1)
