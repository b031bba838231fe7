"""Scalar processes against the official openEO test vectors.

A vector is checked strictly: a boolean is no number, no-data is not NaN. Vectors that contradict
the specification are errata; an erratum that passes fails the test, so that the list cannot rot.
Not verified here: vectors that need a data cube.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from tests.processes.scalar_cases import SCALAR

from terrazzo.cube import Stack
from terrazzo.errors import TerrazzoError
from terrazzo.processes import PROCESSES
from terrazzo.processes.convert import entries_of, stack_of, to_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOLERANCE = 1e-10

ERRATA = {
    ("any", 8): "no-data alone is no-data, says the specification's own example",
    ("array_append", 0): "appends 0 and expects 1",
    ("array_apply", 8): "calls `mulitply`, which is no process",
    ("array_element", 3): "asks for label BO2 with the letter O; the label is B02",
    ("array_find", 6): "3 is the first entry, the vector expects position 1",
    ("lte", 15): "infinity equals infinity, IEEE 754",
    ("product", 10): "-infinity times infinity is -infinity, IEEE 754; the vector expects NaN",
}
"""(process, position in the original file) and what is wrong with the vector."""

RENAMED = {
    "from_argument": "from_parameter",  # the name before openEO 1.0
}
ARGUMENTS = {("array_filter", "process"): "condition"}
PARAMETERS = {"count": {"element": "x"}}


def decoded(value: Any) -> Any:
    """Return a JSON value of a vector as processes take it."""
    if isinstance(value, list):
        return [decoded(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "nodata":
        return None
    if value.get("type") == "labeled-array":
        entries = value["data"]
        return stack_of(
            [decoded(entry["value"]) for entry in entries], [entry["key"] for entry in entries]
        )
    return {key: decoded(entry) for key, entry in value.items()}


def callback(graph: dict[str, Any], renamed: dict[str, str]) -> Callable[..., Any]:
    """Return a process graph as a function; simple and slow, unlike the engine's."""
    nodes = graph.get("process_graph", graph)

    def resolved(value: Any, scope: dict[str, Any]) -> Any:
        if not isinstance(value, dict):
            return value
        for old, new in RENAMED.items():
            value = {new if key == old else key: entry for key, entry in value.items()}
        if "from_parameter" in value:
            return scope[renamed.get(value["from_parameter"], value["from_parameter"])]
        if "from_node" in value:
            return computed(nodes[value["from_node"]], scope)
        return value

    def computed(node: dict[str, Any], scope: dict[str, Any]) -> Any:
        arguments = {key: resolved(value, scope) for key, value in node["arguments"].items()}
        return called(node["process_id"], arguments)

    result = next(node for node in nodes.values() if node.get("result"))
    return lambda **scope: computed(result, scope)


def called(name: str, arguments: dict[str, Any]) -> Any:
    """Call a process the way the engine does: by Python names, arrays as stacks."""
    process = PROCESSES[name]
    prepared = {}
    for given, argument in arguments.items():
        key = ARGUMENTS.get((name, given), given)
        value = argument
        if process.takes_stack(key) and isinstance(value, list):
            value = stack_of(value)
        elif isinstance(value, dict) and key in {"process", "condition"}:
            value = callback(value, PARAMETERS.get(name, {}))
        prepared[process.python_names.get(key, key)] = value
    return process.function(**prepared)


def same(found: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, Stack):
        return (
            isinstance(found, Stack)
            and found.labels == expected.labels
            and same(entries_of(found), entries_of(expected), tolerance)
        )
    found = to_json(found)
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(same(a, b, tolerance) for a, b in zip(found, expected, strict=True))
        )
    numbers = (int, float)
    if type(found) not in numbers or type(expected) not in numbers:
        return type(found) is type(expected) and found == expected
    if math.isnan(expected):
        return math.isnan(found)
    if math.isinf(expected) or math.isinf(found):
        return found == expected
    return abs(found - expected) <= tolerance * max(1.0, abs(expected))


def verdict(name: str, vector: dict[str, Any]) -> str:
    """Return what is wrong with the result for a vector; empty for nothing."""
    throws = vector.get("throws")
    try:
        found = called(name, decoded(vector["arguments"]))
    except TerrazzoError as error:
        return "" if throws in {True, error.code} else f"raised {error.code}: {error}"
    except KeyError as error:
        return f"there is no {error}"
    if "returns" not in vector:
        return f"gave {found} and should have raised {throws}"
    expected = decoded(vector["returns"])
    if same(found, expected, vector.get("delta", TOLERANCE)):
        return ""
    return f"gave {found}, expected {expected}"


@pytest.mark.parametrize("name", SCALAR)
def test_official_vectors(name: str, shared: Path) -> None:
    path = shared / "openeo" / "vectors" / f"{name}.json"
    if not path.is_file():
        pytest.skip("the shared part of the vectors has none for this process")
    vectors = json.loads(path.read_text())["tests"]

    verdicts = {vector["index"]: verdict(name, vector) for vector in vectors}
    errata = {index for process, index in ERRATA if process == name and index in verdicts}

    assert {index: text for index, text in verdicts.items() if text and index not in errata} == {}
    assert [index for index in errata if not verdicts[index]] == []
