"""A catalogue as the first version of Terrazzo wrote it: its own tables and statements."""

from __future__ import annotations

import json
import sqlite3
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TABLES = (
    """CREATE TABLE collection (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        version TEXT NOT NULL,
        longest INTEGER NOT NULL DEFAULT 0,
        body BLOB NOT NULL
    )""",
    """CREATE TABLE item (
        row INTEGER PRIMARY KEY AUTOINCREMENT,
        collection INTEGER NOT NULL REFERENCES collection (number),
        id TEXT NOT NULL,
        start INTEGER NOT NULL,
        stop INTEGER NOT NULL,
        UNIQUE (collection, id)
    )""",
    "CREATE INDEX item_of_collection ON item (collection, start, id, stop)",
    "CREATE INDEX item_in_time ON item (start, id, collection, stop)",
    """CREATE TABLE document (
        row INTEGER PRIMARY KEY REFERENCES item (row),
        properties TEXT NOT NULL,
        body BLOB NOT NULL
    )""",
    "CREATE VIRTUAL TABLE box USING rtree (row, west, east, south, north, first, last)",
)


def write_version_1(
    path: Path, collections: Iterable[dict[str, Any]], items: Iterable[tuple[dict[str, Any], int]]
) -> None:
    """Write a file of version 1; each item comes with its instant, microseconds since 1970."""
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("BEGIN")
    for statement in TABLES:
        raw.execute(statement)
    raw.execute("PRAGMA user_version = 1")
    raw.execute(f"PRAGMA application_id = {0x54525A4F}")
    numbers = {}
    for collection in collections:
        cursor = raw.execute(
            "INSERT INTO collection (id, version, body) VALUES (?, ?, ?)",
            (collection["id"], f"{collection['id']}-version", _packed(collection)),
        )
        numbers[collection["id"]] = cursor.lastrowid
    for item, start in items:
        cursor = raw.execute(
            "INSERT INTO item (collection, id, start, stop) VALUES (?, ?, ?, ?)",
            (numbers[item["collection"]], item["id"], start, start),
        )
        row, (west, south, east, north) = cursor.lastrowid, item["bbox"]
        raw.execute("INSERT INTO document VALUES (?, '{}', ?)", (row, _packed(item)))
        day = start / 86_400e6
        raw.execute(
            "INSERT INTO box VALUES (?, ?, ?, ?, ?, ?, ?)",
            (2 * (row or 0), west, east, south, north, day, day),
        )
    raw.execute("COMMIT")
    raw.close()


def _packed(document: dict[str, Any]) -> bytes:
    return zlib.compress(json.dumps(document, ensure_ascii=False).encode(), 3)
