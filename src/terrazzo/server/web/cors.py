"""Cross-origin requests: which pages of other sites may ask this server.

With log-ins every page may, as openEO wants it: a page has no rights but those of the token that
somebody gave it. Without log-ins every page that somebody opens beside would have all rights, so
none may unless the operator names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

EXPOSED = "ETag, Location, OpenEO-Identifier, OpenEO-Costs, Link, X-Request-Id, X-Resolution-Metres"
METHODS = "OPTIONS, GET, HEAD, POST, PATCH, PUT, DELETE"
ALLOWED = "Authorization, Content-Type, If-Match, If-None-Match, X-Request-Id"
_DAY = "86400"


class Cors:
    """Answers preflight requests and adds the headers that let other pages read answers."""

    def __init__(self, app: ASGIApp, origin: str) -> None:
        """Let pages of an origin ask; `*` is every page."""
        self._app = app
        self._origin = origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        headers = dict(scope.get("headers", ()))
        if scope["type"] != "http" or not self._serves(headers.get(b"origin", b"")):
            await self._app(scope, receive, send)
            return
        added = {"Access-Control-Allow-Origin": self._origin}
        added["Access-Control-Expose-Headers"] = EXPOSED
        if self._origin != "*":
            added["Vary"] = "Origin"
        if scope["method"] == "OPTIONS":
            added |= {
                "Access-Control-Allow-Methods": METHODS,
                "Access-Control-Allow-Headers": ALLOWED,
                "Access-Control-Max-Age": _DAY,
                "Content-Type": "application/json",
            }
            await Response(status_code=204, headers=added)(scope, receive, send)
            return
        encoded = [(name.lower().encode(), value.encode()) for name, value in added.items()]

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *encoded]
            await send(message)

        await self._app(scope, receive, sending)

    def _serves(self, asks: bytes) -> bool:
        """Tell whether to add anything: always for everybody, else for the one origin only."""
        return self._origin == "*" or asks.decode("latin-1") == self._origin
