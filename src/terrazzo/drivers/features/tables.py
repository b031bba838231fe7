"""The tables of a collection of geometries, and the attributes that their features have."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog import position
from terrazzo.catalog.documents import item_period
from terrazzo.catalog.tables import PRIMARY, table_asset
from terrazzo.errors import ItemNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from terrazzo.catalog import Asked, Catalog
    from terrazzo.storage.gate import Gate

LOOKED_AT: Final = 1000
"""Tables of a collection that are looked at to tell its attributes."""
_ELSEWHERE: Final = ("http:", "https:", "s3:")


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """A file of features, which is one item of a collection."""

    item: str
    """Id of the item."""
    asset: str
    """Key of the file in the item."""
    path: Path
    """Where it is."""
    period: tuple[datetime, datetime]
    """First and last instant of the item."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What features of a collection have beside a geometry."""

    types: Mapping[str, str]
    """Arrow types by name; empty for one that differs between tables."""
    whole: bool
    """Whether all tables were looked at."""
    rows: int
    """Features of the tables that were looked at."""


def holds_geometries(document: Mapping[str, Any]) -> bool:
    """Tell whether a collection holds geometries, by its document."""
    dimensions = document.get("cube:dimensions")
    return isinstance(dimensions, dict) and any(
        isinstance(one, dict) and one.get("type") == "geometry" for one in dimensions.values()
    )


def tables_of(
    catalog: Catalog,
    gate: Gate,
    collection: str,
    *,
    bbox: tuple[float, ...] | None = None,
    first: str = "",
    check: Callable[[], None] | None = None,
) -> Iterator[FeatureTable]:
    """Yield the tables of a collection that lie on this machine, by id.

    Args:
        catalog: where it is.
        gate: what may be read.
        collection: its id.
        bbox: west, south, east, north that they touch; None for anywhere.
        first: the id with which to begin; empty for the first one.
        check: called now and then; what it raises ends it.

    Raises:
        CollectionNotFound: lists the collections that there are.
        AssetForbidden: a file is not where it may be read.
    """
    asked: Asked = {"bbox": bbox, "sort": ("id",), "check": check}
    if first:
        try:
            item = catalog.item(collection, first)
        except ItemNotFound:
            item = {"id": first, "collection": collection, "properties": {}}
        else:
            yield from _table(item, gate)
        asked["after"] = tuple(position(item, ("id",)))
    for item in catalog.search((collection,), **asked):
        yield from _table(item, gate)


def table_named(catalog: Catalog, gate: Gate, collection: str, item: str) -> FeatureTable | None:
    """Return the table of an item; None if it is no item of geometries on this machine.

    Raises:
        CollectionNotFound, ItemNotFound: it is not there.
        AssetForbidden: its file is not where it may be read.
    """
    return next(_table(catalog.item(collection, item), gate), None)


def _table(item: Mapping[str, Any], gate: Gate) -> Iterator[FeatureTable]:
    key = table_asset(item)
    if key is None or str(item["assets"][key]["href"]).startswith(_ELSEWHERE):
        return
    path = gate.local_path(str(item["assets"][key]["href"]))
    yield FeatureTable(str(item["id"]), key, path, item_period(item))


def attributes_of(catalog: Catalog, collection: str) -> Attributes:
    """Return the attributes of a collection's features, as its first tables have them.

    Raises:
        CollectionNotFound: lists the collections that there are.
    """
    types: dict[str, str] = {}
    rows = 0
    first = islice(catalog.search((collection,), sort=("id",)), LOOKED_AT + 1)
    for number, item in enumerate(first):
        if number == LOOKED_AT:
            return Attributes(types, whole=False, rows=rows)
        told = item["properties"]
        columns, geometry = told.get("table:columns"), told.get(PRIMARY)
        for column in columns if isinstance(columns, list) else []:
            if isinstance(column, dict) and column.get("name") != geometry:
                name, kind = str(column.get("name")), str(column.get("type"))
                types[name] = kind if types.get(name, kind) == kind else ""
        count = told.get("table:row_count")
        rows += count if type(count) is int else 0
    return Attributes(types, whole=True, rows=rows)
