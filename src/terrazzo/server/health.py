"""Routes for those who run the server: whether it lives, whether it can work, its numbers."""

import asyncio
import hmac
import ipaddress
import logging
import shutil
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from terrazzo import __version__, sandbox
from terrazzo.errors import TerrazzoError
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.jobs import Jobs
from terrazzo.ledger.schema import version
from terrazzo.server.parts import Parts, parts
from terrazzo.server.web.faults import NotFound

router = APIRouter(tags=["Operation"])

REFRESH_SECONDS = 2.0
LEAST_BYTES = 100_000_000
"""Free bytes on the disk of the home folder below which a server takes no work."""

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")

log = logging.getLogger(__name__)
Shared = Annotated[Parts, Depends(parts)]


class Health(BaseModel):
    """That the server lives."""

    status: str
    version: str


class Readiness(BaseModel):
    """Whether the server can work, and what of it cannot."""

    status: str
    database: str
    catalogue: str
    disk: str


@router.get("/health")
async def health() -> Health:
    """Tell that the server answers."""
    return Health(status="ok", version=__version__)


@router.get("/health/ready", responses={503: {"model": Readiness}})
def ready(shared: Shared) -> Response:
    """Tell whether database, catalogue and disk can be used; 503 where one cannot."""
    told = {"database": _database(shared), "catalogue": _catalogue(shared), "disk": _disk(shared)}
    good = set(told.values()) == {"ok"}
    content = Readiness(status="ready" if good else "unready", **told)
    headers = {"Cache-Control": "no-store"}
    return JSONResponse(content.model_dump(), 200 if good else 503, headers)


def _database(shared: Parts) -> str:
    try:
        with shared.database.reading() as connection:
            connection.execute(select(version.c.version)).all()
    except SQLAlchemyError as error:
        log.error("The database cannot be used: %s", error)  # noqa: TRY400 - said without the trace
        return "unusable"
    return "ok"


def _catalogue(shared: Parts) -> str:
    try:
        with shared.workspace.catalog() as catalog:
            catalog.collections()
    except (TerrazzoError, OSError) as error:
        log.error("The catalogue cannot be used: %s", error)  # noqa: TRY400 - as above
        return "unusable"
    return "ok"


def _disk(shared: Parts) -> str:
    try:
        free = shutil.disk_usage(shared.workspace.home).free
    except OSError:
        return "unusable"
    return "ok" if free >= LEAST_BYTES else "full"


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request, shared: Shared) -> Response:
    """Return the numbers for Prometheus."""
    if not may_read(request, shared.settings.metrics_token):
        raise NotFound("There is nothing here.")
    refresh(shared)
    jobs = Jobs(shared.database, JobFolders(shared.workspace.home))
    return Response(shared.metrics.text(jobs, shared.looks), media_type=CONTENT_TYPE_LATEST)


def refresh(shared: Parts) -> None:
    """Let the numbers of this process be those of this moment."""
    shared.metrics.refresh(
        waiting=sum(one.waiting for one in (shared.work, shared.results, shared.strangers)),
        kept_bytes=shared.kept.bytes_held,
        udf_workers=sandbox.workers(),
    )


async def keep_fresh(shared: Parts) -> None:
    """Refresh the numbers for ever: another process may be the one that is asked for them."""
    while True:
        refresh(shared)
        await asyncio.sleep(REFRESH_SECONDS)


def may_read(request: Request, token: str) -> bool:
    """Tell whether a request may see the numbers: by token if there is one, else from this machine.

    What a proxy passes on comes from somewhere else.
    """
    if token:
        given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        return hmac.compare_digest(given, token.encode())
    if any(name in request.headers for name in _FORWARDED) or request.client is None:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
