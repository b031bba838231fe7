"""Races: contestants in their own processes, run in turn so that all see the same machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bench.worker import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).parents[1]
QUIET = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_CACHEMAX": "256",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""What every contestant finds in its environment, beside our own."""


def environment() -> dict[str, str]:
    """Return the environment of contestants: bytecode is kept, as after a normal install."""
    own = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return own | QUIET | {"PYTHONPYCACHEPREFIX": str(ROOT / "bench" / "data" / "bytecode")}


class ContestantFailed(RuntimeError):
    """A contestant raised something; its traceback is the message."""


@dataclass(frozen=True)
class Contestant:
    """Someone who can do the tasks of a race."""

    name: str
    """As in the tables."""
    function: str
    """`module:function` that takes `parameters` and returns the tasks by name."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """JSON values."""
    once: bool = False
    """Whether it takes so long that its first run counts, and is the only one."""


@dataclass(frozen=True)
class Timing:
    """How one contestant did one task."""

    cpu: float
    """Median over the runs, seconds, all threads."""
    wall: float
    """Median over the runs, seconds."""
    peak_mb: float
    """Highest resident memory of its process during any run, libraries included."""
    first_cpu: float
    """CPU seconds of the run that came before those that count."""
    spread: tuple[float, float]
    """Least and greatest CPU seconds of a run."""
    runs: int = 1
    """How many runs counted."""


@dataclass(frozen=True)
class Outcome:
    """Timings and results of a race, by (task, contestant)."""

    timings: Mapping[tuple[str, str], Timing]
    arrays: Mapping[tuple[str, str], Mapping[str, np.ndarray]]
    starts: Mapping[str, tuple[float, float]]
    """By contestant: CPU and wall seconds of imports and preparation."""


class Worker:
    """A running contestant."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant
        command = [sys.executable, "-m", "bench.worker", contestant.function]
        self._process = subprocess.Popen(
            [*command, json.dumps(dict(contestant.parameters))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(),
        )
        self.start = self._answer()

    def run(self, task: str, keep: Path | None = None) -> dict[str, float]:
        """Run a task once."""
        if self._process.stdin is None:
            raise TypeError("opened as a pipe")
        order = {"task": task, "keep": str(keep or "")}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        if self._process.stdout is None:
            raise TypeError("opened as a pipe")
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"ended with {self._process.wait()}"}
        if "error" in answer:
            raise ContestantFailed(f"{self.contestant.name}: {answer['error']}")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate("null\n" if self._process.poll() is None else None)


def race(
    contestants: Sequence[Contestant],
    tasks: Sequence[str],
    runs: int,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Run tasks by all contestants in turn: once to warm up and to compare, then `runs` times.

    Raises:
        ContestantFailed: one of them raised something.
    """
    timings, arrays = {}, {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="terrazzo-bench-")))
        workers = [stack.enter_context(Worker(one)) for one in contestants]
        for task in tasks:
            results: dict[str, list[dict[str, float]]] = {one.name: [] for one in contestants}
            for turn in range(runs + 1):
                for number, worker in enumerate(workers):
                    name = worker.contestant.name
                    if turn and worker.contestant.once:
                        continue
                    keep = folder / f"{len(arrays)}-{number}" if turn == 0 else None
                    results[name].append(worker.run(task, keep))
                    if keep is not None:
                        arrays[task, name] = loaded(keep)
            for name, measured in results.items():
                timings[task, name] = _timing(measured)
                say(f"{task}, {name}: {timings[task, name].cpu:.4g} s CPU")
        starts = {w.contestant.name: (w.start["cpu"], w.start["wall"]) for w in workers}
    return Outcome(timings, arrays, starts)


def loaded(folder: Path) -> dict[str, np.ndarray]:
    """Map the arrays that a worker kept into memory: they may be larger than that."""
    named = json.loads((folder / NAMES).read_text())
    files = (folder / f"{number}.npy" for number in range(len(named)))
    return {n: np.load(f, mmap_mode="r") for n, f in zip(named, files, strict=True)}


def _timing(measured: Sequence[Mapping[str, float]]) -> Timing:
    first, rest = measured[0], measured[1:] or measured
    cpus = [one["cpu"] for one in rest]
    return Timing(
        median(cpus),
        median(one["wall"] for one in rest),
        max(one["peak_mb"] for one in rest),
        first["cpu"],
        (min(cpus), max(cpus)),
        len(rest),
    )


def fresh(
    contestants: Sequence[Contestant], task: str, times: int
) -> dict[str, tuple[float, float]]:
    """Return median CPU seconds of start (imports, preparation) and first run in new processes."""
    measured: dict[str, list[tuple[float, float]]] = {one.name: [] for one in contestants}
    for _ in range(times):
        for contestant in contestants:
            with Worker(contestant) as worker:
                first = worker.run(task)
            measured[contestant.name].append((worker.start["cpu"], first["cpu"]))
    return {
        name: (median(a for a, _ in pairs), median(b for _, b in pairs))
        for name, pairs in measured.items()
    }
