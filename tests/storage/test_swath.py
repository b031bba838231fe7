"""Swaths onto grids, against a search through all pixels, another search tree, and GDAL."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer
from scipy.spatial import cKDTree
from shapely.geometry import shape
from tests.drivers import swaths

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.swath import EARTH_M, unit_vectors
from terrazzo.storage.arrays import swath_gridding
from terrazzo.storage.arrays.swath_gridding import choose, lay_out
from terrazzo.storage.arrays.swath_ties import TiePositions

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.geo.grid import Grid

    Floats = NDArray[np.float64]


@dataclass
class Known:
    """Positions that are known."""

    longitudes: Floats
    latitudes: Floats

    @property
    def shape(self) -> tuple[int, int]:
        rows, cols = self.latitudes.shape
        return rows, cols

    def read(self, first: int, stop: int) -> tuple[Floats, Floats]:
        return self.longitudes[first:stop], self.latitudes[first:stop]

    def corners(self, first: int, stop: int) -> None:
        """They are not known."""


def gridded(
    known: Known, folder: Path, **options: Any
) -> tuple[Grid, NDArray[np.int64], NDArray[np.int64]]:
    """The grid, and the pixel of each cell, counted from 0, -1 for none; and the second one."""
    layout = lay_out(known, **options)
    with choose(known, layout, folder) as chosen:
        first, second = chosen.read(0, layout.grid.height)
    return layout.grid, first.astype(np.int64) - 1, second.astype(np.int64) - 1


def centres(grid: Grid) -> tuple[Floats, Floats]:
    """Longitudes and latitudes of the centres of cells."""
    x, y = np.meshgrid(grid.xs(grid.window), grid.ys(grid.window))
    if grid.crs == "EPSG:4326":
        return x, y
    lon, lat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
    return lon, lat


def searched(
    known: Known, cells: Floats, larger: float, broken: tuple[int, ...] = ()
) -> NDArray[np.int64]:
    """Search all pixels for those whose footprint, `larger`, holds a cell's centre.

    Footprints are drawn in the plane that touches the sphere at the pixel. The rows `broken` have
    nothing to do with the row after them.
    """
    at = unit_vectors(known.longitudes, known.latitudes)
    rows, cols = known.shape
    nearest = np.full(len(cells), -1)
    distance = np.full(len(cells), np.inf)
    for row in range(rows):
        for col in range(cols):
            p = at[row, col]
            down = None if row + 1 == rows or row in broken else at[row + 1, col] - p
            up = None if row == 0 or row - 1 in broken else at[row - 1, col] - p
            right = None if col + 1 == cols else at[row, col + 1] - p
            left = None if col == 0 else at[row, col - 1] - p
            down, up = (-up if down is None else down), (-down if up is None else up)
            right, left = (-left if right is None else right), (-right if left is None else left)
            east = np.cross([0.0, 0.0, 1.0], p)
            east /= np.linalg.norm(east)
            plane = np.stack([east, np.cross(p, east)])
            sides = ((down, right), (down, left), (up, left), (up, right))
            corners = [0.5 * larger * plane @ (a + b) for a, b in sides]
            reach = 4 * (np.array(corners) ** 2).max()
            near = np.flatnonzero(((cells - p) ** 2).sum(axis=1) < reach)
            inside = shapely.contains_xy(shapely.Polygon(corners), (cells[near] - p) @ plane.T)
            away = ((cells[near] - p) ** 2).sum(axis=1)
            better = near[inside & (away < distance[near])]
            nearest[better] = row * cols + col
            distance[better] = ((cells[better] - p) ** 2).sum(axis=1)
    return nearest


PLACES = {
    "anywhere": (40.0, 20.0, ""),
    "equator": (-2.0, 0.0, ""),
    "antimeridian": (30.0, -165.0, ""),
    "north pole": (83.0, 0.0, ""),
    "south pole": (-97.0, 100.0, ""),
    "zone": (40.0, 20.0, "EPSG:32633"),
    "polar map": (83.0, 0.0, "EPSG:3413"),
}


@pytest.mark.parametrize("place", PLACES)
def test_each_cell_takes_the_pixel_that_its_centre_is_in(tmp_path: Path, place: str) -> None:
    begin, node, crs = PLACES[place]
    across = swaths.widening(31, 1250, 65) if "pole" in place else swaths.widening(13, 420, 40)
    known = Known(*swaths.orbit(begin, begin + 14, 22, across, node))

    grid, found, _ = gridded(known, tmp_path, crs=crs, resolution=0 if not crs else 21_000)

    cells = unit_vectors(*centres(grid)).reshape(-1, 3)
    smaller, larger = (searched(known, cells, size) for size in (0.97, 1.03))
    decided = (smaller == larger).reshape(found.shape)
    assert decided.mean() > 0.9
    assert (found >= 0).mean() > 0.001
    np.testing.assert_array_equal(found[decided], smaller.reshape(found.shape)[decided])
    undecided = found[~decided]
    assert np.isin(undecided, np.append(smaller, larger)).all()


def test_the_pixel_is_the_nearest_of_all(tmp_path: Path) -> None:
    known = Known(*swaths.orbit(35, 45, 120, np.linspace(-500, 500, 110), 60))

    grid, found, second = gridded(known, tmp_path)

    cells, there = unit_vectors(*centres(grid)), found >= 0
    tree = cKDTree(unit_vectors(known.longitudes, known.latitudes).reshape(-1, 3))
    distances, nearest = tree.query(cells[there])
    taken = np.linalg.norm(tree.data[found[there]] - cells[there], axis=1)
    assert (nearest == found[there]).mean() > 0.97  # footprints are askew by 4 degrees
    np.testing.assert_allclose(taken, distances, atol=0.05 * distances.max())
    assert (second >= 0).mean() < 0.01


def test_nothing_is_filled_beyond_the_footprint_of_a_pixel(tmp_path: Path) -> None:
    longitudes, latitudes = swaths.orbit(30, 40, 40, np.linspace(-300, 300, 25), 10)
    kept = np.r_[0:15, 18:40]
    known = Known(longitudes[kept], latitudes[kept])

    grid, found, _ = gridded(known, tmp_path)

    cells = unit_vectors(*centres(grid)).reshape(-1, 3)
    smaller, larger = (searched(known, cells, size, broken=(14,)) for size in (0.97, 1.03))
    decided = (smaller == larger).reshape(found.shape)
    np.testing.assert_array_equal(found[decided], smaller.reshape(found.shape)[decided])
    whole = searched(Known(longitudes, latitudes), cells, 1.0).reshape(found.shape)
    missing = np.isin(whole // 25, [15, 16, 17])
    assert missing.sum() > 100
    assert (found[missing & decided] < 0).all()


def scans(overlap: float) -> Known:
    """Five scans of eight rows whose ends fold back over the scan before by a share of a scan."""
    rows = np.concatenate([np.arange(8) + 8 * (1 - overlap) * scan for scan in range(5)])
    columns = np.arange(30)
    latitudes = 45 + np.repeat(rows[:, None], 30, axis=1) * 0.02
    return Known(10 + np.repeat(columns[None] * 0.03, 40, axis=0), latitudes)


@pytest.mark.parametrize("overlap", [0.1, 0.3, 0.6])
def test_scans_that_fold_back_leave_no_hole_and_no_stripe(tmp_path: Path, overlap: float) -> None:
    known = scans(overlap)

    grid, found, second = gridded(known, tmp_path)

    lon, lat = centres(grid)
    inside = (lon > 10) & (lon < 10.87) & (lat > 45) & (lat < known.latitudes.max())
    cells = unit_vectors(lon, lat)
    tree = cKDTree(unit_vectors(known.longitudes, known.latitudes).reshape(-1, 3))
    taken = np.linalg.norm(tree.data[found[inside]] - cells[inside], axis=1)
    assert (found[inside] >= 0).all()
    np.testing.assert_allclose(taken, tree.query(cells[inside])[0], atol=0.02 * taken.max())
    assert (second[inside] >= 0).any()
    both = inside & (second >= 0)
    other = np.linalg.norm(tree.data[second[both]] - cells[both], axis=1)
    assert (other >= np.linalg.norm(tree.data[found[both]] - cells[both], axis=1)).all()


def test_the_result_does_not_depend_on_the_parts_that_are_computed_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Known(*swaths.orbit(80, 97, 90, np.linspace(-1100, 1100, 41), 170))
    _, whole, others = gridded(known, tmp_path, resolution=0.4)

    for name, size in (("_ROWS", 7), ("_COLS", 11), ("_HIGH", 13), ("_WIDE", 57)):
        monkeypatch.setattr(swath_gridding, name, size)
    _, found, second = gridded(known, tmp_path, resolution=0.4)

    np.testing.assert_array_equal(found, whole)
    np.testing.assert_array_equal(second, others)


def test_grids_go_on_beyond_the_antimeridian_and_round_the_pole() -> None:
    across = np.linspace(-400, 400, 41)

    over = lay_out(Known(*swaths.orbit(10, 20, 60, across, -175))).grid
    round_pole = lay_out(Known(*swaths.orbit(80, 97, 60, 3 * across, 0))).grid

    assert (over.left > 170, over.bounds[2] > 180, over.width * over.pixel_x < 20) == (True,) * 3
    assert (round_pole.left, round_pole.bounds[2], round_pole.top) == (-180, 180, 90)


def test_cells_are_round_numbers_and_the_same_for_all_orbits() -> None:
    across = swaths.widening(45, 1300, 35)
    grids = [
        lay_out(Known(*swaths.orbit(begin, begin + 20, 41, across, node))).grid
        for begin, node in ((-60, 0), (0, 77), (50, 133), (20, -100))
    ]

    assert {grid.pixel_x for grid in grids} == {0.3}
    assert all(grid.offset_of(grids[0]) is not None for grid in grids)
    metres = lay_out(Known(*swaths.orbit(40, 41, 111, np.linspace(-50, 50, 101))), "EPSG:3035")
    assert metres.grid.pixel_x == 1000


def test_a_grid_without_end_is_refused() -> None:
    known = Known(*swaths.orbit(0, 80, 100, np.linspace(-900, 900, 41)))

    with pytest.raises(ArgumentInvalid, match=r"would have .* cells.*--resolution"):
        lay_out(known, resolution=1e-4)


def test_the_outline_holds_the_swath_across_the_antimeridian_and_the_pole() -> None:
    for begin in (10, 70):
        known = Known(*swaths.orbit(begin, begin + 25, 80, np.linspace(-1100, 1100, 61), -178))

        outline = shape(lay_out(known).outline)

        assert outline.is_valid
        assert outline.bounds[0] >= -180
        assert outline.bounds[2] <= 180
        assert shapely.covers(outline, shapely.points(known.longitudes, known.latitudes)).all()


def test_gdal_brings_a_smooth_swath_to_the_same_grid(tmp_path: Path) -> None:
    known = Known(*swaths.orbit(40, 46, 220, np.linspace(-320, 320, 200), 15))
    values = np.arange(220 * 200, dtype=np.float32).reshape(220, 200)
    for name, array in (("v", values), ("lon", known.longitudes), ("lat", known.latitudes)):
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", height=220, width=200, count=1,
            dtype=array.dtype, crs="EPSG:4326", transform=rasterio.Affine(1, 0, 0, 0, 1, 0.5),
        ) as file:  # fmt: skip
            file.write(array, 1)
    with rasterio.open(tmp_path / "v.tif", "r+") as file:
        file.update_tags(
            ns="GEOLOCATION", X_DATASET=str(tmp_path / "lon.tif"), X_BAND=1, LINE_STEP=1,
            Y_DATASET=str(tmp_path / "lat.tif"), Y_BAND=1, PIXEL_STEP=1, LINE_OFFSET=0,
            PIXEL_OFFSET=0, SRS="EPSG:4326", GEOREFERENCING_CONVENTION="PIXEL_CENTER",
        )  # fmt: skip

    grid, found, _ = gridded(known, tmp_path)

    extent = [str(grid.bounds[i]) for i in range(4)]
    subprocess.run(
        ["gdalwarp", "-q", "-geoloc", "-t_srs", "EPSG:4326", "-te", *extent, "-ts", str(grid.width),
         str(grid.height), "-r", "near", "-dstnodata", "-1", "-et", "0", "v.tif", "warped.tif"],
        cwd=tmp_path, check=True, timeout=300,
    )  # fmt: skip
    with rasterio.open(tmp_path / "warped.tif") as file:
        theirs = file.read(1).astype(np.int64)
    both = (theirs >= 0) & (found >= 0)
    assert both.sum() > 0.97 * (found >= 0).sum()
    rows, cols = (
        np.abs(theirs // 200 - found // 200)[both],
        np.abs(theirs % 200 - found % 200)[both],
    )
    assert max(rows.max(), cols.max()) <= 1
    assert ((rows == 0) & (cols == 0)).mean() > 0.9


def test_positions_between_tie_points_are_within_a_tenth_of_a_pixel() -> None:
    across = swaths.widening(257, 640, 2.5) * 2
    longitudes, latitudes = swaths.orbit(85, 97, 200, across, 179)
    ties = TiePositions(
        longitudes[:, ::16], latitudes[:, ::16],
        (np.arange(200.0), np.arange(0.0, 257, 16)), (200, 257),
    )  # fmt: skip

    found = unit_vectors(*ties.read(30, 150))

    off = np.linalg.norm(found - unit_vectors(longitudes, latitudes)[30:150], axis=-1) * EARTH_M
    assert off.max() < 500
    assert np.isnan(TiePositions(longitudes[:, ::16], latitudes[:, ::16],
                                 (np.arange(200.0), np.arange(0.0, 257, 16)), (200, 260))
                    .read(0, 9)[0][:, 257:]).all()  # fmt: skip
