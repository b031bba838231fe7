"""Missions: which bands a satellite has, and how a name tells of one.

A file that states no common names or wavelengths gets those of its mission, where its name says
which that is (`S2A_...`, `..._MSIL2A_...`, `LC08_...`) and its bands are named as that mission
names them. Scale, offset and no-data depend on the processing, so they are never taken from a name.

Source: Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD (Copernicus); Landsat 8 Data
Users Handbook, LSDS-1574, and Landsat 7 Data Users Handbook, LSDS-1927 (USGS).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog.stac import extensions

if TYPE_CHECKING:
    from collections.abc import Mapping

SENTINEL2: Final[Mapping[str, tuple[str, float]]] = {
    "B01": ("coastal", 0.443), "B02": ("blue", 0.490), "B03": ("green", 0.560),
    "B04": ("red", 0.665), "B05": ("rededge071", 0.704), "B06": ("rededge075", 0.740),
    "B07": ("rededge078", 0.783), "B08": ("nir", 0.842), "B8A": ("nir08", 0.865),
    "B09": ("nir09", 0.945), "B10": ("cirrus", 1.3735), "B11": ("swir16", 1.610),
    "B12": ("swir22", 2.190),
}  # fmt: skip
"""Common name of STAC and centre wavelength, micrometres."""
OLI: Final[Mapping[str, tuple[str, float]]] = {
    "B01": ("coastal", 0.443), "B02": ("blue", 0.482), "B03": ("green", 0.561),
    "B04": ("red", 0.655), "B05": ("nir08", 0.865), "B06": ("swir16", 1.609),
    "B07": ("swir22", 2.201), "B08": ("pan", 0.590), "B09": ("cirrus", 1.373),
    "B10": ("lwir11", 10.895), "B11": ("lwir12", 12.005),
}  # fmt: skip
"""Of Landsat 8 and 9, with TIRS."""
TM: Final[Mapping[str, tuple[str, float]]] = {
    "B01": ("blue", 0.485), "B02": ("green", 0.560), "B03": ("red", 0.660),
    "B04": ("nir08", 0.835), "B05": ("swir16", 1.650), "B06": ("lwir", 11.45),
    "B07": ("swir22", 2.220), "B08": ("pan", 0.710),
}  # fmt: skip
"""Of Landsat 4, 5 and 7."""
MSS: Final[Mapping[str, tuple[str, float]]] = {
    "B04": ("green", 0.55), "B05": ("red", 0.65), "B06": ("nir08", 0.75), "B07": ("nir09", 0.95),
}  # fmt: skip
"""Of Landsat 1, 2 and 3."""
_SENSORS: Final[Mapping[str, tuple[Mapping[str, tuple[str, float]], tuple[str, ...]]]] = {
    "4": (TM, ("tm",)), "5": (TM, ("tm",)), "7": (TM, ("etm",)),
    "8": (OLI, ("oli", "tirs")), "9": (OLI, ("oli", "tirs")),
}  # fmt: skip
_SENTINEL2: Final = re.compile(r"S2(?P<unit>[A-D])?|SENTINEL-?2-?(?P<named>[A-D])?|MSIL[12][AC]")
_LANDSAT: Final = re.compile(
    r"L(?:[COTE]0?(?P<unit>[45789])|(?P<short>[789]))|LANDSAT-?(?P<named>[45789])"
)
_BAND: Final = re.compile(r"(?:SR[_-]|ST[_-])?B0?(?P<number>1?\d|8A)(?:_VCID_[12])?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mission:
    """A satellite, or several of one kind, and what it sees."""

    constellation: str
    """As STAC writes it."""
    instruments: tuple[str, ...]
    """As STAC writes them."""
    bands: Mapping[str, tuple[str, float]]
    """Common name and centre wavelength, micrometres, by name (`B04`)."""
    platform: str = ""
    """As STAC writes it; empty if it is not known which of several it was."""

    def band(self, name: str) -> tuple[str, float] | None:
        """Return common name and wavelength of a band, however its number is written."""
        match = _BAND.fullmatch(name)
        return self.bands.get(f"B{match['number'].upper():0>2}") if match else None

    @property
    def properties(self) -> dict[str, Any]:
        """What it says of an item."""
        told = {"constellation": self.constellation, "instruments": list(self.instruments)}
        return told | ({"platform": self.platform} if self.platform else {})


_MSI: Final = Mission("sentinel-2", ("msi",), SENTINEL2)


def mission_in(name: str) -> Mission | None:
    """Return the mission that the name of a file tells of; None if it names none, or several."""
    found: dict[str, Mission] = {}
    tokens = re.findall(r"(?:SENTINEL|LANDSAT)-\d-?[A-D]?(?![A-Z\d])|[A-Z0-9]+", name.upper())
    for token in tokens:
        match = _SENTINEL2.fullmatch(token)
        if match is not None:
            unit = (match["unit"] or match["named"] or "").lower()
            platform = f"sentinel-2{unit}" if unit else ""
            before = found.get("sentinel-2", _MSI)
            found["sentinel-2"] = replace(_MSI, platform=platform) if platform else before
        match = _LANDSAT.fullmatch(token)
        if match is not None:
            unit = match["unit"] or match["short"] or match["named"]
            bands, instruments = _SENSORS[unit]
            platform = f"landsat-{unit}"
            found[platform] = Mission("landsat", instruments, bands, platform)
    return next(iter(found.values())) if len(found) == 1 else None


def with_mission(item: dict[str, Any], name: str) -> dict[str, Any]:
    """Add to an item what the mission says of it and its bands, where its file says nothing.

    Args:
        item: STAC item; its assets' bands are completed.
        name: of the file that it was made of.
    """
    mission = mission_in(name)
    if mission is None:
        return item
    properties = mission.properties | item["properties"]
    assets = {key: _described(asset, mission) for key, asset in item["assets"].items()}
    made = item | {"properties": properties, "assets": assets}
    others = [url for url in item["stac_extensions"] if url not in extensions(made)]
    return made | {"stac_extensions": [*extensions(made), *others]}


def _described(asset: dict[str, Any], mission: Mission) -> dict[str, Any]:
    bands = []
    for band in asset.get("bands", ()):
        common, wavelength = mission.band(band.get("name", "")) or ("", None)
        told = {"eo:common_name": common, "eo:center_wavelength": wavelength} if common else {}
        bands.append(band | {key: value for key, value in told.items() if key not in band})
    return asset | {"bands": bands} if bands else asset
