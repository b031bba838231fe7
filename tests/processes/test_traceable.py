"""Processes can be recorded on traced arrays, and promise the types that they give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.processes.cubes import bands, cube, other, time
from tests.processes.scalar_cases import CALLS, Inputs, frozen

from terrazzo.cube import Cube, Pixels, Stack
from terrazzo.cube.tape import Tape
from terrazzo.cube.traced import Traced
from terrazzo.processes import PROCESSES


def traced(shape: tuple[int, ...], dtype: Any) -> tuple[Traced, Traced]:
    tape = Tape()
    truth = np.dtype(np.bool_)
    return (
        Traced.planes(tape, "plane", 0, shape, np.dtype(dtype)),
        Traced.planes(tape, "valid", 0, shape, truth),
    )


def traced_cube(given: Cube) -> Cube:
    values, valid = traced(given.values.shape[:-2], given.dtype)
    return given.same_pixels(values, valid)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("name", sorted(CALLS))
def test_scalar_processes_are_recorded_with_the_type_that_they_give(name: str, dtype: str) -> None:
    values, valid = traced((4,), dtype)
    labels = tuple(f"B{index:02}" for index in range(4))
    shape = (4, 2, 3)
    given = frozen(np.ones(shape, dtype), np.arange(24).reshape(shape) % 5 > 0)
    for call in CALLS[name]:
        expected = call(Inputs(given))

        found = call(Inputs(Stack(values, valid, labels)))

        assert type(found) is type(expected)
        assert found.values.dtype == expected.values.dtype
        assert found.values.shape[:-2] == expected.values.shape[:-2]
        assert np.shape(found.valid)[:-2] == expected.valid.shape[:-2]


def doubled(x: Pixels, context: Any = None) -> Any:
    del context
    return PROCESSES["multiply"].function(x, 2)


def larger(x: Pixels, y: Pixels, context: Any = None) -> Any:
    del context
    above = PROCESSES["gt"].function(x, y)
    return PROCESSES["if"].function(above, x, y)


def mean(data: Stack, context: Any = None) -> Any:
    del context
    return PROCESSES["mean"].function(data)


def highest_so_far(data: Stack, context: Any = None) -> Any:
    del context
    return PROCESSES["cummax"].function(data)


def first(x: float, parameters: Stack) -> Any:
    line = PROCESSES["array_element"].function(data=parameters, index=0)
    return PROCESSES["multiply"].function(line, x)


SERIES = cube(time(), bands(), dtype="uint16")
LATER = cube(time(("2020-06-03T00:00:00Z", "2020-07-01T00:00:00Z")), bands(("nir", "swir")))
MARKS = cube(time(), dtype="uint8")
MONTHS = cube(time(("2020-01", "2020-02")), bands(), dtype="uint16")
NORMALS = cube(time(("02", "01")), bands(), dtype="uint8")
TREE = (
    *("coastal", "blue", "green", "rededge071", "rededge078", "nir08", "nir09", "cirrus"),
    "swir16",
)
CUBES: dict[str, tuple[dict[str, Any], ...]] = {
    "apply": ({"data": SERIES, "process": doubled},),
    "reduce_dimension": (
        {"data": SERIES, "reducer": mean, "dimension": "t"},
        {"data": SERIES, "reducer": mean, "dimension": "bands"},
    ),
    "apply_dimension": ({"data": SERIES, "process": highest_so_far, "dimension": "t"},),
    "aggregate_temporal_period": ({"data": SERIES, "period": "month", "reducer": mean},),
    "anomaly": ({"data": MONTHS, "normals": NORMALS, "period": "month"},),
    "climatological_normal": (
        {"data": SERIES, "period": "season", "climatology_period": [2020, 2020]},
    ),
    "cloud_detection": (
        {"data": cube(bands(("red", "green"))), "method": None},
        {"data": cube(bands(TREE), dtype="uint16"), "method": None},
    ),
    "flatten_dimensions": (
        {"data": SERIES, "dimensions": ["bands", "t"], "target_dimension": "flat"},
    ),
    "predict_curve": (
        {"parameters": SERIES, "function": first, "dimension": "t", "labels": ["2020-01-01", 7]},
    ),
    "resample_cube_temporal": (
        {"data": SERIES, "target": LATER},
        {"data": SERIES, "target": LATER, "valid_within": 7},
    ),
    "unflatten_dimension": (
        {"data": cube(other(("a~1", "a~2"))), "dimension": "other", "target_dimensions": "ab"},
    ),
    "mask": ({"data": SERIES, "mask": MARKS}, {"data": SERIES, "mask": MARKS, "replacement": 7}),
    "merge_cubes": (
        {"cube1": SERIES, "cube2": LATER, "overlap_resolver": larger},
        {"cube1": SERIES, "cube2": SERIES, "overlap_resolver": larger},
        {"cube1": SERIES, "cube2": MARKS, "overlap_resolver": larger},
    ),
    "ndvi": ({"data": SERIES}, {"data": SERIES, "target_band": "ndvi"}),
    "filter_bands": ({"data": SERIES, "bands": ["blue", "red"]},),
    "filter_temporal": ({"data": SERIES, "extent": ["2020-06-02", None]},),
    "add_dimension": ({"data": SERIES, "name": "z", "label": "a"},),
    "drop_dimension": ({"data": cube(other(("a",)), bands()), "name": "other"},),
    "rename_labels": ({"data": SERIES, "dimension": "bands", "target": ["r"], "source": ["red"]},),
}


@pytest.mark.parametrize("name", sorted(CUBES))
def test_cube_processes_are_recorded_with_the_type_that_they_give(name: str) -> None:
    function = PROCESSES[name].function
    for arguments in CUBES[name]:
        expected = function(**arguments)

        found = function(
            **{k: traced_cube(v) if isinstance(v, Cube) else v for k, v in arguments.items()}
        )

        assert found.dimensions == expected.dimensions
        assert found.dtype == expected.dtype
        assert found.values.shape[:-2] == expected.values.shape[:-2]
        assert np.shape(found.valid)[:-2] == expected.valid.shape[:-2]
