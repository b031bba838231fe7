"""Routes of tiles."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from terrazzo.server.look import Look
from terrazzo.server.parts import Parts, parts
from terrazzo.server.picture import Tile, answer
from terrazzo.server.work import ClientGone

router = APIRouter()

CLIENT_CLOSED = 499


@router.get("/layers/{name}/tiles/{matrix}/{z}/{x}/{y}.{form}", response_class=Response)
async def tile(
    *,
    name: str,
    matrix: str,
    z: int,
    x: int,
    y: int,
    form: str,
    look: Annotated[Look, Query()],
    request: Request,
    shared: Annotated[Parts, Depends(parts)],
) -> Response:
    """Compute a tile of a layer as png, webp or npy."""
    wanted = Tile(name, matrix, z, x, y, form)
    known = request.headers.get("if-none-match", "")

    def made() -> Response:
        return answer(shared.store, shared.kept, wanted, look, known)

    try:
        return await shared.work.run(request, made)
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED)
