"""Samples on which a UDF is tried out: arrays of any kind, made blocks, and made back."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from terrazzo import logs
from terrazzo.cube import Cube
from terrazzo.cube.pixels import compute_dtype
from terrazzo.errors import ArgumentInvalid, UdfFailed, UdfRefused
from terrazzo.processes.udf import run_udf
from terrazzo.sandbox import Axis, Block, Sandbox, UdfRules, sandbox_of
from terrazzo.sandbox.environments import own_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_DIMENSIONS = {1: ("t",), 2: ("y", "x"), 3: ("bands", "y", "x"), 4: ("t", "bands", "y", "x")}
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "t": "temporal",
        "time": "temporal",
        "band": "bands",
        "bands": "bands",
        "x": "spatial",
        "y": "spatial",
    }
)
_FIRST_DAY = np.datetime64("2020-01-01")
_HERE = "openeo"


class Here(Sandbox):
    """Runs code in this very process: for one's own, and for debugging."""

    @override
    def run(self, code: str, block: Block, context: Any, version: str | None = None) -> Block:
        """Call user code with an array; its errors are raised as they are.

        Raises:
            UdfRefused: it asks for another environment.
            UdfFailed: it is of no known form, or returns what is none.
        """
        if self.environment(code, version) != own_environment():
            raise UdfRefused("Code runs in another environment in a process of its own only.")
        from terrazzo.sandbox import contract, forms  # noqa: PLC0415 - loads pandas and xarray
        from terrazzo.sandbox.unusable import Unusable  # noqa: PLC0415

        given = np.array(block.values, block.dtype)
        if block.valid is not None:
            given[~block.valid] = np.nan
        with _modules_kept():
            contract.install(logs.log)
            try:
                form = forms.load(code)
                told = tuple(axis.told for axis in block.axes)
                made = form.call(forms.Block(given, told), context)
            except Unusable as error:
                raise UdfFailed(f"The UDF does not fit: {error}") from None
        axes = tuple(
            Axis(str(one["name"]), str(one["kind"]), _labels(one.get("labels")))
            for one in made.dimensions
        )
        return Block(np.asarray(made.array), axes)


def _labels(labels: Any) -> tuple[Any, ...] | None:
    return tuple(labels) if isinstance(labels, list) else None


@contextmanager
def _modules_kept() -> Iterator[None]:
    """Put the client back where it was, once its stand-in is no longer needed."""

    def ours(name: str) -> bool:
        return name == "udf" or name.partition(".")[0] == _HERE

    before = {name: module for name, module in sys.modules.items() if ours(name)}
    for name in before:
        del sys.modules[name]
    try:
        yield
    finally:
        for name in [name for name in sys.modules if ours(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def run(
    code: str,
    sample: Any,
    *,
    bands: Sequence[str] = (),
    context: Any = None,
    sandboxed: bool = True,
    rules: UdfRules | None = None,
) -> Any:
    """Run code on a sample; `UserFunction.test` says what the arguments mean.

    Raises:
        UdfRefused: there is nothing here to close a process with.
        UdfInvalid: it asks for packages that are not there.
        UdfFailed: it failed, took too much, or returned what does not fit.
        ArgumentInvalid: the sample is none.
    """
    chosen = rules or UdfRules()
    sandbox = sandbox_of(chosen) if sandboxed else Here(chosen)
    given = {} if context is None else context
    with logs.collected() as log:
        try:
            return _run(sandbox, code, sample, bands, given)
        except UdfRefused as error:
            raise UdfRefused(
                f"{error} To try code of your own in this process, give `sandboxed=False`."
            ) from None
        finally:
            for entry in log.all():
                data = "" if entry.data is None else f" {entry.data}"
                sys.stdout.write(f"{entry.level}: {entry.message}{data}\n")


def _run(sandbox: Sandbox, code: str, sample: Any, bands: Sequence[str], context: Any) -> Any:
    if isinstance(sample, Cube):
        return run_udf(sample, code, "Python", None, context, sandbox=sandbox)
    if hasattr(sample, "get_datacube_list"):
        cubes = sample.get_datacube_list() or []
        if len(cubes) != 1:
            raise ArgumentInvalid(f"A sample has one data cube, and this one has {len(cubes)}.")
        made = _run(sandbox, code, cubes[0].get_array(), bands, context or sample.user_context)
        sample.set_datacube_list([type(cubes[0])(made)])
        return sample
    if hasattr(sample, "dims") and hasattr(sample, "coords"):
        block = _block_of(np.asarray(sample.values), [_axis_of(sample, d) for d in sample.dims])
        return _as_array(sandbox.run(code, block, context), sample)
    values = np.asarray(sample)
    return sandbox.run(code, _block_of(values, _axes_of(values, bands)), context).values


def _axes_of(values: Any, bands: Sequence[str]) -> list[Axis]:
    """Return what the axes of a bare array are.

    Raises:
        ArgumentInvalid: nobody knows, or there are other bands than names.
    """
    names = _DIMENSIONS.get(values.ndim)
    if names is None or values.dtype.kind not in "biuf":
        raise ArgumentInvalid(
            f"A sample is an array of numbers (y, x), (bands, y, x) or (t, bands, y, x), not of "
            f"type {values.dtype} and shape {values.shape}."
        )
    sizes = dict(zip(names, values.shape, strict=True))
    if bands and len(bands) != sizes.get("bands", 0):
        raise ArgumentInvalid(
            f"The sample has {sizes.get('bands', 'no')} bands, and `bands` names {len(bands)}."
        )
    known = {
        "t": tuple(str(_FIRST_DAY + day) for day in range(sizes.get("t", 0))),
        "bands": tuple(bands) or tuple(f"band{n}" for n in range(sizes.get("bands", 0))),
    }
    return [Axis(name, _KINDS[name], known.get(name)) for name in names]


def _axis_of(array: Any, dimension: Any) -> Axis:
    """Return what a dimension of a DataArray is."""
    name = str(dimension)
    positions = array.coords[dimension].to_numpy() if dimension in array.coords else None
    kind = _KINDS.get(name, "other")
    if positions is None:
        size = array.sizes[dimension]
        return Axis(name, kind, None if kind == "spatial" else tuple(range(size)))
    if kind == "spatial" and len(positions) > 1:
        step = float(positions[1] - positions[0])
        return Axis(name, kind, None, (float(positions[0]) - step / 2, 0, step))
    if kind == "spatial":
        return Axis(name, kind)
    if positions.dtype.kind == "M":
        times = positions.astype("datetime64[s]")
        return Axis(name, "temporal", tuple(f"{time}Z" for time in times))
    return Axis(name, kind, tuple(positions.tolist()))


def _block_of(values: Any, axes: Sequence[Axis]) -> Block:
    valid = ~np.isnan(values) if values.dtype.kind == "f" else None
    return Block(values, tuple(axes), valid, compute_dtype(values.dtype))


def _as_array(block: Block, sample: Any) -> Any:
    """Return what came back as a DataArray, with the coordinates that it kept."""
    import xarray as xr  # noqa: PLC0415 - takes long

    names = [axis.name for axis in block.axes]
    coordinates: dict[str, Any] = {}
    for axis, size in zip(block.axes, block.values.shape, strict=True):
        before = sample.coords[axis.name] if axis.name in sample.coords else None  # noqa: SIM401 - `get` makes up numbers for those that there are not
        if before is not None and before.size == size and _same(axis, _axis_of(sample, axis.name)):
            coordinates[axis.name] = before.to_numpy()
        elif axis.labels is not None:
            coordinates[axis.name] = list(axis.labels)
    return xr.DataArray(block.values, dims=names, coords=coordinates)


def _same(axis: Axis, before: Axis) -> bool:
    return axis.kind == "spatial" or axis.labels in {None, before.labels}
