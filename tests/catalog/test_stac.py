"""STAC documents: builders, bands in every layout, described collections, real items."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.catalog import (
    BandInfo,
    band_document,
    make_asset,
    make_collection,
    make_item,
    open_catalog,
    read_bands,
)
from terrazzo.catalog.bands import asset_bands
from terrazzo.catalog.stac import read_projection
from terrazzo.errors import ArgumentInvalid

SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
RED = BandInfo("B04", "uint16", 0.0, 0.0001, -0.1, "red", 0.665, 10.0, "Red")


def item_at(name: str, west: float, day: int, crs: str | int = 32633, **properties: object):
    asset = make_asset(
        f"{name}.tif",
        bands=[RED],
        crs=crs,
        shape=(100, 200),
        transform=(10, 0, 500_000 + 1000 * day, 0, -10, 5_000_000),
    )
    return make_item(
        name,
        "s",
        bbox=(west, 45.0, west + 1.0 if west < 179.5 else west - 359.0, 46.0),
        datetime=f"2020-01-{day:02d}",
        properties=properties,
        assets={"red": asset},
    )


@given(
    st.builds(
        BandInfo,
        name=st.text(min_size=1),
        dtype=st.sampled_from(["", "uint8", "int16", "float32"]),
        nodata=st.none() | st.floats(),
        scale=st.floats(allow_nan=False, allow_infinity=False),
        offset=st.floats(allow_nan=False, allow_infinity=False),
        common_name=st.sampled_from(["", "red"]),
        wavelength_um=st.none() | st.floats(0.1, 20),
        gsd_m=st.none() | st.floats(0.1, 1e5),
        description=st.text(),
    )
)
def test_a_band_survives_json(band):
    document = json.loads(json.dumps(band_document(band), allow_nan=False))

    (found,) = read_bands({"href": "x", "bands": [document]})

    if band.nodata is not None and math.isnan(band.nodata):
        assert found.nodata is not None
        assert math.isnan(found.nodata)
    else:
        assert found == band


def test_bands_of_stac_1_0_are_read_from_both_lists():
    asset = {
        "href": "x.tif",
        "eo:bands": [{"name": "B04", "common_name": "red", "center_wavelength": 0.665}],
        "raster:bands": [
            {
                "data_type": "uint16",
                "nodata": "nan",
                "scale": 0.5,
                "offset": 1,
                "spatial_resolution": 10,
            }
        ],
    }

    (band,) = read_bands(asset)

    assert (band.name, band.common_name, band.wavelength_um) == ("B04", "red", 0.665)
    assert (band.dtype, band.scale, band.offset, band.gsd_m) == ("uint16", 0.5, 1.0, 10.0)
    assert band.nodata is not None
    assert math.isnan(band.nodata)


def test_nameless_bands_are_named_by_their_asset():
    one = {"href": "x", "raster:bands": [{"nodata": 0}]}
    two = {"href": "x", "raster:bands": [{}, {"nodata": 0}]}
    plain = {"href": "x", "type": "image/tiff; application=geotiff", "roles": ["data"]}

    assert [b.name for b in read_bands(one, "scl")] == ["scl"]
    assert [b.name for b in read_bands(two, "s")] == ["s_1", "s_2"]
    assert [b.name for b in read_bands(plain, "SCL")] == ["SCL"]
    assert read_bands({"href": "x", "type": "image/png", "roles": ["thumbnail"]}, "t") == ()
    with pytest.raises(ArgumentInvalid, match="scale"):
        read_bands({"href": "x", "bands": [{"name": "a", "raster:scale": "big"}]})


def test_fields_of_an_asset_hold_for_all_its_bands():
    asset = {
        "href": "x",
        "data_type": "int16",
        "nodata": -1,
        "bands": [{"name": "a"}, {"name": "b"}],
    }

    assert [(b.name, b.dtype, b.nodata) for b in read_bands(asset)] == [
        ("a", "int16", -1.0),
        ("b", "int16", -1.0),
    ]


def test_a_crs_without_a_code_survives():
    item = item_at("a", 10.0, 1, crs=SINUSOIDAL)

    asset = item["assets"]["red"]
    grid = read_projection(json.loads(json.dumps(item)), "red")

    assert "proj:code" not in asset
    assert "Sinusoidal" in asset["proj:wkt2"]
    assert grid is not None
    assert grid.crs == asset["proj:wkt2"]
    assert grid.shape == (100, 200)
    assert any("projection" in url for url in item["stac_extensions"])


def test_an_item_without_geometry_gets_its_box_cut_at_the_antimeridian():
    item = make_item("a", "s", bbox=(170, 0, -170, 10), datetime="2020-01-01")

    assert item["geometry"]["type"] == "MultiPolygon"
    assert item["properties"]["datetime"] == "2020-01-01T00:00:00Z"
    assert item == json.loads(json.dumps(item))


def test_a_collection_describes_the_cube_that_its_items_make(tmp_path):
    with open_catalog(tmp_path / "c.db") as catalog:
        extra = BandInfo("mask", "uint8")
        catalog.put_collection(make_collection("s", title="Scenes", bands=[extra]))
        assert catalog.collection("s") == make_collection("s", title="Scenes", bands=[extra])
        catalog.put_items(
            [item_at("a", 10.0, 1, cloud=3), item_at("b", 12.0, 3, cloud=40.5, who="me")]
        )

        found = catalog.collection("s")

        cube = found["cube:dimensions"]
        assert found["title"] == "Scenes"
        assert found["extent"]["spatial"]["bbox"] == [[10.0, 45.0, 13.0, 46.0]]
        assert found["extent"]["temporal"]["interval"] == [
            ["2020-01-01T00:00:00Z", "2020-01-03T00:00:00Z"]
        ]
        assert cube["x"]["extent"] == [501_000.0, 505_000.0]
        assert cube["y"]["extent"] == [4_999_000.0, 5_000_000.0]
        assert (cube["x"]["reference_system"], cube["x"]["step"]) == (32633, 10.0)
        assert cube["t"]["values"] == ["2020-01-01T00:00:00Z", "2020-01-03T00:00:00Z"]
        assert cube["bands"]["values"] == ["mask", "B04"]
        assert read_bands(found) == (extra, RED)
        assert found["summaries"] == {"cloud": {"minimum": 3, "maximum": 40.5}, "who": ["me"]}
        assert set(found["item_assets"]["red"]) == {"type", "roles", "bands"}


def test_items_in_two_crs_make_a_cube_in_degrees_that_may_cross_the_antimeridian(tmp_path):
    with open_catalog(tmp_path / "c.db") as catalog:
        catalog.put_collection(make_collection("s"))
        catalog.put_items([item_at("a", 179.6, 1), item_at("b", 170.0, 2, crs=3857)])

        found = catalog.collection("s")

        west, _, east, _ = found["extent"]["spatial"]["bbox"][0]
        assert (west, east) == (170.0, pytest.approx(-179.4))
        assert found["cube:dimensions"]["x"]["reference_system"] == 4326


@pytest.mark.parametrize(
    ("file", "bands"),
    [
        ("sentinel-2-l2a", {"B02", "B8A", "B12", "SCL"}),
        ("landsat-c2-l2", {"OLI_B4", "qa_pixel"}),
        ("sentinel-1-rtc", {"vv", "vh"}),
        ("3dep-lidar-dsm", {"data"}),
        ("io-lulc-annual-v02", {"data"}),
    ],
)
def test_real_items_go_in_and_come_out_equal_and_their_bands_are_read(
    shared, tmp_path, file, bands
):
    folder = shared / "data" / "stac_items_planetarycomputer"
    items = json.loads((folder / f"{file}-pc.json").read_text())

    with open_catalog(tmp_path / "c.db") as catalog:
        catalog.put_collection(make_collection(file))
        catalog.put_items(items)
        found = {item["id"]: item for item in catalog.search((file,))}
        fresh = catalog.collection(file)

    assert found == {item["id"]: item for item in items}
    for item in items:
        assert bands <= {band.name for band in read_bands(item)}
    assert bands <= {band.name for band in read_bands(fresh)}
    assert bands <= set(fresh["cube:dimensions"]["bands"]["values"])


texts = st.sampled_from(["B04", "red", "uint16", "nan", ""])
numbers = st.sampled_from([0, 0.0, -0.0, 1, True, 0.1, float("nan"), None, 2**70])
described = st.fixed_dictionaries(
    {},
    optional={
        "name": texts, "data_type": texts, "nodata": numbers, "raster:scale": numbers,
        "offset": numbers, "description": texts, "unit": texts, "eo:common_name": texts,
    },
)  # fmt: skip
assets = st.fixed_dictionaries(
    {"href": texts},
    optional={
        "type": st.sampled_from(["image/tiff", "image/png"]),
        "roles": st.lists(st.sampled_from(["data", "thumbnail"]), max_size=2),
        "bands": st.lists(described, max_size=3),
        "eo:bands": st.lists(described, max_size=2),
        "raster:bands": st.lists(described, max_size=2),
        "nodata": numbers, "scale": numbers, "data_type": texts, "title": texts,
        "description": texts, "file:checksum": texts, "proj:shape": st.just([1, 2]),
    },
)  # fmt: skip


@given(several=st.lists(st.tuples(assets, st.sampled_from(["a", "B04"])), max_size=6))
def test_bands_that_are_read_once_are_those_read_each_time(several):
    for asset, key in several:
        try:
            expected = repr(read_bands(asset, key))
        except ArgumentInvalid:
            with pytest.raises(ArgumentInvalid, match="is not a number"):
                asset_bands(asset, key)
        else:
            assert repr(asset_bands(asset, key)) == expected
