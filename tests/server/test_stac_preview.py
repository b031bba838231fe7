"""Pictures of items: pixels of their bands, as small as asked for, for those who may see them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from PIL import Image
from starlette.testclient import TestClient
from tests.server.people import closed, ledger, newcomer
from tests.server.small import COLLECTION, EDGE, make_home, red, write_images

import terrazzo.drivers.preview as drawing
from terrazzo.catalog import make_asset, make_collection, make_item
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace
from terrazzo.ledger import Visibility
from terrazzo.ledger.collections import CollectionAccess, set_access
from terrazzo.ledger.users import find_user
from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ITEM = "scene_20180501"
PATH = f"/collections/{COLLECTION}/items/{ITEM}/preview"


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    return make_home(tmp_path)


@pytest.fixture
def client(home: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(home), raise_server_exceptions=False) as client:
        yield client


def pixels(content: bytes, mode: str = "RGBA") -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert(mode)).astype(int)


def shade(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return grey as the 2nd to the 98th percentile of the pixels, by numpy alone."""
    low, high = np.percentile(values[seen], [2, 98])
    return np.clip((values - low) / (high - low) * 255, 0, 255)


def test_the_picture_has_the_pixels_of_the_first_band(client: TestClient) -> None:
    answer = client.get(PATH, params={"size": EDGE})

    values = red(2018).astype(float)
    seen = values > 0
    drawn = pixels(answer.content)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-bands"] == "red"
    assert drawn.shape == (EDGE, EDGE, 4)
    assert np.array_equal(drawn[..., 3] > 0, seen)
    np.testing.assert_allclose(drawn[..., 0][seen], shade(values, seen)[seen], atol=1)


def test_a_picture_is_as_small_as_asked_for(client: TestClient) -> None:
    answer = client.get(PATH, params={"size": 75})

    drawn = pixels(answer.content)
    assert drawn.shape[:2] == (75, 75)
    # A corner of 40 pixels of 300 has no data, so ten pixels of 75 have none.
    assert not drawn[:9, :9, 3].any()
    assert drawn[11:, 11:, 3].all()
    assert np.all(np.diff(drawn[-1, :, 0]) >= 0)  # red rises from west to east


@pytest.mark.parametrize("size", ["15", "1025", "much"])
def test_other_sizes_are_refused(client: TestClient, size: str) -> None:
    assert client.get(PATH, params={"size": size}).status_code == 400


def test_red_green_and_blue_are_shown_by_their_common_names(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")[0].parent
    colours = {"b1": "blue", "b2": "green", "b3": "red"}
    for path in images.iterdir():
        with rasterio.open(path) as file:
            profile = {**file.profile, "count": 3}
            bands = file.read()
        with rasterio.open(path, "w", **profile) as file:
            file.write(np.stack([bands[1], bands[0], bands[1][::-1]]))
    options = IngestOptions(bands=tuple(colours), common_names=colours)
    ingest([images], "rgb", Workspace.of(tmp_path), options=options)

    with TestClient(create_app(Workspace.of(tmp_path))) as client:
        answer = client.get(f"/collections/rgb/items/{ITEM}/preview", params={"size": EDGE})

    drawn = pixels(answer.content)
    assert answer.headers["x-bands"] == "b3%2C%20b2%2C%20b1"
    # Blue rises from north to south and red, upside down, falls.
    assert np.all(np.diff(drawn[60:240, 150, 2]) >= 0)
    assert np.all(np.diff(drawn[60:240, 150, 0]) <= 0)


def test_a_file_without_overviews_is_not_read_whole(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "MOST_BYTES", EDGE * EDGE)  # half of a band of 16 bit

    answer = client.get(PATH, params={"size": EDGE})

    assert (answer.status_code, answer.json()["code"]) == (404, "PreviewUnavailable")
    assert "overviews" in answer.json()["message"]


def test_what_the_server_may_not_open_has_no_picture_and_tells_no_path(
    home: Workspace, tmp_path: Path, client: TestClient
) -> None:
    hrefs = {
        "remote": "https://example.com/data.tif",
        "local": "/etc/passwd",
        "page": "javascript:x",
        "none": "",
    }
    with home.catalog() as catalog:
        catalog.put_collection(make_collection("far"))
        for name, href in hrefs.items():
            assets = {"a": make_asset(href)} if href else {}
            moment, box = "2020-01-01T00:00:00Z", (1, 2, 3, 4)
            catalog.put_items([make_item(name, "far", datetime=moment, bbox=box, assets=assets)])

    for name in hrefs:
        answer = client.get(f"/collections/far/items/{name}/preview")

        assert (answer.status_code, answer.json()["code"]) == (404, "PreviewUnavailable")
        assert "/etc" not in answer.text
        assert str(tmp_path) not in answer.text


def test_an_items_own_thumbnail_is_preferred(home: Workspace, client: TestClient) -> None:
    path = home.assets / "thumbnail.png"
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (7, 5), (250, 10, 20)).save(path)
    with home.catalog() as catalog:
        item = catalog.item(COLLECTION, ITEM)
        item["assets"]["small"] = make_asset(
            str(path), media_type="image/png", roles=("thumbnail",)
        )
        catalog.put_items([item])

    answer = client.get(PATH)

    assert answer.content == path.read_bytes()
    assert "sandbox" in answer.headers["content-security-policy"]


def test_a_known_picture_is_not_sent_again_until_the_collection_changes(
    home: Workspace, client: TestClient
) -> None:
    tag = client.get(PATH).headers["etag"]

    again = client.get(PATH, headers={"If-None-Match": tag})
    with home.catalog() as catalog:
        item = catalog.item(COLLECTION, ITEM)
        item["properties"]["note"] = "changed"
        catalog.put_items([item])
    later = client.get(PATH, headers={"If-None-Match": tag})

    assert again.status_code == 304
    assert later.status_code == 200
    assert later.headers["etag"] != tag


def test_pictures_are_for_those_who_see_the_collection(home: Workspace) -> None:
    database = ledger(home.home)
    owner, other = newcomer(database, "owner"), newcomer(database, "stranger")
    person = find_user(database, "owner").id
    set_access(database, CollectionAccess(COLLECTION, Visibility.PRIVATE, owner=person))

    with TestClient(create_app(home, closed())) as client:
        seen = client.get(PATH, headers=owner)
        hidden = [client.get(PATH, headers=headers) for headers in (other, {})]
        missing = client.get(PATH.replace(COLLECTION, "nope"), headers=other)
    database.close()

    assert seen.status_code == 200
    for answer in hidden:
        assert answer.status_code == 404
        told = {**answer.json(), "id": ""}
        text = missing.text.replace("nope", COLLECTION)
        assert told["message"] in text
        assert "etag" not in answer.headers
