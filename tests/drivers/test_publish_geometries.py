"""Geometries are sent to a bucket with the STAC that names them, and sent once."""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import geopandas
import obstore
import pystac
import pytest
from obstore.store import MemoryStore
from tests.drivers.fields import frame, loaded, squares, taken_in
from tests.drivers.scenes import job_of, node, ref

from terrazzo.drivers.batch import run
from terrazzo.drivers.job import Workspace
from terrazzo.drivers.publish import publish
from terrazzo.storage.remote.objects import Bucket

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """A bucket in memory, in place of whatever bucket is named."""
    store = MemoryStore()
    monkeypatch.setattr(Bucket, "check", lambda _: None)
    monkeypatch.setattr(Bucket, "_opened", lambda _: store)

    def has(_: Bucket, key: str, __: int, digest: str) -> bool:
        return key in keys(store) and hashlib.sha256(content(store, key)).hexdigest() == digest

    monkeypatch.setattr(Bucket, "has", has)
    return store


def keys(bucket: MemoryStore) -> list[str]:
    return sorted(one["path"] for page in obstore.list(bucket) for one in page)


def content(bucket: MemoryStore, key: str) -> bytes:
    return bytes(obstore.get(bucket, key).bytes())


def document(bucket: MemoryStore, key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(content(bucket, key))
    return found


def test_geometries_go_to_a_bucket_with_their_stac(
    tmp_path: Path, bucket: MemoryStore, monkeypatch: pytest.MonkeyPatch
):
    workspace = Workspace.of(tmp_path / "home")
    frame(squares(5), name=list("abcde")).to_file(tmp_path / "fields.gpkg")
    taken_in(tmp_path / "fields.gpkg", workspace, id="name")
    everything = {"spatial_extent": None, "temporal_extent": None}
    nodes = {
        "load": node("load_collection", id="fields", **everything),
        "save": node("save_result", True, data=ref("load"), format="GeoParquet"),
    }
    run(job_of(nodes), workspace, tmp_path / "run")
    where = "s3://results/a/b"

    first = publish(tmp_path / "run", "sent", workspace, to=where)
    there = keys(bucket)
    sent: list[str] = []
    monkeypatch.setattr(
        Bucket, "put_bytes", lambda _, key, *__: sent.append(key) if key.endswith("parquet") else 0
    )
    again = publish(tmp_path / "run", "sent", workspace, to=where)

    assert (first.made, again.kept, sent) == (1, 1, [])
    collection = document(bucket, "a/b/collection.json")
    (link,) = [one for one in collection["links"] if one["rel"] == "item"]
    item = document(bucket, f"a/b/{link['href'].removeprefix('./')}")
    pystac.Collection.from_dict(collection)
    pystac.Item.from_dict(item)
    name = item["id"]
    assert set(there) == {
        f"a/b/{one}" for one in ("collection.json", f"{name}/{name}.json", f"{name}/data.parquet")
    }
    assert item["assets"]["data"]["href"] == "./data.parquet"
    assert str(workspace.home) not in json.dumps([collection, item])
    table = geopandas.read_parquet(io.BytesIO(content(bucket, f"a/b/{name}/data.parquet")))
    here = loaded(workspace, "sent")
    assert len(table) == len(here.dimensions[0].labels) > 0
