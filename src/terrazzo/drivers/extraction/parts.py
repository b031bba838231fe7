"""The parts of the table: one Parquet file per scene, there when it is whole."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from terrazzo.drivers.extraction.cut import day_of
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import parse_time
from terrazzo.spans import span
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from terrazzo.drivers.extraction.polygons import Polygons
    from terrazzo.drivers.extraction.scenes import Scene
    from terrazzo.drivers.extraction.statistics import Rows

TABLE: Final = "table"
ASIDE: Final = ".parts"
"""Folder in which parts are written before they are put into the table."""
ID, TIME, ITEM = "id", "t", "item"
_TOLD: Final = b"terrazzo"
_ROWS_OF_GROUP: Final = 65_536
MOST_ROWS: Final = 1_000_000
"""Rows that are held before they are written; more are sorted in pieces."""
_DAY: Final = 10


def columns_of(schema: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of a part that are labels of dimensions, but `t`, and the numbers.

    Args:
        schema: Arrow schema of a part of the table.

    Raises:
        ArgumentInvalid: it is none.
    """
    told = json.loads((schema.metadata or {}).get(_TOLD, b"null"))
    if told is None:
        raise ArgumentInvalid("This is no part of the table of an extraction.")
    return tuple(told["labels"]), tuple(told["statistics"])


def has_instants(labels: Sequence[str]) -> bool:
    """Tell whether labels of dates are all instants or days, so that they can be a time column."""
    return bool(labels) and all(len(label) >= _DAY and day_of(label) for label in labels)


@dataclass(eq=False)
class PartWriter:
    """Writes the part of a scene, aside."""

    path: Path
    """Where; another process puts it into the table."""
    scene: Scene
    """Whose rows they are."""
    polygons: Polygons
    """What they are of."""
    time: str
    """Name of the dimension of dates; empty if the result has none."""
    instants: bool
    """Whether its labels are a time column, and not texts."""
    told: Mapping[str, Any]
    """What the columns of the rows are: names of `labels` and of `statistics`."""
    rows: int = field(default=0, init=False)
    """How many there are so far."""
    _waiting: list[Rows] = field(default_factory=list, init=False)
    _held: int = field(default=0, init=False)
    _writer: Any = field(default=None, init=False)
    _stack: ExitStack = field(default_factory=ExitStack, init=False)

    def add(self, rows: Rows) -> None:
        """Take rows of polygons that are whole.

        Raises:
            OutputFailed: the disk is full, or the folder cannot be written.
        """
        self._waiting.append(rows)
        self._held += len(rows.polygon)
        if self._held >= MOST_ROWS:
            self._flush()

    def close(self) -> bool:
        """Write what is left; returns whether there is a file, which there is not without rows.

        Raises:
            OutputFailed: the disk is full, or the folder cannot be written.
        """
        with self._stack:
            self._flush()
        return self.rows > 0

    def drop(self) -> None:
        """Leave nothing behind."""
        self._stack.close()
        self.path.unlink(missing_ok=True)

    def _flush(self) -> None:
        if not self._held:
            return
        table = self._table()
        self._waiting, self._held = [], 0
        with span("encode"):
            try:
                if self._writer is None:
                    part = self._stack.enter_context(whole_file(self.path))
                    # Numbers hardly occur twice: to look for those that do takes most of the time.
                    often = [f.name for f in table.schema if not pa.types.is_primitive(f.type)]
                    writer = pq.ParquetWriter(
                        part, table.schema, compression="zstd", use_dictionary=often
                    )
                    self._writer = self._stack.enter_context(writer)
                self._writer.write_table(table, row_group_size=_ROWS_OF_GROUP)
            except OSError as error:
                raise output_failed(self.path, error) from error
        self.rows += len(table)

    def _table(self) -> Any:
        """Return the rows that wait, in the order of the ids."""
        polygon = np.concatenate([rows.polygon for rows in self._waiting])
        order = np.argsort(self.polygons.rank[polygon], kind="stable")
        first = self._waiting[0]
        polygon = polygon[order]
        columns: dict[str, Any] = {ID: self.polygons.ids.take(pa.array(polygon))}
        found = {
            name: pa.chunked_array([rows.columns[name] for rows in self._waiting]).take(
                pa.array(order)
            )
            for name in first.columns
        }
        labels = found.pop(self.time, None) if self.time else None
        if labels is not None or self.scene.t:
            columns[TIME] = self._times(labels, len(polygon))
        columns[ITEM] = self._items(len(polygon))
        columns |= found
        told = {**self.told, "labels": [n for n in self.told["labels"] if n != self.time]}
        return pa.table(columns).replace_schema_metadata({_TOLD: json.dumps(told)})

    def _times(self, labels: Any, count: int) -> Any:
        """Return the labels of dates as a column."""
        if labels is None or self.scene.label >= 0:
            coded = pa.DictionaryArray.from_arrays(
                pa.array(np.zeros(count, np.int32)), pa.array([self.scene.t])
            )
        else:
            coded = labels.combine_chunks().dictionary_encode()
        texts = coded.dictionary.to_pylist()
        kind = pa.timestamp("us", "UTC") if self.instants else pa.string()
        values = [parse_time(text) for text in texts] if self.instants else texts
        return pa.array(values, kind).take(coded.indices)

    def _items(self, count: int) -> Any:
        """Return the images of each row; null where rows are of more than a day."""
        if self.scene.image is None and not has_instants([self.scene.t]):
            return pa.nulls(count, pa.list_(pa.string()))
        items = self.scene.items
        offsets = np.arange(count + 1, dtype=np.int32) * len(items)
        codes = pa.array(np.tile(np.arange(len(items), dtype=np.int32), count))
        texts = pa.array(items, pa.string()).take(codes)
        return pa.ListArray.from_arrays(pa.array(offsets), texts)
