"""What all writers share: a file is there whole or not at all, and cubes as plain arrays."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from terrazzo.cube import Kind
from terrazzo.errors import FormatUnsuitable, FormatUnsupported, OutputFailed
from terrazzo.spans import span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from terrazzo.cube import Cube, Mask, Values
    from terrazzo.geo.grid import Window

    Blocks = Iterable[Cube] | Callable[[Window], Cube]
    """Blocks in any order, or a function that gives the pixels of a window."""

BLOCK_EDGE = 2048
"""Edge of the windows that a function of windows is asked for, pixels."""


@contextmanager
def whole_file(path: Path, *, suffix: str = "") -> Iterator[Path]:
    """Give a temporary name in the same folder, renamed to `path` when the block succeeds.

    Raises:
        OutputFailed: the disk is full, or the folder cannot be written; nothing is left behind.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part{suffix or path.suffix}")
    try:
        yield part
        with span("write"):
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
    except (OSError, RasterioError, CPLE_BaseError) as error:
        raise output_failed(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def begin_folder(folder: Path) -> None:
    """Make a folder for results, and delete what a killed writer had begun in it.

    Raises:
        OutputFailed: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for begun in folder.glob(".*.part*"):
            begun.unlink(missing_ok=True)
    except OSError as error:
        raise output_failed(folder, error) from error


def output_failed(path: Path, error: Exception) -> OutputFailed:
    """Make the error that says which file could not be written and what to do."""
    try:
        free = f"{shutil.disk_usage(path.parent).free / 1e6:.0f} MB are free there"
    except OSError:
        free = "its folder is not there"
    number = getattr(error, "errno", None)
    if isinstance(error, RasterioError | CPLE_BaseError):
        reason = "GDAL stopped writing, most likely as the disk (or quota) is full"
    elif number in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        reason = "the disk (or quota) is full"
    elif number in {errno.EACCES, errno.EROFS, errno.EPERM}:
        reason = "its folder may not be written"
    else:
        reason = f"{type(error).__name__} ({error.args[-1] if error.args else 'no reason given'})"
    return OutputFailed(
        f"{path.name!r} could not be written: {reason} ({free}). Make room or choose another "
        "folder (`--output` for results, `--home` for the catalogue and what is ingested), then "
        "run again; what is finished is kept."
    )


def cubes(blocks: Blocks, window: Window) -> Iterator[Cube]:
    """Yield blocks, asking for them window by window where a function gives them."""
    if callable(blocks):
        for part in window.blocks(BLOCK_EDGE):
            yield blocks(part)
    else:
        yield from blocks


def plane_order(cube: Cube) -> list[int]:
    """Return the axes of time, bands, y and x of a raster cube, as far as it has them.

    Raises:
        FormatUnsuitable: the cube has further dimensions, or is no raster.
    """
    kinds = [dimension.kind for dimension in cube.dimensions]
    if cube.grid is None or kinds.count(Kind.SPATIAL) != 2:  # noqa: PLR2004 - y and x
        raise FormatUnsuitable("Images hold rasters only; save this as JSON, CSV or Parquet.")
    named = [kind for kind in (Kind.TEMPORAL, Kind.BANDS) if kinds.count(kind) == 1]
    order = [kinds.index(kind) for kind in named]
    order += [axis for axis, kind in enumerate(kinds) if kind is Kind.SPATIAL]
    if len(order) != len(kinds):
        names = ", ".join(d.name for i, d in enumerate(cube.dimensions) if i not in order)
        raise FormatUnsuitable(
            f"Images have time, bands, y and x, and this cube has {names} besides. Take its labels "
            "apart with `filter_labels` and `drop_dimension`, or save as NetCDF with `save_result`."
        )
    return order


def planes(cube: Cube) -> tuple[Values, Mask]:
    """Return (time, band, y, x) values and mask of a raster cube; absent dimensions have length 1.

    Raises:
        FormatUnsuitable: the cube has further dimensions, or is no raster.
    """
    kinds = [dimension.kind for dimension in cube.dimensions]
    order = plane_order(cube)
    values, valid = cube.values.transpose(order), cube.valid.transpose(order)
    has_time, has_bands = Kind.TEMPORAL in kinds, Kind.BANDS in kinds
    shape = (
        values.shape[0] if has_time else 1,
        values.shape[int(has_time)] if has_bands else 1,
        *values.shape[-2:],
    )
    return values.reshape(shape), valid.reshape(shape)


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type that a file holds: booleans as uint8, half floats as float32."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def stored_nodata(dtype: np.dtype[Any], nodata: float | None) -> float | None:
    """Return the no-data value of a file: NaN for floats, 255 for booleans, else as given."""
    if nodata is not None:
        return nodata
    if dtype.kind == "f":
        return float("nan")
    return 255.0 if dtype.kind == "b" else None


def stored(values: Values, valid: Mask, dtype: np.dtype[Any], nodata: float | None) -> Values:
    """Return values as a file holds them, no-data in place.

    Raises:
        FormatUnsupported: there are invalid pixels and no value for them, or a valid pixel has
            the value that marks no-data.
    """
    kind, mark = stored_dtype(dtype), stored_nodata(dtype, nodata)
    out = values.astype(kind, copy=False)
    if mark is not None and not np.isnan(mark):
        taken = valid & (out == kind.type(mark))
        if taken.any():
            raise FormatUnsupported(
                f"{mark:g} marks no-data and is also the value of {np.count_nonzero(taken)} valid "
                f"pixels. Choose a value that does not occur with the option `nodata`."
            )
    if valid.all():
        return out
    if mark is None:
        raise FormatUnsupported(
            f"There are pixels without data, and {kind.name} has no value set aside for them. "
            "Choose one that does not occur with the option `nodata`, for example nodata=0."
        )
    filled: Values = np.where(valid, out, kind.type(mark))
    return filled
