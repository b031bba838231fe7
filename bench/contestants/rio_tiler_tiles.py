"""The STAC reader and the mosaic reader of rio-tiler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pystac
from rio_tiler.colormap import cmap
from rio_tiler.io import STACReader
from rio_tiler.mosaic.methods.defaults import MedianMethod
from rio_tiler.mosaic.reader import mosaic_reader

from bench import graphs
from bench.contestants.cubes import reflectance
from bench.contestants.tiles import BLACK, EDGE, HIGHEST, LOWEST, WHITE, tasks
from bench.dataset import OFFSET, QUANTIFICATION, Dataset

if TYPE_CHECKING:
    from bench.contestants.tiles import Task


def contestant(parameters: dict[str, Any]) -> dict[str, Task]:
    """Read items without a tile server; every tile opens its files, by rio-tiler's design."""
    data = Dataset.of(parameters)
    items = [pystac.Item.from_dict(item) for item in data.items]
    stretch = ((BLACK * QUANTIFICATION + OFFSET, WHITE * QUANTIFICATION + OFFSET),)
    index = f"(b1-b2)/(b1+b2-{graphs.TWICE_OFFSET})"
    colours = cmap.get("viridis")

    def rgb(zoom: int, x: int, y: int) -> np.ndarray:
        with STACReader(None, item=items[0]) as reader:
            assets = list(graphs.THREE_BANDS)
            image = reader.tile(x, y, zoom, tilesize=EDGE, assets=assets, threads=1)
        array = reflectance(image.array.data, np.ma.getmaskarray(image.array))
        image.rescale(stretch)
        image.render(img_format="PNG")
        return array

    def read(item: Any, x: int, y: int, zoom: int, **_: Any) -> Any:
        with STACReader(None, item=item) as reader:
            return reader.tile(
                x, y, zoom, tilesize=EDGE, assets=["B08", "B04"], expression=index, threads=1
            )

    def median(zoom: int, x: int, y: int) -> np.ndarray:
        image, _ = mosaic_reader(items, read, x, y, zoom, pixel_selection=MedianMethod(), threads=1)
        array = image.array.astype(np.float32).filled(np.nan)[0]
        image.rescale(((LOWEST, HIGHEST),))
        image.render(img_format="PNG", colormap=colours)
        return array

    suites = {"rgb": rgb, "median": median}
    return tasks(parameters, lambda suite, *place: suites[suite](*place))
