"""From text to checked JSON: places in a document, problems, and the graph in its wrapping."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from typing_extensions import override

from terrazzo.errors import Problem, suggest

MAX_DEPTH = 100
"""Levels of nesting of objects and arrays in a graph. Real graphs stay below 30."""
MAX_VALUES = 5_000_000
"""Values in a graph once user-defined processes are put in place."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_HALF = re.compile("[\ud800-\udfff]")
_NO_TEXT = (
    "This text holds half of a character (a lone surrogate), so that it can neither be shown nor "
    "written. Correct it."
)
_LONGEST_INTEGER = 400
_LONGEST_NAME = 100
_NAMED_PROCESSES = 5


class At:
    """A place in a document, as a chain of keys; becomes text only for a problem."""

    __slots__ = ("key", "parent", "via")

    def __init__(
        self,
        parent: At | None = None,
        key: str | int = "",
        via: tuple[str, At] | None = None,
    ) -> None:
        self.parent = parent
        self.key = key
        self.via = via
        """For the root of a user-defined process: its name, and the call of it."""

    def keys(self) -> list[str | int]:
        """Return the keys from the root to here."""
        keys: list[str | int] = []
        at = self
        while at.parent is not None:
            keys.append(at.key)
            at = at.parent
        return keys[::-1]

    def root(self) -> At:
        """Return the root of the document that this is in."""
        at = self
        while at.parent is not None:
            at = at.parent
        return at

    @override
    def __str__(self) -> str:
        return "$" + "".join(map(_step, self.keys()))


class Report:
    """Collects what is wrong with a graph, so that all of it can be told at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._suggestions = 20

    def add(self, code: str, message: str, at: At, node: str = "") -> None:
        """Add a problem; inside a user-defined process the path is that of the call.

        Args:
            code: openEO error code.
            message: the offending value, what would be valid, and the way out.
            at: where it is.
            node: id of the node; empty for the graph itself.
        """
        inside, processes = at, list[str]()
        while (via := at.root().via) is not None:
            process, at = via
            processes.insert(0, process)
        if processes:
            if len(processes) > _NAMED_PROCESSES:
                processes[2:-2] = ["..."]
            names = " > ".join(processes)
            message = f"In user-defined process {names}, {inside}: {message}"
        self.problems.append(Problem(code, message, node, str(at)))

    def relocate(self, since: int, message: str, at: At) -> None:
        """Move problems to a place in the document, for values that are not in it.

        Args:
            since: number of problems there were before.
            message: what the problems are about; goes before theirs.
            at: place they are reported at.
        """
        moved = self.problems[since:]
        del self.problems[since:]
        for problem in moved:
            self.add(problem.code, f"{message}: {problem.message}", at)

    def near(self, name: str, available: Sequence[str]) -> str:
        """Return " Did you mean 'x'?", for the first few problems only: searching is slow."""
        if self._suggestions == 0 or len(name) > _LONGEST_NAME:
            return ""
        self._suggestions -= 1
        return suggest(name, [other for other in available if len(other) <= _LONGEST_NAME])


class Located(NamedTuple):
    """A process graph and the parameters declared beside it."""

    graph: Mapping[str, Any]
    """Nodes by id, unchecked."""
    at: At
    """Where they are."""
    parameters: Any
    """What the process declares under `parameters`, unchecked; None where it declares none."""
    parameters_at: At
    """Where that is."""


class _Repeating(dict[str, Any]):
    """A JSON object with keys that occur more than once."""

    repeated: tuple[str, ...]


def load(document: object, report: Report) -> Mapping[str, Any] | None:
    """Read a document, which may be text, into a JSON object; None where it is none."""
    if isinstance(document, bytes | bytearray):
        try:
            document = document.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            report.add(
                "ProcessGraphInvalid",
                f"The document is not UTF-8 text: byte {error.start} cannot be decoded.",
                At(),
            )
            return None
    if isinstance(document, str):
        try:
            document = json.loads(
                document.removeprefix("\ufeff"), object_pairs_hook=_object, parse_int=_integer
            )
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            report.add("ProcessGraphInvalid", f"Not JSON: {error.msg} at {place}.", At())
            return None
        except RecursionError:
            _too_deep(At(), report)
            return None
    if not isinstance(document, Mapping):
        report.add(
            "ProcessGraphInvalid",
            f"A process graph is a JSON object of nodes by their id, not {show(document)}.",
            At(),
        )
        return None
    return document


def locate(document: Mapping[str, Any], report: Report) -> Located | None:
    """Find the process graph in a job-like document, a process, or a bare graph."""
    at = At()
    process = document.get("process")
    bare = any(isinstance(node, Mapping) and "process_id" in node for node in document.values())
    if isinstance(process, Mapping) and ("process_graph" in process or not bare):
        document, at, bare = process, At(at, "process"), False
    graph = document.get("process_graph")
    if isinstance(graph, Mapping) and not isinstance(graph.get("process_id"), str):
        parameters_at = At(at, "parameters")
        at = At(at, "process_graph")
        if graph:
            return Located(graph, at, document.get("parameters"), parameters_at)
    elif document and "process_graph" not in document and at.parent is None:
        if bare or "process" not in document:
            return Located(document, at, None, at)
    elif bare:
        return Located(document, at, None, at)
    report.add(
        "ProcessGraphMissing",
        "There is no process graph here. Give at least one node, "
        '{"name": {"process_id": ..., "arguments": {...}, "result": true}}.',
        at,
    )
    return None


def clean(value: object, at: At, report: Report) -> bool:
    """Report everything that is not JSON: NaN, repeated keys, Python objects, endless nesting.

    Args:
        value: the whole document.
        at: its root.
        report: takes the problems.

    Returns:
        Whether the rest may be looked at: False where nesting or size is out of bounds.
    """
    waiting: list[tuple[object, At, int]] = [(value, at, 0)]
    count = 0
    while waiting:
        entry, place, depth = waiting.pop()
        members = list(_members(entry, place, report))
        count += len(members)
        if depth >= MAX_DEPTH:
            _too_deep(place, report)
            return False
        if count > MAX_VALUES:
            report.add("ProcessGraphComplexity", too_many_values(), at)
            return False
        for key, inner in reversed(members):
            if isinstance(inner, Mapping | list | tuple):
                waiting.append((inner, At(place, key), depth + 1))
            elif (reason := _refusal(inner)) is not None:
                inner_at = At(place, key)
                report.add("ProcessGraphInvalid", reason, inner_at, node_of(inner_at))
    return True


def too_deep() -> str:
    """Return the message for a graph that is nested deeper than can be handled."""
    return (
        f"Objects, arrays and callbacks are nested more than {MAX_DEPTH} levels deep. Put nodes "
        "side by side and connect them with from_node."
    )


def too_many_values() -> str:
    """Return the message for a graph of more values than anybody needs."""
    return (
        f"The graph has more than {MAX_VALUES} values, user-defined processes put in place. "
        "Split it, or keep large geometries in a file or collection."
    )


def node_of(at: At) -> str:
    """Return the id of the innermost node around a place in a document; empty for none."""
    keys = at.keys()
    graphs = [index for index, key in enumerate(keys[:-1]) if key == "process_graph"]
    if graphs:
        return str(keys[graphs[-1] + 1])
    return str(keys[0]) if keys and keys[0] not in {"process", "parameters"} else ""


def show(value: object) -> str:
    """Return a value as JSON, cut to a length that fits a message."""
    if isinstance(value, Mapping):
        names = ", ".join(map(repr, list(value)[:4]))
        return f"an object with {names}" if names else "an empty object"
    if isinstance(value, list | tuple):
        return f"an array of {len(value)}"
    text = json.dumps(value) if isinstance(value, str | int | float | None) else repr(value)
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}..."


def _members(entry: object, at: At, report: Report) -> Iterator[tuple[str | int, object]]:
    """Yield keys and values of an object or array; report keys that are no or no single names."""
    if isinstance(entry, Mapping):
        if isinstance(entry, _Repeating):
            for key in entry.repeated:
                place = At(at, key)
                message = f"Key {key!r} occurs more than once in this object. Rename or drop one."
                report.add("ProcessGraphInvalid", message, place, node_of(place))
        for key, inner in entry.items():
            if isinstance(key, str):
                if _is_text(key):
                    yield key, inner
                else:  # not gone into: a path could not be shown either
                    report.add("ProcessGraphInvalid", _NO_TEXT, at, node_of(at))
            else:
                message = f"Keys of objects are strings, not {show(key)}."
                report.add("ProcessGraphInvalid", message, at, node_of(at))
    elif isinstance(entry, list | tuple):
        yield from enumerate(entry)


def _is_text(text: str) -> bool:
    """Tell whether a text can be written: it holds no half of a pair of UTF-16."""
    return text.isascii() or _HALF.search(text) is None


def _refusal(value: object) -> str | None:
    """Return why something is no JSON value, or None."""
    if isinstance(value, str):
        return None if _is_text(value) else _NO_TEXT
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, float):
        if math.isfinite(value):
            return None
        name = "NaN" if math.isnan(value) else "Infinity"
        return (
            f"{name} is not a JSON number. Use null for no-data, the process `nan` "
            "for NaN, and a finite number for a limit."
        )
    if isinstance(value, int):
        limit = sys.float_info.max
        return None if -limit <= value <= limit else "The integer is too large for a number."
    return f"{type(value).__name__} is not a JSON value: {show(value)}. Convert it first."


def _too_deep(at: At, report: Report) -> None:
    # The path itself would be as long as the nesting is deep.
    place = At()
    for key in at.keys()[:3]:
        place = At(place, key)
    report.add("ProcessGraphComplexity", too_deep(), place, node_of(place))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object that remembers the keys that occur twice."""
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    twice = {key: None for key, _ in pairs if key in seen or seen.add(key)}  # type: ignore[func-returns-value]
    repeating = _Repeating(members)
    repeating.repeated = tuple(twice)
    return repeating


def _integer(text: str) -> float:
    """Read an integer; those too long for any number become infinite, and are refused later."""
    return int(text) if len(text) <= _LONGEST_INTEGER else math.inf


def _step(key: str | int) -> str:
    """Write one step of a JSON path."""
    if isinstance(key, int):
        return f"[{key}]"
    if _IDENTIFIER.fullmatch(key):
        return f".{key}"
    escaped = key.replace("\\", "\\\\").replace("'", "\\'")
    return f"['{escaped}']"
