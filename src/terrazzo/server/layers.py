"""Routes of layers: store a graph, list layers, tell about one, read its values at a point."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from terrazzo.server.about import about, listed, values_at
from terrazzo.server.body import read_layer
from terrazzo.server.look import stretched
from terrazzo.server.services import Services, services

router = APIRouter()

Parts = Annotated[Services, Depends(services)]


class Place(BaseModel):
    """A place on the map."""

    model_config = ConfigDict(extra="forbid")

    lon: float = Field(ge=-180, le=180, allow_inf_nan=False)
    lat: float = Field(ge=-90, le=90, allow_inf_nan=False)


@router.post("/layers", status_code=201)
async def store(request: Request, parts: Parts) -> dict[str, Any]:
    """Store a process graph as a layer; body: `{process_graph | process, title?, style?}`."""
    given = await read_layer(request)

    def keep() -> dict[str, Any]:
        stored = parts.store.put(given.document, given.title, given.style)
        style = stretched(parts.store.open(stored.digest))
        if style != stored.style:
            stored = parts.store.put(given.document, given.title, style)
        return about(parts.store.open(stored.digest))

    return await parts.work.run(request, keep)


@router.get("/layers")
async def layers(parts: Parts) -> dict[str, Any]:
    """List the layers, the newest first."""
    return {"layers": listed(await run_in_threadpool(parts.store.layers)), "links": []}


@router.get("/layers/{name}")
async def layer(name: str, request: Request, parts: Parts) -> dict[str, Any]:
    """Tell everything that a map needs to show a layer."""
    return await parts.work.run(request, lambda: about(parts.store.open(name)))


@router.get("/layers/{name}/point")
async def point(
    name: str, place: Annotated[Place, Query()], request: Request, parts: Parts
) -> dict[str, Any]:
    """Compute all values of the layer's own pixel at a place."""
    return await parts.work.run(
        request, lambda: values_at(parts.store.open(name), place.lon, place.lat)
    )
