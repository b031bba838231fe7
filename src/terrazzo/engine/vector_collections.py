"""Collections of geometries as vector cubes: items whose assets are tables, not images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from terrazzo.catalog.tables import table_asset
from terrazzo.cube import Geometries
from terrazzo.engine.bound import Known
from terrazzo.errors import (
    BandNotFound,
    FormatUnsuitable,
    NoDataAvailable,
    SourceUnreadable,
    SpatialExtentEmpty,
)
from terrazzo.geo.crs import WGS84, is_geographic
from terrazzo.geo.extent import TURN
from terrazzo.geo.grid import transform_bounds
from terrazzo.processes.geometries import in_crs, positions_inside, repaired, shapes_of, vector_cube
from terrazzo.spans import span
from terrazzo.storage.stac import BASE
from terrazzo.storage.vectors.feature_table import MOST_FEATURES, Choice, read_features, table_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from terrazzo.geo.extent import SpatialExtent
    from terrazzo.geo.grid import Bounds
    from terrazzo.processes.load import LoadRequest
    from terrazzo.storage.gate import Gate
    from terrazzo.storage.vectors.feature_table import Chosen
    from terrazzo.storage.vectors.stored import TableFacts


def load_tables(items: Sequence[Mapping[str, Any]], request: LoadRequest, gate: Gate) -> Known:
    """Return the features of items that a request asks for as a vector cube.

    Conditions on attributes are met by features, all others by items. Features of items in
    different CRS are brought into degrees, vertex by vertex.

    Raises:
        NoDataAvailable: there is none.
        BandNotFound: an attribute is asked for that there is not.
        AssetForbidden, SourceUnreadable: a table cannot be read.
        PlanTooLarge: there are more than a graph holds.
    """
    read: list[tuple[Chosen, TableFacts, str]] = []
    room = MOST_FEATURES
    with span("catalogue"):
        for item in items:
            found = _of_item(item, request, gate, room)
            if found is not None and found[0].shapes:
                room -= len(found[0].shapes)
                read.append((*found, str(item["id"])))
    what = str(request.collection or request.url)
    nothing = (
        f"No geometry of {what!r} lies within the extents as a whole and meets the conditions. "
        "Widen what is asked for."
    )
    if not read:
        raise NoDataAvailable(nothing)
    held, ids = _together(read)
    if request.spatial is not None:
        held, ids = _within(held, ids, request.spatial)
        if not held.shapes:
            raise NoDataAvailable(nothing)
    names = request.bands or ()
    known = tuple(dict.fromkeys(c["name"] for _, f, _ in read for c in f.columns[:-1]))
    for name in names:
        if name not in known:
            raise BandNotFound(name, known)
    cube = vector_cube(held, ids, names, f"Collection {what!r}")
    return Known(cube, tuple(dict.fromkeys(name for _, _, name in read)))


def _of_item(
    item: Mapping[str, Any], request: LoadRequest, gate: Gate, room: int
) -> tuple[Chosen, TableFacts] | None:
    """Return the features of an item; None where the item does not meet the conditions."""
    key = table_asset(item)
    asset = item["assets"][key]
    href, base = str(asset["href"]), item.get(BASE) or None
    if href.startswith(("http:", "https:")):
        raise FormatUnsuitable(
            f"Item {str(item['id'])[:80]!r} has its geometries elsewhere. Load its file with "
            "`load_url`."
        )
    path = gate.local_path(href, base)
    try:
        return _of_table(path, gate, item["properties"], request, room)
    except SourceUnreadable as error:
        raise SourceUnreadable(str(item["id"]), str(key), error.reason) from None


def _of_table(
    path: Path, gate: Gate, properties: Mapping[str, Any], request: LoadRequest, room: int
) -> tuple[Chosen, TableFacts] | None:
    facts = table_facts(path, gate)
    columns = {column["name"] for column in facts.columns}
    rows = {}
    for name, condition in request.properties.items():
        if name in columns:
            rows[name] = _asked(condition)
        elif name not in properties or condition(value=properties[name]) is not True:
            return None
    boxes = None if request.spatial is None else boxes_in(request.spatial, facts.crs)
    return read_features(path, gate, Choice(boxes, request.interval, rows), room=room), facts


def _asked(condition: Any) -> Any:
    return lambda value: condition(value=value) is True


def boxes_in(extent: SpatialExtent, crs: str) -> tuple[Bounds, ...] | None:
    """Return boxes in a CRS that hold an extent; longitudes may run beyond 180 there.

    None where that cannot be told, so that everything has to be looked at.
    """
    try:
        boxes = [transform_bounds(box, extent.crs, crs) for box in extent.boxes]
    except SpatialExtentEmpty:
        return None
    if not is_geographic(crs):
        return tuple(boxes)
    return tuple(
        (left + turn, bottom, right + turn, top)
        for left, bottom, right, top in boxes
        for turn in (-TURN, 0.0, TURN)
    )


def _together(read: Iterable[tuple[Chosen, TableFacts, str]]) -> tuple[Geometries, Sequence[Any]]:
    """Return all features in one CRS, and their ids; positions where one table has none."""
    parts = list(read)
    systems = {facts.crs for _, facts, _ in parts}
    crs = systems.pop() if len(systems) == 1 else WGS84
    shapes: list[Any] = []
    for chosen, facts, _ in parts:
        shapes += list(in_crs(Geometries(chosen.shapes, facts.crs, chosen.properties), crs))
    properties = tuple(one for chosen, _, _ in parts for one in chosen.properties)
    named = all(facts.id for _, facts, _ in parts)
    ids = [name for chosen, _, _ in parts for name in chosen.ids] if named else ()
    return Geometries(tuple(shapes), crs, properties), ids


def _within(
    held: Geometries, ids: Sequence[Any], extent: SpatialExtent
) -> tuple[Geometries, Sequence[Any]]:
    """Return what lies within an extent; what crosses itself is mended to be asked."""
    mended = replace(held, shapes=tuple(repaired(shapes_of(held))))
    kept = positions_inside(mended, extent)
    return held.take(kept), [ids[number] for number in kept] if ids else ()
