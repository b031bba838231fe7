"""Layers of whoever asks: graphs kept by digest, opened with the rights of whoever asks."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from terrazzo.drivers.tile import MOST_SETTLED
from terrazzo.errors import PlanTooLarge, TerrazzoError
from terrazzo.graph import parse
from terrazzo.ledger.collections import workspace_for
from terrazzo.ledger.layers import (
    KeptLayer,
    LayerNotFound,
    check_size,
    keep_layer,
    kept_layer,
)
from terrazzo.ledger.processes import processes_of
from terrazzo.processes import SPECS
from terrazzo.server.limits import all_nodes, check_graph
from terrazzo.server.maps.maps import BELIEVED
from terrazzo.server.maps.opened import Recent
from terrazzo.server.web.faults import AuthenticationRequired, RequestInvalid, ServerBusy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from terrazzo.drivers.job import Workspace
    from terrazzo.drivers.screen.layer import Layer
    from terrazzo.graph import Graph
    from terrazzo.ledger import Database, Principal, Signer
    from terrazzo.progress import Progress
    from terrazzo.server.maps.opened import OpenLayers
    from terrazzo.server.settings import Limits

FOR_KNOWN: Final = frozenset({
    "run_udf", "run_grass", "run_grass_whole", "load_stac", "load_url", "load_uploaded_files"
})  # fmt: skip
"""Processes of which a layer may hold some only for those who are logged in."""
NODES_FOR_STRANGERS: Final = 200
"""Nodes of their graphs: each is computed for every pixel of every tile."""
SETTLED_FOR_STRANGERS: Final = 50_000_000
"""Pixels that stages of their layers may read."""
LONGEST_TITLE: Final = 200
MOST_SEEN: Final = 1024
MOST_STRANGERS: Final = 4
"""Long answers to those who are not logged in that may wait or run."""
MOST_OF_ADDRESS: Final = 2
"""The same of one address, so that nobody takes all of them."""


class Layers:
    """The layers that are looked at; safe to use from many threads."""

    def __init__(
        self,
        database: Database,
        workspace: Workspace,
        opened: OpenLayers,
        signer: Signer,
        limits: Limits,
    ) -> None:
        """Look at nothing yet.

        Args:
            database: the ledger.
            workspace: with everything; whoever asks sees of it what they may.
            opened: the graphs that are open, those of services among them.
            signer: of the workspace.
            limits: of graphs.
        """
        self._database, self._workspace, self._opened = database, workspace, opened
        self._signer, self._limits = signer, limits
        self._strangers: Counter[str] = Counter()
        self._seen: Recent[tuple[float, KeptLayer, Workspace]] = Recent(MOST_SEEN)

    def open(self, who: Principal, body: Mapping[str, Any], progress: Progress) -> Layer:
        """Open a graph as a layer, and keep it under its digest.

        Args:
            who: asks.
            body: `process_graph` or `process`, and `title`.
            progress: told about every block that is computed to open it, and may stop that.

        Raises:
            RequestInvalid, GraphInvalid, TooComplex, LayerTooLarge: it is no graph that can be
                shown here.
            AuthenticationRequired: it needs a log-in.
            CollectionNotFound, NoDataAvailable, ArgumentInvalid, PlanTooLarge: it cannot be shown.
            Cancelled: `progress` stopped it.
        """
        process, title = _given(body)
        processes = processes_of(self._database, who, process)
        made = KeptLayer("", who.id, process, processes, title)
        check_size(who, made)
        graph = self._graph(made, who)
        _check_log_in(graph, who)
        made = replace(made, id=graph.digest)
        layer = self._layer(who, made, self._workspace_of(who), progress)
        keep_layer(self._database, who, made)
        return layer

    def opened(self, who: Principal, name: str) -> Layer:
        """Return a layer by its id, as whoever asks may see it.

        Of a graph that somebody else opened, its title and how it was written stay theirs.

        Raises:
            LayerNotFound: it is not kept, or is not for them.
            CollectionNotFound, NoDataAvailable, PlanTooLarge: they opened it, and it cannot be
                shown any more.
        """
        key, now = (name, who), time.monotonic()
        known = self._seen.get(key)
        if known is None or now - known[0] > BELIEVED:
            known = now, kept_layer(self._database, who, name), self._workspace_of(who)
            self._seen.put(key, known)
        _, kept, workspace = known
        try:
            return self._layer(who, kept, workspace, None)
        except PlanTooLarge:
            raise
        except TerrazzoError:
            if kept.owner == who.id:
                raise
            raise LayerNotFound(name) from None

    @contextmanager
    def admitted(self, who: Principal, address: str) -> Iterator[None]:
        """Let a long answer be computed in the `with` block, a few at a time of strangers.

        Args:
            who: asks.
            address: from which they ask.

        Raises:
            ServerBusy: too many of those who are not logged in wait already, or of their address.
        """
        if who.known:
            yield
            return
        if self._strangers[address] >= MOST_OF_ADDRESS:
            raise ServerBusy(
                f"{MOST_OF_ADDRESS} such answers are being made for your address. Ask again when "
                "one has come, or log in."
            )
        if self._strangers.total() >= MOST_STRANGERS:
            raise ServerBusy("Too many people wait for such answers. Ask again in a moment.")
        self._strangers[address] += 1
        try:
            yield
        finally:
            self._strangers[address] -= 1
            if not self._strangers[address]:
                del self._strangers[address]

    def _workspace_of(self, who: Principal) -> Workspace:
        quota = self._limits.quota_bytes
        return workspace_for(self._database, self._workspace, who, self._signer, quota=quota)

    def _layer(
        self, who: Principal, kept: KeptLayer, workspace: Workspace, progress: Progress | None
    ) -> Layer:
        own = kept.owner == who.id

        def made() -> Layer:
            graph = self._graph(kept, who)
            _check_log_in(graph, who)
            return self._opened.opened(
                graph,
                workspace,
                title=kept.title if own else "",
                process=kept.process if own else {},
                most_images=self._limits.images,
                most_settled=MOST_SETTLED if who.known else SETTLED_FOR_STRANGERS,
                progress=progress,
            )

        key = (kept.id, kept.owner, kept.title, own, workspace)
        return self._opened.get(key, workspace, made)

    def limits(self, who: Principal) -> Limits:
        """Return what somebody's graphs may ask for."""
        given = self._limits
        return given if who.known else replace(given, nodes=min(given.nodes, NODES_FOR_STRANGERS))

    def _graph(self, kept: KeptLayer, who: Principal) -> Graph:
        graph = parse({"process": kept.process}, specs=SPECS, user_processes=kept.processes)
        check_graph(graph, self.limits(who))
        return graph


def _given(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return the process and the title in a request's body.

    Raises:
        RequestInvalid: there is no process.
    """
    process = body.get("process")
    if process is None and "process_graph" in body:
        process = {"process_graph": body["process_graph"]}
    title = body.get("title") or ""
    if not isinstance(process, dict):
        raise RequestInvalid('The body is {"process_graph": {...}} or {"process": {...}}.')
    if not isinstance(title, str) or len(title) > LONGEST_TITLE:
        raise RequestInvalid(f"`title` is a text of at most {LONGEST_TITLE} letters.")
    return process, title


def _check_log_in(graph: Graph, who: Principal) -> None:
    """Refuse strangers what costs more than pixels.

    Raises:
        AuthenticationRequired: the graph runs code or programs, or reads what is no collection.
    """
    used = {node.process_id for node in all_nodes(graph)} & FOR_KNOWN
    if used and not who.known:
        raise AuthenticationRequired(
            f"A layer with {min(used)} needs a log-in. Send `Authorization: Bearer "
            "METHOD/PROVIDER/TOKEN`, or show collections only."
        )
