"""A server on which somebody has one of everything, and the rows of the access matrix.

A row is a request that names one thing, the same request for a thing that does not exist, and the
roles that get an answer. All others must not be able to tell the two apart.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import geopandas
from shapely import box
from starlette.testclient import TestClient
from tests.server.people import bearer, closed, ledger, newcomer
from tests.server.small import DATES, graph, made_service, write_images

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace
from terrazzo.ledger import Visibility
from terrazzo.ledger.collections import CollectionAccess, set_access
from terrazzo.ledger.licences import accept_licence, set_licence
from terrazzo.ledger.users import change_user, find_user
from terrazzo.ledger.workers import JobWorkers
from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.ledger import Database

PUBLIC, GROUPED, LICENSED, SECRET, MISSING = "open", "qqqq1111", "wwww2222", "eeee3333", "zzzz4444"
"""Collections; their names share no letters, so that none is suggested for another."""
COLLECTIONS = (PUBLIC, GROUPED, LICENSED, SECRET)
GEOMETRIES = "vvvv5555"
"""A private collection of geometries of the owner's."""
PERSONS = ("anonymous", "owner", "stranger", "member", "accepted", "admin")
SHUT_OUT = ("disabled", "expired")
SEES = {
    "anonymous": {PUBLIC},
    "owner": {PUBLIC, SECRET, GEOMETRIES},
    "stranger": {PUBLIC},
    "member": {PUBLIC, GROUPED},
    "accepted": {PUBLIC, LICENSED},
    "admin": {*COLLECTIONS, GEOMETRIES},
}
EVERYBODY = frozenset(PERSONS)
KNOWN = EVERYBODY - {"anonymous"}
OWN = frozenset({"owner"})
SEEING = frozenset({"owner", "admin"})
NOBODY: frozenset[str] = frozenset()
NO_JOB, NO_SERVICE, NO_LAYER = "j-" + "0" * 32, "0" * 16, "0" * 64
NO_FILE, NO_PROCESS = "mine-0000.txt", "mine_0000"
PATIENCE = 300.0
FILE = b"only the owner's"


@dataclass
class World:
    """A server, those who come to it, and what the owner has there."""

    client: TestClient
    database: Database
    headers: dict[str, dict[str, str]]
    names: dict[str, str] = field(default_factory=dict)
    """Names of the owner's things; rows have them in braces."""

    def ask(self, role: str, method: str, path: str, **body: Any) -> Any:
        path = path.format_map(self.names)
        return self.client.request(method, path, headers=self.headers[role], **body)

    def normal(self, text: str) -> str:
        """Return an answer without the names of things and the mark of the request."""
        gone = {NO_JOB, NO_SERVICE, NO_LAYER, NO_FILE, NO_PROCESS, MISSING}
        known = {*self.names.values(), *COLLECTIONS[1:], GEOMETRIES}
        for name in sorted(known - {""} | gone, key=len)[::-1]:
            text = text.replace(name, "NAME")
        return text


@dataclass(frozen=True)
class Row:
    """One thing, asked for in one way."""

    method: str
    route: str
    """As the application writes it."""
    path: str
    missing: str
    """The same for a thing that does not exist."""
    allowed: frozenset[str]
    """Roles that get it."""
    user: bool = True
    """Whether somebody who is not logged in is told to do so."""
    token: bool = True
    """Whether a bad token is noticed; a signed link needs none."""
    body: Any = None
    harmless: bool = True
    """Whether those who are allowed may ask again and again."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def rows() -> list[Row]:
    """Return the matrix."""
    return [
        *_jobs(),
        *_links(),
        *_files(),
        *_processes(),
        *_services(),
        *_collections(),
        *_features(),
        *_layers(),
    ]


def _jobs() -> Iterator[Row]:
    route, job, gone = "/jobs/{job_id}", "/jobs/{job}", f"/jobs/{NO_JOB}"
    for tail in ("", "/logs", "/estimate", "/results", "/blocks"):
        yield Row("GET", route + tail, job + tail, gone + tail, SEEING)
    name = f"{route}/results/{{name}}"
    yield Row("GET", name, f"{job}/results/{{asset}}", f"{gone}/results/{{asset}}", SEEING)
    yield Row("PATCH", route, job, gone, OWN, body={"title": "changed"})
    yield Row("DELETE", route, job, gone, OWN, harmless=False)
    for method in ("POST", "DELETE"):
        tail = "/results"
        yield Row(method, route + tail, job + tail, gone + tail, OWN, harmless=False)


def _links() -> Iterator[Row]:
    route = "/results/{signature}/{job_id}/{run}/{name}"
    for link in ("document", "asset_link"):
        good, forged = f"{{{link}}}", f"{{{link}_forged}}"
        yield Row("GET", route, good, forged, EVERYBODY, user=False, token=False)
        for wrong in (f"{{{link}_of_other}}", f"{{{link}_unsigned}}"):
            yield Row("GET", route, wrong, forged, NOBODY, user=False, token=False)


def _files() -> Iterator[Row]:
    route, mine, gone = "/files/{path:path}", "/files/{file}", f"/files/{NO_FILE}"
    yield Row("GET", route, mine, gone, OWN)
    yield Row("DELETE", route, mine, gone, OWN, harmless=False)


def _processes() -> Iterator[Row]:
    route = "/process_graphs/{process_graph_id}"
    mine, gone = "/process_graphs/{process}", f"/process_graphs/{NO_PROCESS}"
    yield Row("GET", route, mine, gone, OWN)
    yield Row("DELETE", route, mine, gone, OWN, harmless=False)


def _services() -> Iterator[Row]:
    route, gone = "/services/{service_id}", f"/services/{NO_SERVICE}"
    seen_by = {"private": SEEING, "restricted": KNOWN, "public": EVERYBODY}
    for scope, seen in seen_by.items():
        mine = f"/services/{{{scope}}}"
        yield Row("GET", route, mine, gone, seen & KNOWN)
        yield Row("GET", f"{route}/logs", f"{mine}/logs", f"{gone}/logs", OWN)
        yield Row("PATCH", route, mine, gone, OWN, body={"title": "changed"})
        yield Row("DELETE", route, mine, gone, OWN, harmless=False)
        for template, tail in {
            "/tiles/{matrix}/{z}/{x}/{y}.{form}": "/tiles/native/0/0/0.png",
            "/map": "/map",
            "/point": "/point?lon=21.01&lat=45.14",
            "/wmts": "/wmts?SERVICE=WMTS&REQUEST=GetCapabilities",
            "/wmts/1.0.0/WMTSCapabilities.xml": "/wmts/1.0.0/WMTSCapabilities.xml",
        }.items():
            yield Row("GET", route + template, mine + tail, gone + tail, seen, user=False)
    tile = f"{route}/tiles/{{matrix}}/{{z}}/{{x}}/{{y}}.{{form}}"
    tail = "/tiles/native/0/0/0.png?key="
    for key, seen in (("{private_key}", EVERYBODY), ("0-00", SEEING), ("{public_key}", SEEING)):
        yield Row(
            "GET", tile, f"/services/{{private}}{tail}{key}", gone + tail + key, seen, user=False
        )


def _collections() -> Iterator[Row]:
    route = "/collections/{collection_id:path}"
    for name in COLLECTIONS:
        seen = frozenset(role for role in PERSONS if name in SEES[role])
        for template, tail in {
            "": "",
            "/queryables": "/queryables",
            "/aggregations": "/aggregations",
            "/aggregate": "/aggregate?aggregations=total_count",
            "/items": "/items",
            "/items/{item_id}": "/items/{item}",
            "/items/{item_id}/preview": "/items/{item}/preview",
            "/items/{item_id}/assets/{key:path}": "/items/{item}/assets/{key}",
        }.items():
            mine, gone = f"/collections/{name}{tail}", f"/collections/{MISSING}{tail}"
            yield Row("GET", route + template, mine, gone, seen, user=False)
        mine, gone = f"/collections/{name}/aggregate", f"/collections/{MISSING}/aggregate"
        body = {"aggregations": ["total_count"]}
        yield Row("POST", f"{route}/aggregate", mine, gone, seen, user=False, body=body)
    yield from _writes(route)


def _features() -> Iterator[Row]:
    """Features of geometries, and of images, which have none."""
    route = "/features/collections/{collection_id:path}"
    for name, seen in ((GEOMETRIES, SEEING), (SECRET, NOBODY)):
        for template, tail in {
            "": "",
            "/items": "/items",
            "/items/{feature_id}": "/items/fields.0",
            "/queryables": "/queryables",
            "/schema": "/schema",
            "/tiles": "/tiles",
            "/tiles/{matrix}": "/tiles/WebMercatorQuad",
            "/tiles/{matrix}/{z}/{y}/{x}": "/tiles/WebMercatorQuad/0/0/0",
        }.items():
            mine, gone = (f"/features/collections/{one}{tail}" for one in (name, MISSING))
            yield Row("GET", route + template, mine, gone, seen, user=False)


def _layers() -> Iterator[Row]:
    """Layers that the owner or an admin opened: computed with the rights of whoever asks."""
    route, gone = "/layers/{layer_id}", f"/layers/{NO_LAYER}"
    box = {"bounds": [500_000, 4_997_000, 503_000, 5_000_000], "width": 8, "height": 8}
    line = {"type": "LineString", "coordinates": [[21.01, 45.13], [21.02, 45.14]]}
    for name in COLLECTIONS:
        seen = frozenset(role for role in PERSONS if name in SEES[role])
        mine = f"/layers/{{layer_{name}}}"
        yield Row("GET", route, mine, gone, seen, user=False)
        tile, template = "/tiles/native/0/0/0.png", "/tiles/{matrix}/{z}/{x}/{y}.{form}"
        yield Row("GET", route + template, mine + tile, gone + tile, seen, user=False)
        for method, body in {
            "legend": {}, "values": {"lon": 21.01, "lat": 45.14}, "statistics": box,
            "picture": box, "transect": {"geometry": line, "samples": 5},
            "profile": {"geometry": line}, "timelapse": box,
        }.items():  # fmt: skip
            if method != "values" and name != SECRET:  # one way in for all of them
                continue
            asked, missing = f"{mine}/{method}", f"{gone}/{method}"
            template = f"{route}/{{method}}"
            yield Row("POST", template, asked, missing, seen, user=False, body=body)


def _writes(route: str) -> Iterator[Row]:
    """Writes to a collection that others do not see; see test_transaction_rights.py for more."""
    for method, tail in (
        ("PUT", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/items"),
        ("PUT", "/items/{item}"), ("PATCH", "/items/{item}"), ("DELETE", "/items/{item}"),
    ):  # fmt: skip
        mine, gone = f"/collections/{SECRET}{tail}", f"/collections/{MISSING}{tail}"
        template = route + tail.replace("{item}", "{item_id}")
        body = None if method == "DELETE" else {}
        yield Row(method, template, mine, gone, SEEING, body=body, harmless=method == "PATCH")


@contextmanager
def world(home: Path) -> Iterator[World]:
    """Run a server with everything on it."""
    images = write_images(home / "images")[0].parent
    for name in COLLECTIONS:
        options = IngestOptions(bands=("red", "nir"), title=f"Title of {name}")
        ingest([images], name, Workspace.of(home), options=options)
    fields = geopandas.GeoDataFrame({"crop": ["rye"]}, geometry=[box(21, 45, 22, 46)], crs=4326)
    fields.to_file(home / "fields.gpkg")
    dated = IngestOptions(datetime="2024", title=f"Title of {GEOMETRIES}")
    ingest([home / "fields.gpkg"], GEOMETRIES, Workspace.of(home), options=dated)
    workspace, database = Workspace.of(home), ledger(home)
    people = _people(database)
    try:
        with TestClient(create_app(workspace, closed()), raise_server_exceptions=False) as client:
            made = World(client, database, people)
            _furnish(made, workspace)
            yield made
    finally:
        database.close()


def _people(database: Database) -> dict[str, dict[str, str]]:
    people = {role: newcomer(database, role) for role in (*PERSONS[1:], "disabled")}
    people |= {"anonymous": {}, "expired": bearer(database, "stranger", hours=-1.0)}
    owner = find_user(database, "owner").id
    change_user(database, "member", groups=["agri"])
    change_user(database, "stranger", groups=["vhr", "owner"])
    change_user(database, "admin", admin=True)
    set_licence(database, "vhr")
    set_licence(database, "agri")
    accept_licence(database, find_user(database, "accepted").id, "vhr")
    accept_licence(database, find_user(database, "stranger").id, "agri")
    set_access(database, CollectionAccess(GROUPED, Visibility.GROUP, "agri"))
    set_access(database, CollectionAccess(LICENSED, Visibility.LICENCE, "vhr"))
    for name in (SECRET, GEOMETRIES):
        set_access(database, CollectionAccess(name, Visibility.PRIVATE, owner=owner))
    return people


def _furnish(made: World, workspace: Workspace) -> None:
    """Give the owner one of everything."""
    names, owner = made.names, made.headers["owner"]
    process = graph(SECRET, save=True)
    for role, name in (("owner", "job"), ("stranger", "job_of_other")):
        answer = made.ask(role, "POST", "/jobs", json={"process": process, "title": f"t-{name}"})
        names[name] = answer.headers["OpenEO-Identifier"]
        made.ask(role, "POST", f"/jobs/{names[name]}/results")
    with JobWorkers(workspace):
        states = [_end(made, role, names[name]) for role, name in _BOTH]
    assert states == ["finished", "error"], states
    results = made.ask("owner", "GET", "/jobs/{job}/results").json()
    names["asset"] = next(iter(results["assets"]))
    _name_links(names, results)
    names["file"] = "mine-7f3a.txt"
    made.ask("owner", "PUT", "/files/{file}", content=FILE)
    names["process"] = "mine_7f3a"
    made.ask("owner", "PUT", "/process_graphs/{process}", json=graph(PUBLIC))
    for scope in ("private", "restricted", "public"):
        names[scope] = made_service(
            made.client,
            graph(PUBLIC),
            headers=owner,
            title=f"t-{scope}",
            configuration={"scope": scope, "min": 0.0, "max": 1.0},
        )
        told = made.ask("owner", "GET", f"/services/{names[scope]}").json()
        names[f"{scope}_key"] = _key(told["url"])
    for name in COLLECTIONS:
        role = "owner" if name in SEES["owner"] else "admin"
        opened = made.ask(role, "POST", "/layers", json=graph(name))
        names[f"layer_{name}"] = opened.json()["id"]
    items = made.ask("owner", "GET", f"/collections/{SECRET}/items").json()["features"]
    assert len(items) == len(DATES)
    names["item"], names["key"] = items[0]["id"], next(iter(items[0]["assets"]))
    change_user(made.database, "disabled", enabled=False)


_BOTH = (("owner", "job"), ("stranger", "job_of_other"))


def _end(made: World, role: str, job: str) -> str:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        status: str = made.ask(role, "GET", f"/jobs/{job}").json()["status"]
        if status in {"finished", "error", "canceled"}:
            return status
        time.sleep(0.2)
    return "late"


def _name_links(names: dict[str, str], results: dict[str, Any]) -> None:
    """Name signed links, and some that somebody could make of them."""
    hrefs = {
        "document": next(one["href"] for one in results["links"] if one["rel"] == "canonical"),
        "asset_link": results["assets"][names["asset"]]["href"],
    }
    for name, href in hrefs.items():
        path = urlsplit(href).path
        _, _, signature, job, rest = path.split("/", 4)
        forged = signature[:-1] + ("0" if signature[-1] != "0" else "1")
        names[name] = path
        names[f"{name}_forged"] = f"/results/{forged}/{job}/{rest}"
        names[f"{name}_of_other"] = f"/results/{signature}/{names['job_of_other']}/{rest}"
        names[f"{name}_unsigned"] = f"/results/0-{'0' * 64}/{job}/{rest}"


def _key(url: str) -> str:
    return url.partition("key=")[2].partition("&")[0]
