"""Ranges in the descriptions of processes: which are checked, and which are only published."""

from __future__ import annotations

import math
from typing import Any

import pytest

from terrazzo.engine import infer
from terrazzo.errors import ArrayElementNotAvailable, GraphInvalid
from terrazzo.graph import parse
from terrazzo.processes import PROCESSES, SPECS
from terrazzo.testing.graphs import collections


def value(process: str, **arguments: Any) -> Any:
    node = {"process_id": process, "arguments": arguments, "result": True}
    return infer(parse({"it": node}, specs=SPECS), collections()).cube("it").result


@pytest.mark.parametrize(("process", "x"), [("arccos", 2), ("arcsin", -1.5), ("ln", -1)])
def test_maths_makes_nan_of_numbers_out_of_range(process: str, x: float) -> None:
    published = PROCESSES[process].spec.to_json()["parameters"][0]["schema"]

    assert "minimum" in published
    assert math.isnan(value(process, x=x))


def test_an_index_out_of_range_is_no_element() -> None:
    published = PROCESSES["array_element"].spec.to_json()["parameters"][1]["schema"]

    assert published == {"type": "integer", "minimum": 0}
    assert value("array_element", data=[1, 2], index=-1, return_nodata=True) is None
    with pytest.raises(ArrayElementNotAvailable):
        value("array_element", data=[1, 2], index=-1)


def test_no_data_passes_where_the_published_type_leaves_it_out() -> None:
    published = PROCESSES["normalized_difference"].spec.to_json()["parameters"][0]["schema"]

    assert published == {"type": "number"}
    assert value("normalized_difference", x=None, y=1) is None
    assert value("normalized_difference", x=1, y=None) is None


def test_an_array_or_object_is_never_an_entry_of_an_array() -> None:
    assert value("array_contains", data=[[1, 2], [3]], value=[1, 2]) is False
    assert value("array_contains", data=[{"a": 1}], value={"a": 1}) is False


@pytest.mark.parametrize(
    ("process", "arguments"),
    [
        ("quantiles", {"data": [1, 2], "probabilities": [0.5, 2]}),
        ("array_create", {"data": [1], "repeat": 0}),
        ("array_element", {"data": [1, 2], "index": 0.5}),
        ("arccos", {"x": "1"}),
    ],
)
def test_what_no_process_can_take_is_refused(process: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(GraphInvalid):
        value(process, **arguments)
