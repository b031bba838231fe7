"""Images in an object store: a real one (Ceph), read by range, refused in words."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import obstore
import pytest
import rasterio
import shapely
import xarray
from click.testing import CliRunner
from tests.storage.ceph import ceph, opened
from tests.storage.files import UTM33, field

from terrazzo.cli import main
from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.drivers.job import Workspace
from terrazzo.errors import AssetForbidden, SourceUnreadable
from terrazzo.geo.grid import Grid, Window
from terrazzo.progress import Cancelled
from terrazzo.storage.gate import Gate
from terrazzo.storage.raster import RasterReader
from terrazzo.storage.remote import files as remote
from terrazzo.storage.remote import objects
from terrazzo.storage.remote.objects import PART_BYTES, Bucket, fetch_whole
from terrazzo.storage.remote.stores import Store
from terrazzo.storage.remote.transport import Address
from terrazzo.storage.writers.cog import write_cog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.storage.gate import AssetName


@pytest.mark.parametrize(
    "href",
    [
        "s3://other/a.tif", "s3://bucket", "s3://bucket/", "s3://bucket/../other/a.tif",
        "s3://bucket/a//b.tif", "s3://bucket/a.vrt", "s3://bucket/a.tif?versionId=1",
        "s3://buck_et/a.tif", "s3:///a.tif", "s3://bucket/a\\b.tif", "s3://bucket/%2e%2e/a.tif",
        "s3://bucket@host/a.tif", "s3://BUCKET/a.tif", "/vsis3/bucket/a.tif", "s3://bucket/./a.tif",
        "s3://bucket/a.tif#b", "s3://bucket/<a>.tif", "s3://127.0.0.1/a.tif",
        "s3://bucket/vsizip/vsicurl/a.tif/vsis3/b.tif",
    ],
)  # fmt: skip
def test_only_plain_objects_of_listed_buckets_pass(href: str) -> None:
    gate = Gate((), ("s3://bucket", "example.com"))

    with pytest.raises(AssetForbidden) as refused:
        gate.open_name(href)

    assert "/vsis3" not in str(refused.value)


def test_an_object_of_a_listed_bucket_passes() -> None:
    name = Gate((), ("s3://my-bucket/",)).open_name("s3://my-bucket/some folder/B04.tif")

    assert name.gdal == "s3://my-bucket/some folder/B04.tif"
    assert name.key == "s3://my-bucket/some folder/B04.tif"
    assert (name.driver, name.is_remote) == ("GTiff", True)


@pytest.fixture(scope="module")
def store(shared: Path) -> Iterator[dict[str, str]]:
    """The environment of a running store, with a bucket `images`."""
    with ceph(shared) as made:
        yield made


def put(store: dict[str, str], key: str, content: bytes) -> None:
    obstore.put(opened(store), key, content)


def asset_of(href: str) -> AssetName:
    return Gate((), ("s3://images",)).open_name(href, item="scene", asset="B04")


def image(folder: Path, seed: int = 0) -> tuple[bytes, NDArray[np.float32]]:
    """Return a COG and its pixels."""
    pixels = (field(1100, 900) + seed).astype(np.float32)
    grid = Grid.of(UTM33, 500_000.0, 5_000_000.0, 10.0, 1100, 900)
    cube = Cube(
        pixels[np.newaxis], np.ones((1, 1100, 900), np.bool_),
        (Dimension("bands", Kind.BANDS, ("B04",)), Dimension("y", Kind.SPATIAL),
         Dimension("x", Kind.SPATIAL)),
        grid, grid.window,
    )  # fmt: skip
    folder.mkdir(exist_ok=True)
    write_cog(folder / "a.tif", [cube], grid, dtype=pixels.dtype, bands=("B04",))
    return (folder / "a.tif").read_bytes(), pixels


@pytest.fixture
def here(store: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Let this process be the operator's, with the keys of the store."""
    for name, value in store.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "BELIEVED_S", 0.0)
    monkeypatch.setattr(remote, "FAILED_S", 0.0)
    return store


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_windows_of_cogs_are_read_out_of_a_real_store(
    store: dict[str, str], tmp_path: Path
) -> None:
    content, pixels = image(tmp_path)
    put(store, "2020/a b.tif", content)
    reader, asset = RasterReader(), asset_of("s3://images/2020/a b.tif")

    grid = reader.describe(asset).grid
    values, _ = reader.read_window(asset, 0, (1,), Window(100, 50, 300, 200))

    assert grid.crs == "EPSG:32633"
    np.testing.assert_array_equal(values[0], pixels[100:400, 50:250])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "href", "said"),
    [
        ({}, "s3://images/missing.tif", "NoSuchKey"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3://images/x.tif", "set AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "s3://images/x.tif", "set AWS_ACCESS_KEY_ID"),
        ({"AWS_NO_SIGN_REQUEST": "YES"}, "s3://images/x.tif", "set AWS_ACCESS_KEY_ID"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://images/x.tif", "does not answer"),
        ({}, "s3://images/x.tif", "no readable GeoTIFF"),
    ],
)
def test_a_refusal_says_what_to_do(
    here: dict[str, str], monkeypatch: pytest.MonkeyPatch, change: dict[str, str],
    href: str, said: str,
) -> None:  # fmt: skip
    put(here, "x.tif", b"II*\0")
    for name, value in change.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SourceUnreadable, match=rf"'scene'.*{said}") as refused:
        RasterReader().describe(asset_of(href))

    assert here["AWS_ENDPOINT_URL"] not in str(refused.value)
    assert "X-Amz" not in str(refused.value)


MEAN = {
    "load": {"process_id": "load_collection", "arguments": {
        "id": "archive", "spatial_extent": None, "temporal_extent": None}},
    "mean": {"process_id": "reduce_dimension", "result": True, "arguments": {
        "data": {"from_node": "load"}, "dimension": "t", "reducer": {"process_graph": {
            "mean": {"process_id": "mean", "result": True, "arguments": {
                "data": {"from_parameter": "data"}}}}}}},
}  # fmt: skip


def terrazzo(home: Path, *arguments: object) -> tuple[int, str]:
    """Run a command; returns its status and all that it says."""
    done = CliRunner().invoke(main, ["--home", str(home), *map(str, arguments)])
    return done.exit_code, done.output


def graph_file(folder: Path, collection: str = "archive") -> Path:
    path = folder / f"{collection}.json"
    path.write_text(json.dumps(MEAN).replace("archive", collection))
    return path


def filled(store: dict[str, str], folder: Path, prefix: str) -> tuple[list[NDArray[Any]], Path]:
    """Put two images and something else, and take them in; returns pixels and home."""
    kept = []
    for day in (1, 2):
        content, pixels = image(folder / f"{day}", day)
        put(store, f"{prefix}/2020/S2_2020010{day}.tif", content)
        kept.append(pixels)
    put(store, f"{prefix}/readme.txt", b"hello")
    home = folder / "home"
    code, told = terrazzo(home, "ingest", f"s3://images/{prefix}", "--collection", "archive")
    assert code == 0, told
    assert '"made": 2, "kept": 0, "failed": 0' in told
    return kept, home


@pytest.mark.slow
def test_images_of_a_bucket_are_taken_in_where_they_are_and_changed_ones_are_noticed(
    here: dict[str, str], tmp_path: Path
) -> None:
    pixels, home = filled(here, tmp_path, "in-place")
    ingest = ("ingest", "s3://images/in-place", "--collection", "archive")
    run = ("run", graph_file(tmp_path), "-o")

    again = terrazzo(home, *ingest)[1]
    first = terrazzo(home, *run, tmp_path / "first")
    content, changed = image(tmp_path / "new", 7)
    put(here, "in-place/2020/S2_20200102.tif", content)
    second = terrazzo(home, *run, tmp_path / "second")
    anew = terrazzo(home, *ingest)[1]

    assert '"made": 0, "kept": 2' in again
    assert (first[0], second[0]) == (0, 0), (first, second)
    with rasterio.open(tmp_path / "first" / "result.tif") as written:
        np.testing.assert_allclose(written.read(1), (pixels[0] + pixels[1]) / 2, rtol=1e-6)
    with rasterio.open(tmp_path / "second" / "result.tif") as written:
        np.testing.assert_allclose(written.read(1), (pixels[0] + changed) / 2, rtol=1e-6)
    assert '"made": 1, "kept": 1' in anew
    with Workspace.of(home).catalog() as catalog:
        items = {item["id"]: item for item in catalog.search(("archive",))}
    asset = items["S2_20200102"]["assets"]["B04"]
    assert asset["href"] == "s3://images/in-place/2020/S2_20200102.tif"
    assert asset["file:size"] == len(content)
    assert "secret" not in (home / "places.json").read_text()
    assert not any(here["AWS_ENDPOINT_URL"] in json.dumps(item) for item in items.values())


@pytest.mark.slow
def test_only_what_was_named_of_a_bucket_is_read_afterwards(
    here: dict[str, str], tmp_path: Path
) -> None:
    _, home = filled(here, tmp_path, "named")
    gate = Workspace.of(home).gate

    assert gate.open_name("s3://images/named/2020/S2_20200101.tif").is_remote
    for href in ("s3://images/other/a.tif", "s3://other/named/a.tif", "s3://images/named.tif"):
        with pytest.raises(AssetForbidden):
            gate.open_name(href)


@pytest.mark.slow
def test_copies_are_made_of_what_is_fetched_and_only_once(
    here: dict[str, str], tmp_path: Path
) -> None:
    content, pixels = image(tmp_path)
    put(here, "copied/S2_20200101.tif", content)
    copy = ("ingest", "s3://images/copied/S2_20200101.tif", "--collection", "c", "--copy")

    first = terrazzo(tmp_path / "home", *copy)
    path = tmp_path / "home" / "assets" / "c" / "S2_20200101" / "B04.tif"
    made = path.stat().st_mtime_ns
    second = terrazzo(tmp_path / "home", *copy)

    assert '"made": 1' in first[1], first
    assert '"made": 0, "kept": 1' in second[1]
    assert path.stat().st_mtime_ns == made
    with rasterio.open(path) as copied:
        np.testing.assert_array_equal(copied.read(1), pixels)
    assert [one.name for one in path.parent.iterdir()] == ["B04.tif"]
    assert Workspace.of(tmp_path / "home").places == ()


@pytest.mark.slow
def test_cubes_and_geometries_of_a_bucket_are_fetched_and_taken_in(
    here: dict[str, str], tmp_path: Path
) -> None:
    xarray.Dataset(
        {"heat": (("time", "lat", "lon"), np.arange(24, dtype=np.float32).reshape(2, 3, 4))},
        {"time": np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]"),
         "lat": ("lat", [47.0, 46.0, 45.0], {"units": "degrees_north"}),
         "lon": ("lon", [5.0, 6.0, 7.0, 8.0], {"units": "degrees_east"})},
    ).to_netcdf(tmp_path / "heat.nc", engine="h5netcdf")  # fmt: skip
    put(here, "cubes/heat.nc", (tmp_path / "heat.nc").read_bytes())
    shapes = geopandas.GeoDataFrame({"n": [1]}, geometry=[shapely.box(5, 45, 6, 46)], crs=4326)
    shapes.to_file(tmp_path / "fields.shp")
    for path in tmp_path.glob("fields.*"):
        put(here, f"shapes/{path.name}", path.read_bytes())
    ingest = ("ingest", "s3://images/cubes", "--collection", "cubes")

    first = terrazzo(tmp_path / "home", *ingest)
    again = terrazzo(tmp_path / "home", *ingest)
    vectors = terrazzo(
        tmp_path / "home", "ingest", "s3://images/shapes", "--collection", "f", "--datetime", "2020"
    )

    assert first[0] == again[0] == vectors[0] == 0, (first, vectors)
    assert '"made": 2, "kept": 0' in first[1]
    assert '"made": 0, "kept": 2' in again[1]
    assert '"made": 1' in vectors[1]
    fetched = tmp_path / "home" / "fetched" / "images" / "cubes" / "heat.nc"
    assert fetched.read_bytes() == (tmp_path / "heat.nc").read_bytes()


@pytest.mark.slow
def test_a_run_is_published_to_a_bucket_and_loaded_by_the_next_graph(
    here: dict[str, str], tmp_path: Path
) -> None:
    pixels, home = filled(here, tmp_path, "sources")
    terrazzo(home, "run", graph_file(tmp_path), "-o", tmp_path / "mean")
    publish = ("publish", tmp_path / "mean", "--collection", "means", "--to", "s3://images/pub")

    first = terrazzo(home, *publish)
    again = terrazzo(home, *publish)
    shutil.rmtree(tmp_path / "mean")
    loaded = terrazzo(home, "run", graph_file(tmp_path, "means"), "-o", tmp_path / "next")

    assert '"made": 1, "kept": 0' in first[1], first
    assert '"made": 0, "kept": 1' in again[1], again
    assert loaded[0] == 0, loaded
    with rasterio.open(tmp_path / "next" / "result.tif") as written:
        np.testing.assert_allclose(written.read(1), (pixels[0] + pixels[1]) / 2, rtol=1e-6)
    collection = json.loads(got(here, "pub/collection.json"))
    (link,) = [link for link in collection["links"] if link["rel"] == "item"]
    item = json.loads(got(here, f"pub/{link['href'].removeprefix('./')}"))
    assert item["assets"]["data"]["href"] == f"s3://images/pub/{item['id']}/data.tif"
    assert item["properties"]["terrazzo:graph_digest"]


@pytest.mark.slow
def test_results_go_to_a_bucket_and_a_sending_that_was_stopped_goes_on(
    here: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, home = filled(here, tmp_path, "for-runs")
    run = ("run", graph_file(tmp_path), "-o", "s3://images/outs")
    put_once = Bucket.put

    def stopped(self: Bucket, key: str, *arguments: Any, **options: Any) -> bool:
        if "stac/" in key:
            raise KeyboardInterrupt
        return put_once(self, key, *arguments, **options)

    def results() -> list[str]:
        """Return the files but for what the run keeps of itself."""
        own = {f"outs/{name}.json" for name in ("run", "results", "status")}
        return [key for key in keys_below(here, "outs") if key not in own]

    monkeypatch.setattr(Bucket, "put", stopped)
    first = terrazzo(home, *run)
    before = results()
    monkeypatch.setattr(Bucket, "put", put_once)
    second = terrazzo(home, *run)

    assert first[0] == 130, first
    assert before == ["outs/result.tif"]
    assert second[0] == 0, second
    assert '"path": "s3://images/outs/result.tif"' in second[1]
    assert "2 of 2 blocks were there already" in second[1]
    assert results() == [
        "outs/result.tif", "outs/stac/collection.json", "outs/stac/item-1.json"
    ]  # fmt: skip


@pytest.mark.slow
def test_files_of_several_parts_are_put_whole_and_not_sent_again(
    here: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "large.bin"
    content = np.random.default_rng(0).bytes(2 * PART_BYTES + 12_345)
    path.write_bytes(content)
    bucket = Bucket("images", Store.of_environment())
    told: list[int] = []

    def stop(size: int) -> None:
        told.append(size)
        raise Cancelled

    with pytest.raises(Cancelled):
        bucket.put("parts/large.bin", path, "application/octet-stream", sent=stop)
    absent = keys_below(here, "parts")
    first = bucket.put("parts/large.bin", path, "application/octet-stream")
    again = bucket.put("parts/large.bin", path, "application/octet-stream", sent=told.append)
    fetch_whole(bucket_address(bucket, "parts/large.bin"), tmp_path / "got", tmp_path / "state")

    assert absent == []
    assert (first, again) == (True, False)
    assert told == [PART_BYTES, len(content)]
    assert (tmp_path / "got").read_bytes() == content


@pytest.mark.slow
def test_a_fetching_that_was_stopped_goes_on_where_it_was(
    here: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = np.random.default_rng(1).bytes(3 * 65_536)
    put(here, "fetched.bin", content)
    address = bucket_address(Bucket("images", Store.of_environment()), "fetched.bin")
    monkeypatch.setattr(objects, "PART_BYTES", 65_536)
    asked: list[int] = []

    def stop(size: int) -> None:
        if sum(told := [*asked, size]) >= 65_536:
            raise Cancelled
        asked[:] = told

    with pytest.raises(Cancelled):
        fetch_whole(address, tmp_path / "got", tmp_path / "state", fetched=stop)
    assert not (tmp_path / "got").exists()
    again: list[int] = []
    fetch_whole(address, tmp_path / "got", tmp_path / "state", fetched=again.append)

    assert again == [65_536, 65_536, 65_536]
    assert (tmp_path / "got").read_bytes() == content


@pytest.mark.slow
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("change", "named", "said"),
    [
        ({}, "s3://nowhere/x", "there is no such bucket (NoSuchBucket)"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3://images/x", "set AWS_ACCESS_KEY_ID"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://images/x", "does not answer"),
        ({"AWS_ENDPOINT_URL": "127.0.0.1:9"}, "s3://images/x", "is no URL"),
        ({"AWS_ACCESS_KEY_ID": ""}, "s3://images/x", "there are no keys"),
        ({}, "s3://x", "names no bucket"),
        ({}, "s3://images/nothing-is-here", "nothing to ingest"),
    ],
)
def test_commands_say_what_is_wrong_with_a_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str], named: str, said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("terrazzo.storage.remote.transport.PAUSE_S", 0.0)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in change.items():
        monkeypatch.setenv(name, value)

    ingested = terrazzo(tmp_path, "ingest", named, "--collection", "c")
    ran = terrazzo(tmp_path, "run", graph_file(tmp_path), "-o", named)

    assert ingested[0] in {1, 2}
    assert said in ingested[1].replace("\n", " ")
    if "nothing" not in said:
        assert said in ran[1].replace("\n", " ")


def bucket_address(bucket: Bucket, key: str) -> Address:
    return Address.of_object(bucket.store, bucket.name, key)


def got(store: dict[str, str], key: str) -> bytes:
    return bytes(obstore.get(opened(store), key).bytes())


def keys_below(store: dict[str, str], prefix: str) -> list[str]:
    return sorted(one["path"] for page in obstore.list(opened(store), prefix) for one in page)
