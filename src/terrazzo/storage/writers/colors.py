"""Colours of one band: named colour maps, a user's own stops, and classes.

The names and colours are matplotlib's, out of a table that `scripts/colormaps.py` writes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from terrazzo.errors import ArgumentInvalid, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.float64]

_TABLE: Final = Path(__file__).parent / "colormaps.npz"
_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_LEVELS: Final = 256
MOST_STOPS: Final = 100
MOST_CLASSES: Final = 255


@dataclass(frozen=True, slots=True)
class Stops:
    """A colour map of somebody's own: linear between colours at values."""

    at: tuple[tuple[float, str], ...]
    """(value, `#rrggbb`), values ascending; two at one value are an edge."""

    def __post_init__(self) -> None:
        """Check them.

        Raises:
            ArgumentInvalid: too few or too many, not ascending, or a colour is none.
        """
        if not 2 <= len(self.at) <= MOST_STOPS:  # noqa: PLR2004 - two ends
            raise ArgumentInvalid(
                f"A colour map has 2 to {MOST_STOPS} stops, [value, colour] each, not "
                f"{len(self.at)}."
            )
        _check([value for value, _ in self.at], [colour for _, colour in self.at])
        values = [value for value, _ in self.at]
        if values != sorted(values) or values[0] == values[-1]:
            raise ArgumentInvalid(f"The values of stops ascend, and {values[:5]} do not.")


@dataclass(frozen=True, slots=True)
class Class:
    """One class of a band."""

    value: float
    """What its pixels have."""
    color: str
    """`#rrggbb`."""
    label: str = ""
    """What people call it."""


@dataclass(frozen=True, slots=True)
class Classes:
    """A colour for each of some values; all other pixels are transparent."""

    of: tuple[Class, ...]
    """The classes, in the order in which legends show them."""

    def __post_init__(self) -> None:
        """Check them.

        Raises:
            ArgumentInvalid: too few or too many, a value twice, or a colour is none.
        """
        if not 1 <= len(self.of) <= MOST_CLASSES:
            raise ArgumentInvalid(f"There can be 1 to {MOST_CLASSES} classes, not {len(self.of)}.")
        _check([one.value for one in self.of], [one.color for one in self.of])
        values = [one.value for one in self.of]
        if len(set(values)) < len(values):
            twice = next(value for value in values if values.count(value) > 1)
            raise ArgumentInvalid(f"Two classes have the value {twice:g}. Leave one out.")

    def label(self, value: float) -> str:
        """Return what people call the class of a value, empty if there is none."""
        return next((one.label for one in self.of if one.value == value), "")


Colors = str | Stops | Classes
"""How one band is coloured."""


def _check(values: Sequence[float], colours: Sequence[str]) -> None:
    for value in values:
        if not math.isfinite(value):
            raise ArgumentInvalid(f"A colour belongs to a finite number, not to {value}.")
    for colour in colours:
        if _COLOUR.fullmatch(colour) is None:
            raise ArgumentInvalid(f"{colour[:40]!r} is no colour. Write #rrggbb.")


@lru_cache(maxsize=1)
def _maps() -> dict[str, tuple[str, Bytes]]:
    """Return name and colours of all maps by their names in small letters."""
    with np.load(_TABLE) as table:
        names, colours = table["names"].tolist(), table["colours"]
    return {name.lower(): (name, colours[n]) for n, name in enumerate(names)}


@lru_cache(maxsize=1)
def colormap_names() -> tuple[str, ...]:
    """Return the names of all colour maps; in graphs and requests small letters do, too."""
    return tuple(name for name, _ in _maps().values())


def colormap(name: str) -> Bytes:
    """Return the (256, 3) colours of a map.

    Raises:
        ArgumentInvalid: there is none of that name.
    """
    found = _maps().get(name.lower())
    if found is None:
        names = colormap_names()
        raise ArgumentInvalid(
            f"There is no colour map {name[:40]!r}.{suggest(name[:40], names)} They are "
            "matplotlib's: viridis, gray, RdYlGn, terrain ... and, reversed, viridis_r."
        )
    return found[1]


@lru_cache(maxsize=64)
def stop_table(stops: Stops) -> tuple[Floats, Floats, Bytes]:
    """Return values, their positions in a table of 256 colours, and that table.

    Each piece between two stops gets as many colours as there are between its ends, or its share
    where that would be too many; so a colour is never farther off than half such a step.
    """
    values = np.array([value for value, _ in stops.at])
    rgb = np.array([list(bytes.fromhex(colour[1:])) for _, colour in stops.at], np.float64)
    steps = np.maximum(np.abs(np.diff(rgb, axis=0)).max(axis=1), 1.0)
    steps[np.diff(values) == 0.0] = 1.0
    if steps.sum() > _LEVELS - 1:
        room = _LEVELS - 1 - len(steps)
        steps = 1.0 + np.floor(room * steps / steps.sum())
    positions = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.arange(_LEVELS, dtype=np.float64)
    table = np.stack([np.interp(at, positions, rgb[:, band]) for band in range(3)], axis=-1)
    return values, positions, np.round(table).astype(np.uint8)


@lru_cache(maxsize=64)
def class_table(classes: Classes) -> tuple[Floats, Bytes]:
    """Return the values of classes, ascending, and a table of 256 colours that begins with them."""
    ordered = sorted(classes.of, key=lambda one: one.value)
    table = np.zeros((_LEVELS, 3), np.uint8)
    for position, one in enumerate(ordered):
        table[position] = list(bytes.fromhex(one.color[1:]))
    return np.array([one.value for one in ordered]), table


def table_of(colors: Colors) -> Bytes:
    """Return the (256, 3) colours of what a band is coloured by.

    Raises:
        ArgumentInvalid: there is no colour map of that name.
    """
    if isinstance(colors, Stops):
        return stop_table(colors)[2]
    if isinstance(colors, Classes):
        return class_table(colors)[1]
    return colormap(colors)
