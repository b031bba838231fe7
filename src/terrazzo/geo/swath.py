"""Swaths: how far the pixels of a scanner reach on the ground, and which of them a place is in.

A swath is rows and columns of positions on the sphere that lie on no grid. Everything here is
computed from unit vectors (n-vectors of geodetic latitude and longitude), so that the antimeridian
and the poles are places like any other.

A pixel's footprint is the quadrilateral that reaches half-way to its neighbours. A neighbour
whose step differs by more than `IRREGULAR` from what steps are around it is none: a scan is
missing in between, or the next one folds back over this one (bow-tie). There, and at the edge, a
pixel reaches as far as on its other side.

Lengths are chords of the unit sphere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from terrazzo.geo.jit import frozen, jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints32 = NDArray[np.int32]
    Flags = NDArray[np.bool_]

HALO: Final = 2
"""Rows on each side of a part of a swath that its footprints depend on."""
IRREGULAR: Final = 0.6
"""Share by which a step to a neighbour may differ from those around it."""
SLACK: Final = 0.01
"""Share of itself by which a footprint is taken larger, so that no crack is left between two."""
EARTH_M: Final = 6_371_008.8
"""Mean radius of the Earth, metres."""
_NEXT_ROW, _LAST_ROW, _NEXT_COL, _LAST_COL = range(4)


def unit_vectors(longitudes: Floats, latitudes: Floats) -> Floats:
    """Return (..., 3) unit vectors of places in degrees; NaN where a coordinate is."""
    east, north = np.radians(longitudes), np.radians(latitudes)
    across = np.cos(north)
    return np.stack([across * np.cos(east), across * np.sin(east), np.sin(north)], axis=-1)


def half_steps(vectors: Floats, first: int, stop: int, longest: float = math.inf) -> Floats:
    """Return how far the pixels of some rows reach.

    Args:
        vectors: (rows, cols, 3) of the swath or a part of it, at least `HALO` rows more on each
            side than are asked for where the swath has them.
        first: first row that is asked for.
        stop: row after the last one.
        longest: length that no step can have; a pixel with one has no footprint.

    Returns:
        (stop - first, cols, 4, 3) vectors from a pixel's centre to half-way to its neighbour in the
        next and last row and the next and last column; NaN for pixels without footprint.
    """
    out = np.full((stop - first, vectors.shape[1], 4, 3), np.nan)
    _half_steps(frozen(vectors), first, stop, longest, out)
    return out


@jit
def _half_steps(vectors: Floats, first: int, stop: int, longest: float, out: Floats) -> None:
    steps, known = np.zeros((4, 3)), np.zeros(4, np.bool_)
    for row in range(first, stop):
        for col in range(vectors.shape[1]):
            good = math.isfinite(vectors[row, col, 0])
            for axis in range(2):
                _take_steps(vectors, row, col, axis, longest, steps, known)
                usual = _usual(steps, known)
                if not good or usual < 0:
                    good = False
                    break
                ahead = 0 if known[0] else (1 if known[1] else usual)
                behind = 1 if known[1] else (0 if known[0] else usual)
                for i in range(3):
                    out[row - first, col, 2 * axis, i] = 0.5 * steps[ahead, i]
                    out[row - first, col, 2 * axis + 1, i] = -0.5 * steps[behind, i]
            if not good:
                out[row - first, col] = np.nan


@jit
def _take_steps(
    vectors: Floats, row: int, col: int, axis: int, longest: float, steps: Floats, known: Flags
) -> None:
    """Take the steps around a pixel: to the next, from the last, and one further each."""
    count, at = vectors.shape[axis], row if axis == 0 else col
    for k in range(4):
        low = at + (0, -1, 1, -2)[k]
        known[k] = low >= 0 and low + 1 < count
        if not known[k]:
            continue
        length = 0.0
        for i in range(3):
            if axis == 0:
                steps[k, i] = vectors[low + 1, col, i] - vectors[low, col, i]
            else:
                steps[k, i] = vectors[row, low + 1, i] - vectors[row, low, i]
            length += steps[k, i] ** 2
        known[k] = length > 0.0 and length < longest * longest  # False for NaN


@jit
def _usual(steps: Floats, known: Flags) -> int:
    """Return the step that is least unlike the others, -1 if there is none; forget irregular ones.

    `known` keeps the steps that are like it.
    """
    usual, least = -1, math.inf
    for k in range(4):
        total = 0.0
        for other in range(4):
            if known[k] and known[other]:
                total += math.sqrt(_apart(steps, k, other))
        if known[k] and total < least * (1.0 - 1e-9):
            usual, least = k, total
    if usual >= 0:
        most = 0.0
        for i in range(3):
            most += (IRREGULAR * steps[usual, i]) ** 2
        for k in range(4):
            known[k] = known[k] and _apart(steps, k, usual) <= most
    return usual


@jit
def _apart(steps: Floats, one: int, other: int) -> float:
    """Return the square of how far two steps differ."""
    found = 0.0
    for i in range(3):
        found += (steps[one, i] - steps[other, i]) ** 2
    return found


def reaches(halves: Floats) -> Floats:
    """Return (rows, cols) distance of the farthest corner of each footprint from its centre."""
    found = np.zeros(halves.shape[:2])
    for along in (_NEXT_ROW, _LAST_ROW):
        for across in (_NEXT_COL, _LAST_COL):
            corner = halves[:, :, along] + halves[:, :, across]
            np.maximum(found, np.sqrt((corner * corner).sum(axis=-1)), out=found)
    return found * (1 + SLACK)


def sizes(halves: Floats) -> Floats:
    """Return (rows, cols) the shorter edge of each footprint."""
    along = np.sqrt((halves[:, :, _NEXT_ROW] ** 2).sum(axis=-1))
    across = np.sqrt((halves[:, :, _NEXT_COL] ** 2).sum(axis=-1))
    found: Floats = 2 * np.minimum(along, across)
    return found


def corners(vectors: Floats, halves: Floats) -> tuple[Floats, Floats]:
    """Return (rows, cols, 4) longitudes and latitudes of the corners of footprints, degrees."""
    found = np.stack(
        [
            vectors + (halves[:, :, along] + halves[:, :, across]) * (1 + SLACK)
            for along in (_NEXT_ROW, _LAST_ROW)
            for across in (_NEXT_COL, _LAST_COL)
        ],
        axis=2,
    )
    x, y, z = found[..., 0], found[..., 1], found[..., 2]
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))


def caps(longitudes: Floats, latitudes: Floats, reach: Floats) -> Floats:
    """Return the boxes in degrees that hold all places within reach of positions.

    Returns:
        (..., 4) least and greatest longitude, least and greatest latitude. Longitudes count on
        beyond 180 degrees; around a pole they are a whole turn.
    """
    angle = 2 * np.arcsin(np.clip(reach / 2, 0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.sin(angle) / np.cos(np.radians(latitudes))
        around = ~(np.abs(latitudes) + np.degrees(angle) < 90) | (ratio >= 1)  # noqa: PLR2004 - pole
        half = np.where(around, 180.0, np.degrees(np.arcsin(np.clip(ratio, 0, 1))))
    half = np.where(np.isfinite(reach), half, np.nan)
    up = np.degrees(angle)
    return np.stack([longitudes - half, longitudes + half, latitudes - up, latitudes + up], axis=-1)


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Which pixel of a swath each of (h, w) cells is in, as far as it is known yet.

    Pixels are numbered row by row, from 1; 0 is none.
    """

    first: Ints32
    """The pixel whose footprint holds the cell's centre; of several the nearest."""
    second: Ints32
    """The second nearest, for where the first has no data; 0 where footprints do not overlap."""
    first_distance: Floats
    second_distance: Floats
    inside: Flags
    """Whether the centre is in the first one's footprint without `SLACK`."""

    @classmethod
    def of(cls, height: int, width: int) -> Choice:
        """Return one in which nothing is chosen."""
        shape = height, width
        return cls(
            np.zeros(shape, np.int32),
            np.zeros(shape, np.int32),
            np.full(shape, np.inf),
            np.full(shape, np.inf),
            np.zeros(shape, np.bool_),
        )

    def offer(
        self,
        cells: Floats,
        vectors: Floats,
        halves: Floats,
        boxes: Floats,
        numbers: tuple[int, int],
        turn: float,
    ) -> None:
        """Choose among more pixels. The result does not depend on the order of pixels.

        Args:
            cells: (h, w, 3) unit vectors of the cells' centres; NaN where there is no place.
            vectors: (rows, cols, 3) of pixels.
            halves: their `half_steps`.
            boxes: (rows, cols, 4) least and greatest column, least and greatest row that a pixel
                may reach, where cell (i, j) has its centre at i, j.
            numbers: number of the first pixel, counted from 0, and how many the next row is on.
            turn: columns after which the grid repeats itself; 0 if it does not.
        """
        _offer(
            frozen(cells), frozen(vectors), frozen(halves), frozen(boxes), numbers, turn,
            self.first, self.second, self.first_distance, self.second_distance, self.inside,
        )  # fmt: skip


@jit
def _offer(
    cells: Floats,
    vectors: Floats,
    halves: Floats,
    boxes: Floats,
    numbers: tuple[int, int],
    turn: float,
    first: Ints32,
    second: Ints32,
    first_distance: Floats,
    second_distance: Floats,
    inside: Flags,
) -> None:
    height, width = first.shape
    rows, cols = vectors.shape[0], vectors.shape[1]
    turns = 2 if turn > 0 else 0
    for row in range(rows):
        for col in range(cols):
            low_row, high_row = boxes[row, col, 2], boxes[row, col, 3]
            if not (high_row >= 0 and low_row <= height - 1):  # NaN too
                continue
            top, bottom = max(0, math.ceil(low_row)), min(height - 1, math.floor(high_row))
            number = numbers[0] + row * numbers[1] + col + 1
            for k in range(-turns, turns + 1):
                low, high = boxes[row, col, 0] + k * turn, boxes[row, col, 1] + k * turn
                if not (high >= 0 and low <= width - 1):
                    continue
                left, right = max(0, math.ceil(low)), min(width - 1, math.floor(high))
                for i in range(top, bottom + 1):
                    for j in range(left, right + 1):
                        share = _share(cells, i, j, vectors, halves, row, col)
                        if not share <= 1.0 + SLACK:
                            continue
                        distance = 0.0
                        for axis in range(3):
                            distance += (cells[i, j, axis] - vectors[row, col, axis]) ** 2
                        _enter(
                            number, distance, share <= 1.0, i, j,
                            first, second, first_distance, second_distance, inside,
                        )  # fmt: skip


@jit
def _share(
    cells: Floats, i: int, j: int, vectors: Floats, halves: Floats, row: int, col: int
) -> float:
    """Return how far a cell's centre is from a pixel's; at the footprint's edge it is 1."""
    ahead, aside = _NEXT_ROW, _NEXT_COL
    u = v = math.inf
    for _ in range(2):
        aa = ab = bb = da = db = 0.0
        for axis in range(3):
            a, b = halves[row, col, ahead, axis], halves[row, col, aside, axis]
            d = cells[i, j, axis] - vectors[row, col, axis]
            aa += a * a
            ab += a * b
            bb += b * b
            da += d * a
            db += d * b
        area = aa * bb - ab * ab
        if not area > 1e-6 * aa * bb:
            return math.inf
        u, v = (da * bb - db * ab) / area, (db * aa - da * ab) / area
        if u >= 0.0 and v >= 0.0:
            break
        if u < 0.0:
            ahead = _LAST_ROW
        if v < 0.0:
            aside = _LAST_COL
    return max(abs(u), abs(v))


@jit
def _enter(
    number: int,
    distance: float,
    within: bool,
    i: int,
    j: int,
    first: Ints32,
    second: Ints32,
    first_distance: Floats,
    second_distance: Floats,
    inside: Flags,
) -> None:
    if first[i, j] == number or second[i, j] == number:
        return  # a grid of more than a turn
    nearer = distance < first_distance[i, j] or (
        distance == first_distance[i, j] and number < first[i, j]
    )
    if nearer:
        if inside[i, j] and first[i, j] > 0:
            second[i, j], second_distance[i, j] = first[i, j], first_distance[i, j]
        first[i, j], first_distance[i, j], inside[i, j] = number, distance, within
    elif within and (
        distance < second_distance[i, j]
        or (distance == second_distance[i, j] and number < second[i, j])
    ):
        second[i, j], second_distance[i, j] = number, distance
