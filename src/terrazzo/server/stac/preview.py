"""Route of pictures of items: their thumbnail, or one that is made of their bands."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse, Response

from terrazzo import __version__
from terrazzo.drivers.preview import preview
from terrazzo.errors import TerrazzoError
from terrazzo.ledger import Principal
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import principal
from terrazzo.server.stac.assets import asset_file

router = APIRouter(tags=["STAC"])

SIZE, LARGEST = 512, 1024
"""Pixels of the longer side: where nothing is asked for, and at most."""
NOT_MODIFIED = 304
_ROLES = frozenset({"thumbnail", "overview"})
_PICTURES = ("image/png", "image/jpeg", "image/webp")
_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Authorization",
}


# Ids may hold slashes, so this comes before what matches all of them.
@router.get("/collections/{collection_id:path}/items/{item_id}/preview", response_class=Response)
async def picture(
    collection_id: str,
    item_id: str,
    request: Request,
    who: Annotated[Principal, Depends(principal)],
    shared: Annotated[Parts, Depends(parts)],
    size: Annotated[int, Query(ge=16, le=LARGEST, description="Pixels of a side.")] = SIZE,
) -> Response:
    """Give a small picture of an item, PNG unless it brings one of its own."""
    known = request.headers.get("if-none-match", "")
    return await shared.work.run(
        request, lambda: _picture(shared, who, (collection_id, item_id), size, known)
    )


def _picture(
    shared: Parts, who: Principal, named: tuple[str, str], size: int, known: str
) -> Response:
    """Return the picture; what is made is kept until the collection changes.

    Raises:
        CollectionNotFound, ItemNotFound: it is not there for who asks.
        PreviewUnavailable: there can be no picture of it.
    """
    workspace = shared.workspace_of(who)
    with workspace.catalog() as catalog:
        version = catalog.version(named[0])
        item = catalog.item(*named)
        document = catalog.collection(named[0])
    own = _own_picture(shared, who, item)
    if own is not None:
        return own
    key = ("preview", __version__, version, *named, size)
    headers = {**_HEADERS, "ETag": f'"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}"'}
    if headers["ETag"] in {one.strip().removeprefix("W/") for one in known.split(",")}:
        return Response(status_code=NOT_MODIFIED, headers=headers)

    def made() -> bytes:
        # Its bands are kept with the picture: both come of one reading.
        found = preview(workspace.opener(reader=shared.maps.reader), document, item, size)
        return json.dumps(found.bands).encode() + b"\n" + found.content

    bands, _, content = (shared.kept.get(key, made, pixels=size * size) or b"[]\n").partition(b"\n")
    headers["X-Bands"] = quote(", ".join(json.loads(bands)))
    return Response(content, headers=headers, media_type="image/png")


def _own_picture(shared: Parts, who: Principal, item: Mapping[str, Any]) -> Response | None:
    """Return the file of a thumbnail or an overview that is here and that browsers can show."""
    assets = item.get("assets")
    for key, asset in assets.items() if isinstance(assets, dict) else ():
        if not isinstance(asset, dict) or asset.get("type") not in _PICTURES:
            continue
        roles = asset.get("roles")
        named = {key, *(map(str, roles) if isinstance(roles, list) else ())}
        if not named & _ROLES:
            continue
        try:
            path, media_type = asset_file(shared, who, (item["collection"], item["id"], key), "")
        except TerrazzoError:
            continue
        return FileResponse(Path(path), media_type=media_type, headers=_HEADERS)
    return None
