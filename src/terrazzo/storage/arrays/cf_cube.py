"""CF cubes in groups of variables (NetCDF, HDF5, Zarr): what they hold, and a window of an image.

Variables of a group that share rows and columns make one cube. Bounds, auxiliary coordinates and
variables without rows and columns are no bands.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.errors import ArgumentInvalid, SourceUnreadable, suggest
from terrazzo.spans import span
from terrazzo.storage.arrays.cf_axes import NAMES, coordinate_of, is_axis, place_of
from terrazzo.storage.arrays.cf_bands import MOST_BANDS, bands_of, with_common_names
from terrazzo.storage.arrays.cf_times import moments_of, time_coordinate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr

    from terrazzo.cube import Values
    from terrazzo.geo.grid import Grid, Window
    from terrazzo.storage.arrays.cf_axes import CfGroup, Place
    from terrazzo.storage.arrays.cf_bands import CfBand
    from terrazzo.storage.arrays.types import ArrayBand, Moment

MOST_PIXELS: Final = 2**34
"""Pixels that an image may have; the largest known ones (land cover at 300 m) have 2**33."""
KEPT_BYTES: Final = 2**28
"""Decoded chunks of several dates that a cube keeps."""
_FLAT: Final = 2
_POINTERS: Final = ("bounds", "climatology", "cell_measures", "coordinates", "grid_mapping")


class CfCube:
    """A cube of an open group; implements `ArrayCube`."""

    def __init__(
        self, group: CfGroup, place: Place, variables: Sequence[str], time: tuple[str, str]
    ) -> None:
        """Take a cube's variables.

        Args:
            group: their group.
            place: where their pixels lie.
            variables: their names.
            time: dimension of time and its coordinate variable; empty for none.

        Raises:
            ArgumentInvalid: too many bands, or times that cannot be read.
        """
        self._group, self._place = group, place
        self._dimension, coordinate = time
        self.name = group.path
        self.grid: Grid = place.grid
        self.times: tuple[Moment, ...] = moments_of(group.file, group.data, coordinate)
        self._bands: list[CfBand] = []
        for name in variables:
            further = self._further(name)
            self._bands += bands_of(group.data, name, further, alone=len(variables) == 1)
        if len(self._bands) > MOST_BANDS:
            raise ArgumentInvalid(
                f"{group.file!r} has {len(self._bands):,} bands; {MOST_BANDS} are taken in at most."
            )
        self._bands = with_common_names(self._bands)
        self.bands: tuple[ArrayBand, ...] = tuple(one.band for one in self._bands)
        self._lock = threading.Lock()
        self._kept: dict[tuple[int, str], Values] = {}

    @property
    def is_resampled(self) -> bool:
        """Whether pixels are the nearest ones of a file whose coordinates are not even."""
        return bool(self._place.rows.nearest or self._place.cols.nearest)

    def _further(self, name: str) -> list[str]:
        known = {self._place.y, self._place.x, self._dimension}
        return [str(d) for d in self._group.data.variables[name].dims if d not in known]

    def holds(self, band: str, time_index: int) -> bool:  # noqa: ARG002 - every date has all
        """Tell whether there is an image of a band at a date."""
        return any(one.name == band for one in self.bands)

    def read(self, band: str, time_index: int = 0, window: Window | None = None) -> Values:
        """Return (y, x) numbers of one band and date, north-up, not scaled.

        Raises:
            ArgumentInvalid: no such band or date.
            SourceUnreadable: the file is damaged.
        """
        names = [known.name for known in self.bands]
        if band not in names:
            raise ArgumentInvalid(
                f"{self._group.file!r} has no band {band!r}.{suggest(band, names)} Bands: "
                f"{', '.join(names)}."
            )
        if not 0 <= time_index < max(len(self.times), 1):
            raise ArgumentInvalid(
                f"{self._group.file!r} has {len(self.times)} dates, not {time_index}."
            )
        area = self.grid.window if window is None else window
        rows, row_order = self._place.rows.of(area.row, area.row_stop)
        cols, col_order = self._place.cols.of(area.col, area.col_stop)
        wanted = self._bands[names.index(band)]
        variable = self._group.data.variables[wanted.variable]
        chosen: dict[Any, int | slice] = {self._place.y: rows, self._place.x: cols}
        chosen |= wanted.chosen
        if self._dimension in variable.dims:
            chosen[self._dimension] = time_index
        try:
            with span("decode"):
                found = self._numbers(variable, chosen)
        except Exception as error:  # noqa: BLE001 - codecs raise what they like
            raise SourceUnreadable(
                self._group.file, band, f"damaged ({type(error).__name__})"
            ) from None
        try:
            return np.ascontiguousarray(wanted.cleaned(found[row_order][:, col_order]))
        except ValueError as error:
            raise SourceUnreadable(self._group.file, band, str(error)) from None

    def _numbers(self, variable: xr.Variable, chosen: dict[Any, Any]) -> Values:
        """Return numbers of one date; of chunks that hold several, those are kept for a while.

        Dates are asked for one after the other, so each such chunk would be decoded for each of
        its dates otherwise.
        """
        order = (self._place.y, self._place.x)
        together = int(variable.encoding.get("preferred_chunks", {}).get(self._dimension, 1))
        index = chosen.get(self._dimension, 0)
        first = index // together * together
        slab = chosen | {self._dimension: slice(first, first + together)}
        rows, cols = (chosen[axis].stop - chosen[axis].start for axis in order)
        size_bytes = together * rows * cols * variable.dtype.itemsize
        fits = size_bytes * len(self._bands) <= KEPT_BYTES
        if together == 1 or self._dimension not in chosen or not fits:
            plain: Values = variable.isel(chosen).transpose(*order).to_numpy()
            return plain
        key = (id(variable), repr(sorted(slab.items(), key=str)))
        with self._lock:
            if key not in self._kept:
                while self._kept and (len(self._kept) + 1) * size_bytes > KEPT_BYTES:
                    self._kept.pop(next(iter(self._kept)))
                whole = variable.isel(slab).transpose(self._dimension, *order).to_numpy()
                self._kept[key] = whole
            planes = self._kept[key]
        one: Values = planes[index - first]
        return one


def cubes_of(group: CfGroup) -> tuple[list[CfCube], dict[str, ArgumentInvalid]]:
    """Return the cubes of a group, and of variables with rows and columns that are in none, why.

    Raises:
        ArgumentInvalid: times cannot be read, or there are too many bands or pixels.
    """
    problems: dict[str, ArgumentInvalid] = {}
    places: dict[tuple[Any, ...], Place] = {}
    shared: dict[tuple[str, str, str, Grid, int], list[str]] = defaultdict(list)
    beside = _beside(group.data)
    for name in map(str, group.data.data_vars):
        variable = group.data.variables[name]
        dimensions = tuple(map(str, variable.dims))
        if name in beside or len(dimensions) < _FLAT or variable.dtype.kind not in "iufb":
            continue
        if any(is_axis(name, variable, axis) for axis in "YX"):
            continue
        key = (dimensions, repr(variable.attrs.get("grid_mapping")))
        try:
            place = places.get(key) or place_of(group, dimensions, variable.attrs)
        except ArgumentInvalid as error:
            problems[name] = error
            continue
        places[key] = place
        try:
            time, coordinate = _time_of(group, dimensions, place)
        except ArgumentInvalid as error:
            problems[name] = error
            continue
        count = int(group.data.sizes[time]) if time else 0
        shared[place.y, place.x, time and coordinate, place.grid, count].append(name)
    _check_sizes(group, places)
    _join_dateless(shared)
    alone = time_coordinate(group.data)
    found = []
    for (y, x, coordinate, grid, _), names in shared.items():
        place = next(p for p in places.values() if (p.y, p.x, p.grid) == (y, x, grid))
        dimension = str(group.data.variables[coordinate].dims[0]) if coordinate else ""
        found.append(CfCube(group, place, names, (dimension, coordinate or alone)))
    return found, problems


def _join_dateless(shared: dict[tuple[str, str, str, Grid, int], list[str]]) -> None:
    """Let variables without time be bands of a cube with dates on the same grid, at each date."""
    for key in [key for key in shared if not key[2]]:
        y, x, _, grid, _ = key
        dated = [k for k in shared if k[2] and (k[0], k[1], k[3]) == (y, x, grid)]
        if dated:
            shared[dated[0]] += shared.pop(key)


def has_swath(data: xr.Dataset) -> bool:
    """Tell whether a group has latitudes and longitudes over two dimensions, pixel by pixel."""
    return all(
        any(len(v.dims) >= _FLAT and is_axis(str(n), v, axis) for n, v in data.variables.items())
        for axis in "YX"
    )


def _time_of(group: CfGroup, dimensions: Sequence[str], place: Place) -> tuple[str, str]:
    """Return the dimension of time and its coordinate variable; empty where there is none.

    Raises:
        ArgumentInvalid: there are several dates, and nothing says which.
    """
    for dimension in dimensions:
        if dimension in {place.y, place.x}:
            continue
        coordinate = coordinate_of(group.data, dimension, "T")
        if coordinate:
            return dimension, coordinate
        count = int(group.data.sizes[dimension])
        if dimension.lower() in NAMES["T"] and count > 1:
            raise ArgumentInvalid(
                f"{group.file!r} has {count} positions of {dimension!r} and no dates of them. "
                "Add a coordinate variable of this name, in units like 'days since 2015-08-01'."
            )
    return "", ""


def _beside(data: xr.Dataset) -> set[str]:
    """Return the variables that belong to others: bounds, coordinates, grid mappings."""
    found: set[str] = set()
    for variable in data.variables.values():
        for key in _POINTERS:
            found |= set(str(variable.attrs.get(key, "")).replace(":", " ").split())
    return found


def _check_sizes(group: CfGroup, places: Mapping[Any, Place]) -> None:
    """Refuse images that no disk would hold.

    Raises:
        ArgumentInvalid: says how many pixels.
    """
    for place in places.values():
        pixels = place.grid.height * place.grid.width
        if pixels > MOST_PIXELS:
            raise ArgumentInvalid(
                f"{group.file!r} declares images of {place.grid.height:,} x "
                f"{place.grid.width:,} pixels; {MOST_PIXELS:,} are taken in at most."
            )
