"""The command that serves the openEO API, tiles and pages."""

from __future__ import annotations

import re
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from typing_extensions import override

from terrazzo.cli.job_cluster import elsewhere_of, job_cluster_options
from terrazzo.cli.options import DATABASE, Bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.cli.options import Settings

ENVIRONMENT = "TERRAZZO"


class Limit(click.ParamType[tuple[str, int]]):
    """One limit of requests."""

    name = "NAME=VALUE"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Read a name and a number, which may have a unit: body_bytes=50M, nodes=500."""
        from terrazzo.server.settings import Limits  # noqa: PLC0415 - only where it is needed

        if isinstance(value, tuple):
            return value
        name, _, number = str(value).partition("=")
        known = [field.name for field in fields(Limits)]
        if name.strip() not in known:
            self.fail(f"{name!r} is no limit. Limits are {', '.join(known)}.", param, ctx)
        return name.strip(), Bytes().convert(number, param, ctx)


class Site(click.ParamType[str]):
    """Where a site is: scheme and host, and perhaps a path."""

    name = "URL"

    def __init__(self, *, path: bool) -> None:
        """Take addresses with a path, or none but origins."""
        self.path = path

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what is no address: every link, or no page, would go wrong by it."""
        text = str(value)
        form = r"https?://[^\s/?#@]+" + (r"(/[^\s?#]*)?" if self.path else "")
        if text and not re.fullmatch(form, text):
            example = "https://eo.example.org/terrazzo" if self.path else "https://editor.example"
            self.fail(f"{text!r} is no address of a site. Valid is {example}.", param, ctx)
        return text


def _option(name: str, *more: str, **given: Any) -> Callable[..., Any]:
    """Return an option that an environment variable sets, too."""
    variable = f"{ENVIRONMENT}_{name.removeprefix('--').upper().replace('-', '_')}"
    return click.option(name, *more, envvar=variable, show_envvar=True, **given)


def _counted(name: str, default: int, about: str, least: int = 0) -> Callable[..., Any]:
    return _option(name, default=default, show_default=True, type=click.IntRange(least), help=about)


def _timed(name: str, default: float, about: str) -> Callable[..., Any]:
    kind = click.FloatRange(min=0, min_open=True)
    return _option(name, default=default, show_default=True, type=kind, help=about)


_OPTIONS = (
    _option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    _option(
        "--port", default=8080, show_default=True, type=click.IntRange(0, 65535),
        help="Port to listen on; 0 takes any free one.",
    ),
    _option(
        "--public-url", default="", type=Site(path=True), metavar="URL",
        help="Address under which clients reach the server, if a proxy is in front of it.",
    ),
    DATABASE,
    _option(
        "--oidc", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
        help="File that lists providers of OpenID Connect whose users may log in.",
    ),
    _counted("--workers", 1, "Processes that answer requests.", 1),
    _counted("--job-workers", 1, "Jobs at a time; 0 leaves them to `terrazzo worker`."),
    _option(
        "--job-memory", default="2G", show_default=True, type=Bytes(),
        help="For the blocks of each job; of Slurm of each task.",
    ),
    _counted("--threads", 0, "Tiles and results at a time in each process; 0 is one per core."),
    _counted("--tile-cache", 64, "Megabytes of encoded tiles that a process keeps; 0 keeps none."),
    _option(
        "--limit", "limits", multiple=True, type=Limit(),
        help="What one request may ask for, e.g. pixels=500M, upload_bytes=10G or nodes=500; may "
        "be given several times.",
    ),
    _timed("--token-hours", 24.0, "How long a log-in with a password lasts."),
    _timed("--link-hours", 24.0, "How long a link to a result of a job works."),
    _timed("--grace", 10.0, "Seconds that requests have to finish when the server is to stop."),
    _option(
        "--metrics-token", default="", metavar="TOKEN",
        help="Token that reads /metrics. Default: only this machine reads them.",
    ),
    _option(
        "--cors", default="", type=Site(path=False), metavar="ORIGIN",
        help="Site whose pages may use a server without log-ins, e.g. https://editor.example. With "
        "log-ins all may.",
    ),
    _option(
        "--log", type=click.Choice(["auto", "json", "text"]), default="auto", show_default=True,
        help="Form of the log on stderr; auto is text on a terminal and JSON elsewhere.",
    ),
    click.option("--embedded", is_flag=True, hidden=True),
)  # fmt: skip


def _with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    decorated = job_cluster_options(command)
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


@click.command()
@_with_options
@click.pass_obj
def serve(settings: Settings, /, **given: Any) -> None:
    """Serve the openEO API, tiles and pages until Ctrl-C.

    On an address of this machine only, and without accounts (`terrazzo user add`) or --oidc,
    everybody who reaches the port may do everything. Other addresses need one of the two.

    \b
    Example:
      terrazzo serve --port 8081
      terrazzo serve --host 0.0.0.0 --workers 4 --database postgresql://me:secret@db/terrazzo
      terrazzo serve --executor slurm --tasks 200 --job-memory 4G --time 1:00:00
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.server.login.providers import read_providers  # noqa: PLC0415 - as above
    from terrazzo.server.running.listen import listen  # noqa: PLC0415 - loads the engine
    from terrazzo.server.running.opening import LOOPBACK, opened  # noqa: PLC0415 - as above
    from terrazzo.server.running.parent import end_with_parent, secret_of_parent  # noqa: PLC0415 - as above
    from terrazzo.server.settings import Limits, ServerSettings  # noqa: PLC0415 - as above

    host, workspace = given["host"], settings.workspace()
    chosen = ServerSettings(
        database=given["database"],
        public_url=given["public_url"],
        providers=read_providers(given["oidc"]) if given["oidc"] else (),
        limits=Limits(**dict(given["limits"])),
        threads=given["threads"],
        kept_bytes=given["tile_cache"] * 1_000_000,
        job_workers=given["job_workers"],
        job_memory_bytes=given["job_memory"],
        elsewhere=elsewhere_of(settings, given["cluster"]),
        token_hours=given["token_hours"],
        link_hours=given["link_hours"],
        workers=given["workers"],
        grace_seconds=given["grace"],
        metrics_token=given["metrics_token"],
        cors=given["cors"],
        secret=secret_of_parent() if given["embedded"] else "",
        log=given["log"],
    )
    if given["embedded"]:
        end_with_parent()
        # A page that knows the secret is the notebook's own, wherever that is served.
        chosen = replace(chosen, open=True, hosts=LOOPBACK, cors="*")
    else:
        chosen = opened(workspace, chosen, host)

    def ready(url: str) -> None:
        if given["embedded"]:
            sys.stdout.write(f"{url}\n")
            sys.stdout.flush()
        else:
            click.echo(f"Serving {settings.home} at {url}  (Ctrl-C stops)", err=True)

    listen(
        workspace,
        host,
        given["port"],
        ready=ready,
        say=lambda message: click.echo(message, err=True),
        settings=chosen,
    )
