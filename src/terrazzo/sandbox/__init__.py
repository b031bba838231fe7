"""Code of users, run in closed worker processes on arrays in shared memory.

Nothing of it runs in the server's process; nothing that comes back is believed unchecked. What
is here knows arrays and no cubes, and can be used without the platform.
"""

from terrazzo.sandbox.header import check_runtime, runtimes
from terrazzo.sandbox.limits import Limits, Mode
from terrazzo.sandbox.sandbox import Axis, Block, Sandbox, sandbox_of

__all__ = [
    "Axis",
    "Block",
    "Limits",
    "Mode",
    "Sandbox",
    "check_runtime",
    "runtimes",
    "sandbox_of",
]
