"""Services that are being looked at: opened once, with the rights of their owner.

Who may look is asked of the ledger, and what is there of the catalogue, whenever a tile is asked
for; only the ledger's answer is believed for a second, so that a tile does not wait for it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from terrazzo.errors import PlanTooLarge, TerrazzoError
from terrazzo.graph import parse
from terrazzo.ledger.collections import workspace_for
from terrazzo.ledger.services import ServiceNotFound, any_service, service_of
from terrazzo.ledger.users import AccountClosed, principal_of
from terrazzo.processes import SPECS
from terrazzo.server.limits import check_graph
from terrazzo.server.maps.configuration import Configuration
from terrazzo.server.maps.entries import ServiceLog
from terrazzo.server.maps.opened import OpenLayers, Recent
from terrazzo.server.maps.patient import AnswerTooLong
from terrazzo.server.settings import Limits
from terrazzo.server.web.faults import ServiceDisabled, ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.drivers.job import Workspace
    from terrazzo.drivers.screen.layer import Layer
    from terrazzo.drivers.tile import TileLayer
    from terrazzo.engine import Inference
    from terrazzo.graph import Graph
    from terrazzo.ledger import Database, Principal
    from terrazzo.ledger.services import Service
    from terrazzo.storage.raster import RasterReader

BELIEVED = 1.0
"""Seconds after which it is asked again who may look."""
MOST_SEEN = 512
DEFAULT_LIMITS = Limits()
_WORLD = (-180.0, -90.0, 180.0, 90.0)
_EDGES = ("west", "south", "east", "north")
_DEGREES, _WEB_MERCATOR = 4326, 3857

Place = tuple[int, int, int]
"""Zoom, column and row of a tile."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A service that somebody may look at, and what its owner may use."""

    service: Service
    configuration: Configuration
    """That of the service, checked."""
    workspace: Workspace
    """As its owner sees it."""
    names: frozenset[str]
    """Parameters that the process mentions."""
    own: bool = True
    """Whether whoever looks is its owner, or sees everything."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenMap:
    """A service whose items are chosen, ready to give pixels."""

    service: Service
    configuration: Configuration
    layer: Layer
    """Its graph, as screens ask it."""

    @property
    def tiles(self) -> TileLayer:
        """What gives its pixels."""
        return self.layer.tiles

    @property
    def inference(self) -> Inference:
        """Its graph with its metadata."""
        return self.layer.inference

    @property
    def versions(self) -> tuple[str, ...]:
        """Versions of the collections whose items were chosen."""
        return self.layer.versions

    @property
    def sources(self) -> tuple[Mapping[str, str], ...]:
        """Id, title, description and licence of these collections, which a map has to show."""
        return self.layer.sources

    @property
    def low(self) -> float | None:
        """Value in the first colour: the configured one, or that found in the pixels."""
        found: float | None = self.service.options.get("min")
        return found if self.configuration.low is None else self.configuration.low

    @property
    def high(self) -> float | None:
        """Value in the last colour."""
        found: float | None = self.service.options.get("max")
        return found if self.configuration.high is None else self.configuration.high


class Maps:
    """The services that are looked at; safe to use from many threads and processes."""

    def __init__(
        self, database: Database, workspace: Workspace, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        """Open nothing yet.

        Args:
            database: the ledger.
            workspace: with everything; each service sees of it what its owner may.
            limits: of graphs.
        """
        self._database, self._workspace, self._limits = database, workspace, limits
        self.log = ServiceLog(database)
        self.layers = OpenLayers(workspace.cache_bytes)
        """The graphs that are open, those of services among them."""
        self._seen: Recent[tuple[float, Seen]] = Recent(MOST_SEEN)

    @property
    def reader(self) -> RasterReader:
        """What reads files for maps and results."""
        return self.layers.reader

    def seen(self, principal: Principal | None, name: str) -> Seen:
        """Return a service to look at; what was found a second ago is believed.

        Args:
            principal: who looks; None has a key, and sees what its owner sees.
            name: the service's id.

        Raises:
            ServiceNotFound: there is none that they may see.
            ServiceDisabled: its owner has turned it off.
        """
        key, now = (name, principal), time.monotonic()
        known = self._seen.get(key)
        if known is not None and now - known[0] < BELIEVED:
            return known[1]
        found = self._looked_up(principal, name)
        self._seen.put(key, (now, found))
        return found

    def _looked_up(self, principal: Principal | None, name: str) -> Seen:
        if principal is None:
            service = any_service(self._database, name)
        else:
            service = service_of(self._database, principal, name)
        try:
            owner = principal_of(self._database, service.owner)
        except AccountClosed:
            raise ServiceNotFound(name) from None
        if not service.enabled:
            raise ServiceDisabled(
                "This service is turned off. Its owner can turn it on with PATCH "
                '/services/{id} and {"enabled": true}.'
            )
        own = principal is not None and (principal.admin or principal.id == owner.id)
        return replace(self.as_owner(service, owner), own=own)

    def as_owner(self, service: Service, owner: Principal) -> Seen:
        """Return a service as its owner sees it, kept already or not."""
        quota = self._limits.quota_bytes
        workspace = workspace_for(self._database, self._workspace, owner, quota=quota)
        configuration = Configuration.of(service.configuration)
        return Seen(service, configuration, workspace, _parameters(service.process))

    def open(self, seen: Seen, place: Place = (0, 0, 0)) -> OpenMap:
        """Return a service with the items that its collections have now.

        Args:
            seen: the service.
            place: the tile that is wanted, for graphs that depend on it.

        Raises:
            GraphInvalid, TooComplex, ArgumentInvalid, CollectionNotFound, NoDataAvailable: it
                cannot be shown, or not any more.
        """
        values = tuple(sorted(_of_tile(seen, place).items()))
        key = (seen.service.id, seen.service.updated, seen.workspace, values)
        layer = self.layers.get(key, seen.workspace, lambda: self._opened(seen, place))
        return OpenMap(seen.service, seen.configuration, layer)

    def opened(self, principal: Principal | None, name: str) -> OpenMap:
        """Return a service to look at, open; arguments and errors as for `seen` and `open`.

        Raises:
            ServiceUnusable: see `telling`.
        """
        seen = self.seen(principal, name)
        with self.telling(seen):
            return self.open(seen)

    @contextmanager
    def telling(self, seen: Seen) -> Iterator[None]:
        """Say in its log why a service fails in the `with` block; only its owner is told it, too.

        Errors name collections and nodes that are not for everybody who may look.

        Raises:
            ServiceUnusable: in place of the error, for others than the owner.
        """
        try:
            with self.log.noting(seen.service):
                yield
        except (PlanTooLarge, AnswerTooLong):
            raise
        except TerrazzoError:
            if seen.own:
                raise
            raise ServiceUnusable(
                "This service cannot be shown at the moment. Its owner finds the reason in its "
                "log, GET /services/{id}/logs."
            ) from None

    def _graph(self, seen: Seen, place: Place) -> Graph:
        graph = parse(
            {"process": seen.service.process},
            specs=SPECS,
            user_processes=seen.service.processes,
            parameters=_of_service(seen) | _of_tile(seen, place),
        )
        check_graph(graph, self._limits)
        return graph

    def _opened(self, seen: Seen, place: Place) -> Layer:
        service, given = seen.service, seen.configuration
        return self.layers.opened(
            self._graph(seen, place),
            seen.workspace,
            title=service.title or "",
            process=service.process,
            tile=given.tile_size,
            within=given.within,
            tell=lambda entries: self.log.add(service, entries),
        )


def _of_service(seen: Seen) -> dict[str, Any]:
    """Return the parameters that are the same for all tiles, as far as the process has them.

    The extent is that of the service, not of the tile: what a graph loads is a window of it
    anyway, and neighbourhoods and statistics would otherwise end at the edges of tiles.
    """
    edges = dict(zip(_EDGES, seen.configuration.extent or _WORLD, strict=True))
    values: dict[str, Any] = {
        "bounding_box": edges | {"crs": _DEGREES},
        **{f"spatial_extent_{edge}": value for edge, value in edges.items()},
        "spatial_extent_crs": _DEGREES,
        "target_crs": _WEB_MERCATOR,
    }
    return {name: value for name, value in values.items() if name in seen.names}


def _of_tile(seen: Seen, place: Place) -> dict[str, int]:
    zoom, x, y = place
    values = {"tile_x": x, "tile_y": y, "tile_z": zoom, "zoom": zoom}
    return {name: value for name, value in values.items() if name in seen.names}


def _parameters(process: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of all parameters that a process declares or refers to."""
    declared = process.get("parameters") or ()
    names = {str(one.get("name")) for one in declared if isinstance(one, Mapping)}
    waiting: list[object] = [process.get("process_graph")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            if isinstance(value.get("from_parameter"), str):
                names.add(value["from_parameter"])
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return frozenset(names)
