"""What a request may not do to the server: be endless, be slow, come under a wrong name.

Checked before any route is looked for, so that it holds for all of them.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from terrazzo.server.web.faults import answered

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from terrazzo.server.settings import ServerSettings

LONGEST_ADDRESS = 16_000
"""Bytes of path and query."""
SLOWEST = 1000
"""Bytes a second below which a client is too slow."""
_UPLOADS = "/files/"
_ITEMS = re.compile(r"/collections/.+/items")
_HARMLESS = {"GET", "HEAD", "OPTIONS"}

Refusal = tuple[int, str, str]
"""Status, code and message."""


class Guard:
    """Refuses what no route has to see."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._hidden(scope) or self._misdirected(scope) or self._foreign(scope)
        most = self._most(scope)
        refusal = refusal or _too_long(scope) or _announced(scope, most)
        if refusal is not None:
            await answered(scope, *refusal, {"Connection": "close"})(scope, receive, send)
            return
        await _Body(scope, receive, send, most, self._settings.slow_seconds).pass_to(self._app)

    def _hidden(self, scope: Scope) -> Refusal | None:
        """Take the secret off the path; without it there is nothing here."""
        secret = self._settings.secret
        if not secret:
            return None
        first = scope["path"][1:].split("/")[0]
        if not hmac.compare_digest(first.encode("utf-8", "replace"), secret.encode()):
            return 404, "NotFound", "Not Found."
        scope["root_path"] = f"/{secret}"
        if scope["path"] == scope["root_path"]:
            scope["path"] += "/"
        return None

    def _misdirected(self, scope: Scope) -> Refusal | None:
        """Refuse names that are not this server's: a foreign page may stand behind them."""
        if not self._settings.hosts:
            return None
        given = dict(scope["headers"]).get(b"host", b"").decode("latin-1").lower()
        name = given.rpartition(":")[0] if given[-1:].isdigit() and ":" in given else given
        if name in self._settings.hosts or given in self._settings.hosts:
            return None
        known = ", ".join(self._settings.hosts)
        return 421, "HostUnknown", f"This server has the names {known}, not {given[:80]!r}."

    def _foreign(self, scope: Scope) -> Refusal | None:
        """Refuse changes that a page of another site asks for, where nobody has to log in."""
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if not self._settings.open or not origin or scope["method"] in _HARMLESS:
            return None
        own = headers.get(b"host", b"").decode("latin-1").lower()
        if origin.partition("://")[2] == own or origin == self._settings.cors:
            return None
        return (
            403,
            "OriginRefused",
            "Pages of other sites may not change anything here; --cors ORIGIN allows one.",
        )

    def _most(self, scope: Scope) -> _Most:
        limits = self._settings.limits
        path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
        if scope["method"] == "PUT" and path.startswith(_UPLOADS):
            return _Most(limits.upload_bytes, 400, "FileSizeExceeded")
        if scope["method"] == "POST" and _ITEMS.fullmatch(path):
            return _Most(limits.items_bytes, 413, "RequestTooLarge")
        return _Most(limits.body_bytes, 413, "RequestTooLarge")


@dataclass(frozen=True, slots=True)
class _Most:
    """How large a body may be, and what is answered to a larger one."""

    size: int
    status: int
    code: str

    def refusal(self, size: int) -> Refusal:
        told = f"The body has {size} bytes or more and may have {self.size}."
        return self.status, self.code, told


def _too_long(scope: Scope) -> Refusal | None:
    length = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    if length <= LONGEST_ADDRESS:
        return None
    return (
        414,
        "UriTooLong",
        f"The address has {length} bytes and may have {LONGEST_ADDRESS}. Send a body instead.",
    )


def _announced(scope: Scope, most: _Most) -> Refusal | None:
    """Refuse a body that says itself that it is too large, before any of it is read."""
    said = dict(scope["headers"]).get(b"content-length", b"0")
    return most.refusal(int(said)) if said.isdigit() and int(said) > most.size else None


class _Body:
    """The body of one request as it comes, counted and timed."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, most: _Most, seconds: float
    ) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._most, self._seconds = most, seconds
        self._size, self._complete = 0, False
        self._begun = time.monotonic()
        self._begun_to_answer = self._refused = False

    async def pass_to(self, app: ASGIApp) -> None:
        """Let the application answer, unless the body turns out to be too much."""
        await app(self._scope, self._receiving, self._sending)

    async def _receiving(self) -> Message:
        if self._complete:
            return await self._receive()
        left = self._begun + self._seconds + self._size / SLOWEST - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.0))
        except TimeoutError:
            return await self._refuse(
                (408, "RequestTimeout", f"The body came too slowly, {self._size} bytes so far.")
            )
        self._size += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._size > self._most.size:
            return await self._refuse(self._most.refusal(self._size))
        return message

    async def _refuse(self, refusal: Refusal) -> Message:
        """Answer now, unless an answer has begun; for the application the client has gone."""
        self._complete = True
        if not self._begun_to_answer:
            self._refused = True
            response = answered(self._scope, *refusal, {"Connection": "close"})
            await response(self._scope, self._receive, self._send)
        return {"type": "http.disconnect"}

    async def _sending(self, message: Message) -> None:
        if not self._refused:
            self._begun_to_answer = True
            await self._send(message)
