"""Joining two cubes along their labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Geometries, Kind, Label, Mask, Pixels, Values, all_valid
from terrazzo.cube.pixels import known_everywhere
from terrazzo.errors import (
    ArgumentInvalid,
    IncompatibleDataCubes,
    IncompatibleGeometryTypes,
    OverlapUnresolved,
)
from terrazzo.geo.times import parse_time
from terrazzo.processes.cube_schemas import OverlapResolver
from terrazzo.processes.kernels import where
from terrazzo.processes.labels import named_labels
from terrazzo.processes.registry import Place, Role, Rules, process
from terrazzo.processes.returned import as_pixels
from terrazzo.processes.schemas import AnyCube, Callback, Context


@process(
    "merge_cubes",
    Role.CUBE,
    categories=("cubes",),
    rules=Rules(labels=named_labels, joins=True, scratch=2.0),
)
def merge_cubes(
    cube1: AnyCube,
    cube2: AnyCube,
    overlap_resolver: OverlapResolver = None,
    context: Context = None,
    *,
    place: Place | None = None,
) -> AnyCube:
    """Join two cubes into one that has the labels of both.

    Where both have pixels for the same labels, `overlap_resolver` makes one value of the two;
    where the extent of one ends, the other's values stand. A cube that lacks a dimension of the
    other holds for all labels of it.

    Args:
        cube1: (..., y, x) or vector cube; its grid is that of the result.
        cube2: a cube whose dimensions are among those of `cube1`, or the other way round.
        overlap_resolver: called with the values of `cube1` as `x` and of `cube2` as `y`.
        context: passed on to `overlap_resolver`.
        place: the extents of both cubes; None for cubes that are whole.

    Returns:
        The dimensions of the cube that has more of them. Dates are in order; other labels are
        those of `cube1`, then the rest of `cube2`. No-data where neither cube has a value. The
        type is one that holds the values of both.

    Raises:
        OverlapResolverMissing: both cubes have values for the same labels.
        IncompatibleDataCubes: the dimensions do not fit together.
        IncompatibleGeometryTypes: one cube has points and the other lines or polygons.

    Source:
        openEO process `merge_cubes` 2.0.0-rc.2.
    """
    wide = _wide(cube1, cube2)
    first, second = _spread(cube1, cube2, wide), _spread(cube2, cube1, wide)
    dimensions = tuple(
        dimension
        if dimension.kind is Kind.SPATIAL
        else replace(dimension, labels=_joined(first.dimensions[axis], second.dimensions[axis]))
        for axis, dimension in enumerate(wide.dimensions)
    )
    shared = tuple(
        tuple(filter(set(b.labels).__contains__, a.labels))
        for a, b in zip(first.dimensions, second.dimensions, strict=True)
        if a.kind is not Kind.SPATIAL
    )
    full = all(a == b for a, b in zip(first.dimensions, second.dimensions, strict=True))
    if overlap_resolver is None and all(shared):
        overlap = "; ".join(
            f"{dimension.name}: {', '.join(map(str, labels[:5]))}"
            for dimension, labels in zip(_labelled(dimensions), shared, strict=True)
        )
        raise OverlapUnresolved(
            f"Both cubes have values for the same labels ({overlap or 'every pixel'}). Give an "
            "`overlap_resolver` such as `mean` or `max` that makes one value of two, or add a "
            "dimension to both with `add_dimension` to keep the two."
        )
    inside = (_inside(first, place, "cube1"), _inside(second, place, "cube2"))
    merge = _Merge(first, second, dimensions, overlap_resolver, context, inside)
    values, valid = merge.whole() if full else merge.parts(shared)
    merged = replace(wide, values=values, valid=valid, dimensions=dimensions)
    return replace(merged, geometries=_joined_geometries(cube1, cube2, merged))


@dataclass(frozen=True, slots=True)
class _Merge:
    """Two cubes with the same axes, and what their values are joined with."""

    first: Cube
    second: Cube
    dimensions: tuple[Dimension, ...]
    resolver: Callback | None
    context: Any
    inside: tuple[Mask | None, Mask | None]
    """(y, x) where each cube has pixels at all; None = everywhere."""

    def resolved(self, first: Pixels, second: Pixels) -> Pixels:
        """Make one value of two where both cubes have pixels."""
        if self.resolver is None:
            return first
        result = self.resolver(x=first, y=second, context=self.context)
        joined = as_pixels(result, first.shape, np.result_type(first.dtype, second.dtype))
        for other, held in ((second, self.inside[0]), (first, self.inside[1])):
            if held is not None:
                kind = np.result_type(joined.dtype, other.dtype)
                joined = Pixels(
                    where(held, joined.values, other.values.astype(kind, copy=False)),
                    where(held, joined.valid, other.valid),
                )
        return joined

    def dtype(self, *, full: bool) -> np.dtype[Any]:
        """Return the type of the result, which must not depend on the labels that are there.

        That is why the resolver is asked with no pixels at all, whether or not it is needed.
        """
        both = np.result_type(self.first.dtype, self.second.dtype)
        if self.resolver is None:
            return both
        nothing = np.zeros(0, np.bool_)
        result = self.resolver(
            x=Pixels(np.zeros(0, self.first.dtype), nothing),
            y=Pixels(np.zeros(0, self.second.dtype), nothing),
            context=self.context,
        )
        resolved = as_pixels(result, (0,), both).dtype
        if resolved.kind == "b" and both.kind != "b":
            # In a block one cube may have labels that are not wanted; they don't count.
            if full or not self.first.has_all_labels:
                return resolved
            raise ArgumentInvalid(
                "The overlap resolver returns truth values, and the labels that do not overlap "
                "have numbers. It must return numbers, or the cubes must have the same labels."
            )
        return np.result_type(both, resolved)

    def whole(self) -> tuple[Values, Values]:
        """Join cubes whose labels are the same."""
        pixels = self.resolved(
            Pixels(self.first.values, self.first.valid),
            Pixels(self.second.values, self.second.valid),
        )
        return pixels.values.astype(self.dtype(full=True), copy=False), pixels.valid

    def parts(self, shared: tuple[tuple[Label, ...], ...]) -> tuple[Values, Values]:
        """Join cubes whose labels differ somewhere; `shared` are those that both have."""
        sources = [self.second, self.first]
        if all(shared):
            first, second = (_taken(cube, shared) for cube in (self.first, self.second))
            both = self.resolved(
                Pixels(first.values, first.valid), Pixels(second.values, second.valid)
            )
            sources.insert(0, first.same_pixels(both.values, both.valid))
        pixels = self.first.values.shape[len(shared) :]
        dtype = self.dtype(full=False)
        joined = _foremost(sources, _labelled(self.dimensions), pixels, dtype)
        return joined.values.astype(dtype, copy=False), joined.valid


def _foremost(
    sources: Sequence[Cube],
    dimensions: Sequence[Dimension],
    pixels: tuple[int, ...],
    dtype: np.dtype[Any],
    axis: int = 0,
) -> Pixels:
    """Return the pixels of the first source that has them, for all labels from `axis` on.

    The dimensions before `axis` are as the sources have them; `dtype` holds what they have.
    """
    shape = (*(len(dimension.labels) for dimension in dimensions), *pixels)
    if not sources or not math.prod(shape[: len(dimensions)]):
        return Pixels(np.zeros(shape, dtype), np.zeros(shape, np.bool_))
    if axis == len(dimensions):
        return Pixels(sources[0].values, sources[0].valid)
    dimension, name = dimensions[axis], dimensions[axis].name
    places = [
        {label: place for place, label in enumerate(source.dimension(name).labels)}
        for source in sources
    ]
    parts = []
    for having, run in groupby(dimension.labels, lambda label: [label in p for p in places]):
        labels = tuple(run)
        cut = [
            source.take(name, [known[label] for label in labels])
            for source, known, has in zip(sources, places, having, strict=True)
            if has
        ]
        within = (*dimensions[:axis], replace(dimension, labels=labels), *dimensions[axis + 1 :])
        parts.append(_foremost(cut, within, pixels, dtype, axis + 1))
    if len(parts) == 1:
        return parts[0]
    values = np.concatenate([part.values for part in parts], axis)
    if all(known_everywhere(part.valid) for part in parts):
        return Pixels(values, all_valid(shape))
    return Pixels(values, np.concatenate([part.valid for part in parts], axis))


def _taken(cube: Cube, labels: Sequence[Sequence[Label]]) -> Cube:
    """Return a cube with only these labels, in this order."""
    for dimension, wanted in zip(_labelled(cube.dimensions), labels, strict=True):
        places = {label: place for place, label in enumerate(dimension.labels)}
        cube = cube.take(dimension.name, [places[label] for label in wanted])
    return cube


def _inside(cube: Cube, place: Place | None, name: str) -> Mask | None:
    """Return (y, x) where a cube has pixels; None where its extent holds the whole window."""
    extent = place.extents.get(name) if place is not None else None
    if extent is None or cube.window is None or extent.contains(cube.window):
        return None
    held = np.zeros((cube.window.height, cube.window.width), np.bool_)
    held[cube.window.slices(extent.intersection(cube.window))] = True
    return held


def _wide(cube1: Cube, cube2: Cube) -> Cube:
    """Return the cube with more dimensions, having checked that the other one's fit into it."""
    if (cube1.grid is None) != (cube2.grid is None):
        raise IncompatibleDataCubes("A raster cube cannot be merged with one that has no pixels.")
    wide, narrow = (cube1, cube2) if set(cube2.names) <= set(cube1.names) else (cube2, cube1)
    for dimension in narrow.dimensions:
        if dimension.name not in wide.names or (
            wide.dimension(dimension.name).kind is not dimension.kind
        ):
            raise IncompatibleDataCubes(
                f"The cubes have the dimensions {_told(cube1)} and {_told(cube2)}. One of them "
                "must have all dimensions of the other, of the same type. Use `rename_dimension`, "
                "`add_dimension` or `drop_dimension`."
            )
    return wide


def _told(cube: Cube) -> str:
    return ", ".join(f"{d.name} ({d.kind})" for d in cube.dimensions) or "none"


def _spread(cube: Cube, other: Cube, wide: Cube) -> Cube:
    """Return a cube with the axes of the wide one, repeated along those that it lacks."""
    order = [cube.axis(name) for name in wide.names if name in cube.names]
    values, valid = cube.values.transpose(order), cube.valid.transpose(order)
    dimensions = []
    for axis, name in enumerate(wide.names):
        if name in cube.names:
            dimensions.append(cube.dimension(name))
            continue
        dimensions.append(other.dimension(name))
        values, valid = np.expand_dims(values, axis), np.expand_dims(valid, axis)
    shape = tuple(
        length if dimension.name in cube.names else len(dimension.labels)
        for dimension, length in zip(dimensions, values.shape, strict=True)
    )
    return replace(
        cube,
        values=np.broadcast_to(values, shape),
        valid=np.broadcast_to(valid, shape),
        dimensions=tuple(dimensions),
    )


def _joined(first: Dimension, second: Dimension) -> tuple[Label, ...]:
    """Return the labels of both, dates in order."""
    labels = tuple(dict.fromkeys((*first.labels, *second.labels)))
    if first.kind is not Kind.TEMPORAL or first.labels == second.labels:
        return labels
    try:
        instants = {label: parse_time(str(label)) for label in labels}
    except ArgumentInvalid:
        return tuple(sorted(labels, key=str))  # names of periods: their text is in order
    return tuple(sorted(labels, key=instants.__getitem__))


def _labelled(dimensions: Sequence[Dimension]) -> list[Dimension]:
    return [dimension for dimension in dimensions if dimension.kind is not Kind.SPATIAL]


def _joined_geometries(cube1: Cube, cube2: Cube, merged: Cube) -> Geometries | None:
    if not merged.has(Kind.GEOMETRY):
        return None
    known = [
        (label, held.shapes[index], held.properties[index], held.crs)
        for cube in (cube2, cube1)
        if (held := cube.geometries) is not None
        for index, label in enumerate(cube.only(Kind.GEOMETRY).labels)
    ]
    if len({crs for *_, crs in known}) > 1:
        raise IncompatibleDataCubes("The geometries of the two cubes have different CRS.")
    bases = {shape.geom_type.removeprefix("Multi") for _, shape, *_ in known if not shape.is_empty}
    if len(bases) > 1:
        raise IncompatibleGeometryTypes(
            f"The geometries are {' and '.join(sorted(bases))}. Merge cubes of one type only."
        )
    by_label = {label: (shape, properties) for label, shape, properties, _ in known}
    labels = [label for label in merged.only(Kind.GEOMETRY).labels if label in by_label]
    return Geometries(
        tuple(by_label[label][0] for label in labels),
        known[0][3] if known else "EPSG:4326",
        tuple(by_label[label][1] for label in labels),
    )
