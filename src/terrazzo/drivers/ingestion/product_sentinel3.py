"""Sentinel-3 products of OLCI, SLSTR and SYN (SEN3 folders): one item, gridded from the swath.

Each measurement is brought to a grid by the positions of its own pixels, which are in a file of
their own; of SLSTR there is one for each of its grids (`an`, `in`, `io` ...). Where that file is
missing, positions are interpolated between the tie points of the product. Source: Sentinel-3 OLCI
Level-2 Land products, S3IPF.PDS.004.3, and SLSTR products, S3IPF.PDS.005 (EUMETSAT, ESA).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.drivers.ingestion.items import FoundFile, Period
from terrazzo.drivers.ingestion.names import read_name, safe_name, when_of
from terrazzo.drivers.ingestion.product_files import number_of, read_xml, text_of, time_of
from terrazzo.drivers.ingestion.swath import Measured, Part, Swath, draft_of, positions_in
from terrazzo.errors import ArgumentInvalid, SourceUnreadable
from terrazzo.storage.arrays.swath import Place, Size, open_swath
from terrazzo.storage.arrays.swath_ties import TiePositions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from terrazzo.drivers.ingestion.items import Draft, Given
    from terrazzo.storage.arrays.swath import Positions, SwathFile
    from terrazzo.storage.gate import Gate

_MANIFEST: Final = "xfdumanifest.xml"
_GRID: Final = re.compile(r"_(?P<grid>[abcfit][nox])$")
_ASIDE: Final = re.compile(
    r"(?:geo_coordinates|geolocation|geodetic|cartesian|geometry|indices|met|tie|time|viscal"
    r"|instrument_data|removed_pixels)(?:_|$)"
)
"""Files whose variables are not taken unless they are asked for."""
_TIES: Final = ("tie_geo_coordinates", "geodetic_tx")
_NUMBERS: Final = re.compile(r"-?\d+(?:\.\d+)?")
_IMAGE: Final = ("rows", "columns")
"""Names of the dimensions of images."""
_MISSING: Final = (
    "is missing, and there are no tie points (tie_geo_coordinates.nc, geodetic_tx.nc) to find "
    "the pixels by. Get the product again"
)
_NANOMETRES: Final = 100.0
"""Wavelengths from here on are in nanometres, not micrometres."""


def marker(file: FoundFile) -> Path | None:
    """Return the product's manifest."""
    folder = file.path.parent
    return folder / _MANIFEST if folder.suffix.upper() == ".SEN3" else None


def read(marker: Path, files: Sequence[FoundFile], given: Given) -> list[Draft]:
    """Return the item that a product becomes.

    Raises:
        SourceUnreadable: a file is damaged or missing.
        ArgumentInvalid: it has no measurements over a swath.
    """
    folder = marker.parent
    name = folder.name.rpartition(".")[0]
    manifest = read_xml(marker, name)
    root = files[0].root
    every = [
        FoundFile(path, path.name, root)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() == ".nc" and path.resolve().is_relative_to(root)
    ]
    kept = {file.path.absolute() for file in files}
    contents = [_Content.of(file, measured=file.path.absolute() in kept) for file in every]
    parts = _parts(name, contents, _wavelengths(manifest))
    if not parts:
        kind = text_of(manifest, ".//productType") or "unknown"
        raise ArgumentInvalid(
            f"it is a Sentinel-3 product of type {kind!r} without measurements over a swath; those "
            "of OLCI, SLSTR and SYN are read."
        )
    begun = time_of(manifest, ".//acquisitionPeriod/startTime")
    ended = time_of(manifest, ".//acquisitionPeriod/stopTime")
    if given.options.datetime:
        when = Period.of(given.options.datetime)
    elif begun is not None:
        when = Period(begun, ended if ended is not None and ended > begun else None)
    else:
        when = when_of(read_name(folder.name), "", {}, name=name)
    swath = Swath(safe_name(name), name, when, tuple(parts), _properties(manifest))
    return [draft_of(swath, given)]


_Key = tuple[str, Size, Size]
"""Grid of an image, and its dimensions."""


@dataclass(frozen=True, slots=True)
class _Content:
    """What a file of a product holds."""

    found: FoundFile
    grid: str
    """Grid of SLSTR that it is on, for example `in`; empty for other instruments."""
    places: tuple[Place, ...]
    """Where it keeps positions."""
    planes: frozenset[tuple[Size, Size]]
    """Pairs of dimensions that it has variables over."""
    numbers: Mapping[str, tuple[float, ...]]
    """Global attributes of numbers."""
    measured: bool
    """Whether it is to be taken in."""

    @classmethod
    def of(cls, found: FoundFile, *, measured: bool) -> _Content:
        """Look at a file.

        Raises:
            SourceUnreadable: it is damaged.
        """
        match = _GRID.search(found.path.stem)
        with open_swath(found.path, found.gate) as file:
            return cls(
                found,
                match["grid"] if match else "",
                tuple(p for p in file.places() if "orphan" not in p.latitude + p.cols[0]),
                file.planes(),
                _numbers(file),
                measured,
            )

    @property
    def is_ties(self) -> bool:
        """Whether its positions are those of tie points."""
        return self.found.path.stem in _TIES


def _numbers(file: SwathFile) -> dict[str, tuple[float, ...]]:
    """Return global attributes, of which some are written as text: `[ 1000 1000 ]`."""
    found = {}
    for name in ("ac_subsampling_factor", "al_subsampling_factor", "track_offset", "start_offset",
                 "resolution"):  # fmt: skip
        texts = _NUMBERS.findall(str(file.attributes.get(name, "")))
        if texts:
            found[name] = tuple(float(text) for text in texts)
    return found


def _parts(name: str, contents: Sequence[_Content], wavelengths: Mapping[str, float]) -> list[Part]:
    """Bring measurements and positions together.

    Raises:
        SourceUnreadable: there are measurements without positions.
    """
    located = {
        (content.grid, place.rows, place.cols): (content, place)
        for content in contents
        if not content.is_ties
        for place in content.places
    }
    groups: dict[_Key, list[Measured]] = {}
    told: dict[_Key, _Content] = {}
    for content in contents:
        if not content.measured or content.is_ties:
            continue
        aside = _ASIDE.match(content.found.path.stem) is not None
        for rows, cols in sorted(content.planes):
            key = content.grid, rows, cols
            if key not in located and (rows[0], cols[0]) != _IMAGE:
                continue
            with open_swath(content.found.path, content.found.gate) as file:
                bands = file.bands(Place("", "", rows, cols))
            known = {path for place in content.places for path in (place.latitude, place.longitude)}
            for band in (one for one in bands if one.path not in known):
                wave = wavelengths.get(band.name.partition("_")[0])
                one = replace(band, plain=band.plain and not aside)
                groups.setdefault(key, []).append(Measured(content.found, one, band.name, wave))
                told.setdefault(key, content)
    ties = next((content for content in contents if content.is_ties and content.places), None)
    found = []
    for key, measured in groups.items():
        if key in located:
            content, place = located[key]
            opens = partial(positions_in, content.found.path, content.found.gate, place)
        elif not any(one.band.plain for one in measured):
            continue
        elif ties is None:
            lost = _file_of_positions(key[0])
            raise SourceUnreadable(name, lost, f"{lost} {_MISSING}")
        else:
            content, at = ties, _tie_at(name, ties, told[key])
            shape = key[1][1], key[2][1]
            opens = partial(
                _tied, ties.found.path, ties.found.gate, ties.places[0], at, shape
            )  # fmt: skip
        note = (
            f"{_file_of_positions(key[0])} is missing, so positions are interpolated between the "
            f"tie points of {content.found.path.name}"
            if content is ties
            else ""
        )
        found.append(Part(opens, (content.found.path,), tuple(measured), note))
    return found


def _file_of_positions(grid: str) -> str:
    return f"geodetic_{grid}.nc" if grid else "geo_coordinates.nc"


def _tie_at(name: str, ties: _Content, image: _Content) -> tuple[_Steps, _Steps]:
    """Return where tie points are in the rows and in the columns of an image.

    Raises:
        SourceUnreadable: the files do not say it.
    """
    told, here = ties.numbers, image.numbers
    along, across = told.get("al_subsampling_factor"), told.get("ac_subsampling_factor")
    if along and across:
        return _Steps(along[0], 0.0), _Steps(across[0], 0.0)
    try:
        coarse, fine = told["resolution"], here["resolution"]
        rows, cols = coarse[-1] / fine[-1], coarse[0] / fine[0]
        return (
            _Steps(rows, told["start_offset"][0] * rows - here["start_offset"][0]),
            _Steps(cols, here["track_offset"][0] - told["track_offset"][0] * cols),
        )
    except (KeyError, ZeroDivisionError):
        reason = (
            f"{_file_of_positions(image.grid)} is missing, and the tie points do not say where in "
            "the image they are. Get the product again"
        )
        raise SourceUnreadable(name, ties.found.path.name, reason) from None


@dataclass(frozen=True, slots=True)
class _Steps:
    """Where tie points are along an axis of an image: the first, and how far on the next."""

    step: float
    first: float

    def at(self, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the places of tie points."""
        return self.first + self.step * np.arange(count, dtype=np.float64)


def _tied(
    path: Path,
    gate: Gate,
    place: Place,
    at: tuple[_Steps, _Steps],
    shape: tuple[int, int],
    _: ExitStack,
) -> Positions:
    """Return positions between tie points."""
    with open_swath(path, gate) as file:
        count = place.rows[1], place.cols[1]
        longitudes, latitudes = file.positions(place).read(0, count[0])
    return TiePositions(longitudes, latitudes, (at[0].at(count[0]), at[1].at(count[1])), shape)


def _wavelengths(manifest: Element) -> dict[str, float]:
    """Return the centre wavelength of bands by their names, micrometres."""
    found = {}
    for one in manifest.iter("band"):
        centre = number_of(one, "centralWavelength")
        if centre:
            found[one.get("name", "")] = centre / (1000 if centre >= _NANOMETRES else 1)
    return found


def _properties(manifest: Element) -> dict[str, Any]:
    platform = next(manifest.iter("platform"), manifest)
    instrument = platform.find("instrument/familyName")
    name = "" if instrument is None else instrument.get("abbreviation", "")
    orbit = number_of(manifest, ".//orbitNumber")
    relative = number_of(manifest, ".//relativeOrbitNumber")
    turn = manifest.find(".//orbitNumber")
    kind = text_of(manifest, ".//productType")
    level = re.match(r"[A-Z]{2}_(\d)_", kind)
    found: dict[str, Any] = {
        "platform": f"sentinel-3{text_of(platform, 'number').lower()}",
        "constellation": "sentinel-3",
        "instruments": [name.lower()] if name else [],
        "sat:absolute_orbit": None if orbit is None else int(orbit),
        "sat:relative_orbit": None if relative is None else int(relative),
        "sat:orbit_state": "" if turn is None else turn.get("groundTrackDirection", ""),
        "processing:level": f"L{level[1]}" if level else "",
    }
    return {key: value for key, value in found.items() if value not in (None, "", [])}
