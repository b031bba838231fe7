"""Draws docs/images/time-series.svg from what docs/time-series.md computes.

    python -m scripts.time_series_plot

The code of the page is run, so that the picture shows its numbers (real sample data; contains
modified Copernicus Sentinel data 2016-2020).
"""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from datetime import datetime
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from scripts.pages import DOCS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PAGE = DOCS / "time-series.md"
PICTURE = DOCS / "images" / "time-series.svg"
STYLE = {
    "svg.hashsalt": "time-series",
    "svg.fonttype": "path",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
}
BLUE, GRAY, RED = "#1b6e8c", "#8a8a8a", "#c8553d"
DAYS_OF_A_BAR = 22


def computed() -> dict[str, Any]:
    """Run the code of the page, and return what it has named."""
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        for block in blocks:
            exec(compile(block, PAGE.name, "exec"), names)  # noqa: S102 - our own page
    return names


def draw(names: Mapping[str, Any], path: Path) -> None:
    """Draw observations and curve above, monthly anomalies below."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 4.6), layout="constrained")
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 2))
        upper.plot(*_columns(names["curve"]), color=GRAY, label="curve fitted to 2016 to 2018")
        upper.plot(*_columns(names["observed"]), "o", color=BLUE, markersize=4, label="observed")
        upper.set_ylabel("NDVI")
        upper.legend(loc="lower left", ncols=2)
        dates, anomalies = _columns(names["anomalies"])
        colours = [RED if value < 0 else BLUE for value in anomalies]
        lower.bar(dates, anomalies, width=DAYS_OF_A_BAR, color=colours)
        lower.set_ylabel("monthly anomaly")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _columns(values: Mapping[str, float]) -> tuple[list[datetime], list[float]]:
    """Return dates and values; the label of a month is drawn in its middle."""
    dates = [label if len(label) > len("2016-01") else f"{label}-15" for label in values]
    return [datetime.fromisoformat(date[:10]) for date in dates], list(values.values())


if __name__ == "__main__":
    draw(computed(), PICTURE)
    sys.stdout.write(f"{PICTURE}\n")
