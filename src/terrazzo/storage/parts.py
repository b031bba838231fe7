"""What one read is made of: files of the items, and where their pixels go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from terrazzo.geo.grid import Grid
    from terrazzo.geo.pixelmap import Lookup
    from terrazzo.storage.gate import AssetName
    from terrazzo.storage.headers import RasterInfo
    from terrazzo.storage.raster import Image
    from terrazzo.storage.scenes import AssetBand, SceneItem
    from terrazzo.storage.target import Target


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Bands of one file of one label."""

    label: int
    """Position of the time label in the result."""
    asset: AssetName
    """The file."""
    places: tuple[tuple[int, AssetBand], ...]
    """Its bands, each after its position in the result."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A band of a file on a target: at which level, and which of its pixels."""

    image: Image
    """The file."""
    band: AssetBand
    """The band."""
    level: int
    """Overview level that is read."""
    lookup: Lookup
    """Which of the level's pixels each target pixel takes."""
    nodata: float | None
    """The number that marks no-data."""
    kind: tuple[Grid, np.dtype[Any], str, float, float]
    """Lattice, dtype, no-data, scale, offset: images that share them all can be merged."""


def parts_of(label: int, item: SceneItem, names: Sequence[str], target: Target) -> list[Part]:
    """Return the files of an item that may have pixels on the target."""
    found = target.by_asset(item, names)
    return [Part(label, asset, tuple(places)) for asset, places in found.items()]


def nodata_of(info: RasterInfo, band: AssetBand) -> float | None:
    """Return what marks no-data: the item's word, else the file's unless it has a mask."""
    if band.nodata is not None or info.has_mask:
        return band.nodata
    return info.nodata[band.index - 1]
