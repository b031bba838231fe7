"""Results: the blocks of a run, or a value without pixels, as files in the format asked for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from terrazzo import __version__
from terrazzo.cube import Cube, Kind
from terrazzo.drivers.stages import vector_rows
from terrazzo.engine.evaluate import paste
from terrazzo.errors import FormatUnsupported, suggest
from terrazzo.processes.convert import to_json
from terrazzo.storage.writers.cog import CogOptions, write_cogs
from terrazzo.storage.writers.files import whole_file
from terrazzo.storage.writers.netcdf import write_netcdf
from terrazzo.storage.writers.picture import Style, encode_picture
from terrazzo.storage.writers.table import write_geotable, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from terrazzo.engine import Inference, Plan

RASTER_FORMATS = {"GTIFF": "tif", "COG": "tif", "NETCDF": "nc", "PNG": "png"}
"""Formats of rasters and their suffix."""
TABLE_FORMATS = {"JSON": "json", "CSV": "csv", "PARQUET": "parquet", "GEOPARQUET": "parquet"}
"""Formats of vector cubes and scalars and their suffix."""
MEDIA_TYPES = {
    "tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    "nc": "application/x-netcdf",
    "png": "image/png",
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
LARGEST_PICTURE = 64_000_000
"""Pixels of the largest PNG that is written; it is made in memory."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that a run made."""

    path: Path
    """Where it is."""
    media_type: str
    """What it is."""
    time: str = ""
    """Label of its date; empty where it holds all dates or none."""

    def listed(self) -> dict[str, str]:
        """Return it as the record of a run lists it."""
        return {"file": self.path.name, "media_type": self.media_type, "time": self.time}


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """What `save_result` asks for; a COG or JSON where a graph has no `save_result`."""

    name: str
    """Upper case."""
    options: Mapping[str, Any]
    """Parameters of the format."""

    @property
    def suffix(self) -> str:
        """Of the file's name."""
        return {**RASTER_FORMATS, **TABLE_FORMATS}[self.name]


def output_format(inference: Inference, node: str) -> OutputFormat:
    """Return the format of a node's result.

    Raises:
        FormatUnsupported: there is no such format, or it cannot hold the result.
    """
    bound = inference.nodes[node]
    raster = inference.cube(node).grid is not None
    known = RASTER_FORMATS if raster else TABLE_FORMATS
    if bound.process.id != "save_result":
        return OutputFormat("COG" if raster else "JSON", {})
    name = str(bound.arguments["format"]).upper()
    if name not in known:
        asked, kind = bound.arguments["format"], "rasters" if raster else "vector cubes and values"
        raise FormatUnsupported(
            f"Format {asked!r} does not hold {kind}.{suggest(name, tuple(known))} "
            f"There are {', '.join(known)}."
        )
    return OutputFormat(name, dict(bound.arguments.get("options") or {}))


def write_results(
    plan: Plan, output: OutputFormat, folder: Path, blocks: Iterator[Cube], *, threads: int = 1
) -> tuple[Asset, ...]:
    """Make the files of a raster result out of its blocks, each of which is asked for once.

    `threads` compress; their number changes no byte.

    Raises:
        FormatUnsupported: the format cannot hold the cube.
        OutputFailed: a file cannot be written.
    """
    tags = {"terrazzo_version": __version__, "terrazzo_graph_digest": plan.digest}
    nodata = output.options.get("nodata")
    if output.name == "NETCDF":
        path = folder / "result.nc"
        write_netcdf(
            path,
            blocks,
            plan.grid,
            probe=plan.probe,
            window=plan.window,
            nodata=nodata if nodata is not None else default_nodata(plan.probe),
            metadata=tags,
        )
        return (Asset(path, MEDIA_TYPES["nc"]),)
    if output.name == "PNG":
        return (_picture(plan, output, folder, blocks),)
    times = _times(plan.probe)
    paths = [folder / f"result{_stem(time)}.tif" for time in times or ("",)]
    write_cogs(
        paths,
        blocks,
        plan.grid,
        dtype=plan.probe.dtype,
        bands=_bands(plan.probe),
        times=times,
        window=plan.window,
        options=CogOptions(
            nodata=nodata if nodata is not None else default_nodata(plan.probe),
            compression=str(output.options.get("compression", "deflate")).lower(),
            overviews=str(output.options.get("overviews", _overviews(plan.probe))).lower(),
            metadata=tags,
            threads=threads,
        ),
    )
    labels = times or ("",)
    return tuple(
        Asset(path, MEDIA_TYPES["tif"], time) for path, time in zip(paths, labels, strict=True)
    )


def write_value(value: Any, output: OutputFormat, folder: Path) -> tuple[Asset, ...]:
    """Write a vector cube or a scalar.

    Raises:
        OutputFailed: the file cannot be written.
    """
    path = folder / f"result.{output.suffix}"
    if isinstance(value, Cube):
        rows = vector_rows(value)
        if output.name == "GEOPARQUET" and value.geometries is not None:
            shapes = [value.geometries.shapes[i] for i in rows["geometry_index"]]
            write_geotable(path, rows, shapes, value.geometries.crs)
        else:
            write_table(path, rows)
    elif output.name == "JSON":
        with whole_file(path) as part:
            part.write_text(json.dumps(to_json(value)))
    else:
        write_table(path, {"value": [to_json(value)]})
    return (Asset(path, MEDIA_TYPES[output.suffix]),)


def default_nodata(probe: Cube) -> float | None:
    """Return the value that marks no-data where the user names none: the end of an integer's range.

    Floats have NaN and booleans 255, which the writers know; a result in which the value occurs
    is refused when it is written, so nothing is lost silently.
    """
    if probe.dtype.kind == "u":
        return float(2 ** (8 * probe.dtype.itemsize) - 1)
    if probe.dtype.kind == "i":
        return float(-(2 ** (8 * probe.dtype.itemsize - 1)))
    return None


def _picture(plan: Plan, output: OutputFormat, folder: Path, blocks: Iterator[Cube]) -> Asset:
    if plan.window.pixels > LARGEST_PICTURE:
        raise FormatUnsupported(
            f"A PNG of {plan.window.height} x {plan.window.width} pixels is too large. Save as COG."
        )
    cube = paste(plan.probe, plan.window, blocks)
    low, high = output.options.get("min"), output.options.get("max")
    stretch = ((float(low), float(high)),) if low is not None and high is not None else ()
    style = Style(stretch, str(output.options.get("colormap", "gray")))
    path = folder / "result.png"
    with whole_file(path) as part:
        part.write_bytes(encode_picture(cube, style, "png"))
    return Asset(path, MEDIA_TYPES["png"])


def _times(probe: Cube) -> tuple[str, ...]:
    times = [d for d in probe.dimensions if d.kind is Kind.TEMPORAL]
    return tuple(str(label) for label in times[0].labels) if times else ()


def _bands(probe: Cube) -> tuple[str, ...]:
    if not probe.has(Kind.BANDS):
        return ("result",)
    return tuple(str(label) for label in probe.only(Kind.BANDS).labels)


def _overviews(probe: Cube) -> str:
    """Measurements are averaged; whole numbers may be classes, of which there is no average."""
    return "average" if probe.dtype.kind == "f" else "nearest"


def _stem(time: str) -> str:
    return f"_{re.sub(r'[^0-9A-Za-z.-]', '', time.replace(':', ''))}" if time else ""
