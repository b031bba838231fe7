"""Ingestion of STAC: APIs, static catalogues and files, from good servers and from bad ones."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pystac
import pytest
from tests.drivers.catalogue_items import filled, item_of
from tests.drivers.scenes import COLLECTION as SCENES
from tests.drivers.scenes import DATES

from terrazzo.catalog import make_collection
from terrazzo.drivers.job import Workspace, remembered_roots
from terrazzo.drivers.remote_stac import ingest_stac
from terrazzo.drivers.stac_source import PAGE, StacOptions
from terrazzo.errors import ArgumentInvalid, AssetForbidden, SourceUnreadable
from terrazzo.progress import Cancelled, Progress
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings
from terrazzo.storage import stac_walk
from terrazzo.storage.gate import Gate
from terrazzo.storage.remote import download

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.drivers.scenes import Scenes

Answer = "bytes | tuple[int, dict[str, str], bytes]"
PATIENCE_S = 60.0


class Site:
    """A server of documents; an answer may be a function, which is called each time."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                body = int(self.headers.get("Content-Length") or 0)
                found = site.pages.get(self.path + self.rfile.read(body).decode())
                found = found() if callable(found) else found
                if found is None:
                    self.send_error(404)
                    return
                status, headers, content = 200, {}, found
                if isinstance(found, tuple):
                    status, headers, content = found
                if not isinstance(content, bytes):
                    content = json.dumps(content).encode()
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(content))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET  # noqa: N815 - the library's name

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.host}"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    return Workspace.of(tmp_path / "home")


def items_of(workspace: Workspace, collection: str = "mine") -> dict[str, Any]:
    with workspace.catalog() as catalog:
        return {item["id"]: item for item in catalog.search((collection,))}


def link(relation: str, href: str, **more: Any) -> dict[str, Any]:
    return {"rel": relation, "href": href} | more


def page(*numbers: int, links: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    """Return a page of an API."""
    features = [item_of(number) for number in numbers]
    return {"type": "FeatureCollection", "features": features, "links": [*links]}


def pages(site: Site, count: int) -> str:
    """Serve a chain of pages with one item each, and return the first one's address."""
    for number in range(count):
        following = (link("next", f"/page/{number + 1}"),) if number + 1 < count else ()
        site.pages[f"/page/{number}"] = page(number, links=following)
    return f"{site.url}/page/0"


def static(site: Site, *, collection: str = "there", count: int = 3) -> str:
    """Serve a static collection and return its address."""
    for number in range(count):
        item = item_of(number)
        item["assets"]["B04"]["href"] = "./B04.tif"
        item["assets"]["B04"]["terrazzo:base"] = "/"
        item["links"] = [link("root", "../../catalog.json"), link("license", "../LICENSE")]
        site.pages[f"/stac/{collection}/{number}/item.json"] = item
    below = [link("item", f"./{number}/item.json") for number in range(count)]
    document = make_collection(collection, title="There", license="CC-BY-4.0")
    document["providers"] = [{"name": "Somebody", "roles": ["producer"]}]
    document["assets"] = {"thumbnail": {"href": "t.png"}}
    site.pages[f"/stac/{collection}/collection.json"] = document | {"links": below}
    return f"{site.url}/stac/{collection}/collection.json"


# Good servers


def test_a_collection_of_our_own_api_is_taken_over(scenes: Scenes, home: Workspace) -> None:
    with scenes.workspace.catalog() as catalog:
        catalog.put_collection(
            catalog.collection(SCENES)
            | {"title": "Scenes", "license": "CC-BY-4.0", "providers": [{"name": "Somebody"}]}
        )
        originals = {item["id"]: item for item in catalog.search((SCENES,))}
    with serving(scenes.workspace, settings=ServerSettings(job_workers=0)) as url:
        first = ingest_stac(url, "mine", home, options=StacOptions(source=SCENES))
        again = ingest_stac(url, "mine", home, options=StacOptions(source=SCENES))
        below = ingest_stac(f"{url}/collections/{SCENES}", "other", home)
        with home.catalog() as catalog:
            catalog.delete_items("mine", [next(iter(originals))])
        mended = ingest_stac(url, "mine", home, options=StacOptions(source=SCENES))
        with pytest.raises(ArgumentInvalid, match=f"It has {SCENES}"):
            ingest_stac(url, "nowhere", home)

    host = url.removeprefix("http://").rstrip("/")
    assert (first.made, first.kept, dict(first.failed)) == (len(DATES), 0, {})
    assert (again.made, again.kept, mended.made, below.made) == (0, 4, 1, 4)
    assert first.hosts == (host,)
    found = items_of(home)
    assert found.keys() == originals.keys()
    for name, item in found.items():
        assert item["collection"] == "mine"
        assert item["bbox"] == originals[name]["bbox"]
        assert item["properties"] == originals[name]["properties"]
        assert all(asset["href"].startswith(url) for asset in item["assets"].values())
    with home.catalog() as catalog:
        collection = catalog.collection("mine")
        theirs = scenes.workspace.catalog().collection(SCENES)
    for member in ("title", "license", "providers", "cube:dimensions", "extent"):
        assert collection[member] == theirs[member]


@pytest.mark.parametrize(
    "asked",
    [
        {"bbox": (-165.0, -56.0, -160.0, -50.0)},
        {"interval": ("2020-02-01", "2020-03-01")},
        {"interval": (None, "2020-02-01T10:00:31.5Z")},
        {"filter": "\"eo:cloud_cover\" < 7 AND platform = 'sentinel-2a'"},
        {"bbox": (-170.0, -60.0, -150.0, -40.0), "interval": ("2020-01-05", None)},
    ],
)
def test_only_what_is_asked_for_is_taken(
    home: Workspace, tmp_path: Path, asked: dict[str, Any]
) -> None:
    items = [item_of(number) for number in range(100)]
    there = Workspace.of(tmp_path / "there")
    with filled(there.catalog(create=True), items) as catalog:
        wanted = {item["id"] for item in catalog.search(("s2",), **asked)}

    with serving(there, settings=ServerSettings(job_workers=0)) as url:
        report = ingest_stac(url, "mine", home, options=StacOptions("s2", **asked))

    assert 0 < len(wanted) < 100
    assert set(items_of(home)) == wanted
    assert report.made == len(wanted)


def test_a_limit_ends_it_and_pages_are_followed(home: Workspace, tmp_path: Path) -> None:
    there = Workspace.of(tmp_path / "there")
    filled(there.catalog(create=True), [item_of(number) for number in range(2 * PAGE + 10)]).close()
    progress = Progress()

    with serving(there, settings=ServerSettings(job_workers=0)) as url:
        few = ingest_stac(url, "few", home, options=StacOptions("s2", limit=PAGE + 3))
        whole = ingest_stac(url, "s2", home, progress=progress)

    assert (few.made, len(items_of(home, "few"))) == (PAGE + 3, PAGE + 3)
    assert (whole.made, progress.done) == (2 * PAGE + 10, 2 * PAGE + 10)


def test_pages_are_posted_where_the_api_says_so(site: Site, home: Workspace) -> None:
    body = {"token": "b"}
    more = link("next", "/search", method="POST", body=body, merge=True)
    last = link("next", "/search", method="POST", body={"token": "c"}, merge=True)
    site.pages["/first"] = page(0, links=(more,))
    site.pages[f"/search{json.dumps(body)}"] = page(1, links=(last,))
    site.pages[f"/search{json.dumps({'token': 'c'})}"] = page(2)

    report = ingest_stac(f"{site.url}/first", "mine", home)

    assert (report.made, len(items_of(home))) == (3, 3)


def test_a_static_catalogue_is_walked_through(site: Site, home: Workspace) -> None:
    address = static(site)
    static(site, collection="else", count=1)
    below = [link("child", "./there/collection.json"), link("child", "./else/collection.json")]
    site.pages["/stac/catalog.json"] = {"type": "Catalog", "id": "root", "links": below}

    report = ingest_stac(f"{site.url}/stac/catalog.json", "mine", home)
    named = ingest_stac(
        f"{site.url}/stac/catalog.json", "other", home, options=StacOptions(source="else")
    )

    assert (report.made, report.hosts) == (3, (site.host,))
    assert list(report.failed) == [f"{site.url}/stac/else/collection.json"]
    assert (named.made, dict(named.failed)) == (1, {})
    item = items_of(home)["item-00001"]
    assert item["assets"]["B04"]["href"] == f"{site.url}/stac/there/1/B04.tif"
    assert "terrazzo:base" not in item["assets"]["B04"]
    assert item["links"] == [
        link("collection", "../mine"),
        link("via", f"{site.url}/stac/there/1/item.json"),
        link("license", f"{site.url}/stac/there/LICENSE"),
    ]
    with home.catalog() as catalog:
        collection = catalog.collection("mine")
    assert (collection["title"], collection["license"]) == ("There", "CC-BY-4.0")
    assert collection["providers"] == [{"name": "Somebody", "roles": ["producer"]}]
    assert collection["assets"]["thumbnail"]["href"] == f"{site.url}/stac/there/t.png"
    assert link("via", address) in collection["links"]


def test_items_in_catalogues_below_a_collection_belong_to_it(site: Site, home: Workspace) -> None:
    for name, number in (("a", 1), ("b", 2)):
        year = {"type": "Catalog", "id": "2020", "links": [link("item", f"{name}.json")]}
        below = {"links": [link("child", f"{name}-2020.json")]}
        site.pages[f"/{name}.json"] = item_of(number)
        site.pages[f"/{name}-2020.json"] = year
        site.pages[f"/{name}-all.json"] = make_collection(name) | below
    children = [link("child", "a-all.json"), link("child", "b-all.json")]
    site.pages["/root.json"] = {"type": "Catalog", "id": "root", "links": children}

    first = ingest_stac(f"{site.url}/root.json", "first", home)
    named = ingest_stac(f"{site.url}/root.json", "named", home, options=StacOptions(source="b"))

    assert (first.made, list(first.failed)) == (1, [f"{site.url}/b-all.json"])
    assert set(items_of(home, "first")) == {"item-00001"}
    assert (named.made, dict(named.failed)) == (1, {})
    assert set(items_of(home, "named")) == {"item-00002"}


def test_what_changed_there_changes_here(site: Site, home: Workspace) -> None:
    address = static(site)
    ingest_stac(address, "mine", home)
    site.pages["/stac/there/1/item.json"]["properties"]["gsd"] = 20
    site.pages["/stac/there/collection.json"]["title"] = "Renamed"

    report = ingest_stac(address, "mine", home)

    assert (report.made, report.kept) == (1, 2)
    assert items_of(home)["item-00001"]["properties"]["gsd"] == 20
    with home.catalog() as catalog:
        assert catalog.collection("mine")["title"] == "Renamed"


def test_a_local_catalogue_of_pystac_is_read_in_place(
    scenes: Scenes, home: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "stac"
    catalog = pystac.Catalog("root", "A catalogue")
    extent = pystac.Extent(
        pystac.SpatialExtent([[-180, -90, 180, 90]]),
        pystac.TemporalExtent([[datetime(2020, 1, 1, tzinfo=UTC), None]]),
    )
    collection = pystac.Collection("scenes", "Scenes", extent, title="Of pystac", license="MIT")
    catalog.add_child(collection)
    with scenes.workspace.catalog() as there:
        for document in there.search((SCENES,)):
            item = pystac.Item.from_dict(document)
            item.clear_links()
            collection.add_item(item)
    catalog.normalize_hrefs(str(folder))
    catalog.make_all_asset_hrefs_absolute()
    catalog.save(pystac.CatalogType.SELF_CONTAINED)
    for name in DATES:
        where = folder / "scenes" / f"S2_{name}"
        shutil.copy(scenes.file(name, "B04"), where / "B04.tif")
        path = where / f"S2_{name}.json"
        document = json.loads(path.read_text())
        document["assets"] = {"B04": document["assets"]["B04"] | {"href": "./B04.tif"}}
        path.write_text(json.dumps(document))

    report = ingest_stac(str(folder / "catalog.json"), "mine", home)

    assert (report.made, report.hosts, report.folders) == (4, (), ())
    with home.catalog() as catalog_here:
        assert catalog_here.collection("mine")["title"] == "Of pystac"
    found = items_of(home)[f"S2_{DATES[0]}"]["assets"]["B04"]["href"]
    assert found == str(folder / "scenes" / f"S2_{DATES[0]}" / "B04.tif")
    assert Gate(Workspace.of(home.home).roots).open_name(found).gdal == found


@pytest.mark.shared
def test_real_items_are_taken_in(shared: Path, home: Workspace, tmp_path: Path) -> None:
    for path in sorted((shared / "data" / "stac_items_planetarycomputer").glob("*.json")):
        items = json.loads(path.read_text())
        document = tmp_path / path.name
        document.write_text(json.dumps({"type": "FeatureCollection", "features": items}))

        report = ingest_stac(str(document), path.stem, home)

        assert dict(report.failed) == {}
        found = items_of(home, path.stem)
        assert found.keys() == {item["id"] for item in items}
        for item in items:
            assert found[item["id"]]["assets"] == item["assets"]
            assert found[item["id"]]["properties"] == item["properties"]
    first = ingest_stac(str(document), path.stem, home)
    assert (first.made, first.kept) == (0, len(items))
    assert first.hosts


def test_an_item_in_a_file_is_taken_in(home: Workspace, tmp_path: Path) -> None:
    (tmp_path / "item.json").write_text(json.dumps(item_of(3)))
    (tmp_path / "other.json").write_text('{"type": "Polygon"}')

    report = ingest_stac(str(tmp_path / "item.json"), "mine", home)

    assert (report.made, report.hosts) == (1, ("data.example.org",))
    assert remembered_roots(home.home) == ()  # none of its files is here
    with pytest.raises(ArgumentInvalid, match="no STAC"):
        ingest_stac(str(tmp_path / "other.json"), "mine", home)
    with pytest.raises(ArgumentInvalid, match="There is no file"):
        ingest_stac(str(tmp_path / "none.json"), "mine", home)


# Going on


class Stopping(Progress):
    """Stops when so many items are in."""

    def __init__(self, most: int) -> None:
        self.most = most

    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if self.done >= self.most:
            raise Cancelled


def test_what_was_stopped_goes_on_where_it_was(site: Site, home: Workspace) -> None:
    address = pages(site, 6)
    with pytest.raises(Cancelled):
        ingest_stac(address, "mine", home, progress=Stopping(3))
    site.asked.clear()

    report = ingest_stac(address, "mine", home)

    # The page of the third item was put, but not yet noted, so it is looked at again.
    assert site.asked == [f"/page/{number}" for number in (0, 2, 3, 4, 5)]
    assert report.items == len(items_of(home)) == 6
    assert not list(home.assets.glob("*.jsonl")) + list(home.assets.glob(".*.jsonl"))


def test_a_static_catalogue_that_was_stopped_goes_on(
    site: Site, home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stac_walk, "_PART", 2)
    address = static(site, count=8)
    with pytest.raises(Cancelled):
        ingest_stac(address, "mine", home, progress=Stopping(5))
    site.asked.clear()

    report = ingest_stac(address, "mine", home)

    assert "/stac/there/0/item.json" not in site.asked
    assert "/stac/there/7/item.json" in site.asked
    assert report.items == len(items_of(home)) == 8


def test_a_link_that_has_expired_means_beginning_anew(site: Site, home: Workspace) -> None:
    address = pages(site, 4)
    with pytest.raises(Cancelled):
        ingest_stac(address, "mine", home, progress=Stopping(2))
    for number in range(1, 4):
        site.pages[f"/fresh/{number}"] = site.pages.pop(f"/page/{number}")
        site.pages[f"/fresh/{number}"]["links"] = []
    site.pages["/page/0"]["links"] = [link("next", "/fresh/3")]

    ingest_stac(address, "mine", home)

    assert set(items_of(home)) == {"item-00000", "item-00001", "item-00003"}


INGEST = """
import sys
from pathlib import Path
from terrazzo.drivers.job import Workspace, remembered_roots
from terrazzo.drivers.remote_stac import ingest_stac
ingest_stac(sys.argv[1], "mine", Workspace.of(Path(sys.argv[2])))
"""


def test_what_was_killed_is_completed(site: Site, home: Workspace) -> None:
    address = pages(site, 30)
    for stop in (5, 20):
        begun, ended, right = threading.Event(), threading.Event(), site.pages[f"/page/{stop}"]

        def hold(begun=begun, ended=ended, right=right) -> Any:
            begun.set()
            ended.wait(PATIENCE_S)
            return right

        site.pages[f"/page/{stop}"] = hold
        with subprocess.Popen([sys.executable, "-c", INGEST, address, str(home.home)]) as process:
            assert begun.wait(PATIENCE_S)
            os.kill(process.pid, signal.SIGKILL)
        ended.set()
        site.pages[f"/page/{stop}"] = right
        assert process.returncode == -signal.SIGKILL
        assert len(items_of(home)) <= stop

    ingest_stac(address, "mine", home)

    assert len(items_of(home)) == 30


# Bad servers


def test_a_server_that_fails_twice_is_asked_again(site: Site, home: Workspace) -> None:
    address, answers = pages(site, 3), iter([(500, {}, b""), (503, {"Retry-After": "7"}, b"")])
    right = site.pages["/page/1"]
    site.pages["/page/1"] = lambda: next(answers, right)
    waits: list[float] = []

    report = ingest_stac(address, "mine", home, wait=waits.append)

    assert report.made == 3
    assert waits == [0.5, 7]


@pytest.mark.parametrize(
    "broken",
    [
        (200, {"Content-Length": "1000"}, b'{"type": "FeatureCollection", "features": ['),
        (200, {}, b'{"type": "FeatureCollection", "features": ['),
        (500, {}, b""),
        (429, {"Retry-After": "soon"}, b""),
    ],
    ids=["cut off", "half", "broken", "too many"],
)
def test_a_page_that_stays_broken_ends_it_and_keeps_the_rest(
    site: Site, home: Workspace, broken: Answer
) -> None:
    address, right = pages(site, 3), None
    right = site.pages["/page/1"]
    site.pages["/page/1"] = broken
    waits: list[float] = []

    with pytest.raises(SourceUnreadable):
        ingest_stac(address, "mine", home, wait=waits.append)
    assert len(waits) == stac_walk.TRIES - 1
    assert set(items_of(home)) == {"item-00000"}
    site.pages["/page/1"] = right

    assert ingest_stac(address, "mine", home).items == 3


def test_a_static_server_that_stops_answering_ends_it(site: Site, home: Workspace) -> None:
    address = static(site, count=3)
    for number in range(3):
        site.pages[f"/stac/there/{number}/item.json"] = (503, {}, b"")

    with pytest.raises(SourceUnreadable, match="503"):
        ingest_stac(address, "mine", home, wait=lambda _: None)

    assert len(site.asked) == 1 + 3 * stac_walk.TRIES


def test_a_server_that_drips_is_given_up(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(download, "LONGEST_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server, dripping(server) as asked:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"

        with pytest.raises(SourceUnreadable, match="does not answer"):
            ingest_stac(address, "mine", home, wait=lambda _: None)

    assert len(asked) == stac_walk.TRIES


@contextmanager
def dripping(server: socket.socket) -> Iterator[list[int]]:
    """Answer with a byte every tenth of a second, without end; who asked is known at the end."""
    asked: list[int] = []
    stop, dripped = threading.Event(), list[threading.Thread]()

    def drip(connection: socket.socket) -> None:
        with connection:
            connection.recv(65_536)
            asked.append(1)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not stop.wait(0.1):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    def serve() -> None:
        server.settimeout(0.1)
        while True:
            last = stop.is_set()
            try:
                connection, _ = server.accept()
            except OSError:
                if last:  # nobody waits any more
                    return
                continue
            dripped.append(threading.Thread(target=drip, args=(connection,), daemon=True))
            dripped[-1].start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield asked
    stop.set()
    thread.join()
    for one in dripped:
        one.join()


def test_pages_and_catalogues_that_lead_in_circles_end(site: Site, home: Workspace) -> None:
    pages(site, 3)
    site.pages["/page/2"]["links"] = [link("next", "/page/0")]
    static(site)
    document = site.pages["/stac/there/collection.json"]
    document["links"] += [link("child", "../catalog.json"), link("child", "./collection.json")]
    below = [link("child", "there/collection.json"), link("child", "catalog.json")]
    site.pages["/stac/catalog.json"] = {"type": "Catalog", "id": "root", "links": below}
    count = iter(range(10_000))
    site.pages["/empty"] = lambda: page(links=(link("next", f"/empty?{next(count)}"),))
    for number in range(200):
        site.pages[f"/empty?{number}"] = site.pages["/empty"]

    with pytest.raises(SourceUnreadable, match="circles"):
        ingest_stac(f"{site.url}/page/0", "mine", home)
    report = ingest_stac(f"{site.url}/stac/catalog.json", "other", home)
    with pytest.raises(SourceUnreadable, match="circles"):
        ingest_stac(f"{site.url}/empty", "mine", home)

    assert len(items_of(home)) == 3
    assert (report.made, dict(report.failed)) == (3, {})
    assert len(site.asked) < 250


def test_bad_items_are_left_out_and_told(site: Site, home: Workspace) -> None:
    bad = [item_of(1, bbox=[1, 2]), item_of(2, properties={}), 7, item_of(3, id=None)]
    site.pages["/items"] = {"type": "FeatureCollection", "features": [item_of(0), *bad]}
    address = static(site, count=2)
    site.pages["/stac/there/1/item.json"] = {"type": "Blob"}
    site.pages["/stac/there/collection.json"]["links"].append(link("item", "gone.json"))

    report = ingest_stac(f"{site.url}/items", "mine", home)
    below = ingest_stac(address, "other", home)

    assert (report.made, len(report.failed)) == (1, 4)
    assert "bbox" in report.failed["item-00001"]
    assert (below.made, set(below.failed)) == (1, {"./1/item.json", "gone.json"})
    site.pages["/items"]["features"] = bad
    with pytest.raises(ArgumentInvalid, match="Nothing was ingested"):
        ingest_stac(f"{site.url}/items", "none", home)


# Hostile servers


def test_a_remote_catalogue_reads_no_file_of_this_machine(
    site: Site, home: Workspace, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(item_of(66)))
    address = static(site, count=1)
    links = site.pages["/stac/there/collection.json"]["links"]
    links += [link("item", f"file://{secret}"), link("item", str(secret))]
    links += [link("child", f"FILE://{secret}"), link("child", f"//localhost{secret}")]
    item = site.pages["/stac/there/0/item.json"]
    item["assets"]["leak"] = {"href": "file:///etc/passwd.tif"}
    item["assets"]["blank"] = {"href": " file:///etc/passwd.tif"}
    item["assets"]["path"] = {"href": "/etc/passwd.tif"}
    item["links"] += [link("about", " file:///etc/hostname")]
    item["links"] += [link("derived_from", "file:///etc/hostname")]

    report = ingest_stac(address, "mine", home)

    assert set(items_of(home)) == {"item-00000"}
    assert len(report.failed) == 6
    (found,) = items_of(home).values()
    assert found["assets"].keys() == {"B04", "path"}
    assert found["assets"]["path"]["href"] == f"{site.url}/etc/passwd.tif"
    assert "file:/" not in json.dumps(found)


def test_redirects_are_followed_only_where_one_may_go(site: Site, home: Workspace) -> None:
    address = pages(site, 2)
    site.pages["/moved"] = (302, {"Location": "/page/0"}, b"")
    elsewhere = ("http://localhost:1/", "http://169.254.169.254/", "file:///etc/hostname", "")
    for number, location in enumerate(elsewhere):
        site.pages[f"/away/{number}"] = (302, {"Location": location}, b"")
    site.pages["/away/4"] = (302, {"Location": "/away/4"}, b"")

    report = ingest_stac(f"{site.url}/moved", "mine", home)
    for number in range(5):
        with pytest.raises(AssetForbidden):
            ingest_stac(f"{site.url}/away/{number}", "mine", home)

    assert report.made == 2
    assert address.endswith("/page/0")


def test_links_to_other_hosts_are_followed_only_where_allowed(site: Site, home: Workspace) -> None:
    other = site.url.replace("127.0.0.1", "localhost")
    site.pages["/first"] = page(0, links=(link("next", f"{other}/second"),))
    site.pages["/second"] = page(1)

    with pytest.raises(AssetForbidden, match="--allow-host localhost"):
        ingest_stac(f"{site.url}/first", "mine", home)
    host = other.removeprefix("http://")
    allowed = Workspace.of(home.home, hosts=(f"{host}=127.0.0.1", f"{host}=::1"))

    assert ingest_stac(f"{site.url}/first", "mine", allowed).items == 2


def test_a_public_name_may_not_mean_a_private_address(
    site: Site, home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = socket.getaddrinfo

    def lying(host: str, *rest: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host == "stac.example.org" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lying)
    pages(site, 1)

    with pytest.raises(AssetForbidden, match="not public"):
        ingest_stac(f"http://stac.example.org:{site.server.server_port}/page/0", "mine", home)

    assert not site.asked


def test_a_local_catalogue_reads_no_file_outside_its_folder(
    home: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "stac"
    folder.mkdir()
    (tmp_path / "secret.json").write_text(json.dumps(item_of(66)))
    (folder / "item.json").write_text(json.dumps(item_of(1)))
    (folder / "link.json").symlink_to(tmp_path / "secret.json")
    below = [link("item", href) for href in ("item.json", "../secret.json", "link.json")]
    document = make_collection("there") | {"links": below}
    (folder / "collection.json").write_text(json.dumps(document))

    report = ingest_stac(str(folder / "collection.json"), "mine", home)

    assert set(items_of(home)) == {"item-00001"}
    assert set(report.failed) == {"../secret.json", "link.json"}


def test_two_ingestions_into_one_collection_do_not_run_at_once(site: Site, home: Workspace) -> None:
    address = pages(site, 1)
    begun, go_on = threading.Event(), threading.Event()
    right = site.pages["/page/0"]

    def slow() -> Any:
        begun.set()
        go_on.wait(PATIENCE_S)
        return right

    site.pages["/page/0"] = slow
    thread = threading.Thread(target=ingest_stac, args=(address, "mine", home))
    thread.start()
    assert begun.wait(PATIENCE_S)

    with pytest.raises(ArgumentInvalid, match="Another ingestion"):
        ingest_stac(address, "mine", home)
    go_on.set()
    thread.join()

    assert len(items_of(home)) == 1


def test_the_catalogue_has_no_item_that_nobody_asked_for(site: Site, home: Workspace) -> None:
    address = pages(site, 5)

    report = ingest_stac(address, "mine", home, options=StacOptions(filter="gsd > 100"))

    assert (report.made, report.kept, dict(report.failed)) == (0, 0, {})
    with home.catalog() as catalog:
        assert catalog.collections() == []
