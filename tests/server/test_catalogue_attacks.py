"""What strangers with an account try to do to a catalogue, and to those who use it with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.server.stac_written import OPERATIONS, World, collection, item, names, world

from terrazzo.catalog import Filter
from terrazzo.catalog.free_text import FreeText
from terrazzo.server.stac import collection_search, item_pages, writing

if TYPE_CHECKING:
    from collections.abc import Iterator

MINE = "anna~fields"
ITEMS = f"/collections/{MINE}/items"


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("home")) as made:
        assert made.ask("anna", "POST", "/collections", collection(MINE)).status_code == 201
        assert made.ask("anna", "POST", ITEMS, item("old")).status_code == 201
        yield made


def patched(there: World, *operations: Any) -> Any:
    headers = {**there.headers["anna"], "Content-Type": OPERATIONS}
    body = json.dumps(operations)
    return there.client.patch(f"{ITEMS}/old", content=body, headers=headers)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("key", ["coordinates", "geometry", "properties", "links"])
def test_an_asset_of_any_name_names_no_file_of_this_machine(there: World, key: str) -> None:
    secret = there.workspace.home / "assets" / "restricted" / "data.tif"
    secret.parent.mkdir(parents=True, exist_ok=True)
    secret.write_bytes(b"restricted")
    document = item("new", assets={key: {"href": str(secret)}})

    answer = there.ask("anna", "POST", ITEMS, document)
    file = there.ask("anna", "GET", f"{ITEMS}/new/assets/{key}")

    assert (answer.status_code, file.status_code) == (400, 404)
    assert f"assets.{key}.href" in answer.json()["message"]


def test_a_collection_of_the_operator_is_at_no_moment_that_of_whom_its_id_names(
    there: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with there.workspace.catalog() as catalog:
        catalog.put_collection(collection("anna~taken"))
    calls = list[Any]()
    monkeypatch.setattr(writing, "make_own", lambda *given: calls.append(given))

    made = there.ask("anna", "POST", "/collections", collection("anna~taken"))
    deleted = there.ask("anna", "DELETE", "/collections/anna~taken")

    assert (made.status_code, deleted.status_code) == (409, 403)
    assert not calls


def test_a_patch_that_makes_a_document_deep_and_copies_it_is_refused(there: World) -> None:
    path, operations = "/properties/x", list[Any]()
    for _ in range(95):
        operations.append({"op": "add", "path": path, "value": nested(29)})
        path += "/a" * 29

    answer = patched(there, *operations, {"op": "copy", "from": "/properties/x", "path": "/y"})

    assert answer.status_code == 400
    assert "nested too deeply" in answer.json()["message"]


def test_a_patch_copies_no_more_than_a_document_may_have(there: World) -> None:
    big = {"op": "add", "path": "/properties/x", "value": [0] * 300_000}
    again = ({"op": "copy", "from": "/properties/x", "path": "/y"}, {"op": "remove", "path": "/y"})

    answer = patched(there, big, *again, *again, {"op": "remove", "path": "/properties/x"})

    assert answer.status_code == 413
    assert "copies more than 1,000,000 bytes" in answer.json()["message"]


def test_a_collection_of_very_many_places_and_times_is_looked_at_by_the_first(
    there: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = [[0, 0, 50, 50], *[[0, 0, 1, 1]] * 1000]
    times = [
        ["2020-01-01T00:00:00Z", None],
        *[["2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"]] * 1000,
    ]
    extent = {"spatial": {"bbox": boxes}, "temporal": {"interval": times}}
    there.ask("anna", "POST", "/collections", collection("anna~wide", extent=extent))
    seen = list[Any]()
    product = collection_search.product
    monkeypatch.setattr(
        collection_search, "product", lambda *sides: seen.extend(product(*sides)) or product(*sides)
    )

    found = there.ask("anna", "GET", "/collections?bbox=40,40,41,41&filter=id='anna~wide'").json()
    there.ask("anna", "DELETE", "/collections/anna~wide")

    assert [one["id"] for one in found["collections"]] == ["anna~wide"]
    assert len(seen) <= 1 + 2


def test_a_page_ends_where_it_has_many_bytes_and_the_next_one_goes_on(
    there: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_pages, "MOST_BYTES", 25_000)
    wanted = [f"large-{n}" for n in range(5)]
    for name in wanted:
        properties = {"datetime": "2024-05-01T10:00:00Z", "text": "x" * 10_000}
        there.ask("anna", "POST", ITEMS, item(name, properties=properties))

    pages = [there.ask("anna", "GET", f"{ITEMS}?limit=100&sortby=id&ids={','.join(wanted)}")]
    while links := [one for one in pages[-1].json()["links"] if one["rel"] == "next"]:
        pages.append(there.ask("anna", "GET", links[0]["href"]))

    assert [sorted(names(page)) for page in pages] == [wanted[:2], wanted[2:4], wanted[4:]]


def test_an_item_larger_than_a_page_is_a_page(
    there: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_pages, "MOST_BYTES", 10)

    answer = there.ask("anna", "GET", f"{ITEMS}?ids=old")

    assert names(answer) == {"old"}
    assert not [one for one in answer.json()["links"] if one["rel"] == "next"]


def test_a_name_of_fields_is_no_longer_than_names_are(there: World) -> None:
    answer = there.ask("anna", "POST", "/search", {"fields": {"include": ["a." * 1000]}})

    assert answer.status_code == 400
    assert "more than 1000 letters" in answer.json()["message"]


def test_a_search_ends_in_the_midst_of_documents_when_its_time_is_over(there: World) -> None:
    calls = list[int]()

    def count() -> None:
        calls.append(1)

    with there.workspace.catalog() as catalog:
        many = [item(f"many-{n}", collection=MINE) for n in range(20)]
        catalog.put_items(many)
        words = Filter.of_words(FreeText.of("nowhere"))
        found = list(catalog.stored((MINE,), filter=words, check=count))

    assert not found
    assert len(calls) > 20


@pytest.mark.parametrize(
    "assets",
    [None, [], "x", {"k": None}, {"k": {"href": "/x", "roles": 5, "bands": 5}}, {"k": {"href": 5}}],
    ids=str,
)
def test_an_item_that_others_made_of_anything_has_no_file_and_no_picture(
    there: World, assets: Any
) -> None:
    with there.workspace.catalog() as catalog:
        catalog.put_items([item("odd", collection=MINE, assets=assets)])

    file = there.ask("anna", "GET", f"{ITEMS}/odd/assets/k")
    picture = there.ask("anna", "GET", f"{ITEMS}/odd/preview")

    assert (file.status_code, file.json()["code"]) == (404, "AssetNotFound")
    assert (picture.status_code, picture.json()["code"]) == (404, "PreviewUnavailable")


@pytest.mark.parametrize(
    "body",
    [
        {"filter": {}, "filter-lang": []},
        {"filter": {"op": "=", "args": [1, 1]}, "filter-lang": {}},
        {"filter": {"op": "=", "args": [1, 1]}, "filter-crs": []},
        {"sortby": [{"field": "id", "direction": []}]},
        {"sortby": [{"field": [], "direction": "asc"}]},
        {"fields": {"include": [[]]}},
        {"query": {"a": {"in": {}}}},
        {"token": []},
        {"collections": [[]]},
    ],
)
def test_members_of_a_kind_without_a_hash_are_refused(there: World, body: Any) -> None:
    answer = there.ask("anonymous", "POST", "/search", body)

    assert answer.status_code == 400
    assert answer.json()["message"]
