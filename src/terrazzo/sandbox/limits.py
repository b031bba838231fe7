"""How user code is run, and how much it may take."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum


class Mode(StrEnum):
    """Whether the code of users is run, and how much it is trusted."""

    OFF = "off"
    """Not at all."""
    SANDBOXED = "sandboxed"
    """In closed worker processes; refused where the machine cannot close them."""
    TRUSTED = "trusted"
    """In worker processes with the limits below that may otherwise do what the server may."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call of user code may take; a worker that takes more is killed."""

    wall_seconds: float = 300.0
    """Time on the clock."""
    cpu_seconds: float = 300.0
    """Time of all its threads together."""
    memory_bytes: int = 2_000_000_000
    """Address space beyond what the interpreter and its libraries have."""
    scratch_bytes: int = 64_000_000
    """Bytes of all files in its folder."""
    scratch_files: int = 1_000
    """Files in its folder."""
    threads: int = 256
    """Threads at a time."""
    told_bytes: int = 256_000
    """Text that it may print and log; what is beyond is dropped."""
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Workers that run at a time; more calls wait."""
    each: int = 0
    """How many of them one user may have at a time; 0 is any number."""
    wait_seconds: float = 0.0
    """How long a call waits for its turn before it is refused; 0 is for ever."""
    kept: int = 8
    """Workers that are kept, frozen, for the next block of their code."""
    idle_seconds: float = 300.0
    """How long a worker that nobody needs is kept."""


@dataclass(frozen=True, slots=True)
class UdfRules:
    """What an operator says of the code of users."""

    mode: Mode = Mode.SANDBOXED
    """Whether it is run, and how much it is trusted."""
    limits: Limits = field(default_factory=Limits)
    """What it may take."""
    environments: tuple[tuple[str, str], ...] = ()
    """Names of environments that it may ask for besides the one of Terrazzo, and their
    interpreters."""
