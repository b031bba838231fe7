"""The command that turns a finished run into a collection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terrazzo.progress import ProgressLine

if TYPE_CHECKING:
    from terrazzo.cli.options import Settings


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--collection", required=True, metavar="ID", help="The collection to fill.")
@click.option("--title", default="", help="Title of the collection.")
@click.option("--description", default="", help="What the collection holds.")
@click.option("--license", "licence", default="", help="SPDX identifier of its licence.")
@click.option(
    "--to", default="", metavar="s3://BUCKET/PREFIX", help="Send the images there instead."
)
@click.option(
    "--stats",
    default="",
    metavar="NAME,...",
    help="Of an extraction: the statistics that become columns, mean by default.",
)
@click.pass_obj
def publish(
    settings: Settings,
    folder: Path,
    collection: str,
    *,
    title: str,
    description: str,
    licence: str,
    to: str,
    stats: str,
) -> None:
    """Make the images or geometries of a finished run in FOLDER a collection for other graphs.

    The items name the graph and the images that were read. Another run may be published into the
    same collection; the same run once more changes nothing. The files go into the home folder, or
    with --to into a bucket, with the STAC that describes them. Of an extraction the polygons are
    published, with what was found on each date.

    \b
    Example:
      terrazzo run ndvi.json -o ndvi
      terrazzo publish ndvi --collection ndvi-2024 --license CC-BY-4.0
      terrazzo publish ndvi --collection ndvi-2024 --to s3://bucket/ndvi
      terrazzo publish parcels-table --collection parcels-2024 --stats mean,valid_share
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.drivers.publish import publish as take_over  # noqa: PLC0415 - loads the engine

    made = take_over(
        folder,
        collection,
        settings.workspace(),
        title=title,
        description=description,
        license=licence,
        to=to,
        statistics=tuple(name.strip() for name in stats.split(",") if name.strip()),
        progress=ProgressLine(),
    )
    told = {"collection": made.collection, "made": made.made, "kept": made.kept}
    click.echo(json.dumps(told))
