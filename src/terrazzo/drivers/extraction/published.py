"""Publishing an extraction: its polygons, with what was found on each date, as an item.

A row is a polygon, so that a map draws each one once; a column is a number of one date, named as
results of vector cubes are, `2024-05-15~B04~mean`.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from terrazzo.drivers.extraction.record import FILE, recorded
from terrazzo.drivers.extraction.result import open_extraction
from terrazzo.drivers.extraction.scenes import DONE
from terrazzo.drivers.ingestion.items import DIGEST, Period
from terrazzo.drivers.ingestion.vectors import ASSET, table_item
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import parse_time
from terrazzo.storage.gate import Gate
from terrazzo.storage.vectors.feature_table import table_facts
from terrazzo.storage.vectors.features import Asked, Features, open_features
from terrazzo.storage.vectors.stored import free_name, write_features

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from terrazzo.drivers.described import Results
    from terrazzo.drivers.extraction.dense import Dense
    from terrazzo.drivers.extraction.result import Extraction
    from terrazzo.drivers.ingestion.items import Target
    from terrazzo.storage.vectors.stored import TableFacts

MOST_COLUMNS: Final = 2000
"""Numbers of a polygon that are published."""
_DIGEST: Final = 12
_TIMES: Final = frozenset(
    {"datetime", "start_datetime", "end_datetime", "openeo:status", "updated"}
)
_FIRST: Final = ("mean", "median")
"""What is published unless told, the first that is there."""


def is_extraction(folder: Path) -> bool:
    """Tell whether a folder holds an extraction, and not a run."""
    return (folder / FILE).is_file()


def item_id(folder: Path) -> str:
    """Return the id of the item that an extraction becomes."""
    return recorded(folder).digest[:_DIGEST]


def extraction_item(
    results: Results,
    statistics: Sequence[str],
    target: Target,
    previous: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Write the table of an extraction into a workspace, and return its item.

    Args:
        results: of the extraction.
        statistics: what is published; `mean`, or else `median`, if empty.
        target: names the collection, and the folder of its files.
        previous: the item as the catalogue has it; None if it has none.

    Raises:
        ArgumentInvalid: it is not finished, its rows are single pixels, a statistic is not there,
            or there are too many columns.
        PlanTooLarge: there are too many numbers.
        OutputFailed: the workspace cannot be written.
    """
    extraction = open_extraction(results.folder)
    chosen = _chosen(extraction, statistics)
    name = item_id(results.folder)
    path = target.folder / name / f"{ASSET}.parquet"
    digest = _digest(extraction, chosen)
    before: Mapping[str, Any] = (previous or {}).get("assets", {}).get(ASSET) or {}
    if target.has(path, digest, before):
        facts = table_facts(path, Gate((path.parent,)))
    else:
        target.prepare(path)
        facts = _written(extraction, chosen, path)
    described = results.item_of({"label": "", "time": "", "assets": {}})["properties"]
    kept = {field: value for field, value in described.items() if field not in _TIMES}
    when = _period(extraction, described)
    return table_item(name, target, path, facts, when, {DIGEST: digest}, kept)


def _chosen(extraction: Extraction, statistics: Sequence[str]) -> tuple[str, ...]:
    """Return what is published.

    Raises:
        ArgumentInvalid: it is not there, or not all is done.
    """
    left = sum(scene.state != DONE for scene in extraction.scenes)
    if left:
        raise ArgumentInvalid(
            f"{left} of {len(extraction.scenes)} scenes of {extraction.folder} are not done. Give "
            "the same `terrazzo extract` again; with --skip-bad images are left out that cannot "
            "be read."
        )
    if extraction.of_pixels:
        raise ArgumentInvalid(
            f"The rows of {extraction.folder} are single pixels, not statistics of polygons. "
            "Publish an extraction without --pixels; the table of samples is Parquet already."
        )
    has = extraction.statistics
    chosen = tuple(statistics) or tuple(name for name in _FIRST if name in has)[:1]
    if not chosen:
        raise ArgumentInvalid(
            f"There is neither mean nor median. Name what is published with --stats: "
            f"{', '.join(has)}."
        )
    return chosen


def _digest(extraction: Extraction, chosen: Sequence[str]) -> str:
    """Return a digest of all that decides what the table holds."""
    scenes = [(scene.key, scene.version, scene.made.checksum) for scene in extraction.scenes]
    told = [recorded(extraction.folder).digest, list(chosen), scenes]
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=32).hexdigest()


def _period(extraction: Extraction, described: Mapping[str, Any]) -> Period:
    """Return the days that the table has, or what the images were of."""
    days = sorted(day for day in extraction.days if day)
    if days:
        return Period(parse_time(days[0]), parse_time(days[-1]) + timedelta(days=1))
    start, end = described.get("start_datetime"), described.get("end_datetime")
    return Period(parse_time(start or described["datetime"]), parse_time(end) if end else None)


def _written(extraction: Extraction, chosen: Sequence[str], path: Path) -> TableFacts:
    """Write the polygons with their numbers."""
    found = extraction.arrays(chosen)
    source = extraction.polygons_file.resolve()
    with open_features(source, Gate((source.parent,)), Asked()) as features:
        columns = _columns(found, features.schema.names)
        if len(columns) > MOST_COLUMNS:
            raise ArgumentInvalid(
                f"{len(columns):,} columns, one for each date, label and statistic, are more than "
                f"the {MOST_COLUMNS:,} that a table of polygons may have. Name fewer with --stats, "
                "or extract a shorter period or fewer bands."
            )
        fields = [pa.field(name, pa.float64()) for name in columns]
        schema = pa.schema([*features.schema, *fields])
        wide = Features(features.crs, schema, _widened(features, schema, list(columns.values())))
        return write_features(path, wide, id_column="id")


def _columns(found: Dense, taken: Sequence[str]) -> dict[str, Any]:
    """Return (polygon,) numbers by the name of their column."""
    labels = [axis.to_pylist() for name, axis in found.axes.items() if name != "id"]
    shape = tuple(len(one) for one in labels)
    columns: dict[str, Any] = {}
    for place in np.ndindex(*shape):
        words = [str(one[index]) for one, index in zip(labels, place, strict=True)]
        for statistic, array in found.arrays.items():
            name = free_name("~".join([*words, statistic]), [*taken, *columns])
            columns[name] = array[(slice(None), *place)]
    return columns


def _widened(features: Features, schema: Any, columns: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield features with more columns."""
    start = 0
    for batch, shapes in features.batches:
        part = slice(start, start + batch.num_rows)
        numbers = [pa.array(np.ascontiguousarray(one[part]), from_pandas=True) for one in columns]
        yield pa.record_batch([*batch.columns, *numbers], schema=schema), shapes
        start += batch.num_rows
