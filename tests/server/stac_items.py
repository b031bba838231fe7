"""A small collection of items whose every property follows from their number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "scenes"
COUNT = 80
PLACE = {
    "type": "Polygon",
    "coordinates": [[[100.0, 0.0], [101.0, 0.0], [101.0, 1.0], [100.0, 1.0], [100.0, 0.0]]],
}
"""Where some of them are."""


def items(collection: str = NAME, count: int = COUNT) -> Iterator[dict[str, Any]]:
    """Yield the items."""
    for number in range(count):
        yield item(number, collection)


def item(number: int, collection: str = NAME) -> dict[str, Any]:
    """Return an item: a degree wide, one more to the east each time, one more day."""
    west, south = 99.5 + number % 20, 0.5 - number // 20
    ring = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
    time = datetime(2023, 1, 1, 10, tzinfo=UTC) + timedelta(days=9 * number)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": f"scene-{number:03}",
        "collection": collection,
        "bbox": [west, south, west + 1, south + 1],
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[west + x, south + y] for x, y in ring]],
        },
        "properties": {
            "datetime": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "eo:cloud_cover": (number * 7) % 100,
            "platform": "sentinel-2a" if number % 2 else "sentinel-2b",
            "gsd": (10, 20, 60)[number % 3],
        },
        "links": [],
        "assets": {"data": {"href": "https://example.com/data.tif", "type": "image/tiff"}},
    }
