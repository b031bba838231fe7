"""The command that extracts polygons; what it loads, it loads when called."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from terrazzo.cli.cluster_options import (
    Slurmed,
    allocation,
    check_cluster,
    cluster_options,
    group_arguments,
    share_catalogue,
)
from terrazzo.cli.graphs import Stopped, job_of, tell_skipped
from terrazzo.cli.options import EXACT, GRAPH, SKIP_BAD, Settings, pool_options
from terrazzo.errors import ArgumentInvalid
from terrazzo.progress import Cancelled, ProgressLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.drivers.extract import ExtractResult
    from terrazzo.drivers.extraction.code import ParcelCode
    from terrazzo.drivers.extraction.prepared import Wanted
    from terrazzo.drivers.extraction.samples import Sampling
    from terrazzo.drivers.order import Order
    from terrazzo.progress import Progress

_LISTED = 10


def _what(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what is made of the pixels."""
    for option in (
        click.option("--context", default="{}", metavar="JSON", help="Values for the code."),
        click.option(
            "--code",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="Python file with code that reduces the pixels of a polygon, in place of "
            "statistics.",
        ),
        click.option("--seed", default=0, show_default=True, help="Of the choice of --pixels N."),
        click.option(
            "--per",
            default="",
            metavar="COLUMN",
            help="With --pixels N: so many of each value of this attribute, not of each polygon.",
        ),
        click.option(
            "--pixels",
            default="",
            metavar="all|N",
            help="A row per pixel, in place of statistics: all of them, or N random ones.",
        ),
        click.option(
            "--stats",
            default="",
            metavar="LIST",
            help="Statistics, with commas, for example count,mean,q05,q95; docs/extract.md lists "
            "them.",
        ),
    ):
        command = option(command)
    return command


def _which(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which pixels are a polygon's."""
    for option in (
        click.option(
            "--around",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="A point has the square of so many pixels around it; odd.",
        ),
        click.option(
            "--buffer",
            "buffer_m",
            type=float,
            default=0.0,
            metavar="METRES",
            help="Grow polygons first; negative shrinks, so that no border pixel counts.",
        ),
        click.option(
            "--weights",
            "how",
            type=click.Choice(["exact", "centre", "touched"]),
            default="exact",
            show_default=True,
            help="What a pixel counts: the share that is covered; 1 if its centre is; 1 if any "
            "of it is.",
        ),
        click.option("--crs", default="", help="CRS of the polygons, where their file has none."),
        click.option("--id", "id_column", default="", help="Attribute that names the polygons."),
    ):
        command = option(command)
    return command


@click.command()
@GRAPH
@click.argument("polygons", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the table; an extraction in it is gone on with.",
)
@click.option(
    "--by",
    type=click.Choice(["date", "image"]),
    default="date",
    show_default=True,
    help="What is computed at a time: a date on the graph's grid, or an image on its own.",
)
@_which
@_what
@EXACT
@pool_options
@cluster_options
@SKIP_BAD
@click.option("--dry-run", is_flag=True, help="Say what there is to do and what it costs.")
@click.pass_obj
def extract(
    settings: Settings,
    /,
    graph: str,
    polygons: Path,
    output: Path,
    *,
    stats: str,
    pixels: str,
    per: str,
    seed: int,
    code: Path | None,
    context: str,
    block: int,
    workers: int,
    memory: int,
    executor: str,
    scheduler: str,
    slurm: Slurmed,
    skip_bad: bool,
    dry_run: bool,
    exact: bool,
    **which: Any,
) -> None:
    """Reduce a graph's pixels under POLYGONS to a table in a folder.

    POLYGONS, lines or points are GeoParquet, GeoPackage, Shapefile or GeoJSON. The table has one
    row per polygon, date and band, in Parquet files by date. A pixel counts by the exact share of
    it that the polygon covers.

    An extraction that was stopped in any way goes on when the same command is given again; one
    that is done takes in new and changed images. Exit status: 0 done, 2 bad input, 3 some dates or
    images failed; `scenes.sqlite` in the folder tells which, and why.

    Threads share the cells of a scene; processes, workers of Dask and tasks of Slurm take a scene
    each. All machines must see the folder.

    \b
    Example:
      terrazzo extract ndvi.json parcels.gpkg -o fields --stats mean,count --id parcel --buffer -10
      terrazzo extract ndvi.json parcels.gpkg -o /data/fields --executor slurm --workers 50
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.drivers.depot import FolderDepot  # noqa: PLC0415
    from terrazzo.drivers.extract import extracted, outlook_of  # noqa: PLC0415 - loads the engine
    from terrazzo.drivers.extract_jobs import order_of  # noqa: PLC0415
    from terrazzo.drivers.extraction.prepared import Given  # noqa: PLC0415
    from terrazzo.drivers.extraction.statistics import DEFAULT  # noqa: PLC0415
    from terrazzo.drivers.pool import Pool  # noqa: PLC0415
    from terrazzo.drivers.stages import Means  # noqa: PLC0415

    check_cluster(executor, scheduler, slurm)
    names = [name.strip() for name in stats.split(",") if name.strip()]
    asked = which | {
        "statistics": names or DEFAULT,
        "code": _code(code, context, stats),
        "sampling": _sampling(pixels, per, seed, stats),
    }
    job = job_of(graph, {"exact": exact}, skip_bad=skip_bad)
    given = Given.of(job, settings.workspace(), polygons, cast("Wanted", asked))
    share_catalogue(settings)
    pool = Pool("threads" if executor == "slurm" else executor, workers, memory, scheduler)
    means = Means(block, pool, ProgressLine(), FolderDepot(output))
    if dry_run:
        click.echo(outlook_of(given, output, means).text())
        return
    try:
        if executor == "slurm":
            order = order_of(given, block, replace(pool, workers=slurm["cores"]))
            result = _by_slurm(settings, order, output, workers, slurm, means.progress)
        else:
            result = extracted(given, output, means)
    except (KeyboardInterrupt, Cancelled) as stop:
        raise Stopped(
            f"Stopped. What is done is kept in {output}: give the same command again and it goes "
            "on with the rest."
        ) from stop
    if result is not None:
        _tell(result)


def _by_slurm(
    settings: Settings,
    order: Order[ExtractResult],
    folder: Path,
    workers: int,
    options: Slurmed,
    progress: Progress,
) -> ExtractResult | None:
    """Have Slurm do an extraction; None where its table is not waited for."""
    from terrazzo.drivers import slurm as slurms  # noqa: PLC0415 - loads the engine

    command = [sys.executable, "-m", "terrazzo", *group_arguments(settings)]
    wanted = allocation(workers, order.memory_bytes, options)
    slurm, workspace = slurms.Slurm(folder, command, wanted), settings.workspace()
    if options["script_only"]:
        for path in slurms.scripts(order, workspace, slurm, progress).values():
            click.echo(f"# {path}\n{path.read_text()}")
        return None
    made = slurms.run(order, workspace, slurm, progress, follow=not options["detach"])
    if made is None:
        click.echo(json.dumps({"folder": str(slurm.folder), "jobs": list(slurm.jobs)}))
    return made


def _tell(result: ExtractResult) -> None:
    """Say what an extraction has made, and what it had to leave out."""
    told = {
        "path": str(result.table),
        "rows": result.rows,
        "polygons": result.polygons,
        "scenes": result.scenes,
    }
    click.echo(json.dumps(told))
    if result.resumed:
        click.echo(f"{result.resumed} of {result.scenes} scenes were there already.", err=True)
    _tell_polygons("cover no pixel and have no rows", result.outside)
    _tell_polygons("were invalid and were repaired", result.repaired)
    tell_skipped(result.skipped)


def _code(path: Path | None, context: str, stats: str) -> ParcelCode | None:
    if path is None:
        return None
    if stats:
        raise ArgumentInvalid("--stats and --code exclude each other. Leave one of them out.")
    from terrazzo.drivers.extraction.code import ParcelCode  # noqa: PLC0415 - loads the engine

    try:
        return ParcelCode(path.read_text(encoding="utf-8"), json.loads(context))
    except UnicodeDecodeError as error:
        raise ArgumentInvalid(f"{path} is no Python code: it is not UTF-8 ({error}).") from error
    except json.JSONDecodeError as error:
        raise ArgumentInvalid(f"--context is no JSON: {error}.") from error


def _sampling(pixels: str, per: str, seed: int, stats: str) -> Sampling | None:
    if not pixels:
        if per:
            raise ArgumentInvalid("--per goes with --pixels N. Add it, or leave --per out.")
        return None
    if stats:
        raise ArgumentInvalid("--stats and --pixels exclude each other. Leave one of them out.")
    from terrazzo.drivers.extraction.samples import Sampling  # noqa: PLC0415 - loads the engine

    return Sampling.named(pixels, per=per, seed=seed)


def _tell_polygons(what: str, ids: tuple[Any, ...]) -> None:
    if ids:
        few = ", ".join(str(name) for name in ids[:_LISTED]) + (" ..." * (len(ids) > _LISTED))
        click.echo(f"{len(ids)} polygons {what}: {few}", err=True)
