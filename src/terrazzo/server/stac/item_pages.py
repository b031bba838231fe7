"""Pages of items: what a search finds, and the link to what comes after it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field

from terrazzo.catalog import position
from terrazzo.catalog.json_text import json_text
from terrazzo.server.stac.collection_documents import OF_ALL
from terrazzo.server.stac.collection_documents import queryables as of_collection
from terrazzo.server.stac.documents import GEOJSON, OFTEN, ItemsHere, Page
from terrazzo.server.stac.fields import chosen
from terrazzo.server.stac.matched import number_matched
from terrazzo.server.stac.tags import tag_of
from terrazzo.server.web.faults import RequestInvalid
from terrazzo.server.web.links import address, link
from terrazzo.server.web.paging import keys_of, token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fastapi import Request

    from terrazzo.catalog import Asked, StoredItem
    from terrazzo.ledger import Principal
    from terrazzo.server.parts import Parts
    from terrazzo.server.stac.query import Fields, StacQuery

MOST_BYTES = 50_000_000
"""Of the items of a page; where more are asked for, the next page has the rest."""


class Searched(BaseModel):
    """Parameters of a search by GET."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    collections: str | None = Field(None, description="Ids with commas between.")
    ids: str | None = Field(None, description="Ids with commas between.")
    bbox: str | None = Field(None, description="West,south,east,north in degrees.")
    intersects: str | None = Field(None, description="A GeoJSON geometry, instead of `bbox`.")
    datetime: str | None = Field(None, description="A time, or two with / between, `..` open.")
    limit: str | None = Field(None, description="Items of a page.")
    token: str | None = Field(None, description="Where to go on, from the link `next`.")
    sortby: str | None = Field(None, description="Properties with commas between, - reverses.")
    fields: str | None = Field(None, description="Members of items, - leaves one out.")
    q: str | None = Field(None, description="Words to look for, commas for or.")
    filter: str | None = Field(None, description="A condition in CQL2.")
    filter_lang: str | None = Field(None, alias="filter-lang", description="cql2-text or -json.")
    filter_crs: str | None = Field(None, alias="filter-crs", description="OGC's CRS84.")
    query: str | None = Field(None, description='JSON such as {"eo:cloud_cover": {"lt": 20}}.')

    def told(self) -> dict[str, str]:
        """Return what was given, by the names of STAC."""
        return self.model_dump(by_alias=True, exclude_none=True)


def found_items(
    shared: Parts,
    who: Principal,
    request: Request,
    query: StacQuery,
    patience: Callable[[], None] | None = None,
) -> Page:
    """Return a page of items.

    Args:
        shared: the parts of the server.
        who: asks.
        request: that is answered.
        query: what is asked for.
        patience: called while items are looked at; what it raises ends the search.

    Raises:
        CollectionNotFound: lists the collections that there are.
        ArgumentInvalid: a place, an order or a token is wrong.
    """
    after = tuple(_position(query.token)) if query.token else None
    asked: Asked = {
        **query.asked,
        "sort": query.sort,
        "limit": query.limit + 1,
        "after": after,
        "check": patience,
    }
    with shared.workspace_of(who).catalog() as catalog:
        found, more = _page(catalog.stored(query.collections, **asked), query.limit)
        matched = number_matched(catalog, query, len(found), more=more)
    here = ItemsHere(request, shared.settings, shared.signer, shared.restricted)
    root = address(request, shared.settings) + "/"
    return Page(
        [_chosen(here.served(item), query.fields) for item in found],
        [link("root", root), link("self", str(request.url), GEOJSON)],
        token(position(found[-1].document(), query.sort)) if more else "",
        {} if matched is None else {"numberMatched": matched},
    )


def _page(items: Iterable[StoredItem], limit: int) -> tuple[list[StoredItem], bool]:
    """Return the items of a page, at least one of those there are, and whether there are more."""
    found: list[StoredItem] = []
    size = 0
    for item in items:
        size += len(item.text)
        if len(found) == limit or (found and size > MOST_BYTES):
            return found, True
        found.append(item)
    return found, False


def _chosen(item: bytes, fields: Fields | None) -> bytes:
    """Return what of an item is asked for."""
    return item if fields is None else json_text(chosen(json.loads(item), fields, OFTEN))


def _position(text: str) -> list[str]:
    try:
        return list(keys_of(text))
    except RequestInvalid:
        raise RequestInvalid(
            "`token` is not a place in this search. Follow the link with rel=next instead of "
            "making one."
        ) from None


def page_links(here: str, given: Mapping[str, str], after: str) -> list[dict[str, Any]]:
    """Return the link to the next page of a search by GET, if there is one."""
    if not after:
        return []
    asked = urlencode({**given, "token": after})
    return [link("next", f"{here}?{asked}", GEOJSON) | {"method": "GET"}]


def one_item(
    shared: Parts, who: Principal, request: Request, collection: str, name: str
) -> tuple[bytes, str, bool]:
    """Return one item as JSON, its entity tag, and whether addresses in it expire.

    Raises:
        CollectionNotFound, ItemNotFound: it is not there for who asks.
    """
    with shared.workspace_of(who).catalog() as catalog:
        item = catalog.stored_item(collection, name)
    here = ItemsHere(request, shared.settings, shared.signer, shared.restricted)
    return here.served(item), tag_of(item.plain()), here.expires


def _shared(schemas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what schemas of a property have in common: limits and values of one are no others'."""
    first = schemas[0]
    return {key: told for key, told in first.items() if all(o.get(key) == told for o in schemas)}


def queryables(shared: Parts, who: Principal, here: str) -> dict[str, Any]:
    """Return the properties that the items of every collection can be filtered by."""
    with shared.workspace_of(who).catalog() as catalog:
        names = [document["id"] for document in catalog.collections()]
        schemas = [of_collection(catalog, name, here) for name in names]
    known = [schema["properties"] for schema in schemas] or [OF_ALL]
    common = {name: [one[name] for one in known if name in one] for name in known[0]}
    properties = {
        name: _shared(each)
        for name, each in common.items()
        if len(each) == len(known) and all(one.get("type") == each[0].get("type") for one in each)
    }
    return {
        "$schema": "https://json-schema.org/draft/2019-09/schema",
        "$id": here,
        "type": "object",
        "title": "What items of every collection can be filtered by",
        "properties": properties,
        "additionalProperties": True,
    }
