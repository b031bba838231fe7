"""Uploaded files over HTTP: streamed in and out, bounded, and nobody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from tests.server.openapi import checked
from tests.server.people import CHEAP, closed, ledger, newcomer

from terrazzo.drivers.job import Workspace
from terrazzo.ledger import passwords
from terrazzo.ledger.files import UserFiles
from terrazzo.ledger.users import find_user
from terrazzo.server.app import create_app
from terrazzo.server.people.files import media_type
from terrazzo.server.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("shared")

BAD_PATHS = (
    "%2e%2e/x", "a/%2e%2e/%2e%2e/x", "%2Fetc%2Fpasswd", "a%00b", "a%5Cb", ".hidden", "a//b", "%2e",
    "a/", "x" * 300, "..%2f..%2fledger.sqlite", "%0a",
)  # fmt: skip
UPLOAD, QUOTA = 3_000_000, 4_000_000


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_HASHER", CHEAP)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def client(plain: TestClient) -> Any:
    return checked(plain)


@pytest.fixture
def plain(home: Path) -> Iterator[TestClient]:
    limits = Limits(upload_bytes=UPLOAD, quota_bytes=QUOTA)
    with TestClient(create_app(Workspace.of(home), closed(limits=limits))) as plain:
        database = ledger(home)
        plain.headers.update(newcomer(database, "alice"))
        database.close()
        yield plain


def paths(client: Any) -> list[str]:
    return [one["path"] for one in client.get("/files").json()["files"]]


def on_disk(home: Path) -> list[str]:
    files = home / "files"
    return [path.name for path in files.rglob("*") if path.is_file() and path.name != ".lock"]


def test_a_file_comes_back_as_it_was_sent(client: Any):
    content = b"II*\0" + bytes(range(256)) * 10_000

    told = client.put("/files/folder/scene.tif", content=content)
    back = client.get("/files/folder/scene.tif")

    assert told.status_code == 200
    assert told.json()["path"] == "folder/scene.tif"
    assert told.json()["size"] == len(content)
    assert back.content == content
    assert back.headers["content-type"] == "image/tiff"
    assert client.get("/files").json()["files"] == [told.json()]


def test_a_part_of_a_file_can_be_had(plain: TestClient):  # of which openEO says nothing
    plain.put("/files/a.bin", content=b"0123456789")

    part = plain.get("/files/a.bin", headers={"Range": "bytes=2-4"})
    end = plain.get("/files/a.bin", headers={"Range": "bytes=-3"})
    beyond = plain.get("/files/a.bin", headers={"Range": "bytes=50-60"})

    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["content-range"] == "bytes 2-4/10"
    assert end.content == b"789"
    assert beyond.status_code == 416


def test_names_may_have_other_letters(client: Any):
    told = client.put("/files/%C3%B6sterreich/m%C3%BCnster%20%231%3F.txt", content=b"x").json()

    assert told["path"] == "österreich/münster #1?.txt"
    assert client.get("/files/%C3%B6sterreich/m%C3%BCnster%20%231%3F.txt").content == b"x"


def test_an_upload_may_come_without_its_length(client: Any):
    pieces = [b"x" * 700_000 for _ in range(3)]

    told = client.put("/files/a", content=iter(pieces)).json()

    assert told["size"] == 2_100_000


def test_a_file_is_replaced_whole(client: Any, home: Path):
    client.put("/files/a", content=b"first")

    client.put("/files/a", content=b"x")

    assert client.get("/files/a").content == b"x"
    assert on_disk(home) == ["a"]


def test_a_deleted_file_is_gone(client: Any):
    client.put("/files/a/b", content=b"x")

    assert client.delete("/files/a/b").status_code == 204

    assert paths(client) == []
    for answer in (client.get("/files/a/b"), client.delete("/files/a/b")):
        assert (answer.status_code, answer.json()["code"]) == (404, "FileNotFound")


def test_lists_come_in_pages_that_join(client: Any):
    for number in range(7):
        client.put(f"/files/{number}", content=b"x")

    found, address = [], "/files?limit=3"
    while address:
        page = client.get(address).json()
        found.append([one["path"] for one in page["files"]])
        address = next((one["href"] for one in page["links"] if one["rel"] == "next"), "")

    assert found == [["0", "1", "2"], ["3", "4", "5"], ["6"]]


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_a_page_has_a_size(client: Any, limit: str):
    assert client.get(f"/files?limit={limit}").status_code == 400


def test_too_large_an_upload_is_refused_with_the_number(client: Any, home: Path):
    announced = client.put("/files/a", content=b"x" * (UPLOAD + 1))
    streamed = client.put("/files/b", content=iter([b"x" * 1_000_000] * 4))

    for answer in (announced, streamed):
        assert (answer.status_code, answer.json()["code"]) == (400, "FileSizeExceeded")
        assert str(UPLOAD) in answer.json()["message"]
    assert paths(client) == []
    assert on_disk(home) == []


def test_nobody_stores_more_than_their_quota(client: Any, home: Path):
    client.put("/files/a", content=b"x" * 2_500_000)

    refused = client.put("/files/b", content=b"x" * 2_000_000)

    assert (refused.status_code, refused.json()["code"]) == (400, "StorageQuotaExceeded")
    assert str(QUOTA) in refused.json()["message"]
    assert paths(client) == ["a"]
    assert client.get("/me").json()["storage"] == {"free": 1_500_000, "quota": QUOTA}
    assert on_disk(home) == ["a"]


def test_an_account_may_have_a_quota_of_its_own(client: Any, home: Path):
    database = ledger(home)
    bob = newcomer(database, "bob", quota=10)
    database.close()

    assert client.put("/files/a", content=b"x" * 10, headers=bob).status_code == 200
    refused = client.put("/files/b", content=b"x", headers=bob)

    assert refused.json()["code"] == "StorageQuotaExceeded"
    assert client.get("/me", headers=bob).json()["storage"] == {"free": 0, "quota": 10}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_path_leads_nowhere_else(client: Any, home: Path, method: str):
    before = sorted(home.rglob("*"))

    for path in BAD_PATHS:
        answer = client.request(method, f"/files/{path}", content=b"x")
        assert (answer.status_code, answer.json()["code"]) == (400, "FilePathInvalid"), path
        assert str(home) not in answer.text

    assert sorted(home.rglob("*")) == before


def test_links_are_not_followed(client: Any, home: Path, tmp_path_factory: pytest.TempPathFactory):
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_text("secret")
    client.put("/files/a", content=b"x")
    database = ledger(home)
    folder = UserFiles(home, find_user(database, "alice").id).folder
    database.close()
    (folder / "link").symlink_to(outside)

    answer = client.get("/files/link")

    assert answer.status_code == 404
    assert "secret" not in answer.text
    assert paths(client) == ["a"]


def test_a_folder_is_no_file(client: Any):
    client.put("/files/a/b", content=b"x")

    for method in ("GET", "PUT", "DELETE"):
        answer = client.request(method, "/files/a", content=b"x")
        assert (answer.status_code, answer.json()["code"]) == (400, "FileOperationUnsupported")
    assert client.put("/files/a/b/c", content=b"x").json()["code"] == "FilePathInvalid"


@pytest.mark.parametrize("name", ["page.html", "PAGE.HTM", "a.svg", "a.xhtml", "a.js", "a.xml"])
def test_what_somebody_uploads_is_never_a_page_of_the_server(client: Any, name: str):
    client.put(f"/files/{name}", content=b"<script>alert(1)</script>")

    answer = client.get(f"/files/{name}")

    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_the_kind_of_a_file_is_known_by_its_name():
    assert media_type("a.geojson") == "application/geo+json"
    assert media_type("A.TIF") == "image/tiff"
    assert media_type("a.json") == "application/json"
    assert media_type("a.csv") == "text/csv"
    assert media_type("tif") == "application/octet-stream"
    assert media_type("a.unheard-of") == "application/octet-stream"


def test_a_folder_of_an_open_server_is_that_of_its_user(home: Path):
    with TestClient(create_app(Workspace.of(home), closed(open=True))) as plain:
        checked(plain).put("/files/a", content=b"x")

    assert UserFiles(home, "local").find("a")[0].read_bytes() == b"x"
