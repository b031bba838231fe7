"""A graph over a square of the scene, beside every peer that can compute the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.contestants.cubes import BLOCK, THREADS
from bench.measure import Contestant, race
from bench.report import Row, Section, Table, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.dataset import Dataset
    from bench.measure import Timing
    from bench.options import Options

OURS, DECODE = "Terrazzo", "decoding alone (rasterio)"
ONCE_ABOVE = 1e9
"""Pixel-dates above which a slow peer runs once only."""
ROWS_AT_A_TIME = 512


@dataclass(frozen=True)
class Rival:
    """A peer's way to do it."""

    module: str
    """In `bench.contestants`."""
    way: str
    tolerance: float = 2e-6
    """By how much its values may differ from ours: float32 in another order."""
    slow: bool = False


@dataclass(frozen=True)
class Comparison:
    """What is computed, and who else can."""

    name: str
    title: str
    compared: str
    """What it is; window, blocks and threads are added."""
    apart: str
    graph: str
    """A function of `bench.graphs`."""
    rivals: Mapping[str, Rival]
    bands: tuple[str, ...] = ()
    """What has to be decoded; empty where reading it alone says nothing."""
    data: Callable[[Dataset], Dataset] = field(default=lambda data: data)
    largest: int = 10**6
    """Edge of the window at most, pixels of 10 m."""
    multiple: int = 1
    """What the edge of the window must be a multiple of."""
    margin: int = 0
    """Pixels along the lower and right border that the peers don't know the neighbours of."""

    def specification(self, data: Dataset, options: Options) -> dict[str, Any]:
        """Return what the contestants are told, JSON values."""
        edge = min(data.size, options.window, self.largest)
        return {
            "graph": self.graph,
            "data": self.data(data).parameters,
            "window": edge - edge % self.multiple,
            "block": BLOCK,
            "threads": THREADS,
            "bands": list(self.bands),
        }


def run(comparison: Comparison, data: Dataset, options: Options) -> Section:
    """Race it and compare the results."""
    spec = comparison.specification(data, options)
    everyone = contestants(comparison, spec, quick=options.quick)
    outcome = race(everyone, [comparison.name], options.runs, options.say)
    section = begun(comparison, spec)
    table = Table(f"{comparison.title}, {spec['data']['dates']} dates", columns(comparison))
    times = {name: timing for (_, name), timing in outcome.timings.items()}
    best = min(times[name].cpu for name in comparison.rivals)
    for name, timing in times.items():
        cells = (*cells_of(timing, best, times.get(DECODE)), "")
        if name in comparison.rivals:
            arrays = (outcome.arrays[comparison.name, who]["result"] for who in (OURS, name))
            inner = np.s_[..., : -comparison.margin or None, : -comparison.margin or None]
            mine, theirs = (array[inner] for array in arrays)
            tolerance = comparison.rivals[name].tolerance
            cells = (*cells[:-1], agreement(mine, theirs, tolerance, name, table))
        table.rows.append(Row(name, cells, ratio=timing.cpu / best if name == OURS else None))
    section.tables.append(table)
    return section


def contestants(
    comparison: Comparison, spec: Mapping[str, Any], *, quick: bool
) -> list[Contestant]:
    """Return ourselves, the peers, and whoever decodes."""
    tasks = {"tasks": {comparison.name: spec}}
    work = spec["window"] ** 2 * spec["data"]["dates"]
    found = [Contestant(OURS, "bench.contestants.terrazzo_graphs:contestant", tasks)]
    for name, rival in comparison.rivals.items():
        function = f"bench.contestants.{rival.module}:contestant"
        once = rival.slow and (quick or work > ONCE_ABOVE)
        found.append(Contestant(name, function, tasks | {"way": rival.way}, once=once))
    if comparison.bands:
        found.append(Contestant(DECODE, "bench.contestants.decoding:by_block", tasks))
    return found


def begun(comparison: Comparison, spec: Mapping[str, Any]) -> Section:
    """Return the section without tables."""
    edge = spec["window"]
    conditions = (
        f"{edge} x {edge} pixels of 10 m of {spec['data']['dates']} dates, blocks of "
        f"{spec['block']} pixels, {spec['threads']} threads, files opened anew in each run, result "
        "in memory."
    )
    text = f"{comparison.compared} {conditions}"
    return Section(comparison.name, comparison.title, text, comparison.apart)


def columns(comparison: Comparison) -> tuple[str, ...]:
    """Return the head of the table."""
    decoding = ("CPU / decoding",) if comparison.bands else ()
    return ("CPU s", "wall s", "peak MB", "CPU / best peer", *decoding, "agrees")


def cells_of(timing: Timing, best: float, decoding: Timing | None) -> tuple[str, ...]:
    """Return what a contestant took."""
    cells = (
        seconds(timing.cpu),
        seconds(timing.wall),
        f"{timing.peak_mb:.0f}",
        f"{timing.cpu / best:.2f}",
    )
    return cells if decoding is None else (*cells, f"{timing.cpu / decoding.cpu:.2f}")


def agreement(
    mine: np.ndarray, theirs: np.ndarray, tolerance: float, name: str, table: Table
) -> str:
    """Compare a result with ours; note where they differ."""
    if mine.shape != theirs.shape:
        table.problems.append(f"{name}: its shape is {theirs.shape}, ours is {mine.shape}.")
        return "no"
    share = alike(mine, theirs, tolerance)
    if share < 1:
        table.problems.append(
            f"{table.title}, {name}: only {share:.4%} of the pixels are as ours, within "
            f"{tolerance:g}."
        )
    return f"{share:.2%}"


def alike(one: np.ndarray, other: np.ndarray, tolerance: float) -> float:
    """Return the share of pixels that are NaN in both or differ by no more than the tolerance."""
    same = 0
    for row in range(0, one.shape[-2], ROWS_AT_A_TIME):
        rows = np.s_[..., row : row + ROWS_AT_A_TIME, :]
        close = np.isclose(one[rows], other[rows], rtol=0, atol=tolerance, equal_nan=True)
        same += int(close.sum())
    return same / one.size
