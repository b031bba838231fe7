"""Collections of files and files on a server; NumPy picks what the arguments ask for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from shapely.geometry import shape
from tests.drivers.scenes import asset_of, register
from tests.vectors.documents import (
    CRS,
    LEFT,
    PIXEL,
    TOP,
    Case,
    Cases,
    Document,
    bands,
    from_gappy,
    gappy,
    node,
    parameter,
    sample,
    space,
    time,
    with_labels,
)
from tests.vectors.resampling import _affine
from tests.vectors.shapes import _loaded
from tests.vectors.zones import LOW, POINT, _inside, geojson

from terrazzo.catalog import BandInfo
from terrazzo.geo.grid import Grid

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.drivers.job import Workspace

HOST = "HOST"
"""Stands for the server in vectors."""
DAYS = ("2020-01-01T00:00:00Z", "2020-01-11T00:00:00Z", "2020-02-01T00:00:00Z")
HEIGHT, WIDTH = 6, 8
NODATA = -9999.0
FIELDS = sample({"t": time(*DAYS), "bands": bands("red", "nir"), **space(HEIGHT, WIDTH)}, seed=41)
BOX = {"west": LEFT + 14, "east": LEFT + 56, "south": TOP - 47, "north": TOP - 12, "crs": 32633}


def collect(home: Path) -> Workspace:
    """Write the collection as GeoTIFF files and put it into a catalogue, and files to serve."""
    grid = Grid.of(CRS, LEFT, TOP, PIXEL, HEIGHT, WIDTH)
    items: dict[str, Any] = {}
    for day, layers in zip(DAYS, gappy(FIELDS), strict=True):
        assets = {}
        for name, layer in zip(("red", "nir"), layers, strict=True):
            path = home / "assets" / f"{day[:10]}_{name}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            stored = np.nan_to_num(layer, nan=NODATA).astype(np.float32)
            size = {"count": 1, "height": HEIGHT, "width": WIDTH, "dtype": "float32"}
            place = {"crs": CRS, "transform": _affine(FIELDS), "nodata": NODATA}
            with rasterio.open(path, "w", driver="GTiff", **size, **place) as file:
                file.write(stored, 1)
            assets[name] = asset_of(path, (BandInfo(name, "float32", NODATA),), grid)
        items[f"fields_{day[:10]}"] = (day, assets)
    workspace = register(home, "fields", items, grid)
    _serve(workspace, home / "site")
    return replace(workspace, roots=(home,))


def _serve(workspace: Workspace, folder: Path) -> None:
    """Write a static STAC catalogue of the collection, and GeoJSON."""
    folder.mkdir()
    with workspace.catalog() as catalog:
        (collection,) = catalog.collections()
        items = list(catalog.search((collection["id"],)))
    for item in items:
        for key, asset in item["assets"].items():
            name = f"{item['id']}_{key}.tif"
            source = workspace.home / "assets" / f"{item['id'].removeprefix('fields_')}_{key}.tif"
            (folder / name).write_bytes(source.read_bytes())
            asset["href"] = name
        (folder / f"{item['id']}.json").write_text(json.dumps(item))
    links = [{"rel": "item", "href": f"{item['id']}.json"} for item in items]
    (folder / "collection.json").write_text(json.dumps({**collection, "links": links}))
    (folder / "places.json").write_text(json.dumps(PLACES))


def _picked(arguments: Document) -> Document:
    """Return the dates, bands and pixels that the arguments of a load ask for."""
    names = FIELDS["dimensions"]["bands"]["values"]
    wanted = arguments.get("bands") or names
    start, end = arguments.get("temporal_extent") or ("", "9")
    begins = "2020-02" if arguments.get("properties") else ""
    days = [n for n, day in enumerate(DAYS) if (start or "") <= day < (end or "9")]
    days = [n for n in days if DAYS[n].startswith(begins)]
    values = gappy(FIELDS)[days][:, [names.index(name) for name in wanted]]
    dimensions = with_labels(FIELDS, "t", [DAYS[n] for n in days])
    dimensions["bands"] = bands(*wanted)
    extent = arguments.get("spatial_extent")
    if extent is None:
        return from_gappy(values, dimensions)
    inside, bounds = _drawn(extent)
    rows, cols = (np.flatnonzero(bounds.any(axis)) for axis in (1, 0))
    part = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
    ys, xs = (dimensions[name]["values"] for name in ("y", "x"))
    dimensions["y"] = {**dimensions["y"], "values": ys[part[0]]}
    dimensions["x"] = {**dimensions["x"], "values": xs[part[1]]}
    return from_gappy(np.where(inside, values, np.nan)[..., part[0], part[1]], dimensions)


def _drawn(extent: Document) -> tuple[Any, Any]:
    """Return the pixels whose centre is in a box or polygon, and in the bounds of that."""
    ys, xs = (np.array(FIELDS["dimensions"][name]["values"]) for name in ("y", "x"))
    if "features" in extent:
        drawn = shape(extent["features"][0]["geometry"])
        west, south, east, north = drawn.bounds
    else:
        drawn = None
        west, south, east, north = (extent[side] for side in ("west", "south", "east", "north"))
    bounds = ((ys >= south) & (ys <= north))[:, None] & ((xs >= west) & (xs <= east))
    return (bounds if drawn is None else _inside(drawn, FIELDS)), bounds


PLACES = geojson(LOW, POINT)
ALL: Document = {"id": "fields", "spatial_extent": None, "temporal_extent": None}
JANUARY = ["2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z"]
REMOTE: Document = {"url": f"http://{HOST}/collection.json"}
LATE = {"datetime": node("text_begins", data=parameter("value"), pattern="2020-02")}


def _loads(base: Document) -> tuple[Case, ...]:
    return (
        Case("everything", base, _picked),
        Case("a period without its end", {**base, "temporal_extent": JANUARY}, _picked),
        Case(
            "from a date on", {**base, "temporal_extent": ["2020-01-11T00:00:00Z", None]}, _picked
        ),
        Case("a band", {**base, "bands": ["nir"]}, _picked),
        Case("bands in another order", {**base, "bands": ["nir", "red"]}, _picked),
        Case("pixels whose centre is in a box", {**base, "spatial_extent": BOX}, _picked),
        Case(
            "pixels whose centre is in a polygon", {**base, "spatial_extent": geojson(LOW)}, _picked
        ),
        Case("dates whose properties fulfil a condition", {**base, "properties": LATE}, _picked),
        Case(
            "an empty period",
            {**base, "temporal_extent": ["2020-02-01T00:00:00Z", "2020-01-01T00:00:00Z"]},
            throws="TemporalExtentEmpty",
        ),
        Case(
            "a period without data",
            {**base, "temporal_extent": ["2031-01-01", "2032-01-01"]},
            throws="NoDataAvailable",
        ),
    )


def _remote_places(arguments: Document) -> Document:
    names = arguments.get("options", {}).get("properties", [])
    return _loaded({"data": PLACES, "properties": names})


CASES = {
    "load_collection": Cases(
        "NumPy; files written by rasterio",
        (
            *_loads(ALL),
            Case("no such collection", {**ALL, "id": "meadows"}, throws="CollectionNotFound"),
        ),
    ),
    "load_stac": Cases(
        "NumPy; files written by rasterio",
        (
            *_loads(REMOTE),
            Case(
                "a host that may not be asked",
                {"url": "http://example.org/collection.json"},
                throws="AssetForbidden",
            ),
        ),
    ),
    "load_url": Cases(
        "geopandas",
        (
            Case(
                "geometries",
                {"url": f"http://{HOST}/places.json", "format": "GeoJSON"},
                _remote_places,
            ),
            Case(
                "with a property",
                {
                    "url": f"http://{HOST}/places.json",
                    "format": "GeoJSON",
                    "options": {"properties": ["number"]},
                },
                _remote_places,
            ),
            Case(
                "another format than it says",
                {"url": f"http://{HOST}/places.json", "format": "Parquet"},
                throws="FormatUnsuitable",
            ),
            Case(
                "a host that may not be asked",
                {"url": "http://example.org/places.json", "format": "GeoJSON"},
                throws="AssetForbidden",
            ),
        ),
    ),
    "load_uploaded_files": Cases(
        "the specification; with files it is compared in tests/server/test_uploads.py",
        (
            Case(
                "a file that is not there",
                {"paths": ["places.geojson"], "format": "GeoJSON"},
                throws="FileNotFound",
            ),
            Case(
                "a path out of the folder",
                {"paths": ["../places.geojson"], "format": "GeoJSON"},
                throws="FileNotFound",
            ),
            Case(
                "no such format",
                {"paths": ["places.xyz"], "format": "XYZ"},
                throws="FormatUnsuitable",
            ),
        ),
    ),
}
"""By process; these need the collection of `collect`."""
