"""Small process descriptions, and random graphs made of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from terrazzo.errors import GraphInvalid, Problem
from terrazzo.graph import ParameterSpec, ProcessSpec, parse

ANY: dict[str, Any] = {}
NUMBER = {"type": ["number", "null"]}
CUBE = {"type": "object", "subtype": "datacube"}


def required(name: str, schema: object) -> ParameterSpec:
    return ParameterSpec(name, "", schema)


def optional(name: str, schema: object, default: object = None) -> ParameterSpec:
    return ParameterSpec(name, "", schema, optional=True, default=default)


def callback(*names: str) -> dict[str, Any]:
    parameters = [{"name": name, "schema": {}} for name in names]
    return {"type": "object", "subtype": "process-graph", "parameters": parameters}


def process(name: str, *parameters: ParameterSpec) -> ProcessSpec:
    return ProcessSpec(name, "", "", (), parameters, {"schema": {}})


BOX = {
    "type": "object",
    "required": ["west", "east"],
    "properties": {"west": {"type": "number"}, "east": {"type": "number"}},
}
SPECS = {
    spec.id: spec
    for spec in (
        process(
            "load",
            required("id", {"type": "string", "pattern": r"^\w+$"}),
            optional("extent", [BOX, {"type": "object", "subtype": "geojson"}, {"type": "null"}]),
            optional("filters", {"type": "object", "additionalProperties": callback("value")}),
        ),
        process("number", required("x", ANY)),
        process("add", required("x", NUMBER), required("y", NUMBER), optional("z", NUMBER, 0)),
        process(
            "list", required("data", {"type": "array", "items": ANY}), optional("note", ANY, "")
        ),
        process(
            "reduce",
            required("data", CUBE),
            required("reducer", callback("data", "context")),
            optional("context", ANY),
        ),
        process("apply", required("data", CUBE), required("process", callback("x", "context"))),
        process("mean", required("data", {"type": "array"}), optional("strict", ANY, True)),
        process(
            "save_result", required("data", ANY), optional("format", {"enum": ["GTiff", "PNG"]})
        ),
        process("inspect", required("data", ANY)),
    )
}


def node(name: str, *, result: bool = False, **arguments: object) -> dict[str, Any]:
    made: dict[str, Any] = {"process_id": name, "arguments": arguments}
    return made | ({"result": True} if result else {})


def ref(name: str) -> dict[str, str]:
    return {"from_node": name}


def given(name: str) -> dict[str, str]:
    return {"from_parameter": name}


def problems(document: Any, **options: Any) -> tuple[Problem, ...]:
    with pytest.raises(GraphInvalid) as caught:
        parse(document, specs=SPECS, **options)
    return caught.value.problems


def problem(document: Any, **options: Any) -> Problem:
    found = problems(document, **options)
    assert len(found) == 1, found
    return found[0]


literals = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        # Keys with a meaning of their own are no literals.
        | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a flat graph in which the last node is the result."""
    count = draw(st.integers(1, 8))
    graph: dict[str, Any] = {}
    for index in range(count):
        inputs = [ref(name) for name in graph]
        value = st.sampled_from(inputs) | literals if inputs else literals
        kind = draw(st.sampled_from(["number", "add", "list", "save_result", "reduce"]))
        name = f"n{index}"
        if kind == "add" and inputs:
            graph[name] = node("add", x=draw(st.sampled_from(inputs)), y=draw(st.integers(-9, 9)))
        elif kind == "list":
            nested = st.lists(value | st.fixed_dictionaries({"a": value}), max_size=4)
            graph[name] = node("list", data=draw(nested))
        elif kind == "save_result":
            graph[name] = node("save_result", data=draw(value), format="PNG")
        elif kind == "reduce" and inputs:
            inner = {
                "shift": node("number", x=draw(literals)),
                "mean": node("mean", data=given("data"), strict=ref("shift"), result=True),
            }
            graph[name] = node(
                "reduce", data=draw(st.sampled_from(inputs)), reducer={"process_graph": inner}
            )
        else:
            graph[name] = node("number", x=draw(value))
    graph[name]["result"] = True
    return graph
