"""The one way kernels are compiled: without the GIL, cached on disk, no fast maths."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=np.generic)


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a scalar loop with numba, keeping its signature for the type checker.

    Sums keep their order (no fast maths), so a kernel gives the same bits for a pixel whichever
    block it is computed in. The disk cache watches a kernel's own file only: keep what kernels
    call in the module that calls it.
    """
    return cast("Callable[P, R]", njit(nogil=True, cache=True)(function))


def frozen(array: NDArray[T]) -> NDArray[T]:
    """Return an array as kernels take it: contiguous, native byte order, read-only view.

    One layout and one mutability means one compiled version per dtype; no copy where the array
    is contiguous and native already.
    """
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    view = np.ascontiguousarray(native).reshape(array.shape).view()
    view.flags.writeable = False
    return view
