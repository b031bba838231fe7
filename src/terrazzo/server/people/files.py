"""Routes of the files that people upload."""

import asyncio
import mimetypes
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from starlette.requests import ClientDisconnect

from terrazzo.ledger import Principal
from terrazzo.ledger.files import StoredFile, UserFiles
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import user
from terrazzo.server.web.faults import RequestInvalid
from terrazzo.server.web.links import link
from terrazzo.server.web.paging import Page, token

router = APIRouter(tags=["Files"])

Shared = Annotated[Parts, Depends(parts)]
User = Annotated[Principal, Depends(user)]

PIECE = 1_000_000
"""Bytes of an upload that are written at a time."""
BINARY = "application/octet-stream"
BODY = {"required": True, "content": {BINARY: {"schema": {"type": "string", "format": "binary"}}}}
_KINDS = {
    ".geojson": "application/geo+json",
    ".gpkg": "application/geopackage+sqlite3",
    ".nc": "application/netcdf",
    ".parquet": "application/vnd.apache.parquet",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}
_ACTIVE = ("html", "xml", "script", "svg")
_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
}
"""What somebody uploaded is theirs, and never a page of this server."""


@router.get("/files")
def files(
    request: Request, who: User, shared: Shared, page: Annotated[Page, Depends()]
) -> dict[str, Any]:
    """List one's files."""
    key = page.key(1)
    size = page.size
    mine = UserFiles(shared.workspace.home, who.id)
    found = mine.listed(None if size is None else size + 1, key[0] if key else "")
    shown = found if size is None else found[:size]
    links = []
    if len(shown) < len(found):
        query = {"limit": size, "after": token([shown[-1].path])}
        links.append(link("next", str(request.url.include_query_params(**query))))
    return {"files": [_told(one) for one in shown], "links": links}


@router.get("/files/{path:path}", response_class=FileResponse)
def download(who: User, shared: Shared, path: str) -> FileResponse:
    """Return a file, or the part of it that the header `Range` names."""
    place, found = UserFiles(shared.workspace.home, who.id).find(path)
    return FileResponse(
        place,
        media_type=media_type(found.path),
        filename=found.path.rpartition("/")[2],
        headers=_HEADERS,
    )


@router.put("/files/{path:path}", openapi_extra={"requestBody": BODY})
async def upload(request: Request, who: User, shared: Shared, path: str) -> dict[str, Any]:
    """Store the body as a file, instead of one that is there."""
    quota = shared.settings.limits.quota_bytes if who.quota is None else who.quota
    mine = UserFiles(shared.workspace.home, who.id)
    announced = request.headers.get("content-length", "0")
    size = int(announced) if announced.isdecimal() else 0
    begun = await run_in_threadpool(mine.upload, path, quota, size)
    try:
        held = bytearray()
        async for piece in request.stream():
            held += piece
            if len(held) >= PIECE:
                await run_in_threadpool(begun.write, bytes(held))
                held.clear()
        await run_in_threadpool(begun.write, bytes(held))
        return _told(await run_in_threadpool(begun.finish))
    except ClientDisconnect:
        raise RequestInvalid("The upload was cut off; nothing is kept of it.") from None
    finally:
        await asyncio.shield(run_in_threadpool(begun.drop))


@router.delete("/files/{path:path}", status_code=204)
def delete(who: User, shared: Shared, path: str) -> Response:
    """Delete a file."""
    UserFiles(shared.workspace.home, who.id).delete(path)
    return Response(status_code=204)


def media_type(name: str) -> str:
    """Return the media type of a file by its name; what a browser would run is plain bytes."""
    suffix = PurePosixPath(name).suffix.lower()
    known = _KINDS.get(suffix) or mimetypes.guess_type(name, strict=False)[0] or BINARY
    return BINARY if any(part in known for part in _ACTIVE) else known


def _told(file: StoredFile) -> dict[str, Any]:
    return {"path": file.path, "size": file.size, "modified": file.modified}
