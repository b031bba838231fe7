"""How many items a search would look at, known without reading one."""

from __future__ import annotations

import pytest

from terrazzo.catalog import Catalog, make_collection, make_item, open_catalog
from terrazzo.errors import CollectionNotFound, TemporalExtentEmpty

DAYS = 9


@pytest.fixture
def catalog(address: str) -> Catalog:
    """A catalogue with an item a day, each a degree further east."""
    catalog = open_catalog(address)
    catalog.put_collection(make_collection("s"))
    catalog.put_items(
        make_item(f"i{day}", "s", bbox=(day, 0, day + 0.5, 1), datetime=f"2020-01-0{day}T00:00:00Z")
        for day in range(1, DAYS + 1)
    )
    return catalog


def test_all_items_are_counted_but_no_more_than_asked_for(catalog: Catalog) -> None:
    assert catalog.candidates("s", most=100) == DAYS
    assert catalog.candidates("s", most=3) == 3


def test_extent_and_period_are_those_of_a_search(catalog: Catalog) -> None:
    box, days = (2.6, 0.0, 5.1, 1.0), ("2020-01-04T00:00:00Z", "2020-01-08T00:00:00Z")

    for bbox, interval in ((box, None), (None, days), (box, days)):
        items = list(catalog.search(("s",), bbox=bbox, interval=interval))
        counted = catalog.candidates("s", bbox=bbox, interval=interval, most=100)

        assert counted == len(items) > 0


def test_wrong_arguments_are_refused_like_those_of_a_search(catalog: Catalog) -> None:
    with pytest.raises(CollectionNotFound):
        catalog.candidates("no", most=1)
    with pytest.raises(TemporalExtentEmpty):
        catalog.candidates("s", interval=("2020-01-02T00:00:00Z", "2020-01-01T00:00:00Z"), most=1)
