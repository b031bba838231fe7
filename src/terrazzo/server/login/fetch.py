"""Fetches JSON from OpenID Connect providers: in time, in size, and only from where it may."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 5.0
"""Longest that an answer may take."""
LARGEST = 1_000_000
"""Bytes of the largest answer."""
_PIECE = 65_536


class FetchFailedError(Exception):
    """There is no answer that can be used; `status` is that of HTTP, 0 without one."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


def fetch_json(
    url: str, *, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the JSON object at an address; redirections are not followed.

    Args:
        url: of the document.
        headers: further ones of the request.
        form: posted if given.

    Raises:
        FetchFailedError: there is none, it is too slow or too large, or it is no JSON object.
    """
    body = None if form is None else urlencode(form).encode()
    request = urllib.request.Request(url, body, {"Accept": "application/json", **(headers or {})})  # noqa: S310 - `is_allowed`
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if is_loopback(urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    end = time.monotonic() + SECONDS
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=SECONDS) as answer:
            pieces, size = [], 0
            while piece := answer.read1(_PIECE):
                pieces.append(piece)
                size += len(piece)
                if size > LARGEST or time.monotonic() > end:
                    raise FetchFailedError(f"{url} answered too slowly or with too much")
        found = json.loads(b"".join(pieces))
    except urllib.error.HTTPError as error:
        with error:
            raise FetchFailedError(f"{url} answered {error.code}", error.code) from None
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        reason = getattr(error, "reason", None) or error
        raise FetchFailedError(f"{url} gave no answer that can be used: {reason}") from error
    if not isinstance(found, dict):
        raise FetchFailedError(f"{url} answered no JSON object")
    return found


def is_allowed(url: str, issuer: str) -> bool:
    """Tell whether a provider may send this server to an address.

    To its own origin; elsewhere only by https to public addresses, so that no provider makes this
    server ask what is inside its network.
    """
    there, home = urlsplit(url), urlsplit(issuer)
    if (there.scheme, there.netloc) == (home.scheme, home.netloc):
        return True
    if there.scheme != "https" or not there.hostname:
        return False
    try:
        found = socket.getaddrinfo(there.hostname, there.port or 443, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return False
    return all(ipaddress.ip_address(entry[4][0]).is_global for entry in found)


def is_loopback(host: str) -> bool:
    """Tell whether a host, as a URL writes it, is this machine and no other."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Has redirections be errors: an address that was checked shall be the one that is asked."""

    @override
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None
