"""Many at once, and processes that die: searches go on, and nothing is lost or half done."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from terrazzo.catalog import make_collection, open_catalog
from terrazzo.catalog.opening import is_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.synchronize import Event

MANY, MANY_IN_DATABASE, BATCH = 100_000, 20_000, 1000
SEEN = 5
"""How many states of an ingestion have to be seen by those who search meanwhile."""
SOME = 600
WAIT = 60.0
"""Seconds that nobody may have to wait for an answer; each takes milliseconds."""

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["terrazzo.catalog"])


def scene(name: str, day: int = 0, **properties: Any) -> dict[str, Any]:
    """Make a small item in the east; those of the test's own lie in the west."""
    return {
        "id": name,
        "collection": "s",
        "bbox": [10.0, 0.0, 11.0, 1.0],
        "geometry": None,
        "properties": {"datetime": f"2020-01-{1 + day % 28:02}T00:00:00Z", **properties},
    }


@pytest.fixture
def path(address: str) -> str:
    with open_catalog(address) as catalog:
        catalog.put_collection(make_collection("s"))
    return address


def put(path: str, names: list[str], revision: int) -> None:
    with open_catalog(path) as catalog:
        items = (scene(name, n, revision=revision) for n, name in enumerate(names))
        catalog.put_items(items, batch=20)


def delete(path: str, names: list[str], _: int) -> None:
    with open_catalog(path) as catalog:
        for start in range(0, len(names), 10):
            catalog.delete_items("s", names[start : start + 10])


def delete_and_put(path: str, names: list[str], _: int) -> None:
    delete(path, names, 0)
    put(path, names, 0)


def put_many(path: str, names: str, count: int, enough: Event) -> None:
    """Put so many items, and further ones until they were looked at often enough."""

    def scenes() -> Iterator[dict[str, Any]]:
        for number in itertools.count():
            if number % BATCH == 0 and number >= count and enough.is_set():
                return
            yield scene(f"{names}{number:06}", number)

    with open_catalog(path) as catalog:
        catalog.put_items(scenes(), batch=BATCH)


@pytest.mark.slow
def test_searches_go_on_and_are_right_while_100_000_items_come_in(path: str):
    many = MANY_IN_DATABASE if is_database(path) else MANY
    old = [scene(f"old{n:02}", n, kind="old") | {"bbox": [-20, 0, -19, 1]} for n in range(60)]
    expected = sorted(old, key=lambda item: (item["properties"]["datetime"], item["id"]))
    with open_catalog(path) as catalog:
        catalog.put_items(old)
    enough = processes.Event()
    writer = processes.Process(target=put_many, args=(path, "new", many, enough), daemon=True)
    writer.start()
    counts: list[int] = []

    with open_catalog(path, read_only=True) as catalog, ThreadPoolExecutor(1) as pool:

        def answer(search: Callable[[], Any]) -> Any:
            return pool.submit(search).result(timeout=WAIT)

        while writer.is_alive():
            counts.append(answer(lambda: catalog.count("s")))
            assert answer(lambda: list(catalog.search(bbox=(-20, 0, -19, 1)))) == expected
            assert answer(lambda: list(catalog.search(filter="kind = 'old'", limit=9)))
            newest = answer(lambda: list(catalog.search(sort="-datetime", limit=20)))
            times = [item["properties"]["datetime"] for item in newest]
            assert times == sorted(times, reverse=True)
            if len(set(counts)) > SEEN:
                enough.set()
        writer.join()

        assert writer.exitcode == 0
        assert counts == sorted(counts)
        assert {(count - len(old)) % BATCH for count in counts} == {0}
        found = catalog.count("s")
        assert found >= many + len(old)
        assert found == catalog.survey("s").count == sum(1 for _ in catalog.search())


def test_two_ingestions_at_once_lose_nothing_not_even_of_the_same_items(path: str):
    shared = [f"both{n:04}" for n in range(SOME)]
    own = [[f"{name}{n:04}" for n in range(SOME)] for name in "ab"]
    writers = [processes.Process(target=put, args=(path, mine + shared, 0)) for mine in own]

    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    with open_catalog(path) as catalog:
        assert [writer.exitcode for writer in writers] == [0, 0]
        found = {item["id"] for item in catalog.search()}
        assert found == {*shared, *own[0], *own[1]}
        assert catalog.survey("s").count == 3 * SOME
        assert list(catalog.check()) == []


def repeat(begun: Event, work: Callable[..., None], *arguments: Any) -> None:
    begun.set()
    while True:
        work(*arguments)


def kill_at_work(work: Callable[..., None], *arguments: Any, draw: random.Random) -> None:
    """Repeat work in a process that is killed at a random moment, on fast machines as on slow."""
    begun = processes.Event()
    process = processes.Process(target=repeat, args=(begun, work, *arguments))
    process.start()
    assert begun.wait(WAIT)
    time.sleep(draw.uniform(0.0, 0.12))
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def revisions(path: str) -> Iterator[tuple[str, int]]:
    """Yield the items that there are, and check that the catalogue is sound."""
    with open_catalog(path) as catalog:
        assert list(catalog.check()) == []
        found = list(catalog.search())
        assert catalog.survey("s").count == catalog.count("s") == len(found)
        yield from ((item["id"], item["properties"]["revision"]) for item in found)


@pytest.mark.slow
@pytest.mark.parametrize("work", ["ingestion", "update", "delete"])
def test_a_catalogue_is_sound_after_each_of_20_kills_and_a_last_run_completes(path: str, work: str):
    draw = random.Random(work)
    names = [f"i{n:05}" for n in range(SOME)]
    whole = dict.fromkeys(names, 0)
    if work != "ingestion":
        put(path, names, 0)
    run = delete_and_put if work == "delete" else put

    for number in range(1, 21):
        kill_at_work(run, path, names, number, draw=draw)
        found = dict(revisions(path))
        assert found.keys() <= whole.keys()
        assert (work != "update") or found.keys() == whole.keys()
        assert set(found.values()) <= set(range(number + 1))
        if work == "ingestion":
            delete(path, draw.sample(names, SOME // 2), 0)

    (delete if work == "delete" else put)(path, names, 21)
    assert dict(revisions(path)) == ({} if work == "delete" else dict.fromkeys(names, 21))
