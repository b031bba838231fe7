"""GeoParquet 1.1 of any size: sorted in space, with boxes by which readers leave parts out.

Features come in batches and are put aside beside the file as they come; when all boxes are known
they are written along a Hilbert curve. Memory holds a row group and 48 bytes per feature.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from terrazzo.errors import ArgumentInvalid, suggest
from terrazzo.geo.crs import crs_object
from terrazzo.geo.hilbert import hilbert_order
from terrazzo.geo.times import format_time, parse_time
from terrazzo.spans import span
from terrazzo.storage.vectors.features import columns_of
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.geo.grid import Bounds
    from terrazzo.storage.vectors.features import Features, Shapes

ROWS_OF_GROUP, BYTES_OF_GROUP = 16_384, 32_000_000
"""What a row group holds at most: features, and bytes of their geometries."""
FACTS: Final = b"terrazzo"
"""Key of the schema's metadata under which the facts of a file are kept."""
_EDGES: Final = ("xmin", "ymin", "xmax", "ymax")
_DAY_LETTERS: Final = 10


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What is known of a file of features without its rows."""

    rows: int
    """Features."""
    crs: str
    """Canonical name of the CRS."""
    bounds: tuple[float, ...]
    """Left, bottom, right, top of all geometries; empty where there is none."""
    types: tuple[str, ...]
    """Types of the geometries as GeoParquet names them, in order."""
    columns: tuple[Mapping[str, str], ...]
    """Name and type of the attributes, then of the geometry."""
    geometry: str
    """Name of the column of geometries."""
    box: str
    """Name of the column of their boxes."""
    row: str
    """Name of the column that says which row of its source a feature was."""
    id: str = ""
    """Attribute that names the features; empty for none."""
    date: str = ""
    """Attribute that says when a feature was; empty for none."""
    period: tuple[str, ...] = ()
    """First time, and the time that is behind the last one, of `date`; RFC 3339."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """How many features are `invalid`, `missing` a geometry, ...; only what is more than none."""

    def to_json(self) -> str:
        """Return what `of_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str | bytes) -> TableFacts:
        """Read what `to_json` returned."""
        told: dict[str, Any] = json.loads(text)
        told |= {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
        return cls(**told)


def look_at(features: Features, *, id_column: str = "", date_column: str = "") -> TableFacts:
    """Return the facts of features without writing them; as `write_features`.

    Raises:
        ArgumentInvalid: there is no such column, or it holds no dates.
        SourceUnreadable: the source is damaged.
    """
    seen = _Seen(features, id_column, date_column)
    for batch, shapes in features.batches:
        seen.add(batch, shapes)
    return seen.facts()


def write_features(
    path: Path, features: Features, *, id_column: str = "", date_column: str = ""
) -> TableFacts:
    """Write features as GeoParquet 1.1, and return what is known of them.

    Attributes keep name, type and nulls. Invalid rings are kept. A geometry with a coordinate that
    is no number becomes none. Besides, each feature has its box and the number of its row.

    Args:
        path: ends in .parquet; replaced if there.
        features: the source.
        id_column: attribute that names the features.
        date_column: attribute that says when they were.

    Raises:
        ArgumentInvalid: there is no such column, or it holds no dates.
        SourceUnreadable: the source is damaged.
        OutputFailed: disk full or folder not writable; nothing is left behind.
    """
    seen = _Seen(features, id_column, date_column)
    with whole_file(path) as part, span("encode"), ExitStack() as stack:
        aside = part.with_suffix(".arrow")
        stack.callback(aside.unlink, missing_ok=True)
        with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, seen.stored) as spool:
            for batch, shapes in features.batches:
                spool.write_batch(seen.add(batch, shapes))
        facts = seen.facts()
        order = hilbert_order(seen.boxes, seen.whole)
        schema = seen.stored.with_metadata(
            {b"geo": json.dumps(_geo(facts)).encode(), FACTS: facts.to_json().encode()}
        )
        with (
            pa.memory_map(str(aside)) as mapped,
            pq.ParquetWriter(part, schema, compression="zstd", write_page_index=True) as writer,
        ):
            for table in _groups(pa.ipc.open_file(mapped), order, seen.sizes):
                writer.write_table(table.cast(schema), row_group_size=len(table))
    return facts


def _groups(reader: Any, order: NDArray[np.int64], sizes: NDArray[np.int64]) -> Iterator[Any]:
    """Yield the rows of a file in an order, as tables of a group's size."""
    batches = [reader.get_batch(n) for n in range(reader.num_record_batches)]
    starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    for rows in _cut(order, sizes[order]):
        number = np.searchsorted(starts, rows, side="right") - 1
        first = np.argsort(number, kind="stable")
        parts = []
        for one in np.unique(number):
            mine = rows[first][number[first] == one]
            parts.append(pa.Table.from_batches([batches[one]]).take(pa.array(mine - starts[one])))
        back = np.empty(len(rows), np.int64)
        back[first] = np.arange(len(rows))
        yield pa.concat_tables(parts).combine_chunks().take(pa.array(back))


def _cut(order: NDArray[np.int64], sizes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield an order in pieces that are small enough to be row groups."""
    ends, start = np.cumsum(sizes), 0
    while start < len(order):
        before = int(ends[start] - sizes[start])
        stop = int(np.searchsorted(ends, before + BYTES_OF_GROUP, side="right"))
        stop = max(start + 1, min(stop, start + ROWS_OF_GROUP, len(order)))
        yield order[start:stop]
        start = stop


class _Seen:
    """Takes features in, batch by batch, and knows about all of them in the end."""

    def __init__(self, features: Features, id_column: str, date_column: str) -> None:
        self._features, self._id, self._date = features, id_column, date_column
        names = features.schema.names
        for option, name in (("--id", id_column), ("--date", date_column)):
            if name and name not in names:
                raise ArgumentInvalid(
                    f"There is no attribute {name!r} ({option}).{suggest(name, names)} Attributes: "
                    f"{', '.join(names)[:500] or 'none'}."
                )
        self._geometry = free_name("geometry", names)
        self._box, self._row = free_name("bbox", names), free_name("_row", names)
        self.stored = pa.schema(
            [
                *features.schema,
                pa.field(self._row, pa.int64()),
                pa.field(self._box, pa.struct([(edge, pa.float64()) for edge in _EDGES])),
                pa.field(self._geometry, pa.binary()),
            ]
        )
        self._boxes: list[NDArray[np.float64]] = []
        self._sizes: list[NDArray[np.int64]] = []
        self._types: dict[str, None] = {}
        self._notes = dict.fromkeys(("invalid", "missing", "not finite", "collections"), 0)
        self._rows = 0
        self._times: list[datetime] = []
        self._ids: list[Any] = []

    @property
    def boxes(self) -> NDArray[np.float64]:
        """(n, 4) boxes of the geometries, NaN where there is none."""
        return np.concatenate([np.zeros((0, 4)), *self._boxes])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(n,) bytes of each geometry."""
        return np.concatenate([np.zeros(0, np.int64), *self._sizes])

    @property
    def whole(self) -> Bounds:
        """The box of all geometries; zeros where there is none."""
        boxes = self.boxes
        there = boxes[~np.isnan(boxes).any(axis=1)]
        if not len(there):
            return 0.0, 0.0, 0.0, 0.0
        low, high = there.min(axis=0), there.max(axis=0)
        return float(low[0]), float(low[1]), float(high[2]), float(high[3])

    def add(self, batch: Any, shapes: Shapes) -> Any:
        """Take a batch in; return it as it is stored."""
        with np.errstate(invalid="ignore"):  # GEOS tells NumPy of coordinates that are NaN
            return self._add(batch, shapes)

    def _add(self, batch: Any, shapes: Shapes) -> Any:
        points, owner = shapely.get_coordinates(shapes, include_z=True, return_index=True)
        finite = np.isfinite(points[:, :2]).all(axis=1) & ~np.isinf(points[:, 2])
        lost = np.unique(owner[~finite])
        shapes[lost] = None
        there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
        self._notes["not finite"] += len(lost)
        self._notes["missing"] += int((~there).sum()) - len(lost)
        self._notes["invalid"] += int((~shapely.is_valid(shapes) & there).sum())
        kinds = shapely.get_type_id(shapes)
        self._notes["collections"] += int((kinds == shapely.GeometryType.GEOMETRYCOLLECTION).sum())
        for shape in shapes[~shapely.is_missing(shapes)]:
            self._types[f"{shape.geom_type}{' Z' if shape.has_z else ''}"] = None
        wkb = pa.array(shapely.to_wkb(shapes, flavor="iso"), pa.binary())
        boxes = shapely.bounds(shapes)
        self._boxes.append(boxes)
        self._sizes.append(pc.fill_null(pc.binary_length(wkb), 0).to_numpy().astype(np.int64))
        if self._date:
            self._times += _ends(batch.column(self._date), self._date)
        if self._id:
            self._ids.append(batch.column(self._id))
        rows = pa.array(np.arange(self._rows, self._rows + len(shapes), dtype=np.int64))
        self._rows += len(shapes)
        struct = pa.StructArray.from_arrays(
            [pa.array(side) for side in boxes.T], _EDGES, mask=pa.array(~there)
        )
        return pa.record_batch([*batch.columns, rows, struct, wkb], schema=self.stored)

    def facts(self) -> TableFacts:
        """Return what is known of all that was taken in."""
        notes = dict(self._notes)
        if self._id:
            ids = pa.chunked_array(self._ids, self._features.schema.field(self._id).type)
            notes["same ids"] = len(ids) - int(pc.count_distinct(ids, mode="all").as_py())
        times = [format_time(one) for one in (min(self._times), max(self._times))] if (
            self._times
        ) else []  # fmt: skip
        return TableFacts(
            rows=self._rows,
            crs=self._features.crs,
            bounds=self.whole if np.isfinite(self.boxes).any() else (),
            types=tuple(sorted(self._types)),
            columns=(
                *columns_of(self._features.schema),
                {"name": self._geometry, "type": "geometry"},
            ),
            geometry=self._geometry,
            box=self._box,
            row=self._row,
            id=self._id,
            date=self._date,
            period=tuple(times),
            notes={name: count for name, count in notes.items() if count},
        )


def free_name(name: str, taken: Sequence[str]) -> str:
    """Return a name that is not taken: with as many `_` behind it as that needs."""
    while name in taken:
        name += "_"
    return name


def _ends(column: Any, name: str) -> list[datetime]:
    """Return the first time of a column, and the time right behind its last one.

    Raises:
        ArgumentInvalid: it holds no dates.
    """
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        told = [text for text in pc.unique(column).to_pylist() if text is not None]
        spans = [(parse_time(text), _step(text)) for text in told]
    elif pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        whole = pa.types.is_date(kind)
        plain = column.cast(pa.date32() if whole else pa.timestamp("us", kind.tz), safe=False)
        ends = pc.min_max(plain).as_py()
        step = timedelta(days=1) if whole else timedelta(microseconds=1)
        spans = [(as_instant(one), step) for one in ends.values() if one is not None]
    else:
        raise ArgumentInvalid(
            f"--date {name}: the column holds {kind}. Name one of dates, times or texts such as "
            "2018-05-01."
        )
    if not spans:
        return []
    return [min(start for start, _ in spans), max(_behind(*one) for one in spans)]


def _behind(start: datetime, step: timedelta) -> datetime:
    """Return a time a step later, or the last one: 9999-12-31 often stands for "until now"."""
    last = datetime.max.replace(tzinfo=UTC)
    return start + step if start <= last - step else last


def _step(text: str) -> timedelta:
    return timedelta(days=1) if len(text) <= _DAY_LETTERS else timedelta(microseconds=1)


def as_instant(value: date | datetime | str) -> datetime:
    """Return a date (midnight UTC), a time (UTC if it has no zone) or a text of one as a time."""
    if isinstance(value, str):
        return parse_time(value)
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def _geo(facts: TableFacts) -> dict[str, Any]:
    """Return what GeoParquet says of the geometries."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": list(facts.types),
        "crs": crs_object(facts.crs).to_json_dict(),
        "covering": {"bbox": {edge: [facts.box, edge] for edge in _EDGES}},
    }
    if facts.bounds and not any(kind.endswith(" Z") for kind in facts.types):
        column["bbox"] = list(facts.bounds)
    return {
        "version": "1.1.0",
        "primary_column": facts.geometry,
        "columns": {facts.geometry: column},
    }
