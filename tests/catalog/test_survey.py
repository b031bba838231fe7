"""Surveys: what is kept item by item is what all items together say."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrazzo.catalog import make_item
from terrazzo.catalog.counted import Counted, Least, Lost
from terrazzo.catalog.survey import Gathering, Survey

STATED = {"type": "Collection", "id": "s", "title": "Stated", "summaries": {"own": ["kept"]}}
BANDS = [{"name": "B04", "nodata": 0}, {"name": "B04", "eo:common_name": "red"}, {"name": "B08"}]


def assets(number: int) -> st.SearchStrategy[dict[str, Any]]:
    grid = {
        "proj:code": st.sampled_from(["EPSG:32633", "EPSG:32634", "EPSG:0", 5]),
        "proj:shape": st.sampled_from([[100, 200], [50, 50], [], ["x", 1]]),
        "proj:transform": st.sampled_from(
            [[10, 0, 500_000, 0, -10, 5_000_000], [20, 0, 400_000.5, 0, -20, 5_100_000], None]
        ),
    }
    one = st.fixed_dictionaries(
        {"href": st.just(f"/{number}.tif"), "type": st.just("image/tiff; application=geotiff")},
        optional={
            "bands": st.lists(st.sampled_from(BANDS), max_size=2) | st.just("odd"),
            "roles": st.sampled_from([["data"], ["thumbnail"], 7]),
            "gsd": st.sampled_from([10, 20, "wide"]),
            **grid,
        },
    )
    return st.dictionaries(st.sampled_from(["red", "nir", "mask"]), one, max_size=3)


PROPERTIES = st.dictionaries(
    st.sampled_from(["cloud", "platform", "tags", "odd", "title", "proj:code"]),
    st.integers(-3, 3)
    | st.floats(-2, 2)
    | st.booleans()
    | st.none()
    | st.sampled_from(["a", "b", "x" * 300, "EPSG:32633"])
    | st.lists(st.sampled_from(["a", "b", 1]), max_size=2)
    | st.just({"a": 1}),
    max_size=4,
)
BOXES = st.sampled_from(
    [(10, 45, 11, 46), (10.5, 45, 12, 47), (-30, -5, -29, 5), (179, 0, -179, 1), (190, 0, 200, 1)]
)


@st.composite
def items(draw: st.DrawFn, name: str = "") -> dict[str, Any]:
    number = draw(st.integers(0, 9))
    item = make_item(
        name or f"i{number}",
        "s",
        bbox=draw(BOXES),
        datetime=f"2020-01-{draw(st.integers(1, 9)):02}",
    )
    item["properties"] |= draw(PROPERTIES)
    item["assets"] = draw(assets(number))
    return item


def survey_of(all_items: list[dict[str, Any]]) -> Survey:
    found = Survey()
    for item in all_items:
        found.add(item)
    return found


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_after_changes_in_any_order_a_survey_says_what_the_items_that_are_left_say(data):
    kept, there = Survey(), {}
    for _ in range(data.draw(st.integers(1, 14))):
        item = data.draw(items())
        old = there.get(item["id"])
        if data.draw(st.sampled_from("aar")) == "r" and there:
            kept.remove(there.pop(data.draw(st.sampled_from(sorted(there)))))
        elif old is None:
            kept.add(item)
            there[item["id"]] = item
        else:
            kept.replace(old, item)
            there[item["id"]] = item
        kept = Survey.of_text(kept.to_text())
        if kept.stale:
            kept = survey_of(list(there.values()))

    anew = survey_of(sorted(there.values(), key=lambda item: item["id"]))

    assert kept.count == len(there)
    assert kept.describe(STATED) == anew.describe(STATED)
    assert {n: p.types for n, p in kept.properties.items()} == {
        n: p.types for n, p in anew.properties.items()
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(items(), max_size=8), st.lists(items(), max_size=8))
def test_surveys_of_parts_make_the_survey_of_all(first, second):
    merged = survey_of(first)
    merged.merge(survey_of(second))

    assert merged.describe(STATED) == survey_of([*second, *first]).describe(STATED)


@settings(max_examples=100, deadline=None)
@given(st.lists(items(), max_size=24), st.randoms(use_true_random=False))
def test_items_that_are_gathered_count_as_those_that_come_one_by_one(there, draw):
    gathering = Gathering(Survey())
    for item in there:
        gathering.add(item)
    gathering.done()
    gathered, single = gathering.survey, survey_of(there)
    draw.shuffle(there)

    for item in there:
        assert gathered.describe(STATED) == single.describe(STATED)
        assert gathered.stale == single.stale
        for survey in (gathered, single):
            survey.remove(item)


@settings(max_examples=60, deadline=None)
@given(items())
def test_a_survey_of_one_item_that_goes_again_is_empty(item):
    survey = survey_of([item])
    survey.remove(item)

    assert survey.to_text() == Survey().to_text()
    assert survey.describe(STATED) == STATED


def scene(number: int, **properties: Any) -> dict[str, Any]:
    return make_item(
        f"i{number}",
        "s",
        bbox=(number % 300 - 150, 0, number % 300 - 149, 1),
        datetime=f"20{number % 90 + 10}-01-{number // 90 % 28 + 1:02}T00:{number % 60:02}:00Z",
        properties=properties,
    )


def test_a_survey_is_bounded_whatever_comes():
    survey, draw = Survey(), random.Random(1)

    for number in range(3000):
        item = scene(number, id=f"unique-{number}", level=draw.random())
        item["assets"] = {f"a{number}": {"href": "x", "type": "image/tiff", "gsd": number}}
        survey.add(item)

    told = survey.describe(STATED)
    assert len(survey.to_text()) < 60_000
    assert "id" not in told["summaries"]
    assert "values" not in told["cube:dimensions"]["t"]
    assert len(told["item_assets"]) == 16


def test_of_many_items_many_may_go_before_a_survey_has_to_be_made_anew():
    there = [scene(number, id=f"unique-{number}", level=number % 7) for number in range(2000)]
    survey = survey_of(there)
    random.Random(2).shuffle(there)

    for _ in range(300):
        survey.remove(there.pop())

    assert not survey.stale
    assert survey.describe(STATED) == survey_of(there).describe(STATED)


def test_a_replaced_item_leaves_no_trace():
    survey = survey_of([scene(1, cloud=3), scene(2, cloud=90)])

    survey.replace(scene(2, cloud=90), scene(2, cloud=20))

    assert survey.summaries() == {"cloud": {"minimum": 3, "maximum": 20}}


def test_a_survey_in_doubt_is_stale_rather_than_wrong():
    east = make_item("e", "s", bbox=(170, 0, 175, 1), datetime="2020-01-01")
    across = make_item("a", "s", bbox=(179, 0, -179, 1), datetime="2020-01-01")
    never = make_item("n", "s", bbox=(0, 0, 1, 1), datetime="2021-01-01")

    survey = survey_of([east, across, east])
    survey.remove(east)
    assert survey.stale

    survey = survey_of([east, east])
    survey.remove(never)
    assert survey.stale
    survey.add(east)
    assert json.loads(survey.to_text()) == {"stale": True}
    assert Survey.of_text(survey.to_text()).stale


def test_a_survey_that_another_version_wrote_is_made_anew():
    assert Survey.of_text('{"version": 0, "count": 1}').stale


def test_what_has_no_place_or_time_is_passed_over():
    survey = Survey()

    survey.add({"id": "a", "bbox": None, "properties": {"datetime": "2020-01-01"}})
    survey.add({"id": "b", "bbox": [0, 0, 1, 1], "properties": {"datetime": "soon"}})

    assert survey.count == 0


def test_gaps_are_found_between_very_many_places():
    survey = Survey()

    for number in range(4000):
        west = -180 + number * 0.08
        survey.add(make_item("a", "s", bbox=(west, 0, west + 0.01, 1), datetime="2020-01-01"))
    survey.add(make_item("a", "s", bbox=(170, 0, -180 + 1e-9, 1), datetime="2020-01-01"))

    west, _, east, _ = survey.bbox()
    assert (west, east) == (170, pytest.approx(-180 + 3999 * 0.08 + 0.01))
    assert len(survey.spans.starts) <= 512


@given(st.lists(st.integers(0, 12)), st.data())
def test_counts_know_all_values_or_that_they_do_not(values, data):
    listed, least = Counted(3, 5), Least(5)
    there = list(values)
    for value in values:
        listed.add(value)
        least.add(value)
    gone = data.draw(st.lists(st.sampled_from(there), max_size=len(there))) if there else []
    try:
        for value in gone:
            if value in there:
                there.remove(value)
                listed.remove(value)
                least.remove(value)
    except Lost:
        return

    distinct = sorted(set(there))
    assert listed.listed() == (distinct if len(distinct) <= 3 else None)
    assert (min(least.counts) if least.counts else None) == (distinct[0] if distinct else None)
