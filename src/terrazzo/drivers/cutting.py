"""How a run is cut into blocks, and what they are written into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from terrazzo import __version__
from terrazzo.drivers.results import default_nodata, default_overviews
from terrazzo.engine.demand import cube_bytes, size_text
from terrazzo.errors import PlanTooLarge
from terrazzo.geo.blocks import Blocks

if TYPE_CHECKING:
    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.results import OutputFormat
    from terrazzo.engine import Plan
    from terrazzo.storage.writers.zarr_shared import SharedZarr

MOST_BLOCKS = 100_000_000
"""Blocks of one run: 8 bytes are kept of each."""


def blocks_of(plan: Plan, edge: int, output: OutputFormat | None = None) -> Blocks:
    """Return the blocks of a run.

    Args:
        plan: what is computed.
        edge: of a block, pixels.
        output: the format of the result; what workers write themselves is cut from its corner, so
            that each chunk belongs to one block.

    Raises:
        PlanTooLarge: there are more than one run can keep account of.
        ArgumentInvalid: the format cannot be written in such blocks.
    """
    window, origin = plan.window, (0, 0)
    if output is not None and output.in_place:
        from terrazzo.storage.writers.zarr_shared import chunk_of  # noqa: PLC0415 - loads slowly

        chunk_of(edge)
        origin = (window.row, window.col)
    blocks = Blocks(window, edge, origin)
    if len(blocks) > MOST_BLOCKS:
        size = size_text(cube_bytes(plan.probe, window))
        raise PlanTooLarge(
            f"The run would have {len(blocks):,} blocks of {edge} x {edge} pixels and a result of "
            f"{size}; one run has at most {MOST_BLOCKS:,} blocks. Choose a coarser --resolution, a "
            "smaller --bbox or a larger --block."
        )
    return blocks


def store_of(plan: Plan, edge: int, output: OutputFormat, depot: Depot) -> SharedZarr | None:
    """Return the store that workers write their blocks into; None where results are put together.

    Raises:
        FormatUnsupported: it cannot hold the result.
    """
    if not output.in_place:
        return None
    from terrazzo.storage.writers.zarr_shared import (  # noqa: PLC0415 - loads slowly
        SharedZarr,
        chunk_of,
    )

    nodata = output.options.get("nodata")
    return SharedZarr(
        depot / output.file,
        plan.grid,
        probe=plan.probe,
        window=plan.window,
        chunk=chunk_of(edge),
        nodata=nodata if nodata is not None else default_nodata(plan.probe),
        overviews=str(output.options.get("overviews", default_overviews(plan.probe))).lower(),
        metadata={"terrazzo_version": __version__, "terrazzo_graph_digest": plan.digest},
    )
