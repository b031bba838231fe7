"""Hostile code reaches nothing, ends in time, and leaves nothing behind.

As root and as an ordinary user; with all layers that this machine offers, and as on machines that
have only one of them.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.sandbox import attacks

from terrazzo.sandbox import Mode, UdfRules
from terrazzo.sandbox.layers import this_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Outcomes = Callable[[int, str], Any]

MACHINE = this_machine()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MACHINE.missing), reason=MACHINE.missing or "it can be closed"),
]
NOBODY = 65534
USERS = [os.getuid(), NOBODY] if os.getuid() == 0 else [os.getuid()]
LAYERS = {"all": True, "namespaces": not MACHINE.namespaces, "landlock": MACHINE.landlock > 0}
"""Which layers of protection there are here."""
FIRST = "first landlock"
EACH = [
    pytest.param(layers, marks=pytest.mark.skipif(not there, reason=f"no {layers} here"))
    for layers, there in LAYERS.items()
]
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


def attack(user: int, layers: str) -> Any:
    """Return what became of all attacks of a user."""
    done = subprocess.run(
        [interpreter(user), attacks.__file__, layers],
        user=user,
        group=user,
        extra_groups=[],
        env={"PYTHONPATH": PATHS, "PATH": "/usr/bin:/bin"},
        cwd="/",
        check=True,
        capture_output=True,
        timeout=800,  # other tests have the cores, too
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def outcomes() -> Iterator[Callable[[int, str], Any]]:
    """What tells of all attacks of a user where there are some layers only.

    Half of their time they wait for limits of time, so that users attack side by side; one user's
    attacks follow each other, as they share the processes that a user may have.
    """
    there = [layers for layers, here in LAYERS.items() if here]
    machines = [*there, *([FIRST] if MACHINE.landlock else [])]
    with ExitStack() as stack:
        pools = {user: stack.enter_context(ThreadPoolExecutor(1)) for user in USERS}
        begun = {
            (user, layers): pool.submit(attack, user, layers)
            for user, pool in pools.items()
            for layers in machines
        }
        yield lambda user, layers: begun[user, layers].result()
        for pool in pools.values():
            pool.shutdown(wait=False, cancel_futures=True)


@pytest.mark.parametrize("layers", EACH)
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    ("group", "name"), [(group, name) for group, found in attacks.GROUPS.items() for name in found]
)
def test_nothing_is_reached(
    group: str, name: str, user: int, layers: str, outcomes: Outcomes
) -> None:
    told = outcomes(user, layers)[group][name]

    assert told.get("reached", 0) == 0
    assert told["next"]
    assert told["left"] == outcomes(user, layers)["rest"]


@pytest.mark.skipif(not MACHINE.landlock, reason="no Landlock here")
@pytest.mark.parametrize("user", USERS)
def test_first_landlock_protects_files_too(user: int, outcomes: Outcomes) -> None:
    told = outcomes(user, FIRST)

    for group in attacks.FILE_GROUPS:
        assert {name for name, one in told[group].items() if one.get("reached", 0)} == set()
    assert told["file"] == "kept"


@pytest.mark.parametrize("layers", EACH)
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("memory", "needs more memory"),
        ("loop", "more than"),
        ("loop that ignores signals", "more than"),
        ("loop inside of NumPy", "more than"),
        ("sleep", "took more than 4 seconds"),
        ("sleep with large arrays", "took more than 4 seconds"),
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
def test_it_is_stopped_and_told_why(
    name: str, words: str, user: int, layers: str, outcomes: Outcomes
) -> None:
    told = outcomes(user, layers)["endings"][name]

    assert words in told["error"]
    assert told["next"]
    assert told["left"] == outcomes(user, layers)["rest"]


@pytest.mark.parametrize("layers", EACH)
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shape that changes", "must return the same dimensions"),
        ("type that changes", "Nothing is cast silently"),
        ("labels that change", "returns other labels along 'bands'"),
        ("text", "must be of numbers"),
        ("objects", "must be of numbers"),
        ("pickled objects", "must be of numbers"),
        ("records", "must be of numbers"),
        ("dates", "must be of numbers"),
        ("complex numbers", "must be of numbers"),
        ("no array", "must return an xarray.DataArray, and it returns dict"),
        ("a result that is too large", "its shape is"),
        ("objects for labels", "is no label"),
        ("labels without end", "upset its worker: A message of"),
        ("metadata in place of numbers", ""),
        ("a pickle for an answer", "upset its worker"),
    ],
)
def test_results_that_are_none_are_refused(
    name: str, words: str, user: int, layers: str, outcomes: Outcomes
) -> None:
    told = outcomes(user, layers)["results"][name]

    if words:
        assert words in told["error"]
    else:
        assert told["reached"] == attacks.block().values.max()
    assert told["next"]
    assert told["left"] == outcomes(user, layers)["rest"]


def test_every_result_of_an_attack_is_looked_at() -> None:
    [mark] = [
        mark
        for mark in test_results_that_are_none_are_refused.pytestmark
        if mark.args[0] == ("name", "words")
    ]

    assert {name for name, _ in mark.args[1]} == set(attacks.RESULTS)


@pytest.mark.parametrize("layers", EACH)
@pytest.mark.parametrize("user", USERS)
def test_code_of_one_user_spoils_none_of_another_though_its_text_is_the_same(
    user: int, layers: str, outcomes: Outcomes
) -> None:
    told = outcomes(user, layers)["poisoned"]

    assert told == {"before": True, "spoilt": True, "after": True}


@pytest.mark.parametrize("layers", EACH)
@pytest.mark.parametrize("user", USERS)
def test_shared_memory_is_given_back_though_code_holds_it(
    user: int, layers: str, outcomes: Outcomes
) -> None:
    told = outcomes(user, layers)["holding"]

    assert "took more than 4 seconds" in told["error"]
    assert told["left"] == outcomes(user, layers)["rest"]


@pytest.mark.parametrize("layers", EACH)
@pytest.mark.parametrize("user", USERS)
def test_what_is_printed_is_bounded(user: int, layers: str, outcomes: Outcomes) -> None:
    told = outcomes(user, layers)["noise"]

    assert told["right"]
    assert told["bytes"] <= attacks.LIMITS.told_bytes + len(told["last"])
    assert "the rest is dropped" in told["last"]


@pytest.mark.parametrize("layers", EACH)
@pytest.mark.parametrize("user", USERS)
def test_threads_that_stay_behind_are_frozen_and_spoil_no_other_code(
    user: int, layers: str, outcomes: Outcomes
) -> None:
    assert outcomes(user, layers)["lingering"] == {"other": True, "frozen": True}


@pytest.mark.parametrize("layers", EACH)
@pytest.mark.parametrize("user", USERS)
def test_nothing_is_left_behind(user: int, layers: str, outcomes: Outcomes) -> None:
    told = outcomes(user, layers)

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
    sandbox = attacks.Sandbox(UdfRules(Mode.TRUSTED, attacks.LIMITS))

    result = sandbox.run(attacks.attempt(attacks.READS[name]), attacks.block(), context)

    sandbox.close()
    assert result.values.max() == 1
