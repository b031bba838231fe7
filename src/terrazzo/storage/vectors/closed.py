"""Reads files of geometries that strangers wrote: the program of a closed worker.

`read_closed` is the other end. What passes between is GeoJSON, which the platform takes of
anybody, so that nothing but the worker meets SQLite, Arrow, or GDAL with such a file.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import shapely

from terrazzo.errors import ArgumentInvalid, AssetForbidden, SourceUnreadable
from terrazzo.sandbox.closed import Refused, answer_one, reading, save
from terrazzo.sandbox.limits import Mode
from terrazzo.storage.archives import unpack
from terrazzo.storage.gate import Gate
from terrazzo.storage.vectors.reading import check_geopackage, check_parquet, read_polygons

if TYPE_CHECKING:
    from collections.abc import Mapping
    from socket import socket

    from terrazzo.sandbox.limits import Limits

MOST_BYTES = 64_000_000
"""Of the GeoJSON that what is loaded at once may become."""
_NAME = "answer.json"
_CHECKS = {".gpkg": check_geopackage, ".parquet": check_parquet, ".geoparquet": check_parquet}
_ERRORS = (ArgumentInvalid, AssetForbidden)


@dataclass(slots=True)
class Room:
    """What files that are loaded at once may still become."""

    left: int = MOST_BYTES
    """Bytes of GeoJSON."""

    def take(self, size: int) -> None:
        """Make it smaller.

        Raises:
            ArgumentInvalid: there is not so much left.
        """
        self.left -= size
        if self.left < 0:
            raise ArgumentInvalid(
                f"The files become more than {MOST_BYTES / 1e6:g} MB of GeoJSON together. Load "
                "fewer of them at once, or files with fewer vertices and attributes."
            )


def warm_up() -> None:
    """Load what every file needs."""
    import pyarrow.parquet  # noqa: F401, PLC0415 - for workers that are forked later
    import pyogrio  # noqa: F401, PLC0415


def prepare(limits: Limits) -> None:
    """Nothing is to be done in a worker before it is shut in."""
    del limits


def serve(channel: socket) -> None:
    """Answer one request: `name` of the file, `crs`, `id` and `layer`."""
    answer_one(channel, _run)


def _run(request: Any) -> dict[str, Any]:
    folder = Path.cwd()
    path = folder / request["name"]
    if path.suffix.lower() == ".zip":
        path = _shapefile(unpack(path, folder))
    check = _CHECKS.get(path.suffix.lower())
    if check is not None:
        check(path)
    read = read_polygons(
        path,
        Gate((folder,)),
        crs=request["crs"],
        id_column=request["id"],
        layer=request["layer"],
    )
    shapes = json.loads(f"[{','.join(shapely.to_geojson(list(read.shapes)))}]")
    features = [
        {"type": "Feature", "geometry": shape, "properties": _finite(dict(told)), "id": name}
        for shape, told, name in zip(shapes, read.properties, read.ids, strict=True)
    ]
    save(_NAME, {"crs": read.crs, "features": features})
    return {}


def _shapefile(names: list[Path]) -> Path:
    found = [path for path in names if path.suffix.lower() == ".shp"]
    if len(found) != 1:
        raise ArgumentInvalid(f"the archive holds {len(found)} shapefiles; it must hold one")
    return found[0]


def _finite(value: Any) -> Any:
    """Return JSON values without NaN and infinity, which no JSON has."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list) else value


def read_closed(
    files: Mapping[str, Path | bytes],
    name: str,
    *,
    crs: str = "",
    id_column: str = "",
    layer: str = "",
    mode: Mode = Mode.SANDBOXED,
    room: Room | None = None,
    owner: str = "",
) -> tuple[dict[str, Any], str]:
    """Read a file of geometries in a closed worker.

    Args:
        files: the file and what belongs to it, by name.
        name: which of them is read; a `.zip` is unpacked there.
        crs: of the coordinates, where the file does not say.
        id_column: attribute that names the geometries; their position otherwise.
        layer: of a GeoPackage.
        mode: whether workers are shut in.
        room: what it may become, shared with files that are loaded with it.
        owner: account that has it read.

    Returns:
        A GeoJSON FeatureCollection in the CRS of the file, and the name of that CRS.

    Raises:
        SourceUnreadable: damaged, not of the kind that its name says, or too large.
        ArgumentInvalid: no geometry in it, no CRS known, no such layer or attribute, or no room.
        UdfRefused: this machine cannot shut workers in.
        WorkersBusy: another file of the account, or files of others, are read for too long.
    """
    request = {"name": name, "crs": crs, "id": id_column, "layer": layer}
    try:
        with reading(__name__, files, request, mode=mode, owner=owner) as answer:
            text = answer.text(_NAME, MOST_BYTES)
        (room or Room()).take(len(text))
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise SourceUnreadable(_stem(name), "geometries", "it upsets its reader") from None
    except Refused as refused:
        for kind in _ERRORS:
            if refused.code == kind.__name__:
                raise kind(refused.reason) from None
        raise SourceUnreadable(_stem(name), "geometries", refused.reason) from None
    if not isinstance(told, dict) or not isinstance(told.get("features"), list):
        raise SourceUnreadable(_stem(name), "geometries", "it upsets its reader")
    collection = {"type": "FeatureCollection", "features": told["features"]}
    return collection, str(told.get("crs", ""))


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
