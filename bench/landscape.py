"""A made-up landscape that looks like Sentinel-2: fields, seasons, clouds, a swath edge, noise.

Everything is a function of seed, date and place, so that any strip of rows can be made alone:
memory stays at a few strips, whatever the size of the scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import shapely
from rasterio.features import rasterize
from rasterio.transform import from_origin

from bench.dataset import LEFT, NODATA, OFFSET, PIXEL, QUANTIFICATION, TOP

if TYPE_CHECKING:
    from datetime import date

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Bytes = NDArray[np.uint8]

FIELD_SPACING = 190.0
"""Mean distance of neighbouring fields, metres."""
LANE = 5.0
"""Half the width of what separates fields, metres."""
SENSOR_NOISE = {"B03": 16.0, "B04": 18.0, "B08": 30.0}
"""Standard deviation of each band, stored numbers; decides how well the files compress."""

SHADOW, VEGETATION, BARE, WATER, CLOUD_MEDIUM, CLOUD_HIGH, CIRRUS = 3, 4, 5, 6, 8, 9, 10


class Fractal:
    """Noise with detail at many scales: random lattices, each interpolated bilinearly."""

    def __init__(self, rng: np.random.Generator, edge: int, octaves: dict[int, float]) -> None:
        self._octaves = [
            (step, weight, rng.standard_normal((edge // step + 3,) * 2, dtype=np.float32))
            for step, weight in octaves.items()
        ]

    def sample(self, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Floats:
        """Return the values where rows and columns cross; flat beyond the edge."""
        total = np.zeros((len(rows), len(cols)), np.float32)
        for step, weight, lattice in self._octaves:
            last = len(lattice) - 1.001
            y, x = np.clip(rows / step, 0, last), np.clip(cols / step, 0, last)
            top, left = y.astype(np.int64), x.astype(np.int64)
            down, right = (y - top).astype(np.float32), (x - left).astype(np.float32)
            narrow = lattice[top] * (1 - down)[:, None] + lattice[top + 1] * down[:, None]
            total += weight * (narrow[:, left] * (1 - right) + narrow[:, left + 1] * right)
        return total


@dataclass(frozen=True)
class Landscape:
    """What does not change with time: the lie of the fields and the grain of the soil."""

    size: int
    """Edge of the scene in pixels of 10 m; a multiple of 4."""
    seed: int

    @cached_property
    def fields(self) -> NDArray[np.object_]:
        """Voronoi cells of jittered points, shrunk by lanes and with uneven edges; 0.5 to 10 ha."""
        rng = np.random.default_rng([self.seed, 1])
        edge = self.size * PIXEL
        ticks = np.arange(-FIELD_SPACING, edge + 2 * FIELD_SPACING, FIELD_SPACING)
        sites = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
        sites = sites + rng.uniform(-0.6, 0.6, sites.shape) * FIELD_SPACING
        cells = shapely.get_parts(
            shapely.voronoi_polygons(shapely.multipoints(sites), ordered=True)
        )
        cells = shapely.buffer(cells, -LANE, join_style="mitre")
        cells = shapely.segmentize(cells[shapely.area(cells) > 0], 60.0)
        cells = shapely.transform(cells, _uneven)
        cells = cells[(shapely.get_type_id(cells) == 3) & shapely.is_valid(cells)]
        area, bounds = shapely.area(cells) / 1e4, shapely.bounds(cells)
        inside = (bounds[:, :2] > 2 * PIXEL).all(1) & (bounds[:, 2:] < edge - 2 * PIXEL).all(1)
        kept = cells[inside & (area >= 0.5) & (area <= 10.0)]
        return shapely.transform(kept, lambda xy: xy * [1, -1] + [LEFT, TOP])

    @cached_property
    def crops(self) -> NDArray[np.int64]:
        """The crop of each field, 0..7."""
        return np.random.default_rng([self.seed, 2]).integers(0, 8, len(self.fields))

    @cached_property
    def grain(self) -> Fractal:
        """Texture of soil and growth, 10 m pixels."""
        octaves = {1024: 0.8, 256: 0.55, 64: 0.4, 16: 0.25, 4: 0.15}
        return Fractal(np.random.default_rng([self.seed, 3]), self.size, octaves)

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.fields)

    def labels(self, row: int, height: int) -> NDArray[np.int32]:
        """Return the number of the field (from 1) of each pixel of a strip, 0 between fields."""
        top, width = TOP - row * PIXEL, self.size * PIXEL
        strip = shapely.box(LEFT, top - height * PIXEL, LEFT + width, top)
        here = np.sort(self._tree.query(strip))
        return rasterize(
            ((self.fields[i], i + 1) for i in here) if len(here) else [(strip, 0)],
            out_shape=(height, self.size),
            transform=from_origin(LEFT, top, PIXEL, PIXEL),
            dtype="int32",
        )


def _uneven(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    return xy + 2.0 * np.sin(xy[:, ::-1] * 0.31 + 0.7)


class Scene:
    """The landscape on one date."""

    def __init__(self, land: Landscape, number: int, day: date) -> None:
        self.land, self.number, self.day = land, number, day
        self._half = land.size // 2
        rng = np.random.default_rng([land.seed, 100, number])
        self._growth = _growth(land, rng, day.timetuple().tm_yday)
        octaves = {384: 1.0, 96: 0.6, 24: 0.3, 6: 0.12}
        self._clouds = Fractal(rng, self._half, octaves)
        coarse = np.arange(0, self._half, 16)
        share = rng.uniform(0.03, 0.35)
        self._threshold = float(np.quantile(self._clouds.sample(coarse, coarse), 1 - share))

    def strip(self, row: int, height: int) -> tuple[dict[str, NDArray[np.uint16]], Bytes]:
        """Return stored numbers of B03, B04, B08 at 10 m and the scene classes at 20 m."""
        rows, cols = np.arange(row, row + height), np.arange(self.land.size)
        grain = self.land.grain.sample(rows, cols)
        index = np.clip(self._growth[self.land.labels(row, height)] + 0.035 * grain, -0.1, 0.93)
        classes, haze = self._sky(row // 2, height // 2, index[::2, ::2])
        shade = np.where(classes == SHADOW, np.float32(0.5), np.float32(1))
        empty, haze, shade = (_doubled(a) for a in (classes == NODATA, haze, shade))
        red = 0.16 - 0.13 * np.clip(index, 0, 1)
        reflectance = {
            "B03": 0.75 * red + 0.03,
            "B04": red,
            "B08": red * (1 + index) / (1 - index),
        }
        bands = {}
        for band, clear in reflectance.items():
            noise = np.random.default_rng([self.land.seed, 200, self.number, row, int(band[1:])])
            number = clear * (1 + 0.04 * grain) * shade * QUANTIFICATION + OFFSET + haze
            number += SENSOR_NOISE[band] * noise.standard_normal(number.shape, dtype=np.float32)
            bands[band] = np.clip(number, 1, 20_000).astype(np.uint16)
            bands[band][empty] = 0
        return bands, classes

    def _sky(self, row: int, height: int, index: Floats) -> tuple[Bytes, Floats]:
        """Return the classes at 20 m, and what clouds add to the stored numbers."""
        rows, cols = np.arange(row, row + height), np.arange(self._half)
        depth = self._clouds.sample(rows, cols) - self._threshold
        shadow = self._clouds.sample(rows - 18, cols + 22) > self._threshold
        classes = np.where(index > 0.3, VEGETATION, BARE).astype(np.uint8)
        classes[self.land.grain.sample(2 * rows, 2 * cols) < -2.4] = WATER
        classes[shadow] = SHADOW
        classes[depth > -0.12] = CIRRUS
        classes[depth > 0] = CLOUD_MEDIUM
        classes[depth > 0.4] = CLOUD_HIGH
        if self.number % 4 == 2:
            classes[cols + 0.23 * rows[:, None] < 0.3 * self._half] = NODATA
        return classes, np.clip((depth + 0.12) * 4000, 0, 6500)


def _growth(land: Landscape, rng: np.random.Generator, day_of_year: int) -> Floats:
    """Return the vegetation index of each field on a day, with that of the lanes first."""
    peaks = np.array([128, 146, 162, 181, 199, 214, 232, 168])
    heights = np.array([0.58, 0.64, 0.52, 0.6, 0.68, 0.57, 0.48, 0.36])
    curve = 0.18 + heights * np.exp(-(((day_of_year - peaks) / 38.0) ** 2))
    own = np.random.default_rng([land.seed, 4]).normal(0, 0.05, len(land.fields))
    lanes = 0.2 + 0.25 * np.exp(-(((day_of_year - 160) / 60.0) ** 2))
    drift = rng.normal(0, 0.01, len(land.fields))
    return np.concatenate([[lanes], curve[land.crops] + own + drift]).astype(np.float32)


def _doubled(pixels: NDArray) -> NDArray:
    return pixels.repeat(2, 0).repeat(2, 1)
