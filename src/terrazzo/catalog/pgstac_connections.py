"""Connections to a PostgreSQL database with pgSTAC: pooled per process, errors in words.

Whoever opens a catalogue in a process where the same one was open before gets the connections
that are there; a child of a fork makes its own.
"""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from terrazzo.catalog.pgstac_schema import prepare
from terrazzo.errors import ArgumentInvalid, CatalogUnusable, OutputFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Pool: TypeAlias = ConnectionPool[Connection]

_MOST: Final = 8
"""Connections of one process to one database."""
_PATIENCE_SECONDS: Final = 60
"""How long a writer waits for another one before it gives up."""
_CONNECT_SECONDS: Final = 10
_TRIES: Final = 5
_SESSION: Final = (
    "SET search_path TO pgstac, public; SET timezone TO 'UTC'; SET jit TO off; "
    f"SET lock_timeout TO '{_PATIENCE_SECONDS}s'"
)
_AGAIN: Final = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    # pgSTAC goes on where it could not make a partition because of another writer.
    psycopg.errors.UndefinedTable,
    psycopg.errors.CheckViolation,
)
_GONE: Final = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)

_guard = threading.Lock()
_pools: dict[tuple[int, str], Pool] = {}


def shown_address(address: str) -> str:
    """Return an address without its password and options.

    Raises:
        CatalogUnusable: it is none.
    """
    try:
        parts = conninfo_to_dict(address)
    except psycopg.Error:
        raise CatalogUnusable(
            "The address of the catalogue is no URL of a database. Give "
            "postgresql://USER:PASSWORD@HOST/NAME."
        ) from None
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{user}{parts.get('host') or ''}{port}/{parts.get('dbname') or ''}"


class Connections:
    """The connections of this process to one database; threads share them."""

    def __init__(self, address: str, *, read_only: bool) -> None:
        """Open the database and see that pgSTAC is in it.

        Raises:
            CatalogUnusable: it cannot be reached, or holds no pgSTAC that this code knows.
        """
        self.address, self.read_only = address, read_only
        self.shown = shown_address(address)
        self._closed = False
        self._pool()

    def close(self) -> None:
        """Refuse to be used from now on; the process keeps the connections for the next one."""
        self._closed = True

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend a connection; every statement is a transaction of its own.

        Raises:
            CatalogUnusable: the server cannot be reached any more.
        """
        self._refuse_closed()
        try:
            with self._pool().connection() as connection:
                yield connection
        except _GONE as problem:
            raise CatalogUnusable(
                f"The catalogue {self.shown} does not answer: {_told(problem)}. See that its "
                "server runs and try again."
            ) from problem

    def written(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` makes in one transaction: all of it or, on any error, nothing.

        It is called again where PostgreSQL had to choose between it and another writer.

        Raises:
            ArgumentInvalid: the catalogue was opened for reading only, or PostgreSQL cannot hold
                a value.
            OutputFailed: the database cannot be written.
        """
        self._refuse_closed()
        if self.read_only:
            raise ArgumentInvalid(
                f"The catalogue {self.shown} was opened with read_only=True and cannot be "
                "changed. Open it without."
            )
        tried = 0
        while True:
            tried += 1
            try:
                with self._pool().connection() as connection, connection.transaction():
                    return work(connection)
            except psycopg.DataError as problem:
                raise ArgumentInvalid(
                    f"PostgreSQL cannot hold this: {_told(problem)}. Nothing of it was stored."
                ) from problem
            except (*_GONE, psycopg.Error) as problem:
                if not isinstance(problem, _AGAIN) or tried == _TRIES:
                    raise OutputFailed(
                        f"The catalogue {self.shown} could not be written: {_told(problem)}. "
                        "Nothing of this batch was stored. See that its server has room and lets "
                        "you write, then put the items again."
                    ) from problem

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ArgumentInvalid(
                f"The catalogue {self.shown} is closed. Open it again by its address."
            )

    def _pool(self) -> Pool:
        """Return the connections of this process, made and checked if they are the first."""
        key = (os.getpid(), self.address)
        found = _pools.get(key)
        if found is None:
            with _guard:
                found = _pools.get(key)
                if found is None:
                    self._check()
                    found = _pools[key] = _pool(self.address)
        return found

    def _check(self) -> None:
        try:
            connection = psycopg.connect(
                self.address, autocommit=True, connect_timeout=_CONNECT_SECONDS
            )
        except psycopg.Error as problem:
            raise CatalogUnusable(
                f"The catalogue {self.shown} cannot be opened: {_told(problem)}. See that its "
                "server runs and lets you in, and that its address is right."
            ) from None
        with connection:
            try:
                prepare(connection, self.address, self.shown, read_only=self.read_only)
            except psycopg.Error as problem:
                raise CatalogUnusable(
                    f"The catalogue {self.shown} cannot be prepared: {_told(problem)}. Open it "
                    "once as a user who may make schemas and triggers in it."
                ) from problem


def _pool(address: str) -> Pool:
    return ConnectionPool(
        address,
        kwargs={"autocommit": True, "prepare_threshold": None, "connect_timeout": _CONNECT_SECONDS},
        min_size=0,
        max_size=_MOST,
        max_idle=60.0,
        timeout=_CONNECT_SECONDS,
        num_workers=1,
        open=True,
        configure=_configure,
        check=ConnectionPool.check_connection,
        name="terrazzo-catalogue",
    )


def _configure(connection: Connection) -> None:
    connection.execute(_SESSION)


def _told(problem: BaseException) -> str:
    """Say in one line what PostgreSQL said; its detail lines may hold data, so not those."""
    return str(problem).strip().split("\n", 1)[0].rstrip(".")


def _begin_child() -> None:
    """Forget who held the lock in the parent of this process."""
    global _guard  # noqa: PLW0603 - one per process
    _guard = threading.Lock()


os.register_at_fork(after_in_child=_begin_child)


@atexit.register
def _close() -> None:
    """Close the connections of this process."""
    for (process, _), pool in list(_pools.items()):
        if process == os.getpid():
            pool.close()
