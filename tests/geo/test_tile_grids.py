"""Tile grids: tiles are where those who invented the grid have them, and hold every place."""

from __future__ import annotations

import morecantile
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.errors import ArgumentInvalid, PlanTooLarge
from terrazzo.geo.crs import WGS84, transformer
from terrazzo.geo.grid import Grid
from terrazzo.geo.tile_grids import EQUI7, tile_grid

SENTINEL2 = {
    # proj:epsg and the upper left corner of proj:transform, of items of Planetary Computer
    "47XML": (32647, 399960.0, 9100020.0),
    "47XMJ": (32647, 399960.0, 8900040.0),
    "46XES": (32646, 499980.0, 9200040.0),
    "46XER": (32646, 499980.0, 9100020.0),
    # and south of the equator of S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD in stactools, pull
    # request 88: its northings are multiples of 60 m from the equator, and not from 0.
    "22HBD": (32722, 199980.0, 5900020.0),
}
IN_TWO_BANDS = {
    # Squares that an edge of a latitude band cuts, as Sentinel-2's archives call them.
    "13SFR": (-103.004715, 31.96212),
    "51QUG": (121.6, 23.9),
}
EQUI7_TILES = {
    # Zone, place and tiles T1, T3 and T6 there, as the package equi7grid 1.1.1 has them.
    "EU": ((22.2, 45.2), ("E056N012", "E054N012", "E054N012")),
    "AF": ((36.8, -1.3), ("E073N049", "E072N048", "E072N048")),
    "AS": ((100.5, 13.7), ("E050N011", "E048N009", "E048N006")),
    "NA": ((-99.1, 19.4), ("E080N012", "E078N012", "E078N012")),
    "OC": ((151.2, -33.9), ("E088N059", "E087N057", "E084N054")),
    "SA": ((-60.0, -3.1), ("E073N067", "E072N066", "E072N066")),
    "AN": ((166.7, -77.8), ("E040N020", "E039N018", "E036N018")),
}


def degrees(west: float, south: float, width: float = 1e-5, height: float = 1e-5) -> Grid:
    return Grid.of(WGS84, west, south + height, (width, height), 1, 1)


def names_at(text: str, place: Grid, resolution: float = 0.0) -> set[str]:
    return {tile.name for tile in tile_grid(text, resolution).tiles(place, place.window)}


@pytest.mark.parametrize("name", SENTINEL2)
@pytest.mark.parametrize("pixel", [10.0, 20.0, 60.0])
def test_tiles_of_mgrs_are_those_of_sentinel_2(name: str, pixel: float):
    code, left, top = SENTINEL2[name]
    edge = round(109_800 / pixel)
    image = Grid.of(code, left, top, pixel, edge, edge)

    found = {tile.name: tile for tile in tile_grid("mgrs", pixel).tiles(image, image.window)}

    assert found[name].grid == image


@pytest.mark.parametrize("name", IN_TWO_BANDS)
def test_a_square_in_two_bands_has_the_name_that_sentinel_2_gives_it(name: str):
    assert names_at("mgrs", degrees(*IN_TWO_BANDS[name])) == {name}


def test_there_are_no_two_tiles_of_one_name():
    world = degrees(-180.0, -80.0, 360.0, 164.0)

    names = [tile.name for tile in tile_grid("mgrs").tiles(world, world.window)]

    assert len(set(names)) == len(names)
    zones = {name[:2] for name in names}
    assert zones == {f"{number:02}" for number in range(1, 61)}


@given(longitude=st.floats(-179.99, 179.99), latitude=st.floats(-79.9, 83.9), east=st.booleans())
def test_every_place_is_on_a_tile_that_holds_it(longitude: float, latitude: float, east: bool):
    turned = longitude + 360.0 if east and longitude < 0 else longitude
    place = degrees(turned, latitude)

    found = tile_grid("mgrs").tiles(place, place.window)

    assert 1 <= len(found) <= 4
    for tile in found:
        x, y = transformer(WGS84, tile.grid.crs).transform(longitude, latitude)
        left, bottom, right, top = tile.grid.bounds
        assert left - 2 <= x <= right + 2
        assert bottom - 2 <= y <= top + 2


def test_norway_and_svalbard_have_the_zones_of_mgrs():
    assert {name[:2] for name in names_at("mgrs", degrees(5.0, 60.0))} == {"32"}
    assert {name[:2] for name in names_at("mgrs", degrees(8.0, 78.0))} == {"31"}
    assert {name[:2] for name in names_at("mgrs", degrees(11.0, 78.0))} == {"33"}


def test_both_sides_of_the_antimeridian_have_tiles():
    place = Grid.of(32601, 160_000.0, 1_000_000.0, 1000.0, 100, 200)

    west, _, east, _ = place.to_bounds(place.window, WGS84)

    assert east - west > 300
    assert {name[:2] for name in names_at("mgrs", place)} == {"60", "01"}


@given(zoom=st.integers(1, 16), longitude=st.floats(-179.9, 179.9), latitude=st.floats(-84.9, 84.9))
def test_tiles_of_web_maps_are_those_of_morecantile(zoom: int, longitude: float, latitude: float):
    scheme = morecantile.tms.get("WebMercatorQuad")
    place = degrees(longitude, latitude, 1e-6, 1e-6)

    (tile, *_) = tile_grid(f"webmercator:{zoom}:512").tiles(place, place.window)

    theirs = scheme.quadkey_to_tile(tile.name)
    assert scheme.quadkey(scheme.tile(longitude + 5e-7, latitude + 5e-7, zoom)) in names_at(
        f"webmercator:{zoom}:512", place
    )
    assert tile.grid.height == tile.grid.width == 512
    np.testing.assert_allclose(tile.grid.bounds, scheme.xy_bounds(theirs), atol=1e-6)


@pytest.mark.parametrize("zone", EQUI7_TILES)
def test_tiles_of_equi7grid_are_those_of_its_package(zone: str):
    place, names = EQUI7_TILES[zone]

    for size, name in zip(("T1", "T3", "T6"), names, strict=True):
        (tile,) = tile_grid(f"equi7:{zone}:{size}", 100.0).tiles(
            degrees(*place), degrees(*place).window
        )

        left, bottom, right, _ = tile.grid.bounds
        assert tile.name == f"{zone}_{name}{size}"
        assert (left, bottom) == (int(name[1:4]) * 100_000, int(name[5:]) * 100_000)
        assert right - left == int(size[1]) * 100_000
        assert tile.grid.crs == f"EPSG:{EQUI7[zone]}"


def test_a_zone_of_equi7grid_has_no_tiles_on_another_continent():
    assert names_at("equi7:SA", degrees(22.2, 45.2)) == set()


def test_squares_of_an_own_grid_are_counted_from_its_corner():
    place = Grid.of(3035, 4_000_000.0 - 300, 3_000_000.0 + 300, 1.0, 600, 600)

    tiles = tile_grid("EPSG:3035,4000000,3000000,100,10").tiles(place, place.window)

    assert {tile.name: tile.grid.bounds[:2] for tile in tiles} == {
        "W001N000": (3_999_000.0, 3_000_000.0),
        "E000N000": (4_000_000.0, 3_000_000.0),
        "W001S001": (3_999_000.0, 2_999_000.0),
        "E000S001": (4_000_000.0, 2_999_000.0),
    }
    assert all(tile.grid.width == 100 and tile.grid.pixel_x == 10.0 for tile in tiles)


def test_what_only_touches_a_tile_is_not_on_it():
    place = Grid.of(3035, 4_001_000.0, 3_002_000.0, 10.0, 100, 100)

    assert names_at("EPSG:3035,4000000,3000000,100,10", place) == {"E001N001"}


@pytest.mark.parametrize(
    ("text", "resolution"),
    [
        ("mgrs", 7.0),
        ("mgrs:10", 0.0),
        ("mgrs", 100.0),
        ("equi7", 0.0),
        ("equi7:XX", 0.0),
        ("equi7:EU:T2", 0.0),
        ("equi7:EU", 7.0),
        ("webmercator", 0.0),
        ("webmercator:0", 0.0),
        ("webmercator:25", 0.0),
        ("webmercator:5:0", 0.0),
        ("webmercator:5", 10.0),
        ("EPSG:3035,0,0,1000", 0.0),
        ("EPSG:3035,0,0,1000,0", 0.0),
        ("EPSG:3035,0,0,-5,10", 0.0),
        ("EPSG:3035,nan,0,100,10", 0.0),
        ("EPSG:3035,0,0,100,10", 20.0),
        ("nowhere,0,0,100,10", 0.0),
        ("", 0.0),
    ],
)
def test_what_is_no_tile_grid_is_refused(text: str, resolution: float):
    with pytest.raises(ArgumentInvalid):
        tile_grid(text, resolution)


def test_too_many_tiles_are_refused():
    place = Grid.of(3035, 0.0, 5_000_000.0, 1000.0, 5000, 5000)

    with pytest.raises(PlanTooLarge):
        tile_grid("EPSG:3035,0,0,1,10").tiles(place, place.window)
