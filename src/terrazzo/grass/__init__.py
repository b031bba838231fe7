"""GRASS: modules from a list, over bare arrays, in mapsets that are in memory.

Knows no cubes. `modules` says which modules there are, what they take and how far they look;
`expressions` reads what r.mapcalc is given, `regions` says where it lies, `cores` how many threads
a module has; `session` runs them.
"""

from terrazzo.grass.cores import threads_of_modules
from terrazzo.grass.modules import MODULES, Call, Module, Output, call_of
from terrazzo.grass.regions import Place
from terrazzo.grass.session import (
    MOST_SECONDS,
    GrassFailed,
    GrassMissing,
    check_grass,
    run,
    version,
)

__all__ = [
    "MODULES",
    "MOST_SECONDS",
    "Call",
    "GrassFailed",
    "GrassMissing",
    "Module",
    "Output",
    "Place",
    "call_of",
    "check_grass",
    "run",
    "threads_of_modules",
    "version",
]
