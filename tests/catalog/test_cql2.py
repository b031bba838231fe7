"""CQL2: the text against another parser, the meaning against plain Python, the SQL against both."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from functools import cmp_to_key

import cql2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrazzo.catalog import Catalog, Filter, make_collection, open_catalog, position
from terrazzo.catalog.cql2_operators import OPERATORS, is_like
from terrazzo.catalog.cql2_text import json_of
from terrazzo.errors import ArgumentInvalid, FilterInvalid

START = datetime(2024, 1, 1, tzinfo=UTC)
TEXTS = ["", "a", "B", "é", "it's", "100%", "x_y", "2024-01-02T00:00:00Z"]
NAMES = ["cloud", "eo:cloud_cover", "name", "weird \"name'", "flag", "tags"]


def time_of(day: int) -> str:
    return (START + timedelta(days=day)).strftime("%Y-%m-%dT%H:%M:%SZ")


# the text


@pytest.mark.parametrize(
    "text",
    [
        "eo:cloud_cover < 20 AND platform = 'sentinel-2a'",
        "a = 1 or b = 2 and not c = 3",
        "not (a = 1 or b = 2) and c <> -3.5e2",
        "a between -1 and 2 and b not between 3 and 4",
        "a in (1) or b not in ('x', 'it''s')",
        "a like 'x%' and b not like '_y'",
        "a is null or b is not null",
        "casei(a) = casei('B') and accenti(b) = 'e'",
        "a + 1 > b * 2 - 3 / c",
        "a div 2 = 1 and b % 3 = 2 and c ^ 2 > 1",
        "-a < 3",
        "(a + 1) * 2 = 3",
        "a-1 = 2",
        '"weird name" = true',
        "s_intersects(geometry, POINT(1 -2))",
        "s_within(geometry, POLYGON((0 0, 1 0, 1 1, 0 0), (0.1 0.1, 0.2 0.1, 0.2 0.2, 0.1 0.1)))",
        "S_INTERSECTS(geometry, MULTIPOINT((1 2), (3 4)))",
        "s_crosses(geometry, LINESTRING(0 0, 1.5 1))",
        "s_touches(geometry, MULTILINESTRING((0 0, 1 1), (2 2, 3 3)))",
        "s_overlaps(geometry, MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5))))",
        "s_equals(geometry, GEOMETRYCOLLECTION(POINT(1 2), LINESTRING(1 2, 3 4)))",
        "s_intersects(geometry, POINT Z (1 2 3))",
        "s_disjoint(geometry, BBOX(170, -10, -170, 10))",
        "datetime >= TIMESTAMP('2024-01-01T00:00:00Z')",
        "t_after(datetime, DATE('2024-01-01'))",
        "t_during(datetime, INTERVAL('2024-01-01', '..'))",
        "t_intersects(INTERVAL(start_datetime, end_datetime), INTERVAL('..', '2024-01-01'))",
        "a_contains(tags, ('x', 'y'))",
        "android = 1 and oreo = 2 and notable = 3",
    ],
)
def test_text_is_read_as_another_parser_reads_it(text):
    expected = cql2.parse_text(text).to_json()

    assert json_of(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "a =", "a = 1)", "((a = 1)", "a = 1 AND", "a 1", "a = 'x", "POINT(1 2", "a in 3", "= 3"],
)
def test_what_is_no_text_is_refused_with_the_place(text):
    with pytest.raises(FilterInvalid, match="character"):
        Filter.of(text)


@pytest.mark.parametrize(
    "text",
    [
        "not " * 20_000 + "a = 1",
        "(" * 30_000 + "a = 1" + ")" * 29_999,
        "a = " + "-" * 90_000 + "b",
        "+".join(["a"] * 40_000) + " = 1",
        "f(" * 30_000 + "a" + ")" * 30_000 + " = 1",
        " and ".join(["a = 1"] * 9_000),
        "a = 1" + " " * 200_000,
    ],
)
def test_no_text_is_deep_enough_to_end_the_process(text):
    with pytest.raises(FilterInvalid):
        Filter.of(text)


def test_brackets_may_stand_in_brackets():
    assert json_of("(" * 30_000 + "a = 1" + ")" * 30_000) == json_of("a = 1")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "no part"),
        ([], "no truth value"),
        (None, "isNull"),
        (3, "no truth value"),
        ({"op": "foo", "args": []}, "Known are"),
        ({"op": "and"}, "args"),
        ({"op": ["and"], "args": []}, "operator"),
        ({"op": "=", "args": [{"property": "a"}]}, "2 operands"),
        ({"op": "=", "args": [{"property": "a"}, None]}, "isNull"),
        ({"op": "=", "args": [{"property": "a"}, float("inf")]}, "finite"),
        ({"op": "=", "args": [{"property": "a\0"}, 1]}, "name"),
        ({"op": "=", "args": [{"property": "a"}, "\0"]}, "text"),
        ({"op": "=", "args": [{"property": "a"}, "\ud800"]}, "text"),
        ({"op": "=", "args": [{"property": 3}, 1]}, "no part"),
        ({"op": "and", "args": [1, 2]}, "number"),
        ({"op": "not", "args": [{"op": "+", "args": [1, 2]}]}, "number"),
        ({"op": "+", "args": [1, 2]}, "no truth value"),
        ({"op": "<", "args": [True, False]}, "truth"),
        ({"op": "s_intersects", "args": [{"property": "geometry"}, 3]}, "place"),
        ({"op": "s_intersects", "args": [{"property": "geometry"}, {"type": "Blob"}]}, "GeoJSON"),
        ({"op": "t_after", "args": [{"property": "datetime"}, {"timestamp": "soon"}]}, "soon"),
        ({"op": "t_after", "args": [{"property": "datetime"}, {"interval": ["2024"]}]}, "two"),
        ({"op": "in", "args": [{"property": "a"}, [{"property": "b"}]]}, "plain values"),
        ({"op": "in", "args": [{"property": "a"}, {"timestamp": "2024-01-01"}]}, "list"),
    ],
)
def test_what_is_no_filter_is_refused_in_words(document, words):
    with pytest.raises(ArgumentInvalid, match=words):
        Filter.of({"op": "not", "args": [document]} if document is None else document)


# the meaning


def item_of(known: str, day: int = 0, west: float = 0.0, /, **properties: object):
    return {
        "id": known,
        "collection": "s",
        "bbox": [west, 0.0, west + 1, 1.0],
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[west, 0], [west + 1, 0], [west + 1, 1], [west, 1], [west, 0]]],
        },
        "properties": {"datetime": time_of(day), **properties},
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1", True),
        ("properties.a = 1", True),
        ("a = '1'", False),
        ("a <> '1'", True),
        ("a < '1'", False),
        ("not a < '1'", False),
        ("missing = 1", False),
        ("missing <> 1", False),
        ("not missing = 1", False),
        ("missing is null", True),
        ("missing = 1 or a = 1", True),
        ("missing = 1 and a = 1", False),
        ("not (missing = 1 and a = 2)", True),
        ("flag", True),
        ("not flag", False),
        ("flag = true", True),
        ("a in (1, 'x')", True),
        ("missing not in (1, 2)", False),
        ("a between 0 and 1", True),
        ("a + 1 = 2 and a - 1 = 0 and 2 * a = 2 and a / 2 = 0.5", True),
        ("a / 0 = 1 or not a / 0 = 1", False),
        ("7 div 2 = 3 and -7 div 2 = -3 and 7 % 4 = 3 and 2 ^ 3 = 8", True),
        ("10 ^ 10 ^ 10 > 1", False),
        ("name like 'Sent%' and name like '_entinel-2' and name not like 's%'", True),
        ("casei(name) = casei('SENTINEL-2')", True),
        ("accenti(city) = 'Zurich'", True),
        ("id = 'one' and collection = 's'", True),
        ("datetime = TIMESTAMP('2024-01-03T01:00:00+01:00')", True),
        ("datetime < '2024-01-04' and datetime >= DATE('2024-01-03')", True),
        ("created < TIMESTAMP('2024-02-01T00:00:00Z')", True),
        ("t_during(datetime, INTERVAL('2024-01-01', '..'))", True),
        ("t_before(datetime, INTERVAL('2024-01-01', '..'))", False),
        ("t_intersects(datetime, INTERVAL('..', '2024-01-03'))", True),
        ("a_contains(tags, ('x')) and not a_contains(tags, ('z'))", True),
        ("a_contains(tags, ('x', 'y'))", True),
        ("a_containedby(tags, ('x', 'y', 'z'))", True),
        ("a_overlaps(tags, ('z', 'y'))", True),
        ("a_equals(tags, ('y', 'x'))", True),
        ("s_intersects(geometry, POINT(0.5 0.5))", True),
        ("s_within(geometry, BBOX(-1, -1, 2, 2))", True),
        ("s_contains(geometry, POINT(0.5 0.5)) and s_disjoint(geometry, POINT(5 5))", True),
        ("s_touches(geometry, POINT(0 0)) and not s_equals(geometry, POINT(0 0))", True),
    ],
)
def test_filters_mean_what_the_standard_says(text, expected):
    item = item_of(
        "one", 2, a=1, flag=True, name="Sentinel-2", city="Zürich", tags=["x", "y"],
        created="2024-01-20T00:00:00Z",
    )  # fmt: skip

    assert Filter.of(text).accepts(item) is expected


def test_json_and_text_mean_the_same():
    text = "eo:cloud_cover < 20 and s_intersects(geometry, POINT(1 2))"

    assert Filter.of(json_of(text)).accepts(item_of("a", **{"eo:cloud_cover": 3})) is Filter.of(
        text
    ).accepts(item_of("a", **{"eo:cloud_cover": 3}))


@given(
    text=st.text("ab%_é", max_size=12),
    pattern=st.text("ab%_\\é", max_size=8).filter(lambda p: not p.endswith("\\")),
)
def test_like_equals_a_regular_expression(text, pattern):
    parts = re.findall(r"\\.|.", pattern)
    wild = {"%": ".*", "_": "."}
    expression = "".join(wild.get(part, re.escape(part[-1])) for part in parts)

    assert is_like(text, pattern) is bool(re.fullmatch(expression, text, re.DOTALL))


def test_a_pattern_of_a_stranger_costs_little():
    assert not is_like("a" * 20_000, "%a" * 2_000 + "b")
    assert not is_like("a" * 1_000_000, "%" + "a" * 400_000 + "b%")


def test_a_long_pattern_with_gaps_is_refused():
    with pytest.raises(ArgumentInvalid, match="may have 200"):
        is_like("a" * 1000, "%" + "_a" * 101 + "%")


def test_every_operator_is_known_to_the_tests_of_random_filters():
    drawn = {"interval", "isNull", "like", "casei", "accenti", "between", "in"}
    drawn |= {"and", "or", "not", "=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/"}
    other = {"div", "%", "^"} | {name for name in OPERATORS if name[:2] in {"s_", "t_", "a_"}}

    assert drawn | other == set(OPERATORS)


# the search

VALUES = st.one_of(
    st.integers(-3, 3),
    st.floats(-3, 3).map(lambda x: round(x, 2)),
    st.sampled_from(TEXTS),
    st.booleans(),
)


@st.composite
def items(draw):
    properties = draw(
        st.dictionaries(st.sampled_from(NAMES), st.one_of(VALUES, st.none()), max_size=4)
    )
    if draw(st.booleans()):
        properties["tags"] = draw(st.lists(st.sampled_from("xyz"), max_size=2))
    item = item_of("?", draw(st.integers(0, 6)), draw(st.sampled_from([-180.0, 0.0, 0.5, 179.5])))
    if draw(st.booleans()):
        day = draw(st.integers(0, 6))
        item["properties"] |= {
            "datetime": None,
            "start_datetime": time_of(day),
            "end_datetime": time_of(day + draw(st.integers(0, 3))),
        }
    item["properties"] |= properties
    return item


def comparisons():
    scalars = st.one_of(
        VALUES.map(lambda v: v),
        st.integers(0, 6).map(lambda day: {"timestamp": time_of(day)}),
    )
    names = st.sampled_from([*NAMES, "id", "collection", "datetime"]).map(
        lambda name: {"property": name}
    )
    plain = st.builds(
        lambda sign, pair, swap: {"op": sign, "args": list(pair[::-1] if swap else pair)},
        st.sampled_from(["=", "<>", "<", "<=", ">", ">="]),
        st.tuples(names, scalars),
        st.booleans(),
    )
    numbers = st.builds(
        lambda sign, name, a, b: {
            "op": ">",
            "args": [{"op": sign, "args": [{"property": name}, a]}, b],
        },
        st.sampled_from(["+", "-", "*", "/"]),
        st.sampled_from(NAMES),
        st.integers(-2, 2),
        st.integers(-2, 2),
    )
    among = st.builds(
        lambda name, values: {"op": "in", "args": [{"property": name}, values]},
        st.sampled_from([*NAMES, "id"]),
        st.lists(VALUES, max_size=3),
    )
    between = st.builds(
        lambda name, low, high: {"op": "between", "args": [{"property": name}, low, high]},
        st.sampled_from(NAMES),
        st.integers(-3, 3),
        st.integers(-3, 3),
    )
    like = st.builds(
        lambda fold, name, pattern: {
            "op": "like",
            "args": [
                {"op": fold, "args": [{"property": name}]} if fold else {"property": name},
                pattern,
            ],
        },
        st.sampled_from(["", "casei", "accenti"]),
        st.sampled_from(["name", "id"]),
        st.sampled_from(["%", "a", "_", "%a%", "B%"]),
    )
    null = st.sampled_from(NAMES).map(lambda n: {"op": "isNull", "args": [{"property": n}]})
    place = st.builds(
        lambda relation, west: {
            "op": relation,
            "args": [{"property": "geometry"}, {"bbox": [west, 0.25, west + 0.5, 0.5]}],
        },
        st.sampled_from([name for name in OPERATORS if name.startswith("s_")]),
        st.sampled_from([-180.0, -179.75, 0.0, 0.75, 1.0, 179.5]),
    )
    time = st.builds(
        lambda relation, day, length: {
            "op": relation,
            "args": [
                {"property": "datetime"},
                {"interval": [time_of(day), time_of(day + length)]},
            ],
        },
        st.sampled_from([name for name in OPERATORS if name.startswith("t_")]),
        st.integers(0, 6),
        st.integers(0, 3),
    )
    tags = st.builds(
        lambda relation, values: {"op": relation, "args": [{"property": "tags"}, values]},
        st.sampled_from([name for name in OPERATORS if name.startswith("a_")]),
        st.lists(st.sampled_from("xyz"), max_size=2),
    )
    return st.one_of(plain, numbers, among, between, like, null, place, time, tags).filter(_valid)


def _valid(document) -> bool:
    try:
        Filter.of(document)
    except FilterInvalid:
        return False
    return True


FILTERS = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.builds(
            lambda op, args: {"op": op, "args": args},
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
        inner.map(lambda one: {"op": "not", "args": [one]}),
    ),
    max_leaves=5,
)


def filled(address: str, found) -> Catalog:
    """Return a catalogue that holds these items only."""
    catalog = open_catalog(address)
    catalog.put_collection(make_collection("s"))
    catalog.delete_items("s", [item["id"] for item in catalog.search()])
    catalog.put_items(item | {"id": f"item{n}"} for n, item in enumerate(found))
    return catalog


@settings(max_examples=100, deadline=None)
@given(found=st.lists(items(), min_size=1, max_size=8), filters=st.lists(FILTERS, max_size=12))
def test_a_search_finds_exactly_what_the_filter_accepts(module_address, found, filters):
    with filled(module_address, found) as catalog:
        stored = list(catalog.search())

        for document in filters:
            condition = Filter.of(document)
            expected = [item["id"] for item in stored if condition.accepts(item)]

            assert [item["id"] for item in catalog.search(filter=document)] == expected, document


def brute_key(item, name: str):
    if name == "datetime":
        times = item["properties"]
        return (0, 0, times["datetime"] or times["start_datetime"])
    value = item[name] if name in {"id", "collection"} else item["properties"].get(name)
    if value is None or isinstance(value, list):
        return (1, 0, 0)
    return (0, 1, value) if isinstance(value, str) else (0, 0, float(value))


@settings(max_examples=80, deadline=None)
@given(
    found=st.lists(items(), min_size=1, max_size=8),
    names=st.lists(
        st.sampled_from([*NAMES, "id", "datetime"]), min_size=1, max_size=3, unique=True
    ),
    down=st.lists(st.booleans(), min_size=3, max_size=3),
    page=st.integers(1, 4),
)
def test_items_come_in_the_order_asked_for_and_in_pages(module_address, found, names, down, page):
    sort = tuple("-" * d + name for name, d in zip(names, down, strict=False))

    def compare(one, other) -> int:
        for name, reverse in [*zip(names, down, strict=False), ("id", down[0])]:
            a, b = brute_key(one, name), brute_key(other, name)
            if a != b:
                return (1 if a > b else -1) * (-1 if reverse else 1)
        return 0

    with filled(module_address, found) as catalog:
        expected = sorted(catalog.search(), key=cmp_to_key(compare))

        pages, after = [], None
        while True:
            part = list(catalog.search(sort=sort, limit=page, after=after))
            pages += part
            if len(part) < page:
                break
            after = position(part[-1], sort)

    assert [item["id"] for item in pages] == [item["id"] for item in expected]


@pytest.mark.parametrize(
    ("sort", "after"),
    [
        ("cloud", ("[]", "a", "s")),
        ("cloud", ("{", "a", "s")),
        ("cloud", ("1", "a")),
        ("cloud", ("1", "a", "other")),
        ("datetime", ("soon", "a", "s")),
        ("cloud", ('"\\u0000"', "a", "s")),
    ],
)
def test_a_position_of_a_stranger_is_refused(module_address, sort, after):
    with filled(module_address, [item_of("a")]) as catalog, pytest.raises(ArgumentInvalid):
        catalog.search(sort=sort, after=after)


@pytest.mark.parametrize(
    "name",
    ["x') OR 1=1 --", 'x"."y', "$.x", "x\\", "%", "a' OR 'a'='a", "[0]", "x;DROP TABLE item"],
)
def test_names_of_strangers_are_only_names(module_address, name):
    with filled(module_address, [item_of("a", **{name: 1}), item_of("b", **{name: 2})]) as catalog:
        asked = {"op": "=", "args": [{"property": name}, 1]}

        assert [item["id"] for item in catalog.search(filter=asked)] == ["item0"]
        assert [item["id"] for item in catalog.search(sort=f"-{name}")] == ["item1", "item0"]
        assert json.dumps(asked)


def test_between_is_read_as_drafts_of_the_standard_had_it() -> None:
    one = {"property": "eo:cloud_cover"}

    draft = Filter.of({"op": "between", "args": [one, [10, 20]]})

    assert draft == Filter.of({"op": "between", "args": [one, 10, 20]})
    for wrong in ([one, [10]], [one, 10], [one, [1, 2, 3]], [one, [10, 20], 30, 40]):
        with pytest.raises(FilterInvalid):
            Filter.of({"op": "between", "args": wrong})
