"""Sentinel-1 GRD products (SAFE): one item with a calibrated COG per polarisation.

The pixels are sigma0 as linear power, without thermal noise, on the ground but without correction
for terrain (`storage.sentinel1`). The date is that of the acquisition, which the TIFF files of such
products do not state.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.catalog import BandInfo, make_asset
from terrazzo.drivers.ingestion.items import Draft, Made, Period, build_item, transform_of
from terrazzo.drivers.ingestion.names import safe_name
from terrazzo.drivers.ingestion.product_files import (
    folders_above,
    number_of,
    read_xml,
    text_of,
    time_of,
)
from terrazzo.errors import ArgumentInvalid, SourceUnreadable
from terrazzo.storage.gate import Gate
from terrazzo.storage.ingest_support import check_whole
from terrazzo.storage.sentinel1 import (
    Calibration,
    Geolocation,
    Patch,
    TiePoints,
    Vector,
    ground_grid,
    write_sigma0,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from terrazzo.drivers.ingestion.items import FoundFile, Given, Target
    from terrazzo.geo.grid import Grid
    from terrazzo.storage.gate import AssetName

_KIND: Final = "sigma0 v1"
"""Part of the digest of what is made; another way of making it needs another text."""
_COG: Final = "image/tiff; application=geotiff; profile=cloud-optimized"


def marker(file: FoundFile) -> Path | None:
    """Return the product's manifest."""
    if file.path.parent.name != "measurement":
        return None
    for folder in folders_above(file, 2)[1:]:
        path = folder / "manifest.safe"
        if path.is_file():
            return path
    return None


def read(marker: Path, files: Sequence[FoundFile], given: Given) -> list[Draft]:
    """Return the item that a product becomes.

    Raises:
        SourceUnreadable: a file is damaged or missing.
        ArgumentInvalid: it is no GRD product.
    """
    folder = marker.parent
    name = folder.name.removesuffix(".SAFE")
    manifest = read_xml(marker, name)
    kind = text_of(manifest, ".//productType")
    if kind != "GRD":
        raise ArgumentInvalid(
            f"it is a Sentinel-1 product of type {kind or 'unknown'!r}; GRD products are read. "
            "Detect and multilook others first, for example with SNAP."
        )
    measurements = tuple(_Measurement.of(folder, file, name, given) for file in files)
    item = safe_name(name)
    begun = time_of(manifest, ".//acquisitionPeriod/startTime")
    if begun is None:
        raise SourceUnreadable(name, marker.name, "it states no time of acquisition")
    properties = _properties(manifest, measurements)
    make = partial(_make, item, measurements, Period(begun), properties, given.target)
    return [Draft(item, name, make)]


@dataclass(frozen=True, slots=True)
class _Measurement:
    """One polarisation of a product."""

    polarisation: str
    product: str
    opened: AssetName
    grid: Grid
    geolocation: Geolocation
    calibration: Path
    noise: Path
    files: tuple[Path, ...]

    @classmethod
    def of(cls, folder: Path, file: FoundFile, product: str, given: Given) -> _Measurement:
        """Look at a measurement and what is said of it.

        Raises:
            SourceUnreadable: a file is damaged or missing.
        """
        opened = Gate((file.root,)).open_name(str(file.path), item=product)
        check_whole(opened, decode=given.options.verify)
        told = folder / "annotation" / f"{file.path.stem}.xml"
        calibration = told.parent / "calibration" / f"calibration-{told.name}"
        noise = told.parent / "calibration" / f"noise-{told.name}"
        annotation = read_xml(told, product)
        geolocation = Geolocation(_tie_points(annotation, product, told.name))
        spacing = number_of(annotation, ".//azimuthPixelSpacing") or 10.0
        return cls(
            text_of(annotation, ".//polarisation"),
            product,
            opened,
            ground_grid(opened, geolocation, spacing),
            geolocation,
            calibration,
            noise,
            (file.path, told, calibration, noise),
        )

    def digest(self) -> str:
        """Return the digest of all that the pixels are made of.

        Raises:
            SourceUnreadable: a file is missing.
        """
        found = hashlib.sha256(_KIND.encode())
        for path in self.files:
            try:
                with path.open("rb") as file:
                    found.update(hashlib.file_digest(file, "sha256").digest())
            except OSError:
                raise SourceUnreadable(self.product, path.name, "it is missing") from None
        return found.hexdigest()

    def band(self) -> BandInfo:
        """Describe what is made."""
        return BandInfo(
            self.polarisation,
            "float32",
            float("nan"),
            gsd_m=20.0,
            description="sigma0, linear power, thermal noise removed",
        )

    def write(self, path: Path, product: str) -> None:
        """Make the calibrated image.

        Raises:
            SourceUnreadable: a file is damaged or missing.
            OutputFailed: the image cannot be written.
        """
        calibration = read_xml(self.calibration, product)
        noise = read_xml(self.noise, product)
        vectors = [
            *_vectors(noise, "noiseRangeVector", "noiseRangeLut"),
            *_vectors(noise, "noiseVector", "noiseLut"),
        ]
        sigma = _vectors(calibration, "calibrationVector", "sigmaNought")
        if not sigma:
            raise SourceUnreadable(product, self.calibration.name, "it has no calibrationVector")
        write_sigma0(
            path,
            self.opened,
            self.grid,
            self.geolocation,
            Calibration(sigma, vectors, _patches(noise)),
            band=self.polarisation,
            metadata={"calibration": "sigma0", "source": product},
        )


def _make(
    name: str,
    measurements: Sequence[_Measurement],
    when: Period,
    properties: Mapping[str, Any],
    target: Target,
    previous: Mapping[str, Any] | None,
) -> Made:
    """Make the item, and the images that are not there yet."""
    before: Mapping[str, Any] = (previous or {}).get("assets") or {}
    assets: dict[str, dict[str, Any]] = {}
    wrote = False
    for one in measurements:
        key = one.polarisation
        path, digest = target.path(name, key), one.digest()
        missing = not target.has(path, digest, before.get(key) or {})
        if missing and target.write:
            target.prepare(path)
            one.write(path, name)
        wrote |= missing
        assets[key] = make_asset(
            str(path),
            bands=[one.band()],
            crs=one.grid.crs,
            shape=(one.grid.height, one.grid.width),
            transform=transform_of(one.grid),
            media_type=_COG,
            extra=target.facts(path, digest),
        )
    grids = [one.grid for one in measurements]
    return Made(build_item(name, target, when, grids, assets, properties), wrote)


def _tie_points(annotation: Element, product: str, name: str) -> TiePoints:
    """Read the geolocation grid.

    Raises:
        SourceUnreadable: it has too few points.
    """
    points = [
        [float(point.findtext(field) or "nan") for field in _FIELDS]
        for point in annotation.iter("geolocationGridPoint")
    ]
    if len(points) < _FEWEST:
        raise SourceUnreadable(product, name, "its geolocation grid has less than four points")
    return TiePoints(*np.array(points, np.float64).T)


_FIELDS: Final = ("line", "pixel", "longitude", "latitude")
_FEWEST: Final = 4


def _vectors(root: Element, element: str, values: str) -> list[Vector]:
    """Read a table of vectors."""
    return [
        Vector(float(text_of(one, "line")), _floats(one, "pixel"), _floats(one, values))
        for one in root.iter(element)
    ]


def _patches(noise: Element) -> list[Patch]:
    """Read the factors of noise along the track; products before 2018 have none."""
    found = []
    for one in noise.iter("noiseAzimuthVector"):
        ends = [
            float(text_of(one, name))
            for name in ("firstAzimuthLine", "firstRangeSample", "lastAzimuthLine",
                         "lastRangeSample")
        ]  # fmt: skip
        found.append(
            Patch(
                (ends[0], ends[1]),
                (ends[2], ends[3]),
                _floats(one, "line"),
                _floats(one, "noiseAzimuthLut"),
            )
        )
    return found


def _floats(element: Element, path: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(text_of(element, path).split(), np.float64)


def _properties(manifest: Element, measurements: Sequence[_Measurement]) -> dict[str, Any]:
    platform = next(manifest.iter("platform"), manifest)
    orbit = number_of(manifest, ".//orbitNumber")
    relative = number_of(manifest, ".//relativeOrbitNumber")
    letter = text_of(platform, "number").lower()
    found: dict[str, Any] = {
        "platform": f"sentinel-1{letter}",
        "constellation": "sentinel-1",
        "sar:instrument_mode": text_of(manifest, ".//instrumentMode/mode"),
        "sar:frequency_band": "C",
        "sar:center_frequency": 5.405,
        "sar:polarizations": sorted(one.polarisation for one in measurements),
        "sar:product_type": "GRD",
        "sat:orbit_state": text_of(manifest, ".//pass").lower(),
        "sat:absolute_orbit": None if orbit is None else int(orbit),
        "sat:relative_orbit": None if relative is None else int(relative),
        "processing:level": "L1",
    }
    kept = {name: value for name, value in found.items() if value not in (None, "", [])}
    return kept | {"instruments": ["c-sar"]}
