"""Collections from their items: extents, cube dimensions, bands, assets and summaries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog.bands import BandInfo, band_document, merge_bands, read_bands
from terrazzo.catalog.documents import item_period
from terrazzo.catalog.space import Box, check_bbox, split
from terrazzo.catalog.stac import cube_dimensions, extensions, read_projection
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from terrazzo.catalog.interface import Catalog

_MOST_TIMES: Final = 1000
_MOST_VALUES: Final = 30
_NO_SUMMARY: Final = {
    "datetime", "start_datetime", "end_datetime", "created", "updated", "title", "description",
}  # fmt: skip
_BAND_FIELDS: Final = ("bands", "eo:bands", "raster:bands", "type", "roles", "data_type", "nodata")
_OF_ONE_FILE: Final = ("href", "proj:", "file:", "terrazzo:", "created", "updated", "title")


@dataclass(slots=True)
class _Survey:
    """What was seen in the items so far."""

    longitudes: set[tuple[float, float]] = field(default_factory=set)
    crosses: bool = False
    south: float = 90.0
    north: float = -90.0
    start: datetime | None = None
    end: datetime | None = None
    times: set[datetime] = field(default_factory=set)
    bands: tuple[BandInfo, ...] = ()
    layouts: dict[str, list[str]] = field(default_factory=dict)
    assets: dict[str, dict[str, Any]] = field(default_factory=dict)
    grids: dict[str, list[float]] = field(default_factory=dict)
    steps: set[tuple[float, float]] = field(default_factory=set)
    numbers: dict[str, list[float]] = field(default_factory=dict)
    values: dict[str, set[str]] = field(default_factory=dict)

    def add(self, item: Mapping[str, Any]) -> None:
        """Take in one item."""
        west, south, east, north = check_bbox(item["bbox"], f"Item {item['id']!r}")
        parts = split((west, south, east, north))
        self.crosses |= len(parts) > 1
        self.longitudes.update((part[0], part[2]) for part in parts)
        self.south, self.north = min(self.south, south), max(self.north, north)
        start, end = item_period(item)
        self.start = start if self.start is None else min(self.start, start)
        self.end = end if self.end is None else max(self.end, end)
        if len(self.times) <= _MOST_TIMES:
            self.times.add(start)
        self._add_assets(item)
        for name, value in item["properties"].items():
            if name not in _NO_SUMMARY:
                self._add_property(name, value)

    def _add_assets(self, item: Mapping[str, Any]) -> None:
        """Take in bands, asset kinds and grids."""
        assets = item.get("assets") or {}
        layout = repr([[asset.get(name) for name in _BAND_FIELDS] for asset in assets.values()])
        layout += repr(list(assets))
        if layout not in self.layouts:
            self.bands = merge_bands(self.bands, read_bands(item))
            self.layouts[layout] = [key for key, a in assets.items() if read_bands(a, key)]
        for key, asset in assets.items():
            if key not in self.assets:
                self.assets[key] = {
                    name: value
                    for name, value in asset.items()
                    if not name.startswith(_OF_ONE_FILE)
                }
        for key in self.layouts[layout]:
            self._add_grid(item, key)

    def _add_grid(self, item: Mapping[str, Any], key: str) -> None:
        """Take in where an asset's pixels lie in its own CRS."""
        try:
            grid = read_projection(item, key)
        except ArgumentInvalid:
            grid = None  # a CRS that PROJ does not know: the extent stays in degrees
        if grid is None or not grid.transform or not grid.shape:
            self.grids[""] = []
            return
        a, b, c, d, e, f = grid.transform
        height, width = grid.shape
        corners = [(0, 0), (width, 0), (0, height), (width, height)]
        xs = [a * i + b * j + c for i, j in corners]
        ys = [d * i + e * j + f for i, j in corners]
        old = self.grids.setdefault(grid.crs, [min(xs), min(ys), max(xs), max(ys)])
        old[:2] = [min(old[0], *xs), min(old[1], *ys)]
        old[2:] = [max(old[2], *xs), max(old[3], *ys)]
        self.steps.add((abs(a), abs(e)) if b == d == 0 else (0.0, 0.0))

    def _add_property(self, name: str, value: object) -> None:
        """Take in a property for the summaries."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            low, high = self.numbers.get(name, [value, value])
            self.numbers[name] = [min(low, value), max(high, value)]
            return
        several = value if isinstance(value, list) else [value]
        texts = [text for text in several if isinstance(text, str)]
        if len(texts) == len(several):
            known = self.values.setdefault(name, set())
            if len(known) <= _MOST_VALUES:
                known.update(texts)

    def bbox(self) -> Box:
        """Return the smallest bbox; it crosses the antimeridian if an item does."""
        spans = sorted(self.longitudes)
        west, east = spans[0][0], max(span[1] for span in spans)
        if self.crosses:
            widest, reach = 0.0, spans[0][1]
            for left, right in spans[1:]:
                if left - reach > widest:
                    widest, west, east = left - reach, left, reach
                reach = max(reach, right)
        return west, self.south, east, self.north

    def summaries(self) -> dict[str, Any]:
        """Return ranges of numbers and short lists of texts."""
        found: dict[str, Any] = {
            name: {"minimum": low, "maximum": high} for name, (low, high) in self.numbers.items()
        }
        for name, texts in self.values.items():
            if 0 < len(texts) <= _MOST_VALUES and name not in found:
                found[name] = sorted(texts)
        return found


def refresh_collection(catalog: Catalog, id: str) -> dict[str, Any]:  # noqa: A002 - STAC's name
    """Recompute a collection from its items (see `refreshed`) and put it back.

    Args:
        catalog: where the collection is.
        id: of the collection.

    Returns:
        The new document.

    Raises:
        CollectionNotFound: lists the collections that there are.
    """
    collection = refreshed(catalog, id)
    if catalog.count(id):
        catalog.put_collection(collection)
    return collection


def refreshed(catalog: Catalog, id: str) -> dict[str, Any]:  # noqa: A002 - STAC's name
    """Recompute extents, cube dimensions, bands, assets and summaries from a collection's items.

    Bands and dimensions that the collection states itself are kept; what the items add is added.
    Spatial dimensions are in the CRS of the items if they share one, else in degrees. A
    collection without items is left as it is.

    Args:
        catalog: where the collection is; nothing in it is changed.
        id: of the collection.

    Returns:
        The new document.

    Raises:
        CollectionNotFound: lists the collections that there are.
    """
    collection = catalog.collection(id)
    survey = _Survey()
    for item in catalog.search((id,)):
        survey.add(item)
    if survey.start is None or survey.end is None:
        return collection
    own = read_bands(collection) if "bands" in collection else ()
    bands = merge_bands(own, survey.bands)
    box = survey.bbox()
    interval = (format_time(survey.start), format_time(survey.end))
    collection["extent"] = {
        "spatial": {"bbox": [list(box)]},
        "temporal": {"interval": [list(interval)]},
    }
    names = [band.name for band in bands]
    fresh = _dimensions(survey, box, interval, names)
    collection["cube:dimensions"] = {**(collection.get("cube:dimensions") or {}), **fresh}
    if bands:
        collection["bands"] = [band_document(band) for band in bands]
    if survey.assets:
        collection["item_assets"] = survey.assets
    collection["summaries"] = {**(collection.get("summaries") or {}), **survey.summaries()}
    known = list(collection.get("stac_extensions") or ())
    collection["stac_extensions"] = known + [u for u in extensions(collection) if u not in known]
    return collection


def _dimensions(
    survey: _Survey, box: Box, interval: tuple[str, str], bands: list[str]
) -> dict[str, Any]:
    """Return the dimensions that the items have in common."""
    times = sorted(survey.times) if len(survey.times) <= _MOST_TIMES else []
    texts = [format_time(instant) for instant in times]
    if len(survey.grids) == 1 and "" not in survey.grids:
        ((crs, (left, bottom, right, top)),) = survey.grids.items()
        step = next(iter(survey.steps)) if len(survey.steps) == 1 else (0.0, 0.0)
        return cube_dimensions(
            x=(left, right), y=(bottom, top), crs=crs, step=step if all(step) else None,
            interval=interval, times=texts, bands=bands,
        )  # fmt: skip
    return cube_dimensions(
        x=(box[0], box[2]), y=(box[1], box[3]), interval=interval, times=texts, bands=bands
    )
