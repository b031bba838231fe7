"""Typical callbacks on pixels in memory, beside NumPy written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.comparison import alike
from bench.contestants.series import TASKS
from bench.measure import Contestant, race
from bench.report import Row, Section, Table, Target, ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.dataset import Dataset
    from bench.options import Options

OURS, PLAIN, TUNED = "Terrazzo", "NumPy", "NumPy, tuned"
EDGE, DATES = 1024, 10
TOLERANCE = 2e-4
"""By how much values may differ, relative to 1 and to themselves: float32 in another order."""


def run(data: Dataset, options: Options) -> Section:
    """Race every callback and compare the results."""
    del data  # what is computed is in memory
    edge = 256 if options.quick else EDGE
    parameters = {"edge": edge, "dates": DATES, "seed": 3}
    numpy = "bench.contestants.numpy_series:contestant"
    everyone = [
        Contestant(OURS, "bench.contestants.terrazzo_series:contestant", parameters),
        Contestant(PLAIN, numpy, {**parameters, "way": "plain"}),
        Contestant(TUNED, numpy, {**parameters, "way": "tuned"}),
    ]
    outcome = race(everyone, TASKS, options.runs, options.say)
    table = Table(
        f"Callbacks, {DATES} dates of {edge} x {edge} pixels",
        (
            *("CPU ms", "NumPy CPU ms", "tuned", "throughput / NumPy", "/ tuned"),
            *("Mpixel-dates/s", "agrees"),
        ),
    )
    ratios = {}
    for task in TASKS:
        cpu = {name: outcome.timings[task, name].cpu for name in (OURS, PLAIN, TUNED)}
        ratios[task] = cpu[PLAIN] / cpu[OURS]
        shares = [
            agreement(outcome.arrays[task, OURS], outcome.arrays[task, name])
            for name in (PLAIN, TUNED)
        ]
        same = min(shares)
        cells = (
            *map(ms, cpu.values()),
            f"{ratios[task]:.2f}",
            f"{cpu[TUNED] / cpu[OURS]:.2f}",
            f"{DATES * edge**2 / cpu[OURS] / 1e6:.0f}",
            f"{same:.2%}",
        )
        if same < 1:
            table.problems.append(f"{task}: only {same:.4%} of the pixels are as NumPy's.")
        table.rows.append(Row(task, cells, ratio=1 / ratios[task]))
    section = Section(
        "callbacks",
        "Callbacks",
        f"Callbacks of `reduce_dimension`, `apply` and `apply_dimension` on {DATES} dates of "
        f"{edge} x {edge} float32 reflectances with their masks, all in memory: `evaluate` of one "
        "window, planned beforehand, beside NumPy written by hand. *NumPy* is an expression of "
        "whole arrays without temporaries that are easily avoided; *tuned*, where it differs, "
        "computes date by date, so that temporaries stay in the cache, into memory that is used "
        "again. One thread each; all return values and mask. No file is read.",
        "reading, which is the same for all; and that NumPy's functions know neither no-data nor "
        "blocks, so that every line has to be written anew for each callback.",
        [table],
    )
    worst = min(ratios, key=lambda task: ratios[task])
    text = f"Callbacks: throughput / NumPy's, worst of {len(TASKS)} ({worst})"
    section.targets.append(Target.at_least(text, 1.0, ratios[worst]))
    return section


def agreement(mine: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> float:
    """Return the share of pixels that are no-data in both, or valid and alike."""
    one, other = mine["values"], theirs["values"]
    if one.shape != other.shape:
        return 0.0
    pairs = ((one, mine["valid"]), (other, theirs["valid"]))
    hidden = [np.where(valid, values.astype(np.float32), np.nan) for values, valid in pairs]
    size = np.maximum(np.abs(hidden[0]), 1)
    return alike(hidden[0] / size, hidden[1] / size, TOLERANCE)
