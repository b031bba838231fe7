"""What is said to the owner of a service while others look at it: errors, and what graphs log."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from terrazzo.errors import TerrazzoError
from terrazzo.ledger import entries
from terrazzo.logs import Entry, Level
from terrazzo.progress import Cancelled
from terrazzo.server.web.faults import told

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from terrazzo.ledger import Database
    from terrazzo.ledger.services import Service

KIND = "service"
KEPT = 1000
"""Entries that the log of a service keeps, the newest."""
PERIOD = 60.0
"""Seconds in which a service says the same thing once, and at most `MOST` things."""
MOST = 100
_LOGGER = logging.getLogger(__name__)


class ServiceLog:
    """Writes the logs of services; a map that fails in every tile says so once a minute."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._said: dict[str, set[tuple[str, str]]] = {}

    def add(self, service: Service, told_of: Sequence[Entry]) -> None:
        """Keep entries that are serious enough and were not said a moment ago.

        What cannot be kept fails nothing: it goes to the server's own log.
        """
        levels = entries.levels_from(Level(service.options.get("log_level", Level.INFO)))
        loud = [entry for entry in told_of if entry.level in levels]
        fresh = self._fresh(service.id, loud)
        if not fresh:
            return
        try:
            with self._database.writing() as connection:
                entries.add(connection, KIND, service.id, fresh)
                entries.trim(connection, KIND, service.id, KEPT)
        except SQLAlchemyError as error:
            _LOGGER.warning("The log of service %s cannot be kept: %s", service.id, error)

    @contextmanager
    def noting(self, service: Service) -> Iterator[None]:
        """Keep what is raised in the `with` block, which is raised nevertheless.

        That somebody waits no longer is no fault of the service.
        """
        try:
            yield
        except Cancelled:
            raise
        except Exception as error:
            code = error.code if isinstance(error, TerrazzoError) else "Internal"
            self.add(service, [Entry(Level.ERROR, told(error), code)])
            raise

    def forget(self, name: str) -> None:
        """Delete what was said of a service that was not kept after all."""
        with self._lock:
            said = self._said.pop(name, None)
        if said:
            with self._database.writing() as connection:
                entries.clear(connection, KIND, name)

    def _fresh(self, name: str, told_of: Sequence[Entry]) -> list[Entry]:
        fresh = []
        with self._lock:
            if time.monotonic() - self._began > PERIOD:
                self._began, self._said = time.monotonic(), {}
            said = self._said.setdefault(name, set())
            for entry in told_of:
                what = (entry.code, entry.message)
                if what not in said and len(said) < MOST:
                    said.add(what)
                    fresh.append(entry)
        return fresh
