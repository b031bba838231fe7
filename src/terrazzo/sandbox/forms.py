"""The forms in which user code may be written, and how each is called. Runs in a worker.

| form | gets | gives |
|---|---|---|
| `apply_datacube(cube, context)` | a DataArray, or an `XarrayDataCube` if so annotated | the same |
| `apply_timeseries(series, context)` | a Series of each pixel and band | a Series as long |
| `apply_vectorcube(geometries, cube, context)` | a GeoDataFrame, a DataArray | both |
| `apply_udf_data(data)` | a `UdfData` | changes it, or returns another |
| a script that assigns `img` | `band0`, `band1`, ..., and bands by their names | an array |

Beside a function there may be `apply_metadata(metadata, context)`, which says beforehand what
dimensions and labels come back.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import math
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from terrazzo.sandbox import contract, tables
from terrazzo.sandbox.metadata import CubeMetadata
from terrazzo.sandbox.script import Script, image_line
from terrazzo.sandbox.unusable import Unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FILE = "<udf>"
"""What tracebacks call the user's code."""
MODULE = "udf"
_MOST = 1 << 63
"""Labels that are numbers are smaller."""
_SPATIAL, _TEMPORAL, _BANDS = "spatial", "temporal", "bands"


@dataclass(frozen=True, slots=True)
class Block:
    """An array with what its axes are."""

    array: Any
    """Numbers."""
    dimensions: tuple[Mapping[str, Any], ...]
    """One per axis: `name`, `kind`, and `labels`, a list, null, or (for positions on a grid)
    `{"origin", "first", "step"}`."""
    geometries: Mapping[str, Any] | None = None
    """Of a vector cube, if they were asked for: `wkb`, `crs` and `properties`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(str(dimension["name"]) for dimension in self.dimensions)


@dataclass(frozen=True, slots=True)
class Form:
    """User code that has been run once: how it is called."""

    call: Callable[[Block, Any], Block]
    """Takes an array and the context."""
    where: str
    """The function, or the assignment, that gives the result, and its line."""
    metadata: Callable[..., Any] | None = None
    """The user's `apply_metadata`."""


def load(text: str) -> Form:
    """Run the code once and return how it is called.

    Raises:
        Unusable: it is of no known form.
        Exception: what the code itself raises.
    """
    linecache.cache[FILE] = (len(text), None, text.splitlines(keepends=True), FILE)
    tree = ast.parse(text, FILE)
    code = compile(tree, FILE, "exec", dont_inherit=True)
    line = image_line(tree)
    if line:
        script = Script(tree, FILE, _given())
        return Form(lambda block, context: _script(script, block, context), f"`img` (line {line})")
    module = ModuleType(MODULE)
    module.__dict__.update(_given())
    sys.modules[MODULE] = module
    exec(code, module.__dict__)  # noqa: S102 - that is what the worker is closed for
    return _form_of(module.__dict__)


def _given() -> dict[str, Any]:
    """Return the names that the openEO client has there without an import."""
    return {
        "math": math,
        "np": np,
        "numpy": np,
        "pandas": pd,
        "pd": pd,
        "xarray": xr,
        "DataCube": contract.XarrayDataCube,
        "FeatureCollection": contract.FeatureCollection,
        "StructuredData": contract.StructuredData,
        "UdfData": contract.UdfData,
        "XarrayDataCube": contract.XarrayDataCube,
    }


def _form_of(names: Mapping[str, Any]) -> Form:
    described = names.get("apply_metadata")
    described = described if callable(described) else None

    def made(function: Any, call: Callable[[Any, Block, Any], Block]) -> Form:
        return Form(
            lambda block, context: call(function, block, context), _place(function), described
        )

    kinds = {
        "apply_timeseries": _timeseries,
        "apply_datacube": _datacube,
        "apply_hypercube": _datacube,
        "apply_vectorcube": _vectorcube,
    }
    for name, call in kinds.items():
        if callable(names.get(name)):
            return made(names[name], call)
    for name, data in names.items():
        if inspect.isfunction(data) and (name == "apply_udf_data" or _takes_udf_data(data)):
            return made(data, _udf_data)
    raise Unusable(
        "The code has no function `apply_datacube(cube, context)`, `apply_timeseries(series, "
        "context)`, `apply_vectorcube(geometries, cube, context)` or `apply_udf_data(data)`, and "
        "assigns no `img`. Define one of them."
    )


def _place(function: Any) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    line = f" (line {code.co_firstlineno})" if code is not None else ""
    return f"`{getattr(function, '__name__', 'the code')}`{line}"


def declared(form: Form, dimensions: Sequence[Mapping[str, Any]], context: Any) -> dict[str, Any]:
    """Return what `apply_metadata` says: `dimensions`, names, and `labels` by name; or nothing.

    Raises:
        Unusable: it returns no metadata, or changes x and y.
        Exception: what the code itself raises.
    """
    if form.metadata is None:
        return {}
    given = CubeMetadata.of(dimensions)
    made = _called(form.metadata, given, context)
    if not isinstance(made, CubeMetadata):
        raise Unusable(
            f"{_place(form.metadata)} must return the metadata that it gets, or a changed copy; it "
            f"returns {type(made).__name__}."
        )
    steps = [[(d.name, d.step) for d in one.spatial_dimensions] for one in (given, made)]
    if sorted(steps[0], key=str) != sorted(steps[1], key=str):
        raise Unusable(
            f"{_place(form.metadata)} changes x or y; a UDF must keep the pixels. Use "
            "`resample_spatial` to change them."
        )
    labels = {
        d.name: [_plain(label) for label in d.labels]
        for d in made.dimensions
        if d.labels is not None
    }
    return {"dimensions": made.dimension_names(), "labels": labels}


def _takes_udf_data(function: Any) -> bool:
    parameters = list(inspect.signature(function).parameters.values())
    return (
        len(parameters) == 1
        and str(getattr(parameters[0].annotation, "__name__", parameters[0].annotation)).rpartition(
            "."
        )[2]
        == "UdfData"
    )


def _called(function: Any, value: Any, context: Any) -> Any:
    """Call with context, unless the function does not take it."""
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    if len(positional) > 1 or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return function(value, context)
    if any(p.name == "context" or p.kind is p.VAR_KEYWORD for p in parameters[1:]):
        return function(value, context=context)
    return function(value)


def _datacube(function: Any, block: Block, context: Any) -> Block:
    array = _as_array(block)
    first = next(iter(inspect.signature(function).parameters.values()), None)
    annotation = getattr(first, "annotation", None)
    name = str(getattr(annotation, "__name__", annotation)).rpartition(".")[2]
    wrapped = name in {"XarrayDataCube", "DataCube"}
    result = _called(function, contract.XarrayDataCube(array) if wrapped else array, context)
    return _as_block(result, block, function.__name__)


def _vectorcube(function: Any, block: Block, context: Any) -> Block:
    if block.geometries is None:
        raise Unusable(
            "`apply_vectorcube` needs a vector cube, and the data have no geometries. Call it with "
            "what `aggregate_spatial` or `load_geojson` gives."
        )
    frame = tables.frame_of(block.geometries)
    array = tables.numbered(_as_array(block), block.dimensions)
    parameters = list(inspect.signature(function).parameters)
    more = (context,) if len(parameters) > 2 else ()  # noqa: PLR2004 - geometries and cube
    result = function(frame.copy(), array, *more)
    made, cube = result if isinstance(result, tuple) else (frame, result)
    cube = tables.renamed(made, frame, cube, block.dimensions)
    return _as_block(cube, block, function.__name__)


def _udf_data(function: Any, block: Block, context: Any) -> Block:
    features = []
    if block.geometries is not None:
        features = [contract.FeatureCollection("geometries", tables.frame_of(block.geometries))]
    data = contract.UdfData(
        datacube_list=[contract.XarrayDataCube(_as_array(block))],
        feature_collection_list=features or None,
        user_context=context,
    )
    returned = function(data)
    data = returned if isinstance(returned, contract.UdfData) else data
    cubes = data.get_datacube_list() or []
    if len(cubes) != 1:
        raise Unusable(
            f"`{function.__name__}` leaves {len(cubes)} data cubes in its UdfData; it must be one. "
            "Set it with `data.set_datacube_list([XarrayDataCube(array)])`."
        )
    return _as_block(cubes[0], block, function.__name__)


def _timeseries(function: Any, block: Block, context: Any) -> Block:
    axes = [i for i, d in enumerate(block.dimensions) if d["kind"] == _TEMPORAL]
    if len(axes) != 1:
        raise Unusable(
            "`apply_timeseries` needs one temporal dimension; the data have "
            f"{', '.join(block.names) or 'none'}."
        )
    axis, index = axes[0], _coordinate(block.dimensions[axes[0]])
    columns = np.moveaxis(block.array, axis, -1)
    length = columns.shape[-1]
    made = []
    for column in columns.reshape(-1, length):
        series = pd.Series(column, index=None if index is None else pd.Index(index))
        result = np.asarray(_called(function, series, context))
        if result.shape != (length,):
            raise Unusable(
                f"`apply_timeseries` gets {length} values and must return as many, and it returns "
                f"{result.shape}. Use `apply_datacube` to change the dates."
            )
        made.append(result)
    values = np.asarray(made) if made else np.zeros((0, length), block.array.dtype)
    return Block(np.moveaxis(values.reshape(columns.shape), -1, axis), block.dimensions)


def _script(script: Script, block: Block, context: Any) -> Block:
    """Run a script on the bands, one array each."""
    axes = [i for i, d in enumerate(block.dimensions) if d["kind"] == _BANDS]
    rest, labels, bands = block.dimensions, [], [block.array]
    if axes:
        bands = list(np.moveaxis(block.array, axes[0], 0))
        labels = list(block.dimensions[axes[0]].get("labels") or ())
        rest = (*rest[: axes[0]], *rest[axes[0] + 1 :])
    made = script.image(bands, labels, context)
    if made is None:
        raise Unusable("The script ends without having assigned `img`.")
    image = np.asarray(made)
    shape = bands[0].shape if bands else image.shape
    if image.shape == shape:
        return Block(image, rest)
    if image.shape[1:] == shape:
        name = block.dimensions[axes[0]]["name"] if axes else "bands"
        return Block(image, ({"name": name, "kind": _BANDS, "labels": None}, *rest))
    raise Unusable(
        f"`img` has the shape {image.shape}; it must be that of a band, {shape}, or several of "
        "these one upon the other."
    )


def _as_array(block: Block) -> xr.DataArray:
    """Return a block as xarray has it."""
    coordinates = {}
    for dimension, size in zip(block.dimensions, block.array.shape, strict=True):
        positions = _coordinate(dimension, size)
        if positions is not None:
            coordinates[str(dimension["name"])] = positions
    return xr.DataArray(block.array, dims=block.names, coords=coordinates)


def _coordinate(dimension: Mapping[str, Any], size: int = 0) -> Any:
    labels = dimension.get("labels")
    if isinstance(labels, dict):
        places = labels["first"] + np.arange(size)
        return labels["origin"] + (places + 0.5) * labels["step"]
    if labels is None:
        return None
    if dimension["kind"] == _TEMPORAL:
        try:
            return np.array([_instant(str(label)) for label in labels], "datetime64[ns]")
        except ValueError:  # periods such as 2020-jja
            return np.array(labels)
    return np.array(labels)


def _instant(label: str) -> np.datetime64:
    try:
        time = datetime.fromisoformat(label)
    except ValueError:
        return np.datetime64(label, "ns")  # a year or a month
    if time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(time, "ns")


def _as_block(result: Any, given: Block, name: str) -> Block:
    """Return what came back with its labels; labels of the user's time keep their text."""
    if isinstance(result, contract.XarrayDataCube):
        result = result.get_array()
    if not isinstance(result, xr.DataArray):
        raise Unusable(
            f"`{name}` must return an xarray.DataArray, and it returns {type(result).__name__}."
        )
    known = {str(dimension["name"]): dimension for dimension in given.dimensions}
    dimensions = []
    for dimension in map(str, result.dims):
        before = known.get(dimension, {})
        labels = None
        if before.get("kind") != _SPATIAL and dimension in result.coords:
            labels = _labels(result.coords[dimension].to_numpy(), before)
        kind = before.get("kind", "other")
        dimensions.append({"name": dimension, "kind": kind, "labels": labels})
    return Block(result.to_numpy(), tuple(dimensions))


def _labels(positions: Any, before: Mapping[str, Any]) -> list[Any]:
    if positions.dtype.kind == "M":
        texts: dict[Any, str] = {}
        labels: Sequence[Any] = before.get("labels") or ()
        if before.get("kind") == _TEMPORAL and not isinstance(labels, dict):
            instants = _coordinate(before)
            if instants is not None and instants.dtype.kind == "M":
                texts = dict(zip(instants.tolist(), map(str, labels), strict=True))
        times = positions.astype("datetime64[ns]")
        whole = times.astype("datetime64[s]")
        found = [
            texts.get(time, f"{second}Z")
            for time, second in zip(times.tolist(), whole, strict=True)
        ]
    else:
        found = [_plain(position) for position in positions]
    if len(set(found)) < len(found):
        twice = next(label for number, label in enumerate(found) if label in found[:number])
        raise Unusable(f"The label {twice!r:.100} is there twice; labels must differ.")
    return found


def _plain(label: Any) -> Any:
    value = label.item() if isinstance(label, np.generic) else label
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _MOST:
        return value
    raise Unusable(f"{label!r:.100} is no label: labels are text or finite numbers.")
