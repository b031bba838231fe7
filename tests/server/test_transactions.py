"""Collections and items that are written over HTTP, on both catalogues."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pystac
import pytest
from tests.catalog.conftest import KINDS, pgstac_server
from tests.server.openapi import checked
from tests.server.stac_written import (
    AWAY,
    MERGE,
    OPERATIONS,
    World,
    collection,
    features,
    item,
    names,
    world,
)

from terrazzo.catalog import make_asset, make_item

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLASHED = "missions/alpha"
"""Ids of collections may hold slashes."""


@pytest.fixture(scope="module", params=KINDS)
def there(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    home = tmp_path_factory.mktemp("home")
    if request.param == "file":
        with world(home) as made:
            yield made
        return
    with (
        pgstac_server(request.getfixturevalue("shared")) as databases,
        databases() as address,
        world(home, database=address) as made,
    ):
        yield made


@pytest.fixture
def name(there: World) -> Iterator[str]:
    """A collection that is there for one test."""
    made = there.ask("admin", "POST", "/collections", collection(SLASHED))
    assert made.status_code == 201, made.text
    yield SLASHED
    there.ask("admin", "DELETE", f"/collections/{SLASHED}")


def at(name: str, tail: str = "") -> str:
    return f"/collections/{name}/items{tail}"


def put(there: World, name: str, document: Any) -> Any:
    answer = there.ask("admin", "POST", at(name), document)
    assert answer.status_code == 201, answer.text
    return answer


# collections


def test_a_collection_is_made_and_is_there_for_stac_and_openeo(there: World, name: str) -> None:
    put(there, name, item("a"))

    listed = there.ask("anonymous", "GET", "/collections").json()["collections"]
    told = checked(there.client).get(f"/collections/{name}").json()

    again = pystac.Collection.from_dict(told)
    assert name in {one["id"] for one in listed}
    assert (again.id, again.license) == (name, "CC-BY-4.0")
    assert told["cube:dimensions"].keys() >= {"x", "y", "t"}
    assert again.to_dict(transform_hrefs=False)["description"] == "Written by a test."


def test_the_answer_says_where_the_new_collection_is(there: World) -> None:
    answer = there.ask("admin", "POST", "/collections", collection("fresh"))
    there.ask("admin", "DELETE", "/collections/fresh")

    assert answer.status_code == 201
    assert answer.headers["location"] == "http://testserver/collections/fresh"
    assert answer.json()["id"] == "fresh"


def test_two_collections_cannot_have_one_id(there: World, name: str) -> None:
    answer = there.ask("admin", "POST", "/collections", collection(name, description="Other."))

    assert (answer.status_code, answer.json()["code"]) == (409, "CollectionExists")
    told = there.ask("admin", "GET", f"/collections/{name}").json()
    assert told["description"] == "Written by a test."


def test_a_collection_is_replaced_and_keeps_its_items(there: World, name: str) -> None:
    put(there, name, item("a"))
    links = [
        {"rel": "license", "href": "https://example.com/licence"},
        {"rel": "self", "href": "x"},
    ]

    answer = there.ask(
        "admin", "PUT", f"/collections/{name}", collection(name, title="New", links=links)
    )

    told = answer.json()
    assert (answer.status_code, told["title"]) == (200, "New")
    assert [one["href"] for one in told["links"] if one["rel"] == "self"] == [
        "http://testserver/collections/missions%2Falpha"
    ]
    assert "https://example.com/licence" in {one["href"] for one in told["links"]}
    assert names(there.ask("admin", "GET", at(name))) == {"a"}


def test_what_was_got_can_be_put_back_and_nothing_changes(there: World, name: str) -> None:
    put(there, name, features(item("a"), item("b")))
    before = there.ask("admin", "GET", f"/collections/{name}")

    after = there.ask("admin", "PUT", f"/collections/{name}", before.json())
    again = there.ask("admin", "PUT", f"/collections/{name}", after.json())

    assert after.json() == before.json()
    assert again.headers["etag"] == after.headers["etag"]


def test_a_collection_is_changed_by_both_kinds_of_patches(there: World, name: str) -> None:
    path = f"/collections/{name}"
    operations = [
        {"op": "test", "path": "/title", "value": "One"},
        {"op": "add", "path": "/keywords", "value": ["two"]},
    ]

    merged = there.ask("admin", "PATCH", path, {"title": "One"}, content_type=MERGE)
    operated = there.ask("admin", "PATCH", path, operations, content_type=OPERATIONS)
    removed = there.ask("admin", "PATCH", path, {"keywords": None})

    assert merged.json()["title"] == "One"
    assert operated.json()["keywords"] == ["two"]
    assert "keywords" not in removed.json()
    assert [one.status_code for one in (merged, operated, removed)] == [200, 200, 200]


def test_a_deleted_collection_is_gone_with_its_items(there: World, name: str) -> None:
    put(there, name, item("a"))

    answer = there.ask("admin", "DELETE", f"/collections/{name}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert there.ask("admin", "GET", f"/collections/{name}").status_code == 404
    assert there.ask("admin", "DELETE", f"/collections/{name}").status_code == 404
    assert there.ask("admin", "GET", "/search?limit=1000").json()["features"] == []


# items


def test_an_item_is_added_and_found_at_once(there: World, name: str) -> None:
    answer = put(there, name, item("a b"))

    href = answer.headers["location"]
    assert href == "http://testserver/collections/missions%2Falpha/items/a%20b"
    told = there.client.get(href)
    assert told.json() == answer.json()
    assert told.headers["etag"] == answer.headers["etag"]
    assert told.headers["content-type"] == answer.headers["content-type"] == "application/geo+json"
    assert told.json()["collection"] == name
    found = there.ask(
        "anonymous", "GET", "/search?bbox=10.5,40.5,10.6,40.6&filter=eo:cloud_cover<20"
    )
    assert names(found) == {"a b"}


def test_pystac_reads_what_comes_back_and_writes_what_is_taken(there: World, name: str) -> None:
    given = pystac.Item.from_dict(item("a"))

    answer = put(there, name, given.to_dict(include_self_link=False))

    back = pystac.Item.from_dict(answer.json())
    assert back.assets["data"].href == AWAY
    assert back.properties == given.properties
    assert back.to_dict(transform_hrefs=False)["geometry"] == given.geometry
    renamed = {**back.to_dict(transform_hrefs=False), "id": "b"}  # with all its links
    assert put(there, name, renamed).status_code == 201


def test_what_stac_lets_an_item_leave_out_is_filled_in(there: World, name: str) -> None:
    short = {
        key: value
        for key, value in item("a").items()
        if key not in {"bbox", "links", "stac_version"}
    }

    told = put(there, name, short).json()

    assert told["bbox"] == [10, 40, 11, 41]
    assert told["stac_version"] == "1.1.0"
    assert {one["rel"] for one in told["links"]} == {"self", "parent", "collection", "root"}


def test_a_feature_collection_is_added_whole(there: World, name: str) -> None:
    answer = put(there, name, features(*(item(f"i{number}") for number in range(30))))

    assert answer.json()["created"] == 30
    assert "location" not in answer.headers
    assert names(there.ask("admin", "GET", at(name, "?limit=50"))) == {f"i{n}" for n in range(30)}


@pytest.mark.parametrize(
    ("wrong", "status", "words"),
    [
        (item("known"), 409, "'known'"),
        (item("bad", properties={}), 400, "features.2: Item 'bad': properties.datetime is missing"),
        (item("first"), 400, "features.2 has the id 'first' of features.0"),
        (
            item("bad", assets={"a": {"href": "/etc/passwd"}}),
            400,
            "features.2: Item 'bad': assets.a.href",
        ),
        ("text", 400, "features.2: The item is 'text'"),
    ],
)
def test_of_a_feature_collection_with_one_bad_item_nothing_is_added(
    there: World, name: str, wrong: Any, status: int, words: str
) -> None:
    put(there, name, item("known"))
    version = there.ask("admin", "GET", f"/collections/{name}").headers["etag"]

    answer = there.ask("admin", "POST", at(name), features(item("first"), item("second"), wrong))

    assert answer.status_code == status
    assert words in answer.json()["message"]
    assert names(there.ask("admin", "GET", at(name))) == {"known"}
    assert there.ask("admin", "GET", f"/collections/{name}").headers["etag"] == version


def test_an_item_is_replaced(there: World, name: str) -> None:
    put(there, name, item("a"))
    new = item("a", properties={"datetime": "2024-06-01T00:00:00Z"}, collection=name)

    answer = there.ask("admin", "PUT", at(name, "/a"), new)

    assert answer.status_code == 200
    assert answer.json()["properties"] == {"datetime": "2024-06-01T00:00:00Z"}
    assert there.ask("admin", "GET", at(name, "/a")).json() == answer.json()


def test_what_is_not_there_is_not_replaced_changed_or_deleted(there: World, name: str) -> None:
    answers = [
        there.ask("admin", "PUT", at(name, "/a"), item("a")),
        there.ask("admin", "PATCH", at(name, "/a"), {}),
        there.ask("admin", "DELETE", at(name, "/a")),
    ]

    assert [(one.status_code, one.json()["code"]) for one in answers] == [(404, "ItemNotFound")] * 3


@pytest.mark.parametrize("change", [{"id": "b"}, {"collection": "other"}])
def test_an_item_keeps_its_id_and_collection(there: World, name: str, change: Any) -> None:
    put(there, name, item("a"))

    answers = [
        there.ask("admin", "PUT", at(name, "/a"), item("a") | change),
        there.ask("admin", "PATCH", at(name, "/a"), change),
    ]

    assert [one.status_code for one in answers] == [400, 400]


def test_a_merge_patch_changes_what_it_names(there: World, name: str) -> None:
    before = put(there, name, item("a")).json()

    told = there.ask(
        "admin", "PATCH", at(name, "/a"), {"properties": {"eo:cloud_cover": None, "gsd": 10}}
    ).json()

    expected = copy.deepcopy(before)
    del expected["properties"]["eo:cloud_cover"]
    expected["properties"]["gsd"] = 10
    assert told == expected


def test_a_json_patch_changes_what_it_names(there: World, name: str) -> None:
    put(there, name, item("a"))
    operations = [
        {"op": "test", "path": "/properties/eo:cloud_cover", "value": 12.5},
        {"op": "replace", "path": "/properties/eo:cloud_cover", "value": 3},
        {"op": "copy", "from": "/assets/data", "path": "/assets/more"},
        {"op": "move", "from": "/assets/data", "path": "/assets/moved"},
    ]

    told = there.ask("admin", "PATCH", at(name, "/a"), operations, content_type=OPERATIONS).json()

    assert told["properties"]["eo:cloud_cover"] == 3
    assert told["assets"].keys() == {"more", "moved"}
    assert {asset["href"] for asset in told["assets"].values()} == {AWAY}


@pytest.mark.parametrize(
    ("operations", "status"),
    [
        ([{"op": "test", "path": "/id", "value": "b"}], 412),
        ([{"op": "remove", "path": "/nothing"}], 400),
        ([{"op": "replace", "path": "", "value": 5}], 400),
        ([{"op": "nonsense", "path": "/id"}], 400),
        ([{"path": "/id"}], 400),
        ([5], 400),
        ({"op": "test"}, 400),
        ([{"op": "add", "path": "/properties/x/y/z", "value": 1}], 400),
        ([{"op": "copy", "from": "", "path": "/properties/again"}] * 40, 413),
        ([{"op": "test", "path": "/id", "value": "a"}] * 101, 400),
    ],
)
def test_a_json_patch_that_does_not_fit_changes_nothing(
    there: World, name: str, operations: Any, status: int
) -> None:
    before = put(
        there, name, item("a", properties={"datetime": "2024-05-01T10:00:00Z", "text": "x" * 9000})
    )

    answer = there.ask("admin", "PATCH", at(name, "/a"), operations, content_type=OPERATIONS)

    after = there.ask("admin", "GET", at(name, "/a"))
    assert answer.status_code in {status, 400}
    assert after.headers["etag"] == before.headers["etag"]


def test_a_deleted_item_is_gone(there: World, name: str) -> None:
    put(there, name, features(item("a"), item("b")))

    answer = there.ask("admin", "DELETE", at(name, "/a"))

    assert (answer.status_code, answer.content) == (204, b"")
    assert names(there.ask("admin", "GET", at(name))) == {"b"}


# conditions


def test_a_tag_lets_only_those_write_who_know_what_is_there(there: World, name: str) -> None:
    tag = put(there, name, item("a")).headers["etag"]
    path = at(name, "/a")

    changed = there.ask("admin", "PATCH", path, {"properties": {"gsd": 1}}, if_match=tag)
    late = [
        there.ask("admin", "PATCH", path, {"properties": {"gsd": 2}}, if_match=tag),
        there.ask("admin", "PUT", path, item("a"), if_match=tag),
        there.ask("admin", "DELETE", path, if_match=tag),
        there.ask("admin", "PUT", path, item("a"), if_match=f"W/{changed.headers['etag']}"),
        there.ask("admin", "PUT", path, item("a"), if_none_match="*"),
    ]

    assert changed.status_code == 200
    assert [(one.status_code, one.json()["code"]) for one in late] == [
        (412, "PreconditionFailed")
    ] * 5
    assert there.ask("admin", "GET", path).json()["properties"]["gsd"] == 1
    listed = f'"other", {changed.headers["etag"]}'
    assert there.ask("admin", "DELETE", path, if_match=listed).status_code == 204


def test_a_tag_of_a_collection_does_the_same(there: World, name: str) -> None:
    path = f"/collections/{name}"
    tag = there.ask("admin", "GET", path).headers["etag"]

    changed = there.ask("admin", "PATCH", path, {"title": "One"}, if_match=tag)
    late = [
        there.ask("admin", "PATCH", path, {"title": "Two"}, if_match=tag),
        there.ask("admin", "PUT", path, collection(name), if_match=tag),
        there.ask("admin", "DELETE", path, if_match=tag),
    ]

    assert changed.headers["etag"] != tag
    assert [one.status_code for one in late] == [412, 412, 412]
    assert there.ask("admin", "GET", path).json()["title"] == "One"
    good = changed.headers["etag"]
    assert there.ask("admin", "PUT", path, collection(name), if_match=good).status_code == 200


def test_who_has_what_is_there_is_not_sent_it_again(there: World, name: str) -> None:
    put(there, name, item("a"))
    for path in (at(name, "/a"), f"/collections/{name}"):
        tag = there.ask("admin", "GET", path).headers["etag"]

        same = there.ask("admin", "GET", path, if_none_match=f"W/{tag}")
        other = there.ask("admin", "GET", path, if_none_match='"other"')

        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        assert other.status_code == 200


def test_every_write_changes_the_version_of_the_collection(there: World, name: str) -> None:
    def version() -> str:
        with there.workspace.catalog() as catalog:
            return catalog.version(name)

    seen = [version()]
    for method, path, document in (
        ("POST", at(name), item("a")),
        ("PUT", at(name, "/a"), item("a", properties={"datetime": "2024-06-01T00:00:00Z"})),
        ("PATCH", at(name, "/a"), {"properties": {"gsd": 5}}),
        ("DELETE", at(name, "/a"), None),
        ("PATCH", f"/collections/{name}", {"title": "New"}),
    ):
        assert there.ask("admin", method, path, document).status_code < 300
        seen.append(version())

    assert len(set(seen)) == len(seen)


def test_summaries_follow_what_is_written(there: World, name: str) -> None:
    def clouds() -> Any:
        told = there.ask("admin", "GET", f"/collections/{name}").json()
        return told["summaries"].get("eo:cloud_cover")

    put(
        there,
        name,
        features(
            item("a"),
            item("b", properties={"datetime": "2024-05-01T10:00:00Z", "eo:cloud_cover": 80}),
        ),
    )
    both = clouds()
    there.ask("admin", "DELETE", at(name, "/b"))

    assert both == {"minimum": 12.5, "maximum": 80}
    assert clouds() == {"minimum": 12.5, "maximum": 12.5}


# what is not shown


def test_a_file_of_this_machine_stays_when_what_was_served_comes_back(
    there: World, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "scene.tif"
    path.write_bytes(b"II*\0")
    kept = make_item(
        "own", name, bbox=(10, 40, 11, 41), datetime="2024-05-01T10:00:00Z",
        assets={"data": make_asset(str(path), extra={"terrazzo:size": 4})},
    )  # fmt: skip
    with there.workspace.catalog() as catalog:
        catalog.put_items([kept | {"terrazzo:source": "x"}])
    served = there.ask("admin", "GET", at(name, "/own")).json()

    there.ask(
        "admin",
        "PUT",
        at(name, "/own"),
        served | {"properties": {**served["properties"], "gsd": 1}},
    )
    there.ask("admin", "PATCH", at(name, "/own"), {"properties": {"gsd": 2}})
    copied = [{"op": "copy", "from": "/assets/data/href", "path": "/properties/title"}]
    told = there.ask("admin", "PATCH", at(name, "/own"), copied, content_type=OPERATIONS)

    with there.workspace.catalog() as catalog:
        now = catalog.item(name, "own")
    assert now["assets"]["data"] == kept["assets"]["data"]
    assert (now["terrazzo:source"], now["properties"]["gsd"]) == ("x", 2)
    assert str(path) not in told.text
    assert "terrazzo:" not in told.text


def test_the_classes_of_transactions_are_told(there: World) -> None:
    told = there.ask("anonymous", "GET", "/conformance").json()["conformsTo"]

    assert "https://api.stacspec.org/v1.0.0/ogcapi-features/extensions/transaction" in told
    assert "https://api.stacspec.org/v1.0.0/collections/extensions/transaction" in told
    bodies = json.loads(there.client.get("/openapi.json").text)["paths"]["/collections"]["post"]
    assert bodies["requestBody"]["required"]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_changes_are_answered_without_what_is_there_now_unless_it_is_asked_for(
    there: World, name: str, method: str
) -> None:
    put(there, name, item("a"))

    changes = (f"/collections/{name}", collection(name)), (at(name, "/a"), item("a"))
    for path, document in changes:
        plain = there.ask("admin", method, path, document, prefer="return=minimal")
        whole = there.ask("admin", method, path, document, prefer="return = representation")

        assert (plain.status_code, plain.content) == (204, b"")
        assert (whole.status_code, whole.json()["id"]) == (200, document["id"])
        assert plain.headers["etag"] == whole.headers["etag"]
