"""A parcel's profile: one statistic of one band on every date, from the images as they are now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from terrazzo.cube import Kind
from terrazzo.drivers.extraction.asked import Asked
from terrazzo.drivers.extraction.parcel import (
    chosen_labels,
    dated,
    each,
    has_months,
    in_groups,
    placed_on,
)
from terrazzo.drivers.extraction.polygons import buffered
from terrazzo.drivers.extraction.statistics import Reduction, check_statistics
from terrazzo.drivers.extraction.weights import Weights
from terrazzo.drivers.pool import Pool
from terrazzo.engine import evaluate
from terrazzo.errors import ArgumentInvalid
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from terrazzo.cube import Cube
    from terrazzo.drivers.job import Job
    from terrazzo.engine import Inference, Plan
    from terrazzo.geo.times import Interval

SHARE = "valid_share"


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """One statistic of one band of a parcel over time."""

    labels: tuple[str, ...]
    """The dates as the cube has them; none where the graph's result has no time."""
    values: NDArray[np.float64]
    """(date,) the statistic; NaN where no pixel is valid."""
    shares: NDArray[np.float64]
    """(date,) share of the parcel that is valid, 0..1."""
    band: str
    """Label of the band; empty where there are no bands."""
    statistic: str
    """Which statistic."""


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """Statistics of a parcel by date and band."""

    labels: tuple[str, ...]
    """The dates as the cube has them; none where the graph's result has no time."""
    bands: tuple[str, ...]
    """Labels of the bands; an empty one where there are no bands."""
    numbers: NDArray[np.float64]
    """(statistic, date, band); one date where there is no time. NaN where no pixel is valid."""
    pixels: float
    """Pixels of the parcel, as they are weighted."""

    @property
    def dated(self) -> bool:
        """Whether there are dates."""
        return bool(self.labels)


def profile(
    job: Job,
    inference: Inference,
    shape: BaseGeometry | None,
    crs: str,
    *,
    asked: Asked | None = None,
    statistic: str = "mean",
    band: str = "",
    dates: Interval = (None, None),
    pool: Pool | None = None,
    progress: Progress | None = None,
) -> Profile:
    """Reduce a graph's result under a parcel, date by date, as an extraction by date does.

    Args:
        job: the graph and where it runs.
        inference: of the graph; its stages have been carried out.
        shape: polygon, line or point.
        crs: of its coordinates.
        asked: how pixels are weighted, and the buffer.
        statistic: which.
        band: label of the band; empty = the first one.
        dates: which dates.
        pool: threads and memory.
        progress: told about every date.

    Returns:
        The profile; without any date where the result has no time.

    Raises:
        ArgumentInvalid: the parcel has no geometry, the graph gives no raster, or there is no
            such statistic.
        BandNotFound: the result has no such band.
        NoDataAvailable: there is no date of `dates`.
    """
    wanted = (band,) if band else ()
    found = reduced_parcel(
        job, inference, shape, crs, asked=asked, statistics=(statistic, SHARE), bands=wanted,
        dates=dates, pool=pool, progress=progress,
    )  # fmt: skip
    values, shares = found.numbers[0, :, 0], found.numbers[-1, :, 0]
    if not found.dated:
        values, shares = np.empty(0), np.empty(0)
    return Profile(found.labels, values, shares, found.bands[0], statistic)


def reduced_parcel(
    job: Job,
    inference: Inference,
    shape: BaseGeometry | None,
    crs: str,
    *,
    statistics: Sequence[str],
    asked: Asked | None = None,
    bands: Sequence[str] = (),
    dates: Interval = (None, None),
    pool: Pool | None = None,
    progress: Progress | None = None,
) -> Reduced:
    """Reduce a graph's result under a parcel to statistics of each date and band.

    Args:
        job: the graph and where it runs.
        inference: of the graph; its stages have been carried out.
        shape: polygon, line or point.
        crs: of its coordinates.
        statistics: which, each one number.
        asked: how pixels are weighted, and the buffer.
        bands: labels of bands; empty = the first one.
        dates: which dates.
        pool: threads and memory.
        progress: told about every date.

    Raises:
        ArgumentInvalid: the parcel has no geometry, the graph gives no raster, or there is no
            such statistic.
        BandNotFound: the result has no such band.
        NoDataAvailable: there is no date of `dates`.
    """
    pool, progress, asked = pool or Pool(), progress or Progress(), asked or Asked()
    whole = job.plan(inference)
    names = check_statistics(tuple(dict.fromkeys(statistics)))
    months = has_months(inference.graph)
    wanted = chosen_labels(whole.probe, bands, dates, months=months)
    shown, chosen = _labels(whole.probe, wanted)
    grown = buffered(np.array([shape, None], dtype=object)[:1], crs, asked.buffer_m)[0]
    empty = np.full((len(names), max(1, len(shown)), len(chosen)), np.nan)
    if SHARE in names:
        empty[names.index(SHARE)] = 0.0
    if grown is None or grown.is_empty:
        return Reduced(shown, chosen, empty, 0.0)
    placed = placed_on(whole.grid, grown, crs)

    with TemporaryDirectory() as scratch:
        weights = Weights.of(
            Path(scratch), [placed], whole.grid, whole.window, how=asked.how, around=asked.around
        )

        def reduced(plan: Plan) -> NDArray[np.float64]:
            reduction = Reduction(names, plan.probe, weights)
            for name in names:
                _check_number(name, reduction)
            cells = enumerate(weights.cells)
            parts = ((n, reduction.part(n, evaluate(plan, cell))) for n, cell in cells)
            (rows,) = (rows for n, part in parts if (rows := reduction.take(n, part)) is not None)
            columns = [rows.columns[one].to_numpy(zero_copy_only=False) for one in names]
            return _by_date(np.array(columns, np.float64), plan.probe)

        if not weights.cells:
            return Reduced(shown, chosen, empty, float(weights.total[0]))
        plans = in_groups(
            lambda one: job.plan(inference, labels=one), wanted, whole.probe, weights.cells[0]
        )
        numbers = np.concatenate(list(each(plans, reduced, pool, progress)), axis=1)
        return Reduced(shown, chosen, numbers, float(weights.total[0]))


def _labels(probe: Cube, wanted: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the labels of the dates and of the bands that are wanted; one empty one for none."""
    times, bands = dated(probe), [d for d in probe.dimensions if d.kind is Kind.BANDS]
    shown = () if times is None else tuple(str(times.labels[n]) for n in wanted[times.name])
    chosen = tuple(str(bands[0].labels[n]) for n in wanted[bands[0].name]) if bands else ("",)
    return shown, chosen


def _by_date(columns: NDArray[np.float64], probe: Cube) -> NDArray[np.float64]:
    """Return (statistic, date, band) of the rows of one parcel."""
    labelled = [d for d in probe.dimensions if d.kind is not Kind.SPATIAL]
    found = columns.reshape(len(columns), *(len(d.labels) for d in labelled))
    order = [n for n, d in enumerate(labelled) if d is dated(probe)]
    order += [n for n, d in enumerate(labelled) if d.kind is Kind.BANDS]
    order += [n for n in range(len(labelled)) if n not in order]
    found = found.transpose(0, *(1 + n for n in order))
    times = dated(probe)
    return found.reshape(len(columns), 1 if times is None else len(times.labels), -1)


def _check_number(statistic: str, reduction: Reduction) -> None:
    """Refuse a statistic that is not one number.

    Raises:
        ArgumentInvalid: it is several, such as a histogram.
    """
    kinds = {field.name: field.type for field in reduction.columns}
    kind = kinds.get(statistic)
    if kind is None or not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise ArgumentInvalid(
            f"{statistic!r} is not one number for a date, so it has no profile. Choose one that "
            "is, such as mean, median, q05 or fraction_1."
        )
