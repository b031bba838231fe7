"""The same searches in a file, in a database and by pgSTAC itself give the same items."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.catalog.drawn import COLLECTION, QUERYABLES, drawn_filter, drawn_items

from terrazzo.catalog import make_collection, open_catalog

if TYPE_CHECKING:
    from pathlib import Path

SEARCHES = 500


@pytest.mark.slow
def test_random_searches_give_the_same_items_in_the_same_order(
    pgstac_address: str, tmp_path: Path
) -> None:
    draw = random.Random(20241121)
    items = drawn_items(draw, 400)

    with (
        open_catalog(tmp_path / "catalogue.db") as file,
        open_catalog(pgstac_address) as database,
        psycopg.connect(pgstac_address, autocommit=True) as pgstac,
    ):
        pgstac.execute("set search_path to pgstac, public")
        for catalog in (file, database):
            catalog.put_collection(make_collection(COLLECTION))
            catalog.put_items(items)
        pgstac.execute("analyze")
        for _ in range(SEARCHES):
            asked = drawn_filter(draw, 3)
            names = draw.sample([*QUERYABLES, "datetime", "id"], 2)
            down = [draw.random() < 0.5 for _ in names]

            theirs = _searched(pgstac, asked, names, down)
            sort = tuple("-" * d + name for name, d in zip(names, down, strict=True))
            ours = [
                [item["id"] for item in catalog.search(filter=asked, sort=sort)]
                for catalog in (file, database)
            ]

            assert ours == [theirs, theirs], (asked, sort)


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
