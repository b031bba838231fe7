"""Layers: graphs that are kept as files under the home folder, and opened once to be looked at.

A layer's name is the digest of its graph; its id is the digest's beginning. Storing the same
graph again replaces its title and style.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from terrazzo.drivers.job import Job
from terrazzo.drivers.tile import TileLayer
from terrazzo.engine import infer
from terrazzo.geo.times import format_time
from terrazzo.server.faults import LayerNotFound
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from terrazzo.drivers.job import Workspace
    from terrazzo.engine import Inference, Opener
    from terrazzo.graph import Graph

FOLDER = "layers"
ID_LENGTH = 16
OPEN_LAYERS = 32

_ID = re.compile(r"[0-9a-f]{16,64}")


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """What the file of a layer says."""

    digest: str
    """Digest of the graph."""
    title: str
    """What people call it."""
    style: Mapping[str, Any]
    """How it is shown when nobody says: min, max, colors, bands; JSON values."""
    stored: str
    """When it was stored, RFC 3339."""
    document: str = field(repr=False)
    """The process graph, JSON text."""

    @property
    def id(self) -> str:
        """The layer's name in addresses."""
        return self.digest[:ID_LENGTH]


@dataclass(frozen=True, slots=True, eq=False)
class OpenLayer:
    """A layer whose items are chosen, ready to give pixels."""

    stored: StoredLayer
    inference: Inference
    tiles: TileLayer
    versions: tuple[str, ...]
    """Versions of the collections whose items were chosen."""
    sources: tuple[Mapping[str, str], ...]
    """Id, title, description and licence of these collections, which a map has to show."""


class LayerStore:
    """The layers of a workspace; safe to use from many threads and processes."""

    def __init__(self, workspace: Workspace) -> None:
        self._folder = workspace.home / FOLDER
        self._catalog = workspace.catalog(create=True)
        self._opener: Opener = workspace.opener()
        self._opened: OrderedDict[str, OpenLayer] = OrderedDict()
        self._lock = threading.Lock()

    def put(
        self, document: Mapping[str, Any], title: str = "", style: Mapping[str, Any] | None = None
    ) -> StoredLayer:
        """Keep a graph as a layer, once it is known to give a raster.

        Raises:
            GraphInvalid, ArgumentInvalid, CollectionNotFound, NoDataAvailable: it does not.
            OutputFailed: the file cannot be written.
        """
        job = Job.of(document)
        graph = job.graph()
        now = format_time(datetime.now(UTC).replace(microsecond=0))
        stored = StoredLayer(
            graph.digest, title or f"Layer {graph.digest[:8]}", style or {}, now, job.document
        )
        opened = self._open(stored, graph)
        content = json.dumps(
            {
                "title": stored.title,
                "style": dict(stored.style),
                "stored": stored.stored,
                "digest": stored.digest,
                "process": json.loads(stored.document),
            },
            indent=1,
        )
        path = self._folder / f"{stored.digest}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_failed(path, error) from error
        with whole_file(path) as part:
            part.write_text(content, encoding="utf-8")
        self._keep(opened)
        return stored

    def layers(self) -> list[StoredLayer]:
        """Return all layers, the newest first."""
        found = [_read(path) for path in self._folder.glob("[0-9a-f]*.json")]
        return sorted(found, key=lambda layer: (layer.stored, layer.digest), reverse=True)

    def get(self, name: str) -> StoredLayer:
        """Return a layer by its id, or any longer part of its digest.

        Raises:
            LayerNotFound: lists the layers that there are.
        """
        paths = sorted(self._folder.glob(f"{name}*.json")) if _ID.fullmatch(name) else []
        if len(paths) != 1:
            known = ", ".join(layer.id for layer in self.layers()[:10]) or "none"
            raise LayerNotFound(
                f"There is no layer {name[:80]!r}. Layers here: {known}. Store a graph with POST "
                "/layers."
            )
        return _read(paths[0])

    def open(self, name: str) -> OpenLayer:
        """Return a layer with the items that its collections have now.

        Raises:
            LayerNotFound: there is no such layer.
            CollectionNotFound, NoDataAvailable: its data have gone.
        """
        stored = self.get(name)
        with self._lock:
            opened = self._opened.get(stored.digest)
        if opened is None or opened.versions != self._versions(opened.inference.graph):
            opened = self._open(stored, Job.of(stored.document).graph())
        elif opened.stored != stored:
            opened = replace(opened, stored=stored)
        self._keep(opened)
        return opened

    def _open(self, stored: StoredLayer, graph: Graph) -> OpenLayer:
        # Versions first: what changes while items are chosen is then seen as a change.
        versions = self._versions(graph)
        tiles = TileLayer(infer(graph, self._opener))
        sources = tuple(_source(self._catalog.collection(name)) for name in _collections(graph))
        return OpenLayer(stored, tiles.inference, tiles, versions, sources)

    def _versions(self, graph: Graph) -> tuple[str, ...]:
        return tuple(self._catalog.version(name) for name in _collections(graph))

    def _keep(self, opened: OpenLayer) -> None:
        with self._lock:
            self._opened[opened.stored.digest] = opened
            self._opened.move_to_end(opened.stored.digest)
            while len(self._opened) > OPEN_LAYERS:
                self._opened.popitem(last=False)


def _collections(graph: Graph) -> list[str]:
    loads = (node for node in graph if node.process_id == "load_collection")
    return sorted({str(node.arguments.get("id")) for node in loads})


def _source(collection: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: str(collection.get(name, "")) for name in ("id", "title", "description", "license")
    }


def _read(path: Path) -> StoredLayer:
    content = json.loads(path.read_text(encoding="utf-8"))
    return StoredLayer(
        path.stem,
        content["title"],
        content["style"],
        content["stored"],
        json.dumps(content["process"]),
    )
