"""Threads for what is slow by intent."""

from __future__ import annotations

import threading

import anyio
import pytest

from terrazzo.server.web import waiting
from terrazzo.server.web.faults import ServerBusy
from terrazzo.server.web.waiting import Waiting


def test_too_many_that_wait_are_sent_away(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waiting, "MOST", 2)
    go, begun, ended = threading.Event(), threading.Event(), []

    def slow(number: int) -> None:
        begun.set()
        go.wait(60)
        ended.append(number)

    async def main() -> None:
        few = Waiting(1)
        async with anyio.create_task_group() as group:
            group.start_soon(few.run, slow, 0)
            await anyio.to_thread.run_sync(begun.wait)
            for number in (1, 2):
                group.start_soon(few.run, slow, number)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(ServerBusy):
                await few.run(slow, 3)
            go.set()

    anyio.run(main)

    assert sorted(ended) == [0, 1, 2]
