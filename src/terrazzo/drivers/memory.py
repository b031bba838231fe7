"""Memory of this process, as the system tells it."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def forget_peak() -> bool:
    """Let the peak of resident memory begin anew; False where the system cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def resident() -> tuple[int, int]:
    """Return the resident memory of this process now and at its peak, bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return most, most
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    now, most = (int(told[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))
    return now, most
