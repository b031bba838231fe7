"""Catalogues of strangers, taken over by the operator: their hrefs open nothing of this machine.

What the operator's own command takes over is read by a server with folders (`--root`), later.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient
from tests.attacks.strings import ALL
from tests.attacks.world import graph
from tests.server.stac_written import collection, item

from terrazzo.cli import main
from terrazzo.drivers.job import Workspace
from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.attacks.world import Attacked

NAMES = {f"evil-{number:03}": attack for number, attack in enumerate(ALL)}


def evil(there: Attacked, **members: Any) -> list[dict[str, Any]]:
    """Return an item for each attack, whose asset has it as href."""
    return [
        item(
            name,
            assets={"data": {"href": there.filled(ALL[attack]), "type": "image/tiff"}},
            links=[],
            properties={"datetime": "2024-05-01T10:00:00Z", "name": name},
            **members,
        )
        for name, attack in NAMES.items()
    ]


def served(there: Attacked, home: Path) -> str:
    """Take over a static catalogue by its address."""
    documents = evil(there)
    for document in documents:
        (there.site.folder / f"{document['id']}.json").write_text(json.dumps(document))
    links = [{"rel": "item", "href": f"./{one['id']}.json"} for one in documents]
    (there.site.folder / "evil.json").write_text(json.dumps(collection("evil", links=links)))
    url = there.site.url("evil.json")
    return called(home, there, "ingest", url, "--collection", "evil")


def saved(there: Attacked, home: Path) -> str:
    """Take over items that lie in a file."""
    path = home.parent / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": evil(there)}))
    return called(home, there, "ingest", path, "--collection", "evil")


def imported(there: Attacked, home: Path) -> str:
    """Import lines of JSON."""
    path = home.parent / "items.ndjson"
    lines = [collection("evil"), *evil(there, collection="evil")]
    path.write_text("\n".join(map(json.dumps, lines)))
    return called(home, there, "catalog", "import", path)


def called(home: Path, there: Attacked, *arguments: object) -> str:
    options = ["--home", str(home), "--allow-host", there.site.host]
    result = CliRunner().invoke(main, [*options, *map(str, arguments)])
    assert result.exit_code in {0, 2, 3}, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture(scope="module", params=[served, saved, imported], ids=lambda one: one.__name__)
def taken_over(
    request: pytest.FixtureRequest, attacked: Attacked, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """Serve what was taken over, from a workspace with a folder that may be read."""
    folder = tmp_path_factory.mktemp("taken")
    (folder / "root").mkdir()
    attacked.watch.opened()
    request.param(attacked, folder / "home")
    assert not attacked.watch.opened()
    assert attacked.bell.rung == 0
    workspace = Workspace.of(folder / "home", roots=(folder / "root",), hosts=(attacked.site.host,))
    with TestClient(create_app(workspace), raise_server_exceptions=False) as client:
        yield client


def test_no_item_opens_anything(attacked: Attacked, taken_over: TestClient):
    found = [
        one["id"] for one in taken_over.get("/collections/evil/items?limit=1000").json()["features"]
    ]
    for name in found:
        text = attacked.filled(ALL[NAMES[name]])
        read = taken_over.post("/result", json=_load(name))
        seen = taken_over.get(f"/collections/evil/items/{name}/preview")
        given = taken_over.get(
            f"/collections/evil/items/{name}/assets/data", follow_redirects=False
        )

        for answer in (read, seen, given):
            assert answer.status_code >= 300, (NAMES[name], answer.text[:300])
            assert (
                str(attacked.canary.parent) in text
                or str(attacked.canary.parent) not in answer.text
            )
        assert not attacked.watch.opened(), NAMES[name]
        assert attacked.bell.rung == 0, NAMES[name]
    assert found


def _load(name: str) -> dict[str, Any]:
    """Return a body of POST /result that loads one item, by a property that it alone has."""
    condition = {
        "process_graph": {
            "same": {
                "process_id": "eq",
                "arguments": {"x": {"from_parameter": "value"}, "y": name},
                "result": True,
            }
        }
    }
    every = {"spatial_extent": None, "temporal_extent": None}
    return graph("load_collection", id="evil", properties={"name": condition}, **every)
