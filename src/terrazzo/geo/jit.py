"""The one way kernels are compiled: without the GIL, cached on disk, no fast maths."""

from __future__ import annotations

import sys
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

import numpy as np
from numba import njit
from numba.np import linalg

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

    Warns once where no folder for compiled kernels can be written; they work all the same.
    """
    try:
        return cast("Callable[P, R]", njit(nogil=True, cache=True)(function))
    except RuntimeError:  # numba found no folder that it may write
        _warn(function.__code__.co_filename)
        return cast("Callable[P, R]", njit(nogil=True)(function))


def frozen(array: NDArray[T]) -> NDArray[T]:
    """Return an array as kernels take it: contiguous, native byte order, read-only view.

    One layout and one mutability means one compiled version per dtype; no copy where the array
    is contiguous and native already.
    """
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    view = np.ascontiguousarray(native).reshape(array.shape).view()
    view.flags.writeable = False
    return view


@lru_cache(maxsize=1)
def _warn(file: str) -> None:
    warnings.warn(
        f"Compiled kernels cannot be kept: neither the folder of {file} nor a cache folder of this "
        "user may be written. Every process compiles them again, which takes a minute or more. Set "
        "NUMBA_CACHE_DIR to a folder that may be written.",
        RuntimeWarning,
        stacklevel=3,
    )


def _ask_for_blas_late() -> None:
    """Keep numba from importing SciPy's linear algebra, a third of what it takes to get ready.

    numba imports it when the first kernel is loaded, only to know that it is there. It is, being
    one of our own requirements; kernels that use it still import it.
    """
    asked: Callable[[], None] = linalg.ensure_blas

    def ensure_blas() -> None:
        if hasattr(sys.modules.get("numba.np.arraymath"), "_HAVE_BLAS"):
            asked()

    linalg.ensure_blas = ensure_blas


_ask_for_blas_late()
