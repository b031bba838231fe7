"""Compiled loops under the scalar processes: every pixel by itself, whatever lies around it.

NumPy picks another code path for other shapes and strides: its reductions add in another order
and its vectorised functions differ in the last bit from their scalar remainder. Here one pixel's
result is one sequence of operations, so that a tile, a block and a single point agree bit for
bit. Arguments are flat, contiguous and, where they are only read, read-only views, which keeps
the compiled variants to one per dtype.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube.traced import Traced, elementary
from terrazzo.geo.jit import frozen, jit
from terrazzo.processes import functions

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.cube import Mask, Values


def _function(name: str) -> Callable[..., Any]:
    """Return a function of `functions` that takes arrays, and what is to be fused."""

    def run(*operands: Any) -> Any:
        if any(isinstance(operand, Traced) for operand in operands):
            return elementary(name, *operands)
        return functions.of(name, *operands)

    return run


exp = _function("exp")
ln = _function("ln")
log2 = _function("log2")
log10 = _function("log10")
sin = _function("sin")
cos = _function("cos")
tan = _function("tan")
arcsin = _function("arcsin")
arccos = _function("arccos")
arctan = _function("arctan")
sinh = _function("sinh")
cosh = _function("cosh")
tanh = _function("tanh")
arsinh = _function("arsinh")
arcosh = _function("arcosh")
artanh = _function("artanh")
arctan2 = _function("arctan2")
power = _function("power")
remainder = _function("remainder")


BLOCK = 512
"""Pixels that are chosen together."""


@jit
def _choose(condition: Any, yes: Any, no: Any, out: Any) -> None:
    """Write one of two numbers per pixel; a branch of `BLOCK` numbers stands for all pixels."""
    for start in range(0, out.size, BLOCK):
        stop = min(start + BLOCK, out.size)
        asked, found = condition[start:stop], out[start:stop]
        one = yes[start:stop] if yes.size == out.size else yes[: stop - start]
        other = no[start:stop] if no.size == out.size else no[: stop - start]
        for i in range(found.size):
            a, b = one[i], other[i]  # both are read, so that the loop needs no branch
            found[i] = a if asked[i] else b


def where(condition: Mask, yes: Any, no: Any) -> Any:
    """Return `np.where` of the three, at the same speed whatever the pattern of the condition.

    Args:
        condition: truth values per pixel.
        yes: array or NumPy number that is taken where the condition is true.
        no: likewise where it is false.
    """
    if any(isinstance(part, Traced) for part in (condition, yes, no)):
        return np.where(condition, yes, no)
    dtype = np.result_type(yes, no)
    shape = np.broadcast_shapes(*map(np.shape, (condition, yes, no)))
    bits = np.dtype(f"u{dtype.itemsize}")
    out = np.empty(math.prod(shape), bits)

    def branch(values: Any) -> Values:
        array = np.asarray(values).astype(dtype, copy=False).view(bits)
        if any(array.strides) or out.size <= BLOCK:
            return frozen(np.broadcast_to(array, shape)).reshape(-1)
        return frozen(np.broadcast_to(array.flat[0], BLOCK))

    if out.size:
        asked = frozen(np.broadcast_to(condition, shape)).reshape(-1)
        _choose(asked, branch(yes), branch(no), out)
    return out.view(dtype).reshape(shape)


@jit
def convolve(padded: Any, turned: Any, out: Any) -> None:
    """Write the weighted sum of the neighbours of every pixel, in float64, in row order.

    Args:
        padded: (h + rows - 1, w + columns - 1) image with half a kernel around it.
        turned: (rows, columns) weights, turned by 180 degrees; those that are 0 are left out.
        out: (h, w), written.
    """
    total = np.empty(out.shape[1], np.float64)
    for y in range(out.shape[0]):
        total[:] = 0.0
        for j in range(turned.shape[0]):
            for i in range(turned.shape[1]):
                weight = turned[j, i]
                if weight != 0.0:
                    row = padded[y + j]
                    for x in range(total.size):
                        total[x] += weight * row[x + i]
        for x in range(total.size):
            out[y, x] = total[x]
