"""The catalogue in PostgreSQL beside other clients of pgSTAC, and what can be wrong with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.ledger import postgresql

from terrazzo.catalog import (
    CatalogUnusable,
    make_asset,
    make_collection,
    make_item,
    open_catalog,
    position,
)
from terrazzo.catalog.pgstac_search import PgstacSelect
from terrazzo.errors import ArgumentInvalid
from terrazzo.progress import Progress

CLOUDS = (91.4, 9.05, 90.1, 8, 87.5, 100)


def scene(name: str, **properties: Any) -> dict[str, Any]:
    return make_item(name, "s", bbox=(10, 40, 11, 41), datetime="2024-05-01T10:00:00Z") | {
        "properties": {"datetime": "2024-05-01T10:00:00Z", **properties}
    }


@pytest.fixture
def catalog(pgstac_address):
    with open_catalog(pgstac_address) as opened:
        opened.put_collection(make_collection("s"))
        yield opened


@pytest.fixture
def pgstac(pgstac_address):
    with psycopg.connect(pgstac_address, autocommit=True) as connection:
        connection.execute("set search_path to pgstac, public")
        yield connection


def asked_of_pgstac(pgstac, **search: Any) -> list[str]:
    row = pgstac.execute("select search(%s)", [json.dumps(search)]).fetchone()
    return [feature["id"] for feature in row[0]["features"]]


def by_cloud(pgstac) -> list[str]:
    return asked_of_pgstac(pgstac, sortby=[{"field": "eo:cloud_cover", "direction": "asc"}])


def queryables(pgstac) -> dict[str, str]:
    rows = pgstac.execute("select name, property_wrapper from queryables where collection_ids is "
                          "not null order by name").fetchall()  # fmt: skip
    return dict(rows)


def test_pgstac_itself_sorts_clouds_as_numbers(catalog, pgstac):
    catalog.put_items(scene(f"{cloud:06.2f}", **{"eo:cloud_cover": cloud}) for cloud in CLOUDS)
    in_order = [f"{cloud:06.2f}" for cloud in sorted(CLOUDS)]
    as_text = [f"{cloud:06.2f}" for cloud in sorted(CLOUDS, key=str)]

    registered = by_cloud(pgstac)
    pgstac.execute("delete from queryables where name = 'eo:cloud_cover'")
    pgstac.execute("truncate search_wheres, searches cascade")

    assert registered == in_order
    assert by_cloud(pgstac) == as_text != in_order


def test_every_property_is_registered_with_its_type(catalog, pgstac):
    given = {
        "eo:cloud_cover": 3,
        "platform": "a",
        "created": "2024-01-01T00:00:00Z",
        "instruments": ["msi"],
        "is:final": True,
        "view.angle": 1.5,
        "proj:shape": [1, 2],
        "processing:software": {"x": "1"},
        "nothing": None,
    }
    catalog.put_items([scene("a", **given)])

    assert queryables(pgstac) == {
        "created": "to_tstz",
        "eo:cloud_cover": "to_float",
        "instruments": "to_text_array",
        "is:final": "to_text",
        "platform": "to_text",
        "view.angle": "to_float",
    }
    assert asked_of_pgstac(
        pgstac, filter={"op": "<", "args": [{"property": "view.angle"}, 10]}
    ) == ["a"]


def test_a_property_of_two_types_becomes_text_which_holds_both(catalog, pgstac):
    catalog.put_items([scene("a", level=1)])
    catalog.put_items([scene("b", level="L2A")])

    assert queryables(pgstac) == {"level": "to_text"}
    assert asked_of_pgstac(pgstac, sortby=[{"field": "level", "direction": "asc"}]) == ["a", "b"]


def test_collections_share_a_queryable_and_keep_what_somebody_registered_for_all(catalog, pgstac):
    pgstac.execute("insert into queryables (name, property_wrapper, definition) values "
                   "('gsd', 'to_int', '{}')")  # fmt: skip
    catalog.put_collection(make_collection("t"))
    catalog.put_items([scene("a", gsd=10, n=1), scene("a", gsd=10.5, n=1) | {"collection": "t"}])

    rows = pgstac.execute(
        "select name, property_wrapper, collection_ids from queryables "
        "where name in ('gsd', 'n') order by name"
    ).fetchall()
    assert rows == [("gsd", "to_int", None), ("n", "to_float", ["s", "t"])]


def test_pgstac_gives_back_what_was_put_whatever_becomes_of_the_collection(catalog, pgstac):
    item = scene("a", n=1.5) | {
        "assets": {"red": make_asset("https://example.org/a.tif", title="Red")}
    }
    catalog.put_items([item])
    catalog.put_collection(
        make_collection("s") | {"item_assets": {"red": {"title": "R"}, "nir": {"title": "N"}}}
    )

    (theirs,) = pgstac.execute("select get_item('a', 's')").fetchone()

    assert theirs == item
    assert catalog.item("s", "a") == item


def test_what_others_write_is_found_counted_and_changes_the_version(catalog, pgstac):
    catalog.put_items([scene("ours")])
    catalog.collection("s")
    before = catalog.version("s")
    east = scene("theirs", n=7) | {"bbox": [20, 40, 21, 41]}
    ring = [[20, 40], [21, 40], [21, 41], [20, 41], [20, 40]]
    east["geometry"] = {"type": "Polygon", "coordinates": [ring]}

    pgstac.execute("select upsert_items(%s)", [json.dumps([east])])

    assert catalog.version("s") != before
    assert [item["id"] for item in catalog.search(bbox=(20, 40, 21, 41))] == ["theirs"]
    assert catalog.item("s", "theirs") == east
    assert catalog.collection("s")["extent"]["spatial"]["bbox"][0] == [10, 40, 21, 41]
    assert catalog.survey("s").count == 2
    assert list(catalog.check(Progress())) == []


def test_others_items_with_an_instant_and_a_period_come_at_their_instant(catalog, pgstac):
    def both(name: str, day: int) -> dict[str, Any]:
        times = {
            "datetime": f"2024-05-{day:02}T00:00:00Z",
            "start_datetime": "2024-05-01T00:00:00Z",
            "end_datetime": "2024-05-31T00:00:00Z",
        }
        ring = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        return scene(name) | {"properties": times, "geometry": geometry}

    pgstac.execute("select upsert_items(%s)", [json.dumps([both("c", 20), both("a", 10)])])
    catalog.put_items([both("b", 15)])

    found = list(catalog.search())
    assert [item["id"] for item in found] == ["a", "b", "c"]
    assert [i["id"] for i in catalog.search(after=position(found[0]))] == ["b", "c"]
    assert [i["id"] for i in catalog.search(interval=("2024-05-18", "2024-05-22"))] == ["c"]


def test_what_crosses_the_antimeridian_is_found_by_both_on_both_sides(catalog, pgstac):
    ring = [[179, 0], [-179, 0], [-179, 10], [179, 10], [179, 0]]
    naive = {"type": "Polygon", "coordinates": [ring]}
    item = scene("ours") | {"bbox": [179, 0, -179, 10], "geometry": naive}
    catalog.put_items([item])
    theirs = item | {"id": "theirs"}
    pgstac.execute("select upsert_items(%s)", [json.dumps([theirs])])

    for west in (179.2, -179.3):
        box = (west, 1, west + 0.1, 2)
        assert [found["id"] for found in catalog.search(bbox=box)] == ["ours", "theirs"]
        # pgSTAC takes a polygon as it was drawn; ours is cut for it.
        assert asked_of_pgstac(pgstac, bbox=box) == ["ours"]
    assert catalog.item("s", "ours") == item


def test_numbers_that_jsonb_writes_otherwise_come_back_as_they_were(catalog):
    item = scene("a", huge=1e300, tiny=5e-324, large=2**70, near=0.1 + 1e-16, zero=-0.0)

    catalog.put_items([item])

    found = catalog.item("s", "a")
    assert found == item
    assert {k: type(v) for k, v in found["properties"].items()} == {
        k: type(v) for k, v in item["properties"].items()
    }


def test_items_that_are_large_are_read_a_few_at_a_time(catalog, monkeypatch):
    monkeypatch.setattr("terrazzo.catalog.pgstac._FIRST_KEYS", 4)
    monkeypatch.setattr("terrazzo.catalog.pgstac._MOST_LETTERS", 5_000)
    sizes = [10_000] * 6 + [1] * 30
    catalog.put_items(scene(f"i{n:02}", text="x" * size) for n, size in enumerate(sizes))
    pages = []
    page = PgstacSelect.page
    monkeypatch.setattr(
        PgstacSelect, "page", lambda *given: pages.append(given[-1]) or page(*given)
    )

    found = [one.id for one in catalog.stored(("s",), sort="id")]

    assert found == [f"i{n:02}" for n in range(len(sizes))]
    assert pages[:4] == [4, 1, 1, 1]
    assert max(pages) > 4


def test_the_collection_that_others_see_has_the_extent_of_its_items(catalog, pgstac):
    catalog.put_items([scene("a", n=1), scene("b", n=5)])

    (theirs,) = pgstac.execute("select get_collection('s')").fetchone()

    assert theirs == catalog.collection("s")
    assert theirs["extent"]["spatial"]["bbox"][0] == [10, 40, 11, 41]
    assert theirs["summaries"]["n"] == {"minimum": 1, "maximum": 5}


def test_a_collection_by_months_takes_items_of_any_time(catalog, pgstac):
    pgstac.execute("update collections set partition_trunc = 'month' where id = 's'")
    times = [f"20{year}-{month:02}-15T00:00:00Z" for year in (23, 24) for month in range(1, 13)]

    catalog.put_items(
        [make_item(str(n), "s", bbox=(0, 0, 1, 1), datetime=t) for n, t in enumerate(times)]
    )
    catalog.put_items([make_item("5", "s", bbox=(0, 0, 1, 1), datetime=times[20])])

    (parts,) = pgstac.execute("select count(*) from partition_stats").fetchone()
    assert parts == 24
    assert catalog.count("s") == 24
    assert [item["id"] for item in catalog.search(ids=("5",), interval=(times[20], None))] == ["5"]


WRITER = """
import sys
from terrazzo.catalog import open_catalog, make_item
catalog = open_catalog(sys.argv[1])
order = 1 if sys.argv[2] == "up" else -1
for turn in range(5):
    catalog.put_items([
        make_item(f"{n:03}", name, bbox=(0, 0, 1, 1), datetime=f"20{turn:02}-01-01T00:00:00Z")
        for name in ("s", "t")[::order] for n in range(100)[::order]], batch=70)
"""


def test_two_processes_that_replace_the_same_items_at_once_both_end(catalog, pgstac_address):
    catalog.put_collection(make_collection("t"))
    source = str(Path(sys.modules["terrazzo"].__file__).parents[1])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, pgstac_address, order],
            env={**os.environ, "PYTHONPATH": source},
        )
        for order in ("up", "down")
    ]

    assert [process.wait(120) for process in running] == [0, 0]
    assert [catalog.count(name) for name in "st"] == [100, 100]
    assert list(catalog.check(Progress())) == []


def test_what_is_wrong_is_told_by_check(catalog, pgstac):
    catalog.put_items([scene("a", n=1)])
    pgstac.execute("drop trigger terrazzo_insert on items")
    pgstac.execute("delete from queryables where name = 'n'")

    told = list(catalog.check(Progress()))

    assert [part in " ".join(told) for part in ("terrazzo_insert", "'n'")] == [True, True]


def test_vacuum_makes_a_database_smaller_from_which_much_was_deleted(catalog):
    catalog.put_items(scene(f"{n:05}", text=f"{n}" * 50) for n in range(3000))
    catalog.delete_items("s", [f"{n:05}" for n in range(3000)])

    before, after = catalog.vacuum()

    assert after < before


def test_what_cannot_be_opened_says_why_and_never_the_password(pgstac_databases):
    with pytest.raises(CatalogUnusable, match="cannot be opened") as refused:
        open_catalog("postgresql://me:geheim@127.0.0.1:9/nothing")
    with pytest.raises(CatalogUnusable, match="no URL") as nonsense:
        open_catalog("postgresql://me:geheim@[::1/x")
    with pgstac_databases() as address, psycopg.connect(address, autocommit=True) as other:
        other.execute("insert into pgstac.migrations (version, datetime) "
                      "values ('0.99.0', now() + interval '1 day')")  # fmt: skip
        with pytest.raises(CatalogUnusable, match=r"pgSTAC 0\.99\.0.*pypgstac migrate") as later:
            open_catalog(address)
    told = [str(one.value) for one in (refused, nonsense, later)]
    assert not [text for text in told if "geheim" in text]


def test_a_database_without_pgstac_is_refused_where_pypgstac_is_not_installed(shared, monkeypatch):
    for name in ("pypgstac", "pypgstac.db", "pypgstac.migrate"):
        monkeypatch.setitem(sys.modules, name, None)
    with (
        postgresql.server(shared) as root,
        postgresql.fresh(root) as address,
        pytest.raises(CatalogUnusable, match=r"has no pgSTAC.*pypgstac migrate"),
    ):
        open_catalog(address)


def test_where_psycopg_is_missing_the_way_out_is_told(monkeypatch):
    for name in ("psycopg", "terrazzo.catalog.pgstac", "terrazzo.catalog.pgstac_connections"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(CatalogUnusable, match=r"terrazzo\[postgresql\]"):
        open_catalog("postgresql://me@127.0.0.1/x")


def test_a_reader_makes_nothing(pgstac_databases):
    with pgstac_databases() as address:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("drop schema terrazzo cascade")
        with pytest.raises(CatalogUnusable, match="without `read_only`"):
            open_catalog(address, read_only=True)
        open_catalog(address).close()
        with (
            open_catalog(address, read_only=True) as reader,
            pytest.raises(ArgumentInvalid, match="read_only"),
        ):
            reader.put_collection(make_collection("s"))


def test_connections_that_the_server_has_closed_are_replaced(catalog, pgstac):
    catalog.put_items([scene("a")])

    pgstac.execute("select pg_terminate_backend(pid) from pg_stat_activity "
                   "where datname = current_database() and pid <> pg_backend_pid()")  # fmt: skip

    assert catalog.count("s") == 1
    assert catalog.put_items([scene("b")]) == 1


def test_users_in_pgstacs_roles_write_and_read(catalog, pgstac, pgstac_address):
    for name, role in (("writer", "pgstac_ingest"), ("reader", "pgstac_read")):
        user = f"{name}_{os.getpid()}"
        pgstac.execute(f"drop role if exists {user}")
        pgstac.execute(f"create role {user} login in role {role}")
    writer = pgstac_address.replace("postgres@", f"writer_{os.getpid()}@")
    reader = pgstac_address.replace("postgres@", f"reader_{os.getpid()}@")

    with open_catalog(writer) as theirs:
        theirs.put_collection(make_collection("t"))
        theirs.put_items([scene("a", n=1) | {"collection": "t"}, scene("b", n=1)])
        assert theirs.delete_items("s", ["b"]) == 1
        theirs.delete_collection("s")

    with open_catalog(reader, read_only=True) as seen:
        assert [one["id"] for one in seen.collections()] == ["t"]
        assert [one["id"] for one in seen.search(filter="n = 1")] == ["a"]
    assert list(catalog.check()) == []
