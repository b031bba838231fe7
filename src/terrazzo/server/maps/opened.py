"""Graphs that are being looked at, services and layers alike: opened once, and again when changed.

What there is in the catalogue is asked whenever a tile is.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from terrazzo.drivers.screen.layer import Layer, collections_of
from terrazzo.drivers.tile import MOST_SETTLED, TileLayer, to_logging
from terrazzo.engine import infer
from terrazzo.server.maps.patient import Patient
from terrazzo.storage.blocks import BlockCache
from terrazzo.storage.raster import RasterReader

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from terrazzo.catalog import Catalog
    from terrazzo.drivers.job import Workspace
    from terrazzo.engine import Opener
    from terrazzo.geo.extent import SpatialExtent
    from terrazzo.graph import Graph
    from terrazzo.logs import Entry
    from terrazzo.progress import Progress

T = TypeVar("T")

MOST_OPEN, MOST_RIGHTS = 128, 32
LOCKS = 61


class OpenLayers:
    """Graphs with the items that their collections have now; for many threads."""

    def __init__(self, cache_bytes: int) -> None:
        """Open nothing yet.

        Args:
            cache_bytes: bound of the cache of decoded tiles.
        """
        self.reader = RasterReader(BlockCache(cache_bytes))
        """Reads files for maps and results; what it has decoded is shared by all."""
        self._open: Recent[Layer] = Recent(MOST_OPEN)
        self._rights: Recent[tuple[Catalog, Opener]] = Recent(MOST_RIGHTS)
        self._locks = [threading.Lock() for _ in range(LOCKS)]

    def get(self, key: Hashable, workspace: Workspace, make: Callable[[], Layer]) -> Layer:
        """Return a layer, made now unless it is there and its collections are unchanged.

        Args:
            key: says all that the layer depends on, besides the catalogue.
            workspace: as whoever asks sees it.
            make: makes it.
        """
        known = self._current(key, workspace)
        if known is None:
            # One thread opens it, which may compute stages, and the others wait for it.
            with self._locks[hash(key) % LOCKS]:
                known = self._current(key, workspace)
                if known is None:
                    known = make()
                    self._open.put(key, known)
        return known

    def opened(
        self,
        graph: Graph,
        workspace: Workspace,
        *,
        title: str = "",
        process: Mapping[str, Any],
        tile: int = 256,
        within: SpatialExtent | None = None,
        tell: Callable[[tuple[Entry, ...]], None] = to_logging,
        most_images: int = 0,
        most_settled: int = MOST_SETTLED,
        progress: Progress | None = None,
    ) -> Layer:
        """Open a graph.

        Args:
            graph: the graph.
            workspace: as whoever asks sees it.
            title: what people call it.
            process: that it was given as.
            tile: edge of a tile, pixels.
            within: compute only pixels in this extent.
            tell: called with what the graph logs.
            most_images: that may be looked at to open one collection; 0 is any number.
            most_settled: pixels that its stages may read.
            progress: told about every block of these, and may stop them; None lets them go on for
                others who want the same, whoever goes, but not for ever.

        Raises:
            CollectionNotFound, NoDataAvailable, ArgumentInvalid, PlanTooLarge: it cannot be shown.
            Cancelled: `progress` stopped a stage.
            AnswerTooLong: its stages took longer than somebody waits.
        """
        # Versions first: what changes while items are chosen is then seen as a change.
        catalog, opener = self._opener(workspace, most_images)
        names = collections_of(graph)
        versions = tuple(catalog.version(name) for name in names)
        tiles = TileLayer(
            infer(graph, opener), tile=tile, most_settled=most_settled, within=within, tell=tell,
            progress=progress or Patient.of_all(),
        )  # fmt: skip
        documents = tuple(catalog.collection(name) for name in names)
        return Layer(tiles, title, versions, documents, process)

    def _current(self, key: Hashable, workspace: Workspace) -> Layer | None:
        known = self._open.get(key)
        if known is None:
            return None
        catalog, _ = self._opener(workspace, 0)
        names: Sequence[str] = collections_of(known.inference.graph)
        return known if known.versions == tuple(catalog.version(name) for name in names) else None

    def _opener(self, workspace: Workspace, most_images: int) -> tuple[Catalog, Opener]:
        """Return what opens the collections of a workspace; decoded blocks are shared by all."""
        key = (workspace, most_images)
        known = self._rights.get(key)
        if known is None:
            opener = workspace.opener(reader=self.reader, most_images=most_images)
            known = workspace.catalog(create=True), opener
            self._rights.put(key, known)
        return known


class Recent(Generic[T]):
    """The things that were wanted last, at most `most`; for many threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        """Return what is kept under a key."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, thing: T) -> None:
        """Keep a thing, in place of that which nobody wanted longest."""
        with self._lock:
            self._kept[key] = thing
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
