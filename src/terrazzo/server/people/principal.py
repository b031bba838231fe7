"""Who a request comes from: `Authorization: Bearer METHOD/PROVIDER/TOKEN`."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from terrazzo.errors import TerrazzoError
from terrazzo.ledger import ANONYMOUS, LOCAL, Principal
from terrazzo.ledger.tokens import holder_of
from terrazzo.ledger.users import BASIC, seen_user
from terrazzo.server.parts import Parts, parts
from terrazzo.server.web.faults import (
    AuthenticationRequired,
    AuthenticationSchemeInvalid,
    TokenInvalid,
)
from terrazzo.server.web.waiting import Waiting

OIDC = "oidc"
_PARTS = 3
_PROVIDERS = Waiting(16)
"""Tokens that are checked at a time, so that a slow provider holds up nobody else."""


async def principal(request: Request, shared: Annotated[Parts, Depends(parts)]) -> Principal:
    """Return who asks; somebody without a token is anonymous.

    Raises:
        AuthenticationSchemeInvalid: the header is none that this server takes.
        TokenInvalid: there is a token, and it is not good.
        NotMember: who has it may not use this server.
        ServerBusy: too many wait to be told.
        ProviderUnusable: whoever could tell whether it is good does not answer.
    """
    who = LOCAL if shared.settings.open else await _identified(request, shared)
    request.state.principal = who.id
    return who


async def visitor(request: Request, shared: Annotated[Parts, Depends(parts)]) -> Principal:
    """Return who asks; somebody whose token is not good is anonymous.

    For the landing page, which has to be there so that people find where to log in.
    """
    try:
        return await principal(request, shared)
    except TerrazzoError:
        request.state.principal = ANONYMOUS.id
        return ANONYMOUS


async def user(who: Annotated[Principal, Depends(principal)]) -> Principal:
    """Return who asks, and refuse somebody who is not logged in.

    Raises:
        AuthenticationRequired: nobody is.
    """
    if not who.known:
        raise AuthenticationRequired(
            "This needs a log-in. Send `Authorization: Bearer METHOD/PROVIDER/TOKEN`; how to get a "
            "token is at GET /credentials/basic and GET /credentials/oidc."
        )
    return who


async def _identified(request: Request, shared: Parts) -> Principal:
    header = request.headers.get("authorization")
    if header is None:
        return ANONYMOUS
    scheme, _, given = header.strip().partition(" ")
    parts_given = given.strip().split("/", _PARTS - 1)
    if scheme.lower() != "bearer" or len(parts_given) != _PARTS or not parts_given[-1]:
        raise AuthenticationSchemeInvalid(
            "Authorization must be `Bearer basic//TOKEN` or `Bearer oidc/PROVIDER/TOKEN`. A token "
            "is had at GET /credentials/basic, or from a provider that GET /credentials/oidc lists."
        )
    method, provider, token = parts_given
    if method == BASIC and not provider:
        found = await run_in_threadpool(holder_of, shared.database, token)
    elif method == OIDC:
        found = await _PROVIDERS.run(_holder, shared, provider, token)
    else:
        raise AuthenticationSchemeInvalid(
            f"There are no tokens of the kind {f'{method}/{provider}'[:60]!r} here. Send "
            "`Bearer basic//TOKEN` or `Bearer oidc/PROVIDER/TOKEN`."
        )
    if found is None:
        raise TokenInvalid("The token is wrong or has expired. Log in again.")
    return found


def _holder(shared: Parts, provider: str, token: str) -> Principal | None:
    """Return who comes with a token of an OpenID Connect provider; None if they are shut out."""
    told = shared.oidc.identify(provider, token)
    return seen_user(shared.database, told.provider, told.subject, told.name, told.groups)
