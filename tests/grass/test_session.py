"""Sessions: what is computed, and that nothing of them stays, whoever is killed."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage

from terrazzo.grass import (
    MODULES,
    GrassFailed,
    GrassMissing,
    Place,
    call_of,
    check_grass,
    run,
    session,
)
from terrazzo.grass import version as grass_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

PLACE = Place("EPSG:32633", (600_000.0, 5_000_000.0, 601_200.0, 5_000_900.0), (10.0, 10.0))
PATIENCE_S = 60.0


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which the sessions of the test are, and nobody else's."""
    session._SESSIONS.end()
    monkeypatch.setattr(session, "_root", lambda _: tmp_path)
    yield tmp_path
    session._SESSIONS.end()


def image(dtype: str = "float32") -> tuple[NDArray[Any], NDArray[np.bool_]]:
    rows, cols = np.mgrid[0:90, 0:120]
    values = (50 * np.sin(rows / 9) + 30 * np.cos(cols / 7)).astype(dtype)
    valid = np.ones(values.shape, np.bool_)
    valid[20:22, 30] = False
    return values, valid


def folders(root: Path) -> list[Path]:
    return sorted(root.glob("terrazzo-grass-*"))


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has waited for yet has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_slope_is_horns() -> None:
    values, valid = image("float64")
    weights = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]]) / 80
    across, down = (ndimage.convolve(values, one) for one in (weights, weights.T))
    expected = np.degrees(np.arctan(np.hypot(across, down)))
    usable = ndimage.minimum_filter(valid.astype(np.uint8), 3, mode="constant").astype(bool)

    ((slope, there),) = run(call_of("r.slope.aspect", {}), [(values, valid)], PLACE)

    np.testing.assert_array_equal(there, usable)
    np.testing.assert_allclose(slope[usable], expected[usable], rtol=1e-6)


@pytest.mark.parametrize(
    ("method", "function"), [("median", np.median), ("minimum", np.min), ("maximum", np.max)]
)
def test_neighbours_are_those_of_scipy(method: str, function: Callable[..., float]) -> None:
    values, _ = image()
    valid = np.ones(values.shape, np.bool_)
    call = call_of("r.neighbors", {"size": 5, "method": method})

    ((found, there),) = run(call, [(values, valid)], PLACE)

    inner = (slice(2, -2), slice(2, -2))
    expected = ndimage.generic_filter(values, function, 5)
    assert there.all()
    np.testing.assert_array_equal(found[inner], expected[inner])


def test_maps_are_computed_with_each_other() -> None:
    values, valid = image()
    other = (values * 2 + 1).astype(np.float32)
    text = "if(isnull(a), -1, max(a, b) - b[1,-2]) + (a > 3 ? 2 : 7 % 4)"
    call = call_of("r.mapcalc", {"expression": text}, bands=("a", "b"))

    ((found, there),) = run(call, [(values, valid), (other, np.ones_like(valid))], PLACE)

    moved = np.full(values.shape, np.nan, np.float32)
    moved[:-1, 2:] = other[1:, :-2]
    # GRASS has null for a comparison with null, and so for the whole.
    expected = np.maximum(values, other) - moved + np.where(values > 3, 2, 3)
    known = valid & ~np.isnan(moved)
    np.testing.assert_array_equal(there, known)
    np.testing.assert_array_equal(found[known], expected.astype(np.float32)[known])


def test_whole_numbers_stay_whole() -> None:
    values, valid = image("float64")
    call = call_of("r.watershed", {"threshold": 50}, "s", ["basin", "accumulation"])

    (basin, where), (accumulation, there) = run(call, [(values, valid)], PLACE)

    assert basin.dtype == np.int32
    assert accumulation.dtype == np.float64
    assert set(basin[where] % 2) == {0}  # GRASS numbers basins evenly
    np.testing.assert_array_equal(there, valid)


def test_a_module_that_refuses_says_why(root: Path) -> None:
    call = call_of("r.watershed", {}, "", ["basin"])  # needs a threshold

    with pytest.raises(GrassFailed, match=r"r\.watershed\).*threshold"):
        run(call, [image()], PLACE)

    assert run(call_of("r.relief", {}), [image()], PLACE)
    assert len(folders(root)) == 1  # the session went on


@pytest.mark.parametrize("name", MODULES)
def test_nothing_comes_of_nothing(name: str) -> None:
    values, _ = image()
    parameters = {"expression": "a[0,-1]"} if name == "r.mapcalc" else {}
    call = call_of(name, parameters, bands=("a",))

    for one in (values, values[:1], values[:1, :1], np.full_like(values, np.nan)):
        valid = np.full(one.shape, np.isnan(one).any())
        for found, there in run(call, [(one, valid)], PLACE):
            assert found.shape == one.shape
            assert not there.any()


def test_single_rows_and_pixels_are_rasters() -> None:
    values, valid = image()

    for name in ("r.slope.aspect", "r.relief", "r.neighbors", "r.watershed", "r.clump"):
        for shape in ((1, 5), (1, 1), (2, 2)):
            cut = slice(0, shape[0]), slice(0, shape[1])
            right, bottom = 600_000.0 + 10 * shape[1], 5_000_900.0 - 10 * shape[0]
            place = Place("EPSG:32633", (600_000.0, bottom, right, 5_000_900.0), (10.0, 10.0))
            for found, there in run(call_of(name, {}), [(values[cut], valid[cut])], place):
                assert found.shape == there.shape == shape


def test_data_is_made_of_nothing_where_that_is_asked_for() -> None:
    values, valid = image()
    call = call_of("r.mapcalc", {"expression": "if(isnull(a), 7, a)"}, bands=("a",))

    ((found, there),) = run(call, [(values, np.zeros_like(valid))], PLACE)

    assert there.all()
    assert (found == 7).all()


def test_what_is_not_installed_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(GrassMissing, match="apt-get install grass-core"):
        check_grass()


def test_the_version_is_told() -> None:
    assert grass_version()[:2] in {"8.", "7."}


def test_sessions_are_used_again_and_end(root: Path) -> None:
    for _ in range(3):
        run(call_of("r.relief", {}), [image()], PLACE)

    (folder,) = folders(root)
    assert not list(folder.glob("crs0/call*"))
    session._SESSIONS.end()
    assert folders(root) == []


def test_threads_have_sessions_of_their_own(root: Path) -> None:
    results: dict[int, Any] = {}

    def compute(number: int) -> None:
        values, valid = image()
        values = values * np.float32(number)
        call = call_of("r.neighbors", {"method": "maximum"})
        results[number] = [run(call, [(values, valid)], PLACE)[0][0] for _ in range(3)]

    threads = [threading.Thread(target=compute, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert 1 <= len(folders(root)) <= 3
    for number in (1, 2, 3):
        for one in results[number]:
            np.testing.assert_array_equal(one, results[1][0] * np.float32(number))


def slow() -> tuple[Any, list[tuple[NDArray[Any], NDArray[np.bool_]]], Place]:
    """A computation of minutes: windows of 129 pixels."""
    values = np.random.default_rng(1).random((1500, 1500)).astype(np.float32)
    call = call_of("r.neighbors", {"size": 129, "method": "median"})
    place = Place("EPSG:32633", (6e5, 5e6, 615_000.0, 5_015_000.0), (10.0, 10.0))
    return call, [(values, np.ones(values.shape, np.bool_))], place


def test_what_takes_too_long_is_ended(root: Path) -> None:
    with pytest.raises(GrassFailed, match="longer than it may"):
        run(*slow(), seconds=2.0)

    assert folders(root) == []
    assert not running_in(root)
    assert run(call_of("r.relief", {}), [image()], PLACE)


class NotWanted(Exception):
    """Somebody does not want it any more."""


def test_what_nobody_wants_any_more_is_ended(root: Path) -> None:
    def check() -> None:
        if list(root.glob("terrazzo-grass-*/crs0/call*/fcell/m0")):
            raise NotWanted

    with pytest.raises(NotWanted):
        run(*slow(), check=check)

    assert folders(root) == []
    assert not running_in(root)
    assert run(call_of("r.relief", {}), [image()], PLACE, check=lambda: None)


@pytest.mark.parametrize("how", ["disk", "module"])
def test_where_a_session_works_is_not_told(
    root: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def full(*_: object, **__: object) -> dict[str, Any]:
        (folder,) = folders(root)
        if how == "module":
            said = f"ERROR: Unable to open {folder}/crs0/call1/cell\n"
            return {"failed": "r.relief", "status": 1, "said": said}
        raise OSError(28, "No space left on device", f"{folder}/crs0/call1/in0")

    monkeypatch.setattr(session._Session, "_answer", full)
    monkeypatch.setattr(session._Session, "_location", lambda *_: {"location": "start"})
    begin = session._Session.begin

    def begun(where: Path) -> Any:
        made = begin(where)
        (made.folder / "start").mkdir()
        return made

    monkeypatch.setattr(session._Session, "begin", begun)
    said = {"disk": "No space left on device", "module": "Unable to open crs0/call1/cell"}

    with pytest.raises(GrassFailed, match=said[how]) as told:
        run(call_of("r.relief", {}), [image()], PLACE)

    assert str(root) not in str(told.value)
    assert told.value.__cause__ is None


def running_in(root: Path) -> list[int]:
    """Return the processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(root) in (process / "cmdline").read_text() + str((process / "cwd").readlink()):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def command_of(pid: int) -> bytes:
    """Return the command of a process; nothing if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_a_killed_keeper_takes_its_module_with_it(root: Path) -> None:
    raised: list[BaseException] = []

    def compute() -> None:
        try:
            run(*slow())
        except GrassFailed as error:
            raised.append(error)

    thread = threading.Thread(target=compute)
    thread.start()
    wait_for(lambda: list(root.glob("terrazzo-grass-*/crs0/call*/fcell/m0")), "no module runs")
    (keeper,) = [pid for pid in running_in(root) if b"keeper.py" in command_of(pid)]
    os.kill(keeper, signal.SIGKILL)
    thread.join(PATIENCE_S)

    assert "was killed" in str(raised[0])
    assert folders(root) == []
    wait_for(lambda: not any(map(is_running, running_in(root))), "a module goes on")


CHILD = """
import sys
from pathlib import Path
from terrazzo.grass import run, session
from tests.grass.test_session import slow
session._root = lambda _: Path(sys.argv[1])
run(*slow())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_a_killed_process(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2]) as one:
        try:
            wait_for(
                lambda: list(tmp_path.glob("terrazzo-grass-*/crs0/call*/fcell/m0")), "no module"
            )
        finally:
            one.send_signal(number)

    wait_for(lambda: not folders(tmp_path), "the folder stays")
    wait_for(lambda: not any(map(is_running, running_in(tmp_path))), "a process goes on")


def test_what_does_not_fit_into_memory_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    sizes = {small: 600_000_000}
    usage = session.shutil.disk_usage
    monkeypatch.setattr(session, "IN_MEMORY", small)
    monkeypatch.setattr(session.tempfile, "tempdir", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(
        session.shutil, "disk_usage", lambda path: usage("/")._replace(free=sizes[path])
    )

    assert session._root(90_000_000) == small
    assert session._root(200_000_000) == tmp_path / "elsewhere"
    sizes[small] = 64_000_000  # as a container has it, unless told
    assert session._root(0) == tmp_path / "elsewhere"


def test_folders_of_the_dead_are_swept(root: Path) -> None:
    dead, used, new = (root / f"terrazzo-grass-{name}" for name in ("dead", "used", "new"))
    for folder in (dead, used, new):
        folder.mkdir()
    (dead / "lock").touch()

    with (used / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run(call_of("r.relief", {}), [image()], PLACE)

        assert not dead.exists()
        assert used.exists()
        assert new.exists()  # it is being made, and has no lock yet


def test_links_are_not_swept(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "lock").touch()
    (root / "terrazzo-grass-link").symlink_to(elsewhere)
    locked: list[object] = []
    monkeypatch.setattr(session.fcntl, "flock", lambda *given: locked.append(given))

    session._sweep(root)

    assert locked == []
    assert (elsewhere / "lock").exists()
