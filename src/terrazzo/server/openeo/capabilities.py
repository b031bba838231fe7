"""Routes that say what the server is and can do: where every client begins."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from terrazzo import __version__
from terrazzo.catalog.stored import STAC_VERSION
from terrazzo.ledger import Principal
from terrazzo.server.description import OPENAPI
from terrazzo.server.openeo import home
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import visitor
from terrazzo.server.stac.aggregation import CLASSES as AGGREGATION_CLASSES
from terrazzo.server.stac.collection_documents import (
    GEOJSON,
    QUERYABLES,
    SCHEMA,
    aggregation_links,
)
from terrazzo.server.stac.collections import CLASSES as COLLECTION_CLASSES
from terrazzo.server.stac.items import CLASSES as STAC_CLASSES
from terrazzo.server.stac.transactions import CLASSES as TRANSACTION_CLASSES
from terrazzo.server.web.accept import wants_page
from terrazzo.server.web.links import address, link

router = APIRouter()

Shared = Annotated[Parts, Depends(parts)]
Visitor = Annotated[Principal, Depends(visitor)]

API_VERSION = "1.2.0"
"""The version of the openEO API that is implemented."""
TITLE = "Terrazzo"
MOST_CHILDREN = 100
"""Collections that the landing page links to; with more of them it has no such links."""
CONFORMANCE = (
    f"https://api.openeo.org/{API_VERSION}",
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    *STAC_CLASSES,
    *COLLECTION_CLASSES,
    *AGGREGATION_CLASSES,
    *TRANSACTION_CLASSES,
)
"""What is implemented, as addresses of conformance classes."""
OPENEO_PATHS = frozenset(
    {
        "/file_formats", "/conformance", "/collections", "/collections/{collection_id}",
        "/collections/{collection_id}/queryables", "/processes", "/udf_runtimes",
        "/credentials/oidc", "/credentials/basic", "/validation", "/result", "/process_graphs",
        "/process_graphs/{process_graph_id}", "/service_types", "/services",
        "/services/{service_id}", "/services/{service_id}/logs", "/jobs", "/jobs/{job_id}",
        "/jobs/{job_id}/estimate", "/jobs/{job_id}/logs", "/jobs/{job_id}/results", "/me",
        "/files", "/files/{path}",
    }
)  # fmt: skip
"""The paths of openEO, but for the two by which clients find the others."""
_ONLY_READ = {"/collections", "/collections/{collection_id}"}
"""What openEO only reads, and STAC writes, too."""
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@router.get("/.well-known/openeo")
async def versions(request: Request, shared: Shared) -> dict[str, Any]:
    """List the versions of the openEO API that there are here: one."""
    url = address(request, shared.settings) + "/"
    return {"versions": [{"url": url, "api_version": API_VERSION, "production": True}]}


@router.get("/")
async def capabilities(request: Request, shared: Shared, who: Visitor) -> Response:
    """Tell what this is, or return the map page to a browser."""
    if wants_page(request):
        return home.page(request.scope, shared.settings)
    told = {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "id": "terrazzo",
        "title": TITLE,
        "description": "An open platform for Earth-observation data: one graph, the same answer "
        "on a map, in a batch, and over polygons.",
        "api_version": API_VERSION,
        "backend_version": __version__,
        "production": True,
        "conformsTo": list(CONFORMANCE),
        "endpoints": endpoints(request, shared),
        "links": [
            *_links(request, shared),
            *await run_in_threadpool(_children, request, shared, who),
        ],
    }
    return JSONResponse(told, headers={"Vary": "Accept"})


@router.get("/conformance")
async def conformance() -> dict[str, Any]:
    """List the conformance classes of openEO, STAC and OGC that are implemented."""
    return {"conformsTo": list(CONFORMANCE)}


def endpoints(request: Request, shared: Parts) -> list[dict[str, Any]]:
    """Return what of openEO's API the application has, as its routes are, and is of use here."""
    settings = shared.settings
    useless = {
        "/credentials/basic" if settings.open else "",
        "/credentials/oidc" if not settings.providers else "",
    }
    paths = request.app.openapi()["paths"]
    return [
        {
            "path": path,
            "methods": [
                one
                for one in (_METHODS if path not in _ONLY_READ else ("GET",))
                if one.lower() in paths[path]
            ],
        }
        for path in sorted(OPENEO_PATHS & paths.keys())
        if path not in useless
    ]


def _children(request: Request, shared: Parts, who: Principal) -> list[dict[str, str]]:
    """Return links to the collections; none where they are many, `/children` has them all."""
    with shared.workspace_of(who).catalog() as catalog:
        documents = catalog.collections()
    if len(documents) > MOST_CHILDREN:
        return []
    return [
        link(
            "child",
            address(request, shared.settings, "collections", one["id"]),
            title=str(one.get("title") or one["id"]),
        )
        for one in documents
    ]


def _links(request: Request, shared: Parts) -> list[dict[str, str]]:
    def to(*path: str) -> str:
        return address(request, shared.settings, *path)

    root = to() + "/"
    return [
        link("self", root, title="This document"),
        link("root", root, title=TITLE),
        link("alternate", root, "text/html", "The map, for browsers"),
        link("version-history", to(".well-known", "openeo"), title="Versions of the openEO API"),
        link("conformance", to("conformance"), title="Conformance classes"),
        link("data", to("collections"), title="Collections"),
        link("search", to("search"), GEOJSON, "Search for items") | {"method": "GET"},
        link("search", to("search"), GEOJSON, "Search for items") | {"method": "POST"},
        link(QUERYABLES, to("queryables"), SCHEMA, "Filters of all items"),
        *aggregation_links(to),
        link("children", to("children"), title="Collections, each whole"),
        link("related", to("features"), title="Features of geometries: OGC API Features and Tiles"),
        link("service-desc", to("openapi.json"), OPENAPI, "The API of this server"),
    ]
