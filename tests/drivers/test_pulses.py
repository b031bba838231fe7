"""What a worker keeps of the runs that it works for, one after the other."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from terrazzo import spans
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.watching import pulse as pulses
from terrazzo.drivers.watching.pulse import FOLDER, Outcome, Part, beats, stop_pulse

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is told every few seconds be told at once, and nobody be left who tells."""
    pulses._stop_all()  # of runs of other tests in this process
    pulse_ended()
    monkeypatch.setattr(pulses, "BEAT_S", 0.05)
    monkeypatch.setattr(pulses, "_PAUSE_S", 0.01)


def listening() -> int:
    """Return how many recorders hear the spans of this process."""
    return len(spans._counting)


def pulse_ended() -> None:
    """Wait until no thread tells of a run any more."""
    end = time.monotonic() + PATIENCE_S
    while any(one.name == "pulse" for one in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_worker_keeps_nothing_of_runs_that_were_tidied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before, runs = listening(), [FolderDepot(tmp_path / str(number)) for number in range(3)]
    for depot in runs:
        monkeypatch.setattr(pulses, "BEAT_S", 3600.0)  # not while the folder is tidied
        with Part.of(depot, depot).at(1):
            end = time.monotonic() + PATIENCE_S
            while not beats(depot):
                assert time.monotonic() < end
            depot.clear(FOLDER)
            monkeypatch.setattr(pulses, "BEAT_S", 0.05)
            pulse_ended()

    assert listening() == before
    assert not {str(depot) for depot in runs} & set(pulses._pulses)


def test_a_worker_that_is_quiet_hears_nothing_and_goes_on_counting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pulses, "QUIET_S", 0.0)
    depot, before = FolderDepot(tmp_path), listening()
    part, told = Part.of(depot, depot), []

    for number in range(2):
        with part.at(number) as became:
            spans.note("bytes_written", 5)
            became(Outcome.MADE)
        pulse_ended()
        assert listening() == before
        told += beats(depot)
    stop_pulse(depot)

    assert [(one.name, one.begun) for one in told] == [(told[0].name, told[0].begun)] * 2
    assert [(one.made, one.written_bytes) for one in told] == [(1, 5), (2, 10)]


def test_a_worker_remembers_some_of_the_runs_that_it_was_quiet_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pulses, "QUIET_S", 0.0)
    monkeypatch.setattr(pulses, "MOST_QUIET", 2)
    monkeypatch.setattr(pulses, "_pulses", {})
    runs = [FolderDepot(tmp_path / str(number)) for number in range(5)]
    parts = [Part.of(depot, depot) for depot in runs]
    for part in parts:
        with part.at(1) as became:
            became(Outcome.MADE)
        pulse_ended()
    forgotten = set(pulses._pulses)
    with parts[0].at(2) as became:
        became(Outcome.MADE)
    stop_pulse(runs[0])

    assert len(forgotten) == 2
    (last,) = beats(runs[0])
    assert last.made == 2
