"""Changes of dimensions and labels that leave the pixels as they are."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.errors import (
    ArgumentInvalid,
    DimensionExists,
    DimensionLabelCountMismatch,
    LabelExists,
    LabelMismatch,
    LabelNotAvailable,
    LabelsNotEnumerated,
)
from terrazzo.processes.cube_schemas import (
    DimensionType,
    LabelArray,
    NewLabels,
    OneLabel,
    Text,
)
from terrazzo.processes.labels import labelled_dimension
from terrazzo.processes.registry import Labels, Place, Role, Rules, process, same_labels
from terrazzo.processes.schemas import AnyCube


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
        DimensionLabelCountMismatch: the dimension has not one label but more, or none.
        DimensionNotAvailable: no dimension has that name.

    Source:
        openEO process `drop_dimension` 2.0.0-rc.2.
    """
    dimension = labelled_dimension(data, name)
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
    names = dict(zip(source, target, strict=True))
    labels = tuple(names.get(label, label) for label in labelled.labels)
    axis = data.axis(dimension)
    return replace(data, dimensions=data.with_dimension(axis, replace(labelled, labels=labels)))


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
        type: its kind. Rasters have x and y, and a vertical dimension is of kind `other` here,
            so that `spatial` is refused.

    Returns:
        (1, ...): the cube with one more dimension and the same pixels.

    Raises:
        DimensionExists: a dimension has that name already.

    Source:
        openEO process `add_dimension` 2.0.0-rc.2.
    """
    if name in data.names:
        raise DimensionExists(
            f"There is a dimension {name!r} already. Dimensions: {', '.join(data.names)}."
        )
    if type not in tuple(Kind):
        raise ArgumentInvalid(f"Type {type!r} is not one of {', '.join(Kind)}.")
    if type == Kind.SPATIAL:
        raise ArgumentInvalid("A vertical dimension can be added with type 'other' only.")
    return replace(
        data,
        values=data.values[np.newaxis],
        valid=data.valid[np.newaxis],
        dimensions=(Dimension(name, Kind(type), (label,)), *data.dimensions),
    )


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
