"""Filters: cubes with fewer pixels, dates, bands or labels, and the same values."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from terrazzo.cube import Cube, Kind
from terrazzo.cube.pixels import is_all_valid
from terrazzo.errors import (
    ArgumentInvalid,
    BandFilterParameterMissing,
    SpatialExtentEmpty,
)
from terrazzo.geo.extent import (
    SpatialExtent,
    extent_of_shapes,
    geojson_crs,
    geojson_features,
    spatial_extent,
)
from terrazzo.geo.times import contains, parse_filter, parse_time
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
from terrazzo.processes.geometries import inside_box
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
        found = extent_of_shapes(value.geometries.shapes, value.geometries.crs)
        if found.polygons is None or found.polygons.is_empty:
            raise SpatialExtentEmpty("The vector cube holds no polygon with an area.")
        return replace(found, bounds=found.polygons.bounds, marks=None)
    extent = spatial_extent(value)
    if extent is None:
        raise ArgumentInvalid("A bounding box or geometries are needed, not null.")
    return extent


def shapes_of(value: Any) -> SpatialExtent:
    """Return the extent of GeoJSON or of a vector cube: polygons, and the nearest pixels of others.

    Raises:
        ArgumentInvalid: it is neither.
        SpatialExtentEmpty: all geometries are empty.
    """
    if isinstance(value, SpatialExtent):
        return value
    if isinstance(value, Cube) and value.geometries is not None:
        return extent_of_shapes(value.geometries.shapes, value.geometries.crs)
    if isinstance(value, Mapping) and "west" not in value:
        shapes = [shape for shape, _ in geojson_features(value)]
        return extent_of_shapes(shapes, geojson_crs(value))
    return extent_of(value)


def crop_to_extent(arguments: Mapping[str, Any]) -> SpatialExtent:
    """Crop to the bounding box given as `extent`."""
    return extent_of(arguments["extent"])


def crop_to_geometries(arguments: Mapping[str, Any]) -> SpatialExtent:
    """Crop to the bounds of `geometries`."""
    return shapes_of(arguments["geometries"])


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

    A pixel stays where its centre is in the box or on its edge. A geometry of a vector cube stays
    if it lies within the box; empty ones go.

    Args:
        data: (..., y, x) raster, or vector cube.
        extent: west, south, east, north in degrees or in the EPSG code or WKT2 of `crs`; west
            above east crosses the antimeridian. `base` and `height` have no effect on cubes
            without a vertical dimension.

    Returns:
        The cube, cropped; pixels outside the box that remain in a block are no-data.

    Raises:
        SpatialExtentEmpty: the box holds no area, or no pixel of the cube.

    Source:
        openEO process `filter_bbox` 2.0.0-rc.2; OGC Simple Features.
    """
    wanted = extent_of(extent)
    if data.geometries is not None:
        return inside_box(data, wanted)
    if data.grid is None or data.window is None:
        raise ArgumentInvalid("The cube has neither pixels nor geometries to filter by a box.")
    return restricted(data, wanted.mask(data.grid, data.window))


@process(
    "filter_spatial",
    Role.CUBE,
    categories=("cubes", "filter"),
    rules=Rules(
        labels=same_labels,
        relays=True,
        crops=crop_to_geometries,
        once={"geometries": shapes_of},
        scratch=0.5,
    ),
)
def filter_spatial(data: RasterCube, geometries: GeometriesOrGeoJson) -> RasterCube:
    """Keep the pixels that belong to geometries, and crop to the bounds of all of them.

    To a polygon belong the pixels whose centre it holds, on its edge too; to a point the one
    whose centre is nearest; to a line those whose centres are nearest to a point of it.

    Args:
        data: (..., y, x) raster.
        geometries: GeoJSON (degrees, unless it says otherwise) or vector cube; empty geometries
            are ignored.

    Returns:
        The cube, cropped; no-data for pixels that belong to no geometry.

    Raises:
        SpatialExtentEmpty: there is no geometry, or none where the cube has pixels.

    Source:
        openEO process `filter_spatial` 2.0.0-rc.2; OGC Simple Features.
    """
    if data.grid is None or data.window is None:
        raise ArgumentInvalid("`filter_spatial` needs a raster cube; this one has no grid.")
    return restricted(data, shapes_of(geometries).mask(data.grid, data.window))


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
        ProcessParameterInvalid: an end is not a time, or both are null.
        DimensionNotAvailable: no temporal dimension has that name, or there is none.

    Source:
        openEO process `filter_temporal` 2.0.0-rc.2.
    """
    start, end = extent
    interval = parse_filter(start, end)
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
    """Keep the bands that are named or have a wavelength in a range; all others go.

    Args:
        data: cube with one dimension of type bands.
        bands: names, or common names such as `red`, which stand for all bands that have them. A
            band's own name comes before a common name.
        wavelengths: ranges [minimum, maximum] in micrometres, which hold a band if they hold its
            centre wavelength.

    Returns:
        The cube with these bands, in the order of `bands`, then of `wavelengths`; bands that
        one criterion finds keep their order. No band at all is possible.

    Raises:
        BandFilterParameterMissing: neither bands nor wavelengths are given.
        DimensionMissing: the cube has no dimension of type bands.

    Source:
        openEO process `filter_bands` 2.0.0-rc.2.
    """
    if not bands and not wavelengths:
        raise BandFilterParameterMissing(
            "`filter_bands` needs `bands`, a list of band names, or `wavelengths`, a list of "
            "ranges in micrometres."
        )
    dimension = data.only(Kind.BANDS)
    wanted = [position for name in bands for position in dimension.matching(name)]
    for low, high in wavelengths:
        if low > high:
            raise ArgumentInvalid(f"The wavelengths [{low}, {high}] end before they begin.")
        for position, label in enumerate(dimension.labels):
            known = dimension.facts.get(label)
            centre = known.wavelength_um if known is not None else None
            if centre is not None and low <= centre <= high:
                wanted.append(position)
    return data.take(dimension.name, list(dict.fromkeys(wanted)))


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
