"""A server that is sent hostile code answers with an error, and serves the next request."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from starlette.testclient import TestClient
from tests.sandbox import attacks
from tests.server.graphs import load, node, process, ref
from tests.server.small import red

from terrazzo.sandbox import UdfRules
from terrazzo.sandbox.layers import this_machine
from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.drivers.job import Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(this_machine().missing), reason=this_machine().missing),
]
YEAR = ["2019-01-01", "2020-01-01"]
HONEST = "def apply_datacube(cube, context):\n    return cube + 1\n"
CODES = {
    **{name: attacks.attempt(attacks.ENDINGS[name]) for name in attacks.ENDINGS},
    **{name: attacks.returning(attacks.RESULTS[name]) for name in ("objects", "no array")},
}


@pytest.fixture(scope="module")
def server(workspace: Workspace) -> Iterator[TestClient]:
    """A server that lets code take little."""
    strict = replace(workspace, udf=UdfRules(limits=attacks.LIMITS))
    with TestClient(create_app(strict), raise_server_exceptions=False) as client:
        yield client


def body(code: str) -> dict[str, Any]:
    call = node(
        "run_udf",
        data={"from_parameter": "x"},
        udf=code,
        runtime="Python",
        context={"server": 1, "port": 1, "file": "/none", "folder": "/none", "call": 1},
        result=True,
    )
    return process(
        load=load(temporal_extent=YEAR, bands=["red"]),
        code=node("apply", data=ref("load"), process={"process_graph": {"code": call}}),
        save=node("save_result", data=ref("code"), format="GTiff", result=True),
    )


@pytest.mark.parametrize("name", CODES)
def test_next_request_is_served(server: TestClient, workspace: Workspace, name: str) -> None:
    refused = server.post("/result", json=body(CODES[name]))
    answer = server.post("/result", json=body(HONEST))

    assert 400 <= refused.status_code < 600
    told = refused.json()
    assert told["code"] == "UdfFailed", told
    for secret in (str(workspace.home), str(Path.cwd()), "Traceback"):
        assert secret not in refused.text
    assert answer.status_code == 200, answer.text
    with rasterio.open(io.BytesIO(answer.content)) as file:
        pixels = file.read(1)
    given = red(2019).astype(np.float32)
    there = given > 0
    np.testing.assert_array_equal(pixels[there], given[there] + 1)
