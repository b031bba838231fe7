"""A machine of its own for workers, with nothing in it but libraries and one folder: namespaces.

The process that forks workers enters namespaces of its own (users, processes, mounts, network,
IPC, host name) and builds a tree there of what workers may read. Each worker takes that tree,
with its own folder in it, as its root: nothing else has a name any more. It needs no rights and
no program: `bubblewrap` asks the kernel for the same, once for each process that it starts.

Source: Linux `user_namespaces(7)`, `mount_namespaces(7)`, `pivot_root(2)`.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from terrazzo.sandbox.native import address_of, call_c

if TYPE_CHECKING:
    from collections.abc import Iterable

DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
"""Files of the system that workers may read and write."""
LIBRARIES = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"),
    # The second has links to libraries only.
    *("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/usr/share/zoneinfo"),
)
"""What of the system they may read."""
INSIDE = "/scratch"
"""Where a worker finds the folder that it may write to."""
_NEW_MOUNTS, _NEW_NAMES, _NEW_IPC = 0x00020000, 0x04000000, 0x08000000
_NEW_USERS, _NEW_PROCESSES, _NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
_NEW = _NEW_USERS | _NEW_PROCESSES | _NEW_MOUNTS | _NEW_NETWORK | _NEW_IPC | _NEW_NAMES
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _FLAGS = 1, 2, 4, 0b1111
"""Flags of mounts, here and in `os.statvfs`; the fourth of all is `noexec`."""
_REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 32, 4096, 16384, 1 << 18
_DETACH = 2
_PIVOT = {"x86_64": 155, "aarch64": 41}
"""The system call `pivot_root`, for which the C library has no function."""
_UNLISTED = 0o111
"""Rights of a folder that may be passed through and not listed."""
_FILES = 4096
_FAILED = 1


def enter() -> None:
    """Go on in a new process in namespaces of its own, while this one waits for its end.

    To be called before there are threads.

    Raises:
        OSError: the kernel refuses.
    """
    user, group = os.getuid(), os.getgid()
    call_c("unshare", _NEW)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - no file
            file.write(text)
    child = os.fork()
    if child:
        os.closerange(3, _FILES)
        _, status = os.waitpid(child, 0)
        os._exit(_FAILED if status else 0)
    call_c("prctl", 1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid():  # in the namespace of processes nobody has a parent outside of it
        raise OSError("There is no namespace of processes.")


def build(root: str, readable: Iterable[str], devices: Iterable[str]) -> None:
    """Make a tree of what workers may read, at an empty folder that others do not see change.

    Args:
        root: the folder.
        readable: folders and files that may be read, by the names that they have outside; what is
            not there is passed over.
        devices: files that may be read and written.

    Raises:
        OSError: the kernel refuses.
    """
    _mount("none", "/", _PRIVATE | _RECURSIVE)
    _mount("tmpfs", root, _NO_SETUID | _NO_DEVICES, "tmpfs", "mode=0755")
    os.mkdir(f"{root}{INSIDE}", 0o700)  # noqa: PTH102 - paths of the kernel throughout
    shown: list[str] = []
    for path in sorted({found for name in readable for found in (name, os.path.realpath(name))}):
        if not any(path == other or path.startswith(f"{other}/") for other in shown):
            shown += [path] if _show(root, path) else []
    nodes = [path for path in devices if _show(root, path)]
    kept = {f"{root}{path}" for path in nodes}
    for place in _mounted(root):
        flags = _READ_ONLY | _NO_SETUID | (0 if place in kept else _NO_DEVICES)
        if place == root:
            os.chmod(root, _UNLISTED)  # noqa: PTH101
        _narrow(place, flags)


def shut_in(root: str, scratch: str) -> None:
    """Leave this process nothing but the tree, and a folder for `INSIDE`; there is no way back.

    Raises:
        OSError: the kernel refuses.
    """
    call_c("unshare", _NEW_MOUNTS)
    inside = f"{root}{INSIDE}"
    _mount(scratch, inside, _BIND)
    _narrow(inside, _NO_SETUID | _NO_DEVICES)
    os.chdir(root)
    here = address_of(b".")
    call_c("syscall", _PIVOT[os.uname().machine], here, here)
    call_c("umount2", here, _DETACH)
    os.chdir(INSIDE)


def take_down(root: str) -> None:
    """Remove the tree, if there is one, and its folder."""
    name = os.fsencode(root)
    with suppress(OSError):
        call_c("umount2", address_of(name), _DETACH)
    with suppress(OSError):
        os.rmdir(root)  # noqa: PTH106


def _show(root: str, path: str) -> bool:
    """Let a folder or file be seen in the tree, and tell whether it is there."""
    target = f"{root}{path}"
    try:
        if os.path.isdir(path):  # noqa: PTH112
            os.makedirs(target, exist_ok=True)  # noqa: PTH103
        elif os.path.exists(path):  # noqa: PTH110
            os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
            os.close(os.open(target, os.O_CREAT | os.O_CLOEXEC, 0o600))
        else:
            return False
    except PermissionError:
        return False
    _mount(path, target, _BIND | _RECURSIVE)
    return True


def _mount(source: str, target: str, flags: int, kind: str = "", options: str = "") -> None:
    names = [os.fsencode(text) for text in (source, target, kind, options)]
    one, two, three, four = (address_of(name) if name else 0 for name in names)
    try:
        call_c("mount", one, two, three, flags, four)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: {target}") from None


def _narrow(place: str, flags: int) -> None:
    """Take rights from a mount; those that it lacks already must be named again."""
    kept = os.statvfs(place).f_flag & _FLAGS
    if kept | flags != kept:
        _mount("none", place, _REMOUNT | _BIND | kept | flags)


def _mounted(root: str) -> list[str]:
    """Return what is mounted in the tree, the root last."""
    with open("/proc/self/mountinfo", "rb") as file:  # noqa: PTH123 - no file
        places = [line.split()[4] for line in file]
    names = [os.fsdecode(place.decode("unicode_escape").encode("latin-1")) for place in places]
    found = dict.fromkeys(name for name in names if f"{name}/".startswith(f"{root}/"))
    return sorted(found, reverse=True)
