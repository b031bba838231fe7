"""Routes of what maps ask services for: tiles, what there is to see, values at a place."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from terrazzo.ledger import Principal
from terrazzo.ledger.services import services_for
from terrazzo.server.maps.about import about, title_of, values_at
from terrazzo.server.maps.look import LONGEST_KEY, Look
from terrazzo.server.maps.patient import Patient
from terrazzo.server.maps.picture import Tile, answer
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import principal
from terrazzo.server.services.documents import paged
from terrazzo.server.services.keys import viewer
from terrazzo.server.web.links import address
from terrazzo.server.web.paging import Page

router = APIRouter()

Shared = Annotated[Parts, Depends(parts)]
Anybody = Annotated[Principal, Depends(principal)]
Key = Annotated[str, Query(max_length=LONGEST_KEY)]


class Place(BaseModel):
    """A place on the map."""

    model_config = ConfigDict(extra="forbid")

    lon: float = Field(ge=-180, le=180, allow_inf_nan=False)
    lat: float = Field(ge=-90, le=90, allow_inf_nan=False)
    key: str = Field("", max_length=LONGEST_KEY)


@router.get("/services/{service_id}/tiles/{matrix}/{z}/{x}/{y}.{form}", response_class=Response)
async def tile(
    *,
    service_id: str,
    matrix: str,
    z: int,
    x: int,
    y: int,
    form: str,
    look: Annotated[Look, Query()],
    who: Anybody,
    request: Request,
    shared: Shared,
) -> Response:
    """Compute a tile of a service as png, webp, jpeg or npy."""
    wanted = Tile(matrix, z, x, y, form)
    known = request.headers.get("if-none-match", "")
    eyes = viewer(shared.signer, who, service_id, look.key)

    def made() -> Response:
        seen = shared.maps.seen(eyes, service_id)
        return answer(shared.maps, shared.kept, seen, wanted, look, known)

    return await Patient.of(eyes).ask(shared.work, request, made)


@router.get("/services/{service_id}/map")
async def shown_map(
    service_id: str, who: Anybody, request: Request, shared: Shared, key: Key = ""
) -> dict[str, Any]:
    """Tell everything that a map needs to show a service."""
    eyes = viewer(shared.signer, who, service_id, key)
    opened = partial(shared.maps.opened, eyes, service_id)
    return await Patient.of(eyes).ask(shared.work, request, lambda: about(opened()))


@router.get("/services/{service_id}/point")
async def point(
    service_id: str,
    place: Annotated[Place, Query()],
    who: Anybody,
    request: Request,
    shared: Shared,
) -> dict[str, Any]:
    """Compute all values of the result's own pixel at a place."""
    eyes = viewer(shared.signer, who, service_id, place.key)

    def values() -> dict[str, Any]:
        seen = shared.maps.seen(eyes, service_id)
        with shared.maps.telling(seen):
            return values_at(shared.maps.open(seen), place.lon, place.lat)

    return await Patient.of(eyes).ask(shared.work, request, values)


@router.get("/maps")
def maps(
    who: Anybody, page: Annotated[Page, Depends()], request: Request, shared: Shared
) -> dict[str, Any]:
    """List the services that whoever asks may look at, the newest first."""
    more = None if page.size is None else page.size + 1
    found = services_for(shared.database, who, limit=more, after=page.key(2))
    shown, links = paged(page, found, address(request, shared.settings, "maps"))
    listed = [{"id": one.id, "title": title_of(one), "created": one.created} for one in shown]
    return {"maps": listed, "links": links}
