"""Reduction of all pixels, and removal of labels without data: against NumPy, on any blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.staged import known, load, node, ref, result

from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.geo.grid import Grid, Window
from terrazzo.processes import PROCESSES
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import DATA, callback, collections
from terrazzo.testing.synthetic import SyntheticOpener, SyntheticSource

X = {"from_parameter": "x"}
FOLDED = ("sum", "mean", "variance", "sd", "min", "max", "count")


def reduced(reducer: dict[str, Any], **means: Any) -> Cube:
    data = node("reduce_spatial", data=ref("load"), reducer=reducer)
    return result({"load": load(), "reduced": data}, **means)


def gathered(process: str) -> dict[str, Any]:
    """Return a reducer that is no single process, so that all pixels are held for it."""
    return {
        "process_graph": {
            "one": node(process, data=DATA),
            "same": {**node("add", x=ref("one"), y=0), "result": True},
        }
    }


def pixels() -> tuple[np.ndarray, np.ndarray]:
    cube = result({"load": load()})
    flat = cube.values.reshape(*cube.values.shape[:2], -1).astype(np.float64)
    return flat, cube.valid.reshape(flat.shape)


@pytest.mark.parametrize("process", FOLDED)
def test_folds_are_what_numpy_says(process: str):
    values, valid = pixels()
    oracle = {
        "sum": np.sum,
        "mean": np.mean,
        "variance": lambda n: np.var(n, ddof=1),
        "sd": lambda n: np.std(n, ddof=1),
        "min": np.min,
        "max": np.max,
        "count": np.size,
    }[process]
    expected = [[oracle(values[t, b][valid[t, b]]) for b in range(2)] for t in range(3)]

    cube = reduced(callback(process, data=DATA))

    assert cube.names == ("t", "bands")
    assert cube.grid is None
    assert cube.valid.all()
    np.testing.assert_allclose(cube.values, expected, rtol=1e-6)


@pytest.mark.parametrize("process", [*FOLDED[:6], "median", "first"])
def test_a_reducer_gets_all_pixels_in_row_order(process: str):
    values, valid = pixels()
    oracle = {
        "sum": np.sum,
        "mean": np.mean,
        "variance": lambda n: np.var(n, ddof=1),
        "sd": lambda n: np.std(n, ddof=1),
        "min": np.min,
        "max": np.max,
        "median": np.median,
        "first": lambda n: n[0],
    }[process]
    expected = [[oracle(values[t, b][valid[t, b]]) for b in range(2)] for t in range(3)]

    np.testing.assert_allclose(reduced(gathered(process)).values, expected, rtol=1e-6)


@settings(max_examples=15, deadline=None)
@given(
    process=st.sampled_from(("mean", "sd", "median", "product")),
    block=st.integers(3, 80),
    workers=st.integers(1, 3),
)
def test_bits_do_not_depend_on_blocks_and_workers(process: str, block: int, workers: int):
    expected = reduced(callback(process, data=DATA), block=33, workers=1)

    found = reduced(callback(process, data=DATA), block=block, workers=workers)

    assert_same_pixels(found, expected)


def test_labels_are_gathered_in_as_many_passes_as_memory_allows():
    opener = collections(dtype="float32")
    data = node("reduce_spatial", data=ref("load"), reducer=callback("median", data=DATA))
    pixels_ = 60 * 70

    cube = result({"load": load(), "m": data}, opener, memory=2 * pixels_ * (48 + 5) + 1, block=100)

    labels = [tuple(sorted(one.items())) for _, one in opener.sources["fine"].reads]
    assert len(set(labels)) == 6
    assert_same_pixels(cube, reduced(callback("median", data=DATA)))


@pytest.mark.parametrize("process", FOLDED)
@pytest.mark.parametrize("ignore", [True, False])
def test_folds_treat_no_data_as_their_process_does(process: str, ignore: bool):
    arguments = {} if process == "count" else {"ignore_nodata": ignore}
    one = callback(process, data=DATA, **arguments)
    single = next(iter(one["process_graph"].values()))
    several = {
        "process_graph": {
            "one": {k: v for k, v in single.items() if k != "result"},
            "same": {**node("add", x=ref("only"), y=0), "result": True},
        }
    }
    several["process_graph"]["only"] = several["process_graph"].pop("one")

    folded, held = reduced(one), reduced(several)

    np.testing.assert_array_equal(folded.valid, held.valid)
    there = held.valid
    np.testing.assert_allclose(folded.values[there], held.values[there], rtol=1e-6)


def test_nothing_but_no_data_gives_no_data_and_a_count_of_none():
    opener = SyntheticOpener(
        {"fine": SyntheticSource(Grid.of(32633, 500_000, 5_000_000, 10, 9, 8), gaps=1)}
    )
    nodes = {"load": load()}
    for name in ("mean", "count"):
        nodes[name] = node("reduce_spatial", data=ref("load"), reducer=callback(name, data=DATA))
        cube = result(dict(nodes), opener)
        assert cube.valid.all() == (name == "count")
        assert not cube.values.any()


def test_a_count_of_more_pixels_than_fit_uint16_is_right():
    opener = SyntheticOpener(
        {"fine": SyntheticSource(Grid.of(32633, 500_000, 5_000_000, 10, 300, 300), gaps=0)}
    )
    data = node("reduce_spatial", data=ref("load"), reducer=callback("count", data=DATA))

    cube = result({"load": load(), "count": data}, opener, block=128)

    assert (cube.values == 90_000).all()


def test_a_cube_without_dimensions_is_a_number():
    nodes = {
        "load": load(bands=["red"], temporal_extent=["2020-01-01", "2020-01-10"]),
        "flat": node("drop_dimension", data=ref("load"), name="t"),
        "one": node("drop_dimension", data=ref("flat"), name="bands"),
        "mean": node("reduce_spatial", data=ref("one"), reducer=callback("mean", data=DATA)),
        "twice": node("multiply", x=ref("mean"), y=2),
    }
    values, valid = pixels()

    assert result(nodes) == pytest.approx(2 * values[0, 0][valid[0, 0]].mean(), rel=1e-6)


def trimmed_oracle(cube: Cube) -> Cube:
    """Trim a cube that is whole, axis by axis."""
    valid = cube.valid
    for axis, dimension in enumerate(cube.dimensions):
        holds = valid.any(axis=tuple(a for a in range(valid.ndim) if a != axis))
        places = np.flatnonzero(holds)
        if dimension.kind is Kind.SPATIAL:
            continue
        if dimension.kind is Kind.TEMPORAL:
            places = np.arange(places[0], places[-1] + 1)
        cube = cube.take(dimension.name, places.tolist())
    rows, cols = (np.flatnonzero(valid.any(axis=axes)) for axes in ((0, 1, 3), (0, 1, 2)))
    return cube.crop(Window(rows[0], cols[0], rows[-1] - rows[0] + 1, cols[-1] - cols[0] + 1))


def sparse() -> dict[str, Any]:
    """Return a graph whose cube has data in a part of its pixels, and in some labels only."""
    return {
        "load": load(bands=["red", "nir"]),
        "part": node(
            "mask_polygon",
            data=ref("load"),
            mask={
                "type": "Polygon",
                "coordinates": [
                    [
                        [500_105, 4_999_905],
                        [500_295, 4_999_905],
                        [500_205, 4_999_695],
                        [500_105, 4_999_905],
                    ]
                ],
                "crs": {"type": "name", "properties": {"name": "EPSG:32633"}},
            },
        ),
        "more": node("merge_cubes", cube1=ref("part"), cube2=ref("none")),
        "none": node(
            "rename_labels",
            data=ref("empty"),
            dimension="bands",
            target=["a", "b"],
            source=["red", "nir"],
        ),
        "empty": node("mask", data=ref("load"), mask=ref("all")),
        "all": node("apply", data=ref("load"), process=callback("gte", x=X, y=0)),
        "last": node("filter_bands", data=ref("more"), bands=["a", "red", "b", "nir"]),
    }


@pytest.mark.parametrize("block", [7, 64])
def test_rows_columns_and_labels_without_data_are_trimmed(block: int):
    nodes = sparse()
    cube = result(nodes)

    trimmed = result(nodes | {"trim": node("trim_cube", data=ref("last"))}, block=block)

    assert trimmed.dimension("bands").labels == ("red", "nir")
    assert_same_pixels(trimmed, trimmed_oracle(cube))


def test_a_trimmed_cube_is_the_same_in_every_window_and_goes_on():
    nodes = sparse() | {
        "trim": node("trim_cube", data=ref("last")),
        "smooth": node("apply_kernel", data=ref("trim"), kernel=[[1, 2, 1]] * 3, factor=0.25),
    }
    whole = result(nodes)
    window = Window(whole.window.row + 3, whole.window.col + 2, 9, 8)

    assert_same_pixels(result(nodes, window=window), whole.crop(window))


def test_dates_in_the_middle_stay_and_bands_in_the_middle_go():
    shape = (4, 3, 1, 1)
    valid = np.ones(shape, np.bool_)
    valid[[0, 2]] = False
    valid[:, 1] = False
    dates = tuple(f"2020-0{month}-01T00:00:00Z" for month in range(1, 5))
    cube = Cube(
        np.ones(shape),
        valid,
        (
            Dimension("t", Kind.TEMPORAL, dates),
            Dimension("bands", Kind.BANDS, ("a", "b", "c")),
            Dimension("y", Kind.SPATIAL),
            Dimension("x", Kind.SPATIAL),
        ),
        Grid.of(32633, 0, 0, 10, 1, 1),
        Window(0, 0, 1, 1),
    )

    trimmed = PROCESSES["trim_cube"].function(data=cube)

    assert trimmed.dimension("t").labels == dates[1:]
    assert trimmed.dimension("bands").labels == ("a", "c")


def test_a_table_is_trimmed_at_once():
    cube = Cube(
        np.arange(6.0).reshape(2, 3),
        np.array([[True, False, True], [False, False, False]]),
        (Dimension("bands", Kind.BANDS, ("a", "b")), Dimension("depth", Kind.OTHER, (1, 2, 3))),
    )

    trimmed = PROCESSES["trim_cube"].function(data=cube)

    assert trimmed.dimension("bands").labels == ("a",)
    assert trimmed.dimension("depth").labels == (1, 2, 3)
    assert PROCESSES["trim_cube"].function(data=trimmed).values.shape == (1, 3)
    nothing = replace(cube, valid=np.zeros((2, 3), np.bool_))
    assert PROCESSES["trim_cube"].function(data=nothing).values.shape == (0, 0)


def test_labels_are_known_after_the_stage_only():
    nodes = sparse() | {"trim": node("trim_cube", data=ref("last"))}

    assert known(nodes).nodes["trim"].result.dimension("bands").labels == ("red", "nir")
