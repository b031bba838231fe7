"""Fast paths of the warp against the general path, to the bit, and against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrazzo.cube import all_valid
from terrazzo.cube.areas import WEIGHTED, weigh, weigh_whole
from terrazzo.cube.kernels import KERNELS, RADII, convolve
from terrazzo.cube.warp import METHODS, SIGNED, _blank, _limits, _tables, source_window, warp
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.jit import frozen
from terrazzo.geo.pixelmap import PixelMap
from terrazzo.geo.scale import scale_between

UTM = Grid.of(32633, 500_000.0, 5_200_000.0, 10.0, 40, 50)
MERCATOR = Grid.of(3857, 1_669_805.0, 5_934_480.0, 14.0, 40, 45)
DTYPES = ("uint8", "int16", "uint16", "int32", "uint64", "float32", "float64")


def numbers(dtype: str, seed: int, layers: int = 1) -> np.ndarray:
    """Random numbers over the type's range, some of them NaN where it has that."""
    rng = np.random.default_rng(seed)
    shape = (layers, UTM.height, UTM.width)
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    values = (1e3 * rng.normal(size=shape)).astype(dtype)
    values[rng.random(shape) < 0.02] = np.nan
    return values


def mask(seed: int, share: float, layers: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random((layers, UTM.height, UTM.width)) >= share


def equal(one, other) -> bool:
    return one[1].tobytes() == other[1].tobytes() and one[0].tobytes() == other[0].tobytes()


@settings(max_examples=150, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    method=st.sampled_from(sorted(WEIGHTED)),
    seed=st.integers(0, 99),
    share=st.sampled_from([0.0, 0.1, 0.9]),
    ratio=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    shift=st.tuples(st.integers(-30, 30), st.integers(-30, 30)),
)
def test_whole_footprints_equal_weighed_ones(dtype, method, seed, share, ratio, shift) -> None:
    rows = shift[0] + ratio[0] * np.arange(13.0)
    cols = shift[1] + ratio[1] * np.arange(14.0)
    edges = [(frozen(e[:-1]), frozen(e[1:])) for e in (rows, cols)]
    layers, valid = frozen(numbers(dtype, seed, 2)), frozen(mask(seed, share, 2))
    if share == 0.0:
        valid = frozen(np.empty((2, 0, 0), bool))
    limits = _limits(layers.dtype)
    found, expected = (
        (np.zeros((2, 12, 13), dtype), np.zeros((2, 12, 13), bool)) for _ in range(2)
    )

    count = weigh_whole(layers, valid, (0, 0), *edges, WEIGHTED[method], limits, *found)
    weighed = weigh(layers, valid, (0, 0), *edges, True, WEIGHTED[method], limits, *expected)

    assert equal(found, expected)
    assert count == weighed == expected[1].sum()


@settings(max_examples=150, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    method=st.sampled_from(sorted(KERNELS)),
    seed=st.integers(0, 99),
    share=st.sampled_from([0.0, 0.1, 0.6]),
    pixel=st.sampled_from([3.7, 10.0, 11.0, 20.0, 37.0]),
    shift=st.floats(-60, 60),
)
def test_a_place_for_each_pixel_equals_tables_of_rows_and_columns(
    dtype, method, seed, share, pixel, shift
) -> None:
    target = Grid.of(32633, 500_000.0 + shift, 5_200_000.0 - shift, pixel, 17, 19)
    scale = scale_between(target, UTM)
    layers, valid = frozen(numbers(dtype, seed, 2)), frozen(mask(seed, share, 2))
    places = np.meshgrid(*PixelMap.between(target, target.window, UTM).centres, indexing="ij")
    stretched = [s if s > 1 / 0.95 else 1.0 for s in scale]
    widths = [(RADII[method] * s, s) for s in stretched]
    kernel = (KERNELS[method], widths[0], widths[1], method in SIGNED)
    tables = _tables(target, target.window, UTM, method, scale)
    blank = tuple(_blank(19, method, s) for s in scale)
    nowhere = (np.empty((0, 0)), np.empty((0, 0)))
    limits = _limits(layers.dtype)
    one, other = ((np.zeros((2, 17, 19), dtype), np.zeros((2, 17, 19), bool)) for _ in range(2))

    convolve(layers, valid, (0, 0), nowhere, *tables, kernel, limits, *one)
    convolve(layers, valid, (0, 0), tuple(places), *blank, kernel, limits, *other)

    assert equal(one, other)


@settings(max_examples=150, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    method=st.sampled_from(METHODS),
    seed=st.integers(0, 99),
    pixel=st.sampled_from([5.0, 10.0, 13.0, 30.0]),
    shift=st.sampled_from([0.0, 3.0, -10.0, 25.0]),
    mercator=st.booleans(),
)
def test_no_mask_equals_a_mask_of_true(dtype, method, seed, pixel, shift, mercator) -> None:
    """Behind the first layer stands one with a hole, so that the kernel has a mask to look at."""
    target = Grid.of(32633, 500_000.0 + shift, 5_200_000.0 - shift, pixel, 14, 15)
    target = MERCATOR if mercator else target
    scale = scale_between(target, UTM)
    pixel_map = PixelMap.between(target, target.window, UTM)
    values = numbers(dtype, seed, 2)
    holes = np.ones(values.shape, bool)
    holes[1, 20, 20] = False

    plain, plain_valid = warp(
        values[0], all_valid(values.shape[1:]), UTM.window, pixel_map, method, scale
    )
    masked, masked_valid = warp(values, holes, UTM.window, pixel_map, method, scale)

    np.testing.assert_array_equal(plain_valid, masked_valid[0])
    shown = masked_valid[0]
    assert plain[shown].tobytes() == masked[0][shown].tobytes()


@pytest.mark.parametrize("dtype", ["bool", "uint8", ">i2", "float16", "float32", "uint64", ">f8"])
@pytest.mark.parametrize("target", [Grid.of(32633, 499_987.0, 5_200_013.0, 7.0, 80, 90), MERCATOR])
def test_near_moves_the_bits_of_every_type(dtype: str, target: Grid) -> None:
    rng = np.random.default_rng(4)
    size = np.dtype(dtype).itemsize
    raw = rng.integers(0, 256, (3, UTM.height, UTM.width, size), dtype=np.uint8)
    values = (raw[..., 0] > 99) if dtype == "bool" else raw.view(dtype)[..., 0]
    valid = mask(1, 0.2, 3)
    pixel_map = PixelMap.between(target, target.window, UTM)

    out, out_valid = warp(values, valid, UTM.window, pixel_map, "near")

    rows, cols = pixel_map.centres
    if rows.ndim == 1:
        rows, cols = np.meshgrid(rows, cols, indexing="ij")
    inside = (rows >= 0) & (rows < UTM.height) & (cols >= 0) & (cols < UTM.width)
    at = np.where(inside, rows, 0).astype(int), np.where(inside, cols, 0).astype(int)
    expected_valid = valid[:, *at] & inside
    expected = np.zeros(out.shape, dtype)
    expected[expected_valid] = values[:, *at][expected_valid]
    assert out.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(out_valid, expected_valid)
    assert out.tobytes() == expected.tobytes()


@pytest.mark.parametrize("shift", [0.0, 30.0, 4.0])
def test_near_on_whole_pixels_is_a_view(shift: float) -> None:
    target = Grid.of(32633, 500_000.0 + shift, 5_200_000.0 - shift, 10.0, 20, 20)
    values, valid = numbers("uint16", 3), mask(3, 0.0)

    out, out_valid = warp(
        values, valid, UTM.window, PixelMap.between(target, Window(2, 3, 9, 8), UTM), "near"
    )

    assert np.shares_memory(out, values)
    assert np.shares_memory(out_valid, valid)


@settings(max_examples=100, deadline=None)
@given(
    dtype=st.sampled_from(["uint8", "int32", "float32"]),
    seed=st.integers(0, 99),
    different=st.sampled_from([2, 12, 300]),
    ratio=st.integers(1, 9),
    share=st.sampled_from([0.0, 0.3, 0.95]),
)
def test_choices_equal_numpy(dtype, seed, different, ratio, share) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.integers(0, different, (UTM.height, UTM.width)) % 256).astype(dtype)
    valid = mask(seed, share)[0]
    height, width = UTM.height // ratio, UTM.width // ratio
    target = Grid.of(32633, UTM.left, UTM.top, 10.0 * ratio, height, width)
    pixel_map = PixelMap.between(target, target.window, UTM)
    scale = scale_between(target, UTM)

    found = {
        method: warp(values, valid, UTM.window, pixel_map, method, scale)
        for method in ("mode", "min", "max")
    }

    for i in range(height):
        for j in range(width):
            box = np.s_[i * ratio : (i + 1) * ratio, j * ratio : (j + 1) * ratio]
            inside = values[box][valid[box]]
            if ratio > 1:
                assert found["mode"][1][i, j] == bool(inside.size)
            if inside.size:
                kinds, counts = np.unique(inside, return_counts=True)
                expected = {"mode": kinds[counts.argmax()], "min": kinds[0], "max": kinds[-1]}
                assert {m: found[m][0][i, j] for m in found} == expected


def test_the_mode_of_nan_is_nan_where_it_is_most_frequent() -> None:
    source = Grid.of(32633, 0, 0, 10.0, 2, 6)
    nan = np.nan
    values = np.array([[nan, nan, 1, nan, nan, 3], [nan, 2, 1, nan, 4, 2]], dtype=np.float32)
    target = Grid.of(32633, 0, 0, 20.0, 1, 3)

    out, _ = warp(
        values,
        np.ones((2, 6), bool),
        source.window,
        PixelMap.between(target, target.window, source),
        "mode",
        (2.0, 2.0),
    )

    np.testing.assert_array_equal(out, np.array([[nan, 1, 2]], dtype=np.float32))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [Grid.of(32633, 500_003.0, 5_199_990.0, 7.0, 9, 9), MERCATOR])
def test_a_mask_of_true_takes_no_memory(method: str, target: Grid) -> None:
    values = numbers("float32", 1)
    window = Window(2, 2, 6, 6)
    pixel_map = PixelMap.between(target, window, UTM)
    scale = scale_between(target, UTM)
    needed = source_window(pixel_map, method, scale, UTM.window)

    inside = (..., *UTM.window.slices(needed))
    _, valid = warp(
        values[inside], all_valid(values.shape)[inside], needed, pixel_map, method, scale
    )

    assert valid.all()
    assert not any(valid.strides)
