"""What the routes of one server share."""

from dataclasses import dataclass

from fastapi import Request

from terrazzo.server.kept import KeptTiles
from terrazzo.server.store import LayerStore
from terrazzo.server.work import Work


@dataclass(frozen=True, slots=True)
class Services:
    """The parts behind the routes."""

    store: LayerStore
    """The layers."""
    work: Work
    """The threads that compute pixels."""
    kept: KeptTiles
    """The tiles that were made a moment ago."""


async def services(request: Request) -> Services:
    """Return the services of the server that a request came to.

    Asynchronous, or FastAPI would call it in a thread of its own.
    """
    found: Services = request.app.state.services
    return found
