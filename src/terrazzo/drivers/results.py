"""Results: the blocks of a run, or a value without pixels, as files in the format asked for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo import __version__
from terrazzo.cube import Cube, Kind
from terrazzo.drivers.result_facts import degrees_box, raster_facts, table_facts
from terrazzo.engine.bound import Pending
from terrazzo.engine.evaluate import paste
from terrazzo.errors import (
    FormatArgumentInvalid,
    FormatArgumentUnsupported,
    FormatUnsuitable,
    FormatUnsupported,
    NoDataAvailable,
    suggest,
)
from terrazzo.geo.crs import WGS84
from terrazzo.processes.convert import to_json
from terrazzo.storage.set_aside import is_long, stand_in
from terrazzo.storage.writers.cog import COMPRESSIONS, OVERVIEWS, CogOptions, write_cogs
from terrazzo.storage.writers.colors import colormap_names
from terrazzo.storage.writers.columns import rows_of
from terrazzo.storage.writers.files import plane_order, stored_dtype, whole_file
from terrazzo.storage.writers.geojson import write_geojson
from terrazzo.storage.writers.netcdf import write_netcdf
from terrazzo.storage.writers.netcdf_vector import write_vector_netcdf
from terrazzo.storage.writers.picture import Style, encode_picture
from terrazzo.storage.writers.table import GEOMETRY, json_value, write_geotable, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from terrazzo.engine import Inference, Plan
    from terrazzo.geo.grid import Bounds, Grid

_COG_OPTIONS = ("nodata", "compression", "overviews")
_PICTURE_OPTIONS = ("min", "max", "colormap")
RASTER_FORMATS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "GTIFF": ("tif", _COG_OPTIONS),
    "COG": ("tif", _COG_OPTIONS),
    "NETCDF": ("nc", ("nodata",)),
    "ZARR": ("zarr.zip", ("nodata", "overviews", "archive")),
    "PNG": ("png", _PICTURE_OPTIONS),
    "JPEG": ("jpg", _PICTURE_OPTIONS),
    "WEBP": ("webp", _PICTURE_OPTIONS),
}
"""Formats of rasters: the suffix of their file, and their options."""
TABLE_FORMATS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "JSON": ("json", ("layout",)),
    "CSV": ("csv", ("layout",)),
    "PARQUET": ("parquet", ("layout",)),
    "NETCDF": ("nc", ("nodata",)),
}
"""Formats of cubes without pixels, likewise."""
VECTOR_FORMATS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "GEOJSON": ("geojson", ("layout",)),
    "GEOPARQUET": ("parquet", ("layout",)),
    **TABLE_FORMATS,
}
"""Formats of vector cubes, likewise."""
VALUE_FORMATS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "JSON": ("json", ()),
    "CSV": ("csv", ()),
    "PARQUET": ("parquet", ()),
}
"""Formats of scalars and arrays, likewise."""
LAYOUTS = ("wide", "long")
"""One row per geometry, or one row per value."""
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "layout": LAYOUTS,
    "compression": COMPRESSIONS,
    "overviews": OVERVIEWS,
    "colormap": colormap_names(),
}
"""Options that are one of several words."""
ZARR_OVERVIEWS = ("average", "nearest", "none")
"""How Zarr's coarser levels are made."""
_FEW = 8
"""Words that an error lists."""
_NUMBERS = ("nodata", "min", "max")
"""Options that are numbers; null is as if they were left out."""
_TRUTHS = ("archive",)
"""Options that are true or false."""
MEDIA_TYPES = {
    "tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    "nc": "application/x-netcdf",
    "zarr.zip": "application/vnd.zarr+zip; version=3",
    "zarr": "application/vnd.zarr; version=3",
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "json": "application/json",
    "geojson": "application/geo+json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
LARGEST_PICTURE = 64_000_000
"""Pixels of the largest picture that is written; it is made in memory."""
PICTURE_EDGES: Mapping[str, int] = {"PNG": 2**31 - 1, "JPEG": 65_500, "WEBP": 16_383}
"""Formats of pictures, and the longest edge that each can hold, pixels."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that a run made."""

    path: Path
    """Where it is."""
    media_type: str
    """What it is."""
    time: str = ""
    """Label of its date; empty where it holds all dates or none."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What STAC is told of it, besides: members of an asset."""
    grid: Grid | None = None
    """The pixels of a raster."""
    box: Bounds | None = None
    """Where geometries lie, degrees; None where there are none."""
    checksum: str = ""
    """As a multihash, where it is known already."""
    size: int | None = None
    """Bytes, where it is no single file; such a one has no checksum."""

    def listed(self) -> dict[str, str]:
        """Return it as the record of a run lists it."""
        return {"file": self.path.name, "media_type": self.media_type, "time": self.time}


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """What `save_result` asks for, or what a result without one is written as."""

    name: str
    """Upper case."""
    options: Mapping[str, Any]
    """Parameters of the format."""

    @property
    def suffix(self) -> str:
        """Of the file's name."""
        return "zarr" if self.in_place else {**RASTER_FORMATS, **VECTOR_FORMATS}[self.name][0]

    @property
    def file(self) -> str:
        """What a result is called that is one file, or one store."""
        return f"result.{self.suffix}"

    @property
    def in_place(self) -> bool:
        """Whether workers write the result themselves, each its own part."""
        return self.name == "ZARR" and self.options.get("archive") is False

    @property
    def long(self) -> bool:
        """Whether a table has one row per value; JSON has, unless it is told otherwise."""
        plain = "long" if self.name == "JSON" else "wide"
        return str(self.options.get("layout", plain)).lower() == "long"


def output_format(inference: Inference, node: str) -> OutputFormat:
    """Return the format of a node's result.

    Without `save_result` a raster becomes COGs, a vector cube GeoJSON, and all else JSON.

    Raises:
        FormatUnsupported: there is no such format.
        FormatUnsuitable: there is, and it cannot hold the result.
        FormatArgumentUnsupported: the format has no such option.
        FormatArgumentInvalid: an option has a value that means nothing.
        NoDataAvailable: filters have left no date or no band.
    """
    bound, result = inference.nodes[node], inference.cube(node).result
    known, plain, what = VALUE_FORMATS, "JSON", "single values"
    if isinstance(result, Cube) and result.grid is not None:
        _check_labels(result)
        known, plain, what = RASTER_FORMATS, "COG", "rasters"
    elif isinstance(result, Cube) and result.geometries is not None:
        known, plain, what = VECTOR_FORMATS, "GEOJSON", "vector cubes"
    elif isinstance(result, Cube):
        known, plain, what = TABLE_FORMATS, "JSON", "cubes without space"
    if bound.process.id != "save_result":
        if plain == "COG":
            plane_order(result)
        return OutputFormat(plain, {})
    asked = bound.arguments["format"]
    name, options = str(asked).upper(), dict(bound.arguments.get("options") or {})
    if name not in known:
        there = f"There are {', '.join(known)}."
        if name in RASTER_FORMATS or name in VECTOR_FORMATS:
            raise FormatUnsuitable(f"Format {asked!r} does not hold {what}. {there}")
        raise FormatUnsupported(
            f"There is no format {asked!r} for {what}.{suggest(name, tuple(known))} {there}"
        )
    _check_options(name, options, known[name][1])
    if known is RASTER_FORMATS and name not in {"NETCDF", "ZARR"}:
        plane_order(result)
    if isinstance(result, Cube):
        _check_nodata(options.get("nodata"), result.dtype)
    return OutputFormat(name, options)


def check_files(inference: Inference, nodes: Sequence[str]) -> None:
    """Refuse results of many files where each result has one address.

    Raises:
        FormatArgumentInvalid: says which option would make it one.
    """
    for node in nodes:
        bound = inference.nodes[node]
        if bound.process.id != "save_result" or inference.cube(node).result is Pending.PENDING:
            continue
        if output_format(inference, node).in_place:
            raise FormatArgumentInvalid(
                "A Zarr store that is no archive has many files, and a result of a service is one. "
                "Leave `archive` out, or run the graph with `terrazzo run`."
            )


def _check_labels(raster: Cube) -> None:
    """Refuse a raster without a single image, which no file can hold.

    Raises:
        NoDataAvailable: names the dimension that has no label.
    """
    for dimension in raster.dimensions:
        if dimension.kind is not Kind.SPATIAL and not dimension.labels:
            raise NoDataAvailable(
                f"Dimension {dimension.name!r} of the result has no label: the graph's filters "
                "have left none. Widen the period, or name bands and labels that there are."
            )


def _check_options(name: str, options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for option, value in options.items():
        if option not in known:
            raise FormatArgumentUnsupported(
                f"Format {name} has no option {option!r} for this result."
                f"{suggest(option, known)} Options: {', '.join(known) or 'none'}."
            )
        words = choices(name, option)
        if words and str(value).lower() not in {word.lower() for word in words}:
            few = [*map(repr, words[:_FEW]), *(["..."] if len(words) > _FEW else [])]
            raise FormatArgumentInvalid(
                f"Option `{option}` is {' or '.join(few)}, not {str(value)[:40]!r}."
                f"{suggest(str(value), words)}"
            )
        if option in _TRUTHS and not isinstance(value, bool):
            raise FormatArgumentInvalid(f"Option `{option}` is true or false, not {value!r}.")
        if option in _NUMBERS and type(value) not in {int, float, type(None)}:
            raise FormatArgumentInvalid(f"Option `{option}` is a number, not {value!r}.")
    low, high = options.get("min"), options.get("max")
    if (low is None) != (high is None) or (low is not None and not low < high):
        raise FormatArgumentInvalid(
            f"Options `min` and `max` are given together, the lower one first; here they are "
            f"{low!r} and {high!r}."
        )


def choices(name: str, option: str) -> tuple[str, ...]:
    """Return the words that an option of a format may be; empty where it is no word."""
    return ZARR_OVERVIEWS if (name, option) == ("ZARR", "overviews") else _CHOICES.get(option, ())


def _check_nodata(mark: float | None, dtype: np.dtype[Any]) -> None:
    """Refuse a value of no-data that the type of the result cannot hold.

    Raises:
        FormatArgumentInvalid: says what it can hold.
    """
    kind = stored_dtype(dtype)
    if mark is None or kind.kind not in "iuf":
        return
    held = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    if not held.min <= mark <= held.max or (kind.kind != "f" and mark != int(mark)):
        raise FormatArgumentInvalid(
            f"Option `nodata` is {mark!r}, which the result, {kind.name}, cannot hold. Choose a "
            f"{'' if kind.kind == 'f' else 'whole '}number from {held.min} to {held.max}."
        )


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
        path = folder / output.file
        write_netcdf(
            path,
            blocks,
            plan.grid,
            probe=plan.probe,
            window=plan.window,
            nodata=nodata if nodata is not None else default_nodata(plan.probe),
            metadata=tags,
        )
        return (raster_asset(plan, output, path),)
    if output.name == "ZARR":
        path = folder / output.file
        _zarr(plan, output, path, blocks, tags)
        return (raster_asset(plan, output, path),)
    if output.name in PICTURE_EDGES:
        path = folder / output.file
        _picture(plan, output, path, blocks)
        return (raster_asset(plan, output, path),)
    times = _times(plan.probe)
    paths = [folder / f"result{stem}.tif" for stem in _stems(times or ("",))]
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
            overviews=str(output.options.get("overviews", default_overviews(plan.probe))).lower(),
            metadata=tags,
            threads=threads,
        ),
    )
    labels = times or ("",)
    return tuple(
        raster_asset(plan, output, path, time) for path, time in zip(paths, labels, strict=True)
    )


def raster_asset(
    plan: Plan, output: OutputFormat, path: Path, time: str = "", size: int | None = None
) -> Asset:
    """Return a file of a raster result with what STAC is told of it.

    Args:
        plan: of the result.
        output: its format.
        path: the file.
        time: label of its date; empty where it holds all dates or none.
        size: bytes, where it is no single file.
    """
    grid, nodata = plan.grid.crop(plan.window), output.options.get("nodata")
    facts = raster_facts(
        plan.probe,
        grid,
        () if output.name in PICTURE_EDGES else _bands(plan.probe),
        name=output.name,
        nodata=nodata if nodata is not None else default_nodata(plan.probe),
    )
    return Asset(path, MEDIA_TYPES[output.suffix], time, facts, grid, size=size)


def _zarr(
    plan: Plan, output: OutputFormat, path: Path, blocks: Iterator[Cube], tags: Mapping[str, str]
) -> None:
    from terrazzo.storage.writers.zarr import write_zarr  # noqa: PLC0415 - loads slowly

    nodata = output.options.get("nodata")
    write_zarr(
        path,
        blocks,
        plan.grid,
        probe=plan.probe,
        window=plan.window,
        nodata=nodata if nodata is not None else default_nodata(plan.probe),
        overviews=str(output.options.get("overviews", default_overviews(plan.probe))).lower(),
        metadata=tags,
    )


def write_value(value: Any, output: OutputFormat, folder: Path) -> tuple[Asset, ...]:
    """Write a cube without pixels, or a scalar.

    Raises:
        FormatUnsuitable: the format cannot hold the geometries.
        OutputFailed: the file cannot be written.
    """
    path = folder / output.file
    media_type = MEDIA_TYPES[output.suffix]
    if isinstance(value, Cube):
        facts = _write_cube(value, output, path)
        held = value.geometries
        box = None if held is None else degrees_box(held.shapes, held.crs)
        return (Asset(path, media_type, facts=facts, box=box),)
    if output.name == "JSON":
        with whole_file(path) as part:
            part.write_text(json.dumps(json_value(to_json(value)), allow_nan=False))
        return (Asset(path, media_type, facts=table_facts({}, 0)),)
    columns = {"value": [to_json(value)]}
    write_table(path, columns)
    return (Asset(path, media_type, facts=table_facts(columns, 1)),)


def _write_cube(cube: Cube, output: OutputFormat, path: Path) -> dict[str, Any]:
    """Write a cube without pixels, and return what STAC is told of it."""
    held = cube.geometries
    if output.name == "NETCDF":
        nodata = output.options.get("nodata")
        write_vector_netcdf(
            path, cube, nodata=nodata if nodata is not None else default_nodata(cube)
        )
        return table_facts({}, 0, crs="" if held is None else held.crs)
    rows = rows_of(cube, long=output.long)
    if held is None or output.name in {"CSV", "JSON"}:
        columns = rows.columns()
        write_table(path, columns)
        return table_facts(columns, max(map(len, columns.values()), default=0))
    shapes = [held.shapes[position] for position in rows.geometry]
    if output.name == "GEOJSON":
        columns = rows.columns(named=False)
        write_geojson(path, rows.ids or (), columns, shapes, held.crs)
        return table_facts(columns, len(shapes), geometry=GEOMETRY, crs=WGS84)
    columns = rows.columns(GEOMETRY)
    write_geotable(path, columns, shapes, held.crs)
    return table_facts(columns, len(shapes), geometry=GEOMETRY, crs=held.crs)


def default_nodata(probe: Cube) -> float | None:
    """Return the value that marks no-data where the user names none: the end of an integer's range.

    Of integers of 64 bits it is the end of those that every reader takes for what they are.
    Floats have NaN and booleans 255, which the writers know; a result in which the value occurs
    is refused when it is written, so nothing is lost silently.
    """
    if is_long(probe.dtype):
        return float(stand_in(probe.dtype))
    if probe.dtype.kind == "u":
        return float(2 ** (8 * probe.dtype.itemsize) - 1)
    if probe.dtype.kind == "i":
        return float(-(2 ** (8 * probe.dtype.itemsize - 1)))
    return None


def _picture(plan: Plan, output: OutputFormat, path: Path, blocks: Iterator[Cube]) -> None:
    height, width = plan.window.height, plan.window.width
    if plan.window.pixels > LARGEST_PICTURE or max(height, width) > PICTURE_EDGES[output.name]:
        raise FormatUnsupported(
            f"A {output.name} of {height} x {width} pixels is too large. Save as COG."
        )
    cube = paste(plan.probe, plan.window, blocks)
    low, high = output.options.get("min"), output.options.get("max")
    stretch = ((float(low), float(high)),) if low is not None and high is not None else ()
    style = Style(stretch, str(output.options.get("colormap", "gray")).lower())
    with whole_file(path) as part:
        part.write_bytes(encode_picture(cube, style, output.name.lower()))


def _times(probe: Cube) -> tuple[str, ...]:
    times = [d for d in probe.dimensions if d.kind is Kind.TEMPORAL]
    return tuple(str(label) for label in times[0].labels) if times else ()


def _bands(probe: Cube) -> tuple[str, ...]:
    if not probe.has(Kind.BANDS):
        return ("result",)
    return tuple(str(label) for label in probe.only(Kind.BANDS).labels)


def default_overviews(probe: Cube) -> str:
    """Measurements are averaged; whole numbers may be classes, of which there is no average."""
    return "average" if probe.dtype.kind == "f" else "nearest"


def _stems(times: Sequence[str]) -> list[str]:
    """Return what files are called after their dates, numbered where two would be called alike."""
    stems = list(map(_stem, times))
    if len({stem.lower() for stem in stems}) < len(stems):
        return [f"_{number}{stem}" for number, stem in enumerate(stems)]
    return stems


def _stem(time: str) -> str:
    return f"_{re.sub(r'[^0-9A-Za-z.-]', '', time.replace(':', ''))[:100]}" if time else ""
