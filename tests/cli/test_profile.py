"""`terrazzo profile`: what it prints where, and how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from tests.server.small import DATES, EDGE, write_graph

from terrazzo.cli import main
from terrazzo.cli.profile import TileName

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

TILE = "13/4574/2942"
"""A map tile inside of the images."""


def call(home: Path, *arguments: object, status: int = 0) -> Result:
    result = CliRunner().invoke(main, ["--home", str(home), "profile", *map(str, arguments)])
    assert result.exit_code == status, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result


def test_a_table_goes_to_stdout_and_progress_to_stderr(home: Path, graph: Path) -> None:
    told = call(home, graph, "--block", 128, "--workers", 1)

    assert told.stdout.startswith("graph ")
    for word in ("what", "catalogue", "decode", "ndvi", "encode", "write", "other", "total"):
        assert word in told.stdout
    for line in ("read ", "memory ", "workers 1 thread, "):
        assert f"\n{line}" in told.stdout
    assert "blocks 9/9" in told.stderr


def test_json_says_the_same_of_the_same_reads(home: Path, graph: Path) -> None:
    told = json.loads(call(home, graph, "--block", 128, "--json").stdout)

    (run,) = told["measured"]
    needed = len(DATES) * 2 * EDGE * EDGE
    assert run["reading"]["pixels_needed"] == run["reading"]["pixels_requested"] == needed
    assert run["workers"]["blocks"] == 9


def test_where_and_how_finely_are_those_of_run(home: Path, graph: Path) -> None:
    told = json.loads(
        call(
            home, graph, "--json", "--resolution", 30, "--memory", "1G",
            "--bbox", "500000,4998500,501500,5000000", "--bbox-crs", "EPSG:32634",
        ).stdout
    )  # fmt: skip

    (run,) = told["measured"]
    assert run["workers"]["blocks"] == 1
    assert 0 < run["reading"]["pixels_needed"] <= len(DATES) * 2 * 150 * 150


def test_results_are_kept_where_asked(home: Path, graph: Path, tmp_path: Path) -> None:
    call(home, graph, "-o", tmp_path / "out", "--repeat", 2)

    assert len(list((tmp_path / "out").glob("result_*.tif"))) == len(DATES)
    call(home, graph, "-o", tmp_path / "out", status=2)


def test_a_tile_is_told_cold_and_warm(home: Path, graph: Path) -> None:
    told = call(home, graph, "--tile", TILE, "--repeat", 1)

    assert f"tile {TILE} as PNG" in told.stdout
    heads = [line.split()[0] for line in told.stdout.splitlines() if " calls " in line]
    assert heads == ["first", "cold", "warm"]
    assert told.stderr == ""


BAD: dict[str, tuple[object, ...]] = {
    "tile": ("--tile", "12/3"),
    "tile in words": ("--tile", "here"),
    "no such tile": ("--tile", "3/8/0"),
    "empty tile": ("--tile", "13/0/0"),
    "tile and place": ("--tile", TILE, "--bbox", "20,44,21,45"),
    "tile and exact": ("--tile", TILE, "--exact"),
    "tile and folder": ("--tile", TILE, "-o", "out"),
    "repeat": ("--repeat", "0"),
    "memory": ("--memory", "100k"),
    "elsewhere": ("--bbox", "0,0,1,1"),
    "block": ("--block", "-1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_with_2_and_one_message(home: Path, graph: Path, name: str) -> None:
    told = call(home, graph, *BAD[name], status=2)

    assert told.stderr.count("Error: ") == 1
    assert told.stdout == ""


def test_a_wrong_graph_tells_every_problem(home: Path, tmp_path: Path) -> None:
    wrong = write_graph(tmp_path / "graph.json", bands=("red", "nri"))

    told = call(home, wrong, status=2)

    assert "'nri'" in told.stderr


def test_names_of_tiles_are_read_as_maps_write_them() -> None:
    assert TileName().convert(" 12/2286/1461 ", None, None) == (12, 2286, 1461)
    assert TileName().convert((1, 0, 1), None, None) == (1, 0, 1)
