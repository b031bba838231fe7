"""Publishing: what a finished run has made becomes a collection that the next graph loads."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from terrazzo.catalog import make_collection, make_item
from terrazzo.drivers.described import Results, checksum
from terrazzo.drivers.extraction.published import extraction_item, is_extraction, item_id
from terrazzo.drivers.ingest import alone, check_id
from terrazzo.drivers.ingestion.items import FILE_EXTENSION, Target
from terrazzo.drivers.ingestion.names import date_id, safe_name
from terrazzo.drivers.named import IMAGES
from terrazzo.drivers.places import gate_of, remember_place
from terrazzo.drivers.publish_tables import publish_tables, send_tables, tables_of
from terrazzo.drivers.sending import Destination, Parcel, digest_in, gone
from terrazzo.errors import ArgumentInvalid, CollectionNotFound, ItemNotFound
from terrazzo.geo.times import parse_time
from terrazzo.progress import Progress
from terrazzo.storage.gate import Gate
from terrazzo.storage.raster import describe_for_item
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from terrazzo.catalog import Catalog
    from terrazzo.drivers.job import Workspace
    from terrazzo.storage.gate import AssetName

_IMAGES = (".tif",)
_DIGEST = 12
_FACTS = ("title", "description", "license")


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a run."""

    collection: str
    """Id of the collection."""
    made: int
    """Items that are new or changed."""
    kept: int
    """Items that were there already, of the same files."""


def publish(
    folder: Path,
    collection: str,
    workspace: Workspace,
    *,
    title: str = "",
    description: str = "",
    license: str = "",  # noqa: A002 - STAC's name
    to: str = "",
    statistics: Sequence[str] = (),
    progress: Progress | None = None,
) -> Published:
    """Make the COGs of a finished run items of a collection, one per date, or its geometries one.

    Of an extraction its polygons are published, with a column for each date, label and statistic.

    The files are linked into the workspace, or copied where that is on another disk, so that the
    run's folder may go. An item names the graph and its digest and the images that were read.
    Publishing the same run again changes nothing; another run's items are added.

    With `to` the files are sent to a bucket instead, and after them items and a collection in
    STAC; the place is remembered, so that graphs read the files there. Geometries are sent as
    well, and stay in the workspace, where graphs read them.

    Args:
        folder: of the run.
        collection: id; the collection is made if it is not there.
        workspace: where catalogue and files are.
        title: of the collection; empty keeps what it has.
        description: of the collection; empty keeps what it has.
        license: SPDX identifier; empty keeps what it has, or is `other`.
        to: `s3://bucket/prefix`, where the files go; empty is the workspace.
        statistics: of an extraction, which become columns; `mean`, or else `median`, if empty.
        progress: is told of items, or of what is sent, and may cancel.

    Raises:
        ArgumentInvalid: the folder holds no finished run, or none with images, or files of it have
            gone; the id is none; or an ingestion into the collection runs.
        OutputFailed: the workspace cannot be written, or the bucket does not take the files; what
            is done is kept.
    """
    check_id(collection)
    results, shown = Results.of(folder), progress or Progress()
    if results is None:
        raise ArgumentInvalid(
            f"{folder} holds no finished run. Name the folder that was given to `terrazzo run -o`."
        )
    parts = [part for part in results.told["parts"] if _images(part)]
    stated = {
        name: text
        for name, text in (
            ("title", title), ("description", description or title), ("license", license),
        )
        if text
    }  # fmt: skip
    if is_extraction(folder):
        return _published_polygons(results, statistics, collection, workspace, stated, to, shown)
    if statistics:
        raise ArgumentInvalid("--stats: only an extraction has statistics. Leave it out.")
    tables = [] if parts else tables_of(results)
    if tables:
        return _published_tables(results, tables, collection, workspace, stated, to, shown)
    if not parts or results.told["bbox"] is None:
        raise ArgumentInvalid(
            f"The run in {folder} has nothing that a graph can load. Run it with COG (or GTiff) "
            "as the format of `save_result` for images, with GeoParquet or GeoJSON for geometries."
        )
    room: _Folder | _Below = _Folder(Target(collection, workspace.assets / collection, write=True))
    if to:
        room = _Below(Destination.of(to, shown))
    made = kept = 0
    with alone(workspace.assets, collection), workspace.catalog(create=True) as catalog, shown:
        _put_collection(catalog, collection, stated)
        dates = [_date(results, part) for part in parts]
        room.start(dates, shown)
        for part, date in zip(parts, dates, strict=True):
            item = _item(results, part, collection, date, room)
            room.tell(item)
            is_new = item != _known(catalog, collection, date.name)
            if isinstance(room, _Below):
                remember_place(workspace.home, room.destination.place)
            if is_new:
                catalog.put_items([item])
            made, kept = made + is_new, kept + (not is_new)
            room.done(shown)
        room.finish(catalog, collection)
    return Published(collection, made, kept)


def _published_tables(
    results: Results,
    tables: Sequence[tuple[str, Mapping[str, Any]]],
    collection: str,
    workspace: Workspace,
    stated: Mapping[str, str],
    to: str,
    shown: Progress,
) -> Published:
    """Publish geometries, which go into the workspace and, with `to`, to a bucket as well."""
    target = Target(collection, workspace.assets / collection, write=True)
    destination = Destination.of(to, shown) if to else None
    with alone(workspace.assets, collection), workspace.catalog(create=True) as catalog, shown:
        _put_collection(catalog, collection, dict(stated), of_geometries=True)
        made, kept = publish_tables(results, tables, target, catalog, shown)
        if destination is not None:
            send_tables(catalog, collection, destination)
    return Published(collection, made, kept)


def _published_polygons(
    results: Results,
    statistics: Sequence[str],
    collection: str,
    workspace: Workspace,
    stated: Mapping[str, str],
    to: str,
    shown: Progress,
) -> Published:
    """Publish the polygons of an extraction, with what was found; `to` is as for geometries.

    Raises:
        ArgumentInvalid: the extraction is not finished.
    """
    target = Target(collection, workspace.assets / collection, write=True)
    destination = Destination.of(to, shown) if to else None
    with alone(workspace.assets, collection), workspace.catalog(create=True) as catalog, shown:
        _check_kind(catalog, collection, of_geometries=True)
        shown.start(1, "items")
        before = _known(catalog, collection, item_id(results.folder))
        item = extraction_item(results, statistics, target, before)
        _put_collection(catalog, collection, dict(stated), of_geometries=True)
        is_new = item != before
        if is_new:
            catalog.put_items([item])
        shown.advance()
        if destination is not None:
            send_tables(catalog, collection, destination)
    return Published(collection, int(is_new), int(not is_new))


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a run."""

    path: Path
    told: Mapping[str, Any]
    """Its asset, without an address."""


@dataclass(frozen=True, slots=True)
class _Date:
    """What becomes an item."""

    name: str
    """Id of the item."""
    images: Mapping[str, _File]
    """By the key that each gets."""
    lists: Mapping[str, _File]
    """Of all images that the run has read, by the name of the file; none as a rule."""


@dataclass(frozen=True, slots=True)
class _Folder:
    """The workspace, where files are linked or copied."""

    target: Target

    def start(self, dates: Sequence[_Date], shown: Progress) -> None:
        """Make ready for all items."""
        shown.start(len(dates), "items")

    def take(self, date: _Date) -> dict[str, AssetName]:
        """Take over the images of an item, and return what readers take."""
        found = {}
        for key, file in date.images.items():
            path = self.target.path(date.name, key)
            self.target.prepare(path)
            _take_over(file, path)
            found[key] = Gate((path.parent,)).open_name(str(path))
        return found

    def take_lists(self, date: _Date) -> dict[str, str]:
        """Take over what else there is of an item, and return where it is."""
        found = {}
        for key, file in date.lists.items():
            path = self.target.folder / date.name / key
            self.target.prepare(path)
            _take_over(file, path)
            found[key] = str(path)
        return found

    def tell(self, item: Mapping[str, Any]) -> None:
        """Do nothing: the catalogue tells of the item."""

    def done(self, shown: Progress) -> None:
        """Count an item."""
        shown.advance()

    def finish(self, catalog: Catalog, collection: str) -> None:
        """Do nothing: the catalogue tells of the collection."""


@dataclass(frozen=True, slots=True)
class _Below:
    """A part of a bucket, where files are sent and STAC after them."""

    destination: Destination

    def start(self, dates: Sequence[_Date], shown: Progress) -> None:
        """Make ready for all items."""
        del shown
        each = (parcels for date in dates for parcels in (_images_sent(date), _lists_sent(date)))
        self.destination.start([parcel for parcels in each for parcel in parcels.values()])

    def take(self, date: _Date) -> dict[str, AssetName]:
        """Send the images of an item, and return what readers take."""
        parcels = _images_sent(date)
        self.destination.send(list(parcels.values()))
        gate = gate_of((), (), (self.destination.place,))
        return {
            key: gate.open_name(self.destination.url(parcel.key), item=date.name, asset=key)
            for key, parcel in parcels.items()
        }

    def take_lists(self, date: _Date) -> dict[str, str]:
        """Send what else there is of an item, and return where it is."""
        parcels = _lists_sent(date)
        self.destination.send(list(parcels.values()))
        return {key: self.destination.url(parcel.key) for key, parcel in parcels.items()}

    def tell(self, item: Mapping[str, Any]) -> None:
        """Put the item, now that its files are there."""
        up = {"href": "../collection.json", "type": "application/json"}
        links = [{"rel": rel, **up} for rel in ("root", "parent", "collection")]
        key = f"{item['id']}/{item['id']}.json"
        self.destination.put_json(key, {**item, "links": links}, "application/geo+json")

    def done(self, shown: Progress) -> None:
        """Do nothing: what was sent is counted by its bytes."""

    def finish(self, catalog: Catalog, collection: str) -> None:
        """Put the collection, now that its items are there."""
        above = self.destination.url("")
        own = {"href": "./collection.json", "type": "application/json"}
        links = [{"rel": "root", **own}]
        for item in catalog.search((collection,)):
            if all(str(asset["href"]).startswith(above) for asset in item["assets"].values()):
                href = f"./{item['id']}/{item['id']}.json"
                links.append({"rel": "item", "href": href, "type": "application/geo+json"})
        self.destination.put_json(
            "collection.json", {**catalog.collection(collection), "links": links}
        )


def _images_sent(date: _Date) -> dict[str, Parcel]:
    return {
        key: Parcel(file.path, f"{date.name}/{key}.tif", file.told["type"], digest_in(file.told))
        for key, file in date.images.items()
    }


def _lists_sent(date: _Date) -> dict[str, Parcel]:
    return {
        key: Parcel(file.path, f"{date.name}/{key}", file.told["type"], digest_in(file.told))
        for key, file in date.lists.items()
    }


def _date(results: Results, part: Mapping[str, Any]) -> _Date:
    """Return what is published of a date."""
    digest = results.told["provenance"]["terrazzo:graph_digest"][:_DIGEST]
    label = date_id(parse_time(part["time"])) if part["time"] else safe_name(part["label"] or "")
    name = f"{digest}_{label}" if part["label"] else digest
    images = _images(part)
    found = {}
    for key, told in images.items():
        short = "data" if len(images) == 1 else safe_name(key.removesuffix(".tif"))
        found[short] = _file(results, told)
    lists = {key: _file(results, told) for key, told in part["assets"].items() if key == IMAGES}
    return _Date(name, found, lists)


def _file(results: Results, told: Mapping[str, Any]) -> _File:
    plain = {field: value for field, value in told.items() if field != "file"}
    return _File(results.folder / told["file"], plain)


def _images(part: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the assets of a date that graphs can load."""
    return {key: asset for key, asset in part["assets"].items() if asset["file"].endswith(_IMAGES)}


def _put_collection(
    catalog: Catalog, name: str, stated: dict[str, str], *, of_geometries: bool = False
) -> None:
    """Make a collection, or state more of it.

    Raises:
        ArgumentInvalid: it holds images, and geometries are published, or the other way round.
    """
    try:
        known = catalog.collection(name)
    except CollectionNotFound:
        dimensions: dict[str, Any] | None = {} if of_geometries else None
        catalog.put_collection(make_collection(name, dimensions=dimensions) | stated)
        return
    _check_kind(catalog, name, of_geometries=of_geometries)
    if known | stated != known:
        catalog.change_collection(name, lambda document: document | stated)


def _check_kind(catalog: Catalog, name: str, *, of_geometries: bool) -> None:
    """Refuse a collection that is there and holds something else.

    Raises:
        ArgumentInvalid: it holds images, and geometries are published, or the other way round.
    """
    try:
        held = catalog.survey(name)
    except CollectionNotFound:
        return
    if held.count and held.of_geometries != of_geometries:
        raise ArgumentInvalid(
            f"Collection {name!r} holds {'geometries' if held.of_geometries else 'images'}, and "
            "the run made something else. Name another one with --collection."
        )


def _known(catalog: Catalog, collection: str, name: str) -> dict[str, Any] | None:
    try:
        return catalog.item(collection, name)
    except (CollectionNotFound, ItemNotFound):
        return None


def _item(
    results: Results,
    part: Mapping[str, Any],
    collection: str,
    date: _Date,
    room: _Folder | _Below,
) -> dict[str, Any]:
    """Have the files of a date where graphs read them, and return its item."""
    assets = {
        key: {"href": one.gdal, **date.images[key].told, **describe_for_item(one)}
        for key, one in room.take(date).items()
    }
    for key, href in room.take_lists(date).items():
        assets[key] = {"href": href, **date.lists[key].told}
    described = results.item_of(part)
    properties = {
        field: value
        for field, value in described["properties"].items()
        if field not in {"datetime", "start_datetime", "end_datetime", "openeo:status", "updated"}
    }
    times = described["properties"]
    period = "start_datetime" in times
    item = make_item(
        date.name,
        collection,
        bbox=described["bbox"],
        geometry=described["geometry"],
        datetime=None if period else times["datetime"],
        start=times["start_datetime"] if period else None,
        end=times["end_datetime"] if period else None,
        properties=properties,
        assets=assets,
    )
    item["stac_extensions"].append(FILE_EXTENSION)
    return item


def _take_over(file: _File, path: Path) -> None:
    """Put a file into the workspace, whole: a link to the same bytes where that can be.

    What was put there before stays where the file has gone from the folder of the run.

    Raises:
        ArgumentInvalid: the file has gone, and was not put there.
        OutputFailed: the disk is full or the workspace cannot be written.
    """
    source = file.path
    if not source.is_file():
        if path.is_file() and checksum(path) == file.told.get("file:checksum"):
            return
        raise gone(source)
    if path.exists() and path.samefile(source):
        return
    with whole_file(path) as part:
        try:
            os.link(source, part)
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}:
                raise
            shutil.copyfile(source, part)
