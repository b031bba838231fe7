"""Commands that take a graph: explain and run. What they load, they load when called."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

import click
from typing_extensions import override

from terrazzo.cli.options import (
    GRAPH,
    Settings,
    read_graph,
    where,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from terrazzo.drivers.job import Job
    from terrazzo.drivers.results import Asset


class Stopped(click.ClickException):
    """The user stopped the command; says how to go on."""

    exit_code = 130

    @override
    def show(self, file: IO[Any] | None = None) -> None:
        """Write the message; it is no error."""
        click.echo(f"\n{self.message}", file=file, err=True)


@click.command()
@GRAPH
@where
@click.option(
    "--block",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    help="Edge of the block whose cost is told, pixels.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
@click.pass_obj
def explain(settings: Settings, /, graph: str, *, block: int, as_json: bool, **place: Any) -> None:
    """Say what a graph would do, read and cost, without reading a pixel.

    \b
    Example:
      terrazzo explain ndvi.json --bbox 22.15,45.20,22.16,45.21 --resolution 20
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.drivers.stages import stage_plans  # noqa: PLC0415 - loads the engine
    from terrazzo.engine.explain import explain as told  # noqa: PLC0415
    from terrazzo.engine.explain import (  # noqa: PLC0415
        explain_text,
        explain_value,
        explain_value_text,
    )

    job = job_of(graph, place)
    inference = job.infer(settings.workspace())
    result = inference.cube(inference.graph.result)
    stages = stage_plans(job, inference, inference.graph.result)
    plan = None if result.grid is None else job.plan(inference)
    if as_json:
        first = {name: told(looked, block=block) for name, looked in stages.items()}
        value = {**explain_value(result), "stages": list(first)}
        last = value if plan is None else told(plan, block=block)
        click.echo(json.dumps({**last, "looks_at": first}, indent=1))
        return
    texts = [
        f"stage {name} ({inference.nodes[name].process.id}) looks at all pixels of {looked.node}:\n"
        f"{explain_text(looked, block=block)}"
        for name, looked in stages.items()
    ]
    last_text = explain_value_text(result) if plan is None else explain_text(plan, block=block)
    click.echo("\n\n".join([*texts, last_text]))


def job_of(graph: str, place: dict[str, Any], *, skip_bad: bool = False) -> Job:
    """Return the job of a file with a graph."""
    from terrazzo.drivers.job import Job  # noqa: PLC0415 - loads the engine

    return Job.of(read_graph(graph), skip_bad=skip_bad, **place)


def describe(asset: Asset) -> dict[str, Any]:
    """Return a written file as JSON values."""
    told = {"path": str(asset.path), "media_type": asset.media_type}
    return told | ({"time": asset.time} if asset.time else {})


def tell_skipped(names: Iterable[str]) -> None:
    """Say which items were left out."""
    for name in names:
        click.echo(f"Left out, because it cannot be read: {name}", err=True)
