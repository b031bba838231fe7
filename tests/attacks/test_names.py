"""Names that lead out of a folder or out of a statement, wherever a name can be given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from tests.attacks.files import tif
from tests.attacks.world import graph
from tests.server.stac_written import collection, item

if TYPE_CHECKING:
    from pathlib import Path

    from tests.attacks.world import Attacked

MINE = "anna~names"
PATHS = (
    "../../../../evil", "..%2f..%2fevil", "/evil", "//evil", "a/../../evil", "..\\..\\evil",
    "evil\0.tif", "evil%00", "\n", "~/evil", "CON", "file:///evil", "$(touch evil)", "a" * 5000,
)  # fmt: skip
SQL = (
    "id; DROP TABLE items", "id'--", "properties.a' OR '1'='1", "id) UNION SELECT 1 --",
    'properties."a""b', "id\0", "(SELECT password FROM users)", "id/**/DESC", "1", "%", "\\",
    "properties." + "a." * 500, "$.id", "pg_sleep(9)",
)  # fmt: skip


@pytest.fixture(scope="module")
def mine(attacked: Attacked) -> Attacked:
    """Make a collection with an item."""
    attacked.ask("POST", "/collections", collection(MINE))
    attacked.ask("POST", f"/collections/{MINE}/items", item("old"))
    return attacked


def unharmed(there: Attacked) -> None:
    assert not [*there.home.rglob("*evil*"), *there.home.parent.glob("*evil*")]
    found = there.ask("GET", f"/collections/{MINE}/items/old")
    assert found.status_code == 200, found.text
    assert there.ask("GET", "/me").status_code == 200
    assert not there.watch.opened()


@pytest.mark.parametrize("name", PATHS)
def test_no_name_leads_out_of_a_folder(mine: Attacked, name: str):
    told = quote(name, safe="")

    for method, path, body in (
        ("POST", "/collections", collection(name)),
        ("POST", "/collections", collection(f"anna~{name}")),
        ("POST", f"/collections/{MINE}/items", item(name)),
        ("GET", f"/collections/{told}", None),
        ("GET", f"/collections/{MINE}/items/{told}", None),
        ("GET", f"/collections/{MINE}/items/old/assets/{told}", None),
        ("GET", f"/collections/{MINE}/items/{told}/preview", None),
        ("GET", f"/jobs/{told}", None),
        ("GET", f"/jobs/{told}/results", None),
        ("GET", f"/services/{told}", None),
        ("PUT", f"/process_graphs/{told}", graph("add", x=1, y=2)["process"]),
        ("GET", f"/results/0-0/{told}/1/{told}", None),
        ("GET", f"/static/{told}", None),
    ):
        answer = mine.ask(method, path, body)

        assert answer.status_code < 500, (method, path[:80], answer.text[:300])
        assert str(mine.home) not in answer.text
    unharmed(mine)


@pytest.mark.parametrize("name", PATHS)
def test_an_asset_may_have_any_name_and_no_file_has_it(mine: Attacked, name: str):
    away = {"href": "https://example.com/a.tif"}

    answer = mine.ask("POST", f"/collections/{MINE}/items", item("named", assets={name: away}))
    mine.ask("DELETE", f"/collections/{MINE}/items/named")

    assert answer.status_code < 500, answer.text[:300]
    unharmed(mine)


@pytest.mark.parametrize("name", PATHS)
def test_what_is_saved_is_named_by_us(mine: Attacked, name: str, tmp_path: Path):
    headers = mine.world.headers["anna"]
    content = tif(tmp_path / "a.tif")
    mine.world.client.put("/files/n_20200101.tif", headers=headers, content=content)
    arguments = {"paths": ["n_20200101.tif"], "format": "GTiff"}
    data = {"from_node": "load"}
    body = {
        "title": name,
        "process": {
            "process_graph": {
                "load": {"process_id": "load_uploaded_files", "arguments": arguments},
                "save": {
                    "process_id": "save_result",
                    "arguments": {
                        "data": data,
                        "format": "GTiff",
                        "options": {"filename_prefix": name},
                    },
                    "result": True,
                },
            }
        },
    }

    answer = mine.ask("POST", "/result", body)
    made = mine.ask("POST", "/jobs", body)

    mine.check(answer)
    assert made.status_code < 500
    unharmed(mine)


@pytest.mark.parametrize("text", SQL)
def test_no_search_is_a_statement(mine: Attacked, text: str):
    told = quote(text, safe="")
    filtered = {"op": "=", "args": [{"property": text}, "x"]}
    for method, path, body in (
        ("GET", f"/search?sortby={told}", None),
        ("GET", f"/search?fields={told}", None),
        ("GET", f"/search?ids={told}", None),
        ("GET", f"/search?collections={told}", None),
        ("GET", f"/search?filter={told}", None),
        ("GET", f"/search?q={told}", None),
        ("GET", f"/search?datetime={told}", None),
        ("GET", f"/search?bbox={told}", None),
        ("GET", f"/search?token={told}", None),
        ("GET", f"/collections?sortby={told}", None),
        ("GET", f"/aggregate?aggregations={told}", None),
        ("POST", "/search", {"sortby": [{"field": text, "direction": "asc"}]}),
        ("POST", "/search", {"sortby": [{"field": "id", "direction": text}]}),
        ("POST", "/search", {"fields": {"include": [text]}}),
        ("POST", "/search", {"filter": filtered, "filter-lang": "cql2-json"}),
        ("POST", "/search", {"filter": {"op": text, "args": [1, 2]}, "filter-lang": "cql2-json"}),
        ("POST", "/search", {"query": {text: {"eq": 1}}}),
    ):
        answer = mine.ask(method, path, body)

        assert answer.status_code < 500, (path[:80], json.dumps(body)[:200], answer.text[:300])
        assert "sqlite" not in answer.text.lower()
        assert "syntax error" not in answer.text.lower() or answer.status_code == 400
    unharmed(mine)
