"""Files that people upload, in graphs: the same cube as of a collection that was ingested."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from affine import Affine
from starlette.testclient import TestClient
from tests.server.people import CHEAP, closed, ledger, newcomer

from terrazzo.drivers.ingest import ingest
from terrazzo.drivers.job import Workspace
from terrazzo.drivers.uploads import PROGRAM
from terrazzo.ledger import passwords
from terrazzo.ledger.files import UserFiles
from terrazzo.sandbox import closed as closed_worker
from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EDGE = 40
PLACE = Affine(10, 0, 5e5, 0, -10, 5e6)


class Server:
    """A server on which `alice` and `bob` have files."""

    def __init__(self, client: TestClient, home: Path) -> None:
        self.client, self.home = client, home
        database = ledger(home)
        self.headers = {name: newcomer(database, name) for name in ("alice", "bob")}
        database.close()

    def put(self, name: str, content: bytes) -> None:
        answer = self.client.put(f"/files/{name}", headers=self.headers["alice"], content=content)
        assert answer.status_code == 200, answer.text

    def result(self, load: dict[str, Any], form: str = "netCDF", who: str = "alice") -> Any:
        save = {
            "process_id": "save_result",
            "arguments": {"data": {"from_node": "load"}, "format": form},
            "result": True,
        }
        body = {"process": {"process_graph": {"load": load, "save": save}}}
        return self.client.post("/result", headers=self.headers[who], json=body)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(passwords, "_HASHER", CHEAP)
        with TestClient(create_app(Workspace.of(home), closed())) as client:
            yield Server(client, home)


def uploaded(*paths: str, form: str = "GTiff", **options: Any) -> dict[str, Any]:
    arguments = {"paths": list(paths), "format": form, "options": options}
    return {"process_id": "load_uploaded_files", "arguments": arguments}


def collection(name: str) -> dict[str, Any]:
    arguments = {"id": name, "spatial_extent": None, "temporal_extent": None}
    return {"process_id": "load_collection", "arguments": arguments}


def cube(answer: Any) -> xr.Dataset:
    assert answer.status_code == 200, answer.text
    return xr.load_dataset(io.BytesIO(answer.content), engine="h5netcdf", mask_and_scale=False)


def image(path: Path, dtype: str = "uint16", **more: Any) -> None:
    values = np.arange(2 * EDGE * EDGE).reshape(2, EDGE, EDGE)
    with rasterio.open(
        path, "w", driver="GTiff", width=EDGE, height=EDGE, count=2, dtype=dtype,
        crs="EPSG:32633", transform=PLACE, **more,
    ) as file:  # fmt: skip
        file.write((values % 200).astype(dtype))
        file.scales, file.offsets = (0.5, 2.0), (-1.0, 0.0)
        file.descriptions = ("red", "nir")


def scaled(folder: Path) -> Path:
    image(folder / "scene_20200102.tif", nodata=7)
    return folder / "scene_20200102.tif"


def floating(folder: Path) -> Path:
    image(folder / "scene_20200102.tif", "float32", nodata=float("nan"), compress="deflate")
    return folder / "scene_20200102.tif"


def masked(folder: Path) -> Path:
    path = folder / "scene_20200102.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        image(path, "uint8")
        with rasterio.open(path, "r+") as file:
            file.write_mask(np.arange(EDGE * EDGE).reshape(EDGE, EDGE) % 3 > 0)
    return path


def netcdf(folder: Path) -> Path:
    path = folder / "series.nc"
    x, y = np.arange(EDGE) * 10.0 + 500_005, 5_000_000 - 5 - np.arange(EDGE) * 10.0
    values = np.arange(3 * EDGE * EDGE, dtype=np.int16).reshape(3, EDGE, EDGE)
    time = np.array(["2020-01-01", "2020-02-01", "2020-03-05"], "datetime64[ns]")
    data = xr.Dataset(
        {"lai": (("time", "y", "x"), values, {"_FillValue": 5, "scale_factor": 0.01})},
        {"time": time, "y": y, "x": x},
        {"crs": "EPSG:32633"},
    )
    data.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.mark.parametrize(
    ("make", "form"),
    [(scaled, "GTiff"), (floating, "GTiff"), (masked, "GTiff"), (netcdf, "netCDF")],
)
def test_an_upload_gives_what_a_collection_of_the_same_file_gives(
    server: Server, tmp_path: Path, make: Callable[[Path], Path], form: str
):
    path = make(tmp_path)
    name = f"{make.__name__}"
    ingest([path], name, Workspace.of(server.home))
    server.put(f"{name}/{path.name}", path.read_bytes())

    mine = cube(server.result(uploaded(f"{name}/{path.name}", form=form)))
    theirs = cube(server.result(collection(name)))

    assert list(mine.data_vars) == list(theirs.data_vars)
    for variable in mine.variables:
        np.testing.assert_array_equal(mine[variable].values, theirs[variable].values)


def test_a_file_that_is_replaced_is_read_anew(server: Server, tmp_path: Path):
    path = tmp_path / "a_20200101.tif"
    seen = []
    for number in (1, 2):
        with rasterio.open(
            path, "w", driver="GTiff", width=4, height=4, count=1, dtype="uint8",
            crs="EPSG:32633", transform=PLACE,
        ) as file:  # fmt: skip
            file.write(np.full((1, 4, 4), number, np.uint8))
        server.put(path.name, path.read_bytes())
        seen.append(int(cube(server.result(uploaded(path.name)))["band1"].max()))

    assert seen == [1, 2]


def test_what_was_read_of_a_file_goes_with_it(server: Server, tmp_path: Path):
    path = scaled(tmp_path)
    server.put("gone_20200101.tif", path.read_bytes())
    cube(server.result(uploaded("gone_20200101.tif")))
    accounts = [UserFiles(server.home, one.name) for one in (server.home / "files").iterdir()]
    kept = [one.taken_in("gone_20200101.tif") for one in accounts]
    before = [folder.exists() for folder in kept]

    server.client.delete("/files/gone_20200101.tif", headers=server.headers["alice"])

    assert sum(before) == 1
    assert not any(folder.exists() for folder in kept)


def test_a_zip_of_images_is_one_cube(server: Server, tmp_path: Path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for date in ("20200102", "20200301"):
            image(tmp_path / "a.tif")
            archive.write(tmp_path / "a.tif", f"folder/scene_{date}.tif")
    server.put("two.zip", content.getvalue())

    found = cube(server.result(uploaded("two.zip")))

    assert found.sizes["t"] == len(("20200102", "20200301"))


def test_what_a_file_lacks_is_asked_for_and_can_be_given(server: Server, tmp_path: Path):
    image(tmp_path / "a.tif")
    server.put("undated.tif", (tmp_path / "a.tif").read_bytes())

    refused = server.result(uploaded("undated.tif"))
    given = server.result(uploaded("undated.tif", datetime="2021-05-06", bands=["b1", "b2"]))

    assert refused.status_code == 400
    assert "the option `datetime`" in refused.json()["message"]
    assert "--datetime" not in refused.json()["message"]
    found = cube(given)
    assert list(found.data_vars)[-2:] == ["b1", "b2"] or {"b1", "b2"} <= set(found.data_vars)
    assert str(found["t"].values[0])[:10] == "2021-05-06"


def test_what_is_read_of_a_file_counts_towards_the_quota_of_its_account(
    server: Server, tmp_path: Path
):
    content = scaled(tmp_path).read_bytes()
    database = ledger(server.home)
    server.headers["carol"] = newcomer(database, "carol", quota=len(content) + 100)
    database.close()
    stored = server.client.put(
        "/files/s_20200101.tif", headers=server.headers["carol"], content=content
    )

    answer = server.result(uploaded("s_20200101.tif"), who="carol")

    assert stored.status_code == 200
    assert (answer.status_code, answer.json()["code"]) == (400, "StorageQuotaExceeded")


def fields() -> geopandas.GeoDataFrame:
    shapes = [shapely.box(0, 0, 10, 10), shapely.MultiPolygon([shapely.box(20, 0, 30, 10)]), None]
    return geopandas.GeoDataFrame({"crop": [1.5, 2.0, 3.0], "geometry": shapes}, crs="EPSG:3035")


@pytest.mark.parametrize("name", ["fields.gpkg", "fields.parquet", "fields.geojson", "fields.zip"])
def test_geometries_of_every_format_become_a_vector_cube(server: Server, tmp_path: Path, name: str):
    table = fields()
    form = {
        "gpkg": "GPKG", "parquet": "GeoParquet", "geojson": "GeoJSON", "zip": "ESRI Shapefile"
    }[name.partition(".")[2]]  # fmt: skip
    if name.endswith("zip"):
        table.to_file(tmp_path / "fields.shp")
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for part in sorted(tmp_path.glob("fields.*")):
                if part.suffix != ".zip":
                    archive.write(part, f"inside/{part.name}")
    elif name.endswith("parquet"):
        table.to_parquet(tmp_path / name)
    else:
        table.to_file(tmp_path / name)
    server.put(name, (tmp_path / name).read_bytes())

    answer = server.result(uploaded(name, form=form, properties=["crop"]), form="GeoParquet")

    assert answer.status_code == 200, answer.text
    made = geopandas.read_parquet(io.BytesIO(answer.content)).to_crs(3035)
    assert made["crop"].tolist() == table["crop"].tolist()
    assert [shape is None or shape.is_empty for shape in made.geometry] == [False, False, True]
    wanted = [shape.area for shape in table.geometry[:2]]
    np.testing.assert_allclose([shape.area for shape in made.geometry[:2]], wanted, rtol=1e-6)


def test_the_parts_of_a_shapefile_are_one_file(server: Server, tmp_path: Path):
    fields()[:2].to_file(tmp_path / "parts.shp")
    names = sorted(path.name for path in tmp_path.glob("parts.*"))
    for name in names:
        server.put(name, (tmp_path / name).read_bytes())

    answer = server.result(uploaded(*names, form="ESRI Shapefile"), form="GeoJSON")

    assert answer.status_code == 200, answer.text
    assert len(answer.json()["features"]) == len(fields()[:2])


def test_coordinates_stay_to_the_bit(server: Server, tmp_path: Path):
    points = shapely.points(np.random.default_rng(3).uniform(-1e6, 1e6, (200, 2)))
    geopandas.GeoDataFrame(geometry=points, crs="EPSG:3035").to_parquet(tmp_path / "p.parquet")
    server.put("p.parquet", (tmp_path / "p.parquet").read_bytes())

    answer = server.result(uploaded("p.parquet", form="Parquet"), form="GeoParquet")

    made = geopandas.read_parquet(io.BytesIO(answer.content))
    np.testing.assert_array_equal(
        shapely.get_coordinates(made.geometry.values), shapely.get_coordinates(points)
    )


def test_files_of_others_are_not_there(server: Server, tmp_path: Path):
    server.put("mine_20200101.tif", scaled(tmp_path).read_bytes())

    answer = server.result(uploaded("mine_20200101.tif"), who="bob")

    assert (answer.status_code, answer.json()["code"]) == (404, "FileNotFound")


@pytest.mark.parametrize("path", ["./s_20200101.tif", "/s_20200101.tif", "s_20200101.tif"])
def test_a_path_may_begin_at_the_folder_of_the_user(server: Server, tmp_path: Path, path: str):
    server.put("s_20200101.tif", scaled(tmp_path).read_bytes())

    assert server.result(uploaded(path)).status_code == 200


def test_formats_of_uploads_are_listed(server: Server):
    told = server.client.get("/file_formats").json()["input"]

    for name in ("GTiff", "JP2OpenJPEG", "netCDF", "GRIB"):
        assert {"datetime", "bands"} <= told[name]["parameters"].keys()
    assert "crs" in told["ESRI Shapefile"]["parameters"]


def test_an_account_whose_turn_does_not_come_is_asked_to_come_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    image(tmp_path / "turn_20240501.tif")
    server.put("turn_20240501.tif", (tmp_path / "turn_20240501.tif").read_bytes())
    limits = replace(closed_worker.LIMITS, wait_seconds=0.2, workers=2)
    monkeypatch.setattr(closed_worker, "LIMITS", limits)
    load = uploaded("turn_20240501.tif")
    (alice,) = {one.name for one in (server.home / "files").iterdir() if _has(one, "turn_")}
    given = {"name": "a_20240501.tif", "datetime": "", "bands": []}
    files = {"a_20240501.tif": tmp_path / "turn_20240501.tif"}

    with closed_worker.reading(PROGRAM, files, given, owner=alice):
        answer = server.result(load)

    assert (answer.status_code, answer.json()["code"]) == (503, "ServerBusy")
    assert int(answer.headers["retry-after"]) > 1
    assert server.result(load).status_code == 200


def _has(folder: Path, name: str) -> bool:
    return any(path.name.startswith(name) for path in folder.rglob("*"))
