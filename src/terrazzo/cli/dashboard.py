"""The command that serves a notebook as a page, its code hidden."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Final

import click

from terrazzo.drivers.home import CATALOG_VARIABLE, HOME_VARIABLE
from terrazzo.errors import ArgumentInvalid, TerrazzoError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from terrazzo.cli.options import Settings

TEMPLATE: Final = "terrazzo"
"""Of Voila's pages, in the folder `share` of `terrazzo.notebook`."""
_EXTENSIONS: Final = ("@jupyter-notebook/lab-extension", "@voila-dashboards/jupyterlab-preview")
"""Of JupyterLab, which are no use on a page, and fail where Voila is older than they are."""
_TERMINATED: Final = 128 + signal.SIGTERM
"""Exit status of what was ended by that signal."""
_TOKEN_BYTES: Final = 24
_EVERY_SECONDS: Final = 0.1
_END_SECONDS: Final = 10.0
_SAID: Final = 2000
"""Bytes of what Voila said that are shown when it ends by itself."""


class DashboardMissing(TerrazzoError):
    """What serves notebooks as pages is not installed."""

    code, status = "DashboardMissing", 501


class DashboardFailed(TerrazzoError):
    """What serves a notebook as a page ended by itself."""

    code, status = "DashboardFailed", 500


@click.command()
@click.argument(
    "notebook", type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path)
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="Port.  [default: a free one]"
)
@click.option(
    "--theme",
    type=click.Choice(["light", "dark"]),
    default="light",
    show_default=True,
    help="Colours of the page.",
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.pass_obj
def dashboard(
    settings: Settings, notebook: Path, *, host: str, port: int, theme: str, no_browser: bool
) -> None:
    """Serve a NOTEBOOK as a page that shows what its cells give, and not their code.

    Every visitor has a run of the notebook of their own, with the rights of whoever started this
    command, and nothing is loaded from another host. The address that is printed ends in a token;
    without it nobody gets in, nor does a page of another site. Needs the extra `dashboard`.

    \b
    Example:
      terrazzo dashboard notebooks/first-map.ipynb --port 8090
    """  # noqa: D301 - \b is click's mark, not an escape
    if notebook.suffix != ".ipynb":
        raise ArgumentInvalid(f"{notebook.name} is no notebook: its name does not end in .ipynb.")
    if importlib.util.find_spec("voila") is None:
        raise DashboardMissing(
            "Voila, which serves notebooks as pages, is not installed. Run: pip install "
            "'terrazzo[dashboard]'"
        )
    if not _loopback(host):
        click.echo(
            f"Warning: {host} can be reached from other machines. Whoever has the address with its "
            "token uses the notebook with your rights, and what is sent is not encrypted.",
            err=True,
        )
    address, token = (host, _free(host, port)), secrets.token_urlsafe(_TOKEN_BYTES)
    with (
        as_file(files("terrazzo.notebook") / "share") as share,
        TemporaryFile() as said,
        _ended_in_order(),
    ):
        process = subprocess.Popen(  # noqa: S603 - this program
            _command(notebook, address, theme),
            env=_environment(settings, share, token, os.environ),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            _wait(process, address, said)
            url = f"http://{f'[{host}]' if ':' in host else host}:{address[1]}/?token={token}"
            click.echo(f"The dashboard: {url}  (Ctrl-C stops)")
            if sys.stdout.isatty() and not no_browser:
                webbrowser.open(url)
            process.wait()
            raise _failed(said)
        finally:
            _end(process)


def _command(notebook: Path, address: tuple[str, int], theme: str) -> list[str]:
    host, port = address
    return [
        sys.executable, "-m", "voila", str(notebook), "--no-browser", f"--Voila.ip={host}",
        f"--port={port}", "--Voila.port_retries=0", f"--template={TEMPLATE}", f"--theme={theme}",
        "--VoilaConfiguration.allow_template_override=NO", "--Voila.auto_token=True",
        *(f"--VoilaConfiguration.extension_denylist={name}" for name in _EXTENSIONS),
    ]  # fmt: skip


def _environment(
    settings: Settings, share: Path, token: str, environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of the page: our template, and the settings of this command.

    The token is told here, as other people of this machine see command lines.
    """
    from terrazzo.drivers.own import RULES_VARIABLE, rules_told  # noqa: PLC0415 - loads the engine

    paths = [str(share), *filter(None, [environment.get("JUPYTER_PATH", "")])]
    told = {
        HOME_VARIABLE: str(settings.home.absolute()),
        CATALOG_VARIABLE: settings.catalog,
        RULES_VARIABLE: rules_told(settings.roots, settings.hosts, settings.udf),
        "JUPYTER_TOKEN": token,
    }
    return {**environment, **told, "JUPYTER_PATH": os.pathsep.join(paths)}


def _loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """While the block runs, leave it as by an exception when this process is to end."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _free(host: str, port: int) -> int:
    """Return the port, or a free one for 0.

    Raises:
        ArgumentInvalid: the address or port cannot be had.
    """
    from terrazzo.server.running.listen import bound  # noqa: PLC0415 - loads the server

    with bound(host, port) as listener:
        return int(listener.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], address: tuple[str, int], said: IO[bytes]) -> None:
    """Wait until somebody answers.

    Raises:
        DashboardFailed: the process has ended.
    """
    while True:
        if process.poll() is not None:
            raise _failed(said)
        try:
            socket.create_connection(address, timeout=_EVERY_SECONDS).close()
        except OSError:
            time.sleep(_EVERY_SECONDS)
        else:
            return


def _failed(said: IO[bytes]) -> DashboardFailed:
    said.seek(max(0, said.seek(0, os.SEEK_END) - _SAID))
    text = said.read().decode(errors="replace").strip()
    return DashboardFailed(f"Voila ended by itself. Its last words: {text}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
