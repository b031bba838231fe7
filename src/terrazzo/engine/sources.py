"""Sources of a graph: from what `load_collection` asks for to images that can be read.

Here the catalogue (which items) meets storage (how they are read); neither knows the other.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Protocol

from terrazzo.catalog import BandInfo, Catalog, read_bands
from terrazzo.catalog.bands import merge_bands
from terrazzo.catalog.space import Region
from terrazzo.cube import BandFacts
from terrazzo.engine.files import GivenUnreadable, load_file, uploads_of
from terrazzo.engine.geometry_items import of_geometries, only_images
from terrazzo.engine.scene_items import LookUp, Reader, read_fast
from terrazzo.errors import BandNotFound, NoDataAvailable, PlanTooLarge, SourceUnreadable
from terrazzo.geo.crs import WGS84
from terrazzo.geo.times import contains, format_time, parse_time
from terrazzo.sandbox import UdfRules
from terrazzo.spans import span
from terrazzo.storage.blocks import BlockCache
from terrazzo.storage.gate import Gate
from terrazzo.storage.inventory import Inventory
from terrazzo.storage.raster import RasterReader
from terrazzo.storage.source import RasterSource
from terrazzo.storage.stac import fetch_stac

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from terrazzo.cube import Cube, Label
    from terrazzo.engine.bound import Known
    from terrazzo.engine.files import Uploads
    from terrazzo.geo.extent import SpatialExtent
    from terrazzo.processes.load import FileRequest, LoadRequest


class OwnLinks(Protocol):
    """Knows addresses that mean files of this machine."""

    def find(self, url: str) -> tuple[Path, Mapping[str, Any], Sequence[Mapping[str, Any]]] | None:
        """Return the folder that may be read, a STAC document and its items, with local paths.

        None where the address is somebody else's.

        Raises:
            AssetForbidden: it is ours, and is not to be read, or not any more.
        """


class CatalogOpener:
    """Opens the collections of one catalogue; all its sources share one block cache.

    The catalogue itself is opened when the first collection is: graphs need none without.
    """

    def __init__(
        self,
        catalog: Callable[[], Catalog],
        gate: Gate,
        cache_bytes: int,
        *,
        skip_bad: bool = False,
        udf: UdfRules | None = None,
        owner: str = "",
        reader: RasterReader | None = None,
        own: OwnLinks | None = None,
        most_images: int = 0,
        uploads: Uploads | None = None,
        only: tuple[str, str] | None = None,
        inventories: Path | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            catalog: opens the catalogue.
            gate: what may be read.
            cache_bytes: bound of the cache of decoded tiles, where it makes a reader.
            skip_bad: whether unreadable images are left out.
            udf: whether and how code of users is run.
            owner: whose code it is.
            reader: one that others use too.
            own: addresses that mean files of this machine.
            most_images: that may be looked at to open one collection; 0 is any number.
            uploads: files of the user.
            only: a collection and one of its items, to which it is confined wherever a graph
                selects that item: the graph for one image.
            inventories: folder in which is kept what all items of large collections say.
        """
        self._catalog, self._gate, self._own = cache(catalog), gate, own
        self._uploads = uploads
        self._most_images = most_images
        self.udf, self.owner = udf or UdfRules(), owner
        self._reader = reader or RasterReader(BlockCache(cache_bytes))
        self._skip_bad, self._only, self._inventories = skip_bad, only, inventories

    def open(self, request: LoadRequest) -> RasterSource | Known:
        """Choose the items and bands of a request; opens no file unless an item lacks facts.

        Items of geometries are read at once, as far as they are asked for.

        Raises:
            CollectionNotFound: lists the collections that there are.
            BandNotFound: lists the bands that there are.
            NoDataAvailable: no item lies in the extent, period and filter.
            PlanTooLarge: more items lie there than may be looked at.
            GivenUnreadable: what a URL gives, or a file of the user, cannot be read.
        """
        if request.collection is not None:
            return self._opened(request)
        try:
            return self._opened(request)
        except SourceUnreadable as error:
            raise GivenUnreadable.of(error) from error

    def _opened(self, request: LoadRequest) -> RasterSource | Known:
        with span("catalogue"):
            self._check_images(request)
            inventory = self._inventory(request)
            source = None if inventory is None else self._kept(inventory, request)
            if source is not None:
                return source
            document, found, gate = self._found(request)
            items = iter(found)
            first = list(islice(items, 1))
        if of_geometries(first):
            from terrazzo.engine.vector_collections import load_tables  # noqa: PLC0415 - Arrow

            tables = [*first, *items]
            of_geometries(tables)
            return load_tables(tables, request, gate)
        chosen = (item for item in only_images(chain(first, items)) if _passes(item, request))
        example = next(chosen, None)
        if example is None:
            raise NoDataAvailable(_nothing(request, document))
        again = self._catalog() if request.collection is not None else None
        source = self._source(document, example, chosen, request.bands, gate, again)
        if inventory is not None and inventory.version == self._version(request):
            inventory.keep(source)
        return source

    def _version(self, request: LoadRequest) -> str:
        return self._catalog().version(str(request.collection))

    def _inventory(self, request: LoadRequest) -> Inventory | None:
        """Return where it is kept what all items of a request say; None where nothing may be."""
        name = str(request.collection)
        if request.collection is None or self._inventories is None:
            return None
        if self._only is not None and self._only[0] == name:
            return None
        conditions = {
            key: getattr(condition, "digest", "") for key, condition in request.properties.items()
        }
        if not all(conditions.values()):
            return None
        asked = name, _degrees(request.spatial), _times(request), request.bands, conditions
        choice = json.dumps([self._catalog().shown, *asked])
        return Inventory(self._inventories, choice, self._version(request))

    def _kept(self, inventory: Inventory, request: LoadRequest) -> RasterSource | None:
        def look_up(names: tuple[str, ...]) -> LookUp:
            return LookUp(self._catalog(), str(request.collection), names, self._gate)

        return inventory.load(look_up, self._reader, self._on_bad)

    @property
    def _on_bad(self) -> Callable[[SourceUnreadable], None] | None:
        return _noted if self._skip_bad else None

    def open_item(self, document: Mapping[str, Any], item: Mapping[str, Any]) -> RasterSource:
        """Return the bands of one item.

        Args:
            document: its collection.
            item: the item, one of the catalogue's.

        Raises:
            NoDataAvailable: it has no band.
            AssetForbidden, SourceUnreadable: it cannot be read.
        """
        assets = item["assets"].items()
        there = {band.name for key, asset in assets for band in read_bands(asset, key)}
        names = [band.name for band in _known_bands(document, item) if band.name in there]
        if not names:
            raise NoDataAvailable(f"Item {str(item['id'])[:80]!r} has no bands.")
        return self._source(document, item, (), names, self._gate)

    def _source(
        self,
        document: Mapping[str, Any],
        first: Mapping[str, Any],
        others: Iterable[Mapping[str, Any]],
        asked: Sequence[str] | None,
        gate: Gate,
        again: Catalog | None = None,
    ) -> RasterSource:
        """Return items as a source; of those of the catalogue `again` few are kept."""
        known = _known_bands(document, first)
        names = _band_names(asked, known)
        facts: dict[Label, BandFacts] = {
            band.name: BandFacts(band.common_name, band.wavelength_um) for band in known
        }
        look_up = None if again is None else LookUp(again, str(first["collection"]), names, gate)
        scenes = map(Reader(names, gate).scene, chain((first,), others))
        return RasterSource.of(
            scenes, names, reader=self._reader, on_bad=self._on_bad, facts=facts, look_up=look_up
        )

    def load(self, request: FileRequest) -> Cube:
        """Load a file of geometries, fetched or uploaded.

        Raises:
            AssetForbidden: the address may not be read.
            FileNotFound: the user has no such file.
            GivenUnreadable: it gives no file, or cannot be read.
            FormatUnsuitable: the file is in another format.
        """
        try:
            return load_file(request, self._gate, self._uploads, self.udf.mode, self.owner)
        except SourceUnreadable as error:
            raise GivenUnreadable.of(error) from error

    def _check_images(self, request: LoadRequest) -> None:
        """Refuse what would take long to choose from, before any of it is looked at."""
        most = self._most_images
        if not most or request.collection is None:
            return
        bbox, interval = _degrees(request.spatial), _times(request)
        found = self._catalog().candidates(
            str(request.collection), bbox=bbox, interval=interval, most=most + 1
        )
        if found > most:
            raise PlanTooLarge(
                f"More than {most:,} images of {str(request.collection)!r} lie in the extent and "
                f"period, and {most:,} may be looked at while somebody waits. Narrow them, or run "
                "the graph as a job."
            )

    def _found(self, request: LoadRequest) -> tuple[Any, Iterable[Any], Gate]:
        """Return the collection of a request, the items that may be meant, and who opens them.

        Documents from elsewhere open no file of this machine; those of our own results, which are
        not asked for over the network, open the files of their run only.
        """
        if request.uploaded is not None:
            folder, document, ours = uploads_of(self._uploads).images(request.uploaded)
            return document, ours, Gate((folder,))
        if request.url is not None:
            own = self._own and self._own.find(request.url)
            if own:
                folder, document, ours = own
                return document, _asked_for(ours, request), Gate((folder,))
            document, found = fetch_stac(self._gate, request.url)
            return (
                document,
                _asked_for(found, request),
                replace(self._gate.for_strangers(), roots=()),
            )
        catalog = self._catalog()
        document = catalog.collection(str(request.collection))
        name, bbox, interval = str(request.collection), _degrees(request.spatial), _times(request)
        one = (self._only[1],) if self._only and self._only[0] == name else ()
        alone = list(catalog.search((name,), bbox=bbox, interval=interval, ids=one)) if one else []
        if any(_passes(item, request) for item in alone):
            return document, alone, self._gate
        stored = catalog.stored((name,), bbox=bbox, interval=interval)
        if request.properties:  # conditions may look at integers of any size
            return document, (item.document() for item in stored), self._gate
        return document, map(read_fast, stored), self._gate


def _known_bands(document: Mapping[str, Any], item: Mapping[str, Any]) -> tuple[BandInfo, ...]:
    """Return the bands of a collection; it may list them and leave to items what they are."""
    known = read_bands(document)
    listed = {band.name for band in known}
    told = merge_bands(known, read_bands(item))
    return tuple(band for band in told if band.name in listed or not listed)


def _noted(error: SourceUnreadable) -> None:
    """Let a source go on without an item: it keeps a list of what it left out."""
    del error


def _band_names(asked: Sequence[str] | None, known: Sequence[BandInfo]) -> tuple[str, ...]:
    """Return band names, common names replaced by all bands that have them."""
    names = tuple(band.name for band in known)
    if asked is None:
        return names
    chosen: list[str] = []
    for name in asked:
        common = [band.name for band in known if band.common_name == name]
        if name not in names and not common:
            raise BandNotFound(name, names)
        chosen.extend([name] if name in names else common)
    return tuple(dict.fromkeys(chosen))


def _degrees(spatial: SpatialExtent | None) -> tuple[float, float, float, float] | None:
    if spatial is None:
        return None
    held = spatial.bounds if spatial.crs == WGS84 else spatial.bounds_in(WGS84)
    west, south, east, north = held
    return west, max(south, -90.0), east, min(north, 90.0)


def _times(request: LoadRequest) -> tuple[str | None, str | None] | None:
    if request.interval is None:
        return None
    start, end = request.interval
    return (format_time(start) if start else None, format_time(end) if end else None)


def _passes(item: Mapping[str, Any], request: LoadRequest) -> bool:
    properties = item["properties"]
    return all(
        name in properties and condition(value=properties[name]) is True
        for name, condition in request.properties.items()
    )


def _touches(item: Mapping[str, Any], spatial: SpatialExtent | None) -> bool:
    box = _degrees(spatial)
    return box is None or Region.of_bbox(box).meets(item)


def _nothing(request: LoadRequest, document: Mapping[str, Any]) -> str:
    extent = document.get("extent", {})
    boxes = extent.get("spatial", {}).get("bbox", [])
    periods = extent.get("temporal", {}).get("interval", [])
    asked = []
    if request.spatial is not None:
        asked.append(f"extent {tuple(round(v, 6) for v in request.spatial.bounds)}")
    times = _times(request)
    if times is not None:
        asked.append(f"period {times[0] or '..'} to {times[1] or '..'} (end excluded)")
    if request.properties:
        asked.append(f"conditions on {', '.join(request.properties)}")
    box = boxes and [round(side, 6) for side in boxes[0]]
    there = f" It has items within {box} (degrees)" if boxes else ""
    there += f", {periods[0][0]} to {periods[0][1]}." if periods and boxes else ""
    name = request.collection or request.url or "your files"
    return (
        f"No item of {name!r} matches {' and '.join(asked) or 'the request'}.{there} Widen what is "
        "asked for, or look with `terrazzo search`."
    )


def _asked_for(items: Iterable[Mapping[str, Any]], request: LoadRequest) -> Iterator[Any]:
    """Yield the items of a request's extent and period, as the catalogue's search does."""
    for item in items:
        properties = item["properties"]
        moment = parse_time(properties.get("datetime") or properties["start_datetime"])
        inside = request.interval is None or contains(request.interval, moment)
        if inside and _touches(item, request.spatial):
            yield item
