"""Steps of random process graphs that look at all pixels before any result is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from terrazzo.testing.grown import DATA, REDUCERS, Draw, Grown, X, callback, load

Y = {"from_parameter": "y"}


def centred(draw: Draw, grown: Grown) -> Grown:
    """Subtract from every image what all of its pixels come to."""
    reducer = callback(draw(st.sampled_from(REDUCERS)), data=DATA)
    typical = grown.then("reduce_spatial", {"data": grown.data, "reducer": reducer})
    arguments: dict[str, Any] = {
        "cube1": grown.data,
        "cube2": typical.data,
        "overlap_resolver": callback("subtract", x=X, y=Y),
    }
    return typical.then("merge_cubes", arguments)


def trimmed(draw: Draw, grown: Grown) -> Grown:
    """Merge with what is left of a collection around the pixels of a triangle."""
    other = load(draw, grown)
    left, bottom, right, top = grown.ground.box
    corners = [[left, top], [right, top - 7], [left + 9, bottom], [left, top]]
    name = {"type": "name", "properties": {"name": f"EPSG:{grown.ground.crs}"}}
    triangle = {"type": "Polygon", "coordinates": [corners], "crs": name}
    masked = other.then("mask_polygon", {"data": other.data, "mask": triangle})
    rest = masked.then("trim_cube", {"data": masked.data})
    cubes = [grown.data, rest.data][:: draw(st.sampled_from((1, -1)))]
    arguments: dict[str, Any] = {
        "cube1": cubes[0],
        "cube2": cubes[1],
        "overlap_resolver": callback("max", data=[X, Y]),
    }
    bands = tuple(dict.fromkeys((*grown.bands, *other.bands)))
    return replace(rest, time=True, bands=bands).then("merge_cubes", arguments)
