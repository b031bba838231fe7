"""Files of geometries that a graph names by their URL, as vector cubes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrazzo.cube import Geometries
from terrazzo.errors import ArgumentInvalid, FormatUnsuitable, SourceUnreadable, suggest
from terrazzo.processes.geometries import vector_cube
from terrazzo.processes.load import VECTOR_FORMATS
from terrazzo.processes.vectors import feature_ids, geojson_held
from terrazzo.spans import span
from terrazzo.storage.download import download
from terrazzo.storage.gate import Gate
from terrazzo.storage.vector import check_geopackage, check_parquet, read_polygons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrazzo.cube import Cube
    from terrazzo.processes.load import FileRequest


def load_file(request: FileRequest, gate: Gate) -> Cube:
    """Return the file that `load_url` asks for as a vector cube.

    Raises:
        AssetForbidden: the gate refuses the address, or the server redirects.
        SourceUnreadable: the address gives no file, or one that is too large.
        FormatUnsuitable: it is not of the format that was named.
        ArgumentInvalid: it has no CRS, or not the layer or attributes that are asked for.
    """
    with span("catalogue"):
        content = download(gate.address(request.url), "file")
    held, ids = (
        _geojson(request, content) if request.format == "GEOJSON" else _table(request, content)
    )
    known = tuple(dict.fromkeys(name for entry in held.properties for name in entry))
    for name in (*request.properties, *([request.id] if request.id else [])):
        if name not in known and held.shapes:
            raise ArgumentInvalid(
                f"{request.url} has no attribute {name!r}.{suggest(name, known)} Attributes: "
                f"{', '.join(known) or 'none'}."
            )
    return vector_cube(held, ids, request.properties, request.url)


def _geojson(request: FileRequest, content: bytes) -> tuple[Geometries, Sequence[Any]]:
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _unsuitable(request, "it is no JSON") from error
    if not isinstance(document, dict) or "type" not in document:
        raise _unsuitable(request, "it is JSON, and no GeoJSON")
    try:
        held = geojson_held(document)
    except ArgumentInvalid as error:
        raise _unsuitable(request, str(error).rstrip(".")) from error
    if b"\\u" in content and not _is_text(document):
        raise _unsuitable(
            request, "it is too deep, or half of a character (a lone surrogate) is in it"
        )
    if not request.id:
        return held, feature_ids(document)
    return held, [entry.get(request.id) for entry in held.properties]


def _table(request: FileRequest, content: bytes) -> tuple[Geometries, Sequence[Any]]:
    with tempfile.TemporaryDirectory(prefix="terrazzo-") as name:
        folder = Path(name).resolve()
        path = folder / f"file{VECTOR_FORMATS[request.format]}"
        path.write_bytes(content)
        try:
            (check_geopackage if request.format == "GPKG" else check_parquet)(path)
            read = read_polygons(
                path, Gate((folder,)), crs=request.crs, id_column=request.id, layer=request.layer
            )
        except SourceUnreadable as error:
            raise _unsuitable(request, error.reason) from error
        except ArgumentInvalid as error:
            raise ArgumentInvalid(f"{request.url}: {error}") from error
    return Geometries(read.shapes, read.crs, read.properties), read.ids


def _is_text(document: Any) -> bool:
    """Tell whether all texts can be written: they hold no half of a pair of UTF-16."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _unsuitable(request: FileRequest, reason: str) -> FormatUnsuitable:
    return FormatUnsuitable(f"{request.url} cannot be loaded as {request.format}: {reason}.")
