"""Routes of batch jobs: list, make, show, change, delete, estimate, logs, start and stop."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from terrazzo.drivers.estimate import estimate
from terrazzo.drivers.job import Job
from terrazzo.errors import TerrazzoError
from terrazzo.ledger import Principal
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.jobs import BUSY, KIND, Jobs, Status, StoredJob
from terrazzo.logs import Level
from terrazzo.server.limits import check_job
from terrazzo.server.openeo.job_blocks import told_of
from terrazzo.server.openeo.job_body import read_job
from terrazzo.server.openeo.log_pages import Least, log_page
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import user
from terrazzo.server.web.links import address, link
from terrazzo.server.web.paging import Page, token
from terrazzo.server.web.payload import read_object

router = APIRouter()

_UDF = '"run_udf"'
Shared = Annotated[Parts, Depends(parts)]
Somebody = Annotated[Principal, Depends(user)]


class EstimateComplexity(TerrazzoError):
    """What a job gives is known only when a part of it has run."""

    code, status = "EstimateComplexity", 500


def jobs_of(shared: Shared) -> Jobs:
    """Return the jobs of the server."""
    return Jobs(shared.database, JobFolders(shared.workspace.home))


All = Annotated[Jobs, Depends(jobs_of)]


@router.get("/jobs")
def list_jobs(
    who: Somebody, page: Annotated[Page, Depends()], request: Request, shared: Shared, jobs: All
) -> dict[str, Any]:
    """List the jobs of who asks, the newest first, without their graphs."""
    behind = page.key(2)
    more = None if page.size is None else page.size + 1
    found = jobs.listed(who, (behind[0], behind[1]) if behind else None, more)
    here = address(request, shared.settings, "jobs")
    links = [link("self", here)]
    if page.size is not None and len(found) > page.size:
        found = found[: page.size]
        after = token([found[-1].created, found[-1].id])
        links.append(link("next", f"{here}?{urlencode({'limit': page.size, 'after': after})}"))
    return {"jobs": [_about(one) for one in found], "links": links}


@router.post("/jobs", status_code=201, response_class=Response)
async def create_job(who: Somebody, request: Request, shared: Shared, jobs: All) -> Response:
    """Keep a new job, which is not run before it is started."""
    limits = shared.settings.limits
    body = await read_object(request, limits.body_bytes, nodes=limits.nodes)
    given = read_job(body, fresh=True)
    made = await run_in_threadpool(jobs.create, who, given)
    headers = {
        "Location": address(request, shared.settings, "jobs", made.id),
        "OpenEO-Identifier": made.id,
    }
    return Response(status_code=201, headers=headers)


@router.get("/jobs/{job_id}")
def show_job(
    job_id: str, who: Somebody, request: Request, shared: Shared, jobs: All
) -> dict[str, Any]:
    """Tell everything about a job."""
    known = jobs.get(who, job_id)
    here = address(request, shared.settings, "jobs", known.id)
    links = [link("monitor", f"{here}/logs", title="Log")]
    if known.status is Status.FINISHED:
        links.append(link("result", f"{here}/results", title="Results"))
    return {**_about(known), "process": known.process, "links": links}


@router.patch("/jobs/{job_id}", status_code=204)
async def change_job(
    job_id: str, who: Somebody, request: Request, shared: Shared, jobs: All
) -> None:
    """Change a job that neither waits nor runs."""
    limits = shared.settings.limits
    body = await read_object(request, limits.body_bytes, nodes=limits.nodes)
    given = read_job(body, fresh=False)
    await run_in_threadpool(jobs.update, who, job_id, given)


@router.delete("/jobs/{job_id}", status_code=204)
def delete_job(job_id: str, who: Somebody, jobs: All) -> None:
    """Delete a job with its log and results; if it runs, it is stopped."""
    jobs.delete(who, job_id)


@router.get("/jobs/{job_id}/estimate")
async def estimate_job(
    job_id: str, who: Somebody, request: Request, shared: Shared, jobs: All
) -> dict[str, Any]:
    """Tell what a job takes, from its plan; nothing is read."""

    def told() -> dict[str, Any]:
        known = jobs.get(who, job_id)
        job = Job.of(known.process, processes=known.processes)
        if _UDF in job.document or _UDF in job.processes:
            raise EstimateComplexity(
                "The graph runs code of its own (run_udf), and what that gives and takes is known "
                "only when it has run."
            )
        expected = estimate(job, job.infer(shared.workspace_of(who)))
        if expected.result_bytes is None:
            raise EstimateComplexity(
                "How large the result is depends on values that are known only when a part of the "
                "job has run, so it cannot be estimated."
            )
        return {
            "size": expected.result_bytes,
            "memory_bytes": expected.memory_bytes,
            "read_bytes": expected.read_bytes,
            "read_pixels": expected.read_pixels,
            "blocks": expected.blocks,
        }

    return await shared.work.run(request, told)


@router.get("/jobs/{job_id}/logs")
def job_logs(
    job_id: str,
    who: Somebody,
    request: Request,
    shared: Shared,
    jobs: All,
    page: Annotated[Page, Depends()],
    offset: Annotated[str, Query(max_length=100)] = "",
    level: Least = Level.DEBUG,
) -> dict[str, Any]:
    """List what a job and its graph have told, while it runs too."""
    known = jobs.get(who, job_id)
    here = address(request, shared.settings, "jobs", known.id, "logs")
    place, kept = (KIND, known.id), known.log_level
    return log_page(shared.database, place, here, page, offset=offset, level=level, kept=kept)


@router.get("/jobs/{job_id}/blocks")
def job_blocks(job_id: str, who: Somebody, shared: Shared, jobs: All) -> dict[str, Any]:
    """Tell which blocks of a job are done, who computes them, and how long that goes on."""
    known = jobs.get(who, job_id)
    return told_of(shared.looks.look(known), shared.looks.maps(known))


@router.post("/jobs/{job_id}/results", status_code=202, response_class=Response)
def start_job(job_id: str, who: Somebody, shared: Shared, jobs: All) -> Response:
    """Put a job into the queue; what it made before is gone then."""
    known = jobs.get(who, job_id)
    if known.status not in BUSY:
        _check_size(known, who, shared)
    jobs.start(who, job_id)
    return Response(status_code=202)


@router.delete("/jobs/{job_id}/results", status_code=204)
def stop_job(job_id: str, who: Somebody, jobs: All) -> None:
    """Take a job out of the queue, or stop it."""
    jobs.stop(who, job_id)


def _check_size(known: StoredJob, who: Principal, shared: Parts) -> None:
    """Refuse a job that is larger than one may be; what else is wrong with it, its log will say.

    Raises:
        TooComplex: its result has more pixels than the operator allows.
    """
    job = Job.of(known.process, processes=known.processes)
    if _UDF in job.document or _UDF in job.processes:
        return  # what code gives is known when it has run, and nobody waits here for that
    try:
        inference = job.infer(shared.workspace_of(who))
    except TerrazzoError:
        return
    check_job(job, inference, shared.settings.limits)


def _about(known: StoredJob) -> dict[str, Any]:
    """Return what a list says of a job; members without a value are left out."""
    told = {
        "id": known.id,
        "title": known.title,
        "description": known.description,
        "status": known.status,
        "progress": known.progress,
        "created": known.created,
        "updated": known.updated,
        **known.options,
        "usage": known.usage or None,
    }
    return {name: value for name, value in told.items() if value is not None}
