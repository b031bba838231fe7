"""Addresses that everybody may reach, and those that lead home in disguise."""

from __future__ import annotations

from pathlib import Path

import pytest

from terrazzo.errors import AssetForbidden
from terrazzo.storage.gate import Gate
from terrazzo.storage.remote.networks import is_public
from terrazzo.storage.remote.stores import Store
from terrazzo.storage.remote.transport import Address


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "169.254.169.254", "224.0.0.1", "::1", "fe80::1%eth0", "fc00::1",
        "::ffff:127.0.0.1", "::127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1", "fec0::1", "2001:0:4136:e378:8000:63bf:80ff:fffe",
    ],
)  # fmt: skip
def test_addresses_that_lead_home_are_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1"])
def test_no_bucket_lies_where_machines_ask_for_keys(address: str) -> None:
    where = Address.of_object(Store("http://store.example.org"), "bucket", "a.tif")

    assert not where.admits(address)
    assert where.admits("10.0.0.5")


def test_strangers_name_no_place_that_ingestion_remembered() -> None:
    store = Store("http://127.0.0.1:9000")
    gate = Gate(
        (Path("/data"),), ("8.8.4.4",), (("s3://hidden/part", store),), ("https://8.8.8.8/a%20b",)
    )

    assert gate.remote("s3://hidden/part/a.tif").store == store
    assert gate.remote("https://8.8.8.8/a%20b/c.tif").url == "https://8.8.8.8/a%20b/c.tif"
    for href in ("s3://hidden/part/a.tif", "https://8.8.8.8/a%20b/c.tif"):
        with pytest.raises(AssetForbidden):
            gate.for_strangers().remote(href)
    assert gate.for_strangers().remote("https://8.8.4.4/a.tif").url == "https://8.8.4.4/a.tif"


@pytest.mark.parametrize("path", ["pub/../x.tif", "pub/..;/x.tif", "pub/..;a=1/x.tif"])
def test_no_path_leads_up(path: str) -> None:
    gate = Gate((), ("https://8.8.8.8/pub",))

    with pytest.raises(AssetForbidden):
        gate.remote(f"https://8.8.8.8/{path}")
