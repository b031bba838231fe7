"""Who computes blocks: how many threads or processes, and how much memory they may use."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pool:
    """Who computes the blocks."""

    kind: str = "threads"
    """`threads` or `processes`."""
    workers: int = 0
    """How many at a time; 0 = one per core."""
    memory_bytes: int = 2_000_000_000
    """Memory that all workers together may use for blocks."""

    @property
    def size(self) -> int:
        """How many workers there are."""
        return self.workers or len(os.sched_getaffinity(0))
