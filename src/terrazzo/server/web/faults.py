"""Errors of requests, and how every error becomes an openEO error object."""

from __future__ import annotations

import logging
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from terrazzo.errors import (
    CatalogUnusable,
    DatabaseUnusable,
    GraphInvalid,
    OutputFailed,
    TerrazzoError,
)
from terrazzo.ledger.tokens import TooManyFailures
from terrazzo.sandbox.pool import WorkersBusy
from terrazzo.server.web.accept import prefers_page
from terrazzo.server.web.error_pages import HEADERS, error_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request
    from fastapi.responses import Response
    from starlette.types import Scope

log = logging.getLogger(__name__)

BUSY = 503
FILES_BUSY_S = 10
"""Seconds after which a file may be asked for again that had to wait for others for too long."""


class ServiceUnsupported(TerrazzoError):
    """There is no such type of web service."""

    code, status = "ServiceUnsupported", 400


class ServiceConfigUnsupported(TerrazzoError):
    """Web services have no such setting."""

    code, status = "ServiceConfigUnsupported", 400


class ServiceConfigInvalid(TerrazzoError):
    """A setting of a web service has a value that it cannot have."""

    code, status = "ServiceConfigInvalid", 400


class ServiceDisabled(TerrazzoError):
    """The owner of a web service has turned it off."""

    code, status = "ServiceDisabled", 403


class ServiceUnusable(TerrazzoError):
    """A web service fails, and whoever looks is not told why."""

    code, status = "ServiceUnusable", 404


class TileOutOfRange(TerrazzoError):
    """A web service has no tile there."""

    code, status = "TileOutOfRange", 404


class NotFound(TerrazzoError):
    """There is nothing under this address, for this client."""

    code, status = "NotFound", 404


class AssetNotFound(TerrazzoError):
    """An item has no such asset, or its file is not here."""

    code, status = "AssetNotFound", 404


class RequestInvalid(TerrazzoError):
    """The request itself is not what the route takes."""

    code, status = "RequestInvalid", 400


class ContentTypeInvalid(TerrazzoError):
    """A body came as something else than JSON."""

    code, status = "ContentTypeInvalid", 400


class RequestTooLarge(TerrazzoError):
    """A body is larger than any graph needs to be."""

    code, status = "RequestTooLarge", 413


class SearchTooLong(TerrazzoError):
    """A search looks at more items than the server has time for."""

    code, status = "SearchTooLong", 400


class TooComplex(TerrazzoError):
    """A graph asks for more than a request may; says how much, and how much would be right."""

    code, status = "ProcessGraphComplexity", 400


class AuthenticationRequired(TerrazzoError):
    """The route needs a log-in."""

    code, status = "AuthenticationRequired", 401


class AuthenticationSchemeInvalid(TerrazzoError):
    """The request says who it is from in a way that this server does not take."""

    code, status = "AuthenticationSchemeInvalid", 403


class TokenInvalid(TerrazzoError):
    """The request has a token that is wrong, has expired, or is not for this server."""

    code, status = "TokenInvalid", 403


class ServerBusy(TerrazzoError):
    """More requests wait than can be answered in time."""

    code, status = "ServerBusy", 503


def check_nodes(count: int, most: int) -> None:
    """Refuse a process graph with too many nodes.

    Raises:
        TooComplex: `count` is more than `most`.
    """
    if count > most:
        raise TooComplex(
            f"The process graph has {count:,} nodes, and may have {most:,}. Split it, or apply one "
            "callback to a dimension instead of a node to each band or date."
        )


def install(app: FastAPI) -> None:
    """Answer every error with `{id, code, message, links}`."""
    app.add_exception_handler(TerrazzoError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind in (OperationalError, NoConnection):
        app.add_exception_handler(kind, _database)


async def _known(request: Request, error: Exception) -> Response:
    known = error if isinstance(error, TerrazzoError) else None
    status, code = (known.status, _code(known)) if known else (500, "Internal")
    return answered(request.scope, status, code, told(error), _headers(error))


async def _database(request: Request, error: Exception) -> Response:
    """Say that the ledger is away, or busy for too long; it is not the request's fault."""
    known = DatabaseUnusable(str(error))
    return answered(request.scope, BUSY, known.code, told(known))


def _code(error: TerrazzoError) -> str:
    """Return the code of an error; of a graph with mistakes of one kind only, that of the kind."""
    problems = error.problems if isinstance(error, GraphInvalid) else ()
    codes = {problem.code for problem in problems}
    return codes.pop() if len(codes) == 1 else error.code


def _headers(error: Exception) -> dict[str, str]:
    """Return what tells a client how to go on."""
    if isinstance(error, AuthenticationRequired):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, TooManyFailures):
        return {"Retry-After": str(error.seconds)}
    if isinstance(error, WorkersBusy):
        return {"Retry-After": str(FILES_BUSY_S)}
    return {}


def told(error: Exception) -> str:
    """Return what a client may know: of faults of the server only what is not about its inside."""
    if isinstance(error, OutputFailed | CatalogUnusable | DatabaseUnusable):
        log.error("%s", error)
        return "The server cannot use its storage at the moment; see its log."
    return str(error) if isinstance(error, TerrazzoError) else "The server failed; see its log."


async def _invalid(request: Request, error: Exception) -> Response:
    problems = []
    for problem in error.errors() if isinstance(error, RequestValidationError) else ():
        place = ".".join(str(part) for part in problem["loc"][1:])
        unknown = problem["type"] == "extra_forbidden"
        problems.append(f"There is no {place!r} here" if unknown else f"{place}: {problem['msg']}")
    message = "; ".join(problems) or "The request is not valid."
    return answered(request.scope, 400, "RequestInvalid", message)


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    phrase = HTTPStatus(status).phrase
    headers = getattr(error, "headers", None) or {}
    return answered(request.scope, status, phrase.replace(" ", ""), f"{phrase}.", headers)


def answered(
    scope: Scope, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an openEO error object, whose id and code the request's log line has, too.

    Somebody who opens the address in a browser gets it as a page.

    Args:
        scope: of the request.
        status: of HTTP.
        code: of openEO.
        message: for people.
        headers: further ones.
    """
    name = uuid.uuid4().hex
    scope.setdefault("state", {})["fault"] = (name, code)
    content = {"id": name, "code": code, "message": message, "links": []}
    added = {"Cache-Control": "no-store"} | ({"Retry-After": "1"} if status == BUSY else {})
    added |= headers or {}
    if scope["method"] == "GET" and prefers_page(Headers(scope=scope).get("accept", "")):
        page = error_page(scope, status, code, message, name)
        return HTMLResponse(page, status, {**HEADERS, **added})
    return JSONResponse(content, status, added)
