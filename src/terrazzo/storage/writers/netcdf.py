"""NetCDF (CF-1.8): one variable per band, the cube's other dimensions, written block by block."""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h5netcdf
import numpy as np
from typing_extensions import override

from terrazzo import __version__
from terrazzo.cube import Kind
from terrazzo.errors import ArgumentInvalid, FormatUnsupported
from terrazzo.geo.crs import crs_object, is_geographic
from terrazzo.geo.times import parse_time
from terrazzo.spans import span
from terrazzo.storage.writers.files import cubes, stored, stored_dtype, stored_nodata, whole_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.cube import Cube, Dimension, Label, Mask, Values
    from terrazzo.geo.grid import Grid, Window
    from terrazzo.storage.writers.files import Blocks

EPOCH = "1970-01-01T00:00:00Z"
GRID_MAPPING = "spatial_ref"
_CHUNK = 512
_NO_NAME = re.compile(r"[\x00-\x1f\x7f/]")


def write_netcdf(
    path: Path,
    blocks: Blocks,
    grid: Grid,
    *,
    probe: Cube,
    window: Window | None = None,
    nodata: float | None = None,
    metadata: Mapping[str, str] | None = None,
    level: int = 4,
) -> Path:
    """Write a raster cube as one NetCDF-4 file; returns its path.

    Args:
        path: where to; replaced if there.
        blocks: cubes in any order, not overlapping, or a function of a window.
        grid: the lattice of all blocks.
        probe: a cube of the same dimensions, labels and type; its pixels don't matter.
        window: the pixels of `grid` that make the file; None = all.
        nodata: `_FillValue`; None = NaN for floats, 255 for booleans, none for integers.
        metadata: global attributes, for example provenance.
        level: of deflate, 0 to 9.

    Raises:
        FormatUnsupported: no raster, or no-data cannot be written.
        OutputFailed: disk full or folder not writable; nothing is left behind.
    """
    area = grid.window if window is None else window
    probe = raster_probe(probe, "NetCDF files")
    with whole_file(path) as part, open_sink(part) as sink, h5netcdf.File(sink, "w") as file:
        file.attrs.update(
            {"Conventions": "CF-1.8", "source": f"terrazzo {__version__}", **(metadata or {})}
        )
        outer = [d for d in probe.dimensions if d.kind not in {Kind.SPATIAL, Kind.BANDS}]
        for dimension in outer:
            write_labels(file, dimension)
        y, x = (dimension.name for dimension in probe.dimensions[-2:])
        _write_space(file, grid, area, (y, x))
        names = variable_names(probe)
        renamed = renamed_bands(probe, names)
        mark = stored_nodata(probe.dtype, nodata)
        kind = stored_dtype(probe.dtype)
        sizes = [len(dimension.labels) for dimension in outer]
        chunks = (*([1] * len(outer)), min(_CHUNK, area.height), min(_CHUNK, area.width))
        for name in names:
            variable = file.create_variable(
                name,
                (*(d.name for d in outer), y, x),
                kind,
                fillvalue=None if mark is None else kind.type(mark),
                chunks=chunks if all((*sizes, area.height, area.width)) else None,
                compression="gzip",
                compression_opts=level,
                shuffle=True,
            )
            variable.attrs["grid_mapping"] = GRID_MAPPING
            if name in renamed:
                variable.attrs["long_name"] = renamed[name]
            if probe.dtype.kind == "b":
                variable.attrs["flag_values"] = np.array([0, 1], np.uint8)
                variable.attrs["flag_meanings"] = "false true"
        for cube in cubes(blocks, area):
            with span("encode"):
                _write_block(file, cube, area, names, nodata)
            sink.check()
    return path


class _Sink(io.RawIOBase):
    """A file for HDF5 that remembers a failed write instead of failing: HDF5 crashes on those."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._problem: OSError | None = None

    def check(self) -> None:
        """Raise what went wrong so far."""
        if self._problem is not None:
            raise self._problem

    @override
    def write(self, data: Any) -> int:
        left = memoryview(data)
        try:
            with span("write"):
                while left:
                    left = left[self._file.write(left) :]
        except OSError as error:
            self._problem = self._problem or error
        return len(data)

    @override
    def readinto(self, buffer: Any) -> int:
        found = self._file.readinto(buffer)
        buffer[found:] = bytes(len(buffer) - found)
        return len(buffer)

    @override
    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    @override
    def tell(self) -> int:
        return self._file.tell()

    @override
    def truncate(self, size: int | None = None) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._problem = self._problem or error
            return size or 0

    @override
    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def open_sink(path: Path) -> Iterator[_Sink]:
    """Open a sink for a file of HDF5; after the file in it was closed, raise what went wrong."""
    sink = _Sink(path)
    try:
        yield sink
        sink.check()
    finally:
        sink.close()


def with_free_names(cube: Cube, taken: Collection[str]) -> Cube:
    """Return the cube with names of dimensions that HDF5 takes and that nothing else has."""
    names: list[str] = []
    for dimension in cube.dimensions:
        name = variable_name(dimension.name, "dimension")
        while name in taken or name in names:
            name += "_"
        names.append(name)
    pairs = zip(cube.dimensions, names, strict=True)
    return replace(cube, dimensions=tuple(replace(one, name=name) for one, name in pairs))


def raster_probe(probe: Cube, files: str) -> Cube:
    """Return a raster with names of dimensions that a file takes.

    Args:
        probe: the raster.
        files: what is written, for the message.

    Raises:
        FormatUnsupported: it is no raster, or y and x are not its last dimensions.
    """
    kinds = [dimension.kind for dimension in probe.dimensions]
    if kinds.count(Kind.SPATIAL) != 2 or kinds[-2:] != [Kind.SPATIAL] * 2:  # noqa: PLR2004 - y, x
        raise FormatUnsupported(f"{files} hold rasters whose last dimensions are y and x.")
    return with_free_names(probe, {GRID_MAPPING})


def variable_names(probe: Cube) -> tuple[str, ...]:
    """Return one variable name per band; a cube without bands is the variable `var`.

    openEO's clients and its test suite know a file of one variable by that name for a cube
    without bands; any other name is that of a band.
    """
    if not probe.has(Kind.BANDS):
        return ("var",)
    taken = {dimension.name for dimension in probe.dimensions} | {GRID_MAPPING}
    names: list[str] = []
    for label in probe.only(Kind.BANDS).labels:
        name = variable_name(str(label), "band")
        while name in taken:
            name += "_band"
        names.append(name)
        taken.add(name)
    return tuple(names)


def renamed_bands(probe: Cube, names: Sequence[str]) -> dict[str, str]:
    """Return the label of each variable that could not be called after its band."""
    labels = probe.only(Kind.BANDS).labels if probe.has(Kind.BANDS) else ()
    pairs = zip(names, map(str, labels), strict=bool(labels))
    return {name: label for name, label in pairs if name != label}


def variable_name(text: str, otherwise: str) -> str:
    """Return a text as HDF5 takes the name of a variable: without slashes and control characters.

    Args:
        text: what it is to be called.
        otherwise: what it is called if nothing is left.
    """
    name = _NO_NAME.sub("_", text).strip()
    return f"_{name}" if name.startswith(".") else name or otherwise


def texts_of(values: Sequence[str]) -> NDArray[np.object_]:
    """Return texts as HDF5 takes them.

    Raises:
        FormatUnsupported: one has a character 0 in it, which NetCDF ends texts with.
    """
    texts = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        if "\0" in value:
            raise FormatUnsupported(
                f"A text of a NetCDF file holds no character 0, and {value!r:.60} does. Save as "
                "GeoJSON, JSON or Parquet."
            )
        texts[place] = value
    return texts


def _write_block(
    file: Any, cube: Cube, area: Window, names: Sequence[str], nodata: float | None
) -> None:
    if cube.window is None:
        raise FormatUnsupported("NetCDF files hold rasters only.")
    inside = cube.window.intersection(area)
    if inside.is_empty:
        return
    where = area.slices(inside)
    values, valid = band_planes(cube, inside)
    for name, band, mask in zip(names, values, valid, strict=True):
        variable = file.variables[name]
        outer = (slice(None),) * (band.ndim - 2)
        variable[(*outer, *where)] = stored(band, mask, cube.dtype, nodata)


def band_planes(cube: Cube, inside: Window) -> tuple[Values, Mask]:
    """Return the values and the mask of a part of a raster cube, its bands (or one) first."""
    if cube.window is None:
        raise FormatUnsupported("Only rasters have planes.")
    cut = (..., *cube.window.slices(inside))
    values, valid = cube.values[cut], cube.valid[cut]
    if not cube.has(Kind.BANDS):
        return values[np.newaxis], valid[np.newaxis]
    axis = cube.axis(cube.only(Kind.BANDS).name)
    return np.moveaxis(values, axis, 0), np.moveaxis(valid, axis, 0)


def label_values(dimension: Dimension) -> tuple[NDArray[Any], dict[str, str]]:
    """Return labels and their CF attributes: times as numbers, others as they are."""
    if dimension.kind is Kind.TEMPORAL:
        return _times(dimension.labels)
    attributes = {"long_name": dimension.name}
    if all(isinstance(label, int | float) and fits_int64(label) for label in dimension.labels):
        return np.array(dimension.labels), attributes
    return texts_of([str(label) for label in dimension.labels]), attributes


def write_labels(file: Any, dimension: Dimension) -> None:
    """Write a dimension and its labels."""
    file.dimensions[dimension.name] = len(dimension.labels)
    values, attributes = label_values(dimension)
    if values.dtype == object:
        import h5py  # noqa: PLC0415 - only for text labels

        variable = file.create_variable(
            dimension.name, (dimension.name,), h5py.string_dtype(), data=values
        )
    else:
        variable = file.create_variable(dimension.name, (dimension.name,), data=values)
    variable.attrs.update(attributes)


def fits_int64(value: Any) -> bool:
    """Tell whether a value is no integer that is too long for NetCDF."""
    return not isinstance(value, int) or abs(value) < 2**63


def _times(labels: Sequence[Label]) -> tuple[NDArray[Any], dict[str, str]]:
    """Return whole seconds (or microseconds) since 1970; labels that are no times stay text."""
    try:
        instants = [parse_time(str(label)) for label in labels]
    except ArgumentInvalid:
        return texts_of([str(label) for label in labels]), {"long_name": "time"}
    epoch = parse_time(EPOCH)
    gaps = [instant - epoch for instant in instants]
    micro = np.array(
        [(g.days * 86_400 + g.seconds) * 1_000_000 + g.microseconds for g in gaps], np.int64
    )
    exact = not (micro % 1_000_000).any()
    unit = "seconds" if exact else "microseconds"
    return micro // 1_000_000 if exact else micro, {
        "standard_name": "time",
        "units": f"{unit} since 1970-01-01 00:00:00",
        "calendar": "proleptic_gregorian",
        "axis": "T",
    }


def _write_space(file: Any, grid: Grid, area: Window, names: tuple[str, str]) -> None:
    file.dimensions[names[0]] = area.height
    file.dimensions[names[1]] = area.width
    for name, values, axis in (
        (names[0], grid.ys(area), "Y"),
        (names[1], grid.xs(area), "X"),
    ):
        variable = file.create_variable(name, (name,), data=values)
        variable.attrs.update(space_attributes(grid.crs, axis))
    mapping = write_crs(file, grid.crs)
    left, _, _, top = grid.bounds_of(area)
    mapping.attrs["GeoTransform"] = f"{left!r} {grid.pixel_x!r} 0 {top!r} 0 {-grid.pixel_y!r}"


def space_attributes(crs: str, axis: str) -> dict[str, str]:
    """Return the CF attributes of the coordinates along `X` or `Y`."""
    names = {"Y": ("latitude", "degrees_north"), "X": ("longitude", "degrees_east")}
    if is_geographic(crs):
        return {"axis": axis, "standard_name": names[axis][0], "units": names[axis][1]}
    name = f"projection_{axis.lower()}_coordinate"
    return {"axis": axis, "standard_name": name, "units": "m"}


def crs_attributes(crs: str) -> dict[str, Any]:
    """Return the CF attributes of the variable that says what coordinates mean."""
    told = crs_object(crs)
    wkt = told.to_wkt()
    known = {k: v for k, v in told.to_cf().items() if v is not None}
    return {**known, "crs_wkt": wkt, "spatial_ref": wkt}


def write_crs(file: Any, crs: str) -> Any:
    """Write the variable that says what coordinates mean, and return it."""
    mapping = file.create_variable(GRID_MAPPING, (), data=np.int32(0))
    mapping.attrs.update(crs_attributes(crs))
    return mapping
