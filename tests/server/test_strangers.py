"""What people who are not logged in may cost others, and what they are told of theirs."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from starlette.testclient import TestClient
from tests.server.people import closed, ledger, newcomer
from tests.server.small import COLLECTION, graph, made_service, make_home

from terrazzo.errors import ArgumentInvalid, NoDataAvailable
from terrazzo.graph import parse
from terrazzo.ledger import ANONYMOUS, Visibility
from terrazzo.ledger.collections import CollectionAccess, set_access
from terrazzo.processes import SPECS
from terrazzo.progress import Cancelled
from terrazzo.server.app import create_app
from terrazzo.server.maps import patient
from terrazzo.server.maps.layers import MOST_OF_ADDRESS, MOST_STRANGERS
from terrazzo.server.maps.opened import OpenLayers
from terrazzo.server.screen import routes
from terrazzo.server.web.faults import ServerBusy, ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from starlette.types import Message, Scope

    from terrazzo.grass import Call
    from terrazzo.progress import Progress
    from terrazzo.server.parts import Parts

Headers = dict[str, str]


@pytest.fixture(scope="module")
def shut(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Headers, Path]]:
    """A server that asks for log-ins, and somebody who has one."""
    home = tmp_path_factory.mktemp("shut")
    settings = closed(kept_bytes=0)
    with TestClient(create_app(make_home(home), settings), raise_server_exceptions=False) as client:
        database = ledger(home)
        olga = newcomer(database, "olga")
        database.close()
        yield client, olga, home


def applied(count: int) -> dict[str, Any]:
    """Return the graph of NDVI with a callback of so many nodes."""
    nodes: dict[str, Any] = graph()["process_graph"]
    nodes["ndvi"]["result"] = False
    inner: dict[str, Any] = {}
    x: dict[str, str] = {"from_parameter": "x"}
    for number in range(count):
        inner[f"n{number}"] = {"process_id": "sin", "arguments": {"x": x}}
        x = {"from_node": f"n{number}"}
    inner[f"n{count - 1}"]["result"] = True
    arguments = {"data": {"from_node": "ndvi"}, "process": {"process_graph": inner}}
    nodes["apply"] = {"process_id": "apply", "arguments": arguments, "result": True}
    return {"process_graph": nodes}


def opened(client: TestClient, document: dict[str, Any], headers: Headers | None = None) -> Any:
    answered = client.post("/layers", json=document, headers=headers)
    assert answered.status_code == 201, answered.text
    return answered.json()


def view(layer: dict[str, Any], edge: int = 32) -> dict[str, Any]:
    return {"bounds": layer["native"]["extent"], "crs": "native", "width": edge, "height": edge}


def public(client: TestClient, headers: Headers, process: dict[str, Any] | None = None) -> str:
    shown = {"min": 0, "max": 1, "scope": "public"}
    return made_service(client, process or graph(), headers=headers, configuration=shown)


def code(answered: Any) -> tuple[int, str]:
    return answered.status_code, answered.json().get("code", "")


def test_graphs_of_strangers_are_computed_by_threads_of_their_own(
    shut: tuple[TestClient, Headers, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, olga, _ = shut
    layer, service = opened(client, graph()), public(client, olga)
    at, tile = f"/layers/{layer['id']}", "tiles/native/0/0/0.png"
    parts: Parts = client.app.state.parts  # type: ignore[attr-defined] # of FastAPI
    line = {"type": "LineString", "coordinates": [[21.01, 45.13], [21.02, 45.14]]}

    monkeypatch.setattr(parts.strangers, "_longest_queue", 0)  # as if many of them waited
    refused = [
        client.post("/layers", json=graph()),
        client.get(at),
        client.get(f"{at}/{tile}"),
        client.post(f"{at}/statistics", json=view(layer)),
        client.post(f"{at}/transect", json={"geometry": line}),
    ]
    served = [
        client.post("/layers", json={"service": {"id": service}}),
        client.get(f"/layers/{service}"),
        client.get(f"/services/{service}/{tile}"),
        client.get(f"/layers/{service}/{tile}"),
        client.post(f"/layers/{service}/statistics", json=view(layer)),
        client.post("/layers", json=graph(), headers=olga),
        client.get(f"{at}/{tile}", headers=olga),
        client.post(f"{at}/statistics", json=view(layer), headers=olga),
        client.post(f"{at}/transect", json={"geometry": line}, headers=olga),
    ]

    assert [code(one) for one in refused] == [(503, "ServerBusy")] * len(refused)
    assert {one.status_code for one in served} == {200, 201}


def test_strangers_show_graphs_of_few_nodes(shut: tuple[TestClient, Headers, Path]) -> None:
    client, olga, _ = shut
    most = 200 - 2  # of load and ndvi; apply is one of the others

    opened(client, applied(most - 1))
    refused = client.post("/layers", json=applied(most))

    assert code(refused) == (400, "ProcessGraphComplexity")
    assert "201 nodes" in refused.json()["message"]
    name = opened(client, applied(most), olga)["id"]
    assert client.get(f"/layers/{name}", headers=olga).status_code == 200
    assert code(client.get(f"/layers/{name}")) == (404, "LayerNotFound")


def test_a_graph_that_is_too_large_to_be_kept_is_not_opened(
    shut: tuple[TestClient, Headers, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _, _ = shut
    began: list[object] = []
    monkeypatch.setattr(OpenLayers, "opened", lambda *given, **_: began.append(given))
    document = {"process": {**graph(), "description": "x" * 100_000}}

    refused = client.post("/layers", json=document)

    assert code(refused) == (400, "LayerTooLarge")
    assert began == []


@pytest.mark.parametrize("method", ["statistics", "picture", "values", "transect"])
def test_what_takes_long_is_stopped_when_its_time_is_over(
    shut: tuple[TestClient, Headers, Path], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    client, olga, _ = shut
    layer = opened(client, graph())
    west, south, east, north = layer["bounds"]
    ends = [[west, south], [east, north]]
    given = {
        "values": {"lon": (west + east) / 2, "lat": (south + north) / 2},
        "transect": {"geometry": {"type": "LineString", "coordinates": ends}},
    }.get(method, view(layer))
    monkeypatch.setattr(patient, "SECONDS_OF_STRANGERS", -1.0)

    late = client.post(f"/layers/{layer['id']}/{method}", json=given)
    known = client.post(f"/layers/{layer['id']}/{method}", json=given, headers=olga)

    assert code(late) == (400, "AnswerTooLong")
    assert known.status_code == 200


def test_a_layer_that_takes_long_to_open_is_stopped_too(
    shut: tuple[TestClient, Headers, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, olga, _ = shut
    process = graph()
    process["process_graph"]["ndvi"]["result"] = False
    trim = {"process_id": "trim_cube", "arguments": {"data": {"from_node": "ndvi"}}, "result": True}
    process["process_graph"]["trim"] = trim  # looks at all pixels before the first tile
    monkeypatch.setattr(patient, "SECONDS_OF_STRANGERS", -1.0)

    late = client.post("/layers", json=process)
    known = client.post("/layers", json=process, headers=olga)

    assert code(late) == (400, "AnswerTooLong")
    assert known.status_code == 201


def grass(module: str, process: str = "run_grass") -> dict[str, Any]:
    """Return the graph of a module of GRASS over NDVI."""
    nodes: dict[str, Any] = graph()["process_graph"]
    nodes["ndvi"]["result"] = False
    arguments = {"data": {"from_node": "ndvi"}, "module": module}
    nodes["grass"] = {"process_id": process, "arguments": arguments, "result": True}
    return {"process_graph": nodes}


TILE = "tiles/native/0/0/0.png"
GRASS = [grass("r.neighbors"), grass("r.topidx", "run_grass_whole")]
PATIENCE_S = 60


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Modules of GRASS that run on until they are stopped, and which of them ran."""
    ran: list[str] = []

    def run(call: Call, *_: object, check: Callable[[], None]) -> None:
        ran.append(call.module.name)
        end = time.monotonic() + PATIENCE_S
        try:
            while time.monotonic() < end:
                check()
                time.sleep(0.01)
        except Cancelled:
            ran.append("stopped")
            raise
        pytest.fail("Nobody stops it.")

    module = import_module("terrazzo.processes.grass")
    monkeypatch.setattr(module, "run_module", run)
    monkeypatch.setattr(module, "check_grass", lambda: None)
    return ran


@pytest.mark.parametrize("document", GRASS, ids=["blocks", "whole"])
def test_strangers_run_no_grass(
    shut: tuple[TestClient, Headers, Path], endless: list[str], document: dict[str, Any]
) -> None:
    client, _, _ = shut

    refused = client.post("/layers", json=document)

    assert code(refused) == (401, "AuthenticationRequired")
    assert "run_grass" in refused.json()["message"]
    assert endless == []


def test_grass_is_ended_when_the_time_of_an_answer_is_over(
    shut: tuple[TestClient, Headers, Path], endless: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, olga, _ = shut
    local, whole = GRASS
    plain, service = opened(client, graph()), public(client, olga, local)
    name = parse(local, specs=SPECS).digest
    point = {"geometry": {"type": "Point", "coordinates": [21.01, 45.13]}}
    # A module that runs takes longer than anybody waits; all before it takes no time.
    clock = SimpleNamespace(monotonic=lambda: 2 * patient.SECONDS_OF_ALL * len(endless))
    monkeypatch.setattr(patient, "time", clock)

    late = [
        client.post("/layers", json=local, headers=olga),
        client.get(f"/layers/{name}", headers=olga),
        client.post("/layers", json=whole, headers=olga),
        client.post("/services", json={"type": "XYZ", "process": local}, headers=olga),
        client.post("/services", json={"type": "XYZ", "process": whole}, headers=olga),
        client.post(f"/layers/{service}/statistics", json=view(plain)),
        client.post(f"/layers/{service}/profile", json=point),
        client.get(f"/layers/{service}/{TILE}"),
        client.get(f"/services/{service}/{TILE}"),
        client.get(f"/services/{service}/{TILE}", headers=olga),
        client.get(f"/services/{service}/point?lon=21.01&lat=45.13"),
    ]
    wmts = client.get(
        f"/services/{service}/wmts?request=GetTile&layer={service}&format=image/png"
        "&tilematrixset=native&tilematrix=0&tilecol=0&tilerow=0"
    )

    assert [code(one) for one in late] == [(400, "AnswerTooLong")] * len(late)
    assert wmts.status_code == 400
    assert "nobody waits longer" in wmts.text
    assert len(endless) == len(late) + 1
    assert set(endless) == {"r.topidx", "r.neighbors"}


@pytest.mark.parametrize("at", ["layers", "services"])
def test_grass_is_ended_when_whoever_wants_a_tile_leaves(
    shut: tuple[TestClient, Headers, Path], endless: list[str], at: str
) -> None:
    client, olga, _ = shut
    service = public(client, olga, grass("r.neighbors"))

    sent = left(client, "GET", f"/{at}/{service}/{TILE}", lambda: bool(endless))

    assert sent[0]["status"] == 499
    end = time.monotonic() + PATIENCE_S
    while endless[-1] != "stopped":
        assert time.monotonic() < end
        time.sleep(0.01)
    assert endless == ["r.neighbors", "stopped"]


def test_whoever_leaves_is_no_fault_of_a_service(shut: tuple[TestClient, Headers, Path]) -> None:
    client, olga, _ = shut
    name = public(client, olga)
    parts: Parts = client.app.state.parts  # type: ignore[attr-defined] # of FastAPI
    seen = parts.maps.seen(ANONYMOUS, name)

    for error in (Cancelled(), NoDataAvailable("There is none.")):
        with pytest.raises((Cancelled, ServiceUnusable)), parts.maps.telling(seen):
            raise error

    logs = client.get(f"/services/{name}/logs", headers=olga).json()["logs"]
    assert [entry["code"] for entry in logs] == ["NoDataAvailable"]


def test_nobody_takes_all_the_slow_answers_of_strangers(
    shut: tuple[TestClient, Headers, Path],
) -> None:
    client, _, _ = shut
    app: Any = client.app
    layers = app.state.parts.layers

    def admitted(address: str) -> AbstractContextManager[None]:
        return layers.admitted(ANONYMOUS, address)

    with ExitStack() as stack:
        for _ in range(MOST_OF_ADDRESS):
            stack.enter_context(admitted("192.0.2.1"))
        with pytest.raises(ServerBusy, match="your address"):
            stack.enter_context(admitted("192.0.2.1"))
        for number in range(MOST_STRANGERS - MOST_OF_ADDRESS):
            stack.enter_context(admitted(f"192.0.2.{number + 2}"))
        with pytest.raises(ServerBusy, match="Too many people"):
            stack.enter_context(admitted("192.0.2.99"))

    with admitted("192.0.2.1"), admitted("192.0.2.1"):
        pass


def left(client: TestClient, method: str, path: str, begun: Callable[[], bool]) -> list[Message]:
    """Ask for something, leave when it has begun, and return what came."""
    sent: list[Message] = []
    came = iter([{"type": "http.request", "body": b"{}", "more_body": False}])

    async def receive() -> Message:
        message = next(came, None)
        if message is not None:
            return message
        end = time.monotonic() + PATIENCE_S
        while not begun():
            assert time.monotonic() < end
            await anyio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "headers": [(b"host", b"testserver"), (b"content-type", b"application/json")],
        "server": ("testserver", 80), "client": ("testclient", 1), "asgi": {"version": "3.0"},
    }  # fmt: skip
    anyio.run(client.app, scope, receive, send)
    return sent


@pytest.mark.parametrize("method", ["statistics", "picture", "values", "timelapse"])
def test_nothing_is_computed_on_when_nobody_waits(
    shut: tuple[TestClient, Headers, Path], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    client, _, _ = shut
    layer = opened(client, graph())
    begun, stopped, ended = (threading.Event() for _ in range(3))

    def endless(_: object, __: str, ___: object, progress: Progress) -> None:
        progress.start(1, "steps")
        begun.set()
        try:
            while not ended.wait(0.01):
                progress.advance(0)
        except Cancelled:
            stopped.set()

    monkeypatch.setattr(routes, "answer", endless)
    sent = left(client, "POST", f"/layers/{layer['id']}/{method}", begun.is_set)

    try:
        assert begun.is_set()
        assert stopped.wait(PATIENCE_S)
    finally:
        ended.set()
    assert sent[0]["status"] == 499


def test_a_title_is_told_to_whoever_gave_it(shut: tuple[TestClient, Headers, Path]) -> None:
    client, olga, _ = shut
    mine = {"process": {**applied(3), "description": "what I look for"}, "title": "My secret"}
    layer = opened(client, mine, olga)

    stranger = client.get(f"/layers/{layer['id']}")
    again = client.get(f"/layers/{layer['id']}", headers=olga)

    assert (layer["title"], layer["process"]) == ("My secret", mine["process"])
    assert again.json() == layer
    assert (stranger.json()["title"], stranger.json()["process"]) == ("", None)
    assert {**layer, "title": "", "process": None} == stranger.json()


def test_why_a_service_of_others_cannot_be_opened_is_not_told(
    shut: tuple[TestClient, Headers, Path],
) -> None:
    client, olga, home = shut
    service = public(client, olga)
    layer = opened(client, graph())
    narrow: dict[str, Any] = json.loads(json.dumps(graph()))
    narrow["process_graph"]["load"]["arguments"]["temporal_extent"] = ["2018-01-01", "2018-06-15"]
    name = public(client, olga, narrow)
    database = ledger(home)
    set_access(database, CollectionAccess(COLLECTION, Visibility.PUBLIC, owner=_id(client, olga)))
    items = client.get(f"/collections/{COLLECTION}/items", headers=olga).json()["features"]
    early = [one for one in items if one["properties"]["datetime"].startswith("2018")]
    for item in early:
        gone = client.delete(f"/collections/{COLLECTION}/items/{item['id']}", headers=olga)
        assert gone.status_code < 300, gone.text
    database.close()

    own = client.post(f"/layers/{name}/statistics", json=view(layer), headers=olga)
    strangers = [
        client.post(f"/layers/{name}/statistics", json=view(layer)),
        client.get(f"/layers/{name}/tiles/native/0/0/0.png"),
        client.get(f"/services/{name}/tiles/native/0/0/0.png"),
    ]

    assert code(own) == (400, "NoDataAvailable")
    assert [code(one) for one in strangers] == [(404, "ServiceUnusable")] * 3
    assert not any(COLLECTION in one.json()["message"] for one in strangers)
    assert client.post(f"/layers/{service}/statistics", json=view(layer)).status_code == 200


def test_why_pixels_of_a_service_cannot_be_computed_is_not_told(
    shut: tuple[TestClient, Headers, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, olga, _ = shut
    name, layer = public(client, olga), opened(client, graph())
    square = {"type": "Point", "coordinates": [21.01, 45.13]}
    asked = [
        ("statistics", view(layer)),
        ("picture", view(layer)),
        ("profile", {"geometry": square}),
    ]

    def failed(*_: object) -> None:
        raise ArgumentInvalid("Line 3 of the owner's function: 'hidden'.")

    monkeypatch.setattr(import_module("terrazzo.engine.evaluate"), "demand", failed)
    strangers = [client.post(f"/layers/{name}/{method}", json=given) for method, given in asked]
    own = client.post(f"/layers/{name}/statistics", json=view(layer), headers=olga)
    wrong = client.post(
        f"/layers/{name}/statistics", json={**view(layer), "look": {"bands": ["x"]}}
    )

    assert [code(one) for one in strangers] == [(404, "ServiceUnusable")] * len(asked)
    assert "hidden" in own.json()["message"]
    assert "no bands" in wrong.json()["message"]


def _id(client: TestClient, headers: Headers) -> str:
    return str(client.get("/me", headers=headers).json()["user_id"])
