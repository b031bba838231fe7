"""Catalogues of one file that are open at the same time share what it takes to read it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from terrazzo.catalog import make_collection, open_catalog
from terrazzo.errors import ArgumentInvalid, CollectionNotFound

if TYPE_CHECKING:
    from pathlib import Path


def scene(name: str, collection: str) -> dict[str, Any]:
    return {
        "id": name,
        "collection": collection,
        "bbox": [0.0, 0.0, 1.0, 1.0],
        "geometry": None,
        "properties": {"datetime": "2020-01-01T00:00:00Z"},
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.db"


def test_collections_of_one_batch_have_versions_of_their_own(address: str) -> None:
    with open_catalog(address) as catalog:
        for name in "ab":
            catalog.put_collection(make_collection(name))

        catalog.put_items([scene("x", "a"), scene("y", "b")])

        assert catalog.version("a") != catalog.version("b")
        assert [document["id"] for document in catalog.collections()] == ["a", "b"]


def test_a_catalogue_goes_on_when_another_of_its_file_is_closed(path: Path) -> None:
    with open_catalog(path) as first:
        first.put_collection(make_collection("a"))
        second = open_catalog(path)
        second.close()

        first.put_items([scene("x", "a")])

        assert first.count("a") == 1
        with pytest.raises(ArgumentInvalid, match="is closed"):
            second.count("a")


def test_another_file_of_the_same_name_is_another_catalogue(path: Path) -> None:
    with open_catalog(path) as first:
        first.put_collection(make_collection("a"))
        for file in path.parent.glob("catalogue.db*"):
            file.rename(path.with_name("old" + file.name))

        with open_catalog(path) as second:
            with pytest.raises(CollectionNotFound):
                second.collection("a")
            second.put_collection(make_collection("b"))

        assert first.collection("a")["id"] == "a"


def test_the_last_one_to_close_leaves_one_tidy_file(path: Path) -> None:
    catalogs = [open_catalog(path) for _ in range(3)]
    catalogs[0].put_collection(make_collection("a"))

    def used(number: int) -> None:
        catalogs[number].put_items([scene(f"x{number}", "a")])

    threads = [threading.Thread(target=used, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert catalogs[0].count("a") == 3
    for catalog in catalogs:
        catalog.close()

    assert [file.name for file in path.parent.iterdir()] == ["catalogue.db"]


def test_what_one_may_not_see_another_of_the_same_file_does(path: Path) -> None:
    with open_catalog(path) as whole, open_catalog(path, hidden=frozenset({"a"})) as part:
        for name in "ab":
            whole.put_collection(make_collection(name))

        assert [document["id"] for document in whole.collections()] == ["a", "b"]
        assert [document["id"] for document in part.collections()] == ["b"]


def test_a_reader_shares_nothing_with_a_writer(path: Path) -> None:
    with open_catalog(path) as writer, open_catalog(path, read_only=True) as reader:
        writer.put_collection(make_collection("a"))

        assert reader.collection("a")["id"] == "a"
        with pytest.raises(ArgumentInvalid, match="read_only"):
            reader.put_items([scene("x", "a")])
