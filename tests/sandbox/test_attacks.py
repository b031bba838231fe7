"""Hostile code reaches nothing, ends in time, and leaves nothing behind: as root and as a user."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox import attacks

from terrazzo.sandbox.seal import what_is_missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing() or "it can be closed"),
]
NOBODY = 65534
USERS = [os.getuid(), NOBODY] if os.getuid() == 0 else [os.getuid()]
PATHS = os.pathsep.join((str(Path(__file__).parents[2] / "src"), sysconfig.get_path("purelib")))


@functools.cache
def interpreter(user: int) -> str:
    """Return an interpreter of this version that the user may start."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (sys.executable, shutil.which(version, path="/usr/local/bin:/usr/bin")):
        try:
            subprocess.run([path or "", "-c", "import json"], user=user, check=True, cwd="/")
        except (OSError, subprocess.CalledProcessError):
            continue
        return path or ""
    pytest.skip(f"User {user} may start no {version} here.")


@functools.cache
def outcomes(user: int, *options: str) -> Any:
    done = subprocess.run(
        [interpreter(user), attacks.__file__, *options],
        user=user,
        group=user,
        extra_groups=[],
        env={"PYTHONPATH": PATHS, "PATH": "/usr/bin:/bin"},
        cwd="/",
        check=True,
        capture_output=True,
        timeout=300,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    ("group", "name"), [(group, name) for group, found in attacks.GROUPS.items() for name in found]
)
def test_nothing_is_reached(group: str, name: str, user: int) -> None:
    told = outcomes(user)[group][name]

    assert told.get("reached", 0) == 0
    assert told["next"]


@pytest.mark.parametrize("user", USERS)
def test_first_landlock_protects_files_too(user: int) -> None:
    told = outcomes(user, "1")

    for group in attacks.FILE_GROUPS:
        assert {name for name, one in told[group].items() if one.get("reached", 0)} == set()
    assert told["file"] == "kept"


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("memory", "needs more memory"),
        ("loop", "more than"),
        ("loop that ignores signals", "more than"),
        ("loop inside of NumPy", "more than"),
        ("sleep", "took more than 4 seconds"),
        ("stop itself", "took more than 4 seconds"),
        ("loops in threads", "more than"),
        ("many threads", "256 threads"),
        ("many files", "200 files"),
        ("many large files", "8 MB"),
        ("exit", "ended its worker"),
        ("crash", "SIGSEGV"),
        ("huge result", "must"),
        ("garbage for an answer", "upset its worker"),
        ("a lie for an answer", "upset its worker"),
        ("a nested answer", "upset its worker"),
        ("hang up", "closed files"),
    ],
)
def test_it_is_stopped_and_told_why(name: str, words: str, user: int) -> None:
    told = outcomes(user)["endings"][name]

    assert words in told["error"]
    assert told["next"]


@pytest.mark.parametrize("user", USERS)
def test_what_is_printed_is_bounded(user: int) -> None:
    told = outcomes(user)["noise"]

    assert told["right"]
    assert told["bytes"] <= attacks.LIMITS.told_bytes + len(told["last"])
    assert "the rest is dropped" in told["last"]


@pytest.mark.parametrize("user", USERS)
def test_threads_that_stay_behind_are_frozen_and_spoil_no_other_code(user: int) -> None:
    assert outcomes(user)["lingering"] == {"other": True, "frozen": True}


@pytest.mark.parametrize("user", USERS)
def test_nothing_is_left_behind(user: int) -> None:
    told = outcomes(user)

    assert told["user"] == user
    assert told["left"] == told["before"]
    assert told["left"]["processes"] == []
    assert told["file"] == "kept"
    assert told["mode"] == "0o100644"
    assert not Path("/tmp/terrazzo-attack").exists()  # noqa: S108 - where an attack would write
    assert not Path("/dev/shm/terrazzo-attack").exists()  # noqa: S108


@pytest.mark.parametrize("name", ["users", "file of the server", "folder of the server"])
def test_attacks_are_real_where_code_is_trusted(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    context = {"file": str(tmp_path / "file"), "folder": str(tmp_path), "server": os.getpid()}
    sandbox = attacks.Sandbox(attacks.Mode.TRUSTED, attacks.LIMITS)

    result = sandbox.run(attacks.attempt(attacks.READS[name]), attacks.block(), context)

    sandbox.close()
    assert result.values.max() == 1
