"""Whole documents over HTTP, bounded in size and time; a redirect could lead past the gate."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from terrazzo.errors import AssetForbidden, SourceUnreadable
from terrazzo.storage.remote.transport import Address, RemoteFailed, reached

if TYPE_CHECKING:
    import socket

LARGEST_BYTES = 64_000_000
TIMEOUT_S = 60.0
"""How long a server may say nothing."""
LONGEST_S = 300.0
"""How long an answer may take as a whole."""

_PART_BYTES: Final = 1_000_000
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class Redirected(AssetForbidden):
    """A server says that a document is elsewhere."""

    def __init__(self, address: str, location: str) -> None:
        self.location = location
        """The new address as the server gave it, unchecked."""
        super().__init__(
            f"{address} redirects elsewhere, and redirects are not followed. Use the final address."
        )


class ServerBusy(SourceUnreadable):
    """A server gave no whole answer this time; it may give one later."""

    code, status = "SourceUnreadable", 503
    wait_s: float = 0.0
    """How long it asks to wait, seconds."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    @override
    def redirect_request(self, *_: Any) -> None:
        return None


def download(address: Address, what: str = "document", *, body: bytes | None = None) -> bytes:
    """Return what an address gives.

    Args:
        address: as `Gate.address` returned it.
        what: what it is, for messages.
        body: JSON to post; None gets.

    Raises:
        AssetForbidden: its name leads to an address that is not public.
        Redirected: the server redirects elsewhere.
        ServerBusy: it gives no whole answer in time, and may do so later.
        SourceUnreadable: it gives nothing, or more than `LARGEST_BYTES`.
    """

    def unreadable(reason: str) -> SourceUnreadable:
        return SourceUnreadable(address.url, what, reason, "Check the address, or try again later.")

    def busy(reason: str, wait: str = "") -> ServerBusy:
        found = ServerBusy(address.url, what, reason, "Check the address, or try again later.")
        found.wait_s = float(wait) if wait.isascii() and wait.isdigit() else 0.0
        return found

    kind = {} if body is None else {"Content-Type": "application/json"}
    request = urllib.request.Request(address.url, data=body, headers=kind)  # noqa: S310 - by the gate
    try:
        with _opener(address).open(request, timeout=TIMEOUT_S) as answer:
            content = _bounded(answer)
            unread = answer.length
    except urllib.error.HTTPError as error:
        reason, headers = f"HTTP status {error.code}", error.headers
        error.close()
        if 300 <= error.code < 400:  # noqa: PLR2004 - HTTP's redirects
            raise Redirected(address.url, str(headers.get("Location", ""))) from error
        if error.code in _BUSY:
            raise busy(reason, str(headers.get("Retry-After", ""))) from error
        raise unreadable(reason) from error
    except OSError as error:
        raise busy("the server does not answer") from error
    except http.client.HTTPException as error:
        raise busy("the server's answer is no whole HTTP") from error
    if len(content) > LARGEST_BYTES:
        raise unreadable(f"it has more than {LARGEST_BYTES:,} bytes")
    if unread:
        raise busy(f"the connection ended {unread:,} bytes early")
    return content


def _opener(address: Address) -> urllib.request.OpenerDirector:
    """Return what connects to nothing but what an address may lead to, and follows nothing."""

    def connect(place: tuple[str, int], timeout: float, _: object = None) -> socket.socket:
        try:
            return reached(address, *place, timeout)
        except RemoteFailed as error:
            raise AssetForbidden(f"{address.url}: {error.reason}.") from error

    def connection(kind: type[http.client.HTTPConnection]) -> Any:
        def made(host: str, **more: Any) -> http.client.HTTPConnection:
            found = kind(host, **more)
            found._create_connection = connect  # type: ignore[attr-defined] # noqa: SLF001
            return found

        return made

    class Plain(urllib.request.HTTPHandler):
        @override
        def http_open(self, req: Any) -> Any:
            return self.do_open(connection(http.client.HTTPConnection), req)

    class Safe(urllib.request.HTTPSHandler):
        @override
        def https_open(self, req: Any) -> Any:
            return self.do_open(connection(http.client.HTTPSConnection), req)

    no_proxy = urllib.request.ProxyHandler({})
    return urllib.request.build_opener(_NoRedirects, no_proxy, Plain, Safe)


def _bounded(answer: Any) -> bytes:
    """Read an answer, no further than one byte beyond what is allowed.

    Raises:
        TimeoutError: it takes too long.
    """
    parts: list[bytes] = []
    left, end_s = LARGEST_BYTES + 1, time.monotonic() + LONGEST_S
    while left and (part := answer.read1(min(left, _PART_BYTES))):
        parts.append(part)
        left -= len(part)
        if time.monotonic() > end_s:
            raise TimeoutError
    return b"".join(parts)
