"""The ledger over both databases that it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.ledger import postgresql

from terrazzo.ledger import Database, database_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def postgresql_root(shared: Path) -> Iterator[str]:
    """Address of a PostgreSQL server that is ours alone."""
    with postgresql.server(shared) as root:
        yield root


@pytest.fixture(params=["sqlite", "postgresql"])
def database_address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database, embedded and shared in turn."""
    if request.param == "sqlite":
        yield database_url(tmp_path)
        return
    with postgresql.fresh(request.getfixturevalue("postgresql_root")) as address:
        yield address


@pytest.fixture
def database(database_address: str) -> Iterator[Database]:
    """An empty ledger, on SQLite and on PostgreSQL."""
    database = Database(database_address)
    yield database
    database.close()
