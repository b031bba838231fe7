"""What decides nothing is not computed: branches of `if`, operands of `and` and `or`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from terrazzo.cube import Pixels, all_valid
from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.engine.callbacks import CompiledCallback, Program
from terrazzo.errors import ArrayElementNotAvailable, CollectionNotFound
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.processes.convert import to_json
from terrazzo.testing.graphs import collections

WRONG = {"process_id": "array_element", "arguments": {"data": [1], "index": 5}}
"""A node that cannot be computed."""
BEHIND = {"process_id": "not", "arguments": {"x": {"from_node": "wrong"}}}
"""A node that needs it."""
YES = {"process_id": "eq", "arguments": {"x": 1, "y": 1}}
NO = {"process_id": "eq", "arguments": {"x": 1, "y": 2}}
MISSING = {"process_id": "eq", "arguments": {"x": None, "y": 2}}

CASES = [
    ("and", {"x": "no", "y": "behind"}, False),
    ("or", {"x": "yes", "y": "behind"}, True),
    ("all", {"data": ["yes", "no", "behind"]}, False),
    ("any", {"data": ["missing", "yes", "behind"], "ignore_nodata": False}, True),
    ("if", {"value": "yes", "accept": 7, "reject": "behind"}, 7),
    ("if", {"value": "missing", "accept": "behind", "reject": [1, "yes"]}, [1, True]),
    ("if", {"value": "no", "accept": "behind"}, None),
    ("if", {"value": True, "accept": "no", "reject": "behind"}, False),
]
UNDECIDED = [
    ("and", {"x": "yes", "y": "behind"}),
    ("and", {"x": "missing", "y": "behind"}),
    ("or", {"x": "no", "y": "behind"}),
    ("all", {"data": ["yes", "behind"]}),
    ("any", {"data": ["no", "missing", "behind"]}),
    ("if", {"value": "yes", "accept": "behind"}),
    ("xor", {"x": "yes", "y": "behind"}),
]


def graph(process: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a graph in which names of nodes stand for references to them."""
    nodes = {"wrong": WRONG, "behind": BEHIND, "yes": YES, "no": NO, "missing": MISSING}

    def referred(value: Any) -> Any:
        if isinstance(value, list):
            return [referred(entry) for entry in value]
        return {"from_node": value} if value in nodes else value

    given = {name: referred(value) for name, value in arguments.items()}
    # Something uses the wrong node whatever is asked for; what nobody uses would be computed.
    it = {"process_id": process, "arguments": given}
    use = {
        "value": True,
        "accept": {"from_node": "it"},
        "reject": [{"from_node": n} for n in nodes],
    }
    return {
        **nodes,
        "it": it,
        "end": {"process_id": "if", "arguments": use, "result": True},
    }


@pytest.mark.parametrize(("process", "arguments", "expected"), CASES)
def test_node_that_decides_nothing_is_not_looked_at(
    process: str, arguments: dict[str, Any], expected: Any
) -> None:
    parsed = parse(graph(process, arguments), specs=SPECS)

    inference = infer(parsed, collections())

    found = to_json(inference.cube("end").result)
    assert found == expected
    assert type(found) is type(expected)
    assert {"wrong", "behind"}.isdisjoint(inference.nodes)


@pytest.mark.parametrize(("process", "arguments", "expected"), CASES)
def test_node_that_decides_nothing_is_not_run_in_a_callback(
    process: str, arguments: dict[str, Any], expected: Any
) -> None:
    run = CompiledCallback(Program.of(parse(graph(process, arguments), specs=SPECS)))

    found = to_json(run())

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(("process", "arguments"), UNDECIDED)
def test_node_that_decides_is_computed(process: str, arguments: dict[str, Any]) -> None:
    parsed = parse(graph(process, arguments), specs=SPECS)

    with pytest.raises(ArrayElementNotAvailable):
        infer(parsed, collections())
    with pytest.raises(ArrayElementNotAvailable):
        CompiledCallback(Program.of(parsed))()


def test_collection_that_is_not_needed_need_not_exist() -> None:
    load = {
        "process_id": "load_collection",
        "arguments": {"id": "nowhere", "spatial_extent": None, "temporal_extent": None},
    }
    labels = {
        "process_id": "dimension_labels",
        "arguments": {"data": {"from_node": "load"}, "dimension": "bands"},
    }
    found = {
        "process_id": "array_contains",
        "arguments": {"data": {"from_node": "labels"}, "value": "red"},
    }

    def asked(x: bool) -> Any:
        both = {"x": x, "y": {"from_node": "found"}}
        nodes = {"load": load, "labels": labels, "found": found}
        end = {"process_id": "and", "arguments": both, "result": True}
        return infer(parse({**nodes, "end": end}, specs=SPECS), collections())

    assert asked(x=False).cube("end").result is False
    with pytest.raises(CollectionNotFound):
        asked(x=True)


def test_both_branches_serve_a_condition_per_pixel() -> None:
    nodes = {
        "above": {"process_id": "gt", "arguments": {"x": {"from_parameter": "x"}, "y": 2}},
        "twice": {
            "process_id": "multiply",
            "arguments": {"x": {"from_parameter": "x"}, "y": 2},
        },
        "less": {
            "process_id": "subtract",
            "arguments": {"x": {"from_parameter": "x"}, "y": 10},
        },
        "end": {
            "process_id": "if",
            "arguments": {
                "value": {"from_node": "above"},
                "accept": {"from_node": "twice"},
                "reject": {"from_node": "less"},
            },
            "result": True,
        },
    }
    parsed = parse(nodes, specs=SPECS, allow_free_parameters=True)
    x = Pixels(np.array([1.0, 3.0], np.float32), all_valid((2,)))

    found = CompiledCallback(Program.of(parsed))(x=x)

    np.testing.assert_array_equal(found.values, [1 - 10, 3 * 2])


def test_condition_on_the_context_spares_a_branch_for_all_pixels() -> None:
    """One value for all pixels decides inside `apply`, too."""
    choice = {
        "wrong": WRONG,
        "is": {"process_id": "eq", "arguments": {"x": {"from_parameter": "context"}, "y": "a"}},
        "end": {
            "process_id": "if",
            "arguments": {
                "value": {"from_node": "is"},
                "accept": {"from_parameter": "x"},
                "reject": {"from_node": "wrong"},
            },
            "result": True,
        },
    }
    nodes = {
        "load": {
            "process_id": "load_collection",
            "arguments": {"id": "fine", "spatial_extent": None, "temporal_extent": None},
        },
        "apply": {
            "process_id": "apply",
            "arguments": {
                "data": {"from_node": "load"},
                "process": {"process_graph": choice},
                "context": "a",
            },
            "result": True,
        },
    }
    plain = {"load": {**nodes["load"], "result": True}}
    plan, same = (
        make_plan(infer(parse(each, specs=SPECS), collections())) for each in (nodes, plain)
    )

    found, expected = (evaluate(p, p.window) for p in (plan, same))

    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.valid, expected.valid)


@pytest.mark.parametrize(
    ("process", "data", "expected"),
    [("all", [True, None], None), ("any", [False, None], None), ("any", [None, True], True)],
)
def test_arguments_beside_the_operands_are_always_computed(
    process: str, data: list[Any], expected: Any
):
    arguments = {"data": data, "ignore_nodata": {"from_node": "no"}}
    nodes = {"no": NO, "it": {"process_id": process, "arguments": arguments, "result": True}}

    assert infer(parse(nodes, specs=SPECS), collections()).cube("it").result is expected
