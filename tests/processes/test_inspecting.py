"""`inspect`: passes everything on, and tells once about all pixels, however they are computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.staged import inferred, known, load, node, ref, result

from terrazzo import logs
from terrazzo.engine import evaluate, make_plan
from terrazzo.errors import GraphInvalid
from terrazzo.geo.blocks import Blocks
from terrazzo.geo.grid import Grid
from terrazzo.logs import Entry, Summary
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import DATA, LEFT, TOP, callback

X = {"from_parameter": "x"}


def chain(*, inspected: bool, resolution: float = 0) -> dict[str, Any]:
    """Return a graph that looks at neighbours after it is inspected."""
    nodes = {"load": load()}
    if inspected:
        nodes["look"] = node("inspect", data=ref("load"), message="here", level="debug")
    nodes["data"] = node(
        "apply",
        data=ref("look" if inspected else "load"),
        process=callback("multiply", x=X, y=0.5),
    )
    nodes["smooth"] = node("apply_kernel", data=ref("data"), kernel=[[1.0] * 5] * 5)
    if resolution:
        nodes["coarse"] = node("resample_spatial", data=ref("smooth"), resolution=resolution)
    return nodes


def told_by_blocks(nodes: dict[str, Any], block: int, grid: Grid | None = None) -> list[Entry]:
    """Compute a graph block by block, as a run does; return what is logged."""
    plan = make_plan(known(nodes), grid)
    log = logs.Log()
    for window in Blocks(plan.window, block):
        with logs.collected() as here:
            evaluate(plan, window)
        log.extend(here.all())
    return list(log.all())


def the_summary(entries: list[Entry]) -> Summary:
    (entry,) = entries
    assert isinstance(entry.data, Summary)
    return entry.data


@pytest.mark.parametrize("resolution", [0, 15, 40])
def test_an_inspected_chain_gives_the_same_pixels(resolution: float):
    expected = result(chain(inspected=False, resolution=resolution))

    assert_same_pixels(result(chain(inspected=True, resolution=resolution)), expected)


@pytest.mark.parametrize("method", ["bilinear", "average"])
def test_an_inspected_source_is_resampled_as_it_is_read(method: str):
    warp = {"resolution": 25, "projection": 32634, "method": method}
    plain = {"load": load(), "warp": node("resample_spatial", data=ref("load"), **warp)}
    seen = {
        "load": load(),
        "look": node("inspect", data=ref("load")),
        "warp": node("resample_spatial", data=ref("look"), **warp),
    }

    assert_same_pixels(result(seen), result(plain))


@settings(max_examples=10, deadline=None)
@given(block=st.integers(5, 90))
def test_one_entry_tells_of_all_pixels_each_counted_once(block: int):
    cube = result({"load": load()})
    numbers = cube.values[cube.valid].astype(np.float64)

    entries = told_by_blocks(chain(inspected=True), block)

    told = the_summary(entries).told()
    assert (entries[0].message, entries[0].level, entries[0].code) == ("here", "debug", "User")
    assert entries[0].path == (("look", "inspect"),)
    assert told["valid"] == numbers.size
    assert told["no_data"] == cube.valid.size - numbers.size
    assert (told["min"], told["max"]) == (numbers.min(), numbers.max())
    assert told["mean"] == numbers.sum() / numbers.size
    assert [one["name"] for one in told["dimensions"]] == ["t", "bands", "y", "x"]
    assert told["dimensions"][1]["labels"] == ["red", "nir"]
    assert told["dtype"] == "float32"


@pytest.mark.parametrize("resolution", [40, 15])
def test_pixels_below_a_warp_are_counted_once(resolution: float):
    nodes = chain(inspected=True, resolution=resolution)

    whole, *parts = (the_summary(told_by_blocks(nodes, block)) for block in (100, 9, 4))

    assert whole.count > 20_000
    assert parts == [whole, whole]


def test_a_callback_tells_once_about_all_pixels():
    process = {
        "process_graph": {
            "half": node("multiply", x=X, y=0.5),
            "look": node("inspect", data=ref("half"), code="half"),
            "more": {**node("add", x=ref("look"), y=1), "result": True},
        }
    }
    nodes = {"load": load(), "apply": node("apply", data=ref("load"), process=process)}
    cube = result({"load": load()})

    entries = told_by_blocks(nodes, 16)

    assert the_summary(entries).count == cube.valid.sum()
    assert the_summary(entries).told()["max"] == cube.values[cube.valid].max() / 2
    assert entries[0].path == (("look", "inspect"), ("apply", "apply"))


def test_a_callback_over_dates_tells_of_arrays():
    process = {
        "process_graph": {
            "look": node("inspect", data=DATA),
            "last": {**node("last", data=ref("look")), "result": True},
        }
    }
    reduce = node("reduce_dimension", data=ref("load"), reducer=process, dimension="t")

    entries = told_by_blocks({"load": load(), "reduce": reduce}, 16)

    told = the_summary(entries).told()
    assert len(told["labels"]) == 3
    assert told["valid"] + told["no_data"] == 60 * 70 * 2 * 3


def test_a_constant_inside_a_callback_is_told_once():
    process = {
        "process_graph": {
            "look": node("inspect", data=[1, None, 2.5], message="weights"),
            "most": node("max", data=ref("look")),
            "more": {**node("add", x=X, y=ref("most")), "result": True},
        }
    }
    nodes = {"load": load(), "apply": node("apply", data=ref("load"), process=process)}

    (entry,) = told_by_blocks(nodes, 16)

    assert entry.data == [1, None, 2.5]


@pytest.mark.parametrize("value", [3, None, "text", True, [1, 2], {"a": [None]}])
def test_values_are_told_as_they_are(value: Any):
    nodes = {"look": node("inspect", data=value, message="m", code="C", level="error")}

    with logs.collected() as log:
        inference = inferred(nodes)

    (entry,) = log.all()
    assert (entry.data, entry.message, entry.code, entry.level) == (value, "m", "C", "error")
    assert inference.nodes["look"].result == value


def test_what_a_stage_found_is_told_with_its_values_and_only_then():
    nodes = {
        "load": load(bands=["red"]),
        "mean": node("reduce_spatial", data=ref("load"), reducer=callback("max", data=DATA)),
        "look": node("inspect", data=ref("mean")),
    }

    with logs.collected() as before:
        inferred(nodes)
    with logs.collected() as log:
        cube = known(nodes).nodes["look"].result

    assert before.all() == ()
    (entry,) = log.all()
    assert entry.data["values"] == cube.values.tolist()
    assert [one["name"] for one in entry.data["dimensions"]] == ["t", "bands"]


def test_nan_is_told_apart_from_no_data():
    divide = callback("divide", x=X, y=0)
    nodes = {
        "load": load(),
        "odd": node("apply", data=ref("load"), process=divide),
        "look": node("inspect", data=ref("odd")),
    }
    cube = result({"load": load()})
    zeros = int((cube.values[cube.valid] == 0).sum())

    told = the_summary(told_by_blocks(nodes, 64)).told()

    assert (told["nan"], told["infinite"]) == (zeros, cube.valid.sum() - zeros)
    assert told["mean"] is None


def test_many_labels_are_shortened():
    process = {
        "process_graph": {
            "many": node("array_create", data=[0], repeat=200),
            "look": {**node("inspect", data=ref("many")), "result": True},
        }
    }
    nodes = {
        "load": load(bands=["red"]),
        "apply": node("apply_dimension", data=ref("load"), process=process, dimension="t"),
        "look": node("inspect", data=ref("apply")),
    }

    entries = told_by_blocks(nodes, 64)

    labels = entries[-1].data.about["dimensions"][0]["labels"]
    assert labels[5] == "... 190 more ..."
    assert len(labels) == 11


def test_a_level_openeo_does_not_know_is_refused():
    with pytest.raises(GraphInvalid, match="level"):
        inferred({"look": node("inspect", data=1, level="loud")})


def test_a_tile_tells_of_its_own_pixels():
    grid = Grid.of(32633, LEFT, TOP, 20.0, 30, 35)

    told = the_summary(told_by_blocks(chain(inspected=True), 10, grid)).told()

    assert told["valid"] + told["no_data"] == 3 * 2 * 30 * 35
    assert [one.get("step") for one in told["dimensions"]] == [None, None, 20, 20]
