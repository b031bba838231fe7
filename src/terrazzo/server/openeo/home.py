"""Routes of the page itself."""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from terrazzo.browser import FOLDER
from terrazzo.server.web.error_pages import HEADERS as COMMON
from terrazzo.server.web.error_pages import to_root

if TYPE_CHECKING:
    from starlette.types import Scope

    from terrazzo.server.settings import ServerSettings

router = APIRouter()

HEADERS = COMMON | {
    # Basemaps of other hosts come where somebody chooses one; films are made here.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data: "
    "https://tile.openstreetmap.org https://tiles.maps.eox.at; media-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
PAGE = Path(__file__).parents[1] / "static" / "index.html"


def page(scope: Scope, settings: ServerSettings) -> HTMLResponse:
    """Return the explorer, which browsers get at `/`."""
    root = escape(to_root(scope))
    # What the script will ask for is fetched while the script itself is.
    parts = "".join(
        f'\n<link rel="modulepreload" href="{root}static/web/{escape(part.name)}">'
        for part in sorted(FOLDER.glob("chunk-*.js"))
    )
    told = {"root": root, "accounts": "" if settings.open else "yes", "parts": parts}
    return HTMLResponse(_shell().substitute(told), headers=HEADERS)


@cache
def _shell() -> Template:
    return Template(PAGE.read_text(encoding="utf-8"))


@router.get("/favicon.ico", include_in_schema=False)
async def icon() -> Response:
    """Return nothing: the page brings its own icon."""
    return Response(status_code=204)
