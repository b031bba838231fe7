"""Puts the server together: routes, errors, the page and its files."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from terrazzo import __version__
from terrazzo.server import faults, home, layers, tiles
from terrazzo.server.services import Services
from terrazzo.server.store import LayerStore
from terrazzo.server.work import Work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from terrazzo.drivers.job import Workspace

STATIC = Path(__file__).parent / "static"


def create_app(workspace: Workspace, *, threads: int = 0) -> FastAPI:
    """Return the web application over a workspace.

    Args:
        workspace: where collections and layers are; its folder and catalogue are made if missing.
        threads: how many tiles are computed at a time; 0 = one per core.

    Raises:
        CatalogUnusable, OutputFailed: the catalogue cannot be opened or made.
    """
    parts = Services(LayerStore(workspace), Work(threads))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        parts.work.close()

    # The documentation pages of FastAPI load scripts from another host, so they stay off.
    app = FastAPI(
        title="Terrazzo", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.state.services = parts
    faults.install(app)
    app.include_router(home.router)
    app.include_router(layers.router)
    app.include_router(tiles.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app
