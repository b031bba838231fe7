"""Graphs of vector cubes on the command line, and on the map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import pyogrio
import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from terrazzo.cli import main
from terrazzo.drivers.job import Workspace
from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from click.testing import Result

POINT = {
    "type": "Feature",
    "id": "here",
    "properties": {"name": "a"},
    "geometry": {"type": "Point", "coordinates": [15, 50]},
}


def graph(format_name: str = "", **options: Any) -> dict[str, Any]:
    """Return a graph that makes a circle around a point, saved in a format or not."""
    steps: dict[str, Any] = {
        "load": {"process_id": "load_geojson", "arguments": {"data": POINT}},
        "utm": {
            "process_id": "vector_reproject",
            "arguments": {"data": {"from_node": "load"}, "projection": 32633},
        },
        "circle": {
            "process_id": "vector_buffer",
            "arguments": {"geometries": {"from_node": "utm"}, "distance": 1000},
        },
    }
    if format_name:
        arguments = {"data": {"from_node": "circle"}, "format": format_name, "options": options}
        steps["save"] = {"process_id": "save_result", "arguments": arguments}
    list(steps.values())[-1]["result"] = True
    return steps


def call(home: Path, command: str, document: dict[str, Any], folder: Path) -> Result:
    path = folder / "graph.json"
    path.write_text(json.dumps(document))
    output = ["-o", str(folder / "out")] if command == "run" else []
    return CliRunner().invoke(main, ["--home", str(home), command, str(path), *output])


def test_run_writes_geojson_and_says_where(home: Path, tmp_path: Path) -> None:
    result = call(home, "run", graph(), tmp_path)

    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["media_type"] == "application/geo+json"
    frame = pyogrio.read_dataframe(Path(told["path"]))
    assert frame["name"].tolist() == ["a"]
    assert frame.to_crs(32633).area[0] == pytest.approx(3.1416e6, rel=2e-3)


def test_run_saves_the_format_that_is_asked_for(home: Path, tmp_path: Path) -> None:
    result = call(home, "run", graph("GeoParquet"), tmp_path)

    assert result.exit_code == 0, result.output
    frame = geopandas.read_parquet(json.loads(result.stdout)["path"])
    assert frame.crs.to_epsg() == 32633
    assert frame[["id", "name"]].to_numpy().tolist() == [["here", "a"]]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (graph("GTiff"), "GEOJSON, GEOPARQUET, JSON, CSV, PARQUET, NETCDF"),
        (graph("CSV", layout="tall"), "'wide' or 'long'"),
    ],
)
def test_a_format_that_does_not_fit_is_bad_input(
    home: Path, tmp_path: Path, document: dict[str, Any], message: str
) -> None:
    result = call(home, "run", document, tmp_path)

    assert result.exit_code == 2
    assert message in result.stderr


def test_explain_says_that_a_vector_cube_has_no_pixels(home: Path, tmp_path: Path) -> None:
    explained = call(home, "explain", graph(), tmp_path)

    assert explained.exit_code == 0, explained.output
    assert "of circle (vector_buffer), without pixels" in explained.stdout


def test_a_vector_cube_is_no_map(home: Path) -> None:
    with TestClient(create_app(Workspace.of(home))) as client:
        service = {"type": "XYZ", "process": {"process_graph": graph()}}
        answer = client.post("/services", json=service)

    assert answer.status_code == 400
    assert "no raster" in answer.json()["message"]
    assert "terrazzo run" in answer.json()["message"]
