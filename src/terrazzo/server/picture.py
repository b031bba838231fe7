"""The answer to a request for a tile: picture or array, with what caches need to know."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi.responses import Response

from terrazzo import __version__
from terrazzo.errors import FormatUnsupported
from terrazzo.server.about import FORMATS, resolution_metres
from terrazzo.server.look import view_of
from terrazzo.storage.writers.picture import empty_picture

if TYPE_CHECKING:
    from terrazzo.drivers.tile import View
    from terrazzo.server.kept import KeptTiles
    from terrazzo.server.look import Look
    from terrazzo.server.store import LayerStore, OpenLayer

MEDIA = {"png": "image/png", "webp": "image/webp", "npy": "application/x-npy"}
NO_CONTENT, NOT_MODIFIED = 204, 304


@dataclass(frozen=True, slots=True)
class Tile:
    """Which tile is asked for, as in its address."""

    layer: str
    matrix: str
    zoom: int
    x: int
    y: int
    form: str


def answer(store: LayerStore, kept: KeptTiles, tile: Tile, look: Look, known: str) -> Response:
    """Compute a tile, unless the client has it or somebody asked for it a moment ago.

    Where the layer has no pixels a picture is transparent, and an array is no content (204).

    Args:
        store: the layers.
        kept: the tiles that were made a moment ago.
        tile: which one.
        look: how it shall be shown.
        known: the header If-None-Match.

    Raises:
        FormatUnsupported: there is no such picture format.
        ArgumentInvalid: the tile is not in its matrix, or a band, date or colour not there.
        LayerNotFound: there is no such layer.
    """
    if tile.form not in FORMATS:
        raise FormatUnsupported(f"Tiles come as {', '.join(FORMATS)}, not {tile.form[:20]!r}.")
    layer = store.open(tile.layer)
    view = view_of(layer, look)
    tag = etag(layer, view, tile.form)
    layer.tiles.matrix(tile.matrix).window(tile.zoom, tile.x, tile.y)
    headers = {
        "ETag": tag,
        "Cache-Control": "public, max-age=60, must-revalidate",
        "X-Resolution-Metres": (f"{resolution_metres(layer, tile.matrix, tile.zoom, tile.y):.6g}"),
    }
    if tag in {entry.strip().removeprefix("W/") for entry in known.split(",")}:
        return Response(status_code=NOT_MODIFIED, headers=headers)
    where = (tile.matrix, tile.zoom, tile.x, tile.y)
    content = kept.get(
        (tag, *where), lambda: layer.tiles.picture(*where, view=view, format_name=tile.form)
    )
    if content is None and tile.form == "npy":
        return Response(status_code=NO_CONTENT, headers=headers)
    edge = layer.tiles.matrix(tile.matrix).tile
    shown = content or empty_picture(tile.form, edge, edge)
    return Response(shown, 200, headers, MEDIA[tile.form])


def etag(layer: OpenLayer, view: View, form: str) -> str:
    """Return a text that changes when a tile's bytes may: graph, data, style or program."""
    parts = [__version__, layer.tiles.digest, *layer.versions, repr(view), form]
    return f'"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"'
