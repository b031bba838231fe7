"""`load_stac` against a server of plain files: items, collections, pages; and what is refused."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from tests.drivers.scenes import DATES, job_of, node

from terrazzo.drivers.job import Workspace
from terrazzo.engine import evaluate
from terrazzo.errors import AssetForbidden, NoDataAvailable, SourceUnreadable
from terrazzo.testing.compare import assert_same_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.drivers.scenes import Scenes


class Site:
    """What the server answers: documents by path, and files with byte ranges."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.moved: dict[str, str] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, *, body: bool) -> None:
                if self.path in site.moved:
                    self.send_response(302)
                    self.send_header("Location", site.moved[self.path])
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                content = site.pages.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                status, wanted = 200, self.headers.get("Range")
                if wanted:
                    first, _, last = wanted.removeprefix("bytes=").partition("-")
                    start, stop = int(first), min(int(last or len(content)) + 1, len(content))
                    status, whole, content = 206, len(content), content[start:stop]
                self.send_response(status)
                if wanted:
                    self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{whole}")
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if body:
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.host}"


@pytest.fixture
def site(scenes: Scenes) -> Iterator[Site]:
    """Serve the collection as a static catalogue with relative hrefs, and as an API with pages."""
    made = Site()
    with scenes.workspace.catalog() as catalog:
        (collection,) = catalog.collections()
        items = list(catalog.search((collection["id"],)))
    for item in items:
        for key, asset in item["assets"].items():
            path = f"/files/{item['id']}/{key}.tif"
            date = item["id"].removeprefix("S2_")
            made.pages[path] = scenes.file(date, key).read_bytes()
            asset["href"] = f"../files/{item['id']}/{key}.tif"
        made.pages[f"/items/{item['id']}.json"] = json.dumps(item).encode()
    static = [{"rel": "item", "href": f"items/{item['id']}.json"} for item in items]
    made.pages["/collection.json"] = json.dumps({**collection, "links": static}).encode()
    api = [{"rel": "items", "href": "/pages/search?page=1"}]
    made.pages["/api.json"] = json.dumps({**collection, "links": api}).encode()
    half = len(items) // 2
    following = [{"rel": "next", "href": "/pages/search?page=2"}]
    for number, part, links in ((1, items[:half], following), (2, items[half:], [])):
        page = {"type": "FeatureCollection", "features": part, "links": links}
        made.pages[f"/pages/search?page={number}"] = json.dumps(page).encode()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def pixels(workspace: Workspace, process: str, **arguments: object):
    nodes = {"load": node(process, True, bands=["B04", "SCL"], **arguments)}
    job = job_of(nodes)
    plan = job.plan(job.infer(workspace))
    return evaluate(plan, plan.window)


def remote(scenes: Scenes, site: Site) -> Workspace:
    return Workspace.of(scenes.workspace.home, (), (site.host,))


@pytest.mark.parametrize("document", ["collection.json", "api.json"])
def test_a_remote_collection_gives_the_pixels_of_the_local_one(
    scenes: Scenes, site: Site, document: str
):
    with scenes.workspace.catalog() as catalog:
        (collection,) = catalog.collections()

    extents = {"spatial_extent": None, "temporal_extent": None}
    local = pixels(scenes.workspace, "load_collection", id=collection["id"], **extents)
    far = pixels(remote(scenes, site), "load_stac", url=f"{site.url}/{document}")

    assert_same_pixels(far, local)


def test_one_remote_item_is_a_cube_of_one_date(scenes: Scenes, site: Site):
    far = pixels(remote(scenes, site), "load_stac", url=f"{site.url}/items/S2_{DATES[0]}.json")

    assert far.dimension("t").labels == (f"{DATES[0]}T10:30:00Z",)
    assert far.valid.any()


def test_a_period_without_items_says_so(scenes: Scenes, site: Site):
    with pytest.raises(NoDataAvailable, match="2031"):
        pixels(
            remote(scenes, site),
            "load_stac",
            url=f"{site.url}/collection.json",
            temporal_extent=["2031-01-01", "2032-01-01"],
        )


def test_a_host_that_is_not_allowed_is_not_asked(scenes: Scenes, site: Site):
    with pytest.raises(AssetForbidden, match="allow-host"):
        pixels(scenes.workspace, "load_stac", url=f"{site.url}/collection.json")


def test_redirects_are_not_followed(scenes: Scenes, site: Site):
    site.moved["/moved.json"] = f"{site.url}/collection.json"

    with pytest.raises(AssetForbidden, match="redirect"):
        pixels(remote(scenes, site), "load_stac", url=f"{site.url}/moved.json")


def test_links_and_assets_that_lead_elsewhere_are_refused(scenes: Scenes, site: Site):
    document = json.loads(site.pages["/collection.json"])
    document["links"] = [{"rel": "item", "href": "http://127.0.0.1:9/item.json"}]
    site.pages["/elsewhere.json"] = json.dumps(document).encode()
    item = json.loads(site.pages[f"/items/S2_{DATES[0]}.json"])
    item["assets"]["B04"]["href"] = "file:///etc/passwd"
    site.pages["/passwd.json"] = json.dumps(item).encode()

    for path in ("elsewhere", "passwd"):
        with pytest.raises(AssetForbidden):
            pixels(remote(scenes, site), "load_stac", url=f"{site.url}/{path}.json")


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"type": "Nonsense"}'])
def test_what_is_no_stac_is_told_so(scenes: Scenes, site: Site, content: bytes):
    site.pages["/odd.json"] = content

    with pytest.raises(SourceUnreadable, match=r"JSON|STAC"):
        pixels(remote(scenes, site), "load_stac", url=f"{site.url}/odd.json")


def test_a_missing_document_tells_the_status(scenes: Scenes, site: Site):
    with pytest.raises(SourceUnreadable, match="404"):
        pixels(remote(scenes, site), "load_stac", url=f"{site.url}/none.json")
