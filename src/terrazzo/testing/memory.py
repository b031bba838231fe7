"""Cubes in memory as collections: what engine, reference and benchmarks read without files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from terrazzo.cube import Cube, ReadCost, empty_cube
from terrazzo.cube.warp import source_window, warp
from terrazzo.errors import AssetForbidden, CollectionNotFound
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.pixelmap import PixelMap
from terrazzo.geo.scale import scale_between

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.cube import Source
    from terrazzo.engine import Opener
    from terrazzo.engine.bound import Known
    from terrazzo.processes.load import FileRequest, LoadRequest

NO_PIXELS = Window(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class CubeSource:
    """A cube in memory that the engine reads as it reads a collection."""

    cube: Cube
    """All of it."""

    @property
    def probe(self) -> Cube:
        """All labels and no pixels; a cube without space has its values."""
        if self.cube.grid is None:
            return self.cube
        return empty_cube(self.cube.dimensions, self.cube.dtype, self.cube.grid, NO_PIXELS)

    @property
    def extent(self) -> Window:
        """All of its pixels."""
        return self.cube.window or NO_PIXELS

    @property
    def items(self) -> tuple[str, ...]:
        """None: it was read from nothing."""
        return ()

    def items_of(self, labels: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
        """None: it was read from nothing."""
        del labels
        return ()

    def version(self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]]) -> str:
        """One: it never changes."""
        del grid, window, labels
        return "1"

    @property
    def bad_items(self) -> tuple[str, ...]:
        """None: every pixel is known."""
        return ()

    def read(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> Cube:
        """Return a window of any grid: a view where the lattices agree, else resampled."""
        cube = self.cube
        if cube.grid is None:
            raise TypeError("A cube without space is known without being read.")
        pixels, scale = PixelMap.between(grid, window, cube.grid), scale_between(grid, cube.grid)
        part = cube.crop(source_window(pixels, method, scale, self.extent))
        for name, positions in labels.items():
            part = part.take(name, positions)
        source = part.window or NO_PIXELS
        values, valid = warp(part.values, part.valid, source, pixels, method, scale)
        return replace(part, values=values, valid=valid, grid=grid, window=window)

    def cost(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> ReadCost:
        """Cost nothing: it is in memory."""
        del grid, window, labels, method
        return ReadCost(0, 0, 0)


@dataclass(frozen=True, slots=True)
class CubeOpener:
    """Opens cubes in memory by name."""

    cubes: Mapping[str, Cube]
    """By collection id."""
    others: Opener | None = None
    """Opens what is none of them."""

    def open(self, request: LoadRequest) -> Source | Known:
        """Return the cube of that name.

        Raises:
            CollectionNotFound: there is none, and nothing opens others.
        """
        name = request.collection or ""
        if name in self.cubes:
            return CubeSource(self.cubes[name])
        if self.others is None:
            raise CollectionNotFound(str(name or request.url), tuple(self.cubes))
        return self.others.open(request)

    def load(self, request: FileRequest) -> Cube:
        """Load a file.

        Raises:
            AssetForbidden: nothing opens others.
        """
        if self.others is None:
            raise AssetForbidden(f"{request.url} is not loaded here.")
        return self.others.load(request)
