"""Servers over both kinds of catalogue: a file, and a database with pgSTAC."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.catalog.conftest import pgstac_server

from terrazzo.drivers.job import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

FILE, DATABASE = "file", "postgresql"


@contextmanager
def workspace_of(kind: str, home: Path, request: pytest.FixtureRequest) -> Iterator[Workspace]:
    """Yield an empty workspace whose catalogue is of a kind."""
    if kind == FILE:
        yield Workspace.of(home)
        return
    shared: Path = request.getfixturevalue("shared")
    with pgstac_server(shared) as database, database() as address:
        yield Workspace.of(home, catalog=address)
