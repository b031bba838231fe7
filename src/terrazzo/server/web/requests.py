"""What is told of every request: its id, one line in the log, numbers; and the last answer.

Two layers around the application. `Requests` is the outermost: it names the request, waits for
the end, logs and counts. `LastAnswer` is the innermost: what nobody else has answered, a fault
of the program or a server that stops, it answers as an openEO error.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

import structlog
from starlette.requests import ClientDisconnect

from terrazzo.server.web.faults import answered
from terrazzo.server.web.log import HIDDEN, logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from terrazzo.server.web.metrics import Metrics

HEADER = b"x-request-id"
QUIET = {"/health", "/health/ready", "/metrics"}
"""Routes that machines ask every few seconds; they are counted, not logged."""

_ID = re.compile(rb"[A-Za-z0-9._:+=-]{1,64}")
_SECRETS = {"signature", "token", "key", "secret"}
"""Parts of paths that are worth as much as a password."""
_LONG = re.compile(r"[^/]{24,}")
_MOST_PATH = 200
_ERROR, _FAULT, _GONE = 400, 500, 499

log = logger("terrazzo.requests")


class Requests:
    """Names, logs and counts requests."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and tell how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = request_id(scope)
        told = _Told()
        scope.setdefault("state", {})["request_id"] = name

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                told.status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER, name.encode())]
            else:
                told.sent += len(message.get("body", b""))
                told.complete = not message.get("more_body", False)
            await send(message)

        async def receiving() -> Message:
            message = await receive()
            told.received += len(message.get("body", b""))
            return message

        structlog.contextvars.bind_contextvars(request_id=name)
        begun = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receiving, sending)
        finally:
            self._metrics.in_flight.dec()
            self._tell(scope, told, time.perf_counter() - begun)
            structlog.contextvars.unbind_contextvars("request_id")

    def _tell(self, scope: Scope, told: _Told, seconds: float) -> None:
        route = route_of(scope)
        status = told.status or _GONE
        self._metrics.request(scope["method"], route, status, seconds, told.received, told.sent)
        if route in QUIET and status < _ERROR:
            return
        state: Mapping[str, Any] = scope["state"]
        fault, code = state.get("fault", ("", ""))
        fields = {
            "method": scope["method"],
            "route": route,
            "path": path_of(scope),
            "status": status,
            "ms": round(1e3 * seconds, 2),
            "bytes_in": told.received,
            "bytes_out": told.sent,
            "principal": state.get("principal", ""),
        }
        if fault:
            fields |= {"error": fault, "code": code}
        if not told.complete:
            fields["broken_off"] = True
        (log.error if status >= _FAULT else log.info)("request", **fields)


class _Told:
    """What is known of an answer so far."""

    __slots__ = ("complete", "received", "sent", "status")

    def __init__(self) -> None:
        self.status = 0
        self.sent = 0
        self.received = 0
        self.complete = False


class LastAnswer:
    """Answers what nobody else has answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application in a task of its own, which a stopping server leaves behind."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        open_, started = True, False

        async def sending(message: Message) -> None:
            nonlocal started
            if open_:
                started = True
                await send(message)

        task = asyncio.ensure_future(self._app(scope, receive, sending))
        task.add_done_callback(_forget)
        try:
            await asyncio.wait((task,))
            task.result()
        except asyncio.CancelledError:
            open_ = False
            task.cancel()
            if started:
                return  # the connection is closed, so that half an answer does not pass for a whole
            message = "The server stops. Ask again in a moment."
            await answered(scope, 503, "ServerStopping", message)(scope, receive, send)
        except ClientDisconnect:
            return
        except Exception as error:
            message = "The server failed; its log says more under the id of this error."
            response = answered(scope, 500, "Internal", message)
            log.exception(
                "fault", error=scope["state"]["fault"][0], kind=type(error).__name__,
                route=route_of(scope), exc_info=error,
            )  # fmt: skip
            if not started:
                await response(scope, receive, send)


def _forget(task: asyncio.Future[None]) -> None:
    """Take the result of a task that perhaps nobody waits for any more."""
    if not task.cancelled():
        task.exception()


def request_id(scope: Scope) -> str:
    """Return the id that a request brings, if it is one, or a new one."""
    given: bytes = dict(scope["headers"]).get(HEADER, b"")
    return given.decode() if _ID.fullmatch(given) else uuid.uuid4().hex


def route_of(scope: Scope) -> str:
    """Return the template of the route that a request came to; empty where there is none."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        path = "/static" if "/static/" in scope["path"] and "endpoint" in scope else ""
    return str(path)


def path_of(scope: Scope) -> str:
    """Return the path of a request without secrets, and without its query."""
    root = scope.get("app_root_path", scope.get("root_path", ""))
    path = str(scope["path"]).removeprefix(root)
    if scope.get("route") is None:
        return _LONG.sub(HIDDEN, path[:_MOST_PATH])
    for name, value in (scope.get("path_params") or {}).items():
        if name in _SECRETS and value:
            path = path.replace(str(value), HIDDEN)
    return path[:_MOST_PATH]
