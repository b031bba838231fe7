"""Numbers for Prometheus, and who may read them."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import delete, insert
from starlette.testclient import TestClient
from tests.server.small import graph, made_service, make_home

from terrazzo.ledger.schema import job
from terrazzo.server.app import create_app
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.drivers.job import Workspace

HERE = ("127.0.0.1", 50_000)
THERE = ("192.0.2.7", 50_000)

Sample = tuple[str, frozenset[tuple[str, str]]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_home(tmp_path_factory.mktemp("metrics"))


@contextmanager
def client_of(
    workspace: Workspace, client: tuple[str, int] = HERE, **settings: Any
) -> Iterator[TestClient]:
    app = create_app(workspace, ServerSettings(**settings))
    with TestClient(app, raise_server_exceptions=False, client=client) as found:
        yield found


def numbers(client: TestClient) -> dict[Sample, float]:
    text = client.get("/metrics").text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def number(found: dict[Sample, float], name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0.0)


def test_requests_are_counted_by_route_and_not_by_address(home: Workspace) -> None:
    with client_of(home) as client:
        answers = [client.get(f"/services/{name}") for name in ("one", "two", "three")]
        unknown = client.get("/no/such/route")
        found = numbers(client)

    route = "/services/{service_id}"
    assert {answer.status_code for answer in answers} == {404}
    labels = {"method": "GET", "status": "404"}
    routes = {dict(key[1])["route"] for key in found if key[0] == "terrazzo_requests_total"}
    (route,) = [one for one in routes if one.startswith("/services/{")]
    assert number(found, "terrazzo_requests_total", route=route, **labels) == 3
    assert number(found, "terrazzo_requests_total", route="", **labels) == 1
    assert number(found, "terrazzo_request_seconds_count", route=route) == 3
    sent = sum(len(answer.content) for answer in answers)
    assert number(found, "terrazzo_sent_bytes_total", route=route) == sent
    assert number(found, "terrazzo_sent_bytes_total", route="") == len(unknown.content)


def test_bytes_that_come_are_counted(home: Workspace) -> None:
    with client_of(home) as client:
        body = b'{"process_graph": {}}'
        client.post("/validation", content=body, headers={"Content-Type": "application/json"})
        found = numbers(client)

    assert number(found, "terrazzo_received_bytes_total", route="/validation") == len(body)


def test_a_method_that_does_not_exist_makes_no_series_of_its_own(home: Workspace) -> None:
    with client_of(home) as client:
        client.request("BREW", "/health")
        found = numbers(client)

    methods = {dict(key[1]).get("method") for key in found}
    assert "other" in methods
    assert "BREW" not in methods


def test_tiles_are_counted_by_where_they_came_from(home: Workspace) -> None:
    with client_of(home) as client:
        shown = {"min": 0.0, "max": 1.0, "scope": "public"}
        name = made_service(client, graph(), title="NDVI", configuration=shown)
        told = client.get(f"/services/{name}").json()
        west, south, east, north = 21.0, 45.14, 21.02, 45.15
        tile = place_of(west, south, east, north, 14)
        address = told["url"].format(z=14, x=tile[0], y=tile[1]).partition("testserver")[2]
        assert client.get(address).status_code == 200
        assert client.get(address).status_code == 200
        found = numbers(client)

    assert number(found, "terrazzo_tiles_total", source="made") == 1
    assert number(found, "terrazzo_tiles_total", source="kept") == 1
    assert number(found, "terrazzo_kept_tile_bytes") > 0
    assert number(found, "terrazzo_pixels_total", kind="tile") == 256 * 256


def place_of(west: float, south: float, east: float, north: float, zoom: int) -> tuple[int, int]:
    """Return column and row of the tile at the middle of a box, in Web Mercator."""
    import math  # noqa: PLC0415 - only here

    lon, lat = (west + east) / 2, math.radians((south + north) / 2)
    column = (lon + 180) / 360 * 2**zoom
    row = (1 - math.asinh(math.tan(lat)) / math.pi) / 2 * 2**zoom
    return int(column), int(row)


def test_jobs_are_counted_by_status_and_the_queue_by_its_age(home: Workspace) -> None:
    queued = datetime.now(UTC) - timedelta(seconds=90)
    rows = [
        {
            "id": f"j{number}", "owner": "local", "process": "{}", "status": status,
            "created": "x", "updated": "x",
            "queued": queued.isoformat() if status == "queued" else None,
        }
        for number, status in enumerate(("queued", "queued", "finished"))
    ]  # fmt: skip
    with client_of(home) as client:
        database = client.app.state.parts.database  # type: ignore[attr-defined]
        with database.writing() as connection:
            connection.execute(insert(job), rows)
        found = numbers(client)
        with database.writing() as connection:
            connection.execute(delete(job))

    assert number(found, "terrazzo_jobs", status="queued") == 2
    assert number(found, "terrazzo_jobs", status="finished") == 1
    assert number(found, "terrazzo_jobs", status="error") == 0
    assert 90 <= number(found, "terrazzo_job_queue_seconds") < 90 + 60


def test_this_process_tells_its_memory(home: Workspace) -> None:
    with client_of(home) as client:
        found = numbers(client)

    assert number(found, "terrazzo_resident_bytes") > 10_000_000


@pytest.mark.parametrize(
    ("client", "headers", "token", "status"),
    [
        (HERE, {}, "", 200),
        (THERE, {}, "", 404),
        (HERE, {"X-Forwarded-For": "192.0.2.7"}, "", 404),
        (HERE, {"Forwarded": "for=192.0.2.7"}, "", 404),
        (HERE, {}, "secret", 404),
        (THERE, {"Authorization": "Bearer secret"}, "secret", 200),
        (THERE, {"Authorization": "Bearer secre"}, "secret", 404),
        (THERE, {"Authorization": "Bearer s\xe9cret"}, "secret", 404),
        (("testclient", 1), {}, "", 404),
    ],
)
def test_only_this_machine_or_who_has_the_token_reads_the_numbers(
    home: Workspace, client: tuple[str, int], headers: dict[str, str], token: str, status: int
) -> None:
    with client_of(home, client, metrics_token=token) as found:
        answer = found.get(
            "/metrics", headers={name: value.encode("latin-1") for name, value in headers.items()}
        )
        nothing = found.get("/nothing")

    assert answer.status_code == status
    if status == 404:
        assert answer.json()["code"] == nothing.json()["code"]


def test_a_server_is_ready_while_all_that_it_needs_can_be_used(tmp_path: Path) -> None:
    with client_of(make_home(tmp_path)) as client:
        good = client.get("/health/ready")
        client.app.state.parts.database.close()  # type: ignore[attr-defined]
        for path in tmp_path.glob("*.sqlite*"):
            path.unlink()
            path.mkdir()
        bad = client.get("/health/ready")
        alive = client.get("/health")

    assert (good.status_code, good.json()["status"]) == (200, "ready")
    assert (bad.status_code, bad.json()["status"]) == (503, "unready")
    assert bad.json()["database"] == bad.json()["catalogue"] == "unusable"
    assert bad.json()["disk"] == "ok"
    assert str(tmp_path) not in bad.text
    assert alive.status_code == 200


def test_a_full_disk_is_not_ready(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1_000_000

    monkeypatch.setattr("terrazzo.server.health.shutil.disk_usage", lambda _: Usage)
    with client_of(home) as client:
        answer = client.get("/health/ready")

    assert answer.status_code == 503
    assert answer.json()["disk"] == "full"
