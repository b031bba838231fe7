"""Parcels: fields of the landscape, as many as are asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import geopandas
import numpy as np
import shapely

from bench.dataset import CRS
from bench.landscape import FIELD_SPACING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.dataset import Dataset

SENTINEL_2 = 10_980
"""Edge of a scene, pixels: so large is one that has as many parcels as the titles say."""
LAYERS = ((0.0, 0.0), (0.5, 0.5), (0.5, 0.0), (0.0, 0.5))
"""How far further fields lie from the first, in spacings, where more are asked for than fit side
by side."""
SAMPLE = 1000


def as_dense(count: int, size: int) -> int:
    """Return how many parcels a scene has that is as dense as a whole one with `count`."""
    return max(round(count * (size / SENTINEL_2) ** 2), 1)


def parcels(data: Dataset, count: int) -> Path:
    """Return the GeoParquet of so many random fields, numbered in the order of the file."""
    path = data.home / f"parcels-{count}.parquet"
    if not path.exists():
        fields = geopandas.read_parquet(data.parcels).geometry.to_numpy()
        if count > len(fields):
            shifts = FIELD_SPACING * np.array(LAYERS)
            fields = np.concatenate([shapely.transform(fields, _moved(by)) for by in shifts])
        _write(path, fields[_chosen(len(fields), count)])
    return path


def sample(whole: Path) -> Path:
    """Return the file of some parcels of another, with the numbers that they have there."""
    path = whole.with_name(f"{whole.stem}-sample.parquet")
    if not path.exists():
        frame = geopandas.read_parquet(whole)
        some = frame.iloc[_chosen(len(frame), min(SAMPLE, len(frame)))]
        _write(path, some.geometry.to_numpy(), some["parcel"].to_numpy())
    return path


def _moved(by: NDArray[np.float64]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda xy: xy + by


def _chosen(of: int, count: int) -> NDArray[np.int64]:
    """Return random positions in ascending order; neighbours in a file are neighbours on land."""
    return np.sort(np.random.default_rng([count, of]).choice(of, count, replace=False))


def _write(
    path: Path, shapes: NDArray[np.object_], numbers: NDArray[np.int64] | None = None
) -> None:
    table = {"parcel": np.arange(len(shapes)) if numbers is None else numbers}
    beside = path.with_suffix(f".{os.getpid()}.part")
    geopandas.GeoDataFrame(table, geometry=shapes, crs=CRS).to_parquet(beside)
    beside.replace(path)
