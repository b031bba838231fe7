"""The polygons of an extraction: taken in once, repaired, and kept beside the table."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from terrazzo.drivers.described import checksum
from terrazzo.drivers.result_facts import degrees_box
from terrazzo.errors import ArgumentInvalid, suggest
from terrazzo.geo.crs import WGS84, is_geographic, transformer
from terrazzo.storage.gate import Gate
from terrazzo.storage.vectors.features import Asked, open_features
from terrazzo.storage.vectors.geotable import geotable
from terrazzo.storage.vectors.reading import SIDECARS
from terrazzo.storage.vectors.stored import free_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.geo.grid import Bounds, Grid
    from terrazzo.storage.vectors.features import Features

    Shapes = NDArray[np.object_]
    Ints = NDArray[np.int64]

FILE: Final = "polygons.parquet"
ID, REPAIRED, GEOMETRY = "id", "repaired", "geometry"
_SOURCE: Final = b"terrazzo:source"
_CRS: Final = b"terrazzo:crs"
_ROWS: Final = 65_536
_HALF, _TURN, _ZONES = 180.0, 360.0, 60
_POLAR: Final = 84.0
"""Degrees beyond which there are no UTM zones."""
_AREAS: Final = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
_LINES: Final = (
    shapely.GeometryType.LINESTRING,
    shapely.GeometryType.LINEARRING,
    shapely.GeometryType.MULTILINESTRING,
)


@dataclass(frozen=True, eq=False)
class Polygons:
    """The polygons, lines or points of an extraction, in the order of their file."""

    path: Path
    """GeoParquet with an id, the attributes, whether it was repaired, and the geometry."""
    crs: str
    """Canonical name of the CRS of the coordinates."""
    ids: Any
    """Arrow array of what names them: unique, whole numbers or texts."""
    repaired: Ints
    """Positions of those that were invalid."""
    buffer_m: float = 0.0
    """By how much they are grown before pixels are weighed, metres; negative shrinks."""

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def rank(self) -> Ints:
        """(n,) place of each in the order of the ids."""
        order = pc.sort_indices(self.ids).to_numpy()
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return rank

    def named(self, positions: Ints) -> tuple[Any, ...]:
        """Return the ids at some positions."""
        return tuple(self.ids.take(pa.array(positions)).to_pylist())

    def attribute(self, name: str) -> Any:
        """Return an attribute as an Arrow array.

        Raises:
            ArgumentInvalid: there is none of that name.
        """
        names = [n for n in pq.read_schema(self.path).names if n not in {GEOMETRY, REPAIRED}]
        if name not in names:
            raise ArgumentInvalid(
                f"The polygons have no attribute {name!r}.{suggest(name, names)} Attributes: "
                f"{', '.join(names)[:500]}."
            )
        return pq.read_table(self.path, columns=[name]).column(0).combine_chunks()

    @property
    def degrees(self) -> Bounds | None:
        """Bounds of all of them, degrees; None where there is none."""
        geo = json.loads(pq.read_schema(self.path).metadata[b"geo"])
        bounds = geo["columns"][GEOMETRY].get("bbox")
        return None if bounds is None else degrees_box([shapely.box(*bounds)], self.crs)

    def shapes(self) -> Shapes:
        """Return the geometries, grown by `buffer_m`; None where there is none."""
        parts = [np.empty(0, dtype=object)]
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(_ROWS, columns=[GEOMETRY]):
                wkb = batch.column(0).to_numpy(zero_copy_only=False)
                shapes: Shapes = shapely.from_wkb(wkb)
                parts.append(buffered(shapes, self.crs, self.buffer_m))
        return np.concatenate(parts)


def take_in(
    source: Path, folder: Path, *, id_column: str = "", crs: str = "", buffer_m: float = 0.0
) -> Polygons:
    """Keep the polygons of a file in the folder of an extraction, unless they are there.

    Invalid rings are repaired; of collections the parts of the highest dimension are kept.

    Args:
        source: GeoParquet, GeoPackage, Shapefile or GeoJSON.
        folder: is there.
        id_column: attribute that names them; their position otherwise.
        crs: of the coordinates, where the file does not say.
        buffer_m: by how much they are grown, metres; the file keeps them as they are.

    Raises:
        ArgumentInvalid: no geometry, no CRS known, no such attribute, or ids that are not unique.
        SourceUnreadable: the file is gone or damaged.
        OutputFailed: the folder cannot be written.
    """
    path = folder / FILE
    stamp = json.dumps([fingerprint(source), id_column, crs]).encode()
    if not path.exists() or (pq.read_schema(path).metadata or {}).get(_SOURCE) != stamp:
        asked = Asked(crs=crs, fid=id_column)
        with open_features(source, Gate((source.parent,)), asked) as features:
            _write(path, features, source.name, id_column, stamp)
    return kept(folder, buffer_m=buffer_m)


def kept(folder: Path, *, buffer_m: float = 0.0) -> Polygons:
    """Return the polygons of an extraction.

    Args:
        folder: of the extraction.
        buffer_m: by how much they are grown, metres.

    Raises:
        ArgumentInvalid: the folder holds none.
    """
    path = folder / FILE
    try:
        table = pq.read_table(path, columns=[ID, REPAIRED])
        told = pq.read_schema(path).metadata[_CRS].decode()
    except (OSError, pa.ArrowException, LookupError, TypeError) as error:
        raise ArgumentInvalid(
            f"{folder} holds no polygons of an extraction ({type(error).__name__} with {FILE}). "
            "Make them with `terrazzo extract GRAPH.json POLYGONS -o FOLDER`."
        ) from error
    repaired = np.flatnonzero(table.column(REPAIRED).to_numpy())
    return Polygons(path, told, table.column(ID).combine_chunks(), repaired, buffer_m)


def fingerprint(source: Path) -> str:
    """Return a checksum of a file of polygons, with the files that belong to it."""
    beside = [source.with_suffix(ending) for ending in SIDECARS]
    files = [source, *(f for f in beside if f.is_file())] if source.suffix == ".shp" else [source]
    sums = [checksum(file) for file in files]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def _write(path: Path, features: Features, name: str, id_column: str, stamp: bytes) -> None:
    attributes = [field for field in features.schema if field.name != id_column]
    if id_column and id_column not in features.schema.names:
        raise ArgumentInvalid(
            f"{name!r} has no attribute {id_column!r}.{suggest(id_column, features.schema.names)} "
            f"Attributes: {', '.join(features.schema.names)[:500] or 'none'}."
        )
    taken = [ID, REPAIRED, GEOMETRY]
    fields = []
    for field in attributes:
        fields.append(field.with_name(free_name(field.name, taken)))
        taken.append(fields[-1].name)
    kind = _id_type(features.schema.field(id_column).type) if id_column else pa.int64()
    schema = pa.schema([pa.field(ID, kind), *fields, pa.field(REPAIRED, pa.bool_())])
    told = {_SOURCE: stamp, _CRS: features.crs.encode()}
    ids = []
    count = 0
    with geotable(path, schema, features.crs, told) as write:
        for batch, found in features.batches:
            shapes, mended = repaired(found)
            if id_column:
                ids.append(batch.column(id_column).cast(kind))
            else:
                ids.append(pa.array(np.arange(count, count + len(shapes))))
            columns = [batch.column(field.name) for field in attributes]
            write([ids[-1], *columns, pa.array(mended)], shapes)
            count += len(shapes)
        if not count:
            raise ArgumentInvalid(f"{name!r} holds no geometry. Give a file with at least one.")
        if id_column:
            _check_ids(pa.chunked_array(ids), name, id_column)


def _id_type(kind: Any) -> Any:
    """Return the type that ids have: whole numbers, or else texts."""
    return pa.int64() if pa.types.is_integer(kind) else pa.string()


def _check_ids(ids: Any, name: str, column: str) -> None:
    """Refuse ids that do not tell polygons apart."""
    if ids.null_count:
        raise ArgumentInvalid(
            f"{ids.null_count} features of {name!r} have no {column!r}. Choose another attribute "
            "with --id, or leave it out to count them by their position."
        )
    counts = pc.value_counts(ids)
    if len(counts) < len(ids):
        again = pc.filter(counts.field(0), pc.greater(counts.field(1), 1))
        raise ArgumentInvalid(
            f"{column!r} of {name!r} does not tell the features apart: {len(again)} values occur "
            f"more than once, for example {again[0].as_py()!r}. Choose another attribute with "
            "--id, or leave it out to count them by their position."
        )


def repaired(shapes: Shapes) -> tuple[Shapes, NDArray[np.bool_]]:
    """Return geometries that can be weighed, and which of them were invalid.

    Geometries with coordinates that are no numbers become None.
    """
    with np.errstate(invalid="ignore"):
        found: Shapes = shapely.force_2d(shapes)
        points, owner = shapely.get_coordinates(found, return_index=True)
        found[np.unique(owner[~np.isfinite(points).all(axis=1)])] = None
        there = ~shapely.is_missing(found)
        broken = ~shapely.is_valid(found) & there
    for index in np.flatnonzero(broken):
        found[index] = shapely.make_valid(found[index])
    mixed = shapely.get_type_id(found) == shapely.GeometryType.GEOMETRYCOLLECTION
    for index in np.flatnonzero(mixed):
        found[index] = _highest(found[index])
    return found, broken


def _highest(shape: Any) -> Any:
    """Return the parts of a collection that have the highest dimension, as one geometry."""
    parts = np.array([shape], dtype=object)
    while (shapely.get_type_id(parts) == shapely.GeometryType.GEOMETRYCOLLECTION).any():
        parts = shapely.get_parts(parts)
    if not parts.size:
        return None
    kinds = shapely.get_dimensions(parts)
    return shapely.union_all(parts[kinds == kinds.max()])


def buffered(shapes: Shapes, crs: str, metres: float) -> Shapes:
    """Return geometries grown by metres, each in the UTM zone of its place; negative shrinks."""
    if not metres:
        return shapes
    grown = np.full(len(shapes), None, dtype=object)
    zones = _zones(shapes, crs)
    for zone in np.unique(zones[zones > 0]):
        there = np.flatnonzero(zones == zone)
        local = f"EPSG:{zone}"
        flat = shapely.buffer(_projected(shapes[there], crs, local), metres)
        grown[there] = _projected(flat, local, crs)
    return grown


def _zones(shapes: Shapes, crs: str) -> Ints:
    """Return the EPSG code of the metric CRS of each geometry's place; 0 where it has none."""
    boxes = shapely.bounds(shapes)
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    if crs != WGS84:
        x, y = transformer(crs, WGS84).transform(x, y)
    there = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(there, x, 0.0), np.where(there, y, 0.0)
    zone = (np.floor((x + _HALF) / (_TURN / _ZONES)).astype(np.int64) % _ZONES) + 1
    zone = np.where(np.abs(y) > _POLAR, 61, zone)
    return np.where(there, np.where(y < 0, 32700, 32600) + zone, 0)


def in_grid(shapes: Sequence[Any] | Shapes, crs: str, grid: Grid) -> Shapes:
    """Return geometries in the CRS of a grid, vertex by vertex; None where they have no place.

    On a grid in degrees they are also where the grid has them a turn further on.
    """
    placed = _projected(np.array([*shapes, None], dtype=object)[:-1], crs, grid.crs)
    if not is_geographic(grid.crs):
        return placed
    left, _, right, _ = grid.bounds
    boxes = shapely.bounds(placed)
    for turn in (-_TURN, _TURN):
        low, high = boxes[:, 0] + turn, boxes[:, 2] + turn
        for index in np.flatnonzero((low < right) & (high > left)):
            moved = shapely.transform(placed[index], lambda xy, by=turn: xy + np.array([by, 0.0]))
            placed[index] = shapely.union(placed[index], moved)
    return placed


def _projected(shapes: Shapes, crs: str, target: str) -> Shapes:
    if crs == target:
        return shapes.copy()
    into = transformer(crs, target).transform
    found: Shapes = shapely.transform(shapes, into, interleaved=False)
    points, owner = shapely.get_coordinates(found, return_index=True)
    found[np.unique(owner[~np.isfinite(points).all(axis=1)])] = None
    return found
