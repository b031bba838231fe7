"""A catalogue copied into another one: everything, exactly, and again after any stop."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.catalog.drawn import COLLECTION, drawn_items

from terrazzo.catalog import make_collection, open_catalog
from terrazzo.catalog.moving import CatalogsDiffer, Copied, copy_catalog
from terrazzo.progress import Cancelled, Progress

ITEMS = 1200


@pytest.fixture
def source(tmp_path):
    with open_catalog(tmp_path / "source.db") as catalog:
        catalog.put_collection(make_collection(COLLECTION, title="Drawn"))
        catalog.put_collection(make_collection("empty"))
        catalog.put_items(drawn_items(random.Random(7), ITEMS))
        yield catalog


@pytest.fixture
def target(address):
    with open_catalog(address) as catalog:
        yield catalog


class StopAfter(Progress):
    """Stops after some items."""

    def __init__(self, count: int) -> None:
        self.left = count

    def advance(self, count: int = 1) -> None:
        self.left -= count
        if self.left <= 0:
            raise Cancelled


def content(catalog) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return catalog.collections(), list(catalog.search())


def test_collections_and_items_are_the_same_in_both_afterwards(source, target):
    copied = copy_catalog(source, target)

    assert copied == Copied(collections=2, items=ITEMS, kept=0)
    assert content(target) == content(source)


def test_a_copy_that_was_stopped_goes_on_where_it_was(source, target):
    with pytest.raises(Cancelled):
        copy_catalog(source, target, progress=StopAfter(900))
    there = target.count(COLLECTION)

    copied = copy_catalog(source, target)

    assert 0 < there < ITEMS
    assert copied == Copied(collections=2, items=ITEMS - there, kept=there)
    assert content(target) == content(source)


def test_what_was_copied_comes_back_as_it_was(source, target, tmp_path):
    copy_catalog(source, target)

    with open_catalog(tmp_path / "back.db") as back:
        copy_catalog(target, back)

        assert content(back) == content(source)


def test_items_that_only_the_target_has_are_told_and_not_touched(source, target):
    target.put_collection(make_collection(COLLECTION))
    target.put_items([drawn_items(random.Random(1), 1)[0] | {"id": "theirs"}])

    with pytest.raises(CatalogsDiffer, match=f"{ITEMS} items .* and {ITEMS + 1} in"):
        copy_catalog(source, target)

    assert target.item(COLLECTION, "theirs")["id"] == "theirs"


def test_other_collections_of_the_target_stay(source, target):
    target.put_collection(make_collection("theirs"))

    copy_catalog(source, target)

    assert [one["id"] for one in target.collections()] == [COLLECTION, "empty", "theirs"]


def test_hidden_collections_are_not_copied(source, target):
    with open_catalog(source.address, hidden=frozenset({COLLECTION})) as seen:
        copied = copy_catalog(seen, target)

    assert copied == Copied(collections=1, items=0, kept=0)
