"""The command that serves the map page and the tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from terrazzo.cli.options import Settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8080,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 takes any free one.",
)
@click.option(
    "--tile-cache",
    default=64,
    show_default=True,
    type=click.IntRange(0),
    help="Megabytes of encoded tiles that are kept in memory; 0 keeps none.",
)
@click.pass_obj
def serve(settings: Settings, host: str, port: int, tile_cache: int) -> None:
    """Serve the map page and the tiles of stored graphs until Ctrl-C.

    There is no log-in yet: whoever reaches the port may look at everything and store graphs. The
    default address is reachable from this machine only.

    \b
    Example:
      terrazzo serve --port 8081
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.server.listen import listen  # noqa: PLC0415
    from terrazzo.server.settings import ServerSettings  # noqa: PLC0415

    listen(
        settings.workspace(),
        host,
        port,
        ready=lambda url: click.echo(f"Serving {settings.home} at {url}  (Ctrl-C stops)", err=True),
        say=lambda message: click.echo(message, err=True),
        settings=ServerSettings(kept_bytes=tile_cache * 1_000_000),
    )
