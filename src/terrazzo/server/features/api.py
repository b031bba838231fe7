"""The description of `/features` for clients of OGC API: its collections, each with its parameters.

`/openapi.json` describes routes; clients such as GDAL look here for what one collection can be
asked for, so that they send conditions instead of fetching everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from terrazzo import __version__
from terrazzo.drivers.features.squares import MERCATOR
from terrazzo.server.features.documents import (
    CLASSES,
    ROOT,
    attributes_kept,
    geometry_collections,
    typed,
)
from terrazzo.server.stac.collection_documents import GEOJSON, SCHEMA
from terrazzo.server.stac.query import FEW, MOST
from terrazzo.server.web.links import address
from terrazzo.storage.vectors.mvt import MEDIA_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

    from terrazzo.catalog import Catalog
    from terrazzo.server.settings import ServerSettings

JSON: Final = "application/json"
MOST_COLLECTIONS: Final = 200
"""Collections whose parameters are told."""
_TEXT: Final = {"type": "string"}
_NUMBERS: Final = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6}
_SCALARS: Final = frozenset({"string", "number", "integer", "boolean"})


def description(catalog: Catalog, request: Request, settings: ServerSettings) -> dict[str, Any]:
    """Return what is below `/features` as OpenAPI 3.0, as who asks sees it."""
    paths: dict[str, Any] = {
        "/": _get("The landing page", JSON),
        "/conformance": _get(f"{len(CLASSES)} conformance classes", JSON),
        "/collections": _get("The collections of geometries", JSON),
        f"/tileMatrixSets/{MERCATOR.name}": _get("The pyramid of tiles", JSON),
    }
    for document in geometry_collections(catalog)[:MOST_COLLECTIONS]:
        paths |= _paths(catalog, document)
    return {
        "openapi": "3.0.3",
        "info": {"title": "Features of Terrazzo", "version": __version__},
        "servers": [{"url": address(request, settings, ROOT)}],
        "paths": paths,
    }


def _paths(catalog: Catalog, document: Mapping[str, Any]) -> dict[str, Any]:
    name = str(document["id"])
    here, title = f"/collections/{name}", str(document.get("title") or name)
    column, row, zoom = (
        {"name": part, "in": "path", "required": True, "schema": {"type": "integer"}}
        for part in ("x", "y", "z")
    )
    feature = {"name": "featureId", "in": "path", "required": True, "schema": _TEXT}
    return {
        here: _get(title, JSON),
        f"{here}/queryables": _get(f"Filters of {title}", SCHEMA),
        f"{here}/schema": _get(f"Attributes of {title}", SCHEMA),
        f"{here}/items": _get(f"Features of {title}", GEOJSON, _parameters(catalog, name)),
        f"{here}/items/{{featureId}}": _get(f"A feature of {title}", GEOJSON, [feature]),
        f"{here}/tiles/{MERCATOR.name}": _get(f"Tiles of {title}", JSON),
        f"{here}/tiles/{MERCATOR.name}/{{z}}/{{y}}/{{x}}": _get(
            f"A tile of {title}", MEDIA_TYPE, [zoom, row, column]
        ),
    }


def _parameters(catalog: Catalog, name: str) -> list[dict[str, Any]]:
    limit = {"type": "integer", "minimum": 1, "maximum": MOST, "default": FEW}
    languages = {"type": "string", "enum": ["cql2-text", "cql2-json"], "default": "cql2-text"}
    told: dict[str, dict[str, Any]] = {
        "limit": limit,
        "bbox": _NUMBERS,
        "bbox-crs": _TEXT,
        "crs": _TEXT,
        "datetime": _TEXT,
        "properties": _TEXT,
        "filter": _TEXT,
        "filter-lang": languages,
        "filter-crs": _TEXT,
    }
    for attribute, kind in sorted(attributes_kept(catalog, name).types.items()):
        schema = typed(kind)
        if schema.get("type") in _SCALARS:
            told.setdefault(attribute, schema)
    return [{"name": key, "in": "query", "required": False, "schema": one, **_style(key)}
            for key, one in told.items()]  # fmt: skip


def _style(name: str) -> dict[str, Any]:
    return {"style": "form", "explode": False} if name == "bbox" else {}


def _get(
    summary: str, media_type: str, parameters: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    answer = {"description": summary, "content": {media_type: {"schema": {"type": "object"}}}}
    told: dict[str, Any] = {"summary": summary, "responses": {"200": answer}}
    return {"get": told | ({"parameters": parameters} if parameters else {})}
