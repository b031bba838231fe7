"""Joining two cubes along their labels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Geometries, Kind, Label, Mask, Pixels, Values, all_valid
from terrazzo.cube.pixels import known_everywhere
from terrazzo.errors import ArgumentInvalid, IncompatibleDataCubes, OverlapUnresolved
from terrazzo.processes.cube_schemas import OverlapResolver
from terrazzo.processes.geometries import matched
from terrazzo.processes.kernels import where
from terrazzo.processes.labels import chronological, instant_of, named_labels
from terrazzo.processes.operands import all_of
from terrazzo.processes.registry import Labels, Place, Role, Rules, process
from terrazzo.processes.returned import as_pixels
from terrazzo.processes.schemas import AnyCube, Callback, Context


def _labels_of_both(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    """Need of each cube the labels of the same name, or of the same instant."""
    first = inputs.get("cube1", arguments.get("cube1"))
    told = dict(inputs)
    if first is not None and "cube2" in inputs:
        told["cube2"] = _in_words_of(first, inputs["cube2"])
    return named_labels(wanted, output, told, arguments)


@process(
    "merge_cubes",
    Role.CUBE,
    categories=("cubes",),
    rules=Rules(labels=_labels_of_both, joins=True, scratch=3.0),
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
    where only one has, its values stand. A cube that lacks a dimension of the other, x and y
    too, holds for all labels of it. A raster on another grid is resampled to that of the first,
    each pixel from the nearest.

    Args:
        cube1: any cube; if it is a raster, its grid is that of the result.
        cube2: a cube that shares a dimension with `cube1`, by name and type. Dates are the same
            label if they are the same instant, geometries if they are equal.
        overlap_resolver: called with the values of `cube1` as `x` and of `cube2` as `y`.
        context: passed on to `overlap_resolver`.
        place: the extents of both cubes; None for cubes that are whole.

    Returns:
        The dimensions of both, as the cube that has more of them orders them. Dates are in
        order; other labels are those of `cube1`, then the rest of `cube2`. No-data where neither
        cube has a value. The type is one that holds the values of both; where the resolver makes
        truth values of numbers, pixels that only one cube has are no-data.

    Raises:
        OverlapResolverMissing: both cubes have values for the same labels.
        IncompatibleDataCubes: the dimensions do not fit together.
        IncompatibleGeometryTypes: one cube has points and the other lines or polygons.

    Source:
        openEO process `merge_cubes` 2.0.0-rc.2; OGC Simple Features (equality of geometries).
    """
    axes = _axes(cube1, cube2)
    cube2 = _in_words_of(cube1, cube2)
    first, second = _spread(cube1, axes, cube2), _spread(cube2, axes, cube1)
    dimensions = tuple(
        dimension
        if dimension.kind is Kind.SPATIAL
        else _joined(first.dimensions[axis], second.dimensions[axis])
        for axis, dimension in enumerate(axes)
    )
    shared = tuple(
        tuple(filter(set(b.labels).__contains__, a.labels))
        for a, b in zip(first.dimensions, second.dimensions, strict=True)
        if a.kind is not Kind.SPATIAL
    )
    if overlap_resolver is None and all(shared) and first.has_all_labels:
        _check_apart(_labelled(dimensions), shared, place)
    inside = (_inside(first, place, "cube1"), _inside(second, place, "cube2"))
    merge = _Merge(first, second, dimensions, overlap_resolver, context, inside)
    values, valid = merge.pixels(shared)
    merged = replace(first, values=values, valid=valid, dimensions=dimensions)
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
        """Make one value of two where both cubes have pixels.

        Without a resolver they have none in common: one is there or the other.
        """
        both = np.result_type(first.dtype, second.dtype)
        if self.resolver is None:
            one, two = (p.values.astype(both, copy=False) for p in (first, second))
            return Pixels(where(first.valid, one, two), first.valid | second.valid)
        result = self.resolver(x=first, y=second, context=self.context)
        joined = as_pixels(result, first.shape, both)
        for other, held in ((second, self.inside[0]), (first, self.inside[1])):
            if held is None:
                continue
            if joined.dtype.kind == "b" and both.kind != "b":
                joined = Pixels(joined.values, all_of(joined.shape, joined.valid, held))
                continue
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

    def pixels(self, shared: tuple[tuple[Label, ...], ...]) -> tuple[Values, Values]:
        """Join values and masks; `shared` are the labels that both cubes have."""
        labelled = _labelled(self.dimensions)
        full = all(len(d.labels) == len(both) for d, both in zip(labelled, shared, strict=True))
        if full:
            shared = tuple(dimension.labels for dimension in labelled)
        dtype, sources = self.dtype(full=full), [self.second, self.first]
        if all(shared):
            first, second = (_taken(cube, shared) for cube in (self.first, self.second))
            both = self.resolved(
                Pixels(first.values, first.valid), Pixels(second.values, second.valid)
            )
            if full:
                return both.values.astype(dtype, copy=False), both.valid
            sources.insert(0, first.same_pixels(both.values, both.valid))
        lengths = self.first.values.shape[len(shared) :]
        joined = _foremost(sources, labelled, lengths, dtype)
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


def _check_apart(
    dimensions: Sequence[Dimension], shared: tuple[tuple[Label, ...], ...], place: Place | None
) -> None:
    """Refuse cubes that have the same labels, unless their pixels lie apart.

    Raises:
        OverlapUnresolved: both cubes may have values for the same labels and pixels.
    """
    extents = tuple(place.extents.values()) if place is not None else ()
    if len(extents) == 2 and extents[0].intersection(extents[1]).is_empty:  # noqa: PLR2004 - both
        return
    overlap = "; ".join(
        f"{dimension.name}: {', '.join(map(str, labels[:5]))}"
        for dimension, labels in zip(dimensions, shared, strict=True)
    )
    raise OverlapUnresolved(
        f"Both cubes have values for the same labels ({overlap or 'every pixel'}). Give an "
        "`overlap_resolver` such as `mean` or `max` that makes one value of two, or add a "
        "dimension to both with `add_dimension` to keep the two."
    )


def _inside(cube: Cube, place: Place | None, name: str) -> Mask | None:
    """Return (y, x) where a cube has pixels; None where its extent holds the whole window."""
    extent = place.extents.get(name) if place is not None else None
    if extent is None or cube.window is None or extent.contains(cube.window):
        return None
    held = np.zeros((cube.window.height, cube.window.width), np.bool_)
    held[cube.window.slices(extent.intersection(cube.window))] = True
    return held


def _axes(cube1: Cube, cube2: Cube) -> tuple[Dimension, ...]:
    """Return the dimensions of both, having checked that they fit together; x and y last.

    Raises:
        IncompatibleDataCubes: they share none, or one stands for another.
    """
    kinds = {dimension.name: dimension.kind for dimension in cube1.dimensions}
    lone1 = [d for d in cube1.dimensions if d.name not in cube2.names]
    lone2 = [d for d in cube2.dimensions if d.name not in kinds]
    same = all(kinds.get(d.name, d.kind) is d.kind for d in cube2.dimensions)
    exchanged = {d.kind for d in lone1} & {d.kind for d in lone2} - {Kind.OTHER}
    strangers = lone1 and lone2 and len(lone1) == len(cube1.dimensions)
    present = {d.kind for d in (*cube1.dimensions, *cube2.dimensions)}
    if {Kind.SPATIAL, Kind.GEOMETRY} <= present:
        raise IncompatibleDataCubes(
            f"A raster and a vector cube cannot be merged: {_told(cube1)}; {_told(cube2)}. Use "
            "`aggregate_spatial` to bring the raster to the geometries."
        )
    if not same or exchanged or strangers:
        raise IncompatibleDataCubes(
            f"The cubes have the dimensions {_told(cube1)} and {_told(cube2)}. They must share at "
            "least one; those of one name must be of one type, and those of one type of one name. "
            "Use `rename_dimension`, `add_dimension` or `drop_dimension`."
        )
    turned = len(cube2.dimensions) > len(cube1.dimensions)
    every = (*cube2.dimensions, *lone1) if turned else (*cube1.dimensions, *lone2)
    return (*_labelled(every), *(d for d in every if d.kind is Kind.SPATIAL))


def _told(cube: Cube) -> str:
    return ", ".join(f"{d.name} ({d.kind})" for d in cube.dimensions) or "none"


def _spread(cube: Cube, axes: Sequence[Dimension], other: Cube) -> Cube:
    """Return a cube with these axes, repeated along those of the other one that it lacks."""
    order = [cube.axis(axis.name) for axis in axes if axis.name in cube.names]
    values, valid = cube.values.transpose(order), cube.valid.transpose(order)
    shape = []
    for number, axis in enumerate(axes):
        if axis.name in cube.names:
            shape.append(values.shape[number])
            continue
        shape.append(other.values.shape[other.axis(axis.name)])
        values, valid = np.expand_dims(values, number), np.expand_dims(valid, number)
    return replace(
        cube,
        values=np.broadcast_to(values, tuple(shape)),
        valid=np.broadcast_to(valid, tuple(shape)),
        dimensions=tuple(
            (cube if axis.name in cube.names else other).dimension(axis.name) for axis in axes
        ),
        grid=cube.grid if cube.grid is not None else other.grid,
        window=cube.window if cube.window is not None else other.window,
    )


def _in_words_of(first: Cube, second: Cube) -> Cube:
    """Return the second cube, its labels called as in the first where they are the same.

    Dates are the same if they are the same instant, geometries if they are equal.
    """
    if first.geometries is not None and second.geometries is not None:
        second = matched(first, second)
    for axis, dimension in enumerate(second.dimensions):
        if dimension.kind is not Kind.TEMPORAL or dimension.name not in first.names:
            continue
        known = first.dimension(dimension.name).labels
        if set(dimension.labels) <= set(known):
            continue
        words = {instant_of(label): label for label in known if instant_of(label) is not None}
        labels = tuple(
            label if label in known else words.get(instant_of(label), label)
            for label in dimension.labels
        )
        if len(set(labels)) == len(labels):
            named = second.with_dimension(axis, replace(dimension, labels=labels))
            second = replace(second, dimensions=named)
    return second


def _joined(first: Dimension, second: Dimension) -> Dimension:
    """Return a dimension with the labels of both, dates in order."""
    labels = tuple(dict.fromkeys((*first.labels, *second.labels)))
    if first.kind is Kind.TEMPORAL:
        labels = chronological(labels)
    return replace(first, labels=labels, facts={**second.facts, **first.facts})


def _labelled(dimensions: Sequence[Dimension]) -> list[Dimension]:
    return [dimension for dimension in dimensions if dimension.kind is not Kind.SPATIAL]


def _joined_geometries(cube1: Cube, cube2: Cube, merged: Cube) -> Geometries | None:
    """Return the geometries of both; attributes of equal ones are put together."""
    known: dict[Label, tuple[Any, dict[str, Any]]] = {}
    found: Geometries | None = None
    for cube in (cube2, cube1):
        if cube.geometries is None:
            continue
        found = cube.geometries
        labels = cube.only(Kind.GEOMETRY).labels
        for label, shape, own in zip(labels, found.shapes, found.properties, strict=True):
            attributes = known.get(label, (shape, {}))[1]
            known[label] = shape, {**attributes, **own}
    if found is None:
        return None
    labels = merged.only(Kind.GEOMETRY).labels
    return replace(
        found,
        shapes=tuple(known[label][0] for label in labels),
        properties=tuple(known[label][1] for label in labels),
    )
