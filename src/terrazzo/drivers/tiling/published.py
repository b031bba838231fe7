"""What a finished run on a tile grid is published as: one STAC collection with all its files."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog.stac import extensions
from terrazzo.catalog.stored import STAC_VERSION
from terrazzo.drivers.described import CATALOGUE, Results
from terrazzo.drivers.ingestion.items import FILE_EXTENSION
from terrazzo.drivers.tiling.mosaics import Mosaics
from terrazzo.drivers.tiling.work import FOLDER
from terrazzo.errors import RunIncomplete
from terrazzo.storage.writers.files import begin_folder, whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from terrazzo.drivers.results import Asset
    from terrazzo.geo.tile_grids import Tile, TileGrid

_GRID_EXTENSION: Final = "https://stac-extensions.github.io/grid/v1.1.0/schema.json"
_DESIGNATIONS: Final = {"mgrs": "MGRS", "equi7": "EQUI7"}
"""What the grid extension of STAC calls tile grids."""


def publish(
    folder: Path,
    name: str,
    tiles: Sequence[Tile],
    grid: TileGrid,
    assembly: tuple[Mapping[str, str], int] | None = None,
) -> tuple[Asset, ...]:
    """Describe the tiles of a finished run in its folder; returns the files that it assembled.

    Args:
        folder: of the run.
        name: of the collection.
        tiles: all of them, finished.
        grid: of which they are.
        assembly: what `Mosaics.assembled` takes; None = no file is made of many.

    Raises:
        OutputFailed: the folder cannot be written to.
        RunIncomplete: the results of a tile have gone.
    """
    shutil.rmtree(folder / CATALOGUE, ignore_errors=True)
    begin_folder(folder / CATALOGUE)
    mosaics = Mosaics(folder)
    links: list[dict[str, str]] = []
    told: list[Mapping[str, Any]] = []
    for tile in tiles:
        place, results = folder / FOLDER / tile.name, results_of(folder, tile)
        # The catalogue of the whole run has its items.
        shutil.rmtree(place / CATALOGUE, ignore_errors=True)
        links += _write_items(folder, results, name, tile, grid)
        told.append(results.told)
        for part in results.told["parts"]:
            for asset in part["assets"].values():
                file = asset["file"]
                mosaics.add(tile, place / file, file, part["label"], part["time"])
    assets = mosaics.write()
    made: tuple[Asset, ...] = ()
    if assembly is not None:
        made, further = mosaics.assembled(*assembly)
        assets |= further
    _write_collection(folder, name, told, links, assets)
    return made


def results_of(folder: Path, tile: Tile) -> Results:
    """Return what a finished tile of the run in a folder has.

    Raises:
        RunIncomplete: it has gone.
    """
    place = folder / FOLDER / tile.name
    results = Results.of(place)
    if results is None:
        raise RunIncomplete(
            f"The results of tile {tile.name} in {place} have gone since they were made. Run the "
            "same command again to make only what is missing."
        )
    return results


def _write_items(
    folder: Path, results: Results, collection: str, tile: Tile, grid: TileGrid
) -> list[dict[str, str]]:
    """Write an item for each date of a tile; returns links to them."""
    root = {"rel": "root", "href": "./collection.json", "type": "application/json"}
    links = [root, root | {"rel": "parent"}, root | {"rel": "collection"}]
    made = []
    for item in results.items(lambda key: f"../{FOLDER}/{tile.name}/{_file(results, key)}"):
        file = f"{item['id'].removeprefix(f'{collection}-')}.json"
        document = {**item, "collection": collection, "links": links}
        designation = _DESIGNATIONS.get(grid.kind)
        if designation is not None:
            document["properties"] |= {"grid:code": f"{designation}-{tile.name}"}
            document["stac_extensions"] = [*document["stac_extensions"], _GRID_EXTENSION]
        _write_json(folder / CATALOGUE / file, document)
        made.append({"rel": "item", "href": f"./{file}", "type": "application/geo+json"})
    return made


def _file(results: Results, key: str) -> str:
    return str(results.asset(key)["file"])


def _write_collection(
    folder: Path,
    name: str,
    told: Sequence[Mapping[str, Any]],
    links: Sequence[Mapping[str, str]],
    assets: Mapping[str, Any],
) -> None:
    boxes = [one["bbox"] for one in told if one["bbox"] is not None]
    moments = [part["time"] for one in told for part in one["parts"] if part["time"]]
    moments = moments or [moment for one in told for moment in one["period"] or [one["finished"]]]
    root = {"rel": "root", "href": "./collection.json", "type": "application/json"}
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
        "links": [root, *links],
        "assets": dict(assets),
    }
    _write_json(
        folder / CATALOGUE / "collection.json",
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
