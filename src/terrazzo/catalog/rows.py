"""The rows of items: written and deleted together, in the transaction of whoever calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from terrazzo.catalog.packing import dictionary_of, packed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from terrazzo.catalog.documents import ItemRow

_DAY = 86_400e6

_PUT_ITEM = """
    INSERT INTO item (row, collection, id, start, stop, footprint, properties)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (row) DO UPDATE SET start = excluded.start, stop = excluded.stop,
    footprint = excluded.footprint, properties = excluded.properties"""
_PUT_DOCUMENT = "INSERT OR REPLACE INTO document (row, body) VALUES (?, ?)"
_PUT_BOX = "INSERT OR REPLACE INTO box VALUES (?, ?, ?, ?, ?, ?, ?)"
_DROP_BOX = "DELETE FROM box WHERE row = ?"
_ROWS_OF = """
    SELECT i.id, i.row FROM json_each(?) k CROSS JOIN item i
    ON i.collection = ? AND i.id = k.value"""


def rows_of(connection: sqlite3.Connection, number: int, ids: Sequence[str]) -> dict[str, int]:
    """Return the rows of those items of a collection that are there, by id."""
    return dict(connection.execute(_ROWS_OF, (json.dumps(list(ids)), number)).fetchall())


def next_row(connection: sqlite3.Connection) -> int:
    """Return a row that no item has ever had."""
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'item'").fetchone()
    return int(found[0]) + 1 if found else 1


def dictionary_for(connection: sqlite3.Connection, number: int, text: bytes) -> bytes:
    """Return the dictionary of a collection; its first item becomes it."""
    (found,) = connection.execute(
        "SELECT dictionary FROM collection WHERE number = ?", (number,)
    ).fetchone()
    if found is None:
        found = dictionary_of(text)
        connection.execute("UPDATE collection SET dictionary = ? WHERE number = ?", (found, number))
    return bytes(found)


def put_rows(
    connection: sqlite3.Connection,
    number: int,
    rows: Mapping[int, ItemRow],
    replaced: Sequence[int] = (),
) -> None:
    """Write items of one collection.

    Args:
        connection: in a transaction.
        number: of the collection.
        rows: the items, at least one, by row.
        replaced: those of the rows that are there already.
    """
    dictionary = dictionary_for(connection, number, next(iter(rows.values())).stored.text)
    connection.executemany(
        _PUT_ITEM,
        [
            (row, number, one.id, one.start, one.stop, one.footprint, one.properties)
            for row, one in rows.items()
        ],
    )
    connection.executemany(
        _PUT_DOCUMENT, [(row, packed(one.stored.text, dictionary)) for row, one in rows.items()]
    )
    connection.executemany(
        _PUT_BOX,
        [
            (2 * row + part, west, east, south, north, one.start / _DAY, one.stop / _DAY)
            for row, one in rows.items()
            for part, (west, south, east, north) in enumerate(one.boxes)
        ],
    )
    halves = [(2 * row + 1,) for row in replaced if len(rows[row].boxes) == 1]
    connection.executemany(_DROP_BOX, halves)


def delete_rows(connection: sqlite3.Connection, rows: Sequence[int]) -> None:
    """Delete items with their documents and boxes."""
    connection.executemany(_DROP_BOX, [(2 * row + part,) for row in rows for part in (0, 1)])
    connection.executemany("DELETE FROM document WHERE row = ?", [(row,) for row in rows])
    connection.executemany("DELETE FROM item WHERE row = ?", [(row,) for row in rows])
