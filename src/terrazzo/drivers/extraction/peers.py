"""Peers of a parcel, those of its class nearby, and what their profiles look like together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import shapely
from scipy.spatial import cKDTree

from terrazzo.drivers.extraction.compared import Compared, Measure
from terrazzo.drivers.extraction.parcel import position_of, within
from terrazzo.drivers.extraction.parts import ID
from terrazzo.drivers.extraction.polygons import kept
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import WGS84, transformer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.drivers.extraction.polygons import Polygons
    from terrazzo.geo.times import Interval

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Positions = NDArray[np.int64]

MOST, WITHIN_M = 30, 10_000.0
"""Peers of a parcel, unless told otherwise: so many at most, not farther away."""
LEAST_PEERS = 5
"""A date counts where so many peers have been seen."""
EARTH_M: Final = 6_371_008.8
"""Mean radius."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another parcel of the same class."""

    id: Any
    """Its id."""
    metres: float
    """Distance of the centroids along a sphere."""


@dataclass(frozen=True, slots=True, eq=False)
class PeerProfile:
    """The profiles of a parcel's peers, date by date."""

    name: str
    """What they are, for people."""
    labels: tuple[str, ...]
    """The dates."""
    low: Floats
    """(date,) first quartile of the peers that were seen; NaN where there are too few."""
    middle: Floats
    """(date,) their median."""
    high: Floats
    """(date,) their third quartile."""

    def during(self, interval: Interval, *, months: bool = False) -> PeerProfile:
        """Return only the dates in an interval; `months`: see `parcel.instants`."""
        some = np.array(within(self.labels, interval, months=months), np.bool_)
        labels = tuple(label for label, taken in zip(self.labels, some, strict=True) if taken)
        return PeerProfile(self.name, labels, self.low[some], self.middle[some], self.high[some])


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """The parcels of an extraction by class, and where they are."""

    polygons: Polygons
    """The parcels."""
    numbers: Ints
    """(parcel,) number of its class; -1 where it has none."""
    names: tuple[str, ...]
    """Names of the classes."""
    places: Floats
    """(parcel, 3) centroids as points of the unit sphere; NaN where there is none."""

    @classmethod
    def of(cls, folder: Path, by: str) -> Classes:
        """Read the parcels of an extraction; `by` is the attribute with the class.

        Raises:
            ArgumentInvalid: no extraction, or no such attribute.
        """
        polygons = kept(folder)
        encoded = polygons.attribute(by).dictionary_encode()
        numbers = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        names = tuple(str(value) for value in encoded.dictionary.to_pylist())
        return cls(polygons, numbers, names, _on_sphere(polygons))

    def members(self, number: int) -> Positions:
        """Return the parcels of a class that have a place."""
        return np.flatnonzero((self.numbers == number) & np.isfinite(self.places).all(axis=1))

    def nearest(
        self, parcels: Positions, members: Positions, most: int, within_m: float
    ) -> tuple[Ints, Floats]:
        """Return (parcel, most) the nearest members but themselves, -1 for none, and metres."""
        tree = cKDTree(self.places[members])
        count = min(most + 1, len(members))
        chord = 2 * np.sin(min(within_m / EARTH_M, np.pi) / 2)
        distance, index = tree.query(
            self.places[parcels], k=np.arange(1, count + 1), distance_upper_bound=chord
        )
        found = np.append(members, -1)[index]
        found[found == parcels[:, None]] = -1
        order = np.argsort(found < 0, axis=1, kind="stable")[:, :most]
        found, distance = (np.take_along_axis(one, order, 1) for one in (found, distance))
        metres = np.where(found < 0, np.nan, 2 * EARTH_M * np.arcsin(np.minimum(distance / 2, 1)))
        return found.astype(np.int32), metres


def peers(
    folder: Path, parcel: str, by: str, *, most: int = MOST, within_m: float = WITHIN_M
) -> tuple[Peer, ...]:
    """Find the peers of a parcel of an extraction, the nearest first.

    Args:
        folder: of the extraction.
        parcel: its id, as text.
        by: attribute with the class.
        most: how many at most.
        within_m: how far away at most, metres between centroids.

    Raises:
        ArgumentInvalid: no extraction, no such parcel or attribute, or a number without sense.
    """
    check_reach(most, within_m)
    classes = Classes.of(folder, by)
    position = position_of(classes.polygons, parcel)
    number = int(classes.numbers[position])
    if number < 0 or not np.isfinite(classes.places[position]).all():
        return ()
    own = np.array([position])
    found, metres = classes.nearest(own, classes.members(number), most, within_m)
    there = found[0] >= 0
    ids = classes.polygons.named(found[0][there].astype(np.int64))
    return tuple(Peer(name, far) for name, far in zip(ids, metres[0][there].tolist(), strict=True))


def peer_profile(
    folder: Path, chosen: Sequence[Peer], name: str, measure: Measure | None = None
) -> PeerProfile:
    """Return median and quartiles of some parcels' profiles, out of the table of an extraction.

    Args:
        folder: of the extraction.
        chosen: the parcels.
        name: what they are, for people.
        measure: what of the table.

    Returns:
        The dates on which at least 5 of them were seen.

    Raises:
        ArgumentInvalid: no extraction, or no such column or band.
    """
    rows = Compared.of(folder, measure or Measure())
    ids = pa.array([peer.id for peer in chosen], rows.dataset.schema.field(ID).type)
    labels, values = rows.profiles(ids)
    seen = np.flatnonzero(np.isfinite(values).sum(axis=0) >= LEAST_PEERS)
    quartiles = [np.nanpercentile(values[:, date], [25, 50, 75]) for date in seen]
    low, middle, high = np.array(quartiles).reshape(-1, 3).T
    there = tuple(labels[date] for date in seen)
    return PeerProfile(name, there, low, middle, high)


def check_reach(most: int, within_m: float) -> None:
    """Refuse a number of peers, or a distance, that makes no sense.

    Raises:
        ArgumentInvalid: it makes none.
    """
    if most < 1 or not within_m > 0:
        raise ArgumentInvalid(
            f"Peers need a number of at least 1 and a distance above 0 m, not {most} and "
            f"{within_m:g} m."
        )


def _on_sphere(polygons: Polygons) -> Floats:
    """Return (parcel, 3) the centroids as points of the unit sphere; NaN where there is none."""
    centres = shapely.centroid(polygons.shapes())
    empty = shapely.is_empty(centres) | shapely.is_missing(centres)
    x, y = np.full((2, len(centres)), np.nan)
    x[~empty], y[~empty] = shapely.get_x(centres[~empty]), shapely.get_y(centres[~empty])
    if polygons.crs != WGS84:
        x, y = transformer(polygons.crs, WGS84).transform(x, y)
    found = np.full((len(x), 3), np.nan)
    there = np.isfinite(x) & np.isfinite(y)
    longitude, latitude = np.radians(x[there]), np.radians(y[there])
    flat = np.cos(latitude)
    points = (flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude))
    found[there] = np.stack(points, axis=-1)
    return found
