"""Slurm's own programs, called without a shell."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import uuid
from typing import TYPE_CHECKING

from terrazzo.drivers.pool import ClusterUnusable
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from pathlib import Path

_TOLD = 400
"""Characters of Slurm's words that are repeated."""
_OVER = 60
"""Seconds that one of Slurm's programs may take."""
_WORD = re.compile(r"terrazzo-[0-9a-f]{32}")


def call(command: tuple[str, ...]) -> str:
    """Run one of Slurm's programs and return what it prints.

    Raises:
        ClusterUnusable: it is not there, fails, or does not answer.
    """
    if shutil.which(command[0]) is None:
        raise ClusterUnusable(
            f"There is no {command[0]} here: this machine is not part of a Slurm cluster. Log in "
            "where jobs are submitted, write the script with --script-only, or choose another "
            "--executor."
        )
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and every word was checked
            command, capture_output=True, text=True, timeout=_OVER, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterUnusable(
            f"{command[0]} did not answer within {_OVER} s. `sinfo` tells whether Slurm is well; "
            "then give the same command again."
        ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[:_TOLD]
        raise ClusterUnusable(f"Slurm refuses ({command[0]}): {said}")
    return done.stdout


def cancel_named(name: str) -> None:
    """Take back what was submitted under a name, by whatever process; nothing where Slurm is away.

    Args:
        name: `Allocation.name` of it, which no other run has.
    """
    for what in ("prepare", "work", "finish"):
        with contextlib.suppress(ClusterUnusable):
            call(("scancel", f"--name={name}-{what}"))


class Submitting:
    """Submits scripts, and finds what Slurm has taken without our hearing its number.

    A controller under load takes a job although `sbatch` has given up on it. So each submission has
    a comment of its own, which is noted before, and by which its job is found.
    """

    def __init__(self, note: Path) -> None:
        """Remember where the comment is noted of a submission that may have got lost."""
        self._note = note

    def submit(self, script: Path, *options: str) -> str:
        """Submit a script and return the number of its job.

        Raises:
            ClusterUnusable: Slurm is not here, refuses, or does not say whether it has it; what it
                has then, `take_back` finds, in whatever process.
            OutputFailed: the note cannot be written.
        """
        word = f"terrazzo-{uuid.uuid4().hex}"
        with whole_file(self._note) as part:
            part.write_text(word)
        try:
            told = call(("sbatch", "--parsable", f"--comment={word}", *options, str(script)))
        except ClusterUnusable:
            found: list[str] = []
            with contextlib.suppress(ClusterUnusable):
                found = _taken(word)
            if not found:
                raise
            told = found[0]
        self._note.unlink(missing_ok=True)
        return told.strip().partition(";")[0]

    def take_back(self) -> None:
        """Cancel the job of the last submission, if it got lost and Slurm has it.

        The note stays for the next time: a controller may still be about to take the job.

        Raises:
            ClusterUnusable: Slurm does not answer.
        """
        try:
            word = self._note.read_text(errors="replace")
        except OSError:
            return
        if _WORD.fullmatch(word):
            for job in _taken(word):
                try:
                    call(("scancel", job))
                except ClusterUnusable:
                    if job in _taken(word):  # else it was over meanwhile
                        raise


def _taken(word: str) -> list[str]:
    """Return the numbers of the user's jobs that have a comment."""
    told = call(("squeue", "--me", "--noheader", "--format=%F %k"))
    pairs = (line.split(maxsplit=1) for line in told.splitlines())
    return sorted({pair[0] for pair in pairs if pair[1:] == [word]})
