"""Arrays of xarray as sources of a graph: read block by block, where they are."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, NoReturn
from weakref import WeakValueDictionary

import numpy as np
from typing_extensions import override

from terrazzo.cube import Cube, Dimension, Kind, ReadCost, empty_cube
from terrazzo.cube.warp import source_window, warp
from terrazzo.drivers.xarrays import TIME, laid_out
from terrazzo.errors import ArgumentInvalid, BandNotFound, NoDataAvailable
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.pixelmap import PixelMap
from terrazzo.geo.scale import scale_between
from terrazzo.geo.times import contains, format_time, instant, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from terrazzo.cube import Source
    from terrazzo.drivers.job import Job
    from terrazzo.engine.bound import Known
    from terrazzo.engine.sources import CatalogOpener
    from terrazzo.processes.load import FileRequest, LoadRequest
    from terrazzo.sandbox import UdfRules

UNEVEN: Final = 1e-3
"""Of a pixel: how far coordinates may be from even ones."""
_NO_PIXELS: Final = Window(0, 0, 0, 0)
_AFFINE: Final = 6
_NAME: Final = re.compile(r"xarray-[0-9a-f]{16}")


class ArrayNode(dict[str, Any]):
    """A node of a process graph that loads an array of this process; as long as it is kept."""

    def __init__(self, source: ArraySource) -> None:
        """Make the node of a source."""
        extents = {"spatial_extent": None, "temporal_extent": None}
        super().__init__(process_id="load_collection", arguments={"id": source.name, **extents})
        self.source = source


def from_xarray(data: xr.DataArray | xr.Dataset, crs: str = "") -> ArrayNode:
    """Return a node that loads an array into a process graph, for `to_xarray`.

    Nothing is computed or copied: a block reads its pixels when it is computed, of an array of
    Dask only what they need. Do not change the array meanwhile.

    Args:
        data: dimensions x and y with evenly spaced coordinates of pixel centres, of any direction;
            dates, if any, as datetime64; bands in a dimension, or as variables of a dataset. NaN,
            and in whole numbers `_FillValue`, is no-data.
        crs: of its coordinates, where the array does not say (`spatial_ref` of CF and rioxarray,
            an attribute `crs`; dimensions called lon and lat are WGS 84).

    Returns:
        A mapping that stands in a graph as any node does. Dimensions are called t, bands, y and
        x; t and bands are there if the array has them.

    Raises:
        ArgumentInvalid: it has no CRS, no x or y, uneven coordinates, a further dimension, or
            values that are no numbers.
    """
    return ArrayNode(_source(data, crs))


def arrays_of(job: Job) -> dict[str, ArraySource]:
    """Return the arrays that a job's graph loads, by the name that they have in it.

    Raises:
        ArgumentInvalid: nobody keeps one of them.
    """
    found = {}
    for name in dict.fromkeys(_NAME.findall(job.document)):
        source = _HELD.get(name)
        if source is None:
            raise ArgumentInvalid(
                "The graph loads an array that nobody keeps, or of another process. Put what "
                "`from_xarray` gives into the graph as it is, and not a copy of it or JSON text."
            )
        found[name] = source
    return found


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ArraySource:
    """An array of xarray that the engine reads as it reads a collection."""

    name: str
    """In graphs."""
    data: xr.Dataset = field(repr=False)
    """A variable per band, of (t, y, x) or (y, x), rows and columns as the array has them."""
    probe: Cube
    """All labels and no pixels."""
    flips: tuple[bool, bool]
    """Whether rows run upwards, and columns to the west."""
    nodata: tuple[float | None, ...]
    """By band: the whole number that is no-data."""
    exact: bool = False
    """Whether every pixel is projected."""

    @property
    def grid(self) -> Grid:
        """The lattice of its pixels."""
        if self.probe.grid is None:
            raise TypeError("An array lies somewhere.")
        return self.probe.grid

    @property
    def extent(self) -> Window:
        """All of its pixels."""
        return self.grid.window

    @property
    def items(self) -> tuple[str, ...]:
        """Its name: it is one."""
        return (self.name,)

    def items_of(self, labels: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
        """Its name."""
        del labels
        return self.items

    def version(self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]]) -> str:
        """Its name, which no other array ever has."""
        del grid, window, labels
        return self.name

    @property
    def bad_items(self) -> tuple[str, ...]:
        """None."""
        return ()

    def coordinates(self, name: str, window: Window) -> NDArray[Any]:
        """Return x or y of the pixels of a window, as the array itself has them."""
        values: NDArray[Any] = self.data[name].to_numpy()
        if name == "x":
            return values[:: -1 if self.flips[1] else 1][window.col : window.col_stop]
        return values[:: -1 if self.flips[0] else 1][window.row : window.row_stop]

    def exactly(self) -> ArraySource:
        """Return the same array with every pixel projected."""
        return replace(self, exact=True)

    def chosen(self, request: LoadRequest) -> ArraySource:
        """Return the bands and dates that a request asks for.

        Raises:
            BandNotFound: lists the bands that there are.
            NoDataAvailable: there is no such date.
            ArgumentInvalid: conditions on properties, which an array has not.
        """
        if request.properties:
            raise ArgumentInvalid("An array has no items, so there are no properties to ask for.")
        made, cube = self, self.probe
        if request.bands is not None:
            known = [str(label) for label in cube.only(Kind.BANDS).labels]
            for band in request.bands:
                if band not in known:
                    raise BandNotFound(band, known)
            order = [known.index(band) for band in dict.fromkeys(request.bands)]
            names = list(self.data.data_vars)
            made = replace(
                made,
                data=self.data[[names[one] for one in order]],
                probe=cube.take("bands", order),
                nodata=tuple(self.nodata[one] for one in order),
            )
        if request.interval is not None and cube.has(Kind.TEMPORAL):
            labels = cube.only(Kind.TEMPORAL).labels
            kept = [
                number
                for number, label in enumerate(labels)
                if contains(request.interval, parse_time(str(label)))
            ]
            if not kept:
                raise NoDataAvailable(
                    f"The array has no date in that period; it has {labels[0]} to {labels[-1]}."
                )
            made = replace(made, data=made.data.isel({TIME: kept}),
                           probe=made.probe.take(TIME, kept))  # fmt: skip
        return made

    def read(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> Cube:
        """Return a window of any grid."""
        pixels = PixelMap.between(grid, window, self.grid, exact=self.exact)
        scale = scale_between(grid, self.grid)
        part = source_window(pixels, method, scale, self.extent)
        probe = self.probe
        for name, positions in labels.items():
            probe = probe.take(name, positions)
        values, valid = self._pixels(part, labels, probe)
        values, valid = warp(values, valid, part, pixels, method, scale)
        return Cube(values, valid, probe.dimensions, grid, window)

    def _pixels(
        self, part: Window, labels: Mapping[str, tuple[int, ...]], probe: Cube
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return values and validity of a window of its own grid."""
        shape = (*(len(d.labels) for d in probe.dimensions[:-2]), part.height, part.width)
        values, valid = np.zeros(shape, probe.dtype), np.zeros(shape, np.bool_)
        if not values.size:
            return values, valid
        places: dict[str, Any] = {
            "y": _span(part.row, part.height, self.grid.height, self.flips[0]),
            "x": _span(part.col, part.width, self.grid.width, self.flips[1]),
        }
        if TIME in labels:
            places[TIME] = list(labels[TIME])
        back: Any = (..., *(slice(None, None, -1 if flip else 1) for flip in self.flips))
        names = list(self.data.data_vars)
        bands = labels.get("bands", range(len(names)))
        for number, band in enumerate(bands):
            variable = self.data[names[band]]
            cut = variable.isel({k: v for k, v in places.items() if k in variable.dims})
            # Blocks are computed side by side already: Dask has no threads of its own for each.
            found = np.asarray(cut.compute(scheduler="synchronous").data)[back]
            there = ~np.isnan(found) if found.dtype.kind == "f" else np.ones(found.shape, np.bool_)
            if self.nodata[band] is not None:
                there &= found != self.nodata[band]
            at = (..., number, slice(None), slice(None)) if probe.has(Kind.BANDS) else ...
            values[at], valid[at] = found, there
        return values, valid

    def cost(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> ReadCost:
        """Say how many pixels are looked at; no file is opened here."""
        pixels = PixelMap.between(grid, window, self.grid)
        part = source_window(pixels, method, scale_between(grid, self.grid), self.extent)
        count = part.pixels
        for dimension in self.probe.dimensions[:-2]:
            count *= len(labels.get(dimension.name, dimension.labels))
        return ReadCost(0, count, count * self.probe.dtype.itemsize)

    @override
    def __reduce__(self) -> NoReturn:
        """Refuse to be sent elsewhere."""
        raise ArgumentInvalid(
            "An array that `from_xarray` took is in this process, and other processes cannot read "
            "it: compute with threads (`array.compute(scheduler='threads')`), or write it into a "
            "file and ingest that (`terrazzo ingest`)."
        )


_HELD: WeakValueDictionary[str, ArraySource] = WeakValueDictionary()
"""Arrays by name, as long as somebody keeps their node, or a result that needs them."""


@dataclass(frozen=True, slots=True)
class WithArrays:
    """Opens arrays by name, and everything else as a workspace does."""

    arrays: Mapping[str, ArraySource]
    others: CatalogOpener

    def open(self, request: LoadRequest) -> Source | Known:
        """Return an array, or what is in the catalogue.

        Raises:
            BandNotFound, NoDataAvailable, ArgumentInvalid: see `ArraySource.chosen`.
        """
        held = self.arrays.get(request.collection or "")
        return self.others.open(request) if held is None else held.chosen(request)

    def load(self, request: FileRequest) -> Cube:
        """Load a file of geometries."""
        return self.others.load(request)

    @property
    def udf(self) -> UdfRules:
        """How code of users is run."""
        return self.others.udf

    @property
    def owner(self) -> str:
        """Whose code it is."""
        return self.others.owner


def _source(data: xr.DataArray | xr.Dataset, crs: str) -> ArraySource:
    laid = laid_out(data, crs)
    variables = laid.data.data_vars
    for key, one in variables.items():
        if one.dtype.kind not in "biuf":
            raise ArgumentInvalid(f"Values of {key!r} are {one.dtype}; a graph takes numbers.")
    stated = _transform(data)
    cols, left, pixel_x = _line(laid.data["x"].to_numpy(), "x", 1, stated[:2])
    rows, top, pixel_y = _line(laid.data["y"].to_numpy(), "y", -1, stated[2:])
    height, width = laid.data.sizes["y"], laid.data.sizes["x"]
    grid = Grid.of(laid.crs, left, top, (pixel_x, pixel_y), height, width)
    dimensions = [Dimension("y", Kind.SPATIAL), Dimension("x", Kind.SPATIAL)]
    if laid.banded:
        dimensions.insert(0, Dimension("bands", Kind.BANDS, tuple(map(str, variables))))
    if TIME in laid.data.dims:
        dates = tuple(_dates(laid.data[TIME].to_numpy()))
        dimensions.insert(0, Dimension(TIME, Kind.TEMPORAL, dates))
    dtype = np.result_type(*(one.dtype for one in variables.values()))
    probe = empty_cube(dimensions, dtype, grid, _NO_PIXELS)
    nodata = tuple(_nodata(one) for one in variables.values())
    name = f"xarray-{uuid.uuid4().hex[:16]}"
    source = ArraySource(name, laid.data, probe, (rows, cols), nodata)
    _HELD[name] = source
    return source


def _dates(values: NDArray[Any]) -> Iterator[str]:
    """Yield dates as a graph has them.

    Raises:
        ArgumentInvalid: one is missing, or two are equal.
    """
    microseconds = values.astype("datetime64[us]")
    if np.isnat(microseconds).any() or len(set(microseconds.tolist())) < values.size:
        raise ArgumentInvalid(
            "The array has dates that are missing (NaT), or equal. Select one of each."
        )
    for one in microseconds.astype(np.int64).tolist():
        yield format_time(instant(one).astimezone(UTC))


def _nodata(variable: xr.DataArray) -> float | None:
    """Return the number that is no-data, of whole numbers as they are in a file or array."""
    if variable.dtype.kind not in "iu":
        return None
    stated = variable.encoding.get("_FillValue", variable.attrs.get("_FillValue"))
    return None if stated is None else float(stated)


def _transform(data: xr.DataArray | xr.Dataset) -> tuple[float, ...]:
    """Return left edge, pixel width, top edge and pixel height as GDAL states them; or nothing."""
    for key in data.coords:
        told = str(data[key].attrs.get("GeoTransform", "")).split()
        if len(told) == _AFFINE:
            left, pixel_x, _, top, _, pixel_y = map(float, told)
            return left, pixel_x, top, -pixel_y
    return ()


def _line(
    values: NDArray[Any], name: str, sign: int, stated: Sequence[float]
) -> tuple[bool, float, float]:
    """Return whether coordinates run against the grid, the grid's edge, and the size of a pixel.

    Args:
        values: of pixel centres.
        name: of the axis.
        sign: 1 if the grid's coordinates grow along the axis, else -1.
        stated: edge and size, where the array says.

    Raises:
        ArgumentInvalid: they are not evenly spaced.
    """
    flipped = bool((values[-1] > values[0]) != (sign > 0))
    ordered = (values[::-1] if flipped else values).astype(np.float64)
    places = np.arange(ordered.size) + 0.5
    size = abs(float(ordered[-1] - ordered[0])) / (ordered.size - 1)
    even = ordered[0] + sign * (places - 0.5) * size
    if not np.isfinite(ordered).all() or size == 0 or np.abs(ordered - even).max() > UNEVEN * size:
        steps = np.abs(np.diff(ordered))
        raise ArgumentInvalid(
            f"The coordinates {name!r} are not evenly spaced: steps of {steps.min():.10g} to "
            f"{steps.max():.10g}. Interpolate them to even ones, e.g. array.interp({name}=...)."
        )
    if stated and stated[1] > 0:
        told = stated[0] + sign * places * stated[1]
        if np.abs(ordered - told).max() <= UNEVEN * size:
            return flipped, stated[0], stated[1]
    return flipped, float(ordered[0]) - sign * size / 2, size


def _span(start: int, count: int, size: int, flipped: bool) -> slice:
    """Return what to take of an axis that may run against the grid."""
    return slice(size - start - count, size - start) if flipped else slice(start, start + count)
