"""The sample data: real Sentinel-2 series that lie in the wheel of the package `nrt`.

The files are found by the package's record of installed files. Nothing of it is imported: its code
needs libraries that Terrazzo does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from terrazzo.errors import TerrazzoError

PACKAGE: Final = "nrt"
CUBE_10M: Final = "sentinel2_cube_subset_romania_10m.nc"
CUBE_20M: Final = "sentinel2_cube_subset_romania_20m.nc"
TREE_COVER: Final = "tree_cover_density_2018_romania.tif"
SERIES_20M: Final = "sentinel2_subset.nc"


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """Where the sample data are; each file is there.

    Source:
        Wheel of nrt 0.2.1 (Joint Research Centre, EUPL-1.2), folder `nrt/data`; contains modified
        Copernicus Sentinel-2 data 2015-2021.
    """

    cube_10m: Path
    """Romania, 100 x 100 pixels of 10 m, EPSG:3035, 140 dates 2015-08-01 to 2021-01-01: B2, B3,
    B4, B8, SCL."""
    cube_20m: Path
    """The same place and dates, 50 x 50 pixels of 20 m: B3, B4, B8A, B11, SCL."""
    tree_cover: Path
    """The same place, tree cover density 2018 in per cent, uint8 (a GeoTIFF without a date)."""
    series_20m: Path
    """Drome in France, 10 x 10 pixels of 20 m, 146 dates 2017 to 2019: B3, B4, B8A, B11, SCL."""


class SampleMissing(TerrazzoError):
    """The sample data are not installed."""

    code, status = "SampleMissing", 500

    def __init__(self, missing: str) -> None:
        super().__init__(
            f"The sample data are not installed: {missing} is missing. Install them with "
            "`pip install 'terrazzo[sample]'`, or `make setup` in a checkout."
        )


def sample_files() -> SampleFiles:
    """Find the sample data.

    Raises:
        SampleMissing: the package is not installed, or a file of it is not there.
    """
    try:
        recorded = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        raise SampleMissing(f"package {PACKAGE!r}") from None
    found = {file.name: Path(str(file.locate())) for file in recorded if "data" in file.parts}
    names = (CUBE_10M, CUBE_20M, TREE_COVER, SERIES_20M)
    for name in names:
        if name not in found or not found[name].is_file():
            raise SampleMissing(f"file {name!r} of package {PACKAGE!r}")
    return SampleFiles(*(found[name] for name in names))
