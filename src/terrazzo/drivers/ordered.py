"""Reading orders: which kind one is of, and so what is to be done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from terrazzo.drivers.about import About
from terrazzo.drivers.job import Job
from terrazzo.drivers.order import ORDER, Order
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.order import Steps


def read_order(run: Depot) -> Order[Any]:
    """Read the order of a run or an extraction.

    Raises:
        ArgumentInvalid: there is none, or a damaged one.
        OutputFailed: it cannot be read.
    """
    content = run.read(ORDER)
    if content is None:
        raise ArgumentInvalid(
            f"There is no run to help with in {run}: it has no {ORDER}. Begin one with "
            f"`terrazzo run GRAPH.json -o {run} --executor slurm`."
        )
    try:
        told: dict[str, Any] = json.loads(content)
        return Order(
            Job.read(told["job"]), told["block"], told["threads"], told["memory_bytes"],
            About(**told["about"]), by=_steps(told), of_a_job=bool(told["of_a_job"]),
        )  # fmt: skip
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ArgumentInvalid(
            f"{run}/{ORDER} is damaged ({error}). Give the command that began the run once more."
        ) from error


def _steps(told: Mapping[str, Any]) -> Steps[Any]:
    """Return what an order makes; of what others make nothing is loaded.

    Raises:
        KeyError, TypeError, AttributeError: it is of no kind that there is.
    """
    if "tiles" in told:
        from terrazzo.drivers.tiling.slurmed import ByTiles  # noqa: PLC0415 - only where wanted

        return ByTiles(**told["tiles"])
    if "scenes" in told:
        from terrazzo.drivers.extract_jobs import ByScenes  # noqa: PLC0415 - as above

        return ByScenes.read(told["scenes"])
    from terrazzo.drivers.block_jobs import ByBlocks  # noqa: PLC0415 - as above

    return ByBlocks(told["blocks"])
