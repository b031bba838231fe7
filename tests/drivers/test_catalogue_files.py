"""Catalogues as files: what goes out comes back, in order, whole or not at all."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from tests.drivers.catalogue_items import (
    AWKWARD,
    COLLECTION,
    awkward_items,
    drawn_items,
    filled,
    item_of,
)

from terrazzo.catalog import StoredItem, make_collection, open_catalog
from terrazzo.drivers.catalogue_files import export_collection, export_inventory, import_items
from terrazzo.drivers.catalogue_parquet import read_items, write_items
from terrazzo.errors import (
    ArgumentInvalid,
    CollectionNotFound,
    FormatUnsuitable,
    FormatUnsupported,
    OutputFailed,
)
from terrazzo.progress import Cancelled, Progress, Stoppable

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.catalog import Catalog


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return open_catalog(tmp_path / "catalog.sqlite")


@pytest.fixture
def other(tmp_path: Path) -> Catalog:
    """An empty catalogue."""
    return open_catalog(tmp_path / "other.sqlite")


def by_id(items: Any) -> dict[str, Any]:
    return {item["id"]: item for item in items}


def started() -> Progress:
    progress = Progress()
    progress.start(0, "items")
    return progress


@pytest.mark.parametrize("suffix", [".parquet", ".ndjson"])
def test_what_goes_out_comes_back(
    catalog: Catalog, other: Catalog, tmp_path: Path, suffix: str
) -> None:
    items = awkward_items()
    filled(catalog, items)

    exported = export_collection(catalog, COLLECTION, tmp_path / f"s2{suffix}")
    imported = import_items(exported.path, other)

    assert exported.rows == len(items)
    assert exported.bytes == exported.path.stat().st_size
    assert (imported.collections, imported.made, dict(imported.failed)) == (
        (COLLECTION,),
        len(items),
        {},
    )
    assert by_id(other.search()) == by_id(items)
    assert other.collection(COLLECTION)["title"] == "Of a test"


@pytest.mark.parametrize("name", AWKWARD)
def test_an_awkward_item_alone_comes_back(tmp_path: Path, name: str) -> None:
    item = item_of(0)
    AWKWARD[name](item)

    write_items(tmp_path / "one.parquet", [StoredItem.of(item)], {}, progress=started())

    assert list(read_items(tmp_path / "one.parquet")) == [item]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(items=drawn_items())
def test_items_of_any_types_come_back(
    tmp_path_factory: pytest.TempPathFactory, items: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("drawn") / "items.parquet"

    write_items(path, map(StoredItem.of, items), {}, progress=started())

    assert by_id(read_items(path)) == by_id(items)


@pytest.mark.shared
def test_real_items_come_back(shared: Path, tmp_path: Path) -> None:
    for source in sorted((shared / "data" / "stac_items_planetarycomputer").glob("*.json")):
        items = json.loads(source.read_text())
        path = tmp_path / f"{source.stem}.parquet"

        write_items(path, map(StoredItem.of, items), {}, progress=started())

        assert by_id(read_items(path)) == by_id(items)
        assert len(geopandas.read_parquet(path)) == len(items)


def test_what_stac_requires_is_added(tmp_path: Path) -> None:
    lacking = {k: v for k, v in item_of(0).items() if k not in {"links", "assets", "type"}}

    write_items(tmp_path / "one.parquet", [StoredItem.of(lacking)], {}, progress=started())

    assert list(read_items(tmp_path / "one.parquet")) == [
        lacking | {"type": "Feature", "links": [], "assets": {}}
    ]


def test_groups_of_rows_are_compact_in_time_and_space(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    items = []
    for number in range(2000):
        west, south = draw.uniform(-180, 179), draw.uniform(-90, 89)
        item = item_of(number, bbox=[west, south, west + 0.5, south + 0.5], geometry=None)
        day = int(draw.integers(0, 3650))
        item["properties"]["datetime"] = str(np.datetime64("2015-01-01") + day) + "T00:00:00Z"
        items.append(item)

    write_items(
        tmp_path / "many.parquet", map(StoredItem.of, items), {}, rows=125, progress=started()
    )

    # 16 groups are 4 slices of time with 4 places each: 4 ^ (10 years, 360 x 180 degrees).
    file = pq.ParquetFile(tmp_path / "many.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(16)] == [125] * 16
    names = [
        file.metadata.row_group(0).column(n).path_in_schema
        for n in range(file.metadata.num_columns)
    ]
    spans = []
    for number in range(16):
        group = file.metadata.row_group(number)
        limits = {
            name: group.column(names.index(name)).statistics
            for name in ("datetime", "bbox.xmin", "bbox.ymin")
        }
        years = (limits["datetime"].max - limits["datetime"].min).days / 365.25
        width = limits["bbox.xmin"].max - limits["bbox.xmin"].min
        spans.append((years, width * (limits["bbox.ymin"].max - limits["bbox.ymin"].min)))
    years, areas = np.median(spans, axis=0)
    assert years < 1.1 * 10 / 4
    assert areas < 1.6 * 360 * 180 / 4


def test_an_export_that_fails_leaves_nothing_behind(catalog: Catalog, tmp_path: Path) -> None:
    filled(catalog, [item_of(number) for number in range(20)])
    stopped, folder = Stoppable(), tmp_path / "out"
    folder.mkdir()
    (folder / "old.parquet").write_text("old")
    stopped.stopped = True

    with pytest.raises(Cancelled):
        export_collection(catalog, COLLECTION, folder / "old.parquet", progress=stopped)
    with pytest.raises(CollectionNotFound):
        export_collection(catalog, "nothing", folder / "new.parquet")
    with pytest.raises(FormatUnsupported, match="ndjson"):
        export_collection(catalog, COLLECTION, folder / "new.json")
    with pytest.raises(FormatUnsupported, match="csv"):
        export_inventory(catalog, (), folder / "new.json")
    with pytest.raises(OutputFailed):
        export_collection(catalog, COLLECTION, folder / "nowhere" / "new.parquet")

    assert [path.name for path in folder.iterdir()] == ["old.parquet"]
    assert (folder / "old.parquet").read_text() == "old"


def test_items_that_all_name_their_assets_differently_are_refused(
    catalog: Catalog, tmp_path: Path
) -> None:
    items = [item_of(number) for number in range(200)]
    for number, item in enumerate(items):
        item["assets"] = {f"{number}-{n}": {"href": "x.tif"} for n in range(60)}
    filled(catalog, items)

    with pytest.raises(FormatUnsuitable, match="ndjson"):
        export_collection(catalog, COLLECTION, tmp_path / "s2.parquet")

    assert export_collection(catalog, COLLECTION, tmp_path / "s2.ndjson").rows == 200


def test_a_collection_without_items_comes_back(
    catalog: Catalog, other: Catalog, tmp_path: Path
) -> None:
    catalog.put_collection(make_collection("empty", title="Nothing yet"))

    for suffix in (".parquet", ".ndjson"):
        exported = export_collection(catalog, "empty", tmp_path / f"empty{suffix}")
        import_items(exported.path, other)

        assert exported.rows == other.count("empty") == 0
        assert other.collection("empty")["title"] == "Nothing yet"


def test_a_second_import_keeps_what_is_there(
    catalog: Catalog, other: Catalog, tmp_path: Path
) -> None:
    filled(catalog, [item_of(number) for number in range(20)])
    folder = tmp_path / "files"
    folder.mkdir()
    export_collection(catalog, COLLECTION, folder / "s2.parquet")

    first = import_items(folder, other)
    version = other.version(COLLECTION)
    again = import_items(folder, other)
    other.delete_items(COLLECTION, ["item-00003"])
    mended = import_items(folder, other)

    assert (first.made, first.kept, again.made, again.kept) == (20, 0, 0, 20)
    assert (mended.made, mended.kept) == (1, 19)
    assert other.version(COLLECTION) != version
    assert other.count(COLLECTION) == 20


def test_items_can_go_to_another_collection(
    catalog: Catalog, other: Catalog, tmp_path: Path
) -> None:
    filled(catalog, [item_of(0)])
    export_collection(catalog, COLLECTION, tmp_path / "s2.parquet")

    import_items(tmp_path / "s2.parquet", other, collection="mine")

    (found,) = other.search()
    assert found == item_of(0) | {"collection": "mine"}
    assert other.collection("mine")["title"] == "Of a test"


def test_what_is_broken_is_left_out_and_told(other: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    good, bad = item_of(1), item_of(2, bbox=[1, 2])
    lines = [good, bad, item_of(3) | {"collection": None}]
    (folder / "a.ndjson").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    (folder / "b.ndjson").write_text('{"half": ')
    (folder / "c.parquet").write_text("no table")
    (folder / "d.jsonl").write_text("[1]\n")
    pq.write_table(pq.read_table(_table(tmp_path)), folder / "e.parquet")

    report = import_items(folder, other)

    assert report.made == 1
    assert [item["id"] for item in other.search()] == [good["id"]]
    assert set(report.failed) == {
        bad["id"], "item-00003", "b.ndjson", "c.parquet", "d.jsonl", "e.parquet",
    }  # fmt: skip
    assert "no JSON" in report.failed["b.ndjson"]
    assert "no column" in report.failed["e.parquet"]
    with pytest.raises(ArgumentInvalid, match="no stac-geoparquet"):
        import_items(folder / "c.parquet", other)
    with pytest.raises(ArgumentInvalid, match="nothing to import"):
        import_items(tmp_path / "nowhere", other)


def _table(folder: Path) -> Path:
    """Write a table that holds no items."""
    import pyarrow as pa  # noqa: PLC0415

    pq.write_table(pa.table({"a": [1]}), folder / "numbers.parquet")
    return folder / "numbers.parquet"


IMPORT = """
import os, random, signal, sys, threading, time
from pathlib import Path
from terrazzo.catalog import open_catalog
from terrazzo.drivers.catalogue_files import import_items
from terrazzo.progress import Progress

class Deadly(Progress):
    def advance(self, count=1):
        super().advance(count)
        if self.done == int(sys.argv[3]):
            wait = random.uniform(0, 0.1)
            threading.Timer(wait, os.kill, (os.getpid(), signal.SIGKILL)).start()
        if self.done == self.total:
            time.sleep(600)  # it has no other end

import_items(Path(sys.argv[1]), open_catalog(sys.argv[2]), progress=Deadly())
"""


def test_an_import_that_was_killed_is_completed(
    catalog: Catalog, other: Catalog, tmp_path: Path
) -> None:
    items = [item_of(number) for number in range(4000)]
    filled(catalog, items)
    export_collection(catalog, COLLECTION, tmp_path / "s2.parquet")
    path = tmp_path / "s2.parquet"

    for number in (1500, 2500):
        command = [sys.executable, "-c", IMPORT, str(path), other.address, str(number)]
        process = subprocess.run(command, check=False)
        assert process.returncode == -signal.SIGKILL
    report = import_items(path, other)

    assert report.kept > 0
    assert by_id(other.search()) == by_id(items)


def test_the_inventory_has_a_row_for_each_file(catalog: Catalog, tmp_path: Path) -> None:
    item = item_of(7)
    item["properties"] |= {"proj:code": "EPSG:32633", "order:status": "succeeded"}
    item["assets"]["thumbnail"] = {"href": "t.png", "order:status": "orderable", "gsd": 60}
    filled(catalog, [item, *awkward_items()[8:9]])
    catalog.put_collection(make_collection("empty"))

    parquet = export_inventory(catalog, [COLLECTION], tmp_path / "files.parquet")
    text = export_inventory(catalog, (), tmp_path / "files.csv")

    rows = [row for row in pq.read_table(parquet.path).to_pylist() if row["item"] == item["id"]]
    assert parquet.rows == text.rows == 3
    west, south, east, north = item["bbox"]
    first = rows[0]
    assert first.pop("datetime").isoformat() == "2020-01-08T10:00:31.500000+00:00"
    assert first == {
        "collection": COLLECTION, "item": item["id"], "start_datetime": None,
        "end_datetime": None, "west": west, "south": south, "east": east, "north": north,
        "asset": "B04", "href": "https://data.example.org/7/B04.tif",
        "type": item["assets"]["B04"]["type"], "roles": ["data"], "bytes": 2**31 + 7,
        "checksum": f"1220{7:064x}", "gsd": 10.0, "crs": "EPSG:32633", "status": "succeeded",
    }  # fmt: skip
    assert (rows[1]["asset"], rows[1]["status"], rows[1]["gsd"]) == ("thumbnail", "orderable", 60)
    assert (rows[1]["bytes"], rows[1]["checksum"], rows[1]["roles"]) == (None, None, [])
    with text.path.open(encoding="utf-8", newline="") as file:
        shown = [row for row in csv.DictReader(file) if row["item"] == item["id"]]
    assert shown[0]["roles"] == "data"
    assert shown[0]["datetime"] == "2020-01-08T10:00:31.5Z"
    assert (shown[1]["bytes"], shown[1]["status"]) == ("", "orderable")


@pytest.mark.parametrize(
    "columns",
    [
        {"geometry": [b"no WKB"]},
        {"bbox": [{"west": 1}]},
        {"terrazzo:rest": ["[" * 100_000 + "]" * 100_000]},
        {"terrazzo:rest": ["[5]"]},
        {"terrazzo:rest": ["5"]},
    ],
    ids=lambda columns: str(columns)[:30],
)
def test_rows_that_a_stranger_made_up_are_told_in_words(
    tmp_path: Path, other: Catalog, columns: dict[str, Any]
) -> None:
    square = shapely.to_wkb(shapely.box(0, 0, 1, 1))
    row = {"id": ["a"], "geometry": [square], "collection": ["c"], **columns}
    pq.write_table(pa.table(row), tmp_path / "odd.parquet")

    with pytest.raises(ArgumentInvalid, match=r"odd\.parquet: it is no stac-geoparquet"):
        import_items(tmp_path / "odd.parquet", other)
