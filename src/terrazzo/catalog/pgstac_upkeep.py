"""Looks after a catalogue in PostgreSQL: what is wrong in it, and what can be tidied up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from terrazzo.catalog.pgstac_rows import BASE_KEY
from terrazzo.catalog.pgstac_schema import TRIGGERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.catalog.pgstac_connections import Connection

_TRIGGERS: Final = """
    SELECT tgname FROM pg_trigger WHERE tgenabled <> 'D' AND tgname LIKE 'terrazzo%%'
    AND tgrelid IN ('pgstac.items'::regclass, 'pgstac.collections'::regclass)"""
_TWICE: Final = """
    SELECT id FROM pgstac.items WHERE collection = %s GROUP BY id HAVING count(*) > 1 LIMIT 1"""
_UNTIED: Final = f"""
    SELECT i.id FROM pgstac.items i WHERE i.collection = %s AND i.content ? '{BASE_KEY}'
    AND NOT EXISTS (SELECT FROM pgstac.base_items b WHERE b.collection = i.collection
        AND b.id::text = i.content->>'{BASE_KEY}')
    LIMIT 1"""  # noqa: S608 - ours
_UNKNOWN: Final = """
    SELECT DISTINCT name FROM (SELECT jsonb_object_keys(kinds) AS name FROM terrazzo.collection
    WHERE id = %s) k WHERE NOT EXISTS (SELECT FROM pgstac.queryables q WHERE q.name = k.name
    AND (q.collection_ids IS NULL OR %s = ANY(q.collection_ids))) LIMIT 1"""
_COLLECTION_CHECKS: Final = (
    (_TWICE, "has item {!r} more than once: delete it and put it again."),
    (_UNTIED, "has item {!r} stripped against a base item that is not there: put it again."),
    (_UNKNOWN, "has property {!r} without a queryable: pgSTAC compares it as text."),
)
_SIZE: Final = """
    SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('pgstac', 'terrazzo') AND c.relkind IN ('r', 'm')"""
_TABLES: Final = """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('pgstac', 'terrazzo') AND c.relkind = 'r'
    AND pg_has_role(c.relowner, 'USAGE') ORDER BY 1"""


def triggers_missing(connection: Connection) -> Iterator[str]:
    """Say which of our triggers somebody has taken away."""
    found = {name for (name,) in connection.execute(_TRIGGERS).fetchall()}
    for name in sorted(TRIGGERS - found):
        yield (
            f"The trigger {name} is missing or disabled: what others write is not noticed. "
            "Drop the schema terrazzo and open the catalogue again."
        )


def faults_of(connection: Connection, collection: str) -> Iterator[str]:
    """Say what is wrong with the rows of a collection."""
    for query, told in _COLLECTION_CHECKS:
        row = connection.execute(query, (collection,) * query.count("%s")).fetchone()
        if row is not None:
            yield f"Collection {collection!r} {told.format(row[0])}"


def size(connection: Connection) -> int:
    """Return the bytes that the catalogue takes."""
    row = connection.execute(_SIZE).fetchone()
    return 0 if row is None else int(row[0])


def tidy(connection: Connection) -> None:
    """Free what was deleted, and tell pgSTAC and the planner what there is.

    Args:
        connection: in autocommit; tables of others are left out.
    """
    connection.execute("SELECT pgstac.update_partition_stats(partition, false) "
                       "FROM pgstac.partition_stats ORDER BY partition")  # fmt: skip
    for (table,) in connection.execute(_TABLES).fetchall():
        connection.execute(f"VACUUM (ANALYZE) {table}")
