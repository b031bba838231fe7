"""Catalogues of earlier versions: how their documents are read, to be put into today's tables.

All is one transaction. A program that is stopped half-way leaves the file as it was, and the next
one begins again.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog.documents import ItemRow, item_row
from terrazzo.catalog.rows import put_rows
from terrazzo.catalog.survey import Gathering, Survey

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from terrazzo.progress import Progress

_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier version of the tables."""

    aside: tuple[str, ...]
    """Statements that make room for today's tables; the old ones get names with `old_`."""
    read: Callable[[bytes], dict[str, Any]]
    """Reads a document."""
    done: tuple[str, ...]
    """Statements that drop the old tables."""


def _of_1(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(zlib.decompress(body))
    return found


EARLIER: Final[Mapping[int, Earlier]] = {
    1: Earlier(
        aside=(
            "DROP INDEX item_of_collection",
            "DROP INDEX item_in_time",
            "DROP TABLE box",
            "ALTER TABLE collection RENAME TO old_collection",
            "ALTER TABLE item RENAME TO old_item",
            "ALTER TABLE document RENAME TO old_document",
        ),
        read=_of_1,
        done=("DROP TABLE old_document", "DROP TABLE old_item", "DROP TABLE old_collection"),
    )
}
"""By `user_version`."""


def move(
    connection: sqlite3.Connection, earlier: Earlier, tables: Sequence[str], progress: Progress
) -> None:
    """Move collections and items from an earlier version's tables into today's.

    Args:
        connection: in a transaction.
        earlier: what there is.
        tables: statements that make today's.
        progress: is told of the items.
    """
    for statement in (*earlier.aside, *tables):
        connection.execute(statement)
    connection.execute(
        "INSERT INTO collection (number, id, version, longest, body) "
        "SELECT number, id, version, longest, body FROM old_collection"
    )
    (count,) = connection.execute("SELECT count(*) FROM old_item").fetchone()
    progress.start(count, "items")
    last, surveys = 0, dict[int, Survey]()
    while rows := connection.execute(
        "SELECT i.row, i.collection, d.body FROM old_item i CROSS JOIN old_document d "
        "ON d.row = i.row WHERE i.row > ? ORDER BY i.row LIMIT ?",
        (last, _BATCH),
    ).fetchall():
        for number in sorted({number for _, number, _ in rows}):
            gathering = Gathering(surveys.setdefault(number, Survey()))
            items = dict[int, ItemRow]()
            for row, document in ((r, earlier.read(body)) for r, of, body in rows if of == number):
                items[row] = item_row(document)
                gathering.add(document, (items[row].start, items[row].stop))
            gathering.done()
            put_rows(connection, number, items)
        last = rows[-1][0]
        progress.advance(len(rows))
    for (number,) in connection.execute("SELECT number FROM collection").fetchall():
        text = surveys.get(number, Survey()).to_text()
        connection.execute("UPDATE collection SET survey = ? WHERE number = ?", (text, number))
    for statement in earlier.done:
        connection.execute(statement)
    progress.finish()
