"""CF NetCDF cubes as items: one per date, one COG per band.

One COG per band lets a graph read only the bands that it needs, and bands of different types keep
theirs. What a COG was made of is known by a digest of its pixels and metadata, date by date: a
cube that grew by a date gives one new item.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.catalog import BandInfo, make_asset
from terrazzo.cube import Cube, Dimension, Kind, all_valid
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
from terrazzo.drivers.ingestion.names import date_id, read_name, safe_name
from terrazzo.errors import ArgumentInvalid, SourceUnreadable
from terrazzo.geo.times import format_time
from terrazzo.storage.ingest_support import CLASS_TYPES
from terrazzo.storage.netcdf_cube import CfCube, open_cf
from terrazzo.storage.writers.cog import CogOptions, write_cogs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from terrazzo.cube import Mask, Values
    from terrazzo.geo.grid import Grid
    from terrazzo.storage.netcdf_cube import CfBand

_RECIPE: Final = "1"
"""Part of every digest; another one makes all files anew."""
_UINT8_MAX: Final = 255


def read(found: FoundFile, given: Given) -> list[Draft]:
    """Open a cube and return its items to be, one per date.

    Their ids begin with the pattern's group `item`, else with the file's name.

    Raises:
        SourceUnreadable: damaged, cut short, or no NetCDF.
        ArgumentInvalid: no regular grid, no dates, or options that do not fit.
        AssetForbidden: the file points to other files, or is a link that leaves its folder.
    """
    options, target = given.options, given.target
    name = read_name(found.name, given.pattern)
    prefix = name.item if given.pattern is not None else found.path.stem
    with open_cf(found.path, found.gate) as cube:
        periods = _periods(cube, options, name.date)
        bands = _stored_bands(cube, options, given.known_types)
        grid = cube.grid
        shared = _SharedCube(found, grid, bands, len(periods))
    seen: Counter[str] = Counter()
    drafts = []
    for index, when in enumerate(periods):
        date = date_id(when.start)
        seen[date] += 1
        item = safe_name(f"{prefix}_{date}" + (f"_{seen[date]}" if seen[date] > 1 else ""))
        make = partial(_make, shared, index, when, item, target)
        drafts.append(Draft(item, f"{found.name} [{date}]", make))
    return drafts


@dataclass(frozen=True, slots=True)
class _StoredBand:
    """A variable of a cube, and how it is stored."""

    variable: str
    """Name in the file."""
    band: BandInfo
    """As stored: name and dtype may differ from the file's."""
    classes: bool
    """Whether its values are classes as far as one can tell, so that overviews don't mix them."""


class _SharedCube:
    """A cube that is opened with the first date that is read and closed with the last one."""

    def __init__(
        self, found: FoundFile, grid: Grid, bands: tuple[_StoredBand, ...], dates: int
    ) -> None:
        self.grid, self.bands = grid, bands
        self._found, self._left = found, dates
        self._lock = threading.Lock()
        self._cube: CfCube | None = None

    @contextmanager
    def lease(self) -> Iterator[CfCube]:
        """Lend the open cube for one date."""
        with self._lock:
            if self._cube is None:
                self._cube = open_cf(self._found.path, self._found.gate)
            cube = self._cube
        try:
            yield cube
        finally:
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    cube.close()


def _periods(cube: CfCube, options: IngestOptions, named: datetime | None) -> list[Period]:
    """Return the dates of a cube; one without time has the user's date or that in its name.

    Raises:
        ArgumentInvalid: there is no date, or the user gives one for several.
    """
    if len(cube.times) > 1 and options.datetime:
        raise ArgumentInvalid(
            f"it has {len(cube.times)} dates of its own; leave --datetime {options.datetime!r} out."
        )
    if options.datetime:
        return [Period.of(options.datetime)]
    if cube.times:
        return [Period(time) for time in cube.times]
    if named is None:
        raise ArgumentInvalid(
            "it has no time coordinate and no date in its name. State it with "
            "--datetime 2018-05-01."
        )
    return [Period(named)]


def _stored_bands(
    cube: CfCube, options: IngestOptions, known_types: Mapping[str, str]
) -> tuple[_StoredBand, ...]:
    """Choose name, type and no-data value of each band.

    Raises:
        ArgumentInvalid: the user names another number of bands.
    """
    names = options.bands or tuple(band.name for band in cube.bands)
    if len(names) != len(cube.bands) or len(set(names)) != len(names):
        raise ArgumentInvalid(
            f"it has {len(cube.bands)} bands ({', '.join(b.name for b in cube.bands)}) and "
            f"--bands names {len(names)} ({', '.join(names)}). Give one name, each different, "
            "per band."
        )
    stored = []
    for name, band in zip(names, cube.bands, strict=True):
        dtype, nodata = band.dtype, band.nodata
        is_new = known_types.get(name, "uint8") == "uint8"
        if options.narrow and is_new and dtype not in CLASS_TYPES and _fits_uint8(cube, band):
            dtype, nodata = "uint8", None if nodata is None or math.isnan(nodata) else nodata
        elif np.dtype(dtype).kind == "f" and nodata is None:
            nodata = float("nan")
        text = " ".join(filter(None, (band.description, f"[{band.unit}]" if band.unit else "")))
        described = band_info(
            name, cube.grid, options, dtype=dtype, nodata=nodata, scale=band.scale,
            offset=band.offset, description=text,
        )  # fmt: skip
        stored.append(_StoredBand(band.name, described, dtype in CLASS_TYPES))
    return tuple(stored)


def _fits_uint8(cube: CfCube, band: CfBand) -> bool:
    """Tell whether every number of a band, and what marks no-data, is a whole one in 0..255.

    NaN is none. Reads all dates, or up to the first number that is not. A date that cannot be read
    does not count: it is left out later.
    """
    mark = 0.0 if band.nodata is None or math.isnan(band.nodata) else band.nodata
    if not mark.is_integer() or not 0 <= mark <= _UINT8_MAX:
        return False
    seen = False
    for index in range(max(len(cube.times), 1)):
        try:
            values = cube.read(band.name, index)
        except SourceUnreadable:
            continue
        seen = True
        with np.errstate(invalid="ignore"):
            if not (values.astype(np.uint8) == values).all():
                return False
    return seen


def _make(
    shared: _SharedCube,
    index: int,
    when: Period,
    name: str,
    target: Target,
    previous: Mapping[str, Any] | None,
) -> Made:
    """Make the item of one date."""
    before: Mapping[str, Any] = (previous or {}).get("assets") or {}
    assets: dict[str, dict[str, Any]] = {}
    wrote = False
    grid = shared.grid
    with shared.lease() as cube:
        for band in shared.bands:
            key = safe_name(band.band.name)
            values = cube.read(band.variable, index).astype(band.band.dtype, copy=False)
            valid = _valid(values, band.band.nodata)
            path = target.path(name, key)
            digest = _digest(values, valid, grid, band.band)
            kept = target.has(path, digest, before.get(key) or {})
            wrote |= not kept
            if not kept and target.write:
                target.prepare(path)
                _write(path, values, valid, grid, band, format_time(when.start))
            assets[key] = make_asset(
                str(path),
                bands=(band.band,),
                crs=grid.crs,
                shape=(grid.height, grid.width),
                transform=transform_of(grid),
                extra=target.facts(path, digest),
            )
        return Made(build_item(name, target, when, (grid,), assets), wrote)


def _valid(values: Values, nodata: float | None) -> Mask:
    """Tell which numbers are data."""
    if nodata is None:
        return all_valid(values.shape)
    found: Mask = ~np.isnan(values) if math.isnan(nodata) else values != values.dtype.type(nodata)
    return found


def _digest(values: Values, valid: Mask, grid: Grid, band: BandInfo) -> str:
    """Return the digest of all that decides what a file holds."""
    facts = [
        _RECIPE, band.name, values.dtype.str, str(band.nodata), band.scale, band.offset, grid.crs,
        *transform_of(grid), grid.height, grid.width,
    ]  # fmt: skip
    found = hashlib.blake2b(json.dumps(facts).encode(), digest_size=32)
    found.update(np.packbits(valid).data)
    found.update(np.ascontiguousarray(np.where(valid, values, values.dtype.type(0))).data)
    return found.hexdigest()


def _write(
    path: Path, values: Values, valid: Mask, grid: Grid, band: _StoredBand, label: str
) -> None:
    """Write one band of one date as a COG."""
    dimensions = (
        Dimension("bands", Kind.BANDS, (band.band.name,)),
        Dimension("y", Kind.SPATIAL),
        Dimension("x", Kind.SPATIAL),
    )
    cube = Cube(values[np.newaxis], valid[np.newaxis], dimensions, grid, grid.window)
    write_cogs(
        [path],
        [cube],
        grid,
        dtype=values.dtype,
        bands=(band.band.name,),
        times=(label,),
        options=CogOptions(
            nodata=band.band.nodata, overviews="nearest" if band.classes else "average"
        ),
    )
