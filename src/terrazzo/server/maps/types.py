"""What kinds of web services there are, as openEO describes them (`GET /service_types`)."""

from __future__ import annotations

from typing import Any

from terrazzo.drivers.tile import MERCATOR
from terrazzo.geo.tiling import DEEPEST
from terrazzo.server.maps.configuration import MATRICES, MOST_BANDS, SCOPES, TILE, TILE_SIZES
from terrazzo.storage.writers.colors import colormap_names

TYPES = ("XYZ", "WMTS")

_CONFIGURATION: dict[str, Any] = {
    "scope": {
        "description": "Who may look: `private` only you, and whoever has the address with its "
        "key; `restricted` everybody who is logged in; `public` everybody.",
        "type": "string",
        "enum": list(SCOPES),
        "default": "private",
    },
    "tile_size": {
        "description": "Edge of a tile in pixels.",
        "type": "integer",
        "enum": list(TILE_SIZES),
        "default": TILE,
    },
    "minzoom": {
        "description": "First zoom level that is answered.",
        "type": "integer",
        "minimum": 0,
        "maximum": DEEPEST,
        "default": 0,
    },
    "maxzoom": {
        "description": "Last zoom level that is answered.",
        "type": "integer",
        "minimum": 0,
        "maximum": DEEPEST,
        "default": DEEPEST,
    },
    "extent": {
        "description": "Confines the service to `[west, south, east, north]` in degrees "
        "(EPSG:4326); what lies outside is transparent.",
        "type": "array",
        "items": {"type": "number"},
        "minItems": 4,
        "maxItems": 4,
    },
    "tilematrixset": {
        "description": "Tiles of the address: those of web maps, or `native`, the grid of the "
        "data themselves. Both are answered in any case.",
        "type": "string",
        "enum": list(MATRICES),
        "default": MERCATOR,
    },
    "min": {
        "description": "Value shown in the first colour. Without it, 2 % of the pixels in the "
        "middle lie below.",
        "type": "number",
    },
    "max": {
        "description": "Value shown in the last colour. Without it, 2 % of the pixels in the "
        "middle lie above.",
        "type": "number",
    },
    "colors": {
        "description": "Colour map of one band.",
        "type": "string",
        "enum": list(colormap_names()),
        "default": "viridis",
    },
    "bands": {
        "description": "One band, or three that are red, green and blue. Without it the first "
        "one, or all of three.",
        "type": "array",
        "items": {"type": "string"},
        "maxItems": MOST_BANDS,
    },
    "time": {
        "description": "Label of the date that is shown. Without it the last one.",
        "type": "string",
    },
}


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "description": description, "schema": schema, "optional": True}


_EDGE = "{} edge of the service's extent, in degrees."
_PROCESS_PARAMETERS: list[dict[str, Any]] = [
    _parameter(
        "bounding_box",
        "The whole extent of the service, for `spatial_extent` of what is loaded. A tile is a "
        "window of the result, so neighbouring tiles always fit.",
        {"type": "object", "subtype": "bounding-box"},
    ),
    *(
        _parameter(f"spatial_extent_{edge}", _EDGE.format(edge.title()), {"type": "number"})
        for edge in ("west", "south", "east", "north")
    ),
    _parameter(
        "spatial_extent_crs", "The CRS of that extent, 4326.",
        {"type": "integer", "subtype": "epsg-code", "minimum": 1000},
    ),
    _parameter(
        "target_crs", "The CRS of web maps, 3857.",
        {"type": "integer", "subtype": "epsg-code", "minimum": 1000},
    ),
    _parameter("tile_x", "Column of the tile.", {"type": "integer", "minimum": 0}),
    _parameter("tile_y", "Row of the tile.", {"type": "integer", "minimum": 0}),
    _parameter("tile_z", "Zoom level of the tile.", {"type": "integer", "minimum": 0}),
    _parameter("zoom", "Zoom level of the tile.", {"type": "integer", "minimum": 0}),
]  # fmt: skip

SERVICE_TYPES: dict[str, Any] = {
    "XYZ": {
        "title": "XYZ tiles",
        "description": "Pictures by zoom level, column and row, as web maps ask for them; "
        "`png`, `webp` and `jpeg`, and `npy` for the numbers.",
        "configuration": _CONFIGURATION,
        "process_parameters": _PROCESS_PARAMETERS,
        "links": [
            {
                "rel": "about",
                "href": "https://wiki.openstreetmap.org/wiki/Slippy_map_tilenames",
                "title": "Slippy map tile names",
            }
        ],
    },
    "WMTS": {
        "title": "OGC Web Map Tile Service",
        "description": "WMTS 1.0.0, by key-value pairs and RESTful; the same tiles, with "
        "the tile matrix sets of web maps and of the data themselves.",
        "configuration": _CONFIGURATION,
        "process_parameters": _PROCESS_PARAMETERS,
        "links": [
            {
                "rel": "about",
                "href": "https://www.ogc.org/standard/wmts/",
                "title": "OGC Web Map Tile Service Standard",
            }
        ],
    },
}
"""The whole answer."""
