"""Where images lie, as columns: which of a million a window can touch is known at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from terrazzo.geo.grid import Bounds
    from terrazzo.storage.target import Reach

    Outline = tuple[Bounds, str]
    Place = tuple[Outline | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """The places of images: each is the outlines of an image's bands."""

    systems: tuple[str, ...]
    """The CRS that there are."""
    first: NDArray[np.int64]
    """(systems + 1,) where the outlines of each begin: they are sorted by it."""
    bounds: NDArray[np.float64]
    """(n, 4) left, bottom, right, top of each outline, in its CRS."""
    members: NDArray[np.int32]
    """(places, m) positions of the outlines of each; n is nowhere, n + 1 not known."""

    @classmethod
    def of(cls, places: Sequence[Place]) -> Outlines:
        """Sort the outlines of places; an outline that is None is not known."""
        known = dict.fromkeys(one for place in places for one in place if one is not None)
        systems = tuple(dict.fromkeys(crs for _, crs in known))
        found = sorted(known, key=lambda one: systems.index(one[1]))
        number: dict[Outline | None, int] = {one: at for at, one in enumerate(found)}
        number[None] = len(found) + 1
        sizes = [sum(1 for _, crs in found if crs == system) for system in systems]
        most = max((len(place) for place in places), default=0)
        members = np.full((len(places), max(most, 1)), len(found), np.int32)
        for at, place in enumerate(places):
            members[at, : len(place)] = [number[one] for one in place]
        bounds = np.array([box for box, _ in found], np.float64).reshape(-1, 4)
        return cls(systems, np.cumsum([0, *sizes]), bounds, members)

    def touched(self, reach: Reach) -> NDArray[np.bool_]:
        """Return, for each place, whether an image there can have a pixel in a window."""
        touched = np.zeros(len(self.bounds) + 2, np.bool_)
        touched[-1] = True
        for at, crs in enumerate(self.systems):
            own = slice(int(self.first[at]), int(self.first[at + 1]))
            touched[own] = reach.touching(self.bounds[own], crs)
        found: NDArray[np.bool_] = np.logical_or.reduce(touched[self.members], axis=1)
        return found
