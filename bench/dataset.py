"""What the contestants read: where it is, and nothing that takes long to import."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

CRS = "EPSG:32633"
LEFT, TOP, PIXEL = 699_960.0, 5_300_040.0, 10.0
"""Upper left corner and pixel of the 10 m bands, metres of `CRS`: far from the
zone's middle, where its grid lies 2 degrees askew to Web Mercator (near Győr)."""
NODATA = 0
OFFSET, QUANTIFICATION = 1000, 10_000
"""Stored number = reflectance * QUANTIFICATION + OFFSET, as from baseline 04.00 on."""
COLLECTION = "bench-s2"
COLLECTION_20M = "bench-s2-20m"
"""The same dates, scene classes alone: a second collection of larger pixels."""
REAL = "real-s2"
"""The series that somebody else made."""
FIRST_DAY, DAYS_BETWEEN = date(2023, 4, 5), 18


@dataclass(frozen=True)
class Dataset:
    """What the contestants read."""

    home: Path
    """A Terrazzo workspace: the catalogue and the files."""
    size: int
    """Edge of the 10 m bands, pixels."""
    dates: int
    """How many dates are used; there may be more on disk."""
    first: date = FIRST_DAY
    step: int = DAYS_BETWEEN
    """Days from a date to the next."""

    @classmethod
    def of(cls, parameters: dict[str, Any]) -> Self:
        """Take it from the parameters of a contestant."""
        home, first = Path(parameters["home"]), date.fromisoformat(parameters["first"])
        return cls(home, parameters["size"], parameters["dates"], first, parameters["step"])

    @property
    def parameters(self) -> dict[str, Any]:
        """What `of` takes, as JSON values."""
        numbers = {"size": self.size, "dates": self.dates, "step": self.step}
        return {"home": str(self.home), "first": self.first.isoformat(), **numbers}

    @property
    def days(self) -> list[date]:
        """The dates."""
        return [self.first + timedelta(days=self.step * n) for n in range(self.dates)]

    @property
    def interval(self) -> list[str]:
        """Half-open temporal extent that selects exactly the dates."""
        return [self.days[0].isoformat(), (self.days[-1] + timedelta(days=1)).isoformat()]

    @property
    def parcels(self) -> Path:
        """GeoParquet with the polygons."""
        return self.home / "parcels.parquet"

    @property
    def items(self) -> list[dict[str, Any]]:
        """STAC items of the dates, in order of time."""
        return [json.loads((self.folder(day) / "item.json").read_text()) for day in self.days]

    @property
    def coarse_items(self) -> list[dict[str, Any]]:
        """STAC items of the second collection."""
        return [coarse(item) for item in self.items]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top in `CRS`."""
        edge = self.size * PIXEL
        return LEFT, TOP - edge, LEFT + edge, TOP

    def short(self, dates: int) -> Dataset:
        """Return the first dates alone."""
        return replace(self, dates=dates)

    def folder(self, day: date) -> Path:
        """Return the folder of a date's files."""
        return self.home / f"S2_{day:%Y%m%d}"

    def asset(self, day: date, band: str) -> Path:
        """Return a file."""
        return self.folder(day) / f"{band}.tif"

    def facts(self) -> dict[str, float]:
        """Return bytes on disk and decoded, full resolution, of the bands B04, B08 and SCL."""
        stored = sum(
            self.asset(day, band).stat().st_size
            for day in self.days
            for band in ("B04", "B08", "SCL")
        )
        decoded = self.dates * self.size**2 * (2 + 2 + 1 / 4)
        return {"stored_mb": stored / 1e6, "decoded_mb": decoded / 1e6}


def coarse(item: dict[str, Any]) -> dict[str, Any]:
    """Return the item of the second collection that belongs to one of the first."""
    assets = {"SCL": item["assets"]["SCL"]}
    named = {"id": item["id"] + "_20m", "collection": COLLECTION_20M}
    return item | named | {"assets": assets, "links": []}
