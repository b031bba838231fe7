"""Synchronous results: what is sent, what is refused, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import io
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from starlette.testclient import TestClient
from tests.server.graphs import ADDED, load, node, process, ref
from tests.server.small import COLLECTION, DATES, graph, made_service, nir, red, write_images

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace
from terrazzo.errors import GraphInvalid
from terrazzo.logs import Level
from terrazzo.server.app import create_app
from terrazzo.server.openeo import result as results
from terrazzo.server.scratch import FOLDER
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.progress import Stoppable

UNFILLED = process(a=node("add", x={"from_parameter": "x"}, y=1))
UNFILLED["process"]["parameters"] = [{"name": "x", "description": "", "schema": {}}]
PATIENCE = 60.0
YEAR = ["2019-01-01", "2020-01-01"]


def ndvi(format_name: str = "", **arguments: Any) -> dict[str, Any]:
    """Return a body that asks for NDVI."""
    nodes = {"load": load(**arguments), "ndvi": node("ndvi", data=ref("load"))}
    if not format_name:
        nodes["ndvi"]["result"] = True
    else:
        nodes["save"] = node("save_result", data=ref("ndvi"), format=format_name, result=True)
    return process(**nodes)


def expected(year: int) -> np.ndarray:
    """Return NDVI of the small collection."""
    low, high = (band(year).astype(np.float32) for band in (red, nir))
    with np.errstate(invalid="ignore"):
        found: np.ndarray = np.where(low > 0, (high - low) / (high + low), np.nan)
    return found


def left(workspace: Workspace) -> list[Path]:
    """Return what temporary folders hold."""
    folder = workspace.home / FOLDER
    return sorted(folder.iterdir()) if folder.exists() else []


def test_one_file_is_sent_as_it_is(api: TestClient, workspace: Workspace) -> None:
    answer = api.post("/result", json=ndvi("GTiff", temporal_extent=YEAR))

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("image/tiff")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "openeo-costs" not in answer.headers
    with rasterio.open(io.BytesIO(answer.content)) as file:
        np.testing.assert_allclose(file.read(1), expected(2019), rtol=1e-6)
    assert left(workspace) == []


def test_several_files_are_a_tar_file(api: TestClient, workspace: Workspace) -> None:
    answer = api.post("/result", json=ndvi())

    assert answer.headers["content-type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        members = tar.getmembers()
        pixels = {}
        for date, member in zip(DATES, members, strict=True):
            held = tar.extractfile(member)
            assert held is not None
            with rasterio.open(io.BytesIO(held.read())) as file:
                pixels[date] = file.read(1)
    assert all(date in member.name for date, member in zip(DATES, members, strict=True))
    assert {(member.uname, member.uid, member.mtime) for member in members} == {("", 0, 0)}
    for date in DATES:
        np.testing.assert_allclose(pixels[date], expected(int(date[:4])), rtol=1e-6)
    assert left(workspace) == []


@pytest.mark.parametrize(
    ("name", "media_type", "begin"),
    [
        ("netCDF", "application/x-netcdf", b"\x89HDF"),
        ("PNG", "image/png", b"\x89PNG"),
        ("gtiff", "image/tiff", b"II"),
    ],
)
def test_formats_have_their_media_types(
    api: TestClient, name: str, media_type: str, begin: bytes
) -> None:
    answer = api.post("/result", json=ndvi(name, temporal_extent=YEAR))

    assert answer.headers["content-type"].startswith(media_type)
    assert answer.content.startswith(begin)


def test_values_are_json(api: TestClient) -> None:
    answer = api.post("/result", json=ADDED)

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == 3


def means(*geometries: Any) -> dict[str, Any]:
    """Return a body that asks for a table of the mean under polygons."""
    reducer = {"m": node("mean", data={"from_parameter": "data"}, result=True)}
    features = [
        {"type": "Feature", "id": place, "properties": {}, "geometry": geometry}
        for place, geometry in enumerate(geometries)
    ]
    return process(
        load=load(bands=["red"], temporal_extent=YEAR),
        mean=node(
            "aggregate_spatial",
            data=ref("load"),
            geometries={"type": "FeatureCollection", "features": features},
            reducer={"process_graph": reducer},
        ),
        save=node("save_result", data=ref("mean"), format="JSON", result=True),
    )


def box(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    """Return a polygon."""
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def test_tables_are_json(api: TestClient) -> None:
    answer = api.post("/result", json=means(box(21.0, 45.13, 21.03, 45.15)))

    assert answer.headers["content-type"] == "application/json"
    (value,) = [one for one in _numbers(answer.json()) if isinstance(one, float)]
    assert 100 < value < 100 + 300 + 9  # the range of the red band


def test_polygons_beside_all_images_have_no_value(api: TestClient) -> None:
    answer = api.post("/result", json=means(box(30.0, 45.13, 30.03, 45.15)))

    assert answer.status_code == 200, answer.text
    assert [one for one in _numbers(answer.json()) if isinstance(one, float)] == []


def _numbers(told: Any) -> list[Any]:
    if isinstance(told, dict | list):
        inner = told.values() if isinstance(told, dict) else told
        return [one for entry in inner for one in _numbers(entry)]
    return [told]


def test_several_results_are_one_tar_file(api: TestClient) -> None:
    body = ndvi("GTiff", temporal_extent=YEAR)
    nodes = body["process"]["process_graph"]
    nodes["other"] = node("save_result", data=ref("load"), format="netCDF")

    answer = api.post("/result", json=body)

    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        assert sorted(name.rpartition(".")[2] for name in tar.getnames()) == ["nc", "tif"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "ProcessGraphMissing"),
        ({"process": {}}, "ProcessGraphMissing"),
        ({"process": 1}, "RequestInvalid"),
        ({"process": None}, "RequestInvalid"),
        (ADDED | {"log_level": "loud"}, "RequestInvalid"),
        (ADDED | {"log_level": []}, "RequestInvalid"),
        (process(a=node("ad", result=True)), "ProcessUnsupported"),
        (process(a=node("add", x={"from_parameter": "x"}, y=1)), "ProcessGraphInvalid"),
        (UNFILLED, "ProcessParameterRequired"),
        (process(a=load(bands=["blue"])), "BandNotFound"),
    ],
)
def test_what_cannot_be_computed_is_refused(
    api: TestClient, workspace: Workspace, body: Any, code: str
) -> None:
    answer = api.post("/result", json=body)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert left(workspace) == []


def test_a_request_without_a_body_is_refused(api: TestClient) -> None:
    assert api.post("/result").status_code == 400


def test_a_collection_that_is_not_there_is_not_found(api: TestClient) -> None:
    answer = api.post("/result", json=process(a=load(id="nothing")))

    assert (answer.status_code, answer.json()["code"]) == (404, "CollectionNotFound")


def test_code_of_users_that_fails_on_pixels_is_told_without_a_path(
    api: TestClient, workspace: Workspace
) -> None:
    code = (
        "def apply_datacube(cube, context):\n"
        "    if cube.sizes['x'] > 100:\n"
        "        raise ValueError('too wide for me')\n"
        "    return cube\n"
    )
    call = node("run_udf", data={"from_parameter": "data"}, udf=code, runtime="Python", result=True)
    body = process(
        load=load(temporal_extent=YEAR),
        udf=node(
            "apply_dimension",
            data=ref("load"),
            dimension="t",
            process={"process_graph": {"u": call}},
            result=True,
        ),
    )

    answer = api.post("/result", json=body)

    assert (answer.status_code, answer.json()["code"]) == (400, "UdfFailed")
    assert "too wide for me" in answer.text
    assert str(workspace.home) not in answer.text
    assert left(workspace) == []


def test_strangers_compute_nothing(workspace: Workspace) -> None:
    with TestClient(create_app(workspace, ServerSettings(open=False))) as client:
        answer = client.post("/result", json=ADDED)

    assert (answer.status_code, answer.json()["code"]) == (401, "AuthenticationRequired")


@pytest.mark.parametrize(("level", "heard"), [("error", []), ("info", ["hello"])])
def test_what_a_graph_logs_goes_to_the_log_of_the_server(
    api: TestClient, caplog: pytest.LogCaptureFixture, level: str, heard: list[str]
) -> None:
    body = process(a=node("inspect", data=1, message="hello", level=Level.INFO, result=True))

    with caplog.at_level("DEBUG", "terrazzo"):
        api.post("/result", json=body | {"log_level": level})

    told = [record for record in caplog.records if "hello" in record.getMessage()]
    assert ["hello" for _ in told][:1] == heard


def test_work_stops_and_nothing_is_left_when_the_client_goes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def slow(*_: Any, progress: Stoppable, **__: Any) -> Any:
        begun.set()
        try:
            progress.start(10_000, "blocks")
            while True:
                progress.advance()
                time.sleep(0.01)
        finally:
            ended.set()

    monkeypatch.setattr(results, "run", slow)
    app = create_app(workspace)
    content = b'{"process": {"process_graph": {"a": {"process_id": "pi", "arguments": {}}}}}'

    async def scenario() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        body = iter([{"type": "http.request", "body": content, "more_body": False}])

        async def receive() -> dict[str, Any]:
            given = next(body, None)
            if given is not None:
                return given
            await asyncio.to_thread(begun.wait, PATIENCE)
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
            "path": "/result", "raw_path": b"/result", "query_string": b"", "root_path": "",
            "headers": [(b"content-type", b"application/json"), (b"host", b"testserver")],
            "scheme": "http", "server": ("testserver", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        await app(scope, receive, send)
        return sent

    asyncio.run(scenario())

    assert ended.wait(PATIENCE)
    end = time.monotonic() + PATIENCE
    while left(workspace):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_is_ingested_while_the_server_runs_is_there_at_once(tmp_path: Path) -> None:
    workspace = Workspace.of(tmp_path / "home")
    with TestClient(create_app(workspace)) as client:
        images = write_images(tmp_path / "elsewhere")[:1]
        options = IngestOptions(bands=("red", "nir"))
        ingest(images, COLLECTION, Workspace.of(tmp_path / "home"), options=options)

        answer = client.post("/result", json=ndvi("GTiff"))

    assert answer.status_code == 200, answer.text


def test_maps_do_not_wait_for_results(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(*_: Any, **__: Any) -> Any:
        begun.release()
        go_on.wait(PATIENCE)
        raise GraphInvalid([])

    monkeypatch.setattr(results, "run", slow)
    with (
        TestClient(create_app(workspace, ServerSettings(threads=2))) as client,
        ThreadPoolExecutor(4) as people,
    ):
        name = made_service(client, graph(), configuration={"scope": "public"})
        waiting = [people.submit(client.post, "/result", json=ADDED) for _ in range(4)]
        assert begun.acquire(timeout=PATIENCE)
        tile = client.get(f"/services/{name}/map")
        go_on.set()
        answers = {one.result().status_code for one in waiting}

    assert tile.status_code == 200
    assert answers == {400}


def test_failures_of_the_server_leave_nothing_behind(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise OSError("/secret/path is full")

    monkeypatch.setattr(results, "run", broken)
    with TestClient(create_app(workspace), raise_server_exceptions=False) as client:
        answer = client.post("/result", json=ADDED)

    assert (answer.status_code, answer.json()["code"]) == (500, "Internal")
    assert "secret" not in answer.text
    assert left(workspace) == []


def test_all_mistakes_of_a_graph_come_in_one_message(api: TestClient) -> None:
    body = process(a=node("ad"), b=node("add", x=1, result=True))

    answer = api.post("/result", json=body)

    assert (answer.status_code, answer.json()["code"]) == (400, GraphInvalid.code)
    assert "ProcessUnsupported" in answer.json()["message"]
    assert "ProcessParameterRequired" in answer.json()["message"]
