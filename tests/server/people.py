"""A server that asks for log-ins, and people who have one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from argon2 import PasswordHasher

from terrazzo.ledger import Database, database_url
from terrazzo.ledger.tokens import log_in
from terrazzo.ledger.users import add_user
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Hashes with least cost; what is tested does not depend on it."""
PASSWORD = "four words nobody guesses"  # noqa: S105 - of nobody


def closed(**changes: Any) -> ServerSettings:
    """Return settings of a server that asks for log-ins and runs no jobs."""
    return ServerSettings(**{"open": False, "job_workers": 0, **changes})


def ledger(home: Path) -> Database:
    """Open the embedded database of a home folder."""
    return Database(database_url(home))


def bearer(database: Database, login: str, *, hours: float = 1.0) -> dict[str, str]:
    """Log somebody in and return the header of their requests."""
    token = log_in(database, login, PASSWORD, "127.0.0.1", hours)
    return {"Authorization": f"Bearer basic//{token}"}


def newcomer(database: Database, login: str, **options: Any) -> dict[str, str]:
    """Make an account and return the header of its requests."""
    add_user(database, login, PASSWORD, **options)
    return bearer(database, login)
