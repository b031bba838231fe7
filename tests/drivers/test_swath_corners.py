"""Pixels of a swath reach as far as the corners say that the file states, as Sentinel-5P does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from tests.drivers import swaths
from tests.drivers.test_swaths import pixels, small, taken_in

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BOUNDS = "/PRODUCT/SUPPORT_DATA/GEOLOCATIONS"
ROUND = ((-1, -1), (-1, 1), (1, 1), (1, -1))
"""Corners in rows and columns, one after the other."""


def corners(places: Floats, share: float, turn: int, way: int) -> Floats:
    """Return (rows, cols, 4) corners of pixels that fill a share of the step to the next one."""
    down, across = np.gradient(places)
    order = [ROUND[(turn + way * k) % 4] for k in range(4)]
    steps = [y * down + x * across for y, x in order]
    return np.stack([places + 0.5 * share * step for step in steps], axis=-1)


def product(
    path: Path, places: tuple[Floats, Floats], share: float, turn: int = 0, way: int = 1
) -> Path:
    """Write a product of Sentinel-5P with corners of pixels."""
    longitudes, latitudes = places
    dims, fill = ("time", "scanline", "ground_pixel"), np.float32(9.96921e36)
    named = {"longitude": longitudes, "latitude": latitudes}
    values = swaths.field(longitudes, latitudes).astype(np.float32)
    data: dict[str, Any] = {
        name: (
            dims, one[None].astype(np.float32),
            {"standard_name": name, "bounds": f"{BOUNDS}/{name}_bounds", "_FillValue": fill},
        )
        for name, one in named.items()
    }  # fmt: skip
    data["no2"] = (dims, values[None], {"coordinates": "longitude latitude", "_FillValue": fill})
    told = {
        f"{name}_bounds": (
            (*dims, "corner"), corners(one, share, turn, way)[None].astype(np.float32), {},
        )
        for name, one in named.items()
    }  # fmt: skip
    when = {"time_coverage_start": "2019-07-04T10:31:40Z"}
    return swaths.write(path, {"PRODUCT": data, BOUNDS.strip("/"): told}, when)


def filled(path: Path, home: Path) -> tuple[NDArray[np.bool_], Floats, Floats]:
    (item,) = taken_in(path, home, resolution=0.02)
    _, there, x, y = pixels(item, "no2")
    return there, x, y


@pytest.mark.parametrize(("turn", "way"), [(0, 1), (2, -1), (3, 1)])
def test_cells_between_pixels_that_lie_apart_have_no_data(tmp_path: Path, turn: int, way: int):
    places = small(rows=30)
    path = product(tmp_path / "a.nc", places, 0.5, turn, way)

    there, x, y = filled(path, tmp_path / "home")

    quads = np.stack([corners(one, 0.5, 0, 1) for one in places], axis=-1)[1:-1, 1:-1]
    shapes = shapely.polygons(quads.reshape(-1, 4, 2))
    inner = shapely.MultiPoint(np.stack(places, axis=-1)[1:-1, 1:-1].reshape(-1, 2)).convex_hull
    points = shapely.points(x, y)
    within = shapely.contains(inner.buffer(-0.3), points)
    tree = shapely.STRtree(shapes)
    expected = np.zeros(x.shape, np.bool_)
    expected.ravel()[np.unique(tree.query(points.ravel(), predicate="within")[0])] = True
    assert (there == expected)[within].mean() > 0.98
    assert 0.2 < there[within].mean() < 0.3


def test_corners_that_are_not_around_their_pixel_count_for_nothing(tmp_path: Path):
    places = small(rows=30)
    whole, _, _ = filled(product(tmp_path / "a.nc", places, 1), tmp_path / "one")

    there, _, _ = filled(product(tmp_path / "b.nc", places, 40), tmp_path / "two")

    assert (there == whole).mean() > 0.99
    assert there.mean() > 0.2
