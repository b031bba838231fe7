"""The catalogue in PostgreSQL: collections and items in pgSTAC's own tables.

Others read and write the same tables through pgSTAC; see `pgstac_schema` for what is added to
them. Searches are our own SQL, so that both kinds of catalogue give the same answers.
"""

from __future__ import annotations

import json
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from terrazzo.catalog.described import Record, described, restated
from terrazzo.catalog.documents import collection_text, item_row
from terrazzo.catalog.interface import Catalog
from terrazzo.catalog.json_text import json_text
from terrazzo.catalog.pgstac_connections import Connections
from terrazzo.catalog.pgstac_items import (
    RECORD,
    RECORDS,
    keep_survey,
    locked,
    publish,
    put,
    remove,
)
from terrazzo.catalog.pgstac_rows import DOCUMENT, PgstacRow, read
from terrazzo.catalog.pgstac_search import PgstacSelect, Searched
from terrazzo.catalog.pgstac_upkeep import faults_of, size, tidy, triggers_missing
from terrazzo.catalog.search import Query, checked_query
from terrazzo.catalog.stored import StoredItem
from terrazzo.catalog.survey import Survey
from terrazzo.catalog.taken import CollectionExists, ItemExists
from terrazzo.errors import (
    ArgumentInvalid,
    CollectionNotFound,
    ItemNotFound,
)
from terrazzo.progress import Progress
from terrazzo.spans import span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from terrazzo.catalog.order import Position
    from terrazzo.catalog.pgstac_connections import Connection
    from terrazzo.catalog.pgstac_items import Facts

_FIRST_KEYS: Final = 64
_MOST_KEYS: Final = 1024
"""Candidates of one page; their documents come with them."""
_MOST_LETTERS: Final = 32_000_000
"""Of the documents of one page, where they are as large as those of the page before."""
_ITEM: Final = f"SELECT {DOCUMENT} FROM pgstac.items i WHERE i.collection = %s AND i.id = %s"  # noqa: S608


class PgstacCatalog(Catalog):
    """A catalogue in a database with pgSTAC.

    Writers of one collection wait for each other for up to a minute.
    """

    def __init__(
        self,
        address: str,
        *,
        read_only: bool = False,
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        """Open the catalogue of a database; without `read_only` an empty one is made one.

        Args:
            address: `postgresql://USER:PASSWORD@HOST/NAME`.
            read_only: whether nothing may be changed.
            hidden: collections that do not exist for whoever uses this object.

        Raises:
            CatalogUnusable: the database cannot be reached, or holds no pgSTAC that this code
                knows.
        """
        super().__init__(read_only=read_only, hidden=hidden)
        self._connections = Connections(address, read_only=read_only)

    @property
    @override
    def address(self) -> str:
        return self._connections.address

    @property
    @override
    def shown(self) -> str:
        return self._connections.shown

    @property
    @override
    def kind(self) -> str:
        with self._connections.reading() as connection:
            query = "SELECT pgstac.get_version(), current_setting('server_version')"
            versions = connection.execute(query).fetchone() or ("", "")
        return "pgSTAC {} on PostgreSQL {}".format(*versions)

    @override
    def __reduce__(self) -> tuple[Callable[..., Catalog], tuple[str, bool, frozenset[str]]]:
        """Pickle as address and mode."""
        return _reopened, (self.address, self.read_only, self.hidden)

    @override
    def close(self) -> None:
        self._connections.close()

    # collections

    @override
    def put_collection(self, collection: Mapping[str, Any], *, new: bool = False) -> None:
        name, text = collection_text(collection)

        def work(connection: Connection) -> None:
            facts = locked(connection, [name])
            if new and facts:
                raise CollectionExists(name)
            _put_collection(connection, json.loads(text), facts[name].record if facts else None)

        self._connections.written(work)

    @override
    def change_collection(
        self,
        id: str,
        change: Callable[[dict[str, Any]], Mapping[str, Any]],
    ) -> dict[str, Any]:
        def work(connection: Connection) -> dict[str, Any]:
            record = self._locked(connection, [id])[id].record
            name, text = collection_text(change(described(record)))
            if name != id:
                raise ArgumentInvalid(f"Collection {id!r} cannot become {name!r}. Keep its id.")
            return _put_collection(connection, json.loads(text), record)

        return self._connections.written(work)

    @override
    def delete_collection(
        self, id: str, *, check: Callable[[dict[str, Any]], object] | None = None
    ) -> None:
        def work(connection: Connection) -> None:
            record = self._locked(connection, [id])[id].record
            if check is not None:
                check(described(record))
            connection.execute("SELECT pgstac.delete_collection(%s)", (id,))

        self._connections.written(work)

    @override
    def _record(self, id: str) -> Record:
        with span("catalogue"), self._connections.reading() as connection:
            return Record(*self._row(connection, f"{RECORD} FROM {RECORDS}", id))

    @override
    def _records(self) -> list[Record]:
        with span("catalogue"), self._connections.reading() as connection:
            query = f'{RECORD} FROM {RECORDS} ORDER BY c.id COLLATE "C"'
            rows = connection.execute(query).fetchall()
        return [Record(*row) for row in rows if row[0] not in self.hidden]

    @override
    def _keep_survey(self, id: str, version: str, survey: str) -> None:
        def work(connection: Connection) -> None:
            facts = locked(connection, [id]).get(id)
            if facts is not None and facts.record.version == version:
                keep_survey(connection, facts.record, Survey.of_text(survey))

        self._connections.written(work)

    @override
    def version(self, collection: str) -> str:
        with span("catalogue"), self._connections.reading() as connection:
            found = self._row(connection, "SELECT version FROM terrazzo.collection", collection)
        return str(found[0])

    @override
    def count(self, collection: str) -> int:
        with self._connections.reading() as connection:
            self._check(connection, [collection])
            query = "SELECT count(*) FROM pgstac.items WHERE collection = %s"
            return _one(connection, query, collection)

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
        with self._connections.reading() as connection:
            select = PgstacSelect(query, self._searched(connection, [collection]))
            return _one(connection, *select.counted(most))

    def _check(self, connection: Connection, names: Sequence[str]) -> None:
        """See that collections are there.

        Raises:
            CollectionNotFound: lists the collections that there are.
        """
        for name in names:
            self._row(connection, "SELECT id FROM terrazzo.collection", name)

    def _row(self, connection: Connection, select: str, collection: str) -> tuple[Any, ...]:
        """Return a row of a table by its `id`, that of a collection.

        Raises:
            CollectionNotFound: lists the collections that there are.
        """
        found = None
        if _is_text(collection) and collection not in self.hidden:
            found = connection.execute(f"{select} WHERE id = %s", (collection,)).fetchone()
        if found is None:
            query = 'SELECT id FROM pgstac.collections ORDER BY id COLLATE "C"'
            names = [name for (name,) in connection.execute(query).fetchall()]
            raise CollectionNotFound(collection, [one for one in names if one not in self.hidden])
        return found

    def _locked(self, connection: Connection, names: Iterable[str]) -> dict[str, Facts]:
        """Keep others from writing to collections until the transaction ends."""
        wanted = sorted(set(names))
        self._check(connection, wanted)
        found = locked(connection, wanted)
        self._check(connection, [name for name in wanted if name not in found])
        return found

    # items

    @override
    def put_items(
        self, items: Iterable[Mapping[str, Any]], *, batch: int = 1000, new: bool = False
    ) -> int:
        if batch < 1:
            raise ArgumentInvalid(f"batch {batch!r} is not a number of items. Valid is 1 or more.")
        count, stream = 0, iter(items)
        while rows := [PgstacRow.of(item) for item in islice(stream, batch)]:
            self._connections.written(partial(self._put, rows=rows, new=new))
            count += len(rows)
        return count

    def _put(self, connection: Connection, rows: Sequence[PgstacRow], new: bool) -> None:
        """Store one batch."""
        facts = self._locked(connection, [row.collection for row in rows])
        last: dict[tuple[str, str], PgstacRow] = {}
        for row in rows:
            if new and (row.collection, row.id) in last:
                raise ItemExists(row.collection, row.id)
            last[row.collection, row.id] = row
        put(connection, list(last.values()), facts, new=new)

    @override
    def change_item(
        self,
        collection: str,
        id: str,
        change: Callable[[dict[str, Any]], Mapping[str, Any]],
    ) -> dict[str, Any]:
        def work(connection: Connection) -> dict[str, Any]:
            facts = self._locked(connection, [collection])
            row = PgstacRow.of(change(self._item(connection, collection, id)))
            if (row.collection, row.id) != (collection, id):
                raise ArgumentInvalid(
                    f"Item {id!r} of {collection!r} cannot become {row.id!r} of "
                    f"{row.collection!r}. Keep its id and collection."
                )
            put(connection, [row], facts, new=False)
            return self._item(connection, collection, id)

        return self._connections.written(work)

    @override
    def stored_item(self, collection: str, id: str) -> StoredItem:
        with span("catalogue"), self._connections.reading() as connection:
            self._check(connection, [collection])
            return StoredItem.of(self._item(connection, collection, id))

    def _item(self, connection: Connection, collection: str, name: str) -> dict[str, Any]:
        found = None
        if _is_text(name):
            found = connection.execute(_ITEM, (collection, name)).fetchone()
        if found is None:
            raise ItemNotFound(collection, name)
        return read(*found)

    @override
    def delete_items(
        self,
        collection: str,
        ids: Iterable[str],
        *,
        check: Callable[[dict[str, Any]], object] | None = None,
    ) -> int:
        wanted = sorted({name for name in ids if _is_text(name)})

        def work(connection: Connection) -> int:
            facts = self._locked(connection, [collection])[collection]
            return remove(connection, facts, wanted, check)

        return self._connections.written(work)

    # upkeep

    @override
    def check(self, progress: Progress | None = None) -> Iterator[str]:
        shown = progress or Progress()
        with self._connections.reading() as connection:
            yield from triggers_missing(connection)
        records = self._records()
        with shown:
            shown.start(len(records), "collections")
            for record in records:
                with self._connections.reading() as connection:
                    faults = list(faults_of(connection, record.id))
                yield from faults
                yield from self._unreadable(record)
                shown.advance()

    def _unreadable(self, record: Record) -> Iterator[str]:
        """Say which items of a collection are none, and whether they were counted rightly."""
        count = 0
        for item in self.stored((record.id,)):
            count += 1
            document = item.document()
            try:
                item_row(document)
            except ArgumentInvalid as problem:
                yield f"Collection {record.id!r}: {problem}"
        known = record.surveyed()
        if known is not None and known.count != count and self.version(record.id) == record.version:
            yield (
                f"Collection {record.id!r} has {count} items and its summaries are of "
                f"{known.count}: put it again."
            )

    @override
    def vacuum(self) -> tuple[int, int]:
        self._connections.written(lambda _: None)  # refused where only reading is allowed
        with self._connections.reading() as connection:
            before = size(connection)
            tidy(connection)
            return before, size(connection)

    # search

    @override
    def _found(
        self, query: Query, collections: Sequence[str], after: Position | None
    ) -> Iterator[StoredItem]:
        with self._connections.reading() as connection:
            searched = self._searched(connection, collections)
        select = PgstacSelect(query, searched)
        place = [] if after is None else select.place(after)
        return self._matches(select, place) if searched.names else iter(())

    def _searched(self, connection: Connection, collections: Sequence[str]) -> Searched:
        """Return the named collections, or all that may be seen."""
        self._check(connection, collections)
        query = """
            SELECT c.id, t.odd FROM pgstac.collections c JOIN terrazzo.collection t USING (id)
            WHERE %s OR c.id = ANY(%s) ORDER BY c.key"""
        rows = connection.execute(query, (not collections, list(collections))).fetchall()
        seen = [(name, odd) for name, odd in rows if name not in self.hidden]
        return Searched(tuple(name for name, _ in seen), any(odd for _, odd in seen))

    def _matches(self, select: PgstacSelect, after: Sequence[object]) -> Iterator[StoredItem]:
        """Stream the candidates in pages behind a key, and keep what the query accepts."""
        query, keys = select.query, len(select.keys)
        page = _FIRST_KEYS if query.limit is None else min(max(query.limit, 1), _FIRST_KEYS)
        while True:
            if query.check is not None:
                query.check()
            with span("catalogue"), self._connections.reading() as connection:
                rows = connection.execute(*select.page(DOCUMENT, after, page)).fetchall()
            for row in rows:
                with span("catalogue"):
                    document = read(*row[keys:])
                    item = StoredItem.of(document) if query.accepts(document) else None
                if item is not None:
                    yield item
            if len(rows) < page:
                return
            after = rows[-1][:keys]
            size = sum(len(exact or content) for *_, exact, content in rows)
            page = min(4 * page, _MOST_KEYS, max(page * _MOST_LETTERS // max(size, 1), 1))


def _reopened(address: str, read_only: bool, hidden: frozenset[str]) -> Catalog:
    """Open a catalogue that was pickled."""
    return PgstacCatalog(address, read_only=read_only, hidden=hidden)


def _is_text(text: object) -> bool:
    """Tell whether PostgreSQL could hold it as text; graphs of strangers hold anything."""
    return (
        isinstance(text, str)
        and "\0" not in text
        and not any("\ud800" <= letter <= "\udfff" for letter in text)
    )


def _one(connection: Connection, query: str, *values: Any) -> int:
    """Return the only value of a query."""
    bound = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    row = connection.execute(query, bound).fetchone()
    return 0 if row is None else int(row[0])


def _put_collection(
    connection: Connection, given: Mapping[str, Any], record: Record | None
) -> dict[str, Any]:
    """Put a document over a locked one, or a new one; return it as it is read."""
    stated = restated(given, record)
    text = json_text(stated)
    empty = Survey().to_text()
    known = Record(given["id"], "", text, empty if record is None else record.survey)
    document = described(known)
    publish(connection, document)
    connection.execute(
        "UPDATE terrazzo.collection SET version = terrazzo.new_version(), stated = %s, survey = %s "
        "WHERE id = %s",
        (text.decode(), known.survey, known.id),
    )
    return document
