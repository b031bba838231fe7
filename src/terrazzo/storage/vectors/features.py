"""Files of geometries, batch by batch: GeoPackage, Shapefile, GeoJSON and (Geo)Parquet.

What `reading` reads at once for a graph is read here for ingestion, however large it is:
geometries as shapely has them, attributes as Arrow has them, so that types and nulls stay.
"""

from __future__ import annotations

import glob
import json
import struct
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from terrazzo.errors import ArgumentInvalid, SourceUnreadable, suggest
from terrazzo.geo.crs import WGS84, crs_name
from terrazzo.storage.vectors.reading import (
    GEOMETRY_COLUMNS,
    check_geopackage,
    is_geojson,
    known_crs,
    recognised,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.storage.gate import Gate

    Shapes = NDArray[np.object_]

_DBF_HEADER: Final = 32
BATCH: Final = 4096
"""Features that are held at once."""
_DAMAGED: Final = (RuntimeError, ValueError, OSError, pa.ArrowException)
"""What pyogrio and Arrow raise for files that are damaged or cut short."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user says of a file of geometries."""

    layer: str = ""
    """Of a GeoPackage; empty for its only one."""
    geometry: str = ""
    """Column of geometries of a Parquet file; empty for what the file says."""
    crs: str = ""
    """Of files that state none."""
    encoding: str = ""
    """Of the texts of a Shapefile; empty for what the file says."""
    fid: str = ""
    """An attribute that may be the row's own id, which is no attribute otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """An open file of geometries."""

    crs: str
    """Canonical name of the CRS of the coordinates."""
    schema: Any
    """Arrow schema of the attributes."""
    batches: Iterator[tuple[Any, Shapes]]
    """Attributes as Arrow record batches, and a geometry or None for each of their rows."""


def layers_of(path: Path, gate: Gate) -> tuple[str, ...]:
    """Return the layers of geometries of a file; one without a name where it has no layers.

    Raises:
        AssetForbidden: outside the roots, or of a kind that is not read.
        SourceUnreadable: gone or damaged.
    """
    real = recognised(path, gate)
    if real.suffix.lower() != ".gpkg":
        return ("",)
    import pyogrio  # noqa: PLC0415 - takes a second, brings a GDAL of its own

    check_geopackage(real)
    try:
        return tuple(str(name) for name, kind in pyogrio.list_layers(real) if kind is not None)
    except _DAMAGED:
        raise _damaged(real) from None


@contextmanager
def open_features(path: Path, gate: Gate, asked: Asked) -> Iterator[Features]:
    """Open a file of geometries.

    Heights are kept, measures are dropped, curves are made of straight lines as GDAL does.

    Raises:
        AssetForbidden: outside the roots, or of a kind that is not read.
        SourceUnreadable: gone or damaged, also while its batches are read.
        ArgumentInvalid: no geometries, no CRS known, or not the layer or column that is asked for.
    """
    real = recognised(path, gate)
    suffix = real.suffix.lower()
    opened = _open_parquet if suffix in {".parquet", ".geoparquet"} else _open_gdal
    if suffix == ".gpkg":
        check_geopackage(real)
    if suffix in {".geojson", ".json"} and not is_geojson(real):
        raise SourceUnreadable(real.stem, "geometries", "it is no GeoJSON inside")
    with ExitStack() as stack:
        try:
            found = opened(real, asked, stack)
        except (*_DAMAGED, TypeError, AttributeError, LookupError, RecursionError) as error:
            raise _damaged(real, error) from None
        yield found


def _open_parquet(path: Path, asked: Asked, stack: ExitStack) -> Features:
    file = stack.enter_context(path.open("rb"))  # a single file: no folder of partitions
    parquet = stack.enter_context(pq.ParquetFile(file))
    schema = parquet.schema_arrow
    geo = _geo(parquet.metadata.metadata)
    column = _geometry_column(schema, geo, asked.geometry)
    facts = geo.get("columns", {}).get(column, {})
    crs = _parquet_crs(facts if column in geo.get("columns", {}) else None, asked)
    names = [n for n in schema.names if n != column and n not in _covering(facts)]
    wanted = pa.schema([_plain_field(schema.field(name)) for name in names])

    def batches() -> Iterator[tuple[Any, Shapes]]:
        try:
            for batch in parquet.iter_batches(BATCH, columns=[*names, column]):
                yield _as(batch, wanted), _straight(_bytes(batch.column(column)))
        except (*_DAMAGED, shapely.errors.GEOSException, NotImplementedError) as error:
            raise _damaged(path, error) from None

    return Features(crs, wanted, batches())


def _geo(told: Any) -> dict[str, Any]:
    """Return what a file says of its geometries; the schema that Arrow keeps may not say it."""
    found = json.loads((told or {}).get(b"geo", b"{}"))
    if not isinstance(found, dict) or not isinstance(found.get("columns", {}), dict):
        raise TypeError("The member `geo` is no object")
    return found


def _geometry_column(schema: Any, geo: dict[str, Any], asked: str) -> str:
    """Return the column of geometries.

    Raises:
        ArgumentInvalid: there is none, or it holds something else.
    """
    told = asked or str(geo.get("primary_column", ""))
    column = told or next((n for n in GEOMETRY_COLUMNS if n in schema.names), "")
    if column not in schema.names:
        named = f"no column {column!r}.{suggest(column, schema.names)}" if column else (
            "no column of geometries that it names."
        )  # fmt: skip
        raise ArgumentInvalid(
            f"it has {named} Name the one that holds WKB with --geometry COLUMN. Its "
            f"columns: {', '.join(schema.names)[:500]}."
        )
    kind = schema.field(column).type
    if not (
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    ):
        raise ArgumentInvalid(
            f"its column {column!r} holds {kind}; geometries are read as WKB. Write "
            "the file anew with that encoding."
        )
    return column


def _parquet_crs(facts: dict[str, Any] | None, asked: Asked) -> str:
    """Return the CRS of a column: GeoParquet without one is in degrees, null is unknown."""
    stated = None if facts is None else facts.get("crs", WGS84)
    if stated:
        return crs_name(stated)
    return _asked_crs(asked)


def _asked_crs(asked: Asked) -> str:
    if not asked.crs:
        raise ArgumentInvalid(
            "it does not say in which coordinate reference system it is. State it with --crs, for "
            "example --crs EPSG:4326."
        )
    return crs_name(asked.crs)


def _covering(facts: dict[str, Any]) -> frozenset[str]:
    """Return the columns that hold the boxes of geometries, which are made anew."""
    box = facts.get("covering", {}).get("bbox", {})
    return frozenset(str(place[0]) for place in box.values())


def _plain_field(field: Any) -> Any:
    """Return a field without dictionaries, which differ from batch to batch."""
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.field(field.name, kind)


def _as(batch: Any, schema: Any) -> Any:
    """Return the columns of a schema, of its types."""
    columns = [batch.column(field.name) for field in schema]
    return pa.record_batch(
        [
            one if one.type == field.type else one.cast(field.type)
            for one, field in zip(columns, schema, strict=True)
        ],
        schema=schema,
    )


def _bytes(column: Any) -> Shapes:
    found = np.empty(len(column), dtype=object)
    found[:] = column.to_pylist()
    return found


def _open_gdal(path: Path, asked: Asked, stack: ExitStack) -> Features:
    import pyogrio  # noqa: PLC0415 - takes a second, brings a GDAL of its own

    suffix = path.suffix.lower()
    options: dict[str, Any] = {"layer": asked.layer or None}
    name: Path | str = path
    if suffix in {".geojson", ".json"}:
        # The prefix keeps GDAL from taking JSON as a pipeline; JSON has texts and no dates.
        name, options["DATE_AS_STRING"] = f"GeoJSON:{path}", "YES"
    if suffix == ".shp":
        _check_shapefile(path)
        options |= {"encoding": asked.encoding} if asked.encoding else {}
    told = pyogrio.read_info(name, **options)
    crs = known_crs(told["crs"]) or _asked_crs(asked)
    own = asked.fid not in {str(field) for field in told["fields"]} and _fid(asked.fid, told)
    meta, reader = stack.enter_context(
        pyogrio.open_arrow(name, use_pyarrow=True, batch_size=BATCH, return_fids=own, **options)
    )
    geometry, fid = meta["geometry_name"] or "wkb_geometry", meta["fid_column"] or "fid"
    if geometry not in reader.schema.names:
        raise ArgumentInvalid("it holds no geometries, only attributes.")
    fields = [field for field in reader.schema if field.name != geometry]
    renamed = [asked.fid if own and field.name == fid else field.name for field in fields]
    schema = pa.schema([pa.field(n, f.type) for n, f in zip(renamed, fields, strict=True)])

    def batches() -> Iterator[tuple[Any, Shapes]]:
        start = 0
        try:
            for batch in reader:
                rows = [batch.column(field.name) for field in fields]
                shapes = _shapes(batch.column(geometry), name, start, options)
                yield pa.record_batch(rows, schema=schema), shapes
                start += batch.num_rows
        except (*_DAMAGED, shapely.errors.GEOSException) as error:
            raise _damaged(path, error) from None

    return Features(crs, schema, batches())


def _check_shapefile(path: Path) -> None:
    """Refuse a Shapefile that GDAL would read without what is lost of it.

    Raises:
        SourceUnreadable: a part is missing or cut short.
    """
    beside = {one.suffix.lower(): one for one in path.parent.glob(f"{glob.escape(path.stem)}.*")}
    if ".shx" not in beside:
        raise SourceUnreadable(
            path.stem,
            "geometries",
            f"its index {path.stem}.shx is missing. Put it there, or have it made: "
            f"SHAPE_RESTORE_SHX=YES ogrinfo {path.name}",
        )
    with path.open("rb") as file:
        start = file.read(28)
    words, size = struct.unpack(">I", start[24:])[0] if len(start) == 28 else 0, path.stat().st_size  # noqa: PLR2004 - where the length ends
    if size < max(2 * words, 100):
        raise SourceUnreadable(
            path.stem, "geometries", f"it is cut short: {size:,} bytes of {2 * words:,}"
        )
    rows = beside.get(".dbf")
    if rows is None:
        return
    with rows.open("rb") as file:
        head = file.read(12)
    count, before, each = struct.unpack("<IHH", head[4:]) if len(head) == 12 else (0, 0, 0)  # noqa: PLR2004 - where the lengths end
    there = rows.stat().st_size
    if before < _DBF_HEADER or not each or there < before + count * each:
        raise SourceUnreadable(
            path.stem, "geometries", f"its attributes, {rows.name}, are damaged or cut short"
        )


def _fid(asked: str, told: dict[str, Any]) -> bool:
    return bool(asked) and asked in {told["fid_column"], "fid", "id"}


def _shapes(column: Any, name: Path | str, start: int, options: dict[str, Any]) -> Shapes:
    wkb = _bytes(column)
    try:
        return _straight(wkb)
    except NotImplementedError:  # curves: the other way to read makes lines of them
        import pyogrio.raw  # noqa: PLC0415

        only = {key: value for key, value in options.items() if key != "encoding"}
        _, _, wkb, _ = pyogrio.raw.read(
            name, columns=[], skip_features=start, max_features=len(wkb), **only
        )
        return _straight(wkb)


def _straight(wkb: Shapes) -> Shapes:
    """Return geometries of WKB, without measures."""
    with np.errstate(invalid="ignore"):  # GEOS tells NumPy of coordinates that are NaN
        shapes: Shapes = shapely.from_wkb(wkb)
    measured = shapely.has_m(shapes)
    if measured.any():
        flat = measured & ~shapely.has_z(shapes)
        shapes[flat] = shapely.force_2d(shapes[flat])
        high = measured & ~flat
        shapes[high] = shapely.from_wkb(
            shapely.to_wkb(shapes[high], flavor="iso", output_dimension=3)
        )
    return shapes


def _damaged(path: Path, error: Exception | None = None) -> SourceUnreadable:
    text = str(error).replace(f"{path.parent}/", "").splitlines()[:1] if error else []
    why = f" ({text[0][:200]})" if text else ""
    return SourceUnreadable(path.stem, "geometries", f"it is damaged or cut short{why}")


def columns_of(schema: Any) -> Sequence[dict[str, str]]:
    """Return the columns of a schema as STAC's extension `table` lists them."""
    return [{"name": field.name, "type": _type_name(field.type)} for field in schema]


def _type_name(kind: Any) -> str:
    return "json" if isinstance(kind, pa.JsonType) else str(kind)
