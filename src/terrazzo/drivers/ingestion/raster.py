"""GeoTIFF and JPEG 2000 files as items: read where they are, or copied as COGs."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog import BandInfo, make_asset
from terrazzo.drivers.ingestion.items import (
    Draft,
    FoundFile,
    Given,
    IngestOptions,
    Made,
    Period,
    Target,
    band_info,
    build_item,
    transform_of,
)
from terrazzo.drivers.ingestion.names import date_id, date_in, date_of_tags, read_name, safe_name
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import format_time
from terrazzo.storage.ingest_support import check_whole, copy_as_cog, file_facts
from terrazzo.storage.raster import describe, describe_for_item

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from terrazzo.geo.grid import Grid
    from terrazzo.storage.gate import AssetName
    from terrazzo.storage.headers import RasterInfo
    from terrazzo.storage.ingest_support import FileFacts

SMALL_PIXELS: Final = 2048 * 2048
"""An image of at most so many pixels is read in place without internal tiles or overviews."""
_OPEN: Final = Period(datetime(1970, 1, 1, tzinfo=UTC))
_NAME: Final = re.compile(r"[\w.+-]{1,64}")
_TYPES: Final = {
    "COG": "image/tiff; application=geotiff; profile=cloud-optimized",
    "GTiff": "image/tiff; application=geotiff",
    "JP2OpenJPEG": "image/jp2",
}


@dataclass(frozen=True, slots=True)
class RasterFile:
    """An image file and what is known of it."""

    found: FoundFile
    """The file."""
    opened: AssetName
    """What readers take."""
    info: RasterInfo
    """What it says about its pixels."""
    media_type: str
    """Its media type."""
    bands: tuple[BandInfo, ...]
    """Its bands, without an alpha band at the end."""
    item: str
    """Id of the item that it belongs to."""
    when: Period
    """Its instant or period."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """More of its item's properties."""

    @property
    def shown(self) -> str:
        """Its name for messages."""
        return self.found.name


Part = RasterFile | Draft
"""What readers of formats give: an image, which goes into an item with others of its name, or an
item to be."""


def read(found: FoundFile, given: Given) -> list[Part]:
    """Look at an image file without decoding it (but for `options.verify`).

    Raises:
        SourceUnreadable: damaged, cut short, without georeference, or rotated.
        ArgumentInvalid: no date, names that do not fit, or an image that is slow to read in place.
        AssetForbidden: its name cannot be opened, or it is a link that leaves its folder.
    """
    options, pattern = given.options, given.pattern
    opened, info, facts = _looked_at(found, options)
    parts = read_name(found.name, pattern)
    when = _when(parts.date, options, facts.tags, stated=parts.stated)
    item = parts.item
    if date_in(item) is None:
        item = "_".join(filter(None, (item, date_id(when.start))))
    media_type = _TYPES["COG" if facts.is_cog else opened.driver]
    bands = _bands(info, options, parts.band, stated=pattern is not None and bool(parts.band))
    return [RasterFile(found, opened, info, media_type, bands, safe_name(item), when)]


def image_of(found: FoundFile, options: IngestOptions) -> RasterFile:
    """Look at an image of a product, whose metadata say what it shows and when.

    Returns:
        The image with the bands that its own header states; its item and instant are still open.

    Raises:
        SourceUnreadable: damaged, cut short, without georeference, or rotated.
        ArgumentInvalid: an image that is slow to read in place.
        AssetForbidden: its name cannot be opened, or it is a link that leaves its folder.
    """
    opened, info, facts = _looked_at(found, options)
    bands = _bands(info, replace(options, bands=()), "", stated=False)
    media_type = _TYPES["COG" if facts.is_cog else opened.driver]
    return RasterFile(found, opened, info, media_type, bands, "", _OPEN)


def _looked_at(found: FoundFile, options: IngestOptions) -> tuple[AssetName, RasterInfo, FileFacts]:
    opened = found.gate.open_name(str(found.path), item=found.path.name)
    info = describe(opened)
    check_whole(opened, decode=options.verify)
    if not options.copy:
        _check_layout(found, info)
    return opened, info, file_facts(opened)


def _check_layout(found: FoundFile, info: RasterInfo) -> None:
    """Refuse an image of which a small window cannot be read without much of the rest.

    Raises:
        ArgumentInvalid: it is large and has no internal tiles or no overviews.
    """
    grid = info.grid
    if grid.height * grid.width <= SMALL_PIXELS:
        return
    lacks = [] if info.overviews else ["overviews"]
    if info.block[1] >= grid.width:
        lacks.insert(0, "internal tiles")
    if lacks:
        raise ArgumentInvalid(
            f"{found.path.name} has {grid.height} x {grid.width} pixels and no "
            f"{' and no '.join(lacks)}, so every map tile would read all of it. Ingest it with "
            "--copy, which makes a COG of it."
        )


def _when(
    named: datetime | None, options: IngestOptions, tags: Mapping[str, str], *, stated: bool
) -> Period:
    """Return the date of a file: the user's, its pattern's, its metadata's, its name's.

    Raises:
        ArgumentInvalid: there is none.
    """
    if options.datetime:
        return Period.of(options.datetime)
    found = named if stated else date_of_tags(tags) or named
    if found is None:
        raise ArgumentInvalid(
            "it has no date, neither in its metadata (TIFFTAG_DATETIME) nor in its name "
            "(YYYY-MM-DD, YYYYMMDD or YYYYDDD). State it with --datetime 2018-05-01, or say where "
            "it is in the name with --pattern."
        )
    return Period(found)


def _bands(
    info: RasterInfo, options: IngestOptions, suffix: str, *, stated: bool
) -> tuple[BandInfo, ...]:
    """Describe the bands; names are the user's, the file's, that in its name, or numbered."""
    count = len(info.dtypes)
    if info.alpha == count and count > 1:
        count -= 1
    told = tuple(info.descriptions[:count])
    proper = all(_NAME.fullmatch(text) for text in told) and len(set(told)) == count
    if options.bands:
        names = options.bands
    elif count == 1 and suffix and (stated or not proper):
        names = (suffix,)
    elif proper:
        names = told
    else:
        names = tuple(f"band{number}" for number in range(1, count + 1))
    if len(names) != count or len(set(names)) != count:
        raise ArgumentInvalid(
            f"it has {count} bands and --bands names {len(names)} ({', '.join(names)}). Give one "
            "name, each different, per band."
        )
    return tuple(
        band_info(
            name, info.grid, options, dtype=info.dtypes[i], nodata=info.nodata[i],
            scale=info.scales[i], offset=info.offsets[i], description=told[i],
        )
        for i, name in enumerate(names)
    )  # fmt: skip


def raster_drafts(
    files: Sequence[RasterFile], options: IngestOptions, target: Target
) -> tuple[list[Draft], dict[str, str]]:
    """Put the files that belong together into one item each.

    Files of one item share its id, are of one day, and have different bands. The item has the
    earliest of their instants.

    Returns:
        The items to be, in order of their dates; and of files that do not fit, name and reason.
    """
    groups: dict[str, list[RasterFile]] = defaultdict(list)
    failed: dict[str, str] = {}
    for file in sorted(files, key=lambda f: (f.when.start, f.found.name)):
        group = groups[file.item]
        reason = _misfit(file, group)
        if reason:
            failed[file.found.name] = reason
        else:
            group.append(file)
    drafts = []
    for name, group in groups.items():
        roots = () if options.copy else tuple(dict.fromkeys(f.found.root for f in group))
        make = partial(_make, name, tuple(group), options, target)
        drafts.append(Draft(name, group[0].found.name, make, roots))
    return drafts, failed


def _misfit(file: RasterFile, group: Sequence[RasterFile]) -> str:
    """Say why a file cannot be in an item with others; empty if it can."""
    names = {band.name for band in file.bands}
    for other in group:
        advice = "Tell the items apart with --pattern and a group (?P<item>...)."
        if abs(file.when.start - other.when.start) >= timedelta(days=1):
            return (
                f"it belongs to item {file.item!r} by its name, as {other.found.name} does, but is "
                f"of {format_time(file.when.start)} and not of {format_time(other.when.start)}. "
                f"{advice}"
            )
        shared = names & {band.name for band in other.bands}
        if shared:
            return (
                f"item {file.item!r} has {', '.join(sorted(shared))} already, from "
                f"{other.found.name}. {advice} Bands are named by a group (?P<band>...) or --bands."
            )
    return ""


def _make(
    name: str,
    group: Sequence[RasterFile],
    options: IngestOptions,
    target: Target,
    previous: Mapping[str, Any] | None,
) -> Made:
    """Make the item of a group of files."""
    assets: dict[str, dict[str, Any]] = {}
    wrote = False
    before: Mapping[str, Any] = (previous or {}).get("assets") or {}
    for file in group:
        key = safe_name(file.bands[0].name if len(file.bands) == 1 else "data")
        if key in assets:
            key = safe_name(file.found.path.stem)
        if options.copy:
            assets[key], copied = _copied(file, target, target.path(name, key), before.get(key))
            wrote |= copied
        else:
            assets[key] = _in_place(file)
    grids: list[Grid] = [file.info.grid for file in group]
    properties = {name: value for file in group for name, value in file.properties.items()}
    return Made(build_item(name, target, group[0].when, grids, assets, properties), wrote)


def _in_place(file: RasterFile) -> dict[str, Any]:
    """Describe a file that stays where it is; its size and time tell when it has changed."""
    modified_ns, size_bytes = file.opened.stamp
    modified = datetime.fromtimestamp(modified_ns // 1_000_000_000, UTC)
    extra = {
        "file:size": size_bytes,
        "updated": format_time(modified),
        **describe_for_item(file.opened),
    }
    return _asset(file, file.opened.gdal, file.media_type, extra)


def _copied(
    file: RasterFile, target: Target, path: Path, before: Mapping[str, Any] | None
) -> tuple[dict[str, Any], bool]:
    """Copy a file as COG, unless the copy of the same content is there."""
    digest = _digest_of_file(file.found.path)
    missing = not target.has(path, digest, before or {})
    if missing and target.write:
        target.prepare(path)
        copy_as_cog(file.opened, path)
    return _asset(file, str(path), _TYPES["COG"], target.facts(path, digest)), missing


def _asset(
    file: RasterFile, href: str, media_type: str, extra: Mapping[str, Any]
) -> dict[str, Any]:
    grid = file.info.grid
    return make_asset(
        href,
        bands=file.bands,
        crs=grid.crs,
        shape=(grid.height, grid.width),
        transform=transform_of(grid),
        media_type=media_type,
        extra=extra,
    )


def _digest_of_file(path: Path) -> str:
    """Return the digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
