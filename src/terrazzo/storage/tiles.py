"""Windows of one overview level, put together from its decoded internal tiles.

Local files are decoded tile by tile. Of remote ones, what is missing is read in as few
rectangles as there are, so that GDAL fetches their bytes at once: neighbours in one request,
the others side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from rasterio.errors import RasterioError

from terrazzo.geo.grid import Window
from terrazzo.spans import note, span
from terrazzo.storage.handles import gdal_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from terrazzo.cube import Values
    from terrazzo.storage.blocks import BlockCache, Keep, Tile
    from terrazzo.storage.tiff import TiffLevel

    Place = tuple[slice, slice]
    Lease = Callable[[], AbstractContextManager[Any]]

MASK, ALL_BANDS = -1, 0
"""What is decoded besides a band (1, 2, ...): the mask, or all bands that share tiles."""
BYTES_AT_ONCE = 32 * 2**20
"""Tiles of a window are asked for in rows of tiles of about so many bytes."""


@dataclass(frozen=True, slots=True)
class TileReader:
    """One overview level of one file, in the file's own orientation."""

    cache: BlockCache
    """Where decoded tiles are kept."""
    key: tuple[object, ...]
    """What the cache calls the level: key of the asset, its stamp, the level."""
    lease: Lease
    """Lends a dataset of the level."""
    extent: Window
    """All pixels of the level."""
    unit: tuple[int, int]
    """(height, width) of what is decoded at once."""
    dtype: np.dtype[Any]
    """Common type of the bands."""
    bands: int
    """How many bands a tile holds: one, or all."""
    merge: bool
    """Whether tiles that are missing are read together: for remote files."""
    tiff: TiffLevel | None = None
    """What inflates tiles without GDAL, where something can."""

    def read(
        self, bands: Sequence[int], window: Window, out: Sequence[Values] | None = None
    ) -> tuple[list[Values], list[list[tuple[Place, Exception]]]]:
        """Return the pixels of a window.

        Args:
            bands: 1-based indices, or `MASK` alone.
            window: within the extent, not empty.
            out: (h, w) arrays to fill, one per band; otherwise a window inside of one tile is a
                read-only view of it.

        Returns:
            One (h, w) array per band, and for each the places that cannot be decoded, and why;
            zeros stand there.
        """
        rows = _cuts(self.extent, self.unit, window)
        layers = self._layers(bands)
        lost: list[list[tuple[Place, Exception]]] = [[] for _ in bands]
        if out is None and len(rows) == len(rows[0]) == 1:
            found = self._decoded(layers, rows[0])
            return [
                self._view(found, layers, band, rows[0][0], lost[at])
                for at, band in enumerate(bands)
            ], lost
        shape, dtype = (window.height, window.width), self._dtype(bands)
        filled = list(out) if out is not None else [np.empty(shape, dtype) for _ in bands]
        for tiles in self._portions(rows, len(layers)):
            found = self._decoded(layers, tiles)
            with span("assemble"):
                for number, cut in enumerate(tiles):
                    for at, band in enumerate(bands):
                        pixels = self._of(found, layers, band, number, len(tiles))
                        if isinstance(pixels, Exception):
                            filled[at][cut.place] = 0
                            lost[at].append((cut.place, pixels))
                        else:
                            filled[at][cut.place] = pixels[cut.inner]
        return filled, lost

    def fetch(self, bands: Sequence[int], window: Window) -> None:
        """Decode the tiles of a window into the cache."""
        layers = self._layers(bands)
        for tiles in self._portions(_cuts(self.extent, self.unit, window), len(layers)):
            self._decoded(layers, tiles)

    def bytes_missing(self, bands: Sequence[int], window: Window) -> int:
        """Return the bytes of the window's tiles that are neither kept nor coming."""
        layers = self._layers(bands)
        cuts = [cut for row in _cuts(self.extent, self.unit, window) for cut in row]
        missing = self.cache.missing(self._keys(layers, cuts))
        pixels = sum(cuts[number % len(cuts)].tile.pixels for number in missing)
        return pixels * self._dtype(bands).itemsize * (self.bands if layers[0] == ALL_BANDS else 1)

    def _layers(self, bands: Sequence[int]) -> list[int]:
        """Return what is decoded for some bands, each once."""
        if self.bands > 1 and bands[0] != MASK:
            return [ALL_BANDS]
        return list(dict.fromkeys(bands))

    def _dtype(self, bands: Sequence[int]) -> np.dtype[Any]:
        return np.dtype(np.uint8) if bands[0] == MASK else self.dtype

    def _view(
        self,
        found: Sequence[Tile],
        layers: Sequence[int],
        band: int,
        cut: _Cut,
        lost: list[tuple[Place, Exception]],
    ) -> Values:
        pixels = self._of(found, layers, band, 0, 1)
        if not isinstance(pixels, Exception):
            return pixels[cut.inner].astype(self._dtype((band,)), copy=False)
        lost.append((cut.place, pixels))
        return np.zeros([side.stop - side.start for side in cut.place], self._dtype((band,)))

    def _of(
        self, found: Sequence[Tile], layers: Sequence[int], band: int, number: int, count: int
    ) -> Tile:
        """Return (y, x) of a band in one of `count` tiles that were decoded."""
        if layers[0] != ALL_BANDS:
            tile = found[layers.index(band) * count + number]
            return tile if isinstance(tile, Exception) else tile[0]
        tile = found[number]
        return tile if isinstance(tile, Exception) else tile[band - 1]

    def _portions(self, rows: Sequence[Sequence[_Cut]], layers: int) -> Iterator[Sequence[_Cut]]:
        """Yield tiles, whole rows of them, as many as are asked for at once."""
        size = sum(cut.tile.pixels for cut in rows[0]) * self.dtype.itemsize * layers * self.bands
        step = max(BYTES_AT_ONCE // max(size, 1), 1)
        for first in range(0, len(rows), step):
            yield [cut for row in rows[first : first + step] for cut in row]

    def _keys(self, layers: Sequence[int], cuts: Sequence[_Cut]) -> list[tuple[object, ...]]:
        return [(*self.key, layer, cut.tile.row, cut.tile.col) for layer in layers for cut in cuts]

    def _decoded(self, layers: Sequence[int], cuts: Sequence[_Cut]) -> list[Tile]:
        """Return all tiles of the first layer, then of the next."""

        def decode(missing: Sequence[int], keep: Keep) -> None:
            waiting = [(n, layers[n // len(cuts)], cuts[n % len(cuts)].tile) for n in missing]
            waiting = self._inflate(waiting, keep)
            if not waiting:
                return
            with gdal_environment(ranges=self.merge):
                if self.merge and len(waiting) > 1:
                    waiting = self._decode_merged(waiting, keep)
                self._decode_each(waiting, keep)

        return self.cache.get(self._keys(layers, cuts), decode, together=self.tiff is None)

    def _inflate(
        self, waiting: list[tuple[int, int, Window]], keep: Keep
    ) -> list[tuple[int, int, Window]]:
        """Decode tiles without GDAL; returns those that it must decode."""
        if self.tiff is None:
            return waiting
        left = []
        for number, layer, tile in waiting:
            pixels = self.tiff.decode(layer, tile) if layer > 0 else None
            if pixels is None:
                left.append((number, layer, tile))
            else:
                keep(number, pixels[np.newaxis])
        return left

    def _decode_each(self, waiting: list[tuple[int, int, Window]], keep: Keep) -> None:
        """Decode tiles one by one; after an error a dataset is not used again."""
        left = iter(waiting)
        at = next(left, None)
        while at is not None:
            number = at[0]
            try:
                with self.lease() as dataset:
                    while at is not None:
                        number, layer, tile = at
                        keep(number, _decode(dataset, layer, tile))
                        at = next(left, None)
            except RasterioError as error:
                keep(number, error)
                at = next(left, None)

    def _decode_merged(
        self, waiting: list[tuple[int, int, Window]], keep: Keep
    ) -> list[tuple[int, int, Window]]:
        """Decode tiles by rectangles of them; returns those of rectangles that have an error."""
        left = []
        for layer in dict.fromkeys(layer for _, layer, _ in waiting):
            mine = {tile: number for number, of, tile in waiting if of == layer}
            for area, tiles in _rectangles(tuple(mine)):
                try:
                    with self.lease() as dataset:
                        pixels = _decode(dataset, layer, area, len(tiles))
                except RasterioError:
                    left += [(mine[tile], layer, tile) for tile in tiles]
                    continue
                for tile in tiles:
                    keep(mine[tile], pixels[(slice(None), *area.slices(tile))].copy())
        return left


@dataclass(frozen=True, slots=True)
class _Cut:
    """What a window takes of an internal tile."""

    tile: Window
    """The tile, cut at the border of the image."""
    place: Place
    """Where the window has it."""
    inner: Place
    """Where the tile has it."""


@lru_cache(maxsize=1024)
def _cuts(extent: Window, unit: tuple[int, int], window: Window) -> tuple[tuple[_Cut, ...], ...]:
    """Return the rows of tiles that a window touches; dates and bands share them."""
    height, width = unit
    rows = []
    for row in range(window.row // height * height, window.row_stop, height):
        cuts = []
        for col in range(window.col // width * width, window.col_stop, width):
            tile = Window(row, col, height, width).intersection(extent)
            part = window.intersection(tile)
            cuts.append(_Cut(tile, window.slices(part), tile.slices(part)))
        rows.append(tuple(cuts))
    return tuple(rows)


def _decode(dataset: Any, layer: int, area: Window, tiles: int = 1) -> Values:
    """Return (band, y, x) of an area of so many tiles, of one or all bands."""
    where = ((area.row, area.row_stop), (area.col, area.col_stop))
    with span("decode"):
        if layer == MASK:
            found = dataset.read_masks(1, window=where)[np.newaxis]
        elif layer == ALL_BANDS:
            found = dataset.read(window=where)
        else:
            found = dataset.read([layer], window=where)
    pixels: Values = np.asarray(found)
    note("tiles_decoded", tiles)
    note("bytes_decoded", pixels.nbytes)
    note("pixels_decoded", pixels.size)
    return pixels


def _rectangles(tiles: Sequence[Window]) -> Iterator[tuple[Window, list[Window]]]:
    """Yield areas that are full of tiles, with those: runs within a row, and equal runs below."""
    rows: dict[int, list[Window]] = {}
    for tile in tiles:
        rows.setdefault(tile.row, []).append(tile)
    areas: list[tuple[Window, list[Window]]] = []
    for row in rows.values():
        for tile in sorted(row, key=lambda tile: tile.col):
            last = areas[-1] if areas else None
            if last and last[0].row == tile.row and last[0].col_stop == tile.col:
                areas[-1] = (last[0].union(tile), [*last[1], tile])
            else:
                areas.append((tile, [tile]))
    merged: dict[tuple[int, int], tuple[Window, list[Window]]] = {}
    for area, inside in sorted(areas, key=lambda found: found[0].row):
        key = (area.col, area.width)
        above = merged.get(key)
        if above is not None and above[0].row_stop == area.row:
            merged[key] = (above[0].union(area), [*above[1], *inside])
        else:
            if above is not None:
                yield above
            merged[key] = (area, inside)
    yield from merged.values()
