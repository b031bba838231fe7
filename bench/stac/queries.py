"""What is asked of the servers: the same random searches of all of them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bench.stac.items import BEGUN, COLLECTIONS, DAYS, EAST, NORTH, SOUTH, WEST, made_items

BOX, POLYGON, CLOUD, NEWEST, ITEM, PAGE = KINDS = (
    "box, 3 months, cloud < 20",
    "CQL2: polygon, cloud between, dates",
    "10 x 10 degrees, a year, least cloud first",
    "newest 10",
    "item by id",
    "page of 500",
)
_DEGREES = 10.0
_FEW = 1000
"""Items of which some are asked for by id."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, without the server."""

    path: str
    """With the query, if any."""
    body: str = ""
    """JSON of a POST; empty is a GET."""


def asked(count: int, items: int, seed: int) -> dict[str, list[Asked]]:
    """Return requests by kind.

    Args:
        count: of each kind.
        items: how many were made, with the seed of `made_items`.
        seed: of what is drawn here, and of the items.
    """
    draw = random.Random(seed + 1_000_000)
    named = [*made_items(min(items, _FEW), seed)]
    return {
        BOX: [_box(draw) for _ in range(count)],
        POLYGON: [_polygon(draw) for _ in range(count)],
        CLOUD: [_cloud(draw) for _ in range(count)],
        NEWEST: [_posted(limit=10) for _ in range(count)],
        ITEM: [_one(draw.choice(named)) for _ in range(count)],
        PAGE: [_page(number) for number in range(count)],
    }


def _posted(**members: Any) -> Asked:
    return Asked("/search", json.dumps(members))


def _one(item: dict[str, Any]) -> Asked:
    return Asked(f"/collections/{item['collection']}/items/{item['id']}")


def _page(number: int) -> Asked:
    return _posted(limit=500, collections=[COLLECTIONS[number % len(COLLECTIONS)]])


def _box(draw: random.Random) -> Asked:
    return _posted(
        collections=[*COLLECTIONS],
        bbox=_corner(draw),
        datetime=_dates(draw, 90),
        query={"eo:cloud_cover": {"lt": 20}},
        limit=10,
    )


def _cloud(draw: random.Random) -> Asked:
    return _posted(
        bbox=_corner(draw),
        datetime=_dates(draw, 365),
        sortby=[{"field": "properties.eo:cloud_cover", "direction": "asc"}],
        limit=10,
    )


def _polygon(draw: random.Random) -> Asked:
    west, south, east, north = _corner(draw)
    ring = [[west, south], [east, south + 2], [east - 2, north], [west + 1, north - 3]]
    low = draw.randrange(0, 60)
    first, last = _dates(draw, 365).split("/")
    name = {"property": "datetime"}
    condition = {
        "op": "and",
        "args": [
            {
                "op": "s_intersects",
                "args": [
                    {"property": "geometry"},
                    {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                ],
            },
            {"op": "between", "args": [{"property": "eo:cloud_cover"}, low, low + 30]},
            {"op": ">=", "args": [name, {"timestamp": first}]},
            {"op": "<", "args": [name, {"timestamp": last}]},
        ],
    }
    return _posted(**{"filter-lang": "cql2-json", "filter": condition, "limit": 100})


def _corner(draw: random.Random) -> list[float]:
    west = round(draw.uniform(WEST, EAST - _DEGREES), 3)
    south = round(draw.uniform(SOUTH, NORTH - _DEGREES), 3)
    return [west, south, round(west + _DEGREES, 3), round(south + _DEGREES, 3)]


def _dates(draw: random.Random, days: int) -> str:
    first = BEGUN + timedelta(days=draw.randrange(DAYS - days))
    return f"{first:%Y-%m-%dT%H:%M:%SZ}/{first + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
