"""The official Python client, over HTTP: what people do first, from discovery to a result."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import openeo
import pytest
import rasterio
import xarray as xr
from openeo.api.process import Parameter
from openeo.processes import ProcessBuilder, process
from openeo.rest import OpenEoApiError
from tests.server.openapi import checked
from tests.server.small import COLLECTION, DATES, EDGE, LEFT, PIXEL, TOP, nir, red

from terrazzo.processes import PROCESSES
from terrazzo.server.running.listen import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.drivers.job import Workspace

YEAR = ["2019-01-01", "2020-01-01"]


@pytest.fixture(scope="module")
def url(workspace: Workspace) -> Iterator[str]:
    with serving(workspace) as url:
        yield url


@pytest.fixture
def connection(url: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> openeo.Connection:
    """A connection all of whose answers are held against the text of the API."""
    assert shared
    monkeypatch.setenv("NO_PROXY", "*")
    connection = openeo.connect(url)
    checked(connection.session)
    return connection


def expected(date: str) -> np.ndarray:
    """Return NDVI of the small collection."""
    low, high = (band(int(date[:4])).astype(np.float32) for band in (red, nir))
    with np.errstate(invalid="ignore"):
        found: np.ndarray = np.where(low > 0, (high - low) / (high + low), np.nan)
    return found


def ndvi(connection: openeo.Connection, interval: list[str] | None = None) -> openeo.DataCube:
    """Return NDVI by band maths."""
    cube = connection.load_collection(COLLECTION, temporal_extent=interval, bands=["red", "nir"])
    low, high = cube.band("red"), cube.band("nir")
    return (high - low) / (high + low)


def test_it_connects_and_knows_what_there_is(connection: openeo.Connection) -> None:
    capabilities = connection.capabilities()

    assert capabilities.api_version() == "1.2.0"
    assert capabilities.supports_endpoint("/result", "POST")
    assert connection.list_collection_ids() == [COLLECTION]
    assert {one["id"] for one in connection.list_processes()} == set(PROCESSES)
    assert "GTiff" in connection.list_file_formats()["output"]
    assert "Python" in connection.list_udf_runtimes()
    assert "XYZ" in connection.list_service_types()


def test_it_reads_the_dimensions_and_bands_of_a_collection(connection: openeo.Connection) -> None:
    metadata = connection.load_collection(COLLECTION).metadata

    assert metadata.dimension_names() == ["x", "y", "t", "bands"]
    assert metadata.band_names == ["red", "nir"]
    assert metadata.band_common_names == ["red", "nir"]


def test_it_computes_band_maths_and_downloads_it(
    connection: openeo.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "ndvi.tiff"

    ndvi(connection, YEAR).download(path, format="GTiff")

    with rasterio.open(path) as file:
        np.testing.assert_allclose(file.read(1), expected(DATES[-1]), rtol=1e-6)
        assert (file.transform.c, file.transform.f, file.transform.a) == (LEFT, TOP, PIXEL)


def test_it_downloads_all_dates_as_netcdf(connection: openeo.Connection, tmp_path: Path) -> None:
    path = tmp_path / "ndvi.nc"

    ndvi(connection).download(path, format="netCDF")

    with xr.open_dataset(path) as file:
        (name,) = [n for n, one in file.data_vars.items() if {"x", "y", "t"} <= {*one.dims}]
        values = file[name].transpose("t", "y", "x").to_numpy()
    assert values.shape == (len(DATES), EDGE, EDGE)
    for date, image in zip(DATES, values, strict=True):
        np.testing.assert_allclose(image, expected(date), rtol=1e-6)


def test_it_executes_what_gives_json(connection: openeo.Connection) -> None:
    west, south, east, north = 21.01, 45.13, 21.02, 45.14
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    table = ndvi(connection, YEAR).aggregate_spatial(
        {"type": "Polygon", "coordinates": [ring]}, reducer="mean"
    )

    told = table.execute()

    (feature,) = told["features"]
    (value,) = [one for one in feature["properties"].values() if isinstance(one, float)]
    assert float(np.nanmin(expected(DATES[-1]))) < value < float(np.nanmax(expected(DATES[-1])))


def test_it_validates(connection: openeo.Connection) -> None:
    cube = ndvi(connection, YEAR)
    wrong = connection.load_collection(COLLECTION, bands=["blue"], fetch_metadata=False)

    assert cube.validate() == []
    assert [error["code"] for error in wrong.validate()] == ["BandNotFound"]


def test_it_is_told_what_is_wrong(connection: openeo.Connection) -> None:
    cube = connection.datacube_from_process("no_such_process")

    with pytest.raises(OpenEoApiError) as error:
        cube.download(validate=False)

    assert (error.value.http_status_code, error.value.code) == (400, "ProcessUnsupported")


def test_it_stores_a_process_and_calls_it(connection: openeo.Connection) -> None:
    data = Parameter.raster_cube("data")
    scaled: ProcessBuilder = process("apply", data=data, process=_doubled)

    stored = connection.save_user_defined_process(
        "doubled", scaled, parameters=[data], summary="Twice as much"
    )
    cube = connection.load_collection(COLLECTION, temporal_extent=YEAR, bands=["red"])
    result = connection.datacube_from_process("doubled", data=cube)
    content = result.download(format="GTiff")

    assert [one["id"] for one in connection.list_user_defined_processes()] == ["doubled"]
    assert stored.describe()["summary"] == "Twice as much"
    with rasterio.open(io.BytesIO(content)) as file:
        pixels = file.read(1)
    values = red(2019).astype(np.float32) * 2
    np.testing.assert_array_equal(np.where(values > 0, values, np.nan), pixels)
    stored.delete()
    assert connection.list_user_defined_processes() == []


def _doubled(x: ProcessBuilder) -> ProcessBuilder:
    return x * 2.0


def test_it_runs_a_graph_that_is_json(connection: openeo.Connection) -> None:
    graph = {"a": {"process_id": "add", "arguments": {"x": 1, "y": 2}, "result": True}}

    assert connection.execute(json.dumps(graph)) == 3
