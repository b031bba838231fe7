"""Sources without files: the value of a pixel is a known function of where it is.

They stand in for collections when a test needs to know every pixel on every grid, and they are
exact: a pixel's value depends on its map coordinates, date and band alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind, ReadCost, empty_cube
from terrazzo.errors import AssetForbidden, BandNotFound, CollectionNotFound
from terrazzo.geo.crs import transformer
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.times import contains, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.processes.load import FileRequest, LoadRequest

PRIME = 1009
"""Values lie in 0..1008: exact in every type, and neighbours differ."""


@dataclass(frozen=True)
class SyntheticSource:
    """A collection whose pixel is `(31 col + 17 row + 101 day + 211 band) mod 1009`.

    Columns and rows count on the native grid, a day is counted from year 1, a band is the sum
    of the bytes of its name; every pixel where `(7 col + 11 row + 3 day) mod gaps == 0` is
    no-data, as if there were clouds.
    """

    grid: Grid
    """The native grid."""
    times: tuple[str, ...] = ("2020-01-05T00:00:00Z", "2020-02-05T00:00:00Z")
    """Labels of dimension `t`."""
    bands: tuple[str, ...] = ("red", "nir")
    """Labels of dimension `bands`."""
    dtype: str = "uint16"
    """Type of the values."""
    gaps: int = 13
    """One pixel in so many is no-data; 0 for none."""
    reads: list[tuple[Window, Mapping[str, tuple[int, ...]]]] = field(default_factory=list)
    """Every read that was made: its window and labels."""

    @property
    def probe(self) -> Cube:
        """All labels, no pixels."""
        dimensions = (
            Dimension("t", Kind.TEMPORAL, self.times),
            Dimension("bands", Kind.BANDS, self.bands),
            Dimension("y", Kind.SPATIAL),
            Dimension("x", Kind.SPATIAL),
        )
        return empty_cube(dimensions, np.dtype(self.dtype), self.grid, Window(0, 0, 0, 0))

    @property
    def extent(self) -> Window:
        """The whole native grid."""
        return self.grid.window

    @property
    def items(self) -> tuple[str, ...]:
        """One image per date."""
        return self.times

    def items_of(self, labels: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
        """One image per date."""
        return tuple(self.times[n] for n in labels.get("t", range(len(self.times))))

    def version(self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]]) -> str:
        """One: what it is made of never changes."""
        del grid, window, labels
        return "1"

    @property
    def bad_items(self) -> tuple[str, ...]:
        """None: every pixel is known."""
        return ()

    def read(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> Cube:
        """Return the pixels whose native pixel holds the centre of the asked one."""
        del method
        self.reads.append((window, labels))
        x, y = np.meshgrid(grid.xs(window), grid.ys(window))
        if grid.crs != self.grid.crs:
            x, y = transformer(grid.crs, self.grid.crs).transform(x, y)
        cols = np.floor((x - self.grid.left) / self.grid.pixel_x)
        rows = np.floor((self.grid.top - y) / self.grid.pixel_y)
        inside = (cols >= 0) & (cols < self.grid.width) & (rows >= 0) & (rows < self.grid.height)
        col, row = (
            np.where(inside, cols, 0).astype(np.int64),
            np.where(inside, rows, 0).astype(np.int64),
        )
        probe = self.probe
        for name, positions in labels.items():
            probe = probe.take(name, positions)
        days = np.array([parse_time(str(t)).toordinal() for t in probe.dimension("t").labels])
        bands = np.array([sum(str(b).encode()) for b in probe.dimension("bands").labels])
        values = 31 * col + 17 * row + (101 * days[:, None] + 211 * bands)[:, :, None, None]
        valid = np.broadcast_to(inside, values.shape)
        if self.gaps:
            cloud = (7 * col + 11 * row + 3 * days[:, None, None]) % self.gaps == 0
            valid = valid & ~cloud[:, None]
        return replace(
            probe, values=(values % PRIME).astype(self.dtype), valid=valid, grid=grid, window=window
        )

    def cost(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> ReadCost:
        """Count the asked pixels."""
        del grid, method
        dates = len(labels.get("t", self.times))
        bands = len(labels.get("bands", self.bands))
        pixels = window.pixels * dates * bands
        return ReadCost(dates, pixels, pixels * np.dtype(self.dtype).itemsize)


@dataclass(frozen=True)
class SyntheticOpener:
    """Opens synthetic collections by name, honouring dates and bands of the request."""

    sources: Mapping[str, SyntheticSource]
    """By collection id."""

    def open(self, request: LoadRequest) -> SyntheticSource:
        """Return the collection's source cut to the request's bands and dates."""
        name = str(request.collection)
        if name not in self.sources:
            raise CollectionNotFound(name, tuple(self.sources))
        source = self.sources[name]
        changes: dict[str, Any] = {}
        if request.bands:
            for band in request.bands:
                if band not in source.bands:
                    raise BandNotFound(band, source.bands)
            changes["bands"] = tuple(request.bands)
        if request.interval is not None:
            changes["times"] = tuple(
                t for t in source.times if contains(request.interval, parse_time(t))
            )
        return replace(source, **changes) if changes else source

    def load(self, request: FileRequest) -> Cube:
        """Refuse: there are no files beside the collections.

        Raises:
            AssetForbidden: always.
        """
        raise AssetForbidden(f"{request.url} is not loaded here.")
