"""Attacks on the sandbox, run one after the other in a process of their own.

`python attacks.py` prints, as JSON, what each of them came to; `python attacks.py 1` what those on
files came to with the first version of Landlock. A code that returns 1 has reached
what it should not; 0 says that it was kept from it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np

from terrazzo import logs
from terrazzo.errors import TerrazzoError
from terrazzo.sandbox import Axis, Block, Limits, Mode, Sandbox, landlock
from terrazzo.sandbox.sandbox import _digest

SECRET = "TERRAZZO_TEST_SECRET"  # noqa: S105 - the name of one
LIMITS = Limits(
    wall_seconds=4.0,
    cpu_seconds=2.0,
    memory_bytes=600_000_000,
    scratch_bytes=8_000_000,
    scratch_files=200,
    told_bytes=20_000,
    workers=2,
)
ATTEMPT = """
import ctypes, errno, fcntl, glob, os, resource, signal, socket, stat, struct, subprocess, sys
import threading, time
import numpy as np

def attack(cube, context):
{body}

def apply_datacube(cube, context):
    try:
        reached = attack(cube, context)
    except (OSError, RuntimeError, ValueError) as error:
        reached = 0
    return cube * 0 + reached
"""
READS: dict[str, str] = {
    "users": "return len(open('/etc/passwd').read()) > 0",
    "environment of the server": """
        return len(open(f"/proc/{context['server']}/environ").read()) > 0
    """,
    "environment of its parent": "return len(open(f'/proc/{os.getppid()}/environ').read()) > 0",
    "memory of the server": "return len(open(f'/proc/{context[\"server\"]}/maps').read()) > 0",
    "secret in its environment": "return any('SECRET' in name for name in os.environ)",
    "file of the server": "return len(open(context['file']).read()) > 0",
    "folder of the server": "return len(os.listdir(context['folder'])) > 0",
    "scratch of others": "return len(os.listdir('..')) > 0",
    "shared memory by name": "return len(os.listdir('/dev/shm')) >= 0",
    "open files of the server": "return len(os.listdir(f'/proc/{context[\"server\"]}/fd')) > 0",
    "process memory by a call": """
        here = ctypes.create_string_buffer(8)
        mine = struct.pack('QQ', ctypes.addressof(here), 8)
        libc = ctypes.CDLL(None)
        return libc.process_vm_readv(context['server'], mine, 1, mine, 1, 0) > 0
    """,
    "trace the server": """
        libc = ctypes.CDLL(None)
        return libc.ptrace(0x4206, context['server'], 0, 0) == 0
    """,
}
NETWORK: dict[str, str] = {
    "TCP": "socket.create_connection(('127.0.0.1', context['port']), 1); return 1",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM); return 1",
    "Unix": "socket.socket(socket.AF_UNIX); return 1",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW); return 1",
    "socket pair": "socket.socketpair(); return 1",
}
PROCESSES: dict[str, str] = {
    "kill the server": "os.kill(context['server'], signal.SIGKILL); return 1",
    "kill its group": "os.kill(0, signal.SIGKILL); return 1",
    "kill its parent": "os.kill(os.getppid(), signal.SIGKILL); return 1",
    "signal by input": """
        for number in range(64):
            try:
                fcntl.fcntl(number, fcntl.F_SETOWN, context['server'])
                return 1
            except OSError as error:
                if error.errno == errno.EPERM:
                    return 0
        return 0
    """,
    "fork": """
        while True:
            if os.fork() == 0:
                time.sleep(60)
    """,
    "run a program": "subprocess.run(['/bin/true'], check=True); return 1",
    "become a program": "os.execv('/bin/sleep', ['sleep', '60']); return 1",
    "raise its limits": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1)); return 1",
    "be another user": "os.setuid(12345); return 1",
    "lower its priority": "os.setpriority(os.PRIO_PROCESS, context['server'], 19); return 1",
    "namespaces of a thread": """
        if os.uname().machine != 'x86_64':
            return 0
        libc = ctypes.CDLL(None, use_errno=True)
        flags, none = ctypes.c_long(0x10010F00), ctypes.c_long(0)
        libc.syscall(ctypes.c_long(56), flags, none, none, none, none)
        return ctypes.get_errno() != errno.EPERM
    """,
    "calls by number": """
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall.restype = ctypes.c_long
        calls = {'mount': 165, 'unshare': 272, 'setns': 308, 'bpf': 321, 'keyctl': 250,
                 'io_uring': 425, 'memfd': 319, 'userfaultfd': 323, 'perf': 298,
                 'pidfd_open': 434, 'clone3': 435,
                 'seccomp': 317, 'personality': 135, 'shmget': 29, 'mq_open': 240, 'chroot': 161,
                 'open_by_handle_at': 304, 'pidfd_getfd': 438, 'process_madvise': 440, 'mknod': 133}
        none = ctypes.c_long(0)
        for name, number in calls.items():
            ctypes.set_errno(0)
            if libc.syscall(ctypes.c_long(number), none, none, none, none, none) >= 0:
                return 1
            if ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
                return 1
        return 0
    """,
}
FILES: dict[str, str] = {
    "write elsewhere": "open('/tmp/terrazzo-attack', 'w').write('x'); return 1",
    "write to shared memory": "open('/dev/shm/terrazzo-attack', 'w').write('x'); return 1",
    "move out": """
        open('x', 'w').write('x')
        os.rename('x', '/tmp/terrazzo-attack')
        return 1
    """,
    "change a file of the server": "open(context['file'], 'w').write('x'); return 1",
    "cut a file of the server short": "os.truncate(context['file'], 0); return 1",
    "remove a file of the server": """
        os.remove(context['file'])
        return not os.path.exists(context['file'])
    """,
    "room in removed files": """
        for number in range(30):
            name = f'f{number}'
            file = os.open(name, os.O_RDWR | os.O_CREAT)
            os.write(file, bytes(1_000_000))
            os.unlink(name)
            time.sleep(0.02)
        return 1
    """,
    "room in replaced files": """
        for number in range(30):
            file = os.open('new', os.O_RDWR | os.O_CREAT)
            os.write(file, bytes(1_000_000))
            os.rename('new', 'old')
            time.sleep(0.02)
        return 1
    """,
    "room in files without a name": "os.open('.', os.O_RDWR | os.O_TMPFILE); return 1",
    "room beyond the end of a file": """
        libc, number = ctypes.CDLL(None), os.open('x', os.O_RDWR | os.O_CREAT)
        libc.fallocate(number, 1, ctypes.c_long(0), ctypes.c_long(1_000_000_000))
        return os.fstat(number).st_blocks > 100_000
    """,
    "cut a library short": """
        here = np.__file__.replace('__init__.py', '')
        [name] = glob.glob(here + '../numpy-*.dist-info/INSTALLER')
        before = os.stat(name).st_size
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, 3):
            try:
                os.close(os.open(name, flags | os.O_TRUNC))
            except OSError:
                pass
        return os.stat(name).st_size < before
    """,
    "cut a file short unread": "os.open(context['file'], 3 | os.O_TRUNC); return 1",
    "change rights": "os.chmod(context['file'], 0o777); return 1",
    "change times": "os.utime(context['file'], (1, 1)); return 1",
    "link": "os.symlink('/etc/passwd', 'link'); return len(open('link').read()) > 0",
    "hard link": "os.link(context['file'], 'link'); return 1",
    "make folders": "os.mkdir('deep'); return 1",
    "one large file": """
        with open('large', 'wb') as file:
            for _ in range(100):
                file.write(bytes(1_000_000))
        return 1
    """,
}
ENDINGS: dict[str, str] = {
    "memory": "return float(np.ones(4_000_000_000, np.uint8).sum() > 0)",
    "loop": "while True: pass",
    "loop that ignores signals": """
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        while True: pass
    """,
    "loop inside of NumPy": "return np.linalg.eigvals(np.random.rand(4000, 4000)).size",
    "sleep": "time.sleep(60); return 1",
    "stop itself": "os.kill(os.getpid(), signal.SIGSTOP); time.sleep(60); return 1",
    "loops in threads": """
        def spin():
            while True: np.sort(np.random.rand(100_000))
        for _ in range(4):
            threading.Thread(target=spin).start()
        time.sleep(60)
    """,
    "many threads": """
        threading.stack_size(1 << 16)
        for _ in range(1000):
            threading.Thread(target=time.sleep, args=(60,)).start()
            time.sleep(0.001)
        return 1
    """,
    "many files": """
        for number in range(100_000):
            open(f'f{number}', 'w').write('x' * 1000)
            time.sleep(0.001)
        return 1
    """,
    "many large files": """
        for number in range(1000):
            with open(f'f{number}', 'wb') as file:
                file.write(bytes(4_000_000))
            time.sleep(0.02)
        return 1
    """,
    "exit": "os._exit(0)",
    "crash": "ctypes.string_at(0); return 1",
    "huge result": "return np.ones((10_000, *cube.shape), np.uint8)",
    "garbage for an answer": """
        for number in range(3, 64):
            try:
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    os.write(number, b'\\xff' * 4096)
            except OSError:
                pass
        return 0
    """,
    "a lie for an answer": """
        import json
        told = json.dumps({'id': context['call'], 'shape': [1 << 40], 'dtype': '<f4',
                           'dimensions': [{'name': 'x', 'labels': None}]}).encode()
        for number in range(3, 64):
            try:
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    os.write(number, struct.pack('<I', len(told)) + told)
            except OSError:
                pass
        time.sleep(1)
        return 0
    """,
    "a nested answer": """
        told = b'[' * 1_000_000
        for number in range(3, 64):
            try:
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    os.write(number, struct.pack('<I', len(told)) + told)
            except OSError:
                pass
        time.sleep(1)
        return 0
    """,
    "hang up": "os.closerange(3, 64); time.sleep(60); return 0",
}
GROUPS = {"reads": READS, "network": NETWORK, "processes": PROCESSES, "files": FILES}
FILE_GROUPS = {"reads": READS, "files": FILES}
NOISE = """
def apply_datacube(cube, context):
    for number in range(20_000):
        print('noise', number)
    return cube + 1
"""
LINGERING = """
import gc, mmap, threading
import numpy as np

def spoil():
    while True:
        for thing in gc.get_objects():
            if isinstance(thing, mmap.mmap):
                try:
                    np.frombuffer(thing, np.uint8)[:] = 255
                except (TypeError, ValueError):
                    pass

def apply_datacube(cube, context):
    threading.Thread(target=spoil, daemon=True).start()
    np.add = None
    return cube * 0
"""
HONEST = "def apply_datacube(cube, context):\n    return cube + np.add(1, 1)\n"
AXES = (Axis("bands", "bands", ("a", "b")), Axis("y", "spatial"), Axis("x", "spatial"))


def block() -> Block:
    return Block(np.arange(2 * 16 * 16, dtype=np.float32).reshape(2, 16, 16), AXES)


def attempt(body: str) -> str:
    lines = textwrap.dedent(body).strip()
    return ATTEMPT.format(body=textwrap.indent(lines, "    "))


def outcome(sandbox: Sandbox, code: str, context: Any) -> dict[str, Any]:
    """Return what an attack came to, and whether another code runs as ever afterwards."""
    begun = time.monotonic()
    try:
        values = sandbox.run(code, block(), context).values
        told: dict[str, Any] = {"reached": float(np.max(values))}
    except TerrazzoError as error:
        told = {"error": str(error)}
    told["seconds"] = time.monotonic() - begun
    after = sandbox.run(HONEST, block(), {}).values
    return told | {"next": bool((after == block().values + 2).all())}


def noise(sandbox: Sandbox) -> dict[str, Any]:
    with logs.collected() as log:
        values = sandbox.run(NOISE, block(), {}).values
    told = log.all()
    return {
        "right": bool((values == block().values + 1).all()),
        "bytes": sum(len(entry.message) for entry in told),
        "last": told[-1].message,
    }


def lingering(sandbox: Sandbox) -> dict[str, Any]:
    sandbox.run(LINGERING, block(), {})
    [worker] = [w for w in sandbox._pool._idle if w.code == _digest(LINGERING)]
    time.sleep(0.2)
    before = worker.cpu_seconds()
    time.sleep(0.3)
    other = sandbox.run(HONEST, block(), {}).values
    return {
        "other": bool((other == block().values + 2).all()),
        "frozen": worker.cpu_seconds() == before,
    }


def left_over(folder: str) -> dict[str, Any]:
    def mine(pid: str) -> bool:
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
            command = Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:
            return False
        return folder in command and text.rpartition(")")[2].split()[0] != "Z"

    return {
        "processes": [
            p.name for p in Path("/proc").iterdir() if p.name.isdecimal() and mine(p.name)
        ],
        "folders": [p.name for p in Path(folder).glob("terrazzo-*")],
        "files": sorted(p.name for p in Path("/proc/self/fd").iterdir()),
    }


def main() -> None:
    os.environ[SECRET] = "hidden"
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        tempfile.tempdir = folder
        file = Path(folder) / "file"
        file.write_text("kept")
        before = left_over(folder)
        sandbox = Sandbox(Mode.SANDBOXED, LIMITS)
        context = {
            "server": os.getpid(),
            "port": server.getsockname()[1],
            "file": str(file),
            "folder": folder,
            "call": 1,
        }
        if sys.argv[1:]:
            landlock.version = lambda: int(sys.argv[1])
        groups = FILE_GROUPS if sys.argv[1:] else GROUPS | {"endings": ENDINGS}
        told: dict[str, Any] = {
            group: {
                name: outcome(sandbox, attempt(body), context) for name, body in attacks.items()
            }
            for group, attacks in groups.items()
        }
        if not sys.argv[1:]:
            told["noise"] = noise(sandbox)
            told["lingering"] = lingering(sandbox)
        sandbox.close()
        told["left"], told["before"] = left_over(folder), before
        told["file"] = file.read_text()
        told["mode"] = oct(file.stat().st_mode)
    told["user"] = os.getuid()
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
