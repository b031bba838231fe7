"""GRIB messages as a cube: grouped by valid time, element and level, read by GDAL's own driver.

Units stay those of the file (GDAL would turn kelvins into degrees), and longitudes, too.
"""

from __future__ import annotations

import mmap
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from terrazzo.errors import ArgumentInvalid, SourceUnreadable
from terrazzo.geo.crs import WGS84, crs_name, is_geographic
from terrazzo.geo.grid import Grid
from terrazzo.spans import span
from terrazzo.storage.arrays.cf_bands import MOST_BANDS
from terrazzo.storage.arrays.cf_cube import MOST_PIXELS
from terrazzo.storage.arrays.types import ArrayBand, ArrayFile, Moment
from terrazzo.storage.gate import SAFE_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from terrazzo.cube import Values
    from terrazzo.geo.grid import Window

_OPTIONS: Final[Mapping[str, str | int]] = {
    **SAFE_OPTIONS,
    "GRIB_NORMALIZE_UNITS": "NO",
    "GRIB_ADJUST_LONGITUDE_RANGE": "NO",
    "USE_IDX": "NO",
}
_LARGE: Final = 2**23
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Message:
    """One message: a band of GDAL."""

    index: int
    when: datetime | None
    run: str
    band: ArrayBand


class GribCube:
    """The messages of a file; implements `ArrayCube`."""

    name = ""

    def __init__(self, file: str, dataset: Any) -> None:
        """Take an open dataset.

        Raises:
            ArgumentInvalid: no grid, too many bands or pixels.
        """
        self._file, self._dataset = file, dataset
        self.grid = _grid(file, dataset)
        messages = [_message(dataset, index) for index in dataset.indexes]
        self._place: dict[tuple[str, int], int] = {}
        self.bands: tuple[ArrayBand, ...] = tuple({m.band.name: m.band for m in messages}.values())
        if len(self.bands) > MOST_BANDS:
            raise ArgumentInvalid(
                f"{file!r} has {len(self.bands):,} elements and levels; {MOST_BANDS} are taken in "
                "at most. Split it, for example with `grib_copy`."
            )
        self.times: tuple[Moment, ...] = self._dated(messages)

    def _dated(self, messages: list[_Message]) -> tuple[Moment, ...]:
        """Put messages to their dates.

        What is of one time and name twice, like the members of an ensemble or two forecasts, is
        of a date of its own, which comes as often as it is needed.
        """
        dates: dict[tuple[datetime, int], int] = {}
        seen: Counter[tuple[datetime, str]] = Counter()
        for message in messages:
            when = message.when or _EPOCH
            number = seen[when, message.band.name]
            seen[when, message.band.name] += 1
            place = dates.setdefault((when, number), len(dates))
            self._place[message.band.name, place] = message.index
        if all(message.when is None for message in messages):
            return ()
        return tuple(Moment(when) for when, _ in dates)

    def holds(self, band: str, time_index: int) -> bool:
        """Tell whether there is a message of a band at a date."""
        return (band, time_index) in self._place

    def read(self, band: str, time_index: int = 0, window: Window | None = None) -> Values:
        """Return (y, x) numbers of one band and date; no data where it has no such message.

        Raises:
            ArgumentInvalid: no such band or date.
            SourceUnreadable: the file is damaged.
        """
        known = [one.name for one in self.bands]
        if band not in known or not 0 <= time_index < max(len(self.times), 1):
            raise ArgumentInvalid(
                f"{self._file!r} has no band {band!r} of date {time_index}. Bands: "
                f"{', '.join(known)}."
            )
        area = self.grid.window if window is None else window
        index = self._place.get((band, time_index))
        if index is None:
            return np.full((area.height, area.width), np.nan, np.float32)
        part = RasterioWindow(area.col, area.row, area.width, area.height)
        try:
            with rasterio.Env(**_OPTIONS), span("decode"):
                pixels = self._dataset.read(index, window=part)
        except (RasterioError, CPLE_BaseError, MemoryError) as error:
            raise SourceUnreadable(self._file, band, f"damaged ({type(error).__name__})") from None
        mark = self._dataset.nodatavals[index - 1]
        values: Values = pixels.astype(np.float32)
        if mark is not None:
            values[pixels == mark] = np.nan
        return values


def open_grib(path: Path, name: str) -> ArrayFile:
    """Open a file of GRIB messages of one grid.

    Args:
        path: real path, which the gate has let through.
        name: what messages call it.

    Raises:
        SourceUnreadable: gone or damaged.
        ArgumentInvalid: no grid, too many bands or pixels.
    """
    count = len(_grid_definitions(path))
    if count > 1:
        raise ArgumentInvalid(
            f"{name!r} has messages on {count} grids. Split it first, for example with "
            "`grib_copy in.grib 'out_[gridDefinitionTemplateNumber]_[Ni].grib'`."
        )
    try:
        with rasterio.Env(**_OPTIONS), span("open"):
            dataset = rasterio.open(path, driver="GRIB")
    except (RasterioError, CPLE_BaseError) as error:
        raise SourceUnreadable(name, "cube", f"damaged GRIB ({type(error).__name__})") from None
    try:
        cube = GribCube(name, dataset)
    except BaseException:
        dataset.close()
        raise
    return ArrayFile((cube,), dataset.close)


def _grid_definitions(path: Path) -> set[bytes]:
    """Return the sections of messages that define their grids, each once.

    GDAL takes all messages to be on the grid of the first one.

    Source: WMO Manual on Codes, FM 92 GRIB: section 3 of edition 2, section 2 of edition 1.
    """
    found: set[bytes] = set()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        start = whole.find(b"GRIB")
        while start >= 0:
            edition = whole[start + 7 : start + 8]
            size_bytes = 4
            if edition == b"\2":
                size_bytes = int.from_bytes(whole[start + 8 : start + 16])
                found |= _sections_3(whole, start + 16, min(start + size_bytes, len(whole)))
            elif edition == b"\1":
                size_bytes = int.from_bytes(whole[start + 4 : start + 7])
                if size_bytes >= _LARGE:  # counted in 120 bytes, and some
                    size_bytes = (size_bytes - _LARGE - 1) * 120
                at = start + 8 + int.from_bytes(whole[start + 8 : start + 11])
                if whole[start + 15 : start + 16] >= b"\x80":
                    found.add(whole[at : at + int.from_bytes(whole[at : at + 3])])
            start = whole.find(b"GRIB", start + max(size_bytes, 4))
    return found


def _sections_3(whole: mmap.mmap, at: int, stop: int) -> set[bytes]:
    """Return the grid definitions of a message of edition 2, which may have several."""
    found: set[bytes] = set()
    while at + 5 <= stop:
        length = int.from_bytes(whole[at : at + 4])
        if length < 5 or whole[at : at + 4] == b"7777":  # noqa: PLR2004 - length and number
            break
        if whole[at + 4] == 3:  # noqa: PLR2004 - the section of the grid
            found.add(whole[at + 5 : at + length])
        at += length
    return found


def _grid(name: str, dataset: Any) -> Grid:
    transform = dataset.transform
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0 or not dataset.crs:
        raise ArgumentInvalid(
            f"{name!r} is on no regular north-up grid. Resample it first, for example with "
            "`cdo remapbil`."
        )
    if dataset.width * dataset.height > MOST_PIXELS:
        raise ArgumentInvalid(
            f"{name!r} declares images of {dataset.height:,} x {dataset.width:,} pixels; "
            f"{MOST_PIXELS:,} are taken in at most."
        )
    crs = crs_name(dataset.crs.to_wkt())
    # Models count degrees on a sphere; they are meant, and used by everybody, as those of WGS 84.
    return Grid.of(
        WGS84 if is_geographic(crs) else crs,
        transform.c, transform.f, (transform.a, -transform.e), dataset.height, dataset.width,
    )  # fmt: skip


def _message(dataset: Any, index: int) -> _Message:
    tags = dataset.tags(index)
    element = tags.get("GRIB_ELEMENT", "") or f"message{index}"
    level = tags.get("GRIB_SHORT_NAME", "")
    unit = tags.get("GRIB_UNIT", "").strip("[]")
    said = tags.get("GRIB_COMMENT", "").split("[")[0].strip()
    where = dataset.descriptions[index - 1] or ""
    band = ArrayBand(
        "_".join(filter(None, (element, level))), "float32", nodata=float("nan"),
        unit="" if unit == "-" else unit, description=", ".join(filter(None, (said, where))),
    )  # fmt: skip
    return _Message(index, _valid_time(tags), tags.get("GRIB_REF_TIME", ""), band)


def _valid_time(tags: Mapping[str, str]) -> datetime | None:
    """Return the instant that a message is valid at: seconds since 1970, with words behind."""
    try:
        return _EPOCH + timedelta(seconds=float(tags["GRIB_VALID_TIME"].split()[0]))
    except (KeyError, ValueError, IndexError, OverflowError):
        return None
