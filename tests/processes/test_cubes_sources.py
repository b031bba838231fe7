"""Indices, sources, and processes that the engine carries out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import shapely
from tests.processes.cubes import (
    assert_blocks_agree,
    assert_same,
    bands,
    cube,
    evaluate,
    infer,
    mean_of,
    probe,
    time,
)

from terrazzo.cube import Cube, Dimension, Geometries, Kind
from terrazzo.errors import (
    ArgumentInvalid,
    BandExists,
    DimensionAmbiguous,
    NirBandAmbiguous,
    RedBandAmbiguous,
    SpatialExtentEmpty,
    TargetDimensionExists,
    TemporalExtentEmpty,
)
from terrazzo.processes import PROCESSES, Role

BOX = {"west": 11.0, "south": 46.0, "east": 12.0, "north": 47.0}


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int32"])
def test_ndvi_is_the_normalised_difference(dtype: str) -> None:
    data = cube(time(), bands(), dtype=dtype)

    result = assert_blocks_agree("ndvi", data=data)

    wide = np.float64 if dtype in {"float64", "int32"} else np.float32
    red, nir = data.values[:, 0].astype(wide), data.values[:, 1].astype(wide)
    valid = data.valid[:, 0] & data.valid[:, 1]
    assert result.dtype == wide
    assert result.names == ("t", "y", "x")
    np.testing.assert_array_equal(result.valid, valid)
    with np.errstate(invalid="ignore", divide="ignore"):
        np.testing.assert_array_equal(result.values[valid], ((nir - red) / (nir + red))[valid])


def test_ndvi_takes_the_bands_that_are_named() -> None:
    data = cube(bands(("B04", "B08")))

    result = evaluate("ndvi", data=data, nir="B08", red="B04")
    swapped = evaluate("ndvi", data=data, nir="B04", red="B08")

    np.testing.assert_array_equal(result.values[result.valid], -swapped.values[result.valid])


def test_ndvi_can_be_one_band_more() -> None:
    data = cube(time(), bands())

    result = assert_blocks_agree("ndvi", data=data, target_band="ndvi")
    only = evaluate("ndvi", None, {"bands": ["ndvi", "blue"]}, data=data, target_band="ndvi")

    assert result.dimension("bands").labels == ("red", "nir", "blue", "ndvi")
    assert_same(only, result.take("bands", [3, 2]))
    index = PROCESSES["ndvi"].function(data=data)
    np.testing.assert_array_equal(result.valid[:, 3], index.valid)
    np.testing.assert_array_equal(result.values[:, 3][index.valid], index.values[index.valid])


def test_ndvi_of_two_zeros_is_nan_and_valid() -> None:
    data = cube(bands(), invalid=0.0)
    black = data.same_pixels(np.zeros_like(data.values), data.valid)

    result = PROCESSES["ndvi"].function(data=black)

    assert np.isnan(result.values).all()
    assert result.valid.all()


def test_ndvi_reads_two_bands() -> None:
    data = cube(time(), bands(("a", "nir", "b", "red")))
    rule = PROCESSES["ndvi"].rules.labels

    dropped = rule({"t": (0,)}, infer("ndvi", data=data), {"data": data}, {})
    kept = rule({"bands": (0, 4)}, infer("ndvi", data=data, target_band="n"), {"data": data}, {})

    assert dropped["data"] == {"t": (0,), "bands": (1, 3)}
    assert kept["data"] == {"t": (0, 1, 2), "bands": (0, 1, 3)}


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (NirBandAmbiguous, {"nir": "B8"}),
        (RedBandAmbiguous, {"red": "B4"}),
        (BandExists, {"target_band": "red"}),
        (DimensionAmbiguous, {"data": cube(time())}),
        (DimensionAmbiguous, {"data": cube(bands(), bands(name="more"))}),
    ],
)
def test_ndvi_errors(error: type[Exception], changed: dict[str, Any]) -> None:
    with pytest.raises(error):
        infer("ndvi", **({"data": cube(bands())} | changed))


def load(**changed: Any) -> Any:
    arguments = {"id": "S2", "spatial_extent": None, "temporal_extent": None}
    return PROCESSES["load_collection"].function(**(arguments | changed))


def test_load_collection_says_what_is_asked_for() -> None:
    def cloudless(**_: Any) -> bool:
        return True

    request = load(
        spatial_extent=BOX,
        temporal_extent=["2020-01-01", None],
        bands=["B04", "B08", "B04"],
        properties={"eo:cloud_cover": cloudless},
    )

    assert (request.collection, request.url) == ("S2", None)
    assert request.spatial.bounds == (11.0, 46.0, 12.0, 47.0)
    assert request.interval == (datetime(2020, 1, 1, tzinfo=UTC), None)
    assert request.bands == ("B04", "B08")
    assert request.properties == {"eo:cloud_cover": cloudless}


def test_load_collection_without_limits() -> None:
    request = load()

    assert request.spatial is None
    assert request.interval is None
    assert request.bands is None
    assert request.properties == {}


def test_load_collection_takes_a_vector_cube_as_extent() -> None:
    shapes = (shapely.box(10, 45, 11, 46), shapely.box(12, 47, 13, 48))
    vector = Cube(
        np.zeros(2),
        np.ones(2, bool),
        (Dimension("geometry", Kind.GEOMETRY, (0, 1)),),
        geometries=Geometries(shapes, "EPSG:4326", ({}, {})),
    )

    request = load(spatial_extent=vector)

    assert request.spatial.bounds == (10, 45, 13, 48)
    assert request.spatial.polygons.area == 2.0
    with pytest.raises(ArgumentInvalid, match="load_geojson"):
        load(spatial_extent=cube(time()))


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (ArgumentInvalid, {"id": "no such id?"}),
        (SpatialExtentEmpty, {"spatial_extent": {**BOX, "north": 46.0}}),
        (ArgumentInvalid, {"spatial_extent": "everywhere"}),
        (TemporalExtentEmpty, {"temporal_extent": ["2020-01-02", "2020-01-01"]}),
        (ArgumentInvalid, {"temporal_extent": [None, None]}),
        (ArgumentInvalid, {"temporal_extent": ["2020-01-01"]}),
        (ArgumentInvalid, {"temporal_extent": "2020-01-01"}),
        (ArgumentInvalid, {"bands": []}),
        (ArgumentInvalid, {"bands": "B04"}),
    ],
)
def test_load_collection_errors(error: type[Exception], changed: dict[str, Any]) -> None:
    with pytest.raises(error):
        load(**changed)


def test_load_stac_takes_the_same_limits() -> None:
    request = PROCESSES["load_stac"].function(
        url="https://stac.example/item.json", spatial_extent=BOX, temporal_extent=["2020", "2021"]
    )

    assert (request.collection, request.url) == (None, "https://stac.example/item.json")
    assert request.spatial.bounds == (11.0, 46.0, 12.0, 47.0)
    assert request.interval[1] == datetime(2021, 1, 1, tzinfo=UTC)
    with pytest.raises(ArgumentInvalid, match="http"):
        PROCESSES["load_stac"].function(url="file:///etc/passwd")


def test_planned_processes_give_their_cube_back() -> None:
    data = cube(time())

    assert PROCESSES["save_result"].function(data=data, format="GTiff") is data
    assert PROCESSES["resample_spatial"].function(data=data, resolution=[20, 10]) is data
    assert PROCESSES["resample_cube_spatial"].function(data=data, target=cube()) is data
    for name in ("save_result", "resample_spatial", "resample_cube_spatial"):
        assert PROCESSES[name].role is Role.PLANNED


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"resolution": -1},
        {"resolution": [1, 2, 3]},
        {"resolution": "10"},
        {"projection": 1234567},
        {"resolution": 10, "method": "nearest"},
        {"resolution": 10, "align": "centre"},
    ],
)
def test_resample_spatial_errors(changed: dict[str, Any]) -> None:
    with pytest.raises(ArgumentInvalid):
        PROCESSES["resample_spatial"].function(data=cube(time()), **changed)


def test_save_result_errors() -> None:
    with pytest.raises(ArgumentInvalid, match="format"):
        PROCESSES["save_result"].function(data=cube(), format=" ")
    with pytest.raises(ArgumentInvalid, match="options"):
        PROCESSES["save_result"].function(data=cube(), format="GTiff", options=[1])


def test_aggregate_spatial_checks_its_arguments() -> None:
    function = PROCESSES["aggregate_spatial"].function
    point = {"type": "Point", "coordinates": [15, 48]}
    arguments: dict[str, Any] = {
        "data": probe(cube(time())),
        "geometries": point,
        "reducer": mean_of,
    }

    assert PROCESSES["aggregate_spatial"].role is Role.STAGE
    assert function(**arguments).has(Kind.GEOMETRY)
    with pytest.raises(TargetDimensionExists):
        function(**arguments, target_dimension="t")
