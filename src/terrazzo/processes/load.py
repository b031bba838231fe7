"""Sources: what to load, checked and in Terrazzo's own terms; the engine opens it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.extent import SpatialExtent
from terrazzo.geo.times import Interval, parse_interval
from terrazzo.processes.cube_schemas import (
    BandNamesOrNull,
    CollectionExtent,
    CollectionId,
    Extent,
    PropertyFilters,
    StacUrl,
    TemporalExtent,
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


Loaded = Annotated[LoadRequest, Schema({"type": "object", "subtype": "datacube"})]

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
    url: StacUrl,
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
