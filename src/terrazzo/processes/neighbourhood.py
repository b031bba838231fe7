"""Focal processes: a kernel over every pixel, and callbacks over neighbourhoods of pixels."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np

from terrazzo.cube import Cube, Pixels, Stack, Values, all_valid
from terrazzo.cube.pixels import compute_dtype, known_everywhere
from terrazzo.errors import (
    ArgumentInvalid,
    DataCubePropertiesImmutable,
    DimensionNotAvailable,
    KernelDimensionsUneven,
)
from terrazzo.geo.crs import is_geographic
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.jit import frozen
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
from terrazzo.processes.returned import as_stack
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


@dataclass(frozen=True, slots=True)
class Span:
    """How one axis is cut into chunks."""

    size: int | None
    """Pixels or labels of a chunk; None for one chunk of all."""
    overlap: int
    """Pixels or labels that a chunk has on each side beside its own; 0 where `size` is None."""

    def chunks(self, start: int, stop: int, origin: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) of the chunks of origin..end that touch start..stop."""
        if self.size is None:
            yield origin, end
            return
        first = origin + (start - origin) // self.size * self.size
        stop = min(stop, end)
        for begin in range(first, stop, self.size):
            yield begin, begin + self.size


def _neighbourhood_window(
    wanted: Window, extent: Window, arguments: Mapping[str, Any], argument: str
) -> Window:
    """Need whole chunks, counted from the corner of the extent, and their overlap."""
    if wanted.is_empty:
        return wanted
    del argument
    # The rule sees no cube: an axis by another name, or cut by length, is needed whole.
    spans = _spans(arguments, ("y", "x"), None, strict=False)
    rows, cols = spans["y"], spans["x"]
    down = list(rows.chunks(wanted.row, wanted.row_stop, extent.row, extent.row_stop))
    across = list(cols.chunks(wanted.col, wanted.col_stop, extent.col, extent.col_stop))
    top, left = down[0][0], across[0][0]
    snapped = Window(top, left, down[-1][1] - top, across[-1][1] - left)
    return snapped.grown(rows.overlap, cols.overlap)


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

    Chunks are counted from the upper left corner of the cube. Along x and y they all have one
    size: what a chunk or its overlap has outside of the cube is no-data. Along dimensions with
    labels they are cut where the labels end.

    Args:
        data: (..., y, x) raster.
        process: called with a chunk and its overlap as `data`; returns a cube of the same
            dimensions, or pixels of the same shape. Where a chunk has one pixel, no overlap and
            several labels in one dimension only, it gets and returns an array.
        size: edge of a chunk by dimension, `{"dimension", "value", "unit"}`: a number of pixels
            or labels (`px`), for x and y also metres (`m`) or, without a unit, units of the
            CRS, rounded to pixels. A dimension that is not named, or with null, is not cut.
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
    spans = _spans({"size": size, "overlap": overlap}, data.names, data.grid, strict=True)
    array_name = _array_dimension(data, spans)
    done = []
    for piece in _pieces(data, spans, place, as_array=array_name is not None):
        cut = _cut(data, piece)
        if array_name is None:
            result = _called(process, cut, context)
        else:
            result = _called_with_array(process, cut, array_name, context)
        done.append((piece, result))
    wanted = place.wanted
    if wanted.is_empty:
        wanted = Window(data.window.row, data.window.col, 0, 0)
    return _assembled(data, wanted, done)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A chunk: what is computed, and what it is computed from."""

    own: Window
    padded: Window
    own_labels: tuple[slice, ...]
    padded_labels: tuple[slice, ...]


def _pieces(
    data: Cube, spans: Mapping[str, Span], place: Place, *, as_array: bool
) -> Iterator[_Piece]:
    """Yield the chunks that the wanted pixels touch, in row order; one without pixels if none."""
    rows, cols = (spans[name] for name in data.names[-2:])
    extent = place.extent
    target = place.wanted.intersection(extent)
    own_windows: Iterator[Window]
    if target.is_empty and data.window is not None:
        own_windows = iter([Window(data.window.row, data.window.col, 0, 0)])
        rows = cols = Span(None, 0)
    elif as_array:
        own_windows = iter([target])
    else:
        own_windows = (
            Window(top, left, bottom - top, right - left)
            for top, bottom in rows.chunks(target.row, target.row_stop, extent.row, extent.row_stop)
            for left, right in cols.chunks(target.col, target.col_stop, extent.col, extent.col_stop)
        )
    labelled = [
        _label_cuts(spans[dimension.name], len(dimension.labels))
        for dimension in data.dimensions[:-2]
    ]
    for own in own_windows:
        for cuts in product(*labelled):
            yield _Piece(
                own.intersection(extent),
                own.grown(rows.overlap, cols.overlap),
                tuple(mine for mine, _ in cuts),
                tuple(padded for _, padded in cuts),
            )


def _label_cuts(span: Span, count: int) -> list[tuple[slice, slice]]:
    """Return, for each chunk of labels, those it computes and those it sees."""
    return [
        (
            slice(start, min(stop, count)),
            slice(max(start - span.overlap, 0), min(stop + span.overlap, count)),
        )
        for start, stop in span.chunks(0, count, 0, count)
    ]


def _spans(
    arguments: Mapping[str, Any], names: tuple[str, ...], grid: Grid | None, *, strict: bool
) -> dict[str, Span]:
    """Read `size` and `overlap`; not `strict`, leave out what only the cube could tell."""
    lengths: dict[str, dict[str, int | None]] = {"size": {}, "overlap": {}}
    for key, found in lengths.items():
        for entry in arguments.get(key) or ():
            name = entry["dimension"]
            if not strict and entry.get("unit") != "px":
                continue
            if name in names:
                pixel = _pixel_of(name, names, grid, entry.get("unit"))
                found[name] = _length(entry.get("value"), entry.get("unit"), pixel, name)
            elif strict:
                raise DimensionNotAvailable(name, names)
    spans = {}
    for name in names:
        size, overlap = lengths["size"].get(name), lengths["overlap"].get(name) or 0
        if size == 0:
            raise ArgumentInvalid(f"The size of a chunk along {name!r} is less than a pixel.")
        spans[name] = Span(size, 0 if size is None else overlap)
    return spans


def _pixel_of(name: str, names: tuple[str, ...], grid: Grid | None, unit: str | None) -> float:
    """Return what a position of a dimension measures in a unit; 1 for pixels and labels."""
    if unit == "px" or (unit is None and name not in names[-2:]):
        return 1.0
    if unit not in {None, "m"} or name not in names[-2:]:
        raise ArgumentInvalid(f"Unit {unit!r} does not fit dimension {name!r}. Use 'px'.")
    if grid is None or (unit == "m" and is_geographic(grid.crs)):
        raise ArgumentInvalid(
            f"Sizes along {name!r} cannot be told in {unit or 'units of the CRS'} here; give a "
            "number of pixels with the unit 'px'."
        )
    return grid.pixel_x if name == names[-1] else grid.pixel_y


def _length(value: Any, unit: str | None, pixel: float, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ArgumentInvalid(
            f"The length {value!r} along {name!r} is no number. Give a number of pixels or labels "
            "with the unit 'px' (durations are not supported)."
        )
    length = value / pixel
    if value < 0 or (unit == "px" and length != round(length)):
        raise ArgumentInvalid(f"The length {value!r} along {name!r} is no number of pixels.")
    return round(length)


def _array_dimension(data: Cube, spans: Mapping[str, Span]) -> str | None:
    """Return the dimension along which chunks are arrays; None where they are cubes."""
    if any(spans[name] != Span(1, 0) for name in data.names[-2:]):
        return None
    several = [
        dimension.name
        for dimension in data.dimensions[:-2]
        if len(dimension.labels) > 1 and spans[dimension.name] != Span(1, 0)
    ]
    return several[0] if len(several) == 1 else None


def _cut(data: Cube, piece: _Piece) -> Cube:
    """Return a chunk with its overlap, no-data where the cube has no pixels."""
    window = data.window
    if window is None or window.contains(piece.padded):
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


def _assembled(data: Cube, wanted: Window, done: list[tuple[_Piece, Pixels]]) -> Cube:
    """Put the chunks into the wanted window, without their overlap."""
    dtype = np.result_type(*(result.dtype for _, result in done)) if done else data.dtype
    shape = (*data.values.shape[:-2], wanted.height, wanted.width)
    values, valid = np.zeros(shape, dtype), np.zeros(shape, np.bool_)
    for piece, result in done:
        shared = piece.own.intersection(wanted)
        inner = tuple(
            slice(own.start - seen.start, own.stop - seen.start)
            for own, seen in zip(piece.own_labels, piece.padded_labels, strict=True)
        )
        source = (*inner, *piece.padded.slices(shared))
        target = (*piece.own_labels, *wanted.slices(shared))
        values[target] = result.values[source]
        valid[target] = result.valid[source]
    return replace(data, values=values, valid=valid, window=wanted)
