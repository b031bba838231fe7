"""A filter of system calls for the calling process and all that it may start: seccomp.

Source: Linux `Documentation/userspace-api/seccomp_filter.rst`, `include/uapi/linux/filter.h`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from terrazzo.sandbox.calls import CALLS, Calls
from terrazzo.sandbox.native import call_c

_LOAD, _EQUAL, _GREATER_EQUAL, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Where they are in what a filter looks at; arguments are 8 bytes each, low half first."""
_X32 = 0x40000000
"""Set in the numbers of another interface of x86-64, which would pass the filter by."""
_CLONE_THREAD, _CLONE_NEW = 0x00010000, 0x7E020000
"""To start a thread; to start it in namespaces of its own."""
_TMPFILE = 0o20000000
_PR_SET_NAME, _PR_GET_NAME, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 15, 16, 38, 22
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1034)
"""Duplicates, flags, locks and `F_GET_SEALS`; above all not `F_SETOWN`, which sends signals."""
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""Is it a terminal and how large, what waits, block or not, close on exec or not."""

_Instruction = tuple[int, int, int, int]


def is_known() -> bool:
    """Tell whether there is a filter for this machine's architecture."""
    return os.uname().machine in CALLS


def program(pid: int) -> bytes:
    """Return the filter for a process, which may signal no process but itself."""
    calls = CALLS[os.uname().machine]
    code: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, calls.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_GREATER_EQUAL, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for number in calls.free:
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for number in calls.pretended:
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO)]
    for number in calls.absent:
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    for number, checks in _decisions(calls, pid):
        code += [(_EQUAL, 0, len(checks), number), *checks]
    code.append((_RETURN, 0, 0, _ERRNO | errno.EPERM))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


_ALLOWED, _REFUSED = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO | errno.EPERM)


def _decisions(calls: Calls, pid: int) -> list[tuple[int, list[_Instruction]]]:
    """Return, for each call that arguments decide, instructions that always return."""
    flags = _CLONE_THREAD | _CLONE_NEW
    threads = [_argument(0), (_AND, 0, 0, flags), (_EQUAL, 0, 1, _CLONE_THREAD)]
    asks_only = [  # the third argument, a pointer to new limits, is null in both halves
        _argument(2),
        (_EQUAL, 0, 3, 0),
        (_LOAD, 0, 0, _ARGUMENTS + 20),
        (_EQUAL, 0, 1, 0),
    ]
    told = {
        "clone": [*threads, _ALLOWED, _REFUSED],
        "fallocate": _one_of(1, (0,)),  # within the largest size that a file may have
        "fcntl": _one_of(1, _FCNTL),
        "ioctl": _one_of(1, _IOCTL),
        "kill": _one_of(0, (pid,)),
        "open": _opened(1),
        "openat": _opened(2),
        "prctl": _one_of(0, (_PR_SET_NAME, _PR_GET_NAME)),
        "prlimit64": [*asks_only, _ALLOWED, _REFUSED],
        "tgkill": _one_of(0, (pid,)),
    }
    return [(number, told[name]) for name, number in calls.decided.items()]


def _argument(number: int) -> _Instruction:
    """Look at the low half of an argument."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * number)


def _one_of(number: int, values: tuple[int, ...]) -> list[_Instruction]:
    found = [_argument(number)]
    for value in values:
        found += [(_EQUAL, 0, 1, value), _ALLOWED]
    return [*found, _REFUSED]


def _opened(number: int) -> list[_Instruction]:
    """Allow no files without a name, and to cut files short only to whom may write them.

    Older Landlocks do not look at the latter.
    """
    return [
        _argument(number),
        (_AND, 0, 0, _TMPFILE),
        (_EQUAL, 1, 0, 0),
        _REFUSED,
        _argument(number),
        (_AND, 0, 0, os.O_TRUNC),
        (_EQUAL, 0, 1, 0),
        _ALLOWED,
        _argument(number),
        (_AND, 0, 0, os.O_ACCMODE),
        (_EQUAL, 0, 1, os.O_WRONLY),
        _ALLOWED,
        (_EQUAL, 0, 1, os.O_RDWR),
        _ALLOWED,
        _REFUSED,
    ]


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install(code: bytes) -> None:
    """Filter this process's system calls from now on; there is no way back.

    Raises:
        OSError: the kernel refuses.
    """
    buffer = ctypes.create_string_buffer(code, len(code))
    told = _Program(len(code) // 8, ctypes.addressof(buffer))
    call_c("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call_c("prctl", _PR_SET_SECCOMP, 2, ctypes.addressof(told), 0, 0)
