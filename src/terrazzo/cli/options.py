"""What the commands share: kinds of values, common options, and where a user's files are."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click
from typing_extensions import override

from terrazzo.sandbox.limits import UdfRules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from terrazzo.drivers.job import Workspace
    from terrazzo.ledger import Database

DATABASE_VARIABLE = "TERRAZZO_DATABASE"

_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kMGT]?)(?P<binary>i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_FILTER = re.compile(r"(?P<name>[^<>=!]+?)\s*(?P<operator><=|>=|!=|==|=|<|>)\s*(?P<value>.*)")
_SIDES = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment and the options of the group say; read once, passed down."""

    home: Path
    """The folder with the catalogue and everything else that is kept."""
    home_given: bool = False
    """Whether the user named it, by option or environment."""
    debug: bool = False
    """Whether errors come with their traceback."""
    roots: tuple[Path, ...] = ()
    """Further folders from which files may be read."""
    hosts: tuple[str, ...] = ()
    """Hosts from which files may be read over HTTP."""
    udf: UdfRules = field(default_factory=UdfRules)
    """Whether code of users is run, where, and what it may take."""
    catalog: str = field(default="", repr=False)
    """URL of a catalogue in PostgreSQL; empty is a file in `home`."""

    def workspace(self) -> Workspace:
        """Open the catalogue's folder, with everything else that may be read."""
        from terrazzo.drivers.job import Workspace  # noqa: PLC0415 - loads the engine

        return Workspace.of(self.home, self.roots, self.hosts, udf=self.udf, catalog=self.catalog)


class BBox(click.ParamType[tuple[float, float, float, float]]):
    """West, south, east, north."""

    name = "W,S,E,N"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float, float]:
        """Read four numbers with commas between."""
        if isinstance(value, tuple):
            return value
        parts = re.split(r"[,\s]+", str(value).strip())
        try:
            numbers = [float(part) for part in parts]
        except ValueError:
            numbers = []
        if len(numbers) != _SIDES:
            self.fail(
                f"{value!r} is no bounding box. Give west,south,east,north, for example "
                "--bbox=22.15,45.20,22.16,45.21.",
                param,
                ctx,
            )
        west, south, east, north = numbers
        return west, south, east, north


class Bytes(click.ParamType[int]):
    """An amount of memory."""

    name = "SIZE"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a number with a unit: 4G is 4 000 000 000 bytes, 4GiB is 4 294 967 296."""
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(str(value).strip())
        if match is None or float(match["number"]) <= 0:
            self.fail(f"{value!r} is no amount. Valid are 800M, 4G and 4GiB.", param, ctx)
        base = 1024 if match["binary"] else 1000
        return int(float(match["number"]) * base ** _POWERS[match["unit"].upper()])


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a property, as it was typed."""

    name: str
    operator: str
    value: str | float | bool


class Property(click.ParamType[Condition]):
    """A condition on a property of items."""

    name = "CONDITION"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Condition:
        """Read a name, an operator and a value."""
        if isinstance(value, Condition):
            return value
        match = _FILTER.fullmatch(str(value).strip())
        if match is None:
            self.fail(
                f"{value!r} is no condition. Write a name, one of < <= > >= = != and a value, for "
                "example 'eo:cloud_cover<20', in quotes.",
                param,
                ctx,
            )
        operator = "=" if match["operator"] == "==" else match["operator"]
        return Condition(match["name"], operator, _scalar(match["value"]))


def _scalar(text: str) -> str | float | bool:
    """Read a number or a truth value; everything else is text, quotes around it dropped."""
    if text in {"true", "false"}:
        return text == "true"
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        return float(text)
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


EXACT = click.option(
    "--exact",
    is_flag=True,
    help="Project every pixel exactly instead of interpolating between control points (0.1 pixel).",
)


def where(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where a graph runs, and how exactly its pixels are placed."""
    for option in (
        EXACT,
        click.option("--crs", default="", help="CRS of the result, e.g. EPSG:3035."),
        click.option(
            "--resolution",
            default=0.0,
            type=click.FloatRange(min=0),
            help="Pixel size of the result, in units of its CRS. Default: that of the source.",
        ),
        click.option("--bbox-crs", default="EPSG:4326", show_default=True, help="CRS of --bbox."),
        click.option("--bbox", type=BBox(), help="Only this part; degrees unless --bbox-crs."),
    ):
        command = option(command)
    return command


def pool_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how much of the machine a run may use."""
    for option in (
        click.option(
            "--memory",
            type=Bytes(),
            default="2G",
            show_default=True,
            help="Memory for the blocks of all workers together.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=0),
            default=0,
            help="Blocks at a time. Default: one per core.",
        ),
        click.option(
            "--block",
            type=click.IntRange(min=1),
            default=1024,
            show_default=True,
            help="Edge of a block, pixels.",
        ),
    ):
        command = option(command)
    return command


GRAPH = click.argument(
    "graph",
    metavar="GRAPH.json",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
)
SKIP_BAD = click.option(
    "--skip-bad", is_flag=True, help="Leave unreadable items out and record them."
)


DATABASE = click.option(
    "--database",
    default="",
    envvar=DATABASE_VARIABLE,
    show_envvar=True,
    metavar="URL",
    help="Database of users and jobs, postgresql://USER:PASSWORD@HOST/NAME.  [default: a file in "
    "the home folder]",
)


@contextmanager
def open_ledger(settings: Settings, database: str) -> Iterator[Database]:
    """Open what is kept of people while the block runs.

    Raises:
        DatabaseUnusable: it cannot be opened.
    """
    from terrazzo.ledger import Database, database_url  # noqa: PLC0415 - loads the database

    ledger = Database(database or database_url(settings.home))
    try:
        yield ledger
    finally:
        ledger.close()


def read_graph(path: str) -> str:
    """Return the text of a process graph; `-` is stdin.

    Raises:
        BadParameter: it is not UTF-8 text.
    """
    with click.open_file(path, "rb") as file:
        content: bytes = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.BadParameter(
            f"{path} is no UTF-8 text, so it cannot be a process graph.", param_hint="GRAPH.json"
        ) from error
