"""Swaths in NetCDF and HDF5 files: positions and numbers of pixels that lie on no grid.

Everything is read by rows, so that memory does not grow with the length of an orbit. Variables are
found in all groups of a file; they belong to the positions whose two dimensions they have.
"""

from __future__ import annotations

import math
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import h5netcdf
import h5py
import numpy as np
from scipy.io import netcdf_file
from xarray.coding.times import decode_cf_datetime

from terrazzo.errors import ArgumentInvalid, SourceUnreadable
from terrazzo.geo.swath import unit_vectors
from terrazzo.geo.times import parse_time
from terrazzo.spans import span
from terrazzo.storage.arrays.cf_axes import number_of
from terrazzo.storage.arrays.cf_bands import marks_of, valid_range
from terrazzo.storage.arrays.hdf5_check import refuse_pointers
from terrazzo.storage.arrays.swath_corners import CORNERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path
    from types import EllipsisType

    from numpy.typing import NDArray

    from terrazzo.cube import Values
    from terrazzo.storage.gate import Gate

    Floats = NDArray[np.float64]

Size = tuple[str, int]
"""Name and size of a dimension."""
_CLASSIC = b"CDF"
_NAMES: Final = {
    "lat": ("latitude", ("lat", "latitude", "nav_lat"), "degrees_north", 90.0),
    "lon": ("longitude", ("lon", "longitude", "nav_lon"), "degrees_east", 360.0),
}
_PLANE: Final = 2
_BROKEN: Final = (OSError, ValueError, RuntimeError, KeyError, TypeError, IndexError)


class Positions(Protocol):
    """Where the pixels of a swath are."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of pixels."""

    def corners(self, first: int, stop: int) -> Floats | None:
        """Return (rows, cols, 4, 3) unit vectors of the corners of some rows, if they are told."""

    def read(self, first: int, stop: int) -> tuple[Floats, Floats]:
        """Return longitudes and latitudes of some rows, degrees; NaN where they are not known.

        Raises:
            SourceUnreadable: the file is damaged.
        """


@dataclass(frozen=True, slots=True)
class SwathBand:
    """One variable over a swath, or one position of its further dimension."""

    name: str
    """Name of the variable, with the number of the position behind it."""
    path: str
    """The variable in the file, with its groups."""
    rows: Size
    """Name and size of the dimension along the track."""
    cols: Size
    """Likewise, across the track."""
    index: int
    """Position in the further dimension; 0 if there is none."""
    dtype: str
    """Type of the numbers, NumPy name."""
    marks: tuple[float, ...]
    """Numbers that mean no data: fill value and missing value."""
    valid: tuple[float, float]
    """Least and greatest number that is data."""
    scale: float
    """Physical value = number * scale + offset."""
    offset: float
    """See `scale`."""
    unit: str
    """Unit of the physical value; empty where it is not said."""
    description: str
    """long_name, else standard_name; empty where neither is said."""
    classes: bool
    """Whether the numbers are classes or flags, which must not be mixed."""
    plain: bool
    """Whether it is taken unless others are asked for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the positions of a swath are kept in a file."""

    longitude: str
    latitude: str
    rows: Size
    cols: Size


class _Array:
    """A variable of a file, NetCDF-4 or classic."""

    def __init__(self, path: str, variable: Any) -> None:
        self.path, self._variable = path, variable
        classic = not hasattr(variable, "attrs")
        self.attributes = _attributes(variable._attributes if classic else variable.attrs)  # noqa: SLF001 - SciPy has no public way to list them
        stored = np.dtype(variable.data.dtype if classic else variable.dtype)
        if stored.kind == "i" and text_of(self.attributes, "_Unsigned").lower() == "true":
            stored = np.dtype(f"u{stored.itemsize}")
        self.dtype: np.dtype[Any] = stored.newbyteorder("=")
        shape = tuple(int(size) for size in variable.shape)
        names = [_dimension(str(name)) for name in variable.dimensions]
        self.sizes: tuple[Size, ...] = tuple(zip(names, shape, strict=True))

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def read(self, where: tuple[slice | int | EllipsisType, ...]) -> Values:
        found = np.asarray(self._variable[where])
        return found.astype(found.dtype.newbyteorder("="), copy=False).view(self.dtype)


class SwathFile:
    """An open file; close it, or use it in a `with` statement."""

    def __init__(self, name: str, opened: h5netcdf.File | netcdf_file, closing: ExitStack) -> None:
        self.name, self._closing = name, closing
        classic = isinstance(opened, netcdf_file)
        self.attributes = _attributes(opened._attributes if classic else opened.attrs)  # noqa: SLF001 - SciPy has no public way to list them
        """Global attributes."""
        self._arrays: dict[str, _Array] = {}
        found = list(opened.variables.items()) if classic else list(_walk(opened, ""))
        for path, variable in found:
            with suppress(*_BROKEN):  # types that are no numbers
                self._arrays[path] = _Array(path, variable)

    def places(self) -> list[Place]:
        """Return where positions are kept, one entry per pair of dimensions."""
        best: dict[tuple[Size, Size], tuple[tuple[int, ...], Place]] = {}
        latitudes, longitudes = (self._likely(kind) for kind in ("lat", "lon"))
        for points, latitude, sizes in latitudes:
            for more, longitude, others in longitudes:
                if sizes != others or _group(latitude) != _group(longitude):
                    continue
                rank = (points + more, -latitude.count("/"))
                if sizes not in best or rank > best[sizes][0]:
                    best[sizes] = rank, Place(longitude, latitude, *sizes)
        return [place for _, place in best.values()]

    def _likely(self, kind: str) -> list[tuple[int, str, tuple[Size, Size]]]:
        standard, names, unit, _ = _NAMES[kind]
        found = []
        for path, array in self._arrays.items():
            sizes = _plane(array)
            if sizes is None or array.dtype.kind not in "iuf":
                continue
            stem = array.name.lower()
            points = 3 * (stem in names or stem.rpartition("_")[0] in names)
            points += 2 * (text_of(array.attributes, "standard_name") == standard)
            points += text_of(array.attributes, "units") == unit
            if points:
                found.append((points, path, sizes))
        return found

    def planes(self) -> frozenset[tuple[Size, Size]]:
        """Return the pairs of dimensions that it has variables over."""
        found = (_plane(array) for array in self._arrays.values())
        return frozenset(sizes for sizes in found if sizes is not None)

    def bands(self, place: Place) -> list[SwathBand]:
        """Return what is measured at positions; of each further dimension a band per position.

        A variable without a further dimension is plain if it is in the group of the positions, or,
        where nothing else is there, in any group of the same depth.
        """
        found = [
            (path, array, further)
            for path, array in self._arrays.items()
            if path not in {place.longitude, place.latitude} and array.dtype.kind in "iuf"
            for further in [_further(array, place)]
            if further is not None
        ]
        own = _group(place.latitude)
        beside = {p for p, _, further in found if _group(p) == own and further == 1}
        if not beside:
            beside = {p for p, _, n in found if p.count("/") == own.count("/") + 1 and n == 1}
        return [
            _band(path, array, place, index, further, plain=path in beside)
            for path, array, further in found
            for index in range(further)
        ]

    def positions(self, place: Place) -> Positions:
        """Return the positions that are kept in a place."""
        return _FilePositions(self, place)

    def read(self, band: SwathBand, first: int, stop: int) -> Values:
        """Return (row, col) numbers of some rows as they are stored.

        Raises:
            SourceUnreadable: the file is damaged.
        """
        return self._rows(band.path, (band.rows, band.cols), first, stop, band.index)

    def bounds(self, path: str) -> str:
        """Return the variable of the four corners that a coordinate names; empty for none."""
        told = text_of(self._arrays[path].attributes, "bounds")
        found = told.strip("/") if told.startswith("/") else f"{_group(path)}/{told}".strip("/")
        array = self._arrays.get(found)
        if array is None or array.dtype.kind not in "iuf":
            return ""
        fits = array.sizes[:-1] == self._arrays[path].sizes and array.sizes[-1][1] == CORNERS
        return found if fits else ""

    def decoded(
        self, path: str, sizes: tuple[Size, Size], first: int, stop: int, index: int = 0
    ) -> Floats:
        """Return (row, col) physical values of some rows; NaN where there is no data.

        Raises:
            SourceUnreadable: the file is damaged.
        """
        array = self._arrays[path]
        numbers = self._rows(path, sizes, first, stop, index)
        values = numbers.astype(np.float64)
        for mark in marks_of(array.attributes, array.dtype):
            values[numbers == mark] = np.nan
        scale, offset = _packing(array.attributes)
        found: Floats = values * scale + offset
        return found

    def _rows(
        self, path: str, sizes: tuple[Size, Size], first: int, stop: int, index: int
    ) -> Values:
        array = self._arrays[path]
        where: list[slice | int] = []
        for size in array.sizes:
            if size == sizes[0] and not any(isinstance(one, slice) for one in where):
                where.append(slice(first, stop))
            elif size == sizes[1]:
                where.append(slice(None))
            else:
                where.append(index if size[1] > 1 else 0)
        try:
            with span("decode"):
                return array.read(tuple(where))
        except _BROKEN as error:
            reason = f"damaged ({type(error).__name__})"
            raise SourceUnreadable(self.name, array.name, reason) from None

    def sensed(self) -> tuple[datetime, datetime] | None:
        """Return the first and last instant of the variable of time; None if there is none.

        Raises:
            SourceUnreadable: the file is damaged.
        """
        known = [
            array
            for array in self._arrays.values()
            if " since " in text_of(array.attributes, "units") and array.dtype.kind in "iuf"
        ]
        for array in sorted(known, key=lambda one: ("time" not in one.name.lower(), one.path)):
            try:
                numbers = array.read((Ellipsis,)).ravel()
            except _BROKEN as error:
                reason = f"damaged ({type(error).__name__})"
                raise SourceUnreadable(self.name, array.name, reason) from None
            there = np.isfinite(numbers)
            for mark in marks_of(array.attributes, array.dtype):
                there &= numbers != mark
            ends = numbers[there]
            if not ends.size:
                continue
            units = text_of(array.attributes, "units")
            calendar = text_of(array.attributes, "calendar") or "standard"
            with suppress(ValueError, OverflowError, AttributeError, ArgumentInvalid):
                told = decode_cf_datetime(
                    np.array([ends.min(), ends.max()]), units, calendar, use_cftime=True
                )
                first, last = (parse_time(f"{moment.isoformat()}Z") for moment in told)
                return first, last
        return None

    def close(self) -> None:
        """Close the file."""
        self._arrays.clear()
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_swath(path: Path | str, gate: Gate) -> SwathFile:
    """Open a file that may hold swaths: NetCDF-4, HDF5 or classic NetCDF.

    Raises:
        AssetForbidden: outside the gate's roots, or the file points to other files.
        SourceUnreadable: gone, damaged or another format.
    """
    real = gate.local_path(str(path))
    with ExitStack() as stack:
        try:
            with real.open("rb") as file:
                start = file.read(4)
            with span("open"):
                if start.startswith(_CLASSIC):
                    opened = stack.enter_context(netcdf_file(real, "r", mmap=False))
                else:
                    under = stack.enter_context(h5py.File(real, "r"))
                    refuse_pointers(under, real.name)
                    options = {"phony_dims": "access"}
                    opened = stack.enter_context(h5netcdf.File(under, "r", **options))
                return SwathFile(real.stem, opened, stack.pop_all())
        except _BROKEN as error:
            reason = f"gone, damaged or another format ({type(error).__name__})"
            raise SourceUnreadable(real.stem, "swath", reason) from None


class _FilePositions:
    """Positions that are kept pixel by pixel."""

    def __init__(self, file: SwathFile, place: Place) -> None:
        self._file, self._place = file, place

    @property
    def shape(self) -> tuple[int, int]:
        return self._place.rows[1], self._place.cols[1]

    def read(self, first: int, stop: int) -> tuple[Floats, Floats]:
        place = self._place
        sizes = place.rows, place.cols
        longitudes = self._file.decoded(place.longitude, sizes, first, stop)
        latitudes = self._file.decoded(place.latitude, sizes, first, stop)
        return longitudes, latitudes

    def corners(self, first: int, stop: int) -> Floats | None:
        place = self._place
        paths = [self._file.bounds(path) for path in (place.longitude, place.latitude)]
        if not all(paths):
            return None
        sizes = place.rows, place.cols
        east, north = (
            np.stack(
                [self._file.decoded(path, sizes, first, stop, k) for k in range(CORNERS)], axis=-1
            )
            for path in paths
        )
        return unit_vectors(east, north)


def text_of(attributes: Mapping[str, Any], name: str) -> str:
    """Return an attribute as text; empty where it is none."""
    value = attributes.get(name, "")
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _packing(attributes: Mapping[str, Any]) -> tuple[float, float]:
    """Return scale and offset of physical values; 0.01 in float32 is 0.01."""
    told = [np.asarray(attributes.get(name)).ravel() for name in ("scale_factor", "add_offset")]
    texts = [str(one[0]) if one.dtype == np.float32 and one.size else one for one in told]
    scale, offset = number_of(texts[0], 1.0), number_of(texts[1], 0.0)
    return (scale if math.isfinite(scale) and scale else 1.0), (
        offset if math.isfinite(offset) else 0.0
    )


def _attributes(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes, without those of types that cannot be read."""
    found: dict[str, Any] = {}
    for name in kept:
        with suppress(*_BROKEN):
            found[str(name)] = kept[name]
    return found


def _walk(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield all variables of a group and of those in it."""
    for name, variable in group.variables.items():
        yield f"{path}/{name}" if path else str(name), variable
    for name, inner in group.groups.items():
        yield from _walk(inner, f"{path}/{name}" if path else str(name))


def _dimension(name: str) -> str:
    """Return the name of a dimension; empty for one that has none, which only its size tells."""
    stem = name.rpartition("/")[2]
    return "" if stem.startswith("phony_dim_") else stem


def _group(path: str) -> str:
    return path.rpartition("/")[0]


def _plane(array: _Array) -> tuple[Size, Size] | None:
    """Return the two dimensions of an array, without a first one of one position; None if other."""
    sizes = array.sizes
    if len(sizes) == _PLANE + 1 and sizes[0][1] == 1:
        sizes = sizes[1:]
    return (sizes[0], sizes[1]) if len(sizes) == _PLANE else None


def _further(array: _Array, place: Place) -> int | None:
    """Return the positions in the further dimension of an array, None if it is not over a place."""
    sizes = list(array.sizes)
    if place.rows not in sizes or place.cols not in sizes:
        return None
    if sizes.index(place.rows) > len(sizes) - 1 - sizes[::-1].index(place.cols):
        return None  # columns before rows
    sizes.remove(place.rows)
    sizes.remove(place.cols)
    long = [size for _, size in sizes if size != 1]
    return None if len(long) > 1 else (long[0] if long else 1)


def _band(
    path: str, array: _Array, place: Place, index: int, further: int, *, plain: bool
) -> SwathBand:
    attributes = array.attributes
    scale, offset = _packing(attributes)
    flags = any(key in attributes for key in ("flag_values", "flag_masks", "flag_meanings"))
    unit = text_of(attributes, "units")
    return SwathBand(
        name=array.name if further == 1 else f"{array.name}_{index}",
        path=path,
        rows=place.rows,
        cols=place.cols,
        index=index,
        dtype=array.dtype.name,
        marks=tuple(marks_of(attributes, array.dtype)),
        valid=valid_range(attributes, array.dtype, (scale, offset)),
        scale=scale,
        offset=offset,
        unit="" if unit in {"1", "none", "None"} else unit,
        description=text_of(attributes, "long_name") or text_of(attributes, "standard_name"),
        classes=flags or (array.dtype.kind in "iu" and array.dtype.itemsize == 1),
        plain=plain,
    )
