"""Sources: what to load, checked and in Terrazzo's own terms; the engine opens it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from terrazzo.errors import ArgumentInvalid, FormatUnsuitable, suggest
from terrazzo.geo.extent import SpatialExtent
from terrazzo.geo.times import Interval, parse_interval
from terrazzo.processes.cube_schemas import (
    BandNamesOrNull,
    CollectionExtent,
    CollectionId,
    Extent,
    InputFormat,
    InputOptions,
    PropertyFilters,
    TemporalExtent,
    Url,
)
from terrazzo.processes.filters import extent_of
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import Callback, Schema


@dataclass(frozen=True, slots=True, eq=False)
class LoadRequest:
    """What a source node asks for."""

    collection: str | None
    """Id of a collection of the catalogue; None where a URL is loaded."""
    url: str | None
    """URL of a STAC item, collection or API collection; None where a collection is loaded."""
    spatial: SpatialExtent | None
    """Where; None for all there is."""
    interval: Interval | None
    """When, half-open; None for all there is."""
    bands: tuple[str, ...] | None
    """Names or common names, in the order of the cube; None for all bands in their own order."""
    properties: Mapping[str, Callback]
    """Conditions on properties of items, called with `value`; all must hold."""


@dataclass(frozen=True, slots=True)
class FileRequest:
    """What a source node asks for that loads one file of geometries."""

    url: str
    """http or https."""
    format: str
    """One of `VECTOR_FORMATS`."""
    layer: str
    """Of a GeoPackage; empty for its first one."""
    crs: str
    """Of the coordinates, where the file does not say."""
    id: str
    """Attribute that names the geometries; empty for what the format has for it."""
    properties: tuple[str, ...]
    """Attributes that become values of the cube."""


VECTOR_FORMATS: Mapping[str, str] = {
    "GEOJSON": ".geojson",
    "GEOPARQUET": ".parquet",
    "PARQUET": ".parquet",
    "GPKG": ".gpkg",
}
"""Formats that `load_url` reads, and the suffix of their files."""

Loaded = Annotated[LoadRequest, Schema({"type": "object", "subtype": "datacube"})]
LoadedFile = Annotated[FileRequest, Schema({"type": "object", "subtype": "datacube"})]

_FILE_OPTIONS = ("properties", "id", "crs", "layer")
_COLLECTION = re.compile(r"[\w\-.~/]+")
_URL = re.compile(r"https?://\S+")


@process("load_collection", Role.SOURCE, categories=("cubes", "import"))
def load_collection(
    id: CollectionId,
    spatial_extent: CollectionExtent,
    temporal_extent: TemporalExtent,
    bands: BandNamesOrNull = None,
    properties: PropertyFilters = None,
) -> Loaded:
    """Load a collection of this catalogue.

    Values are physical: the stored number times the scale plus the offset that an item states for
    the band. Bands without a scale keep their numbers and type.

    Args:
        id: name of the collection.
        spatial_extent: bounding box (degrees unless `crs` says otherwise) or polygons; pixels
            stay whose centre is inside. Null loads everywhere.
        temporal_extent: start and end, end excluded; null at one end is unbounded. Null loads
            all dates.
        bands: names or common names, in the wanted order; null loads all of them.
        properties: conditions on item properties by name, each a callback of `value`; all of
            them must be true.

    Returns:
        (time, band, y, x) cube.

    Raises:
        NoDataAvailable: no item of the collection lies in the extents.
        TemporalExtentEmpty: the end is not after the start.

    Source:
        openEO process `load_collection` 2.0.0-rc.2.
    """
    if not _COLLECTION.fullmatch(str(id)):
        raise ArgumentInvalid(f"{id!r} cannot be the id of a collection: letters, digits, -_.~/.")
    return LoadRequest(
        id,
        None,
        None if spatial_extent is None else extent_of(spatial_extent),
        load_interval(temporal_extent),
        _bands(bands),
        dict(properties or {}),
    )


@process("load_stac", Role.SOURCE, categories=("cubes", "import"), experimental=True)
def load_stac(
    url: Url,
    spatial_extent: Extent = None,
    temporal_extent: TemporalExtent = None,
    bands: BandNamesOrNull = None,
    properties: PropertyFilters = None,
) -> Loaded:
    """Load the data that a STAC catalogue describes.

    Values are physical: the stored number times the scale plus the offset that an item states for
    the band. Bands without a scale keep their numbers and type.

    Args:
        url: http or https address of a STAC item, catalogue, collection or API collection.
        spatial_extent: bounding box (degrees unless `crs` says otherwise) or polygons; pixels
            stay whose centre is inside. Null loads everywhere.
        temporal_extent: start and end, end excluded; null at one end is unbounded. Null loads
            all dates.
        bands: names or common names, in the wanted order; null loads all of them.
        properties: conditions on item properties by name, each a callback of `value`; all of
            them must be true.

    Returns:
        (time, band, y, x) cube.

    Raises:
        NoDataAvailable: no item lies in the extents.
        TemporalExtentEmpty: the end is not after the start.
        AssetForbidden: the host of the address, or of a file, is not allowed.
        SourceUnreadable: the address gives no STAC document.

    Source:
        openEO process `load_stac`, proposal of 2.0.0-rc.2.
    """
    if not _URL.fullmatch(str(url)):
        raise ArgumentInvalid(f"{url!r} is no http or https address of a STAC document.")
    return LoadRequest(
        None,
        url,
        None if spatial_extent is None else extent_of(spatial_extent),
        load_interval(temporal_extent),
        _bands(bands),
        dict(properties or {}),
    )


@process("load_url", Role.SOURCE, categories=("cubes", "import"), experimental=True)
def load_url(
    url: Url,
    format: InputFormat,
    options: InputOptions = {},  # noqa: B006 - the openEO default; never written to
) -> LoadedFile:
    """Load one file of geometries from a URL.

    The file is read when the graph is looked at, before any pixel is. Every geometry becomes a
    label of the dimension `geometry`, and its attributes stay with it. Images are loaded with
    `load_stac` or from a collection, which know what their numbers mean.

    Args:
        url: http or https address on a host that may be read; redirects are not followed.
        format: `GeoJSON`, `GeoParquet` (or `Parquet`) or `GPKG`, in any case of letters.
        options: `properties`, a list of attributes whose values the cube shall hold, as for
            `load_geojson`; `id`, the attribute that names the geometries; `crs`, where the file
            names none; `layer` of a GeoPackage.

    Returns:
        (geometry, properties) vector cube; (geometry), without values, where no property is named.

    Raises:
        FormatUnsuitable: there is no such format, or the file is not in it.
        AssetForbidden: the host of the address is not allowed, or it redirects.
        SourceUnreadable: the address gives no file, or one that is too large.

    Source:
        openEO process `load_url`, proposal of 2.0.0-rc.2.
    """
    if not _URL.fullmatch(str(url)):
        raise ArgumentInvalid(f"{url!r} is no http or https address of a file.")
    name = str(format).upper()
    if name not in VECTOR_FORMATS:
        raise FormatUnsuitable(
            f"Files of format {format!r} are not loaded.{suggest(name, tuple(VECTOR_FORMATS))} "
            f"There are {', '.join(VECTOR_FORMATS)}. Images are loaded with `load_stac`."
        )
    unknown = [key for key in options if key not in _FILE_OPTIONS]
    if unknown:
        raise ArgumentInvalid(
            f"{format} has no option {unknown[0]!r}.{suggest(unknown[0], _FILE_OPTIONS)} Options: "
            f"{', '.join(_FILE_OPTIONS)}."
        )
    texts = {key: options.get(key) or "" for key in ("layer", "crs", "id")}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise ArgumentInvalid(f"Option `{key}` is a text, not {value!r}.")
    properties = options.get("properties") or ()
    if isinstance(properties, str) or not all(isinstance(one, str) for one in properties):
        raise ArgumentInvalid(f"Option `properties` is a list of names, not {properties!r}.")
    return FileRequest(str(url), name, **texts, properties=tuple(dict.fromkeys(properties)))


def load_interval(extent: Any) -> Interval | None:
    """Read a temporal extent; None stays None.

    Raises:
        ArgumentInvalid: it is no pair of times, or open at both ends.
        TemporalExtentEmpty: the end is not after the start.
    """
    if extent is None:
        return None
    if isinstance(extent, str) or not isinstance(extent, Sequence) or len(extent) != 2:  # noqa: PLR2004 - start and end
        raise ArgumentInvalid(f"A temporal extent is [start, end], not {extent!r}.")
    interval = parse_interval(*extent)
    if interval == (None, None):
        raise ArgumentInvalid(
            "A temporal extent may be open at one end only. Give null instead of [null, null] to "
            "load all dates."
        )
    return interval


def _bands(bands: Sequence[str] | None) -> tuple[str, ...] | None:
    if bands is None:
        return None
    if isinstance(bands, str) or not all(isinstance(band, str) for band in bands):
        raise ArgumentInvalid(f"Bands are a list of names, not {bands!r}.")
    if not bands:
        raise ArgumentInvalid("The list of bands is empty. Leave it out to load all bands.")
    return tuple(dict.fromkeys(bands))
