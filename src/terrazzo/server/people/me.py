"""Routes about whoever asks: their account, and the licences that they accept."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from terrazzo.ledger import Principal
from terrazzo.ledger.files import UserFiles
from terrazzo.ledger.licences import Licence, accept_licence, licences, withdraw_licence
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import user
from terrazzo.server.web.links import address, link

router = APIRouter(tags=["Account"])

Shared = Annotated[Parts, Depends(parts)]
User = Annotated[Principal, Depends(user)]


class Acceptance(BaseModel):
    """Which licence is accepted."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(max_length=100)
    """As `GET /me/licences` lists it."""


@router.get("/me")
def me(request: Request, who: User, shared: Shared) -> dict[str, Any]:
    """Tell who is logged in, and how much room their files have."""
    quota = shared.settings.limits.quota_bytes if who.quota is None else who.quota
    used = UserFiles(shared.workspace.home, who.id).used()
    to = address(request, shared.settings, "me", "licences")
    return {
        "user_id": who.id,
        "name": who.name,
        "storage": {"free": max(quota - used, 0), "quota": quota},
        "groups": sorted(who.groups),
        "links": [link("related", to, title="Licences that open further collections")],
    }


@router.get("/me/licences")
def listed(request: Request, who: User, shared: Shared) -> dict[str, Any]:
    """List the licences that open collections to those who accept them."""
    to = address(request, shared.settings, "me", "licences")
    told = [_told(one) for one in licences(shared.database, who.id)]
    return {"licences": told, "links": [link("self", to)]}


@router.post("/me/licences")
def accept(who: User, shared: Shared, body: Acceptance) -> dict[str, Any]:
    """Accept a licence: its collections are there from now on."""
    return _told(accept_licence(shared.database, who.id, body.id))


@router.delete("/me/licences/{licence}", status_code=204)
def withdraw(who: User, shared: Shared, licence: str) -> Response:
    """Accept a licence no longer: its collections are gone again."""
    withdraw_licence(shared.database, who.id, licence)
    return Response(status_code=204)


def _told(licence: Licence) -> dict[str, Any]:
    told: dict[str, Any] = {"id": licence.id, "title": licence.title or licence.id}
    if licence.accepted:
        told["accepted"] = licence.accepted
    told["links"] = [link("license", licence.href, "text/html")] if licence.href else []
    return told
