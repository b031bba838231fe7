"""What a map's screen asks of the kernel, answered in threads: the newest question first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from typing_extensions import override

from terrazzo.errors import ArgumentInvalid, TerrazzoError
from terrazzo.progress import Cancelled, Progress, Stoppable

THREADS: Final = 4
"""Questions that are worked on at a time."""
_LOGGER = logging.getLogger("terrazzo")


@dataclass(frozen=True, slots=True)
class Content:
    """An answer that is a file: a picture, or a film."""

    data: bytes
    media_type: str
    told: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """What is said of it: `resolution`, in metres, at which it was computed."""


Answer = Callable[[str, str, Mapping[str, Any], Progress], dict[str, Any] | list[Any] | Content]
"""Answers a question about a layer, or raises what is told of it."""
Send = Callable[[dict[str, Any], list[bytes]], None]
"""Sends a message to the screens of a map, with the bytes that go along."""


class Channel:
    """Answers messages of screens.

    `{id, method, layer, params}` is answered by `{id, result}`, where bytes follow as a buffer, or
    by `{id, error: {code, message}}`. With `progress: true` there come `{id, progress: [done, of]}`
    before. `{cancel: id}` takes a question back, which then has no answer.
    """

    def __init__(
        self,
        answer: Answer,
        send: Send,
        *,
        threads: int = THREADS,
    ) -> None:
        """Begin without a question.

        Args:
            answer: called with method, layer, parameters and what stops it, in a thread.
            send: called in threads, one at a time.
            threads: questions that are worked on at a time.
        """
        self._answer, self._send = answer, send
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: dict[str, Mapping[str, Any]] = {}
        self._working: dict[str, Stoppable] = {}
        self._lock, self._sending = threading.Lock(), threading.Lock()

    def take(self, message: Mapping[str, Any]) -> None:
        """Take a message of a screen; returns at once."""
        if "cancel" in message:
            with self._lock:
                self._waiting.pop(str(message["cancel"]), None)
                _stop(self._working.pop(str(message["cancel"]), None))
            return
        name = message.get("id")
        if not isinstance(name, str) or not isinstance(message.get("method"), str):
            return  # of another version of the screen, which would not understand an answer
        with self._lock:
            if name in self._waiting or name in self._working:
                return  # asked again by a screen that got impatient
            self._waiting[name] = message
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, "terrazzo-map")
            self._pool.submit(self._work)

    def close(self) -> None:
        """Drop all questions; those that are worked on are not answered any more."""
        with self._lock:
            self._waiting.clear()
            for stopping in self._working.values():
                _stop(stopping)
            self._working.clear()
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _work(self) -> None:
        """Answer the newest question, if there is one still."""
        with self._lock:
            if not self._waiting:
                return
            name, asked = self._waiting.popitem()
            stopping = self._working[name] = (
                _Told(self._tell, name) if asked.get("progress") else Stoppable()
            )
        content, buffers = self._answered(asked, stopping)
        with self._lock:
            wanted = self._working.pop(name, None) is stopping
        if wanted:
            self._tell({"id": name, **content}, buffers)

    def _tell(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        with self._sending:
            self._send(content, buffers)

    def _answered(
        self, asked: Mapping[str, Any], stopping: Progress
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Return the answer to a question, or why there is none."""
        try:
            params = asked.get("params") or {}
            if not isinstance(params, dict):
                raise ArgumentInvalid(f"`params` are named values, not {params!r:.60}.")  # noqa: TRY301
            layer = str(asked.get("layer") or "")
            found = self._answer(asked["method"], layer, params, stopping)
        except Cancelled:
            return {}, []  # nobody waits for it
        except TerrazzoError as error:
            return {"error": {"code": error.code, "message": str(error)}}, []
        except Exception as error:
            _LOGGER.exception("A question of a map failed.")
            text = f"This is a fault of Terrazzo ({type(error).__name__}: {error})."
            return {"error": {"code": "Internal", "message": text}}, []
        if isinstance(found, Content):
            return {"result": {"media_type": found.media_type, **found.told}}, [found.data]
        return {"result": found}, []


class _Told(Stoppable):
    """Tells a screen how far its question is."""

    def __init__(self, send: Send, name: str) -> None:
        self._send, self._name = send, name

    @override
    def advance(self, count: int = 1) -> None:
        """Count and tell, or stop."""
        super().advance(count)
        self._send({"id": self._name, "progress": [self.done, self.total]}, [])


def _stop(stopping: Stoppable | None) -> None:
    if stopping is not None:
        stopping.stopped = True
