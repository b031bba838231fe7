"""Conditions on features: what looks at whole columns never loses what the filter accepts."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from terrazzo.catalog import Filter
from terrazzo.drivers.features.conditions import FeatureFacts, check_names, instants, narrowed
from terrazzo.errors import FilterInvalid
from terrazzo.storage.vectors.reading import plain_value

WHOLE = st.sampled_from([0, 1, -3, 7, 2**52, 2**53, 2**53 + 1, 2**62]) | st.integers(-9, 9)
REAL = st.sampled_from([0.0, -0.0, 0.1, float("nan"), float("inf"), 2.0**53]) | st.floats(-5, 5)
TEXT = st.sampled_from(["", "rye", "Rye", "ryé", "r%", "wheat", "2020-05-01", "\U0001f33e"])
KINDS = {
    "whole": (pa.int64(), WHOLE),
    "small": (pa.uint8(), st.integers(0, 255)),
    "real": (pa.float64(), REAL),
    "short": (pa.float32(), REAL),
    "text": (pa.string(), TEXT),
    "truth": (pa.bool_(), st.booleans()),
    "day": (pa.date32(), st.dates(min_value=date(2019, 1, 1))),
}
CONSTANTS = WHOLE | REAL.filter(np.isfinite) | TEXT | st.booleans()
NAMES = st.sampled_from([*KINDS, "datetime", "id", "missing"])


def compared() -> st.SearchStrategy[Any]:
    name = NAMES.map(lambda one: {"property": one})
    two = st.tuples(
        st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), name, CONSTANTS, st.booleans()
    )
    plain = two.map(lambda t: {"op": t[0], "args": [t[1], t[2]] if t[3] else [t[2], t[1]]})
    between = st.tuples(name, CONSTANTS, CONSTANTS).map(
        lambda t: {"op": "between", "args": list(t)}
    )
    among = st.tuples(name, st.lists(CONSTANTS, min_size=1, max_size=4)).map(
        lambda t: {"op": "in", "args": [t[0], t[1]]}
    )
    like = st.tuples(name, st.sampled_from(["r%", "%y%", "_ye"])).map(
        lambda t: {"op": "like", "args": list(t)}
    )
    null = name.map(lambda one: {"op": "isNull", "args": [one]})
    pair = st.tuples(name, name).map(lambda t: {"op": "=", "args": list(t)})
    return plain | between | among | like | null | pair


FILTERS = st.recursive(
    compared(),
    lambda inner: (
        st.lists(inner, min_size=2, max_size=3).flatmap(
            lambda parts: st.sampled_from(["and", "or"]).map(lambda op: {"op": op, "args": parts})
        )
        | inner.map(lambda one: {"op": "not", "args": [one]})
    ),
    max_leaves=5,
)


def columns(data: Any, count: int) -> Any:
    """Return an Arrow table with some nulls in it."""
    made = {}
    for name, (kind, values) in KINDS.items():
        drawn = data.draw(st.lists(st.none() | values, min_size=count, max_size=count))
        made[name] = pa.array(drawn, kind)
    return pa.table(made)


@settings(max_examples=150, deadline=None)
@given(st.data(), FILTERS, st.integers(1, 6))
def test_no_row_is_lost_that_the_filter_accepts(data: Any, document: Any, count: int):
    try:
        condition = Filter.of(document)
    except FilterInvalid:
        return
    table = columns(data, count)
    when = datetime(2020, 5, 1, tzinfo=UTC)
    rows = [{name: plain_value(value) for name, value in row.items()} for row in table.to_pylist()]
    accepted = np.array([
        condition.holds(FeatureFacts(f"item.{n}", row, shapely.Point(1, 2), (when, when)))
        for n, row in enumerate(rows)
    ])  # fmt: skip

    kept = narrowed(condition, table)

    assert not (accepted & ~kept).any()


def test_comparisons_with_constants_leave_out_what_does_not_meet_them():
    table = pa.table({"crop": ["rye", "wheat", None], "year": [2019, 2020, 2021]})

    for text, expected in (
        ("crop = 'rye'", [True, False, False]),
        ("year > 2019 AND crop <> 'rye'", [False, True, False]),
        ("crop LIKE '%e%'", [True, True, False]),
        ("crop IS NULL", [False, False, True]),
        ("NOT year IN (2019, 2021)", [False, True, False]),
        ("crop = 'rye' OR year = 2021", [True, True, True]),  # of two attributes: not looked at
    ):
        assert narrowed(Filter.of(text), table).tolist() == expected, text


def test_names_that_no_feature_has_are_refused():
    with pytest.raises(FilterInvalid, match="Did you mean 'crop'"):
        check_names(Filter.of("NOT crap = 1"), {"crop": "string"})


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("2020-05-01", "2020-05-01T00:00:00", "2020-05-01T23:59:59.999999"),
        ("2020-05-01T10:00:00Z", "2020-05-01T10:00:00", "2020-05-01T10:00:00"),
        ("9999-12-31", "9999-12-31T00:00:00", "9999-12-31T23:59:59.999999"),
    ],
)
def test_a_date_is_all_of_its_day(value: str, first: str, last: str):
    found = instants(value)

    assert found is not None
    assert [one.isoformat() for one in found] == [f"{first}+00:00", f"{last}+00:00"]
    assert instants("soon") is None
    assert instants(None) is None
