"""Items as images: what storage reads, from what items say.

A look at a collection takes all of its items, and most say the same of their bands and files. So
what they say is read once for all that are alike, and folders are looked at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from terrazzo.catalog.bands import asset_bands
from terrazzo.catalog.stac import read_projection
from terrazzo.geo.grid import Grid
from terrazzo.geo.times import parse_time
from terrazzo.storage.folders import Folders
from terrazzo.storage.headers import HEADER, read_header
from terrazzo.storage.source import AssetBand, SceneItem
from terrazzo.storage.stac import BASE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from terrazzo.catalog import BandInfo, Catalog
    from terrazzo.catalog.stored import StoredItem
    from terrazzo.storage.gate import AssetName, Gate
    from terrazzo.storage.headers import Header


class Reader:
    """Makes images of items, for as long as one look at a collection takes."""

    def __init__(self, names: Sequence[str], gate: Gate) -> None:
        """Read nothing yet.

        Args:
            names: of the bands that are wanted.
            gate: decides which files may be opened.
        """
        self._names = frozenset(names)
        self._gate, self._strange = gate, gate.for_strangers()
        self._folders = Folders()

    def scene(self, item: Mapping[str, Any]) -> SceneItem:
        """Return what an item says of the bands that are wanted.

        Raises:
            AssetForbidden: one of its files may not be opened.
            ArgumentInvalid: it describes bands, times or lattices wrongly.
        """
        properties = item["properties"]
        bands: list[AssetBand] = []
        for key, asset in item["assets"].items():
            known = asset_bands(asset, key)
            here = [(i, band) for i, band in enumerate(known, 1) if band.name in self._names]
            if here:
                header = read_header(asset.get(HEADER))
                name = self._name(item, key, header)
                grid = _grid(item, key) if header is None else header.info.grid
                checksum = _checksum(asset)
                bands += [_band(name, grid, header, checksum, *one) for one in here]
        moment = properties.get("datetime") or properties["start_datetime"]
        return SceneItem(item["id"], parse_time(moment), tuple(bands), _flat(item["bbox"]))

    def _name(self, item: Mapping[str, Any], key: str, header: Header | None) -> AssetName:
        # Only ingestion knows headers: who merely writes items names no place that it remembered.
        gate, href = self._strange if header is None else self._gate, item["assets"][key]["href"]
        base = item.get(BASE) or None
        return gate.open_name(href, base, item=item["id"], asset=key, folders=self._folders)


def _checksum(asset: Mapping[str, Any]) -> str:
    """Return what an asset states of the content of its file; empty where that is nothing."""
    stated = asset.get("file:checksum")
    return stated if isinstance(stated, str) and stated.isprintable() else ""


def _band(
    name: AssetName,
    grid: Grid | None,
    header: Header | None,
    checksum: str,
    index: int,
    band: BandInfo,
) -> AssetBand:
    overviews = None if header is None else header.info.overviews
    return AssetBand(
        band.name, name, index, band.nodata, band.scale, band.offset, grid, band.dtype, overviews,
        header, checksum,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LookUp:
    """Finds items of a collection again, by their ids."""

    catalog: Catalog
    """Where they are."""
    collection: str
    """Its id."""
    names: tuple[str, ...]
    """The bands that are wanted."""
    gate: Gate
    """Decides which files may be opened."""

    def __call__(self, ids: Sequence[str]) -> Iterator[SceneItem]:
        """Return the images with these ids."""
        reader = Reader(self.names, self.gate)
        found = self.catalog.stored((self.collection,), ids=ids)
        return (reader.scene(read_fast(item)) for item in found)


def read_fast(item: StoredItem) -> dict[str, Any]:
    """Return the document of an item, integers beyond 64 bits as floats."""
    text = item.plain()
    try:
        found: dict[str, Any] = orjson.loads(text)
    except orjson.JSONDecodeError:  # lone surrogates, and what is very deep
        found = json.loads(text)
    return found


def _grid(item: Mapping[str, Any], key: str) -> Grid | None:
    """Return the lattice that an item states for an asset, None where it must be opened."""
    projection = read_projection(item, key)
    if projection is None or len(projection.transform) != 6 or len(projection.shape) != 2:  # noqa: PLR2004 - affine, shape
        return None
    pixel_x, skew_x, left, skew_y, minus_pixel_y, top = projection.transform
    if skew_x or skew_y or pixel_x <= 0 or minus_pixel_y >= 0:
        return None
    return _lattice(projection.crs, left, top, pixel_x, -minus_pixel_y, *projection.shape)


@lru_cache(maxsize=16_384)
def _lattice(
    crs: str, left: float, top: float, pixel_x: float, pixel_y: float, height: int, width: int
) -> Grid:
    """Return a lattice; images that share one need one."""
    return Grid(crs, left, top, pixel_x, pixel_y, height, width)


def _flat(bbox: Sequence[float]) -> tuple[float, float, float, float]:
    """Return west, south, east, north of a box that may have heights."""
    half = len(bbox) // 2
    return float(bbox[0]), float(bbox[1]), float(bbox[half]), float(bbox[half + 1])
