"""Layers over HTTP: the same answers as in Python, with the rights of whoever asks."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from tests.server.people import closed, ledger, newcomer
from tests.server.small import COLLECTION, DATES, graph, made_service, make_home

from terrazzo.drivers.screen.answers import answer
from terrazzo.drivers.screen.layer import open_layer
from terrazzo.drivers.screen.pictures import Picture
from terrazzo.ledger import Visibility
from terrazzo.ledger.collections import CollectionAccess, set_access
from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.drivers.job import Workspace

NDJSON = {"Accept": "application/x-ndjson"}
SQUARE = {
    "type": "Polygon",
    "coordinates": [[[21.01, 45.13], [21.02, 45.13], [21.02, 45.14], [21.01, 45.13]]],
}


@pytest.fixture(scope="module")
def layer(client: TestClient) -> dict[str, Any]:
    answered = client.post("/layers", json={**graph(), "title": "NDVI"})
    assert answered.status_code == 201, answered.text
    told: dict[str, Any] = answered.json()
    return told


def view(layer: dict[str, Any], edge: int = 64) -> dict[str, Any]:
    return {"bounds": layer["native"]["extent"], "crs": "native", "width": edge, "height": edge}


def test_the_same_graph_is_the_same_layer(client: TestClient, layer: dict[str, Any]) -> None:
    again = client.post("/layers", json={"process": graph(), "title": "NDVI"})

    assert again.json() == {**layer, "process": graph()}
    assert again.headers["Location"].endswith(f"/layers/{layer['id']}")
    assert client.get(f"/layers/{layer['id']}").json()["id"] == layer["id"]
    assert [date[:10] for date in layer["dates"]] == list(DATES)


def test_answers_are_those_of_python(
    client: TestClient, workspace: Workspace, layer: dict[str, Any]
) -> None:
    here = open_layer(workspace, graph())
    west, south, east, north = layer["bounds"]
    middle = {"lon": (west + east) / 2, "lat": (south + north) / 2}
    line = {"type": "LineString", "coordinates": [[west, south], [east, north]]}

    for method, given in {
        "legend": {"look": {"colors": "magma"}},
        "statistics": view(layer),
        "values": middle,
        "profile": {"geometry": SQUARE, "smooth": {"method": "whittaker"}},
        "transect": {"geometry": line},
    }.items():
        answered = client.post(f"/layers/{layer['id']}/{method}", json=given)

        assert answered.json() == json.loads(json.dumps(answer(here, method, given)))


def test_pictures_are_those_of_python_and_say_their_resolution(
    client: TestClient, workspace: Workspace, layer: dict[str, Any]
) -> None:
    expected = answer(open_layer(workspace, graph()), "picture", view(layer))

    answered = client.post(f"/layers/{layer['id']}/picture", json=view(layer))

    assert isinstance(expected, Picture)
    assert answered.content == expected.content
    assert answered.headers["Content-Type"] == "image/png"
    assert float(answered.headers["X-Resolution-Metres"]) == pytest.approx(3000 / 64, rel=1e-5)


def test_a_tile_is_shown_as_its_look_says_and_asked_for_again_when_it_changes(
    client: TestClient, layer: dict[str, Any]
) -> None:
    place = f"/layers/{layer['id']}/tiles/native/1/0/0"

    def tile(look: dict[str, Any], tag: str = "") -> Any:
        headers = {"If-None-Match": tag}
        return client.get(f"{place}.png", params={"look": json.dumps(look)}, headers=headers)

    first, last = (tile({"time": date}) for date in (layer["dates"][0], layer["dates"][-1]))
    numbers = np.load(io.BytesIO(client.get(f"{place}.npy").content))

    assert first.content != last.content
    assert tile({}).content == last.content
    assert tile({}, last.headers["ETag"]).status_code == 304
    assert first.headers["X-Resolution-Metres"] == "10"
    shown = np.asarray(Image.open(io.BytesIO(last.content)).convert("RGBA"))
    np.testing.assert_array_equal(shown[..., 3] > 0, numbers[1] > 0)


def test_a_layer_has_the_pixels_of_a_service(
    client: TestClient, layer: dict[str, Any], service: dict[str, Any]
) -> None:
    look = {"stretch": {"low": 0.0, "high": 1.0}, "colors": "rdylgn"}

    ours = client.get(
        f"/layers/{layer['id']}/tiles/native/1/1/1.png", params={"look": json.dumps(look)}
    )

    assert ours.content == client.get(f"/services/{service['id']}/tiles/native/1/1/1.png").content


def test_a_service_is_asked_like_a_layer(client: TestClient, service: dict[str, Any]) -> None:
    told = client.post("/layers", json={"service": {"id": service["id"]}}).json()
    answered = client.post(f"/layers/{service['id']}/statistics", json=view(told))

    assert told["id"] == service["id"]
    assert told["title"] == "NDVI"
    assert told["look"]["stretch"] == {"kind": "range", "low": 0.0, "high": 1.0}
    assert answered.json()["bands"][0]["valid"] > 0


def test_a_timelapse_tells_of_its_frames(client: TestClient, layer: dict[str, Any]) -> None:
    asked = f"/layers/{layer['id']}/timelapse"

    whole = client.post(asked, json=view(layer))
    streamed = client.post(asked, json=view(layer), headers=NDJSON)
    told = [json.loads(line) for line in streamed.text.splitlines()]

    count = len(DATES)
    assert told[:-1] == [{"frame": n, "of": count} for n in range(1, count + 1)]
    assert base64.b64decode(told[-1]["content"]) == whole.content
    assert whole.headers["Content-Type"] == told[-1]["media_type"] == "image/gif"


def test_what_goes_wrong_in_a_stream_is_its_last_line(
    client: TestClient, layer: dict[str, Any]
) -> None:
    given = {**view(layer), "dates": ["1999"]}

    answered = client.post(f"/layers/{layer['id']}/timelapse", json=given, headers=NDJSON)

    (line,) = answered.text.splitlines()
    assert json.loads(line)["code"] == "LabelNotAvailable"


def test_places_are_found_by_names_in_many_languages(client: TestClient) -> None:
    def first(text: str) -> tuple[str, str]:
        found = client.get("/places", params={"q": text}).json()["places"][0]
        return found["name"], found["country"]

    assert first("ljub") == ("Ljubljana", "Slovenia")
    assert first("Wien") == ("Vienna", "Austria")
    assert first("МОСКВА") == ("Moscow", "Russia")  # noqa: RUF001 - Cyrillic
    assert first("york, united k") == ("York", "United Kingdom")
    assert client.get("/places", params={"q": "qqqqqq"}).json()["places"] == []


def test_colour_maps_are_listed_with_their_colours(client: TestClient) -> None:
    listed = client.get("/colormaps").json()

    assert listed["gray"][0], listed["gray"][-1] == ("#000000", "#ffffff")
    assert {"viridis", "RdYlGn", "tab10"} < set(listed)


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", "/layers", {}, "RequestInvalid"),
        ("POST", "/layers", {"process_graph": {}}, "ProcessGraphMissing"),
        ("POST", "/layers", {"service": {"id": "x"}}, "RequestInvalid"),
        ("POST", "/layers", graph("nothing"), "CollectionNotFound"),
        ("POST", "/layers/ID/nothing", {}, "NotFound"),
        ("POST", "/layers/ID/statistics", {}, "ProcessParameterInvalid"),
        ("GET", "/layers/ID/tiles/native/1/0/0.bmp", None, "FormatUnsupported"),
        ("GET", "/layers/ID/tiles/mine/1/0/0.png", None, "ProcessParameterInvalid"),
        ("GET", "/layers/ID/tiles/native/1/9/0.png", None, "ProcessParameterInvalid"),
        ("GET", "/layers/ID/tiles/native/1/0/0.png?look=[]", None, "RequestInvalid"),
        (
            "GET",
            '/layers/ID/tiles/native/1/0/0.png?look={"bands":["x"]}',
            None,
            "ProcessParameterInvalid",
        ),
        ("GET", "/places", None, "RequestInvalid"),
    ],
)
def test_what_is_asked_wrongly_gets_one_clear_error(
    client: TestClient, layer: dict[str, Any], method: str, path: str, body: Any, code: str
) -> None:
    answered = client.request(method, path.replace("ID", layer["id"]), json=body)

    assert answered.status_code >= 400
    assert answered.json()["code"].startswith(code)


@pytest.fixture(scope="module")
def shut(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Path]]:
    home = tmp_path_factory.mktemp("shut")
    with TestClient(create_app(make_home(home), closed())) as client:
        yield client, home


def test_strangers_show_public_collections_but_run_no_code(shut: tuple[TestClient, Path]) -> None:
    client, _ = shut
    arguments = {
        "data": {"from_parameter": "x"},
        "udf": "def f(x):\n    return x",
        "runtime": "Python",
    }
    code = {"process_id": "run_udf", "arguments": arguments, "result": True}
    document = graph()
    document["process_graph"]["ndvi"]["result"] = False
    document["process_graph"]["run"] = {
        "process_id": "apply",
        "arguments": {
            "data": {"from_node": "ndvi"},
            "process": {"process_graph": {"udf": code}},
        },
        "result": True,
    }

    assert client.post("/layers", json=graph()).status_code == 201
    refused = client.post("/layers", json=document)
    assert (refused.status_code, refused.json()["code"]) == (401, "AuthenticationRequired")


def test_a_layer_is_computed_with_the_rights_of_whoever_asks(
    shut: tuple[TestClient, Path],
) -> None:
    client, home = shut
    database = ledger(home)
    owner, stranger = (newcomer(database, name) for name in ("olga", "stan"))
    name = client.post("/layers", json=graph(), headers=owner).json()["id"]
    place = f"/layers/{name}/tiles/native/1/0/0.png"
    assert client.get(place, headers=stranger).status_code == 200

    set_access(database, CollectionAccess(COLLECTION, Visibility.PRIVATE, owner="olga"))
    database.close()
    client.app.state.parts.layers._seen = type(client.app.state.parts.layers._seen)(8)  # type: ignore[attr-defined] # a second later
    gone = client.get(place, headers=stranger)

    assert (gone.status_code, gone.json()["code"]) == (404, "LayerNotFound")


def test_a_service_of_others_does_not_tell_its_graph(shut: tuple[TestClient, Path]) -> None:
    client, home = shut
    database = ledger(home)
    owner = newcomer(database, "omar")
    set_access(database, CollectionAccess(COLLECTION, Visibility.PUBLIC))
    database.close()
    made = made_service(client, graph(), headers=owner, configuration={"scope": "public"})

    assert client.get(f"/layers/{made}", headers=owner).json()["process"] is not None
    assert client.get(f"/layers/{made}").json()["process"] is None
