"""Kernels and neighbourhoods: borders, no-data, and independence of the block."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import convolve2d
from tests.processes.cubes import (
    EXTENT,
    GRID,
    TIMES,
    assert_blocks_agree,
    assert_same,
    bands,
    cube,
    evaluate,
    infer,
    padded,
    time,
)

from terrazzo.cube import Cube, Dimension, Kind, Pixels, Stack
from terrazzo.errors import (
    ArgumentInvalid,
    DataCubePropertiesImmutable,
    DimensionNotAvailable,
    KernelDimensionsUneven,
)
from terrazzo.geo.durations import parse_duration
from terrazzo.geo.grid import Grid, Window
from terrazzo.processes import PROCESSES
from terrazzo.processes.chunks import Span, label_cuts
from terrazzo.processes.registry import Place

SKEW = [[1, 2, 3, 4, 5], [0, -1, 0, 7, 0], [2, 0, 0.5, 0, 1]]
"""Neither symmetric nor square, so that a kernel that is not turned, or is transposed, shows."""
PAD_MODES = {
    "replicate": "edge",
    "reflect": "symmetric",
    "reflect_pixel": "reflect",
    "wrap": "wrap",
}


def convolved(data: Cube, kernel: Any, border: Any, replace_invalid: float) -> Any:
    """Pad and convolve in float64, with other libraries than the process does."""
    numbers = np.where(data.valid, data.values.astype(float), replace_invalid)
    numbers[~np.isfinite(numbers)] = replace_invalid
    rows, cols = len(kernel) // 2, len(kernel[0]) // 2
    halo = [(0, 0)] * (numbers.ndim - 2) + [(rows, rows), (cols, cols)]
    mode = PAD_MODES.get(border)
    if mode is None:
        wide = np.pad(numbers, halo, constant_values=border)
    else:
        wide = np.pad(numbers, halo, mode=mode)
    out = [convolve2d(image, kernel, mode="valid") for image in wide.reshape(-1, *wide.shape[-2:])]
    return np.reshape(out, numbers.shape)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "bool"])
@pytest.mark.parametrize("border", [0, -3.5, *PAD_MODES])
def test_kernel_gives_what_numpy_and_scipy_give(border: Any, dtype: str) -> None:
    data = cube(time(), bands(), dtype=dtype)

    result = assert_blocks_agree("apply_kernel", data=data, kernel=SKEW, border=border)

    expected = convolved(data, SKEW, border, 0)
    tolerance = 1e-12 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(result.values, expected, rtol=tolerance, atol=tolerance * 1e3)
    assert result.valid.all()


def test_kernel_is_turned() -> None:
    data = cube(window=Window(0, 0, 3, 3), invalid=0.0)
    one = data.same_pixels(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], "f4"), data.valid)
    kernel = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]

    result = PROCESSES["apply_kernel"].function(data=one, kernel=kernel)

    np.testing.assert_array_equal(result.values, kernel)


def test_kernel_replaces_what_is_no_number_and_multiplies_by_the_factor() -> None:
    data = cube(time())
    values = data.values.copy()
    values[0, 3, 3:6] = np.nan, np.inf, -np.inf
    data = replace(data, values=values)

    result = assert_blocks_agree(
        "apply_kernel", data=data, kernel=SKEW, factor=0.25, replace_invalid=7, border=7
    )

    np.testing.assert_allclose(result.values, convolved(data, SKEW, 7, 7) * 0.25, rtol=1e-5)


@settings(max_examples=60)
@given(
    rows=st.sampled_from([1, 3, 5, 9]),
    cols=st.sampled_from([1, 3, 7]),
    border=st.sampled_from([0, 5.0, *PAD_MODES]),
    window=st.builds(
        Window, st.integers(0, 30), st.integers(0, 40), st.integers(1, 9), st.integers(1, 9)
    ),
    edge=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_kernel_does_not_depend_on_the_block(
    rows: int, cols: int, border: Any, window: Window, edge: int, seed: int
) -> None:
    kernel = np.random.default_rng(seed).normal(size=(rows, cols)).tolist()
    data = cube(window=window.intersection(GRID.window))

    result = assert_blocks_agree("apply_kernel", (edge,), data=data, kernel=kernel, border=border)

    np.testing.assert_allclose(
        result.values, convolved(data, kernel, border, 0), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (KernelDimensionsUneven, {"kernel": [[1, 2]]}),
        (KernelDimensionsUneven, {"kernel": [[1], [2]]}),
        (ArgumentInvalid, {"kernel": [[1, 2, 3], [4]]}),
        (ArgumentInvalid, {"kernel": [1, 2, 3]}),
        (ArgumentInvalid, {"kernel": [["a"]]}),
        (ArgumentInvalid, {"border": "mirror"}),
    ],
)
def test_kernel_errors(error: type[Exception], changed: dict[str, Any]) -> None:
    with pytest.raises(error):
        infer("apply_kernel", **({"data": cube(time()), "kernel": [[1]]} | changed))


def px(
    y: float | None = None, x: float | None = None, **more: float | None
) -> list[dict[str, Any]]:
    return [
        {"dimension": name, "value": value, "unit": "px"}
        for name, value in {"y": y, "x": x, **more}.items()
    ]


def mean_around(data: Cube, context: Any = None) -> Cube:
    """Subtract from each pixel the mean of its chunk: a result that shows what the chunk was."""
    del context
    values = np.where(data.valid, data.values, 0).astype(np.float64)
    total = values.sum(axis=(-2, -1), keepdims=True)
    count = data.valid.sum(axis=(-2, -1), keepdims=True)
    return data.same_pixels(values - total / np.maximum(count, 1), data.valid)


def by_hand(data: Cube, size: tuple[int, int], overlap: tuple[int, int]) -> np.ndarray:
    """Compute `mean_around` with explicit loops over chunks of the whole cube."""
    out = np.zeros(data.values.shape)
    height, width = data.values.shape[-2:]
    for row in range(0, height, size[0]):
        for col in range(0, width, size[1]):
            rows = slice(max(row - overlap[0], 0), row + size[0] + overlap[0])
            cols = slice(max(col - overlap[1], 0), col + size[1] + overlap[1])
            part = np.where(data.valid, data.values, 0).astype(float)[..., rows, cols]
            count = data.valid[..., rows, cols].sum((-2, -1), keepdims=True)
            mean = part.sum((-2, -1), keepdims=True) / np.maximum(count, 1)
            own = (..., slice(row, row + size[0]), slice(col, col + size[1]))
            out[own] = data.values[own] - mean
    return out


@settings(max_examples=25)
@given(
    size=st.tuples(st.integers(2, 20), st.integers(2, 20)),
    overlap=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    edge=st.integers(3, 20),
)
def test_neighborhood_does_not_depend_on_the_block(
    size: tuple[int, int], overlap: tuple[int, int], edge: int
) -> None:
    data = cube(time())

    result = assert_blocks_agree(
        "apply_neighborhood",
        (edge,),
        data=data,
        process=mean_around,
        size=px(*size),
        overlap=px(*overlap),
    )

    expected = by_hand(data, size, overlap)
    np.testing.assert_array_equal(result.valid, data.valid)
    np.testing.assert_allclose(
        result.values[result.valid], expected[data.valid], rtol=1e-9, atol=1e-9
    )


def test_neighborhood_agrees_with_coarsening_where_there_is_no_overlap() -> None:
    data = cube(window=Window(0, 0, 24, 36), invalid=0.0, dtype="float64")

    result = evaluate("apply_neighborhood", data=data, process=mean_around, size=px(8, 12))

    means = xr.DataArray(data.values, dims=("y", "x")).coarsen(y=8, x=12).mean()
    expected = data.values - np.kron(means.values, np.ones((8, 12)))
    np.testing.assert_allclose(result.values, expected, rtol=1e-9, atol=1e-9)


def test_chunks_have_one_size_and_no_data_outside_of_the_cube() -> None:
    data = cube(time(), invalid=0.0)
    seen = []

    def look(data: Cube, context: Any) -> Cube:
        seen.append((data.window, data.valid.copy(), context))
        return data

    evaluate(
        "apply_neighborhood", data=data, process=look, size=px(16, 20), overlap=px(2, 3), context=9
    )

    chunks = [entry for entry in seen if not entry[0].is_empty]
    assert {(w.height, w.width) for w, *_ in chunks} == {(20, 26)}
    assert chunks[0][0] == Window(EXTENT.row - 2, EXTENT.col - 3, 20, 26)
    assert {context for *_, context in seen} == {9}
    for window, valid, _ in chunks:
        inside = padded(data, window).valid
        np.testing.assert_array_equal(valid, inside)


def test_a_dimension_that_is_not_named_is_not_cut() -> None:
    data = cube(time())

    rows = assert_blocks_agree(
        "apply_neighborhood",
        data=data,
        process=mean_around,
        size=[{"dimension": "x", "value": 10, "unit": "px"}],
    )
    null = evaluate("apply_neighborhood", data=data, process=mean_around, size=px(None, 10))

    expected = by_hand(data, (EXTENT.height, 10), (0, 0))
    np.testing.assert_allclose(rows.values[rows.valid], expected[rows.valid], atol=1e-9)
    assert_same(rows, null)


def test_metres_and_units_of_the_crs_are_counted_in_pixels() -> None:
    arguments = {"data": cube(time()), "process": mean_around}
    metres = [{"dimension": d, "value": 120, "unit": "m"} for d in "yx"]
    units = [{"dimension": d, "value": 120.0} for d in "yx"]

    expected = evaluate("apply_neighborhood", size=px(12, 12), **arguments)

    assert_same(assert_blocks_agree("apply_neighborhood", size=metres, **arguments), expected)
    assert_same(evaluate("apply_neighborhood", size=units, **arguments), expected)


def test_labels_are_cut_into_chunks_with_overlap() -> None:
    data = cube(time(tuple(f"2020-06-{day:02d}" for day in range(1, 8))), bands())
    seen = set()

    def look(data: Cube, context: Any = None) -> Cube:
        del context
        seen.add(data.dimension("t").labels)
        return data.same_pixels(data.values * len(data.dimension("t").labels), data.valid)

    result = assert_blocks_agree(
        "apply_neighborhood",
        data=data,
        process=look,
        size=px(16, 16, t=3),
        overlap=px(0, 0, t=1),
    )

    days = data.dimension("t").labels
    assert seen == {days[:4], days[2:7], days[5:]}
    factor = np.array([4, 4, 4, 5, 5, 5, 2]).reshape(7, 1, 1, 1)
    np.testing.assert_array_equal(
        result.values[result.valid], (data.values * factor).astype("f4")[data.valid]
    )


def test_chunks_of_one_pixel_are_arrays() -> None:
    data = cube(time(), bands(["only"]))

    def reverse(data: Stack, context: Any = None) -> Stack:
        del context
        return Stack(data.values[::-1], data.valid[::-1])

    result = assert_blocks_agree("apply_neighborhood", data=data, process=reverse, size=px(1, 1))

    np.testing.assert_array_equal(result.valid, data.valid[::-1])
    np.testing.assert_array_equal(result.values[result.valid], data.values[::-1][result.valid])


def test_process_may_return_pixels_of_another_type() -> None:
    data = cube(time())

    result = assert_blocks_agree(
        "apply_neighborhood",
        data=data,
        process=lambda data, **_: Pixels(data.values > 100, data.valid),
        size=px(8, 8),
    )

    assert result.dtype == bool


def test_pixels_outside_of_the_cube_stay_no_data() -> None:
    data = cube(invalid=0.0)
    wanted = EXTENT.grown(4, 4)

    result = PROCESSES["apply_neighborhood"].function(
        data=data,
        process=lambda data, **_: data.same_pixels(data.values, np.ones_like(data.valid)),
        size=px(8, 8),
        place=Place(wanted, EXTENT),
    )

    assert_same(result, padded(data, wanted))


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (DimensionNotAvailable, {"size": px(4, 4, z=3)}),
        (DimensionNotAvailable, {"overlap": px(4, 4, z=3)}),
        (ArgumentInvalid, {"size": px(0, 4)}),
        (ArgumentInvalid, {"size": px(-4, 4)}),
        (ArgumentInvalid, {"size": px(4.5, 4)}),
        (ArgumentInvalid, {"size": px(1e300, 4)}),
        (ArgumentInvalid, {"overlap": px(1e300, 4)}),
        (ArgumentInvalid, {"size": [{"dimension": "x", "value": "P1D"}]}),
        (ArgumentInvalid, {"size": [{"dimension": "t", "value": "P1X"}]}),
        (ArgumentInvalid, {"size": [{"dimension": "t", "value": "-P1D"}]}),
        (ArgumentInvalid, {"size": [{"dimension": "t", "value": "P0D"}]}),
        (ArgumentInvalid, {"size": [{"dimension": "t", "value": 3, "unit": "m"}]}),
        (DataCubePropertiesImmutable, {"process": lambda data, **_: data.take("t", [0])}),
        (DataCubePropertiesImmutable, {"process": lambda **_: 1.0}),
        (
            DataCubePropertiesImmutable,
            {"size": px(1, 1), "process": lambda data, **_: Stack(data.values[:2], data.valid[:2])},
        ),
    ],
)
def test_neighborhood_errors(error: type[Exception], changed: dict[str, Any]) -> None:
    arguments = {"data": cube(time()), "process": mean_around, "size": px(4, 4)}

    with pytest.raises(error):
        infer("apply_neighborhood", **(arguments | changed))


def test_metres_of_a_grid_in_degrees_are_those_at_its_middle() -> None:
    grid = Grid.of("EPSG:4326", 10.0, 60.02, 0.001, 40, 50)  # the middle is at 60 degrees
    metres = [{"dimension": d, "value": 1113.2 / 2, "unit": "m"} for d in "yx"]
    arguments = {"data": cube(time(), grid=grid), "process": mean_around}

    result = assert_blocks_agree("apply_neighborhood", size=metres, **arguments)

    assert_same(result, evaluate("apply_neighborhood", size=px(5, 10), **arguments))


def test_metres_of_a_grid_in_feet_are_refused() -> None:
    grid = Grid.of("EPSG:2263", 1_000_000.0, 200_000.0, 30.0, 40, 50)
    size = [{"dimension": "x", "value": 100, "unit": "m"}]

    with pytest.raises(ArgumentInvalid, match="px"):
        infer("apply_neighborhood", data=cube(grid=grid), process=mean_around, size=size)


DAYS = (
    "2020-01-30",
    "2020-02-10",
    "2020-02-28",
    "2020-02-29",
    "2020-05-01",
    "2020-05-29T12:00:00Z",
)


@pytest.mark.parametrize(
    ("size", "overlap", "seen"),
    [
        # Months are counted from the first date: 30 January, 29 February, 30 March, 30 April.
        ("P1M", None, [DAYS[:3], DAYS[3:4], DAYS[4:]]),
        ("P1M", "P2D", [DAYS[:4], DAYS[2:4], DAYS[4:]]),
        ("P2M", "P1M", [DAYS[:4], DAYS[3:]]),
        ("P1W", None, [DAYS[:1], DAYS[1:2], DAYS[2:4], DAYS[4:5], DAYS[5:]]),
        ("P1M", 1, [DAYS[:4], DAYS[2:5], DAYS[3:]]),
        (2, "P1D", [DAYS[:2], DAYS[2:4], DAYS[4:]]),
        (3, "P1D", [DAYS[:4], DAYS[2:]]),
        (1, "PT24H", [DAYS[:1], DAYS[1:2], DAYS[2:4], DAYS[2:4], DAYS[4:5], DAYS[5:]]),
    ],
)
def test_dates_are_cut_by_durations_from_the_first_one(
    size: Any, overlap: Any, seen: list[tuple[str, ...]]
) -> None:
    data, chunks = cube(time(DAYS), bands()), []

    def look(data: Cube, context: Any = None) -> Cube:
        del context
        chunks.append(data.dimension("t").labels)
        return data

    def along(value: Any) -> list[dict[str, Any]]:
        return [] if value is None else [{"dimension": "t", "value": value}]

    result = evaluate(
        "apply_neighborhood", data=data, process=look, size=along(size), overlap=along(overlap)
    )

    assert chunks[len(chunks) // 2 :] == seen  # the first half of the calls is inference
    assert_same(result, data)


def test_dates_that_lie_far_apart_are_cut_by_short_durations() -> None:
    dates = ("2020-01-31", "2020-03-01", "2029-01-12T00:00:00.002Z")
    dimension = Dimension("t", Kind.TEMPORAL, dates)

    by_moments = label_cuts(Span(parse_duration("PT0.001S"), 0), dimension)
    by_months = label_cuts(Span(parse_duration("P1M"), 0), dimension)

    assert [own for own, _ in by_moments] == [slice(0, 1), slice(1, 2), slice(2, 3)]
    # the second month begins on 29 February, the third on 31 March
    assert [own for own, _ in by_months] == [slice(0, 1), slice(1, 2), slice(2, 3)]


def test_dates_that_are_not_in_order_are_not_cut_by_durations() -> None:
    size = [{"dimension": "t", "value": "P1D"}]

    for labels in (TIMES[::-1], ("2020-djf", "2020-mam")):
        with pytest.raises(ArgumentInvalid):
            infer("apply_neighborhood", data=cube(time(labels)), process=mean_around, size=size)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_chunks_of_one_row_or_column_are_arrays_of_coordinates(axis: str) -> None:
    data, across = cube(time(TIMES[:1])), "y" if axis == "x" else "x"
    labels = set()

    def last_to_first(data: Stack, context: Any = None) -> Stack:
        del context
        labels.update(data.labels)
        assert len(data) == 6
        return Stack(data.values[::-1], data.valid[::-1])

    result = assert_blocks_agree(
        "apply_neighborhood",
        data=data,
        process=last_to_first,
        size=px(**{axis: 4, across: 1}),
        overlap=px(**{axis: 1, across: 0}),
    )

    turned = np.moveaxis(data.values, data.axis(axis), -1)
    valid = np.moveaxis(data.valid, data.axis(axis), -1)
    expected, known = turned.copy(), valid.copy()
    length = turned.shape[-1]
    for start in range(0, length, 4):
        for place in range(start, min(start + 4, length)):
            mirror = 2 * start + 3 - place
            expected[..., place] = turned[..., mirror] if mirror < length else 0
            known[..., place] = valid[..., mirror] if mirror < length else False
    found = np.moveaxis(result.valid, data.axis(axis), -1)
    np.testing.assert_array_equal(found, known)
    np.testing.assert_array_equal(
        np.moveaxis(result.values, data.axis(axis), -1)[known], expected[known]
    )
    assert set(GRID.xs(EXTENT) if axis == "x" else GRID.ys(EXTENT)) <= labels
