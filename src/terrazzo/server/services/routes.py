"""Routes of secondary web services: make, list, describe, change and delete them; their logs."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from terrazzo.ledger import Principal
from terrazzo.ledger.services import (
    Service,
    add_service,
    delete_service,
    own_service,
    service_of,
    services_of,
)
from terrazzo.logs import Level
from terrazzo.server.maps.entries import KIND
from terrazzo.server.maps.patient import Patient
from terrazzo.server.openeo.log_pages import Least, log_page
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import user
from terrazzo.server.services import changes as service_changes
from terrazzo.server.services.documents import described, listed, paged
from terrazzo.server.web.links import address
from terrazzo.server.web.paging import Page
from terrazzo.server.web.payload import read_object

router = APIRouter()

Shared = Annotated[Parts, Depends(parts)]
Somebody = Annotated[Principal, Depends(user)]


@router.get("/services")
def services(
    who: Somebody, page: Annotated[Page, Depends()], request: Request, shared: Shared
) -> dict[str, Any]:
    """List the services of who asks, the newest first."""
    more = None if page.size is None else page.size + 1
    found = services_of(shared.database, who, limit=more, after=page.key(2))
    shown, links = paged(page, found, address(request, shared.settings, "services"))
    return {"services": [listed(request, shared, who, one) for one in shown], "links": links}


@router.post("/services", status_code=201, response_class=Response)
async def make_service(who: Somebody, request: Request, shared: Shared) -> Response:
    """Make a service of a process graph, which is opened to see that it can be shown."""
    limits = shared.settings.limits
    body = await read_object(request, limits.body_bytes, nodes=limits.nodes)

    def make() -> Service:
        service = service_changes.made(shared.database, shared.maps, who, body)
        add_service(shared.database, service)
        return service

    made = await Patient.of(who).ask(shared.work, request, make)
    headers = {
        "Location": address(request, shared.settings, "services", made.id),
        "OpenEO-Identifier": made.id,
    }
    return Response(status_code=201, headers=headers)


@router.get("/services/{service_id}")
def service(service_id: str, who: Somebody, request: Request, shared: Shared) -> dict[str, Any]:
    """Tell all that there is to know of a service."""
    return described(request, shared, who, service_of(shared.database, who, service_id))


@router.patch("/services/{service_id}", status_code=204, response_class=Response)
async def change_service(
    service_id: str, who: Somebody, request: Request, shared: Shared
) -> Response:
    """Change what the body names; settings of the configuration one by one."""
    limits = shared.settings.limits
    body = await read_object(request, limits.body_bytes, nodes=limits.nodes)
    await run_in_threadpool(own_service, shared.database, who, service_id)

    def change() -> None:
        service_changes.change(shared.database, shared.maps, who, service_id, body)

    await Patient.of(who).ask(shared.work, request, change)
    return Response(status_code=204)


@router.delete("/services/{service_id}", status_code=204, response_class=Response)
def remove_service(service_id: str, who: Somebody, shared: Shared) -> Response:
    """Delete a service and its log; within a second nobody sees its tiles any more."""
    delete_service(shared.database, who, service_id)
    return Response(status_code=204)


@router.get("/services/{service_id}/logs")
def service_log(
    *,
    service_id: str,
    who: Somebody,
    request: Request,
    shared: Shared,
    page: Annotated[Page, Depends()],
    offset: Annotated[str, Query(max_length=100)] = "",
    level: Least = Level.DEBUG,
) -> dict[str, Any]:
    """Tell what went wrong while a service was looked at, and what its graph logged."""
    mine = own_service(shared.database, who, service_id)
    here = address(request, shared.settings, "services", mine.id, "logs")
    kept = Level(mine.options.get("log_level", Level.INFO))
    place = (KIND, mine.id)
    return log_page(shared.database, place, here, page, offset=offset, level=level, kept=kept)
