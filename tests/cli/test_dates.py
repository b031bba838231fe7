"""The map of dates: every item is counted, every line fits."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.cli.dates import date_map, day_of

DAYS = st.dictionaries(
    st.dates(date(1985, 1, 1), date(2030, 1, 1)), st.integers(1, 20_000), min_size=1, max_size=20
)


def drawn(days: dict[date, int], **options: int) -> list[str]:
    return list(date_map(days, **options))


def test_years_are_drawn_by_months_with_numbers_and_sums():
    days = {date(2018, 1, 5): 3, date(2018, 1, 9): 1, date(2019, 12, 31): 8}

    assert drawn(days) == [
        "12 items, 2018-01-05 to 2019-12-31",
        "",
        "     Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
        "2018  ▒4" + "   ·" * 11 + " 4",
        "2019" + "   ·" * 11 + "  █8 8",
        "",
        "░ 1-2  ▒ 3-4  ▓ 5-6  █ 7-8",
    ]


def test_short_periods_are_drawn_by_days():
    days = {date(2024, 2, 29): 2, date(2024, 3, 1): 1}

    _, _, head, february, march = drawn(days)

    assert head.split() == [str(day % 10) for day in range(1, 32)]
    assert february.split() == ["2024-02", *"·" * 28, "2", "2"]
    assert march.split() == ["2024-03", "1", *"·" * 30, "1"]
    assert len(february) == len(march)


def test_where_numbers_do_not_fit_marks_stand_for_them():
    first = date(2020, 1, 1)
    days = {first + timedelta(days=n): n + 1 for n in range(20)}

    row, _, legend = drawn(days)[-3:]

    assert row.split()[1:21] == ["░"] * 5 + ["▒"] * 5 + ["▓"] * 5 + ["█"] * 5
    assert legend == "░ 1-5  ▒ 6-10  ▓ 11-15  █ 16-20"


@given(DAYS, st.integers(16, 200))
def test_no_line_is_wider_than_it_may_be(days, width):
    lines = drawn(days, width=width)

    assert max(map(len, lines)) <= width


@given(st.dictionaries(st.dates(date(2001, 1, 1), date(2009, 1, 1)), st.integers(1, 9), min_size=1))
def test_the_numbers_of_the_map_are_those_of_the_items(days):
    lines = drawn(days, width=240, blocks=False)

    rows = [line for line in lines[3:] if re.match(r"\d{4}", line.lstrip())]
    cells = [re.findall(r"\d+", line.split(maxsplit=1)[1]) for line in rows]
    assert lines[0].startswith(f"{sum(days.values())} item")
    assert all(sum(map(int, row[:-1])) == int(row[-1]) for row in cells)
    assert sum(int(row[-1]) for row in cells) == sum(days.values())
    assert "\n".join(lines).isascii()


def test_a_long_time_without_items_is_one_line():
    lines = drawn({date(1972, 7, 25): 1, date(2024, 1, 1): 1})

    assert [line[:4] for line in lines[3:6]] == ["1972", " ...", "2024"]


def test_nothing_is_drawn_of_nothing():
    assert drawn({}) == []


@pytest.mark.parametrize(
    ("properties", "day"),
    [
        ({"datetime": "2020-01-01T23:30:00-02:00"}, date(2020, 1, 2)),
        ({"datetime": None, "start_datetime": "2020-05-01T00:00:00Z"}, date(2020, 5, 1)),
    ],
)
def test_the_day_of_an_item_is_that_of_its_start_in_utc(properties, day):
    assert Counter([day_of({"properties": properties})]) == {day: 1}
