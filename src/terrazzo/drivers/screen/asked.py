"""Reads what screens ask, JSON values that come from anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from terrazzo.errors import ArgumentInvalid, SpatialExtentEmpty, suggest
from terrazzo.geo.grid import Grid

LONGEST: Final = 200
"""Letters of a band, a date or another name."""
LONGEST_CRS: Final = 10_000
"""Letters of a CRS, which may be WKT."""
NATIVE_CRS: Final = "native"
"""Means the CRS of the layer's own pixels."""
FARTHEST: Final = 1e9
"""Coordinate, degrees or metres: no CRS of the Earth has larger ones."""
SMALLEST: Final = 1e-9
"""Pixel size, degrees or metres, at which coordinates still have digits to tell pixels apart."""
_EDGES: Final = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters of one question."""

    given: Mapping[str, Any]
    """As they came."""

    @classmethod
    def of(cls, given: Mapping[str, Any], known: Sequence[str]) -> Self:
        """Refuse parameters that there are not; those that are null are left out.

        Raises:
            ArgumentInvalid: lists the parameters that there are.
        """
        for name in given:
            if name not in known:
                raise ArgumentInvalid(
                    f"There is no parameter {str(name)[:80]!r}.{suggest(str(name)[:80], known)} "
                    f"There are {', '.join(known)}."
                )
        return cls({name: value for name, value in given.items() if value is not None})

    def number(self, name: str, default: float | None = None) -> float:
        """Return a finite number; without a default it must be there."""
        value = self.given.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
            raise wrong(name, value, "a finite number")
        return float(value)

    def whole(self, name: str, least: int, most: int, default: int | None = None) -> int:
        """Return a whole number between two; without a default it must be there."""
        value = self.given.get(name, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise wrong(name, value, f"a whole number from {least} to {most}")
        return value

    def text(self, name: str, default: str | None = None, longest: int = LONGEST) -> str:
        """Return a text; without a default it must be there."""
        value = self.given.get(name, default)
        if not isinstance(value, str) or len(value) > longest:
            raise wrong(name, value, f"a text of at most {longest} letters")
        return value

    def chosen(self, name: str, words: Sequence[str], default: str | None = None) -> str:
        """Return one of several words; without a default it must be there."""
        value = self.given.get(name, default)
        if value not in words:
            raise wrong(name, value, f"one of {', '.join(words)}")
        return str(value)

    def texts(self, name: str, most: int) -> tuple[str, ...]:
        """Return a list of texts, empty where it is left out."""
        value = self.given.get(name, [])
        fits = isinstance(value, list | tuple) and len(value) <= most
        if not fits or not all(isinstance(one, str) and len(one) <= LONGEST for one in value):
            raise wrong(name, value, f"a list of at most {most} texts")
        return tuple(value)

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Return an object, empty where it is left out."""
        value = self.given.get(name, {})
        if not isinstance(value, Mapping):
            raise wrong(name, value, "an object")
        return value

    def view(self, native: str, *, most: int, finest: bool = False) -> Grid:
        """Return the pixels of `bounds`, `crs`, `width` and `height`.

        Args:
            native: the CRS that `native` means, and that is meant without `crs`.
            most: pixels that a side may have.
            finest: whether more are fewer and larger pixels in place of an error.

        Raises:
            ArgumentInvalid: one of them is not as it must be.
            SpatialExtentEmpty: the bounds hold no area.
        """
        corners = self.given.get("bounds")
        if not isinstance(corners, list | tuple) or len(corners) != _EDGES:
            raise wrong("bounds", corners, "[left, bottom, right, top] in `crs`")
        left, bottom, right, top = (number_of("bounds", one) for one in corners)
        if not (left < right and bottom < top):
            raise SpatialExtentEmpty(
                f"The bounds {[left, bottom, right, top]} hold no area. Give [left, bottom, right, "
                "top] with left < right and bottom < top."
            )
        if max(map(abs, (left, bottom, right, top))) > FARTHEST:
            raise wrong("bounds", corners, f"made of numbers of at most {FARTHEST:g}")
        crs = self.text("crs", NATIVE_CRS, LONGEST_CRS)
        asked = 1 << 20 if finest else most
        width, height = (self.whole(name, 1, asked) for name in ("width", "height"))
        larger = max(1.0, max(width, height) / most)
        width, height = math.ceil(width / larger), math.ceil(height / larger)
        size = (right - left) / width, (top - bottom) / height
        if min(size) < SMALLEST:
            raise wrong("bounds", corners, f"so large that a pixel has an edge of {SMALLEST:g}")
        return Grid.of(native if crs == NATIVE_CRS else crs, left, top, size, height, width)


def number_of(name: str, value: object) -> float:
    """Return a finite number that is part of a parameter.

    Raises:
        ArgumentInvalid: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
        raise wrong(name, value, "made of finite numbers")
    return float(value)


def wrong(name: str, value: object, valid: str) -> ArgumentInvalid:
    """Return the error about a parameter that is not what it must be."""
    if value is None:
        return ArgumentInvalid(f"The parameter `{name}` is missing. It is {valid}.")
    return ArgumentInvalid(f"The parameter `{name}` is {valid}, not {repr(value)[:80]}.")


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
