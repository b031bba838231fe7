"""Writers at the same time, and servers that are killed while somebody writes: nothing is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import requests
from tests.server.program import serve
from tests.server.small import write_images
from tests.server.stac_written import MERGE, World, collection, features, item, world
from tests.storage.served import serving

from terrazzo.catalog import open_catalog
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WRITERS, ROUNDS = 4, 12
ITEMS = "/collections/c/items"
BATCH = 50
PATIENCE = 60.0


@pytest.fixture
def there(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        made.ask("admin", "POST", "/collections", collection("c"))
        made.ask(
            "admin",
            "POST",
            ITEMS,
            item("a", properties={"datetime": "2024-05-01T10:00:00Z", "n": 0}),
        )
        yield made


def test_with_tags_every_one_of_many_changes_counts(there: World) -> None:
    """Each reads the number and adds one to it, again where somebody was faster."""
    all_have_read = threading.Barrier(WRITERS)

    def add() -> int:
        refused = 0
        for number in range(ROUNDS):
            while True:
                got = there.ask("admin", "GET", f"{ITEMS}/a")
                if number + refused == 0:
                    all_have_read.wait(PATIENCE)
                more = {"properties": {"n": got.json()["properties"]["n"] + 1}}
                answer = there.ask(
                    "admin", "PATCH", f"{ITEMS}/a", more, if_match=got.headers["etag"]
                )
                if answer.status_code == 200:
                    break
                assert answer.status_code == 412
                refused += 1
        return refused

    with ThreadPoolExecutor(WRITERS) as pool:
        refused = sum(one.result() for one in [pool.submit(add) for _ in range(WRITERS)])

    told = there.ask("admin", "GET", f"{ITEMS}/a").json()
    assert told["properties"]["n"] == WRITERS * ROUNDS
    assert refused >= WRITERS - 1


def test_without_tags_patches_of_different_members_all_count(there: World) -> None:
    def change(writer: int) -> None:
        for number in range(ROUNDS):
            patch = {"properties": {f"p{writer}-{number}": number}}
            answer = there.ask("admin", "PATCH", f"{ITEMS}/a", patch, content_type=MERGE)
            assert answer.status_code == 200

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(change, range(WRITERS)))

    told = there.ask("admin", "GET", f"{ITEMS}/a").json()["properties"]
    assert {f"p{w}-{n}" for w in range(WRITERS) for n in range(ROUNDS)} <= told.keys()


def test_of_many_who_add_the_same_item_one_does(there: World) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        asked = [pool.submit(there.ask, "admin", "POST", ITEMS, item("b")) for _ in range(WRITERS)]
        statuses = sorted(one.result().status_code for one in asked)

    assert statuses == [201, *[409] * (WRITERS - 1)]


def test_of_many_who_make_the_same_collection_one_does(there: World) -> None:
    made = [("anna", collection("anna~x")) for _ in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as pool:
        asked = [pool.submit(there.ask, who, "POST", "/collections", one) for who, one in made]
        statuses = sorted(one.result().status_code for one in asked)

    assert statuses == [201, *[409] * (WRITERS - 1)]
    assert there.ask("anonymous", "GET", "/collections/anna~x").status_code == 404


@pytest.mark.slow
def test_a_killed_server_has_whole_requests_or_nothing_of_them(tmp_path: Path) -> None:
    chance = random.Random(7)
    acknowledged: set[int] = set()
    number = 0
    for kill in range(4):
        with serve(tmp_path, "--job-workers", "0") as program:
            reader = threading.Thread(
                target=lambda: list(program.process.stderr or ()), daemon=True
            )
            reader.start()
            if not kill:
                made = requests.post(f"{program.url}/collections", json=collection("c"), timeout=60)
                assert made.status_code == 201
            end = threading.Timer(
                chance.uniform(0.0, 0.5), os.kill, (program.process.pid, signal.SIGKILL)
            )
            # Killed before, or in the midst of, an answer.
            with suppress(requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                while True:
                    number += 1
                    answer = requests.post(f"{program.url}{ITEMS}", json=batch(number), timeout=60)
                    assert answer.status_code == 201, answer.text
                    acknowledged.add(number)
                    if end.ident is None:
                        end.start()
            end.join()
            reader.join()

        with open_catalog(tmp_path / "catalog.sqlite") as catalog:
            there_are = [one["id"] for one in catalog.search(("c",))]
            assert list(catalog.check()) == []
        whole = {name.partition("-")[0] for name in there_are}
        assert len(there_are) == BATCH * len(whole)
        assert {str(one) for one in acknowledged} <= whole
        assert whole <= {str(one) for one in range(number + 1)}
    assert acknowledged


def batch(number: int) -> Any:
    return features(*(item(f"{number}-{place}") for place in range(BATCH)))


def test_a_graph_loads_at_once_what_was_added(tmp_path: Path) -> None:
    """A collection made over HTTP of images that another server has."""
    first, second, _ = write_images(tmp_path / "images")
    # What an ingestion finds out of the images is what a client would send.
    ingest([first, second], "seen", Workspace.of(tmp_path / "other"),
           options=IngestOptions(bands=("red", "nir")))  # fmt: skip
    with Workspace.of(tmp_path / "other").catalog() as catalog:
        found = json.loads(json.dumps(list(catalog.search(("seen",), sort="id"))))

    with serving(tmp_path / "images") as files:
        away = [moved(one, files.host) for one in found]
        home = tmp_path / "home"
        with world(home, files=(files.host,)) as there:
            there.ask("anna", "POST", "/collections", collection("anna~mine"))
            values = []
            for one in away:
                answer = there.ask("anna", "POST", "/collections/anna~mine/items", one)
                assert answer.status_code == 201, answer.text
                values.append(times(there))

    assert [len(one) for one in values] == [1, 2]


def moved(document: Any, host: str) -> Any:
    """Return an item whose files another server has, without our own members."""
    text = {key: value for key, value in document.items() if not key.startswith("terrazzo:")}
    text.pop("collection")
    for asset in text["assets"].values():
        asset["href"] = f"http://{host}/{asset['href'].rpartition('/')[2]}"
        for key in [key for key in asset if key.startswith("terrazzo:")]:
            del asset[key]
    return text


def times(there: World) -> list[str]:
    """Return the dates of a graph that averages each date, computed now."""
    nodes = {
        "load": {
            "process_id": "load_collection",
            "arguments": {
                "id": "anna~mine",
                "spatial_extent": None,
                "temporal_extent": None,
                "bands": ["red"],
            },
        },
        "mean": {
            "process_id": "aggregate_spatial",
            "arguments": {
                "data": {"from_node": "load"},
                "geometries": {"type": "Point", "coordinates": [21.02, 45.14]},
                "reducer": {
                    "process_graph": {
                        "m": {
                            "process_id": "mean",
                            "arguments": {"data": {"from_parameter": "data"}},
                            "result": True,
                        }
                    }
                },
            },
        },
        "save": {
            "process_id": "save_result",
            "arguments": {"data": {"from_node": "mean"}, "format": "JSON"},
            "result": True,
        },
    }
    answer = there.ask("anna", "POST", "/result", {"process": {"process_graph": nodes}})
    assert answer.status_code == 200, answer.text
    return [*answer.json()]
