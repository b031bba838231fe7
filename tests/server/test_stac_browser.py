"""People get pages at the addresses of the STAC API, and programs what they got before."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient
from tests.server.people import closed, ledger, newcomer
from tests.server.small import COLLECTION, make_home

from terrazzo.catalog import make_collection
from terrazzo.ledger import Visibility
from terrazzo.ledger.collections import CollectionAccess, set_access
from terrazzo.ledger.users import find_user
from terrazzo.server.app import create_app
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from terrazzo.drivers.job import Workspace

SOURCES = Path(__file__).parents[2] / "web" / "src"
MARKUP = r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\("
PAGE = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
ADDRESSES = {
    "/collections": "collections",
    f"/collections/{COLLECTION}": "collection",
    f"/collections/{COLLECTION}/items": "items",
    f"/collections/{COLLECTION}/items/scene_20180501": "item",
    "/search": "search",
}
"""Addresses, and the page that a browser gets there."""


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_browser_gets_a_page_and_a_program_json_at_one_address(
    client: TestClient, path: str
) -> None:
    page = client.get(path, headers=PAGE)
    answers = [client.get(path, headers=h) for h in ({}, {"Accept": "application/geo+json"})]

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert f'data-kind="{ADDRESSES[path]}"' in page.text
    for answer in answers:
        assert answer.status_code == 200
        assert "links" in answer.json()
    for answer in (page, *answers):
        assert "Accept" in [name.strip() for name in answer.headers["vary"].split(",")]


@pytest.mark.parametrize("path", [*ADDRESSES, "/collections/nope", "/nowhere"])
def test_pages_load_what_this_server_has_and_nothing_else(client: TestClient, path: str) -> None:
    page = client.get(path, headers=PAGE)

    files = re.findall(r'(?:src|href)="([^"]*static/[^"]+)"', page.text)
    answers = [client.get(str(page.url.join(file))) for file in files]
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert len(files) >= 2
    assert {answer.status_code for answer in answers} == {200}
    # Neither scripts nor styles in the text, which the policy would not run.
    assert not re.search(r"<style|style=|\son\w+=|<script(?! type=\"module\" src=)", page.text)


def test_browsers_ask_again_before_they_run_a_script(client: TestClient) -> None:
    first = client.get("/static/web/pages.js")

    again = client.get("/static/web/pages.js", headers={"If-None-Match": first.headers["etag"]})

    assert first.headers["cache-control"] == again.headers["cache-control"] == "no-cache"
    assert again.status_code == 304


def test_scripts_ask_no_other_host_and_make_no_markup_of_texts() -> None:
    texts = {path.relative_to(SOURCES).as_posix(): path.read_text() for path in _scripts()}
    # Basemaps of others, which come where somebody chooses one.
    known = {"www.w3.org", "www.opengis.net"}
    chosen = {"core/basemap.ts": {"tile.openstreetmap.org", "tiles.maps.eox.at"}}

    assert {"pages/catalogue.ts", "pages/explorer.ts"} < texts.keys()
    for name, text in texts.items():
        code = re.sub(r"^\s*(//|\*|/\*).*$", "", text, flags=re.MULTILINE)
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", code), (
            name
        )
        hosts = set(re.findall(r"https?://([\w.]+)", code)) - known
        assert hosts <= chosen.get(name, set()), name
        assert text.count("\n") <= 500, name


def _scripts() -> list[Path]:
    return sorted(SOURCES.rglob("*.ts"))


@pytest.mark.parametrize(
    "path",
    [
        "/collections/nope",
        "/collections/nope/items",
        "/collections/nope/items/x",
        f"/collections/{COLLECTION}/items/nope",
    ],
)
def test_the_page_of_what_is_not_there_says_so_in_its_status(client: TestClient, path: str) -> None:
    assert client.get(path, headers=PAGE).status_code == 404


def test_names_in_an_address_stay_text_in_the_page(client: TestClient) -> None:
    name = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E"

    page = client.get(f"/collections/{name}", headers=PAGE)

    assert "<script>alert" not in page.text
    assert "&quot;&gt;&lt;script&gt;alert(1)" in page.text


@pytest.mark.parametrize("path", ["/nowhere", "/collections/small/items/x/assets/y"])
def test_errors_are_pages_for_people_too(client: TestClient, path: str) -> None:
    page = client.get(path, headers=PAGE)
    told = client.get(path)

    assert page.status_code == told.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert told.json()["code"] in page.text
    assert "collections" in page.text


def test_the_text_of_an_error_is_no_markup(client: TestClient) -> None:
    path = "/collections/small/queryables?q=%3Cimg%20src%3Dx%3E"
    missing = "/collections/%3Cimg%20src=x%3E/queryables"

    for page in (client.get(path, headers=PAGE), client.get(missing, headers=PAGE)):
        assert "<img" not in page.text


def test_what_has_no_page_stays_json_in_a_browser(client: TestClient) -> None:
    answer = client.get(f"/collections/{COLLECTION}/queryables", headers=PAGE)

    assert answer.headers["content-type"] == "application/schema+json"


def test_what_may_not_be_seen_has_the_page_of_what_is_not_there(workspace_of_two: Workspace):
    database = ledger(workspace_of_two.home)
    owner = newcomer(database, "owner")
    person = find_user(database, "owner").id
    set_access(database, CollectionAccess(COLLECTION, Visibility.PRIVATE, owner=person))
    paths = ("", "/items", "/items/scene_20180501")

    with TestClient(create_app(workspace_of_two, closed())) as client:
        hidden = [client.get(f"/collections/{COLLECTION}{p}", headers=PAGE) for p in paths]
        missing = [client.get(f"/collections/other{p}", headers=PAGE) for p in paths]
        seen = [
            client.get(f"/collections/{COLLECTION}{p}", headers={**PAGE, **owner}) for p in paths
        ]
    database.close()

    for one, other in zip(hidden, missing, strict=True):
        assert one.status_code == other.status_code == 404
        assert one.text == other.text.replace("other", COLLECTION)
        assert 'data-accounts="yes"' in one.text
    assert [one.status_code for one in seen] == [200] * 3


def test_pages_find_their_files_under_a_secret_path_and_below_ids_with_slashes(
    workspace_of_two: Workspace,
) -> None:
    with workspace_of_two.catalog() as catalog:
        catalog.put_collection(make_collection("a/b"))
    settings = ServerSettings(secret="0123456789abcdef", job_workers=0)  # noqa: S106 - a made-up one

    with TestClient(create_app(workspace_of_two, settings)) as client:
        for path in ("collections/a%2Fb", "collections/a/b", "collections/a/b/items", "search"):
            page = client.get(f"/0123456789abcdef/{path}", headers=PAGE)
            (script,) = re.findall(r'src="([^"]+)"', page.text)

            assert page.status_code == 200
            assert client.get(str(page.url.join(script))).status_code == 200
        assert 'data-collection="a/b"' in client.get(
            "/0123456789abcdef/collections/a%2Fb", headers=PAGE
        ).text  # fmt: skip


@pytest.fixture
def workspace_of_two(tmp_path: Path) -> Workspace:
    return make_home(tmp_path)
