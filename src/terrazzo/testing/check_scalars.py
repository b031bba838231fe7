"""Checks of callback maths: a process called on numbers per pixel, and on arrays per pixel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from terrazzo.cube import Pixels, Stack
from terrazzo.engine.callbacks import CompiledCallback, Program
from terrazzo.errors import TerrazzoError
from terrazzo.graph import parse
from terrazzo.processes import PROCESSES, SPECS
from terrazzo.testing.check_material import (
    DTYPES,
    LOAD,
    NODE,
    ProcessCheckFailed,
    assert_same,
    filling,
    numbers,
    rule,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from terrazzo.processes import Process

ROWS, COLUMNS = 19, 23
LENGTH = 4
"""Entries of an array, where the example has no array."""
_KINDS = (Stack, Pixels, object)
"""What comes out: an array or a number per pixel, or one value for all."""
_STEP = 7919
"""What the numbers of two operands are apart; a prime."""

Given = dict[str, Pixels | Stack]


@dataclass(frozen=True)
class ScalarCheck:
    """A process of callbacks, and arguments of which some are given per pixel."""

    process: str
    """Id of the process."""
    nodes: Mapping[str, Any]
    """A graph whose result is `NODE`, which calls the process."""

    def run(self) -> list[tuple[tuple[str, ...], type]]:
        """Check every property; return what can be given per pixel, and what comes out then.

        Raises:
            ProcessCheckFailed: it lacks one.
        """
        self._plain()
        found: list[tuple[tuple[str, ...], type]] = []
        refusals: list[TerrazzoError] = []
        for names in self.variants():
            results = [self._of_type(names, dtype) for dtype in DTYPES]
            refusals += [result for result in results if isinstance(result, TerrazzoError)]
            kinds = {result for result in results if isinstance(result, type)}
            if kinds:
                found.append((names, next(kind for kind in _KINDS if kind in kinds)))
        if refusals and not found:
            raise ProcessCheckFailed(
                self.process,
                "dtype",
                f"no argument can be given per pixel, as the signature says: {refusals[0]}",
            )
        return found

    def variants(self) -> Iterator[tuple[str, ...]]:
        """Yield the parameters that take something per pixel: one by one, and all of them."""
        process = PROCESSES[self.process]
        given = self.nodes[NODE]["arguments"]
        names = [
            name
            for name in given
            if ({Pixels, Stack} & process.kinds.get(name, {Pixels}))
            and not (isinstance(given[name], dict) and "process_graph" in given[name])
        ]
        yield from ((name,) for name in names)
        if len(names) > 1:
            yield tuple(names)

    def _plain(self) -> None:
        """Check the arguments as they are: in a callback, twice."""
        with rule(self.process, "pure", "the example in a callback, twice"):
            first, second = (self._callback(())() for _ in range(2))
            assert_same(second, first)

    def _callback(self, names: tuple[str, ...]) -> CompiledCallback:
        """Compile the graph with parameters in place of these arguments."""
        node = self.nodes[NODE]
        arguments = {
            name: {"from_parameter": name} if name in names else value
            for name, value in node["arguments"].items()
        }
        document = {**self.nodes, NODE: {**node, "arguments": arguments, "result": True}}
        graph = parse({"process_graph": document}, specs=SPECS, allow_free_parameters=True)
        return CompiledCallback(Program.of(graph))

    def _of_type(self, names: tuple[str, ...], dtype: str) -> type | TerrazzoError:
        """Check one type; return what comes out, one of `_KINDS`, or why it is refused."""
        told = f"{dtype} as {', '.join(map(repr, names))}"
        call = self._callback(names)
        given = self._given(names, dtype, other=False)
        try:
            with rule(self.process, "dtype", told, refusable=True):
                whole = call(**given)
        except TerrazzoError as refusal:
            return refusal
        if _is_per_pixel(whole):
            with rule(self.process, "result", told):
                _assert_well_formed(whole)
        with rule(self.process, "pure", f"{told}, called twice"):
            assert_same(call(**given), whole)
        with rule(self.process, "read-only", f"{told}, before and after"):
            for name, value in self._given(names, dtype, other=False).items():
                assert_same(_everywhere(given[name]), _everywhere(value))
        with rule(self.process, "no-data", f"{told}, other numbers where there is no data"):
            assert_same(call(**self._given(names, dtype, other=True)), whole)
        if not _is_per_pixel(whole):
            self._constant(call, given, whole, told)
            return object
        self._parts(call, given, whole, told)
        self._no_labels(call, given, told)
        return type(whole)

    def _given(self, names: tuple[str, ...], dtype: str, *, other: bool) -> Given:
        process = PROCESSES[self.process]
        found: Given = {}
        for number, name in enumerate(names):
            example = self.nodes[NODE]["arguments"][name]
            array = takes_array(process, name, example)
            length = len(example) if array and isinstance(example, list) and example else LENGTH
            stack = _stack(length, dtype, 13 + _STEP * number, other=other)
            found[name] = stack if array else stack.at(0)
        return found

    def _constant(self, call: Callable[..., Any], given: Given, whole: Any, told: str) -> None:
        """Check a result that is the same for all pixels."""
        for what, part in _parts_of(given):
            with rule(self.process, "windows", f"{told}, {what}"):
                assert_same(call(**part), whole)

    def _parts(
        self, call: Callable[..., Any], given: Given, whole: Pixels | Stack, told: str
    ) -> None:
        """Check that every pixel is computed by itself, whatever lies around it."""
        for (what, part), (_, expected) in zip(
            _parts_of(given), _parts_of({"": whole}), strict=True
        ):
            name = "inference" if what == "no pixels" else "windows"
            with rule(self.process, name, f"{told}, {what}"):
                assert_same(call(**part), expected[""])

    def _no_labels(self, call: Callable[..., Any], given: Given, told: str) -> None:
        """Check empty arrays: refused, or a result of the right form."""
        if not any(isinstance(value, Stack) for value in given.values()):
            return
        part = {name: _cut(value, slice(0, 0)) for name, value in given.items()}
        try:
            with rule(self.process, "little", f"{told}, arrays of no entries", refusable=True):
                found = call(**part)
        except TerrazzoError:
            return
        if _is_per_pixel(found):
            with rule(self.process, "little", f"{told}, arrays of no entries"):
                _assert_well_formed(found)


def _stack(length: int, dtype: str, start: int, *, other: bool) -> Stack:
    """Return an array per pixel that cannot be written to, with labels."""
    shape = (length, ROWS, COLUMNS)
    places = (start + np.arange(length * ROWS * COLUMNS) * 31 % 1009).reshape(shape)
    values = numbers(places, dtype)
    valid = (places * 7 + start) % 5 != 0
    values[~valid] = filling(dtype, other=other)
    values.flags.writeable = valid.flags.writeable = False
    return Stack(values, valid, tuple(f"B{number:02}" for number in range(length)))


def _cut(value: Pixels | Stack, entries: slice) -> Pixels | Stack:
    if isinstance(value, Pixels):
        return value
    labels = None if value.labels is None else value.labels[entries]
    return Stack(value.values[entries], value.valid[entries], labels, exact=value.exact)


def _everywhere(value: Pixels | Stack) -> Pixels | Stack:
    """Return a value of which every number counts."""
    return replace(value, valid=np.ones(value.values.shape, np.bool_))


def _parts_of(given: Mapping[str, Pixels | Stack]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is given on some of the pixels only."""
    keys: dict[str, Any] = {
        "no pixels": (..., slice(0, 0), slice(0, 0)),
        "one pixel": (..., slice(5, 6), slice(7, 8)),
        "some rows and columns": (..., slice(3, 14), slice(2, 11)),
        "every third column": (..., slice(None), slice(1, None, 3)),
        "backwards": (..., slice(None, None, -1), slice(None)),
    }
    for what, key in keys.items():
        yield (
            what,
            {
                name: replace(value, values=value.values[key], valid=value.valid[key])
                for name, value in given.items()
            },
        )


def _is_per_pixel(found: Any) -> TypeGuard[Pixels | Stack]:
    """Tell whether a result differs from pixel to pixel: its last two axes are rows and columns."""
    return isinstance(found, (Pixels, Stack)) and found.values.ndim >= 2  # noqa: PLR2004


def _assert_well_formed(found: Pixels | Stack) -> None:
    shape = found.values.shape
    if shape[-2:] != (ROWS, COLUMNS):
        raise AssertionError(f"values of shape {shape} are no {ROWS} x {COLUMNS} pixels")
    if found.valid.shape != shape or found.valid.dtype != np.bool_:
        raise AssertionError(
            f"the mask is {found.valid.dtype} of shape {found.valid.shape}, not bool of {shape}"
        )
    if isinstance(found, Stack) and found.labels is not None and len(found.labels) != shape[0]:
        raise AssertionError(f"{len(found.labels)} labels for {shape[0]} entries")


def takes_array(process: Process, parameter: str, example: Any) -> bool:
    """Tell whether a parameter takes an array; of one that takes anything the example says."""
    anything = parameter not in process.kinds
    return process.takes_stack(parameter) or (anything and isinstance(example, (list, tuple)))


def graph_of(
    nodes: Mapping[str, Any], parameter: str, *, array: bool, result: type
) -> Mapping[str, Any]:
    """Return a graph whose result runs a process of callbacks over a raster.

    Args:
        nodes: a graph whose `NODE` calls it.
        parameter: what is given per pixel.
        array: whether that is an array, else a number.
        result: `Pixels` or `Stack`, what comes out then.
    """
    own = nodes[NODE]
    given = {**own["arguments"], parameter: {"from_parameter": "data" if array else "x"}}
    callback = {"process_graph": {**nodes, NODE: {**own, "arguments": given, "result": True}}}
    arguments: dict[str, Any] = {"data": {"from_node": "cube"}, "process": callback}
    outer = "apply"
    if array:
        outer, arguments["dimension"] = "apply_dimension", "t"
        if result is Pixels:
            outer, arguments["reducer"] = "reduce_dimension", arguments.pop("process")
    return {"cube": LOAD, NODE: {"process_id": outer, "arguments": arguments}}
