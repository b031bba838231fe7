"""Arrays with labels: made, searched and changed, as lists and as stacks of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.processes.scalar_cases import run

from terrazzo.cube import Stack
from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.engine.callbacks import CompiledCallback, Program
from terrazzo.errors import ArrayElementNotAvailable, TerrazzoError
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.processes.convert import stack_of, to_json
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import callback, collections

if TYPE_CHECKING:
    from terrazzo.cube import Cube

VALUES = np.array([[5, 1], [3, 0], [4, 9]], np.uint16)
VALID = np.array([[True, True], [True, False], [False, True]])
LABELS = ("B02", "B03", "B04")
STACK = Stack(VALUES, VALID, LABELS)


def told(result: Stack) -> list:
    """Return pixels as nested lists, None for no-data."""
    return np.where(result.valid, result.values.astype(object), None).tolist()


def test_labels_are_put_on_a_list_and_on_pixels() -> None:
    listed = run("array_create_labeled", ["x", None], [1, "1"])
    pixels = run("array_create_labeled", STACK, stack_of([2, 3, 4.5]))

    assert listed.labels == (1, "1")
    assert to_json(listed) == ["x", None]
    assert pixels.labels == (2, 3, 4.5)
    assert told(pixels) == told(STACK)


def test_label_is_found_by_value_and_type() -> None:
    array = run("array_create_labeled", ["a", "b"], [1, "1"])

    assert run("array_find_label", array, 1) == 0
    assert run("array_find_label", array, "1") == 1
    assert run("array_find_label", array, 2) is None
    assert run("array_find_label", STACK, "B04") == 2
    assert run("array_find_label", [7, 8], 0) is None


@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("length", [0, 1, 9])
def test_part_is_replaced_as_a_slice_of_a_list(start: int, length: int) -> None:
    listed = ["a", 1, None]
    expected = list(listed)
    expected[start : start + length] = [True, "new"]

    found = run("array_modify", stack_of(listed), stack_of([True, "new"]), start, length)

    assert to_json(found) == expected
    assert found.labels is None


def test_pixels_keep_the_labels_that_both_have() -> None:
    more = run("array_create_labeled", [0.5], ["new"])

    found = run("array_modify", STACK, more, 1, 1)

    assert found.labels == ("B02", "new", "B04")
    assert told(found) == [[5, 1], [0.5, 0.5], [None, 9]]
    assert run("array_modify", STACK, [0.5], 1, 1).labels is None
    assert run("array_modify", [7], more, 0).labels is None


def test_labels_stay_beside_an_empty_array() -> None:
    assert run("array_modify", STACK, [], 0, 2).labels == ("B04",)
    assert run("array_modify", [], STACK, 0).labels == LABELS
    nothing = run("array_modify", STACK, [], 0, 9)
    assert nothing.values.shape == (0, 2)
    assert nothing.labels == ()


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("array_create_labeled", ([1, 2], ["a"]), "ArrayLengthMismatch"),
        ("array_create_labeled", ([1, 2], ["a", "a"]), "ProcessParameterInvalid"),
        ("array_create_labeled", ([1], [True]), "ProcessParameterInvalid"),
        ("array_create_labeled", ([1], [None]), "ProcessParameterInvalid"),
        ("array_create_labeled", (1, ["a"]), "ProcessParameterInvalid"),
        ("array_modify", (STACK, STACK, 0, 3), "ArrayLabelConflict"),
        ("array_modify", ([1, 2], [], 3), "ArrayElementNotAvailable"),
    ],
)
def test_refused(name: str, arguments: tuple, code: str) -> None:
    with pytest.raises(TerrazzoError) as caught:
        run(name, *arguments)

    assert caught.value.code == code


def test_position_behind_the_end_is_named() -> None:
    with pytest.raises(ArrayElementNotAvailable, match=r"index=4.* 3 entries"):
        run("array_modify", STACK, [1], 4)


def test_text_is_found_at_its_place_in_the_text_as_it_is() -> None:
    assert run("text_find", "Straße nach X", "x", case_sensitive=False) == len("Straße nach ")
    assert run("text_find", "ßs", "SS", case_sensitive=False) == 0
    assert run("text_find", "abcabc", "c") == 2
    assert run("text_find", "abc", "") == 0
    assert run("text_find", "abc", "C") is None
    assert run("text_find", None, "a") is None


def computed(nodes: dict[str, Any], result: str) -> Any:
    """Compute a graph of plain values as nodes, and in a callback; both must agree."""
    document = {k: {**n, "result": True} if k == result else n for k, n in nodes.items()}
    graph = parse(document, specs=SPECS)
    found = to_json(infer(graph, collections()).cube(result).result)
    assert to_json(CompiledCallback(Program.of(graph))()) == found
    return found


def node(process: str, **arguments: Any) -> dict[str, Any]:
    return {"process_id": process, "arguments": arguments}


def test_labels_travel_from_node_to_node() -> None:
    made, more = {"from_node": "made"}, {"from_node": "more"}
    nodes = {
        "made": node("array_create_labeled", data=[3, {"from_node": "four"}], labels=["a", "b"]),
        "four": node("add", x=1, y=3),
        "more": node("array_append", data=made, value=5, label="c"),
        "element": node("array_element", data=more, label="b"),
        "names": node("array_labels", data=more),
        "place": node("array_find_label", data=more, label={"from_node": "last name"}),
        "last name": node("last", data={"from_node": "names"}),
        "kept": node(
            "array_filter",
            data=more,
            condition=callback("neq", x={"from_parameter": "label"}, y="a"),
        ),
        "kept names": node("array_labels", data={"from_node": "kept"}),
        "joined": node("text_concat", data={"from_node": "kept names"}, separator="+"),
    }

    assert computed(nodes, "element") == 4
    assert computed(nodes, "place") == 2
    assert computed(nodes, "kept") == [4, 5]
    assert computed(nodes, "joined") == "b+c"


def test_dates_are_chosen_by_their_labels() -> None:
    """Labels of time are texts in a callback, which the processes of dates take."""
    begin, end = "2020-01-10", "2020-03-02T10:00:00Z"
    between = callback("date_between", x={"from_parameter": "label"}, min=begin, max=end)
    reducer = {
        "chosen": node("array_filter", data={"from_parameter": "data"}, condition=between),
        "mean": node("mean", data={"from_node": "chosen"}) | {"result": True},
    }
    load = node("load_collection", id="fine", spatial_extent=None, temporal_extent=None)

    def reduced(data: str, process: dict[str, Any]) -> Cube:
        nodes = {
            "load": load,
            "later": node("filter_temporal", data={"from_node": "load"}, extent=[begin, None]),
            "end": node(
                "reduce_dimension", data={"from_node": data}, dimension="t", reducer=process
            )
            | {"result": True},
        }
        plan = make_plan(infer(parse(nodes, specs=SPECS), collections()))
        return evaluate(plan, plan.window)

    assert_same_pixels(
        reduced("load", {"process_graph": reducer}),
        reduced("later", callback("mean", data={"from_parameter": "data"})),
    )


def test_text_of_numbers_is_exact() -> None:
    assert run("text_concat", [2**60 + 1, 1.0, -1.5, None, True]) == f"{2**60 + 1}1-1.5nulltrue"


def test_delta_that_is_not_positive_is_no_delta() -> None:
    assert run("eq", 1, 1, delta=-1) is True
    assert run("eq", 1, 2, delta=0) is False
    assert run("neq", 1, 2, delta=-5) is True
