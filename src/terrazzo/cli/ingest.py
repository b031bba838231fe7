"""`terrazzo ingest`: its options, and what it says."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click
from typing_extensions import override

from terrazzo.cli.catalogue import interval
from terrazzo.cli.ingest_stac import ingest_addresses, is_stac
from terrazzo.cli.options import BBox, Settings
from terrazzo.errors import ArgumentInvalid, RunIncomplete
from terrazzo.progress import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import Unpack

    from terrazzo.drivers.ingest import IngestOptions, IngestReport

Function = TypeVar("Function", bound="Callable[..., Any]")
_FILES, _FACTS, _VECTORS, _STAC = (
    "Which files, and how",
    "What files do not say, or say wrongly",
    "Vectors",
    "STAC",
)


_WHOLE = re.compile(r"[+-]?[0-9]+")


class _Option(click.Option):
    """An option with a heading that it stands under."""

    def __init__(self, *names: Any, heading: str = "", **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.heading = heading


class _Grouped(click.Command):
    """A command whose options stand under headings."""

    @override
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those without a heading first."""
        groups: dict[str, list[tuple[str, str]]] = {"Options": []}
        for one in self.get_params(ctx):
            record = one.get_help_record(ctx) if isinstance(one, click.Option) else None
            if record is not None:
                groups.setdefault(getattr(one, "heading", "") or "Options", []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def _option(heading: str, *names: str, **settings: Any) -> Callable[[Function], Function]:
    return click.option(*names, cls=_Option, heading=heading, **settings)


class _NoData(click.ParamType[float]):
    """A number that float64, in which no-data is kept everywhere, holds exactly."""

    name = "number"

    @override
    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is no number.", param, ctx)
        if _WHOLE.fullmatch(value.strip()) and not _is_same(int(value), number):
            self.fail(
                f"float64, in which no-data is kept, does not hold {value}. If the files say it "
                "themselves, leave --nodata out and give --copy; else write them with another "
                "no-data first.",
                param,
                ctx,
            )
        return number


def _is_same(whole: int, number: float) -> bool:
    return math.isfinite(number) and int(number) == whole


class Said(TypedDict):
    """What the options of the command line say."""

    title: str
    description: str
    license: str
    datetime: str
    bands: str
    common_names: str
    platform: str
    nodata: float | None
    scale: float | None
    offset: float | None
    crs: str
    resolution: float
    layer: str
    geometry: str
    id: str
    date: str
    encoding: str
    pattern: str
    copy: bool
    verify: bool
    dry_run: bool


@click.command(cls=_Grouped)
@click.argument("names", nargs=-1, required=True, metavar="PATH_OR_URL...")
@click.option("--collection", required=True, metavar="ID", help="The collection to fill.")
@click.option("--title", default="", help="Title of the collection.")
@click.option("--description", default="", help="What it is, for people.")
@click.option("--license", default="", help="SPDX identifier of its licence.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@_option(_FILES, "--copy", is_flag=True, help="Copy images into the home folder as COGs.")
@_option(_FILES, "--verify", is_flag=True, help="Decode every pixel, to find damage.")
@_option(
    _FILES,
    "--pattern",
    default="",
    metavar="REGEX",
    help="Searched in each path below the folder; its groups (?P<date>), (?P<band>) and "
    "(?P<item>) say what is what.",
)
@_option(
    _FACTS,
    "--datetime",
    default="",
    help="When all files are of: an instant, 2018, 2018-05, or START/END. Of STAC: only items of "
    "this time.",
)
@_option(_FACTS, "--bands", default="", metavar="LIST", help="Names of the bands, with commas.")
@_option(
    _FACTS,
    "--common-names",
    default="",
    metavar="LIST",
    help="Common names by band: B2=blue,B8=nir.",
)
@_option(
    _FACTS,
    "--platform",
    default="",
    help="The satellite, e.g. sentinel-2a or landsat-8: its common names and wavelengths.",
)
@_option(_FACTS, "--nodata", type=_NoData(), help="The number that means no data; nan is one.")
@_option(_FACTS, "--scale", type=float, help="Physical value = number x scale + offset.")
@_option(_FACTS, "--offset", type=float, help="See --scale.")
@_option(
    _FACTS,
    "--crs",
    default="",
    help="CRS of files that state none, e.g. EPSG:32633; of swaths: the one to grid them to.",
)
@_option(
    _FACTS,
    "--resolution",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    help="Edge of the pixels that swaths are gridded to, in units of --crs.",
)
@_option(_VECTORS, "--layer", default="", help="Only this layer of a GeoPackage.")
@_option(_VECTORS, "--geometry", default="", metavar="COLUMN", help="Geometries in Parquet.")
@_option(_VECTORS, "--id", default="", metavar="ATTRIBUTE", help="Names the geometries.")
@_option(_VECTORS, "--date", default="", metavar="ATTRIBUTE", help="When the geometries were.")
@_option(_VECTORS, "--encoding", default="", help="Of the texts of a Shapefile.")
@_option(
    _STAC, "--from", "source", default="", metavar="ID", help="The collection of the STAC API."
)
@_option(_STAC, "--bbox", type=BBox(), help="Only items in this place, in degrees.")
@_option(_STAC, "--filter", "condition", default="", help="Only items that meet this CQL2.")
@_option(_STAC, "--limit", type=click.IntRange(min=0), help="How many items at most.")
@click.pass_obj
def ingest(
    settings: Settings,
    names: tuple[str, ...],
    collection: str,
    source: str,
    bbox: tuple[float, float, float, float] | None,
    condition: str,
    limit: int | None,
    **said: Unpack[Said],
) -> None:
    """Make a collection of files and folders of files, or of STAC.

    Images (GeoTIFF, COG, JPEG 2000, VRT), cubes (NetCDF, HDF5, Zarr, GRIB), products of Sentinel
    and Landsat as they are delivered, and vectors (GeoPackage, Shapefile, GeoJSON, Parquet). Of a
    STAC API, a static catalogue or an item the items are taken over.

    Dates, bands, CRS and the rest are found; what cannot be found is asked for by its option. What
    is there already from the same content is kept, so an ingestion that was stopped goes on when
    the same command is given again. One JSON line on stdout says what was done.

    \b
    Examples:
      terrazzo ingest images/ --collection sentinel-2 --license CC-BY-4.0
      terrazzo ingest S2B_MSIL2A_20240515T101031_....SAFE --collection sentinel-2
      terrazzo ingest trees.tif --collection trees --datetime 2018 --bands density
      terrazzo ingest parcels.gpkg --collection parcels --id parcel_number
      terrazzo ingest s3://bucket/images --collection archive
      terrazzo ingest https://stac.example.org/v1 --collection s2 --from sentinel-2-l2a --limit 100
    """  # noqa: D301 - \b is click's mark, not an escape
    of_stac = {"--from": source, "--bbox": bbox, "--filter": condition, "--limit": limit}
    if any(map(is_stac, names)):
        _refuse_for_stac(next(filter(is_stac, names)), said)
        from terrazzo.drivers.stac_source import StacOptions  # noqa: PLC0415 - loads the readers

        chosen = StacOptions(
            source,
            bbox,
            interval(said["datetime"]),
            condition,
            limit,
            said["title"],
            said["license"],
        )
        ingest_addresses(settings, names, collection, chosen)
        return
    given = [name for name, value in of_stac.items() if value not in ("", None)]
    if given:
        raise ArgumentInvalid(
            f"{given[0]} is for STAC, and {names[0]} is neither a URL nor a STAC document. Leave "
            "it out."
        )
    _ingest_files(settings, names, collection, _options(said))


def _refuse_for_stac(name: str, said: Said) -> None:
    """Refuse options that say how files are read.

    Raises:
        ArgumentInvalid: names the first one.
    """
    taken = ("title", "license", "datetime")
    for key, value in said.items():
        if key not in taken and value not in ("", None, False):
            raise ArgumentInvalid(
                f"--{key.replace('_', '-')} is for files, and {name} is STAC. Leave it out."
            )


def _options(said: Said) -> IngestOptions:
    """Return the options of an ingestion.

    Raises:
        ArgumentInvalid: `--common-names` is no list of pairs.
    """
    from terrazzo.drivers.ingest import IngestOptions  # noqa: PLC0415 - loads the readers

    lists = {
        "bands": tuple(_listed(said["bands"])),
        "common_names": _pairs(said["common_names"]),
        "resolution": said["resolution"] or 0.0,
    }
    return IngestOptions(**{**said, **lists})  # type: ignore[arg-type] # mypy cannot merge them


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _pairs(text: str) -> dict[str, str]:
    """Read `B2=blue,B8=nir`.

    Raises:
        ArgumentInvalid: a part is no pair.
    """
    found: dict[str, str] = {}
    for part in _listed(text):
        band, sign, name = part.partition("=")
        if not (sign and band.strip() and name.strip()):
            raise ArgumentInvalid(
                f"--common-names {text!r}: {part!r} is no BAND=NAME. Write, for example, "
                "B2=blue,B8=nir."
            )
        found[band.strip()] = name.strip()
    return found


def _ingest_files(
    settings: Settings, paths: Sequence[str], collection: str, options: IngestOptions
) -> None:
    """Take in files, and say on stdout what was done.

    Raises:
        ArgumentInvalid: nothing is there, or nothing could be taken in.
        RunIncomplete: some files were left out.
    """
    from terrazzo.drivers.ingest import NothingIngested  # noqa: PLC0415 - loads the readers
    from terrazzo.drivers.ingest import ingest as take_in  # noqa: PLC0415 - likewise
    from terrazzo.drivers.places import is_remote  # noqa: PLC0415 - likewise

    missing = [path for path in paths if not is_remote(path) and not Path(path).exists()]
    if missing:
        raise ArgumentInvalid(f"There is no file or folder {missing[0]}. Check the path.")
    try:
        report = take_in(
            paths,
            collection,
            settings.workspace(),
            options=options,
            progress=ProgressLine(),
        )
    except NothingIngested as error:  # each reason has a line already
        raise ArgumentInvalid(f"Nothing was ingested: {_left_out(error.failed)}.") from None
    click.echo(_line(report))
    if report.failed:
        there = "would be" if report.dry_run else "are"
        raise RunIncomplete(
            f"{_left_out(report.failed)}; {report.items} items {there} in the "
            "catalogue. Mend the files and give the same command again: what is there is kept."
        )


def _left_out(failed: Mapping[str, str]) -> str:
    count = len(failed)
    return f"{count} {'file was' if count == 1 else 'files were'} left out, for the reasons above"


def _line(report: IngestReport) -> str:
    """Return the report as a line of JSON."""
    told = {
        "collection": report.collection,
        "made": report.made,
        "kept": report.kept,
        "failed": len(report.failed),
    }
    return json.dumps(told | ({"dry_run": True} if report.dry_run else {}))
