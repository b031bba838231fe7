"""Routes by which people log in."""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from terrazzo.ledger.tokens import CredentialsInvalid, log_in
from terrazzo.server.parts import Parts, parts
from terrazzo.server.settings import OidcProvider
from terrazzo.server.web.faults import (
    AuthenticationRequired,
    AuthenticationSchemeInvalid,
    NotFound,
)
from terrazzo.server.web.waiting import Waiting

router = APIRouter(tags=["Account"])

Shared = Annotated[Parts, Depends(parts)]

log_ins = Waiting(2)
"""Passwords that are checked at a time: each takes a core and 64 MB for a moment."""
_DEVICE = "urn:ietf:params:oauth:grant-type:device_code+pkce"


@router.get("/credentials/basic")
async def basic(request: Request, shared: Shared) -> JSONResponse:
    """Return a token for the name and password in the header `Authorization: Basic`."""
    login, password = _given(request.headers.get("authorization"))
    if shared.settings.open:
        raise CredentialsInvalid(
            "This server has no accounts: whoever reaches it may use it without a log-in."
        )
    address = request.client.host if request.client else ""
    hours = shared.settings.token_hours
    token = await log_ins.run(log_in, shared.database, login, password, address, hours)
    return JSONResponse({"access_token": token}, headers={"Cache-Control": "no-store"})


@router.get("/credentials/oidc")
async def oidc(shared: Shared) -> dict[str, Any]:
    """List the OpenID Connect providers whose access tokens are accepted."""
    if not shared.settings.providers:
        raise NotFound(
            "This server accepts no OpenID Connect provider. Log in at GET /credentials/basic, if "
            "the capabilities list it."
        )
    return {"providers": [_described(provider) for provider in shared.settings.providers]}


def _given(header: str | None) -> tuple[str, str]:
    """Read a header as RFC 7617 has it, in UTF-8 or, as some clients write it, Latin-1."""
    if header is None:
        raise AuthenticationRequired(
            "Send name and password in the header `Authorization: Basic`, as RFC 7617 has it."
        )
    scheme, _, encoded = header.strip().partition(" ")
    try:
        content = base64.b64decode(encoded.strip(), validate=True)
    except ValueError:
        content = b""
    if scheme.lower() != "basic" or b":" not in content:
        raise AuthenticationSchemeInvalid(
            "Authorization must be `Basic` with `NAME:PASSWORD` in base64, as RFC 7617 has it."
        )
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    login, _, password = text.partition(":")
    return login, password


def _described(provider: OidcProvider) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": provider.id,
        "issuer": provider.issuer,
        "title": provider.title or provider.id,
        "scopes": list(provider.scopes),
    }
    if provider.description:
        told["description"] = provider.description
    if provider.client:
        grants = [_DEVICE, "refresh_token"]
        client: dict[str, Any] = {"id": provider.client, "grant_types": grants}
        if provider.redirect_urls:  # which authorization codes need
            grants.insert(1, "authorization_code+pkce")
            client["redirect_urls"] = list(provider.redirect_urls)
        told["default_clients"] = [client]
    return told
