"""Zarr 3 (CF-1.8, several scales): one array per band, in one zip file, written block by block.

The root group has the conventions `multiscales`, `proj:` and `spatial:` of zarr-conventions.org;
its groups `0`, `1`, ... hold the same variables at pixels of 1, 2, 4, ... times the size. Arrays
are filled in a folder beside the target and packed without further compression, so that a reader
fetches single chunks out of the zip.
"""

from __future__ import annotations

import base64
import shutil
import struct
import time
import warnings
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import zarr
from typing_extensions import override
from zarr.codecs import BloscCodec

from terrazzo import __version__
from terrazzo.cube import Kind
from terrazzo.errors import FormatUnsupported
from terrazzo.geo.crs import crs_object
from terrazzo.spans import span
from terrazzo.storage.writers.files import cubes, stored, stored_dtype, stored_nodata, whole_file
from terrazzo.storage.writers.netcdf import (
    GRID_MAPPING,
    band_planes,
    crs_attributes,
    label_values,
    raster_probe,
    renamed_bands,
    space_attributes,
    variable_names,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from zarr.core.buffer import Buffer

    from terrazzo.cube import Cube, Dimension, Values
    from terrazzo.geo.grid import Grid, Window
    from terrazzo.storage.writers.files import Blocks

CHUNK: Final = 512
_AT_ONCE: Final = 4 * CHUNK
_TRIES: Final = 100
_PAUSE_S: Final = 0.02
_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
_CONVENTIONS: Final = (
    ("multiscales", "multiscales", "d35379db-88df-4056-af3a-620245f8e347"),
    ("proj:", "geo-proj", "f17cb550-5864-4468-aeb7-f3180cfb622f"),
    ("spatial:", "spatial", "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4"),
)
_FIXED_CODE: Final = "EPSG:"


def write_zarr(
    path: Path,
    blocks: Blocks,
    grid: Grid,
    *,
    probe: Cube,
    window: Window | None = None,
    nodata: float | None = None,
    overviews: str = "nearest",
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a raster cube as one zipped Zarr store; returns its path.

    Args:
        path: where to; replaced if there.
        blocks: cubes in any order, not overlapping, or a function of a window.
        grid: the lattice of all blocks.
        probe: a cube of the same dimensions, labels and type; its pixels don't matter.
        window: the pixels of `grid` that make the store; None = all. What no block covers is
            no-data.
        nodata: `_FillValue`; None = NaN for floats, 255 for booleans, none for integers.
        overviews: how coarser levels are made: `average` of the valid pixels, `nearest` for
            classes, or `none`.
        metadata: attributes of the root, for example provenance.

    Raises:
        FormatUnsupported: no raster, or no-data cannot be written.
        OutputFailed: disk full or folder not writable; nothing is left behind.
    """
    area = grid.window if window is None else window
    probe = raster_probe(probe, "Zarr stores")
    with whole_file(path) as part:
        folder = _Folder(part.with_suffix(".folder"))
        try:
            with quiet():
                _fill(folder, blocks, Layout.of(grid, area, probe, nodata, overviews), metadata)
            with span("write"):
                _pack(folder.root, part)
        finally:
            folder.remove()
    return path


class _Folder(zarr.storage.LocalStore):
    """A folder that can be removed although zarr goes on writing after a write has failed."""

    _ends = False

    @override
    async def set(self, key: str, value: Buffer) -> None:
        if self._ends:
            raise FileNotFoundError(key)
        await super().set(key, value)

    def remove(self) -> None:
        """Remove the folder; what was being written meanwhile is waited for."""
        self._ends = True
        for _ in range(_TRIES):
            shutil.rmtree(self.root, ignore_errors=True)
            time.sleep(_PAUSE_S)
            if not self.root.exists():
                return


@dataclass(frozen=True, slots=True)
class Layout:
    """What a store holds."""

    probe: Cube
    grid: Grid
    area: Window
    names: tuple[str, ...]
    nodata: float | None
    overviews: str
    chunk: int

    @classmethod
    def of(
        cls,
        grid: Grid,
        area: Window,
        probe: Cube,
        nodata: float | None,
        overviews: str,
        chunk: int = CHUNK,
    ) -> Layout:
        """Lay a store out; see `write_zarr`, and `chunk` is the edge of its chunks."""
        names = tuple(_array_name(name) for name in variable_names(probe))
        return cls(probe, grid, area, names, nodata, overviews, chunk)

    @property
    def outer(self) -> list[Dimension]:
        """The dimensions besides bands, y and x."""
        return [d for d in self.probe.dimensions if d.kind not in {Kind.SPATIAL, Kind.BANDS}]

    @property
    def space(self) -> tuple[str, str]:
        """The names of y and x."""
        y, x = self.probe.dimensions[-2:]
        return y.name, x.name

    @property
    def mark(self) -> float | None:
        """The value of no-data."""
        return stored_nodata(self.probe.dtype, self.nodata)

    @property
    def levels(self) -> list[tuple[int, int]]:
        """Height and width of each level, pixels; the last one fits into a chunk."""
        found = [(self.area.height, self.area.width)]
        while self.overviews != "none" and max(found[-1]) > CHUNK:
            found.append((-(-found[-1][0] // 2), -(-found[-1][1] // 2)))
        return found

    def transform(self, level: int) -> tuple[float, ...]:
        """Return the affine transformation from column and row of a level to x and y."""
        left, _, _, top = self.grid.bounds_of(self.area)
        step = 2**level
        return (self.grid.pixel_x * step, 0.0, left, 0.0, -self.grid.pixel_y * step, top)


def _fill(
    folder: _Folder, blocks: Blocks, layout: Layout, metadata: Mapping[str, str] | None
) -> None:
    root = zarr.create_group(folder, zarr_format=3)
    root.attrs.update(root_attributes(layout) | dict(metadata or {}))
    levels = [
        create_level(root.create_group(str(number)), layout, number, shape)
        for number, shape in enumerate(layout.levels)
    ]
    for cube in cubes(blocks, layout.area):
        with span("encode"):
            write_block(levels[0], cube, layout)
    for finer, coarser in pairwise(levels):
        for name in layout.names:
            for part in halves(coarser[name], layout):
                halve(finer[name], coarser[name], layout, part)
    zarr.consolidate_metadata(root.store)


def root_attributes(layout: Layout) -> dict[str, Any]:
    """Return what the root group says of all levels."""
    crs = layout.grid.crs
    entries: list[dict[str, Any]] = []
    for level, shape in enumerate(layout.levels):
        scale = 1.0 if level == 0 else 2.0
        entry: dict[str, Any] = {
            "asset": str(level),
            "transform": {"scale": [scale, scale], "translation": [0.0, 0.0]},
            "spatial:shape": list(shape),
            "spatial:transform": list(layout.transform(level)),
        }
        entries.append(entry if level == 0 else {**entry, "derived_from": str(level - 1)})
    multiscales: dict[str, Any] = {"layout": entries}
    if len(entries) > 1:
        multiscales["resampling_method"] = layout.overviews
    where = "https://github.com/zarr-conventions"
    raw = "https://raw.githubusercontent.com/zarr-conventions"
    return {
        "Conventions": "CF-1.8",
        "source": f"terrazzo {__version__}",
        "zarr_conventions": [
            {
                "schema_url": f"{raw}/{repository}/refs/tags/v1/schema.json",
                "spec_url": f"{where}/{repository}/blob/v1/README.md",
                "uuid": uuid,
                "name": name,
            }
            for name, repository, uuid in _CONVENTIONS
        ],
        "multiscales": multiscales,
        ("proj:code" if crs.startswith(_FIXED_CODE) else "proj:wkt2"): (
            crs if crs.startswith(_FIXED_CODE) else crs_object(crs).to_wkt()
        ),
        "spatial:dimensions": list(layout.space),
        "spatial:bbox": list(layout.grid.bounds_of(layout.area)),
    }


def create_level(
    group: zarr.Group, layout: Layout, level: int, shape: tuple[int, int]
) -> dict[str, zarr.Array[Any]]:
    """Make the arrays of a level; those of coordinates are filled."""
    for dimension in layout.outer:
        values, told = label_values(dimension)
        _put(group, dimension.name, values, (dimension.name,), told)
    _create_space(group, layout, level, shape)
    kind = stored_dtype(layout.probe.dtype)
    outer = [len(dimension.labels) for dimension in layout.outer]
    mark = layout.mark
    attributes: dict[str, Any] = {"grid_mapping": GRID_MAPPING}
    if mark is not None and not np.isnan(mark):
        attributes["_FillValue"] = _fill_attribute(kind, mark)
    if layout.probe.dtype.kind == "b":
        attributes |= {"flag_values": [0, 1], "flag_meanings": "false true"}
    renamed = renamed_bands(layout.probe, layout.names)
    return {
        name: group.create_array(
            name,
            shape=(*outer, *shape),
            dtype=kind,
            chunks=(*([1] * len(outer)), *(max(1, min(layout.chunk, size)) for size in shape)),
            compressors=BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"),
            fill_value=0 if mark is None else kind.type(mark),
            dimension_names=(*(d.name for d in layout.outer), *layout.space),
            attributes=attributes | ({"long_name": renamed[name]} if name in renamed else {}),
        )
        for name in layout.names
    }


def _create_space(group: zarr.Group, layout: Layout, level: int, shape: tuple[int, int]) -> None:
    width, _, left, _, height, top = layout.transform(level)
    centres = (
        top + height * (np.arange(shape[0]) + 0.5),
        left + width * (np.arange(shape[1]) + 0.5),
    )
    if level == 0:
        centres = (layout.grid.ys(layout.area), layout.grid.xs(layout.area))
    for axis, name, values in zip("YX", layout.space, centres, strict=True):
        _put(group, name, values, (name,), space_attributes(layout.grid.crs, axis))
    attributes = crs_attributes(layout.grid.crs)
    attributes["GeoTransform"] = f"{left!r} {width!r} 0 {top!r} 0 {height!r}"
    _put(group, GRID_MAPPING, np.array(0, np.int32), (), attributes)


def _put(
    group: zarr.Group,
    name: str,
    values: NDArray[Any],
    dimensions: Sequence[str],
    attributes: Mapping[str, Any],
) -> None:
    """Write a small array in one chunk."""
    texts = values.dtype == object
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=str if texts else values.dtype,
        chunks=values.shape or (),
        dimension_names=tuple(dimensions),
        attributes=dict(attributes),
    )
    array[...] = values


def write_block(arrays: Mapping[str, zarr.Array[Any]], cube: Cube, layout: Layout) -> None:
    """Write the pixels of a block that lie in the store."""
    if cube.window is None:
        raise FormatUnsupported("Zarr stores hold rasters only.")
    inside = cube.window.intersection(layout.area)
    if inside.is_empty:
        return
    where = layout.area.slices(inside)
    values, valid = band_planes(cube, inside)
    for name, band, mask in zip(layout.names, values, valid, strict=True):
        outer = (slice(None),) * (band.ndim - 2)
        arrays[name][(*outer, *where)] = stored(band, mask, cube.dtype, layout.nodata)


Part = tuple[tuple[int, ...], slice, slice]
"""Labels, rows and columns of an array."""


def halves(coarser: zarr.Array[Any], layout: Layout) -> Iterator[Part]:
    """Yield the parts in which a level is filled, each of which is some whole chunks."""
    height, width = coarser.shape[-2:]
    step = max(_AT_ONCE // layout.chunk, 1) * layout.chunk
    for place in np.ndindex(coarser.shape[:-2]):
        for row in range(0, height, step):
            for col in range(0, width, step):
                rows = slice(row, min(row + step, height))
                yield place, rows, slice(col, min(col + step, width))


def halve(finer: zarr.Array[Any], coarser: zarr.Array[Any], layout: Layout, part: Part) -> None:
    """Fill a part of a level out of the one before."""
    place, rows, cols = part
    source: tuple[int | slice, ...] = (*place, _doubled(rows), _doubled(cols))
    target: tuple[int | slice, ...] = (*place, rows, cols)
    with span("encode"):
        coarser[target] = _coarser(np.asarray(finer[source]), layout)


def _doubled(part: slice) -> slice:
    return slice(2 * part.start, 2 * part.stop)


def _coarser(pixels: Values, layout: Layout) -> Values:
    """Return pixels of twice the size: the first of four, or the mean of those that are valid."""
    if layout.overviews == "nearest":
        return pixels[::2, ::2]
    mark = layout.mark
    height, width = (-(-size // 2) for size in pixels.shape)
    valid = np.ones(pixels.shape, np.bool_)
    if mark is not None:
        valid = ~np.isnan(pixels) if np.isnan(mark) else pixels != pixels.dtype.type(mark)
    total = np.zeros((height, width), np.float64)
    count = np.zeros((height, width), np.int64)
    for row in (0, 1):
        for col in (0, 1):
            part, known = pixels[row::2, col::2], valid[row::2, col::2]
            at = (slice(part.shape[0]), slice(part.shape[1]))
            np.add(total[at], part, out=total[at], where=known)
            count[at] += known
    mean = total / np.maximum(count, 1)
    if pixels.dtype.kind != "f":
        mean = np.rint(mean)
    found: Values = mean.astype(pixels.dtype)
    if mark is not None:
        found[count == 0] = mark
    return found


def _fill_attribute(kind: np.dtype[Any], mark: float) -> int | str:
    """Return `_FillValue` as xarray reads it in Zarr: integers as they are, floats packed."""
    if kind.kind != "f":
        return int(mark)
    return base64.standard_b64encode(struct.pack("<d", float(kind.type(mark)))).decode()


def _array_name(name: str) -> str:
    """Return the name of an array that is no name of Zarr's own."""
    reserved = name.startswith("__") or name == "zarr.json" or not name.strip(".")
    return f"band_{name}" if reserved else name


@contextmanager
def quiet() -> Iterator[None]:
    """Texts and consolidated metadata work everywhere, and are not yet in the specification."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(Zarr format 3|Zarr V3|zarr v3).*")
        yield


def _pack(folder: Path, path: Path) -> None:
    """Put a folder into a zip, metadata first; equal content gives equal bytes."""
    files = sorted(
        (file for file in folder.rglob("*") if file.is_file()),
        key=lambda file: (file.name != "zarr.json", file.relative_to(folder).as_posix()),
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:
        for file in files:
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _ZIP_TIME)
            entry.file_size = file.stat().st_size
            with file.open("rb") as source, packed.open(entry, "w") as target:
                shutil.copyfileobj(source, target)
