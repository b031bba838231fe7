"""Landsat Collection 2 products, level 1 and 2: one item per scene, a band per file.

Scale and offset are those of the product's MTL file (text, XML or JSON). Level-2 reflectance and
temperature (kelvin) are pixel * mult + add. Level-1 reflectance at the top of the atmosphere is
(pixel * mult + add) / sin(sun elevation); thermal bands of level 1 are radiance. Source: Landsat
8-9 Collection 2 Level 2 Science Product Guide, LSDS-1619, and Landsat 8 Data Users Handbook,
LSDS-1574 (USGS).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from terrazzo.drivers.ingestion.items import Period
from terrazzo.drivers.ingestion.missions import MSS, OLI, TM
from terrazzo.drivers.ingestion.names import safe_name
from terrazzo.drivers.ingestion.product_files import LARGEST, read_xml
from terrazzo.drivers.ingestion.raster import RasterFile, image_of
from terrazzo.errors import ArgumentInvalid, SourceUnreadable
from terrazzo.geo.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from terrazzo.catalog import BandInfo
    from terrazzo.drivers.ingestion.items import FoundFile, Given

_SCENE: Final = re.compile(
    r"(?P<scene>L[A-Z]\d\d_L[12][A-Z]{2}_\d{6}_\d{8}_\d{8}_\d{2}_(?:T1|T2|RT|A1|A2))_(?P<band>[A-Z0-9_]+)"
)
_TELLS: Final = ("_MTL.json", "_MTL.xml", "_MTL.txt")
_LINE: Final = re.compile(r"\s*(?P<name>\w+)\s*=\s*(?P<value>.*?)\s*$")
_NUMBER: Final = re.compile(r"(?:SR_|ST_)?B(?P<number>\d+)(?P<gain>_VCID_[12])?$")
_FILL_ONE: Final = ("QA_PIXEL", "SR_QA_AEROSOL")
"""Bands of bits in which fill has the value 1."""


def marker(file: FoundFile) -> Path | None:
    """Return the MTL file beside an image."""
    match = _SCENE.match(file.path.stem)
    if match is None:
        return None
    for end in _TELLS:
        path = file.path.with_name(f"{match['scene']}{end}")
        if path.is_file() and path.resolve().is_relative_to(file.root):
            return path
    return None


def read(marker: Path, files: Sequence[FoundFile], given: Given) -> list[RasterFile]:
    """Return the images of a scene, described.

    Raises:
        SourceUnreadable: a file is damaged or missing.
        ArgumentInvalid: the metadata lack the time or the rescaling of a band.
    """
    name = marker.name.rpartition("_MTL")[0]
    scene = _Scene(name, _read_mtl(marker, name))
    found: list[RasterFile] = []
    for file in files:
        match = _SCENE.match(file.path.stem)
        band = match["band"] if match else file.path.stem
        image = image_of(file, given.options)
        found.append(
            replace(
                image,
                bands=(scene.band(band, image),),
                item=safe_name(name),
                when=Period(scene.when),
                properties=scene.properties(),
            )
        )
    return found


def _read_mtl(path: Path, scene: str) -> dict[str, str]:
    """Return the metadata as one table: `GROUP.NAME`, and `NAME` of what speaks of the scene.

    Raises:
        SourceUnreadable: the file is damaged.
    """
    if path.suffix == ".xml":
        return _of_xml(read_xml(path, scene))
    try:
        if path.stat().st_size > LARGEST:
            raise SourceUnreadable(scene, path.name, "it is too large for an MTL file")
        text = path.read_text("utf-8")
        return _of_json(json.loads(text)) if path.suffix == ".json" else _of_text(text)
    except (OSError, ValueError) as problem:
        raise SourceUnreadable(scene, path.name, f"it is no MTL file ({problem})") from None


_OF_THE_SCENE: Final = ("PRODUCT_CONTENTS", "IMAGE_ATTRIBUTES")
"""Groups that speak of the scene itself; others repeat some of it for the level below."""


def _gather(found: dict[str, str], group: str, name: str, value: str) -> None:
    found[f"{group}.{name}"] = value
    if group in _OF_THE_SCENE:
        found[name] = value


def _of_json(document: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for group, told in document["LANDSAT_METADATA_FILE"].items():
        for name, value in told.items():
            _gather(found, group, name, str(value))
    return found


def _of_xml(root: Element) -> dict[str, str]:
    found: dict[str, str] = {}
    for group in root:
        for one in group:
            _gather(found, group.tag, one.tag, (one.text or "").strip())
    return found


def _of_text(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    group = ""
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        name, value = match["name"], match["value"].strip('"')
        if name == "GROUP":
            group = value
        elif name != "END_GROUP":
            _gather(found, group, name, value)
    if not found:
        raise ValueError("it has no lines NAME = VALUE")
    return found


@dataclass(frozen=True, slots=True)
class _Scene:
    """What the metadata of a scene say."""

    name: str
    told: Mapping[str, str]

    def number(self, name: str) -> float | None:
        """Return a number; None where there is none."""
        try:
            return float(self.told[name])
        except (KeyError, ValueError):
            return None

    @property
    def level(self) -> str:
        """Level of processing, for example L2SP."""
        return self.told.get("PROCESSING_LEVEL") or self.name.split("_")[1]

    @property
    def when(self) -> datetime:
        """The instant of the scene's centre.

        Raises:
            ArgumentInvalid: there is none.
        """
        day, time = self.told.get("DATE_ACQUIRED", ""), self.told.get("SCENE_CENTER_TIME", "")
        try:
            return parse_time(f"{day}T{time.rstrip('Z') or '00:00:00'}Z")
        except ArgumentInvalid:
            raise ArgumentInvalid(
                f"{self.name}_MTL states no DATE_ACQUIRED and SCENE_CENTER_TIME."
            ) from None

    @property
    def _bands(self) -> Mapping[str, tuple[str, float]]:
        sensor = self.told.get("SENSOR_ID", "")
        if "OLI" in sensor or "TIRS" in sensor:
            return OLI
        return MSS if "MSS" in sensor else TM

    def band(self, name: str, image: RasterFile) -> BandInfo:
        """Describe a band.

        Raises:
            ArgumentInvalid: it is a measurement and its rescaling is not stated.
        """
        plain = image.bands[0]
        match = _NUMBER.fullmatch(name)
        common, wavelength = "", None
        scale, offset = 1.0, 0.0
        nodata: float | None = 1.0 if name in _FILL_ONE else plain.nodata
        if match is not None:
            common, wavelength = self._bands.get(f"B{match['number']:0>2}", ("", None))
            scale, offset = self._rescaling(name, match)
            nodata = 0.0
        return replace(
            plain, name=name, scale=scale, offset=offset, nodata=nodata, common_name=common,
            wavelength_um=wavelength, description="",
        )  # fmt: skip

    def _rescaling(self, name: str, match: re.Match[str]) -> tuple[float, float]:
        number = f"{match['number']}{match['gain'] or ''}"
        if name.startswith("ST_"):
            return self._pair(
                "TEMPERATURE", f"BAND_{name}", "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS"
            )
        if name.startswith("SR_"):
            group = "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"
            return self._pair("REFLECTANCE", f"BAND_{number}", group)
        group = "LEVEL1_RADIOMETRIC_RESCALING"
        if f"{group}.REFLECTANCE_MULT_BAND_{number}" not in self.told:
            return self._pair("RADIANCE", f"BAND_{number}", group)
        elevation = self.number("SUN_ELEVATION")
        if elevation is None or elevation <= 0:
            raise ArgumentInvalid(
                f"{self.name}_MTL states no SUN_ELEVATION above the horizon, which reflectance at "
                "the top of the atmosphere needs."
            )
        sine = math.sin(math.radians(elevation))
        scale, offset = self._pair("REFLECTANCE", f"BAND_{number}", group)
        return scale / sine, offset / sine

    def _pair(self, kind: str, band: str, group: str) -> tuple[float, float]:
        scale = self.number(f"{group}.{kind}_MULT_{band}")
        offset = self.number(f"{group}.{kind}_ADD_{band}")
        if scale is None or offset is None:
            raise ArgumentInvalid(
                f"{self.name}_MTL states no {kind}_MULT_{band} and {kind}_ADD_{band}. Get the "
                "product again, or ingest the files without their MTL file."
            )
        return scale, offset

    def properties(self) -> dict[str, Any]:
        """Return the item's properties."""
        number = self.told.get("SPACECRAFT_ID", "").removeprefix("LANDSAT_")
        cloud = self.number("CLOUD_COVER")
        sensors = {"OLI_TIRS": ["oli", "tirs"], "OLI": ["oli"], "TIRS": ["tirs"], "TM": ["tm"],
                   "ETM": ["etm"], "MSS": ["mss"]}  # fmt: skip
        path, row = self.told.get("WRS_PATH", ""), self.told.get("WRS_ROW", "")
        found: dict[str, Any] = {
            "platform": f"landsat-{number}" if number else "",
            "constellation": "landsat",
            "instruments": sensors.get(self.told.get("SENSOR_ID", ""), []),
            "gsd": 30,
            "eo:cloud_cover": cloud if cloud is not None and cloud >= 0 else None,
            "view:sun_azimuth": _turned(self.number("SUN_AZIMUTH")),
            "view:sun_elevation": self.number("SUN_ELEVATION"),
            "processing:level": self.level,
            "landsat:wrs_path": f"{int(path):03d}" if path.isdecimal() else "",
            "landsat:wrs_row": f"{int(row):03d}" if row.isdecimal() else "",
            "landsat:collection_number": self.told.get("COLLECTION_NUMBER", ""),
            "landsat:collection_category": self.told.get("COLLECTION_CATEGORY", ""),
        }
        return {name: value for name, value in found.items() if value not in (None, "", [])}


def _turned(azimuth: float | None) -> float | None:
    """Return an azimuth in 0 to 360, as STAC has it."""
    return None if azimuth is None else azimuth % 360
