"""The database of the ledger: the same tables on SQLite and PostgreSQL, whoever makes them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from terrazzo.errors import DatabaseUnusable
from terrazzo.ledger import Database
from terrazzo.ledger.schema import SCHEMA_VERSION, version, worker

if TYPE_CHECKING:
    from pathlib import Path


def test_what_fails_inside_a_transaction_leaves_nothing(database: Database):
    def write() -> None:
        with database.writing() as connection:
            connection.execute(insert(worker).values(id="w", host="h", pid=1, seen="now"))
            raise KeyError

    with pytest.raises(KeyError):
        write()

    with database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(worker)).scalar() == 0


def test_processes_that_open_it_at_once_agree_on_one_schema(database_address: str):
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(Database, [database_address] * 8))

    with opened[0].reading() as connection:
        assert connection.execute(select(version.c.version)).scalars().all() == [SCHEMA_VERSION]
    for one in opened:
        one.close()


def test_a_database_of_a_later_terrazzo_is_refused(database: Database):
    with database.writing() as connection:
        connection.execute(update(version).values(version=SCHEMA_VERSION + 1))

    with pytest.raises(DatabaseUnusable, match=f"version {SCHEMA_VERSION + 1}"):
        Database(database.url)


@pytest.mark.parametrize("url", ["nonsense", "mysql://h/n", "sqlite://"])
def test_a_url_of_no_database_is_refused_without_telling_it(url: str):
    with pytest.raises(DatabaseUnusable, match="sqlite:///PATH"):
        Database(url)


def test_a_password_is_never_told():
    with pytest.raises(DatabaseUnusable) as told:
        Database("postgresql://somebody:hunter2@127.0.0.1:9/none")

    assert "hunter2" not in str(told.value)
    assert "\n" not in str(told.value)
    assert "--database" in str(told.value)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(DatabaseUnusable, match=r"cannot be used: .* --home"):
        Database(f"sqlite:///{tmp_path}/file/ledger.sqlite")


def test_what_is_bound_is_in_no_error(database: Database):
    row = {"id": "w", "host": "hunter2", "pid": 1, "seen": "now"}
    with database.writing() as connection:
        connection.execute(insert(worker).values(row))

    with pytest.raises(IntegrityError) as told, database.writing() as connection:
        connection.execute(insert(worker).values(row))

    assert "hunter2" not in str(told.value)
