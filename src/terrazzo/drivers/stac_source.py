"""What an address of STAC leads to: an API, a static catalogue, or items; and the items there."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from terrazzo.errors import ArgumentInvalid, AssetForbidden, SourceUnreadable
from terrazzo.geo.times import format_time, parse_interval
from terrazzo.storage.stac_walk import (
    Document,
    Found,
    StacReader,
    is_collection,
    items_in,
    links,
    search_link,
    with_query,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

PAGE: Final = 250
"""Items that an API is asked for at a time."""
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class StacOptions:
    """Which items are taken in."""

    source: str = ""
    """Id of the collection there; empty is the one that the address leads to, or of the same id."""
    bbox: tuple[float, float, float, float] | None = None
    """Only items that meet it: west, south, east, north in degrees."""
    interval: tuple[str | None, str | None] | None = None
    """Only items of this time, half-open."""
    filter: str = ""
    """Only items that meet this condition, CQL2 text."""
    limit: int | None = None
    """How many items at most."""
    title: str = ""
    """Title of the collection; empty takes over the one that it has there."""
    license: str = ""
    """SPDX identifier of its licence; empty takes it over."""


@dataclass(frozen=True, slots=True)
class StacSource:
    """Where items come from, and which are asked for."""

    reader: StacReader
    """Reads documents."""
    options: StacOptions
    """What is asked for. Servers need not understand it: whoever takes the items asks again."""
    collection: str
    """Id of the collection here, which an API's may have too."""

    def found(
        self,
        first: Document,
        following: Mapping[str, Any] | None,
        base: str,
        done: Collection[str],
    ) -> Iterator[Found]:
        """Yield the items that a document leads to.

        Args:
            first: the document that the user named.
            following: link to the page of an API where an ingestion before was stopped.
            base: address that the link counts from.
            done: addresses of items of a static catalogue that the ingestion before took.

        Raises:
            ArgumentInvalid: it is no STAC, or the API has no such collection.
            AssetForbidden: a page is on a host that is not allowed.
            SourceUnreadable: a page cannot be read.
        """
        kind = first.content.get("type")
        if kind in {"Feature", "FeatureCollection"}:
            yield from self._going_on(following, base, self._features(first))
            return
        if kind not in {"Catalog", "Collection"}:
            raise ArgumentInvalid(
                f"{first.address} is no STAC item, collection, catalogue or API: its type is "
                f"{kind!r:.80}. Name another address."
            )
        if kind == "Catalog" and (links(first.content, "search") or links(first.content, "data")):
            there = self._collection(first)
            yield Found(there.address, collection=there)
            yield from self._going_on(following, base, self._pages(first, there))
        elif is_collection(first.content) and links(first.content, "items"):
            yield Found(first.address, collection=first)
            pages = self._pages(self._root(first), first)
            yield from self._going_on(following, base, pages)
        else:
            yield from self.reader.items_below(first, self.options.source, done)

    def _collection(self, root: Document) -> Document:
        """Return the collection of an API.

        Raises:
            ArgumentInvalid: there is none of this id.
        """
        name = self.options.source or self.collection
        data = [str(link["href"]) for link in links(root.content, "data")]
        where = data[0] if data else f"{root.address.rstrip('/')}/collections"
        try:
            found = self.reader.read(f"{where.rstrip('/')}/{quote(name, safe='')}", root.address)
        except SourceUnreadable as error:
            if "404" not in error.reason:
                raise
            raise ArgumentInvalid(
                f"{root.address} has no collection {name!r}. {self._names(where, root.address)}"
                "Name the one to ingest with --from."
            ) from None
        if not is_collection(found.content):
            raise SourceUnreadable(found.address, "document", "it is no STAC collection", "")
        return found

    def _names(self, where: str, base: str) -> str:
        """Say which collections an API has."""
        told = self.reader.read(where, base).content.get("collections")
        known = [
            c["id"] for c in told or () if isinstance(c, dict) and isinstance(c.get("id"), str)
        ]
        if not known:
            return ""
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        return f"It has {', '.join(known[:_SHOWN])}{more}. "

    def _root(self, collection: Document) -> Document | None:
        """Return the landing page of a collection's API, None where it cannot be had."""
        for link in links(collection.content, "root"):
            try:
                return self.reader.read(str(link["href"]), collection.address)
            except (AssetForbidden, SourceUnreadable):
                return None
        return None

    def _going_on(
        self, following: Mapping[str, Any] | None, base: str, whole: Iterator[Found]
    ) -> Iterator[Found]:
        """Yield the pages from where an ingestion was stopped, if the server still knows them."""
        if following is None:
            yield from whole
            return
        pages = self.reader.pages(following, base)
        try:
            first = next(pages)
        except SourceUnreadable:
            yield Found(anew=True)
            yield from whole
        else:
            yield from chain([first], pages)

    def _features(self, first: Document) -> Iterator[Found]:
        """Yield the items of a document that holds them, and of the pages that follow it."""
        page = items_in(first)
        yield page
        if page.following is not None:
            yield from self.reader.pages(page.following, first.address)

    def _pages(self, root: Document | None, collection: Document) -> Iterator[Found]:
        """Yield the pages of a collection of an API."""
        asked = self._asked()
        if root is not None:
            name = {"collections": str(collection.content["id"])}
            link = search_link(root, name | asked)
            if link is not None:
                yield from self.reader.pages(link, root.address)
                return
        items = links(collection.content, "items")
        way = {"href": f"{collection.address.rstrip('/')}/items"} if not items else items[0]
        yield from self.reader.pages(with_query(way, asked), collection.address)

    def _asked(self) -> dict[str, str]:
        """Return the parameters of the search."""
        options = self.options
        limit = PAGE if options.limit is None else min(PAGE, max(options.limit, 1))
        asked = {"limit": str(limit)}
        if options.bbox is not None:
            asked["bbox"] = ",".join(f"{side:.12g}" for side in options.bbox)
        if options.interval is not None:
            asked["datetime"] = "/".join(map(_end, parse_interval(*options.interval)))
        if options.filter:
            asked |= {"filter": options.filter, "filter-lang": "cql2-text"}
        return asked


def _end(instant: datetime | None) -> str:
    return ".." if instant is None else format_time(instant)
