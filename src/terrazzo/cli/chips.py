"""Commands that look at single parcels of an extraction: chips, peers, outliers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.cli.catalogue import interval
from terrazzo.errors import ArgumentInvalid
from terrazzo.progress import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.cli.options import Settings
    from terrazzo.drivers.extraction.calendar import Sheet
    from terrazzo.drivers.extraction.chips import Look
    from terrazzo.drivers.extraction.compared import Measure

_KM = 1000.0
_FOLDER = click.argument(
    "folder",
    metavar="EXTRACTION",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)


def _compared(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which numbers are looked at."""
    for option in (
        click.option(
            "--min-valid",
            type=click.FloatRange(0, 1),
            default=0.5,
            show_default=True,
            help="Share of a parcel that must be valid for a date to count.",
        ),
        click.option("--band", default="", help="Which band, where there are several."),
        click.option("--stat", default="mean", show_default=True, help="Which statistic."),
    ):
        command = option(command)
    return command


def _reach(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which parcels are peers."""
    for option in (
        click.option(
            "--within",
            type=click.FloatRange(min=0, min_open=True),
            default=10.0,
            show_default=True,
            help="How far away peers may be, km.",
        ),
        click.option(
            "--most",
            type=click.IntRange(min=1),
            default=30,
            show_default=True,
            help="Peers of a parcel, the nearest ones.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@_FOLDER
@click.argument("parcel")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE.png|FILE.html|FOLDER",
    type=click.Path(path_type=Path),
    help="A calendar sheet, or a folder for one PNG per date.",
)
@click.option("--datetime", "when", default="", metavar="START/END", help="Only these dates.")
@click.option("--node", default="", help="Node of the graph that is drawn.  [default: its result]")
@click.option("--bands", default="", help="One band, or three as red, green and blue: B4,B3,B2.")
@click.option("--min", "low", type=float, help="Value in the first colour.")
@click.option("--max", "high", type=float, help="Value in the last colour.")
@click.option("--colors", default="viridis", show_default=True, help="Colour map of one band.")
@click.option(
    "--first-month",
    type=click.IntRange(1, 12),
    default=1,
    show_default=True,
    help="Month with which a row of the sheet begins; 10 for winter crops.",
)
@click.option("--class", "by", default="", help="Attribute with the class; draws the peers, too.")
@_compared
@_reach
@click.pass_obj
def chips(
    settings: Settings,
    /,
    folder: Path,
    parcel: str,
    *,
    output: Path,
    when: str,
    by: str,
    stat: str,
    band: str,
    min_valid: float,
    most: int,
    within: float,
    first_month: int,
    **look: Any,
) -> None:
    """Draw a PARCEL of an extraction on all its dates, with its outline, and its profile beneath.

    Everything is computed now, with the graph of the extraction. PARCEL is its id. With --node and
    --bands the pictures show another part of the graph than what was extracted, such as the bands
    that an index is made of.

    \b
    Example:
      terrazzo chips table 17 -o 17.html --node load --bands B4,B3,B2 --class crop
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.drivers.extraction.sheets import Wanted, calendar_sheet  # noqa: PLC0415

    if output.suffix not in {"", ".png", ".html"}:
        raise ArgumentInvalid(
            f"A sheet is written as .png or .html, not as {output.suffix!r}; a name without ending "
            "is a folder for one picture per date."
        )
    wanted = Wanted(
        _look(when, **look), _measure(stat, band, min_valid), by, most, within * _KM, first_month
    )
    sheet = calendar_sheet(settings.workspace(), folder, parcel, wanted, progress=ProgressLine())
    for path in _written(output, sheet):
        click.echo(json.dumps({"path": str(path)}))
    for name in sheet.chips.left_out:
        click.echo(f"Left out, because it cannot be read: {name}", err=True)


@click.command()
@_FOLDER
@click.argument("parcel")
@click.option("--class", "by", required=True, help="Attribute with the class.")
@_reach
def peers(folder: Path, parcel: str, *, by: str, most: int, within: float) -> None:
    """List the peers of a PARCEL of an extraction: those of its class nearby.

    One JSON line each, the nearest first, with the distance of the centroids in metres.

    \b
    Example:
      terrazzo peers table 17 --class crop --within 5
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.drivers.extraction.peers import peers as found  # noqa: PLC0415

    for peer in found(folder, parcel, by, most=most, within_m=within * _KM):
        click.echo(json.dumps({"id": peer.id, "metres": round(peer.metres, 1)}))


@click.command()
@_FOLDER
@click.option("--class", "by", required=True, help="Attribute with the class.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.parquet|FILE.csv",
    help="Write all parcels to a file.",
)
@click.option(
    "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Lines on stdout."
)
@_compared
@_reach
def outliers(
    folder: Path,
    *,
    by: str,
    output: Path | None,
    limit: int,
    stat: str,
    band: str,
    min_valid: float,
    most: int,
    within: float,
) -> None:
    """Rank the parcels of an extraction by the distance of their profiles from their peers'.

    One JSON line each, the farthest first; docs/chips.md has the formula.

    \b
    Example:
      terrazzo outliers table --class crop -o outliers.parquet
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.drivers.extraction import outliers as ranking  # noqa: PLC0415 - loads Arrow

    measure = _measure(stat, band, min_valid)
    progress = ProgressLine()
    table = ranking.outliers(
        folder, by, measure, most=most, within_m=within * _KM, progress=progress
    )
    if output is not None:
        ranking.write_outliers(output, table)
    for row in table.slice(0, limit).to_pylist():
        told = {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in row.items()
        }
        click.echo(json.dumps(told))


def _measure(statistic: str, band: str, min_valid: float) -> Measure:
    from terrazzo.drivers.extraction.compared import Measure  # noqa: PLC0415 - loads Arrow

    return Measure(statistic, band, min_valid)


def _look(
    when: str, *, node: str, bands: str, low: float | None, high: float | None, colors: str
) -> Look:
    """Return what the pictures show.

    Raises:
        ArgumentInvalid: half a stretch, or an empty one, or no time.
    """
    from terrazzo.drivers.extraction.chips import Look  # noqa: PLC0415 - loads the engine
    from terrazzo.drivers.tile import View  # noqa: PLC0415
    from terrazzo.geo.times import parse_interval  # noqa: PLC0415
    from terrazzo.storage.writers.picture import Style  # noqa: PLC0415

    if (low is None) != (high is None):
        raise ArgumentInvalid("--min and --max belong together. Give both or neither.")
    if low is not None and high is not None and low >= high:
        raise ArgumentInvalid(f"--min must be below --max, not {low:g} and {high:g}.")
    stretch = () if low is None or high is None else ((low, high),)
    names = tuple(name.strip() for name in bands.split(",") if name.strip())
    dates = parse_interval(*(interval(when) or (None, None)))
    return Look(View(Style(stretch, colors), names), node, dates=dates)


def _written(output: Path, sheet: Sheet) -> list[Path]:
    """Write a sheet, or its pictures; returns the files.

    Raises:
        OutputFailed: the disk is full, or the folder may not be written.
    """
    from terrazzo.storage.writers.files import output_failed, whole_file  # noqa: PLC0415

    if output.suffix == ".html":
        files = {output: sheet.html().encode()}
    elif output.suffix == ".png":
        files = {output: sheet.png()}
    else:
        files = {output / f"{name}.png": content for name, content in sheet.pictures().items()}
    for path, content in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_failed(path, error) from error
        with whole_file(path) as part:
            part.write_bytes(content)
    return list(files)
