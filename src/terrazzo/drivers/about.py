"""What is said of a run besides what follows from its graph."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class About:
    """What people say of a run."""

    id: str = ""
    """What its results are called; empty takes the beginning of the graph's digest."""
    title: str = ""
    """For people."""
    description: str = ""
    """For people."""
    owner: str = ""
    """Who may read its results; empty is nobody in particular."""
