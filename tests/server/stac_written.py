"""Documents that clients write, and a server that takes them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from starlette.testclient import TestClient
from tests.server.people import closed, ledger, newcomer

from terrazzo.drivers.job import Workspace
from terrazzo.ledger.users import change_user
from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.ledger import Database

Json = dict[str, Any]
MERGE, OPERATIONS = "application/merge-patch+json", "application/json-patch+json"
AWAY = "https://example.com/data.tif"


def collection(name: str, **members: Any) -> Json:
    """Return a small collection."""
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": name,
        "description": "Written by a test.",
        "license": "CC-BY-4.0",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2024-01-01T00:00:00Z", None]]},
        },
        "links": [],
        **members,
    }


def item(name: str, **members: Any) -> Json:
    """Return a small item without a collection, as STAC lets clients send it."""
    ring = [[10, 40], [11, 40], [11, 41], [10, 41], [10, 40]]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": name,
        "bbox": [10, 40, 11, 41],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": "2024-05-01T10:00:00Z", "eo:cloud_cover": 12.5},
        "links": [{"rel": "derived_from", "href": "https://example.com/source"}],
        "assets": {"data": {"href": AWAY, "type": "image/tiff", "roles": ["data"]}},
        **members,
    }


def features(*items: Json) -> Json:
    """Return items as one document."""
    return {"type": "FeatureCollection", "features": [*items]}


class World:
    """A server on which people log in: `admin`, `anna`, `bert`."""

    def __init__(self, client: TestClient, database: Database, workspace: Workspace) -> None:
        self.client, self.database, self.workspace = client, database, workspace
        self.headers = {name: newcomer(database, name) for name in ("admin", "anna", "bert")}
        self.headers["anonymous"] = {}
        change_user(database, "admin", admin=True)

    def ask(self, who: str, method: str, path: str, document: Any = None, **headers: str) -> Any:
        """Send a document as JSON, or nothing; ask to see what became of it."""
        told = {"prefer": "return=representation"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        body = {} if document is None else {"json": document}
        return self.client.request(method, path, headers={**self.headers[who], **told}, **body)


@contextmanager
def world(
    home: Path, *, database: str = "", files: tuple[str, ...] = (), **settings: Any
) -> Iterator[World]:
    """Run a server over an empty home folder, which may read files from some hosts."""
    workspace = Workspace.of(home, hosts=files, catalog=database)
    people = ledger(home)
    try:
        app = create_app(workspace, closed(**settings))
        with TestClient(app, raise_server_exceptions=False) as client:
            yield World(client, people, workspace)
    finally:
        people.close()


def names(answer: Any) -> set[str]:
    """Return the ids of the items in an answer."""
    return {feature["id"] for feature in answer.json()["features"]}


def fuzz_cases() -> int:
    """Return how many random documents a test sends."""
    return int(os.environ.get("TERRAZZO_WRITE_CASES", "600"))
