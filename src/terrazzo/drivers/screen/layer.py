"""Layers: graphs that screens show and ask about."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.cube import Kind
from terrazzo.drivers.screen.described import BandTold, told_bands
from terrazzo.drivers.screen.look import Look, check_absolute, default_colors
from terrazzo.drivers.tile import NATIVE, TileLayer, View, shown
from terrazzo.engine import cost, infer
from terrazzo.engine.demand import central_block
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import WEB_MERCATOR, is_geographic
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.storage.writers.picture import Style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.cube import Cube, Dimension
    from terrazzo.drivers.job import Workspace
    from terrazzo.engine import Inference
    from terrazzo.geo.grid import Grid, Window
    from terrazzo.graph import Graph
    from terrazzo.storage.raster import RasterReader

SAMPLE: Final = 256
"""Edge of the block from which a range is found."""
MOST_SAMPLED: Final = 400_000_000
"""Bytes that may be read to find a range away from the middle."""
COLOURS: Final = ("red", "green", "blue")
_METRES_PER_DEGREE: Final = 111_320.0
_EARTH: Final = 6_378_137.0
_EIGHT_BIT: Final = (0.0, 255.0)
_FINEST: Final = 300
"""Digits after the point to which float64 can be rounded."""
_SNAP: Final = 1e-6
"""Steps: nearer than this to one is on it."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A graph whose items are chosen, ready to give pixels; safe to use from many threads."""

    tiles: TileLayer
    """Gives the pixels."""
    title: str = ""
    """What people call it."""
    versions: tuple[str, ...] = ()
    """Versions of the collections whose items were chosen."""
    documents: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """These collections."""
    process: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The process as it was given; JSON values."""
    _ranges: dict[tuple[str, ...], tuple[float, float]] = field(
        default_factory=dict, init=False, repr=False
    )
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def id(self) -> str:
        """Digest of the graph, by which screens name the layer."""
        return self.tiles.digest

    @property
    def inference(self) -> Inference:
        """The graph with its metadata; its stages have been carried out."""
        return self.tiles.inference

    @property
    def sources(self) -> tuple[Mapping[str, str], ...]:
        """Id, title, description and licence of its collections, which a map has to show."""
        names = ("id", "title", "description", "license")
        return tuple({name: str(one.get(name, "")) for name in names} for one in self.documents)

    @property
    def times(self) -> Dimension | None:
        """The dates of the result, if it has any."""
        return next((d for d in self.tiles.probe.dimensions if d.kind is Kind.TEMPORAL), None)

    @property
    def dates(self) -> list[str]:
        """Labels of the dates."""
        return [] if self.times is None else [str(label) for label in self.times.labels]

    @property
    def bands(self) -> tuple[BandTold, ...]:
        """What is known of the bands of the result; one without a name where it has none."""
        found = [d for d in self.tiles.probe.dimensions if d.kind is Kind.BANDS]
        return told_bands(found[0] if found else None, self.documents, self.tiles.result.unchanged)

    @property
    def resolution(self) -> float:
        """Edge of the result's own pixels at its centre, metres."""
        return self.tiles.grid.pixel_metres

    def metres(self, grid: Grid, window: Window) -> float:
        """Return at which pixel size a window is computed, metres on the ground at its centre.

        A graph that chose its own grid (`resample_spatial`) is computed there and only warped.
        """
        if not self.tiles.result.free:
            return self.resolution
        middle = grid.top - (window.row + window.height / 2) * grid.pixel_y
        if grid.crs == WEB_MERCATOR:
            return math.sqrt(grid.pixel_x * grid.pixel_y) / math.cosh(middle / _EARTH)
        if is_geographic(grid.crs):
            narrow = math.cos(math.radians(min(abs(middle), 89.0)))
            return _METRES_PER_DEGREE * math.sqrt(grid.pixel_x * grid.pixel_y * narrow)
        return grid.pixel_metres

    def shown_bands(self, look: Look) -> tuple[str, ...]:
        """Return the bands that a look shows; empty where the result has no bands.

        Raises:
            BandNotFound: it wants one that the result does not have.
            ArgumentInvalid: it wants some, and the result has no bands.
        """
        dimension = next((d for d in self.tiles.probe.dimensions if d.kind is Kind.BANDS), None)
        if dimension is None:
            if look.bands:
                raise ArgumentInvalid(f"This layer has no bands, so no {look.bands[0]!r}.")
            return ()
        if look.bands:
            for band in look.bands:
                dimension.index(band)
            return look.bands
        common = {one.common_name: one.name for one in reversed(self.bands) if one.common_name}
        if all(colour in common for colour in COLOURS):
            return tuple(common[colour] for colour in COLOURS)
        labels = [str(label) for label in dimension.labels]
        return tuple(labels if len(labels) == len(COLOURS) else labels[:1])

    def shown_date(self, look: Look) -> str:
        """Return the label of the date that a look shows; empty where there are none.

        Raises:
            LabelNotAvailable: it wants one that the result does not have.
            ArgumentInvalid: it wants one, and the result has no dates.
        """
        times = self.times
        if times is None:
            if look.time:
                raise ArgumentInvalid(f"This layer has no dates, so no {look.time!r}.")
            return ""
        return str(times.labels[times.index(look.time) if look.time else -1])

    def view(self, look: Look) -> View:
        """Return what a look means here, in numbers; what it leaves out is found.

        Raises:
            BandNotFound, LabelNotAvailable, ArgumentInvalid: the result does not have what it
                wants.
            LookRelative: its stretch depends on what is in view.
        """
        check_absolute(look)
        bands, time = self.shown_bands(look), self.shown_date(look)
        colors = look.colors
        if len(bands) <= 1 and not colors:
            name = bands[0] if bands else ""
            told = next((one for one in self.bands if one.name == name), None)
            colors = (told.colors if told else None) or default_colors()
        ranges = look.stretch.ranges
        if not ranges and (len(bands) > 1 or isinstance(colors, str)):
            ranges = (self.range(bands),)
        return View(Style(ranges, colors or default_colors(), look.stretch.gamma), bands, time)

    def range(self, bands: tuple[str, ...]) -> tuple[float, float]:
        """Return the range of 2 % to 98 % of some pixels of the last date, read once.

        It is the same for all dates, so that they can be compared.
        """
        with self._lock:
            if bands not in self._ranges:
                self._ranges[bands] = found_range(self.tiles, View(Style(), bands))
            return self._ranges[bands]


def found_range(tiles: TileLayer, view: View) -> tuple[float, float]:
    """Return the range of 2 % to 98 % of the pixels in the middle, or of all of them from afar.

    Args:
        tiles: the layer.
        view: which band and date.
    """
    if len(view.bands) > 1 and tiles.probe.dtype == np.uint8:
        return _EIGHT_BIT
    finest = tiles.matrix(NATIVE).base_zoom
    for zoom, middle in ((finest, True), (0, False)):
        plan = tiles.plan(NATIVE, zoom, view)
        if plan is None:
            break
        window = central_block(plan, SAMPLE) if middle else plan.window
        if not middle and cost(plan, window).read_bytes > MOST_SAMPLED:
            break
        cube = shown(tiles.computed(plan, window), view)
        seen = numbers_of(cube)
        if seen.size:
            return rounded_range(*np.percentile(seen, [2, 98]).tolist())
    return 0.0, 1.0


def rounded_range(low: float, high: float) -> tuple[float, float]:
    """Return a range with edges of few digits, outwards by at most a hundredth of what it spans."""
    span = high - low
    if not span > 0.0:
        return low, low + max(1.0, math.ulp(low))
    if not math.isfinite(span):
        return low, high
    digits = 2 - math.floor(math.log10(span))
    if digits > _FINEST:
        return low, high
    step = 10.0**-digits
    return (
        round(math.floor(low / step + _SNAP) * step, digits),
        round(math.ceil(high / step - _SNAP) * step, digits),
    )


def numbers_of(cube: Cube) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the finite values of a cube that are valid."""
    seen = np.asarray(cube.values[cube.valid], np.float64)
    return seen[np.isfinite(seen)]


def open_layer(
    workspace: Workspace,
    process: Mapping[str, Any] | str,
    *,
    title: str = "",
    processes: Mapping[str, Any] | None = None,
    reader: RasterReader | None = None,
) -> Layer:
    """Open a graph on a workspace as a layer.

    Args:
        workspace: where collections and files are.
        process: an openEO process or process graph, JSON text or values.
        title: what people call it.
        processes: user-defined processes that the graph calls, by id.
        reader: reads files for others, too; None makes one.

    Raises:
        GraphInvalid, CollectionNotFound, NoDataAvailable, ArgumentInvalid, PlanTooLarge: it cannot
            be shown.
    """
    given: Mapping[str, Any] = json.loads(process) if isinstance(process, str) else process
    graph = parse(given, specs=SPECS, user_processes=processes or {})
    names, workspace = collections_of(graph), workspace.renewed()
    catalog = workspace.catalog() if names else None
    versions = tuple(catalog.version(name) for name in names) if catalog else ()
    inference = infer(graph, workspace.opener(reader=reader))
    documents = tuple(catalog.collection(name) for name in names) if catalog else ()
    return Layer(TileLayer(inference), title, versions, documents, given)


def collections_of(graph: Graph) -> Sequence[str]:
    """Return the collections that a graph loads, sorted."""
    loads = (node for node in graph if node.process_id == "load_collection")
    return sorted({str(node.arguments.get("id")) for node in loads})
