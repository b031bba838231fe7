"""Puts items into pgSTAC's table, batch by batch, as pgSTAC's own loader does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog.described import Record
from terrazzo.catalog.json_text import json_text
from terrazzo.catalog.pgstac_queryables import kinds_of, register, widened
from terrazzo.catalog.pgstac_rows import DOCUMENT, read
from terrazzo.catalog.survey import Survey
from terrazzo.catalog.taken import ItemExists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from terrazzo.catalog.pgstac_connections import Connection
    from terrazzo.catalog.pgstac_rows import PgstacRow

OWN: Final = "SET LOCAL terrazzo.writing = 'on'"
"""Tells our triggers that the rest of this transaction is ours."""
RECORD: Final = "SELECT c.id, t.version, coalesce(t.stated, c.content::text), t.survey"
RECORDS: Final = "pgstac.collections c JOIN terrazzo.collection t USING (id)"
"""The columns of a `Record`, and where they are."""
_STAGE: Final = """
    CREATE TEMPORARY TABLE IF NOT EXISTS terrazzo_put (
        id text, geometry geometry, collection text, datetime timestamptz,
        end_datetime timestamptz, content jsonb, private jsonb
    ) ON COMMIT DELETE ROWS"""
_COPY: Final = """
    COPY terrazzo_put (id, geometry, collection, datetime, end_datetime, content, private)
    FROM STDIN"""
_GROUPS: Final = """
    SELECT p.collection,
        tstzrange(min(p.datetime), max(p.datetime), '[]')::text,
        tstzrange(min(p.end_datetime), max(p.end_datetime), '[]')::text
    FROM terrazzo_put p JOIN pgstac.collections c ON c.id = p.collection
    GROUP BY p.collection, date_trunc(c.partition_trunc, p.datetime, 'UTC')
    ORDER BY p.collection, min(p.datetime)"""
_MAKE_ROOM: Final = """
    WITH wanted AS (SELECT %s AS name, %s::tstzrange AS starts, %s::tstzrange AS ends)
    SELECT pgstac.check_partition(name, terrazzo.grown(starts, known, whole),
        terrazzo.grown(ends, known_ends, '[-infinity,infinity]'))
    FROM wanted LEFT JOIN LATERAL (
        SELECT m.partition_dtrange AS whole, m.constraint_dtrange AS known,
            m.constraint_edtrange AS known_ends
        FROM pgstac.partition_stats s, pgstac.partition_catalog_meta(s.partition) m
        WHERE s.collection = name AND s.partition_dtrange @> starts LIMIT 1
    ) m ON true"""
_KNOWN: Final = """
    SELECT i.collection, i.id FROM pgstac.items i JOIN terrazzo_put p USING (collection, id)
    WHERE i.collection = ANY(%s) LIMIT 1"""
_REPLACED: Final = f"""
    DELETE FROM pgstac.items i USING terrazzo_put p
    WHERE i.collection = p.collection AND i.id = p.id AND i.collection = ANY(%s)
    RETURNING {DOCUMENT}"""  # noqa: S608 - ours
_INSERT: Final = """
    INSERT INTO pgstac.items (id, geometry, collection, datetime, end_datetime, content, private)
    SELECT id, geometry, collection, datetime, end_datetime, content, private FROM terrazzo_put"""


_REMOVED: Final = f"""
    DELETE FROM pgstac.items i WHERE i.collection = %s AND i.id = ANY(%s) RETURNING {DOCUMENT}"""  # noqa: S608 - ours
_LOCK: Final = "SELECT FROM terrazzo.collection WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
_FACTS: Final = f"{RECORD}, t.base, t.kinds FROM {RECORDS} WHERE c.id = ANY(%s)"
_PUBLISH: Final = """
    SELECT pgstac.upsert_collection(%(text)s::jsonb) WHERE NOT EXISTS
    (SELECT FROM pgstac.collections WHERE id = %(id)s AND content = %(text)s::jsonb)"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a collection that is written to."""

    base: int | None
    """Id of the base item `{}`, if there is one yet."""
    kinds: Mapping[str, str]
    """The queryables that were registered, and pgSTAC's functions for them."""
    record: Record
    """Its document and survey."""


def locked(connection: Connection, collections: Sequence[str]) -> dict[str, Facts]:
    """Keep others from writing to those collections that there are, until the transaction ends."""
    connection.execute(OWN)
    connection.execute(_LOCK, (list(collections),))
    rows = connection.execute(_FACTS, (list(collections),)).fetchall()
    return {row[0]: Facts(row[4], row[5], Record(*row[:4])) for row in rows}


def put(
    connection: Connection, rows: Sequence[PgstacRow], facts: Mapping[str, Facts], *, new: bool
) -> None:
    """Store one batch.

    Nothing here looks at the items before there is room for the batch: two that hold a lock to
    read them and want the one to make a partition would wait for each other.

    Args:
        connection: in a transaction.
        rows: no two of the same item.
        facts: of their collections, locked.
        new: whether none of them must be there yet.

    Raises:
        ItemExists: `new`, and one is there.
    """
    names = sorted({row.collection for row in rows})
    bases = {name: facts[name].base or _make_base(connection, name) for name in names}
    connection.execute(_STAGE)
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in rows:
            copy.write_row(
                (
                    row.id,
                    row.geometry,
                    row.collection,
                    row.start,
                    row.stop,
                    row.content(bases[row.collection]),
                    row.private,
                )
            )
    # pgSTAC checks all rows of a partition whenever its times grow. So they grow by as much as
    # they have, and a long ingestion of ever later items waits for that a few times only.
    for group in connection.execute(_GROUPS).fetchall():
        connection.execute(_MAKE_ROOM, group)
    if new:
        found = connection.execute(_KNOWN, (names,)).fetchone()
        if found is not None:
            raise ItemExists(*found)
    replaced = connection.execute(_REPLACED, (names,)).fetchall()
    connection.execute(_INSERT)
    for name in names:
        fresh = [row.document for row in rows if row.collection == name]
        old = [read(*columns) for columns in replaced if columns[1] == name]
        _register(connection, name, fresh, facts[name])
        survey(connection, facts[name].record, fresh, old)


def remove(
    connection: Connection,
    facts: Facts,
    ids: Sequence[str],
    check: Callable[[dict[str, Any]], object] | None,
) -> int:
    """Delete items of a locked collection; return how many there were.

    Args:
        connection: in a transaction.
        facts: of the collection.
        ids: of the items.
        check: is given each document that goes.
    """
    rows = connection.execute(_REMOVED, (facts.record.id, list(ids))).fetchall()
    documents = [read(*columns) for columns in rows]
    if check is not None:
        for document in documents:
            check(document)
    if documents:
        survey(connection, facts.record, (), documents)
    return len(documents)


def survey(
    connection: Connection,
    record: Record,
    new: Iterable[Mapping[str, Any]],
    old: Iterable[Mapping[str, Any]],
) -> None:
    """Keep what the items of a locked collection have in common, where it is known."""
    if record.survey is None:
        return
    found = Survey.of_text(record.survey)
    before = {item["id"]: item for item in old}
    for item in new:
        known = before.pop(item["id"], None)
        if known is None:
            found.add(item)
        elif known != item:
            found.replace(known, item)
    for item in before.values():
        found.remove(item)
    keep_survey(connection, record, found)


def keep_survey(connection: Connection, record: Record, found: Survey) -> None:
    """Keep a survey of a locked collection, and describe it to others by it."""
    connection.execute(
        "UPDATE terrazzo.collection SET survey = %s WHERE id = %s", (found.to_text(), record.id)
    )
    if not found.stale:
        publish(connection, found.describe(record.document()))


def publish(connection: Connection, document: Mapping[str, Any]) -> None:
    """Give pgSTAC a collection as it is read."""
    text = json_text(document).decode()
    connection.execute(_PUBLISH, {"id": document["id"], "text": text})


def _make_base(connection: Connection, collection: str) -> int:
    """Make the base item `{}` of a collection.

    pgSTAC takes the first of a collection's base items for items that name none; so the one that
    they were stripped against is kept first.
    """
    connection.execute(
        "INSERT INTO pgstac.base_items (collection, base_item) SELECT id, base_item "
        "FROM pgstac.collections c WHERE id = %s "
        "AND NOT EXISTS (SELECT FROM pgstac.base_items b WHERE b.collection = c.id)",
        (collection,),
    )
    row = connection.execute(
        "INSERT INTO pgstac.base_items (collection, base_item) VALUES (%s, '{}') RETURNING id",
        (collection,),
    ).fetchone()
    base = 0 if row is None else int(row[0])
    connection.execute("UPDATE terrazzo.collection SET base = %s WHERE id = %s", (base, collection))
    return base


def _register(
    connection: Connection, collection: str, items: Iterable[Mapping[str, Any]], facts: Facts
) -> None:
    """Register the properties that a collection has not had yet."""
    found = kinds_of(items)
    known = facts.kinds
    fresh = {name: widened(known.get(name, kind), kind) for name, kind in found.items()}
    fresh = {name: kind for name, kind in fresh.items() if known.get(name) != kind}
    if fresh:
        register(connection, collection, fresh)
        connection.execute(
            "UPDATE terrazzo.collection SET kinds = %s WHERE id = %s",
            (json.dumps({**known, **fresh}), collection),
        )
