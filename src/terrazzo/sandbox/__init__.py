"""Code of users, run in closed worker processes on arrays in shared memory.

Nothing of it runs in the server's process; nothing that comes back is believed unchecked. What
is here knows arrays and no cubes, and can be used without the platform. Importing it loads none
of the libraries: a process that tries the machine out, or loads them itself, needs few of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from terrazzo.sandbox.environments import check_runtime, runtimes
    from terrazzo.sandbox.limits import Limits, Mode, UdfRules
    from terrazzo.sandbox.sandbox import Axis, Block, Sandbox, sandbox_of

_MODULES = {
    "Axis": "sandbox",
    "Block": "sandbox",
    "Limits": "limits",
    "Mode": "limits",
    "Sandbox": "sandbox",
    "UdfRules": "limits",
    "check_runtime": "environments",
    "runtimes": "environments",
    "sandbox_of": "sandbox",
    "workers": "pool",
}

__all__ = [
    "Axis",
    "Block",
    "Limits",
    "Mode",
    "Sandbox",
    "UdfRules",
    "check_runtime",
    "runtimes",
    "sandbox_of",
    "workers",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
