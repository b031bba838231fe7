"""Aggregation over windows of pixels, which become the pixels of a coarser grid."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np

from terrazzo.cube import Cube, Mask, Stack, Values
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.grid import Grid, Window
from terrazzo.processes.cube_schemas import ALIGNMENTS, Alignment, ZonalReducer
from terrazzo.processes.registry import Place, Role, Rules, process, same_labels
from terrazzo.processes.returned import as_pixels
from terrazzo.processes.schemas import Context, RasterCube, Schema
from terrazzo.processes.spatial import PIXELS

WindowSize = Annotated[
    Sequence[int],
    Schema(
        {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "integer", "minimum": 1}}
    ),
]
BOUNDARIES = ("pad", "trim")
Boundary = Annotated[str, Schema({"type": "string", "enum": list(BOUNDARIES)})]


def _cut(extent: Window, arguments: Mapping[str, Any]) -> Window:
    """Return the pixels that the windows take: a multiple of their size, padded or trimmed."""
    width, height = arguments["size"]
    align = arguments.get("align", "upper-left")
    pad = arguments.get("boundary", "pad") == "pad"
    rows = -(-extent.height // height) if pad else extent.height // height
    cols = -(-extent.width // width) if pad else extent.width // width
    row = extent.row_stop - rows * height if align.startswith("lower") else extent.row
    col = extent.col_stop - cols * width if align.endswith("right") else extent.col
    return Window(row, col, rows * height, cols * width)


def _coarse(grid: Grid, place: Place, arguments: Mapping[str, Any]) -> tuple[Grid, Window]:
    """Return the grid whose pixels are the windows."""
    width, height = arguments["size"]
    cut = _cut(place.extent, arguments)
    rows, cols = cut.height // height, cut.width // width
    left, _, _, top = grid.bounds_of(cut)
    pixel = (grid.pixel_x * width, grid.pixel_y * height)
    return Grid.of(grid.crs, left, top, pixel, rows, cols), Window(0, 0, rows, cols)


def _below(wanted: Window, extent: Window, arguments: Mapping[str, Any], argument: str) -> Window:
    """Need exactly the pixels of the windows that are wanted."""
    del argument
    width, height = arguments["size"]
    cut = _cut(extent, arguments)
    return Window(
        cut.row + wanted.row * height,
        cut.col + wanted.col * width,
        wanted.height * height,
        wanted.width * width,
    )


@process(
    "aggregate_spatial_window",
    Role.CUBE,
    categories=("cubes", "aggregate"),
    rules=Rules(window=_below, labels=same_labels, grid=_coarse, scratch=3.0),
    experimental=True,
)
def aggregate_spatial_window(
    data: RasterCube,
    reducer: ZonalReducer,
    size: WindowSize,
    boundary: Boundary = "pad",
    align: Alignment = "upper-left",
    context: Context = None,
    *,
    place: Place | None = None,
) -> RasterCube:
    """Collapse windows of pixels to one pixel each, for every date and band.

    Windows do not overlap and lie side by side from the corner `align` of the cube.

    Args:
        data: (..., y, x) raster.
        reducer: called with the pixels of each window as `data`, in row order.
        size: pixels of a window along x and along y.
        boundary: what becomes of windows that the cube's border cuts: `pad` fills them with
            no-data, `trim` leaves them out.
        align: corner of the cube's extent at which the first window lies.
        context: passed on to `reducer`.
        place: where the pixels lie; None for a cube that is whole.

    Returns:
        (..., y, x) raster of larger pixels, whose coordinates are the centres of the windows.
        Without a pixel where `trim` leaves no window.

    Source:
        openEO process `aggregate_spatial_window`, proposal of 2.0.0-rc.2.
    """
    if data.grid is None or data.window is None:
        raise ArgumentInvalid(
            "`aggregate_spatial_window` needs a raster cube; this one has no grid."
        )
    arguments = {"size": _checked(size), "boundary": boundary, "align": align}
    for name, known in (("boundary", BOUNDARIES), ("align", ALIGNMENTS)):
        if arguments[name] not in known:
            raise ArgumentInvalid(
                f"`{name}` is one of {', '.join(known)}, not {arguments[name]!r}."
            )
    extent = data.window if place is None else place.extent
    grid, whole = _coarse(data.grid, Place(extent, extent), arguments)
    wanted = whole if place is None else place.wanted
    needed = _below(wanted, extent, arguments, "data")
    (width, height), outer = arguments["size"], data.values.shape[:-2]
    shape = (*outer, wanted.height, height, wanted.width, width)
    values, valid = (_gathered(array, shape) for array in _fitted(data, needed))
    stack = Stack(values, valid, axes=(PIXELS, *data.dimensions))
    made = as_pixels(reducer(data=stack, context=context), values.shape[1:], data.dtype)
    return replace(data, values=made.values, valid=made.valid, grid=grid, window=wanted)


def _checked(size: Any) -> tuple[int, int]:
    """Return (width, height) of a window."""
    sides = tuple(size) if isinstance(size, Sequence) else ()
    if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):  # noqa: PLR2004
        raise ArgumentInvalid(f"`size` is two whole numbers from 1, x and y, not {size!r}.")
    return sides[0], sides[1]


def _fitted(data: Cube, window: Window) -> tuple[Values, Mask]:
    """Return values and mask of a window of a cube, no-data where it has no pixel."""
    here = data.window or window
    if here == window:
        return data.values, data.valid
    shape = (*data.values.shape[:-2], window.height, window.width)
    values, valid = np.zeros(shape, data.dtype), np.zeros(shape, np.bool_)
    shared = data.crop(window.intersection(here))
    rows, cols = window.slices(window.intersection(here))
    values[..., rows, cols], valid[..., rows, cols] = shared.values, shared.valid
    return values, valid


def _gathered(array: Values, shape: tuple[int, ...]) -> Values:
    """Return the pixels of each window along the first axis, in row order."""
    cut = array.reshape(shape)
    height, width = shape[-3], shape[-1]
    moved = np.moveaxis(cut, (-3, -1), (0, 1))
    return moved.reshape(height * width, *moved.shape[2:])
