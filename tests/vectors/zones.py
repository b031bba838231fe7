"""Polygons and neighbourhoods: GDAL's rasteriser, SciPy's filters, NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from rasterio.features import geometry_mask
from scipy import ndimage
from tests.vectors.documents import (
    CRS,
    LEFT,
    TOP,
    Case,
    Cases,
    Document,
    bands,
    from_gappy,
    gappy,
    geometries,
    node,
    other,
    parameter,
    reducer,
    sample,
    space,
    time,
    without,
)
from tests.vectors.resampling import _affine

LOW = shapely.Polygon(
    [(LEFT + 3, TOP - 3), (LEFT + 46, TOP - 8), (LEFT + 38, TOP - 42), (LEFT + 7, TOP - 31)]
)
HIGH = shapely.box(LEFT + 52, TOP - 58, LEFT + 79, TOP - 12)
AROUND = shapely.box(LEFT + 1, TOP - 64, LEFT + 66, TOP - 1)
POINT = shapely.Point(LEFT + 33, TOP - 47)
DATA = sample(
    {
        "t": time("2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z"),
        "bands": bands("red", "nir"),
        **space(7, 9),
    },
    seed=21,
)
LAYER = sample({"bands": bands("red"), **space(7, 9)}, seed=22, missing=0)


def geojson(*shapes: Any) -> Document:
    """Return GeoJSON in the CRS of the cubes."""
    features = [
        {
            "type": "Feature",
            "properties": {"number": number},
            "geometry": shapely.geometry.mapping(shape),
        }
        for number, shape in enumerate(shapes)
    ]
    name = {"type": "name", "properties": {"name": CRS}}
    found = {"type": "FeatureCollection", "features": features, "crs": name}
    return _plain(found)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _shapes(document: Document) -> list[Any]:
    return [shapely.geometry.shape(feature["geometry"]) for feature in document["features"]]


def _inside(shape: Any, data: Document) -> Any:
    """Return the pixels whose centre a polygon holds, by GDAL; the one in which a point lies."""
    size = tuple(len(data["dimensions"][name]["values"]) for name in ("y", "x"))
    if shape.geom_type == "Point":
        col, row = ~_affine(data) @ (shape.x, shape.y)
        found = np.zeros(size, bool)
        found[int(row), int(col)] = True
        return found
    return geometry_mask([shape], size, _affine(data), invert=True)


def _aggregated(arguments: Document) -> Document:
    data, shapes = arguments["data"], _shapes(arguments["geometries"])
    values = gappy(data)
    name = next(iter(arguments["reducer"]["process_graph"].values()))["process_id"]
    function = {"mean": np.nanmean, "max": np.nanmax, "sum": np.nansum, "median": np.nanmedian}[
        name
    ]
    rows, counts = [], []
    for shape in shapes:
        pixels = values[..., _inside(shape, data)]
        rows.append(
            np.array(
                [
                    function(series) if (~np.isnan(series)).any() else np.nan
                    for series in pixels.reshape(-1, pixels.shape[-1])
                ]
            ).reshape(pixels.shape[:-1])
        )
        counts.append((np.full(pixels.shape[:-1], pixels.shape[-1]), (~np.isnan(pixels)).sum(-1)))
    dimensions = {
        "geometry": geometries(*(shape.wkt for shape in shapes)),
        **without(data, "y", "x"),
    }
    found = np.stack(rows)
    target = arguments.get("target_dimension")
    if target is None:
        return from_gappy(found, dimensions)
    total, valid = (np.stack([pair[k] for pair in counts]) for k in (0, 1))
    named = other("value", "total_count", "valid_count")
    return from_gappy(np.stack([found, total, valid], axis=-1), {**dimensions, target: named})


def _in_polygons(function: Any) -> Any:
    """Return the data with a function applied inside of polygons, `mask_value` outside of all."""

    def apply(arguments: Document) -> Document:
        data, outside = arguments["data"], arguments.get("mask_value")
        values = gappy(data)
        out = np.full(values.shape, np.nan if outside is None else float(outside))
        for shape in _shapes(arguments["geometries"]):
            inside = _inside(shape, data)
            out[..., inside] = function(values)[..., inside]
        return from_gappy(out, data["dimensions"])

    return apply


def _blurred(arguments: Document) -> Document:
    """Return means of 3 x 3 pixels with zeros beyond the border, by SciPy."""
    data = arguments["data"]
    values = gappy(data)
    kernel = np.full((3, 3), 1 / 9)
    found = [ndimage.correlate(layer, kernel, mode="constant") for layer in values]
    return from_gappy(np.stack(found), data["dimensions"])


def _blurred_apart(arguments: Document) -> Document:
    """Return the same with zeros beyond the border of each chunk of 3 x 3 pixels."""
    data = arguments["data"]
    values = gappy(data)
    out = np.zeros_like(values)
    for row in range(0, values.shape[1], 3):
        for col in range(0, values.shape[2], 3):
            part = (slice(None), slice(row, row + 3), slice(col, col + 3))
            for layer, target in zip(values[part], out[part], strict=True):
                target[:] = ndimage.correlate(layer, np.full((3, 3), 1 / 9), mode="constant")
    return from_gappy(out, data["dimensions"])


def _halved(arguments: Document) -> Document:
    return from_gappy(gappy(arguments["data"]) / 2, arguments["data"]["dimensions"])


BLUR = node("apply_kernel", data=parameter("data"), kernel=[[1, 1, 1]] * 3, factor=1 / 9)
HALF = node("apply", data=parameter("data"), process=node("divide", x=parameter("x"), y=2))
THREE = [{"dimension": "x", "value": 3, "unit": "px"}, {"dimension": "y", "value": 3, "unit": "px"}]
ONE = [{**size, "value": 1} for size in THREE]

CASES = {
    "aggregate_spatial": Cases(
        "GDAL's rasteriser (pixel centres) and NumPy",
        (
            *(
                Case(
                    f"{name} of polygons that overlap, and a point",
                    {
                        "data": DATA,
                        "geometries": geojson(LOW, HIGH, AROUND, POINT),
                        "reducer": reducer(name),
                    },
                    _aggregated,
                    delta=1e-6,
                )
                for name in ("mean", "max", "median")
            ),
            Case(
                "counts beside the mean",
                {
                    "data": DATA,
                    "geometries": geojson(LOW, HIGH),
                    "reducer": reducer("mean"),
                    "target_dimension": "result",
                },
                _aggregated,
                delta=1e-6,
            ),
            Case(
                "a dimension of that name",
                {
                    "data": DATA,
                    "geometries": geojson(LOW),
                    "reducer": reducer("mean"),
                    "target_dimension": "bands",
                },
                throws="TargetDimensionExists",
            ),
        ),
    ),
    "apply_polygon": Cases(
        "GDAL's rasteriser (pixel centres) and NumPy",
        (
            Case(
                "half the values in two polygons",
                {"data": DATA, "geometries": geojson(LOW, HIGH), "process": HALF},
                _in_polygons(lambda values: values / 2),
                delta=1e-6,
            ),
            Case(
                "another value outside",
                {"data": DATA, "geometries": geojson(LOW), "process": HALF, "mask_value": -1},
                _in_polygons(lambda values: values / 2),
                delta=1e-6,
            ),
            Case(
                "polygons with common pixels",
                {"data": DATA, "geometries": geojson(LOW, AROUND), "process": HALF},
                throws="GeometriesOverlap",
            ),
        ),
    ),
    "apply_neighborhood": Cases(
        "scipy.ndimage.correlate",
        (
            Case("per pixel", {"data": DATA, "process": HALF, "size": THREE}, _halved, delta=1e-6),
            Case(
                "a kernel within chunks",
                {"data": LAYER, "process": BLUR, "size": THREE},
                _blurred_apart,
                delta=1e-5,
            ),
            Case(
                "a kernel with an overlap",
                {"data": LAYER, "process": BLUR, "size": THREE, "overlap": ONE},
                _blurred,
                delta=1e-5,
            ),
            Case(
                "no such dimension",
                {"data": LAYER, "process": BLUR, "size": [*THREE, {"dimension": "z", "value": 1}]},
                throws="DimensionNotAvailable",
            ),
        ),
    ),
}
"""By process."""
