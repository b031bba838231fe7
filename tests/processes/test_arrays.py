"""Arrays: what the official vectors leave out, on lists and on stacks of pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.processes.scalar_cases import run

from terrazzo.cube import Pixels, Stack, all_valid
from terrazzo.errors import ArgumentInvalid, TerrazzoError
from terrazzo.processes.convert import stack_of, to_json

VALUES = np.array([[5, 1], [3, 0], [4, 9]], np.uint16)
VALID = np.array([[True, True], [True, False], [False, True]])
LABELS = ("B02", "B03", "B04")


@pytest.fixture
def stack() -> Stack:
    return Stack(VALUES, VALID, LABELS)


def told(result: Stack | Pixels) -> list:
    """Return pixels as nested lists, None for no-data."""
    return np.where(result.valid, result.values.astype(object), None).tolist()


@pytest.mark.parametrize(
    "entries",
    [[], [1, 2.5, None], [True, None], ["a", 1, None], [[1, 2], {"a": 1}], [None], [math.inf]],
)
def test_json_round_trip(entries: list) -> None:
    array = stack_of(entries)

    assert array.exact
    assert to_json(array) == entries


def test_array_of_pixels_takes_the_dtype_that_holds_all() -> None:
    x = Pixels(np.array([1, 2], np.uint8), np.array([True, False]))

    assert told(stack_of([x, None, 300])) == [[1, None], [None, None], [300, 300]]
    assert stack_of([x, None, 300]).values.dtype == np.uint16
    with pytest.raises(ArgumentInvalid, match="'a'"):
        stack_of([x, "a"])


def test_pixels_are_no_json(stack: Stack) -> None:
    with pytest.raises(TypeError):
        to_json(stack)
    assert to_json(Pixels(np.float32(1.5), np.True_)) == 1.5


def test_element_by_label_and_index(stack: Stack) -> None:
    assert told(run("array_element", stack, label="B03")) == [3, None]
    assert told(run("array_element", stack, 2.0)) == [None, 9]
    assert told(run("array_element", stack, 7, return_nodata=True)) == [None, None]


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("array_element", {}, "ArrayElementParameterMissing"),
        ("array_element", {"index": 0, "label": "B02"}, "ArrayElementParameterConflict"),
        ("array_element", {"index": 3}, "ArrayElementNotAvailable"),
        ("array_element", {"index": -1}, "ArrayElementNotAvailable"),
        ("array_element", {"label": "B08"}, "ArrayElementNotAvailable"),
        ("array_element", {"index": 0.5}, "ProcessParameterInvalid"),
        ("array_append", {"value": 1, "label": "B02"}, "LabelExists"),
        ("quantiles", {}, "QuantilesParameterMissing"),
        ("quantiles", {"probabilities": [0.5], "q": 2}, "QuantilesParameterConflict"),
        ("quantiles", {"probabilities": [0.5, 0.1]}, "AscendingProbabilitiesRequired"),
        ("quantiles", {"probabilities": [50]}, "ProcessParameterInvalid"),
        ("quantiles", {"probabilities": 1}, "ProcessParameterInvalid"),
        ("count", {"condition": False}, "ProcessParameterInvalid"),
        ("rearrange", {"order": [3]}, "ProcessParameterInvalid"),
        ("rearrange", {"order": [float("nan")]}, "ProcessParameterInvalid"),
        ("array_create", {"repeat": 0}, "ProcessParameterInvalid"),
    ],
)
def test_refused(stack: Stack, name: str, arguments: dict, code: str) -> None:
    with pytest.raises(TerrazzoError) as caught:
        run(name, stack, **arguments)

    assert caught.value.code == code


def test_refused_without_labels() -> None:
    with pytest.raises(TerrazzoError, match="no labels") as caught:
        run("array_element", [1], label="B02")
    assert caught.value.code == "ArrayNotLabeled"
    with pytest.raises(TerrazzoError, match="no labels") as caught:
        run("array_append", [1], 2, "B02")
    assert caught.value.code == "ArrayNotLabeled"


def test_shared_labels_are_a_conflict(stack: Stack) -> None:
    with pytest.raises(TerrazzoError, match="'B02'") as caught:
        run("array_concat", stack, stack)
    assert caught.value.code == "ArrayLabelConflict"


@pytest.mark.parametrize("name", ["mean", "median", "sum", "max", "cumsum"])
def test_text_is_no_number(name: str) -> None:
    with pytest.raises(ArgumentInvalid, match="'a'"):
        run(name, [1, "a"])
    with pytest.raises(ArgumentInvalid, match="no number"):
        run("add", "a", 1)
    with pytest.raises(ArgumentInvalid, match="no boolean"):
        run("and", "a", True)


def test_first_and_last(stack: Stack) -> None:
    assert told(run("first", stack)) == [5, 1]
    assert told(run("last", stack)) == [3, 9]
    assert told(run("last", stack, ignore_nodata=False)) == [None, 9]


def test_join(stack: Stack) -> None:
    longer = run("array_append", stack, -1)
    assert longer.labels == (*LABELS, 3)
    assert told(longer) == [[5, 1], [3, None], [None, 9], [-1, -1]]
    assert run("array_append", stack, None, "new").labels == (*LABELS, "new")

    joined = run("array_concat", stack, [0.5])
    assert joined.labels is None
    assert told(joined)[3] == [0.5, 0.5]
    with_a_number = run("array_concat", stack, stack.at(0))
    assert told(with_a_number) == [*told(stack), told(stack)[0]]
    assert with_a_number.labels is None
    assert told(run("array_create", stack, 2)) == told(stack) * 2


def test_find(stack: Stack) -> None:
    data = Stack(np.concatenate([VALUES, VALUES]), np.concatenate([VALID, VALID]))

    assert told(run("array_find", data, 9)) == [None, 2]
    assert told(run("array_find", data, 9, reverse=True)) == [None, 5]
    assert told(run("array_contains", stack, 9)) == [False, True]
    assert told(run("array_contains", stack, "9")) == [False, False]
    own = Pixels(np.array([3, 9], np.int32), all_valid((2,)))
    assert told(run("array_find", stack, own)) == [1, 2]
    assert told(run("array_find", [3, 9], own)) == [0, 1]
    assert told(run("array_contains", [3], own)) == [True, False]


def test_callbacks_get_everything(stack: Stack) -> None:
    seen = []

    def callback(*, x: Pixels, index: int, label: str, context: str) -> Pixels:
        seen.append((index, label, context))
        return x

    result = run("array_apply", stack, callback, context="c")

    assert seen == [(0, "B02", "c"), (1, "B03", "c"), (2, "B04", "c")]
    assert told(result) == told(stack)
    assert result.labels == LABELS


def test_filter_by_label_and_by_value(stack: Stack) -> None:
    by_label = run("array_filter", stack, lambda label, **_: label != "B03")
    by_value = run("array_filter", stack, lambda x, **_: run("gt", x, 3))

    assert by_label.labels == ("B02", "B04")
    assert told(by_label) == [[5, 1], [None, 9]]
    assert by_value.labels == LABELS
    assert told(by_value) == [[5, None], [None, None], [None, 9]]


def test_sort_and_order(stack: Stack) -> None:
    assert told(run("order", stack)) == [[1, 0], [0, 2], [None, None]]
    assert told(run("order", stack, nodata=True)) == [[1, 0], [0, 2], [2, 1]]
    assert told(run("sort", stack)) == [[3, 1], [5, 9], [None, None]]
    assert told(run("sort", stack, nodata=False)) == [[None, None], [3, 1], [5, 9]]
    assert told(run("sort", stack, asc=False)) == [[5, 9], [3, 1], [None, None]]
    assert told(run("rearrange", stack, run("order", stack))) == told(run("sort", stack))
    assert run("rearrange", stack, [2, 0]).labels == ("B04", "B02")


def test_times_sort_by_instant() -> None:
    times = ["2020-01-01T01:00:00+02:00", None, "2020-01-01", "2019-12-31T23:30:00Z"]

    assert to_json(run("order", times)) == [0, 3, 2]
    assert to_json(run("sort", times, False)) == [times[2], times[3], times[0]]
    assert to_json(run("sort", times, nodata=True))[-1] is None


def test_nan_sorts_behind_numbers_both_ways() -> None:
    assert to_json(run("order", [math.nan, 1, 2])) == [1, 2, 0]
    assert to_json(run("order", [math.nan, 1, 2], False)) == [2, 1, 0]


def test_interpolation_follows_the_calendar() -> None:
    labels = ("2020-01-01", "2020-01-02", "2020-01-11")
    values = np.array([[0], [0], [10]], np.uint8)
    data = Stack(values, np.array([[True], [False], [True]]), labels)

    assert told(run("array_interpolate_linear", data)) == [[0], [1], [10]]
    by_position = Stack(values, data.valid, ("a", "b", "c"))
    assert told(run("array_interpolate_linear", by_position)) == [[0], [5], [10]]
    unordered = Stack(values, data.valid, (3, 2, 2))
    assert told(run("array_interpolate_linear", unordered)) == [[0], [5], [10]]


def test_count_of_pixels(stack: Stack) -> None:
    assert told(run("count", stack)) == [2, 2]
    assert told(run("count", stack, True)) == [3, 3]
    assert told(run("count", stack, lambda x, context: run("gt", x, context), 4)) == [1, 1]


def test_labels(stack: Stack) -> None:
    assert to_json(run("array_labels", stack)) == list(LABELS)
    assert to_json(run("array_labels", [7, 8])) == [0, 1]


def test_bounds_per_pixel() -> None:
    x = Pixels(np.array([5.0, 5.0, 5.0], np.float32), all_valid((3,)))
    upper = Pixels(np.array([1, 9, 3], np.uint8), np.array([True, True, False]))

    assert told(run("clip", x, 0, upper)) == [1, 5, None]


def test_if_of_arrays(stack: Stack) -> None:
    value = Pixels(np.array([True, False]), all_valid((2,)))

    assert told(run("if", value, stack, [1, 2, 3])) == [[5, 1], [3, 2], [None, 3]]
    assert told(run("if", value, stack)) == [[5, None], [3, None], [None, None]]
    with pytest.raises(ArgumentInvalid, match="2 and 3"):
        run("if", value, stack, [1, 2])
    assert run("if", None, "yes", "no") == "no"
