"""Made-up reflectances in memory, and what is computed of them: the same for every contestant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

BANDS = ("blue", "red", "nir")
TASKS = (
    "NDVI",
    "EVI",
    "linear scale, clipped",
    "0 below a threshold",
    "mean",
    "median",
    "amplitude, max - min",
    "quantiles 10, 50, 90%",
    "standard deviation",
    "running sum",
    "decibels, 10 log10(x)",
    "exponential decay, exp(-x / 0.1)",
    "harmonic, sum of x cos(w t)",
    "dates above a threshold",
    "gaps filled",
)
"""What is computed: of three bands, then of the near infrared alone."""
THRESHOLD, LOW, HIGH = 0.2, 0.05, 0.4
DECAY, TURN = -10.0, 2 * np.pi / 365.25
SHARES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Made:
    """Values and validity by band, (date, y, x), and the days of the dates."""

    values: dict[str, np.ndarray]
    valid: dict[str, np.ndarray]
    days: tuple[int, ...]

    @classmethod
    def of(cls, parameters: dict[str, Any]) -> Made:
        """Make reflectances with a season, texture, and clouds that hide all bands."""
        dates, edge = parameters["dates"], parameters["edge"]
        rng = np.random.default_rng(parameters["seed"])
        days = tuple(12 + 30 * date for date in range(dates))
        shape = (dates, edge, edge)
        cells = -(-edge // 32)
        clear = rng.random((dates, cells, cells)).repeat(32, 1).repeat(32, 2)[:, :edge, :edge] > 0.3
        season = 0.15 * np.sin(TURN * np.array(days))[:, None, None]
        values, valid = {}, {}
        for band, level in zip(BANDS, (0.06, 0.1, 0.35), strict=True):
            noise = rng.standard_normal(shape, np.float32) * np.float32(0.02)
            values[band] = np.maximum(noise + (level + level * season).astype(np.float32), 1e-3)
            valid[band] = clear & (rng.random(shape, np.float32) > 0.01)
        return cls({k: v.astype(np.float32) for k, v in values.items()}, valid, days)
