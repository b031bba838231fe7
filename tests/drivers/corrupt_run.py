"""Ingests a folder in a process whose memory is limited; prints what became of each file."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace

ROOM = 768 * 2**20


def main(good: str, folder: str, home: str) -> None:
    options = {
        "place": IngestOptions(datetime="2020"),
        "copy": IngestOptions(datetime="2020", copy=True),
    }
    for number, one in enumerate(options.values()):
        ingest([Path(good)], "warm", Workspace.of(Path(home) / f"warm{number}"), options=one)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    told = {}
    for name, one in options.items():
        start = time.monotonic()
        report = ingest([Path(folder)], "c", Workspace.of(Path(home) / name), options=one)
        took = time.monotonic() - start
        told[name] = {"failed": dict(report.failed), "made": report.made, "seconds": took}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sys.stdout.write(json.dumps(told | {"peak": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
