"""Elementary functions, compiled: the same bits for a number wherever it stands.

NumPy picks other code for other processors, lengths and strides, and the C library's functions are
called number by number. Float32, the type of rasters, is computed here in float64 by plain
arithmetic that compilers turn into vector instructions: nearly always the nearest number, and the
same on every machine. Float64 takes the C library's functions; rarer functions take them in both
types.

`terrazzo.engine.machine` calls `apply` too, and its cache on disk watches its own file only: touch
that one where something here changes.

Source: Cody and Waite 1980, Software Manual for the Elementary Functions; Taylor series of exp,
sin, cos and artanh, cut off below 1e-11 on the reduced range.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba.extending import intrinsic

from terrazzo.geo.jit import frozen, jit

if TYPE_CHECKING:
    from terrazzo.cube import Values

NAMES = (
    *("exp", "ln", "log2", "log10", "sin", "cos", "tan", "power", "remainder"),
    *("arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arsinh", "arcosh", "artanh"),
    "arctan2",
)
"""All functions, by code."""
(
    EXP, LN, LOG2, LOG10, SIN, COS, TAN, POWER, REMAINDER,
    ARCSIN, ARCCOS, ARCTAN, SINH, COSH, TANH, ARSINH, ARCOSH, ARTANH, ARCTAN2,
) = range(19)  # fmt: skip
OF_TWO = frozenset({"power", "remainder", "arctan2"})
"""Those that take two numbers."""

ROUND = 1.5 * 2.0**52
"""Added to a number and taken away again, it rounds to a whole one, which its lowest bits hold."""
LN2, LOG2E, LOG10E, LOG10_2 = math.log(2), 1 / math.log(2), 1 / math.log(10), math.log10(2)
EXPONENT, TWO_52, ROOT_HALF = 52, 0x433 << 52, 0x3FE6A09E667F3BCD
"""Bits of float64: how far left its exponent is; 2**52; the root of a half."""
HALF_PI, HALF_PI_REST = math.floor(math.ldexp(math.pi / 2, 32)) / 2.0**32, 6.077100506506192e-11
"""Half a circle's half: its first 33 bits, so that multiples are exact, and all the others."""
FAR = 2.0**18
"""Angles beyond it are left to the C library."""
MOST = 2.0**28
"""Quotients up to it are whole in float64 only where they are exactly so."""


def of(name: str, x: Values, y: Values | None = None) -> Values:
    """Return a function of floats of one type, of two where it takes two; any shapes."""
    left, right = np.broadcast_arrays(x, x if y is None else y)
    one, other = (frozen(side).reshape(-1) for side in (left, right))
    out = np.empty(left.size, left.dtype)
    if out.size:
        apply(NAMES.index(name), one, other, out, out.size)
    return out.reshape(left.shape)


def _multiply_add(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """Return x * y + z, rounded once: exactly the same whether a processor can do it or not."""
    del typing, y, z

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.fma(*arguments)

    return x(x, x, x), generate


_fma: Any = intrinsic(_multiply_add)


@jit
def _exponential(r: float, k: float) -> float:
    """Return exp(r) * 2 ** k; |r| is at most half the logarithm of 2, `k` has `ROUND` added."""
    tail = _fma(r, _fma(r, _fma(r, 1 / 40320, 1 / 5040), 1 / 720), 1 / 120)
    power = _fma(r, _fma(r, _fma(r, _fma(r, _fma(r, tail, 1 / 24), 1 / 6), 1 / 2), 1.0), 1.0)
    bits = np.float64(power).view(np.int64) + (np.float64(k).view(np.int64) << EXPONENT)
    return np.int64(bits).view(np.float64)


@jit
def _logarithm(x: float) -> tuple[float, float]:
    """Return the exponent and the natural logarithm of the mantissa of a number above 0."""
    bits = np.float64(x).view(np.int64)
    exponent = (bits - ROOT_HALF) >> EXPONENT
    mantissa = np.int64(bits - (exponent << EXPONENT)).view(np.float64)
    s = np.divide(mantissa - 1.0, mantissa + 1.0)
    z = s * s
    tail = _fma(z, _fma(z, _fma(z, 2 / 11, 2 / 9), 2 / 7), 2 / 5)
    whole = np.int64(exponent + (1024 + TWO_52)).view(np.float64) - (2.0**52 + 1024.0)
    return whole, s * _fma(z, _fma(z, tail, 2 / 3), 2.0)


@jit
def _at_ends(x: float, logarithm: float) -> float:
    """Return the logarithm where there is one, and what stands for it at 0, infinity and below."""
    ended = logarithm if x > 0.0 else (-np.inf if x == 0.0 else np.nan)
    return ended if x < np.inf else x


@jit
def _exp(x: Any, out: Any, n: int) -> None:
    for j in range(n):
        a = np.float64(x[j])
        held = min(max(a, -200.0), 200.0)  # beyond, float32 is 0 or infinite
        k = _fma(held, LOG2E, ROUND)
        found = _exponential(_fma(ROUND - k, LN2, held), k)
        out[j] = found if x[j] == x[j] else a


@jit
def _log(which: int, x: Any, out: Any, n: int) -> None:
    if which == LN:
        for j in range(n):
            a = np.float64(x[j])
            exponent, rest = _logarithm(a)
            out[j] = _at_ends(a, _fma(exponent, LN2, rest))
    elif which == LOG2:
        for j in range(n):
            a = np.float64(x[j])
            exponent, rest = _logarithm(a)
            out[j] = _at_ends(a, _fma(rest, LOG2E, exponent))
    else:
        for j in range(n):
            a = np.float64(x[j])
            exponent, rest = _logarithm(a)
            out[j] = _at_ends(a, _fma(rest, LOG10E, exponent * LOG10_2))


@jit
def _sine_and_cosine(x: float) -> tuple[float, float]:
    """Return both of an angle up to `FAR`."""
    t = _fma(x, 2 / math.pi, ROUND)
    k, quarter = t - ROUND, np.float64(t).view(np.int64)
    r = _fma(-k, HALF_PI_REST, _fma(-k, HALF_PI, x))
    z = r * r
    tail = _fma(z, _fma(z, _fma(z, -1 / 39916800, 1 / 362880), -1 / 5040), 1 / 120)
    sine = _fma(r * z, _fma(z, tail, -1 / 6), r)
    tail = _fma(z, _fma(z, _fma(z, -1 / 3628800, 1 / 40320), -1 / 720), 1 / 24)
    cosine = _fma(z, _fma(z, tail, -1 / 2), 1.0)
    odd = (quarter & 1) != 0
    one, other = (cosine if odd else sine), (sine if odd else cosine)
    turned = ((quarter + 1) & 2) != 0
    return (-one if (quarter & 2) != 0 else one), (-other if turned else other)


@jit
def _sin_cos_tan(which: int, x: Any, out: Any, n: int) -> None:
    far = 0
    for j in range(n):
        far |= abs(x[j]) > FAR
    if which == SIN:
        for j in range(n):
            a = np.float64(x[j])
            found = _sine_and_cosine(a)[0]
            out[j] = found if a != 0.0 else a
    elif which == COS:
        for j in range(n):
            out[j] = _sine_and_cosine(np.float64(x[j]))[1]
    else:
        for j in range(n):
            a = np.float64(x[j])
            sine, cosine = _sine_and_cosine(a)
            out[j] = np.divide(sine, cosine) if a != 0.0 else a
    if far:
        for j in range(n):
            if abs(x[j]) > FAR:
                a = np.float64(x[j])
                out[j] = np.sin(a) if which == SIN else np.cos(a) if which == COS else np.tan(a)


@jit
def _power(x: Any, y: Any, out: Any, n: int) -> None:
    for j in range(n):
        a, p = np.float64(x[j]), np.float64(y[j])
        size = abs(a)
        exponent, rest = _logarithm(size)
        t = p * _at_ends(size, _fma(rest, LOG2E, exponent))
        held = min(max(t, -200.0), 200.0)
        k = held + ROUND
        found = _exponential((held - (k - ROUND)) * LN2, k)
        found = found if t == t else np.nan  # noqa: PLR0124 - NaN
        found = 1.0 if (p == 0.0) | (a == 1.0) | ((size == 1.0) & np.isinf(p)) else found
        whole, half = np.floor(p) == p, np.floor(p * 0.5) == p * 0.5
        found = np.nan if (a < 0.0) & (size < np.inf) & (not whole) else found
        out[j] = -found if (np.copysign(1.0, a) < 0.0) & whole & (not half) else found


@jit
def _remainder(x: Any, y: Any, out: Any, n: int) -> None:
    far = 0
    for j in range(n):
        a, b = np.float64(x[j]), np.float64(y[j])
        quotient = np.divide(a, b)
        far |= (not abs(quotient) < MOST) | np.isinf(b)
        left = a - b * np.trunc(quotient)
        other = ((b < 0.0) != (left < 0.0)) & (left != 0.0)
        moved = left + b if other else left
        out[j] = moved if left != 0.0 else np.copysign(0.0, b)
    if far:
        for j in range(n):
            a, b = np.float64(x[j]), np.float64(y[j])
            if (not abs(np.divide(a, b)) < MOST) | np.isinf(b):
                out[j] = _rest(a, b)


@jit
def _rest(a: float, b: float) -> float:
    """Return what is left of a number, with the sign of what it is divided by."""
    left: float = np.fmod(a, b)
    if left != 0.0:
        return left + b if (b < 0.0) != (left < 0.0) else left
    return math.copysign(0.0, b)


@jit
def _plain(which: int, x: Any, y: Any, out: Any, n: int) -> None:
    """Compute functions as the C library does."""
    if which == EXP:
        for j in range(n):
            out[j] = np.exp(x[j])
    elif which == LN:
        for j in range(n):
            out[j] = np.log(x[j])
    elif which == LOG2:
        for j in range(n):
            out[j] = np.log2(x[j])
    elif which == LOG10:
        for j in range(n):
            out[j] = np.log10(x[j])
    elif which == SIN:
        for j in range(n):
            out[j] = np.sin(x[j])
    elif which == COS:
        for j in range(n):
            out[j] = np.cos(x[j])
    elif which == TAN:
        for j in range(n):
            out[j] = np.tan(x[j])
    elif which == POWER:
        for j in range(n):
            out[j] = np.power(x[j], y[j])
    elif which == REMAINDER:
        for j in range(n):
            out[j] = _rest(np.float64(x[j]), np.float64(y[j]))


@jit
def _rare(which: int, x: Any, y: Any, out: Any, n: int) -> None:
    """Compute the functions that the C library computes in both types."""
    if which == ARCSIN:
        for j in range(n):
            out[j] = np.arcsin(x[j])
    elif which == ARCCOS:
        for j in range(n):
            out[j] = np.arccos(x[j])
    elif which == ARCTAN:
        for j in range(n):
            out[j] = np.arctan(x[j])
    elif which == SINH:
        for j in range(n):
            out[j] = np.sinh(x[j])
    elif which == COSH:
        for j in range(n):
            out[j] = np.cosh(x[j])
    elif which == TANH:
        for j in range(n):
            out[j] = np.tanh(x[j])
    elif which == ARSINH:
        for j in range(n):
            out[j] = np.arcsinh(x[j])
    elif which == ARCOSH:
        for j in range(n):
            out[j] = np.arccosh(x[j])
    elif which == ARTANH:
        for j in range(n):
            out[j] = np.arctanh(x[j])
    elif which == ARCTAN2:
        for j in range(n):
            out[j] = np.arctan2(x[j], y[j])


@jit
def apply(which: int, x: Any, y: Any, out: Any, n: int) -> None:
    """Write a function of the first `n` numbers.

    Args:
        which: position in `NAMES`.
        x: vector of float32 or float64.
        y: like `x`, for functions of two; else anything like it.
        out: like `x`, another vector, written.
        n: how many.
    """
    if which >= ARCSIN:
        _rare(which, x, y, out, n)
    elif out.itemsize > 4:
        _plain(which, x, y, out, n)
    elif which == EXP:
        _exp(x, out, n)
    elif which <= LOG10:
        _log(which, x, out, n)
    elif which <= TAN:
        _sin_cos_tan(which, x, out, n)
    elif which == POWER:
        _power(x, y, out, n)
    else:
        _remainder(x, y, out, n)
