"""The official vectors of the cube processes; those that are wrong are named, with the reason."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.processes.cubes import callback, infer

from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.errors import TerrazzoError
from terrazzo.geo.grid import Grid
from terrazzo.processes import PROCESSES
from terrazzo.processes.registry import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROCESSES_WITH_CUBES = (
    "add_dimension",
    "aggregate_temporal",
    "aggregate_temporal_period",
    "apply",
    "apply_dimension",
    "apply_kernel",
    "dimension_labels",
    "filter_bands",
    "filter_bbox",
    "filter_spatial",
    "filter_temporal",
    "mask",
    "mask_polygon",
    "merge_cubes",
    "reduce_dimension",
    "rename_dimension",
    "rename_labels",
)

Vector = dict[str, Any]


def june(test: Vector, delta: float = 0.006) -> None:
    """Move intervals and labels to the month of the data; the results are rounded."""
    test["delta"] = delta
    test["arguments"]["intervals"] = [
        [end and end.replace("2020-01", "2020-06") for end in pair]
        for pair in test["arguments"]["intervals"]
    ]
    time = test["returns"]["dimensions"]["t"]
    time["values"] = [label.replace("2020-01", "2020-06") for label in time["values"]]


def june_with_labels(test: Vector) -> None:
    june(test, 0.0006)
    test["arguments"]["labels"] = test["arguments"]["reducer"].pop("labels")


def with_median(test: Vector) -> None:
    test["arguments"]["reducer"]["process_graph"]["mean"]["process_id"] = "median"


def target_for_source(test: Vector) -> None:
    test["arguments"]["target"] = test["arguments"].pop("source")


def parameters(test: Vector) -> None:
    """Say `from_parameter` where a callback has the older `from_argument`."""
    for name in ("process", "reducer"):
        text = json.dumps(test["arguments"].get(name))
        if text != "null":
            test["arguments"][name] = json.loads(text.replace("from_argument", "from_parameter"))


def nodes(test: Vector) -> None:
    text = json.dumps(test["arguments"]["reducer"])
    test["arguments"]["reducer"] = json.loads(text.replace("from_argument", "from_node"))
    test["arguments"]["data"]["data"][2][0][3] = 165  # as in the asset of `rename_labels`


def inverted(test: Vector) -> None:
    cube = test["arguments"]["mask"]
    cube["data"] = (1 - np.array(cube["data"])).tolist()


def outside(test: Vector) -> None:
    test["arguments"]["inside"] = True


def hours(test: Vector) -> None:
    time = test["returns"]["dimensions"]["t"]
    time["values"] = [f"2020-06-01-{hour:02d}" for hour in range(5)]
    data = test["returns"]["data"]
    data.insert(2, data[2])


def called_t2(test: Vector) -> None:
    result = test["returns"]
    result["order"] = ["t2", "y", "x"]
    result["dimensions"]["t2"] = result["dimensions"].pop("t")


def x_for_lon(test: Vector) -> None:
    result = test["returns"]
    y, x = result["dimensions"].pop("lon"), result["dimensions"].pop("x")
    result["order"] = ["t", "y", "lon"]
    result["dimensions"] |= {"y": y, "lon": x}


def empty_pixel(test: Vector) -> None:
    """Take the missing pixel of the data for the one that another asset has there."""
    found = np.array(test["arguments"]["data"]["data"])
    test["returns"]["data"] = np.where(
        found == 255, 255, np.array(test["returns"]["data"])
    ).tolist()


def of_time(test: Vector) -> None:
    test["arguments"]["dimension"] = "t"
    listed = test["returns"]["dimensions"]
    test["returns"]["dimensions"] = {d["name"]: d for d in listed}
    test["returns"]["order"] = ["stats", "y", "x"]


ERRATA: dict[tuple[str, int], tuple[str, Callable[[Vector], None]]] = {
    ("aggregate_temporal", 5): ("January for June; rounded to 0.01", june),
    ("aggregate_temporal", 6): ("January for June; rounded to 0.01", june),
    ("aggregate_temporal", 7): ("January for June; rounded to 0.01", june),
    ("aggregate_temporal", 9): ("as 5, and the labels are in the reducer", june_with_labels),
    ("aggregate_temporal", 10): ("expects medians of a mean", with_median),
    ("aggregate_temporal_period", 3): ("counts days as hours and leaves one out", hours),
    ("aggregate_temporal_period", 8): ("another name for the dimension", called_t2),
    ("apply", 1): ("from_argument for from_parameter", parameters),
    ("apply", 2): ("a no-data pixel of another asset", empty_pixel),
    ("apply_dimension", 2): ("bands of a cube without them; dimensions as a list", of_time),
    ("mask", 0): ("keeps where the mask is 1", inverted),
    ("mask_polygon", 1): ("keeps what is outside without `inside`", outside),
    ("reduce_dimension", 1): (
        "from_argument for from_node; a no-data pixel of another asset",
        nodes,
    ),
    ("rename_dimension", 3): ("x and y swapped", x_for_lon),
    ("rename_labels", 5): ("the new labels are in `source`", target_for_source),
    ("rename_labels", 7): ("the new labels are in `source`", target_for_source),
}
"""Vectors that contradict the specification or themselves: why, and what mends them."""

DEVIATIONS = {
    ("filter_bands", 2): ("BandNotFound", "a mistyped name should not give an empty cube"),
}
"""Vectors that Terrazzo does not follow on purpose: the error that it raises, and why."""


def vectors() -> list[Any]:
    return list(_vectors())


def _vectors() -> Iterator[Any]:
    folder = Path(os.environ.get("TERRAZZO_SHARED", "/nowhere"), "openeo", "vectors")
    for name in PROCESSES_WITH_CUBES:
        path = folder / f"{name}.json"
        for test in json.loads(path.read_text())["tests"] if path.is_file() else ():
            yield pytest.param(name, test, id=f"{name}-{test['index']}")


def read_cube(document: Vector) -> Cube:
    """Read a vector's cube: x and y become a grid, its no-data value a mask."""
    dimensions, centres = [], {}
    for name in document["order"]:
        given = document["dimensions"][name]
        spatial = given["type"] == "spatial"
        dimensions.append(
            Dimension(name, Kind(given["type"]), () if spatial else tuple(given["values"]))
        )
        if spatial:
            centres[given.get("axis", name)] = given["values"]
    values = np.array(document["data"])
    nodata = document.get("nodata")
    valid = np.ones(values.shape, np.bool_)
    if nodata is not None:
        valid = ~np.isnan(values) if np.isnan(nodata) else values != nodata
    x, y = centres["x"], centres["y"]
    grid = Grid.of("EPSG:25832", x[0] - 5.0, y[0] + 5.0, 10.0, len(y), len(x))
    return Cube(values, valid, tuple(dimensions), grid, grid.window)


def read_arguments(name: str, given: Vector) -> Vector:
    arguments = {}
    for key, value in given.items():
        arguments[key] = value
        if isinstance(value, dict) and value.get("type") == "datacube":
            arguments[key] = read_cube(value)
        elif isinstance(value, dict) and "process_graph" in value:
            arguments[key] = callback(value)
    process = PROCESSES[name]
    if process.place:
        window = next(a.window for a in arguments.values() if isinstance(a, Cube))
        arguments[process.place] = Place(window, window)
    return arguments


def call(name: str, given: Vector) -> Any:
    """Call a process as the engine does: for its metadata, then for its pixels, cropped."""
    arguments = read_arguments(name, given)
    infer(name, **{k: v for k, v in arguments.items() if k != PROCESSES[name].place})
    result = PROCESSES[name].function(**arguments)
    crop = PROCESSES[name].rules.crops(arguments)
    if crop is not None:
        inside = crop.mask(result.grid, result.window)
        rows, cols = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        exact = crop.window(result.grid).intersection(result.window)
        if rows.size:
            exact = type(exact)(
                int(rows[0]), int(cols[0]), int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1
            )
        result = result.crop(exact)
    return result


def assert_cube(actual: Cube, expected: Vector, delta: float) -> None:
    assert list(actual.names) == expected["order"]
    for dimension in actual.dimensions:
        wanted = expected["dimensions"][dimension.name]
        assert dimension.kind == wanted["type"]
        labels: Any = dimension.labels
        if dimension.kind is Kind.SPATIAL:
            rows = dimension is actual.dimensions[-2]
            labels = (actual.grid.ys if rows else actual.grid.xs)(actual.window)
        assert list(labels) == wanted["values"]
    if expected["data"] is None:
        return
    found = np.array(expected["data"], dtype=object).reshape(actual.values.shape)
    if found.size == 0:
        return
    nodata = expected.get("nodata")
    missing = np.array(
        [v is None or v != v or (nodata is not None and v == nodata) for v in found.ravel()]  # noqa: PLR0124 - NaN
    ).reshape(found.shape)
    np.testing.assert_array_equal(actual.valid, ~missing)
    if isinstance(found[~missing].flat[0], bool):
        assert actual.dtype == bool
    np.testing.assert_allclose(
        actual.values[~missing].astype(float),
        found[~missing].astype(float),
        rtol=delta,
        atol=delta,
    )


def run(name: str, test: Vector) -> None:
    if "throws" in test:
        with pytest.raises((TerrazzoError, TypeError)) as raised:
            call(name, test["arguments"])
        if isinstance(test["throws"], str):
            assert getattr(raised.value, "code", "") == test["throws"]
        return
    result = call(name, test["arguments"])
    expected = test["returns"]
    if isinstance(expected, dict) and expected.get("type") == "datacube":
        assert_cube(result, expected, test.get("delta", 1e-10))
    else:
        assert list(result) == expected


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(("name", "test"), vectors())
def test_official_vector(name: str, test: Vector) -> None:
    if (name, test["index"]) in DEVIATIONS:
        code, _ = DEVIATIONS[name, test["index"]]
        test = {"arguments": test["arguments"], "throws": code}
    _, mend = ERRATA.get((name, test.get("index", -1)), ("", None))
    mended = copy.deepcopy(test)
    if mend is not None:
        mend(mended)

    run(name, mended)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(("name", "test"), vectors())
def test_errata_are_needed(name: str, test: Vector) -> None:
    if (name, test["index"]) not in ERRATA:
        pytest.skip("no erratum")

    with pytest.raises(
        (AssertionError, TerrazzoError, TypeError, KeyError, StopIteration, ValueError)
    ):
        run(name, copy.deepcopy(test))


def test_vectors_are_there(shared: Path) -> None:
    assert len(vectors()) >= 60
    assert shared.is_dir()
