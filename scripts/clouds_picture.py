"""Draws docs/images/udf-clouds.png: a Sentinel-2 scene, and the clouds that a UDF finds in it.

    python -m scripts.clouds_picture SCENE.tiff

The scene has the bands B02, B03, B04, B08, B11 and B12 (the picture is of the one in the sdist of
eodal 0.2.0; contains modified Copernicus Sentinel data 2019). `terrazzo` ingests it and runs
examples/clouds.py on it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from PIL import Image

from scripts.pages import DOCS
from terrazzo.drivers.batch import run
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Job, Workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICTURE = DOCS / "images" / "udf-clouds.png"
CODE = DOCS.parent / "examples" / "clouds.py"
BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
COLLECTION = "scene"
HAZE, CLOUD = (255, 166, 0), (255, 0, 76)
SHARE = 0.7
"""How much of a coloured pixel is colour."""
WHITE = 3500
"""Reflectance that is drawn white, in ten thousandths."""
WIDTH, COLOURS = 900, 128


def graph(code: str) -> dict[str, Any]:
    """Return a graph that saves red, green, blue and the classes as float32 GeoTIFF."""
    load = {"id": COLLECTION, "spatial_extent": None, "temporal_extent": None}
    call = {"data": {"from_parameter": "data"}, "udf": code, "runtime": "Python"}
    node = {"process_id": "run_udf", "arguments": call, "result": True}
    nodes: dict[str, Any] = {
        "scene": _node("load_collection", **load, bands=list(BANDS)),
        "clouds": _node(
            "reduce_dimension",
            data={"from_node": "scene"},
            dimension="bands",
            reducer={"process_graph": {"clouds": node}},
        ),
        "named": _node(
            "add_dimension", data={"from_node": "clouds"}, name="bands", label="class", type="bands"
        ),
        "colours": _node("filter_bands", data={"from_node": "scene"}, bands=["B04", "B03", "B02"]),
        "both": _node("merge_cubes", cube1={"from_node": "colours"}, cube2={"from_node": "named"}),
    }
    saved = _node("save_result", data={"from_node": "both"}, format="GTiff", options={})
    return {**nodes, "saved": {**saved, "result": True}}


def _node(process: str, **arguments: Any) -> dict[str, Any]:
    return {"process_id": process, "arguments": arguments}


def computed(scene: Path, folder: Path) -> NDArray[np.float32]:
    """Return (y, x, 4): red, green, blue and the class of each pixel."""
    home = folder / "home"
    workspace = Workspace.of(home)
    ingest([scene], COLLECTION, workspace, options=IngestOptions(license="other"))
    made = run(Job.of(graph(CODE.read_text())), Workspace.of(home), folder / "out")
    (asset,) = made.assets
    with rasterio.open(asset.path) as file:
        return np.moveaxis(file.read(), 0, -1)


def drawn(pixels: NDArray[np.float32]) -> Image.Image:
    """Return the scene beside itself with the clouds in colours."""
    scene = np.clip(pixels[..., :3] / WHITE, 0, 1) * 255
    marked = scene.copy()
    for number, colour in enumerate((HAZE, CLOUD), start=1):
        there = pixels[..., 3] == number
        marked[there] = marked[there] * (1 - SHARE) + np.array(colour) * SHARE
    both = Image.fromarray(np.hstack([scene, marked]).round().astype(np.uint8))
    size = (WIDTH, round(both.height * WIDTH / both.width))
    return both.resize(size, Image.Resampling.LANCZOS).quantize(COLOURS)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        drawn(computed(Path(sys.argv[1]), Path(scratch))).save(PICTURE, optimize=True)
    sys.stdout.write(f"{PICTURE}\n")
