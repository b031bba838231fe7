"""Scripts that assign `img`: bands have names, and definitions are run once."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
import pytest

from terrazzo.sandbox.script import Script, image_line

BANDS = (np.array([1.0, 2]), np.array([5.0, 7]))


def script(text: str, **given: Any) -> Script:
    return Script(ast.parse(text), "<udf>", given)


def image(made: Script, *bands: Any, labels: tuple[str, ...] = ("red", "B08")) -> Any:
    return made.image(bands or BANDS, labels, {"k": 2})


def test_bands_have_numbers_and_names() -> None:
    made = script("img = band0 + B08 + red * context['k'] + band1")

    np.testing.assert_array_equal(image(made), [13, 20])


def test_names_that_are_none_are_left_out() -> None:
    made = script("img = band0 + band1")

    np.testing.assert_array_equal(image(made, labels=("B-1", "class")), [6, 9])


def test_functions_are_defined_once_and_see_the_bands_of_the_block() -> None:
    counted: list[int] = []
    text = (
        "'''Text.'''\nfrom __future__ import annotations\nimport math\nHALF, LESS = 0.5, (-1, 2)\n"
        "@count\ndef half(values: nothing) -> None:\n    return values * HALF + math.floor(0.5)\n"
        "@count\ndef red_too():\n    return half(red)\n"
        "img = red_too() + half(band1)\n"
    )

    def count(function: Any) -> Any:
        counted.append(1)
        return function

    made = script(text, count=count)

    np.testing.assert_array_equal(image(made), [3, 4.5])
    np.testing.assert_array_equal(image(made, BANDS[1], BANDS[0]), [3, 4.5])
    np.testing.assert_array_equal(image(made, BANDS[1], BANDS[1]), [5, 7])
    assert counted == [1, 1]


@pytest.mark.parametrize(
    "text",
    [
        "seen = [0]\nseen[0] += 1\nimg = band0 * 0 + seen[0]",
        "def last(values, kept=band0):\n    return kept\nimg = last(1)",
        "def add(v, kept=[]):\n    kept.append(1)\n    return v * 0 + len(kept)\nimg = add(band0)",
        "def add(v, *, kept={}):\n    kept[len(kept)] = 1\n    return len(kept)\nimg = add(band0)",
        "band1 = 3\nimg = band1",
        "total = 0\nif total == 0:\n    total = 1\nimg = band0 * 0 + total",
    ],
)
def test_nothing_is_kept_from_one_block_to_the_next(text: str) -> None:
    made = script(text)

    first, second, third = (np.array(image(made, *bands)) for bands in (BANDS, BANDS[::-1], BANDS))

    np.testing.assert_array_equal(first, third)
    assert (first == script(text).image(BANDS, (), {})).all()
    assert (second == script(text).image(BANDS[::-1], (), {})).all()


def test_other_bands_are_other_definitions() -> None:
    made = script("def B08():\n    return 9\nimg = B08() if callable(B08) else B08")

    assert image(made, labels=("red", "nir")) == 9
    assert image(made, labels=("red", "B08")) == 9
    assert image(made, labels=("red", "nir")) == 9


def test_script_without_an_image_gives_none() -> None:
    made = script("if band0[0] > 100:\n    img = band0")

    assert image(made) is None
    assert image(made, BANDS[0] * 200, BANDS[1]) is not None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("img = 1", 1),
        ("x = 1\nif x:\n    img = 1\nelse:\n    img = 2", 5),
        ("def f():\n    img = 1", 0),
        ("print(img)", 0),
    ],
)
def test_image_is_found_outside_of_functions(text: str, line: int) -> None:
    assert image_line(ast.parse(text)) == line
