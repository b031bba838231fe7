"""Training samples of real parcels against the pixels that rasterio finds in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import polars as pl
import rasterio
from rasterio.features import geometry_mask
from tests.drivers.scenes import job_of, load
from tests.oracles.test_extraction import register_image

from terrazzo.drivers.extract import extract
from terrazzo.drivers.extraction.samples import Sampling

if TYPE_CHECKING:
    from pathlib import Path

BANDS = ("B02", "B03")


def test_all_pixels_of_zurich_parcels_are_those_that_rasterio_masks(
    shared: Path, tmp_path: Path
) -> None:
    folder = shared / "data" / "eodal_zurich_s2_parcels"
    (path,) = folder.glob("*.tiff")
    parcels = folder / "ZH_Polygons_2020_ESCH_EPSG32632.shp"
    workspace = register_image(tmp_path, path, BANDS, (folder,))
    job = job_of({"load": {**load(BANDS, collection="image"), "result": True}})

    extract(job, workspace, parcels, tmp_path / "out", sampling=Sampling(), how="centre")

    rows = pl.read_parquet(tmp_path / "out" / "table").sort("id", "y", "x")
    shapes = gpd.read_file(parcels).make_valid()
    with rasterio.open(path) as file:
        pixels, transform = file.read([1, 2], masked=True), file.transform
    total = 0
    for number, shape in enumerate(shapes):
        inside = ~geometry_mask([shape], pixels.shape[1:], transform)
        mine = rows.filter(pl.col("id") == number)
        row, col = np.nonzero(inside & ~np.ma.getmaskarray(pixels).all(axis=0))
        x, y = (np.array(found) for found in rasterio.transform.xy(transform, row, col))
        order = np.lexsort((x, y))
        np.testing.assert_array_equal(mine["x"], x[order])
        np.testing.assert_array_equal(mine["y"], y[order])
        for band, name in enumerate(BANDS):
            np.testing.assert_array_equal(mine[name], pixels[band].data[row, col][order])
        total += len(mine)
    assert total == len(rows) > 10_000
