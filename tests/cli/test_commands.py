"""The commands in this process: help, output, messages and exit status of each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from tests.server.small import (
    COLLECTION,
    DATES,
    LEFT,
    PIXEL,
    TOP,
    nir,
    red,
    write_graph,
    write_images,
)
from tests.server.small import graph as small_graph

import terrazzo.cli.group
from terrazzo.catalog import PropertyFilter
from terrazzo.cli import main
from terrazzo.cli.catalogue import interval
from terrazzo.cli.options import BBox, Bytes, Property
from terrazzo.drivers.extract import extract
from terrazzo.drivers.home import default_home
from terrazzo.drivers.job import CATALOG_FILE, Job, Workspace
from terrazzo.errors import ArgumentInvalid, OutputFailed, RunIncomplete

if TYPE_CHECKING:
    from click.testing import Result

COMMANDS = ("demo", "serve", "ingest", "search", "run", "extract", "explain", "profile")


def call(home: Path, *arguments: object, status: int = 0) -> Result:
    result = CliRunner().invoke(main, ["--home", str(home), *map(str, arguments)])
    assert result.exit_code == status, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    text = CliRunner().invoke(main, [command, "--help"]).output

    assert f"terrazzo {command}" in text.split("Example", 1)[1]


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom terrazzo.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        "bad = {'rasterio', 'numba', 'fastapi', 'numpy', 'pyproj'} & set(sys.modules)\n"
        "sys.exit(f'loaded {bad}' if bad else 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_version() -> None:
    assert "0." in CliRunner().invoke(main, ["--version"]).output


# ingest and search


def test_ingest_says_in_one_line_what_it_did_and_keeps_what_is_there(tmp_path: Path) -> None:
    images = tmp_path / "images"
    write_images(images)
    arguments = ("ingest", images, "--collection", "mine", "--bands", "red,nir", "--title", "T")

    first = json.loads(call(tmp_path / "home", *arguments).stdout)
    second = json.loads(call(tmp_path / "home", *arguments).stdout)

    assert first == {"collection": "mine", "made": 3, "kept": 0, "failed": 0}
    assert second == {"collection": "mine", "made": 0, "kept": 3, "failed": 0}


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    write_images(tmp_path / "images")

    told = call(
        tmp_path / "home", "ingest", tmp_path / "images", "--collection", "mine", "--dry-run"
    )

    assert json.loads(told.stdout)["dry_run"] is True
    assert not (tmp_path / "home").exists()


def test_ingest_of_nothing_is_bad_input(tmp_path: Path) -> None:
    told = call(tmp_path, "ingest", tmp_path / "nowhere", "--collection", "mine", status=2)

    assert "nowhere" in told.stderr


def test_a_file_that_is_left_out_ends_with_3(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    (tmp_path / "images" / "scene_20200101.tif").write_bytes(b"II*\0broken")

    told = call(tmp_path / "home", "ingest", tmp_path / "images", "--collection", "mine", status=3)

    assert json.loads(told.stdout)["failed"] == 1
    assert "scene_20200101" in told.stderr


def test_search_formats_agree(home: Path) -> None:
    ids = call(home, "search", COLLECTION, "--format", "ids").stdout.split()
    lines = call(home, "search", "--format", "json").stdout.splitlines()
    collection = json.loads(call(home, "search", "--format", "geojson").stdout)
    table = call(home, "search", COLLECTION).stdout.splitlines()

    assert len(ids) == len(DATES)
    assert [json.loads(line)["id"] for line in lines] == ids
    assert [feature["id"] for feature in collection["features"]] == ids
    assert [line.split()[0] for line in table] == ["id", *ids]


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ((), 3),
        (("--datetime", "2018"), 2),
        (("--datetime", "2018-05"), 1),
        (("--datetime", "2018-05-01"), 1),
        (("--datetime", "2018-05-02/.."), 2),
        (("--datetime", "2018-05-01/2018-06-01"), 1),
        (("--limit", "2"), 2),
        (("--bbox", "-10,-10,10,10"), 0),
        (("--bbox=-10,-10,40,60",), 3),
        (("--property", "gsd<5"), 0),
    ],
)
def test_search_narrows(home: Path, arguments: tuple[str, ...], count: int) -> None:
    told = call(home, "search", COLLECTION, "--count", *arguments)

    assert told.stdout.strip() == str(count)


def test_search_without_a_result_is_no_error(home: Path) -> None:
    arguments = ("search", "--datetime", "1999", "--format")

    assert call(home, *arguments, "table").stdout == ""
    assert json.loads(call(home, *arguments, "geojson").stdout)["features"] == []


BAD = {
    "bbox": ("search", "--bbox", "1,2,3"),
    "bbox text": ("search", "--bbox", "a,b,c,d"),
    "bbox NaN": ("search", "--bbox", "nan,1,2,3"),
    "time": ("search", "--datetime", "yesterday"),
    "empty time": ("search", "--datetime", "2019/2018"),
    "condition": ("search", "--property", "cloudy"),
    "collection": ("search", "nowhere"),
    "command": ("serch",),
    "missing argument": ("run",),
    "no such file": ("run", "nowhere.json", "-o", "out"),
    "port": ("serve", "--port", "99999"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_with_2_and_one_message(home: Path, name: str) -> None:
    told = call(home, *BAD[name], status=2)

    assert "Error" in told.stderr
    assert told.stdout == ""


def test_a_home_without_catalogue_says_what_to_do(tmp_path: Path) -> None:
    told = call(tmp_path, "search", status=2)

    assert "terrazzo ingest" in told.stderr


def test_a_graph_that_loads_no_collection_needs_no_catalogue(tmp_path: Path) -> None:
    point = {"type": "Point", "coordinates": [1, 2]}
    node = {"process_id": "load_geojson", "arguments": {"data": point}, "result": True}
    (tmp_path / "graph.json").write_text(json.dumps({"point": node}))
    home = tmp_path / "home"

    told = call(home, "run", tmp_path / "graph.json", "--output", tmp_path / "out")

    assert json.loads(told.stdout)["path"].endswith("result.geojson")
    assert not (home / CATALOG_FILE).exists()


# explain, run, extract


def test_explain_in_words_and_as_json(home: Path, graph: Path) -> None:
    text = call(home, "explain", graph).stdout
    told = json.loads(call(home, "explain", graph, "--json", "--block", 100).stdout)

    assert "300 x 300 pixels" in text
    assert told["block"]["count"] == 9
    assert told["grid"]["crs"] == "EPSG:32634"


def test_explain_where_and_how_finely(home: Path, graph: Path) -> None:
    told = json.loads(
        call(
            home, "explain", graph, "--json", "--resolution", 30,
            "--bbox", "500000,4998500,501500,5000000", "--bbox-crs", "EPSG:32634",
        ).stdout
    )  # fmt: skip

    assert told["grid"]["pixel"] == [30, 30]
    assert (told["grid"]["height"], told["grid"]["width"]) == (50, 50)


def test_explain_says_whether_pixels_are_exact(home: Path, graph: Path) -> None:
    default = call(home, "explain", graph, "--crs", "EPSG:3035").stdout
    exact = call(home, "explain", graph, "--crs", "EPSG:3035", "--exact").stdout
    told = json.loads(call(home, "explain", graph, "--exact", "--json").stdout)

    assert "exactly" not in default
    assert "every pixel is projected exactly" in exact
    assert told["exact"] is True


def test_exact_runs_are_not_mixed_with_others(home: Path, graph: Path, tmp_path: Path) -> None:
    place = ("-o", tmp_path / "out", "--crs", "EPSG:3035")
    call(home, "run", graph, *place, "--exact")

    again = call(home, "run", graph, *place, "--exact")
    other = call(home, "run", graph, *place, status=2)

    assert json.loads((tmp_path / "out" / "run.json").read_text())["exact"] is True
    assert "blocks were there already" in again.stderr
    assert "differs in exact" in other.stderr


def test_run_writes_what_the_graph_means(home: Path, graph: Path, tmp_path: Path) -> None:
    told = call(home, "run", graph, "-o", tmp_path / "out", "--block", 128)

    assets = [json.loads(line) for line in told.stdout.splitlines()]
    assert [asset["time"][:10] for asset in assets] == list(DATES)
    for asset, date in zip(assets, DATES, strict=True):
        with rasterio.open(asset["path"]) as file:
            written = file.read(1)
        year = int(date[:4])
        a, b = nir(year).astype(np.float32), red(year).astype(np.float32)
        known = red(year) > 0
        np.testing.assert_allclose(written[known], ((a - b) / (a + b))[known], rtol=1e-6)
        assert np.isnan(written[:40, :40]).all()


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_executors_and_blocks_give_the_same_bytes(
    home: Path, graph: Path, tmp_path: Path, executor: str
) -> None:
    one = call(home, "run", graph, "-o", tmp_path / "one")
    many = call(
        home, "run", graph, "-o", tmp_path / "many", "--block", 64, "--workers", 2,
        "--executor", executor,
    )  # fmt: skip

    for a, b in zip(one.stdout.splitlines(), many.stdout.splitlines(), strict=True):
        assert Path(json.loads(a)["path"]).read_bytes() == Path(json.loads(b)["path"]).read_bytes()


def test_a_finished_run_is_not_computed_again_unless_a_result_has_gone(
    home: Path, graph: Path, tmp_path: Path
) -> None:
    first = call(home, "run", graph, "-o", tmp_path / "out")
    path = Path(json.loads(first.stdout.splitlines()[0])["path"])
    content, made = path.read_bytes(), path.stat().st_mtime_ns
    graph.write_text(json.dumps(json.loads(graph.read_text()), indent=7))

    again = call(home, "run", graph, "-o", tmp_path / "out")
    kept = path.stat().st_mtime_ns
    path.unlink()
    third = call(home, "run", graph, "-o", tmp_path / "out")

    assert again.stdout == third.stdout == first.stdout
    assert kept == made
    assert path.read_bytes() == content


def test_run_of_a_wrong_graph_tells_every_problem(home: Path, tmp_path: Path) -> None:
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps({"process_graph": {
        "a": {"process_id": "nonsense", "arguments": {}},
        "b": {"process_id": "ndvi", "arguments": {}, "result": True},
    }}))  # fmt: skip

    told = call(home, "run", graph, "-o", tmp_path / "out", status=2)

    assert "nonsense" in told.stderr
    assert "data" in told.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null"])
def test_run_of_no_graph_is_bad_input(home: Path, tmp_path: Path, content: bytes) -> None:
    graph = tmp_path / "graph.json"
    graph.write_bytes(content)

    told = call(home, "run", graph, "-o", tmp_path / "out", status=2)

    assert "Error" in told.stderr


def test_unknown_band_lists_the_bands(home: Path, tmp_path: Path) -> None:
    graph = write_graph(tmp_path / "graph.json", bands=("red", "nri"))

    told = call(home, "run", graph, "-o", tmp_path / "out", status=2)

    assert "'nri'" in told.stderr
    assert "'nir'" in told.stderr


def test_too_little_memory_is_refused_before_any_read(
    home: Path, graph: Path, tmp_path: Path
) -> None:
    told = call(home, "run", graph, "-o", tmp_path / "out", "--memory", "100k", status=2)

    assert "block" in told.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_with_another_run_is_left_alone(home: Path, graph: Path, tmp_path: Path) -> None:
    call(home, "run", graph, "-o", tmp_path / "out")

    told = call(home, "run", graph, "-o", tmp_path / "out", "--resolution", 20, status=2)

    assert "-o" in told.stderr


def test_extract_reduces_polygons(home: Path, graph: Path, tmp_path: Path) -> None:
    polygons = tmp_path / "parcels.gpkg"
    box = shapely.box(LEFT + 100 * PIXEL, TOP - 120 * PIXEL, LEFT + 130 * PIXEL, TOP - 100 * PIXEL)
    geopandas.GeoDataFrame({"parcel": ["north"]}, geometry=[box], crs="EPSG:32634").to_file(
        polygons
    )

    told = call(
        home, "extract", graph, polygons, "-o", tmp_path / "out", "--stats", "mean,count",
        "--id", "parcel",
    )  # fmt: skip

    result = json.loads(told.stdout)
    rows = pq.read_table(result["path"]).to_pylist()
    assert result["rows"] == len(rows) == len(DATES)
    for row, date in zip(rows, DATES, strict=True):
        a, b = (band(int(date[:4]))[100:120, 100:130].astype(float) for band in (nir, red))
        assert row["id"] == "north"
        assert row["count"] == pytest.approx(600)
        assert row["mean"] == pytest.approx(((a - b) / (a + b)).mean(), rel=1e-6)


def test_extract_tells_beforehand_and_goes_on(home: Path, graph: Path, tmp_path: Path) -> None:
    polygons, out = tmp_path / "parcels.gpkg", tmp_path / "out"
    box = shapely.box(LEFT + 100 * PIXEL, TOP - 120 * PIXEL, LEFT + 130 * PIXEL, TOP - 100 * PIXEL)
    far = shapely.box(0, 0, 1, 1)
    geopandas.GeoDataFrame(geometry=[box, far], crs="EPSG:32634").to_file(polygons)
    command = ("extract", graph, polygons, "-o", out, "--stats", "mean", "--buffer", "-5")

    told = call(home, *command, "--dry-run")
    before = out.exists()
    first, again = (call(home, *command) for _ in range(2))

    assert not before
    assert f"{len(DATES)} (dates), {len(DATES)} to do" in told.stdout
    assert "of which 1 cover a pixel" in told.stdout
    assert json.loads(first.stdout) == json.loads(again.stdout)
    assert json.loads(first.stdout)["scenes"] == len(DATES)
    assert "1 polygons cover no pixel and have no rows: 1" in first.stderr
    assert f"{len(DATES)} of {len(DATES)} scenes were there already." in again.stderr
    call(home, *command, "--by", "image", status=2)


def test_extract_may_be_exact(home: Path, tmp_path: Path) -> None:
    document = small_graph()
    document["process_graph"]["ndvi"]["result"] = False
    document["process_graph"]["there"] = {
        "process_id": "resample_spatial",
        "arguments": {"data": {"from_node": "ndvi"}, "resolution": 14, "projection": 3857},
        "result": True,
    }
    graph, polygons = tmp_path / "graph.json", tmp_path / "parcels.gpkg"
    graph.write_text(json.dumps(document))
    box = shapely.box(LEFT, TOP - 300 * PIXEL, LEFT + 300 * PIXEL, TOP)
    geopandas.GeoDataFrame({"parcel": ["all"]}, geometry=[box], crs="EPSG:32634").to_file(polygons)
    job = Job.of(document, exact=True)
    reduced = extract(job, Workspace.of(home), polygons, tmp_path / "reduced")

    exact, default = (
        json.loads(call(home, "extract", graph, polygons, "-o", tmp_path / name, *options).stdout)
        for name, options in (("exact", ["--exact"]), ("default", []))
    )

    rows = pq.read_table(exact["path"]).to_pylist()
    assert rows == pq.read_table(reduced.table).to_pylist()
    assert rows != pq.read_table(default["path"]).to_pylist()


def test_extract_refuses_unknown_statistics(home: Path, graph: Path, tmp_path: Path) -> None:
    polygons = tmp_path / "parcels.geojson"
    polygons.write_text(json.dumps({"type": "FeatureCollection", "features": []}))

    told = call(
        home, "extract", graph, polygons, "-o", tmp_path / "out", "--stats", "average", status=2
    )

    assert "mean" in told.stderr


# options and errors


def test_memory_is_read_with_its_unit() -> None:
    sizes = {"4G": 4e9, "800M": 8e8, "4GiB": 2**32, "1.5k": 1500, "12": 12, "2 GB": 2e9}

    assert {text: Bytes().convert(text, None, None) for text in sizes} == sizes


def test_conditions_become_filters() -> None:
    found = [
        Property().convert(text, None, None)
        for text in ("eo:cloud_cover<20", "a >= -1.5e3", "name='x y'", "b=true", "c!=x<y")
    ]

    filters = [PropertyFilter(c.name, c.operator, c.value) for c in found]  # type: ignore[arg-type]
    assert [(f.name, f.operator, f.value) for f in filters] == [
        ("eo:cloud_cover", "<", 20),
        ("a", ">=", -1500.0),
        ("name", "=", "x y"),
        ("b", "=", True),
        ("c", "!=", "x<y"),
    ]


def test_dates_become_half_open_intervals() -> None:
    assert interval("") is None
    assert interval("2018") == ("2018-01-01T00:00:00Z", "2019-01-01T00:00:00Z")
    assert interval("2018-12") == ("2018-12-01T00:00:00Z", "2019-01-01T00:00:00Z")
    assert interval("2018-12-31") == ("2018-12-31T00:00:00Z", "2019-01-01T00:00:00Z")
    assert interval("../2018") == ("..", "2018")
    assert interval("2018-05-01T10:00:00Z") == (
        "2018-05-01T10:00:00Z",
        "2018-05-01T10:00:00.000001Z",
    )


def test_bbox_takes_negative_numbers() -> None:
    assert BBox().convert("-10, -20.5 30,40", None, None) == (-10, -20.5, 30, 40)


def test_home_follows_the_platform(tmp_path: Path) -> None:
    assert default_home({"XDG_DATA_HOME": str(tmp_path)}, "linux") == tmp_path / "terrazzo"
    assert default_home({"XDG_DATA_HOME": "relative"}, "linux").is_absolute()
    assert default_home({}, "darwin").parts[-2:] == ("Application Support", "terrazzo")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RunIncomplete("x"), 3),
        (ArgumentInvalid("x"), 2),
        (OutputFailed("x"), 1),
        (RuntimeError("x"), 1),
        (OSError("x"), 1),
    ],
)
def test_errors_have_their_exit_status(
    home: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(terrazzo.cli.group.search, "callback", fail)

    told = call(home, "search", status=status)

    assert told.stderr.startswith("Error")


def test_debug_shows_where(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ArgumentInvalid("x")

    monkeypatch.setattr(terrazzo.cli.group.search, "callback", fail)

    told = CliRunner().invoke(main, ["--home", str(home), "--debug", "search"])

    assert told.exit_code == 2
    assert "Traceback" in told.stderr
