"""Checks that a process has the properties that tile, batch and extract rely on.

For whoever writes a process: one call in a test instead of a test for each property. It says
nothing about whether the numbers are right; that is for a test with numbers of another origin.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from terrazzo import errors
from terrazzo.cube import Pixels
from terrazzo.engine.kinds import fitted
from terrazzo.errors import TerrazzoError
from terrazzo.processes import PROCESSES, Process, Role
from terrazzo.testing.check_graphs import GraphCheck
from terrazzo.testing.check_material import LOAD, NODE, ProcessCheckFailed, rule
from terrazzo.testing.check_scalars import ScalarCheck, graph_of, takes_array

if TYPE_CHECKING:
    from terrazzo.graph import ParameterSpec

__all__ = ["CUBE", "ProcessCheckFailed", "check_process"]

CUBE: Mapping[str, str] = MappingProxyType({"from_node": "cube"})
"""The raster that a check makes, as an argument: dimensions t, bands (red, nir), y, x."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_FEW = ("uint8", "int16", "float32")
"""Types in which callback maths is run over a raster, once its function is known to be right."""


def check_process(
    process: str | Process,
    arguments: Mapping[str, Any],
    *,
    before: Mapping[str, Any] = _NOTHING,
    seed: int = 0,
) -> None:
    """Fail unless a process has every property that all processes must have.

    | property | says |
    |---|---|
    | `description` | signature and description agree; errors exist; there is a `Source` |
    | `dtype` | every type of number is computed, or refused before a pixel is read |
    | `inference` | what is promised without pixels is what comes out: dimensions, labels, type |
    | `result`, `function` | nothing but an error of Terrazzo's own is raised, no warning given |
    | `read-only` | arguments are not written to |
    | `pure` | the same arguments give the same bits |
    | `no-data` | what stands where there is no data does not matter |
    | `windows` | any window, tile or block has the bits of the whole |
    | `labels` | some of the labels have the bits that they have among all |
    | `fused` | computed in one pass or step by step, the pixels are equal |
    | `little` | no data, no dates, one pixel, empty arrays: computed or refused |

    Numbers per pixel and arrays per pixel take, one by one and together, the place of the
    arguments of a process of callbacks; a process of cubes runs over a raster of 29 x 37 pixels,
    3 dates and 2 bands. Both hold no-data, NaN, infinities and the ends of their type.

    Args:
        process: a registered process, or its id.
        arguments: as in a process graph, of which `CUBE` is the raster; other nodes are in
            `before`.
        before: nodes that the arguments refer to.
        seed: decides which windows and labels are tried.

    Raises:
        ProcessCheckFailed: it lacks one of the properties; says which.
        ArgumentInvalid: there is no such process.
    """
    known = _registered(process)
    _check_description(known)
    nodes = {**before, NODE: {"process_id": known.id, "arguments": _plain(arguments)}}
    if _mentions_cube(nodes):
        nodes["cube"] = LOAD

    if known.role is Role.SCALAR and "cube" not in nodes:
        variants = ScalarCheck(known.id, nodes).run()
        refusal = GraphCheck(known.id, nodes, _FEW[-1:], seed).run()
        for names, result in variants:
            stack = takes_array(known, names[0], arguments[names[0]])
            if len(names) == 1 and result is not object and (stack or result is Pixels):
                graph = graph_of(nodes, names[0], array=stack, result=result)
                GraphCheck(known.id, graph, _FEW, seed).run()
    else:
        refusal = GraphCheck(known.id, nodes, seed=seed).run()
    if refusal is not None:
        raise ProcessCheckFailed(
            known.id, "dtype", f"the example is refused for every type: {refusal}"
        ) from refusal


def _registered(process: str | Process) -> Process:
    name = process if isinstance(process, str) else process.id
    if name not in PROCESSES:
        raise errors.ArgumentInvalid(
            f"There is no process {name!r}. Register it with `@process`, and import its module."
        )
    return PROCESSES[name]


def _plain(value: Any) -> Any:
    """Return JSON values as the dictionaries and lists that a graph is parsed from."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value


def _mentions_cube(nodes: Mapping[str, Any]) -> bool:
    return json.dumps(dict(CUBE)) in json.dumps(nodes)


def _check_description(process: Process) -> None:
    """Check what the process says of itself."""
    spec, function = process.spec, process.function
    with rule(process.id, "description", "signature, docstring and openEO description"):
        signature = inspect.signature(function).parameters
        own = {process.place, process.sandbox}
        names = tuple(name for name in signature if name not in own)
        if names != process.parameters:
            raise AssertionError(f"parameters {names}, described as {process.parameters}")
        for parameter, name in zip(spec.parameters, names, strict=True):
            _check_parameter(process, parameter, signature[name].default)
        if not spec.summary or not spec.returns.get("description"):
            raise AssertionError("it does not say what it does or returns")
        if spec.returns.get("schema") is None:
            raise AssertionError("what it returns has no schema")
        if "Source:" not in (inspect.getdoc(function) or ""):
            raise AssertionError("the docstring has no section `Source`: where is it from?")
        unknown = sorted(set(spec.exceptions) - _known_errors())
        if unknown:
            raise AssertionError(f"it raises {', '.join(unknown)}, which terrazzo.errors lacks")


def _check_parameter(process: Process, parameter: ParameterSpec, default: Any) -> None:
    optional = default is not inspect.Parameter.empty
    if parameter.optional is not optional or (optional and parameter.default != default):
        raise AssertionError(f"the default of {parameter.name!r} is described otherwise")
    if not parameter.schema or not parameter.description:
        raise AssertionError(f"{parameter.name!r} has no schema or no description")
    if optional and default is not None:  # which means "not given", also where null is no value
        fitted(process, parameter.name, default)


def _known_errors() -> set[str]:
    kinds = [TerrazzoError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return {name for kind in kinds for name in (kind.__name__, kind.code)}
