"""Routes of OGC API Features and Tiles, below `/features`.

STAC has files of geometries at `/collections/ID/items`; here are the features in them.
"""

import gzip
import hashlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response

from terrazzo import __version__
from terrazzo.drivers.features.squares import DEEPEST, Plane, Square, plane_of
from terrazzo.drivers.features.tables import tables_of
from terrazzo.drivers.features.tiles import ATTRIBUTES, vector_tile
from terrazzo.errors import ArgumentInvalid
from terrazzo.ledger import Principal
from terrazzo.server.features.answers import content_crs, feature, page
from terrazzo.server.features.api import description
from terrazzo.server.features.asked import FeaturesAsked, properties_of
from terrazzo.server.features.documents import (
    CLASSES,
    OPENAPI,
    ROOT,
    attributes_kept,
    described,
    geometry_collection,
    geometry_collections,
    landing,
    matrix_set,
    matrix_sets,
    schema,
    tileset,
    tilesets,
)
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import principal
from terrazzo.server.stac.items import SCHEMA, GeoJson
from terrazzo.server.stac.pages import PageRoute
from terrazzo.server.web.accept import takes_gzip
from terrazzo.server.web.faults import NotFound, TileOutOfRange
from terrazzo.server.web.links import address, link
from terrazzo.server.web.paging import Page, token
from terrazzo.server.web.patience import Patience, patience_of
from terrazzo.server.web.waiting import Waiting
from terrazzo.storage.vectors.mvt import MEDIA_TYPE

router = APIRouter(tags=["Features"], route_class=PageRoute)

searches = Waiting(4)
"""A filter that nothing meets looks at every feature: other routes keep their threads."""
single = Waiting(4)
"""One feature does not wait for searches."""
Shared = Annotated[Parts, Depends(parts)]
Anybody = Annotated[Principal, Depends(principal)]
COLLECTION = f"/{ROOT}/collections/{{collection_id:path}}"
SECONDS = 60
"""How long a tile may be shown before it is asked for again."""
_SQUEEZED, _NO_CONTENT, _NOT_MODIFIED = 5, 204, 304


@router.get(f"/{ROOT}")
def front(request: Request, shared: Shared) -> dict[str, Any]:
    """Tell what there is of OGC API Features and Tiles."""
    return landing(request, shared.settings)


@router.get(f"/{ROOT}/api", response_class=Response)
def api(who: Anybody, request: Request, shared: Shared) -> Response:
    """Describe what the collections of geometries can be asked for, as OpenAPI 3.0."""
    with shared.workspace_of(who).catalog() as catalog:
        told = description(catalog, request, shared.settings)
    return JSONResponse(told, media_type=OPENAPI)


@router.get(f"/{ROOT}/conformance")
def conformance() -> dict[str, Any]:
    """List the conformance classes of OGC API Features and Tiles."""
    return {"conformsTo": list(CLASSES)}


@router.get(f"/{ROOT}/tileMatrixSets")
def pyramids(who: Anybody, request: Request, shared: Shared) -> dict[str, Any]:
    """List the pyramids of web maps and of the CRS in which collections are stored."""
    with shared.workspace_of(who).catalog() as catalog:
        return matrix_sets(catalog, request, shared.settings)


@router.get(f"/{ROOT}/tileMatrixSets/{{matrix}}")
def pyramid(matrix: str) -> dict[str, Any]:
    """Tell all of a pyramid: `WebMercatorQuad`, or `EPSG-CODE` of any projection of maps."""
    return matrix_set(_plane(matrix))


@router.get(f"/{ROOT}/collections")
def collections(
    who: Anybody, behind: Annotated[Page, Depends()], request: Request, shared: Shared
) -> dict[str, Any]:
    """List the collections of geometries that who asks may see, by id."""
    here = address(request, shared.settings, ROOT, "collections")
    links = [link("self", here), link("alternate", here, "text/html", "The page for browsers")]
    key = behind.key(1)
    with shared.workspace_of(who).catalog() as catalog:
        found = geometry_collections(catalog)
        if key is not None:
            found = [one for one in found if str(one["id"]) > key[0]]
        if behind.size is not None and len(found) > behind.size:
            found = found[: behind.size]
            after = token([str(found[-1]["id"])])
            links.append(link("next", f"{here}?limit={behind.size}&after={after}"))
        told = [described(catalog, one, request, shared.settings) for one in found]
    return {"collections": told, "links": links}


# Ids may hold slashes, so the longer paths come first.
@router.get(f"{COLLECTION}/items/{{feature_id}}", response_class=GeoJson)
async def item(
    collection_id: str,
    feature_id: str,
    who: Anybody,
    request: Request,
    shared: Shared,
    crs: Annotated[str, Query(max_length=200, description="CRS of the answer.")] = "",
) -> Response:
    """Give one feature."""
    told = await single.run(feature, shared, who, request, collection_id, feature_id, crs)
    return GeoJson(told[0], headers={"Content-Crs": content_crs(told[1])})


@router.get(f"{COLLECTION}/items", response_class=GeoJson)
async def items(
    collection_id: str,
    who: Anybody,
    request: Request,
    shared: Shared,
    given: Annotated[FeaturesAsked, Query()],
) -> Response:
    """Find features of a collection; an attribute is a parameter, too: `?crop=rye`."""
    async with patience_of(request) as patience:
        told = await searches.run(page, shared, who, request, collection_id, given, patience)
    return GeoJson(told[0], headers={"Content-Crs": content_crs(told[1])})


@router.get(f"{COLLECTION}/queryables", response_class=Response)
def queryables(collection_id: str, who: Anybody, request: Request, shared: Shared) -> Response:
    """Tell by what features of a collection can be filtered, as JSON Schema."""
    return _schema(shared, who, request, collection_id, "queryables")


@router.get(f"{COLLECTION}/schema", response_class=Response)
def attributes(collection_id: str, who: Anybody, request: Request, shared: Shared) -> Response:
    """Tell what features of a collection have, as JSON Schema."""
    return _schema(shared, who, request, collection_id, "schema")


def _schema(
    shared: Parts, who: Principal, request: Request, collection: str, what: str
) -> Response:
    here = address(request, shared.settings, ROOT, "collections", collection, what)
    with shared.workspace_of(who).catalog() as catalog:
        document = geometry_collection(catalog, collection)
        told = schema(catalog, document, here, filters=what == "queryables")
    return JSONResponse(told, media_type=SCHEMA)


@router.get(f"{COLLECTION}/tiles/{{matrix}}/{{z}}/{{y}}/{{x}}", response_class=Response)
async def tile(
    *,
    collection_id: str,
    matrix: str,
    z: int,
    y: int,
    x: int,
    who: Anybody,
    request: Request,
    shared: Shared,
    properties: Annotated[
        str | None, Query(max_length=8000, description="Attributes with commas between.")
    ] = None,
) -> Response:
    """Give a vector tile (MVT) of a collection, by zoom, row and column of a pyramid."""
    plane = _plane(matrix)
    if not 0 <= z <= DEEPEST or not 0 <= x < 2**z or not 0 <= y < 2**z:
        raise TileOutOfRange(
            f"There is no tile {str(z)[:20]}/{str(y)[:20]}/{str(x)[:20]} (zoom, row, column): "
            f"zoom levels are 0 to {DEEPEST}, and each has 2^zoom rows and columns."
        )
    async with patience_of(request) as patience:
        square = Square(z, x, y, plane)
        return await shared.work.run(
            request,
            lambda: _tile(shared, who, request, collection_id, square, properties, patience),
        )


def _tile(
    shared: Parts,
    who: Principal,
    request: Request,
    collection: str,
    square: Square,
    properties: str | None,
    patience: Patience,
) -> Response:
    """Return a tile; what is made is kept until the collection changes."""
    workspace = shared.workspace_of(who)
    with workspace.catalog() as catalog:
        geometry_collection(catalog, collection)
        version = catalog.version(collection)
        names = properties_of(properties, attributes_kept(catalog, collection), ATTRIBUTES)
    where = (square.plane.name, square.zoom, square.column, square.row)
    key = ("features", __version__, version, collection, names, *where)
    tag = f'"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}"'
    shut = collection in shared.restricted()
    headers = {
        "ETag": tag,
        "Cache-Control": f"{'private' if shut else 'public'}, max-age={SECONDS}, must-revalidate",
        "Vary": "Accept-Encoding, Authorization" if shut else "Accept-Encoding",
    }
    known = request.headers.get("if-none-match", "").split(",")
    if tag in {one.strip().removeprefix("W/") for one in known}:
        return Response(status_code=_NOT_MODIFIED, headers=headers)

    def made() -> bytes | None:
        if square.bbox is None:
            return None
        with workspace.catalog() as catalog:
            tables = tables_of(
                catalog, workspace.gate, collection, bbox=square.bbox, check=patience
            )
            found = vector_tile(collection, tables, workspace.gate, square, names, patience)
        return None if found is None else gzip.compress(found, _SQUEEZED, mtime=0)

    content = shared.kept.get(key, made)
    if content is None:
        return Response(status_code=_NO_CONTENT, headers=headers)
    if takes_gzip(request):
        return Response(content, 200, headers | {"Content-Encoding": "gzip"}, MEDIA_TYPE)
    return Response(gzip.decompress(content), 200, headers, MEDIA_TYPE)


@router.get(f"{COLLECTION}/tiles/{{matrix}}")
def tiles_of_pyramid(
    collection_id: str, matrix: str, who: Anybody, request: Request, shared: Shared
) -> dict[str, Any]:
    """Tell all of the vector tiles of a collection."""
    with shared.workspace_of(who).catalog() as catalog:
        document = geometry_collection(catalog, collection_id)
        return tileset(catalog, document, _plane(matrix), request, shared.settings)


@router.get(f"{COLLECTION}/tiles")
def tiles(collection_id: str, who: Anybody, request: Request, shared: Shared) -> dict[str, Any]:
    """List the vector tiles of a collection."""
    with shared.workspace_of(who).catalog() as catalog:
        document = geometry_collection(catalog, collection_id)
        return tilesets(catalog, document, request, shared.settings)


@router.get(COLLECTION)
def collection(
    collection_id: str, who: Anybody, request: Request, shared: Shared
) -> dict[str, Any]:
    """Tell what a collection of geometries is, and where its features are."""
    with shared.workspace_of(who).catalog() as catalog:
        document = geometry_collection(catalog, collection_id)
        return described(catalog, document, request, shared.settings)


def _plane(matrix: str) -> Plane:
    """Return the plane of a pyramid.

    Raises:
        NotFound: there is none of that name.
    """
    try:
        return plane_of(matrix)
    except ArgumentInvalid as error:
        raise NotFound(str(error)) from None
