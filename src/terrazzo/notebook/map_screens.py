"""Where the layers of a map are computed: in this process, or on the server of a connection."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

from terrazzo.drivers import batch
from terrazzo.drivers.features.squares import DEEPEST as LAST_ZOOM
from terrazzo.drivers.features.squares import Square, plane_of
from terrazzo.drivers.features.tables import holds_geometries, tables_of
from terrazzo.drivers.features.tiles import vector_tile
from terrazzo.drivers.job import Job
from terrazzo.drivers.screen.about import about
from terrazzo.drivers.screen.answers import METHODS, answer
from terrazzo.drivers.screen.asked import Asked
from terrazzo.drivers.screen.layer import open_layer
from terrazzo.drivers.screen.pictures import MATRICES, Picture
from terrazzo.drivers.tile import MERCATOR
from terrazzo.errors import ArgumentInvalid, TerrazzoError
from terrazzo.geo.tiling import DEEPEST
from terrazzo.notebook.map_channel import Content
from terrazzo.storage.blocks import BlockCache
from terrazzo.storage.raster import RasterReader
from terrazzo.storage.vectors.mvt import MEDIA_TYPE
from terrazzo.storage.writers.picture import FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.drivers.job import Workspace
    from terrazzo.drivers.screen.layer import Layer
    from terrazzo.progress import Progress

_NOT_FOUND: Final = 404
_FAILED: Final = 400
_NO_ADDRESS: Final = ("", "NotFound")
"""Codes of an answer about an address, and not about a collection."""
_SECONDS: Final = 600
"""How long a server may take for one answer."""


class LayerGone(TerrazzoError):
    """A layer is not on the map, or not any more."""

    code, status = "LayerGone", 404


class ScreenUnsupported(TerrazzoError):
    """A back end of openEO cannot show graphs on a map."""

    code, status = "ScreenUnsupported", 501


class ServerRefused(TerrazzoError):
    """A server refused what a map asked of it, or failed; its own words."""

    code, status = "ServerRefused", 502


class Screen(Protocol):
    """Opens graphs as layers, and answers what is asked about these."""

    def open(self, graph: Mapping[str, Any], title: str) -> dict[str, Any]:
        """Return what is known of a layer, its `id` included; the same graph is one layer."""

    def ask(
        self, method: str, layer: str, params: Mapping[str, Any], progress: Progress
    ) -> dict[str, Any] | Content:
        """Answer a question about a layer; for many threads."""

    def features(self, collection: str) -> dict[str, Any] | None:
        """Return the document of a collection of geometries; None if it is none."""

    def feature_tile(
        self, collection: str, params: Mapping[str, Any], progress: Progress
    ) -> Content:
        """Return a vector tile of a collection; for many threads."""

    def save(self, graph: Mapping[str, Any], folder: Path, progress: Progress) -> list[Path]:
        """Compute a graph that ends in `save_result`, and return its files in a folder."""

    def direct(self, layer: str) -> dict[str, Any] | None:
        """Return where a browser that reaches the server may ask for tiles itself, and as whom."""

    def let_go(self, layer: str) -> None:
        """Keep a layer no longer, as nobody will ask about it."""


class LocalScreen:
    """Computes in this process, on the files of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._reader = RasterReader(BlockCache(workspace.cache_bytes))
        self._layers: dict[str, Layer] = {}
        self._lock = threading.Lock()

    def open(self, graph: Mapping[str, Any], title: str) -> dict[str, Any]:
        """See `Screen`.

        Raises:
            GraphInvalid, CollectionNotFound, NoDataAvailable, ArgumentInvalid, PlanTooLarge: it
                cannot be shown.
        """
        process = {"process_graph": dict(graph)}
        layer = open_layer(self._workspace.renewed(), process, title=title, reader=self._reader)
        with self._lock:
            self._layers[layer.id] = layer
        return about(layer)

    def ask(
        self, method: str, layer: str, params: Mapping[str, Any], progress: Progress
    ) -> dict[str, Any] | Content:
        """See `Screen`.

        Raises:
            LayerGone: it was let go.
            TerrazzoError: there is no answer.
            Cancelled: `progress` stopped it.
        """
        opened = self._layers.get(layer)
        if opened is None:
            raise LayerGone("This layer was removed from the map.")
        found = answer(opened, method, params, progress)
        if isinstance(found, Picture):
            return Content(found.content, found.media_type, {"resolution": found.resolution})
        return found

    def features(self, collection: str) -> dict[str, Any] | None:
        """See `Screen`.

        Raises:
            CollectionNotFound: lists the collections that there are.
        """
        with self._workspace.renewed().catalog() as catalog:
            document = catalog.collection(collection)
        return document if holds_geometries(document) else None

    def feature_tile(
        self, collection: str, params: Mapping[str, Any], progress: Progress
    ) -> Content:
        """See `Screen`.

        Raises:
            ArgumentInvalid: there is no such tile.
            SourceUnreadable: a table is damaged or gone.
            Cancelled: `progress` stopped it.
        """
        square, workspace = _square_of(params), self._workspace.renewed()
        if square.bbox is None:
            return Content(b"", MEDIA_TYPE)
        with workspace.catalog() as catalog:
            tables = tables_of(
                catalog, workspace.gate, collection, bbox=square.bbox, check=progress.check
            )
            made = vector_tile(collection, tables, workspace.gate, square, check=progress.check)
        return Content(made or b"", MEDIA_TYPE)

    def save(self, graph: Mapping[str, Any], folder: Path, progress: Progress) -> list[Path]:
        """See `Screen`.

        Raises:
            TerrazzoError: it cannot be computed or written.
            Cancelled: `progress` stopped it.
        """
        job = Job.of({"process_graph": dict(graph)})
        made = batch.run(job, self._workspace.renewed(), folder, progress=progress)
        return [asset.path for asset in made.assets]

    def direct(self, layer: str) -> None:
        """See `Screen`; a kernel has no address."""

    def let_go(self, layer: str) -> None:
        """See `Screen`."""
        with self._lock:
            self._layers.pop(layer, None)


class ServerScreen:
    """Asks a server of Terrazzo, with the rights of a connection of the openEO client."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def open(self, graph: Mapping[str, Any], title: str) -> dict[str, Any]:
        """See `Screen`.

        Raises:
            ScreenUnsupported: the back end is none of Terrazzo's.
            ServerRefused: the graph cannot be shown.
        """
        body = {"process": {"process_graph": dict(graph)}, "title": title}
        told: dict[str, Any] = self._sent("post", "/layers", json=body).json()
        return told

    def ask(
        self, method: str, layer: str, params: Mapping[str, Any], progress: Progress
    ) -> dict[str, Any] | Content:
        """See `Screen`.

        Raises:
            ArgumentInvalid: there is no such question, or no such tile.
            ServerRefused: there is no answer.
        """
        del progress  # a server ends what nobody waits for by itself
        if method not in METHODS:
            raise ArgumentInvalid(f"Screens cannot ask {method!r:.40}.")
        address = f"/layers/{quote(layer, safe='')}"
        if method == "about":
            answered = self._sent("get", address)
        elif method == "tile":
            path, look = _tile_of(params)
            answered = self._sent("get", f"{address}/tiles/{path}", params=look)
        else:
            answered = self._sent("post", f"{address}/{method}", json=dict(params))
        media_type = answered.headers.get("Content-Type", "").partition(";")[0]
        if media_type == "application/json":
            told: dict[str, Any] = answered.json()
            return told
        resolution = answered.headers.get("X-Resolution-Metres")
        return Content(
            answered.content, media_type, {"resolution": float(resolution) if resolution else None}
        )

    def features(self, collection: str) -> dict[str, Any] | None:
        """See `Screen`.

        Raises:
            ServerRefused: it is not there, or not for whoever asks.
        """
        document: dict[str, Any] = self._sent(
            "get", f"/collections/{quote(collection, safe='')}"
        ).json()
        return document if holds_geometries(document) else None

    def feature_tile(
        self, collection: str, params: Mapping[str, Any], progress: Progress
    ) -> Content:
        """See `Screen`.

        Raises:
            ArgumentInvalid: there is no such tile.
            ServerRefused: there is no answer.
        """
        del progress  # as above
        square, name = _square_of(params), quote(collection, safe="")
        matrix = quote(square.plane.name)
        place = f"tiles/{matrix}/{square.zoom}/{square.row}/{square.column}"
        found = self._sent("get", f"/features/collections/{name}/{place}")
        return Content(found.content, MEDIA_TYPE)

    def save(self, graph: Mapping[str, Any], folder: Path, progress: Progress) -> list[Path]:
        """See `Screen`; a job of the server."""
        progress.start(1, "jobs")
        job = self._connection.create_job(dict(graph), title="Map")
        job.start_and_wait(print=progress.note, max_poll_interval=5)
        found = job.get_results().download_files(folder, include_stac_metadata=False)
        progress.advance()
        return [Path(one) for one in found]

    def direct(self, layer: str) -> dict[str, Any] | None:
        """See `Screen`; the answer holds the token of the connection, and is not for strangers."""
        connection = self._connection
        token = getattr(connection.auth, "bearer", None)
        return {"url": str(connection.root_url), "layer": layer, "token": token}

    def let_go(self, layer: str) -> None:
        """See `Screen`; the server bounds by itself what it keeps."""

    def _sent(self, method: str, path: str, **options: Any) -> Any:
        """Return what the server answers.

        Raises:
            ScreenUnsupported: there is no such address.
            ServerRefused: it says no.
        """
        connection = self._connection
        try:
            answered = connection.request(
                method, path, check_error=False, timeout=_SECONDS, **options
            )
        except OSError as error:
            raise ServerRefused(f"{connection.root_url} cannot be reached: {error}") from None
        if answered.status_code < _FAILED:
            return answered
        try:
            told = answered.json()
            code, message = str(told["code"]), str(told["message"])
        except (ValueError, KeyError, TypeError):
            code, message = "", ""
        if answered.status_code == _NOT_FOUND and path == "/layers" and code in _NO_ADDRESS:
            raise ScreenUnsupported(
                f"{connection.root_url} does not show graphs on a map: it is no server of "
                "Terrazzo, or an older one. Make a service of the graph, "
                "connection.create_service(cube, type='XYZ'), and add its address."
            )
        raise ServerRefused(message or f"The server answered {answered.status_code}.")


def _square_of(given: Mapping[str, Any]) -> Square:
    """Return which vector tile is asked for.

    Raises:
        ArgumentInvalid: there is no such one.
    """
    asked = Asked.of(given, ("matrix", "z", "x", "y"))
    plane = plane_of(asked.text("matrix"))
    zoom = asked.whole("z", 0, LAST_ZOOM)
    column, row = (asked.whole(name, 0, 2**zoom - 1) for name in ("x", "y"))
    return Square(zoom, column, row, plane)


def _tile_of(given: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return where a server has a tile, below its layer, and the query that says how it looks.

    What is asked comes from a browser, and goes into an address that the connection has rights to.

    Raises:
        ArgumentInvalid: a parameter is not as it must be.
    """
    asked = Asked.of(given, ("matrix", "z", "x", "y", "look", "format"))
    matrix = asked.chosen("matrix", MATRICES, MERCATOR)
    zoom = asked.whole("z", 0, DEEPEST)
    x, y = (asked.whole(name, 0, 1 << DEEPEST) for name in ("x", "y"))
    form = asked.chosen("format", tuple(FORMATS), "png")
    look = {"look": json.dumps(dict(asked.mapping("look")))}
    return f"{matrix}/{zoom}/{x}/{y}.{form}", look
