"""Synthetic cubes, and calls of cube processes in the way in which the engine makes them."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind, Pixels, Stack, empty_cube
from terrazzo.geo.grid import Grid, Window
from terrazzo.processes import PROCESSES
from terrazzo.processes.registry import Place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GRID = Grid.of("EPSG:32633", 500_000.0, 5_400_000.0, 10.0, 40, 50)
EXTENT = Window(3, 5, 29, 37)
"""Where the synthetic cubes have data: its edges lie on no round number."""
NOTHING = Window(0, 0, 0, 0)

TIMES = ("2020-06-01T00:00:00Z", "2020-06-03T00:00:00Z", "2020-06-05T12:00:00Z")
BANDS = ("red", "nir", "blue")


def time(labels: Sequence[str] = TIMES, name: str = "t") -> Dimension:
    return Dimension(name, Kind.TEMPORAL, tuple(labels))


def bands(labels: Sequence[Any] = BANDS, name: str = "bands") -> Dimension:
    return Dimension(name, Kind.BANDS, tuple(labels))


def other(labels: Sequence[Any], name: str = "other") -> Dimension:
    return Dimension(name, Kind.OTHER, tuple(labels))


Y, X = Dimension("y", Kind.SPATIAL), Dimension("x", Kind.SPATIAL)


def cube(
    *dimensions: Dimension,
    window: Window = EXTENT,
    dtype: str = "float32",
    invalid: float = 0.2,
    grid: Grid = GRID,
) -> Cube:
    """Return a raster whose pixels are made from labels, row and column, whatever the window."""
    shape = (*(len(d.labels) for d in dimensions), grid.height, grid.width)
    seed = zlib.crc32(repr(("|".join(d.name for d in dimensions), shape)).encode())
    random = np.random.default_rng(seed)
    values = (random.normal(size=shape) * 50 + 100).clip(0, 250).astype(dtype)
    valid = random.random(shape) >= invalid
    whole = Cube(values, valid, (*dimensions, Y, X), grid, grid.window)
    return whole.crop(window)


def frozen(given: Cube) -> Cube:
    """Return the cube with arrays that raise when they are written to."""
    values, valid = given.values.copy(), given.valid.copy()
    values[~valid] = 77  # what is not valid is arbitrary
    values.flags.writeable = valid.flags.writeable = False
    return replace(given, values=values, valid=valid)


def probe(given: Cube) -> Cube:
    """Return what inference sees of a cube: all labels, no pixels."""
    return empty_cube(
        given.dimensions, given.dtype, given.grid, NOTHING if given.window is not None else None
    )


def is_input(name: str, argument: str, value: Any) -> bool:
    """Tell whether an argument is a cube that is computed; geometries are known beforehand."""
    if not isinstance(value, Cube):
        return False
    return value.geometries is None or object not in PROCESSES[name].kinds.get(argument, ())


def infer(name: str, /, **arguments: Any) -> Any:
    """Call a process on cubes without pixels."""
    process = PROCESSES[name]
    given = {k: probe(v) if is_input(name, k, v) else v for k, v in arguments.items()}
    if process.place:
        rasters = {k: v for k, v in arguments.items() if isinstance(v, Cube) and v.window}
        first = next(iter(rasters.values()), None)
        extents = {k: v.window for k, v in rasters.items()}
        place = process.nowhere(first.window if first else NOTHING)
        given[process.place] = replace(place, extents=extents, grid=first.grid if first else None)
    return process.function(**given)


def padded(given: Cube, window: Window) -> Cube:
    """Return a cube on any window: no-data where it has no pixels."""
    values = np.zeros((*given.values.shape[:-2], window.height, window.width), given.dtype)
    valid = np.zeros(values.shape, np.bool_)
    shared = given.window.intersection(window)
    if not shared.is_empty:
        target, source = window.slices(shared), given.window.slices(shared)
        values[..., target[0], target[1]] = given.values[..., source[0], source[1]]
        valid[..., target[0], target[1]] = given.valid[..., source[0], source[1]]
    return replace(given, values=values, valid=valid, window=window)


def call(
    name: str,
    wanted: Window,
    needs: Mapping[str, Mapping[str, tuple[int, ...]]],
    generous: str,
    arguments: Mapping[str, Any],
    described: Mapping[str, Cube] = {},
) -> Cube:
    """Call a process with what its rules ask for, and one cube with all of its labels.

    The cubes of `described` have no pixels: the process takes their labels only.
    """
    process = PROCESSES[name]
    plain = {k: v for k, v in arguments.items() if not is_input(name, k, v)} | dict(described)
    given: dict[str, Any] = dict(plain)
    for argument, whole in arguments.items():
        if argument in plain:
            continue
        if whole.window is None:
            given[argument] = frozen(whole)
            continue
        rule_gets = dict(plain)
        if process.place:
            rule_gets[process.place] = Place(wanted, whole.window, grid=whole.grid)
        needed = process.rules.window(wanted, whole.window, rule_gets, argument)
        part = padded(whole, needed)
        if process.rules.borders:
            part = whole.crop(needed.intersection(whole.window))
        for dimension, positions in needs.get(argument, {}).items():
            part = part if argument == generous else part.take(dimension, positions)
        given[argument] = frozen(part)
    if process.place:
        rasters = {k: v for k, v in arguments.items() if isinstance(v, Cube) and v.window}
        extents = {k: v.window for k, v in rasters.items()}
        first = next(iter(rasters.values()))
        given[process.place] = Place(wanted, first.window, extents, first.grid)
    return process.function(**given).crop(wanted)


def evaluate(
    name: str,
    wanted: Window | None = None,
    only: Mapping[str, Sequence[Any]] | None = None,
    /,
    **arguments: Any,
) -> Cube:
    """Compute some pixels and labels of a process's result from no more than its rules ask for.

    Args:
        name: id of the process.
        wanted: pixels; None for all that the first cube has.
        only: names of the labels that are wanted, by dimension.
        arguments: of the process; cubes have all pixels and labels that there are.
    """
    rules = PROCESSES[name].rules
    described = {k: probe(v) for k, v in arguments.items() if k in rules.labels_of}
    arguments = {k: v for k, v in arguments.items() if k not in described}
    output = infer(name, **arguments, **described)
    for argument, make in rules.once.items():
        arguments[argument] = make(arguments[argument])
    inputs = {k: v for k, v in arguments.items() if is_input(name, k, v)}
    windows = [each.window for each in inputs.values() if each.window is not None]
    extent = windows[0]
    if rules.joins:
        for window in windows:
            extent = extent.union(window)
    crop = rules.crops(arguments)
    if crop is not None:
        extent = extent.intersection(crop.window(output.grid))
    wanted = extent if wanted is None else wanted.intersection(extent)
    asked = {
        dimension: tuple(output.dimension(dimension).labels.index(label) for label in chosen)
        for dimension, chosen in (only or {}).items()
    }
    probes = {k: probe(v) for k, v in inputs.items()}
    plain = {k: v for k, v in arguments.items() if k not in inputs} | described
    needs = rules.labels(asked, output, probes, plain)
    results = []
    # Other consumers of an input may want more of its labels: that must change nothing.
    for generous in ("", *inputs) if only else ("",):
        result = call(name, wanted, needs, generous, arguments, described)
        for dimension, chosen in (only or {}).items():
            labels = result.dimension(dimension).labels
            result = result.take(dimension, [labels.index(label) for label in chosen])
        results.append(result)
    for other_result in results[1:]:
        assert_same(other_result, results[0])
    return results[0]


def assert_same(actual: Cube, expected: Cube) -> None:
    """Fail unless dimensions, dtype, validity and valid values are equal to the bit."""
    assert actual.dimensions == expected.dimensions
    assert actual.dtype == expected.dtype
    assert actual.window == expected.window
    np.testing.assert_array_equal(actual.valid, expected.valid)
    np.testing.assert_array_equal(
        actual.values[actual.valid], expected.values[expected.valid], strict=True
    )


def assert_blocks_agree(name: str, edges: Sequence[int] = (7, 16), /, **arguments: Any) -> Cube:
    """Fail unless every block has, to the bit, the pixels of the whole; return the whole."""
    whole = evaluate(name, **arguments)
    inferred = infer(name, **arguments)
    assert whole.dimensions == inferred.dimensions
    assert whole.dtype == inferred.dtype
    for edge in edges:
        for block in whole.window.blocks(edge):
            assert_same(evaluate(name, block, **arguments), whole.crop(block))
    return whole


def masked(given: Cube) -> np.ma.MaskedArray:
    return np.ma.MaskedArray(given.values, ~given.valid)


def mean_of(data: Stack, context: Any = None) -> Pixels:
    """Average what is valid, one entry after the other: a reducer that needs no other process."""
    del context
    values = np.where(data.valid, data.values, 0).astype(np.float64)
    total, count = np.zeros(values.shape[1:]), np.zeros(values.shape[1:])
    for value, valid in zip(values, data.valid, strict=True):
        total, count = total + value, count + valid
    return Pixels(total / np.maximum(count, 1), count > 0)
