"""What an image file states that is not about where its pixels are: tags, units, colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rasterio.enums import ColorInterp

from terrazzo.storage.handles import gdal_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

_WAVELENGTHS: Final = (
    "CENTRAL_WAVELENGTH_UM",
    "CENTER_WAVELENGTH",
    "CENTRE_WAVELENGTH",
    "CENTRAL_WAVELENGTH",
    "WAVELENGTH",
)
_UNITS: Final = ("WAVELENGTH_UNITS", "WAVELENGTH_UNIT", "CENTER_WAVELENGTH_UNIT")
_PER_MICROMETRE: Final = {"nm": 1000.0, "nan": 1000.0, "um": 1.0, "µm": 1.0, "mic": 1.0}
_SHORTEST_UM, _LONGEST_UM = 0.1, 100.0
"""What optical and thermal sensors see; a larger number without a unit is of nanometres."""
_OPAQUE: Final = 255
_PICTURE: Final = {ColorInterp.red: "red", ColorInterp.green: "green", ColorInterp.blue: "blue"}


@dataclass(frozen=True, slots=True)
class BandFacts:
    """What a file states of a band besides its numbers."""

    unit: str = ""
    """Unit of the physical values; empty if none is stated."""
    wavelength_um: float | None = None
    """Centre wavelength, micrometres."""
    colour: str = ""
    """`red`, `green` or `blue` where the file is a picture and this its part."""


@dataclass(frozen=True, slots=True)
class PixelClass:
    """A number that stands for a class."""

    value: int
    """The number."""
    name: str = ""
    """Its name; empty if none is stated."""
    colour: str = ""
    """`RRGGBB`; empty if none is stated."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file states that is not about its pixels."""

    tags: Mapping[str, str]
    """Its own metadata and that of GDAL's domain `IMAGERY`."""
    is_cog: bool
    """Whether it is laid out, and says so, as a cloud-optimised GeoTIFF."""
    bands: tuple[BandFacts, ...] = ()
    """One per band."""
    classes: tuple[PixelClass, ...] = ()
    """The classes of its first band, if it has a table of colours."""


def facts_of(dataset: Any, *, units: bool = True) -> FileFacts:
    """Return what an open dataset states that is not about its pixels.

    Args:
        dataset: of rasterio.
        units: whether bands may have units, which GDAL looks for in the CRS, too: that takes
            longer than all else.
    """
    with gdal_environment():
        tags = dict(dataset.tags(ns="IMAGERY")) | dict(dataset.tags())
        is_cog = dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
        kinds = dataset.colorinterp
        is_picture = all(kinds.count(colour) == 1 for colour in _PICTURE)
        bands = tuple(
            BandFacts(
                (unit or "").strip(),
                wavelength_of(_band_tags(dataset, number)),
                _PICTURE.get(kinds[number - 1], "") if is_picture else "",
            )
            for number, unit in enumerate(dataset.units if units else [""] * dataset.count, 1)
        )
        colours: Mapping[int, tuple[int, ...]] = {}
        if kinds and kinds[0] is ColorInterp.palette:
            colours = dataset.colormap(1)
    return FileFacts(tags, is_cog, bands, classes_of(colours))


def _band_tags(dataset: Any, number: int) -> dict[str, str]:
    return dict(dataset.tags(number)) | dict(dataset.tags(number, ns="IMAGERY"))


def wavelength_of(tags: Mapping[str, str]) -> float | None:
    """Return the centre wavelength that a band's tags state, micrometres; None if there is none.

    A number without a unit is of micrometres where a sensor could see that, else of nanometres.
    """
    by_name = {key.upper(): text.strip() for key, text in tags.items()}
    name = next((name for name in _WAVELENGTHS if by_name.get(name)), None)
    if name is None:
        return None
    number, _, unit = by_name[name].partition(" ")
    try:
        found = float(number)
    except ValueError:
        return None
    unit = unit or next((by_name[key] for key in _UNITS if by_name.get(key)), "")
    unit = "um" if name.endswith("_UM") else unit
    per = next((n for short, n in _PER_MICROMETRE.items() if unit.lower().startswith(short)), None)
    if per is None:
        per = 1.0 if found <= _LONGEST_UM else 1000.0
    found /= per
    sound = math.isfinite(found) and _SHORTEST_UM <= found <= _LONGEST_UM
    return round(found, 6) if sound else None


def classes_of(
    colours: Mapping[int, tuple[int, ...]], names: tuple[str, ...] = ()
) -> tuple[PixelClass, ...]:
    """Return the classes that a table of colours and a list of names state.

    A table always has a colour for every number: one that many numbers share, and those that are
    not opaque, are no classes, unless they have a name.

    Args:
        colours: (red, green, blue, alpha) by number.
        names: of the numbers 0, 1, ...; empty ones are none.
    """
    shared: dict[tuple[int, ...], int] = {}
    for colour in colours.values():
        shared[colour] = shared.get(colour, 0) + 1
    filler = {colour for colour, count in shared.items() if count > 1 and not any(colour[:3])}
    found = []
    for value in sorted({*colours, *range(len(names))}):
        name = names[value].strip() if value < len(names) else ""
        entry = colours.get(value, ())
        seen = bool(entry) and entry not in filler and entry[3] == _OPAQUE
        if name or seen:
            text = "{:02X}{:02X}{:02X}".format(*entry[:3]) if entry else ""
            found.append(PixelClass(value, name, text))
    return tuple(found)
