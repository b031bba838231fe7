"""Memory as kernels see it: planes by their address, whatever their type.

`machine` calls these, and its cache on disk watches its own file only: touch that one where
something here changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from terrazzo.geo.jit import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]


def _at(typing: Any, address: Any) -> Any:
    """Return an address as a pointer; the caller keeps the array that it is of."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.voidptr(address), generate


pointer: Any = intrinsic(_at)
carray: Any = vars(numba)["carray"]  # without types


@jit
def unowned(array: Any) -> Any:
    """Return an array whose users nobody counts; the caller keeps the one that it is of."""
    return carray(pointer(array.ctypes.data), array.shape, array.dtype)


@jit
def view(address: int, n: int, like: Any) -> Any:
    """Return `n` numbers at an address, of the type of an array."""
    return carray(pointer(address), n, like.dtype)


@jit
def _copy(source: Any, begin: int, at: Ints, scattered: bool, out: Any, n: int) -> None:
    """Copy pixels from one place on, or from the places that `at` names (negative = none)."""
    if scattered:
        for j in range(n):
            out[j] = source[at[j]] if at[j] >= 0 else source.dtype.type(0)
    else:
        here = source[begin : begin + n]
        for j in range(n):
            out[j] = here[j]


@jit
def fetch(address: int, kind: int, begin: int, at: Ints, scattered: bool, out: Any, n: int) -> None:
    """Copy stored numbers of any type into a register."""
    place, size = pointer(address), begin + n
    if kind <= 1:
        _copy(carray(place, size, np.uint8), begin, at, scattered, out, n)
    elif kind == 2:
        _copy(carray(place, size, np.int8), begin, at, scattered, out, n)
    elif kind == 3:
        _copy(carray(place, size, np.uint16), begin, at, scattered, out, n)
    elif kind == 4:
        _copy(carray(place, size, np.int16), begin, at, scattered, out, n)
    elif kind == 5:
        _copy(carray(place, size, np.uint32), begin, at, scattered, out, n)
    elif kind == 6:
        _copy(carray(place, size, np.int32), begin, at, scattered, out, n)
    elif kind == 7:
        _copy(carray(place, size, np.float32), begin, at, scattered, out, n)
    else:
        _copy(carray(place, size, np.float64), begin, at, scattered, out, n)


@jit
def turn_over(register: Any, plane: Any, n: int, saving: bool) -> None:
    """Copy a register to a plane, or back."""
    for j in range(n):
        if saving:
            plane[j] = register[j]
        else:
            register[j] = plane[j]
