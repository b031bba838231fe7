"""Writes docs/cli.md from the help of every command: `python -m scripts.cli_reference`."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

import click

from scripts.pages import note, write
from terrazzo.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH = 100
INTRODUCTION = """\
Results go to stdout, progress and notes to stderr, so every command can be piped. `terrazzo --help`
and `terrazzo COMMAND --help` say what is on this page; [first steps](first-steps.md) uses the
commands in turn. Sizes of memory are `800M`, `4G` (4 000 000 000 bytes) or `4GiB`. A graph can be
read from stdin with `-`."""
HOME = "~/.local/share/terrazzo"


def page() -> str:
    """Return the whole page."""
    parts = [
        note("cli_reference"),
        "# Command line",
        INTRODUCTION,
    ]
    for name, text in helps():
        parts.append(f"## {name}\n\n```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def helps() -> Iterator[tuple[str, str]]:
    """Yield the name and the help of the group and of every command."""
    group = _elsewhere(main)
    top = click.Context(
        group,
        info_name="terrazzo",
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        **main.context_settings,
    )
    yield "terrazzo", group.get_help(top)
    yield from _below(main, top)


def _below(group: click.Group, context: click.Context) -> Iterator[tuple[str, str]]:
    """Yield the name and the help of the commands of a group, and of those below them."""
    for name in sorted(group.commands):
        command = group.commands[name]
        inner = click.Context(command, parent=context, info_name=name)
        inner.terminal_width = inner.max_content_width = WIDTH
        yield inner.command_path, command.get_help(inner)
        if isinstance(command, click.Group):
            yield from _below(command, inner)


def _elsewhere(command: click.Group) -> click.Group:
    """Return the group with nobody's home folder in its help."""
    other = copy.copy(command)
    other.params = [copy.copy(parameter) for parameter in command.params]
    for parameter in other.params:
        if isinstance(parameter, click.Option) and parameter.help:
            parameter.help = re.sub(
                r"\[default: [^\]]*terrazzo\]", f"[default: {HOME}]", parameter.help
            )
    return other


if __name__ == "__main__":
    write("cli.md", page())
