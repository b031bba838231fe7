"""Clouds and shadows, against the published rules gone through pixel by pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
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

from terrazzo.cube import BandFacts
from terrazzo.errors import ArgumentInvalid, DimensionAmbiguous

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrazzo.cube import Cube

SENTINEL = ("B01", "B02", "B03", "B05", "B06", "B07", "B8A", "B09", "B10", "B11")
COMMON = (
    *("coastal", "blue", "green", "rededge071", "rededge075", "rededge078", "nir08", "nir09"),
    *("cirrus", "swir16"),
)


def reflectance(names: Sequence[str], invalid: float = 0.1) -> Cube:
    """Return bands over the whole range in which the rules part, 0 among the numbers."""
    data = cube(time(), bands(names), invalid=invalid)
    values = np.random.default_rng(1).uniform(0, 0.7, data.values.shape).round(2)
    if "B10" in names or "cirrus" in names:
        values[:, list(names).index("B10" if "B10" in names else "cirrus")] *= 0.1
    return replace(data, values=values.astype(np.float32))


def published(b: dict[str, Any]) -> str:  # noqa: PLR0911 - one per leaf
    """Go through figure 8 of Hollstein et al. 2016 as the paper draws it."""

    def ratio(x: str, y: str) -> Any:
        return b[x] / b[y]

    if b["B03"] < 0.319:
        if b["B8A"] < 0.166:
            if b["B03"] - b["B07"] < 0.027:
                return "clear" if b["B09"] - b["B11"] < -0.097 else "shadow"
            return "water" if b["B09"] - b["B11"] < 0.021 else "shadow"
        if ratio("B02", "B10") < 14.689:
            return "clear" if ratio("B02", "B09") < 0.788 else "cloud"
        return "clear"
    if ratio("B05", "B11") < 4.33:
        if b["B11"] - b["B10"] < 0.255:
            return "cloud"
        return "clear" if b["B01"] < 0.3 else "cloud"
    if b["B03"] < 0.525:
        return "clear" if ratio("B01", "B05") < 1.184 else "shadow"
    return "snow"


@pytest.mark.parametrize("names", [SENTINEL, COMMON, SENTINEL[::-1]])
def test_sentinel_pixels_are_classified_as_published(names: tuple[str, ...]) -> None:
    data = reflectance(names)

    result = assert_blocks_agree("cloud_detection", (16,), data=data, method=None)

    assert result.dimensions == (time(), bands(("cloud", "shadow")), Y, X)
    order = [names.index(n if n in names else COMMON[SENTINEL.index(n)]) for n in SENTINEL]
    needed = [n for n, name in zip(order, SENTINEL, strict=True) if name != "B06"]
    with np.errstate(divide="ignore", invalid="ignore"):
        for t, y, x in np.ndindex(3, *data.values.shape[2:]):
            sure = data.valid[t, needed, y, x].all()
            assert (result.valid[t, :, y, x] == sure).all()
            if sure:
                kind = published(dict(zip(SENTINEL, data.values[t, order, y, x], strict=True)))
                expected = [kind == "cloud", kind == "shadow"]
                np.testing.assert_array_equal(result.values[t, :, y, x], expected)
    share = result.values.mean((0, 2, 3), where=result.valid)
    assert (share > 0.05).all()


def test_other_sensors_are_judged_by_green_and_red() -> None:
    data = reflectance(("swir22", "red", "green"))

    result = assert_blocks_agree("cloud_detection", data=data, method=None)

    red, green = np.moveaxis(data.values[:, 1:].astype(np.float64), 1, 0)
    expected = (green > 0.39) | ((green > 0.175) & (green > red))
    assert result.dimensions == (time(), bands(("cloud",)), Y, X)
    np.testing.assert_array_equal(result.valid[:, 0], data.valid[:, 1:].all(1))
    sure = result.valid[:, 0]
    np.testing.assert_array_equal(result.values[:, 0][sure], expected[sure])


def test_bands_are_found_by_their_common_names() -> None:
    plain = reflectance(COMMON)
    names = tuple(f"band {number}" for number in range(10))
    facts = {name: BandFacts(common) for name, common in zip(names, COMMON, strict=True)}
    data = replace(plain, dimensions=(time(), replace(bands(names), facts=facts), Y, X))

    result = evaluate("cloud_detection", data=data, method=None)

    assert_same(result, evaluate("cloud_detection", data=plain, method=None))


def test_nan_makes_nan_and_division_by_zero_does_not() -> None:
    data = reflectance(SENTINEL, invalid=0)
    data.values[:, :, 0] = 0
    data.values[:, 8, 1] = np.nan

    result = evaluate("cloud_detection", data=data, method=None)

    assert result.valid.all()
    assert np.isfinite(result.values[:, :, 0]).all()
    assert np.isnan(result.values[:, :, 1]).all()


def test_other_bands_are_not_needed() -> None:
    data = reflectance((*SENTINEL, "B12"))

    one = evaluate(
        "cloud_detection",
        None,
        {"bands": ["shadow"], "t": [time().labels[1]]},
        data=data,
        method=None,
    )

    whole = evaluate("cloud_detection", data=data, method=None)
    assert_same(one, whole.take("bands", [1]).take("t", [1]))


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (ArgumentInvalid, {"method": "Fmask"}),
        (ArgumentInvalid, {"options": {"threshold": 1}}),
        (ArgumentInvalid, {"data": cube(bands(("red", "nir")))}),
        (DimensionAmbiguous, {"data": cube(other(SENTINEL))}),
        (DimensionAmbiguous, {"data": cube(bands(SENTINEL), bands(("a",), "b"))}),
    ],
)
def test_errors(error: type[Exception], changed: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"data": reflectance(SENTINEL), "method": None}

    with pytest.raises(error):
        infer("cloud_detection", **(arguments | changed))
