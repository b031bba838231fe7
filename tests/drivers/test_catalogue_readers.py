"""Programs of others read exported and served catalogues, and we read what they write."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import geopandas
import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
import stac_geoparquet.arrow as stac_arrow
from tests.drivers.catalogue_items import COLLECTION, awkward_items, filled, item_of
from tests.drivers.scenes import COLLECTION as SCENES
from tests.drivers.scenes import DATES

from terrazzo.catalog import open_catalog
from terrazzo.catalog.space import Region
from terrazzo.drivers.catalogue_files import export_collection, export_inventory, import_items
from terrazzo.drivers.catalogue_parquet import read_items
from terrazzo.drivers.job import Workspace
from terrazzo.geo.times import parse_time
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes

ITEMS = [item_of(number) for number in range(300)]
BOX = (-160.5, -50.5, -150.5, -40.5)
INSIDE = {item["id"] for item in ITEMS if Region.of_bbox(BOX).meets(item)}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    with filled(open_catalog(folder / "catalog.sqlite"), ITEMS) as catalog:
        export_inventory(catalog, (), folder / "files.parquet")
        return export_collection(catalog, COLLECTION, folder / "s2.parquet").path


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("awkward")
    with filled(open_catalog(folder / "catalog.sqlite"), awkward_items()) as catalog:
        return export_collection(catalog, COLLECTION, folder / "s2.parquet").path


def run(code: str, *arguments: object) -> Any:
    """Run Python in a process of its own and return the JSON that it prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_duckdb_finds_by_place_time_and_properties(exported: Path) -> None:
    west, south, east, north = BOX
    found = duckdb.execute(
        """SELECT id, epoch_us(datetime), "eo:cloud_cover", assets.B04.href, ST_AsWKB(geometry)
        FROM read_parquet(?)
        WHERE bbox.xmax >= ? AND bbox.xmin <= ? AND bbox.ymax >= ? AND bbox.ymin <= ?
          AND datetime >= TIMESTAMPTZ '2020-01-01' AND "eo:cloud_cover" < 50""",
        [str(exported), west, east, south, north],
    ).fetchall()

    wanted = {
        i["id"]: i for i in ITEMS if i["id"] in INSIDE and i["properties"]["eo:cloud_cover"] < 50
    }
    assert {row[0] for row in found} == set(wanted)
    for name, time, clouds, href, binary in found:
        item = wanted[name]
        assert time == parse_time(item["properties"]["datetime"]).timestamp() * 1e6
        assert clouds == item["properties"]["eo:cloud_cover"]
        assert href == item["assets"]["B04"]["href"]
        assert shapely.from_wkb(bytes(binary)).equals(shapely.geometry.shape(item["geometry"]))


def test_duckdb_sums_up_an_inventory(exported: Path) -> None:
    rows = duckdb.execute(
        "SELECT collection, count(*), sum(bytes) FROM read_parquet(?) GROUP BY collection",
        [str(exported.with_name("files.parquet"))],
    ).fetchall()

    assert rows == [(COLLECTION, 300, sum(i["assets"]["B04"]["file:size"] for i in ITEMS))]


def test_pyarrow_and_geopandas_find_by_place(exported: Path, awkward: Path) -> None:
    west, south, east, north = BOX
    met = (ds.field("bbox", "xmax") >= west) & (ds.field("bbox", "xmin") <= east)
    met &= (ds.field("bbox", "ymax") >= south) & (ds.field("bbox", "ymin") <= north)
    table = ds.dataset(exported).to_table(filter=met, columns=["id"])
    frame = geopandas.read_parquet(exported, bbox=BOX)

    assert set(table["id"].to_pylist()) == INSIDE == set(frame["id"])
    assert frame.crs.to_authority() == ("OGC", "CRS84")
    boxes = {item["id"]: item["bbox"] for item in ITEMS}
    np.testing.assert_array_equal(
        frame.geometry.bounds.to_numpy(), [boxes[name] for name in frame["id"]]
    )
    assert len(geopandas.read_parquet(awkward)) == len(awkward_items())


RUSTAC_READ = """
import asyncio, json, sys, rustac
async def read():
    return await rustac.read(sys.argv[1])
print(json.dumps(asyncio.run(read())["features"]))
"""
RUSTAC_WRITE = """
import asyncio, json, sys, rustac
async def write():
    await rustac.write(sys.argv[2], json.load(open(sys.argv[1])))
asyncio.run(write())
print("true")
"""


def test_rustac_reads_what_we_write(exported: Path) -> None:
    items = {item["id"]: item for item in run(RUSTAC_READ, exported)}

    assert set(items) == {item["id"] for item in ITEMS}
    for item in ITEMS:
        found = items[item["id"]]
        assert (found["bbox"], found["geometry"]) == (item["bbox"], item["geometry"])
        assert found["assets"]["B04"]["file:checksum"] == item["assets"]["B04"]["file:checksum"]
        assert parse_time(found["properties"]["datetime"]) == parse_time(
            item["properties"]["datetime"]
        )
        assert not any(name.startswith("terrazzo:") for name in found["properties"])


def test_stac_geoparquet_reads_what_we_write(exported: Path) -> None:
    items = {item["id"]: item for item in stac_arrow.stac_table_to_items(pq.read_table(exported))}

    for item in ITEMS:
        found = items.pop(item["id"])
        assert (found["bbox"], found["geometry"]) == (item["bbox"], item["geometry"])
        assert found["assets"] == item["assets"]
        assert found["properties"].keys() == item["properties"].keys()
    assert not items


@pytest.mark.parametrize("writer", ["rustac", "stac-geoparquet"])
def test_we_read_what_others_write(tmp_path: Path, writer: str) -> None:
    path = tmp_path / "others.parquet"
    if writer == "rustac":
        (tmp_path / "items.json").write_text(json.dumps(ITEMS))
        assert run(RUSTAC_WRITE, tmp_path / "items.json", path)
    else:
        stac_arrow.to_parquet(stac_arrow.parse_stac_items_to_arrow(ITEMS), path)

    with open_catalog(tmp_path / "catalog.sqlite") as catalog:
        report = import_items(path, catalog)
        again = import_items(path, catalog)
        found = {item["id"]: item for item in catalog.search((COLLECTION,))}

    assert (report.made, dict(report.failed), again.kept) == (300, {}, 300)
    # rustac writes 1.1.0 whatever it was given.
    version = {"stac_version": "1.1.0"} if writer == "rustac" else {}
    assert found == {item["id"]: item | version for item in ITEMS}


def test_the_text_of_a_time_is_the_shortest(tmp_path: Path) -> None:
    item = item_of(0)
    item["properties"] = {"datetime": "2024-05-01T10:00:00Z"}
    stac_arrow.to_parquet(stac_arrow.parse_stac_items_to_arrow([item]), tmp_path / "one.parquet")

    (found,) = read_items(tmp_path / "one.parquet")

    assert found["properties"] == item["properties"]


OAPIF = """
import json, sys, pyogrio
frame = pyogrio.read_dataframe("OAPIF:" + sys.argv[1], layer=sys.argv[2])
print(json.dumps([frame.total_bounds.tolist(), len(frame), str(frame.crs)]))
"""


def test_gdal_reads_features_that_are_served(tmp_path: Path) -> None:
    with filled(open_catalog(tmp_path / "catalog.sqlite"), ITEMS[:40]):
        pass
    with serving(Workspace.of(tmp_path), settings=ServerSettings(job_workers=0)) as url:
        bounds, count, crs = run(OAPIF, url, COLLECTION)

    boxes = np.array([item["bbox"] for item in ITEMS[:40]])
    assert count == 40
    assert bounds == [*boxes.min(axis=0)[:2], *boxes.max(axis=0)[2:]]
    assert crs in {"EPSG:4326", "OGC:CRS84"}


STACIT = """
import json, sys, rasterio
with rasterio.open(sys.argv[1]) as file:
    print(json.dumps([list(file.bounds), str(file.crs), file.read(1).tolist()]))
"""


def test_gdal_builds_a_mosaic_of_items_that_are_served(scenes: Scenes) -> None:
    date = DATES[1]
    with serving(scenes.workspace, settings=ServerSettings(job_workers=0)) as url:
        address = f"{url}/search?collections={SCENES}&datetime={date}T00:00:00Z/{date}T23:59:59Z"
        bounds, crs, pixels = run(STACIT, f'STACIT:"{address}":asset=B04')

    with rasterio.open(scenes.file(date, "B04")) as file:
        assert (bounds, crs) == (list(file.bounds), str(file.crs))
        np.testing.assert_array_equal(pixels, file.read(1))
