"""How a layer is shown: date, bands, stretch and colours, as screens and addresses say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.drivers.screen.asked import Asked, number_of, wrong
from terrazzo.errors import ArgumentInvalid, TerrazzoError
from terrazzo.storage.writers.colors import Class, Classes, Colors, Stops, colormap

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS: Final = ("range", "percentile", "sd", "minmax")
"""What a stretch goes by: numbers, or what `statistics` says of a view."""
MOST_BANDS: Final = 3
_COLORMAP: Final = "viridis"
_PERCENTS, _DEVIATIONS = (2.0, 98.0), 2.0
_PAIR: Final = 2
_HUNDRED: Final = 100.0


class LookRelative(TerrazzoError):
    """A tile was asked for with a stretch that depends on what else is in view."""

    code, status = "LookRelative", 400


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which values are the first and the last colour."""

    kind: str = "range"
    """One of `KINDS`."""
    low: float | None = None
    """Of a range its lowest value, of percentiles the lower one, of sd how many deviations."""
    high: float | None = None
    """Of a range its highest value, of percentiles the upper one."""
    gamma: float = 1.0
    """The middle is brighter above 1, darker below."""
    per_band: tuple[tuple[float, float], ...] = ()
    """A range for each of three bands, in place of `low` and `high`."""

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """The ranges that it states; none where they must be found."""
        if self.per_band:
            return self.per_band
        if self.kind == "range" and self.low is not None and self.high is not None:
            return ((self.low, self.high),)
        return ()


@dataclass(frozen=True, slots=True)
class Look:
    """What of a layer is shown, and how; what is left out, the layer says."""

    time: str = ""
    """Label of a date; empty = the last one."""
    bands: tuple[str, ...] = ()
    """One band, or three as red, green and blue."""
    stretch: Stretch = Stretch()
    """Which values are the first and the last colour."""
    colors: Colors = ""
    """A colour map, stops or classes of one band; empty = the layer's classes, else viridis."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Look:
        """Read what a screen says.

        Raises:
            ArgumentInvalid: says what would be valid.
        """
        asked = Asked.of(given, ("time", "bands", "stretch", "colors"))
        bands = asked.texts("bands", MOST_BANDS)
        if len(bands) not in {0, 1, MOST_BANDS}:
            raise wrong("bands", list(bands), "one band, or three as red, green and blue")
        colors = _colors(asked.given.get("colors", ""))
        return cls(asked.text("time", ""), bands, _stretch(asked.mapping("stretch")), colors)

    @property
    def absolute(self) -> bool:
        """Whether it says the same of every pixel, whatever else is in view."""
        return self.stretch.kind == "range"

    def resolved(self, bands: Sequence[Mapping[str, Any]]) -> Look:
        """Return the look with numbers in place of what its stretch says about a view.

        Args:
            bands: what `statistics` says of the bands that are shown.
        """
        if self.absolute:
            return self
        found = tuple(_found(self.stretch, one) for one in bands)
        known = tuple(one for one in found if one is not None)
        ranges = known if len(known) == len(bands) else ((0.0, 1.0),) * len(bands)
        return replace(self, stretch=Stretch(gamma=self.stretch.gamma, per_band=ranges))


def _found(stretch: Stretch, band: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the range of one band; None where nothing of it is in view."""
    if not band["valid"]:
        return None
    if stretch.kind == "minmax":
        low, high = band["min"], band["max"]
    elif stretch.kind == "sd":
        width = (_DEVIATIONS if stretch.low is None else stretch.low) * band["sd"]
        low, high = band["mean"] - width, band["mean"] + width
    else:
        at = [float(p) for p in band["percentiles"]]
        values = list(band["percentiles"].values())
        low, high = (float(np.interp(edge, at, values)) for edge in percents(stretch))
    return float(low), float(high if high > low else low + 1.0)


def percents(stretch: Stretch) -> tuple[float, float]:
    """Return the percentiles of a stretch."""
    low, high = stretch.low, stretch.high
    first = _PERCENTS[0] if low is None else low
    return first, (_HUNDRED - first if high is None else high)


def default_colors() -> str:
    """Return the colour map of one band of which nobody has said how it is coloured."""
    return _COLORMAP


def check_absolute(look: Look) -> None:
    """Refuse a stretch that would differ from tile to tile.

    Raises:
        LookRelative: says what to ask before.
    """
    if not look.absolute:
        raise LookRelative(
            f"A stretch by {look.stretch.kind} depends on what is in view, and a tile knows only "
            'itself. Ask for `statistics` of the view and send their numbers: {"kind": "range", '
            '"low": ..., "high": ...}.'
        )


def _stretch(given: Mapping[str, Any]) -> Stretch:
    asked = Asked.of(given, ("kind", "low", "high", "gamma", "per_band"))
    kind = asked.chosen("kind", KINDS, "range")
    low, high = (asked.number(edge) if edge in asked.given else None for edge in ("low", "high"))
    per_band = _ranges(asked.given.get("per_band", ()))
    if kind == "range" and (low is None) != (high is None):
        raise ArgumentInvalid("A range has both, `low` and `high`, or neither.")
    if kind in {"range", "percentile"} and low is not None and high is not None and low >= high:
        raise ArgumentInvalid(f"`low` must be below `high`, not {low:g} and {high:g}.")
    if kind == "percentile":
        for edge in (low, high):
            if edge is not None and not 0.0 <= edge <= _HUNDRED:
                raise wrong("low" if edge == low else "high", edge, "a percentile, 0 to 100")
    return Stretch(kind, low, high, asked.number("gamma", 1.0), per_band)


def _ranges(given: object) -> tuple[tuple[float, float], ...]:
    valid = "[low, high] of each of three bands"
    if not isinstance(given, list | tuple) or len(given) not in {0, 1, MOST_BANDS}:
        raise wrong("per_band", given, valid)
    ranges = []
    for one in given:
        if not isinstance(one, list | tuple) or len(one) != _PAIR:
            raise wrong("per_band", given, valid)
        low, high = (number_of("per_band", edge) for edge in one)
        if low >= high:
            raise ArgumentInvalid(f"`low` must be below `high`, not {low:g} and {high:g}.")
        ranges.append((low, high))
    return tuple(ranges)


def _colors(given: object) -> Colors:
    valid = 'the name of a colour map, [[value, "#rrggbb"], ...] or {"classes": [...]}'
    if isinstance(given, str):
        if given:
            colormap(given)
        return given
    if isinstance(given, Mapping):
        listed = Asked.of(given, ("classes",)).given.get("classes")
        if not isinstance(listed, list | tuple):
            raise wrong("colors", given, valid)
        return Classes(tuple(_classes(listed)))
    if not isinstance(given, list | tuple) or not all(
        isinstance(one, list | tuple) and len(one) == _PAIR and isinstance(one[1], str)
        for one in given
    ):
        raise wrong("colors", given, valid)
    return Stops(tuple((number_of("colors", value), colour) for value, colour in given))


def _classes(listed: Iterable[object]) -> Iterable[Class]:
    for one in listed:
        if not isinstance(one, Mapping):
            raise wrong("classes", one, '{"value": 1, "color": "#rrggbb", "label": "..."}')
        asked = Asked.of(one, ("value", "color", "label"))
        yield Class(asked.number("value"), asked.text("color"), asked.text("label", ""))
