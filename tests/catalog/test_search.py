"""Searches against a brute-force evaluation in plain Python."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from operator import eq, ge, gt, le, lt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrazzo.catalog import PropertyFilter, make_collection, open_catalog, position
from terrazzo.errors import ArgumentInvalid, CollectionNotFound, TemporalExtentEmpty
from terrazzo.geo.times import format_time

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
NAMES = ["cloud", "", 'a"b', "$.x", "'; DROP TABLE item; --", "back\\slash", "50%", "ü", "\x1f"]

longitudes = st.integers(-18, 18).map(lambda n: 10.0 * n)
latitudes = st.tuples(st.integers(-9, 9), st.integers(-9, 9)).map(sorted)
hours = st.integers(0, 60)
values = st.one_of(
    st.integers(-3, 3),
    st.floats(-2, 2),
    st.sampled_from([0.1, 0.1 + 1e-16, 1e300, 5e-324, 2**70, "1", "a", "b", "", "ü", True, False]),
)


def time_of(hour: int) -> str:
    return format_time(EPOCH + timedelta(hours=hour))


@st.composite
def boxes(draw):
    (south, north), west, east = draw(latitudes), draw(longitudes), draw(longitudes)
    return [west, 10.0 * south, east, 10.0 * north]


@st.composite
def items(draw):
    start, length = draw(hours), draw(st.integers(-10, 20))
    times = {"datetime": time_of(start)}
    if length > 0:
        times = {
            "datetime": None,
            "start_datetime": time_of(start),
            "end_datetime": time_of(start + length),
        }
    extra = draw(st.dictionaries(st.sampled_from(NAMES), values, max_size=3))
    return {
        "type": "Feature",
        "id": draw(st.sampled_from("abcdefgh")) + draw(st.sampled_from(["", "'", '"', "%"])),
        "collection": draw(st.sampled_from(["one", "two"])),
        "bbox": draw(boxes()),
        "geometry": None,
        "properties": {**extra, **times},
    }


@st.composite
def conditions(draw):
    name, operator = (
        draw(st.sampled_from(NAMES)),
        draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "in", "between"])),
    )
    if operator == "in":
        return PropertyFilter(name, operator, tuple(draw(st.lists(values, max_size=3))))
    ordered = values.filter(lambda value: not isinstance(value, bool))
    if operator == "between":
        low = draw(ordered)
        high = draw(ordered.filter(lambda v: isinstance(v, str) == isinstance(low, str)))
        return PropertyFilter(name, operator, (low, high))
    return PropertyFilter(name, operator, draw(values if operator in "!=" else ordered))


def kind(value):
    return "n" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value)


def brute_condition(condition: PropertyFilter, item) -> bool:
    if condition.name not in item["properties"]:
        return False
    found, value, operator = item["properties"][condition.name], condition.value, condition.operator
    if found is None:
        return False
    if operator == "in":
        return any(kind(found) == kind(v) and found == v for v in value)
    if operator == "between":
        return kind(found) == kind(value[0]) and value[0] <= found <= value[1]
    if operator == "!=":
        return kind(found) != kind(value) or found != value
    compare = {"=": eq, "<": lt, "<=": le, ">": gt, ">=": ge}[operator]
    return kind(found) == kind(value) and compare(found, value)


def spans(bbox) -> list[tuple[float, float]]:
    west, _, east, _ = bbox
    return [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]


def brute_space(item, bbox) -> bool:
    if bbox is None:
        return True
    mine, theirs = item["bbox"], bbox
    in_latitude = mine[1] <= theirs[3] and theirs[1] <= mine[3]
    return in_latitude and any(
        a[0] <= b[1] and b[0] <= a[1] for a in spans(mine) for b in spans(theirs)
    )


def start_of(item) -> str:
    return item["properties"]["datetime"] or item["properties"]["start_datetime"]


def brute_time(item, start, end) -> bool:
    if item["properties"]["datetime"]:
        instant = item["properties"]["datetime"]
        return (start is None or start <= instant) and (end is None or instant < end)
    first, last = item["properties"]["start_datetime"], item["properties"]["end_datetime"]
    return (end is None or first < end) and (start is None or last > start)


@settings(max_examples=120)
@given(
    content=st.lists(items(), max_size=30),
    collections=st.sampled_from([(), ("one",), ("two", "one")]),
    bbox=st.none() | boxes(),
    interval=st.tuples(st.none() | hours, st.none() | hours),
    ids=st.just(()) | st.lists(st.sampled_from(["a", "b'", 'c"', "zz", "a"]), max_size=3),
    filters=st.lists(conditions(), max_size=2),
    newest=st.booleans(),
    limit=st.none() | st.integers(0, 5),
    page=st.integers(1, 3),
)
def test_search_equals_a_brute_force_evaluation(
    module_address, content, collections, bbox, interval, ids, filters, newest, limit, page
):
    if None not in interval:
        interval = (min(interval), max(interval) + 1)
    start, end = (None if hour is None else time_of(hour) for hour in interval)
    stored = {(item["collection"], item["id"]): item for item in content}
    order = ["one", "two"]
    expected = sorted(
        (
            item
            for item in stored.values()
            if item["collection"] in (collections or order)
            and brute_space(item, bbox)
            and brute_time(item, start, end)
            and (not ids or item["id"] in ids)
            and all(brute_condition(condition, item) for condition in filters)
        ),
        key=lambda item: (start_of(item), item["id"], order.index(item["collection"])),
        reverse=newest,
    )

    with open_catalog(module_address) as catalog, pytest.MonkeyPatch.context() as patch:
        patch.setattr("terrazzo.catalog.store._FIRST_KEYS", page)
        patch.setattr("terrazzo.catalog.pgstac._FIRST_KEYS", page)
        for name in order:
            catalog.put_collection(make_collection(name))
            catalog.delete_items(name, [i["id"] for i in catalog.search((name,))])
        catalog.put_items(content, batch=7)
        arguments = {
            "bbox": bbox,
            "interval": (start, end),
            "ids": ids,
            "properties": filters,
            "sort": "-datetime" if newest else "datetime",
        }
        found = list(catalog.search(collections, **arguments, limit=limit))
        whole = list(catalog.search(collections, **arguments))
        half = whole[: len(whole) // 2]
        rest = catalog.search(collections, **arguments, after=position(half[-1])) if half else whole

        assert whole == expected
        assert found == expected[:limit]
        assert half + list(rest) == expected


def scene(name: str, west: float, east: float, **fields: object):
    return {
        "id": name,
        "collection": "s",
        "bbox": [west, 0.0, east, 10.0],
        "geometry": None,
        "properties": {"datetime": "2020-01-01T00:00:00Z"},
        **fields,
    }


@pytest.fixture
def catalog(address):
    with open_catalog(address) as opened:
        opened.put_collection(make_collection("s"))
        yield opened


def ids_of(found) -> list[str]:
    return [item["id"] for item in found]


def test_the_geometry_decides_where_the_box_only_proposes(catalog):
    triangle = {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [0, 10], [0, 0]]]}
    catalog.put_items([scene("t", 0.0, 10.0, geometry=triangle)])

    assert ids_of(catalog.search(bbox=(9, 9, 10, 10))) == []
    assert ids_of(catalog.search(bbox=(1, 1, 2, 2))) == ["t"]
    assert ids_of(catalog.search(intersects={"type": "Point", "coordinates": [4, 4]})) == ["t"]
    assert ids_of(catalog.search(intersects={"type": "Point", "coordinates": [6, 6]})) == []


def test_polygons_drawn_across_the_antimeridian_are_found_on_both_sides(catalog):
    naive = [[[179, 0], [-179, 0], [-179, 10], [179, 10], [179, 0]]]
    beyond = [[[179, 0], [181, 0], [181, 10], [179, 10], [179, 0]]]
    catalog.put_items(
        [
            scene("a", 179.0, -179.0, geometry={"type": "Polygon", "coordinates": naive}),
            scene("b", 179.0, -179.0, geometry={"type": "Polygon", "coordinates": beyond}),
            scene("c", 179.0, 181.0),
        ]
    )

    for bbox in ((179.2, 1, 179.3, 2), (-179.3, 1, -179.2, 2), (180.7, 1, 180.8, 2)):
        assert ids_of(catalog.search(bbox=bbox)) == ["a", "b", "c"]
    assert ids_of(catalog.search(bbox=(0, 1, 1, 2))) == []
    across = {"type": "Polygon", "coordinates": [[[175, 1], [185, 1], [185, 2], [175, 1]]]}
    cut = {
        "type": "MultiPolygon",
        "coordinates": [
            [[[178, 1], [180, 1], [180, 2], [178, 1]]],
            [[[-180, 1], [-178, 1], [-180, 2], [-180, 1]]],
        ],
    }
    assert ids_of(catalog.search(intersects=across)) == ["a", "b", "c"]
    assert ids_of(catalog.search(intersects=cut)) == ["a", "b", "c"]


def test_longitudes_from_0_to_360_mean_the_same_places(catalog):
    catalog.put_items([scene("west", -20.0, -10.0)])

    assert ids_of(catalog.search(bbox=(345, 1, 346, 2))) == ["west"]


def test_a_long_period_is_found_by_an_interval_far_inside_it(catalog):
    times = {
        "datetime": None,
        "start_datetime": "2000-01-01T00:00:00Z",
        "end_datetime": "2030-01-01T00:00:00Z",
    }
    catalog.put_items([scene("long", 0, 1, properties=times), scene("now", 0, 1)])

    assert ids_of(catalog.search(("s",), interval=("2015-01-01", "2015-01-02"))) == ["long"]
    assert ids_of(catalog.search(("s",), interval=("2030-01-01", None))) == []


def test_more_items_than_a_page_come_once_each_and_in_order(catalog):
    catalog.put_items(scene(f"{n:05d}", 0, 1) for n in range(1000))

    assert ids_of(catalog.search(bbox=(0, 0, 1, 1))) == [f"{n:05d}" for n in range(1000)]


def test_items_may_be_put_while_a_search_is_read(catalog):
    catalog.put_items(scene(f"{n:05d}", 0, 1) for n in range(500))

    found = []
    for item in catalog.search(("s",)):
        found.append(item["id"])
        catalog.put_items([item])

    assert found == [f"{n:05d}" for n in range(500)]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"bbox": (0, 0, 1)}, ArgumentInvalid, "four finite numbers"),
        ({"bbox": (0, 0, float("nan"), 1)}, ArgumentInvalid, "four finite numbers"),
        ({"bbox": (0, 5, 1, 1)}, ArgumentInvalid, "ascend"),
        ({"bbox": (0, 0, 1, 1), "intersects": {}}, ArgumentInvalid, "not both"),
        ({"intersects": {"type": "Blob"}}, ArgumentInvalid, "GeoJSON"),
        ({"intersects": {"type": "Polygon", "coordinates": []}}, ArgumentInvalid, "empty"),
        ({"interval": ("2020-01-02", "2020-01-01")}, TemporalExtentEmpty, "no instant"),
        ({"interval": ("soon", None)}, ArgumentInvalid, "not a time"),
        ({"limit": -1}, ArgumentInvalid, "limit"),
        ({"sort": ()}, ArgumentInvalid, "sort"),
        ({"ids": "abc"}, ArgumentInvalid, "ids"),
        ({"properties": (("a", "=", 1),)}, ArgumentInvalid, "PropertyFilter"),
        ({"collections": "s"}, ArgumentInvalid, "write"),
        ({"collections": ("S",)}, CollectionNotFound, "Collections here: s"),
        ({"after": ("2020-01-01", "a", "b")}, ArgumentInvalid, "does not cover"),
    ],
)
def test_wrong_arguments_are_refused_before_the_first_item(catalog, arguments, error, words):
    with pytest.raises(error, match=words):
        catalog.search(**arguments)


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("~", 1),
        ("=", (1, 2)),
        ("in", 1),
        ("between", (1, "a")),
        ("between", (1,)),
        ("<", True),
        ("=", None),
        ("=", float("nan")),
        ("=", "\ud800"),
    ],
)
def test_a_filter_refuses_values_that_its_operator_cannot_compare(operator, value):
    with pytest.raises(ArgumentInvalid, match="cloud"):
        PropertyFilter("cloud", operator, value)


def test_hostile_names_and_ids_are_only_texts(catalog):
    hostile = ["'; DROP TABLE item; --", '$.x"', 'a" OR 1=1', "%", "\ud800", "a\x00b", "][", "*"]
    catalog.put_items([scene(name, 0, 1, properties={
        "datetime": "2020-01-01", name: 1}) for name in hostile[:4]])  # fmt: skip

    for name in hostile:
        expected = [name] if name in hostile[:4] else []
        assert ids_of(catalog.search(ids=(name,))) == expected
        if name != "\ud800":
            assert ids_of(catalog.search(properties=(PropertyFilter(name, "=", 1),))) == expected
    assert catalog.count("s") == 4
