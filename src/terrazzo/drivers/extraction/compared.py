"""One statistic of one band out of the table of an extraction, date by date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from terrazzo.drivers.extraction.damaged import damage
from terrazzo.drivers.extraction.dense import RANKS, dense
from terrazzo.drivers.extraction.opened import day_of, opened
from terrazzo.drivers.extraction.parts import ID, TABLE, TIME, columns_of
from terrazzo.errors import ArgumentInvalid, suggest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.progress import Progress

    Floats = NDArray[np.float64]

SHARE: Final = "valid_share"
MIN_VALID: Final = 0.5


@dataclass(frozen=True, slots=True)
class Measure:
    """What of the table is compared."""

    statistic: str = "mean"
    """Column."""
    band: str = ""
    """Label in the first column of labels, as a rule the band; needed where there are several."""
    min_valid: float = MIN_VALID
    """Least `valid_share` of a row; it counts only if that was extracted."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """The rows of an extraction of one statistic and one band."""

    dataset: Any
    """All rows, an Arrow dataset."""
    measure: Measure
    """What is compared."""
    where: Any
    """Arrow expression of the rows that count; None is all."""

    @classmethod
    def of(cls, folder: Path, measure: Measure) -> Compared:
        """Open the table of an extraction.

        Raises:
            ArgumentInvalid: there is none, or not such a statistic or band.
        """
        dataset = _opened(folder)
        labels, statistics = columns_of(dataset.schema)
        kinds = {name: dataset.schema.field(name).type for name in statistics}
        numbers = [name for name, kind in kinds.items() if _is_number(kind)]
        if measure.statistic not in numbers:
            raise ArgumentInvalid(
                f"The table has no numbers {measure.statistic!r}."
                f"{suggest(measure.statistic, numbers)} There are {', '.join(numbers) or 'none'}."
            )
        where = pc.field(SHARE) >= measure.min_valid if SHARE in numbers else None
        for chosen in _chosen(dataset, labels, measure.band):
            where = chosen if where is None else where & chosen
        return cls(dataset, measure, where)

    @property
    def _rank(self) -> str:
        """The statistic that tells which of several rows of a day saw most; "" if there is none."""
        return next((name for name in RANKS if name in self.dataset.schema.names), "")

    def profiles(self, ids: Any) -> tuple[tuple[str, ...], Floats]:
        """Return the dates, and (id, date) values of some parcels; NaN for what was not seen."""
        of_ids = pc.field(ID).isin(ids)
        where = of_ids if self.where is None else self.where & of_ids
        schema = self.dataset.schema
        daily = TIME in schema.names and pa.types.is_timestamp(schema.field(TIME).type)
        statistic = self.measure.statistic
        found = dense(self.dataset, ids, (), (statistic,), where=where, daily=daily)
        labels = found.axes[TIME].to_pylist() if TIME in found.axes else [""]
        return tuple(map(_text, labels)), found.arrays[statistic].reshape(len(ids), -1)

    def observations(self, ids: Any, progress: Progress) -> Iterator[tuple[str, Floats]]:
        """Yield every date in order: its label, and (id,) values, NaN for what was not seen.

        Of several images of one day, that counts which saw most of a parcel. In memory is one
        date, or, where all dates are in one file, this file.
        """
        days: dict[str, list[Any]] = {}
        for fragment in self.dataset.get_fragments():
            days.setdefault(day_of(fragment), []).append(fragment)
        columns = [*dict.fromkeys((ID, self.measure.statistic, self._rank or ID))]
        with progress:
            progress.start(len(days), "dates")
            for day, fragments in sorted(days.items()):
                in_one = not day and TIME in self.dataset.schema.names
                wanted = [*columns, TIME] if in_one else columns
                tables = [one.to_table(columns=wanted, filter=self.where) for one in fragments]
                rows = pa.concat_tables(tables)
                if in_one:
                    yield from self._by_time(rows, ids)
                else:
                    yield day, self._values(rows, ids)
                progress.advance()

    def _by_time(self, rows: Any, ids: Any) -> Iterator[tuple[str, Floats]]:
        """Yield the dates of rows that are in one file."""
        moments = rows.column(TIME).combine_chunks().dictionary_encode()
        numbers = moments.indices.to_numpy(zero_copy_only=False)
        labels = moments.dictionary.to_pylist()
        for number in sorted(range(len(labels)), key=lambda at: str(labels[at])):
            some = rows.take(pa.array(np.flatnonzero(numbers == number)))
            yield _text(labels[number]), self._values(some, ids)

    def _values(self, rows: Any, ids: Any) -> Floats:
        """Return (id,) the values of one date."""
        place = pc.index_in(rows.column(ID), value_set=ids).fill_null(-1).to_numpy()
        values = _numbers(rows.column(self.measure.statistic))
        seen = _numbers(rows.column(self._rank)) if self._rank else np.ones(len(values))
        order = np.flatnonzero((place >= 0) & np.isfinite(values))
        # Of rows that saw as much the first counts, as in `dense`.
        order = order[np.lexsort((-order, seen[order]))]
        found = np.full(len(ids), np.nan)
        found[place[order]] = values[order]
        return found


def _opened(folder: Path) -> Any:
    """Return the table of an extraction as Arrow dataset."""
    try:
        dataset = opened(folder)
        next(iter(dataset.get_fragments()))
    except (OSError, pa.ArrowException, StopIteration) as error:
        raise ArgumentInvalid(
            ((folder / TABLE).is_dir() and damage(folder))
            or f"{folder} holds no table of an extraction ({type(error).__name__}). Make it with "
            "`terrazzo extract GRAPH.json POLYGONS -o FOLDER`."
        ) from error
    return dataset


def _chosen(dataset: Any, labels: Sequence[str], band: str) -> Iterator[Any]:
    """Yield conditions that leave one row for each parcel and image.

    Raises:
        ArgumentInvalid: there is no such band, or several and none was chosen.
    """
    first = next(iter(dataset.get_fragments()))
    found = False
    for column in labels:
        known = [str(v) for v in pc.unique(first.to_table(columns=[column])[column]).to_pylist()]
        if band and band in known:
            found = True
            yield pc.field(column).cast(pa.string()) == band
        elif len(known) > 1:
            wrong = f"There is no band {band!r}" if band else f"There are several {column}"
            some = ", ".join(known)
            raise ArgumentInvalid(f"{wrong} in the table. Choose one with --band: {some}.")
    if band and not found:
        raise ArgumentInvalid(f"There is no band {band!r} in the table: it has no bands, or one.")


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _numbers(column: Any) -> Floats:
    """Return a column of numbers, NaN for what is missing."""
    found: Floats = column.cast(pa.float64()).to_numpy()
    return found


def _text(label: Any) -> str:
    """Return a date as text: a day where the table has days."""
    if isinstance(label, datetime):
        return label.date().isoformat()
    return str(label)
