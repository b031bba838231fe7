"""Hostile documents: each is refused with one 400 that names the member, and nothing is kept."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pystac
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pystac.validation import RegisteredValidator
from tests.server.stac_written import (
    MERGE,
    OPERATIONS,
    World,
    collection,
    features,
    fuzz_cases,
    item,
    world,
)

from terrazzo.server.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "written"
ITEMS = f"/collections/{NAME}/items"
FILES = (
    "/etc/passwd", "secret.key", "../secret.key", "./a.tif", "file:///etc/passwd", "", " ",
    "FILE:///etc/passwd", "/vsicurl/http://example.com/a.tif", "/vsizip//etc/a.zip/a", "VRT:x",
    "<VRTDataset/>", "vrt:///etc/passwd", "javascript:alert(1)", "data:text/html,x", "//host/a.tif",
    "https:///a.tif", "https://user:password@example.com/a.tif", "http://exa mple.com/a.tif",
    "http://example.com/\n/a.tif", "https://example.com\\@127.0.0.1/a.tif", "s3:/bucket/a.tif",
    "gs://bucket/a.tif", "HTTPS://example.com/a.tif", "http://example.com/<script>", "x" * 5000,
)  # fmt: skip
IDS = (
    "", " ", "a/b", "..", ".", "a\nb", "a\u0000b", " a", "a ", "x" * 201, "ä" * 101, "a\\b", 5,
    None, ["a"], {"a": 1}, True, "\u200b",
)  # fmt: skip
COLLECTION_IDS = (
    *(name for name in IDS if name != "a/b"), "items", "a/items", "items/b", "a/queryables", "/a",
    "a/", "a//b", "a/../b", "ä", "a b",
    "a?b", "a#b", "a%2Fb", "a:b", "a/aggregate",
)  # fmt: skip
DEEP: Any = 0
for _ in range(40):
    DEEP = [DEEP]
WRONG_ITEMS: dict[str, Any] = {
    "type": ("Collection", None, 5, "feature"),
    "stac_version": ("2.0.0", 1.1, None, "1.1.0; drop"),
    "stac_extensions": ("x", [5], None),
    "geometry": (
        "POINT(1 2)", {}, {"type": "Point"}, {"type": "Point", "coordinates": []}, [1, 2],
        {"type": "Point", "coordinates": ["1", "2"]}, {"type": "Circle", "coordinates": [1, 2]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]},
        {"type": "Point", "coordinates": [0, 95]}, {"type": "Point", "coordinates": [1e300, 0]},
        {"type": "Polygon", "coordinates": 5}, {"type": "GeometryCollection", "geometries": [5]},
        {"type": "MultiPolygon", "coordinates": [[[[0, 0], [1, 1], [2, 2], [3, 3]]]]},
    ),
    "bbox": ("0,0,1,1", [0, 0, 1], [0, 2, 1, 1], [None] * 4, ["0", "0", "1", "1"], [0, 0, 1, 1, 5]),
    "properties": (
        None, [], "x", {}, {"datetime": None}, {"datetime": "yesterday"}, {"datetime": 5},
        {"datetime": "2024"}, {"datetime": "2024-05-01"}, {"datetime": "2024-13-01T00:00:00Z"},
        {"datetime": None, "start_datetime": "2024-05-01T00:00:00Z"},
        {"datetime": "2024-05-01T00:00:00Z", "end_datetime": "2024-05-01T00:00:00Z"},
        {
            "datetime": None,
            "start_datetime": "2024-05-02T00:00:00Z",
            "end_datetime": "2024-05-01T00:00:00Z",
        },
        {"datetime": "2024-05-01T00:00:00Z", "created": "now"},
        {"datetime": "2024-05-01T00:00:00Z", "terrazzo:source": "x"},
        {"datetime": "2024-05-01T00:00:00Z", "n": 2**70},
        {"datetime": "2024-05-01T00:00:00Z", "deep": DEEP},
        {"datetime": "2024-05-01T00:00:00Z", "proj:transform": ["a"] * 6},
    ),
    "assets": (
        None, [], "x", {"a": None}, {"a": "https://example.com"}, {"a": {}},
        {"a": {"href": None}}, {"a": {"href": 5}}, {"a": {"href": "https://e.com", "type": 5}},
        {"a": {"href": "https://e.com", "roles": 5}},
        {"a": {"href": "https://e.com", "roles": [5]}},
        {"a": {"href": "https://e.com", "proj:shape": [0, 5]}},
        {"a": {"href": "https://e.com", "proj:shape": ["1", "2"]}},
        {"a": {"href": "https://e.com", "proj:transform": [1, 2]}},
        {"a": {"href": "https://e.com", "proj:epsg": "x"}},
        {"a": {"href": "https://e.com", "proj:projjson": "x"}},
        {"a": {"href": "https://e.com", "bands": [{"nodata": "x"}]}},
        {"a": {"href": "https://e.com", "terrazzo:size": 5}},
        {"a": {"href": "https://e.com", "alternate": {"s3": {"href": "/etc/passwd"}}}},
    ),
    "links": ("x", [5], [{}], [{"rel": "x"}], [{"rel": 5, "href": "https://e.com"}],
              [{"rel": "x", "href": "file:///etc/passwd"}], [{"rel": "x", "href": "../a.json"}]),
    "collection": ("other", None, 5),
    "terrazzo:source": ("x",),
}  # fmt: skip
WRONG_COLLECTIONS: dict[str, Any] = {
    "type": ("Catalog", "Feature", None),
    "stac_version": ("0.9.0", None),
    "description": (None, "", 5),
    "license": (None, "", 5),
    "title": (5,),
    "keywords": ("x", [5]),
    "providers": ("x", [5], [{}], [{"name": "x", "roles": "host"}]),
    "extent": (
        None, {}, {"spatial": {}},
        {"spatial": {"bbox": []}, "temporal": {"interval": [[None, None]]}},
        {"spatial": {"bbox": [[0, 0, 1]]}, "temporal": {"interval": [[None, None]]}},
        {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None]]}},
        {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [["soon", None]]}},
        {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval":
            [["2024-01-02T00:00:00Z", "2024-01-01T00:00:00Z"]]}},
    ),
    "summaries": ("x", {"platform": "a"}),
    "assets": ({"a": {"href": "/etc/passwd"}}, {"a": {}}, []),
    "item_assets": ([], {"a": 5}),
    "cube:dimensions": (
        [], {"x": 5}, {"x": {}}, {"b": {"type": "bands", "values": 5}}, {"b": {"type": "bands"}},
        {"x": {"type": "spatial", "axis": "q", "extent": [0, 1]}},
        {"x": {"type": "spatial", "axis": "x", "extent": ["a", "b"]}},
        {"t": {"type": "temporal", "extent": [5, 6]}},
    ),
    "links": ("x", [{"rel": "license", "href": "/etc/passwd"}]),
    "terrazzo:owner": ("x",),
}  # fmt: skip


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    limits = Limits(items=20, items_bytes=3_000_000)
    with world(tmp_path_factory.mktemp("home"), limits=limits) as made:
        made.ask("admin", "POST", "/collections", collection(NAME))
        made.ask("admin", "POST", ITEMS, item("good"))
        yield made


def count(there: World) -> int:
    with there.workspace.catalog() as catalog:
        return catalog.count(NAME) + len(catalog.collections())


def cases(wrong: dict[str, Any]) -> list[Any]:
    return [
        pytest.param(name, value, id=f"{name}-{number}")
        for name, values in wrong.items()
        for number, value in enumerate(values)
    ]


def refused(there: World, answers: list[Any], word: str = "") -> None:
    for answer in answers:
        assert answer.status_code == 400, answer.text
        assert word in answer.json()["message"]
        assert str(there.workspace.home) not in answer.text


@pytest.mark.parametrize("href", FILES)
def test_no_document_names_a_file_of_this_machine(there: World, href: str) -> None:
    before = count(there)
    assets = {"a": {"href": href}}

    answers = [
        there.ask("admin", "POST", ITEMS, item("x", assets=assets)),
        there.ask("admin", "PUT", f"{ITEMS}/good", item("good", assets=assets)),
        there.ask("admin", "PATCH", f"{ITEMS}/good", {"assets": assets}),
        there.ask("admin", "POST", "/collections", collection("x", assets=assets)),
        there.ask("admin", "PATCH", f"/collections/{NAME}", {"assets": assets}),
    ]

    refused(there, answers, "assets.a.href")
    assert count(there) == before


@pytest.mark.parametrize(
    "href", ["https://example.com/a.tif", "http://127.0.0.1:9000/a", "s3://bucket/a.tif",
             "https://example.com/a.tif?sig=a%2Fb&x=1#f", "https://[::1]:80/a"]
)  # fmt: skip
def test_addresses_are_kept_as_they_are(there: World, href: str) -> None:
    there.ask("admin", "DELETE", f"{ITEMS}/href")

    answer = there.ask("admin", "POST", ITEMS, item("href", assets={"a": {"href": href}}))

    assert answer.json()["assets"]["a"]["href"] == href


@pytest.mark.parametrize("name", IDS)
def test_an_item_has_an_id_that_addresses_can_hold(there: World, name: Any) -> None:
    before = count(there)

    refused(there, [there.ask("admin", "POST", ITEMS, item(name))])

    assert count(there) == before


@pytest.mark.parametrize("name", COLLECTION_IDS)
def test_a_collection_has_an_id_that_addresses_can_hold(there: World, name: Any) -> None:
    before = count(there)

    refused(there, [there.ask("admin", "POST", "/collections", collection(name))])

    assert count(there) == before


@pytest.mark.parametrize(("member", "value"), cases(WRONG_ITEMS))
def test_a_wrong_member_of_an_item_is_named(there: World, member: str, value: Any) -> None:
    before = count(there)
    wrong = item("wrong") | {member: value}

    answers = [
        there.ask("admin", "POST", ITEMS, wrong),
        there.ask("admin", "POST", ITEMS, features(item("fine"), wrong)),
        there.ask("admin", "PUT", f"{ITEMS}/good", wrong | {"id": "good"}),
    ]

    word = "" if "properties" in member else member.partition(":")[0]
    refused(there, answers, word)
    assert "features.1" in answers[1].json()["message"]
    assert count(there) == before


@pytest.mark.parametrize("member", ["type", "id", "geometry", "properties", "assets"])
def test_a_missing_member_of_an_item_is_named(there: World, member: str) -> None:
    wrong = {key: value for key, value in item("wrong").items() if key != member}

    refused(there, [there.ask("admin", "POST", ITEMS, wrong)], member)


@pytest.mark.parametrize(("member", "value"), cases(WRONG_COLLECTIONS))
def test_a_wrong_member_of_a_collection_is_named(there: World, member: str, value: Any) -> None:
    before = count(there)

    answers = [
        there.ask("admin", "POST", "/collections", collection("wrong") | {member: value}),
        there.ask("admin", "PUT", f"/collections/{NAME}", collection(NAME) | {member: value}),
    ]

    refused(there, answers, member.partition(":")[0])
    assert count(there) == before


@pytest.mark.parametrize("kind", ["application/json", MERGE, OPERATIONS, "application/geo+json"])
@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"5", b'"x"', b"[]", b"[5]", b'{"type": NaN}', b'{"a": 1e999}',
        b"\xff\xfe", b'{"id": "\\ud800"}', b'{"id": "\\u0000"}', b"[" * 5000,
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
        b'{"id": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_document_is_refused(there: World, kind: str, body: bytes) -> None:
    before = count(there)

    for method, path in (
        ("POST", "/collections"), ("PUT", f"/collections/{NAME}"),
        ("PATCH", f"/collections/{NAME}"),
        ("POST", ITEMS), ("PUT", f"{ITEMS}/good"), ("PATCH", f"{ITEMS}/good"),
    ):  # fmt: skip
        headers = {**there.headers["admin"], "Content-Type": kind}
        answer = there.client.request(method, path, content=body, headers=headers)

        harmless = method == "PATCH" and body == b"[]" and kind == OPERATIONS
        assert answer.status_code == (204 if harmless else 400), (method, path, answer.text)
    assert count(there) == before


def test_other_media_types_are_refused(there: World) -> None:
    for kind in ("text/plain", "", "application/x-www-form-urlencoded", "text/json"):
        headers = {**there.headers["admin"], "Content-Type": kind}
        answer = there.client.post(ITEMS, content=json.dumps(item("x")), headers=headers)

        assert (answer.status_code, answer.json()["code"]) == (400, "ContentTypeInvalid")


def test_requests_are_bounded(there: World) -> None:
    many = features(*(item(f"m{number}") for number in range(21)))
    large = item("large", properties={"datetime": "2024-05-01T10:00:00Z", "text": "x" * 1_100_000})
    huge = features(
        *(
            item(f"h{n}", properties={"datetime": "2024-05-01T10:00:00Z", "t": "x" * 400_000})
            for n in range(8)
        )
    )

    answers = [there.ask("admin", "POST", ITEMS, document) for document in (many, large, huge)]

    assert [one.status_code for one in answers] == [413, 413, 413]
    assert "21 items and may add 20" in answers[0].json()["message"]


def test_links_that_lead_elsewhere_are_made_anew(there: World) -> None:
    there.ask("admin", "DELETE", f"{ITEMS}/linked")
    links = [
        {"rel": rel, "href": href}
        for rel in ("self", "root", "parent", "collection")
        for href in ("../x.json", "https://evil.example/x", "javascript:alert(1)")
    ]

    told = there.ask("admin", "POST", ITEMS, item("linked", links=links)).json()["links"]

    assert all(one["href"].startswith("http://testserver/") for one in told)
    assert len(told) == 4


# random documents

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["https://e.com/a.tif", "/etc/passwd", "2024-05-01T00:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["href", "type", "bands", "name", "values", "proj:shape", "roles", "a"])
                      | st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where the values in a document are."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [before, *(path for key, one in inner for path in paths(one, (*before, key)))]


@st.composite
def mutated(draw: Any, document: Any) -> Any:
    """Put something else at one to three places of a document."""
    found = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(found)[1:] or [()]))
        if not path:
            return draw(JSON)
        owner = found
        for key in path[:-1]:
            owner = owner[key]
        what = draw(st.integers(0, 3))
        if what == 0:
            del owner[path[-1]]
        elif what == 1 and isinstance(owner, dict):
            owner[draw(st.text(max_size=6))] = draw(JSON)
        else:
            owner[path[-1]] = draw(JSON)
    return found


FULL_ITEM = item("fuzzed") | {
    "assets": {
        "a": {
            "href": "https://e.com/a.tif", "roles": ["data"], "proj:shape": [5, 5],
            "proj:code": "EPSG:32633",
            "proj:transform": [10, 0, 0, 0, -10, 0], "type": "image/tiff",
            "bands": [{"name": "red", "nodata": 0, "data_type": "uint16", "eo:common_name": "red"}],
        }
    }
}  # fmt: skip
FULL_COLLECTION = collection("fuzzed") | {
    "summaries": {"platform": ["a"], "gsd": {"minimum": 1, "maximum": 2}},
    "providers": [{"name": "x", "roles": ["host"], "url": "https://e.com"}],
    "item_assets": {"a": {"bands": [{"name": "red"}]}},
    "cube:dimensions": {
        "x": {"type": "spatial", "axis": "x", "extent": [0, 1]},
        "b": {"type": "bands", "values": ["red"]},
    },
    "assets": {"thumbnail": {"href": "https://e.com/a.png", "roles": ["thumbnail"]}},
}


@settings(
    max_examples=fuzz_cases(), deadline=None, derandomize=True, database=None,
    phases=[Phase.generate], suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(
    document=mutated(FULL_ITEM),
    patch=mutated({"properties": FULL_ITEM["properties"], "assets": FULL_ITEM["assets"]}),
)
def test_random_items_are_refused_or_are_items_everywhere(
    there: World, document: Any, patch: Any
) -> None:
    there.ask("admin", "DELETE", f"{ITEMS}/fuzzed")

    made = there.ask("admin", "POST", ITEMS, document)
    changed = there.ask("admin", "PATCH", f"{ITEMS}/good", patch)

    assert made.status_code in {201, 400, 409, 413}, made.text
    assert changed.status_code in {200, 400, 413}, changed.text
    for answer in (made, changed):
        if answer.status_code < 300 and "id" in answer.json():
            valid(answer.json())
            again = there.client.get(f"{ITEMS}/{answer.json()['id']}")
            assert again.json() == answer.json()
    for path in ("/search?limit=50", f"/collections/{NAME}", f"/collections/{NAME}/queryables"):
        assert there.ask("admin", "GET", path).status_code == 200
    with there.workspace.catalog() as catalog:
        catalog.delete_items(
            NAME, [one["id"] for one in catalog.search((NAME,)) if one["id"] != "good"]
        )
    there.ask("admin", "PUT", f"{ITEMS}/good", item("good"))


def valid(document: Any) -> None:
    """Let pystac read a document, and write it again."""
    kind = pystac.Item if document["type"] == "Feature" else pystac.Collection
    again = kind.from_dict(document).to_dict(transform_hrefs=False)
    assert again["id"] == document["id"]


@settings(
    max_examples=fuzz_cases(), deadline=None, derandomize=True, database=None,
    phases=[Phase.generate], suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(document=mutated(FULL_COLLECTION))
def test_random_collections_are_refused_or_are_collections_everywhere(
    there: World, document: Any
) -> None:
    made = there.ask("admin", "POST", "/collections", document)

    assert made.status_code in {201, 400, 409, 413}, made.text
    if made.status_code == 201:
        name = made.json()["id"]
        try:
            for path in (
                f"/collections/{name}",
                "/collections",
                f"/collections/{name}/queryables",
                f"/collections/{name}/items",
            ):
                assert there.ask("admin", "GET", path).status_code == 200
            valid(there.ask("admin", "GET", f"/collections/{name}").json())
        finally:
            assert there.ask("admin", "DELETE", f"/collections/{name}").status_code == 204


@pytest.mark.parametrize("document", [FULL_ITEM, FULL_COLLECTION])
def test_what_is_taken_is_valid_by_the_schemas_of_stac(there: World, document: Any) -> None:
    kind = pystac.STACObjectType(document["type"])
    path = ITEMS if document["type"] == "Feature" else "/collections"

    answer = there.ask("admin", "POST", path, document | {"id": "valid"})
    there.ask("admin", "DELETE", "/collections/valid")

    assert answer.status_code == 201
    RegisteredValidator.get_validator().validate_core(answer.json(), kind, "1.1.0")
