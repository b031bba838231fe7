"""Pages of items: what a search finds, and the link to what comes after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field

from terrazzo.catalog import position
from terrazzo.ledger.collections import restricted_collections
from terrazzo.server.stac.collection_documents import queryables as of_collection
from terrazzo.server.stac.documents import GEOJSON, ItemsHere, chosen, feature_collection
from terrazzo.server.web.faults import RequestInvalid
from terrazzo.server.web.links import address, link
from terrazzo.server.web.paging import keys_of, token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

    from terrazzo.ledger import Principal
    from terrazzo.server.parts import Parts
    from terrazzo.server.stac.query import StacQuery


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
    filter: str | None = Field(None, description="A condition in CQL2.")
    filter_lang: str | None = Field(None, alias="filter-lang", description="cql2-text or -json.")
    filter_crs: str | None = Field(None, alias="filter-crs", description="OGC's CRS84.")
    query: str | None = Field(None, description='JSON such as {"eo:cloud_cover": {"lt": 20}}.')

    def told(self) -> dict[str, str]:
        """Return what was given, by the names of STAC."""
        return self.model_dump(by_alias=True, exclude_none=True)


def found_items(
    shared: Parts, who: Principal, request: Request, query: StacQuery
) -> tuple[dict[str, Any], str]:
    """Return a page of items as a document, and where to go on: empty at the end.

    Raises:
        CollectionNotFound: lists the collections that there are.
        ArgumentInvalid: a place, an order or a token is wrong.
    """
    after = tuple(_position(query.token)) if query.token else None
    with shared.workspace_of(who).catalog() as catalog:
        found = list(
            catalog.search(
                query.collections,
                bbox=query.bbox,
                intersects=query.intersects,
                ids=query.ids,
                filter=query.condition,
                sort=query.sort,
                limit=query.limit + 1,
                after=after,
            )
        )
    more, found = len(found) > query.limit, found[: query.limit]
    here = ItemsHere(
        request, shared.settings, shared.signer, restricted_collections(shared.database)
    )
    root = address(request, shared.settings) + "/"
    links = [link("root", root), link("self", str(request.url), GEOJSON)]
    features = [chosen(here.served(item), query.fields) for item in found]
    return (
        feature_collection(features, links),
        token(position(found[-1], query.sort)) if more else "",
    )


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
) -> dict[str, Any]:
    """Return one item.

    Raises:
        CollectionNotFound, ItemNotFound: it is not there for who asks.
    """
    with shared.workspace_of(who).catalog() as catalog:
        item = catalog.item(collection, name)
    restricted = restricted_collections(shared.database)
    return ItemsHere(request, shared.settings, shared.signer, restricted).served(item)


def queryables(shared: Parts, who: Principal, here: str) -> dict[str, Any]:
    """Return the properties that the items of every collection can be filtered by."""
    with shared.workspace_of(who).catalog() as catalog:
        names = [document["id"] for document in catalog.collections()]
        schemas = [of_collection(catalog, name, here) for name in names]
    known = [schema.get("properties", {}) for schema in schemas]
    common = set.intersection(*map(set, known)) if known else set()
    properties = {
        name: schema
        for name, schema in (known[0] if known else {}).items()
        if name in common and all(other[name] == schema for other in known)
    }
    return {
        "$schema": "https://json-schema.org/draft/2019-09/schema",
        "$id": here,
        "type": "object",
        "title": "What items of every collection can be filtered by",
        "properties": properties,
        "additionalProperties": True,
    }
