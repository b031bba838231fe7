"""Dates of one cube for those of another, against a search by hand and xarray."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from tests.processes.cubes import (
    X,
    Y,
    assert_blocks_agree,
    assert_same,
    bands,
    cube,
    evaluate,
    infer,
    masked,
    other,
    time,
)

from terrazzo.engine import evaluate as compute
from terrazzo.engine import infer as bind
from terrazzo.engine import make_plan
from terrazzo.engine.explain import explain
from terrazzo.errors import ArgumentInvalid, DimensionMismatch, DimensionNotAvailable
from terrazzo.geo.grid import Grid
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import LEFT, TOP
from terrazzo.testing.synthetic import SyntheticOpener, SyntheticSource

if TYPE_CHECKING:
    from terrazzo.cube import Cube

DATES = (
    "2020-06-01T00:00:00Z",
    "2020-06-09T00:00:00Z",
    "2020-06-03T00:00:00Z",
    "2020-06-05T12:00:00Z",
)
TARGETS = ("2020-05-01", "2020-06-02", "2020-06-05", "2020-06-05T12:00:00Z", "2021-01-01")
NEAREST = (0, 0, 3, 3, 1)
"""For each target the date that is nearest; the second lies between two."""


def stamps(labels: tuple[str, ...]) -> np.ndarray:
    return np.array([label.rstrip("Z") for label in labels], "datetime64[ns]")


def test_the_nearest_date_is_taken_whatever_it_has() -> None:
    data, target = cube(time(DATES), bands()), cube(time(TARGETS))

    result = assert_blocks_agree("resample_cube_temporal", data=data, target=target)

    assert result.dimensions == (time(TARGETS), bands(), Y, X)
    assert_same(result, replace(data.take("t", NEAREST), dimensions=result.dimensions))


def test_dates_are_those_that_xarray_finds_but_for_ties() -> None:
    data = cube(time(sorted(DATES)), invalid=0)
    targets = tuple(label for label in TARGETS if label != "2020-06-02")

    result = evaluate("resample_cube_temporal", data=data, target=cube(time(targets)))

    frame = xr.DataArray(data.values, {"t": stamps(tuple(sorted(DATES)))}, data.names)
    expected = frame.sel(t=stamps(targets), method="nearest")
    np.testing.assert_array_equal(result.values, expected.values)


def nearest_valid(data: Cube, days: float) -> np.ma.MaskedArray:
    """Search every pixel by itself."""
    from_dates = (stamps(DATES)[:, None] - stamps(TARGETS)) / np.timedelta64(1, "D")
    series = masked(data)
    found = np.ma.masked_all((len(TARGETS), *series.shape[1:]))
    good = data.valid & np.isfinite(data.values)
    for place in np.ndindex(*series.shape[1:]):
        for number in range(len(TARGETS)):
            order = sorted(
                range(len(DATES)), key=lambda n: (abs(from_dates[n, number]), from_dates[n, number])
            )
            for n in order:
                away = abs(from_dates[n, number])
                if good[n, *place] and (away < days or away == 0):
                    found[number, *place] = series[n, *place]
                    break
    return found


@pytest.mark.parametrize("days", [0, 1, 3, 3.5, 400])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_nearest_valid_number_within_some_days_is_taken(days: float, dtype: str) -> None:
    data = cube(time(DATES), dtype=dtype, invalid=0.5)
    if dtype == "float32":
        data.values[:, ::3] = np.nan
        data.values[:, :, ::4] = np.inf

    result = assert_blocks_agree(
        "resample_cube_temporal", (16,), data=data, target=cube(time(TARGETS)), valid_within=days
    )

    expected = nearest_valid(data, days)
    np.testing.assert_array_equal(result.valid, ~expected.mask)
    np.testing.assert_array_equal(result.values[result.valid], expected.compressed())


@pytest.mark.parametrize("days", [None, 1, 40])
@pytest.mark.parametrize("label", TARGETS)
def test_a_date_needs_only_those_near_it(label: str, days: float | None) -> None:
    data, target = cube(time(DATES), bands(), invalid=0.5), cube(time(TARGETS))
    arguments = {"data": data, "target": target, "valid_within": days}

    one = evaluate("resample_cube_temporal", None, {"t": [label], "bands": ["nir"]}, **arguments)

    whole = evaluate("resample_cube_temporal", **arguments)
    assert_same(one, whole.take("t", [TARGETS.index(label)]).take("bands", [1]))


def test_all_temporal_dimensions_of_equal_names_are_resampled_or_the_one_that_is_named() -> None:
    data = cube(time(DATES), time(DATES[:2], "t2"), time(DATES[:1], "t3"))
    target = cube(time(TARGETS), time(TARGETS[1:3], "t2"))

    both = infer("resample_cube_temporal", data=data, target=target)
    one = infer("resample_cube_temporal", data=data, target=target, dimension="t2")

    last = time(DATES[:1], "t3")
    assert both.dimensions == (time(TARGETS), time(TARGETS[1:3], "t2"), last, Y, X)
    assert one.dimensions == (time(DATES), time(TARGETS[1:3], "t2"), last, Y, X)


@pytest.mark.parametrize("days", [None, 7])
def test_a_cube_without_dates_has_no_data_for_any(days: float | None) -> None:
    result = evaluate(
        "resample_cube_temporal", data=cube(time(())), target=cube(time()), valid_within=days
    )

    assert result.dimension("t") == time()
    assert not result.valid.any()


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (DimensionNotAvailable, {"dimension": "when"}),
        (DimensionNotAvailable, {"dimension": "bands"}),
        (DimensionMismatch, {"target": cube(other(("a",), "t")), "dimension": "t"}),
        (DimensionMismatch, {"target": cube(time(name="when"))}),
        (DimensionMismatch, {"target": cube(bands())}),
        (ArgumentInvalid, {"valid_within": -1}),
        (ArgumentInvalid, {"valid_within": float("nan")}),
        (ArgumentInvalid, {"target": cube(time(("2020-djf",)))}),
    ],
)
def test_errors(error: type[Exception], changed: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"data": cube(time(), bands()), "target": cube(time(TARGETS))}

    with pytest.raises(error):
        infer("resample_cube_temporal", **(arguments | changed))


@given(
    days=st.lists(st.integers(0, 30), min_size=1, max_size=5, unique=True),
    targets=st.lists(st.integers(-5, 35), min_size=1, max_size=5, unique=True),
)
def test_ties_go_to_the_earlier_date(days: list[int], targets: list[int]) -> None:
    def label(day: int) -> str:
        return str(np.datetime64("2020-06-10") + day)

    data = cube(time(tuple(map(label, days))), invalid=0)

    result = evaluate(
        "resample_cube_temporal", data=data, target=cube(time(tuple(map(label, targets))))
    )

    for plane, day in zip(result.values, targets, strict=True):
        nearest = min(days, key=lambda one: (abs(one - day), one))
        np.testing.assert_array_equal(plane, data.values[days.index(nearest)])


GRID = Grid.of(32633, LEFT, TOP, 10.0, 60, 70)
SERIES = ("2020-01-05T00:00:00Z", "2020-02-05T00:00:00Z", "2020-02-20T00:00:00Z", "2021-01-01")
TARGET = ("2020-01-01", "2020-02-06")


@pytest.mark.parametrize("days", [None, 30])
def test_no_pixel_of_the_target_is_read(days: float | None) -> None:
    source, target = (SyntheticSource(GRID, labels) for labels in (SERIES, TARGET))
    nodes: dict[str, Any] = {
        name: {
            "process_id": "load_collection",
            "arguments": {"id": name, "spatial_extent": None, "temporal_extent": None},
        }
        for name in ("data", "target")
    }
    nodes["first"] = {
        "process_id": "resample_cube_temporal",
        "arguments": {
            "data": {"from_node": "data"},
            "target": {"from_node": "target"},
            "valid_within": days,
        },
        "result": True,
    }
    opener = SyntheticOpener({"data": source, "target": target})
    plan = make_plan(bind(parse(nodes, specs=SPECS), opener))

    whole = compute(plan, plan.window)

    assert target.reads == []
    near = {0, 1} if days is None else {0, 1, 2}
    assert {number for _, labels in source.reads for number in labels["t"]} == near
    assert [step["fused"] for step in explain(plan)["steps"]] == [None, 1]
    assert whole.dimension("t").labels == TARGET
    assert_same_pixels(compute(replace(plan, fused=()), plan.window), whole)
