"""Publishing geometries: the tables of a finished run become items that the next graph loads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from terrazzo.drivers.ingestion.items import DIGEST, Period, Target
from terrazzo.drivers.ingestion.names import safe_name
from terrazzo.drivers.ingestion.vectors import ASSET, table_item
from terrazzo.drivers.sending import Parcel
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import parse_time
from terrazzo.storage.gate import Gate
from terrazzo.storage.vectors.feature_table import table_facts
from terrazzo.storage.vectors.features import Asked, open_features
from terrazzo.storage.vectors.stored import write_features
from terrazzo.storage.writers.columns import IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.catalog import Catalog
    from terrazzo.drivers.described import Results
    from terrazzo.drivers.sending import Destination
    from terrazzo.progress import Progress
    from terrazzo.storage.vectors.stored import TableFacts

_ENDINGS: Final = (".parquet", ".geojson")
"""Of files with geometries, the first before the others where a run saved several."""
_DIGEST: Final = 12
_GEOJSON: Final = "application/geo+json"
_TIMES: Final = frozenset(
    {"datetime", "start_datetime", "end_datetime", "openeo:status", "updated"}
)


def tables_of(results: Results) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the files of a run that hold geometries, by name, of each name one format."""
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for ending in _ENDINGS:
        for part in results.told["parts"]:
            for key, asset in part["assets"].items():
                stem = key.removesuffix(ending)
                if key.endswith(ending) and stem not in found and _has_geometries(results, asset):
                    found[stem] = stem, asset
    return list(found.values())


def _has_geometries(results: Results, asset: Mapping[str, Any]) -> bool:
    """Tell whether a file of a run has geometries; tables without any are Parquet, too."""
    path: Path = results.folder / asset["file"]
    try:
        with open_features(path, Gate((results.folder.resolve(),)), Asked()):
            return True
    except ArgumentInvalid:
        return False


def publish_tables(
    results: Results,
    tables: Sequence[tuple[str, Mapping[str, Any]]],
    target: Target,
    catalog: Catalog,
    shown: Progress,
) -> tuple[int, int]:
    """Put the tables of a run into a collection; returns how many items are new, and kept.

    Args:
        results: of the run.
        tables: as `tables_of` returns them.
        target: names the collection, and the folder of its files.
        catalog: where it is.
        shown: is told of items.

    Raises:
        SourceUnreadable: a file of the run is damaged.
        OutputFailed: the workspace cannot be written.
    """
    before = {str(item["id"]): item for item in catalog.search((target.collection,))}
    digest = results.told["provenance"]["terrazzo:graph_digest"][:_DIGEST]
    shown.start(len(tables), "items")
    made = kept = 0
    for stem, told in tables:
        name = digest if len(tables) == 1 else f"{digest}_{safe_name(stem)}"
        item = _item(results, told, name, target, before.get(name))
        is_new = item != before.get(name)
        if is_new:
            catalog.put_items([item])
        made, kept = made + is_new, kept + (not is_new)
        shown.advance()
    return made, kept


def _item(
    results: Results,
    told: Mapping[str, Any],
    name: str,
    target: Target,
    previous: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the item of a table, whose file is in the workspace."""
    path = target.folder / name / f"{ASSET}.parquet"
    before: Mapping[str, Any] = (previous or {}).get("assets", {}).get(ASSET) or {}
    digest = str(told["file:checksum"])
    if target.has(path, digest, before):
        facts = table_facts(path, Gate((path.parent,)))
    else:
        target.prepare(path)
        facts = _written(results, told, path)
    described = results.item_of({"label": "", "time": "", "assets": {}})["properties"]
    start, end = described.get("start_datetime"), described.get("end_datetime")
    when = Period(parse_time(start or described["datetime"]), parse_time(end) if end else None)
    kept = {field: value for field, value in described.items() if field not in _TIMES}
    return table_item(name, target, path, facts, when, {DIGEST: digest}, kept)


def _written(results: Results, told: Mapping[str, Any], path: Path) -> TableFacts:
    source, gate = results.folder / told["file"], Gate((results.folder.resolve(),))
    asked = Asked(fid=IDENTIFIER)
    with open_features(source, gate, asked) as features:
        named = IDENTIFIER if IDENTIFIER in features.schema.names else ""
        return write_features(path, features, id_column=named)


def send_tables(catalog: Catalog, collection: str, destination: Destination) -> None:
    """Send the tables of a collection to a bucket, then its items and itself as STAC.

    The catalogue goes on to name the files of the workspace, which graphs read by place and
    attributes; what is sent names what lies beside it.

    Raises:
        ArgumentInvalid: one has gone from the workspace.
        OutputFailed: the store does not take them; what was sent is kept.
    """
    parcels, items = [], []
    for item in catalog.search((collection,)):
        name, assets = str(item["id"]), {}
        for key, asset in item["assets"].items():
            path = Path(asset["href"])
            parcels.append(Parcel(path, f"{name}/{path.name}", asset["type"]))
            assets[key] = {**asset, "href": f"./{path.name}"}
        items.append({**item, "assets": assets})
    destination.start(parcels)
    destination.send(parcels)
    own = {"href": "./collection.json", "type": "application/json"}
    up = {"href": "../collection.json", "type": "application/json"}
    links = [{"rel": "root", **own}]
    for item in items:
        name = str(item["id"])
        above = [{"rel": rel, **up} for rel in ("root", "parent", "collection")]
        destination.put_json(f"{name}/{name}.json", {**item, "links": above}, _GEOJSON)
        links.append({"rel": "item", "href": f"./{name}/{name}.json", "type": _GEOJSON})
    document = catalog.collection(collection)
    destination.put_json("collection.json", {**document, "links": links})
