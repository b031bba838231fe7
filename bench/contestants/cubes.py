"""What the contestants for cubes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.dataset import OFFSET, QUANTIFICATION

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPOSITE = "composite"
THREADS = 2
BLOCK = 1024
"""Edge of a block or chunk, pixels."""

Place = tuple[int, int, int, int]
"""Row, column, height, width."""


def blocks(edge: int, block: int = BLOCK) -> Iterator[Place]:
    """Yield the blocks of a square in row order."""
    for row in range(0, edge, block):
        for col in range(0, edge, block):
            yield row, col, min(block, edge - row), min(block, edge - col)


def reflectance(numbers: np.ndarray, missing: np.ndarray, fill: float = np.nan) -> np.ndarray:
    """Return what stored numbers mean, float32, and `fill` where there are none."""
    physical = (numbers.astype(np.float32) - OFFSET) / np.float32(QUANTIFICATION)
    physical[missing] = fill
    return physical
