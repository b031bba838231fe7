"""Files and arrays that are only to be looked at: collections in a folder that ends with Python."""

from __future__ import annotations

import atexit
import hashlib
import itertools
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog import read_bands
from terrazzo.drivers.ingest import IngestOptions, NothingIngested, ingest
from terrazzo.drivers.job import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

_NO_DATE: Final = "1970-01-01"
"""Stands in for the date of what has none; nobody ever sees it."""
_TIME: Final = "t"
_ARRAY: Final = "array-"


class Scratch:
    """Makes graphs of files and arrays; the same one twice is one collection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: TemporaryDirectory[str] | None = None
        self._dated: dict[str, bool] = {}
        self._numbers = itertools.count(1)

    @property
    def workspace(self) -> Workspace:
        """Where the graphs run."""
        return Workspace.of(self._home())

    def file(self, path: Path, *, crs: str = "") -> dict[str, Any]:
        """Return a graph that loads an image file, read where it is if it is a GeoTIFF.

        Args:
            path: of the file.
            crs: of a file that states none.

        Raises:
            NothingIngested: it is no image, or has no CRS.
        """
        stat = path.stat()
        told = f"{path.resolve()} {stat.st_mtime_ns} {stat.st_size} {crs}"
        name = f"file-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
        with self._lock:
            if name not in self._dated:
                self._dated[name] = self._taken(path, name, crs, path.name)
            return _graph(name, dated=self._dated[name])

    def array(self, data: xr.Dataset) -> dict[str, Any]:
        """Return a graph that loads a dataset made by `map_arrays.as_dataset`.

        Raises:
            NothingIngested: it is on no grid.
        """
        folder = self._home() / "arrays"
        folder.mkdir(exist_ok=True)
        with self._lock:
            name = f"{_ARRAY}{next(self._numbers)}"
            path = folder / f"{name}.nc"
            data.to_netcdf(path, engine="h5netcdf")
            try:
                self._dated[name] = self._taken(path, name, "", "this notebook")
            finally:
                path.unlink()
            with self.workspace.catalog() as catalog:
                known = {band.name for band in read_bands(catalog.collection(name))}
            own = [str(one) for one in data.data_vars if str(one) in known]
            ordered = {"bands": own} if len(own) == len(known) else {}
            return _graph(name, dated=self._dated[name], **ordered)

    def let_go(self, graph: Mapping[str, Any]) -> None:
        """Delete the array that a graph loads; what was made of a file is there to be used again.

        Raises:
            OutputFailed: it cannot be deleted.
        """
        name = str(graph["load"]["arguments"]["id"])
        with self._lock:
            if not name.startswith(_ARRAY) or self._dated.pop(name, None) is None:
                return
            with self.workspace.catalog() as catalog:
                catalog.delete_collection(name)
            shutil.rmtree(self.workspace.assets / name, ignore_errors=True)

    def _home(self) -> Path:
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="terrazzo-map-")
            atexit.register(self._folder.cleanup)
        return Path(self._folder.name)

    def _taken(self, path: Path, name: str, crs: str, title: str) -> bool:
        """Make a collection of a file; returns whether it has a date."""
        where = Workspace.of(self._home())
        options = IngestOptions(crs=crs, title=title)
        try:
            ingest([path], name, where, options=options)
        except NothingIngested:
            ingest([path], name, where, options=replace(options, datetime=_NO_DATE))
            return False
        return True


def load(collection: str, **arguments: Any) -> dict[str, Any]:
    """Return the graph that loads a collection."""
    given = {"id": collection, "spatial_extent": None, "temporal_extent": None, **arguments}
    return {"load": {"process_id": "load_collection", "arguments": given, "result": True}}


def _graph(name: str, *, dated: bool, **arguments: Any) -> dict[str, Any]:
    graph = load(name, **arguments)
    if dated:
        return graph
    graph["load"].pop("result")
    undated = {"data": {"from_node": "load"}, "name": _TIME}
    graph["undated"] = {"process_id": "drop_dimension", "arguments": undated, "result": True}
    return graph
