"""Errors of requests, and how every error becomes an openEO error object."""

from __future__ import annotations

import logging
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from terrazzo.errors import OutputFailed, TerrazzoError

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from fastapi.responses import Response

log = logging.getLogger(__name__)


class LayerNotFound(TerrazzoError):
    """No stored graph has that id."""

    code, status = "LayerNotFound", 404


class RequestInvalid(TerrazzoError):
    """The request itself is not what the route takes."""

    code, status = "RequestInvalid", 400


class ContentTypeInvalid(TerrazzoError):
    """A body came as something else than JSON."""

    code, status = "ContentTypeInvalid", 415


class RequestTooLarge(TerrazzoError):
    """A body is larger than any graph needs to be."""

    code, status = "RequestTooLarge", 413


class AuthenticationRequired(TerrazzoError):
    """The route needs a log-in."""

    code, status = "AuthenticationRequired", 401


class TokenInvalid(TerrazzoError):
    """The request has a token that is wrong, has expired, or is not for this server."""

    code, status = "TokenInvalid", 403


class ServerBusy(TerrazzoError):
    """More requests wait than can be answered in time."""

    code, status = "ServerBusy", 503


def install(app: FastAPI) -> None:
    """Answer every error with `{id, code, message, links}`."""
    app.add_exception_handler(TerrazzoError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unknown)


async def _known(_: Request, error: Exception) -> Response:
    if not isinstance(error, TerrazzoError):
        return _answer(500, "Internal", "The server failed.")
    if isinstance(error, OutputFailed):
        log.error("%s", error)
        return _answer(error.status, error.code, "The server could not store this; see its log.")
    return _answer(error.status, error.code, str(error))


async def _invalid(_: Request, error: Exception) -> Response:
    told = []
    for problem in error.errors() if isinstance(error, RequestValidationError) else ():
        place = ".".join(str(part) for part in problem["loc"][1:])
        told.append(f"{place}: {problem['msg']}")
    return _answer(400, "RequestInvalid", "; ".join(told) or "The request is not valid.")


async def _http(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    phrase = HTTPStatus(status).phrase
    return _answer(status, phrase.replace(" ", ""), f"{phrase}.")


async def _unknown(_: Request, error: Exception) -> Response:
    name = uuid.uuid4().hex
    log.error("error %s: %s", name, type(error).__name__)
    return _answer(500, "Internal", "The server failed; its log says more.", name)


def _answer(status: int, code: str, message: str, name: str = "") -> Response:
    content = {"id": name or uuid.uuid4().hex, "code": code, "message": message, "links": []}
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": "1"} if status == 503 else {})  # noqa: PLR2004 - busy
    return JSONResponse(content, status, headers)
