"""The command that says where a run's time and memory go."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from typing_extensions import override

from terrazzo.cli.options import GRAPH, SKIP_BAD, Settings, pool_options, read_graph, where
from terrazzo.progress import ProgressLine

if TYPE_CHECKING:
    from terrazzo.drivers.measured import Profile


class TileName(click.ParamType[tuple[int, int, int]]):
    """Zoom, column and row of a map tile."""

    name = "Z/X/Y"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int]:
        """Read three whole numbers with slashes between."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,2})/(\d{1,9})/(\d{1,9})", str(value).strip())
        if match is None:
            self.fail(
                f"{value!r} is no tile. Give zoom/x/y as in a map's addresses, for example "
                "--tile 12/2300/1470.",
                param,
                ctx,
            )
        zoom, x, y = (int(number) for number in match.groups())
        return zoom, x, y


@click.command()
@GRAPH
@click.option(
    "--tile",
    type=TileName(),
    help="Profile this map tile (Web Mercator) instead of a run, with a cold and a warm cache.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that keeps the results. Default: they are written, and deleted.",
)
@where
@pool_options
@SKIP_BAD
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    help="Do it so often and tell of the median. Default: 1 run, 5 tiles.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
@click.pass_obj
def profile(
    settings: Settings,
    /,
    graph: str,
    *,
    tile: tuple[int, int, int] | None,
    output: Path | None,
    block: int,
    workers: int,
    memory: int,
    skip_bad: bool,
    repeat: int | None,
    as_json: bool,
    **place: Any,
) -> None:
    """Say where a run's time and memory go, and how much it reads of what it needs.

    The graph is run as `terrazzo run` runs it, with threads, or computed as one map tile. The
    profile goes to stdout, progress to stderr. Exit status as that of `run`.

    \b
    Examples:
      terrazzo profile ndvi.json --bbox 22.15,45.20,22.16,45.21
      terrazzo profile ndvi.json --tile 12/2300/1470
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.drivers.job import Job  # noqa: PLC0415 - loads the engine

    job = Job.of(read_graph(graph), skip_bad=skip_bad, **place)
    if tile is None:
        told = _of_run(settings, job, output, block, workers, memory, repeat or 1)
    elif output is not None:
        raise click.UsageError("A tile writes no files: leave out --output or --tile.")
    else:
        from terrazzo.drivers.profile import TILE_REPEATS, profile_tile  # noqa: PLC0415

        told = profile_tile(job, settings.workspace(), tile, repeat=repeat or TILE_REPEATS)
    click.echo(json.dumps(told.to_json(), indent=1) if as_json else told.to_text())


def _of_run(
    settings: Settings,
    job: Any,
    output: Path | None,
    block: int,
    workers: int,
    memory: int,
    repeat: int,
) -> Profile:
    from terrazzo.drivers.pool import Pool  # noqa: PLC0415 - loads the engine
    from terrazzo.drivers.profile import profile as profiled  # noqa: PLC0415

    return profiled(
        job,
        settings.workspace(),
        block=block,
        pool=Pool("threads", workers, memory),
        folder=output,
        repeat=repeat,
        progress=ProgressLine(),
    )
