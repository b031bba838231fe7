"""A real Sentinel-2 series: 140 dates of a forest in Romania, small in space and long in time."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import morecantile
import numpy as np

from bench.comparison import OURS, agreement, cells_of
from bench.contestants.cubes import BLOCK, THREADS
from bench.contestants.real_tiles import TASK
from bench.data import FOLDER
from bench.dataset import REAL
from bench.measure import Contestant, race
from bench.report import Row, Section, Table, ms
from bench.tile import ALIKE, likeness
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace
from terrazzo.drivers.sample import sample_files

if TYPE_CHECKING:
    from pathlib import Path

    from bench.dataset import Dataset
    from bench.options import Options

HOME = FOLDER / "real"
COMPOSITE = "real composite"
ZOOM = 15
PEERS = {
    "odc-stac + Dask": "real_composite",
    "xarray, from the NetCDF file": "real_from_netcdf",
}


def run(data: Dataset, options: Options) -> Section:
    """Race a composite and a tile of the real series."""
    del data
    items = series(HOME, options)
    section = Section(
        "real",
        "Real data",
        "A real Sentinel-2 time series (the 10 m cube of the package nrt 0.2.1, Joint Research "
        "Centre; contains modified Copernicus Sentinel data 2015-2021): 140 dates of 100 x 100 "
        "pixels, B4, B8 and SCL, which `terrazzo ingest` made into a COG for each band and date. "
        "What it takes is opening 420 small files, not decoding pixels.",
        "the row of the NetCDF file it came from reads one file instead of 420; it shows what the "
        "many files cost, and does not count as the peer.",
    )
    section.tables.append(_composite(items, options))
    section.tables.append(_tile(items, options))
    return section


def series(home: Path, options: Options) -> Path:
    """Ingest the series once; returns the file with its STAC items."""
    items = home / "items.json"
    if not items.exists():
        options.say("ingesting the real series")
        shutil.rmtree(home, ignore_errors=True)
        workspace = Workspace(home)
        ingest([sample_files().cube_10m], REAL, workspace, options=IngestOptions(title="Real"))
        with workspace.catalog() as catalog:
            found = list(catalog.search((REAL,)))
        items.write_text(json.dumps(found))
    return items


def _composite(items: Path, options: Options) -> Table:
    spec: dict[str, Any] = {
        "graph": "real_composite",
        "home": str(HOME),
        "items": str(items),
        "netcdf": str(sample_files().cube_10m),
        "block": BLOCK,
        "threads": THREADS,
    }
    tasks = {"tasks": {COMPOSITE: spec}}
    odc = "bench.contestants.odc_cubes:contestant"
    everyone = [Contestant(OURS, "bench.contestants.terrazzo_graphs:contestant", tasks)]
    everyone += [Contestant(name, odc, tasks | {"way": way}) for name, way in PEERS.items()]
    outcome = race(everyone, [COMPOSITE], options.runs, options.say)
    columns = ("CPU s", "wall s", "peak MB", "CPU / odc-stac", "agrees")
    table = Table("Real series, masked NDVI median, 140 dates", columns)
    best = outcome.timings[COMPOSITE, "odc-stac + Dask"].cpu
    for (_, name), timing in outcome.timings.items():
        agrees = ""
        if name != OURS:
            mine, theirs = (outcome.arrays[COMPOSITE, who]["result"] for who in (OURS, name))
            agrees = agreement(mine, theirs, 2e-6, name, table)
        ratio = timing.cpu / best if name == OURS else None
        table.rows.append(Row(name, (*cells_of(timing, best, None), agrees), ratio=ratio))
    return table


def _tile(items: Path, options: Options) -> Table:
    first = json.loads(items.read_text())[0]
    west, south, east, north = first["bbox"]
    matrix = morecantile.tms.get("WebMercatorQuad")
    place = matrix.tile((west + east) / 2, (south + north) / 2, ZOOM)
    shared = {"home": str(HOME), "items": str(items), "tile": [ZOOM, place.x, place.y]}
    module = "bench.contestants.real_tiles"
    peer = "rio-tiler"
    everyone = [
        Contestant("Terrazzo, cold", f"{module}:terrazzo", shared | {"state": "cold"}),
        Contestant("Terrazzo, warm", f"{module}:terrazzo", shared | {"state": "warm"}),
        Contestant(peer, f"{module}:rio_tiler", shared, once=True),
    ]
    outcome = race(everyone, [TASK], options.runs, options.say)
    columns = ("CPU ms", "wall ms", "peak MB", "CPU / rio-tiler", "agrees")
    table = Table(f"Real series, tile of zoom {ZOOM}, NDVI median of 140 dates", columns)
    theirs = outcome.timings[TASK, peer].cpu
    for (_, name), timing in outcome.timings.items():
        agrees = ""
        if name != peer:
            pair = (np.asarray(outcome.arrays[TASK, who]["result"]) for who in (name, peer))
            masks, values = likeness(*pair, 2e-6)
            agrees = f"{values:.1%}"
            if min(masks, values) < ALIKE["median"]:
                table.problems.append(f"{table.title}, {name}: {agrees} of the values agree.")
        cells = (ms(timing.cpu), ms(timing.wall), f"{timing.peak_mb:.0f}")
        cells = (*cells, f"{timing.cpu / theirs:.2f}", agrees)
        ratio = timing.cpu / theirs if name != peer else None
        table.rows.append(Row(name, cells, ratio=ratio))
    return table
