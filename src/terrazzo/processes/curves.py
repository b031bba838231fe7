"""Curves fitted to the values along a dimension, and the values that they predict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind, Label, Pixels, Stack, all_valid
from terrazzo.errors import DimensionAmbiguous, DistinctDimensionLabelsRequired
from terrazzo.geo.times import parse_time
from terrazzo.processes.convert import is_list, numeric
from terrazzo.processes.cube_schemas import Text, Truth
from terrazzo.processes.kernels import where
from terrazzo.processes.labels import labelled_dimension
from terrazzo.processes.least_squares import fitted
from terrazzo.processes.registry import Labels, Role, Rules, process
from terrazzo.processes.returned import as_pixels, stacked
from terrazzo.processes.schemas import AnyCube, Callback, Schema

TOGETHER = 1 << 15
"""Numbers that a model computes at once: what that takes is small, and in the cache."""
_NUMBER = {"type": "number"}
_ENOUGH = {"type": "array", "minItems": 1, "items": _NUMBER}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _model(x: Mapping[str, Any]) -> Schema:
    parameters = [{"name": "x", "schema": x}, {"name": "parameters", "schema": _ENOUGH}]
    returned = {"schema": _NUMBER}
    return Schema(
        {
            "type": "object",
            "subtype": "process-graph",
            "parameters": parameters,
            "returns": returned,
        }
    )


Observations = Annotated[
    Stack, Schema({"type": "array", "subtype": "labeled-array", "items": _NUMBER})
]
Guess = Annotated[Stack, Schema(_ENOUGH)]
Fitted = Annotated[Stack, Schema(_ENOUGH)]
FittedModel = Annotated[Callback, _model({"type": ["number", "null"]})]
PredictingModel = Annotated[Callback, _model(_NUMBER)]
_DATE = {"type": "string", "format": "date", "subtype": "date"}
_DATE_TIME = {"type": "string", "format": "date-time", "subtype": "date-time"}
CurveLabels = Annotated[
    Sequence[Label] | None,
    Schema(
        [
            {"type": "null"},
            {
                "type": "array",
                "uniqueItems": True,
                "items": {"anyOf": [_NUMBER, _DATE, _DATE_TIME]},
            },
        ]
    ),
]


@process(
    "fit_curve",
    Role.SCALAR,
    categories=("arrays", "math"),
    rules=Rules(scratch=2.0),
    experimental=True,
)
def fit_curve(
    data: Observations, parameters: Guess, function: FittedModel, ignore_nodata: Truth = True
) -> Fitted:
    """Find the parameters of a model with the least squares, min sum (y - f(x, parameters))^2.

    A model that is affine in its parameters (a trend, a sum of waves) is solved at once and
    exactly; any other is fitted from the initial guess on, by Levenberg's and Marquardt's method
    with central differences.

    Args:
        data: labelled array of the observations y. Their labels are x: numbers as they are,
            times as seconds since 1970-01-01T00:00:00Z. An array without labels counts from 0.
        parameters: initial guess. Its size is the scale on which a parameter is varied; 0 counts
            as 1.
        function: model f, called with `x` and the array `parameters`; returns y. It decides for
            every number by itself.
        ignore_nodata: leave out what has no data; otherwise nothing is found where some is
            missing.

    Returns:
        One number per parameter, float64. No-data where fewer observations are left than there
        are parameters, where one is NaN or infinite, or where the iteration does not converge.

    Raises:
        ProcessParameterInvalid: a label is neither a number nor a time, or an entry of `data` or
            `parameters` is no number.

    Source:
        openEO process `fit_curve` 2.0.0-rc.2; Marquardt 1963, SIAM Journal 11, 431-441.
    """
    x = places(data.labels if data.labels is not None else range(len(data)))
    shape = np.broadcast_shapes(data.values.shape[1:], parameters.values.shape[1:])
    pixels, count = math.prod(shape), len(parameters)
    observed, used = _flat(numeric(data), shape), _flat(data.valid, shape)
    guess = _flat(numeric(parameters), shape)
    found: Any = _flat(parameters.valid, shape).all(0)
    if not ignore_nodata:
        found = found & used.all(0)
    best = np.zeros((count, pixels))
    run = _called(function, x)
    run(np.zeros((count, 0)))  # what is wrong with the model is found without pixels
    width = max(TOGETHER // max(len(x), 1), 1)
    for start in range(0, pixels, width):
        part = slice(start, start + width)
        best[:, part], found[part] = fitted(
            run,
            np.array(observed[:, part], np.float64),
            used[:, part] & found[part],
            np.array(guess[:, part], np.float64),
        )
    valid = np.broadcast_to(found.reshape(shape), (count, *shape))
    return Stack(best.reshape(count, *shape), valid, exact=is_list(data) and is_list(parameters))


def _flat(array: Any, shape: tuple[int, ...]) -> Any:
    """Return an array per pixel, or one for all, as (entry, pixel)."""
    spread = (len(array), *(1,) * (1 + len(shape) - array.ndim), *array.shape[1:])
    whole = np.broadcast_to(array.reshape(spread), (len(array), *shape))
    return whole.reshape(len(array), math.prod(shape))


def _called(function: Callback, x: Any) -> Any:
    """Return a model as a function of (parameter, k) numbers that gives (observation, k)."""
    points = Pixels(x[:, np.newaxis], all_valid((len(x), 1)))

    def run(parameters: Any) -> Any:
        stack = Stack(
            parameters[:, np.newaxis], all_valid((len(parameters), 1, *parameters.shape[1:]))
        )
        shape = (len(x), parameters.shape[1])
        found = as_pixels(function(x=points, parameters=stack), shape, np.dtype(np.float64))
        return np.where(found.valid, found.values.astype(np.float64, copy=False), np.nan)

    return run


def places(labels: Sequence[Label]) -> Any:
    """Return labels as numbers: times as seconds since 1970 began, in UTC.

    Raises:
        ArgumentInvalid: a label is neither a number nor a time.
    """
    return np.array(
        [
            (parse_time(label) - _EPOCH).total_seconds() if isinstance(label, str) else label
            for label in labels
        ],
        np.float64,
    )


def _labels_of_parameters(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    """Need all parameters, and of the other dimensions what is wanted."""
    del output
    given, name = inputs["parameters"], arguments["dimension"]
    kept = {n: chosen for n, chosen in wanted.items() if n != name and n in given.names}
    return {"parameters": kept}


@process(
    "predict_curve",
    Role.CUBE,
    categories=("cubes", "math"),
    rules=Rules(labels=_labels_of_parameters, scratch=2.0),
    experimental=True,
)
def predict_curve(
    parameters: AnyCube, function: PredictingModel, dimension: Text, labels: CurveLabels = None
) -> AnyCube:
    """Compute the values of a model at new labels, f(x, parameters).

    Args:
        parameters: cube of what `fit_curve` found. The parameters lie along `dimension`, or, if
            there is no such dimension, along the only one of type other.
        function: model f, called with `x` and the array `parameters`; returns y.
        dimension: name of the dimension of the predicted values.
        labels: where to predict. x is a label that is a number as it is, and a time as seconds
            since 1970-01-01T00:00:00Z, as in `fit_curve`. Null predicts at the labels that
            `dimension` has, and only where the cube has no data: of parameters those that the
            model can do without. To fill the gaps of a series, predict at its dates and put the
            result below it with `merge_cubes`.

    Returns:
        The cube with predicted values in place of the parameters, in the type in which those are
        computed. No-data where a parameter that the model uses has none. A dimension that is new,
        or was temporal or other, is temporal for times and other for numbers; without `labels`
        it stays as it is.

    Raises:
        DimensionAmbiguous: nothing tells which dimension has the parameters.
        DistinctDimensionLabelsRequired: a label is there twice.
        DimensionNotAvailable: there are no `labels`, and no dimension of that name.
        ProcessParameterInvalid: a label is neither a number nor a time; or `dimension` is x or y.

    Source:
        openEO process `predict_curve` 2.0.0-rc.2.
    """
    if labels is None:
        return _filled(parameters, function, labelled_dimension(parameters, dimension))
    if len(set(labels)) < len(labels):
        raise DistinctDimensionLabelsRequired(
            f"The labels {', '.join(map(repr, labels))} are not distinct."
        )
    held = _dimension_of_parameters(parameters, dimension)
    axis, result = parameters.axis(held.name), _predicted(parameters, function, held, labels)
    kind = Kind.TEMPORAL if any(isinstance(label, str) for label in labels) else Kind.OTHER
    if held.name == dimension and held.kind not in (Kind.TEMPORAL, Kind.OTHER):
        kind = held.kind
    made = Dimension(dimension, kind, tuple(labels))
    return replace(
        parameters,
        values=np.moveaxis(result.values, 0, axis),
        valid=np.moveaxis(result.valid, 0, axis),
        dimensions=parameters.with_dimension(axis, made),
    )


def _predicted(cube: Cube, function: Callback, held: Dimension, labels: Sequence[Label]) -> Stack:
    """Return what a model says at labels, the parameters being along a dimension of the cube."""
    stack = cube.stack(held.name)
    shape = stack.values.shape[1:]
    found = [
        as_pixels(function(x=float(x), parameters=replace(stack, labels=None)), shape, cube.dtype)
        for x in places(labels)
    ]
    return stacked(found, shape, cube.dtype)


def _filled(cube: Cube, function: Callback, held: Dimension) -> Cube:
    """Return a cube with predictions where it has no data."""
    result, axis = _predicted(cube, function, held, held.labels), cube.axis(held.name)
    values, valid = np.moveaxis(result.values, 0, axis), np.moveaxis(result.valid, 0, axis)
    return cube.same_pixels(where(cube.valid, cube.values, values), cube.valid | valid)


def _dimension_of_parameters(cube: Cube, name: str) -> Dimension:
    if name in cube.names:
        return labelled_dimension(cube, name)
    others = [dimension for dimension in cube.dimensions if dimension.kind is Kind.OTHER]
    if len(others) != 1:
        raise DimensionAmbiguous(
            f"The cube has no dimension {name!r}, and of {', '.join(cube.names)} "
            f"{', '.join(d.name for d in others) or 'none'} is of type other, so that it is not "
            f"clear which has the parameters. Name one of them {name!r} with `rename_dimension`."
        )
    return others[0]
