"""The scene table: what there is to do, what is done, and what failed; kept in SQLite.

Only the process that runs an extraction writes it. A scene is done when its rows lie in the table
and that is written down here; whatever is killed in between is done again under the same name.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from terrazzo.errors import ArgumentInvalid
from terrazzo.logs import Entry
from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from terrazzo.geo.grid import Grid, Window

FILE: Final = "scenes.sqlite"
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
STATES: Final = (WAITING, RUNNING, DONE, FAILED)
_LONGEST: Final = 2000
"""Letters of an error that are kept."""
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS scene (
    key TEXT PRIMARY KEY,
    date TEXT NOT NULL,
    t TEXT NOT NULL,
    items TEXT NOT NULL,
    version TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    rows INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0,
    file TEXT NOT NULL DEFAULT '',
    size INTEGER NOT NULL DEFAULT 0,
    checksum TEXT NOT NULL DEFAULT '',
    skipped TEXT NOT NULL DEFAULT '[]',
    log TEXT NOT NULL DEFAULT '[]'
)
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """A unit of work and of resuming: a date, an image, or everything at once."""

    key: str
    """Names it in the scene table, and its part of the table; the same in every run."""
    date: str
    """The day that its rows are of, `2024-05-15`; empty where they are of several."""
    t: str
    """The label of its date; empty where it has several or none."""
    items: tuple[str, ...]
    """Ids of the images that it is made of."""
    version: str
    """Changes when its numbers may: other images, or their files were changed."""
    grid: Grid
    """On which it is computed."""
    window: Window
    """The pixels of the grid that there are."""
    label: int = -1
    """Position of its date among those of the result; -1 = all of them."""
    image: tuple[str, str] | None = None
    """The collection and the item to which the graph is confined; None = it is not."""

    @property
    def file(self) -> str:
        """Where its part of the table lies, in the folder of the extraction."""
        return f"table/date={self.date}/{self.key}.parquet" if self.date else (
            f"table/{self.key}.parquet"
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a scene."""

    rows: int = 0
    """Rows of its part of the table."""
    seconds: float = 0.0
    """How long it took."""
    size: int = 0
    """Bytes of its part."""
    checksum: str = ""
    """Of its part, as a multihash."""
    skipped: tuple[str, ...] = ()
    """Items that were left out of it, because they are bad."""
    log: tuple[Entry, ...] = ()
    """What the graph logged."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A scene as the table has it."""

    key: str
    """As `Scene` has it."""
    state: str
    """One of `STATES`."""
    version: str
    """Of the images that it was last begun with."""
    attempts: int
    """How often it was begun."""
    error: str
    """Why it failed the last time."""
    file: str
    """As `Scene` has it."""
    t: str
    """As `Scene` has it."""
    made: Made
    """What became of it, where it is done."""


class SceneTable:
    """The scenes of one extraction; open it with `scene_table`."""

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        self._connection, self._folder = connection, folder
        with connection:
            connection.execute(_TABLE)

    def plan(self, scenes: Sequence[Scene], *, skip_bad: bool = False) -> tuple[Scene, ...]:
        """Take in what the graph selects now; return the scenes that are still to be done.

        Scenes that it does not select any more go, with their rows; those whose images have
        changed wait again. What a killed run left in the table without finishing it goes, too.

        Args:
            scenes: all that the graph selects.
            skip_bad: see `undone`.
        """
        known = {one.key: one for one in self.all()}
        selected = {scene.key for scene in scenes}
        todo = undone(self._folder, known.values(), scenes, skip_bad=skip_bad)
        done = selected - {scene.key for scene in todo}
        self._sweep({known[key].file for key in done})
        with self._connection as open_:
            open_.executemany(
                "DELETE FROM scene WHERE key = ?", [(key,) for key in known if key not in selected]
            )
            open_.executemany(
                "INSERT INTO scene (key, date, t, items, version, state, file) "
                "VALUES (?, ?, ?, ?, ?, 'waiting', ?) ON CONFLICT (key) DO UPDATE SET "
                "date = excluded.date, t = excluded.t, items = excluded.items, "
                "version = excluded.version, state = 'waiting', file = excluded.file, rows = 0, "
                "size = 0, checksum = '', error = '', skipped = '[]', log = '[]'",
                [
                    (one.key, one.date, one.t, json.dumps(one.items), one.version, one.file)
                    for one in scenes
                    if one.key not in done
                ],
            )
        return todo

    def begin(self, key: str) -> None:
        """Note that a scene is being computed."""
        self._set("state = 'running', attempts = attempts + 1", (), key)

    def finish(self, key: str, made: Made) -> None:
        """Note that the rows of a scene lie in the table."""
        told = (
            made.rows, made.seconds, made.size, made.checksum, json.dumps(made.skipped),
            json.dumps([entry.kept() for entry in made.log]),
        )  # fmt: skip
        self._set(
            "state = 'done', error = '', rows = ?, seconds = ?, size = ?, checksum = ?, "
            "skipped = ?, log = ?",
            told,
            key,
        )

    def fail(self, key: str, reason: str) -> None:
        """Note why a scene could not be computed."""
        self._set("state = 'failed', error = ?", (reason[:_LONGEST],), key)

    def wait(self) -> None:
        """Let scenes wait again that were begun and not finished, as the run stops."""
        with self._connection as open_:
            open_.execute("UPDATE scene SET state = 'waiting' WHERE state = 'running'")

    def all(self) -> tuple[Kept, ...]:
        """Return all scenes, in the order of their dates."""
        return _all(self._connection)

    def _set(self, what: str, values: tuple[Any, ...], key: str) -> None:
        with self._connection as open_:
            open_.execute(f"UPDATE scene SET {what} WHERE key = ?", (*values, key))  # noqa: S608 - texts of this class

    def _sweep(self, wanted: set[str]) -> None:
        """Delete the parts that belong to no scene that is done."""
        for pattern in ("[!._]*.parquet", "date=*/[!._]*.parquet"):
            for path in (self._folder / "table").glob(pattern):
                if path.is_file() and path.relative_to(self._folder).as_posix() not in wanted:
                    path.unlink(missing_ok=True)
        for folder in (self._folder / "table").glob("date=*"):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def undone(
    folder: Path, known: Iterable[Kept], scenes: Iterable[Scene], *, skip_bad: bool
) -> tuple[Scene, ...]:
    """Return the scenes that are still to be done.

    Args:
        folder: of the extraction.
        known: its scenes so far.
        scenes: all that the graph selects now.
        skip_bad: whether those are done that images were left out of.
    """
    done = {
        (one.key, one.version, one.file)
        for one in known
        if one.state == DONE
        and (skip_bad or not one.made.skipped)
        and (not one.made.rows or (folder / one.file).is_file())
    }
    return tuple(one for one in scenes if (one.key, one.version, one.file) not in done)


@contextmanager
def scene_table(folder: Path) -> Iterator[SceneTable]:
    """Open the scene table of an extraction, made when missing; one run at a time.

    Raises:
        ArgumentInvalid: another run is at work in the folder, or the table is damaged.
        OutputFailed: it cannot be written.
    """
    path = folder / FILE
    try:
        with (folder / f".{FILE}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ArgumentInvalid(
                    f"Another extraction is at work in {folder}. Wait until it is done, or choose "
                    "another folder with -o."
                ) from None
            with closing(sqlite3.connect(path)) as connection:
                # Keeps what a kill must not lose, without waiting for the disk at every scene.
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                yield SceneTable(connection, folder)
    except sqlite3.DatabaseError as error:
        if _out_of_reach(error):
            raise output_failed(path, error) from error
        raise _damaged(path, error) from error


def states(folder: Path) -> tuple[Kept, ...]:
    """Return the scenes of an extraction as they are now; none where it has not begun.

    Raises:
        ArgumentInvalid: the table is damaged, or cannot be read.
    """
    path = folder / FILE
    if not path.exists():
        return ()
    name = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        with closing(sqlite3.connect(name, uri=True)) as open_:
            return _all(open_)
    except sqlite3.DatabaseError as error:
        if _out_of_reach(error):
            raise ArgumentInvalid(
                f"{path} cannot be read now ({error}). See that you may read the folder, and that "
                "its disk is there."
            ) from error
        raise _damaged(path, error) from error


def _out_of_reach(error: sqlite3.DatabaseError) -> bool:
    """Tell whether a table cannot be opened, or written, and not that it holds something else."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR


def _damaged(path: Path, error: Exception) -> ArgumentInvalid:
    return ArgumentInvalid(f"{path} is damaged ({error}). Delete the folder and extract again.")


def _all(connection: sqlite3.Connection) -> tuple[Kept, ...]:
    rows = connection.execute(
        "SELECT key, state, version, attempts, error, file, t, rows, seconds, size, checksum, "
        "skipped, log FROM scene ORDER BY date, t, key"
    )
    return tuple(_kept(row) for row in rows)


def _kept(row: tuple[Any, ...]) -> Kept:
    """Return a scene as it was written.

    Raises:
        sqlite3.DataError: something else is there.
    """
    key, state, version, attempts, error, file, t, rows, seconds, size, digest, skipped, log = row
    try:
        made = Made(
            int(rows), float(seconds), int(size), digest, tuple(json.loads(skipped)),
            tuple(Entry.of(entry) for entry in json.loads(log)),
        )  # fmt: skip
        known = STATES[STATES.index(state)]
        return Kept(key, known, version, int(attempts), error, str(file), t, made)
    except (ValueError, TypeError, KeyError, AttributeError) as wrong:
        raise sqlite3.DataError(f"scene {str(key)[:100]!r} cannot be read") from wrong
