"""Polygons and points from files: GeoPackage, Shapefile, GeoJSON and (Geo)Parquet.

Files are recognised by their first bytes and opened by one reader each, so that a file cannot be
a program for another one (an OGR VRT, a GDALG pipeline). GeoJSON is read without GDAL.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import shapely

from terrazzo.errors import ArgumentInvalid, AssetForbidden, SourceUnreadable, suggest
from terrazzo.geo.crs import WGS84, crs_name
from terrazzo.spans import span

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

    from terrazzo.storage.gate import Gate

_MAGIC = {
    ".gpkg": b"SQLite format 3\0",
    ".shp": b"\0\0\x27\x0a",
    ".parquet": b"PAR1",
    ".geoparquet": b"PAR1",
    ".geojson": b"",
    ".json": b"",
}
SIDECARS = (".dbf", ".shx", ".prj", ".cpg", ".qix", ".sbn", ".sbx")
"""Endings of the files that belong to a Shapefile."""
_TABLE = re.compile(
    r"create\s+table\b.*|create\s+virtual\s+table\s+(\w+|\"[^\"]*\")\s+using\s+rtree\s*\([^()]*\)",
    re.IGNORECASE | re.DOTALL,
)
"""What makes a table that holds rows and nothing else, or an index of where geometries are."""
_PACKAGES = (b"GPKG", b"GP10", b"GP11")
"""What byte 68 of a GeoPackage begins with."""
_GEOJSON = re.compile(
    rb'"type"\s*:\s*"(FeatureCollection|Feature|GeometryCollection|(Multi)?(Point|LineString|Polygon))"'
)
_SNIFFED = 65_536
MOST_ROWS, MOST_DECODED_BYTES = 2_000_000, 512_000_000
"""What a Parquet file of a stranger may hold; its pages may be packed a million times."""
GEOMETRY_COLUMNS = ("geometry", "geom", "wkb", "wkb_geometry", "the_geom")


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """What a file of geometries holds, in the file's order."""

    shapes: tuple[BaseGeometry, ...]
    """As they are in the file: invalid rings are kept; a missing geometry is an empty one."""
    crs: str
    """Canonical name of their coordinates' CRS."""
    ids: tuple[Any, ...]
    """What names them: values of the id column, else their position from 0."""
    properties: tuple[Mapping[str, Any], ...]
    """Their other attributes, JSON values."""


def read_polygons(
    path: Path | str, gate: Gate, *, crs: str = "", id_column: str = "", layer: str = ""
) -> Polygons:
    """Read geometries and their attributes.

    Args:
        path: .gpkg, .shp, .geojson, .json, .parquet or .geoparquet; must lie in the gate's roots.
        gate: what may be read.
        crs: of the coordinates, where the file does not say; a file that does is believed.
        id_column: attribute that names the geometries; their position otherwise.
        layer: of a GeoPackage; its first one otherwise.

    Raises:
        AssetForbidden: outside the roots, or of a kind that is not read.
        SourceUnreadable: gone or damaged.
        ArgumentInvalid: no geometry in it, no CRS known, or no such id column.
    """
    real = recognised(path, gate)
    suffix = real.suffix.lower()
    try:
        with span("decode"):
            if suffix in {".geojson", ".json"}:
                shapes, columns, found = _read_geojson(real)
            elif suffix in {".parquet", ".geoparquet"}:
                shapes, columns, found = _read_parquet(real)
            else:
                shapes, columns, found = _read_gdal(real, layer)
    except OSError:
        raise SourceUnreadable(real.stem, "geometries", "the file is gone or closed") from None
    return _polygons(real, shapes, columns, found or crs, id_column)


def recognised(path: Path | str, gate: Gate) -> Path:
    """Return the real path of a file of geometries whose first bytes are what its ending says.

    Raises:
        AssetForbidden: outside the roots, or of a kind that is not read.
        SourceUnreadable: gone, or something else inside.
    """
    real = gate.local_path(str(path))
    suffix = real.suffix.lower()
    if suffix not in _MAGIC:
        raise AssetForbidden(
            f"Files ending in {suffix!r} are not read as geometries; these are: "
            f"{', '.join(_MAGIC)}."
        )
    try:
        with real.open("rb") as file:
            start = file.read(16)
    except OSError:
        raise SourceUnreadable(real.stem, "geometries", "the file is gone or closed") from None
    if not start.startswith(_MAGIC[suffix]):
        raise SourceUnreadable(real.stem, "geometries", f"it is no {suffix} file inside")
    if "!" in str(real) and suffix in {".shp", ".gpkg"}:  # pyogrio would look into an archive
        raise AssetForbidden(f"{real.name!r}: its path has a '!'. Rename what has it.")
    for sidecar in SIDECARS if suffix == ".shp" else ():
        if real.with_suffix(sidecar).is_symlink():
            gate.local_path(str(real.with_suffix(sidecar)))
    return real


def is_geojson(path: Path) -> bool:
    """Tell whether the beginning of a JSON file is that of GeoJSON, and not of a STAC item."""
    try:
        with path.open("rb") as file:
            start = file.read(_SNIFFED)
    except OSError:
        return False
    return _GEOJSON.search(start) is not None and b'"stac_version"' not in start


def check_geopackage(path: Path) -> None:
    """Refuse a GeoPackage that a stranger made and that holds more than tables.

    A view or a virtual table is a program that runs when it is read, and can open other files.

    Raises:
        SourceUnreadable: it holds one, or is no GeoPackage.
    """
    with path.open("rb") as file:
        if file.read(72)[68:] not in _PACKAGES:
            raise SourceUnreadable(path.stem, "geometries", "it is no GeoPackage inside")
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
        ) as db:
            told = db.execute("SELECT type, sql FROM sqlite_master").fetchall()
    except sqlite3.Error:
        raise SourceUnreadable(path.stem, "geometries", "it is no database inside") from None
    for kind, sql in told:
        if kind == "view" or (kind == "table" and not _TABLE.fullmatch(str(sql))):
            raise SourceUnreadable(
                path.stem, "geometries", "it holds views or virtual tables, which are not run"
            )


def check_parquet(path: Path) -> None:
    """Refuse a Parquet file that a stranger made and that becomes too large when it is unpacked.

    Raises:
        SourceUnreadable: it does, or is no Parquet file.
    """
    import pyarrow as pa  # noqa: PLC0415 - takes a while, and only this needs it
    import pyarrow.parquet as pq  # noqa: PLC0415

    large = SourceUnreadable(
        path.stem,
        "geometries",
        f"it holds more than {MOST_ROWS:,} rows or {MOST_DECODED_BYTES:,} bytes once unpacked",
    )
    try:
        with path.open("rb") as file:
            parquet = pq.ParquetFile(file)
            facts = parquet.metadata
            packed = sum(facts.row_group(n).total_byte_size for n in range(facts.num_row_groups))
            if facts.num_rows > MOST_ROWS or packed > MOST_DECODED_BYTES:
                raise large
            left = MOST_DECODED_BYTES
            for batch in parquet.iter_batches(1024):  # a text may be stored once for all rows
                left -= batch.nbytes
                if left < 0:
                    raise large
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceUnreadable(
            path.stem, "geometries", f"it is no Parquet file inside ({type(error).__name__})"
        ) from None


def _polygons(
    path: Path,
    shapes: Sequence[BaseGeometry | None],
    columns: Mapping[str, Sequence[Any]],
    crs: str,
    id_column: str,
) -> Polygons:
    if not len(shapes):
        raise ArgumentInvalid(f"{path.name!r} holds no geometry. Give a file with at least one.")
    if not crs:
        raise ArgumentInvalid(
            f"{path.name!r} does not say in which coordinate reference system it is. Name it, "
            "for example EPSG:4326, with `--crs` or the option `crs`."
        )
    if id_column and id_column not in columns:
        raise ArgumentInvalid(
            f"{path.name!r} has no attribute {id_column!r}.{suggest(id_column, tuple(columns))} "
            f"Attributes: {', '.join(columns) or 'none'}."
        )
    ids = columns[id_column] if id_column else range(len(shapes))
    names = list(columns)
    rows = zip(*columns.values(), strict=True) if columns else [()] * len(shapes)
    return Polygons(
        tuple(shapely.Polygon() if shape is None else shape for shape in shapes),
        crs_name(crs),
        tuple(ids),
        tuple(dict(zip(names, row, strict=True)) for row in rows),
    )


def _read_geojson(path: Path) -> tuple[list[BaseGeometry | None], dict[str, list[Any]], str]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
        kind = document["type"]
        if kind == "FeatureCollection":
            features = document["features"]
        else:
            features = [document if kind == "Feature" else {"geometry": document}]
        shapes = [
            shapely.from_geojson(json.dumps(feature["geometry"])) if feature["geometry"] else None
            for feature in features
        ]
    except (ValueError, TypeError, KeyError, shapely.errors.GEOSException) as error:
        raise SourceUnreadable(
            path.stem, "geometries", f"it is no GeoJSON ({type(error).__name__})"
        ) from None
    names = dict.fromkeys(name for f in features for name in f.get("properties") or {})
    columns = {
        name: [(feature.get("properties") or {}).get(name) for feature in features]
        for name in names
    }
    old = document.get("crs") if isinstance(document, dict) else None
    named = (old or {}).get("properties", {}).get("name", "") if isinstance(old, dict) else ""
    return shapes, columns, crs_name(named) if named else WGS84


def _read_parquet(path: Path) -> tuple[list[BaseGeometry | None], dict[str, list[Any]], str]:
    import pyarrow as pa  # noqa: PLC0415 - takes a while, and only this needs it
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        # A single file object: no folder of partitions, no other file system.
        with path.open("rb") as file:
            parquet = pq.ParquetFile(file)
            table = parquet.read()
        metadata = _object(json.loads((parquet.metadata.metadata or {}).get(b"geo", b"{}")))
        told = str(metadata.get("primary_column", ""))
        column = told or next((n for n in GEOMETRY_COLUMNS if n in table.column_names), "")
        if not column or column not in table.column_names:
            raise ArgumentInvalid(
                f"{path.name!r} has no column of geometries. Its columns: "
                f"{', '.join(table.column_names)}."
            )
        shapes = shapely.from_wkb(np.array(table.column(column).to_pylist(), dtype=object))
        facts = _object(_object(metadata.get("columns", {})).get(column, {}))
        columns = {
            name: [plain_value(value) for value in table.column(name).to_pylist()]
            for name in table.column_names
            if name != column
        }
    except (
        pa.ArrowException,
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        shapely.errors.GEOSException,
    ) as error:
        raise SourceUnreadable(
            path.stem, "geometries", f"it is no GeoParquet with WKB ({type(error).__name__})"
        ) from None
    found = ""
    if told:
        # GeoParquet: an absent CRS is longitude and latitude, an explicit null is unknown.
        projjson = facts.get("crs", WGS84)
        found = crs_name(projjson) if projjson else ""
    return list(shapes), columns, found


def _object(value: Any) -> dict[str, Any]:
    """Return an object of JSON.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} in place of an object")
    return value


def _read_gdal(
    path: Path, layer: str
) -> tuple[list[BaseGeometry | None], dict[str, list[Any]], str]:
    import pyogrio  # noqa: PLC0415 - brings its own GDAL, and only this needs it

    try:
        layers = {str(name): kind for name, kind in pyogrio.list_layers(path)}
        if layer and layer not in layers:
            raise ArgumentInvalid(
                f"{path.name!r} has no layer {layer!r}.{suggest(layer, tuple(layers))} Layers: "
                f"{', '.join(layers)}."
            )
        first = next((name for name, kind in layers.items() if kind is not None), None)
        meta, _, wkb, values = pyogrio.raw.read(path, layer=layer or first)
    except (RuntimeError, ValueError):  # all errors of pyogrio are of the first kind
        raise SourceUnreadable(
            path.stem, "geometries", "it is damaged or has no layer of geometries"
        ) from None
    if wkb is None:
        raise ArgumentInvalid(f"{path.name!r} holds no geometry. Give a file with at least one.")
    names = [str(name) for name in meta["fields"]]
    columns = {n: [_json(v) for v in column] for n, column in zip(names, values, strict=True)}
    return list(shapely.from_wkb(wkb)), columns, known_crs(meta["crs"])


def known_crs(stated: str | None) -> str:
    """Return the canonical name of the CRS that GDAL found; empty where it is none."""
    found = stated or ""
    unknown = found.upper() in {"EPSG:-1", "EPSG:0"} or "undefined" in found.lower()
    return "" if unknown or not found else crs_name(found)


def _json(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and value != value else plain_value(value)  # noqa: PLR0124 - NaN


def plain_value(value: Any) -> Any:
    """Return what a column holds as JSON has it; NaN and infinity stay."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): plain_value(entry) for key, entry in value.items()}
    return (
        [plain_value(entry) for entry in value] if isinstance(value, list | tuple) else str(value)
    )
