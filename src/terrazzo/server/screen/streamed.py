"""Answers that tell how far they are: lines of JSON while frames are made, the film in the last."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from terrazzo.errors import TerrazzoError
from terrazzo.server.maps.patient import Patient
from terrazzo.server.web.faults import told
from terrazzo.server.web.work import ClientGone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from terrazzo.drivers.screen.pictures import Picture

NDJSON: Final = "application/x-ndjson"


class Telling(Patient):
    """Tells of every step in the event loop that it was made in."""

    def __init__(self, seconds: float) -> None:
        """Wait for so many seconds from when the work begins."""
        super().__init__(seconds)
        self._loop = asyncio.get_running_loop()
        self.steps: asyncio.Queue[bytes | None] = asyncio.Queue()
        """What has been told; None is the end."""

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        line = _line({"frame": self.done, "of": self.total})
        self._loop.call_soon_threadsafe(self.steps.put_nowait, line)


async def lines(
    patience: Telling, work: Callable[[], Coroutine[Any, Any, dict[str, Any] | Picture]]
) -> AsyncIterator[bytes]:
    """Yield a line for every step of a work, and one with its picture or its error.

    Args:
        patience: watches the work; stops it when nobody takes the lines any more.
        work: begins it.
    """
    task = asyncio.ensure_future(work())
    task.add_done_callback(lambda _: patience.steps.put_nowait(None))
    try:
        while (line := await patience.steps.get()) is not None:
            yield line
        made = await task
        if isinstance(made, dict):
            yield _line(made)
            return
        content = base64.b64encode(made.content).decode()
        facts = {"media_type": made.media_type, "resolution": made.resolution}
        yield _line({"content": content} | facts)
    except ClientGone:
        return
    except TerrazzoError as error:
        yield _line({"code": error.code, "message": told(error)})
    finally:
        patience.stopped = True
        task.cancel()


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"
