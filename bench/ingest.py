"""`python -m bench ingest`: plain GeoTIFFs made COGs, and COGs registered where they are."""

from __future__ import annotations

import struct
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.transform import from_origin

from bench.dataset import CRS, LEFT, PIXEL, TOP
from bench.measure import Contestant, race
from bench.report import Row, Section, Table, Target, figure, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.dataset import Dataset
    from bench.measure import Outcome
    from bench.options import Options

OPTIONS = {
    "COMPRESS": "DEFLATE",
    "PREDICTOR": "YES",
    "OVERVIEW_RESAMPLING": "AVERAGE",
    "BIGTIFF": "IF_SAFER",
}
"""How `terrazzo ingest --copy` writes COGs of measurements."""
OURS, FLOOR = "Terrazzo", "GDAL's COG driver (rasterio)"
LOOP = "a loop of rasterio.open (as rio-stac)"
SEVERAL = 4
"""Files that are converted in one call."""
COGS, QUICK_COGS = 10_000, 200
TILES = 100
"""Places that the registered files have; each has as many dates as it takes."""
EDGE = 1024
RATIO, RATE = 1.1, 200.0
"""Times the floor's CPU and wall time at most; files registered in a second at least."""
_NUMBER = "#00000#"


def run(data: Dataset, options: Options) -> Section:
    """Convert one file, several with one and two workers, and register many."""
    count = QUICK_COGS if options.quick else COGS
    scratch = data.home.parent / "ingest"
    scratch.mkdir(exist_ok=True)
    one, several = plain(data, scratch / f"plain-{data.size}", options)
    many = cogs(scratch / f"cogs-{count}", count)
    section = _section(data, count)
    converting = {
        "one file": _task(one, scratch, copy=True),
        f"{SEVERAL} files, 1 worker": _task(several, scratch, copy=True),
        f"{SEVERAL} files, 2 workers": _task(several, scratch, copy=True, workers=2),
    }
    found = race(_converters(converting), list(converting), options.runs, options.say)
    section.tables.append(_conversion(found, list(converting), section))
    registering = {f"{w} worker{'s' * (w > 1)}": _task(many, scratch, workers=w) for w in (1, 2)}
    pair = [
        Contestant(OURS, "bench.contestants.ingestion:terrazzo", {"tasks": registering}),
        Contestant(LOOP, "bench.contestants.ingestion:looked_at", {"tasks": registering}),
    ]
    found = race(pair, list(registering), options.runs, options.say)
    section.tables.append(_registering(found, list(registering), count, section))
    return section


def _task(folder: Path, scratch: Path, *, copy: bool = False, workers: int = 1) -> dict[str, Any]:
    return {"folder": str(folder), "scratch": str(scratch), "copy": copy, "workers": workers}


def _converters(tasks: Mapping[str, Any]) -> list[Contestant]:
    ours = Contestant(OURS, "bench.contestants.ingestion:terrazzo", {"tasks": tasks})
    peers = {FLOOR: "gdal", "gdal_translate": "gdal_translate", "rio cogeo": "rio_cogeo"}
    function = "bench.contestants.ingestion:converted"
    return [ours, *(Contestant(n, function, {"tasks": tasks, "way": w}) for n, w in peers.items())]


def _section(data: Dataset, count: int) -> Section:
    compared = (
        f"*Conversion*: GeoTIFFs of {data.size} x {data.size} pixels (uint16, internal tiles of "
        "256 pixels, deflated, no overviews) become COGs, deflated with predictor, tiles of 512 "
        "pixels, averaged overviews: `terrazzo ingest --copy` into a new workspace, which also "
        "digests the source, compares its checksums, checks the copy and makes the items, beside "
        "the COG driver alone on the same settings. All copies must have the same pixels. "
        f"*Registering*: {count:,} COGs of {EDGE} x {EDGE} pixels in {TILES} places, read in "
        "place: opened, checked to be whole, described, put into a new catalogue; beside a loop "
        "that opens each and makes a dictionary of it, which it drops."
    )
    apart = (
        "`gdal_translate` is of the system's GDAL, which may be another version; files are in the "
        "cache of the system, so that no disk is measured."
    )
    return Section("ingest", "Ingestion", compared, apart)


def _conversion(found: Outcome, tasks: list[str], section: Section) -> Table:
    columns = ("what", "CPU s", "wall s", "peak MB", "CPU / GDAL", "wall / GDAL", "agrees")
    table = Table("Conversion to COG", columns)
    for task in tasks:
        floor = found.timings[task, FLOOR]
        wanted = found.arrays[task, FLOOR]["pixels"]
        for (of, name), timing in found.timings.items():
            if of != task:
                continue
            made = found.arrays[task, name]["pixels"]
            agrees = made.shape == wanted.shape and bool((made[:, 0] == wanted[:, 0]).all())
            if not agrees:
                table.problems.append(f"{task}: {name} has other pixels than {FLOOR}.")
            cpu, wall = timing.cpu / floor.cpu, timing.wall / floor.wall
            cells = (task, seconds(timing.cpu), seconds(timing.wall), f"{timing.peak_mb:.0f}")
            ratios = (f"{cpu:.2f}", f"{wall:.2f}", "yes" if agrees else "no")
            table.rows.append(Row(name, (*cells, *ratios), cpu if name == OURS else None))
            if name == OURS:
                text = f"Conversion, {task}: CPU time / GDAL's COG driver"
                section.targets.append(Target.at_most(text, RATIO, cpu))
    return table


def _registering(found: Outcome, tasks: list[str], count: int, section: Section) -> Table:
    columns = ("what", "files/s", "CPU ms/file", "wall s", "peak MB")
    table = Table(f"Registering {count:,} COGs", columns)
    for (task, name), timing in found.timings.items():
        if (made := int(found.arrays[task, name]["count"])) != count:
            table.problems.append(f"{name}, {task}: {made} of {count} files.")
        rate = count / timing.wall
        cpu = f"{1e3 * timing.cpu / count:.2f}"
        peak = f"{timing.peak_mb:.0f}"
        table.rows.append(Row(name, (task, figure(rate), cpu, seconds(timing.wall), peak)))
        if name == OURS and task == tasks[-1]:
            text = "COGs registered in place per second"
            section.targets.append(Target.at_least(text, RATE, rate))
    return table


def plain(data: Dataset, folder: Path, options: Options) -> tuple[Path, Path]:
    """Make plain GeoTIFFs of the scenes, and return the folder of one and that of several."""
    one, several = folder / "one", folder / "several"
    for where, wanted in ((one, 1), (several, SEVERAL)):
        where.mkdir(parents=True, exist_ok=True)
        scenes = [(day, name) for day in data.days for name in ("B04", "B08")][:wanted]
        for day, name in scenes:
            path = where / f"S_{day:%Y%m%d}_{name}.tif"
            if not path.exists():
                options.say(f"making {path.name}")
                beside = path.with_suffix(".part")
                _plain_copy(data.asset(day, name), beside)
                beside.replace(path)
    return one, several


def _plain_copy(source: Path, target: Path) -> None:
    with rasterio.open(source) as file:
        profile = {
            "driver": "GTiff", "dtype": file.dtypes[0], "count": 1, "height": file.height,
            "width": file.width, "crs": file.crs, "transform": file.transform,
            "nodata": file.nodata, "tiled": True, "blockxsize": 256, "blockysize": 256,
            "compress": "deflate", "predictor": 2,
        }  # fmt: skip
        with rasterio.open(target, "w", **profile) as copy:
            copy.write(file.read())


def cogs(folder: Path, count: int) -> Path:
    """Make COGs of different content, places and dates, by patching the bytes of one."""
    folder.mkdir(parents=True, exist_ok=True)
    if len(list(folder.glob("*.tif"))) == count:
        return folder
    pattern = _pattern(folder)
    for number in range(count):
        place, turn = number % TILES, number // TILES
        left = struct.pack("<d", LEFT + place * EDGE * PIXEL)
        day = date(2015, 1, 1) + timedelta(days=turn)
        made = pattern.replace(_NUMBER.encode(), f"#{number:05d}#".encode())
        path = folder / f"T{place:03d}_{day:%Y%m%d}.tif"
        path.write_bytes(made.replace(struct.pack("<d", LEFT), left))
    return folder


def _pattern(folder: Path) -> bytes:
    """Return the bytes of a COG whose number and left edge stand in it once."""
    raw, path = folder / "pattern.raw", folder / "pattern.cog"
    steps = np.arange(EDGE, dtype=np.uint16) // 16
    profile = {
        "driver": "GTiff", "dtype": "uint16", "count": 1, "height": EDGE, "width": EDGE,
        "crs": CRS, "transform": from_origin(LEFT, TOP, PIXEL, PIXEL), "nodata": 0,
    }  # fmt: skip
    with rasterio.open(raw, "w", **profile) as file:
        file.write(1 + np.add.outer(steps, steps), 1)
        file.update_tags(NUMBER=_NUMBER)
    rasterio.shutil.copy(raw, path, driver="COG", **OPTIONS)
    made = path.read_bytes()
    raw.unlink()
    path.unlink()
    if made.count(_NUMBER.encode()) != 1 or made.count(struct.pack("<d", LEFT)) != 1:
        raise ValueError("The pattern's number or left edge does not stand in it once.")
    return made
