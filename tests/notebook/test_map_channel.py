"""The channel between a map's screens and the kernel."""

from __future__ import annotations

import threading
from queue import Queue
from typing import TYPE_CHECKING, Any

from terrazzo.errors import ArgumentInvalid
from terrazzo.notebook.map_channel import Channel, Content

if TYPE_CHECKING:
    from terrazzo.progress import Progress

SECONDS = 60


class Comm:
    """What a channel sends, as a screen would get it."""

    def __init__(self) -> None:
        self.messages: Queue[tuple[dict[str, Any], list[bytes]]] = Queue()

    def send(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self.messages.put((content, buffers))

    def next(self) -> tuple[dict[str, Any], list[bytes]]:
        return self.messages.get(timeout=SECONDS)


class Held:
    """Answers nothing until it is let go, and notes in which order it was asked."""

    def __init__(self) -> None:
        self.began, self.go, self.asked = threading.Semaphore(0), threading.Event(), []

    def __call__(self, method: str, layer: str, params: Any, progress: Progress) -> Any:
        self.asked.append(params["n"])
        self.began.release()
        assert self.go.wait(SECONDS)
        progress.start(1, "tiles")
        progress.advance()
        return {"method": method, "layer": layer, "n": params["n"]}


def question(n: int) -> dict[str, Any]:
    return {"id": f"q{n}", "method": "values", "layer": "a", "params": {"n": n}}


def test_an_answer_names_its_question_and_carries_bytes_beside_it():
    comm = Comm()
    channel = Channel(lambda *_: Content(b"\x89PNG", "image/png", {"resolution": 10.0}), comm.send)

    channel.take({"id": "a", "method": "tile", "layer": "x", "params": {}})

    content, buffers = comm.next()
    assert content == {"id": "a", "result": {"media_type": "image/png", "resolution": 10.0}}
    assert buffers == [b"\x89PNG"]
    channel.close()


def test_the_newest_question_is_answered_first():
    comm, held = Comm(), Held()
    channel = Channel(held, comm.send, threads=1)

    channel.take(question(0))
    assert held.began.acquire(timeout=SECONDS)
    for n in (1, 2, 3):
        channel.take(question(n))
    held.go.set()
    order = [comm.next()[0]["result"]["n"] for _ in range(4)]

    assert order == [0, 3, 2, 1]
    channel.close()


def test_what_is_taken_back_is_neither_computed_nor_answered():
    comm, held = Comm(), Held()
    channel = Channel(held, comm.send, threads=1)

    channel.take(question(0))
    assert held.began.acquire(timeout=SECONDS)
    channel.take(question(1))
    channel.take(question(2))
    channel.take({"cancel": "q1"})
    channel.take({"cancel": "q0"})
    held.go.set()

    assert comm.next()[0]["id"] == "q2"
    assert held.asked == [0, 2]
    channel.close()
    assert comm.messages.empty()


def test_a_question_that_is_asked_again_is_computed_once():
    comm, held = Comm(), Held()
    channel = Channel(held, comm.send, threads=2)

    channel.take(question(0))
    assert held.began.acquire(timeout=SECONDS)
    channel.take(question(0))
    channel.take(question(1))
    held.go.set()
    names = {comm.next()[0]["id"] for _ in range(2)}

    assert names == {"q0", "q1"}
    assert sorted(held.asked) == [0, 1]
    channel.close()


def test_errors_are_told_in_words_and_end_nothing():
    comm = Comm()

    def answer(method: str, layer: str, params: Any, progress: Progress) -> Any:
        del layer, params, progress
        if method == "values":
            raise ArgumentInvalid("`lon` is a number.")
        raise KeyError("surprise")

    channel = Channel(answer, comm.send, threads=1)
    channel.take({"id": "a", "method": "values", "params": {}})
    known = comm.next()[0]["error"]
    channel.take({"id": "b", "method": "tile", "params": {}})
    fault = comm.next()[0]["error"]
    channel.take({"id": "c", "method": "tile", "params": [1]})
    wrong = comm.next()[0]["error"]

    assert known == {"code": ArgumentInvalid.code, "message": "`lon` is a number."}
    assert fault["code"] == "Internal"
    assert "KeyError" in fault["message"]
    assert "`params`" in wrong["message"]
    channel.close()


def test_progress_is_told_to_those_who_ask_for_it():
    comm = Comm()

    def answer(method: str, layer: str, params: Any, progress: Progress) -> Any:
        del method, layer, params
        progress.start(2, "frames")
        progress.advance()
        progress.advance()
        return {}

    channel = Channel(answer, comm.send, threads=1)
    channel.take({"id": "a", "method": "timelapse", "params": {}, "progress": True})
    told = [comm.next()[0] for _ in range(3)]

    assert told == [
        {"id": "a", "progress": [1, 2]}, {"id": "a", "progress": [2, 2]}, {"id": "a", "result": {}},
    ]  # fmt: skip
    channel.close()


def test_messages_that_nobody_understands_are_left_alone():
    comm = Comm()
    channel = Channel(lambda *_: {}, comm.send)

    for message in ({}, {"id": 3, "method": "tile"}, {"id": "a"}, {"cancel": "never asked"}):
        channel.take(message)
    channel.take({"id": "last", "method": "about"})

    assert comm.next()[0] == {"id": "last", "result": {}}
    channel.close()
