"""Changes of dimensions and labels that leave the pixels as they are."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind, Label, all_valid
from terrazzo.cube.pixels import known_everywhere
from terrazzo.errors import (
    ArgumentInvalid,
    DimensionExists,
    DimensionLabelCountMismatch,
    LabelExists,
    LabelMismatch,
    LabelNotAvailable,
    LabelsNotEnumerated,
    TargetDimensionExists,
)
from terrazzo.processes.cube_schemas import (
    DimensionType,
    LabelArray,
    NewLabels,
    OneLabel,
    Text,
)
from terrazzo.processes.labels import labelled_dimension, without
from terrazzo.processes.registry import Labels, Place, Role, Rules, process, same_labels
from terrazzo.processes.schemas import AnyCube, Schema

_TEXTS = {"type": "array", "uniqueItems": True, "items": {"type": "string"}}

Names = Annotated[Sequence[str], Schema(_TEXTS)]
SeveralNames = Annotated[Sequence[str], Schema(_TEXTS | {"minItems": 2})]
Separator = Annotated[str, Schema({"type": "string", "minLength": 1})]


@process(
    "drop_dimension",
    Role.CUBE,
    categories=("cubes",),
    rules=Rules(labels=same_labels, relays=True, scratch=0.0),
)
def drop_dimension(data: AnyCube, name: Text) -> AnyCube:
    """Remove a dimension that has one label.

    Args:
        data: any cube.
        name: the dimension to remove.

    Returns:
        The cube without that dimension, other pixels unchanged.

    Raises:
        DimensionLabelCountMismatch: the dimension has not one label but more, or none; or it is
            x or y of a raster.
        DimensionNotAvailable: no dimension has that name.

    Source:
        openEO process `drop_dimension` 2.0.0-rc.2.
    """
    dimension = data.dimension(name)
    if dimension.kind is Kind.SPATIAL:
        raise DimensionLabelCountMismatch(
            f"Dimension {name!r} has one label per row or column of pixels, and a raster keeps "
            "both. Use `aggregate_spatial` for numbers without a place."
        )
    if len(dimension.labels) != 1:
        raise DimensionLabelCountMismatch(
            f"Dimension {name!r} has {len(dimension.labels)} labels, and only a dimension with one "
            "can be dropped. Choose one with a filter, or use `reduce_dimension`."
        )
    axis = data.axis(name)
    return replace(
        data,
        values=np.squeeze(data.values, axis),
        valid=np.squeeze(data.valid, axis),
        dimensions=data.dimensions[:axis] + data.dimensions[axis + 1 :],
        geometries=None if dimension.kind is Kind.GEOMETRY else data.geometries,
    )


def _labels_before_rename(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    del output, inputs
    names = {arguments["target"]: arguments["source"]}
    return {"data": {names.get(name, name): kept for name, kept in wanted.items()}}


@process(
    "rename_dimension",
    Role.CUBE,
    categories=("cubes",),
    rules=Rules(labels=_labels_before_rename, relays=True, scratch=0.0),
)
def rename_dimension(data: AnyCube, source: Text, target: Text) -> AnyCube:
    """Give a dimension another name.

    Args:
        data: any cube.
        source: its name now.
        target: its new name.

    Returns:
        The cube with all else unchanged.

    Raises:
        DimensionNotAvailable: no dimension has the name `source`.
        DimensionExists: a dimension has the name `target` already.

    Source:
        openEO process `rename_dimension` 2.0.0-rc.2.
    """
    axis = data.axis(source)
    if target in data.names:
        raise DimensionExists(
            f"There is a dimension {target!r} already. Dimensions: {', '.join(data.names)}."
        )
    renamed = replace(data.dimensions[axis], name=target)
    return replace(data, dimensions=data.with_dimension(axis, renamed))


def _labels_to_rename(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    # Enumerated labels can be told from others only where all of them are there.
    if not arguments.get("source"):
        wanted = {name: kept for name, kept in wanted.items() if name != arguments["dimension"]}
    return same_labels(wanted, output, inputs, arguments)


@process(
    "rename_labels",
    Role.CUBE,
    categories=("cubes",),
    rules=Rules(labels=_labels_to_rename, relays=True, scratch=0.0),
)
def rename_labels(
    data: AnyCube,
    dimension: Text,
    target: NewLabels,
    source: NewLabels = [],  # noqa: B006 - the openEO default; never written to
) -> AnyCube:
    """Give labels of a dimension other names; order and pixels stay.

    Args:
        data: any cube.
        dimension: name of a dimension that has labels, which x and y do not.
        target: new labels, one for each of `source`.
        source: labels to rename. Empty renames labels 0, 1, 2, ... by their position.

    Returns:
        The cube with the new labels.

    Raises:
        LabelsNotEnumerated: `source` is empty and the labels are not 0, 1, 2, ...
        LabelMismatch: `source` and `target` are not equally long.
        LabelNotAvailable: a label of `source` is not there.
        LabelExists: a label of `target` is there already.

    Source:
        openEO process `rename_labels` 2.0.0-rc.2.
    """
    labelled = labelled_dimension(data, dimension)
    if not source:
        if labelled.labels != tuple(range(len(labelled.labels))):
            raise LabelsNotEnumerated(
                f"The labels of {dimension!r} are not 0, 1, 2, ... but "
                f"{', '.join(map(repr, labelled.labels[:20]))}. Name those to rename in `source`."
            )
        source = labelled.labels[: len(target)]
    if len(source) != len(target):
        raise LabelMismatch(
            f"There are {len(source)} labels to rename and {len(target)} new ones. Give as many."
        )
    unknown = [old for old in source if old not in labelled.labels]
    if unknown and data.has_all_labels:
        raise LabelNotAvailable(
            f"Dimension {dimension!r} has no label {', '.join(map(repr, unknown[:5]))}. Labels "
            f"here: {', '.join(map(repr, labelled.labels[:20]))}."
        )
    taken = [new for new in target if new in labelled.labels]
    if taken or len(set(target)) < len(target):
        raise LabelExists(
            f"Dimension {dimension!r} would have a label twice: "
            f"{', '.join(map(repr, taken or target))}. Labels here: "
            f"{', '.join(map(repr, labelled.labels[:20]))}."
        )
    renamed = labelled.renamed(dict(zip(source, target, strict=True)))
    return replace(data, dimensions=data.with_dimension(data.axis(dimension), renamed))


@process(
    "add_dimension",
    Role.CUBE,
    categories=("cubes",),
    rules=Rules(labels=same_labels, relays=True, scratch=0.0),
)
def add_dimension(
    data: AnyCube, name: Text, label: OneLabel, type: DimensionType = "other"
) -> AnyCube:
    """Add a dimension with one label, before all others.

    Args:
        data: any cube.
        name: name of the new dimension.
        label: its label.
        type: its kind. A `spatial` one gets the first axis of x, y and z that there is not yet:
            z in a raster.

    Returns:
        (1, ...): the cube with one more dimension and the same pixels.

    Raises:
        DimensionExists: a dimension has that name already, or there are x, y and z.

    Source:
        openEO process `add_dimension` 2.0.0-rc.2.
    """
    if name in data.names:
        raise DimensionExists(
            f"There is a dimension {name!r} already. Dimensions: {', '.join(data.names)}."
        )
    if type not in tuple(Kind):
        raise ArgumentInvalid(f"Type {type!r} is not one of {', '.join(Kind)}.")
    made = Dimension(name, Kind(type), (label,))
    if made.kind is Kind.SPATIAL:
        made = replace(made, kind=Kind.OTHER, axis=_free_axis(data))
    return replace(
        data,
        values=data.values[np.newaxis],
        valid=data.valid[np.newaxis],
        dimensions=(made, *data.dimensions),
    )


def _free_axis(data: Cube) -> str:
    """Return the first axis of x, y and z that a cube does not have."""
    taken = {dimension.axis for dimension in data.dimensions}
    if data.has(Kind.SPATIAL):
        taken |= {"x", "y"}
    free = [axis for axis in "xyz" if axis not in taken]
    if not free:
        raise DimensionExists(
            f"There are dimensions for x, y and z already: {', '.join(data.names)}. Add one of "
            "type 'other'."
        )
    return free[0]


@process("dimension_labels", Role.CUBE, categories=("cubes",))
def dimension_labels(data: AnyCube, dimension: Text, *, place: Place) -> LabelArray:
    """Return the labels of a dimension.

    Args:
        data: any cube.
        dimension: name of the dimension.
        place: all pixels that there are.

    Returns:
        The labels in the order of the cube: RFC 3339 for time, coordinates of the pixel centres
        (CRS units) for x and y.

    Raises:
        DimensionNotAvailable: no dimension has that name.

    Source:
        openEO process `dimension_labels` 2.0.0-rc.2.
    """
    found = data.dimension(dimension)
    if found.kind is not Kind.SPATIAL or data.grid is None:
        return found.labels
    rows = data.axis(dimension) == data.values.ndim - 2
    centres = data.grid.ys(place.extent) if rows else data.grid.xs(place.extent)
    return tuple(centres.tolist())


def _labels_to_flatten(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    """Need, of every dimension, the labels that a wanted combination has."""
    data, names, target = inputs["data"], arguments["dimensions"], arguments["target_dimension"]
    needed = dict(without(wanted, target))
    if target in wanted:
        counts = [len(data.dimension(name).labels) for name in names]
        places = np.unravel_index(np.array(wanted[target], np.intp), counts)
        for name, positions in zip(names, places, strict=True):
            needed[name] = tuple(np.unique(positions).tolist())
    return same_labels(needed, output, inputs, arguments)


@process(
    "flatten_dimensions",
    Role.CUBE,
    categories=("cubes",),
    rules=Rules(labels=_labels_to_flatten, relays=True, scratch=1.0),
    experimental=True,
)
def flatten_dimensions(
    data: AnyCube, dimensions: Names, target_dimension: Text, label_separator: Separator = "~"
) -> AnyCube:
    """Put several dimensions one into the other, to one whose labels are all combinations.

    Args:
        data: any cube.
        dimensions: names of dimensions that have labels, which x and y of a raster do not. The
            labels of the last one change fastest.
        target_dimension: name of the dimension that takes their place, of type other.
        label_separator: stands between the labels that are combined, for example
            `2020-06-01~red`. Numbers are written as text, whole ones without a point.

    Returns:
        The cube with the new dimension where the first of the others was, pixels unchanged.

    Raises:
        DimensionNotAvailable: no dimension has one of the names.
        TargetDimensionExists: a dimension has the name `target_dimension` already.
        ProcessParameterInvalid: x or y is named, or no dimension at all.
        LabelExists: two combinations would have the same label.

    Source:
        openEO process `flatten_dimensions` 2.0.0-rc.2.
    """
    if not dimensions:
        raise ArgumentInvalid("Name at least one dimension to flatten with `dimensions`.")
    chosen = [labelled_dimension(data, name) for name in dimensions]
    _check_new([target_dimension], data)
    combined = itertools.product(*(dimension.labels for dimension in chosen))
    labels = tuple(label_separator.join(map(_text, entry)) for entry in combined)
    if len(set(labels)) < len(labels):
        raise LabelExists(
            f"Dimension {target_dimension!r} would have a label twice. Join the labels with a "
            f"`label_separator` that none of them holds, other than {label_separator!r}."
        )
    places = [data.axis(name) for name in dimensions]
    others = [n for n in range(len(data.dimensions)) if n not in places]
    first = sum(n < min(places) for n in others)
    order = [*others[:first], *places, *others[first:]]
    sizes = data.values.shape
    before, after = ([sizes[n] for n in part] for part in (others[:first], others[first:]))
    made = Dimension(target_dimension, Kind.OTHER, labels)
    kept = [data.dimensions[n] for n in others]
    return _reshaped(
        data, order, (*before, len(labels), *after), [*kept[:first], made, *kept[first:]]
    )


def _labels_to_split(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    """Need the labels whose parts are all wanted."""
    name, targets = arguments["dimension"], arguments["target_dimensions"]
    labels = inputs["data"].dimension(name).labels
    allowed = []
    for target in targets:
        every = output.dimension(target).labels
        positions = wanted.get(target, range(len(every)))
        allowed.append({every[position] for position in positions})
    parts = _parts(labels, arguments.get("label_separator", "~"), targets)
    kept = tuple(
        n
        for n, entry in enumerate(parts)
        if all(part in some for part, some in zip(entry, allowed, strict=True))
    )
    needed = {**without(wanted, *targets), name: kept}
    return same_labels(needed, output, inputs, arguments)


@process(
    "unflatten_dimension",
    Role.CUBE,
    categories=("cubes",),
    rules=Rules(labels=_labels_to_split, relays=True, scratch=1.0),
    experimental=True,
)
def unflatten_dimension(
    data: AnyCube,
    dimension: Text,
    target_dimensions: SeveralNames,
    label_separator: Separator = "~",
) -> AnyCube:
    """Take a dimension apart into several, by the parts of its labels.

    Args:
        data: any cube.
        dimension: name of a dimension that has labels, which x and y of a raster do not. Every
            label has one part per new dimension, and every combination of parts is there once.
        target_dimensions: names of the new dimensions, of type other.
        label_separator: stands between the parts of a label.

    Returns:
        The cube with the new dimensions in its place, in their order; their labels are texts, in
        the order in which they first appear. Pixels unchanged.

    Raises:
        DimensionNotAvailable: no dimension has the name `dimension`.
        TargetDimensionExists: a dimension has one of the new names already.
        ProcessParameterInvalid: `dimension` is x or y.
        LabelMismatch: a label has more or fewer parts, or a combination is missing or is there
            twice.

    Source:
        openEO process `unflatten_dimension` 2.0.0-rc.2.
    """
    source = labelled_dimension(data, dimension)
    _check_new(target_dimensions, data)
    parts = _parts(source.labels, label_separator, target_dimensions)
    columns = zip(*parts, strict=True) if parts else ((),) * len(target_dimensions)
    labels = [tuple(dict.fromkeys(column)) for column in columns]
    numbers = {entry: number for number, entry in enumerate(parts)}
    count = math.prod(map(len, labels))
    if len(numbers) != len(parts) or count != len(parts):
        sizes = " x ".join(map(str, map(len, labels)))
        raise LabelMismatch(
            f"The {len(parts)} labels of {dimension!r}, of which {len(numbers)} differ, are not "
            f"the {sizes} combinations of their parts. Filter them so that each is there once."
        )
    sorted_labels = data.take(dimension, [numbers[entry] for entry in itertools.product(*labels)])
    axis = data.axis(dimension)
    made = [
        Dimension(name, Kind.OTHER, mine)
        for name, mine in zip(target_dimensions, labels, strict=True)
    ]
    sizes = data.values.shape
    shape = (*sizes[:axis], *map(len, labels), *sizes[axis + 1 :])
    rest = data.dimensions
    order = range(len(rest))
    return _reshaped(sorted_labels, order, shape, [*rest[:axis], *made, *rest[axis + 1 :]])


def _check_new(names: Sequence[str], data: Cube) -> None:
    for name in names:
        if name in data.names:
            raise TargetDimensionExists(
                f"There is a dimension {name!r} already. Dimensions: {', '.join(data.names)}."
            )


def _parts(
    labels: Sequence[Label], separator: str, targets: Sequence[str]
) -> list[tuple[str, ...]]:
    parts = [tuple(_text(label).split(separator)) for label in labels]
    for label, entry in zip(labels, parts, strict=True):
        if len(entry) != len(targets):
            raise LabelMismatch(
                f"The label {label!r} has {len(entry)} parts between {separator!r} and there are "
                f"{len(targets)} new dimensions. Name as many, or another `label_separator`."
            )
    return parts


def _text(label: Label) -> str:
    whole = isinstance(label, float) and label.is_integer()
    return str(int(label)) if whole else str(label)


def _reshaped(
    data: Cube, order: Sequence[int], shape: tuple[int, ...], dimensions: Sequence[Dimension]
) -> Cube:
    """Return the cube with its axes in another order, then in another shape."""
    everywhere = known_everywhere(data.valid)
    valid = all_valid(shape) if everywhere else data.valid.transpose(order).reshape(shape)
    return replace(
        data,
        values=data.values.transpose(order).reshape(shape),
        valid=valid,
        dimensions=tuple(dimensions),
        geometries=data.geometries if any(d.kind is Kind.GEOMETRY for d in dimensions) else None,
    )
