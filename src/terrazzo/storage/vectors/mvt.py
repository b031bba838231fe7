"""Mapbox Vector Tiles 2.1: geometries in the whole units of a tile, with their attributes."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import mapbox_vector_tile
import numpy as np
import shapely

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Shapes = NDArray[np.object_]

EXTENT: Final = 4096
"""Units of a tile's edge."""
BUFFER: Final = 64
"""Units around a tile that it holds, too, so that outlines do not end at its edge."""
MEDIA_TYPE: Final = "application/vnd.mapbox-vector-tile"
_LONGEST: Final = 1000
"""Letters of a text that a tile holds."""
_LARGEST: Final = 2**63


def encode(
    layer: str,
    shapes: Shapes,
    ids: Sequence[int],
    properties: Sequence[Mapping[str, Any]],
) -> bytes:
    """Return a tile of one layer.

    Args:
        layer: its name.
        shapes: in units of the tile, y down, as `in_units` returns them; empty ones are left out.
        ids: of the features, 0 or more.
        properties: of the features, as `attributes` returns them.
    """
    features = [
        {"id": name, "geometry": shape, "properties": told}
        for shape, name, told in zip(shapes, ids, properties, strict=True)
        if not shape.is_empty
    ]
    content: bytes = mapbox_vector_tile.encode(
        [{"name": layer, "features": features}],
        default_options={
            "y_coord_down": True,
            "extents": EXTENT,
            "check_winding_order": False,  # `in_units` sees to it, for all at once
        },
    )
    return content


def in_units(shapes: Shapes, tolerance: float) -> Shapes:
    """Return geometries as a tile has them: simpler, cut, valid, on whole units.

    Args:
        shapes: in units of the tile, y down.
        tolerance: how far a line may move, units.

    Returns:
        Of the dimension that they had; empty where nothing is left. Outer rings run as the
        specification has it: clockwise as one sees them.
    """
    dimensions = shapely.get_dimensions(shapes)
    found = shapely.simplify(shapely.force_2d(shapes), tolerance, preserve_topology=False)
    bounds = shapely.bounds(found)
    low, high = -float(BUFFER), float(EXTENT + BUFFER)
    across = (bounds[:, :2] < low).any(axis=1) | (bounds[:, 2:] > high).any(axis=1)
    wrong = ~shapely.is_valid(found)
    found[wrong] = shapely.make_valid(found[wrong])
    found[across] = shapely.clip_by_rect(found[across], low, low, high, high)
    found = _snapped(found)
    mixed = shapely.get_type_id(found) == shapely.GeometryType.GEOMETRYCOLLECTION
    for number in np.flatnonzero(mixed):
        found[number] = _of_dimension(found[number], int(dimensions[number]))
    found[shapely.get_dimensions(found) != dimensions] = shapely.Polygon()
    # With y down an outer ring that runs against the clock on paper runs with it on the screen.
    oriented: Shapes = shapely.orient_polygons(found)
    return oriented


def _snapped(shapes: Shapes) -> Shapes:
    """Return geometries on whole units; what GEOS cannot put there is mended first, or left out."""
    try:
        snapped: Shapes = shapely.set_precision(shapes, 1.0)
    except shapely.errors.GEOSException:
        snapped = np.array([_snapped_alone(shape) for shape in shapes], dtype=object)
    return snapped


def _snapped_alone(shape: Any) -> Any:
    try:
        return shapely.set_precision(shapely.make_valid(shape), 1.0)
    except shapely.errors.GEOSException:
        return shapely.Polygon()


def _of_dimension(shape: Any, dimension: int) -> Any:
    """Return the parts of a collection that have a dimension, as one geometry."""
    parts = [one for one in shapely.get_parts(shape) if shapely.get_dimensions(one) == dimension]
    return shapely.union_all(parts) if parts else shapely.Polygon()


def attributes(told: Mapping[str, Any]) -> dict[str, str | float | bool]:
    """Return attributes as a tile holds them.

    Null, NaN and infinity are left out, lists and objects become JSON, long texts are cut.
    """
    found: dict[str, str | float | bool] = {}
    for name, value in told.items():
        if isinstance(value, float):
            if math.isfinite(value):
                found[name] = value
        elif isinstance(value, int):
            found[name] = value if abs(value) < _LARGEST else float(value)
        elif isinstance(value, str):
            found[name] = value[:_LONGEST]
        elif value is not None:
            found[name] = json.dumps(value, ensure_ascii=False)[:_LONGEST]
    return found
