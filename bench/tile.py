"""Map tiles: three bands of one date, and the median NDVI of all dates, beside rio-tiler."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import graphs
from bench.data import CRS, OFFSET, QUANTIFICATION, Dataset
from bench.measure import Contestant, fresh, race
from bench.report import Row, Section, Table, ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.measure import Outcome
    from bench.options import Options

    Task = Callable[[], dict[str, np.ndarray]]

ZOOMS = (10, 12, 14)
EDGE = 256
BLACK, WHITE = 0.0, 0.4
"""Reflectance that is shown as black and as white."""
COLD, WARM, PEER = "Terrazzo, cold", "Terrazzo, warm", "rio-tiler"
SUITES = {"rgb": "three bands of one date, PNG", "median": "NDVI, median of all dates, array"}
ALIKE = {"rgb": 0.90, "median": 0.90}
"""Share of valid pixels that must be alike; both resample to the nearest pixel, rio-tiler along an
approximated transform, so that some pixels are the neighbour's."""
MASKS_ALIKE = 0.97
TOLERANCE = {"rgb": 1e-6, "median": 2e-6}
"""What alike means: reflectance, index (float32)."""


def tiles(data: Dataset, zoom: int, count: int) -> list[tuple[int, int]]:
    """Return columns and rows of tiles that the data fills most of, spread by chance."""
    import morecantile
    from rasterio.warp import transform_bounds

    matrix = morecantile.tms.get("WebMercatorQuad")
    west, south, east, north = transform_bounds(CRS, "EPSG:4326", *data.bounds)
    there = list(matrix.tiles(west, south, east, north, [zoom]))
    left, bottom, right, top = data.bounds

    def share(tile: Any) -> float:
        box = transform_bounds("EPSG:3857", CRS, *matrix.xy_bounds(tile))
        width, height = min(right, box[2]) - max(left, box[0]), min(top, box[3]) - max(bottom, box[1])
        return max(width, 0) * max(height, 0)

    best = sorted(there, key=share, reverse=True)
    best = [tile for tile in best if share(tile) > 0.5 * share(best[0])]
    order = np.random.default_rng(zoom).permutation(len(best))[:count]
    return [(best[i].x, best[i].y) for i in order]


def _data(parameters: Mapping[str, Any]) -> Dataset:
    return Dataset(Path(parameters["home"]), parameters["size"], parameters["dates"])


def _tasks(
    parameters: Mapping[str, Any], made: Mapping[str, Callable[[int, int, int], np.ndarray]]
) -> dict[str, Task]:
    """Return a task per suite and zoom: all its tiles, one after the other."""
    data = _data(parameters)

    def task(one: Callable[[int, int, int], np.ndarray], zoom: int) -> Task:
        wanted = tiles(data, zoom, parameters["tiles"])
        return lambda: {f"{x}/{y}": one(zoom, x, y) for x, y in wanted}

    return {f"{suite} z{zoom}": task(one, zoom) for suite, one in made.items() for zoom in ZOOMS}


def ours(parameters: Mapping[str, Any]) -> dict[str, Task]:
    """Terrazzo's tile layer; cold makes it anew for every tile: graph, search, plan, empty cache."""
    from terrazzo.drivers.job import Job, Workspace
    from terrazzo.drivers.tile import MERCATOR, TileLayer, View, shown
    from terrazzo.storage.writers.picture import Style, encode_picture

    data = _data(parameters)
    view = View(Style(BLACK, WHITE), graphs.THREE_BANDS)
    known: dict[str, TileLayer] = {}

    def layer(suite: str) -> TileLayer:
        graph = graphs.three_bands(data) if suite == "rgb" else graphs.ndvi_median(data)
        if suite not in known or parameters["cold"]:
            known[suite] = TileLayer(Job.of(graph).infer(Workspace(data.home)), tile=EDGE)
        return known[suite]

    def rgb(zoom: int, x: int, y: int) -> np.ndarray:
        cube = layer("rgb").cube(MERCATOR, zoom, x, y)
        encode_picture(shown(cube, view), view.style, "png")
        return np.where(cube.valid, cube.values, np.nan)[0]

    def median(zoom: int, x: int, y: int) -> np.ndarray:
        cube = layer("median").cube(MERCATOR, zoom, x, y)
        return np.where(cube.valid, cube.values, np.nan)

    return _tasks(parameters, {"rgb": rgb, "median": median})


def rio_tiler(parameters: Mapping[str, Any]) -> dict[str, Task]:
    """rio-tiler's STAC reader and mosaic reader; it opens the files for every tile by design."""
    import pystac
    from rio_tiler.io import STACReader
    from rio_tiler.mosaic.methods.defaults import MedianMethod
    from rio_tiler.mosaic.reader import mosaic_reader

    data = _data(parameters)
    items = [pystac.Item.from_dict(item) for item in data.items]
    stretch = ((BLACK * QUANTIFICATION + OFFSET, WHITE * QUANTIFICATION + OFFSET),)
    index = f"(b1-b2)/(b1+b2-{graphs.TWICE_OFFSET})"

    def rgb(zoom: int, x: int, y: int) -> np.ndarray:
        with STACReader(None, item=items[0]) as reader:
            assets = list(graphs.THREE_BANDS)
            image = reader.tile(x, y, zoom, tilesize=EDGE, assets=assets, threads=1)
        array = (image.array.astype(np.float32) - OFFSET) / np.float32(QUANTIFICATION)
        image.rescale(stretch)
        image.render(img_format="PNG")
        return array.filled(np.nan)

    def read(item: Any, x: int, y: int, zoom: int, **_: Any) -> Any:
        with STACReader(None, item=item) as reader:
            return reader.tile(
                x, y, zoom, tilesize=EDGE, assets=["B08", "B04"], expression=index, threads=1
            )

    def median(zoom: int, x: int, y: int) -> np.ndarray:
        image, _ = mosaic_reader(
            items, read, x, y, zoom, pixel_selection=MedianMethod(), threads=1
        )
        return image.array.astype(np.float32).filled(np.nan)[0]

    return _tasks(parameters, {"rgb": rgb, "median": median})


def likeness(one: np.ndarray, other: np.ndarray, tolerance: float) -> tuple[float, float]:
    """Return the shares of pixels with equal validity, and of valid pixels with equal values."""
    seen, there = np.isfinite(one), np.isfinite(other)
    both = seen & there
    alike = np.abs(one[both] - other[both]) <= tolerance
    return float((seen == there).mean()), float(alike.mean()) if alike.size else 1.0


def run(data: Dataset, options: Options) -> Section:
    """Race the tiles and compare them."""
    shared = {
        "home": str(data.home),
        "size": data.size,
        "dates": data.dates,
        "tiles": 2 if options.quick else 6,
    }
    contestants = [
        Contestant(COLD, "bench.tile:ours", shared | {"cold": True}),
        Contestant(WARM, "bench.tile:ours", shared | {"cold": False}),
        Contestant(PEER, "bench.tile:rio_tiler", shared),
    ]
    names = [f"{suite} z{zoom}" for suite in SUITES for zoom in ZOOMS]
    outcome = race(contestants, names, options.runs, options.say)
    section = Section(
        "tile",
        "Map tiles",
        f"256 px Web Mercator tiles ({shared['tiles']} per zoom where there are as many), nearest "
        "neighbour, in one process and thread, per tile. *Cold*: graph parsed, catalogue searched, "
        "plan made, files opened and all pixels decoded for each tile. *Warm*: the layer has been "
        "asked for the same tiles before. rio-tiler opens its files for each tile by design, so "
        "its cold and warm times are the same. The operating system has cached the files for all.",
        "HTTP, and the search for items, which rio-tiler is spared: it is given them.",
    )
    for suite, title in SUITES.items():
        section.tables.append(_table(suite, title, outcome, data, shared["tiles"]))
    section.tables.append(_first(contestants[::2], options))
    return section


def _table(suite: str, title: str, outcome: Outcome, data: Dataset, count: int) -> Table:
    table = Table(title.capitalize(), ("CPU ms", "wall ms", "peak MB", "CPU / rio-tiler", "agrees"))
    for zoom in ZOOMS:
        task = f"{suite} z{zoom}"
        number = len(tiles(data, zoom, count))
        peer = outcome.timings[task, PEER]
        for name in (COLD, WARM, PEER):
            timing = outcome.timings[task, name]
            agrees = "" if name == PEER else _checked(suite, task, name, outcome, table)
            table.rows.append(
                Row(
                    f"z{zoom}, {name}",
                    (
                        ms(timing.cpu / number),
                        ms(timing.wall / number),
                        f"{timing.peak_mb:.0f}",
                        f"{timing.cpu / peer.cpu:.2f}",
                        agrees,
                    ),
                    ratio=None if name == PEER else timing.cpu / peer.cpu,
                )
            )
    return table


def _checked(suite: str, task: str, name: str, outcome: Outcome, table: Table) -> str:
    mine, theirs = outcome.arrays[task, name], outcome.arrays[task, PEER]
    pairs = [likeness(mine[key], theirs[key], TOLERANCE[suite]) for key in theirs]
    masks, values = (float(np.mean(shares)) for shares in zip(*pairs, strict=True))
    if masks < MASKS_ALIKE or values < ALIKE[suite]:
        table.problems.append(
            f"{task}, {name}: {masks:.1%} of the masks and {values:.1%} of the values are those of "
            f"rio-tiler; at least {MASKS_ALIKE:.0%} and {ALIKE[suite]:.0%} should be."
        )
    return f"{values:.1%}"


def _first(contestants: list[Contestant], options: Options) -> Table:
    """Measure the first tile of a process, which somebody waits for after a start."""
    table = Table("First median tile (z12) of a new process", ("imports CPU ms", "tiles CPU ms"))
    measured = fresh(contestants, "median z12", 1 if options.quick else 3)
    for name, (start, first) in measured.items():
        table.rows.append(Row(name, (ms(start), ms(first))))
    return table
