"""Where the pixels of a CF variable lie: coordinate variables, steps, and grids out of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import crs_object, is_geographic
from terrazzo.geo.grid import Grid
from terrazzo.storage.arrays.cf_crs import crs_of, mapping_of, metres_per_unit
from terrazzo.storage.arrays.hdf5_check import LARGEST_AXIS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray

    from terrazzo.storage.arrays.hdfeos import EosGrid

NAMES: Final = {
    "X": {"x", "lon", "longitude", "easting", "xc"},
    "Y": {"y", "lat", "latitude", "northing", "yc"},
    "T": {"t", "time", "timestamp", "date", "valid_time"},
}
"""Names of coordinate variables, in small letters, by axis of CF."""
_STANDARD: Final = {
    "X": ("longitude", "x_coordinate", "x_angular_coordinate"),
    "Y": ("latitude", "y_coordinate", "y_angular_coordinate"),
    "T": ("time",),
}
_DEGREES: Final = {
    "X": {"degrees_east", "degree_east", "degree_e", "degrees_e", "degreee", "degreese"},
    "Y": {"degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn"},
}
_UNEVEN: Final = 1e-3
_STRETCH: Final = 1.5
_AFFINE: Final = 6
_SINGLE: Final = 4


@dataclass(frozen=True, slots=True)
class CfGroup:
    """A group of a file: its variables, and what it inherits."""

    file: str
    """Name of the file, for messages."""
    path: str
    """Path of the group without slashes around it; empty for the root."""
    data: xr.Dataset
    """Its variables, undecoded, and the coordinate variables of the groups above."""
    attributes: Mapping[str, Any]
    """Its attributes over those of the groups above."""
    eos: EosGrid | None = None
    """What HDF-EOS states of its place."""
    crs: str = ""
    """What the user says of files that state no CRS."""


@dataclass(frozen=True, slots=True)
class Lines:
    """The rows or columns of a grid, and where they are in the file."""

    size: int
    """How many the file has."""
    flipped: bool = False
    """Whether the file has them in the other order."""
    nearest: tuple[int, ...] = field(default=(), repr=False)
    """Of each of the grid's lines the file's, where those are unevenly spaced."""

    def of(self, start: int, stop: int) -> tuple[slice, slice | NDArray[np.intp]]:
        """Return what to read for some of the grid's lines, and how to put that in order."""
        if self.nearest:
            wanted = np.array(self.nearest[start:stop], np.intp)
            first = int(wanted.min())
            return slice(first, int(wanted.max()) + 1), wanted - first
        if self.flipped:
            return slice(self.size - stop, self.size - start), slice(None, None, -1)
        return slice(start, stop), slice(None)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the pixels of variables lie."""

    y: str
    """Dimension of rows."""
    x: str
    """Dimension of columns."""
    grid: Grid
    """North-up."""
    rows: Lines
    """Rows of the grid in the file."""
    cols: Lines
    """Columns of the grid in the file."""


def number_of(value: Any, default: float) -> float:
    """Return the first number of an attribute; `default` where it is none."""
    try:
        return float(np.asarray(value).ravel()[0])
    except (TypeError, ValueError, IndexError):
        return default


def is_axis(name: str, variable: xr.Variable, axis: str) -> bool:
    """Tell whether a variable holds coordinates of an axis: X, Y or T."""
    attributes = variable.attrs
    units = str(attributes.get("units", ""))
    standard = str(attributes.get("standard_name", "")).strip()
    if axis == "T":
        if standard == "forecast_reference_time":
            return False
        dated = " since " in units or variable.dtype.kind == "M"
        return name.lower() in NAMES["T"] or standard == "time" or dated
    return (
        name.lower() in NAMES[axis]
        or attributes.get("axis") == axis
        or standard.endswith(_STANDARD[axis])
        or units.lower() in _DEGREES[axis]
    )


def coordinate_of(data: xr.Dataset, dimension: str, axis: str) -> str:
    """Return the variable with the coordinates of a dimension along an axis; empty if none."""
    others = [str(n) for n, v in data.variables.items() if v.dims == (dimension,)]
    named = [name for name in others if name.lower() == "valid_time"] if axis == "T" else []
    for name in [*named, *(n for n in others if n == dimension), *others]:
        if is_axis(name, data.variables[name], axis):
            return name
    return ""


def axes_of(data: xr.Dataset, dimensions: tuple[str, ...]) -> tuple[str, str]:
    """Return the dimensions of rows and columns among those of a variable; empty if none."""
    found = []
    for axis in ("Y", "X"):
        by_name = [d for d in dimensions if d.lower() in NAMES[axis] and d in data.variables]
        by_coordinate = [d for d in dimensions if coordinate_of(data, d, axis)]
        found.append(next(iter([*by_name, *by_coordinate]), ""))
    y, x = found
    return (y, x) if y and x and y != x else ("", "")


def place_of(group: CfGroup, dimensions: tuple[str, ...], attributes: Mapping[str, Any]) -> Place:
    """Return where the pixels of a variable lie.

    Args:
        group: its group.
        dimensions: its dimensions.
        attributes: its attributes.

    Raises:
        ArgumentInvalid: there are no coordinates, they make no grid, or no CRS is stated.
    """
    mapping = mapping_of(group.data, attributes)
    y, x = axes_of(group.data, dimensions)
    if not (y and x):
        return _stated_place(group, dimensions, attributes, mapping)
    names = coordinate_of(group.data, y, "Y") or y, coordinate_of(group.data, x, "X") or x
    variables = [group.data.variables[name] for name in names]
    told = {**group.attributes, **attributes}
    attributes_of = [variable.attrs for variable in variables]
    crs = crs_of(group.file, mapping, told, attributes_of, otherwise=group.crs)
    transform = _transform(mapping, told)
    (top, step_y, rows), (left, step_x, cols) = (
        _edges(group, name, variable, crs, mapping)
        for name, variable in zip(names, variables, strict=True)
    )
    if transform:
        step_y, step_x = step_y or abs(transform[5]), step_x or abs(transform[1])
    step_y, step_x = step_y or step_x, step_x or step_y
    step_y = step_y or abs(number_of(told.get("resolution"), 0.0))
    step_x = step_x or step_y
    if not step_y:
        raise ArgumentInvalid(
            f"{group.file!r} has a single pixel, no GeoTransform, no bounds and no resolution. "
            "State its size with an attribute `resolution`."
        )
    grid = Grid.of(crs, left - step_x / 2, top + step_y / 2, (step_x, step_y), *_shape(rows, cols))
    return Place(y, x, grid, rows, cols)


def _shape(rows: Lines, cols: Lines) -> tuple[int, int]:
    return len(rows.nearest) or rows.size, len(cols.nearest) or cols.size


def _transform(mapping: Mapping[str, Any], told: Mapping[str, Any]) -> tuple[float, ...]:
    """Return GDAL's geotransform that attributes state; empty if none."""
    try:
        numbers = [float(text) for text in str(mapping.get("GeoTransform", "")).split()]
        if len(numbers) == _AFFINE:
            return tuple(numbers)
        affine = [float(number) for number in told.get("spatial:transform", ())]
    except (TypeError, ValueError):
        return ()
    if len(affine) < _AFFINE:
        return ()
    a, b, c, d, e, f = affine[:_AFFINE]
    return (c, a, b, f, d, e)


def _stated_place(
    group: CfGroup,
    dimensions: tuple[str, ...],
    attributes: Mapping[str, Any],
    mapping: Mapping[str, Any],
) -> Place:
    """Return the place of a variable without coordinates, as attributes state it."""
    told = {**group.attributes, **attributes}
    y, x = dimensions[-2:]
    named = tuple(map(str, told.get("spatial:dimensions", ())))
    if len(named) == 2 and set(named) <= set(dimensions):  # noqa: PLR2004 - y and x
        y, x = named
    height, width = int(group.data.sizes[y]), int(group.data.sizes[x])
    transform = _transform(mapping, told)
    crs = ""
    if group.eos is not None and (group.eos.height, group.eos.width) == (height, width):
        transform, crs = group.eos.transform, group.eos.crs
    if not transform:
        raise ArgumentInvalid(
            f"{group.file!r} has no coordinate variables of x and y. Its dimensions: "
            f"{', '.join(map(str, group.data.sizes))}."
        )
    left, step_x, skew_x, top, skew_y, step_y = transform
    if skew_x or skew_y or step_x <= 0:
        raise ArgumentInvalid(
            f"{group.file!r} is rotated or mirrored (transform {transform}). Warp it first, for "
            "example with gdalwarp."
        )
    top = top if step_y < 0 else top + step_y * height
    crs = crs or crs_of(group.file, mapping, told, [], otherwise=group.crs)
    grid = Grid.of(crs, left, top, (step_x, abs(step_y)), height, width)
    return Place(y, x, grid, Lines(height, flipped=step_y > 0), Lines(width))


def _edges(
    group: CfGroup, name: str, variable: xr.Variable, crs: str, mapping: Mapping[str, Any]
) -> tuple[float, float, Lines]:
    """Return the first centre (northern or western), the step > 0 (0 if unknown), and the lines."""
    if variable.size > LARGEST_AXIS:
        raise ArgumentInvalid(
            f"{name!r} of {group.file!r} has {variable.size:,} coordinates; {LARGEST_AXIS:,} are "
            "read at most."
        )
    values = _positions(group, name, variable, crs, mapping)
    falls = str(name) in _rows_of(group, variable, name)
    if values.size == 1:
        return float(values[0]), _bounds_step(group, variable), Lines(1)
    step = float(values[-1] - values[0]) / (values.size - 1)
    exact = variable.dtype.itemsize > _SINGLE or variable.dtype.kind != "f"
    slack = abs(step) * _UNEVEN + (0 if exact else float(np.abs(values).max()) * 2.0**-22)
    steps = np.diff(values)
    flipped = (step > 0) if falls else (step < 0)
    ordered = values[::-1] if flipped else values
    if not step or not np.isfinite(step) or np.abs(steps - step).max() > slack:
        return _regular(group, name, ordered, flipped=flipped)
    first = float(ordered[0])
    if not exact:
        step, first = _decimal(step, first)
    return first, abs(step), Lines(values.size, flipped)


def _rows_of(group: CfGroup, variable: xr.Variable, name: str) -> tuple[str, ...]:
    """Return the name if it is that of rows."""
    rows = coordinate_of(group.data, str(variable.dims[0]), "Y") if variable.dims else ""
    cols = coordinate_of(group.data, str(variable.dims[0]), "X") if variable.dims else ""
    return (name,) if rows == name and cols != name else ()


def _positions(
    group: CfGroup, name: str, variable: xr.Variable, crs: str, mapping: Mapping[str, Any]
) -> NDArray[np.float64]:
    """Return coordinates in the units of the CRS."""
    try:
        raw = np.atleast_1d(variable.to_numpy()).astype(np.float64)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise ArgumentInvalid(
            f"The coordinates {name!r} of {group.file!r} cannot be read ({type(error).__name__})."
        ) from None
    attributes = variable.attrs
    scale = number_of(attributes.get("scale_factor"), 1.0)
    values: NDArray[np.float64] = raw * scale + number_of(attributes.get("add_offset"), 0.0)
    if not values.size or not np.isfinite(values).all():
        raise ArgumentInvalid(
            f"The {name!r} coordinates of {group.file!r} are "
            f"{'missing' if not values.size else 'partly no number'}, so its pixels have no place."
        )
    if is_geographic(crs):
        return values
    metres = metres_per_unit(str(attributes.get("units", "")), mapping)
    if metres is None:
        return values
    return values * (metres / crs_object(crs).axis_info[0].unit_conversion_factor)


def _bounds_step(group: CfGroup, variable: xr.Variable) -> float:
    """Return the size of a single pixel by its bounds; 0 where they do not state it."""
    name = str(variable.attrs.get("bounds", ""))
    if name not in group.data.variables or group.data.variables[name].size != 2:  # noqa: PLR2004
        return 0.0
    low, high = (float(v) for v in group.data.variables[name].to_numpy().ravel())
    return abs(high - low) if np.isfinite(high - low) else 0.0


def _decimal(step: float, first: float) -> tuple[float, float]:
    """Return step and first coordinate, cut off to float32, as they were meant."""
    parts = 1 / abs(step)
    if abs(step) < 1 and abs(parts - round(parts)) < parts * 1e-5:
        meant = 1 / round(parts)
    else:
        meant = float(f"{abs(step):.6g}")
    halves = first / (meant / 2)
    if abs(halves - round(halves)) * meant / 2 <= abs(first) * 2.0**-22:
        first = round(halves) * meant / 2
    return meant, first


def _regular(
    group: CfGroup, name: str, ordered: NDArray[np.float64], *, flipped: bool
) -> tuple[float, float, Lines]:
    """Return an even grid over coordinates that are almost even, like Gaussian latitudes.

    Raises:
        ArgumentInvalid: they are far from even.
    """
    steps = np.abs(np.diff(ordered))
    ascending = bool(np.all(np.diff(ordered) > 0))
    least = float(steps.min())
    if not (ascending or np.all(np.diff(ordered) < 0)) or steps.max() > least * _STRETCH:
        raise ArgumentInvalid(
            f"The {name!r} coordinates of {group.file!r} are not evenly spaced. Resample it to a "
            "regular grid first, for example with `cdo remapbil`."
        )
    extent = abs(float(ordered[-1] - ordered[0]))
    count = int(np.ceil(extent / least)) + 1
    step = extent / (count - 1)
    centres = np.linspace(ordered[0], ordered[-1], count)
    where = np.searchsorted((ordered[1:] + ordered[:-1]) / 2 * (1 if ascending else -1),
                            centres * (1 if ascending else -1))  # fmt: skip
    size = ordered.size
    nearest = tuple(int(size - 1 - i if flipped else i) for i in where)
    return float(ordered[0]), step, Lines(size, nearest=nearest)
