"""Products of agencies go in whole: dates, bands, scales and offsets come from their metadata."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from defusedxml import ElementTree
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine, GCPTransformer, xy
from rasterio.warp import transform
from tests.drivers import products

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from pathlib import Path

ZEEBRUGGE = "s1_grd_zeebrugge_dem/zeebrugge_2020_06_06.SAFE"


def taken_in(path: Path, tmp_path: Path, **options: Any) -> list[dict[str, Any]]:
    workspace = Workspace.of(tmp_path / "home")
    ingest([path], "c", workspace, options=IngestOptions(**options))
    with workspace.catalog() as catalog:
        return list(catalog.search(("c",)))


def band_of(item: dict[str, Any], key: str) -> dict[str, Any]:
    (band,) = item["assets"][key]["bands"]
    return band


# Sentinel-2


@pytest.mark.parametrize("copy", [False, True])
def test_sentinel_2_is_one_item_with_each_band_at_its_finest_resolution(
    tmp_path: Path, copy: bool
) -> None:
    products.sentinel2_l2a(tmp_path / "in")

    (item,) = taken_in(tmp_path / "in", tmp_path, copy=copy)

    assert item["id"] == products.S2_NAME
    assert item["properties"]["datetime"] == "2023-06-07T10:40:12.345678Z"
    assert set(item["assets"]) == set(products.S2_METRES)
    for band, metres in products.S2_METRES.items():
        with rasterio.open(item["assets"][band]["href"]) as file:
            assert file.res == (metres, metres)
            np.testing.assert_array_equal(file.read(1), products.pixels_of(band, metres))


def test_sentinel_2_has_the_scale_and_offset_of_its_baseline(tmp_path: Path) -> None:
    products.sentinel2_l2a(tmp_path / "in")

    (item,) = taken_in(tmp_path / "in", tmp_path)

    red = band_of(item, "B04")
    assert red["raster:scale"] == 1 / 10_000
    assert red["raster:offset"] == -0.1
    assert (red["nodata"], red["eo:common_name"]) == (0, "red")
    assert red["eo:center_wavelength"] == 0.6646
    assert band_of(item, "AOT")["raster:scale"] == 1 / 1000
    assert "raster:scale" not in band_of(item, "SCL")
    properties = item["properties"]
    assert properties["platform"] == "sentinel-2a"
    assert properties["eo:cloud_cover"] == 12.5
    assert properties["grid:code"] == "MGRS-32TMT"
    assert properties["view:sun_elevation"] == 90 - 27.5
    assert properties["processing:version"] == "05.09"


def test_sentinel_2_of_before_offsets_has_none(tmp_path: Path) -> None:
    products.sentinel2_l1c(tmp_path / "in")

    (item,) = taken_in(tmp_path / "in", tmp_path)

    assert item["id"] == products.L1C_NAME
    assert set(item["assets"]) == {"B02", "B10"}
    blue = band_of(item, "B02")
    assert (blue["raster:scale"], blue["raster:offset"]) == (1 / 10_000, 0.0)
    assert item["properties"]["processing:level"] == "L1C"


def test_a_sentinel_2_product_without_its_granules_metadata_is_left_out_and_named(
    tmp_path: Path,
) -> None:
    root = products.sentinel2_l2a(tmp_path / "in")
    next(root.rglob("MTD_TL.xml")).unlink()

    with pytest.raises(ArgumentInvalid, match=r"MTD_TL.xml\) are missing") as refused:
        taken_in(tmp_path / "in", tmp_path)

    assert products.S2_NAME in str(refused.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('<!DOCTYPE a [<!ENTITY b "lol"><!ENTITY c "&b;&b;">]><a>&c;</a>', "defines entities"),
        ("<a><b></a>", "is no XML"),
        ("", "is no XML"),
        ("<a/>", "QUANTIFICATION_VALUE"),
    ],
)
def test_hostile_and_damaged_metadata_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    root = products.sentinel2_l2a(tmp_path / "in")
    (root / "MTD_MSIL2A.xml").write_text(text)

    with pytest.raises(ArgumentInvalid, match=reason):
        taken_in(tmp_path / "in", tmp_path)


# Landsat


@pytest.mark.parametrize("form", ["txt", "xml", "json"])
def test_landsat_has_the_scale_and_offset_of_its_mtl_file(tmp_path: Path, form: str) -> None:
    products.landsat(tmp_path / "in", form, ("SR_B4", "ST_B10", "QA_PIXEL"))

    (item,) = taken_in(tmp_path / "in", tmp_path)

    assert item["id"] == products.LANDSAT
    assert item["properties"]["datetime"] == "2023-06-07T10:09:37.123456Z"
    red, heat = band_of(item, "SR_B4"), band_of(item, "ST_B10")
    assert (red["raster:scale"], red["raster:offset"]) == (2.75e-05, -0.2)
    assert (red["eo:common_name"], red["nodata"]) == ("red", 0)
    assert (heat["raster:scale"], heat["raster:offset"]) == (0.00341802, 149.0)
    assert heat["eo:common_name"] == "lwir11"
    assert band_of(item, "QA_PIXEL")["nodata"] == 1
    properties = item["properties"]
    assert properties["platform"] == "landsat-9"
    assert properties["instruments"] == ["oli", "tirs"]
    assert properties["eo:cloud_cover"] == 3.21
    assert properties["view:sun_azimuth"] == 360 - 142.5
    assert (properties["landsat:wrs_path"], properties["landsat:wrs_row"]) == ("195", "027")
    assert properties["processing:level"] == "L2SP"


def test_landsat_level_1_is_reflectance_for_the_height_of_the_sun_or_radiance(
    tmp_path: Path,
) -> None:
    scene = products.LANDSAT.replace("L2SP", "L1TP")
    products.landsat(tmp_path / "in", "txt", ("B4", "B10"), scene)

    (item,) = taken_in(tmp_path / "in", tmp_path)

    red, heat = band_of(item, "B4"), band_of(item, "B10")
    sine = math.sin(math.radians(30.0))
    assert red["raster:scale"] == pytest.approx(2e-5 / sine, rel=1e-15)
    assert red["raster:offset"] == pytest.approx(-0.1 / sine, rel=1e-15)
    assert (heat["raster:scale"], heat["raster:offset"]) == (3.8e-4, 0.1)


def test_a_band_whose_rescaling_is_not_stated_is_no_guess(tmp_path: Path) -> None:
    products.landsat(tmp_path / "in", "json", ("SR_B5",))

    with pytest.raises(ArgumentInvalid, match="REFLECTANCE_MULT_BAND_5"):
        taken_in(tmp_path / "in", tmp_path)


def test_a_second_ingestion_of_a_product_makes_nothing(tmp_path: Path) -> None:
    products.landsat(tmp_path / "in", "txt", ("SR_B4", "ST_B10"))
    workspace = Workspace.of(tmp_path / "home")

    first = ingest([tmp_path / "in"], "c", workspace)
    second = ingest([tmp_path / "in"], "c", workspace)

    assert (first.made, first.kept, second.made, second.kept) == (1, 0, 0, 1)


# Sentinel-1


def test_sentinel_1_is_dated_by_its_acquisition_and_calibrated(
    shared: Path, tmp_path: Path
) -> None:
    folder = shared / "data" / ZEEBRUGGE

    (item,) = taken_in(folder, tmp_path)

    assert item["properties"]["datetime"] == "2020-06-06T06:06:15.464084Z"
    assert set(item["assets"]) == {"VV", "VH"}
    for key in ("VV", "VH"):
        compare_with_tables(folder, key, item["assets"][key]["href"])


def compare_with_tables(folder: Path, key: str, made: str) -> None:
    """Compare pixels with the formula, by GDAL's transformer and the nearest entries of tables."""
    (source,) = (folder / "measurement").glob(f"*-{key.lower()}-*.tiff")
    annotation = ElementTree.parse(folder / "annotation" / f"{source.stem}.xml")
    tables = folder / "annotation" / "calibration"
    sigma = ElementTree.parse(tables / f"calibration-{source.stem}.xml")
    noise = ElementTree.parse(tables / f"noise-{source.stem}.xml")
    points = [
        GroundControlPoint(
            *(float(p.findtext(n)) for n in ("line", "pixel", "longitude", "latitude"))
        )
        for p in annotation.iter("geolocationGridPoint")
    ]
    with (
        rasterio.open(source) as raw,
        rasterio.open(made) as file,
        GCPTransformer(points, tps=True) as places,
    ):
        assert file.transform == raw.transform
        numbers, found = raw.read(1).astype(float), file.read(1)
        np.testing.assert_array_equal(np.isnan(found), numbers == 0)
        for row, col in [(5, 7), (100, 1500), (466, 880), (900, 20), (930, 1760)]:
            line, pixel = places.rowcol(*raw.xy(row, col), op=float)
            table = nearest(sigma, "calibrationVector", "sigmaNought", line, pixel)
            power = numbers[row, col] ** 2 - nearest(
                noise, "noiseRangeVector", "noiseRangeLut", line, pixel
            ) * along(noise, line, pixel)
            assert found[row, col] == pytest.approx(max(power, 0) / table**2, rel=2e-2, abs=1e-5)


def tie_points(annotation: Any) -> list[GroundControlPoint]:
    names = ("line", "pixel", "longitude", "latitude")
    return [
        GroundControlPoint(*(float(point.findtext(name)) for name in names))
        for point in annotation.iter("geolocationGridPoint")
    ]


def nearest(root: Any, element: str, values: str, line: float, pixel: float) -> float:
    vector = min(root.iter(element), key=lambda v: abs(float(v.findtext("line")) - line))
    places = np.array(vector.findtext("pixel").split(), float)
    return float(vector.findtext(values).split()[int(np.abs(places - pixel).argmin())])


def along(root: Any, line: float, pixel: float) -> float:
    for one in root.iter("noiseAzimuthVector"):
        first, last = (float(one.findtext(f"{n}RangeSample")) for n in ("first", "last"))
        if first <= pixel <= last:
            places = np.array(one.findtext("line").split(), float)
            values = one.findtext("noiseAzimuthLut").split()
            return float(values[int(np.abs(places - line).argmin())])
    raise AssertionError((line, pixel))


def test_sentinel_1_in_the_radars_geometry_is_brought_onto_the_ground(
    shared: Path, tmp_path: Path
) -> None:
    """Each number tells where it lies in the radar's geometry, so that places can be compared."""
    folder = tmp_path / "in" / "S1B_IW_GRDH_1SDV_X.SAFE"
    stem = radar_geometry(shared / "data" / ZEEBRUGGE, folder)

    (item,) = taken_in(folder, tmp_path)

    annotation = ElementTree.parse(folder / "annotation" / f"{stem}.xml")
    points = [
        GroundControlPoint(
            *(float(p.findtext(n)) for n in ("line", "pixel", "longitude", "latitude"))
        )
        for p in annotation.iter("geolocationGridPoint")
    ]
    with (
        rasterio.open(item["assets"]["VV"]["href"]) as file,
        GCPTransformer(points, tps=True) as places,
    ):
        assert file.crs.to_epsg() == 32631
        found = file.read(1)
        rows, cols = np.nonzero(np.isfinite(found))
        assert len(rows) > 100_000
        some = np.random.default_rng(0).choice(len(rows), 200, replace=False)
        xs, ys = xy(file.transform, rows[some], cols[some])
        longitudes, latitudes = transform(file.crs, 4326, xs, ys)
        lines, pixels = places.rowcol(longitudes, latitudes, op=np.asarray)
        power = found[rows[some], cols[some]]
        np.testing.assert_allclose(np.sqrt(power), 100 + lines + pixels / 2, atol=1.0)


def radar_geometry(real: Path, folder: Path) -> str:
    """Make a product of 700 x 800 pixels with flat tables; returns the stem of its files."""
    (source,) = (real / "measurement").glob("*-vv-*.tiff")
    stem = source.stem
    (folder / "measurement").mkdir(parents=True)
    (folder / "annotation" / "calibration").mkdir(parents=True)
    (folder / "manifest.safe").write_bytes((real / "manifest.safe").read_bytes())
    lines, pixels = np.meshgrid(np.arange(700), np.arange(800), indexing="ij")
    with rasterio.open(
        folder / "measurement" / f"{stem}.tiff", "w", driver="GTiff", dtype="uint16", count=1,
        height=700, width=800, gcps=[GroundControlPoint(0, 0, 3.0, 51.0)], crs="EPSG:4326",
    ) as file:  # fmt: skip
        file.write(np.rint(100 + lines + pixels / 2).astype(np.uint16), 1)
    grid = "".join(
        f"<geolocationGridPoint><line>{line}</line><pixel>{pixel}</pixel>"
        f"<longitude>{3 + pixel * 1.4e-4 + line * 2e-5}</longitude>"
        f"<latitude>{51 + 9e-5 * (700 - line) + pixel * 1.5e-5}</latitude></geolocationGridPoint>"
        for line in range(0, 701, 70)
        for pixel in range(0, 801, 100)
    )
    (folder / "annotation" / f"{stem}.xml").write_text(
        "<product><adsHeader><polarisation>VV</polarisation></adsHeader><imageAnnotation>"
        "<azimuthPixelSpacing>10</azimuthPixelSpacing></imageAnnotation>"
        f"<geolocationGrid>{grid}</geolocationGrid></product>"
    )
    (folder / "annotation" / "calibration" / f"calibration-{stem}.xml").write_text(
        "<calibration><calibrationVector><line>0</line><pixel>0 800</pixel>"
        "<sigmaNought>1 1</sigmaNought></calibrationVector></calibration>"
    )
    (folder / "annotation" / "calibration" / f"noise-{stem}.xml").write_text("<noise/>")
    return stem


def test_a_sentinel_1_product_of_another_type_is_refused_by_its_name(
    shared: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in" / "a.SAFE"
    radar_geometry(shared / "data" / ZEEBRUGGE, folder)
    manifest = folder / "manifest.safe"
    manifest.write_text(manifest.read_text().replace("productType>GRD", "productType>SLC"))

    with pytest.raises(ArgumentInvalid, match="type 'SLC'; GRD"):
        taken_in(folder, tmp_path)


def test_images_beside_products_are_still_taken_in(tmp_path: Path) -> None:
    products.landsat(tmp_path / "in", "txt", ("SR_B4",))
    pixels = np.ones((20, 20), np.uint8)
    with rasterio.open(
        tmp_path / "in" / "other_2020-01-01.tif", "w", driver="GTiff", dtype="uint8", count=1,
        height=20, width=20, crs="EPSG:32632", transform=Affine(10, 0, 400_000, 0, -10, 5_300_000),
    ) as file:  # fmt: skip
        file.write(pixels, 1)

    items = taken_in(tmp_path / "in", tmp_path)

    assert {item["id"] for item in items} == {products.LANDSAT, "other_2020-01-01"}
