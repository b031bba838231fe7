"""Whether the file of a catalogue is sound: its pages, its tables, and each item with its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from terrazzo.catalog.batches import kept_survey
from terrazzo.catalog.documents import item_row
from terrazzo.catalog.packing import DAMAGED, unpacked
from terrazzo.catalog.stored import StoredItem
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from terrazzo.progress import Progress

_BATCH: Final = 1000
_UNREADABLE: Final = (ArgumentInvalid, ValueError, TypeError, KeyError, RecursionError)
_MOST: Final = 10
_DAY: Final = 86_400e6
_ORPHANS: Final = {
    "item has no document": "SELECT row FROM item WHERE row NOT IN (SELECT row FROM document)",
    "item has no box": "SELECT row FROM item WHERE 2 * row NOT IN (SELECT row FROM box)",
    "document has no item": "SELECT row FROM document WHERE row NOT IN (SELECT row FROM item)",
    "box has no item": "SELECT row FROM box WHERE row >> 1 NOT IN (SELECT row FROM item)",
    "item has no collection": "SELECT row FROM item WHERE collection NOT IN "
    "(SELECT number FROM collection)",
}
_ITEMS: Final = """
    SELECT i.row, c.id, i.id, i.start, i.stop, i.footprint, i.properties, c.longest, d.body,
    c.dictionary FROM item i CROSS JOIN document d ON d.row = i.row
    CROSS JOIN collection c ON c.number = i.collection WHERE i.row > ? ORDER BY i.row LIMIT ?"""
_BOXES: Final = "SELECT west, south, east, north, first, last FROM box WHERE row IN (?, ?)"


def problems(connection: sqlite3.Connection, progress: Progress) -> Iterator[str]:
    """Tell what is wrong with a catalogue, as it is at one moment.

    Args:
        connection: of nobody else; it is in a transaction when this ends.
        progress: is told of the items.
    """
    connection.execute("BEGIN")
    for sql in ("PRAGMA integrity_check", "SELECT rtreecheck('box')"):
        for (found,) in connection.execute(sql):
            if found != "ok":
                yield f"The file is damaged: {found}."
    for what, sql in _ORPHANS.items():
        rows = [row for (row,) in connection.execute(sql)]
        if rows:
            listed = ", ".join(map(str, rows[:_MOST]))
            yield f"{len(rows)} times: {what} (rows {listed}{', ...' * (len(rows) > _MOST)})."
    (count,) = connection.execute("SELECT count(*) FROM item").fetchone()
    progress.start(count, "items")
    last = 0
    while rows := connection.execute(_ITEMS, (last, _BATCH)).fetchall():
        for row in rows:
            wrong = _wrong(connection, row)
            if wrong:
                yield f"Item {row[2]!r} of collection {row[1]!r}: {wrong}."
        last = rows[-1][0]
        progress.advance(len(rows))
    progress.finish()
    yield from _miscounted(connection)


def _wrong(connection: sqlite3.Connection, row: tuple[object, ...]) -> str:
    """Say what is wrong with an item; empty if nothing is."""
    key, collection, name, start, stop, footprint, properties, longest, body, dictionary = row
    if not isinstance(body, bytes) or not isinstance(key, int) or not isinstance(longest, int):
        return "its row has values of other types"
    try:
        stored = StoredItem(str(collection), str(name), unpacked(body, _bytes(dictionary)))
        made = item_row(stored.document())
    except (*_UNREADABLE, DAMAGED) as problem:
        return f"its document cannot be read: {problem}"
    kept = (collection, name, start, stop, footprint, properties, stored.text)
    fresh = (
        made.collection, made.id, made.start, made.stop, made.footprint, made.properties,
        made.stored.text,
    )  # fmt: skip
    if kept != fresh:
        names = ("collection", "id", "start", "stop", "footprint", "properties", "document")
        different = [n for n, a, b in zip(names, kept, fresh, strict=True) if a != b]
        return f"its row differs from its document in {', '.join(different)}"
    if made.stop - made.start > longest:
        return "its period is longer than the longest of its collection"
    boxes = connection.execute(_BOXES, (2 * key, 2 * key + 1)).fetchall()
    times = made.start / _DAY, made.stop / _DAY
    held = len(boxes) == len(made.boxes) and all(
        w <= box[0] and s <= box[1] and e >= box[2] and n >= box[3]
        for (w, s, e, n, _, _), box in zip(boxes, made.boxes, strict=True)
    )
    if not held or any(first > times[0] or until < times[1] for *_, first, until in boxes):
        return "its boxes do not hold it"
    return ""


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _miscounted(connection: sqlite3.Connection) -> Iterator[str]:
    """Tell which collections' surveys do not count their items."""
    numbers = connection.execute("SELECT number, id FROM collection ORDER BY id").fetchall()
    for number, name in numbers:
        survey = kept_survey(connection, number)
        (count,) = connection.execute(
            "SELECT count(*) FROM item WHERE collection = ?", (number,)
        ).fetchone()
        if survey is not None and not survey.stale and survey.count != count:
            yield f"Collection {name!r} has {count} items, and its survey counts {survey.count}."
