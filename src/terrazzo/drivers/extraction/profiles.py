"""A parcel's profile: one statistic of one band on every date, from the images as they are now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from terrazzo.cube import Kind
from terrazzo.drivers.extraction.asked import Asked
from terrazzo.drivers.extraction.parcel import chosen_labels, dated, each, in_groups, placed_on
from terrazzo.drivers.extraction.polygons import buffered
from terrazzo.drivers.extraction.statistics import Reduction
from terrazzo.drivers.extraction.weights import Weights
from terrazzo.drivers.pool import Pool
from terrazzo.engine import evaluate
from terrazzo.errors import ArgumentInvalid
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

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
    pool, progress, asked = pool or Pool(), progress or Progress(), asked or Asked()
    whole = job.plan(inference)
    wanted = chosen_labels(whole.probe, (band,) if band else (), dates)
    bands = [d for d in whole.probe.dimensions if d.kind is Kind.BANDS]
    name = str(bands[0].labels[wanted[bands[0].name][0]]) if bands else ""
    times = dated(whole.probe)
    if times is None:
        return Profile((), np.empty(0), np.empty(0), name, statistic)
    labels = tuple(str(times.labels[position]) for position in wanted[times.name])
    grown = buffered(np.array([shape, None], dtype=object)[:1], crs, asked.buffer_m)[0]
    nothing = Profile(labels, np.full(len(labels), np.nan), np.zeros(len(labels)), name, statistic)
    if grown is None or grown.is_empty:
        return nothing
    placed = placed_on(whole.grid, grown, crs)
    names = tuple(dict.fromkeys((statistic, SHARE)))

    with TemporaryDirectory() as scratch:
        weights = Weights.of(
            Path(scratch), [placed], whole.grid, whole.window, how=asked.how, around=asked.around
        )

        def reduced(plan: Plan) -> NDArray[np.float64]:
            reduction = Reduction(names, plan.probe, weights)
            _check_number(statistic, reduction)
            cells = enumerate(weights.cells)
            parts = ((n, reduction.part(n, evaluate(plan, cell))) for n, cell in cells)
            (rows,) = (rows for n, part in parts if (rows := reduction.take(n, part)) is not None)
            columns = [rows.columns[one].to_numpy(zero_copy_only=False) for one in names]
            return np.array(columns, np.float64)

        if not weights.cells:
            return nothing
        plans = in_groups(
            lambda one: job.plan(inference, labels=one), wanted, whole.probe, weights.cells[0]
        )
        numbers = np.concatenate(list(each(plans, reduced, pool, progress)), axis=1)
    return Profile(labels, numbers[0], numbers[-1], name, statistic)


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
