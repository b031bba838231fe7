"""GDAL's drivers of OGC API over a running server, in processes of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import shapely
from tests.server.fields import ROOT, fields, make_fields

from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

READ = """
import json, sys, pyogrio
url, layer, arguments = sys.argv[1:]
arguments = json.loads(arguments)
if "bbox" in arguments:
    arguments["bbox"] = tuple(arguments["bbox"])
frame = pyogrio.read_dataframe(f"OAPIF:{url}/features", layer=layer, **arguments)
frame = frame.sort_values("name")
print(json.dumps({
    "crs": frame.crs.to_epsg(), "names": frame["name"].tolist(), "wkb": frame.to_wkb(hex=True)[
    frame.geometry.name].tolist(), "columns": list(frame.columns),
}))
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    workspace = make_fields(tmp_path_factory.mktemp("fields"))
    with serving(workspace, settings=ServerSettings(job_workers=0)) as found:
        yield found


def read(url: str, layer: str, **arguments: Any) -> dict[str, Any]:
    """Return what GDAL reads of a layer."""
    text = subprocess.check_output(
        [sys.executable, "-c", READ, url, layer, json.dumps(arguments)], text=True, timeout=120
    )
    told: dict[str, Any] = json.loads(text)
    return told


def test_gdal_reads_all_features_in_the_crs_that_they_are_stored_in(url):
    frame = fields().sort_values("name")

    told = read(url, "fields")

    assert told["crs"] == 32633
    assert told["names"] == frame["name"].tolist()
    shapes = shapely.from_wkb(told["wkb"])
    assert shapely.equals_exact(shapes, frame.geometry.values, 1e-6, normalize=True).all()
    assert {"crop", "tonnes", "year", "organic"} <= set(told["columns"])


def test_gdal_sends_boxes_and_conditions_and_gets_what_geopandas_chooses(url):
    frame = fields()
    box = tuple(frame.geometry.iloc[700].buffer(900).bounds)
    chosen = frame[frame.intersects(shapely.box(*box)) & (frame.crop == "rye")]

    told = read(url, "fields", bbox=box, where="crop = 'rye'")

    assert told["names"] == sorted(chosen["name"])
    assert len(chosen) > 5


@pytest.mark.skipif(shutil.which("ogrinfo") is None, reason="GDAL's programs are not installed")
def test_an_older_gdal_lists_and_counts_them(url):
    def told(*words: str) -> str:
        command = ["ogrinfo", "-ro", "-so", f"OAPIF:{url}/features", *words]
        return subprocess.check_output(command, text=True, timeout=120)

    assert "fields (title: Fields of the valley)" in told()
    assert f"Feature Count: {len(fields())}" in told("fields")
    assert f"{ROOT}" not in told("islands")
