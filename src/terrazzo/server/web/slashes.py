"""Paths with two slashes where one is meant: clients join addresses, and some join too much."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_MANY = re.compile(r"^/{2,}")


class OneSlash:
    """Take slashes at the beginning of a path for one; those further on may belong to a name."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its path put right."""
        if scope["type"] == "http" and scope["path"].startswith("//"):
            scope = {
                **scope,
                "path": _MANY.sub("/", scope["path"]),
                "raw_path": re.sub(rb"^/{2,}", b"/", scope["raw_path"]),
            }
        await self._app(scope, receive, send)
