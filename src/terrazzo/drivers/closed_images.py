"""Reads images and cubes that strangers wrote: the program of a closed worker.

It does what ingestion does, into the worker's folder. What leaves the worker is plain numbers and
what is said of them; `drivers.uploads`, at the other end, writes files of its own from them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from terrazzo.catalog import read_bands
from terrazzo.catalog.bands import band_document
from terrazzo.drivers.ingestion.formats import units_of
from terrazzo.drivers.ingestion.items import Draft, FoundFile, Given, IngestOptions, Target
from terrazzo.drivers.ingestion.raster import RasterFile, raster_drafts
from terrazzo.drivers.uploads import ANSWER, MOST_PIXELS
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.grid import Window
from terrazzo.sandbox.closed import answer_one, save
from terrazzo.storage.archives import unpack
from terrazzo.storage.gate import Gate
from terrazzo.storage.raster import describe, read_window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from socket import socket

    from terrazzo.cube import Values
    from terrazzo.sandbox.limits import Limits

_ROWS = 2048


@dataclass(frozen=True, slots=True)
class _Flat(Target):
    """A target without folders: a worker cannot make any."""

    @override
    def path(self, item: str, asset: str) -> Path:
        return self.folder / f"cog-{item}-{asset}.tif"


def warm_up() -> None:
    """Load what every file needs."""
    import xarray.backends  # noqa: F401, PLC0415 - for workers that are forked later


def prepare(limits: Limits) -> None:
    """Have files copied where writers rename them: a worker may not rename anything.

    Its folder is looked into to see how full it is, and a renamed file could hide another.
    """
    del limits
    Path.replace = _copied  # type: ignore[method-assign,assignment] # in this process alone


def _copied(self: Path, target: Path) -> Path:
    place = Path(target)
    with self.open("rb") as source, place.open("wb") as copy:
        while piece := source.read(1 << 20):
            copy.write(piece)
    self.open("wb").close()
    return place


def serve(channel: socket) -> None:
    """Answer one request: `name` of the file, `datetime` and `bands`."""
    answer_one(channel, _run)


def _run(request: Any) -> dict[str, Any]:
    folder = Path.cwd()
    options = IngestOptions(
        datetime=request["datetime"], bands=tuple(request["bands"]), copy=True, workers=1
    )
    target = _Flat("uploaded", folder, write=True)
    path = folder / request["name"]
    files = unpack(path, folder) if path.suffix.lower() == ".zip" else [path]
    found = [FoundFile(file, file.name, folder) for file in files]
    numbers = count()
    items = [
        _told(draft.make(None).item, numbers, folder) for draft in _drafts(found, options, target)
    ]
    save(ANSWER, {"items": items})
    return {}


def _drafts(found: Sequence[FoundFile], options: IngestOptions, target: Target) -> list[Draft]:
    drafts: list[Draft] = []
    images: list[RasterFile] = []
    given = Given(options, target)
    for unit in units_of(found, given):
        for part in unit.read():
            if isinstance(part, RasterFile):
                _check_size(part.info.grid.window, len(part.info.dtypes))
                images.append(part)
            else:
                drafts.append(part)
    grouped, misfits = raster_drafts(images, target)
    for name, reason in misfits.items():
        raise ArgumentInvalid(f"{name}: {reason}")
    return [*drafts, *grouped]


def _check_size(window: Window, bands: int) -> None:
    if window.height * window.width * bands > MOST_PIXELS:
        raise ArgumentInvalid(
            f"it has {window.height:,} x {window.width:,} pixels of {bands} bands, and an "
            f"upload may have {MOST_PIXELS:,} numbers"
        )


def _told(item: Mapping[str, Any], numbers: Iterator[int], folder: Path) -> dict[str, Any]:
    """Write the numbers of an item's files, and say what they are."""
    properties = item["properties"]
    assets = []
    for key, asset in item["assets"].items():
        name = Gate((folder,)).open_name(asset["href"], item=item["id"], asset=key)
        info = describe(name)
        bands = read_bands(asset, key)
        kind = info.dtype
        raw, valid = (folder / f"{next(numbers)}.raw" for _ in range(2))
        grid = info.grid
        _check_size(grid.window, len(bands))
        complete = True
        with raw.open("wb") as out, valid.open("wb") as told:
            for number in range(1, len(bands) + 1):
                for row in range(0, grid.height, _ROWS):
                    part = Window(row, 0, min(_ROWS, grid.height - row), grid.width)
                    values, mask = read_window(name, 0, [number], part)
                    out.write(np.ascontiguousarray(values, kind).data)
                    told.write(_bytes(mask).data)
                    complete &= bool(mask.all())
        assets.append(
            {
                "key": key,
                "raw": raw.name,
                "valid": "" if complete else valid.name,
                "dtype": kind.name,
                "grid": [grid.crs, grid.left, grid.top, grid.pixel_x, grid.pixel_y],
                "shape": [len(bands), grid.height, grid.width],
                "bands": json.loads(json.dumps([band_document(band) for band in bands])),
            }
        )
    return {
        "id": item["id"],
        "datetime": properties.get("datetime"),
        "start": properties.get("start_datetime"),
        "end": properties.get("end_datetime"),
        "assets": assets,
    }


def _bytes(mask: Values) -> Values:
    return np.ascontiguousarray(mask, np.uint8)
