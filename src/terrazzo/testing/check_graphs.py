"""Checks of a process as a node of a graph: through inference, plan and blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Cube, Kind
from terrazzo.engine import Inference, evaluate, infer, make_plan, pending_stages, settle
from terrazzo.engine.steps import chosen
from terrazzo.errors import TerrazzoError
from terrazzo.geo.grid import Grid, Window
from terrazzo.graph import parse
from terrazzo.processes import SPECS, Role
from terrazzo.testing.check_material import (
    DTYPES,
    GRID,
    NODE,
    TIMES,
    CheckedOpener,
    CheckedSource,
    ProcessCheckFailed,
    assert_same,
    rule,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from terrazzo.engine import Bound, Plan

BLOCKS = (16, 23)
"""Edges of tiles and of the blocks of a batch, pixels."""
THOROUGH = ("uint8", "float32")
"""Types in which all sorts of windows are tried; in the others some of them."""
STAGE_MEMORY = 1_000_000_000


@dataclass(frozen=True)
class GraphCheck:
    """A process as a node of a graph, and the nodes that it needs."""

    process: str
    """Id of the process."""
    nodes: Mapping[str, Any]
    """The graph; `NODE` is its result."""
    dtypes: tuple[str, ...] = DTYPES
    """Types of the raster that goes in."""
    seed: int = 0
    """Decides which windows and labels are tried."""

    def run(self) -> TerrazzoError | None:
        """Check every property; return the last refusal if rasters of every type are refused.

        Raises:
            ProcessCheckFailed: it lacks one.
        """
        refusals = [self._of_type(dtype) for dtype in self.dtypes]
        if all(refusals):
            return refusals[-1]
        self._nothing()
        return None

    def inference(self, opener: CheckedOpener) -> Inference:
        """Infer the graph over a raster.

        Raises:
            TerrazzoError: a process refuses it.
        """
        document = {
            name: {**node, "result": True} if name == NODE else node
            for name, node in self.nodes.items()
        }
        return infer(parse({"process_graph": document}, specs=SPECS), opener)

    def _of_type(self, dtype: str) -> TerrazzoError | None:
        opener = CheckedOpener(dtype)
        try:
            with rule(self.process, "dtype", f"inference of {dtype}", refusable=True):
                inference = self.inference(opener)
        except TerrazzoError as refusal:
            return refusal
        with rule(self.process, "inference", f"inference of {dtype}"):
            for bound in inference.nodes.values():
                if isinstance(bound.source, CheckedSource) and bound.source.reads:
                    raise AssertionError("it reads pixels")
        whole = self._whole(inference, dtype)
        self._under_the_mask(whole, dtype)
        return None

    def _whole(self, inference: Inference, dtype: str) -> Any:
        """Return the whole result, once it is known to be what was promised."""
        with rule(self.process, "result", f"whole result of {dtype}"):
            settled = self._settled(inference, BLOCKS[1])
        bound = settled.cube(NODE)
        if bound.grid is None:
            self._value(inference, bound.result, dtype)
            return bound.result
        self._function(settled, dtype)
        with rule(self.process, "result", f"whole result of {dtype}"):
            plan = make_plan(settled)
            whole = evaluate(plan, plan.window)
        with rule(self.process, "inference", f"promise and result of {dtype}"):
            if whole.dimensions != bound.result.dimensions or whole.dtype != bound.result.dtype:
                raise AssertionError(
                    f"{bound.result.dimensions} of {bound.result.dtype} are promised and "
                    f"{whole.dimensions} of {whole.dtype} come out"
                )
        with rule(self.process, "fused", f"fused steps of {dtype} and one by one"):
            assert_same(evaluate(replace(plan, fused=()), plan.window), whole, exactly=False)
        self._windows(plan, whole, dtype)
        self._labels(settled, whole, dtype)
        return whole

    def _value(self, inference: Inference, result: Any, dtype: str) -> None:
        """Check what is no raster: the blocks must not matter."""
        with rule(self.process, "windows", f"{dtype} in blocks of {BLOCKS[0]} and {BLOCKS[1]}"):
            bound = self._settled(inference, BLOCKS[0]).cube(NODE)
            assert_same(bound.result, result)
        if bound.process.role is Role.CUBE and not bound.inputs:
            with rule(self.process, "function", "call with cubes that are no rasters"):
                assert_same(_Spy(self.process, bound, dtype)(**bound.arguments), result)

    def _settled(self, inference: Inference, edge: int) -> Inference:
        """Run the stages that the result needs, block by block."""
        while pending := pending_stages(inference, inference.cube(NODE).id):
            found = _found(inference, pending[0], edge)
            inference = settle(inference, {pending[0]: found})
        return inference

    def _function(self, inference: Inference, dtype: str) -> None:
        """Check the function itself, with what the engine gives it for the whole raster."""
        bound = inference.nodes[NODE]
        if bound.process.role not in {Role.CUBE, Role.STAGE} or bound.alias:
            return
        spy = _Spy(self.process, bound, dtype)
        watched = replace(bound, process=replace(bound.process, function=spy))
        nodes = MappingProxyType({**inference.nodes, NODE: watched})
        again = Inference(inference.graph, nodes, inference.opener, inference.found)
        with rule(self.process, "function", f"call with {dtype}"):
            plan = replace(make_plan(again), fused=())
            evaluate(plan, plan.window)

    def _windows(self, plan: Plan, whole: Cube, dtype: str) -> None:
        every = 1 if dtype in THOROUGH else 4
        for window in list(_windows(plan.window, self.seed))[::every]:
            at = f"{dtype}, rows {window.row} to {window.row_stop}, columns {window.col} to "
            with rule(self.process, "windows", f"{at}{window.col_stop}"):
                inside = window.intersection(plan.window)
                part = evaluate(plan, window)
                assert_same(part.crop(inside), whole.crop(inside))
                if np.count_nonzero(part.valid) > np.count_nonzero(part.crop(inside).valid):
                    raise AssertionError("there is data outside of the cube")

    def _labels(self, inference: Inference, whole: Cube, dtype: str) -> None:
        random = Random(self.seed)  # noqa: S311 - no secret
        for dimension in whole.dimensions:
            count = len(dimension.labels)
            if dimension.kind is Kind.SPATIAL or count == 0:
                continue
            some = {tuple(sorted(random.sample(range(count), n))) for n in {1, max(1, count - 1)}}
            for positions in sorted({*some, tuple(range(max(1, count - 1)))}):
                wanted = {dimension.name: positions}
                with rule(self.process, "labels", f"{dtype}, labels {wanted}"):
                    plan = make_plan(inference, labels=wanted)
                    assert_same(evaluate(plan, plan.window), chosen(whole, wanted))

    def _under_the_mask(self, whole: Any, dtype: str) -> None:
        doing = f"{dtype} with other numbers where there is no data"
        with rule(self.process, "no-data", doing):
            other = self._settled(self.inference(CheckedOpener(dtype, other=True)), BLOCKS[1])
            result = other.cube(NODE).result
            if other.cube(NODE).grid is not None:
                plan = make_plan(other)
                result = evaluate(plan, plan.window)
            assert_same(result, whole)

    def _nothing(self) -> None:
        """Check rasters of which there is little: no data, no dates, one pixel."""
        dtype = next(dtype for dtype in self.dtypes if dtype not in {"bool", "int8"})
        one = Grid(GRID.crs, GRID.left, GRID.top, GRID.pixel_x, GRID.pixel_y, 1, 1)
        for what, opener in (
            ("a raster without data", CheckedOpener(dtype, empty=True)),
            ("a raster without dates", CheckedOpener(dtype, times=())),
            ("a raster of one date", CheckedOpener(dtype, times=TIMES[:1])),
            ("a raster of one pixel", CheckedOpener(dtype, grid=one)),
        ):
            try:
                with rule(self.process, "little", f"inference of {what}", refusable=True):
                    inference = self.inference(opener)
                    settled = self._settled(inference, BLOCKS[1])
                    bound = settled.cube(NODE)
                    plan = None if bound.grid is None else make_plan(settled)
            except TerrazzoError:
                continue
            if plan is None:
                continue
            with rule(self.process, "little", f"result of {what}"):
                found = evaluate(plan, plan.window)
                _assert_promised(found, bound.result)


class _Spy:
    """A process's function that looks at what it is given and what it makes of that."""

    def __init__(self, process: str, bound: Bound, dtype: str) -> None:
        self._function, self._promised = bound.process.function, bound.result
        self._id, self._dtype = process, dtype

    def __call__(self, **given: Any) -> Any:
        cubes = {name: value for name, value in given.items() if isinstance(value, Cube)}
        if not all(isinstance(cube.values, np.ndarray) for cube in cubes.values()):
            return self._function(**given)
        frozen = {name: _frozen(cube) for name, cube in cubes.items()}
        with rule(self._id, "function", f"{self._dtype} in arrays that cannot be written to"):
            first = self._function(**{**given, **frozen})
        with rule(self._id, "read-only", f"{self._dtype}, input before and after"):
            for name, cube in cubes.items():
                assert_same(_everywhere(frozen[name]), _everywhere(cube))
        with rule(self._id, "pure", f"{self._dtype}, called twice"):
            assert_same(self._function(**{**given, **frozen}), first)
        if isinstance(first, Cube):
            with rule(self._id, "inference", f"promise without pixels, result of {self._dtype}"):
                _assert_promised(first, self._promised)
        return first


def _frozen(cube: Cube) -> Cube:
    values, valid = cube.values.copy(), np.array(cube.valid)
    values.flags.writeable = valid.flags.writeable = False
    return replace(cube, values=values, valid=valid)


def _everywhere(cube: Cube) -> Cube:
    """Return a cube of which every value counts."""
    return replace(cube, valid=np.ones(cube.values.shape, np.bool_))


def _assert_promised(found: Cube, promised: Cube) -> None:
    names, labels = found.names, {d.name: d.labels for d in found.dimensions}
    if names != promised.names:
        raise AssertionError(f"dimensions {promised.names} are promised, {names} come out")
    for dimension in promised.dimensions:
        missing = [label for label in dimension.labels if label not in labels[dimension.name]]
        if missing:
            raise AssertionError(f"labels {missing} of {dimension.name!r} are promised and lacking")
    if found.dtype != promised.dtype:
        raise AssertionError(f"{promised.dtype} is promised, {found.dtype} comes out")


def _windows(whole: Window, seed: int) -> Iterator[Window]:
    """Yield windows of all sorts: tiles, blocks, single pixels, and some that reach beyond."""
    random = Random(seed)  # noqa: S311 - no secret
    tiles = [
        Window(row, col, BLOCKS[0], BLOCKS[0])
        for row in range(whole.row // BLOCKS[0] * BLOCKS[0], whole.row_stop, BLOCKS[0])
        for col in range(whole.col // BLOCKS[0] * BLOCKS[0], whole.col_stop, BLOCKS[0])
    ]
    blocks = list(whole.blocks(BLOCKS[1]))
    yield from random.sample(tiles, min(2, len(tiles)))
    yield from random.sample(blocks, min(2, len(blocks)))
    for height, width in ((1, 1), (1, 9), (7, 2)):
        row = random.randrange(whole.row, whole.row_stop)
        col = random.randrange(whole.col, whole.col_stop)
        yield Window(row, col, height, width)
    yield Window(whole.row - 2, whole.col - 3, 6, 8)


def _found(inference: Inference, node: str, edge: int) -> Any:
    """Run one stage over its raster in blocks of an edge."""
    bound = inference.nodes[node]
    stage = bound.process.stage
    below = next(iter(bound.inputs.values()))
    plan = make_plan(inference, node=below)
    if stage is None:
        raise ProcessCheckFailed(bound.process.id, "stage", "it has `Role.STAGE` and no stage")
    work = stage(plan.probe, plan.window, bound.result, bound.arguments)
    for one in work.passes(STAGE_MEMORY):
        part = make_plan(inference, node=below, labels=one.labels)
        for number, window in enumerate(one.windows(edge)):
            one.add(number, one.part(number, evaluate(part, window)))
    return work.finish()
