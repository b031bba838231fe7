"""Pages for people at the addresses of the STAC API: what programs read there, to look at.

One shell of HTML, filled with what is asked for; its scripts read the same address as JSON.
"""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from typing_extensions import override

from terrazzo.errors import TerrazzoError
from terrazzo.server.parts import parts
from terrazzo.server.people.principal import principal
from terrazzo.server.web.accept import varies, wants_page
from terrazzo.server.web.error_pages import HEADERS, to_root

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from fastapi import Request
    from fastapi.responses import Response

    from terrazzo.ledger import Principal
    from terrazzo.server.parts import Parts

STATIC = Path(__file__).parents[1] / "static"
PAGES: Mapping[str, str] = {
    "/collections": "collections",
    "/collections/{collection_id:path}": "collection",
    "/collections/{collection_id:path}/items": "items",
    "/collections/{collection_id:path}/items/{item_id}": "item",
    "/search": "search",
    "/features": "features",
    "/features/collections": "features",
    "/features/collections/{collection_id:path}": "feature-map",
    "/features/collections/{collection_id:path}/items": "feature-map",
    "/features/collections/{collection_id:path}/items/{feature_id}": "feature-map",
}
"""Which page a browser gets at the address of a route."""
FOUND, NOT_FOUND = 200, 404


class PageRoute(APIRoute):
    """A route that gives a browser a page where it gives a program a document."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        document = super().get_route_handler()
        kind = PAGES.get(self.path)
        if kind is None or "GET" not in (self.methods or ()):
            return document

        async def answer(request: Request) -> Response:
            if wants_page(request):
                return await page(request, kind)
            response = await document(request)
            varies(response)
            return response

        return answer


async def page(request: Request, kind: str) -> Response:
    """Return the page of a collection, an item or a list.

    One of what is not there for who asks has the status 404, and asks them to log in: browsers send
    tokens with what scripts ask for only.

    Raises:
        TerrazzoError: it cannot be said whether it is there.
    """
    shared = await parts(request)
    who = await principal(request, shared)
    named = {name: str(value) for name, value in request.path_params.items()}
    there = await run_in_threadpool(_is_there, shared, who, named)
    told = {
        "kind": kind,
        "root": to_root(request.scope),
        "collection": named.get("collection_id", ""),
        "item": named.get("item_id", named.get("feature_id", "")),
        "accounts": "" if shared.settings.open else "yes",
    }
    filled = _shell().substitute({name: escape(text) for name, text in told.items()})
    return HTMLResponse(filled, FOUND if there else NOT_FOUND, HEADERS)


@cache
def _shell() -> Template:
    return Template((STATIC / "catalogue.html").read_text(encoding="utf-8"))


def _is_there(shared: Parts, who: Principal, named: Mapping[str, str]) -> bool:
    if not named:
        return True
    try:
        with shared.workspace_of(who).catalog() as catalog:
            if "item_id" in named:
                catalog.item(named["collection_id"], named["item_id"])
            else:
                catalog.version(named["collection_id"])
    except TerrazzoError as error:
        if error.status == NOT_FOUND:
            return False
        raise
    return True
