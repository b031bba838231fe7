"""Route of synchronous results: a graph is computed while the client waits, and sent."""

import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse

from terrazzo import logs
from terrazzo.drivers.batch import fitting_block, run
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.results import Asset
from terrazzo.drivers.tile import to_logging
from terrazzo.engine import Inference
from terrazzo.errors import RunIncomplete, TerrazzoError
from terrazzo.ledger import Principal
from terrazzo.ledger.processes import processes_of
from terrazzo.progress import Stoppable
from terrazzo.server.limits import check_graph, check_result
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import user
from terrazzo.server.scratch import Scratch
from terrazzo.server.web.faults import RequestInvalid
from terrazzo.server.web.payload import read_object
from terrazzo.server.web.work import ClientGone

router = APIRouter()

CLIENT_CLOSED = 499
TAR = "application/x-tar"
MOST_THREADS = 4
"""Threads that compute one result; others want theirs meanwhile."""
MEMORY = 1_000_000_000
"""Bytes that one result may take for its blocks."""
_CHUNK = 1 << 18
_LEVELS = ("debug", "info", "warning", "error")
_SERVER_FAULT = 500


class ResultFailed(TerrazzoError):
    """A synchronous result could not be computed, and that is not the client's fault."""

    code, status = "ResultFailed", 500


@dataclass(frozen=True, slots=True)
class _Ready:
    """A graph that is known to be valid and small enough to be computed at once."""

    job: Job
    workspace: Workspace
    inference: Inference
    pixels: int
    log_level: str


@dataclass(frozen=True, slots=True)
class _Made:
    """What is sent: an open file, of which nothing is left once it is closed."""

    file: IO[bytes]
    name: str
    media_type: str


@router.post("/result", response_class=Response)
async def result(
    request: Request,
    who: Annotated[Principal, Depends(user)],
    shared: Annotated[Parts, Depends(parts)],
) -> Response:
    """Compute a process graph and send its result: one file as it is, several as a tar file."""
    limits = shared.settings.limits
    body = await read_object(request, limits.body_bytes, nodes=limits.nodes)
    ready = await run_in_threadpool(_ready, body, who, shared)
    scratch, progress = Scratch(shared.workspace.home), Stoppable()
    try:
        made = await shared.results.run(request, lambda: _made(ready, scratch, progress))
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED)
    finally:
        progress.stopped = True
        scratch.drop()
    shared.metrics.pixels.labels("result").inc(ready.pixels)
    return _answer(made)


def _ready(body: Mapping[str, Any], who: Principal, shared: Parts) -> _Ready:
    """Validate a request, and refuse what is too large, before anything is read.

    Raises:
        RequestInvalid, GraphInvalid, TooComplex, TerrazzoError: it cannot be computed.
    """
    level = body.get("log_level", "info")
    if level not in _LEVELS:
        raise RequestInvalid(f"log_level is one of {', '.join(_LEVELS)}, or left out.")
    document, limits = body.get("process", body), shared.settings.limits
    if not isinstance(document, Mapping):
        raise RequestInvalid('The body is {"process": {"process_graph": {...}}}.')
    processes = processes_of(shared.database, who, document)
    job = Job.of(document, processes=json.dumps(processes))
    workspace = shared.workspace_of(who)
    check_graph(job.graph(), limits)
    with logs.collected() as log:
        inference = job.infer(workspace, shared.maps.reader, most_images=limits.images)
    _tell(log.all(), level)
    pixels = check_result(job, inference, limits)
    return _Ready(job, workspace, inference, pixels, level)


def _made(ready: _Ready, scratch: Scratch, progress: Stoppable) -> _Made:
    """Compute a result and open it; its folder may then be removed at any time."""
    pool = Pool("threads", min(MOST_THREADS, len(os.sched_getaffinity(0))), MEMORY)
    with scratch.used() as folder:
        block = fitting_block(ready.job, ready.inference, pool)
        try:
            done = run(
                ready.job,
                ready.workspace,
                folder,
                block=block,
                pool=pool,
                progress=progress,
                known=ready.inference,
            )
        except RunIncomplete as error:
            raise _failure(error) from error
        _tell(done.log, ready.log_level)
        return _opened(done.assets, folder)


def _tell(entries: Sequence[logs.Entry], level: str) -> None:
    """Hand what a graph logs, from a level on, to the server's own log."""
    first = _LEVELS.index(level)
    to_logging(tuple(one for one in entries if _LEVELS.index(one.level.value) >= first))


def _failure(error: RunIncomplete) -> TerrazzoError:
    """Return what a client is told: why the first block failed, not where it would be kept."""
    if error.first is not None:
        return error.first
    return ResultFailed("The result could not be computed; the server's log says more.")


def _opened(assets: Sequence[Asset], folder: Path) -> _Made:
    if len(assets) == 1:
        asset = assets[0]
        return _Made(asset.path.open("rb"), asset.path.name, asset.media_type)
    path = folder / "result.tar"
    with tarfile.open(path, "w") as tar:
        for asset in assets:
            tar.add(asset.path, str(asset.path.relative_to(folder)), filter=_anonymous)
            asset.path.unlink()  # never twice on the disk
    return _Made(path.open("rb"), path.name, TAR)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who made a file on the server, and when."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o644
    return entry


def _answer(made: _Made) -> Response:
    headers = {
        "Content-Length": str(os.fstat(made.file.fileno()).st_size),
        "Content-Disposition": f'attachment; filename="{made.name}"',
        "Cache-Control": "no-store",
    }
    return StreamingResponse(_chunks(made.file), 200, headers, made.media_type)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk
