"""Processes can be recorded on traced arrays, and promise the types that they give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.processes.cubes import bands, cube, other, time
from tests.processes.scalar_cases import CALLS, Inputs, frozen

from terrazzo.cube import Cube, Pixels, Stack
from terrazzo.cube.traced import Tape, Traced, Untraceable
from terrazzo.processes import PROCESSES

BARRIERS = {"array_interpolate_linear", "cumproduct", "cumsum", "order", "sort"}
"""What is sorted, filled, or rounded from float64 between two entries."""
WITHOUT_OPERATION = {
    *("arccos", "arcosh", "arcsin", "arctan", "arctan2", "arsinh", "artanh", "cos", "cosh", "exp"),
    *("ln", "log", "mod", "power", "rearrange", "sin", "sinh", "tan", "tanh"),
}
"""What the fused machine has no operation for."""


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
@pytest.mark.parametrize("name", sorted(set(CALLS) - BARRIERS - WITHOUT_OPERATION))
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


@pytest.mark.parametrize("name", sorted(BARRIERS))
def test_what_cannot_be_recorded_says_so(name: str) -> None:
    values, valid = traced((4,), "float32")

    for call in CALLS[name]:
        with pytest.raises(Untraceable):
            call(Inputs(Stack(values, valid)))


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


SERIES = cube(time(), bands(), dtype="uint16")
LATER = cube(time(("2020-06-03T00:00:00Z", "2020-07-01T00:00:00Z")), bands(("nir", "swir")))
MARKS = cube(time(), dtype="uint8")
CUBES: dict[str, tuple[dict[str, Any], ...]] = {
    "apply": ({"data": SERIES, "process": doubled},),
    "reduce_dimension": (
        {"data": SERIES, "reducer": mean, "dimension": "t"},
        {"data": SERIES, "reducer": mean, "dimension": "bands"},
    ),
    "apply_dimension": ({"data": SERIES, "process": highest_so_far, "dimension": "t"},),
    "aggregate_temporal_period": ({"data": SERIES, "period": "month", "reducer": mean},),
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
