"""Commands of the catalogue: ingest and search."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.cli.dates import WIDTH, date_map, day_of
from terrazzo.cli.ingest_stac import ingest_addresses, is_stac
from terrazzo.cli.options import BBox, Condition, Property, Settings
from terrazzo.errors import ArgumentInvalid, RunIncomplete
from terrazzo.progress import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from terrazzo.catalog import Asked, Catalog
    from terrazzo.drivers.ingest import IngestOptions

_ROW = "{:<40}  {:<24}  {:<27}  {}"
_DAY, _MONTH, _YEAR = 10, 7, 4
_NOTHING = "No item is found."


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="PATH_OR_URL...")
@click.option("--collection", required=True, metavar="ID", help="The collection to fill.")
@click.option("--title", default="", help="Title of the collection.")
@click.option("--license", "licence", default="", help="SPDX identifier of its licence.")
@click.option(
    "--datetime",
    "when",
    default="",
    help="Instant or period of files that state none; of STAC: only items of this time.",
)
@click.option("--bands", default="", metavar="LIST", help="Names of the bands, with commas.")
@click.option(
    "--pattern",
    default="",
    help="Regular expression for file names, with groups (?P<date>), (?P<band>), (?P<item>).",
)
@click.option("--copy", is_flag=True, help="Copy into the home folder as COGs.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--from", "source", default="", metavar="ID", help="The collection of the STAC API.")
@click.option("--bbox", type=BBox(), help="Only items of STAC in this place, in degrees.")
@click.option("--filter", "condition", default="", help="Only items of STAC that meet this CQL2.")
@click.option("--limit", type=click.IntRange(min=0), help="How many items of STAC at most.")
@click.pass_obj
def ingest(
    settings: Settings,
    names: tuple[str, ...],
    collection: str,
    *,
    title: str,
    licence: str,
    when: str,
    bands: str,
    pattern: str,
    copy: bool,
    dry_run: bool,
    source: str,
    bbox: tuple[float, float, float, float] | None,
    condition: str,
    limit: int | None,
) -> None:
    """Make a collection of files: GeoTIFF and COG, CF NetCDF, and folders of them; or of STAC.

    Of a STAC API, a static catalogue or an item (URL, or file that ends in .json) the items are
    taken over, and the images stay where they are.

    What is there already from the same content is kept, so an ingestion that was stopped goes on
    when the same command is given again. One JSON line on stdout says what was done.

    \b
    Examples:
      terrazzo ingest images/ --collection sentinel-2 --license CC-BY-4.0
      terrazzo ingest https://stac.example.org/v1 --collection s2 --from sentinel-2-l2a --limit 100
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.drivers.ingest import IngestOptions  # noqa: PLC0415 - loads the readers

    of_stac = {"--from": source, "--bbox": bbox, "--filter": condition, "--limit": limit}
    if any(map(is_stac, names)):
        if bands or pattern or copy or dry_run:
            raise ArgumentInvalid(
                "--bands, --pattern, --copy and --dry-run are for files of images, and "
                f"{next(filter(is_stac, names))} is STAC. Leave them out."
            )
        from terrazzo.drivers.stac_source import StacOptions  # noqa: PLC0415 - loads the readers

        chosen = StacOptions(source, bbox, interval(when), condition, limit, title, licence)
        ingest_addresses(settings, names, collection, chosen)
        return
    given = [name for name, value in of_stac.items() if value not in ("", None)]
    if given:
        raise ArgumentInvalid(
            f"{given[0]} is for STAC, and {names[0]} is neither a URL nor a file that ends in "
            ".json. Leave it out."
        )
    options = IngestOptions(
        datetime=when,
        pattern=pattern,
        bands=tuple(name.strip() for name in bands.split(",") if name.strip()),
        copy=copy,
        dry_run=dry_run,
        title=title,
        license=licence,
    )
    _ingest_files(settings, [Path(name) for name in names], collection, options)


def _ingest_files(
    settings: Settings, paths: Sequence[Path], collection: str, options: IngestOptions
) -> None:
    """Take in files, and say on stdout what was done.

    Raises:
        ArgumentInvalid: nothing is there, or nothing could be taken in.
        RunIncomplete: some files were left out.
    """
    from terrazzo.drivers.ingest import ingest as take_in  # noqa: PLC0415 - loads the readers

    missing = [path for path in paths if not path.exists()]
    if missing:
        raise ArgumentInvalid(f"There is no file or folder {missing[0]}. Check the path.")
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
    click.echo(json.dumps(told | ({"dry_run": True} if options.dry_run else {})))
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
@click.option("--filter", "condition", default="", help="Condition in CQL2, text or JSON.")
@click.option(
    "--intersects",
    "geometry",
    default="",
    metavar="FILE|GEOJSON",
    help="Where: a geometry, feature or collection of such in degrees.",
)
@click.option(
    "--sort",
    default="datetime",
    show_default=True,
    metavar="NAMES",
    help="Order by properties, with commas; -NAME is the other way round.",
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
@click.option("--dates", is_flag=True, help="Only draw how many there are when.")
@click.pass_obj
def search(
    settings: Settings,
    collections: tuple[str, ...],
    *,
    bbox: tuple[float, float, float, float] | None,
    when: str,
    conditions: tuple[Condition, ...],
    condition: str,
    geometry: str,
    sort: str,
    limit: int | None,
    form: str,
    count: bool,
    dates: bool,
) -> None:
    """Find items in the catalogue by place, time and properties, the oldest first.

    On a terminal a map of their dates follows the table.

    \b
    Examples:
      terrazzo search
      terrazzo search sentinel-2 --datetime 2018-01-01/2019-01-01 --property 'eo:cloud_cover<20'
      terrazzo search --filter "eo:cloud_cover < 20 and platform like 'sentinel%'" --sort -datetime
      terrazzo search sentinel-2 --intersects field.geojson --dates
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.catalog import PropertyFilter  # noqa: PLC0415 - loads the catalogue

    if count and dates:
        raise ArgumentInvalid("--count and --dates are two answers. Ask for one of them.")
    asked: Asked = {
        "bbox": bbox,
        "interval": interval(when),
        "intersects": read_geometry(geometry) if geometry else None,
        "properties": [PropertyFilter(c.name, c.operator, c.value) for c in conditions],  # type: ignore[arg-type]
        "filter": _condition(condition),
        "sort": tuple(name.strip() for name in sort.split(",")),
        "limit": limit,
    }
    with settings.workspace().catalog() as catalog:
        if count:
            click.echo(_count(catalog, collections, asked))
            return
        found = catalog.search(collections, **asked)
        days: Counter[date] = Counter()
        if dates:
            days.update(map(day_of, found))
        else:
            drawn = form == "table" and sys.stdout.isatty()
            for line in _WRITERS[form](_noted(found, days) if drawn else found):
                click.echo(line)
            if len(days) > 1:
                click.echo()
            else:
                days.clear()
        for line in date_map(days, width=_width(), blocks=_takes_blocks()):
            click.echo(line)
    if dates and not days:
        click.echo(_NOTHING, err=True)


def _noted(items: Iterable[dict[str, Any]], days: Counter[date]) -> Iterator[dict[str, Any]]:
    """Pass items on, and count their days."""
    for item in items:
        days[day_of(item)] += 1
        yield item


def _width() -> int:
    """Return the columns of the terminal; where there is none, always the same."""
    return shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH


def _takes_blocks() -> bool:
    """Tell whether stdout can show block characters."""
    try:
        "█░·".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _count(catalog: Catalog, collections: Sequence[str], asked: Asked) -> int:
    known = catalog.known_count(collections, **asked)
    limit = asked["limit"]
    if known is None:
        return sum(1 for _ in catalog.stored(collections, **asked))
    return known if limit is None else min(known, limit)


def _condition(text: str) -> str | dict[str, Any] | None:
    """Read what `--filter` takes.

    Raises:
        ArgumentInvalid: it begins as JSON and is none.
    """
    if not text.lstrip().startswith("{"):
        return text or None
    return _json_object(text, "--filter")


def _json_object(text: str, name: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ArgumentInvalid(f"{name} is no JSON: {error}.") from None
    if not isinstance(found, dict):
        raise ArgumentInvalid(f"{name} is JSON, but no object.")
    return found


def read_geometry(text: str) -> dict[str, Any]:
    """Read what `--intersects` takes as one GeoJSON geometry.

    Raises:
        ArgumentInvalid: there is no such file, or it is no GeoJSON.
    """
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ArgumentInvalid(
                f"--intersects {text!r} is no GeoJSON, and cannot be read as a file: {error}."
            ) from None
    document = _json_object(text, "--intersects")
    if document.get("type") == "FeatureCollection":
        features = document.get("features")
        found = [one.get("geometry") for one in features or () if isinstance(one, dict)]
        return {"type": "GeometryCollection", "geometries": [one for one in found if one]}
    if document.get("type") == "Feature":
        geometry = document.get("geometry")
        return geometry if isinstance(geometry, dict) else {}
    return document


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
        click.echo(_NOTHING, err=True)
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
