"""The steps of the demo: one collection, one graph, three drivers, and whether they agree."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pyarrow.parquet as pq

from terrazzo import __version__
from terrazzo.cli.parcels import ALIGNED, write_parcels
from terrazzo.drivers import batch
from terrazzo.drivers.extract import extract
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.sample import sample_files
from terrazzo.drivers.tile import MERCATOR, NATIVE, View
from terrazzo.errors import TerrazzoError
from terrazzo.ledger import LOCAL, Database, database_url
from terrazzo.ledger.services import add_service, services_of
from terrazzo.progress import ProgressLine
from terrazzo.server.maps.look import Look, view_of
from terrazzo.server.maps.maps import Maps
from terrazzo.server.services.changes import made
from terrazzo.storage.gate import Gate
from terrazzo.storage.raster import describe, read_window
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.drivers.batch import RunResult
    from terrazzo.drivers.extract import ExtractResult
    from terrazzo.ledger.services import Service
    from terrazzo.server.maps.maps import OpenMap

COLLECTION = "sentinel-2-romania"
TITLE = "Sentinel-2 over a forest in Romania, 2015-2021"
NOTICE = "Contains modified Copernicus Sentinel data 2015-2021; from the wheel of nrt 0.2.1 (JRC)."
COMMON_NAMES = {"B2": "blue", "B3": "green", "B4": "red", "B8": "nir"}
GRAPH = Path(__file__).parent / "demo_graph.json"
CONFIGURATION = {"min": 0.2, "max": 0.9, "colors": "rdylgn", "scope": "public"}
SERVICE_TITLE = "Yearly NDVI, cloud-free median"
SHOWN_TILES = 8


class DriversDisagree(TerrazzoError):
    """The three drivers gave different numbers, which must never happen."""


def make_everything(home: Path) -> tuple[Workspace, str]:
    """Do all steps in a folder and print what each made; returns the workspace and service id.

    Raises:
        SourceUnreadable: the sample data are not installed.
        OutputFailed: the folder cannot be written.
        DriversDisagree: tile, batch and extract don't give the same numbers.
    """
    click.echo(f"Terrazzo demo in {home}")
    with step("ingest") as told:
        workspace = take_in(home, told)
    job = Job.of(GRAPH.read_text(encoding="utf-8"))
    with step("service") as told:
        service, opened = publish(workspace, json.loads(job.document))
        told.append(f"{service.id}, for everybody, shows graph {opened.tiles.digest[:16]}")
    with step("tile") as told:
        told.append(f"{draw_tiles(opened, home / 'tiles')} in {home / 'tiles'}")
    with step("batch") as told:
        folder = home / f"ndvi-{run_name(opened)}"
        result = batch.run(job, workspace, folder, progress=ProgressLine())
        told.extend(str(asset.path) for asset in result.assets)
    with step("extract") as told:
        grid = opened.tiles.matrix(NATIVE)
        parcels = home / "parcels.gpkg"
        if not parcels.exists():
            write_parcels(parcels, grid.grid(grid.base_zoom))
        table = extract(
            job,
            workspace,
            parcels,
            home / f"parcels-{run_name(opened)}",
            statistics=("count", "mean", "median", "min", "max"),
            id_column="parcel",
            progress=ProgressLine(),
        )
        told.append(f"{table.rows} rows for {table.polygons} parcels ({parcels}): {table.table}")
    with step("check") as told:
        told.extend(compare(opened, result, table))
    click.echo(
        "\nGo on by hand:\n"
        f"  terrazzo --home {home} search {COLLECTION} --datetime 2018 --limit 5\n"
        f"  terrazzo --home {home} explain {GRAPH}\n"
        f"  terrazzo --home {home} run {GRAPH} -o ndvi"
    )
    return workspace, service.id


@contextmanager
def step(name: str) -> Iterator[list[str]]:
    """Time a step, then print the lines that it leaves."""
    begun = time.monotonic()
    lines: list[str] = []
    yield lines
    took = f"{time.monotonic() - begun:.1f} s"
    click.echo(f"{name:<8}{took:>7}  {lines[0] if lines else ''}")
    for line in lines[1:]:
        click.echo(f"{'':<17}{line}")


def take_in(home: Path, told: list[str]) -> Workspace:
    """Make the collection of the sample's Sentinel-2 cube."""
    options = IngestOptions(
        title=TITLE, description=NOTICE, license="other", common_names=COMMON_NAMES
    )
    report = ingest(
        [sample_files().cube_10m],
        COLLECTION,
        Workspace.of(home),
        options=options,
        progress=ProgressLine(),
    )
    told.append(
        f"collection {COLLECTION}: {report.made} items made, {report.kept} kept, COGs in "
        f"{home / 'assets' / COLLECTION}"
    )
    told.append(NOTICE)
    return Workspace.of(home)


def publish(workspace: Workspace, graph: dict[str, Any]) -> tuple[Service, OpenMap]:
    """Make a web service of the graph, unless an earlier demo has; returns it, open."""
    database = Database(database_url(workspace.home))
    maps = Maps(database, workspace)
    body = {
        "type": "XYZ", "title": SERVICE_TITLE, "process": graph, "configuration": CONFIGURATION
    }  # fmt: skip
    known = [
        one
        for one in services_of(database, LOCAL)
        if (one.process, one.configuration) == (graph, CONFIGURATION)
    ]
    if not known:
        known = [made(database, maps, LOCAL, body)]
        add_service(database, known[0])
    return known[0], maps.open(maps.as_owner(known[0], LOCAL))


def draw_tiles(opened: OpenMap, folder: Path) -> str:
    """Write the tiles of every year on the map and on the data's own grid; returns what."""
    folder.mkdir(parents=True, exist_ok=True)
    for matrix in (MERCATOR, NATIVE):
        _, zoom = opened.tiles.zooms(matrix)
        for x, y in places(opened, matrix, zoom)[:SHOWN_TILES]:
            content = opened.tiles.picture(
                matrix, zoom, x, y, view=default_view(opened), format_name="png"
            )
            if content is not None:
                with whole_file(folder / f"{matrix}-{zoom}-{x}-{y}.png") as part:
                    part.write_bytes(content)
    return f"{len(list(folder.glob('*.png')))} PNG tiles of the last year"


def run_name(opened: OpenMap) -> str:
    """Return a name for the run's folder: the same for the same graph, items and program."""
    parts = [__version__, opened.tiles.digest, *opened.versions]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]


def default_view(opened: OpenMap) -> View:
    """Return the view that the service's configuration describes."""
    return view_of(opened, Look.model_validate({}))


def places(opened: OpenMap, matrix: str, zoom: int) -> list[tuple[int, int]]:
    """Return column and row of the tiles of a zoom level that the service touches."""
    levels = opened.tiles.matrix(matrix)
    plan = opened.tiles.plan(matrix, zoom)
    if plan is None:
        return []
    columns, rows = levels.covering(plan.grid, plan.window, zoom)
    return [(x, y) for y in rows for x in columns]


def compare(opened: OpenMap, result: RunResult, table: ExtractResult) -> list[str]:
    """Compare the last year's tile, COG and table number by number; returns what was found.

    Raises:
        DriversDisagree: a number differs.
    """
    matrix = opened.tiles.matrix(NATIVE)
    tile = opened.tiles.cube(NATIVE, matrix.base_zoom, 0, 0)
    asset = result.assets[-1].path
    name = Gate((asset.parent,)).open_name(str(asset))
    info = describe(name)
    values, valid = read_window(name, 0, [1], info.grid.window)
    if tile is None:
        raise DriversDisagree("The tile is empty and the COG is not.")
    drawn = np.where(tile.valid, tile.values, np.nan)[-1]
    drawn = drawn.reshape(drawn.shape[-2:])[: info.grid.height, : info.grid.width]
    written = np.where(valid[0], values[0], np.nan)
    if not np.array_equal(drawn, written, equal_nan=True):
        raise DriversDisagree(f"The tile and {asset.name} differ.")
    rows, columns = ALIGNED
    by_hand = float(np.nanmean(written[rows, columns].astype(np.float64)))
    extracted = last_mean(table.table)
    if not np.isclose(by_hand, extracted, rtol=1e-6):
        raise DriversDisagree(f"Parcel 1 has a mean of {extracted} and the COG of {by_hand}.")
    means = f"{extracted:.6f}, and {by_hand:.6f} by numpy from the COG"
    return [
        f"tile = COG: {written.size} pixels of {asset.name} are the same to the bit",
        f"table = COG: the mean NDVI of parcel 1 is {means}",
    ]


def last_mean(path: Path) -> float:
    """Return the last year's mean of the parcel that is aligned to pixels."""
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return float([row for row in rows if row["id"] == 1][-1]["mean"])


def check_served(url: str, service: str) -> None:
    """Fetch one tile over HTTP and print that it came.

    Raises:
        DriversDisagree: what came is no picture.
    """
    told = json.loads(_fetch(f"{url}/services/{service}/map"))
    content = _fetch(
        f"{url}/services/{service}/tiles/native/{told['matrices']['native']['zooms'][1]}/0/0.png"
    )
    if not content.startswith(b"\x89PNG"):
        raise DriversDisagree("The server's tile is no PNG.")
    click.echo(f"serve            {url} gave a tile of {len(content)} bytes")


def _fetch(address: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=60) as answer:
        content: bytes = answer.read()
    return content
