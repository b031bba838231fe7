"""What names of files tell: periods, missions and bands; and what the user states instead."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from terrazzo.catalog import read_bands
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.ingestion.items import Period
from terrazzo.drivers.ingestion.missions import mission_in
from terrazzo.drivers.ingestion.names import period_in, read_name, when_of
from terrazzo.drivers.job import Workspace
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.grid import transform_bounds

if TYPE_CHECKING:
    from pathlib import Path


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def image(path: Path, bands: int = 1, **tags: str) -> Path:
    profile = {"driver": "GTiff", "count": bands, "height": 8, "width": 8, "dtype": "uint16"}
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
    with rasterio.open(path, "w", **profile, **place) as file:
        file.write(np.full((bands, 8, 8), 7, np.uint16))
        file.update_tags(**tags)
    return path


def taken(folder: Path, file: Path, **options: Any) -> dict[str, Any]:
    """Ingest a file, and return its item."""
    workspace = Workspace.of(folder / "home")
    ingest([file], "c", workspace, options=IngestOptions(**options))
    with workspace.catalog() as catalog:
        return next(catalog.search(["c"]))


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("ndvi_p50_20171202_20180320_nl", "2017-12-02", "2018-03-21"),
        ("OUTPUT_10m_2017-08-01_2018-11-30", "2017-08-01", "2018-12-01"),
        ("S3A_20190501T100000_20190501T100300_x", "2019-05-01T10:00", "2019-05-01T10:03"),
        ("LC08_L1TP_193027_20190501_20190508_01_T1", "2019-05-01", ""),
        ("LC08_CU_003010_20190501_20190510_C01_V01", "2019-05-01", ""),
        ("x_20190501_20180501", "2019-05-01", ""),
        ("x_20190501_v20230720", "2019-05-01", ""),
    ],
)
def test_two_dates_side_by_side_are_a_period(name: str, start: str, end: str) -> None:
    assert period_in(name) == Period(day(start), day(end) if end else None)


def test_a_year_and_a_month_are_periods() -> None:
    assert Period.of("2018") == Period(day("2018-01-01"), day("2019-01-01"))
    assert Period.of("2018-12") == Period(day("2018-12-01"), day("2019-01-01"))
    assert Period.of("2018-12-01") == Period(day("2018-12-01"))


def test_the_time_of_the_acquisition_counts_before_the_name_and_that_of_writing_after() -> None:
    named, bare = read_name("a_20190101.tif"), read_name("a.tif")
    written = {"TIFFTAG_DATETIME": "2020:02:03 04:05:06"}
    acquired = {"AcquisitionTime": "20190102T101500"}

    def when(parts: Any, tags: dict[str, str]) -> datetime:
        return when_of(parts, "", tags, name="a.tif").start

    assert when(named, written) == day("2019-01-01")
    assert when(named, written | acquired) == day("2019-01-02T10:15")
    assert when(bare, written) == day("2020-02-03T04:05:06")
    assert when(named, {"TIFFTAG_DATETIME": "2019:01:01 10:00:00"}) == day("2019-01-01T10:00")


def test_the_question_for_a_date_suggests_the_year_of_the_name() -> None:
    with pytest.raises(ArgumentInvalid, match="--datetime 2018,"):
        when_of(read_name("trees_2018.tif"), "", {}, name="trees_2018.tif")


def test_a_band_before_the_date_is_found() -> None:
    parts = read_name("TERRA_MODIS_012010_NDVI_2014-07-28.jp2")

    assert (parts.item, parts.band) == ("TERRA_MODIS_012010_2014-07-28", "NDVI")


@pytest.mark.parametrize(
    ("name", "platform", "band", "common"),
    [
        ("20190530_T32TMT_MSIL2A_S2A_10m.tiff", "sentinel-2a", "B8A", "nir08"),
        ("S2_L2A_10m_x.nc", "", "B2", "blue"),
        ("sentinel-2b", "sentinel-2b", "B12", "swir22"),
        ("LC08_20190501.tif", "landsat-8", "SR_B5", "nir08"),
        ("L8_SR_10m_x.nc", "landsat-8", "B02", "blue"),
        ("LE07_x.tif", "landsat-7", "B6_VCID_2", "lwir"),
    ],
)
def test_a_name_tells_the_mission(name: str, platform: str, band: str, common: str) -> None:
    found = mission_in(name)

    assert found is not None
    assert found.platform == platform
    assert (found.band(band) or ("",))[0] == common
    assert found.band("SCL") is None


@pytest.mark.parametrize("name", ["b_s2x.tif", "lai_L4.tif", "S2_L8_fused.tif", "scene_B02.tif"])
def test_a_name_that_tells_no_mission_or_several_gives_none(name: str) -> None:
    assert mission_in(name) is None


def test_bands_of_a_known_mission_get_names_and_wavelengths_but_no_scale(tmp_path: Path) -> None:
    item = taken(tmp_path, image(tmp_path / "S2A_20240515_B08.tif"))

    (band,) = read_bands(item)
    assert (band.common_name, band.wavelength_um) == ("nir", 0.842)
    assert (band.scale, band.offset, band.nodata) == (1.0, 0.0, None)
    assert item["properties"]["instruments"] == ["msi"]
    assert any("/eo/" in url for url in item["stac_extensions"])


def test_what_the_user_states_counts_before_what_is_found(tmp_path: Path) -> None:
    options = {
        "common_names": {"B08": "nir08"}, "platform": "landsat-8", "nodata": 7.0,
        "scale": 0.0001, "offset": -0.1,
    }  # fmt: skip

    item = taken(tmp_path, image(tmp_path / "S2A_20240515_B08.tif"), **options)

    (band,) = read_bands(item)
    assert (band.common_name, band.nodata, band.scale, band.offset) == ("nir08", 7.0, 1e-4, -0.1)
    assert item["properties"]["platform"] == "landsat-8"


def test_a_no_data_value_that_pixels_cannot_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentInvalid, match="uint16, which has no number --nodata -9999"):
        taken(tmp_path, image(tmp_path / "x_20240515.tif"), nodata=-9999.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"platform": "sentinel-22"}, "landsat-4, -5, -7, -8 and -9"),
        ({"common_names": {"B4": "rot"}}, "'rot' is none. Valid are blue, cirrus"),
        ({"crs": "EPSG:99999"}, "'EPSG:99999' is no coordinate reference system"),
    ],
)
def test_options_that_state_what_is_none_are_refused_before_files_are_read(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArgumentInvalid, match=said) as raised:
        taken(tmp_path, image(tmp_path / "x_20240515.tif"), **options)

    assert "Nothing was ingested" not in str(raised.value)


def test_a_grid_whose_pixels_are_centred_on_the_poles_reaches_the_edge_of_the_map() -> None:
    edge = transform_bounds((-180, -85.05, 180, 85.05), "EPSG:4326", "EPSG:3857")[3]

    bounds = transform_bounds((-0.2, -90.2, 359.8, 90.2), "EPSG:4326", "EPSG:3857")

    assert bounds[1] < -edge
    assert bounds[3] > edge
