"""What this machine offers to shut workers in, and which of it is used.

Calls of the kernel are always filtered (seccomp) and what is taken is always bounded. Files are
kept away by namespaces, by Landlock, or by both where both are there.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrazzo.errors import UdfRefused
from terrazzo.sandbox import landlock, namespaces, seccomp
from terrazzo.sandbox.environments import own_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRIAL_SECONDS = 60.0
_TRIAL = (
    "import sys; sys.path[:0] = {path!r}; "
    "from terrazzo.sandbox.layers import try_out; try_out({root!r}, {readable!r})"
)
SOURCES = str(Path(__file__).parents[2])
"""The folder from which a fresh interpreter imports this package."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine offers."""

    system: str = "linux"
    """As `sys.platform` has it."""
    architecture: str = "x86_64"
    """As `os.uname().machine` has it."""
    seccomp: str = ""
    """Why system calls cannot be filtered; empty where they can."""
    namespaces: str = ""
    """Why there are no namespaces for a process without rights; empty where there are."""
    landlock: int = 0
    """Version of Landlock; 0 for none."""

    @property
    def missing(self) -> str:
        """What is missing to run code that is not trusted; empty where nothing is."""
        if not self.system.startswith("linux"):
            return f"workers need Linux, and this is {self.system}"
        if self.seccomp:
            return self.seccomp
        if self.namespaces and not self.landlock:
            return (
                f"there are neither namespaces for processes without rights ({self.namespaces}) "
                "nor Landlock (Linux 5.13 or later, with `landlock` among the security modules "
                "that it was started with)"
            )
        return ""


@dataclass(frozen=True, slots=True)
class Layers:
    """What shuts the workers of one zygote in."""

    sealed: bool
    """Whether anything does: not where code is trusted."""
    namespaces: bool = False
    """Whether they have namespaces of their own."""
    landlock: int = 0
    """The version of Landlock that they are restricted by; 0 for none."""


def choose(machine: Machine, *, sealed: bool = True) -> Layers:
    """Choose all the layers that there are.

    Raises:
        UdfRefused: there are not enough of them, or none may run at all.
    """
    if not sealed and machine.system.startswith("linux"):
        return Layers(sealed=False)
    if machine.missing:
        raise UdfRefused(
            f"UDFs cannot be run here, nor files of strangers be read: {machine.missing}. Nothing "
            "is run or read unless it can be shut in; `terrazzo doctor` says how to get what is "
            "missing. On Linux, an operator who trusts all users and the hosts on the list may "
            "choose `--udf trusted`."
        )
    return Layers(sealed=True, namespaces=not machine.namespaces, landlock=machine.landlock)


@cache
def this_machine() -> Machine:
    """Find out what this machine offers, by trying it in a process of its own, once."""
    if not sys.platform.startswith("linux"):
        return Machine(sys.platform)
    architecture = os.uname().machine
    if not seccomp.is_known():
        reason = f"there is no list of system calls for {architecture}"
        return Machine(sys.platform, architecture, reason, "not tried", landlock.version())
    told = _tried_out()
    return Machine(
        sys.platform, architecture, told["seccomp"], told["namespaces"], landlock.version()
    )


def _tried_out() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="terrazzo-trial-") as folder:
        root = Path(folder) / "root"
        root.mkdir()
        (Path(folder) / "scratch").mkdir()
        own = own_environment()
        trial = _TRIAL.format(
            path=[SOURCES, *own.path], root=str(root), readable=[*own.readable, *own.path]
        )
        try:
            done = subprocess.run(  # noqa: S603 - this very interpreter
                [sys.executable, "-I", "-S", "-B", "-c", trial],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TRIAL_SECONDS,
                cwd="/",
                env={"LC_ALL": "C.UTF-8"},
                check=False,
            )
            lines = [json.loads(line) for line in done.stdout.splitlines()]
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            lines = [{"seccomp": f"the trial of it failed ({error})"}]
    unknown = "the process that tried it ended"
    return {"seccomp": unknown, "namespaces": unknown} | {
        name: text for line in lines for name, text in line.items()
    }


def try_out(root: str, readable: Sequence[str]) -> None:
    """Try every layer, in a process of its own, and print a line of JSON for each.

    Args:
        root: an empty folder, beside another called `scratch`.
        readable: what workers may read besides the libraries of the system.
    """
    child = os.fork()
    if not child:
        _print("seccomp", _failure_of_seccomp())
        os._exit(0)
    os.waitpid(child, 0)
    _print("namespaces", _failure_of_namespaces(root, readable))


def _print(name: str, reason: str) -> None:
    os.write(1, json.dumps({name: reason}).encode() + b"\n")


def _failure_of_seccomp() -> str:
    try:
        seccomp.install(seccomp.program(os.getpid()))
    except OSError as error:
        return f"the kernel filters no system calls ({error})"
    return ""


def _failure_of_namespaces(root: str, readable: Sequence[str]) -> str:
    """Enter namespaces, and see that nothing but what was allowed is there."""
    try:
        namespaces.enter()
        namespaces.build(root, (*namespaces.LIBRARIES, *readable), namespaces.DEVICES)
        namespaces.shut_in(root, f"{os.path.dirname(root)}/scratch")  # noqa: PTH120
    except OSError as error:
        return _why(error)
    seen = [path for path in ("/etc/passwd", "/proc/self", root) if os.path.exists(path)]  # noqa: PTH110
    return f"{seen[0]} can still be seen in them" if seen else ""


def _why(error: OSError) -> str:
    """Say why the kernel gives no namespaces."""
    if error.errno == errno.ENOSPC:
        return "their number is bounded to less, see /proc/sys/user/max_user_namespaces"
    if error.errno == errno.EINVAL:
        return f"the kernel has not all of them ({error})"
    return str(error)
