"""The table of an extraction as Arrow sees it: files in folders by date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from terrazzo.drivers.extraction.parts import TABLE

if TYPE_CHECKING:
    from pathlib import Path


def opened(folder: Path) -> Any:
    """Return the dataset (`pyarrow.dataset.Dataset`) of the table in the folder of an extraction.

    Raises:
        OSError: there is none.
        pyarrow.ArrowException: it is damaged.
    """
    import pyarrow.dataset as pads  # noqa: PLC0415 - brings pandas, and few need it

    days = pads.partitioning(pa.schema([("date", pa.date32())]), flavor="hive")
    return pads.dataset(str(folder / TABLE), format="parquet", partitioning=days)


def day_of(fragment: Any) -> str:
    """Return the day of a file of the dataset, `2024-05-15`; empty where it has several."""
    import pyarrow.dataset as pads  # noqa: PLC0415

    day = pads.get_partition_keys(fragment.partition_expression).get("date")
    return "" if day is None else str(day)
