"""The table of an extraction as dense arrays: an axis of polygons, one of dates, one per label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from terrazzo.errors import PlanTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_BYTES: Final = 4_000_000_000
"""What the arrays of an extraction may take."""
RANKS: Final = ("count", "valid_share")
"""Statistics that tell which of two observations of a day saw more, the first that is there."""
_FIRST_ROWS: Final = 65_536
_ROWS_OF_PIECE: Final = 1 << 20
"""Rows that are taken in at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """Statistics as arrays of (polygon, date, label, ...)."""

    axes: Mapping[str, Any]
    """Arrow arrays of what stands along each axis, by its name: `id`, `t` and further labels."""
    arrays: Mapping[str, Floats]
    """By statistic; NaN where the table has no row or no number."""


def dense(
    dataset: Any,
    ids: Any,
    labels: Sequence[str],
    statistics: Sequence[str],
    *,
    where: Any = None,
    daily: bool = False,
) -> Dense:
    """Read rows into arrays. Of several rows for one place the one counts that saw most.

    Args:
        dataset: the table, an Arrow dataset.
        ids: Arrow array of the polygons along the first axis.
        labels: columns that are axes besides `id` and `t`.
        statistics: columns of numbers that are read.
        where: Arrow expression of the rows that count; None is all.
        daily: whether dates are days, so that images of one day share a place.

    Raises:
        PlanTooLarge: the arrays would take more than 4 GB.
    """
    axes = {"id": ids}
    if "t" in dataset.schema.names:
        axes["t"] = _moments(dataset, daily=daily)
    axes |= {name: _labels(dataset, name) for name in labels}
    shape = tuple(len(axis) for axis in axes.values())
    _check(shape, statistics)
    arrays = {name: np.full(math.prod(shape), np.nan) for name in statistics}
    rank = next((name for name in RANKS if name in dataset.schema.names), "")
    seen = np.full(math.prod(shape), -1.0 if rank else -np.inf)
    columns = list(dict.fromkeys([*axes, *statistics, *([rank] if rank else [])]))
    places = _Places(axes, daily=daily)
    for number, piece in _pieces(dataset, columns, where):
        place, there = places.of(number, piece)
        ranks = _numbers(piece[rank])[there] if rank else np.zeros(len(place))
        order = np.lexsort((-np.arange(len(place)), ranks))
        order = order[ranks[order] > seen[place[order]]]
        seen[place[order]] = ranks[order]
        for name, array in arrays.items():
            array[place[order]] = _numbers(piece[name])[there][order]
    return Dense(axes, {name: array.reshape(shape) for name, array in arrays.items()})


def _pieces(dataset: Any, columns: Sequence[str], where: Any) -> Iterator[tuple[int, Any]]:
    """Yield the rows of a dataset with their number within a part, so many at once."""
    for fragment in dataset.get_fragments(where):
        waiting: list[Any] = []
        number = 0
        for batch in fragment.to_batches(dataset.schema, columns=columns, filter=where):
            waiting.append(batch)
            if sum(one.num_rows for one in waiting) >= _ROWS_OF_PIECE:
                yield number, pa.Table.from_batches(waiting)
                waiting, number = [], number + 1
        if waiting:
            yield number, pa.Table.from_batches(waiting)


def _check(shape: tuple[int, ...], statistics: Sequence[str]) -> None:
    size = 8 * math.prod(shape) * (len(statistics) + 1)
    if size > MOST_BYTES:
        raise PlanTooLarge(
            f"Arrays of {' x '.join(map(str, shape))} numbers for {', '.join(statistics)} would "
            f"take {size / 1e9:.1f} GB, more than {MOST_BYTES / 1e9:.0f}. Name fewer statistics or "
            "polygons, or read the table itself, which Arrow, DuckDB and polars do piece by piece."
        )


class _Places:
    """Finds the places of rows. Parts have the same polygons as a rule: they are found once."""

    def __init__(self, axes: Mapping[str, Any], *, daily: bool) -> None:
        self._axes, self._daily = axes, daily
        self._known: dict[int, tuple[Any, NDArray[np.int64]]] = {}

    def of(self, number: int, rows: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the flat place of each row that has one, and which rows have.

        Args:
            number: of the piece within its part.
            rows: a table.
        """
        flat = np.zeros(len(rows), np.int64)
        there = np.ones(len(rows), np.bool_)
        for name, axis in self._axes.items():
            column = rows[name]
            if name == "id":
                index = self._polygons(number, column)
            else:
                index = _index(as_days(column) if name == "t" and self._daily else column, axis)
            there &= index >= 0
            flat = flat * len(axis) + index
        return flat[there], there

    def _polygons(self, number: int, column: Any) -> NDArray[np.int64]:
        known = self._known.get(number)
        if known is None or not known[0].equals(column):
            known = column, _index(column, self._axes["id"])
            self._known[number] = known
        return known[1]


def _index(column: Any, axis: Any) -> NDArray[np.int64]:
    """Return the position of each value in an axis; -1 where it is not there."""
    found: NDArray[np.int64] = (
        pc.fill_null(pc.index_in(column, value_set=axis), -1).to_numpy().astype(np.int64)
    )
    return found


def _numbers(column: Any) -> Floats:
    found: Floats = pc.fill_null(column.cast(pa.float64()), math.nan).to_numpy(zero_copy_only=False)
    return found


def as_days(column: Any) -> Any:
    """Return instants as days in UTC."""
    return column.cast(pa.timestamp(column.type.unit)).cast(pa.date32(), safe=False)


def _moments(dataset: Any, *, daily: bool) -> Any:
    """Return the times of a table, ascending; those of a part with one time are not read."""
    kind = dataset.schema.field("t").type
    found: list[Any] = []
    for fragment in dataset.get_fragments():
        for group in fragment.row_groups:
            bounds = (group.statistics or {}).get("t")
            if bounds is not None and bounds["min"] == bounds["max"]:
                found.append(pa.array([bounds["min"]], kind))
                continue
            part = fragment.subset(row_group_ids=[group.id]).to_table(columns=["t"])["t"]
            found += part.cast(kind).chunks
    whole = pc.drop_null(pa.chunked_array(found, kind).unique())
    if daily:
        whole = as_days(whole).unique()
    return whole.take(pc.sort_indices(whole))


def _labels(dataset: Any, name: str) -> Any:
    """Return the labels of a table: a part's first rows have all that it has."""
    kind = dataset.schema.field(name).type
    heads = [fragment.head(_FIRST_ROWS, columns=[name]) for fragment in dataset.get_fragments()]
    every = [head[name].cast(kind).unique() for head in heads]
    return pa.chunked_array(every, kind).unique()
