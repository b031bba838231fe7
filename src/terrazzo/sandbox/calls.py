"""The system calls that sealed code may make, by number, and those of which arguments decide.

What is not listed is refused: sockets, other processes, mounts, ownership, keys, tracing, and
whatever kernels will learn. Linux on x86-64 and on 64-bit ARM.

Source: Linux `arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/asm-generic/unistd.h`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Calls:
    """The numbers of one architecture."""

    audit: int
    """`AUDIT_ARCH_*` of the kernel: how a filter knows the architecture."""
    free: tuple[int, ...]
    """Allowed with any arguments."""
    decided: Mapping[str, int]
    """Allowed with some arguments; `terrazzo.sandbox.seccomp` says with which."""
    absent: tuple[int, ...]
    """Answered as if the kernel did not know them, so that libraries fall back."""
    pretended: tuple[int, ...]
    """Answered as if done, and not done: a file that is removed while it is open would take room
    that nobody can count. The server removes all files after each call."""


_X86_64 = Calls(
    audit=0xC000003E,
    free=(
        # read, write, close, stat, fstat, lstat, poll, lseek, mmap, mprotect, munmap, brk
        *(0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
        # and rt_sigaction, rt_sigprocmask, rt_sigreturn, pread64, pwrite64, readv, writev, access
        *(13, 14, 15, 17, 18, 19, 20, 21),
        # pipe, select, sched_yield, mremap, madvise, dup, dup2, pause, nanosleep
        *(22, 23, 24, 25, 28, 32, 33, 34, 35),
        # getitimer, alarm, setitimer, getpid, sendfile, recvmsg, exit, uname, flock
        *(36, 37, 38, 39, 40, 47, 60, 63, 73),
        # fsync, fdatasync, ftruncate, getcwd, chdir, fchdir, readlink
        *(74, 75, 77, 79, 80, 81, 89),
        # gettimeofday, getrlimit, getrusage, sysinfo, times, getuid, getgid, geteuid, getegid
        *(96, 97, 98, 99, 100, 102, 104, 107, 108),
        # getppid, getpgrp, rt_sigpending, rt_sigtimedwait, rt_sigsuspend, sigaltstack, arch_prctl
        *(110, 111, 127, 128, 130, 131, 158),
        # gettid, time, futex, sched_getaffinity, set_tid_address, restart_syscall, fadvise64
        *(186, 201, 202, 204, 218, 219, 221),
        # clock_gettime, clock_getres, clock_nanosleep, exit_group, epoll_wait, epoll_ctl
        *(228, 229, 230, 231, 232, 233),
        # getdents64, newfstatat, readlinkat, faccessat
        *(217, 262, 267, 269),
        # pselect6, ppoll, set_robust_list, get_robust_list, epoll_pwait, eventfd2
        *(270, 271, 273, 274, 281, 290),
        # epoll_create1, dup3, pipe2, preadv, pwritev, getcpu, getrandom, membarrier
        *(291, 292, 293, 295, 296, 309, 318, 324),
        # copy_file_range, preadv2, pwritev2, statx, rseq, close_range, faccessat2, epoll_pwait2
        *(326, 327, 328, 332, 334, 436, 439, 441),
        449,  # futex_waitv
    ),
    decided={
        "clone": 56,
        "fallocate": 285,
        "fcntl": 72,
        "ioctl": 16,
        "kill": 62,
        "open": 2,
        "openat": 257,
        "prctl": 157,
        "prlimit64": 302,
        "tgkill": 234,
    },
    absent=(435,),  # clone3, whose flags no filter can see
    pretended=(87, 263),  # unlink, unlinkat
)

_AARCH64 = Calls(
    audit=0xC00000B7,
    free=(
        # getcwd, eventfd2, epoll_create1, epoll_ctl, epoll_pwait, dup, dup3, flock
        *(17, 19, 20, 21, 22, 23, 24, 32),
        # ftruncate, faccessat, chdir, fchdir
        *(46, 48, 49, 50),
        # close, pipe2, getdents64, lseek, read, write, readv, writev, pread64, pwrite64
        *(57, 59, 61, 62, 63, 64, 65, 66, 67, 68),
        # preadv, pwritev, sendfile, pselect6, ppoll, readlinkat, newfstatat, fstat, fsync
        *(69, 70, 71, 72, 73, 78, 79, 80, 82),
        # fdatasync, exit, exit_group, set_tid_address, futex, set_robust_list, get_robust_list
        *(83, 93, 94, 96, 98, 99, 100),
        # nanosleep, getitimer, setitimer, clock_gettime, clock_getres, clock_nanosleep
        *(101, 102, 103, 113, 114, 115),
        # sched_getaffinity, sched_yield, restart_syscall, sigaltstack, rt_sigsuspend
        *(123, 124, 128, 132, 133),
        # and rt_sigaction, rt_sigprocmask, rt_sigpending, rt_sigtimedwait, rt_sigreturn, times
        *(134, 135, 136, 137, 139, 153),
        160,  # uname
        # getrlimit, getrusage, getcpu, gettimeofday, getpid, getppid, getuid, geteuid, getgid
        *(163, 165, 168, 169, 172, 173, 174, 175, 176),
        # getegid, gettid, sysinfo, recvmsg, brk, munmap, mremap, mmap, fadvise64, mprotect, madvise
        *(177, 178, 179, 212, 214, 215, 216, 222, 223, 226, 233),
        # getrandom, membarrier, copy_file_range, preadv2, pwritev2, statx, rseq
        *(278, 283, 285, 286, 287, 291, 293),
        # close_range, faccessat2, epoll_pwait2, futex_waitv
        *(436, 439, 441, 449),
    ),
    decided={
        "clone": 220,
        "fallocate": 47,
        "fcntl": 25,
        "ioctl": 29,
        "kill": 129,
        "openat": 56,
        "prctl": 167,
        "prlimit64": 261,
        "tgkill": 131,
    },
    absent=(435,),
    pretended=(35,),
)

CALLS: Mapping[str, Calls] = {"x86_64": _X86_64, "aarch64": _AARCH64}
"""By what `os.uname().machine` says."""
