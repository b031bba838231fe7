"""stac-geoparquet: the items of a collection as one Parquet file, and back.

Items are sorted in slices of time and within a slice along a Hilbert curve, so that a group of rows
covers a short time and a small place, and its statistics let readers skip it. With `n` groups there
are about `sqrt(n)` slices with as many items each: slices by month would make one group of several
months where items are few, and hundreds of groups that all cover the Earth where they are many.
"""

from __future__ import annotations

import json
import tempfile
import zlib
from array import array
from dataclasses import dataclass, field
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any, Final

import geopandas
import numpy as np
import shapely

from terrazzo.catalog.documents import item_period
from terrazzo.catalog.space import check_bbox
from terrazzo.drivers.catalogue_layout import (
    MOST_FIELDS,
    PROJECTED,
    Member,
    exact_json,
    geojson,
    instant_of,
    mended,
    plain,
    swapped,
    wkb,
)
from terrazzo.errors import SourceUnreadable
from terrazzo.geo.times import format_time, microseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import IO

    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

    from terrazzo.catalog import StoredItem
    from terrazzo.drivers.catalogue_layout import Patch
    from terrazzo.progress import Progress

REST: Final = "terrazzo:rest"
"""Column of JSON: what of an item the other columns cannot hold, as patches."""
ROWS: Final = 5_000
"""Rows of a group."""
TIMES: Final = frozenset({
    "datetime", "start_datetime", "end_datetime", "created", "updated", "expires", "published",
    "unpublished",
})  # fmt: skip
"""Properties that are instants, for every reader; a text that is none is only in the patches."""

_METADATA: Final = b"stac-geoparquet"
_CORE: Final = (
    "type", "stac_version", "stac_extensions", "id", "collection", "bbox", "geometry", "links",
    "assets",
)  # fmt: skip
_TAKEN: Final = frozenset({*_CORE, "properties", REST})
_CORNERS: Final = ("xmin", "ymin", "xmax", "ymax")
_CORNERS_3D: Final = ("xmin", "ymin", "zmin", "xmax", "ymax", "zmax")
_LINK: Final = {"href": "", "rel": "", "type": ""}
_HILBERT_LEVEL: Final = 16
_FULL_TURN: Final = 360.0
_READ_ROWS: Final = 500
_PLANE: Final = 2
_ODD: Final = (
    ValueError, KeyError, TypeError, AttributeError, RecursionError, shapely.errors.ShapelyError,
)  # fmt: skip
"""What the rows of a file raise that anybody may have made."""
_WAY_OUT: Final = "Export it again, or name another file."


def write_items(
    path: Path,
    items: Iterable[StoredItem],
    collections: Mapping[str, Mapping[str, Any]],
    *,
    rows: int = ROWS,
    progress: Progress,
) -> int:
    """Write items as stac-geoparquet; returns how many.

    A first pass finds the columns and keeps the items in a nameless file beside `path`, so that
    neither memory nor what others change meanwhile matters; a second one writes them in order.

    Args:
        path: the file; whoever calls sees to it that it is whole or not there.
        items: in any order.
        collections: documents for the file's metadata, by id.
        rows: of a group.
        progress: counts items, in each pass.

    Raises:
        FormatUnsuitable: the items have too many different members.
        OSError: the disk is full or the folder cannot be written.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415 - takes a while, and only this needs it

    survey = _Survey()
    with tempfile.TemporaryFile(dir=path.parent) as spool:
        for item in items:
            binary = survey.add(item.document())
            spool.write(binary)
            survey.middles.append(survey.ends[-1] + len(binary))
            survey.ends.append(survey.middles[-1] + spool.write(zlib.compress(item.plain(), 1)))
            progress.advance()
        schema = survey.schema().with_metadata(_metadata(survey, collections))
        order = survey.order(rows)
        with pq.ParquetWriter(path, schema, compression="zstd", write_page_index=True) as writer:
            for first in range(0, max(len(order), 1), rows):
                found = (_read(spool, survey, n) for n in order[first : first + rows])
                writer.write_batch(_batch(found, survey, schema), row_group_size=rows)
                progress.advance(len(order[first : first + rows]))
    return len(order)


def _read(spool: IO[bytes], survey: _Survey, number: int) -> tuple[dict[str, Any], bytes]:
    """Return an item of the first pass, and its geometry."""
    first, middle, last = survey.ends[number], survey.middles[number], survey.ends[number + 1]
    spool.seek(first)
    binary = spool.read(middle - first)
    return json.loads(zlib.decompress(spool.read(last - middle))), binary


@dataclass(slots=True)
class _Survey:
    """What the first pass over the items found, and the items themselves in a file."""

    items: Member = field(default_factory=Member)
    most: list[int] = field(default_factory=lambda: [MOST_FIELDS])
    starts: array[int] = field(default_factory=lambda: array("q"))
    centres: array[float] = field(default_factory=lambda: array("d"))
    ends: array[int] = field(default_factory=lambda: array("q", [0]))
    middles: array[int] = field(default_factory=lambda: array("q"))
    kinds: set[str] = field(default_factory=set)
    bounds: list[float] = field(default_factory=list)
    crosses: bool = False
    sides: set[int] = field(default_factory=set)
    has_rest: bool = False

    def add(self, item: dict[str, Any]) -> bytes:
        """Take in one item and return its geometry, empty where WKB cannot hold it."""
        west, south, east, north = check_bbox(item["bbox"], f"Item {item['id']!r}")
        self.crosses |= west > east
        old = self.bounds or [west, south, east, north]
        self.bounds = [*map(min, old, (west, south)), *map(max, old[2:], (east, north))]
        middle = (west + east + (_FULL_TURN if west > east else 0.0)) / 2
        self.centres.extend((middle, (south + north) / 2))
        self.starts.append(microseconds(item_period(item)[0]))
        self.sides.add(len(item["bbox"]))
        if isinstance(item.get("geometry"), dict):
            self.kinds.add(_kind(item["geometry"]))
        patches: list[Patch] = []
        self.items.see(_columns(item, patches), self.most)
        binary = wkb(item.get("geometry"))
        lost = binary is None and item.get("geometry") is not None
        self.has_rest |= lost or bool(patches) or not all(map(_is_kept, *_times(item)))
        return binary or b""

    def order(self, rows: int) -> NDArray[np.int64]:
        """Return the items' numbers, sorted in time and space."""
        starts = np.frombuffer(self.starts, np.int64)
        centres = np.frombuffer(self.centres).reshape(-1, 2)
        points = geopandas.GeoSeries.from_xy((centres[:, 0] + 180) % _FULL_TURN, centres[:, 1])
        curve = points.hilbert_distance((0, -90, _FULL_TURN, 90), level=_HILBERT_LEVEL).to_numpy()
        in_time = np.lexsort((curve, starts))
        slices = max(round(sqrt(ceil(len(starts) / rows))), 1)
        slice_of = np.empty(len(starts), np.int64)
        slice_of[in_time] = np.arange(len(starts)) * slices // max(len(starts), 1)
        found: NDArray[np.int64] = np.lexsort((starts, curve, slice_of))
        return found

    def schema(self) -> pa.Schema:
        """Return the columns."""
        import pyarrow as pa  # noqa: PLC0415 - takes a while, and only this needs it

        known, text, stamp = self.items.members, pa.string(), pa.timestamp("us", tz="UTC")
        links = known.setdefault("links", Member())
        links.see([_LINK], self.most)
        self.items.settle()
        found: dict[str, pa.DataType] = {}
        for name in ("type", "stac_version", "stac_extensions", "id", "collection"):
            default = pa.list_(text) if name == "stac_extensions" else text
            found[name] = known[name].type() if name in known else default
        found["bbox"] = pa.struct([(name, pa.float64()) for name in self.corners])
        found |= {"geometry": pa.binary(), "links": links.type()}
        if "assets" in known and known["assets"].members:
            found["assets"] = known["assets"].type()
        found["datetime"] = stamp
        for name, member in sorted(self.properties.items()):
            found[name] = stamp if name in TIMES else member.type()
        if self.has_rest or self.items.odd or len(self.sides) > 1:
            found[REST] = text
        return pa.schema(list(found.items()))

    @property
    def corners(self) -> tuple[str, ...]:
        """Members of a bbox: heights only where all have them, for other readers take no others."""
        return _CORNERS_3D if self.sides == {len(_CORNERS_3D)} else _CORNERS

    @property
    def properties(self) -> dict[str, Member]:
        """What was seen in the properties."""
        properties = self.items.members.get("properties")
        return properties.members if properties else {}


def _times(item: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    """Return the names of an item's instants, and what it says of them."""
    properties = item["properties"]
    names = [name for name in properties if name in TIMES]
    return names, [properties[name] for name in names]


def _is_kept(name: str, value: Any) -> bool:
    """Tell whether a column of instants gives back what an item says."""
    if value is None:
        return name == "datetime"
    instant = instant_of(value)
    return instant is not None and format_time(instant) == value


def _columns(item: Mapping[str, Any], patches: list[Patch]) -> dict[str, Any]:
    """Return an item without what gets no column of its own, which is noted."""
    found: dict[str, Any] = {}
    for key, value in swapped(item).items():
        if key == "properties":
            taken = _TAKEN & value.keys()
            found[key] = {k: v for k, v in value.items() if k not in taken} if taken else value
            patches += [[[key, name], value[name]] for name in sorted(taken)]
        elif key not in _CORE or (key == "assets" and not isinstance(value, dict)):
            patches.append([[key], value])
        elif key not in {"bbox", "geometry"}:
            found[key] = value
    return found


def _row(item: dict[str, Any], binary: bytes, survey: _Survey) -> dict[str, Any]:
    """Return an item as a row."""
    patches: list[Patch] = []
    members = _columns(item, patches)
    row: dict[str, Any] = {}
    for name, value in members.pop("properties").items():
        if name in TIMES:
            row[name] = instant_of(value)
            if not _is_kept(name, value):
                patches.append([["properties", name], value])
        else:
            row[name] = survey.properties[name].column(value, ("properties", name), patches)
    for name, value in members.items():
        row[name] = survey.items.members[name].column(value, (name,), patches)
    box, corners = item["bbox"], survey.corners
    if len(box) != len(corners):
        patches.append([["bbox"], box])
        box = [*box[:2], *box[3:5]]
    row["bbox"] = dict(zip(corners, box, strict=True))
    row["geometry"] = binary or None
    if not binary and item.get("geometry") is not None:
        patches.append([["geometry"], item["geometry"]])
    patches.sort(key=lambda patch: json.dumps(patch[0]))
    row[REST] = exact_json(patches) if patches else None
    return row


def _batch(
    items: Iterable[tuple[dict[str, Any], bytes]], survey: _Survey, schema: pa.Schema
) -> pa.RecordBatch:
    """Return items as rows."""
    import pyarrow as pa  # noqa: PLC0415 - takes a while, and only this needs it

    rows = [_row(item, binary, survey) for item, binary in items]
    arrays = [pa.array([row.get(one.name) for row in rows], one.type) for one in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _metadata(survey: _Survey, collections: Mapping[str, Mapping[str, Any]]) -> dict[bytes, bytes]:
    """Return what GeoParquet 1.1 and stac-geoparquet 1.0 say of a file."""
    covering = {name: ["bbox", name] for name in _CORNERS}
    geometry: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted(survey.kinds),
        "covering": {"bbox": covering},
    }
    if survey.bounds and not survey.crosses:
        geometry["bbox"] = survey.bounds
    columns = {"geometry": geometry}
    if survey.properties.get(PROJECTED, Member()).is_binary:
        columns[PROJECTED] = {"encoding": "WKB", "geometry_types": [], "crs": None}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": columns}
    stac = {"version": "1.0.0", "collections": {name: dict(c) for name, c in collections.items()}}
    return {b"geo": json.dumps(geo).encode(), _METADATA: json.dumps(stac).encode()}


def _kind(geometry: dict[str, Any]) -> str:
    """Return the type of a geometry as GeoParquet has it."""
    position = geometry.get("coordinates")
    while isinstance(position, list) and position and isinstance(position[0], list):
        position = position[0]
    return f"{geometry.get('type')}{' Z' if len(position or ()) > _PLANE else ''}"


def count_items(path: Path) -> int:
    """Return how many items a file has.

    Raises:
        SourceUnreadable: it is no Parquet file.
    """
    return int(_metadata_of(path).num_rows)


def read_collections(path: Path) -> dict[str, dict[str, Any]]:
    """Return the collections that a stac-geoparquet file tells of, by id.

    Raises:
        SourceUnreadable: it is no Parquet file.
    """
    try:
        found = json.loads((_metadata_of(path).metadata or {}).get(_METADATA, b"{}"))
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error
    told = found if isinstance(found, dict) else {}
    several = told.get("collections") or told.get("stac:collections") or {}
    one = told.get("collection") or told.get("stac:collection")
    documents = [*several.values()] if isinstance(several, dict) else []
    documents += [one] if one else []
    return {c["id"]: c for c in documents if isinstance(c, dict) and isinstance(c.get("id"), str)}


def _metadata_of(path: Path) -> pq.FileMetaData:
    import pyarrow as pa  # noqa: PLC0415 - takes a while, and only this needs it
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        return pq.read_metadata(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_items(path: Path) -> Iterator[dict[str, Any]]:
    """Stream the items of a stac-geoparquet file: ours, or one that another program wrote.

    Raises:
        SourceUnreadable: it is no stac-geoparquet file.
        ArgumentInvalid: what the file notes of an item does not fit it.
    """
    import pyarrow as pa  # noqa: PLC0415 - takes a while, and only this needs it
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with pq.ParquetFile(path) as file:
            lacking = {"id", "geometry"} - set(file.schema_arrow.names)
            if lacking:
                names = " and ".join(sorted(lacking))
                raise SourceUnreadable(path.name, "items", f"it has no column {names}", _WAY_OUT)
            for batch in file.iter_batches(_READ_ROWS):
                yield from _items(batch)
    except (pa.ArrowException, OSError, *_ODD) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> SourceUnreadable:
    reason = str(error).partition("\n")[0]
    return SourceUnreadable(path.name, "items", f"it is no stac-geoparquet ({reason})", _WAY_OUT)


def _items(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Return the items of some rows."""
    names = batch.schema.names
    columns = [batch.column(number).to_pylist() for number in range(len(names))]
    for values in zip(*columns, strict=True):
        row = dict(zip(names, values, strict=True))
        patches = json.loads(row.pop(REST, None) or "[]")
        yield mended(_item(row), patches)


def _item(row: dict[str, Any]) -> dict[str, Any]:
    """Return the item of a row, with everything that STAC requires of one."""
    bbox, geometry = row.get("bbox"), row.get("geometry")
    if isinstance(bbox, dict):
        flat = bbox.get("zmin") is None and bbox.get("zmax") is None
        bbox = [bbox[name] for name in (_CORNERS if flat else _CORNERS_3D)]
    if isinstance(geometry, bytes):
        geometry = geojson(shapely.from_wkb(geometry))
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": row.get("stac_version"),
        "stac_extensions": row.get("stac_extensions") or [],
        "id": row["id"],
        "collection": row.get("collection"),
        "bbox": bbox,
        "geometry": geometry,
        "properties": {"datetime": None},
        "links": plain(row.get("links")) or [],
        "assets": plain(row.get("assets")) or {},
    }
    properties = {name: plain(v) for name, v in row.items() if name not in _CORE and v is not None}
    item["properties"] |= properties
    return {name: value for name, value in item.items() if value is not None or name == "geometry"}
