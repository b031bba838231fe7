"""Makes kernels ready: whatever ordinary graphs compile is compiled and kept on disk beforehand.

Nothing here knows a kernel by name. Small images of the usual types go through ingestion, graphs,
tiles and extraction, as a user's would; what that compiles is what users would wait for.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.tile import TileLayer, View
from terrazzo.geo.crs import WGS84, transformer
from terrazzo.geo.grid import Grid
from terrazzo.progress import Progress
from terrazzo.storage.writers.cog import CogOptions, write_cog
from terrazzo.storage.writers.picture import Style

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Nodes = dict[str, dict[str, Any]]

DTYPES = ("uint16", "int16", "uint8", "float32")
"""Types of images that are usual; the first is that of Sentinel-2 and Landsat."""
WIDE = "float64"
"""A type that graphs are computed in float64 for."""
BANDS = ("red", "nir", "class")
DATES = ("20200105", "20200206")
EDGE = 48
METHODS = ("bilinear", "average", "med")
"""One of each kind of resampling; the others of a kind are the same compiled code."""
GRID = Grid.of("EPSG:32633", 500_000.0, 5_000_000.0, 10.0, EDGE, EDGE)
_DATA = {"from_parameter": "data"}


def make_ready(
    progress: Progress | None = None, *, extraction: bool = True, folder: Path | None = None
) -> None:
    """Compile the kernels that ordinary graphs need and keep them on disk.

    Takes a second or two where all are kept already, and minutes after an installation.

    Args:
        progress: told of each graph, the most usual ones first; may cancel.
        extraction: whether also what polygons need.
        folder: an empty one for the small images; a temporary one unless told.

    Raises:
        OutputFailed: the folder for temporary files cannot be written.
        Cancelled: raised by `progress`; what is compiled is kept.
    """
    shown = progress or Progress()
    with _place(folder) as place, shown:
        workspace = Workspace.of(place)
        works = [*_tiles(workspace), *(_extraction(workspace) if extraction else ())]
        shown.start(len(works), "graphs")
        for dtype in (*DTYPES, WIDE):
            _take_in(workspace, dtype)
        for work in works:
            work()
            shown.advance()


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with TemporaryDirectory(prefix="terrazzo-ready-") as made:
        yield Path(made)


def _take_in(workspace: Workspace, dtype: str) -> None:
    """Make a collection of two small images, named as its type of values."""
    values = np.arange(len(BANDS) * EDGE * EDGE).reshape(len(BANDS), EDGE, EDGE) % 11
    cube = Cube(
        values.astype(dtype),
        values > 0,
        (Dimension("bands", Kind.BANDS, BANDS), *(Dimension(n, Kind.SPATIAL) for n in "yx")),
        GRID,
        GRID.window,
    )
    images = workspace.home / dtype
    images.mkdir()
    options = CogOptions(nodata=0, overviews="nearest", blocksize=16)
    for date in DATES:
        write_cog(
            images / f"image_{date}.tif", [cube], GRID, dtype=cube.dtype, bands=BANDS,
            options=options,
        )  # fmt: skip
    ingest([images], dtype, workspace, options=IngestOptions(bands=BANDS))


def _tiles(workspace: Workspace) -> Iterator[Callable[[], None]]:
    """Yield what draws tiles: as they are, an index over time, resampled, by neighbours."""
    for dtype in (*DTYPES, WIDE):
        yield partial(_draw, workspace, _as_they_are(dtype))
        yield partial(_draw, workspace, _index(dtype))
    for dtype in DTYPES:
        for method in METHODS:
            yield partial(_draw, workspace, _resampled(dtype, method))
    yield partial(_draw, workspace, _neighbours(DTYPES[0]))


def _draw(workspace: Workspace, nodes: Nodes) -> None:
    """Draw one tile on the map and one of the graph's own pixels."""
    layer = TileLayer(Job.of({"process_graph": nodes}).infer(Workspace.of(workspace.home)))
    view = View(Style(((0.0, 10.0),)))
    for matrix in layer.matrices:
        zoom = layer.zooms(matrix)[1]
        plan = layer.plan(matrix, zoom)
        if plan is not None:
            columns, rows = layer.matrix(matrix).covering(plan.grid, plan.window, zoom)
            layer.picture(matrix, zoom, columns[0], rows[0], view=view, format_name="png")


def _extraction(workspace: Workspace) -> Iterator[Callable[[], None]]:
    """Yield what reduces pixels under a polygon."""
    yield partial(_extract, workspace, _index(DTYPES[0]))


def _extract(workspace: Workspace, nodes: Nodes) -> None:
    from terrazzo.drivers.extract import extract  # noqa: PLC0415 - tiles don't need its libraries

    left, _, _, top = GRID.bounds_of(GRID.window)
    corners = np.array([(15, 15), (355, 95), (185, 405), (15, 15)], np.float64)
    xs, ys = transformer(GRID.crs, WGS84).transform(left + corners[:, 0], top - corners[:, 1])
    ring = np.stack([xs, ys], axis=-1).tolist()
    polygons = workspace.home / "polygons.geojson"
    shape = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "properties": {}, "geometry": shape}
    polygons.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    job = Job.of({"process_graph": nodes})
    statistics = ("count", "mean", "median", "sd", "min", "max")
    extract(
        job, Workspace.of(workspace.home), polygons, workspace.home / "table", statistics=statistics
    )


def _as_they_are(dtype: str) -> Nodes:
    arguments = {"id": dtype, "spatial_extent": None, "temporal_extent": None, "bands": list(BANDS)}
    return {"load": {"process_id": "load_collection", "arguments": arguments, "result": True}}


def _then(nodes: Nodes, process: str, **arguments: Any) -> Nodes:
    """Return a graph that goes on with another process."""
    last, node = list(nodes.items())[-1]
    before = {**nodes, last: {**node, "result": False}}
    added = {"process_id": process, "arguments": {"data": {"from_node": last}, **arguments}}
    return {**before, process: {**added, "result": True}}


def _index(dtype: str) -> Nodes:
    """Return the median over time of an index."""
    median = {"process_id": "median", "arguments": {"data": _DATA}, "result": True}
    reducer = {"process_graph": {"median": median}}
    nodes = _then(_as_they_are(dtype), "ndvi", nir="nir", red="red")
    return _then(nodes, "reduce_dimension", dimension="t", reducer=reducer)


def _resampled(dtype: str, method: str) -> Nodes:
    return _then(_as_they_are(dtype), "resample_spatial", resolution=15.0, method=method)


def _neighbours(dtype: str) -> Nodes:
    return _then(_as_they_are(dtype), "apply_kernel", kernel=[[1, 2, 1], [2, 4, 2], [1, 2, 1]])
