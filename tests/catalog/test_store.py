"""The file: upserts, versions, many writers, crashes, and what is refused."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from terrazzo.catalog import Catalog, CatalogUnusable, ItemNotFound, make_collection, open_catalog
from terrazzo.errors import ArgumentInvalid, CollectionNotFound
from terrazzo.progress import Progress


def scene(name: str, **fields: object):
    return {
        "id": name,
        "collection": "s",
        "bbox": [179.0, 0.0, -179.0, 1.0],
        "geometry": None,
        "properties": {"datetime": "2020-01-01T00:00:00Z", "n": 1},
        **fields,
    }


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "catalogue ?#%.db"


@pytest.fixture
def catalog(address):
    with open_catalog(address) as opened:
        opened.put_collection(make_collection("s"))
        yield opened


@pytest.fixture
def in_file(path):
    with open_catalog(path) as opened:
        opened.put_collection(make_collection("s"))
        yield opened


def test_putting_an_item_again_replaces_it(catalog):
    catalog.put_items([scene("a"), scene("b")])
    catalog.put_items([scene("a", bbox=[0.0, 0.0, 1.0, 1.0])])

    assert catalog.count("s") == 2
    assert catalog.item("s", "a")["bbox"] == [0.0, 0.0, 1.0, 1.0]
    assert [i["id"] for i in catalog.search(bbox=(-180, 0, -179.5, 1))] == ["b"]
    assert [i["id"] for i in catalog.search(bbox=(0, 0, 1, 1))] == ["a"]


def test_the_last_of_equal_ids_in_one_batch_counts(catalog):
    catalog.put_items([scene("a"), scene("a", properties={"datetime": "2021-01-01"})])

    assert [i["properties"]["datetime"] for i in catalog.search()] == ["2021-01-01"]


def test_the_version_changes_with_every_change_and_only_then(catalog):
    versions = [catalog.version("s")]
    catalog.put_items([scene("a")])
    versions.append(catalog.version("s"))
    catalog.put_items([scene("a")])
    versions.append(catalog.version("s"))
    catalog.put_collection(make_collection("s", title="new"))
    versions.append(catalog.version("s"))
    catalog.delete_items("s", ["a"])
    versions.append(catalog.version("s"))
    list(catalog.search())
    catalog.delete_items("s", ["nobody"])
    catalog.put_collection(make_collection("other"))

    assert len(set(versions)) == 5
    assert catalog.version("s") == versions[-1]


def test_collections_are_put_listed_and_deleted_with_their_items(catalog):
    catalog.put_collection(make_collection("a"))
    catalog.put_items([scene("x"), scene("x", collection="a")])

    catalog.delete_collection("s")

    assert [c["id"] for c in catalog.collections()] == ["a"]
    assert [i["collection"] for i in catalog.search(bbox=(-180, -90, 180, 90))] == ["a"]


def test_nothing_is_left_in_the_file_of_a_collection_that_is_deleted(in_file, path):
    in_file.put_collection(make_collection("a"))
    in_file.put_items([scene("x"), scene("x", collection="a")])

    in_file.delete_collection("s")

    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT count(*) FROM box").fetchone() == (2,)
        assert raw.execute("SELECT count(*) FROM document").fetchone() == (1,)
    raw.close()


def test_what_is_not_there_is_an_error_that_lists_what_is(catalog):
    for call in (
        catalog.collection,
        catalog.version,
        catalog.count,
        catalog.delete_collection,
        lambda name: catalog.item(name, "a"),
        lambda name: catalog.delete_items(name, ["a"]),
        lambda name: catalog.put_items([scene("a", collection=name)]),
    ):
        with pytest.raises(CollectionNotFound, match="Collections here: s"):
            call("'; DROP TABLE item; --")
    with pytest.raises(ItemNotFound, match="'nobody'"):
        catalog.item("s", "nobody")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"id": ""}, "id"),
        ({"id": 7}, "id"),
        ({"id": "a\x00"}, "NUL"),
        ({"id": "\ud800"}, "JSON"),
        ({"collection": None}, "collection"),
        ({"type": "Collection"}, "type"),
        ({"bbox": None}, "bbox"),
        ({"bbox": [0, 0, float("nan"), 1]}, "bbox"),
        ({"bbox": [0, 0, True, 1]}, "bbox"),
        ({"bbox": [0, -91, 1, 1]}, "bbox"),
        ({"bbox": "0,0,1,1"}, "bbox"),
        ({"geometry": {"type": "Point"}}, "geometry"),
        ({"geometry": {"type": "Point", "coordinates": ["x", 1]}}, "geometry"),
        ({"geometry": [1, 2]}, "geometry"),
        ({"properties": None}, "properties"),
        ({"properties": {}}, "datetime"),
        ({"properties": {"datetime": "yesterday"}}, "properties.datetime"),
        ({"properties": {"datetime": None, "start_datetime": "2020"}}, "end_datetime"),
        (
            {"properties": {"start_datetime": "2020", "end_datetime": "2019"}},
            "before start_datetime",
        ),
        ({"properties": {"datetime": "2020", "x": float("nan")}}, "JSON"),
        ({"properties": {"datetime": "2020", "x": b"raw"}}, "JSON"),
        ({"properties": {"datetime": "2020", "x": "\x00"}}, "NUL"),
    ],
)
def test_an_invalid_item_is_refused_with_its_field_and_nothing_is_stored(catalog, fields, word):
    with pytest.raises(ArgumentInvalid, match=word):
        catalog.put_items([scene("good"), scene("bad", **fields)])

    assert catalog.count("s") == 0


def test_a_backslash_before_u0000_is_no_nul_byte(catalog):
    item = scene("a", properties={"datetime": "2020", "path": r"C:\u0000"})

    catalog.put_items([item])

    assert catalog.item("s", "a") == item


def test_files_of_others_and_of_a_later_version_are_refused_unchanged(tmp_path):
    text, other, later = (tmp_path / name for name in ("text", "other.db", "later.db"))
    text.write_text("not a database, but long enough to look at" * 100)
    with sqlite3.connect(other) as raw:
        raw.execute("CREATE TABLE theirs (x)")
    raw.close()
    open_catalog(later).close()
    with sqlite3.connect(later) as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()

    with pytest.raises(CatalogUnusable, match="not a database"):
        open_catalog(text)
    before = other.read_bytes()
    with pytest.raises(CatalogUnusable, match="not a Terrazzo catalogue"):
        open_catalog(other)
    assert other.read_bytes() == before
    with pytest.raises(CatalogUnusable, match="version 99"):
        open_catalog(later)
    with pytest.raises(CatalogUnusable, match="does not exist"):
        open_catalog(tmp_path / "missing" / "c.db")
    with pytest.raises(CatalogUnusable, match="no such file"):
        open_catalog(tmp_path / "missing.db", read_only=True)


def test_a_reader_cannot_write_and_a_closed_catalogue_says_so(catalog, address):
    catalog.put_items([scene("a")])

    with open_catalog(address, read_only=True) as reader:
        with pytest.raises(ArgumentInvalid, match="read_only"):
            reader.put_items([scene("b")])
        assert [c["id"] for c in reader.collections()] == ["s"]
    reader.close()

    with pytest.raises(ArgumentInvalid, match="closed"):
        reader.collections()


def count_there(catalog: Catalog) -> int:
    with catalog:
        return catalog.count("s")


def test_a_catalogue_travels_to_another_process(catalog):
    catalog.put_items([scene("a")])

    assert pickle.loads(pickle.dumps(catalog)).count("s") == 1  # noqa: S301
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(count_there, catalog).result() == 1


def test_a_forked_child_opens_its_own_connection(catalog):
    catalog.put_items([scene("a")])

    child = os.fork()
    if child == 0:
        code = 1
        try:
            catalog.put_items([scene("from the child")])
            code = 0 if catalog.count("s") == 2 else 2
        finally:
            os._exit(code)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert catalog.count("s") == 2


def test_threads_share_one_catalogue(catalog):
    def work(n: int) -> int:
        catalog.put_items((scene(f"{n}-{k}") for k in range(50)), batch=10)
        return sum(1 for item in catalog.search() if item["id"].startswith(f"{n}-"))

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(work, range(8)))

    assert counts == [50] * 8
    assert catalog.count("s") == 400


WRITER = """
import sys
from terrazzo.catalog import open_catalog, make_collection
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
catalog = open_catalog(path)
catalog.put_collection(make_collection("s"))
print("ready", flush=True)
def scenes():
    for n in range(count):
        if n == 2000:
            print("stored 2000", flush=True)
        yield {"id": f"{name}-{n:06d}", "collection": "s", "bbox": [0, 0, 1, 1], "geometry": None,
               "properties": {"datetime": "2020-01-01T00:00:00Z"}}
catalog.put_items(scenes(), batch=100)
"""


def writer(address: str, name: str, count: int) -> subprocess.Popen[str]:
    source = str(Path(sys.modules["terrazzo"].__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, address, name, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )


def test_two_processes_that_create_and_fill_one_catalogue_at_once_lose_nothing(address):
    running = [writer(address, name, 1500) for name in "ab"]
    assert [process.communicate()[0] and process.returncode for process in running] == [0, 0]

    with open_catalog(address) as catalog:
        found = [item["id"] for item in catalog.search(bbox=(0, 0, 1, 1))]

    assert found == [f"{name}-{n:06d}" for name in "ab" for n in range(1500)]


def test_a_killed_writer_leaves_a_sound_catalogue_and_a_second_run_completes(address):
    process = writer(address, "a", 1_000_000)
    assert process.stdout is not None
    assert any("2000" in line for line in process.stdout)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()

    with open_catalog(address) as catalog:
        left = catalog.count("s")
        assert left >= 2000
        assert left % 100 == 0
        assert sum(1 for _ in catalog.search(bbox=(0, 0, 1, 1))) == left
        assert list(catalog.check(Progress())) == []
        again = writer(address, "a", left + 250)
        again.communicate()
        assert again.returncode == 0
        assert catalog.count("s") == left + 250


def test_a_collection_may_be_deleted_while_it_is_searched(catalog):
    names = [f"{n:05d}" for n in range(600)]
    catalog.put_items(scene(name) for name in names)

    search = catalog.search()
    found = [next(search)["id"]]
    catalog.delete_collection("s")
    found += [item["id"] for item in search]

    assert found == names[: len(found)]


def test_readers_see_whole_batches_while_others_write(catalog, address):
    done, counts = threading.Event(), []

    def read() -> None:
        with open_catalog(address, read_only=True) as reader:
            while not done.is_set():
                counts.append(reader.count("s"))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        catalog.put_items((scene(f"{n:05d}") for n in range(2000)), batch=100)
    finally:
        done.set()
        thread.join()

    assert counts == sorted(counts)
    assert all(count % 100 == 0 for count in counts)
