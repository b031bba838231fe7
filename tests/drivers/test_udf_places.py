"""Code of users wherever it may stand, beside what NumPy makes of the same pixels.

Every raster is computed whole, on map tiles and by a batch run, which must not differ.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
import xarray as xr
from tests.drivers.scenes import DATES, grid_of, job_of, load, node, ref

from terrazzo.cube import Cube, Dimension, Kind, all_valid
from terrazzo.drivers.batch import run
from terrazzo.drivers.extract import extract
from terrazzo.drivers.extraction.code import ParcelCode
from terrazzo.drivers.journal import JOURNAL
from terrazzo.drivers.tile import NATIVE, TileLayer
from terrazzo.engine import evaluate
from terrazzo.errors import UdfFailed
from terrazzo.processes.udf import run_udf
from terrazzo.sandbox import Sandbox
from terrazzo.spans import recorded
from terrazzo.testing.compare import assert_same_pixels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.drivers.scenes import Scenes

T = "2020-05-12T10:30:00Z"


def function(*lines: str) -> str:
    """Return an `apply_datacube` of these lines."""
    body = "".join(f"    {line}\n" for line in lines)
    return f"import numpy as np\n\ndef apply_datacube(cube, context):\n{body}"


def callback(code: str, data: str = "data", **more: Any) -> dict[str, Any]:
    arguments = {"data": {"from_parameter": data}, "udf": code, "runtime": "Python", **more}
    return {"process_graph": {"udf": node("run_udf", True, **arguments)}}


def everywhere(scenes: Scenes, folder: Path, nodes: Mapping[str, Any]) -> Cube:
    """Return a raster: whole, after it was found the same on tiles and in a file of a run."""
    saved = node("save_result", True, data=ref("it"), format="NetCDF", options={})
    job = job_of({**nodes, "save": saved})
    layer = TileLayer(job.infer(scenes.workspace), tile=128)
    plan = job.plan(layer.inference)
    whole = evaluate(plan, plan.window)
    _, zoom = layer.zooms(NATIVE)
    last = (min(2, (plan.window.col_stop - 1) // 128), min(1, (plan.window.row_stop - 1) // 128))
    for x, y in ((0, 0), last):
        tile = layer.cube(NATIVE, zoom, x, y)
        assert tile is not None
        assert tile.window is not None
        inside = tile.window.intersection(plan.window)
        assert_same_pixels(tile.crop(inside), whole.crop(inside))
    (asset,) = run(job, scenes.workspace, folder, block=290).assets
    with xr.open_dataset(asset.path, mask_and_scale=True) as file:
        bands = [file[name].to_numpy() for name in file.data_vars if "y" in file[name].dims]
    written = np.stack(bands, axis=-3).reshape(whole.values.shape)
    np.testing.assert_array_equal(np.isnan(written), ~whole.valid)
    np.testing.assert_array_equal(written[whole.valid], whole.values[whole.valid])
    return whole


def of_scenes(
    scenes: Scenes, folder: Path, bands: list[str], process_id: str, /, **arguments: Any
) -> Cube:
    """Compute one process on the collection."""
    it = node(process_id, data=ref("load"), **arguments)
    return everywhere(scenes, folder, {"load": load(bands), "it": it})


def numbers(scenes: Scenes, *bands: str) -> np.ndarray:
    """Return (t, band, y, x) as code gets it."""
    stacks = [scenes.stack(band) for band in bands]
    return np.stack([np.where(ok, values, np.nan) for values, ok in stacks], axis=1).astype("f4")


def assert_numbers(cube: Cube, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(cube.valid, ~np.isnan(expected))
    np.testing.assert_array_equal(cube.values[cube.valid], expected[~np.isnan(expected)])


def test_apply(scenes: Scenes, tmp_path: Path) -> None:
    code = function("return np.sqrt(cube) * context['factor']")

    found = of_scenes(
        scenes,
        tmp_path,
        ["B04", "B08"],
        "apply",
        process=callback(code, "x", context={"factor": 2}),
    )

    with np.errstate(invalid="ignore"):
        assert_numbers(found, np.sqrt(numbers(scenes, "B04", "B08")) * np.float32(2))


def test_apply_dimension_along_dates(scenes: Scenes, tmp_path: Path) -> None:
    code = function("return cube.diff('t')")

    found = of_scenes(
        scenes, tmp_path, ["B04"], "apply_dimension", dimension="t", process=callback(code)
    )

    assert_numbers(found, np.diff(numbers(scenes, "B04"), axis=0))
    assert found.dimension("t").labels == tuple(f"{date}T10:30:00Z" for date in DATES[1:])


def test_apply_dimension_along_bands_makes_bands_that_it_declares(
    scenes: Scenes, tmp_path: Path
) -> None:
    code = """
from openeo.metadata import CollectionMetadata

def apply_metadata(metadata: CollectionMetadata, context: dict) -> CollectionMetadata:
    return metadata.rename_labels("bands", target=["sum", "difference", "red"])

def apply_datacube(cube, context):
    red, nir = cube.sel(bands="B04", drop=True), cube.sel(bands="B08", drop=True)
    return xarray.concat([nir + red, nir - red, red], dim="bands").transpose(*cube.dims)
"""

    found = of_scenes(
        scenes,
        tmp_path,
        ["B04", "B08"],
        "apply_dimension",
        dimension="bands",
        process=callback(code),
    )

    red, nir = np.moveaxis(numbers(scenes, "B04", "B08"), 1, 0)
    assert found.dimension("bands").labels == ("sum", "difference", "red")
    assert_numbers(found, np.stack([nir + red, nir - red, red], axis=1))


@pytest.mark.parametrize(
    "code",
    [
        "img = (band1 - band0) / (band1 + band0)\n",
        "img = (B08 - B04) / (B08 + B04)\n",
        function(
            "red, nir = (cube.sel(bands=b, drop=True) for b in ('B04', 'B08'))",
            "return (nir - red) / (nir + red)",
        ),
    ],
)
def test_reduce_dimension_of_bands(scenes: Scenes, tmp_path: Path, code: str) -> None:
    found = of_scenes(
        scenes,
        tmp_path,
        ["B04", "B08"],
        "reduce_dimension",
        dimension="bands",
        reducer=callback(code),
    )

    red, nir = np.moveaxis(numbers(scenes, "B04", "B08"), 1, 0)
    assert_numbers(found, (nir - red) / (nir + red))


def test_reduce_dimension_of_dates(scenes: Scenes, tmp_path: Path) -> None:
    code = function("return cube.max('t', skipna=True)")

    found = of_scenes(
        scenes, tmp_path, ["B04"], "reduce_dimension", dimension="t", reducer=callback(code)
    )

    assert_numbers(found, np.fmax.reduce(numbers(scenes, "B04"), axis=0))


def test_apply_neighborhood_with_its_halo(scenes: Scenes, tmp_path: Path) -> None:
    code = """
import scipy.ndimage

def apply_datacube(cube, context):
    assert cube.sizes["y"] == 68 and cube.sizes["x"] == 68, cube.shape
    filled = cube.fillna(0).values
    return cube.copy(data=scipy.ndimage.maximum_filter(filled, (1, 1, 5, 5), mode="constant"))
"""
    header = (
        "# /// script\n# [tool.terrazzo.result]\n"
        '# dtype = "float32"\n# dimensions = ["t", "bands"]\n# ///\n'
    )

    found = of_scenes(
        scenes,
        tmp_path,
        ["B04"],
        "apply_neighborhood",
        process=callback(header + code),  # a chunk of 8 by 8 would not do: nothing is tried out
        size=[{"dimension": d, "value": 64, "unit": "px"} for d in "xy"],
        overlap=[{"dimension": d, "value": 2, "unit": "px"} for d in "xy"],
    )

    padded = np.pad(np.nan_to_num(numbers(scenes, "B04")), [(0, 0), (0, 0), (2, 2), (2, 2)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(-2, -1))
    assert_numbers(found, windows.max(axis=(-2, -1)))


def test_aggregate_temporal(scenes: Scenes, tmp_path: Path) -> None:
    code = function("return cube.min('t')")

    found = of_scenes(
        scenes,
        tmp_path,
        ["B08"],
        "aggregate_temporal",
        intervals=[["2020-05-01", "2020-08-01"], ["2020-08-01", "2021-01-01"]],
        labels=["early", "late"],
        reducer=callback(code),
    )

    given = numbers(scenes, "B08")
    assert found.dimension("t").labels == ("early", "late")
    assert_numbers(found, np.stack([np.fmin.reduce(given[:2], axis=0), given[2]]))


def test_aggregate_temporal_period(scenes: Scenes, tmp_path: Path) -> None:
    code = function("return cube.max('t') - cube.min('t')")

    found = of_scenes(
        scenes,
        tmp_path,
        ["B08"],
        "aggregate_temporal_period",
        period="year",
        reducer=callback(code),
    )

    given = numbers(scenes, "B08")
    first = np.fmax.reduce(given[:3], axis=0) - np.fmin.reduce(given[:3], axis=0)
    assert_numbers(found, np.stack([first, given[3] - given[3]]))


def test_aggregate_spatial_window(scenes: Scenes, tmp_path: Path) -> None:
    code = function(
        "assert set(cube.dims) == {'t', 'bands', 'data', 'y', 'x'}, cube.dims",
        "assert list(cube.bands.values) == ['B04']",
        "return cube.max('data') - cube.min('data')",
    )

    found = of_scenes(
        scenes, tmp_path, ["B04"], "aggregate_spatial_window", size=[7, 4], reducer=callback(code)
    )

    cut = numbers(scenes, "B04").reshape(4, 1, 150, 4, 100, 7)
    lowest, highest = (f.reduce(f.reduce(cut, axis=5), axis=3) for f in (np.fmin, np.fmax))
    assert_numbers(found, highest - lowest)


def squares() -> tuple[dict[str, Any], list[tuple[slice, slice]]]:
    """Return three squares of pixels as GeoJSON, and which pixels they are."""
    grid = grid_of()
    spans = [(slice(150, 200), slice(300, 350)), (slice(0, 30), slice(0, 30))]
    spans += [(slice(290, 320), slice(340, 390))]
    features = []
    for number, (rows, cols) in enumerate(spans):
        left, top = grid.left + cols.start * 10, grid.top - rows.start * 10
        right, bottom = grid.left + cols.stop * 10, grid.top - rows.stop * 10
        features.append(
            {
                "type": "Feature",
                "id": f"field {number}",
                "geometry": shapely.geometry.mapping(shapely.box(left, bottom, right, top)),
                "properties": {"crop": "wheat", "hectares": number + 0.5},
            }
        )
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    return {"type": "FeatureCollection", "features": features, "crs": crs}, spans


def test_apply_polygon_gets_the_pixels_of_one_polygon(scenes: Scenes, tmp_path: Path) -> None:
    code = function("return cube - cube.mean(('y', 'x'))")

    found = of_scenes(
        scenes,
        tmp_path,
        ["B04"],
        "apply_polygon",
        geometries={**squares()[0], "features": squares()[0]["features"][::2]},
        process=callback(code),
    )

    given = numbers(scenes, "B04")
    expected = np.full_like(given, np.nan)
    for rows, cols in squares()[1][::2]:
        inside = given[:, :, rows, cols]
        expected[:, :, rows, cols] = inside - np.nanmean(inside, axis=(2, 3), keepdims=True)
    np.testing.assert_array_equal(found.valid, ~np.isnan(expected))
    np.testing.assert_allclose(found.values[found.valid], expected[found.valid], atol=0.01)


def table(scenes: Scenes, folder: Path, nodes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Run a graph whose node `it` gives a vector cube; return its rows."""
    options = {"layout": "long"}
    saved = node("save_result", True, data=ref("it"), format="JSON", options=options)
    (asset,) = run(job_of({**nodes, "save": saved}), scenes.workspace, folder, block=256).assets
    found: list[dict[str, Any]] = json.loads(asset.path.read_text())
    return found


def columns(scenes: Scenes, *bands: str) -> list[np.ndarray]:
    """Return (t, band, pixel) of each square."""
    given = numbers(scenes, *bands)
    return [given[:, :, rows, cols].reshape(*given.shape[:2], -1) for rows, cols in squares()[1]]


def means(data: str) -> dict[str, Any]:
    mean = node("mean", True, data={"from_parameter": "data"})
    return node(
        "aggregate_spatial",
        data=ref(data),
        geometries=squares()[0],
        reducer={"process_graph": {"mean": mean}},
    )


def mean_of(scenes: Scenes, *bands: str) -> np.ndarray:
    """Return (square, t, band) means as `aggregate_spatial` has them, exactly rounded once."""
    found = [np.nanmean(one.astype(np.float64), axis=-1) for one in columns(scenes, *bands)]
    return np.stack(found).astype(np.float32)


def test_aggregate_spatial_knows_dates_and_bands(scenes: Scenes, tmp_path: Path) -> None:
    code = function(
        "assert cube.dims == ('t', 'bands', 'data'), cube.dims",
        "assert list(cube.bands.values) == ['B04', 'B08']",
        f"assert cube.t.values[0] == np.datetime64({T[:-1]!r})",
        "return cube.max('data') - cube.min('data')",
    )
    it = node(
        "aggregate_spatial", data=ref("load"), geometries=squares()[0], reducer=callback(code)
    )

    rows = table(scenes, tmp_path, {"load": load(["B04", "B08"]), "it": it})

    expected = [
        np.nanmax(one, axis=-1) - np.nanmin(one, axis=-1) for one in columns(scenes, "B04", "B08")
    ]
    assert [row["value"] for row in rows] == np.stack(expected).ravel().tolist()
    assert [row["id"] for row in rows[::8]] == ["field 0", "field 1", "field 2"]


def test_series_of_polygons_are_computed_one_by_one(scenes: Scenes, tmp_path: Path) -> None:
    code = """
import pandas as pd

def apply_timeseries(series: pd.Series, context: dict) -> pd.Series:
    assert str(series.index[0]) == "2020-05-12 10:30:00"
    return series.rolling(2, min_periods=1).max()
"""
    it = node("apply_dimension", data=ref("means"), dimension="t", process=callback(code))

    rows = table(scenes, tmp_path, {"load": load(["B04", "B08"]), "means": means("load"), "it": it})

    given = mean_of(scenes, "B04", "B08")
    expected = given.copy()
    expected[:, 1:] = np.maximum(given[:, 1:], given[:, :-1])
    np.testing.assert_allclose([row["value"] for row in rows], expected.ravel(), rtol=1e-6)


def test_code_in_a_callback_must_keep_all_geometries(scenes: Scenes, tmp_path: Path) -> None:
    code = function("return cube.isel(geometry=slice(1))")
    it = node("apply_dimension", data=ref("means"), dimension="t", process=callback(code))

    with pytest.raises(UdfFailed, match="along 'geometry', and here it must keep the 3"):
        table(scenes, tmp_path, {"load": load(["B08"]), "means": means("load"), "it": it})


def test_code_in_a_callback_takes_any_number_of_geometries() -> None:
    count = 150_000
    dimensions = (
        Dimension("geometry", Kind.GEOMETRY, tuple(range(count))),
        Dimension("t", Kind.TEMPORAL, ("2020-01-01", "2021-01-01")),
    )
    values = np.arange(2 * count, dtype=np.float64).reshape(count, 2)
    cube = Cube(values, all_valid(values.shape), dimensions)

    found = run_udf(cube.stack("t"), function("return cube.sum('t')"), "Python", sandbox=Sandbox())

    np.testing.assert_array_equal(found.values, values.sum(axis=1))


VECTORS = {
    "apply_vectorcube": """
import geopandas as gpd
import xarray

def apply_vectorcube(
    geometries: gpd.geodataframe.GeoDataFrame, cube: xarray.DataArray, context: dict
) -> (gpd.geodataframe.GeoDataFrame, xarray.DataArray):
    assert list(geometries.columns) == ["crop", "hectares", "geometry"], geometries
    assert list(cube.geometry.values) == list(geometries.index) == [0, 1, 2]
    assert geometries.crs.to_epsg() == 32633
    hectares = xarray.DataArray(
        geometries.area / 10_000, dims="geometry", coords={"geometry": cube.geometry}
    )
    return geometries, cube * context["factor"] * hectares
""",
    "UdfData": """
from openeo.udf import UdfData, XarrayDataCube, StructuredData, inspect

def transform(data: UdfData):
    [cube], [features] = data.get_datacube_list(), data.get_feature_collection_list()
    hectares = (features.data.area / 10_000).to_numpy()[:, None, None]
    made = cube.get_array() * data.user_context["factor"] * hectares
    data.set_datacube_list([XarrayDataCube(made)])
""",
}


@pytest.mark.parametrize("form", VECTORS)
def test_run_udf_on_a_vector_cube_sees_geometries(
    scenes: Scenes, tmp_path: Path, form: str
) -> None:
    it = node(
        "run_udf", data=ref("means"), udf=VECTORS[form], runtime="Python", context={"factor": 2}
    )

    rows = table(scenes, tmp_path, {"load": load(["B04", "B08"]), "means": means("load"), "it": it})

    hectares = [(r.stop - r.start) * (c.stop - c.start) / 100 for r, c in squares()[1]]
    expected = mean_of(scenes, "B04", "B08") * 2 * np.array(hectares)[:, None, None]
    np.testing.assert_allclose([row["value"] for row in rows], expected.ravel(), rtol=1e-6)
    assert [row["id"] for row in rows[::8]] == ["field 0", "field 1", "field 2"]


def test_code_may_keep_some_geometries_and_make_new_dimensions(
    scenes: Scenes, tmp_path: Path
) -> None:
    code = """
def apply_vectorcube(geometries, cube, context):
    kept = geometries[geometries.hectares > 1]
    cube = cube.sel(geometry=kept.index)
    dates = [cube.idxmax("t", skipna=True).dt.dayofyear, cube.max("t").astype("float64")]
    return kept, xarray.concat(dates, "measure").assign_coords(measure=["day", "most"])
"""
    it = node("run_udf", data=ref("means"), udf=code, runtime="Python")

    rows = table(scenes, tmp_path, {"load": load(["B08"]), "means": means("load"), "it": it})

    given = mean_of(scenes, "B08")[1:, :, 0]
    days = np.array([np.datetime64(date, "D") for date in DATES])
    day = (days - days.astype("M8[Y]")).astype(int) + 1
    expected = {
        (f"field {n + 1}", measure): value
        for n, series in enumerate(given)
        for measure, value in (("day", day[np.nanargmax(series)]), ("most", np.nanmax(series)))
    }
    found = {(row["id"], row["measure"]): row["value"] for row in rows}
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[key] for key in expected], list(expected.values()), rtol=1e-6)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return geometries.buffer(1), cube", "must return the geometries that it gets"),
        ("geometries['a'] = 1\n    return geometries, cube", "must return the geometries"),
        ("return geometries.iloc[:1], cube", "must return the geometries that it gets"),
        ("return geometries, 5", "must return its geometries and an xarray.DataArray"),
    ],
)
def test_geometries_stay_as_they_are(scenes: Scenes, tmp_path: Path, body: str, words: str) -> None:
    code = f"def apply_vectorcube(geometries, cube, context):\n    {body}\n"
    it = node("run_udf", data=ref("means"), udf=code, runtime="Python")

    with pytest.raises(UdfFailed, match=words):
        table(scenes, tmp_path, {"load": load(["B08"]), "means": means("load"), "it": it})


def test_vector_form_needs_geometries(scenes: Scenes) -> None:
    code = "def apply_vectorcube(geometries, cube, context):\n    return geometries, cube\n"
    it = node("run_udf", True, data=ref("load"), udf=code, runtime="Python")

    with pytest.raises(UdfFailed, match="needs a vector cube"):
        job_of({"load": load(["B08"]), "it": it}).infer(scenes.workspace)


def test_code_is_not_run_on_what_is_not_known_yet(scenes: Scenes, tmp_path: Path) -> None:
    code = """
import numpy as np

def apply_datacube(cube, context):
    print("called", cube.shape)
    assert np.isfinite(cube.values).any(), "nothing is there yet"
    return cube * 2
"""
    it = node("run_udf", data=ref("means"), udf=code, runtime="Python")
    graph = {"load": load(["B08"]), "means": means("load"), "it": it}

    rows = table(scenes, tmp_path, graph)

    expected = mean_of(scenes, "B08") * 2
    np.testing.assert_allclose([row["value"] for row in rows], expected.ravel(), rtol=1e-6)


def extracted(
    scenes: Scenes, folder: Path, nodes: dict[str, Any], code: str, **context: Any
) -> list[dict[str, Any]]:
    path = folder / "fields.geojson"
    folder.mkdir(parents=True, exist_ok=True)
    fields = squares()[0]
    for feature in fields["features"]:
        feature["properties"]["name"] = feature["id"]
    path.write_text(json.dumps(fields))
    made = extract(
        job_of(nodes),
        scenes.workspace,
        path,
        folder,
        code=ParcelCode(code, context),
        id_column="name",
        block=256,
    )
    found: list[dict[str, Any]] = pq.read_table(made.table).to_pylist()
    assert made.rows == len(found)
    return found


def test_extraction_by_code_is_aggregate_spatial_by_it(scenes: Scenes, tmp_path: Path) -> None:
    code = function(
        "spread = cube.max('data') - cube.min('data')",
        "return spread.astype('float64') * context['factor']",
    )
    loaded = load(["B04", "B08"])
    it = node(
        "aggregate_spatial",
        data=ref("load"),
        geometries=squares()[0],
        reducer=callback(code, context={"factor": 3}),
    )
    aggregated = table(scenes, tmp_path / "a", {"load": loaded, "it": it})

    rows = extracted(scenes, tmp_path / "b", {"load": {**loaded, "result": True}}, code, factor=3)

    names = ("id", "t", "bands", "value")
    for row in aggregated:
        row["t"] = datetime.fromisoformat(row["t"])
    assert [[row[n] for n in names] for row in rows] == [[r[n] for n in names] for r in aggregated]
    first = columns(scenes, "B04", "B08")[0].astype(np.float64)
    assert rows[0]["value"] == 3 * (first[0, 0].max() - first[0, 0].min())


def test_code_may_make_new_columns_of_the_series_of_a_polygon(
    scenes: Scenes, tmp_path: Path
) -> None:
    code = """
import numpy as np
import xarray

def apply_datacube(cube, context):
    series = cube.sel(bands="B08", drop=True).mean("data")
    first = series.dropna("t")[:1].sum()
    values = [float(series.max()), float(series.isnull().sum())]
    return xarray.DataArray(values, dims="measure", coords={"measure": ["most", "gaps"]})
"""

    rows = extracted(scenes, tmp_path, {"load": {**load(["B08"]), "result": True}}, code)

    means = mean_of(scenes, "B08")[:, :, 0]
    assert [(row["id"], row["measure"]) for row in rows] == [
        (f"field {number}", measure) for number in range(3) for measure in ("most", "gaps")
    ]
    expected = np.stack([np.nanmax(means, axis=1), np.isnan(means).sum(axis=1)], axis=1)
    np.testing.assert_allclose([row["value"] for row in rows], expected.ravel(), rtol=1e-5)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (function("return cube * 2"), r"must reduce the pixels.*`data`|along 'data'"),
        (function("return 1 / 0"), "ZeroDivisionError"),
        ("x = 1\n", "Define one of them"),
    ],
)
def test_extraction_refuses_code_before_it_reads_a_pixel(
    scenes: Scenes, tmp_path: Path, code: str, words: str
) -> None:
    with recorded() as counted, pytest.raises(UdfFailed, match=words):
        extracted(scenes, tmp_path, {"load": {**load(["B08"]), "result": True}}, code)

    assert counted.counts.get("bytes_decoded", 0) == 0


def test_extraction_tells_what_code_prints(scenes: Scenes, tmp_path: Path) -> None:
    code = function("print('a field')", "return cube.mean('data')")

    extracted(scenes, tmp_path, {"load": {**load(["B08"]), "result": True}}, code)

    told = [json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines()]
    assert [entry["message"] for entry in told] == ["a field"] * 3
