"""Files of runs that anybody may have written: what cannot be is left out, and cuts may change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from terrazzo.drivers.block_names import BLOCKS, kept_name
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.record import RECORD
from terrazzo.drivers.tally import RESULTS
from terrazzo.drivers.watching.pulse import FOLDER, beats, now
from terrazzo.drivers.watching.status import STATUS, State, Status
from terrazzo.drivers.watching.watch import Watcher

if TYPE_CHECKING:
    from pathlib import Path

HEARD = {"name": "w", "host": "h", "pid": 1, "begun": now(), "seen": now()}
RECORD_OF_FOUR = {"window": [0, 0, 64, 64], "block": 32, "origin": [0, 0]}


@pytest.mark.parametrize(
    "odd",
    [
        {"seen": ""}, {"seen": 5}, {"seen": "2020-01-01T00:00:00"}, {"made": "4"}, {"made": -1},
        {"pid": 1.5}, {"failed": True}, {"memory_bytes": 10**30}, {"per_second": float("nan")},
        {"host": None}, {"running": [["", -99]]}, {"running": [["", 10**30]]}, {"running": 5},
        {"name": "../../w"}, {"running": json.loads("[" * 500 + "]" * 500)},
    ],
    ids=lambda one: str(one)[:40],
)  # fmt: skip
def test_a_worker_that_tells_what_cannot_be_is_left_out(tmp_path: Path, odd: dict[str, Any]):
    depot = FolderDepot(tmp_path)
    depot.write(f"{FOLDER}/w.json", json.dumps({**HEARD, "running": [["", 3]]}).encode())
    before = beats(depot)

    depot.write(f"{FOLDER}/w.json", json.dumps({**HEARD, "running": [], **odd}).encode())

    assert [one.running for one in before] == [(("", 3),)]
    assert beats(depot) == ()


@pytest.mark.parametrize(
    "odd",
    [
        {"seen": ""}, {"seen": 5}, {"done": "3"}, {"total": -1}, {"took": {"seconds": "1"}},
        {"expected": {"blocks": None, "read_bytes": 0, "result_bytes": 0, "memory_bytes": 0}},
        {"title": 7},
    ],
    ids=str,
)  # fmt: skip
def test_a_status_that_cannot_be_is_none(tmp_path: Path, odd: dict[str, Any]):
    depot = FolderDepot(tmp_path)
    right = json.loads(Status(State.RUNNING, begun=now(), seen=now()).content())
    depot.write(STATUS, json.dumps(right).encode())
    before = Status.read(depot)

    depot.write(STATUS, json.dumps({**right, **odd}).encode())

    assert before is not None
    assert Status.read(depot) is None
    assert Watcher(depot).look() is None


@pytest.mark.parametrize(
    "blocks", [{".": 10**15}, {".": -1}, {".": "4"}, {"../other": 4}, {"a": 10**8, "b": 1}, [4]]
)
def test_an_order_that_cannot_be_is_not_counted(tmp_path: Path, blocks: object):
    FolderDepot(tmp_path).write("order.json", json.dumps({"blocks": blocks}).encode())

    assert Watcher(FolderDepot(tmp_path)).look() is None


@pytest.mark.parametrize(
    "odd",
    [
        {"block": 0}, {"block": "x"}, {"window": [0, 0, 0, 0]}, {"window": [0, 0, -5, 64]},
        {"window": [0, 0, 10**11, 10**11]}, {"window": [0, 0, 10**30, 64]}, {"origin": [0]},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_that_cannot_be_has_no_map(tmp_path: Path, odd: dict[str, Any]):
    depot = FolderDepot(tmp_path)
    depot.write(RECORD, json.dumps({**RECORD_OF_FOUR, **odd}).encode())

    assert Watcher(depot).maps() == ()


def test_a_run_that_is_cut_anew_is_watched_as_it_is_now(tmp_path: Path):
    depot = FolderDepot(tmp_path)
    depot.write(RECORD, json.dumps(RECORD_OF_FOUR).encode())
    for number in range(4):
        depot.write(kept_name(number, 1))
    watcher = Watcher(depot)

    def done() -> tuple[int, int]:
        (found,) = watcher.maps()
        return found.counts["done"], sum(found.counts.values())

    whole = done()
    depot.clear(BLOCKS)
    emptied = done()
    depot.write(RECORD, json.dumps({**RECORD_OF_FOUR, "window": [0, 0, 128, 128]}).encode())
    depot.write(kept_name(9, 1))
    larger = done()
    depot.write(RESULTS, b"{}")
    over = done()
    depot.delete([RESULTS, kept_name(9, 1)])
    depot.write(kept_name(2, 1))
    depot.write(RECORD, json.dumps({**RECORD_OF_FOUR, "window": [64, 0, 128, 128]}).encode())
    again = done()

    assert (whole, emptied, larger, over, again) == ((4, 4), (0, 4), (1, 16), (16, 16), (1, 16))


def test_a_silent_run_is_not_counted_where_only_what_is_heard_is_asked_for(tmp_path: Path):
    depot = FolderDepot(tmp_path)
    long_ago = "2000-01-01T00:00:00Z"
    depot.write(STATUS, Status(State.RUNNING, begun=long_ago, seen=long_ago).content())
    depot.write("order.json", b'{"blocks": {".": 4}}')
    watcher = Watcher(depot)

    heard, look = watcher.look(silent=False), watcher.look()

    assert heard is None
    assert look is not None
    assert (look.status.state, look.status.total) == (State.SILENT, 4)
