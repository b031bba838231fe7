"""openEO processes: functions, their descriptions, and rules for the planner."""

from collections.abc import Mapping
from types import MappingProxyType

from terrazzo.graph import ProcessSpec
from terrazzo.processes import (
    arithmetic,
    arrays,
    comparison,
    cumulative,
    dimensions,
    filters,
    indices,
    load,
    logic,
    masks,
    merge,
    neighbourhood,
    planned,
    reduce,
    sorting,
    statistics,
    texts,
    trigonometry,
    zonal,
)
from terrazzo.processes.registry import PROCESSES, Process, Role, Rules

SPECS: Mapping[str, ProcessSpec] = MappingProxyType({p.id: p.spec for p in PROCESSES.values()})
"""The openEO description of every process, by id."""

__all__ = [
    "PROCESSES",
    "SPECS",
    "Process",
    "Role",
    "Rules",
    "arithmetic",
    "arrays",
    "comparison",
    "cumulative",
    "dimensions",
    "filters",
    "indices",
    "load",
    "logic",
    "masks",
    "merge",
    "neighbourhood",
    "planned",
    "reduce",
    "sorting",
    "statistics",
    "texts",
    "trigonometry",
    "zonal",
]
