"""A cloud detector of ratios and thresholds, as users write it, on a real Sentinel-2 scene.

The same pixels come on map tiles, from a batch run and under polygons, and they are NumPy's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from exactextract import exact_extract
from tests.drivers.scenes import job_of, load, node, ref

from terrazzo.drivers.batch import run
from terrazzo.drivers.extract import extract
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace
from terrazzo.drivers.tile import MERCATOR, NATIVE, TileLayer
from terrazzo.sandbox import Axis, Block, Sandbox

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXAMPLES = Path(__file__).parents[2] / "examples"
FORMS = {form: (EXAMPLES / f"{form}.py").read_text() for form in ("clouds", "clouds_datacube")}
BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")


def expected(bands: NDArray[Any]) -> NDArray[np.float32]:
    """Return the classes of (band, ...) numbers of ten thousandths, pixel by pixel, in float32."""
    blue, green, red, nir, swir1, swir2 = bands.astype(np.float32) / np.float32(10000)
    with np.errstate(all="ignore"):
        mean = (blue + green + red) / np.float32(3)
        away = sum(np.abs(band - mean) for band in (blue, green, red)) / mean
        likely = swir2 > np.float32(0.03)
        likely &= (green - swir1) / (green + swir1) < np.float32(0.8)
        likely &= (nir - red) / (nir + red) < np.float32(0.8)
        likely &= away < np.float32(0.7)
        likely &= blue - np.float32(0.5) * red > np.float32(0.08)
        likely &= nir / swir1 > np.float32(0.75)
        cloud = likely & (mean > np.float32(0.25)) & (away < np.float32(0.25))
    classes = likely.astype(np.float32) + cloud
    return np.where(np.isnan(bands).any(axis=0), np.float32(np.nan), classes)


@pytest.mark.parametrize("form", FORMS)
def test_classes_are_those_of_numpy(form: str) -> None:
    random = np.random.default_rng(5)
    bands = random.integers(0, 6000, (6, 60, 70)).astype(np.float32)
    bands[:, :20] = (bands[:1, :20] * 0.2 + 4000) * random.uniform(0.9, 1.1, (6, 20, 70))
    bands[:, 5, :9] = np.nan
    axes = (Axis("bands", "bands", BANDS), Axis("y", "spatial"), Axis("x", "spatial"))

    found = Sandbox().run(FORMS[form], Block(bands, axes), {})

    np.testing.assert_array_equal(found.values, expected(bands))
    assert set(np.unique(found.values[~np.isnan(found.values)])) == {0, 1, 2}
    assert found.values.dtype == np.float32


@pytest.fixture(scope="module")
def scene(shared: Path) -> Path:
    (found,) = (shared / "data" / "eodal_zurich_s2_parcels").glob("*.tiff")
    return found


@pytest.fixture(scope="module")
def workspace(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    home = tmp_path_factory.mktemp("zurich")
    ingest([scene], "zurich", Workspace.of(home), options=IngestOptions(license="other"))
    return Workspace.of(home)


@pytest.fixture(scope="module")
def classes(scene: Path) -> NDArray[np.float32]:
    """Return (y, x) classes that NumPy computes of the pixels that rasterio reads."""
    with rasterio.open(scene) as file:
        numbers = [file.descriptions.index(band) + 1 for band in BANDS]
        return expected(file.read(numbers).astype(np.float32))


def nodes(form: str, *, last: bool = True) -> dict[str, Any]:
    call = node("run_udf", True, data={"from_parameter": "data"}, udf=FORMS[form], runtime="Python")
    reducer = {"process_graph": {"clouds": call}}
    return {
        "load": load(list(BANDS), collection="zurich"),
        "clouds": node(
            "reduce_dimension", last, data=ref("load"), dimension="bands", reducer=reducer
        ),
    }


@pytest.mark.parametrize("form", FORMS)
def test_batch_has_the_classes_of_numpy(
    workspace: Workspace, classes: NDArray[np.float32], tmp_path: Path, form: str
) -> None:
    saved = node("save_result", True, data=ref("clouds"), format="GTiff", options={})

    (asset,) = run(
        job_of({**nodes(form, last=False), "save": saved}), workspace, tmp_path, block=400
    ).assets

    with rasterio.open(asset.path) as file:
        np.testing.assert_array_equal(file.read(1), classes)
    assert {0, 1, 2} == set(np.unique(classes))


@pytest.mark.parametrize("form", FORMS)
def test_every_tile_has_the_classes_of_numpy(
    workspace: Workspace, classes: NDArray[np.float32], form: str
) -> None:
    layer = TileLayer(job_of(nodes(form)).infer(workspace))
    _, zoom = layer.zooms(NATIVE)
    found = np.full((1280, 1280), np.nan, np.float32)

    for y in range(5):
        for x in range(5):
            tile = layer.cube(NATIVE, zoom, x, y)
            assert tile is not None
            pixels = np.where(tile.valid[0], tile.values[0], np.nan)
            found[256 * y : 256 * y + 256, 256 * x : 256 * x + 256] = pixels

    height, width = classes.shape
    np.testing.assert_array_equal(found[:height, :width], classes)
    assert np.isnan(found[height:]).all()


def test_tile_of_the_map_has_the_classes_of_the_pixels_that_it_shows(workspace: Workspace) -> None:
    everything = load(list(BANDS), collection="zurich") | {"result": True}
    raw = TileLayer(job_of({"load": everything}).infer(workspace))
    layer = TileLayer(job_of(nodes("clouds")).infer(workspace))
    west, south, east, north = layer.bounds("EPSG:3857")
    _, zoom = layer.zooms(MERCATOR)
    edge = 2 * 20037508.342789244 / 2**zoom
    x = int(((west + east) / 2 + 20037508.342789244) / edge)
    y = int((20037508.342789244 - (south + north) / 2) / edge)

    tile, given = layer.cube(MERCATOR, zoom, x, y), raw.cube(MERCATOR, zoom, x, y)

    assert tile is not None
    assert given is not None
    wanted = expected(np.where(given.valid[0], given.values[0], np.nan).astype(np.float32))
    np.testing.assert_array_equal(np.where(tile.valid[0], tile.values[0], np.nan), wanted)
    assert len(np.unique(wanted)) == 3


@pytest.mark.parametrize("form", FORMS)
def test_parcels_have_the_classes_of_numpy(
    scene: Path, workspace: Workspace, classes: NDArray[np.float32], tmp_path: Path, form: str
) -> None:
    parcels = scene.parent / "ZH_Polygons_2020_ESCH_EPSG32632.shp"
    points = tmp_path / "points.geojson"
    rows, cols = np.random.default_rng(2).integers(0, 1100, (2, 300))
    with rasterio.open(scene) as file:
        profile, transform = file.profile, file.transform
    centres = [transform @ (col + 0.5, row + 0.5) for row, col in zip(rows, cols, strict=True)]
    gpd.GeoDataFrame(geometry=shapely.points(centres), crs=profile["crs"]).to_file(points)
    job, made = job_of(nodes(form)), tmp_path / "numpy.tif"
    with rasterio.open(made, "w", **(profile | {"count": 1, "dtype": "float32"})) as file:
        file.write(classes, 1)

    each = extract(job, workspace, points, tmp_path / "points", statistics=("max",), block=256)
    fields = extract(job, workspace, parcels, tmp_path / "fields", statistics=("mean", "max"))

    pixels = pq.read_table(each.table).to_pandas()
    np.testing.assert_array_equal(pixels["max"], classes[rows, cols])
    table = pq.read_table(fields.table).to_pandas()
    frame = gpd.read_file(parcels)
    frame["geometry"] = frame.make_valid()
    other = exact_extract(str(made), frame, ["mean", "max"], output="pandas")
    np.testing.assert_array_equal(table["max"], other["max"])
    np.testing.assert_allclose(table["mean"], other["mean"], rtol=0, atol=1e-6)
    assert (table["mean"] > 1).any()


def test_the_page_shows_the_code_of_the_example() -> None:
    page = (EXAMPLES.parent / "docs" / "udf.md").read_text()

    assert FORMS["clouds"] in page
