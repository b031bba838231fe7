"""Layers of a connection: computed by its server, the same pixels as in the kernel."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import requests
import xarray as xr
from openeo.rest.auth.auth import BearerAuth

import terrazzo
from terrazzo.errors import ArgumentInvalid
from terrazzo.notebook.map_arrays import as_dataset
from terrazzo.notebook.map_channel import Content
from terrazzo.notebook.map_scratch import Scratch
from terrazzo.notebook.map_screens import (
    LocalScreen,
    ScreenUnsupported,
    ServerRefused,
    ServerScreen,
)
from terrazzo.progress import Progress
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def scratch() -> Scratch:
    return Scratch()


@pytest.fixture(scope="module")
def graph(scratch: Scratch) -> dict[str, Any]:
    y, x = 5e6 - 10 * np.arange(50), 5e5 + 10 * np.arange(60)
    numbers = np.arange(3000, dtype=np.float32).reshape(50, 60)
    array = xr.DataArray(numbers, dims=("y", "x"), coords={"y": y, "x": x}, name="n")
    return scratch.array(as_dataset(array, "EPSG:32633"))


@pytest.fixture(scope="module")
def connection(scratch: Scratch, graph: dict[str, Any]) -> Iterator[Any]:
    del graph  # has to be there before
    session = requests.Session()
    session.trust_env = False
    with serving(scratch.workspace, settings=ServerSettings(job_workers=1)) as url:
        yield terrazzo.connect(url, session=session)


def test_a_server_gives_the_pixels_and_numbers_that_the_kernel_would(
    scratch: Scratch, graph: dict[str, Any], connection: Any
):
    there, here = ServerScreen(connection), LocalScreen(scratch.workspace)
    opened = there.open(graph, "Numbers")
    name = here.open(graph, "Numbers")["id"]
    look = {"stretch": {"kind": "range", "low": 0, "high": 3000}, "colors": "viridis"}
    tile = {"matrix": "native", "z": opened["native"]["maxzoom"], "x": 0, "y": 0, "look": look}
    lon, lat = (opened["bounds"][0] + opened["bounds"][2]) / 2, opened["bounds"][1] + 1e-3
    place = {"lon": lon, "lat": lat}

    remote = there.ask("tile", opened["id"], tile, Progress())
    local = here.ask("tile", name, tile, Progress())
    value = there.ask("values", opened["id"], place, Progress())

    assert opened["id"] == name
    assert isinstance(remote, Content)
    assert isinstance(local, Content)
    assert remote.data == local.data
    assert remote.media_type == local.media_type == "image/png"
    assert remote.told["resolution"] == pytest.approx(local.told["resolution"])
    assert value == here.ask("values", name, place, Progress())


def test_a_cube_of_a_connection_is_added_to_a_map_and_saved_by_a_job(
    connection: Any, graph: dict[str, Any], tmp_path: Any
):
    cube = connection.load_collection(graph["load"]["arguments"]["id"])
    m = terrazzo.Map(home=tmp_path / "empty")

    layer = m.add(cube * 2, "Twice")
    (path,) = m.save(tmp_path / "twice.tif", bounds=layer.opened.about["bounds"])
    m.close()

    with rasterio.open(path) as file:
        saved = file.read(1)
    assert layer.bands == ("n",)
    assert {0.0, 2.0, 2 * 2999.0} <= set(saved.ravel().tolist())


def test_a_browser_is_told_where_the_server_has_a_layer_and_as_whom(
    scratch: Scratch, graph: dict[str, Any], connection: Any, tmp_path: Any
):
    m = terrazzo.Map(connection, home=tmp_path / "empty")
    m.add(graph, "Numbers")
    (state,) = m.state["layers"]

    told = m._answer("open", "", {"layer": state["source"]["layer"]}, Progress())
    m.close()

    assert isinstance(told, dict)
    direct = told["direct"]
    answered = requests.get(
        f"{direct['url']}/layers/{direct['layer']}", headers={"Accept": "application/json"},
        timeout=30,
    )  # fmt: skip
    assert answered.json()["dates"] == told["dates"]
    assert direct["token"] is None
    assert "direct" not in str(m.state)
    assert LocalScreen(scratch.workspace).direct(direct["layer"]) is None


def test_the_token_of_a_connection_goes_nowhere_unasked(
    graph: dict[str, Any], connection: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
):
    known = SimpleNamespace(
        root_url=connection.root_url, request=connection.request, auth=BearerAuth("basic//secret")
    )

    def told(**options: Any) -> dict[str, Any]:
        m = terrazzo.Map(known, home=tmp_path / "empty", **options)
        layer = m.add(graph, "Numbers")
        found = m._answer("open", "", {"layer": layer.opened.about["id"]}, Progress())
        m.close()
        assert "secret" not in str(m.state)
        return dict(found)

    asked, unasked, channel = told(direct=True), told(), told(direct=False)
    token, known.auth = known.auth.bearer, None
    without = told()
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.8")
    visitor = told()

    assert asked["direct"]["token"] == token
    assert "direct" not in unasked
    assert "direct" not in channel
    assert without["direct"]["token"] is None
    assert "direct" not in visitor


def test_a_server_says_no_in_its_own_words(connection: Any, graph: dict[str, Any]):
    wrong = {"load": {**graph["load"], "arguments": {"id": "not-there", "spatial_extent": None,
                                                     "temporal_extent": None}}}  # fmt: skip

    with pytest.raises(ServerRefused, match="not-there"):
        ServerScreen(connection).open(wrong, "")


def test_a_back_end_of_somebody_else_is_told_apart_with_the_way_out(graph: dict[str, Any]):
    answer = requests.Response()
    answer.status_code = 404
    answer._content = b'{"code": "NotFound", "message": "Resource not found."}'
    stranger = SimpleNamespace(root_url="https://openeo.example", request=lambda *_, **__: answer)

    with pytest.raises(ScreenUnsupported, match="create_service"):
        ServerScreen(stranger).open(graph, "")


@pytest.mark.parametrize(
    "changed",
    [
        {"matrix": "../../../jobs?a="}, {"z": "../../jobs"}, {"x": "0/../../.."}, {"y": -1},
        {"format": "png/../../jobs"}, {"key": "value"},
    ],
)  # fmt: skip
def test_a_browser_chooses_a_tile_and_no_address(changed: dict[str, Any]):
    asked: list[str] = []
    server = SimpleNamespace(request=lambda _, path, **__: asked.append(path))
    tile = {"matrix": "native", "z": 0, "x": 0, "y": 0, "look": {}, "format": "png"}

    with pytest.raises(ArgumentInvalid):
        ServerScreen(server).ask("tile", "layer", tile | changed, Progress())

    assert asked == []


def test_the_name_of_a_layer_is_one_part_of_an_address():
    asked: list[str] = []

    def request(method: str, path: str, **_: Any) -> requests.Response:
        asked.append(f"{method} {path}")
        answer = requests.Response()
        answer.status_code, answer._content = 200, b"{}"
        answer.headers["Content-Type"] = "application/json"
        return answer

    screen = ServerScreen(SimpleNamespace(request=request))
    for method, params in (("about", {}), ("values", {}), ("tile", {"z": 1, "x": 0, "y": 1})):
        screen.ask(method, "../jobs?a", params, Progress())

    name = "/layers/..%2Fjobs%3Fa"
    tiles = f"get {name}/tiles/WebMercatorQuad/1/0/1.png"
    assert asked == [f"get {name}", f"post {name}/values", tiles]


def test_a_server_that_is_gone_is_named(graph: dict[str, Any]):
    def gone(*_: Any, **__: Any) -> None:
        raise requests.ConnectionError("refused")

    stranger = SimpleNamespace(root_url="https://openeo.example", request=gone)

    with pytest.raises(ServerRefused, match=r"https://openeo\.example cannot be reached"):
        ServerScreen(stranger).open(graph, "")
