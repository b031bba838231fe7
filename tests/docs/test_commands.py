"""Every command and option that the documentation mentions exists."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click
import pytest
from tests.docs.pages import PAGES, blocks, prose, short

from terrazzo.cli import main

if TYPE_CHECKING:
    from pathlib import Path

OTHERS = {"-X", "-H", "--data-binary", "--global", "--require-hashes"}
"""Options of other programs than ours that running text may name."""


def options(command: click.Command) -> set[str]:
    """Return the options of a command."""
    return {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}


def everything(group: click.Group) -> set[str]:
    """Return the options of a group, of its commands, and of those below them."""
    below = (
        everything(command) if isinstance(command, click.Group) else options(command)
        for command in group.commands.values()
    )
    return options(group).union(*below)


ALL = everything(main)


def problems(line: str) -> list[str]:
    """Return what of a command line of ours does not exist."""
    words = shlex.split(line, comments=True)
    if not words or words[0] != "terrazzo":
        return []
    found, known, command, group = [], options(main), None, main
    taking = {
        o for p in main.params if isinstance(p, click.Option) and not p.is_flag for o in p.opts
    }
    skip = False
    for word in words[1:]:
        if skip:
            skip = False
        elif re.match("-[^0-9]", word):  # -10 is a value
            name = word.partition("=")[0]
            if name not in known:
                found.append(f"{command or 'terrazzo'} has no option {name}")
            skip = command is None and name in taking and "=" not in word
        elif group is not None:
            command = word
            if command not in group.commands:
                return [f"there is no command {command}"]
            chosen = group.commands[command]
            known, group = options(chosen), chosen if isinstance(chosen, click.Group) else None
    return found


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_command_lines_are_true(page: Path) -> None:
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    lines += re.findall(r"^ {4}(terrazzo .*)$", prose(page), re.MULTILINE)
    lines += re.findall(r"`(terrazzo [a-z]+[^`]*)`", prose(page))
    lines = [line for line in lines if "|" not in line and "COMMAND" not in line]

    assert [fault for line in lines for fault in problems(line)] == []


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_options_in_the_text_exist(page: Path) -> None:
    named = re.findall(r"`(--[a-z][a-z-]*)[^`]*`", prose(page))

    assert set(named) - ALL - OTHERS == set()
