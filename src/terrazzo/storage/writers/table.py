"""Tables: JSON, CSV, Parquet and GeoParquet from columns of equal length."""

from __future__ import annotations

import csv
import json
import math
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.errors import ArgumentInvalid, FormatUnsupported
from terrazzo.geo.crs import crs_object
from terrazzo.spans import span
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

    Columns = Mapping[str, Sequence[Any] | np.ndarray[Any, np.dtype[Any]]]

SUFFIXES = (".parquet", ".csv", ".json")


def write_table(path: Path, columns: Columns) -> Path:
    """Write columns as the file name's suffix says; returns the path.

    Masked arrays and None are empty cells. NaN stays NaN in Parquet and CSV, and is null in JSON,
    which has none.

    Args:
        path: ends in .parquet, .csv or .json (a list of objects); replaced if there.
        columns: of equal length, by name.

    Raises:
        ArgumentInvalid: columns of different length.
        FormatUnsupported: another suffix.
        OutputFailed: disk full or folder not writable; nothing is left behind.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ArgumentInvalid(f"The columns of a table are of one length, not {lengths}.")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise FormatUnsupported(f"Tables end in {', '.join(SUFFIXES)}, not {suffix!r}.")
    with whole_file(path) as part, span("encode"):
        if suffix == ".parquet":
            _write_parquet(part, columns)
        else:
            _write_text(part, columns, suffix)
    return path


def write_geotable(path: Path, columns: Columns, shapes: Sequence[BaseGeometry], crs: str) -> Path:
    """Write columns and a geometry per row as GeoParquet 1.1; returns the path.

    Args:
        path: ends in .parquet; replaced if there.
        columns: of equal length, by name; `geometry` is taken.
        shapes: shapely geometries, as many.
        crs: canonical name of their coordinates' CRS.

    Raises:
        ArgumentInvalid: lengths differ.
        OutputFailed: disk full or folder not writable; nothing is left behind.
    """
    import geopandas  # noqa: PLC0415 - takes a second, and only this needs it

    if any(len(values) != len(shapes) for values in columns.values()):
        raise ArgumentInvalid(f"Columns must have one value for each of {len(shapes)} geometries.")
    plain = {name: _cells(values) for name, values in columns.items()}
    frame = geopandas.GeoDataFrame(plain, geometry=list(shapes), crs=crs_object(crs))
    with whole_file(path) as part, span("encode"):
        frame.to_parquet(part, index=False)
    return path


def _write_parquet(path: Path, columns: Columns) -> None:
    import pyarrow as pa  # noqa: PLC0415 - takes a while, and only this needs it
    import pyarrow.parquet as pq  # noqa: PLC0415

    arrays = {
        name: pa.array(
            np.ma.getdata(values) if isinstance(values, np.ndarray) else list(values),
            mask=np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else None,
            from_pandas=False,
        )
        for name, values in columns.items()
    }
    pq.write_table(pa.table(arrays), path, compression="zstd")


def _write_text(path: Path, columns: Columns, suffix: str) -> None:
    cells = {name: _cells(values) for name, values in columns.items()}
    rows = zip(*cells.values(), strict=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        if suffix == ".csv":
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(cells)
            writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
            return
        names = list(cells)
        file.write("[")
        for number, row in enumerate(rows):
            file.write(",\n " if number else "\n ")
            record = {name: _json(cell) for name, cell in zip(names, row, strict=True)}
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False))
        file.write("\n]\n")


def _cells(values: Any) -> list[Any]:
    """Return plain Python values, None where masked."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "M":
            values = np.char.add(np.datetime_as_string(values), "Z")
        found: list[Any] = values.tolist()
        return found
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _json(cell: Any) -> Any:
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    return cell.isoformat() if isinstance(cell, datetime | date) else cell
