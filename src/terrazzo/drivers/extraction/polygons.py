"""The polygons of an extraction: taken in once, repaired, and kept beside the table."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
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
from terrazzo.geo.shapes import MIXED, highest
from terrazzo.storage.gate import Gate
from terrazzo.storage.vectors.features import Asked, open_features
from terrazzo.storage.vectors.geotable import geotable
from terrazzo.storage.vectors.reading import SIDECARS
from terrazzo.storage.vectors.stored import free_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from terrazzo.geo.grid import Bounds, Grid
    from terrazzo.storage.vectors.features import Features

    Shapes = NDArray[np.object_]
    Ints = NDArray[np.int64]

FILE: Final = "polygons.parquet"
ID, REPAIRED, GEOMETRY = "id", "repaired", "geometry"
_SOURCE: Final = b"terrazzo:source"
_CRS: Final = b"terrazzo:crs"
_ROWS: Final = 65_536
_LONGEST: Final = 200
"""Letters of somebody else's message."""
_HALF, _TURN, _ZONES = 180.0, 360.0, 60
_AREA: Final = 2
_POLAR: Final = 84.0
"""Degrees beyond which there are no UTM zones."""


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
    _read: list[Shapes] = field(default_factory=list, repr=False)
    """The geometries, where they have just been taken in; given away once."""

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
        """Return an attribute as an Arrow array; the one that names them may be asked for, too.

        Raises:
            ArgumentInvalid: there is none of that name.
        """
        schema = pq.read_schema(self.path)
        names = [n for n in schema.names if n not in {GEOMETRY, REPAIRED}]
        if name and name == json.loads(schema.metadata[_SOURCE])[1]:
            return self.ids
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

    def forget(self) -> None:
        """Let go of geometries that have just been taken in; they are read again if need be."""
        self._read.clear()

    def shapes(self) -> Shapes:
        """Return the geometries, grown by `buffer_m`; None where there is none."""
        if self._read:
            return buffered(self._read.pop(), self.crs, self.buffer_m)
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
            read = _write(path, features, source.name, id_column, stamp)
        found = kept(folder, buffer_m=buffer_m)
        return replace(found, _read=[read])
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


def same_polygons(source: Path, folder: Path, id_column: str, crs: str) -> bool:
    """Tell whether a file has the polygons of an extraction: ids, attributes, geometries, CRS.

    Args:
        source: another file, or the same one written anew.
        folder: of the extraction.
        id_column: attribute that names the polygons; their position otherwise.
        crs: of the coordinates, where the file does not say.

    Raises:
        ArgumentInvalid, SourceUnreadable: as `take_in`.
        OutputFailed: there is no room to compare them.
    """
    kept_path = folder / FILE
    if not kept_path.exists():
        return False
    with TemporaryDirectory(prefix="terrazzo-polygons-") as aside:
        other = take_in(source, Path(aside), id_column=id_column, crs=crs).path
        with pq.ParquetFile(kept_path) as mine, pq.ParquetFile(other) as theirs:
            one, two = mine.metadata, theirs.metadata
            alike = one.metadata.get(_CRS) == two.metadata.get(_CRS)
            alike &= mine.schema_arrow.equals(theirs.schema_arrow)
            alike &= one.num_row_groups == two.num_row_groups
            return alike and all(
                mine.read_row_group(n).equals(theirs.read_row_group(n))
                for n in range(one.num_row_groups)
            )


def fingerprint(source: Path) -> str:
    """Return a checksum of a file of polygons, with the files that belong to it."""
    beside = [source.with_suffix(ending) for ending in SIDECARS]
    files = [source, *(f for f in beside if f.is_file())] if source.suffix == ".shp" else [source]
    sums = [checksum(file) for file in files]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def _write(path: Path, features: Features, name: str, id_column: str, stamp: bytes) -> Shapes:
    """Write the polygons as they are kept; return their geometries."""
    attributes = [one for one in features.schema if one.name != id_column]
    if id_column and id_column not in features.schema.names:
        raise ArgumentInvalid(
            f"{name!r} has no attribute {id_column!r}.{suggest(id_column, features.schema.names)} "
            f"Attributes: {', '.join(features.schema.names)[:500] or 'none'}."
        )
    taken = [ID, REPAIRED, GEOMETRY]
    fields = []
    for one in attributes:
        fields.append(one.with_name(free_name(one.name, taken)))
        taken.append(fields[-1].name)
    kind = _id_type(features.schema.field(id_column).type) if id_column else pa.int64()
    schema = pa.schema([pa.field(ID, kind), *fields, pa.field(REPAIRED, pa.bool_())])
    told = {_SOURCE: stamp, _CRS: features.crs.encode()}
    ids = []
    read: list[Shapes] = []
    count = 0
    with geotable(path, schema, features.crs, told) as write:
        for batch, found in features.batches:
            shapes, mended = repaired(found)
            if id_column:
                ids.append(_ids(batch.column(id_column), kind, name, id_column))
            else:
                ids.append(pa.array(np.arange(count, count + len(shapes))))
            columns = [batch.column(one.name) for one in attributes]
            write([ids[-1], *columns, pa.array(mended)], shapes)
            read.append(shapes)
            count += len(shapes)
        if not count:
            raise ArgumentInvalid(f"{name!r} holds no geometry. Give a file with at least one.")
        if id_column:
            _check_ids(pa.chunked_array(ids), name, id_column)
    return np.concatenate(read)


def _id_type(kind: Any) -> Any:
    """Return the type that ids have: whole numbers, or else texts."""
    return pa.int64() if pa.types.is_integer(kind) else pa.string()


def _ids(column: Any, kind: Any, name: str, id_column: str) -> Any:
    """Return an attribute as ids.

    Raises:
        ArgumentInvalid: it holds lists or the like, or whole numbers that are too large.
    """
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ArgumentInvalid(
            f"{id_column!r} of {name!r} cannot name the features: it holds {column.type}, and ids "
            f"are texts or whole numbers below 2**63 ({str(error)[:_LONGEST]}). Choose another "
            "attribute with --id, or leave it out to count them by their position."
        ) from error


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
        found: Shapes = shapely.force_2d(shapes) if shapely.has_z(shapes).any() else shapes.copy()
        points, owner = shapely.get_coordinates(found, return_index=True)
        found[np.unique(owner[~np.isfinite(points).all(axis=1)])] = None
        there = ~shapely.is_missing(found)
        broken = ~shapely.is_valid(found) & there
    areas = shapely.get_dimensions(found) == _AREA
    mixed = shapely.get_type_id(found) == MIXED
    for index in np.flatnonzero(broken | mixed):
        valid = shapely.make_valid(found[index]) if broken[index] else found[index]
        kept = highest(valid, areas=bool(areas[index]))
        found[index] = None if kept.is_empty else kept
    return found, broken


def buffered(shapes: Shapes, crs: str, metres: float) -> Shapes:
    """Return geometries grown by metres, each in the UTM zone of its place; negative shrinks.

    In degrees one that is split at the antimeridian becomes whole, with longitudes beyond 180.
    """
    if not metres:
        return shapes
    turning = is_geographic(crs)
    whole = _joined(shapes) if turning else shapes
    grown: Shapes = np.full(len(shapes), None, dtype=object)
    zones = _zones(whole, crs)
    for zone in np.unique(zones[zones > 0]):
        there = np.flatnonzero(zones == zone)
        local = f"EPSG:{zone}"
        flat = shapely.buffer(_projected(whole[there], crs, local), metres)
        grown[there] = _projected(flat, local, crs)
    return _turned_to(whole, grown) if turning else grown


def _joined(shapes: Shapes) -> Shapes:
    """Return geometries in degrees, those whose parts lie on both sides of the map as one."""
    found = shapes.copy()
    boxes = shapely.bounds(shapes)
    for index in np.flatnonzero(boxes[:, 2] - boxes[:, 0] > _HALF):
        parts = shapely.get_parts(shapes[index])
        east = shapely.bounds(parts)[:, 2] <= 0
        parts[east] = shapely.transform(parts[east], lambda xy: xy + np.array([_TURN, 0.0]))
        joined = shapely.union_all(parts)
        left, _, right, _ = joined.bounds
        if right - left <= _HALF:
            found[index] = joined
    return found


def _turned_to(shapes: Shapes, grown: Shapes) -> Shapes:
    """Return geometries with longitudes that go on where those that they were made of do."""
    boxes = shapely.bounds(shapes)
    centre = (boxes[:, 0] + boxes[:, 2]) / 2
    points, owner = shapely.get_coordinates(grown, return_index=True)
    points[:, 0] += _TURN * np.round((centre[owner] - points[:, 0]) / _TURN)
    turned: Shapes = shapely.set_coordinates(grown, points)
    return turned


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
            placed[index] = _turned(placed[index], left, right)
    return placed


def _turned(shape: BaseGeometry, left: float, right: float) -> BaseGeometry:
    """Return a geometry in the turn of longitudes that has a grid in its middle, all of it once."""
    middle = (left + right) / 2
    turn = shapely.box(middle - _HALF, -_TURN, middle + _HALF, _TURN)
    copies = [
        shapely.transform(shape, lambda xy, by=by: xy + np.array([by, 0.0]))
        for by in (-_TURN, 0.0, _TURN)
    ]
    return shapely.union_all(shapely.intersection(copies, turn))


def _projected(shapes: Shapes, crs: str, target: str) -> Shapes:
    if crs == target:
        return shapes.copy()
    into = transformer(crs, target).transform
    found: Shapes = shapely.transform(shapes, into, interleaved=False)
    points, owner = shapely.get_coordinates(found, return_index=True)
    found[np.unique(owner[~np.isfinite(points).all(axis=1)])] = None
    return found
