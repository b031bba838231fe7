"""Sentinel-2 L1C and L2A products (SAFE): one item per granule, a band per spectral band.

Every band is taken at its finest resolution. Reflectance is pixel / quantification value + offset;
the offset came with processing baseline 04.00 and is -1000 / 10000 there. Source: Sentinel-2
Products Specification Document, S2-PDGS-TAS-DI-PSD, issue 14.9 and later (Copernicus).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog import BandInfo
from terrazzo.drivers.ingestion.items import Period
from terrazzo.drivers.ingestion.missions import SENTINEL2
from terrazzo.drivers.ingestion.names import safe_name
from terrazzo.drivers.ingestion.product_files import (
    folders_above,
    number_of,
    read_xml,
    text_of,
    time_of,
    xml_names,
)
from terrazzo.drivers.ingestion.raster import RasterFile, image_of
from terrazzo.errors import SourceUnreadable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from terrazzo.drivers.ingestion.items import FoundFile, Given

_MARKER: Final = re.compile(
    r"MTD_MSIL(?:1C|2A)\.xml|S2[A-Z]_(?:OPER|USER)_MTD_SAFL(?:1C|2A).*\.xml"
)
_CODE: Final = re.compile(r"_T?(\d{2}[C-X][A-Z]{2})(?:_|$)")
_IMAGE: Final = re.compile(r"_(?P<band>B(?:0[1-9]|1[0-2]|8A)|SCL|AOT|WVP)(?:_(?P<metres>\d+)m)?$")
_ORDER: Final = (
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12",
)  # fmt: skip
"""Bands by the number that the metadata give them."""
_METRES: Final = {"B02": 10, "B03": 10, "B04": 10, "B08": 10, "B01": 60, "B09": 60, "B10": 60}
_DEPTH: Final = 4
"""Folders between an image and the product's folder: R10m, IMG_DATA, the granule, GRANULE."""


def marker(file: FoundFile) -> Path | None:
    """Return the product's metadata file."""
    for folder in folders_above(file, _DEPTH + 1):
        if folder.name == "GRANULE" or folder.parent.name == "GRANULE":
            continue
        found = next(filter(_MARKER.fullmatch, xml_names(folder)), "")
        if found:
            return folder / found
    return None


def read(marker: Path, files: Sequence[FoundFile], given: Given) -> list[RasterFile]:
    """Return the images of all granules of a product, described.

    Raises:
        SourceUnreadable: a file is damaged or missing.
    """
    product = _Product.of(read_xml(marker, marker.parent.name), marker.parent.name)
    granules: dict[Path, list[FoundFile]] = {}
    for file in files:
        granules.setdefault(_granule(file.path), []).append(file)
    found: list[RasterFile] = []
    for folder, images in sorted(granules.items()):
        tile = _Tile.of(folder, product)
        name = product.name if len(granules) == 1 else f"{product.name}_{tile.code}"
        for band, file in sorted(_finest(images).items()):
            image = image_of(file, given.options)
            found.append(
                replace(
                    image,
                    bands=(product.band(band, image),),
                    item=safe_name(name),
                    when=Period(tile.when),
                    properties=product.properties | tile.properties,
                )
            )
    if not found:
        raise SourceUnreadable(product.name, "GRANULE", "it holds no image of a band")
    return found


def _granule(path: Path) -> Path:
    """Return the folder of an image's granule, or of the image where there is none."""
    for folder in path.parents:
        if folder.parent.name == "GRANULE":
            return folder
    return path.parent


def _finest(images: Sequence[FoundFile]) -> dict[str, FoundFile]:
    """Return one image per band: the one of the smallest pixels."""
    chosen: dict[str, tuple[int, FoundFile]] = {}
    for file in images:
        match = _IMAGE.search(file.path.stem)
        if match is None:
            continue  # a picture in true colour, or a mask of quality
        metres = int(match["metres"] or 0)
        before = chosen.get(match["band"])
        if before is None or metres < before[0]:
            chosen[match["band"]] = (metres, file)
    return {band: file for band, (_, file) in chosen.items()}


@dataclass(frozen=True, slots=True)
class _Product:
    """What the metadata of a product say."""

    name: str
    quantification: float
    offsets: Mapping[str, float]
    layers: Mapping[str, float]
    nodata: float
    wavelengths: Mapping[str, float]
    properties: dict[str, Any]

    @classmethod
    def of(cls, root: Element, folder: str) -> _Product:
        """Read them.

        Raises:
            SourceUnreadable: there is no quantification value.
        """
        told = next(root.iter("Product_Info"), root)
        uri = text_of(told, "PRODUCT_URI") or folder
        image = next(root.iter("Product_Image_Characteristics"), root)
        divisor = number_of(image, ".//BOA_QUANTIFICATION_VALUE") or number_of(
            image, ".//QUANTIFICATION_VALUE"
        )
        if not divisor:
            raise SourceUnreadable(folder, "metadata", "its metadata state no QUANTIFICATION_VALUE")
        layers = {
            band: number_of(image, f".//{band}_QUANTIFICATION_VALUE") or 1.0
            for band in ("AOT", "WVP")
        }
        special = {
            text_of(one, "SPECIAL_VALUE_TEXT"): number_of(one, "SPECIAL_VALUE_INDEX")
            for one in image.iter("Special_Values")
        }
        return cls(
            uri.removesuffix(".SAFE"),
            divisor,
            _by_band(image, ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET"), "band_id"),
            layers,
            special.get("NODATA") or 0.0,
            _wavelengths(image),
            _properties(root, told),
        )

    def band(self, name: str, image: RasterFile) -> BandInfo:
        """Describe a band."""
        plain = image.bands[0]
        common, wavelength = SENTINEL2.get(name, ("", None))
        if name in SENTINEL2:
            scale = 1 / self.quantification
            offset = self.offsets.get(name, 0.0) / self.quantification
        else:
            scale, offset = 1 / self.layers.get(name, 1.0), 0.0
        return BandInfo(
            name=name,
            dtype=plain.dtype,
            nodata=self.nodata,
            scale=scale,
            offset=offset,
            common_name=common,
            wavelength_um=self.wavelengths.get(name, wavelength),
            gsd_m=plain.gsd_m or _METRES.get(name, 20),
            description=_DESCRIPTIONS.get(name, ""),
        )


_DESCRIPTIONS: Final = {
    "SCL": "Scene classification",
    "AOT": "Aerosol optical thickness",
    "WVP": "Water vapour, cm",
}


def _by_band(image: Element, names: tuple[str, ...], attribute: str) -> dict[str, float]:
    """Return numbers that the metadata give by the number of a band."""
    found: dict[str, float] = {}
    for name in names:
        for one in image.iter(name):
            number = one.get(attribute, "")
            if number.isdecimal() and int(number) < len(_ORDER) and one.text:
                found[_ORDER[int(number)]] = float(one.text)
    return found


def _wavelengths(image: Element) -> dict[str, float]:
    """Return the centre wavelengths, micrometres."""
    found = {}
    for one in image.iter("Spectral_Information"):
        number, centre = one.get("bandId", ""), number_of(one, "Wavelength/CENTRAL")
        if number.isdecimal() and int(number) < len(_ORDER) and centre:
            found[_ORDER[int(number)]] = round(centre / 1000, 5)
    return found


def _properties(root: Element, told: Element) -> dict[str, Any]:
    satellite = text_of(told, ".//SPACECRAFT_NAME").lower()
    cloud = number_of(root, ".//Cloud_Coverage_Assessment")
    orbit = number_of(told, ".//SENSING_ORBIT_NUMBER")
    level = text_of(told, "PROCESSING_LEVEL")
    found: dict[str, Any] = {
        "platform": satellite,
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": 10,
        "eo:cloud_cover": cloud,
        "processing:level": {"Level-1C": "L1C", "Level-2A": "L2A"}.get(level, level),
        "processing:version": text_of(told, "PROCESSING_BASELINE"),
        "sat:relative_orbit": None if orbit is None else int(orbit),
        "sat:orbit_state": text_of(told, ".//SENSING_ORBIT_DIRECTION").lower(),
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


@dataclass(frozen=True, slots=True)
class _Tile:
    """What the metadata of a granule say."""

    code: str
    when: datetime
    properties: dict[str, Any]

    @classmethod
    def of(cls, folder: Path, product: _Product) -> _Tile:
        """Read them.

        Raises:
            SourceUnreadable: they are missing, or have no time.
        """
        files = [path for path in sorted(folder.glob("*.xml")) if "MTD" in path.name]
        if not files:
            reason = "the metadata of its granule (MTD_TL.xml) are missing. Get the product again"
            raise SourceUnreadable(product.name, folder.name, reason)
        root = read_xml(files[0], product.name)
        sensed = time_of(root, ".//SENSING_TIME")
        if sensed is None:
            raise SourceUnreadable(product.name, files[0].name, "it states no SENSING_TIME")
        match = _CODE.search(f"{text_of(root, './/TILE_ID')}_{folder.name}")
        code = match[1] if match else ""
        zenith = number_of(root, ".//Mean_Sun_Angle/ZENITH_ANGLE")
        azimuth = number_of(root, ".//Mean_Sun_Angle/AZIMUTH_ANGLE")
        found: dict[str, Any] = {}
        if code:
            found["grid:code"] = f"MGRS-{code}"
        if zenith is not None and azimuth is not None:
            found |= {"view:sun_elevation": round(90 - zenith, 6), "view:sun_azimuth": azimuth}
        return cls(code or folder.name, sensed, found)
