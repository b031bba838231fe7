"""Inventories: a table of all files of a catalogue's items, for DuckDB and spreadsheets."""

from __future__ import annotations

import csv
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog.stac import read_projection
from terrazzo.drivers.catalogue_layout import instant_of
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import pyarrow as pa

INVENTORIES: Final = (".parquet", ".csv")
COLUMNS: Final = (
    "collection", "item", "datetime", "start_datetime", "end_datetime", "west", "south", "east",
    "north", "asset", "href", "type", "roles", "bytes", "checksum", "gsd", "crs", "status",
)  # fmt: skip
_ROWS: Final = 10_000
_TIMES: Final = ("datetime", "start_datetime", "end_datetime")
_NUMBERS: Final = ("west", "south", "east", "north", "gsd")


def write_inventory(path: Path, items: Iterable[Mapping[str, Any]]) -> int:
    """Write a row for each file of items; returns how many.

    Args:
        path: ends in .parquet or .csv.
        items: STAC items.
    """
    rows = chain.from_iterable(map(inventory_rows, items))
    return _csv(path, rows) if path.suffix.lower() == ".csv" else _parquet(path, rows)


def inventory_rows(item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return what is known of an item's files; a field is null where nobody states it."""
    properties = item["properties"]
    bbox = item["bbox"]
    west, south, east, north = bbox if len(bbox) == 4 else (*bbox[:2], *bbox[3:5])  # noqa: PLR2004
    shared = {
        "collection": item["collection"],
        "item": item["id"],
        **{name: instant_of(properties.get(name)) for name in _TIMES},
        "west": west,
        "south": south,
        "east": east,
        "north": north,
    }
    assets = item.get("assets")
    for key, asset in assets.items() if isinstance(assets, dict) else ():
        if not isinstance(asset, dict):
            continue
        size = asset.get("file:size")
        yield shared | {
            "asset": key,
            "href": _text(asset.get("href")),
            "type": _text(asset.get("type")),
            "roles": [r for r in asset.get("roles") or () if isinstance(r, str)],
            "bytes": size if type(size) is int and 0 <= size < 2**63 else None,
            "checksum": _text(asset.get("file:checksum")),
            "gsd": _number(asset.get("gsd", properties.get("gsd"))),
            "crs": _crs(item, key),
            "status": _text(asset.get("order:status", properties.get("order:status"))),
        }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _crs(item: Mapping[str, Any], key: str) -> str | None:
    """Return the CRS of a file, None where it is not stated or unknown."""
    try:
        grid = read_projection(item, key)
    except (ArgumentInvalid, TypeError, ValueError):
        return None
    return grid.crs if grid else None


def _schema() -> pa.Schema:
    import pyarrow as pa  # noqa: PLC0415 - takes a while, and only this needs it

    types = dict.fromkeys(COLUMNS, pa.string())
    types |= dict.fromkeys(_TIMES, pa.timestamp("us", tz="UTC"))
    types |= dict.fromkeys(_NUMBERS, pa.float64())
    types |= {"roles": pa.list_(pa.string()), "bytes": pa.int64()}
    return pa.schema(list(types.items()))


def _parquet(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    import pyarrow as pa  # noqa: PLC0415 - takes a while, and only this needs it
    import pyarrow.parquet as pq  # noqa: PLC0415

    schema, count = _schema(), 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while part := list(islice(rows, _ROWS)):
            writer.write_batch(pa.RecordBatch.from_pylist(part, schema))
            count += len(part)
    return count


def _csv(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    """Write text; roles are set apart by semicolons."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for count, row in enumerate(rows, 1):  # noqa: B007 - counted to the end
            times = {name: format_time(row[name]) for name in _TIMES if row[name]}
            writer.writerow(row | times | {"roles": ";".join(row["roles"])})
    return count
