"""Spans: what each took without the spans inside it, over threads, errors and listeners."""

from __future__ import annotations

import pickle
import threading
import time

import pytest

from terrazzo.spans import Recorder, note, recorded, span

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let this thread's clocks show what the test says: [wall, CPU] seconds."""
    now = [0.0, 0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "thread_time", lambda: now[1])
    return now


def spend(clock: list[float], wall: float, cpu: float) -> None:
    clock[0] += wall
    clock[1] += cpu


def test_a_span_takes_what_it_took_without_the_spans_inside(clock: list[float]) -> None:
    with recorded() as heard, span("outer"):
        spend(clock, 1, 0.5)
        with span("inner"):
            spend(clock, 4, 2)
            with span("innermost"):
                spend(clock, 16, 8)
        with span("inner"):
            spend(clock, 64, 32)

    found = {name: (s.calls, s.wall_seconds, s.cpu_seconds) for name, s in heard.spent.items()}
    assert found == {"outer": (1, 1, 0.5), "inner": (2, 68, 34), "innermost": (1, 16, 8)}


def test_a_span_inside_one_of_its_own_name_is_not_counted_twice(clock: list[float]) -> None:
    with recorded() as heard, span("write"):
        spend(clock, 1, 1)
        with span("write"):
            spend(clock, 2, 2)

    assert heard.spent["write"].wall_seconds == 3
    assert heard.spent["write"].calls == 2


def test_exclusive_times_add_up_to_all_of_the_outer_span(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[int] = []

    def tick() -> float:
        ticks.append(len(ticks))
        return float(ticks[-1])

    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    monkeypatch.setattr(time, "thread_time", tick)
    with recorded() as heard, span("outer"):
        for _ in range(50):
            with span("a"), span("b"):
                pass
            with span("b"):
                pass

    assert {name: s.calls for name, s in heard.spent.items()} == {"outer": 1, "a": 50, "b": 100}
    assert sum(s.cpu_seconds for s in heard.spent.values()) == ticks[-1] - ticks[0]


def test_what_raises_is_counted_and_its_outer_span_goes_on(clock: list[float]) -> None:
    def fail() -> None:
        with span("inner"):
            spend(clock, 1, 1)
            raise ZeroDivisionError

    with recorded() as heard, span("outer"):
        with pytest.raises(ZeroDivisionError):
            fail()
        spend(clock, 2, 2)

    assert heard.spent["inner"].wall_seconds == 1
    assert heard.spent["outer"].wall_seconds == 2


def test_threads_are_added_and_spans_of_one_are_not_inside_those_of_another() -> None:
    both = threading.Barrier(2)

    def work() -> None:
        with span("work"):
            both.wait()
            with span("inside"):
                note("pixels", 5)
            both.wait()

    with recorded() as heard, span("waiting"):
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert {name: spent.calls for name, spent in heard.spent.items()} == {
        "waiting": 1,
        "work": 2,
        "inside": 2,
    }
    assert heard.counts == {"pixels": 10}
    assert all(spent.wall_seconds >= 0 for spent in heard.spent.values())


def test_threads_that_a_library_starts_count_where_a_span_says_so(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = [0.0]
    monkeypatch.setattr(time, "process_time", lambda: process[0])
    with recorded() as heard, span("write"):
        spend(clock, 1, 1)
        with span("encode", all_threads=True):
            spend(clock, 4, 2)
            process[0] += 7

    assert heard.spent["encode"].cpu_seconds == 7
    assert heard.spent["write"].cpu_seconds == 1


def test_no_span_of_many_threads_is_lost() -> None:
    def work() -> None:
        for _ in range(500):
            with span("work"):
                note("done", 1)

    with recorded() as heard:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert heard.spent["work"].calls == heard.counts["done"] == 8 * 500


def test_nobody_hears_what_was_before_or_after() -> None:
    with span("before"):
        note("before", 1)
    begun = span("begun before")
    with begun, recorded() as heard, span("within"):
        note("within", 1)
    with span("after"):
        note("after", 1)

    assert list(heard.spent) == ["within"]
    assert heard.counts == {"within": 1}


def test_a_span_that_outlives_its_listener_is_not_heard() -> None:
    with recorded() as heard:
        late = span("late")
        late.__enter__()
    late.__exit__(None, None, None)

    assert heard.spent == {}


def test_two_may_listen_at_once(clock: list[float]) -> None:
    with recorded() as first, span("outer"):
        with recorded() as second:
            with span("inner"):
                spend(clock, 1, 1)
                note("pixels", 3)
            spend(clock, 2, 2)
        with span("inner"):
            spend(clock, 4, 4)

    assert first.spent["inner"].wall_seconds == 5
    assert first.spent["outer"].wall_seconds == 2
    assert second.spent["inner"].wall_seconds == 1
    assert list(second.spent) == ["inner"]
    assert first.counts == second.counts == {"pixels": 3}


def test_who_only_counts_hears_no_spans_and_takes_nothing_from_who_hears_them(
    clock: list[float],
) -> None:
    asked: list[None] = []
    with recorded(times=False) as counting, span("outer"):
        note("pixels", 1)
        with recorded() as both, span("inner"):
            spend(clock, 1, 1)
            note("pixels", 2)
    with pytest.MonkeyPatch.context() as patch, recorded(times=False), span("alone"):
        patch.setattr(time, "thread_time", lambda: asked.append(None))

    assert counting.spent == {}
    assert counting.counts == {"pixels": 3}
    assert list(both.spent) == ["inner"]
    assert both.counts == {"pixels": 2}
    assert asked == []


def test_recorders_of_other_processes_are_added(clock: list[float]) -> None:
    with recorded() as mine, span("decode"):
        spend(clock, 1, 0.5)
        note("pixels", 3)
    theirs: Recorder = pickle.loads(pickle.dumps(mine))  # noqa: S301 - our own

    theirs.merge(mine)

    spent = theirs.spent["decode"]
    assert (spent.calls, spent.wall_seconds, spent.cpu_seconds) == (2, 2, 1)
    assert theirs.counts == {"pixels": 6}
    assert mine.spent["decode"].calls == 1
