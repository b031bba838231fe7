"""The same searches here and in a real pgSTAC give the same items in the same order."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.catalog.drawn import COLLECTION, QUERYABLES, drawn_filter, drawn_items
from tests.ledger import postgresql

from terrazzo.catalog import make_collection, open_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

SEARCHES = 500


@pytest.fixture(scope="module")
def pgstac(shared: Path) -> Iterator[psycopg.Connection[Any]]:
    """A connection to an empty pgSTAC with queryables of the right types."""
    with postgresql.server(shared) as root, postgresql.fresh(root) as address:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("create extension postgis")
        migrate = [str(Path(sys.executable).with_name("pypgstac")), "migrate", "--dsn", address]
        subprocess.run(migrate, check=True, capture_output=True, env=dict(os.environ))
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("set search_path to pgstac, public")
            for name, (wrapper, kind) in QUERYABLES.items():
                connection.execute(
                    "insert into queryables (name, property_wrapper, definition) "
                    "values (%s, %s, %s)",
                    [name, wrapper, json.dumps({"type": kind})],
                )
            yield connection


@pytest.mark.slow
def test_random_searches_give_the_same_items_in_the_same_order(
    pgstac: psycopg.Connection[Any], tmp_path: Path
) -> None:
    draw = random.Random(20241121)
    items = drawn_items(draw, 400)
    pgstac.execute("select create_collection(%s)", [json.dumps(_collection())])
    pgstac.execute("select create_items(%s)", [json.dumps(items)])
    pgstac.execute("analyze")

    with open_catalog(tmp_path / "catalogue.db") as catalog:
        catalog.put_collection(make_collection(COLLECTION))
        catalog.put_items(items)
        for _ in range(SEARCHES):
            asked = drawn_filter(draw, 3)
            names = draw.sample([*QUERYABLES, "datetime", "id"], 2)
            down = [draw.random() < 0.5 for _ in names]

            theirs = _searched(pgstac, asked, names, down)
            sort = tuple("-" * d + name for name, d in zip(names, down, strict=True))
            ours = [item["id"] for item in catalog.search(filter=asked, sort=sort)]

            assert ours == theirs, (asked, sort)


def _collection() -> dict[str, Any]:
    return make_collection(COLLECTION) | {
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [[None, None]]},
        }
    }


def _searched(
    connection: psycopg.Connection[Any], asked: Any, names: list[str], down: list[bool]
) -> list[str]:
    query = {
        "filter-lang": "cql2-json",
        "filter": asked,
        "limit": 1000,
        "sortby": [
            {"field": name, "direction": "desc" if reverse else "asc"}
            for name, reverse in zip(names, down, strict=True)
        ],
    }
    row = connection.execute("select search(%s)", [json.dumps(query)]).fetchone()
    assert row is not None
    return [feature["id"] for feature in row[0]["features"]]
