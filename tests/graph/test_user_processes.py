from __future__ import annotations

from typing import Any

import pytest
from tests.graph.cases import SPECS, given, node, problem, ref

from terrazzo.graph import Graph, parse

DOUBLE = {
    "process_graph": {"sum": node("add", x=given("v"), y=given("v"), z=given("more"), result=True)},
    "parameters": [
        {"name": "v", "schema": {"type": "number"}},
        {"name": "more", "schema": {"type": "number"}, "optional": True, "default": 0},
    ],
}
FOUR = {
    "process_graph": {
        "once": node("double", v=given("v")),
        "twice": node("double", v=ref("once"), result=True),
    },
    "parameters": [{"name": "v", "schema": {"type": "number"}}],
}
USERS = {"double": DOUBLE, "four": FOUR}


def read(document: object, users: Any = USERS) -> Graph:
    return parse(document, specs=SPECS, user_processes=users)  # type: ignore[arg-type]


def test_calls_are_replaced_by_their_nodes() -> None:
    graph = read({"n": node("number", x=1), "d": node("double", v=ref("n"), result=True)})

    assert [each.id for each in graph] == ["n", "d/sum"]
    assert graph.result == "d/sum"
    assert graph == read(
        {"n": node("number", x=1), "s": node("add", x=ref("n"), y=ref("n"), result=True)}
    )


def test_calls_nest_and_names_stay_readable() -> None:
    graph = read({"f": node("four", v=3)})

    assert [each.id for each in graph] == ["f/once/sum", "f/twice/sum"]
    by_hand = {"a": node("add", x=3, y=3), "b": node("add", x=ref("a"), y=ref("a"), result=True)}
    assert graph == read(by_hand)


def test_names_that_exist_are_not_taken() -> None:
    graph = read({"d": node("double", v=3), "d/sum": node("inspect", data=ref("d"), result=True)})

    assert [each.id for each in graph] == ["d/sum_2", "d/sum"]


def test_calls_in_callbacks_are_replaced() -> None:
    inner = {"process_graph": {"d": node("double", v=given("x"))}}
    document = {
        "a": node("load", id="s2"),
        "p": node("apply", data=ref("a"), process=inner, result=True),
    }

    callback = read(document)["p"].arguments["process"]

    assert [each.id for each in callback.graph] == ["d/sum"]  # type: ignore[union-attr]


def test_callbacks_are_handed_through() -> None:
    users = {
        "through": {
            "process_graph": {"r": node("reduce", data=given("cube"), reducer=given("how"))},
            "parameters": [
                {"name": "cube", "schema": {}},
                {"name": "how", "schema": {"type": "object", "subtype": "process-graph"}},
            ],
        }
    }
    how = {"process_graph": {"m": node("mean", data=given("data"))}}
    load = {"a": node("load", id="s2")}

    inlined = read(load | {"t": node("through", cube=ref("a"), how=how, result=True)}, users)

    assert inlined == read(load | {"r": node("reduce", data=ref("a"), reducer=how, result=True)})


def test_predefined_processes_win_unless_the_user_is_named() -> None:
    users = {"number": {"process_graph": {"a": node("load", id="mine")}}}

    assert read({"a": node("number", x=1)}, users)["a"].process_id == "number"
    mine = read({"a": node("number") | {"namespace": "user"}}, users)
    assert mine[mine.result].process_id == "load"


def test_recursion_is_told_as_a_cycle_of_processes() -> None:
    users = {
        "ping": {"process_graph": {"a": node("pong")}},
        "pong": {
            "process_graph": {"b": node("inspect", data={"process_graph": {"c": node("ping")}})}
        },
    }

    found = problem({"start": node("ping")}, user_processes=users)

    assert "ping -> pong -> ping" in found.message
    assert found.path == "$.start.process_id"


def test_recursion_through_a_default_is_told() -> None:
    again = {"process_graph": {"c": node("ping")}}
    parameter = {"name": "how", "schema": {}, "optional": True, "default": again}
    users = {
        "ping": {
            "process_graph": {"a": node("inspect", data=given("how"))},
            "parameters": [parameter],
        }
    }

    found = problem({"start": node("ping")}, user_processes=users)

    assert "ping -> ping" in found.message


def test_a_problem_inside_is_told_at_the_call() -> None:
    users = {"broken": {"process_graph": {"a": node("load", id=5)}}}

    found = problem({"start": node("broken")}, user_processes=users)

    assert (found.path, found.node) == ("$.start.process_id", "start/a")
    assert "process broken, $.process_graph.a.arguments.id" in found.message


@pytest.mark.parametrize(
    ("arguments", "code", "path"),
    [
        ({}, "ProcessParameterRequired", "$.d.arguments.v"),
        ({"v": 1, "w": 2}, "ProcessParameterUnsupported", "$.d.arguments.w"),
        ({"v": "one"}, "ProcessParameterInvalid", "$.d.arguments.v"),
    ],
)
def test_arguments_of_calls_are_checked(arguments: dict, code: str, path: str) -> None:
    users = {"double": {**DOUBLE, "process_graph": {"n": node("number", x=given("v"))}}}

    found = problem({"d": node("double", **arguments)}, user_processes=users)

    assert (found.code, found.path) == (code, path)


@pytest.mark.parametrize("document", [None, {}, {"process_graph": None}, {"process_graph": {}}])
def test_a_process_without_a_graph_is_told(document: object) -> None:
    found = problem({"a": node("empty")}, user_processes={"empty": document})

    assert found.code == "ProcessInvalid"


def test_schemas_of_users_are_hostile() -> None:
    for schema in (5, [[]], {"type": [{}], "required": [{}], "enum": 3, "pattern": "("},
                   {"subtype": [], "anyOf": 3, "minItems": "x", "pattern": "(a+)+$"}):  # fmt: skip
        users = {"u": {"process_graph": {"a": node("number", x=given("p"))},
                       "parameters": [{"name": "p", "schema": schema}]}}  # fmt: skip
        assert len(read({"c": node("u", p="a" * 50 + "b")}, users)) == 1
        assert len(read({"c": node("u", p={"a": [1]})}, users)) == 1


def test_results_of_nodes_do_not_leak_into_callbacks() -> None:
    inner = {"process_graph": {"s": node("add", x=given("x"), y=given("by"))}}
    users = {
        "shift": {
            "process_graph": {"p": node("apply", data=given("cube"), process=inner)},
            "parameters": [{"name": "cube", "schema": {}}, {"name": "by", "schema": {}}],
        }
    }
    load = {"a": node("load", id="s2"), "n": node("number", x=2)}

    fine = read(load | {"c": node("shift", cube=ref("a"), by=2, result=True)}, users)
    found = problem(load | {"c": node("shift", cube=ref("a"), by=ref("n"), result=True)},
                    user_processes=users)  # fmt: skip

    assert fine.parameters == ()
    assert "context" in found.message


def test_an_outer_parameter_is_not_captured_by_a_callback_of_the_same_name() -> None:
    inner = {"process_graph": {"s": node("add", x=given("x"), y=given("by"))}}
    users = {
        "shift": {
            "process_graph": {"p": node("apply", data=given("cube"), process=inner)},
            "parameters": [{"name": "cube", "schema": {}}, {"name": "by", "schema": {}}],
        }
    }
    outer = {"process_graph": {"c": node("shift", cube={"type": "x"}, by=given("x"))}}
    document = {"o": node("apply", data={"type": "x"}, process=outer)}

    found = problem(document, user_processes=users)

    assert "outer parameter 'x'" in found.message


def test_a_cycle_through_a_call_is_found() -> None:
    users = {"const": {"process_graph": {"n": node("number", x=1)}, "parameters": [{"name": "p"}]}}
    document = {"a": node("const", p=ref("b")), "b": node("inspect", data=ref("a"), result=True)}

    found = problem(document, user_processes=users)

    assert "a -> b -> a" in found.message


def test_growth_without_bounds_is_refused() -> None:
    users: dict[str, Any] = {"p0": {"process_graph": {"n": node("number", x=given("v"))},
                                    "parameters": [{"name": "v", "schema": {}}]}}  # fmt: skip
    wide = dict(users)
    deep = dict(users)
    for level in range(1, 40):
        below = f"p{level - 1}"
        pair = [given("v"), given("v")]
        parameters = [{"name": "v", "schema": {}}]
        users[f"p{level}"] = {"process_graph": {"c": node(below, v=pair)}, "parameters": parameters}
        two = {"a": node(below, v=given("v")), "b": node(below, v=ref("a"), result=True)}
        wide[f"p{level}"] = {"process_graph": two, "parameters": parameters}
    for level in range(1, 100):
        call = {"c": node(f"p{level - 1}", **({"v": 1} if level == 1 else {}))}
        deep[f"p{level}"] = {"process_graph": call, "parameters": []}

    for processes, top in ((users, "p39"), (wide, "p39"), (deep, "p99")):
        arguments = {"v": 1} if top == "p39" else {}
        found = problem({"x": node(top, **arguments)}, user_processes=processes)
        assert found.code == "ProcessGraphComplexity"
        assert found.path.startswith("$.x")
