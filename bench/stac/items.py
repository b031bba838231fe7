"""Made-up STAC items as archives have them: sixteen assets, about 7.2 kB of JSON, any number."""

from __future__ import annotations

import json
import math
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = 1
"""Of what is made: files of another version are made anew."""
COLLECTIONS = ("made-2a", "made-1c")
"""Items belong to them in turn."""
BEGUN = datetime(2019, 1, 1, tzinfo=UTC)
DAYS = 5 * 365
"""Items lie evenly between `BEGUN` and so many days later."""
WEST, EAST, SOUTH, NORTH = -170.0, 170.0, -60.0, 75.0
"""Where their middles lie, evenly."""
BANDS = (
    "coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078", "nir", "nir08",
    "nir09", "swir16", "swir22", "aot", "wvp", "scl", "visual",
)  # fmt: skip
_METRES = (60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 20, 20, 20, 20, 20, 10)
_EXTENSIONS = [
    "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
    "https://stac-extensions.github.io/view/v1.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
]
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def collections() -> list[dict[str, Any]]:
    """Return the documents of the collections, complete as STAC wants them.

    They have no `item_assets`: with them pgSTAC takes four times as long for every item it gives.
    """
    last = BEGUN + timedelta(days=DAYS)
    return [
        {
            "type": "Collection",
            "stac_version": "1.0.0",
            "stac_extensions": [],
            "id": name,
            "title": f"Made-up scenes, {name}",
            "description": "Scenes that nobody took, for benchmarks.",
            "license": "CC0-1.0",
            "extent": {
                "spatial": {"bbox": [[-180, -90, 180, 90]]},
                "temporal": {"interval": [[_text(BEGUN), _text(last)]]},
            },
            "links": [],
        }
        for name in COLLECTIONS
    ]


def made_items(
    count: int, seed: int = 1, *, days: int = DAYS, assets: int = len(BANDS)
) -> Iterator[dict[str, Any]]:
    """Make items; the same for the same arguments, and in no order of time.

    Args:
        count: how many.
        seed: of everything that is drawn.
        days: over how many days from `BEGUN` they lie.
        assets: how many each of them has.
    """
    draw = random.Random(seed)
    for number in range(count):
        when = BEGUN + timedelta(seconds=draw.randrange(days * 86_400), milliseconds=number % 1000)
        yield _made(draw, number, when, BANDS[:assets])


def write_lines(folder: Path, count: int, seed: int = 1) -> Path:
    """Write items as lines of JSON, unless they are there; returns the file."""
    path = folder / f"items-{count}-seed{seed}-v{VERSION}.ndjson"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("w", encoding="utf-8") as lines:
            for item in made_items(count, seed):
                lines.write(json.dumps(item, separators=(",", ":")) + "\n")
        part.replace(path)
    return path


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read items one by one."""
    with path.open("rb", buffering=1 << 20) as lines:  # an item fills the usual buffer
        yield from map(orjson.loads, lines)


def _made(
    draw: random.Random, number: int, when: datetime, bands: tuple[str, ...]
) -> dict[str, Any]:
    middle = draw.uniform(WEST, EAST), draw.uniform(SOUTH, NORTH)
    ring = _ring(middle, draw.uniform(0, 20), draw.uniform(0.35, 0.55))
    east, north = ([corner[axis] for corner in ring] for axis in (0, 1))
    collection = COLLECTIONS[number % len(COLLECTIONS)]
    tile = f"{draw.randrange(1, 61):02d}{draw.choice('CDEFGHJKLMNPQRSTUVWX')}"
    tile += "".join(draw.choices("ABCDEFGHJKLMNPQRSTUV", k=2))
    name = f"S2{draw.choice('AB')}_{tile}_{when:%Y%m%dT%H%M%S}_{number:07d}"
    zone = 32600 + int((middle[0] + 180) // 6) + 1 + 100 * (middle[1] < 0)
    corner = [draw.randrange(300_000, 800_000, 20), draw.randrange(1_000_000, 9_000_000, 20)]
    folder = f"https://archive.example.com/{collection}/{tile}/{when:%Y/%m}/{name}"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": _EXTENSIONS,
        "id": name,
        "collection": collection,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [min(east), min(north), max(east), max(north)],
        "properties": {
            "datetime": _text(when),
            "created": _text(when + timedelta(hours=draw.randrange(3, 40))),
            "updated": _text(when + timedelta(days=draw.randrange(2, 400))),
            "platform": f"sentinel-{name[1:3].lower()}",
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "gsd": 10,
            "eo:cloud_cover": round(draw.uniform(0, 100), 4),
            "proj:epsg": zone,
            "view:sun_azimuth": round(draw.uniform(0, 360), 6),
            "view:sun_elevation": round(draw.uniform(5, 80), 6),
            "view:off_nadir": 0,
            "s2:processing_baseline": draw.choice(("02.14", "03.01", "04.00", "05.09")),
            "s2:nodata_pixel_percentage": round(draw.uniform(0, 60), 6),
            "grid:code": f"MGRS-{tile}",
            "sat:relative_orbit": draw.randrange(1, 144),
        },
        "assets": {
            band: _asset(draw, folder, band, metres, corner)
            for band, metres in zip(bands, _METRES, strict=False)
        },
        "links": [],
    }


def _asset(
    draw: random.Random, folder: str, band: str, metres: int, corner: list[int]
) -> dict[str, Any]:
    edge = 109_800 // metres
    return {
        "href": f"{folder}/{band.upper()}_{metres}m.tif",
        "type": _COG,
        "title": f"Band {band}",
        "roles": ["data"],
        "gsd": metres,
        "proj:shape": [edge, edge],
        "proj:transform": [metres, 0, corner[0], 0, -metres, corner[1]],
        "file:checksum": f"1220{draw.getrandbits(128):032x}",
        "file:size": draw.randrange(1_000_000, 200_000_000),
    }


def _ring(middle: tuple[float, float], degrees: float, half: float) -> list[list[float]]:
    """Return a tilted square around a place."""
    turn = math.radians(degrees)
    cos, sin = half * math.cos(turn), half * math.sin(turn)
    x, y = middle
    corners = [(cos - sin, sin + cos), (-cos - sin, -sin + cos), (sin - cos, -sin - cos)]
    corners.append((cos + sin, sin - cos))
    ring = [[round(x + dx, 6), round(y + dy, 6)] for dx, dy in corners]
    return [*ring, ring[0]]


def _text(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
