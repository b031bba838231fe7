"""Routes of services as OGC WMTS: the capabilities, and tiles by key-value pairs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from terrazzo.ledger import Principal
from terrazzo.server.maps.patient import Patient
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import principal
from terrazzo.server.services.keys import viewer
from terrazzo.server.services.wmts_capabilities import Addresses
from terrazzo.server.services.wmts_requests import responded
from terrazzo.server.web.links import address

router = APIRouter()

Shared = Annotated[Parts, Depends(parts)]
Anybody = Annotated[Principal, Depends(principal)]


@router.get("/services/{service_id}/wmts", response_class=Response)
@router.get("/services/{service_id}/wmts/1.0.0/WMTSCapabilities.xml", response_class=Response)
async def wmts(service_id: str, who: Anybody, request: Request, shared: Shared) -> Response:
    """Answer a WMTS request: the capabilities, or a tile by key-value pairs."""
    given = {name.lower(): value for name, value in request.query_params.items()}
    eyes = viewer(shared.signer, who, service_id, given.get("key", ""))
    place = address(request, shared.settings, "services", service_id)
    addresses = Addresses(place, given["key"] if eyes is None else "")
    known = request.headers.get("if-none-match", "")
    return await Patient.of(eyes).ask(
        shared.work,
        request,
        lambda: responded(shared, eyes, service_id, addresses, given, known=known),
    )
