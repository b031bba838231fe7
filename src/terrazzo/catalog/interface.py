"""What a catalogue does, wherever it is kept: in one SQLite file, or in PostgreSQL with pgSTAC.

Everything that a search means (which items it finds, in which order, where it goes on) is decided
here and in `search`, `cql2` and `order`; a back end proposes candidates and keeps documents. So
both give the same answers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Self, TypedDict

from terrazzo.catalog.cql2_operators import Facts
from terrazzo.catalog.described import Record, Texts
from terrazzo.catalog.search import checked_query
from terrazzo.catalog.survey import Gathering, Survey
from terrazzo.errors import ArgumentInvalid, CollectionNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from typing_extensions import Unpack

    from terrazzo.catalog.cql2 import Filter
    from terrazzo.catalog.filters import PropertyFilter
    from terrazzo.catalog.order import Position, Sort
    from terrazzo.catalog.search import Query
    from terrazzo.catalog.stored import StoredItem
    from terrazzo.progress import Progress


_TEXTS = Texts(512)


class Asked(TypedDict, total=False):
    """What a search may ask for; everything that is given must be met."""

    bbox: Sequence[float] | None
    """West, south, east, north in EPSG:4326; west > east crosses the antimeridian. Borders
    count."""
    intersects: Mapping[str, Any] | None
    """A GeoJSON geometry in EPSG:4326, instead of `bbox`."""
    interval: tuple[str | None, str | None] | None
    """Half-open `(start, end)` of RFC 3339 texts or None. An item with a `datetime` is that
    instant, another the half-open period of its start and end."""
    ids: Sequence[str]
    """Only these items; empty is any."""
    properties: Sequence[PropertyFilter]
    """Conditions that all must be met."""
    filter: str | Mapping[str, Any] | Filter | None
    """A condition in CQL2, text or JSON."""
    sort: Sort
    """Names of properties, `id` or `collection`, with `-` before those to reverse; `"datetime"`,
    the default, is the (start) time. Items that lack a property come last, or first where it is
    reversed."""
    limit: int | None
    """How many items at most."""
    after: Position | None
    """The `position` of the item behind which to carry on, in the same order."""
    check: Callable[[], None] | None
    """Called now and then while items are looked at, found or not; what it raises ends the
    search."""


class Catalog(ABC):
    """STAC collections and items; threads and processes may share it.

    Writers wait for each other, readers never wait. The object can be pickled: it is opened again
    by its address where it arrives. Open one with `open_catalog`.
    """

    def __init__(self, *, read_only: bool, hidden: frozenset[str]) -> None:
        self.read_only = read_only
        self.hidden = hidden

    @property
    @abstractmethod
    def address(self) -> str:
        """Where it is, as `open_catalog` takes it. It may hold a password: do not show it."""

    @property
    @abstractmethod
    def shown(self) -> str:
        """Where it is, for people; without a password."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """What keeps it and in which version, for people."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close all connections; closing twice does nothing."""

    # collections

    @abstractmethod
    def put_collection(self, collection: Mapping[str, Any], *, new: bool = False) -> None:
        """Add a STAC collection, or replace its document and keep its items.

        Args:
            collection: the document.
            new: whether it must not be there yet.

        Raises:
            ArgumentInvalid: see `documents.collection_text`.
            CollectionExists: `new`, and it is there.
            OutputFailed: the catalogue could not be written.
        """

    @abstractmethod
    def change_collection(
        self,
        id: str,  # noqa: A002 - STAC's name
        change: Callable[[dict[str, Any]], Mapping[str, Any]],
    ) -> dict[str, Any]:
        """Replace a collection's document by what `change` makes of it; nobody writes in between.

        Returns:
            The new document.

        Raises:
            CollectionNotFound: lists the collections that there are.
            ArgumentInvalid: the new document is invalid or has another id.
            OutputFailed: the catalogue could not be written.
        """

    def collection(self, id: str) -> dict[str, Any]:  # noqa: A002
        """Return a collection's document.

        Extents, `cube:dimensions`, bands, `item_assets` and summaries are those of its items; see
        `Survey.describe`.

        Raises:
            CollectionNotFound: lists the collections that there are.
        """
        return self._described(self._record(id))

    def collections(self) -> list[dict[str, Any]]:
        """Return the documents of all collections, by id."""
        found = []
        for record in self._records():
            with suppress(CollectionNotFound):  # deleted just now
                found.append(self._described(record))
        return found

    def survey(self, collection: str) -> Survey:
        """Return what the items of a collection have in common.

        It is kept with them; only where it is not known it is made of all items, and kept.

        Raises:
            CollectionNotFound: lists the collections that there are.
        """
        return self._survey_of(self._record(collection))[0]

    def surveyed(self, collection: str) -> Survey:
        """Look at all items of a collection, whatever is kept.

        Raises:
            CollectionNotFound: lists the collections that there are.
        """
        gathering = Gathering(Survey())
        for item in self.stored((collection,)):
            gathering.add(item.document())
        gathering.done()
        return gathering.survey

    def _described(self, record: Record) -> dict[str, Any]:
        """Return a collection's document, made once per version."""
        found = _TEXTS.get(record)
        if found is None:
            survey, lasting = self._survey_of(record)
            found = survey.describe(record.document())
            if lasting:
                _TEXTS.put(record, found)
        return found

    def _survey_of(self, record: Record) -> tuple[Survey, bool]:
        """Return the survey of a collection, and whether nobody has written since its record."""
        known = record.surveyed()
        if known is not None:
            return known, True
        survey = self.surveyed(record.id)
        if self.version(record.id) != record.version:
            return survey, False
        if not self.read_only:
            self._keep_survey(record.id, record.version, survey.to_text())
        return survey, True

    def stated(self, id: str) -> dict[str, Any]:  # noqa: A002
        """Return a collection's document without what is computed from its items.

        Raises:
            CollectionNotFound: lists the collections that there are.
        """
        return self._record(id).document()

    @abstractmethod
    def _record(self, id: str) -> Record:  # noqa: A002
        """Return what is kept of a collection.

        Raises:
            CollectionNotFound: lists the collections that there are.
        """

    @abstractmethod
    def _records(self) -> list[Record]:
        """Return what is kept of all collections, by id."""

    @abstractmethod
    def _keep_survey(self, id: str, version: str, survey: str) -> None:  # noqa: A002
        """Keep a survey that was made anew, if the collection still has that version."""

    @abstractmethod
    def delete_collection(
        self,
        id: str,  # noqa: A002
        *,
        check: Callable[[dict[str, Any]], object] | None = None,
    ) -> None:
        """Delete a collection and all its items.

        Args:
            id: of the collection.
            check: is given the document, which nobody changes meanwhile; what it raises keeps all.

        Raises:
            CollectionNotFound: lists the collections that there are.
            OutputFailed: the catalogue could not be written.
        """

    @abstractmethod
    def version(self, collection: str) -> str:
        """Return a text that changes whenever the collection or any of its items does.

        It is random per change: no two states of any catalogue share one.

        Raises:
            CollectionNotFound: lists the collections that there are.
        """

    @abstractmethod
    def count(self, collection: str) -> int:
        """Return the number of items of a collection.

        Raises:
            CollectionNotFound: lists the collections that there are.
        """

    @abstractmethod
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
            bbox: see `Asked`.
            interval: see `Asked`.
            most: where counting ends.

        Raises:
            CollectionNotFound: lists the collections that there are.
            ArgumentInvalid: an argument is wrong.
            TemporalExtentEmpty: the interval holds no instant.
        """

    # items

    @abstractmethod
    def put_items(
        self, items: Iterable[Mapping[str, Any]], *, batch: int = 1000, new: bool = False
    ) -> int:
        """Add items, or replace those whose collection and id are there already.

        A batch is stored whole or not at all, and on a crash the batches before it are kept;
        putting the same items again completes the work. The last of equal ids counts.

        Args:
            items: STAC items; each names its collection, which must be there.
            batch: items per transaction; others write between batches.
            new: whether none of them must be there yet.

        Returns:
            The number of items put.

        Raises:
            ArgumentInvalid: an item is invalid (see `documents.item_row`); nothing of its batch is
                stored.
            CollectionNotFound: an item's collection is not in the catalogue.
            ItemExists: `new`, and one is there; nothing of its batch is stored.
            OutputFailed: the catalogue could not be written.
        """

    @abstractmethod
    def change_item(
        self,
        collection: str,
        id: str,  # noqa: A002
        change: Callable[[dict[str, Any]], Mapping[str, Any]],
    ) -> dict[str, Any]:
        """Replace an item by what `change` makes of it; nobody writes in between.

        Returns:
            The new document.

        Raises:
            CollectionNotFound: lists the collections that there are.
            ItemNotFound: the collection has no such item.
            ArgumentInvalid: the new document is invalid, or has another id or collection.
            OutputFailed: the catalogue could not be written.
        """

    def item(self, collection: str, id: str) -> dict[str, Any]:  # noqa: A002
        """Return an item's document.

        Raises:
            CollectionNotFound: lists the collections that there are.
            ItemNotFound: the collection has no such item.
        """
        return self.stored_item(collection, id).document()

    @abstractmethod
    def stored_item(self, collection: str, id: str) -> StoredItem:  # noqa: A002
        """Return an item as it is kept: for those who pass it on unread.

        Raises:
            CollectionNotFound: lists the collections that there are.
            ItemNotFound: the collection has no such item.
        """

    @abstractmethod
    def delete_items(
        self,
        collection: str,
        ids: Iterable[str],
        *,
        check: Callable[[dict[str, Any]], object] | None = None,
    ) -> int:
        """Delete items by id, all or none; ids that are not there are passed over.

        Args:
            collection: their collection.
            ids: of the items.
            check: is given each document, which nobody changes meanwhile; what it raises keeps all.

        Returns:
            The number of items deleted.

        Raises:
            CollectionNotFound: lists the collections that there are.
            OutputFailed: the catalogue could not be written.
        """

    # upkeep

    @abstractmethod
    def check(self, progress: Progress | None = None) -> Iterator[str]:
        """Tell what is wrong with what is kept, a sentence each; nothing where all is sound.

        Every item is read. Others may go on reading and writing.

        Args:
            progress: is told of the items.
        """

    @abstractmethod
    def vacuum(self) -> tuple[int, int]:
        """Give back the space of what was deleted.

        Returns:
            The bytes that the catalogue took before and takes now.

        Raises:
            ArgumentInvalid: it was opened for reading only.
            OutputFailed: the catalogue could not be written.
        """

    # search

    def search(
        self, collections: Sequence[str] = (), **asked: Unpack[Asked]
    ) -> Iterator[dict[str, Any]]:
        """Find items, streamed in a stable order that ends with the id and the collection.

        No transaction stays open between items. What others change while the stream runs may
        or may not be seen, but nothing comes twice and nothing unchanged is missed.

        Args:
            collections: ids; empty is all.
            **asked: see `Asked`.

        Returns:
            An iterator of documents; arguments are checked before it is returned.

        Raises:
            CollectionNotFound: lists the collections that there are.
            ArgumentInvalid: an argument is wrong.
            FilterInvalid: the filter is.
            TemporalExtentEmpty: the interval holds no instant.
        """
        return (found.document() for found in self.stored(collections, **asked))

    def stored(
        self, collections: Sequence[str] = (), **asked: Unpack[Asked]
    ) -> Iterator[StoredItem]:
        """Find items like `search`, as they are kept: for those who pass them on unread.

        Args:
            collections: ids; empty is all.
            **asked: see `Asked`.

        Raises:
            CollectionNotFound, ArgumentInvalid, FilterInvalid, TemporalExtentEmpty: see `search`.
        """
        query = checked(collections, asked)
        return islice(self._found(query, collections, asked.get("after")), query.limit)

    def facts(self, collections: Sequence[str] = (), **asked: Unpack[Asked]) -> Iterator[Facts]:
        """Find items like `search`, for those who only look at them: may read no documents.

        Args:
            collections: ids; empty is all.
            **asked: see `Asked`.

        Raises:
            CollectionNotFound, ArgumentInvalid, FilterInvalid, TemporalExtentEmpty: see `search`.
        """
        return (Facts(item) for item in self.search(collections, **asked))

    def known_count(self, collections: Sequence[str] = (), **asked: Unpack[Asked]) -> int | None:
        """Return how many items a search finds, where that is known without looking at each.

        Args:
            collections: ids; empty is all.
            **asked: see `Asked`; `limit` and `after` do not count.

        Raises:
            CollectionNotFound: lists the collections that there are.
        """
        unconditional = {"sort", "limit", "after", "check"}
        if any(value for name, value in asked.items() if name not in unconditional):
            return None
        names = collections or [document["id"] for document in self.collections()]
        return sum(self.count(name) for name in dict.fromkeys(names))

    @abstractmethod
    def _found(
        self, query: Query, collections: Sequence[str], after: Position | None
    ) -> Iterator[StoredItem]:
        """Stream what a checked query finds; what is wrong with `after` is raised at once."""


def checked(collections: Sequence[str], asked: Asked) -> Query:
    """Return a search whose arguments are right.

    Raises:
        ArgumentInvalid, FilterInvalid, TemporalExtentEmpty: see `Catalog.search`.
    """
    if isinstance(collections, str):
        raise ArgumentInvalid(f"collections {collections!r} is one text: write ({collections!r},).")
    return checked_query(
        bbox=asked.get("bbox"),
        intersects=asked.get("intersects"),
        interval=asked.get("interval"),
        ids=asked.get("ids", ()),
        properties=asked.get("properties", ()),
        condition=asked.get("filter"),
        sort=asked.get("sort", "datetime"),
        limit=asked.get("limit"),
        check=asked.get("check"),
    )
