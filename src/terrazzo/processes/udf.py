"""Code of users: what it gets of cubes, stacks and pixels, and what is made of its answer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import shapely

from terrazzo.cube import Cube, Dimension, Geometries, Kind, Mask, Pixels, Stack, Values, all_valid
from terrazzo.cube.pixels import compute_dtype, is_all_valid
from terrazzo.cube.tape import Untraceable
from terrazzo.errors import ArgumentInvalid, FileNotFound, UdfFailed, UdfInvalid
from terrazzo.processes.convert import entries_of, is_list, scalar, stack_of
from terrazzo.processes.registry import Role, Rules, process
from terrazzo.processes.schemas import Anything, Schema
from terrazzo.processes.spatial import PIXELS
from terrazzo.sandbox import Axis, Block, Sandbox, check_runtime

MOST_CODE = 1_000_000
"""Letters of a UDF."""
_NEW_LINE = re.compile(r"\r\n|\r|\n")
_ORDER = {Kind.GEOMETRY: 0, Kind.TEMPORAL: 1, Kind.BANDS: 2, Kind.OTHER: 3, Kind.SPATIAL: 4}
"""How the axes are sorted for a UDF, as openEO has it: t, bands, others, y, x."""

Udf = Annotated[
    str,
    Schema(
        [
            {"type": "string", "format": "uri", "subtype": "uri", "pattern": "^https?://"},
            {"type": "string", "subtype": "file-path", "pattern": "^[^\r\n\\:'\"]+$"},
            {"type": "string", "subtype": "udf-code", "pattern": "(\r\n|\r|\n)"},
        ]
    ),
]
Runtime = Annotated[str, Schema({"type": "string", "subtype": "udf-runtime"})]
RuntimeVersion = Annotated[
    str | None, Schema([{"type": "string", "subtype": "udf-runtime-version"}, {"type": "null"}])
]


@process("run_udf", Role.CUBE, categories=("cubes", "import", "udf"), rules=Rules(scratch=4.0))
def run_udf(
    data: Anything,
    udf: Udf,
    runtime: Runtime,
    version: RuntimeVersion = None,
    context: Anything = {},  # noqa: B006 - the openEO default; never written to
    *,
    sandbox: Sandbox,
) -> Anything:
    """Compute with code of the user, in a closed process of its own.

    The code gets float32 or float64 with NaN for no-data, and every NaN that it returns is
    no-data. It must give equal results for equal pixels, whatever block they come in. Dimensions,
    labels and type are those that it declares, or that it returns for a small block of made-up
    numbers; blocks must keep to them, and nothing is cast.

    Args:
        data: in callbacks what they get, else a data cube. Numbers and arrays of numbers too.
        udf: Python code. Addresses and files of a workspace cannot be read yet.
        runtime: `Python`.
        version: version of the runtime, or the name of an environment that the operator has
            added; null takes what the header of the code asks for, or the one there is.
        context: JSON values that are passed on to the code.
        sandbox: where the code runs.

    Returns:
        What the code returns. x and y stay.

    Raises:
        InvalidRuntime: there is no runtime of that name.
        InvalidVersion: the runtime has no such version.
        FileNotFound: `udf` is no code but an address or a path.
        UdfInvalid: the code asks for packages that are not there.
        UdfFailed: the code raised an error, took too much, or returned what does not fit.
        UdfRefused: code of users is not run here, or the machine cannot shut it in.

    Source:
        openEO process `run_udf` 2.0.0-rc.2; the UDF contract of the openEO Python client.
    """
    check_runtime(runtime)
    code = _code(udf)
    sandbox.environment(code, version)
    return _run(_Call(sandbox, code, version, _checked_context(context)), data)


def _checked_context(context: Any) -> Any:
    given = {} if context is None else context
    try:
        json.dumps(given)
    except (TypeError, ValueError) as error:
        raise ArgumentInvalid(f"`context` of a UDF is JSON values: {error}.") from None
    return given


def _code(udf: str) -> str:
    if not _NEW_LINE.search(udf):
        what = "address" if re.match(r"https?://", udf) else "file of a workspace"
        raise FileNotFound(
            f"{udf[:200]!r} is no code but an {what}, and there is none that could be read: put "
            "the code itself into `udf`. Code has a line break."
        )
    if len(udf) > MOST_CODE:
        raise UdfInvalid(f"A UDF has at most {MOST_CODE:,} letters, and this one {len(udf):,}.")
    return udf


@dataclass(frozen=True, slots=True)
class _Call:
    """Where which code is called."""

    sandbox: Sandbox
    code: str
    version: str | None
    context: Any

    def __call__(
        self,
        values: Values,
        valid: Mask,
        axes: tuple[Axis, ...],
        geometries: Geometries | None = None,
    ) -> Block:
        """Call it with the axes in openEO's order."""
        if not isinstance(values, (np.ndarray, np.generic)):
            raise Untraceable("Code of users.")
        if values.dtype.kind not in "biuf":
            raise ArgumentInvalid("A UDF takes numbers and truth values, and gets others.")
        order = sorted(range(len(axes)), key=lambda axis: _ORDER[Kind(axes[axis].kind)])
        block = Block(
            np.asarray(values).transpose(order),
            tuple(axes[axis] for axis in order),
            None if is_all_valid(valid) else np.asarray(valid).transpose(order),
            compute_dtype(values.dtype),
            None if geometries is None else _told(geometries),
        )
        return self.sandbox.run(self.code, block, self.context, self.version)


def run_on_polygon(sandbox: Sandbox, code: str, context: Any, data: Stack) -> Cube:
    """Call code with the pixels of a polygon; what comes back may be anything but pixels.

    Args:
        sandbox: where it runs.
        code: of the user.
        context: JSON values that are passed on to it.
        data: (pixel, label, ...) values, with what the axes are.

    Returns:
        (label, ...) cube without space.

    Raises:
        UdfFailed: the code fails, or returns a value for each pixel.
        UdfInvalid, UdfRefused, ArgumentInvalid: as `run_udf` says.
    """
    axes = _axes(data.axes, data.values.shape, ("data", "dim"))
    call = _Call(sandbox, _code(code), None, _checked_context(context))
    result = call(data.values, data.valid, axes)
    if axes[0].name in (axis.name for axis in result.axes):
        raise UdfFailed(
            f"The UDF, {result.where}, must reduce the pixels of a polygon: it gets them along "
            f"{axes[0].name!r}, and returns a value for each. Take the mean along it, or another "
            "number."
        )
    known = {dimension.name: dimension for dimension in data.axes}
    dimensions = tuple(
        _dimension(axis, known.get(axis.name), size)
        for axis, size in zip(result.axes, result.values.shape, strict=True)
    )
    return Cube(result.values, _validity(result.values), dimensions)


def _told(geometries: Geometries) -> dict[str, Any]:
    """Return geometries as a worker gets them."""
    shapes = np.array([*geometries.shapes, None], dtype=object)[:-1]
    return {
        "wkb": list(shapely.to_wkb(shapes, hex=True)),
        "crs": geometries.crs,
        "properties": [dict(entry) for entry in geometries.properties],
    }


def _run(call: _Call, data: Any) -> Any:
    if isinstance(data, Cube):
        return _on_cube(call, data)
    if isinstance(data, Pixels):
        axes = _axes(data.axes, data.shape, ("dim",))
        values, valid, _ = _arranged(call(data.values, data.valid, axes), axes, data.shape)
        return Pixels(values, valid, data.axes)
    if isinstance(data, (list, tuple)):
        data = stack_of(data)
    if isinstance(data, Stack):
        return _on_stack(call, data)
    if data is None or isinstance(data, (bool, int, float)):
        number = np.asarray(np.nan if data is None else data, np.float64)
        values, valid, _ = _arranged(call(number, np.asarray(data is not None), ()), (), ())
        return scalar(values[()]) if valid[()] else None
    raise ArgumentInvalid(
        f"A UDF takes a data cube, an array or a number as `data`, not {type(data).__name__}."
    )


def _on_stack(call: _Call, data: Stack) -> Any:
    """Call with an array per pixel; it may come back in any length, or as one value."""
    if data.labels == ():
        return None  # an interval without dates: there is nothing to compute with
    axes = _axes(data.axes, data.values.shape, ("data", "dim"))
    if not data.axes and data.labels is not None:
        axes = (replace(axes[0], labels=data.labels), *axes[1:])
    # Geometries that are computed side by side are as many as there are, and need no labels.
    axes = (axes[0], *(_unlabelled(a) if a.kind == Kind.GEOMETRY else a for a in axes[1:]))
    shape = data.values.shape
    result = call(data.values, data.valid, axes)
    if axes[0].name not in (axis.name for axis in result.axes):
        values, valid, _ = _arranged(result, axes[1:], shape[1:])
        if is_list(data):
            return scalar(values[()]) if valid[()] else None
        return Pixels(values, valid, data.axes[1:])
    values, valid, labels = _arranged(result, axes, shape, axes[0].name)
    named: tuple[Dimension, ...] = ()
    if data.axes and labels is not None:
        named = (replace(data.axes[0], labels=labels), *data.axes[1:])
    if labels is None and len(values) == len(data):
        labels = data.labels
    made = Stack(values, valid, labels, data.exact, named)
    return entries_of(made) if is_list(data) else made


def _axes(
    dimensions: tuple[Dimension, ...], shape: tuple[int, ...], names: tuple[str, ...]
) -> tuple[Axis, ...]:
    """Return what the axes are; numbered names where nobody knows any more."""
    if len(dimensions) == len(shape) and all(
        d.kind is Kind.SPATIAL or d == PIXELS or n in {0, len(d.labels)}
        for d, n in zip(dimensions, shape, strict=True)
    ):
        return tuple(_axis(dimension) for dimension in dimensions)
    first, rest = names[:-1], names[-1]
    count = len(shape) - len(first)
    numbered = [f"{rest}_{number}" for number in range(count)]
    if count > 1:
        numbered[-2:] = ["y", "x"]
    kinds = [Kind.SPATIAL if name in {"y", "x"} else Kind.OTHER for name in numbered]
    return (
        *(Axis(name, Kind.OTHER.value) for name in first),
        *(Axis(name, kind.value) for name, kind in zip(numbered, kinds, strict=True)),
    )


def _axis(dimension: Dimension) -> Axis:
    free = dimension.kind is Kind.SPATIAL or dimension == PIXELS
    return Axis(dimension.name, dimension.kind.value, None if free else dimension.labels)


def _unlabelled(axis: Axis) -> Axis:
    return replace(axis, labels=None)


def _arranged(
    result: Block, axes: tuple[Axis, ...], shape: tuple[int, ...], free: str = ""
) -> tuple[Values, Mask, tuple[Any, ...] | None]:
    """Return values and validity along these axes, of which one may have changed its length.

    Raises:
        UdfFailed: the code has dropped, added or changed another one.
    """
    names, wanted = [axis.name for axis in result.axes], [axis.name for axis in axes]
    sizes = dict(zip(names, result.values.shape, strict=True))
    if sorted(names) != sorted(wanted):
        raise UdfFailed(
            f"The UDF, {result.where}, returns the dimensions ({', '.join(names)}); here they must "
            f"be ({', '.join(wanted)})."
        )
    for axis, size in zip(axes, shape, strict=True):
        count = size if axis.labels is None else len(axis.labels)
        if axis.name != free and sizes[axis.name] != count:
            raise UdfFailed(
                f"The UDF, {result.where}, returns {sizes[axis.name]} entries along {axis.name!r}, "
                f"and here it must keep the {count} that there are."
            )
    order = [names.index(name) for name in wanted]
    values = result.values.transpose(order)
    labels = next((axis.labels for axis in result.axes if axis.name == free), None)
    return values, _validity(values), labels


def _validity(values: Values) -> Mask:
    if values.dtype.kind != "f":
        return all_valid(values.shape)
    missing: Mask = np.isnan(values)
    return ~missing if missing.any() else all_valid(values.shape)


def _on_cube(call: _Call, data: Cube) -> Cube:
    """Call with a cube; what comes back may have any dimensions besides x and y."""
    axes = tuple(_placed(_axis(dimension), data) for dimension in data.dimensions)
    result = call(data.values, data.valid, axes, data.geometries)
    known = {dimension.name: dimension for dimension in data.dimensions}
    named = {axis.name: place for place, axis in enumerate(result.axes)}
    kept = [name for name in data.names if name in named]
    spatial = [name for name in kept if known[name].kind is Kind.SPATIAL]
    order = [name for name in kept if name not in spatial]
    for name in named:
        if name not in known:
            order.insert(list(named).index(name), name)
    order += spatial
    values = result.values.transpose([named[name] for name in order])
    dimensions = tuple(
        _dimension(result.axes[named[name]], known.get(name), size)
        for name, size in zip(order, values.shape, strict=True)
    )
    held = data.geometries
    same = held is not None and any(
        d.kind is Kind.GEOMETRY and d.labels == known[d.name].labels for d in dimensions
    )
    return replace(
        data,
        values=values,
        valid=_validity(values),
        dimensions=dimensions,
        geometries=held if same else None,
    )


def _placed(axis: Axis, cube: Cube) -> Axis:
    """Return an axis along x or y with where its pixels lie."""
    if axis.kind != Kind.SPATIAL or cube.grid is None or cube.window is None:
        return axis
    grid, window = cube.grid, cube.window
    if axis.name == cube.names[-1]:
        return replace(axis, place=(grid.left, window.col, grid.pixel_x))
    return replace(axis, place=(grid.top, window.row, -grid.pixel_y))


def _dimension(axis: Axis, before: Dimension | None, size: int) -> Dimension:
    if before is not None and before.kind is Kind.SPATIAL:
        return before
    if axis.labels is None and before is not None and len(before.labels) == size:
        return before
    labels = tuple(range(size)) if axis.labels is None else axis.labels
    if before is not None:
        return replace(before, labels=labels)
    kinds = {"bands": Kind.BANDS, "t": Kind.TEMPORAL}
    return Dimension(axis.name, kinds.get(axis.name, Kind.OTHER), labels)
