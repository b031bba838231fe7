"""Stints: what a worker makes in one go, so that handing out costs little where blocks are quick.

To have something made and to hear of it takes a cluster some milliseconds, and wakes whoever hands
out. So quick parts go together. A worker ends a stint whose parts turn out to be slow, and leaves
the rest to others: nobody waits for more than one slow part.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from terrazzo.progress import go_on

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")
M = TypeVar("M")

Parts = tuple[tuple[K, int], ...]
"""What is to be made, each with the version that is kept of it; 0 = none."""

STINT_S = 0.2
"""What a stint shall take."""
LONGEST_S = 2 * STINT_S
"""After which no further part of it is begun."""


@dataclass(frozen=True, slots=True)
class Stint(Generic[M]):
    """What a worker made in one go."""

    made: tuple[M, ...]
    """Of the parts that it was given, the first ones, at least one; the rest is yet to be made."""
    seconds: float
    """What that took; infinite where nobody knows."""

    @classmethod
    def lost(cls, lost: Callable[[K, str], M], parts: Parts[K], reason: str) -> Stint[M]:
        """Return what became of parts whose worker was lost: nobody knows at which of them."""
        return cls(tuple(lost(what, reason) for what, _ in parts), math.inf)


def stint(make: Callable[[K, int], M], parts: Parts[K]) -> Stint[M]:
    """Make parts one after the other, as many as there is time for.

    Raises:
        Cancelled: the run was stopped, between two parts.
        Exception: whatever `make` raises.
    """
    begun_s, took_s = time.monotonic(), 0.0
    made: list[M] = []
    for what, kept in parts:
        if took_s > LONGEST_S:
            break
        go_on()
        made.append(make(what, kept))
        took_s = time.monotonic() - begun_s
    return Stint(tuple(made), took_s)
