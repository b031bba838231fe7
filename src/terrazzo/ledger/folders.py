"""Where the files of jobs are: a folder for each run, of which only the newest counts.

Nothing in a folder is shown before the ledger says that its run is finished.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = "jobs"
_LOCKS, _TRASH = ".locks", ".trash-"


@dataclass(frozen=True, slots=True)
class JobFolders:
    """The files of all jobs."""

    home: Path
    """The folder of the workspace."""

    @property
    def root(self) -> Path:
        """The folder that holds those of the jobs."""
        return self.home / FOLDER

    def of(self, job: str, run: int) -> Path:
        """Return the folder of a run; it need not be there."""
        return self.root / job / str(run)

    def known(self) -> Iterator[tuple[str, int]]:
        """Yield the jobs and runs that have folders."""
        if not self.root.is_dir():
            return
        for job in sorted(self.root.iterdir()):
            if job.name.startswith("."):
                continue
            for run in sorted(job.iterdir()):
                if run.name.isdecimal():
                    yield job.name, int(run.name)

    def discard(self, job: str, run: int | None = None, *, but: int | None = None) -> None:
        """Delete the files of a job, or of one run, or of all runs but one.

        They are moved away first, so that they are gone at once, also where deleting takes long.
        A process that is being stopped may write meanwhile; whoever stops it discards again.
        """
        folder = self.root / job
        if run is None and but is None:
            doomed = [folder]
        elif run is not None:
            doomed = [folder / str(run)]
        else:
            doomed = [one for one in folder.glob("*") if one.name != str(but)]
        for one in doomed:
            trash = self.root / f"{_TRASH}{uuid.uuid4().hex}"
            try:
                one.rename(trash)
            except FileNotFoundError:
                continue
            shutil.rmtree(trash, ignore_errors=True)
        if run is None and but is None:
            (self.root / _LOCKS / job).unlink(missing_ok=True)

    def empty_trash(self) -> None:
        """Delete what killed processes had moved away and not deleted."""
        for trash in self.root.glob(f"{_TRASH}*"):
            shutil.rmtree(trash, ignore_errors=True)

    @contextmanager
    def locked(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Hold the lock of a job (or worker) on this machine; yields whether it was to be had.

        The system gives it back when the process that holds it ends, however it ends.

        Args:
            name: of the job, or of a worker.
            wait: whether to wait for whoever has it.

        Raises:
            OutputFailed: the folder cannot be written.
        """
        path = self.root / _LOCKS / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise output_failed(path, error) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)

    def unlock(self, name: str) -> None:
        """Forget the lock of something that will not come again."""
        (self.root / _LOCKS / name).unlink(missing_ok=True)
