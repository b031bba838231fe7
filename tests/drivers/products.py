"""Small products as agencies lay them out, for tests; the pixels are made up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.transform import Affine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

S2_METRES = {
    "B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20, "B08": 10,
    "B8A": 20, "B09": 60, "B11": 20, "B12": 20, "SCL": 20, "AOT": 10, "WVP": 10,
}  # fmt: skip
S2_NAME = "S2A_MSIL2A_20230607T103631_N0509_R008_T32TMT_20230607T165959"
L1C_NAME = "S2B_MSIL1C_20180420T102019_N0206_R065_T32TMT_20180420T122045"
LANDSAT = "LC09_L2SP_195027_20230607_20230609_02_T1"


def image(path: Path, pixels: NDArray[Any], metres: float, crs: int = 32632) -> Path:
    """Write an image whose corner is at 400000, 5300000; the driver is that of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    jp2 = path.suffix == ".jp2"
    options: dict[str, Any] = {"QUALITY": "100", "REVERSIBLE": "YES"} if jp2 else {}
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG" if jp2 else "GTiff", dtype=pixels.dtype, count=1,
        height=pixels.shape[0], width=pixels.shape[1], crs=f"EPSG:{crs}",
        transform=Affine(metres, 0, 400_000, 0, -metres, 5_300_000), **options,
    ) as file:  # fmt: skip
        file.write(pixels, 1)
    return path


def pixels_of(band: str, metres: int, edge_m: int = 3840) -> NDArray[np.uint16]:
    """Return numbers that tell the band and the resolution."""
    count = edge_m // metres
    base = 1000 + 10 * sorted(S2_METRES).index(band) + metres
    return (base + np.add.outer(np.arange(count), np.arange(count))).astype(np.uint16)


def sentinel2_l2a(folder: Path) -> Path:
    """Make an L2A product of baseline 05.09 with all bands at all their resolutions."""
    root = folder / f"{S2_NAME}.SAFE"
    granule = root / "GRANULE" / "L2A_T32TMT_A041562_20230607T103630"
    for band, finest in S2_METRES.items():
        for metres in (10, 20, 60):
            if metres >= finest and not (band == "SCL" and metres == 10):
                image(
                    granule / "IMG_DATA" / f"R{metres}m"
                    / f"T32TMT_20230607T103631_{band}_{metres}m.jp2",
                    pixels_of(band, metres), metres,
                )  # fmt: skip
    image(
        granule / "IMG_DATA" / "R10m" / "T32TMT_20230607T103631_TCI_10m.jp2",
        np.ones((384, 384), np.uint8), 10,
    )  # fmt: skip
    offsets = "".join(f'<BOA_ADD_OFFSET band_id="{n}">-1000</BOA_ADD_OFFSET>' for n in range(13))
    (root / "MTD_MSIL2A.xml").write_text(
        f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
<n1:General_Info><Product_Info><PRODUCT_START_TIME>2023-06-07T10:36:31.024Z</PRODUCT_START_TIME>
<PRODUCT_URI>{S2_NAME}.SAFE</PRODUCT_URI><PROCESSING_LEVEL>Level-2A</PROCESSING_LEVEL>
<PROCESSING_BASELINE>05.09</PROCESSING_BASELINE><Datatake datatakeIdentifier="GS2A">
<SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME><SENSING_ORBIT_NUMBER>8</SENSING_ORBIT_NUMBER>
<SENSING_ORBIT_DIRECTION>DESCENDING</SENSING_ORBIT_DIRECTION></Datatake></Product_Info>
<Product_Image_Characteristics><Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
<SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values><QUANTIFICATION_VALUES_LIST>
<BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
<AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>
<WVP_QUANTIFICATION_VALUE unit="cm">1000.0</WVP_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>
<BOA_ADD_OFFSET_VALUES_LIST>{offsets}</BOA_ADD_OFFSET_VALUES_LIST><Spectral_Information_List>
<Spectral_Information bandId="3" physicalBand="B4"><Wavelength><CENTRAL unit="nm">664.6</CENTRAL>
</Wavelength></Spectral_Information></Spectral_Information_List></Product_Image_Characteristics>
</n1:General_Info><n1:Quality_Indicators_Info>
<Cloud_Coverage_Assessment>12.5</Cloud_Coverage_Assessment></n1:Quality_Indicators_Info>
</n1:Level-2A_User_Product>"""
    )
    _tile(granule, "S2A_OPER_MSI_L2A_TL_2APS_20230607T165959_A041562_T32TMT_N05.09")
    return root


def sentinel2_l1c(folder: Path) -> Path:
    """Make an L1C product of before offsets came."""
    root = folder / f"{L1C_NAME}.SAFE"
    granule = root / "GRANULE" / "L1C_T32TMT_A005855_20180420T102419"
    for band in ("B02", "B10"):
        image(
            granule / "IMG_DATA" / f"T32TMT_20180420T102019_{band}.jp2",
            np.full((64, 64), 5000, np.uint16), 10 if band == "B02" else 60,
        )  # fmt: skip
    (root / "MTD_MSIL1C.xml").write_text(
        f"""<?xml version="1.0"?><n1:Level-1C_User_Product xmlns:n1="x"><n1:General_Info>
<Product_Info><PRODUCT_URI>{L1C_NAME}.SAFE</PRODUCT_URI>
<PROCESSING_LEVEL>Level-1C</PROCESSING_LEVEL><PROCESSING_BASELINE>02.06</PROCESSING_BASELINE>
<Datatake><SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME></Datatake></Product_Info>
<Product_Image_Characteristics><QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>
</Product_Image_Characteristics></n1:General_Info></n1:Level-1C_User_Product>"""
    )
    _tile(granule, "S2B_OPER_MSI_L1C_TL_EPAE_20180420T122045_A005855_T32TMT_N02.06")
    return root


def _tile(granule: Path, tile: str) -> None:
    (granule / "MTD_TL.xml").write_text(
        f"""<?xml version="1.0"?><n1:Tile_ID xmlns:n1="x"><n1:General_Info><TILE_ID>{tile}</TILE_ID>
<SENSING_TIME metadataLevel="Standard">2023-06-07T10:40:12.345678Z</SENSING_TIME></n1:General_Info>
<n1:Geometric_Info><Tile_Angles><Mean_Sun_Angle><ZENITH_ANGLE unit="deg">27.5</ZENITH_ANGLE>
<AZIMUTH_ANGLE unit="deg">151.25</AZIMUTH_ANGLE></Mean_Sun_Angle></Tile_Angles></n1:Geometric_Info>
</n1:Tile_ID>"""
    )


MTL: Mapping[str, Mapping[str, str]] = {
    "PRODUCT_CONTENTS": {
        "LANDSAT_PRODUCT_ID": LANDSAT,
        "PROCESSING_LEVEL": "L2SP",
        "COLLECTION_NUMBER": "02",
        "COLLECTION_CATEGORY": "T1",
    },
    "IMAGE_ATTRIBUTES": {
        "SPACECRAFT_ID": "LANDSAT_9",
        "SENSOR_ID": "OLI_TIRS",
        "WRS_PATH": "195",
        "WRS_ROW": "27",
        "DATE_ACQUIRED": "2023-06-07",
        "SCENE_CENTER_TIME": "10:09:37.1234567Z",
        "CLOUD_COVER": "3.21",
        "SUN_AZIMUTH": "-142.5",
        "SUN_ELEVATION": "30.0",
    },
    "LEVEL2_PROCESSING_RECORD": {"PROCESSING_LEVEL": "L2SP"},
    "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": {
        "REFLECTANCE_MULT_BAND_4": "2.75e-05",
        "REFLECTANCE_ADD_BAND_4": "-0.2",
    },
    "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS": {
        "TEMPERATURE_MULT_BAND_ST_B10": "0.00341802",
        "TEMPERATURE_ADD_BAND_ST_B10": "149.0",
    },
    "LEVEL1_PROCESSING_RECORD": {"PROCESSING_LEVEL": "L1TP"},
    "LEVEL1_RADIOMETRIC_RESCALING": {
        "RADIANCE_MULT_BAND_4": "9.0E-03",
        "RADIANCE_ADD_BAND_4": "-45.0",
        "REFLECTANCE_MULT_BAND_4": "2.0000E-05",
        "REFLECTANCE_ADD_BAND_4": "-0.100000",
        "RADIANCE_MULT_BAND_10": "3.8000E-04",
        "RADIANCE_ADD_BAND_10": "0.10000",
    },
}


def landsat(folder: Path, form: str, bands: tuple[str, ...], scene: str = LANDSAT) -> Path:
    """Make a scene with some bands and its metadata as `txt`, `xml` or `json`."""
    root = folder / scene
    for number, band in enumerate(bands):
        image(
            root / f"{scene}_{band}.TIF",
            np.full((128, 128), 10_000 + number, np.uint16), 30,
        )  # fmt: skip
    path = root / f"{scene}_MTL.{form}"
    if form == "json":
        path.write_text(json.dumps({"LANDSAT_METADATA_FILE": MTL}))
    elif form == "xml":
        groups = "".join(
            f"<{group}>" + "".join(f"<{n}>{v}</{n}>" for n, v in told.items()) + f"</{group}>"
            for group, told in MTL.items()
        )
        path.write_text(f"<LANDSAT_METADATA_FILE>{groups}</LANDSAT_METADATA_FILE>")
    else:
        lines = ["GROUP = LANDSAT_METADATA_FILE"]
        for group, told in MTL.items():
            lines.append(f"  GROUP = {group}")
            lines += [f'    {name} = "{value}"' for name, value in told.items()]
            lines.append(f"  END_GROUP = {group}")
        path.write_text("\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", ""]))
    return root
