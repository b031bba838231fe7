"""One contestant in a process of its own: told by lines of JSON what to run, it answers with times.

Started as `python -m bench.worker MODULE:FUNCTION PARAMETERS`; see `bench.measure`. The function
returns its tasks by name; a task returns arrays, or what reads them from where they were written;
they are kept for comparison when asked for.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Arrays = Mapping[str, Any]

NAMES = "names.json"
"""What the arrays in a folder are called."""


def cpu_seconds() -> float:
    """Return the CPU time of all threads of this process and of finished children."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))


def peak_mb() -> float:
    """Return the highest resident memory since `forget_peak`, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def forget_peak() -> None:
    """Start measuring the peak anew, where the kernel lets us; else it is that of the process."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def run(task: Callable[[], Arrays | Callable[[], Arrays]], keep: str) -> dict[str, float]:
    """Run a task once, measured; save its arrays if `keep` names a file."""
    gc.collect()
    forget_peak()
    wall, cpu = time.perf_counter(), cpu_seconds()
    arrays = task()
    answer = {
        "wall": time.perf_counter() - wall,
        "cpu": cpu_seconds() - cpu,
        "peak_mb": peak_mb(),
    }
    if keep:
        if callable(arrays):
            arrays = arrays()
        folder = Path(keep)
        folder.mkdir()
        for number, array in enumerate(arrays.values()):
            np.save(folder / f"{number}.npy", array)
        (folder / NAMES).write_text(json.dumps(list(arrays)))
    return answer


def main() -> None:
    """Serve until the line `null` or the end of the input."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    warnings.simplefilter("ignore")

    def answer(value: Mapping[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")

    try:
        module, _, function = sys.argv[1].partition(":")
        wall, cpu = time.perf_counter(), cpu_seconds()
        tasks = getattr(importlib.import_module(module), function)(json.loads(sys.argv[2]))
        answer({"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu})
        for line in sys.stdin:
            order = json.loads(line)
            if order is None:
                return
            answer(run(tasks[order["task"]], order["keep"]))
    except Exception:  # noqa: BLE001 - the parent raises it
        answer({"error": traceback.format_exc()})


if __name__ == "__main__":
    main()
