"""Steps of random process graphs that join, cut and mask cubes: parts, polygons, chunks."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from terrazzo.testing.grown import DATA, Draw, Grown, X, callback

Y = {"from_parameter": "y"}


def apart(draw: Draw, grown: Grown) -> Grown:
    """Cut two parts out that lie apart, compute with one of them, and put them together."""
    left, bottom, right, top = grown.ground.box
    middle = left + draw(st.sampled_from((0.3, 0.5))) * (right - left)
    sides = {"south": bottom, "north": top, "crs": grown.ground.crs}
    boxes = [{"west": left, "east": middle - 1}, {"west": middle + 1, "east": right}]
    first = grown.then("filter_bbox", {"data": grown.data, "extent": {**sides, **boxes[0]}})
    second = first.then("filter_bbox", {"data": grown.data, "extent": {**sides, **boxes[1]}})
    doubled = second.then("apply", {"data": second.data, "process": callback("multiply", x=X, y=2)})
    cubes = [first.data, doubled.data][:: draw(st.sampled_from((1, -1)))]
    arguments: dict[str, Any] = {"cube1": cubes[0], "cube2": cubes[1]}
    if any("projection" in node["arguments"] for node in grown.nodes.values()):
        # On a grid that is turned against the boxes, the rectangles around them overlap.
        arguments["overlap_resolver"] = callback("max", data=[X, Y])
    return doubled.then("merge_cubes", arguments)


def static(draw: Draw, grown: Grown) -> Grown:
    """Merge a cube with what is left of it without its dates or bands, on either side."""
    names = (["t"] if grown.time else []) + (["bands"] if grown.bands else [])
    if not names:
        return grown
    lost = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    less = grown
    for name in lost:
        reducer = callback(draw(st.sampled_from(("max", "mean"))), data=DATA)
        less = less.then(
            "reduce_dimension", {"data": less.data, "reducer": reducer, "dimension": name}
        )
    cubes = [grown.data, less.data][:: draw(st.sampled_from((1, -1)))]
    resolver = callback(draw(st.sampled_from(("subtract", "add"))), x=X, y=Y)
    return less.then(
        "merge_cubes", {"cube1": cubes[0], "cube2": cubes[1], "overlap_resolver": resolver}
    )


def constant(draw: Draw, grown: Grown) -> Grown:
    """Merge a cube with one without space that has other bands, or none."""
    made = grown.then("create_data_cube", {})
    if grown.bands:
        name = {"name": "bands", "label": draw(st.sampled_from((grown.bands[0], "none")))}
        made = made.then("add_dimension", {"data": made.data, "type": "bands", **name})
    cubes = [grown.data, made.data][:: draw(st.sampled_from((1, -1)))]
    resolver = callback("max", data=[X, Y])
    merged = made.then(
        "merge_cubes", {"cube1": cubes[0], "cube2": cubes[1], "overlap_resolver": resolver}
    )
    if not grown.bands:
        return merged
    bands = {"data": merged.data, "bands": list(grown.bands)}
    return merged.then("filter_bands", bands)


def _shapes(grown: Grown) -> list[dict[str, Any]]:
    left, bottom, right, top = grown.ground.box
    middle = (left + right) / 2
    upper = [[left, top], [middle, top - 7], [left + 9, (top + bottom) / 2 + 3], [left, top]]
    lower = [[middle + 11, top - 31], [right, bottom], [left + 5, bottom + 3]]
    return [
        {"type": "Polygon", "coordinates": [upper]},
        {"type": "Polygon", "coordinates": [[*lower, lower[0]]]},
        {"type": "Point", "coordinates": [left + 13, bottom + 27]},
        {"type": "LineString", "coordinates": [[left, bottom], [middle, top], [right, top - 99]]},
    ]


def _collection(grown: Grown, shapes: list[dict[str, Any]]) -> dict[str, Any]:
    features = [{"type": "Feature", "properties": {}, "geometry": shape} for shape in shapes]
    name = {"type": "name", "properties": {"name": f"EPSG:{grown.ground.crs}"}}
    return {"type": "FeatureCollection", "features": features, "crs": name}


def _from_mean() -> dict[str, Any]:
    """Return a callback that subtracts from a cube the mean of all of its pixels."""
    mean = {"data": DATA, "reducer": callback("mean", data=DATA)}
    merge = {
        "cube1": DATA,
        "cube2": {"from_node": "mean"},
        "overlap_resolver": callback("subtract", x=X, y=Y),
    }
    return {
        "process_graph": {
            "mean": {"process_id": "reduce_spatial", "arguments": mean},
            "merge": {"process_id": "merge_cubes", "arguments": merge, "result": True},
        }
    }


def polygons(draw: Draw, grown: Grown) -> Grown:
    """Compute polygon by polygon what depends on all pixels of each."""
    document = {"data": _collection(grown, _shapes(grown)[:2])}
    shapes = grown.then("load_geojson", document)
    sizes = [{"dimension": d, "value": 7, "unit": "px"} for d in ("x", "y")]
    smooth = callback("apply_kernel", data=DATA, kernel=[[1, 2, 1]], border="wrap", factor=0.25)
    inner = {"data": DATA, "process": smooth, "size": sizes}
    arguments: dict[str, Any] = {
        "data": grown.data,
        "geometries": shapes.data,
        "process": draw(
            st.sampled_from((smooth, callback("apply_neighborhood", **inner), _from_mean()))
        ),
    }
    if draw(st.booleans()):
        arguments["mask_value"] = 5
    return shapes.then("apply_polygon", arguments)


def marks(draw: Draw, grown: Grown) -> Grown:
    """Keep the pixels of geometries of all types."""
    shapes = _shapes(grown)
    shapes = shapes[: draw(st.integers(2, len(shapes)))]
    return grown.then(
        "filter_spatial", {"data": grown.data, "geometries": _collection(grown, shapes)}
    )


def chunks(draw: Draw, grown: Grown) -> Grown:
    """Compute chunks of metres and of months, or of single rows."""
    if draw(st.booleans()):
        size = [
            {"dimension": "x", "value": draw(st.sampled_from((40, 95))), "unit": "m"},
            {"dimension": "y", "value": 120},
        ]
        overlap = [{"dimension": "y", "value": 31, "unit": "m"}]
        process = callback("apply_kernel", data=DATA, kernel=[[1.0], [2.0], [1.0]])
    else:
        size = [{"dimension": "x", "value": 1, "unit": "px"}]
        size.append({"dimension": "y", "value": 1, "unit": "px"})
        overlap, process = [], callback("cumsum", data=DATA)
        several = [bool(grown.time), len(grown.bands) > 1]
        if grown.time and not all(several):
            size.append({"dimension": "t", "value": draw(st.sampled_from(("P1M", "P20D")))})
        if sum(several) != 1:
            return grown
    return grown.then(
        "apply_neighborhood",
        {"data": grown.data, "process": process, "size": size, "overlap": overlap},
    )
