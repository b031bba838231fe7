"""How long a tile or a screen's question is worked on: until nobody waits, or time is over."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self, TypeVar

from typing_extensions import override

from terrazzo.errors import TerrazzoError
from terrazzo.progress import Stoppable, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi import Request

    from terrazzo.ledger import Principal
    from terrazzo.server.web.work import Work

T = TypeVar("T")

SECONDS: Final = 120.0
SECONDS_OF_STRANGERS: Final = 30.0
"""The same for those who are not logged in."""
SECONDS_OF_ALL: Final = 600.0
"""The same for what is computed once, when something is opened, and kept for all who look at it."""


class AnswerTooLong(TerrazzoError):
    """An answer took longer than somebody waits."""

    code, status = "AnswerTooLong", 400


class Patient(Stoppable):
    """Stops what it watches when nobody waits any more, or when it has taken too long."""

    def __init__(self, seconds: float) -> None:
        """Wait for so many seconds from when the work begins."""
        self._seconds = seconds
        self._end: float | None = None

    @classmethod
    def of(cls, who: Principal | None) -> Self:
        """Wait as long as is right for whoever asks; None has a key of what is asked for."""
        return cls(SECONDS_OF_STRANGERS if who is None or not who.known else SECONDS)

    @classmethod
    def of_all(cls) -> Self:
        """Wait for what is kept for others, too, whoever goes meanwhile."""
        return cls(SECONDS_OF_ALL)

    async def ask(self, threads: Work, request: Request, task: Callable[[], T]) -> T:
        """Have a task done for a request, as long as somebody waits for it.

        Args:
            threads: where.
            request: ends the task, too, when its client goes.
            task: is stopped where it asks whether to go on.

        Raises:
            ClientGone: the client went first.
            ServerBusy: too many requests wait already.
            AnswerTooLong: the time is over.
        """

        def made() -> T:
            with self.working():
                return task()

        try:
            return await threads.run(request, made)
        finally:
            self.stopped = True

    @override
    def start(self, total: int, unit: str) -> None:
        super().start(total, unit)
        if self._end is None:
            self._end = time.monotonic() + self._seconds

    @contextmanager
    def working(self) -> Iterator[None]:
        """Have the `with` block stopped, too, where it is not counted but asks whether to go on."""
        self.start(1, "answers")
        with watched(self):
            yield

    @override
    def check(self) -> None:
        """Go on, or stop.

        Raises:
            Cancelled: nobody waits any more.
            AnswerTooLong: the time is over.
        """
        super().check()
        if self._end is not None and time.monotonic() > self._end:
            raise AnswerTooLong(
                f"After {self._seconds:.0f} s {self.done} of {self.total} {self.unit} are done, "
                "and nobody waits longer. Ask for fewer dates or a smaller place, or run a job."
            )
