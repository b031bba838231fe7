"""What the routes of one server share."""

from dataclasses import dataclass

from fastapi import Request

from terrazzo.drivers.job import Workspace
from terrazzo.ledger import Database, Principal, Signer
from terrazzo.ledger.collections import restricted_collections, workspace_for
from terrazzo.ledger.looks import JobWatcher
from terrazzo.server.login.oidc import Providers
from terrazzo.server.maps.kept import KeptTiles
from terrazzo.server.maps.layers import Layers
from terrazzo.server.maps.maps import Maps
from terrazzo.server.settings import ServerSettings
from terrazzo.server.web.metrics import Metrics
from terrazzo.server.web.work import Work


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
    maps: Maps
    """The services that are looked at."""
    layers: Layers
    """The graphs that screens show."""
    work: Work
    """The threads that compute pixels."""
    kept: KeptTiles
    """The tiles that were made a moment ago."""
    metrics: Metrics
    """What is counted for those who run the server."""
    oidc: Providers
    """Who checks the tokens of OpenID Connect."""
    results: Work
    """The threads that compute synchronous results: fewer, so that maps do not wait for them."""
    strangers: Work
    """The threads that compute graphs of strangers, so that only strangers wait for them."""

    looks: JobWatcher
    """Who looks at what jobs have made so far."""

    def workspace_of(self, principal: Principal) -> Workspace:
        """Return the workspace without what a principal may not see."""
        quota = self.settings.limits.quota_bytes
        return workspace_for(self.database, self.workspace, principal, self.signer, quota=quota)

    def restricted(self) -> frozenset[str]:
        """Return the collections whose assets are had by signed addresses, or by logging in."""
        return restricted_collections(self.database)

    def close(self) -> None:
        """Drop what waits, and close what is open."""
        # What still runs now has had its time, and nobody waits for it any more.
        self.work.close(wait=False)
        self.results.close(wait=False)
        self.strangers.close(wait=False)
        self.database.close()


async def parts(request: Request) -> Parts:
    """Return the parts of the server that a request came to.

    Asynchronous, or FastAPI would call it in a thread of its own.
    """
    found: Parts = request.app.state.parts
    return found
