"""A real object store (Ceph) with an empty bucket, for the tests of a module."""

from __future__ import annotations

import hashlib
import hmac
import os
import subprocess
import tempfile
import urllib.request
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import obstore
from obstore.store import S3Store
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def ceph(shared: Path) -> Iterator[dict[str, str]]:
    """Start a store; gives the environment of whoever uses it, and ends it."""
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


def opened(store: dict[str, str]) -> S3Store:
    return S3Store(
        "images", endpoint=store["AWS_ENDPOINT_URL"], region="us-east-1",
        access_key_id=store["AWS_ACCESS_KEY_ID"],
        secret_access_key=store["AWS_SECRET_ACCESS_KEY"], client_options={"allow_http": True},
    )  # fmt: skip


def content_of(store: dict[str, str], prefix: str) -> dict[str, bytes]:
    """Return what is below a prefix, by the keys from there."""
    bucket = opened(store)
    return {
        one["path"].removeprefix(f"{prefix}/"): bytes(obstore.get(bucket, one["path"]).bytes())
        for page in obstore.list(bucket, prefix)
        for one in page
    }


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
