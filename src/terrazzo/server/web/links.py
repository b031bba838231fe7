"""Addresses in answers: absolute, as the client reaches this server."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from fastapi import Request

    from terrazzo.server.settings import ServerSettings


def address(request: Request, settings: ServerSettings, *path: str) -> str:
    """Return the absolute address of a path of this server.

    Args:
        request: which tells under what address the server was reached.
        settings: whose `public_url` counts more, for servers behind a proxy.
        path: the parts between the slashes; each is quoted.
    """
    base = settings.public_url or str(request.base_url)
    return base.rstrip("/") + "".join(f"/{quote(part, safe='')}" for part in path)


def link(
    rel: str, href: str, media_type: str = "application/json", title: str = ""
) -> dict[str, str]:
    """Return a link as STAC and openEO write it."""
    told = {"rel": rel, "href": href, "type": media_type}
    return told | {"title": title} if title else told
