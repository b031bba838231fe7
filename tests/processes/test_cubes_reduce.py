"""Callbacks along a dimension or over every value, and aggregation over time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from tests.processes.cubes import (
    TIMES,
    X,
    Y,
    assert_blocks_agree,
    assert_same,
    bands,
    cube,
    evaluate,
    infer,
    masked,
    mean_of,
    other,
    time,
)

from terrazzo.cube import Cube, Dimension, Kind, Pixels, Stack
from terrazzo.errors import (
    ArgumentInvalid,
    DimensionNotAvailable,
    DistinctDimensionLabelsRequired,
    LabelMismatch,
    TemporalExtentEmpty,
    TooManyDimensions,
)
from terrazzo.processes.periods import label_of, ordinal_of


def as_xarray(data: Cube) -> xr.DataArray:
    coords = {
        d.name: np.array([str(label).rstrip("Z") for label in d.labels], "datetime64[ns]")
        if d.kind is Kind.TEMPORAL
        else list(d.labels)
        for d in data.dimensions
        if d.labels
    }
    values = np.where(data.valid, data.values.astype(float), np.nan)
    return xr.DataArray(values, coords, data.names)


def assert_like(actual: Cube, expected: xr.DataArray) -> None:
    found = expected.transpose(*actual.names).values
    np.testing.assert_array_equal(actual.valid, ~np.isnan(found))
    np.testing.assert_allclose(actual.values[actual.valid], found[actual.valid], rtol=1e-12)


def test_apply_computes_every_value_and_passes_the_context() -> None:
    data = cube(time(), bands())

    def plus(x: Pixels, context: float) -> Pixels:
        return Pixels(x.values + context, x.valid)

    result = assert_blocks_agree("apply", data=data, process=plus, context=2.5)

    np.testing.assert_array_equal(masked(result), masked(data) + np.float32(2.5))


@pytest.mark.parametrize(
    ("returned", "dtype", "valid"),
    [(7, "float32", True), (True, "bool", True), (None, "float32", False)],
)
def test_apply_repeats_a_plain_number(returned: Any, dtype: str, valid: bool) -> None:
    data = cube(time(), dtype="uint8")

    result = assert_blocks_agree("apply", data=data, process=lambda **_: returned)

    assert result.dtype == dtype
    assert (result.valid == valid).all()


@pytest.mark.parametrize("dimension", ["t", "bands"])
def test_reduce_dimension_gives_what_xarray_gives(dimension: str) -> None:
    data = cube(time(), bands())

    result = assert_blocks_agree(
        "reduce_dimension", data=data, reducer=mean_of, dimension=dimension
    )

    assert_like(result, as_xarray(data).mean(dimension))
    assert dimension not in result.names


def test_reduce_dimension_needs_only_wanted_labels_of_the_others() -> None:
    data = cube(time(), bands())

    one = evaluate(
        "reduce_dimension", None, {"bands": ["blue"]}, data=data, reducer=mean_of, dimension="t"
    )

    whole = evaluate("reduce_dimension", data=data, reducer=mean_of, dimension="t")
    assert_same(one, whole.take("bands", [2]))


def test_reducer_gets_labels_and_context() -> None:
    seen: list[Any] = []

    def reducer(data: Stack, context: Any) -> None:
        seen.extend([data.labels, context])

    result = infer(
        "reduce_dimension", data=cube(time()), reducer=reducer, dimension="t", context={"a": 1}
    )

    assert seen == [TIMES, {"a": 1}]
    assert result.names == ("y", "x")


def test_reduce_dimension_errors() -> None:
    with pytest.raises(DimensionNotAvailable):
        infer("reduce_dimension", data=cube(time()), reducer=mean_of, dimension="bands")
    with pytest.raises(ArgumentInvalid, match="spatial"):
        infer("reduce_dimension", data=cube(time()), reducer=mean_of, dimension="x")
    with pytest.raises(ArgumentInvalid, match="array of 3"):
        infer("reduce_dimension", data=cube(time()), reducer=lambda data, **_: data, dimension="t")


def reverse(data: Stack, context: Any = None) -> Stack:
    del context
    return Stack(data.values[::-1], data.valid[::-1])


def first_two(data: Stack, context: Any = None) -> Stack:
    del context
    return Stack(data.values[:2], data.valid[:2])


def test_apply_dimension_keeps_labels_where_their_number_stays() -> None:
    data = cube(bands(), time())

    result = assert_blocks_agree("apply_dimension", data=data, process=reverse, dimension="t")

    assert result.dimensions == data.dimensions
    np.testing.assert_array_equal(masked(result), masked(data)[:, ::-1])


def test_apply_dimension_numbers_labels_where_their_number_changes() -> None:
    data = cube(bands(), time())

    result = assert_blocks_agree("apply_dimension", data=data, process=first_two, dimension="t")

    assert result.dimension("t") == time((0, 1))
    np.testing.assert_array_equal(masked(result), masked(data)[:, :2])


def test_apply_dimension_replaces_the_dimension_by_a_new_one() -> None:
    data = cube(bands(), time())

    result = assert_blocks_agree(
        "apply_dimension", data=data, process=reverse, dimension="t", target_dimension="new"
    )

    assert result.dimensions == (bands(), other((0, 1, 2), "new"), Y, X)
    np.testing.assert_array_equal(masked(result), masked(data)[:, ::-1])


@pytest.mark.parametrize("swapped", [False, True])
def test_apply_dimension_fills_a_dimension_with_one_label(swapped: bool) -> None:
    one = bands(["only"])
    data = cube(one, time()) if swapped else cube(time(), one)

    result = assert_blocks_agree(
        "apply_dimension", data=data, process=reverse, dimension="t", target_dimension="bands"
    )

    assert result.dimensions == (bands((0, 1, 2)), Y, X)
    np.testing.assert_array_equal(masked(result), masked(data).reshape(result.values.shape)[::-1])


@pytest.mark.parametrize("swapped", [False, True])
def test_apply_dimension_replaces_all_values_of_another_dimension(swapped: bool) -> None:
    data = cube(bands(), time()) if swapped else cube(time(), bands())
    count = len(bands().labels) * len(time().labels)
    in_time = np.swapaxes(masked(data), 0, 1) if swapped else masked(data)

    result = assert_blocks_agree(
        "apply_dimension", data=data, process=reverse, dimension="t", target_dimension="bands"
    )

    assert result.dimensions == (bands(range(count)), Y, X)
    expected = in_time.reshape(count, *in_time.shape[2:])[::-1]
    np.testing.assert_array_equal(masked(result), expected)


def test_apply_dimension_takes_a_number_for_an_array_of_one() -> None:
    data = cube(time(), bands())

    result = assert_blocks_agree("apply_dimension", data=data, process=mean_of, dimension="t")

    assert result.dimension("t").labels == (0,)
    assert_like(result.take("t", [0]), as_xarray(data).mean("t").expand_dims(t=[0]))


def test_apply_dimension_errors() -> None:
    data = cube(time(), bands())
    with pytest.raises(DimensionNotAvailable):
        infer("apply_dimension", data=data, process=reverse, dimension="when")
    with pytest.raises(ArgumentInvalid, match="empty array"):
        infer(
            "apply_dimension",
            data=data,
            process=lambda data, **_: Stack(data.values[:0], data.valid[:0]),
            dimension="t",
        )


DAYS = tuple(
    (datetime(2019, 11, 20, 6, tzinfo=UTC) + timedelta(days=11, hours=7) * step).strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )
    for step in range(40)
)


def test_aggregate_temporal_takes_half_open_intervals_that_may_overlap() -> None:
    data = cube(time(), bands())
    intervals = [["2020-06-01", "2020-06-03"], ["2020-05-01", "2020-06-04"], ["2021", "2022"]]

    result = assert_blocks_agree(
        "aggregate_temporal", data=data, intervals=intervals, reducer=mean_of
    )

    expected = as_xarray(data)
    assert result.dimension("t").labels == ("2020-06-01", "2020-05-01", "2021")
    for index, chosen in enumerate([[0], [0, 1]]):
        assert_like(result.take("t", [index]), expected.isel(t=chosen).mean("t").expand_dims(t=[0]))
    assert not result.valid[2].any()


def test_aggregate_temporal_takes_times_of_the_day_past_midnight() -> None:
    data = cube(time(DAYS))
    intervals = [["06:00:00", "18:00:00"], ["18:00:00", "06:00:00"]]

    result = assert_blocks_agree(
        "aggregate_temporal", data=data, intervals=intervals, reducer=mean_of
    )

    frame = as_xarray(data)
    day = (frame.t.dt.hour >= 6) & (frame.t.dt.hour < 18)
    assert 0 < int(day.sum()) < len(DAYS)
    assert_like(result.take("t", [0]), frame[day].mean("t").expand_dims(t=[0]))
    assert_like(result.take("t", [1]), frame[~day].mean("t").expand_dims(t=[0]))


def test_aggregate_temporal_names_intervals_by_the_labels_given() -> None:
    result = infer(
        "aggregate_temporal",
        data=cube(time()),
        intervals=[[None, "2020-06-03"], ["2020-06-03", None]],
        reducer=mean_of,
        labels=["before", "after"],
    )

    assert result.dimension("t").labels == ("before", "after")


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (TemporalExtentEmpty, {"intervals": [["2020-06-03", "2020-06-01"]]}),
        (TemporalExtentEmpty, {"intervals": [["06:00:00", "06:00:00"]]}),
        (TemporalExtentEmpty, {"intervals": [["2020-06-03", "2020-06-03"]]}),
        (ArgumentInvalid, {"intervals": [[None, None]]}),
        (ArgumentInvalid, {"intervals": [["06:00:00", "25:00:00"]]}),
        (DistinctDimensionLabelsRequired, {"intervals": [["2019", "2020"], ["2019", "2021"]]}),
        (DistinctDimensionLabelsRequired, {"intervals": [[None, "2020"]]}),
        (DistinctDimensionLabelsRequired, {"labels": ["a", "a"]}),
        (LabelMismatch, {"labels": ["a"]}),
        (DimensionNotAvailable, {"dimension": "time"}),
        (DimensionNotAvailable, {"data": cube(bands())}),
        (TooManyDimensions, {"data": cube(time(), time(name="t2"))}),
    ],
)
def test_aggregate_temporal_errors(error: type[Exception], changed: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {
        "data": cube(time()),
        "intervals": [["2019", "2020"], ["2020", "2021"]],
        "reducer": mean_of,
    }

    with pytest.raises(error):
        infer("aggregate_temporal", **(arguments | changed))


def test_aggregation_uses_the_dimension_that_is_named() -> None:
    data = cube(time(), time(TIMES[:2], "t2"))

    result = evaluate(
        "aggregate_temporal_period", data=data, period="year", reducer=mean_of, dimension="t2"
    )

    assert result.dimensions[:2] == (time(), Dimension("t2", Kind.TEMPORAL, ("2020",)))
    assert_like(result, as_xarray(data).mean("t2").expand_dims(t2=[0]))


@pytest.mark.parametrize(
    ("period", "rule", "labels"),
    [
        ("day", "1D", None),
        ("month", "MS", ("2019-11", "2021-02")),
        ("season", "QS-DEC", ("2019-son", "2020-djf")),
        ("year", "YS", ("2019", "2021")),
    ],
)
def test_periods_give_what_xarray_resamples(
    period: str, rule: str, labels: tuple[str, str] | None
) -> None:
    data = cube(time(DAYS))

    result = evaluate("aggregate_temporal_period", data=data, period=period, reducer=mean_of)

    expected = as_xarray(data).resample(t=rule).mean()
    assert len(result.dimension("t").labels) == expected.sizes["t"]
    if labels:
        assert (result.dimension("t").labels[0], result.dimension("t").labels[-1]) == labels
    assert_like(result, expected.assign_coords(t=list(result.dimension("t").labels)))


@pytest.mark.parametrize(
    ("period", "instant", "label"),
    [
        ("hour", "2020-06-01T23:59:59", "2020-06-01-23"),
        ("day", "2020-12-31T00:00:00", "2020-366"),
        ("week", "2021-01-03T23:00:00", "2020-53"),
        ("week", "2024-12-30T00:00:00", "2025-01"),
        ("dekad", "2020-01-31T00:00:00", "2020-03"),
        ("dekad", "2020-02-01T00:00:00", "2020-04"),
        ("dekad", "2020-12-21T00:00:00", "2020-36"),
        ("month", "2020-12-01T00:00:00", "2020-12"),
        ("season", "2020-12-01T00:00:00", "2020-djf"),
        ("season", "2020-02-29T00:00:00", "2019-djf"),
        ("season", "2020-11-30T00:00:00", "2020-son"),
        ("tropical-season", "2020-10-31T00:00:00", "2020-mjjaso"),
        ("tropical-season", "2020-11-01T00:00:00", "2020-ndjfma"),
        ("tropical-season", "2021-04-30T00:00:00", "2020-ndjfma"),
        ("year", "2020-01-01T00:00:00", "2020"),
        ("decade", "2019-12-31T00:00:00", "2010"),
        ("decade-ad", "2020-12-31T00:00:00", "2011"),
        ("decade-ad", "2021-01-01T00:00:00", "2021"),
    ],
)
def test_period_of_an_instant(period: str, instant: str, label: str) -> None:
    assert label_of(period, ordinal_of(period, datetime.fromisoformat(instant + "+00:00"))) == label


@given(
    instant=st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds
    period=st.sampled_from(["hour", "day", "week", "month", "year"]),
)
def test_period_labels_follow_the_calendar(instant: datetime, period: str) -> None:
    formats = {
        "hour": "%Y-%m-%d-%H",
        "day": "%Y-%j",
        "week": "%G-%V",
        "month": "%Y-%m",
        "year": "%Y",
    }

    assert label_of(period, ordinal_of(period, instant)) == instant.strftime(formats[period])


def test_empty_periods_get_an_empty_array() -> None:
    lengths = []

    def count(data: Stack, context: Any = None) -> Pixels:
        lengths.append((len(data), data.labels))
        return mean_of(data, context)

    data = cube(time(("2020-01-15T00:00:00Z", "2020-03-01T00:00:00Z")))
    result = evaluate("aggregate_temporal_period", data=data, period="month", reducer=count)

    assert result.dimension("t").labels == ("2020-01", "2020-02", "2020-03")
    assert (0, ()) in lengths
    assert not result.valid[1].any()


def test_a_cube_without_dates_has_no_periods() -> None:
    result = infer("aggregate_temporal_period", data=cube(time(())), period="day", reducer=mean_of)

    assert result.dimension("t").labels == ()


def test_an_unknown_period_is_refused() -> None:
    with pytest.raises(ArgumentInvalid, match="fortnight"):
        infer("aggregate_temporal_period", data=cube(time()), period="fortnight", reducer=mean_of)
