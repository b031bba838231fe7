"""Routes of user-defined processes: list, show, store, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from terrazzo.ledger import Principal
from terrazzo.ledger.processes import UserProcesses
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import user
from terrazzo.server.web.links import address, link
from terrazzo.server.web.paging import Page, token
from terrazzo.server.web.payload import read_object

router = APIRouter()

Shared = Annotated[Parts, Depends(parts)]
Somebody = Annotated[Principal, Depends(user)]


@router.get("/process_graphs")
def user_processes(
    who: Somebody, page: Annotated[Page, Depends()], request: Request, shared: Shared
) -> dict[str, Any]:
    """List the user-defined processes of who asks, by id, without their graphs."""
    behind = page.key(1)
    more = None if page.size is None else page.size + 1
    found = UserProcesses(shared.database).listed(who, behind[0] if behind else None, more)
    here = address(request, shared.settings, "process_graphs")
    links = [link("self", here)]
    if page.size is not None and len(found) > page.size:
        found = found[: page.size]
        links.append(link("next", f"{here}?limit={page.size}&after={token([found[-1]['id']])}"))
    return {"processes": found, "links": links}


@router.get("/process_graphs/{process_graph_id}")
def user_process(process_graph_id: str, who: Somebody, shared: Shared) -> dict[str, Any]:
    """Tell all that was stored of a user-defined process."""
    return UserProcesses(shared.database).get(who, process_graph_id)


@router.put("/process_graphs/{process_graph_id}", response_class=Response)
async def store_user_process(
    process_graph_id: str, who: Somebody, request: Request, shared: Shared
) -> Response:
    """Store a user-defined process, in place of the one of that id."""
    document = await read_object(request, shared.settings.limits.body_bytes)
    store = UserProcesses(shared.database)
    await run_in_threadpool(store.put, who, process_graph_id, document)
    return Response(status_code=200)


@router.delete("/process_graphs/{process_graph_id}", status_code=204)
def delete_user_process(process_graph_id: str, who: Somebody, shared: Shared) -> None:
    """Delete a user-defined process; jobs and services that were made with it stay."""
    UserProcesses(shared.database).delete(who, process_graph_id)
