"""How many threads a module gets that is not told: the share of whoever computes with it."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

CORES: Final = 64
"""That a module may have; it uses those that there are."""

_threads: ContextVar[int] = ContextVar("threads", default=1)


@contextmanager
def threads_of_modules(count: int) -> Iterator[None]:
    """Let each module that is run in the `with` block have so many threads, unless it is told."""
    token = _threads.set(min(count, CORES))
    try:
        yield
    finally:
        _threads.reset(token)


def threads() -> int:
    """Return how many threads a module has that is run now; 1 where nobody says."""
    return _threads.get()
