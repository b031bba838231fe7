"""Cubes of NetCDF, HDF5, Zarr and GRIB files as items: one per date, one COG per band.

One COG per band lets a graph read only the bands that it needs, and bands of different types and
grids keep theirs. What a COG was made of is known by a digest of its pixels and metadata, date by
date: a cube that grew by a date gives one new item. Images are read in blocks, so that memory does
not grow with them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.catalog import BandInfo, make_asset
from terrazzo.cube import Cube, Dimension, Kind, all_valid
from terrazzo.drivers.ingestion import swath
from terrazzo.drivers.ingestion.items import (
    Draft,
    FoundFile,
    Given,
    IngestOptions,
    Made,
    Period,
    Target,
    band_info,
    build_item,
    transform_of,
)
from terrazzo.drivers.ingestion.kept import carried
from terrazzo.drivers.ingestion.names import date_id, read_name, safe_name, when_of
from terrazzo.errors import ArgumentInvalid, SourceUnreadable
from terrazzo.geo.times import format_time
from terrazzo.storage.arrays.opening import open_arrays
from terrazzo.storage.ingest_support import CLASS_TYPES
from terrazzo.storage.writers.cog import CogOptions, write_cogs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from terrazzo.cube import Mask, Values
    from terrazzo.drivers.ingestion.names import NameParts
    from terrazzo.geo.grid import Grid, Window
    from terrazzo.storage.arrays.types import ArrayBand, ArrayCube, ArrayFile, BitField

_RECIPE: Final = "2"
"""Part of every digest; another one makes all files anew."""
_LETTERS, _MOST_TEXT, _WORDS = 200, 5000, 50
_UINT8_MAX: Final = 255
_EDGE: Final = 4096
_CLASSES: Final = "classification:classes"
_BITS: Final = "classification:bitfields"

_Image = tuple[int, int]
"""Position of a cube in its file, and of a date in it."""


def read(found: FoundFile, given: Given) -> Sequence[Draft]:
    """Open a file of arrays and return its items to be, one per date.

    Their ids begin with the pattern's group `item`, else with the file's name.

    Raises:
        SourceUnreadable: damaged, cut short, or none of these formats.
        ArgumentInvalid: no regular grid, no dates, or options that do not fit.
        AssetForbidden: the file points to other files, or is a link that leaves its folder.
    """
    options, target = given.options, given.target
    name = read_name(found.name, given.pattern)
    prefix = name.item if given.pattern is not None else found.path.stem.removesuffix(".zarr")
    with open_arrays(found.path, found.gate, crs=options.crs) as file:
        if file.is_swath:
            return swath.read(found, given)
        images = _images(file, options, found.name, name)
        about = _about(file.about)
        bands = _stored_bands(file.cubes, given)
        shared = _SharedFile(found, bands, tuple(cube.grid for cube in file.cubes), len(images),
                             options.crs)  # fmt: skip
    drafts: list[Draft] = []
    seen: Counter[str] = Counter()
    for (when, _), parts in images.items():
        date = date_id(when.start)
        seen[date] += 1
        item = safe_name(f"{prefix}_{date}" + (f"_{seen[date]}" if seen[date] > 1 else ""))
        notes = () if drafts else file.notes
        make = partial(_make, shared, tuple(parts), when, item, target, notes)
        drafts.append(Draft(item, f"{found.name} [{date}]", make, about=about))
    return drafts


def _about(told: Mapping[str, str]) -> dict[str, Any]:
    """Return what a file says of its data set as fields of a collection."""
    words = [word.strip() for word in re.split("[,;]", told.get("keywords", ""))]
    maker = told.get("institution", "")[:_LETTERS]
    fields: dict[str, Any] = {
        "title": told.get("title", "")[:_LETTERS],
        "description": told.get("summary", "")[:_MOST_TEXT],
        "keywords": list(dict.fromkeys(word[:_LETTERS] for word in words if word))[:_WORDS],
        "providers": [{"name": maker, "roles": ["producer"]}] if maker else [],
    }
    return {name: value for name, value in fields.items() if value}


@dataclass(frozen=True, slots=True)
class _StoredBand:
    """A band of a cube, and how it is stored."""

    source: str
    """Name in the cube."""
    key: str
    """Key of its asset."""
    band: BandInfo
    """As stored: name and dtype may differ from the file's."""
    told: ArrayBand
    """As the file has it."""

    @property
    def nearest(self) -> bool:
        """Whether its values are classes as far as one can tell, so overviews don't mix them."""
        told = self.told
        return bool(told.classes) or told.flags or self.band.dtype in CLASS_TYPES


class _SharedFile:
    """A file that is opened with the first date that is read and closed with the last one."""

    def __init__(
        self,
        found: FoundFile,
        bands: tuple[tuple[_StoredBand, ...], ...],
        grids: tuple[Grid, ...],
        dates: int,
        crs: str,
    ) -> None:
        self.bands, self.grids = bands, grids
        self.found, self._left, self._crs = found, dates, crs
        self._lock = threading.Lock()
        self._file: ArrayFile | None = None

    @contextmanager
    def lease(self) -> Iterator[ArrayFile]:
        """Lend the open file for one date.

        Raises:
            SourceUnreadable: it is not any more what it was when it was looked at.
        """
        with self._lock:
            if self._file is None:
                self._file = open_arrays(self.found.path, self.found.gate, crs=self._crs)
            file = self._file
        try:
            if tuple(cube.grid for cube in file.cubes) != self.grids:
                raise SourceUnreadable(self.found.path.stem, "cube", "it changed meanwhile")
            yield file
        finally:
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    file.close()


def _images(
    file: ArrayFile, options: IngestOptions, name: str, parts: NameParts
) -> dict[tuple[Period, int], list[_Image]]:
    """Return which images make an item, by their date and how often it came before.

    A cube without time has the user's date, that of the file's attributes, or that in its name.

    Raises:
        ArgumentInvalid: there is no date, or the user gives one for several.
    """
    dates = max(len(cube.times) for cube in file.cubes)
    if dates > 1 and options.datetime:
        raise ArgumentInvalid(
            f"it has {dates} dates of its own; leave --datetime {options.datetime!r} out."
        )
    found: dict[tuple[Period, int], list[_Image]] = {}
    for number, cube in enumerate(file.cubes):
        if cube.times and not options.datetime:
            periods = [Period(moment.start, moment.end) for moment in cube.times]
        else:
            periods = [_when(file, options, name, parts)]
        seen: Counter[Period] = Counter()
        for index, when in enumerate(periods):
            found.setdefault((when, seen[when]), []).append((number, index))
            seen[when] += 1
    return found


def _when(file: ArrayFile, options: IngestOptions, name: str, parts: NameParts) -> Period:
    """Return the date of a cube without one.

    Raises:
        ArgumentInvalid: nothing says it.
    """
    if file.covered is not None and not options.datetime and not parts.stated:
        return Period(file.covered.start, file.covered.end)
    return when_of(parts, options.datetime, {}, name=name)


def _stored_bands(cubes: Sequence[ArrayCube], given: Given) -> tuple[tuple[_StoredBand, ...], ...]:
    """Choose name, type and no-data value of each band of each cube.

    Raises:
        ArgumentInvalid: the user names another number of bands.
    """
    options = given.options
    own = [(cube, band) for cube in cubes for band in cube.bands]
    counts = Counter(band.name for _, band in own)
    names = options.bands or tuple(
        f"{cube.name.rsplit('/', 1)[-1]}_{band.name}" if counts[band.name] > 1 else band.name
        for cube, band in own
    )
    if not options.bands and len(set(names)) != len(names):
        names = tuple(f"{cube.name.replace('/', '_')}_{band.name}" for cube, band in own)
    if len(names) != len(own) or len(set(names)) != len(names):
        raise ArgumentInvalid(
            f"it has {len(own)} bands ({', '.join(band.name for _, band in own)}) and --bands "
            f"names {len(names)} ({', '.join(names)}). Give one name, each different, per band."
        )
    keys: Counter[str] = Counter()
    stored: dict[int, list[_StoredBand]] = {id(cube): [] for cube in cubes}
    for name, (cube, band) in zip(names, own, strict=True):
        key = safe_name(name)
        keys[key] += 1
        key += f"_{keys[key]}" if keys[key] > 1 else ""
        described = _described(name, cube, band, given)
        stored[id(cube)].append(_StoredBand(band.name, key, described, band))
    return tuple(tuple(stored[id(cube)]) for cube in cubes)


def _described(
    name: str,
    cube: ArrayCube,
    band: ArrayBand,
    given: Given,
) -> BandInfo:
    """Describe a band as it is stored; whole numbers in 0..255 may be stored as uint8.

    Of several files of a new band the first may hold nothing but such (a day without rain), and
    the next ones more: all keep their type.
    """
    options, dtype, nodata = given.options, band.dtype, band.nodata
    may = given.known_types.get(name, "uint8" if given.one_cube else "") == "uint8"
    if options.narrow and may and dtype not in CLASS_TYPES and _fits_uint8(cube, band):
        dtype, nodata = "uint8", None if nodata is None or math.isnan(nodata) else nodata
    text = " ".join(filter(None, (band.description, f"[{band.unit}]" if band.unit else "")))
    described = band_info(
        name, cube.grid, options, dtype=dtype, nodata=nodata, scale=band.scale,
        offset=band.offset, description=text,
    )  # fmt: skip
    return replace(
        described,
        unit=band.unit,
        common_name=described.common_name or band.common_name,
        wavelength_um=described.wavelength_um or band.wavelength_um,
    )


def _fits_uint8(cube: ArrayCube, band: ArrayBand) -> bool:
    """Tell whether every number of a band, and what marks no-data, is a whole one in 0..255.

    NaN is none. Reads all dates, or up to the first number that is not. A date that cannot be read
    does not count: it is left out later.
    """
    mark = 0.0 if band.nodata is None or math.isnan(band.nodata) else band.nodata
    if not mark.is_integer() or not 0 <= mark <= _UINT8_MAX:
        return False
    seen = False
    for index in range(max(len(cube.times), 1)):
        for window in cube.grid.window.blocks(_EDGE):
            try:
                values = cube.read(band.name, index, window)
            except SourceUnreadable:
                continue
            seen = True
            with np.errstate(invalid="ignore"):
                if not (values.astype(np.uint8) == values).all():
                    return False
    return seen


def _make(
    shared: _SharedFile,
    images: Sequence[_Image],
    when: Period,
    name: str,
    target: Target,
    notes: tuple[str, ...],
    previous: Mapping[str, Any] | None,
) -> Made:
    """Make the item of one date."""
    before: Mapping[str, Any] = (previous or {}).get("assets") or {}
    assets: dict[str, dict[str, Any]] = {}
    wrote = False
    with shared.lease() as file:
        for number, index in images:
            cube = file.cubes[number]
            for band in shared.bands[number]:
                if not cube.holds(band.source, index):
                    continue
                path = target.path(name, band.key)
                pieces = partial(_pieces, cube, band, index)
                digest, held = _digest(pieces, cube.grid, band.band)
                old = before.get(band.key) or {}
                made_of = carried(name, band.key, shared.found, old, digest)
                kept = target.has(path, digest, old)
                wrote |= not kept
                if not kept and target.write:
                    target.prepare(path)
                    label = format_time(when.start)
                    _write(path, held or pieces(), cube.grid, band, label)
                facts = target.facts(path, digest) | made_of
                assets[band.key] = _asset(path, cube.grid, band, facts)
    grids = [shared.grids[number] for number, _ in images]
    return Made(build_item(name, target, when, grids, assets), wrote, notes)


def _asset(path: Path, grid: Grid, band: _StoredBand, facts: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if band.told.classes:
        said[_CLASSES] = _classes(band.told.classes)
    if band.told.bits:
        said[_BITS] = [_bits(field) for field in band.told.bits]
    return make_asset(
        str(path),
        bands=(band.band,),
        crs=grid.crs,
        shape=(grid.height, grid.width),
        transform=transform_of(grid),
        extra={**facts, **said},
    )


def _classes(told: Iterable[tuple[int, str]]) -> list[dict[str, Any]]:
    return [
        {"value": value, "name": safe_name(meaning), "description": meaning}
        for value, meaning in told
    ]


def _bits(field: BitField) -> dict[str, Any]:
    """Return a bit field as STAC's classification extension has it."""
    last = field.offset + field.length - 1
    name = f"bit_{field.offset}" if field.length == 1 else f"bits_{field.offset}_{last}"
    return {
        "name": name,
        "offset": field.offset,
        "length": field.length,
        "classes": _classes(field.classes),
    }


def _pieces(
    cube: ArrayCube, band: _StoredBand, index: int
) -> Iterator[tuple[Window, Values, Mask]]:
    """Yield the blocks of an image, in one order whatever the file's own are."""
    for window in cube.grid.window.blocks(_EDGE):
        values = cube.read(band.source, index, window).astype(band.band.dtype, copy=False)
        yield window, values, _valid(values, band.band.nodata)


def _valid(values: Values, nodata: float | None) -> Mask:
    """Tell which numbers are data."""
    if nodata is None:
        return all_valid(values.shape)
    found: Mask = ~np.isnan(values) if math.isnan(nodata) else values != values.dtype.type(nodata)
    return found


def _digest(
    pieces: Callable[[], Iterator[tuple[Window, Values, Mask]]], grid: Grid, band: BandInfo
) -> tuple[str, list[tuple[Window, Values, Mask]]]:
    """Return the digest of all that decides what a file holds, and the image if it is one block."""
    facts = [
        _RECIPE, band.name, band.dtype, str(band.nodata), band.scale, band.offset, grid.crs,
        *transform_of(grid), grid.height, grid.width,
    ]  # fmt: skip
    found = hashlib.blake2b(json.dumps(facts).encode(), digest_size=32)
    single = grid.height <= _EDGE and grid.width <= _EDGE
    held = []
    for window, values, valid in pieces():
        found.update(np.packbits(valid).data)
        found.update(np.ascontiguousarray(np.where(valid, values, values.dtype.type(0))).data)
        if single:
            held.append((window, values, valid))
    return found.hexdigest(), held


def _write(
    path: Path,
    pieces: Iterable[tuple[Window, Values, Mask]],
    grid: Grid,
    band: _StoredBand,
    label: str,
) -> None:
    """Write one band of one date as a COG."""
    dimensions = (
        Dimension("bands", Kind.BANDS, (band.band.name,)),
        Dimension("y", Kind.SPATIAL),
        Dimension("x", Kind.SPATIAL),
    )
    write_cogs(
        [path],
        (
            Cube(values[np.newaxis], valid[np.newaxis], dimensions, grid, window)
            for window, values, valid in pieces
        ),
        grid,
        dtype=np.dtype(band.band.dtype),
        bands=(band.band.name,),
        times=(label,),
        options=CogOptions(
            nodata=band.band.nodata, overviews="nearest" if band.nearest else "average"
        ),
    )
