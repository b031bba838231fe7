"""Services as openEO has them: made, listed, changed and deleted; who may see and look at them."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from tests.server.openapi import checked
from tests.server.small import COLLECTION, DATES, graph, made_service, make_home

from terrazzo.ledger import Visibility
from terrazzo.ledger.collections import CollectionAccess, set_access
from terrazzo.ledger.tokens import log_in
from terrazzo.ledger.users import add_user, change_user
from terrazzo.server.app import create_app
from terrazzo.server.maps.configuration import SETTINGS
from terrazzo.server.maps.maps import BELIEVED, Maps
from terrazzo.server.maps.types import SERVICE_TYPES
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from terrazzo.drivers.job import Workspace
    from terrazzo.ledger import Database

PASSWORD = "correct horse battery"  # noqa: S105 - of a test
TILE = "tiles/native/1/0/0.png"


@pytest.fixture(scope="module")
def town(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Return a server with accounts."""
    address = f"sqlite:///{tmp_path_factory.mktemp('town') / 'ledger.sqlite'}"
    app = create_app(workspace, ServerSettings(database=address, open=False, job_workers=0))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def ledger_of(client: TestClient) -> Database:
    database: Database = client.app.state.parts.database  # type: ignore[attr-defined]
    return database


def resident(client: TestClient, name: str) -> dict[str, str]:
    """Return the headers of somebody who is logged in."""
    database = ledger_of(client)
    add_user(database, name, PASSWORD)
    return {"Authorization": f"Bearer basic//{log_in(database, name, PASSWORD, '', 1.0)}"}


@pytest.fixture(scope="module")
def alice(town: TestClient) -> dict[str, str]:
    return resident(town, "alice")


@pytest.fixture(scope="module")
def bob(town: TestClient) -> dict[str, str]:
    return resident(town, "bob")


def described(client: TestClient, name: str, headers: Mapping[str, str] | None = None) -> Any:
    answer = client.get(f"/services/{name}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def path_of(address: str) -> str:
    return address.removeprefix("http://testserver")


@pytest.mark.usefixtures("shared")
def test_a_service_lives_as_the_api_says(client: TestClient) -> None:
    client = checked(TestClient(client.app))
    body = {
        "type": "wmts",
        "process": {**graph(), "description": "NDVI"},
        "title": "A",
        "description": "B",
        "log_level": "warning",
        "enabled": False,
        "configuration": {"minzoom": 3, "scope": "restricted"},
    }

    made = client.post("/services", json=body)
    name = made.headers["OpenEO-Identifier"]
    told = described(client, name)
    listed = client.get("/services").json()["services"]
    changed = client.patch(f"/services/{name}", json={"title": None, "enabled": True})
    after = described(client, name)
    logs = client.get(f"/services/{name}/logs").json()
    deleted = client.delete(f"/services/{name}")

    assert made.headers["Location"] == f"http://testserver/services/{name}"
    assert {key: told[key] for key in body} == {**body, "type": "WMTS"}
    assert "process" not in next(one for one in listed if one["id"] == name)
    assert (changed.status_code, after["enabled"], "title" in after) == (204, True, False)
    assert (logs["level"], logs["logs"]) == ("warning", [])
    assert deleted.status_code == 204
    assert client.get(f"/services/{name}").status_code == 404
    assert client.delete(f"/services/{name}").status_code == 404


def test_service_types_have_the_settings_that_are_taken() -> None:
    for told in SERVICE_TYPES.values():
        assert set(told["configuration"]) == set(SETTINGS)


@pytest.mark.parametrize("name", ["tile_size", "minzoom", "maxzoom", "scope", "tilematrixset"])
def test_defaults_that_are_told_are_taken(client: TestClient, name: str) -> None:
    default = SERVICE_TYPES["XYZ"]["configuration"][name]["default"]

    plain, set_to_it = (
        described(client, made_service(client, graph(), configuration=given))
        for given in ({}, {name: default})
    )

    assert (
        plain["url"].replace(plain["id"], "").split("?")[0]
        == (set_to_it["url"].replace(set_to_it["id"], "").split("?")[0])
    )
    assert set_to_it["configuration"] == {name: default}


BAD_SETTINGS = {
    "unknown": ({"tile_sise": 256}, "ServiceConfigUnsupported", "tile_size"),
    "tile_size": ({"tile_size": 300}, "ServiceConfigInvalid", "512"),
    "a text": ({"tile_size": "256"}, "ServiceConfigInvalid", "tile_size"),
    "true": ({"minzoom": True}, "ServiceConfigInvalid", "minzoom"),
    "half a zoom": ({"maxzoom": 3.5}, "ServiceConfigInvalid", "24"),
    "deep": ({"maxzoom": 25}, "ServiceConfigInvalid", "24"),
    "zooms": ({"minzoom": 5, "maxzoom": 4}, "ServiceConfigInvalid", "maxzoom"),
    "extent": ({"extent": [1, 2, 3]}, "ServiceConfigInvalid", "west"),
    "reversed": ({"extent": [10, 0, 5, 1]}, "ServiceConfigInvalid", "west < east"),
    "beyond": ({"extent": [0, 0, 5, 91]}, "ServiceConfigInvalid", "90"),
    "matrix": ({"tilematrixset": "Mars"}, "ServiceConfigInvalid", "WebMercatorQuad"),
    "scope": ({"scope": "friends"}, "ServiceConfigInvalid", "restricted"),
    "a list": ({"scope": ["public"]}, "ServiceConfigInvalid", "restricted"),
    "range": ({"min": 2, "max": 1}, "ServiceConfigInvalid", "max"),
    "colours": ({"colors": "virids"}, "ServiceConfigInvalid", "viridis"),
    "two bands": ({"bands": ["a", "b"]}, "ServiceConfigInvalid", "one or 3"),
    "no list": ({"bands": "red"}, "ServiceConfigInvalid", "bands"),
    "time": ({"time": 2018}, "ServiceConfigInvalid", "text"),
    "no such date": ({"time": "2030-01-01"}, None, DATES[0]),
    "no such band": ({"bands": ["swir"]}, None, "swir"),
    "beside the data": ({"extent": [-60, -10, -50, 0]}, None, "extent"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_wrong_settings_are_refused_with_what_would_be_right(client: TestClient, name: str) -> None:
    configuration, code, hint = BAD_SETTINGS[name]
    body = {"type": "XYZ", "process": graph(), "configuration": configuration}

    answer = client.post("/services", json=body)

    assert answer.status_code == 400
    assert code in (None, answer.json()["code"])
    assert hint in answer.json()["message"]


VALID = {"type": "XYZ", "process": {}}
MANY = {
    f"n{number}": {"process_id": "add", "arguments": {"x": number, "y": 1}, "result": number == 0}
    for number in range(10_001)
}
TOO_COMPLEX = "ProcessGraphComplexity"
BAD_BODIES = {
    "no JSON": ("{", 400, "RequestInvalid"),
    "nothing": ("{}", 400, "ServiceUnsupported"),
    "an array": ("[]", 400, "RequestInvalid"),
    "deep": ("[" * 100_000, 400, "RequestInvalid"),
    "NaN": ('{"type": "XYZ", "configuration": {"min": NaN}}', 400, "RequestInvalid"),
    "type": (json.dumps(VALID | {"type": "WFS"}), 400, "ServiceUnsupported"),
    "type of type": (json.dumps(VALID | {"type": 5}), 400, "ServiceUnsupported"),
    "no process": ('{"type": "XYZ"}', 400, "ProcessGraphMissing"),
    "process": (json.dumps(VALID | {"process": 5}), 400, "ProcessGraphMissing"),
    "empty": (json.dumps(VALID | {"process": {"process_graph": {}}}), 400, "ProcessGraphMissing"),
    "title": (json.dumps(VALID | {"title": 5}), 400, "RequestInvalid"),
    "long": (json.dumps(VALID | {"title": "a" * 201}), 400, "RequestInvalid"),
    "enabled": (json.dumps(VALID | {"enabled": "yes"}), 400, "RequestInvalid"),
    "log_level": (json.dumps(VALID | {"log_level": "loud"}), 400, "RequestInvalid"),
    "level list": (json.dumps(VALID | {"log_level": ["info"]}), 400, "RequestInvalid"),
    "settings": (json.dumps(VALID | {"configuration": []}), 400, "RequestInvalid"),
    "budget": (json.dumps(VALID | {"budget": -5}), 400, "BudgetInvalid"),
    "plan": (json.dumps(VALID | {"plan": 5}), 400, "RequestInvalid"),
    "nodes": (json.dumps(VALID | {"process": {"process_graph": MANY}}), 400, TOO_COMPLEX),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_bodies_get_an_openeo_error_and_leave_nothing(client: TestClient, name: str) -> None:
    body, status, code = BAD_BODIES[name]
    before = client.get("/services").json()

    answer = client.post("/services", content=body, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert set(answer.json()) == {"id", "code", "message", "links"}
    assert client.get("/services").json() == before


def test_a_graph_that_cannot_be_shown_is_refused_with_the_reason(client: TestClient) -> None:
    table = {
        "process_graph": {"one": {"process_id": "pi", "arguments": {}, "result": True}},
    }
    answers = [
        client.post("/services", json={"type": "XYZ", "process": process})
        for process in (graph(bands=("red", "nix")), graph("nowhere"), table)
    ]

    assert [answer.status_code for answer in answers] == [400, 404, 400]
    assert "nir" in answers[0].json()["message"]
    assert COLLECTION in answers[1].json()["message"]
    assert "tiles" in answers[2].json()["message"]


def test_lists_come_in_pages(client: TestClient) -> None:
    names = [made_service(client, graph()) for _ in range(3)]
    seen, address = list[str](), "/services?limit=2"

    while address:
        page = client.get(address).json()
        seen += [one["id"] for one in page["services"]]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        address = path_of(following[0]) if following else ""

    assert seen[:3] == names[::-1]
    assert seen == [one["id"] for one in client.get("/services").json()["services"]]


def test_settings_change_one_by_one_and_tiles_with_them(client: TestClient) -> None:
    name = made_service(client, graph(), configuration={"min": 0, "max": 1, "colors": "gray"})
    before = client.get(f"/services/{name}/{TILE}")

    answer = client.patch(f"/services/{name}", json={"configuration": {"colors": None, "max": 2}})
    time.sleep(BELIEVED)
    after = client.get(f"/services/{name}/{TILE}")
    refused = client.patch(f"/services/{name}", json={"configuration": {"min": 3}})

    assert answer.status_code == 204
    assert described(client, name)["configuration"] == {"min": 0, "max": 2}
    assert before.headers["etag"] != after.headers["etag"]
    assert before.content != after.content
    assert refused.json()["code"] == "ServiceConfigInvalid"


@pytest.mark.parametrize("member", ["id", "url", "created", "attributes"])
def test_what_the_server_sets_cannot_be_changed(client: TestClient, member: str) -> None:
    name = made_service(client, graph())

    answers = [
        client.patch(f"/services/{name}", json={member: "x"}),
        client.patch(f"/services/{name}", json={"type": "WMTS"}),
    ]

    assert [answer.json()["code"] for answer in answers] == ["PropertyNotEditable"] * 2
    assert client.patch(f"/services/{name}", json={"type": "xyz"}).status_code == 204


def test_another_process_is_another_range_of_colours(client: TestClient) -> None:
    name = made_service(client, graph())
    first = described(client, name)["attributes"]["range"]
    only_red = graph()
    only_red["process_graph"]["ndvi"] = {
        "process_id": "filter_bands",
        "arguments": {"data": {"from_node": "load"}, "bands": ["red"]},
        "result": True,
    }

    answer = client.patch(f"/services/{name}", json={"process": only_red})

    second = described(client, name)["attributes"]["range"]
    assert answer.status_code == 204
    assert first["max"] < 1
    assert 100 < second["min"] < second["max"]


def test_a_service_that_is_turned_off_says_so_within_a_second(client: TestClient) -> None:
    name = made_service(client, graph())
    assert client.get(f"/services/{name}/{TILE}").status_code == 200

    client.patch(f"/services/{name}", json={"enabled": False})
    time.sleep(BELIEVED)
    answer = client.get(f"/services/{name}/{TILE}")

    assert (answer.status_code, answer.json()["code"]) == (403, "ServiceDisabled")
    assert name not in [one["id"] for one in client.get("/maps").json()["maps"]]


def test_zoom_levels_that_are_not_answered_name_those_that_are(client: TestClient) -> None:
    name = made_service(client, graph(), configuration={"minzoom": 13, "maxzoom": 14})

    too_far = client.get(f"/services/{name}/tiles/WebMercatorQuad/12/0/0.png")
    allowed = client.get(f"/services/{name}/tiles/WebMercatorQuad/13/0/0.png")
    own_grid = client.get(f"/services/{name}/{TILE}")

    assert (too_far.status_code, too_far.json()["code"]) == (404, "TileOutOfRange")
    assert "13 to 14" in too_far.json()["message"]
    assert (allowed.status_code, own_grid.status_code) == (200, 200)


def test_changes_that_come_at_once_are_all_kept(client: TestClient) -> None:
    name = made_service(client, graph())
    changes = [{"colors": "gray"}, {"min": 0.1}, {"max": 0.9}, {"minzoom": 1}, {"maxzoom": 20}]

    with ThreadPoolExecutor(len(changes)) as pool:
        answers = list(
            pool.map(
                lambda one: client.patch(f"/services/{name}", json={"configuration": one}), changes
            )
        )

    together = {key: value for change in changes for key, value in change.items()}
    assert {answer.status_code for answer in answers} == {204}
    assert described(client, name)["configuration"] == together


OUT_OF_RANGE = (
    "WebMercatorQuad/3/8/0.png", "WebMercatorQuad/25/0/0.png", "WebMercatorQuad/2/0/0.png",
    "native/25/0/0.png", "native/-1/0/0.png", "Mars/1/0/0.png", "native/1/0/0.tif",
)  # fmt: skip


@pytest.mark.parametrize("tile", OUT_OF_RANGE)
def test_tiles_that_cannot_be_are_refused_before_anything_is_opened(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tile: str
) -> None:
    name = made_service(client, graph(), configuration={"minzoom": 3})

    def open_it(*_: object) -> None:
        pytest.fail("opened")

    monkeypatch.setattr(Maps, "open", open_it)
    answer = client.get(f"/services/{name}/tiles/{tile}")

    assert answer.status_code in {400, 404}
    assert set(answer.json()) == {"id", "code", "message", "links"}


def test_what_goes_wrong_is_said_once_in_the_log(tmp_path: Path) -> None:
    workspace = make_home(tmp_path)
    with TestClient(create_app(workspace), raise_server_exceptions=False) as client:
        name = made_service(client, graph())
        workspace.catalog().delete_items(COLLECTION, [f"scene_{d.replace('-', '')}" for d in DATES])

        answers = [client.get(f"/services/{name}/{TILE}") for _ in range(3)]
        wrong_request = client.get(f"/services/{name}/{TILE}?bands=a,b")
        logs = client.get(f"/services/{name}/logs").json()["logs"]
        behind = client.get(f"/services/{name}/logs", params={"offset": logs[-1]["id"]}).json()

    assert {answer.json()["code"] for answer in (*answers, wrong_request)} == {logs[0]["code"]}
    assert [entry["level"] for entry in logs] == ["error"]
    assert logs[0]["message"] == answers[0].json()["message"]
    assert behind["logs"] == []


def inspected() -> dict[str, Any]:
    document = graph()
    document["process_graph"]["ndvi"]["result"] = False
    document["process_graph"]["told"] = {
        "process_id": "inspect",
        "arguments": {"data": {"from_node": "ndvi"}, "message": "seen", "level": "warning"},
        "result": True,
    }
    return document


@pytest.mark.parametrize(("level", "count"), [("warning", 1), ("error", 0)])
def test_what_a_graph_logs_is_in_the_log_if_it_is_serious_enough(
    client: TestClient, level: str, count: int
) -> None:
    name = made_service(client, inspected(), log_level=level)

    client.get(f"/services/{name}/{TILE}?min=0.111")
    logs = client.get(f"/services/{name}/logs").json()

    assert [entry["message"] for entry in logs["logs"]] == ["seen"] * count
    assert logs["level"] == level


def test_the_owners_processes_are_kept_as_they_were(
    town: TestClient, alice: dict[str, str]
) -> None:
    mine = graph()
    mine["process_graph"]["load"]["arguments"]["bands"] = ["red", "nir"]
    town.put("/process_graphs/my_index", json=mine, headers=alice)
    process = {
        "process_graph": {"call": {"process_id": "my_index", "arguments": {}, "result": True}}
    }
    name = made_service(town, process, headers=alice, configuration={"scope": "public"})
    before = town.get(f"/services/{name}/{TILE}").content

    town.delete("/process_graphs/my_index", headers=alice)
    town.patch(f"/services/{name}", json={"title": "renamed"}, headers=alice)
    time.sleep(BELIEVED)
    after = town.get(f"/services/{name}/{TILE}")

    assert (after.status_code, after.content) == (200, before)


SEEN_BY = {
    "private": {"alice"},
    "restricted": {"alice", "bob"},
    "public": {"alice", "bob", "nobody"},
}
LOOKS = (TILE, "map", "point?lon=21.01&lat=45.14", "wmts", "wmts/1.0.0/WMTSCapabilities.xml")


@pytest.mark.parametrize("scope", SEEN_BY)
def test_a_service_is_seen_by_those_whom_its_scope_names(
    town: TestClient, alice: dict[str, str], bob: dict[str, str], scope: str
) -> None:
    name = made_service(town, graph(), headers=alice, configuration={"scope": scope})
    people: dict[str, dict[str, str]] = {"alice": alice, "bob": bob, "nobody": {}}

    for who, headers in people.items():
        may = who in SEEN_BY[scope]
        for path in LOOKS:
            status = town.get(f"/services/{name}/{path}", headers=headers).status_code
            assert status == (200 if may else 404), (who, path)
        maps = town.get("/maps", headers=headers).json()["maps"]
        assert (name in [one["id"] for one in maps]) == may


def test_what_may_not_be_seen_answers_like_what_is_not_there(
    town: TestClient, alice: dict[str, str], bob: dict[str, str]
) -> None:
    name = made_service(town, graph(), headers=alice)
    nothing = "0" * len(name)

    for headers in (bob, {}):
        for path in LOOKS:
            hidden, missing = (
                town.get(f"/services/{one}/{path}", headers=headers) for one in (name, nothing)
            )
            texts = [
                answer.text.replace(one, "").replace(_id(answer), "")
                for answer, one in ((hidden, name), (missing, nothing))
            ]
            assert hidden.status_code == missing.status_code == 404
            assert texts[0] == texts[1]


def _id(answer: Any) -> str:
    return answer.json()["id"] if "json" in answer.headers["content-type"] else "-"


def test_only_the_owner_changes_deletes_and_reads_the_log(
    town: TestClient, alice: dict[str, str], bob: dict[str, str]
) -> None:
    name = made_service(town, graph(), headers=alice, configuration={"scope": "public"})
    address = f"/services/{name}"

    strange = [
        town.patch(address, json={"title": "mine"}, headers=bob),
        town.delete(address, headers=bob),
        town.get(f"{address}/logs", headers=bob),
    ]
    unknown = [
        town.get("/services"),
        town.post("/services", json={}),
        town.get(address),
        town.patch(address, json={}),
        town.delete(address),
        town.get(f"{address}/logs"),
    ]

    assert [answer.status_code for answer in strange] == [404] * 3
    assert [answer.status_code for answer in unknown] == [401] * 6
    assert "title" not in described(town, name, alice)
    assert name not in [one["id"] for one in town.get("/services", headers=bob).json()["services"]]


def test_the_owners_address_shows_a_private_service_to_whoever_has_it(
    town: TestClient, alice: dict[str, str]
) -> None:
    name, other = (made_service(town, graph(), headers=alice) for _ in range(2))
    told = described(town, name, alice)
    url = path_of(told["url"]).format(z=10, x=0, y=0)
    key = url.partition("?key=")[2]

    shown = town.get(url)
    elsewhere = town.get(f"/services/{other}/{TILE}?key={key}")
    forged = town.get(url[:-1] + ("0" if url[-1] != "0" else "1"))
    facts = town.get(f"/services/{name}/map?key={key}")
    document = town.get(f"/services/{name}?key={key}")

    assert (shown.status_code, facts.status_code) == (200, 200)
    assert (elsewhere.status_code, forged.status_code) == (404, 404)
    assert document.status_code == 401
    assert shown.headers["cache-control"].startswith("private")


def test_others_get_addresses_without_a_key(
    town: TestClient, alice: dict[str, str], bob: dict[str, str]
) -> None:
    name = made_service(town, graph(), headers=alice, configuration={"scope": "restricted"})
    public = made_service(town, graph(), headers=alice, configuration={"scope": "public"})

    assert "key=" in json.dumps(described(town, name, alice))
    assert "key=" not in json.dumps(described(town, name, bob))
    assert "key=" not in json.dumps(described(town, public, alice))


def test_a_service_that_becomes_private_or_is_deleted_is_gone_within_a_second(
    town: TestClient, alice: dict[str, str]
) -> None:
    hidden, deleted = (
        made_service(town, graph(), headers=alice, configuration={"scope": "public"})
        for _ in range(2)
    )
    first = [town.get(f"/services/{name}/{TILE}") for name in (hidden, deleted)]

    town.patch(f"/services/{hidden}", json={"configuration": {"scope": "private"}}, headers=alice)
    town.delete(f"/services/{deleted}", headers=alice)
    time.sleep(BELIEVED)
    then = [town.get(f"/services/{name}/{TILE}") for name in (hidden, deleted)]

    assert [answer.status_code for answer in first] == [200, 200]
    assert first[0].headers["cache-control"].startswith("public")
    assert [answer.status_code for answer in then] == [404, 404]


def test_a_service_has_the_rights_of_its_owner_as_they_are_now(
    workspace: Workspace, tmp_path: Path
) -> None:
    settings = ServerSettings(database=f"sqlite:///{tmp_path / 'ledger'}", open=False)
    app = create_app(workspace, settings)
    with TestClient(app, raise_server_exceptions=False) as client:
        owner, other = (resident(client, name) for name in ("owner", "other"))
        change_user(ledger_of(client), "owner", groups=["team"])
        set_access(ledger_of(client), CollectionAccess(COLLECTION, Visibility.GROUP, "team"))
        name = made_service(client, graph(), headers=owner, configuration={"scope": "public"})

        refused = client.post("/services", json=VALID | {"process": graph()}, headers=other)
        shown = client.get(f"/services/{name}/{TILE}", headers=other)
        change_user(ledger_of(client), "owner", groups=[])
        time.sleep(BELIEVED)
        gone = client.get(f"/services/{name}/{TILE}", headers=other)
        known = client.get(
            f"/services/{name}/{TILE}", headers={"If-None-Match": shown.headers["etag"]}
        )
        told = client.get(f"/services/{name}/{TILE}", headers=owner)
        logs = client.get(f"/services/{name}/logs", headers=owner).json()["logs"]

    assert (refused.status_code, refused.json()["code"]) == (404, "CollectionNotFound")
    assert (shown.status_code, gone.status_code, known.status_code) == (200, 404, 404)
    assert gone.json()["code"] == "ServiceUnusable"
    assert COLLECTION not in gone.text
    assert told.json()["code"] == logs[0]["code"] == "CollectionNotFound"


def test_services_of_a_closed_account_are_gone(town: TestClient) -> None:
    headers = resident(town, "carol")
    name = made_service(town, graph(), headers=headers, configuration={"scope": "public"})
    key = town.get(f"/services/{name}/{TILE}").status_code

    change_user(ledger_of(town), "carol", enabled=False)
    time.sleep(BELIEVED)

    assert key == 200
    assert town.get(f"/services/{name}/{TILE}").status_code == 404
