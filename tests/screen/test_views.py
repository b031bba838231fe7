"""Views that lie anywhere: near, one world away, across 180 degrees; and numbers that are odd."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from tests.drivers.scenes import asset_of, load, register, write_cog

from terrazzo.catalog import BandInfo
from terrazzo.drivers.screen.answers import answer
from terrazzo.drivers.screen.layer import open_layer
from terrazzo.drivers.screen.pictures import Picture
from terrazzo.geo.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from terrazzo.drivers.screen.layer import Layer

ROUND = 2 * math.pi * 6_378_137.0
MERCATOR = "EPSG:3857"
WORLD = Grid.of("EPSG:4326", -180.0, 10.0, 0.5, 40, 720)
COLUMNS = np.tile(np.arange(1, 721, dtype=np.uint16), (40, 1))


def layer_of(
    home: Path, pixels: np.ndarray, grid: Grid, bbox: Sequence[float] = (), **options: Any
) -> Layer:
    path = write_cog(home / "images" / "one.tif", pixels, grid, **options)
    band = BandInfo("V", str(pixels.dtype), options.get("nodata", 0.0))
    items = {"one": ("2020-01-01T00:00:00Z", {"V": asset_of(path, (band,), grid)})}
    workspace = register(home, "one", items, grid, bbox=bbox)
    return open_layer(
        workspace, json.dumps({"load": load(["V"], collection="one") | {"result": True}})
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    """Numbers its columns from 1, from 180 degrees west to 180 degrees east."""
    return layer_of(tmp_path_factory.mktemp("world"), COLUMNS, WORLD)


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    """Small pixels of a place in the middle of Europe."""
    grid = Grid.of("EPSG:32633", 600_000.0, 5_100_000.0, 10.0, 600, 700)
    pixels = np.arange(600 * 700, dtype=np.uint32).reshape(600, 700) + 1
    return layer_of(tmp_path_factory.mktemp("field"), pixels, grid)


def counted(layer: Layer, bounds: tuple[float, float, float, float], **options: Any) -> Any:
    asked = {"bounds": list(bounds), "crs": MERCATOR, "width": 90, "height": 20, **options}
    found = answer(layer, "statistics", asked)
    assert isinstance(found, dict)
    return found["bands"][0]


@pytest.mark.parametrize("method", ["statistics", "picture"])
def test_a_view_far_into_a_layer_takes_the_memory_of_the_view(field: Layer, method: str) -> None:
    left, bottom, right, top = field.tiles.bounds(MERCATOR)
    x, y = (left + right) / 2, (bottom + top) / 2
    asked = {"bounds": [x - 10, y - 10, x + 10, y + 10], "crs": MERCATOR}

    found = answer(field, method, {**asked, "width": 512, "height": 512})

    if method == "picture":
        assert isinstance(found, Picture)
    else:
        assert isinstance(found, dict)
        assert found["bands"][0]["valid"] == 512 * 512


@pytest.mark.parametrize("worlds", [-2, -1, 1, 3])
def test_a_place_is_the_same_in_every_world(field: Layer, worlds: int) -> None:
    left, bottom, right, top = field.tiles.bounds(MERCATOR)
    far = worlds * ROUND

    home = counted(field, (left, bottom, right, top))
    away = counted(field, (left + far, bottom, right + far, top))

    assert home["valid"] > 1000
    assert away["valid"] == home["valid"]
    assert away["mean"] == pytest.approx(home["mean"], rel=1e-9)


@pytest.mark.parametrize("degrees", [-720.0, -360.0, 360.0, 1080.0])
def test_a_place_in_degrees_is_the_same_after_every_turn(field: Layer, degrees: float) -> None:
    left, bottom, right, top = field.tiles.bounds("EPSG:4326")

    home = counted(field, (left, bottom, right, top), crs="EPSG:4326")
    away = counted(field, (left + degrees, bottom, right + degrees, top), crs="EPSG:4326")

    assert away["valid"] == home["valid"] > 1000


@pytest.mark.parametrize("worlds", [0, 1, -1])
def test_a_view_across_180_degrees_shows_both_its_sides(world: Layer, worlds: int) -> None:
    edge, degree = ROUND / 2 + worlds * ROUND, ROUND / 360
    bounds = (edge - 30 * degree, 0.0, edge + 15 * degree, 5 * degree)

    band = counted(world, bounds)

    # Half a degree a column: the last 60 of the world, then the first 30.
    expected = np.concatenate([np.arange(661, 721), np.arange(1, 31)])
    assert band["valid"] == band["count"] == 90 * 20
    assert (band["min"], band["max"]) == (1.0, 720.0)
    assert band["mean"] == pytest.approx(expected.mean())


def test_a_view_of_two_worlds_shows_each_place_twice(world: Layer) -> None:
    twice = counted(world, (-ROUND, 0.0, ROUND, 5e5), width=480)

    assert twice["valid"] == twice["count"]
    assert (twice["min"], twice["max"]) == pytest.approx((1, 720), abs=2)


def test_a_layer_across_180_degrees_in_web_mercator_is_seen_from_both_sides(
    tmp_path: Path,
) -> None:
    grid = Grid.of(MERCATOR, ROUND / 2 - 40_000.0, 40_000.0, 1000.0, 80, 80)
    pixels = np.tile(np.arange(1, 81, dtype=np.uint16), (80, 1))
    layer = layer_of(tmp_path, pixels, grid, bbox=[179.6, -0.4, 180.0, 0.4])

    east = counted(layer, grid.bounds)
    left, bottom, right, top = grid.bounds
    west = counted(layer, (left - ROUND, bottom, right - ROUND, top))

    assert east["valid"] == west["valid"] == 90 * 20
    assert east["mean"] == west["mean"]
    for longitude in (179.9, -179.9, 180.1):
        found = answer(layer, "values", {"lon": longitude, "lat": 0.1})
        assert isinstance(found, dict)
        x = (longitude % 360) * ROUND / 360
        expected = 1 + math.floor((x - left) / 1000.0)
        assert found["dates"][0]["values"][0]["value"] == expected


@pytest.mark.parametrize("longitude", [181.2, -178.8, 541.2])
def test_values_are_those_of_the_place_however_its_longitude_is_counted(
    world: Layer, longitude: float
) -> None:
    found = answer(world, "values", {"lon": longitude, "lat": 1.2})

    assert isinstance(found, dict)
    assert found["dates"][0]["values"][0]["value"] == 1 + math.floor(1.2 / 0.5)
    assert found["x"] == pytest.approx(-178.8)


@pytest.mark.parametrize("crs", [MERCATOR, "EPSG:4326", "EPSG:32633"])
def test_a_place_that_a_projection_lacks_has_no_values(tmp_path: Path, crs: str) -> None:
    pixels = np.ones((20, 20), np.uint16)
    layer = layer_of(tmp_path, pixels, Grid.of(crs, 5.0, 5.0, 0.5, 20, 20))

    found = answer(layer, "values", {"lon": 10.0, "lat": 91.0})

    assert isinstance(found, dict)
    assert found["dates"] == []


@pytest.mark.parametrize("turn", [-360.0, 0.0, 360.0])
def test_a_profile_is_that_of_the_place_in_every_world(world: Layer, turn: float) -> None:
    drawn = shapely.geometry.mapping(shapely.box(10 + turn, 0, 12 + turn, 1))

    found = answer(world, "profile", {"geometry": drawn})

    assert isinstance(found, dict)
    assert found["rows"][0]["values"] == {"V": np.mean([381, 382, 383, 384])}


@pytest.mark.parametrize("turn", [-360.0, 0.0, 360.0])
def test_a_transect_across_180_degrees_goes_on(world: Layer, turn: float) -> None:
    line = {"type": "LineString", "coordinates": [[179.2 + turn, 0.2], [181.2 + turn, 0.2]]}

    found = answer(world, "transect", {"geometry": line, "samples": 5})

    assert isinstance(found, dict)
    assert found["bands"][0]["values"] == [719.0, 720.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("value", [2.0**60, -(2.0**60), 1e20, 0.1])
def test_one_large_number_has_a_bin_that_holds_it(tmp_path: Path, value: float) -> None:
    layer = layer_of(tmp_path, np.full((40, 720), value), WORLD)

    band = counted(layer, (-1e6, 0.0, 1e6, 5e5))

    histogram = band["histogram"]
    assert histogram["counts"] == [90 * 20]
    assert histogram["edges"][0] < value < histogram["edges"][1]


def test_whole_numbers_that_float64_lacks_are_counted(tmp_path: Path) -> None:
    pixels = np.full((40, 720), 2**60, np.int64)
    pixels[:, 360:] += 10_000
    layer = layer_of(tmp_path, pixels, WORLD)

    histogram = counted(layer, (-1e6, 0.0, 1e6, 5e5))["histogram"]

    assert sum(histogram["counts"]) == 90 * 20
    assert histogram["counts"][0] == histogram["counts"][-1] == 45 * 20


def test_numbers_of_the_greatest_size_have_statistics(tmp_path: Path) -> None:
    pixels = np.full((40, 720), -1e308)
    pixels[:, 360:] = 1e308
    layer = layer_of(tmp_path, pixels, WORLD)

    band = counted(layer, (-1e6, 0.0, 1e6, 5e5))

    assert (band["min"], band["max"], band["mean"]) == (-1e308, 1e308, 0.0)
    assert band["sd"] == pytest.approx(1e308)
    assert band["percentiles"]["25"] == -1e308
    assert band["percentiles"]["75"] == 1e308
    counts = band["histogram"]["counts"]
    assert counts[0] == counts[-1] == 45 * 20
    assert np.isfinite(band["histogram"]["edges"]).all()
    json.dumps(band, allow_nan=False)


@pytest.mark.parametrize(
    ("low", "high"),
    [(20_000.0, 20_039.0), (273.15, 274.35), (0.0, 1.0), (-0.0123, 0.7891), (1e-7, 3e-7), (7, 7)],
)
def test_the_range_that_is_found_is_hardly_wider_than_the_data(
    tmp_path: Path, low: float, high: float
) -> None:
    pixels = np.tile(np.linspace(low, high, 720), (40, 1))
    layer = layer_of(tmp_path, pixels, WORLD, nodata=-1.0)

    first, last = layer.range(("V",))

    if low == high:
        assert (first, last) == (low, low + 1)
        return
    middle = pixels[0, 360 - 128 : 360 + 128]  # the block from which it is found
    inner = np.percentile(middle, [2, 98])
    span = inner[1] - inner[0]
    assert inner[0] - 0.0101 * span <= first <= inner[0] + 1e-6 * span
    assert inner[1] - 1e-6 * span <= last <= inner[1] + 0.0101 * span
    assert all(len(f"{(edge - low) / span:.3g}") <= 8 for edge in (first, last))
