"""The STAC items and the catalogue of test data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rasterio.warp import transform_bounds

from bench.dataset import (
    COLLECTION,
    COLLECTION_20M,
    CRS,
    LEFT,
    NODATA,
    OFFSET,
    PIXEL,
    QUANTIFICATION,
    TOP,
    coarse,
)
from terrazzo.catalog import BandInfo, make_asset, make_collection, make_item, open_catalog
from terrazzo.storage.gate import Gate
from terrazzo.storage.raster import describe_for_item

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from bench.dataset import Dataset

COMMON = {"B03": "green", "B04": "red", "B08": "nir"}


def band(name: str) -> BandInfo:
    """Describe a band: scene classes, or reflectance."""
    if name == "SCL":
        return BandInfo(name, "uint8", NODATA, gsd_m=20.0)
    scale, offset = 1 / QUANTIFICATION, -OFFSET / QUANTIFICATION
    return BandInfo(name, "uint16", NODATA, scale, offset, COMMON.get(name, ""), gsd_m=10.0)


def resolution(name: str) -> tuple[float, int]:
    """Return the pixel of a band, metres, and how many pixels of 10 m lie along its edge."""
    return (2 * PIXEL, 2) if name == "SCL" else (PIXEL, 1)


def write_item(made: Dataset, day: date, names: Sequence[str]) -> None:
    """Write the item of a date: a date with an item is complete."""
    assets = {}
    for name in names:
        pixel, factor = resolution(name)
        assets[name] = make_asset(
            str(made.asset(day, name)),
            bands=[band(name)],
            crs=CRS,
            shape=(made.size // factor, made.size // factor),
            transform=(pixel, 0.0, LEFT, 0.0, -pixel, TOP),
        )
    item = make_item(
        made.folder(day).name,
        COLLECTION,
        bbox=_box(made),
        datetime=f"{day}T10:00:00Z",
        assets=assets,
    )
    path = made.folder(day) / "item.json"
    path.with_suffix(".part").write_text(json.dumps(item))
    path.with_suffix(".part").replace(path)


def write_catalogue(made: Dataset, names: Sequence[str]) -> None:
    """Put the items of all dates into the catalogue, as one collection; classes as a second.

    Their assets tell what their files' headers say, as those of ingested files do.
    """
    gate = Gate((made.home,))
    items = [_described(item, gate) for item in made.items]
    with open_catalog(made.home / "catalog.sqlite") as catalog:
        bands = [band(name) for name in names]
        catalog.put_collection(make_collection(COLLECTION, bands=bands, bbox=_box(made)))
        catalog.put_items(items)
        if "SCL" in names:
            classes = make_collection(COLLECTION_20M, bands=[band("SCL")], bbox=_box(made))
            catalog.put_collection(classes)
            catalog.put_items(coarse(item) for item in items)


def _described(item: dict[str, Any], gate: Gate) -> dict[str, Any]:
    """Return an item with the facts of its files' headers."""
    assets = {
        name: asset | describe_for_item(gate.open_name(asset["href"], item=item["id"], asset=name))
        for name, asset in item["assets"].items()
    }
    return item | {"assets": assets}


def _box(made: Dataset) -> Any:
    return transform_bounds(CRS, "EPSG:4326", *made.bounds)
