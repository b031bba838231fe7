"""Images in an object store: a real one (Ceph), read by range, refused in words."""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
import urllib.request
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import obstore
import pytest
from obstore.store import S3Store
from tests.storage.files import UTM33, field

from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.errors import AssetForbidden
from terrazzo.geo.grid import Grid
from terrazzo.storage.gate import Gate
from terrazzo.storage.writers.cog import write_cog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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

    assert name.gdal == "/vsis3/my-bucket/some folder/B04.tif"
    assert name.key == "s3://my-bucket/some folder/B04.tif"
    assert (name.driver, name.is_remote, name.stamp) == ("GTiff", True, (0, 0))


@pytest.fixture(scope="module")
def store(shared: Path) -> Iterator[dict[str, str]]:
    """The environment of a running store, with a bucket `images`."""
    script = shared / "services" / "ceph_s3.sh"
    home = f"{tempfile.gettempdir()}/terrazzo-ceph-{uuid.uuid4().hex[:8]}"
    settings = os.environ | {
        "CEPH_HOME": home, "RGW_PORT": str(free_port()), "MON_PORT": str(free_port()),
    }  # fmt: skip
    try:
        subprocess.run(["bash", str(script), "start"], env=settings, check=True, timeout=400)
        told = subprocess.run(
            ["bash", str(script), "env"], env=settings, check=True, capture_output=True, text=True
        ).stdout
        words = told.removeprefix("export ").split()
        made = os.environ | dict(word.split("=", 1) for word in words)
        make_bucket(made)
        yield made
    finally:
        subprocess.run(["bash", str(script), "stop"], env=settings, check=False, timeout=60)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def put(store: dict[str, str], key: str, content: bytes) -> None:
    bucket = S3Store(
        "images", endpoint=store["AWS_ENDPOINT_URL"], region="us-east-1",
        access_key_id=store["AWS_ACCESS_KEY_ID"],
        secret_access_key=store["AWS_SECRET_ACCESS_KEY"], client_options={"allow_http": True},
    )  # fmt: skip
    obstore.put(bucket, key, content)


def make_bucket(store: dict[str, str]) -> None:
    """Make the bucket by a request that is signed as AWS has it (version 4): obstore makes none."""
    now = datetime.now(UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    host, empty = store["AWS_S3_ENDPOINT"], hashlib.sha256(b"").hexdigest()
    headers = {"host": host, "x-amz-content-sha256": empty, "x-amz-date": stamp}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    asked = hashlib.sha256(f"PUT\n/images\n\n{lines}\n{names}\n{empty}".encode()).hexdigest()
    scope = f"{day}/us-east-1/s3/aws4_request"
    key = f"AWS4{store['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{asked}"):
        key = hmac.digest(key, part.encode(), "sha256")
    who = f"{store['AWS_ACCESS_KEY_ID']}/{scope}"
    signed = f"AWS4-HMAC-SHA256 Credential={who}, SignedHeaders={names}, Signature={key.hex()}"
    request = urllib.request.Request(  # noqa: S310 - to the store of this test
        f"{store['AWS_ENDPOINT_URL']}/images", method="PUT",
        headers=headers | {"Authorization": signed},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        assert answer.status == 200


READ = """
    import sys
    import numpy as np
    from terrazzo.errors import TerrazzoError
    from terrazzo.geo.grid import Window
    from terrazzo.storage.gate import Gate
    from terrazzo.storage.raster import RasterReader

    try:
        asset = Gate((), ("s3://images",)).open_name(sys.argv[1], item="scene", asset="B04")
        reader = RasterReader()
        grid = reader.describe(asset).grid
        values, _ = reader.read_window(asset, 0, (1,), Window(100, 50, 300, 200))
        np.save(sys.argv[2], values)
        print(grid.crs)
    except TerrazzoError as error:
        print(error)
"""


def read(store: dict[str, str], href: str, path: Path) -> str:
    """Read a window in a process of its own, whose environment names the store."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(READ), href, str(path)],
        env=store, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_windows_of_cogs_are_read_out_of_a_real_store(
    store: dict[str, str], tmp_path: Path
) -> None:
    pixels = field(1100, 900)
    grid = Grid.of(UTM33, 500_000.0, 5_000_000.0, 10.0, 1100, 900)
    cube = Cube(
        pixels[np.newaxis], np.ones((1, 1100, 900), np.bool_),
        (Dimension("bands", Kind.BANDS, ("B04",)), Dimension("y", Kind.SPATIAL),
         Dimension("x", Kind.SPATIAL)),
        grid, grid.window,
    )  # fmt: skip
    write_cog(tmp_path / "a.tif", [cube], grid, dtype=pixels.dtype, bands=("B04",))
    put(store, "2020/a b.tif", (tmp_path / "a.tif").read_bytes())

    told = read(store, "s3://images/2020/a b.tif", tmp_path / "out.npy")

    assert told.startswith("EPSG:32633")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy").squeeze(), pixels[100:400, 50:250])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "href", "said"),
    [
        ({}, "s3://images/missing.tif", "NoSuchKey"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3://images/x.tif", "set AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "s3://images/x.tif", "set AWS_ACCESS_KEY_ID"),
        ({"AWS_S3_ENDPOINT": "127.0.0.1:9"}, "s3://images/x.tif", "cannot be read"),
    ],
)
def test_a_refusal_says_what_to_do(
    store: dict[str, str], tmp_path: Path, change: dict[str, str], href: str, said: str
) -> None:
    put(store, "x.tif", b"II*\0")

    told = read(store | change, href, tmp_path / "out.npy")

    assert said in told
    assert "'scene'" in told
    assert "vsis3" not in told
