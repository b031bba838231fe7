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
from terrazzo.cli.options import BBox, Condition, Property, Settings
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from terrazzo.catalog import Asked, Catalog

_ROW = "{:<40}  {:<24}  {:<27}  {}"
_DAY, _MONTH, _YEAR = 10, 7, 4
_NOTHING = "No item is found."


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
