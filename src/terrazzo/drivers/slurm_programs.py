"""Slurm's own programs, called without a shell."""

from __future__ import annotations

import contextlib
import shutil
import subprocess

from terrazzo.drivers.pool import ClusterUnusable

_TOLD = 400
"""Characters of Slurm's words that are repeated."""
_OVER = 60
"""Seconds that one of Slurm's programs may take."""


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
