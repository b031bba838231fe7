"""Who a request comes from."""

from typing import Annotated

from fastapi import Depends, Request

from terrazzo.ledger import ANONYMOUS, LOCAL, Principal
from terrazzo.server.faults import AuthenticationRequired
from terrazzo.server.parts import Parts, parts


async def principal(request: Request, shared: Annotated[Parts, Depends(parts)]) -> Principal:
    """Return who asks; somebody without a token is anonymous.

    Raises:
        TokenInvalid: there is a token, and it is not good.
    """
    if shared.settings.open:
        return LOCAL
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
