"""Free text: the examples of the specification, a plain evaluator, and SQLite's text search."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pystac_client.free_text import sqlite_text_search

from terrazzo.catalog import Filter, make_collection, make_item, open_catalog
from terrazzo.catalog.free_text import DEEPEST, LONGEST, FreeText, texts_of, without_accents
from terrazzo.errors import ArgumentInvalid

WORDS = ("climate", "model", "quick", "brown", "fox", "sea", "ice")


def found(q: str | list[str], *texts: str) -> bool:
    return FreeText.of(q).accepts(texts)


# the examples of the specification


def test_a_term_is_found_wherever_it_stands() -> None:
    assert found("sentinel", "nothing", "Data of Sentinel-2, level 2A")
    assert not found("sentinel", "Landsat")


def test_a_phrase_stands_together() -> None:
    assert found('"climate model"', "a Climate\n  Model of the Earth")
    assert not found('"climate model"', "a model of the climate", "climate", "model")


def test_commas_and_or_are_alternatives() -> None:
    for q in ("EO,Earth Observation", "EO OR Earth Observation", ["EO", "Earth Observation"]):
        assert found(q, "all of eo")
        assert found(q, "earth observation")
        assert not found(q, "observation of the earth")


def test_and_wants_both() -> None:
    assert found("climate AND model", "climate", "model")
    assert not found("climate AND model", "climate")


def test_brackets_group() -> None:
    q = "(quick OR brown) AND fox"

    assert found(q, "quick fox")
    assert found(q, "fox, brown")
    assert not found(q, "quick brown")


def test_signs_include_and_exclude() -> None:
    q = "quick +brown -fox"

    assert found(q, "brown")
    assert found(q, "quick brown")
    assert not found(q, "quick")
    assert not found(q, "quick brown fox")


def test_not_excludes() -> None:
    assert found("climate NOT model", "climate")
    assert not found("climate NOT model", "climate model")
    assert found("NOT model", "climate")


# words


@pytest.mark.parametrize(
    "text", ["Sentinel-2", "sentinel 2", "SENTINEL2", "sentinel_2", "Séntinel-2"]
)
@pytest.mark.parametrize("q", ["sentinel-2", "Sentinel 2", "SENTINEL2", "sentinel"])
def test_case_accents_and_marks_do_not_matter(q: str, text: str) -> None:
    assert found(q, text)


def test_words_are_whole() -> None:
    assert not found("eo", "a video")
    assert not found("sentinel-2", "sentinel-20")


def test_operators_are_written_in_capitals() -> None:
    assert found("search and rescue", "search and rescue")
    assert not found("search and rescue", "search rescue")


@pytest.mark.parametrize(
    "q",
    ["", " ", "***", "-", '"', '"a', "(", ")", "(a", "a)", "()", "AND", "a AND", "OR a", "a,,b",
     "a OR AND b", "NOT", "a NOT", "+", "a" * (LONGEST + 1), "(" * (DEEPEST + 1) + "a",
     []],
)  # fmt: skip
def test_what_makes_no_sense_is_told(q: str | list[str]) -> None:
    with pytest.raises(ArgumentInvalid):
        FreeText.of(q)


@given(st.text(alphabet='ab+-(),"ANDORT \0é', max_size=30))
def test_any_text_is_read_or_refused(q: str) -> None:
    try:
        condition = FreeText.of(q)
    except ArgumentInvalid:
        return

    assert condition.accepts(["a b"]) in {True, False}


# other evaluators


@st.composite
def queries(draw: st.DrawFn, depth: int = 2) -> tuple[str, Any]:
    """Draw a query, and the same as nested lists."""
    kind = draw(st.sampled_from(("word", "phrase", "and", "or", "not", "signs")))
    if depth == 0 or kind in {"word", "phrase"}:
        words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=2))
        quote = '"' * (kind == "phrase" or len(words) > 1)
        return f"{quote}{' '.join(words)}{quote}", ["term", words]
    (left, first), (right, second) = draw(queries(depth - 1)), draw(queries(depth - 1))
    if kind == "not":
        return f"({left}) NOT ({right})", ["and", first, ["not", second]]
    if kind == "signs":
        return f"+({left}) -({right})", ["and", first, ["not", second]]
    return f"({left}) {kind.upper()} ({right})", [kind, first, second]


def holds(query: Any, texts: list[str]) -> bool:
    """Evaluate nested lists, as the specification says it."""
    match query:
        case ["term", words]:
            return any(re.search(rf"\b{' '.join(words)}\b", text) for text in texts)
        case ["and", first, second]:
            return holds(first, texts) and holds(second, texts)
        case ["or", first, second]:
            return holds(first, texts) or holds(second, texts)
        case ["not", inner]:
            return not holds(inner, texts)
    raise AssertionError(query)


texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), max_size=3)


@given(queries(), texts)
def test_a_query_finds_what_a_plain_evaluator_finds(
    query: tuple[str, Any], texts: list[str]
) -> None:
    text, meant = query

    assert found(text, *texts) == holds(meant, texts)


@given(
    st.recursive(
        st.sampled_from([*WORDS, '"sea ice"', '"quick brown"']),
        lambda inner: st.tuples(inner, st.sampled_from((" AND ", " OR ")), inner).map(
            lambda parts: f"({''.join(parts)})"
        ),
        max_leaves=6,
    ),
    texts,
)
def test_a_query_finds_what_the_official_client_finds_by_itself(q: str, texts: list[str]) -> None:
    fields = {f"field{number}": text for number, text in enumerate([*texts, ""])}

    assert found(q, *fields.values()) == sqlite_text_search(q, fields)


# documents


def test_the_texts_of_a_collection_are_those_that_people_read() -> None:
    collection = {
        "id": "s2",
        "title": "Sentinel-2",
        "description": "Images",
        "keywords": ["optical", 3],
        "providers": [{"name": "ESA", "description": "made them", "url": "https://esa.int"}, 4],
        "license": "CC0-1.0",
    }

    assert list(texts_of(collection)) == [
        "s2", "Sentinel-2", "Images", "optical", "ESA", "made them",
    ]  # fmt: skip


def test_the_texts_of_an_item_are_its_properties() -> None:
    item = {
        "id": "a",
        "collection": "c",
        "properties": {"title": "T", "platform": "p", "gsd": 3, "keywords": ["k"]},
    }

    assert set(texts_of(item)) == {"a", "c", "T", "p", "k"}


def test_items_are_found_by_their_words_wherever_they_are_kept(address: str) -> None:
    with open_catalog(address) as catalog:
        catalog.put_collection(make_collection("c"))
        catalog.put_items(
            make_item(
                name, "c", datetime="2024-01-01T00:00:00Z", bbox=(0, 0, 1, 1), properties=properties
            )
            for name, properties in {
                "a1": {"title": "Sea ice"},
                "b1": {"keywords": ["arctic", "ice"]},
                "c1": {"title": "ice of the sea"},
            }.items()
        )

        def ids(q: str) -> list[str]:
            words = Filter.of_words(FreeText.of(q))
            return [one.get("id") for one in catalog.facts(filter=words)]

        assert ids("sea ice") == ["a1"]
        assert ids("sea AND ice") == ["a1", "c1"]
        assert ids("arctic,B1") == ["b1"]
        assert ids("-sea") == ["b1"]


@given(st.text("aé\u0301\u0323\u0344\u0f73\ufb01\u1e69\uac01İß", max_size=12))
def test_letters_without_accents_are_those_of_the_normal_form_of_the_text(text: str) -> None:
    def kept(form: Literal["NFD", "NFKD"]) -> str:
        letters = unicodedata.normalize(form, text)
        return "".join(one for one in letters if not unicodedata.combining(one))

    assert without_accents(text) == unicodedata.normalize("NFC", kept("NFD"))
    assert FreeText.of(f'"x{text}"').accepts([f"x{kept('NFKD').casefold()}"])


def test_a_long_run_of_accents_costs_little() -> None:
    text = "a" + "\u0301\u0323" * 400_000

    assert FreeText.of("a").accepts([text])
    assert without_accents(text) == "a"
