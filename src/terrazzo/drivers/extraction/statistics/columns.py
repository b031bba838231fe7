"""Columns of statistics, made from what was summed up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from terrazzo.drivers.extraction.statistics.names import column_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from terrazzo.drivers.extraction.statistics.names import Wanted
    from terrazzo.drivers.extraction.statistics.sums import Classes, Sums

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

WHOLE = 1e-9
"""Shares nearer to 1 than this are 1: sums of weights are rounded, and those of areas more so."""
ALWAYS = ("count", "valid_share")
"""Statistics that are there without a valid pixel; the others are null."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Makes the columns of some statistics."""

    wanted: Wanted
    dtype: np.dtype[Any]
    """Of the pixels: classes of whole numbers are whole numbers."""

    @property
    def fields(self) -> tuple[pa.Field, ...]:
        """Names and types of the columns."""
        return tuple(pa.field(column_of(name), self._type(name)) for name in self.wanted.names)

    def of(self, whole: Sums, total: Floats) -> dict[str, pa.Array]:
        """Return the columns, a row per polygon and label.

        Args:
            whole: what is known of the polygons.
            total: (polygon,) sum of all weights.
        """
        wanted, tallies = self.wanted, whole.tallies
        known = _summed(whole.moments, total)
        empty = known["count"].ravel() == 0.0
        with np.errstate(invalid="ignore"):
            shares = tallies / known["count"][..., None]
        known |= {name: shares[..., n] for n, name in enumerate(wanted.classes)}
        known |= {name: whole.quantiles[..., n] for n, name in enumerate(wanted.shares)}
        nested: dict[str, pa.Array] = {}
        at = len(wanted.classes)
        for name, bins in wanted.bins.items():
            nested[name] = _lists(tallies[..., at : at + bins.count], empty)
            at += bins.count
        if whole.classes is not None:
            classes = whole.classes
            known["mode"] = np.where(classes.poisoned, np.nan, _modes(classes))
            nested["histogram"] = self._maps(classes, classes.sums, empty)
            covered = np.repeat(known["count"].ravel(), classes.counts)
            nested["fractions"] = self._maps(classes, classes.sums / covered, empty)
        columns = {}
        for name in wanted.names:
            missing = None if name in ALWAYS else empty
            column = nested[name] if name in nested else pa.array(known[name].ravel(), mask=missing)
            columns[column_of(name)] = column
        return columns

    def _type(self, name: str) -> pa.DataType:
        if name in self.wanted.bins:
            return pa.list_(pa.float64())
        if name in {"fractions", "histogram"}:
            return pa.map_(self._key, pa.float64())
        return pa.float64()

    @property
    def _key(self) -> pa.DataType:
        return pa.int64() if self.dtype.kind in "iub" else pa.float64()

    def _maps(self, classes: Classes, sums: Floats, empty: Mask) -> pa.Array:
        keys = pa.array(classes.values).cast(self._key)
        starts = pa.array(np.cumsum(np.append(0, classes.counts)).astype(np.int32))
        return pa.MapArray.from_arrays(starts, keys, pa.array(sums), mask=pa.array(empty))


def _summed(moments: Floats, total: Floats) -> dict[str, Floats]:
    count, weighted, spread, low, high = np.moveaxis(moments, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = spread / count
        share = count / total[:, None]
        return {
            "count": count,
            "valid_share": np.where(share > 1.0 - WHOLE, 1.0, share),
            "sum": weighted,
            "mean": weighted / count,
            "variance": variance,
            "sd": np.sqrt(variance),
            "min": low,
            "max": high,
        }


def _modes(classes: Classes) -> Floats:
    """Return the value with the most weight, of several the largest; NaN where there is none."""
    owner = np.repeat(np.arange(len(classes.counts)), classes.counts)
    order = np.lexsort((classes.values, classes.sums, owner))
    found = np.full(len(classes.counts), np.nan)
    found[owner[order]] = classes.values[order]
    return found.reshape(classes.poisoned.shape)


def _lists(tallies: Floats, empty: Mask) -> pa.Array:
    """Return a list of the tallies of each polygon and label; null where nothing is valid."""
    first = pa.array(np.arange(len(empty) + 1, dtype=np.int32) * np.int32(tallies.shape[-1]))
    return pa.ListArray.from_arrays(first, pa.array(tallies.ravel()), mask=pa.array(empty))
