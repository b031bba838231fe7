"""The commands that list runs and jobs of the server, and watch one."""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import click

from terrazzo.cli.options import DATABASE, Settings, open_ledger
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from terrazzo.drivers.watching.watch import Look
    from terrazzo.ledger.jobs import Jobs

MOST = 50
"""Runs and jobs that are listed unless told."""
JOB = re.compile(r"j-[0-9a-f]{32}")
"""What the id of a job looks like."""
_TITLE = 40
"""Characters of a title that are listed."""
_EXITS = {"finished": 0, "incomplete": 3}


@dataclass(frozen=True, slots=True)
class Row:
    """A run or a job, as it is listed."""

    id: str
    title: str
    state: str
    done: int | None
    total: int | None
    begun: str
    """RFC 3339; empty where it was not begun yet."""
    where: str
    """Its folder."""


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON line for each.")
@click.option(
    "--last", default=MOST, show_default=True, type=click.IntRange(1), help="How many to list."
)
@DATABASE
@click.pass_context
def jobs(ctx: click.Context, *, as_json: bool, last: int, database: str) -> None:
    """List the runs and the openEO jobs of the home, the newest first.

    Runs are those that were begun with `terrazzo run`, as long as their folder is there; jobs are
    those of all users of the server. What cannot be read at present is `unreachable`.

    \b
    Example:
      terrazzo jobs
      terrazzo jobs watch r-0123456789ab
    """  # noqa: D301 - \b is click's mark, not an escape
    if ctx.invoked_subcommand is not None:
        return
    rows = _listed(ctx.obj, database, last)
    if as_json:
        for row in rows:
            told = {name: getattr(row, name) for name in Row.__dataclass_fields__}
            click.echo(json.dumps(told))
        return
    if not rows:
        click.echo("There are no runs and no jobs yet. Begin one: terrazzo run GRAPH.json -o DIR")
        return
    table = [("ID", "STATE", "BLOCKS", "BEGUN", "TITLE", "FOLDER")]
    for row in rows:
        blocks = "" if row.total is None else f"{row.done:,}/{row.total:,}"
        begun = row.begun[:16].replace("T", " ")
        table.append((row.id, row.state, blocks, begun, _short(row.title), row.where))
    click.echo("\n".join(_columns(table)))


@jobs.command()
@click.argument("which", metavar="ID|FOLDER|s3://BUCKET/PREFIX")
@click.option("--json", "as_json", is_flag=True, help="A JSON line for each look.")
@click.option("--once", is_flag=True, help="Look once, and end.")
@click.option(
    "--every",
    default=2.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds between two looks.",
)
@DATABASE
@click.pass_obj
def watch(
    settings: Settings, which: str, *, as_json: bool, once: bool, every: float, database: str
) -> None:
    """Watch a run or a job until it ends: blocks, rate, time left, memory, failures, workers.

    Only its folder is read, so it does not matter who runs it, or where. Ctrl-C ends the watching
    and nothing else. Exit status: 0 it has finished (or --once), 1 it failed, was stopped or is
    silent, 3 some blocks failed.

    \b
    Example:
      terrazzo jobs watch ndvi
      terrazzo jobs watch j-0123456789abcdef0123456789abcdef --json
    """  # noqa: D301 - \b is click's mark, not an escape
    screen = _Screen()
    with open_source(settings, which, database) as look:
        while True:
            now = look()
            if as_json:
                click.echo(json.dumps(now.to_json()))
            else:
                screen.show(_text(now))
            state = now.status.state.value
            if once:
                return
            if state not in {"running", "submitted"}:
                click.get_current_context().exit(_EXITS.get(state, 1))
            time.sleep(every)


@contextmanager
def open_source(settings: Settings, which: str, database: str) -> Iterator[Callable[[], Look]]:
    """Open what is watched, and yield what looks at it.

    Raises:
        ArgumentInvalid: there is no such run or job.
    """
    from terrazzo.drivers.depot import depot_of  # noqa: PLC0415 - loads readers and writers
    from terrazzo.drivers.watching.known import ID, known_runs  # noqa: PLC0415 - as above
    from terrazzo.drivers.watching.watch import Watcher  # noqa: PLC0415 - as above

    if JOB.fullmatch(which):
        with _open_jobs(settings, database) as found:
            yield _of_job(found, which)
        return
    where = which
    if ID.fullmatch(which):
        runs = [one.where for one in known_runs(settings.home) if one.id == which]
        if not runs:
            raise ArgumentInvalid(
                f"There is no run {which} in {settings.home}. `terrazzo jobs` lists those that "
                "there are; or name the folder of a run."
            )
        where = runs[0]
    watcher = Watcher(depot_of(where))

    def look() -> Look:
        found = watcher.look()
        if found is None:
            raise ArgumentInvalid(
                f"There is no run in {where}, or it has not come to its first block yet. "
                "`terrazzo jobs` lists the runs that were begun."
            )
        return found

    yield look


def _of_job(jobs: Jobs | None, which: str) -> Callable[[], Look]:
    from terrazzo.ledger.looks import JobWatcher  # noqa: PLC0415 - loads the database

    watcher = None if jobs is None else JobWatcher(jobs.folders)

    def look() -> Look:
        known = None if jobs is None else jobs.linked(which)
        if known is None or watcher is None:
            raise ArgumentInvalid(
                f"There is no job {which}. `terrazzo jobs` lists those that there are; with a "
                "database of its own, the server's jobs need --database."
            )
        return watcher.look(known)

    return look


@contextmanager
def _open_jobs(settings: Settings, database: str) -> Iterator[Jobs | None]:
    """Open the jobs of the server, if there ever was one; a ledger is not made for looking."""
    from terrazzo.ledger.database import LEDGER_FILE  # noqa: PLC0415 - loads the database
    from terrazzo.ledger.folders import JobFolders  # noqa: PLC0415 - as above
    from terrazzo.ledger.jobs import Jobs  # noqa: PLC0415 - as above

    if not database and not (settings.home / LEDGER_FILE).exists():
        yield None
        return
    with open_ledger(settings, database) as ledger:
        yield Jobs(ledger, JobFolders(settings.home))


def _listed(settings: Settings, database: str, last: int) -> list[Row]:
    from terrazzo.drivers.depot import depot_of  # noqa: PLC0415 - loads readers and writers
    from terrazzo.drivers.watching.known import known_runs  # noqa: PLC0415 - as above
    from terrazzo.drivers.watching.watch import Watcher  # noqa: PLC0415 - as above
    from terrazzo.errors import OutputFailed  # noqa: PLC0415 - as above
    from terrazzo.ledger.looks import JobWatcher  # noqa: PLC0415 - loads the database

    def seen(where: str) -> Look | None:
        return Watcher(depot_of(where)).look()

    def looked(look: Callable[[], Look | None]) -> tuple[str, Look | None]:
        try:
            return "not begun", look()
        except (ArgumentInvalid, OutputFailed):  # one that is out of reach hides no other
            return "unreachable", None

    rows = []
    for run in known_runs(settings.home)[:last]:
        state, look = looked(partial(seen, run.where))
        rows.append(_row(run.id, run.title, run.begun, run.where, state, look))
    with _open_jobs(settings, database) as jobs:
        if jobs is not None:
            watcher = JobWatcher(jobs.folders)
            for known in jobs.everybodys(last):
                where = str(jobs.folders.of(known.id, known.run)) if known.run else ""
                begun = known.started or known.created
                state, look = looked(partial(watcher.look, known))
                rows.append(_row(known.id, known.title or "", begun, where, state, look))
    return sorted(rows, key=lambda row: row.begun, reverse=True)[:last]


def _row(name: str, title: str, begun: str, where: str, state: str, look: Look | None) -> Row:
    if look is None:
        return Row(name, title, state, None, None, begun, where)
    status = look.status
    counted = status.total > 0
    return Row(
        name,
        title or status.title,
        status.state.value,
        status.done if counted else None,
        status.total if counted else None,
        begun,
        where,
    )


def _text(look: Look) -> list[str]:
    """Return the lines that people see of a run."""
    from terrazzo.drivers.watching.speeds import duration, time_text  # noqa: PLC0415 - as above

    status = look.status
    first = f"{status.state.value}  {status.unit} {status.done:,}/{status.total:,}"
    if status.failed:
        first += f"  {status.failed:,} failed"
    if look.per_second:
        first += f"  {look.per_second:.2f}/s"
    if look.left_s is not None:
        first += f"  {duration(look.left_s)} left"
    lines = [first]
    if status.expected is not None:
        lines.append(f"expected time: {time_text(status.expected)}")
    if status.took is not None:
        lines.append(f"took {duration(status.took.seconds)}, {status.took.blocks:,} computed")
    if status.message:
        lines.append(status.message)
    if look.workers:
        lines += ["", *_columns(_table(look))]
    return [_plain(line) for line in lines]


def _table(look: Look) -> list[Sequence[str]]:
    """Return a row for each worker, under a head."""
    from terrazzo.drivers.watching.pulse import age_s  # noqa: PLC0415 - loads readers and writers
    from terrazzo.drivers.watching.speeds import duration  # noqa: PLC0415 - as above
    from terrazzo.engine.demand import size_text  # noqa: PLC0415 - as above

    table: list[Sequence[str]] = [
        ("WORKER", "MADE", "FAILED", "AT HAND", "RATE", "MEMORY", "UNPACKED", "WRITTEN", "HEARD")
    ]
    for one in look.workers:
        beat = one.beat
        heard = f"{duration(age_s(beat.seen))} ago" + (" (silent)" if one.is_silent else "")
        table.append(
            (
                f"{beat.host}:{beat.pid}",
                f"{beat.made:,}",
                f"{beat.failed:,}",
                f"{len(beat.running)}",
                f"{beat.per_second:.2f}/s",
                size_text(beat.memory_bytes),
                size_text(beat.decoded_bytes),
                size_text(beat.written_bytes),
                heard,
            )
        )
    return table


def _columns(table: Sequence[Sequence[str]]) -> list[str]:
    table = [[_plain(cell) for cell in row] for row in table]
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _plain(text: str) -> str:
    """Return a text that does nothing to a terminal: others wrote it, in jobs and in folders."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _short(text: str) -> str:
    return text if len(text) <= _TITLE else f"{text[: _TITLE - 3]}..."


class _Screen:
    """Shows lines in place of those before; where it is no terminal, only what has changed."""

    def __init__(self) -> None:
        self._shown: list[str] = []

    def show(self, lines: list[str]) -> None:
        if sys.stdout.isatty():
            up = f"\x1b[{len(self._shown)}A\x1b[J" if self._shown else ""
            sys.stdout.write(up + "".join(f"{line}\n" for line in lines))
            sys.stdout.flush()
        elif lines[:1] != self._shown[:1]:
            click.echo("\n".join(lines))
        self._shown = lines
