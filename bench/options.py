"""What the command line says, for the benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Options:
    """How to measure."""

    runs: int
    """Runs that count; one more comes first."""
    quick: bool
    """Whether to take fewer tiles and windows: to try the benchmarks, not to quote them."""
    window: int
    """Edge of the composite, pixels."""
    say: Callable[[str], None]
    """Told how it goes."""
    images: Path
    """Where plots go: a folder beside the report."""
