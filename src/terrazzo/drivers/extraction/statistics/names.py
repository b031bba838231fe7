"""What statistics there are, by name."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

STATISTICS: Final = (
    "count",
    "valid_share",
    "sum",
    "mean",
    "variance",
    "sd",
    "min",
    "max",
    "median",
    "mode",
    "fractions",
    "histogram",
)
"""What can be asked for by name alone; `count` is the covered area of valid pixels, in pixels."""
FORMS: Final = ("qNN", "fraction_CLASS", "histogram:LOW:HIGH:BINS")
"""What can be asked for with a number: `q05`, `fraction_41`, `histogram:0:1:20`."""
DEFAULT: Final = ("count", "valid_share", "mean", "sd", "min", "max")
BY_CLASS: Final = frozenset({"mode", "fractions", "histogram"})
"""What needs the weight of every value."""
MOST_BINS: Final = 10_000
"""Of one histogram."""

_QUANTILE: Final = re.compile(r"q(\d\d\d?)")
_FRACTION: Final = re.compile(r"fraction_(.+)")
_HISTOGRAM: Final = re.compile(r"histogram:([^:]+):([^:]+):(\d+)")
_ALL: Final = 100


@dataclass(frozen=True, slots=True)
class Bins:
    """Bins of equal width, each with its lower edge, the last one with its upper edge too."""

    low: float
    high: float
    count: int

    @property
    def edges(self) -> NDArray[np.float64]:
        """(bin + 1,) where bins begin and end."""
        return np.linspace(self.low, self.high, self.count + 1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The statistics that were asked for, by what they need."""

    names: tuple[str, ...]
    """As they were asked for."""
    shares: Mapping[str, float]
    """Of quantiles."""
    classes: Mapping[str, float]
    """Of fractions."""
    bins: Mapping[str, Bins]
    """Of histograms."""

    @classmethod
    def of(cls, names: Sequence[str]) -> Self:
        """Return what some names ask for.

        Raises:
            ArgumentInvalid: one is unknown, or there is none.
        """
        names = check_statistics(names)
        return cls(
            names,
            {name: share for name in names if (share := quantile_of(name)) is not None},
            {name: value for name in names if (value := class_of(name)) is not None},
            {name: bins for name in names if (bins := bins_of(name)) is not None},
        )

    @property
    def extremes(self) -> bool:
        """Whether the smallest and the largest value are wanted."""
        return not {"min", "max"}.isdisjoint(self.names)

    @property
    def places(self) -> int:
        """How many classes and bins are counted."""
        return len(self.classes) + sum(bins.count for bins in self.bins.values())

    @property
    def by_class(self) -> bool:
        """Whether the weight of every value is needed."""
        return not BY_CLASS.isdisjoint(self.names)

    @property
    def pixels(self) -> bool:
        """Whether all pixels of a polygon are needed at once."""
        return bool(self.shares) or self.by_class


def check_statistics(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names as asked for, each once.

    Raises:
        ArgumentInvalid: one is unknown, or there is none.
    """
    unknown = [
        name
        for name in names
        if name not in STATISTICS
        and quantile_of(name) is None
        and class_of(name) is None
        and bins_of(name) is None
    ]
    if unknown or not names:
        raise ArgumentInvalid(
            f"Unknown statistics: {', '.join(unknown) or 'none given'}. There are "
            f"{', '.join((*STATISTICS, *FORMS))}; for example q05 for the 5 % quantile (q025: "
            "2.5 %), fraction_41 for the share of class 41, histogram:0:1:20 for 20 bins from 0 to "
            "1."
        )
    return tuple(dict.fromkeys(names))


def column_of(name: str) -> str:
    """Return what the column of a statistic is called."""
    return name.replace(":", "_")


def quantile_of(name: str) -> float | None:
    """Return the share of `q05` (0.05), `q025` (0.025), `median` and the like."""
    if name == "median":
        return 0.5
    found = _QUANTILE.fullmatch(name)
    # 100 would be read as 10 %, and is meant as the largest value.
    if found is None or found[1] == str(_ALL):
        return None
    return float(f"0.{found[1]}")


def class_of(name: str) -> float | None:
    """Return the class of `fraction_41`."""
    found = _FRACTION.fullmatch(name)
    return _number(found[1]) if found else None


def bins_of(name: str) -> Bins | None:
    """Return the bins of `histogram:0:1:20`."""
    found = _HISTOGRAM.fullmatch(name)
    if found is None:
        return None
    low, high, count = _number(found[1]), _number(found[2]), int(found[3])
    if low is None or high is None or low >= high or not 0 < count <= MOST_BINS:
        return None
    return Bins(low, high, count)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
