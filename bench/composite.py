"""A composite: the median NDVI of clear pixels over all dates, beside odc-stac with Dask."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import graphs
from bench.data import CRS, Dataset
from bench.measure import Contestant, race
from bench.report import Row, Section, Table, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.measure import Outcome
    from bench.options import Options

    Task = Callable[[], dict[str, np.ndarray]]

TASK = "composite"
THREADS = 2
BLOCK = 1024
OURS, FILE, DECODE = "Terrazzo", "Terrazzo, `batch.run` to a COG", "decoding alone (rasterio)"
ODC, ODC_BLOCKS = "odc-stac + Dask", "odc-stac + Dask, one function per block"
TOLERANCE = 2e-6
"""Of the index, float32: the peers compute with stored numbers, we with reflectances."""


def _data(parameters: Mapping[str, Any]) -> Dataset:
    return Dataset(Path(parameters["home"]), parameters["size"], parameters["dates"])


def _blocks(edge: int) -> Iterator[tuple[int, int, int, int]]:
    for row in range(0, edge, BLOCK):
        for col in range(0, edge, BLOCK):
            yield row, col, min(BLOCK, edge - row), min(BLOCK, edge - col)


def _job(data: Dataset, edge: int) -> Any:
    from terrazzo.drivers.job import Job

    left, _, _, top = data.bounds
    box = (left, top - 10.0 * edge, left + 10.0 * edge, top)
    return Job.of(graphs.composite(data), bbox=box, bbox_crs=CRS)


def ours(parameters: Mapping[str, Any]) -> dict[str, Task]:
    """The engine block by block into one array in memory, as the peers do."""
    from terrazzo.drivers.job import Workspace
    from terrazzo.engine import evaluate

    data, edge = _data(parameters), parameters["window"]

    def task() -> dict[str, np.ndarray]:
        job = _job(data, edge)
        plan = job.plan(job.infer(Workspace(data.home)))
        out = np.full((plan.window.height, plan.window.width), np.nan, np.float32)

        def fill(window: Any) -> None:
            cube = evaluate(plan, window)
            rows, cols = plan.window.slices(window)
            np.copyto(out[rows, cols], cube.values, where=cube.valid)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(fill, plan.window.blocks(BLOCK)))
        return {"index": out}

    return {TASK: task}


def ours_to_file(parameters: Mapping[str, Any]) -> dict[str, Task]:
    """The batch driver: blocks kept for resuming, then one COG."""
    import rasterio

    from terrazzo.drivers.batch import Pool, run
    from terrazzo.drivers.job import Workspace

    data = _data(parameters)

    def task() -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory(prefix="terrazzo-bench-") as folder:
            pool = Pool("threads", THREADS, 8_000_000_000)
            job = _job(data, parameters["window"])
            made = run(job, Workspace(data.home), Path(folder), block=BLOCK, pool=pool)
            picture = next(a.path for a in made.assets if str(a.path).endswith((".tif", ".tiff")))
            with rasterio.open(picture) as file:
                return {"index": file.read(1, masked=True).filled(np.nan)}

    return {TASK: task}


def odc_dask(parameters: Mapping[str, Any]) -> dict[str, Task]:
    """odc-stac into Dask arrays, xarray's median: what its users write."""
    dataset = _loader(parameters)

    def task() -> dict[str, np.ndarray]:
        cube = dataset(-1)
        red, nir = cube.B04.astype("float32"), cube.B08.astype("float32")
        clear = cube.SCL.isin(list(graphs.CLEAR)) & (cube.B04 > 0) & (cube.B08 > 0)
        index = ((nir - red) / (nir + red - graphs.TWICE_OFFSET)).where(clear)
        return {"index": index.median("time", skipna=True).compute().values}

    return {TASK: task}


def odc_blocks(parameters: Mapping[str, Any]) -> dict[str, Task]:
    """odc-stac into Dask arrays, all maths in one NumPy function per block: tuned by hand."""
    import dask.array as da

    dataset = _loader(parameters)

    def task() -> dict[str, np.ndarray]:
        cube = dataset(-1)
        arrays = [cube[name].data for name in ("B04", "B08", "SCL")]
        return {"index": da.map_blocks(clear_median, *arrays, drop_axis=0, dtype="f4").compute()}

    return {TASK: task}


def _loader(parameters: Mapping[str, Any]) -> Callable[[int], Any]:
    import dask
    import odc.stac
    import pystac
    from odc.geo.geobox import GeoBox

    data, edge = _data(parameters), parameters["window"]
    dask.config.set(scheduler="threads", num_workers=THREADS)
    items = [pystac.Item.from_dict(item) for item in data.items]
    left, _, _, top = data.bounds
    box = GeoBox.from_bbox((left, top - 10 * edge, left + 10 * edge, top), CRS, resolution=10)

    def load(chunk: int) -> Any:
        return odc.stac.load(
            items,
            bands=["B04", "B08", "SCL"],
            geobox=box,
            chunks={"x": BLOCK, "y": BLOCK, "time": chunk},
            groupby="solar_day",
            resampling="nearest",
        )

    return load


def clear_median(red: np.ndarray, nir: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the median over the first axis of the index of clear pixels, by sorting."""
    clear = np.isin(classes, graphs.CLEAR) & (red > 0) & (nir > 0)
    low, high = red.astype("f4"), nir.astype("f4")
    with np.errstate(invalid="ignore", divide="ignore"):
        index = (high - low) / (high + low - graphs.TWICE_OFFSET)
    index[~clear] = np.nan
    index.sort(axis=0)
    count = clear.sum(axis=0)
    pair = [np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(index) - 1)]
    first, second = (np.take_along_axis(index, at[None], 0)[0] for at in pair)
    return (first + second) / 2


def decode(parameters: Mapping[str, Any]) -> dict[str, Task]:
    """Reading the same windows of the same files and no more: what nobody can save."""
    import rasterio
    from rasterio.windows import Window

    data, edge = _data(parameters), parameters["window"]

    def block(place: tuple[int, int, int, int]) -> None:
        row, col, height, width = place
        full, half = Window(col, row, width, height), Window(*(v // 2 for v in (col, row, width, height)))
        for day in data.days:
            for band, window in (("B04", full), ("B08", full), ("SCL", half)):
                with rasterio.open(data.asset(day, band)) as file:
                    file.read(1, window=window)

    def task() -> dict[str, np.ndarray]:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(block, _blocks(edge)))
        return {}

    return {TASK: task}


def run(data: Dataset, options: Options) -> Section:
    """Race the composite and compare the pictures."""
    shared = {
        "home": str(data.home),
        "size": data.size,
        "dates": data.dates,
        "window": min(data.size, options.window),
    }
    functions = {
        OURS: "ours",
        FILE: "ours_to_file",
        ODC: "odc_dask",
        ODC_BLOCKS: "odc_blocks",
        DECODE: "decode",
    }
    contestants = [Contestant(k, f"bench.composite:{v}", shared) for k, v in functions.items()]
    outcome = race(contestants, [TASK], options.runs, options.say)
    edge = shared["window"]
    section = Section(
        "composite",
        "Composite",
        f"Median over {data.dates} dates of the NDVI of clear pixels (scene classes 4 to 7 and 11, "
        f"20 m, nearest), {edge} x {edge} pixels of 10 m on the files' own grid, blocks of "
        f"{BLOCK}, {THREADS} threads, files opened anew in each run, result in memory.",
        "`batch.run` also keeps its blocks for resuming and writes a COG, and reads it again for "
        "the comparison; no peer does. xarray's median uses NumPy, as neither bottleneck nor "
        "numbagg is among the requirements of odc-stac or Dask; the row below it sorts instead "
        "and counts as the peer if it is faster.",
    )
    section.tables.append(_table(outcome, data))
    return section


def _table(outcome: Outcome, data: Dataset) -> Table:
    columns = ("CPU s", "wall s", "peak MB", "CPU / best peer", "CPU / decoding", "agrees")
    table = Table(f"Masked NDVI median, {data.dates} dates", columns)
    timings = {name: timing for (_, name), timing in outcome.timings.items()}
    best = min(timings[ODC].cpu, timings[ODC_BLOCKS].cpu)
    mine = outcome.arrays[TASK, OURS]["index"]
    for name, timing in timings.items():
        contest = name in (OURS, FILE)
        agrees = ""
        if name not in (OURS, DECODE):
            share = alike(mine, outcome.arrays[TASK, name]["index"])
            agrees = f"{share:.2%}"
            if share < 1:
                table.problems.append(f"{name}: only {share:.4%} of the pixels are as ours.")
        cells = (
            seconds(timing.cpu),
            seconds(timing.wall),
            f"{timing.peak_mb:.0f}",
            f"{timing.cpu / best:.2f}",
            f"{timing.cpu / timings[DECODE].cpu:.2f}",
            agrees,
        )
        table.rows.append(Row(name, cells, ratio=timing.cpu / best if contest else None))
    return table


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of pixels that are NaN in both or differ by no more than the tolerance."""
    same = np.isclose(one, other, rtol=0, atol=TOLERANCE, equal_nan=True)
    return float(same.mean())
