"""Every process has the properties of all, and a process that lacks one does not pass."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import pytest
from scripts.process_examples import DATA, EXAMPLES, SQUARE, callback, of_data
from tests.grass.oracle import PROCESSES as OF_GRASS
from tests.grass.oracle import need_grass

from terrazzo.cube import Cube, Pixels, Stack, all_valid
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.grid import Window
from terrazzo.processes import PROCESSES, Role, Rules, registry
from terrazzo.processes.registry import Place, process, same_labels
from terrazzo.processes.schemas import NumberOrNull, Numbers, RasterCube, Schema
from terrazzo.processes.stage import found_cube
from terrazzo.testing.check import CUBE, ProcessCheckFailed, check_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLS = itertools.count()
Scale = Annotated[float, Schema({"type": "number", "minimum": 0})]


def _node(process: str, **arguments: Any) -> dict[str, Any]:
    return {"process_id": process, "arguments": arguments}


LATER = {"later": _node("filter_temporal", data=DATA, extent=["2020-02-01", None])}
X = {"from_parameter": "x"}
FURTHER = {
    "sum of bands": (
        "reduce_dimension",
        {"data": DATA, "dimension": "bands", "reducer": of_data("sum")},
        {},
    ),
    "bands in order": (
        "apply_dimension",
        {"data": DATA, "dimension": "bands", "process": of_data("sort")},
        {},
    ),
    "quantiles of time": (
        "apply_dimension",
        {
            "data": DATA,
            "dimension": "t",
            "target_dimension": "shares",
            "process": callback("quantiles", data={"from_parameter": "data"}, probabilities=4),
        },
        {},
    ),
    "masked by a number": (
        "mask",
        {"data": DATA, "mask": {"from_node": "few"}, "replacement": 7},
        EXAMPLES["mask"].before,
    ),
    "merged where both are": (
        "merge_cubes",
        {
            "cube1": DATA,
            "cube2": {"from_node": "later"},
            "overlap_resolver": callback("divide", x=X, y={"from_parameter": "y"}),
        },
        LATER,
    ),
    "index beside its bands": ("ndvi", {"data": DATA, "target_band": "ndvi"}, {}),
    "median of dekads": (
        "aggregate_temporal_period",
        {"data": DATA, "period": "dekad", "reducer": of_data("median")},
        {},
    ),
    "kernel at a reflecting border": (
        "apply_kernel",
        {
            "data": DATA,
            "kernel": [[0, 1, 0], [1, -4, 1], [0, 1, 0], [2, 0, 0], [0, 0, 0]],
            "border": "reflect",
            "replace_invalid": 3,
            "factor": 0.5,
        },
        {},
    ),
    "kernel at a wrapped border": (
        "apply_kernel",
        {"data": DATA, "kernel": [[1, 2, 3]], "border": "wrap"},
        {},
    ),
    "masked inside": ("mask_polygon", {"data": DATA, "mask": SQUARE, "inside": True}, {}),
    "degrees": (
        "resample_spatial",
        {"data": DATA, "resolution": 0.0001, "projection": 4326, "method": "bilinear"},
        {},
    ),
    "no-data first": ("order", {"data": [3, None, 1], "asc": False, "nodata": False}, {}),
    "no-data last": ("sort", {"data": [3, None, 1], "nodata": True}, {}),
    "quarters": (
        "quantiles",
        {"data": [3, None, 1], "probabilities": 4, "ignore_nodata": False},
        {},
    ),
    "numbers of a condition": ("if", {"value": False, "accept": 1.5, "reject": 300}, {}),
    "arrays of a condition": ("if", {"value": False, "accept": [1, 2], "reject": [3, None]}, {}),
    "number that is nearly equal": ("eq", {"x": 1, "y": 2, "delta": 0.5}, {}),
    "whole hundreds": ("round", {"x": 1234, "p": -2}, {}),
    "last place": ("array_find", {"data": [1, 2], "value": 2, "reverse": True}, {}),
    "base 10": ("log", {"x": 3, "base": 10}, {}),
}


@pytest.mark.parametrize("case", sorted(FURTHER))
def test_further_arguments_change_no_property(case: str) -> None:
    name, arguments, before = FURTHER[case]

    check_process(name, arguments, before=before)


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_process_has_every_property(name: str) -> None:
    assert name in EXAMPLES, f"Give {name!r} an example in scripts/process_examples.py."
    if name in OF_GRASS:
        need_grass()
    example = EXAMPLES[name]

    check_process(name, example.arguments, before=example.before)


@pytest.fixture
def register() -> Iterator[Callable[..., str]]:
    """Return a function that registers another one for the time of a test."""
    names = []

    def registered(function: Callable[..., Any], role: Role = Role.SCALAR, **rules: Any) -> str:
        name = f"test_{function.__name__}"
        process(name, role, rules=Rules(**rules))(function)
        names.append(name)
        return name

    yield registered
    for name in names:
        del registry._PROCESSES[name]


SOUND = """Say it.

    Args:
        x: number.
        data: numbers, or a raster.
        distance: columns.
        factor: number.

    Returns:
        Something.

    Source:
        Here.
    """


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function all that a description needs."""
    function.__doc__ = SOUND
    return function


@told
def doubled(x: NumberOrNull) -> NumberOrNull:
    if x is None:
        return None
    if isinstance(x, Pixels):
        return Pixels(x.values.astype(np.float32) * np.float32(2), x.valid)
    return x * 2


@told
def no_factor(x: NumberOrNull, factor: Scale = -1) -> NumberOrNull:
    return factor and doubled(x)


def sourceless(x: NumberOrNull) -> NumberOrNull:
    """Say it.

    Args:
        x: number.

    Returns:
        Something.
    """
    return doubled(x)


def raising(x: NumberOrNull) -> NumberOrNull:
    """Say it.

    Args:
        x: number.

    Returns:
        Something.

    Raises:
        NoSuchError: never.

    Source:
        Here.
    """
    return doubled(x)


@told
def written(x: NumberOrNull) -> NumberOrNull:
    if isinstance(x, Pixels):
        x.values[...] = 0
    return x


@told
def centred(x: NumberOrNull) -> NumberOrNull:
    if not isinstance(x, Pixels):
        return x
    values = np.nan_to_num(x.values.astype(np.float64), posinf=0, neginf=0)
    middle = values[x.valid].mean() if values.size else 0
    return Pixels(np.where(x.valid, values - middle, 0), x.valid)


@told
def leaking(x: NumberOrNull) -> NumberOrNull:
    return Pixels(x.values, all_valid(x.shape)) if isinstance(x, Pixels) else x


@told
def narrowed(x: NumberOrNull) -> NumberOrNull:
    if not isinstance(x, Pixels):
        return x
    small = x.values.size and np.isin(x.values, (0, 1)).all()
    return Pixels(x.values.astype(np.uint8 if small else np.float64, copy=False), x.valid)


@told
def warning(x: NumberOrNull) -> NumberOrNull:
    return Pixels(np.sqrt(x.values.astype(np.float32)), x.valid) if isinstance(x, Pixels) else x


@told
def counted(x: NumberOrNull) -> NumberOrNull:
    if not isinstance(x, Pixels):
        return x
    return Pixels(np.full(x.shape, next(CALLS)), all_valid(x.shape))


@told
def flat(x: NumberOrNull) -> NumberOrNull:
    return Pixels(x.values, x.valid.reshape(-1)) if isinstance(x, Pixels) else x


@told
def needy(x: NumberOrNull) -> NumberOrNull:
    if not isinstance(x, Pixels):
        return x
    return Pixels(np.full(x.shape, x.values.max()), all_valid(x.shape))


@told
def refused(x: NumberOrNull) -> NumberOrNull:
    if isinstance(x, Pixels):
        raise ArgumentInvalid("Only one number for all.")
    return x


@told
def first_two(data: Numbers) -> Numbers:
    stack = data if isinstance(data, Stack) else None
    if stack is None:
        return data
    return Stack(stack.values[[0, 1]], stack.valid[[0, 1]], exact=stack.exact)


@pytest.mark.parametrize(
    ("function", "arguments", "rule"),
    [
        (no_factor, {"x": 1}, "description"),
        (sourceless, {"x": 1}, "description"),
        (raising, {"x": 1}, "description"),
        (written, {"x": 1}, "read-only"),
        (centred, {"x": 1}, "windows"),
        (leaking, {"x": 1}, "no-data"),
        (narrowed, {"x": 1}, "inference"),
        (warning, {"x": 1}, "dtype"),
        (counted, {"x": 1}, "pure"),
        (flat, {"x": 1}, "result"),
        (needy, {"x": 1}, "inference"),
        (refused, {"x": 1}, "dtype"),
        (first_two, {"data": [1, 2]}, "little"),
    ],
)
def test_broken_maths_does_not_pass(
    register: Callable[..., str], function: Callable[..., Any], arguments: Any, rule: str
) -> None:
    name = register(function)

    with pytest.raises(ProcessCheckFailed) as failed:
        check_process(name, arguments)

    assert (failed.value.process, failed.value.rule) == (name, rule), str(failed.value)


def grown(wanted: Window, extent: Window, arguments: Any, argument: str) -> Window:
    del extent, arguments, argument
    return Window(wanted.row, wanted.col - 1, wanted.height, wanted.width + 1)


@told
def risen(data: RasterCube) -> RasterCube:
    values = data.values.astype(np.float64)
    rise, valid = np.zeros_like(values), np.zeros(values.shape, np.bool_)
    with np.errstate(invalid="ignore"):
        rise[..., 1:] = values[..., 1:] - values[..., :-1]
    valid[..., 1:] = data.valid[..., 1:] & data.valid[..., :-1]
    return replace(data, values=rise, valid=valid)


@told
def erased(data: RasterCube) -> RasterCube:
    data.values[..., :1] = 0
    return data


@told
def without_poor_dates(data: RasterCube) -> RasterCube:
    rich = [n for n, valid in enumerate(data.valid) if not valid.size or valid.all()]
    return data.take("t", rich)


@told
def compressed(data: RasterCube) -> RasterCube:
    few = data.values.size > 0
    return replace(data, values=data.values.astype(np.float32 if few else np.float64, copy=False))


@told
def stretched(data: RasterCube) -> RasterCube:
    with np.errstate(invalid="ignore"):
        return replace(
            data, values=data.values * data.valid.mean() if data.valid.size else data.values * 1.0
        )


@told
def weighted(data: RasterCube) -> RasterCube:
    weights = np.arange(1.0, 1 + data.values.shape[1])[:, None, None]
    return replace(data, values=data.values.astype(np.float64) * weights)


@told
def timed(data: RasterCube) -> RasterCube:
    now = np.float64(time.perf_counter_ns())
    return replace(data, values=np.full(data.values.shape, now), valid=all_valid(data.values.shape))


@told
def two_faced(data: RasterCube) -> RasterCube:
    real = isinstance(data.values, np.ndarray)
    values = data.values.astype(np.float64)
    return replace(data, values=values + (1.0 if real else 2.0))


@told
def cloudless(data: RasterCube) -> RasterCube:
    return replace(data, valid=all_valid(data.values.shape))


@told
def latest(data: RasterCube) -> RasterCube:
    return replace(data, values=data.values - data.values[[0]] * 0) if data.values.size else data


@told
def dated(data: RasterCube) -> RasterCube:
    return data.take("t", [0])


@told
def placed(data: RasterCube, place: Place) -> RasterCube:
    values = np.full(data.values.shape, float(place.wanted.row))
    return replace(data, values=values, valid=all_valid(values.shape))


@pytest.mark.parametrize(
    ("function", "rules", "rule"),
    [
        (risen, {}, "windows"),
        (erased, {}, "read-only"),
        (without_poor_dates, {}, "inference"),
        (compressed, {}, "inference"),
        (stretched, {}, "windows"),
        (weighted, {"labels": same_labels}, "labels"),
        (timed, {}, "pure"),
        (two_faced, {}, "fused"),
        (cloudless, {}, "no-data"),
        (dated, {}, "little"),
        (placed, {}, "windows"),
    ],
)
def test_broken_process_of_cubes_does_not_pass(
    register: Callable[..., str], function: Callable[..., Any], rules: Any, rule: str
) -> None:
    name = register(function, Role.CUBE, **rules)

    with pytest.raises(ProcessCheckFailed) as failed:
        check_process(name, {"data": CUBE})

    assert (failed.value.process, failed.value.rule) == (name, rule), str(failed.value)


@pytest.mark.parametrize(
    ("name", "rules", "rule"),
    [
        ("apply_kernel", Rules(labels=same_labels, borders=True), "windows"),
        ("ndvi", Rules(labels=same_labels), "labels"),
        ("filter_bands", Rules(labels=same_labels, relays=True), "labels"),
    ],
)
def test_known_process_with_a_wrong_rule_does_not_pass(
    monkeypatch: pytest.MonkeyPatch, name: str, rules: Rules, rule: str
) -> None:
    wrong = replace(PROCESSES[name], rules=rules)
    monkeypatch.setitem(registry._PROCESSES, name, wrong)
    arguments = {**EXAMPLES[name].arguments}
    if name == "ndvi":
        arguments["target_band"] = "ndvi"

    with pytest.raises(ProcessCheckFailed) as failed:
        check_process(name, arguments)

    assert failed.value.rule == rule, str(failed.value)


class Sum:
    """A stage that adds up all pixels: right, or with one more for every window."""

    labels: ClassVar[dict[str, tuple[int, ...]]] = {}
    needs = 0

    def __init__(self, extent: Window, more: float) -> None:
        self.extent, self.more, self.total = extent, more, 0.0

    def passes(self, memory_bytes: int) -> Iterator[Sum]:
        del memory_bytes
        yield self

    def windows(self, edge: int) -> list[Window]:
        return list(self.extent.blocks(edge))

    def part(self, number: int, cube: Cube) -> float:
        del number
        counted = cube.valid & np.isfinite(cube.values.astype(np.float64))
        return float(cube.values.astype(np.float64)[counted].round().sum())

    def add(self, number: int, part: float) -> None:
        del number
        self.total += part + self.more

    def finish(self) -> dict[str, Any]:
        return found_cube(np.array(self.total), np.array(True))


@pytest.mark.parametrize("more", [0.0, 1.0])
def test_stage_must_not_depend_on_its_blocks(more: float) -> None:
    def total(data: RasterCube) -> RasterCube:
        del data
        return Cube(np.zeros((), np.float64), np.zeros((), np.bool_), ())

    def begin(probe: Cube, extent: Window, result: Cube, arguments: Any) -> Sum:
        del probe, result, arguments
        return Sum(extent, more)

    process("test_total", Role.STAGE, stage=begin)(told(total))
    try:
        if more:
            with pytest.raises(ProcessCheckFailed, match="windows"):
                check_process("test_total", {"data": CUBE})
        else:
            check_process("test_total", {"data": CUBE})
    finally:
        del registry._PROCESSES["test_total"]


def test_sound_processes_pass(register: Callable[..., str]) -> None:
    maths = register(doubled)
    rise = register(risen, Role.CUBE, window=grown, labels=same_labels)
    weights = register(weighted, Role.CUBE)

    check_process(maths, {"x": 3})
    check_process(rise, {"data": CUBE})
    check_process(PROCESSES[weights], {"data": CUBE})


def test_unknown_process_is_named() -> None:
    with pytest.raises(ArgumentInvalid, match="no_such"):
        check_process("no_such", {})


def test_example_that_is_refused_for_every_type_does_not_pass() -> None:
    with pytest.raises(ProcessCheckFailed, match=r"refused for every type.*'elsewhere'"):
        check_process("drop_dimension", {"data": CUBE, "name": "elsewhere"})
