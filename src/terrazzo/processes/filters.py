"""Filters: cubes with fewer pixels, dates, bands or labels, and the same values."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import shapely

from terrazzo.cube import Cube, Kind
from terrazzo.cube.pixels import is_all_valid
from terrazzo.errors import (
    ArgumentInvalid,
    BandFilterParameterMissing,
)
from terrazzo.geo.extent import SpatialExtent, spatial_extent
from terrazzo.geo.times import contains, parse_interval, parse_time
from terrazzo.processes.cube_schemas import (
    BandNames,
    BandsCube,
    BoundingBox,
    GeometriesOrGeoJson,
    LabelCondition,
    RasterOrVectorCube,
    TemporalCube,
    TemporalInterval,
    Text,
    TextOrNull,
    Wavelengths,
)
from terrazzo.processes.labels import kept_labels, labelled_dimension, temporal_dimension
from terrazzo.processes.operands import all_of
from terrazzo.processes.registry import Role, Rules, process, same_labels
from terrazzo.processes.returned import is_true
from terrazzo.processes.schemas import AnyCube, Context, RasterCube


def extent_of(value: Any) -> SpatialExtent:
    """Return the extent that a bounding box, GeoJSON or vector cube stands for.

    Raises:
        ArgumentInvalid: it is none of them.
        SpatialExtentEmpty: it holds no area.
    """
    if isinstance(value, Cube):
        if value.geometries is None:
            raise ArgumentInvalid(
                f"A vector cube or GeoJSON is needed; the cube given has the dimensions "
                f"{', '.join(value.names)} and no geometries. Load them with `load_geojson`."
            )
        union = shapely.union_all(shapely.make_valid(list(value.geometries.shapes)))
        value = SpatialExtent(union.bounds, value.geometries.crs, union)
    extent = spatial_extent(value)
    if extent is None:
        raise ArgumentInvalid("A bounding box or geometries are needed, not null.")
    return extent


def crop_to_extent(arguments: Mapping[str, Any]) -> SpatialExtent:
    """Crop to the bounding box given as `extent`."""
    return extent_of(arguments["extent"])


def crop_to_geometries(arguments: Mapping[str, Any]) -> SpatialExtent:
    """Crop to the bounds of `geometries`."""
    return extent_of(arguments["geometries"])


def restricted(data: Cube, inside: np.ndarray[Any, np.dtype[np.bool_]]) -> Cube:
    """Return the cube with only those pixels valid that are inside.

    Args:
        data: (..., y, x).
        inside: (y, x), True where pixels stay.
    """
    if is_all_valid(inside):
        return data
    return replace(data, valid=all_of(data.values.shape, data.valid, inside))


@process(
    "filter_bbox",
    Role.CUBE,
    categories=("cubes", "filter"),
    rules=Rules(
        labels=kept_labels,
        relays=True,
        crops=crop_to_extent,
        once={"extent": extent_of},
        scratch=0.5,
    ),
)
def filter_bbox(data: RasterOrVectorCube, extent: BoundingBox) -> RasterOrVectorCube:
    """Keep what lies in a bounding box.

    A pixel stays where its centre is in the box; its left and lower edge belong to it, the right
    and upper one do not. A geometry of a vector cube stays if all of it is in the box.

    Args:
        data: (..., y, x) raster, or vector cube.
        extent: west, south, east, north in degrees or in the EPSG code or WKT2 of `crs`; west
            above east crosses the antimeridian. `base` and `height` have no effect on cubes
            without a vertical dimension.

    Returns:
        The cube, cropped; pixels outside the box that remain in a block are no-data.

    Raises:
        SpatialExtentEmpty: the box holds no area.

    Source:
        openEO process `filter_bbox` 2.0.0-rc.2.
    """
    wanted = extent_of(extent)
    if data.geometries is not None:
        return _within(data, wanted)
    if data.grid is None or data.window is None:
        raise ArgumentInvalid("The cube has neither pixels nor geometries to filter by a box.")
    return restricted(data, wanted.mask(data.grid, data.window))


def _within(data: Cube, extent: SpatialExtent) -> Cube:
    held = data.geometries
    if held is None:
        return data
    if extent.crs != held.crs:
        raise ArgumentInvalid(
            f"The geometries are in {held.crs[:40]}; give the bounding box in that CRS too."
        )
    region = extent.geometry()
    kept = [
        index
        for index, shape in enumerate(held.shapes)
        if not shape.is_empty and region.covers(shape)
    ]
    chosen = replace(
        held,
        shapes=tuple(held.shapes[index] for index in kept),
        properties=tuple(held.properties[index] for index in kept),
    )
    return replace(data.take(data.only(Kind.GEOMETRY).name, kept), geometries=chosen)


@process(
    "filter_spatial",
    Role.CUBE,
    categories=("cubes", "filter"),
    rules=Rules(
        labels=same_labels,
        relays=True,
        crops=crop_to_geometries,
        once={"geometries": extent_of},
        scratch=0.5,
    ),
)
def filter_spatial(data: RasterCube, geometries: GeometriesOrGeoJson) -> RasterCube:
    """Keep the pixels whose centre is in a polygon, and crop to the bounds of all polygons.

    Args:
        data: (..., y, x) raster.
        geometries: polygons as GeoJSON (degrees, unless it says otherwise) or as vector cube.

    Returns:
        The cube, cropped; no-data where no polygon holds the centre of the pixel.

    Raises:
        SpatialExtentEmpty: there is no polygon with an area.

    Source:
        openEO process `filter_spatial` 2.0.0-rc.2; OGC Simple Features.
    """
    if data.grid is None or data.window is None:
        raise ArgumentInvalid("`filter_spatial` needs a raster cube; this one has no grid.")
    return restricted(data, extent_of(geometries).mask(data.grid, data.window))


@process(
    "filter_temporal",
    Role.CUBE,
    categories=("cubes", "filter"),
    rules=Rules(labels=kept_labels, relays=True, scratch=0.0),
)
def filter_temporal(
    data: TemporalCube, extent: TemporalInterval, dimension: TextOrNull = None
) -> TemporalCube:
    """Keep the dates of an interval, start <= date < end.

    Args:
        data: cube with at least one temporal dimension.
        extent: start and end, RFC 3339 or dates (midnight UTC); null is unbounded, at one end.
        dimension: temporal dimension to filter; null filters all of them.

    Returns:
        The cube with fewer dates; none at all is possible.

    Raises:
        TemporalExtentEmpty: the end is not after the start.
        DimensionNotAvailable: no temporal dimension has that name, or there is none.

    Source:
        openEO process `filter_temporal` 2.0.0-rc.2.
    """
    start, end = extent
    interval = parse_interval(start, end)
    if dimension is None and any(d.kind is Kind.TEMPORAL for d in data.dimensions):
        chosen = [d for d in data.dimensions if d.kind is Kind.TEMPORAL]
    else:
        chosen = [temporal_dimension(data, dimension)]
    for temporal in chosen:
        inside = [
            index
            for index, label in enumerate(temporal.labels)
            if contains(interval, parse_time(str(label)))
        ]
        data = data.take(temporal.name, inside)
    return data


@process(
    "filter_bands",
    Role.CUBE,
    categories=("cubes", "filter"),
    rules=Rules(labels=kept_labels, relays=True, scratch=1.0),
)
def filter_bands(
    data: BandsCube,
    bands: BandNames = [],  # noqa: B006 - the openEO default; never written to
    wavelengths: Wavelengths = [],  # noqa: B006 - the openEO default; never written to
) -> BandsCube:
    """Keep the bands that are named, in the order in which they are named.

    Args:
        data: cube with one dimension of type bands.
        bands: names of bands.
        wavelengths: ranges in micrometres. Cubes do not know the wavelengths of their bands, so
            anything but an empty list is refused.

    Returns:
        The cube with these bands.

    Raises:
        BandFilterParameterMissing: neither bands nor wavelengths are given.
        BandNotFound: no band has one of the names; lists the bands that there are.
        DimensionMissing: the cube has no dimension of type bands.

    Source:
        openEO process `filter_bands` 2.0.0-rc.2.
    """
    if not bands and not wavelengths:
        raise BandFilterParameterMissing("`filter_bands` needs `bands`, a list of band names.")
    dimension = data.only(Kind.BANDS)
    if wavelengths:
        raise ArgumentInvalid(
            "The wavelengths of these bands are not known. Name the bands instead; here are "
            f"{', '.join(map(str, dimension.labels))}."
        )
    wanted = [b for b in dict.fromkeys(bands) if data.has_all_labels or b in dimension.labels]
    return data.take(dimension.name, [dimension.index(band) for band in wanted])


@process(
    "filter_labels",
    Role.CUBE,
    categories=("cubes", "filter"),
    rules=Rules(labels=kept_labels, relays=True, scratch=1.0),
)
def filter_labels(
    data: AnyCube, condition: LabelCondition, dimension: Text, context: Context = None
) -> AnyCube:
    """Keep the labels of a dimension that meet a condition.

    Args:
        data: any cube.
        condition: called with each label as `value`; keeps it on true.
        dimension: name of a dimension that has labels, which x and y do not.
        context: passed on to `condition`.

    Returns:
        The cube with fewer labels; none at all is possible.

    Raises:
        DimensionNotAvailable: no dimension has that name.

    Source:
        openEO process `filter_labels` 2.0.0-rc.2.
    """
    labelled = labelled_dimension(data, dimension)
    kept = [
        index
        for index, label in enumerate(labelled.labels)
        if is_true(condition(value=label, context=context))
    ]
    return data.take(dimension, kept)
