"""Image files: what they are, and exactly the pixels of a window from cached internal tiles."""

from __future__ import annotations

import math
from collections import OrderedDict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from terrazzo.cube import all_valid
from terrazzo.errors import ArgumentInvalid, SourceUnreadable
from terrazzo.geo.grid import Window
from terrazzo.spans import note, span
from terrazzo.storage.blocks import BlockCache
from terrazzo.storage.handles import HandlePool, gdal_environment, unreadable
from terrazzo.storage.headers import (
    HEADER,
    Header,
    HeaderOutdated,
    LevelInfo,
    RasterInfo,
    agrees,
    header_document,
    info_of,
    level_lattice,
    level_of,
)
from terrazzo.storage.tiff import TiffLevel, tiff_levels
from terrazzo.storage.tiles import MASK, TileReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from terrazzo.cube import Mask, Values
    from terrazzo.geo.grid import Grid
    from terrazzo.storage.gate import AssetName

    Stamp = tuple[int, int]
    OnBad = Callable[[SourceUnreadable], None]
    Place = tuple[slice, slice]

CACHE_BYTES = 512 * 2**20
"""What the process-wide cache of decoded tiles holds unless told otherwise."""
HEADERS_KEPT = 20_000
"""Files whose headers a reader remembers."""


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Numbers of one band as a file holds them."""

    numbers: Values
    """(h, w) in the file's dtype; read-only, may be a view of a tile in the cache."""
    valid: Mask | None
    """(h, w), from the mask or alpha band and tiles that are broken; None = all valid."""
    nodata: float | None
    """The number that marks no-data besides, exactly in the dtype; None where none can."""

    def validity(self) -> Mask:
        """Return which numbers are valid, no-data considered."""
        if self.nodata is None:
            return all_valid(self.numbers.shape) if self.valid is None else self.valid
        found = _differ(self.numbers, self.nodata)
        return found if self.valid is None else found & self.valid

    def over(self, below: Stored) -> Stored:
        """Return these numbers where they are valid, else those of another image.

        Both are of one lattice, dtype and no-data number.
        """
        mine, theirs = self.validity(), below.validity()
        numbers = np.where(mine, self.numbers, below.numbers)
        numbers.flags.writeable = False
        if self.valid is None and below.valid is None:
            return Stored(numbers, None, self.nodata)
        return Stored(numbers, mine | theirs, None)


@dataclass(slots=True)
class _Known:
    """What a reader knows of one version of a file."""

    info: RasterInfo
    levels: dict[int, LevelInfo]
    unchecked: set[int] = field(default_factory=set)
    """Levels that an item told of, with which no dataset has been compared yet."""
    grids: dict[int, Grid] = field(default_factory=dict)


class RasterReader:
    """Reads image files through one cache and one pool of open datasets; for many threads.

    A reader that is pickled arrives as the process-wide one of the other process.
    """

    def __init__(self, cache: BlockCache | None = None, handles: HandlePool | None = None) -> None:
        self.cache = cache or BlockCache(CACHE_BYTES)
        self.handles = handles or HandlePool()
        self._known: OrderedDict[tuple[str, Stamp], _Known] = OrderedDict()

    @override
    def __reduce__(self) -> tuple[Callable[[], RasterReader], tuple[()]]:
        return default_reader, ()

    def image(self, asset: AssetName, told: Header | None = None) -> Image:
        """Return an image as its file is now.

        Args:
            asset: what the gate let through.
            told: what its item says of the file, if it does. It spares opening the file to
                describe it, and is compared with the first dataset that is opened.

        Raises:
            SourceUnreadable: gone, damaged, without georeference, or rotated.
        """
        stamp = asset.stamp
        known = self._known.get((asset.key, stamp))
        if known is None:
            if told is None or told.stamp != stamp:
                known = self.describe_anew(asset, stamp)
            else:
                levels = dict(enumerate(told.levels))
                known = self._keep(asset, stamp, _Known(told.info, levels, set(levels)))
        return Image(self, asset, stamp, known)

    def describe_anew(self, asset: AssetName, stamp: Stamp) -> _Known:
        """Ask a file what it is, whatever was known of it.

        Raises:
            SourceUnreadable: gone, damaged, without georeference, or rotated.
        """
        with span("open"), gdal_environment(), self.handles.lease(asset, 0, stamp) as dataset:
            known = _Known(info_of(asset, dataset), {0: level_of(dataset)})
        return self._keep(asset, stamp, known)

    def describe(self, asset: AssetName) -> RasterInfo:
        """Return what a file says about itself, read once per version of the file.

        Raises:
            SourceUnreadable: gone, damaged, without georeference, or rotated.
        """
        return self.image(asset).info

    def header(self, asset: AssetName) -> Header:
        """Return all that a file says about itself, by opening each of its levels.

        Raises:
            SourceUnreadable: gone, damaged, without georeference, or rotated.
        """
        image = Image(self, asset, asset.stamp, self.describe_anew(asset, asset.stamp))
        levels = range(1 + len(image.info.overviews))
        return Header(image.stamp, image.info, tuple(image.size(level) for level in levels))

    def level_grid(self, asset: AssetName, level: int) -> Grid:
        """Return the lattice of an overview level: the file's extent in the level's pixels.

        Raises:
            SourceUnreadable: as `describe`.
        """
        while True:
            try:
                return self.image(asset).lattice(level)
            except HeaderOutdated:
                continue  # the file has been described anew

    def read_window(
        self,
        asset: AssetName,
        level: int,
        bands: Sequence[int],
        window: Window,
        *,
        nodata: Sequence[float | None] | None = None,
        on_bad: OnBad | None = None,
    ) -> tuple[Values, Mask]:
        """Return exactly the pixels of a window; see `Image.read`.

        Raises:
            SourceUnreadable: gone, damaged or without georeference.
            ArgumentInvalid: a band or pixel that is not there.
        """
        while True:
            try:
                image = self.image(asset)
                return image.read(level, bands, window, nodata=nodata, on_bad=on_bad)
            except HeaderOutdated:
                continue  # the file has been described anew

    def _keep(self, asset: AssetName, stamp: Stamp, known: _Known) -> _Known:
        # Without a lock, which a forked child could find locked: each step is atomic.
        self._known[asset.key, stamp] = known
        if len(self._known) > HEADERS_KEPT:
            self._known.popitem(last=False)
        return known


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One version of a file, as a reader knows it."""

    reader: RasterReader
    """Its cache and datasets are used."""
    asset: AssetName
    """The file, past the gate."""
    stamp: Stamp
    """Time of change (ns) and bytes of the file; zeros for a remote one."""
    known: _Known
    """Header and levels."""

    @property
    def info(self) -> RasterInfo:
        """What the file says about itself."""
        return self.known.info

    def size(self, level: int) -> LevelInfo:
        """Return what an overview level says about itself.

        Raises:
            SourceUnreadable: the file cannot be opened, or its tiles are too large.
        """
        found = self.known.levels.get(level)
        if found is None:
            with self.lease(level) as dataset:
                found = level_of(dataset)
            if not self.info.has_mask:
                found = replace(found, masked=False)
            self.known.levels[level] = found
        return found

    def lattice(self, level: int) -> Grid:
        """Return the lattice of an overview level: the file's extent in the level's pixels.

        Raises:
            SourceUnreadable: the file cannot be opened, or its tiles are too large.
        """
        found = self.known.grids.get(level)
        if found is None:
            size = self.size(level)
            size.check(self.asset, self.info)
            found = self.known.grids[level] = level_lattice(self.info, level, size)
        return found

    @contextmanager
    def lease(self, level: int) -> Iterator[Any]:
        """Lend a dataset of a level for a `with` block.

        Raises:
            SourceUnreadable: the file cannot be opened.
            HeaderOutdated: the file is not as its item tells, and has been described anew.
        """
        with ExitStack() as stack:
            lease = self.reader.handles.lease(self.asset, level, self.stamp)
            try:
                dataset = stack.enter_context(lease)
                if level in self.known.unchecked:
                    self._compare(level, dataset)
                elif self.asset.closed_for is not None:
                    self._hold_to(level, dataset)
            except SourceUnreadable:
                if level not in self.known.unchecked:
                    raise
                self.reader.describe_anew(self.asset, self.stamp)
                raise HeaderOutdated from None
            yield dataset

    def _compare(self, level: int, dataset: Any) -> None:
        """Compare a dataset with what an item told of its file, once per level."""
        if not agrees(self.asset, dataset, self.info, self.known.levels[level]):
            self.reader.describe_anew(self.asset, self.stamp)
            raise HeaderOutdated
        self.known.unchecked.discard(level)

    def _hold_to(self, level: int, dataset: Any) -> None:
        """Refuse what a closed worker says, each read having a new one, if it is another story.

        Raises:
            SourceUnreadable: its bands or tiles are not those that were told first.
        """
        known = self.known.levels.get(level)
        told = level_of(dataset)
        same = known is None or replace(told, masked=known.masked) == known
        if tuple(dataset.dtypes) != self.info.dtypes or not same:
            raise unreadable(
                self.asset,
                "it is described otherwise than at first: it was replaced, or upsets its reader",
            )

    def read(
        self,
        level: int,
        bands: Sequence[int],
        window: Window,
        *,
        nodata: Sequence[float | None] | None = None,
        on_bad: OnBad | None = None,
    ) -> tuple[Values, Mask]:
        """Return exactly the pixels of a window.

        Args:
            level: overview level, 0 = full resolution.
            bands: 1-based indices.
            window: rows and columns of the level's north-up grid, all inside it.
            nodata: one per band, instead of what the file declares; None = no such value.
            on_bad: called for an internal tile that cannot be decoded, whose pixels are then
                invalid; without it the error is raised.

        Returns:
            (band, y, x) values in the file's dtype (the common one of its bands), perhaps a
            read-only view of a tile in the cache, and their validity: from the mask or alpha
            band, else from no-data (NaN no-data marks NaN).

        Raises:
            SourceUnreadable: gone, damaged or without georeference.
            ArgumentInvalid: a band or pixel that is not there.
        """
        values = None
        if len(bands) > 1:
            values = np.empty((len(bands), window.height, window.width), self.info.dtype)
        found = self.stored(level, bands, window, nodata=nodata, on_bad=on_bad, out=values)
        if values is None:
            values = found[0].numbers[np.newaxis]
        if all(one.nodata is None and one.valid is None for one in found):
            return values, all_valid(values.shape)
        if len(found) == 1:
            return values, found[0].validity()[np.newaxis]
        return values, np.stack([one.validity() for one in found])

    def stored(
        self,
        level: int,
        bands: Sequence[int],
        window: Window,
        *,
        nodata: Sequence[float | None] | None = None,
        on_bad: OnBad | None = None,
        out: Values | None = None,
    ) -> tuple[Stored, ...]:
        """Return the pixels of a window as they are stored, one per band; see `read`.

        Nothing is copied where the window lies in one internal tile, unless `out`, (band, y, x),
        is to hold them.
        """
        info, lattice = self.info, self.lattice(level)
        if [b for b in bands if not 1 <= b <= len(info.dtypes)] or not (
            lattice.window.contains(window)
        ):
            raise ArgumentInvalid(
                f"Item {self.asset.item!r}, asset {self.asset.asset!r} has {len(info.dtypes)} "
                f"bands of {lattice.height} x {lattice.width} pixels at level {level}, not "
                f"bands {tuple(bands)} at {window}."
            )
        own = [info.nodata[b - 1] if not info.has_mask else None for b in bands]
        marks = [marker(info.dtype, n) for n in (own if nodata is None else nodata)]
        self.reader.cache.count_request(window.pixels * len(bands))
        note("pixels_requested", window.pixels * len(bands))
        if window.is_empty:
            empty = np.empty((window.height, window.width), info.dtype)
            return tuple(Stored(empty, None, mark) for mark in marks)
        numbers, lost = self._pixels(level, bands, window, out, on_bad)
        shared: Mask | None = None
        gone: Sequence[Place] = ()
        if self.size(level).masked:
            (mask,), (gone,) = self._pixels(level, (MASK,), window, None, on_bad)
            shared = mask != 0
            shared = None if shared.all() else shared
        found = []
        for pixels, places, mark in zip(numbers, lost, marks, strict=True):
            valid = shared
            if places or gone:
                valid = np.ones(pixels.shape, np.bool_) if shared is None else shared.copy()
                for place in (*places, *gone):
                    valid[place] = False
            pixels.flags.writeable = out is not None
            found.append(Stored(pixels, valid, mark))
        return tuple(found)

    def tiles(self, level: int) -> TileReader:
        """Return what reads the internal tiles of a level.

        Raises:
            SourceUnreadable: the file cannot be opened, or its tiles are too large.
        """
        size = self.size(level)
        return TileReader(
            self.reader.cache,
            (self.asset.key, self.stamp, level),
            lambda: self.lease(level),
            Window(0, 0, size.height, size.width),
            size.unit,
            self.info.dtype,
            len(self.info.dtypes) if self.info.interleaved else 1,
            self.asset.is_remote,
            self._tiff(level, size),
        )

    def _tiff(self, level: int, size: LevelInfo) -> TiffLevel | None:
        """Return what inflates the level's tiles without GDAL, where something can."""
        if self.asset.is_remote or self.asset.driver != "GTiff":
            return None
        if level in self.known.unchecked:
            with self.lease(level):
                pass  # compares the file with what its item told of it
        levels = tiff_levels(self.asset.gdal, self.stamp)
        found = levels[level] if level < len(levels) else None
        if found is None or found.dtype != self.info.dtype or found.tile != size.unit:
            return None
        return found if found.shape == (size.height, size.width) else None

    def turned(self, level: int, window: Window) -> Window:
        """Return the window in the file's own rows."""
        if not self.info.flipped_y:
            return window
        return replace(window, row=self.lattice(level).height - window.row_stop)

    def _pixels(
        self,
        level: int,
        bands: Sequence[int],
        window: Window,
        out: Values | None,
        on_bad: OnBad | None,
    ) -> tuple[list[Values], list[list[Place]]]:
        """Return (h, w) of bands or the mask, north up, and where they cannot be decoded."""
        flipped = self.info.flipped_y
        if out is not None and flipped:
            out = out[:, ::-1]
        rooms = None if out is None else list(out)
        arrays, lost = self.tiles(level).read(bands, self.turned(level, window), rooms)
        places: list[list[Place]] = [[] for _ in bands]
        for at, error in enumerate(lost):
            for place, reason in error:
                problem = unreadable(self.asset, reason)
                if on_bad is None:
                    raise problem from None
                on_bad(problem)
                places[at].append(_upside_down(place, window.height) if flipped else place)
        return [array[::-1] for array in arrays] if flipped else arrays, places


@lru_cache(maxsize=1)
def default_reader() -> RasterReader:
    """Return the reader that all sources of this process share."""
    return RasterReader()


def describe(asset: AssetName) -> RasterInfo:
    """Return what a file says about itself; see `RasterReader.describe`."""
    return default_reader().describe(asset)


def describe_for_item(asset: AssetName) -> dict[str, Any]:
    """Return what an item may tell of a file, JSON values: the member `HEADER` of its asset.

    Raises:
        SourceUnreadable: gone, damaged, without georeference, or rotated.
    """
    return {HEADER: header_document(default_reader().header(asset))}


def read_window(
    asset: AssetName, level: int, bands: Sequence[int], window: Window
) -> tuple[Values, Mask]:
    """Return exactly the pixels of a window; see `Image.read`."""
    return default_reader().read_window(asset, level, bands, window)


@lru_cache(maxsize=256)
def marker(dtype: np.dtype[Any], nodata: float | None) -> float | None:
    """Return a no-data value as a dtype holds it, None where no pixel can have it."""
    if nodata is None:
        return None
    if dtype.kind in "fc":
        return float(dtype.type(nodata))
    if not math.isfinite(nodata) or nodata != int(nodata):
        return None
    info = np.iinfo(dtype)
    return nodata if info.min <= nodata <= info.max else None


def _differ(numbers: Values, nodata: float) -> Mask:
    found: Mask = (
        ~np.isnan(numbers) if math.isnan(nodata) else numbers != numbers.dtype.type(nodata)
    )
    return found


def _upside_down(place: Place, height: int) -> Place:
    first, stop, _ = place[0].indices(height)
    return slice(height - stop, height - first), place[1]
