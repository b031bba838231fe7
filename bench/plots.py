"""The plots of the report, as SVG files whose bytes depend on the numbers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

SIZE_INCHES = (6.4, 4.0)
WIDE_INCHES = 8.6
COLOURS = ("#1b6e8c", "#8a8a8a", "#c8553d")
"""Ours, decoding, others."""
MARKERS = ("o", "s", "^")
STYLE = {
    "svg.hashsalt": "bench",
    "svg.fonttype": "path",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def proportional(
    path: Path,
    series: Mapping[str, Mapping[float, float]],
    labels: tuple[str, str],
    title: str,
    *,
    power: int = 1,
) -> None:
    """Draw seconds against a size, both logarithmic, each with its line of equal cost.

    Args:
        path: the SVG file.
        series: by name, seconds by size; the first is ours.
        labels: of the horizontal and the vertical axis, with units.
        title: of the plot.
        power: of the size, to which the cost should be proportional.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _begun(labels, title)
        for (name, points), colour, marker in zip(series.items(), COLOURS, MARKERS, strict=False):
            axes.plot(*_columns(points), marker=marker, color=colour, label=name)
            sizes = [min(points), max(points)]
            rate = points[sizes[1]] / sizes[1] ** power
            line = {"color": colour, "linestyle": (0, (2, 2)), "linewidth": 1}
            axes.plot(sizes, [rate * size**power for size in sizes], **line)
        label = "proportional" if power == 1 else "proportional to the area"
        axes.plot([], [], color="#555555", linestyle=(0, (2, 2)), linewidth=1, label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        _ticks(axes, [size for points in series.values() for size in points])
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend()
        _written(figure, path)


def falling(
    path: Path,
    series: Mapping[str, Mapping[float, float]],
    ideal: Mapping[float, float],
    labels: tuple[str, str],
    title: str,
) -> None:
    """Draw times against numbers of workers, both logarithmic, and the line of no loss at all."""
    with mpl.rc_context(STYLE):
        figure, axes = _begun(labels, title)
        lines = ((0, ()), (0, (4, 2)))
        for number, (name, points) in enumerate(series.items()):
            look = {"marker": MARKERS[number // 2], "linestyle": lines[number // 2]}
            axes.plot(*_columns(points), color=COLOURS[2 * (number % 2)], label=name, **look)
        line = {"color": "#555555", "linestyle": (0, (2, 2)), "linewidth": 1}
        axes.plot(*_columns(ideal), label="nothing lost", **line)
        axes.set_xscale("log")
        axes.set_yscale("log")
        _ticks(axes, list(ideal))
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend()
        _written(figure, path)


def level(
    path: Path,
    series: Mapping[str, Mapping[float, float]],
    labels: tuple[str, str],
    title: str,
) -> None:
    """Draw a cost that should not depend on a size, from zero; the size is logarithmic."""
    with mpl.rc_context(STYLE):
        figure, axes = _begun(labels, title)
        for (name, points), colour, marker in zip(series.items(), COLOURS, MARKERS, strict=False):
            axes.plot(*_columns(points), marker=marker, color=colour, label=name)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        _ticks(axes, [size for points in series.values() for size in points])
        axes.legend()
        _written(figure, path)


def bars(
    path: Path, heights: Mapping[str, float], line: tuple[str, float], labels: tuple[str, str]
) -> None:
    """Draw a bar for each name, and the line that it is held to."""
    title, limit = line
    with mpl.rc_context(STYLE):
        figure, axes = _begun(("", labels[0]), labels[1])
        colours = [COLOURS[1] if "rasterio" in name else COLOURS[0] for name in heights]
        drawn = axes.bar(list(heights), list(heights.values()), color=colours, width=0.55)
        axes.bar_label(drawn, fmt="%.2f", label_type="center", color="white")
        axes.axhline(limit, color=COLOURS[2], linestyle=(0, (4, 3)), label=title)
        axes.set_ylim(0, 1.2 * max(limit, *heights.values()))
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper right")
        _written(figure, path)


def ratios(path: Path, found: Mapping[str, float], labels: tuple[str, str]) -> None:
    """Draw how many times less we take than the best peer, one bar each, logarithmic."""
    with mpl.rc_context({**STYLE, "font.size": 8}):
        size = (WIDE_INCHES, 0.8 + 0.19 * len(found))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        values = list(found.values())
        colours = [COLOURS[0] if value >= 1 else COLOURS[2] for value in values]
        axes.barh(list(found), [value - 1 for value in values], left=1, color=colours)
        for row, value in enumerate(values):
            axes.text(1.08 * max(value, 1), row, f"{value:.3g}", va="center")
        axes.set_xscale("log")
        axes.margins(y=0.01)
        axes.set_xlim(min(0.5, *values) / 1.3, 1.9 * max(2, *values))
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
        axes.axvline(1, color="#555555", linewidth=1)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(labels[0])
        axes.set_title(labels[1], fontsize=11, loc="left")
        _written(figure, path)


def _begun(labels: tuple[str, str], title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.set_title(title, fontsize=11, loc="left")
    return figure, axes


def _columns(points: Mapping[float, float]) -> tuple[list[float], list[float]]:
    return list(points), list(points.values())


def _ticks(axes: Axes, sizes: Sequence[float]) -> None:
    known = sorted(set(sizes))
    axes.set_xticks(known, [f"{size:g}" for size in known])
    axes.xaxis.set_minor_locator(NullLocator())


def _plain(value: float, _: object) -> str:
    return f"{value:g}"


def _written(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
