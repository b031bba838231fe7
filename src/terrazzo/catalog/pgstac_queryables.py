"""Properties registered with pgSTAC by their types, so that its own searches compare rightly.

A property that pgSTAC does not know it compares as text: clouds of 9 % come after those of 80 %.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from terrazzo.catalog.pgstac_connections import Connection

_TEXT, _NUMBER, _TIME, _LIST = "to_text", "to_float", "to_tstz", "to_text_array"
_TIMES: Final = frozenset({"created", "updated", "published", "expires", "unpublished"})
"""Properties that STAC says are times."""
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)")
_COLUMNS: Final = frozenset(
    {"", "id", "geometry", "collection", "datetime", "start_datetime", "end_datetime"}
)
"""What pgSTAC has columns for, or no name."""
_DEFINITIONS: Final[Mapping[str, Mapping[str, str]]] = {
    _TEXT: {"type": "string"},
    _NUMBER: {"type": "number"},
    _TIME: {"type": "string", "format": "date-time"},
    _LIST: {"type": "array"},
}


def kinds_of(items: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return pgSTAC's functions for the types of the properties of items, by their names."""
    found: dict[str, str] = {}
    for item in items:
        for name, value in item["properties"].items():
            kind = _kind(name, value)
            if kind and found.get(name) != kind:
                found[name] = widened(found.get(name, kind), kind)
    return {name: kind for name, kind in found.items() if _is_name(name)}


def widened(one: str, other: str) -> str:
    """Return the function that reads values of both types."""
    return one if one == other else _TEXT


def register(connection: Connection, collection: str, kinds: Mapping[str, str]) -> None:
    """Register properties of a collection, or give them another type.

    What somebody has registered for all collections stays as it is.

    Args:
        connection: in a transaction.
        collection: an id.
        kinds: pgSTAC's functions by the names of the properties.
    """
    # In one order, because pgSTAC locks each name until the transaction ends.
    for name in sorted(kinds):
        wrapper = kinds[name]
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (name,))
        rows = connection.execute(
            "SELECT id, collection_ids, property_wrapper FROM pgstac.queryables WHERE name = %s "
            "AND (collection_ids IS NULL OR collection_ids @> ARRAY[%s::text])",
            (name, collection),
        ).fetchall()
        if any(row[1] is None or row[2] == wrapper for row in rows):
            continue
        for key, collections, _ in rows:
            _leave(connection, key, [one for one in collections if one != collection])
        joined = connection.execute(
            "UPDATE pgstac.queryables SET collection_ids = collection_ids || ARRAY[%s::text] "
            "WHERE name = %s AND property_wrapper = %s AND collection_ids IS NOT NULL",
            (collection, name, wrapper),
        )
        if not joined.rowcount:
            path = ["properties", name] if "." in name or '"' in name else None
            connection.execute(
                "INSERT INTO pgstac.queryables "
                "(name, property_wrapper, definition, collection_ids, property_path) "
                "VALUES (%s, %s, %s, %s, %s)",
                (name, wrapper, json.dumps(_definition(name, wrapper)), [collection], path),
            )


def _leave(connection: Connection, key: int, others: list[str]) -> None:
    """Take a collection out of a queryable."""
    if others:
        connection.execute(
            "UPDATE pgstac.queryables SET collection_ids = %s WHERE id = %s", (others, key)
        )
    else:
        connection.execute("DELETE FROM pgstac.queryables WHERE id = %s", (key,))


def _definition(name: str, wrapper: str) -> dict[str, str]:
    return {"title": name, **_DEFINITIONS[wrapper]}


def _is_name(name: str) -> bool:
    return name.strip() not in _COLUMNS and not name.startswith("properties")


def _kind(name: str, value: object) -> str:
    """Return the function for a value; empty for what cannot be compared."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _NUMBER
    if isinstance(value, str):
        return _TIME if name in _TIMES and _INSTANT.fullmatch(value) else _TEXT
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return _LIST
    return _TEXT if isinstance(value, bool) else ""
