"""Which addresses are STAC, and which are files."""

from __future__ import annotations

import pytest

from terrazzo.cli.ingest_stac import is_stac


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://example.org/stac/v1", True),
        ("https://example.org/catalog.json", True),
        ("https://example.org/items.geojson", True),
        ("https://example.org/v1.0", True),
        ("https://example.org/images/a.tif", False),
        ("HTTPS://example.org/images/A.TIFF", False),
        ("https://example.org/cube.nc", False),
        ("https://example.org/fields.parquet", False),
        ("s3://bucket/images/a.tif", False),
        ("images/a.tif", False),
    ],
)
def test_an_address_that_ends_as_a_file_is_a_file(address: str, expected: bool) -> None:
    assert is_stac(address) is expected
