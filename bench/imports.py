"""What it costs to import Terrazzo, which every command and notebook pays first."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median
from typing import TYPE_CHECKING

from bench.measure import ROOT, environment
from bench.report import Row, Section, Table, ms

if TYPE_CHECKING:
    from bench.dataset import Dataset
    from bench.options import Options

CODE = """
import json, resource, sys, time
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
wall, before = time.perf_counter(), cpu()
import {name}
took = cpu() - before, time.perf_counter() - wall
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
peak = int(status["VmHWM"].split()[0]) * 1024 / 1e6
print(json.dumps([len(sys.modules), *took, peak]))
"""
PEER = "xarray"
NAMES = (
    "terrazzo",
    PEER,
    "terrazzo.drivers.tile",
    "rio_tiler.io",
    "terrazzo.drivers.batch",
    "odc.stac",
    "terrazzo.server.app",
)


def run(data: Dataset, options: Options) -> Section:
    """Import each name in new processes, in turn."""
    del data
    measured: dict[str, list[list[float]]] = {name: [] for name in NAMES}
    for _ in range(1 if options.quick else options.runs + 1):
        for name in NAMES:
            command = [sys.executable, "-c", CODE.format(name=name)]
            printed = subprocess.check_output(command, text=True, env=environment(), cwd=ROOT)
            measured[name].append(json.loads(printed))
    columns = ("modules", "CPU ms", "wall ms", "peak MB")
    table = Table("Imports in a new process", columns)
    for name, runs in measured.items():
        modules, cpu, wall, peak = (
            median(column) for column in zip(*(runs[1:] or runs), strict=True)
        )
        table.rows.append(Row(f"`{name}`", (f"{modules:.0f}", ms(cpu), ms(wall), f"{peak:.0f}")))
        options.say(f"import {name}: {cpu:.3f} s CPU")
    section = Section(
        "import",
        "Imports",
        "`sys.modules` after the import, and its times; what a map tile and a composite need is "
        "beside the peer that does the same.",
        "Modules that are loaded later, when something is first used, are not counted. Bytecode is "
        "there already.",
    )
    section.tables.append(table)
    return section
