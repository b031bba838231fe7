"""Cubes of own vectors as JSON, and what oracles take them for: NumPy and xarray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Document = dict[str, Any]
CRS = "EPSG:32633"
LEFT, TOP, PIXEL = 500_000.0, 5_000_000.0, 10.0


@dataclass(frozen=True)
class Case:
    """One vector, and who computes what it returns."""

    title: str
    arguments: Document
    oracle: Callable[[Document], Any] | None = None
    """Computes `returns` of the arguments."""
    throws: str = ""
    delta: float | None = None

    def vector(self) -> Document:
        """Return the vector as it stands in a file."""
        found: Document = {"title": self.title, "arguments": self.arguments}
        if self.oracle is not None:
            found["returns"] = self.oracle(self.arguments)
        if self.throws:
            found["throws"] = self.throws
        return found if self.delta is None else {**found, "delta": self.delta}


@dataclass(frozen=True)
class Cases:
    """The vectors of one process."""

    oracle: str
    """How expected values are computed, for people."""
    cases: tuple[Case, ...]


def node(process: str, /, **arguments: Any) -> Document:
    """Return a callback of one node."""
    return graph(result=(process, arguments))


def graph(**nodes: tuple[str, Mapping[str, Any]]) -> Document:
    """Return a callback whose last node is its result."""
    last = list(nodes)[-1]
    return {
        "process_graph": {
            name: {"process_id": process, "arguments": dict(arguments)}
            | ({"result": True} if name == last else {})
            for name, (process, arguments) in nodes.items()
        }
    }


def reducer(process: str, /, **more: Any) -> Document:
    """Return a callback that gives its `data` to one process."""
    return node(process, data=parameter("data"), **more)


def parameter(name: str) -> Document:
    """Return a reference to a parameter of a callback."""
    return {"from_parameter": name}


def call(process: str, /, **arguments: Any) -> Document:
    """Return an argument that is the result of another process."""
    return {"process_id": process, "arguments": arguments}


def time(*labels: str) -> Document:
    """Return a temporal dimension."""
    return {"type": "temporal", "values": list(labels)}


def bands(*labels: str) -> Document:
    """Return a dimension of bands."""
    return {"type": "bands", "values": list(labels)}


def other(*labels: Any) -> Document:
    """Return a dimension of type other."""
    return {"type": "other", "values": list(labels)}


def geometries(*texts: str, crs: str = CRS) -> Document:
    """Return a dimension of geometries, given as WKT."""
    return {"type": "geometry", "values": list(texts), "reference_system": crs}


def space(
    height: int, width: int, pixel: float = PIXEL, left: float = LEFT, top: float = TOP
) -> dict[str, Document]:
    """Return y, from north to south, and x: centres of pixels."""
    ys = [top - pixel * (row + 0.5) for row in range(height)]
    xs = [left + pixel * (col + 0.5) for col in range(width)]
    return space_at(ys, xs)


def space_at(ys: Sequence[float], xs: Sequence[float], crs: str = CRS) -> dict[str, Document]:
    """Return y and x with these centres."""
    return {
        "y": {"type": "spatial", "axis": "y", "values": list(ys), "reference_system": crs},
        "x": {"type": "spatial", "axis": "x", "values": list(xs), "reference_system": crs},
    }


def cube(values: Any, dimensions: Mapping[str, Document], valid: Any = None) -> Document:
    """Return a cube; null where it is not valid."""
    array = np.asarray(values)
    flags = np.ones(array.shape, bool) if valid is None else np.broadcast_to(valid, array.shape)
    return {
        "type": "datacube",
        "order": list(dimensions),
        "dimensions": dict(dimensions),
        "data": np.where(flags, array.astype(object), None).tolist(),
    }


def only_dimensions(dimensions: Mapping[str, Document]) -> Document:
    """Return a cube whose data are not compared."""
    return {
        "type": "datacube",
        "order": list(dimensions),
        "dimensions": dict(dimensions),
        "data": None,
    }


def sample(dimensions: Mapping[str, Document], seed: int = 1, missing: float = 0.2) -> Document:
    """Return a cube of numbers between 0 and 100 with a quarter as their unit, some missing."""
    shape = tuple(len(given["values"]) for given in dimensions.values())
    random = np.random.default_rng(seed)
    values = random.integers(0, 400, shape) / 4
    return cube(values, dimensions, random.random(shape) >= missing)


def arrays(document: Document) -> tuple[Any, Any]:
    """Return values, 0 where there are none, and where they are valid."""
    found = np.array(document["data"], dtype=object)
    valid = np.array([entry is not None for entry in found.ravel()]).reshape(found.shape)
    return np.where(valid, found, 0.0).astype(float), valid


def gappy(document: Document) -> Any:
    """Return values, NaN where there are none."""
    values, valid = arrays(document)
    return np.where(valid, values, np.nan)


def labelled(document: Document) -> xr.DataArray:
    """Return a cube as xarray has it, NaN for no-data, times as datetime64."""
    coordinates = {}
    for name, given in document["dimensions"].items():
        labels = given["values"]
        if given["type"] == "temporal":
            labels = np.array([label.rstrip("Z") for label in labels], "datetime64[ns]")
        coordinates[name] = labels
    return xr.DataArray(gappy(document), coordinates, document["order"])


def with_labels(document: Document, name: str, labels: Sequence[Any]) -> dict[str, Document]:
    """Return the dimensions of a cube, one with other labels."""
    found: dict[str, Document] = dict(document["dimensions"])
    return {**found, name: {**found[name], "values": list(labels)}}


def without(document: Document, *names: str) -> dict[str, Document]:
    """Return the dimensions of a cube but some."""
    return {name: d for name, d in document["dimensions"].items() if name not in names}


def from_gappy(values: Any, dimensions: Mapping[str, Document]) -> Document:
    """Return a cube of numbers, no-data where they are NaN."""
    array = np.asarray(values, float)
    return cube(np.nan_to_num(array), dimensions, ~np.isnan(array))
