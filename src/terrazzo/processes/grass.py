"""GRASS: modules that look at the surroundings of a pixel, and those that must see all pixels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Annotated, Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind, Mask, Values
from terrazzo.cube.pixels import compute_dtype
from terrazzo.errors import ArgumentInvalid, DimensionExists, PlanTooLarge
from terrazzo.geo.blocks import Blocks
from terrazzo.geo.grid import Window
from terrazzo.grass import MODULES, MOST_SECONDS, Call, call_of, check_grass, version
from terrazzo.grass import Place as Region
from terrazzo.grass import run as run_module
from terrazzo.processes.registry import Labels, Place, Role, Rules, all_labels, process
from terrazzo.processes.schemas import RasterCube, Schema
from terrazzo.processes.stage import Finding, Pass
from terrazzo.progress import go_on

CHUNK = 1024
"""Edge of the squares, counted on the grid, that a module is run over. GRASS rounds distances by
where its region ends, so that other squares would give other last bits."""
WHOLE_SECONDS = 6 * 3600.0
"""Until a module over a whole raster is given up."""
_ALONE = "data"
"""What r.mapcalc calls the raster where there are no bands."""


def _names(*, local: bool) -> Schema:
    """Return the schema of names of modules; others are told by what refuses them."""
    names = [name for name, module in MODULES.items() if module.is_local == local]
    return Schema({"type": "string", "enum": names}, {"type": "string"})


LocalModule = Annotated[str, _names(local=True)]
WholeModule = Annotated[str, _names(local=False)]
Parameters = Annotated[Mapping[str, Any], Schema({"type": "object"})]
Flags = Annotated[str, Schema({"type": "string", "pattern": "^[A-Za-z0-9]*$"})]
Outputs = Annotated[
    Sequence[str] | None,
    Schema([{"type": "array", "minItems": 1, "items": {"type": "string"}}, {"type": "null"}]),
]


def _programs() -> Mapping[str, str]:
    """Return the version of GRASS that is installed here."""
    return {"GRASS": version()}


def _call(data: Cube, arguments: Mapping[str, Any]) -> Call:
    """Check what a module is called with, over a cube with these bands.

    Raises:
        ArgumentInvalid: it takes no such thing, or the cube has too many bands.
        BandNotFound: an expression uses a band that is not there.
        DimensionExists: there is a dimension where the bands should be.
    """
    bands = [str(label) for label in _bands(data).labels] if data.has(Kind.BANDS) else [_ALONE]
    call = call_of(
        arguments["module"],
        arguments.get("parameters") or {},
        arguments.get("flags") or "",
        arguments.get("outputs"),
        bands,
    )
    if call.bands is None and not call.module.keeps_bands and len(bands) != 1:
        raise ArgumentInvalid(
            f"{call.module.name} takes one raster and makes bands of its own, and the cube has "
            f"{len(bands)} bands ({', '.join(bands[:8])}). Choose one with `filter_bands`."
        )
    return call


def _bands(data: Cube) -> Dimension:
    return data.only(Kind.BANDS)


def _snapped(window: Window) -> Window:
    """Return the squares of the grid that a window touches."""
    top, left = window.row // CHUNK * CHUNK, window.col // CHUNK * CHUNK
    bottom, right = -(-window.row_stop // CHUNK) * CHUNK, -(-window.col_stop // CHUNK) * CHUNK
    return Window(top, left, bottom - top, right - left)


def _local_window(
    wanted: Window, extent: Window, arguments: Mapping[str, Any], argument: str
) -> Window:
    """Need whole squares, and what the module sees around them."""
    del argument
    if wanted.is_empty:
        return wanted
    reach = _reach(arguments)
    return _snapped(wanted).intersection(extent).grown(reach, reach)


def _reach(arguments: Mapping[str, Any]) -> int:
    """Return how far a module looks whose arguments are known to be right."""
    rule = MODULES[arguments["module"]].reach
    return 0 if rule is None else rule(arguments.get("parameters") or {})


def _no_window(
    wanted: Window, extent: Window, arguments: Mapping[str, Any], argument: str
) -> Window:
    """Need nothing: the stage has seen all pixels."""
    del extent, arguments, argument
    return Window(wanted.row, wanted.col, 0, 0)


def _labels(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    """Need what is wanted of dates and the like, and the bands that the module uses."""
    del output
    data = inputs["data"]
    bands = _bands(data) if data.has(Kind.BANDS) else None
    name = "" if bands is None else bands.name
    needed = {one: kept for one, kept in wanted.items() if one in data.names and one != name}
    call = _call(data, arguments)
    if bands is not None and call.bands is not None:
        known = [str(label) for label in bands.labels]
        needed[name] = tuple(known.index(band) for band in call.bands)
    elif call.module.keeps_bands and name in wanted:
        needed[name] = wanted[name]
    return {"data": needed}


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a module makes of a cube, but for the pixels."""

    call: Call
    dimensions: tuple[Dimension, ...]
    dtype: np.dtype[Any]
    axis: int | None
    """Where bands are that the module makes, or takes together; None where it makes one of one."""

    @classmethod
    def of(cls, data: Cube, arguments: Mapping[str, Any]) -> "_Frame":
        call = _call(data, arguments)
        floats = compute_dtype(data.dtype)
        kinds = {output.integer for output in call.outputs}
        dtype = np.dtype(np.int32) if kinds == {True} else floats
        if len(kinds) > 1:  # ids of areas need not fit into float32
            dtype = np.dtype(np.float64)
        if call.module.keeps_bands and call.bands is None:
            return cls(call, data.dimensions, dtype, None)
        axis = data.axis(_bands(data).name) if data.has(Kind.BANDS) else None
        if call.bands is not None:
            kept = tuple(d for d in data.dimensions if d.kind is not Kind.BANDS)
            return cls(call, kept, dtype, axis)
        labels = tuple(output.key for output in call.outputs)
        if axis is not None:
            made = replace(data.dimensions[axis], labels=labels)
            return cls(call, data.with_dimension(axis, made), dtype, axis)
        if "bands" in data.names:
            raise DimensionExists(
                f"{call.module.name} makes bands, and the cube has a dimension 'bands' that is none"
                " of bands. Rename it with `rename_dimension`."
            )
        new = Dimension("bands", Kind.BANDS, labels)
        return cls(call, (*data.dimensions[:-2], new, *data.dimensions[-2:]), dtype, None)

    def empty(self, window: Window) -> tuple[Values, Mask]:
        """Return pixels of a window without data."""
        sizes = [len(d.labels) for d in self.dimensions[:-2]]
        shape = (*sizes, window.height, window.width)
        return np.zeros(shape, self.dtype), np.zeros(shape, np.bool_)

    def computed(self, data: Cube, seconds: float) -> tuple[Values, Mask]:
        """Run the module over all pixels of a cube."""
        window = data.window or Window(0, 0, 0, 0)
        values, valid = self.empty(window)
        region = _region(data, window)
        floats = data.values.astype(compute_dtype(data.dtype), copy=False)
        together = self.call.bands is not None
        labels = [d for d in data.dimensions[:-2] if not (self._made and d.kind is Kind.BANDS)]
        order = [data.axis(d.name) for d in labels]
        sizes = [len(d.labels) for d in labels]
        chosen = self._chosen(data) if together else (0,)
        for index in product(*map(range, sizes)):
            place = dict(zip(order, index, strict=True))
            images = [
                (floats[at], data.valid[at])
                for at in (self._at(data, place, band) for band in chosen)
            ]
            made = run_module(self.call, images, region, seconds, check=go_on)
            for number, (found, there) in enumerate(made):
                target = self._target(index, number)
                values[target], valid[target] = found, there
        return values, valid

    @property
    def _made(self) -> bool:
        """Whether bands are made, or taken together, rather than computed one by one."""
        return self.call.bands is not None or not self.call.module.keeps_bands

    def _chosen(self, data: Cube) -> tuple[int, ...]:
        if not data.has(Kind.BANDS):
            return (0,)
        labels = [str(label) for label in _bands(data).labels]
        return tuple(labels.index(band) for band in self.call.bands or ())

    def _at(self, data: Cube, place: Mapping[int, int], band: int) -> tuple[int, ...]:
        """Return the index of one image of the cube."""
        return tuple(place.get(axis, band) for axis in range(len(data.dimensions) - 2))

    def _target(self, index: tuple[int, ...], number: int) -> tuple[int, ...]:
        """Return the index of one image of the result."""
        if not self._made or self.call.bands is not None:
            return index
        axis = len(self.dimensions) - 3 if self.axis is None else self.axis
        return (*index[:axis], number, *index[axis:])


def _region(data: Cube, window: Window) -> Region:
    if data.grid is None:
        raise TypeError("A raster has a grid.")
    grid = data.grid
    return Region(grid.crs, grid.bounds_of(window), (grid.pixel_x, grid.pixel_y))


def _checked(data: Cube, arguments: Mapping[str, Any], *, local: bool) -> _Frame:
    """Check everything that can be wrong before a pixel is read."""
    name, here = arguments["module"], "run_grass" if local else "run_grass_whole"
    if data.grid is None or data.window is None:
        raise ArgumentInvalid(f"`{here}` needs a raster cube; this one has no grid.")
    if name in MODULES and MODULES[name].is_local != local:
        raise ArgumentInvalid(
            f"{name} looks at all pixels at once, not at the surroundings of each: use "
            "`run_grass_whole`, which computes it before the blocks."
            if local
            else f"{name} needs the surroundings of each pixel only: use `run_grass`, which "
            "computes it block by block."
        )
    frame = _Frame.of(data, arguments)
    check_grass()
    return frame


@process(
    "run_grass",
    Role.CUBE,
    categories=("cubes", "terrain"),
    rules=Rules(
        window=_local_window,
        labels=_labels,
        borders=True,
        makes_all=True,
        native=True,
        programs=_programs,
        scratch=6.0,
    ),
    experimental=True,
)
def run_grass(
    data: RasterCube,
    module: LocalModule,
    parameters: Parameters = {},  # noqa: B006 - the default that is published; never written to
    flags: Flags = "",
    outputs: Outputs = None,
    *,
    place: Place,
) -> RasterCube:
    """Run a module of GRASS that looks at the surroundings of each pixel, block by block.

    It works on the cube's own pixels, whatever the resolution of the map or run is: a slope needs
    true distances. What lies beyond the border of the cube is what GRASS makes of the border of a
    region. No-data and NaN are null to GRASS, and null is no-data.

    Args:
        data: (..., y, x) raster. Every label of dimensions besides the bands is computed by itself.
        module: name of the module; the page on GRASS lists them.
        parameters: of the module, by GRASS's own names, without those that name maps. That of
            `r.mapcalc` is `expression`, over the bands by name.
        flags: letters of the module's flags.
        outputs: maps that are wanted, by the names of the parameters that name them; null for the
            first one.
        place: the pixels that are wanted and all that there are.

    Returns:
        (..., y, x). `r.neighbors` and `r.relief` make a band of each band;
        `r.mapcalc` one raster of all bands, without that dimension; others take one band, and make
        bands that are called like the outputs. float32 or float64; int32 where all outputs are
        whole numbers.

    Raises:
        ArgumentInvalid: there is no such module, parameter, value, flag or output here.
        BandNotFound: an expression uses a band that is not there.
        GrassMissing: GRASS is not installed.
        GrassFailed: the module refuses what it is given, or takes too long.

    Source:
        GRASS GIS 8.2, grass.osgeo.org/grass82/manuals; an extension, not an openEO process.
    """
    arguments = {"module": module, "parameters": parameters, "flags": flags, "outputs": outputs}
    frame = _checked(data, arguments, local=True)
    values, valid = frame.empty(place.wanted)
    reach = _reach(arguments)
    for part in Blocks(place.wanted, CHUNK):
        own = _snapped(part).intersection(place.extent)
        seen = own.grown(reach, reach).intersection(place.extent)
        made, there = frame.computed(data.crop(seen), MOST_SECONDS)
        source, target = seen.slices(part), place.wanted.slices(part)
        values[..., target[0], target[1]] = made[..., source[0], source[1]]
        valid[..., target[0], target[1]] = there[..., source[0], source[1]]
    return replace(
        data, values=values, valid=valid, dimensions=frame.dimensions, window=place.wanted
    )


@dataclass(eq=False)
class _Whole:
    """`run_grass_whole` of one run: all pixels, and the module over them."""

    data: Cube
    """Without pixels."""
    extent: Window
    frame: _Frame
    labels: Labels = field(default_factory=dict)
    held: tuple[Values, Mask] | None = None

    @property
    def needs(self) -> int:
        """Bytes of the input, of the result, and of what the module holds."""
        labels = [len(d.labels) for d in self.data.dimensions[:-2]]
        made = [len(d.labels) for d in self.frame.dimensions[:-2]]
        cells = int(np.prod(labels)) * (self.data.dtype.itemsize + 1)
        cells += int(np.prod(made)) * (self.frame.dtype.itemsize + 1)
        return self.extent.pixels * (cells + self.frame.call.module.bytes_per_pixel)

    def passes(self, memory_bytes: int) -> Iterator[Pass]:
        """Walk over the blocks once.

        Raises:
            PlanTooLarge: the raster, and what GRASS holds of it, need more memory.
        """
        if self.needs > memory_bytes:
            raise PlanTooLarge(
                f"{self.frame.call.module.name} looks at all {self.extent.pixels:,} pixels at once "
                f"and needs about {self.needs / 1e9:.2g} GB; it may use {memory_bytes / 1e9:.2g} "
                "GB. Load a smaller extent, resample to larger pixels first, or allow more with "
                "--memory."
            )
        shape = (*(len(d.labels) for d in self.data.dimensions[:-2]), self.extent.height,
                 self.extent.width)  # fmt: skip
        self.held = np.zeros(shape, self.data.dtype), np.zeros(shape, np.bool_)
        yield self

    def windows(self, edge: int) -> Sequence[Window]:
        """Return all blocks."""
        return Blocks(self.extent, edge)

    def part(self, number: int, cube: Cube) -> Cube:
        """Keep the pixels of a block."""
        del number
        return cube

    def add(self, number: int, part: Cube) -> None:
        """Put a block into its place."""
        del number
        if part.window is None or self.held is None:
            raise TypeError("A block has pixels.")
        rows, cols = self.extent.slices(part.window)
        self.held[0][..., rows, cols], self.held[1][..., rows, cols] = part.values, part.valid

    def finish(self) -> Finding:
        """Run the module over everything."""
        if self.held is None:
            raise TypeError("Blocks come first.")
        whole = replace(self.data, values=self.held[0], valid=self.held[1], window=self.extent)
        values, valid = self.frame.computed(whole, WHOLE_SECONDS)
        corner = np.array([self.extent.row, self.extent.col], np.int64)
        return {"pixels": values, "there": valid, "corner": corner}


def _begin(data: Cube, extent: Window, result: Cube, arguments: Mapping[str, Any]) -> _Whole:
    del result
    return _Whole(data, extent, _Frame.of(data, arguments))


@process(
    "run_grass_whole",
    Role.STAGE,
    categories=("cubes", "terrain"),
    rules=Rules(
        window=_no_window,
        labels=all_labels,
        borders=True,
        makes_all=True,
        native=True,
        programs=_programs,
    ),
    stage=_begin,
    experimental=True,
)
def run_grass_whole(
    data: RasterCube,
    module: WholeModule,
    parameters: Parameters = {},  # noqa: B006 - the default that is published; never written to
    flags: Flags = "",
    outputs: Outputs = None,
    *,
    place: Place,
) -> RasterCube:
    """Run a module of GRASS that must see all pixels at once: flow, basins, clumps, distances.

    All pixels that the graph loads are computed and held in memory before anything that follows;
    load the extent that is meant (a whole catchment). Blocks and tiles are then cut out of what
    GRASS has made.

    Args:
        data: (..., y, x) raster. Every label of dimensions besides the bands is computed by itself.
        module: name of the module; the page on GRASS lists them.
        parameters: of the module, by GRASS's own names, without those that name maps.
        flags: letters of the module's flags.
        outputs: maps that are wanted, by the names of the parameters that name them; null for the
            first one, of `r.fill.dir` the first two.
        place: the pixels that are wanted, all that there are, and what GRASS has made.

    Returns:
        (..., y, x). `r.topidx` and `r.clump` make a band of each band; others take one band, and
        make bands that are called like the outputs. float32 or float64; int32 where all outputs
        are whole numbers, float64 where some are.

    Raises:
        ArgumentInvalid: there is no such module, parameter, value, flag or output here.
        PlanTooLarge: the raster does not fit into memory.
        GrassMissing: GRASS is not installed.
        GrassFailed: the module refuses what it is given, or takes too long.

    Source:
        GRASS GIS 8.2, grass.osgeo.org/grass82/manuals; an extension, not an openEO process.
    """
    arguments = {"module": module, "parameters": parameters, "flags": flags, "outputs": outputs}
    frame = _checked(data, arguments, local=False)
    wanted, found = place.wanted, place.found
    values, valid = frame.empty(wanted)
    if found:
        row, col = found["corner"]
        rows = slice(wanted.row - row, wanted.row_stop - row)
        cols = slice(wanted.col - col, wanted.col_stop - col)
        values, valid = found["pixels"][..., rows, cols], found["there"][..., rows, cols]
    return replace(data, values=values, valid=valid, dimensions=frame.dimensions, window=wanted)
