"""Reducers that need not see all numbers at once: they fold what is said of the parts.

A reducer of very many pixels is such a fold where it is one process that can be made of a
`Tally`. All of them are exact, rounded once, whatever the parts are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from terrazzo.cube.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from terrazzo.cube import Mask, Values


@runtime_checkable
class Compiled(Protocol):
    """A callback that can tell what it consists of."""

    def single(self, parameter: str) -> tuple[str, Mapping[str, Any]] | None:
        """Return the only process that it calls on a parameter, and its other arguments."""


@dataclass(frozen=True, slots=True)
class Fold:
    """A reducer as something that is made of a tally."""

    value: Callable[[Tally], float]
    """The result, where there is one."""
    extremes: bool = False
    sums: bool = False
    squares: bool = False
    counts: bool = False
    """Whether it is never no-data."""
    ignore_nodata: bool = True
    """Whether no-data is left out; else one makes the result no-data."""

    def tally(self, values: Values, valid: Mask) -> Tally:
        """Say of numbers what the result needs."""
        return Tally.of(values, valid, extremes=self.extremes, sums=self.sums, squares=self.squares)

    def result(self, tally: Tally, dtype: np.dtype[Any]) -> tuple[Any, bool]:
        """Return the result in a type, and whether there is one."""
        enough = tally.count > 0 if self.ignore_nodata else 0 < tally.count == tally.size
        if not (enough or self.counts):
            return dtype.type(0), False
        with np.errstate(over="ignore"):
            return np.asarray(self.value(tally)).astype(dtype)[()], True


_FOLDS: Mapping[str, Fold] = {
    "sum": Fold(Tally.sum, sums=True),
    "mean": Fold(Tally.mean, sums=True),
    "variance": Fold(Tally.variance, sums=True, squares=True),
    "sd": Fold(lambda tally: math.sqrt(tally.variance()), sums=True, squares=True),
    "min": Fold(Tally.least, extremes=True),
    "max": Fold(Tally.greatest, extremes=True),
}
_COUNTS: Mapping[bool | None, Fold] = {
    None: Fold(lambda tally: tally.finite, counts=True),
    True: Fold(lambda tally: tally.size, counts=True),
}


def fold_of(reducer: Any) -> Fold | None:
    """Return a callback as a fold; None if it must see all numbers at once."""
    told = reducer.single("data") if isinstance(reducer, Compiled) else None
    if told is None:
        return None
    name, arguments = told
    if name == "count":
        condition = arguments.get("condition")
        return _COUNTS.get(condition) if condition is None or condition is True else None
    fold = _FOLDS.get(name)
    if fold is None or set(arguments) - {"ignore_nodata"}:
        return None
    ignore = arguments.get("ignore_nodata", True) is True
    return Fold(fold.value, fold.extremes, fold.sums, fold.squares, ignore_nodata=ignore)
