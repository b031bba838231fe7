"""The database of the ledger: SQLite in the home folder, or PostgreSQL by its URL."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, func, insert, make_url, select
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from typing_extensions import override

from terrazzo.errors import DatabaseUnusable
from terrazzo.ledger.schema import SCHEMA_VERSION, metadata, version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL, Connection, Engine

LEDGER_FILE = "ledger.sqlite"
BUSY_SECONDS = 30.0
"""How long a writer waits for another one before it gives up."""
_WRITING = "terrazzo_writing"
_MAKING = 0x7E44A220
"""Key of the lock under which PostgreSQL's tables are made."""


def database_url(home: Path) -> str:
    """Return the URL of the embedded database of a home folder."""
    return f"sqlite:///{home / LEDGER_FILE}"


class Database:
    """Connections to the ledger; threads share it, processes open it again by its URL."""

    def __init__(self, url: str) -> None:
        """Open the database and make its tables if they are missing.

        Args:
            url: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`.

        Raises:
            DatabaseUnusable: it cannot be reached, or is of a later Terrazzo.
        """
        self.url = url
        address = _checked(url)
        self.engine = _engine(address)
        try:
            if address.get_backend_name() == "sqlite":
                _make_alone(self.engine, Path(address.database or ""))
            else:
                _make(self.engine)
        except DatabaseUnusable:
            self.close()
            raise
        except (SQLAlchemyError, OSError) as error:
            self.close()
            # A driver tells in several lines, and asks questions.
            why = " ".join(str(getattr(error, "orig", None) or error).split()).rstrip(".")
            if address.get_backend_name() == "sqlite":
                way = "See that its folder can be written, or give another with --home."
            else:
                way = "See that its server runs and lets you in, and that --database is right."
            raise DatabaseUnusable(
                f"The database {address.render_as_string()} cannot be used: {why}. {way}"
            ) from error

    @override
    def __reduce__(self) -> tuple[Callable[[str], Database], tuple[str]]:
        """Pickle as URL."""
        return Database, (self.url,)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read in one transaction, which sees one state of the database."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Write in one transaction: all of it or, on any error, nothing.

        On SQLite the lock is taken at the start, so that what was read is still true at the end.
        """
        with self.engine.connect() as connection:
            connection.info[_WRITING] = True
            try:
                with connection.begin():
                    yield connection
            finally:
                connection.info.pop(_WRITING, None)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _checked(url: str) -> URL:
    try:
        address = make_url(url)
    except ArgumentError:
        raise DatabaseUnusable(
            "--database is no URL of a database. Give sqlite:///PATH or "
            "postgresql://USER:PASSWORD@HOST/NAME."
        ) from None
    if address.get_backend_name() == "postgresql":
        return address.set(drivername="postgresql+psycopg")
    if address.get_backend_name() != "sqlite" or not address.database:
        raise DatabaseUnusable(
            f"A database of the kind {address.drivername!r} is not supported. Give sqlite:///PATH "
            "or postgresql://USER:PASSWORD@HOST/NAME."
        )
    return address


def _engine(address: URL) -> Engine:
    try:
        if address.get_backend_name() == "postgresql":
            return create_engine(address, pool_pre_ping=True, hide_parameters=True)
        # What is bound, password hashes among it, is in no message of an error, so in no log.
        engine = create_engine(
            address, connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True
        )
    except (ImportError, NoSuchModuleError) as error:
        raise DatabaseUnusable(
            "PostgreSQL needs a driver that is not installed: pip install 'terrazzo[postgresql]'."
        ) from error
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _: object) -> None:
    """Set up a new SQLite connection; SQLAlchemy shall begin transactions, not the driver."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    writing = connection.info.get(_WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _make_alone(engine: Engine, path: Path) -> None:
    """Make the tables of a file; several processes may start at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _make(engine)


def _make(engine: Engine) -> None:
    """Make missing tables, and refuse those of a later Terrazzo."""
    with engine.connect() as connection, connection.begin():
        if engine.dialect.name == "postgresql":  # several machines may start at once
            connection.execute(select(func.pg_advisory_xact_lock(_MAKING)))
        metadata.create_all(connection)
        known = connection.execute(select(version.c.version)).scalars().all()
        if not known:
            connection.execute(insert(version).values(version=SCHEMA_VERSION))
            known = [SCHEMA_VERSION]
    if max(known) != SCHEMA_VERSION:
        raise DatabaseUnusable(
            f"The database has schema version {max(known)} and this Terrazzo reads version "
            f"{SCHEMA_VERSION}. Upgrade Terrazzo, or name another database with --database."
        )
