"""Which files the calling process, and all that it may start, can reach: Landlock.

Source: Linux `Documentation/userspace-api/landlock.rst`, `include/uapi/linux/landlock.h`.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from terrazzo.sandbox.native import address_of, call_c

if TYPE_CHECKING:
    from collections.abc import Iterable

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1
_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_REG, _TRUNCATE = 2, 4, 8, 32, 256, 1 << 14
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
_ALL = (0, (1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 15) - 1, (1 << 16) - 1)
"""Every right to files that there is, by version."""
_NETWORK, _SCOPED = (4, 0b11), (6, 0b11)
"""From which version on: TCP; sockets without a path, and signals."""


def version() -> int:
    """Return which Landlock the kernel has; 0 for none."""
    try:
        return call_c("syscall", _CREATE, 0, 0, _ASK_VERSION)
    except OSError:
        return 0


def restrict(have: int, readable: Iterable[str], scratch: str, devices: Iterable[str]) -> None:
    """Leave this process nothing but these files; there is no way back.

    Before version 3 it does not keep files from being cut short: `seccomp` does.

    Args:
        have: the version to use, not above that of the kernel.
        readable: folders and files that may be read; what is not there is passed over.
        scratch: folder whose files may be made, read, written and removed.
        devices: files that may be read and written.

    Raises:
        OSError: the kernel refuses.
    """
    network = _NETWORK[1] if have >= _NETWORK[0] else 0
    scoped = _SCOPED[1] if have >= _SCOPED[0] else 0
    size = 24 if scoped else 16 if network else 8
    every = _ALL[min(have, len(_ALL) - 1)]
    told = struct.pack("<QQQ", every, network, scoped)[:size]
    ruleset = call_c("syscall", _CREATE, address_of(told), size, 0)
    try:
        for path in readable:
            _allow(ruleset, path, every & (_READ_FILE | _READ_DIR))
        for path in devices:
            _allow(ruleset, path, every & (_READ_FILE | _WRITE_FILE))
        _allow(ruleset, scratch, every & (_OF_FILES | _READ_DIR | _REMOVE_FILE | _MAKE_REG))
        call_c("prctl", 38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, without which it is refused
        call_c("syscall", _RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - the file system of the kernel, not of Path
            rights &= _OF_FILES
        rule = struct.pack("<Qi", rights, file)
        call_c("syscall", _ADD_RULE, ruleset, _PATH_BENEATH, address_of(rule), 0)
    finally:
        os.close(file)
