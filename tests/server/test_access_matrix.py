"""Who sees what: every role at every route with every kind of thing, and no leak.

The matrix is held against the routes that the application has: one without an entry here fails.
What somebody may not see answers word for word as what does not exist.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.server.access import (
    COLLECTIONS,
    FILE,
    GEOMETRIES,
    GROUPED,
    KNOWN,
    LICENSED,
    MISSING,
    NO_PROCESS,
    PATIENCE,
    PERSONS,
    PUBLIC,
    SECRET,
    SEES,
    SHUT_OUT,
    Row,
    World,
    rows,
    world,
)
from tests.server.small import graph, made_service

from terrazzo.ledger import Visibility
from terrazzo.ledger.collections import CollectionAccess, set_access
from terrazzo.server.app import ROUTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROWS = rows()
REFUSED = (401, 403, 404)
LISTS: dict[str, Callable[[Any], set[str]]] = {
    "/jobs": lambda told: {one["id"] for one in told["jobs"]},
    "/files": lambda told: {one["path"] for one in told["files"]},
    "/process_graphs": lambda told: {one["id"] for one in told["processes"]},
    "/services": lambda told: {one["id"] for one in told["services"]},
    "/maps": lambda told: {one["id"] for one in told["maps"]},
    "/collections": lambda told: {one["id"] for one in told["collections"]},
    "/search": lambda told: {one["collection"] for one in told["features"]},
    "/children": lambda told: {one["id"] for one in told["children"]},
    "/features/collections": lambda told: {one["id"] for one in told["collections"]},
    "/features/api": lambda told: {
        path.split("/")[2] for path in told["paths"] if path.startswith("/collections/")
    },
}
OPEN = {"/collections", "/search", "/maps", "/children", "/features/collections", "/features/api"}
"""Lists that are not empty for somebody who is not logged in."""
FOR_ALL = {
    "/", "/.well-known/openeo", "/conformance", "/file_formats", "/udf_runtimes", "/service_types",
    "/processes", "/credentials/oidc", "/credentials/basic", "/health", "/health/ready", "/metrics",
    "/favicon.ico", "/editor", "/queryables", "/aggregations", "/collection-queryables",
    "/colormaps", "/places", "/features", "/features/conformance", "/features/tileMatrixSets",
    "/features/tileMatrixSets/{matrix}",
}  # fmt: skip
"""Routes that name nothing of anybody."""
TESTED_BELOW = {
    ("GET", "/me"), ("GET", "/me/licences"), ("POST", "/me/licences"),
    ("DELETE", "/me/licences/{licence}"), ("PUT", "/files/{path:path}"), ("POST", "/search"),
    ("GET", "/aggregate"), ("POST", "/aggregate"),
    ("POST", "/collections"), ("POST", "/jobs"), ("POST", "/services"), ("POST", "/result"),
    ("POST", "/layers"), ("POST", "/validation"),
    ("PUT", "/process_graphs/{process_graph_id}"),
}  # fmt: skip


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("home")) as made:
        yield made


def told(there: World, answer: Any) -> tuple[int, str, str]:
    """Return what an answer says, without names and the mark of its request."""
    text = re.sub(r'"id":"[0-9a-f]{32}"', "", there.normal(answer.text))
    return answer.status_code, answer.headers["content-type"], text


def hidden_from(there: World, role: str) -> set[str]:
    """Return names that no answer may tell somebody who does not name them."""
    names = {name for name in (*COLLECTIONS, GEOMETRIES) if name not in SEES[role]}
    if role not in {"owner", "admin"}:
        names |= {there.names[name] for name in ("job", "file", "process", "private", "asset")}
    if role == "anonymous":
        names.add(there.names["restricted"])
    return names


def snapshot(there: World) -> list[tuple[int, bytes]]:
    """Return everything that the owner has."""
    paths = [
        "/jobs", "/jobs/{job}", "/jobs/{job}/logs", "{asset_link}", "/files", "/files/{file}",
        "/process_graphs", "/process_graphs/{process}", "/services", "/services/{private}",
        "/services/{restricted}", "/services/{public}",
    ]  # fmt: skip
    answers = [there.ask("owner", "GET", path) for path in paths]
    return [(answer.status_code, answer.content) for answer in answers]


def test_every_route_is_in_the_matrix():
    there_are = {
        (method, route.path)  # type: ignore[attr-defined]
        for router in ROUTERS
        for route in router.routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    covered = {(row.method, row.route) for row in ROWS} | TESTED_BELOW
    covered |= {("GET", path) for path in (*LISTS, *FOR_ALL)}

    assert there_are - covered == set()
    assert covered - there_are == set()


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("role", PERSONS)
def test_a_thing_is_there_for_those_who_may_see_it_and_for_nobody_else(
    there: World, role: str, row: Row
):
    missing = there.ask(role, row.method, row.missing, json=row.body)
    assert missing.status_code in REFUSED

    if role in row.allowed:
        if row.harmless:
            answer = there.ask(role, row.method, row.path, json=row.body)
            assert answer.status_code < 400, answer.text
        return

    answer = there.ask(role, row.method, row.path, json=row.body)
    assert told(there, answer) == told(there, missing)
    assert answer.status_code == (401 if role == "anonymous" and row.user else 404)


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("role", SHUT_OUT)
def test_a_token_that_is_no_longer_good_opens_nothing(there: World, role: str, row: Row):
    answer = there.ask(role, row.method, row.path, json=row.body)

    if row.token:
        assert (answer.status_code, answer.json()["code"]) == (403, "TokenInvalid")
    else:
        assert (answer.status_code < 400) == bool(row.allowed)


@pytest.mark.parametrize("role", [*PERSONS[2:], *SHUT_OUT, "anonymous"])
def test_nobody_else_changes_anything(there: World, role: str):
    before = snapshot(there)

    for row in ROWS:
        if row.method != "GET" and role not in row.allowed:
            assert there.ask(role, row.method, row.path, json=row.body).status_code in REFUSED
    for path in ("/files/{file}", "/process_graphs/{process}"):
        body = {"content": b"x"} if "files" in path else {"json": graph(PUBLIC, bands=("nir",))}
        there.ask(role, "PUT", path, **body)  # makes one of their own, or nothing
        there.ask(role, "DELETE", path)

    assert snapshot(there) == before
    assert there.ask("owner", "GET", "/files/{file}").content == FILE


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("role", PERSONS)
def test_lists_hold_what_somebody_sees_and_no_more(there: World, role: str, path: str):
    names, owner = there.names, role == "owner"
    mine = {
        "/jobs": {names["job"]} if owner else set(),
        "/files": {names["file"]} if owner else set(),
        "/process_graphs": {names["process"]} if owner else set(),
        "/services": {names[scope] for scope in ("private", "restricted", "public")} if owner else
        set(),
        "/maps": {names["public"]}
        | ({names["restricted"]} if role in KNOWN else set())
        | ({names["private"]} if role in {"owner", "admin"} else set()),
        "/collections": SEES[role],
        "/search": SEES[role],
        "/children": SEES[role],
        "/features/collections": SEES[role] & {GEOMETRIES},
        "/features/api": SEES[role] & {GEOMETRIES},
    }  # fmt: skip
    if role == "stranger":
        mine["/jobs"] = {names["job_of_other"]}

    answers = [there.ask(role, "GET", path), there.ask(role, "GET", f"{path}?limit=1000")]

    for answer in answers:
        if role == "anonymous" and path not in OPEN:
            assert answer.status_code == 401
        else:
            assert LISTS[path](answer.json()) == mine[path]
            assert [name for name in hidden_from(there, role) if name in answer.text] == []
    for shut in SHUT_OUT:
        assert there.ask(shut, "GET", path).status_code == 403


@pytest.mark.parametrize("path", sorted(FOR_ALL))
def test_what_is_the_same_for_everybody_names_nothing_of_anybody(there: World, path: str):
    for role in PERSONS:
        for kind in ("application/json", "text/html"):
            headers = {**there.headers[role], "Accept": kind}
            if path == "/credentials/basic":
                headers.pop("Authorization", None)
            answer = there.client.get(path, headers=headers)

            hidden = hidden_from(there, role)
            assert [name for name in hidden if name in answer.text] == []


@pytest.mark.parametrize("role", PERSONS)
def test_only_what_somebody_sees_is_counted(there: World, role: str):
    name = "collection_frequency"

    got = there.ask(role, "GET", f"/aggregate?aggregations={name}")
    posted = there.ask(role, "POST", "/aggregate", json={"aggregations": [name]})

    for answer in (got, posted):
        (told,) = answer.json()["aggregations"]
        assert {bucket["key"] for bucket in told["buckets"]} == SEES[role]
        assert [one for one in hidden_from(there, role) if one in answer.text] == []
    for shut in SHUT_OUT:
        assert there.ask(shut, "GET", "/aggregate").status_code == 403


@pytest.mark.parametrize("role", PERSONS)
def test_a_search_finds_only_what_somebody_sees(there: World, role: str):
    everything = {"collections": list(COLLECTIONS), "limit": 1000}
    nothing = {"collections": [MISSING], "limit": 1000}
    for name in COLLECTIONS:
        one = there.ask(role, "POST", "/search", json={**everything, "collections": [name]})
        none = there.ask(role, "POST", "/search", json=nothing)
        by_id = there.ask(role, "POST", "/search", json={"ids": [there.names["item"]]})
        if name in SEES[role]:
            assert {item["collection"] for item in one.json()["features"]} == {name}
        else:
            assert told(there, one) == told(there, none)
        assert {item["collection"] for item in by_id.json()["features"]} <= SEES[role]


@pytest.mark.parametrize("name", COLLECTIONS)
@pytest.mark.parametrize("role", [role for role in PERSONS if role in KNOWN])
def test_a_graph_reaches_only_what_somebody_sees(there: World, role: str, name: str):
    """As a result, when it is validated, as a job, a service, and inside a process of one's own."""
    answers = in_graphs(there, role, name)
    refused = in_graphs(there, role, MISSING)

    for way, answer in answers.items():
        if name in SEES[role]:
            assert answer.status_code < 300, (way, answer.text)
            continue
        assert there.normal(message(answer)) == there.normal(message(refused[way]))
        assert answer.status_code == refused[way].status_code
        assert "CollectionNotFound" in answer.text, way
        others = hidden_from(there, role) - {name}
        assert [other for other in others if other in answer.text] == []


def in_graphs(there: World, role: str, name: str) -> dict[str, Any]:
    """Return what comes of graphs that load a collection."""
    whole, inner = graph(name, save=True), "of_it"
    there.ask(role, "PUT", f"/process_graphs/{inner}", json=graph(name))
    call = {"process_graph": {"x": {"process_id": inner, "arguments": {}, "result": True}}}
    job = there.ask(role, "POST", "/jobs", json={"process": whole}).headers["OpenEO-Identifier"]
    answers = {
        "result": there.ask(role, "POST", "/result", json={"process": whole}),
        "validation": there.ask(role, "POST", "/validation", json=whole),
        "estimate": there.ask(role, "GET", f"/jobs/{job}/estimate"),
        "service": there.ask(
            role, "POST", "/services", json={"type": "XYZ", "process": graph(name)}
        ),
        "layer": there.ask(role, "POST", "/layers", json=graph(name)),
        "process in layer": there.ask(role, "POST", "/layers", json=call),
        "process in result": there.ask(role, "POST", "/result", json={"process": call}),
        "process in validation": there.ask(role, "POST", "/validation", json=call),
    }
    there.ask(role, "DELETE", f"/jobs/{job}")
    there.ask(role, "DELETE", f"/process_graphs/{inner}")
    made = answers["service"].headers.get("OpenEO-Identifier")
    if made:
        there.ask(role, "DELETE", f"/services/{made}")
    return answers


def message(answer: Any) -> str:
    """Return what an answer says is wrong."""
    found = answer.json()
    errors = found.get("errors", [found])
    return "\n".join(f"{one['code']}: {one['message']}" for one in errors)


def test_a_job_runs_with_the_rights_of_its_owner(there: World):
    log = there.ask("stranger", "GET", "/jobs/{job_of_other}/logs").json()["logs"]
    failed = [one for one in log if one["level"] == "error"]

    assert failed[-1]["code"] == "CollectionNotFound"
    text = json.dumps(log)
    assert [name for name in (GROUPED, LICENSED) if name in text] == []
    assert there.ask("stranger", "GET", "/jobs/{job_of_other}/results").status_code == 424


def test_the_process_of_somebody_else_does_not_exist_in_graphs(there: World):
    def called(name: str) -> dict[str, Any]:
        return {"process_graph": {"x": {"process_id": name, "arguments": {}, "result": True}}}

    theirs = there.ask("stranger", "POST", "/result", json={"process": called("mine_7f3a")})
    nobodys = there.ask("stranger", "POST", "/result", json={"process": called(NO_PROCESS)})

    assert theirs.status_code == nobodys.status_code == 400
    assert there.normal(message(theirs)) == there.normal(message(nobodys))


def test_a_link_to_results_loads_in_graphs_only_as_it_was_signed(there: World):
    def loading(url: str) -> dict[str, Any]:
        load = {"process_id": "load_stac", "arguments": {"url": f"http://testserver{url}"}}
        return {"process_graph": {"x": {**load, "result": True}}}

    for name in ("document", "document_forged", "document_of_other", "document_unsigned"):
        body = loading(there.names[name])
        errors = there.ask("stranger", "POST", "/validation", json=body).json()["errors"]
        assert (not errors) == (name == "document"), errors


@pytest.mark.parametrize("role", PERSONS)
def test_everybody_has_an_account_and_licences_of_their_own(there: World, role: str):
    account = there.ask(role, "GET", "/me")
    if role == "anonymous":
        assert account.status_code == there.ask(role, "GET", "/me/licences").status_code == 401
        assert there.ask(role, "POST", "/me/licences", json={"id": "vhr"}).status_code == 401
        assert there.ask(role, "DELETE", "/me/licences/vhr").status_code == 401
        return

    listed = there.ask(role, "GET", "/me/licences").json()["licences"]

    assert account.json()["name"] == role
    accepted = {"accepted": {"vhr"}, "stranger": {"agri"}}.get(role, set())
    assert {one["id"] for one in listed if "accepted" in one} == accepted
    for shut in SHUT_OUT:
        assert there.ask(shut, "GET", "/me").status_code == 403


def test_accepting_a_licence_opens_its_collections_until_it_is_withdrawn(there: World):
    def seen() -> bool:
        return there.ask("member", "GET", f"/collections/{LICENSED}").status_code == 200

    before = seen()
    there.ask("member", "POST", "/me/licences", json={"id": "vhr"})
    accepted = seen()
    there.ask("member", "DELETE", "/me/licences/vhr")

    assert (before, accepted, seen()) == (False, True, False)


def test_a_known_mark_of_a_tile_opens_nothing(there: World):
    tile = "/services/{private}/tiles/native/0/0/0.png"
    seen = there.ask("owner", "GET", tile)
    headers = {**there.headers["stranger"], "If-None-Match": seen.headers["etag"]}

    answer = there.client.get(tile.format_map(there.names), headers=headers)

    assert answer.status_code == 404
    assert "public" not in seen.headers["cache-control"]


def test_a_service_ends_when_its_owner_may_not_see_its_data_any_more(there: World):
    scope = {"scope": "public", "min": 0.0, "max": 1.0}
    name = made_service(
        there.client, graph(GROUPED), headers=there.headers["member"], configuration=scope
    )
    tile = f"/services/{name}/tiles/native/0/0/0.png"
    assert there.ask("anonymous", "GET", tile).status_code == 200
    set_access(there.database, CollectionAccess(GROUPED, Visibility.PRIVATE))
    try:
        end = time.monotonic() + PATIENCE
        while there.ask("anonymous", "GET", tile).status_code == 200 and time.monotonic() < end:
            time.sleep(0.1)
        answer = there.ask("anonymous", "GET", tile)
    finally:
        set_access(there.database, CollectionAccess(GROUPED, Visibility.GROUP, "agri"))

    assert answer.status_code == 404
    assert SECRET not in answer.text
    assert LICENSED not in answer.text
    there.ask("member", "DELETE", f"/services/{name}")
