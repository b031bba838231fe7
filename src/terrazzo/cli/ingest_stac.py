"""`terrazzo ingest` where what is named is STAC: an API, a catalogue, a collection or an item."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from terrazzo.errors import ArgumentInvalid, RunIncomplete
from terrazzo.progress import ProgressLine

if TYPE_CHECKING:
    from terrazzo.cli.options import Settings
    from terrazzo.drivers.remote_stac import StacOptions

_STAC = re.compile(r"https?://.*|.*\.(json|geojson|ndjson|jsonl)", re.IGNORECASE | re.DOTALL)
_REMOTE = re.compile(r"https?://.*", re.IGNORECASE | re.DOTALL)


def is_stac(path: str) -> bool:
    """Tell whether something to ingest is STAC instead of images or geometries."""
    from terrazzo.drivers.ingestion.formats import FORMATS, ending  # noqa: PLC0415 - readers
    from terrazzo.storage.vectors.reading import is_geojson  # noqa: PLC0415 - loads shapely

    if _REMOTE.fullmatch(path) is not None:
        suffix = ending(Path(urlsplit(path).path))
        return suffix == ".geojson" or suffix not in FORMATS
    return _STAC.fullmatch(path) is not None and not is_geojson(Path(path))


def ingest_addresses(
    settings: Settings, addresses: tuple[str, ...], collection: str, options: StacOptions
) -> None:
    """Take in STAC, and say on stdout what was done, a JSON line for each address.

    Raises:
        ArgumentInvalid: an address is none of STAC, or nothing at all could be taken in.
        RunIncomplete: something was left out.
    """
    from terrazzo.drivers.remote_stac import ingest_stac  # noqa: PLC0415 - loads the readers

    strange = [one for one in addresses if not is_stac(one)]
    if strange:
        raise ArgumentInvalid(
            f"{strange[0]} is no STAC, and {next(filter(is_stac, addresses))} is. Give them in two "
            "commands."
        )
    workspace, failed = settings.workspace(), 0
    for address in addresses:
        report = ingest_stac(
            address, collection, workspace, options=options, progress=ProgressLine()
        )
        told = {
            "collection": report.collection,
            "made": report.made,
            "kept": report.kept,
            "failed": len(report.failed),
        }
        click.echo(json.dumps(told))
        failed += len(report.failed)
        allowed = [f"--allow-host {host}" for host in report.hosts]
        allowed += [f"--root {folder}" for folder in report.folders]
        if allowed:
            click.echo(
                "The images stay where they are. To read them, put this behind `terrazzo`: "
                f"{' '.join(allowed)}",
                err=True,
            )
    if failed:
        raise RunIncomplete(
            f"{failed} were left out; the reasons are above. Give the same command again: what is "
            "there is kept."
        )
