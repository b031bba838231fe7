"""Commands for the upkeep of a catalogue: look after it, move it, export and import it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.errors import ArgumentInvalid, AssetForbidden, RunIncomplete
from terrazzo.progress import Progress, ProgressLine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from terrazzo.catalog import Catalog
    from terrazzo.cli.options import Settings
    from terrazzo.drivers.job import Workspace
    from terrazzo.storage.gate import Gate

_ROW = "{:<40}  {:>10}  {:<20}  {}"
_KILO = 1000
_SUFFIXES = ".parquet (stac-geoparquet) or .ndjson (the collection, then its items, a line each)"


@click.group()
def catalog() -> None:
    """Look after a catalogue: check it, move it, export and import it.

    The catalogue is the one in the home folder, or the one that `--catalog` names.
    """


@catalog.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def info(settings: Settings, *, as_json: bool) -> None:
    """Say where the catalogue is, how large, and what is in it."""
    with settings.workspace().catalog() as opened:
        size = _size(opened)
        found = [_summary(opened, document) for document in opened.collections()]
        total = sum(one["items"] for one in found)
        if as_json:
            told: dict[str, Any] = {"catalog": opened.shown, "items": total, "collections": found}
            click.echo(json.dumps(told | ({} if size is None else {"bytes": size})))
            return
        click.echo(opened.shown + ("" if size is None else f"  {_bytes(size)}"))
    click.echo(f"{len(found)} collections, {total} items")
    if found:
        click.echo(_ROW.format("collection", "items", "from", "to"))
    for one in found:
        start, end = (str(time or "")[:19] for time in one["interval"])
        click.echo(_ROW.format(one["id"], one["items"], start, end).rstrip())


def _size(opened: Catalog) -> int | None:
    """Return the bytes of a catalogue that is a file."""
    path = Path(opened.address)
    return path.stat().st_size if path.is_file() else None


def _summary(opened: Catalog, document: Mapping[str, Any]) -> dict[str, Any]:
    name = document["id"]
    items = opened.count(name)
    interval = opened.survey(name).interval() if items else (None, None)
    return {"id": name, "items": items, "interval": list(interval)}


def _bytes(count: int) -> str:
    """Write a number of bytes for people."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < _KILO:
            break
        size, unit = size / _KILO, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


@catalog.command()
@click.option("--files", is_flag=True, help="Also look whether files on this machine are there.")
@click.pass_context
def check(ctx: click.Context, *, files: bool) -> None:
    """Read the whole catalogue and say what is wrong with it, a line each.

    Exit status 1 if anything is. Others may go on using the catalogue.
    """
    workspace = ctx.obj.workspace()
    with workspace.catalog(progress=ProgressLine()) as opened:
        wrong = 0
        for problem in opened.check(ProgressLine()):
            wrong += 1
            click.echo(problem)
        lost = 0
        for problem in _lost_files(opened, workspace, ProgressLine()) if files else ():
            lost += 1
            click.echo(problem)
        if wrong:
            click.echo(_MEND.format(count=wrong, shown=opened.shown), err=True)
        if lost:
            click.echo(_FIND.format(count=lost), err=True)
        if wrong or lost:
            ctx.exit(1)
        click.echo(f"{opened.shown} is sound.")


_MEND = (
    "{count} things are wrong with {shown}. Export what can be read (`terrazzo catalog export`), "
    "import it into a new catalogue, or ingest the images again."
)
_FIND = (
    "{count} files are not there. Put them back, or delete their items and ingest them from where "
    "they are now."
)


def _lost_files(opened: Catalog, workspace: Workspace, progress: Progress) -> Iterator[str]:
    """Say which files on this machine items name that are not there, or may not be read."""
    gate = workspace.gate
    with progress:
        progress.start(sum(opened.count(one["id"]) for one in opened.collections()), "items")
        for item in opened.search():
            for key, problem in _lost(item, gate):
                yield f"Item {item['id']!r} of {item['collection']!r}, asset {key!r}: {problem}"
            progress.advance()


def _lost(item: Mapping[str, Any], gate: Gate) -> Iterator[tuple[str, str]]:
    """Return keys of assets whose files cannot be read, and why."""
    from terrazzo.storage.stac import BASE  # noqa: PLC0415 - loads the readers

    base = item.get(BASE)
    for key, asset in item.get("assets", {}).items():
        href = asset.get("href") if isinstance(asset, dict) else None
        if not isinstance(href, str):
            yield key, "it has no href."
            continue
        relative = "://" not in href and not href.startswith("/")
        if "://" in (base or "" if relative else href.removeprefix("file://")):
            continue  # elsewhere
        try:
            path = gate.local_path(href, base)
            if not path.exists():
                yield key, f"there is no file {path}."
        except AssetForbidden as error:
            yield key, str(error)


@catalog.command()
@click.pass_obj
def vacuum(settings: Settings) -> None:
    """Give back the space of what was deleted."""
    with settings.workspace().catalog() as opened:
        before, after = opened.vacuum()
        click.echo(f"{opened.shown}: {_bytes(before)} before, {_bytes(after)} now")


@catalog.command()
@click.option(
    "--to",
    "target",
    required=True,
    envvar="TERRAZZO_CATALOG_TO",
    show_envvar=True,
    metavar="URL|PATH",
    help="postgresql://USER:PASSWORD@HOST/NAME, or the path of a file.",
)
@click.pass_obj
def move(settings: Settings, target: str) -> None:
    """Copy the whole catalogue into another one, and compare the two.

    What is there already and the same is kept, so a move that was stopped goes on when the same
    command is given again. The catalogue that was copied stays as it is.

    \b
    Example:
      terrazzo catalog move --to postgresql://me:secret@localhost/stac
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.catalog import open_catalog  # noqa: PLC0415 - loads the catalogue
    from terrazzo.catalog.moving import copy_catalog  # noqa: PLC0415

    with settings.workspace().catalog() as source, open_catalog(target) as goal:
        if source.address == goal.address:
            raise ArgumentInvalid(f"{goal.shown} is the catalogue itself. Name another one.")
        done = copy_catalog(source, goal, progress=ProgressLine())
        told = {
            "to": goal.shown,
            "collections": done.collections,
            "made": done.items,
            "kept": done.kept,
        }
        click.echo(json.dumps(told))
        click.echo(
            f"Everything of {source.shown} is in {goal.shown}, and the same. To use it, name it "
            "with `--catalog` or TERRAZZO_CATALOG.",
            err=True,
        )


@catalog.command()
@click.argument("collections", nargs=-1, metavar="[COLLECTION]...")
@click.option(
    "-o",
    "--output",
    "path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"The file, {_SUFFIXES}; of an inventory .parquet or .csv.",
)
@click.option("--inventory", is_flag=True, help="A table of the files instead, of all collections.")
@click.pass_obj
def export(
    settings: Settings, collections: tuple[str, ...], *, path: Path, inventory: bool
) -> None:
    """Write a collection as one file, or an inventory of the files of its items.

    \b
    Examples:
      terrazzo catalog export sentinel-2 -o sentinel-2.parquet
      terrazzo catalog export --inventory -o files.csv
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.drivers.catalogue_files import (  # noqa: PLC0415 - loads pyarrow
        export_collection,
        export_inventory,
    )

    if not inventory and len(collections) != 1:
        raise ArgumentInvalid(
            "A file holds one collection: name one, or ask for an --inventory of several."
        )
    with settings.workspace().catalog() as opened:
        done = (
            export_inventory(opened, collections, path, progress=ProgressLine())
            if inventory
            else export_collection(opened, collections[0], path, progress=ProgressLine())
        )
    click.echo(json.dumps({"path": str(done.path), "rows": done.rows, "bytes": done.bytes}))


@catalog.command(name="import")
@click.argument("paths", nargs=-1, required=True, metavar="FILE_OR_FOLDER...", type=Path)
@click.option("--collection", default="", metavar="ID", help="Put all items into this one.")
@click.pass_obj
def import_(settings: Settings, paths: tuple[Path, ...], *, collection: str) -> None:
    """Take in what was exported, here or by others: stac-geoparquet, or lines of JSON.

    What is there already and the same is kept, so an import that was stopped goes on when the same
    command is given again.

    \b
    Example:
      terrazzo catalog import sentinel-2.parquet
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.drivers.catalogue_files import import_items  # noqa: PLC0415 - loads pyarrow

    failed: dict[str, str] = {}
    with settings.workspace().catalog(create=True) as opened:
        for path in paths:
            done = import_items(path, opened, collection=collection, progress=ProgressLine())
            told = {
                "path": str(path),
                "collections": list(done.collections),
                "made": done.made,
                "kept": done.kept,
                "failed": len(done.failed),
            }
            click.echo(json.dumps(told))
            failed |= done.failed
    for name, reason in failed.items():
        click.echo(f"Left out: {name}: {reason}", err=True)
    if failed:
        raise RunIncomplete(
            f"{len(failed)} were left out; the reasons are above. Mend them and give the same "
            "command again: what is there is kept."
        )
