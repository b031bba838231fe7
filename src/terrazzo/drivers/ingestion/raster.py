"""GeoTIFF and JPEG 2000 files as items: read where they are, or copied as COGs."""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import ExitStack
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
    footprint,
    transform_of,
)
from terrazzo.drivers.ingestion.kept import apart, carried, source_fields
from terrazzo.drivers.ingestion.names import date_id, date_in, read_name, safe_name, when_of
from terrazzo.drivers.ingestion.odd import (
    CLASSES,
    CLASSIFICATION,
    check_content,
    check_image,
    class_fields,
    crs_notes,
    mask_notes,
    straightened,
)
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import format_time
from terrazzo.storage.damage import as_unreadable
from terrazzo.storage.headers import HEADER, NotNorthUp, header_document
from terrazzo.storage.image_facts import BandFacts
from terrazzo.storage.ingest_support import copy_whole, look
from terrazzo.storage.lost_marks import lost_mark
from terrazzo.storage.set_aside import MOST, stand_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from terrazzo.geo.grid import Grid
    from terrazzo.storage.gate import AssetName
    from terrazzo.storage.headers import Header, RasterInfo
    from terrazzo.storage.image_facts import FileFacts

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
class Copying:
    """How a file becomes a COG of ours."""

    digest: Callable[[], str]
    """Digest of all that decides the copy."""
    write: Callable[[Path], None]
    """Write the copy."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What is known of an image before its name is read."""

    opened: AssetName | None
    """What readers take; None for what is only copied."""
    info: RasterInfo
    """What it says about its pixels, or its copy will."""
    facts: FileFacts
    """What else it states."""
    copying: Copying | None
    """How it is copied; None if it is read where it is."""
    header: Header | None = None
    """What its item tells of it; None for what is only copied."""
    notes: tuple[str, ...] = ()
    """What the user should know."""

    @property
    def media_type(self) -> str:
        """Its media type."""
        return _TYPES["COG" if self.opened is None or self.facts.is_cog else self.opened.driver]


@dataclass(frozen=True, slots=True)
class RasterFile:
    """An image file and what is known of it."""

    found: FoundFile
    """The file."""
    opened: AssetName | None
    """What readers take; None for what is only copied."""
    info: RasterInfo
    """What it says about its pixels, or its copy will."""
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
    copying: Copying | None = None
    """How it is copied; None if it is read where it is."""
    header: Header | None = None
    """What its item tells of it; None for what is only copied."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """More fields of its asset."""
    notes: tuple[str, ...] = ()
    """What the user should know of it."""

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
        SourceUnreadable: damaged or cut short.
        ArgumentInvalid: no date, no georeference, names that do not fit, or an image that can only
            be copied.
        AssetForbidden: its name cannot be opened, or it is a link that leaves its folder.
    """
    return image_files(found, given, _looked_at(found, given.options))


def image_files(
    found: FoundFile,
    given: Given,
    looked: Looked,
    copies: Mapping[tuple[int, ...], Copying] | None = None,
) -> list[Part]:
    """Name an image that was looked at, by its own name and what it states.

    Args:
        found: the file.
        given: what the user says.
        looked: what is known of the image.
        copies: how some of its bands (0-based) become a file each; None = one file of all.

    Raises:
        ArgumentInvalid: no date, or names that do not fit.
    """
    options, pattern = given.options, given.pattern
    parts = read_name(found.name, pattern)
    when = when_of(parts, options.datetime, looked.facts.tags, name=found.name)
    item = parts.item
    if date_in(item) is None:
        item = "_".join(filter(None, (item, date_id(when.start))))
    stated = pattern is not None and bool(parts.band)
    bands = _bands(looked.info, looked.facts, options, parts.band, stated=stated)
    whole = tuple(range(len(looked.info.dtypes)))
    found_files: list[Part] = []
    by_bands: Mapping[tuple[int, ...], Copying | None] = copies or {whole: looked.copying}
    for numbers, copying in by_bands.items():
        named = tuple(bands[number] for number in numbers if number < len(bands))
        info = replace(
            looked.info,
            dtypes=tuple(looked.info.dtypes[number] for number in numbers),
            nodata=tuple(looked.info.nodata[number] for number in numbers),
        )
        found_files.append(
            RasterFile(
                found, looked.opened, info, looked.media_type, named, safe_name(item), when,
                copying=copying, header=looked.header, extra=class_fields(looked.facts, named),
                notes=() if found_files else looked.notes,
            )
        )  # fmt: skip
    return found_files


def image_of(found: FoundFile, options: IngestOptions) -> RasterFile:
    """Look at an image of a product, whose metadata say what it shows and when.

    Returns:
        The image with the bands that its own header states; its item and instant are still open.

    Raises:
        SourceUnreadable: damaged or cut short.
        ArgumentInvalid: no georeference, or an image that can only be copied.
        AssetForbidden: its name cannot be opened, or it is a link that leaves its folder.
    """
    looked = _looked_at(found, options)
    bands = _bands(looked.info, looked.facts, replace(options, bands=()), "", stated=False)
    return RasterFile(
        found, looked.opened, looked.info, looked.media_type, bands, "", _OPEN,
        copying=looked.copying, header=looked.header, notes=looked.notes,
    )  # fmt: skip


def _looked_at(found: FoundFile, options: IngestOptions) -> Looked:
    opened = found.open_name()
    check_content(opened, found.path)
    try:
        with as_unreadable(opened):
            seen = look(opened, decode=options.verify)
    except NotNorthUp:
        with as_unreadable(opened):
            straight, notes = straightened(opened, found, options)
            info, facts = straight.describe()
        check_image(info)
        if (mark := lost_mark(opened, info)) is not None:
            raise ArgumentInvalid(
                f"its no-data is {mark}, which float64 does not hold, and it is turned north-up "
                f"as well. Write it with a no-data from {-MOST} to {MOST} first."
            ) from None
        digest = partial(found.digest, straight.crs, *straight.transform)
        return Looked(opened, info, facts, Copying(digest, straight.copy), notes=notes)
    info = seen.header.info
    check_image(info)
    notes = (*crs_notes(info.grid.crs, options), *mask_notes(found))
    mark = lost_mark(opened, info)
    if options.copy:
        marks = () if mark is None else (str(stand_in(info.dtype)),)
        copying = Copying(partial(found.digest, *marks), partial(copy_whole, opened))
        if mark is not None:
            info = replace(info, nodata=(float(stand_in(info.dtype)),) * len(info.nodata))
        return Looked(opened, info, seen.facts, copying, notes=notes)
    if mark is not None and options.nodata is None:
        raise ArgumentInvalid(
            f"its no-data is {mark}, which float64 does not hold. Ingest it with --copy, which "
            f"gives its pixels without data the number {stand_in(info.dtype)}."
        )
    _check_layout(info)
    return Looked(opened, info, seen.facts, None, seen.header, notes)


def _check_layout(info: RasterInfo) -> None:
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
            f"it has {grid.height} x {grid.width} pixels and no {' and no '.join(lacks)}, so "
            "every map tile would read all of it. Ingest it with --copy, which makes a COG of it."
        )


def _bands(
    info: RasterInfo, facts: FileFacts, options: IngestOptions, suffix: str, *, stated: bool
) -> tuple[BandInfo, ...]:
    """Describe the bands.

    Names are the user's, the file's, that in its name, colours of a picture, or numbers.
    """
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
        colours = [band.colour for band in facts.bands[:count]] or [""] * count
        names = tuple(colour or f"band{number}" for number, colour in enumerate(colours, 1))
    if len(names) != count or len(set(names)) != count:
        raise ArgumentInvalid(
            f"it has {count} bands and --bands names {len(names)} ({', '.join(names)}). Give one "
            "name, each different, per band."
        )
    found = []
    for i, name in enumerate(names):
        stated_facts = facts.bands[i] if i < len(facts.bands) else BandFacts()
        band = band_info(
            name, info.grid, options, dtype=info.dtypes[i], nodata=info.nodata[i],
            scale=info.scales[i], offset=info.offsets[i], description=told[i],
        )  # fmt: skip
        wavelength = stated_facts.wavelength_um or band.wavelength_um
        found.append(replace(band, wavelength_um=wavelength, unit=stated_facts.unit or band.unit))
    return tuple(found)


def raster_drafts(
    files: Sequence[RasterFile], target: Target
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
        roots = tuple(
            dict.fromkeys(f.found.root for f in group if f.copying is None and not f.found.address)
        )
        make = partial(_make, name, tuple(group), target)
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
        if apart(footprint([file.info.grid])[0], footprint([other.info.grid])[0]):
            return (
                f"it belongs to item {file.item!r} by its name, as {other.found.name} does, but "
                f"nowhere do they show the same place. {advice}"
            )
    return ""


def _make(
    name: str,
    group: Sequence[RasterFile],
    target: Target,
    previous: Mapping[str, Any] | None,
) -> Made:
    """Make the item of a group of files."""
    assets: dict[str, dict[str, Any]] = {}
    wrote = False
    before: Mapping[str, Any] = (previous or {}).get("assets") or {}
    files: dict[str, RasterFile] = {}
    for file in group:
        key = safe_name(file.bands[0].name if len(file.bands) == 1 else "data")
        if key in files:
            key = safe_name(file.found.path.stem)
        while key in files:
            key += "_"
        files[key] = file
    digests = {key: file.copying.digest() if file.copying else "" for key, file in files.items()}
    made_of = {  # of all files, before any is written
        key: carried(name, key, file.found, before.get(key) or {}, digests[key])
        for key, file in files.items()
    }
    for key, file in files.items():
        if file.copying is None:
            assets[key] = _in_place(file)
        else:
            path, digest = target.path(name, key), digests[key]
            old = before.get(key) or {}
            assets[key], copied = _copied(file, file.copying, target, path, digest, old)
            wrote |= copied
        assets[key] |= made_of[key]
    grids: list[Grid] = [file.info.grid for file in group]
    properties = {name: value for file in group for name, value in file.properties.items()}
    item = build_item(name, target, group[0].when, grids, assets, properties)
    if any(CLASSES in asset for asset in assets.values()):
        item["stac_extensions"].append(CLASSIFICATION)
    return Made(item, wrote)


def _in_place(file: RasterFile) -> dict[str, Any]:
    """Describe a file that stays where it is; its size and time tell when it has changed."""
    if file.opened is None or file.header is None:
        raise RuntimeError(file.found.name)  # such a file has `copying`
    extra = {
        "file:size": file.opened.stamp[1],
        "updated": format_time(file.opened.modified),
        HEADER: header_document(file.header),
        **source_fields(file.found, file.opened.gdal),
    }
    return _asset(file, file.opened.gdal, file.media_type, extra)


def _copied(
    file: RasterFile,
    copying: Copying,
    target: Target,
    path: Path,
    digest: str,
    before: Mapping[str, Any],
) -> tuple[dict[str, Any], bool]:
    """Copy a file as COG, unless the copy of the same content is there."""
    missing = not target.has(path, digest, before)
    if missing and target.write:
        target.prepare(path)
        with ExitStack() as stack:
            if file.opened is not None:
                stack.enter_context(as_unreadable(file.opened))
            copying.write(path)
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
        extra={**extra, **file.extra},
    )
