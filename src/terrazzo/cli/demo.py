"""The command that shows everything on real data."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from terrazzo.cli.options import Settings


@click.command()
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for all files of the demo.  [default: folder `demo` of the home folder]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port."
)
@click.option("--check", is_flag=True, help="Do everything, fetch one tile, and end.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.pass_obj
def demo(
    settings: Settings, home: Path | None, *, host: str, port: int, check: bool, no_browser: bool
) -> None:
    """Run one graph over real Sentinel-2 images as tiles, as a batch and over parcels; show it.

    The images (Romania, 140 dates from 2015 to 2021) come with the extra `sample`. What was made
    before is kept, so that a second demo starts at once.

    \b
    Example:
      terrazzo demo --home demo --port 8081
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.cli.showcase import check_served, make_everything  # noqa: PLC0415 - the engine
    from terrazzo.server.running.listen import bound, listen, serving  # noqa: PLC0415
    from terrazzo.server.running.opening import opened  # noqa: PLC0415
    from terrazzo.server.settings import ServerSettings  # noqa: PLC0415

    if not check:
        bound(host, port).close()  # tells now, not after the work, that the port is taken
    workspace, service = make_everything((home or settings.home / "demo").expanduser().absolute())
    if check:
        with serving(workspace, settings=ServerSettings(job_workers=0)) as url:
            check_served(url, service)
        return

    def ready(url: str) -> None:
        click.echo(f"\nThe map: {url}  (Ctrl-C stops)")
        if sys.stdout.isatty() and not no_browser:
            webbrowser.open(url)

    listen(
        workspace,
        host,
        port,
        ready=ready,
        say=lambda message: click.echo(message, err=True),
        settings=opened(workspace, ServerSettings(), host),
    )
