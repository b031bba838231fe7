"""The official Python client against the server, over HTTP, as its users use it.

Every answer that it gets is compared with the text of the openEO API as well.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import openeo
import pandas as pd
import pytest
import rasterio
import xarray
from openeo.processes import process
from openeo.rest import OpenEoApiError
from tests.conformance.material import BANDS, DAYS, PIXEL, SENTINEL, sentinel
from tests.server.oidc_provider import SERVICE_CLIENT, SERVICE_SECRET, approve

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.conftest import Served

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared")]

PLACE = {"west": 680_000, "south": 5_151_500, "east": 680_100, "north": 5_151_600}
ROWS, COLUMNS = slice(90, 100), slice(100, 110)
"""Where PLACE is in the images."""
JUNE = ["2022-06-01", "2022-07-01"]
FIRST_DAYS = ["2022-06-01", "2022-06-03"]
UDF = """
import xarray

def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:
    return cube * context["factor"] + 7
"""


def cube_of(
    connection: openeo.Connection, days: list[str] = FIRST_DAYS, bands: tuple[str, ...] = ("B04",)
) -> openeo.DataCube:
    extent: dict[str, Any] = PLACE | {"crs": "EPSG:32632"}
    return connection.load_collection(
        SENTINEL, spatial_extent=extent, temporal_extent=days, bands=list(bands)
    )


def band(name: str, day: int = DAYS[0]) -> np.ndarray:
    """Return what the files hold at PLACE."""
    return sentinel(day)[name][ROWS, COLUMNS].astype(np.float64)


def ndvi(day: int = DAYS[0]) -> np.ndarray:
    red, nir = band("B04", day), band("B08", day)
    return (nir - red) / (nir + red)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        values: np.ndarray = file.read()
    return values


def test_discovers_what_there_is(connection: openeo.Connection) -> None:
    capabilities = connection.capabilities()
    told = connection.describe_collection(SENTINEL)

    assert capabilities.api_version() == "1.2.0"
    assert SENTINEL in connection.list_collection_ids()
    assert set(told["cube:dimensions"]) == {"x", "y", "t", "bands"}
    assert told["cube:dimensions"]["bands"]["values"] == list(BANDS)
    assert told["cube:dimensions"]["t"]["extent"][0].startswith("2022-06-01")
    assert {"GTiff", "netCDF", "JSON"} <= set(connection.list_output_formats())
    assert "Python" in connection.list_udf_runtimes()
    assert "XYZ" in connection.list_service_types()
    assert connection.describe_process("ndvi")["parameters"][0]["name"] == "data"


def test_metadata_let_the_client_name_bands(connection: openeo.Connection) -> None:
    cube = connection.load_collection(SENTINEL, bands=["B04", "B08"])

    assert cube.metadata.band_names == ["B04", "B08"]
    with pytest.raises(ValueError, match="B99"):
        cube.band("B99")


def test_band_maths_come_as_geotiff(connection: openeo.Connection, tmp_path: Path) -> None:
    cube = cube_of(connection, bands=("B04", "B08"))
    red, nir = cube.band("B04"), cube.band("B08")

    ((nir - red) / (nir + red)).download(tmp_path / "ndvi.tiff")

    with rasterio.open(tmp_path / "ndvi.tiff") as file:
        assert file.crs.to_epsg() == 32632
        assert tuple(file.bounds) == tuple(PLACE.values())
        assert file.res == (PIXEL, PIXEL)
        np.testing.assert_allclose(file.read(1), ndvi(), rtol=1e-6)


def test_band_maths_come_as_netcdf(connection: openeo.Connection, tmp_path: Path) -> None:
    cube_of(connection, JUNE, ("B04", "B08")).ndvi(nir="B08", red="B04").download(
        tmp_path / "ndvi.nc"
    )

    with xarray.open_dataset(tmp_path / "ndvi.nc", decode_coords="all") as dataset:
        (name,) = dataset.data_vars
        found = dataset[name].transpose("t", "y", "x")
        assert [str(day)[:10] for day in found.t.to_numpy()] == [f"2022-06-{d:02}" for d in DAYS]
        expected = np.stack([ndvi(day) for day in DAYS])
        np.testing.assert_allclose(found.to_numpy(), expected, rtol=1e-6)


def square() -> dict[str, Any]:
    west, south, east, north = PLACE.values()
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    crs = {"type": "name", "properties": {"name": "EPSG:32632"}}
    return {"type": "Polygon", "coordinates": [ring], "crs": crs}


def test_series_over_a_polygon_comes_as_json(connection: openeo.Connection, tmp_path: Path) -> None:
    series = cube_of(connection, JUNE, ("B04", "B08")).aggregate_spatial(square(), reducer="mean")

    series.download(tmp_path / "series.json", format="JSON")

    table = pd.read_json(tmp_path / "series.json", convert_dates=["t"])
    for name in ("B04", "B08"):
        found = table[table["bands"] == name]
        assert list(found["t"].dt.strftime("%Y-%m-%d")) == [f"2022-06-{day:02}" for day in DAYS]
        np.testing.assert_allclose(found["value"], [band(name, day).mean() for day in DAYS], 1e-6)


def test_series_over_a_polygon_is_executed(connection: openeo.Connection) -> None:
    series = cube_of(connection, JUNE, ("B04", "B08")).aggregate_spatial(square(), reducer="mean")

    found = series.execute()

    (feature,) = found["features"]
    told = list(feature["properties"].values())
    assert told == pytest.approx([band(n, d).mean() for d in DAYS for n in ("B04", "B08")], 1e-6)


def test_graph_of_numbers_is_executed(connection: openeo.Connection) -> None:
    assert connection.execute(process("add", x=1, y=2)) == 3


def test_job_runs_to_its_results_and_logs(connection: openeo.Connection, tmp_path: Path) -> None:
    job = cube_of(connection).create_job(title="Red", out_format="GTiff", description="A field")
    created = job.describe()

    job.start_and_wait(print=lambda _: None, connection_retry_interval=1, max_poll_interval=1)
    assets = job.get_results().get_assets()
    paths = job.get_results().download_files(tmp_path)

    assert created["title"], created["status"] == ("Red", "created")
    assert created["process"]["process_graph"]
    assert job.status() == "finished"
    assert job.describe()["progress"] == 100
    images = [path for path in paths if path.suffix in {".tif", ".tiff"}]
    assert len(images) == len([a for a in assets if "tiff" in a.metadata.get("type", "")]) == 1
    assert (read(images[0])[0] == band("B04")).all()
    assert {"id", "level", "message"} <= set(job.logs()[0])
    assert job.job_id in [entry["id"] for entry in connection.list_jobs()]


def test_job_is_estimated_and_deleted(connection: openeo.Connection) -> None:
    job = cube_of(connection).create_job(out_format="netCDF")

    estimate = job.estimate()
    job.delete()

    assert {"costs", "duration", "size"} & set(estimate)
    with pytest.raises(OpenEoApiError) as caught:
        job.status()
    assert (caught.value.http_status_code, caught.value.code) == (404, "JobNotFound")


def test_job_with_a_wrong_graph_fails_and_says_why(connection: openeo.Connection) -> None:
    load = cube_of(connection).flat_graph()["loadcollection1"]
    load["arguments"]["bands"] = ["B99"]
    job = connection.create_job({"load": load | {"result": True}}, validate=False)

    with pytest.raises(openeo.rest.JobFailedException):
        job.start_and_wait(print=lambda _: None, max_poll_interval=1)

    assert job.status() == "error"
    assert any("B99" in entry["message"] for entry in job.logs(level="error"))


def test_results_of_a_job_are_a_collection_of_their_own(connection: openeo.Connection) -> None:
    job = cube_of(connection).create_job(out_format="GTiff")
    job.start_and_wait(print=lambda _: None, max_poll_interval=1)

    address = job.get_results_metadata_url(full=True)
    told = job.get_results().get_metadata()

    assert address.startswith(connection.root_url)
    assert told["type"] in {"Feature", "Collection"}
    assert "canonical" in {link["rel"] for link in told["links"]}


def test_user_code_runs(connection: openeo.Connection, tmp_path: Path) -> None:
    udf = openeo.UDF(UDF, runtime="Python", context={"factor": 2})

    cube_of(connection).apply(process=udf).download(tmp_path / "udf.tiff")

    np.testing.assert_allclose(read(tmp_path / "udf.tiff")[0], 2 * band("B04") + 7)


def test_user_processes_are_kept_and_used(connection: openeo.Connection) -> None:
    fahrenheit = openeo.api.process.Parameter.number(name="fahrenheit", description="Degrees")
    graph = process("divide", x=process("subtract", x=fahrenheit, y=32), y=1.8)

    kept = connection.save_user_defined_process(
        "celsius", graph.flat_graph(), parameters=[fahrenheit]
    )
    told = kept.describe()
    listed = [entry["id"] for entry in connection.list_user_defined_processes()]
    found = connection.execute(process("celsius", namespace="user", fahrenheit=212))
    kept.delete()

    assert told["id"] == "celsius"
    assert told["parameters"][0]["name"] == "fahrenheit"
    assert "celsius" in listed
    assert found == pytest.approx(100)
    assert "celsius" not in [entry["id"] for entry in connection.list_user_defined_processes()]


def test_service_shows_tiles(connection: openeo.Connection) -> None:
    service = cube_of(connection).tiled_viewing_service("XYZ", title="Red")
    told = service.describe_service()
    address = told["url"].format(z=14, x=8690, y=5735)

    tile = connection.session.get(address, headers=bearer(connection))
    listed = [entry["id"] for entry in connection.list_services()]
    service.delete_service()

    assert told["type"].upper() == "XYZ"
    assert told["enabled"] is True
    assert tile.headers["content-type"] == "image/png"
    assert tile.content[:4] == b"\x89PNG"
    assert service.service_id in listed
    assert service.service_id not in [entry["id"] for entry in connection.list_services()]


def bearer(connection: openeo.Connection) -> dict[str, str]:
    return {"Authorization": f"Bearer {connection.auth.bearer}"}


def test_files_are_kept_listed_fetched_and_deleted(
    connection: openeo.Connection, tmp_path: Path
) -> None:
    given = tmp_path / "field.geojson"
    given.write_text(json.dumps({"type": "Point", "coordinates": [11.3, 46.5]}))

    uploaded = connection.upload_file(given, target="fields/one.geojson")
    listed = {str(file.path): file.metadata for file in connection.list_files()}
    fetched = uploaded.download(tmp_path / "fetched.geojson")
    uploaded.delete()

    assert listed["fields/one.geojson"]["size"] == given.stat().st_size
    assert fetched.read_bytes() == given.read_bytes()
    assert connection.list_files() == []


def test_graph_is_validated(connection: openeo.Connection) -> None:
    good = connection.validate_process_graph(cube_of(connection))
    bad = connection.validate_process_graph(
        {"n": {"process_id": "add", "arguments": {"x": 1, "z": 2}, "result": True}}
    )

    assert good == []
    assert bad[0]["code"]
    assert "z" in " ".join(entry["message"] for entry in bad)


def test_error_of_the_server_is_the_clients_error(connection: openeo.Connection) -> None:
    with pytest.raises(OpenEoApiError) as caught:
        connection.describe_collection("NOTHING")

    assert (caught.value.http_status_code, caught.value.code) == (404, "CollectionNotFound")
    assert caught.value.id


def test_password_logs_in(served: Served, connection: openeo.Connection) -> None:
    assert connection.describe_account()["user_id"]
    with pytest.raises(OpenEoApiError) as caught:
        served.connect().authenticate_basic("alice", "wrong")
    assert caught.value.http_status_code in {401, 403}


def test_device_code_logs_in(served: Served) -> None:
    def in_a_browser(told: str) -> None:
        address = re.search(r"https?://[^\s\"'<>]+", told)
        if address:
            approve(address[0], "carol")

    connection = served.connect().authenticate_oidc_device(display=in_a_browser)

    assert connection.describe_account()["user_id"]
    assert connection.list_jobs() == []


def test_client_of_its_own_logs_in(served: Served) -> None:
    connection = served.connect().authenticate_oidc_client_credentials(
        client_id=SERVICE_CLIENT, client_secret=SERVICE_SECRET, provider_id="test"
    )

    assert connection.describe_account()["user_id"]


def test_what_belongs_to_somebody_else_is_not_there(
    served: Served, connection: openeo.Connection
) -> None:
    job = cube_of(connection).create_job(out_format="GTiff")
    other = served.connect().authenticate_oidc_client_credentials(
        client_id=SERVICE_CLIENT, client_secret=SERVICE_SECRET, provider_id="test"
    )

    with pytest.raises(OpenEoApiError) as caught:
        other.job(job.job_id).status()

    assert (caught.value.http_status_code, caught.value.code) == (404, "JobNotFound")
    assert job.job_id not in [entry["id"] for entry in other.list_jobs()]


def test_without_login_what_is_of_somebody_is_closed(served: Served) -> None:
    anonymous = served.connect()

    assert SENTINEL in anonymous.list_collection_ids()
    with pytest.raises(OpenEoApiError) as caught:
        anonymous.list_jobs()
    assert (caught.value.http_status_code, caught.value.code) == (401, "AuthenticationRequired")


def test_result_chained_to_another_graph(connection: openeo.Connection, tmp_path: Path) -> None:
    job = cube_of(connection).create_job(out_format="GTiff")
    job.start_and_wait(print=lambda _: None, max_poll_interval=1)
    canonical = next(
        link["href"]
        for link in job.get_results().get_metadata()["links"]
        if link["rel"] == "canonical"
    )

    (connection.load_stac(canonical) * 2).download(tmp_path / "twice.tiff")

    np.testing.assert_allclose(read(tmp_path / "twice.tiff")[0], 2 * band("B04"))
