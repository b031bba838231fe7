"""The embedded catalogue: STAC collections and items in one SQLite file."""

from __future__ import annotations

import json
import secrets
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from typing_extensions import override

from terrazzo.catalog.connections import Connections
from terrazzo.catalog.documents import collection_row, item_row, unpacked
from terrazzo.catalog.search import Query, checked_query
from terrazzo.errors import (
    ArgumentInvalid,
    CollectionNotFound,
    ItemNotFound,
)
from terrazzo.spans import span

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from terrazzo.catalog.cql2 import Filter
    from terrazzo.catalog.documents import ItemRow
    from terrazzo.catalog.filters import PropertyFilter
    from terrazzo.catalog.order import Position, Sort

_DAY = 86_400e6
_FIRST_KEYS, _MOST_KEYS, _DOCUMENTS = 64, 32_768, 128

_UPSERT_COLLECTION = """
    INSERT INTO collection (id, version, body) VALUES (?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, body = excluded.body"""
_UPSERT_ITEM = """
    INSERT INTO item (collection, id, start, stop) VALUES (?, ?, ?, ?)
    ON CONFLICT (collection, id) DO UPDATE SET start = excluded.start, stop = excluded.stop
    RETURNING row"""
_PUT_DOCUMENT = "INSERT OR REPLACE INTO document (row, properties, body) VALUES (?, ?, ?)"
_PUT_BOX = "INSERT OR REPLACE INTO box VALUES (?, ?, ?, ?, ?, ?, ?)"
_DROP_BOX = "DELETE FROM box WHERE row = ?"
_TOUCH = "UPDATE collection SET version = ?, longest = max(longest, ?) WHERE number = ?"
_FETCH = """
    SELECT d.row, d.body FROM json_each(?) k CROSS JOIN document d ON d.row = k.value"""


class Catalog:
    """STAC collections and items in one file; threads and processes may share it.

    Every thread has its own connection. Writers wait for each other (up to a minute), readers
    never wait. The object can be pickled: it is opened again by path where it arrives.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        read_only: bool = False,
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        """Open the catalogue at `path`; without `read_only` a missing file is made.

        Args:
            path: of the file.
            read_only: whether nothing may be changed.
            hidden: collections that do not exist for whoever uses this object.

        Raises:
            CatalogUnusable: the file is no catalogue, is of a later Terrazzo, or cannot be opened.
        """
        self.path = Path(path)
        self.read_only = read_only
        self.hidden = hidden
        self._connections = Connections(self.path, read_only=read_only)
        self._connections.get()

    @override
    def __reduce__(
        self,
    ) -> tuple[Callable[[str, bool, frozenset[str]], Catalog], tuple[str, bool, frozenset[str]]]:
        """Pickle as path and mode."""
        return _reopened, (str(self.path.absolute()), self.read_only, self.hidden)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections of all threads; closing twice does nothing."""
        self._connections.close()

    # collections

    def put_collection(self, collection: Mapping[str, Any]) -> None:
        """Add a STAC collection, or replace its document and keep its items.

        Raises:
            ArgumentInvalid: see `documents.collection_row`.
            OutputFailed: the file could not be written.
        """
        name, body = collection_row(collection)
        with self._connections.writing() as connection:
            connection.execute(_UPSERT_COLLECTION, (name, _new_version(), body))

    def collection(self, id: str) -> dict[str, Any]:  # noqa: A002 - STAC's name
        """Return a collection's document.

        Raises:
            CollectionNotFound: lists the collections that there are.
        """
        return unpacked(self._row(id, "body"))

    def collections(self) -> list[dict[str, Any]]:
        """Return the documents of all collections, by id."""
        rows = self._connections.get().execute("SELECT id, body FROM collection ORDER BY id")
        return [unpacked(body) for name, body in rows.fetchall() if name not in self.hidden]

    def delete_collection(self, id: str) -> None:  # noqa: A002
        """Delete a collection and all its items.

        Raises:
            CollectionNotFound: lists the collections that there are.
        """
        with self._connections.writing() as connection:
            number = self._row(id, "number")
            rows = connection.execute("SELECT row FROM item WHERE collection = ?", (number,))
            _delete_rows(connection, [row for (row,) in rows.fetchall()])
            connection.execute("DELETE FROM collection WHERE number = ?", (number,))

    def version(self, collection: str) -> str:
        """Return a text that changes whenever the collection or any of its items does.

        It is random per change: no two states of any catalogue share one.

        Raises:
            CollectionNotFound: lists the collections that there are.
        """
        return str(self._row(collection, "version"))

    def count(self, collection: str) -> int:
        """Return the number of items of a collection.

        Raises:
            CollectionNotFound: lists the collections that there are.
        """
        number = self._row(collection, "number")
        rows = self._connections.get().execute(
            "SELECT count(*) FROM item WHERE collection = ?", (number,)
        )
        return int(rows.fetchone()[0])

    def candidates(
        self,
        collection: str,
        *,
        bbox: Sequence[float] | None = None,
        interval: tuple[str | None, str | None] | None = None,
        most: int,
    ) -> int:
        """Return how many items a search would look at, or `most` if they are more.

        Reads none of them, so that it is known at once whether there are many.

        Args:
            collection: its id.
            bbox: see `search`.
            interval: see `search`.
            most: where counting ends.

        Raises:
            CollectionNotFound: lists the collections that there are.
            ArgumentInvalid: an argument is wrong.
            TemporalExtentEmpty: the interval holds no instant.
        """
        query = checked_query(
            bbox=bbox, intersects=None, interval=interval, ids=(), properties=(), condition=None,
            sort="datetime", limit=None,
        )  # fmt: skip
        return len(self._keys(query, [self._row(collection, "number")], (), most))

    def _row(self, collection: str, column: Literal["number", "version", "body"]) -> Any:
        """Return one column of a collection's row."""
        found = None
        with span("catalogue"):
            connection = self._connections.get()
            if isinstance(collection, str):  # noqa: SIM102 - graphs of strangers hold anything
                if collection not in self.hidden:
                    query = f"SELECT {column} FROM collection WHERE id = ?"  # noqa: S608 - a literal
                    found = connection.execute(query, (_bindable(collection),)).fetchone()
        if found is None:
            rows = connection.execute("SELECT id FROM collection ORDER BY id").fetchall()
            names = [name for (name,) in rows if name not in self.hidden]
            raise CollectionNotFound(collection, names)
        return found[0]

    # items

    def put_items(self, items: Iterable[Mapping[str, Any]], *, batch: int = 1000) -> int:
        """Add items, or replace those whose collection and id are there already.

        A batch is stored whole or not at all, and on a crash the batches before it are kept;
        putting the same items again completes the work. The last of equal ids counts.

        Args:
            items: STAC items; each names its collection, which must be there.
            batch: items per transaction; others write between batches.

        Returns:
            The number of items put.

        Raises:
            ArgumentInvalid: an item is invalid (see `documents.item_row`); nothing of its batch is
                stored.
            CollectionNotFound: an item's collection is not in the catalogue.
            OutputFailed: the file could not be written.
        """
        if batch < 1:
            raise ArgumentInvalid(f"batch {batch!r} is not a number of items. Valid is 1 or more.")
        count, stream = 0, iter(items)
        while rows := [item_row(item) for item in islice(stream, batch)]:
            with self._connections.writing() as connection:
                self._put(connection, rows)
            count += len(rows)
        return count

    def _put(self, connection: sqlite3.Connection, rows: Sequence[ItemRow]) -> None:
        """Store one batch."""
        longest: dict[str, int] = {}
        for row in rows:
            longest[row.collection] = max(longest.get(row.collection, 0), row.stop - row.start)
        numbers = {name: self._row(name, "number") for name in longest}
        for row in rows:
            values = (numbers[row.collection], row.id, row.start, row.stop)
            (key,) = connection.execute(_UPSERT_ITEM, values).fetchone()
            connection.execute(_PUT_DOCUMENT, (key, row.properties, row.body))
            first, last = row.start / _DAY, row.stop / _DAY
            for part, (west, south, east, north) in enumerate(row.boxes):
                box = (2 * key + part, west, east, south, north, first, last)
                connection.execute(_PUT_BOX, box)
            if len(row.boxes) == 1:
                connection.execute(_DROP_BOX, (2 * key + 1,))
        for name, number in numbers.items():
            connection.execute(_TOUCH, (_new_version(), longest[name], number))

    def item(self, collection: str, id: str) -> dict[str, Any]:  # noqa: A002
        """Return an item's document.

        Raises:
            CollectionNotFound: lists the collections that there are.
            ItemNotFound: the collection has no such item.
        """
        number = self._row(collection, "number")
        rows = self._connections.get().execute(
            "SELECT d.body FROM item i JOIN document d ON d.row = i.row "
            "WHERE i.collection = ? AND i.id = ?",
            (number, _bindable(id)),
        )
        found = rows.fetchone()
        if found is None:
            raise ItemNotFound(collection, id)
        return unpacked(found[0])

    def delete_items(self, collection: str, ids: Iterable[str]) -> int:
        """Delete items by id, all or none; ids that are not there are passed over.

        Returns:
            The number of items deleted.

        Raises:
            CollectionNotFound: lists the collections that there are.
            OutputFailed: the file could not be written.
        """
        wanted = json.dumps(sorted(set(ids)))
        with self._connections.writing() as connection:
            number = self._row(collection, "number")
            rows = connection.execute(
                "SELECT row FROM item WHERE collection = ? "
                "AND id IN (SELECT value FROM json_each(?))",
                (number, wanted),
            ).fetchall()
            _delete_rows(connection, [row for (row,) in rows])
            if rows:
                connection.execute(_TOUCH, (_new_version(), 0, number))
        return len(rows)

    # search

    def search(
        self,
        collections: Sequence[str] = (),
        *,
        bbox: Sequence[float] | None = None,
        intersects: Mapping[str, Any] | None = None,
        interval: tuple[str | None, str | None] | None = None,
        ids: Sequence[str] = (),
        properties: Sequence[PropertyFilter] = (),
        filter: str | Mapping[str, Any] | Filter | None = None,  # noqa: A002 - STAC's name
        sort: Sort = "datetime",
        limit: int | None = None,
        after: Position | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Find items, streamed in a stable order that ends with the id and the collection.

        No transaction stays open between items. What others change while the stream runs may
        or may not be seen, but nothing comes twice and nothing unchanged is missed.

        Args:
            collections: ids; empty is all. Equal times and ids come in order of creation of
                their collections.
            bbox: west, south, east, north in EPSG:4326; west > east crosses the antimeridian.
                Borders count.
            intersects: a GeoJSON geometry in EPSG:4326, instead of `bbox`.
            interval: half-open `(start, end)` of RFC 3339 texts or None. An item with a
                `datetime` is that instant, another the half-open period of its start and end.
            ids: only these items; empty is any.
            properties: conditions that all must be met.
            filter: a condition in CQL2, text or JSON.
            sort: names of properties, `id` or `collection`, with `-` before those to reverse;
                `"datetime"` is the (start) time. Items that lack a property come last, or first
                where it is reversed.
            limit: how many items at most.
            after: the `position` of the item behind which to carry on, in the same order.

        Returns:
            An iterator of documents; arguments are checked before it is returned.

        Raises:
            CollectionNotFound: lists the collections that there are.
            ArgumentInvalid: an argument is wrong.
            FilterInvalid: the filter is.
            TemporalExtentEmpty: the interval holds no instant.
        """
        if isinstance(collections, str):
            raise ArgumentInvalid(
                f"collections {collections!r} is one text: write ({collections!r},)."
            )
        query = checked_query(
            bbox=bbox, intersects=intersects, interval=interval, ids=ids, properties=properties,
            condition=filter, sort=sort, limit=limit,
        )  # fmt: skip
        numbers = self._numbers(collections)
        place = () if after is None else query.order.place(after, numbers, self._read)
        return islice(self._matches(query, list(numbers.values()), place), limit)

    def _read(self, text: str) -> object:
        """Read a JSON value as SQLite does."""
        return self._connections.get().execute("SELECT json_extract(?, '$')", (text,)).fetchone()[0]

    def _numbers(self, collections: Sequence[str]) -> dict[str, int]:
        """Return the numbers of the named collections, or of all."""
        if collections:
            return {name: self._row(name, "number") for name in collections}
        rows = self._connections.get().execute("SELECT id, number FROM collection").fetchall()
        return {name: number for name, number in rows if name not in self.hidden}

    def _matches(
        self, query: Query, numbers: Sequence[int], after: Sequence[object]
    ) -> Iterator[dict[str, Any]]:
        """Stream the candidates in pages behind a key, and keep what the query accepts."""
        page = _FIRST_KEYS
        while numbers:
            with span("catalogue"):
                keys = self._keys(query, numbers, after, page)
            for part in range(0, len(keys), _DOCUMENTS):
                with span("catalogue"):
                    rows = json.dumps([key[0] for key in keys[part : part + _DOCUMENTS]])
                    found = self._connections.get().execute(_FETCH, (rows,)).fetchall()
                for _, body in found:
                    with span("catalogue"):
                        item = unpacked(body)
                        accepted = query.accepts(item)
                    if accepted:
                        yield item
            if len(keys) < page:
                return
            after = keys[-1][1:]
            page = min(4 * page, _MOST_KEYS)

    def _keys(
        self, query: Query, numbers: Sequence[int], after: Sequence[object], count: int
    ) -> list[tuple[Any, ...]]:
        """Return the next rows and keys of candidates."""
        connection = self._connections.get()
        (longest,) = connection.execute(
            "SELECT max(longest) FROM collection WHERE number IN (SELECT value FROM json_each(?))",
            (json.dumps(list(numbers)),),
        ).fetchone()
        sql, values = query.select(numbers, longest or 0, after, count)
        return connection.execute(sql, values).fetchall()


def _reopened(path: str, read_only: bool, hidden: frozenset[str]) -> Catalog:
    """Open a catalogue that was pickled."""
    return Catalog(path, read_only=read_only, hidden=hidden)


def _new_version() -> str:
    """Return a text that was never used before."""
    return secrets.token_hex(8)


def _bindable(text: str) -> str:
    """Return a text that SQLite takes; lone surrogates become what is in no stored text."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _delete_rows(connection: sqlite3.Connection, rows: Sequence[int]) -> None:
    """Delete items with their documents and boxes."""
    connection.executemany("DELETE FROM box WHERE row = ?", [(2 * row,) for row in rows])
    connection.executemany("DELETE FROM box WHERE row = ?", [(2 * row + 1,) for row in rows])
    connection.executemany("DELETE FROM document WHERE row = ?", [(row,) for row in rows])
    connection.executemany("DELETE FROM item WHERE row = ?", [(row,) for row in rows])
