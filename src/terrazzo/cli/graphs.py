"""Commands that take a graph: explain and run. What they load, they load when called."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
from typing_extensions import override

from terrazzo.cli.options import (
    GRAPH,
    SKIP_BAD,
    Settings,
    pool_options,
    read_graph,
    where,
)
from terrazzo.errors import ArgumentInvalid
from terrazzo.progress import Cancelled, ProgressLine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from terrazzo.drivers.job import Job
    from terrazzo.drivers.results import Asset
    from terrazzo.drivers.sending import Destination
    from terrazzo.progress import Progress


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


@click.command()
@GRAPH
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FOLDER|s3://BUCKET/PREFIX",
    help="Folder for the results; the same unfinished run in it is gone on with. Or a part of a "
    "bucket, which the results are sent to when they are done.",
)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for a run whose results go to a bucket.  [default: one in the home folder]",
)
@where
@pool_options
@click.option(
    "--executor",
    type=click.Choice(["threads", "processes"]),
    default="threads",
    show_default=True,
    help="Who computes the blocks.",
)
@SKIP_BAD
@click.pass_obj
def run(
    settings: Settings,
    /,
    graph: str,
    output: str,
    *,
    work: Path | None,
    block: int,
    workers: int,
    memory: int,
    executor: str,
    skip_bad: bool,
    **place: Any,
) -> None:
    """Run a process graph over its whole extent.

    Results go to stdout as one JSON line per written file; progress goes to stderr. Exit status:
    0 done, 2 bad input, 3 some blocks failed. A run that was stopped in any way goes on when the
    same command is given again. The folder `stac` in the output describes the files, with the graph
    and the images that they were made of; see also `terrazzo publish`.

    \b
    Example:
      terrazzo run ndvi.json -o ndvi --bbox 22.15,45.20,22.16,45.21
      terrazzo run ndvi.json -o s3://bucket/ndvi
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.drivers import batch  # noqa: PLC0415 - loads the engine
    from terrazzo.drivers.pool import Pool  # noqa: PLC0415
    from terrazzo.drivers.sending import send_run  # noqa: PLC0415

    job = job_of(graph, place, skip_bad=skip_bad)
    pool = Pool(executor, workers, memory)
    progress = ProgressLine()
    folder, destination = _where(settings, output, work, progress)
    try:
        result = batch.run(
            job, settings.workspace(), folder, block=block, pool=pool, progress=progress
        )
        if destination is not None:
            send_run(folder, destination)
    except (KeyboardInterrupt, Cancelled) as stop:
        raise Stopped(
            f"Stopped. The finished blocks are kept in {folder}: give the same command again and "
            "it goes on with the rest."
        ) from stop
    for asset in result.assets:
        told = describe(asset)
        if destination is not None:
            told["path"] = destination.url(asset.path.relative_to(folder).as_posix())
        click.echo(json.dumps(told))
    if result.resumed:
        click.echo(f"{result.resumed} of {result.blocks} blocks were there already.", err=True)
    tell_skipped(result.skipped)


def _where(
    settings: Settings, output: str, work: Path | None, progress: Progress
) -> tuple[Path, Destination | None]:
    """Return the folder of a run, and the bucket that its results go to, if they do.

    Raises:
        ArgumentInvalid: --work is given and the output is a folder itself.
        OutputFailed: the bucket cannot be written.
    """
    from terrazzo.drivers.places import is_remote  # noqa: PLC0415 - loads the engine
    from terrazzo.drivers.sending import Destination  # noqa: PLC0415

    if not is_remote(output):
        if work is not None:
            raise ArgumentInvalid("--work is for results that go to a bucket. Leave it out.")
        return Path(output), None
    name = hashlib.sha256(output.rstrip("/").encode()).hexdigest()[:16]
    return work or settings.home / "runs" / name, Destination.of(output, progress)


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
