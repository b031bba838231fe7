"""Routes of what jobs have made: as STAC, with signed links that work without log-in."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BeforeValidator

from terrazzo.drivers.described import DOCUMENT, Results
from terrazzo.errors import TerrazzoError
from terrazzo.ledger import entries
from terrazzo.ledger.clock import text_of
from terrazzo.ledger.jobs import KIND, JobNotFinished, JobNotFound, Status, StoredJob
from terrazzo.ledger.own import item_name, item_number, signed_text
from terrazzo.logs import Level
from terrazzo.server.openeo.jobs import All, Shared, Somebody
from terrazzo.server.web.links import address, link

router = APIRouter()

GEOJSON = "application/geo+json"
FREE = {"OpenEO-Costs": "0"}
"""What an owner is told that the files of a job cost; without it, validators take it as null."""
_FILES = ["GET", "HEAD"]
Flag = Annotated[bool, BeforeValidator(lambda text: text or False)]


class ResultLinkExpired(TerrazzoError):
    """A signed link was good once."""

    code, status = "ResultLinkExpired", 410


class ResultNotFound(TerrazzoError):
    """A job has made no such file, or has been started again since."""

    code, status = "FileNotFound", 404


@router.get("/jobs/{job_id}/results")
def job_results(
    job_id: str,
    who: Somebody,
    request: Request,
    shared: Shared,
    jobs: All,
    partial: Flag = False,
) -> Response:
    """Tell what a finished job has made, as STAC item or collection."""
    known = jobs.get(who, job_id)
    if known.status is Status.ERROR and not partial:
        told = entries.listed(shared.database, KIND, known.id, level=Level.ERROR)
        last = told[-1] if told else {"id": "0", "level": "error", "message": "The job failed."}
        return JSONResponse(last, 424)
    if known.status in {Status.RUNNING, Status.ERROR} and partial:
        return JSONResponse(_nothing_yet(known), headers=FREE, media_type=_media_type(request))
    if known.status is not Status.FINISHED:
        raise JobNotFinished(
            f"Job {known.id!r} is {known.status} and has no results yet. Start it with POST "
            "/jobs/{job_id}/results, and ask again when its status is finished."
        )
    results = _results(jobs.folders.of(known.id, known.run))
    expires = int(time.time() + shared.settings.link_hours * 3600)
    answer = _document(results, known, expires, request, shared)
    answer.headers.update(FREE)
    return answer


@router.api_route("/jobs/{job_id}/results/{name}", methods=_FILES, include_in_schema=False)
def job_file(job_id: str, name: str, who: Somebody, request: Request, jobs: All) -> Response:
    """Send a file to the owner of the job that made it."""
    known = jobs.get(who, job_id)
    if known.status is not Status.FINISHED:
        raise JobNotFinished(f"Job {known.id!r} is {known.status} and has no results yet.")
    return _file(_results(jobs.folders.of(known.id, known.run)), name, request)


@router.api_route(
    "/results/{signature}/{job_id}/{run}/{name}", methods=_FILES, include_in_schema=False
)
def linked(
    signature: str,
    job_id: str,
    run: int,
    name: str,
    request: Request,
    shared: Shared,
    jobs: All,
) -> Response:
    """Send what a signed link names to whoever has the link."""
    expires = shared.signer.expiry(signed_text(job_id, run, name), signature)
    known = None if expires is None else jobs.linked(job_id)
    if expires is None or known is None or known.run != run or known.status is not Status.FINISHED:
        raise ResultNotFound("There is nothing at this address, or not any more.")
    if expires and time.time() >= expires:
        raise ResultLinkExpired(
            "The link has expired. The owner of the job gets a new one with GET "
            "/jobs/{job_id}/results."
        )
    results = _results(jobs.folders.of(known.id, known.run))
    number = item_number(name)
    if name == DOCUMENT:
        return _document(results, known, expires, request, shared)
    if number is not None:
        return _item(results, known, number, expires, request, shared)
    return _file(results, name, request)


def _results(folder: Any) -> Results:
    results = Results.of(folder)
    if results is None:
        raise JobNotFound("The files of the job have gone. Start it again.")
    return results


def _signed(
    known: StoredJob, expires: int, request: Request, shared: Shared
) -> Callable[[str], str]:
    """Return what gives the signed address of something that a run has made."""

    def href(name: str) -> str:
        signature = shared.signer.sign(signed_text(known.id, known.run, name), expires)
        return address(
            request, shared.settings, "results", signature, known.id, str(known.run), name
        )

    return href


def _document(
    results: Results, known: StoredJob, expires: int, request: Request, shared: Shared
) -> Response:
    href = _signed(known, expires, request, shared)
    as_item = GEOJSON in request.headers.get("accept", "")
    if results.is_collection and not as_item:
        document = results.collection(href) | {"expires": _until(expires)}
        count = len(results.told["parts"])
        document["links"] = [
            link("canonical", href(DOCUMENT)),
            *(link("item", href(item_name(number)), GEOJSON) for number in range(1, count + 1)),
        ]
        return JSONResponse(document)
    document = results.item(href)
    document["properties"]["expires"] = _until(expires)
    document["links"] = [link("canonical", href(DOCUMENT), GEOJSON)]
    return JSONResponse(document, media_type=_media_type(request))


def _media_type(request: Request) -> str:
    """Return as what an item is sent: GeoJSON only to whoever asks for that."""
    wanted = request.headers.get("accept", "")
    return GEOJSON if GEOJSON in wanted.split(",")[0] else "application/json"


def _item(
    results: Results, known: StoredJob, number: int, expires: int, request: Request, shared: Shared
) -> Response:
    href = _signed(known, expires, request, shared)
    items = results.items(href)
    if not 1 <= number <= len(items):
        raise ResultNotFound("There is nothing at this address, or not any more.")
    document = items[number - 1]
    document["properties"]["expires"] = _until(expires)
    document["links"] = [
        link("self", href(item_name(number)), GEOJSON),
        link("collection", href(DOCUMENT)),
        link("parent", href(DOCUMENT)),
    ]
    return JSONResponse(document, media_type=GEOJSON)


def _file(results: Results, name: str, request: Request) -> Response:
    """Send a file, whole or the ranges that are asked for."""
    path = results.path(name)
    if path is None or not path.is_file():
        raise ResultNotFound("The job has made no file of that name.")
    asset = results.asset(name)
    headers = {
        "ETag": f'"{asset["file:checksum"]}"',
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return FileResponse(path, headers=headers, media_type=asset["type"], filename=name)


def _nothing_yet(known: StoredJob) -> dict[str, Any]:
    """Return an item without files: half of a result is never shown."""
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": known.id,
        "geometry": None,
        "properties": {"datetime": known.updated, "openeo:status": known.status},
        "links": [],
        "assets": {},
    }


def _until(expires: int) -> str:
    return text_of(datetime.fromtimestamp(expires, UTC))
