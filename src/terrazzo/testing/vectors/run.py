"""Runs one vector through the engine, in every way in which a user's graph could be run."""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from terrazzo.cube import Cube
from terrazzo.drivers.job import Job
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.stages import Means, settled
from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.engine.callbacks import CompiledCallback, Program
from terrazzo.engine.evaluate import paste
from terrazzo.errors import GraphInvalid, TerrazzoError
from terrazzo.graph import parse
from terrazzo.processes import PROCESSES, SPECS, Role
from terrazzo.processes.convert import stack_of
from terrazzo.progress import Progress
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.memory import CubeOpener
from terrazzo.testing.vectors.compare import difference, shown
from terrazzo.testing.vectors.cubes import is_cube, read_cube

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from terrazzo.engine import Opener
    from terrazzo.processes import Process
    from terrazzo.testing.vectors.files import Vector

    Way = tuple[str, Callable[[], Any]]

BLOCK, EDGE = 1024, 2
"""Edge of blocks, pixels: one that holds a whole cube, and one that cuts it."""
_RESULT = "vector"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one vector."""

    passed: bool
    """Whether it was as the vector says, in every way of running it."""
    text: str = ""
    """What was expected and what came instead; empty where it passed."""
    missing: bool = False
    """Whether a process is not there that it needs."""


class _Malformed(Exception):
    """The vector itself cannot be run."""


def run_vector(process: str, vector: Vector, *, opener: Opener | None = None) -> Verdict:
    """Run one vector, strictly.

    Scalar processes run as compiled callbacks that get the arguments as parameters, and as
    graphs of literals where the arguments are JSON; cubes run through inference, plan and
    evaluation: fused, not fused, and cut into blocks. All ways must give what is expected, and
    cubes of the same bits.

    Args:
        process: id of the process.
        vector: `arguments`, and `returns`, `throws` or both (either will do then); see
            `docs/vectors.md`.
        opener: opens what is loaded and is no cube of the vector; by default nothing does.

    Returns:
        The verdict. Never raises: a crash is a vector that failed.
    """
    try:
        _check_form(vector)
        needed = (process, *vector.get("required", ()))
        missing = [name for name in needed if name not in PROCESSES]
        if missing:
            return Verdict(False, f"there is no process {', '.join(missing)}", missing=True)
        ways = list(_ways(PROCESSES[process], vector["arguments"], opener))
    except Exception as error:  # noqa: BLE001 - nothing has run yet but the reading of the vector
        return Verdict(False, f"the vector is malformed: {error!r:.200}")
    text = _differing(ways, vector)
    return Verdict(not text, text)


def _differing(ways: Sequence[Way], vector: Vector) -> str:
    """Return in what a vector is not as it says, or its ways differ; empty for nothing."""
    cubes: dict[str, Cube] = {}
    for name, way in ways:
        found, text = _judged(way, vector)
        if text:
            return f"{name}: {text}" if len(ways) > 1 else text
        if isinstance(found, Cube):
            cubes[name] = found
    first = next(iter(cubes), "")
    for name, found in cubes.items():
        try:
            assert_same_pixels(found, cubes[first])
        except AssertionError as error:
            return f"{name}: other bits than {first}: {' '.join(str(error).split()):.300}"
    return ""


def _check_form(vector: Vector) -> None:
    if not isinstance(vector.get("arguments"), dict) or not {"returns", "throws"} & set(vector):
        raise _Malformed("it needs `arguments`, and `returns`, `throws` or both")
    if not isinstance(vector.get("delta", 0.0), int | float):
        raise _Malformed(f"`delta` is a number, not {vector['delta']!r}")
    if _refers([vector["arguments"], vector.get("returns")]):
        raise _Malformed("it refers to another file ($ref); put the contents in its place")


def _refers(value: Any) -> bool:
    if isinstance(value, dict):
        return "$ref" in value or any(map(_refers, value.values()))
    return isinstance(value, list) and any(map(_refers, value))


def _judged(way: Callable[[], Any], vector: Vector) -> tuple[Any, str]:
    """Return what a vector gives in one way, and what is wrong with it; empty for nothing."""
    throws = vector.get("throws")
    try:
        found = way()
    except TerrazzoError as error:
        codes = {error.code, *_problems(error)}
        if throws is True or throws in codes:
            return None, ""
        wanted = f"to throw {throws}" if throws else shown(vector["returns"])
        return None, f"expected {wanted}, got {' '.join(sorted(codes))}: {_line(error)}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not happen
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{last.filename.rpartition('/')[2]}:{last.lineno}"
        return None, f"crashed with {type(error).__name__}: {_line(error)} ({place})"
    if "returns" not in vector:
        return found, f"expected to throw {throws}, got {shown(found)}"
    return found, difference(found, vector["returns"], vector.get("delta"))


def _line(error: Exception) -> str:
    return " ".join(f"{error!s:.300}".split())


def _problems(error: TerrazzoError) -> set[str]:
    """Return the codes of what is wrong with a graph."""
    if not isinstance(error, GraphInvalid):
        return set()
    return {problem.code for problem in error.problems}


def _ways(process: Process, arguments: Mapping[str, Any], opener: Opener | None) -> Iterator[Way]:
    """Yield every way in which a process can be run on these arguments."""
    if process.role is not Role.SCALAR or any(map(_makes_cube, arguments.values())):
        graph = _Nodes(opener)
        graph.add(_RESULT, process.id, arguments)
        yield "fused", lambda: _evaluated(graph)
        yield "not fused", lambda: _evaluated(graph, fused=False)
        yield "in blocks", lambda: _evaluated(graph, edge=EDGE)
        return
    yield "as a callback", lambda: _called(process, arguments)
    if all(map(_is_json, arguments.values())):
        graph = _Nodes(opener)
        graph.add(_RESULT, process.id, arguments)
        yield "as literals", lambda: _evaluated(graph)


def _makes_cube(value: Any) -> bool:
    return is_cube(value) or (isinstance(value, dict) and "process_id" in value)


def _is_callback(value: Any) -> bool:
    return isinstance(value, dict) and "process_graph" in value


def _is_json(value: Any) -> bool:
    """Tell whether a value can stand in a graph as it is: numbers are finite, no labels."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return value.get("type") != "labeled-array" and all(map(_is_json, value.values()))
    return all(map(_is_json, value)) if isinstance(value, list) else True


def _called(process: Process, arguments: Mapping[str, Any]) -> Any:
    """Run a process as a callback of one node, its arguments given as parameters."""
    given: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name, value in arguments.items():
        if _is_callback(value):
            given[name] = value
            continue
        parameter = f"argument {name}"  # a name that no inner callback can mean
        given[name] = {"from_parameter": parameter}
        values[parameter] = _value(value)
        if isinstance(values[parameter], list) and process.takes_stack(name):
            values[parameter] = stack_of(values[parameter])
    node = {"process_id": process.id, "arguments": given, "result": True}
    graph = parse({_RESULT: node}, specs=SPECS, allow_free_parameters=True)
    return CompiledCallback(Program.of(graph))(**values)


def _value(value: Any) -> Any:
    """Return a JSON value of a vector as processes take it."""
    if isinstance(value, list):
        return [_value(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    match value.get("type"):
        case "nodata":
            return None
        case "datetime":
            return value["value"]
        case "labeled-array":
            entries = value["data"]
            return stack_of(
                [_value(entry["value"]) for entry in entries], [entry["key"] for entry in entries]
            )
    return {key: _value(entry) for key, entry in value.items()}


@dataclass(slots=True)
class _Nodes:
    """A process graph that grows, and the cubes that its sources stand for."""

    opener: Opener | None
    nodes: dict[str, Any] = field(default_factory=dict)
    cubes: dict[str, Cube] = field(default_factory=dict)

    def add(self, name: str, process: str, arguments: Mapping[str, Any]) -> None:
        """Add a node and, before it, what its arguments need."""
        literals = {key: self._argument(f"{name}-{key}", v) for key, v in arguments.items()}
        self.nodes[name] = {
            "process_id": process,
            "arguments": literals,
            "result": name == _RESULT,
        }

    def _argument(self, name: str, value: Any) -> Any:
        if is_cube(value):
            self.cubes[name] = read_cube(value)
            load = {"id": name, "spatial_extent": None, "temporal_extent": None}
            self.nodes[name] = {"process_id": "load_collection", "arguments": load}
            return {"from_node": name}
        if isinstance(value, dict) and "process_id" in value:
            self.add(name, value["process_id"], value["arguments"])
            return {"from_node": name}
        return value if _is_callback(value) else self._literal(value)

    def _literal(self, value: Any) -> Any:
        """Return a value as it can stand in a graph: JSON knows neither NaN nor infinity."""
        if isinstance(value, list):
            return [self._literal(entry) for entry in value]
        if isinstance(value, float) and not math.isfinite(value):
            numerator = 0 if math.isnan(value) else math.copysign(1, value)
            name = f"{numerator:g}-by-0"
            self.nodes[name] = {
                "process_id": "divide",
                "arguments": {"x": numerator, "y": 0},
            }
            return {"from_node": name}
        if not isinstance(value, dict):
            return value
        if value.get("type") == "nodata":
            return None
        if value.get("type") == "datetime":
            return value["value"]
        if value.get("type") == "labeled-array":
            raise _Malformed("a labelled array cannot stand in a graph")
        return {key: self._literal(entry) for key, entry in value.items()}


def _evaluated(graph: _Nodes, *, fused: bool = True, edge: int = BLOCK) -> Any:
    """Run a graph over everything that there is, in blocks of `edge` pixels."""
    inference = infer(parse(graph.nodes, specs=SPECS), CubeOpener(graph.cubes, graph.opener))
    means = Means(edge, Pool(workers=1), Progress())
    inference, _ = settled(Job(""), inference, (_RESULT,), means)
    bound = inference.cube(_RESULT)
    if bound.grid is None or bound.extent.is_empty:
        return bound.result
    plan = make_plan(inference)
    plan = plan if fused else replace(plan, fused=())
    blocks = (evaluate(plan, window) for window in plan.window.blocks(edge))
    return paste(plan.probe, plan.window, blocks)
