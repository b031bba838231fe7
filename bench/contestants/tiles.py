"""What the contestants for tiles share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    Task = Callable[[], dict[str, np.ndarray]]
    Tile = Callable[[str, int, int, int], np.ndarray]

EDGE = 256
BLACK, WHITE = 0.0, 0.4
"""Reflectance that is shown as black and as white."""
LOWEST, HIGHEST = 0.0, 1.0
"""Index at the ends of the colour map."""


def tasks(parameters: Mapping[str, Any], tile: Tile) -> dict[str, Task]:
    """Return a task per suite and zoom: all its tiles, one after the other."""

    def task(suite: str, zoom: str) -> dict[str, np.ndarray]:
        wanted = parameters["tiles"][zoom]
        return {f"{x}/{y}": tile(suite, int(zoom), x, y) for x, y in wanted}

    return {
        f"{suite} z{zoom}": partial(task, suite, zoom)
        for suite in parameters["suites"]
        for zoom in parameters["tiles"]
    }
