"""What `terrazzo run` does before it begins: note the run, and say what it will take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terrazzo.cli.options import Settings
    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.job import Job
    from terrazzo.drivers.watching.speeds import Outlook
    from terrazzo.engine import Inference


def begun(
    settings: Settings,
    named: tuple[str, Job],
    where: Depot,
    block: int,
    executor: str,
    workers: int,
) -> tuple[Inference, Outlook]:
    """Note a run for `terrazzo jobs`; return its graph, bound, and what it is expected to take.

    Args:
        settings: whose home remembers both runs and how fast they were.
        named: the graph's file, and the job.
        where: the run is kept.
        block: edge of a block, pixels.
        executor: who computes.
        workers: how many.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable: the run cannot be made.
    """
    from terrazzo.drivers.estimate import outlook  # noqa: PLC0415 - loads the engine

    graph, job = named
    inference = job.infer(settings.workspace())
    foretold = outlook(job, inference, settings.home, block, executor, workers)
    note(settings, graph, where)
    return inference, foretold


def note(settings: Settings, graph: str, where: Depot) -> None:
    """Note a run for `terrazzo jobs`, by the name of its graph's file."""
    from terrazzo.drivers.watching.known import enter  # noqa: PLC0415 - loads the engine

    enter(settings.home, str(where), "graph" if graph == "-" else Path(graph).stem)
