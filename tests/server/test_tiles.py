"""Tiles over HTTP are the pixels of the engine, and bad requests get one clear answer."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from terrazzo.drivers.tile import MERCATOR, NATIVE
from terrazzo.ledger import LOCAL

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from terrazzo.server.maps.maps import OpenMap


def address(service: dict[str, Any], tile: str, matrix: str = NATIVE) -> str:
    return f"/services/{service['id']}/tiles/{matrix}/{tile}"


def opened(client: TestClient, service: dict[str, Any]) -> OpenMap:
    shown: OpenMap = client.app.state.parts.maps.opened(LOCAL, service["id"])  # type: ignore[attr-defined]
    return shown


def mercator_tile(client: TestClient, service: dict[str, Any]) -> tuple[int, int, int]:
    tiles = opened(client, service).tiles
    _, zoom = tiles.zooms(MERCATOR)
    plan = tiles.plan(MERCATOR, zoom)
    assert plan is not None
    columns, rows = tiles.matrix(MERCATOR).covering(plan.grid, plan.window, zoom)
    return zoom, columns[0], rows[0]


@pytest.mark.parametrize("matrix", [NATIVE, MERCATOR])
@pytest.mark.parametrize("date", [0, 2])
def test_npy_tile_is_what_the_engine_computes(
    client: TestClient, service: dict[str, Any], matrix: str, date: int
) -> None:
    z, x, y = (1, 0, 0) if matrix == NATIVE else mercator_tile(client, service)
    cube = opened(client, service).tiles.cube(matrix, z, x, y)
    assert cube is not None

    answer = client.get(
        address(service, f"{z}/{x}/{y}.npy", matrix), params={"time": service["dates"][date]}
    )
    values, valid = np.load(io.BytesIO(answer.content))

    expected = cube.values[date].reshape(values.shape)
    mask = cube.valid[date].reshape(values.shape)
    assert mask.any()
    np.testing.assert_array_equal(valid != 0, mask)
    np.testing.assert_array_equal(values[mask], expected[mask])


@pytest.mark.parametrize("form", ["png", "webp"])
def test_pictures_are_transparent_where_there_is_no_data(
    client: TestClient, service: dict[str, Any], form: str
) -> None:
    answer = client.get(address(service, f"1/0/0.{form}"))

    pixels = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
    assert answer.headers["content-type"] == f"image/{form}"
    assert pixels.shape == (256, 256, 4)
    assert not pixels[:40, :40, 3].any()
    assert (pixels[50:, 50:, 3] == 255).all()
    assert float(answer.headers["X-Resolution-Metres"]) == 10


def test_resolution_on_the_map_is_that_on_the_ground(
    client: TestClient, service: dict[str, Any]
) -> None:
    z, x, y = mercator_tile(client, service)

    answer = client.get(address(service, f"{z}/{x}/{y}.png", MERCATOR))

    at_equator = 40_075_016.68557849 / 256 / 2**z
    assert float(answer.headers["X-Resolution-Metres"]) == pytest.approx(
        at_equator * np.cos(np.radians(45.15)), rel=2e-3
    )


def test_stretch_and_colours_change_the_picture(
    client: TestClient, service: dict[str, Any]
) -> None:
    queries = [{}, {"min": 0.5, "max": 0.6}, {"colors": "gray"}, {"time": service["dates"][0]}]

    answers = [client.get(address(service, "1/0/0.png"), params=query) for query in queries]

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == len(queries)
    assert len({answer.headers["etag"] for answer in answers}) == len(queries)


def test_a_tile_that_the_client_has_is_not_sent_again(
    client: TestClient, service: dict[str, Any]
) -> None:
    first = client.get(address(service, "1/0/0.png"))
    tag = first.headers["etag"]

    again = client.get(address(service, "1/0/0.png"), headers={"If-None-Match": f'"x", {tag}'})
    weak = client.get(address(service, "1/0/0.png"), headers={"If-None-Match": f"W/{tag}"})
    other = client.get(address(service, "1/0/0.png?min=0.1"), headers={"If-None-Match": tag})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert weak.status_code == 304
    assert other.status_code == 200


def test_tiles_beside_the_data_are_empty(client: TestClient, service: dict[str, Any]) -> None:
    picture = client.get(address(service, "10/0/0.png", MERCATOR))
    array = client.get(address(service, "10/0/0.npy", MERCATOR))

    assert picture.status_code == 200
    assert not np.asarray(Image.open(io.BytesIO(picture.content)))[..., 3].any()
    assert (array.status_code, array.content) == (204, b"")


BAD = {
    "zoom too deep": "99/0/0.png",
    "negative zoom": "-1/0/0.png",
    "negative x": "1/-1/0.png",
    "y out of range": "1/0/2.png",
    "huge x": f"1/{10**30}/0.png",
    "endless x": f"1/{'9' * 5000}/0.png",
    "no number": "1/a/0.png",
    "a float": "1/0.5/0.png",
    "format": "1/0/0.tif",
    "no format": "1/0/0.",
    "NaN": "1/0/0.png?min=nan",
    "infinite": "1/0/0.png?max=inf",
    "reversed": "1/0/0.png?min=2&max=1",
    "equal": "1/0/0.png?min=1&max=1",
    "colour map": "1/0/0.png?colors=../../x",
    "band": "1/0/0.png?bands=B99",
    "two bands": "1/0/0.png?bands=a,b",
    "date": "1/0/0.png?time=yesterday",
    "unknown parameter": "1/0/0.png?mim=1",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_get_400_and_a_reason(
    client: TestClient, service: dict[str, Any], name: str
) -> None:
    answer = client.get(address(service, BAD[name]))

    assert answer.status_code in {400, 404}
    assert set(answer.json()) == {"id", "code", "message", "links"}
    assert "Traceback" not in answer.text


def test_unknown_matrix_names_those_that_there_are(
    client: TestClient, service: dict[str, Any]
) -> None:
    answer = client.get(address(service, "1/0/0.png", "Mars"))

    assert answer.status_code == 400
    assert NATIVE in answer.json()["message"]


HOSTILE = [
    "..%2F..%2Fcatalog.sqlite", "%2e%2e", "*", "0" * 16, "0" * 64, "[a-f]" * 4, "%00" * 16,
    "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("rest", ["", "/tiles/native/1/0/0.png", "/point?lon=0&lat=0"])
def test_ids_that_are_none_are_not_found(client: TestClient, name: str, rest: str) -> None:
    answer = client.get(f"/services/{name}{rest}")

    assert answer.status_code == 404
    assert "sqlite" not in answer.json()["message"].replace("catalog.sqlite'", "")


def test_many_requests_at_once_give_the_same_bytes(
    client: TestClient, service: dict[str, Any]
) -> None:
    names = [f"1/{x}/{y}.png" for x in (0, 1) for y in (0, 1)] * 6
    alone = {name: client.get(address(service, name)).content for name in set(names)}

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda name: client.get(address(service, name)).content, names))

    assert together == [alone[name] for name in names]
