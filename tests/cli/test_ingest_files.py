"""`terrazzo ingest` of files: what it says of files, numbers and folders that are not right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from tests.server.small import write_images

from terrazzo.cli import main
from terrazzo.drivers.job import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

NAME = "mine"


def ingest(home: Path, path: Path, *options: str, status: int = 0) -> Result:
    arguments = ["--home", str(home), "ingest", str(path), "--collection", NAME, *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == status, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result


def write_long(path: Path, dtype: str, **more: Any) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", width=8, height=8, count=1, dtype=dtype, crs="EPSG:32633",
        transform=Affine(10, 0, 5e5, 0, -10, 5e6), **more,
    ) as file:  # fmt: skip
        file.write(np.arange(64).reshape(1, 8, 8).astype(dtype))


def test_each_reason_is_told_once_where_nothing_goes_in(tmp_path: Path):
    images = tmp_path / "images"
    for path in write_images(images):
        path.write_bytes(b"II*\0" + bytes(100))

    told = ingest(tmp_path / "home", images, status=2)

    for path in images.iterdir():
        assert told.output.count(path.name) == 1
    assert "Nothing was ingested: 3 files were left out, for the reasons above." in told.stderr


def test_a_home_that_cannot_be_made_is_told_with_the_option_that_names_another(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    write_images(tmp_path / "images")

    told = ingest(tmp_path / "file" / "home", tmp_path / "images", status=1)

    assert "--home" in told.stderr


@pytest.mark.parametrize("number", ["9223372036854775807", "-9007199254740993", "none"])
def test_a_number_that_is_not_kept_is_refused_as_it_was_given(tmp_path: Path, number: str):
    write_long(tmp_path / "a_20240501.tif", "int64")

    told = ingest(tmp_path / "home", tmp_path / "a_20240501.tif", "--nodata", number, status=2)

    assert number in told.stderr


def test_a_stated_number_beyond_what_is_kept_of_the_type_is_refused(tmp_path: Path):
    write_long(tmp_path / "a_20240501.tif", "int64")

    told = ingest(
        tmp_path / "home", tmp_path / "a_20240501.tif", "--nodata", str(-(2**63)), status=2
    )

    assert "--copy" in told.stderr


@pytest.mark.parametrize(
    ("dtype", "number"),
    [("int64", "9007199254740992"), ("float32", "-3.4028234663852886e+38"), ("float64", "nan")],
)
def test_numbers_that_are_kept_are_taken(tmp_path: Path, dtype: str, number: str):
    write_long(tmp_path / "a_20240501.tif", dtype)

    ingest(tmp_path / "home", tmp_path / "a_20240501.tif", "--nodata", number)

    with Workspace.of(tmp_path / "home").catalog() as catalog:
        (item,) = catalog.search([NAME])
    (asset,) = item["assets"].values()
    np.testing.assert_equal(float(asset["bands"][0]["nodata"]), float(number))
