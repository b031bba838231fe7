"""Publishing: the images of a finished run become a collection that the next graph loads."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from terrazzo.catalog import make_collection, make_item
from terrazzo.drivers.described import Results
from terrazzo.drivers.ingest import alone, check_id
from terrazzo.drivers.ingestion.items import FILE_EXTENSION, Target
from terrazzo.drivers.ingestion.names import date_id, safe_name
from terrazzo.errors import ArgumentInvalid, CollectionNotFound, ItemNotFound
from terrazzo.geo.times import parse_time
from terrazzo.progress import Progress
from terrazzo.storage.gate import Gate
from terrazzo.storage.raster import describe_for_item
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from terrazzo.catalog import Catalog
    from terrazzo.drivers.job import Workspace

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
    progress: Progress | None = None,
) -> Published:
    """Make the COGs of a finished run items of a collection, one per date.

    The files are linked into the workspace, or copied where that is on another disk, so that the
    run's folder may go. An item names the graph and its digest and the images that were read.
    Publishing the same run again changes nothing; another run's items are added.

    Args:
        folder: of the run.
        collection: id; the collection is made if it is not there.
        workspace: where catalogue and files are.
        title: of the collection; empty keeps what it has.
        description: of the collection; empty keeps what it has.
        license: SPDX identifier; empty keeps what it has, or is `other`.
        progress: is told of items, and may cancel.

    Raises:
        ArgumentInvalid: the folder holds no finished run, or none with images; the id is none; or
            an ingestion into the collection runs.
        OutputFailed: the workspace cannot be written; what is done is kept.
    """
    check_id(collection)
    results, shown = Results.of(folder), progress or Progress()
    if results is None:
        raise ArgumentInvalid(
            f"{folder} holds no finished run. Name the folder that was given to `terrazzo run -o`."
        )
    parts = [part for part in results.told["parts"] if _images(part)]
    if not parts or results.told["bbox"] is None:
        raise ArgumentInvalid(
            f"The run in {folder} has no image that a graph can load. Run it with COG (or GTiff) "
            "as the format of `save_result`, or without one."
        )
    target = Target(collection, workspace.assets / collection, write=True)
    told = {"title": title, "description": description or title, "license": license}
    made = kept = 0
    with alone(workspace.assets, collection), workspace.catalog(create=True) as catalog, shown:
        shown.start(len(parts), "items")
        stated = {name: text for name, text in told.items() if text}
        _put_collection(catalog, collection, stated)
        for part in parts:
            item = _item(results, part, target)
            is_new = item != _known(catalog, collection, item["id"])
            if is_new:
                catalog.put_items([item])
            made, kept = made + is_new, kept + (not is_new)
            shown.advance()
    return Published(collection, made, kept)


def _images(part: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the assets of a date that graphs can load."""
    return {key: asset for key, asset in part["assets"].items() if asset["file"].endswith(_IMAGES)}


def _put_collection(catalog: Catalog, name: str, stated: dict[str, str]) -> None:
    try:
        known = catalog.collection(name)
    except CollectionNotFound:
        catalog.put_collection(make_collection(name) | stated)
        return
    if known | stated != known:
        catalog.change_collection(name, lambda document: document | stated)


def _known(catalog: Catalog, collection: str, name: str) -> dict[str, Any] | None:
    try:
        return catalog.item(collection, name)
    except ItemNotFound:
        return None


def _item(results: Results, part: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """Return the item of a date; its files are in the workspace when it is there."""
    digest = results.told["provenance"]["terrazzo:graph_digest"][:_DIGEST]
    label = date_id(parse_time(part["time"])) if part["time"] else safe_name(part["label"] or "")
    name = f"{digest}_{label}" if part["label"] else digest
    assets = {}
    images = _images(part)
    for key, told in images.items():
        short = "data" if len(images) == 1 else safe_name(key.removesuffix(".tif"))
        path = target.path(name, short)
        target.prepare(path)
        _take_over(results.folder / told["file"], path)
        opened = Gate((path.parent,)).open_name(str(path))
        plain = {field: value for field, value in told.items() if field != "file"}
        assets[short] = {"href": str(path), **plain, **describe_for_item(opened)}
    described = results.item_of(part)
    properties = {
        field: value
        for field, value in described["properties"].items()
        if field not in {"datetime", "start_datetime", "end_datetime", "openeo:status", "updated"}
    }
    times = described["properties"]
    period = "start_datetime" in times
    item = make_item(
        name,
        target.collection,
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


def _take_over(source: Path, path: Path) -> None:
    """Put a file into the workspace, whole: a link to the same bytes where that can be.

    Raises:
        OutputFailed: the disk is full or the workspace cannot be written.
    """
    if path.exists() and path.samefile(source):
        return
    with whole_file(path) as part:
        try:
            os.link(source, part)
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}:
                raise
            shutil.copyfile(source, part)
