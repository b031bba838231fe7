from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given as cases
from hypothesis import strategies as st
from tests.graph.cases import SPECS, graphs, literals, node, ref

from terrazzo.errors import GraphInvalid, Problem
from terrazzo.graph import FrozenMap, canonical, parse


def rename(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        if "from_node" in value:
            return {"from_node": names.get(value["from_node"], value["from_node"])}
        return {key: rename(inner, names) for key, inner in value.items()}
    return [rename(inner, names) for inner in value] if isinstance(value, list) else value


def shuffle(value: Any, random: Any) -> Any:
    if isinstance(value, dict):
        keys = sorted(value)
        random.shuffle(keys)
        return {key: shuffle(value[key], random) for key in keys}
    return [shuffle(inner, random) for inner in value] if isinstance(value, list) else value


@cases(graphs(), st.randoms(use_true_random=False))
def test_digest_does_not_depend_on_names_and_order(graph: dict, random: Any) -> None:
    numbers = random.sample(range(100), len(graph))
    names = {name: f"renamed {number}" for name, number in zip(graph, numbers, strict=True)}
    other = shuffle({names[name]: rename(each, names) for name, each in graph.items()}, random)

    first, second = parse(graph, specs=SPECS), parse(json.dumps(other), specs=SPECS)

    assert first.digest == second.digest
    assert len(first) == len(second)
    assert sorted(each.digest for each in first) == sorted(each.digest for each in second)


@cases(graphs())
def test_round_trip_keeps_the_digest(graph: dict) -> None:
    first = parse(graph, specs=SPECS)

    second = parse(json.dumps(first.to_json()), specs=SPECS)
    third = pickle.loads(pickle.dumps(second))  # noqa: S301 - our own bytes

    assert first == second == third
    assert [each.id for each in first] == [each.id for each in second]
    assert second.to_json() == first.to_json() == third.to_json()


@cases(graphs(), st.data())
def test_changing_one_literal_changes_the_digest(graph: dict, data: st.DataObject) -> None:
    graph["new"] = node("number", x=1)
    result = next(name for name, each in graph.items() if each.pop("result", False))
    graph["end"] = node("list", data=[ref(result), ref("new")], result=True)
    before = parse(graph, specs=SPECS)
    value = data.draw(literals.filter(lambda each: isinstance(each, bool) or each != 1))
    graph["new"]["arguments"]["x"] = value

    after = parse(graph, specs=SPECS)

    assert before.digest != after.digest


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths of all values below the nodes of a graph."""
    members: Any = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    return [at, *(place for key, inner in members for place in places(inner, (*at, key)))]


@cases(graphs(), st.data())
def test_a_corrupt_graph_is_invalid_and_nothing_else(graph: dict, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(graph)[1:]))
    corrupt = copy.deepcopy(graph)
    inside: Any = corrupt
    for key in place[:-1]:
        inside = inside[key]
    junk: Any = data.draw(
        literals | st.sampled_from([object(), float("nan"), {3: 4}, ref("nowhere"), [[]]])
    )
    inside[place[-1]] = junk

    found: tuple[Problem, ...] = ()
    try:
        parse(corrupt, specs=SPECS)
    except GraphInvalid as error:
        found = error.problems

    assert all(each.path.startswith("$") and each.message for each in found)


CORRUPTIONS = [
    ("process_id", "nonsense", ".process_id", "ProcessUnsupported"),
    ("process_id", 5, ".process_id", "ProcessGraphInvalid"),
    ("arguments", [], ".arguments", "ProcessGraphInvalid"),
    ("result", "yes", ".result", "ProcessGraphInvalid"),
    ("namespace", 5, ".namespace", "ProcessGraphInvalid"),
    ("namespace", False, ".namespace", "ProcessGraphInvalid"),
]


@pytest.mark.parametrize(("key", "value", "path", "code"), CORRUPTIONS)
@cases(graph=graphs(), data=st.data())
def test_every_corruption_is_reported_at_its_path(
    key: str, value: object, path: str, code: str, graph: dict, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(graph)))
    graph[name][key] = value

    with pytest.raises(GraphInvalid) as caught:
        parse(graph, specs=SPECS)

    found = {(each.code, each.path, each.node) for each in caught.value.problems}
    assert (code, f"$.{name}{path}", name) in found


@cases(graphs(), st.data())
def test_every_dangling_reference_is_reported_at_its_path(graph: dict, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(graph)))
    graph[name]["process_id"] = "list"
    graph[name]["arguments"] = {"data": [1, {"a b": ref("nowhere")}]}

    with pytest.raises(GraphInvalid) as caught:
        parse(graph, specs=SPECS)

    (found,) = caught.value.problems
    assert found.path == f"$.{name}.arguments.data[1]['a b'].from_node"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"x": 1}, {"x": 1.0}),
        ({"x": {"a": 1, "b": 2}}, {"x": {"b": 2.0, "a": 1}}),
        ({"x": "\u00e9"}, {"x": "é"}),
    ],
)
def test_writing_does_not_change_the_digest(one: dict, other: dict) -> None:
    first, second = ({"a": node("number", **each)} for each in (one, other))

    assert parse(first, specs=SPECS) == parse(second, specs=SPECS)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (0, False), (0, None), (0, -0.0), ("1", 1), ([], {}), ([1, 2], [12]), ("", None)],
)
def test_values_that_differ_have_digests_that_differ(one: object, other: object) -> None:
    first, second = ({"a": node("number", x=each)} for each in (one, other))

    assert parse(first, specs=SPECS) != parse(second, specs=SPECS)


def test_a_repeated_default_counts_as_left_out() -> None:
    short = parse({"a": node("add", x=1, y=2)}, specs=SPECS)
    long = parse({"a": node("add", x=1, y=2, z=0.0) | {"description": "hi"}}, specs=SPECS)
    other = parse({"a": node("add", x=1, y=2, z=1)}, specs=SPECS)

    assert short == long
    assert short != other


def test_literals_cannot_pretend_to_be_references() -> None:
    value = FrozenMap({"a": "@x", "b": '$"y"'})

    assert canonical(value) == '{"a":"@x","b":"$\\"y\\""}'
