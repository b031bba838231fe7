"""Geometries of vector cubes as user code gets them: a GeoDataFrame. Runs in a worker.

Source: openEO Python client 0.53, `openeo.udf.udf_signatures.apply_vectorcube`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from terrazzo.sandbox.unusable import Unusable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GEOMETRY = "geometry"


def frame_of(told: Mapping[str, Any]) -> Any:
    """Return a GeoDataFrame of the geometries and their properties, numbered from 0."""
    import geopandas as gpd  # noqa: PLC0415 - takes long, and few need it
    import pandas as pd  # noqa: PLC0415
    import shapely  # noqa: PLC0415

    shapes = shapely.from_wkb([bytes.fromhex(text) for text in told["wkb"]])
    properties = pd.DataFrame(list(told["properties"]), index=range(len(shapes)))
    return gpd.GeoDataFrame(
        properties.drop(columns="geometry", errors="ignore"), geometry=shapes, crs=told["crs"]
    )


def numbered(array: Any, dimensions: Sequence[Mapping[str, Any]]) -> Any:
    """Return a cube whose geometries are numbered like the rows of their table."""
    name = _dimension(dimensions)["name"]
    return array.assign_coords({name: np.arange(array.sizes[name])})


def renamed(made: Any, given: Any, cube: Any, dimensions: Sequence[Mapping[str, Any]]) -> Any:
    """Return what came back with the labels of its geometries.

    Raises:
        Unusable: the table and the cube have other geometries than were given.
    """
    if not isinstance(cube, xr.DataArray):
        raise Unusable(
            "`apply_vectorcube` must return its geometries and an xarray.DataArray, and it returns "
            f"{type(cube).__name__}."
        )
    dimension = _dimension(dimensions)
    name = str(dimension["name"])
    if name not in cube.dims:
        return cube
    rows = cube.coords[name].to_numpy().tolist() if name in cube.coords else []
    if not rows and cube.sizes[name] == len(given):
        rows = list(range(len(given)))
    index = list(getattr(made, "index", ()))
    known = all(type(row) is int and 0 <= row < len(given) for row in rows)
    if not known or rows != index or not _is_same(made, given.loc[rows]):
        raise Unusable(
            "`apply_vectorcube` must return the geometries that it gets, or some of them, as they "
            "are, and a cube with the same numbers. Change geometries with `vector_buffer` or "
            "`vector_reproject`, and return what you compute for them in the cube."
        )
    labels = dimension.get("labels") or list(range(len(given)))
    return cube.assign_coords({name: [labels[row] for row in rows]})


def _is_same(made: Any, given: Any) -> bool:
    if list(getattr(made, "columns", ())) != list(given.columns):
        return False
    same = made.geometry.geom_equals_exact(given.geometry, 0)
    return bool(same.all()) and made.drop(columns=_GEOMETRY).equals(given.drop(columns=_GEOMETRY))


def _dimension(dimensions: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return next(dimension for dimension in dimensions if dimension["kind"] == "geometry")
