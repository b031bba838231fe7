"""What is computed fast equals what is computed simply, to the bit."""

from __future__ import annotations

import math
import operator
from functools import reduce
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from tests.processes.cubes import bands, cube, other, time
from tests.processes.scalar_cases import run

from terrazzo.cube import Cube, Pixels, Stack, all_valid
from terrazzo.cube.pixels import compute_dtype, is_all_valid, known_everywhere
from terrazzo.processes import PROCESSES
from terrazzo.processes.kernels import where
from terrazzo.processes.stacks import KINDS, reduce_stack

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES = ("bool", "uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float16", "float32", "float64")
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0)


def stack_of(seed: int, dtype: str, length: int, shape: tuple[int, ...], layout: str) -> Stack:
    """Return random numbers, with ties and specials, in memory of a given layout."""
    rng = np.random.default_rng(seed)
    whole = (length, *shape)
    if dtype in FLOATS:
        values = rng.normal(0, 3, whole).round(1).astype(dtype)
        for special in SPECIAL:
            values[rng.random(whole) < 0.03] = special
    else:
        values = rng.integers(0, 200, whole).astype(dtype)
    valid = rng.random(whole) > 0.4
    if layout == "turned":
        values, valid = (
            np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 0, 1)), 1, 0) for a in (values, valid)
        )
    elif layout == "cut out":
        wide = [(0, 0)] * (len(whole) - 1) + [(3, 2)]
        values, valid = (np.pad(a, wide)[..., 3:-2] for a in (values, valid))
    elif layout == "backwards":
        values, valid = values[::-1, ..., ::-1], valid[::-1, ..., ::-1]
    elif layout == "one mask for all":
        valid = np.broadcast_to(valid[:, :1], whole)
    elif layout == "whole entries":
        valid = np.broadcast_to(valid[(slice(None), *(slice(1),) * len(shape))], whole)
    elif layout == "all valid":
        valid = all_valid(whole)
    return Stack(values, valid)


LAYOUTS = ("plain", "turned", "cut out", "backwards", "one mask for all", "whole entries")


def folded(kind: str, entries: np.ndarray) -> Any:
    """Fold the valid entries of one pixel as the documentation says, one after the other."""
    numbers = [float(entry) for entry in entries]
    if kind in {"min", "max"}:
        beyond: Callable[[Any, Any], Any] = operator.lt if kind == "min" else operator.gt
        return reduce(lambda a, b: b if beyond(b, a) or b != b else a, entries)  # noqa: PLR0124
    if kind == "product":
        return reduce(operator.mul, numbers, 1.0)
    total = reduce(operator.add, numbers, 0.0)
    if kind in {"sum", "mean"}:
        return total if kind == "sum" else total / len(numbers)
    mean, squares = 0.0, 0.0
    for number, x in enumerate(numbers, 1):
        before = x - mean
        mean += before / number
        squares += before * (x - mean)
    variance = squares / (len(numbers) - 1) if len(numbers) > 1 else math.nan
    return variance if kind == "variance" else np.sqrt(variance)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(DTYPES + FLOATS),
    length=st.integers(1, 9),
    layout=st.sampled_from((*LAYOUTS, "all valid")),
)
def test_stacks_are_folded_in_the_order_of_their_entries(
    kind: str, seed: int, dtype: str, length: int, layout: str
) -> None:
    data = stack_of(seed, dtype, length, (3, 2, 5), layout)

    found, count = reduce_stack(kind, data.values, data.valid)

    kept = data.values.dtype if kind in {"min", "max"} else compute_dtype(data.values.dtype)
    assert found.dtype == kept
    np.testing.assert_array_equal(count, data.valid.sum(axis=0))
    for place in np.ndindex(*found.shape):
        entries = data.values[(slice(None), *place)][data.valid[(slice(None), *place)]]
        if entries.size:
            with np.errstate(all="ignore"):
                expected = np.asarray(folded(kind, entries)).astype(kept)
            np.testing.assert_array_equal(found[place], expected)
            signs = np.signbit([found[place], expected])
            assert np.isnan(expected) or signs[0] == signs[1]


@pytest.mark.parametrize("kind", [*KINDS, "quantiles"])
@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(("uint16", "float32", "float64")),
    length=st.integers(1, 6),
    width=st.sampled_from((1, 63, 64, 70, 513, 1100)),
    layout=st.sampled_from(LAYOUTS),
)
def test_reductions_do_not_depend_on_the_layout(
    kind: str, seed: int, dtype: str, length: int, width: int, layout: str
) -> None:
    data = stack_of(seed, dtype, length, (2, 3, width), layout)
    plain = np.ascontiguousarray(data.values), np.ascontiguousarray(data.valid)
    shares = (0.0, 0.3, 0.5) if kind == "quantiles" else ()

    found, count = reduce_stack(kind, data.values, data.valid, shares)

    expected, number = reduce_stack(kind, *plain, shares)
    np.testing.assert_array_equal(count, number)
    there = np.broadcast_to(number > 0, expected.shape)
    np.testing.assert_array_equal(found[there], expected[there])


@pytest.mark.parametrize("offset", [0.0, 1e6, -3e8])
@pytest.mark.parametrize("name", ["sd", "variance"])
def test_deviations_are_exact_far_from_zero(name: str, offset: float) -> None:
    values = np.random.default_rng(5).normal(offset, 1, (50, 400))

    found = run(name, Stack(values, all_valid(values.shape))).values

    centred = values - offset  # what numpy is exact for
    expected = {"sd": np.std, "variance": np.var}[name](centred, axis=0, ddof=1)
    np.testing.assert_allclose(found, expected, rtol=1e-14 + abs(offset) * 2e-15)


@settings(max_examples=200)
@given(
    condition=npst.arrays(np.bool_, (3, 1, 400), elements=st.booleans(), fill=st.booleans()),
    dtypes=st.tuples(st.sampled_from(DTYPES + FLOATS), st.sampled_from(DTYPES + FLOATS)),
    shapes=st.tuples(*[st.sampled_from(((), (400,), (3, 4, 400), (1, 1, 1)))] * 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_where_is_that_of_numpy(
    condition: Any, dtypes: tuple[str, str], shapes: tuple[Any, Any], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    yes, no = (
        rng.choice(np.array([0, 1, 100, *(SPECIAL if d in FLOATS else ())]), s).astype(d)[()]
        for d, s in zip(dtypes, shapes, strict=True)
    )

    found = where(condition, yes, no)

    expected = np.where(condition, yes, no)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-300, 70_000),
    st.integers(-300, 70_000).map(float),
    st.floats(),
    st.sampled_from([0.5, 254.5, 255.0, 256.0, 65535.0, 65535.5, -0.0, 1e300]),
)


@pytest.mark.parametrize("name", ["eq", "neq", "gt", "gte", "lt", "lte"])
@settings(max_examples=150)
@given(
    dtype=st.sampled_from(("uint8", "int8", "uint16", "int16", "uint32", "int32")),
    number=NUMBERS,
    swapped=st.booleans(),
)
def test_integers_are_compared_as_in_float64(
    name: str, dtype: str, number: float, swapped: bool
) -> None:
    info = np.iinfo(dtype)
    near = [n for n in (0, 1, 254, 255, 256, info.min, info.max) if info.min <= n <= info.max]
    if math.isfinite(number) and info.min <= number <= info.max:
        near.append(int(number))
    values = np.array(near, dtype)
    x = Pixels(values, all_valid(values.shape))

    found = run(name, number, x) if swapped else run(name, x, number)

    function = {"eq": "eq", "neq": "ne", "gt": "gt", "gte": "ge", "lt": "lt", "lte": "le"}[name]
    sides = [values.astype(np.float64), np.float64(number)]
    expected = getattr(operator, function)(*(sides[::-1] if swapped else sides))
    np.testing.assert_array_equal(found.values, expected)
    assert known_everywhere(found.valid)


@settings(max_examples=100)
@given(low=NUMBERS, high=NUMBERS, open_end=st.booleans(), masked=st.booleans())
def test_between_is_two_comparisons(low: float, high: float, open_end: bool, masked: bool) -> None:
    values = np.arange(256, dtype=np.uint8)
    valid = values % 3 > 0 if masked else all_valid(values.shape)

    found = run("between", Pixels(values, valid), low, high, open_end)

    wide = values.astype(np.float64)
    below = wide < np.float64(high) if open_end else wide <= np.float64(high)
    np.testing.assert_array_equal(found.values, (wide >= np.float64(low)) & below)
    np.testing.assert_array_equal(found.valid, valid)


KLEENE = {
    "and": lambda a, b: False if False in (a, b) else None if None in (a, b) else True,
    "or": lambda a, b: True if True in (a, b) else None if None in (a, b) else False,
    "xor": lambda a, b: None if None in (a, b) else a != b,
}
PAIRS = list(product((True, False, None), repeat=2))


def truth(entries: list[bool | None], kind: str) -> Pixels:
    """Return truth values, as booleans or numbers, in whatever mask holds them."""
    values = np.array([bool(entry) for entry in entries])
    valid = np.array([entry is not None for entry in entries])
    return Pixels(values.astype(kind), all_valid(values.shape) if valid.all() else valid)


@pytest.mark.parametrize("kind", ["bool", "uint8", "float32"])
@pytest.mark.parametrize("name", sorted(KLEENE))
def test_truths_of_three_values(name: str, kind: str) -> None:
    known = [pair for pair in PAIRS if None not in pair]
    half = [pair for pair in PAIRS if pair[0] is not None]
    for pairs in (PAIRS, known, half):
        left, right = ([pair[side] for pair in pairs] for side in (0, 1))
        x, y = truth(left, kind), truth(right, kind)
        shared = Pixels(y.values, x.valid)

        found, same = run(name, x, y), run(name, x, shared)

        expected = [KLEENE[name](a, b) for a, b in pairs]
        told = zip(found.values, found.valid, strict=True)
        assert [bool(v) if there else None for v, there in told] == expected
        there = np.asarray(x.valid)
        np.testing.assert_array_equal(same.valid, there)
        both = [KLEENE[name](bool(a), bool(b)) for a, b in zip(x.values, y.values, strict=True)]
        np.testing.assert_array_equal(same.values[there], np.array(both)[there])


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(("uint8", "int32", "float32")),
    length=st.integers(1, 5),
    layout=st.sampled_from(("plain", "whole entries", "all valid")),
)
def test_first_and_last_are_the_outermost_valid_entries(
    seed: int, dtype: str, length: int, layout: str
) -> None:
    data = stack_of(seed, dtype, length, (2, 9), layout)

    found = {name: run(name, data) for name in ("first", "last")}

    for place in np.ndindex(2, 9):
        entries = data.values[(slice(None), *place)][data.valid[(slice(None), *place)]]
        for name, position in (("first", 0), ("last", -1)):
            assert found[name].valid[place] == bool(entries.size)
            if entries.size:
                np.testing.assert_array_equal(found[name].values[place], entries[position])


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(("bool", "uint8", "int16", "float32")),
    replacement=st.sampled_from([None, 7, -1, 0.5, True, 1e9, 1e30, 300]),
    masked=st.sampled_from(["bool", "uint8", "float32"]),
    whole=st.booleans(),
)
def test_masking_is_an_assignment(
    seed: int, dtype: str, replacement: Any, masked: str, whole: bool
) -> None:
    rng = np.random.default_rng(seed)
    data, mask = cube(time(), bands(), dtype=dtype), cube(time(), dtype=masked)
    mask = mask.same_pixels((rng.random(mask.values.shape) > 0.5).astype(masked), mask.valid)
    if whole:
        data = data.same_pixels(data.values, all_valid(data.values.shape))

    found = PROCESSES["mask"].function(data, mask, replacement)

    hidden = np.broadcast_to((mask.valid & (mask.values != 0))[:, np.newaxis], data.values.shape)
    values, valid = data.values.astype(found.dtype), data.valid & ~hidden
    if replacement is not None:
        values[hidden], valid = replacement, data.valid | hidden
    np.testing.assert_array_equal(found.valid, valid)
    np.testing.assert_array_equal(found.values[valid], values[valid])


LABELS = st.lists(st.sampled_from("abcde"), unique=True, min_size=1, max_size=5)


def total(x: Pixels, y: Pixels, context: Any = None) -> Any:
    del context
    return run("add", x, y)


@settings(max_examples=80)
@given(
    first=st.tuples(LABELS, LABELS),
    second=st.tuples(LABELS, LABELS),
    dtypes=st.tuples(*[st.sampled_from(("uint8", "uint16", "float32"))] * 2),
)
def test_merging_takes_every_label_from_where_it_is(
    first: Any, second: Any, dtypes: tuple[str, str]
) -> None:
    cubes = [
        cube(other(tuple(one)), bands(tuple(two)), dtype=dtype)
        for (one, two), dtype in zip((first, second), dtypes, strict=True)
    ]

    found = PROCESSES["merge_cubes"].function(*cubes, total)

    assert found.dtype == np.float32
    for place in product(*(dimension.labels for dimension in found.dimensions[:2])):
        known = [plane(each, place) for each in cubes]
        there = [entry for entry in known if entry is not None]
        merged = plane(found, place)
        assert merged is not None
        if not there:
            assert not merged.valid.any()
            continue
        expected = there[0] if len(there) == 1 else total(*there)
        np.testing.assert_array_equal(merged.valid, expected.valid)
        kept = merged.valid
        np.testing.assert_array_equal(merged.values[kept], expected.values[kept])


def plane(given_cube: Cube, place: tuple[Any, ...]) -> Pixels | None:
    """Return the pixels of one pair of labels, None where the cube lacks one of them."""
    labels = [dimension.labels for dimension in given_cube.dimensions[:2]]
    if any(name not in known for name, known in zip(place, labels, strict=True)):
        return None
    at = tuple(known.index(name) for name, known in zip(place, labels, strict=True))
    return Pixels(given_cube.values[at], given_cube.valid[at])


def test_masks_that_are_known_need_no_look() -> None:
    shape = (2, 3)

    assert known_everywhere(all_valid(shape))
    assert not known_everywhere(~all_valid(shape))
    assert not known_everywhere(np.broadcast_to(np.False_, shape))
    assert not known_everywhere(np.ones(shape, np.bool_))
    assert is_all_valid(np.ones(shape, np.bool_))
    assert not is_all_valid(np.eye(2, dtype=np.bool_))
