"""Outliers: parcels whose profiles differ most from those of their peers.

A parcel is held against the other parcels around it that should look alike: the same crop, the
same weather, the same clouds. What is far from all of them is worth a look: a wrong declaration, a
boundary that has moved, a field that was not sown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from terrazzo.drivers.extraction.compared import Compared, Measure
from terrazzo.drivers.extraction.peers import LEAST_PEERS, MOST, WITHIN_M, Classes, check_reach
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.jit import jit
from terrazzo.progress import Progress
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Positions = NDArray[np.int64]

LEAST_DATES: Final = 3
"""A parcel is judged where so many dates count."""
FARTHEST: Final = 6.0
"""What one date adds at most: a cloud that the mask has missed is no reason by itself."""
LEAST_SPREAD: Final = 0.25
"""Peers' spread is taken for no smaller than this share of what is usual in their class."""
TO_SIGMA: Final = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""
LARGEST: Final = 1e6
"""A z is not told as larger; it has no bound where all peers are the same."""
AT_ONCE: Final = 100_000
"""Parcels whose peers are looked for together."""


def outliers(
    folder: Path,
    by: str,
    measure: Measure | None = None,
    *,
    most: int = MOST,
    within_m: float = WITHIN_M,
    progress: Progress | None = None,
) -> pa.Table:
    """Rank the parcels of an extraction by how far their profiles are from those of their peers.

    On each date on which the parcel and at least 5 of its peers were seen, z = |x - m| / s, where
    m is the median of the peers' values and s their spread, 1.4826 times the median absolute
    deviation from m, but no less than a quarter of what is usual for the class on that date (the
    median of its s). The distance is the mean of min(z, 6) over these dates. The table is read
    once, date by date; memory grows with the parcels, not with the dates.

    Args:
        folder: of the extraction.
        by: attribute with the class.
        measure: what is compared.
        most: peers of a parcel at most.
        within_m: how far away they may be, metres.
        progress: told about every date.

    Returns:
        A table, the farthest first, then those that could not be judged: `id`, `class`, `distance`
        (0..6; null where fewer than 3 dates count), `dates` that count, `peers`, `worst` (the date
        of the largest z, null if none), `worst_z`, `direction` (-1..1: mean sign of x - m, so -1 is
        always below the peers).

    Raises:
        ArgumentInvalid: no extraction, no such attribute, column or band.

    Source:
        Iglewicz and Hoaglin 1993, How to detect and handle outliers, ASQC 16: the modified z-score,
        here with the median and deviation of the neighbours, and bounded as Huber 1964 has it.
    """
    check_reach(most, within_m)
    table = Compared.of(folder, measure or Measure())
    classes = Classes.of(folder, by)
    around, members = _neighbours(classes, most, within_m)
    found = _Judgement.of(len(classes.polygons))
    progress = progress or Progress()
    for label, values in table.observations(classes.polygons.ids, progress):
        middle, spread = _of_peers(values, around, LEAST_PEERS)
        for each in members:
            usual = spread[each][np.isfinite(spread[each])]
            if usual.size:
                spread[each] = np.maximum(spread[each], LEAST_SPREAD * np.median(usual))
        found.add(label, values - middle, spread)
    return found.table(classes, (around >= 0).sum(axis=1))


def write_outliers(path: Path, table: Any) -> None:
    """Write ranked parcels as Parquet or CSV.

    Raises:
        ArgumentInvalid: the ending is neither .parquet nor .csv.
        OutputFailed: the disk is full, or the folder cannot be written.
    """
    writers = {".parquet": pq.write_table, ".csv": csv.write_csv}
    if path.suffix not in writers:
        raise ArgumentInvalid(
            f"Outliers are written as {' or '.join(writers)}, not as {path.suffix!r}."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_failed(path, error) from error
    with whole_file(path) as part:
        writers[path.suffix](table, part)


def _neighbours(classes: Classes, most: int, within_m: float) -> tuple[Ints, list[Positions]]:
    """Return (parcel, most) the peers of all parcels, -1 for none, and each class's parcels."""
    around = np.full((len(classes.polygons), most), -1, np.int32)
    groups = [classes.members(number) for number in range(len(classes.names))]
    for members in groups:
        for first in range(0, len(members), AT_ONCE):
            some = members[first : first + AT_ONCE]
            found, _ = classes.nearest(some, members, most, within_m)
            around[some, : found.shape[1]] = found
    return around, groups


@dataclass(frozen=True, slots=True, eq=False)
class _Judgement:
    """What is known of every parcel so far."""

    total: Floats
    """Sum of min(z, 6)."""
    signs: Floats
    dates: Ints
    largest: Floats
    worst: Ints
    """Number of the date of the largest z; -1 before there is one."""
    labels: list[str]

    @classmethod
    def of(cls, count: int) -> _Judgement:
        """Begin with nothing known of so many parcels."""
        numbers = (np.zeros(count), np.zeros(count), np.zeros(count, np.int32))
        return cls(*numbers, np.zeros(count), np.full(count, -1, np.int32), [])

    def add(self, label: str, difference: Floats, spread: Floats) -> None:
        """Take in one date: (parcel,) difference from the peers' median, and their spread."""
        with np.errstate(invalid="ignore", divide="ignore"):
            z = np.where(difference == 0, 0.0, np.abs(difference) / spread)
        counts = np.isfinite(difference) & np.isfinite(spread)
        self.total[counts] += np.minimum(z[counts], FARTHEST)
        self.signs[counts] += np.sign(difference[counts])
        self.dates[counts] += 1
        farther = counts & (z > self.largest)
        self.largest[farther], self.worst[farther] = z[farther], len(self.labels)
        self.labels.append(label)

    def table(self, classes: Classes, peers: Positions) -> Any:
        """Return the parcels, the farthest first."""
        judged = self.dates >= LEAST_DATES
        dates = np.maximum(self.dates, 1)
        distance = self.total / dates
        names, labels = pa.array([*classes.names, None]), pa.array([*self.labels, None])
        table = pa.table(
            {
                "id": classes.polygons.ids,
                "class": names.take(pa.array(classes.numbers % len(names))),
                "distance": pa.array(distance, mask=~judged),
                "dates": self.dates,
                "peers": peers,
                "worst": labels.take(pa.array(self.worst % len(labels))),
                "worst_z": pa.array(np.minimum(self.largest, LARGEST), mask=self.worst < 0),
                "direction": pa.array(self.signs / dates, mask=self.dates == 0),
            }
        )
        place = np.arange(len(judged))
        return table.take(pa.array(np.lexsort((place, np.where(judged, -distance, 1.0)))))


@jit
def _of_peers(values: Floats, peers: Ints, least: int) -> tuple[Floats, Floats]:
    """Return median and spread of the values of every parcel's peers; NaN where they are few."""
    count, most = peers.shape
    middle, spread = np.full(count, np.nan), np.full(count, np.nan)
    seen = np.empty(most)
    for parcel in range(count):
        number = 0
        for place in range(most):
            peer = peers[parcel, place]
            if peer >= 0 and np.isfinite(values[peer]):
                seen[number] = values[peer]
                number += 1
        if number < least:
            continue
        middle[parcel] = np.median(seen[:number])
        spread[parcel] = TO_SIGMA * np.median(np.abs(seen[:number] - middle[parcel]))
    return middle, spread
