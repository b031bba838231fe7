"""Routes of layers: opened by their graphs, then asked as screens ask."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from terrazzo.drivers.screen.about import about
from terrazzo.drivers.screen.answers import answer
from terrazzo.drivers.screen.asked import LONGEST
from terrazzo.drivers.screen.legend import colormaps
from terrazzo.drivers.screen.look import Look
from terrazzo.drivers.screen.pictures import Picture
from terrazzo.drivers.screen.places import MOST_PLACES, places
from terrazzo.ledger import Principal
from terrazzo.server.maps.look import LONGEST_KEY
from terrazzo.server.maps.patient import Patient
from terrazzo.server.maps.picture import RESOLUTION, Shown, Tile, check_form, encoded
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import principal
from terrazzo.server.screen.looked_at import is_service, looked_at, service_of, told_of
from terrazzo.server.screen.streamed import NDJSON, Telling, lines
from terrazzo.server.web.faults import NotFound, RequestInvalid
from terrazzo.server.web.links import address
from terrazzo.server.web.payload import read_object

if TYPE_CHECKING:
    from terrazzo.server.web.work import Work

router = APIRouter(tags=["Layers"])

Shared = Annotated[Parts, Depends(parts)]
Anybody = Annotated[Principal, Depends(principal)]
Key = Annotated[str, Query(max_length=LONGEST_KEY, description="Of a service, if you have one.")]

QUICK: Final = frozenset({"legend", "statistics", "values", "picture"})
"""What is answered as quickly as tiles."""
SLOW: Final = frozenset({"profile", "transect", "timelapse"})
"""What waits with synchronous results, or with other strangers."""
LARGEST: Final = 2_000_000
"""Bytes of a question, geometries included."""
LONGEST_LOOK: Final = 8_000
_HEADERS: Final = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}


@router.post("/layers", status_code=201)
async def open_layer(request: Request, who: Anybody, shared: Shared) -> JSONResponse:
    """Open a process graph, or a service, as a layer; the same graph is the same layer."""
    limits = shared.layers.limits(who)
    body = await read_object(request, limits.body_bytes, nodes=limits.nodes)
    service = service_of(body)
    patience = Patient.of(who)

    def told() -> dict[str, Any]:
        if service is not None:
            return told_of(shared, who, *service)
        return about(shared.layers.open(who, body, patience))

    found = await patience.ask(_threads(shared, who, service is not None), request, told)
    place = address(request, shared.settings, "layers", found["id"])
    return JSONResponse(found, 201, {**_HEADERS, "Location": place})


@router.get("/layers/{layer_id}")
async def shown_layer(
    layer_id: str, request: Request, who: Anybody, shared: Shared, key: Key = ""
) -> JSONResponse:
    """Tell all that a screen needs to show a layer."""
    threads = _threads(shared, who, is_service(layer_id))

    def told() -> dict[str, Any]:
        return told_of(shared, who, layer_id, key)

    return JSONResponse(await Patient.of(who).ask(threads, request, told), headers=_HEADERS)


@router.get("/layers/{layer_id}/tiles/{matrix}/{z}/{x}/{y}.{form}", response_class=Response)
async def tile(
    *,
    layer_id: str,
    matrix: str,
    z: int,
    x: int,
    y: int,
    form: str,
    look: Annotated[str, Query(max_length=LONGEST_LOOK, description="A look, JSON.")] = "{}",
    key: Key = "",
    request: Request,
    who: Anybody,
    shared: Shared,
) -> Response:
    """Compute a tile of a layer as png, webp, jpeg or npy."""
    wanted, known = Tile(matrix, z, x, y, form), request.headers.get("if-none-match", "")
    chosen = Look.of(_read(look))
    check_form(wanted)

    def made() -> Response:
        with looked_at(shared, who, layer_id, key) as layer:
            shown = Shown(layer, layer.view(chosen), who.id)
            return encoded(shared.kept, shown, wanted, known, public=False)

    threads = _threads(shared, who, is_service(layer_id))
    return await Patient.of(who).ask(threads, request, made)


@router.post("/layers/{layer_id}/{method}", response_class=Response)
async def ask(
    *,
    layer_id: str,
    method: str,
    request: Request,
    who: Anybody,
    shared: Shared,
    key: Key = "",
) -> Response:
    """Ask a layer: legend, statistics, values, picture, profile, transect or timelapse.

    A time-lapse that is accepted as application/x-ndjson tells of every frame, in a line, and comes
    in the last one.
    """
    if method not in QUICK | SLOW:
        raise NotFound(f"Layers are not asked {method[:40]!r}.")
    given = await read_object(request, LARGEST)
    streamed = method == "timelapse" and NDJSON in request.headers.get("accept", "")
    patience = Telling.of(who) if streamed else Patient.of(who)

    def made() -> dict[str, Any] | Picture:
        with looked_at(shared, who, layer_id, key) as layer:
            return answer(layer, method, given, patience)

    async def waited() -> dict[str, Any] | Picture:
        if method in QUICK:
            return await patience.ask(_threads(shared, who, is_service(layer_id)), request, made)
        threads = shared.results if who.known else shared.strangers
        with shared.layers.admitted(who, request.client.host if request.client else ""):
            return await patience.ask(threads, request, made)

    if isinstance(patience, Telling):
        return StreamingResponse(lines(patience, waited), 200, _HEADERS, NDJSON)
    return _answered(await waited())


@router.get("/places")
async def found_places(
    request: Request,
    shared: Shared,
    q: Annotated[str, Query(max_length=LONGEST, description="The beginning of a name.")],
    limit: Annotated[int, Query(ge=1, le=MOST_PLACES)] = 10,
) -> JSONResponse:
    """Find cities, towns and countries by their names in many languages."""
    found = await shared.work.run(request, lambda: places({"q": q, "limit": limit}))
    return JSONResponse(found, headers={"Cache-Control": "public, max-age=3600"})


@router.get("/colormaps")
async def listed_colormaps() -> JSONResponse:
    """List the colour maps of one band with some of their colours; each has a reversed one, _r."""
    return JSONResponse(colormaps(), headers={"Cache-Control": "public, max-age=3600"})


def _threads(shared: Parts, who: Principal, service: bool) -> Work:
    """Return what computes pixels; what graphs of strangers cost, none but strangers wait for."""
    return shared.work if who.known or service else shared.strangers


def _answered(found: dict[str, Any] | Picture) -> Response:
    if isinstance(found, Picture):
        headers = {**_HEADERS, RESOLUTION: f"{found.resolution:.6g}"}
        return Response(found.content, 200, headers, found.media_type)
    return JSONResponse(found, headers=_HEADERS)


def _read(look: str) -> dict[str, Any]:
    """Return a look out of an address.

    Raises:
        RequestInvalid: it is no JSON object.
    """
    try:
        found: Any = json.loads(look)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RequestInvalid('`look` is a JSON object, such as {"bands":["red"],"colors":"magma"}.')
    return found
