"""How long a screen's question is worked on: until nobody waits, or its time is over."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from terrazzo.errors import TerrazzoError
from terrazzo.progress import Stoppable, watched

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS: Final = 120.0
SECONDS_OF_STRANGERS: Final = 30.0
"""The same for those who are not logged in."""


class AnswerTooLong(TerrazzoError):
    """An answer took longer than somebody waits."""

    code, status = "AnswerTooLong", 400


class Patient(Stoppable):
    """Stops what it watches when nobody waits any more, or when it has taken too long."""

    def __init__(self, seconds: float) -> None:
        """Wait for so many seconds from when the work begins."""
        self._seconds = seconds
        self._end: float | None = None

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
