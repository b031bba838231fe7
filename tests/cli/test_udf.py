"""Whether code of users is run is chosen on the command line, or by the environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from click.testing import CliRunner
from tests.drivers.scenes import DATES, grid_of, load, make_scenes

from terrazzo.cli import main

CODE = "def apply_datacube(cube, context):\n    return cube + 1\n"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return graph_of(CODE, tmp_path)


def graph_of(code: str, tmp_path: Path) -> Path:
    node = {
        "process_id": "run_udf",
        "arguments": {"data": [1, 2], "udf": code, "runtime": "Python"},
        "result": True,
    }
    path = tmp_path / "graph.json"
    path.write_text(json.dumps({"process_graph": {"code": node}}))
    return path


@pytest.mark.parametrize(
    ("options", "environment", "status"),
    [
        ((), {}, 0),
        (("--udf", "off"), {}, 1),
        ((), {"TERRAZZO_UDF": "off"}, 1),
        (("--udf", "sandboxed"), {"TERRAZZO_UDF": "off"}, 0),
    ],
)
def test_code_is_run_as_the_operator_says(
    home: Path,
    graph: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    environment: dict[str, str],
    status: int,
) -> None:
    arguments = ["--home", str(home), *options, "run", str(graph), "-o", str(tmp_path / "out")]

    done = CliRunner().invoke(main, arguments, env=environment)

    assert done.exit_code == status, done.output
    if status:
        assert "UDFs are switched off here" in done.output
    else:
        written = Path(json.loads(done.stdout.splitlines()[-1])["path"])
        assert json.loads(written.read_text()) == [2, 3]


def run(home: Path, graph: Path, *options: str, environment: dict[str, str] | None = None) -> Any:
    arguments = ["--home", str(home), *options, "run", str(graph), "-o", str(home / "out")]
    return CliRunner().invoke(main, arguments, env=environment)


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (("--udf-limit", "wall=0.4"), {}),
        ((), {"TERRAZZO_UDF_LIMITS": "threads=8 wall=0.4"}),
        (("--udf-limit", "wall=90", "--udf-limit", "wall=0.4"), {}),
    ],
)
def test_operator_bounds_what_code_takes(
    home: Path, tmp_path: Path, options: tuple[str, ...], environment: dict[str, str]
) -> None:
    graph = graph_of("import time\ntime.sleep(5)\n" + CODE, tmp_path)

    done = run(home, graph, *options, environment=environment)

    assert done.exit_code == 2
    assert "it took more than 0.4 seconds for one block" in done.output


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--udf-limit", "memory", "is no amount"),
        ("--udf-limit", "memory=lots", "is no amount"),
        ("--udf-limit", "sleep=1", "is no limit. Write NAME=VALUE, with one of wall, cpu"),
        ("--udf-limit", "wall=0", "wall is a number of seconds above 0"),
        ("--udf-limit", "wall=nan", "wall is a number of seconds above 0"),
        ("--udf-limit", "workers=1.5", "workers is a whole number above 0"),
        ("--udf-environment", "ml", "is no environment. Write NAME=PYTHON"),
        ("--udf-environment", "3.11=/usr/bin/python3", "is no environment"),
        ("--udf-environment", "ml=/nothing/here", "is no program that can be run"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    home: Path, graph: Path, option: str, value: str, words: str
) -> None:
    done = run(home, graph, option, value)

    assert done.exit_code == 2
    assert words in " ".join(done.output.split())


def test_operator_adds_an_environment(home: Path, tmp_path: Path) -> None:
    header = (
        '# /// script\n# dependencies = ["click"]\n# [tool.terrazzo]\n'
        '# environment = "all"\n# ///\nimport click\n'
    )
    graph = graph_of(header + CODE, tmp_path)

    there = run(home, graph, "--udf-environment", f"all={sys.executable}")
    elsewhere = run(home, graph)

    assert there.exit_code == 0, there.output
    written = Path(json.loads(there.stdout.splitlines()[-1])["path"])
    assert json.loads(written.read_text()) == [2, 3]
    assert elsewhere.exit_code == 2
    assert "asks for the environment 'all', which is not here" in elsewhere.output


PARCELS = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {},
            "geometry": {"type": "Point", "coordinates": [22.156, 45.206]},
        }
    ],
}


def extracting(tmp_path: Path, home: Path, *more: str) -> Any:
    paths = {name: tmp_path / name for name in ("graph.json", "parcels.geojson", "code.py")}
    load = {"id": "none", "spatial_extent": None, "temporal_extent": None}
    node = {"process_id": "load_collection", "arguments": load, "result": True}
    paths["graph.json"].write_text(json.dumps({"process_graph": {"load": node}}))
    paths["parcels.geojson"].write_text(json.dumps(PARCELS))
    paths["code.py"].write_text(CODE)
    files = [str(paths["graph.json"]), str(paths["parcels.geojson"])]
    output = ["-o", str(tmp_path / "out"), "--code", str(paths["code.py"])]
    return CliRunner().invoke(main, ["--home", str(home), "extract", *files, *output, *more])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--stats", "mean"), "--stats and --code exclude each other"),
        (("--context", "{"), "--context is no JSON"),
    ],
)
def test_extraction_refuses_what_contradicts_its_code(
    home: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    done = extracting(tmp_path, home, *options)

    assert done.exit_code == 2
    assert words in done.output


def test_extraction_refuses_code_that_is_no_text(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_bytes(b"\xff\xfe")

    done = extracting(tmp_path, home, "--code", str(other))

    assert done.exit_code == 2
    assert "is no Python code" in done.output


def test_extraction_writes_what_code_makes_of_the_pixels_of_a_polygon(tmp_path: Path) -> None:
    scenes = make_scenes(tmp_path / "home")
    pixels, valid = scenes.stack("B04")
    grid = grid_of()
    box = shapely.box(grid.left, grid.top - 300, grid.left + 500, grid.top)
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(box)}
    files = {
        "graph.json": {"process_graph": {"load": load(["B04"]) | {"result": True}}},
        "parcels.geojson": {"type": "FeatureCollection", "features": [feature], "crs": crs},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "code.py").write_text(
        "def apply_datacube(cube, context):\n    return cube.max('data') + context['more']\n"
    )

    done = CliRunner().invoke(
        main,
        [
            *("--home", str(tmp_path / "home"), "extract"),
            *(str(tmp_path / "graph.json"), str(tmp_path / "parcels.geojson")),
            *("-o", str(tmp_path / "out"), "--code", str(tmp_path / "code.py")),
            *("--context", '{"more": 1}'),
        ],
    )

    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    rows = pq.read_table(told["path"]).to_pylist()
    inside = np.where(valid, pixels, -np.inf)[:, :30, :50].max(axis=(1, 2))
    assert [row["value"] for row in rows] == (inside + 1).tolist()
    assert [f"{row['t']:%Y-%m-%d}" for row in rows] == list(DATES)
