"""The embedded catalogue: STAC collections and items in one SQLite file."""

from __future__ import annotations

import json
import secrets
import sqlite3
from contextlib import closing
from itertools import compress, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from terrazzo.catalog.batches import Batch, documents_of, keep_change, kept_survey
from terrazzo.catalog.connections import Connections
from terrazzo.catalog.described import Record, described, restated
from terrazzo.catalog.documents import collection_text
from terrazzo.catalog.integrity import problems
from terrazzo.catalog.interface import Catalog, checked
from terrazzo.catalog.kept import Kept, KeptFacts
from terrazzo.catalog.packing import DAMAGED, packed, unpacked
from terrazzo.catalog.rows import delete_rows, rows_of
from terrazzo.catalog.schema import connect
from terrazzo.catalog.search import Query, checked_query
from terrazzo.catalog.stored import StoredItem
from terrazzo.catalog.survey import Survey
from terrazzo.catalog.taken import CollectionExists
from terrazzo.errors import (
    ArgumentInvalid,
    CatalogUnusable,
    CollectionNotFound,
    ItemNotFound,
)
from terrazzo.progress import Progress
from terrazzo.spans import span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from typing_extensions import Unpack

    from terrazzo.catalog.cql2_operators import Facts
    from terrazzo.catalog.interface import Asked
    from terrazzo.catalog.order import Position

_FIRST_KEYS, _MOST_KEYS = 64, 32_768
_LEAST, _DOCUMENTS = 16, 128

_UPSERT_COLLECTION = """
    INSERT INTO collection (id, version, survey, body) VALUES (?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, body = excluded.body"""
_RECORD = "id, version, body, survey"
_FETCH = """
    SELECT i.collection, i.id, i.start, i.stop, i.footprint, i.properties, d.body
    FROM json_each(?) k CROSS JOIN item i ON i.row = k.value
    CROSS JOIN document d ON d.row = i.row"""

_FETCH_KEPT = """
    SELECT i.collection, i.id, i.start, i.stop, i.footprint, i.properties
    FROM json_each(?) k CROSS JOIN item i ON i.row = k.value"""


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
        progress: Progress | None = None,
    ) -> None:
        """Open the catalogue at `path`; without `read_only` a missing file is made.

        Args:
            path: of the file.
            read_only: whether nothing may be changed.
            hidden: collections that do not exist for whoever uses this object.
            progress: is told of the items where the file is of an earlier version and is brought
                up to date.

        Raises:
            CatalogUnusable: the file is no catalogue, is of a later Terrazzo, or cannot be opened.
        """
        super().__init__(read_only=read_only, hidden=hidden)
        self.path = Path(path)
        self._connections = Connections(self.path, read_only=read_only, progress=progress)
        self._dictionaries: dict[int, bytes] = {}
        self._connections.get()

    @property
    @override
    def address(self) -> str:
        return str(self.path.absolute())

    @property
    @override
    def shown(self) -> str:
        return str(self.path)

    @property
    @override
    def kind(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

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
        name, _ = collection_text(collection)
        with self._connections.writing() as connection:
            there = self._known(name)
            if new and there is not None:
                raise CollectionExists(name)
            _put_collection(connection, name, restated(collection, there))

    @override
    def change_collection(
        self,
        id: str,
        change: Callable[[dict[str, Any]], Mapping[str, Any]],
    ) -> dict[str, Any]:
        with self._connections.writing() as connection:
            record = self._record(id)
            document = change(described(record))
            name, _ = collection_text(document)
            if name != id:
                raise ArgumentInvalid(f"Collection {id!r} cannot become {name!r}. Keep its id.")
            _put_collection(connection, id, restated(document, record))
            return described(self._record(id))

    @override
    def _record(self, id: str) -> Record:
        return _record_of(self._row(id, _RECORD))

    @override
    def _records(self) -> list[Record]:
        query = f"SELECT {_RECORD} FROM collection ORDER BY id"  # noqa: S608 - a literal
        rows = self._connections.get().execute(query).fetchall()
        return [_record_of(row) for row in rows if row[0] not in self.hidden]

    @override
    def _keep_survey(self, id: str, version: str, survey: str) -> None:
        with self._connections.writing() as connection:
            connection.execute(
                "UPDATE collection SET survey = ? WHERE id = ? AND version = ?",
                (survey, id, version),
            )

    @override
    def delete_collection(
        self, id: str, *, check: Callable[[dict[str, Any]], object] | None = None
    ) -> None:
        with self._connections.writing() as connection:
            (number,) = self._row(id, "number")
            if check is not None:
                check(described(self._record(id)))
            rows = connection.execute("SELECT row FROM item WHERE collection = ?", (number,))
            delete_rows(connection, [row for (row,) in rows.fetchall()])
            connection.execute("DELETE FROM collection WHERE number = ?", (number,))

    @override
    def version(self, collection: str) -> str:
        return str(self._row(collection, "version")[0])

    @override
    def count(self, collection: str) -> int:
        (number,) = self._row(collection, "number")
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
        return len(self._keys(query, list(self._row(collection, "number")), (), most)[0])

    def _known(self, collection: str) -> Record | None:
        """Return what is kept of a collection, hidden or not, if there is one."""
        query = f"SELECT {_RECORD} FROM collection WHERE id = ?"  # noqa: S608 - a literal
        row = self._connections.get().execute(query, (_bindable(collection),)).fetchone()
        return None if row is None else _record_of(row)

    def _row(self, collection: str, columns: str) -> tuple[Any, ...]:
        """Return columns, which are literals of this module, of a collection's row."""
        found: tuple[Any, ...] | None = None
        with span("catalogue"):
            connection = self._connections.get()
            if isinstance(collection, str):  # noqa: SIM102 - graphs of strangers hold anything
                if collection not in self.hidden:
                    query = f"SELECT {columns} FROM collection WHERE id = ?"  # noqa: S608 - a literal
                    found = connection.execute(query, (_bindable(collection),)).fetchone()
        if found is None:
            rows = connection.execute("SELECT id FROM collection ORDER BY id").fetchall()
            names = [name for (name,) in rows if name not in self.hidden]
            raise CollectionNotFound(collection, names)
        return found

    # items

    @override
    def put_items(
        self, items: Iterable[Mapping[str, Any]], *, batch: int = 1000, new: bool = False
    ) -> int:
        if batch < 1:
            raise ArgumentInvalid(f"batch {batch!r} is not a number of items. Valid is 1 or more.")
        count, stream = 0, iter(items)
        while (put := Batch.of(islice(stream, batch), new=new)).count:
            with self._connections.writing() as connection:
                numbers = {name: self._row(name, "number")[0] for name in put.rows}
                put.put(connection, numbers, _new_version(), new=new)
            count += put.count
        return count

    @override
    def change_item(
        self,
        collection: str,
        id: str,
        change: Callable[[dict[str, Any]], Mapping[str, Any]],
    ) -> dict[str, Any]:
        with self._connections.writing() as connection:
            put = Batch.of([change(self.item(collection, id))])
            row = put.rows.get(collection, {}).get(id)
            if row is None:
                raise ArgumentInvalid(
                    f"Item {id!r} of {collection!r} cannot become another one. Keep its id and "
                    "collection."
                )
            put.put(connection, {collection: self._row(collection, "number")[0]}, _new_version())
        return row.stored.document()

    @override
    def stored_item(self, collection: str, id: str) -> StoredItem:
        (number,) = self._row(collection, "number")
        with span("catalogue"):
            rows = self._connections.get().execute(
                "SELECT d.body FROM item i JOIN document d ON d.row = i.row "
                "WHERE i.collection = ? AND i.id = ?",
                (number, _bindable(id)),
            )
            found = rows.fetchone()
            item = None if found is None else self._item(number, collection, id, found[0])
        if item is None:
            raise ItemNotFound(collection, id)
        return item

    def _dictionary(self, number: int) -> bytes | None:
        """Return what the items of a collection are compressed with; None where it has none."""
        if number not in self._dictionaries:
            connection = self._connections.get()
            found = connection.execute(
                "SELECT dictionary FROM collection WHERE number = ?", (number,)
            ).fetchone()
            if found is None or found[0] is None:
                return None
            if connection.in_transaction:  # it may be undone
                return bytes(found[0])
            self._dictionaries[number] = found[0]
        return self._dictionaries[number]

    @override
    def delete_items(
        self,
        collection: str,
        ids: Iterable[str],
        *,
        check: Callable[[dict[str, Any]], object] | None = None,
    ) -> int:
        wanted = sorted({_bindable(name) for name in ids})
        with self._connections.writing() as connection:
            (number,) = self._row(collection, "number")
            rows = list(rows_of(connection, number, wanted).values())
            if rows:
                survey = kept_survey(connection, number)
                if survey is not None or check is not None:
                    for document in documents_of(connection, rows):
                        if check is not None:
                            check(document)
                        if survey is not None:
                            survey.remove(document)
                delete_rows(connection, rows)
                keep_change(connection, number, _new_version(), 0, survey)
        return len(rows)

    # upkeep

    @override
    def check(self, progress: Progress | None = None) -> Iterator[str]:
        with closing(connect(self.path, read_only=True)) as connection:
            yield from problems(connection, progress or Progress())

    @override
    def vacuum(self) -> tuple[int, int]:
        return self._connections.vacuum()

    # search

    @override
    def _found(
        self, query: Query, collections: Sequence[str], after: Position | None
    ) -> Iterator[StoredItem]:
        numbers = self._numbers(collections)
        place = () if after is None else query.order.place(after, numbers, self._read)
        return self._matches(query, {number: name for name, number in numbers.items()}, place)

    def _read(self, text: str) -> object:
        """Read a JSON value as SQLite does."""
        return self._connections.get().execute("SELECT json_extract(?, '$')", (text,)).fetchone()[0]

    def _numbers(self, collections: Sequence[str]) -> dict[str, int]:
        """Return the numbers of the named collections, or of all."""
        if collections:
            return {name: self._row(name, "number")[0] for name in collections}
        rows = self._connections.get().execute("SELECT id, number FROM collection").fetchall()
        return {name: number for name, number in rows if name not in self.hidden}

    def _matches(
        self, query: Query, names: Mapping[int, str], after: Sequence[object]
    ) -> Iterator[StoredItem]:
        """Stream the candidates in pages behind a key, and keep what the query accepts."""
        decided = not query.needs_documents
        for rows in self._candidates(query, names, after):
            with span("catalogue"):
                found = self._accepted(query, names, rows)
            for number, name, *_, body in found:
                with span("catalogue"):
                    item = self._item(number, names[number], name, body)
                    accepted = item is not None and (decided or query.accepts(item.document()))
                if item is not None and accepted:
                    yield item

    def _item(self, number: int, collection: str, name: str, body: bytes) -> StoredItem | None:
        """Return an item as it is kept; None if its whole collection was deleted just now.

        Raises:
            CatalogUnusable: its bytes are damaged.
        """
        dictionary = self._dictionary(number)
        if dictionary is None:
            return None
        try:
            return StoredItem(collection, name, unpacked(body, dictionary))
        except DAMAGED as problem:
            raise CatalogUnusable(
                f"The catalogue {self.path} is damaged: item {name!r} of {collection!r} cannot be "
                f"read ({problem}). See what else is with `terrazzo catalog check`."
            ) from None

    def _candidates(
        self, query: Query, names: Mapping[int, str], after: Sequence[object]
    ) -> Iterator[list[int]]:
        """Yield the rows of candidates, a few at a time."""
        page = _first_page(query)
        part = min(max(query.limit or 0, _LEAST), _DOCUMENTS)
        while names:
            with span("catalogue"):
                rows, after = self._keys(query, list(names), after, page)
            done = 0
            while done < len(rows):
                if query.check is not None:
                    query.check()
                yield rows[done : done + part]
                done, part = done + part, _DOCUMENTS
            if len(rows) < page:
                return
            page = min(4 * page, _MOST_KEYS)

    @override
    def facts(self, collections: Sequence[str] = (), **asked: Unpack[Asked]) -> Iterator[Facts]:
        query = checked(collections, asked)
        if query.needs_documents or query.limit is not None or asked.get("after") is not None:
            return super().facts(collections, **asked)
        names = {number: name for name, number in self._numbers(collections).items()}
        return self._facts(query, names)

    def _facts(self, query: Query, names: Mapping[int, str]) -> Iterator[Facts]:
        """Stream what is kept of the items that a query accepts."""
        for rows in self._candidates(query, names, ()):
            with span("catalogue"):
                found = self._connections.get().execute(_FETCH_KEPT, (json.dumps(rows),))
                kept = [Kept(names[one[0]], *one[1:]) for one in found]
                accepted = list(compress(kept, query.accepted(kept)))
            yield from map(KeptFacts, accepted)

    def _accepted(
        self, query: Query, names: Mapping[int, str], rows: Sequence[int]
    ) -> list[tuple[Any, ...]]:
        """Return those items that a query accepts, as far as that is known without documents."""
        found = self._connections.get().execute(_FETCH, (json.dumps(rows),)).fetchall()
        if query.needs_documents:
            return found
        kept = [Kept(names[one[0]], *one[1:6]) for one in found]
        return list(compress(found, query.accepted(kept)))

    def _keys(
        self, query: Query, numbers: Sequence[int], after: Sequence[object], count: int
    ) -> tuple[list[int], tuple[Any, ...]]:
        """Return the next rows of candidates, and the keys of the last: all may be too large."""
        connection = self._connections.get()
        (longest,) = connection.execute(
            "SELECT max(longest) FROM collection WHERE number IN (SELECT value FROM json_each(?))",
            (json.dumps(list(numbers)),),
        ).fetchone()
        sql, values = query.select(numbers, longest or 0, after, count)
        rows, last = list[int](), tuple[Any, ...]()
        for row, *keys in connection.execute(sql, values):
            rows.append(row)
            last = tuple(keys)
        return rows, last


def _reopened(path: str, read_only: bool, hidden: frozenset[str]) -> Catalog:
    """Open a catalogue that was pickled."""
    return FileCatalog(path, read_only=read_only, hidden=hidden)


def _new_version() -> str:
    """Return a text that was never used before."""
    return secrets.token_hex(8)


def _bindable(text: str) -> str:
    """Return a text that SQLite takes; lone surrogates become what is in no stored text."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _record_of(row: tuple[Any, ...]) -> Record:
    name, version, body, survey = row
    return Record(name, version, unpacked(body), survey)


def _put_collection(connection: sqlite3.Connection, name: str, document: Mapping[str, Any]) -> None:
    """Write what is stated of a collection."""
    _, text = collection_text(document)
    values = (name, _new_version(), Survey().to_text(), packed(text))
    connection.execute(_UPSERT_COLLECTION, values)


def _first_page(query: Query) -> int:
    """Return how many candidates to ask for at first."""
    if query.limit is None:
        return _FIRST_KEYS
    decided = query.region is None and query.condition is None and not query.properties
    return max(query.limit, 1 if decided else _FIRST_KEYS)
