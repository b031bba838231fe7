"""Features of a GeoParquet file, chosen by place, time and attributes.

Of a file with boxes only the row groups are read whose boxes touch the place that is asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from terrazzo.errors import PlanTooLarge, SourceUnreadable
from terrazzo.geo.times import contains
from terrazzo.spans import span
from terrazzo.storage.vectors.reading import plain_value, recognised
from terrazzo.storage.vectors.stored import FACTS, TableFacts, as_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from terrazzo.geo.grid import Bounds
    from terrazzo.geo.times import Interval
    from terrazzo.storage.gate import Gate

MOST_FEATURES, MOST_BYTES = 500_000, 1_000_000_000
"""What a graph may load: features become Python objects, some kB each."""
_BATCH: Final = 1024
"""Rows that are decoded at once: a text may be stored once for all rows of a group."""
DAMAGED: Final = (OSError, ValueError, TypeError, LookupError, pa.ArrowException)
"""What Arrow raises for files that are damaged or cut short."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Which features are wanted."""

    boxes: Sequence[Bounds] | None = None
    """Boxes in the CRS of the file, of which a feature touches one; None for anywhere."""
    interval: Interval | None = None
    """When, half-open, by the attribute of dates if there is one; None for any time."""
    conditions: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict)
    """What the values of attributes must meet; one that is null meets nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Features, in the order of their source."""

    shapes: tuple[BaseGeometry, ...]
    """In the CRS of the file; a missing geometry is an empty one."""
    ids: tuple[Any, ...]
    """Values of the attribute that names them, or None; see `TableFacts.id`."""
    properties: tuple[Mapping[str, Any], ...]
    """Their attributes, JSON values."""


def table_facts(path: Path, gate: Gate) -> TableFacts:
    """Return what a file that Terrazzo wrote says of itself.

    Raises:
        AssetForbidden: outside the roots.
        SourceUnreadable: gone, damaged, or not written by Terrazzo.
    """
    real = recognised(path, gate)
    try:
        with real.open("rb") as file:
            return TableFacts.of_json(pq.read_schema(file).metadata[FACTS])
    except DAMAGED:
        raise SourceUnreadable(
            real.parent.name, real.stem, "the file is gone, damaged or another one"
        ) from None


def read_features(path: Path, gate: Gate, choice: Choice, *, room: int = MOST_FEATURES) -> Chosen:
    """Read the features that are wanted.

    Args:
        path: a file that `write_features` wrote.
        gate: what may be read.
        choice: which.
        room: how many there may be.

    Raises:
        AssetForbidden: outside the roots.
        SourceUnreadable: gone or damaged.
        PlanTooLarge: there are more.
    """
    facts = table_facts(path, gate)
    rows: list[NDArray[np.int64]] = []
    shapes: list[Any] = []
    ids: list[Any] = []
    properties: list[Mapping[str, Any]] = []
    size = 0
    try:
        with recognised(path, gate).open("rb") as file, span("decode"):
            parquet = pq.ParquetFile(file)
            groups = groups_touching(parquet, facts, choice.boxes)
            for batch in parquet.iter_batches(_BATCH, row_groups=groups):
                table = _chosen(pa.Table.from_batches([batch]), facts, choice)
                size += table.nbytes
                if len(shapes) + len(table) > room or size > MOST_BYTES:
                    raise _too_many(room)
                rows.append(table.column(facts.row).to_numpy())
                shapes += shapely.from_wkb(table.column(facts.geometry).to_pylist()).tolist()
                named = attributes_of(table, facts)
                ids += named[facts.id] if facts.id else [None] * len(table)
                properties += [
                    dict(zip(named, values, strict=True))
                    for values in zip(*named.values(), strict=True)
                ] or [{} for _ in range(len(table))]
    except (*DAMAGED, shapely.errors.GEOSException) as error:
        raise SourceUnreadable(
            path.parent.name, path.stem, f"it is damaged or cut short ({type(error).__name__})"
        ) from None
    order = np.argsort(np.concatenate([np.zeros(0, np.int64), *rows]), kind="stable").tolist()
    empty = shapely.Polygon()
    return Chosen(
        tuple(empty if shapes[n] is None else shapes[n] for n in order),
        tuple(ids[n] for n in order),
        tuple(properties[n] for n in order),
    )


def _too_many(room: int) -> PlanTooLarge:
    return PlanTooLarge(
        f"More than {room:,} geometries, or {MOST_BYTES:,} bytes of them, are asked for, and a "
        "graph holds no more. Narrow `spatial_extent`, or give conditions on attributes with "
        "`properties`."
    )


def groups_touching(parquet: Any, facts: TableFacts, boxes: Sequence[Bounds] | None) -> list[int]:
    """Return the row groups that may hold something that touches one of the boxes."""
    meta = parquet.metadata
    if boxes is None:
        return list(range(meta.num_row_groups))
    numbers = {meta.schema.column(n).path: n for n in range(meta.num_columns)}
    sides = [numbers[f"{facts.box}.{edge}"] for edge in ("xmin", "ymin", "xmax", "ymax")]
    found = []
    for group in range(meta.num_row_groups):
        held = [meta.row_group(group).column(n).statistics for n in sides]
        if any(one is None or not one.has_min_max for one in held):
            empty = all(one is not None and one.null_count == one.num_values + one.null_count
                        and not one.num_values for one in held)  # fmt: skip
            found += [] if empty else [group]
            continue
        whole = np.array([[held[0].min, held[1].min, held[2].max, held[3].max]])
        if touching(whole, boxes).any():
            found.append(group)
    return found


def touching(held: NDArray[np.float64], boxes: Sequence[Bounds]) -> NDArray[np.bool_]:
    """Tell which of (n, 4) boxes touch one of several; NaN touches none."""
    found = np.zeros(len(held), np.bool_)
    for left, bottom, right, top in boxes:
        found |= (
            (held[:, 0] <= right)
            & (held[:, 2] >= left)
            & (held[:, 1] <= top)
            & (held[:, 3] >= bottom)
        )
    return found


def _chosen(table: Any, facts: TableFacts, choice: Choice) -> Any:
    """Return the wanted rows of a table."""
    kept = np.ones(len(table), np.bool_)
    if choice.boxes is not None:
        struct = table.column(facts.box).combine_chunks()
        edges = [struct.field(n).to_numpy(zero_copy_only=False) for n in range(4)]
        there = struct.is_valid().to_numpy(zero_copy_only=False)
        kept &= touching(np.stack(edges, axis=1).astype(np.float64), choice.boxes) & there
    if choice.interval is not None and facts.date:
        interval = choice.interval
        kept &= _meets(table, facts.date, lambda value: contains(interval, as_instant(value)))
    for name, test in choice.conditions.items():
        kept &= _meets(table, name, lambda value, test=test: test(plain_value(value)))  # type: ignore[misc]
    return table.filter(pa.array(kept))


def _meets(table: Any, name: str, test: Callable[[Any], bool]) -> NDArray[np.bool_]:
    """Tell which values of a column meet a condition; each different one is asked for once."""
    known: dict[Any, bool] = {None: False}
    found = []
    for value in table.column(name).to_pylist():
        key = value if value is None else (type(value), repr(value))
        if key not in known:
            known[key] = test(value)
        found.append(known[key])
    return np.array(found, np.bool_)


def attributes_of(table: Any, facts: TableFacts) -> dict[str, list[Any]]:
    """Return the attributes of rows as JSON values, by name."""
    own = {facts.geometry, facts.box, facts.row}
    found = {}
    for schema_field in table.schema:
        if schema_field.name in own:
            continue
        values = table.column(schema_field.name).to_pylist()
        convert = _of_json if isinstance(schema_field.type, pa.JsonType) else plain_value
        found[schema_field.name] = [convert(value) for value in values]
    return found


def _of_json(text: str | None) -> Any:
    """Return what JSON says; a text that is none stays one."""
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text
