"""Programs of ours in closed workers: what they see, what they may take, and what is believed."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from terrazzo.sandbox import closed
from terrazzo.sandbox.closed import Refused, reading
from terrazzo.sandbox.pool import WorkersBusy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from terrazzo.sandbox.closed import Answer
    from terrazzo.sandbox.handle import Worker

SPY = """
import ctypes, json, os, socket, threading
from pathlib import Path
from terrazzo.errors import ArgumentInvalid
from terrazzo.sandbox.closed import answer_one, save

def warm_up(): pass
def prepare(limits): pass
def serve(channel): answer_one(channel, run)

def tried(what):
    try:
        return str(what())[:200]
    except Exception as error:
        return "no: " + type(error).__name__

def run(request):
    if request == "look":
        return {
            "folder": sorted(os.listdir()),
            "file": Path("given.txt").read_text(),
            "secret": tried(lambda: open(Path("where.txt").read_text()).read()),
            "passwd": tried(lambda: open("/etc/passwd").read()),
            "socket": tried(lambda: socket.socket()),
            "fork": tried(os.fork),
            "link": tried(lambda: os.symlink("/etc/passwd", "link")),
            "environment": tried(lambda: os.environ.get("TERRAZZO_SECRET", "no: none")),
        }
    if request == "memory":
        bytearray(8_000_000_000)
    if request == "abort":
        os.abort()
    if request == "wait":
        while True:
            pass
    if request == "fill":
        Path("big").write_bytes(bytes(2_000_000))
        while True:
            pass
    if request == "go on":
        Path("made.raw").write_bytes(bytes(1000))
        threading.Timer(0.3, lambda: os.truncate("made.raw", 0)).start()
        return {}
    if request == "refuse":
        raise ArgumentInvalid("it is not as it should be: " + os.getcwd())
    if request == "save":
        save("made.json", {"a": 1})
        Path("folder-of-its-own").write_bytes(b"x")
        return {}
    return request
"""


@pytest.fixture
def spy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Return a function that runs a program which tries things out."""
    (tmp_path / "terrazzo_spy.py").write_text(SPY)
    environment = closed._environment("terrazzo_spy")
    known = replace(environment, path=(*environment.path, str(tmp_path)))
    monkeypatch.setattr(closed, "_environment", lambda _: known)
    monkeypatch.setenv("TERRAZZO_SECRET", "secret")
    closed._pool.cache_clear()

    def run(request: Any, **files: Any) -> Any:
        named = {name.replace("_", "."): content for name, content in files.items()}
        with reading("terrazzo_spy", named, request) as answer:
            return answer.told

    yield run
    closed._pool("terrazzo_spy", closed.LIMITS, sealed=True).close()
    closed._pool.cache_clear()


def test_a_program_sees_its_file_and_nothing_else(spy: Callable[..., Any], tmp_path: Path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    given = tmp_path / "elsewhere"
    given.write_text("what was given")

    seen = spy("look", given_txt=given, where_txt=str(secret).encode())

    assert seen.pop("folder") == ["given.txt", "where.txt"]
    assert seen.pop("file") == "what was given"
    # What comes of `sys.path` may be read; its own sources lie in `tmp_path` here.
    seen.pop("secret")
    assert {name: told[:3] for name, told in seen.items()} == dict.fromkeys(seen, "no:")


def test_a_file_outside_cannot_be_read(
    spy: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
):
    secret = tmp_path_factory.mktemp("other") / "secret.txt"
    secret.write_text("secret")

    seen = spy("look", given_txt=b"x", where_txt=str(secret).encode())

    assert seen["secret"].startswith("no:")


@pytest.mark.parametrize(
    ("request_", "limits", "reason"),
    [
        ("memory", {}, "more memory"),
        ("abort", {}, "crashes"),
        ("wait", {"wall_seconds": 0.5}, "too long"),
        ("fill", {"scratch_bytes": 1_000_000}, "too large"),
        ("text", {}, "upsets its reader"),
    ],
)
def test_what_takes_too_much_or_fails_is_said_of_the_file(
    spy: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    request_: str,
    limits: Any,
    reason: str,
):
    monkeypatch.setattr(closed, "LIMITS", replace(closed.LIMITS, **limits))

    with pytest.raises(Refused) as refused:
        spy(request_)

    assert reason in str(refused.value)
    assert "UDF" not in str(refused.value)


def test_a_refusal_comes_with_its_kind_and_without_paths(spy: Callable[..., Any]):
    with pytest.raises(Refused) as refused:
        spy("refuse")

    assert refused.value.code == "ArgumentInvalid"
    assert "as it should be" in refused.value.reason
    assert "terrazzo-udf-" not in refused.value.reason


def test_files_of_an_answer_are_checked(spy: Callable[..., Any]):
    assert spy is not None
    with reading("terrazzo_spy", {}, "save") as answer:
        folder = answer.folder
        assert answer.text("made.json", 100) == b'{"a": 1}'
        for name, size in (("made.json", 9), ("nothing", 0), ("../made.json", 8), (".", 0)):
            with pytest.raises(Refused):
                answer.path(name, size)
        with pytest.raises(Refused, match="more than 4 bytes"):
            answer.text("made.json", 4)
        (folder / "link").symlink_to("/etc/passwd")
        with pytest.raises(Refused):
            answer.path("link", os.stat("/etc/passwd").st_size)  # noqa: PTH116

    assert not folder.exists()


def test_a_worker_that_has_answered_changes_nothing_any_more(spy: Callable[..., Any]) -> None:
    spy("save")  # it has begun then

    with reading("terrazzo_spy", {}, "go on") as answer:
        path = answer.path("made.raw", 1000)
        time.sleep(1)  # the worker would cut it after 0.3 s

        assert path.stat().st_size == 1000


def test_what_is_too_large_for_a_worker_is_not_copied(
    spy: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(1001))
    monkeypatch.setattr(closed, "LIMITS", replace(closed.LIMITS, scratch_bytes=1000))

    with pytest.raises(Refused, match="more than 1,000 bytes"):
        spy("look", given_txt=large)


def test_an_account_has_one_file_read_at_a_time_and_does_not_wait_for_ever(
    spy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert spy is not None
    monkeypatch.setattr(closed, "LIMITS", replace(closed.LIMITS, workers=2, wait_seconds=0.2))

    with reading("terrazzo_spy", {}, "save", owner="anna"):
        with pytest.raises(WorkersBusy, match=r"busy for 0\.2 s"), _read("anna"):
            pass
        with _read("bert"), pytest.raises(WorkersBusy), _read("carl"):
            pass
    with _read("anna") as answer:
        assert answer.told == {}


def _read(owner: str) -> AbstractContextManager[Answer]:
    return reading("terrazzo_spy", {}, "save", owner=owner)


def test_nothing_is_given_any_more_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch):
    given: list[Any] = []
    short = replace(closed.LIMITS, wall_seconds=-1.0)
    heap = SimpleNamespace(messages=lambda _: iter([{"asked": {}}] * 1000), scratch="/none")
    monkeypatch.setattr(closed, "request_of", lambda *_: None)

    def give(asked: Any) -> bytes:
        given.append(asked)
        return b""

    with pytest.raises(Refused, match="takes too long"):
        closed._told(cast("Worker", heap), {}, short, give)

    assert given == []
