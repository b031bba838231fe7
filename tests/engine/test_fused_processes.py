"""Every process on numbers per pixel gives the same bits on the fused path as on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.test_machine import cube_of, machined
from tests.processes.scalar_cases import CALLS, Inputs

from terrazzo.cube import Cube, Pixels, Stack
from terrazzo.cube.tape import Untraceable
from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import callback, collections

if TYPE_CHECKING:
    from collections.abc import Callable

SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 3e5, 1e-40)
MIXED = {"float32 beside float64", "64 bit integers"}
"""Why a process need not be fused."""


def numbers(seed: int, dtype: str, length: int) -> Cube:
    """Return numbers of any size, with ties, special values and no-data, in an odd window."""
    rng = np.random.default_rng(seed)
    shape = (length, int(rng.integers(1, 6)), int(rng.integers(1, 60)))
    values = rng.normal(0, 10.0 ** rng.integers(-1, 3), shape).round(1)
    if np.dtype(dtype).kind == "f":
        for special in SPECIAL:
            values[rng.random(shape) < 0.03] = special
    else:
        values = np.abs(values) % 200
    return cube_of(values.astype(dtype), rng.random(shape) > 0.3)


def planes(result: Any) -> tuple[Any, Any]:
    """Return a result as (plane, y, x) values and validity."""
    if isinstance(result, Pixels):
        return result.values[None], np.broadcast_to(result.valid, result.values.shape)[None]
    return result.values, np.broadcast_to(result.valid, result.values.shape)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("name", sorted(CALLS))
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(3, 7))
@settings(max_examples=6, deadline=None)
def test_a_process_gives_the_same_bits_when_fused(
    name: str, dtype: str, seed: int, length: int
) -> None:
    cube = numbers(seed, dtype, length)
    labels = tuple(f"B{index:02}" for index in range(length))
    for call in CALLS[name]:

        def function(values: Any, valid: Any, call: Callable[..., Any] = call) -> Any:
            return [planes(call(Inputs(Stack(values, valid, labels))))]

        [(values, valid)] = function(cube.values, cube.valid)
        try:
            found = machined(function, cube, values.dtype)
        except Untraceable as reason:
            if not any(known in str(reason) for known in MIXED):
                raise
            continue

        np.testing.assert_array_equal(found.valid, valid)
        mine, theirs = found.values[valid], values[valid]
        known = mine == mine  # noqa: PLR0124 - NaN
        np.testing.assert_array_equal(mine, theirs)
        if mine.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(mine[known]), np.signbit(theirs[known]))


@pytest.mark.parametrize("wanted", [(0,), (0, 1), (1, 2), (2,)])
def test_some_labels_of_a_process_that_needs_all_of_them(wanted: tuple[int, ...]) -> None:
    nodes = {
        "load": {
            "process_id": "load_collection",
            "arguments": {"id": "fine", "spatial_extent": None, "temporal_extent": None},
        },
        "sums": {
            "process_id": "apply_dimension",
            "arguments": {
                "data": {"from_node": "load"},
                "dimension": "t",
                "process": callback("cumsum", data={"from_parameter": "data"}),
            },
            "result": True,
        },
    }
    inference = infer(parse(nodes, specs=SPECS), collections())
    whole = make_plan(inference)

    plan = make_plan(inference, labels={"t": wanted})

    assert plan.fused
    expected = evaluate(whole, whole.window).take("t", wanted)
    assert_same_pixels(evaluate(plan, plan.window), expected)
