"""How a run gets through its blocks: in turn, again what may pass, twice what is slow."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import BrokenExecutor, Future
from typing import TYPE_CHECKING

import pytest

from terrazzo.drivers.executors import ATTEMPTS, Made, Stint, computed, stints
from terrazzo.drivers.executors import rounds as rounds_module
from terrazzo.drivers.executors.rounds import MOST, WAITING_PER_WORKER
from terrazzo.drivers.executors.stints import LONGEST_S, STINT_S, stint
from terrazzo.errors import OutputFailed
from terrazzo.progress import Cancelled, Progress, Stoppable, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from terrazzo.drivers.executors import Parts

COUNT = 40


class Workers:
    """Workers that do what a test says, at once or never."""

    def __init__(
        self,
        act: Callable[[int, int], Made | Exception | None],
        *,
        reissues: bool = False,
        seconds: Callable[[int], float] = lambda _: STINT_S,
    ) -> None:
        self.act, self.reissues, self.seconds = act, reissues, seconds
        self.asked: Counter[int] = Counter()
        self.order: list[int] = []
        self.stints: list[tuple[int, ...]] = []
        self.waiting: dict[Future[Stint[Made]], tuple[int, ...]] = {}
        self.most = 0

    def size(self) -> int:
        return 4

    def submit(self, parts: Parts[int]) -> Future[Stint[Made]]:
        numbers = tuple(number for number, _ in parts)
        self.stints.append(numbers)
        future: Future[Stint[Made]] = Future()
        found, took_s = list[Made](), 0.0
        for number in numbers:
            if took_s > LONGEST_S:
                future.set_result(Stint(tuple(found), took_s))
                break
            took_s += self.seconds(number)
            self.asked[number] += 1
            self.order.append(number)
            made = self.act(number, self.asked[number])
            if made is None:
                self.waiting[future] = numbers
                break
            if isinstance(made, Exception):
                future.set_exception(made)
                break
            found.append(made)
        else:
            future.set_result(Stint(tuple(found), took_s))
        self.most = max(self.most, sum(not one.done() for one in self.waiting))
        return future


def made_of(workers: Workers, count: int = COUNT) -> dict[int, Made]:
    return dict(computed(workers, range(count), [0] * count, Progress()))


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds_module, "PAUSE_S", 0.0)


def test_every_block_is_computed_once_in_order():
    workers = Workers(lambda number, _: Made(number + 1))

    made = made_of(workers)

    assert workers.order == list(range(COUNT))
    assert {number: one.version for number, one in made.items()} == {
        number: number + 1 for number in range(COUNT)
    }


def test_only_a_few_blocks_are_handed_out_ahead_of_the_workers():
    workers = Workers(lambda number, _: Made(1) if number < 3 else None)
    round_ = computed(workers, range(1000), [0] * 1000, Progress())

    for _ in range(3):
        next(round_)

    assert workers.most <= workers.size() * WAITING_PER_WORKER
    round_.close()
    assert all(future.cancelled() for future in workers.waiting)


def test_what_passes_is_tried_again_and_ends_well():
    def act(number: int, time: int) -> Made:
        return Made(error="no answer", passing=True) if number % 7 == 0 and time < 3 else Made(1)

    workers = Workers(act)

    made = made_of(workers)

    assert len(made) == COUNT
    assert not any(one.error for one in made.values())
    assert {number: times for number, times in workers.asked.items() if times > 1} == dict.fromkeys(
        range(0, COUNT, 7), 3
    )


def test_a_block_that_keeps_failing_is_given_up_and_the_rest_goes_on():
    workers = Workers(
        lambda number, _: Made(error="no answer", passing=True) if number == 5 else Made(1)
    )

    made = made_of(workers)

    assert workers.asked[5] == ATTEMPTS
    assert [number for number, one in made.items() if one.error] == [5]
    assert len(made) == COUNT


def test_what_does_not_pass_is_not_tried_again():
    workers = Workers(lambda number, _: Made(error="bad file") if number == 5 else Made(1))

    made_of(workers)

    assert workers.asked[5] == 1


def test_a_block_that_hangs_is_given_to_somebody_else(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rounds_module, "SLOW_S", 0.0)
    monkeypatch.setattr(rounds_module, "CHECK_S", 0.01)
    workers = Workers(
        lambda number, time: None if number == 5 and time == 1 else Made(time), reissues=True
    )

    made = made_of(workers)

    assert workers.asked[5] == 2
    assert made[5].version == 2
    assert len(made) == COUNT


def test_two_answers_for_one_block_are_one():
    workers = Workers(lambda number, _: None if number == 5 else Made(1), reissues=True)
    round_ = computed(workers, range(COUNT), [0] * COUNT, Progress())
    seen = [next(round_) for _ in range(COUNT - 1)]

    (held,) = workers.waiting
    workers.act = lambda *_: Made(7)  # the other worker
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds_module, "SLOW_S", 0.0)
        patch.setattr(rounds_module, "CHECK_S", 0.01)
        number, made = next(round_)
    held.set_result(Stint((Made(8),), 1.0))

    assert (number, made.version) == (5, 7)
    assert list(round_) == []
    assert sorted(n for n, _ in seen) == [n for n in range(COUNT) if n != 5]


@pytest.mark.parametrize("error", [OutputFailed("disk full"), BrokenExecutor("all gone")])
def test_what_concerns_all_blocks_ends_the_run(error: Exception):
    workers = Workers(lambda number, _: error if number == 3 else Made(1))

    with pytest.raises(type(error)):
        made_of(workers)


def test_a_block_that_somebody_else_has_made_is_not_tried_again(monkeypatch: pytest.MonkeyPatch):
    """The first copy hangs, the second is made, then the first fails by what passes."""
    monkeypatch.setattr(rounds_module, "SLOW_S", 0.0)
    monkeypatch.setattr(rounds_module, "CHECK_S", 0.01)
    workers = Workers(
        lambda number, time: None if number == 5 and time < 3 else Made(time), reissues=True
    )
    round_ = computed(workers, range(COUNT), [0] * COUNT, Progress())
    for _ in range(COUNT - 1):
        next(round_)

    def fail_the_first(*_: object) -> Made:
        first, *_rest = workers.waiting
        first.set_result(Stint((Made(error="no answer", passing=True),), 1.0))
        return Made(7)

    workers.act = fail_the_first
    rest = list(round_)

    assert [(number, made.error) for number, made in rest] == [(5, "")]


def test_quick_blocks_go_together_and_slow_ones_alone():
    quick = Workers(lambda *_: Made(1), seconds=lambda _: STINT_S / 9.5)
    slow = Workers(lambda *_: Made(1))

    made_of(quick, 1000)
    made_of(slow)

    sizes = [len(numbers) for numbers in quick.stints]
    assert quick.order == list(range(1000))
    assert sizes[0] == 1
    assert max(sizes) == 9
    assert sizes.count(9) > 90
    assert all(later <= 2 * max(sizes[:at]) for at, later in enumerate(sizes) if at)
    assert {len(numbers) for numbers in slow.stints} == {1}


def test_a_stint_is_bounded_however_quick_its_blocks_are():
    workers = Workers(lambda *_: Made(1), seconds=lambda _: 0.0)

    made_of(workers, 4000)

    assert max(len(numbers) for numbers in workers.stints) == MOST


def test_what_there_was_no_time_for_is_handed_out_next_and_what_is_slow_alone():
    """Quick blocks over the sea, then land."""
    workers = Workers(lambda *_: Made(1), seconds=lambda n: 0.0 if n < 1000 else 2 * LONGEST_S)

    made = made_of(workers, 2000)

    assert sorted(made) == list(range(2000))
    assert set(workers.asked.values()) == {1}
    first = next(at for at, numbers in enumerate(workers.stints) if max(numbers) >= 1000)
    at_once = workers.size() * WAITING_PER_WORKER
    assert {len(numbers) for numbers in workers.stints[first + at_once :]} == {1}
    reached = max(max(numbers) for numbers in workers.stints[: first + at_once])
    begun = [number for number in workers.order if number >= 1000][at_once:]
    assert begun.index(reached + 1) >= reached - 1000 - at_once


def test_blocks_of_a_lost_worker_are_tried_again_each_alone():
    """A worker that dies takes what it has made of its stint along."""

    def act(number: int, time: int) -> Made:
        lost = deadly in workers.stints[-1] and (time == 1 or number == deadly)
        return Made(error="killed", passing=True) if lost else Made(1)

    deadly = 700
    workers = Workers(act, seconds=lambda _: 0.0)

    made = made_of(workers, 1000)

    (together,) = (numbers for numbers in workers.stints if deadly in numbers and len(numbers) > 1)
    again = [numbers for numbers in workers.stints if set(numbers) & set(together)][1:]
    assert {len(numbers) for numbers in again} == {1}
    assert [number for number, one in made.items() if one.error] == [deadly]
    assert {number for number, times in workers.asked.items() if times > 1} == set(together)
    assert workers.asked[deadly] == ATTEMPTS


def test_quick_blocks_that_hang_are_given_to_somebody_else(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rounds_module, "SLOW_S", 0.0)
    monkeypatch.setattr(rounds_module, "CHECK_S", 0.01)
    hanging = 990
    workers = Workers(
        lambda number, time: None if number == hanging and time == 1 else Made(time),
        reissues=True,
        seconds=lambda _: 0.0,
    )

    made = made_of(workers, 1000)

    assert sorted(made) == list(range(1000))
    assert made[hanging].version == 2


def test_what_a_worker_that_hangs_has_in_hand_is_not_held_back(monkeypatch: pytest.MonkeyPatch):
    """Whoever is given its stint, too, has no time for all of it: the rest goes to others."""
    monkeypatch.setattr(rounds_module, "SLOW_S", 0.0)
    monkeypatch.setattr(rounds_module, "CHECK_S", 0.01)
    hung = []

    def act(number: int, time: int) -> Made | None:
        if number >= 990 and not hung:
            hung.append(number)
            return None
        return Made(time)

    workers = Workers(
        act, reissues=True, seconds=lambda number: 0.0 if number < 990 else 2 * STINT_S
    )

    made = made_of(workers, 1020)

    assert sorted(made) == list(range(1020))
    assert hung


def test_what_fails_beside_a_worker_that_hangs_is_tried_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rounds_module, "SLOW_S", 0.0)
    monkeypatch.setattr(rounds_module, "CHECK_S", 0.01)
    answers = {1: None, 2: Made(error="no answer", passing=True), 3: Made(3)}
    workers = Workers(lambda number, time: answers[time] if number == 5 else Made(1), reissues=True)

    made = made_of(workers)

    assert len(made) == COUNT
    assert made[5].version == 3


def test_blocks_that_were_there_say_nothing_of_how_long_others_take():
    workers = Workers(
        lambda number, _: Made(1, resumed=number < 500),
        seconds=lambda number: 0.0 if number < 500 else STINT_S,
    )

    made = made_of(workers, 520)

    assert sorted(made) == list(range(520))
    assert {len(numbers) for numbers in workers.stints} == {1}


def test_as_many_go_together_as_whoever_asks_allows():
    workers = Workers(lambda *_: Made(1), seconds=lambda _: 0.0)

    made = dict(computed(workers, range(300), [0] * 300, Progress(), most=3))

    assert len(made) == 300
    assert max(len(numbers) for numbers in workers.stints) == 3


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_who_stops_is_heard_while_blocks_take_for_ever(seconds: float):
    class Stopping(Progress):
        asked = 0

        def check(self) -> None:
            self.asked += 1
            if self.asked > 3:
                raise Cancelled

    workers = Workers(lambda n, _: Made(1) if n < 30 else None, seconds=lambda _: seconds)
    seen = []

    with pytest.raises(Cancelled):
        seen.extend(computed(workers, range(COUNT), [0] * COUNT, Stopping()))

    assert all(future.cancelled() for future in workers.waiting)


def test_who_stops_is_heard_while_a_block_waits_for_another_try(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rounds_module, "PAUSE_S", 3600.0)

    class Stopping(Progress):
        def check(self) -> None:
            if workers.asked[0]:
                raise Cancelled

    workers = Workers(lambda *_: Made(error="no answer", passing=True))
    with pytest.raises(Cancelled):
        list(computed(workers, [0], [0], Stopping()))


def test_whoever_says_what_comes_next_is_asked_to_the_end():
    """Blocks are chosen as they are handed out, by a generator that is resumed again and again."""
    ended = []

    def numbers() -> Iterator[int]:
        try:
            yield from range(COUNT)
        finally:
            ended.append(len(made))

    workers, made = Workers(lambda *_: Made(1), seconds=lambda _: 0.0), []
    made.extend(computed(workers, numbers(), [0] * COUNT, Progress()))

    assert sorted(number for number, _ in made) == list(range(COUNT))
    assert len(ended) == 1


def test_a_worker_makes_as_many_parts_as_there_is_time_for(monkeypatch: pytest.MonkeyPatch):
    clock = [0.0]
    monkeypatch.setattr(stints.time, "monotonic", lambda: clock[0])

    def make(what: str, kept: int) -> str:
        clock[0] += kept
        return what.upper()

    def made_in(seconds: float, count: int = 5) -> Stint[str]:
        return stint(make, tuple((name, seconds) for name in "abcdefgh"[:count]))

    assert made_in(LONGEST_S / 4) == Stint(tuple("ABCDE"), LONGEST_S / 4 * 5)
    assert made_in(LONGEST_S / 2).made == tuple("ABC")
    assert made_in(1000.0).made == ("A",)
    assert made_in(0.0, count=8).made == tuple("ABCDEFGH")


def test_a_stint_is_stopped_between_two_parts():
    progress, made = Stoppable(), []

    def make(what: int, _: int) -> None:
        made.append(what)
        progress.stopped = what == 3

    with watched(progress), pytest.raises(Cancelled):
        stint(make, tuple((number, 0) for number in range(10)))

    assert made == [0, 1, 2, 3]
