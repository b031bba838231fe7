"""Sources: what to load, checked and in Terrazzo's own terms; the engine opens it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from terrazzo.errors import ArgumentInvalid, FormatUnsuitable, suggest
from terrazzo.geo.extent import SpatialExtent
from terrazzo.geo.times import Interval, parse_interval
from terrazzo.processes.cube_schemas import (
    BandNamesOrNull,
    CollectionExtent,
    CollectionId,
    Extent,
    FilePaths,
    InputFormat,
    InputOptions,
    PropertyFilters,
    TemporalExtent,
    Url,
)
from terrazzo.processes.filters import extent_of
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import Callback, Schema


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Which files of the user a source node asks for, and what they lack."""

    paths: tuple[str, ...]
    """As the user's list of files has them."""
    format: str
    """One of `IMAGE_FORMATS` or `UPLOAD_FORMATS`."""
    datetime: str = ""
    """Instant or period of all of them, where they name none."""
    bands: tuple[str, ...] = ()
    """Names of the bands of each, instead of their own."""


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
    uploaded: Uploaded | None = None
    """Files of the user, where neither a collection nor a URL is loaded."""


@dataclass(frozen=True, slots=True)
class FileRequest:
    """What a source node asks for that loads files of geometries."""

    url: str
    """http or https; empty where files of the user are loaded."""
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
    uploaded: Uploaded | None = None
    """Files of the user, where no URL is loaded."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.uploaded.paths[0] if self.uploaded is not None else self.url


VECTOR_FORMATS: Mapping[str, str] = {
    "GEOJSON": ".geojson",
    "GEOPARQUET": ".parquet",
    "PARQUET": ".parquet",
    "GPKG": ".gpkg",
}
"""Formats that `load_url` reads, and the suffix of their files."""
UPLOAD_FORMATS: Mapping[str, str] = {**VECTOR_FORMATS, "ESRI SHAPEFILE": ".shp"}
"""Formats of geometries that `load_uploaded_files` reads, and the suffix of their files."""
IMAGE_FORMATS = ("GTIFF", "JP2OPENJPEG", "NETCDF", "GRIB")
"""Formats of images that `load_uploaded_files` reads; each may be in a zip archive."""

Loaded = Annotated[LoadRequest, Schema({"type": "object", "subtype": "datacube"})]
LoadedUpload = Annotated[
    LoadRequest | FileRequest, Schema({"type": "object", "subtype": "datacube"})
]
LoadedFile = Annotated[FileRequest, Schema({"type": "object", "subtype": "datacube"})]

_FILE_OPTIONS = ("properties", "id", "crs", "layer")
_IMAGE_OPTIONS = ("datetime", "bands")
_MOST_PATHS = 1000
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
    the band. Bands without a scale keep their numbers and type. A collection of geometries becomes
    a vector cube, whose geometries keep all their attributes.

    Args:
        id: name of the collection.
        spatial_extent: bounding box (degrees unless `crs` says otherwise) or polygons; pixels
            stay whose centre is inside, and geometries that lie within as a whole. Null loads
            everywhere.
        temporal_extent: start and end, end excluded; null at one end is unbounded. Null loads
            all dates. Geometries are chosen by their items, and by the attribute of dates if the
            collection was made with one.
        bands: names or common names, in the wanted order; null loads all of them. Of geometries
            the attributes that become values; null loads the geometries without values.
        properties: conditions on item properties, or on attributes of geometries, by name, each a
            callback of `value`; all of them must be true.

    Returns:
        (time, band, y, x) cube; of geometries (geometry, properties), or (geometry).

    Raises:
        NoDataAvailable: no item, or geometry, of the collection lies in the extents.
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
    return _file_request(str(url), name, options)


@process("load_uploaded_files", Role.SOURCE, categories=("cubes", "import"), experimental=True)
def load_uploaded_files(
    paths: FilePaths,
    format: InputFormat,
    options: InputOptions = {},  # noqa: B006 - the openEO default; never written to
) -> LoadedUpload:
    """Load files that you have uploaded.

    A file is recognised by its first bytes, and read in a closed process that sees nothing else.
    Images become a raster cube like a collection that was ingested from the same files: dates,
    bands, scale, offset, no-data and projection are those of the files. Geometries become a vector
    cube, as `load_url` makes them.

    Args:
        paths: of your files, as `GET /files` lists them. A `.zip` of files is unpacked.
        format: `GTiff`, `JP2OpenJPEG`, `netCDF` or `GRIB`; or `GeoJSON`, `GeoParquet` (or
            `Parquet`), `GPKG` or `ESRI Shapefile`, in any case of letters.
        options: of images `datetime`, an instant or `start/end`, where the files name none, and
            `bands`, names instead of their own; of geometries the options of `load_url`.

    Returns:
        (time, band, y, x) cube of images; (geometry, properties) vector cube of geometries.

    Raises:
        FileNotFound: you have no such file.
        FormatUnsuitable: there is no such format, or a file is not in it.
        SourceUnreadable: a file is damaged, or becomes too large.
        AssetForbidden: a file points to other files.

    Source:
        openEO process `load_uploaded_files`, proposal of 2.0.0-rc.2.
    """
    if isinstance(paths, str) or not paths or not all(isinstance(one, str) for one in paths):
        raise ArgumentInvalid(f"`paths` is a list of names of your files, not {paths!r:.100}.")
    if len(paths) > _MOST_PATHS:
        raise ArgumentInvalid(f"{len(paths):,} files are named; {_MOST_PATHS:,} may be at once.")
    name, known = str(format).upper(), (*IMAGE_FORMATS, *UPLOAD_FORMATS)
    if name not in known:
        raise FormatUnsuitable(
            f"Files of format {format!r:.60} are not loaded.{suggest(name, known)} There are "
            f"{', '.join(known)}."
        )
    uploaded = Uploaded(tuple(_relative(path) for path in paths), name)
    if name in UPLOAD_FORMATS:
        return replace(_file_request("", name, options), uploaded=uploaded)
    _check_options(name, options, _IMAGE_OPTIONS)
    datetime = options.get("datetime") or ""
    if not isinstance(datetime, str):
        raise ArgumentInvalid(f"Option `datetime` is a text, not {datetime!r:.60}.")
    bands = _names("bands", options)
    return LoadRequest(
        None, None, None, None, None, {}, replace(uploaded, datetime=datetime, bands=bands)
    )


def _relative(path: str) -> str:
    """Return a path without what means the user's own folder."""
    return path.removeprefix("./").removeprefix("/")


def _file_request(url: str, name: str, options: Mapping[str, Any]) -> FileRequest:
    _check_options(name, options, _FILE_OPTIONS)
    texts = {key: options.get(key) or "" for key in ("layer", "crs", "id")}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise ArgumentInvalid(f"Option `{key}` is a text, not {value!r}.")
    properties = _names("properties", options)
    return FileRequest(url, name, texts["layer"], texts["crs"], texts["id"], properties)


def _check_options(format: str, options: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = [key for key in options if key not in known]
    if unknown:
        raise ArgumentInvalid(
            f"{format} has no option {unknown[0]!r}.{suggest(unknown[0], known)} Options: "
            f"{', '.join(known)}."
        )


def _names(option: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    names = options.get(option) or ()
    if isinstance(names, str) or not all(isinstance(one, str) for one in names):
        raise ArgumentInvalid(f"Option `{option}` is a list of names, not {names!r}.")
    return tuple(dict.fromkeys(names))


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
