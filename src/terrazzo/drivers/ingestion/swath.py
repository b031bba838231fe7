"""Swaths as items: level-2 products whose pixels lie on no grid, brought to one on the way in.

One item per file, one COG per variable on a grid near the swath's own pixels. Each cell has the
number of the pixel that it is in, unchanged: nothing is interpolated, and what no pixel of the
swath covers is no-data. Of several pixels that cover a cell the nearest with data counts.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.catalog import make_asset
from terrazzo.cube import Cube, Dimension, Kind
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
from terrazzo.drivers.ingestion.names import read_name, safe_name, when_of
from terrazzo.errors import ArgumentInvalid, SourceUnreadable, suggest
from terrazzo.geo.grid import Window
from terrazzo.geo.times import format_time, parse_time
from terrazzo.storage.arrays.swath import Positions, SwathBand, SwathFile, open_swath, text_of
from terrazzo.storage.arrays.swath_gridding import choose, lay_out
from terrazzo.storage.set_aside import is_kept, is_long, stand_in
from terrazzo.storage.writers.cog import CogOptions, write_cogs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.catalog import BandInfo
    from terrazzo.cube import Mask, Values
    from terrazzo.drivers.ingestion.names import NameParts
    from terrazzo.storage.arrays.swath import Place
    from terrazzo.storage.arrays.swath_gridding import Chosen, Layout
    from terrazzo.storage.gate import Gate

_RECIPE: Final = "swath 1"
"""Part of every digest; another way of gridding needs another one."""
_STARTS: Final = ("time_coverage_start", "sensing_start", "start_time", "StartTime")
_ENDS: Final = ("time_coverage_end", "sensing_stop", "sensing_end", "stop_time", "StopTime")
_ROWS: Final = 512
"""Rows of the grid that are written together: those of the writer's internal tiles."""
_TRIED: Final = 256
_SHOWN: Final = 30
_NAMED: Final = 6
_TROPOMI: Final = re.compile(r"S5P_[A-Z]{4}_L\d")


@dataclass(frozen=True, slots=True)
class Measured:
    """A variable over a swath, and the file that it is in."""

    found: FoundFile
    """The file."""
    band: SwathBand
    """The variable."""
    name: str
    """Of the band that it becomes."""
    wavelength_um: float | None = None
    """Centre wavelength, micrometres."""


@dataclass(frozen=True, slots=True)
class Part:
    """Variables that share their positions."""

    positions: Callable[[ExitStack], Positions]
    """Opens the positions; the stack closes them."""
    sources: tuple[Path, ...]
    """Files that the positions are in."""
    measured: tuple[Measured, ...]
    """The variables."""
    note: str = ""
    """What people should know of the positions."""


@dataclass(frozen=True, slots=True)
class Swath:
    """What one item is made of."""

    item: str
    """Id of the item to be."""
    source: str
    """What it is made of, for messages."""
    when: Period
    """Its instant or period."""
    parts: tuple[Part, ...]
    """Its variables."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """More properties of the item."""


def read(found: FoundFile, given: Given) -> list[Draft]:
    """Open a file with swaths and return the item that it becomes.

    Raises:
        SourceUnreadable: damaged, cut short, or no NetCDF.
        ArgumentInvalid: no positions that can be used, no date, or options that do not fit.
        AssetForbidden: the file points to other files, or is a link that leaves its folder.
    """
    if found.path.is_dir() or found.path.suffix == ".zip":
        raise ArgumentInvalid(
            "its pixels have latitudes and longitudes of their own (a swath), and swaths are read "
            "from NetCDF and HDF5. Save it as NetCDF first, for example with xarray."
        )
    name = read_name(found.name, given.pattern)
    prefix = name.item if given.pattern is not None else found.path.stem
    with open_swath(found.path, found.gate) as file:
        parts = []
        for place in file.places():
            bands = file.bands(place)
            if bands:
                opens = partial(positions_in, found.path, found.gate, place)
                measured = tuple(Measured(found, band, band.name) for band in bands)
                parts.append(Part(opens, (found.path,), measured))
        if not parts:
            shapes = ", ".join(f"{p.rows[1]} x {p.cols[1]}" for p in file.places()) or "none"
            raise ArgumentInvalid(
                "it has no variable of numbers over its two-dimensional latitudes and longitudes "
                f"({shapes})."
            )
        when = _when(file, name, given.options, found.name)
        properties = _properties(file)
    swath = Swath(safe_name(prefix), found.name, when, tuple(parts), properties)
    return [draft_of(swath, given)]


def draft_of(swath: Swath, given: Given) -> Draft:
    """Choose the bands and grids of a swath and return its item to be.

    Raises:
        SourceUnreadable: a file is damaged.
        ArgumentInvalid: no positions that can be used, or bands that are not there.
    """
    options = given.options
    chosen = _chosen(swath.parts, options.bands)
    laid = []
    for part in chosen:
        with ExitStack() as stack:
            positions = part.positions(stack)
            laid.append((part, lay_out(positions, options.crs, options.resolution)))
    make = partial(_make, swath, tuple(laid), options, given.target)
    return Draft(swath.item, swath.source, make)


def positions_in(path: Path, gate: Gate, place: Place, stack: ExitStack) -> Positions:
    """Open the positions that are kept in a place of a file; the stack closes them."""
    return stack.enter_context(open_swath(path, gate)).positions(place)


def _chosen(parts: Sequence[Part], names: Sequence[str]) -> list[Part]:
    """Leave the variables that were asked for, or else the plain ones, each by another name.

    Raises:
        ArgumentInvalid: there are none, or a name is of none.
    """
    every = [one for part in parts for one in part.measured]
    known = {name for one in every for name in _names(one)}
    for name in names:
        if name not in known:
            shown = ", ".join(sorted({one.name for one in every})[:_SHOWN])
            raise ArgumentInvalid(
                f"it has no variable {name!r} over its swath, which --bands asks for."
                f"{suggest(name, sorted(known))} It has {shown}."
            )
    wanted = set(names)
    found = []
    seen: Counter[str] = Counter()
    for part in parts:
        kept = []
        for one in part.measured:
            if (wanted & _names(one)) if wanted else one.band.plain:
                seen[one.name] += 1
                again = seen[one.name] > 1
                kept.append(replace(one, name=safe_name(one.band.path)) if again else one)
        if kept:
            found.append(replace(part, measured=tuple(kept)))
    if not found:
        shown = ", ".join(sorted({one.name for one in every})[:_SHOWN])
        raise ArgumentInvalid(
            f"its variables have further dimensions: {shown}. Choose some with --bands."
        )
    return found


def _names(measured: Measured) -> set[str]:
    """Return what a variable may be asked for by."""
    path = measured.band.path
    return {measured.name, path, path.rpartition("/")[2]}


def _when(file: SwathFile, name: NameParts, options: IngestOptions, shown: str) -> Period:
    """Return the period that a swath was sensed in; the user's word counts first.

    Raises:
        ArgumentInvalid: nothing says it.
        SourceUnreadable: the file is damaged.
    """
    if options.datetime or name.stated:
        return when_of(name, options.datetime, {}, name=shown)
    told = period_of(file.attributes)
    if told is None and (ends := file.sensed()) is not None:
        told = Period(ends[0], ends[1] if ends[1] > ends[0] else None)
    return told or when_of(name, "", {}, name=shown)


def period_of(attributes: Mapping[str, Any]) -> Period | None:
    """Return the period that global attributes state; an instant where they state no end."""
    ends = []
    for names in (_STARTS, _ENDS):
        texts = [text_of(attributes, name).strip() for name in names]
        found = next((one for text in texts if (one := _instant(text)) is not None), None)
        if found is None:
            break
        ends.append(found)
    if not ends:
        return None
    return Period(ends[0], ends[1] if len(ends) > 1 and ends[1] > ends[0] else None)


def _instant(text: str) -> datetime | None:
    """Read an instant, UTC if it states no offset; None if it is none."""
    for one in (text, f"{text}Z", f"{text.replace(' ', 'T', 1)}Z"):
        try:
            return parse_time(one)
        except ArgumentInvalid:
            continue
    return None


def _properties(file: SwathFile) -> dict[str, Any]:
    """Return what the file says of satellite and orbit."""
    told = file.attributes
    orbit = text_of(told, "orbit")
    platform = text_of(told, "platform")
    sensor = text_of(told, "sensor") or text_of(told, "instrument")
    if _TROPOMI.match(file.name):
        platform, sensor = "sentinel-5p", sensor or "tropomi"
    found: dict[str, Any] = {
        "platform": platform.lower(),
        "instruments": [sensor.lower()] if sensor else [],
        "sat:absolute_orbit": int(orbit) if orbit.isdecimal() else None,
    }
    return {name: value for name, value in found.items() if value not in ("", [], None)}


def _make(
    swath: Swath,
    laid: Sequence[tuple[Part, Layout]],
    options: IngestOptions,
    target: Target,
    previous: Mapping[str, Any] | None,
) -> Made:
    """Make the item, and the images that are not there yet."""
    before: Mapping[str, Any] = (previous or {}).get("assets") or {}
    assets: dict[str, dict[str, Any]] = {}
    digests: dict[Path, str] = {}
    wrote = False
    for part, layout in laid:
        grid = layout.grid
        with ExitStack() as stack:
            chosen: Chosen | None = None
            for one in part.measured:
                file = stack.enter_context(open_swath(one.found.path, one.found.gate))
                band = _described(file, one, layout, options)
                path, key = target.path(swath.item, safe_name(one.name)), safe_name(one.name)
                digest = _digest(one, band, part, layout, digests)
                kept = target.has(path, digest, before.get(key) or {})
                wrote |= not kept
                if not kept and target.write:
                    target.prepare(path)
                    if chosen is None:
                        positions = part.positions(stack)
                        chosen = stack.enter_context(choose(positions, layout, path.parent))
                    _write(path, file, one, band, layout, chosen, format_time(swath.when.start))
                file.close()
                assets[key] = make_asset(
                    str(path),
                    bands=(band,),
                    crs=grid.crs,
                    shape=(grid.height, grid.width),
                    transform=transform_of(grid),
                    extra=target.facts(path, digest),
                )
    grids = [layout.grid for _, layout in laid]
    item = build_item(swath.item, target, swath.when, grids, assets, swath.properties)
    geometry = _outline([layout for _, layout in laid])
    left = "" if options.bands else _left(swath, laid)
    notes = tuple(filter(None, (*(part.note for part, _ in laid), left)))
    return Made(item | ({"geometry": geometry} if geometry else {}), wrote, notes)


def _left(swath: Swath, laid: Sequence[tuple[Part, Layout]]) -> str:
    """Say which variables of a swath were not taken; empty if all were."""
    taken = {one.band for part, _ in laid for one in part.measured}
    left = [one.band for part in swath.parts for one in part.measured if one.band not in taken]
    names = list(dict.fromkeys(band.path for band in left))
    shown = ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
    return f"{len(names)} more variables can be had with --bands: {shown}" if names else ""


def _outline(layouts: Sequence[Layout]) -> dict[str, Any] | None:
    """Return the outline of the layout that says most; None where none says any."""
    outlines = [layout.outline for layout in layouts if layout.outline]
    return dict(outlines[0]) if len(outlines) == len(layouts) == 1 else None


def _described(
    file: SwathFile, measured: Measured, layout: Layout, options: IngestOptions
) -> BandInfo:
    """Describe a band; one of integers that state no fill value gets a number that none is.

    Raises:
        ArgumentInvalid: its numbers take all that its type has.
        SourceUnreadable: the file is damaged.
    """
    band = measured.band
    dtype = np.dtype(band.dtype)
    kept = (float(mark) for mark in band.marks if is_kept(dtype, mark))
    nodata = math.nan if dtype.kind == "f" else next(kept, None)
    if nodata is None:
        nodata = _free(file, band)
    text = " ".join(filter(None, (band.description, f"[{band.unit}]" if band.unit else "")))
    found = band_info(
        measured.name, layout.grid, options, dtype=band.dtype, nodata=nodata, scale=band.scale,
        offset=band.offset, description=text,
    )  # fmt: skip
    return replace(found, wavelength_um=measured.wavelength_um)


def _free(file: SwathFile, band: SwathBand) -> float:
    """Return a number that no pixel has, for cells that no pixel covers.

    Raises:
        ArgumentInvalid: there is none.
        SourceUnreadable: the file is damaged.
    """
    dtype = np.dtype(band.dtype)
    info = np.iinfo(dtype)
    count = min(_TRIED, info.max // 2 + 1)
    low = [info.min + step for step in range(count)]
    high = [info.max - step for step in range(count)]
    tried = [*low, *high] if dtype.kind == "i" else [*high, *low, int(info.max) // 2 + 1]
    if is_long(dtype):
        end, inwards = stand_in(dtype), 1 if dtype.kind == "i" else -1
        tried = [end + inwards * step for step in range(count)]
    free = [number for number in tried if is_kept(dtype, number)]
    for first in range(0, band.rows[1], _ROWS):
        there = set(np.unique(file.read(band, first, min(first + _ROWS, band.rows[1]))).tolist())
        free = [number for number in free if number not in there]
    if not free:
        raise ArgumentInvalid(
            f"its variable {band.name!r} states no _FillValue, and its numbers take all that "
            f"{band.dtype} has, so that none is left for cells that no pixel covers."
        )
    return float(free[0])


def _digest(
    measured: Measured, band: BandInfo, part: Part, layout: Layout, known: dict[Path, str]
) -> str:
    """Return the digest of all that decides what a file holds.

    Raises:
        SourceUnreadable: a file is gone.
    """
    facts = [
        _RECIPE, measured.band.path, measured.band.index, str(measured.band.valid),
        band.name, band.dtype, str(band.nodata), band.scale, band.offset, layout.grid.crs,
        *transform_of(layout.grid), layout.grid.height, layout.grid.width,
    ]  # fmt: skip
    found = hashlib.blake2b(json.dumps(facts).encode(), digest_size=32)
    for path in (measured.found.path, *part.sources):
        if path not in known:
            try:
                with path.open("rb") as file:
                    known[path] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError:
                raise SourceUnreadable(path.stem, path.name, "it is gone") from None
        found.update(known[path].encode())
    return found.hexdigest()


def _write(
    path: Path,
    file: SwathFile,
    measured: Measured,
    band: BandInfo,
    layout: Layout,
    chosen: Chosen,
    label: str,
) -> None:
    """Write one band as a COG."""
    grid = layout.grid
    dimensions = (
        Dimension("bands", Kind.BANDS, (band.name,)),
        Dimension("y", Kind.SPATIAL),
        Dimension("x", Kind.SPATIAL),
    )

    def blocks() -> Iterator[Cube]:
        for row in range(0, grid.height, _ROWS):
            stop = min(row + _ROWS, grid.height)
            values, valid = _taken(file, measured.band, chosen, row, stop)
            window = Window(row, 0, stop - row, grid.width)
            yield Cube(values[np.newaxis], valid[np.newaxis], dimensions, grid, window)

    write_cogs(
        [path],
        blocks(),
        grid,
        dtype=np.dtype(band.dtype),
        bands=(band.name,),
        times=(label,),
        options=CogOptions(
            nodata=band.nodata, overviews="nearest" if measured.band.classes else "average"
        ),
    )


def _taken(
    file: SwathFile, band: SwathBand, chosen: Chosen, row: int, stop: int
) -> tuple[Values, Mask]:
    """Return the numbers of some rows of the grid, and where there are any."""
    nearest, other = chosen.read(row, stop)
    first, last = chosen.rows_of(nearest)
    begin, end = chosen.rows_of(other)
    if end:
        first, last = min(first, begin), max(last, end)
    values: Values = np.zeros(nearest.shape, np.dtype(band.dtype))
    valid = np.zeros(nearest.shape, np.bool_)
    if last <= first:
        return values, valid
    numbers = file.read(band, first, last).ravel()
    measured = _measured(numbers, band)
    for choice in (nearest, other):
        at = np.flatnonzero((choice > 0) & ~valid)
        picked = choice.ravel()[at].astype(np.int64) - 1 - first * band.cols[1]
        good = measured[picked]
        values.ravel()[at[good]] = numbers[picked[good]]
        valid.ravel()[at[good]] = True
    return values, valid


def _measured(numbers: Values, band: SwathBand) -> NDArray[np.bool_]:
    """Tell which numbers are data."""
    found = np.ones(numbers.shape, np.bool_)
    if numbers.dtype.kind == "f":
        found &= np.isfinite(numbers)
    for mark in band.marks:
        found &= numbers != numbers.dtype.type(mark)
    if band.valid != (-math.inf, math.inf):
        found &= (numbers >= band.valid[0]) & (numbers <= band.valid[1])
    return found
