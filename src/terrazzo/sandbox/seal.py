"""Closes the calling process: what it may reach, ask of the kernel, and take."""

from __future__ import annotations

import os
import resource
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from terrazzo.sandbox import landlock, namespaces, seccomp
from terrazzo.sandbox.native import address_of, call_c

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrazzo.sandbox.layers import Layers
    from terrazzo.sandbox.limits import Limits

LIFETIME = 20
"""CPU time of a worker over all its calls, in multiples of what one may take."""
_OPEN_FILES = 64
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _CLEAR_ALL, _SIGKILL = 1, 24, 47, 4, 9
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _LARGE_BYTES = -1, -3, 1 << 25
_CAPABILITIES = 64
_CAPABILITY_VERSION = 0x20080522


def limit(limits: Limits) -> None:
    """Bound memory, files and CPU time of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - on Linux, no Path
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    lifetime = int(limits.cpu_seconds * LIFETIME) + 1
    for kind, most in (
        (resource.RLIMIT_AS, mapped + limits.memory_bytes),
        (resource.RLIMIT_CPU, lifetime),
        (resource.RLIMIT_FSIZE, limits.scratch_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (bound, bound))


def keep_memory() -> None:
    """Keep freed memory for the next call: pages that are new to a process cost much time."""
    with suppress(AttributeError, OSError):  # another C library than glibc
        call_c("mallopt", _M_MMAP_THRESHOLD, _LARGE_BYTES)
        call_c("mallopt", _M_TRIM_THRESHOLD, 4 * _LARGE_BYTES)


def end_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it ends."""
    call_c("prctl", _PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def seal(layers: Layers, readable: Sequence[str], tree: str, scratch: str) -> None:
    """Close this process for good: files, then privileges, then system calls.

    Args:
        layers: what keeps files away.
        readable: folders that may be read besides the libraries of the system.
        tree: where `namespaces.build` has put what may be read, if there are namespaces.
        scratch: folder that may be written to.

    Raises:
        OSError: the kernel refuses; nothing that is not ours may be run then.
    """
    if layers.namespaces:
        namespaces.shut_in(tree, scratch)
    if layers.landlock:
        mine = namespaces.INSIDE if layers.namespaces else scratch
        landlock.restrict(
            layers.landlock, (*namespaces.LIBRARIES, *readable), mine, namespaces.DEVICES
        )
    _drop_privileges()
    seccomp.install(seccomp.program(os.getpid()))


def _drop_privileges() -> None:
    """Give up every capability; root without any is a user like others."""
    call_c("prctl", _PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    for number in range(_CAPABILITIES):
        try:
            call_c("prctl", _PR_CAPBSET_DROP, number, 0, 0, 0)
        except OSError:  # there is no such capability, or it may not even be given up
            break
    header = struct.pack("<Ii", _CAPABILITY_VERSION, 0)
    nothing = bytes(24)
    call_c("capset", address_of(header), address_of(nothing))
