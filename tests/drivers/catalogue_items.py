"""Items for catalogues in files: ordinary ones, awkward ones, and drawn ones."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from terrazzo.catalog import make_collection

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.catalog import Catalog

COLLECTION = "s2"


def item_of(number: int, **members: Any) -> dict[str, Any]:
    """Return an item on the diagonal of the map, a day after the one before."""
    west, south = -170 + number % 330, -60 + number % 120
    year, month, day = 2020 + number // 336 % 30, number // 28 % 12 + 1, number % 28 + 1
    ring = [[west, south], [west + 1, south], [west + 1, south + 1], [west, south + 1]]
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0" if number % 2 else "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/eo/v2.0.0/schema.json"],
        "id": f"item-{number:05}",
        "collection": COLLECTION,
        "bbox": [west, south, west + 1, south + 1],
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
        "properties": {
            "datetime": f"{year}-{month:02}-{day:02}T10:00:31.5Z",
            "created": "2024-01-01T00:00:00Z",
            "platform": f"sentinel-2{'ab'[number % 2]}",
            "eo:cloud_cover": number % 101,
            "gsd": 10,
        },
        "links": [{"rel": "collection", "href": "../s2"}],
        "assets": {
            "B04": {
                "href": f"https://data.example.org/{number}/B04.tif",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
                "proj:shape": [10980, 10980],
                "file:size": 2**31 + number,
                "file:checksum": f"1220{number:064x}",
            }
        },
    }
    return item | members


def _properties(**more: Any) -> Callable[[dict[str, Any]], object]:
    return lambda item: item["properties"].update(more)


AWKWARD: dict[str, Callable[[dict[str, Any]], object]] = {
    "another type": _properties(gsd="10 m"),
    "no such property": lambda item: item["properties"].pop("gsd"),
    "an integer of 64 bits": _properties(gsd=2**53 + 1),
    "an integer beyond 64 bits": _properties(gsd=2**70),
    "a fraction where others are whole": _properties(gsd=10.5),
    "a null": _properties(gsd=None),
    "no geometry": lambda item: item.update(geometry=None),
    "a point": lambda item: item.update(geometry={"type": "Point", "coordinates": [1, 2.5]}),
    "a geometry with heights": lambda item: item.update(
        geometry={"type": "Point", "coordinates": [1, 2, 3]}
    ),
    "a geometry with a member of its own": lambda item: item.update(
        geometry={"type": "Point", "coordinates": [1, 2], "crs": None}
    ),
    "several geometries": lambda item: item.update(
        geometry={
            "type": "GeometryCollection",
            "geometries": [{"type": "Point", "coordinates": [1.0, 2.0]}],
        }
    ),
    "a box with heights": lambda item: item.update(bbox=[1, 2, 3, 4, 5, 6]),
    "a box across the antimeridian": lambda item: item.update(bbox=[179, -1, -179, 1]),
    "no assets": lambda item: item.update(assets={}),
    "assets of its own": lambda item: item["assets"].update(extra={"href": "x.tif", "title": None}),
    "no links": lambda item: item.update(links=[]),
    "a period": _properties(
        datetime=None, start_datetime="2024-01-01T00:00:00Z", end_datetime="2024-02-01T00:00:00Z"
    ),
    "another writing of the time": _properties(datetime="2024-01-01T01:00:00.120+01:00"),
    "a time beyond the microsecond": _properties(datetime="2024-01-01T00:00:00.1234567Z"),
    "no time where others have one": _properties(created="yesterday"),
    "a property with the name of a member": _properties(type="x", links=3, properties={"a": 1}),
    "a member of its own": lambda item: item.update({"terrazzo:base": "/data", "other": [1, None]}),
    "empty values": _properties(nothing={}, none=[], text=""),
    "nulls in lists": _properties(several=[1, None, {"a": None, "b": [{"c": None}]}]),
    "lists of several types": _properties(several=[1, "a", [True]]),
    "a projected geometry": _properties(
        **{"proj:geometry": {"type": "Point", "coordinates": [500000.0, 5e6]}}
    ),
    "a projected geometry that is none": _properties(**{"proj:geometry": {"type": "Blob"}}),
    "an asset that is none": lambda item: item["assets"].update(B04="B04.tif"),
    "texts beyond ASCII": _properties(**{"título 🛰": "日本\u2028"}),
}
"""What makes an item awkward in a table of ordinary ones, by what it is."""


def awkward_items() -> list[dict[str, Any]]:
    """Return each awkward item, and ordinary ones."""
    items = [item_of(number) for number in range(3)]
    for number, change in enumerate(AWKWARD.values(), len(items)):
        item = copy.deepcopy(item_of(number))
        change(item)
        items.append(item)
    return items


def filled(catalog: Catalog, items: list[dict[str, Any]]) -> Catalog:
    """Put items into a catalogue and return it."""
    for name in {item["collection"] for item in items} or {COLLECTION}:
        catalog.put_collection(make_collection(name, title="Of a test"))
    catalog.put_items(items)
    return catalog


_texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=4)
_floats = st.floats(allow_nan=False, allow_infinity=False)
_scalars = st.none() | st.booleans() | st.integers() | _texts | _floats
values = st.recursive(
    _scalars,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_texts, below, max_size=3),
    max_leaves=6,
)
"""Any values that JSON has."""
times = st.sampled_from(
    ["2024-01-01T00:00:00Z", "2024-02-29T23:59:59.123456Z", "2024-03-01T00:00:00.5+02:00"]
)


@st.composite
def drawn_items(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw items with a few properties and assets of whatever types."""
    names = ("a", "b", "created", "type", "proj:geometry")
    items = []
    for number in range(draw(st.integers(1, 5))):
        item = item_of(number)
        drawn = st.dictionaries(st.sampled_from(names), values | times, max_size=3)
        item["properties"] = draw(drawn) | {"datetime": draw(times)}
        item["assets"] = draw(st.dictionaries(st.sampled_from("AB"), drawn | values, max_size=2))
        item["links"] = draw(st.lists(drawn, max_size=2))
        items.append(item)
    return items
