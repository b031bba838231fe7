"""Tables: JSON, CSV, Parquet and GeoParquet from columns of equal length."""

from __future__ import annotations

import csv
import json
import math
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from terrazzo.errors import ArgumentInvalid, FormatUnsupported
from terrazzo.geo.crs import crs_object
from terrazzo.spans import span
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    Columns = Mapping[str, Sequence[Any] | np.ndarray[Any, np.dtype[Any]]]

SUFFIXES = (".parquet", ".csv", ".json")
GEOMETRY = "geometry"
"""Name of the column of geometries."""


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

    Masked arrays and None are nulls, NaN stays NaN.

    Args:
        path: ends in .parquet; replaced if there.
        columns: of equal length, by name; `geometry` is taken.
        shapes: shapely geometries, as many.
        crs: canonical name of their coordinates' CRS.

    Raises:
        ArgumentInvalid: lengths differ.
        OutputFailed: disk full or folder not writable; nothing is left behind.
    """
    import pyarrow as pa  # noqa: PLC0415 - takes a while, and only this needs it
    import pyarrow.parquet as pq  # noqa: PLC0415

    if any(len(values) != len(shapes) for values in columns.values()):
        raise ArgumentInvalid(f"Columns must have one value for each of {len(shapes)} geometries.")
    array = np.empty(len(shapes), dtype=object)
    array[:] = shapes
    table = pa.table(
        {
            **{name: _arrow(values) for name, values in columns.items()},
            GEOMETRY: pa.array(shapely.to_wkb(array, flavor="iso"), pa.binary()),
        }
    ).replace_schema_metadata({"geo": json.dumps(_geo_metadata(array, crs))})
    with whole_file(path) as part, span("encode"):
        pq.write_table(table, part, compression="zstd")
    return path


def _geo_metadata(shapes: NDArray[np.object_], crs: str) -> dict[str, Any]:
    """Return what GeoParquet says of its geometries."""
    there = shapes[~shapely.is_empty(shapes)]
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted(
            {f"{shape.geom_type}{' Z' if shape.has_z else ''}" for shape in shapes}
        ),
        "crs": crs_object(crs).to_json_dict(),
    }
    if there.size:
        column["bbox"] = shapely.total_bounds(there).tolist()
    return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}


def _write_parquet(path: Path, columns: Columns) -> None:
    import pyarrow as pa  # noqa: PLC0415 - takes a while, and only this needs it
    import pyarrow.parquet as pq  # noqa: PLC0415

    table = pa.table({name: _arrow(values) for name, values in columns.items()})
    pq.write_table(table, path, compression="zstd")


def _arrow(values: Any) -> Any:
    """Return a column for Parquet; values of several types become text."""
    import pyarrow as pa  # noqa: PLC0415 - only where a Parquet file is written

    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        mask = np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else None
        return pa.array(np.ma.getdata(values), mask=mask, from_pandas=False)
    plain = cells(values)
    try:
        return pa.array(plain, from_pandas=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if cell is None else _text(cell) for cell in plain], pa.string())


def _write_text(path: Path, columns: Columns, suffix: str) -> None:
    plain = {name: cells(values) for name, values in columns.items()}
    rows = zip(*plain.values(), strict=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        if suffix == ".csv":
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(plain)
            writer.writerows([_cell(cell) for cell in row] for row in rows)
            return
        names = list(plain)
        file.write("[")
        for number, row in enumerate(rows):
            file.write(",\n " if number else "\n ")
            record = {name: json_value(cell) for name, cell in zip(names, row, strict=True)}
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False))
        file.write("\n]\n")


def cells(values: Any) -> list[Any]:
    """Return plain Python values, None where masked."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "M":
            values = np.char.add(np.datetime_as_string(values), "Z")
        found: list[Any] = values.tolist()
        return found
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _text(cell: Any) -> str:
    return cell if isinstance(cell, str) else json.dumps(json_value(cell), ensure_ascii=False)


def _cell(cell: Any) -> Any:
    """Return a value as a CSV file has it."""
    if cell is None:
        return ""
    return _text(cell) if isinstance(cell, dict | list) else cell


def json_value(value: Any) -> Any:
    """Return a value as JSON has it: None for what is no finite number, text for what is none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): json_value(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(entry) for entry in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | str) else str(value)
