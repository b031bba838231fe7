"""Puts the server together: routes, errors, the page and its files."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from terrazzo import __version__
from terrazzo.ledger import Database, Signer, database_url
from terrazzo.server import faults, home, layers, tiles
from terrazzo.server.kept import KeptTiles
from terrazzo.server.parts import Parts
from terrazzo.server.settings import ServerSettings
from terrazzo.server.store import LayerStore
from terrazzo.server.work import Work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from terrazzo.drivers.job import Workspace

STATIC = Path(__file__).parent / "static"
ROUTERS = (home.router, layers.router, tiles.router)
"""One module per family of routes."""


def create_app(workspace: Workspace, settings: ServerSettings | None = None) -> FastAPI:
    """Return the web application over a workspace.

    Args:
        workspace: where collections and files are; its folder and catalogue are made if missing.
        settings: what the operator chose.

    Raises:
        CatalogUnusable, DatabaseUnusable, OutputFailed: what is kept cannot be opened or made.
    """
    settings = settings or ServerSettings()
    workspace.catalog(create=True).close()
    database = Database(settings.database or database_url(workspace.home))
    parts = Parts(
        settings,
        workspace,
        database,
        Signer.of(workspace.home),
        LayerStore(workspace),
        Work(settings.threads),
        KeptTiles(settings.kept_bytes),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        parts.work.close()
        database.close()

    # The documentation pages of FastAPI load scripts from another host, so they stay off.
    app = FastAPI(
        title="Terrazzo", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.state.parts = parts
    faults.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app
