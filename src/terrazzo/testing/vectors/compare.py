"""Compares what a process gave with what a vector expects; every difference has words.

Strict: a boolean is no number, no-data is neither NaN nor 0, text is no number. Labels are
compared with their order and their type, dimensions with their name and type.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from terrazzo.cube import Cube, Kind, Pixels, Stack
from terrazzo.processes.convert import entries_of, scalar, to_json
from terrazzo.testing.vectors.cubes import (
    CubeMalformed,
    flat_entries,
    is_cube,
    is_missing,
    spatial_names,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT = 1e-10
"""Tolerance where a vector states none."""
NOTHING = 1e-12
"""The least tolerance of a number that stands alone, where a vector states none."""
LONGEST = 160
"""Characters of a value that a difference shows."""
SAME_PLACE = 1e-9
"""Distance within which corners of geometries are the same, units of their CRS."""
SHOWN = 3
"""Entries of a cube that a difference shows."""


_MALFORMED = (
    CubeMalformed,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    shapely.errors.ShapelyError,
)


class _Differs(Exception):
    """A result is not what was expected; says in what."""


def difference(found: Any, expected: Any, delta: float | None = None) -> str:
    """Return in what a result differs from what a vector expects; empty where it does not.

    Args:
        found: what the engine gave: a scalar, an array or a cube.
        expected: JSON of the vector.
        delta: tolerance of numbers, absolute or relative, whichever is wider. None is 1e-10, and
            for a number that stands alone 1e-10 of itself.
    """
    plain = not isinstance(expected, list | dict)
    try:
        _compare(found, expected, DEFAULT if delta is None and not plain else delta)
    except _Differs as error:
        return str(error)
    except _MALFORMED as error:
        return f"what is expected is malformed: {error!r:.200}"
    return ""


def _compare(found: Any, expected: Any, delta: float | None) -> None:
    if is_cube(expected) and isinstance(found, Cube):
        _compare_cubes(found, expected, delta)
    elif is_cube(expected) or isinstance(found, Cube):
        raise _Differs(f"expected {shown(expected)}, got {shown(found)}")
    elif isinstance(expected, dict) and expected.get("type") == "labeled-array":
        _compare_labelled(found, expected, delta)
    elif isinstance(found, Stack) and found.labels is not None:
        raise _Differs(f"expected {shown(expected)} without labels, got {list(found.labels)}")
    else:
        _check(same(_plain(found), expected, delta), "", expected, found)


def _check(agree: bool, what: str, expected: Any, found: Any) -> None:
    if not agree:
        raise _Differs(f"expected {what}{shown(expected)}, got {shown(found)}")


def _compare_labelled(found: Any, expected: Mapping[str, Any], delta: float | None) -> None:
    keys = [entry["key"] for entry in expected["data"]]
    labels = found.labels if isinstance(found, Stack) else None
    if labels is None:
        raise _Differs(f"expected an array with labels {shown(keys)}, got {shown(found)}")
    _check(same(list(labels), keys, 0.0), "labels ", keys, list(labels))
    entries = [entry["value"] for entry in expected["data"]]
    _check(same(_plain(found), entries, delta), "values ", entries, found)


def same(found: Any, expected: Any, delta: float | None = None) -> bool:
    """Tell whether two plain values are the same: of one kind, numbers within the tolerance.

    Args:
        found: JSON; None is no-data.
        expected: JSON of a vector, with its markers for no-data and instants.
        delta: as for `difference`.
    """
    if isinstance(expected, dict) and expected.get("type") == "nodata":
        expected = None
    if isinstance(expected, dict) and expected.get("type") == "datetime":
        expected = expected["value"]
    if isinstance(expected, list) or isinstance(found, list):
        return (
            isinstance(found, list)
            and isinstance(expected, list)
            and len(found) == len(expected)
            and all(same(a, b, delta) for a, b in zip(found, expected, strict=True))
        )
    if isinstance(expected, dict) and isinstance(found, dict):
        return set(expected) == set(found) and all(
            same(found[key], value, delta) for key, value in expected.items()
        )
    if _is_number(found) and _is_number(expected):
        return close(found, expected, delta)
    return type(found) is type(expected) and bool(found == expected)


def close(found: float, expected: float, delta: float | None) -> bool:
    """Tell whether two numbers are the same within the tolerance; NaN is NaN."""
    if math.isnan(expected) or math.isnan(found):
        return math.isnan(expected) and math.isnan(found)
    if math.isinf(expected) or math.isinf(found):
        return found == expected
    if delta is None:
        return abs(found - expected) <= max(DEFAULT * abs(expected), NOTHING)
    return abs(found - expected) <= delta * max(1.0, abs(expected))


def _compare_cubes(found: Cube, expected: Mapping[str, Any], delta: float | None) -> None:
    """Compare dimensions, then labels, then data unless they are null.

    Where x and y stand among the dimensions is not compared: the engine has them last.
    """
    order, described = expected["order"], expected["dimensions"]
    space = spatial_names(expected) or ()
    names = [*(name for name in order if name not in space), *space]
    _check(list(found.names) == names, "dimensions ", names, list(found.names))
    for axis, name in enumerate(names):
        _compare_dimension(found, axis, described[name])
    if expected.get("data") is None:
        return
    values, valid = found.values, found.valid
    if space and _ascends(described[space[0]]["values"]):
        values, valid = values[..., ::-1, :], valid[..., ::-1, :]
    axes = [names.index(name) for name in order]
    _compare_data(values.transpose(axes), valid.transpose(axes), expected, delta)


def _compare_dimension(found: Cube, axis: int, wanted: Mapping[str, Any]) -> None:
    dimension, values = found.dimensions[axis], wanted["values"]
    name = f"{dimension.name} "
    _check(dimension.type == wanted["type"], f"{name}of type ", wanted["type"], dimension.type)
    if dimension.kind is Kind.SPATIAL:
        centres = _centres(found, axis - len(found.dimensions))
        if axis == len(found.dimensions) - 2 and _ascends(values):
            centres = centres[::-1]
        _check(same(centres, values), name, values, centres)
    elif dimension.kind is Kind.GEOMETRY and all(isinstance(value, str) for value in values):
        shapes = [] if found.geometries is None else found.geometries.shapes
        _check(_same_shapes(shapes, values), name, values, [shape.wkt for shape in shapes])
    else:
        _check(same(list(dimension.labels), values), name, values, list(dimension.labels))


def _compare_data(
    values: Any, valid: Any, expected: Mapping[str, Any], delta: float | None
) -> None:
    flat, nodata = flat_entries(expected["data"], values.shape), expected.get("nodata")
    wrong = []
    for position, entry in enumerate(flat):
        place = np.unravel_index(position, values.shape)
        got = scalar(values[place]) if valid[place] else None
        want = None if is_missing(entry, nodata) else entry
        if not same(got, want, delta):
            wrong.append(f"{want!r} at {[int(index) for index in place]}, got {got!r}")
    if wrong:
        more = f" ({len(wrong)} of {len(flat)} entries differ)" if len(wrong) > SHOWN else ""
        raise _Differs("expected " + "; ".join(wrong[:SHOWN]) + more)


def _centres(found: Cube, axis: int) -> list[float]:
    """Return the labels of y (axis -2) or x (axis -1)."""
    if found.grid is None or found.window is None:
        return []
    centres = found.grid.xs if axis == -1 else found.grid.ys
    return [float(value) for value in centres(found.window)]


def _same_shapes(shapes: Sequence[Any], texts: Sequence[str]) -> bool:
    """Tell whether geometries are those of WKT texts, wherever their rings begin."""
    return len(shapes) == len(texts) and all(
        shapely.equals_exact(
            shapely.normalize(shape), shapely.normalize(shapely.from_wkt(text)), SAME_PLACE
        )
        for shape, text in zip(shapes, texts, strict=True)
    )


def _ascends(labels: Sequence[Any]) -> bool:
    return len(labels) > 1 and labels[1] > labels[0]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(found: Any) -> Any:
    """Return a result as JSON, arrays inside of arrays too."""
    if isinstance(found, Stack) and found.values.ndim == 1:
        return [_plain(entry) for entry in entries_of(found)]
    if isinstance(found, Pixels):
        return to_json(found)
    if isinstance(found, list | tuple):
        return [_plain(entry) for entry in found]
    return scalar(found)


def shown(value: Any) -> str:
    """Return a value in words that fit a line."""
    if isinstance(value, Cube):
        return f"a data cube of {', '.join(value.names) or 'no dimension'}"
    if is_cube(value):
        return f"a data cube of {', '.join(value.get('order') or ()) or 'no dimension'}"
    if isinstance(value, Stack) and value.values.ndim > 1:
        return f"an array of {len(value)} with pixels"
    text = repr(_plain(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
