"""Formulas that people write in the explorer are computed as NumPy computes them."""

from __future__ import annotations

import io
import json
import subprocess
from typing import TYPE_CHECKING, Any

import hatch_build
import numpy as np
import pytest
import rasterio
from tests.server.small import COLLECTION, nir, red

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.testclient import TestClient

YEAR = ("2019-01-01", "2020-01-01")
FORMULAS: dict[str, Callable[[Any, Any], Any]] = {
    "(nir - red) / (nir + red)": lambda r, n: (n - r) / (n + r),
    "-nir ^ 2 / 1e3 + red": lambda r, n: -(n**2) / 1e3 + r,
    "sqrt(abs(red - nir))": lambda r, n: np.sqrt(np.abs(r - n)),
    "exp(red / 1000) + ln(nir) - log10(red)": lambda r, n: (
        np.exp(r / 1000) + np.log(n) - np.log10(r)
    ),
    "round(red / 8) + floor(nir / 7)": lambda r, n: np.rint(r / 8) + np.floor(n / 7),
    "sin(red) * cos(nir) + arctan(red)": lambda r, n: np.sin(r) * np.cos(n) + np.arctan(r),
    "min(red, nir, 300) + max(red, nir)": lambda r, n: (
        np.minimum(np.minimum(r, n), 300) + np.maximum(r, n)
    ),
    "mean(red, nir, nir)": lambda r, n: (r + n + n) / 3,
    "clip(red, 150, 300)": lambda r, _: np.clip(r, 150, 300),
    "if(not nir > 1000 and red >= 200 or red = 150, red, red - nir)": lambda r, n: np.where(
        (~(n > 1000) & (r >= 200)) | (r == 150), r, r - n
    ),
}
GRAPHS = """
import { build } from "./node_modules/esbuild/lib/main.js";
const contents = 'export * from "./src/pages/graphs";';
const { outputFiles: [file] } = await build({
  stdin: { contents, resolveDir: "." }, bundle: true, write: false, format: "esm",
});
const { collectionGraph } = await import(`data:text/javascript,${encodeURIComponent(file.text)}`);
const { id, time, bands, formulas } = JSON.parse(process.argv[1]);
const graphs = formulas.map((one) => collectionGraph(id, { box: null, time }, bands, one));
console.log(JSON.stringify(graphs));
"""
"""Compiles formulas with the explorer's own code."""


@pytest.fixture(scope="module")
def graphs() -> dict[str, Any]:
    asked = {
        "id": COLLECTION,
        "time": YEAR,
        "bands": [{"name": "red", "common": ""}, {"name": "nir", "common": ""}],
        "formulas": list(FORMULAS),
    }
    hatch_build.install()
    done = subprocess.run(
        [*hatch_build.programs()["node"], "--input-type=module", "-e", GRAPHS, json.dumps(asked)],
        cwd=hatch_build.WEB, check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return dict(zip(FORMULAS, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_gives_what_numpy_gives(
    client: TestClient, graphs: dict[str, Any], formula: str
) -> None:
    bands = [band(2019).astype(np.float64) for band in (red, nir)]

    answer = client.post("/result", json={"process": {"process_graph": graphs[formula]}})

    assert answer.status_code == 200, answer.text
    with rasterio.open(io.BytesIO(answer.content)) as file:
        found = file.read(1, masked=True)
    there = bands[0] > 0
    assert np.array_equal(~np.ma.getmaskarray(found), there)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = FORMULAS[formula](*bands)
    np.testing.assert_allclose(found.data[there], expected[there], rtol=2e-6, atol=2e-4)
