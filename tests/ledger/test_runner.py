"""The process of a job: what it tells while it works, and what it never tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from terrazzo.errors import BandNotFound, OutputFailed, RunIncomplete
from terrazzo.ledger import runner
from terrazzo.ledger.runner import Reports
from terrazzo.logs import MOST, Entry, Level, Summary

if TYPE_CHECKING:
    from terrazzo.ledger.spawn import Told


class Heard:
    """What a worker would hear."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.reports = Reports(self)  # type: ignore[arg-type]

    def send(self, message: Told) -> None:
        self.told.append(message)

    def all(self) -> list[Told]:
        found, self.told = self.told, []
        return found


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    monkeypatch.setattr(runner, "OFTEN", 0.0)
    return Heard()


def seen(number: int = 0) -> Entry:
    return Entry(Level.INFO, "seen", "Seen", data=number, time=f"2024-01-01T00:00:0{number}Z")


def test_what_a_block_says_is_told_when_it_is_done_and_once(heard: Heard):
    reports = heard.reports
    reports.start(2, "blocks")
    reports.hear([seen(1)])
    reports.advance()
    live = [entry for told in heard.all() for entry in told.log]

    reports.rest([seen(1), seen(2)])
    reports.end()

    (last,) = heard.all()
    assert live == [seen(1)]
    assert last.log == (seen(2),)
    assert last.ended


def test_a_summary_is_told_when_it_is_complete(heard: Heard):
    half, whole = (
        Entry(Level.INFO, "cube", data=Summary({}, count), once=True) for count in (5, 10)
    )
    heard.reports.start(2, "blocks")
    heard.reports.hear([half])
    heard.reports.advance()
    assert [entry for told in heard.all() for entry in told.log] == []

    heard.reports.rest([whole])
    heard.reports.end()

    (last,) = heard.all()
    assert last.log == (whole,)


def test_what_every_block_says_alike_is_told_once(heard: Heard):
    entries = [Entry(Level.INFO, "same", time=str(number), once=True) for number in range(3)]
    heard.reports.start(3, "blocks")

    for entry in entries:
        heard.reports.hear([entry])
    heard.reports.rest([entries[0]])
    heard.reports.end()

    assert [entry for told in heard.all() for entry in told.log] == entries[:1]


def test_a_log_ends_somewhere(heard: Heard):
    assert heard.reports.listens
    heard.reports.hear([Entry(Level.INFO, str(number)) for number in range(MOST + 10)])
    assert not heard.reports.listens
    heard.reports.hear([seen()], "block")
    heard.reports.rest([seen()])
    heard.reports.end()

    log = [entry for told in heard.all() for entry in told.log]
    assert len(log) == MOST
    assert log[-1].code == "LogFull"


def test_progress_never_goes_back_nor_is_done_before_the_end(heard: Heard):
    reports = heard.reports
    reports.expect(0, 2)
    for _ in range(3):  # one more than was expected
        reports.start(4, "blocks")
        for _ in range(4):
            reports.advance()

    percents = [told.progress for told in heard.all()]
    assert percents == sorted(percents)
    assert percents[1] > 0
    assert percents[-1] <= 99


@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (BandNotFound("x", ("a", "b")), "BandNotFound", "Bands here: a, b"),
        (RunIncomplete("in /secret/place", BandNotFound("x", ("a",))), "BandNotFound", "'x'"),
        (RunIncomplete("in /secret/place"), "Internal", "fault of the server"),
        (OutputFailed("'/secret/place' is full"), "OutputFailed", "could not be stored"),
        (MemoryError(), "PlanTooLarge", "memory"),
        (KeyError("/secret/place"), "Internal", "fault of the server"),
    ],
)
def test_a_failure_says_what_its_owner_can_use(error: Exception, code: str, shown: str):
    entry = runner._entry(error)

    assert (entry.level, entry.code) == (Level.ERROR, code)
    assert shown in entry.message
    assert "/secret" not in entry.message


def test_a_block_that_failed_by_our_fault_tells_no_path(heard: Heard):
    heard.reports.start(1, "blocks")
    heard.reports.fail("block at row 0, column 0", "ValueError: /secret/place", None)
    heard.reports.fail("block at row 0, column 9", "no band", BandNotFound("x", ("a",)))
    heard.reports.end()

    first, second = (entry for told in heard.all() for entry in told.log)
    assert "/secret" not in first.message
    assert "'x'" in second.message
