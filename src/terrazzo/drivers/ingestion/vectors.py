"""Files of geometries as items: GeoPackage, Shapefile, GeoJSON and (Geo)Parquet.

A file, or a layer of one, becomes an item whose asset is a GeoParquet file in the workspace, sorted
in space, so that a graph reads only what lies where it looks. What it was made of is known by a
digest of the file's bytes and of what the user says of them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import shapely

from terrazzo.catalog import make_asset, make_item
from terrazzo.catalog.tables import PARQUET, PRIMARY, TYPES
from terrazzo.drivers.ingestion.items import (
    DIGEST,
    FILE_EXTENSION,
    Draft,
    FoundFile,
    Given,
    Made,
    Period,
    Target,
)
from terrazzo.drivers.ingestion.kept import carried
from terrazzo.drivers.ingestion.names import read_name, safe_name, when_of
from terrazzo.errors import ArgumentInvalid, SourceUnreadable, SpatialExtentEmpty, suggest
from terrazzo.geo.crs import WGS84, crs_name
from terrazzo.geo.extent import check_on_earth
from terrazzo.geo.grid import transform_bounds
from terrazzo.geo.times import parse_time
from terrazzo.storage.gate import Gate
from terrazzo.storage.vectors.feature_table import table_facts
from terrazzo.storage.vectors.features import Asked, layers_of, open_features
from terrazzo.storage.vectors.reading import SIDECARS
from terrazzo.storage.vectors.stored import look_at, write_features

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from terrazzo.drivers.ingestion.names import NameParts
    from terrazzo.geo.grid import Bounds
    from terrazzo.storage.vectors.stored import TableFacts

VECTORS: Final = frozenset({".gpkg", ".shp", ".geojson", ".json", ".parquet", ".geoparquet"})
"""Endings of files that hold geometries."""
ASSET: Final = "data"
_RECIPE: Final = "1"
"""Part of every digest; another one makes all files anew."""
_EPSG: Final = re.compile(r"EPSG:\d+")
_TURN, _HALF_TURN = 360.0, 180.0
_PIECE: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class _Source:
    """What a table is made of."""

    found: FoundFile
    asked: Asked
    id: str
    date: str


def read(found: FoundFile, given: Given) -> list[Draft]:
    """Open a file of geometries and return its items to be, one per layer.

    Raises:
        SourceUnreadable: damaged, cut short, or of another kind inside.
        ArgumentInvalid: no geometries, no date, no CRS, or options that do not fit.
        AssetForbidden: it is a link that leaves its folder.
    """
    options = given.options
    layers = layers_of(found.path, found.gate)
    if not layers:
        raise ArgumentInvalid("it has no layer of geometries.")
    if options.layer and options.layer not in layers and found.path.suffix.lower() == ".gpkg":
        raise ArgumentInvalid(
            f"it has no layer {options.layer!r}.{suggest(options.layer, layers)} Layers: "
            f"{', '.join(layers)}."
        )
    name = read_name(found.name, given.pattern)
    stem = name.item if given.pattern is not None else found.path.stem
    chosen = [one for one in layers if one == options.layer] or list(layers)
    when = _stated_period(given, name, found.name)
    drafts = []
    for layer in chosen:
        asked = Asked(layer, options.geometry, options.crs, options.encoding, options.id)
        source = _Source(found, asked, options.id, "" if options.datetime else options.date)
        with open_features(found.path, found.gate, asked):  # says early what cannot be found
            pass
        whole = len(layers) == 1 or layer == stem
        item = safe_name(stem if whole else f"{stem}_{layer}")
        shown = found.name if len(layers) == 1 else f"{found.name} [{layer}]"
        make = partial(_make, source, item, when, given.target)
        drafts.append(Draft(item, shown, make))
    return drafts


def _stated_period(given: Given, parts: NameParts, name: str) -> Period | None:
    """Return the date of a file, None if its rows say it.

    Raises:
        ArgumentInvalid: nothing does.
    """
    options = given.options
    if options.date and not options.datetime:
        return None
    if parts.when is None and not options.datetime:
        raise ArgumentInvalid(
            "it has no date in its name. State it with --datetime 2018-05-01, a period with "
            "--datetime 2018-01-01/2019-01-01, or name the attribute of dates with --date COLUMN."
        )
    return when_of(parts, options.datetime, {}, name=name)


def _make(
    source: _Source,
    name: str,
    when: Period | None,
    target: Target,
    previous: Mapping[str, Any] | None,
) -> Made:
    """Make the item of a layer."""
    before: Mapping[str, Any] = ((previous or {}).get("assets") or {}).get(ASSET) or {}
    path = target.folder / name / f"{ASSET}.parquet"
    digest = _digest(source)
    made_of = carried(name, ASSET, source.found, before, digest)
    kept = target.has(path, digest, before)
    if kept:
        facts = table_facts(path, Gate((path.parent,)))
    else:
        facts = _written(source, path if target.write else None, target)
    if not facts.bounds:
        raise ArgumentInvalid(_empty(facts))
    document = table_item(name, target, path, facts, when, {DIGEST: digest} | made_of)
    notes = notes_of(facts)
    if source.asked.crs and crs_name(source.asked.crs) != facts.crs:
        notes = (f"it states its CRS, {facts.crs[:60]!r}, which is believed.", *notes)
    return Made(document, wrote=not kept, notes=notes)


def _written(source: _Source, path: Path | None, target: Target) -> TableFacts:
    """Write the table of a layer, or only look at it."""
    found = source.found
    with open_features(found.path, found.gate, source.asked) as features:
        if path is None:
            return look_at(features, id_column=source.id, date_column=source.date)
        target.prepare(path)
        return write_features(path, features, id_column=source.id, date_column=source.date)


def _empty(facts: TableFacts) -> str:
    if not facts.rows:
        return "it holds no feature."
    return f"none of its {facts.rows} features has a geometry with a place."


def _digest(source: _Source) -> str:
    """Return the digest of all that decides what a table holds."""
    told = [_RECIPE, asdict(source.asked), source.id, source.date]
    found = hashlib.blake2b(json.dumps(told).encode(), digest_size=32)
    path = source.found.path
    parts = [path]
    if path.suffix.lower() == ".shp":
        parts += [one for end in SIDECARS for one in (path.with_suffix(end),) if one.is_file()]
    try:
        for part in parts:
            found.update(f"\0{part.suffix}\0{part.stat().st_size}\0".encode())
            with part.open("rb") as file:
                while piece := file.read(_PIECE):
                    found.update(piece)
    except OSError:
        raise SourceUnreadable(path.stem, "geometries", "the file is gone or closed") from None
    return found.hexdigest()


def table_item(
    name: str,
    target: Target,
    path: Path,
    facts: TableFacts,
    when: Period | None,
    extra: Mapping[str, Any],
    properties: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make the item of a table as the catalogue gives it back.

    Args:
        name: its id.
        target: names its collection.
        path: of the table.
        facts: of it.
        when: its instant or period; None takes that of its rows.
        extra: more fields of the asset.
        properties: more properties.

    Raises:
        ArgumentInvalid: its rows have no date, or its geometries no place on the Earth.
    """
    period = when or _period_of(facts)
    bbox, geometry = _footprint(facts)
    told = _told(facts) | dict(properties or {})
    asset = make_asset(
        str(path),
        media_type=PARQUET,
        title="Features, as GeoParquet",
        extra={**extra, "file:size": path.stat().st_size if path.is_file() else 0},
    )
    item = make_item(
        name,
        target.collection,
        bbox=bbox,
        geometry=geometry,
        datetime=period.start if period.end is None else None,
        start=None if period.end is None else period.start,
        end=period.end,
        properties=told,
        assets={ASSET: asset},
    )
    item["stac_extensions"].append(FILE_EXTENSION)
    stored: dict[str, Any] = json.loads(json.dumps(item))
    return stored


def _told(facts: TableFacts) -> dict[str, Any]:
    """Return what STAC's extensions say of a table."""
    code = facts.crs if _EPSG.fullmatch(facts.crs) else ""
    left, bottom, right, top = facts.bounds
    kinds = sorted({kind.removesuffix(" Z") for kind in facts.types})
    high = any(kind.endswith(" Z") for kind in facts.types)
    return {
        "table:columns": [dict(one) for one in facts.columns],
        PRIMARY: facts.geometry,
        "table:row_count": facts.rows,
        TYPES: kinds,
        ("proj:code" if code else "proj:wkt2"): facts.crs,
        "cube:dimensions": {
            "geometry": {
                "type": "geometry",
                "axes": ["x", "y", "z"] if high else ["x", "y"],
                "bbox": [left, bottom, right, top],
                "geometry_types": kinds,
                "reference_system": int(code[5:]) if code else facts.crs,
            }
        },
    }


def _period_of(facts: TableFacts) -> Period:
    if not facts.period:
        raise ArgumentInvalid(
            f"its attribute {facts.date!r} holds no date in any row. State one with --datetime."
        )
    first, behind = map(parse_time, facts.period)
    return Period(first, behind)


def _footprint(facts: TableFacts) -> tuple[Bounds, dict[str, Any] | None]:
    """Return bbox and GeoJSON geometry in degrees; None where the bbox says it.

    Raises:
        ArgumentInvalid: the coordinates are not those of the CRS.
    """
    left, bottom, right, top = facts.bounds
    check_on_earth((left, bottom, right, top), facts.crs, "its box")
    try:
        box = transform_bounds((left, bottom, right, top), facts.crs, WGS84)
    except SpatialExtentEmpty:
        box = (math.inf, math.inf, math.inf, math.inf)
    west, south, east, north = box
    if not all(abs(side) <= _TURN for side in box):
        raise ArgumentInvalid(
            f"its coordinates, {left} {bottom} {right} {top}, have no place on the Earth in "
            f"{facts.crs[:60]!r}. Look at its CRS, or state one where it has none with --crs."
        )
    if west <= east and (west < -_HALF_TURN or east > _HALF_TURN):
        whole = east - west >= _TURN
        west, east = (-_HALF_TURN, _HALF_TURN) if whole else (_wrapped(west), _wrapped(east))
    box = west, max(south, -90.0), east, min(north, 90.0)
    if west == east or south == north:  # a point, or points in a row
        ends = shapely.Point(west, south) if west == east and south == north else (
            shapely.LineString([(west, south), (east, north)])
        )  # fmt: skip
        return box, json.loads(shapely.to_geojson(ends))
    return box, None


def _wrapped(longitude: float) -> float:
    return (longitude + _HALF_TURN) % _TURN - _HALF_TURN


def notes_of(facts: TableFacts) -> tuple[str, ...]:
    """Return what people should know of the geometries."""
    words = {
        "invalid": "have rings that cross or touch themselves. They are kept as they are, and "
        "mended where a graph computes with them",
        "missing": "have no geometry",
        "not finite": "had a coordinate that is no number, and have no geometry now",
        "collections": "are GeometryCollections, which no graph takes",
        "same ids": f"have the {facts.id!r} of another one, so graphs name all by their position",
    }
    return tuple(
        f"{count} of {facts.rows} features {words[name]}." for name, count in facts.notes.items()
    )
