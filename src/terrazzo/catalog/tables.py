"""Items of geometries: their asset is a table, and they have no bands.

What they say is in the terms of STAC's extensions `table`, `vector` and `datacube`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PARQUET: Final = "application/vnd.apache.parquet"
"""Media type of tables."""
PRIMARY: Final = "table:primary_geometry"
"""Property that only items of geometries have: the column that holds them."""
TYPES: Final = "vector:geometry_types"
"""Property that lists the types of the geometries, as GeoJSON names them."""


def table_asset(item: Mapping[str, Any]) -> str | None:
    """Return the key of the table of an item; None if it is no item of geometries."""
    properties, assets = item.get("properties"), item.get("assets")
    if not isinstance(properties, Mapping) or not properties.get(PRIMARY):
        return None
    for key, asset in assets.items() if isinstance(assets, Mapping) else ():
        if isinstance(asset, Mapping) and str(asset.get("type", "")).startswith(PARQUET):
            return str(key)
    return None


def geometry_dimensions(
    box: Sequence[float],
    types: Sequence[str],
    *,
    interval: tuple[str | None, str | None],
    times: Sequence[str] = (),
) -> dict[str, Any]:
    """Make `cube:dimensions` of a collection of geometries.

    Args:
        box: of all of them, EPSG:4326.
        types: of geometries that there are; none if they are not known.
        interval: start and end.
        times: all instants, if they are few.
    """
    geometry: dict[str, Any] = {
        "type": "geometry",
        "axes": ["x", "y"],
        "bbox": list(box),
        "reference_system": 4326,
    }
    if types:
        geometry["geometry_types"] = list(types)
    time: dict[str, Any] = {"type": "temporal", "extent": list(interval)}
    if times:
        time["values"] = list(times)
    return {"geometry": geometry, "t": time}
