"""What is answered while the database of users and jobs is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text
from starlette.testclient import TestClient
from tests.server.people import closed, ledger

from terrazzo.drivers.job import Workspace
from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from pathlib import Path


def test_a_database_that_is_away_is_no_fault_of_the_request(tmp_path: Path) -> None:
    token = {"Authorization": "Bearer basic//somebody"}
    with TestClient(create_app(Workspace.of(tmp_path), closed())) as client:
        database = ledger(tmp_path)
        with database.writing() as connection:
            connection.execute(text("DROP TABLE token"))
        database.close()

        answer = client.get("/me", headers=token)

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.json()["code"] == "DatabaseUnusable"
    assert "token" not in answer.json()["message"]
