"""Stages and logs on the command line: explained before, told on stderr, kept beside results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.test_commands import call
from tests.server.small import COLLECTION, EDGE

if TYPE_CHECKING:
    from pathlib import Path

DATA, X, Y = ({"from_parameter": name} for name in ("data", "x", "y"))


def node(process: str, /, **arguments: Any) -> dict[str, Any]:
    return {"process_id": process, "arguments": arguments}


def callback(process: str, **arguments: Any) -> dict[str, Any]:
    return {"process_graph": {"only": {**node(process, **arguments), "result": True}}}


def ref(name: str) -> dict[str, str]:
    return {"from_node": name}


def written(folder: Path, last: str) -> Path:
    """Write a graph of pixels minus their mean, with one of its nodes as result."""
    nodes = {
        "load": node(
            "load_collection",
            id=COLLECTION,
            bands=["red"],
            spatial_extent=None,
            temporal_extent=["2018-05-01", "2018-05-02"],
        ),
        "look": node("inspect", data=ref("load"), message="red as loaded"),
        "mean": node("reduce_spatial", data=ref("look"), reducer=callback("mean", data=DATA)),
        "above": node(
            "merge_cubes",
            cube1=ref("look"),
            cube2=ref("mean"),
            overlap_resolver=callback("subtract", x=X, y=Y),
        ),
    }
    nodes[last]["result"] = True
    for name in list(nodes)[list(nodes).index(last) + 1 :]:
        del nodes[name]
    path = folder / "graph.json"
    path.write_text(json.dumps({"process_graph": nodes}))
    return path


@pytest.mark.parametrize(("last", "planned"), [("above", True), ("mean", False)])
def test_explain_tells_what_stages_look_at(home: Path, tmp_path: Path, last: str, planned: bool):
    graph = written(tmp_path, last)

    text = call(home, "explain", graph).stdout
    told = json.loads(call(home, "explain", graph, "--json").stdout)

    assert "stage mean (reduce_spatial) looks at all pixels of look" in text
    assert ("after   mean, which must see all pixels" in text) is planned
    assert ("of mean (reduce_spatial), without pixels" in text) is not planned
    assert told["stages"] == ["mean"]
    assert told["looks_at"]["mean"]["whole"]["read_pixels"] == EDGE * EDGE
    assert ("steps" in told) is planned


def test_run_tells_what_was_logged_on_stderr_and_keeps_it(home: Path, tmp_path: Path):
    made = call(home, "run", written(tmp_path, "above"), "-o", tmp_path / "out", "--block", 100)

    lines = [line for line in made.stderr.splitlines() if "red as loaded" in line]
    kept = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert len(lines) == len(kept) == 1
    assert "look (inspect): red as loaded" in lines[0]
    assert "red as loaded" not in made.stdout
    # The stage and the result both look at all pixels; they are counted once.
    assert kept[0]["data"]["valid"] == EDGE * EDGE - 40 * 40
