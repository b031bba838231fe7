"""Items as rows of pgSTAC's table, and back: whole, and exactly as they were put."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from math import floor, isfinite
from typing import TYPE_CHECKING, Any, Final

import shapely
from shapely import affinity

from terrazzo.catalog.documents import item_period, item_row
from terrazzo.catalog.json_text import json_text
from terrazzo.catalog.space import box_geometry, footprint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shapely.geometry.base import BaseGeometry

BASE_KEY: Final = "pgstac:base_item"
"""Where pgSTAC notes in an item's content which base item it was stripped against."""

_SRID: Final = 4326
_WORLD: Final = shapely.box(-180.0, -90.0, 180.0, 90.0)
_EXACT_INTEGERS: Final = 2**53
_HALF, _TURN = 180.0, 360.0

DOCUMENT: Final = f"""
    i.id, i.collection,
    i.private->'terrazzo'->>'text',
    CASE WHEN i.private ? 'terrazzo' THEN (i.content - '{BASE_KEY}')::text
    ELSE pgstac.content_hydrate(ROW(i.id, i.geometry, i.collection, i.datetime, i.end_datetime,
        i.content, i.private)::pgstac.items)::text END"""
"""Columns from which `read` makes a document, of rows `i` of pgSTAC's items.

What others have written has nothing in `private`: there pgSTAC puts the base item back.
"""


@dataclass(frozen=True, slots=True)
class PgstacRow:
    """An item that was checked, ready to be stored."""

    id: str
    collection: str
    geometry: str
    """Where it lies, within -180..180, as hexadecimal EWKB."""
    start: datetime
    stop: datetime
    document: Mapping[str, Any]
    """The item."""
    private: str
    """What its jsonb does not say, as JSON."""

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> PgstacRow:
        """Check an item.

        Raises:
            ArgumentInvalid: see `documents.item_row`.
        """
        row = item_row(item)
        document: dict[str, Any] = dict(item)
        told: dict[str, str] = {}
        if document.get("geometry") is None or not _is_kept(document):
            told["text"] = row.stored.plain().decode()
        start, stop = item_period(item)
        private = json_text({"terrazzo": told}).decode()
        return cls(row.id, row.collection, _geometry(item), start, stop, document, private)

    def content(self, base: int) -> str:
        """Return what pgSTAC keeps as jsonb; `base` is the id of the base item `{}`."""
        content = {
            key: value for key, value in self.document.items() if key not in {"id", "collection"}
        }
        if content.get("geometry") is None:
            shape = shapely.from_wkb(bytes.fromhex(self.geometry))
            content["geometry"] = json.loads(shapely.to_geojson(shape))
        return json_text(content | {BASE_KEY: base}).decode()


def read(name: str, collection: str, exact: str | None, content: str) -> dict[str, Any]:
    """Return the document of a row with the columns `DOCUMENT`."""
    if exact is not None:
        document: dict[str, Any] = json.loads(exact)
        return document
    return {"id": name, **json.loads(content), "collection": collection}


def _is_kept(value: object) -> bool:
    """Tell whether jsonb gives a value back: it writes 1e300 as an integer of 301 digits."""
    if isinstance(value, float):
        whole = abs(value) >= _EXACT_INTEGERS and isfinite(value)
        return not whole or int(Decimal(repr(value))) == value
    if isinstance(value, dict):
        return BASE_KEY not in value and all(map(_is_kept, value.values()))
    return all(map(_is_kept, value)) if isinstance(value, (list, tuple)) else True


def _geometry(item: Mapping[str, Any]) -> str:
    """Return where an item lies, cut where it crosses the antimeridian."""
    shape = footprint(item)
    west, _, east, _ = shape.bounds
    if west < -_HALF or east > _HALF:
        shape = _cut(shape)
    elif item.get("geometry") is None:
        shape = shapely.union_all(shapely.get_parts(shape))
    hexadecimal: str = shapely.to_wkb(shapely.set_srid(shape, _SRID), hex=True, include_srid=True)
    return hexadecimal


def _cut(shape: BaseGeometry) -> BaseGeometry:
    """Bring what lies beyond -180..180 to the other side."""
    west, south, east, north = shape.bounds
    turns = range(floor((west + _HALF) / _TURN), floor((east + _HALF) / _TURN) + 1)
    moved = [affinity.translate(shape, -_TURN * turn) for turn in turns]
    try:
        parts = [shapely.intersection(one, _WORLD) for one in moved]
    except shapely.errors.GEOSException:  # it intersects itself
        box = box_geometry((west, south, east, north))
        parts = [
            shapely.intersection(affinity.translate(box, -_TURN * turn), _WORLD) for turn in turns
        ]
    return shapely.union_all([part for part in parts if not part.is_empty])
