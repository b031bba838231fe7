"""Every example in the official descriptions, computed as a node of a graph and in a callback.

Checked strictly: a boolean is no number, no-data is not NaN. Not verified here: examples without
a result, which need a data cube.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from tests.grass.oracle import PROCESSES as EXTENSIONS

from terrazzo.engine import infer
from terrazzo.engine.callbacks import CompiledCallback, Program
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.processes.convert import to_json
from terrazzo.testing.graphs import collections

if TYPE_CHECKING:
    from pathlib import Path

TOLERANCE = 1e-10
RENAMED = {("count", "element"): "x"}
"""Callback parameters that examples call by another name than the description they are in."""
ERRATA = {
    ("array_modify", 3): "removes an entry without `length`, of which the default is 0",
}


def renamed(name: str, value: Any) -> Any:
    """Return an argument with the parameter names of the description; callbacks are unwrapped."""
    if isinstance(value, list):
        return [renamed(name, entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if "from_parameter" in value:
        parameter = value["from_parameter"]
        return {"from_parameter": RENAMED.get((name, parameter), parameter)}
    inside = {key: renamed(name, entry) for key, entry in value.items()}
    bare = value and all(isinstance(n, dict) and "process_id" in n for n in value.values())
    return {"process_graph": inside} if bare else inside


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(same(a, b) for a, b in zip(found, expected, strict=True))
        )
    if type(found) in {int, float} and type(expected) in {int, float}:
        return math.isclose(found, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return type(found) is type(expected) and found == expected


def node(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"it": {"process_id": name, "arguments": arguments, "result": True}}


def results(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what a process gives as a node, and in a callback with literals and parameters."""
    passed = {
        key: value
        if isinstance(value, dict) and "process_graph" in value
        else {"from_parameter": f"my_{key}"}
        for key, value in arguments.items()
    }
    literal = parse(node(name, arguments), specs=SPECS)
    open_ = parse(node(name, passed), specs=SPECS, allow_free_parameters=True)
    mine = {f"my_{key}": value for key, value in arguments.items()}
    return {
        "node": infer(literal, collections()).cube("it").result,
        "callback": CompiledCallback(Program.of(literal))(),
        "parameters": CompiledCallback(Program.of(open_))(**mine),
    }


@pytest.mark.parametrize("name", sorted(SPECS.keys() - EXTENSIONS))
def test_examples_give_their_results(name: str, shared: Path) -> None:
    folder = shared / "openeo" / "specs"
    path = next(p for p in (folder, folder / "proposals") if (p / f"{name}.json").is_file())
    examples = json.loads((path / f"{name}.json").read_text()).get("examples", [])

    wrong = {}
    for number, example in enumerate(examples):
        if "returns" not in example:
            continue
        arguments = {key: renamed(name, value) for key, value in example["arguments"].items()}
        for way, result in results(name, arguments).items():
            found = to_json(result)
            if same(found, example["returns"]) is ((name, number) in ERRATA):
                wrong[number, way] = found

    assert wrong == {}
