"""Rows of a table of features: some of them, from a place in the file on, without the others.

A table is sorted in space, so that a page or a tile reads the few row groups that it touches, and
of those the boxes first.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from terrazzo.errors import SourceUnreadable
from terrazzo.spans import span
from terrazzo.storage.vectors.feature_table import DAMAGED, attributes_of, groups_touching
from terrazzo.storage.vectors.reading import recognised
from terrazzo.storage.vectors.stored import FACTS, TableFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.geo.grid import Bounds
    from terrazzo.storage.gate import Gate

    Rows = NDArray[np.int64]

_BATCH: Final = 1024
"""Rows that are decoded at once: a text may be stored once for all rows of a group."""
_PIECE: Final = 50_000_000
"""Bytes of rows that become Python objects at once."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureBatch:
    """Some features of a table, in the order of the file."""

    positions: Rows
    """Where they are in the file."""
    rows: Rows
    """Which rows of their source they were."""
    shapes: NDArray[np.object_]
    """Geometries in the CRS of the file, None where there is none."""
    properties: tuple[Mapping[str, Any], ...]
    """Their attributes, JSON values; NaN and infinity stay."""


class FeatureRows:
    """An open table of features."""

    def __init__(self, parquet: Any, facts: TableFacts, name: tuple[str, str]) -> None:
        self._parquet, self._name = parquet, name
        self.facts = facts
        """What the table says of itself."""
        meta = parquet.metadata
        sizes = [meta.row_group(n).num_rows for n in range(meta.num_row_groups)]
        self.starts: Rows = np.cumsum([0, *sizes], dtype=np.int64)
        """Where row groups begin, and where the last one ends."""

    def groups(self, boxes: Sequence[Bounds] | None = None, *, start: int = 0) -> list[int]:
        """Return the row groups that may hold something there.

        Args:
            boxes: in the CRS of the file; None for anywhere.
            start: position in the file before which nothing is wanted.
        """
        with self._told():
            found = groups_touching(self._parquet, self.facts, boxes)
        return [group for group in found if self.starts[group + 1] > start]

    def boxes(self, group: int) -> NDArray[np.float64]:
        """Return (n, 4) left, bottom, right, top of a group's features; NaN without geometry."""
        with self._told():
            table = self._parquet.read_row_group(group, columns=[self.facts.box])
            struct = table.column(self.facts.box).combine_chunks()
            edges = [struct.field(n).to_numpy(zero_copy_only=False) for n in range(4)]
            found = np.stack(edges, axis=1).astype(np.float64)
            found[~struct.is_valid().to_numpy(zero_copy_only=False)] = np.nan
        return found

    def features(
        self,
        group: int,
        wanted: NDArray[np.bool_] | None = None,
        *,
        columns: Sequence[str] | None = None,
        keep: Callable[[Any], NDArray[np.bool_]] | None = None,
        geometry: bool = True,
    ) -> Iterator[FeatureBatch]:
        """Yield the wanted features of a row group.

        Args:
            group: its number.
            wanted: (n,) which of its rows; None for all.
            columns: attributes that are read; None for all.
            keep: told rows as an Arrow table, says which of them are wanted.
            geometry: whether geometries are read; None stands for each of them otherwise.
        """
        facts = self.facts
        own = [facts.row, *([facts.geometry] if geometry else [])]
        names = [column["name"] for column in facts.columns[:-1]] if columns is None else columns
        place = int(self.starts[group])
        batches = self._parquet.iter_batches(_BATCH, row_groups=[group], columns=[*names, *own])
        first = place
        while True:
            with self._told(), span("decode"):
                batch = next(batches, None)
                if batch is None:
                    return
                table = pa.Table.from_batches([batch])
                kept = np.ones(len(table), np.bool_)
                if wanted is not None:
                    kept &= wanted[place - first : place - first + len(table)]
                if keep is not None and kept.any():
                    kept &= keep(table)
                positions = place + np.flatnonzero(kept)
                place += len(table)
                if not len(positions):
                    continue
                table = table.filter(pa.array(kept))
            step = max(1, int(len(table) * _PIECE / max(table.nbytes, _PIECE)))
            for start in range(0, len(table), step):
                with self._told(), span("decode"):
                    part = table.slice(start, step)
                    found = self._features(part, positions[start : start + step], geometry=geometry)
                yield found

    def _features(self, table: Any, positions: Rows, *, geometry: bool) -> FeatureBatch:
        facts = self.facts
        shapes = np.full(len(table), None, dtype=object)
        if geometry:
            with np.errstate(invalid="ignore"):  # GEOS tells NumPy of coordinates that are NaN
                shapes = shapely.from_wkb(
                    np.array(table.column(facts.geometry).to_pylist(), dtype=object)
                )
        named = attributes_of(table, facts)
        rows = zip(*named.values(), strict=True) if named else ((),) * len(table)
        return FeatureBatch(
            positions,
            table.column(facts.row).to_numpy(),
            shapes,
            tuple(dict(zip(named, values, strict=True)) for values in rows),
        )

    def of_row(self, row: int) -> FeatureBatch | None:
        """Return the feature that was a row of the source; None if there is no such one."""
        for group in range(len(self.starts) - 1):
            with self._told():
                held = self._parquet.read_row_group(group, columns=[self.facts.row])
                found = held.column(self.facts.row).to_numpy() == row
            if found.any():
                return next(self.features(group, found))
        return None

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say of whatever goes wrong while the file is read that it is damaged.

        Raises:
            SourceUnreadable: it is.
        """
        try:
            yield
        except (*DAMAGED, shapely.errors.GEOSException) as error:
            raise SourceUnreadable(
                *self._name, f"it is damaged or cut short ({type(error).__name__})"
            ) from None


@contextmanager
def open_rows(path: Path, gate: Gate, item: str, asset: str) -> Iterator[FeatureRows]:
    """Open a table that `write_features` wrote.

    Args:
        path: of the table.
        gate: what may be read.
        item: whose table it is, for messages.
        asset: of the item, for messages.

    Raises:
        AssetForbidden: outside the roots.
        SourceUnreadable: gone, damaged, or not written by Terrazzo; also while it is read.
    """
    try:
        file = recognised(path, gate).open("rb")
    except (OSError, SourceUnreadable):
        raise SourceUnreadable(item, asset, "the file is gone, damaged or another one") from None
    with file:
        try:
            parquet = pq.ParquetFile(file)
            facts = TableFacts.of_json(parquet.schema_arrow.metadata[FACTS])
        except DAMAGED:
            raise SourceUnreadable(
                item, asset, "the file is gone, damaged or another one"
            ) from None
        with parquet:
            yield FeatureRows(parquet, facts, (item, asset))
