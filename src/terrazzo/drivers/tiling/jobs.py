"""The job of a tile: the same graph, on the tile's own pixels."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from terrazzo.drivers.batch import output_nodes
from terrazzo.drivers.job import Job
from terrazzo.drivers.results import output_format
from terrazzo.engine import Plan, demand, make_plan
from terrazzo.engine.demand import nothing_wanted
from terrazzo.engine.grids import extent_on
from terrazzo.errors import ArgumentInvalid, FormatUnsuitable, SpatialExtentEmpty
from terrazzo.geo.grid import Grid
from terrazzo.storage.source import RasterSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrazzo.drivers.tiling.squares import Squares
    from terrazzo.engine import Inference
    from terrazzo.engine.bound import Bound
    from terrazzo.engine.steps import Step
    from terrazzo.geo.grid import Window
    from terrazzo.geo.tile_grids import Tile
    from terrazzo.processes.registry import Labels

_FORMATS = ("GTIFF", "COG")


@dataclass(frozen=True, slots=True)
class TileJob(Job):
    """A job whose result is all pixels of a tile, also those where there are no data."""

    tile: Grid = field(kw_only=True)
    """The pixels."""
    is_part: ClassVar[bool] = True

    @classmethod
    def on(cls, job: Job, tile: Grid) -> TileJob:
        """Return a job on a tile."""
        return cls(**{one.name: getattr(job, one.name) for one in fields(Job)}, tile=tile)

    @override
    def plan(
        self,
        inference: Inference,
        node: str = "",
        *,
        labels: Labels = MappingProxyType({}),
    ) -> Plan:
        """Plan a node of the graph on the tile; of `labels`, if any, only these."""
        plan = make_plan(inference, self.tile, node=node, labels=labels, exact=self.exact)
        return replace(plan, window=self.tile.window)

    @override
    def sources(self, inference: Inference) -> dict[str, Sequence[str]]:
        """Return the ids of the images that have pixels which the tile may be made of.

        What stages have found is made of all of them.
        """
        every = Job.sources(self, inference)
        if inference.found:
            return every
        near: dict[str, dict[str, None]] = {
            name: {} for name in every if inference.nodes[name].source is not None
        }
        for node in output_nodes(inference):
            plan = self.plan(inference, node)
            wanted = demand(plan, plan.window)
            for step, here in zip(plan.steps, wanted.windows, strict=True):
                if step.reads and step.grid is not None and not nothing_wanted(step, here):
                    near[step.bound.id] |= dict.fromkeys(_near(step, here))
        return every | {name: tuple(ids) for name, ids in near.items()}


def _near(step: Step, window: Window) -> tuple[str, ...]:
    """Return the ids of the images that a step reads in a window."""
    source, grid = step.bound.source, step.grid
    if isinstance(source, RasterSource) and grid is not None:
        return source.items_near(grid, window, step.wanted)
    return () if source is None else source.items_of(step.wanted)


def check_outputs(job: Job, inference: Inference) -> None:
    """Refuse what cannot be cut into tiles, before anything is read.

    Raises:
        ArgumentInvalid: the place is said twice.
        FormatUnsuitable: a result has no pixels, or is saved as something else than GeoTIFF.
    """
    if job.crs:
        raise ArgumentInvalid("A tile grid says what CRS its tiles have. Leave --crs out.")
    for node in output_nodes(inference):
        if inference.nodes[node].grid is None:
            raise FormatUnsuitable(
                f"Node {node!r} gives no raster, which could be cut into tiles. Leave --tiles out."
            )
        output = output_format(inference, node)
        if output.name not in _FORMATS:
            raise FormatUnsuitable(
                f"Tiles are GeoTIFFs, and node {node!r} saves {output.name}. Save GTiff, or leave "
                "--tiles out."
            )


def tiles_of(job: Job, inference: Inference, tiles: Squares) -> tuple[Tile, ...]:
    """Return the tiles that the results of a job touch, in the order of the tile grid.

    Raises:
        ArgumentInvalid: the graph has chosen other pixels than the tiles have.
        SpatialExtentEmpty: there is none.
        PlanTooLarge: there are more than a run can have.
    """
    found: dict[str, Tile] = {}
    for node in output_nodes(inference):
        bound = inference.cube(node)
        if bound.grid is None:
            continue
        for tile in tiles.tiles(bound.grid, bound.extent):
            if (
                not extent_on(bound.grid, bound.extent, tile.grid)
                .intersection(tile.grid.window)
                .is_empty
            ):
                _check_lattice(bound, tile)
                found[tile.name] = tile
    wanted = _within(job, tiles)
    chosen = tuple(one for name, one in found.items() if wanted is None or name in wanted)
    if not chosen:
        raise SpatialExtentEmpty(
            f"The result touches no tile of {tiles.text!r}"
            f"{' within --bbox' if wanted is not None else ''}. Widen the extent, or choose "
            "another tile grid."
        )
    return chosen


def _within(job: Job, tiles: Squares) -> set[str] | None:
    """Return the names of the tiles to which a job is confined; None where it is not."""
    within = job.within
    if within is None:
        return None
    names: set[str] = set()
    for left, bottom, right, top in within.boxes:
        box = Grid.of(within.crs, left, top, (right - left, top - bottom), 1, 1)
        names.update(tile.name for tile in tiles.tiles(box, box.window))
    return names


def _check_lattice(bound: Bound, tile: Tile) -> None:
    if not bound.free and bound.grid is not None and bound.grid.offset_of(tile.grid) is None:
        raise ArgumentInvalid(
            f"The graph chooses its own grid (resample_spatial), and the pixels of tile "
            f"{tile.name} are others. Leave that process out, or choose a tile grid with its "
            "pixels."
        )
