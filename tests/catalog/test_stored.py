"""Items served unread: the text with marks becomes what was put, and what a dictionary becomes."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from terrazzo.catalog import StoredItem
from terrazzo.catalog.packing import DAMAGED, dictionary_of, packed, unpacked

HERE = 'https://example.com/"stac"/collections/c/items/i'
LINKS = [{"rel": "self", "href": HERE}, {"rel": "root", "href": "https://example.com/"}]
OURS = ("self", "root", "parent", "collection", "items")
AWAY = ("http://", "https://", "s3://")

# Everything that JSON holds: control characters, quotes, backslashes, numbers beyond 64 bits.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
odd = st.sampled_from(
    ["\x01a\x02b\x03", "\x04/assets/\x05", "\x06", '"', "\\", "terrazzo:x", "ü", "/", "null", ""]
)
words = texts | odd
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
hrefs = st.sampled_from(
    ["https://a.org/x.tif", "http://a", "s3://b/c", "/data/x.tif", "x\x01.tif", "HTTP://x", ""]
)
names = words | st.sampled_from(["terrazzo:own", "title", "type", "roles"])
assets = st.fixed_dictionaries(
    {}, optional={"href": hrefs | values, "terrazzo:kept": values, "title": values}
) | st.dictionaries(names, values, max_size=3)
links = st.fixed_dictionaries(
    {"rel": st.sampled_from([*OURS, "license", "derived_from", None])},
    optional={"href": hrefs | values, "title": words},
)
members = st.fixed_dictionaries(
    {"id": words, "collection": words},
    optional={
        "type": st.just("Feature"),
        "stac_version": st.sampled_from(["1.0.0", "1.1.0"]),
        "stac_extensions": st.lists(words, max_size=2),
        "properties": st.dictionaries(names, values, max_size=4),
        "assets": st.dictionaries(words, assets | values, max_size=4)
        | st.dictionaries(words, assets, max_size=4)
        | values,
        "links": st.lists(links | values, max_size=5) | values,
        "terrazzo:file": values,
    },
)
items = st.tuples(members, st.dictionaries(names, values, max_size=3)).map(
    lambda pair: {**pair[1], **pair[0]}
)


def signed(key: str) -> str:
    return f"?key={len(key)}"


def is_away(thing: dict[str, Any]) -> bool:
    return isinstance(thing.get("href"), str) and thing["href"].startswith(AWAY)


def served(item: dict[str, Any], *, restricted: bool) -> dict[str, Any]:
    """Say with dictionaries what others are to see of an item."""
    stored = item.get("links")
    kept = [
        link
        for link in (stored if isinstance(stored, list) else [])
        if isinstance(link, dict) and link.get("rel") not in OURS and is_away(link)
    ]
    told = {key: value for key, value in item.items() if not key.startswith("terrazzo:")}
    told.setdefault("stac_version", "1.1.0")
    told.setdefault("stac_extensions", [])
    told["links"] = [*LINKS, *kept]
    assets = item.get("assets")
    told["assets"] = {}
    for key, asset in (assets if isinstance(assets, dict) else {}).items():
        if not isinstance(asset, dict):
            continue
        shown = {name: value for name, value in asset.items() if not name.startswith("terrazzo:")}
        if not is_away(asset):
            shown["href"] = f"{HERE}/assets/{quote(key, safe='')}" + restricted * signed(key)
        told["assets"][key] = shown
    return told


@given(item=items, restricted=st.booleans())
@example(item={"id": "a", "collection": "c", "assets": {"b": {}}, "links": []}, restricted=True)
@example(item={"id": "a", "collection": "c", "assets": {"b": {"terrazzo:x": 1}}}, restricted=False)
@example(
    item={
        "id": "a",
        "collection": "c",
        "assets": {"b": 1, "c": {"href": "/x", "terrazzo:y": "\x02"}},
    },
    restricted=True,
)
def test_what_is_served_equals_what_dictionaries_say(item: dict[str, Any], restricted: bool):
    own = ",".join(json.dumps(link) for link in LINKS).encode()

    stored = StoredItem.of(item)

    assert json.loads(stored.plain()) == item
    assert stored.document() == item
    shown = stored.served(HERE, own, signed if restricted else None)
    assert json.loads(shown) == served(item, restricted=restricted)
    assert (stored.collection, stored.id) == (item["collection"], item["id"])


@given(item=items)
def test_writing_what_was_read_gives_the_same_text(item: dict[str, Any]):
    stored = StoredItem.of(item)

    assert StoredItem.of(stored.document()) == stored


def test_an_item_of_addresses_is_passed_on_as_it_is():
    item = {
        "id": "a",
        "collection": "c",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "assets": {"b": {"href": "https://a.org/b.tif"}},
        "links": [{"rel": "license", "href": "https://a.org/license"}],
    }

    shown = json.loads(StoredItem.of(item).served(HERE, b'{"rel":"self"}'))

    assert shown == item | {"links": [{"rel": "self"}, *item["links"]]}


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**80), 10**300, 0.1, 1e-320, -0.0, 1e22])
def test_numbers_come_back_to_the_last_digit(number: float):
    item = {"id": "a", "collection": "c", "properties": {"n": number, "l": [number]}}

    found = StoredItem.of(item).document()["properties"]

    assert repr(found) == repr(item["properties"])


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "\ud800", b"raw", {1, 2}, [None, {"x": float("nan")}]]
)
def test_what_json_lacks_is_refused_and_never_becomes_null(value: object):
    with pytest.raises((TypeError, ValueError)):
        StoredItem.of({"id": "a", "collection": "c", "properties": {"n": value}})


@given(first=st.binary(max_size=300), text=st.binary(max_size=300))
def test_packed_texts_come_back_with_their_dictionary(first: bytes, text: bytes):
    dictionary = dictionary_of(first)

    assert unpacked(packed(text, dictionary), dictionary) == text
    assert unpacked(packed(text)) == text


def test_damaged_bytes_and_a_wrong_dictionary_are_told():
    dictionary = dictionary_of(b"a text that says something" * 10)
    body = packed(b"a text that says something else" * 10, dictionary)
    flipped = bytes([*body[:-1], body[-1] ^ 1])

    for damaged, known in ((flipped, dictionary), (body, b"another"), (body[:-6], dictionary)):
        with pytest.raises(DAMAGED):
            unpacked(damaged, known)
