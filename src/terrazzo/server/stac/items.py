"""Routes of the STAC API: search, items of a collection, one item, and the files of its assets."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from terrazzo.ledger import Principal
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import principal
from terrazzo.server.stac.assets import asset_file
from terrazzo.server.stac.documents import GEOJSON
from terrazzo.server.stac.item_pages import Searched, found_items, one_item, page_links, queryables
from terrazzo.server.stac.pages import PageRoute
from terrazzo.server.stac.query import of_parameters, read_query
from terrazzo.server.stac.tags import Condition
from terrazzo.server.web.links import address, link
from terrazzo.server.web.patience import patience_of
from terrazzo.server.web.payload import read_object
from terrazzo.server.web.waiting import Waiting

router = APIRouter(tags=["STAC"], route_class=PageRoute)

searches = Waiting(8)
"""A filter that nothing meets looks at every item: other routes keep their threads."""
Shared = Annotated[Parts, Depends(parts)]
Anybody = Annotated[Principal, Depends(principal)]
SCHEMA = "application/schema+json"
LARGEST = 1_000_000
"""Bytes of a search, which everybody may send; a geometry of 20,000 corners has half of them."""
CLASSES = (
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "https://api.stacspec.org/v1.0.0/item-search",
    *(
        f"https://api.stacspec.org/v1.0.0/{where}#{extension}"
        for where in ("item-search", "ogcapi-features")
        for extension in ("fields", "filter", "query", "sort")
    ),
    "https://api.stacspec.org/v1.0.0-rc.1/item-search#free-text",
    "https://api.stacspec.org/v1.0.0-rc.1/ogcapi-features#free-text",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/filter",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/features-filter",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/queryables",
    *(
        f"http://www.opengis.net/spec/cql2/1.0/conf/{name}"
        for name in (
            "cql2-text",
            "cql2-json",
            "basic-cql2",
            "advanced-comparison-operators",
            "case-insensitive-comparison",
            "accent-insensitive-comparison",
            "basic-spatial-functions",
            "basic-spatial-functions-plus",
            "spatial-functions",
            "temporal-functions",
            "array-functions",
            "arithmetic",
            "property-property",
        )
    ),
)
"""The conformance classes of what the routes here do."""
_FILE = {
    # Shared caches would go on giving a file after its signed address has expired.
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
}


class GeoJson(Response):
    """An answer that is GeoJSON."""

    media_type = GEOJSON


@router.get("/search", response_class=GeoJson)
async def search(
    who: Anybody, request: Request, shared: Shared, given: Annotated[Searched, Query()]
) -> Response:
    """Find items of all collections; parameters as in STAC's item search."""

    def work() -> Response:
        members = of_parameters(given.told())
        found = found_items(shared, who, request, read_query(members), patience)
        here = address(request, shared.settings, "search")
        return GeoJson(found.text(page_links(here, given.told(), found.after)))

    async with patience_of(request) as patience:
        return await searches.run(work)


@router.post("/search", response_class=GeoJson)
async def search_by_body(who: Anybody, request: Request, shared: Shared) -> Response:
    """Find items of all collections; the body is as in STAC's item search."""
    body = await read_object(request, min(LARGEST, shared.settings.limits.body_bytes))

    def work() -> Response:
        found = found_items(shared, who, request, read_query(body), patience)
        here = address(request, shared.settings, "search")
        following = {"method": "POST", "body": {**body, "token": found.after}}
        return GeoJson(found.text([link("next", here, GEOJSON) | following] if found.after else []))

    async with patience_of(request) as patience:
        return await searches.run(work)


@router.get("/queryables", response_class=Response)
def all_queryables(who: Anybody, request: Request, shared: Shared) -> Response:
    """Tell by which properties items of every collection can be filtered, as JSON Schema."""
    here = address(request, shared.settings, "queryables")
    return JSONResponse(queryables(shared, who, here), media_type=SCHEMA)


# Ids may hold slashes, so the longer paths come first.
@router.get(
    "/collections/{collection_id:path}/items/{item_id}/assets/{key:path}", response_class=Response
)
def asset(
    collection_id: str,
    item_id: str,
    key: str,
    who: Anybody,
    shared: Shared,
    signature: Annotated[str, Query(alias="key", max_length=200)] = "",
) -> FileResponse:
    """Give the file of an asset, whole or a range of it."""
    path, media_type = asset_file(shared, who, (collection_id, item_id, key), signature)
    return FileResponse(path, media_type=media_type, filename=Path(path).name, headers=_FILE)


@router.get("/collections/{collection_id:path}/items/{item_id}", response_class=GeoJson)
def item(
    collection_id: str, item_id: str, who: Anybody, request: Request, shared: Shared
) -> Response:
    """Give one item."""
    text, tag, expires = one_item(shared, who, request, collection_id, item_id)
    if not expires and Condition.of(request).knows(tag):
        return Response(status_code=304, headers={"ETag": tag})
    return GeoJson(text, headers={"ETag": tag})


@router.get("/collections/{collection_id:path}/items", response_class=GeoJson)
async def items(
    collection_id: str,
    who: Anybody,
    request: Request,
    shared: Shared,
    given: Annotated[Searched, Query()],
) -> Response:
    """Find items of one collection; parameters as in STAC's item search."""

    def work() -> Response:
        members: dict[str, Any] = of_parameters(given.told()) | {"collections": [collection_id]}
        found = found_items(shared, who, request, read_query(members), patience)
        here = address(request, shared.settings, "collections", collection_id, "items")
        return GeoJson(found.text(page_links(here, given.told(), found.after)))

    async with patience_of(request) as patience:
        return await searches.run(work)
