"""GeoParquet, written batch by batch in the order in which features come."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from terrazzo.geo.crs import crs_object
from terrazzo.spans import span
from terrazzo.storage.writers.files import whole_file
from terrazzo.storage.writers.table import GEOMETRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Write = Callable[[Sequence[Any], NDArray[np.object_]], None]

_ROWS: Final = 65_536
"""Features of a row group."""


@contextmanager
def geotable(path: Path, schema: Any, crs: str, told: Mapping[bytes, bytes]) -> Iterator[Write]:
    """Open a GeoParquet 1.1 file for writing; it is there when the block succeeds, and whole.

    Gives a function that takes the columns of a batch and its geometries.

    Args:
        path: replaced if there.
        schema: Arrow schema of the attributes.
        crs: canonical name of the CRS of the coordinates.
        told: further metadata of the file.

    Raises:
        OutputFailed: disk full or folder not writable; nothing is left behind.
    """
    whole = schema.append(pa.field(GEOMETRY, pa.binary())).remove_metadata()
    kinds: set[str] = set()
    boxes: list[NDArray[np.float64]] = []
    waiting: list[Any] = []
    with (
        whole_file(path) as part,
        # Arrow would read its own schema, and not the metadata that are added in the end.
        pq.ParquetWriter(part, whole, compression="zstd", store_schema=False) as writer,
    ):

        def write(columns: Sequence[Any], shapes: NDArray[np.object_]) -> None:
            there = shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
            _, first = np.unique(shapely.get_type_id(there), return_index=True)
            kinds.update(shape.geom_type for shape in there[first])
            if len(there):
                boxes.append(shapely.total_bounds(there))
            wkb = pa.array(shapely.to_wkb(shapes, flavor="iso"), pa.binary())
            waiting.append(pa.record_batch([*columns, wkb], schema=whole))
            if sum(batch.num_rows for batch in waiting) >= _ROWS:
                flush()

        def flush() -> None:
            with span("encode"):
                if waiting:
                    writer.write_table(pa.Table.from_batches(waiting))
            waiting.clear()

        yield write
        flush()
        column: dict[str, Any] = {
            "encoding": "WKB",
            "geometry_types": sorted(kinds),
            "crs": crs_object(crs).to_json_dict(),
        }
        if boxes:
            edges = np.array(boxes)
            low, high = edges[:, :2].min(axis=0), edges[:, 2:].max(axis=0)
            column["bbox"] = [*low.tolist(), *high.tolist()]
        geo = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
        writer.add_key_value_metadata({b"geo": json.dumps(geo).encode(), **told})
