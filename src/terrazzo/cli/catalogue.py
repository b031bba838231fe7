"""Commands of the catalogue: ingest and search."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.cli.options import BBox, Condition, Property, Settings
from terrazzo.errors import ArgumentInvalid, RunIncomplete
from terrazzo.progress import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_ROW = "{:<40}  {:<24}  {:<27}  {}"
_DAY, _MONTH, _YEAR = 10, 7, 4


@click.command()
@click.argument(
    "paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path)
)
@click.option("--collection", required=True, metavar="ID", help="The collection to fill.")
@click.option("--title", default="", help="Title of the collection.")
@click.option("--license", "licence", default="", help="SPDX identifier of its licence.")
@click.option("--datetime", "when", default="", help="Instant or period of files that state none.")
@click.option("--bands", default="", metavar="LIST", help="Names of the bands, with commas.")
@click.option(
    "--pattern",
    default="",
    help="Regular expression for file names, with groups (?P<date>), (?P<band>), (?P<item>).",
)
@click.option("--copy", is_flag=True, help="Copy into the home folder as COGs.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.pass_obj
def ingest(
    settings: Settings,
    paths: tuple[Path, ...],
    collection: str,
    *,
    title: str,
    licence: str,
    when: str,
    bands: str,
    pattern: str,
    copy: bool,
    dry_run: bool,
) -> None:
    """Make a collection of files: GeoTIFF and COG, CF NetCDF, and folders of them.

    What is there already from the same content is kept, so an ingestion that was stopped goes on
    when the same command is given again. One JSON line on stdout says what was done.

    \b
    Example:
      terrazzo ingest images/ --collection sentinel-2 --license CC-BY-4.0
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.drivers.ingest import IngestOptions  # noqa: PLC0415 - loads the readers
    from terrazzo.drivers.ingest import ingest as take_in  # noqa: PLC0415

    missing = [path for path in paths if not path.exists()]
    if missing:
        raise ArgumentInvalid(f"There is no file or folder {missing[0]}. Check the path.")
    options = IngestOptions(
        datetime=when,
        pattern=pattern,
        bands=tuple(name.strip() for name in bands.split(",") if name.strip()),
        copy=copy,
        dry_run=dry_run,
        title=title,
        license=licence,
    )
    report = take_in(
        paths,
        collection,
        settings.workspace(),
        options=options,
        progress=ProgressLine(),
    )
    told = {
        "collection": report.collection,
        "made": report.made,
        "kept": report.kept,
        "failed": len(report.failed),
    }
    click.echo(json.dumps(told | ({"dry_run": True} if dry_run else {})))
    for name, reason in report.failed.items():
        click.echo(f"Left out: {name}: {reason}", err=True)
    if report.failed and not report.items:
        raise ArgumentInvalid("Nothing could be ingested; the reasons are above.")
    if report.failed:
        raise RunIncomplete(
            f"{len(report.failed)} files were left out; {report.items} items are in the catalogue. "
            "Mend the files and give the same command again: what is there is kept."
        )


@click.command()
@click.argument("collections", nargs=-1, metavar="[COLLECTION]...")
@click.option("--bbox", type=BBox(), help="Where, in degrees.")
@click.option(
    "--datetime",
    "when",
    default="",
    metavar="START/END",
    help="When; the end is excluded. Also 2018, 2018-05, 2018-05-01, 2018-05-01/..",
)
@click.option(
    "--property",
    "conditions",
    multiple=True,
    type=Property(),
    help="Condition on a property, e.g. 'eo:cloud_cover<20'. May be repeated.",
)
@click.option("--limit", type=click.IntRange(min=0), help="How many items at most.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "ids", "geojson"]),
    default="table",
    show_default=True,
    help="json: one STAC item per line; geojson: one FeatureCollection.",
)
@click.option("--count", is_flag=True, help="Only say how many there are.")
@click.pass_obj
def search(
    settings: Settings,
    collections: tuple[str, ...],
    *,
    bbox: tuple[float, float, float, float] | None,
    when: str,
    conditions: tuple[Condition, ...],
    limit: int | None,
    form: str,
    count: bool,
) -> None:
    """Find items in the catalogue by place, time and properties, the oldest first.

    \b
    Examples:
      terrazzo search
      terrazzo search sentinel-2 --datetime 2018-01-01/2019-01-01 --property 'eo:cloud_cover<20'
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.catalog import PropertyFilter  # noqa: PLC0415 - loads the catalogue

    found = (
        settings.workspace()
        .catalog()
        .search(
            collections,
            bbox=bbox,
            interval=interval(when),
            properties=[PropertyFilter(c.name, c.operator, c.value) for c in conditions],  # type: ignore[arg-type]
            limit=limit,
        )
    )
    if count:
        click.echo(sum(1 for _ in found))
        return
    for line in _WRITERS[form](found):
        click.echo(line)


def interval(text: str) -> tuple[str | None, str | None] | None:
    """Read what `--datetime` takes as a half-open interval; empty is None.

    Raises:
        ArgumentInvalid: it is no time.
    """
    from terrazzo.geo.times import format_time, parse_time  # noqa: PLC0415 - pulls in pyproj

    if not text:
        return None
    first, slash, last = text.partition("/")
    if slash:
        return first or None, last or None
    start = parse_time(first)
    if re.fullmatch(r"[\d-]+", first) and len(first) == _YEAR:
        end = start.replace(year=start.year + 1)
    elif re.fullmatch(r"[\d-]+", first) and len(first) == _MONTH:
        end = (start + timedelta(days=31)).replace(day=1)
    else:
        end = start + (timedelta(days=1) if len(first) == _DAY else timedelta(microseconds=1))
    return format_time(start), format_time(end)


def _table(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    rows = iter(items)
    first = next(rows, None)
    if first is None:
        click.echo("No item is found.", err=True)
        return
    yield _ROW.format("id", "collection", "datetime", "west, south, east, north")
    for item in chain([first], rows):
        properties = item["properties"]
        when = properties.get("datetime") or properties.get("start_datetime") or ""
        box = ", ".join(f"{side:.4f}" for side in _flat(item.get("bbox") or ()))
        yield _ROW.format(item["id"], item["collection"], when, box)


def _flat(box: Sequence[float]) -> Sequence[float]:
    """Drop the heights of a box with six numbers."""
    return (*box[:2], *box[3:5]) if len(box) == 6 else box  # noqa: PLR2004 - two corners of three


def _json(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    return (json.dumps(item) for item in items)


def _ids(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    return (str(item["id"]) for item in items)


def _geojson(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield '{"type": "FeatureCollection", "features": ['
    held = ""
    for item in items:
        if held:
            yield f"{held},"
        held = json.dumps(item)
    if held:
        yield held
    yield "]}"


_WRITERS = {"table": _table, "json": _json, "ids": _ids, "geojson": _geojson}
