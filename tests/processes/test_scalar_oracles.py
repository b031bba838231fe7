"""Scalar processes against NumPy on masked random stacks, and the dtypes they give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processes.scalar_cases import Inputs, frozen, run

from terrazzo.cube import Pixels, Stack, all_valid
from terrazzo.processes.stacks import exchanges

SIZE = 300
PROBABILITIES = [0.0, 0.05, 0.25, 1 / 3, 0.5, 0.9, 1.0]

ORACLES: dict[str, Any] = {
    "sum": np.sum,
    "product": np.prod,
    "mean": np.mean,
    "median": np.median,
    "min": np.min,
    "max": np.max,
    "sd": lambda x: np.std(x, ddof=1) if x.size > 1 else math.nan,
    "variance": lambda x: np.var(x, ddof=1) if x.size > 1 else math.nan,
    "quantiles": lambda x: np.quantile(x, PROBABILITIES),
    "extrema": lambda x: [x.min(), x.max()],
    "first": lambda x: x[0],
    "last": lambda x: x[-1],
    "count": np.size,
}


def masked_stack(length: int, dtype: str, seed: int) -> Stack:
    rng = np.random.default_rng(seed)
    shape = (length, SIZE)
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    values = (
        rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        if info
        else rng.normal(0, 100, shape).astype(dtype)
    )
    return frozen(values, rng.random(shape) > 0.4)


@pytest.mark.parametrize("name", sorted(ORACLES))
@settings(max_examples=15)
@given(
    length=st.integers(1, 40),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "int32", "float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_reducers_agree_with_numpy(name: str, length: int, dtype: str, seed: int) -> None:
    data = masked_stack(length, dtype, seed)
    extra = (PROBABILITIES,) if name == "quantiles" else ()

    result = run(name, data, *extra)

    for pixel in range(SIZE):
        chosen = data.values[data.valid[:, pixel], pixel].astype(np.float64)
        if not chosen.size:
            assert name == "count" or not result.valid[..., pixel].any()
            continue
        assert result.valid[..., pixel].all()
        with np.errstate(all="ignore"):
            expected = np.asarray(ORACLES[name](chosen)).astype(result.values.dtype)
        tolerance = 1e-6 if result.values.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(result.values[..., pixel], expected, tolerance, 1e-9)


@pytest.mark.parametrize("name", ["median", "mean", "sum", "min", "sd", "quantiles"])
def test_no_data_counts_if_told_so(name: str) -> None:
    data = masked_stack(6, "float32", 1)
    extra = (PROBABILITIES,) if name == "quantiles" else ()

    strict = run(name, data, *extra, ignore_nodata=False)
    lenient = run(name, data, *extra)

    complete = np.broadcast_to(data.valid.all(axis=0), strict.valid.shape)
    np.testing.assert_array_equal(strict.valid, complete)
    np.testing.assert_array_equal(strict.values[complete], lenient.values[complete])


@pytest.mark.parametrize("length", [*range(1, 18), 31, 64, 100])
def test_exchanges_sort(length: int) -> None:
    rng = np.random.default_rng(length)
    columns = rng.integers(0, 5, (length, 500))
    columns[:, 0] = np.arange(length)[::-1]

    found = columns.copy()
    for low, high in exchanges(length):
        found[[low, high]] = np.sort(found[[low, high]], axis=0)

    np.testing.assert_array_equal(found, np.sort(columns, axis=0))


def test_nan_is_data_and_propagates() -> None:
    values = np.array([[1, 1], [np.nan, np.nan], [3, 3]], np.float32)
    data = Stack(values, np.array([[True, True], [True, False], [True, True]]))

    for name in ("mean", "median", "min", "max", "sum", "product", "sd", "variance"):
        result = run(name, data)

        assert math.isnan(result.values[0]), name
        assert not math.isnan(result.values[1]), name
        assert result.valid.all(), name
    assert np.isnan(run("quantiles", data, [0.5]).values[0, 0])
    assert np.isnan(run("extrema", data).values[:, 0]).all()


def test_extreme_values_of_a_dtype_are_data() -> None:
    values = np.full((3, 4), 65535, np.uint16)
    data = Stack(values, np.array([[True] * 4, [False] * 4, [True, False, True, False]]))

    assert run("median", data).values.tolist() == [65535] * 4
    infinite = Stack(np.full((3, 4), np.inf, np.float32), data.valid)
    assert run("median", infinite).values.tolist() == [math.inf] * 4


def test_integers_do_not_wrap_around() -> None:
    data = Stack(np.array([[10], [20]], np.uint16), all_valid((2, 1)))
    pair = Inputs(data)

    assert run("subtract", pair.x, pair.y).values.tolist() == [-10.0]
    wide = Pixels(np.array([65535], np.uint16), all_valid((1,)))
    assert run("add", wide, wide).values.tolist() == [131070.0]
    assert run("sum", Stack(np.full((3, 1), 255, np.uint8), all_valid((3, 1)))).values == [765.0]


FLOAT = {"uint8": "float32", "uint16": "float32", "int16": "float32", "float32": "float32"}
FLOAT |= {"int32": "float64", "float64": "float64", "bool": "float32"}
KEPT = ["min", "max", "extrema", "first", "last", "cummin", "cummax", "sort", "array_create"]
COMPUTED = ["mean", "median", "sd", "variance", "sum", "product", "cumsum", "cumproduct"]
COMPUTED += ["array_interpolate_linear"]
PAIRED = ["add", "subtract", "multiply", "divide", "mod", "power", "normalized_difference"]


@pytest.mark.parametrize("dtype", sorted(FLOAT))
def test_dtypes(dtype: str) -> None:
    data = Stack(np.ones((3, 2, 2), dtype), all_valid((3, 2, 2)))
    x = data.at(0)

    for name in KEPT:
        assert run(name, data).values.dtype == dtype, name
    assert run("array_element", data, 1).values.dtype == dtype
    for name in COMPUTED:
        assert run(name, data).values.dtype == FLOAT[dtype], name
    assert run("quantiles", data, 4).values.dtype == FLOAT[dtype]
    for name in PAIRED:
        assert run(name, x, x).values.dtype == FLOAT[dtype], name
        assert run(name, x, 0.1).values.dtype == FLOAT[dtype], name
    for name in ("eq", "neq", "gt", "lt"):
        assert run(name, x, x).values.dtype == np.bool_, name
    for name in ("order", "count"):
        assert run(name, data).values.dtype == np.uint16, name


@pytest.mark.parametrize(
    ("accept", "reject", "dtype"),
    [
        (np.uint16, 7, np.uint16),
        (np.uint16, -1, np.int32),
        (np.uint16, 0.5, np.float32),
        (np.int32, 0.5, np.float64),
        (np.uint16, np.float32, np.float32),
        (np.float32, 1e9, np.float32),
        (np.float32, 10**9, np.float32),
        (np.bool_, True, np.bool_),
        (np.bool_, 3, np.uint8),
        (np.uint8, None, np.uint8),
        (1, 0, np.uint8),
        (300, -1, np.int32),
        (0.5, None, np.float32),
        (None, None, np.float32),
    ],
)
def test_if_per_pixel(accept: Any, reject: Any, dtype: Any) -> None:
    def number(kind: Any) -> Any:
        if isinstance(kind, type):
            return Pixels(np.full(4, 1, kind), np.array([True, True, False, True]))
        return kind

    value = Pixels(np.array([True, False, True, True]), np.array([True, True, True, False]))

    result = run("if", value, number(accept), number(reject))

    assert result.dtype == dtype
    from_pixels = accept not in (None, True) and isinstance(accept, type)
    chosen = 1 if from_pixels else accept
    if accept is not None:
        assert result.values[0] == dtype(chosen)
        assert result.valid.tolist()[:1] == [True]
        assert result.valid[2] == (not from_pixels)
    assert result.valid.tolist()[3] == (reject is not None)


def test_compared_types_are_strict() -> None:
    numbers = Pixels(np.array([0, 1], np.uint8), np.array([True, False]))
    flags = Pixels(np.array([False, True]), all_valid((2,)))

    assert not run("eq", numbers, "0").values.any()
    assert not run("eq", flags, 1).values.any()
    assert run("eq", flags, True).values.tolist() == [False, True]
    assert run("eq", numbers, False).valid.tolist() == [True, False]
    assert run("neq", numbers, True).values.tolist() == [True, True]
    assert not run("gt", numbers, None).valid.any()
    assert run("eq", 0, False) is False
    assert run("gte", "a", "a") is True
    assert run("gt", numbers, 70000).values.tolist() == [False, False]
    assert run("eq", numbers, 0.5, 0.6).values.tolist() == [True, True]


def test_scalars_stay_plain() -> None:
    assert run("add", 1, 2) == 3
    assert type(run("add", 1, 2)) is int
    assert type(run("divide", 1, 2)) is float
    assert type(run("floor", 2.5)) is int
    assert run("gt", 2, 1) is True
    assert run("add", 1, None) is None
    assert type(run("mean", [1, 2])) is float
    assert type(run("count", [1, None])) is int
