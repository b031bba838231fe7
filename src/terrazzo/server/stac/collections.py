"""Routes of collections: list, describe, and what their items can be filtered by."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from terrazzo.ledger import Principal
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import principal
from terrazzo.server.stac.collection_documents import SCHEMA, described, listed, queryables
from terrazzo.server.web.links import address, link
from terrazzo.server.web.paging import Page, token

router = APIRouter()

Shared = Annotated[Parts, Depends(parts)]
Anybody = Annotated[Principal, Depends(principal)]


@router.get("/collections")
def collections(
    who: Anybody, page: Annotated[Page, Depends()], request: Request, shared: Shared
) -> dict[str, Any]:
    """List the collections that who asks may see, by id."""
    behind = page.key(1)
    with shared.workspace_of(who).catalog() as catalog:
        found = [one for one in catalog.collections() if behind is None or one["id"] > behind[0]]
    here = address(request, shared.settings, "collections")
    root = address(request, shared.settings) + "/"
    links = [link("self", here), link("root", root), link("parent", root)]
    if page.size is not None and len(found) > page.size:
        found = found[: page.size]
        links.append(link("next", f"{here}?limit={page.size}&after={token([found[-1]['id']])}"))
    return {"collections": listed(found, request, shared.settings), "links": links}


# Ids may hold slashes, so the longer paths come first.
@router.get("/collections/{collection_id:path}/queryables", response_class=Response)
def filters(collection_id: str, who: Anybody, request: Request, shared: Shared) -> Response:
    """Tell by which properties the items of a collection can be filtered, as JSON Schema."""
    here = address(request, shared.settings, "collections", collection_id, "queryables")
    with shared.workspace_of(who).catalog() as catalog:
        return JSONResponse(queryables(catalog, collection_id, here), media_type=SCHEMA)


@router.get("/collections/{collection_id:path}")
def collection(
    collection_id: str, who: Anybody, request: Request, shared: Shared
) -> dict[str, Any]:
    """Tell all that is known of a collection."""
    with shared.workspace_of(who).catalog() as catalog:
        return described(catalog, collection_id, request, shared.settings)
