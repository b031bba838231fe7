"""The functions of the UDF benchmark: as users write them, and in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BANDS = ("B02", "B03", "B04", "B08")
NOTHING, INDEX, LIGHT = "nothing at all", "an index of two bands", "five lines on four bands"
CODES = {
    NOTHING: "def apply_datacube(cube, context):\n    return cube\n",
    INDEX: "img = (band3 - band2) / (band3 + band2)\n",
    LIGHT: (
        "light = (band0 + band1 + band2) / 3\n"
        "away = (abs(band0 - light) + abs(band1 - light) + abs(band2 - light)) / light\n"
        "haze = band0 - 0.5 * band2\n"
        "index = (band3 - band2) / (band3 + band2)\n"
        "img = np.where((away < 0.7) & (haze > 0.08), np.float32(-1), index)\n"
    ),
}


def _light(bands: np.ndarray) -> np.ndarray:
    light = (bands[0] + bands[1] + bands[2]) / 3
    away = sum(abs(bands[n] - light) for n in range(3)) / light
    haze = bands[0] - 0.5 * bands[2]
    index = (bands[3] - bands[2]) / (bands[3] + bands[2])
    return np.where((away < 0.7) & (haze > 0.08), np.float32(-1), index)


FUNCTIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    NOTHING: lambda bands: bands,
    INDEX: lambda bands: (bands[3] - bands[2]) / (bands[3] + bands[2]),
    LIGHT: _light,
}


@dataclass(frozen=True)
class Blocks:
    """What is computed."""

    values: np.ndarray
    """(band, y, x) reflectance, float32."""
    valid: np.ndarray
    """Same shape."""
    count: int
    """How many times in a run."""

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """Make it of the parameters of a contestant."""
        edge = parameters["edge"]
        random = np.random.default_rng(parameters["seed"])
        values = random.uniform(0.01, 0.5, (len(BANDS), edge, edge)).astype(np.float32)
        valid = np.broadcast_to(random.uniform(size=(edge, edge)) > 0.1, values.shape)
        return cls(values, valid.copy(), parameters["count"])


def numpy_contestant(parameters: dict[str, Any]) -> dict[str, Callable[[], dict[str, np.ndarray]]]:
    """Compute in this process: no-data become NaN, then the function."""
    blocks = Blocks.of(parameters)

    def task(name: str) -> dict[str, np.ndarray]:
        for _ in range(blocks.count):
            given = blocks.values.copy()
            bits = given.view(np.uint32)
            bits |= blocks.valid.astype(np.uint32) - np.uint32(1)  # NaN, in a tenth of the time
            with np.errstate(all="ignore"):
                result = FUNCTIONS[name](given)
        return {"values": result}

    return {name: lambda name=name: task(name) for name in CODES}  # type: ignore[misc]
