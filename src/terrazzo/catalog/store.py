"""The embedded catalogue: STAC collections and items in one SQLite file."""

from __future__ import annotations

import json
import secrets
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import override

from terrazzo.catalog.connections import Connections
from terrazzo.catalog.documents import collection_row, decompressed, item_row, unpacked
from terrazzo.catalog.interface import Catalog
from terrazzo.catalog.search import Query, checked_query
from terrazzo.catalog.stored import StoredItem
from terrazzo.errors import (
    ArgumentInvalid,
    CollectionExists,
    CollectionNotFound,
    ItemExists,
    ItemNotFound,
)
from terrazzo.spans import span

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from terrazzo.catalog.documents import ItemRow
    from terrazzo.catalog.order import Position

_DAY = 86_400e6
_FIRST_KEYS, _MOST_KEYS, _DOCUMENTS = 64, 32_768, 128

_UPSERT_COLLECTION = """
    INSERT INTO collection (id, version, body) VALUES (?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, body = excluded.body"""
_UPSERT_ITEM = """
    INSERT INTO item (collection, id, start, stop) VALUES (?, ?, ?, ?)
    ON CONFLICT (collection, id) DO UPDATE SET start = excluded.start, stop = excluded.stop
    RETURNING row"""
_HAS_ITEM = "SELECT 1 FROM item WHERE collection = ? AND id = ?"
_PUT_DOCUMENT = "INSERT OR REPLACE INTO document (row, properties, body) VALUES (?, ?, ?)"
_PUT_BOX = "INSERT OR REPLACE INTO box VALUES (?, ?, ?, ?, ?, ?, ?)"
_DROP_BOX = "DELETE FROM box WHERE row = ?"
_TOUCH = "UPDATE collection SET version = ?, longest = max(longest, ?) WHERE number = ?"
_FETCH = """
    SELECT d.row, d.body FROM json_each(?) k CROSS JOIN document d ON d.row = k.value"""


class FileCatalog(Catalog):
    """A catalogue in one file.

    Every thread has its own connection. Writers wait for each other for up to a minute.
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
        super().__init__(read_only=read_only, hidden=hidden)
        self.path = Path(path)
        self._connections = Connections(self.path, read_only=read_only)
        self._connections.get()

    @property
    @override
    def address(self) -> str:
        return str(self.path.absolute())

    @property
    @override
    def shown(self) -> str:
        return str(self.path)

    @override
    def __reduce__(self) -> tuple[Callable[..., Catalog], tuple[str, bool, frozenset[str]]]:
        """Pickle as path and mode."""
        return _reopened, (self.address, self.read_only, self.hidden)

    @override
    def close(self) -> None:
        self._connections.close()

    # collections

    @override
    def put_collection(self, collection: Mapping[str, Any], *, new: bool = False) -> None:
        name, body = collection_row(collection)
        with self._connections.writing() as connection:
            if new and self._known(name):
                raise CollectionExists(name)
            connection.execute(_UPSERT_COLLECTION, (name, _new_version(), body))

    @override
    def change_collection(
        self,
        id: str,
        change: Callable[[dict[str, Any]], Mapping[str, Any]],
    ) -> dict[str, Any]:
        with self._connections.writing() as connection:
            document = change(unpacked(self._row(id, "body")))
            name, body = collection_row(document)
            if name != id:
                raise ArgumentInvalid(f"Collection {id!r} cannot become {name!r}. Keep its id.")
            connection.execute(_UPSERT_COLLECTION, (name, _new_version(), body))
        return unpacked(body)

    @override
    def collection(self, id: str) -> dict[str, Any]:
        return unpacked(self._row(id, "body"))

    @override
    def collections(self) -> list[dict[str, Any]]:
        rows = self._connections.get().execute("SELECT id, body FROM collection ORDER BY id")
        return [unpacked(body) for name, body in rows.fetchall() if name not in self.hidden]

    @override
    def delete_collection(self, id: str) -> None:
        with self._connections.writing() as connection:
            number = self._row(id, "number")
            rows = connection.execute("SELECT row FROM item WHERE collection = ?", (number,))
            _delete_rows(connection, [row for (row,) in rows.fetchall()])
            connection.execute("DELETE FROM collection WHERE number = ?", (number,))

    @override
    def version(self, collection: str) -> str:
        return str(self._row(collection, "version"))

    @override
    def count(self, collection: str) -> int:
        number = self._row(collection, "number")
        rows = self._connections.get().execute(
            "SELECT count(*) FROM item WHERE collection = ?", (number,)
        )
        return int(rows.fetchone()[0])

    @override
    def candidates(
        self,
        collection: str,
        *,
        bbox: Sequence[float] | None = None,
        interval: tuple[str | None, str | None] | None = None,
        most: int,
    ) -> int:
        query = checked_query(
            bbox=bbox, intersects=None, interval=interval, ids=(), properties=(), condition=None,
            sort="datetime", limit=None,
        )  # fmt: skip
        return len(self._keys(query, [self._row(collection, "number")], (), most))

    def _known(self, collection: str) -> bool:
        """Tell whether there is a collection, hidden or not."""
        query = "SELECT 1 FROM collection WHERE id = ?"
        return bool(self._connections.get().execute(query, (_bindable(collection),)).fetchone())

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

    @override
    def put_items(
        self, items: Iterable[Mapping[str, Any]], *, batch: int = 1000, new: bool = False
    ) -> int:
        if batch < 1:
            raise ArgumentInvalid(f"batch {batch!r} is not a number of items. Valid is 1 or more.")
        count, stream = 0, iter(items)
        while rows := [item_row(item) for item in islice(stream, batch)]:
            with self._connections.writing() as connection:
                self._put(connection, rows, new=new)
            count += len(rows)
        return count

    @override
    def change_item(
        self,
        collection: str,
        id: str,
        change: Callable[[dict[str, Any]], Mapping[str, Any]],
    ) -> dict[str, Any]:
        with self._connections.writing() as connection:
            row = item_row(change(self.item(collection, id)))
            if (row.collection, row.id) != (collection, id):
                raise ArgumentInvalid(
                    f"Item {id!r} of {collection!r} cannot become {row.id!r} of "
                    f"{row.collection!r}. Keep its id and collection."
                )
            self._put(connection, [row], new=False)
        return unpacked(row.body)

    def _put(self, connection: sqlite3.Connection, rows: Sequence[ItemRow], *, new: bool) -> None:
        """Store one batch."""
        longest: dict[str, int] = {}
        for row in rows:
            longest[row.collection] = max(longest.get(row.collection, 0), row.stop - row.start)
        numbers = {name: self._row(name, "number") for name in longest}
        for row in rows:
            values = (numbers[row.collection], row.id, row.start, row.stop)
            if new and connection.execute(_HAS_ITEM, values[:2]).fetchone():
                raise ItemExists(row.collection, row.id)
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

    @override
    def item(self, collection: str, id: str) -> dict[str, Any]:
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

    @override
    def delete_items(self, collection: str, ids: Iterable[str]) -> int:
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

    @override
    def _found(
        self, query: Query, collections: Sequence[str], after: Position | None
    ) -> Iterator[StoredItem]:
        numbers = self._numbers(collections)
        place = () if after is None else query.order.place(after, numbers, self._read)
        return self._matches(query, list(numbers.values()), place)

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
    ) -> Iterator[StoredItem]:
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
                        item = StoredItem(decompressed(body))
                        accepted = query.accepts(item.document())
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
    return FileCatalog(path, read_only=read_only, hidden=hidden)


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
