"""`run_grass` and `run_grass_whole` give windows, tiles and runs of what GRASS gives of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from tests.drivers.scenes import asset_of, register, write_cog
from tests.grass.oracle import grass_itself
from typing_extensions import override

from terrazzo import __version__
from terrazzo.catalog import BandInfo
from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.drivers import batch
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.described import Results
from terrazzo.drivers.job import Job
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.stages import Means, settled
from terrazzo.drivers.walk import walked
from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.errors import (
    ArgumentInvalid,
    BandNotFound,
    PlanTooLarge,
    RunDiffers,
    TerrazzoError,
)
from terrazzo.geo.grid import Grid, Window
from terrazzo.graph import parse
from terrazzo.grass import GrassMissing
from terrazzo.grass import version as grass_version
from terrazzo.processes import SPECS
from terrazzo.processes import grass as processes
from terrazzo.progress import Cancelled, Progress
from terrazzo.testing.memory import CubeOpener

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from terrazzo.drivers.job import Workspace
    from terrazzo.engine import Inference, Plan

GRID = Grid.of(32633, 600_000.3, 5_000_007.7, 10.1, 280, 270)
"""More than `EDGE` pixels, so that there are seams; and edges that are not round."""
EDGE = 256
"""Of the squares of the processes in these tests; what they are otherwise takes longer."""
LOAD = {"id": "dem", "spatial_extent": None, "temporal_extent": None}
LOCAL: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "slope": ("r.slope.aspect", {}, "", "slope"),
    "aspect": ("r.slope.aspect", {}, "n", "aspect"),
    "percent": ("r.slope.aspect", {"format": "percent", "zscale": 2.5}, "e", "slope"),
    "curvature": ("r.slope.aspect", {"nprocs": 2}, "", "pcurvature"),
    "relief": ("r.relief", {"altitude": 50.0, "azimuth": 315.0, "zscale": 3.0}, "", "output"),
    "median": ("r.neighbors", {"size": 7, "method": "median"}, "c", "output"),
    "weighted": (
        "r.neighbors",
        {"size": 9, "weighting_function": "gaussian", "weighting_factor": 2.0},
        "",
        "output",
    ),
    "diversity": ("r.neighbors", {"size": 3, "method": "diversity"}, "", "output"),
}
WHOLE: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "accumulation": ("r.watershed", {"threshold": 500}, "s", "accumulation"),
    "basin": ("r.watershed", {"threshold": 500}, "", "basin"),
    "filled": ("r.fill.dir", {}, "", "direction"),
    "index": ("r.topidx", {}, "", "output"),
    "clumps": ("r.clump", {"minsize": 3}, "d", "output"),
    "distance": ("r.grow.distance", {"metric": "squared"}, "", "distance"),
}


def terrain(grid: Grid = GRID) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Hills with steps and holes, some of which lie on the seams."""
    rows, cols = np.mgrid[0 : grid.height, 0 : grid.width]
    hills = 60 * np.sin(rows / 50) + 40 * np.cos(cols / 33) + rows / 10
    values = (hills + (cols * 7919 + rows * 104_729) % 13).astype(np.float32).round(1)
    valid = np.ones(values.shape, np.bool_)
    valid[5, 5] = valid[252:259, 100:103] = valid[70:80, 255:257] = False
    return values, valid


def cube_of(values: Any, valid: Any, bands: tuple[str, ...] = ("dem",), grid: Grid = GRID) -> Cube:
    shape = (1, len(bands), grid.height, grid.width)
    dimensions = (
        Dimension("t", Kind.TEMPORAL, ("2020-01-05T10:00:00Z",)),
        Dimension("bands", Kind.BANDS, bands),
        Dimension("y", Kind.SPATIAL),
        Dimension("x", Kind.SPATIAL),
    )
    values, valid = (np.broadcast_to(one, shape) for one in (values, valid))
    return Cube(values, valid, dimensions, grid, grid.window)


def graph_of(process: str, module: str, load: Any = LOAD, **given: Any) -> dict[str, Any]:
    arguments = {"data": {"from_node": "load"}, "module": module, **given}
    return {
        "load": {"process_id": "load_collection", "arguments": load},
        "grass": {"process_id": process, "arguments": arguments, "result": True},
    }


def inferred(cube: Cube, *arguments: Any, **given: Any) -> Inference:
    return infer(parse(graph_of(*arguments, **given), specs=SPECS), CubeOpener({"dem": cube}))


def planned(cube: Cube, *arguments: Any, **given: Any) -> Plan:
    return make_plan(inferred(cube, *arguments, **given))


@pytest.fixture
def hills(monkeypatch: pytest.MonkeyPatch) -> Cube:
    monkeypatch.setattr(processes, "CHUNK", EDGE)
    return cube_of(*terrain())


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What GRASS itself makes of the whole raster."""
    folder = tmp_path_factory.mktemp("grass")
    values, valid = terrain()
    path = folder / "dem.tif"
    transform = rasterio.Affine(10.1, 0, 600_000.3, 0, -10.1, 5_000_007.7)
    with rasterio.open(
        path, "w", "GTiff", GRID.width, GRID.height, 1, GRID.crs, transform, "float32", np.nan
    ) as file:
        file.write(np.where(valid, values, np.nan), 1)
    modules = []
    for name, (module, parameters, flags, output) in {**LOCAL, **WHOLE}.items():
        first = "elevation" if module in {"r.slope.aspect", "r.watershed"} else "input"
        told = [f"{key}={value}" for key, value in parameters.items()]
        more = ["output=never1"] if name == "filled" else []
        letters = [f"-{flags}"] if flags else []
        modules.append(
            " ".join([module, f"{first}=map", f"{output}={name}", *told, *more, *letters])
        )
    return grass_itself(path, modules, [*LOCAL, *WHOLE], folder)


def as_floats(cube: Cube) -> Any:
    return np.where(cube.valid, cube.values.astype(np.float64), np.nan)


@pytest.mark.parametrize("name", LOCAL)
def test_local_modules_give_what_grass_gives_of_the_whole(
    hills: Cube, truth: dict[str, Any], name: str
) -> None:
    module, parameters, flags, output = LOCAL[name]
    plan = planned(hills, "run_grass", module, parameters=parameters, flags=flags, outputs=[output])

    made = evaluate(plan, plan.window)

    assert made.values.shape == (1, 1, GRID.height, GRID.width)
    np.testing.assert_allclose(as_floats(made)[0, 0], truth[name], rtol=2e-6, atol=1e-9)
    for window in (Window(250, 200, 20, 60), Window(0, 0, 1, 1), Window(255, 255, 2, 2)):
        rows, cols = plan.window.slices(window)
        part = evaluate(plan, window)
        np.testing.assert_array_equal(as_floats(part), as_floats(made)[..., rows, cols])


@pytest.mark.parametrize("name", WHOLE)
def test_whole_modules_give_what_grass_gives(hills: Cube, truth: dict[str, Any], name: str) -> None:
    module, parameters, flags, output = WHOLE[name]
    given = {"parameters": parameters, "flags": flags, "outputs": [output]}
    job = Job.of(graph_of("run_grass_whole", module, **given), resolution=40.0)

    inference = infer(job.graph(), CubeOpener({"dem": hills}))
    inference, _ = settled(job, inference, ("grass",), Means(100, Pool("threads", 2), Progress()))
    plan = make_plan(inference)

    made = evaluate(plan, plan.window)
    # Distances are float64 in GRASS, and pixels of float32 give float32.
    np.testing.assert_allclose(as_floats(made)[0, 0], truth[name], rtol=1e-6)
    window = Window(170, 41, 60, 122)
    rows, cols = plan.window.slices(window)
    part = evaluate(plan, window)
    np.testing.assert_array_equal(as_floats(part), as_floats(made)[..., rows, cols])


def test_a_map_shows_slopes_of_the_pixels_themselves(hills: Cube) -> None:
    inference = inferred(hills, "run_grass", "r.slope.aspect")
    own = make_plan(inference)
    left, _, _, top = GRID.to_bounds(GRID.window, "EPSG:3857")
    mercator = Grid.of(3857, left + 1000, top - 1000, 20.0, 40, 40)

    shown = evaluate(make_plan(inference, mercator), Window(0, 0, 40, 40))

    known = set(as_floats(evaluate(own, own.window)).ravel().tolist())
    assert shown.valid.all()
    assert set(as_floats(shown).ravel().tolist()) <= known


def test_bands_and_dates_are_computed_one_by_one() -> None:
    grid = Grid.of(32633, 600_000.0, 5_000_000.0, 10.0, 40, 50)
    values = np.random.default_rng(7).integers(0, 99, (1, 2, 40, 50)).astype(np.uint8)
    cube = cube_of(values, True, ("red", "nir"), grid)
    plan = planned(cube, "run_grass", "r.neighbors", parameters={"method": "maximum"})

    made = evaluate(plan, plan.window)

    assert plan.probe.dimensions == cube.dimensions
    assert made.dtype == np.float32
    for band in range(2):
        alone = cube_of(values[:, band : band + 1], True, ("dem",), grid)
        one = planned(alone, "run_grass", "r.neighbors", parameters={"method": "maximum"})
        found = evaluate(one, one.window)
        np.testing.assert_array_equal(made.values[:, band], found.values[:, 0])


def test_outputs_are_bands_and_unwanted_ones_are_left_out() -> None:
    grid = Grid.of(32633, 600_000.0, 5_000_000.0, 10.0, 40, 50)
    values = np.random.default_rng(7).random((40, 50)).astype(np.float32)
    outputs = ["aspect", "slope", "dx"]
    graph = graph_of("run_grass", "r.slope.aspect", outputs=outputs)
    whole = make_plan(
        infer(parse(graph, specs=SPECS), CubeOpener({"dem": cube_of(values, True, grid=grid)}))
    )
    graph["grass"].pop("result")
    graph["one"] = {
        "process_id": "filter_bands",
        "arguments": {"data": {"from_node": "grass"}, "bands": ["dx"]},
        "result": True,
    }

    plan = make_plan(
        infer(parse(graph, specs=SPECS), CubeOpener({"dem": cube_of(values, True, grid=grid)}))
    )

    assert whole.probe.dimension("bands").labels == tuple(outputs)
    one, all_of_them = evaluate(plan, plan.window), evaluate(whole, whole.window)
    np.testing.assert_array_equal(as_floats(one)[:, 0], as_floats(all_of_them)[:, 2])


def test_an_expression_reads_only_its_bands_and_takes_them_together() -> None:
    grid = Grid.of(32633, 600_000.0, 5_000_000.0, 10.0, 40, 50)
    values = np.random.default_rng(7).random((1, 3, 40, 50)).astype(np.float32)
    valid = np.ones(values.shape, np.bool_)
    valid[0, 1, :3] = valid[0, 2, :, :4] = False
    cube = cube_of(values, valid, ("red", "swir", "nir"), grid)
    text = "(nir - red) / (nir + red)"

    plan = planned(cube, "run_grass", "r.mapcalc", parameters={"expression": text})

    made = evaluate(plan, plan.window)
    red, nir = values[0, 0], values[0, 2]
    assert plan.probe.names == ("t", "y", "x")
    assert plan.steps[0].wanted["bands"] == (0, 2)
    np.testing.assert_array_equal(made.valid[0], valid[0, 2])
    expected = ((nir - red) / (nir + red))[valid[0, 2]]
    np.testing.assert_allclose(made.values[0][made.valid[0]], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("process", "module", "given", "error", "said"),
    [
        ("run_grass", "r.watershed", {}, ArgumentInvalid, "use `run_grass_whole`"),
        ("run_grass_whole", "r.relief", {}, ArgumentInvalid, "use `run_grass`"),
        ("run_grass", "r.out.gdal", {}, ArgumentInvalid, "no module 'r.out.gdal'"),
        ("run_grass", "r.slope.aspect", {}, ArgumentInvalid, "one with `filter_bands`"),
        (
            "run_grass",
            "r.mapcalc",
            {"parameters": {"expression": "nir - rde"}},
            BandNotFound,
            "Did you mean 'red'",
        ),
    ],
)
def test_mistakes_are_found_before_a_pixel_is_read(
    process: str, module: str, given: Any, error: type[TerrazzoError], said: str
) -> None:
    cube = cube_of(*terrain(), ("red", "nir"))

    with pytest.raises(error, match=said):
        inferred(cube, process, module, **given)


def test_missing_grass_is_found_before_a_pixel_is_read(
    hills: Cube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(GrassMissing, match="apt-get install grass-core"):
        inferred(hills, "run_grass", "r.relief")


class Unwanted(Progress):
    """Nobody wants what is computed."""

    @override
    def check(self) -> None:
        raise Cancelled


@pytest.mark.parametrize("process", ["run_grass", "run_grass_whole"])
def test_whoever_watches_is_asked_while_a_module_runs(
    hills: Cube, monkeypatch: pytest.MonkeyPatch, process: str
) -> None:
    ran: list[str] = []

    def running(*_: object, check: Callable[[], None]) -> None:
        ran.append(process)
        check()
        pytest.fail("It goes on.")

    monkeypatch.setattr(processes, "run_module", running)
    means = Means(300, Pool("threads", 2), Unwanted())

    def work() -> None:
        if process == "run_grass":
            plan = planned(hills, process, "r.relief")
            [*walked(plan, [plan.window], lambda *_: None, workers=1, progress=Unwanted())]
        else:
            job = Job.of(graph_of(process, "r.watershed"))
            inference = infer(job.graph(), CubeOpener({"dem": hills}))
            settled(job, inference, ("grass",), means)

    with pytest.raises(Cancelled):
        work()

    assert set(ran) == {process}


def test_what_does_not_fit_into_memory_is_refused(hills: Cube) -> None:
    job = Job.of(graph_of("run_grass_whole", "r.watershed"))
    inference = infer(job.graph(), CubeOpener({"dem": hills}))

    with pytest.raises(PlanTooLarge, match=r"r\.watershed looks at all 75,600 pixels"):
        settled(job, inference, ("grass",), Means(64, Pool("threads", 1, 5_000_000), Progress()))


@pytest.fixture(scope="module")
def degrees(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Path]:
    """A real terrain of the Gironde's mouth in degrees, and its file."""
    source = shared / "data" / "demcompare_gironde" / "Gironde.tif"
    folder = tmp_path_factory.mktemp("gironde")
    with rasterio.open(source) as file:
        values, t = file.read(1), file.transform
        grid = Grid.of(4326, t.c, t.f, (t.a, -t.e), file.height, file.width)
    path = write_cog(folder / "dem.tif", values, grid, nodata=-9999)
    asset = asset_of(path, (BandInfo("dem", "float32", -9999.0),), grid)
    items = {"one": ("2020-01-01T00:00:00Z", {"dem": asset})}
    return register(folder, "dem", items, grid), path


def test_runs_over_a_real_terrain_agree_with_grass(
    degrees: tuple[Workspace, Path], tmp_path: Path
) -> None:
    workspace, path = degrees
    local = graph_of("run_grass", "r.slope.aspect", outputs=["slope", "aspect"])
    flow = graph_of("run_grass_whole", "r.watershed", outputs=["accumulation"], flags="s")
    folder = tmp_path / "oracle"
    folder.mkdir()
    modules = [
        "r.slope.aspect elevation=map slope=slope aspect=aspect",
        "r.watershed -s elevation=map accumulation=accumulation",
    ]
    truth = grass_itself(path, modules, ["slope", "aspect", "accumulation"], folder)

    made = {
        (name, block): batch.run(
            Job.of(nodes), workspace, tmp_path / f"{name}{block}", block=block,
            pool=Pool("threads", 2),
        )
        for name, block in (("local", 1024), ("local", 500), ("flow", 500))
        for nodes in (local if name == "local" else flow,)
    }  # fmt: skip

    found = {}
    for place, result in made.items():
        with rasterio.open(result.assets[0].path) as file:
            found[place] = file.read(masked=True).filled(np.nan)
    np.testing.assert_array_equal(found["local", 500], found["local", 1024])
    for name, bands in (("local", ["slope", "aspect"]), ("flow", ["accumulation"])):
        for number, band in enumerate(bands):
            np.testing.assert_allclose(found[name, 500][number], truth[band], rtol=1e-5, atol=1e-6)


def test_processes_compute_as_threads_do(degrees: tuple[Workspace, Path], tmp_path: Path) -> None:
    workspace, _ = degrees
    job = Job.of(graph_of("run_grass", "r.relief"), bbox=(-1.2, 45.2, -0.9, 45.5))

    files = [
        batch.run(job, workspace, tmp_path / kind, block=200, pool=Pool(kind, 2)).assets[0].path
        for kind in ("threads", "processes")
    ]

    assert files[0].read_bytes() == files[1].read_bytes()


def test_results_tell_of_grass_and_runs_do_not_mix_versions(
    degrees: tuple[Workspace, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = degrees
    bbox = (-1.2, 45.2, -1.1, 45.3)
    job = Job.of(graph_of("run_grass", "r.relief"), bbox=bbox)

    batch.run(job, workspace, tmp_path / "out", block=200)

    told = Results.of(tmp_path / "out")
    assert told is not None
    software = told.told["provenance"]["processing:software"]
    assert software == {"Terrazzo": __version__, "GRASS": grass_version()}
    monkeypatch.setattr(processes, "version", lambda: "9.1.0")
    with pytest.raises(RunDiffers, match="programs"):
        batch.run(job, workspace, tmp_path / "out", block=200)


def test_what_another_grass_has_found_is_found_again(
    hills: Cube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    run = processes.run_module

    def counted(*given: Any, **more: Any) -> Any:
        ran.append(processes.version())
        return run(*given, **more)

    monkeypatch.setattr(processes, "run_module", counted)
    job = Job.of(graph_of("run_grass_whole", "r.topidx"))
    inference = infer(job.graph(), CubeOpener({"dem": hills}))
    means = Means(300, Pool("threads", 1), Progress(), FolderDepot(tmp_path))

    for installed in ("8.2.1", "8.2.1", "8.4.0"):
        monkeypatch.setattr(processes, "version", lambda installed=installed: installed)
        settled(job, inference, ("grass",), means)

    assert ran == ["8.2.1", "8.4.0"]
