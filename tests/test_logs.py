"""What a run tells: who hears it, what becomes one entry, and that it can be kept and sent."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo import logs
from terrazzo.logs import Entry, Level, Summary

counts = st.integers(0, 1000)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
summaries = st.builds(
    Summary,
    st.just({"dtype": "float32"}),
    counts,
    counts,
    counts,
    counts,
    numbers,
    numbers,
    st.integers(-(2**1100), 2**1100),
)


def test_nothing_is_kept_where_nobody_listens():
    logs.log("error", "unheard")

    with logs.collected() as log:
        pass

    assert not logs.listening()
    assert log.all() == ()


def test_an_entry_says_where_it_comes_from_and_when():
    with logs.collected() as log, logs.inside("outer", "apply"), logs.inside("inner", "run_udf"):
        logs.log("warning", "odd", code="C", data={"a": 1})

    (entry,) = log.all()
    told = entry.listed(7)
    assert told["id"] == "7"
    assert (told["level"], told["code"], told["message"]) == ("warning", "C", "odd")
    assert told["path"] == [
        {"node_id": "inner", "process_id": "run_udf"},
        {"node_id": "outer", "process_id": "apply"},
    ]
    assert datetime.fromisoformat(told["time"]).utcoffset() is not None
    assert entry.line().endswith('inner (run_udf) in outer (apply): odd {"a": 1}')


def test_a_level_that_openeo_does_not_know_is_refused():
    with logs.collected(), pytest.raises(ValueError, match="loud"):
        logs.log("loud", "?")


def test_threads_do_not_hear_each_other():
    def told(name: str) -> list[str]:
        with logs.collected() as log:
            logs.log("info", name)
        return [entry.message for entry in log.all()]

    with logs.collected() as outer, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(told, "abcdefgh"))

    assert found == [[name] for name in "abcdefgh"]
    assert outer.all() == ()


def test_what_was_told_elsewhere_is_retold_with_its_place():
    with logs.collected() as there, logs.inside("udf", "run_udf"):
        logs.log("info", "from afar")
    sent = pickle.loads(pickle.dumps(there.all()))  # noqa: S301 - our own

    with logs.collected() as here, logs.inside("apply1", "apply"):
        logs.retell(sent)

    assert here.all()[0].path == (("udf", "run_udf"), ("apply1", "apply"))


def test_entries_that_are_told_once_are_one():
    with logs.collected() as log:
        for _ in range(3):
            logs.log("info", "each")
            logs.log("info", "once", data=[1], once=True)
            logs.log("info", "once", data=[2], once=True)

    assert [(e.message, e.data) for e in log.all()] == [
        ("each", None),
        ("once", [1]),
        ("once", [2]),
        ("each", None),
        ("each", None),
    ]


@given(st.lists(summaries, min_size=1, max_size=6), st.randoms())
def test_summaries_of_blocks_merge_in_any_order(parts: list[Summary], random):
    mixed = list(parts)
    random.shuffle(mixed)

    first, second = logs.Log(), logs.Log()
    for log, order in ((first, parts), (second, mixed)):
        log.extend(Entry(Level.INFO, "m", data=part, once=True) for part in order)

    assert first.all() == second.all()
    assert len(first.all()) == 1
    assert first.all()[0].data.count == sum(part.count for part in parts)


@pytest.mark.parametrize("counts", [(3, 5), (5, 3)])
def test_of_two_walks_over_the_same_pixels_the_fuller_is_told(counts: tuple[int, int]):
    with logs.collected() as log:
        for count in counts:
            with logs.collected() as walk:
                for _ in range(count):
                    logs.log("info", "m", data=Summary({}, 1), once=True)
            logs.retell(walk.all(), again=True)

    (entry,) = log.all()
    assert entry.data.count == 5


def test_summaries_of_other_numbers_stay_apart():
    with logs.collected() as log:
        logs.log("info", "m", data=Summary({"dtype": "uint8"}, 1), once=True)
        logs.log("info", "m", data=Summary({"dtype": "int16"}, 1), once=True)

    assert len(log.all()) == 2


@given(st.none() | st.integers() | st.text() | summaries, st.sampled_from(Level), st.booleans())
def test_an_entry_survives_being_kept_as_json(data, level: Level, once: bool):
    entry = Entry(level, "text", "code", data, (("n", "p"),), "2020-01-01T00:00:00.000Z", once)

    assert Entry.of(json.loads(json.dumps(entry.kept()))) == entry


def test_a_full_log_counts_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logs, "MOST", 2)

    with logs.collected() as log:
        for number in range(5):
            logs.log("info", str(number))

    *kept, last = log.all()
    assert [entry.message for entry in kept] == ["0", "1"]
    assert (last.level, last.code) == (Level.WARNING, "LogFull")
    assert last.message.startswith("3 further")
