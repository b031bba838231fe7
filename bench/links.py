"""More dates and more bands of the same pixels: hard links under other names.

Nothing that reads files can know that they are the same, so every one is opened and decoded.
"""

from __future__ import annotations

import os
from datetime import date
from typing import TYPE_CHECKING

from bench.catalogue import write_catalogue, write_item
from bench.dataset import Dataset

if TYPE_CHECKING:
    from collections.abc import Sequence

BANDS = tuple(f"X{number:02d}" for number in range(1, 11))
"""Linked in turn to B04 and B08."""
USUAL = ("B04", "B08", "SCL")


def year(data: Dataset) -> Dataset:
    """Return a date every ten days of 2023, two to four in each month."""
    return _linked(data, "year", (date(2023, 1, 3), 10, 36), USUAL)


def long(data: Dataset) -> Dataset:
    """Return a hundred dates."""
    return _linked(data, "long", (date(2021, 1, 1), 5, 100), USUAL)


def wide(data: Dataset) -> Dataset:
    """Return the dates with ten bands of reflectance."""
    return _linked(data, "wide", (data.first, data.step, data.dates), BANDS)


def _linked(
    data: Dataset, name: str, times: tuple[date, int, int], bands: Sequence[str]
) -> Dataset:
    first, step, dates = times
    made = Dataset(data.home / f"{name}-of-{data.dates}", data.size, dates, first, step)
    sources = data.days
    for number, day in enumerate(made.days):
        folder = made.folder(day)
        if (folder / "item.json").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for position, band in enumerate(bands):
            of = ("B04", "B08")[position % 2] if band in BANDS else band
            target = made.asset(day, band)
            target.unlink(missing_ok=True)
            os.link(data.asset(sources[number % len(sources)], of), target)
        write_item(made, day, bands)
    write_catalogue(made, bands)
    return made
