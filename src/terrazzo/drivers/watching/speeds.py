"""How fast runs were, and what is therefore said before and after a run.

How long a graph takes depends on its processes and on the machine, so only runs tell: each that
computed all of its blocks leaves its speed in the home folder. A run like one of them (the same
processes) is expected to be as fast; for others there is a range, and at first nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from terrazzo.engine.demand import size_text
from terrazzo.errors import OutputFailed
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.drivers.watching.status import Expected, Took


SPEEDS = "speeds.json"
MOST = 200
"""Runs that are remembered, the newest."""
HERE = ("threads", "processes")
"""Executors whose work takes half as long by twice the workers; a cluster has what it has."""
_PROCESS = re.compile(r'"process_id":\s*"([^"]+)"')
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_FEW = 2
"""Above so many of a unit, the smaller one is not told."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a run was."""

    like: str
    """Which processes it had."""
    executor: str
    workers: int
    seconds: float
    """On the clock, from its first block to its files."""
    read_pixels: int
    """That it read: all files, bands and dates."""

    @property
    def cost(self) -> float:
        """Seconds of a worker (of the whole cluster, where there is one) for each pixel."""
        return self.seconds * _workers(self.executor, self.workers) / self.read_pixels


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is expected of a run, and what others need to learn of it."""

    expected: Expected
    """For people."""
    like: str
    """Which processes it has."""
    read_pixels: int
    """That it reads."""


def like(job: str) -> str:
    """Return what runs of the same processes have in common, of their documents."""
    names = "\n".join(sorted(_PROCESS.findall(job)))
    return hashlib.sha256(names.encode()).hexdigest()[:16]


def expected_seconds(
    home: Path, kind: str, pixels: int, executor: str, workers: int
) -> tuple[float | None, float | None, int, bool]:
    """Return seconds at least and at most, of how many runs, and whether those were alike.

    Args:
        home: folder that remembers speeds.
        kind: what runs of the same processes have in common, see `like`.
        pixels: that are read.
        executor: who computes.
        workers: how many.
    """
    known = _speeds(home)
    same = [one for one in known if one.executor == executor]
    if executor in HERE:
        same = [one for one in known if one.executor in HERE]
    alike = [one for one in same if one.like == kind]
    chosen = alike or same
    if not chosen or not pixels:
        return None, None, 0, False
    if alike:  # small runs are slow for their size: those of about this size tell most
        chosen = sorted(alike, key=lambda one: abs(_ratio(one.read_pixels, pixels)))[:3]
    times = [one.cost * pixels / _workers(executor, workers) for one in chosen]
    return round(min(times), 1), round(max(times), 1), len(chosen), bool(alike)


def _ratio(one: int, other: int) -> float:
    return max(one, other) / max(min(one, other), 1)


def _workers(executor: str, workers: int) -> int:
    return max(workers, 1) if executor in HERE else 1


def remember(home: Path, known: Outlook, executor: str, workers: int, seconds: float) -> None:
    """Keep how fast a run was, for those to come; a home that cannot be written learns nothing."""
    if not known.read_pixels:
        return
    speed = Speed(known.like, executor, workers, round(seconds, 3), known.read_pixels)
    kept = [*_speeds(home), speed][-MOST:]
    with suppress(OutputFailed, OSError):
        home.mkdir(parents=True, exist_ok=True)
        with whole_file(home / SPEEDS) as part:
            part.write_text(json.dumps([asdict(one) for one in kept], indent=1))


def _speeds(home: Path) -> list[Speed]:
    try:
        told: list[dict[str, Any]] = json.loads((home / SPEEDS).read_text())
        speeds = [Speed(**one) for one in told]
        return [one for one in speeds if one.read_pixels > 0 and one.seconds > 0]
    except (OSError, ValueError, TypeError):
        return []  # none yet, or of another Terrazzo: it is learned anew


def expected_text(expected: Expected) -> str:
    """Return what is said before a run."""
    size = "of unknown size" if expected.result_bytes is None else (
        f"up to {size_text(expected.result_bytes)}"
    )  # fmt: skip
    return (
        f"Plan: {expected.blocks:,} block{'s' * (expected.blocks != 1)}, reads "
        f"{size_text(expected.read_bytes)} of pixels, result {size}, "
        f"{size_text(expected.memory_bytes)} of memory for a block; time: {time_text(expected)}."
    )


def time_text(expected: Expected) -> str:
    """Return how long a run is expected to take, and who says so."""
    if expected.least_s is None or expected.most_s is None:
        return "unknown, for no run like it was made here (the first blocks will tell)"
    least, most = duration(expected.least_s), duration(expected.most_s)
    span = f"about {most}" if least == most else f"{least} to {most}"
    what = "of these processes" if expected.alike else "of other processes"
    return f"{span} (by {expected.runs} earlier run{'s' * (expected.runs != 1)} {what})"


def compared(expected: Expected, took: Took) -> str:
    """Return what is said after a run: what it took beside what was expected."""
    said = "unknown"
    if expected.least_s is not None and expected.most_s is not None:
        least, most = duration(expected.least_s), duration(expected.most_s)
        said = least if least == most else f"{least} to {most}"
    return (
        f"Took {duration(took.seconds)} (expected: {said}), unpacked "
        f"{size_text(took.decoded_bytes)} (expected: {size_text(expected.read_bytes)}), at most "
        f"{size_text(took.peak_bytes)} of memory in a process."
    )


def duration(seconds: float) -> str:
    """Return a time as people say it: `8 s`, `4 min`, `2 h 5 min`, `3 d 4 h`."""
    whole = round(seconds)
    if whole < _FEW * _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{round(whole / _MINUTE)} min"
    large, unit, small, smaller = (
        (_DAY, "d", _HOUR, "h") if whole >= _FEW * _DAY else (_HOUR, "h", _MINUTE, "min")
    )
    rest = whole % large // small
    return f"{whole // large} {unit}" + (f" {rest} {smaller}" if rest else "")
