"""The answer to a request for a tile: picture or array, with what caches need to know."""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi.responses import Response

from terrazzo import __version__
from terrazzo.drivers.tile import MERCATOR
from terrazzo.errors import ArgumentInvalid, FormatUnsupported
from terrazzo.geo.tiling import web_mercator
from terrazzo.ledger import Visibility
from terrazzo.server.maps.configuration import MATRICES
from terrazzo.server.maps.look import view_of
from terrazzo.server.web.faults import TileOutOfRange
from terrazzo.storage.writers.picture import FORMATS, empty_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from contextlib import AbstractContextManager

    from terrazzo.drivers.screen.layer import Layer
    from terrazzo.drivers.tile import View
    from terrazzo.server.maps.kept import KeptTiles
    from terrazzo.server.maps.look import Look
    from terrazzo.server.maps.maps import Maps, Seen

NO_CONTENT, NOT_MODIFIED = 204, 304
RESOLUTION = "X-Resolution-Metres"
"""Header: at which pixel size a picture was computed."""
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
    check_form(tile)
    given = seen.configuration
    first, last = given.zooms(tile.matrix)
    if not first <= tile.zoom <= last:
        raise TileOutOfRange(
            f"Zoom {str(tile.zoom)[:20]} is not answered by this service: its zoom levels are "
            f"{first} to {last}."
        )
    if tile.matrix == MERCATOR:
        web_mercator(given.tile_size).window(tile.zoom, tile.x, tile.y)


def check_form(tile: Tile) -> None:
    """Refuse tiles that nothing has, before anything is opened.

    Raises:
        FormatUnsupported: there is no such picture format.
        ArgumentInvalid: there is no such tile matrix set.
    """
    if tile.form not in FORMATS:
        raise FormatUnsupported(f"Tiles come as {', '.join(FORMATS)}, not {tile.form[:20]!r}.")
    if tile.matrix not in MATRICES:
        raise ArgumentInvalid(
            f"There is no tile matrix set {tile.matrix[:40]!r}. There are {', '.join(MATRICES)}."
        )


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
    given, owner = opened.configuration, opened.service.owner
    view = view_of(opened, look)
    shown = Shown(opened.layer, view, (owner, given.tile_size, given.extent))
    public = seen.service.visibility == Visibility.PUBLIC
    return encoded(kept, shown, tile, known, public=public, around=lambda: maps.telling(seen))


@dataclass(frozen=True, slots=True)
class Shown:
    """A layer as it is looked at."""

    layer: Layer
    """What is shown."""
    view: View
    """How."""
    told: Hashable
    """What else its bytes depend on: with whose rights it is computed, how tiles are cut."""


def encoded(
    kept: KeptTiles,
    shown: Shown,
    tile: Tile,
    known: str,
    *,
    public: bool,
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Response:
    """Answer with a tile of a layer; see `answer`.

    Args:
        kept: the tiles that were made a moment ago.
        shown: the layer.
        tile: which one.
        known: the header If-None-Match.
        public: whether everybody gets the same.
        around: within what it is computed.
    """
    tiles = shown.layer.tiles
    tag = etag(shown, tile.form)
    levels = tiles.matrix(tile.matrix)
    window = levels.window(tile.zoom, tile.x, tile.y)
    metres = shown.layer.metres(levels.grid(tile.zoom), window)
    headers = {
        "ETag": tag,
        "Cache-Control": f"{'public' if public else 'private'}, max-age={SECONDS}, must-revalidate",
        RESOLUTION: f"{metres:.6g}",
    }
    if not public:
        headers["Vary"] = "Authorization"
    if tag in {entry.strip().removeprefix("W/") for entry in known.split(",")}:
        return Response(status_code=NOT_MODIFIED, headers=headers)
    where = (tile.matrix, tile.zoom, tile.x, tile.y)
    with around():
        content = kept.get(
            (tag, *where),
            lambda: tiles.picture(*where, view=shown.view, format_name=tile.form),
            pixels=levels.tile**2,
        )
    if content is None and tile.form == "npy":
        return Response(status_code=NO_CONTENT, headers=headers)
    picture = content or empty_picture(tile.form, levels.tile, levels.tile)
    return Response(picture, 200, headers, FORMATS[tile.form])


def etag(shown: Shown, form: str) -> str:
    """Return a text that changes when a tile's bytes may: graph, data, style or program."""
    layer = shown.layer
    parts = [__version__, layer.id, *layer.versions, repr((shown.told, shown.view)), form]
    return f'"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"'
