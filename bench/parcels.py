"""Parcels: mean, count and standard deviation of NDVI under polygons, beside exactextract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.measure import Contestant, race
from bench.report import Row, Section, Table, seconds

if TYPE_CHECKING:
    from bench.dataset import Dataset
    from bench.measure import Outcome
    from bench.options import Options

TASK = "parcels"
OURS, EXACT, DECODE = "Terrazzo, `extract`", "exactextract", "decoding alone (rasterio)"
TOLERANCE = {"mean": 2e-6, "count": 2e-4, "sd": 2e-6}
"""exactextract keeps a pixel's share as float32; the index is float32 on both sides."""


def run(data: Dataset, options: Options) -> Section:
    """Race the extraction and compare the numbers."""
    functions = {
        OURS: "terrazzo_parcels:contestant",
        EXACT: "exactextract_parcels:contestant",
        DECODE: "decoding:parcels",
    }
    contestants = [
        Contestant(name, f"bench.contestants.{function}", data.parameters)
        for name, function in functions.items()
    ]
    outcome = race(contestants, [TASK], options.runs, options.say)
    count = outcome.arrays[TASK, EXACT]["mean"].shape[1]
    section = Section(
        "parcels",
        "Parcels x images",
        f"Mean, count and standard deviation of NDVI under {count} polygons on {data.dates} dates, "
        "each pixel weighted by the exact share that the polygon covers, one thread. Both sides "
        "read the polygons, decode B04 and B08 and compute the index.",
        "Ours also searches the catalogue and writes a Parquet table; exactextract returns "
        "data frames.",
    )
    section.tables.append(_table(outcome, data, count))
    return section


def _table(outcome: Outcome, data: Dataset, count: int) -> Table:
    columns = (
        "CPU s",
        "wall s",
        "peak MB",
        "CPU / exactextract",
        "polygon-images per core-second",
        "the same after decoding",
        "largest difference of the mean",
    )
    table = Table(f"{count} polygons x {data.dates} images", columns)
    timings = {name: timing for (_, name), timing in outcome.timings.items()}
    for name, timing in timings.items():
        rest = timing.cpu - timings[DECODE].cpu
        extraction = name != DECODE
        cells = (
            seconds(timing.cpu),
            seconds(timing.wall),
            f"{timing.peak_mb:.0f}",
            f"{timing.cpu / timings[EXACT].cpu:.2f}",
            f"{count * data.dates / timing.cpu:,.0f}" if extraction else "",
            f"{count * data.dates / rest:,.0f}" if extraction and rest > 0 else "",
            f"{_checked(outcome, table):.1e}" if name == OURS else "",
        )
        ratio = timing.cpu / timings[EXACT].cpu if name == OURS else None
        table.rows.append(Row(name, cells, ratio=ratio))
    return table


def _checked(outcome: Outcome, table: Table) -> float:
    """Compare all statistics; return the largest difference of a mean."""
    mine, theirs = outcome.arrays[TASK, OURS], outcome.arrays[TASK, EXACT]
    worst = 0.0
    for name, tolerance in TOLERANCE.items():
        one, other = mine[name], theirs[name]
        if name == "count":
            one, other = np.nan_to_num(one), np.nan_to_num(other)
        if one.shape != other.shape or (np.isnan(one) != np.isnan(other)).any():
            table.problems.append(f"{name}: not the same polygons and dates as exactextract.")
            continue
        difference = float(np.nanmax(np.abs(one - other)))
        if difference > tolerance:
            table.problems.append(
                f"{name} differs from exactextract by up to {difference:.2e}; rounding explains "
                f"{tolerance:.0e}."
            )
        worst = max(worst, difference) if name == "mean" else worst
    return worst
