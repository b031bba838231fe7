"""The official vectors, and the runner itself: whatever is wrong must be told.

Every case of a wrong vector stands beside the right one, so that it fails for the reason given.
"""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from terrazzo.processes import PROCESSES
from terrazzo.testing.graphs import collections
from terrazzo.testing.vectors import read_vectors, run_file, run_vector
from terrazzo.testing.vectors import run as runner
from terrazzo.testing.vectors.errata import errata

OFFICIAL = Path(os.environ.get("TERRAZZO_SHARED", "/nowhere"), "openeo", "vectors")
NAMES = sorted(path.stem for path in OFFICIAL.glob("*.json"))

NODATA = {"type": "nodata"}
NAN, INF = float("nan"), float("inf")


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("name", NAMES)
def test_official_vectors_pass(name: str) -> None:
    (file,) = read_vectors(OFFICIAL / f"{name}.json")

    report = run_file(file)

    assert {outcome.index: outcome.text for outcome in report.failures} == {}


@pytest.mark.usefixtures("shared")
def test_errata_say_which_vectors_were_at_hand() -> None:
    there = {
        (file.process, vector["index"])
        for file in read_vectors(OFFICIAL)
        for vector in file.vectors
    }

    seen = {place for place, erratum in errata().items() if erratum.seen}

    assert seen == set(errata()) & there
    assert all(errata()[place].change for place in seen)


def cube(**changes: Any) -> dict[str, Any]:
    """Return the JSON of a cube of two dates, two rows and three columns."""
    document = {
        "type": "datacube",
        "order": ["t", "y", "x"],
        "dimensions": {
            "t": {"type": "temporal", "values": ["2020-01-01", "2020-01-02"]},
            "y": {"type": "spatial", "axis": "y", "values": [25.0, 15.0]},
            "x": {"type": "spatial", "axis": "x", "values": [5.0, 15.0, 25.0]},
        },
        "data": [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, -9]]],
        "nodata": -9,
    }
    return {**copy.deepcopy(document), **changes}


def dimensions(**changes: Any) -> dict[str, Any]:
    return {**cube()["dimensions"], **changes}


def callback(process: str, **arguments: Any) -> dict[str, Any]:
    node = {"process_id": process, "arguments": arguments, "result": True}
    return {"process_graph": {"only": node}}


PLUS_ONE = callback("add", x={"from_parameter": "x"}, y=1)
SAME = {"data": cube(), "process": callback("multiply", x={"from_parameter": "x"}, y=1)}
COMPARED = {"data": cube(), "process": callback("gt", x={"from_parameter": "x"}, y=4)}
LABELLED = {
    "type": "labeled-array",
    "data": [{"key": "a", "value": 1}, {"key": 2, "value": 3.5}],
}
POSITIVE = {"data": LABELLED, "condition": callback("gt", x={"from_parameter": "x"}, y=0)}

SCALARS = [
    ("boolean is no number", "gt", {"x": 2, "y": 1}, True, 1),
    ("number is no boolean", "add", {"x": 1, "y": 0}, 1, True),
    ("no-data is not NaN", "add", {"x": None, "y": 1}, NODATA, NAN),
    ("NaN is not no-data", "divide", {"x": 0, "y": 0}, NAN, NODATA),
    ("no-data is not zero", "add", {"x": NODATA, "y": 1}, None, 0),
    ("no-data is not false", "gt", {"x": NODATA, "y": 1}, NODATA, False),
    ("text is no number", "text_concat", {"data": [1]}, "1", 1),
    ("sign of infinity", "divide", {"x": 1, "y": 0}, INF, -INF),
    ("infinity is not NaN", "multiply", {"x": INF, "y": 0}, NAN, INF),
    ("tenth digit", "multiply", {"x": 3, "y": 1}, 3, 3.000000001),
    ("small numbers", "multiply", {"x": 1e-8, "y": 1}, 1e-8, 1.001e-8),
    ("entry of an array", "array_create", {"data": [1, 2]}, [1, 2], [1, 3]),
    ("length of an array", "array_create", {"data": [1, 2]}, [1, 2], [1, 2, 3]),
    ("order of an array", "array_create", {"data": [1, 2]}, [1, 2], [2, 1]),
    ("no-data in an array", "array_create", {"data": [1, NODATA]}, [1, None], [1, NAN]),
    ("boolean in an array", "array_create", {"data": [True, False]}, [True, False], [1, 0]),
    ("array is no number", "array_create", {"data": [1]}, [1], 1),
    ("labels are there", "array_filter", POSITIVE, LABELLED, [1, 3.5]),
]


def ids(cases: list[tuple[Any, ...]]) -> list[str]:
    return [case[0] for case in cases]


@pytest.mark.parametrize(
    ("what", "process", "arguments", "right", "wrong"), SCALARS, ids=ids(SCALARS)
)
def test_scalars_are_compared_strictly(
    what: str, process: str, arguments: dict[str, Any], right: Any, wrong: Any
) -> None:
    del what

    good = run_vector(process, {"arguments": arguments, "returns": right})
    bad = run_vector(process, {"arguments": arguments, "returns": wrong})

    assert good.passed, good.text
    assert not bad.passed
    assert "expected" in bad.text


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([("a", 1), (3, 3.5)], id="label"),
        pytest.param([("a", 1), ("2", 3.5)], id="type of a label"),
        pytest.param([(2, 3.5), ("a", 1)], id="order"),
        pytest.param([("a", 1), (2, 3.25)], id="value"),
    ],
)
def test_labelled_arrays_are_compared_with_their_labels(keys: list[tuple[Any, Any]]) -> None:
    arguments = {"data": LABELLED, "process": callback("add", x={"from_parameter": "x"}, y=0)}
    wrong = {"type": "labeled-array", "data": [{"key": k, "value": v} for k, v in keys]}

    good = run_vector("array_apply", {"arguments": arguments, "returns": LABELLED})
    bad = run_vector("array_apply", {"arguments": arguments, "returns": wrong})

    assert good.passed, good.text
    assert not bad.passed


def test_a_tolerance_is_what_the_vector_says() -> None:
    vector = {"arguments": {"x": 2, "y": 1}, "returns": 3.01}

    assert not run_vector("add", vector).passed
    assert run_vector("add", {**vector, "delta": 0.02}).passed
    assert not run_vector("add", {**vector, "delta": 0.001}).passed


def test_instants_keep_their_text() -> None:
    arguments = {"date": "2020-01-31", "value": 1, "unit": "month"}
    right, wrong = "2020-02-29", "2020-02-29T00:00:00Z"

    for value in (right, {"type": "datetime", "value": right}):
        assert run_vector("date_shift", {"arguments": arguments, "returns": value}).passed
    for value in (wrong, {"type": "datetime", "value": wrong}):
        assert not run_vector("date_shift", {"arguments": arguments, "returns": value}).passed


@pytest.mark.parametrize(
    ("vector", "passes"),
    [
        ({"throws": "ArrayElementNotAvailable"}, True),
        ({"throws": True}, True),
        ({"throws": "ArrayNotLabeled"}, False),
        ({"returns": 1}, False),
        ({"returns": 1, "throws": "ArrayElementNotAvailable"}, True),
        ({"returns": 1, "throws": "ArrayNotLabeled"}, False),
    ],
)
def test_what_is_thrown_has_the_code_that_is_expected(vector: dict[str, Any], passes: bool) -> None:
    arguments = {"data": [1, 2], "index": 5}

    verdict = run_vector("array_element", {"arguments": arguments, **vector})

    assert verdict.passed is passes, verdict.text


def test_a_result_is_no_error() -> None:
    arguments = {"data": [1, 2], "index": 1}

    for throws in (True, "ArrayElementNotAvailable"):
        verdict = run_vector("array_element", {"arguments": arguments, "throws": throws})
        assert not verdict.passed
    either = {"arguments": arguments, "throws": True, "returns": 2}
    assert run_vector("array_element", either).passed


def test_a_crash_is_no_error_that_was_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*, x: Any, y: Any) -> Any:
        return {x: y}["nothing"]

    broken = {**PROCESSES, "add": replace(PROCESSES["add"], function=crash)}
    monkeypatch.setattr("terrazzo.engine.callbacks.PROCESSES", broken)
    monkeypatch.setattr(runner, "PROCESSES", broken)

    for expected in ({"throws": True}, {"throws": "KeyError"}, {"returns": 3}):
        verdict = run_vector("add", {"arguments": {"x": 1, "y": 2}, **expected})
        assert not verdict.passed
        assert "crashed with KeyError: 'nothing' (test_vectors.py:" in verdict.text


def test_a_value_must_do_as_a_literal_and_as_a_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    vector = {"arguments": {"x": 1, "y": 2}, "returns": 3}
    assert run_vector("add", vector).passed

    monkeypatch.setattr(runner, "_evaluated", lambda *_, **__: 4)

    assert run_vector("add", vector).text == "as literals: expected 3, got 4"


def test_a_cube_passes_as_it_is() -> None:
    returned = cube(data=[[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, None]]], nodata=None)

    for expected in (cube(), returned, cube(data=None)):
        verdict = run_vector("apply", {"arguments": SAME, "returns": expected})
        assert verdict.passed, verdict.text


WRONG_CUBES = [
    ("one pixel", {"data": [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11.001, -9]]]}),
    ("no-data that is none", {"nodata": -8}),
    ("no-data where there are data", {"nodata": 4}),
    ("no-data that is NaN", {"data": [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, NAN]]]}),
    ("a missing row", {"data": [[[1, 2, 3]], [[7, 8, 9]]]}),
    ("a missing level", {"data": [[1, 2, 3], [4, 5, 6]]}),
    ("a level too many", {"data": [[[[1], [2], [3]]]]}),
    (
        "name of a dimension",
        {
            "order": ["time", "y", "x"],
            "dimensions": {"time": dimensions()["t"], **{k: dimensions()[k] for k in "yx"}},
        },
    ),
    (
        "type of a dimension",
        {"dimensions": dimensions(t={"type": "other", "values": ["2020-01-01", "2020-01-02"]})},
    ),
    (
        "a label",
        {"dimensions": dimensions(t={"type": "temporal", "values": ["2020-01-01", "2020-01-03"]})},
    ),
    (
        "form of a date",
        {
            "dimensions": dimensions(
                t={"type": "temporal", "values": ["2020-01-01", "2020-01-02T00:00:00Z"]}
            )
        },
    ),
    (
        "place of pixels",
        {"dimensions": dimensions(x={"type": "spatial", "axis": "x", "values": [5.0, 15.0, 26.0]})},
    ),
    (
        "number of pixels",
        {
            "dimensions": dimensions(x={"type": "spatial", "axis": "x", "values": [5.0, 15.0]}),
            "data": None,
        },
    ),
    (
        "axes exchanged",
        {
            "dimensions": dimensions(
                x={"type": "spatial", "axis": "y", "values": [5.0, 15.0, 25.0]},
                y={"type": "spatial", "axis": "x", "values": [25.0, 15.0]},
            ),
        },
    ),
    ("no dimensions", {"order": [], "dimensions": {}, "data": 1}),
    ("dimensions that are a list", {"dimensions": [{"name": "t"}]}),
]


@pytest.mark.parametrize(("what", "changes"), WRONG_CUBES, ids=ids(WRONG_CUBES))
def test_cubes_are_compared_strictly(what: str, changes: dict[str, Any]) -> None:
    del what

    verdict = run_vector("apply", {"arguments": SAME, "returns": cube(**changes)})

    assert not verdict.passed
    assert "expected" in verdict.text
    assert "crashed" not in verdict.text


def test_a_cube_of_booleans_holds_no_numbers() -> None:
    right = [[[False] * 3, [False, True, True]], [[True] * 3, [True, True, None]]]
    wrong = [[[0, 0, 0], [0, 1, 1]], [[1, 1, 1], [1, 1, None]]]

    assert run_vector("apply", {"arguments": COMPARED, "returns": cube(data=right)}).passed
    assert not run_vector("apply", {"arguments": COMPARED, "returns": cube(data=wrong)}).passed


def test_types_of_labels_count() -> None:
    bands = {"type": "bands", "values": [1, 2]}
    given = cube(order=["bands", "y", "x"], dimensions={"bands": bands, **dimensions()})
    del given["dimensions"]["t"]
    arguments = {**SAME, "data": given}
    wrong = copy.deepcopy(given)
    wrong["dimensions"]["bands"]["values"] = ["1", "2"]

    assert run_vector("apply", {"arguments": arguments, "returns": given}).passed
    assert not run_vector("apply", {"arguments": arguments, "returns": wrong}).passed


def test_a_number_is_no_cube_and_a_cube_no_number() -> None:
    labels = {"data": cube(), "dimension": "t"}

    assert run_vector(
        "dimension_labels", {"arguments": labels, "returns": ["2020-01-01", "2020-01-02"]}
    ).passed
    assert not run_vector("dimension_labels", {"arguments": labels, "returns": cube()}).passed
    assert not run_vector("apply", {"arguments": SAME, "returns": [1, 2]}).passed


@pytest.mark.parametrize("order", [["x", "t", "y"], ["y", "x", "t"], ["t", "x", "y"]])
@pytest.mark.parametrize("north_up", [True, False])
def test_dimensions_may_have_any_order_and_y_may_ascend(order: list[str], north_up: bool) -> None:
    values = np.array(cube()["data"]).transpose(["tyx".index(name) for name in order])
    ys = [25.0, 15.0] if north_up else [15.0, 25.0]
    changes = {
        "order": order,
        "dimensions": dimensions(y={"type": "spatial", "axis": "y", "values": ys}),
    }
    given = cube(**changes, data=values.tolist())
    right = cube(**changes, data=np.where(values == -9, -9, values + 1).tolist())
    wrong = cube(**changes, data=np.where(values == -9, -9, values + 1)[::-1].tolist())
    arguments = {"data": given, "process": PLUS_ONE}

    good = run_vector("apply", {"arguments": arguments, "returns": right})

    assert good.passed, good.text
    assert not run_vector("apply", {"arguments": arguments, "returns": wrong}).passed


def test_a_cube_may_lack_space() -> None:
    given = {
        "type": "datacube",
        "order": ["t"],
        "dimensions": {"t": dimensions()["t"]},
        "data": [1, NODATA],
    }
    arguments = {"data": given, "process": PLUS_ONE}

    good = run_vector("apply", {"arguments": arguments, "returns": {**given, "data": [2, None]}})
    bad = run_vector("apply", {"arguments": arguments, "returns": {**given, "data": [2, 1]}})

    assert good.passed, good.text
    assert not bad.passed


def test_an_argument_may_be_what_a_process_gives() -> None:
    square = "POLYGON ((0 10, 10 10, 10 30, 0 30, 0 10))"
    ring = [[0, 10], [10, 10], [10, 30], [0, 30], [0, 10]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    arguments = {
        "data": cube(),
        "geometries": {"process_id": "load_geojson", "arguments": {"data": polygon}},
        "reducer": callback("sum", data={"from_parameter": "data"}),
    }
    # The polygon holds the first column: 1 + 4 and 7 + 10.
    right = {
        "type": "datacube",
        "order": ["geometry", "t"],
        "dimensions": {
            "geometry": {"type": "geometry", "values": [square]},
            "t": dimensions()["t"],
        },
        "data": [[5, 17]],
    }
    elsewhere = copy.deepcopy(right)
    elsewhere["dimensions"]["geometry"]["values"] = [square.replace("30", "31")]

    good = run_vector("aggregate_spatial", {"arguments": arguments, "returns": right})

    assert good.passed, good.text
    for wrong in ({**right, "data": [[5, 18]]}, elsewhere):
        bad = run_vector("aggregate_spatial", {"arguments": arguments, "returns": wrong})
        assert not bad.passed


@pytest.mark.parametrize(
    ("is_off", "named"),
    [
        (lambda plan, window: not plan.fused, "not fused: "),  # noqa: ARG005
        (lambda plan, window: window != plan.window, "in blocks: "),
    ],
    ids=["not fused", "in blocks"],
)
def test_all_ways_of_running_a_graph_must_agree(
    monkeypatch: pytest.MonkeyPatch, is_off: Any, named: str
) -> None:
    vector = {"arguments": SAME, "returns": cube(), "delta": 0.01}
    evaluate = runner.evaluate

    def slightly_off(plan: Any, window: Any) -> Any:
        found = evaluate(plan, window)
        return found.same_pixels(found.values + 1e-6 * is_off(plan, window), found.valid)

    assert run_vector("apply", vector).passed
    monkeypatch.setattr(runner, "evaluate", slightly_off)
    verdict = run_vector("apply", vector)

    assert not verdict.passed
    assert verdict.text.startswith(f"{named}other bits than fused")


@pytest.mark.parametrize(
    ("vector", "text"),
    [
        ({"returns": 1}, "arguments"),
        ({"arguments": {"x": 1, "y": 2}}, "throws"),
        ({"arguments": [1, 2], "returns": 3}, "arguments"),
        ({"arguments": {"x": {"$ref": "x.json"}, "y": 2}, "returns": 1}, "$ref"),
        ({"arguments": {"x": 1, "y": 2}, "returns": 3, "delta": "1"}, "delta"),
        ({"arguments": {"x": 1, "y": 2}, "returns": 3, "required": None}, "NoneType"),
    ],
)
def test_a_malformed_vector_fails(vector: dict[str, Any], text: str) -> None:
    verdict = run_vector("add", vector)

    assert not verdict.passed
    assert "malformed" in verdict.text
    assert text in verdict.text


@pytest.mark.parametrize(
    "changes",
    [
        {"order": ["t", "y"]},
        {"data": [[1, 2], [3, 4]]},
        {"dimensions": dimensions(x={"type": "spatial", "axis": "x", "values": [5, 15, 26]})},
        {"dimensions": dimensions(x={"type": "spatial", "axis": "x", "values": [25, 15, 5]})},
        {"dimensions": dimensions(x={**dimensions()["x"], "reference_system": "nowhere"})},
        {"dimensions": None},
    ],
)
def test_a_malformed_cube_fails(changes: dict[str, Any]) -> None:
    vector = {"arguments": {**SAME, "data": cube(**changes)}, "throws": True}

    verdict = run_vector("apply", vector)

    assert not verdict.passed
    assert "malformed" in verdict.text


def test_a_process_that_is_not_there_is_missing() -> None:
    vector = {"arguments": {"x": 1, "y": 2}, "returns": 3}

    for process, required in (("no_process", []), ("add", ["no_process"])):
        verdict = run_vector(process, {**vector, "required": required, "throws": True})
        assert verdict.missing
        assert not verdict.passed
        assert "no_process" in verdict.text


def test_what_is_no_cube_of_the_vector_is_opened_by_the_opener() -> None:
    arguments = {"id": "fine", "spatial_extent": None, "temporal_extent": None}
    source = collections().sources["fine"]
    described = {
        "t": {"type": "temporal", "values": list(source.times)},
        "bands": {"type": "bands", "values": list(source.bands)},
        "y": {"type": "spatial", "axis": "y", "values": source.grid.ys(source.extent).tolist()},
        "x": {"type": "spatial", "axis": "x", "values": source.grid.xs(source.extent).tolist()},
    }
    returned = {
        "type": "datacube",
        "order": list(described),
        "dimensions": described,
        "data": None,
    }

    opened = run_vector(
        "load_collection", {"arguments": arguments, "returns": returned}, opener=collections()
    )
    alone = run_vector("load_collection", {"arguments": arguments, "throws": "CollectionNotFound"})

    assert opened.passed, opened.text
    assert alone.passed, alone.text


def test_a_third_spatial_dimension_need_not_say_its_axis() -> None:
    height = {"type": "spatial", "values": [100]}
    returned = cube(order=["z", "t", "y", "x"], dimensions=dimensions(z=height), data=None)
    arguments = {"data": cube(), "name": "z", "label": 100, "type": "spatial"}

    good = run_vector("add_dimension", {"arguments": arguments, "returns": returned})
    returned["dimensions"]["z"]["type"] = "other"
    bad = run_vector("add_dimension", {"arguments": arguments, "returns": returned})

    assert good.passed, good.text
    assert not bad.passed
