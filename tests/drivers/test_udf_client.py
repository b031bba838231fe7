"""UDFs as the official client sends them: its `UDF` objects, its signatures, unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import openeo
import pytest
import shapely
import xarray as xr
from openeo.internal.graph_building import PGNode
from openeo.internal.warnings import UserDeprecationWarning
from openeo.metadata import Band, BandDimension, CubeMetadata, SpatialDimension, TemporalDimension
from openeo.rest.datacube import DataCube
from openeo.udf import FeatureCollection, UdfData, XarrayDataCube, execute_local_udf, run_udf_code
from tests.drivers.scenes import COLLECTION, job_of

from terrazzo.drivers.pool import Pool
from terrazzo.drivers.stages import Means, settled
from terrazzo.engine import evaluate
from terrazzo.progress import Progress
from terrazzo.testing.compare import assert_same_pixels

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes

    from terrazzo.cube import Cube

METADATA = CubeMetadata(
    [
        TemporalDimension("t", ["2020-01-01", "2022-01-01"]),
        BandDimension("bands", [Band("B04"), Band("B08")]),
        SpatialDimension("y", [0, 1]),
        SpatialDimension("x", [0, 1]),
    ]
)
LOAD = PGNode(
    "load_collection",
    id=COLLECTION,
    spatial_extent=None,
    temporal_extent=None,
    bands=["B04", "B08"],
)
RESCALE = """
import xarray

def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:
    return cube * context.get("factor", 2)
"""


@pytest.fixture
def cube() -> DataCube:
    return DataCube(LOAD, connection=None, metadata=METADATA)


def run(scenes: Scenes, graph: dict[str, Any], edge: int = 40) -> Cube:
    """Compute the first pixels of what the client would send."""
    job = job_of(graph)
    plan = job.plan(job.infer(scenes.workspace))
    return evaluate(plan, next(iter(plan.window.blocks(edge))))


def given(scenes: Scenes, edge: int = 40) -> Cube:
    return run(scenes, DataCube(LOAD, connection=None, metadata=METADATA).flat_graph(), edge)


def numbers(made: Cube) -> np.ndarray:
    return np.where(made.valid, made.values, np.nan).astype(np.float32)


def assert_numbers(made: Cube, expected: np.ndarray) -> None:
    np.testing.assert_allclose(numbers(made), expected.astype(np.float32), rtol=1e-5, atol=1e-3)


def as_array(made: Cube) -> xr.DataArray:
    """Return pixels as the client's own functions want them."""
    labels = {d.name: list(d.labels) for d in made.dimensions if d.labels}
    labels["t"] = np.array([label.rstrip("Z") for label in labels["t"]], "M8[ns]")
    return xr.DataArray(numbers(made), dims=made.names, coords=labels)


def test_callbacks_of_every_kind(scenes: Scenes, cube: DataCube) -> None:
    before = numbers(given(scenes))
    largest = openeo.UDF("def apply_datacube(cube, context):\n    return cube.max('t')\n")
    first = openeo.UDF(
        "def apply_datacube(cube, context):\n    return cube.isel(bands=0, drop=True)\n"
    )
    chunk = [{"dimension": d, "value": 20, "unit": "px"} for d in "xy"]
    made = {
        "apply": cube.apply(openeo.UDF(RESCALE)),
        "apply_dimension": cube.apply_dimension(openeo.UDF(RESCALE), dimension="t"),
        "apply_neighborhood": cube.apply_neighborhood(openeo.UDF(RESCALE), size=chunk, overlap=[]),
    }
    for sent in made.values():
        assert_numbers(run(scenes, sent.flat_graph()), before * 2)

    reduced = [cube.reduce_dimension("t", largest), cube.reduce_temporal(largest)]
    for sent in reduced:
        assert_numbers(run(scenes, sent.flat_graph()), np.fmax.reduce(before, axis=0))
    assert_numbers(run(scenes, cube.reduce_bands(first).flat_graph()), before[:, 0])
    yearly = cube.aggregate_temporal_period("year", largest)
    in_years = np.stack([np.fmax.reduce(before[:3], axis=0), before[3]])
    assert_numbers(run(scenes, yearly.flat_graph()), in_years)


def test_runtime_version_and_context_are_taken(scenes: Scenes, cube: DataCube) -> None:
    udf = openeo.UDF(RESCALE, runtime="Python", version="3", context={"factor": 3})

    graph = cube.apply(udf).flat_graph()

    assert_numbers(run(scenes, graph), numbers(given(scenes)) * 3)
    arguments = graph["apply1"]["arguments"]["process"]["process_graph"]["runudf1"]["arguments"]
    assert arguments["version"] == "3"
    assert arguments["context"] == {"factor": 3}


def test_code_of_a_file(scenes: Scenes, cube: DataCube, tmp_path: Path) -> None:
    path = tmp_path / "rescale.py"
    path.write_text(RESCALE)
    plain = tmp_path / "plain.py"
    plain.write_text("img = band1 - band0\n")

    assert_numbers(
        run(scenes, cube.apply(openeo.UDF.from_file(path)).flat_graph()), numbers(given(scenes)) * 2
    )
    sent = cube.reduce_bands(openeo.UDF.from_file(str(plain))).flat_graph()
    before = numbers(given(scenes))
    assert_numbers(run(scenes, sent), before[:, 1] - before[:, 0])


def test_data_of_a_parameter(scenes: Scenes, cube: DataCube) -> None:
    arguments = {"data": {"from_parameter": "x"}, "udf": RESCALE, "runtime": "Python"}
    with pytest.warns(UserDeprecationWarning, match="`data` argument"):
        old = openeo.UDF(RESCALE, data={"from_parameter": "x"})
    sent = [
        cube.apply(PGNode("run_udf", arguments)),
        cube.apply(lambda x: x.process("run_udf", data=x, udf=RESCALE, runtime="Python")),
        cube.apply(old),
    ]

    for one in sent:
        assert_numbers(run(scenes, one.flat_graph()), numbers(given(scenes)) * 2)


def test_indented_code_is_dedented_by_the_client(scenes: Scenes, cube: DataCube) -> None:
    udf = openeo.UDF("""
        import xarray
        def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:
            return cube + 1
    """)

    assert_numbers(run(scenes, cube.apply(udf).flat_graph()), numbers(given(scenes)) + 1)


SIGNATURES = {
    "DataArray": """
import xarray

def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:
    return cube.clip(min=500, max=1000) / context["by"]
""",
    "XarrayDataCube": """
from openeo.udf import XarrayDataCube
from openeo.udf.debug import inspect

def apply_datacube(cube: XarrayDataCube, context: dict) -> XarrayDataCube:
    array = cube.get_array()
    inspect(data=array, message="the cube")
    return XarrayDataCube(array.clip(min=500, max=1000) / context["by"])
""",
    "XarrayDataCube, long names": """
import openeo
import openeo.udf.xarraydatacube

def apply_datacube(
    cube: openeo.udf.xarraydatacube.XarrayDataCube, context: dict
) -> openeo.udf.xarraydatacube.XarrayDataCube:
    return openeo.udf.XarrayDataCube(cube.array.clip(min=500, max=1000) / context["by"])
""",
    "Series": """
from pandas import Series

def apply_timeseries(series: Series, context: dict) -> Series:
    return Series(series).interpolate(limit_direction="both") / context["by"]
""",
    "UdfData": """
from openeo.udf import UdfData, XarrayDataCube

def apply_udf_data(data: UdfData):
    cubes = data.datacube_list
    data.set_datacube_list([XarrayDataCube(c.array / data.user_context["by"]) for c in cubes])
""",
    "UdfData, any name": """
from openeo.udf.udf_data import UdfData
from openeo.udf.xarraydatacube import XarrayDataCube
from openeo.udf.structured_data import StructuredData
from openeo.udf.feature_collection import FeatureCollection

def hand_made(udf_data: UdfData) -> UdfData:
    [cube] = udf_data.get_datacube_list()
    assert udf_data.get_feature_collection_list() is None
    assert udf_data.get_structured_data_list() is None
    udf_data.datacube_list = [XarrayDataCube(cube.array / udf_data.user_context["by"])]
    return udf_data
""",
    "metadata": """
import xarray
from openeo.metadata import CollectionMetadata

def apply_metadata(metadata: CollectionMetadata, context: dict) -> CollectionMetadata:
    return metadata.rename_labels(
        dimension="bands",
        target=["computed_band_1", "computed_band_2"]
    )

def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:
    labels = ["computed_band_1", "computed_band_2"]
    return (cube / context["by"]).assign_coords(bands=labels)
""",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_give_what_the_client_computes_with_them(
    scenes: Scenes, cube: DataCube, name: str
) -> None:
    udf = openeo.UDF(SIGNATURES[name], context={"by": 7})
    edge = 12

    sent = cube.process(
        "run_udf", data=cube, udf=udf.code, runtime=udf.get_runtime(), context=udf.context
    )
    found = run(scenes, sent.flat_graph(), edge)

    before = as_array(given(scenes, edge))
    data = UdfData(datacube_list=[XarrayDataCube(before)], user_context={"by": 7})
    expected = run_udf_code(SIGNATURES[name], data).get_datacube_list()[0].array.values
    same = execute_local_udf(udf, before).get_datacube_list()[0].array.values
    np.testing.assert_allclose(same, expected, rtol=1e-6)
    assert_numbers(found, expected)
    if name == "metadata":
        assert found.dimension("bands").labels == ("computed_band_1", "computed_band_2")


def test_vector_cube_of_the_client(scenes: Scenes, cube: DataCube) -> None:
    code = """
import geopandas
import xarray

def apply_vectorcube(
    geometries: geopandas.geodataframe.GeoDataFrame, cube: xarray.DataArray, context: dict
) -> (geopandas.geodataframe.GeoDataFrame, xarray.DataArray):
    area = xarray.DataArray(geometries.area, dims=cube.dims[0]).values
    return geometries, cube * area[:, None, None] / context["by"]
"""
    boxes = [shapely.box(603_000 + n, 5_094_000, 603_500, 5_094_500 + n) for n in (0, 100)]
    shapes = {
        "type": "GeometryCollection",
        "crs": {"type": "name", "properties": {"name": "EPSG:32633"}},
        "geometries": [shapely.geometry.mapping(box) for box in boxes],
    }
    features = [
        {"type": "Feature", "geometry": one, "properties": {}} for one in shapes["geometries"]
    ]
    fields = {"type": "FeatureCollection", "features": features, "crs": shapes["crs"]}
    means = cube.aggregate_spatial(fields, "mean")
    sent = means.run_udf(openeo.UDF(code, context={"by": 100}))

    found, before = _table(scenes, sent.flat_graph()), _table(scenes, means.flat_graph())

    labels = [list(d.labels) for d in before.dimensions]
    array = xr.DataArray(
        numbers(before), dims=before.names, coords=dict(zip(before.names, labels, strict=True))
    )
    data = UdfData(
        datacube_list=[XarrayDataCube(array)],
        feature_collection_list=[FeatureCollection("f", gpd.GeoDataFrame(geometry=boxes))],
        user_context={"by": 100},
    )
    expected = run_udf_code(code, data).get_datacube_list()[0].array.values
    assert_numbers(found, expected)


def _table(scenes: Scenes, graph: dict[str, Any]) -> Cube:
    """Return the vector cube that a graph gives."""
    job = job_of(graph)
    inference = job.infer(scenes.workspace)
    means = Means(256, Pool(), Progress())
    inference, _ = settled(job, inference, (inference.graph.result,), means)
    made: Cube = inference.cube(inference.graph.result).result
    return made


def test_names_of_the_client_are_there_without_it(scenes: Scenes, cube: DataCube) -> None:
    udf = openeo.UDF("""
import openeo
import sys
from openeo.metadata import Band, BandDimension, CollectionMetadata, CubeMetadata
from openeo.udf import (
    FeatureCollection, OpenEoUdfException, StructuredData, UdfData, XarrayDataCube,
    execute_local_udf, inspect, run_udf_code,
)
from openeo.udf.debug import inspect as again

def apply_datacube(cube, context):
    inspect(data=StructuredData([1, 2]).data, message="once")
    assert not hasattr(openeo, "connect")
    try:
        execute_local_udf("", cube)
    except OpenEoUdfException as error:
        return cube * 2
""")

    found = run(scenes, cube.apply(udf).flat_graph())

    assert_same_pixels(found, run(scenes, cube.apply(openeo.UDF(RESCALE)).flat_graph()))
