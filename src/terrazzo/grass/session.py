"""Sessions of GRASS: a keeper each, with a database in memory, used by one thread at a time."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import select
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.errors import ArgumentInvalid, TerrazzoError
from terrazzo.grass.regions import region_file, region_of, wkt_of
from terrazzo.progress import CHECK_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from terrazzo.grass.modules import Call
    from terrazzo.grass.regions import Place

MOST_SECONDS: Final = 600.0
"""Until the computation of a block is given up."""
IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - folders there have names of their own
_ENOUGH_BYTES: Final = 500_000_000
"""What must be left free in memory, else the folder for temporary files is used."""
_PREFIX: Final = "terrazzo-grass-"
_YOUNG_SECONDS: Final = 60.0
"""How long a folder may be without its lock: it is being made."""
_MOST_IDLE: Final = 4
_END_SECONDS: Final = 10.0
_LINES: Final = 3
_NULL: Final = -(1 << 31)
"""How GRASS writes no-data among integers."""
_WAY_OUT: Final = (
    "Install it where blocks are computed: `apt-get install grass-core` (Debian, Ubuntu), or "
    "another package that brings the command `grass`, and try again; `terrazzo doctor` tells "
    "whether it is found."
)


class GrassMissing(TerrazzoError):
    """GRASS is not installed."""

    code, status = "GrassMissing", 501


class GrassFailed(ArgumentInvalid):
    """A module of GRASS refused what it was given, took too long, or was ended."""

    code = "GrassFailed"


@dataclass(frozen=True, slots=True)
class _Installed:
    """Where GRASS is."""

    base: Path
    version: str

    def environment(self, settings: Path) -> dict[str, str]:
        """Return what its modules are run with: nothing of ours but where programs are."""
        paths = [self.base / "bin", self.base / "scripts"]
        return {
            "GISBASE": str(self.base),
            "GISRC": str(settings),
            "GRASS_MESSAGE_FORMAT": "plain",
            "GRASS_VERBOSE": "0",
            "GRASS_SKIP_MAPSET_OWNER_CHECK": "1",
            "HOME": str(settings.parent),
            "LANG": "C",
            "LC_ALL": "C",
            "LD_LIBRARY_PATH": str(self.base / "lib"),
            "PATH": ":".join([*map(str, paths), os.defpath]),
            "TMPDIR": str(settings.parent),
        }


@cache
def _found(command: str) -> _Installed:
    """Ask an installation where its modules are."""
    asked = [command, "--config", "path"], [command, "--config", "version"]
    try:
        base, version = (
            subprocess.run(  # noqa: S603 - of the PATH, as every program
                one, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
                timeout=MOST_SECONDS,
            ).stdout.strip()
            for one in asked
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise GrassMissing(f"{command} is there and does not answer: {error}. {_WAY_OUT}") from None
    return _Installed(Path(base.splitlines()[-1]), version.splitlines()[-1])


def check_grass() -> _Installed:
    """Return where GRASS is.

    Raises:
        GrassMissing: it is not installed.
    """
    command = shutil.which("grass")
    if command is None:
        raise GrassMissing(f"GRASS is not installed on this machine. {_WAY_OUT}")
    return _found(command)


def version() -> str:
    """Return the version of GRASS that is installed.

    Raises:
        GrassMissing: it is not installed.
    """
    return check_grass().version


def run(
    call: Call,
    images: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]],
    place: Place,
    seconds: float = MOST_SECONDS,
    *,
    check: Callable[[], None] = lambda: None,
) -> list[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Run a module over a raster, in a mapset that is in memory and gone afterwards.

    Args:
        call: which module, and with what.
        images: (y, x) float32 or float64 values and what is valid of them, one per map that the
            call takes; NaN is no-data too.
        place: where they lie.
        seconds: until it is given up.
        check: called again and again while it runs; may raise to end it.

    Returns:
        Values and validity per output: int32 where it holds whole numbers, else the type of the
        images.

    Raises:
        GrassMissing: GRASS is not installed.
        GrassFailed: the module says why, took longer, or was ended.
    """
    if _without_data(call, images):
        kinds = (np.dtype(np.int32) if one.integer else images[0][0].dtype for one in call.outputs)
        shape = images[0][0].shape
        return [(np.zeros(shape, kind), np.zeros(shape, np.bool_)) for kind in kinds]
    pixels, itemsize = images[0][0].size, images[0][0].dtype.itemsize
    maps = len(images) + len(call.outputs)
    with _SESSIONS.one(_root(2 * maps * pixels * itemsize)) as session:
        return session.run(call, images, place, _Until(time.monotonic() + seconds, check))


def _without_data(call: Call, images: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]]) -> bool:
    """Tell whether nothing comes out because nothing goes in; some modules fail then."""
    if images[0][0].shape[0] < call.module.smallest:
        return True
    return not call.module.fills and not any(
        (valid & ~np.isnan(values)).any() for values, valid in images
    )


@dataclass(frozen=True, slots=True)
class _Until:
    """How long GRASS may work."""

    end_s: float
    """When it is given up, on the monotonic clock."""
    check: Callable[[], None]
    """Raises when it is not wanted any more."""

    @property
    def left(self) -> float:
        """Seconds that are left; 0 at the end."""
        return max(0.0, self.end_s - time.monotonic())


@dataclass(eq=False)
class _Session:
    """A folder in memory, and the process that runs modules in it and deletes it in the end."""

    grass: _Installed
    folder: Path
    keeper: subprocess.Popen[bytes]
    owner: int
    """The process that it is of."""
    known: dict[str, dict[str, str]] = field(default_factory=dict)
    """Regions of the locations that there are, by CRS."""
    calls: int = 0

    @classmethod
    def begin(cls, root: Path) -> _Session:
        """Start a keeper over a new folder; folders of killed ones are deleted."""
        grass = check_grass()
        _sweep(root)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        with (folder / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keeper = subprocess.Popen(  # noqa: S603 - it is our own
                [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py")), folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(lock.fileno(),),  # the lock is held until the keeper has ended, too
                start_new_session=True,
            )
        return cls(grass, folder, keeper, os.getpid())

    def run(
        self,
        call: Call,
        images: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]],
        place: Place,
        until: _Until,
    ) -> list[tuple[NDArray[Any], NDArray[np.bool_]]]:
        """See `run`."""
        self.calls += 1
        try:
            region = self._location(place.crs, until)
            return self._computed(
                call, images, {**region, **region_of(place, images[0][0].shape)}, until
            )
        except OSError as error:  # its text names a folder, which is nobody's business
            raise GrassFailed(
                f"GRASS cannot work where temporary files are: {error.strerror}. Make room there, "
                "or choose smaller blocks."
            ) from None

    def _computed(
        self,
        call: Call,
        images: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]],
        region: Mapping[str, str],
        until: _Until,
    ) -> list[tuple[NDArray[Any], NDArray[np.bool_]]]:
        location = self.folder / region["location"]
        mapset = location / f"call{self.calls}"
        mapset.mkdir()
        try:
            (mapset / "WIND").write_text(region_file(region))
            settings = self._settings(mapset)
            edges = [f"{side}={region[side]}" for side in ("north", "south", "east", "west")]
            edges += [f"rows={region['rows']}", f"cols={region['cols']}"]
            commands = []
            dtype = images[0][0].dtype
            for number, (values, valid) in enumerate(images):
                np.where(valid, values, np.nan).astype(dtype).tofile(mapset / f"in{number}")
                commands.append(
                    ["r.in.bin", "-f" if dtype.itemsize == 4 else "-d", f"input=in{number}",  # noqa: PLR2004 - bytes
                     f"output=m{number}", f"bytes={dtype.itemsize}", *edges]
                )  # fmt: skip
            commands.append(call.words)
            for output in call.outputs:
                size = 4 if output.integer else dtype.itemsize
                kind = "-i" if output.integer else "-f"
                null = f"null={_NULL}" if output.integer else "null=nan"
                commands.append(
                    ["r.out.bin", kind, f"input={output.key}", f"output=out-{output.key}",
                     f"bytes={size}", null]
                )  # fmt: skip
            self._ask(commands, settings, mapset, until)
            shape = images[0][0].shape
            return [_read(mapset, output.key, output.integer, dtype, shape)
                    for output in call.outputs]  # fmt: skip
        finally:
            shutil.rmtree(mapset, ignore_errors=True)

    def _location(self, crs: str, until: _Until) -> dict[str, str]:
        """Return the region of a location with this CRS, made when it is first asked for."""
        if crs not in self.known:
            name = f"crs{len(self.known)}"
            start = self.folder / "start" / "PERMANENT"
            if not start.exists():
                start.mkdir(parents=True)
                for file in ("DEFAULT_WIND", "WIND"):
                    (start / file).write_text(region_file({"proj": "0", "zone": "0"}))
            (start / "crs.wkt").write_text(wkt_of(crs))
            settings = self._settings(start)
            self._ask([["g.proj", "-c", "wkt=crs.wkt", f"location={name}"]], settings, start, until)
            told = (self.folder / name / "PERMANENT" / "DEFAULT_WIND").read_text()
            lines = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
            self.known[crs] = {
                "location": name, "proj": lines["proj"].strip(), "zone": lines["zone"].strip()
            }  # fmt: skip
        return self.known[crs]

    def _settings(self, mapset: Path) -> Path:
        path = mapset / "settings"
        path.write_text(
            f"GISDBASE: {self.folder}\nLOCATION_NAME: {mapset.parent.name}\nMAPSET: {mapset.name}\n"
        )
        return path

    def _ask(self, commands: list[list[str]], settings: Path, folder: Path, until: _Until) -> None:
        """Have the keeper run commands.

        Raises:
            GrassFailed: one has failed, or there is no time left; then the session has ended.
        """
        environment = self.grass.environment(settings)
        asked = {"commands": commands, "environment": environment, "folder": str(folder)}
        module = next((c[0] for c in commands if not c[0].endswith(".bin")), commands[0][0])
        try:
            answer = self._answer(json.dumps(asked).encode() + b"\n", until)
        except BaseException:  # also where somebody stops the run: nothing goes on without us
            self.end()
            raise
        if answer is None:
            late = until.left <= 0
            self.end()
            raise GrassFailed(
                f"{module} took longer than it may and was ended. Choose smaller blocks, a smaller "
                "size of the window, or a smaller extent."
                if late
                else f"The process that runs {module} was killed, as happens when there is no "
                "memory left. Choose smaller blocks, or give the same command again."
            )
        if answer:
            told = answer["said"].replace(f"{self.folder}/", "")
            lines = [line.strip() for line in told.splitlines() if line.strip()]
            ended = (
                f"it crashed, signal {-answer['status']}"
                if answer["status"] < 0
                else (f"exit status {answer['status']}")
            )
            said = " ".join(lines[-_LINES:]) or ended
            raise GrassFailed(f"GRASS refuses ({answer['failed']}): {said}")

    def _answer(self, message: bytes, until: _Until) -> dict[str, Any] | None:
        """Return what the keeper says; None where it says nothing in time, or has ended."""
        given, taken = self.keeper.stdin, self.keeper.stdout
        if given is None or taken is None:
            raise TypeError("A keeper is spoken to.")
        try:
            given.write(message)
            given.flush()
        except BrokenPipeError:
            return None
        text = b""
        poll = select.poll()
        poll.register(taken, select.POLLIN)
        while not text.endswith(b"\n"):
            until.check()
            if not poll.poll(min(until.left, CHECK_S) * 1000):
                if until.left > 0:
                    continue
                return None
            more = os.read(taken.fileno(), 1 << 16)
            if not more:
                return None
            text += more
        answer: dict[str, Any] = json.loads(text)
        return answer

    @property
    def is_usable(self) -> bool:
        """Whether its keeper runs, and is ours: a forked process has none."""
        return self.owner == os.getpid() and self.keeper.poll() is None

    def end(self) -> None:
        """End what runs, and delete the folder."""
        for pipe in (self.keeper.stdin, self.keeper.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self.owner != os.getpid():
            return
        try:
            self.keeper.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.keeper.kill()
            self.keeper.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class _Sessions:
    """The sessions of this process, lent to one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Session] = []

    @contextlib.contextmanager
    def one(self, root: Path) -> Iterator[_Session]:
        """Lend a session below a folder; it is kept if it can be used again."""
        session = self._taken(root) or _Session.begin(root)
        try:
            yield session
        finally:
            with self._lock:
                kept = session.is_usable and len(self._idle) < _MOST_IDLE
                if kept:
                    self._idle.append(session)
            if not kept:
                session.end()

    def end(self) -> None:
        """End all that nobody uses."""
        while (session := self._taken()) is not None:
            session.end()

    def _taken(self, root: Path | None = None) -> _Session | None:
        """Take an idle session, below a folder if one is named; those that ended are let go."""
        while True:
            with self._lock:
                found = [one for one in self._idle if root in {None, one.folder.parent}]
                if not found:
                    return None
                session = found[-1]
                self._idle.remove(session)
            if session.is_usable:
                return session
            session.end()


_SESSIONS = _Sessions()
atexit.register(_SESSIONS.end)


def _root(needed: int) -> Path:
    """Return where folders are made: in memory, if there is room for so many bytes and more."""
    try:
        free = shutil.disk_usage(IN_MEMORY).free if os.access(IN_MEMORY, os.W_OK) else 0
    except OSError:
        free = 0
    return IN_MEMORY if free >= needed + _ENOUGH_BYTES else Path(tempfile.gettempdir())


def _sweep(root: Path) -> None:
    """Delete the folders whose keeper was killed: nobody holds their lock."""
    for folder in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()  # what a link leads to may be anything of ours
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                continue
            try:
                lock = (folder / "lock").open("rb")
            except FileNotFoundError:
                if time.time() - found.st_mtime > _YOUNG_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            with lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def _read(
    mapset: Path, key: str, integer: bool, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return what a module has written to one output."""
    kind = np.dtype(np.int32) if integer else dtype
    values = np.fromfile(mapset / f"out-{key}", kind).reshape(shape)
    return values, values != _NULL if integer else ~np.isnan(values)
