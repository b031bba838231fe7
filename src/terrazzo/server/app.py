"""Puts the server together: routes, errors, the page and its files."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI

from terrazzo import __version__
from terrazzo.browser import FOLDER as BUILT
from terrazzo.ledger import Database, Signer, database_url
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.looks import JobWatcher
from terrazzo.server import health, scratch
from terrazzo.server.description import describe
from terrazzo.server.features import routes as features
from terrazzo.server.login.oidc import Providers
from terrazzo.server.maps.kept import KeptTiles
from terrazzo.server.maps.layers import Layers
from terrazzo.server.maps.maps import Maps
from terrazzo.server.openeo import (
    capabilities,
    formats,
    home,
    job_results,
    jobs,
    pages,
    processes,
    result,
    user_processes,
    validation,
)
from terrazzo.server.parts import Parts
from terrazzo.server.people import credentials, files, me
from terrazzo.server.screen import routes as screen
from terrazzo.server.services import routes as services
from terrazzo.server.services import tiles as service_tiles
from terrazzo.server.services import wmts
from terrazzo.server.settings import ServerSettings
from terrazzo.server.stac import aggregation, collections, preview, transactions
from terrazzo.server.stac import items as stac
from terrazzo.server.web import faults
from terrazzo.server.web.cors import Cors
from terrazzo.server.web.guard import Guard
from terrazzo.server.web.metrics import Metrics
from terrazzo.server.web.requests import LastAnswer, Requests
from terrazzo.server.web.slashes import OneSlash
from terrazzo.server.web.static_files import FreshFiles
from terrazzo.server.web.work import ClientGone, Work, nobody

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from terrazzo.drivers.job import Workspace

STATIC = Path(__file__).parent / "static"
MOST_OF_STRANGERS = 200
"""Requests for pixels of graphs of those who are not logged in that may wait."""
ROUTERS = (
    health.router, features.router, preview.router, stac.router, aggregation.router,
    collections.router, transactions.router,
    pages.router, home.router, capabilities.router, formats.router,
    jobs.router, job_results.router,
    processes.router, user_processes.router,
    validation.router, result.router,
    services.router, service_tiles.router, wmts.router, screen.router,
    credentials.router, me.router, files.router,
)  # fmt: skip
"""One module per family of routes; what answers within a millisecond comes first."""


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
    scratch.sweep(workspace.home)
    metrics = Metrics()
    half = max(1, (settings.threads or len(os.sched_getaffinity(0))) // 2)
    signer, maps = Signer.of(workspace.home), Maps(database, workspace, settings.limits)
    parts = Parts(
        settings,
        workspace,
        database,
        signer,
        maps,
        Layers(database, workspace, maps.layers, signer, settings.limits),
        Work(settings.threads),
        KeptTiles(settings.kept_bytes, metrics.tile),
        metrics,
        Providers(settings.providers),
        Work(half),
        Work(half, longest_queue=MOST_OF_STRANGERS),
        JobWatcher(JobFolders(workspace.home)),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        fresh = asyncio.create_task(health.keep_fresh(parts))
        # Whoever closes the last connection tidies the file up, which no request shall wait for.
        with workspace.catalog():
            yield
        fresh.cancel()
        parts.close()

    # The documentation pages of FastAPI load scripts from another host, so they stay off.
    app = FastAPI(
        title="Terrazzo",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.parts = parts
    # The last one added is the outermost.
    app.add_middleware(LastAnswer)
    app.add_middleware(Guard, settings=settings)
    if not settings.open or settings.cors:
        app.add_middleware(Cors, origin=settings.cors if settings.open else "*")
    app.add_middleware(Requests, metrics=metrics)
    app.add_middleware(OneSlash)
    faults.install(app)
    app.add_exception_handler(ClientGone, nobody)
    for router in ROUTERS:
        app.include_router(router)
    describe(app)
    app.mount("/static/web", FreshFiles(directory=BUILT, check_dir=False), name="web")
    app.mount("/static", FreshFiles(directory=STATIC), name="static")
    return app
