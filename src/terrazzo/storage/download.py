"""Whole documents over HTTP, bounded in size; a redirect could lead past the gate."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import Any

from typing_extensions import override

from terrazzo.errors import AssetForbidden, SourceUnreadable

LARGEST_BYTES = 64_000_000
TIMEOUT_S = 60.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    @override
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))


def download(address: str, what: str = "document") -> bytes:
    """Return what an address gives.

    Args:
        address: as `Gate.address` returned it.
        what: what it is, for messages.

    Raises:
        AssetForbidden: the server redirects elsewhere.
        SourceUnreadable: it gives nothing, or more than `LARGEST_BYTES`.
    """

    def unreadable(reason: str) -> SourceUnreadable:
        return SourceUnreadable(address, what, reason, "Check the address, or try again later.")

    try:
        with _OPENER.open(address, timeout=TIMEOUT_S) as answer:
            content: bytes = answer.read(LARGEST_BYTES + 1)
            unread = answer.length
    except urllib.error.HTTPError as error:
        if 300 <= error.code < 400:  # noqa: PLR2004 - HTTP's redirects
            raise AssetForbidden(
                f"{address} redirects elsewhere, and redirects are not followed. Use the final "
                "address."
            ) from error
        raise unreadable(f"HTTP status {error.code}") from error
    except OSError as error:
        raise unreadable("the server does not answer") from error
    except http.client.HTTPException as error:
        raise unreadable("the server's answer is no whole HTTP") from error
    if len(content) > LARGEST_BYTES:
        raise unreadable(f"it has more than {LARGEST_BYTES:,} bytes")
    if unread:
        raise unreadable(f"the connection ended {unread:,} bytes early")
    return content
