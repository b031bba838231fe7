"""The group of all commands: options for all of them, and how errors end a command."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click
from typing_extensions import override

from terrazzo import __version__
from terrazzo.cli.access import access
from terrazzo.cli.catalog_group import catalog
from terrazzo.cli.catalogue import search
from terrazzo.cli.chips import chips, outliers, peers
from terrazzo.cli.dashboard import dashboard
from terrazzo.cli.demo import demo
from terrazzo.cli.doctor import doctor
from terrazzo.cli.extract import extract
from terrazzo.cli.graphs import explain
from terrazzo.cli.grass import grass
from terrazzo.cli.ingest import ingest
from terrazzo.cli.jobs import jobs
from terrazzo.cli.options import Settings
from terrazzo.cli.profile import profile
from terrazzo.cli.publish import publish
from terrazzo.cli.run import run
from terrazzo.cli.serve import serve
from terrazzo.cli.udf import Limit, rules, udf_options
from terrazzo.cli.user import user
from terrazzo.cli.worker import worker
from terrazzo.drivers.home import CATALOG_VARIABLE, HOME_VARIABLE, default_home
from terrazzo.errors import RunIncomplete, TerrazzoError
from terrazzo.progress import Cancelled

DONE, FAILED, BAD_INPUT, INCOMPLETE, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 3, 130, 141
_SERVER_FAULT = 500


class Commands(click.Group):
    """A group whose commands end with one clear message, never with a traceback."""

    @override
    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and turn what goes wrong into a message and an exit status."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            _drop_stdout()
            ctx.exit(PIPE_CLOSED)
        except (KeyboardInterrupt, Cancelled):
            click.echo("\nStopped. Nothing that was finished is lost.", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:  # noqa: BLE001 - the last place where one can be told
            if "--debug" in sys.argv or (isinstance(ctx.obj, Settings) and ctx.obj.debug):
                traceback.print_exception(error)
            click.echo(_message(error), err=True)
            ctx.exit(exit_status(error))
        return result


def exit_status(error: BaseException) -> int:
    """Return 3 where blocks are missing, 2 for bad input, 1 where right input cannot be done."""
    if isinstance(error, RunIncomplete):
        return INCOMPLETE
    bad_input = isinstance(error, TerrazzoError) and error.status < _SERVER_FAULT
    return BAD_INPUT if bad_input else FAILED


def _message(error: Exception) -> str:
    if isinstance(error, TerrazzoError):
        return f"Error: {error}"
    if isinstance(error, OSError):
        return f"Error: {error}"
    return (
        f"Error: this is a fault of Terrazzo ({type(error).__name__}: {error}). Run `terrazzo "
        "--debug ...` to see where, and please report it."
    )


def _drop_stdout() -> None:
    """Point stdout at nothing: whoever read it has gone, and Python would complain at exit."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="terrazzo")
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar=HOME_VARIABLE,
    show_envvar=True,
    help=f"Folder of the catalogue and its files.  [default: {default_home(os.environ)}]",
)
@click.option(
    "--catalog",
    default="",
    envvar=CATALOG_VARIABLE,
    show_envvar=True,
    metavar="URL",
    help="Catalogue in PostgreSQL, postgresql://USER:PASSWORD@HOST/NAME.  [default: a file in the "
    "home folder]",
)
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another folder whose files may be read; may be given several times.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="HOST[:PORT][=ADDRESS]|s3://BUCKET[/PREFIX]",
    help="A host or bucket whose files may be read; may be given several times.",
)
@udf_options
@click.option("--debug", is_flag=True, help="Show where in the code an error comes from.")
@click.pass_context
def main(
    ctx: click.Context,
    home: Path | None,
    catalog: str,
    roots: tuple[Path, ...],
    hosts: tuple[str, ...],
    *,
    udf: str,
    udf_limits: tuple[Limit, ...],
    udf_environments: tuple[tuple[str, str], ...],
    debug: bool,
) -> None:
    """Terrazzo: one graph, the same answer on a map tile, in a batch, and over polygons.

    Results go to stdout, progress to stderr. Exit status: 0 done, 1 not possible (disk full, file
    unreadable), 2 bad input, 3 some blocks failed (the same command goes on), 130 stopped by
    Ctrl-C.

    \b
    Start here:
      terrazzo demo
    """  # noqa: D301 - \b is click's mark, not an escape
    ctx.obj = Settings(
        (home or default_home(os.environ)).expanduser().absolute(),
        home is not None,
        debug,
        tuple(root.expanduser().absolute() for root in roots),
        hosts,
        rules(udf, udf_limits, udf_environments),
        catalog,
    )


for command in (
    doctor,
    demo,
    serve,
    dashboard,
    ingest,
    search,
    catalog,
    run,
    grass,
    jobs,
    publish,
    extract,
    chips,
    peers,
    outliers,
    explain,
    profile,
    access,
    user,
    worker,
):
    main.add_command(command)
