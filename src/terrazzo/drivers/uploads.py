"""Taking in files of strangers: a closed worker reads one, and what is kept is written here.

What comes out of the worker is numbers of a known count and a description of them. Nothing of it
is believed: counts, types, names and places are checked, and files are written anew, so that
whoever reads them later reads files of Terrazzo.
"""

from __future__ import annotations

import json
import math
import shutil
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.catalog import BandInfo, make_asset, read_bands
from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.drivers.ingestion.items import Period, Target, build_item, transform_of
from terrazzo.drivers.ingestion.names import safe_name
from terrazzo.errors import ArgumentInvalid, AssetForbidden, SourceUnreadable, TerrazzoError
from terrazzo.geo.crs import crs_name
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.times import format_time, parse_time
from terrazzo.sandbox.closed import Answer, Refused, reading
from terrazzo.sandbox.limits import Mode
from terrazzo.storage.ingest_support import CLASS_TYPES
from terrazzo.storage.raster import marker
from terrazzo.storage.set_aside import MOST, is_kept
from terrazzo.storage.writers.cog import CogOptions, write_cogs
from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PROGRAM: Final = "terrazzo.drivers.closed_images"
"""Not imported here: it loads the readers of every format, which the worker needs and no server."""
ANSWER: Final = "answer.json"
"""Name of the document in the worker's folder."""
MOST_PIXELS: Final = 400_000_000
"""Numbers that all bands and dates of one file may have together."""
ITEMS: Final = "items.json"
"""Name of the document beside the files."""
_COLLECTION: Final = "uploaded"
_MOST_ANSWER: Final = 50_000_000
_MOST_ITEMS, _MOST_LETTERS = 10_000, 200
_TYPES: Final = frozenset(
    {"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"}
)
_UPSET: Final = (
    ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError
)  # fmt: skip
"""What a description raises that a worker should not have made."""
_HEADER: Final = 1 << 16
"""Bytes of a COG that are no pixels, and of tiles that are larger deflated than they are."""
_TRIED: Final = 1 << 16
"""Whole numbers that are tried for one that no valid pixel has."""
_NUMBERS: Final = 1 << 20
"""Numbers that are looked at together."""
_WIDER: Final[Mapping[str, str]] = {
    "uint8": "int16",
    "int8": "int16",
    "uint16": "int32",
    "int16": "int32",
}
"""What holds all numbers of a type, and more."""


def take_in(
    source: Path,
    name: str,
    folder: Path,
    *,
    reserve: Callable[[int], None],
    kept: Callable[[int], None],
    datetime: str = "",
    bands: Sequence[str] = (),
    mode: Mode = Mode.SANDBOXED,
    owner: str = "",
) -> None:
    """Read a file of images in a closed worker and keep what it holds as COGs and items.

    Args:
        source: the file.
        name: what the worker calls it; its ending says which reader reads it.
        folder: where the COGs and `ITEMS` go; it appears whole or not at all.
        reserve: is told before each file is written what it may have at most, bytes; what it
            raises ends the reading.
        kept: is told the bytes of each file that was written; what it raises ends the reading.
        datetime: instant or period of the file, where it names none.
        bands: names of its bands, instead of its own.
        mode: whether workers are shut in.
        owner: account whose file it is.

    Raises:
        SourceUnreadable: damaged, not of the kind that its name says, or too large.
        ArgumentInvalid: it lacks a date, a grid or a CRS, or is too large to be taken in.
        AssetForbidden: it points to other files, or is an archive that is not unpacked.
        UdfRefused: this machine cannot shut workers in.
        WorkersBusy: another file of the account, or files of others, are read for too long.
        OutputFailed: the disk is full.
    """
    request = {"name": name, "datetime": datetime, "bands": list(bands)}
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        part.mkdir(parents=True)
        with reading(PROGRAM, {name: source}, request, mode=mode, owner=owner) as answer:
            items = _items(answer, part, _Room(reserve, kept))
        (part / ITEMS).write_text(json.dumps(items))
        kept((part / ITEMS).stat().st_size)
        with suppress(OSError):  # another request has taken in the same file meanwhile
            part.rename(folder)
    except Refused as refused:
        raise _error(refused, name) from None
    except OSError as error:
        raise output_failed(folder, error) from error
    except _UPSET as error:
        reason = f"it upsets its reader ({type(error).__name__})"
        raise SourceUnreadable(_stem(name), "data", reason) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def items_in(folder: Path) -> list[dict[str, Any]]:
    """Return the items that were taken in, with the paths of their files."""
    items: list[dict[str, Any]] = json.loads((folder / ITEMS).read_text())
    for item in items:
        for asset in item["assets"].values():
            asset["href"] = str(folder / asset["href"])
    return items


def _error(refused: Refused, name: str) -> TerrazzoError:
    said = refused.reason.replace("--datetime", "the option `datetime`")
    said = said.replace("--bands", "the option `bands`").replace("--pattern", "another name")
    for kind in (ArgumentInvalid, AssetForbidden):
        if refused.code == kind.__name__:
            return kind(f"{PurePosixPath(name).name!r} cannot be loaded: {said}")
    return SourceUnreadable(_stem(name), "data", said, "Upload it again, whole and unpacked.")


@dataclass(frozen=True, slots=True)
class _Room:
    """What there is for files."""

    reserve: Callable[[int], None]
    kept: Callable[[int], None]


def _items(answer: Answer, folder: Path, room: _Room) -> list[dict[str, Any]]:
    told = json.loads(answer.text(ANSWER, _MOST_ANSWER))["items"]
    if not isinstance(told, list) or not 0 < len(told) <= _MOST_ITEMS:
        raise ValueError(told)
    left = [MOST_PIXELS]
    items = []
    for number, one in enumerate(told):
        items.append(_item(answer, one, folder, number, left, room))
    return items


def _item(
    answer: Answer,
    told: Mapping[str, Any],
    folder: Path,
    number: int,
    left: list[int],
    room: _Room,
) -> dict[str, Any]:
    name = safe_name(_text(told["id"]))
    when = _period(told)
    grids: list[Grid] = []
    assets: dict[str, Any] = {}
    for asset in told["assets"]:
        height, width = (_count(size) for size in asset["shape"][1:])
        described = read_bands({"bands": asset["bands"]}, _text(asset["key"]))
        crs, *place = asset["grid"]
        left_edge, top, pixel_x, pixel_y = (_number(value) for value in place)
        grid = Grid(crs_name(str(crs)), left_edge, top, pixel_x, pixel_y, height, width)
        left[0] -= height * width * len(described)
        if left[0] < 0 or len(described) != _count(asset["shape"][0]) or not described:
            raise ValueError(asset["shape"])
        numbers = _planes(answer, asset, len(described), grid)
        for band, values, valid in zip(described, *numbers, strict=True):
            path = folder / f"{number}-{len(assets)}.tif"
            room.reserve(most_bytes(height * width, values.dtype))
            stored = _written(path, band, values, valid, grid, format_time(when.start))
            room.kept(path.stat().st_size)
            facts = Target(_COLLECTION, folder, write=True).facts(path, "")
            assets[safe_name(band.name) if band.name not in assets else path.stem] = make_asset(
                path.name,
                bands=(stored,),
                crs=grid.crs,
                shape=(height, width),
                transform=transform_of(grid),
                extra=facts,
            )
        grids.append(grid)
    return build_item(name, Target(_COLLECTION, folder, write=True), when, grids, assets)


def _planes(answer: Answer, asset: Mapping[str, Any], count: int, grid: Grid) -> tuple[Any, Any]:
    """Return (band, y, x) numbers and which of them are valid, where the worker has put them."""
    if asset["dtype"] not in _TYPES:
        raise ValueError(asset["dtype"])
    dtype, shape = np.dtype(asset["dtype"]), (count, grid.height, grid.width)
    size = math.prod(shape)
    raw = answer.path(_text(asset["raw"]), size * dtype.itemsize)
    values = np.memmap(raw, dtype, "r", shape=shape)
    if not asset["valid"]:
        return values, [None] * count
    told = answer.path(_text(asset["valid"]), size)
    return values, np.memmap(told, np.uint8, "r", shape=shape)


def _written(
    path: Path, band: BandInfo, values: Any, valid: Any, grid: Grid, label: str
) -> BandInfo:
    """Write one band, and return what it is as stored."""
    dtype = values.dtype
    kept = marker(dtype, band.nodata)
    if kept is not None and not is_kept(dtype, kept):
        kept = None
    if dtype.kind == "f" and kept is None:
        kept = math.nan
    if valid is not None and kept is None:
        dtype, kept = _marked(band.name, values, valid)
    dimensions = (
        Dimension("bands", Kind.BANDS, (band.name,)),
        Dimension("y", Kind.SPATIAL),
        Dimension("x", Kind.SPATIAL),
    )

    def block(window: Window) -> Cube:
        rows, cols = grid.window.slices(window)
        pixels = np.asarray(values[rows, cols]).astype(dtype)
        mask = np.ones(pixels.shape, bool) if valid is None else np.asarray(valid[rows, cols]) != 0
        return Cube(pixels[np.newaxis], mask[np.newaxis], dimensions, grid, window)

    how = "nearest" if values.dtype.name in CLASS_TYPES else "average"
    write_cogs(
        [path], block, grid, dtype=dtype, bands=(band.name,), times=(label,),
        options=CogOptions(nodata=kept, overviews=how),
    )  # fmt: skip
    return BandInfo(
        name=_text(band.name), dtype=dtype.name, nodata=kept, scale=_number(band.scale),
        offset=_number(band.offset), common_name=_text(band.common_name or "-").strip("-"),
        wavelength_um=band.wavelength_um, gsd_m=band.gsd_m,
        description=band.description[:_MOST_LETTERS],
    )  # fmt: skip


def _marked(band: str, values: Any, valid: Any) -> tuple[np.dtype[Any], float]:
    """Return a type and a whole number of it that no valid pixel has, in place of a mask."""
    info = np.iinfo(values.dtype)
    low, tried = max(int(info.min), -MOST), min(_TRIED, int(info.max) - int(info.min) + 1)
    used = np.zeros(tried, bool)
    numbers, told = values.reshape(-1), valid.reshape(-1)  # views: a block is read at a time
    for first in range(0, numbers.size, _NUMBERS):
        block = slice(first, first + _NUMBERS)
        here = np.asarray(numbers[block])[np.asarray(told[block]) != 0]
        # so that int64 holds them, and their distance to low
        near = here[(here >= low) & (here <= low + tried - 1)]
        used[near.astype(np.int64) - low] = True
    if not used.all():
        return values.dtype, float(low + int(np.argmin(used)))
    if values.dtype.name not in _WIDER:
        raise ArgumentInvalid(
            f"Band {band!r} has a mask, and its type {values.dtype.name} has no number left that "
            "could mean no-data. Save it in a larger type, with a no-data value."
        )
    wider = np.dtype(_WIDER[values.dtype.name])
    return wider, float(max(int(np.iinfo(wider).min), -MOST))


def most_bytes(pixels: int, dtype: np.dtype[Any]) -> int:
    """Return what a COG of one band may have at most: pixels and overviews that do not compress.

    A mask may take a wider type than its numbers have.
    """
    size = max(np.dtype(_WIDER.get(dtype.name, dtype.name)).itemsize, dtype.itemsize)
    return pixels * size * 4 // 3 + _HEADER


def _period(told: Mapping[str, Any]) -> Period:
    if told["datetime"]:
        return Period(parse_time(_text(told["datetime"])))
    return Period(parse_time(_text(told["start"])), parse_time(_text(told["end"])))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MOST_LETTERS or not value.isprintable():
        raise ValueError(str(value)[:_MOST_LETTERS])
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 < value <= MOST_PIXELS:
        raise ValueError(str(value)[:_MOST_LETTERS])
    return value


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(str(value)[:_MOST_LETTERS])
    return number


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
