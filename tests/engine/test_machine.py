"""The machine computes what NumPy computes, to the bit, whatever is traced."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from terrazzo.cube import Cube, Dimension, Kind, Plane
from terrazzo.cube.tape import Tape, Untraceable
from terrazzo.cube.traced import Traced, nodes_of
from terrazzo.engine import operations, program
from terrazzo.engine.compiler import compiled
from terrazzo.engine.feed import compute, loads_of_cube, loads_of_planes
from terrazzo.engine.program import Result
from terrazzo.engine.recording import Recording
from terrazzo.engine.tables import byte_places
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.pixelmap import PixelMap
from terrazzo.processes.stacks import KINDS, reduce_stack

TRUTH = np.dtype(np.bool_)
FLOATS = (np.add, np.subtract, np.multiply, np.divide, np.minimum, np.maximum)
ALONE = (np.negative, np.absolute, np.sqrt, np.floor, np.ceil, np.trunc, np.rint, np.sign)
COMPARISONS = (np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal)
TESTS = (np.isnan, np.isfinite, np.isinf)
LOGIC = (np.logical_and, np.logical_or, np.logical_xor)
NUMBERS = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1.5, np.nan, np.inf, -np.inf, 3.0])
DTYPES = ("uint8", "uint16", "int16", "float32", "float64", "int32", "bool")


def cube_of(values: np.ndarray, valid: np.ndarray) -> Cube:
    labels = tuple(f"d{k}" for k in range(len(values)))
    dimensions = (
        Dimension("d", Kind.OTHER, labels),
        Dimension("y", Kind.SPATIAL),
        Dimension("x", Kind.SPATIAL),
    )
    height, width = values.shape[-2:]
    grid = Grid.of(32633, 0.0, 0.0, 10.0, height, width)
    return Cube(values, valid, dimensions, grid, Window(0, 0, height, width))


class Given:
    """Planes that are known."""

    def __init__(self, loads, weight: float = 0.0) -> None:
        self._loads, self.weights = loads, {0: weight}
        self.asked = []

    def loads(self, piece, places):
        self.asked.append(places)
        found = self._loads(piece)
        return [found[number][position] for number, position in places]

    def mask(self, number):  # noqa: ARG002
        return None


def recorded(function, cube: Cube) -> Recording:
    """Trace a function of (values, valid) that returns a list of such pairs."""
    tape = Tape()
    values = Traced.planes(tape, "plane", 0, cube.values.shape[:-2], cube.values.dtype)
    valid = Traced.planes(tape, "valid", 0, cube.values.shape[:-2], TRUTH)
    results = []
    for one, mask in function(values, valid):
        mine = nodes_of(
            tape, one, np.asarray(one).dtype if not isinstance(one, Traced) else one.dtype
        )
        masks = nodes_of(tape, mask, TRUTH)
        results += [Result(a, b) for a, b in zip(mine.reshape(-1), masks.reshape(-1), strict=True)]
    planes = (math.prod(cube.values.shape[:-2]),)
    return Recording(tuple(results), byte_places(results), planes=planes)


def machined(function, cube: Cube, dtype) -> Cube:
    """Run what a function of (values, valid) returns on the machine."""
    recording = recorded(function, cube)
    height, width = cube.values.shape[-2:]
    empty = np.zeros((len(recording.results), 0, 0), dtype)
    probe = cube_of(empty, np.zeros(empty.shape, TRUTH))
    return compute(
        recording,
        Given(lambda piece: [loads_of_cube(cube.crop(piece))]),
        probe,
        Window(0, 0, height, width),
    )


@st.composite
def cubes(draw, dtypes=DTYPES) -> Cube:
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 40)))
    elements = NUMBERS.map(dtype.type) if dtype.kind == "f" else npst.from_dtype(dtype)
    values = draw(npst.arrays(dtype, shape, elements=elements, fill=st.nothing()))
    valid = draw(npst.arrays(np.bool_, shape))
    return cube_of(values, valid)


@st.composite
def chains(draw):
    """Draw a function of values that goes through a few operations."""
    steps = draw(
        st.lists(
            st.tuples(st.sampled_from(("two", "one", "number", "where")), st.integers(0, 99)),
            min_size=1,
            max_size=8,
        )
    )
    number = draw(st.sampled_from([0.0, 2.0, -1.5, 0.1]))

    def function(values, valid):  # noqa: ANN202
        known = [values.astype(np.result_type(values.dtype, np.float32), copy=False)]
        truths = [valid]
        for kind, pick in steps:
            a, b = known[pick % len(known)], known[pick // 7 % len(known)]
            if kind == "two":
                known.append(FLOATS[pick % len(FLOATS)](a, b))
                truths.append(COMPARISONS[pick % len(COMPARISONS)](a, b))
            elif kind == "one":
                known.append(ALONE[pick % len(ALONE)](a))
                truths.append(TESTS[pick % len(TESTS)](b))
            elif kind == "number":
                known.append(FLOATS[pick % len(FLOATS)](a, number))
                truths.append(LOGIC[pick % len(LOGIC)](truths[-1], truths[pick % len(truths)]))
            else:
                known.append(np.where(truths[pick % len(truths)], a, b))
                truths.append(np.invert(truths[-1]))
        return [(known[-1], truths[-1])]

    return function


@given(cube=cubes(), function=chains())
@settings(max_examples=300, deadline=None)
def test_a_chain_of_operations_gives_the_bits_of_numpy(cube, function):
    with np.errstate(all="ignore"):
        [(values, valid)] = function(cube.values, cube.valid)

    found = machined(function, cube, values.dtype)

    np.testing.assert_array_equal(found.valid, valid)
    np.testing.assert_array_equal(found.values, values)
    if values.dtype.kind == "f":
        known = ~np.isnan(values)
        np.testing.assert_array_equal(np.signbit(found.values[known]), np.signbit(values[known]))


@pytest.mark.parametrize("kind", [*KINDS, "quantiles"])
@given(cube=cubes(("bool", "uint8", "uint16", "int16", "float32", "float64")), data=st.data())
@settings(max_examples=40, deadline=None)
def test_reductions_give_the_bits_of_the_general_ones(kind, cube, data):
    shares = ()
    if kind == "quantiles":
        shares = tuple(data.draw(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.75, 1.0]), min_size=1)))

    def function(values, valid):  # noqa: ANN202
        result, count = reduce_stack(kind, values, valid, shares)
        result = result if shares else result[None]
        return [(result, np.broadcast_to(count > 0, result.shape))]

    with np.errstate(all="ignore"):
        [(values, valid)] = function(cube.values, cube.valid)
    found = machined(function, cube, values.dtype)

    np.testing.assert_array_equal(found.valid, valid)
    np.testing.assert_array_equal(found.values[valid], values[valid])


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_in_parts_gives_the_bits_of_the_whole(kind, monkeypatch):
    random = np.random.default_rng(5)
    values = random.integers(0, 900, (12, 20, 30)).astype(np.uint16)
    cube = cube_of(values, random.random(values.shape) < 0.8)

    def function(values, valid):  # noqa: ANN202
        scaled = values.astype(np.float32) * np.float32(0.1)
        result, count = reduce_stack(kind, scaled, valid)
        low, _ = reduce_stack("min", scaled, valid)
        return [(np.stack([result - low, low]), np.stack([count > 0, count > 2]))]

    with np.errstate(all="ignore"):
        [(whole, valid)] = function(cube.values, cube.valid)
    monkeypatch.setattr(program, "HELD_BYTES", 5 * 20 * 30 * 2)
    monkeypatch.setattr(program, "WORTH_CUTTING", 1e9)
    recording = recorded(function, cube)
    given = Given(lambda piece: [loads_of_cube(cube.crop(piece))], 2.0)
    probe = cube_of(np.zeros((2, 0, 0), np.float32), np.zeros((2, 0, 0), TRUTH))
    found = compute(recording, given, probe, Window(0, 0, 20, 30))

    assert len(given.asked) > 3
    assert max(map(len, given.asked)) < 12
    np.testing.assert_array_equal(found.valid, valid)
    np.testing.assert_array_equal(found.values[valid], whole[valid])


@pytest.mark.parametrize(("kind", "streams"), [("mean", True), ("sd", True), ("quantiles", False)])
def test_dates_are_held_only_where_they_must_be(kind, streams):
    cube = cube_of(np.zeros((200, 1, 1), np.float32), np.ones((200, 1, 1), TRUTH))

    def function(values, valid):  # noqa: ANN202
        result, count = reduce_stack(kind, values, valid, (0.5,) if kind == "quantiles" else ())
        result = result if kind == "quantiles" else result[None]
        return [(result, (count > 0)[None])]

    parts, held = recorded(function, cube).program.parts({0: 5.0}, 512 * 512)

    whole = 200 * 5.0 * 512 * 512
    assert (len(parts) > 1) is streams
    assert (held < 0.3 * whole) is streams


def test_one_pass_serves_all_that_is_made_of_the_same_entries():
    cube = cube_of(np.ones((5, 2, 2), np.float32), np.ones((5, 2, 2), TRUTH))

    def function(values, valid):  # noqa: ANN202
        quartiles, count = reduce_stack("quantiles", values, valid, (0.25, 0.5, 0.75))
        return [(quartiles, np.broadcast_to(count > 0, quartiles.shape))]

    program = recorded(function, cube).program
    codes = program.operations[:, 0].tolist()
    assert codes.count(operations.SORT) == 1
    assert codes.count(operations.LOAD) == 5
    assert codes.count(operations.PICK) == 3


@given(cube=cubes(("uint8", "bool")), low=st.integers(0, 255), high=st.integers(0, 255))
@settings(deadline=None)
def test_truths_of_bytes_are_looked_up(cube, low, high):
    def function(values, valid):  # noqa: ANN202
        inside = (values.astype(np.float32) >= low) & (values.astype(np.float32) <= high)
        return [(inside | ~valid, valid)]

    [(values, valid)] = function(cube.values, cube.valid)
    found = machined(function, cube, np.bool_)
    recording = recorded(function, cube)

    assert recording.tabular
    assert len(recording.program.tables) == len(cube.values)
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.valid, valid)


@st.composite
def planes(draw):
    """Draw stored numbers on some lattice, the window that wants them, and how they are read."""
    source = Grid.of(
        32633, 500_000.0, 5_000_000.0, draw(st.sampled_from([10.0, 20.0, 7.0])), 30, 33
    )
    target = Grid.of(
        draw(st.sampled_from([32633, 3857])),
        *draw(st.sampled_from([(500_000.0, 5_000_000.0), (1_669_790.0, 5_621_500.0)])),
        10.0,
        50,
        50,
    )
    if target.crs == "EPSG:3857":
        left, _, _, top = source.to_bounds(source.window, "EPSG:3857")
        target = Grid.of(3857, left - 35.0, top + 21.0, 10.0, 50, 50)
    window = Window(draw(st.integers(0, 20)), draw(st.integers(0, 20)), 17, 23)
    lookup = PixelMap.between(target, window, source).lookup(source.window)
    dtype = np.dtype(draw(st.sampled_from(["uint8", "uint16", "int16", "float32"])))
    seed = draw(st.integers(0, 2**32 - 1))
    whole = np.random.default_rng(seed).integers(0, 40, (30, 33)).astype(dtype)
    rows, cols = source.window.slices(lookup.window)
    scaled = draw(st.booleans())
    mask = np.random.default_rng(seed + 1).random((30, 33)) < 0.7
    return Plane(
        whole[rows, cols],
        lookup,
        draw(st.sampled_from([None, 0.0, 7.0])),
        draw(st.sampled_from([1e-4, 2.0])) if scaled else 1.0,
        draw(st.sampled_from([-0.1, 3.0])) if scaled else 0.0,
        scaled,
        mask[rows, cols] if draw(st.booleans()) else None,
    ), window


def read(plane: Plane, window: Window):
    """Read a plane with NumPy."""
    lookup = plane.lookup
    if lookup.direct:
        index = np.arange(window.pixels).reshape(window.height, window.width)
    elif lookup.index.size:
        index = lookup.index
    else:
        across = lookup.rows[:, None].astype(np.int64) * lookup.window.width + lookup.cols
        index = np.where((lookup.rows[:, None] < 0) | (lookup.cols < 0), -1, across)
    numbers = np.append(plane.numbers.reshape(-1), plane.numbers.dtype.type(0))
    valid = index >= 0
    found = numbers[index]
    if plane.valid is not None:
        valid &= np.append(plane.valid.reshape(-1), False)[index]
    if plane.nodata is not None:
        valid &= found != plane.nodata
    if plane.scaled:
        found = found.astype(np.float32) * np.float32(plane.scale) + np.float32(plane.offset)
    return found.astype(np.float32), valid


@given(one=planes(), cut=st.booleans(), missing=st.booleans())
@settings(max_examples=200, deadline=None)
def test_stored_numbers_are_loaded_as_they_are_read(one, cut, missing):
    plane, window = one
    inside = np.random.default_rng(3).random((window.height, window.width)) < 0.5
    given_planes = [plane, None] if missing else [plane]
    cube = cube_of(
        np.zeros((len(given_planes), window.height, window.width), np.float32),
        np.ones((len(given_planes), window.height, window.width), TRUTH),
    )
    recording = recorded(lambda values, valid: [(values + 1.0, valid)], cube)
    empty = np.zeros((len(given_planes), 0, 0), np.float32)

    found = compute(
        recording,
        Given(lambda _: [loads_of_planes(given_planes, inside if cut else None)]),
        cube_of(empty, empty.astype(TRUTH)),
        window,
    )

    values, valid = read(plane, window)
    if cut:
        valid &= inside
    np.testing.assert_array_equal(found.valid[0], valid)
    np.testing.assert_array_equal(found.values[0][valid], (values + np.float32(1.0))[valid])
    assert not found.valid[1:].any()


def test_no_data_of_wide_integers_is_compared_as_it_is_stored():
    numbers = np.array([[-(2**31), -(2**31) + 1, 5]], np.int32)
    lookup = PixelMap.between(
        grid := Grid.of(32633, 0.0, 0.0, 10.0, 1, 3), grid.window, grid
    ).lookup(grid.window)
    plane = Plane(numbers, lookup, -(2.0**31), 1.0, 0.0, False, None)
    tape = Tape()
    valid = Traced.planes(tape, "valid", 0, (1,), TRUTH)
    results = (Result(valid.nodes[0], tape.constant(True, TRUTH)),)
    recording = Recording(results, byte_places(results), frozenset({0}))
    probe = cube_of(np.zeros((1, 0, 0), TRUTH), np.zeros((1, 0, 0), TRUTH))

    found = compute(
        recording, Given(lambda _: [loads_of_planes([plane], None)]), probe, grid.window
    )

    assert found.values.tolist() == [[[False, True, True]]]


def test_float32_beside_float64_is_not_fused():
    tape = Tape()
    single = Traced.planes(tape, "plane", 0, (1,), np.dtype(np.float32))
    double = Traced.planes(tape, "plane", 1, (1,), np.dtype(np.float64))
    mixed = (single * single).astype(np.float64) + double
    [node] = mixed.nodes

    with pytest.raises(Untraceable, match="float32 beside float64"):
        compiled([Result(node, tape.constant(True, TRUTH))])


@pytest.mark.parametrize(
    "function",
    [
        lambda values: bool((values > 1).nodes) and values[values > 1],
        np.sort,
        np.exp,
        np.asarray,
        lambda values: values.astype(np.uint8),
        lambda values: 1 if values[0] > 2 else 0,
        lambda values: np.add(values, 1.0, out=np.zeros((2, 1, 1), np.float32)),
        np.add.reduce,
        lambda values: values + np.zeros((2, 5, 5), np.float32),
    ],
)
def test_what_cannot_be_recorded_is_refused(function):
    values = Traced.planes(Tape(), "plane", 0, (2,), np.dtype(np.float32))

    with pytest.raises((Untraceable, TypeError, IndexError)):
        function(values)


class InMemory(Given):
    """Planes of a cube that is in memory, whose mask is known."""

    def __init__(self, cube: Cube) -> None:
        super().__init__(lambda piece: [loads_of_cube(cube.crop(piece))])
        self.weights, self.cube = {}, cube

    def mask(self, number):
        assert number == 0
        return self.cube.valid


def in_memory(function, cube: Cube, planes: int) -> Cube:
    """Run on a cube in memory what a function of (values, valid) returns."""
    probe = cube_of(np.zeros((planes, 0, 0), np.float32), np.zeros((planes, 0, 0), TRUTH))
    height, width = cube.values.shape[-2:]
    window = Window(0, 0, height, width)
    return compute(recorded(function, cube), InMemory(cube), probe, window)


@pytest.mark.parametrize("wide", [40, 5000])
def test_planes_in_memory_are_read_where_they_lie(wide):
    random = np.random.default_rng(4)
    around = random.normal(0, 1, (3, 9, wide + 11)).astype(np.float32)
    valid = random.random(around.shape) < 0.7
    cube = cube_of(around[:, 1:8, 5:-6], valid[:, 1:8, 5:-6])

    def function(values, valid):  # noqa: ANN202
        return [(values[:2] * values[1:] + values[:2], valid[:2] & valid[1:])]

    found = in_memory(function, cube, 2)

    [(values, mask)] = function(cube.values, cube.valid)
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.valid, mask)


def test_a_mask_that_stays_is_not_copied():
    random = np.random.default_rng(4)
    cube = cube_of(
        random.normal(0, 1, (3, 20, 30)).astype(np.float32), random.random((3, 20, 30)) < 0.7
    )

    found = in_memory(lambda values, valid: [(values * 2, valid)], cube, 3)

    assert np.shares_memory(found.valid, cube.valid)
    np.testing.assert_array_equal(found.values, cube.values * 2)


def test_planes_that_share_nothing_are_computed_one_after_the_other(monkeypatch):
    monkeypatch.setattr(program, "STREAMED", 0)
    random = np.random.default_rng(4)
    cube = cube_of(
        random.normal(0, 1, (4, 20, 30)).astype(np.float32), random.random((4, 20, 30)) < 0.7
    )

    def function(values, valid):  # noqa: ANN202
        return [(values[:3] - values[0], valid[:3] & valid[1:])]

    parts, _ = recorded(lambda a, b: [(a * a, b)], cube).program.parts({}, 600)
    found = in_memory(function, cube, 3)

    [(values, mask)] = function(cube.values, cube.valid)
    assert len(parts) == 4
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.valid, mask)


@pytest.mark.parametrize("low", [-1.0, np.nan, 5.0])
def test_what_is_held_between_bounds_takes_one_operation(low):
    cube = cube_of(
        np.array([[[-3.0, -0.0, 0.0, 2.0, 9.0, np.nan, np.inf]]], np.float32),
        np.ones((1, 1, 7), TRUTH),
    )

    def function(values, valid):  # noqa: ANN202
        held = np.where(values > np.float32(3), np.float32(3), values)
        return [(np.where(values < np.float32(low), np.float32(low), held), valid)]

    codes = recorded(function, cube).program.operations[:, 0].tolist()
    found = machined(function, cube, np.float32)

    [(values, _)] = function(cube.values, cube.valid)
    assert operations.CLAMP in codes
    assert operations.WHERE not in codes
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(np.signbit(found.values), np.signbit(values))
