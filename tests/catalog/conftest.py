"""Catalogues of both kinds for the same tests: a file, and a database with pgSTAC."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.ledger import postgresql

from terrazzo.catalog import open_catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


KINDS = ["file", pytest.param("postgresql", marks=pytest.mark.shared)]


@contextmanager
def pgstac_server(shared: Path) -> Iterator[Callable[[], Iterator[str]]]:
    """Run a server; yields what makes a database with pgSTAC in it, and drops it at the end."""
    from terrazzo.catalog import pgstac_connections  # noqa: PLC0415 - not where nobody has psycopg

    def drop_connections(address: str) -> None:
        pool = pgstac_connections._pools.pop((os.getpid(), address), None)
        if pool is not None:
            pool.close()

    with postgresql.server(shared) as root, postgresql.fresh(root) as template:
        open_catalog(template).close()  # an empty database gets pgSTAC
        drop_connections(template)

        @contextmanager
        def database() -> Iterator[str]:
            with postgresql.fresh(root, template.rpartition("/")[2]) as address:
                try:
                    yield address
                finally:
                    drop_connections(address)

        yield database


@pytest.fixture(scope="session")
def pgstac_databases(shared: Path) -> Iterator[Callable[[], Iterator[str]]]:
    """What makes databases with pgSTAC."""
    with pgstac_server(shared) as database:
        yield database


@pytest.fixture
def pgstac_address(pgstac_databases) -> Iterator[str]:
    """The address of a fresh database with pgSTAC."""
    with pgstac_databases() as address:
        yield address


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a fresh catalogue may be, of each kind."""
    if request.param == "file":
        return str(tmp_path / "catalogue ?#%.db")
    found: str = request.getfixturevalue("pgstac_address")
    return found


@pytest.fixture(scope="module", params=KINDS)
def module_address(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The same for all tests and examples of a module."""
    if request.param == "file":
        yield str(tmp_path_factory.mktemp("catalogue") / "catalogue.db")
        return
    with request.getfixturevalue("pgstac_databases")() as address:
        yield address
