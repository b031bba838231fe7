"""How a run gets through its blocks: in turn, again what may pass, twice what is slow."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import BrokenExecutor, Future
from typing import TYPE_CHECKING

import pytest

from terrazzo.drivers.executors import ATTEMPTS, Made, computed
from terrazzo.drivers.executors import rounds as rounds_module
from terrazzo.drivers.executors.rounds import WAITING_PER_WORKER
from terrazzo.errors import OutputFailed

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 40


class Workers:
    """Workers that do what a test says, at once or never."""

    def __init__(
        self, act: Callable[[int, int], Made | Exception | None], *, reissues: bool = False
    ) -> None:
        self.act, self.reissues = act, reissues
        self.asked: Counter[int] = Counter()
        self.order: list[int] = []
        self.waiting: dict[Future[Made], int] = {}
        self.most = 0

    def size(self) -> int:
        return 4

    def submit(self, number: int, _: int) -> Future[Made]:
        self.asked[number] += 1
        self.order.append(number)
        future: Future[Made] = Future()
        made = self.act(number, self.asked[number])
        if made is None:
            self.waiting[future] = number
        elif isinstance(made, Exception):
            future.set_exception(made)
        else:
            future.set_result(made)
        self.most = max(self.most, sum(not one.done() for one in self.waiting))
        return future


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds_module, "PAUSE_S", 0.0)


def test_every_block_is_computed_once_in_order():
    workers = Workers(lambda number, _: Made(number + 1))

    made = dict(computed(workers, range(COUNT), [0] * COUNT))

    assert workers.order == list(range(COUNT))
    assert {number: one.version for number, one in made.items()} == {
        number: number + 1 for number in range(COUNT)
    }


def test_only_a_few_blocks_are_handed_out_ahead_of_the_workers():
    workers = Workers(lambda number, _: Made(1) if number < 3 else None)
    round_ = computed(workers, range(1000), [0] * 1000)

    for _ in range(3):
        next(round_)

    assert workers.most <= workers.size() * WAITING_PER_WORKER
    round_.close()
    assert all(future.cancelled() for future in workers.waiting)


def test_what_passes_is_tried_again_and_ends_well():
    def act(number: int, time: int) -> Made:
        return Made(error="no answer", passing=True) if number % 7 == 0 and time < 3 else Made(1)

    workers = Workers(act)

    made = dict(computed(workers, range(COUNT), [0] * COUNT))

    assert len(made) == COUNT
    assert not any(one.error for one in made.values())
    assert {number: times for number, times in workers.asked.items() if times > 1} == dict.fromkeys(
        range(0, COUNT, 7), 3
    )


def test_a_block_that_keeps_failing_is_given_up_and_the_rest_goes_on():
    workers = Workers(
        lambda number, _: Made(error="no answer", passing=True) if number == 5 else Made(1)
    )

    made = dict(computed(workers, range(COUNT), [0] * COUNT))

    assert workers.asked[5] == ATTEMPTS
    assert [number for number, one in made.items() if one.error] == [5]
    assert len(made) == COUNT


def test_what_does_not_pass_is_not_tried_again():
    workers = Workers(lambda number, _: Made(error="bad file") if number == 5 else Made(1))

    dict(computed(workers, range(COUNT), [0] * COUNT))

    assert workers.asked[5] == 1


def test_a_block_that_hangs_is_given_to_somebody_else(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rounds_module, "SLOW_S", 0.0)
    monkeypatch.setattr(rounds_module, "_LOOK_S", 0.01)
    workers = Workers(
        lambda number, time: None if number == 5 and time == 1 else Made(time), reissues=True
    )

    made = dict(computed(workers, range(COUNT), [0] * COUNT))

    assert workers.asked[5] == 2
    assert made[5].version == 2
    assert len(made) == COUNT


def test_two_answers_for_one_block_are_one():
    workers = Workers(lambda number, _: None if number == 5 else Made(1), reissues=True)
    round_ = computed(workers, range(COUNT), [0] * COUNT)
    seen = [next(round_) for _ in range(COUNT - 1)]

    (held,) = workers.waiting
    workers.act = lambda *_: Made(7)  # the other worker
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds_module, "SLOW_S", 0.0)
        patch.setattr(rounds_module, "_LOOK_S", 0.01)
        number, made = next(round_)
    held.set_result(Made(8))

    assert (number, made.version) == (5, 7)
    assert list(round_) == []
    assert sorted(n for n, _ in seen) == [n for n in range(COUNT) if n != 5]


@pytest.mark.parametrize("error", [OutputFailed("disk full"), BrokenExecutor("all gone")])
def test_what_concerns_all_blocks_ends_the_run(error: Exception):
    workers = Workers(lambda number, _: error if number == 3 else Made(1))

    with pytest.raises(type(error)):
        dict(computed(workers, range(COUNT), [0] * COUNT))


def test_a_block_that_somebody_else_has_made_is_not_tried_again(monkeypatch: pytest.MonkeyPatch):
    """The first copy hangs, the second is made, then the first fails by what passes."""
    monkeypatch.setattr(rounds_module, "SLOW_S", 0.0)
    monkeypatch.setattr(rounds_module, "_LOOK_S", 0.01)
    workers = Workers(
        lambda number, time: None if number == 5 and time < 3 else Made(time), reissues=True
    )
    round_ = computed(workers, range(COUNT), [0] * COUNT)
    for _ in range(COUNT - 1):
        next(round_)

    def fail_the_first(*_: object) -> Made:
        first, *_rest = workers.waiting
        first.set_result(Made(error="no answer", passing=True))
        return Made(7)

    workers.act = fail_the_first
    rest = list(round_)

    assert [(number, made.error) for number, made in rest] == [(5, "")]
