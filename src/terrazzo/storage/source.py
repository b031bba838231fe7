"""Images as a source: (t, bands, y, x) on any grid, read where and as finely as asked."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind, ReadCost, all_valid, empty_cube
from terrazzo.cube.pixels import compute_dtype
from terrazzo.cube.warp import source_window, warp
from terrazzo.errors import BandNotFound, NoDataAvailable, SourceUnreadable, SpatialExtentEmpty
from terrazzo.geo.crs import WGS84, is_geographic
from terrazzo.geo.grid import Window, transform_bounds
from terrazzo.geo.pixelmap import PixelMap, overview_for, scale_between
from terrazzo.storage.handles import unreadable
from terrazzo.storage.raster import RasterReader, default_reader, level_factors
from terrazzo.storage.scenes import (
    AssetBand,
    SceneItem,
    completed,
    labels_of,
    native_grid,
    solar_day_groups,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from terrazzo.cube import Mask, Values
    from terrazzo.geo.grid import Bounds, Grid
    from terrazzo.storage.gate import AssetName

    Run = Callable[[Callable[[Any], None], Iterable[Any]], Iterable[None]]
    OnBad = Callable[[SourceUnreadable], None]

__all__ = ["AssetBand", "RasterSource", "SceneItem", "solar_day_groups"]

FULL_RESOLUTION = frozenset({"sum", "rms", "min", "max", "q1", "med", "q3", "mode"})
"""Methods whose result over an overview is not that over the pixels: they read level 0."""
ASSUMED_SMALLEST = 512
"""For costs, a file of unknown overviews has halves down to this size, as a COG does."""


@dataclass(frozen=True, slots=True, eq=False)
class RasterSource:
    """Images of one collection as a cube; pure, for many threads, can be pickled.

    A time label is one solar day: of its items, in the order (time, id), the first valid pixel
    wins, band by band. Numbers become physical values by scale and offset of the item's own
    band before they are resampled.
    """

    grid: Grid
    """The native grid, over all that the items cover."""
    bands: tuple[str, ...]
    """Band labels."""
    groups: tuple[tuple[SceneItem, ...], ...]
    """The items of each time label."""
    dtype: np.dtype[Any]
    """Common type of the physical values of all bands."""
    reader: RasterReader = field(default_factory=default_reader)
    """What reads files; the process-wide one in another process."""
    on_bad: OnBad | None = None
    """Told once per item that cannot be read, which is then no-data; None = raise."""
    run: Run = map
    """How the dates of one read are run: `map`, or a thread pool's `map`."""
    _reported: dict[str, SourceUnreadable] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        items: Iterable[SceneItem],
        bands: Sequence[str],
        *,
        reader: RasterReader | None = None,
        on_bad: OnBad | None = None,
        run: Run = map,
    ) -> RasterSource:
        """Make a source; files are opened only for facts that the items lack.

        Raises:
            NoDataAvailable: there is no item.
            BandNotFound: no item has the band.
            SourceUnreadable: nothing says what the bands look like.
        """
        names, reader = tuple(bands), reader or default_reader()
        groups = solar_day_groups(completed(item, names, reader) for item in items)
        ordered = [item for group in groups for item in group]
        if not ordered:
            raise NoDataAvailable(
                "No item lies in the extent and period. Widen them, or look at what there is "
                "with `terrazzo search`."
            )
        there = dict.fromkeys(band.band_name for item in ordered for band in item.bands)
        for name in names:
            if name not in there:
                raise BandNotFound(name, tuple(there))
        grid = native_grid(ordered, names)
        chosen = [b for item in ordered for b in item.bands if b.band_name in names]
        types = [_physical(band) for band in chosen if band.dtype]
        if grid is None or not types:
            if on_bad is None:
                reader.describe(chosen[0].asset)
            raise SourceUnreadable(ordered[0].id, names[0], "no file of the collection is readable")
        return cls(grid, names, groups, np.result_type(*types), reader, on_bad, run)

    @property
    def probe(self) -> Cube:
        """All labels and no pixels, on the native grid."""
        return empty_cube(
            self._dimensions(labels_of(self.groups), self.bands),
            self.dtype,
            self.grid,
            Window(0, 0, 0, 0),
        )

    @property
    def extent(self) -> Window:
        """The window of the native grid that holds data."""
        return self.grid.window

    @property
    def items(self) -> tuple[str, ...]:
        """Ids of the items, in reading order: the provenance of what is made of them."""
        return tuple(item.id for group in self.groups for item in group)

    def version(self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]]) -> str:
        """Digest of the items that a window touches: files, sizes, times of change, scaling."""
        groups, names = self._chosen(labels)
        target = _Target(grid, window, "near")
        digest = hashlib.sha256()
        for item in (item for group in groups for item in group):
            for band in (item.band(name) for name in names):
                if band is not None and target.may_touch(item, band):
                    told = (item.id, band.band_name, band.asset.key, band.asset.stamp, band.index)
                    digest.update(repr((*told, band.nodata, band.scale, band.offset)).encode())
        return digest.hexdigest()[:16]

    @property
    def bad_items(self) -> tuple[str, ...]:
        """Ids of the items that could not be read so far, and were left out."""
        return tuple(sorted(self._reported))

    @property
    def bad(self) -> tuple[SourceUnreadable, ...]:
        """Items that could not be read so far and were left out, with the reason."""
        return tuple(self._reported.values())

    def read(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> Cube:
        """Read a window of any grid; see `Source.read`.

        Raises:
            SourceUnreadable: a file is corrupt, truncated or gone, and nobody is told of it.
            ArgumentInvalid: no such resampling method.
        """
        groups, names = self._chosen(labels)
        shape = (len(groups), len(names), window.height, window.width)
        values, valid = np.zeros(shape, self.dtype), np.zeros(shape, np.bool_)
        target = _Target(grid, window, method)

        def read_one(position: int) -> None:
            self._mosaic(groups[position], names, target, (values[position], valid[position]))

        if values.size:
            for _ in self.run(read_one, range(len(groups))):
                pass
            if valid.all():
                valid = all_valid(shape)
        dimensions = self._dimensions(labels_of(groups), names)
        return Cube(values, valid, dimensions, grid, window)

    def cost(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> ReadCost:
        """Say what `read` would cost, from what the items say of themselves; opens nothing."""
        groups, names = self._chosen(labels)
        target = _Target(grid, window, method)
        files: set[tuple[str, str]] = set()
        pixels = size = 0
        for item in (item for group in groups for item in group):
            for band in (item.band(name) for name in names):
                if band is None or not target.may_touch(item, band):
                    continue
                count = target.pixels_of(band, self.grid)
                files.add((item.id, band.asset.key))
                pixels += count
                size += count * np.dtype(band.dtype or self.dtype).itemsize
        return ReadCost(len(files), pixels, size)

    def _chosen(
        self, labels: Mapping[str, tuple[int, ...]]
    ) -> tuple[tuple[tuple[SceneItem, ...], ...], tuple[str, ...]]:
        times = labels.get("t", tuple(range(len(self.groups))))
        bands = labels.get("bands", tuple(range(len(self.bands))))
        return tuple(self.groups[i] for i in times), tuple(self.bands[i] for i in bands)

    def _dimensions(self, times: Sequence[str], bands: Sequence[str]) -> tuple[Dimension, ...]:
        return (
            Dimension("t", Kind.TEMPORAL, tuple(times)),
            Dimension("bands", Kind.BANDS, tuple(bands)),
            Dimension("y", Kind.SPATIAL),
            Dimension("x", Kind.SPATIAL),
        )

    def _mosaic(
        self,
        items: Sequence[SceneItem],
        names: Sequence[str],
        target: _Target,
        out: tuple[Values, Mask],
    ) -> None:
        """Fill (band, y, x) of one label with the first valid pixel of its items."""
        values, valid = out
        for position, item in enumerate(items):
            if position and valid.all():
                return
            for asset, places in _by_asset(item, names, target).items():
                found = self._read_asset(asset, [band for _, band in places], target)
                if found is None:
                    continue
                for (at, _), pixels, mask in zip(places, *found, strict=True):
                    if position:
                        new = mask & ~valid[at]
                        np.copyto(values[at], pixels, where=new)
                        valid[at] |= new
                    else:
                        np.copyto(values[at], pixels, where=mask)
                        valid[at] = mask

    def _read_asset(
        self, asset: AssetName, bands: Sequence[AssetBand], target: _Target
    ) -> tuple[Values, Mask] | None:
        """Return (band, y, x) of one file on the target, None where it has nothing to give."""
        try:
            info = self.reader.describe(asset)
            if max(band.index for band in bands) > len(info.dtypes):
                raise unreadable(
                    asset, f"it has {len(info.dtypes)} bands, fewer than its item says"
                )
            level = target.level(info.grid, info.overviews)
            lattice = self.reader.level_grid(asset, level)
            pixel_map, scale, needed = target.map_to(lattice)
            if needed.is_empty:
                return None
            own = [info.nodata[b.index - 1] if not info.has_mask else None for b in bands]
            values, valid = self.reader.read_window(
                asset,
                level,
                [band.index for band in bands],
                needed,
                nodata=[
                    mine if band.nodata is None else band.nodata
                    for mine, band in zip(own, bands, strict=True)
                ],
                on_bad=self._report if self.on_bad is not None else None,
            )
        except SourceUnreadable as error:
            self._report(error)
            return None
        values = self._to_physical(values, bands)
        return warp(values, valid, needed, pixel_map, target.method, scale)

    def _to_physical(self, values: Values, bands: Sequence[AssetBand]) -> Values:
        """Return numbers * scale + offset, each band with its own, in the source's type."""
        if not any(band.is_scaled for band in bands):
            return values.astype(self.dtype, copy=False)
        out = np.empty(values.shape, self.dtype)
        for position, band in enumerate(bands):
            if not band.is_scaled:
                out[position] = values[position]
                continue
            kind = compute_dtype(values.dtype)
            scaled = values[position].astype(kind) * kind.type(band.scale)
            out[position] = scaled + kind.type(band.offset)
        return out

    def _report(self, error: SourceUnreadable) -> None:
        if self.on_bad is None:
            raise error
        if self._reported.setdefault(error.item, error) is error:
            self.on_bad(error)


@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    """The pixels that one read wants, and what was worked out for the lattices they come from."""

    grid: Grid
    window: Window
    method: str
    _maps: dict[Grid, tuple[PixelMap, tuple[float, float], Window]] = field(default_factory=dict)
    _bounds: dict[str, Bounds | None] = field(default_factory=dict)
    _touched: dict[tuple[Bounds, str], bool] = field(default_factory=dict)

    def level(self, source: Grid, overviews: Sequence[int]) -> int:
        """Choose the overview: a function of both lattices, never of the window."""
        if not overviews or self.method in FULL_RESOLUTION:
            return 0
        return overview_for(self.grid, source, level_factors(source, overviews))

    def map_to(self, lattice: Grid) -> tuple[PixelMap, tuple[float, float], Window]:
        """Return map, scale and needed source window; images on one lattice share them."""
        found = self._maps.get(lattice)
        if found is None:
            pixel_map = PixelMap.between(self.grid, self.window, lattice)
            scale = scale_between(self.grid, lattice)
            needed = source_window(pixel_map, self.method, scale, lattice.window)
            found = self._maps[lattice] = pixel_map, scale, needed
        return found

    def may_touch(self, item: SceneItem, band: AssetBand) -> bool:
        """Tell whether an image can have a pixel here: False only where it surely has none."""
        if band.grid is not None:
            bounds, crs = band.grid.bounds, band.grid.crs
        elif item.bbox is not None:
            west, south, east, north = item.bbox
            bounds, crs = (west, south, east + 360.0 * (west > east), north), WGS84
        else:
            return True
        if (bounds, crs) not in self._touched:
            self._touched[bounds, crs] = self._near(bounds, crs)
        return self._touched[bounds, crs]

    def _near(self, bounds: Bounds, crs: str) -> bool:
        """Compare rectangles, where the image is projected to the target or the target to it.

        Whichever is smaller is projected, as its outline is then all but straight; half of its
        size is added on each side for what curves.
        """
        mine = self.grid.bounds_of(self.window)
        if crs == self.grid.crs:
            pad = 2 * max(self.grid.pixel_x, self.grid.pixel_y)
            return _overlap(_padded(mine, pad, pad), bounds, crs)
        if crs not in self._bounds:
            self._bounds[crs] = _projected(mine, self.grid.crs, crs)
        here = self._bounds[crs]
        there = _projected(bounds, crs, self.grid.crs)
        if here is None or there is None:
            return True
        if _area(here) <= _area(bounds):
            return _overlap(_half_padded(here), bounds, crs)
        return _overlap(_half_padded(there), mine, self.grid.crs)

    def pixels_of(self, band: AssetBand, native: Grid) -> int:
        """Estimate the source pixels that a read of one band takes."""
        source = band.grid or native
        overviews = band.overviews
        if overviews is None:
            edge = max(source.height, source.width)
            count = max(math.ceil(math.log2(max(edge / ASSUMED_SMALLEST, 1.0))), 0)
            overviews = tuple(2**n for n in range(1, count + 1))
        level = self.level(source, overviews)
        rows, cols = level_factors(source, overviews)[level]
        here = _projected(self.grid.bounds_of(self.window), self.grid.crs, source.crs)
        needed = source.window
        if here is not None:
            touched = source.window_of(here).intersection(source.window)
            needed = touched if not touched.is_empty or source.crs == self.grid.crs else needed
        return math.ceil(needed.height / rows) * math.ceil(needed.width / cols)


def _by_asset(
    item: SceneItem, names: Sequence[str], target: _Target
) -> dict[AssetName, list[tuple[int, AssetBand]]]:
    """Return the item's files that may touch the target, each with its bands and their places."""
    found: dict[AssetName, list[tuple[int, AssetBand]]] = {}
    for place, name in enumerate(names):
        band = item.band(name)
        if band is not None and (band.asset in found or target.may_touch(item, band)):
            found.setdefault(band.asset, []).append((place, band))
    return found


def _physical(band: AssetBand) -> np.dtype[Any]:
    dtype = np.dtype(band.dtype)
    return compute_dtype(dtype) if band.is_scaled else dtype


def _projected(bounds: Bounds, source: str, target: str) -> Bounds | None:
    """Return bounds in another CRS, None where nothing can be said."""
    try:
        found = transform_bounds(bounds, source, target)
        corners = transform_bounds(found, target, source)
    except SpatialExtentEmpty:
        return None
    lost = [abs(a - b) for a, b in zip(bounds, corners, strict=True)]
    size = max(bounds[2] - bounds[0], bounds[3] - bounds[1])
    return found if all(math.isfinite(v) for v in (*found, *lost)) and max(lost) < size else None


def _overlap(one: Bounds, other: Bounds, crs: str) -> bool:
    """Tell whether rectangles touch; degrees of longitude repeat after a turn."""
    for turn in (0.0, -360.0, 360.0) if is_geographic(crs) else (0.0,):
        apart = (
            one[0] + turn > other[2]
            or one[2] + turn < other[0]
            or one[1] > other[3]
            or one[3] < other[1]
        )
        if not apart:
            return True
    return False


def _padded(bounds: Bounds, x: float, y: float) -> Bounds:
    left, bottom, right, top = bounds
    return left - x, bottom - y, right + x, top + y


def _half_padded(bounds: Bounds) -> Bounds:
    return _padded(bounds, (bounds[2] - bounds[0]) / 2, (bounds[3] - bounds[1]) / 2)


def _area(bounds: Bounds) -> float:
    return (bounds[2] - bounds[0]) * (bounds[3] - bounds[1])
