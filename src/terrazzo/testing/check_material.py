"""What processes are checked with: rasters of any type that hold strange numbers, and bits."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from typing_extensions import override

from terrazzo.cube import Cube, Pixels, Stack
from terrazzo.errors import TerrazzoError
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.times import contains, parse_time
from terrazzo.processes import PROCESSES
from terrazzo.testing.synthetic import SyntheticSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from terrazzo.processes.load import FileRequest, LoadRequest

DTYPES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
"""Types of values that a process must work with, or refuse before a pixel is read."""
LEFT, TOP = 500_000.0, 5_000_000.0
"""Upper left corner of the raster of a check, metres of EPSG:32633."""
TIMES = ("2020-01-05T10:00:00Z", "2020-02-05T10:00:00Z", "2020-03-02T10:00:00Z")
"""Its dates; the first two are those of the cube in the reference of processes."""
LOAD = {
    "process_id": "load_collection",
    "arguments": {"id": "checked", "spatial_extent": None, "temporal_extent": None},
}
"""The node that loads the raster of a check."""
NODE = "checked"
"""The node that is checked."""
_GEOMETRIES: Mapping[str, Any] = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"name": f"field {number}", "area": number},
            "geometry": {"type": "Point", "coordinates": [LEFT + 40 * number, TOP - 30 * number]},
        }
        for number in (1, 2)
    ],
    "crs": {"type": "name", "properties": {"name": "EPSG:32633"}},
}
GRID = Grid.of(32633, LEFT, TOP, 10.0, 29, 37)
"""Where the raster of a check lies: no edge is a multiple of a block's."""


class ProcessCheckFailed(AssertionError):
    """A process lacks a property that all processes must have."""

    def __init__(self, process: str, rule: str, message: str) -> None:
        super().__init__(f"{process} [{rule}]: {message}")
        self.process = process
        """Id of the process."""
        self.rule = rule
        """Name of the property."""


@contextmanager
def rule(process: str, name: str, doing: str, *, refusable: bool = False) -> Iterator[None]:
    """Say of whatever goes wrong inside which property it breaks; a warning goes wrong, too.

    Args:
        process: id of the process.
        name: the property.
        doing: what is done inside, for the message.
        refusable: whether the process may refuse its arguments here.

    Raises:
        ProcessCheckFailed: something went wrong.
        TerrazzoError: the process refuses its arguments and may do so.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    except ProcessCheckFailed:
        raise
    except AssertionError as error:
        raise ProcessCheckFailed(process, name, f"{doing}: {_shown(error)}") from error
    except TerrazzoError as error:
        if refusable:
            raise
        raise ProcessCheckFailed(
            process, name, f"{doing}: it refuses with {error.code}: {_shown(error)}"
        ) from error
    except Exception as error:
        written = "read-only" in str(error)  # how NumPy says it
        raise ProcessCheckFailed(
            process,
            "read-only" if written else name,
            f"{doing}: it raises {type(error).__name__}: {_shown(error)}",
        ) from error


def _shown(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


def numbers(places: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    """Return numbers of a type, some of them its largest and smallest, NaN, infinite, -0.

    Args:
        places: whole numbers, 0 or more; equal ones give equal numbers.
        dtype: one of `DTYPES`.
    """
    kind = np.dtype(dtype)
    if kind.kind == "b":
        found = places % 2 == 0
        return np.asarray(found)
    if kind.kind in "iu":
        ends = np.iinfo(kind)
        values = (places % 120).astype(kind)
        values[places % 29 == 3] = ends.max  # noqa: PLR2004 - any
        values[places % 31 == 4] = ends.min  # noqa: PLR2004 - any
        return values
    values = (places / 8.0 - 40.0).astype(kind)
    for modulus, special in ((29, np.nan), (31, np.inf), (37, -np.inf), (41, -0.0), (11, 0.0)):
        values[places % modulus == 5] = special  # noqa: PLR2004 - any
    return values


def filling(dtype: str, *, other: bool) -> Any:
    """Return what stands where there is no data: one of two numbers, NaN for floats."""
    kind = np.dtype(dtype)
    if not other:
        return kind.type(0)
    return (
        kind.type(np.nan)
        if kind.kind == "f"
        else kind.type(np.array(77).astype(np.bool_) if kind.kind == "b" else 77)
    )


@dataclass(frozen=True)
class CheckedSource(SyntheticSource):
    """A synthetic collection of `numbers`, in arrays that cannot be written to."""

    other: bool = False
    """Which of two numbers stands where there is no data."""
    empty: bool = False
    """Whether no pixel is valid."""

    @override
    def read(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> Cube:
        whole = replace(self, dtype="int64")
        read = SyntheticSource.read(whole, grid, window, labels, method)
        valid = np.zeros_like(read.valid) if self.empty else np.array(read.valid)
        values = numbers(read.values, self.dtype)
        values[~valid] = filling(self.dtype, other=self.other)
        values.flags.writeable = valid.flags.writeable = False
        return replace(read, values=values, valid=valid)


@dataclass(frozen=True)
class CheckedOpener:
    """Opens one collection, whatever it is called, and files that it is given."""

    dtype: str = "float32"
    """Type of the values."""
    other: bool = False
    """See `CheckedSource`."""
    empty: bool = False
    """See `CheckedSource`."""
    times: tuple[str, ...] = TIMES
    """Labels of dimension `t`."""
    grid: Grid = GRID
    """Where it lies."""

    def open(self, request: LoadRequest) -> CheckedSource:
        """Return the collection cut to the bands and dates of the request."""
        times = tuple(
            time
            for time in self.times
            if request.interval is None or contains(request.interval, parse_time(time))
        )
        return CheckedSource(
            self.grid,
            times,
            tuple(request.bands or ("red", "nir")),
            self.dtype,
            other=self.other,
            empty=self.empty,
        )

    def load(self, request: FileRequest) -> Cube:
        """Return two geometries with the properties that are asked for."""
        load_geojson = PROCESSES["load_geojson"].function
        cube: Cube = load_geojson(data=_GEOMETRIES, properties=list(request.properties))
        return cube


def bits(values: Any) -> Any:
    """Return values as they lie in memory; all NaN are one."""
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return array
    one = np.where(np.isnan(array), array.dtype.type(np.nan), array)
    return one.view(f"u{array.dtype.itemsize}")


def assert_same(found: Any, expected: Any, *, exactly: bool = True) -> None:
    """Fail unless two results are the same: kind, type, labels, validity, and bits where valid.

    Args:
        found: a cube, pixels, a stack or a JSON value.
        expected: what it is to be.
        exactly: whether 0 and -0 differ.

    Raises:
        AssertionError: they differ; says in what.
    """
    if type(found) is not type(expected):
        raise AssertionError(f"{type(found).__name__} is not {type(expected).__name__}")
    if isinstance(expected, (Cube, Pixels, Stack)):
        _assert_same_labels(found, expected)
        _assert_same_arrays(found, expected, exactly=exactly)
    elif isinstance(expected, (list, tuple)):
        if len(found) != len(expected):
            raise AssertionError(f"{len(found)} entries are not {len(expected)}")
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other, exactly=exactly)
    elif repr(found) != repr(expected):
        raise AssertionError(f"{found!r} is not {expected!r}")


def _assert_same_labels(found: Any, expected: Any) -> None:
    for name in ("dimensions", "labels", "exact"):
        one, other = getattr(found, name, None), getattr(expected, name, None)
        if one != other:
            raise AssertionError(f"{name} {one} are not {other}")
    if isinstance(expected, Cube) and expected.geometries is not None:
        held = (cube.geometries for cube in (found, expected))
        one, other = (shapely.to_wkb(list(h.shapes)).tolist() if h else [] for h in held)
        if one != other:
            raise AssertionError("the geometries differ")


def _assert_same_arrays(found: Any, expected: Any, *, exactly: bool) -> None:
    if found.values.dtype != expected.values.dtype:
        raise AssertionError(f"dtype {found.values.dtype} is not {expected.values.dtype}")
    if found.values.shape != expected.values.shape or found.valid.shape != expected.valid.shape:
        raise AssertionError(f"shape {found.values.shape} is not {expected.values.shape}")
    valid = np.asarray(expected.valid)
    different = np.argwhere(np.asarray(found.valid) != valid)
    if len(different):
        place = tuple(different[0].tolist())
        raise AssertionError(
            f"{len(different)} of {valid.size} entries differ in whether they have data, the first "
            f"at {place}: {bool(found.valid[place])}, not {bool(valid[place])}"
        )
    one, other = found.values, expected.values
    if one.dtype == np.object_:
        unequal = np.array([repr(a) != repr(b) for a, b in zip(one.flat, other.flat, strict=True)])
        unequal = unequal.reshape(one.shape)
    elif exactly:
        unequal = bits(one) != bits(other)
    else:
        unequal = (one != other) & ((one == one) | (other == other))  # noqa: PLR0124 - NaN
    different = np.argwhere(unequal & valid)
    if len(different):
        place = tuple(different[0].tolist())
        raise AssertionError(
            f"{len(different)} of {valid.size} values differ, the first at {place}: "
            f"{one[place]!r}, not {other[place]!r}"
        )
