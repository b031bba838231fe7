"""Puts the server together: routes, errors, the page and its files."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from terrazzo import __version__
from terrazzo.server import faults, home, layers, tiles
from terrazzo.server.kept import KeptTiles
from terrazzo.server.services import Services
from terrazzo.server.store import LayerStore
from terrazzo.server.work import Work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from terrazzo.drivers.job import Workspace

STATIC = Path(__file__).parent / "static"
KEPT_BYTES = 64_000_000
"""Bytes of encoded tiles that are kept, some thousand of them."""


def create_app(workspace: Workspace, *, threads: int = 0, kept_bytes: int = KEPT_BYTES) -> FastAPI:
    """Return the web application over a workspace.

    Args:
        workspace: where collections and layers are; its folder and catalogue are made if missing.
        threads: how many tiles are computed at a time; 0 = one per core.
        kept_bytes: bytes of encoded tiles that are kept for those who ask next; 0 = none.

    Raises:
        CatalogUnusable, OutputFailed: the catalogue cannot be opened or made.
    """
    parts = Services(LayerStore(workspace), Work(threads), KeptTiles(kept_bytes))

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
