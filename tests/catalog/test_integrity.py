"""What is wrong with a file is found, and what was deleted gives its space back."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from terrazzo.catalog import Catalog, CatalogUnusable, make_collection, open_catalog
from terrazzo.errors import ArgumentInvalid
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 12


def scene(number: int) -> dict[str, Any]:
    return {
        "id": f"i{number}",
        "collection": "s",
        "bbox": [number % 100, 0, number % 100 + 1, 1],
        "geometry": None,
        "properties": {"datetime": "2020-01-01T00:00:00Z", "n": number, "long": "x" * 500},
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.sqlite"


@pytest.fixture
def catalog(path: Path) -> Iterator[Catalog]:
    with open_catalog(path) as catalog:
        catalog.put_collection(make_collection("s"))
        catalog.put_items(scene(number) for number in range(COUNT))
        yield catalog


def test_a_sound_catalogue_has_no_findings_and_every_item_is_looked_at(catalog: Catalog):
    catalog.put_items([scene(0) | {"bbox": [170, 0, -170, 1]}])
    catalog.put_items([scene(0), scene(1) | {"bbox": [179.9999999, 0.1, -179.9, 0.2]}])
    catalog.delete_items("s", ["i2"])
    progress = Progress()

    findings = list(catalog.check(progress))

    assert findings == []
    assert (progress.total, progress.done) == (COUNT - 1, COUNT - 1)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("DELETE FROM document WHERE row = 3", "item has no document"),
        ("DELETE FROM box WHERE row = 6", "item has no box"),
        ("DELETE FROM item WHERE row = 3", "document has no item"),
        ("DELETE FROM item WHERE row = 3", "box has no item"),
        ("UPDATE item SET collection = 77 WHERE row = 3", "item has no collection"),
        ("UPDATE item SET start = start + 1 WHERE row = 3", "'i2'.*differs.*in start"),
        ("UPDATE item SET id = 'other' WHERE row = 3", "'other'.*differs.*in id"),
        ("UPDATE item SET properties = '{}' WHERE row = 3", "differs.*properties"),
        ("UPDATE item SET footprint = x'00' WHERE row = 3", "differs.*footprint"),
        ("UPDATE document SET body = x'0102' WHERE row = 3", "'i2'.*cannot be read"),
        ("UPDATE document SET body = (SELECT body FROM document WHERE row = 5) WHERE row = 3",
         "differs.*id"),
        ("UPDATE box SET west = 50, east = 60 WHERE row = 6", "boxes do not hold it"),
        ("UPDATE box SET last = first - 1, first = first - 1 WHERE row = 6", "boxes do not hold"),
        ("UPDATE collection SET longest = -1", "longer than the longest"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_named(catalog: Catalog, path: Path, damage: str, words: str):
    with sqlite3.connect(path) as raw:
        raw.execute(damage)
    raw.close()

    findings = "\n".join(catalog.check())

    assert re.search(words, findings), findings


def test_a_survey_that_counts_otherwise_is_named(catalog: Catalog, path: Path):
    with open_catalog(path) as other:
        fewer = other.survey("s")
    fewer.remove(scene(0))
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE collection SET survey = ?", (fewer.to_text(),))
    raw.close()

    (finding,) = catalog.check()

    assert f"{COUNT} items" in finding
    assert str(COUNT - 1) in finding


def test_the_space_of_deleted_items_is_given_back(catalog: Catalog, path: Path):
    catalog.put_items(scene(number) for number in range(2000))
    catalog.delete_items("s", [f"i{number}" for number in range(2000)])

    before, after = catalog.vacuum()

    assert after < before / 2
    assert path.stat().st_size == after
    assert list(catalog.check()) == []
    with (
        open_catalog(path, read_only=True) as reader,
        pytest.raises(ArgumentInvalid, match="read_only"),
    ):
        reader.vacuum()


def test_a_damaged_item_is_told_with_what_finds_the_others(catalog: Catalog, path: Path):
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE document SET body = x'0102' WHERE row = 3")
    raw.close()

    for call in (lambda: catalog.item("s", "i2"), lambda: list(catalog.search())):
        with pytest.raises(CatalogUnusable, match=r"'i2'.*terrazzo catalog check"):
            call()
    assert catalog.item("s", "i3")["properties"]["n"] == 3
