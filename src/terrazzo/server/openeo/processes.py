"""Route of the predefined processes."""

import gzip
import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from terrazzo.processes import PROCESSES
from terrazzo.server.openeo import pages
from terrazzo.server.parts import Parts, parts
from terrazzo.server.web.accept import takes_gzip, wants_page
from terrazzo.server.web.links import address, link

router = APIRouter()

JSON = "application/json"
NOT_MODIFIED = 304
_LEVEL = 6


@dataclass(frozen=True, slots=True)
class _Listing:
    """An answer that is the same until the server is another one."""

    content: bytes
    squeezed: bytes
    """The same, gzipped."""
    tag: str
    """Its ETag; changes with the content."""


@router.get("/processes")
def processes(request: Request, shared: Annotated[Parts, Depends(parts)]) -> Response:
    """List the predefined processes, with all that is known of each.

    Always all of them: the JavaScript client asks for pages and reads only the first.
    """
    if wants_page(request):
        return pages.processes_page()
    listing = _listing(address(request, shared.settings, "processes"))
    headers = {
        "ETag": listing.tag,
        "Cache-Control": "public, max-age=60",
        "Vary": "Accept, Accept-Encoding",
    }
    known = request.headers.get("if-none-match", "").split(",")
    if listing.tag in {one.strip().removeprefix("W/") for one in known}:
        return Response(status_code=NOT_MODIFIED, headers=headers)
    if takes_gzip(request):
        headers["Content-Encoding"] = "gzip"
        return Response(listing.squeezed, 200, headers, JSON)
    return Response(listing.content, 200, headers, JSON)


def listed(here: str) -> dict[str, Any]:
    """Return all processes, by id."""
    links = [link("self", here), link("alternate", here, "text/html", "Page of the processes")]
    return {
        "processes": [PROCESSES[name].spec.to_json() for name in sorted(PROCESSES)],
        "links": links,
    }


@lru_cache(8)
def _listing(here: str) -> _Listing:
    """Return the listing, which clients ask for first of all; made once for an address."""
    content = json.dumps(listed(here), separators=(",", ":")).encode()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return _Listing(content, gzip.compress(content, _LEVEL, mtime=0), tag)
