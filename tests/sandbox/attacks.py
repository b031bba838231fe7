"""Attacks on the sandbox, run one after the other in a process of their own.

`python attacks.py LAYERS` prints, as JSON, what each of them came to where a machine offers these
layers only (see `MACHINES`). A code that returns 1 has reached what it should not; 0 says that it
was kept from it.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import sys
import tempfile
import textwrap
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from terrazzo import logs
from terrazzo.errors import TerrazzoError
from terrazzo.sandbox import Axis, Block, Limits, Sandbox, UdfRules
from terrazzo.sandbox.layers import this_machine
from terrazzo.sandbox.pool import Pool
from terrazzo.sandbox.sandbox import _digest

SECRET = "TERRAZZO_TEST_SECRET"  # noqa: S105 - the name of one
LIMITS = Limits(
    wall_seconds=4.0,
    cpu_seconds=1.0,
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
    "folders of the machine": "return len(os.listdir('/')) > 0",
    "shared memory by name": "return len(os.listdir('/dev/shm')) >= 0",
    "open files of the server": "return len(os.listdir(f'/proc/{context[\"server\"]}/fd')) > 0",
    "process memory by a call": """
        here = ctypes.create_string_buffer(8)
        mine = struct.pack('QQ', ctypes.addressof(here), 8)
        libc = ctypes.CDLL(None)
        return libc.process_vm_readv(context['server'], mine, 1, mine, 1, 0) > 0
    """,
    "database of the server": """
        import sqlite3
        try:
            return sqlite3.connect(context['folder'] + '/users.sqlite').execute(
                'SELECT count(*) FROM tokens').fetchone()[0] > 0
        except sqlite3.Error:
            return 0
    """,
    "database of the server, read as a file": """
        return len(open(context['folder'] + '/users.sqlite', 'rb').read()) > 0
    """,
    "state of the server by its modules": """
        import gc, importlib
        for name in ('server.app', 'ledger.database', 'drivers.job', 'engine', 'sandbox.pool'):
            try:
                importlib.import_module('terrazzo.' + name)
            except ImportError:
                pass
        kinds = ('Pool', 'Sandbox', 'Workspace', 'Database', 'Ledger', 'FastAPI')
        return any(type(thing).__name__ in kinds for thing in gc.get_objects())
    """,
    "secret in its memory": """
        import gc
        texts = [thing for thing in gc.get_objects() if isinstance(thing, (dict, list))]
        return any('hidden from' + ' code' in str(thing)[:10_000] for thing in texts)
    """,
    "open files that it was not given": """
        mine = [os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')]
        return any(context['folder'] in name for name in mine)
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
    "TCP by a call": """
        return ctypes.CDLL(None).socket(socket.AF_INET, socket.SOCK_STREAM, 0) >= 0
    """,
    "UDP over IPv6": "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); return 1",
    "Unix by its name": """
        line = socket.socket(socket.AF_UNIX)
        line.connect(context['folder'] + '/socket')
        return 1
    """,
    "raw packets": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW); return 1",
    "files of its channel, passed on": """
        for number in range(3, 64):
            try:
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    line = socket.socket(fileno=os.dup(number))
                    socket.send_fds(line, [b'x'], [0])
                    return 1
            except OSError:
                pass
        return 0
    """,
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW); return 1",
    "socket pair": "socket.socketpair(); return 1",
}
PROCESSES: dict[str, str] = {
    "kill the server": "os.kill(context['server'], signal.SIGKILL); return 1",
    "kill its group": "os.kill(0, signal.SIGKILL); return 1",
    "kill everybody": "os.kill(-1, signal.SIGKILL); return 1",
    "kill others, one by one": """
        for pid in range(2, 100_000):
            try:
                if pid != os.getpid():
                    os.kill(pid, signal.SIGCONT)
                    return 1
            except OSError:
                pass
        return 0
    """,
    "start a program without a fork": """
        os.posix_spawn('/bin/true', ['true'], {})
        return 1
    """,
    "processes of Python": """
        import multiprocessing
        worker = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
        worker.start()
        return 1
    """,
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
        before = os.path.exists(context['file'])
        os.remove(context['file'])
        return before and not os.path.exists(context['file'])
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
    "sleep with large arrays": "kept = np.ones((50_000_000,), 'u1'); time.sleep(60); return 1",
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
EVIL = """
class Evil:
    def __reduce__(self):
        return (open, ('/tmp/terrazzo-attack', 'w'))
"""
RESULTS: dict[str, str] = {
    "shape that changes": "return cube if float(cube.max()) <= 1 else cube[:, :1]",
    "type that changes": "return cube if float(cube.max()) <= 1 else cube.astype('f8')",
    "labels that change": """
        return cube if float(cube.max()) <= 1 else cube.assign_coords(bands=['c', 'd'])
    """,
    "text": "return cube.astype(str)",
    "objects": "return cube.astype(object)",
    "pickled objects": f"""{textwrap.indent(EVIL, " " * 8)}
        return cube.copy(data=np.full(cube.shape, Evil(), object))
    """,
    "records": "return cube.copy(data=np.zeros(cube.shape, [('a', 'f4'), ('b', 'i8')]))",
    "dates": "return cube.copy(data=np.zeros(cube.shape, 'M8[s]'))",
    "complex numbers": "return cube * 1j",
    "no array": "return {'type': 'FeatureCollection', 'features': []}",
    "a result that is too large": """
        if float(cube.max()) <= 1:
            return cube
        more = np.zeros((200, *cube.shape), cube.dtype)
        return xarray.DataArray(more, dims=('a', *cube.dims))
    """,
    "objects for labels": "return cube.assign_coords(bands=np.array([Ellipsis, 1], object))",
    "labels without end": "return cube.assign_coords(bands=['x' * 5_000_000, 'y'])",
    "metadata in place of numbers": "return cube.drop_vars('bands').assign_attrs(a='x' * 9**7)",
    "a pickle for an answer": f"""{textwrap.indent(EVIL, " " * 8)}
        import pickle
        told = pickle.dumps(Evil())
        for number in range(3, 64):
            try:
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    os.write(number, struct.pack('<I', len(told)) + told)
            except OSError:
                pass
        return cube
    """,
}
"""Codes whose result is the attack: they are refused, or it is harmless."""
GROUPS = {"reads": READS, "network": NETWORK, "processes": PROCESSES, "files": FILES}
FILE_GROUPS = {"reads": READS, "files": FILES}
MACHINES = {
    "all": {},
    "namespaces": {"landlock": 0},
    "landlock": {"namespaces": "there are none"},
    "first landlock": {"namespaces": "there are none", "landlock": 1},
}
"""What machines lack, or have less of than this one."""
NOISE = """
def apply_datacube(cube, context):
    for number in range(20_000):
        print('noise', number)
    return cube + 1
"""
GENERIC = """
import numpy as np

def apply_datacube(cube, context):
    exec(context["code"])
    return cube + np.add(1, 1)
"""
POISON = """
import builtins, xarray
np.add = lambda *_: 100
builtins.print = None
xarray.DataArray.mean = None
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
MEMORY = "memfd:terrazzo-udf"
HONEST = "def apply_datacube(cube, context):\n    return cube + np.add(1, 1)\n"
AXES = (Axis("bands", "bands", ("a", "b")), Axis("y", "spatial"), Axis("x", "spatial"))


def block() -> Block:
    return Block(np.arange(2 * 16 * 16, dtype=np.float32).reshape(2, 16, 16), AXES)


def attempt(body: str) -> str:
    lines = textwrap.dedent(body).strip()
    return ATTEMPT.format(body=textwrap.indent(lines, "    "))


def returning(body: str) -> str:
    lines = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    imports = "import os, stat, struct\nimport numpy as np\n"
    return f"{imports}def apply_datacube(cube, context):\n{lines}\n"


def outcome(
    sandbox: Sandbox, code: str, context: Any, rest: dict[str, int] | None = None
) -> dict[str, Any]:
    """Return what an attack came to, and whether another code runs as ever afterwards.

    `rest` is what there was before.
    """
    begun = time.monotonic()
    try:
        values = sandbox.run(code, block(), context).values
        told: dict[str, Any] = {"reached": float(np.max(values))}
    except TerrazzoError as error:
        told = {"error": str(error)}
    told["seconds"] = time.monotonic() - begun
    after = sandbox.run(HONEST, block(), {}).values
    right = bool((after == block().values + 2).all())
    return told | {"next": right, "left": left_behind(sandbox, rest)}


def descendants() -> list[int]:
    """Return the processes that this one has begun, and those that they have."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(entry.name)] = int(parent)
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def left_behind(sandbox: Sandbox, rest: dict[str, int] | None = None) -> dict[str, int]:
    """Return what there is beside the workers that are kept; the dead may take time to bury."""
    end = time.monotonic() + 60
    while True:
        kept = sandbox._pool._idle
        homes = [Path(zygote._folder) for zygote in sandbox._pool._zygotes.values()]
        opened = [file.readlink() for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
        shared = 2 * sum(worker.kept is not None for worker in kept)
        left = {
            "processes": len(descendants()) - len(kept),
            "folders": sum(len(list(home.iterdir())) for home in homes) - len(kept),
            "files": sum(len(list(home.glob("*/*"))) for home in homes),
            "shared": sum(MEMORY in str(name) for name in opened) - 2 * shared,  # a mapping has one
            "mapped": Path("/proc/self/maps").read_text().count(MEMORY) - shared,
        }
        if rest is None or left == rest or time.monotonic() > end:
            return left
        time.sleep(0.02)


def noise(sandbox: Sandbox) -> dict[str, Any]:
    with logs.collected() as log:
        values = sandbox.run(NOISE, block(), {}).values
    told = log.all()
    return {
        "right": bool((values == block().values + 1).all()),
        "bytes": sum(len(entry.message) for entry in told),
        "last": told[-1].message,
    }


def poisoned(sandbox: Sandbox) -> dict[str, Any]:
    """Return whether somebody's code spoils another's, whose text is the same."""
    evil, good = (Sandbox(sandbox.rules, owner, sandbox._pool) for owner in ("evil", "good"))
    right = block().values + 2
    before = good.run(GENERIC, block(), {"code": "pass"}).values
    spoilt = evil.run(GENERIC, block(), {"code": POISON}).values
    after = [one.run(GENERIC, block(), {"code": "pass"}).values for one in (good, sandbox)]
    return {
        "before": bool((before == right).all()),
        "spoilt": bool((spoilt != right).any()),
        "after": all(bool((values == right).all()) for values in after),
    }


def holding(sandbox: Sandbox, rest: dict[str, int]) -> dict[str, Any]:
    """Return what becomes of shared memory that is too large to be kept, after a timeout."""
    values = np.ones((2, 2500, 2500), np.float32)
    body = "kept = cube.values if cube.size > 1000 else 0\nif cube.size > 1000: time.sleep(60)"
    code = returning(f"import time\n{body}\nreturn cube")
    try:
        sandbox.run(code, Block(values, AXES), {})
    except TerrazzoError as error:
        return {"error": str(error), "left": left_behind(sandbox, rest)}
    return {"error": ""}


def lingering(sandbox: Sandbox) -> dict[str, Any]:
    sandbox.run(LINGERING, block(), {})
    [worker] = [w for w in sandbox._pool._idle if w.key.code == _digest(LINGERING)]
    end = time.monotonic() + 60
    while True:  # it is told to stand still, and does where it comes to know of it
        before = worker.cpu_seconds()
        time.sleep(0.3)
        frozen = worker.cpu_seconds() == before
        if frozen or time.monotonic() > end:
            break
    other = sandbox.run(HONEST, block(), {}).values
    return {
        "other": bool((other == block().values + 2).all()),
        "frozen": frozen,
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
    os.environ[SECRET] = "hidden from code"
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        tempfile.tempdir = folder
        file = Path(folder) / "file"
        file.write_text("kept")
        with closing(sqlite3.connect(Path(folder) / "users.sqlite")) as users:
            users.execute("CREATE TABLE tokens (secret)")
            users.execute("INSERT INTO tokens VALUES ('hidden from code')")
            users.commit()
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(str(Path(folder) / "socket"))
        unix.listen()
        before = left_over(folder)
        machine = replace(this_machine(), **MACHINES[sys.argv[1]])
        sandbox = Sandbox(UdfRules(limits=LIMITS), "", Pool(LIMITS, sealed=True, machine=machine))
        context = {
            "server": os.getpid(),
            "port": server.getsockname()[1],
            "file": str(file),
            "folder": folder,
            "call": 1,
        }
        whole = sys.argv[1] != "first landlock"
        groups = GROUPS | {"endings": ENDINGS} if whole else FILE_GROUPS
        sandbox.run(HONEST, block(), {})
        rest = left_behind(sandbox)
        told: dict[str, Any] = {
            group: {
                name: outcome(sandbox, attempt(body), context, rest)
                for name, body in attacks.items()
            }
            for group, attacks in groups.items()
        }
        told["rest"] = rest
        if whole:
            told["results"] = {
                name: outcome(sandbox, returning(body), context, rest)
                for name, body in RESULTS.items()
            }
            told["poisoned"] = poisoned(sandbox)
            told["holding"] = holding(sandbox, rest)
            told["noise"] = noise(sandbox)
            told["lingering"] = lingering(sandbox)
        sandbox.close()
        told["left"], told["before"] = left_over(folder), before
        unix.close()
        told["file"] = file.read_text()
        told["mode"] = oct(file.stat().st_mode)
    told["user"] = os.getuid()
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
