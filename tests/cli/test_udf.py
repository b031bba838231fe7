"""Whether code of users is run is chosen on the command line, or by the environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from terrazzo.cli import main

CODE = "def apply_datacube(cube, context):\n    return cube + 1\n"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    node = {
        "process_id": "run_udf",
        "arguments": {"data": [1, 2], "udf": CODE, "runtime": "Python"},
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
