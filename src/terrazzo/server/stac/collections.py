"""Routes of collections: list, describe, and what their items can be filtered by."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response

from terrazzo.catalog import Catalog
from terrazzo.ledger import Principal
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import principal
from terrazzo.server.stac.collection_documents import (
    LARGE,
    QUERYABLES,
    SCHEMA,
    described,
    listed,
    queryables,
)
from terrazzo.server.stac.collection_search import (
    SCHEMA_PROPERTIES,
    CollectionQuery,
    CollectionsSearched,
)
from terrazzo.server.stac.fields import chosen
from terrazzo.server.stac.pages import PageRoute
from terrazzo.server.stac.tags import Condition, collection_tag
from terrazzo.server.web.links import address, link
from terrazzo.server.web.paging import Page, token

router = APIRouter(route_class=PageRoute)

Shared = Annotated[Parts, Depends(parts)]
Anybody = Annotated[Principal, Depends(principal)]
REQUIRED = ("type", "id", "stac_version", "description", "license", "extent", "links")
"""What every collection keeps whichever fields are asked for: openEO and STAC need it."""
CLASSES = (
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/simple-query",
    "https://api.stacspec.org/v1.0.0-rc.1/collection-search",
    "https://api.stacspec.org/v1.0.0-rc.1/collection-search#free-text",
    "https://api.stacspec.org/v1.0.0-rc.1/collection-search#filter",
    "https://api.stacspec.org/v1.0.0-rc.1/collection-search#query",
    "https://api.stacspec.org/v1.1.0/collection-search#sort",
    "https://api.stacspec.org/v1.0.0-rc.1/collection-search#fields",
    "https://api.stacspec.org/v1.0.0-rc.2/children",
)
"""The conformance classes of what the routes here do."""


@router.get("/collections")
def collections(
    who: Anybody,
    request: Request,
    shared: Shared,
    given: Annotated[CollectionsSearched, Query()],
) -> dict[str, Any]:
    """Find collections that who asks may see; without parameters all, by id."""
    asked = CollectionQuery.of(given.told())
    with shared.workspace_of(who).catalog() as catalog:
        matched = asked.found(catalog.collections())
        found, after = asked.page(matched)
        shown = _shown(catalog, found, asked, request, shared)
    here = address(request, shared.settings, "collections")
    root = address(request, shared.settings) + "/"
    own = f"{here}?{urlencode(given.told())}" if given.told() else here
    queryable = address(request, shared.settings, "collection-queryables")
    links = [
        link("self", own),
        link("root", root),
        link("parent", root),
        link(QUERYABLES, queryable, SCHEMA, "Filters of collections"),
    ]
    if after:
        links.append(link("next", f"{here}?{urlencode({**given.told(), 'after': after})}"))
    return {
        "collections": shown,
        "links": links,
        "numberMatched": len(matched),
        "numberReturned": len(shown),
    }


def _shown(
    catalog: Catalog,
    found: Sequence[Mapping[str, Any]],
    asked: CollectionQuery,
    request: Request,
    shared: Parts,
) -> list[dict[str, Any]]:
    """Return collections as a list has them, whole where large members are asked for."""
    fields = asked.query.fields
    if fields is None or not LARGE.intersection(name.split(".")[0] for name in fields.include):
        documents = listed(found, request, shared.settings)
    else:
        documents = [described(catalog, one["id"], request, shared.settings) for one in found]
    return [chosen(document, fields, REQUIRED, REQUIRED) for document in documents]


@router.get("/collection-queryables", response_class=Response, tags=["STAC"])
def collection_filters(request: Request, shared: Shared) -> Response:
    """Tell by what collections can be filtered, as JSON Schema."""
    here = address(request, shared.settings, "collection-queryables")
    told = {
        "$schema": "https://json-schema.org/draft/2019-09/schema",
        "$id": here,
        "type": "object",
        "title": "Filters of collections",
        "properties": SCHEMA_PROPERTIES,
        "additionalProperties": True,
    }
    return JSONResponse(told, media_type=SCHEMA)


@router.get("/children", tags=["STAC"])
def children(
    who: Anybody, page: Annotated[Page, Depends()], request: Request, shared: Shared
) -> dict[str, Any]:
    """List what is below the landing page: the collections that who asks may see, each whole."""
    behind = page.key(1)
    with shared.workspace_of(who).catalog() as catalog:
        names = [one["id"] for one in catalog.collections()]
        names = [name for name in names if behind is None or name > behind[0]]
        here = address(request, shared.settings, "children")
        links = [link("self", here), link("root", address(request, shared.settings) + "/")]
        if page.size is not None and len(names) > page.size:
            names = names[: page.size]
            links.append(link("next", f"{here}?limit={page.size}&after={token([names[-1]])}"))
        found = [described(catalog, name, request, shared.settings) for name in names]
    return {"children": found, "links": links}


# Ids may hold slashes, so the longer paths come first.
@router.get("/collections/{collection_id:path}/queryables", response_class=Response)
def filters(collection_id: str, who: Anybody, request: Request, shared: Shared) -> Response:
    """Tell by which properties the items of a collection can be filtered, as JSON Schema."""
    here = address(request, shared.settings, "collections", collection_id, "queryables")
    with shared.workspace_of(who).catalog() as catalog:
        return JSONResponse(queryables(catalog, collection_id, here), media_type=SCHEMA)


@router.get("/collections/{collection_id:path}")
def collection(collection_id: str, who: Anybody, request: Request, shared: Shared) -> Response:
    """Tell all that is known of a collection."""
    with shared.workspace_of(who).catalog() as catalog:
        told = described(catalog, collection_id, request, shared.settings)
        tag = collection_tag(catalog.collection(collection_id))
    if Condition.of(request).knows(tag):
        return Response(status_code=304, headers={"ETag": tag})
    return JSONResponse(told, headers={"ETag": tag})
