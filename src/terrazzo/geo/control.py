"""Coordinates interpolated between nodes that are transformed exactly.

Between grids of different CRS the nodes of a control lattice are transformed, every 16 pixels
at absolute multiples of that in the target grid (on pixel edges), and what lies between is
interpolated bilinearly within its cell. Cells are judged in blocks of 4 x 4: the error of a
bilinear cell is an eighth of the second differences of the nodes in both directions, so where
that estimate is above `TOLERANCE` in rows or columns, or a node is not finite, the block is
refined: nodes every 4 pixels, judged likewise, and where they bend too much as well every pixel
is transformed exactly. Poles, tears at the antimeridian and the rim of a projection are bends
like any other, only larger.

The estimate may be five times too low before an interpolated coordinate is `ERROR` away from
the exact one. Which block is refined, and the bits of every coordinate, depend on the lattices
and the absolute row and column alone, never on the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from terrazzo.geo.coordinates import SNAP, exact_boxes, exact_centres, project
from terrazzo.geo.grid import Window
from terrazzo.geo.jit import frozen, jit
from terrazzo.geo.scale import scale_between
from terrazzo.spans import span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from terrazzo.geo.grid import Grid

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Ints32 = NDArray[np.int32]
    Nodes = tuple[Floats, Floats]
    Place = tuple[int, int]
    Origin = tuple[int, int, int]
    Refined = tuple[Ints, Ints, Floats, Floats, Floats, Floats]
    Four = tuple[float, float, float, float]
    Sides = tuple[int, int, int, int]

ERROR = 0.1
"""Source pixels: no interpolated coordinate is farther from the exact one."""
TOLERANCE = 0.02
"""Source pixels: the estimated error above which a block is transformed exactly."""
STEPS = (16, 4)
"""Pixels between nodes, coarse and fine; powers of 2, so that places in a cell are exact."""
CELLS = 4
"""Cells along the edge of a block, which is interpolated or refined as a whole."""
ROUNDED = 1e-9
"""Source pixels: more than rounding moves a coordinate beyond those of its cell's corners."""


@dataclass(frozen=True, eq=False)
class Control:
    """The control lattice around a window, and the pixels of blocks that bend too much for it."""

    target: Grid
    """The grid whose pixels are wanted."""
    window: Window
    """The pixels of `target` that are wanted."""
    source: Grid
    """The grid that rows and columns are of, in another CRS."""
    origin: Origin
    """Row and column of the first node, pixels of `target`, and pixels between nodes."""
    nodes: Nodes
    """(rows, cols) of the nodes in the source, each (CELLS * n + 1, CELLS * m + 1)."""
    bent: NDArray[np.bool_]
    """(n, m) blocks that are refined."""
    exact: bool
    """Whether refined means transformed pixel by pixel, not interpolated more finely."""

    @classmethod
    def around(
        cls, target: Grid, window: Window, source: Grid, *, exact: bool, step: int = STEPS[0]
    ) -> Control:
        """Transform the nodes around a window; with `exact` every pixel will be transformed."""
        block = step * CELLS
        row, col = window.row // block * block, window.col // block * block
        bent = np.ones(
            (-(-(window.row_stop - row) // block), -(-(window.col_stop - col) // block)), np.bool_
        )
        down, across = (0, 0) if exact else (n * CELLS + 1 for n in bent.shape)
        ys = target.top - (row + step * np.arange(down, dtype=np.float64)) * target.pixel_y
        xs = target.left + (col + step * np.arange(across, dtype=np.float64)) * target.pixel_x
        with span("project"):
            found = project(*np.meshgrid(xs, ys), target, source, snap=False)
        nodes = frozen(found[0]), frozen(found[1])
        if not exact:
            judge(*nodes, bent)
        last = exact or step == STEPS[-1]
        return cls(target, window, source, (row, col, step), nodes, bent, last)

    def centres(self, first: int, stop: int) -> tuple[Floats, Floats]:
        """Return (rows, cols), both (n, w), of the pixel centres of rows of the window."""
        rows = np.empty((stop - first, self.window.width), dtype=np.float64)
        cols = np.empty_like(rows)
        at = self.window.row + first, self.window.col
        fill_centres(self.nodes, self.origin, self._refined_centres, at, rows, cols)
        return rows, cols

    def boxes(self, first: int, stop: int) -> tuple[Floats, Floats, Floats, Floats]:
        """Return upper, lower, left and right edges, each (n, w), of the pixels' footprints."""
        out = np.empty((4, stop - first, self.window.width), dtype=np.float64)
        at = self.window.row + first, self.window.col
        fill_boxes(self.nodes, self.origin, self._refined_boxes, at, out)
        return out[0], out[1], out[2], out[3]

    def indices(self, within: Window) -> Ints32:
        """Return (h, w) of row * within.width + column of the containing pixel; -1 outside."""
        out = np.empty((self.window.height, self.window.width), dtype=np.int32)
        at = self.window.row, self.window.col
        fill_indices(self.nodes, self.origin, self._refined_centres, at, _sides(within), out)
        return out

    def bounds(self, within: Window, *, areas: bool) -> Four:
        """Return least and greatest row, then column, of the pixels that lie within a window.

        Args:
            within: source pixels that there are.
            areas: whether footprints count, those that overlap `within`; otherwise centres.

        Returns:
            Least above greatest where no pixel lies within.
        """
        refined = self._refined_boxes if areas else self._refined_centres
        here = (self.window.row, self.window.row_stop, self.window.col, self.window.col_stop)
        half = 0.5 if areas else 0.0
        return extremes(self.nodes, self.origin, refined, here, _sides(within), half)

    @cached_property
    def _refined_centres(self) -> Refined:
        rows, cols = [], []
        for strip in self._strips():
            if self.exact:
                with span("project"):
                    at = exact_centres(self.target, strip, self.source)
            else:
                at = self._finer(strip).centres(0, strip.height)
            rows.append(at[0].ravel())
            cols.append(at[1].ravel())
        row, col = _joined(rows), _joined(cols)
        return (*self._places(), row, row, col, col)

    @cached_property
    def _refined_boxes(self) -> Refined:
        parts: list[list[Floats]] = [[], [], [], []]
        for strip in self._strips():
            if self.exact:
                nominal = scale_between(self.target, self.source)
                with span("project"):
                    box = exact_boxes(self.target, strip, self.source, nominal)
                found = box.row_lo, box.row_hi, box.col_lo, box.col_hi
            else:
                found = self._finer(strip).boxes(0, strip.height)
            for part, edge in zip(parts, found, strict=True):
                part.append(edge.ravel())
        row_lo, row_hi, col_lo, col_hi = (_joined(part) for part in parts)
        return (*self._places(), row_lo, row_hi, col_lo, col_hi)

    def _finer(self, strip: Window) -> Control:
        step = STEPS[STEPS.index(self.origin[2]) + 1]
        return Control.around(self.target, strip, self.source, exact=False, step=step)

    def _strips(self) -> Iterator[Window]:
        """Yield the refined pixels: runs of bent blocks, side by side, cut to the window."""
        block = self.origin[2] * CELLS
        for i in range(self.bent.shape[0]):
            changes = np.flatnonzero(np.diff(self.bent[i], prepend=False, append=False))
            for first, stop in changes.reshape(-1, 2).tolist():
                row, col = self.origin[0] + i * block, self.origin[1] + first * block
                whole = Window(row, col, block, (stop - first) * block)
                yield whole.intersection(self.window)

    def _places(self) -> tuple[Ints, Ints]:
        """Return for each block where its refined pixels are: row * stride + column + start.

        Rows and columns count from `origin`; the stride is 0 where the block is interpolated.
        """
        block = self.origin[2] * CELLS
        starts = np.zeros(self.bent.shape, dtype=np.int64)
        strides = np.zeros(self.bent.shape, dtype=np.int64)
        size = 0
        for strip in self._strips():
            row, col = strip.row - self.origin[0], strip.col - self.origin[1]
            blocks = row // block, slice(col // block, -(-(col + strip.width) // block))
            starts[blocks] = size - row * strip.width - col
            strides[blocks] = strip.width
            size += strip.pixels
        return frozen(starts), frozen(strides)


def _joined(parts: list[Floats]) -> Floats:
    return frozen(np.concatenate(parts) if parts else np.empty(0, dtype=np.float64))


def _sides(window: Window) -> Sides:
    return window.row, window.row_stop, window.col, window.col_stop


@jit
def judge(rows: Floats, cols: Floats, bent: NDArray[np.bool_]) -> None:
    """Tell which blocks bend too much to be interpolated.

    Args:
        rows: rows of the nodes, (CELLS * n + 1, CELLS * m + 1).
        cols: columns of the nodes, likewise.
        bent: (n, m) output.
    """
    for i in range(bent.shape[0]):
        for j in range(bent.shape[1]):
            top, left = i * CELLS, j * CELLS
            worst = 0.0
            for nodes in (rows, cols):
                down = across = 0.0
                for m in range(CELLS + 1):
                    for k in range(1, CELLS):
                        one = nodes[top + m, left + k - 1] + nodes[top + m, left + k + 1]
                        two = nodes[top + k - 1, left + m] + nodes[top + k + 1, left + m]
                        one -= 2.0 * nodes[top + m, left + k]
                        two -= 2.0 * nodes[top + k, left + m]
                        if not abs(one) + abs(two) < np.inf:
                            worst = np.inf
                        across, down = max(across, abs(one)), max(down, abs(two))
                worst = max(worst, (across + down) / 8.0)
            bent[i, j] = worst > TOLERANCE


@jit
def _snapped(value: float) -> float:
    half: float = np.floor(value * 2.0 + 0.5) * 0.5
    return half if abs(value - half) <= SNAP else value


@jit
def _between(n: Four, v: float, u: float) -> float:
    """Interpolate between the nodes of a cell (upper two, lower two), v down and u right.

    On a cell's edge the numbers are those of the edge's two nodes alone, to the bit, so that
    two cells agree on what they share.
    """
    left, right = n[0] * (1.0 - v) + n[2] * v, n[1] * (1.0 - v) + n[3] * v
    return left * (1.0 - u) + right * u


@jit
def _cell(nodes: Floats, r: int, c: int) -> Four:
    return nodes[r, c], nodes[r, c + 1], nodes[r + 1, c], nodes[r + 1, c + 1]


@jit
def _line(
    nodes: Nodes, step: int, refined: Refined, y: int, x: int, rows: Floats, cols: Floats
) -> None:
    """Write the coordinates of the centres of one row of pixels, counted from the first node."""
    width, r, part = rows.size, y // step, 1.0 / step
    v, j = (y - r * step + 0.5) * part, 0
    while j < width:
        c = (x + j) // step
        stop = min(width, (c + 1) * step - x)
        stride = refined[1][r // CELLS, c // CELLS]
        if stride > 0:
            at = refined[0][r // CELLS, c // CELLS] + y * stride + x
            for k in range(j, stop):
                rows[k], cols[k] = refined[2][at + k], refined[4][at + k]
        else:
            row, col, before = _cell(nodes[0], r, c), _cell(nodes[1], r, c), x - c * step + 0.5
            for k in range(j, stop):
                u = (before + k) * part
                rows[k], cols[k] = _snapped(_between(row, v, u)), _snapped(_between(col, v, u))
        j = stop


@jit
def fill_centres(
    nodes: Nodes, origin: Origin, refined: Refined, at: Place, rows: Floats, cols: Floats
) -> None:
    """Write the coordinates of pixel centres.

    Args:
        nodes: rows and columns of the nodes in the source.
        origin: row and column of the first node, target pixels, and pixels between nodes.
        refined: start and stride of every block (`Control._places`), then the refined pixels:
            row, row, column, column.
        at: row and column of the first pixel that is wanted.
        rows: (h, w) output.
        cols: (h, w) output.
    """
    for i in range(rows.shape[0]):
        _line(nodes, origin[2], refined, at[0] + i - origin[0], at[1] - origin[1], rows[i], cols[i])


@jit
def fill_indices(
    nodes: Nodes,
    origin: Origin,
    refined: Refined,
    at: Place,
    within: Sides,
    out: Ints32,
) -> None:
    """Write which pixel of a source window contains each centre; arguments as `fill_centres`.

    `within` is first and stop row, first and stop column of the source window.
    """
    width = out.shape[1]
    rows, cols = np.empty(width), np.empty(width)
    top, bottom = float(within[0]), float(within[1])
    left, right = float(within[2]), float(within[3])
    across = right - left
    for i in range(out.shape[0]):
        y, x = at[0] + i - origin[0], at[1] - origin[1]
        _line(nodes, origin[2], refined, y, x, rows, cols)
        for j in range(width):
            row, col = rows[j], cols[j]
            inside = (row >= top) & (row < bottom) & (col >= left) & (col < right)
            number = (np.floor(row) - top) * across + (np.floor(col) - left)
            out[i, j] = np.int32(number if inside else -1.0)


@jit
def _box(n: Four, top: float, bottom: float, left: float, right: float) -> tuple[float, float]:
    """Return least and greatest of the four corners of a rectangle within a cell."""
    a, b = _between(n, top, left), _between(n, top, right)
    c, d = _between(n, bottom, left), _between(n, bottom, right)
    return min(a, b, c, d), max(a, b, c, d)


@jit
def fill_boxes(nodes: Nodes, origin: Origin, refined: Refined, at: Place, out: Floats) -> None:
    """Write the bounding boxes of the pixels' corners; arguments as `fill_centres`.

    `out` is (4, h, w): upper, lower, left and right edges.
    """
    x, step, part = at[1] - origin[1], origin[2], 1.0 / origin[2]
    for i in range(out.shape[1]):
        y, j = at[0] + i - origin[0], 0
        r = y // step
        v = (y - r * step) * part
        while j < out.shape[2]:
            c = (x + j) // step
            stop = min(out.shape[2], (c + 1) * step - x)
            stride = refined[1][r // CELLS, c // CELLS]
            if stride > 0:
                begin = refined[0][r // CELLS, c // CELLS] + y * stride + x
                for k in range(j, stop):
                    out[0, i, k], out[1, i, k] = refined[2][begin + k], refined[3][begin + k]
                    out[2, i, k], out[3, i, k] = refined[4][begin + k], refined[5][begin + k]
            else:
                row, col = _cell(nodes[0], r, c), _cell(nodes[1], r, c)
                for k in range(j, stop):
                    u = (x + k - c * step) * part
                    low, high = _box(row, v, v + part, u, u + part)
                    out[0, i, k], out[1, i, k] = _snapped(low), _snapped(high)
                    low, high = _box(col, v, v + part, u, u + part)
                    out[2, i, k], out[3, i, k] = _snapped(low), _snapped(high)
            j = stop


@jit
def _touches(box: Four, within: Four) -> bool:
    rows = box[1] >= within[0] and box[0] < within[1]
    return rows and box[3] >= within[2] and box[2] < within[3]


@jit
def _wider(found: Four, box: Four, within: Four) -> Four:
    """Return extremes that also hold a box, if that touches the window."""
    if not _touches(box, within):
        return found
    rows = min(found[0], box[0]), max(found[1], box[1])
    return rows[0], rows[1], min(found[2], box[2]), max(found[3], box[3])


@jit
def _reach(nodes: Nodes, step: int, r: int, c: int, inside: Four, half: float) -> Four:
    """Return the extremes of a rectangle of pixel centres of a cell, `half` a pixel added."""
    part = 1.0 / step
    top, bottom = (inside[0] + 0.5 - half) * part, (inside[1] - 0.5 + half) * part
    left, right = (inside[2] + 0.5 - half) * part, (inside[3] - 0.5 + half) * part
    rows = _box(_cell(nodes[0], r, c), top, bottom, left, right)
    cols = _box(_cell(nodes[1], r, c), top, bottom, left, right)
    return (
        _snapped(rows[0] - ROUNDED),
        _snapped(rows[1] + ROUNDED),
        _snapped(cols[0] - ROUNDED),
        _snapped(cols[1] + ROUNDED),
    )


@jit
def extremes(
    nodes: Nodes, origin: Origin, refined: Refined, here: Sides, sides: Sides, half: float
) -> Four:
    """Return least and greatest row, then column, of the pixels that lie in a source window.

    A bilinear function takes its extremes at the corners, so a cell that lies within as a whole
    is four corners' work; one across the window's border is taken pixel by pixel.

    Args:
        nodes: as for `fill_centres`.
        origin: likewise.
        refined: likewise; for footprints with their four edges.
        here: first and stop row, first and stop column of the target window.
        sides: likewise of the source window.
        half: 0.5 for footprints, 0 for centres.
    """
    within = float(sides[0]), float(sides[1]), float(sides[2]), float(sides[3])
    found = (np.inf, -np.inf, np.inf, -np.inf)
    y0, y1, step = here[0] - origin[0], here[1] - origin[0], origin[2]
    x0, x1 = here[2] - origin[1], here[3] - origin[1]
    for r in range(y0 // step, (y1 - 1) // step + 1):
        for c in range(x0 // step, (x1 - 1) // step + 1):
            top, bottom = max(y0 - r * step, 0), min(y1 - r * step, step)
            left, right = max(x0 - c * step, 0), min(x1 - c * step, step)
            block = r // CELLS, c // CELLS
            stride = refined[1][block]
            if stride == 0:
                inside = float(top), float(bottom), float(left), float(right)
                whole = _reach(nodes, step, r, c, inside, half)
                rows = whole[0] >= within[0] and whole[1] < within[1]
                if rows and whole[2] >= within[2] and whole[3] < within[3]:
                    found = _wider(found, whole, within)
                    continue
                if not _touches(whole, within):
                    continue
            for y in range(top, bottom):
                at = refined[0][block] + (r * step + y) * stride + c * step
                for x in range(left, right):
                    if stride == 0:
                        pixel = float(y), float(y + 1), float(x), float(x + 1)
                        box = _reach(nodes, step, r, c, pixel, half)
                    else:
                        k = at + x
                        box = refined[2][k], refined[3][k], refined[4][k], refined[5][k]
                    found = _wider(found, box, within)
    return found
