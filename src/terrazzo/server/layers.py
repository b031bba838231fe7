"""Routes of layers: store a graph, list layers, tell about one, read its values at a point."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from terrazzo.server.about import about, listed, values_at
from terrazzo.server.body import read_layer
from terrazzo.server.look import stretched
from terrazzo.server.parts import Parts, parts

router = APIRouter()

Shared = Annotated[Parts, Depends(parts)]


class Place(BaseModel):
    """A place on the map."""

    model_config = ConfigDict(extra="forbid")

    lon: float = Field(ge=-180, le=180, allow_inf_nan=False)
    lat: float = Field(ge=-90, le=90, allow_inf_nan=False)


@router.post("/layers", status_code=201)
async def store(request: Request, shared: Shared) -> dict[str, Any]:
    """Store a process graph as a layer; body: `{process_graph | process, title?, style?}`."""
    given = await read_layer(request)

    def keep() -> dict[str, Any]:
        stored = shared.store.put(given.document, given.title, given.style)
        style = stretched(shared.store.open(stored.digest))
        if style != stored.style:
            stored = shared.store.put(given.document, given.title, style)
        return about(shared.store.open(stored.digest))

    return await shared.work.run(request, keep)


@router.get("/layers")
async def layers(shared: Shared) -> dict[str, Any]:
    """List the layers, the newest first."""
    return {"layers": listed(await run_in_threadpool(shared.store.layers)), "links": []}


@router.get("/layers/{name}")
async def layer(name: str, request: Request, shared: Shared) -> dict[str, Any]:
    """Tell everything that a map needs to show a layer."""
    return await shared.work.run(request, lambda: about(shared.store.open(name)))


@router.get("/layers/{name}/point")
async def point(
    name: str, place: Annotated[Place, Query()], request: Request, shared: Shared
) -> dict[str, Any]:
    """Compute all values of the layer's own pixel at a place."""
    return await shared.work.run(
        request, lambda: values_at(shared.store.open(name), place.lon, place.lat)
    )
