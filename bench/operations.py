"""Other processes over the scene, each beside the best peer that can do it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench import links
from bench.comparison import Comparison, Rival, run
from bench.graphs import COARSE_METRES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.dataset import Dataset
    from bench.options import Options
    from bench.report import Section

MONTHLY = Comparison(
    "month",
    "Medians by month",
    "`aggregate_temporal_period`: the median of NDVI in each of 12 months, from a date every ten "
    "days (hard links to the files of the scene: the peers and we open and decode all of them).",
    "bottleneck's median takes as long as the sorting function, and numbagg's far longer along "
    "this axis, when tried by hand.",
    "monthly",
    {
        "odc-stac + Dask, xarray `resample` with flox": Rival("odc_cubes", "monthly", slow=True),
        "odc-stac + Dask, one function per block": Rival("odc_cubes", "monthly_by_block"),
    },
    bands=("B04", "B08"),
    data=links.year,
    largest=2048,
)
COARSE = Comparison(
    "coarse",
    f"Averages over {COARSE_METRES} m",
    f"`resample_spatial` of B04 and B08 to pixels of {COARSE_METRES} m by average. All three read "
    "the overview of 40 m.",
    "GDAL's warper, which averages all pixels of 10 m: another result, in more than twice the "
    "time. The decimated read rounds to stored numbers, so that it agrees within half of one.",
    "coarse",
    {
        "odc-stac + Dask": Rival("odc_cubes", "coarse"),
        "rasterio, decimated read": Rival("rasterio_cubes", "coarse_read", tolerance=6e-5),
    },
    multiple=COARSE_METRES // 10,
)
KERNEL = Comparison(
    "kernel",
    "5 x 5 kernel",
    "`apply_kernel` with 25 weights that are no product of a row and a column, on B04 of every "
    "date; no-data counts as 0.",
    "OpenCV, whose filters know neither no-data nor blocks; and the two lines of pixels along the "
    "window's lower and right border, whose neighbours odc-stac does not load.",
    "smooth",
    {
        "odc-stac + Dask `map_overlap` + SciPy": Rival("odc_cubes", "smooth"),
        "rasterio + SciPy, by hand": Rival("rasterio_cubes", "smooth"),
    },
    bands=("B04",),
    largest=2048,
    margin=2,
)
MERGE = Comparison(
    "merge",
    "Merge of two collections",
    "`merge_cubes` of B04 (10 m) and, from another collection, the scene classes (20 m), then the "
    "mean over time of B04 where there is vegetation.",
    "nothing that we know of.",
    "merged",
    {
        "odc-stac + Dask, xarray": Rival("odc_cubes", "merged", slow=True),
        "odc-stac + Dask, one function per block": Rival("odc_cubes", "merged_by_block"),
    },
    bands=("B04", "SCL"),
    largest=4096,
)
OPERATIONS: Mapping[str, Callable[[Dataset, Options], Section]] = {
    one.name: partial(run, one) for one in (MONTHLY, COARSE, KERNEL, MERGE)
}
