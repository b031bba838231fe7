from __future__ import annotations

import json
import sys
import threading
from typing import Any

import pytest
from tests.graph.cases import SPECS, node, problem, ref

from terrazzo.graph import parse
from terrazzo.graph.order import topological

MANY = 10_000


def chain(first: Any = 1) -> dict[str, Any]:
    graph = {"n0": node("add", x=first, y=0)}
    graph |= {f"n{i}": node("add", x=ref(f"n{i - 1}"), y=i) for i in range(1, MANY)}
    graph[f"n{MANY - 1}"]["result"] = True
    return dict(reversed(graph.items()))


def test_a_long_chain_parses() -> None:
    graph = parse(chain(), specs=SPECS)

    assert [each.id for each in graph] == [f"n{i}" for i in range(MANY)]
    assert parse(json.dumps(graph.to_json()), specs=SPECS) == graph


def test_a_wide_graph_parses() -> None:
    graph = {f"n{i}": node("number", x=i) for i in range(MANY)}
    graph["all"] = node("list", data=[ref(f"n{i}") for i in range(MANY)], result=True)

    assert len(parse(graph, specs=SPECS)) == MANY + 1


def test_a_wide_graph_of_equal_nodes_becomes_one() -> None:
    graph = {f"n{i}": node("number", x=1) for i in range(MANY)}
    graph["all"] = node("list", data=[ref(f"n{i}") for i in range(MANY)], result=True)

    assert [each.id for each in parse(graph, specs=SPECS)] == ["n0", "all"]


def test_a_long_cycle_is_one_problem() -> None:
    found = problem(chain(ref(f"n{MANY - 1}")))

    assert f"{MANY} nodes" in found.message
    assert found.node == f"n{MANY - 1}"


def test_ten_thousand_mistakes_are_told_quickly() -> None:
    with pytest.raises(Exception, match=f"{2 * MANY + 1} problems"):
        parse({f"n{i}": node("nope", x=ref(f"m{i}")) for i in range(MANY)}, specs=SPECS)


def nested(levels: int, *, arrays: bool) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if arrays else {"a": value}
    return value


@pytest.mark.parametrize("arrays", [True, False])
def test_deep_nesting_is_refused(arrays: bool) -> None:
    begin, end = ("[", "]") if arrays else ('{"a":', "}")
    text = begin * MANY + "1" + end * MANY
    document = f'{{"n": {{"process_id": "number", "arguments": {{"x": {text}}}}}}}'

    from_text = problem(document)
    from_python = problem({"n": node("number", x=nested(MANY, arrays=arrays))})
    supplied = problem(
        {"n": node("number", x={"from_parameter": "p"})},
        parameters={"p": nested(MANY, arrays=arrays)},
    )

    for found in (from_text, from_python, supplied):
        assert found.code == "ProcessGraphComplexity"
        assert "levels deep" in found.message


@pytest.mark.parametrize("arrays", [True, False])
def test_nesting_up_to_the_limit_parses_far_down_the_stack(arrays: bool) -> None:
    graph = {"n": node("number", x=nested(95, arrays=arrays))}

    def below(frames: int) -> object:
        return below(frames - 1) if frames else parse(json.dumps(graph), specs=SPECS)

    assert below(min(400, sys.getrecursionlimit() - 600)) == parse(graph, specs=SPECS)


def test_callbacks_nest_up_to_the_limit() -> None:
    inner: dict[str, Any] = {"n": node("number", x=1)}
    for _ in range(15):
        inner = {"p": node("apply", data={"type": "x"}, process={"process_graph": inner})}

    graph = parse(inner, specs=SPECS)

    assert parse(graph.to_json(), specs=SPECS) == graph
    for _ in range(30):
        inner = {"p": node("apply", data={"type": "x"}, process={"process_graph": inner})}
    assert problem(inner).code == "ProcessGraphComplexity"


def test_a_container_inside_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop

    assert problem({"n": node("number", x=loop)}).code == "ProcessGraphComplexity"


def test_order_keeps_what_is_given_where_it_can() -> None:
    order, cycles = topological({"c": ("a",), "b": (), "a": ("gone",)})

    assert order == ("a", "c", "b")
    assert cycles == ()


def test_many_knots_take_linear_time() -> None:
    half = MANY // 2
    needs = {str(i): [str(i + 1)] for i in range(MANY)}
    for i in range(half):
        needs[str(half + i)].append(str(half - i))

    _, cycles = topological(needs)

    assert len(cycles) == 1


def test_threads_share_a_graph() -> None:
    graph = parse(chain(), specs=SPECS)
    seen: list[tuple[str, tuple[str, ...]]] = []

    def look() -> None:
        seen.append((graph.digest, graph.parameters))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == 8
    assert len(set(seen)) == 1
