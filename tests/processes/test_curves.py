"""Fitted and predicted curves, against NumPy's and SciPy's least squares."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.optimize import curve_fit
from tests.processes.cubes import (
    X,
    Y,
    assert_blocks_agree,
    assert_same,
    bands,
    cube,
    evaluate,
    infer,
    other,
    time,
)

from terrazzo.cube import Pixels, Stack
from terrazzo.engine import evaluate as compute
from terrazzo.engine import infer as bind
from terrazzo.engine import make_plan
from terrazzo.engine.callbacks import CompiledCallback, Program
from terrazzo.errors import (
    ArgumentInvalid,
    DimensionAmbiguous,
    DimensionNotAvailable,
    DistinctDimensionLabelsRequired,
)
from terrazzo.graph import parse
from terrazzo.processes import PROCESSES, SPECS
from terrazzo.processes.convert import stack_of, to_json
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import collections

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

YEAR = 31_557_600.0
"""Seconds."""
SOME = np.random.default_rng(4)


def graph(**nodes: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a callback of several nodes, of which the last one is the result."""
    made: dict[str, Any] = {
        name: {"process_id": process, "arguments": arguments}
        for name, (process, arguments) in nodes.items()
    }
    made[list(made)[-1]]["result"] = True
    return {"process_graph": made}


def callback(model: dict[str, Any]) -> CompiledCallback:
    """Return a model as the engine passes it on."""
    arguments = {"data": [1], "parameters": [1], "function": model}
    nodes = {"fit": {"process_id": "fit_curve", "arguments": arguments, "result": True}}
    return CompiledCallback(
        Program.of(parse(nodes, specs=SPECS)["fit"].arguments["function"].graph)
    )


def node(name: str) -> dict[str, str]:
    return {"from_node": name}


def parameter(index: int) -> tuple[str, dict[str, Any]]:
    return "array_element", {"data": {"from_parameter": "parameters"}, "index": index}


AT = {"from_parameter": "x"}
WAVE = graph(
    turn=("multiply", {"x": AT, "y": 2 * np.pi / YEAR}),
    cos=("cos", {"x": node("turn")}),
    sin=("sin", {"x": node("turn")}),
    a=parameter(0),
    b=parameter(1),
    c=parameter(2),
    bcos=("multiply", {"x": node("b"), "y": node("cos")}),
    csin=("multiply", {"x": node("c"), "y": node("sin")}),
    sum=("add", {"x": node("a"), "y": node("bcos")}),
    all=("add", {"x": node("sum"), "y": node("csin")}),
)
"""a + b cos(2 pi x / year) + c sin(2 pi x / year)."""
DECAY = graph(
    a=parameter(0),
    b=parameter(1),
    c=parameter(2),
    minus=("multiply", {"x": AT, "y": -1}),
    bx=("multiply", {"x": node("minus"), "y": node("b")}),
    exp=("exp", {"p": node("bx")}),
    fall=("multiply", {"x": node("a"), "y": node("exp")}),
    all=("add", {"x": node("fall"), "y": node("c")}),
)
"""a exp(-b x) + c."""
TREND = graph(
    a=parameter(0),
    b=parameter(1),
    bx=("multiply", {"x": AT, "y": node("b")}),
    all=("add", {"x": node("a"), "y": node("bx")}),
)
"""a + b x."""
RAMP = graph(
    a=parameter(0),
    b=parameter(1),
    bx=("multiply", {"x": AT, "y": node("b")}),
    line=("add", {"x": node("a"), "y": node("bx")}),
    all=("min", {"data": [node("line"), 100_000]}),
)
"""a + b x, but not above 100000."""


def decay(x: Any, a: Any, b: Any, c: Any) -> Any:
    return a * np.exp(-b * x) + c


def fit(data: Stack, guess: Sequence[float] | Stack, model: dict[str, Any], **more: Any) -> Any:
    parameters = guess if isinstance(guess, Stack) else stack_of(guess)
    return PROCESSES["fit_curve"].function(
        data=data, parameters=parameters, function=callback(model), **more
    )


def series(
    labels: Sequence[Any], truth: Callable[[Any], Any], pixels: tuple[int, int] = (6, 7)
) -> Stack:
    """Return noisy observations of a curve, a third of them missing."""
    x = np.array([label if isinstance(label, (int, float)) else seconds(label) for label in labels])
    values = truth(x[:, np.newaxis, np.newaxis])
    values = values + SOME.normal(size=(len(x), *pixels)) * 0.03
    return Stack(values, SOME.random(values.shape) > 0.3, tuple(labels))


def seconds(label: str) -> float:
    return float((np.datetime64(label.rstrip("Z"), "s") - np.datetime64(0, "s")).astype(float))


DATES = tuple(str(np.datetime64("2019-03-01") + 23 * number) for number in range(40))


def test_waves_are_the_least_squares_solution() -> None:
    data = series(DATES, lambda x: 0.4 + 0.2 * np.cos(2 * np.pi * x / YEAR))

    found = fit(data, [1, 1, 1], WAVE)

    turn = 2 * np.pi * np.array([seconds(label) for label in DATES]) / YEAR
    design = np.stack([np.ones(len(turn)), np.cos(turn), np.sin(turn)], 1)
    assert found.valid.all()
    for place in np.ndindex(data.values.shape[1:]):
        used = data.valid[:, *place]
        best = np.linalg.lstsq(design[used], data.values[used, *place])[0]
        np.testing.assert_allclose(found.values[:, *place], best, rtol=1e-10, atol=1e-13)


def test_a_trend_over_seconds_is_as_exact_as_one_over_years() -> None:
    data = series(DATES, lambda x: 0.3 + x * 1e-10)

    found = fit(data, [1, 1], TREND)

    x = np.array([seconds(label) for label in DATES])
    for place in np.ndindex(data.values.shape[1:]):
        used = data.valid[:, *place]
        slope, height = np.polyfit(x[used] - x.mean(), data.values[used, *place], 1)
        a, b = found.values[:, *place]
        np.testing.assert_allclose([b, a + b * x.mean()], [slope, height], rtol=1e-9)


PLACES = tuple(np.linspace(0, 4, 25).tolist())


def test_a_curve_is_fitted_as_scipy_fits_it() -> None:
    data = series(PLACES, lambda x: decay(x, 1.5, 1.2, 0.4))

    found = fit(data, [1, 1, 1], DECAY)

    x = np.array(PLACES)
    assert found.valid.all()
    assert found.values.dtype == np.float64
    for place in np.ndindex(data.values.shape[1:]):
        used = data.valid[:, *place]
        best, _ = curve_fit(
            decay, x[used], data.values[used, *place], (1, 1, 1), ftol=1e-14, xtol=1e-14
        )
        np.testing.assert_allclose(found.values[:, *place], best, rtol=1e-6)


def test_no_change_of_the_parameters_brings_a_fitted_curve_nearer() -> None:
    data = series(PLACES, lambda x: decay(x, 1.5, 1.2, 0.4))

    found = fit(data, [1, 1, 1], DECAY)

    x = np.array(PLACES)[:, np.newaxis, np.newaxis]
    a, b, c = found.values
    slopes = np.broadcast_arrays(np.exp(-b * x), -a * x * np.exp(-b * x), np.ones_like(x * c))
    rest = np.where(data.valid, decay(x, a, b, c) - data.values, 0)
    for slope in slopes:
        along = np.where(data.valid, slope, 0)
        sizes = np.sqrt((along**2).sum(0) * (rest**2).sum(0))
        np.testing.assert_array_less(np.abs((along * rest).sum(0)), 1e-8 * sizes)


def test_a_curve_without_noise_is_found_again() -> None:
    x = np.array(PLACES)[:, np.newaxis, np.newaxis]
    truth = np.stack([SOME.uniform(0.5, 2, (4, 5)) for _ in range(3)])
    data = Stack(decay(x, *truth), np.ones((25, 4, 5), np.bool_), PLACES)

    found = fit(data, [1, 1, 1], DECAY)

    assert found.valid.all()
    np.testing.assert_allclose(found.values, truth, rtol=1e-9)


def test_the_guess_sets_the_scale() -> None:
    x = np.array(PLACES)[:, np.newaxis, np.newaxis] * 1e6
    truth = np.array([3e5, 1.2e-6, 4e4]).reshape(3, 1, 1)
    data = Stack(decay(x, *truth), np.ones((25, 1, 1), np.bool_), tuple(x.ravel().tolist()))

    found = fit(data, [1e5, 1e-6, 1e4], DECAY)

    np.testing.assert_allclose(found.values, truth, rtol=1e-9)


@pytest.mark.parametrize(("model", "guess"), [(WAVE, [1, 1, 1]), (DECAY, [1, 1, 1])])
def test_a_pixel_does_not_depend_on_those_around_it(
    model: dict[str, Any], guess: list[float]
) -> None:
    data = series(PLACES, lambda x: decay(x, 1.5, 1.2, 0.4), (40, 60))
    data.values[3, 5:9] = np.nan
    data.valid[:, 20] = False

    whole = fit(data, guess, model)

    for rows, cols in (
        (slice(3, 10), slice(0, 1)),
        (slice(7, 8), slice(9, 10)),
        (slice(19, 22), slice(2, 60)),
    ):
        part = replace(data, values=data.values[:, rows, cols], valid=data.valid[:, rows, cols])
        found = fit(part, guess, model)
        np.testing.assert_array_equal(found.valid, whole.valid[:, rows, cols])
        np.testing.assert_array_equal(
            found.values[found.valid], whole.values[:, rows, cols][found.valid]
        )


def test_a_guess_may_differ_from_pixel_to_pixel() -> None:
    data = series(PLACES, lambda x: decay(x, 1.5, 1.2, 0.4))
    guess = Stack(SOME.uniform(0.8, 1.2, (3, 6, 7)), np.ones((3, 6, 7), np.bool_))
    guess.valid[1, 2, 3] = False

    found = fit(data, guess, DECAY)

    assert found.valid.sum() == 3 * (6 * 7 - 1)
    expected = fit(data, [1, 1, 1], DECAY).values
    np.testing.assert_allclose(found.values[found.valid], expected[found.valid], rtol=1e-6)


@pytest.mark.parametrize(("model", "guess"), [(TREND, [0, 0]), (RAMP, [0, 0])])
def test_too_few_or_unusable_observations_have_no_data(
    model: dict[str, Any], guess: list[float]
) -> None:
    values = np.array([1.0, 3, 5, 7])[:, np.newaxis] + np.zeros((4, 6))
    valid = np.ones((4, 6), np.bool_)
    valid[1:, 0], valid[:2, 1] = False, False  # one observation, two observations
    values[2, 2], values[3, 3] = np.nan, np.inf
    values[0, 4], valid[0, 4] = np.inf, False  # what has no data may be anything
    data = Stack(values[:, np.newaxis], valid[:, np.newaxis], (0, 1, 2, 3))

    found = fit(data, guess, model)
    strict = fit(data, guess, model, ignore_nodata=False)

    np.testing.assert_array_equal(found.valid[0, 0], [False, True, False, False, True, True])
    np.testing.assert_array_equal(strict.valid[0, 0], [False, False, False, False, False, True])
    np.testing.assert_allclose(found.values[:, found.valid[0]], [[1] * 3, [2] * 3], rtol=1e-9)


def test_what_only_looks_affine_is_fitted_step_by_step() -> None:
    x = np.arange(10.0)
    heights = np.minimum(99_000 + 500 * x, 100_000)
    data = Stack(heights.reshape(10, 1, 1), np.ones((10, 1, 1), np.bool_), tuple(x.tolist()))

    found = fit(data, [98_000, 400], RAMP)

    a, b = found.values.ravel()
    np.testing.assert_allclose(np.minimum(a + b * x, 100_000), heights)


def test_a_model_that_cannot_be_computed_where_it_begins_has_no_data() -> None:
    model = graph(
        a=parameter(0), log=("ln", {"x": node("a")}), all=("multiply", {"x": node("log"), "y": AT})
    )
    data = series(PLACES, lambda x: x)

    assert not fit(data, [-1], model).valid.any()
    np.testing.assert_allclose(fit(data, [1.5], model).values, np.e, rtol=0.1)


def test_parameters_that_the_data_say_nothing_about_keep_their_guess() -> None:
    model = graph(a=parameter(0), all=("add", {"x": node("a"), "y": 0}))
    data = series(PLACES, lambda x: x * 0 + 2)

    found = fit(data, [1, 5], model)

    np.testing.assert_allclose(found.values[0], np.ma.array(data.values, mask=~data.valid).mean(0))
    np.testing.assert_allclose(found.values[1], 5)


def test_plain_arrays_give_plain_numbers() -> None:
    found = fit(stack_of([1, None, 5, 7]), [0, 0], TREND)
    missing = fit(stack_of([1, None, None, None]), [0, 0], TREND)

    np.testing.assert_allclose(to_json(found), [1, 2], rtol=1e-12)
    assert to_json(missing) == [None, None]


def test_labels_must_be_numbers_or_times() -> None:
    data = Stack(np.zeros((2, 1, 1)), np.ones((2, 1, 1), np.bool_), ("red", "nir"))

    with pytest.raises(ArgumentInvalid, match="'red' is not a time"):
        fit(data, [1, 1], TREND)


FOUND = cube(bands(), other((0, 1, 2), "parameters"))
"""Any three parameters for every band."""


def test_predictions_are_what_the_model_says() -> None:
    labels = [7, "2020-01-01", "2021-06-01T12:00:00Z"]
    renamed = evaluate("rename_dimension", data=FOUND, source="parameters", target="x2")

    result = assert_blocks_agree(
        "predict_curve", parameters=FOUND, function=callback(WAVE), dimension="x2", labels=labels
    )

    same = evaluate(
        "predict_curve", parameters=renamed, function=callback(WAVE), dimension="x2", labels=labels
    )
    assert_same(same, result)
    assert result.dimensions == (bands(), time(tuple(labels), "x2"), Y, X)
    x = np.array([7, seconds("2020-01-01"), seconds("2021-06-01T12:00:00")])
    turn = 2 * np.pi * x / YEAR
    a, b, c = np.moveaxis(FOUND.values.astype(np.float64), 1, 0)[..., np.newaxis]
    expected = np.moveaxis(a + b * np.cos(turn) + c * np.sin(turn), -1, 1)
    valid = np.broadcast_to(FOUND.valid.all(1, keepdims=True), expected.shape)
    np.testing.assert_array_equal(result.valid, valid)
    np.testing.assert_allclose(result.values[valid], expected[valid], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("given", "labels", "kind"),
    [
        (time((0, 1, 2)), [1.5, 2], "other"),
        (time((0, 1, 2)), ["2020-01-01"], "temporal"),
        (bands((0, 1, 2), "t"), [1.5], "bands"),
    ],
)
def test_the_kind_of_the_dimension_fits_the_labels(
    given: Any, labels: list[Any], kind: str
) -> None:
    result = infer(
        "predict_curve",
        parameters=cube(given),
        function=callback(DECAY),
        dimension="t",
        labels=labels,
    )

    assert result.dimensions[0].kind == kind
    assert result.dimensions[0].labels == tuple(labels)


def test_a_prediction_needs_its_own_bands_and_all_parameters() -> None:
    arguments = {
        "parameters": FOUND,
        "function": callback(DECAY),
        "dimension": "x2",
        "labels": [1, 2],
    }

    one = evaluate("predict_curve", None, {"bands": ["nir"], "x2": [2]}, **arguments)

    assert_same(one, evaluate("predict_curve", **arguments).take("bands", [1]).take("x2", [1]))


def test_without_labels_only_missing_values_are_predicted() -> None:
    data = cube(bands(), other((0, 1, 2), "x2"), invalid=0.4)
    first = graph(a=parameter(0), all=("multiply", {"x": node("a"), "y": AT}))

    result = assert_blocks_agree(
        "predict_curve", parameters=data, function=callback(first), dimension="x2"
    )

    known = np.broadcast_to(data.valid[:, :1], data.valid.shape)
    predicted = data.values[:, :1] * np.arange(3, dtype=np.float32)[:, np.newaxis, np.newaxis]
    expected = np.where(data.valid, data.values, predicted)
    assert result.dimensions == data.dimensions
    np.testing.assert_array_equal(result.valid, data.valid | known)
    np.testing.assert_array_equal(result.values[result.valid], expected[result.valid])


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (DimensionNotAvailable, {"labels": None}),
        (ArgumentInvalid, {"labels": ["red"]}),
        (ArgumentInvalid, {"dimension": "x"}),
        (DistinctDimensionLabelsRequired, {"labels": [1, 1.0]}),
        (DimensionAmbiguous, {"parameters": cube(bands((0, 1, 2)))}),
        (DimensionAmbiguous, {"parameters": cube(other((0, 1, 2)), other((1, 2), "b"))}),
    ],
)
def test_predict_errors(error: type[Exception], changed: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {
        "parameters": FOUND,
        "function": callback(DECAY),
        "dimension": "when",
        "labels": [1, 2],
    }

    with pytest.raises(error):
        infer("predict_curve", **(arguments | changed))


def test_curves_are_the_same_in_every_window_of_a_graph() -> None:
    arguments = {
        "data": {"from_parameter": "data"},
        "parameters": [500, 1],
        "function": TREND,
    }
    curve = {
        "process_graph": {
            "fit": {"process_id": "fit_curve", "arguments": arguments, "result": True}
        }
    }
    nodes = {
        "load": {
            "process_id": "load_collection",
            "arguments": {"id": "fine", "spatial_extent": None, "temporal_extent": None},
        },
        "fit": {
            "process_id": "apply_dimension",
            "arguments": {
                "data": {"from_node": "load"},
                "process": curve,
                "dimension": "t",
                "target_dimension": "parameters",
            },
        },
        "predict": {
            "process_id": "predict_curve",
            "arguments": {
                "parameters": {"from_node": "fit"},
                "function": TREND,
                "dimension": "t",
                "labels": ["2020-01-15", "2020-02-01T12:00:00Z"],
            },
            "result": True,
        },
    }
    plan = make_plan(bind(parse(nodes, specs=SPECS), collections()))

    whole = compute(plan, plan.window)

    assert whole.names == ("t", "bands", "y", "x")
    assert [len(group.steps) for group in plan.fused] == [1]  # the prediction
    for window in plan.window.blocks(23):
        assert_same_pixels(compute(plan, window), whole.crop(window))
    assert_same_pixels(compute(replace(plan, fused=()), plan.window), whole)


def test_the_model_gets_numbers() -> None:
    seen: list[Any] = []

    def model(x: Any, parameters: Stack) -> Any:
        seen.append((type(x), len(parameters)))
        return Pixels(parameters.values[0] * x.values, parameters.valid[0])

    data = series(PLACES, lambda x: 2 * x)
    found = PROCESSES["fit_curve"].function(data=data, parameters=stack_of([1]), function=model)

    np.testing.assert_allclose(found.values, 2, rtol=0.1)
    assert set(seen) == {(Pixels, 1)}
