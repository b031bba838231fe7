"""Mapbox Vector Tiles 2.1: geometries in the whole units of a tile, with their attributes."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import mapbox_vector_tile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
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
        shapes: in units of the tile, y down, of `tile_shapes.in_units`; empty ones are left out.
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


def attributes(told: Mapping[str, Any]) -> dict[str, str | float | bool]:
    """Return attributes as a tile holds them.

    Null, NaN and infinity are left out, lists and objects become JSON, and so do integers beyond 64
    bits; long texts are cut. What cannot be written is left out.
    """
    found: dict[str, str | float | bool] = {}
    for name, value in told.items():
        if isinstance(value, float):
            if math.isfinite(value):
                found[name] = value
        elif isinstance(value, int) and abs(value) < _LARGEST:
            found[name] = value
        elif value is not None:
            try:
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            except (ValueError, RecursionError):  # of more digits, or deeper, than Python writes
                continue
            # A half of a character has no place in UTF-8.
            found[name] = text[:_LONGEST].encode("utf-8", "replace").decode()
    return found
