"""Files that a graph names by their URL, or that the user has uploaded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from terrazzo.cube import Geometries
from terrazzo.errors import (
    ArgumentInvalid,
    FileNotFound,
    FormatUnsuitable,
    SourceUnreadable,
    suggest,
)
from terrazzo.geo.crs import crs_name
from terrazzo.processes.geometries import vector_cube
from terrazzo.processes.load import VECTOR_FORMATS
from terrazzo.processes.vectors import feature_ids, geojson_held
from terrazzo.sandbox.limits import Mode
from terrazzo.spans import span
from terrazzo.storage.remote.download import download
from terrazzo.storage.vectors.closed import read_closed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from terrazzo.cube import Cube
    from terrazzo.processes.load import FileRequest, Uploaded
    from terrazzo.storage.gate import Gate


class GivenUnreadable(SourceUnreadable):
    """A file that a graph names itself cannot be read: fetched or uploaded, it is the user's."""

    code, status = "SourceUnreadable", 400

    @classmethod
    def of(cls, error: SourceUnreadable) -> GivenUnreadable:
        """Return the error as one of whoever named the file."""
        way_out = "Check the file and the address, and try again."
        return cls(error.item, error.asset, error.reason, way_out)


class Uploads(Protocol):
    """Knows the files that the user has uploaded; each is read in a closed process."""

    def images(
        self, wanted: Uploaded
    ) -> tuple[Path, Mapping[str, Any], Sequence[Mapping[str, Any]]]:
        """Return the folder that may be read, a STAC document and its items, with local paths.

        Raises:
            FileNotFound: there is no such file.
            FormatUnsuitable: it is not of the format that was named.
            SourceUnreadable, ArgumentInvalid, AssetForbidden: it cannot be read.
        """

    def tables(
        self, wanted: Uploaded, request: FileRequest
    ) -> Sequence[tuple[Mapping[str, Any], str]]:
        """Return a GeoJSON FeatureCollection for each file, and the CRS that it is in.

        Raises:
            FileNotFound, FormatUnsuitable, SourceUnreadable, ArgumentInvalid: as above.
        """


def load_file(
    request: FileRequest,
    gate: Gate,
    uploads: Uploads | None,
    mode: Mode = Mode.SANDBOXED,
    owner: str = "",
) -> Cube:
    """Return the file that `load_url` asks for, or those of the user, as a vector cube.

    Args:
        request: what is asked for.
        gate: decides what is fetched.
        uploads: knows the user's files; None where there are none.
        mode: whether the processes that read files are shut in.
        owner: account that asks.

    Raises:
        AssetForbidden: the gate refuses the address, or the server redirects.
        FileNotFound: the user has no such file.
        SourceUnreadable: the address gives no file, or one that is too large.
        FormatUnsuitable: it is not of the format that was named.
        ArgumentInvalid: it has no CRS, or not the layer or attributes that are asked for.
    """
    if request.uploaded is not None:
        held, ids = _joined(uploads_of(uploads).tables(request.uploaded, request), request)
    else:
        with span("catalogue"):
            content = download(gate.address(request.url), "file")
        held, ids = (
            _geojson(request, content)
            if request.format == "GEOJSON"
            else _table(request, content, mode, owner)
        )
    known = tuple(dict.fromkeys(name for entry in held.properties for name in entry))
    for name in (*request.properties, *([request.id] if request.id else [])):
        if name not in known and held.shapes:
            raise ArgumentInvalid(
                f"{request.name} has no attribute {name!r}.{suggest(name, known)} Attributes: "
                f"{', '.join(known) or 'none'}."
            )
    return vector_cube(held, ids, request.properties, request.name)


def uploads_of(uploads: Uploads | None) -> Uploads:
    """Return what knows the user's files.

    Raises:
        FileNotFound: nothing does.
    """
    if uploads is None:
        raise FileNotFound("There are uploaded files on a server only: PUT /files/PATH there.")
    return uploads


def _joined(
    tables: Sequence[tuple[Mapping[str, Any], str]], request: FileRequest
) -> tuple[Geometries, Sequence[Any]]:
    """Return the geometries of several files as those of one."""
    names = {crs for _, crs in tables}
    if len(names) > 1:
        raise ArgumentInvalid(
            f"The files are in different coordinate reference systems: {', '.join(sorted(names))}. "
            "Load them one by one, and bring them together with `vector_reproject`."
        )
    held = [geojson_held(document) for document, _ in tables]
    shapes = tuple(shape for one in held for shape in one.shapes)
    properties = tuple(entry for one in held for entry in one.properties)
    ids = [name for document, _ in tables for name in feature_ids(document)]
    numbered = not request.id and len(tables) > 1
    return Geometries(shapes, crs_name(names.pop()), properties), (
        list(range(len(shapes))) if numbered else ids
    )


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


def _table(
    request: FileRequest, content: bytes, mode: Mode, owner: str
) -> tuple[Geometries, Sequence[Any]]:
    name = f"file{VECTOR_FORMATS[request.format]}"
    try:
        table = read_closed(
            {name: content}, name, crs=request.crs, id_column=request.id, layer=request.layer,
            mode=mode, owner=owner,
        )  # fmt: skip
        return _joined([table], request)
    except SourceUnreadable as error:
        raise _unsuitable(request, error.reason) from error
    except ArgumentInvalid as error:
        raise ArgumentInvalid(f"{request.url}: {error}") from error


def _is_text(document: Any) -> bool:
    """Tell whether all texts can be written: they hold no half of a pair of UTF-16."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _unsuitable(request: FileRequest, reason: str) -> FormatUnsuitable:
    return FormatUnsuitable(f"{request.url} cannot be loaded as {request.format}: {reason}.")
