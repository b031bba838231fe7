"""Makes files of swaths as satellites deliver them, from a field that is known everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5netcdf
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

EARTH_KM = 6371.0088
S5P_NAME = "S5P_OFFL_L2__NO2____20190704T101010_20190704T115140_08923_01_010302_20190710T120000"
_INCLINATION = np.radians(98.7)
_TURN_PER_ORBIT = np.radians(25.3)
"""How far the Earth turns under an orbit."""


def field(longitudes: Any, latitudes: Any) -> Any:
    """A smooth field without a seam: 100 to 300."""
    east, north = np.radians(longitudes), np.radians(latitudes)
    x, y, z = np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)
    return 200 + 60 * np.sin(3 * x + 1) * np.cos(2 * y) + 40 * np.sin(4 * z + x)


def steepest() -> float:
    """The field changes by at most so much per kilometre."""
    return (60 * (3 + 2) + 40 * (4 + 1)) / EARTH_KM


def orbit(
    begin: float, end: float, rows: int, across_km: Floats, node: float = 0.0
) -> tuple[Floats, Floats]:
    """Longitudes and latitudes (rows, cols) of a swath.

    `begin` and `end` are degrees along the orbit, counted from where it crosses the equator going
    north, at longitude `node`; `across_km` is how far each column is from the track.
    """
    along = np.radians(np.linspace(begin, end, rows))[:, None]
    track = np.stack(
        [
            np.cos(along),
            np.sin(along) * np.cos(_INCLINATION),
            np.sin(along) * np.sin(_INCLINATION),
        ],
        axis=-1,
    )
    aside = np.array([0, np.sin(_INCLINATION), -np.cos(_INCLINATION)])
    angle = (across_km / EARTH_KM)[None, :, None]
    x, y, z = np.moveaxis(track * np.cos(angle) + aside * np.sin(angle), -1, 0)
    turned = np.degrees(np.arctan2(y, x) - along / (2 * np.pi) * _TURN_PER_ORBIT) + node
    return (turned + 180) % 360 - 180, np.degrees(np.arcsin(np.clip(z, -1, 1)))


def widening(cols: int, half_km: float, nadir_km: float) -> Floats:
    """Distances from the track of columns that widen towards the edge."""
    t = (np.arange(cols) - (cols - 1) / 2) / (cols / 2)
    linear = nadir_km * cols / 2
    return linear * t + (half_km - linear) * t**5


def write(
    path: Path, groups: dict[str, dict[str, Any]], attributes: dict[str, Any] | None = None
) -> Path:
    """Write variables (dimensions, values, attributes) by group and name, `_FillValue` as told."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5netcdf.File(path, "w") as file:
        file.attrs.update(attributes or {})
        for name, variables in groups.items():
            group = file if not name else file.create_group(name)
            for key, (dims, values, attrs) in variables.items():
                told = dict(attrs)
                for dim, size in zip(dims, np.shape(values), strict=True):
                    if dim not in group.dimensions:
                        group.dimensions[dim] = size
                made = group.create_variable(
                    key, dims, np.asarray(values).dtype, data=np.asarray(values),
                    fillvalue=told.pop("_FillValue", None),
                    **({"compression": "gzip"} if len(dims) > 1 else {}),
                )  # fmt: skip
                made.attrs.update(told)
    return path


def sentinel5p(
    path: Path,
    longitudes: Floats,
    latitudes: Floats,
    *,
    missing: int = 0,
    attributes: dict[str, Any] | None = None,
) -> Path:
    """A product like NO2 of TROPOMI: group PRODUCT, with a group of support data in it.

    The values of the first `missing` columns are fill.
    """
    rows, cols = latitudes.shape
    dims = ("time", "scanline", "ground_pixel")
    fill = np.float32(9.96921e36)
    values = field(longitudes, latitudes).astype(np.float32)
    values[:, :missing] = fill
    quality = np.broadcast_to(np.where(np.arange(cols) % 3 == 0, 55, 100), (rows, cols))
    told = {"coordinates": "longitude latitude", "_FillValue": fill, "units": "mol m-2"}
    product = {
        "time": (("time",), np.array([299_894_400], np.int32),
                 {"units": "seconds since 2010-01-01 00:00:00"}),
        "delta_time": (dims[:2], np.arange(rows, dtype=np.int32)[None] * 840,
                       {"units": "milliseconds"}),
        "longitude": (dims, longitudes[None].astype(np.float32),
                      {"standard_name": "longitude", "units": "degrees_east",
                       "_FillValue": fill}),
        "latitude": (dims, latitudes[None].astype(np.float32),
                     {"standard_name": "latitude", "units": "degrees_north", "_FillValue": fill}),
        "nitrogendioxide_tropospheric_column": (
            dims, values[None], told | {"long_name": "Tropospheric vertical column of NO2"}),
        "qa_value": (dims, quality[None].astype(np.uint8),
                     {"_FillValue": np.uint8(255), "scale_factor": np.float32(0.01),
                      "add_offset": np.float32(0), "units": "1",
                      "long_name": "data quality value"}),
        "averaging_kernel": (
            (*dims, "layer"), np.stack([values[None] + k for k in range(3)], axis=-1), told),
    }  # fmt: skip
    support = {"cloud_fraction": (dims, values[None] / 400, told | {"units": "1"})}
    times = {
        "time_coverage_start": "2019-07-04T10:31:40Z", "time_coverage_end": "2019-07-04T11:30:00Z",
        "orbit": np.int32(8923), "platform": "S5P", "sensor": "TROPOMI",
    }  # fmt: skip
    groups = {"PRODUCT": product, "PRODUCT/SUPPORT_DATA/DETAILED_RESULTS": support}
    return write(path, groups, times if attributes is None else attributes)


def plain(path: Path, longitudes: Floats, latitudes: Floats, **more: Any) -> Path:
    """A CF file whose variable names its two-dimensional coordinates."""
    dims = ("y", "x")
    variables = {
        "lat": (dims, latitudes, {"units": "degrees_north"}),
        "lon": (dims, longitudes, {"units": "degrees_east"}),
        "f": (dims, field(longitudes, latitudes).astype(np.float32),
              {"units": "K", "coordinates": "lat lon", "_FillValue": np.float32(-1)}),
    }  # fmt: skip
    attributes = {"time_coverage_start": "2020-05-01T10:00:00Z"}
    return write(path, {"": variables | more}, attributes)


S3_OLCI = (
    "S3A_OL_2_LFR____20230601T100512_20230601T100812_20230602T1_0179_099_293_2160_PS1_O_NT_002"
)
S3_SLSTR = (
    "S3B_SL_2_LST____20230601T100512_20230601T100812_20230602T1_0179_080_122_0720_PS2_O_NT_004"
)
_MANIFEST = """<?xml version="1.0" encoding="UTF-8"?>
<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1" xmlns:sentinel-safe="urn:safe"
  xmlns:sentinel3="urn:s3"><metadataSection>
  <sentinel-safe:acquisitionPeriod>
    <sentinel-safe:startTime>2023-06-01T10:05:12.345678Z</sentinel-safe:startTime>
    <sentinel-safe:stopTime>2023-06-01T10:08:12.345678Z</sentinel-safe:stopTime>
  </sentinel-safe:acquisitionPeriod>
  <sentinel-safe:platform><sentinel-safe:familyName>Sentinel-3</sentinel-safe:familyName>
    <sentinel-safe:number>A</sentinel-safe:number><sentinel-safe:instrument>
    <sentinel-safe:familyName abbreviation="OLCI">Ocean Land Colour</sentinel-safe:familyName>
    </sentinel-safe:instrument></sentinel-safe:platform>
  <sentinel-safe:orbitReference>
    <sentinel-safe:orbitNumber type="start" groundTrackDirection="descending">37991
    </sentinel-safe:orbitNumber>
    <sentinel-safe:relativeOrbitNumber type="start">293</sentinel-safe:relativeOrbitNumber>
  </sentinel-safe:orbitReference>
  <sentinel3:productType>OL_2_LFR___</sentinel3:productType>
  <sentinel3:bandDescriptions><sentinel3:band name="Oa08">
    <sentinel3:centralWavelength>665.0</sentinel3:centralWavelength></sentinel3:band>
  </sentinel3:bandDescriptions></metadataSection></xfdu:XFDU>
"""
_IMAGE = ("rows", "columns")


def _degrees(values: Floats) -> Any:
    return np.rint(values * 1e6).astype(np.int32)


def _places(
    dims: tuple[str, str], longitudes: Floats, latitudes: Floats, end: str = ""
) -> dict[str, Any]:
    """Positions as millionths of degrees, as Sentinel-3 has them."""
    told = {"scale_factor": 1e-6, "_FillValue": np.int32(-(2**31))}
    return {
        f"latitude{end}": (dims, _degrees(latitudes), {"standard_name": "latitude"} | told),
        f"longitude{end}": (dims, _degrees(longitudes), {"standard_name": "longitude"} | told),
    }


def olci(folder: Path, longitudes: Floats, latitudes: Floats, every: int = 16) -> Path:
    """A product like OLCI's land product at full resolution, with tie points of `every` column."""
    product = folder / f"{S3_OLCI}.SEN3"
    values = field(longitudes, latitudes)
    scaled = np.rint(values * 100).astype(np.uint16)
    told = {
        "_FillValue": np.uint16(65535),
        "scale_factor": np.float32(0.01),
        "add_offset": np.float32(0),
        "long_name": "OLCI terrestrial chlorophyll index",
    }
    flags = {"flag_masks": np.array([1, 2], np.uint32), "flag_meanings": "LAND WATER",
             "long_name": "Land quality and science flags"}  # fmt: skip
    write(product / "otci.nc", {"": {"OTCI": (_IMAGE, scaled, told)}})
    write(product / "rc_gifapar.nc", {"": {"RC681": (_IMAGE, values.astype(np.float32), {}),
                                           "Oa08_rc": (_IMAGE, scaled, told)}})  # fmt: skip
    write(product / "lqsf.nc", {"": {"LQSF": (_IMAGE, scaled.astype(np.uint32) % 4, flags)}})
    geo = _places(_IMAGE, longitudes, latitudes)
    geo["altitude"] = (_IMAGE, scaled.astype(np.int16), {})
    write(product / "geo_coordinates.nc", {"": geo})
    cols = np.arange(0, latitudes.shape[1], every)
    ties = _places(("tie_rows", "tie_columns"), longitudes[:, cols], latitudes[:, cols])
    factors = {"ac_subsampling_factor": np.int16(every), "al_subsampling_factor": np.int16(1)}
    write(product / "tie_geo_coordinates.nc", {"": ties}, factors)
    write(product / "time_coordinates.nc",
          {"": {"time_stamp": (("rows",), np.arange(len(latitudes)), {})}})  # fmt: skip
    (product / "xfdumanifest.xml").write_text(_MANIFEST)
    return product


def slstr(folder: Path, longitudes: Floats, latitudes: Floats, every: int = 16) -> Path:
    """A product like SLSTR's land surface temperature.

    The track is in the fifth tie column, and tie points begin two rows before the image.
    """
    product = folder / f"{S3_SLSTR}.SEN3"
    cols = np.arange(3, latitudes.shape[1], every)
    ties = _places(("rows", "columns"), longitudes[:, cols], latitudes[:, cols], "_tx")
    longitudes, latitudes = longitudes[2:], latitudes[2:]
    values = np.rint((field(longitudes, latitudes) - 200) * 200).astype(np.int16)
    told = {"_FillValue": np.int16(-32768), "scale_factor": 0.005, "add_offset": 200.0,
            "units": "K", "standard_name": "surface_temperature"}  # fmt: skip
    image = {"start_offset": np.int16(42), "track_offset": np.int16(4 * every + 3),
             "resolution": "[ 1000 1000 ]"}  # fmt: skip
    orphan = (("rows", "orphan_pixels"), values[:, :5], told)
    write(product / "LST_in.nc", {"": {"LST": (_IMAGE, values, told), "LST_orphan": orphan}}, image)
    write(product / "flags_in.nc", {"": {"cloud_in": (
        _IMAGE, (values % 7).astype(np.uint16), {"flag_masks": np.array([1, 2], np.uint16)})}},
        image)  # fmt: skip
    geo = _places(_IMAGE, longitudes, latitudes, "_in")
    geo["latitude_orphan_in"] = (("rows", "orphan_pixels"), _degrees(latitudes[:, :5]),
                                 {"units": "degrees_north"})  # fmt: skip
    write(product / "geodetic_in.nc", {"": geo}, image)
    told_ties = {"start_offset": np.int16(40), "track_offset": np.int16(4),
                 "resolution": f"[ {every * 1000} 1000 ]"}  # fmt: skip
    write(product / "geodetic_tx.nc", {"": ties}, told_ties)
    (product / "xfdumanifest.xml").write_text(_MANIFEST)
    return product
