"""Cloud-optimised GeoTIFFs: one per time label, one band per band.

Blocks arrive in any order in an uncompressed scratch file beside the target (`Scratch`), which
GDAL's COG driver then compresses and gives overviews; memory stays bounded whatever the size.
No-data is NaN in floating files, 255 in files of booleans (0, 1) and a chosen value in files of
integers. A floating GeoTIFF cannot keep NaN that is data apart from no-data: both are NaN there.
Use Zarr or NetCDF with a fill value where that matters.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.transform import Affine

from terrazzo.errors import ArgumentInvalid, FormatUnsupported, suggest
from terrazzo.geo.crs import crs_object
from terrazzo.geo.times import parse_time
from terrazzo.spans import span
from terrazzo.storage.set_aside import MOST, is_kept
from terrazzo.storage.writers.files import (
    cubes,
    planes,
    stored,
    stored_dtype,
    stored_nodata,
    whole_file,
)
from terrazzo.storage.writers.scratch import READING, Scratch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from terrazzo.geo.grid import Grid, Window
    from terrazzo.storage.writers.files import Blocks

COMPRESSIONS = ("deflate", "zstd", "lzw", "lerc", "none")
OVERVIEWS = ("average", "nearest", "mode", "bilinear", "cubic", "none")
_TYPES = (
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "int64",
    "uint64",
    "float32",
    "float64",
)
_ENVIRONMENT = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    **READING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CogOptions:
    """How files are written."""

    nodata: float | None = None
    """Value of no-data; None = NaN for floats, 255 for booleans, none for integers."""
    compression: str = "deflate"
    """One of `COMPRESSIONS`; all but lerc are lossless, and lerc is used without loss too."""
    predictor: bool = True
    """Whether differences between pixels are compressed rather than pixels."""
    blocksize: int = 512
    """Edge of the internal tiles, a multiple of 16."""
    overviews: str = "average"
    """How overviews are made: `average` for measurements, `nearest` or `mode` for classes."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Tags of the file, for example provenance."""
    threads: int = 1
    """Threads that compress."""


def write_cog(
    path: Path,
    blocks: Blocks,
    grid: Grid,
    *,
    dtype: np.dtype[Any],
    bands: Sequence[str],
    window: Window | None = None,
    options: CogOptions | None = None,
) -> Path:
    """Write cubes of one date (or without time) as one file; returns its path.

    Args:
        path: where to; replaced if there.
        blocks: cubes in any order, not overlapping, or a function of a window.
        grid: the lattice of all blocks.
        dtype: type of the values.
        bands: names of the bands; one name for cubes without bands.
        window: the pixels of `grid` that make the file; None = all. What no block covers is
            no-data.
        options: how.

    Raises:
        FormatUnsupported: the cube has several dates or further dimensions, or no-data cannot be
            written.
        OutputFailed: disk full or folder not writable; nothing is left behind.
    """
    write_cogs([path], blocks, grid, dtype=dtype, bands=bands, window=window, options=options)
    return path


def write_cogs(
    paths: Sequence[Path],
    blocks: Blocks,
    grid: Grid,
    *,
    dtype: np.dtype[Any],
    bands: Sequence[str],
    times: Sequence[str] = (),
    window: Window | None = None,
    options: CogOptions | None = None,
) -> tuple[Path, ...]:
    """Write cubes of several dates, one file per time label; see `write_cog`.

    Args:
        paths: one per time label, in their order.
        blocks: cubes with all dates each, in any order, or a function of a window.
        grid: the lattice of all blocks.
        dtype: type of the values.
        bands: names of the bands; one name for cubes without bands.
        times: the labels, which go into the files' tags.
        window: the pixels of `grid` that make the files; None = all.
        options: how.

    Raises:
        FormatUnsupported: further dimensions, or no-data cannot be written.
        OutputFailed: disk full or folder not writable; nothing is left behind.
    """
    chosen = options or CogOptions()
    _check(chosen, dtype)
    area = grid.window if window is None else window
    profile = _profile(grid, area, np.dtype(dtype), len(bands), chosen)
    with ExitStack() as stack:
        parts = [stack.enter_context(whole_file(path)) for path in paths]
        scratches = []
        for part in parts:
            scratches.append(Scratch(part, profile))
            stack.callback(scratches[-1].remove)
        _scatter(scratches, blocks, area, np.dtype(dtype), chosen.nodata)
        with rasterio.Env(**_ENVIRONMENT):
            for number, (scratch, part) in enumerate(zip(scratches, parts, strict=True)):
                with scratch.opened() as file:
                    _describe(file, bands, times[number] if times else "", chosen)
                    with span("encode", all_threads=chosen.threads != 1):
                        _compress(file, part, chosen)
                scratch.remove()
    return tuple(paths)


def _check(options: CogOptions, dtype: np.dtype[Any]) -> None:
    for name, value, known in (
        ("compression", options.compression, COMPRESSIONS),
        ("overviews", options.overviews, OVERVIEWS),
    ):
        if value not in known:
            raise ArgumentInvalid(
                f"{name}={value!r} is not known.{suggest(value, known)} Use {', '.join(known)}."
            )
    if options.blocksize % 16 or options.blocksize <= 0:
        raise ArgumentInvalid(f"blocksize={options.blocksize} must be a multiple of 16.")
    name = stored_dtype(np.dtype(dtype)).name
    if name not in _TYPES:
        raise FormatUnsupported(f"GeoTIFF cannot hold {name}. It holds {', '.join(_TYPES)}.")
    if options.nodata is not None and not is_kept(np.dtype(dtype), options.nodata):
        raise FormatUnsupported(
            f"GeoTIFF of {name} does not keep the no-data value {int(options.nodata)} as it is. "
            f"Choose one from {-MOST if name == 'int64' else 0} to {MOST} that does not occur, "
            "with the option `nodata`, or save as NetCDF."
        )


def _profile(
    grid: Grid, area: Window, dtype: np.dtype[Any], count: int, options: CogOptions
) -> dict[str, Any]:
    left, _, _, top = grid.bounds_of(area)
    profile: dict[str, Any] = {
        "dtype": stored_dtype(dtype).name,
        "count": count,
        "height": area.height,
        "width": area.width,
        "crs": crs_object(grid.crs).to_wkt(),
        "transform": Affine(grid.pixel_x, 0.0, left, 0.0, -grid.pixel_y, top),
    }
    nodata = stored_nodata(dtype, options.nodata)
    return profile if nodata is None else {**profile, "nodata": nodata}


def _scatter(
    scratches: Sequence[Scratch],
    blocks: Blocks,
    area: Window,
    dtype: np.dtype[Any],
    nodata: float | None,
) -> None:
    """Write every block to its place in the scratch files, one per date."""
    count = scratches[0].count if scratches else 0
    for cube in cubes(blocks, area):
        values, valid = planes(cube)
        if values.shape[:2] != (len(scratches), count):
            raise FormatUnsupported(
                f"A block has {values.shape[0]} dates of {values.shape[1]} bands; "
                f"{len(scratches)} files of {count} bands were asked for."
            )
        if cube.window is None:
            continue
        inside = cube.window.intersection(area)
        if inside.is_empty:
            continue
        part = (..., *cube.window.slices(inside))
        with span("write"):
            for scratch, pixels, mask in zip(scratches, values[part], valid[part], strict=True):
                scratch.write(stored(pixels, mask, dtype, nodata), *area.slices(inside))
    with span("write"):
        for scratch in scratches:
            scratch.fill()


def _describe(file: Any, bands: Sequence[str], label: str, options: CogOptions) -> None:
    for index, name in enumerate(bands, 1):
        file.set_band_description(index, name)
    tags = dict(options.metadata)
    if label:
        tags["time"] = label
        with suppress(ArgumentInvalid):
            tags["TIFFTAG_DATETIME"] = f"{parse_time(label):%Y:%m:%d %H:%M:%S}"
    file.update_tags(**tags)


def _compress(source: Any, part: Path, options: CogOptions) -> None:
    """Copy an open dataset to a COG and read its last tile back."""
    without = options.overviews == "none"
    rasterio.shutil.copy(
        source,
        part,
        driver="COG",
        COMPRESS=options.compression.upper(),
        PREDICTOR="YES" if options.predictor else "NO",
        BLOCKSIZE=options.blocksize,
        OVERVIEWS="NONE" if without else "AUTO",
        OVERVIEW_RESAMPLING="NEAREST" if without else options.overviews.upper(),
        NUM_THREADS=options.threads,
        BIGTIFF="IF_SAFER",
    )
    with rasterio.open(part, driver="GTiff") as file:
        for index in range(1, source.count + 1):
            file.read(index, window=((file.height - 1, file.height), (file.width - 1, file.width)))
