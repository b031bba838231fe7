"""Resampling in space and time, windows: GDAL (through rasterio), xarray, NumPy."""

from __future__ import annotations

import math

import numpy as np
from affine import Affine
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.warp import reproject
from tests.vectors.documents import (
    CRS,
    PIXEL,
    Case,
    Cases,
    Document,
    arrays,
    bands,
    from_gappy,
    gappy,
    labelled,
    reducer,
    sample,
    space,
    space_at,
    time,
    with_labels,
    without,
)

METHODS = {
    "near": Resampling.nearest,
    "bilinear": Resampling.bilinear,
    "average": Resampling.average,
    "min": Resampling.min,
    "max": Resampling.max,
    "med": Resampling.med,
    "q1": Resampling.q1,
    "q3": Resampling.q3,
    "mode": Resampling.mode,
    "sum": Resampling.sum,
    "rms": Resampling.rms,
}
RASTER = sample({"bands": bands("red", "nir"), **space(8, 12)}, seed=2)
FULL = sample({"bands": bands("red"), **space(20, 24)}, seed=3, missing=0)
FEW = sample({**space(6, 6)}, seed=4, missing=0)
FEW["data"] = (np.array(FEW["data"]) // 30).tolist()
SMALL = sample({**space(5, 7)}, seed=5)


def _affine(document: Document) -> Affine:
    x, y = document["dimensions"]["x"]["values"], document["dimensions"]["y"]["values"]
    wide, high = x[1] - x[0], y[0] - y[1]
    return Affine(wide, 0, x[0] - wide / 2, 0, -high, y[0] + high / 2)


def warped(data: Document, space: dict[str, Document], method: str) -> Document:
    """Return a cube on other y and x, by GDAL."""
    dimensions = {**without(data, "x", "y"), **space}
    target = from_gappy(
        np.zeros([len(given["values"]) for given in dimensions.values()]), dimensions
    )
    values = gappy(data)
    layers = values.reshape(-1, *values.shape[-2:])
    found = np.full((len(layers), *np.array(target["data"]).shape[-2:]), np.nan)
    for layer, out in zip(layers, found, strict=True):
        reproject(
            layer,
            out,
            src_transform=_affine(data),
            src_crs=data["dimensions"]["x"]["reference_system"],
            dst_transform=_affine(target),
            dst_crs=space["x"]["reference_system"],
            src_nodata=np.nan,
            dst_nodata=np.nan,
            resampling=METHODS[method],
        )
    return from_gappy(found.reshape(*values.shape[:-2], *found.shape[-2:]), dimensions)


def _resampled(arguments: Document) -> Document:
    """Return the cube at another pixel size, the upper left corner kept."""
    data, given = arguments["data"], arguments["resolution"]
    wide, high = given if isinstance(given, list) else (given, given)
    place = _affine(data)
    rows, cols = (len(data["dimensions"][name]["values"]) for name in ("y", "x"))
    height, width = math.ceil(rows * -place.e / high), math.ceil(cols * place.a / wide)
    ys = [place.f - high * (row + 0.5) for row in range(height)]
    xs = [place.c + wide * (col + 0.5) for col in range(width)]
    return warped(data, space_at(ys, xs), arguments.get("method", "near"))


def _projected(arguments: Document) -> Document:
    """Return the cube in another CRS, on a lattice through its origin that holds all corners."""
    data, pixel = arguments["data"], arguments["resolution"]
    code = f"EPSG:{arguments['projection']}"
    place = _affine(data)
    rows, cols = (len(data["dimensions"][name]["values"]) for name in ("y", "x"))
    edges = np.linspace(0, 1, 41)
    border = [(e, s) for e in edges for s in (0, 1)] + [(s, e) for e in edges for s in (0, 1)]
    xs, ys = zip(*(place @ (cols * across, rows * down) for across, down in border), strict=True)
    there = Transformer.from_crs(CRS, code, always_xy=True).transform(xs, ys)
    left, right = (math.floor(min(there[0]) / pixel), math.ceil(max(there[0]) / pixel))
    bottom, top = (math.floor(min(there[1]) / pixel), math.ceil(max(there[1]) / pixel))
    target = space_at(
        [(row - 0.5) * pixel for row in range(top, bottom, -1)],
        [(col + 0.5) * pixel for col in range(left, right)],
        code,
    )
    return warped(data, target, arguments.get("method", "near"))


def _onto(arguments: Document) -> Document:
    data, target = arguments["data"], arguments["target"]
    place = {name: target["dimensions"][name] for name in ("y", "x")}
    return warped(data, place, arguments.get("method", "near"))


def _nearest(arguments: Document) -> Document:
    """Return for every target date the nearest one of the data, the earlier one of two."""
    data, target = arguments["data"], arguments["target"]
    there = labelled(target)["t"].values
    cube = labelled(data)
    days = np.timedelta64(1, "D")
    distance = np.abs((cube["t"].values[None, :] - there[:, None]) / days)
    limit, values = arguments.get("valid_within"), np.moveaxis(cube.values, 0, -1)
    out = np.full((len(there), *cube.shape[1:]), np.nan)
    for number, row in enumerate(distance):
        for place in np.ndindex(*cube.shape[1:]):
            pixel = values[place]
            usable = np.ones(len(row), bool) if limit is None else ~np.isnan(pixel) & (row < limit)
            if usable.any():
                out[(number, *place)] = pixel[np.argmin(np.where(usable, row, np.inf))]
    return from_gappy(out, with_labels(data, "t", target["dimensions"]["t"]["values"]))


def _coarser(arguments: Document) -> Document:
    """Return the windows' statistics by xarray's `coarsen`, which trims and pads at one side."""
    data, (wide, high) = arguments["data"], arguments["size"]
    align = arguments.get("align", "upper-left")
    sides = {
        "y": "right" if "lower" in align else "left",
        "x": "right" if "right" in align else "left",
    }
    windows = labelled(data).coarsen(
        y=high, x=wide, boundary=arguments.get("boundary", "pad"), side=sides
    )
    name = next(iter(arguments["reducer"]["process_graph"].values()))["process_id"]
    found = getattr(windows, name)()
    place = _affine(data)
    rows, cols = (len(data["dimensions"][axis]["values"]) for axis in ("y", "x"))
    lost_rows = (found.sizes["y"] * high - rows) if sides["y"] == "right" else 0
    lost_cols = (found.sizes["x"] * wide - cols) if sides["x"] == "right" else 0
    top, left = place.f + lost_rows * PIXEL, place.c - lost_cols * PIXEL
    ys = [top - PIXEL * high * (row + 0.5) for row in range(found.sizes["y"])]
    xs = [left + PIXEL * wide * (col + 0.5) for col in range(found.sizes["x"])]
    return from_gappy(found.values, {**without(data, "x", "y"), **space_at(ys, xs)})


def _reduced(arguments: Document) -> Document:
    name = next(iter(arguments["reducer"]["process_graph"].values()))["process_id"]
    found = getattr(labelled(arguments["data"]), name)(["y", "x"], skipna=True)
    return from_gappy(found.values, without(arguments["data"], "y", "x"))


def _trimmed(arguments: Document) -> Document:
    """Return the cube without what is empty at its borders, and without empty bands."""
    data = arguments["data"]
    values, valid = arrays(data)
    dimensions = dict(data["dimensions"])
    for axis, name in enumerate(data["order"]):
        rest = tuple(other for other in range(valid.ndim) if other != axis)
        held = np.flatnonzero(valid.any(axis=rest))
        regular = dimensions[name]["type"] in {"spatial", "temporal"}
        kept = np.arange(held[0], held[-1] + 1) if regular else held
        values, valid = values.take(kept, axis), valid.take(kept, axis)
        labels = [dimensions[name]["values"][index] for index in kept]
        dimensions[name] = {**dimensions[name], "values": labels}
    return from_gappy(np.where(valid, values, np.nan), dimensions)


def _hollow() -> Document:
    data = sample({"t": time(*DAYS[:3]), "bands": bands("red", "nir", "blue"), **space(5, 6)}, 7)
    values, valid = arrays(data)
    valid[0] = valid[:, 1] = False
    valid[..., :2, :] = valid[..., -1:] = valid[..., 3, :] = False
    valid[1, 0, 2, 1] = True
    return from_gappy(np.where(valid, values, np.nan), data["dimensions"])


DAYS = (
    "2020-01-01T00:00:00Z",
    "2020-01-05T00:00:00Z",
    "2020-01-09T12:00:00Z",
    "2020-01-20T00:00:00Z",
)
SERIES = sample({"t": time(*DAYS), **space(3, 4)}, seed=6, missing=0.4)
TARGET = sample(
    {
        "t": time("2020-01-03T00:00:00Z", "2020-01-08T00:00:00Z", "2020-02-01T00:00:00Z"),
        **space(1, 1),
    }
)
PLACED = space(6, 8, 15.0)

CASES = {
    "resample_spatial": Cases(
        "GDAL's warper through rasterio",
        (
            *(
                Case(
                    f"twice the pixel size by {method}",
                    {
                        "data": FEW if method == "mode" else RASTER,
                        "resolution": 20.0,
                        "method": method,
                    },
                    _resampled,
                    delta=1e-5,
                )
                for method in ("average", "min", "max", "med", "q1", "q3", "mode", "sum", "rms")
            ),
            Case("a third of the pixel size", {"data": RASTER, "resolution": 10 / 3}, _resampled),
            Case(
                "wide pixels",
                {"data": RASTER, "resolution": [30.0, 10.0], "method": "average"},
                _resampled,
                delta=1e-5,
            ),
            Case(
                "another projection",
                {"data": FULL, "resolution": 10.0, "projection": 3035},
                _projected,
            ),
            Case("neither size nor projection", {"data": RASTER}, throws="ProcessParameterInvalid"),
        ),
    ),
    "resample_cube_spatial": Cases(
        "GDAL's warper through rasterio",
        (
            Case(
                "nearest pixels of another pixel size",
                {"data": RASTER, "target": sample(PLACED)},
                _onto,
            ),
            Case(
                "averages",
                {"data": RASTER, "target": sample(space(4, 6, 20.0)), "method": "average"},
                _onto,
                delta=1e-5,
            ),
        ),
    ),
    "resample_cube_temporal": Cases(
        "a loop over pixels and dates",
        (
            Case("nearest dates, the earlier of two", {"data": SERIES, "target": TARGET}, _nearest),
            Case(
                "nearest valid values within four days",
                {"data": SERIES, "target": TARGET, "dimension": "t", "valid_within": 4},
                _nearest,
            ),
            Case(
                "no such dimension",
                {"data": SERIES, "target": TARGET, "dimension": "when"},
                throws="DimensionNotAvailable",
            ),
            Case(
                "not temporal",
                {"data": SERIES, "target": TARGET, "dimension": "x"},
                throws="DimensionMismatch",
            ),
            Case(
                "nothing temporal in common",
                {"data": SERIES, "target": sample(space(1, 1))},
                throws="DimensionMismatch",
            ),
        ),
    ),
    "aggregate_spatial_window": Cases(
        "xarray's coarsen",
        tuple(
            Case(
                f"{process} of {size[0]} x {size[1]}, {boundary}, {align}",
                {
                    "data": SMALL,
                    "reducer": reducer(process),
                    "size": size,
                    "boundary": boundary,
                    "align": align,
                },
                _coarser,
                delta=1e-6,
            )
            for process, size, boundary, align in (
                ("mean", [2, 2], "pad", "upper-left"),
                ("max", [3, 2], "trim", "upper-left"),
                ("min", [3, 2], "pad", "lower-right"),
                ("median", [2, 3], "trim", "lower-right"),
                ("max", [3, 3], "pad", "upper-right"),
                ("mean", [7, 5], "pad", "upper-left"),
            )
        ),
    ),
    "reduce_spatial": Cases(
        "xarray's reductions",
        tuple(
            Case(
                f"the {process} of all pixels",
                {"data": data, "reducer": reducer(process)},
                _reduced,
                delta=1e-6,
            )
            for process, data in (
                ("mean", SERIES),
                ("max", RASTER),
                ("median", RASTER),
                ("min", SMALL),
            )
        ),
    ),
    "trim_cube": Cases(
        "NumPy",
        (
            Case("empty borders, dates and bands", {"data": _hollow()}, _trimmed),
            Case("nothing is empty", {"data": RASTER}, _trimmed),
        ),
    ),
}
"""By process."""
