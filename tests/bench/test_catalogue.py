"""The benchmark of the catalogue compares what it says it compares; nothing depends on speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bench.http_load import cpu_of
from bench.stac import ingest, large, queries
from bench.stac.items import BEGUN, COLLECTIONS, collections, made_items, read_lines, write_lines
from bench.stac.ours import put
from bench.stac.searches import Took, compared
from bench.stac.servers import cpu_of_tree
from shapely.geometry import shape

from terrazzo.catalog import open_catalog
from terrazzo.server.stac.query import read_query

ROOT = Path(__file__).parents[2]
BUSY = "sum(range(10_000_000)); print(flush=True); input()"


def test_items_have_the_size_and_the_assets_that_are_said_of_them() -> None:
    items = list(made_items(300))

    sizes = [len(json.dumps(item, separators=(",", ":"))) for item in items]
    assert 7000 < sum(sizes) / len(sizes) < 7400
    assert {len(item["assets"]) for item in items} == {16}
    assert len({item["id"] for item in items}) == 300
    assert {item["collection"] for item in items} == {*COLLECTIONS}
    assert all(shape(item["geometry"]).bounds == tuple(item["bbox"]) for item in items)


def test_items_depend_on_the_seed_alone_and_lie_in_their_days(tmp_path: Path) -> None:
    lines = write_lines(tmp_path, 20, 5)
    wide = (BEGUN + timedelta(days=3)).isoformat()

    assert [*read_lines(lines)] == [*made_items(20, 5)]
    assert [*made_items(20, 5)] != [*made_items(20, 6)]
    assert all(item["properties"]["datetime"] < wide for item in made_items(50, days=3))


def test_requests_are_the_same_for_all_and_understood() -> None:
    one, other = (queries.asked(3, 100, 1) for _ in range(2))

    assert one == other
    assert tuple(one) == queries.KINDS
    bodies = [json.loads(asked.body) for several in one.values() for asked in several if asked.body]
    assert len(bodies) == 3 * (len(queries.KINDS) - 1)
    assert {read_query(body).limit for body in bodies} == {10, 100, 500}


def took(cpu: float, *found: str) -> Took:
    return Took([cpu], [cpu], [[*found]])


def test_a_search_is_held_to_the_best_peer() -> None:
    answers = {("a", "ours"): took(1, "x"), ("a", "p"): took(8, "x"), ("a", "q"): took(4, "x")}

    table = compared(answers, ["a"], ["ours"], ["p", "q"])

    assert [row.ratio for row in table.rows] == [0.25, None, None]
    assert not table.problems


def test_another_order_of_items_is_a_problem() -> None:
    answers = {("a", "ours"): took(1, "x", "y"), ("a", "p"): took(8, "y", "x")}

    table = compared(answers, ["a"], ["ours"], ["p"])

    assert len(table.problems) == 1
    assert table.rows[0].cells[-1] == "no"


def test_without_a_peer_there_is_nothing_to_compare() -> None:
    table = compared({("a", "ours"): took(1, "x")}, ["a"], ["ours"], [])

    assert [row.ratio for row in table.rows] == [None]
    assert not table.problems


def test_rates_count_the_time_of_all() -> None:
    ours, peer = (ingest.Ingested(name, 100, cpu, 5) for name, cpu in (("o", 2), ("p", 8)))

    table = ingest.table([([ours], peer)])

    assert [row.ratio for row in table.rows] == [0.25, None]
    assert [row.cells[0] for row in table.rows] == ["50", "12"]


def test_the_time_of_another_process_and_its_children_is_known() -> None:
    program = f"import os\nif not os.fork():\n {BUSY}\nelse:\n os.wait()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        alone, both = cpu_of(process.pid), cpu_of_tree(process.pid)
        process.communicate(b"\n")

    assert both > alone + 0.01
    before, own, after = time.process_time(), cpu_of(os.getpid()), time.process_time()
    assert before - 0.1 <= own <= after + 0.1  # the system counts in hundredths


def test_a_search_of_many_finds_what_looking_at_each_finds(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    put(path, made_items(3000, days=large.DAYS, assets=1))

    found = large.contestant({"path": str(path)})["ten years, all documents"]()["found"]

    with open_catalog(path, read_only=True) as catalog:
        items: list[dict[str, Any]] = list(catalog.search())
    assert len(items) == 3000
    # Boxes of 10 x 10 degrees, and items of about one degree, whose middles lie evenly.
    expected = 3000 * (10 + 0.9) ** 2 / (340 * 135)
    assert found.mean() == pytest.approx(expected, rel=0.3)


def test_collections_have_what_makes_the_peer_slower_left_out() -> None:
    assert all("item_assets" not in document for document in collections())


@pytest.mark.slow
def test_a_quick_run_without_a_database_measures_ours_alone(tmp_path: Path) -> None:
    out = tmp_path / "page.md"
    settings = {name: value for name, value in os.environ.items() if name != "TERRAZZO_SHARED"}

    command = [sys.executable, "-m", "bench", "--quick", "catalogue", "--size=512", "--dates=1"]
    done = subprocess.run(
        [*command, f"--data={tmp_path}", f"--out={out}"],
        check=False, cwd=ROOT, env=settings, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    page = out.read_text()
    for title in ("Searches over HTTP", "Ingestion", "while items come in", "10 x 10 degrees"):
        assert title in page
    assert "PostgreSQL is not here" in page
    assert "Results differ" not in page
    assert str(tmp_path) not in page
