"""Runs user code on arrays, in closed workers, and holds it to what it did on a first block."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo import logs
from terrazzo.errors import UdfFailed, UdfRefused
from terrazzo.sandbox.environments import environment_of
from terrazzo.sandbox.handle import Key, request_of
from terrazzo.sandbox.header import Declared, check_header, declared_result
from terrazzo.sandbox.known import Known
from terrazzo.sandbox.limits import Limits, Mode, UdfRules
from terrazzo.sandbox.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from terrazzo.sandbox.channel import SharedMemory
    from terrazzo.sandbox.environments import Environment
    from terrazzo.sandbox.handle import Worker

Label = str | float | int

SPATIAL, TEMPORAL, BANDS = "spatial", "temporal", "bands"
PROBE_EDGE = 8
"""Pixels along each axis of the block that tells what a UDF returns."""
_FLOAT32 = np.dtype(np.float32)
_PROBE_ROOM = 64_000_000
_DTYPES = {np.dtype(code).str: np.dtype(code) for code in "?bBhHiIlLqQefd"}
"""Types that may come back, by what a worker calls them."""
_MOST_AXES = 32
_DEEPEST = 50
"""Lists within lists that a log entry may have."""
_KNOWN = 256
_CODES = 256
_OWNERS = 1024
_RULES = UdfRules()
_MOST_LABELS = 100_000
_MOST_WHERE = 150
_GEOMETRIES = re.compile("apply_vectorcube|UdfData|feature_collection")
"""Code that does not name these does not look at geometries, and is not sent them."""
_SHOWN = 300
"""Letters of labels in an error."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis of an array is."""

    name: str
    """As the user knows it."""
    kind: str = "other"
    """`spatial`, `temporal`, `bands`, `geometry` or `other`."""
    labels: tuple[Label, ...] | None = None
    """One per entry; None where there are none, and any number of entries."""
    place: tuple[float, int, float] | None = None
    """(edge of the grid, position of the first entry, step): where the pixels lie."""

    @property
    def told(self) -> dict[str, Any]:
        """Return it as a worker gets it."""
        labels: Any = None if self.labels is None else list(self.labels)
        if self.place is not None:
            origin, first, step = self.place
            labels = {"origin": origin, "first": first, "step": step}
        return {"name": self.name, "kind": self.kind, "labels": labels}


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """An array and what its axes are."""

    values: NDArray[Any]
    """Numbers or truth values."""
    axes: tuple[Axis, ...]
    """One per axis."""
    valid: NDArray[np.bool_] | None = None
    """Same shape, on the way in: NaN is given where it is False; None gives all as they are."""
    dtype: np.dtype[Any] = _FLOAT32
    """The floating type in which numbers are given."""
    geometries: Mapping[str, Any] | None = None
    """Of a vector cube, on the way in: `wkb` (hexadecimal), `crs` and `properties`, JSON values."""
    where: str = ""
    """Which part of the code has returned it, on the way out."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a UDF returns for blocks of one kind."""

    axes: tuple[Axis, ...]
    sizes: tuple[int | None, ...]
    """Entries of each axis; None where it has as many as the input's axis of that name."""
    dtype: np.dtype[Any]
    where: str
    """Which part of the code returns it."""

    def of(self, block: Block) -> tuple[int, ...]:
        """Return the shape for a block."""
        given = dict(zip((a.name for a in block.axes), block.values.shape, strict=True))
        return tuple(
            given[axis.name] if size is None else size
            for axis, size in zip(self.axes, self.sizes, strict=True)
        )

    def nbytes(self, block: Block) -> int:
        """Return the bytes of the result for a block."""
        return math.prod(self.of(block)) * self.dtype.itemsize


class Sandbox:
    """Runs the code of one user, or refuses to; safe for many threads."""

    def __init__(self, rules: UdfRules = _RULES, owner: str = "", pool: Pool | None = None) -> None:
        """Make a sandbox that starts nothing yet.

        Args:
            rules: what the operator says.
            owner: the user; no process ever serves two.
            pool: workers to share with other users.
        """
        self.rules, self.owner = rules, owner
        self._pool = pool or Pool(rules.limits, sealed=rules.mode is not Mode.TRUSTED)
        self._known: Known[_Shape] = Known(_KNOWN)
        self._looks = False

    def looking(self) -> Sandbox:
        """Return it so that it finds out what comes back, and computes nothing but that."""
        made = copy.copy(self)
        made._looks = True  # noqa: SLF001 - its own
        return made

    def environment(self, code: str, version: str | None = None) -> Environment:
        """Return where a piece of code runs, once it is known that it may and can.

        Args:
            code: of the user.
            version: of the runtime, as `run_udf` has it.

        Raises:
            UdfRefused: user code is not run here, or its environment cannot be used.
            UdfInvalid: it asks for an environment or packages that are not there.
            InvalidVersion: there is no such version.
        """
        if self.rules.mode is Mode.OFF:
            raise UdfRefused(
                "UDFs are switched off here. An operator may allow them with `--udf sandboxed`."
            )
        return _checked_code(code, version, self.rules.environments)

    def run(self, code: str, block: Block, context: Any, version: str | None = None) -> Block:
        """Call user code with an array.

        Args:
            code: Python, in one of the forms of `terrazzo.sandbox.forms`.
            block: the array; axes without labels may have any number of entries, and where one
                has none at all only the shape and type of the result are found out.
            context: JSON values for the code.
            version: of the runtime, as `run_udf` has it.

        Returns:
            What it returned, with the axes, the labels and the type that it returned for the
            first block of this kind.

        Raises:
            UdfRefused: user code is not run here.
            UdfInvalid: it asks for packages that are not there.
            UdfFailed: it failed, took too much, or returned what does not fit.
        """
        environment = self.environment(code, version)
        key = Key(self.owner, environment.name, _digest(code))
        shape = self._shape(key, environment, code, block, context)
        if self._looks or not block.values.size:
            nothing = np.nan if shape.dtype.kind == "f" else 0
            values = np.full(shape.of(block), nothing, shape.dtype)
            return Block(values, shape.axes, where=shape.where)
        expected = shape.of(block)
        result = self._called(key, environment, code, block, context, shape, told=True)
        return _checked(result, shape, expected)

    def close(self) -> None:
        """End the workers."""
        self._pool.close()

    def _shape(
        self, key: Key, environment: Environment, code: str, block: Block, context: Any
    ) -> _Shape:
        """Return what the code returns for such blocks, found out once on a small one."""
        axes = tuple(replace(axis, place=None) for axis in block.axes)
        kind = (key, axes, block.dtype.str, json.dumps(context, sort_keys=True))
        found = self._known.get(kind)
        if found is None:
            probe, declared = _probe(block), declared_result(code)
            result = self._called(key, environment, code, probe, context, declared, told=False)
            found = _shape_of(probe, result)
            self._known.put(kind, found)
        return found

    def _called(
        self,
        key: Key,
        environment: Environment,
        code: str,
        block: Block,
        context: Any,
        shape: _Shape | Declared,
        *,
        told: bool,
    ) -> Block:
        worker = self._pool.take(key, environment)
        try:
            result = _call(worker, code, block, context, shape, self.rules.limits, told=told)
        except BaseException:
            self._pool.end(worker)
            raise
        self._pool.give_back(worker)
        return result


@cache
def _pool_of(rules: UdfRules) -> Pool:
    return Pool(rules.limits, sealed=rules.mode is not Mode.TRUSTED)


@lru_cache(_OWNERS)
def sandbox_of(rules: UdfRules = _RULES, owner: str = "") -> Sandbox:
    """Return the process's one sandbox of a user: all users share a bounded number of workers."""
    return Sandbox(rules, owner, _pool_of(rules))


@lru_cache(_CODES)
def _checked_code(
    code: str, version: str | None, environments: tuple[tuple[str, str], ...]
) -> Environment:
    """Return where a piece of code runs, once its header is known to ask for what is there."""
    found = environment_of(code, version, environments)
    check_header(code, dict(found.packages), found.version)
    return found


@lru_cache(_CODES)
def _digest(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()


def _probe(block: Block) -> Block:
    """Return a small block like another, of numbers between 0 and 1, some without data."""
    shape = tuple(PROBE_EDGE if axis.labels is None else len(axis.labels) for axis in block.axes)
    places = np.arange(math.prod(shape))
    values = np.where(places % 7 == 3, np.nan, places * 0.37 % 1).astype(block.dtype)  # noqa: PLR2004
    return Block(values.reshape(shape), block.axes, dtype=block.dtype, geometries=block.geometries)


def _call(
    worker: Worker,
    code: str,
    block: Block,
    context: Any,
    expected: _Shape | Declared,
    limits: Limits,
    *,
    told: bool,
) -> Block:
    worker.calls += 1
    dtype, shape = block.dtype, block.values.shape
    room = _PROBE_ROOM if isinstance(expected, Declared) else expected.nbytes(block)
    with worker.memory(block.values.size * dtype.itemsize, room) as (given, taken, kind):
        _fill(given.array(dtype, shape), block)
        message = {
            "id": worker.calls,
            "code": code if worker.calls == 1 else None,
            "shape": list(shape),
            "dtype": dtype.str,
            "dimensions": [axis.told for axis in block.axes],
            "geometries": block.geometries if _GEOMETRIES.search(code) else None,
            "context": context,
            "room": room,
            "expected": None if isinstance(expected, Declared) else expected.dtype.str,
            "returns": None if isinstance(expected, Declared) else list(expected.of(block)),
            "look": expected.told if isinstance(expected, Declared) else None,
            "memory": kind,
        }
        files = () if kind == "kept" else (given.file, taken.file)
        request_of(worker, message, files)
        for answer in worker.messages(limits):
            if "refused" in answer:
                raise UdfRefused(f"A worker cannot be shut in here: {str(answer['refused'])[:500]}")
            if "log" not in answer:
                return _read(answer, worker.calls, taken)
            if told:
                _tell(answer["log"])
    raise UdfFailed("The UDF's worker has not answered.")


def _fill(target: NDArray[Any], block: Block) -> None:
    """Write what a worker gets where it gets it."""
    np.copyto(target, block.values, casting="unsafe")
    if block.valid is not None:
        bits = target.view(f"u{target.itemsize}")
        # 1 - 1 leaves a number as it is, 0 - 1 sets all its bits, which is a NaN: a tenth of the
        # time of a masked copy.
        bits |= block.valid.astype(bits.dtype) - bits.dtype.type(1)


def _tell(entry: Any) -> None:
    """Hand a log entry on, of whatever the worker says it is."""
    if not isinstance(entry, dict):
        return
    level, data = str(entry.get("level")), entry.get("data")
    logs.log(
        level if level in set(logs.Level) else "info",
        str(entry.get("message", "")),
        code=str(entry.get("code", ""))[:100],
        data="nested too deeply" if _is_deep(data) else data,
    )


def _is_deep(data: Any) -> bool:
    """Tell whether JSON values are nested so deeply that writing them may fail."""
    level = [data]
    for _ in range(_DEEPEST):
        lists = [value for value in level if isinstance(value, dict | list)]
        level = [inner for v in lists for inner in (v.values() if isinstance(v, dict) else v)]
    return bool(level)


def _read(answer: Mapping[str, Any], number: int, taken: SharedMemory) -> Block:
    """Return what a worker has answered, if it makes sense.

    Raises:
        UdfFailed: it does not, or it says that the code failed.
    """
    error = answer.get("error")
    if isinstance(error, dict):
        raise UdfFailed(_failure(error))
    try:
        shape, dtype = tuple(answer["shape"]), _DTYPES[answer["dtype"]]
        axes = tuple(
            Axis(str(told["name"]), labels=_labels(told["labels"], size))
            for told, size in zip(answer["dimensions"], shape, strict=True)
        )
        fits = (
            answer["id"] == number
            and len(shape) <= _MOST_AXES
            and all(type(size) is int and 0 <= size <= taken.size for size in shape)
            and math.prod(shape) * dtype.itemsize <= taken.size
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise UdfFailed("The UDF has upset its worker: what it answers makes no sense.")
    where = str(answer.get("where", "the code"))[:_MOST_WHERE]
    if dtype.kind == "b":
        return Block(taken.array(np.dtype(np.uint8), shape) != 0, axes, where=where)
    return Block(taken.array(dtype, shape).copy(), axes, where=where)


def _failure(error: Mapping[str, Any]) -> str:
    message, trace = str(error.get("message", ""))[:2000], str(error.get("trace", ""))[:4000]
    if error.get("kind") == "unusable":
        return f"The UDF does not fit: {message}"
    if error.get("kind") == "memory":
        message = "it needs more memory than one block may have. Use smaller blocks."
    if message.startswith("ModuleNotFoundError:"):
        message += (
            ". What there is stands at GET /udf_runtimes; an operator may add more "
            "(--udf-environment)."
        )
    return f"The UDF failed: {message}" + (f"\n{trace}" if trace else "")


def _labels(labels: Any, size: int) -> tuple[Label, ...] | None:
    if labels is None:
        return None
    if len(labels) != size or size > _MOST_LABELS:
        raise ValueError("Labels that do not fit.")
    for label in labels:
        if isinstance(label, bool) or not isinstance(label, str | int | float):
            raise TypeError("Labels that are none.")
    if len(set(labels)) < size:
        raise ValueError("A label that is there twice.")
    return tuple(labels)


def _shape_of(probe: Block, result: Block) -> _Shape:
    """Return what a UDF returns, told by what it made of a small block.

    Raises:
        UdfFailed: it has dropped or changed x or y, or a name is there twice.
    """
    given = {axis.name: (axis, n) for axis, n in zip(probe.axes, probe.values.shape, strict=True)}
    names = [axis.name for axis in result.axes]
    sizes = dict(zip(names, result.values.shape, strict=True))
    where = result.where
    if len(sizes) < len(names):
        raise UdfFailed(f"The UDF, {where}, returns a dimension twice: {', '.join(names)}.")
    for name, (axis, size) in given.items():
        if axis.kind == SPATIAL and sizes.get(name) != size:
            raise UdfFailed(
                f"The UDF must keep the pixels: along {name!r} {where} gets {size} and returns "
                f"{sizes.get(name, 'none')}. Use `resample_spatial` or `aggregate_spatial` to "
                "change them."
            )
    axes, counts = [], []
    for axis, size in zip(result.axes, result.values.shape, strict=True):
        known, before = given.get(axis.name, (None, -1))
        same = known is not None and known.labels is None and size == before
        if not same and size > _MOST_LABELS:
            raise UdfFailed(
                f"The UDF, {where}, returns {size} entries along {axis.name[:100]!r}; a dimension "
                f"has at most {_MOST_LABELS} labels."
            )
        axes.append(replace(axis, kind=known.kind if known is not None else "other"))
        counts.append(None if same else size)
    return _Shape(tuple(axes), tuple(counts), result.values.dtype, where)


def _checked(result: Block, shape: _Shape, expected: tuple[int, ...]) -> Block:
    """Return a result with the axes and type of the first block.

    Raises:
        UdfFailed: it has others.
    """
    values, where = result.values, result.where
    named, names = [axis.name for axis in shape.axes], [axis.name for axis in result.axes]
    if names != named and sorted(names) == sorted(named):
        order = [names.index(name) for name in named]
        values, result = (
            values.transpose(order),
            replace(result, axes=tuple(result.axes[place] for place in order)),
        )
        names = named
    if names != named or values.shape != expected:
        raise UdfFailed(
            f"The UDF, {where}, returns {_shown(result.axes, values.shape)} here, and as it was "
            f"declared, or where it was looked at first, its result is "
            f"{_shown(shape.axes, expected)}. A UDF must return the same dimensions for every "
            "block, whatever the pixels."
        )
    for axis, before in zip(result.axes, shape.axes, strict=True):
        if before.kind != SPATIAL and axis.labels not in {None, before.labels}:
            raise UdfFailed(
                f"The UDF, {where}, returns other labels along {axis.name!r} than declared, or "
                f"than for the block on which its result was looked at: {_cut(axis.labels)} and "
                f"{_cut(before.labels)}."
            )
    if values.dtype != shape.dtype:
        raise UdfFailed(f"The UDF has upset its worker: {values.dtype} instead of {shape.dtype}.")
    return Block(values, shape.axes, where=where)


def _cut(labels: Any) -> str:
    text = str(labels)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."


def _shown(axes: tuple[Axis, ...], shape: tuple[int, ...]) -> str:
    told = [f"{axis.name} {size}" for axis, size in zip(axes, shape, strict=True)]
    return "(" + ", ".join(told) + ")"
