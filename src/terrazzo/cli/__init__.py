"""The command line: results on stdout, progress on stderr, exit status 0, 2, 3 or 130."""

from terrazzo.cli.group import main

__all__ = ["main"]
