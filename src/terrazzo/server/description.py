"""What `/openapi.json` says beside what the routes say themselves: bodies, log-in, errors.

Routes read bodies of openEO themselves, because errors of graphs have codes of their own; what
such a body looks like is written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from terrazzo.catalog.aggregation import CHOICES, RANGES
from terrazzo.processes import PROCESSES
from terrazzo.server.people.principal import principal, user
from terrazzo.server.stac.patches import OPERATIONS

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from fastapi.dependencies.models import Dependant
    from fastapi.responses import Response

Json = dict[str, Any]

JSON = "application/json"
OPENAPI = "application/vnd.oai.openapi+json;version=3.1"
"""The media type of the description, for those who ask for it by that name."""
BEARER: Json = {"Bearer": []}
SCHEMES: Json = {
    "Bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "`basic//TOKEN` with the token of GET /credentials/basic, or "
        "`oidc/PROVIDER/TOKEN` with one of a provider that GET /credentials/oidc lists.",
    },
    "Basic": {"type": "http", "scheme": "basic", "description": "Name and password."},
}
_TEXT: Json = {"type": ["string", "null"]}
_OBJECT: Json = {"type": "object"}
_NUMBER: Json = {"type": "number"}
_LEVEL: Json = {"enum": ["debug", "info", "warning", "error"]}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: tuple[str, ...] = (), **properties: Json) -> Json:
    told: Json = {"type": "object", "properties": properties}
    return told | ({"required": list(required)} if required else {})


SCHEMAS: Json = {
    "Error": _object(
        ("id", "code", "message"),
        id={"type": "string", "description": "By which the operator finds it in the log."},
        code={"type": "string"},
        message={"type": "string"},
        links={"type": "array", "items": _OBJECT},
    ),
    "Argument": {
        "anyOf": [
            _object(("from_node",), from_node={"type": "string"}),
            _object(("from_parameter",), from_parameter={"type": "string"}),
            _object(("process_graph",), process_graph=_ref("ProcessGraph")),
            {},
        ]
    },
    "ProcessNode": _object(
        ("process_id", "arguments"),
        process_id={"anyOf": [{"enum": sorted(PROCESSES)}, {"type": "string"}]},
        namespace=_TEXT,
        description=_TEXT,
        arguments={"type": "object", "additionalProperties": _ref("Argument")},
        result={"type": "boolean"},
    ),
    "ProcessGraph": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": _ref("ProcessNode"),
    },
    "Process": _object(
        ("process_graph",),
        id=_TEXT,
        summary=_TEXT,
        description=_TEXT,
        parameters={"type": ["array", "null"], "items": _OBJECT},
        returns={"type": ["object", "null"]},
        process_graph=_ref("ProcessGraph"),
    ),
    "JobChange": _object(
        title=_TEXT,
        description=_TEXT,
        process=_ref("Process"),
        log_level=_LEVEL,
        additional={"type": "object"},
    ),
    "ServiceChange": _object(
        title=_TEXT,
        description=_TEXT,
        process=_ref("Process"),
        enabled={"type": "boolean"},
        configuration=_OBJECT,
        log_level=_LEVEL,
    ),
    "Result": _object(("process",), process=_ref("Process"), log_level=_LEVEL),
    "Search": _object(
        collections={"type": "array", "items": {"type": "string"}},
        ids={"type": "array", "items": {"type": "string"}},
        bbox={"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6},
        intersects=_OBJECT,
        datetime={"type": "string"},
        limit={"type": "integer", "minimum": 1},
        token={"type": "string"},
        sortby={"type": "array", "items": _OBJECT},
        fields=_OBJECT,
        filter=_OBJECT,
        query=_OBJECT,
        q={"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    ),
}
_RANGES: Json = {f"{name}_frequency_ranges": {"type": "array", "items": _NUMBER} for name in RANGES}
SCHEMAS["Aggregate"] = _object(
    (),
    **SCHEMAS["Search"]["properties"],
    aggregations={"type": "array", "items": {"type": "string"}},
    datetime_frequency_interval={"enum": [*CHOICES]},
    centroid_geohash_grid_frequency_precision={"type": "integer", "minimum": 1, "maximum": 12},
    centroid_geotile_grid_frequency_precision={"type": "integer", "minimum": 0, "maximum": 29},
    **_RANGES,
)
_STAC: Json = {
    "stac_version": {"type": "string"},
    "stac_extensions": {"type": "array", "items": {"type": "string"}},
    "links": {"type": "array", "items": _OBJECT},
}
SCHEMAS["Item"] = _object(
    ("type", "id", "geometry", "properties", "assets"),
    type={"enum": ["Feature"]},
    id={"type": "string"},
    collection={"type": "string"},
    geometry={"type": ["object", "null"]},
    bbox={"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6},
    properties=_object(("datetime",), datetime=_TEXT),
    assets={"type": "object", "additionalProperties": _object(("href",), href={"type": "string"})},
    **_STAC,
)
SCHEMAS["Items"] = {
    "anyOf": [
        _ref("Item"),
        _object(
            ("type", "features"),
            type={"enum": ["FeatureCollection"]},
            features={"type": "array", "items": _ref("Item")},
        ),
    ]
}
SCHEMAS["Collection"] = _object(
    ("type", "id", "description", "license", "extent"),
    type={"enum": ["Collection"]},
    id={"type": "string"},
    title={"type": "string"},
    description={"type": "string"},
    license={"type": "string"},
    extent=_object(("spatial", "temporal"), spatial=_OBJECT, temporal=_OBJECT),
    **_STAC,
)
SCHEMAS["Patch"] = {"type": "object"}
SCHEMAS["Operations"] = {"type": "array", "items": _object(("op", "path"))}
SCHEMAS["Job"] = SCHEMAS["JobChange"] | {"required": ["process"]}
SCHEMAS["Service"] = SCHEMAS["ServiceChange"] | {
    "required": ["process", "type"],
    "properties": {**SCHEMAS["ServiceChange"]["properties"], "type": {"enum": ["XYZ", "WMTS"]}},
}
SCHEMAS["Layer"] = {
    "anyOf": [
        _object(("process_graph",), process_graph=_ref("ProcessGraph"), title=_TEXT),
        _object(("process",), process=_ref("Process"), title=_TEXT),
        _object(("service",), service=_object(("id",), id={"type": "string"}, key=_TEXT)),
    ]
}
_PAIR: Json = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}
SCHEMAS["Look"] = _object(
    time=_TEXT,
    bands={"type": "array", "items": {"type": "string"}, "maxItems": 3},
    stretch=_object(
        kind={"enum": ["range", "percentile", "sd", "minmax"]},
        low=_NUMBER,
        high=_NUMBER,
        gamma=_NUMBER,
        per_band={"type": "array", "items": _PAIR, "maxItems": 3},
    ),
    colors={"anyOf": [{"type": "string"}, {"type": "array"}, _OBJECT]},
)
SCHEMAS["Question"] = _object(
    bounds={"type": "array", "items": _NUMBER, "minItems": 4, "maxItems": 4},
    crs={"type": "string"},
    width={"type": "integer", "minimum": 1},
    height={"type": "integer", "minimum": 1},
    look=_ref("Look"),
    format={"enum": ["png", "webp", "jpeg", "gif", "mp4", "webm"]},
    lon=_NUMBER,
    lat=_NUMBER,
    dates={"anyOf": [{"enum": ["shown", "all"]}, {"type": "array", "items": _TEXT}]},
    geometry=_OBJECT,
    bands={"type": "array", "items": {"type": "string"}},
    statistic={"type": "string"},
    min_valid=_NUMBER,
    smooth=_OBJECT,
    samples={"type": "integer", "minimum": 2, "maximum": 1000},
    seconds_per_frame=_NUMBER,
)
BODIES = {
    ("post", "/jobs"): "Job",
    ("patch", "/jobs/{job_id}"): "JobChange",
    ("post", "/services"): "Service",
    ("patch", "/services/{service_id}"): "ServiceChange",
    ("put", "/process_graphs/{process_graph_id}"): "Process",
    ("post", "/validation"): "Process",
    ("post", "/result"): "Result",
    ("post", "/search"): "Search",
    ("post", "/collections"): "Collection",
    ("put", "/collections/{collection_id}"): "Collection",
    ("patch", "/collections/{collection_id}"): "Patch",
    ("post", "/collections/{collection_id}/items"): "Items",
    ("put", "/collections/{collection_id}/items/{item_id}"): "Item",
    ("patch", "/collections/{collection_id}/items/{item_id}"): "Patch",
    ("post", "/layers"): "Layer",
    ("post", "/layers/{layer_id}/{method}"): "Question",
    ("post", "/aggregate"): "Aggregate",
    ("post", "/collections/{collection_id}/aggregate"): "Aggregate",
}
UPLOAD: Json = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def describe(app: FastAPI) -> None:
    """Let an application describe its bodies, log-in and errors as well as its routes."""
    made = app.openapi

    def openapi() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(made(), _secured(app))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]

    async def description(request: Request) -> Response:
        asked = OPENAPI.partition(";")[0] in request.headers.get("accept", "")
        headers = {"Vary": "Accept"}
        return JSONResponse(openapi(), media_type=OPENAPI if asked else JSON, headers=headers)

    app.add_route("/openapi.json", description, include_in_schema=False)


def _completed(told: Json, secured: dict[tuple[str, str], list[Json]]) -> Json:
    components = told.setdefault("components", {})
    components["securitySchemes"] = SCHEMES
    components["schemas"] = components.get("schemas", {}) | SCHEMAS
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            _complete(operation, method, path)
            security = secured.get((method, path))
            if security:
                operation["security"] = security
    return told


def _complete(operation: Json, method: str, path: str) -> None:
    body = BODIES.get((method, path))
    if body is not None:
        content = {JSON: {"schema": _ref(body)}}
        if body == "Patch":
            content[OPERATIONS] = {"schema": _ref("Operations")}
        operation["requestBody"] = {"required": True, "content": content}
    if (method, path.partition("{")[0]) == ("put", "/files/"):
        operation["requestBody"] = {"required": True, "content": UPLOAD}
    error = {"description": "An error of openEO", "content": {JSON: {"schema": _ref("Error")}}}
    operation["responses"].pop("422", None)  # problems with parameters are 400 here
    operation["responses"] |= {"4XX": error, "5XX": error}


def _secured(app: FastAPI) -> dict[tuple[str, str], list[Json]]:
    """Return who may call what, by what the routes depend on."""
    found = {}
    for context in app.router.routes:
        for route in getattr(getattr(context, "original_router", None), "routes", (context,)):
            if isinstance(route, APIRoute):
                path = route.path.replace(":path}", "}")
                for method in route.methods or ():
                    found[method.lower(), path] = _security(route)
    return found


def _security(route: APIRoute) -> list[Json]:
    called = _called(route.dependant)
    if route.path == "/credentials/basic":
        return [{"Basic": []}]
    if user in called:
        return [BEARER]
    return [{}, BEARER] if principal in called else []


def _called(dependant: Dependant) -> list[Any]:
    inner = [call for one in dependant.dependencies for call in _called(one)]
    return [*inner, *(one.call for one in dependant.dependencies)]
