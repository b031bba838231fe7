"""What can be put on a map, and what each becomes: a graph, features, or another service."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

from terrazzo.errors import ArgumentInvalid, TerrazzoError
from terrazzo.geo.crs import WGS84
from terrazzo.notebook.map_arrays import as_dataset
from terrazzo.notebook.map_scratch import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.notebook.map_scratch import Scratch

MOST_FEATURES_BYTES: Final = 20_000_000
"""GeoJSON text that a browser is sent at once."""
_ADDRESS: Final = re.compile(r"https?://\S+", re.IGNORECASE)
_VECTORS: Final = (".geojson", ".gpkg", ".shp", ".parquet", ".geoparquet", ".fgb", ".gml", ".kml")
_TILE_PARTS: Final = ("{x}", "{y}", "{z}")


class ThingUnknown(TerrazzoError):
    """Something was added to a map that is nothing it can show."""

    code, status = "ThingUnknown", 400


@dataclass(frozen=True, slots=True)
class OfGraph:
    """Pixels that a graph gives."""

    graph: Mapping[str, Any]
    """Process graph: nodes by name."""
    connection: Any = None
    """Connection of the openEO client to the server that computes it; None computes it here."""
    scratch: bool = False
    """Whether it loads a collection of the map's own folder."""
    title: str = ""
    """What it is called where the user says nothing."""
    collection: str = ""
    """The collection that it loads and nothing else; that may hold geometries."""


@dataclass(frozen=True, slots=True)
class OfBrowser:
    """What the browser draws by itself."""

    members: Mapping[str, Any]
    """Of the state of a layer: its kind, and what belongs to that."""
    title: str
    """See `OfGraph`."""
    bounds: tuple[float, float, float, float] | None = field(default=None)
    """(west, south, east, north) degrees, where it is known."""


Shown = OfGraph | OfBrowser


def shown_of(thing: Any, scratch: Scratch, *, crs: str = "", layers: str = "") -> Shown:
    """Return what a thing becomes on a map.

    Args:
        thing: see `Map.add`.
        scratch: takes files and arrays.
        crs: of files and arrays that state none.
        layers: of a web map service.

    Raises:
        ThingUnknown: it is none of what a map shows.
        ArgumentInvalid: it is, but cannot be shown as it is.
    """
    if isinstance(thing, (str, os.PathLike)):
        return _of_text(os.fspath(thing), scratch, crs, layers)
    if isinstance(thing, dict):
        return _of_mapping(thing)
    if callable(getattr(thing, "flat_graph", None)):
        return OfGraph(thing.flat_graph(), getattr(thing, "connection", None))
    if hasattr(thing, "dims") and hasattr(thing, "coords"):
        title = str(getattr(thing, "name", None) or "array")
        return OfGraph(scratch.array(as_dataset(thing, crs)), scratch=True, title=title)
    if hasattr(thing, "to_crs") or hasattr(thing, "__geo_interface__"):
        return features_of(thing)
    raise ThingUnknown(
        f"A {type(thing).__name__} cannot be shown. A map shows cubes of the openEO client, process"
        " graphs (dict or .json file), names of collections, files of images or features, arrays "
        "of xarray, GeoDataFrames, and addresses of tiles ({z}/{x}/{y}) or of a WMS."
    )


def _of_text(text: str, scratch: Scratch, crs: str, layers: str) -> Shown:
    if _ADDRESS.fullmatch(text):
        return _of_address(text, layers)
    path = Path(text).expanduser()
    if not path.is_file():
        if path.suffix or os.sep in text:
            raise ThingUnknown(f"There is no file {text}; this notebook runs in {Path.cwd()}.")
        return OfGraph(load(text), title=text, collection=text)
    if path.suffix == ".json":
        try:
            return _of_mapping(json.loads(path.read_text(encoding="utf-8-sig")), path.stem)
        except ValueError as error:
            raise ThingUnknown(f"{text} is no JSON: {error}.") from error
    if path.suffix.lower() in _VECTORS:
        geopandas = import_module("geopandas")
        tabular = path.suffix.lower() in {".parquet", ".geoparquet"}
        return features_of((geopandas.read_parquet if tabular else geopandas.read_file)(path),
                           path.stem)  # fmt: skip
    return OfGraph(scratch.file(path, crs=crs), scratch=True, title=path.stem)


def _of_address(text: str, layers: str) -> OfBrowser:
    host = urlsplit(text).hostname or text
    if all(part in text.replace("{-y}", "{y}") for part in _TILE_PARTS):
        return OfBrowser({"kind": "xyz", "url": text}, host)
    parts = urlsplit(text)
    asked = {key.lower(): value[0] for key, value in parse_qs(parts.query).items()}
    named = layers or asked.get("layers", "")
    if not named:
        raise ThingUnknown(
            f"{text} is no address of tiles, as it has no {{z}}, {{x}} and {{y}}; if it is a WMS, "
            "name its layers: m.add(url, layers='roads,places')."
        )
    kept = "&".join(
        one for one in parts.query.split("&")
        if one and one.partition("=")[0].lower() not in {"service", "request", "version", "layers"}
    )  # fmt: skip
    url = urlunsplit(parts._replace(query=kept, fragment=""))
    return OfBrowser({"kind": "wms", "url": url, "layers": named}, named)


def _of_mapping(given: Any, title: str = "") -> Shown:
    """Return a graph, a process that has one, or GeoJSON."""
    if isinstance(given, dict):
        if given.get("type") in {"FeatureCollection", "Feature"}:
            return features_of(given, title)
        inner = given.get("process", given)
        graph = inner.get("process_graph", inner) if isinstance(inner, dict) else None
        if (
            isinstance(graph, dict)
            and graph
            and all(isinstance(node, dict) and "process_id" in node for node in graph.values())
        ):
            return OfGraph(graph, title=title or str(given.get("title") or ""))
    raise ThingUnknown(
        "This is no process graph (nodes by name, each with a `process_id`), nor a process that "
        "has one (`process_graph`), nor GeoJSON features."
    )


def features_of(thing: Any, title: str = "") -> OfBrowser:
    """Return features in degrees: of a GeoDataFrame, a GeoSeries, a geometry or GeoJSON.

    Raises:
        ArgumentInvalid: there are none, their CRS is not known, or they are too many.
    """
    geopandas = import_module("geopandas")
    if hasattr(thing, "to_crs"):
        frame = thing if hasattr(thing, "columns") else thing.to_frame("geometry")
    elif isinstance(thing, dict) and thing.get("type") == "FeatureCollection":
        frame = geopandas.GeoDataFrame.from_features(thing, crs=WGS84)
    else:
        held = thing if isinstance(thing, dict) else thing.__geo_interface__
        if held.get("type") != "Feature":
            held = {"type": "Feature", "geometry": held, "properties": {}}
        frame = geopandas.GeoDataFrame.from_features([held], crs=WGS84)
    if frame.crs is None:
        raise ArgumentInvalid(
            "The features do not say in which CRS they are. Give it: frame.set_crs('EPSG:4326')."
        )
    frame = frame.to_crs(WGS84)
    frame = frame[~(frame.geometry.is_empty | frame.geometry.isna())]
    if frame.empty:
        raise ArgumentInvalid("There are no features with a geometry.")
    text = frame.to_json(default=str)
    if len(text) > MOST_FEATURES_BYTES:
        raise ArgumentInvalid(
            f"{len(frame):,} features take {len(text) / 1e6:.0f} MB; a browser is sent up to "
            f"{MOST_FEATURES_BYTES / 1e6:.0f} MB. Take fewer, or simplify() them."
        )
    west, south, east, north = (float(side) for side in frame.total_bounds)
    data = json.loads(text)
    data.pop("crs", None)
    return OfBrowser({"kind": "vector", "data": data}, title or "features",
                     (west, south, east, north))  # fmt: skip
