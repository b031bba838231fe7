"""Several dimensions in one, and one dimension in several, against xarray and NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import xarray as xr
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
    other,
    time,
)

from terrazzo.errors import (
    ArgumentInvalid,
    DimensionNotAvailable,
    LabelExists,
    LabelMismatch,
    TargetDimensionExists,
)

FLAT = {"dimensions": ["t", "bands"], "target_dimension": "flat"}


@pytest.mark.parametrize("names", [["t", "bands"], ["bands", "t"]])
def test_labels_and_values_are_combined_in_the_order_of_the_names(names: list[str]) -> None:
    data = cube(time(), other((7, 1.5), "z"), bands())

    result = assert_blocks_agree(
        "flatten_dimensions", data=data, dimensions=names, target_dimension="flat"
    )

    frame = xr.DataArray(
        data.values, {d.name: list(d.labels) for d in data.dimensions[:3]}, data.names
    )
    stacked = frame.stack(flat=names).transpose("flat", "z", "y", "x")
    labels = tuple("~".join(entry) for entry in stacked.indexes["flat"])
    assert result.dimensions == (other(labels, "flat"), data.dimension("z"), Y, X)
    there = frame.copy(data=data.valid).stack(flat=names).transpose("flat", "z", "y", "x").values
    expected = replace(result, values=stacked.values, valid=there)
    assert_same(result, expected)


def test_labels_that_are_numbers_are_written_as_text() -> None:
    data = cube(other((2020, 2021.0, 0.5), "a"), bands(("B1", "B2")))

    result = infer(
        "flatten_dimensions",
        data=data,
        dimensions=["a", "bands"],
        target_dimension="x2",
        label_separator=" / ",
    )

    years = ("2020", "2021", "0.5")
    assert result.dimension("x2").labels == tuple(
        f"{year} / {band}" for year in years for band in ("B1", "B2")
    )


@pytest.mark.parametrize("chosen", [(0,), (1, 5), (8, 3, 2)])
def test_a_combination_needs_its_own_labels_only(chosen: tuple[int, ...]) -> None:
    data = cube(time(), other((1, 2), "z"), bands())
    whole = evaluate("flatten_dimensions", data=data, **FLAT)
    labels = [whole.dimension("flat").labels[n] for n in chosen]

    some = evaluate("flatten_dimensions", None, {"flat": labels, "z": [2]}, data=data, **FLAT)

    assert_same(some, whole.take("flat", chosen).take("z", [1]))


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (DimensionNotAvailable, {"dimensions": ["t", "band"]}),
        (TargetDimensionExists, {"target_dimension": "z"}),
        (TargetDimensionExists, {"target_dimension": "t"}),
        (ArgumentInvalid, {"dimensions": ["t", "x"]}),
        (ArgumentInvalid, {"dimensions": []}),
        (LabelExists, {"data": cube(other(("a~b", "a"), "t"), bands(("c", "b~c")))}),
    ],
)
def test_flatten_errors(error: type[Exception], changed: dict[str, Any]) -> None:
    data = cube(time(), other((1, 2), "z"), bands())

    with pytest.raises(error):
        infer("flatten_dimensions", **({"data": data} | FLAT | changed))


SPLIT = {"dimension": "flat", "target_dimensions": ["t2", "b2"]}


def test_flat_dimensions_can_be_taken_apart() -> None:
    data = cube(other((1, 2), "z"), time(), bands())
    flat = evaluate("flatten_dimensions", data=data, **FLAT)

    result = assert_blocks_agree("unflatten_dimension", data=flat, **SPLIT)

    parts = (other(TIMES, "t2"), other(bands().labels, "b2"))
    assert result.dimensions == (data.dimension("z"), *parts, Y, X)
    assert_same(result, replace(data, dimensions=result.dimensions))


def test_labels_may_come_in_any_order() -> None:
    labels = ("b-2-x", "a-1-x", "a-2-x", "b-1-x")
    data = cube(other(labels, "flat"))
    arguments: dict[str, Any] = {
        "data": data,
        "dimension": "flat",
        "target_dimensions": ["first", "second", "third"],
        "label_separator": "-",
    }

    result = assert_blocks_agree("unflatten_dimension", **arguments)

    assert [d.labels for d in result.dimensions[:3]] == [("b", "a"), ("2", "1"), ("x",)]
    places = [[[0], [3]], [[2], [1]]]
    assert_same(result, replace(result, values=data.values[places], valid=data.valid[places]))
    for chosen in ({"first": ["a"], "second": ["2", "1"]}, {"first": ["a"], "second": ["1"]}):
        some = evaluate("unflatten_dimension", None, chosen, **arguments)
        numbers = [("2", "1").index(label) for label in chosen["second"]]
        assert_same(some, result.take("first", [1]).take("second", numbers))


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (DimensionNotAvailable, {"dimension": "round"}),
        (TargetDimensionExists, {"target_dimensions": ["t2", "z"]}),
        (TargetDimensionExists, {"target_dimensions": ["flat", "b2"]}),
        (ArgumentInvalid, {"dimension": "y"}),
        (LabelMismatch, {"target_dimensions": ["t2", "b2", "c2"]}),
        (LabelMismatch, {"label_separator": "/"}),
        (LabelMismatch, {"data": cube(other(("a~1", "a~2", "b~1"), "flat"))}),
        (LabelMismatch, {"data": cube(other(("a~1", "a~1", "b~1", "b~2"), "flat"))}),
        (LabelMismatch, {"data": cube(other((1, 2), "flat"))}),
    ],
)
def test_unflatten_errors(error: type[Exception], changed: dict[str, Any]) -> None:
    data = cube(other(("a~1", "a~2"), "flat"), other((1, 2), "z"))

    with pytest.raises(error):
        infer("unflatten_dimension", **({"data": data} | SPLIT | changed))
