"""What a finished run on a tile grid is published as: one STAC collection with all its files."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog.stac import extensions
from terrazzo.catalog.stored import STAC_VERSION
from terrazzo.drivers.block_names import is_plain
from terrazzo.drivers.depot import BucketDepot, FolderDepot
from terrazzo.drivers.described import CATALOGUE
from terrazzo.drivers.ingestion.items import FILE_EXTENSION
from terrazzo.drivers.named import IMAGES, LIST_TYPE, image_list, named_items, told_of_list
from terrazzo.drivers.sending import Parcel
from terrazzo.drivers.tiling.mosaics import ASSEMBLED, TYPES, Mosaics, alone, noted_mosaics
from terrazzo.drivers.tiling.tallied import FOLDER
from terrazzo.drivers.watching.status import STATUS
from terrazzo.errors import ArgumentInvalid, RunIncomplete
from terrazzo.storage.writers.files import begin_folder, whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from terrazzo.drivers.described import Results
    from terrazzo.drivers.results import Asset
    from terrazzo.drivers.sending import Destination
    from terrazzo.drivers.tiling.squares import Squares
    from terrazzo.drivers.tiling.work import Tilewise
    from terrazzo.geo.tile_grids import Tile
    from terrazzo.progress import Progress

COLLECTION: Final = "collection.json"
_GRID_EXTENSION: Final = "https://stac-extensions.github.io/grid/v1.1.0/schema.json"
_DESIGNATIONS: Final = {"mgrs": "MGRS", "equi7": "EQUI7"}
"""What the grid extension of STAC calls tile grids."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """How tiles are made one file."""

    overviews: Mapping[str, str]
    """How overviews are made, by the folders of results in those of tiles."""
    threads: int
    """That compress, where tiles must be decoded."""


def publish(
    work: Tilewise,
    results: Sequence[Results],
    grid: Squares,
    assembly: Assembly | None,
    progress: Progress,
) -> tuple[Asset, ...]:
    """Describe the tiles of a finished run where it is kept; returns the files that it assembled.

    Args:
        work: the run.
        results: of each tile.
        grid: of which tiles are.
        assembly: how tiles are assembled; None = no file is made of many.
        progress: told of what is fetched and sent; may raise `Cancelled` to stop.

    Raises:
        ArgumentInvalid: a tile is described as no run describes it.
        OutputFailed: the folder cannot be written to, or the bucket does not take the files.
    """
    mosaics = Mosaics(work.folder, work.depot, progress)
    for tile, made in zip(work.tiles, results, strict=True):
        for part in made.told["parts"]:
            for asset in part["assets"].values():
                if asset["file"].endswith(".tif"):  # else it only tells of the tile
                    mosaics.add(tile, made.folder / asset["file"], part, asset)
    try:
        with alone(mosaics.names, work.depot, assembled=assembly is not None):
            joined = _written(work, results, grid, mosaics, assembly)
            if isinstance(work.depot, BucketDepot):
                _send(work.folder, mosaics.names, (), work.depot.destination(progress))
    finally:
        mosaics.leave()
    return joined


def _written(
    work: Tilewise,
    results: Sequence[Results],
    grid: Squares,
    mosaics: Mosaics,
    assembly: Assembly | None,
) -> tuple[Asset, ...]:
    """Write STAC and mosaics into the folder; returns the files that are assembled."""
    folder = work.folder
    shutil.rmtree(folder / CATALOGUE, ignore_errors=True)
    begin_folder(folder / CATALOGUE)
    links: list[dict[str, str]] = []
    for number, (tile, made) in enumerate(zip(work.tiles, results, strict=True)):
        if isinstance(work.depot, FolderDepot):
            work.kept(number).clear(CATALOGUE)  # the catalogue of the whole run has its items
            for begun in made.folder.glob(f".{STATUS}.*.part"):  # by one that was killed
                begun.unlink(missing_ok=True)
        links += _write_items(folder, made, work.name, tile, grid)
    assets = mosaics.write()
    joined: tuple[Asset, ...] = ()
    if assembly is not None:
        joined, further = mosaics.assembled(assembly.overviews, assembly.threads)
        assets |= further
    sources = work.job.sources(work.inference)
    listed = image_list(sources)
    if listed:
        with whole_file(folder / CATALOGUE / IMAGES) as part:
            part.write_bytes(listed)
        assets[IMAGES] = {"href": f"./{IMAGES}", **told_of_list(listed)}
    images = {name: named_items(items) for name, items in sources.items()}
    _write_collection(folder, work.name, [made.told for made in results], images, links, assets)
    return joined


def send_published(folder: Path, assets: Sequence[Asset], destination: Destination) -> None:
    """Send what `publish` has written into a folder, and the files that it names.

    Mosaics that a former run has sent, and whose tiles have gone, are deleted there.

    Args:
        folder: of the run.
        assets: its tiles, and what is assembled of them.
        destination: where they go.

    Raises:
        ArgumentInvalid: a file has gone.
        OutputFailed: the store does not take them; what was sent is kept.
        Cancelled: raised by the progress, likewise.
    """
    there = BucketDepot(destination.place, destination.bucket)
    names = noted_mosaics(FolderDepot(folder))
    assembled = any(asset.path.parent == folder / ASSEMBLED for asset in assets)
    with alone(names, there, assembled=assembled):
        _send(folder, names, assets, destination)


def _send(
    folder: Path, names: Iterable[str], assets: Sequence[Asset], destination: Destination
) -> None:
    """Send files, mosaics of some names, and STAC, which goes last."""
    files = [
        Parcel(one.path, one.path.relative_to(folder).as_posix(), one.media_type) for one in assets
    ]
    mosaics = [
        Parcel(folder / FOLDER / f"{name}{ending}", f"{FOLDER}/{name}{ending}", kind)
        for ending, kind in TYPES.items()
        for name in sorted(names)
    ]
    stac = {path.name: path for path in sorted((folder / CATALOGUE).iterdir())}
    whole = stac.pop(COLLECTION)
    items = [
        Parcel(path, f"{CATALOGUE}/{name}", LIST_TYPE if name == IMAGES else "application/geo+json")
        for name, path in stac.items()
    ]
    last = [Parcel(whole, f"{CATALOGUE}/{COLLECTION}", "application/json")]
    with destination.progress:
        destination.start([*files, *mosaics, *items, *last])
        for step in ([*files, *mosaics], items, last):
            destination.send(step)
    there = BucketDepot(destination.place, destination.bucket) / CATALOGUE
    there.delete([name for name in there.names("") if name not in {*stac, COLLECTION}])


def results_of(work: Tilewise, number: int) -> Results:
    """Return what a finished tile of a run has.

    Raises:
        ArgumentInvalid: it is described as no run describes it.
        RunIncomplete: it has gone.
    """
    results = work.results(number)
    if results is None:
        raise RunIncomplete(
            f"The results of tile {work.tiles[number].name} in {work.kept(number)} have gone since "
            "they were made. Run the same command again to make only what is missing."
        )
    return results


def _write_items(
    folder: Path, results: Results, collection: str, tile: Tile, grid: Squares
) -> list[dict[str, str]]:
    """Write an item for each date of a tile; returns links to them.

    Raises:
        ArgumentInvalid: the tile is called as no run calls it.
    """
    root = {"rel": "root", "href": f"./{COLLECTION}", "type": "application/json"}
    links = [root, root | {"rel": "parent"}, root | {"rel": "collection"}]
    made, files = [], results.files()
    for item in results.items(lambda key: f"../{FOLDER}/{tile.name}/{files[key]}"):
        file = f"{item['id'].removeprefix(f'{collection}-')}.json"
        if not is_plain(file):
            raise ArgumentInvalid(
                f"Tile {tile.name} is described as {item['id']!r}, which is no name. Delete its "
                "folder, and give the same command again."
            )
        document = {**item, "collection": collection, "links": links}
        designation = _DESIGNATIONS.get(grid.kind)
        if designation is not None:
            document["properties"] |= {"grid:code": f"{designation}-{tile.name}"}
            document["stac_extensions"] = [*document["stac_extensions"], _GRID_EXTENSION]
        _write_json(folder / CATALOGUE / file, document)
        made.append({"rel": "item", "href": f"./{file}", "type": "application/geo+json"})
    return made


def _write_collection(
    folder: Path,
    name: str,
    told: Sequence[Mapping[str, Any]],
    images: Mapping[str, Any],
    links: Sequence[Mapping[str, str]],
    assets: Mapping[str, Any],
) -> None:
    boxes = [one["bbox"] for one in told if one["bbox"] is not None]
    moments = [part["time"] for one in told for part in one["parts"] if part["time"]]
    moments = moments or [moment for one in told for moment in one["period"] or [one["finished"]]]
    root = {"rel": "root", "href": f"./{COLLECTION}", "type": "application/json"}
    document: dict[str, Any] = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": name,
        "description": f"Results of {name} on tiles",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [_union(boxes)]},
            "temporal": {"interval": [[min(moments), max(moments)]]},
        },
        **told[0]["provenance"],
        "terrazzo:sources": images,
        "links": [root, *links],
        "assets": dict(assets),
    }
    _write_json(
        folder / CATALOGUE / COLLECTION,
        document | {"stac_extensions": [*extensions(document), FILE_EXTENSION]},
    )


def _union(boxes: Sequence[Sequence[float]]) -> list[float]:
    """Return the bounds of boxes in degrees; all longitudes where one crosses the antimeridian."""
    if not boxes:
        return [-180.0, -90.0, 180.0, 90.0]
    wests, souths, easts, norths = zip(*boxes, strict=True)
    if any(west > east for west, east in zip(wests, easts, strict=True)):
        wests, easts = (-180.0,), (180.0,)
    return [min(wests), min(souths), max(easts), max(norths)]


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    with whole_file(path) as part:
        part.write_text(json.dumps(document, indent=1))
