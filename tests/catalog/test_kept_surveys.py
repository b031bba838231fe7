"""What a catalogue keeps of its items' summaries, on both back ends: always true of the items."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.catalog.test_survey import items

from terrazzo.catalog import BandInfo, Survey, make_collection, make_item, open_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.catalog import Catalog

NAMES = count()
ONES = st.lists(items(), min_size=1, max_size=4)
CHANGES = st.lists(
    st.tuples(st.just("put"), ONES)
    | st.tuples(st.just("delete"), st.lists(st.integers(0, 9), min_size=1, max_size=3))
    | st.tuples(st.just("change"), items())
    | st.tuples(st.just("back"), st.none()),
    min_size=1,
    max_size=6,
)
SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@pytest.fixture(scope="module")
def catalog(module_address: str) -> Iterator[Catalog]:
    with open_catalog(module_address) as opened:
        yield opened


def change(catalog: Catalog, name: str, kind: str, value: Any) -> None:
    if kind == "put":
        catalog.put_items([{**item, "collection": name} for item in value])
    elif kind == "delete":
        catalog.delete_items(name, [f"i{number}" for number in value])
    elif kind == "back":
        catalog.put_collection(catalog.collection(name))
    elif any(item["id"] == value["id"] for item in catalog.search((name,))):
        new = {**value, "collection": name}
        catalog.change_item(name, value["id"], lambda _: new)


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
@given(changes=CHANGES)
def test_a_collection_is_told_as_its_items_are_after_any_changes(catalog, changes):
    name = f"s{next(NAMES)}"
    stated = make_collection(name, title="T", summaries={"own": ["kept"], "cloud": ["odd"]})
    catalog.put_collection(stated)

    for kind, value in changes:
        change(catalog, name, kind, value)

    anew = Survey()
    for item in catalog.search((name,)):
        anew.add(item)
    assert catalog.collection(name) == anew.describe(stated)
    assert [one for one in catalog.collections() if one["id"] == name] == [anew.describe(stated)]
    assert {n: p.types for n, p in catalog.survey(name).properties.items()} == {
        n: p.types for n, p in anew.properties.items()
    }


def made(name: str, number: int, **properties: Any) -> dict[str, Any]:
    return make_item(
        f"i{number}",
        name,
        bbox=(number, 0, number + 1, 1),
        datetime=f"2020-01-{number + 1:02}",
        properties=properties,
    )


def test_what_comes_back_as_it_was_read_is_no_statement(catalog):
    catalog.put_collection(
        make_collection("round", bands=[BandInfo("own")], summaries={"mine": ["yes"]})
    )
    catalog.put_items([made("round", 0, platform="a"), made("round", 5, platform="b")])

    catalog.put_collection(catalog.collection("round") | {"title": "New"})
    catalog.change_collection("round", lambda found: found | {"license": "CC0-1.0"})
    catalog.delete_items("round", ["i5"])
    told = catalog.collection("round")

    assert (told["title"], told["license"]) == ("New", "CC0-1.0")
    assert told["summaries"] == {"mine": ["yes"], "platform": ["a"]}
    assert told["extent"]["spatial"]["bbox"] == [[0, 0, 1, 1]]
    assert [band["name"] for band in told["bands"]] == ["own"]
    catalog.delete_items("round", ["i0"])
    assert catalog.collection("round")["summaries"] == {"mine": ["yes"]}


def test_what_is_stated_over_what_was_read_is_kept(catalog):
    catalog.put_collection(make_collection("over"))
    catalog.put_items([made("over", 0, platform="a")])
    read = catalog.collection("over")

    read["summaries"]["instruments"] = ["msi"]
    read["bands"] = [{"name": "B04", "description": "Red"}]
    catalog.put_collection(read)

    told = catalog.collection("over")
    assert told["summaries"] == {"instruments": ["msi"], "platform": ["a"]}
    assert told["bands"] == [{"name": "B04", "description": "Red"}]


def test_a_stale_survey_is_made_anew_once(catalog, monkeypatch):
    catalog.put_collection(make_collection("stale"))
    catalog.put_items(
        [
            make_item("west", "stale", bbox=(170, 0, 180, 1), datetime="2020-01-01"),
            make_item("across", "stale", bbox=(179, 0, -179, 1), datetime="2020-01-01"),
        ]
    )
    catalog.delete_items("stale", ["west"])
    looked = []
    look = type(catalog).surveyed

    def counted(self: Catalog, name: str) -> Survey:
        looked.append(name)
        return look(self, name)

    monkeypatch.setattr(type(catalog), "surveyed", counted)
    boxes = [catalog.collection("stale")["extent"]["spatial"]["bbox"] for _ in range(3)]

    assert boxes == [[[179, 0, -179, 1]]] * 3
    assert catalog.survey("stale").count == 1
    assert looked == ["stale"]


def test_items_that_are_put_again_change_no_summary(catalog):
    catalog.put_collection(make_collection("again"))
    several = [made("again", number, cloud=number) for number in range(20)]
    catalog.put_items(several)
    before = catalog.collection("again")

    catalog.put_items([several[3], several[0], several[0]], batch=2)

    assert catalog.collection("again") == before
    catalog.put_items([made("again", 0, cloud=7), made("again", 0, cloud=50)])
    assert catalog.collection("again")["summaries"] == {"cloud": {"minimum": 1, "maximum": 50}}
    assert catalog.survey("again").count == 20
