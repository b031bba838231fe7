"""Random items, and random CQL2 filters that ask for what they may have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

COLLECTION = "drawn"
QUERYABLES = {
    "eo:cloud_cover": ("to_float", "number"),
    "gsd": ("to_float", "number"),
    "platform": ("to_text", "string"),
}
"""Properties: pgSTAC's function for their type, and the type."""
PLATFORMS = ("sentinel-2a", "sentinel-2b", "Landsat-8", "landsat-9", "x_y", "100%")
DAYS = 60


def time_of(day: int) -> str:
    return (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%Y-%m-%dT%H:%M:%SZ")


def drawn_items(draw: Random, count: int) -> list[dict[str, Any]]:
    """Draw items: some with periods, some that lack a property."""
    return [_item(draw, number) for number in range(count)]


def _item(draw: Random, number: int) -> dict[str, Any]:
    west, south = draw.uniform(-20, 20), draw.uniform(-20, 20)
    east, north = west + 2, south + 1
    day = draw.randrange(DAYS)
    properties: dict[str, Any] = {"datetime": time_of(day)}
    if draw.random() < 0.25:
        properties = {
            "datetime": None,
            "start_datetime": time_of(day),
            "end_datetime": time_of(day + draw.randrange(5)),
        }
    if draw.random() < 0.8:
        clouds = (draw.randrange(100), round(draw.uniform(0, 100), 1))
        properties["eo:cloud_cover"] = draw.choice(clouds)
    if draw.random() < 0.8:
        properties["platform"] = draw.choice(PLATFORMS)
    if draw.random() < 0.5:
        properties["gsd"] = draw.choice((10, 20, 60))
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"item{number:04}",
        "collection": COLLECTION,
        "bbox": [west, south, east, north],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties,
        "links": [],
        "assets": {},
    }


def drawn_filter(draw: Random, depth: int) -> dict[str, Any]:
    """Draw a filter in CQL2 JSON."""
    kind = draw.random()
    if depth == 0 or kind < 0.4:
        return draw.choice(_LEAVES)(draw)
    if kind < 0.6:
        return {"op": "not", "args": [drawn_filter(draw, depth - 1)]}
    parts = [drawn_filter(draw, depth - 1) for _ in range(2)]
    return {"op": draw.choice(("and", "or")), "args": parts}


def _op(name: str, *operands: Any) -> dict[str, Any]:
    return {"op": name, "args": list(operands)}


def _number(draw: Random) -> dict[str, str]:
    return {"property": draw.choice(("eo:cloud_cover", "gsd"))}


def _compared(draw: Random) -> dict[str, Any]:
    signs = ("=", "<>", "<", "<=", ">", ">=")
    return _op(draw.choice(signs), _number(draw), draw.choice((10, 20, 50, 33.3)))


def _named(draw: Random) -> dict[str, Any]:
    value = draw.choice(("sentinel-2a", "landsat-9"))
    return _op(draw.choice(("=", "<>")), {"property": "platform"}, value)


def _among(draw: Random) -> dict[str, Any]:
    return _op("in", {"property": "platform"}, draw.sample(PLATFORMS, 2))


def _between(draw: Random) -> dict[str, Any]:
    return _op("between", _number(draw), draw.randrange(40), draw.randrange(40, 100))


def _like(draw: Random) -> dict[str, Any]:
    pattern = draw.choice(("sent%", "%8", "_andsat%", "%-2_"))
    return _op("like", {"property": "platform"}, pattern)


def _null(draw: Random) -> dict[str, Any]:
    return _op("isNull", {"property": draw.choice(list(QUERYABLES))})


def _when(draw: Random) -> dict[str, Any]:
    instant = {"timestamp": time_of(draw.randrange(DAYS))}
    return _op(draw.choice(("<", "<=", ">", ">=", "=")), {"property": "datetime"}, instant)


def _during(draw: Random) -> dict[str, Any]:
    day = draw.randrange(DAYS)
    period = {"interval": [time_of(day), time_of(day + draw.randrange(1, 9))]}
    relations = "intersects before after during disjoint contains meets starts finishes equals"
    return _op(f"t_{draw.choice(relations.split())}", {"property": "datetime"}, period)


def _where(draw: Random) -> dict[str, Any]:
    west, south = draw.uniform(-20, 20), draw.uniform(-20, 20)
    east, north = west + 9, south + 9
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    relation = draw.choice(("intersects", "intersects", "within", "disjoint", "contains"))
    return _op(f"s_{relation}", {"property": "geometry"}, shape)


_LEAVES = (_compared, _named, _among, _between, _like, _null, _when, _during, _where)
