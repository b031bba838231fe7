"""Catalogues of the first version: brought up to date whole or not at all, and never lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.catalog.version1 import write_version_1
from typing_extensions import override

from terrazzo.catalog import Catalog, CatalogUnusable, make_collection, open_catalog
from terrazzo.catalog.schema import SCHEMA_VERSION
from terrazzo.catalog.store import FileCatalog
from terrazzo.progress import Progress

COUNT = 2500
DAY = 86_400_000_000


def item(number: int) -> dict[str, Any]:
    west = number % 300 - 150.0
    return {
        "type": "Feature",
        "id": f"i{number:05}",
        "collection": "even" if number % 2 == 0 else "odd",
        "bbox": [west, 0.0, west + 1, 1.0],
        "geometry": None,
        "properties": {"datetime": f"1970-01-{1 + number % 28:02}T00:00:00Z", "cloud": number % 9},
        "assets": {"data": {"href": f"/data/{number}.tif", "big": 2**70}},
        "links": [],
    }


ITEMS = [item(number) for number in range(COUNT)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "old.sqlite"
    collections = [make_collection("even", title="Even"), make_collection("odd")]
    write_version_1(path, collections, [(one, n % 28 * DAY) for n, one in enumerate(ITEMS)])
    return path


def assert_whole(catalog: Catalog) -> None:
    """Check that nothing is missing, and that searches find what is asked for."""
    expected = sorted(ITEMS, key=lambda one: (one["properties"]["datetime"], one["id"]))
    assert list(catalog.search()) == expected
    west, south, east, north = 10.5, 0.2, 11.2, 0.8
    inside = [one["id"] for one in expected if one["bbox"][0] <= east and one["bbox"][2] >= west]
    found = catalog.search(bbox=(west, south, east, north), filter="cloud >= 0")
    assert [one["id"] for one in found] == inside
    assert catalog.collection("even")["title"] == "Even"
    for name in ("even", "odd"):
        kept, seen = catalog.survey(name), catalog.surveyed(name)
        assert kept.count == seen.count == COUNT // 2
        assert kept.describe({"id": name}) == seen.describe({"id": name})
    assert list(catalog.check()) == []


def version_of(path: Path) -> int:
    with sqlite3.connect(path) as raw:
        (version,) = raw.execute("PRAGMA user_version").fetchone()
    raw.close()
    return int(version)


class Told(Progress):
    """Notes what it is told."""

    total = 0
    seen: tuple[int, ...] = ()

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        self.seen = (*self.seen, self.done)


def test_a_file_of_version_1_is_brought_up_to_date_and_tells_how_far_it_is(path: Path):
    told = Told()

    with FileCatalog(path, progress=told) as catalog:
        assert_whole(catalog)
        assert catalog.version("odd") == "odd-version"
        catalog.put_items([ITEMS[0] | {"id": "new"}])
        assert catalog.count("even") == COUNT // 2 + 1

    assert version_of(path) == SCHEMA_VERSION
    assert (told.total, told.seen[-1]) == (COUNT, COUNT)
    assert len(told.seen) > 1


def test_a_file_of_version_1_is_not_changed_by_who_only_reads(path: Path):
    before = path.read_bytes()

    with pytest.raises(CatalogUnusable, match="opened for writing"):
        open_catalog(path, read_only=True)

    assert path.read_bytes() == before
    assert version_of(path) == 1


class Stopped(Progress):
    """Stops at the second batch."""

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if self.done > count:
            raise KeyboardInterrupt


def test_a_migration_that_is_stopped_changes_nothing_and_the_next_one_completes(path: Path):
    with pytest.raises(KeyboardInterrupt):
        FileCatalog(path, progress=Stopped())

    assert version_of(path) == 1
    with open_catalog(path) as catalog:
        assert_whole(catalog)


KILLED = """
import os, signal, sys
from terrazzo.catalog.store import FileCatalog
from terrazzo.progress import Progress
class Killed(Progress):
    def advance(self, count=1):
        super().advance(count)
        if self.done > count:
            os.kill(os.getpid(), signal.SIGKILL)
FileCatalog(sys.argv[1], progress=Killed())
"""


def test_a_migration_that_is_killed_leaves_the_old_file_and_the_next_one_completes(path: Path):
    source = str(Path(sys.modules["terrazzo"].__file__ or "").parents[1])

    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)],
        check=False,
        env={**os.environ, "PYTHONPATH": source},
    )

    assert run.returncode == -signal.SIGKILL
    assert version_of(path) == 1
    with open_catalog(path) as catalog:
        assert_whole(catalog)


def test_many_who_open_an_old_file_at_once_find_all_of_it(path: Path):
    def count(_: int) -> int:
        with open_catalog(path) as catalog:
            return catalog.count("even") + catalog.count("odd")

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(count, range(4)))

    assert counts == [COUNT] * 4
