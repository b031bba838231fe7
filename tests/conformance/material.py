"""The collections that openeo-test-suite asks for, generated: COGs, taken in by the command line.

The suite's workflows want Sentinel-2 over a field of the Etsch valley in June 2022: bands B04 and
B08 in UTM 32N, exactly one image on the first two days (it counts pixels), images in five ISO
weeks, NDVI on both sides of 0.75. Its general part wants `CGLS_SSM_1KM`, soil moisture around
Vienna in 2020.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from affine import Affine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SENTINEL = "SENTINEL2_L2A"
MOISTURE = "CGLS_SSM_1KM"

BANDS = ("B02", "B03", "B04", "B08", "SCL")
DAYS = (1, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 29)
"""Of June 2022: two orbits of two satellites."""
LEFT, TOP, PIXEL = 679_000.0, 5_152_500.0, 10.0
COLUMNS, ROWS = 250, 200
"""Around 679720-680680, 5151080-5151920, which the suite reads."""
FIELD = 25
"""Edge of a field, pixels."""
CLOUD, VEGETATION, SOIL = 9, 4, 5
"""Classes of the band SCL."""

DEGREE = 1 / 112
WEST, NORTH = 15.5, 49.0
WIDE, HIGH = 224, 168
"""Soil moisture pixels: 2 degrees by 1.5."""

Terrazzo = "Callable[..., object]"


def make(folder: Path, terrazzo: Callable[..., object]) -> None:
    """Write the files of both collections and take them in.

    Args:
        folder: where the files go; they are read from there.
        terrazzo: runs the command line with these arguments.
    """
    write_sentinel(folder / "s2")
    write_moisture(folder / "ssm")
    terrazzo("ingest", folder / "s2", "--collection", SENTINEL, "--title", "Sentinel-2 L2A")
    terrazzo("ingest", folder / "ssm", "--collection", MOISTURE, "--bands", "B01")


def write_sentinel(folder: Path) -> None:
    """Write one file per band and date."""
    folder.mkdir(parents=True)
    place = Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP)
    for day in DAYS:
        name = f"S2A_MSIL2A_202206{day:02}T101559_32TPS"
        for band, values in sentinel(day).items():
            _write(folder / f"{name}_{band}.tif", values, "EPSG:32632", place, 0)


def sentinel(day: int) -> dict[str, np.ndarray]:
    """Return the bands of a day: fields from bare to dense, a cloud that drifts east."""
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    dense = ((rows // FIELD * 3 + columns // FIELD * 5) % 8) / 7
    grain = (rows * 7 + columns * 13 + day * 3) % 40
    bands = {
        "B02": 600 - 350 * dense + grain,
        "B03": 800 - 200 * dense + grain,
        "B04": 1400 - 1150 * dense + grain,
        "B08": 1800 + 2600 * dense + 10 * day + grain,
    }
    cloud = (rows - ROWS / 2) ** 2 + (columns - 8 * day) ** 2 < 20**2
    classes = np.where(cloud, CLOUD, np.where(dense > 0.4, VEGETATION, SOIL))
    shown = {band: np.where(cloud, 7000 + grain, values) for band, values in bands.items()}
    told = {band: values.astype(np.uint16) for band, values in shown.items()}
    return told | {"SCL": classes.astype(np.uint8)}


def write_moisture(folder: Path) -> None:
    """Write one file for every third day of 2020."""
    folder.mkdir(parents=True)
    rows, columns = np.mgrid[:HIGH, :WIDE]
    place = Affine(DEGREE, 0, WEST, 0, -DEGREE, NORTH)
    for number in range(0, 366, 3):
        day = date(2020, 1, 1) + timedelta(number)
        wet = 100 + 60 * np.cos(number / 58) + 20 * np.sin(rows / 20 + columns / 30)
        values = np.where((rows + columns + number) % 50 == 0, 255, wet).astype(np.uint8)
        _write(folder / f"c_gls_SSM1km_{day:%Y%m%d}.tif", values, "EPSG:4326", place, 255)


def _write(path: Path, values: np.ndarray, crs: str, place: Affine, no_data: int) -> None:
    with rasterio.open(
        path, "w", driver="COG", width=values.shape[1], height=values.shape[0], count=1,
        dtype=values.dtype, crs=crs, transform=place, nodata=no_data, compress="deflate",
        overviews="none",
    ) as file:  # fmt: skip
        file.write(values, 1)
