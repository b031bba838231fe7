"""The SQLite file of a catalogue: its tables, and connections that are safe to share it.

Rows of `item` are what searches sort and filter by, and what they decide with (`kept`); documents
lie in a table of their own, compressed with the dictionary of their collection (`packing`). The
R*Tree has the axes longitude, latitude and time in days (measured on 100 000 items: 1.7 times
faster than with time as a column only; a fourth axis for the collection gained nothing). Row
`2 * item` is an item's box, row `2 * item + 1` its second half beyond the antimeridian. R*Tree
coordinates are 32-bit floats rounded outwards: they propose candidates, never decide.
"""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING

from terrazzo.catalog.migrations import EARLIER, move
from terrazzo.errors import CatalogUnusable
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 2
"""`user_version` of the files that this code reads and writes."""

APPLICATION_ID = 0x54525A4F
"""`application_id` of a Terrazzo catalogue: "TRZO"."""

BUSY_SECONDS = 60.0
"""How long a writer waits for another one before it gives up."""

_CACHE_KIB = 32_768
_CHECKPOINT_PAGES = 8000
"""Pages of the log that are moved into the file at a time: those of indexes come often."""

TABLES = (
    """CREATE TABLE collection (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        version TEXT NOT NULL,
        longest INTEGER NOT NULL DEFAULT 0,
        dictionary BLOB,
        survey TEXT,
        body BLOB NOT NULL
    )""",
    """CREATE TABLE item (
        row INTEGER PRIMARY KEY AUTOINCREMENT,
        collection INTEGER NOT NULL REFERENCES collection (number),
        id TEXT NOT NULL,
        start INTEGER NOT NULL,
        stop INTEGER NOT NULL,
        footprint BLOB NOT NULL,
        properties TEXT NOT NULL,
        UNIQUE (collection, id)
    )""",
    "CREATE INDEX item_of_collection ON item (collection, start, id, stop)",
    "CREATE INDEX item_in_time ON item (start, id, collection, stop)",
    """CREATE TABLE document (
        row INTEGER PRIMARY KEY REFERENCES item (row),
        body BLOB NOT NULL
    )""",
    "CREATE VIRTUAL TABLE box USING rtree (row, west, east, south, north, first, last)",
)


def connect(path: Path, *, read_only: bool, progress: Progress | None = None) -> sqlite3.Connection:
    """Open the file at `path`, make its tables if it is new, and check that it is ours.

    A file of an earlier version is brought up to date first, unless it is only read.

    Raises:
        CatalogUnusable: see the class; the message has the path and the way out.
    """
    try:
        connection = sqlite3.connect(
            path.absolute().as_uri() + _mode(path, read_only),
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
    except sqlite3.Error as problem:
        raise CatalogUnusable(_why_not(path, problem, read_only=read_only)) from problem
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB:d}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES:d}")
        if not read_only:
            _create(connection)
        version = _version(connection, path)
        if version < SCHEMA_VERSION:
            _bring_up_to_date(connection, path, None if read_only else progress or Progress())
    except sqlite3.Error as problem:
        connection.close()
        raise CatalogUnusable(_why_not(path, problem, read_only=read_only)) from problem
    except BaseException:
        connection.close()
        raise
    return connection


def _mode(path: Path, read_only: bool) -> str:
    """Return the URI parameters; a file on a read-only medium is opened without its lock files."""
    if not read_only:
        return "?mode=rwc"
    frozen = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
    return "?mode=ro&immutable=1" if frozen else "?mode=ro"


def _why_not(path: Path, problem: sqlite3.Error, *, read_only: bool) -> str:
    """Say why a file cannot be opened and what to do."""
    if not path.parent.is_dir():
        advice = f"The folder {path.parent} does not exist: make it first."
    elif read_only and not path.exists():
        advice = "There is no such file; open it once without `read_only` to make it."
    else:
        advice = "Give the path of a catalogue, or of a new file in a folder that can be written."
    return f"The catalogue {path} cannot be opened: {problem}. {advice}"


def _create(connection: sqlite3.Connection) -> None:
    """Turn an empty file into a catalogue; several processes may try at once."""
    if _is_catalog(connection):
        connection.execute("PRAGMA synchronous = NORMAL")
        return
    _with_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
        if empty:
            for statement in TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION:d}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _bring_up_to_date(
    connection: sqlite3.Connection, path: Path, progress: Progress | None
) -> None:
    """Turn a file of an earlier version into one of today's; several processes may try at once.

    Raises:
        CatalogUnusable: `progress` is None: the file is only read.
    """
    if progress is None:
        raise CatalogUnusable(
            f"The catalogue {path} was made by an earlier Terrazzo (schema version below "
            f"{SCHEMA_VERSION}) and is brought up to date where it is opened for writing. Do so "
            "once, for example with `terrazzo catalog check`."
        )
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection, path)  # somebody else may have been faster
        if version < SCHEMA_VERSION:
            move(connection, EARLIER[version], TABLES, progress)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION:d}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _with_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; SQLite does not wait here by itself when others do it too."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _is_catalog(connection: sqlite3.Connection) -> bool:
    """Tell whether the file has content already; it may still be somebody else's."""
    return bool(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of a file; refuse files of others and files of a later Terrazzo."""
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if owner != APPLICATION_ID:
        raise CatalogUnusable(
            f"{path} is not a Terrazzo catalogue (application_id {owner:#x}, expected "
            f"{APPLICATION_ID:#x}). Give the path of a catalogue, or of a new file."
        )
    if version != SCHEMA_VERSION and version not in EARLIER:
        raise CatalogUnusable(
            f"The catalogue {path} has schema version {version} and this Terrazzo reads "
            f"versions up to {SCHEMA_VERSION}. Upgrade Terrazzo, or ingest into a new file."
        )
    return version
