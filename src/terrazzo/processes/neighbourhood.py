"""Focal processes: a kernel over every pixel, and callbacks over neighbourhoods of pixels."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np

from terrazzo.cube import Cube, Kind, Pixels, Stack, Values, all_valid
from terrazzo.cube.pixels import compute_dtype, known_everywhere
from terrazzo.errors import (
    ArgumentInvalid,
    DataCubePropertiesImmutable,
    KernelDimensionsUneven,
)
from terrazzo.geo.grid import Window
from terrazzo.geo.jit import frozen
from terrazzo.processes.chunks import Span, label_cuts, spans_of
from terrazzo.processes.cube_schemas import (
    Border,
    ChunkSizes,
    Kernel,
    NeighborhoodProcess,
    Overlaps,
    Real,
)
from terrazzo.processes.kernels import convolve, where
from terrazzo.processes.operands import all_of
from terrazzo.processes.registry import Place, Role, Rules, process, same_labels
from terrazzo.processes.returned import Mosaic, as_stack
from terrazzo.processes.schemas import Callback, Context, RasterCube

_BORDERS: dict[str, Literal["edge", "symmetric", "reflect", "wrap"]] = {
    "replicate": "edge",
    "reflect": "symmetric",
    "reflect_pixel": "reflect",
    "wrap": "wrap",
}
"""openEO's names of the ways to go on beyond the border, and NumPy's."""
MOST_WEIGHTS = 256 * 256
"""Weights of a kernel; with more, a block of pixels would take minutes."""


def _kernel_window(
    wanted: Window, extent: Window, arguments: Mapping[str, Any], argument: str
) -> Window:
    """Need half the kernel on each side; all pixels where the border wraps around."""
    del argument
    if arguments.get("border") == "wrap":
        return extent
    height, width = checked_kernel(arguments["kernel"]).shape
    return wanted.grown(height // 2, width // 2)


def checked_kernel(kernel: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a kernel as (y, x) weights.

    Raises:
        ArgumentInvalid: it is no table of finite numbers with rows of one length.
        KernelDimensionsUneven: a side of it is even.
    """
    try:
        weights = np.array(kernel, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentInvalid("A kernel is a list of equally long lists of numbers.") from error
    if weights.ndim != 2 or not np.isfinite(weights).all():  # noqa: PLR2004 - y and x
        raise ArgumentInvalid("A kernel is a list of equally long lists of finite numbers.")
    if weights.shape[0] % 2 == 0 or weights.shape[1] % 2 == 0:
        raise KernelDimensionsUneven(
            f"The kernel has {weights.shape[0]} rows and {weights.shape[1]} columns. Both must be "
            "odd, so that a pixel is in the middle; fill it up with zeros."
        )
    if weights.size > MOST_WEIGHTS:
        raise ArgumentInvalid(
            f"The kernel has {weights.shape[0]} x {weights.shape[1]} weights and may have "
            f"{MOST_WEIGHTS}. Resample to larger pixels first, or apply smaller kernels in turn."
        )
    return weights


@process(
    "apply_kernel",
    Role.CUBE,
    categories=("cubes", "math > image filter"),
    rules=Rules(window=_kernel_window, labels=same_labels, borders=True, scratch=2.0),
)
def apply_kernel(
    data: RasterCube,
    kernel: Kernel,
    factor: Real = 1,
    border: Border = 0,
    replace_invalid: Real = 0,
) -> RasterCube:
    """Convolve every image with a kernel, out(y, x) = factor * sum k(j, i) * in(y - j, x - i).

    The kernel is turned by 180 degrees against the image, as a convolution does; j and i count
    from its middle. Sums are made in float64, in the order of the kernel, pixel by pixel.

    Args:
        data: (..., y, x) numbers, or truth values (0 and 1).
        kernel: (y, x) weights, both sides odd.
        factor: multiplies each sum.
        border: what lies outside of the cube: a number, `replicate` (its border pixel),
            `reflect` (mirrored at its edge), `reflect_pixel` (mirrored at the centre of its
            border pixel) or `wrap` (its opposite side).
        replace_invalid: stands for no-data, NaN and infinite values inside of the cube.

    Returns:
        (..., y, x) in the floating type in which `data` is computed; every pixel is valid.

    Raises:
        KernelDimensionsUneven: a side of the kernel is even.

    Source:
        openEO process `apply_kernel` 2.0.0-rc.2; songho.ca/dsp/convolution (definition).
    """
    if data.grid is None:
        raise ArgumentInvalid("`apply_kernel` needs a raster cube; this one has no grid.")
    weights = checked_kernel(kernel)
    if isinstance(border, str) and border not in _BORDERS:
        raise ArgumentInvalid(f"Border {border!r} is neither a number nor {', '.join(_BORDERS)}.")
    dtype, turned = compute_dtype(data.dtype), frozen(weights[::-1, ::-1])
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = data.values.astype(dtype, copy=False)
        finite = (np.isfinite(numbers),) if data.dtype.kind == "f" else ()
        usable = all_of(numbers.shape, data.valid, *finite)
        if not known_everywhere(usable):
            numbers = where(usable, numbers, dtype.type(replace_invalid))
        result = np.zeros(numbers.shape, dtype)
        for index in np.ndindex(numbers.shape[:-2] if numbers.size else (0,)):
            convolve(frozen(_padded(numbers[index], weights, border)), turned, result[index])
        if factor != 1:
            result *= factor
    return data.same_pixels(result, all_valid(result.shape))


def _padded(image: Values, weights: Values, border: str | float) -> Values:
    """Return an image with half a kernel more on each side."""
    halo = [(length // 2, length // 2) for length in weights.shape]
    if isinstance(border, str):
        return np.pad(image, halo, mode=_BORDERS[border])
    return np.pad(image, halo, constant_values=border)


def _neighbourhood_window(
    wanted: Window, extent: Window, arguments: Mapping[str, Any], argument: str
) -> Window:
    """Need whole chunks, counted from the corner of the extent, and their overlap."""
    if wanted.is_empty:
        return wanted
    del argument
    # The rule knows no names: an axis that is called otherwise is needed whole.
    spans = spans_of(arguments, ("y", "x"), arguments["place"].grid, strict=False)
    rows, cols = spans["y"], spans["x"]
    down = list(rows.chunks(wanted.row, wanted.row_stop, extent.row, extent.row_stop))
    across = list(cols.chunks(wanted.col, wanted.col_stop, extent.col, extent.col_stop))
    top, left = down[0][0], across[0][0]
    snapped = Window(top, left, down[-1][1] - top, across[-1][1] - left)
    return snapped.grown(rows.halo, cols.halo)


@process(
    "apply_neighborhood",
    Role.CUBE,
    categories=("cubes",),
    rules=Rules(window=_neighbourhood_window, scratch=3.0),
)
def apply_neighborhood(
    data: RasterCube,
    process: NeighborhoodProcess,
    size: ChunkSizes,
    overlap: Overlaps = None,
    context: Context = None,
    *,
    place: Place,
) -> RasterCube:
    """Compute a cube chunk by chunk, each with some of its surroundings.

    Chunks are counted from the upper left corner of the cube, and from its first date. Along x
    and y they all have one size: what a chunk or its overlap has outside of the cube is no-data.
    Along dimensions with labels they are cut where the labels end; periods without a date are
    left out.

    Args:
        data: (..., y, x) raster.
        process: called with a chunk and its overlap as `data`; returns a cube of the same
            dimensions, or pixels of the same shape. Where only one dimension of the chunks can
            have more than one label or pixel, it gets and returns an array, labelled with dates,
            names or coordinates.
        size: edge of a chunk by dimension, `{"dimension", "value", "unit"}`: a number of pixels
            or labels (`px`), for x and y also metres (`m`; of degrees, at the middle of the
            grid) or, without a unit, units of the CRS, both rounded to pixels; for dates also a
            duration of ISO 8601 such as `P1M`. A dimension that is not named, or with null, is
            not cut.
        overlap: what a chunk gets on either side, in the same form; changes there are ignored.
        context: passed on to `process`.
        place: the pixels that are wanted and all that there are.

    Returns:
        (..., y, x): the chunks put together, without their overlap.

    Raises:
        DimensionNotAvailable: `size` or `overlap` names a dimension that is not there.
        DataCubePropertiesImmutable: `process` returns other dimensions or another shape.

    Source:
        openEO process `apply_neighborhood` 2.0.0-rc.2.
    """
    if data.grid is None or data.window is None:
        raise ArgumentInvalid("`apply_neighborhood` needs a raster cube; this one has no grid.")
    spans = spans_of({"size": size, "overlap": overlap}, data.names, data.grid, strict=True)
    array_name = _array_dimension(data, spans)
    wanted = place.wanted
    if wanted.is_empty:
        wanted = Window(data.window.row, data.window.col, 0, 0)
    made = Mosaic((*data.values.shape[:-2], wanted.height, wanted.width), data.dtype)
    for piece in _pieces(data, spans, place, array_name):
        cut = _cut(data, piece)
        if array_name is None:
            result = _called(process, cut, context)
        else:
            result = _called_with_array(process, cut, array_name, context)
        _put(made, wanted, piece, result)
    whole = made.whole()
    return replace(data, values=whole.values, valid=whole.valid, window=wanted)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A chunk: what is computed, and what it is computed from."""

    own: Window
    padded: Window
    own_labels: tuple[slice, ...]
    padded_labels: tuple[slice, ...]


def _pieces(
    data: Cube, spans: Mapping[str, Span], place: Place, array_name: str | None
) -> Iterator[_Piece]:
    """Yield the chunks that the wanted pixels touch, in row order; one without pixels if none."""
    # What is one pixel or label of each array is computed at once.
    spans = {
        name: span if array_name in {None, name} else Span(None, 0) for name, span in spans.items()
    }
    rows, cols = (spans[name] for name in data.names[-2:])
    extent = place.extent
    target = place.wanted.intersection(extent)
    own_windows: Iterator[Window]
    if target.is_empty and data.window is not None:
        lengths = {data.names[-2]: extent.height, data.names[-1]: extent.width}
        height, width = (
            (span.size if isinstance(span.size, int) else lengths[name]) * (name == array_name)
            for name, span in zip(data.names[-2:], (rows, cols), strict=True)
        )
        own_windows = iter([Window(data.window.row, data.window.col, height, width)])
        rows = rows if height else Span(None, 0)
        cols = cols if width else Span(None, 0)
    else:
        down, along = (
            [(start, stop)]
            if array_name not in {None, name}
            else list(span.chunks(start, stop, origin, end))
            for name, span, (start, stop), (origin, end) in zip(
                data.names[-2:], (rows, cols), _edges(target), _edges(extent), strict=True
            )
        )
        own_windows = (
            Window(top, left, bottom - top, right - left)
            for (top, bottom), (left, right) in product(down, along)
        )
    labelled = [label_cuts(spans[d.name], d) for d in data.dimensions[:-2]]
    for own in own_windows:
        for cuts in product(*labelled):
            yield _Piece(
                own.intersection(extent),
                own.grown(rows.halo, cols.halo),
                tuple(mine for mine, _ in cuts),
                tuple(padded for _, padded in cuts),
            )


def _edges(window: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return first row and stop, first column and stop."""
    return (window.row, window.row_stop), (window.col, window.col_stop)


def _array_dimension(data: Cube, spans: Mapping[str, Span]) -> str | None:
    """Return the dimension along which chunks are arrays; None where they are cubes."""
    several = [
        dimension.name
        for dimension in data.dimensions
        if not spans[dimension.name].is_single
        and (dimension.kind is Kind.SPATIAL or len(dimension.labels) > 1)
    ]
    return several[0] if len(several) == 1 else None


def _cut(data: Cube, piece: _Piece) -> Cube:
    """Return a chunk with its overlap, no-data where the cube has no pixels."""
    window, nothing = data.window, piece.padded.height == piece.padded.width == 0
    if window is None or nothing or (not piece.padded.is_empty and window.contains(piece.padded)):
        chunk = data.crop(piece.padded)
    else:
        shape = (*data.values.shape[:-2], piece.padded.height, piece.padded.width)
        values, valid = np.zeros(shape, data.dtype), np.zeros(shape, np.bool_)
        shared = window.intersection(piece.padded)
        if not shared.is_empty:
            there, here = window.slices(shared), piece.padded.slices(shared)
            values[..., here[0], here[1]] = data.values[..., there[0], there[1]]
            valid[..., here[0], here[1]] = data.valid[..., there[0], there[1]]
        chunk = replace(data, values=values, valid=valid, window=piece.padded)
    for dimension, seen in zip(data.dimensions, piece.padded_labels, strict=False):
        chunk = chunk.take(dimension.name, range(seen.start, seen.stop))
    return chunk


def _called(callback: Callback, cut: Cube, context: Any) -> Pixels:
    result = callback(data=cut, context=context)
    same = isinstance(result, Cube | Pixels) and result.values.shape == cut.values.shape
    if isinstance(result, Cube) and result.dimensions != cut.dimensions:
        same = False
    if not same:
        raise DataCubePropertiesImmutable(
            "The process of `apply_neighborhood` must return a cube with the dimensions and labels "
            f"that it gets ({', '.join(cut.names)}: {' x '.join(map(str, cut.values.shape))}), "
            f"and it returns {_shown(result)}."
        )
    return Pixels(result.values, result.valid)


def _called_with_array(callback: Callback, cut: Cube, name: str, context: Any) -> Pixels:
    stack = cut.stack(name)
    if stack.labels is None and cut.grid is not None and cut.window is not None:
        xs, ys = cut.grid.xs(cut.window), cut.grid.ys(cut.window)
        stack = replace(stack, labels=tuple((xs if name == cut.names[-1] else ys).tolist()))
    returned = callback(data=stack, context=context)
    result = as_stack(returned, stack.values.shape[1:], cut.dtype)
    if len(result) != len(stack) or not isinstance(returned, Stack):
        raise DataCubePropertiesImmutable(
            f"The process of `apply_neighborhood` must return an array of {len(stack)}, as it "
            f"gets, and it returns {_shown(returned)}."
        )
    axis = cut.axis(name)
    return Pixels(np.moveaxis(result.values, 0, axis), np.moveaxis(result.valid, 0, axis))


def _shown(result: Any) -> str:
    if isinstance(result, Cube):
        return f"{', '.join(result.names)}: {' x '.join(map(str, result.values.shape))}"
    if isinstance(result, Stack):
        return f"an array of {len(result)}"
    return type(result).__name__


def _put(made: Mosaic, wanted: Window, piece: _Piece, result: Pixels) -> None:
    """Put a chunk into the wanted window, without its overlap."""
    shared = piece.own.intersection(wanted)
    inner = tuple(
        slice(own.start - seen.start, own.stop - seen.start)
        for own, seen in zip(piece.own_labels, piece.padded_labels, strict=True)
    )
    source = (*inner, *piece.padded.slices(shared))
    made.put(
        (*piece.own_labels, *wanted.slices(shared)),
        Pixels(result.values[source], result.valid[source]),
    )
