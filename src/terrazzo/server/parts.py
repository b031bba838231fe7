"""What the routes of one server share."""

from dataclasses import dataclass, replace

from fastapi import Request

from terrazzo.drivers.job import Workspace
from terrazzo.ledger import Database, Principal, Signer
from terrazzo.ledger.collections import hidden_collections
from terrazzo.server.kept import KeptTiles
from terrazzo.server.settings import ServerSettings
from terrazzo.server.store import LayerStore
from terrazzo.server.work import Work


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts behind the routes."""

    settings: ServerSettings
    """What the operator chose."""
    workspace: Workspace
    """Where all collections and files are; routes use `workspace_of` instead."""
    database: Database
    """Users, jobs, services and whatever else belongs to somebody."""
    signer: Signer
    """Signs links that work without log-in."""
    store: LayerStore
    """The layers."""
    work: Work
    """The threads that compute pixels."""
    kept: KeptTiles
    """The tiles that were made a moment ago."""

    def workspace_of(self, principal: Principal) -> Workspace:
        """Return the workspace without what a principal may not see."""
        return replace(self.workspace, hidden=hidden_collections(self.database, principal))


async def parts(request: Request) -> Parts:
    """Return the parts of the server that a request came to.

    Asynchronous, or FastAPI would call it in a thread of its own.
    """
    found: Parts = request.app.state.parts
    return found
