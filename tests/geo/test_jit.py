"""Kernels are kept on disk, or it is said that they cannot be; SciPy waits until it is used."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from terrazzo.geo import jit as module
from terrazzo.geo.jit import jit


def function_without_file() -> Any:
    """Return a function that numba finds no folder for."""
    space: dict[str, Any] = {}
    exec(compile("def twice(x):\n    return 2 * x\n", "<typed>", "exec"), space)  # noqa: S102
    return space["twice"]


def test_kernels_that_cannot_be_kept_warn_once_and_compute() -> None:
    module._warn.cache_clear()
    first, second = function_without_file(), function_without_file()

    with pytest.warns(RuntimeWarning, match="NUMBA_CACHE_DIR") as told:
        kernels = [jit(first), jit(second)]

    assert len(told) == 1
    assert [kernel(21) for kernel in kernels] == [42, 42]


LATE = """
import sys
import numpy as np
from numba import njit
from terrazzo.geo.jit import jit
from terrazzo.storage.writers.png import png

png(np.zeros((4, 4, 1), np.uint8))
assert "scipy.linalg" not in sys.modules, "loaded for a kernel that does not use it"
product = njit(lambda a, b: np.dot(a, b))(np.eye(3) * 2, np.ones((3, 2)))
print(float(product.sum()))
"""


def test_scipy_is_loaded_by_kernels_that_use_it() -> None:
    told = subprocess.check_output([sys.executable, "-c", LATE], text=True)

    assert float(told) == float((np.eye(3) * 2 @ np.ones((3, 2))).sum())
