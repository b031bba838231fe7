"""All that inference would refuse, not the first of it alone."""

from __future__ import annotations

from typing import Any

import pytest

from terrazzo.engine import infer, mistakes
from terrazzo.errors import TerrazzoError
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.testing.graphs import collections


def load(name: str = "fine", **arguments: Any) -> dict[str, Any]:
    whole = {"spatial_extent": None, "temporal_extent": None}
    return {"process_id": "load_collection", "arguments": {"id": name, **whole, **arguments}}


def node(process: str, /, **arguments: Any) -> dict[str, Any]:
    return {"process_id": process, "arguments": arguments}


def found(**nodes: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (node, code) of what is wrong with a graph whose last node is the result."""
    *_, last = nodes
    nodes[last] |= {"result": True}
    graph = parse(nodes, specs=SPECS)
    return [(name, error.code) for name, error in mistakes(graph, collections())]


def test_a_graph_that_can_be_inferred_has_none() -> None:
    assert found(load=load()) == []


def test_every_branch_is_looked_at() -> None:
    told = found(
        one=load(bands=["no"]),
        two=load("missing"),
        both=node("merge_cubes", cube1={"from_node": "one"}, cube2={"from_node": "two"}),
    )

    assert {name for name, _ in told} == {"one", "two"}


def test_what_needs_a_refused_node_is_passed_over() -> None:
    told = found(
        one=load(bands=["no"]),
        two=node("rename_dimension", data={"from_node": "one"}, source="no", target="a"),
        three=node("drop_dimension", data={"from_node": "two"}, name="nothing"),
    )

    assert told == [("one", "BandNotFound")]


def test_a_branch_that_is_not_taken_is_not_looked_at() -> None:
    told = found(
        good=load(),
        bad=load(bands=["no"]),
        both=node("if", value=True, accept={"from_node": "good"}, reject={"from_node": "bad"}),
    )

    assert told == []


def test_the_first_of_them_is_what_inference_refuses() -> None:
    graph = parse({"a": load(bands=["no"]) | {"result": True}}, specs=SPECS)
    ((name, error),) = mistakes(graph, collections())

    with pytest.raises(TerrazzoError) as refused:
        infer(graph, collections())

    assert (name, str(error)) == ("a", str(refused.value))
