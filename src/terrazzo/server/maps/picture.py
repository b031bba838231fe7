"""The answer to a request for a tile: picture or array, with what caches need to know."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi.responses import Response

from terrazzo import __version__
from terrazzo.drivers.tile import MERCATOR
from terrazzo.errors import ArgumentInvalid, FormatUnsupported
from terrazzo.geo.tiling import web_mercator
from terrazzo.ledger import Visibility
from terrazzo.server.maps.about import resolution_metres
from terrazzo.server.maps.configuration import MATRICES
from terrazzo.server.maps.look import view_of
from terrazzo.server.web.faults import TileOutOfRange
from terrazzo.storage.writers.picture import FORMATS, empty_picture

if TYPE_CHECKING:
    from terrazzo.drivers.tile import View
    from terrazzo.server.maps.kept import KeptTiles
    from terrazzo.server.maps.look import Look
    from terrazzo.server.maps.maps import Maps, OpenMap, Seen

NO_CONTENT, NOT_MODIFIED = 204, 304
SECONDS = 60
"""How long caches may show a tile without asking again."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Which tile is asked for, as in its address."""

    matrix: str
    zoom: int
    x: int
    y: int
    form: str


def check_tile(seen: Seen, tile: Tile) -> None:
    """Refuse tiles that no service has, or not this one, before anything is opened.

    Raises:
        FormatUnsupported: there is no such picture format.
        ArgumentInvalid: there is no such tile matrix set, or the tile is not in it.
        TileOutOfRange: the service does not answer that zoom level.
    """
    if tile.form not in FORMATS:
        raise FormatUnsupported(f"Tiles come as {', '.join(FORMATS)}, not {tile.form[:20]!r}.")
    if tile.matrix not in MATRICES:
        raise ArgumentInvalid(
            f"There is no tile matrix set {tile.matrix[:40]!r}. There are {', '.join(MATRICES)}."
        )
    given = seen.configuration
    first, last = given.zooms(tile.matrix)
    if not first <= tile.zoom <= last:
        raise TileOutOfRange(
            f"Zoom {str(tile.zoom)[:20]} is not answered by this service: its zoom levels are "
            f"{first} to {last}."
        )
    if tile.matrix == MERCATOR:
        web_mercator(given.tile_size).window(tile.zoom, tile.x, tile.y)


def answer(maps: Maps, kept: KeptTiles, seen: Seen, tile: Tile, look: Look, known: str) -> Response:
    """Compute a tile, unless the client has it or somebody asked for it a moment ago.

    Where there are no pixels a picture is transparent (JPEG: white), and an array is no content
    (204).

    Args:
        maps: the services that are looked at.
        kept: the tiles that were made a moment ago.
        seen: the service.
        tile: which one.
        look: how it shall be shown.
        known: the header If-None-Match.

    Raises:
        FormatUnsupported, ArgumentInvalid, TileOutOfRange: there is no such tile, or a band, date
            or colour that is asked for is not there.
        TerrazzoError: it cannot be computed; see `Maps.telling`.
    """
    check_tile(seen, tile)
    with maps.telling(seen):
        opened = maps.open(seen, (tile.zoom, tile.x, tile.y))
    view = view_of(opened, look)
    tag = etag(opened, view, tile.form)
    levels = opened.tiles.matrix(tile.matrix)
    levels.window(tile.zoom, tile.x, tile.y)
    public = seen.service.visibility == Visibility.PUBLIC
    metres = resolution_metres(opened, tile.matrix, tile.zoom, tile.y)
    headers = {
        "ETag": tag,
        "Cache-Control": f"{'public' if public else 'private'}, max-age={SECONDS}, must-revalidate",
        "X-Resolution-Metres": f"{metres:.6g}",
    }
    if not public:
        headers["Vary"] = "Authorization"
    if tag in {entry.strip().removeprefix("W/") for entry in known.split(",")}:
        return Response(status_code=NOT_MODIFIED, headers=headers)
    where = (tile.matrix, tile.zoom, tile.x, tile.y)
    with maps.telling(seen):
        content = kept.get(
            (tag, *where),
            lambda: opened.tiles.picture(*where, view=view, format_name=tile.form),
            pixels=levels.tile**2,
        )
    if content is None and tile.form == "npy":
        return Response(status_code=NO_CONTENT, headers=headers)
    shown = content or empty_picture(tile.form, levels.tile, levels.tile)
    return Response(shown, 200, headers, FORMATS[tile.form])


def etag(opened: OpenMap, view: View, form: str) -> str:
    """Return a text that changes when a tile's bytes may: graph, data, style or program."""
    given, owner = opened.configuration, opened.service.owner
    cut = (given.tile_size, given.extent)
    parts = [__version__, opened.tiles.digest, *opened.versions, repr((owner, cut, view)), form]
    return f'"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"'
