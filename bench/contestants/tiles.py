"""What the contestants for tiles share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    Task = Callable[[], dict[str, np.ndarray]]
    Tile = Callable[[int, int, int], np.ndarray]

EDGE = 256
BLACK, WHITE = 0.0, 0.4
"""Reflectance that is shown as black and as white."""


def tasks(parameters: Mapping[str, Any], made: Mapping[str, Tile]) -> dict[str, Task]:
    """Return a task per suite and zoom: all its tiles, one after the other."""

    def task(one: Tile, zoom: str) -> Task:
        wanted = parameters["tiles"][zoom]
        return lambda: {f"{x}/{y}": one(int(zoom), x, y) for x, y in wanted}

    return {
        f"{suite} z{zoom}": task(one, zoom)
        for suite, one in made.items()
        for zoom in parameters["tiles"]
    }
